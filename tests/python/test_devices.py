"""Devices from Python, without one: a stand-in for CUDA's driver (tests/standin) hands out the memory, and its kernels compute
on the host. Arrays are what exporters of the protocols are: objects with __cuda_array_interface__, with __dlpack__, or both."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

import bb
import standin_driver
from standin_driver import DRIVER

TESTS = pathlib.Path(__file__).resolve().parent
STANDINS = standin_driver.standins()
pytestmark = pytest.mark.full

HEAD = DRIVER + """
import sys
import under_test  # noqa: F401
import numpy as np, benben
from benben.numpy import Genred, LazyTensor
rng = np.random.default_rng(0)
x, y, b = (rng.standard_normal(s).astype(np.float32) for s in ((300, 3), (70, 3), (70, 2)))
gauss = Genred("Exp(-SqDist(x, y)) * b", ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"], axis=1)
expected = np.exp(-((x[:, None].astype(float) - y) ** 2).sum(-1)) @ b

class Exporter:
    '''An array on the device as Numba has them.'''
    def __init__(self, values, stream=12345, **more):
        pointer = c.c_uint64()
        raw = values if values.base is None else values.base
        call("cuMemAlloc_v2", c.byref(pointer), c.c_size_t(raw.nbytes + 8))
        call("cuMemcpyHtoDAsync_v2", pointer, c.c_void_p(raw.ctypes.data), c.c_size_t(raw.nbytes), None)
        offset = values.__array_interface__["data"][0] - raw.ctypes.data
        compact = values.flags.c_contiguous
        self.shape, self.values = values.shape, values
        self.__cuda_array_interface__ = dict(
            shape=values.shape, typestr=values.dtype.str, data=(pointer.value + offset, False), version=3,
            strides=None if compact else values.strides, stream=stream, **more)

def host(a):
    i = a.__cuda_array_interface__
    out = np.empty(i["shape"], i["typestr"])
    call("cuMemcpyDtoHAsync_v2", c.c_void_p(out.ctypes.data), c.c_uint64(i["data"][0]), c.c_size_t(out.nbytes), None)
    return out

def refused(function, *words):
    try:
        function()
    except Exception as error:
        assert all(word in str(error) for word in words), error
        return
    raise SystemExit("no error")
"""


def run(code, tmp_path, **environment):
    log = tmp_path / "log"
    log.write_text("")
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, timeout=170, cwd=TESTS,
                          env={**os.environ, **STANDINS, "STANDIN_LOG": str(log), "TMPDIR": str(tmp_path), **environment})
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert not [line for line in lines if line.startswith("WRONG")]
    return done.stdout.split(), lines


def pairs(lines, pattern):
    return [re.search(pattern, line)[1] for line in lines if line.startswith("cuLaunch") and line.endswith("benben_pairs")]


def test_arrays_with_the_interface_of_cuda_alone(tmp_path):
    _, lines = run("""
a = gauss(Exporter(x), Exporter(y), Exporter(b))
assert type(a).__name__ == "DeviceArray" and a.shape == (300, 2) and a.__dlpack_device__() == (2, 0)
i = a.__cuda_array_interface__
assert i["version"] == 3 and i["stream"] == 12345 and i["typestr"] == "<f4" and i["strides"] is None, i
np.testing.assert_allclose(host(a), expected, atol=1e-4)
np.testing.assert_allclose(a.numpy(), expected, atol=1e-4)
np.testing.assert_allclose(a.reshape(600).numpy(), expected.ravel(), atol=1e-4)
refused(lambda: a.reshape(7), "elements")
wide = rng.standard_normal((300, 6)).astype(np.float32)
a = gauss(Exporter(wide[::-1, ::2]), Exporter(y), b)                       # strides; an array of the host beside
again = gauss(np.ascontiguousarray(wide[::-1, ::2]), y, b)
np.testing.assert_allclose(a.numpy(), again, atol=1e-5)
twice = Genred("a * b", ["a = Vi(2)", "b = Vj(2)"], axis=1)(a, Exporter(b))  # a result is an argument
np.testing.assert_allclose(twice.numpy(), again * b.sum(0), rtol=1e-3, atol=1e-3)
nearest = Genred("SqDist(x, y)", ["x = Vi(3)", "y = Vj(3)"], reduction_op="ArgKMin", axis=1, opt_arg=2)
found = nearest(Exporter(x), Exporter(y))
assert found.shape == (300, 2)
np.testing.assert_array_equal(found.numpy(), nearest(x, y))
""", tmp_path)
    assert "stream other" in " ".join(lines) and len(pairs(lines, r"stream (other)")) == 4


def test_streams_are_honoured(tmp_path):
    """The run is on the stream of the first array; what other streams compute is waited for."""
    _, lines = run("""
gauss(Exporter(x), Exporter(y), Exporter(b))
gauss(Exporter(x), Exporter(y), Exporter(b, stream=None))
gauss(Exporter(x), Exporter(y, stream=777), Exporter(b, stream=1))
""", tmp_path)
    assert lines.count("cuStreamSynchronize other") == 2  # 777 and the default one, for the last run
    assert len(pairs(lines, r"stream (other)")) == 3


def test_results_are_arrays_of_the_callers_library(tmp_path):
    """DLPack where the arrays have it, called with the stream that the interface names; from_dlpack makes the results."""
    run("""
class Own:
    '''A small library of arrays on the device, as CuPy is one.'''
    def __init__(self, device_array):
        self.inner = device_array
        self.asked = []
    @property
    def __cuda_array_interface__(self):
        return dict(self.inner.__cuda_array_interface__, stream=777)
    def __dlpack__(self, stream=None):
        self.asked.append(stream)
        return self.inner.__dlpack__(stream=stream)
    def __dlpack_device__(self):
        return self.inner.__dlpack_device__()
    def __array_namespace__(self):
        class space:
            @staticmethod
            def from_dlpack(other):
                capsule = other.__dlpack__(stream=555)
                assert "dltensor" in repr(capsule), capsule
                assert other.__dlpack_device__() == (2, 0)
                return Own(other)
        return space
identity = Genred("x", ["x = Vi(3)"], axis=1)
made = [Own(Genred("z", [f"z = Vi({v.shape[1]})", "o = Vj(1)"], axis=1)(Exporter(v), Exporter(np.ones((1, 1), np.float32))))
        for v in (x, y, b)]
a = gauss(*made)
assert isinstance(a, Own) and all(m.asked == [777] for m in made), [m.asked for m in made]
np.testing.assert_allclose(a.inner.numpy(), expected, atol=1e-4)
""", tmp_path)


def test_what_cannot_be_taken_is_refused_by_name(tmp_path):
    run("""
good = [Exporter(y), Exporter(b)]
refused(lambda: gauss(Exporter(x, mask=Exporter(x)), *good), "mask")
refused(lambda: gauss(Exporter(x.astype(np.complex64)), *good), "float32")
refused(lambda: gauss(Exporter(x.astype(np.float64)), *good), "float32", "float64")
bad = Exporter(x)
bad.__cuda_array_interface__["typestr"] = "?"
refused(lambda: gauss(bad, *good), "typestr")
bad = Exporter(x)
bad.__cuda_array_interface__["strides"] = (7, 4)
refused(lambda: gauss(bad, *good), "strides")
bad = Exporter(x)
bad.__cuda_array_interface__["shape"] = 300
refused(lambda: gauss(bad, *good), "shape")
refused(lambda: gauss(Exporter(x[:, :2].copy()), *good), "dimension")
""", tmp_path)


def test_devices_are_listed_chosen_and_share_the_rows(tmp_path):
    printed, lines = run("""
found = benben.devices("cuda")
assert [(d.target, d.number, d.name, d.capability, d.float64) for d in found] == [
    ("cuda", 0, "stand-in 0", 90, True), ("cuda", 1, "stand-in 1", 90, True)], found
assert benben.devices()[:2] == found and found[0].memory == 1 << 34
refused(lambda: benben.devices("gpu"), "target")
def check(**how):
    np.testing.assert_allclose(gauss(x, y, b, **how), expected, atol=1e-4)
    cu.cuDeviceGetCount(c.byref(c.c_int()))
check()
check(device_id=1)
check(device_id=(1, 0))
check(backend="GPU")
xi, yj, bj = LazyTensor(x[:, None]), LazyTensor(y[None]), LazyTensor(b[None])
K = (-((xi - yj) ** 2).sum(-1)).exp() * bj
np.testing.assert_allclose(K.sum(1, device_id=[0, 1]), expected, atol=1e-4)
cu.cuDeviceGetCount(c.byref(c.c_int()))
print(len(K.sum(1, backend="GPU", device_id=1)))
refused(lambda: check(device_id=(0, 0)), "twice")
refused(lambda: check(device_id=7), "there are 2")
refused(lambda: check(device_id=(0, -3)), "device_id")
refused(lambda: check(device_id="1"), "device_id")
""", tmp_path)
    assert printed == ["300"]
    launched = [re.search(r"device (\d)", line)[1] if line.startswith("cuLaunch") else "|" for line in lines
                if line == "cuDeviceGetCount" or line.startswith("cuLaunch") and line.endswith("benben_pairs")]
    runs = [set(part) for part in "".join(launched).split("|") if part]
    assert runs[:4] == [{"1"}, {"0", "1"}, {"0"}, {"0", "1"}] and runs[4] == {"1"}, runs


def test_without_a_device_several_are_refused_and_one_is_ignored():
    code = HEAD[HEAD.index("import sys"):HEAD.index("class Exporter")] + HEAD[HEAD.index("def refused"):] + """
assert benben.devices("cuda") == []
np.testing.assert_allclose(gauss(x, y, b, device_id=0), expected, atol=1e-4)
refused(lambda: gauss(x, y, b, device_id=(0, 1)), "no CUDA device", "doctor")
refused(lambda: gauss(x, y, b, backend="GPU"), "no graphics processor")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=170, cwd=TESTS,
                          env={**os.environ, "BENBEN_LIBCUDA": "/nowhere/libcuda.so"})
    assert done.returncode == 0, done.stderr


def test_the_command_lists_devices(tmp_path):
    done = subprocess.run([bb.COMMAND, "devices"], capture_output=True, text=True, timeout=60, env={**os.environ, **STANDINS})
    lines = done.stdout.splitlines()
    assert done.returncode == 0 and re.match(r"cuda +0 +stand-in 0, 16\.0 GiB, compute capability 9\.0$", lines[0]), done
    assert lines[1].startswith("cuda    1") and any(line.startswith("opencl") for line in lines)
    done = subprocess.run([bb.COMMAND, "devices"], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "BENBEN_LIBCUDA": "/nowhere/libcuda.so"})
    assert done.returncode == 0 and "no driver" in done.stdout, done
