"""Clusters of points, and the block-sparse ranges that say which clusters meet: benben.numpy.cluster on tensors.

>>> import torch
>>> from benben.torch import Vi, Vj, cluster
>>> x = torch.tensor([[0.1], [5.2], [0.3], [5.4]])
>>> labels = cluster.grid_cluster(x, 1.0)
>>> ranges, centroids, weights = cluster.cluster_ranges_centroids(x, labels)
>>> (x, labels) = cluster.sort_clusters(x, labels)
>>> near = (centroids - centroids.T) ** 2 < 1
>>> K = (Vi(x) - Vj(x)).abs().sum(-1)
>>> K.ranges = cluster.from_matrix(ranges, ranges, near)
>>> K.sum(axis=1).flatten().round(decimals=1).tolist()
[0.20000000298023224, 0.20000000298023224, 0.20000000298023224, 0.20000000298023224]
"""

from __future__ import annotations

from typing import Any

import torch

from .._errors import ArgumentError, ShapeError
from ..numpy.cluster import swap_axes


def grid_cluster(x: Any, size: Any) -> Any:
    """Labels 0, 1, ... of the points x (M, D), int32: those in one cube of a grid have the same; cubes are numbered in
    lexicographic order. The grid begins at the smallest coordinates (in benben.numpy at 0, as in pykeops). size: length
    of an edge, or one for each dimension."""
    if x.dim() != 2:
        raise ShapeError(f"grid_cluster: points of the shape {tuple(x.shape)}; expected (M, D)")
    size = torch.as_tensor(size, dtype=x.dtype, device=x.device)
    if bool((size <= 0).any()):
        raise ArgumentError(f"grid_cluster: size = {size.tolist()}; expected a positive length")
    if not len(x):
        return torch.zeros(0, dtype=torch.int32, device=x.device)
    x = x.detach()
    _, labels = torch.unique(torch.floor((x - x.amin(0)) / size), dim=0, return_inverse=True)
    return labels.to(torch.int32)


def sort_clusters(x: Any, lab: Any) -> Any:
    """(x, lab) sorted by label, points of one cluster in their order; x may be a tuple of tensors."""
    lab, order = torch.sort(lab.reshape(-1), stable=True)
    return tuple([a[order] for a in x]) if isinstance(x, (tuple, list)) else x[order], lab


def _counts(lab: Any, Nlab: Any) -> Any:
    return torch.bincount(lab.reshape(-1).long()) if Nlab is None else Nlab


def cluster_ranges(lab: Any, Nlab: Any = None) -> Any:
    """[begin, end) of each cluster once the points are sorted by label: (C, 2), int32. Nlab: the numbers of points."""
    counts = _counts(lab, Nlab)
    ends = torch.cumsum(counts, 0)
    return torch.stack([ends - counts, ends], 1).to(torch.int32)


def _sums(values: Any, lab: Any, count: int) -> Any:
    return values.new_zeros((count, *values.shape[1:])).index_add(0, lab.reshape(-1).long(), values)


def cluster_centroids(x: Any, lab: Any, Nlab: Any = None, weights: Any = None, weights_c: Any = None) -> Any:
    """The (weighted) means of the clusters: (C, D)."""
    if weights is None:
        total = _counts(lab, Nlab).to(x.dtype)
        return _sums(x, lab, len(total)) / total[:, None]
    w = weights.reshape(-1)
    total = _sums(w, lab, len(_counts(lab, Nlab))) if weights_c is None else weights_c.reshape(-1)
    return _sums(x * w[:, None], lab, len(total)) / total[:, None]


def cluster_ranges_centroids(x: Any, lab: Any, weights: Any = None, min_weight: float = 1e-9) -> Any:
    """(ranges, centroids, weights of the clusters); without weights these are numbers of points. Clusters are given a
    weight of at least min_weight in the division, so that one of weight zero has a centroid."""
    counts = _counts(lab, None)
    if weights is None:
        total = counts.to(x.dtype)
        centroids = cluster_centroids(x, lab, counts)
    else:
        total = _sums(weights.reshape(-1), lab, len(counts))
        centroids = cluster_centroids(x, lab, counts, weights, total.clamp(min=min_weight))
    return cluster_ranges(lab, counts), centroids, total


def _one_side(intervals: Any, keep: Any) -> tuple[Any, Any]:
    ends = torch.cumsum(keep.sum(1), 0)
    return ends.to(torch.int32), intervals[keep.nonzero()[:, 1]].to(torch.int32)


def from_matrix(ranges_i: Any, ranges_j: Any, keep: Any) -> Any:
    """The six tensors of ranges: cluster a of the rows meets cluster b of the columns where keep[a, b]."""
    keep = keep.bool()
    if tuple(keep.shape) != (len(ranges_i), len(ranges_j)):
        raise ShapeError(
            f"from_matrix: keep has the shape {tuple(keep.shape)}; expected {(len(ranges_i), len(ranges_j))}, one "
            "entry for each pair of clusters"
        )
    slices_i, reduced_j = _one_side(ranges_j, keep)
    slices_j, reduced_i = _one_side(ranges_i, keep.t())
    return ranges_i.to(torch.int32), slices_i, reduced_j, ranges_j.to(torch.int32), slices_j, reduced_i


__all__ = [
    "cluster_centroids",
    "cluster_ranges",
    "cluster_ranges_centroids",
    "from_matrix",
    "grid_cluster",
    "sort_clusters",
    "swap_axes",
]
