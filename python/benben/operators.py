"""Linear operators made of LazyTensors: sums, products, blocks. Nothing is stored; every operator has SciPy's
protocol (shape, dtype, matvec, rmatvec), so that scipy.sparse.linalg works on it.

>>> import benben.operators, numpy as np
>>> from benben.numpy import Vi, Vj
>>> x = np.arange(4.0)[:, None]
>>> K = Vi(x) - Vj(x)
>>> A = K @ K.T + 2 * np.pi * benben.operators.identity(4)
>>> bool(np.allclose(A @ np.ones(4), K.dense() @ K.dense().T @ np.ones(4) + 2 * np.pi))
True
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ._errors import ShapeError


def _width(v: Any) -> int:
    return int(v.shape[-1 if len(v.shape) == 1 else -2])


class Operator:
    """A linear map of the shape (M, N), known by what it does to arrays (N,), (N, E) or (..., N, E).

    `A @ v`, `v @ A`, `A.T`, `A.H`, sums, differences, products with numbers and with operators, LazyTensors and arrays.

    >>> import numpy as np
    >>> from benben import operators
    >>> A = operators.Operator((2, 2), lambda v: 2 * v, lambda v: 2 * v, text="twice")
    >>> (A @ A - A.T) @ np.ones(2)
    array([2., 2.])
    """

    __array_ufunc__ = None
    __array_priority__ = 2000.0

    def __init__(
        self,
        shape: tuple[int, int],
        matmul: Callable[[Any], Any],
        rmatmul: Callable[[Any], Any],
        dtype: Any = "float64",
        text: str = "Operator",
        columns: Callable[[Any], Any] | None = None,
        diagonal: Callable[[], Any] | None = None,
        like: Any = None,
    ) -> None:
        """like: an array of the library that the operator is for, where that is not NumPy."""
        self.shape = (int(shape[0]), int(shape[1]))
        self.ndim = 2
        is_torch = type(dtype).__module__ == "torch"
        self.dtype = np.dtype(str(dtype).removeprefix("torch.") if is_torch else dtype or "float64")
        self._matmul, self._rmatmul, self._text = matmul, rmatmul, text
        self._columns, self._diagonal, self._like = columns, diagonal, like

    def __repr__(self) -> str:
        return f"<{self._text}: {self.shape[0]} x {self.shape[1]}, {self.dtype}>"

    # ---- products ----
    def __matmul__(self, other: Any) -> Any:
        if is_operator(other):
            return compose(self, other)
        if not hasattr(other, "shape"):
            raise TypeError(f"A @ v: expected an array or an operator, found {type(other).__qualname__}")
        if _width(other) != self.shape[1]:
            raise ShapeError(f"A @ v: A is {self.shape[0]} x {self.shape[1]}, v has the shape {tuple(other.shape)}")
        return self._matmul(other)

    def __rmatmul__(self, other: Any) -> Any:
        if is_operator(other):
            return compose(other, self)
        if len(other.shape) == 1:
            return self.T @ other
        return (self.T @ other.swapaxes(-1, -2)).swapaxes(-1, -2)

    def matvec(self, v: Any) -> Any:
        """A v."""
        return self @ v

    def rmatvec(self, v: Any) -> Any:
        """A^H v."""
        return self._rmatmul(v)

    matmat, rmatmat = matvec, rmatvec

    # ---- entries: what preconditioners are made of ----
    @property
    def has_entries(self) -> bool:
        """Whether columns() and diagonal() give entries without multiplying by unit vectors."""
        return self._columns is not None and self._diagonal is not None

    def columns(self, numbers: Any) -> Any:
        """The columns of these numbers, (M, len(numbers))."""
        numbers = np.asarray(numbers, dtype=np.int64)
        if self._columns is not None:
            return self._columns(numbers)
        unit = np.zeros((self.shape[1], len(numbers)), dtype=self.dtype)
        unit[numbers, np.arange(len(numbers))] = 1
        return self @ unit

    def diagonal(self) -> Any:
        """The entries (k, k), (min(M, N),)."""
        if self._diagonal is not None:
            return self._diagonal()
        dense = self.dense()
        return np.diagonal(dense) if self._like is None else dense.diagonal()

    @property
    def H(self) -> Operator:
        """The conjugate transpose."""
        return Operator(
            (self.shape[1], self.shape[0]), self._rmatmul, self._matmul, self.dtype, f"{self._text}.H", like=self._like
        )

    @property
    def T(self) -> Operator:
        """The transpose."""
        if self.dtype.kind != "c":
            return self.H
        return Operator(
            (self.shape[1], self.shape[0]),
            lambda v: self._rmatmul(v.conj()).conj(),
            lambda v: self._matmul(v.conj()).conj(),
            self.dtype,
            f"{self._text}.T",
            like=self._like,
        )

    def dense(self, limit: int = 2**27) -> Any:
        """The matrix."""
        if self.shape[0] * self.shape[1] > limit:
            raise ShapeError(f"a dense matrix {self.shape[0]} x {self.shape[1]} has more than {limit} entries")
        identity = np.eye(self.shape[1], dtype=self.dtype)
        return self @ (identity if self._like is None else self._like.new_tensor(identity))

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.dense() if dtype is None else self.dense().astype(dtype)

    # ---- sums ----
    def __add__(self, other: Any) -> Operator:
        return add(self, other)

    __radd__ = __add__

    def __neg__(self) -> Operator:
        return self * -1

    def __sub__(self, other: Any) -> Operator:
        return add(self, as_operator(other) * -1)

    def __rsub__(self, other: Any) -> Operator:
        return add(as_operator(other), self * -1)

    def __mul__(self, number: Any) -> Operator:
        if is_operator(number) or np.ndim(number):
            raise TypeError("A * B of operators would be the product of their entries; use A @ B, or LazyTensors")
        return Operator(
            self.shape,
            lambda v: self._matmul(v) * number,
            lambda v: self._rmatmul(v) * np.conj(number),
            np.result_type(self.dtype, np.complex64) if isinstance(number, complex) else self.dtype,
            f"{number} {self._text}",
            *_entries([self], lambda parts: parts[0] * number),
            like=self._like,
        )

    __rmul__ = __mul__

    def __truediv__(self, number: Any) -> Operator:
        inverse: Operator = self * (1 / number)
        return inverse


def is_operator(a: Any) -> bool:
    """A LazyTensor, an Operator or something with SciPy's protocol; not an array.

    >>> from benben import operators
    >>> operators.is_operator(operators.identity(2)), operators.is_operator(1.0)
    (True, False)
    """
    return hasattr(a, "matvec") and hasattr(a, "rmatvec") and hasattr(a, "shape")


def as_operator(a: Any) -> Operator:
    """A LazyTensor, a dense or sparse matrix, SciPy's LinearOperator, ... as an Operator.

    >>> import numpy as np
    >>> from benben import operators
    >>> operators.as_operator(np.eye(2)) + operators.identity(2)
    <(matrix + identity): 2 x 2, float64>
    """
    if isinstance(a, Operator):
        return a
    if getattr(a, "__GenericLazyTensor__", False):
        if a._vector_dim != 1 or a.nbatchdims:
            raise ShapeError(f"an operator is a matrix of numbers; this LazyTensor has the shape {a.shape}")
        entries = (None, None) if a.ranges is not None or getattr(a, "_mask", None) is not None else _lazy_entries(a)
        like = next((arg.value for arg in a._args if hasattr(arg.value, "new_tensor")), None)
        return Operator(
            a.shape, a.__matmul__, a.T.conj().__matmul__, a.dtype, "LazyTensor", entries[0], entries[1], like
        )
    if len(getattr(a, "shape", ())) != 2:
        raise TypeError(f"expected a matrix or an operator, found {type(a).__qualname__}")
    if is_operator(a):

        def both(one: Any, many: Any) -> Callable[[Any], Any]:
            return lambda v: one(v) if len(v.shape) == 1 else many(v)

        return Operator(a.shape, both(a.matvec, a.matmat), both(a.rmatvec, a.rmatmat), a.dtype, type(a).__name__)
    adjoint = a.conj().T

    def columns(numbers: Any) -> Any:
        found = (a.tocsc() if hasattr(a, "tocsc") else a)[:, numbers]
        return found.toarray() if hasattr(found, "toarray") else found

    like = a if hasattr(a, "new_tensor") else None
    return Operator(a.shape, lambda v: a @ v, lambda v: adjoint @ v, a.dtype, "matrix", columns, a.diagonal, like)


def _entries(parts: Sequence[Operator], join: Callable[[Any], Any]) -> tuple[Any, Any]:
    """Entries of what is made from those of the parts alone, where all of them give theirs."""
    if not all(part.has_entries for part in parts):
        return None, None
    return lambda numbers: join([p.columns(numbers) for p in parts]), lambda: join([p.diagonal() for p in parts])


def _like(parts: Sequence[Any]) -> Any:
    """An array of the parts' library, where that is not NumPy."""
    return next((part._like for part in parts if part is not None and part._like is not None), None)


# ---- what NumPy and PyTorch have under different names
def _split(v: Any, sizes: Sequence[int], axis: int) -> Any:
    return v.split(list(sizes), axis) if hasattr(v, "new_tensor") else np.split(v, np.cumsum(sizes)[:-1], axis)


def _join(parts: Sequence[Any], axis: int) -> Any:
    if hasattr(parts[0], "new_tensor"):
        return sys.modules["torch"].cat(parts, axis)
    return np.concatenate(parts, axis)


def _zeros(shape: Sequence[int], like: Any) -> Any:
    return like.new_zeros(shape) if hasattr(like, "new_zeros") else np.zeros(shape, like.dtype)


def _lazy_entries(a: Any) -> tuple[Any, Any]:
    return lambda numbers: a[:, numbers].dense(), a.diagonal if a.shape[0] == a.shape[1] else None


def compose(a: Any, b: Any) -> Operator:
    """The product: first b, then a. ShapeError where they do not fit.

    >>> import numpy as np
    >>> from benben import operators
    >>> operators.compose(np.array([[2.0]]), np.array([[3.0, 4.0]])) @ np.ones(2)
    array([14.])
    """
    a, b = as_operator(a), as_operator(b)
    if a.shape[1] != b.shape[0]:
        raise ShapeError(f"A @ B: the shapes {a.shape} and {b.shape} do not fit")
    return Operator(
        (a.shape[0], b.shape[1]),
        lambda v: a._matmul(b._matmul(v)),
        lambda v: b._rmatmul(a._rmatmul(v)),
        np.result_type(a.dtype, b.dtype),
        f"({a._text} @ {b._text})",
        like=_like([a, b]),
    )


def add(a: Any, b: Any) -> Operator:
    """The sum. ShapeError where the shapes differ.

    >>> import numpy as np
    >>> from benben import operators
    >>> operators.add(np.eye(2), np.ones((2, 2))) @ np.ones(2)
    array([3., 3.])
    """
    a, b = as_operator(a), as_operator(b)
    if a.shape != b.shape:
        raise ShapeError(f"A + B: the shapes {a.shape} and {b.shape} differ")
    return Operator(
        a.shape,
        lambda v: a._matmul(v) + b._matmul(v),
        lambda v: a._rmatmul(v) + b._rmatmul(v),
        np.result_type(a.dtype, b.dtype),
        f"({a._text} + {b._text})",
        *_entries([a, b], lambda parts: parts[0] + parts[1]),
        like=_like([a, b]),
    )


def identity(n: int, dtype: Any = "float64") -> Operator:
    """The identity of n rows.

    >>> from benben import operators
    >>> operators.identity(2).dense().tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return Operator(
        (n, n),
        lambda v: v,
        lambda v: v,
        dtype,
        "identity",
        lambda numbers: (np.arange(n)[:, None] == numbers).astype(dtype),
        lambda: np.ones(n, dtype),
    )


def diagonal(d: Any) -> Operator:
    """The diagonal matrix of a vector.

    >>> import numpy as np
    >>> from benben import operators
    >>> operators.diagonal(np.array([2.0, 3.0])) @ np.ones(2)
    array([2., 3.])
    """

    def times(entries: Any) -> Callable[[Any], Any]:
        return lambda v: entries * v if len(v.shape) == 1 else entries[:, None] * v

    return Operator(
        (len(d), len(d)),
        times(d),
        times(d.conj()),
        d.dtype,
        "diagonal",
        lambda numbers: np.where(np.arange(len(d))[:, None] == numbers, np.asarray(d)[:, None], 0),
        lambda: d,
        d if hasattr(d, "new_tensor") else None,
    )


def block(rows: Sequence[Sequence[Any]]) -> Operator:
    """The block matrix [[A, B], [C, D]]; None is a block of zeros. ShapeError where heights or widths differ.

    >>> import numpy as np
    >>> from benben import operators
    >>> operators.block([[np.eye(1), None], [np.ones((1, 1)), 2 * np.eye(1)]]).dense().tolist()
    [[1.0, 0.0], [1.0, 2.0]]
    """
    grid = [[None if a is None else as_operator(a) for a in row] for row in rows]
    if not grid or any(len(row) != len(grid[0]) for row in grid):
        raise ShapeError("block: the rows have different numbers of blocks")
    heights = [_common([a.shape[0] for a in row if a is not None], "rows") for row in grid]
    down_grid = [[row[k] for row in grid] for k in range(len(grid[0]))]
    widths = [_common([a.shape[1] for a in column if a is not None], "columns") for column in down_grid]
    dtype = np.result_type(*[a.dtype for row in grid for a in row if a is not None])

    def product(adjoint: bool) -> Callable[[Any], Any]:
        across, down = (heights, widths) if adjoint else (widths, heights)

        def apply(v: Any) -> Any:
            axis = -1 if len(v.shape) == 1 else -2
            parts = _split(v, across, axis)
            out = []
            for k, size in enumerate(down):
                blocks = [row[k] for row in grid] if adjoint else grid[k]
                terms = [
                    a._rmatmul(p) if adjoint else a._matmul(p)
                    for a, p in zip(blocks, parts, strict=True)
                    if a is not None
                ]
                shape = list(v.shape)
                shape[axis] = size
                out.append(sum(terms[1:], terms[0]) if terms else _zeros(shape, v))
            return _join(out, axis)

        return apply

    def columns(numbers: Any) -> Any:
        out = np.zeros((sum(heights), len(numbers)), dtype)
        for c, left in enumerate(np.cumsum([0, *widths[:-1]])):
            here = np.flatnonzero((numbers >= left) & (numbers < left + widths[c]))
            for r, top in enumerate(np.cumsum([0, *heights[:-1]])):
                a = grid[r][c]
                if a is not None and len(here):
                    out[top : top + heights[r], here] = a.columns(numbers[here] - left)
        return out

    def diagonal() -> Any:
        parts = [grid[k][k] for k in range(len(grid))]
        like = _like(parts)
        like = np.empty(0, dtype) if like is None else like
        return _join([_zeros([heights[k]], like) if p is None else p.diagonal() for k, p in enumerate(parts)], 0)

    known = heights == widths and all(a is None or a.has_entries for row in grid for a in row)
    return Operator(
        (sum(heights), sum(widths)),
        product(False),
        product(True),
        dtype,
        "block",
        columns if known else None,
        diagonal if known else None,
        like=_like([a for row in grid for a in row]),
    )


def _common(sizes: list[int], what: str) -> int:
    if not sizes or len(set(sizes)) != 1:
        raise ShapeError(f"block: blocks beside or below each other have {sizes} {what}")
    return sizes[0]
