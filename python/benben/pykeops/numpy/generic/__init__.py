"""pykeops.numpy.generic."""
