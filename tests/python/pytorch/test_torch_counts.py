"""What is not computed: gradients that nobody asks for, selections that the forward pass made."""
import pytest

torch = pytest.importorskip("torch")

from benben.torch import Genred, Vi, Vj, _ops  # noqa: E402

F64 = dict(dtype=torch.float64)


@pytest.fixture
def runs(monkeypatch):
    """The outputs and index inputs of every program that runs."""
    seen = []
    compute = _ops.Op.compute

    def watched(self, args, setting):
        seen.append(self)
        return compute(self, args, setting)

    monkeypatch.setattr(_ops.Op, "compute", watched)
    return seen


def leaves(*dims, seed=0):
    g = torch.Generator().manual_seed(seed)
    return [torch.randn(7 + k, d, generator=g, **F64, requires_grad=True) for k, d in enumerate(dims)]


GAUSS = Genred("Exp(-SqDist(x, y) * s) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)", "s = Pm(1)"], axis=1)


@pytest.mark.parametrize("wanted", ["x", "y", "b", "s", "xb", "ys", "xybs"])
@pytest.mark.parametrize("how", ["grad", "backward", "inner"])
def test_only_gradients_that_are_asked_for_are_computed(runs, wanted, how):
    x, y, _ = leaves(2, 2, 1)
    b, s = torch.ones(8, 1, **F64, requires_grad=True), torch.ones(1, **F64, requires_grad=True)
    named = dict(x=x, y=y, b=b, s=s)
    inner = {k: 1.5 * t for k, t in named.items()} if how == "inner" else named
    result = GAUSS(*inner.values()).sum()
    expected = torch.autograd.grad(result, list(named.values()), retain_graph=True)
    del runs[:]
    asked = [named[k] for k in wanted]
    if how == "backward":
        result.backward(inputs=asked)
        found = [t.grad for t in asked]
    else:
        found = torch.autograd.grad(result, asked)
    (gradient,) = runs
    assert len(gradient.outputs) == len(wanted)
    for k, t in zip(wanted, found, strict=True):
        torch.testing.assert_close(t, expected["xybs".index(k)])


def test_tensors_without_gradient_cost_nothing(runs):
    x, y, _ = leaves(2, 2, 1)
    GAUSS(x, y.detach(), torch.ones(8, 1, **F64), 2.0).sum().backward()
    forward, gradient = runs
    assert len(gradient.outputs) == 1 and x.grad is not None


SELECTIONS = {
    "min": lambda d: d.min(dim=1), "max over i": lambda d: d.max(dim=0), "kmin": lambda d: d.Kmin(3, dim=1),
    "both": lambda d: d.Kmin_argKmin(3, dim=1)[0], "more than there are": lambda d: d.Kmin(9, dim=1)[:, :8],
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_derivatives_do_not_select_again(runs, name):
    x, y = leaves(2, 2)
    dense = ((x[:, None] - y) ** 2).sum(-1)
    ascending = dense.sort(1)[0]
    expected = {"min": dense.min(1)[0][:, None], "max over i": dense.max(0)[0][:, None],
                "more than there are": ascending}.get(name, ascending[:, :3])
    found = SELECTIONS[name](((Vi(x) - Vj(y)) ** 2).sum(-1))
    torch.testing.assert_close(found, expected)
    del runs[:]
    weights = torch.arange(1.0, found.shape[1] + 1, **F64)
    gradients = torch.autograd.grad((found**2 * weights).sum(), (x, y), create_graph=True)
    wanted = torch.autograd.grad((expected**2 * weights).sum(), (x, y), create_graph=True)
    torch.testing.assert_close(gradients, wanted)
    second = torch.autograd.grad(sum((g**2).sum() for g in gradients), (x, y))
    torch.testing.assert_close(second, torch.autograd.grad(sum((g**2).sum() for g in wanted), (x, y)))
    assert runs and all(op.lists for op in runs)  # every program of a derivative is given the indices

    def value(x, y):
        return SELECTIONS[name](((Vi(x) - Vj(y)) ** 2).sum(-1))

    del runs[:]
    forward, tangent = torch.func.jvp(value, (x.detach(), y.detach()), (torch.ones_like(x), torch.zeros_like(y)))
    torch.testing.assert_close(forward, expected)
    assert [bool(op.lists) for op in runs] == [False, True]


def test_lists_go_through_batches_ranges_and_halves():
    x = torch.randn(3, 5, 2, **F64, requires_grad=True)
    y = torch.randn(6, 2, **F64, requires_grad=True)
    found = ((Vi(x) - Vj(y)) ** 2).sum(-1).min(dim=2)
    expected = ((x[:, :, None] - y) ** 2).sum(-1).min(2)[0][..., None]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found.sin().sum(), (x, y)), torch.autograd.grad(expected.sin().sum(), (x, y)))
    empty = (torch.tensor([[0, 2], [2, 5]]), torch.tensor([1, 1]), torch.tensor([[1, 3]]),
             torch.tensor([[0, 6]]), torch.tensor([1]), torch.tensor([[0, 2]]))
    x = torch.randn(5, 2, **F64, requires_grad=True)
    few = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], reduction_op="KMin", axis=1, opt_arg=3)(x, y, ranges=empty)
    assert few[:2, :2].isfinite().all() and few[:2, 2:].isinf().all() and few[2:].isinf().all()
    (by_x,) = torch.autograd.grad(few[:2, :2].sum(), x)
    (wanted,) = torch.autograd.grad(((x[:2, None] - y[1:3]) ** 2).sum(), x)
    torch.testing.assert_close(by_x, wanted)
    x, y = torch.randn(40, 2).half().requires_grad_(), torch.randn(50, 2).half()
    ((Vi(x) - Vj(y)) ** 2).sum(-1).min(dim=1).sum().backward()
    nearest = y[((x[:, None].float() - y.float()) ** 2).sum(-1).argmin(1)]
    torch.testing.assert_close(x.grad, 2 * (x - nearest).detach(), rtol=1e-2, atol=1e-2)
