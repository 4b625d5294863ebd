"""Systems, log-determinants and traces on tensors, with derivatives, against dense ones."""
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benben import ArgumentError, ConvergenceWarning  # noqa: E402
from benben.torch import KernelSolve, Pm, Vi, Vj, logdet, solve, trace  # noqa: E402
from torch.autograd import gradcheck, gradgradcheck  # noqa: E402

F64 = dict(dtype=torch.float64)
N = 12


def points(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), **F64).requires_grad_()


def gaussian(x, s):
    return (-((Vi(x) - Vj(x)) ** 2).sum(-1) / Pm(s)).exp()


def dense_gaussian(x, s, alpha):
    return torch.exp(-((x[..., :, None, :] - x[..., None, :, :]) ** 2).sum(-1) / s) + alpha * torch.eye(x.shape[-2], **F64)


X, S, B = points(N, 2), torch.tensor([0.7], **F64, requires_grad=True), points(N, 2, seed=1)
ALPHA = torch.tensor(0.3, **F64, requires_grad=True)
CLUSTERS = np.arange(N) // 4
WAYS = {
    "default": {}, "none": dict(precondition=None), "rpcholesky": dict(precondition="rpcholesky", rank=5, seed=3),
    "nystrom": dict(precondition="nystrom", rank=4, memory=2**20), "minres": dict(method="minres", precondition=None),
    "iterations": dict(max_iterations=500),
}


def close(found, expected, **tolerances):
    torch.testing.assert_close(found, expected, **tolerances)


@pytest.mark.parametrize("way", WAYS)
def test_keywords_of_solvers_change_nothing_of_derivatives(way):
    by_text = KernelSolve("Exp(-SqDist(x, y) / s) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(2)", "s = Pm(1)"], "b", axis=1)

    def text(x, s, alpha, b):
        return by_text(x, x, b, s, alpha=alpha, eps=1e-13, **WAYS[way])

    def lazy(x, s, alpha, b):
        return gaussian(x, s).solve(b, alpha=alpha, eps=1e-13, **WAYS[way])

    def told(x, s, alpha, b):
        return solve(gaussian(x, s), b, alpha, 1e-13, **WAYS[way]).x

    expected = torch.linalg.solve(dense_gaussian(X, S, ALPHA), B)
    for f in (text, lazy, told):
        close(f(X, S, ALPHA, B), expected)
        assert gradcheck(f, (X, S, ALPHA, B), fast_mode=True)
        assert gradgradcheck(f, (X, S, ALPHA, B), fast_mode=True)


@pytest.mark.parametrize("pattern", [dict(precondition="blocks", clusters=CLUSTERS), dict(precondition="blocks"),
                                     dict(precondition="neighbors", neighbors=5)])
def test_patterns_serve_the_systems_of_derivatives(pattern):
    def f(x, s, alpha, b):
        answer = solve(gaussian(x, s), b, alpha, 1e-13, **pattern)
        assert answer.precondition == pattern["precondition"] and answer.converged
        return answer.x

    close(f(X, S, ALPHA, B), torch.linalg.solve(dense_gaussian(X, S, ALPHA), B))
    assert gradcheck(f, (X, S, ALPHA, B), fast_mode=True) and gradgradcheck(f, (X, S, ALPHA, B), fast_mode=True)


def test_the_report_says_what_was_done():
    K = gaussian(X, S)
    seen = []
    answer = solve(K, B[:, 0], 0.1, 1e-10, precondition="rpcholesky", rank=6, callback=lambda n, r: seen.append((n, r)))
    assert answer.precondition == "rpcholesky" and answer.rank == 6 and answer.residual < 2e-10
    assert answer.iterations > 0 and len(answer.history) >= answer.iterations and answer.x.shape == (N,)
    again = solve(K, B[:, 0], 0.1, 1e-10, x0=answer.x)
    assert again.iterations <= 1
    with pytest.warns(ConvergenceWarning):
        poor = solve(K, B, 1e-9, 1e-12, precondition=None, max_iterations=1)
    assert not poor.converged and poor.message
    with pytest.warns(ConvergenceWarning):
        K.solve(B, alpha=1e-9, eps=1e-12, precondition=None, max_iterations=1)
    with pytest.raises(TypeError, match="preconditioner"):
        K.solve(B, preconditioner="nystrom")
    with pytest.raises(ValueError, match="precondition"):
        K.solve(B, precondition="lu")
    with pytest.raises(ArgumentError, match="LazyTensor of benben.torch"):
        solve(torch.eye(2), torch.ones(2, 1))
    with pytest.raises(ValueError, match="13 rows|12 rows"):
        solve(K, torch.ones(13, 1, **F64))


def test_small_cotangents_are_solved_as_well_as_large_ones():
    """The tolerance of K.solve is absolute: a cotangent far below it must not give zero."""
    a = gaussian(X, S).solve(B, alpha=ALPHA, eps=1e-8)
    expected = torch.autograd.grad(torch.linalg.solve(dense_gaussian(X, S, ALPHA), B).sum(), (X, S, ALPHA, B))
    for scale in (1.0, 1e-12, 1e9):
        found = torch.autograd.grad(a.sum() * scale, (X, S, ALPHA, B), retain_graph=True)
        for f, e in zip(found, expected, strict=True):
            close(f / scale, e, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("probes", [0, 40])
def test_logdet_is_differentiable_to_any_order(probes):
    def f(x, s, alpha):
        return logdet(gaussian(x, s), alpha, probes=probes).value

    def expected(x, s, alpha):
        return torch.logdet(dense_gaussian(x, s, alpha))

    close(f(X, S, ALPHA), expected(X, S, ALPHA))
    assert gradcheck(f, (X, S, ALPHA)) and gradgradcheck(f, (X, S, ALPHA))
    close(torch.func.hessian(f, (1, 2))(X, S, ALPHA), torch.func.hessian(expected, (1, 2))(X, S, ALPHA))
    close(torch.func.jacfwd(f)(X, S, ALPHA), torch.func.jacrev(expected)(X, S, ALPHA))
    third, wanted = [torch.func.grad(torch.func.grad(torch.func.grad(g, 2), 2), 2)(X, S, ALPHA) for g in (f, expected)]
    close(third, wanted)
    direction = (torch.ones_like(X), torch.ones_like(S), torch.ones_like(ALPHA))
    close(torch.func.jvp(f, (X, S, ALPHA), direction), torch.func.jvp(expected, (X, S, ALPHA), direction))


def test_logdets_of_batches():
    x = points(3, N, 2)
    alphas = torch.tensor([0.1, 0.2, 0.4], **F64)
    expected = torch.stack([torch.logdet(dense_gaussian(one, S, 0.3)) for one in x])
    close(logdet(gaussian(x, S), 0.3).value, expected)
    close(torch.func.vmap(lambda one: logdet(gaussian(one, S), 0.3).value)(x), expected)
    close(torch.func.vmap(lambda a: logdet(gaussian(X, S), a).value)(alphas),
          torch.stack([torch.logdet(dense_gaussian(X, S, a)) for a in alphas]))
    (found,) = torch.autograd.grad(logdet(gaussian(x, S), 0.3).value.sum(), x)
    close(found, torch.autograd.grad(expected.sum(), x)[0])


def test_large_logdets_come_with_errors_and_unbiased_gradients():
    x = torch.rand(900, 3, generator=torch.Generator().manual_seed(0), **F64)
    s, alpha = torch.tensor([0.5], **F64, requires_grad=True), torch.tensor(0.1, **F64, requires_grad=True)
    value = torch.logdet(dense_gaussian(x, s, alpha))
    by_s, by_alpha = torch.autograd.grad(value, (s, alpha))
    estimates = [logdet(gaussian(x, s), alpha, probes=16, seed=k) for k in range(6)]
    assert all(not e.exact and e.probes == 16 for e in estimates)
    assert sum(abs(e.value.item() - value.item()) > 2 * e.error for e in estimates) <= 1
    found = torch.tensor([torch.autograd.grad(e.value, (s, alpha)) for e in estimates])
    for k, expected in enumerate((by_s, by_alpha)):
        spread = found[:, k].std().item() / 6**0.5
        assert abs(found[:, k].mean().item() - expected.item()) < 6 * spread + 1e-3 * abs(expected.item())
    a, b = [torch.autograd.grad(logdet(gaussian(x, s), alpha, seed=1).value, s)[0] for _ in range(2)]
    assert torch.equal(a, b)  # the same probes


def test_traces():
    def f(x, s, alpha):
        return trace(gaussian(x, s) * Pm(s), alpha=alpha).value

    assert gradcheck(f, (X, S, ALPHA)) and gradgradcheck(f, (X, S, ALPHA))
    close(f(X, S, ALPHA), N * (S[0] + ALPHA))
    for function in (torch.exp, torch.square, lambda t: t.sqrt() * t.log()):
        def g(x, s, alpha, function=function):
            return trace(gaussian(x, s), function, alpha).value

        close(g(X, S, ALPHA), function(torch.linalg.eigvalsh(dense_gaussian(X, S, ALPHA))).sum())
        assert gradcheck(g, (X, S, ALPHA))


def test_traces_of_functions_by_probes():
    s, alpha = torch.tensor([0.05], **F64, requires_grad=True), torch.tensor(0.5, **F64, requires_grad=True)
    x = torch.rand(60, 2, generator=torch.Generator().manual_seed(0), **F64)
    estimate = trace(gaussian(x, s), torch.sqrt, alpha, dense_rows=-1, probes=2000)
    value = torch.linalg.eigvalsh(dense_gaussian(x, s, alpha)).sqrt().sum()
    assert abs(estimate.value.item() - value.item()) < 2 * estimate.error + 1e-9
    close(torch.autograd.grad(estimate.value, (s, alpha), create_graph=True), torch.autograd.grad(value, (s, alpha)), rtol=0.05, atol=0)
    once = torch.autograd.grad(trace(gaussian(x, s), torch.sqrt, alpha, dense_rows=-1).value, s, create_graph=True)[0]
    with pytest.raises(RuntimeError):  # not a wrong answer
        torch.autograd.grad(once.sum(), s)


def test_float32_and_integers():
    x = torch.linspace(0, 1, 40)[:, None]
    K = (-abs(Vi(x) - Vj(x))).exp()
    assert logdet(K, 0.1).value.dtype == torch.float32
    expected = torch.logdet(torch.exp(-(x - x.T).abs()) + 0.1 * torch.eye(40))
    close(logdet(K, 0.1).value, expected, rtol=1e-4, atol=1e-4)
    assert solve(K, torch.ones(40, 1, dtype=torch.int64), 1.0).x.dtype == torch.float32
