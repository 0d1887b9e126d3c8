"""What is wrong with a program that trains a model: found before the first step, and from what training came to."""
