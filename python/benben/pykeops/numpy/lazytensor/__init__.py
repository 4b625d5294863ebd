"""pykeops.numpy.lazytensor."""
