"""The reductions by their names: sums, extrema, the K smallest, exponentials, over one axis or several, with NumPy's
keepdims. What they do with the pairs is _reduce.py's."""

from __future__ import annotations

from typing import Any

from . import _options


class NamedReductions:
    """Mixin of GenericLazyTensor."""

    # ---- several axes, and axes that stay ----
    def _several(self: Any, name: str, axis: Any, combine: Any, keywords: Any = None) -> Any:
        """A reduction over several axes, the pairs first, then those of the result that are left."""
        if keywords and "out" in keywords:
            out = keywords.pop("out")
            result = self._several(name, axis, combine, keywords)
            return result if out is None else self.tools.store(result, out)
        _check_keywords(keywords)
        n = self.nbatchdims
        if axis is None:
            axis = tuple(range(n + 3))
        kinds = [(self._kind_of_axis(a), int(a) % (n + 3)) for a in axis]
        names = {kind for kind, _ in kinds}
        if len(set(kinds)) != len(kinds):
            raise ValueError(f"axis={axis!r}: an axis is named twice")
        if not names & {"I", "J"}:
            if names == {"D"}:
                return getattr(self, name)(axis=-1)
            base = getattr(self, name)(axis=-1) if "D" in names else self
            return base._over_batches(name, [at for kind, at in kinds if kind == "B"])
        if name == "mean" and self._mask is not None:
            return self._masked_mean_over(axis, names)
        base = getattr(self, name)(axis=-1) if "D" in names else self
        if names >= {"I", "J"}:
            result, kept = base._fold_all(name, keywords), 0
        else:
            result, kept = base.reduction(name, axis=n if "I" in names else n + 1, **(keywords or {})), 1
        batches = tuple([at for kind, at in kinds if kind == "B"])
        if "D" in names or (not kept and self._shape[-1] == 1):
            result = result[..., 0]
        return combine(result, batches) if batches else result

    def _kept(self: Any, result: Any, axis: Any, keepdims: bool = True) -> Any:
        """The result of a reduction with the folded axes as axes of length 1: as NumPy has it for an array of the shape
        self.shape."""
        if not keepdims:
            return result
        if isinstance(result, tuple):
            return tuple([self._kept(part, axis) for part in result])
        full = self._shape
        axes = range(len(full)) if axis is None else axis if isinstance(axis, (tuple, list)) else (axis,)
        folded = {int(a) % len(full) for a in axes}
        shape = tuple([1 if k in folded else n for k, n in enumerate(full)])
        if hasattr(result, "_formula"):  # the components, or batches alone
            return result.reshape(shape[:-1] + (result._shape[-1],)) if folded - {len(full) - 1} else result
        return result.reshape(shape[:-1] if full[-1] == 1 else shape)

    def _is_batch_axis(self: Any, axis: int) -> bool:
        n: int = self.nbatchdims
        return 0 <= axis < n or -n - 3 <= axis < -3

    # ---- sums and extrema ----
    def sum(self: Any, axis: Any = -1, dim: Any = None, **keywords: Any) -> Any:
        """The sum over i or j (an array), over the components (the default: a LazyTensor), or over a tuple of axes."""
        axis = axis if dim is None else dim
        if keywords and "keepdims" in keywords:
            keep = keywords.pop("keepdims")
            return self._kept(self.sum(axis, **keywords), axis, keep)
        if isinstance(axis, int) and self._is_batch_axis(axis):
            axis = (axis,)
        if axis is None or isinstance(axis, tuple):
            return self._several("sum", axis, self.tools.sum_axes, keywords)
        if axis == -1 or axis == self.nbatchdims + 2:
            _check_keywords(keywords)
            return self._unary("sum")
        return self.reduction("Sum", axis=axis, **keywords)

    def _extremum(self: Any, name: str, alias: str, axis: Any, dim: Any, keywords: dict[str, Any]) -> Any:
        axis = axis if dim is None else dim
        if keywords and "keepdims" in keywords:
            keep = keywords.pop("keepdims")
            return self._kept(self._extremum(name, alias, axis, None, keywords), axis, keep)
        if isinstance(axis, int) and self._is_batch_axis(axis) and name in ("min", "max"):
            axis = (axis,)
        if (axis is None or isinstance(axis, tuple)) and name in ("min", "max"):
            return self._several(name, axis, getattr(self.tools, name + "_axes"), keywords)
        if axis == -1 or axis == self.nbatchdims + 2:
            _check_keywords(keywords)
            return self._unary(name)
        return self.reduction(alias, axis=axis, **keywords)

    def min(self: Any, axis: Any = -1, dim: Any = None, **keywords: Any) -> Any:
        """The smallest value along i or j, or of the components."""
        return self._extremum("min", "Min", axis, dim, keywords)

    def max(self: Any, axis: Any = -1, dim: Any = None, **keywords: Any) -> Any:
        """The largest value along i or j, or of the components."""
        return self._extremum("max", "Max", axis, dim, keywords)

    def argmin(self: Any, axis: Any = -1, dim: Any = None, **keywords: Any) -> Any:
        """The index of the smallest value; ties: the first."""
        return self._extremum("argmin", "ArgMin", axis, dim, keywords)

    def argmax(self: Any, axis: Any = -1, dim: Any = None, **keywords: Any) -> Any:
        """The index of the largest value; ties: the first."""
        return self._extremum("argmax", "ArgMax", axis, dim, keywords)

    __min__, __max__ = min, max

    def sum_reduction(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The sum over i or j."""
        return self.reduction("Sum", axis=axis, dim=dim, **keywords)

    def min_reduction(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The smallest value along i or j."""
        return self.reduction("Min", axis=axis, dim=dim, **keywords)

    def max_reduction(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The largest value along i or j."""
        return self.reduction("Max", axis=axis, dim=dim, **keywords)

    def argmin_reduction(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The index of the smallest value along i or j."""
        return self.reduction("ArgMin", axis=axis, dim=dim, **keywords)

    def argmax_reduction(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The index of the largest value along i or j."""
        return self.reduction("ArgMax", axis=axis, dim=dim, **keywords)

    def min_argmin(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The smallest value and its index."""
        return self.reduction("Min_ArgMin", axis=axis, dim=dim, **keywords)

    def max_argmax(self: Any, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The largest value and its index."""
        return self.reduction("Max_ArgMax", axis=axis, dim=dim, **keywords)

    min_argmin_reduction, max_argmax_reduction = min_argmin, max_argmax

    # ---- the K smallest ----
    def Kmin(self: Any, K: int, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The K smallest values in ascending order: (..., M, K), with D behind where it is not 1. Where there are fewer
        than K (K > N, masks, ranges) the rest is inf."""
        return self.reduction("KMin", opt_arg=K, axis=axis, dim=dim, **keywords)

    def argKmin(self: Any, K: int, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The indices of the K smallest values, equal ones in the order of the columns. Where there are fewer than K
        (K > N, masks, ranges) the rest is -1, as in FAISS."""
        return self.reduction("ArgKMin", opt_arg=K, axis=axis, dim=dim, **keywords)

    def Kmin_argKmin(self: Any, K: int, axis: Any = None, dim: Any = None, **keywords: Any) -> Any:
        """The K smallest values and their indices."""
        return self.reduction("KMin_ArgKMin", opt_arg=K, axis=axis, dim=dim, **keywords)

    Kmin_reduction, argKmin_reduction, Kmin_argKmin_reduction = Kmin, argKmin, Kmin_argKmin

    # ---- exponentials ----
    def logsumexp(self: Any, axis: Any = None, weight: Any = None, other: Any = None, **keywords: Any) -> Any:
        """log sum exp(self) weight over i or j, without overflow."""
        weight = other if weight is None else weight
        if keywords and "keepdims" in keywords:
            keep = keywords.pop("keepdims")
            return self._kept(self.logsumexp(axis, weight, **keywords), axis, keep)
        return self.reduction("LogSumExp" if weight is None else "LogSumExpWeight", other=weight, axis=axis, **keywords)

    logsumexp_reduction = logsumexp

    def sumsoftmaxweight(self: Any, weight: Any, axis: Any = None, **keywords: Any) -> Any:
        """sum exp(self) weight / sum exp(self) over i or j."""
        return self.reduction("SumSoftMaxWeight", other=weight, axis=axis, **keywords)

    sumsoftmaxweight_reduction = sumsoftmaxweight


def _check_keywords(keywords: Any) -> None:
    """Refuses keywords that no reduction has."""
    if keywords:
        _options.split(keywords, _options.COMPILE, _options.CALL)
