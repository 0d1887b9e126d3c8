"""What training does to the gradients of any Keras model: record it, predict it, judge it. Knows Keras and NumPy alone."""
