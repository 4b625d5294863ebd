"""Clusters of points, and the block-sparse ranges that say which clusters meet.

>>> import numpy as np
>>> from benben.numpy import Vi, Vj, cluster
>>> x = np.array([[0.1], [5.2], [0.3], [5.4]])
>>> labels = cluster.grid_cluster(x, 1.0)
>>> ranges, centroids, weights = cluster.cluster_ranges_centroids(x, labels)
>>> (x, labels) = cluster.sort_clusters(x, labels)
>>> near = (centroids - centroids.T) ** 2 < 1
>>> K = (Vi(x) - Vj(x)).abs().sum(-1)
>>> K.ranges = cluster.from_matrix(ranges, ranges, near)
>>> K.sum(axis=1).ravel().round(1).tolist()
[0.2, 0.2, 0.2, 0.2]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .._errors import ArgumentError, ShapeError


def grid_cluster(x: Any, size: Any) -> Any:
    """Labels 0, 1, ... of the points x (M, D): those in one cube of a grid have the same; cubes are numbered in
    lexicographic order. size: length of an edge, or one for each dimension.

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> cluster.grid_cluster(np.array([[0.1], [5.2], [0.3]]), 1.0).tolist()
    [0, 1, 0]
    """
    x = np.asarray(x)
    if x.ndim != 2:
        raise ShapeError(f"grid_cluster: points of the shape {x.shape}; expected (M, D)")
    if np.any(np.asarray(size) <= 0):
        raise ArgumentError(f"grid_cluster: size = {size}; expected a positive length")
    if not len(x):
        return np.zeros(0, np.int64)
    _, labels = np.unique(np.floor(x / size), axis=0, return_inverse=True)
    return labels.reshape(-1)


def sort_clusters(x: Any, lab: Any) -> Any:
    """(x, lab) sorted by label, points of one cluster in their order; x may be a tuple of arrays.

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> cluster.sort_clusters(np.array([[1.0], [2.0], [3.0]]), [1, 0, 1])[0].ravel().tolist()
    [2.0, 1.0, 3.0]
    """
    order = np.argsort(lab, kind="stable")
    parts = tuple([a[order] for a in x]) if isinstance(x, (tuple, list)) else x[order]
    return parts, np.asarray(lab)[order]


def _counts(lab: Any, Nlab: Any) -> Any:
    return np.bincount(np.asarray(lab).reshape(-1)) if Nlab is None else np.asarray(Nlab)


def cluster_ranges(lab: Any, Nlab: Any = None) -> Any:
    """[begin, end) of each cluster once the points are sorted by label: (C, 2), int64. Nlab: the numbers of points.

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> cluster.cluster_ranges([0, 0, 1]).tolist()
    [[0, 2], [2, 3]]
    """
    ends = np.cumsum(_counts(lab, Nlab))
    return np.stack([ends - _counts(lab, Nlab), ends], axis=1).astype(np.int64)


def cluster_centroids(x: Any, lab: Any, Nlab: Any = None, weights: Any = None, weights_c: Any = None) -> Any:
    """The (weighted) means of the clusters: (C, D).

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> cluster.cluster_centroids(np.array([[1.0], [3.0], [9.0]]), [0, 0, 1]).tolist()
    [[2.0], [9.0]]
    """
    x, lab = np.asarray(x), np.asarray(lab).reshape(-1)
    if weights is None:
        total = _counts(lab, Nlab)
        sums = [np.bincount(lab, column, minlength=len(total)) for column in x.T]
    else:
        w = np.asarray(weights).reshape(-1)
        total = np.bincount(lab, w) if weights_c is None else np.asarray(weights_c).reshape(-1)
        sums = [np.bincount(lab, column * w, minlength=len(total)) for column in x.T]
    return (np.stack(sums, axis=1) / total[:, None]).astype(x.dtype)


def cluster_ranges_centroids(x: Any, lab: Any, weights: Any = None) -> Any:
    """(ranges, centroids, weights of the clusters); without weights these are numbers of points.

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> ranges, centroids, weights = cluster.cluster_ranges_centroids(np.array([[1.0], [3.0], [9.0]]), [0, 0, 1])
    >>> weights.tolist()
    [2.0, 1.0]
    """
    x, lab = np.asarray(x), np.asarray(lab).reshape(-1)
    counts = np.bincount(lab)
    total = counts if weights is None else np.bincount(lab, np.asarray(weights).reshape(-1))
    centroids = cluster_centroids(x, lab, counts, weights, None if weights is None else total)
    return cluster_ranges(lab, counts), centroids, total.astype(x.dtype)


def swap_axes(ranges: Any) -> Any:
    """Ranges of the transpose; None stays None.

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> cluster.swap_axes((0, 1, 2, 3, 4, 5))
    (3, 4, 5, 0, 1, 2)
    """
    return None if ranges is None else (*ranges[3:6], *ranges[0:3])


def _one_side(intervals: Any, keep: Any) -> tuple[Any, Any]:
    ends = np.cumsum(keep.sum(1))
    return ends.astype(np.int64), np.asarray(intervals)[np.nonzero(keep)[1]].astype(np.int64)


def from_matrix(ranges_i: Any, ranges_j: Any, keep: Any) -> Any:
    """The six arrays of ranges: cluster a of the rows meets cluster b of the columns where keep[a, b].

    >>> import numpy as np
    >>> from benben.numpy import cluster
    >>> parts = np.array([[0, 2], [2, 3]])
    >>> [a.tolist() for a in cluster.from_matrix(parts, parts, np.eye(2))[:3]]
    [[[0, 2], [2, 3]], [1, 2], [[0, 2], [2, 3]]]
    """
    keep = np.asarray(keep, bool)
    ranges_i, ranges_j = np.asarray(ranges_i), np.asarray(ranges_j)
    if keep.shape != (len(ranges_i), len(ranges_j)):
        raise ShapeError(
            f"from_matrix: keep has the shape {keep.shape}; expected {(len(ranges_i), len(ranges_j))}, one entry for "
            "each pair of clusters"
        )
    slices_i, reduced_j = _one_side(ranges_j, keep)
    slices_j, reduced_i = _one_side(ranges_i, keep.T)
    return (ranges_i.astype(np.int64), slices_i, reduced_j, ranges_j.astype(np.int64), slices_j, reduced_i)
