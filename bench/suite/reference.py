"""Errors against float64 on some rows of a case."""
from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import cases, dense

ROWS = 48


class NumPy:
    """The operations of dense.py."""
    exp, sqrt = staticmethod(np.exp), staticmethod(np.sqrt)

    @staticmethod
    def maximum0(a):
        return np.maximum(a, 0)

    @staticmethod
    def argmin(q):
        return q.argmin(-1)[:, None]

    @staticmethod
    def smallest(q, k):
        near = np.argpartition(q, k - 1, axis=-1)[:, :k]
        order = np.argsort(np.take_along_axis(q, near, 1), axis=-1)
        return np.take_along_axis(near, order, 1)

    @staticmethod
    def logsumexp(t):
        top = t.max(-1, keepdims=True)
        return np.log(np.exp(t - top).sum(-1, keepdims=True)) + top

    @staticmethod
    def softmax(t):
        w = np.exp(t - t.max(-1, keepdims=True))
        return w / w.sum(-1, keepdims=True)

    @staticmethod
    def join(parts):
        return np.concatenate(parts, -1)


def _rows_of(data: cases.Arrays, which: NDArray) -> cases.Arrays:
    return {k: v[which] if k in ("x", "e", "v", "pi") else v for k, v in data.items()}


def _gradient(case: cases.Case, data: cases.Arrays) -> list[NDArray]:
    """The gradients with respect to all inputs of a case that ends in -all, for small sizes."""
    name, x, y = case.family.name, data["x"], data["y"]
    q = dense.sqdist(NumPy, x, y, False)
    if name == "ham-all":
        kernel, dot = np.exp(-2 * q), data["pi"] @ data["p"].T
        w, others = -4 * kernel * dot, [kernel @ data["p"], kernel.T @ data["pi"]]
    elif name == "lse1-all":
        soft = NumPy.softmax(data["b"][:, 0] - q)
        w, others = -2 * soft, [soft.sum(0)[:, None]]
    else:
        r = np.sqrt(q)
        kernel = np.exp(-2 * q) if name == "g1-all" else np.exp(-r)
        slope = -4 * kernel if name == "g1-all" else -kernel / np.where(r > 0, r, 1)
        w, others = slope * data["b"][:, 0], [kernel.sum(0)[:, None]]
    return [x * w.sum(1)[:, None] - w @ y, y * w.sum(0)[:, None] - w.T @ x, *others]


class Reference:
    """error(result, rows): the largest error of a result for the first rows of a case.

    Values: |a - a64| over the largest |a64|. Indices: how much farther than the true neighbours, relative. Solutions:
    the norm of the residual over that of the right-hand side, both on the rows that are looked at.
    """

    def __init__(self, case: cases.Case, data: cases.Arrays):
        self.case = case
        self.data = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in data.items()}

    def _which(self, rows: int) -> NDArray:
        count = max(4, min(ROWS, rows, int(5e6 / self.case.n)))
        return np.unique(np.linspace(0, rows - 1, count).astype(int))

    def error(self, result, rows: int) -> float:
        if self.case.family.derive or self.case.family.name == "ham":
            return self._whole(result)
        if self.case.family.name == "batch":
            return self._batch(np.asarray(result, np.float64))
        which = self._which(rows)
        result = np.asarray(result).reshape(rows, -1)[which]
        if self.case.family.result == "index":
            return self._indices(result.astype(np.int64), which)
        result = result.astype(np.float64)
        if self.case.family.name == "block":
            exact = self._block(which)
        else:
            exact = dense.rows(NumPy, self.case, _rows_of(self.data, which), False)
        return float(np.abs(result - exact).max() / np.abs(exact).max())

    def residual(self, solution) -> float:
        which = self._which(self.case.m)
        solution = np.asarray(solution, np.float64)
        data = {**_rows_of(self.data, which), "b": solution}
        left = dense.rows(NumPy, self.case, data, False) + cases.ALPHA * solution[which]
        right = self.data["b"][which]
        return float(np.linalg.norm(left - right) / np.linalg.norm(right))

    def _indices(self, found: NDArray, which: NDArray) -> float:
        worst = 0.0
        for line, i in enumerate(which):
            q = np.square(self.data["x"][i] - self.data["y"]).sum(-1)
            best = np.sort(np.partition(q, self.case.k - 1)[:self.case.k])
            if found[line].min() < 0 or len(set(found[line])) < self.case.k:
                return float("inf")
            mine = np.sort(q[found[line]])
            worst = max(worst, float(np.max((mine - best) / np.maximum(best, 1e-300))))
        return worst

    def _block(self, which: NDArray) -> NDArray:
        starts, blocks = self.data["starts"], self.data["blocks"]
        out = []
        for i in which:
            cluster = np.searchsorted(starts, i, side="right") - 1
            columns = np.concatenate([np.arange(starts[c], starts[c + 1]) for c in blocks[cluster]])
            part = {**self.data, "x": self.data["x"][i:i + 1], "y": self.data["y"][columns],
                    "b": self.data["b"][columns]}
            out.append(dense.rows(NumPy, self.case, part, False)[0])
        return np.array(out)

    def _batch(self, result: NDArray) -> float:
        worst = 0.0
        for k in range(0, self.case.batches, 33):
            part = {name: v[k] if name in ("x", "y", "b") else v for name, v in self.data.items()}
            exact = dense.rows(NumPy, self.case, part, False)
            worst = max(worst, float(np.abs(result[k] - exact).max() / np.abs(exact).max()))
        return worst

    def _whole(self, result) -> float:
        if self.case.family.name == "ham":
            q = dense.sqdist(NumPy, self.data["x"], self.data["y"], False)
            exact = [np.sum(np.exp(-2 * q) * (self.data["pi"] @ self.data["p"].T))]
        else:
            exact = _gradient(self.case, self.data)
        result = result if isinstance(result, (list, tuple)) else [result]
        return max(float(np.abs(np.asarray(a, np.float64).reshape(b.shape) - b).max() / np.abs(b).max())
                   for a, b in zip(result, exact, strict=True))
