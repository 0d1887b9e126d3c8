"""What runs and sweeps leave on disk: read and written here alone."""
