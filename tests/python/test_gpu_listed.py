"""Sums over listed pairs on a device: gradients of minima, maxima and the K smallest, their transposes and derivatives of
higher order, against the interpreter; the OpenCL text on PoCL, the CUDA text on the host (tests/standin). That nothing
leaves the device is read from the calls of the stand-in's driver."""
import os
import re
import subprocess

import numpy as np
import pytest

import bb
import gpu_units
import test_gpu
import test_hip
from test_gpu_device import RANDOM, launches, standins

pytestmark = pytest.mark.full
on_a_device = pytest.mark.skipif(test_gpu.WHY is not None, reason=f"{test_gpu.TARGET}: {test_gpu.WHY}")

# what is differentiated, its variables, the largest K: components of one and of many, a list over either axis, a list
# beside sums of all pairs, a value that depends on the pair and on the entry
PROGRAMS = [
    ("min_j(sqdist(x, y) * s)", ("x:i3", "y:j3", "s:p1"), 1),
    ("kmin_j(sqdist(x, y), 5) ; sum_j(exp(-sqdist(x, y)))", ("x:i2", "y:j2"), 5),
    ("max_i(x * y); kmin_i(x - y * y, 2)", ("x:i2", "y:j2"), 2),
    ("kmin_j(exp(-abs(x - y)) * s, 3)", ("x:i20", "y:j20", "s:p1"), 3),
]
SIZES = [(1, 7), (130, 127), (300, 9), (6, 1500)]


def values(declared, m, n, dtype, seed=0, batch=()):
    rng = np.random.default_rng(seed)
    sizes = {"i": (m,), "j": (n,), "p": ()}
    return [rng.standard_normal((*batch, *sizes[d.split(":")[1][0]], int(d.split(":")[1][1:]))).astype(dtype)
            for d in declared]


def cotangents(program, inputs, seed=1):
    """For a program of which the last inputs are missing: shaped as the outputs of the one it is derived from."""
    rng = np.random.default_rng(seed)
    outputs = program(*inputs)
    return [rng.standard_normal(o.shape).astype(o.dtype) for o in (outputs if isinstance(outputs, tuple) else (outputs,))]


def tuples(results):
    return results if isinstance(results, tuple) else (results,)


def close(found, expected, dtype):
    tolerance = 1e-11 if dtype == np.float64 else 3e-5
    for a, e in zip(tuples(found), tuples(expected), strict=True):
        assert a.shape == e.shape
        np.testing.assert_allclose(a, e, rtol=tolerance, atol=tolerance * max(1, np.abs(e).max(initial=0)))


@on_a_device
@pytest.mark.parametrize("text, declared, k, dtype", [(*program, dtype) for program, dtype in zip(
    PROGRAMS, (np.float64, np.float32, np.float64, np.float32), strict=True)])
def test_gradients_of_selections(text, declared, k, dtype, monkeypatch):
    """In one of the types: the texts are the same, and the CUDA text below runs in float64."""
    program = bb.parse(text, *declared)
    names = [d.split(":")[0] for d in declared]
    gradient = program.grad(names)
    first, twice = gradient.compile(target=test_gpu.TARGET), gradient.compile(target="interp")
    assert "on the processor:" not in gradient.show("opencl")
    for m, n in SIZES:
        if (min(m, n) < k and "_i" in text) or n < k:
            continue
        inputs = values(declared, m, n, dtype, seed=m)
        inputs += cotangents(program, inputs)
        expected = twice(*inputs)
        close(first(*inputs), expected, dtype)
        monkeypatch.setenv("BENBEN_DEVICE_ENTRIES", "100")  # pieces of few columns
        close(first(*inputs), expected, dtype)
        monkeypatch.delenv("BENBEN_DEVICE_ENTRIES")


@on_a_device
@pytest.mark.parametrize("text, declared, k", PROGRAMS[1:2] + PROGRAMS[3:])
def test_second_derivatives_and_tangents(text, declared, k):
    program = bb.parse(text, *declared)
    gradient = program.grad(["x"])
    for derived in (gradient.grad(["y"]), gradient.diff(["x", "y"]), program.diff(["y"])):
        rng, sizes = np.random.default_rng(3), {"i": (60,), "j": (70,), "p": ()}
        inputs = [rng.standard_normal((*sizes[place], dim)) for _, place, dim in derived.variables]
        assert "on the processor:" not in derived.show("cuda", "float64")
        close(derived(*inputs, target=test_gpu.TARGET), derived(*inputs), np.float64)


@on_a_device
def test_batches_strides_and_halves(monkeypatch):
    text, declared, _ = PROGRAMS[1]
    program = bb.parse(text, *declared)
    gradient = program.grad(["x", "y"])
    kernel, interp = gradient.compile(target=test_gpu.TARGET), gradient.compile(target="interp")
    x, y = values(declared, 20, 33, np.float64, batch=(2, 3))
    for inputs in ([x, y], [x[:, :1, ::-2], y[:1]]):
        inputs += cotangents(program, inputs)
        close(kernel(*inputs), interp(*inputs), np.float64)
        monkeypatch.setenv("BENBEN_DEVICE_ENTRIES", "700")  # some batch elements at a time
        close(kernel(*inputs), interp(*inputs), np.float64)
        monkeypatch.delenv("BENBEN_DEVICE_ENTRIES")
    halves = [v.astype(np.float16) for v in (x[0, 0], y[0, 0])]
    halves += cotangents(program, halves)
    for a, e in zip(kernel(*halves), interp(*halves), strict=True):
        np.testing.assert_allclose(a.astype(float), e.astype(float), rtol=2e-3, atol=2e-3 * np.abs(e).max())


@on_a_device
def test_sums_are_the_same_on_every_run_and_a_crowded_row_is_summed_well():
    """Nearly all entries name one row: sums of whole blocks."""
    program = bb.parse("min_j(sqdist(x, y))", "x:i2", "y:j2")
    gradient = program.grad(["y"])
    rng = np.random.default_rng(0)
    x, g = rng.standard_normal((9001, 2)).astype(np.float32), rng.standard_normal((9001, 1)).astype(np.float32)
    y = np.concatenate([np.zeros((1, 2)), rng.standard_normal((40, 2)) + 4]).astype(np.float32)
    kernel = gradient.compile(target=test_gpu.TARGET)
    found = kernel(x, y, g)
    near = ((x[:, None].astype(float) - y[None]) ** 2).sum(-1).argmin(1)
    expected = np.zeros((41, 2))
    np.add.at(expected, near, 2 * g.astype(float) * (y[near].astype(float) - x))
    assert np.bincount(near).max() > 8000
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    for _ in range(3):
        np.testing.assert_array_equal(kernel(x, y, g), found)


@on_a_device
def test_lists_of_the_callers():
    program = bb.parse("kmin_argkmin_j(sqdist(x, y), 3)", "x:i2", "y:j2")
    gradient = program.grad(["x", "y"], forward=[1])
    x, y, g = (np.random.default_rng(k).standard_normal(s) for k, s in enumerate([(30, 2), (20, 2), (30, 3)]))
    chosen = np.random.default_rng(4).integers(-1, 20, (30, 3))
    close(gradient(x, y, g, chosen, target=test_gpu.TARGET), gradient(x, y, g, chosen), np.float64)
    for wrong in (20, -2):
        chosen[17, 1] = wrong
        for target in (test_gpu.TARGET, "interp"):
            with pytest.raises(bb.Error, match=f"names element {wrong} in row 17, but there are 20"):
                gradient(x, y, g, chosen, target=target)


def texts(target, dtype):
    for text, declared, _ in PROGRAMS:
        gradient = bb.parse(text, *declared).grad([d.split(":")[0] for d in declared])
        for part in re.split(r"/\* ==== stage \d+[^\n]*\n", gradient.show(target, dtype)):
            if "benben_listed" in part:
                yield part


@pytest.mark.skipif(not gpu_units.NVRTC, reason="NVRTC is not installed: tools/require.sh python tests/requirements-cuda.txt")
@pytest.mark.parametrize("dtype, arch", [("float32", 80), ("float64", 90), ("float32", 100)])
def test_the_kernels_stay_in_registers(dtype, arch):
    """Without stack; the sort's counts of digits are the only shared memory."""
    made = [gpu_units.Compiled(source, arch) for source in texts("cuda", dtype)]
    assert len(made) == 10
    for kernels in made:
        assert kernels.spills == kernels.stack == 0 and kernels.registers <= 128, kernels.log
        assert kernels.shared <= 8192, kernels.log


@pytest.mark.skipif(not test_hip.CLANG, reason="clang-19 is not installed: tools/require.sh hip")
@pytest.mark.parametrize("arch, dtype", list(zip(test_hip.ARCHITECTURES, ("float32", "float64", "float32"), strict=True)))
def test_the_kernels_compile_for_amd(arch, dtype, tmp_path):
    for k, source in enumerate(texts("cuda", dtype)):
        path = tmp_path / f"{k}.hip"
        path.write_text(f'#include "{test_hip.HEADER}"\n{source}')
        done = subprocess.run([test_hip.CLANG, "-x", "hip", "--cuda-device-only", f"--offload-arch={arch}", "-nogpulib",
                               "-nogpuinc", "-O1", "-std=c++17", "-ffp-contract=off", "-S", "-o", os.devnull, path],
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[:3000]


def test_nothing_leaves_the_device(tmp_path):
    """Arrays of a CUDA device and a caller's stream: kernels, and nothing that waits."""
    _, lines = standins(RANDOM + """
import test_gpu_listed as t
for text, declared, k in t.PROGRAMS:
    program = bb.parse(text, *declared)
    names = [d.split(":")[0] for d in declared]
    for dtype in (np.float64, np.float32) if k == 5 else (np.float64,):
        inputs = t.values(declared, 140, 60, dtype)
        inputs += t.cotangents(program, inputs)
        check(program.grad(names), *inputs, tolerance=1e-11 if dtype == np.float64 else 3e-5)
batched = bb.parse("kmin_j(sqdist(x, y), 3)", "x:i3", "y:j3")
inputs = list(arrays((2, 3, 20, 3), (1, 3, 33, 3), dtype=np.float64))
inputs += t.cotangents(batched, inputs)
check(batched.grad(["x", "y"]), *inputs, tolerance=1e-11)
os.environ["BENBEN_DEVICE_ENTRIES"] = "100"
check(batched.grad(["x", "y"]), *inputs, tolerance=1e-11)
""", tmp_path)
    assert "cuStreamSynchronize other" not in lines
    assert all("stream other" in line for line in launches(lines))
    started = {line.split()[-1] for line in launches(lines)}
    assert {"benben_listed", "benben_listed_keys", "benben_listed_move", "benben_listed_blocks",
            "benben_listed_rows"} <= started


def test_an_index_that_names_nothing_spoils_what_it_touches(tmp_path):
    """On a caller's stream nobody can be told: NaN in the row whose list it is, or in all rows that are named."""
    standins(RANDOM + """
program = bb.parse("kmin_argkmin_j(sqdist(x, y), 3)", "x:i2", "y:j2")
gradient = program.grad(["x", "y"], forward=[1])
x, y, g = arrays((30, 2), (20, 2), (30, 3), dtype=np.float64)
chosen = rng.integers(-1, 20, (30, 3))
check(gradient, x, y, g, chosen, tolerance=1e-12)
wanted = gradient.compile(target="interp")(x, y, g, chosen)
chosen[17, 1] = 20
results = [np.zeros_like(x), np.zeros_like(y)]
run(gradient.compile(target="cuda"), [send(v) for v in (x, y, g, chosen)], results)
rest = np.arange(30) != 17
assert np.isnan(results[0][17]).all() and np.isnan(results[1]).all()
np.testing.assert_allclose(results[0][rest], wanted[0][rest], rtol=1e-12)
""", tmp_path)


def test_rows_are_divided_and_sent_in_pieces(tmp_path):
    """Of lists of the rows alone: several devices, and pieces of host arrays on two streams."""
    _, lines = standins(RANDOM + """
program = bb.parse("kmin_j(sqdist(x, y), 3)", "x:i3", "y:j3")
gradient = program.grad(["x"])
inputs = list(arrays((2000, 3), (40, 3)))
inputs.append(arrays((2000, 3))[0])
expected = gradient.compile(target="interp")(*inputs)
kernel = gradient.compile(target="cuda")
close(kernel(*inputs), expected, 3e-5)
how = bb.run_options()
devices = (c.c_int * 2)(0, 1)
how.devices, how.device_count = devices, 2
out = np.zeros_like(expected)
bb.check(bb.lib.bb_run(kernel.handle, (bb.Array * 3)(*map(bb.describe, inputs)), 3, (bb.Array * 1)(bb.describe(out)), 1,
                       c.byref(how)))
close(out, expected, 3e-5)
given = bb.parse("kmin_argkmin_j(sqdist(x, y), 3)", "x:i3", "y:j3").grad(["x"], forward=[1])
chosen = rng.integers(0, 40, (2000, 3))
close(given.compile(target="cuda")(*inputs, chosen), given.compile(target="interp")(*inputs, chosen), 3e-5)
chosen[1234, 2] = 40
try:
    given.compile(target="cuda")(*inputs, chosen)
    raise SystemExit("no error")
except bb.Error as error:
    assert "element 40 in row 1234" in str(error), error
""", tmp_path, BENBEN_DEVICE_STAGE="16384")
    started = [line for line in launches(lines) if line.endswith("benben_listed")]
    assert {re.search(r"device (\d)", line)[1] for line in started} == {"0", "1"}
    assert {"own1", "own2"} <= {re.search(r"stream (\w+)", line)[1] for line in started}
