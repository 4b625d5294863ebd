"""Operators made of LazyTensors against dense matrices, alone and inside SciPy."""
import numpy as np
import pytest
from scipy.sparse import linalg, random_array

from benben import operators
from benben.numpy import LazyTensor, Vi, Vj

r = np.random.default_rng(5)
X, Y = r.normal(size=(13, 2)), r.normal(size=(9, 2))
K = (-((Vi(X) - Vj(Y)) ** 2).sum(-1)).exp()
S = (-((Vi(X) - Vj(X)) ** 2).sum(-1)).exp()
DK, DS = np.asarray(K), np.asarray(S)
Z = LazyTensor((X + 1j * X[::-1])[:, None]).sum(-1) * Vj(Y).sum(-1)
DZ = np.asarray(Z)
A = r.normal(size=(9, 13))


@pytest.mark.parametrize("operator, dense", [
    (K @ K.T, DK @ DK.T), (K.T @ K, DK.T @ DK), (K @ K.T + S, DK @ DK.T + DS), (S @ S @ S, DS @ DS @ DS),
    (2.5 * (K @ K.T) - S / 1, 2.5 * DK @ DK.T - DS), (-(K.T @ K), -DK.T @ DK), (S @ operators.identity(13), DS),
    (operators.as_operator(A) @ K, A @ DK), (operators.as_operator(K) + A.T, DK + A.T),
    (operators.block([[S, K], [K.T, None]]), np.block([[DS, DK], [DK.T, np.zeros((9, 9))]])),
    (operators.block([[K, K @ K.T]]), np.hstack([DK, DK @ DK.T])), (operators.diagonal(X[:, 0]) @ K, X[:, :1] * DK),
    (Z @ Z.T, DZ @ DZ.T), (Z.H @ Z * 1j, 1j * DZ.conj().T @ DZ), ((K @ K.T) / 2, DK @ DK.T / 2),
    (S - (K @ K.T), DS - DK @ DK.T)])
def test_operators(operator, dense):
    assert operator.shape == dense.shape
    v, w = r.normal(size=dense.shape[1]), r.normal(size=(dense.shape[1], 3))
    u = r.normal(size=dense.shape[0])
    np.testing.assert_allclose(operator @ v, dense @ v, atol=1e-12)
    np.testing.assert_allclose(operator @ w, dense @ w, atol=1e-12)
    np.testing.assert_allclose(operator.T @ u, dense.T @ u, atol=1e-12)
    np.testing.assert_allclose(operator.H @ u, dense.conj().T @ u, atol=1e-12)
    np.testing.assert_allclose(u @ operator, u @ dense, atol=1e-12)
    np.testing.assert_allclose(np.asarray(operator), dense, atol=1e-12)
    np.testing.assert_allclose(linalg.aslinearoperator(operator).rmatvec(u), dense.conj().T @ u, atol=1e-12)
    assert str(operator)


def test_shapes_are_checked():
    for bad in [lambda: K @ S, lambda: operators.add(K, S), lambda: (K @ K.T) @ np.ones(3), lambda: operators.block([[K], [S]]),
                lambda: operators.block([[K, K], [K]]), lambda: operators.as_operator(Vi(X) * Vj(Y))]:
        with pytest.raises(ValueError):
            bad()
    with pytest.raises(TypeError):
        (K @ K.T) * S


def test_scipy_works_on_lazytensors():
    wide, _ = np.linalg.eigh(DS)
    np.testing.assert_allclose(linalg.eigsh(linalg.aslinearoperator(S), k=3)[0], wide[-3:], rtol=1e-8)
    np.testing.assert_allclose(linalg.eigsh(S, k=3)[0], wide[-3:], rtol=1e-8)
    np.testing.assert_allclose(np.sort(linalg.svds(K, k=2)[1]), np.sort(np.linalg.svd(DK)[1])[-2:], rtol=1e-8)
    b = r.normal(size=13)
    ridge = S + operators.identity(13)
    for solver in (linalg.cg, linalg.minres):
        a, info = solver(ridge, b, rtol=1e-10)
        assert info == 0
        np.testing.assert_allclose((DS + np.eye(13)) @ a, b, atol=1e-7)
    a, info = linalg.cg(S + 0 * (S @ S), DS @ b, rtol=1e-12, maxiter=500)
    np.testing.assert_allclose(DS @ a, DS @ b, atol=1e-6)
    found = linalg.lobpcg(S, r.normal(size=(13, 2)), tol=1e-8, maxiter=200)[0]
    np.testing.assert_allclose(np.sort(found), wide[-2:], rtol=1e-4)
    sparse = random_array((9, 13), density=0.3, rng=1)
    np.testing.assert_allclose((operators.as_operator(sparse) @ K) @ np.ones(9), sparse @ (DK @ np.ones(9)))
