"""Reductions of the caller's own on a device: their formulas in the kernel. The OpenCL text on PoCL, the CUDA text on the
host (tests/standin), against NumPy and the interpreter."""
import numpy as np
import pytest

import bb
import custom_reductions as own
import gpu_units
import test_gpu
from test_gpu_device import RANDOM, launches, standins

pytestmark = pytest.mark.full
on_a_device = pytest.mark.skipif(test_gpu.WHY is not None, reason=f"{test_gpu.TARGET}: {test_gpu.WHY}")
KINDS = {"variance": own.variance, "extent": own.extent, "rotations": own.rotations}


def made(kind, axis="j", beside=False):
    """f_ij = x_i y_j folded over an axis; beside others of all families."""
    definition, dim, expected = (own.long if kind == "long" else KINDS[kind])()
    f = own.variable(0, "i", dim) * own.variable(1, "j", dim)
    outputs = [own.custom(definition, {"i": 1, "j": 2, "ij": 3}[axis], f)]
    if beside:
        outputs += [own.reduce(name, {"i": 1, "j": 2}[axis], f) for name in ("sum", "min", "argmax")]
        outputs.append(own.reduce("logsumexp", {"i": 1, "j": 2}[axis], own.variable(0, "i", dim)[0] * own.variable(1, "j", dim)[0]))
    return own.program([("x", "i", dim), ("y", "j", dim)], *outputs), dim, expected


def points(m, n, dim, dtype=np.float64, batch=()):
    rng = np.random.default_rng(m + n)
    return [rng.standard_normal((*batch, k, dim)).astype(dtype) for k in (m, n)]


def values(x, y, axis):
    v = x.astype(float)[:, None] * y.astype(float)[None]
    return v if axis == "j" else v.transpose(1, 0, 2)


@on_a_device
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_formulas_of_the_callers_are_in_the_kernel(kind, dtype):
    for axis in "ji":
        program, dim, expected = made(kind, axis, beside=axis == "j")
        assert "on the processor" not in program.show("opencl")
        kernel, interp = program.compile(target=test_gpu.TARGET), program.compile(target="interp")
        for m, n in ((300, 777), (1, 3000), (5, 130), (129, 1), (2, 3)):
            x, y = points(m, n, dim, dtype)
            found, others = kernel(x, y), interp(x, y)
            found, others = (f if isinstance(f, tuple) else (f,) for f in (found, others))
            tolerance = 1e-10 if dtype == np.float64 else 2e-4
            wanted = expected(values(x, y, axis))
            np.testing.assert_allclose(found[0], wanted, rtol=tolerance, atol=tolerance * max(1, np.abs(wanted).max()))
            for a, b in zip(found[1:], others[1:], strict=True):
                np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max()))


@on_a_device
def test_no_column_batches_ranges_and_both_axes():
    program, dim, _ = made("extent")
    kernel, interp = program.compile(target=test_gpu.TARGET), program.compile(target="interp")
    for m, n in ((5, 0), (0, 5)):
        x, y = points(m, n, dim)
        np.testing.assert_array_equal(kernel(x, y), interp(x, y))
    x, y = points(40, 60, dim, batch=(2, 3))
    np.testing.assert_allclose(kernel(x, y[:1]), interp(x, y[:1]), rtol=1e-12)
    x, y = points(60, 90, dim)
    ranges = (np.array([[0, 20], [20, 57]]), np.array([1, 3]), np.array([[5, 40], [0, 10], [60, 90]]),
              np.array([[0, 30], [30, 90]]), np.array([1, 2]), np.array([[0, 60], [10, 20]]))
    np.testing.assert_allclose(kernel(x, y, ranges=ranges), interp(x, y, ranges=ranges), rtol=1e-12)


@on_a_device
def test_a_long_vector_is_left_to_the_processor_and_said_to_be():
    program, dim, expected = made("long")
    assert "on the processor: a reduction of the caller's own of a long vector" in program.show("opencl")
    x, y = points(70, 90, dim)
    np.testing.assert_allclose(program(x, y, target=test_gpu.TARGET), expected(values(x, y, "j")), rtol=1e-12)


def test_nothing_leaves_the_device(tmp_path):
    _, lines = standins(RANDOM + """
import test_gpu_custom as t
for kind in t.KINDS:
    program, dim, _ = t.made(kind, beside=True)
    for m, n, dtype in ((140, 60, np.float64), (3, 500, np.float32)):
        x, y = t.points(m, n, dim, dtype)
        check(program, x, y, tolerance=1e-10 if dtype == np.float64 else 2e-4)
""", tmp_path)
    assert "cuStreamSynchronize other" not in lines and all("stream other" in line for line in launches(lines))
    assert sum(line.endswith("benben_pairs") for line in launches(lines)) >= 12


@pytest.mark.skipif(not gpu_units.NVRTC, reason="NVRTC is not installed: tools/require.sh python tests/requirements-cuda.txt")
@pytest.mark.parametrize("kind, arch", list(zip(KINDS, (80, 90, 100), strict=True)))
def test_states_stay_in_registers(kind, arch):
    """But for the table of sine and cosine, see test_cuda.py."""
    text = made(kind)[0].show("cuda", "float32")
    pairs = text[text.index("/* ==== stage 0"):text.index(", around the pairs")].rsplit("/* ==== stage", 1)[0]
    compiled = gpu_units.Compiled(pairs, arch)
    assert compiled.spills == 0 and (compiled.stack == 0 or kind == "rotations"), compiled.log
