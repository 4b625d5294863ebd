"""Loops over many components, scalar products and squared distances in high dimension, on graphics processors: tiles of
components (src/plan/emit_gpu_deep.c). OpenCL on whatever device it has, and CUDA's text on the host (tests/standin), against
the interpreter in float64; NVRTC's registers, spills and issue slots."""
import gpu_units
import numpy as np
import pytest
import test_cuda
import test_gpu
from gpu_units import ARCHITECTURES, Compiled, kernels
from test_gpu_device import standins
from test_gpu_product import check, nvrtc, opencl

import bb

pytestmark = pytest.mark.full
# one loop, several, parameters inside, several components of a side, other reductions, the other axis
FORMULAS = {
    "gauss": "sum_j(exp(-sqdist(x, y)) * b)",
    "scalar products": "sum_j((x | y) * b)",
    "gradient": "sum_j(exp(-sqdist(x, y)) * (u | v))",
    "weights": "sum_j(exp(-sum(s * square(x - y))) * b)",
    "two of each": "sum_j(sum(x * y + u * v * y) * b); sum_j(exp(-sqdist(x, y)))",
    "selections": "kmin_argkmin_j(sqdist(x, y), 3); min_argmin_j(x | y); argmax_j(x | y)",
    "exponentials": "logsumexp_j(-sqdist(x, y)); sumsoftmaxweight_j(x | y, b)",
    "along i": "sum_i(exp(-sqdist(x, y)) * sum(x)); argmin_i(sqdist(x, y))",
    "norms": "max_j(sum(abs(x - y))); sum_ij(norm2(x - y) * b)",
}
DECLARED = ("x:i{0}", "y:j{0}", "u:i{0}", "v:j{0}", "b:j1", "s:p{0}")


def is_deep(text):
    return "BB_LEFT(0, r)" in text.split("BB_KERNEL_OF(BB_THREADS, BB_BLOCKS)")[-1]


def values(m, n, d, dtype, seed=0):
    rng = np.random.default_rng(seed)
    shapes = ((m, d), (n, d), (m, d), (n, d), (n, 1), (d,))
    return [(rng.standard_normal(shape) / np.sqrt(d)).astype(dtype) for shape in shapes]


@opencl
@pytest.mark.parametrize("name", FORMULAS)
def test_formulas(name):
    """Rows and columns that fill tiles, and that do not; a slice of components, and parts of one."""
    for d, dtype in ((50, np.float32), (16, np.float64), (9, np.float32)):
        declared = [text.format(d) for text in DECLARED]
        crowded = name == "exponentials" and dtype == np.float64  # more states than registers
        assert crowded or any(map(is_deep, kernels(FORMULAS[name], *declared, dtype=np.dtype(dtype).name)))
        program = bb.parse(FORMULAS[name], *declared)
        for m, n in ((131, 307), (64, 64), (20, 200), (1, 3)):
            check(program, *values(m, n, d, dtype))


@opencl
def test_ranges_batches_strides_and_schemes():
    m, n, d = 300, 500, 33
    program = bb.parse(FORMULAS["gauss"], *(text.format(d) for text in ("x:i{0}", "y:j{0}", "b:j1")))
    rng = np.random.default_rng(1)
    x, y, b = (rng.random(shape).astype(np.float32) / 3 for shape in ((2, m, d), (2, n, d), (2, n, 1)))
    check(program, x, y, b)
    check(program, x[0, ::2], y[1, ::-3], b[0, ::-3])
    rows, columns = np.array([[0, 70], [70, 71], [71, 300]]), np.array([[0, 33], [33, 200], [200, 500]])
    meet = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 1]], bool)
    six = (rows, np.cumsum(meet.sum(1)), np.concatenate([columns[row] for row in meet]),
           columns, np.cumsum(meet.sum(0)), np.concatenate([rows[column] for column in meet.T]))
    check(program, x[0], y[0], b[0], ranges=six)
    expected = test_gpu.gauss(x[0], y[0], b[0])
    for scheme, wide in (("kahan", False), ("direct", True), ("kahan", True)):
        kernel = program.compile(target=test_gpu.TARGET, scheme=scheme, accumulate_double=wide)
        np.testing.assert_allclose(kernel(x[0], y[0], b[0]), expected, rtol=0, atol=1e-5 * np.abs(b).sum())


def test_threads_of_cuda_text_give_the_interpreters_results(tmp_path):
    standins(f"""
for name, text in {FORMULAS!r}.items():
    if name in ("gauss", "two of each", "selections"):
        program = bb.parse(text, {", ".join(repr(text.format(21)) for text in DECLARED)})
        rng = np.random.default_rng(0)
        for dtype in ("float32", "float64"):
            for m, n in ((150, 307), (30, 200)):
                shapes = ((m, 21), (n, 21), (m, 21), (n, 21), (n, 1), (21,))
                check(program, *(rng.standard_normal(s).astype(dtype) / 4 for s in shapes))
""", tmp_path)


# ---- NVRTC ----
@nvrtc
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_issue_slots_per_pair_and_component(arch):
    """Beside the operations of a component, 10 loads for 64 pairs."""
    limits = {"sum_j((x | y) * b)": 1.35, FORMULAS["gauss"]: 2.3, "argkmin_j(sqdist(x, y), 5)": 2.3, "logsumexp_j(x | y)": 1.35}
    cases = [(d, formula, most) for d in (50, 784) for formula, most in limits.items()]
    made, symbols = gpu_units.together([kernels(formula, f"x:i{d}", f"y:j{d}", "b:j1")[0] for d, formula, _ in cases], arch)
    for symbol, (d, formula, most) in zip(symbols, cases, strict=True):
        loop = max(test_cuda.loops(made.instructions(symbol)),
                   key=lambda body: sum(op.startswith("FFMA") for op, rest in body if rest is not None))
        names = [op for op, rest in loop if rest is not None]
        slots = len(names) / sum(name.startswith("FFMA") for name in names)
        assert slots <= most and not any(name.startswith(("LDG", "LDL", "STL")) for name in names), (d, formula, slots)
    assert made.spills == 0 and made.stack == 0 and made.registers <= 168, made.log


@nvrtc
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_blocks_stay_in_registers(dtype):
    declared = [text.format(50) for text in DECLARED]
    texts = [(name, target, text) for name, formula in FORMULAS.items() for target in ("cuda", "cuda few", "cuda kahan")
             for text in kernels(formula, *declared, dtype=dtype, target=target)]

    def facts(item):
        made = Compiled(item[2], 90)
        return item[:2], made.spills, made.stack, made.registers, made.shared

    wrong = [found for found in gpu_units.in_parallel(facts, texts) if found[1] or found[2] or found[3] > 168 or found[4] > 2048]
    assert not wrong, wrong
