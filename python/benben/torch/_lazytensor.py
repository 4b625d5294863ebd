"""LazyTensors over PyTorch tensors."""

from __future__ import annotations

from typing import Any

from .._complex import ComplexGenericLazyTensor
from .._formula import PLACE_I, PLACE_J
from .._lazy import GenericLazyTensor, add_table_methods
from . import _tools
from ._function import TorchFunctions
from ._genred import Genred, KernelSolve


class LazyTensor(TorchFunctions, GenericLazyTensor):
    """A symbolic matrix whose entries are vectors F(x_i, y_j), never stored: memory O(M + N), time O(M N).

    Made of a tensor: (M, 1, D) is indexed by i, (1, N, D) by j, (1, 1, D) and (D,) are parameters; dimensions in
    front are batches; 2D tensors need axis=0 (i) or axis=1 (j), or Vi and Vj. Numbers and lists of numbers are
    parameters, integers part of the formula, (ind, dim, cat) a symbolic variable, a complex tensor gives a
    ComplexLazyTensor. Integer tensors become the default floating-point type. Operations make new LazyTensors;
    reductions over i or j give tensors, differentiable to any order in both modes. ValueError where shapes do not fit.

    >>> import torch
    >>> from benben.torch import LazyTensor
    >>> x, y = torch.tensor([[0.], [1.]], requires_grad=True), torch.tensor([[0.], [2.], [3.]])
    >>> D_ij = ((LazyTensor(x[:, None, :]) - LazyTensor(y[None, :, :])) ** 2).sum(-1)
    >>> D_ij.shape
    (2, 3)
    >>> D_ij.sum(axis=1).sum().backward()
    >>> x.grad.flatten().tolist()
    [-10.0, -4.0]
    >>> ((D_ij < 2) @ torch.ones(3)).tolist()
    [1.0, 2.0]
    """

    tools = _tools
    Genred = Genred
    KernelSolve = KernelSolve

    def __new__(cls, x: Any = None, axis: int | None = None, is_complex: bool = False) -> Any:
        if is_complex or _tools.is_complex(x):
            return ComplexLazyTensor(x, axis)
        return object.__new__(cls)

    def _lift(self, other: Any) -> Any:
        """A tensor without axes takes the type of the others, as in PyTorch."""
        if _tools.is_array(other) and other.dim() == 0 and self._dtype is not None and not other.is_complex():
            other = other.to(_tools.dtype_of(self._dtype))
        return super()._lift(other)


class ComplexLazyTensor(TorchFunctions, ComplexGenericLazyTensor):
    """A symbolic matrix of complex vectors; what LazyTensor makes of a complex tensor or number.

    >>> import torch
    >>> from benben.torch import LazyTensor
    >>> z = LazyTensor(torch.tensor([[[3 + 4j]]]))
    >>> abs(z).sum(1).flatten().tolist()
    [5.0]
    """

    tools = _tools
    Genred = Genred
    KernelSolve = KernelSolve


for _class in (LazyTensor, ComplexLazyTensor):
    _class.real_class, _class.complex_class = LazyTensor, ComplexLazyTensor
add_table_methods(LazyTensor, frozenset(["neg", "inv0"]))


def Var(x_or_ind: Any, dim: int | None = None, cat: int | None = None) -> Any:
    """Var(x, cat=0|1|2): the array along i, along j, or a parameter; Var(ind, dim, cat): a symbolic variable."""
    if dim is not None:
        return LazyTensor((x_or_ind, dim, cat))
    if cat == 2:
        return LazyTensor(x_or_ind, axis=2)
    if cat not in (0, 1):
        raise ValueError(f"cat={cat!r}: expected 0 (i), 1 (j) or 2 (parameter)")
    return LazyTensor._along(x_or_ind, PLACE_I if cat == 0 else PLACE_J)


def Vi(x_or_ind: Any, dim: int | None = None) -> Any:
    """An array (..., M, D) indexed by i, or with dim the symbolic variable number x_or_ind."""
    return Var(x_or_ind, dim, 0)


def Vj(x_or_ind: Any, dim: int | None = None) -> Any:
    """An array (..., N, D) indexed by j, or with dim the symbolic variable number x_or_ind."""
    return Var(x_or_ind, dim, 1)


def Pm(x_or_ind: Any, dim: int | None = None) -> Any:
    """A parameter: an array (..., D), a number, a list of numbers, or with dim the symbolic variable number
    x_or_ind."""
    return Var(x_or_ind, dim, 2)
