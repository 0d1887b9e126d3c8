"""On torch."""
