"""Neighbour lists against dense distances."""
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import benben
from benben import masks, neighbors
from benben.numpy import Vi, Vj


def dense_lists(d, r, k=None, order="index"):
    found = []
    for row in d:
        j = np.flatnonzero(row <= r)
        if order == "value" or k is not None:
            j = j[np.argsort(row[j], kind="stable")][:k]
        if order == "index":
            j = np.sort(j)
        found.append(j)
    return found


def check(found, lists, d, values):
    assert found.indptr.dtype == found.indices.dtype == np.int64
    assert found.indptr.tolist() == np.cumsum([0, *map(len, lists)]).tolist()
    assert found.indices.tolist() == [int(j) for j in np.concatenate([*lists, np.zeros(0, int)])]
    if values:
        np.testing.assert_array_equal(found.values, [d[i, j] for i, row in enumerate(lists) for j in row])
    else:
        assert found.values is None


@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.data())
def test_random(data):
    draw = data.draw
    m, n, dim = draw(st.integers(0, 50)), draw(st.integers(0, 200)), draw(st.integers(1, 4))
    r = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.float16]))
    x, y = [a.astype(dtype) for a in (r.integers(0, 9, (m, dim)), r.integers(0, 9, (n, dim)))]  # ties, and exact
    D, d = ((Vi(x) - Vj(y)) ** 2).sum(-1), ((x[:, None].astype(float) - y) ** 2).sum(-1)
    radius = draw(st.sampled_from([-1.0, 0, 2, 8.5, 40, np.inf]))
    mask = draw(st.sampled_from([None, masks.causal(), ~masks.band(0), masks.blocks(np.arange(m) % 3, np.arange(n) % 4)]))
    if mask is not None:
        D = D.masked(mask)
        d = np.where((Vi(np.ones((m, 1))) * Vj(np.ones((n, 1)))).masked(mask).filled(0).dense() > 0, d, np.nan)
    values, order = draw(st.booleans()), draw(st.sampled_from(["index", "value"]))
    with pytest.MonkeyPatch.context() as patch:
        if draw(st.booleans()):
            patch.setattr(neighbors, "TILE", draw(st.sampled_from([1, 7, 50])))
            patch.setattr(neighbors, "_FEW", draw(st.sampled_from([1, 4])))
        check(neighbors.radius_search(D, radius, values, order), dense_lists(d, radius, order=order), d, values)
    k = draw(st.integers(1, 12))
    check(neighbors.nearest_within(D, k, radius, values, order), dense_lists(d, radius, k, order), d, values)
    assert neighbors.count_within(D, radius).tolist() == (d <= radius).sum(1).tolist()


@pytest.mark.parametrize("metric", ["manhattan", "hyperbolic", "cosine"])
def test_any_metric(metric):
    r = np.random.default_rng(1)
    x, y = r.random((60, 3)) + 0.1, r.random((500, 3)) + 0.1
    a, b = x[:, None], y[None]
    D, d = {
        "manhattan": ((Vi(x) - Vj(y)).abs().sum(-1), abs(a - b).sum(-1)),
        "hyperbolic": ((1 + ((Vi(x) - Vj(y)) ** 2).sum(-1) / (Vi(x)[0] * Vj(y)[0])),
                       1 + ((a - b) ** 2).sum(-1) / (a * b)[..., 0]),
        "cosine": (1 - (Vi(x).normalize() | Vj(y).normalize()),
                   1 - (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)),
    }[metric]
    radius = float(np.quantile(d, 0.3))
    found = neighbors.radius_search(D, radius, values=True)
    assert found.indices.tolist() == np.concatenate(dense_lists(d, radius)).tolist()
    np.testing.assert_allclose(found.values, d[d <= radius], atol=1e-12)


def test_clusters_find_the_same():
    r = np.random.default_rng(2)
    x = r.random((3000, 2)).astype(np.float32)
    D = ((Vi(x) - Vj(x)) ** 2).sum(-1)
    for radius in (0.01, 0.05, 0.3):
        slow = neighbors.radius_search(D, radius ** 2, values=True)
        fast = neighbors.radius_search(D.masked(masks.radius(radius * 1.01, x, clusters=True)), radius ** 2, values=True)
        for a, b in zip(slow, fast):
            np.testing.assert_array_equal(a, b)


def test_lists_are_ranges():
    r = np.random.default_rng(3)
    x, b = r.random((80, 2)), r.random((80, 3))
    D, d = ((Vi(x) - Vj(x)) ** 2).sum(-1), ((x[:, None] - x) ** 2).sum(-1)
    K = (-D).exp()
    K.ranges = neighbors.radius_search(D, 0.1).ranges(80)
    kept = np.where(d <= 0.1, np.exp(-d), 0)
    np.testing.assert_allclose(K @ b, kept @ b)
    np.testing.assert_allclose(K.sum(axis=0)[:, 0], kept.sum(0))
    lists = neighbors.radius_search(K, 0.95, order="value")  # within ranges
    expected = np.where(d <= 0.1, np.exp(-d), np.nan)
    assert lists.indices.tolist() == np.concatenate(dense_lists(expected, 0.95, order="value")).tolist()
    with pytest.raises(ValueError, match="columns"):
        neighbors.Neighbors(np.array([0, 1]), np.array([5])).ranges(5)


@pytest.mark.parametrize("call, words", [
    (lambda D: neighbors.radius_search(np.eye(3), 1), "LazyTensor"), (lambda D: neighbors.radius_search(D, "1"), "r = '1'"),
    (lambda D: neighbors.radius_search(D, np.nan), "r = "), (lambda D: neighbors.radius_search(D, 1, order="x"), "order"),
    (lambda D: neighbors.nearest_within(D, 0, 1), "K = 0"), (lambda D: neighbors.nearest_within(D, True, 1), "K = True"),
    (lambda D: neighbors.radius_search(Vi(np.ones((2, 3, 1))) * D, 1), "batches"), (lambda D: neighbors.radius_search(Vi(0, 1) * D, 1), "symbolic"),
])
def test_errors(call, words):
    with pytest.raises(ValueError, match=words):
        call((Vi(np.ones((3, 1))) - Vj(np.ones((3, 1)))).abs())
    assert benben.neighbors is neighbors
