"""Sums over many components of the columns, K b with b of E columns, on graphics processors: products of tiles
(src/plan/emit_gpu_product.c). OpenCL on whatever device it has, and CUDA's text on the host (tests/standin), against NumPy in
float64; NVRTC's registers, spills and issue slots."""
import re

import numpy as np
import pytest

import bb
import gpu_units
import test_cuda
import test_gpu
from gpu_units import ARCHITECTURES, NVDISASM, NVRTC, Compiled, kernels
from test_gpu_device import standins

pytestmark = pytest.mark.full
opencl = pytest.mark.skipif(test_gpu.WHY is not None, reason=f"{test_gpu.TARGET}: {test_gpu.WHY}")
nvrtc = pytest.mark.skipif(not NVRTC or not NVDISASM.exists(), reason=(
    "NVRTC and nvdisasm are not installed: tools/require.sh python tests/requirements-cuda.txt"))
GAUSS = "sum_j(exp(-sqdist(x, y)) * b)"
OUTPUTS = {15: 1, 16: 3, 17: 50, 31: 3, 64: 1, 100: 50, 257: 3}  # and the dimension of the points
SIZES = [(1, 1), (131, 67), (61, 307), (257, 1009), (0, 3), (3, 0)]  # few rows, and many


def is_product(text):
    return "BB_PRODUCT(at, from)" in text


def check(program, *values, tolerance=None, **options):
    """Against the interpreter in float64."""
    found = program.compile(target=test_gpu.TARGET)(*values, **options)
    expected = program.compile(target="interp")(*(v.astype(np.float64) for v in values), **options)
    for a, e in zip(found if isinstance(found, tuple) else (found,), expected if isinstance(expected, tuple) else (expected,)):
        assert a.shape == e.shape
        if e.dtype == np.int64:
            assert a.dtype == np.int64 and (a == e).mean() > (0.99 if values[0].dtype == np.float32 else 0.9999)  # but for near ties
            continue
        assert a.dtype == values[0].dtype
        rounding = tolerance or (2e-13 if a.dtype == np.float64 else 1e-5)
        np.testing.assert_allclose(a, e, rtol=0, atol=rounding * max(1, np.abs(e).max(initial=0)))


def points(m, n, d, e, dtype, seed=0, batch=()):
    x, y, b = test_gpu.arrays(m, n, d, e, dtype, seed, batch)
    return (x / max(1, d / 3)).astype(dtype), (y / max(1, d / 3)).astype(dtype), b


@opencl
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("e", OUTPUTS)
def test_outputs_rows_and_columns_of_any_number(e, dtype):
    d = OUTPUTS[e]
    declared = (GAUSS, f"x:i{d}", f"y:j{d}", f"b:j{e}")
    assert all(is_product(text) for few in ("", " few") for text in kernels(*declared, dtype=np.dtype(dtype).name, target="opencl" + few))
    kernel = bb.parse(*declared).compile(target=test_gpu.TARGET)
    for m, n in SIZES:
        x, y, b = points(m, n, d, e, dtype)
        expected = test_gpu.gauss(x, y, b)
        tolerance = 1e-13 if dtype == np.float64 else 1e-6
        np.testing.assert_allclose(kernel(x, y, b), expected, rtol=0, atol=tolerance * max(1, np.abs(b).sum(0).max(initial=0)))


# pieces of one product, several products, the other axis, components that values and product share, columns of a large
# dimension that stay in global memory
FORMULAS = {
    "weighted mean": (f"{GAUSS} / sum_j(exp(-sqdist(x, y)))", 3, 64),
    "sum of kernels": ("sum_j(exp(-sqdist(x, y)) * b + inv(1 + sqdist(x, y)) * z)", 3, 20),
    "two kernels": (f"{GAUSS}; sum_j(inv(1 + sqdist(x, y)) * z)", 3, 33),
    "one kernel, two sums": (f"{GAUSS}; sum_j(exp(-sqdist(x, y)) * z)", 3, 12),
    "mean shift": ("sum_j(exp(-sqdist(x, y)) * y)", 20, 1),
    "along i": ("sum_i(exp(-sqdist(x, y)) * x)", 17, 1),
    "high dimension": (GAUSS, 130, 11),
    "scalar products": ("sum_j(square(x | y) * b)", 30, 40),
}


@opencl
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    text, d, e = FORMULAS[name]
    declared = (f"x:i{d}", f"y:j{d}", f"b:j{e}", f"z:j{e}")
    assert any(map(is_product, kernels(text, *declared)))
    program = bb.parse(text, *declared)
    for m, n in ((131, 307), (20, 300)):
        x, y, b = points(m, n, d, e, np.float32)
        check(program, x, y, b, b[::-1].copy())


@opencl
def test_gradients_are_products_where_they_can_be():
    program = bb.parse(GAUSS, "x:i3", "y:j3", "b:j24")
    gradient = program.grad(["x", "y", "b"])
    assert is_product(gradient.show("cuda"))
    x, y, b = points(90, 140, 3, 24, np.float32)
    check(gradient, x, y, b, np.random.default_rng(1).standard_normal((90, 24)).astype(np.float32))


@opencl
@pytest.mark.parametrize("e", [20, 150])  # one panel; several
@pytest.mark.parametrize("scheme, wide", [("kahan", False), ("direct", False), ("block", True), ("kahan", True), ("direct", True)])
def test_schemes_of_summation(scheme, wide, e):
    x, y, b = points(70, 3000, 2, e, np.float32)
    found = bb.parse(GAUSS, "x:i2", "y:j2", f"b:j{e}").compile(target=test_gpu.TARGET, scheme=scheme, accumulate_double=wide)(x, y, b)
    rounding = {"direct": 2e-5}.get(scheme, 1e-6)
    np.testing.assert_allclose(found, test_gpu.gauss(x, y, b), rtol=0, atol=rounding * np.abs(b).sum(0).max())


@opencl
def test_batches_types_and_strides():
    kernel = bb.parse(GAUSS, "x:i3", "y:j3", "b:j18").compile(target=test_gpu.TARGET)
    x, y, b = points(70, 131, 3, 18, np.float32, batch=(2, 3))
    np.testing.assert_allclose(kernel(x, y, b), test_gpu.gauss(x, y, b), atol=1e-4, rtol=0)
    np.testing.assert_allclose(kernel(x[:, :1], y[:1], b), test_gpu.gauss(x[:, :1], y[:1], b), atol=1e-4, rtol=0)
    strided = [x[0, 0, ::-2], y[1, 0, 5::3], b[1, 0, 5::3]]
    np.testing.assert_allclose(kernel(*strided), test_gpu.gauss(*strided), atol=1e-4, rtol=0)
    half = [v[0, 0].astype(np.float16) for v in (x, y, b)]
    np.testing.assert_allclose(kernel(*half), test_gpu.gauss(*half), atol=5e-2, rtol=0)
    brain = [bb.bfloat16.of(v[0, 0]) for v in (x, y, b)]
    np.testing.assert_allclose(kernel(*brain, dtype=np.float32), test_gpu.gauss(*(v.numbers() for v in brain)), atol=1e-4, rtol=0)


@opencl
@pytest.mark.parametrize("e", [20, 150])
def test_ranges_are_a_mask(e):
    m, n = 300, 500
    x, y, b = points(m, n, 3, e, np.float32)
    rows, columns = (np.array([[0, 70], [70, 71], [71, 230], [230, 300]]), np.array([[0, 33], [33, 200], [200, 500]]))
    meet = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], bool)
    six = (rows, np.cumsum(meet.sum(1)), np.concatenate([columns[row] for row in meet]),
           columns, np.cumsum(meet.sum(0)), np.concatenate([rows[column] for column in meet.T]))
    mask = np.zeros((m, n))
    for p, q in np.argwhere(meet):
        mask[slice(*rows[p]), slice(*columns[q])] = 1
    d2 = ((x[:, None].astype(float) - y[None]) ** 2).sum(-1)
    found = bb.parse(GAUSS, "x:i3", "y:j3", f"b:j{e}")(x, y, b, target=test_gpu.TARGET, ranges=six)
    np.testing.assert_allclose(found, (np.exp(-d2) * mask) @ b, rtol=0, atol=1e-4)


@opencl
def test_what_is_not_a_number_stays_with_its_columns_and_results_repeat():
    """Columns behind the last one count nothing, whatever stands there; a b that is infinite meets its output alone."""
    kernel = bb.parse(GAUSS, "x:i3", "y:j3", "b:j19").compile(target=test_gpu.TARGET)
    x, y, b = points(150, 333, 3, 19, np.float32)
    b[-1, 5], b[7, 18] = np.inf, np.nan
    found = kernel(x, y, b)
    assert (found[:, 5] == np.inf).all() and np.isnan(found[:, 18]).all()
    good = [k for k in range(19) if k not in (5, 18)]
    np.testing.assert_allclose(found[:, good], test_gpu.gauss(x, y, b[:, good]), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(kernel(x, y, b, threads=3), found)


def test_threads_of_cuda_text_give_the_interpreters_results(tmp_path):
    standins("""
rng = np.random.default_rng(0)
for text, d, e in %r:
    program = bb.parse(text, f"x:i{d}", f"y:j{d}", f"b:j{e}", f"z:j{e}")
    for dtype in ("float32", "float64"):
        for m, n in ((150, 307), (37, 300)):
            x, y, b, z = (rng.random(s).astype(dtype) for s in ((m, d), (n, d), (n, e), (n, e)))
            check(program, x, y, b, z)
""" % ([(GAUSS, 3, 17), (GAUSS, 2, 100), FORMULAS["sum of kernels"], FORMULAS["weighted mean"]],), tmp_path)


# ---- NVRTC ----
def slots_per_product(steps):
    """Issue slots per fused operation of the loop that has most of them."""
    loop = max(test_cuda.loops(steps), key=lambda body: sum(op.startswith(("FFMA", "DFMA")) for op, rest in body if rest is not None))
    names = [op for op, rest in loop if rest is not None]
    return len(names) / sum(op.startswith(("FFMA", "DFMA")) for op in names), names


@nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_issue_slots_per_pair_and_output(arch):
    """A fused operation, and little beside it: 16 outputs have 3 vector loads for 32, from 25 on 4 for 64."""
    limits = {10: 1.25, 16: 1.2, 17: 1.2, 31: 1.13, 64: 1.13, 100: 1.13, 257: 1.16}
    texts = [kernels(GAUSS, "x:i3", "y:j3", f"b:j{e}") for e in limits]
    assert all(len(found) == 1 for found in texts)
    made, symbols = gpu_units.together(sum(texts, []), arch)
    for symbol, (e, most) in zip(symbols, limits.items(), strict=True):
        slots, names = slots_per_product(made.instructions(symbol))
        assert slots <= most and not any(name.startswith(("LDG", "LDL", "STL", "LD.")) for name in names), (e, slots)
    assert made.spills == 0 and made.stack == 0 and made.registers <= 168, made.log
    assert not made.wide()


@nvrtc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_products_stay_in_registers(dtype):
    variants = ("cuda", "cuda few", "cuda kahan", "cuda direct") + (("cuda wide kahan",) if dtype == "float32" else ())
    texts = [(target, e, kernels(GAUSS, f"x:i{d}", f"y:j{d}", f"b:j{e}", dtype=dtype, target=target)[0])
             for target in variants for e, d in ((9, 1), (33, 3), (128, 50), (300, 130))]
    texts += [(name, e, text) for name, (formula, d, e) in FORMULAS.items()
              for text in kernels(formula, f"x:i{d}", f"y:j{d}", f"b:j{e}", f"z:j{e}", dtype=dtype)]

    def facts(item):
        made = Compiled(item[2], 90)
        return item[:2], made.spills, made.stack, made.registers, made.shared

    wrong = [found for found in gpu_units.in_parallel(facts, texts) if found[1] or found[2] or found[3] > 168 or found[4] > 2048]
    assert not wrong, wrong


def test_tiles_have_no_bank_conflicts():
    """Addresses of the 32 threads of a warp in local memory: in each vector load of the product, different lines of 16 bytes
    of the threads of a quarter of the warp lie in different banks, or are one; so do stores."""
    for e in (9, 16, 20, 31, 64, 100, 257):
        for few in ("", " few"):
            (text,) = kernels(GAUSS, "x:i3", "y:j3", f"b:j{e}", target="cuda" + few)
            v = {name: int(value) for name, value in re.findall(r"#define BB_(\w+) (\d+)\n", text)}
            warps_down = 128 // v["ACROSS"] // 8
            for warp in range(4):
                thread = [warp * 32 + lane for lane in range(32)]
                rows = [(t % 8 + warp % warps_down * 8) * 4 for t in thread]
                outputs = [(t // 8 % 4 + warp // warps_down * 4) * 4 for t in thread]
                assert max(rows) < v["TALL"] and max(outputs) < v["ACROSS"] * 4
                fill = [(t % v["TILE"]) * v["PANEL_LINE"] + t // v["TILE"] * 4 for t in thread]
                for addresses in (rows, outputs, fill):
                    for first in range(0, 32, 8):
                        lines = {a // 4 for a in addresses[first:first + 8]}
                        assert all(a % 4 == 0 for a in addresses) and len({line % 8 for line in lines}) == len(lines), (e, few)
                casts = int(re.search(r"q \+= (\d+) \* shares", text)[1])
                store = [t // v["TX"] * casts * v["LINE"] + t % v["TX"] for t in thread]
                assert len({a % 32 for a in store}) == 32, (e, few, store)
