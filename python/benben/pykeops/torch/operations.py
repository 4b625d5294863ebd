"""pykeops.torch.operations."""

from ...torch import KernelSolve

__all__ = ["KernelSolve"]
