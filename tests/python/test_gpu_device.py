"""Arrays in the memory of a CUDA device, without one: the kernels, compiled for the host (tests/standin/emulate.hpp), compute on
memory that a stand-in for the driver hands out, which also writes down every call. Results are compared with the
interpreter's, calls with what a run on a stream may do: no synchronisation, no allocation of its own, no other stream."""
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import bb
import gpu_units
import test_gpu
import test_reductions
import standin_driver
from standin_driver import DRIVER

STANDINS = standin_driver.standins()
pytestmark = pytest.mark.full

HEAD = DRIVER + """
import numpy as np, bb

def send(values, device=0):
    \"\"\"An array on the device, with the strides of the one on the host.\"\"\"
    values = np.asarray(values) if not isinstance(values, bb.bfloat16) else values
    made = bb.describe(values)
    base = values if isinstance(values, bb.bfloat16) else values.base if isinstance(values.base, np.ndarray) else values
    raw = base.bits if isinstance(base, bb.bfloat16) else base
    pointer = c.c_uint64()
    call("cuMemAlloc_v2", c.byref(pointer), c.c_size_t(raw.nbytes + 8))
    call("cuMemcpyHtoDAsync_v2", pointer, c.c_void_p(raw.ctypes.data), c.c_size_t(raw.nbytes), None)
    made.data, made.device_type, made.device_id = pointer.value + made.data - raw.ctypes.data, 2, device
    made.base, made.raw = pointer, raw
    return made

def fetch(array):
    call("cuMemcpyDtoHAsync_v2", c.c_void_p(array.raw.ctypes.data), array.base, c.c_size_t(array.raw.nbytes), None)

def options(**more):
    o = bb.run_options()
    o.device_type, o.stream = 2, STREAM
    for name, value in more.items():
        setattr(o, name, value)
    return o

def run(kernel, inputs, results, how=None):
    how = how or options()
    outputs = [send(r) for r in results]
    bb.check(bb.lib.bb_run(kernel.handle, (bb.Array * max(1, len(inputs)))(*inputs), len(inputs),
                           (bb.Array * len(outputs))(*outputs), len(outputs), c.byref(how)))
    for out in outputs:
        fetch(out)

def close(found, expected, tolerance):
    assert found.shape == expected.shape and found.dtype == expected.dtype, (found.shape, expected.shape)
    if found.dtype == np.int64:
        np.testing.assert_array_equal(found, expected)
    else:
        scale = max(1, np.abs(expected[np.isfinite(expected)]).max(initial=0))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale)

def check(program, *values, tolerance=None, how=None, host=(), target="cuda", **compiled):
    kernel = program.compile(target=target, **compiled)
    expected = program.compile(target="interp")(*values)
    expected = expected if isinstance(expected, tuple) else (expected,)
    results = [np.full(e.shape, 77, e.dtype) for e in expected]
    inputs = [bb.describe(v) if k in host else send(v) for k, v in enumerate(values)]
    for _ in range(2):
        run(kernel, inputs, results, how)
        for found, wanted in zip(results, expected):
            close(found, wanted, tolerance or (1e-12 if values[0].dtype == np.float64 else 2e-5))
"""


def standins(code, tmp_path, **environment):
    log = tmp_path / "log"
    log.write_text("")
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=170,
                          cwd=os.path.dirname(__file__),
                          env={**os.environ, **STANDINS, "STANDIN_LOG": str(log), "TMPDIR": str(tmp_path), **environment})
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert not [line for line in lines if line.startswith("WRONG")]
    return done.stdout.split(), lines


def launches(lines):
    return [line for line in lines if line.startswith("cuLaunchKernel")]


def around_the_pairs(program, dtype):
    return [part for part in re.split(r"/\* ==== stage \d+[^\n]*\n", program.show("cuda", dtype)) if "benben_finish" in part]


@pytest.mark.skipif(not gpu_units.NVRTC, reason="NVRTC is not installed: tools/require.sh python tests/requirements-cuda.txt")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("axis, arch", list(zip(("j", "i", "ij"), gpu_units.ARCHITECTURES, strict=True)))
def test_the_kernels_around_the_pairs_stay_in_registers(axis, arch, dtype):
    texts = "; ".join(test_reductions.formula(name, axis) for name in test_gpu.reductions(axis))
    sources = around_the_pairs(bb.parse(texts, "x:i2", "y:j2", "b:j3"), dtype)
    if axis == "i":
        gauss = bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i3", "y:j3", "b:j2", "s:p1")
        sources += around_the_pairs(gauss.grad(["x", "y", "s"]), dtype)
    assert sources
    for source in sources:
        made = gpu_units.Compiled(source, arch)
        assert made.spills == 0 and made.registers <= 128, made.log
        assert {"benben_uniform", "benben_pack", "benben_finish", "benben_merge"} == set(made.kernel)


RANDOM = """
rng = np.random.default_rng(0)
def arrays(*shapes, dtype=np.float32):
    return [rng.standard_normal(s).astype(dtype) for s in shapes]
"""


@pytest.mark.parametrize("pools", ["0", "1"])
def test_a_run_on_a_stream_starts_kernels_and_nothing_else(pools, tmp_path):
    printed, lines = standins(RANDOM + """
p = bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i3", "y:j3", "b:j1", "s:p1")
k = p.compile(target="cuda")
values = arrays((130, 3), (700, 3), (700, 1)) + [np.float32([0.5])]
inputs = [send(v) for v in values]
expected, out = p.compile(target="interp")(*values), np.zeros((130, 1), np.float32)
result, how = send(out), options()
for n in range(3):
    cu.cuDeviceGetCount(c.byref(c.c_int()))   # a mark
    bb.check(bb.lib.bb_run(k.handle, (bb.Array * 4)(*inputs), 4, (bb.Array * 1)(result), 1, c.byref(how)))
cu.cuDeviceGetCount(c.byref(c.c_int()))
fetch(result)
close(out, expected, 2e-5)
""", tmp_path, **({"STANDIN_POOLS": "1"} if pools == "1" else {}))
    marks = [k for k, line in enumerate(lines) if line == "cuDeviceGetCount"][-4:]
    warm = lines[marks[1] + 1:marks[2]]
    assert warm == [re.sub(r"\d{6,}", "", line) for line in warm]  # no address in the log: comparable
    assert warm == lines[marks[2] + 1:marks[3]]
    started = [line for line in warm if line.startswith("cuLaunch")]
    assert [line.split()[-1] for line in started] == ["benben_uniform", "benben_pack", "benben_pairs", "benben_finish"]
    assert all("stream other" in line for line in started)
    others = {line.split()[0] for line in warm} - {"cuLaunchKernel", "cuCtxPushCurrent", "cuCtxPopCurrent", "held"}
    assert others == ({"cuMemAllocFromPoolAsync", "cuMemFreeAsync"} if pools == "1" else set())
    assert not [line for line in lines if line == "cuStreamSynchronize other"]


def test_reductions_and_roles_are_the_interpreters(tmp_path):
    """Every family, several parts of a row, few rows and many, over either axis and both."""
    _, lines = standins(RANDOM + """
import test_reductions
for axis in ("j", "i", "ij"):
    names = [n for n in test_reductions.NAMES if not (axis == "ij" and n in test_reductions.ONE_AXIS)]
    program = bb.parse("; ".join(test_reductions.formula(name, axis) for name in names), "x:i2", "y:j2", "b:j3")
    kernel, interp = program.compile(target="cuda"), program.compile(target="interp")
    for m, n in ((5, 700), (140, 9)):
        values = test_reductions.points(m, n, np.float64)
        expected = interp(*values)
        results = [np.full(e.shape, 77, e.dtype) for e in expected]
        run(kernel, [send(v) for v in values], results)
        for name, found, wanted in zip(names, results, expected):
            try:
                close(found, wanted, 1e-10)
            except AssertionError as error:
                raise AssertionError(f"{name} over {axis}, {m} x {n}") from error
""", tmp_path)
    assert all("stream other" in line for line in launches(lines))
    assert "cuStreamSynchronize other" not in lines


@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 60, reason="no type of more digits than float64 to compare with")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_trigonometric_functions_reduce_every_argument(dtype, tmp_path):
    """Sine and cosine to 2 ulp, tangent to 3: near multiples of pi/2, around the limit of the fast reduction, huge."""
    standins(f"""
dtype, few = np.{dtype}, 150
info, rng = np.finfo(dtype), np.random.default_rng(0)
limit = 2.0 ** (30 if dtype is np.float64 else 16)
multiples = np.longdouble(np.pi) / 2 + np.longdouble(6.123233995736766e-17)
near = np.concatenate([np.arange(1, few), np.exp2(rng.uniform(1, np.log2(limit), few)).astype(np.int64)]) * multiples
x = np.concatenate([rng.uniform(-7, 7, 4 * few), near, rng.uniform(-2, 2, few) * limit, limit + np.arange(-3, 4),
                    np.ldexp(rng.uniform(-1, 1, 4 * few), rng.integers(info.minexp, info.maxexp, 4 * few)),
                    [info.max, info.tiny, 6381956970095103 * 2.0 ** 797 if dtype is np.float64 else 16367173 * 2.0 ** 72]])
x = x.astype(dtype).reshape(-1, 1)
kernel = bb.parse("sum_j(sin(x + z)); sum_j(cos(x + z)); sum_j(tan(x + z))", "x:i1", "z:j1").compile(target="cuda")
found = kernel(x, np.zeros((1, 1), dtype))
for name, values, most in zip(("sin", "cos", "tan"), found, (2, 2, 3)):
    exact = getattr(np, name)(x.astype(np.longdouble))
    wrong = abs(values - exact) / np.spacing(abs(exact).astype(dtype))
    assert wrong.max() <= most, (name, wrong.max(), x[wrong.argmax()])
inf = kernel(np.array([[np.inf], [-np.inf], [np.nan]], dtype), np.zeros((1, 1), dtype))
assert all(np.isnan(v).all() for v in inf)
""", tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_of_large_exponents_is_as_good_as_of_small_ones(dtype, tmp_path):
    """Exponentials are of x log2(e) - m log2(e), whose second term is rounded: no trace of it may be left."""
    standins(f"""
dtype, rng = np.{dtype}, np.random.default_rng(0)
n, digits = 700, np.finfo(dtype).nmant
y = (np.round(rng.uniform(0, 40, (n, 1)) * 16) / 16).astype(dtype)
b = rng.uniform(0.5, 1, (n, 2)).astype(dtype)
y[::300] += 3                                    # the maximum grows in later tiles
size = np.exp2(np.concatenate([np.arange(4, digits - 8), [3, 2]]))
x = np.concatenate([size, -size, [0, 0.3]]).astype(dtype).reshape(-1, 1)
x = np.round(x / 0.0625) * dtype(0.0625)           # x + y is exact
softmax, log = bb.parse("sumsoftmaxweight_j(x + y, b); logsumexp_j(x + y)", "x:i1", "y:j1", "b:j2").compile(target="cuda")(x, y, b)
f = (x + y.T).astype(np.float64)
assert (f == x.astype(np.float64) + y.T).all()
top = f.max(1, keepdims=True)
w = np.exp(f - top)
np.testing.assert_allclose(softmax, w @ b / w.sum(1, keepdims=True), rtol=40 * np.finfo(dtype).eps)
np.testing.assert_allclose(log, top + np.log(w.sum(1, keepdims=True)), rtol=2 * np.finfo(dtype).eps)
huge = np.array([[0], [8], [1], [-8]], dtype) + dtype(2) ** (digits + 3) * np.array([[1], [1], [-1], [-1]], dtype)
far = bb.parse("logsumexp_j(x * y)", "x:i1", "y:j1").compile(target="cuda")(huge, np.ones((130, 1), dtype))
np.testing.assert_allclose(far, huge + np.log(130), rtol=2 * np.finfo(dtype).eps)
""", tmp_path)


def test_types_strides_batches_and_parameters_of_the_host(tmp_path):
    _, lines = standins(RANDOM + """
gauss = bb.parse("sum_j(exp(-sqdist(x, y) * s) * b)", "x:i3", "y:j3", "b:j2", "s:p1")
half = np.float32([0.5])
x, y, b = arrays((2, 3, 20, 3), (3, 33, 3), (2, 1, 33, 2))
check(gauss, x, y, b, half)
check(gauss, x, y, b, half, host=(3,))                      # a number travels with the kernels
check(gauss, x, y, b, half, host=(1, 3))                    # an array is copied in the order of the stream
x, y, b = arrays((40, 6), (66, 3), (66, 2))
check(gauss, x[::-2, ::2], y[::3], b[::3], half)            # strides, also negative ones
check(gauss, *(v.astype(np.float16) for v in (x[:, :3], y, b, half)), tolerance=3e-3)
check(gauss, *arrays((0, 3), (7, 3), (7, 2), (1,)))
check(gauss, *arrays((7, 3), (0, 3), (0, 2), (1,)))
x, y, b, s = (v.astype(np.float64) for v in arrays((2, 1, 2, 1, 2, 1, 2, 5, 3), (1, 2, 1, 2, 1, 2, 1, 6, 3), (6, 2), (1,)))
check(gauss, x, y, b, abs(s))                                # more broadcast dimensions than a kernel is told of
out = np.full((40, 4), 77, np.float32)
x, y, b = arrays((40, 3), (66, 3), (66, 2))
run(gauss.compile(target="cuda"), [send(v) for v in (x, y, b, half)], [out[:, ::2]])
np.testing.assert_allclose(out[:, ::2], gauss(x, y, b, half), atol=1e-4)
assert (out[:, 1::2] == 77).all()
""", tmp_path)
    assert "cuStreamSynchronize other" not in lines


def test_stages_and_gradients(tmp_path):
    _, lines = standins(RANDOM + """
p = bb.parse("sum_j(exp(-sqdist(x, y) - logsumexp_j(-sqdist(x, y))) * b)", "x:i3", "y:j3", "b:j1")
values = arrays((70, 3), (90, 3), (90, 1), dtype=np.float64)
check(p, *values, tolerance=1e-11)
check(p.grad(["x", "y", "b"]), *values, np.ones((70, 1)), tolerance=1e-10)
far = bb.parse("sum_j(exp(-sqdist(x, y)) * b); argkmin_j(sqdist(x, y), 3)", "x:i20", "y:j20", "b:j12")
check(far, *arrays((30, 20), (150, 20), (150, 12)), tolerance=1e-4)
""", tmp_path)
    assert "cuStreamSynchronize other" not in lines


def test_an_allocator_of_the_callers_is_asked_once_for_each_run(tmp_path):
    standins(RANDOM + """
held, ALLOCATE = {}, c.CFUNCTYPE(c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p)
RELEASE = c.CFUNCTYPE(None, c.c_void_p, c.c_void_p, c.c_size_t, c.c_void_p)
calls = []
@ALLOCATE
def allocate(mine, size, stream):
    assert mine == 99 and stream == STREAM
    pointer = c.c_uint64()
    call("cuMemAlloc_v2", c.byref(pointer), c.c_size_t(size))
    held[pointer.value] = size
    calls.append(size)
    return pointer.value
@RELEASE
def release(mine, pointer, size, stream):
    assert mine == 99 and stream == STREAM and held.pop(pointer) == size
    call("cuMemFree_v2", c.c_uint64(pointer))
how = options(allocate=c.cast(allocate, c.c_void_p), release=c.cast(release, c.c_void_p), allocator=99)
p = bb.parse("sum_j(exp(-sqdist(x, y)) * b)", "x:i3", "y:j3", "b:j1")
check(p, *arrays((70, 3), (90, 3), (90, 1)), how=how)
assert len(calls) == 2 and not held
refuse = ALLOCATE(lambda mine, size, stream: None)
how.allocate = c.cast(refuse, c.c_void_p)
try:
    check(p, *arrays((70, 3), (90, 3), (90, 1)), how=how)
    raise SystemExit("no error")
except bb.Error as error:
    assert error.status == "OUT_OF_MEMORY" and "allocator" in str(error), error
""", tmp_path)


FAILURES = ["cuLaunchKernel:1", "cuLaunchKernel:2", "cuLaunchKernel:3", "cuLaunchKernel:4", "cuMemAllocFromPoolAsync:1",
            "cuModuleLoadData:2", "cuModuleGetFunction:3", "cuCtxPushCurrent_v2:9"]


@pytest.mark.parametrize("failing", FAILURES)
def test_a_failure_on_a_stream_is_an_error_and_leaves_everything_usable(failing, tmp_path):
    code = 2 if "Alloc" in failing else 700
    printed, lines = standins(RANDOM + """
p = bb.parse("sum_j(x * y)", "x:i1", "y:j1", "s:p1")
values = arrays((5, 1), (7, 1), (1,))
inputs, out = [send(v) for v in values], np.zeros((5, 1), np.float32)
result, k, how = send(out), p.compile(target="cuda"), options()
def go():
    bb.check(bb.lib.bb_run(k.handle, (bb.Array * 3)(*inputs), 3, (bb.Array * 1)(result), 1, c.byref(how)))
try:
    go()
    print("none")
except bb.Error as error:
    print(error.status)
go()
fetch(result)
close(out, p.compile(target="interp")(*values), 2e-5)
""", tmp_path, STANDIN_POOLS="1", STANDIN_FAIL=f"{failing}:{code}")
    failed = any(line.endswith(f"fails with {code}") for line in lines)
    assert printed == [("OUT_OF_MEMORY" if code == 2 else "DEVICE") if failed else "none"]
    assert failed or failing == "cuLaunchKernel:4"


HOST = RANDOM + """
def on_host(program, *values, tolerance=2e-5, **how):
    found, expected = program.compile(target="cuda")(*values), program.compile(target="interp")(*values)
    for a, b in zip(found if isinstance(found, tuple) else (found,), expected if isinstance(expected, tuple) else (expected,)):
        close(a, b, tolerance)
gauss = bb.parse("sum_j(exp(-sqdist(x, y) * s) * b)", "x:i3", "y:j3", "b:j2", "s:p1")
"""


def test_large_arrays_of_the_host_go_in_pieces_on_two_streams(tmp_path):
    _, lines = standins(HOST + """
s = np.float32([0.5])
on_host(gauss, *arrays((3001, 3), (900, 3), (900, 2)), s)
x, y, b = arrays((2, 900, 3), (1, 50, 3), (2, 50, 2))
on_host(gauss, x[:, ::-1], y, b, s)
on_host(gauss, *(v.astype(np.float16) for v in arrays((5000, 3), (60, 3), (60, 2))), s.astype(np.float16), tolerance=3e-3)
on_host(bb.parse("sum_i(exp(-sqdist(x, y)) * sum(x)); argmin_i(sqdist(x, y))", "x:i3", "y:j3"), *arrays((70, 3), (2500, 3)))
on_host(gauss.grad(["x"]), *arrays((2000, 3), (80, 3), (80, 2)), s, np.ones((2000, 2), np.float32), tolerance=1e-4)
""", tmp_path, BENBEN_DEVICE_STAGE="8192")
    started = [line for line in launches(lines) if line.endswith("benben_pairs")]
    assert len(started) >= 15
    assert {re.search(r"stream (\w+)", line)[1] for line in started} == {"own1", "own2"}
    kinds = ["copy" if line.startswith("cuMemcpyDtoH") else "wait" if line.startswith("cuStreamSync") else "pairs"
             for line in lines if line.startswith(("cuMemcpyDtoH", "cuStreamSync")) or line.endswith("benben_pairs")]
    assert re.search("pairs copy pairs copy wait", " ".join(kinds))  # a second piece is there before the first is waited for
    assert sum(line.startswith("cuMemHostAlloc") for line in lines) == 4  # kept


def test_pieces_fit_into_the_memory_that_is_free(tmp_path):
    printed, lines = standins(HOST + """
s = np.float32([0.5])
on_host(gauss, *arrays((6000, 3), (40, 3), (40, 2)), s)
k = gauss.compile(target="cuda")
try:
    k(*arrays((20000, 3), (9000, 3), (9000, 2)), s)
except bb.Error as error:
    print(error.status, "divide" in str(error))
on_host(gauss, *arrays((6000, 3), (40, 3), (40, 2)), s)
""", tmp_path, BENBEN_DEVICE_STAGE="65536", STANDIN_MEMORY="400000", STANDIN_POOLS="1")
    assert printed == ["OUT_OF_MEMORY", "True"]
    assert [line for line in lines if line.startswith("held")][-1]


@pytest.mark.parametrize("failing", ["cuMemHostAlloc:2", "cuMemcpyDtoHAsync_v2:2", "cuMemcpyHtoDAsync_v2:7", "cuLaunchKernel:6",
                                     "cuStreamCreate:3", "cuMemAlloc_v2:9"])
def test_a_failure_in_a_piece_is_an_error_and_leaves_everything_usable(failing, tmp_path):
    printed, lines = standins(HOST + """
values = arrays((3000, 3), (60, 3), (60, 2)) + [np.float32([0.5])]
try:
    gauss.compile(target="cuda")(*values)
except bb.Error as error:
    print(error.status)
on_host(gauss, *values)
""", tmp_path, BENBEN_DEVICE_STAGE="8192", STANDIN_FAIL=f"{failing}:2", STANDIN_POOLS="1")
    assert printed == ["OUT_OF_MEMORY"]


@pytest.mark.parametrize("stage", ["0", "8192"])
def test_rows_are_divided_among_devices(stage, tmp_path):
    printed, lines = standins(HOST + """
def divided(program, *values, devices=(0, 1), target="cuda"):
    kernel, wanted = program.compile(target=target), program.compile(target="interp")(*values)
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    results = [np.full((*e.shape[:-1], 2 * e.shape[-1]), 77, e.dtype) for e in wanted]
    outputs = [bb.describe(r[..., ::2]) for r in results]
    how = bb.run_options()
    how.devices, how.device_count = (c.c_int * len(devices))(*devices), len(devices)
    bb.check(bb.lib.bb_run(kernel.handle, (bb.Array * len(values))(*map(bb.describe, values)), len(values),
                           (bb.Array * len(outputs))(*outputs), len(outputs), c.byref(how)))
    for result, expected in zip(results, wanted):
        close(np.ascontiguousarray(result[..., ::2]), expected, 2e-5)
        assert (result[..., 1::2] == 77).all()
s = np.float32([0.5])
divided(gauss, *arrays((1501, 3), (90, 3), (90, 2)), s)
divided(gauss, *arrays((2, 75, 3), (2, 90, 3), (90, 2)), s, target="auto", devices=(1, 0))
divided(bb.parse("argkmin_j(sqdist(x, y), 3); sum_j(x | y)", "x:i3", "y:j3"), *arrays((1, 3), (90, 3)))
cu.cuDeviceGetCount(c.byref(c.c_int()))
divided(bb.parse("sum_j(x | y); sum_i(x | y)", "x:i3", "y:j3"), *arrays((50, 3), (90, 3)), devices=(1, 0))  # not divided
for devices in ((0, 0), (-1,), (0, 7)):
    try:
        divided(gauss, *arrays((50, 3), (90, 3), (90, 2)), s, devices=devices)
    except bb.Error as error:
        print(error.status)
""", tmp_path, BENBEN_DEVICE_STAGE=stage)
    assert printed == ["BAD_ARGUMENT"] * 3
    pairs = [(k, re.search(r"device (\d)", line)[1]) for k, line in enumerate(lines) if line.endswith("benben_pairs")
             and line.startswith("cuLaunch")]
    mark = max(k for k, line in enumerate(lines) if line == "cuDeviceGetCount" and k < pairs[-1][0])
    assert {device for k, device in pairs if k < mark} == {"0", "1"}
    assert {device for k, device in pairs if k > mark} == {"1"}


def test_ranges_and_what_goes_by_way_of_the_host(tmp_path):
    _, lines = standins(RANDOM + """
p = bb.parse("sum_j(exp(-sqdist(x, y)) * b); argmin_j(sqdist(x, y)); sum_i(exp(-sqdist(x, y)))", "x:i3", "y:j3", "b:j1")
x, y, b = values = arrays((60, 3), (90, 3), (90, 1))
ranges = (np.array([[0, 20], [20, 57]]), np.array([1, 3]), np.array([[5, 40], [0, 10], [60, 90]]),
          np.array([[0, 30], [30, 90]]), np.array([1, 2]), np.array([[0, 60], [10, 20]]))
expected = p.compile(target="interp")(*values, ranges=ranges)
results, inputs = [np.full(e.shape, 77, e.dtype) for e in expected], [send(v) for v in values]
how, k = bb.run_options(ranges=ranges), p.compile(target="cuda")
how.device_type, how.stream = 2, STREAM
for n in range(3):
    cu.cuDeviceGetCount(c.byref(c.c_int()))   # a mark
    run(k, inputs, results, how)
    for found, wanted in zip(results, expected):
        close(found, wanted, 2e-5)
cu.cuDeviceGetCount(c.byref(c.c_int()))
nearest = bb.parse("sum_j(exp(-sqdist(x, y)) * b); min_j(sqdist(x, y))", "x:i3", "y:j3", "b:j1").grad(["x", "y"])  # listed pairs
check(nearest, *values, np.ones((60, 1), np.float32), np.ones((60, 1), np.float32))
k = bb.parse("x + sum_j(x | y)", "x:i3", "y:j3").compile(target="cuda")                   # an output in the place of an input
inputs, wanted = [send(x), send(y)], x + (x @ y.T).sum(1, keepdims=True)
bb.check(bb.lib.bb_run(k.handle, (bb.Array * 2)(*inputs), 2, (bb.Array * 1)(inputs[0]), 1, c.byref(options())))
fetch(inputs[0])
np.testing.assert_allclose(x, wanted, rtol=1e-4, atol=1e-4)
""", tmp_path)
    marks = [k for k, line in enumerate(lines) if line == "cuDeviceGetCount"][-4:]
    warm = [line for line in lines[marks[1]:marks[3]] if line.startswith(("cuMemcpy", "cuStream", "cuLaunch"))]
    assert warm and not [line for line in warm if re.search(r"\bown\b", line)]  # lists stay on the device
