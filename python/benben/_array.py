"""A LazyTensor as an array: indexing, transposition, dense values, statistics (NumPy's functions: _ufunc.py).

The axes are (..., M, N, D). A bare key is about the last one, as in KeOps: x[2], x[1:]. A tuple is about all of them,
missing ones at the end being `:`, and `...` stands for any number. Slices, masks and lists of rows and columns index
the arrays behind the matrix and stay lazy; integers there give values.
"""

from __future__ import annotations

import math
from typing import Any

from . import _core, _formula
from ._errors import ArgumentError, ShapeError
from ._formula import PLACE_I, PLACE_J, PLACE_P
from ._named import _check_keywords
from ._options import DEFAULT_ACCURACY
from ._reduce import Plan

_MOST_TERMS = 64  # batch elements that a formula adds up
DENSE_LIMIT = 2**27  # entries that dense() makes without being asked twice: 1 GiB of float64


def _rows_plan(f: _formula.Formula, key: tuple[Any, str], signature: tuple[tuple[int, int], ...]) -> Plan:
    code: list[Any] = []
    outputs = (("", 0, _formula.instructions(f, code), -1, 0),)
    program = _core.build(code, signature, outputs)
    return Plan(key[0].compile(program, ("build", code, signature, outputs), DEFAULT_ACCURACY), program, 0, signature)


class ArrayMethods:
    """Mixin of GenericLazyTensor."""

    # ---- transposition ----
    def t(self: Any) -> Any:
        """The transpose: i and j exchanged, ranges too."""
        new = self._like()
        new._formula = self._formula.replaced((PLACE_P, PLACE_J, PLACE_I))
        new._args = tuple([arg.along(PLACE_J if arg.place == PLACE_I else PLACE_I) for arg in self._args])
        new.ni, new.nj = self.nj, self.ni
        if self.ranges is not None:
            new.ranges = swap_ranges(self.ranges)
        if self._mask is not None:
            new._mask = self._mask.transposed()
        return new

    @property
    def T(self: Any) -> Any:
        return self.t()

    @property
    def H(self: Any) -> Any:
        """The conjugate transpose."""
        return self.t().conj()

    def transpose(self: Any) -> Any:
        """The transpose."""
        return self.t()

    # ---- values ----
    def _rows_of(self: Any, places: tuple[int, int, int], values: tuple[Any, ...], rows: int) -> Any:
        """The formula with its variables at other places, for each row; no pair is reduced."""
        if any(arg.value is None for arg in self._args):
            raise ValueError("there are symbolic variables: values are not known")
        f = self._formula.replaced(places)
        key = (self.tools, "rows")
        plan = f.plan(key) or f.keep(key, _rows_plan, tuple([(places[arg.place], arg.dim) for arg in self._args]))
        result = self.tools.run(plan, values, None, plan.rows_i, plan.rows_j, None)
        if plan.uniform:
            result = self.tools.repeat_rows(result, rows)
        return self.tools.as_complex(result) if self.is_complex else result

    def dense(self: Any, limit: int | None = None) -> Any:
        """The matrix itself, an array of the shape self.shape. A matrix of more than `limit` entries (2^27 unless
        told) is refused: what a LazyTensor is good for is never to store it."""
        self._refuse_reduced()
        self._refuse_masked()
        full = self._shape
        limit = DENSE_LIMIT if limit is None else limit
        if math.prod(full) > limit:
            raise ArgumentError(
                f"a dense array of the shape {full} has {math.prod(full)} entries, more than the limit of "
                f"{limit}: reduce the LazyTensor instead, index it first (K[:100, :]), or pass limit="
            )
        if self.ranges is not None:
            raise ArgumentError("this LazyTensor has ranges: its entries outside of them are not zero but left out")
        values = []
        for arg in self._args:  # i: a batch axis; j: the rows
            value = arg.value
            if arg.place != PLACE_I and self.tools.is_array(value):
                value = value[..., None, :, :] if arg.place == PLACE_J else value[..., None, :]
            values.append(value)
        result = self._rows_of((PLACE_P, PLACE_P, PLACE_I), tuple(values), full[-2])
        n = len(full)
        if len(result.shape) < n:  # no array had these axes
            result = result.reshape((1,) * (n - len(result.shape)) + tuple(result.shape))
        if tuple(result.shape) != full:
            result = self.tools.broadcast(result, full)
        return result[..., 0] if full[-1] == 1 else result

    def __array__(self: Any, dtype: Any = None, copy: Any = None) -> Any:
        if copy is False:
            raise ValueError("the entries of a LazyTensor are not stored: an array of them is always a new one")
        values = self.tools.to_numpy(self.dense())
        return values if dtype is None else values.astype(dtype)

    def diagonal(self: Any) -> Any:
        """The entries (i, i): (..., M), with D behind where it is not 1."""
        self._refuse_reduced()
        self._refuse_masked()
        full = self._shape
        if full[-3] != full[-2]:
            raise ShapeError(f"diagonal: the matrix has {full[-3]} rows and {full[-2]} columns")
        result = self._rows_of((PLACE_P, PLACE_I, PLACE_I), tuple([arg.value for arg in self._args]), full[-2])
        return result[..., 0] if full[-1] == 1 else result

    def trace(self: Any) -> Any:
        """The sum of the diagonal."""
        values = self.diagonal()
        return values.sum(-1 if self._shape[-1] == 1 else -2)

    # ---- indexing ----
    def __getitem__(self: Any, key: Any) -> Any:
        self._refuse_reduced()
        if not isinstance(key, tuple):
            if key is Ellipsis:
                return self
            return self._component(key, strict=True)
        keys = _expand(key, self.nbatchdims + 3)
        new = self._batches(keys[:-3])
        i, j, d = keys[-3:]
        if not _is_all(d):
            new = new._component(d, strict=False)
        if _is_all(i) and _is_all(j):
            return new
        if new.ranges is not None:
            raise ArgumentError(
                "this LazyTensor has ranges, which are about all of its rows and columns: index it before"
            )
        return new._entries(i, j)

    def _component(self: Any, key: Any, strict: bool) -> Any:
        """The feature axis. strict: as KeOps has it, neither negative nor with a step."""
        dim = self._shape[-1]
        if isinstance(key, slice):
            if strict and (key.step not in (None, 1) or (key.start or 0) < 0 or (key.stop or 0) < 0):
                raise ValueError(f"x[{key}]: a bare slice has no step and is not negative; use x[..., slice]")
            start, stop, step = key.indices(dim)
            count = len(range(start, stop, step))
            if step < 1 or count < 1 or (strict and (key.stop or 0) > dim):
                raise ValueError(f"x[{key}]: expected a part of the {dim} components, in ascending order")
            return self._part(start, count, step)
        if isinstance(key, bool) or not hasattr(key, "__index__"):
            raise ValueError(
                f"x[{key!r}]: a bare key is an integer or a slice of the last axis; to index rows and columns write "
                "K[rows, columns]"
            )
        k = int(key.__index__())
        if not (0 if strict else -dim) <= k < dim:
            raise ValueError(f"x[{k}]: there are {dim} components")
        return self._part(k % dim, 1, 1)

    def _part(self: Any, start: int, count: int, step: int) -> Any:
        return self._unary("slice", (start, count, step))

    def _batches(self: Any, keys: list[Any]) -> Any:
        new = self
        for axis in range(len(keys)):  # from the first: those behind keep their number from the end
            if not _is_all(keys[axis]):
                new = new._batch(axis - len(keys), keys[axis])
        return new

    def _batch(self: Any, axis: int, key: Any) -> Any:
        """Indexes the batch axis `axis` (negative, before M)."""
        batch = self.batchdims
        extent = batch[axis]
        is_int = not isinstance(key, bool) and hasattr(key, "__index__") and not getattr(key, "shape", ())
        if is_int:
            k = int(key.__index__())
            if not -extent <= k < extent:
                raise ShapeError(f"index {k} of a batch axis of length {extent}")
            length: int | None = None
        else:
            key = self.tools.index(key, extent)
            length = self.tools.index_length(key, extent)

        def select(value: Any, trailing: int) -> Any:
            at = len(value.shape) - trailing + axis
            if at < 0:
                return value
            if value.shape[at] == 1 and extent != 1:
                return value[(slice(None),) * at + (0,)] if is_int else value
            return value[(slice(None),) * at + (key,)]

        new = self._with_values(lambda arg: select(arg.value, 1 if arg.place == PLACE_P else 2))
        rest = batch[:axis] + (() if is_int else (length,)) + (batch[axis + 1 :] if axis != -1 else ())
        new.batchdims = rest or None
        if self._mask is not None:
            new._mask = self._mask.batch(axis, key, batch)
        return new

    def _with_values(self: Any, function: Any) -> Any:
        """The same formula on other arrays."""
        new = self._like()
        if any(arg.value is None for arg in self._args):
            raise ValueError("there are symbolic variables: their arrays cannot be indexed")
        new._args = tuple(
            [
                type(arg)(function(arg), arg.place, arg.dim) if self.tools.is_array(arg.value) else arg
                for arg in self._args
            ]
        )
        return new

    def _lines(self: Any, place: int, key: Any) -> Any:
        """Rows (or columns) by a slice, a mask or a list."""
        extent = self.ni if place == PLACE_I else self.nj
        if extent is None:  # the same for all: an axis of length 1
            if _is_all(key) or self.tools.index_length(self.tools.index(key, 1), 1) == 1:
                return self
            raise ShapeError("the axis has length 1 and cannot be indexed")
        key = self.tools.index(key, extent)
        new = self._with_values(lambda arg: arg.value[..., key, :] if arg.place == place else arg.value)
        length = self.tools.index_length(key, extent)
        if place == PLACE_I:
            new.ni = length
        else:
            new.nj = length
        if self._mask is not None:
            new._mask = self._mask.lines(place, key)
        return new

    def _entries(self: Any, i: Any, j: Any) -> Any:
        integer = [
            not isinstance(k, (bool, slice)) and hasattr(k, "__index__") and not getattr(k, "shape", ()) for k in (i, j)
        ]
        if any(integer) or self.tools.is_pointwise(i, j):
            self._refuse_masked()
        if not any(integer) and self.tools.is_pointwise(i, j):
            return self._pairs(i, j)
        keys, drop = [], []
        for k, is_int, extent, axis in zip((i, j), integer, self._shape[-3:-1], (-3, -2), strict=True):
            if is_int:
                k = int(k.__index__())
                if not -extent <= k < extent:
                    raise ShapeError(f"index {k} of an axis of length {extent}")
                keys.append(slice(k % extent, k % extent + 1))
                drop.append(axis)
            else:
                # those of numpy.ix_ are two; another one of several dimensions is refused when it is used
                keys.append(
                    k if any(isinstance(other, slice) for other in (i, j)) or any(integer) else self.tools.open_index(k)
                )
        new = self
        for place, k in zip((PLACE_I, PLACE_J), keys, strict=True):
            if not _is_all(k):
                new = new._lines(place, k)
        if not drop:
            return new
        values = new.dense()
        if new._shape[-1] == 1:
            values = values[..., None]
        for axis in drop:  # -3 before -2: the later one keeps its number
            values = values[(Ellipsis, 0) + (slice(None),) * (-axis - 1)]
        return values[..., 0] if new._shape[-1] == 1 else values

    def _pairs(self: Any, i: Any, j: Any) -> Any:
        """The entries (i_k, j_k) of two lists: an array."""
        i, j = self.tools.pair_index(i, j)
        shape = tuple(i.shape)
        new = self
        for place, k in ((PLACE_I, i), (PLACE_J, j)):
            new = new._lines(place, k.reshape(-1)) if (new.ni if place == PLACE_I else new.nj) is not None else new
        values = new._rows_of((PLACE_P, PLACE_I, PLACE_I), tuple([arg.value for arg in new._args]), math.prod(shape))
        values = values.reshape((*values.shape[:-2], *shape, values.shape[-1]))
        return values[..., 0] if self._shape[-1] == 1 else values

    # ---- batches ----
    def reshape(self: Any, *shape: Any) -> Any:
        """Other batch axes; the last axes (M, N) or (M, N, D) stay as they are."""
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = tuple(shape[0])
        full = self._shape
        if shape[-3:] == full[-3:]:
            wanted = shape[:-3]
        elif shape[-2:] == full[-3:-1] and full[-1] == 1:
            wanted = shape[:-2]
        else:
            raise ShapeError(
                f"reshape to {shape}: only batch axes can change; the shape is {full}, and must end in {full[-3:]}"
            )
        batch = self.batchdims or ()
        size = math.prod(batch)
        if wanted.count(-1) == 1:
            known = -math.prod(wanted)
            wanted = tuple([size // known if n == -1 and known else n for n in wanted])
        if math.prod(wanted) != size:
            raise ShapeError(f"reshape: {size} batch elements do not make the batch shape {wanted}")

        def change(arg: Any) -> Any:
            value, trailing = arg.value, 1 if arg.place == PLACE_P else 2
            own, rest = tuple(value.shape[:-trailing]), tuple(value.shape[-trailing:])
            if math.prod(own) == 1:
                return value.reshape(rest)
            return self.tools.broadcast(value, batch + rest).reshape(wanted + rest)

        new = self._with_values(change)
        new.batchdims = tuple(wanted) or None
        if self._mask is not None:
            new._mask = self._mask.reshaped(tuple(wanted), batch)
        return new

    def _over_batches(self: Any, name: str, axes: list[int]) -> Any:
        """Folds batch axes alone: a LazyTensor again, whose formula has a term for each batch element."""
        terms = math.prod([self.batchdims[at] for at in axes])
        if name not in ("sum", "mean", "min", "max") or not 0 < terms <= _MOST_TERMS or self._mask is not None:
            raise ValueError(
                f"{name} over {terms} batch elements alone: sums, means and extrema of at most {_MOST_TERMS} are "
                "formulas, without masks; add an axis of the matrix, or fold the array that a reduction gives"
            )
        parts = [self]
        for at in sorted(axes, reverse=True):
            count = self.batchdims[at]
            parts = [part._batch(at - part.nbatchdims, k) for part in parts for k in range(count)]
        total = parts[0]
        for part in parts[1:]:
            total = total + part if name in ("sum", "mean") else getattr(total, name + "imum")(part)
        return total / float(terms) if name == "mean" else total

    # ---- statistics ----
    def _statistic(self: Any, name: str, axis: Any, component: Any, keywords: dict[str, Any]) -> Any:
        keywords = {k: v for k, v in keywords.items() if v is not None or k != "dtype"}
        if "keepdims" in keywords:
            keep = keywords.pop("keepdims")
            return self._kept(self._statistic(name, axis, component, keywords), axis, keep)
        if axis is None:
            axis = tuple(range(self.nbatchdims + 3))
        if isinstance(axis, int) and self._is_batch_axis(axis):
            axis = (axis,)
        if isinstance(axis, tuple):
            return self._several(name, axis, getattr(self.tools, name + "_axes", _not_over_batches(name)), keywords)
        if self._kind_of_axis(axis) == "D":
            _check_keywords(keywords)
            return component(self)
        return self.reduction(name, axis=axis, **keywords)

    def mean(self: Any, axis: Any = -1, **keywords: Any) -> Any:
        """The mean over i or j (an array), over the components (a LazyTensor), a tuple of axes or all (None)."""
        return self._statistic("mean", axis, lambda x: x._unary("vmean"), keywords)

    def prod(self: Any, axis: Any = -1, **keywords: Any) -> Any:
        """The product, over the axes as for mean."""
        return self._statistic("prod", axis, lambda x: x._unary("vprod"), keywords)

    def any(self: Any, axis: Any = -1, **keywords: Any) -> Any:
        """1 where some value is not 0, over the axes as for mean."""
        return self._statistic("any", axis, lambda x: (x != 0)._unary("max"), keywords)

    def all(self: Any, axis: Any = -1, **keywords: Any) -> Any:
        """1 where no value is 0, over the axes as for mean."""
        return self._statistic("all", axis, lambda x: (x != 0)._unary("min"), keywords)

    def count_nonzero(self: Any, axis: Any = -1, **keywords: Any) -> Any:
        """The number of values that are not 0, over the axes as for mean."""
        return (self != 0).sum(axis=axis, **keywords)

    def var(self: Any, axis: Any = -1, ddof: int = 0, **keywords: Any) -> Any:
        """The mean of the squares of the deviations from the mean, in two passes, over the axes as for mean."""
        full = self._shape
        if "keepdims" in keywords:
            keep = keywords.pop("keepdims")
            return self._kept(self.var(axis, ddof, **keywords), axis, keep)
        if axis is None or isinstance(axis, tuple):
            return self._var_over(tuple(range(len(full))) if axis is None else axis, ddof, keywords)
        n = full[int(axis) % len(full)]
        result = self._statistic(
            "var", axis, lambda x: (x - x._unary("vmean"))._unary("square")._unary("vmean"), keywords
        )
        if ddof == 0:
            return result
        if self._mask is not None and not hasattr(result, "_formula"):
            pairs = self._pairs_of(axis)
            return self.tools.cast(result * pairs / (pairs - ddof).clip(0), result)
        return result * (n / (n - ddof) if n > ddof else math.nan)

    def _var_over(self: Any, axes: tuple[int, ...], ddof: int, keywords: Any) -> Any:
        """Over several axes."""
        if ddof and self._mask is not None:
            raise ValueError("var: ddof with a mask is for one axis")
        full = self._shape
        folded = [int(a) % len(full) for a in axes]
        kept = [1 if k in folded else n for k, n in enumerate(full)]
        out = keywords.pop("out", None)
        mean = self.mean(axis=axes, **keywords)
        if hasattr(mean, "_formula"):
            return self.var(axis=-1, ddof=ddof)
        deviation = self - self.real_class(mean.reshape(kept))
        n = math.prod([full[k] for k in folded])
        result = deviation._unary("square").mean(axis=axes, **keywords)
        result = result if ddof == 0 else result * (n / (n - ddof) if n > ddof else math.nan)
        return result if out is None else self.tools.store(result, out)

    def std(self: Any, axis: Any = -1, ddof: int = 0, **keywords: Any) -> Any:
        """The square root of var."""
        result = self.var(axis, ddof, **keywords)
        return result.sqrt() if hasattr(result, "_formula") else self.tools.sqrt(result)

    def softmax(self: Any, axis: Any = -1) -> Any:
        """exp(self) over its sum along an axis: a LazyTensor. Along i or j the sums are computed at once."""
        return self._unary("vsoftmax") if self._kind_of_axis(axis) == "D" else self.log_softmax(axis).exp()

    def log_softmax(self: Any, axis: Any = -1) -> Any:
        """log(softmax(self)), without overflow."""
        kind = self._kind_of_axis(axis)
        if kind == "D":
            return self - self._unary("vlogsumexp")
        if self._shape[-1] != 1:
            raise ShapeError(
                f"softmax along an axis of the matrix: entries have dimension {self._shape[-1]}, expected 1"
            )
        total = self.logsumexp(axis=axis)
        return self - self.real_class._along(total, PLACE_J if kind == "I" else PLACE_I)


def _not_over_batches(name: str) -> Any:
    def refuse(result: Any, axes: Any) -> Any:
        raise ValueError(f"{name} over batch axes is not supported: reduce, then use {name} of the array")

    return refuse


def swap_ranges(ranges: Any) -> Any:
    """Ranges of the transpose."""
    if len(ranges) == 6 and not isinstance(ranges[0], (tuple, list)):
        return (*ranges[3:], *ranges[:3])
    return [(*six[3:], *six[:3]) for six in ranges]


def _is_all(key: Any) -> bool:
    return isinstance(key, slice) and key == slice(None)


def _expand(key: tuple[Any, ...], n: int) -> list[Any]:
    """A key for each axis."""
    if any(k is None for k in key):
        raise ValueError("a LazyTensor has no new axes: its axes are (..., M, N, D)")
    dots = [at for at, k in enumerate(key) if k is Ellipsis]
    if len(dots) > 1:
        raise ValueError("an index has one '...' at most")
    keys = list(key)
    at = dots[0] if dots else len(keys)
    if dots:
        del keys[at]
    if len(keys) > n:
        raise ValueError(f"{len(keys)} indices for {n} axes")
    return keys[:at] + [slice(None)] * (n - len(keys)) + keys[at:]
