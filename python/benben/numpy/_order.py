"""What depends on the order of many values: medians, quantiles, sorting. Of dense arrays, a block of rows at a time, so
that what is kept in memory is small where the result is."""

from __future__ import annotations

from typing import Any

import numpy as np

_BLOCK = 2**22  # entries that are dense at a time


def _rowwise(K: Any, name: str, axis: Any, function: Any) -> Any:
    """function of arrays (..., m, N, D), which folds their axis -2, over blocks of rows."""
    kind = "?" if axis is None else K._kind_of_axis(axis)
    if kind not in "IJ":
        n = K.nbatchdims
        raise ValueError(f"{name}: axis={axis!r}; expected {n} (along i) or {n + 1} (along j); or use K.dense()")
    if kind == "I":
        K = K.T
    full = K._shape
    rows = max(1, _BLOCK // max(1, K.size // max(1, full[-3])))
    parts = []
    for first in range(0, max(1, full[-3]), rows):
        part = K if rows >= full[-3] else K[..., first : first + rows, :, :]
        parts.append(function(part.dense().reshape(part._shape)))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-2)


class OrderMethods:
    """Mixin of LazyTensors over NumPy arrays."""

    def median(self: Any, axis: Any = None, keepdims: bool = False) -> Any:
        """The median over i or j: (..., M, D). Time O(M N), memory O(M + N) beside blocks of 2^22 entries."""
        return self._kept(_rowwise(self, "median", axis, lambda a: np.median(a, axis=-2)), axis, keepdims)

    def quantile(self: Any, q: Any, axis: Any = None, keepdims: bool = False, **keywords: Any) -> Any:
        """Quantiles over i or j, as numpy.quantile: (..., M, D), the axis of q in front where it is an array."""
        values = _rowwise(self, "quantile", axis, lambda a: np.quantile(a, q, axis=-2, **keywords))
        if keepdims and np.ndim(q):
            raise ValueError("quantile: keepdims is for one q")
        return self._kept(values, axis, keepdims)

    def percentile(self: Any, q: Any, axis: Any = None, **keywords: Any) -> Any:
        """quantile(q / 100)."""
        return self.quantile(np.asarray(q) / 100, axis, **keywords)

    def _sorted(self: Any, name: str, function: Any, axis: Any, keywords: dict[str, Any]) -> Any:
        if axis is None or self._kind_of_axis(axis) not in "IJ":
            raise ValueError(
                f"{name}: axis={axis!r}; expected {self.nbatchdims} (along i) or {self.nbatchdims + 1} (along j)"
            )
        if self.size > 2**27:
            raise ValueError(
                f"{name}: the result is as large as the matrix, {self._shape}, which is never stored; the K smallest "
                "of each row are K.Kmin(k, axis=1), K.argKmin(k, axis=1), the largest those of -K"
            )
        return function(self.dense(), axis=int(axis) % len(self._shape), **keywords)

    def sort(self: Any, axis: Any = None, **keywords: Any) -> Any:
        """The values in ascending order along i or j: an array of the shape self.shape. See Kmin for the first few."""
        return self._sorted("sort", np.sort, axis, keywords)

    def argsort(self: Any, axis: Any = None, **keywords: Any) -> Any:
        """What sorts along i or j, equal values in their order: indices of the shape self.shape. See argKmin."""
        return self._sorted("argsort", np.argsort, axis, {"kind": "stable", **keywords})
