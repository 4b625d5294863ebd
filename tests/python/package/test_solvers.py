"""benben.numpy.solve, logdet, trace, eigsh on LazyTensors and operators, against dense matrices."""
import warnings

import benben
import numpy as np
import pytest
from benben import operators
from benben.numpy import KernelSolve, LazyTensor, Vi, Vj, clusters_of, eigsh, logdet, solve, trace

r = np.random.default_rng(3)


def gaussian(n, s=0.1, d=2, dtype="float64", seed=0):
    x = np.random.default_rng(seed).uniform(0, 1, (n, d)).astype(dtype)
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1) / s).exp()
    return K, np.asarray(K).astype(np.float64)


K, D = gaussian(200)
P, DP = gaussian(200, 0.02, seed=0)
B = r.normal(size=(200, 3))


@pytest.mark.parametrize("precondition", ["auto", "rpcholesky", "nystrom", "blocks", None])
@pytest.mark.parametrize("shape", [(200,), (200, 1), (200, 3)])
def test_solve(precondition, shape):
    b = B[:, :shape[-1] if len(shape) > 1 else 1].reshape(shape)
    s = solve(K, b, 1e-3, 1e-9, precondition=precondition)
    assert s.converged and s.x.shape == shape and s.message == ""
    np.testing.assert_allclose(D @ s.x + 1e-3 * s.x, b, atol=1e-7)
    assert s.precondition == {"auto": "rpcholesky", None: "none"}.get(precondition, precondition)
    assert len(s.history) == s.iterations + 1 and s.history[-1] < 1e-8 and s.residual < 2e-9 and s.seconds > 0
    assert "Solution(" in repr(s) and "residual=" in repr(s)
    warm = solve(K, b, 1e-3, 1e-8, precondition=None, x0=s.x)
    assert warm.iterations == 0 and warm.products == 2


def test_the_options_of_lazytensors_and_kernelsolve():
    b = B[:, :1]
    for precondition in ("auto", "nystrom", "blocks", "rpcholesky", None):
        a = K.solve(b, alpha=1e-2, eps=1e-8, precondition=precondition, seed=3, memory=10**7, rank=40)
        np.testing.assert_allclose(D @ a + 1e-2 * a, b, atol=1e-6)
    x = np.random.default_rng(0).uniform(0, 1, (200, 2))
    system = KernelSolve("Exp(-SqDist(x, y) * IntCst(10)) * a", ["x = Vi(2)", "y = Vj(2)", "a = Vj(1)"], "a", axis=1)
    np.testing.assert_allclose(system(x, x, b, alpha=1e-2, eps=1e-9, precondition=None),
                               np.linalg.solve(D + 1e-2 * np.eye(200), b), atol=1e-5)
    for call in (lambda: K.solve(b, preconditon="auto"), lambda: system(x, x, b, rnak=1)):
        with pytest.raises(TypeError, match="unexpected keyword"):
            call()
    with pytest.raises(ValueError, match="unknown"):
        solve(K, b, precondition="magic")


def test_a_failure_warns_and_says_so():
    with pytest.warns(benben.ConvergenceWarning, match="raise alpha"):
        s = solve(K, B, 0.0, 1e-12, precondition=None, max_iterations=10)
    assert not s.converged and "raise alpha" in s.message and s.residual > 1e-12
    true = np.linalg.norm(B - D @ s.x) / np.linalg.norm(B)
    assert abs(s.residual - true) <= 0.01 * true
    with pytest.warns(benben.ConvergenceWarning):
        s = solve(-K, B, 0.1)
    assert not s.converged and "MINRES" in s.message
    s = solve(-K, B, 0.1, 1e-8, method="minres")
    np.testing.assert_allclose(-D @ s.x + 0.1 * s.x, B, atol=1e-6)


def test_callbacks_see_and_stop_and_their_exceptions_pass():
    seen = []
    solve(K, B, 1e-3, callback=lambda k, residual: seen.append((k, residual)))
    assert seen[0] == (0, 1.0) and seen[-1][1] < 1e-6
    for call in (lambda f: solve(K, B, 1e-3, callback=f), lambda f: eigsh(gaussian(400)[0], 4, callback=f),
                 lambda f: logdet(P, 0.1, dense_rows=-1, callback=f)):
        with pytest.raises(benben.CancelledError):
            call(lambda *_: True)
        with pytest.raises(ZeroDivisionError):
            call(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trace(K, lambda x: 1 / 0)


def test_mixed_types_batches_and_empty():
    K32, D32 = gaussian(60, dtype="float32")
    s = solve(K32, B[:60], 0.1)
    assert s.x.dtype == np.float64 and s.residual < 1e-5
    s = solve(K32, B[:60].astype("float32"), 0.1)
    assert s.x.dtype == np.float32 and np.abs(D32 @ s.x + 0.1 * s.x - B[:60]).max() < 1e-3
    s = solve(K32, np.arange(60), 0.1)
    np.testing.assert_allclose(D32 @ s.x + 0.1 * s.x, np.arange(60), atol=1e-3)
    x = r.uniform(0, 1, (4, 50, 2))
    KB = (-((LazyTensor(x[:, :, None]) - LazyTensor(x[:, None])) ** 2).sum(-1) / 0.1).exp()
    DB = np.exp(-((x[:, :, None] - x[:, None]) ** 2).sum(-1) / 0.1)
    s = solve(KB, r.normal(size=(4, 50, 2)), 0.1, 1e-9)
    assert s.x.shape == (4, 50, 2) and s.converged
    found = logdet(KB, 0.1)
    np.testing.assert_allclose(found.value, np.linalg.slogdet(DB + 0.1 * np.eye(50))[1], atol=1e-9)
    empty = (Vi(np.ones((0, 2))) | Vj(np.ones((0, 2))))
    assert solve(empty, np.ones((0, 2)), 1.0).x.shape == (0, 2) and logdet(empty, 1.0).value == 0


OPERATORS = {
    "sum": (K + P * 2 + 0.5 * operators.identity(200), D + 2 * DP + 0.5 * np.eye(200), True),
    "product": (K @ K.T + operators.diagonal(np.linspace(1, 2, 200)), D @ D.T + np.diag(np.linspace(1, 2, 200)), False),
    "operator": (operators.as_operator(K) + operators.identity(200) * 0.1, D + 0.1 * np.eye(200), True),
    "array": (D + 0.1 * np.eye(200), D + 0.1 * np.eye(200), True),
    "block": (operators.block([[K, K * 0.5], [K * 0.5, P + K]]) + operators.identity(400),
              np.block([[D, D / 2], [D / 2, D + DP]]) + np.eye(400), True)}


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_are_matrices_too(name):
    A, dense, entries = OPERATORS[name]
    n = len(dense)
    op = operators.as_operator(A)
    assert op.has_entries == entries
    some = np.array([0, 7, n - 1, 3])
    np.testing.assert_allclose(op.columns(some), dense[:, some], atol=1e-12)
    np.testing.assert_allclose(op.diagonal(), np.diag(dense), atol=1e-12)
    b = r.normal(size=(n, 2))
    for precondition in ("auto", None):
        s = solve(A, b, 0.0, 1e-9, precondition=precondition)
        np.testing.assert_allclose(dense @ s.x, b, atol=1e-6)
    s = solve(A, b[:, 0], 0.0, 1e-9, precondition="rpcholesky")
    assert s.precondition == ("rpcholesky" if entries else "none") and (entries or "products alone" in s.remark)
    found = logdet(A, 0.0, probes=64, seed=1)
    assert abs(found.value - np.linalg.slogdet(dense)[1]) <= 1.5 * found.error + 1e-9
    assert found.exact == (entries and n <= 800)
    np.testing.assert_allclose(eigsh(A, 4)[0], np.linalg.eigvalsh(dense)[-4:], rtol=1e-8)


@pytest.mark.parametrize("which", ["LA", "SA", "LM"])
@pytest.mark.parametrize("method", ["auto", "arpack", "lobpcg"])
def test_eigsh(which, method):
    if method == "lobpcg" and which == "LM":
        with pytest.raises(ValueError, match="lobpcg"):
            eigsh(K, 3, which, method=method)
        return
    x = np.linspace(0, 1, 30)[:, None]
    A = -((Vi(x) - Vj(x)).abs().sum(-1))
    dense = np.asarray(A)
    values, vectors = eigsh(A, 3, which, method=method, tol=1e-9)
    everything = np.linalg.eigvalsh(dense)
    key = {"LA": -everything, "SA": everything, "LM": -abs(everything)}[which]
    np.testing.assert_allclose(values, np.sort(everything[np.argsort(key)[:3]]), atol=1e-6)
    np.testing.assert_allclose(dense @ vectors, vectors * values, atol=1e-5)
    np.testing.assert_array_equal(eigsh(A, 3, which, return_eigenvectors=False), eigsh(A, 3, which)[0])


@pytest.mark.parametrize("probes", [16, 200])
def test_the_gradient_of_a_logdet_is_that_of_a_product(probes):
    s, alpha = 0.1, 0.05
    found = logdet(K, alpha, vectors=True, probes=probes, seed=5)
    x = np.random.default_rng(0).uniform(0, 1, (200, 2))
    dD = D * ((x[:, None] - x[None]) ** 2).sum(-1) / s**2
    inverse = np.linalg.inv(D + alpha * np.eye(200))
    by_s, by_alpha = np.trace(inverse @ dD), np.trace(inverse)
    dK = K * ((Vi(x) - Vj(x)) ** 2).sum(-1) / s**2
    assert abs((found.left * (dK @ found.right)).sum() / probes - by_s) <= (0.2 if probes < 200 else 1e-5) * abs(by_s)
    assert abs((found.left * found.right).sum() / probes - by_alpha) <= (0.2 if probes < 200 else 1e-5) * by_alpha


def test_clusters_are_small_and_near():
    x = r.uniform(0, 1, (1000, 2))
    labels = clusters_of(x, 100)
    assert np.bincount(labels).max() <= 100 and len(np.unique(labels)) == labels.max() + 1
    assert np.mean([np.ptp(x[labels == c], axis=0).max() for c in range(labels.max() + 1)]) < 0.4
    assert clusters_of(np.ones((300, 2))).max() == 1 and len(clusters_of(np.ones((0, 3)))) == 0


def test_what_is_refused():
    x = r.normal(size=(5, 2))
    rectangular = Vi(x) | Vj(x[:3])
    for call in (lambda: solve(rectangular, np.ones(5)), lambda: logdet(rectangular), lambda: eigsh(rectangular, 2),
                 lambda: solve(K, np.ones(7)), lambda: solve(K, np.ones((200, 2)), x0=np.ones((200, 3))),
                 lambda: solve(Vi(x) * Vj(x), np.ones(5)), lambda: solve(K, np.ones(200), -1.0), lambda: eigsh(K, 201),
                 lambda: solve(K, np.ones(200), precondition="blocks", clusters=[1, 2]), lambda: eigsh(K, 2, "XX"),
                 lambda: solve(K, np.ones(200) * 1j), lambda: solve(np.ones((3, 4)), np.ones(3)),
                 lambda: logdet(K, precondition="blocks"), lambda: eigsh(K, 2, method="power")):
        with pytest.raises(ValueError):
            call()
    for call in (lambda: logdet(-K, 0.1), lambda: logdet(K - 3 * P, 0.1)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises((benben.ConvergenceWarning, benben.ConvergenceError), match="raise alpha"):
                call()


def test_iterations_in_float32_are_corrected_in_float64():
    s = solve(K, B, 0.1, 1e-10, mixed=True)
    assert s.converged and s.x.dtype == np.float64 and np.abs(D @ s.x + 0.1 * s.x - B).max() < 1e-8
    assert s.residual < 2e-10 and s.products > s.iterations
    s = solve(K, B * 1e100, 0.1, 1e-8, mixed=True)
    assert s.converged
    s = solve(K, B * [0, 1, 0], 0.1, 1e-8, mixed=True)
    assert s.converged and (s.x[:, 0] == 0).all()
    s = solve(K, B[:, 0], 1e-9, 1e-6, mixed=True)  # float32 is of no use: float64 goes on
    assert np.linalg.norm(D @ s.x + 1e-9 * s.x - B[:, 0]) <= 2e-6 * np.linalg.norm(B[:, 0])


@pytest.mark.parametrize("n", [1, 2, 40, 700])
def test_the_neighbors_preconditioner(n):
    from benben.numpy import neighbors_before
    K, D = gaussian(n, 0.01)
    x = np.random.default_rng(0).uniform(0, 1, (n, 2))
    found, rank = neighbors_before(x, 10)
    assert (np.sort(rank) == np.arange(n)).all() and found.shape == (n, 10)
    for k in range(n):
        some = found[k][found[k] >= 0]
        assert (rank[some] < rank[k]).all() and len(np.unique(some)) == len(some) and (len(some) > 0) == (rank[k] > 0)
    b = r.normal(size=(n, 2))
    for neighbors in (None, 5, (found, rank)):
        s = solve(K, b, 1e-3, 1e-9, precondition="neighbors", neighbors=neighbors)
        assert s.converged and s.precondition == "neighbors"
        np.testing.assert_allclose(D @ s.x + 1e-3 * s.x, b, atol=1e-7)
    with pytest.raises(ValueError, match="neighbors"):
        solve(K, b, 1e-3, precondition="neighbors", neighbors=(found[:, :1], rank[:0]))
    with pytest.raises(ValueError, match="points"):
        solve(D, b, 1e-3, precondition="neighbors")


def test_right_hand_sides_that_share_memory():
    x, b = np.random.default_rng(0).random((5, 2)), np.broadcast_to(np.array([[1.0, 2.0]]), (5, 2))
    K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    expected = np.linalg.solve(K.dense() + np.eye(5), b)
    np.testing.assert_allclose(solve(K, b, 1.0, 1e-10).x, expected, rtol=1e-8)
    np.testing.assert_allclose(K.solve(b, alpha=1.0, eps=1e-12), expected, rtol=1e-8)


@pytest.mark.full
def test_hyperparameters_learned_through_logdet_are_those_of_the_dense_likelihood():
    from scipy.optimize import minimize

    rng = np.random.default_rng(3)
    n = 900  # beyond what logdet factors
    x = rng.uniform(0, 1, (n, 2))
    q = ((x[:, None] - x[None]) ** 2).sum(-1)
    truth = np.exp(-q / (2 * 0.15 ** 2)) + 0.05 * np.eye(n)
    y = np.linalg.cholesky(truth) @ rng.normal(size=(n, 1))
    q_ij = ((Vi(x) - Vj(x)) ** 2).sum(-1)

    def dense(theta):
        length, noise = np.exp(theta)
        A = np.exp(-q / (2 * length ** 2)) + noise * np.eye(n)
        inverse = np.linalg.inv(A)
        a, dA = inverse @ y, np.exp(-q / (2 * length ** 2)) * q / length ** 2
        gradient = [(inverse * dA).sum() - (a.T @ dA @ a).item(), noise * (np.trace(inverse) - (a.T @ a).item())]
        return ((y.T @ a).item() + np.linalg.slogdet(A)[1]) / n, np.array(gradient) / n

    def estimated(theta):
        length, noise = np.exp(theta)
        K = (-q_ij / (2 * length ** 2)).exp()
        a = solve(K, y, noise, 1e-8).x
        d = logdet(K, noise, probes=64, seed=7, vectors=True)
        assert not d.exact
        dK = K * q_ij / length ** 2
        gradient = [(d.left * (dK @ d.right)).sum() / 64 - (a * (dK @ a)).sum(),
                    noise * ((d.left * d.right).sum() / 64 - (a * a).sum())]
        return ((y * a).sum() + d.value) / n, np.array(gradient) / n

    start = np.log([0.3, 0.3])
    for theta in (start, np.log([0.1, 0.02])):
        (value, gradient), (wanted, exact) = estimated(theta), dense(theta)
        assert abs(value - wanted) < 0.02 and np.abs(gradient - exact).max() < 0.05 * np.abs(exact).max() + 0.01
    learned, wanted = (minimize(f, start, jac=True, method="L-BFGS-B", options={"maxiter": 40}).x for f in (estimated, dense))
    np.testing.assert_allclose(learned, wanted, atol=0.05)  # of logarithms
    np.testing.assert_allclose(np.exp(wanted), [0.15, 0.05], rtol=0.2)
