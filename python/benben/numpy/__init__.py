"""Benben for NumPy arrays."""

from .._einsum import einsum
from ..solvers import Estimate, Solution, clusters_of, eigsh, logdet, neighbors_before, solve, trace
from . import cluster
from ._genred import Genred, KernelSolve, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum
from ._lazytensor import ComplexLazyTensor, LazyTensor, Pm, Var, Vi, Vj

__all__ = [
    "ComplexLazyTensor",
    "Estimate",
    "Genred",
    "KernelSolve",
    "LazyTensor",
    "Pm",
    "Solution",
    "Var",
    "Vi",
    "Vj",
    "cluster",
    "clusters_of",
    "eigsh",
    "einsum",
    "generic_argkmin",
    "generic_argmin",
    "generic_logsumexp",
    "generic_sum",
    "logdet",
    "neighbors_before",
    "solve",
    "trace",
]
