"""Random keys, batches and masks of LazyTensors, beside NumPy's arrays: sizes 0, 1, primes; chains of what makes other LazyTensors
of them."""
import numpy as np
from hypothesis import given, settings, strategies as st

from benben import masks
from benben.numpy import LazyTensor, Pm, Vi, Vj

SIZES = st.sampled_from([0, 1, 2, 3, 5, 7, 13, 17])
SETTINGS = dict(max_examples=150, deadline=None, print_blob=True)


def operands(draw, dims=(1, 2, 3)):
    """A LazyTensor of random axes, batches and formula, and its dense array with all axes (..., M, N, D)."""
    m, n, d = draw(SIZES), draw(SIZES), draw(st.sampled_from(dims))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 3), (2, 1), (0,)]))
    r = np.random.default_rng(draw(st.integers(0, 2**32)))

    def array(*shape):
        own = draw(st.sampled_from([(), batch, tuple(1 if draw(st.booleans()) else b for b in batch)]))
        return r.normal(size=(*own, *shape))

    x, y, p = array(m, d), array(n, d), array(draw(st.sampled_from([1, d])))
    p_ = p[..., None, None, :]
    forms = [(Vi(x) - Vj(y), x[..., :, None, :] - y[..., None, :, :]),
             ((Vi(x) * Pm(p) + Vj(y)).sin(), np.sin(x[..., :, None, :] * p_ + y[..., None, :, :])),
             ((Vi(x) - Vj(y)).sqnorm2(), ((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1, keepdims=True))]
    lazy, dense = draw(st.sampled_from(forms))
    return lazy, dense


def same(lazy, dense):
    """dense has all axes; those in front that the LazyTensor has not are of length 1."""
    assert lazy._shape == dense.shape, (lazy._shape, dense.shape)
    found = lazy.dense()
    assert found.shape == lazy.shape
    np.testing.assert_allclose(found.reshape(dense.shape), dense, rtol=1e-9, atol=1e-9)


def key_of_axis(draw, n, kinds):
    kind = draw(st.sampled_from(kinds))
    if kind == "slice":
        bound = st.one_of(st.none(), st.integers(-n - 2, n + 2))
        return slice(draw(bound), draw(bound), draw(st.sampled_from([None, 1, 2, -1, -3])))
    if kind == "mask":
        return np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), bool)
    if kind == "list" and n:
        return draw(st.lists(st.integers(-n, n - 1), max_size=9))
    if kind == "int" and n:
        return draw(st.integers(-n, n - 1))
    return slice(None)


def indexed(dense, axis, key):
    """One axis by one key; an integer keeps the axis, as length 1."""
    if isinstance(key, (int, np.integer)):
        key = [key]
    if isinstance(key, list):
        key = np.array(key, np.int64)
    return dense[(slice(None),) * axis + (key,)]


@settings(**SETTINGS)
@given(st.data())
def test_lines_and_components(data):
    """Slices, masks and lists on any axes: a LazyTensor whose values are those of the array."""
    lazy, dense = operands(data.draw)
    for _ in range(data.draw(st.integers(1, 3))):
        axes = dense.ndim
        keys = [key_of_axis(data.draw, n, ["all", "slice", "mask", "list"]) for n in dense.shape[:-1]]
        keys.append(slice(*sorted(data.draw(st.tuples(st.integers(0, dense.shape[-1] - 1), st.just(dense.shape[-1]))))))
        one = sum(not isinstance(k, slice) for k in keys[-3:-1]) == 2  # two lists pair up: test_pairs
        if one:
            keys[-2] = slice(None)
        # an axis that no array has may only be taken whole
        for at, have in ((-3, lazy.ni), (-2, lazy.nj)):
            if have is None:
                keys[at] = slice(None)
        lazy = lazy[tuple(keys)]
        for axis in range(axes):
            dense = indexed(dense, axis, keys[axis])
        same(lazy, dense)


@settings(**SETTINGS)
@given(st.data())
def test_integers_and_pairs(data):
    lazy, dense = operands(data.draw)
    m, n = dense.shape[-3:-1]
    if not m or not n:
        return
    drop = dense[..., 0] if dense.shape[-1] == 1 else dense
    i, j = data.draw(st.integers(-m, m - 1)), data.draw(st.integers(-n, n - 1))
    front = (slice(None),) * (dense.ndim - 3)
    rows = data.draw(st.lists(st.integers(-m, m - 1), max_size=6))
    columns = data.draw(st.lists(st.integers(-n, n - 1), min_size=len(rows), max_size=len(rows)))
    cut = key_of_axis(data.draw, n, ["slice", "mask"])
    as_array = [np.array(rows, np.int64), np.array(columns, np.int64)]
    for key, plain in (((i, j), None), ((i, slice(None)), None), ((slice(None), j), None), ((i, cut), None),
                       ((rows, columns), tuple(as_array)), (np.ix_(*as_array), None)):
        expected = drop[(*front, *(key if plain is None else plain))]
        found = lazy[(..., *key, slice(None))]
        found = found.dense() if isinstance(found, LazyTensor) else found
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
        assert found.shape == expected.shape


@settings(**SETTINGS)
@given(st.data())
def test_batch_integers(data):
    lazy, dense = operands(data.draw)
    for axis in reversed(range(dense.ndim - 3)):
        if dense.shape[axis]:
            at = data.draw(st.integers(-dense.shape[axis], dense.shape[axis] - 1))
            lazy, dense = lazy[(*(slice(None),) * axis, at, ...)], dense[(*(slice(None),) * axis, at, ...)]
    same(lazy, dense)


@settings(**SETTINGS)
@given(st.data())
def test_reductions_of_what_is_indexed(data):
    lazy, dense = operands(data.draw)
    m, n = dense.shape[-3:-1]
    key = (..., key_of_axis(data.draw, m, ["slice", "mask", "list"]), slice(None), slice(None))
    lazy, dense = lazy[key], indexed(dense, dense.ndim - 3, key[1])
    if data.draw(st.booleans()):
        lazy, dense = lazy.T, dense.swapaxes(-3, -2)
    for axis in (dense.ndim - 3, dense.ndim - 2):
        np.testing.assert_allclose(lazy.sum(axis=axis), dense.sum(axis), rtol=1e-9, atol=1e-9)
        if dense.shape[axis]:
            np.testing.assert_allclose(lazy.max(axis=axis), dense.max(axis), rtol=1e-9, atol=1e-9)
            np.testing.assert_array_equal(lazy.argmin(axis=axis), dense.argmin(axis))


@settings(**SETTINGS)
@given(st.data())
def test_masks_of_what_is_indexed(data):
    """A mask follows rows, columns, transposition and batches of its LazyTensor."""
    lazy, dense = operands(data.draw, (1,))
    m, n = dense.shape[-3:-1]
    keep = np.ones(dense.shape[:-1], bool)
    i, j = np.arange(m)[:, None], np.arange(n)
    for _ in range(data.draw(st.integers(1, 2))):
        which = data.draw(st.sampled_from(["causal", "band", "blocks", "comparison", "intervals"]))
        if which == "causal":
            offset = data.draw(st.integers(-3, 3))
            mask, more = masks.causal(offset), j <= i + offset
        elif which == "band":
            width = data.draw(st.integers(0, 5))
            mask, more = masks.band(width), abs(i - j) <= width
        elif which == "blocks":
            a, b = (np.array(data.draw(st.lists(st.integers(0, 2), min_size=k, max_size=k)), np.int64) for k in (m, n))
            mask, more = masks.blocks(a, b), a[:, None] == b
        elif which == "intervals":
            first = np.array(data.draw(st.lists(st.integers(0, n), min_size=m, max_size=m)), np.int64)
            mask, more = masks.intervals(first, first + 3), (j >= first[:, None]) & (j < first[:, None] + 3)
        else:
            mask, more = lazy < 0.25, dense[..., 0] < 0.25
        lazy, keep = lazy.masked(mask), keep & more
    for _ in range(data.draw(st.integers(0, 2))):
        axis = data.draw(st.integers(0, dense.ndim - 1))
        if axis == dense.ndim - 1:
            lazy, dense, keep = lazy.T, dense.swapaxes(-3, -2), keep.swapaxes(-2, -1)
            continue
        key = key_of_axis(data.draw, dense.shape[axis], ["slice", "mask", "list"])
        lazy = lazy[(*(slice(None),) * axis, key, ...)]
        dense, keep = indexed(dense, axis, key), indexed(keep, axis, key)
    for axis in (dense.ndim - 3, dense.ndim - 2):
        expected = np.where(keep[..., None], dense, 0).sum(axis)
        np.testing.assert_allclose(lazy.sum(axis=axis), expected, rtol=1e-9, atol=1e-9)
        if dense.shape[axis]:
            some = keep.any(axis)
            best = np.where(keep, dense[..., 0], np.inf).argmin(axis)
            found = lazy.argmin(axis=axis)[..., 0]
            np.testing.assert_array_equal(found[some], best[some])
            assert (found[~some] == -1).all()
    if dense.shape[-3]:
        v = np.random.default_rng(0).normal(size=(dense.shape[-2], 2))
        np.testing.assert_allclose(lazy @ v, np.where(keep, dense[..., 0], 0) @ v, rtol=1e-9, atol=1e-9)
