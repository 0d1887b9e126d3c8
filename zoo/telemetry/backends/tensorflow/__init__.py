"""On TensorFlow."""
