"""Benben for NumPy arrays."""
from ._genred import Genred, KernelSolve, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum

__all__ = ["Genred", "KernelSolve", "generic_argkmin", "generic_argmin", "generic_logsumexp", "generic_sum"]
