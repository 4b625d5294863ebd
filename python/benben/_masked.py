"""Masked LazyTensors: pairs that are absent from reductions (masks.py says which masks there are).

A mask is bound to a LazyTensor as a LazyTensor of its own, 1 where a pair takes part: so it is transposed, indexed and
joined by what exists. Beside it stand ranges, which leave out most of the rest before anything is computed, and what
is left to compare for each pair where these ranges are used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _blocks, masks
from ._errors import ArgumentError, ShapeError
from ._formula import BY_ALIAS, PLACE_I, PLACE_J

# what leaves a reduction as it is
_SUM, _PRODUCT, _EXTREMUM, _EXPONENT = 0.0, 1.0, float("nan"), -float("inf")
NEUTRAL = {
    "sum": _SUM,
    "any": _SUM,
    "count": _SUM,
    "prod": _PRODUCT,
    "all": _PRODUCT,
    "min": _EXTREMUM,
    "max": _EXTREMUM,
    "argmin": _EXTREMUM,
    "argmax": _EXTREMUM,
    "min_argmin": _EXTREMUM,
    "max_argmax": _EXTREMUM,
    "kmin": _EXTREMUM,
    "argkmin": _EXTREMUM,
    "kmin_argkmin": _EXTREMUM,
    "logsumexp": _EXPONENT,
    "logsumexpweight": _EXPONENT,
    "sumsoftmaxweight": _EXPONENT,
    "maxsumshiftexp": _EXPONENT,
    "maxsumshiftexpweight": _EXPONENT,
}
# integers up to here are exact; larger ones become digits of that base
_EXACT = {"float16": 2**11, "bfloat16": 2**8, "float32": 2**24, "float64": 2**53}


class Bound:
    """A mask of one LazyTensor. full: the comparison that says it all. blocks: ranges, or None; residual: the
    comparison that is left where they are used, None where they say it all."""

    __slots__ = ("full", "blocks", "residual")

    def __init__(self, full: Any, blocks: _blocks.Blocks | None = None, residual: Any = None) -> None:
        self.full, self.blocks, self.residual = full, blocks, residual

    def __and__(self, other: Bound) -> Bound:
        if self is other:
            return self
        full = self.full & other.full
        if self.blocks is None and other.blocks is None:
            return Bound(full)
        a, b = (self, other) if self.blocks is not None else (other, self)
        return Bound(full, a.blocks, b.full if a.residual is None else a.residual & b.full)

    def __or__(self, other: Bound) -> Bound:
        return self if self is other else Bound(self.full._op("logical_or", other.full))

    def __invert__(self) -> Bound:
        return Bound(~self.full)

    def transposed(self) -> Bound:
        return Bound(
            self.full.t(),
            None if self.blocks is None else self.blocks.transposed(),
            None if self.residual is None else self.residual.t(),
        )

    # ---- indexed as the LazyTensor that it belongs to ----
    def lines(self, place: int, key: Any) -> Bound:
        """Some rows, or columns."""
        extent = self.full.ni if place == PLACE_I else self.full.nj
        return Bound(self.full if extent is None else self.full._lines(place, key))

    def batch(self, axis: int, key: Any, batch: tuple[int, ...]) -> Bound:
        """Some elements of a batch axis of the LazyTensor, whose axes are `batch`."""
        own = self.full.batchdims
        if own is None or len(own) < -axis:
            return self
        full = self.full
        if own[axis] == 1 and batch[axis] != 1:
            if not hasattr(key, "__index__"):
                return self
            key = 0
        return Bound(full._batch(axis, key))

    def reshaped(self, wanted: tuple[int, ...], batch: tuple[int, ...]) -> Bound:
        """Other batch axes."""
        if self.full.batchdims is None:
            return self
        full = self.full._like()
        full.batchdims = batch
        last = tuple(full._shape[-3:])
        return Bound(full.reshape(*wanted, *last))


def bind_structure(K: Any, structure: _blocks.Structure) -> Bound:
    """The comparison position_j in [first_i, last_i), without the sides that always hold."""
    s = _blocks.sort(structure)
    batch = len(s.first.shape) > 1  # the formula must have the batch's axes
    low = _at_least(K, s.position, s.first, True) if batch or np.any(s.first > 0) else None
    high = _at_least(K, s.position, s.last, False) if np.any(s.last < structure.n) else None
    full = _all(K, low, high)
    if s.blocks is None:
        return Bound(full)
    if batch:
        return Bound(full, s.blocks, full)
    residual = _all(K, low if s.low else None, high if s.high else None) if s.low or s.high else None
    return Bound(full, s.blocks, residual)


def _all(K: Any, low: Any, high: Any) -> Any:
    if low is None and high is None:
        return K.real_class(1) == 1
    if low is None or high is None:
        return high if low is None else low
    return low & high


def _digits(values: Any, base: int, count: int) -> list[Any]:
    """The most significant one first."""
    digits = []
    for _ in range(count - 1):
        digits.append(values % base)
        values = values // base
    return [values, *reversed(digits)]


def _at_least(K: Any, position: Any, bound: Any, at_least: bool) -> Any:
    """position_j >= bound_i, or <. Exact: integers beyond the type's mantissa are compared digit by digit."""
    dtype = K._dtype or "float32"
    top, base, count = max(int(position.max(initial=0)), int(bound.max(initial=0))), _EXACT[dtype], 1
    while top >= base**count:
        count += 1

    def along(values: Any, place: int) -> list[Any]:
        return [
            K.real_class._along(K.tools.place(digit[..., None], dtype, K.variables), place)
            for digit in _digits(values, base, count)
        ]

    pairs = list(zip(along(position, PLACE_J), along(bound, PLACE_I), strict=True))
    p, b = pairs.pop()
    result = p >= b if at_least else p < b
    while pairs:
        p, b = pairs.pop()
        result = (p == b).where(result, p > b if at_least else p < b)
    return result


class MaskMethods:
    """Mixin of GenericLazyTensor."""

    _mask: Bound | None = None
    _blocks: _blocks.Blocks | None = None  # of what is about to be reduced: ranges of sorted rows and columns

    def masked(self: Any, mask: Any) -> Any:
        """The pairs of the mask alone: the others are absent from every reduction. mask: one of benben.masks, or a
        comparison of LazyTensors. Masks of operands are all heeded: (A.masked(m) * B.masked(n)) has the pairs m & n."""
        self._refuse_reduced()
        bound = masks.as_mask(mask)._bind(self)
        if bound.full.tools is not self.tools:
            raise ArgumentError(f"masked: the mask is one of {bound.full.tools.name}, expected {self.tools.name}")
        new = self._like()
        for name in ("ni", "nj"):
            mine, theirs = getattr(self, name), getattr(bound.full, name)
            if mine is not None and theirs is not None and mine != theirs:
                raise ShapeError(
                    f"masked: the mask has {theirs} {'rows' if name == 'ni' else 'columns'}, the LazyTensor {mine}"
                )
            setattr(new, name, theirs if mine is None else mine)
        new.batchdims = self._join(bound.full._without_mask())[0].batchdims
        new._mask = bound if self._mask is None else self._mask & bound
        return new

    def filled(self: Any, value: float = 0.0) -> Any:
        """The LazyTensor with this value in the pairs that its mask leaves out: it has no mask."""
        return self if self._mask is None else self._with_absent(self._mask.full, value)

    def _without_mask(self: Any) -> Any:
        if self._mask is None:
            return self
        new = self._like()
        new._mask = None
        return new

    def _refuse_masked(self: Any) -> None:
        if self._mask is not None:
            raise ArgumentError(
                "this LazyTensor is masked: entries outside of the mask are absent; K.filled(value) gives them a value"
            )

    def _with_absent(self: Any, condition: Any, value: float) -> Any:
        plain = self._without_mask()
        new = condition._nary("where", (plain, value))
        new.__class__ = type(self)
        return new

    # ---- reductions ----
    def _neutral(self: Any, short: str, keywords: Any, other: Any = None) -> tuple[Any, Any]:
        """(self with what leaves this reduction as it is in the absent pairs, without a mask; the weights likewise)."""
        bound = self._mask
        if short not in NEUTRAL:
            raise ValueError(f"{short} is not defined for a masked LazyTensor; K.filled(value) has no mask")
        blocks, condition = bound.blocks, bound.residual
        given = self.ranges is not None or keywords.get("ranges") is not None
        if blocks is None or given or (blocks.batch is not None and blocks.batch != self.batchdims):
            blocks, condition = None, bound.full
        new = self._without_mask() if condition is None else self._with_absent(condition, NEUTRAL[short])
        if blocks is not None:
            new._blocks = blocks
        if other is not None and condition is not None and not _finite(other):
            other = other._with_absent(condition, 0.0)
        return new, other

    def _reduce_masked(
        self: Any, name: str, other: Any, axis: Any, opt_arg: Any, call: bool, keywords: dict[str, Any]
    ) -> Any:
        short = BY_ALIAS.get(name, name)
        if any(arg.value is None for arg in self._args):
            raise ValueError(f"{name}: a masked LazyTensor has no symbolic variables")
        if short in ("mean", "var", "std"):
            axis = self._reduced_axis(axis, None, name) + self.nbatchdims
            if short == "mean":
                return self._masked_mean(axis, keywords)
            variance = self._masked_var(axis, keywords)
            return self.tools.sqrt(variance) if short == "std" else variance
        if short == "count":
            return (self != 0)._reduce_masked("Sum", None, axis, None, call, keywords)
        other = None if other is None else self._lift(other)
        new, other = self._neutral(short, keywords, other)
        return new.reduction(name, other, opt_arg, axis, call=call, **keywords)

    def _masked_matmul(self: Any, v: Any, flat: bool, keywords: dict[str, Any]) -> Any:
        """What is absent is left out of K where v is finite: one comparison for all columns of v."""
        if self.tools.all_finite(v):
            product = self._neutral("sum", keywords)[0] * self.real_class._along(v, PLACE_J)
        else:
            product = self * self.real_class._along(v, PLACE_J)
        result = product.reduction("Sum", axis=product.nbatchdims + 1, **keywords)
        return result[..., 0] if flat else result

    def _solvable(self: Any) -> Any:
        """Zeros where pairs are absent."""
        bound = self._mask
        if bound.blocks is not None and bound.residual is None and bound.blocks.rows is None and self.ranges is None:
            if bound.blocks.columns is None:
                new = self._without_mask()
                new.ranges = bound.blocks.ranges
                return new
        return self.filled(0.0)

    def _ones(self: Any) -> Any:
        """1 for each pair that is there."""
        batch, dtype = self.batchdims or (), "float64" if self._dtype in ("float64", None) else "float32"
        i = self.tools.place(np.ones((*batch, self._shape[-3], 1)), dtype, self.variables)
        j = self.tools.place(np.ones((self._shape[-2], 1)), dtype, self.variables)
        one = self.real_class._along(i, PLACE_I) * self.real_class._along(j, PLACE_J)
        one._mask, one.ranges = self._mask, self.ranges
        return one

    def _pairs_of(self: Any, axis: Any) -> Any:
        """How many pairs each row has."""
        return self._ones().reduction("Sum", axis=axis, use_double_acc=True)

    def _masked_mean(self: Any, axis: int, keywords: Any) -> Any:
        """The mean of what is there, over one axis of the matrix."""
        total = self.reduction("Sum", axis=axis, **keywords)
        return self.tools.cast(total / self._pairs_of(axis), total)

    def _masked_mean_over(self: Any, axis: Any, names: set[str]) -> Any:
        """Over several axes: the sum of all over the number of all."""
        base = self.mean(axis=-1) if "D" in names else self
        at = tuple([a for a in axis if self._kind_of_axis(a) != "D"])
        total = base._several("sum", at, self.tools.sum_axes)
        count = self._ones()._several("sum", at, self.tools.sum_axes)
        if base._shape[-1] != 1 and names >= {"I", "J"}:
            count = count[..., None]
        return self.tools.cast(total / count, total)

    def _masked_var(self: Any, axis: int, keywords: Any) -> Any:
        mean = self._masked_mean(axis, keywords)
        kept = PLACE_I if self._kind_of_axis(axis) == "J" else PLACE_J
        return (self - self.real_class._along(mean, kept))._unary("square")._masked_mean(axis, keywords)

    # ---- sorted rows and columns ----
    def _sorted_values(self: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        blocks, tools, values = self._blocks, self.tools, []
        for arg in args:
            order = blocks.rows if arg.place == PLACE_I else blocks.columns if arg.place == PLACE_J else None
            values.append(arg.value if order is None else tools.take(arg.value, order))
        return tuple(values)

    def _unsorted(self: Any, result: Any, axis: int) -> Any:
        """Rows in their own order again, indices those of the caller's arrays."""
        if isinstance(result, tuple):
            return tuple([self._unsorted(part, axis) for part in result])
        blocks, tools = self._blocks, self.tools
        kept, folded = (blocks.rows, blocks.columns) if axis == 2 else (blocks.columns, blocks.rows)
        if folded is not None and tools.is_index(result):
            result = tools.renumber(result, folded)
        if kept is not None and axis != 3:
            inverse = np.empty_like(kept)
            inverse[kept] = np.arange(len(kept))
            result = tools.take(result, inverse)
        return result


def _finite(weights: Any) -> bool:
    """Whether weights are numbers and arrays without inf and NaN: then exp(-inf) of them is 0."""
    tools = weights.tools
    return not weights._formula.op and all(
        not tools.is_array(arg.value) or tools.all_finite(arg.value) for arg in weights._args
    )
