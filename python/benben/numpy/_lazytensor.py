"""LazyTensors over NumPy arrays."""

from __future__ import annotations

from typing import Any

from .._complex import ComplexGenericLazyTensor
from .._formula import PLACE_I, PLACE_J
from .._lazy import GenericLazyTensor, add_table_methods
from .._pointwise import PointwiseMethods  # noqa: F401
from . import _tools
from ._genred import Genred, KernelSolve
from ._order import OrderMethods


class LazyTensor(OrderMethods, GenericLazyTensor):
    """A symbolic matrix whose entries are vectors F(x_i, y_j), never stored: memory O(M + N), time O(M N).

    Made of an array: (M, 1, D) is indexed by i, (1, N, D) by j, (1, 1, D) and (D,) are parameters; dimensions in
    front are batches; 2D arrays need axis=0 (i) or axis=1 (j), or Vi and Vj. Numbers and lists of numbers are
    parameters, integers part of the formula, (ind, dim, cat) a symbolic variable, a complex array gives a
    ComplexLazyTensor. Integer arrays are converted as NumPy does beside float32. Operations make new LazyTensors;
    reductions over i or j give arrays. ValueError where shapes do not fit.

    >>> import numpy as np
    >>> from benben.numpy import LazyTensor
    >>> x, y = np.array([[0.], [1.]]), np.array([[0.], [2.], [3.]])
    >>> D_ij = ((LazyTensor(x[:, None, :]) - LazyTensor(y[None, :, :])) ** 2).sum(-1)
    >>> D_ij.shape
    (2, 3)
    >>> D_ij.sum(axis=1).ravel().tolist()
    [13.0, 6.0]
    >>> (D_ij < 2) @ np.ones(3)
    array([1., 2.])
    """

    tools = _tools
    Genred = Genred
    KernelSolve = KernelSolve

    def __new__(cls, x: Any = None, axis: int | None = None, is_complex: bool = False) -> Any:
        if is_complex or _tools.is_complex(x):
            return ComplexLazyTensor(x, axis)
        return object.__new__(cls)


class ComplexLazyTensor(ComplexGenericLazyTensor):
    """A symbolic matrix of complex vectors; what LazyTensor makes of a complex array or number.

    >>> import numpy as np
    >>> from benben.numpy import LazyTensor
    >>> z = LazyTensor(np.array([[[3 + 4j]]]))
    >>> abs(z).sum(1).ravel().tolist()
    [5.0]
    """

    tools = _tools
    Genred = Genred
    KernelSolve = KernelSolve


for _class in (LazyTensor, ComplexLazyTensor):
    _class.real_class, _class.complex_class = LazyTensor, ComplexLazyTensor
add_table_methods(LazyTensor, frozenset(["neg", "inv0"]))


def Var(x_or_ind: Any, dim: int | None = None, cat: int | None = None) -> LazyTensor:
    """Var(x, cat=0|1|2): the array along i, along j, or a parameter; Var(ind, dim, cat): a symbolic variable.

    >>> import numpy as np
    >>> from benben.numpy import Var
    >>> Var(np.ones((4, 3)), cat=1).shape, Var(0, 3, 0).symbolic_variables
    ((1, 4, 3), ((0, 3, 0),))
    """
    placed: LazyTensor
    if dim is not None:
        placed = LazyTensor((x_or_ind, dim, cat))
        return placed
    if cat == 2:
        placed = LazyTensor(x_or_ind, axis=2)
        return placed
    if cat not in (0, 1):
        raise ValueError(f"cat={cat!r}: expected 0 (i), 1 (j) or 2 (parameter)")
    placed = LazyTensor._along(x_or_ind, PLACE_I if cat == 0 else PLACE_J)
    return placed


def Vi(x_or_ind: Any, dim: int | None = None) -> LazyTensor:
    """An array (..., M, D) indexed by i, or with dim the symbolic variable number x_or_ind. ValueError for fewer
    dimensions, and for what is no array of numbers.

    >>> import numpy as np
    >>> from benben.numpy import Vi
    >>> Vi(np.ones((4, 3))).shape, Vi(np.ones((2, 4, 3))).shape
    ((4, 1, 3), (2, 4, 1, 3))
    """
    return Var(x_or_ind, dim, 0)


def Vj(x_or_ind: Any, dim: int | None = None) -> LazyTensor:
    """An array (..., N, D) indexed by j, or with dim the symbolic variable number x_or_ind; errors as of Vi.

    >>> from benben.numpy import Vj
    >>> Vj([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]).shape
    (1, 3, 2)
    """
    return Var(x_or_ind, dim, 1)


def Pm(x_or_ind: Any, dim: int | None = None) -> LazyTensor:
    """A parameter: an array (..., D), a number, a list of numbers, or with dim the symbolic variable number
    x_or_ind.

    >>> from benben.numpy import Pm, Vi
    >>> (Vi([[1.0, 2.0]]) * Pm([10, 100])).sum(axis=1).tolist()
    [[10.0, 200.0]]
    """
    return Var(x_or_ind, dim, 2)
