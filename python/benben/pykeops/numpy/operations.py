"""pykeops.numpy.operations."""

from ...numpy import KernelSolve

__all__ = ["KernelSolve"]
