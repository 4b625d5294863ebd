"""gradcheck and gradgradcheck in float64 of every operation of the table and of every reduction: with respect to i-, j-
and parameter variables, with batches that broadcast, ranges and complex inputs."""
import pathlib
import sys

import pytest

torch = pytest.importorskip("torch")
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

from benben import _core  # noqa: E402
from benben.torch import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj, cluster  # noqa: E402

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
from test_operations import CASES  # noqa: E402

F64 = dict(dtype=torch.float64)
KIND = {"a": "Vi", "b": "Vj", "c": "Pm"}
SMOOTH = [(name, k) for name, cases in CASES.items() for k, case in enumerate(cases) if case.smooth]
FIRST = {name: k for name, k in reversed(SMOOTH)}


def random(*shape, seed=0, low=-1.0, high=1.0):
    g = torch.Generator().manual_seed(seed)
    return (torch.rand(shape, generator=g, **F64) * (high - low) + low).requires_grad_()


def check(f, tensors, second=True, forward=True, fast=True):
    assert gradcheck(f, tensors, fast_mode=fast, check_forward_ad=forward)
    if second:
        assert gradgradcheck(f, tensors, fast_mode=fast, atol=1e-4)


@pytest.mark.parametrize("name, k", [pytest.param(name, k, marks=() if FIRST[name] == k and n % 6 == 0 else pytest.mark.full)
                                     for n, (name, k) in enumerate(SMOOTH)])
def test_operations(name, k):
    case = CASES[name][k]
    aliases = [f"{n} = {KIND[n]}({d})" for n, d in zip(case.names, case.dims)] + ["w = Vj(1)"]
    f = Genred(f"({case.text}) * w", aliases, axis=1)
    tensors = [torch.from_numpy(v).requires_grad_() for v in case.arrays(3).values()]
    w = random(5, 1)
    check(f, (*tensors, w))
    f = Genred(f"({case.text}) * v", [*aliases[:-1], "v = Vi(1)"], axis=0)
    check(f, (*tensors, random(13, 1)), second=False)


# softmax keeps the axis: it stands inside of formulas; the raw parts of a log-sum-exp have no derivative
REDUCTIONS = [row for row in _core.reductions() if not row["is_index"] and row["name"] != "softmax"
              and not row["name"].startswith("maxsumshiftexp")]


def test_what_has_no_derivative_says_so_when_it_is_asked():
    f = Genred("-SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "Max_SumShiftExp", axis=1)
    x, y = random(4, 2), random(5, 2)
    out = f(x, y)
    out = torch.cat(out, -1) if isinstance(out, tuple) else out
    with pytest.raises(NotImplementedError, match="logsumexp"):
        out.sum().backward()
    with pytest.raises(NotImplementedError, match="logsumexp"):
        torch.func.jvp(lambda x: f(x, y), (x,), (x,))


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("batch", [False, True])
@pytest.mark.parametrize("row", REDUCTIONS, ids=[row["name"] for row in REDUCTIONS])
def test_reductions(row, axis, batch):
    formula = "Exp(-SqDist(x, y) / s)" if row["formulas"] == 2 else "(x - y) * s + Square(x) * y"
    if row["name"] in ("prod", "any", "all"):
        formula = "Exp((x - y) * s / 3)"
    weight = dict(formula2="Square(w) + 0.5") if row["formulas"] == 2 else {}
    aliases = ["x = Vi(2)", "y = Vj(2)", "s = Pm(1)"] + (["w = Vj(2)" if axis else "w = Vi(2)"] if weight else [])
    if row["name"].startswith(("logsumexp", "sumsoftmax", "softmax")):
        formula = "-SqDist(x, y) / s"
    f = Genred(formula, aliases, row["name"], axis=axis, opt_arg=3 if row["takes_k"] else None, **weight)
    first, second = ((2, 1), (1, 3)) if batch else ((), ())
    tensors = [random(*first, 4, 2), random(*second, 5, 2, seed=1), random(1, seed=2, low=0.5, high=1.5)]
    if weight:
        tensors.append(random(*second[1:], 5 if axis else 4, 2, seed=3))
    smooth = row["name"] not in ("any", "all")

    def values(*args):
        out = f(*args)
        if isinstance(out, tuple):
            assert not out[1].requires_grad and out[1].dtype == torch.int64
            out = out[0]
        return out

    if smooth and row["name"] not in ("std",):
        check(values, tensors)
    elif smooth:
        check(values, tensors, second=False)


@pytest.mark.parametrize("name", [row["name"] for row in _core.reductions() if row["is_index"] and row["outputs"] == 1])
def test_indices_have_no_gradient(name):
    takes_k = any(row["name"] == name and row["takes_k"] for row in _core.reductions())
    f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], name, axis=1, opt_arg=2 if takes_k else None)
    out = f(random(4, 2), random(5, 2))
    assert out.dtype == torch.int64 and not out.requires_grad


@pytest.mark.parametrize("name, axis", [("Sum", 0), ("Sum", 1), ("LogSumExp", 0), ("LogSumExp", 1), ("Min", 0),
                                        ("Min", 1), ("KMin", 1)])
def test_ranges(name, axis):
    x, y, b = random(7, 2), random(9, 2, seed=1), random(9, 1, seed=2)
    ranges = cluster.from_matrix(torch.tensor([[0, 3], [3, 7]]), torch.tensor([[0, 4], [4, 5], [5, 9]]),
                                 torch.tensor([[True, False, True], [True, True, False]]))
    f = Genred("SqDist(x, y) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)"], name, axis=axis,
               opt_arg=2 if name == "KMin" else None)
    check(lambda *args: f(*args, ranges=ranges), (x, y, b))
    batched = (random(2, 7, 2), y, b)
    check(lambda *args: f(*args, ranges=(ranges, ranges)), batched, second=False)
    args, six = (x, y, b), ranges
    found = torch.func.vmap(lambda x: f(x, y.detach(), b.detach(), ranges=six))(batched[0].detach())
    torch.testing.assert_close(found, torch.stack([f(xk, *args[1:], ranges=six) for xk in batched[0]]))


def complex_random(*shape, seed):
    return torch.complex(random(*shape, seed=seed).detach(), random(*shape, seed=seed + 1).detach()).requires_grad_()


def test_complex_inputs():
    z, w, b = complex_random(4, 2, seed=5), complex_random(5, 2, seed=6), complex_random(5, 3, seed=7)
    x, p = random(4, 2), random(2, seed=9)

    def fourier(z, b):
        return (1j * (Vi(z) * Vj(w)).sum(-1)).exp() @ b

    def moduli(z, w):
        return (Vi(z) * Vj(w)).abs().sum(1)

    def mixed(x, w, p):
        return (Vi(x) * Vj(w) / Pm(p) + Vj(w).conj()).sum(dim=0)

    def parts(z, w):
        return ((Vi(z).real * Vj(w).imag).sum(-1) * Vi(z).angle().sum(-1)).sum(1)

    check(fourier, (z, b), fast=False, forward=True)
    check(moduli, (z, w), fast=False)
    check(mixed, (x, w, p), fast=False)
    check(parts, (z, w), fast=False)


def test_lazy_conjugates_and_negatives_are_resolved():
    """Tensors that are only marked as conjugated or negated."""
    z = complex_random(4, 2, seed=1).detach()
    y = random(5, 2).detach()
    marked = z.conj().imag
    assert marked.is_neg()
    f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], axis=1)
    torch.testing.assert_close(f(marked, y), f(marked.resolve_neg(), y))
    torch.testing.assert_close((LazyTensor(z.conj()[:, None]) * Vj(y)).sum(1), (z.conj()[:, None] * y).sum(1))


# ---- systems ----
def test_solves():
    x, b, s = random(6, 2), random(6, 2, seed=1), random(1, low=0.5, high=1.5)
    alpha = torch.tensor(0.7, **F64).requires_grad_()
    solve = KernelSolve("Exp(-SqDist(x, y) / s) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(2)", "s = Pm(1)"], "b", axis=1)

    def by_text(x, b, s, alpha):
        return solve(x, x, b, s, alpha=alpha, eps=1e-14)

    def by_lazy(x, b, s, alpha):
        return (-((Vi(x) - Vj(x)) ** 2).sum(-1) / Pm(s)).exp().solve(Vi(b), alpha=alpha, eps=1e-14)

    def dense(x, b, s, alpha):
        K = torch.exp(-((x[:, None] - x) ** 2).sum(-1) / s)
        return torch.linalg.solve(K + alpha * torch.eye(6, **F64), b)

    leaves = (x, b, s, alpha)
    for f in (by_text, by_lazy):
        torch.testing.assert_close(f(*leaves), dense(*leaves))
        check(f, leaves, fast=False)

        def third(g):
            value = (g(*leaves) ** 3).sum()
            for k in (0, 3, 2):
                value = (torch.autograd.grad(value, leaves[k], create_graph=True)[0] ** 2).sum()
            return torch.autograd.grad(value, leaves)

        for found, expected in zip(third(f), third(dense)):
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    plain = [t.detach() for t in leaves]
    many, ridges = random(3, 6, 2).detach(), torch.tensor([0.1, 0.2, 0.3], **F64)
    vmap = torch.func.vmap
    torch.testing.assert_close(vmap(lambda x: by_text(x, *plain[1:]))(many), vmap(lambda x: dense(x, *plain[1:]))(many))
    torch.testing.assert_close(vmap(lambda x, a: by_text(x, *plain[1:3], a))(many, ridges),
                               vmap(lambda x, a: dense(x, *plain[1:3], a))(many, ridges))
    hessians = [torch.func.hessian(lambda *a: (f(*a) ** 3).sum(), (0, 1, 2, 3))(*plain) for f in (by_text, dense)]
    for rows in zip(*hessians):
        for found, expected in zip(*rows):
            torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-7)
    compiled = torch.compile(by_text, fullgraph=True, backend="aot_eager")
    for found, expected in zip(torch.autograd.grad(compiled(*leaves).sum(), leaves),
                               torch.autograd.grad(dense(*leaves).sum(), leaves)):
        torch.testing.assert_close(found, expected)
    (g,) = torch.autograd.grad(by_text(*leaves), x, torch.eye(12, **F64).reshape(12, 6, 2), is_grads_batched=True)
    (e,) = torch.autograd.grad(dense(*leaves), x, torch.eye(12, **F64).reshape(12, 6, 2), is_grads_batched=True)
    torch.testing.assert_close(g, e)


def test_what_the_forward_pass_left_is_used():
    """The gradient of a log-sum-exp takes its value instead of computing it again."""
    f = Genred("-SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], "LogSumExp", axis=1)
    op = f._kernel
    gradient, forward = op.gradient((0,))
    assert forward == (0,) and gradient.program.cost < op.program.grad((0,)).cost
    out = f(random(4, 2), random(5, 2))
    assert any(saved is not None and torch.equal(saved, out) for saved in out.grad_fn.saved_tensors)


def test_gradients_of_one_side_are_one_pass():
    """Three variables along i: one program with three outputs, not three programs."""
    f = Genred("Exp(-SqDist(x, y) - SqDist(u, y)) * v * b", ["x = Vi(2)", "y = Vj(2)", "u = Vi(2)", "v = Vi(1)", "b = Vj(1)"],
               axis=1)
    x, u, v = random(40, 2), random(40, 2), random(40, 1)
    calls = []
    gradient, _ = f._kernel.gradient((0, 2, 3))
    run = gradient.kernel.run

    class Kernel:
        def run(self, *args):
            calls.append(args)
            return run(*args)

    gradient.kernel = Kernel()
    f(x, random(50, 2).detach(), u, v, random(50, 1).detach()).sum().backward()
    assert len(calls) == 1 and [place for place, _, _ in gradient.outputs] == ["i"] * 3
