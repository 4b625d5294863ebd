"""Every operation of the table: values and gradients against NumPy, both types, two dimensions, both tiers bit for bit.

Each case is a text over the operands a (rows i), b (columns j) and c (parameter), and its NumPy twin on arrays that
broadcast to (M, N, dim). A new operation that is not elementwise fails test_every_operation_has_a_case without one."""
import zlib

import numpy as np
import pytest
from scipy import special

import bb

M, N = 13, 5
CASES = {}


class Case:
    def __init__(self, text, reference, dims, low=-2.0, high=2.0, smooth=True, tolerance=1.0):
        self.text, self.reference, self.dims, self.low, self.high = text, reference, dims, low, high
        self.smooth, self.tolerance = smooth, tolerance

    @property
    def names(self):
        return "abc"[:len(self.dims)]

    def arrays(self, seed, dtype=np.float64):
        """a: (M, d), b: (N, d), c: (d,), at least a grid of 1/64 apart so that float32 holds them exactly."""
        rng = np.random.default_rng(seed)
        rows = {"a": (M,), "b": (N,), "c": ()}
        out = {}
        for name, dim in zip(self.names, self.dims):
            draw = rng.uniform(self.low, self.high, rows[name] + (dim,))
            out[name] = (np.round(draw * 4096) / 4096).astype(dtype)
        return out

    def value(self, arrays, w):
        """sum_j text * w_j in float64"""
        wide = {"a": lambda v: v[:, None, :], "b": lambda v: v[None, :, :], "c": lambda v: v[None, None, :]}
        operands = [wide[k](np.asarray(v, np.float64)) for k, v in arrays.items()]
        f = np.asarray(self.reference(*operands), np.float64)
        f = np.broadcast_to(f, (M, N, f.shape[-1]))
        return np.einsum("mnd,n->md", f, np.asarray(w[:, 0], np.float64))

    def program(self):
        places = {"a": "i", "b": "j", "c": "p"}
        declarations = [f"{n}:{places[n]}{d}" for n, d in zip(self.names, self.dims)] + ["w:j1"]
        return bb.parse(f"sum_j(({self.text}) * w)", *declarations)


def case(name, text, reference, *dims, **options):
    CASES.setdefault(name, []).append(Case(text, reference, dims, **options))


def unary(name, reference, low=-2.0, high=2.0, dims=(1, 5), **options):
    for d in dims:
        case(name, f"{name}(a)", reference, d, low=low, high=high, **options)


def binary(name, reference, low=-2.0, high=2.0, dims=((1, 1), (5, 5), (1, 5), (5, 1)), **options):
    for d in dims:
        case(name, f"{name}(a, b)", reference, *d, low=low, high=high, **options)


def ternary(name, reference, low=-2.0, high=2.0, dims=((1, 1, 1), (5, 5, 5), (5, 1, 5)), **options):
    for d in dims:
        case(name, f"{name}(a, b, c)", reference, *d, low=low, high=high, **options)


def total(f):
    return f.sum(-1, keepdims=True)


# ---- arithmetic
binary("add", np.add)
binary("sub", np.subtract)
binary("mul", np.multiply)
binary("div", np.divide, 0.5, 2)
unary("neg", np.negative)
unary("inv", np.reciprocal, 0.5, 2)
unary("square", np.square)
unary("sqrt", np.sqrt, 0.1, 3)
unary("rsqrt", lambda a: 1 / np.sqrt(a), 0.2, 3)
binary("powf", np.power, 0.5, 2)
for exponent in (-3, -1, 0, 1, 2, 3, 7):
    case("pow", f"pow(a, {exponent})", lambda a, n=exponent: a ** float(n), 5, low=0.5, high=2)
unary("abs", np.abs, 0.1, 2)
unary("abs", np.abs, -2, -0.1)
binary("hypot", np.hypot, 0.2, 2)
ternary("mod", lambda a, b, c: a - b * np.floor((a - c) / b), 0.5, 2, smooth=False)

# ---- exponentials and logarithms
for name in ("exp", "exp2", "expm1"):
    unary(name, getattr(np, name))
for name in ("log", "log2", "log10"):
    unary(name, getattr(np, name), 0.1, 3)
unary("log1p", np.log1p, -0.5, 2)
unary("xlogx", lambda a: special.xlogy(a, a), 0.1, 3)

# ---- trigonometry
unary("sin", np.sin, -3, 3)
unary("cos", np.cos, -3, 3)
unary("tan", np.tan, -1.2, 1.2)
unary("asin", np.arcsin, -0.9, 0.9)
unary("acos", np.arccos, -0.9, 0.9)
unary("atan", np.arctan, -3, 3)
binary("atan2", np.arctan2, 0.5, 2)
unary("sinxdivx", lambda a: np.sinc(a / np.pi), -3, 3)
unary("sinc", np.sinc, -3, 3)

# ---- hyperbolic and activation functions
for name in ("sinh", "cosh", "tanh"):
    unary(name, getattr(np, name))
unary("asinh", np.arcsinh, -3, 3)
unary("acosh", np.arccosh, 1.2, 4)
unary("atanh", np.arctanh, -0.9, 0.9)
unary("sigmoid", special.expit, -3, 3)
unary("softplus", lambda a: np.logaddexp(0, a), -3, 3)
unary("silu", lambda a: a * special.expit(a), -3, 3)
unary("gelu", lambda a: a * special.ndtr(a), -3, 3)
unary("softsign", lambda a: a / (1 + np.abs(a)), 0.1, 3)
unary("softsign", lambda a: a / (1 + np.abs(a)), -3, -0.1)
unary("erf", special.erf)
unary("erfc", special.erfc)
unary("relu", lambda a: np.maximum(a, 0), 0.1, 2)
unary("relu", lambda a: np.maximum(a, 0), -2, -0.1)

# ---- steps, rounding, clamping, choice
for low, high in ((0.1, 2), (-2, -0.1)):
    unary("sign", np.sign, low, high)
    unary("step", lambda a: (a >= 0) * 1.0, low, high)
for name in ("floor", "ceil", "trunc", "rint"):
    unary(name, getattr(np, name), -3, 3, smooth=False)
case("round", "round(a)", np.round, 5, smooth=False)
case("round", "round(a, 2)", lambda a: np.round(a, 2), 5, smooth=False)
binary("minimum", np.minimum)
binary("maximum", np.maximum)
ternary("clamp", lambda a, b, c: np.where(a < b, b, np.where(a > c, c, a)))
case("clampint", "clampint(a, -1, 1)", lambda a: np.clip(a, -1, 1), 5)
case("diffclampint", "diffclampint(a, -1, 1)", lambda a: (np.abs(a) <= 1) * 1.0, 5, smooth=False)
ternary("ifelse", lambda a, b, c: np.where(a >= 0, b, c))
case("where", "where(floor(a), b, c)", lambda a, b, c: np.where(np.floor(a) != 0, b, c), 5, 5, 5)

# ---- comparisons and logic
for name, function in (("lt", np.less), ("le", np.less_equal), ("gt", np.greater), ("ge", np.greater_equal),
                       ("eq", np.equal), ("ne", np.not_equal)):
    case(name, f"{name}(rint(a), rint(b))", lambda a, b, f=function: f(np.rint(a), np.rint(b)) * 1.0, 5, 5,
         smooth=False)
for name in ("logical_and", "logical_or", "logical_xor"):
    case(name, f"{name}(rint(a), rint(b))",
         lambda a, b, f=getattr(np, name): f(np.rint(a) != 0, np.rint(b) != 0) * 1.0, 5, 5, smooth=False)
case("logical_not", "logical_not(rint(a))", lambda a: (np.rint(a) == 0) * 1.0, 5, smooth=False)
for name in ("isnan", "isinf", "isfinite"):
    case(name, f"{name}(log(a))", lambda a, f=getattr(np, name): f(np.log(a)) * 1.0, 5, smooth=False)

# ---- folds of a vector
unary("sum", total)
unary("max", lambda a: a.max(-1, keepdims=True))
unary("min", lambda a: a.min(-1, keepdims=True))
unary("argmax", lambda a: a.argmax(-1)[..., None], smooth=False)
unary("argmin", lambda a: a.argmin(-1)[..., None], smooth=False)
unary("vmean", lambda a: a.mean(-1, keepdims=True))
unary("vprod", lambda a: a.prod(-1, keepdims=True), 0.5, 2, dims=(1, 2, 5))
unary("vsoftmax", lambda a: special.softmax(a, axis=-1))
unary("vlogsumexp", lambda a: special.logsumexp(a, axis=-1, keepdims=True))
unary("cumsum", lambda a: np.cumsum(a, -1), dims=(1, 2, 5))

# ---- squared norms and distances
binary("dot", lambda a, b: total(a * b))
unary("sqnorm2", lambda a: total(a * a))
unary("norm2", lambda a: np.sqrt(total(a * a)), 0.2, 2)
unary("normalize", lambda a: a / np.sqrt(total(a * a)), 0.2, 2)
binary("sqdist", lambda a, b: total((a - b) ** 2))
case("sqdist", "sqdist(a, b)", lambda a, b: total((a - b) ** 2), 40, 40)
case("sqnormiso", "sqnormiso(a, b)", lambda a, b: a * total(b * b), 1, 5)
case("sqnormdiag", "sqnormdiag(a, b)", lambda a, b: total(a * b * b), 5, 5)


def quadratic(a, b):
    d = b.shape[-1]
    return np.einsum("...kl,...k,...l->...", a.reshape(a.shape[:-1] + (d, d)), b, b)[..., None]


case("symsqnorm", "symsqnorm(a, b)", quadratic, 9, 3)
case("weightedsqnorm", "weightedsqnorm(a, b)", lambda a, b: a * total(b * b), 1, 3)
case("weightedsqnorm", "weightedsqnorm(a, b)", lambda a, b: total(a * b * b), 3, 3)
case("weightedsqnorm", "weightedsqnorm(a, b)", quadratic, 9, 3)
case("weightedsqdist", "weightedsqdist(a, b, c)", lambda a, b, c: total(a * (b - c) ** 2), 3, 3, 3)
case("weightedsqdist", "weightedsqdist(a, b, c)", lambda a, b, c: quadratic(a, b - c), 9, 3, 3)


# ---- components
def padded(a, start, size, step=1):
    out = np.zeros(a.shape[:-1] + (size,))
    out[..., start:start + step * a.shape[-1]:step] = a
    return out


case("slice", "slice(a, 1, 3, 2)", lambda a: a[..., 1:6:2], 7)
case("pad", "pad(a, 1, 8, 3)", lambda a: padded(a, 1, 8, 3), 3)
case("concat", "concat(a, b)", lambda a, b: np.concatenate(np.broadcast_arrays(a, b[..., :3]), -1), 3, 3)
case("repeat", "repeat(a, 4)", lambda a: np.repeat(a, 4, -1), 1)
case("elem", "elem(a, 2)", lambda a: a[..., 2:3], 5)
case("elemt", "elemt(a, 5, 2)", lambda a: padded(a, 2, 5), 1)
case("extract", "extract(a, 1, 3)", lambda a: a[..., 1:4], 5)
case("extractt", "extractt(a, 1, 6)", lambda a: padded(a, 1, 6), 3)
case("sumt", "sumt(a, 4)", lambda a: np.repeat(a, 4, -1), 1)
case("onehot", "onehot(a, 4)", lambda a: (np.rint(a) == np.arange(4)) * 1.0, 1, low=0, high=3, smooth=False)
case("iota", "a * iota(5)", lambda a: a * np.arange(5), 5)


# ---- tensor algebra
def tensors(expression, *shapes):
    def reference(*operands):
        parts = [o.reshape(o.shape[:-1] + s) for o, s in zip(operands, shapes)]
        out = np.einsum(expression, *parts)
        return out.reshape(out.shape[:2] + (-1,))
    return reference


case("tensordot", "tensordot(a, b, [2,3], [3,4], [1], [0])", tensors("...ab,...bc->...ac", (2, 3), (3, 4)), 6, 12)
case("tensordot", "tensordot(a, b, [2,2,3], [2,3,2], [1,2], [0,1])",
     tensors("...abc,...bcd->...ad", (2, 2, 3), (2, 3, 2)), 12, 12)
case("tensordot", "tensordot(a, b, [2,3], [2,4], [0], [0], [1,0])", tensors("...ab,...ac->...cb", (2, 3), (2, 4)), 6, 8)
case("kron", "kron(a, b, [2,3], [2,2])", tensors("...ab,...cd->...acbd", (2, 3), (2, 2)), 6, 4)
case("matvecmult", "matvecmult(a, b)", tensors("...ab,...b->...a", (2, 3), (3,)), 6, 3)
case("vecmatmult", "vecmatmult(a, b)", tensors("...a,...ab->...b", (3,), (3, 2)), 3, 6)
case("tensorprod", "tensorprod(a, b)", tensors("...a,...b->...ab", (3,), (2,)), 3, 2)
case("differencematrix", "differencematrix(a, b)",
     lambda a, b: (lambda d: d.reshape(d.shape[:2] + (-1,)))(a[..., :, None] - b[..., None, :]), 3, 2)

# ---- constants
case("intcst", "a + intcst(3)", lambda a: a + 3, 5)
case("intinv", "a * intinv(3)", lambda a: a / 3, 5)
case("ratcst", "a * ratcst(2, 3)", lambda a: a * 2 / 3, 5)
case("zero", "concat(a, zero(2))", lambda a: padded(a, 0, 5), 3)


# ---- complex vectors, interleaved
def z(a):
    return a[..., 0::2] + 1j * a[..., 1::2]


def interleaved(c):
    return np.stack([c.real, c.imag], -1).reshape(c.shape[:-1] + (-1,))


case("complex", "complex(a, b)", lambda a, b: interleaved(a + 1j * b), 3, 3)
for name, function in (("complexreal", lambda c: c.real), ("compleximag", lambda c: c.imag),
                       ("complexsquareabs", lambda c: np.abs(c) ** 2), ("conj", lambda c: interleaved(np.conj(c))),
                       ("complexexp", lambda c: interleaved(np.exp(c))),
                       ("complexsum", lambda c: interleaved(c.sum(-1, keepdims=True)))):
    case(name, f"{name}(a)", lambda a, f=function: f(z(a)), 6)
case("complexabs", "complexabs(a)", lambda a: np.abs(z(a)), 6, low=0.2)
case("complexangle", "complexangle(a)", lambda a: np.angle(z(a)), 6, low=0.5)
case("real2complex", "real2complex(a)", lambda a: interleaved(a + 0j), 3)
case("imag2complex", "imag2complex(a)", lambda a: interleaved(1j * a), 3)
case("complexexp1j", "complexexp1j(a)", lambda a: interleaved(np.exp(1j * a)), 3)
case("complexsumt", "complexsumt(a, 6)", lambda a: interleaved(np.repeat(z(a), 3, -1)), 2)
for name, function in (("complexadd", np.add), ("complexsubtract", np.subtract), ("complexmult", np.multiply)):
    for d in ((6, 6), (2, 6), (6, 2)):
        case(name, f"{name}(a, b)", lambda a, b, f=function: interleaved(f(z(a), z(b))), *d)
case("complexdivide", "complexdivide(a, b)", lambda a, b: interleaved(z(a) / z(b)), 6, 6, low=0.5)
case("complexrealscal", "complexrealscal(a, b)", lambda a, b: interleaved(a * z(b)), 1, 6)
case("complexrealscal", "complexrealscal(a, b)", lambda a, b: interleaved(a * z(b)), 3, 6)


# ---- splines and time series
def splines(knots, x, degree):
    """Cox and de Boor, 0/0 = 0"""
    with np.errstate(all="ignore"):
        t = [knots[..., k] for k in range(knots.shape[-1])]
        x = x[..., 0]
        basis = [((t[k] <= x) & (x < t[k + 1])) * 1.0 for k in range(len(t) - 1)]
        for d in range(1, degree + 1):
            basis = [np.nan_to_num((x - t[k]) / (t[k + d] - t[k])) * basis[k] +
                     np.nan_to_num((t[k + d + 1] - x) / (t[k + d + 1] - t[k + 1])) * basis[k + 1]
                     for k in range(len(basis) - 1)]
    return np.stack(basis, -1)


case("bspline", "bspline(cumsum(a), b, 2)", lambda a, b: splines(np.cumsum(a, -1), b, 2), 7, 1, low=0.2, high=1)


def soft_dtw(a, b, gamma):
    def softmin(*values):
        return -gamma[..., 0] * special.logsumexp(-np.stack(np.broadcast_arrays(*values)) / gamma[..., 0], axis=0)
    p, q = a.shape[-1], b.shape[-1]
    cost = (a[..., :, None] - b[..., None, :]) ** 2
    table = {}
    for k in range(p):
        for l in range(q):
            before = [table[s] for s in ((k - 1, l), (k, l - 1), (k - 1, l - 1)) if s in table]
            table[k, l] = cost[..., k, l] + (softmin(*before) if before else 0)
    return table[p - 1, q - 1][..., None]


case("softdtw_sqdist", "softdtw_sqdist(a, b, c)", soft_dtw, 3, 4, 1, low=0.5, high=2)

# ---- derivatives
GAUSS = "exp(-sqdist(a, b))"


def gauss(a, b):
    return np.exp(-total((a - b) ** 2))


case("grad", f"grad({GAUSS}, a, c)", lambda a, b, c: -2 * (a - b) * gauss(a, b) * c, 3, 3, 1)
case("grad_withsavedforward", f"grad_withsavedforward({GAUSS}, a, c, {GAUSS})",
     lambda a, b, c: -2 * (a - b) * gauss(a, b) * c, 3, 3, 1)
case("diff", f"diff({GAUSS}, a, c)", lambda a, b, c: total(-2 * (a - b) * c) * gauss(a, b), 3, 3, 3)
case("diff_withsavedforward", f"diff_withsavedforward({GAUSS}, a, c, {GAUSS})",
     lambda a, b, c: total(-2 * (a - b) * c) * gauss(a, b), 3, 3, 3)
case("gradmatrix", "gradmatrix(tensorprod(a, b), a)",
     lambda a, b: np.einsum("kp,...l->...plk", np.eye(2), b + 0 * a[..., :1]).reshape(
         np.broadcast_shapes(a.shape[:-1], b.shape[:-1]) + (-1,)), 2, 3)
case("divergence", f"divergence((a - b) * {GAUSS}, a)",
     lambda a, b: (3 - 2 * total((a - b) ** 2)) * gauss(a, b), 3, 3)
case("laplacian", f"laplacian({GAUSS}, a)",
     lambda a, b: (4 * total((a - b) ** 2) - 2 * 3) * gauss(a, b), 3, 3)
case("traceoperator", "traceoperator(matvecmult(b, a), a)",
     lambda a, b: (b[..., 0] + b[..., 4] + b[..., 8])[..., None] + 0 * a[..., :1], 3, 9)
case("adjointoperator", "adjointoperator(matvecmult(b, a), a, c)",
     lambda a, b, c: np.einsum("...kl,...k->...l", b.reshape(b.shape[:-1] + (2, 3)), c) + 0 * a, 3, 6, 2)
case("sumlinoperator", "sumlinoperator(matvecmult(b, a), a)", lambda a, b: total(b) + 0 * a[..., :1], 3, 6)
case("factorize", f"factorize({GAUSS} * a, {GAUSS})", lambda a, b: gauss(a, b) * a, 3, 3)
case("autofactorize", f"autofactorize({GAUSS} * a)", lambda a, b: gauss(a, b) * a, 3, 3)

ALL = [pytest.param(c, id=f"{name}-{'x'.join(map(str, c.dims))}-{k}") for name, cases in CASES.items()
       for k, c in enumerate(cases)]


def seed_of(c):
    return zlib.crc32(f"{c.text} {c.dims}".encode())


def inputs(c, dtype):
    arrays = c.arrays(seed_of(c), dtype)
    w = np.random.default_rng(1).uniform(0.5, 1.5, (N, 1)).astype(dtype)
    return arrays, w


def close(found, expected, tolerance):
    """NaN and infinities in the same places, the rest within tolerance of the largest number."""
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    scale = max(1.0, np.abs(expected[finite]).max(initial=0))
    np.testing.assert_allclose(found[finite], expected[finite], rtol=0, atol=tolerance * scale)


def test_every_operation_has_a_case():
    """An elementwise row needs none: the table's own tests take value and derivative from the row (tests/unit/test_ops.c)."""
    missing = [op["name"] for op in bb.ops() if op["name"] not in CASES and op["kind"] != "map"]
    assert not missing


def test_every_row_is_documented_and_findable_by_its_alias():
    for row in bb.ops():
        assert row["doc"] and row["kind"]
    assert {"Exp", "SqDist", "Scalprod", "TensorDot"} <= {row["alias"] for row in bb.ops()}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("c", ALL)
def test_the_value_is_numpys(c, dtype):
    arrays, w = inputs(c, dtype)
    program = c.program()
    found = program(*arrays.values(), w)
    assert found.dtype == dtype
    close(found, program.kept(c.value(arrays, w)), c.tolerance * (2e-13 if dtype == "float64" else 1e-5))


@pytest.mark.parametrize("c", [p for p in ALL if p.values[0].smooth])
def test_the_gradient_is_that_of_central_differences(c):
    """<gradient, v> for a random direction v, all operands together; two steps remove the error of order h^2."""
    arrays, w = inputs(c, np.float64)
    rng = np.random.default_rng(seed_of(c) + 1)
    program = c.program()
    cotangent = rng.standard_normal(program.kept(c.value(arrays, w)).shape)
    direction = {k: rng.standard_normal(v.shape) for k, v in arrays.items()}

    def along(t):
        moved = {k: v + t * direction[k] for k, v in arrays.items()}
        return (program.kept(c.value(moved, w)) * cotangent).sum()

    def central(h):
        return (along(h) - along(-h)) / (2 * h)

    expected = (4 * central(5e-5) - central(1e-4)) / 3
    gradient = program.grad(list(c.names))(*arrays.values(), w, cotangent)
    gradient = gradient if isinstance(gradient, tuple) else (gradient,)
    found = sum((g * d).sum() for g, d in zip(gradient, direction.values()))
    scale = max(1, sum(np.abs(g * d).sum() for g, d in zip(gradient, direction.values())))
    assert abs(found - expected) < 2e-8 * scale
    tangent = program.diff(list(c.names))(*arrays.values(), w, *direction.values())
    assert abs((tangent * cotangent).sum() - found) < 1e-11 * scale


@pytest.mark.full
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("c", ALL)
def test_compiled_and_interpreted_give_the_same_bits(c, dtype):
    arrays, w = inputs(c, dtype)
    program = c.program()
    values = (*arrays.values(), w)
    compiled = program.compile(target="cpu", policy="wait")
    found = compiled(*values)
    assert compiled.tier(dtype)[0] == "cpu"
    np.testing.assert_array_equal(found, program(*values))
