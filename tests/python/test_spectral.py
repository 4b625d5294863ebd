"""Log-determinants, traces and eigenpairs against dense matrices."""
import numpy as np
import pytest

import bb

GAUSS = "sum_j(exp(-sqdist(x, y) / s) * b)"


def points(n, d=2, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).uniform(0, 1, (n, d)).astype(dtype)


def dense_of(x, s):
    x = x.astype(np.float64)
    return np.exp(-((x[..., :, None, :] - x[..., None, :, :]) ** 2).sum(-1) / s)


def system(n, s=0.1, dtype=np.float64, formula=GAUSS, target="interp", seed=0):
    """(Matrix, its dense twin)"""
    x = points(n, seed=seed, dtype=dtype)
    kernel = bb.parse(formula, "x:i2", "y:j2", "s:p1", "b:j1").compile(target=target)
    return bb.kernel_matrix(kernel, (x, x, np.array([s], dtype), np.zeros((n, 1), dtype)), 3), dense_of(x, s)


def logdet(matrix, **options):
    return bb.trace(matrix, logdet=True, **options)


# ---- log-determinants -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [0, 1, 2, 3, 17, 64, 65, 200])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dense_logdet(n, dtype):
    matrix, k = system(n, dtype=dtype)
    value, error, result = logdet(matrix, alpha=0.1)
    wanted = np.linalg.slogdet(k + 0.1 * np.eye(n))[1]
    assert abs(value - wanted) <= error + 1e-12 * n and error <= (1e-12 if dtype == np.float64 else 1e-4) and result.exact


@pytest.mark.parametrize("precondition", ["auto", "none", "nystrom", "rpcholesky"])
@pytest.mark.parametrize("s,alpha", [(0.1, 1e-2), (0.001, 1e-2), (0.1, 1e-5), (1e3, 1.0), (1e-7, 0.0)])
def test_the_stated_error_holds(precondition, s, alpha):
    matrix, k = system(300, s, target="cpu")
    wanted = np.linalg.slogdet(k + alpha * np.eye(300))[1]
    misses = 0
    for seed in range(4 if precondition == "none" else 12):
        probes = 64 if precondition == "none" else 16  # one large eigenvalue: a sample that is far from normal
        value, error, result = logdet(matrix, alpha=alpha, dense_rows=-1, precondition=precondition, seed=seed,
                                      probes=probes)
        assert not result.exact and result.probes == probes and np.isfinite(error)
        misses += abs(value - wanted) > error + 1e-8 * (300 + abs(wanted))
        assert abs(value - wanted) <= 3 * error + 1e-8 * (300 + abs(wanted))
    assert misses <= 2


def test_the_stated_error_holds_at_3000_points():
    matrix, k = system(3000, 0.02, target="cpu")
    for alpha in (1e-1, 1e-3):
        wanted = np.linalg.slogdet(k + alpha * np.eye(3000))[1]
        misses = 0
        for seed in range(6):
            value, error, result = logdet(matrix, alpha=alpha, seed=seed)
            misses += abs(value - wanted) > error
            assert abs(value - wanted) <= 3 * error < 0.03 * abs(wanted)
            assert result.precondition == 2 and not result.exact and result.products < 100
        assert misses <= 1  # of a hundred, five


def test_float32_states_an_error_that_holds():
    matrix, k = system(900, 0.1, np.float32)
    for alpha in (1e-1, 1e-3):
        wanted = np.linalg.slogdet(k + alpha * np.eye(900))[1]
        value, error, _ = logdet(matrix, alpha=alpha)
        assert abs(value - wanted) <= error


def test_a_preconditioner_makes_the_error_small():
    matrix, _ = system(400, 0.1)
    plain = logdet(matrix, alpha=1e-2, dense_rows=-1, precondition="none")
    good = logdet(matrix, alpha=1e-2, dense_rows=-1)
    assert good[1] < 0.1 * plain[1] and good[2].steps < plain[2].steps


def test_a_tolerance_adds_probes():
    matrix, k = system(300, 0.01)
    wanted = np.linalg.slogdet(k + 0.1 * np.eye(300))[1]
    _, loose, few = logdet(matrix, alpha=0.1, dense_rows=-1, precondition="none", probes=4)
    value, error, result = logdet(matrix, alpha=0.1, dense_rows=-1, precondition="none", probes=4, tolerance=loose / 4)
    assert error <= loose / 4 and few.probes == 4 < result.probes and abs(value - wanted) <= 2 * error
    with pytest.raises(bb.Error, match="allow more probes") as caught:
        logdet(matrix, alpha=0.1, dense_rows=-1, precondition="none", probes=4, max_probes=8, tolerance=1e-6)
    assert caught.value.status == "NO_CONVERGENCE" and abs(caught.value.values - wanted) <= 3 * caught.value.errors


def test_batches_of_logdets():
    x, s = np.stack([points(60, seed=k) for k in range(6)]).reshape(2, 3, 60, 2), np.array([.05, .1]).reshape(2, 1, 1)
    kernel = bb.parse(GAUSS, "x:i2", "y:j2", "s:p1", "b:j1").compile(target="interp")
    matrix = bb.kernel_matrix(kernel, (x, x, s, np.zeros((2, 3, 60, 1))), 3)
    wanted = np.linalg.slogdet(dense_of(x, s[..., None]) + 0.1 * np.eye(60))[1]
    np.testing.assert_allclose(logdet(matrix, alpha=0.1)[0], wanted, atol=1e-8)
    for precondition in ("none", "auto"):
        value, error, _ = logdet(matrix, alpha=0.1, dense_rows=-1, precondition=precondition, seed=3)
        assert (abs(value - wanted) <= 1.5 * error + 1e-7).all()


def test_matrices_as_values_are_one_matrix():
    n, x = 30, points(30)
    u = x[:, None] - x[None]
    g = np.exp(-(u ** 2).sum(-1))
    dense = (2 * g[..., None, None] * (np.eye(2) - 2 * u[..., :, None] * u[..., None, :])).transpose(0, 2, 1, 3)
    wanted = np.linalg.slogdet(dense.reshape(2 * n, 2 * n) + 0.1 * np.eye(2 * n))[1]
    kernel = bb.parse("sum_j(2 * exp(-sqdist(x, y)) * (b - 2 * (x - y | b) * (x - y)))", "x:i2", "y:j2", "b:j2")
    matrix = bb.kernel_matrix(kernel.compile(target="interp"), (x, x, np.zeros((n, 2))), 2)
    assert abs(logdet(matrix, alpha=0.1)[0] - wanted) < 1e-8
    value, error, result = logdet(matrix, alpha=0.1, dense_rows=-1)
    assert abs(value - wanted) <= error + 1e-7 and result.precondition == 2


def test_what_is_not_positive_is_refused():
    for s in ("-exp(-sqdist(x, y) / s)", "norm2(x - y)", "cos(9 * (x | y))"):
        for dense_rows in (0, -1):
            for precondition in ("auto", "none"):
                matrix, _ = system(100, formula=f"sum_j({s} * b)")
                with pytest.raises(bb.Error) as caught:
                    logdet(matrix, alpha=1e-3, dense_rows=dense_rows, precondition=precondition)
                assert caught.value.status == "INDEFINITE" and "raise alpha" in str(caught.value)
    matrix, _ = system(100, formula="sum_j(exp(-sqdist(x, y) / s) * (2 + sin(9 * elem(y, 0) * elem(x, 1))) * b)")
    with pytest.raises(bb.Error, match="not symmetric"):
        logdet(matrix, alpha=1.0)
    x = points(100)
    x[3] = np.nan
    kernel = bb.parse(GAUSS, "x:i2", "y:j2", "s:p1", "b:j1").compile(target="interp")
    matrix = bb.kernel_matrix(kernel, (x, x, np.array([0.1]), np.zeros((100, 1))), 3)
    for dense_rows in (0, -1):
        with pytest.raises(bb.Error) as caught:
            logdet(matrix, alpha=1.0, dense_rows=dense_rows)
        assert caught.value.status == "NO_CONVERGENCE"


@pytest.mark.parametrize("precondition", ["auto", "none"])
@pytest.mark.parametrize("dense_rows", [0, -1])
def test_the_vectors_of_the_gradient(precondition, dense_rows):
    """d log det A = tr A^-1 dA; unit vectors give it exactly, probes within their error."""
    n, alpha, s = 80, 0.05, 0.1
    matrix, k = system(n, s)
    x = points(n)
    dk = k * ((x[:, None] - x[None]) ** 2).sum(-1) / s ** 2  # with respect to s
    wanted = np.trace(np.linalg.solve(k + alpha * np.eye(n), dk))
    _, _, exact = logdet(matrix, alpha=alpha, dense_rows=dense_rows, precondition=precondition, probes=n + 5, vectors=True)
    found = np.einsum("ik,ij,jk->", exact.left, dk, exact.right) / (n + 5)
    np.testing.assert_allclose(found, wanted, rtol=1e-4)
    estimates = []
    for seed in range(20):
        _, _, r = logdet(matrix, alpha=alpha, dense_rows=dense_rows, precondition=precondition, probes=16, vectors=True,
                         seed=seed)
        estimates.append(np.einsum("ik,ij,jk->", r.left, dk, r.right) / 16)
    assert abs(np.mean(estimates) - wanted) <= 4 * np.std(estimates) / np.sqrt(20) + 1e-3 * abs(wanted)


def test_the_same_seed_gives_the_same_bits():
    matrix, _ = system(200)
    one, two, other = (logdet(matrix, alpha=0.1, dense_rows=-1, seed=s)[0] for s in (1, 1, 2))
    assert one == two != other


def test_reports_cancel():
    matrix, _ = system(200, 0.001)
    with pytest.raises(bb.Error) as caught:
        logdet(matrix, alpha=1e-3, dense_rows=-1, precondition="none", report=lambda k, v: k > 3)
    assert caught.value.status == "CANCELLED"
    with pytest.raises(bb.Error) as caught:
        bb.eigen(system(400)[0], 5, report=lambda k, v: True)
    assert caught.value.status == "CANCELLED"


# ---- traces -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [0, 1, 50, 350])
def test_traces_of_functions(n):
    matrix, k = system(n, target="cpu")
    a = k + 0.5 * np.eye(n)
    value, error, result = bb.trace(matrix, alpha=0.5)
    assert result.exact and error == 0 and abs(value - np.trace(a)) < 1e-9
    for f in (np.log, np.sqrt, lambda x: 1 / x, np.exp):
        wanted = f(np.linalg.eigvalsh(a)).sum()
        value, error, result = bb.trace(matrix, function=lambda x, f=f: float(f(x)), alpha=0.5, seed=1)
        assert abs(value - wanted) <= 1.5 * error + 1e-9 * (1 + abs(wanted)) and result.exact == (n <= 300)


# ---- eigenpairs -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("n", [1, 2, 5, 17, 100, 301, 700])
@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("formula", ["exp(-sqdist(x, y) / s)", "-norm2(x - y)"])
def test_eigenpairs(n, which, formula):
    n = min(n, 20) if which == 1 else n  # the smallest lie close together
    matrix, dense = system(n, formula=f"sum_j({formula} * b)", target="cpu")
    if "norm2" in formula:
        dense = -np.sqrt(np.maximum(-0.1 * np.log(dense), 0))
    everything = np.linalg.eigvalsh(dense)
    scale = abs(everything).max()
    for count in {1, min(5, n), min(12, n)}:
        for block in (0, 3):
            values, vectors, result = bb.eigen(matrix, count, which, block=block, tolerance=1e-9)
            key = {0: -everything, 1: everything, 2: -abs(everything)}[which]
            found = {0: -values, 1: values, 2: -abs(values)}[which]
            np.testing.assert_allclose(np.sort(found), np.sort(key)[:count], atol=1e-8 * scale)
            assert (np.diff(values) >= 0).all() and result.residual <= 2e-9
            np.testing.assert_allclose(vectors.T @ vectors, np.eye(count), atol=1e-8)
            assert np.linalg.norm(dense @ vectors - vectors * values, axis=0).max() <= 3e-9 * scale + 1e-12


def test_eigenpairs_of_a_matrix_of_low_rank():
    """Blocks run out of directions."""
    x = points(400)
    kernel = bb.parse("sum_j((x | y) * b)", "x:i2", "y:j2", "b:j1").compile(target="interp")
    matrix = bb.kernel_matrix(kernel, (x, x, np.zeros((400, 1))), 2)
    values, vectors, _ = bb.eigen(matrix, 6)
    wanted = np.linalg.eigvalsh(x @ x.T)[-6:]
    np.testing.assert_allclose(values, wanted, atol=1e-8 * wanted[-1])
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(6), atol=1e-8)


def test_eigenpairs_in_float32_and_refusals():
    matrix, k = system(500, dtype=np.float32)
    values, _, _ = bb.eigen(matrix, 4)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(k)[-4:], rtol=1e-5)
    with pytest.raises(bb.Error, match="allow more products"):
        bb.eigen(system(600, 1e-4)[0], 4, max_products=3)
    with pytest.raises(bb.Error, match="of a matrix of 500 rows"):
        bb.eigen(matrix, 501)
    with pytest.raises(bb.Error, match="at least 0"):
        bb.eigen(matrix, 3, which=3)


# ---- matrices that are not kernels ------------------------------------------------------------------------------------
@pytest.mark.parametrize("entries", [True, False])
def test_callbacks(entries):
    k = dense_of(points(400), 0.05)
    matrix = bb.callback_matrix(k, entries)
    b = np.random.default_rng(0).standard_normal((400, 3))
    for precondition in ("auto", "none", "rpcholesky", "nystrom", "blocks"):
        found, result = bb.solve_matrix(matrix, b, alpha=1e-2, tolerance=1e-9, precondition=precondition)
        np.testing.assert_allclose((k + 1e-2 * np.eye(400)) @ found, b, atol=1e-6)
        assert entries or (result.precondition == 1 and (precondition == "none" or b"products alone" in result.remark))
    found, _ = bb.solve_matrix(matrix, b.astype(np.float32), alpha=1.0, tolerance=1e-5, method="minres")
    np.testing.assert_allclose((k + np.eye(400)) @ found, b, atol=1e-3)
    wanted = np.linalg.slogdet(k + 0.1 * np.eye(400))[1]
    value, error, _ = logdet(matrix, alpha=0.1)
    assert abs(value - wanted) <= error + 1e-8
    np.testing.assert_allclose(bb.eigen(matrix, 5)[0], np.linalg.eigvalsh(k)[-5:], rtol=1e-8)


def test_callbacks_stop_and_shapes_are_checked():
    k = np.eye(10)
    for f in (lambda m: bb.solve_matrix(m, np.ones((10, 1)), alpha=1.0), lambda m: logdet(m, dense_rows=-1),
              lambda m: bb.eigen(m, 2, block=1)):
        with pytest.raises(bb.Error) as caught:
            f(bb.callback_matrix(k, multiply=lambda *_: 1, entries=False))
        assert caught.value.status == "CANCELLED"
    with pytest.raises(bb.Error, match="must have the shape"):
        bb.solve_matrix(bb.callback_matrix(k), np.ones((9, 1)))
    with pytest.raises(bb.Error, match="rows, columns"):
        bb.solve_matrix(bb.callback_matrix(k), np.ones(10))
