"""LazyTensors against dense float64: every operation, every reduction, shapes, options and errors."""
import gc
import math

import numpy as np
import pytest
from scipy import special

import benben
from benben.numpy import ComplexLazyTensor, LazyTensor, Pm, Var, Vi, Vj

M, N, D = 7, 11, 3
r = np.random.default_rng(1)
X, Y, P = r.uniform(0.3, 0.9, (M, D)), r.uniform(0.3, 0.9, (N, D)), r.uniform(0.5, 2, D)
X_I, Y_J, P_P = X[:, None, :], Y[None, :, :], P[None, None, :]
B = r.normal(size=(N, 2))


def lazy(x=X, y=Y):
    return LazyTensor(x[:, None, :]), LazyTensor(y[None, :, :])


def close(found, expected, **keywords):
    expected = np.asarray(expected, float if not np.iscomplexobj(expected) else complex)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, **{"rtol": 1e-11, "atol": 1e-12, **keywords})


def same(lt, dense):
    """The LazyTensor has the entries of the dense array (M, N, D): as values, and through reductions either way."""
    full = np.broadcast_to(np.asarray(dense, float), (M, N, np.shape(dense)[-1]))
    assert lt._shape == full.shape
    close(np.asarray(lt), full[..., 0] if full.shape[-1] == 1 else full)
    close(lt.sum_reduction(axis=1), full.sum(1), atol=1e-11)
    close(lt.sum_reduction(dim=0), full.sum(0), atol=1e-11)


UNARY = {
    "exp": np.exp, "log": np.log, "xlogx": lambda a: a * np.log(a), "sin": np.sin, "cos": np.cos, "asin": np.arcsin,
    "acos": np.arccos, "atan": np.arctan, "sqrt": np.sqrt, "rsqrt": lambda a: a ** -0.5, "square": np.square, "sign": np.sign,
    "abs": np.abs, "step": lambda a: (a >= 0) * 1.0, "relu": lambda a: np.maximum(a, 0), "sinxdivx": lambda a: np.sin(a) / a,
    "sinc": np.sinc, "tanh": np.tanh, "sinh": np.sinh, "cosh": np.cosh, "tan": np.tan, "expm1": np.expm1, "log1p": np.log1p,
    "log2": np.log2, "log10": np.log10, "exp2": np.exp2, "erf": special.erf, "erfc": special.erfc, "floor": np.floor,
    "ceil": np.ceil, "trunc": np.trunc, "rint": np.rint, "round": np.round, "sigmoid": special.expit, "inv": lambda a: 1 / a,
    "softplus": lambda a: np.log1p(np.exp(a)), "isnan": np.isnan, "isfinite": np.isfinite, "logical_not": np.logical_not}


@pytest.mark.parametrize("name", sorted(UNARY))
def test_unary_methods(name):
    x, y = lazy()
    same(getattr(x * y, name)(), UNARY[name](X_I * Y_J))


@pytest.mark.parametrize("ufunc", [np.exp, np.sqrt, np.negative, np.abs, np.arctan, np.log1p, np.reciprocal, np.square, np.floor,
                                   np.sign, np.isnan, np.conjugate, np.tanh])
def test_ufuncs_of_one_operand(ufunc):
    x, y = lazy()
    same(ufunc(x * y), ufunc(X_I * Y_J))
    if ufunc not in (np.sqrt, np.log1p):
        same(ufunc(x - 2 * y), ufunc(X_I - 2 * Y_J))


BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a ** b,
          lambda a, b: a // b, lambda a, b: a % b, lambda a, b: a < b, lambda a, b: a <= b, lambda a, b: a > b,
          lambda a, b: a >= b, lambda a, b: a == b, lambda a, b: a != b, lambda a, b: np.maximum(a, b),
          lambda a, b: np.minimum(a, b), lambda a, b: np.hypot(a, b), lambda a, b: np.arctan2(a, b),
          lambda a, b: np.logical_and(a > b, a > 0.5), lambda a, b: (a < 0.4) | (b > 0.7), lambda a, b: (a < 0.7) & (b > 0.5),
          lambda a, b: (a < 0.7) ^ (b > 0.5), lambda a, b: ~(a < b)]


@pytest.mark.parametrize("f", BINARY)
@pytest.mark.parametrize("other", ["y", "number", "integer", "parameter", "scalar", "list"])
def test_operators(f, other):
    x, y = lazy()
    b, dense = {"y": (y, Y_J), "number": (0.6, 0.6), "integer": (2, 2), "parameter": (P, P_P),
                "scalar": (np.float64(0.6), 0.6), "list": (P.tolist(), P_P)}[other]
    expected = np.broadcast_to(f(X_I, dense), (M, 1 if other != "y" else N, D))
    found = f(x, b) if other != "list" else f(x, LazyTensor(b))
    close(found.sum(1), np.asarray(expected, float).sum(1))
    expected = np.broadcast_to(f(dense, X_I), (M, 1 if other != "y" else N, D))
    found = f(b, x) if other != "list" else f(LazyTensor(b), x)
    close(found.sum(1), np.asarray(expected, float).sum(1))


def test_trivial_operands():
    x, _ = lazy()
    for same_object in (x + 0, 0 + x, x - 0, x * 1, 1 * x, x / 1, +x):
        assert same_object is x
    assert (x * 0).shape == x.shape
    close((x * -1).sum(1), -X)
    close((0 - x).sum(1), -X)
    close((1 / x).sum(1), 1 / X)


@pytest.mark.parametrize("e", [0, 1, 2, 3, -1, -2, 0.5, -0.5, 1.7, -2.5])
def test_powers(e):
    x, y = lazy()
    same((x + y) ** e, (X_I + Y_J) ** e)
    same((x + y).power(e), (X_I + Y_J) ** e)


def test_named_operations():
    x, y = lazy()
    difference = X_I - Y_J
    for lt, dense in [
            (x | y, (X_I * Y_J).sum(-1, keepdims=True)), ((x - y).sqnorm2(), (difference ** 2).sum(-1, keepdims=True)),
            ((x - y).norm2(), np.linalg.norm(difference, axis=-1, keepdims=True)), ((x - y).norm(-1), (x - y).norm2().dense()[..., None]),
            ((x - y).norm(dim=2), (x - y).norm2().dense()[..., None]),
            ((x - y).normalize(), difference / np.linalg.norm(difference, axis=-1, keepdims=True)),
            (x.sqdist(y), (difference ** 2).sum(-1, keepdims=True)),
            ((x - y).weightedsqnorm(P), (P * difference ** 2).sum(-1, keepdims=True)),
            ((x - y).weightedsqnorm(2.5), 2.5 * (difference ** 2).sum(-1, keepdims=True)),
            (x.weightedsqdist(y, Pm(P)), (P * difference ** 2).sum(-1, keepdims=True)),
            ((x + y).mod(0.4, 0.1), X_I + Y_J - 0.4 * np.floor((X_I + Y_J - 0.1) / 0.4)),
            ((x + y).clamp(1, 2), np.clip(X_I + Y_J, 1, 2)), ((x + y).clamp(0.9, 1.1), np.clip(X_I + Y_J, 0.9, 1.1)),
            ((x + y).clamp(0.9, x * 2), np.where(X_I + Y_J < 0.9, 0.9, np.minimum(X_I + Y_J, 2 * X_I))),
            (np.clip(x + y, 0.9, None), np.maximum(X_I + Y_J, 0.9)),
            ((x - y).ifelse(x, 2 * y), np.where(difference >= 0, X_I, 2 * Y_J + 0 * X_I)),
            ((x < y).where(x, 0.5), np.where(X_I < Y_J, X_I, 0.5)), (np.where(x < y, x, y), np.minimum(X_I, Y_J)),
            ((x * y).round(2), np.round(X_I * Y_J, 2)), (x.atan2(y), np.arctan2(X_I, Y_J)),
            (x.concat(y), np.concatenate([X_I + 0 * Y_J, Y_J + 0 * X_I], -1)),
            (LazyTensor.concatenate((x, y, x)), np.concatenate([X_I + 0 * Y_J, Y_J + 0 * X_I, X_I + 0 * Y_J], -1)),
            (LazyTensor.cat((x, y), dim=2), np.concatenate([X_I + 0 * Y_J, Y_J + 0 * X_I], -1)),
            (np.concatenate((x, y), axis=-1), np.concatenate([X_I + 0 * Y_J, Y_J + 0 * X_I], -1)),
            (x.tensorprod(y), (X_I[..., :, None] * Y_J[..., None, :]).reshape(M, N, 9)),
            (x.difference_matrix(y), (X_I[..., :, None] - Y_J[..., None, :]).reshape(M, N, 9)),
            (x.tensorprod(y).matvecmult(x), np.einsum("ijab,ijb->ija", X_I[..., :, None] * Y_J[..., None, :], X_I + 0 * Y_J)),
            (x.vecmatmult(x.tensorprod(y)), np.einsum("ija,ijab->ijb", X_I + 0 * Y_J, X_I[..., :, None] * Y_J[..., None, :])),
            (x.keops_kron(y, [3], [3]), np.einsum("ia,jb->ijab", X, Y).reshape(M, N, 9)),
            (x.concat(y).keops_tensordot(y.concat(x), [2, 3], [2, 3], [1], [1]),
             np.einsum("ijab,ijcb->ijac", np.stack([X_I + 0 * Y_J, Y_J + 0 * X_I], 2),
                       np.stack([Y_J + 0 * X_I, X_I + 0 * Y_J], 2)).reshape(M, N, 4)),
            (((x * 3) | (y * 0 + 1)).one_hot(8), np.eye(8)[np.rint((X_I * 3 + 0 * Y_J).sum(-1)).astype(int)]),
            (np.isclose(x, y, atol=0.1), np.isclose(X_I, Y_J, atol=0.1)),
            ((x - y)[1], difference[..., 1:2]), ((x - y)[1:], difference[..., 1:]), ((x - y)[:2], difference[..., :2]),
            ((x - y)[:, :, 2], difference[..., 2:]), ((x - y)[..., -1], difference[..., 2:]),
            ((x - y)[..., ::2], difference[..., ::2]), ((x - y).elem(0), difference[..., :1]),
            ((x - y).extract(1, 2), difference[..., 1:]), ((x - y).sum(-1), difference.sum(-1, keepdims=True)),
            ((x - y).sum(dim=2), difference.sum(-1, keepdims=True)), ((x - y).min(), difference.min(-1, keepdims=True)),
            ((x - y).max(axis=-1), difference.max(-1, keepdims=True)), ((x - y).argmax(), difference.argmax(-1)[..., None]),
            ((x - y).argmin(), difference.argmin(-1)[..., None]), ((x - y).mean(), difference.mean(-1, keepdims=True)),
            ((x - y).var(), difference.var(-1, keepdims=True)), ((x - y).std(), difference.std(-1, keepdims=True)),
            ((x - y).prod(), difference.prod(-1, keepdims=True)), ((x < y).any(), (X_I < Y_J).any(-1, keepdims=True)),
            ((x < y).all(), (X_I < Y_J).all(-1, keepdims=True)), ((x - y).softmax(), special.softmax(difference, -1)),
            ((x - y).log_softmax(), special.log_softmax(difference, -1)),
            ((x < y).count_nonzero(), (X_I < Y_J).sum(-1, keepdims=True))]:
        same(lt, dense)


def test_bspline_and_softdtw():
    knots = np.linspace(0, 1, 8)
    t = LazyTensor(X[:, :1][:, None])
    b = [(knots[k] <= X[:, 0]) & (X[:, 0] < knots[k + 1]) for k in range(7)]
    for d in range(1, 4):  # Cox and de Boor
        b = [(X[:, 0] - knots[k]) / (knots[k + d] - knots[k]) * b[k]
             + (knots[k + d + 1] - X[:, 0]) / (knots[k + d + 1] - knots[k + 1]) * b[k + 1] for k in range(7 - d)]
    expected = np.stack(b, -1)
    close(Pm(knots).bspline(t, 3).sum(1), expected)
    x, y = lazy()
    assert x.softdtw_sqdist(y, 0.5).sum(1).shape == (M, 1)


def test_derivatives_for_each_pair():
    x, y = Vi(X), Vj(Y)
    e = Vi(np.ones((M, 1)))
    K = (-((x - y) ** 2).sum(-1)).exp()
    dense = np.exp(-((X_I - Y_J) ** 2).sum(-1, keepdims=True))
    same(K.grad(x, e), -2 * (X_I - Y_J) * dense)
    same(K.grad(y, 1), 2 * (X_I - Y_J) * dense)
    same(K.diff(x, x), -2 * ((X_I - Y_J) * X_I).sum(-1, keepdims=True) * dense)
    same((x * y).divergence(x), (Y_J + 0 * X_I).sum(-1, keepdims=True))
    same(((x - y) ** 2).sum(-1).laplacian(x), np.full((M, N, 1), 6.0))
    assert (x * y).grad_matrix(x).ndim == 9
    with pytest.raises(ValueError, match="variable"):
        K.grad(x + 1, 1)


REDUCTIONS = {
    "sum": lambda a, axis: a.sum(axis), "min": lambda a, axis: a.min(axis), "max": lambda a, axis: a.max(axis),
    "argmin": lambda a, axis: a.argmin(axis), "argmax": lambda a, axis: a.argmax(axis), "mean": lambda a, axis: a.mean(axis),
    "var": lambda a, axis: a.var(axis), "std": lambda a, axis: a.std(axis), "prod": lambda a, axis: a.prod(axis)}


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
@pytest.mark.parametrize("axis", [0, 1])
def test_reductions(name, axis):
    x, y = lazy()
    a = X_I - 2 * Y_J
    close(getattr(x - 2 * y, name)(axis=axis), REDUCTIONS[name](a, axis))
    close(getattr(x - 2 * y, name)(axis=axis - 3), REDUCTIONS[name](a, axis))
    close(getattr(np, name)(x - 2 * y, axis=axis), REDUCTIONS[name](a, axis))
    if name in ("sum", "min", "max", "argmin", "argmax"):
        close(getattr(x - 2 * y, name + "_reduction")(dim=axis), REDUCTIONS[name](a, axis))


@pytest.mark.parametrize("axis", [0, 1])
def test_other_reductions(axis):
    x, y = lazy()
    D2 = ((x - y) ** 2).sum(-1)
    d = ((X_I - Y_J) ** 2).sum(-1)
    order = np.argsort(d, axis, kind="stable")
    first = np.moveaxis(np.take_along_axis(d, order, axis), axis, -1)[:, :4]
    index = np.moveaxis(order, axis, -1)[:, :4]
    close(D2.Kmin(4, axis=axis), first)
    close(D2.argKmin(K=4, dim=axis), index)
    for pair, parts in [(D2.Kmin_argKmin(4, axis=axis), (first, index)),
                        (D2.min_argmin(axis=axis), (d.min(axis)[:, None], d.argmin(axis)[:, None])),
                        (D2.max_argmax(axis=axis), (d.max(axis)[:, None], d.argmax(axis)[:, None]))]:
        close(pair[0], parts[0])
        close(pair[1], parts[1])
        assert pair[1].dtype.kind == "i"
    close((x - y).Kmin(2, axis=axis), np.sort(np.moveaxis(X_I - Y_J, axis, 1), 1)[:, :2])
    lse = special.logsumexp(-d, axis)[:, None]
    close((-D2).logsumexp(axis=axis), lse)
    close((-D2).logsumexp_reduction(axis=axis, weight=x + y), np.log((np.exp(-d)[..., None] * (X_I + Y_J)).sum(axis)))
    close((-D2).logsumexp(axis=axis, other=x + y), np.log((np.exp(-d)[..., None] * (X_I + Y_J)).sum(axis)))
    softmax = (np.exp(-d)[..., None] * (X_I + Y_J)).sum(axis) / np.exp(-d).sum(axis)[:, None]
    close((-D2).sumsoftmaxweight(x + y, axis=axis), softmax)
    close((-D2).sumsoftmaxweight(weight=x + y, axis=axis), softmax)
    same((-D2).softmax(axis), special.softmax(-d, axis)[..., None])
    close((-D2).reduction("SumSoftMaxWeight", other=x + y, axis=axis), softmax)
    close(D2.norm(axis=axis), np.linalg.norm(d, axis=axis)[:, None])
    assert ((D2 < 0.1).any(axis=axis)[:, 0] == (d < 0.1).any(axis)).all()
    assert ((D2 < 0.4).all(axis=axis)[:, 0] == (d < 0.4).all(axis)).all()
    close((D2 < 0.1).count_nonzero(axis=axis), (d < 0.1).sum(axis)[:, None])


def test_several_axes():
    x, y = lazy()
    a = X_I - 2 * Y_J
    for axis in [(0, 1), (1, 2), (0, 2), (0, 1, 2), (-1, -2)]:
        for name in ("sum", "min", "max", "mean"):
            found, expected = getattr(x - 2 * y, name)(axis=axis), getattr(a, name)(axis)
            close(np.asarray(found), expected)
    close(np.sum(x - 2 * y), a.sum())
    close(np.mean(x - 2 * y), a.mean())
    batch = r.normal(size=(2, 4, M, 1, D))
    lt = LazyTensor(batch) * y
    dense = batch * Y_J
    for axis in [(0, 2), (1, 2), (0, 1, 3), (0, 1, 2, 3), (0, 1, 2, 3, 4), (2, 3)]:
        close(np.asarray(lt.sum(axis=axis)), dense.sum(axis), atol=1e-11)
    close(lt.sum(axis=(0, 1)).dense(), dense.sum((0, 1)), atol=1e-11)
    with pytest.raises(ValueError, match="batch elements"):
        lt.prod(axis=(0, 1))


# ---- construction ----
def test_what_a_shape_means():
    z = r.normal(size=(4, 5, M, 1, D))
    lt = LazyTensor(z)
    assert lt.shape == lt._shape == (4, 5, M, 1, D) and lt.batchdims == (4, 5) and lt.ni == M and lt.nj is None
    assert lt.dim() == 5 and lt.ndim == D and lt.nbatchdims == 2 and lt.axis == 0 and lt.dtype == "float64"
    assert LazyTensor(z[..., :1]).shape == (4, 5, M, 1)
    for made, shape in [(LazyTensor(X, axis=0), (M, 1, D)), (LazyTensor(Y, axis=1), (1, N, D)), (Vi(X), (M, 1, D)),
                        (Vj(Y), (1, N, D)), (Pm(P), (1, 1, D)), (LazyTensor(P), (1, 1, D)), (Pm(2.0), (1, 1)),
                        (Pm([1.0, 2.0]), (1, 1, 2)), (LazyTensor(3), (1, 1)), (LazyTensor(P[None, None]), (1, 1, D)),
                        (Vi(z[:, :, :, 0]), (4, 5, M, 1, D)), (LazyTensor(z[:, 0, 0, 0], axis=2), (4, 1, 1, D)),
                        (Pm(z[:, :, 0, 0]), (4, 5, 1, 1, D)), (Var(X, cat=0), (M, 1, D)), (Vi(0, 3), (1, 1, 3)),
                        (Var(1, 2, 1), (1, 1, 2)), (LazyTensor(np.float32(2)), (1, 1)), (LazyTensor(np.array(2.0)), (1, 1)),
                        (LazyTensor((0, 4, 2)), (1, 1, 4)), (LazyTensor(np.zeros((0, 1, 2))), (0, 1, 2))]:
        assert made.shape == shape
    assert LazyTensor([1, 2.5]).dtype is None and LazyTensor(2.0).dtype is None
    assert (LazyTensor([1.0, 2, 3]) * Vi(X.astype("f"))).dtype == "float32"


@pytest.mark.parametrize("make", [
    lambda: LazyTensor(X), lambda: LazyTensor(np.zeros((2, 3, 4))), lambda: LazyTensor(X_I, axis=0), lambda: LazyTensor("x"),
    lambda: LazyTensor(None), lambda: LazyTensor((1, 2)), lambda: LazyTensor((1, 2, 3)), lambda: LazyTensor((0, 0, 1)),
    lambda: LazyTensor(X, axis=4), lambda: LazyTensor([]), lambda: LazyTensor(["a"]), lambda: LazyTensor(X.tolist()),
    lambda: Vi(P), lambda: Vi(P.tolist()), lambda: LazyTensor(np.array(["a"])), lambda: LazyTensor(np.zeros((3, 1, 0)))])
def test_bad_construction(make):
    with pytest.raises(ValueError) as info:
        make()
    assert str(info.value)


def test_bad_operations():
    x, y = lazy()
    reduced = x.sum(1, call=False)
    for bad in [lambda: x + Vi(Y), lambda: x + Vj(Y[:, :2]), lambda: x | y[1], lambda: x[3], lambda: x[-1], lambda: x[0:5],
                lambda: x[::2], lambda: x[2:1], lambda: x ** "a", lambda: x.elem(3), lambda: x.elem(0.5),
                lambda: x.extract(2, 2), lambda: x.one_hot(3), lambda: x.sum(axis=3), lambda: x.sum(axis="a"),
                lambda: x.sum_reduction(), lambda: x.min_reduction(axis=2), lambda: x @ P, lambda: reduced + 1,
                lambda: reduced.sum(1), lambda: (x + y)(), lambda: x.sum(1, backend="TPU"),
                lambda: x.sum(1, backend="GPU"), lambda: x.sum(1, sum_scheme="?"), lambda: x.sum(1, dtype_acc="float16"),
                lambda: x.argKmin(0, axis=1), lambda: x.argKmin(1.5, axis=1), lambda: (x | y).Kmin(True, axis=1),
                lambda: LazyTensor(np.zeros((2, M, 1, D))) + LazyTensor(np.zeros((3, M, 1, D))), lambda: x.weightedsqnorm([1.0, 2]),
                lambda: x.norm(3), lambda: LazyTensor.cat((x, y), dim=1), lambda: (x | y)[None, 0], lambda: (x | y)[0, 0, 0, 0],
                lambda: (x | y)[99, :], lambda: (x | y)[np.array([True]), :], lambda: (x | y).diagonal(),
                lambda: (x | y).reshape(3, 3), lambda: x @ np.ones(1), lambda: (x | y) @ np.ones(M), lambda: x.logsumexp(axis=1, weight=y),
                lambda: Vi(0, 3).sum(1)(), lambda: Vi(0, 3).dense(), lambda: (x | y) @ "B"]:
        with pytest.raises((ValueError, TypeError)) as info:
            bad()
        assert str(info.value)
    for bad in [lambda: x.sum(1, optional_flags=1), lambda: x.sum(1, foo=2), lambda: hash(x), lambda: iter(x)]:
        with pytest.raises(TypeError):
            bad()
    with pytest.raises(NameError):
        x.reduction("Summ", axis=1)


def test_limit_of_dense():
    x = LazyTensor(np.zeros((200000, 1, 3)))
    K = (x | x.T)
    with pytest.raises(ValueError, match="limit"):
        np.asarray(K)
    assert K[:3, :4].dense().shape == (3, 4)
    with pytest.raises(ValueError, match="limit"):
        K[:10, :10].dense(limit=99)


def test_types():
    x, y = X.astype("f"), Y
    assert (Vi(x) * Vj(y.astype("f"))).dtype == "float32"
    K = (Vi(x) | Vj(y))
    assert K.dtype == "float64" and K.sum(1).dtype == np.float64
    assert (Vi(x) * 2.5).sum(1).dtype == np.float32 and (Vi(x) * np.float64(2.5)).sum(1).dtype == np.float32
    half = (Vi(x.astype(np.float16)) * Vj(y.astype(np.float16))).sum(1)
    assert half.dtype == np.float16
    counts = LazyTensor(np.arange(4)[:, None, None])
    assert counts.dtype == "float64" and counts.sum(1).tolist() == [[0], [1], [2], [3]]
    assert LazyTensor(np.arange(4, dtype=np.int8)[:, None, None]).dtype == "float32"
    close((LazyTensor(X[:, ::-1][::-1][:, None]) * Vj(Y[::-1])).sum(1), X[:, ::-1][::-1] * Y.sum(0))
    for options in [dict(sum_scheme="kahan_scheme"), dict(dtype_acc="float64"), dict(use_double_acc=True), dict(backend="CPU"),
                    dict(enable_chunks=False, use_fast_math=False, rec_multVar_highdim=1, device_id=-1)]:
        np.testing.assert_allclose((Vi(x) | Vj(y.astype("f"))).sum(1, **options)[:, 0], (x.astype(float) @ y.T).sum(1), rtol=1e-5)
        np.testing.assert_allclose((Vi(x) | Vj(y.astype("f"))).__matmul__(B.astype("f"), **options), x @ y.T @ B, rtol=1e-4, atol=1e-5)


def test_batches_and_reshape():
    x, y = r.normal(size=(4, 1, M, 1, D)), r.normal(size=(3, 1, N, D))
    p = r.normal(size=(4, 3, 1))
    K = ((LazyTensor(x) - LazyTensor(y)) ** 2).sum(-1) * Pm(p)
    dense = ((x - y) ** 2).sum(-1) * p[..., None]
    assert K.shape == (4, 3, M, N) and K.batchdims == (4, 3)
    close(K.sum(axis=2), dense.sum(2)[..., None])
    close(K.sum(3), dense.sum(3)[..., None])
    close(K @ r.normal(size=(N,)) * 0, np.zeros((4, 3, M)))
    b = r.normal(size=(3, N, 2))
    close(K @ b, dense @ b)
    close(K.dense(), dense)
    close(K[1, :].dense(), dense[1])
    close(K[1:3, 0].dense(), dense[1:3, 0])
    close(K[[3, 0], :, 2:4, 5].squeeze(), dense[[3, 0], :, 2:4, 5])
    close(K[..., 2, 3, :], dense[..., 2, 3])
    close(K.reshape(12, M, N).sum(1), dense.reshape(12, M, N).sum(1)[..., None])
    close(K.reshape(2, -1, M, N).sum(2), dense.reshape(2, 6, M, N).sum(2)[..., None])
    assert K.T.shape == (4, 3, N, M)


def test_indexing():
    x, y = lazy()
    K = (x | y).exp()
    dense = np.exp(X @ Y.T)
    mask_i, mask_j = X[:, 0] > 0.5, Y[:, 0] > 0.5
    for key in [np.s_[2:5, :], np.s_[::-2], np.s_[:, 3:9:2], np.s_[2:5, 1:4], np.s_[3, :], np.s_[:, -1], np.s_[3, 4], np.s_[-1, 2:4],
                np.s_[[1, 1, 5], :], np.s_[:, [0, -1]], np.s_[[1, 2], [3, 4]], np.s_[mask_i, :], np.s_[:, mask_j],
                np.ix_([1, 2, 4], [3, 4]), np.s_[[0, 2], 1:3], np.s_[..., :, 2:4, :], np.s_[2, ...], np.s_[[], :],
                np.s_[np.array([[0, 1], [2, 3]]), np.array([[1], [2]])], np.s_[0:0, :]]:
        key = key if isinstance(key, tuple) else (key, slice(None))
        expected = dense[..., None][key] if len([k for k in key if k is not Ellipsis]) == 3 else dense[key]
        found = np.asarray(K[key])
        close(found, expected[..., 0] if expected.ndim > 2 and expected.shape[-1] == 1 and found.ndim < expected.ndim else expected)
    close((x - y)[2, :, 1:], (X_I - Y_J)[2, :, 1:])
    close((x - y)[[1, 2], [3, 4]], (X_I - Y_J)[[1, 2], [3, 4]])
    close((x - y)[2, 3], (X_I - Y_J)[2, 3])
    close((x[..., 0] * y[..., 0]).dense(), X[:, :1] * Y[:, 0])
    assert K[...] is K
    square = (x | x.T).exp()
    close(square.diagonal(), np.exp((X * X).sum(-1)))
    close((x - x.T).diagonal(), 0 * X)
    close(np.trace(square), np.exp((X * X).sum(-1)).sum())


def test_products_and_transposes():
    x, y = lazy()
    K = (x | y).exp()
    dense = np.exp(X @ Y.T)
    close(K @ B, dense @ B)
    close(K @ B[:, 0], dense @ B[:, 0])
    close(K.T @ X, dense.T @ X)
    close(K.t() @ X[:, 0], dense.T @ X[:, 0])
    close(X.T @ K, X.T @ dense)
    close(X[:, 0] @ K, X[:, 0] @ dense)
    close(np.matmul(K, B), dense @ B)
    close(K.matvec(B[:, 0]), dense @ B[:, 0])
    close(K.rmatvec(X[:, 0]), dense.T @ X[:, 0])
    close(LazyTensor.__matmul__(K, B, backend="CPU"), dense @ B)
    out = np.zeros((M, 2))
    assert K.__matmul__(B, out=out) is out
    close(out, dense @ B)
    assert K.T.T.shape == K.shape and K.T.T._args == K._args
    close((K + K.T.T).dense(), 2 * dense)


def test_solve():
    x = Vi(X)
    K = (-((x - x.T) ** 2).sum(-1)).exp()
    dense = np.exp(-((X_I - X[None]) ** 2).sum(-1))
    b = r.normal(size=(M, 2))
    expected = np.linalg.solve(dense + 0.1 * np.eye(M), b)
    close(K.solve(b, alpha=0.1, eps=1e-10), expected, atol=1e-8)
    close(K.solve(Vi(b), alpha=0.1, eps=1e-10), expected, atol=1e-8)
    later = K.solve(Vi(0, 2), alpha=0.1, eps=1e-10, call=False)
    close(later(b), expected, atol=1e-8)
    v = Vj(0, 2)
    close((K * v).solve(Vi(b), var=v, alpha=0.1, eps=1e-10), expected, atol=1e-8)
    with pytest.warns(benben.ConvergenceWarning):
        (-K).solve(b)


def test_symbolic_variables_and_reduced_lazytensors():
    f = (-((Vi(0, D) - Vj(1, D)) ** 2).sum(-1) * Pm(2, 1)).exp().sum(axis=1)
    p = np.array([1.5])
    expected = np.exp(-1.5 * ((X_I - Y_J) ** 2).sum(-1)).sum(1)[:, None]
    close(f(X, Y, p), expected)
    close(f(X, Y, 1.5), expected)
    close((Vi(0, D) | Vj(Y)).sum(1)(X, backend="CPU"), (X @ Y.T).sum(1)[:, None])
    K = Vi(X) | Vj(Y)
    later = K.sum(axis=1, call=False)
    close(later(), (X @ Y.T).sum(1)[:, None])
    assert str(later).splitlines()[-1] == "    reduction: Sum (axis=1)" and later.reduction_op == "Sum"
    text = str(Vi(0, 3) * Vj(1, 3) + Vi(X))
    assert text.splitlines() == ["KeOps LazyTensor", "    formula: ((Var(0,3,0) * Var(1,3,1)) + Var(2,3,0))",
                                 "    symbolic variables: Var(0, 3, 0), Var(1, 3, 1)", f"    shape: ({M}, 1, 3)"]
    assert "opt_arg: 3" in str(K.argKmin(3, axis=1, call=False))
    for bad in [lambda: f(X, Y), lambda: f(X, Y[:, :2], p), lambda: later(X), lambda: f(X, Y, X)]:
        with pytest.raises(ValueError):
            bad()


@pytest.mark.parametrize("axis", [0, 1])
def test_ranges(axis):
    from test_genred import blocks
    ranges, mask = blocks(M, N)
    K = (-((Vi(X) - Vj(Y)) ** 2).sum(-1)).exp()
    K.ranges = ranges
    dense = np.exp(-((X_I - Y_J) ** 2).sum(-1)) * mask
    close((2 * K).sum(axis=axis), 2 * dense.sum(axis)[:, None])
    close(K.T.sum(axis=axis), dense.T.sum(axis)[:, None])
    K.ranges = None
    close(K.sum(axis=axis, ranges=ranges), dense.sum(axis)[:, None])
    close(K.max(axis=axis, ranges=ranges), dense.max(axis)[:, None])


def test_a_subclass_stays_one():
    class Mine(LazyTensor):
        def double(self):
            return self + self

    x = Mine(X[:, None])
    assert isinstance((2 * x.exp() - 1).double(), Mine)
    assert isinstance(LazyTensor(X_I + 0j), ComplexLazyTensor) and not isinstance(LazyTensor(X_I + 0j), LazyTensor)


def test_missing_axes():
    x, y = lazy()
    close(x.sum(1), X)
    close(x.sum(0), X.sum(0)[None])
    close(y.sum(1), Y.sum(0)[None])
    close((x * 0 + y * 0).sum(1), np.zeros((M, D)))
    close((x * 0 + y).sum(1), np.tile(Y.sum(0), (M, 1)))
    close(Pm(P).sum(1), P[None])
    close(LazyTensor(3).sum(1), np.array([[3.0]]))
    close(x.argmin(1), np.zeros((M, D)))
    empty = LazyTensor(np.zeros((0, 1, D)))
    assert (empty * y).sum(1).shape == (0, D)
    close((empty * y).sum(0), np.zeros((N, D)))
    assert np.asarray((empty * y)).shape == (0, N, D)


def test_new_arrays_compile_nothing_new():
    from benben import _formula

    def run(k):
        x, y = LazyTensor(X[:, None] + k), LazyTensor(Y[None] - k)
        return ((((x - y) ** 2).sum(-1) / (k + 0.5)).exp() @ B).sum()

    run(0)
    before = len(_formula._interned)
    formulas = {id(((LazyTensor(X_I) - LazyTensor(Y_J)) ** 2)._formula) for _ in range(5)}
    assert len(formulas) == 1
    for k in range(1, 5):
        run(k)
    assert len(_formula._interned) <= before + 4


def test_nothing_leaks():
    def run():
        x, y = lazy()
        return ((x - y) ** 2).sum(-1).exp() @ B

    for _ in range(20):
        run()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(500):
        run()
    gc.collect()
    assert len(gc.get_objects()) < before + 100


# ---- complex numbers ----
def test_complex():
    x, y = X + 1j * X[::-1], Y[::-1] - 0.5j * Y
    x_i, y_j = LazyTensor(x[:, None]), Vj(y)
    a, b = x[:, None], y[None]
    assert x_i.dtype == "complex128" and x_i.shape == (M, 1, D) and (x_i * y_j).is_complex
    real, dense = LazyTensor(X_I), X_I
    for lt, expected in [
            (x_i + y_j, a + b), (x_i - y_j, a - b), (x_i * y_j, a * b), (x_i / y_j, a / b), (-x_i, -a), (x_i * 2.5, a * 2.5),
            ((1 + 2j) * x_i, (1 + 2j) * a), (x_i * real, a * dense), (real * x_i, a * dense), (real + y_j, dense + b),
            (real - y_j, dense - b), (real / y_j, dense / b), (x_i / real, a / dense), (2 / x_i, 2 / a), (x_i - 1, a - 1),
            (1 - x_i, 1 - a), (x_i.conj(), a.conj()), ((x_i * y_j).exp(), np.exp(a * b)), (real.exp1j(), np.exp(1j * dense)),
            ((2j * real).exp(), np.exp(2j * dense)), (real.imag2complex(), 1j * dense), (real.real2complex(), dense + 0j),
            (x_i ** 2, a ** 2), (x_i.sum(-1), a.sum(-1, keepdims=True)), ((x_i | y_j), (a * b).sum(-1, keepdims=True)),
            (x_i[1], a[..., 1:2]), (x_i[1:], a[..., 1:]), (x_i.sum(-1) * y_j, a.sum(-1, keepdims=True) * b),
            (x_i.mean(), a.mean(-1, keepdims=True)), (np.exp(x_i), np.exp(a)), (np.conjugate(x_i), a.conj())]:
        full = np.broadcast_to(expected, (M, lt._shape[-2], expected.shape[-1]))
        assert lt.is_complex and lt._shape == full.shape
        close(lt.sum(1), full.sum(1))
        close(np.asarray(lt), full[..., 0] if full.shape[-1] == 1 else full)
    for lt, expected in [(x_i.real, a.real), (x_i.imag, a.imag), (abs(x_i), abs(a)), (x_i.abs(), abs(a)), (x_i.angle(), np.angle(a)),
                         (np.abs(x_i), abs(a)), (x_i == x_i, np.ones_like(a.real))]:
        assert isinstance(lt, LazyTensor)
        close(lt.sum(1), expected.sum(1))
    K = (x_i * y_j).sum(-1)
    close(K @ B, (x @ y.T) @ B)
    close(K.H.dense(), (x @ y.T).conj().T)
    close(K @ (B + 1j * B[::-1]), (x @ y.T) @ (B + 1j * B[::-1]))
    close((real | real.T) @ (X + 1j * X), (X @ X.T) @ (X + 1j * X))
    assert Vi(x.astype(np.complex64)).sum(1).dtype == np.complex64
    for bad in [lambda: x_i.real2complex(), lambda: x_i.exp1j(), lambda: x_i.min(1), lambda: x_i < y_j, lambda: x_i.log()]:
        with pytest.raises(ValueError):
            bad()
    assert math.isclose(float(abs(LazyTensor(3 + 4j)).sum(1)[0, 0]), 5)


@pytest.mark.parametrize("axis", [0, 1])
def test_ranges_matter_where_the_formula_does_not_depend_on_an_axis(axis):
    from benben.numpy import Genred
    from benben.numpy.cluster import from_matrix
    r = np.random.default_rng(0)
    x, y, keep = r.normal(size=(7, 2)), r.normal(size=(4, 2)), np.array([[False, True], [True, True]])
    six = from_matrix(np.array([[0, 5], [5, 7]]), np.array([[0, 1], [1, 4]]), keep)
    mask = keep[np.repeat([0, 1], [5, 2])][:, np.repeat([0, 1], [1, 3])][..., None]
    x_i, y_j = Vi(x), Vj(y)
    for text, K, dense in [("x", (x_i - y_j).grad(x_i, x_i), x[:, None]), ("y", (x_i - y_j).grad(y_j, -y_j), y[None]),
                           ("1+0*x", (x_i - y_j).grad(x_i, [1.0, 1.0]), np.ones(2))]:
        K.ranges = six
        np.testing.assert_allclose(K.sum(axis=axis), (dense * mask).sum(axis), rtol=1e-12)
        best = np.where(mask, dense, np.inf)
        value, index = K.min_argmin(axis=axis)
        np.testing.assert_array_equal(value, best.min(axis))
        np.testing.assert_array_equal(index, best.argmin(axis))
        f = Genred(text, ["x = Vi(2)", "y = Vj(2)"], axis=axis)
        np.testing.assert_allclose(f(x, y, ranges=six), (dense * mask).sum(axis), rtol=1e-12)
