"""What a typed program looks like: mypy --strict reads this (tests/python/package/test_types.py), and it runs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import benben
from benben import masks, neighbors, operators
from benben.numpy import ComplexLazyTensor, Genred, KernelSolve, LazyTensor, Pm, Vi, Vj, cluster, generic_sum

Points = NDArray[np.float64]


def gaussian(x: Points, y: Points, scale: float) -> LazyTensor:
    """A symbolic matrix."""
    K: LazyTensor = (-((Vi(x) - Vj(y)) ** 2).sum(-1) / Pm(scale)).exp()
    return K


def smoothed(x: Points, b: Points) -> Points:
    """Sums, minima, solutions are arrays."""
    K = gaussian(x, x, 0.5)
    a: Points = K @ b
    nearest: NDArray[np.int64] = K.argmin(axis=1)
    with benben.progress(False):
        solved: Points = K.masked(masks.causal() | masks.band(3)).filled(0.0).T.sum(axis=1)
    return a + solved + nearest


def lists(x: Points) -> int:
    """Neighbour lists, operators, text."""
    found: neighbors.Neighbors = neighbors.radius_search(Vi(x).sqdist(Vj(x)), 0.25, order="value")
    A: operators.Operator = operators.as_operator(gaussian(x, x, 1.0)) + operators.identity(len(x))
    text: str = benben.show(gaussian(x, x, 1.0), "logsumexp") + benben.doctor()
    return int(found.indptr[-1]) + A.shape[0] + len(text)


def formulas(x: Points, b: Points) -> Points:
    """Reductions given as text."""
    f: Genred = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], axis=1)
    g = generic_sum("SqDist(x, y)", "d = Vi(1)", "x = Vi(2)", "y = Vj(2)")
    s = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], "b", axis=1)
    result: Points = f(x, x, b) + g(x, x) + s(x, x, b, alpha=1.0)
    return result


if __name__ == "__main__":
    points = np.random.default_rng(0).random((20, 2))
    labels = cluster.grid_cluster(points, 0.5)
    assert smoothed(points, points[:, :1]).shape == formulas(points, points[:, :1]).shape == (20, 1)
    assert lists(points) > len(labels) and issubclass(ComplexLazyTensor, object)
    try:
        Vi(points) + Vi(points[:3])
    except benben.ShapeError as error:
        print(error)
