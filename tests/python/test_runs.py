"""How programs run: types, strides, batches, ranges, threads, cancellation, errors, run-time numbers."""
import ctypes
import os
import threading
import time

import numpy as np
import pytest

import bb

GAUSS = "sum_j(exp(-sqdist(x, y)) * b)"
DECLARATIONS = ("x:i3", "y:j3", "b:j2")


def data(m, n, dtype=np.float64, seed=0, batch=()):
    rng = np.random.default_rng(seed)
    return [rng.uniform(0, 1, batch + s).astype(dtype) for s in ((m, 3), (n, 3), (n, 2))]


def dense(x, y, b, mask=None):
    x, y, b = (np.asarray(a, np.float64) for a in (x, y, b))
    k = np.exp(-((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1))
    return (k if mask is None else k * mask) @ b


# ---- shapes and layouts
@pytest.mark.parametrize("m, n", [(0, 5), (5, 0), (0, 0), (60000, 0), (0, 60000), (1, 1), (2, 1000), (1000, 2), (1, 5000), (513, 700)])
def test_any_number_of_rows(m, n, target):
    x, y, b = data(m, n)
    np.testing.assert_allclose(bb.parse(GAUSS, *DECLARATIONS)(x, y, b, target=target), dense(x, y, b), rtol=1e-12)


@pytest.mark.parametrize("layout", ["fortran", "reversed", "strided", "window", "repeated"])
def test_arrays_are_read_through_their_strides(layout, target):
    x, y, b = data(50, 70)
    if layout == "fortran":
        x, y, b = (np.asfortranarray(a) for a in (x, y, b))
    if layout == "reversed":
        x, y, b = x[::-1, ::-1], y[::-1], b[:, ::-1]
    if layout == "strided":
        x, y, b = (np.repeat(a, 3, 0)[::3] for a in (x, y, b))
    if layout == "window":
        x, y, b = (np.pad(a, 2)[2:-2, 2:-2] for a in (x, y, b))
    if layout == "repeated":
        x = np.broadcast_to(x[:1], x.shape)
    assert not x.flags["C_CONTIGUOUS"]
    np.testing.assert_allclose(bb.parse(GAUSS, *DECLARATIONS)(x, y, b, target=target), dense(x, y, b), rtol=1e-12)


def test_results_are_written_through_strides():
    x, y, b = data(50, 70)
    wide = np.zeros((100, 5))
    out = wide[::2, 3:0:-2]
    bb.parse(GAUSS, *DECLARATIONS)(x, y, b, out=[out])
    np.testing.assert_allclose(out, dense(x, y, b), rtol=1e-12)
    assert (wide[1::2] == 0).all() and (wide[:, ::2] == 0).all()


def test_batches_broadcast(target):
    x, _, _ = data(20, 30, seed=1, batch=(4, 1))
    _, y, _ = data(20, 30, seed=2, batch=(3,))
    _, _, b = data(20, 30, seed=3)
    found = bb.parse(GAUSS, *DECLARATIONS)(x, y, b, target=target)
    assert found.shape == (4, 3, 20, 2)
    np.testing.assert_allclose(found, dense(x, y, np.broadcast_to(b, (4, 3, 30, 2))), rtol=1e-12)


def test_an_output_over_parameters_alone_and_a_placed_value():
    s = np.array([2.0, 3.0])
    x, _, _ = data(5, 1)
    np.testing.assert_allclose(bb.parse("x * sum(s)", "x:i3", "s:p2")(x, s), x * 5)


def test_many_right_hand_sides_and_many_features(target):
    rng = np.random.default_rng(3)
    for d, e in ((3, 100), (100, 1), (40, 17), (9, 9)):
        x, y, b = (rng.uniform(0, 1, s) / np.sqrt(d) for s in ((70, d), (130, d), (130, e)))
        found = bb.parse(GAUSS, f"x:i{d}", f"y:j{d}", f"b:j{e}")(x, y, b, target=target)
        np.testing.assert_allclose(found, dense(x, y, b), rtol=1e-12)


# ---- types
@pytest.mark.parametrize("dtype, tolerance", [("float16", 2e-3), ("bfloat16", 2e-2), ("float32", 1e-5)])
def test_storage_types(dtype, tolerance):
    arrays = data(40, 60, np.float32)
    if dtype == "bfloat16":
        stored = [bb.bfloat16.of(a) for a in arrays]
        numbers = [s.numbers() for s in stored]
    else:
        stored = [a.astype(dtype) for a in arrays]
        numbers = stored
    found = bb.parse(GAUSS, *DECLARATIONS)(*stored, dtype=np.float32)
    np.testing.assert_allclose(found, dense(*numbers), rtol=2e-6)
    np.testing.assert_allclose(found, dense(*arrays), rtol=tolerance)


def test_half_results_are_rounded_once():
    x, y, b = (a.astype(np.float16) for a in data(40, 60))
    kernel = bb.parse(GAUSS, *DECLARATIONS).compile(target="interp")
    np.testing.assert_array_equal(kernel(x, y, b), kernel(x, y, b, dtype=np.float32).astype(np.float16))


def test_halves_and_float32_mix_freely():
    x, y, b = data(40, 60, np.float32)
    found = bb.parse(GAUSS, *DECLARATIONS)(x.astype(np.float16), y, bb.bfloat16.of(b), dtype=np.float32)
    np.testing.assert_allclose(found, dense(x.astype(np.float16), y, bb.bfloat16.of(b).numbers()), rtol=2e-6)


# ---- errors name the operand, what was found and the remedy
def fails(status, pattern, function, *arguments, **options):
    with pytest.raises(bb.Error, match=pattern) as caught:
        function(*arguments, **options)
    assert caught.value.status == status, caught.value


def test_mixing_float32_and_float64_is_refused():
    x, y, b = data(4, 5)
    fails("BAD_DTYPE", r"(?s)float32.*float64|float64.*float32", bb.parse(GAUSS, *DECLARATIONS),
          x.astype(np.float32), y, b)


def test_wrong_shapes_are_named():
    program = bb.parse(GAUSS, *DECLARATIONS)
    x, y, b = data(4, 5)
    fails("BAD_SHAPE", r"(?s)'?x'?.*3", program, x[:, :2], y, b)
    fails("BAD_SHAPE", r"(?s)'?b'?.*(4|5)", program, x, y, b[:4])
    fails("BAD_SHAPE", r"'?x'?", program, x[0], y, b)
    fails("BAD_SHAPE", r"(?s)2.*3|3.*2", program, np.stack([x, x]), np.stack([y, y, y]), b)
    fails("BAD_ARGUMENT", r"(?s)2.*3|3.*2", program, x, y)


def test_wrong_outputs_are_named():
    kernel = bb.parse(GAUSS, *DECLARATIONS).compile(target="interp")
    x, y, b = data(4, 5)
    fails("BAD_SHAPE", r"(?s)output.*(4|5)", kernel, x, y, b, out=[np.zeros((5, 2))])
    arg = bb.parse("argmin_j(sqdist(x, y))", "x:i3", "y:j3").compile(target="interp")
    fails("BAD_DTYPE", "int64", arg, x, y, out=[np.zeros((4, 1))])


@pytest.mark.parametrize("formula, status, pattern", [
    ("sum_j(exp(-sqdist(x, z)))", "UNKNOWN_NAME", r"(?s)\^.*'z'.*x.*y"),
    ("sum_j(exq(x))", "UNKNOWN_NAME", r"(?s)'exq'.*exp"),
    ("sum_j(exp(x)", "BAD_SYNTAX", r"(?s)\^"),
    ("sum_j(x + )", "BAD_SYNTAX", r"(?s)\^"),
    ("sum_j(x + b)", "BAD_SHAPE", r"(?s)3.*2"),
    ("sum_j(x $ y)", "BAD_SYNTAX", r"\^"),
    ("", "BAD_SYNTAX", "."),
    ("sum_j(exp(x, y))", None, r"(?s)exp.*\b1\b"),
    ("(" * 100000 + "x" + ")" * 100000, None, "."),
])
def test_bad_formulas(formula, status, pattern):
    with pytest.raises(bb.Error, match=pattern) as caught:
        bb.parse(formula, *DECLARATIONS)
    if status:
        assert caught.value.status == status, caught.value


def test_bytes_that_are_no_text_are_refused_cleanly():
    with pytest.raises(bb.Error) as caught:
        bb.parse(b"sum_j(\xff\xfe x)", *DECLARATIONS)
    assert caught.value.status == "BAD_SYNTAX"


# ---- block-sparse ranges
def random_ranges(rng, m, n, clusters_i, clusters_j):
    """(six arrays, mask): contiguous clusters, kept at random"""
    cut = lambda size, count: np.concatenate([[0], np.sort(rng.integers(0, size + 1, count - 1)), [size]])
    at_i, at_j = cut(m, clusters_i), cut(n, clusters_j)
    rows, columns = np.stack([at_i[:-1], at_i[1:]], 1), np.stack([at_j[:-1], at_j[1:]], 1)
    keep = rng.random((clusters_i, clusters_j)) < 0.5
    mask = np.zeros((m, n))
    for a, b in zip(*np.nonzero(keep)):
        mask[slice(*rows[a]), slice(*columns[b])] = 1
    six = (rows, np.cumsum(keep.sum(1)), columns[np.nonzero(keep)[1]], columns, np.cumsum(keep.sum(0)),
           rows[np.nonzero(keep.T)[1]])
    return six, mask


@pytest.mark.parametrize("seed", range(6))
def test_ranges_are_a_mask(seed, target):
    rng = np.random.default_rng(seed)
    m, n = int(rng.integers(1, 400)), int(rng.integers(1, 400))
    six, mask = random_ranges(rng, m, n, int(rng.integers(1, 8)), int(rng.integers(1, 8)))
    x, y, b = data(m, n)
    found = bb.parse(GAUSS, *DECLARATIONS)(x, y, b, target=target, ranges=six)
    np.testing.assert_allclose(found, dense(x, y, b, mask), rtol=1e-12, atol=1e-14)
    transposed = bb.parse("sum_i(exp(-sqdist(x, y)) * sum(x))", *DECLARATIONS)(x, y, b, target=target, ranges=six)
    expected = dense(y, x, x.sum(1, keepdims=True), mask.T)
    np.testing.assert_allclose(transposed, expected, rtol=1e-12, atol=1e-14)


def test_ranges_hold_for_selections_and_give_absolute_indices(target):
    six, mask = random_ranges(np.random.default_rng(3), 90, 120, 5, 6)
    x, y, _ = data(90, 120)
    found = bb.parse("argmin_j(sqdist(x, y))", "x:i3", "y:j3")(x, y, target=target, ranges=six)
    q = np.where(mask > 0, ((x[:, None] - y[None]) ** 2).sum(-1), np.inf)
    np.testing.assert_array_equal(found[:, 0], np.where(mask.any(1), q.argmin(1), -1))


def test_ranges_per_batch_element():
    rng = np.random.default_rng(5)
    drawn = [random_ranges(rng, 50, 60, 4, 3) for _ in range(3)]
    x, y, b = data(50, 60, batch=(3,))
    found = bb.parse(GAUSS, *DECLARATIONS)(x, y, b, ranges=[six for six, _ in drawn])
    np.testing.assert_allclose(found, dense(x, y, b, np.stack([mask for _, mask in drawn])), rtol=1e-12, atol=1e-14)


def test_bad_ranges_are_refused():
    x, y, b = data(10, 10)
    program = bb.parse(GAUSS, *DECLARATIONS)
    whole = np.array([[0, 10]])
    good = (whole, np.array([1]), whole, whole, np.array([1]), whole)
    program(x, y, b, ranges=good)
    overlapping = np.array([[0, 6], [5, 10]])
    twice = np.concatenate([whole, whole])
    fails("BAD_RANGES", "overlap", program, x, y, b, ranges=(overlapping, np.array([1, 2]), twice, *good[3:]))
    fails("BAD_RANGES", "11", program, x, y, b, ranges=(whole, np.array([1]), np.array([[0, 11]]), *good[3:]))
    fails("BAD_RANGES", "11", program, x, y, b, ranges=(np.array([[0, 11]]), *good[1:]))
    fails("BAD_RANGES", ".", program, x, y, b, ranges=(np.array([[0, 5], [5, 10]]), np.array([2, 1]),
                                                       np.array([[0, 1], [1, 2]]), *good[3:]))


# ---- threads, forks, cancellation
@pytest.mark.parametrize("formula", [GAUSS, "logsumexp_j(sqdist(x, y) * 3)", "argkmin_j(sqdist(x, y), 5)",
                                     "sum_i(exp(-sqdist(x, y)) * x)", "sum_ij(exp(-sqdist(x, y)) * b)"])
@pytest.mark.parametrize("m, n", [(3000, 2000), (3, 300000)])
def test_the_number_of_threads_changes_no_bit(formula, m, n):
    x, y, b = data(m, n, np.float32)
    kernel = bb.parse(formula, *DECLARATIONS).compile(target="interp")
    one = kernel(x, y, b, threads=1)
    for threads in (2, 3, 7):
        np.testing.assert_array_equal(kernel(x, y, b, threads=threads), one)


def test_several_threads_share_a_kernel():
    kernel = bb.parse(GAUSS, *DECLARATIONS).compile()
    cases = [data(200 + 10 * k, 300, seed=k) for k in range(6)]
    wrong = []

    def work(k):
        for _ in range(20):
            if not np.allclose(kernel(*cases[k]), dense(*cases[k]), rtol=1e-11):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_several_threads_build_in_one_context():
    wrong = []

    def work(seed):
        for k in range(30):
            program = bb.parse(f"sum_j(exp(-sqdist(x, y) * {seed}.{k}5) * b)", *DECLARATIONS).grad(["x", "y"])
            if [d for _, d, _ in program.outputs] != [3, 3]:
                wrong.append((seed, k))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.parametrize("policy", ["auto", "wait"])
def test_a_forked_child_computes(policy):
    x, y, b = data(400, 500)
    kernel = bb.parse(GAUSS, *DECLARATIONS).compile(policy=policy)
    expected = kernel(x, y, b)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            same = np.array_equal(kernel(x, y, b), expected)
            program = bb.parse("sum_j(exp(-sqdist(x, y) * 2) * b)", *DECLARATIONS)
            fresh = program.compile(policy=policy)(x, y, b, threads=2)
            code = 0 if same and np.isfinite(fresh).all() else 2
        finally:
            os._exit(code)
    for _ in range(300):
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            break
        time.sleep(0.1)
    else:
        os.kill(child, 9)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    assert os.WEXITSTATUS(status) == 0


def test_a_run_is_cancelled_soon():
    x, y, b = data(200000, 200000, np.float32)
    kernel = bb.parse(GAUSS, *DECLARATIONS).compile(target="interp")
    flag = ctypes.c_int(0)
    timer = threading.Timer(0.3, lambda: setattr(flag, "value", 1))
    timer.start()
    start = time.monotonic()
    fails("CANCELLED", ".", kernel, x, y, b, cancel=flag)
    assert time.monotonic() - start < 3


def test_progress_is_reported_and_may_cancel():
    x, y, b = data(4000, 20000, np.float32)
    kernel = bb.parse(GAUSS, *DECLARATIONS).compile(target="interp")
    seen = []
    kernel(x, y, b, progress=lambda done: seen.append(done))
    assert seen == sorted(seen) and seen and 0 < seen[-1] <= 1
    fails("CANCELLED", ".", kernel, x, y, b, progress=lambda done: True)


# ---- tiers and run-time numbers
def test_the_tier_of_a_kernel_and_its_reason():
    x, y, b = data(40, 50)
    interpreted = bb.parse(GAUSS, *DECLARATIONS).compile(target="interp")
    interpreted(x, y, b)
    assert interpreted.tier("float64")[0] == "interp" and interpreted.tier("float64")[1]
    compiled = bb.parse(GAUSS, *DECLARATIONS).compile(target="cpu", policy="wait")
    compiled(x, y, b)
    assert compiled.tier("float64") == ("cpu", "")


def test_a_new_number_dimension_or_width_compiles_nothing():
    """New literals, new D > 8 and new E > 8 are arguments of a kernel that exists."""
    def run(literal, d, e):
        rng = np.random.default_rng(d + e)
        x, y, b = rng.uniform(0, 1, (30, d)), rng.uniform(0, 1, (40, d)), rng.uniform(0, 1, (40, e))
        program = bb.parse(f"sum_j(exp(-sqdist(x, y) * {literal}) * b)", f"x:i{d}", f"y:j{d}", f"b:j{e}",
                           context=bb.Context())
        kernel = program.compile(target="cpu", policy="wait")
        found = kernel(x, y, b)
        expected = np.exp(-literal * ((x[:, None] - y[None]) ** 2).sum(-1)) @ b
        np.testing.assert_allclose(found, expected, rtol=1e-11)
        assert kernel.tier("float64")[0] == "cpu"

    run(0.37, 20, 12)
    before = bb.statistics()
    for literal, d, e in ((0.21, 20, 12), (1.7, 20, 12), (0.37, 30, 12), (0.37, 9, 12), (0.37, 20, 50), (0.11, 100, 9)):
        run(literal, d, e)
    after = bb.statistics()
    assert after.compiles == before.compiles and after.disk_hits == before.disk_hits


def test_both_tiers_give_the_same_bits_on_a_large_case():
    x, y, b = data(1003, 3001, np.float32)
    for text in (GAUSS, "logsumexp_j(-sqdist(x, y))", "argmin_j(sqdist(x, y))", "sum_i(exp(-sqdist(x, y)) * x)"):
        program = bb.parse(text, *DECLARATIONS)
        compiled = program.compile(target="cpu", policy="wait")(x, y, b)
        np.testing.assert_array_equal(program(x, y, b), compiled)


@pytest.mark.full
def test_memory_beyond_the_arrays_stays_small():
    """1e6 columns and 1e4 rows, then 1e6 rows and 1e3 columns, in a fresh process each."""
    import subprocess
    import sys
    for m, n in ((10 ** 4, 10 ** 6), (10 ** 6, 10 ** 3)):
        program = f"""
import numpy as np, bb
x, y, b = np.ones(({m}, 3), np.float32), np.ones(({n}, 3), np.float32), np.ones(({n}, 1), np.float32)
out = np.zeros(({m}, 1), np.float32)
program = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1")
kernel = program.compile(target="interp")
kernel(x[:10], y[:10], b[:10])
out += 0
before = bb.statistics().peak_memory
kernel(x, y, b, out=[out])
print(bb.statistics().peak_memory - before)
"""
        out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True,
                             cwd=os.path.dirname(__file__)).stdout
        assert int(out) < 64e6
