"""pykeops.torch.lazytensor."""
