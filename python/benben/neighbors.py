"""Neighbour lists: for each row of a LazyTensor the columns within a radius, in compressed form (CSR).

The distance is any LazyTensor of numbers. Memory is O(M + N) and the lists; rows are counted first, then filled.

>>> import numpy as np
>>> from benben import neighbors
>>> from benben.numpy import Vi, Vj
>>> x = np.array([[0.0], [1.0], [3.0]])
>>> found = neighbors.radius_search((Vi(x) - Vj(x)).abs().sum(-1), 2)
>>> found.indptr.tolist(), found.indices.tolist()
([0, 2, 5, 7], [0, 1, 0, 1, 2, 1, 2])
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ._errors import ArgumentError, ShapeError

__all__ = ["Neighbors", "count_within", "nearest_within", "radius_search"]

TILE = 2**22  # entries that are evaluated at once where rows have many neighbours
_FEW = 64  # neighbours of a row that are found as the smallest values rather than among all of them


class Neighbors(NamedTuple):
    """Row i has the neighbours indices[indptr[i]:indptr[i + 1]], at the distances in the same place of values.

    indptr: (M + 1,) and indices: int64; values: of the distance's type, or None unless asked for.
    """

    indptr: Any
    indices: Any
    values: Any = None

    def ranges(self, columns: int) -> tuple[Any, ...]:
        """The lists as ranges of a LazyTensor of `columns` columns: reductions over the neighbours alone.

        >>> import numpy as np
        >>> from benben import neighbors
        >>> from benben.numpy import Vi, Vj
        >>> x = np.array([[0.0], [1.0], [3.0]])
        >>> K = Vi(x) + Vj(x)
        >>> K.ranges = neighbors.Neighbors(np.array([0, 1, 2, 4]), np.array([1, 0, 0, 2])).ranges(3)
        >>> K.sum(axis=1).ravel().tolist()
        [1.0, 1.0, 9.0]
        """
        indptr, indices = [_to_numpy(a).astype(np.int64) for a in (self.indptr, self.indices)]
        if indices.size and not 0 <= indices.min() <= indices.max() < columns:
            raise ShapeError(f"the lists name columns up to {indices.max()}, but there are {columns}")
        rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
        order = np.argsort(indices, kind="stable")
        ends = np.cumsum(np.bincount(indices, minlength=columns))
        return (*_singles(indptr[1:], indices), *_singles(ends, rows[order]))


def _singles(ends: Any, others: Any) -> tuple[Any, Any, Any]:
    n = np.arange(len(ends))
    return np.stack([n, n + 1], 1), ends, np.stack([others, others + 1], 1)


def _to_numpy(a: Any) -> Any:
    return np.asarray(a.detach().cpu() if hasattr(a, "detach") else a)


def _check(D: Any, r: Any, name: str) -> float:
    if not getattr(D, "__GenericLazyTensor__", False):
        raise ArgumentError(f"{name}: D is {type(D).__qualname__}; expected a LazyTensor of distances")
    D._refuse_reduced()
    if D.is_complex or D._vector_dim != 1 or D.nbatchdims:
        raise ShapeError(
            f"{name}: D has the shape {D.shape}; expected one real number for each pair of M rows and N columns (for "
            "batches: benben.masks.blocks)"
        )
    if isinstance(r, bool) or not isinstance(r, (int, float, np.number)) or np.isnan(r):
        raise ArgumentError(f"{name}: r = {r!r}; expected a number")
    if D.variables and any(arg.value is None for arg in D._args):
        raise ArgumentError(f"{name}: D has symbolic variables: their values are not known")
    return float(r)


def count_within(D: Any, r: float) -> Any:
    """How many columns j have D[i, j] <= r, for each row: (M,), int64.

    >>> import numpy as np
    >>> from benben import neighbors
    >>> from benben.numpy import Vi, Vj
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> neighbors.count_within((Vi(x) - Vj(x)).abs().sum(-1), 1.5).tolist()
    [2, 2, 1]
    """
    return _given(D, _count(D, _check(D, r, "count_within")))


def _count(D: Any, r: float) -> Any:
    """Columns are counted in parts that the type of the result holds exactly."""
    near, m, n = D <= r, D._shape[-3], D._shape[-2]
    part = {"bfloat16": 2**8, "float16": 2**11}.get(D._dtype, 2**24)
    total = np.zeros(m, np.int64)
    for at in range(0, n, part):
        some = near if n <= part else near[:, at : at + part]
        total += D.tools.to_numpy(some.sum(axis=1))[:, 0].astype(np.int64)
    return total


def _given(D: Any, a: Any, dtype: str = "int64") -> Any:
    """A NumPy array as one of the library of D."""
    return D.tools.place(a, dtype, D.variables)


def radius_search(D: Any, r: float, values: bool = False, order: str = "index") -> Neighbors:
    """The columns j with D[i, j] <= r for each row i, exactly; NaN is not near. D: a LazyTensor (M, N), masked or not.

    values: whether the distances are returned as well. order: "index", columns ascending, or "value", nearest first.
    Returns Neighbors(indptr (M + 1,), indices, values); int64. For points and a radius that is small, mask the
    distance by masks.radius(..., clusters=True): far boxes are not looked at.

    >>> import numpy as np
    >>> from benben import masks, neighbors
    >>> from benben.numpy import Vi, Vj
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> D = ((Vi(x) - Vj(x)) ** 2).sum(-1).masked(~masks.band(0))
    >>> neighbors.radius_search(D, 4, values=True, order="value")
    Neighbors(indptr=array([0, 1, 3, 4]), indices=array([1, 0, 2, 1]), values=array([1., 1., 4., 4.]))
    """
    r = _check(D, r, "radius_search")
    _check_order(order, "radius_search")
    lists = _Lists(D, r, _count(D, r), values, order)
    lists.fill()
    return lists.finish()


def _check_order(order: str, name: str) -> None:
    if order not in ("index", "value"):
        raise ArgumentError(f"{name}: order = {order!r}; expected 'index' or 'value'")


class _Lists:
    """Lists that are filled in any order of the rows. A part is (rows, indices, values), its rows complete and in
    order."""

    def __init__(self, D: Any, r: float, counts: Any, values: bool, order: str) -> None:
        self.D, self.r, self.counts, self.values, self.order = D, r, counts, values, order
        # halves are compared as they are computed, not as they are rounded for the result
        self.rounded = D._dtype in ("float16", "bfloat16")
        self.m, self.n = D._shape[-3:-1]
        self.parts: list[tuple[Any, Any, Any]] = []
        self.differ = np.zeros(0, np.int64)  # rows that were counted otherwise than they were found

    def fill(self) -> None:
        """Rows of few neighbours by their smallest values, in groups of about as many; others by all values."""
        counts, most = self.counts, int(self.counts.max(initial=0))
        whole = self.D.ranges is not None or (self.D._mask is not None and self.D._mask.blocks is not None)
        if whole and self.m * most <= 4 * counts.sum() + TILE:  # ranges are about all rows
            self.smallest(np.arange(self.m), most)
        else:
            width = 1
            while width <= _FEW:
                self.smallest(np.flatnonzero((counts <= width) & (counts > width // 2)), width)
                width *= 2
            self.dense(np.flatnonzero(counts > _FEW))
        self.dense(self.differ)

    def smallest(self, rows: Any, k: int) -> None:
        """Rows of k neighbours or fewer. A row in which not as many are found as were counted (where a value equals r
        but for the last bit, two kernels might differ) is looked at again."""
        k = min(k, self.n)
        if not k or not len(rows):
            return
        D = self.D.masked(self.D <= self.r) if self.rounded else self.D
        step = self.m if len(rows) == self.m else max(1, TILE // k)
        for at in range(0, len(rows), step):
            some = rows[at : at + step]
            value, index = (D if len(some) == self.m else D[some, :]).Kmin_argKmin(k, axis=1)
            value, index = self.D.tools.to_numpy(value), self.D.tools.to_numpy(index)
            keep = (index >= 0) & (self.rounded | (value <= self.r))
            right = keep.sum(1) == self.counts[some]
            self.differ = np.concatenate([self.differ, some[~right]])
            keep &= right[:, None]
            if self.order == "index":
                arrange = np.argsort(np.where(keep, index, self.n), axis=1)
                index, value, keep = [np.take_along_axis(a, arrange, 1) for a in (index, value, keep)]
            self.parts.append((np.repeat(some, keep.sum(1)), index[keep], value[keep] if self.values else None))

    def dense(self, rows: Any) -> None:
        """Rows of any number of neighbours: all values, tile by tile."""
        to_numpy, width = self.D.tools.to_numpy, max(1, min(self.n, TILE))
        near, distance = (self.D <= self.r).filled(0.0), self.D.filled(float("nan"))
        step = max(1, TILE // width)
        for at in range(0, len(rows), step):
            some = rows[at : at + step]
            found: list[list[Any]] = [[], [], []]
            for begin in range(0, self.n, width):
                columns = slice(begin, begin + width)
                value = to_numpy(distance[some, columns].dense())
                keep = to_numpy(near[some, columns].dense()) if self.rounded else value <= self.r
                flat = np.flatnonzero(keep)
                i, j = np.divmod(flat, value.shape[1])
                for part, more in zip(found, (i, j + begin, value.reshape(-1)[flat]), strict=True):
                    part.append(more)
            i, j, value = [np.concatenate(part) for part in found]
            if self.order == "value" or len(found[0]) > 1:
                arrange = np.lexsort([j, i] if self.order == "index" else [j, value, i])
                i, j, value = i[arrange], j[arrange], value[arrange]
            self.parts.append((some[i], j, value if self.values else None))

    def finish(self) -> Neighbors:
        """The parts, each row in its place."""
        counts = np.zeros(self.m, np.int64)
        for rows, _, _ in self.parts:
            counts += np.bincount(rows, minlength=self.m)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        indices = np.empty(indptr[-1], np.int64)
        dtype = self.D._dtype or "float64"
        values = np.empty(indptr[-1], "float32" if dtype == "bfloat16" else dtype) if self.values else None
        for rows, index, value in self.parts:
            begins = np.flatnonzero(np.diff(rows, prepend=-1))
            within = np.arange(len(rows)) - np.repeat(begins, np.diff(begins, append=len(rows)))
            indices[indptr[rows] + within] = index
            if values is not None:
                values[indptr[rows] + within] = value
        self.parts.clear()
        given = None if values is None else _given(self.D, values, dtype)
        return Neighbors(_given(self.D, indptr), _given(self.D, indices), given)


def nearest_within(D: Any, K: int, r: float, values: bool = False, order: str = "value") -> Neighbors:
    """The K nearest columns of each row among those with D[i, j] <= r, as lists; rows have K neighbours or fewer.

    Arguments and result as those of radius_search; nearest first unless order is "index". Equal distances: the
    smaller index.

    >>> import numpy as np
    >>> from benben import neighbors
    >>> from benben.numpy import Vi, Vj
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> neighbors.nearest_within((Vi(x) - Vj(x)).abs().sum(-1), 2, 1.5)
    Neighbors(indptr=array([0, 2, 4, 5]), indices=array([0, 1, 1, 0, 2]), values=None)
    """
    r = _check(D, r, "nearest_within")
    _check_order(order, "nearest_within")
    if isinstance(K, bool) or not hasattr(K, "__index__") or K < 1:
        raise ArgumentError(f"nearest_within: K = {K!r}; expected an integer >= 1")
    m, n = D._shape[-3:-1]
    near = D.masked(D <= r).Kmin_argKmin(max(1, min(int(K), n)), axis=1)
    value, index = [D.tools.to_numpy(a) for a in near]
    keep = index >= 0
    indptr = np.concatenate([[0], np.cumsum(keep.sum(1))])
    rows, indices, found = np.repeat(np.arange(m), keep.sum(1)), index[keep], value[keep]
    if order == "index":
        arrange = np.lexsort((indices, rows))
        indices, found = indices[arrange], found[arrange]
    given = _given(D, found, D._dtype or "float64") if values else None
    return Neighbors(_given(D, indptr), _given(D, indices), given)
