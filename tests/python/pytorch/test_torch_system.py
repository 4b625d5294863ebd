"""What surrounds a call: types and autocast, devices, pickles, workers, processes, threads, memory, errors."""
import io
import pathlib
import pickle
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
from tensor_cases import CASES, F64  # noqa: E402

import benben  # noqa: E402
from benben.torch import Genred, LazyTensor, Pm, Vi, Vj  # noqa: E402
from benben.torch import _ops  # noqa: E402

SITE = str(pathlib.Path(benben.__file__).parents[1])
ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"]
gauss = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)


def data(m=9, n=11, **kind):
    g = torch.Generator().manual_seed(m + n)
    return [torch.rand(*shape, generator=g, **F64).to(**kind) for shape in ((m, 3), (n, 3), (n, 2))]


def dense(x, y, b):
    return torch.exp(-((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)) @ b


# ---- types ----
@pytest.mark.parametrize("dtype, tolerance", [(torch.float16, 2e-3), (torch.bfloat16, 2e-2), (torch.float32, 1e-6),
                                              (torch.float64, 1e-14)])
def test_types_and_their_gradients(dtype, tolerance):
    args = [t.requires_grad_() for t in data(50, 3000, dtype=dtype)]  # long enough to overflow float16's precision
    wide = [t.detach().double().requires_grad_() for t in args]
    found, expected = gauss(*args), dense(*wide)
    assert found.dtype == dtype
    scale = expected.abs().max()
    assert (found.double() - expected).abs().max() <= tolerance * scale
    for f, e in zip(torch.autograd.grad(found.sum(), args), torch.autograd.grad(expected.sum(), wide)):
        assert f.dtype == dtype and (f.double() - e).abs().max() <= 3 * tolerance * e.abs().max()


def test_mixed_types_are_promoted_as_pytorch_does():
    x, y, b = data(dtype=torch.float32)
    for dtypes, expected in [((torch.float16, torch.float32, torch.float32), torch.float32),
                             ((torch.float16, torch.bfloat16, torch.float16), torch.float32),
                             ((torch.float32, torch.float64, torch.bfloat16), torch.float64),
                             ((torch.int64, torch.float32, torch.float32), torch.float32),
                             ((torch.int32, torch.int64, torch.uint8), torch.get_default_dtype())]:
        args = [t.mul(4).to(d) for t, d in zip((x, y, b), dtypes)]
        for found in (gauss(*args), (-((Vi(args[0]) - Vj(args[1])) ** 2).sum(-1)).exp() @ args[2]):
            assert found.dtype == expected
            torch.testing.assert_close(found.double(), dense(*[a.double() for a in args]), rtol=1e-2, atol=1e-2)
        leaves = [a.clone().requires_grad_() for a in args if a.is_floating_point()]
        if len(leaves) == 3:
            for leaf, g in zip(leaves, torch.autograd.grad(gauss(*leaves).sum(), leaves)):
                assert g.dtype == leaf.dtype and g.shape == leaf.shape
    two = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)  # no axes: the others' type
    out = (two * Vi(x) - Vj(y) * two).sum(1)
    assert out.dtype == torch.float32 and torch.autograd.grad(out.sum(), two)[0].dtype == torch.float64
    with pytest.raises(ValueError, match="float8"):
        Vi(x.to(torch.float8_e4m3fn))
    with pytest.raises(ValueError, match="complex"):
        gauss(x.to(torch.complex64), y, b)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_computes_in_float32(dtype):
    x, y, b = [t.requires_grad_() for t in data(dtype=torch.float32)]
    weight = torch.randn(3, 3, requires_grad=True)
    f = lambda x, y, b: (-((Vi(x) - Vj(y)) ** 2).sum(-1)).exp() @ b  # noqa: E731
    for g in (gauss, f, torch.compile(gauss, fullgraph=True, backend="aot_eager")):
        with torch.autocast("cpu", dtype):
            z = x @ weight
            assert z.dtype == dtype
            out = g(z, y, b)
        assert out.dtype == torch.float32
        torch.testing.assert_close(out, dense(z.float(), y, b))
        grads = torch.autograd.grad(out.sum(), (x, y, b, weight))
        assert all(t.dtype == torch.float32 and t.isfinite().all() for t in grads)


# ---- shapes and memory layout ----
@pytest.mark.parametrize("m, n", [(1, 1), (0, 3), (3, 0), (7, 13), (16, 17), (33, 31)])
def test_shapes_and_their_gradients(m, n):
    for make in (lambda t: t, lambda t: t.T.contiguous().T, lambda t: torch.stack([t, t], -1)[..., 0]):
        args = [make(t).requires_grad_() for t in data(m, n)]
        found, expected = gauss(*args), dense(*args)
        torch.testing.assert_close(found, expected)
        for f, e in zip(torch.autograd.grad(found.sum(), args), torch.autograd.grad(expected.sum(), args)):
            torch.testing.assert_close(f, e)


def test_expanded_batches():
    x, y, b = data()
    x4 = torch.stack([x, x + 1])[:, None].expand(2, 3, 9, 3)
    torch.testing.assert_close(gauss(x4, y, b), dense(x4, y, b))
    torch.testing.assert_close(gauss(x4, y.expand(3, 11, 3), b[None, None]), dense(x4, y, b))


def test_views_parameters_and_inference():
    x, y, b = data()
    p = torch.nn.Parameter(x)
    assert gauss(p, y, b).requires_grad
    with torch.no_grad():
        assert not gauss(p, y, b).requires_grad
    with torch.inference_mode():
        assert gauss(p, y, b).is_inference()
        torch.testing.assert_close(gauss(x + 0, y, b), dense(x, y, b))
    p.data.add_(1)
    torch.testing.assert_close(gauss(p, y, b), dense(p, y, b))


def test_changed_inputs_are_noticed():
    x, y, b = [t.requires_grad_() for t in data()]
    z = x * 1
    out = gauss(z, y, b).sum()
    z.add_(1)
    with pytest.raises(RuntimeError, match="inplace"):
        out.backward()


def test_hooks_checkpoints_and_out():
    from torch.utils.checkpoint import checkpoint

    x, y, b = [t.requires_grad_() for t in data()]
    expected = torch.autograd.grad(dense(x, y, b).sum(), x)[0]
    out = checkpoint(gauss, x, y, b, use_reentrant=False)
    torch.testing.assert_close(torch.autograd.grad(out.sum(), x)[0], expected)
    with torch.autograd.graph.save_on_cpu():
        out = gauss(x, y, b)
    torch.testing.assert_close(torch.autograd.grad(out.sum(), x)[0], expected)
    place = torch.empty(9, 2, **F64)
    assert gauss(x.detach(), y.detach(), b.detach(), out=place) is place
    torch.testing.assert_close(place, dense(x, y, b).detach())


# ---- devices ----
def test_the_meta_device_gives_shapes():
    x, y, b = [t.to("meta") for t in data()]
    out = gauss(x, y, b)
    assert out.device.type == "meta" and out.shape == (9, 2)
    index = Genred("SqDist(x, y)", ALIASES[:2], "ArgKMin", opt_arg=3, axis=1)(x, y)
    assert index.dtype == torch.int64 and index.shape == (9, 3)


def test_what_is_not_here_is_an_error():
    x, y, b = data()
    with pytest.raises(ValueError, match="GPU"):
        gauss(x, y, b, backend="GPU")
    with pytest.raises((RuntimeError, NotImplementedError, TypeError, ValueError)):
        gauss(x.to_sparse(), y, b)
    with pytest.raises(ValueError, match="axis|rows|3"):
        gauss(x[:, :2], y, b)
    with pytest.raises(ValueError):
        gauss(x, y, b[:5])
    with pytest.raises(TypeError, match="tensor"):
        gauss(x.numpy(), y, b)
    with pytest.raises(ValueError, match="torch"):
        LazyTensor(x.numpy())


# ---- pickles and processes ----
def test_pickles(tmp_path):
    x, y, b = data()
    for copy in (pickle.loads(pickle.dumps(gauss)),):
        assert torch.equal(copy(x, y, b), gauss(x, y, b))
    torch.save({"f": gauss, "x": x}, tmp_path / "f.pt")
    loaded = torch.load(tmp_path / "f.pt", weights_only=False)
    assert torch.equal(loaded["f"](loaded["x"], y, b), gauss(x, y, b))
    K = (-((Vi(x) - Vj(y)) ** 2).sum(-1) / Pm(torch.tensor([2.0], **F64))).exp()
    assert torch.equal(pickle.loads(pickle.dumps(K)) @ b, K @ b)
    buffer = io.BytesIO()
    torch.save(K, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False) @ b, K @ b)


@pytest.mark.parametrize("case", CASES, ids=repr)
def test_operations_are_found_by_their_key_in_another_process(case):
    """An exported graph names a program by a text."""
    if case.name.startswith("lazy"):
        op = max(_ops.Op.table.values(), key=lambda op: len(op.steps), default=None)
    else:
        op = case.found._kernel
    if op is None:
        return
    for derived in (op, op.gradient((0,))[0], op.gradient((0,))[0].gradient((0, 1))[0], op.tangent((0,))):
        code = f"""
import sys; sys.path.insert(0, {SITE!r})
import benben.torch._ops as o
op = o.Op.of({derived.key!r})
assert op.key == {derived.key!r} and op.outputs == {derived.outputs!r} and op.places == {derived.places!r}
"""
        exec(code)
        _ops.Op.table.pop(derived.key)
        again = _ops.Op.of(derived.key)
        assert again.key == derived.key and again.outputs == derived.outputs


class Distances(torch.utils.data.Dataset):
    def __len__(self):
        return 6

    def __getitem__(self, k):
        x, y, b = data()
        return gauss(x + k, y, b), torch.get_num_threads()


@pytest.mark.full
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
def test_workers(context):
    gauss(*data())  # threads have run before the fork
    x, y, b = data()
    for k, (value, threads) in enumerate(torch.utils.data.DataLoader(Distances(), num_workers=2, batch_size=None,
                                                                     multiprocessing_context=context)):
        torch.testing.assert_close(value, gauss(x + k, y, b))
        assert threads == 1


@pytest.mark.full
@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_processes(context, tmp_path):
    script = tmp_path / "processes.py"
    script.write_text(f"""
import sys; sys.path.insert(0, {SITE!r})
import torch, torch.multiprocessing as mp
from benben.torch import Genred
f = Genred("Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], axis=1)

def work(k, x, out):
    leaf = x.clone().requires_grad_()
    f(leaf, x).sum().backward()
    out[k] = leaf.grad[k].sum() + f(x, x).sum()

if __name__ == "__main__":
    x = torch.rand(3000, 3)
    expected = f(x, x).sum()
    out = torch.zeros(2).share_memory_()
    x.share_memory_()
    children = [mp.get_context({context!r}).Process(target=work, args=(k, x, out)) for k in range(2)]
    for c in children: c.start()
    for c in children: c.join()
    leaf = x.clone().requires_grad_()
    f(leaf, x).sum().backward()
    for k in range(2):
        assert abs(out[k] - (leaf.grad[k].sum() + expected)) < 1e-3 * expected, (out, expected)
    print("fine")
""")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120)
    assert done.stdout == "fine\n", done.stderr


def test_threads_of_python():
    """Several threads run forward and backward at once."""
    import threading

    expected = dense(*data()).sum()
    failures = []

    def work():
        for _ in range(20):
            args = [t.requires_grad_() for t in data()]
            out = gauss(*args).sum()
            out.backward()
            if not torch.allclose(out, expected):
                failures.append(out)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures


def test_the_number_of_threads_is_that_of_pytorch(monkeypatch):
    before = torch.get_num_threads()
    x, y, b = data(400, 400)
    expected = gauss(x, y, b)
    seen = []
    run = gauss._kernel.kernel.run

    class Kernel:
        def run(self, *args):
            seen.append(args[5])
            return run(*args)

    monkeypatch.setattr(gauss._kernel, "kernel", Kernel())
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            assert torch.equal(gauss(x, y, b), expected)  # the same bits
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 2]


# ---- the path of PyTorch before 2.10 ----
def test_without_the_exchange_api(monkeypatch):
    """__dlpack__ and tensors allocated by the caller give the same, for every case."""
    for case in CASES:
        args = case.leaves(batch=(2,))
        fast = case.found(*args)
        grads = torch.autograd.grad((fast ** 2).sum(), args, create_graph=True)
        with monkeypatch.context() as patch:
            patch.setattr(_ops, "_has_exchange", False)
            slow = case.found(*args)
            slow_grads = torch.autograd.grad((slow ** 2).sum(), args, create_graph=True)
        for f, s in zip((fast, *grads), (slow, *slow_grads)):
            assert torch.equal(f, s)


@pytest.mark.full
def test_memory_of_forward_and_backward():
    """Gaussian products at M = 2e5 and N = 2e4 and the other way round, D = 3: less than 100 MB above the inputs (all pairs:
    16 GB)."""
    code = f"""
import sys; sys.path.insert(0, {SITE!r})
import resource, torch
from benben.torch import Vi, Vj
def run(m, n):
    x, y, b = torch.rand(m, 3, requires_grad=True), torch.rand(n, 3, requires_grad=True), torch.rand(n, 1, requires_grad=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ((-((Vi(x) - Vj(y)) ** 2).sum(-1)).exp() @ b).sum().backward()
    assert all(t.grad.isfinite().all() for t in (x, y, b))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
run(100, 100)
print(max(run({2 * 10**5}, {2 * 10**4}), run({2 * 10**4}, {2 * 10**5})))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert float(done.stdout) < 100, done
    print(f"forward and backward: {float(done.stdout):.0f} MB above the inputs")
