"""What training does to the gradients of any Keras model: recorded, predicted, judged. Knows Keras and NumPy alone."""
