"""Every reduction, over either axis and both, against NumPy; edges: no column, NaN, infinities, ties, K > N."""
import itertools

import numpy as np
import pytest
from scipy import special

import bb

SIZES = (0, 1, 2, 7, 63, 64, 65, 257)


def fold_last(name, f, g, k):
    """The reduction of f (M, N, D), weights g (M, N, E), over N; float64. K values stand as K x D components."""
    m, n, d = f.shape
    quiet = np.errstate(all="ignore")
    with quiet:
        if name == "sum":
            return f.sum(1)
        if name == "prod":
            return f.prod(1)
        if name in ("min", "max"):
            return np.fmin.reduce(f, 1, initial=np.inf) if name == "min" else np.fmax.reduce(f, 1, initial=-np.inf)
        if name in ("argmin", "argmax"):
            return first(f if name == "argmin" else -f)
        if name in ("kmin", "argkmin"):
            order = np.argsort(np.where(np.isnan(f), np.inf, f), axis=1, kind="stable")[:, :k]
            values = np.take_along_axis(f, order, 1)
            return (values if name == "kmin" else order).reshape(m, k * d)
        top = f.max(1) if n else np.full((m, d), -np.inf)
        if name == "logsumexp":
            return special.logsumexp(f, axis=1) if n else top
        if name == "logsumexpweight":
            return np.log((np.exp(f) * g).sum(1))
        if name == "sumsoftmaxweight":
            return (special.softmax(f, axis=1) * g).sum(1)
        shifted = np.exp(f - top[:, None])
        if name == "maxsumshiftexp":
            return np.concatenate([top, shifted.sum(1)], -1)
        if name == "maxsumshiftexpweight":
            return np.concatenate([top, (shifted * g).sum(1)], -1)
        if name in ("mean", "var", "std"):
            return getattr(np, name)(f, axis=1)
        if name in ("any", "all"):
            return getattr(np, name)(f != 0, axis=1) * 1.0
        if name == "count":
            return (f != 0).sum(1) * 1.0
    raise KeyError(name)


def first(f):
    """Index of the smallest value, NaN ignored, -1 of nothing"""
    if f.shape[1] == 0:
        return np.full((f.shape[0], f.shape[2]), -1)
    index = np.argmin(np.where(np.isnan(f), np.inf, f), axis=1)
    held = np.take_along_axis(f, index[:, None], 1)[:, 0]
    only_infinite = np.isinf(held) | np.isnan(held)
    first_infinite = np.argmax(np.where(np.isnan(f), -1, f) == np.inf, axis=1)
    has = (f == np.inf).any(1)
    return np.where(only_infinite & (held != -np.inf), np.where(has, first_infinite, -1), index)


WEIGHTED = ("logsumexpweight", "sumsoftmaxweight", "maxsumshiftexpweight")
SCALAR = ("logsumexp", "maxsumshiftexp") + WEIGHTED
COMPOSITE = ("mean", "var", "std", "any", "all", "count")
NAMES = ("sum", "prod", "min", "argmin", "max", "argmax", "kmin", "argkmin") + SCALAR + COMPOSITE


def formula(name, axis, k=3):
    f = "sin(3 * sqdist(x, y)) + x" if name not in SCALAR else "sin(3 * sqdist(x, y)) + elem(x, 0)"
    if name in ("any", "all", "count"):
        f = f"relu({f})"
    if name == "prod":  # far from the ends of float32's range
        f = f"1 + 0.1 * ({f})"
    extra = f", {k}" if name in ("kmin", "argkmin") else ", b" if name in WEIGHTED else ""
    return f"{name}_{axis}({f}{extra})"


def dense(name, x, y, b, axis, k=3):
    own = x if name not in SCALAR else x[:, :1]
    f = np.sin(3 * ((x[:, None] - y[None]) ** 2).sum(-1, keepdims=True)) + own[:, None]
    if name in ("any", "all", "count"):
        f = np.maximum(f, 0)
    if name == "prod":
        f = 1 + 0.1 * f
    g = np.broadcast_to(b[None], (len(x),) + b.shape)
    if axis == "i":
        f, g = f.swapaxes(0, 1), g.swapaxes(0, 1)
    if axis == "ij":
        f, g = f.reshape(1, -1, f.shape[-1]), g.reshape(1, -1, g.shape[-1])
    out = fold_last(name, f, g, k)
    return out[0] if axis == "ij" else out


def points(m, n, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed + 1000 * m + n)
    return (rng.uniform(0, 1, (m, 2)).astype(dtype), rng.uniform(0, 1, (n, 2)).astype(dtype),
            rng.uniform(0.5, 1.5, (n, 3)).astype(dtype))


def check(name, axis, m, n, dtype, target="interp", tolerance=None):
    x, y, b = points(m, n, dtype)
    declarations = ("x:i2", "y:j2", "b:j3")
    found = bb.parse(formula(name, axis), *declarations)(x, y, b, target=target)
    expected = dense(name, *(a.astype(np.float64) for a in (x, y, b)), axis)
    assert found.shape == expected.shape
    if name.startswith("arg"):
        assert found.dtype == np.int64
        if dtype == np.float64:
            np.testing.assert_array_equal(found, expected)
        return found
    rounding = (1e-12 if dtype == np.float64 else 2e-5) * max(1, np.sqrt(m * n if axis == "ij" else max(m, n)))
    np.testing.assert_allclose(found, expected, rtol=rounding * 10, atol=rounding)
    return found


def test_every_reduction_of_the_table_is_tested():
    elsewhere = ("min_argmin", "max_argmax", "kmin_argkmin", "softmax", "softmaxweight")
    assert not [r["name"] for r in bb.reductions() if r["name"] not in NAMES + elsewhere]


ONE_AXIS = ("kmin", "argkmin")


@pytest.mark.parametrize("axis", ["j", "i", "ij"])
@pytest.mark.parametrize("name", NAMES)
def test_a_reduction_is_numpys(name, axis):
    if axis == "ij" and name in ONE_AXIS:
        with pytest.raises(bb.Error, match="both axes"):
            check(name, axis, 11, 70, np.float64)
        return
    for dtype in (np.float64, np.float32):
        check(name, axis, 11, 70, dtype)
        check(name, axis, 70, 11, dtype)


@pytest.mark.full
@pytest.mark.parametrize("axis", ["j", "i"])
@pytest.mark.parametrize("name", NAMES)
def test_a_reduction_is_numpys_at_every_size_and_tier(name, axis):
    for m, n in itertools.product(SIZES, SIZES):
        folded = n if axis == "j" else m
        if name in ("kmin", "argkmin") and folded < 3 or folded == 0:
            continue
        for dtype in (np.float64, np.float32):
            interpreted = check(name, axis, m, n, dtype)
            if m in (0, 7, 257) and n in (7, 65):
                compiled = check(name, axis, m, n, dtype, target="cpu")
                np.testing.assert_array_equal(compiled, interpreted)


def column(values):
    return np.asarray(values, np.float64).reshape(-1, 1)


def fold(name, values, k=None, dtype=np.float64):
    """Reduces the numbers of one row."""
    text = f"{name}_j(x * y{'' if k is None else f', {k}'})"
    y = column(values).astype(dtype)
    out = bb.parse(text, "x:i1", "y:j1")(np.ones((1, 1), dtype), y)
    return out[0]


def test_a_sum_of_nothing_is_the_neutral_element():
    assert fold("sum", [])[0] == 0
    assert fold("prod", [])[0] == 1
    assert fold("min", [])[0] == np.inf and fold("max", [])[0] == -np.inf
    assert fold("argmin", [])[0] == -1 and fold("argmax", [])[0] == -1
    assert fold("logsumexp", [])[0] == -np.inf


def test_nan_is_propagated_by_sums_and_ignored_by_selections():
    values = [3, np.nan, 1, 2]
    assert np.isnan(fold("sum", values)[0]) and np.isnan(fold("prod", values)[0])
    assert fold("min", values)[0] == 1 and fold("argmin", values)[0] == 2
    assert fold("max", values)[0] == 3 and fold("argmax", values)[0] == 0
    np.testing.assert_array_equal(fold("kmin", values, 2), [1, 2])
    np.testing.assert_array_equal(fold("argkmin", values, 3), [2, 3, 0])
    np.testing.assert_array_equal(fold("argkmin", values, 4), [2, 3, 0, -1])
    np.testing.assert_array_equal(fold("kmin", values, 4), [1, 2, 3, np.inf])
    assert fold("min", [np.nan, np.nan])[0] == np.inf and fold("argmin", [np.nan, np.nan])[0] == -1


def test_infinity_is_a_value_to_selections():
    assert fold("argmin", [np.inf, np.inf])[0] == 0
    assert fold("argmax", [-np.inf, -np.inf])[0] == 0
    np.testing.assert_array_equal(fold("argkmin", [np.inf, 1, np.inf], 3), [1, 0, 2])


def test_ties_go_to_the_smaller_index():
    values = [2, 1, 1, 2, 1]
    assert fold("argmin", values)[0] == 1 and fold("argmax", values)[0] == 0
    np.testing.assert_array_equal(fold("argkmin", values, 5), [1, 2, 4, 0, 3])
    many = np.zeros(1000)
    np.testing.assert_array_equal(fold("argkmin", many, 300), np.arange(300))


def test_log_sum_exp_does_not_overflow():
    np.testing.assert_allclose(fold("logsumexp", [1000, 1000]), 1000 + np.log(2))
    np.testing.assert_allclose(fold("logsumexp", [-1000, -1001]), special.logsumexp([-1000, -1001]))
    assert fold("logsumexp", [-np.inf, -np.inf])[0] == -np.inf
    assert fold("logsumexp", [np.inf, 1])[0] == np.inf


def test_more_neighbours_than_columns_is_an_error_that_says_so():
    with pytest.raises(bb.Error, match="(?s)5.*3|3.*5") as caught:
        fold("argkmin", [1, 2, 3], 5)
    assert caught.value.status in ("BAD_ARGUMENT", "BAD_SHAPE")


@pytest.mark.parametrize("k", [1, 2, 10, 64, 300])
def test_the_k_smallest_values_of_every_component(k):
    x, y, _ = points(40, 500)
    found, where = bb.parse(f"kmin_argkmin_j(square(x - y), {k})", "x:i2", "y:j2")(x, y)
    f = (x[:, None] - y[None]) ** 2
    order = np.argsort(f, axis=1, kind="stable")[:, :k]
    np.testing.assert_array_equal(where, order.reshape(40, -1))
    np.testing.assert_array_equal(found, np.take_along_axis(f, order, 1).reshape(40, -1))


@pytest.mark.full
def test_thousands_of_neighbours():
    x, y, _ = points(20, 6000)
    found = bb.parse("argkmin_j(sqdist(x, y), 3000)", "x:i2", "y:j2")(x, y)
    f = ((x[:, None] - y[None]) ** 2).sum(-1)
    values = np.take_along_axis(f, found, 1)
    np.testing.assert_allclose(values, np.sort(f, axis=1)[:, :3000], rtol=1e-14)
    assert all(len(set(row)) == 3000 for row in found)


def test_pairs_of_outputs():
    x, y, _ = points(30, 90)
    f = ((x[:, None] - y[None]) ** 2).sum(-1)
    for name, pick in (("min_argmin", np.argmin), ("max_argmax", np.argmax)):
        value, index = bb.parse(f"{name}_j(sqdist(x, y))", "x:i2", "y:j2")(x, y)
        np.testing.assert_array_equal(index[:, 0], pick(f, axis=1))
        np.testing.assert_allclose(value[:, 0], np.take_along_axis(f, index, 1)[:, 0], rtol=1e-14)


def test_indices_pass_two_to_the_24():
    n = (1 << 24) + 5
    y = np.zeros((n, 1), np.float32)
    y[-2] = -1
    found = bb.parse("argmin_j(x + y)", "x:i1", "y:j1")(np.zeros((1, 1), np.float32), y)
    assert found[0, 0] == n - 2


def test_a_reduction_inside_a_formula():
    """softmax by hand: exp(f - logsumexp_j(f)) summed against b"""
    x, y, b = points(20, 33)
    declarations = ("x:i2", "y:j2", "b:j3")
    f = -((x[:, None] - y[None]) ** 2).sum(-1)
    for text in ("sum_j(exp(-sqdist(x, y) - logsumexp_j(-sqdist(x, y))) * b)", "sum_j(softmax_j(-sqdist(x, y)) * b)",
                 "softmaxweight_j(-sqdist(x, y), b)"):
        found = bb.parse(text, *declarations)(x, y, b)
        np.testing.assert_allclose(found, special.softmax(f, axis=1) @ b, rtol=1e-13)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", ["sumsoftmaxweight_j(-sqdist(x, y), b)", "sumsoftmaxweight_j((x | y), concat(b, y))",
                                  "sumsoftmaxweight_j(sum(y), b)", "sumsoftmaxweight_j((x | y), elem(b, 0) * x)",
                                  "logsumexpweight_j(-sqdist(x, y), square(b))"])
@pytest.mark.parametrize("dim", [1, 3, 8, 9])
def test_weights_of_columns_are_read_where_they_stand(text, dim, dtype):
    """The interpreter does not write them down; values that are themselves columns, and weights of rows, it does."""
    rng = np.random.default_rng(dim)
    program = bb.parse(text, "x:i2", "y:j2", f"b:j{dim}")
    compiled, interpreted = (program.compile(target=target, policy="wait") for target in ("cpu", "interp"))
    for m, n in ((1, 3000), (63, 5), (64, 129), (65, 1), (130, 700), (200, 2049)):
        x, y, b = (rng.normal(size=shape).astype(dtype) for shape in ((m, 2), (n, 2), (n, dim)))
        found = interpreted(x, y, b)
        np.testing.assert_array_equal(found, compiled(x, y, b))
        if text == "sumsoftmaxweight_j(-sqdist(x, y), b)":
            f = -((x[:, None].astype(np.float64) - y[None]) ** 2).sum(-1)
            np.testing.assert_allclose(found, special.softmax(f, axis=1) @ b, rtol=1e-5 if dtype == "float32" else 1e-13,
                                       atol=1e-6 if dtype == "float32" else 1e-14)


@pytest.mark.parametrize("scheme", ["block", "kahan", "direct"])
def test_sum_schemes_agree(scheme):
    x, y, b = points(10, 3000, np.float32)
    program = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i2", "y:j2", "b:j3")
    found = program.compile(target="interp", scheme=scheme)(x, y, b)
    f = np.exp(-((x[:, None].astype(np.float64) - y[None]) ** 2).sum(-1)) @ b.astype(np.float64)
    np.testing.assert_allclose(found, f, rtol={"block": 2e-6, "kahan": 2e-6, "direct": 2e-5}[scheme])


def test_float64_accumulators_of_a_float32_sum():
    """2^40, then ones, then -2^40: what shares a block of columns with the large numbers is lost in any case, and
    with float32 accumulators also what comes later."""
    n = 100000
    y = np.ones((n, 1), np.float32)
    y[0], y[-1] = 2.0 ** 40, -2.0 ** 40
    program = bb.parse("sum_j(x * y)", "x:i1", "y:j1")
    x = np.ones((100, 1), np.float32)
    lost = [n - program.compile(target="interp", scheme="block", accumulate_double=wide)(x, y, dtype=np.float64)
            for wide in (False, True)]
    assert (lost[1] <= lost[0] / 2).all() and (0 < lost[1]).all() and (lost[1] <= 1024).all()
