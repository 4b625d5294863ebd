"""Masks against dense arrays in which the absent pairs are left out by NumPy."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import benben
from benben import _masked, masks
from benben.numpy import LazyTensor, Vi, Vj

NAN = np.nan


def dense_causal(m, n, offset=0):
    return np.tri(m, n, offset, dtype=bool)


def cases(m, n, r, batch=()):
    """(mask, the pairs as a boolean array (..., m, n))."""
    i, j = np.arange(m)[:, None], np.arange(n)
    li, lj = r.integers(0, 4, m), r.integers(0, 5, n)
    ends = np.sort(r.integers(-2, n + 3, (*batch, m, 2)), -1)
    return [
        (masks.causal(), j <= i), (masks.causal(-2), j <= i - 2), (masks.causal(n - m), j <= i + n - m),
        (masks.band(0), i == j), (masks.band(2), abs(i - j) <= 2), (masks.band(1, 4), (j >= i - 1) & (j <= i + 4)),
        (masks.band(5, -5), (j >= i - 5) & (j <= i - 5)), (masks.band(-3, 1), np.zeros((m, n), bool)),
        (masks.blocks(li, lj), li[:, None] == lj), (masks.blocks(np.sort(li), np.sort(lj)), np.sort(li)[:, None] == np.sort(lj)),
        (masks.blocks(li.astype(np.uint8), np.sort(lj)), li[:, None] == np.sort(lj)),
        (masks.blocks(li, lj) & masks.causal(), (li[:, None] == lj) & (j <= i)),
        (masks.blocks(np.sort(li), np.sort(lj)) & masks.band(3), (np.sort(li)[:, None] == np.sort(lj)) & (abs(i - j) <= 3)),
        (masks.blocks(li, lj) & masks.blocks(i[:, 0] // 3, j // 3), (li[:, None] == lj) & (i // 3 == j // 3)),
        (masks.intervals(ends[..., 0], ends[..., 1]), (j >= ends[..., :1]) & (j < ends[..., 1:])),
        (masks.causal() | masks.blocks(li, lj), (j <= i) | (li[:, None] == lj)), (~masks.band(1), abs(i - j) > 1),
        (~(masks.causal() & ~masks.band(1)), ~((j <= i) & (abs(i - j) > 1))), (masks.causal(n), np.ones((m, n), bool)),
        (masks.causal() & masks.causal(2) & masks.band(4), (j <= i) & (j >= i - 4)),
    ]


def reference(name, values, keep, axis):
    """values (..., m, n), axis -1 or -2."""
    f = np.where(keep, values, {"sum": 0, "prod": 1, "any": 0, "all": 1}.get(name, NAN))
    if name in ("sum", "prod"):
        return getattr(f, name)(axis)
    if name in ("any", "all"):
        return getattr(f != 0, name)(axis)
    if name in ("min", "max", "argmin", "argmax"):
        sign = 1 if name.endswith("min") else -1
        g = np.where(np.isnan(f), np.inf, sign * f)
        if name in ("min", "max"):
            return sign * g.min(axis, initial=np.inf)
        return np.where((~np.isnan(f)).any(axis), g.argmin(axis) if g.shape[axis] else -1, -1)
    if name == "logsumexp":
        return np.log(np.where(keep, np.exp(values), 0).sum(axis))
    count = keep.sum(axis)
    mean = np.where(keep, values, 0).sum(axis) / count
    if name == "mean":
        return mean
    return (np.where(keep, values - np.expand_dims(mean, axis), 0) ** 2).sum(axis) / count


NAMES = ["sum", "prod", "any", "all", "min", "max", "argmin", "argmax", "logsumexp", "mean", "var"]


def check(K, values, mask, keep, names=NAMES, **tolerance):
    masked = K.masked(mask)
    keep = np.broadcast_to(keep, np.broadcast_shapes(np.shape(keep), values.shape))
    values = np.broadcast_to(values, keep.shape)
    n = masked.nbatchdims
    for name, axis in itertools.product(names, (0, 1)):
        found = getattr(masked, name)(axis=n + axis)[..., 0]
        with np.errstate(all="ignore"):
            expected = reference(name, values, keep, axis - 2)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, err_msg=f"{mask} {name} {axis}", **{"rtol": 1e-9, "atol": 1e-12, **tolerance})
    np.testing.assert_array_equal(masked.filled(7).dense(), np.where(keep, K.dense(), 7))


@pytest.mark.parametrize("m, n", [(1, 1), (7, 11), (11, 7), (64, 65), (40, 1), (1, 40)])
def test_every_mask_and_reduction(m, n):
    r = np.random.default_rng(m + n)
    x, y = r.normal(size=(m, 2)), r.normal(size=(n, 2))
    K, values = (Vi(x) * Vj(y)).sum(-1), x @ y.T
    for mask, keep in cases(m, n, r):
        check(K, values, mask, keep)


def test_long_rows_are_cut_into_blocks():
    """More rows than a block has, on either axis; what is computed is little more than the mask."""
    r = np.random.default_rng(3)
    m, n = 700, 900
    x, y = r.normal(size=(m, 1)), r.normal(size=(n, 1))
    K = (Vi(x) - Vj(y)).abs().sum(-1)
    for mask, keep in cases(m, n, r):
        check(K, abs(x - y.T), mask, keep, ("sum", "argmin", "max"))
        blocks = K.masked(mask)._mask.blocks
        if blocks is not None and "intervals" not in repr(mask):
            for rows, ends, columns in (blocks.ranges[:3], blocks.ranges[3:]):
                which = np.searchsorted(ends, np.arange(len(columns)), side="right")
                area = ((rows[which, 1] - rows[which, 0]) * (columns[:, 1] - columns[:, 0])).sum()
                assert area <= keep.sum() + 300 * (m + n)


@settings(max_examples=60, deadline=None, print_blob=True)
@given(st.data())
def test_random_masks(data):
    draw = data.draw
    m, n = draw(st.integers(0, 40)), draw(st.integers(0, 40))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 3)]))
    r = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float64, np.float32, np.float16]))
    x = r.normal(size=(*draw(st.sampled_from([(), batch])), m, 1)).astype(dtype)
    y = r.normal(size=(n, 1)).astype(dtype)
    K = (Vi(x) - Vj(y)).abs()
    values = abs(x.astype(float) - y.T.astype(float))
    options = cases(m, n, r, batch)
    mask, keep = options[draw(st.integers(0, len(options) - 1))]
    if draw(st.booleans()):
        other, also = options[draw(st.integers(0, len(options) - 1))]
        mask, keep = mask & other, keep & also
    if draw(st.booleans()):
        mask, keep = mask & (K < 0.5), keep & (np.asarray(K < 0.5) > 0)
    tolerance = {np.float64: 1e-9, np.float32: 1e-4, np.float16: 1e-2}[dtype]
    check(K, values, mask, keep, draw(st.sampled_from([("sum", "mean"), ("argmin", "max"), ("logsumexp", "min")])), rtol=tolerance,
          atol=tolerance)


def test_absent_values_do_not_matter():
    """inf and NaN outside of the mask, in entries, weights and right-hand sides."""
    x = np.arange(5.0)[:, None]
    K = 1 / (Vi(x) - Vj(x)).abs().sum(-1)  # inf on the diagonal
    off = K.masked(~masks.band(0))
    with np.errstate(all="ignore"):
        values = 1 / abs(x - x.T)
    keep = ~np.eye(5, dtype=bool)
    expected = np.where(keep, values, 0)
    np.testing.assert_allclose(off.sum(axis=1)[:, 0], expected.sum(1))
    np.testing.assert_allclose(off @ x, expected @ x)
    v = np.ones((5, 2))
    v[4, 0] = NAN
    causal = K.masked(masks.causal(-1)) @ v
    np.testing.assert_allclose(causal[:4], (np.where(np.tri(5, 5, -1) > 0, values, 0) @ np.ones((5, 2)))[:4])
    assert np.isfinite(causal).all()
    s = (Vi(x) * Vj(x)).sum(-1).masked(masks.causal(-1))
    weighted = s.sumsoftmaxweight(Vj(v), axis=1)
    e = np.where(np.tri(5, 5, -1) > 0, np.exp(x * x.T), 0)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(weighted, e @ np.ones((5, 2)) / e.sum(1, keepdims=True))
    assert np.isnan(weighted[0]).all()


def test_nothing_is_there():
    """What the reductions of no pair are."""
    x = np.ones((3, 1))
    none = (Vi(x) * Vj(x)).masked(masks.causal(-3))
    expected = {"sum": 0, "prod": 1, "min": np.inf, "argmin": -1, "max": -np.inf, "argmax": -1, "logsumexp": -np.inf, "mean": NAN,
                "var": NAN, "std": NAN, "any": 0, "all": 1, "count_nonzero": 0}
    for mask in (none, (Vi(x) * Vj(x)).masked(Vi(x) > 2)):
        for name, value in expected.items():
            np.testing.assert_array_equal(getattr(mask, name)(axis=1)[:, 0], value, err_msg=name)
        values, indices = mask.Kmin_argKmin(2, axis=1)
        assert (values == np.inf).all() and (indices == -1).all()
        assert np.isnan(mask.sumsoftmaxweight(Vj(x), axis=1)).all()


def test_k_smallest_indices_are_those_of_unsorted_columns():
    r = np.random.default_rng(5)
    x, y = r.normal(size=(30, 2)), r.normal(size=(50, 2))
    li, lj = r.integers(0, 3, 30), r.integers(0, 3, 50)
    d = ((x[:, None] - y) ** 2).sum(-1)
    D = ((Vi(x) - Vj(y)) ** 2).sum(-1)
    values, indices = D.masked(masks.blocks(li, lj)).Kmin_argKmin(4, axis=1)
    d[li[:, None] != lj] = np.inf
    np.testing.assert_array_equal(indices, np.argsort(d, 1, kind="stable")[:, :4])
    np.testing.assert_allclose(values, np.sort(d, 1)[:, :4])
    np.testing.assert_array_equal(D.masked(masks.blocks(li, lj)).argKmin(4, axis=0), np.argsort(d, 0, kind="stable")[:4].T)


def test_ties_are_the_first_column():
    x = np.zeros((6, 1))
    labels = np.array([1, 0, 1, 0, 0, 1])
    K = (Vi(x) - Vj(x)).abs().masked(masks.blocks(labels))
    assert K.argmin(axis=1).ravel().tolist() == [0, 1, 0, 1, 1, 0]


def test_masks_of_operands_are_all_heeded():
    r = np.random.default_rng(6)
    x = r.normal(size=(20, 2))
    A, B = (Vi(x) * Vj(x)).sum(-1), (Vi(x) - Vj(x)).sqnorm2()
    both = A.masked(masks.causal()) * B.masked(masks.band(3)) + 1
    dense = (x @ x.T) * ((x[:, None] - x) ** 2).sum(-1) + 1
    keep = np.tri(20, dtype=bool) & (abs(np.subtract.outer(range(20), range(20))) <= 3)
    np.testing.assert_allclose(both.sum(axis=0)[:, 0], np.where(keep, dense, 0).sum(0))
    np.testing.assert_allclose(both.T.sum(axis=1)[:, 0], np.where(keep, dense, 0).sum(0))
    np.testing.assert_allclose(both.sum(axis=(0, 1)), np.where(keep, dense, 0).sum())
    np.testing.assert_allclose(both.mean(axis=None), dense[keep].mean())
    np.testing.assert_allclose(both.max(axis=None), dense[keep].max())


def test_indexing_keeps_the_mask():
    r = np.random.default_rng(7)
    x = r.normal(size=(20, 2))
    K = (Vi(x) * Vj(x)).sum(-1)
    masked, full = K.masked(masks.causal() & masks.blocks(np.arange(20) % 3)), np.where(
        np.tri(20) * (np.subtract.outer(range(20), range(20)) % 3 == 0) > 0, x @ x.T, 0)
    rows = np.array([3, 17, 0])
    np.testing.assert_allclose(masked[rows, 2:15].sum(axis=1)[:, 0], full[rows, 2:15].sum(1))
    np.testing.assert_allclose(masked[:, np.arange(20) > 4].T.sum(axis=1)[:, 0], full[:, 5:].sum(0))
    for call in (lambda: masked.dense(), lambda: masked[3, :], lambda: masked.diagonal(), lambda: masked[rows, rows]):
        with pytest.raises(ValueError, match="filled"):
            call()


def test_softmax_is_causal_attention():
    r = np.random.default_rng(8)
    q, k, v = r.normal(size=(2, 9, 4)), r.normal(size=(2, 9, 4)), r.normal(size=(2, 9, 3))
    S = (Vi(q) * Vj(k)).sum(-1).masked(masks.causal())
    scores = np.where(np.tri(9) > 0, np.exp(q @ k.swapaxes(1, 2)), 0)
    expected = scores / scores.sum(-1, keepdims=True) @ v
    np.testing.assert_allclose(S.softmax(axis=2) @ v, expected)
    np.testing.assert_allclose(S.sumsoftmaxweight(Vj(v), axis=2), expected)


def test_batches_of_masks():
    """Padding: each element of the batch has a length; labels for each element; reshaping and indexing of batch axes."""
    r = np.random.default_rng(9)
    x, lengths = r.normal(size=(2, 3, 8, 2)), r.integers(0, 9, (2, 3))
    K = (Vi(x) * Vj(x)).sum(-1)
    values = x @ x.swapaxes(-1, -2)
    keep = np.broadcast_to(np.arange(8) < lengths[..., None, None], values.shape)
    check(K, values, masks.intervals([0], lengths[..., None]), keep)
    check(K, values, masks.intervals([0], lengths[..., None]) & masks.causal(), keep & (np.tri(8) > 0))
    labels = r.integers(0, 3, (2, 3, 8))
    check(K, values, masks.blocks(labels), labels[..., None] == labels[..., None, :])
    check(K, values, masks.blocks(np.sort(labels)), np.sort(labels)[..., None] == np.sort(labels)[..., None, :])
    masked = K.masked(masks.intervals([0], lengths[..., None]))
    expected = np.where(keep, values, 0).sum(-1)
    np.testing.assert_allclose(masked[1, ...].sum(axis=2)[..., 0], expected[1])
    np.testing.assert_allclose(masked[:, 2:, ...].sum(axis=3)[..., 0], expected[:, 2:])
    np.testing.assert_allclose(masked.reshape(6, 8, 8).sum(axis=2)[..., 0], expected.reshape(6, 8))
    np.testing.assert_allclose(masked.sum(axis=(0, 3))[..., 0], expected.sum(0))
    np.testing.assert_allclose(masked.mean(axis=(0, 1, 2, 3)), values[keep].mean())
    np.testing.assert_allclose(masked.mean(axis=(0, 3))[..., 0], np.where(keep, values, 0).sum((0, 3)) / keep.sum((0, 3)))
    # a batch that comes later
    one = (Vi(x[0, 0]) * Vj(x[0, 0])).sum(-1).masked(masks.causal())
    np.testing.assert_allclose((one * Vj(x[0])).sum(axis=2), np.einsum("ij,bjd->bid", np.tril(values[0, 0]), x[0]))


def test_vectors_and_complex_numbers():
    r = np.random.default_rng(10)
    x = r.normal(size=(12, 3))
    F = (Vi(x) - Vj(x)).masked(masks.causal())
    keep = np.tri(12)[..., None] > 0
    dense = np.where(keep, x[:, None] - x, 0)
    np.testing.assert_allclose(F.sum(axis=1), dense.sum(1))
    np.testing.assert_allclose(F.mean(axis=0), dense.sum(0) / np.tri(12).sum(0)[:, None])
    np.testing.assert_allclose(F[1].sum(axis=1)[:, 0], dense[..., 1].sum(1))
    np.testing.assert_allclose(F.mean(axis=(0, 1)), dense.sum((0, 1)) / np.tri(12).sum())
    z = x + 1j * x[::-1]
    Z = (Vi(z) * Vj(z)).sum(-1).masked(masks.band(2))
    band = abs(np.subtract.outer(range(12), range(12))) <= 2
    np.testing.assert_allclose(Z.sum(axis=1)[:, 0], np.where(band, z @ z.T, 0).sum(1))
    np.testing.assert_allclose(Z.mean(axis=1)[:, 0], np.where(band, z @ z.T, 0).sum(1) / band.sum(1))
    np.testing.assert_allclose(Z @ z, np.where(band, z @ z.T, 0) @ z)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_numbers_beyond_the_mantissa(dtype, monkeypatch):
    """Rows and columns are told apart where the type cannot count them: digits."""
    monkeypatch.setitem(_masked._EXACT, np.dtype(dtype).name, 7)
    r = np.random.default_rng(11)
    x, y = r.integers(0, 3, (400, 1)).astype(dtype), r.integers(0, 3, (300, 1)).astype(dtype)
    for mask, keep in cases(400, 300, r):
        found = (Vi(x) * Vj(y)).masked(mask).filled(-1).dense()
        np.testing.assert_array_equal(found, np.where(keep, x * y.T, -1))


def test_radius():
    r = np.random.default_rng(12)
    x, y = r.random((900, 2)), r.random((700, 2)) ** 2
    D = (Vi(x) - Vj(y)).sqnorm2()
    d = ((x[:, None] - y) ** 2).sum(-1)
    for clusters in (False, True, 16):
        mask = masks.radius(0.1, x, y, clusters=clusters)
        check(D, d, mask, d <= 0.01, ("sum", "min", "argmax", "mean"))
        check(D, d, mask & masks.causal(), (d <= 0.01) & dense_causal(900, 700), ("sum", "argmin"))
    blocks = D.masked(masks.radius(0.1, x, y, clusters=16))._mask.blocks
    rows, ends, columns = blocks.ranges[:3]
    which = np.searchsorted(ends, np.arange(len(columns)), side="right")
    assert ((rows[which, 1] - rows[which, 0]) * (columns[:, 1] - columns[:, 0])).sum() < 0.3 * d.size
    near = (Vi(x).sqdist(Vj(x)) <= 0)
    assert (D[:, :][:, :].masked(D <= 0.01).sum(axis=1) == D.masked(masks.radius(0.1, x, y)).sum(axis=1)).all()
    assert near.masked(masks.radius(0, x)).sum(axis=1).ravel().tolist() == [1.0] * 900


def test_ranges_and_formulas_of_one_axis():
    """With ranges or masks each row has pairs of its own, even where the formula depends on the other axis alone."""
    x, y = np.arange(4.0)[:, None] + 1, np.arange(3.0)[:, None] + 1
    six = (np.array([[0, 2], [2, 4]]), np.array([1, 2]), np.array([[0, 2], [2, 3]]), np.array([[0, 2], [2, 3]]), np.array([1, 2]),
           np.array([[0, 2], [2, 4]]))
    keep = np.kron(np.eye(2), np.ones((2, 2)))[:, :3] > 0
    for K, values in ((0 * Vi(x) + Vj(y), y.T), (0 * Vj(y) + Vi(x), x), (0 * Vj(y) + 0 * Vi(x) + 3, np.full((4, 3), 3))):
        values = np.broadcast_to(values, (4, 3))
        ranged = K._like()
        ranged.ranges = six
        for axis in (0, 1):
            np.testing.assert_allclose(ranged.sum(axis=axis)[:, 0], np.where(keep, values, 0).sum(axis))
            np.testing.assert_allclose(ranged.argmax(axis=axis)[:, 0], np.where(keep, values, -1).argmax(axis))
            np.testing.assert_allclose(ranged.logsumexp(axis=axis)[:, 0], np.log(np.where(keep, np.exp(values), 0).sum(axis)))
        check(K, values, masks.blocks([0, 0, 1, 1], [0, 0, 1]), keep, ("sum", "min", "argmax", "mean", "logsumexp"))
    from benben.numpy import Genred
    for axis, expected in ((1, np.where(keep, y.T, 0).sum(1)), (0, np.where(keep, y.T, 0).sum(0))):
        f = Genred("y", ["x = Vi(1)", "y = Vj(1)"], axis=axis)
        np.testing.assert_allclose(f(x, y, ranges=six)[:, 0], expected)
        g = Genred("y", ["x = Vi(1)", "y = Vj(1)"], "LogSumExp", axis=axis, formula2="y")
        np.testing.assert_allclose(g(x, y, ranges=six)[:, 0], np.log(np.where(keep, y.T * np.exp(y.T), 0).sum(axis)))


def test_variance_with_ddof_and_halves():
    r = np.random.default_rng(14)
    x = r.normal(size=(9, 1))
    K = (Vi(x) - Vj(x)).abs().masked(masks.causal())
    dense = [abs(x[i] - x[:i + 1, 0]) for i in range(9)]
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(K.var(axis=1, ddof=1)[1:, 0], [row.var(ddof=1) for row in dense[1:]])
        assert np.isnan(K.var(axis=1, ddof=1)[0, 0])
    np.testing.assert_allclose(K.std(axis=1)[:, 0], [row.std() for row in dense])
    half = np.ones((3, 1), np.float16)
    many = np.zeros((70000, 1), np.float16)
    mean = (Vi(half) + Vj(many)).masked(masks.causal(69998)).mean(axis=0)
    assert mean.dtype == np.float16 and (mean == 1).all()
    assert ((Vi(half) * Vj(many)).masked(masks.causal(69998)).mean(axis=1) == 0).all()


def test_solve_of_independent_blocks():
    r = np.random.default_rng(13)
    x, b, labels = r.random((40, 2)), r.random((40, 1)), r.integers(0, 4, 40)
    K = (-(Vi(x) - Vj(x)).sqnorm2()).exp().masked(masks.blocks(labels))
    dense = np.where(labels[:, None] == labels, np.exp(-((x[:, None] - x) ** 2).sum(-1)), 0)
    np.testing.assert_allclose(K.solve(b, alpha=0.1, eps=1e-10), np.linalg.solve(dense + 0.1 * np.eye(40), b), atol=1e-7)


@pytest.mark.parametrize("call, words", [
    (lambda K: K.masked(3), "mask"), (lambda K: K.masked(np.ones((4, 4), bool)), "mask"),
    (lambda K: K.masked(masks.blocks([0, 1])), "batch_i has 2 labels"), (lambda K: K.masked(masks.intervals([0, 1, 2], [1])), "shape"),
    (lambda K: masks.blocks([0.5]), "integers"), (lambda K: masks.causal(1.5), "integer"), (lambda K: masks.radius(-1, np.ones((2, 2))), "r = -1"),
    (lambda K: K.masked(Vi(np.ones((5, 1))) > 0), "rows"), (lambda K: K.masked(Vi(np.ones((4, 2))) > 0), "one number"),
    (lambda K: masks.radius(1, [1.0]), "points"), (lambda K: masks.radius(1, np.ones((2, 2)), np.ones((2, 3))), "dimensions differ"),
    (lambda K: bool(masks.causal()), "neither"), (lambda K: K.masked(masks.causal()).softmax(axis=1).reduction("softmax", axis=1), "not defined"),
])
def test_errors(call, words):
    x = np.ones((4, 1))
    with pytest.raises(ValueError, match=words):
        call(Vi(x) * Vj(x))


def test_every_reduction_says_what_it_does_with_masks():
    from benben._formula import REDUCTIONS
    others = {"mean", "var", "std", "softmax", "softmaxweight"}  # computed from these, or not a reduction of a LazyTensor
    assert set(REDUCTIONS) == set(_masked.NEUTRAL) | others
    assert isinstance((LazyTensor(np.ones((2, 1, 1))) < 1) & masks.causal(), masks.Mask)
    assert benben.masks is masks
