"""Block-sparse ranges of masks. NumPy alone: what is computed here is O(M + N), or small.

A Structure gives row i the columns of its label among start_i <= j < stop_i. Sorted by label (and else by number),
these are one interval of columns for each row, `first <= position < last`; neighbouring rows of similar intervals make
a block, whose columns are the hull of the intervals.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

ROWS = 256  # rows of a block at most: what is computed beyond the mask is a strip of half of that


class Structure:
    """m rows, n columns; start, stop: (..., m) or None; labels_i: (..., m), labels_j: (..., n), or None."""

    __slots__ = ("m", "n", "start", "stop", "labels_i", "labels_j")

    def __init__(
        self, m: int, n: int, start: Any = None, stop: Any = None, labels_i: Any = None, labels_j: Any = None
    ) -> None:
        self.m, self.n, self.start, self.stop, self.labels_i, self.labels_j = m, n, start, stop, labels_i, labels_j


class Blocks(NamedTuple):
    """Ranges of rows and columns that are taken in another order first.

    ranges: six arrays, or such sextuples, one for each element of batch. rows, columns: the order, or None.
    """

    ranges: Any
    rows: Any = None
    columns: Any = None
    batch: tuple[int, ...] | None = None

    def transposed(self) -> Blocks:
        many = [(*six[3:], *six[:3]) for six in (self.ranges if self.batch else [self.ranges])]
        return Blocks(tuple(many) if self.batch else many[0], self.columns, self.rows, self.batch)


class Sorted(NamedTuple):
    """first, last: the interval of each row (..., m), rows in their own order; position: of each column (..., n).
    blocks or None; low, high: whether some row's interval begins, or ends, inside its block's."""

    first: Any
    last: Any
    position: Any
    blocks: Blocks | None
    low: bool
    high: bool


def intersection(parts: list[Structure]) -> Structure:
    """The pairs that are in all of them."""
    whole = parts[0]
    for part in parts[1:]:
        start, stop = whole.start, whole.stop
        if part.start is not None:
            start = part.start if start is None else np.maximum(start, part.start)
            stop = part.stop if stop is None else np.minimum(stop, part.stop)
        labels = (whole.labels_i, whole.labels_j)
        if part.labels_i is not None:
            labels = (part.labels_i, part.labels_j) if labels[0] is None else _both(*labels, part)
        whole = Structure(whole.m, whole.n, start, stop, *labels)
    return whole


def _both(labels_i: Any, labels_j: Any, part: Structure) -> tuple[Any, Any]:
    """Labels that are equal where both pairs of labels are."""
    _, first = np.unique(np.concatenate([labels_i, labels_j], -1), return_inverse=True)
    _, second = np.unique(np.concatenate([part.labels_i, part.labels_j], -1), return_inverse=True)
    first = first.reshape((*np.shape(labels_i)[:-1], -1))
    second = second.reshape((*np.shape(part.labels_i)[:-1], -1))
    joined = first.astype(np.int64) * (int(second.max(initial=0)) + 1) + second
    return joined[..., : part.m], joined[..., part.m :]


def sort(s: Structure) -> Sorted:
    """Intervals of sorted columns, and blocks of sorted rows."""
    start = np.zeros(s.m, np.int64) if s.start is None else np.clip(s.start, 0, s.n)
    stop = np.full(s.m, s.n) if s.stop is None else np.clip(s.stop, 0, s.n)
    if s.labels_i is None:
        batch = np.broadcast_shapes(start.shape[:-1], stop.shape[:-1])
        first, last = [np.broadcast_to(a, (*batch, s.m)) for a in (start, np.maximum(stop, start))]
        position, rows, columns = np.arange(s.n), None, None
    else:
        shapes = [a.shape[:-1] for a in (start, stop, s.labels_i, s.labels_j)]
        batch = np.broadcast_shapes(*shapes)
        first, last, position, rows, columns = _sort_labels(s, start, stop, batch)
    if batch and (rows is not None or columns is not None):
        return Sorted(first, last, position, None, True, True)
    a, b = (first, last) if rows is None else (first[rows], last[rows])
    parts = [_rows(p, q, s.n) for p, q in zip(_flat(a), _flat(b), strict=True)]
    if not parts:
        return Sorted(first, last, position, None, True, True)
    ranges = tuple([part[0] for part in parts]) if batch else parts[0][0]
    blocks = Blocks(ranges, rows, columns, tuple(batch) or None)
    return Sorted(first, last, position, blocks, any(p[1] for p in parts), any(p[2] for p in parts))


def _flat(a: Any) -> Any:
    """One batch axis; also where there is nothing."""
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def _sort_labels(s: Structure, start: Any, stop: Any, batch: tuple[int, ...]) -> Any:
    """Each element of the batch for itself; rows and columns are None where they are in order already."""
    start, stop, li, lj = [
        _flat(np.broadcast_to(a, (*batch, a.shape[-1]))) for a in (start, stop, s.labels_i, s.labels_j)
    ]
    count = len(li)
    first, last = np.empty((count, s.m), np.int64), np.empty((count, s.m), np.int64)
    position = np.empty((count, s.n), np.int64)
    rows = columns = None
    for k in range(count):
        # a column is its label, then its number: one ascending key
        _, both = np.unique(np.concatenate([li[k], lj[k]]), return_inverse=True)
        label_i, label_j = both[: s.m].astype(np.int64), both[s.m :].astype(np.int64)
        order = np.argsort(label_j, kind="stable")
        key = label_j[order] * (s.n + 1) + order
        position[k, order] = np.arange(s.n)
        first[k] = np.searchsorted(key, label_i * (s.n + 1) + start[k])
        last[k] = np.maximum(np.searchsorted(key, label_i * (s.n + 1) + stop[k]), first[k])
        if np.any(label_j[1:] < label_j[:-1]):
            columns = order
        if np.any(label_i[1:] < label_i[:-1]):
            rows = np.argsort(label_i, kind="stable")
    shape = tuple(batch)
    return first.reshape((*shape, s.m)), last.reshape((*shape, s.m)), position.reshape((*shape, s.n)), rows, columns


def _rows(first: Any, last: Any, n: int) -> tuple[Any, bool, bool]:
    """(six arrays, low, high) for one interval per row."""
    m = len(first)
    if not m or not n:
        none, ends = np.zeros((0, 2), np.int64), np.zeros(0, np.int64)
        return (none, ends, none, none, ends, none), False, False
    # a block ends where the next row's columns are others altogether, and after some rows: few where intervals are
    # short, lest the hull be long
    apart = (first[1:] >= last[:-1]) | (last[1:] <= first[:-1])
    cut = np.concatenate([[0], np.flatnonzero(apart) + 1, [m]])
    begin = _cut(cut, int(min(ROWS, max(ROWS // 8, (last - first).mean()))))
    ends = np.append(begin[1:], m)
    # empty rows count with their position: so that hulls stay monotone
    low, high = np.minimum.reduceat(first, begin), np.maximum.reduceat(last, begin)
    inner_low, inner_high = np.maximum.reduceat(first, begin), np.minimum.reduceat(last, begin)
    full = high > low
    rows = np.stack([begin, ends], 1)
    one_side = (rows, np.cumsum(full), np.stack([low, high], 1)[full])
    if np.any(low[1:] < low[:-1]) or np.any(high[1:] < high[:-1]):  # in no order: columns meet all rows
        return (*one_side, np.array([[0, n]]), np.array([1]), np.array([[0, m]])), True, True
    return (
        (*one_side, *_columns(rows, low, high, n)),
        bool(np.any(inner_low[full] != low[full])),
        bool(np.any(inner_high[full] != high[full])),
    )


def _cut(cut: Any, most: int) -> Any:
    """The beginnings of pieces of at most `most` rows."""
    pieces = -(-np.diff(cut) // most)
    within = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    return np.repeat(cut[:-1], pieces) + within * most


def _columns(rows: Any, low: Any, high: Any, n: int) -> tuple[Any, Any, Any]:
    """The other side: for intervals of columns, the rows whose hulls, which ascend, hold them."""
    ends = np.unique(np.concatenate([[0, n], low, high]))
    columns = np.stack([ends[:-1], ends[1:]], 1)
    above = np.searchsorted(high, columns[:, 0], side="right")  # the first block that reaches beyond
    below = np.searchsorted(low, columns[:, 0], side="right")  # behind the last one that begins before
    some = below > above
    reduced = np.stack([rows[above[some], 0], rows[below[some] - 1, 1]], 1)
    return columns, np.cumsum(some), reduced


# ---- balls ----
def leaves(x: Any, size: int) -> tuple[Any, Any]:
    """Points halved along the longest side of their box until `size` of them or fewer are left: (order of the points,
    ends of the leaves). Within a leaf the points keep their order."""
    order = np.arange(len(x))
    ends, stack = [], [(0, len(x))]
    while stack:
        a, b = stack.pop()
        if b - a <= size:
            order[a:b].sort()
            ends.append(b)
            continue
        part = x[order[a:b]]
        axis = int(np.argmax(part.max(0) - part.min(0)))
        half = (b - a) // 2
        order[a:b] = order[a:b][np.argpartition(part[:, axis], half)]
        stack += [(a + half, b), (a, a + half)]
    return order, np.array(ends)


def of_ball(x: Any, y: Any, r: float, size: int) -> Blocks | None:
    """Ranges of the leaves of x and y whose boxes are within r of each other, some more among them."""
    if not len(x) or not len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    sides = []
    for points in (x, y):
        points = np.asarray(points, np.float64)
        order, ends = leaves(points, max(size, len(points) // 4096, 1))
        begins = np.concatenate([[0], ends[:-1]])
        sorted_points = points[order]
        low, high = np.minimum.reduceat(sorted_points, begins), np.maximum.reduceat(sorted_points, begins)
        sides.append((order, np.stack([begins, ends], 1), low, high))
    (rows, ranges_i, low_i, high_i), (columns, ranges_j, low_j, high_j) = sides
    reach = (r * 1.001) ** 2 * 1.001 + np.finfo(np.float32).tiny  # distances in float32 are rounded
    keep = np.empty((len(ranges_i), len(ranges_j)), bool)
    for k in range(len(ranges_i)):
        gap = np.maximum(np.maximum(low_j - high_i[k], low_i[k] - high_j), 0)
        keep[k] = (gap * gap).sum(1) <= reach
    slices_i, reduced_j = _one_side(ranges_j, keep)
    slices_j, reduced_i = _one_side(ranges_i, keep.T)
    return Blocks((ranges_i, slices_i, reduced_j, ranges_j, slices_j, reduced_i), rows, columns)


def _one_side(intervals: Any, keep: Any) -> tuple[Any, Any]:
    return np.cumsum(keep.sum(1)), intervals[np.nonzero(keep)[1]]
