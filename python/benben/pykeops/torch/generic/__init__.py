"""pykeops.torch.generic."""
