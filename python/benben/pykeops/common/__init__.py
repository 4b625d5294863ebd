"""pykeops.common."""
