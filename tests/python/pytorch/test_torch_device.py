"""Tensors of a CUDA device: without one through stand-ins for driver and compiler, which compute on the host, and a type that
has DLPack's exchange API as PyTorch's tensors have it; with one on the device itself (`make check-gpu`)."""
import os
import pathlib
import re
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")

import benben  # noqa: E402
from benben import DeviceError  # noqa: E402
from benben.torch import Genred, Vi, Vj, _ops, logdet  # noqa: E402
import standin_driver  # noqa: E402
from standin_driver import DRIVER  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent
STANDINS = standin_driver.standins()
cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device: run by `make check-gpu`")

# A tensor of the library "fake": memory of the stand-in's device, a current stream, an allocator that keeps a book.
FAKE = DRIVER + '''
import sys
import numpy as np
sys.path.insert(0, os.environ["SITE"])
from benben import _core

class Tensor(c.Structure):
    _fields_ = [("data", c.c_void_p), ("device_type", c.c_int32), ("device_id", c.c_int32), ("ndim", c.c_int32),
                ("code", c.c_uint8), ("bits", c.c_uint8), ("lanes", c.c_uint16), ("shape", c.POINTER(c.c_int64)),
                ("strides", c.POINTER(c.c_int64)), ("byte_offset", c.c_uint64)]

class Fake:
    live = made = 0
    def __init__(self, dtype, shape):
        self.dtype, self.shape = np.dtype(dtype), tuple(shape)
        self.pointer = c.c_uint64()
        self.bytes = int(np.prod(shape)) * self.dtype.itemsize
        call("cuMemAlloc_v2", c.byref(self.pointer), c.c_size_t(self.bytes + 8))
        Fake.live += 1
        Fake.made += 1
        self.extents = (c.c_int64 * max(1, len(shape)))(*shape)
        steps = [int(np.prod(shape[k + 1:])) for k in range(len(shape))]
        self.steps = (c.c_int64 * max(1, len(shape)))(*steps)
    def __del__(self):
        Fake.live -= 1
        call("cuMemFree_v2", self.pointer)
    def describe(self, d):
        d.data, d.device_type, d.device_id, d.ndim = self.pointer.value, 2, 0, len(self.shape)
        d.code, d.bits, d.lanes = {"f": 2, "i": 0}[self.dtype.kind], 8 * self.dtype.itemsize, 1
        d.shape, d.strides, d.byte_offset = self.extents, self.steps, 0
    def numpy(self):
        out = np.empty(self.shape, self.dtype)
        call("cuMemcpyDtoHAsync_v2", c.c_void_p(out.ctypes.data), self.pointer, c.c_size_t(self.bytes), None)
        return out
    @classmethod
    def send(cls, values):
        new = cls(values.dtype, values.shape)
        call("cuMemcpyHtoDAsync_v2", new.pointer, c.c_void_p(values.ctypes.data), c.c_size_t(values.nbytes), None)
        return new

making = []
@c.CFUNCTYPE(c.c_int, c.POINTER(Tensor), c.POINTER(c.c_void_p), c.c_void_p, c.c_void_p)
def allocate(prototype, out, context, report):
    p = prototype.contents
    assert (p.device_type, p.device_id) == (2, 0)
    making.append(Fake({2: "f", 0: "i"}[p.code] + str(p.bits // 8), [p.shape[k] for k in range(p.ndim)]))
    out[0] = 1
    return 0
@c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_void_p))
def from_object(object, out):
    return 1
@c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(c.c_void_p))
def to_object(managed, out):
    made = making.pop()
    c.pythonapi.Py_IncRef(c.py_object(made))
    out[0] = id(made)
    return 0
@c.CFUNCTYPE(c.c_int, c.c_void_p, c.POINTER(Tensor))
def borrow(object, out):
    c.cast(object, c.py_object).value.describe(out.contents)
    return 0
@c.CFUNCTYPE(c.c_int, c.c_int32, c.c_int32, c.POINTER(c.c_void_p))
def stream(device_type, device_id, out):
    assert (device_type, device_id) == (2, 0)
    out[0] = STREAM
    return 0

class Api(c.Structure):
    _fields_ = [("major", c.c_uint32), ("minor", c.c_uint32), ("older", c.c_void_p)] + [(n, c.c_void_p) for n in "abcde"]
api = Api(1, 3, None, *[c.cast(f, c.c_void_p) for f in (allocate, from_object, to_object, borrow, stream)])
c.pythonapi.PyCapsule_New.restype = c.py_object
NAME = b"dlpack_exchange_api"
Fake.__dlpack_c_exchange_api__ = c.pythonapi.PyCapsule_New(c.c_void_p(c.addressof(api)), c.c_char_p(NAME), None)
rng = np.random.default_rng(0)
'''


def stand_ins(code, tmp_path):
    for path in map(pathlib.Path, STANDINS.values()):
        assert path.exists(), f"{path} is missing: cmake --build build --target standin_cuda standin_nvrtc"
    log = tmp_path / "log"
    log.write_text("")
    done = subprocess.run([sys.executable, "-c", FAKE + code], capture_output=True, text=True, timeout=170, cwd=HERE,
                          env={**os.environ, **STANDINS, "STANDIN_LOG": str(log),
                               "STANDIN_POOLS": "1", "SITE": str(pathlib.Path(benben.__file__).parents[1])})
    assert done.returncode == 0, done.stderr
    lines = log.read_text().splitlines()
    assert not [line for line in lines if line.startswith("WRONG")]
    return lines


@pytest.mark.full
def test_tensors_are_used_in_place_on_their_stream_with_their_memory(tmp_path):
    lines = stand_ins('''
p = _core.parse("sum_j(exp(-sqdist(x, y) / s) * b)", ("x=Vi(3)", "y=Vj(3)", "b=Vj(1)", "s=Pm(1)"))
for program, extra in ((p, ()), (p.grad((0, 1, 2)), ((90, 1),))):
    kernel = program.compile()
    values = [rng.standard_normal(s).astype("f4") for s in ((90, 3), (700, 3), (700, 1))] + [np.float32([0.5])]
    values += [rng.standard_normal(s).astype("f4") for s in extra]
    inputs = tuple([Fake.send(v) for v in values])
    expected = program.compile(target="interp").run(tuple(values))
    for n in range(3):
        cu.cuDeviceGetCount(c.byref(c.c_int()))   # a mark
        found = outputs = None
        before, live = Fake.made, Fake.live
        found = kernel.run(inputs)
        outputs = found if isinstance(found, tuple) else (found,)
        assert Fake.live == live + len(outputs), "memory of the run is given back"
        assert Fake.made > before + len(outputs), "memory of the run comes from the library of the tensors"
    cu.cuDeviceGetCount(c.byref(c.c_int()))
    for f, e in zip(outputs, expected if isinstance(expected, tuple) else (expected,), strict=True):
        np.testing.assert_allclose(f.numpy(), e, rtol=1e-4, atol=1e-3)
    # a number beside tensors
    if not extra:
        np.testing.assert_allclose(kernel.run((*inputs[:3], 0.5)).numpy(), expected, rtol=1e-4, atol=1e-3)
''', tmp_path)
    marks = [k for k, line in enumerate(lines) if line == "cuDeviceGetCount"]
    warm = lines[marks[2] + 1:marks[3]]
    started = [line for line in warm if line.startswith("cuLaunch")]
    assert started and all("stream other" in line for line in started)
    assert "cuStreamSynchronize other" not in lines and not [line for line in warm if re.match("cu(Ctx|Stream|Event)Sync", line)]
    assert not [line for line in warm if "FromPool" in line]  # no memory of our own


def test_tensors_of_two_devices_are_refused_by_name():
    f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], reduction_op="Sum", axis=1)
    op = f._kernel
    with pytest.raises(DeviceError, match=r"argument 0 'x' is on cpu, argument 1 'y' on meta.*\.to\('cpu'\)"):
        _ops.on_one_device(op, (torch.ones(3, 2), torch.ones(3, 2, device="meta")))
    assert _ops.on_one_device(op, (2.0, torch.ones(3, 2))).is_cpu


# ---- on a device
def gaussian(x, y, b):
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1)).exp() @ b


def points(device, dtype=torch.float32):
    g = torch.Generator().manual_seed(0)
    return [torch.randn(n, d, generator=g, dtype=dtype).to(device).requires_grad_() for n, d in ((500, 3), (900, 3), (900, 2))]


def dense(x, y, b):
    return torch.exp(-((x[:, None] - y) ** 2).sum(-1)) @ b


@cuda
@pytest.mark.parametrize("device", [f"cuda:{k}" for k in range(max(1, torch.cuda.device_count()))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16], ids=str)
def test_values_and_gradients_on_a_device(device, dtype):
    x, y, b = points(device, torch.float64)
    expected = dense(x, y, b)
    wanted = torch.autograd.grad(expected.sin().sum(), (x, y, b))
    leaves = [t.detach().to(dtype).requires_grad_() for t in (x, y, b)]
    found = gaussian(*leaves)
    assert found.device == x.device and found.dtype == dtype
    tolerance = {torch.float64: 1e-10, torch.float32: 1e-4, torch.float16: 5e-2}[dtype]
    torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance * 10)
    if dtype != torch.float16:
        for f, w in zip(torch.autograd.grad(found.sin().sum(), leaves), wanted, strict=True):
            torch.testing.assert_close(f.double(), w, rtol=tolerance, atol=tolerance * 10)
            assert f.device == x.device


@cuda
def test_a_stream_of_the_callers_and_a_graph():
    x, y, b = [t.detach() for t in points("cuda")]
    expected = dense(x, y, b)
    other = torch.cuda.Stream()
    other.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(other):
        torch.cuda._sleep(20_000_000)
        late = b * 2  # behind a pause on this stream
        found = gaussian(x, y, late)
    other.synchronize()
    torch.testing.assert_close(found, 2 * expected, rtol=1e-4, atol=1e-4)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.stream(other):
        gaussian(x, y, b)
    other.synchronize()
    with torch.cuda.graph(graph, stream=other):
        captured = gaussian(x, y, b)
    b.mul_(3)
    graph.replay()
    torch.cuda.synchronize()
    torch.testing.assert_close(captured, 3 * expected, rtol=1e-4, atol=1e-4)


@cuda
def test_the_rest_of_the_surface_on_a_device():
    x, y, b = points("cuda", torch.float64)
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    solved = K.solve(b[:500].detach(), alpha=1.0, eps=1e-10)
    torch.testing.assert_close(K @ solved + solved, b[:500].detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(logdet(K, 1.0).value, torch.logdet(dense(x, x, torch.eye(500).to(x)) + torch.eye(500).to(x)))
    nearest = ((Vi(x) - Vj(y)) ** 2).sum(-1)
    torch.testing.assert_close(nearest.argmin(dim=1)[:, 0], ((x[:, None] - y) ** 2).sum(-1).argmin(1))
    (by_x,) = torch.autograd.grad(nearest.min(dim=1).sum(), x)
    torch.testing.assert_close(by_x, torch.autograd.grad(((x[:, None] - y) ** 2).sum(-1).min(1)[0].sum(), x)[0])
    with pytest.raises(DeviceError, match="one device"):
        gaussian(x, y.cpu(), b)
    compiled = torch.compile(gaussian, fullgraph=True)
    torch.testing.assert_close(compiled(x, y, b), gaussian(x, y, b))
