"""On JAX."""
