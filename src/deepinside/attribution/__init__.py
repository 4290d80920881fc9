"""Gradients of class scores with respect to images, and the ReLU rules they are computed with."""
