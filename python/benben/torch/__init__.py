"""Benben for PyTorch tensors: the names of benben.numpy, differentiable in every way that PyTorch knows."""

from .._einsum import einsum
from ..solvers import Estimate, Solution
from . import cluster
from ._genred import Genred, KernelSolve, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum
from ._lazytensor import ComplexLazyTensor, LazyTensor, Pm, Var, Vi, Vj
from .solvers import logdet, solve, trace

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
    "einsum",
    "generic_argkmin",
    "generic_argmin",
    "generic_logsumexp",
    "generic_sum",
    "logdet",
    "solve",
    "trace",
]
