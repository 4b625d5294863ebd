"""Masks: which pairs (i, j) take part in the reductions of a LazyTensor.

`K.masked(mask)` is K without the pairs outside of the mask: they are absent from every reduction, whatever their
values, infinite and NaN included. A row without any pair gives what a reduction of nothing gives: 0 for a sum, 1 for a
product, inf and the index -1 for a minimum, -inf for a maximum and for logsumexp, NaN for a mean and for a softmax.

Masks are made here, of comparisons of LazyTensors, and of both by `&`, `|`, `~`:

>>> import numpy as np
>>> from benben import masks
>>> from benben.numpy import Vi, Vj
>>> x = np.arange(5.0)[:, None]
>>> D = (Vi(x) - Vj(x)).abs().sum(-1)
>>> D.masked(masks.causal()).sum(axis=1).ravel().tolist()
[0.0, 1.0, 3.0, 6.0, 10.0]
>>> D.masked(~masks.band(0)).argmin(axis=1).ravel().tolist()
[1, 0, 1, 2, 3]
>>> D.masked(masks.blocks([0, 0, 1, 1, 1]) & (D < 2)).sum(axis=1).ravel().tolist()
[1.0, 1.0, 1.0, 2.0, 1.0]

What rows leave out in whole intervals (causal, band, blocks, intervals, and what `&` makes of these) is not computed:
the pairs become block-sparse ranges, with a comparison where intervals end inside a block.

Gradients (PyTorch): an absent pair adds nothing, unless the derivative of its own entry is infinite or NaN, as that of
1 / |x_i - x_i| is: 0 times inf is NaN there, as with torch.where. Add a small number under such a root or quotient.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from . import _blocks
from ._errors import ArgumentError, ShapeError

__all__ = ["Mask", "band", "blocks", "causal", "intervals", "radius"]


class Mask:
    """A set of pairs (i, j). `a & b`, `a | b`, `~a` are masks; so are comparisons of LazyTensors beside one.

    >>> from benben import masks
    >>> masks.causal() & ~masks.band(3)
    (causal(0) & ~band(3, 3))
    """

    __slots__ = ("text",)
    __array_ufunc__ = None
    text: str

    def _structure(self, m: int, n: int) -> _blocks.Structure | None:
        """The pairs as an interval of columns for each row, where they are."""
        return None

    def _bind(self, K: Any) -> Any:
        """The mask for the rows and columns of K: a _masked.Bound."""
        from ._masked import bind_structure

        structure = self._structure(*K._shape[-3:-1])
        assert structure is not None
        return bind_structure(K, structure)

    def __and__(self, other: Any) -> Mask:
        return _And(self, as_mask(other))

    def __rand__(self, other: Any) -> Mask:
        return _And(as_mask(other), self)

    def __or__(self, other: Any) -> Mask:
        return _Or(self, as_mask(other))

    def __ror__(self, other: Any) -> Mask:
        return _Or(as_mask(other), self)

    def __invert__(self) -> Mask:
        return _Not(self)

    def __bool__(self) -> bool:
        raise ValueError("a mask is neither true nor false: combine masks by & | ~")

    def __repr__(self) -> str:
        return self.text


def as_mask(mask: Any) -> Mask:
    """A mask, or a comparison of LazyTensors as one. ArgumentError for anything else."""
    if isinstance(mask, Mask):
        return mask
    if getattr(mask, "__GenericLazyTensor__", False):
        return _Where(mask)
    raise ArgumentError(
        f"mask: expected one of benben.masks or a comparison of LazyTensors, such as D < 1, found "
        f"{type(mask).__module__}.{type(mask).__qualname__}"
    )


class _Where(Mask):
    """A LazyTensor of numbers: the pairs where it is not 0."""

    __slots__ = ("condition",)

    def __init__(self, condition: Any) -> None:
        condition._refuse_reduced()
        if condition.is_complex or condition._vector_dim != 1:
            raise ShapeError(
                f"mask: a comparison has one number for each pair, found a {type(condition).__name__} of the shape "
                f"{condition.shape}; compare a norm, or reduce the components by .all()"
            )
        self.condition, self.text = condition, "comparison"

    def _bind(self, K: Any) -> Any:
        from ._masked import Bound

        condition = self.condition
        bound = Bound(condition._without_mask())
        return bound if condition._mask is None else bound & condition._mask


class _And(Mask):
    __slots__ = ("parts",)

    def __init__(self, *parts: Mask) -> None:
        self.parts: tuple[Mask, ...] = ()
        for part in parts:
            self.parts += part.parts if isinstance(part, _And) else (part,)
        self.text = "(" + " & ".join(map(str, self.parts)) + ")"

    def _structure(self, m: int, n: int) -> _blocks.Structure | None:
        found = [part._structure(m, n) for part in self.parts]
        return _blocks.intersection([s for s in found if s is not None]) if all(s is not None for s in found) else None

    def _bind(self, K: Any) -> Any:
        from ._masked import bind_structure

        m, n = K._shape[-3:-1]
        structures, rest = [], []
        for part in self.parts:
            structure = part._structure(m, n)
            if structure is None:
                rest.append(part._bind(K))
            else:
                structures.append(structure)
        if structures:
            rest.insert(0, bind_structure(K, _blocks.intersection(structures)))
        bound = rest[0]
        for other in rest[1:]:
            bound = bound & other
        return bound


class _Or(Mask):
    __slots__ = ("parts",)

    def __init__(self, *parts: Mask) -> None:
        self.parts, self.text = parts, "(" + " | ".join(map(str, parts)) + ")"

    def _bind(self, K: Any) -> Any:
        a, b = [part._bind(K) for part in self.parts]
        return a | b


class _Not(Mask):
    __slots__ = ("part",)

    def __init__(self, part: Mask) -> None:
        self.part, self.text = part, f"~{part}"

    def _bind(self, K: Any) -> Any:
        return ~self.part._bind(K)


class _Band(Mask):
    """i - lower <= j <= i + upper; None: no bound."""

    __slots__ = ("lower", "upper")

    def __init__(self, lower: int | None, upper: int | None, text: str) -> None:
        self.lower, self.upper, self.text = lower, upper, text

    def _structure(self, m: int, n: int) -> _blocks.Structure:
        i = np.arange(m)
        start = np.zeros(m, np.int64) if self.lower is None else i - self.lower
        stop = np.full(m, n) if self.upper is None else i + self.upper + 1
        return _blocks.Structure(m, n, start, stop)


class _Blocks(Mask):
    __slots__ = ("i", "j")

    def __init__(self, i: Any, j: Any) -> None:
        self.i, self.j, self.text = i, j, "blocks(...)"

    def _structure(self, m: int, n: int) -> _blocks.Structure:
        for labels, count, name in ((self.i, m, "batch_i"), (self.j, n, "batch_j")):
            if labels.shape[-1] != count:
                raise ShapeError(
                    f"masks.blocks: {name} has {labels.shape[-1]} labels, but the matrix has {m} rows and {n} columns"
                )
        return _blocks.Structure(m, n, labels_i=self.i, labels_j=self.j)


class _Intervals(Mask):
    __slots__ = ("start", "stop")

    def __init__(self, start: Any, stop: Any) -> None:
        self.start, self.stop, self.text = start, stop, "intervals(...)"

    def _structure(self, m: int, n: int) -> _blocks.Structure:
        try:
            start, stop = [np.broadcast_to(a, (*a.shape[:-1], m)) for a in (self.start, self.stop)]
        except ValueError:
            raise ShapeError(
                f"masks.intervals: start and stop have the shapes {self.start.shape} and {self.stop.shape}; expected "
                f"(..., {m}), one interval for each row, or (..., 1)"
            ) from None
        return _blocks.Structure(m, n, start, stop)


class _Ball(NamedTuple):
    radius: float
    x: Any
    y: Any


class _Radius(Mask):
    __slots__ = ("ball", "leaf")

    def __init__(self, ball: _Ball, leaf: int) -> None:
        self.ball, self.leaf, self.text = ball, leaf, f"radius({ball.radius})"

    def _bind(self, K: Any) -> Any:
        from ._formula import PLACE_I, PLACE_J
        from ._masked import Bound

        r, x, y = self.ball
        cls = K.real_class
        near = cls._along(x, PLACE_I).sqdist(cls._along(y, PLACE_J)) <= r * r
        if not self.leaf or near.nbatchdims:
            return Bound(near)
        to_numpy = K.tools.to_numpy
        return Bound(near, _blocks.of_ball(to_numpy(x), to_numpy(y), r, self.leaf), near)


def _integer(n: Any, name: str) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise ArgumentError(f"masks.{name}: expected an integer, found {n!r}")
    return int(n.__index__())


def _integers(values: Any, name: str) -> Any:
    array = np.asarray(values.detach().cpu() if hasattr(values, "detach") else values)
    if array.size == 0:
        array = array.astype(np.int64)
    if array.ndim == 0 or array.dtype.kind not in "biu":
        raise ArgumentError(
            f"masks.{name}: expected an array of integers with one dimension or more, found the shape {array.shape} "
            f"and the dtype {array.dtype}"
        )
    return array.astype(np.int64)


def causal(offset: int = 0) -> Mask:
    """The pairs with j <= i + offset, as numpy.tri has them: each row sees itself and what is before.

    For M queries about the last M of N keys, offset is N - M.

    >>> import numpy as np
    >>> from benben import masks
    >>> from benben.numpy import Vi, Vj
    >>> one = np.ones((3, 1))
    >>> (Vi(one) * Vj(one)).masked(masks.causal()).filled(0).dense().tolist()
    [[1.0, 0.0, 0.0], [1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    offset = _integer(offset, "causal: offset")
    return _Band(None, offset, f"causal({offset})")


def band(lower: int, upper: int | None = None) -> Mask:
    """The pairs with i - lower <= j <= i + upper; upper is lower unless given, so that band(0) is the diagonal.

    >>> import numpy as np
    >>> from benben import masks
    >>> from benben.numpy import Vi, Vj
    >>> one = np.ones((4, 1))
    >>> (Vi(one) * Vj(one)).masked(masks.band(1)).sum(axis=1).ravel().tolist()
    [2.0, 3.0, 3.0, 2.0]
    """
    lower = _integer(lower, "band: lower")
    upper = lower if upper is None else _integer(upper, "band: upper")
    return _Band(lower, upper, f"band({lower}, {upper})")


def blocks(batch_i: Any, batch_j: Any = None) -> Mask:
    """The pairs of equal labels: batch_i (..., M) and batch_j (..., N) are integers; batch_j is batch_i unless given.

    Labels in any order: rows and columns are sorted by label for the computation (unless there are batch dimensions,
    where labels that are not ascending are compared pair by pair).

    >>> import numpy as np
    >>> from benben import masks
    >>> from benben.numpy import Vi, Vj
    >>> x = np.array([[0.0], [5.0], [1.0], [7.0]])
    >>> D = (Vi(x) - Vj(x)).abs().sum(-1)
    >>> D.masked(masks.blocks([0, 1, 0, 1])).sum(axis=1).ravel().tolist()
    [1.0, 2.0, 1.0, 2.0]
    """
    i = _integers(batch_i, "blocks: batch_i")
    return _Blocks(i, i if batch_j is None else _integers(batch_j, "blocks: batch_j"))


def intervals(start: Any, stop: Any) -> Mask:
    """Row i has the columns start[i] <= j < stop[i]: integers of the shape (..., M) or (..., 1). Padded sequences are
    intervals([0], lengths[:, None]).

    >>> import numpy as np
    >>> from benben import masks
    >>> from benben.numpy import Vi, Vj
    >>> one = np.ones((3, 1))
    >>> (Vi(one) * Vj(one)).masked(masks.intervals([0, 1, 2], [3, 2, 2])).sum(axis=1).ravel().tolist()
    [3.0, 1.0, 0.0]
    """
    return _Intervals(_integers(start, "intervals: start"), _integers(stop, "intervals: stop"))


def radius(r: float, x: Any, y: Any = None, clusters: bool | int = False) -> Mask:
    """The pairs with |x_i - y_j| <= r for points x (M, D) and y (N, D), y = x unless given. For another distance
    compare a LazyTensor: K.masked(distance <= r).

    clusters: True, or how many points a cluster has at most, sorts the points into boxes, so that only boxes within
    reach of each other are met: worth while where r is small beside the extent of the points. Equal values of a
    minimum are then taken in the order of the boxes, not of the columns.

    >>> import numpy as np
    >>> from benben import masks
    >>> from benben.numpy import Vi, Vj
    >>> x = np.array([[0.0], [1.0], [3.0]])
    >>> (Vi(x) - Vj(x)).abs().sum(-1).masked(masks.radius(2, x)).max(axis=1).ravel().tolist()
    [1.0, 2.0, 2.0]
    """
    if isinstance(r, bool) or not isinstance(r, (int, float, np.number)) or not r >= 0:
        raise ArgumentError(f"masks.radius: r = {r!r}; expected a number >= 0")
    y = x if y is None else y
    for points, name in ((x, "x"), (y, "y")):
        if len(getattr(points, "shape", ())) < 2:
            raise ArgumentError(f"masks.radius: {name} is no array of points (M, D)")
    if x.shape[-1] != y.shape[-1]:
        raise ShapeError(f"masks.radius: x has the shape {tuple(x.shape)}, y {tuple(y.shape)}: dimensions differ")
    leaf = int(clusters) * _blocks.ROWS if isinstance(clusters, bool) else _integer(clusters, "radius: clusters")
    if leaf < 0:
        raise ArgumentError(f"masks.radius: clusters = {clusters!r}; expected True, or a number of points >= 1")
    return _Radius(_Ball(float(r), x, y), leaf)
