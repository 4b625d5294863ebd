"""LazyTensors as arrays: what NumPy users write, beside the same on dense arrays."""
import copy
import pickle

import numpy as np
import pytest
import scipy.sparse.linalg as sla

import benben
from benben import operators
from benben._formula import OPERATIONS
from benben.numpy import LazyTensor, Vi, Vj

M, N, D = 7, 11, 3
R = np.random.default_rng(0)
X, Y, RHS = R.uniform(0.3, 0.9, (M, D)), R.uniform(0.3, 0.9, (N, D)), R.normal(size=(N, 4))
x, y = Vi(X), Vj(Y)
K, k = (x * y).sum(-1), X @ Y.T
F, f = x * y, X[:, None] * Y[None]
XB, YB = R.uniform(0.3, 0.9, (2, 5, M, D)), R.uniform(0.3, 0.9, (5, N, D))
KB, kb = (Vi(XB) * Vj(YB)).sum(-1), XB @ YB.swapaxes(-1, -2)
G, g = (-Vi(X).sqdist(Vj(X))).exp(), np.exp(-((X[:, None] - X) ** 2).sum(-1))
ROWS = R.random(M) > 0.4


def same(found, expected):
    if isinstance(found, (LazyTensor, operators.Operator)):
        found = found.dense()
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected.astype(float), rtol=1e-9, atol=1e-10)


KEYS = [np.s_[5:8, :], np.s_[2, 3], np.s_[-1, :], np.s_[ROWS, :], np.s_[:, np.arange(N) > 3], np.s_[[1, 2], [3, 4]], np.ix_([1, 2], [3, 4, 5]),
        np.s_[::-1, ::2], np.s_[()], np.s_[[], :], np.s_[3:3, :], np.s_[2:4, 1], np.s_[..., 0]]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_keys(key):
    same(K[key], k if key and key[0] is Ellipsis else k[key])  # the feature axis has length 1


def test_keys_of_vectors_and_batches():
    for key in (np.s_[..., 0], np.s_[..., 1:], np.s_[..., ::2], np.s_[..., -1], np.s_[2, 3], np.s_[2, 3, 1], np.s_[:, :, 1], np.s_[1:3, 2, :]):
        same(F[key], f[key])
    same(F[2], f[..., 2])
    same(F[1:], f[..., 1:])
    same(x[..., 0], X[:, None, 0])
    same(K / (x[..., 0] * y[..., 0]), k / (X[:, :1] * Y[:, 0]))  # the hyperbolic metric's quotient
    for key in (np.s_[1, ...], np.s_[:, 2, ...], np.s_[np.array([True, False]), ...], np.s_[[1, 0, 1], ...]):
        same(KB[key], kb[key])
    same(KB[..., :3, :, :], kb[:, :, :3])
    same(KB[1, 2, 3, 4], kb[1, 2, 3, 4])
    for shape in ((10, M, N), (-1, M, N), (5, 2, M, N)):
        same(KB.reshape(*shape), kb.reshape(shape))


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "prod", "min", "max", "any", "all"])
def test_folds(name):
    boolean = name in ("any", "all")
    A, a, V, v, W, w = (K > 0.8, k > 0.8, F > 0.3, f > 0.3, KB > 0.8, kb > 0.8) if boolean else (K, k, F, f, KB, kb)
    for axis in (0, 1):
        same(getattr(A, name)(axis=axis)[:, 0], getattr(np, name)(a, axis=axis))
        same(getattr(np, name)(A, axis=axis)[:, 0], getattr(np, name)(a, axis=axis))
    for axis in (None, (0, 1), (1, 0)):
        same(getattr(A, name)(axis=axis), getattr(np, name)(a, axis=axis))
        same(getattr(V, name)(axis=axis), getattr(np, name)(v, axis=axis))
    same(getattr(np, name)(A), getattr(np, name)(a))
    for axis in ((1, 2), (0, 2)):
        same(getattr(V, name)(axis=axis), getattr(np, name)(v, axis=axis))
    same(getattr(V, name)(axis=-1), getattr(np, name)(v, axis=-1))
    if name != "prod" and not boolean:
        for axis in ((0, 2), (0, 1, 3), (1, 2, 3), None):
            found = getattr(W, name)(axis=axis)
            same(found[..., 0] if axis in ((0, 2), (0, 1, 3)) else found, getattr(np, name)(w, axis=axis))
    if name in ("sum", "mean", "min", "max"):  # over batches alone: a LazyTensor
        for axis in (0, 1, -4, (0, 1), (1,)):
            found, numpy_axis = getattr(W, name)(axis=axis), {-4: 1}.get(axis, axis)
            assert isinstance(found, LazyTensor)
            same(found, getattr(np, name)(w, axis=numpy_axis))
        with pytest.raises(ValueError, match="batch elements"):
            getattr(Vi(np.ones((100, 2, 1))) * y[0], name)(axis=0)


def test_degrees_of_freedom_norms_softmax():
    for axis in (0, 1):
        same(K.var(axis=axis, ddof=1)[:, 0], k.var(axis=axis, ddof=1))
        same(K.norm(axis=axis)[:, 0], np.linalg.norm(k, axis=axis))
        same(K.softmax(axis=axis), np.exp(k) / np.exp(k).sum(axis, keepdims=True))
        same(np.argmin(K, axis=axis)[:, 0], k.argmin(axis))
    same(K.std(axis=(0, 1), ddof=1), k.std(ddof=1))
    same(F.var(axis=(1, 2), ddof=2), f.var(axis=(1, 2), ddof=2))
    same(np.linalg.norm(K), np.linalg.norm(k))
    same(np.linalg.norm(F, axis=-1), np.linalg.norm(f, axis=-1))
    same(F.norm(), np.linalg.norm(f, axis=-1))


UNARY = ("exp exp2 expm1 log log2 log10 log1p sqrt cbrt square reciprocal sin cos tan arcsin arccos arctan sinh cosh tanh arcsinh arccosh arctanh "
         "floor ceil trunc rint sign fabs absolute negative positive isnan isinf isfinite deg2rad rad2deg radians degrees logical_not").split()
BINARY = ("add subtract multiply divide true_divide floor_divide remainder mod fmod power float_power arctan2 hypot maximum minimum fmax fmin less "
          "greater less_equal greater_equal equal not_equal logical_and logical_or logical_xor logaddexp heaviside").split()


@pytest.mark.parametrize("name", UNARY)
def test_unary_ufuncs(name):
    ufunc, scale, shift = getattr(np, name), 1 / 3 if name in ("arcsin", "arccos", "arctanh") else 1, 1 if name == "arccosh" else 0
    same(ufunc(K * scale + shift), ufunc(k * scale + shift))
    if name in ("arcsinh", "cbrt", "sign", "fabs", "floor", "arctan", "tanh"):
        same(ufunc(K - 1), ufunc(k - 1))


@pytest.mark.parametrize("name", BINARY)
def test_binary_ufuncs(name):
    ufunc, row, wide = getattr(np, name), X[:, None, :1], np.broadcast_to(X[:, :1], k.shape)
    same(ufunc(K, 2 * x[0]), ufunc(k, 2 * wide))
    same(ufunc(K, 1.5), ufunc(k, 1.5))
    same(ufunc(1.5, K), ufunc(1.5, k))
    same(ufunc(row, K), ufunc(wide, k))
    same(ufunc(K, row), ufunc(k, wide))


def test_exact_tails():
    z = Vi(np.array([[-np.inf], [np.inf], [1e-300], [-1e-9], [800.0]]))
    for ufunc in (np.arcsinh, np.arctanh):
        a = np.array([1e-12, -1e-9, 0.0, 0.999])
        np.testing.assert_allclose(ufunc(Vi(a[:, None])).dense()[:, 0], ufunc(a), rtol=1e-14)
    np.testing.assert_allclose(np.logaddexp(z, z).dense()[:, 0], np.logaddexp(*[[-np.inf, np.inf, 1e-300, -1e-9, 800.0]] * 2))
    np.testing.assert_allclose(np.arccosh(Vi(np.array([[1 + 1e-12]]))).dense()[0, 0], np.arccosh(1 + 1e-12), rtol=1e-14)


def test_operators_and_functions():
    for found, expected in [
            (2 ** K, 2 ** k), ((5 * K) // 2, (5 * k) // 2), ((5 * K) % 2, (5 * k) % 2), (3 // K, 3 // k), (7 % K, 7 % k), (K ** K, k ** k),
            (divmod(5 * K, 2)[0], divmod(5 * k, 2)[0]), (divmod(5, K)[1], divmod(5, k)[1]), (np.where(K > 0.9, K, 2 * K), np.where(k > 0.9, k, 2 * k)),
            ((K > 0.9).where(K, 0), np.where(k > 0.9, k, 0)), (np.where(K > 0.9, x[0], 1.0), np.where(k > 0.9, X[:, :1], 1.0)),
            (np.clip(K, 0.8, 1), np.clip(k, 0.8, 1)), (np.round(K, 1), np.round(k, 1)), (np.abs(-K), k), (np.transpose(K), k.T),
            (np.dot(K, RHS), k @ RHS), (K.dot(RHS), k @ RHS), (np.matmul(K, RHS), k @ RHS), (np.real(K), k), (np.isclose(K, K), np.ones_like(k)),
            (np.concatenate([F, F], -1), np.concatenate([f, f], -1)), (np.trace(G), np.trace(g)), (np.diagonal(G), np.diag(g)),
            (np.count_nonzero(K > 0.9), (k > 0.9).sum()), (F.cumsum(), f.cumsum(-1)), (np.asarray(K, np.float32), k.astype(np.float32))]:
        same(found, expected)
    assert np.shape(K) == K.shape == k.shape and np.size(K) == K.size == k.size and F.size == f.size
    for make in (lambda: K.dense(limit=70), lambda: np.asarray(Vi(np.ones((10**5, 1))) * Vj(np.ones((10**5, 1))))):
        with pytest.raises(ValueError, match="limit"):
            make()


def test_logic_and_its_mark():
    a, b, A, B = K > 0.9, K < 1.2, k > 0.9, k < 1.2
    for found, expected in [
            (a & b, A & B), (a | b, A | B), (a ^ b, A ^ B), (~a, ~A), (copy.copy(a) | copy.deepcopy(b), A | B), (pickle.loads(pickle.dumps(a)) | b, A | B),
            (a[1:4, :] | b[1:4, :], (A | B)[1:4]), (a.T | b.T, (A | B).T), ((F > 0.4)[0] | (F > 0.4)[1], (f > 0.4)[..., 0] | (f > 0.4)[..., 1]),
            ((F > 0.4)[..., 2] | a, (f > 0.4)[..., 2] | A), (a | np.zeros((1, N, 1), bool), A), (a | True, A | True), (a.reshape(1, M, N) | b, (A | B)[None]),
            ((a & b) | ~a, (A & B) | ~A), (a | a.isfinite(), A | True), (x | y, k), (F[..., 0] | a, f[..., 0] * A)]:
        same(found, expected)


def test_every_operation_of_the_table_has_a_method():
    exempt = ("complex", "grad", "diff_", "traceoperator", "adjointoperator", "sumlinoperator", "autofactorize")
    infix = {"neg", "dot", "tensordot", "kron", "inv0"}  # -x, (x | y), keops_tensordot, keops_kron
    missing = [name for name, row in OPERATIONS.items() if row["arity"] and not name.startswith(exempt) and name not in infix
               and not hasattr(LazyTensor, name)]
    assert not missing
    same(x[0].repeat(2), np.broadcast_to(X[:, None, :1], (M, 1, 2)))
    same(K.powf(2.5), k ** 2.5)
    same(x.pad(1, 5, 1).sum(-1), X.sum(-1)[:, None])
    same(x.sqnormdiag(y), (X[:, None] * Y ** 2).sum(-1))
    with pytest.raises(TypeError, match="operands"):
        K.powf()
    assert "real" in LazyTensor.powf.__doc__


def test_linear_operators():
    A = operators.as_operator
    v, both = R.normal(size=(M, 2)), np.block([[g, k], [k.T, np.zeros((N, N))]])
    for found, expected in [
            (K @ RHS, k @ RHS), (K @ RHS[:, 0], k @ RHS[:, 0]), (RHS.T @ K.T, RHS.T @ k.T), (K @ np.stack([RHS, 2 * RHS]), k @ np.stack([RHS, 2 * RHS])),
            ((K @ K.T) @ v, k @ k.T @ v), ((A(K) + A(K)) @ RHS, 2 * k @ RHS), ((K @ K.T - 2 * operators.identity(M)) @ v, (k @ k.T - 2 * np.eye(M)) @ v),
            (operators.block([[G, K], [K.T, None]]) @ np.concatenate([v, RHS[:, :2]]), both @ np.concatenate([v, RHS[:, :2]])),
            (operators.diagonal(np.arange(M) * 1.0) @ v, np.arange(M)[:, None] * v)]:
        same(found, expected)


def test_scipy():
    b, H, h = X[:, 0], operators.as_operator(G) + operators.identity(M), g + np.eye(M)
    same(sla.aslinearoperator(K) @ RHS[:, 0], k @ RHS[:, 0])
    same(np.sort(sla.eigsh(G, 3)[0]), np.linalg.eigvalsh(g)[-3:])
    same(np.sort(sla.svds(K, 2)[1]), np.sort(np.linalg.svd(k)[1][:2]))
    for solver in (sla.cg, sla.minres, sla.gmres):
        same(solver(H, b, rtol=1e-12)[0], np.linalg.solve(h, b))
    same(G @ sla.cg(G, g @ b, rtol=1e-13)[0], g @ b)
    points = R.random((40, 2))
    L = (-Vi(points).sqdist(Vj(points))).exp()
    found = np.sort(sla.lobpcg(L, R.random((40, 3)), largest=True, tol=1e-10, maxiter=200)[0])
    np.testing.assert_allclose(found, np.linalg.eigvalsh(L.dense())[-3:], rtol=1e-8)


@pytest.mark.parametrize("a, b, result", [
    ("float16", "float16", "float16"), ("float16", "float32", "float32"), ("float32", "float64", "float64"), ("int8", "int8", "float32"),
    ("uint16", "float32", "float32"), ("int32", "float32", "float64"), ("int64", "int64", "float64"), ("bool", "float32", "float32"),
    ("bool", "bool", "float32"), ("int8", "float64", "float64")])
def test_mixed_types(a, b, result):
    p, q = [(R.random((n, 2)) * 3).astype(t) for n, t in ((M, a), (N, b))]
    found = (Vi(p) * Vj(q)).sum(-1).sum(axis=1)
    assert found.dtype == result
    np.testing.assert_allclose(found[:, 0], (p.astype(float) @ q.astype(float).T).sum(1), rtol=2e-3 if result == "float16" else 1e-6)


@pytest.mark.parametrize("m, n", [(0, N), (M, 0), (0, 0)])
def test_nothing(m, n):
    L, dense = (Vi(X[:m]) * Vj(Y[:n])).sum(-1), X[:m] @ Y[:n].T
    for name in ("sum", "prod", "any", "all"):
        for axis in (0, 1):
            same(getattr(L, name)(axis=axis)[:, 0], getattr(np, name)(dense, axis=axis))
        same(getattr(L, name)(axis=None), getattr(np, name)(dense))
    same(L @ RHS[:n], dense @ RHS[:n])
    same(L, dense)
    same(L.min(axis=1)[:, 0], dense.min(axis=1, initial=np.inf))
    assert np.isnan(L.mean(axis=1)).all() or n
    assert L.argKmin(2, axis=1).shape == (m, 2) and benben.show(L).startswith("LazyTensor")
