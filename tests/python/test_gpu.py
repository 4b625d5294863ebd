"""Graphics processors: edges, dimensions, schemes, ranges, roles and gradients of the OpenCL target against NumPy in float64 or
the interpreter, on whatever device OpenCL has (PoCL makes one of the processor); all of the tables is in test_gpu_table.py."""
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import bb
import test_reductions

TARGET = os.environ.get("BENBEN_TEST_TARGET", "opencl")
os.environ.setdefault("BENBEN_OPENCL_OPTIONS", "-cl-opt-disable")  # PoCL takes twice as long to optimise as to build


def missing():
    """None, or why the target is not there."""
    try:
        bb.parse("sum_j(x * y)", "x:i1", "y:j1")(np.ones((1, 1)), np.ones((1, 1)), target=TARGET)
    except bb.Error as error:
        return str(error)


WHY = missing()
pytestmark = [pytest.mark.full, pytest.mark.skipif(WHY is not None, reason=f"{TARGET}: {WHY}")]
LINEAR = re.compile(r"\b(grad|diff|gradmatrix|divergence|laplacian|traceoperator|adjointoperator|sumlinoperator)")


def operands(case, k):
    """The text with operands that depend on the pair, so that it is computed per pair, and their declarations. Zeros are
    added: z depends on j, u on i. What is differentiated has to stay a variable."""
    spread = {} if LINEAR.search(case.text) else {"a": " + z", "b": " + u", "c": " + z"}
    text = re.sub(r"\b[abc]\b", lambda name: f"({name[0]}{k}{spread.get(name[0], '')})" if spread else f"{name[0]}{k}",
                  case.text)
    places = {"a": "i", "b": "j", "c": "p"}
    return text, [f"{n}{k}:{places[n]}{d}" for n, d in zip(case.names, case.dims)]


def per_pair(case, k):
    text, declared = operands(case, k)
    return f"sum_j(({text}) * w)", declared


def reductions(axis):
    return [n for n in test_reductions.NAMES if not (axis == "ij" and n in test_reductions.ONE_AXIS)]


def test_edges_of_reductions_are_those_of_the_interpreter():
    """No column, NaN, infinities, ties; values of one and of many components."""
    names = ["sum", "prod", "min", "argmin", "max", "argmax", "logsumexp"]
    texts = [f"{name}_j(x * y)" for name in names] + [f"{name}_j(x * v)" for name in names[:-1]]
    program = bb.parse("; ".join(texts), "x:i1", "y:j1", "v:j11")
    lists = bb.parse("kmin_argkmin_j(x * y, 3); kmin_argkmin_j(x * v, 3); kmin_argkmin_j(x - y, 40)", "x:i1", "y:j1",
                     "v:j11")
    nan, inf = np.nan, np.inf
    rows = [[], [nan, nan, nan], [inf, inf, inf], [-inf, -inf, -inf], [3, nan, 1, 2, 1], [inf, 1, inf], [1e300] * 200,
            [0.0] * 300, list(np.arange(400) % 7), [-inf, inf, nan, 0]]
    for dtype in (np.float64, np.float32):
        kernels = [(p.compile(target=TARGET), p.compile(target="interp")) for p in (program, lists)]
        for row in rows:
            y = np.array(row, dtype).reshape(-1, 1)
            v = np.repeat(y, 11, 1) if len(row) else np.zeros((0, 11), dtype)
            x = np.array([[1], [-1], [2]], dtype)
            for k, (device, host) in enumerate(kernels):
                if k == 1 and len(row) < 40:
                    continue
                for found, expected in zip(device(x, y, v), host(x, y, v)):
                    np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=str(row[:5]))


def gauss(x, y, b):
    x, y, b = (np.asarray(v, np.float64) for v in (x, y, b))
    return np.exp(-((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)) @ b


def arrays(m, n, d, e, dtype, seed=0, batch=()):
    rng = np.random.default_rng(seed)
    return (rng.random((*batch, m, d)).astype(dtype), rng.random((*batch, n, d)).astype(dtype),
            rng.standard_normal((*batch, n, e)).astype(dtype))


@pytest.mark.parametrize("d, e", [(1, 1), (3, 20), (75, 30)])
def test_dimensions_small_and_large(d, e):
    """Sums and components in registers, in loops, and columns that local memory does not hold."""
    program = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", f"x:i{d}", f"y:j{d}", f"b:j{e}")
    for dtype, tolerance in ((np.float32, 3e-6), (np.float64, 1e-13)):
        kernel = program.compile(target=TARGET)
        for m, n in ((1, 1), (5, 1000), (200, 130), (0, 7), (7, 0)):
            x, y, b = arrays(m, n, d, e, dtype)
            scale = max(1, np.abs(b).sum())
            np.testing.assert_allclose(kernel(x, y, b), gauss(x, y, b), atol=tolerance * scale, rtol=0)
        if d == 3:
            gradient = program.grad(["x", "y", "b"]).compile(target=TARGET)
            expected = program.grad(["x", "y", "b"]).compile(target="interp")
            x, y, b = arrays(60, 70, d, e, dtype)
            g = np.random.default_rng(1).standard_normal((60, e)).astype(dtype)
            for found, wanted in zip(gradient(x, y, b, g), expected(x, y, b, g)):
                np.testing.assert_allclose(found, wanted, atol=20 * tolerance * max(1, np.abs(wanted).max()), rtol=0)


def test_weights_of_many_components():
    program = bb.parse("sumsoftmaxweight_j(-sqdist(x, y), b); logsumexp_j(-sqdist(x, y)); maxsumshiftexpweight_j(x | y, b)",
                       "x:i3", "y:j3", "b:j20")
    for dtype, tolerance in ((np.float32, 2e-5),):
        x, y, b = arrays(150, 333, 3, 20, dtype)
        for found, expected in zip(program(x, y, b, target=TARGET), program(x, y, b)):
            np.testing.assert_allclose(found, expected, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("scheme, wide", [("kahan", False), ("direct", False), ("block", True), ("kahan", True),
                                          ("direct", True)])
def test_schemes_of_summation(scheme, wide):
    x, y, b = arrays(70, 5000, 3, 2, np.float32)
    many = np.repeat(b, 10, 1)
    for text, weights in (("b", b), ("many", many)):
        program = bb.parse(f"sum_j(exp(-sqdist(x, y)) * {text})", "x:i3", "y:j3", f"{text}:j{weights.shape[1]}")
        found = program.compile(target=TARGET, scheme=scheme, accumulate_double=wide)(x, y, weights)
        rounding = {"direct": 2e-5}.get(scheme, 1e-6)
        np.testing.assert_allclose(found, gauss(x, y, weights), rtol=0, atol=rounding * np.abs(b).sum())


def test_batches_types_and_strides():
    program = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j2")
    kernel = program.compile(target=TARGET)
    x, y, b = arrays(70, 131, 3, 2, np.float32, batch=(2, 3))
    np.testing.assert_allclose(kernel(x, y, b), gauss(x, y, b), atol=1e-4, rtol=0)
    np.testing.assert_allclose(kernel(x[:, :1], y[:1], b), gauss(x[:, :1], y[:1], b), atol=1e-4, rtol=0)
    strided = kernel(x[0, 0, ::-2], y[1, 0, 5::3], b[1, 0, 5::3])
    np.testing.assert_allclose(strided, gauss(x[0, 0, ::-2], y[1, 0, 5::3], b[1, 0, 5::3]), atol=1e-4, rtol=0)
    half = [v[0, 0].astype(np.float16) for v in (x, y, b)]
    np.testing.assert_allclose(kernel(*half), gauss(*half), atol=5e-2, rtol=0)
    brain = [bb.bfloat16.of(v[0, 0]) for v in (x, y, b)]
    np.testing.assert_allclose(kernel(*brain, dtype=np.float32), gauss(*(v.numbers() for v in brain)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_ranges_are_a_mask(seed):
    rng = np.random.default_rng(seed)
    m, n, clusters = 400, 700, 6
    x, y, b = arrays(m, n, 3, 2, np.float64, seed)
    cut = [np.concatenate([[0], np.sort(rng.integers(0, size + 1, clusters - 1)), [size]]) for size in (m, n)]
    ranges = [np.stack([c[:-1], c[1:]], 1) for c in cut]
    meet = rng.random((clusters, clusters)) < 0.5
    six = (ranges[0], np.cumsum(meet.sum(1)), np.concatenate([ranges[1][row] for row in meet]),
           ranges[1], np.cumsum(meet.sum(0)), np.concatenate([ranges[0][column] for column in meet.T]))
    mask = np.zeros((m, n), bool)
    for p, q in np.argwhere(meet):
        mask[cut[0][p]:cut[0][p + 1], cut[1][q]:cut[1][q + 1]] = True
    d2 = ((x[:, None] - y[None]) ** 2).sum(-1)
    program = bb.parse("sum_j(exp(-sqdist(x, y)) * b); argkmin_j(sqdist(x, y), 3); argmin_i(sqdist(x, y)); "
                       "sum_i(exp(-sqdist(x, y)) * sum(x))", "x:i3", "y:j3", "b:j2")
    sums, nearest, least, across = program(x, y, b, target=TARGET, ranges=six)
    np.testing.assert_allclose(sums, (np.exp(-d2) * mask) @ b, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(across[:, 0], (np.exp(-d2) * mask).T @ x.sum(1), rtol=1e-12, atol=1e-12)
    masked = np.where(mask, d2, np.inf)
    order = np.argsort(masked, 1, kind="stable")[:, :3]
    np.testing.assert_array_equal(nearest, np.where(np.take_along_axis(masked, order, 1) < np.inf, order, -1))
    np.testing.assert_array_equal(least[:, 0], np.where(mask.any(0), masked.argmin(0), -1))


@pytest.mark.parametrize("k", [1, 10, 100])
def test_the_k_smallest(k):
    x, y, _ = arrays(300, 2500, 3, 1, np.float64)
    y[::7] = y[3]  # ties
    found, where = bb.parse(f"kmin_argkmin_j(sqdist(x, y), {k})", "x:i3", "y:j3")(x, y, target=TARGET)
    value, index = bb.parse(f"kmin_argkmin_j(sqdist(x, y), {k})", "x:i3", "y:j3")(x, y)
    np.testing.assert_array_equal(where, index)
    np.testing.assert_array_equal(found, value)


def test_stages_of_a_program():
    """A nested reduction, a gradient through listed pairs, twins, high dimension."""
    program = bb.parse("sum_j(exp(-sqdist(x, y) - logsumexp_j(-sqdist(x, y))) * b); min_j(sqdist(x, y))", "x:i3", "y:j3",
                       "b:j1")
    x, y, b = arrays(100, 150, 3, 1, np.float64)
    gradient = program.grad(["x", "y"])
    g, h = np.ones((100, 1)), np.ones((100, 1))
    for found, expected in zip(gradient(x, y, b, g, h, target=TARGET), gradient(x, y, b, g, h)):
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
    same = bb.parse("sum_j(exp(-sqdist(x, y)))", "x:i20", "y:j20")
    x = np.random.default_rng(0).standard_normal((400, 20)).astype(np.float32)
    np.testing.assert_allclose(same(x, x, target=TARGET), same(x, x), rtol=1e-5)
    nearest = bb.parse("argkmin_j(sqdist(x, y), 3)", "x:i20", "y:j20")
    y = np.random.default_rng(1).standard_normal((900, 20)).astype(np.float32)
    np.testing.assert_array_equal(nearest(x, y, target=TARGET), nearest(x, y))


@pytest.mark.parametrize("selection", ["min_argmin_j(x | y)", "max_j(x | y)", "argkmin_j(x | y, 3)"])
def test_a_selection_beside_an_expanded_distance(selection):
    """Of another value, in the pass of a Gaussian sum: the block is folded for all of its rows."""
    program = bb.parse(f"sum_j(exp(-sqdist(x, y)) * b); {selection}", "x:i3", "y:j3", "b:j1")
    for m, n in ((5, 300), (70, 131)):
        x, y, b = arrays(m, n, 3, 1, np.float32)
        x, y = np.round(64 * x) / 64, np.round(64 * y) / 64  # products and their sums are exact
        for found, expected in zip(program(x, y, b, target=TARGET), program(x, y, b)):
            if expected.dtype == np.int64:
                np.testing.assert_array_equal(found, expected)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_results_repeat_to_the_bit():
    kernel = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1").compile(target=TARGET)
    x, y, b = arrays(10, 30000, 3, 1, np.float32)
    first = kernel(x, y, b)
    for threads in (1, 3):
        np.testing.assert_array_equal(kernel(x, y, b, threads=threads), first)
    assert kernel.tier()[0] == TARGET


def run(code, **environment):
    return subprocess.run([sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, text=True,
                          cwd=os.path.dirname(__file__), timeout=120)


def test_the_environment_forces_a_target():
    code = """
import numpy as np, bb
k = bb.parse("sum_j(x * y)", "x:i1", "y:j1").compile()
k(np.ones((1, 1)), np.ones((2, 1)))
print(k.tier("float64")[0])
"""
    done = run(code, BENBEN_TARGET=TARGET)
    assert done.stdout.strip() == TARGET, done.stderr


def test_a_forked_child_is_told_why_it_cannot_go_on():
    code = f"""
import os, numpy as np, bb
k = bb.parse("sum_j(x * y)", "x:i1", "y:j1").compile(target="{TARGET}")
one = np.ones((1, 1))
k(one, one)
child = os.fork()
if child == 0:
    try:
        k(one, one)
    except bb.Error as error:
        os._exit(0 if error.status == "DEVICE" and "spawn" in str(error) else 1)
    os._exit(2)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("d", [1, 3])
def test_expanded_distances_are_as_good_as_differences(d):
    """Exponents to the stated bound wherever the data lie; selections to the bit, ties and NaN included."""
    gaussian = bb.parse("sum_j(exp(-sqdist(x, y) * s) * b)", f"x:i{d}", f"y:j{d}", "s:p1", "b:j1").compile(target=TARGET)
    select = bb.parse("min_argmin_j(sqdist(x, y))", f"x:i{d}", f"y:j{d}")
    lists = bb.parse("kmin_argkmin_j(sqdist(x, y), 4)", f"x:i{d}", f"y:j{d}")
    least = bb.parse("min_j(sqdist(x, y))", f"x:i{d}", f"y:j{d}")
    kernels = [(p.compile(target=TARGET), p.compile(target="interp")) for p in (select, lists, least)]
    for m, n, shift, spread in ((300, 1000, 0, 1), (9, 3000, 0, 1), (300, 700, 100, 1), (300, 700, 1e4, 1e-3),
                                (200, 515, 0, 1e18), (200, 515, 3, 1e-25)):
        x, y, b = (v.astype(np.float32) for v in arrays(m, n, d, 1, np.float64, seed=d))
        x, y = (x * spread + shift).astype(np.float32), (y * spread + shift).astype(np.float32)
        y[::5] = y[2]
        if shift == 0 and spread == 1:
            y[7], x[3] = np.nan, np.inf
            x[5, 0] = np.nan
        for device, host in kernels:
            found, expected = device(x, y), host(x, y)
            for a, e in zip(found if isinstance(found, tuple) else (found,), expected if isinstance(expected, tuple) else (expected,)):
                np.testing.assert_array_equal(a, e)
        x, y = np.nan_to_num(x, posinf=1), np.nan_to_num(y)
        for scale in (1.0, 30.0):
            s = np.array([scale / max(spread, 1e-12) ** 2], np.float32)
            d2 = ((x[:, None].astype(np.float64) - y[None]) ** 2).sum(-1)
            with np.errstate(all="ignore"):
                expected = np.exp(-d2 * s.astype(np.float64)) @ b.astype(np.float64)
            allowed = 4e-6 * np.abs(b).sum()
            np.testing.assert_allclose(gaussian(x, y, s, b), expected, rtol=0, atol=allowed, err_msg=f"{shift} {spread}")
