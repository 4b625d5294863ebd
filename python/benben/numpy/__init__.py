"""Benben for NumPy arrays."""

from . import cluster
from ._genred import Genred, KernelSolve, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum
from ._lazytensor import ComplexLazyTensor, LazyTensor, Pm, Var, Vi, Vj

__all__ = [
    "ComplexLazyTensor",
    "Genred",
    "KernelSolve",
    "LazyTensor",
    "Pm",
    "Var",
    "Vi",
    "Vj",
    "cluster",
    "generic_argkmin",
    "generic_argmin",
    "generic_logsumexp",
    "generic_sum",
]
