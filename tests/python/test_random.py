"""Random formulas over random shapes, strides and types, against dense NumPy in float64: values, gradients, tiers.

The number in a test's name is its seed: it determines the formula and the data."""
import numpy as np
import pytest
from scipy import special

import bb

SIZES = (0, 1, 2, 7, 63, 64, 65, 257)
QUICK, ALL = 60, 600


class Term:
    """A formula's text, its dimension and its NumPy twin over the arrays by name."""

    def __init__(self, text, dim, value):
        self.text, self.dim, self.value = text, dim, value


class Generator:
    def __init__(self, rng, smooth):
        self.rng, self.smooth = rng, smooth
        self.d = int(rng.choice([1, 2, 3, 5, 12]))
        self.e = int(rng.choice([1, 2, 4, 9]))
        self.variables = {"x": ("i", self.d), "y": ("j", self.d), "u": ("i", 1), "b": ("j", self.e), "s": ("p", 1),
                          "q": ("p", self.d)}

    def leaf(self, dim):
        names = [n for n, (_, d) in self.variables.items() if d in (1, dim)]
        if self.rng.random() < 0.12:
            number = round(float(self.rng.uniform(-1.5, 1.5)), 3)
            return Term(f"({number})", 1, lambda v: np.full((1, 1, 1), number))
        name = str(self.rng.choice(names))
        return Term(name, self.variables[name][1], lambda v: v[name])

    def unary(self, t):
        table = {"sin": np.sin, "cos": np.cos, "tanh": np.tanh, "square": np.square, "neg": np.negative,
                 "sigmoid": lambda a: 1 / (1 + np.exp(-a)), "atan": np.arctan,
                 "exp": lambda a: np.exp(-np.square(a))}
        if not self.smooth:
            table.update(abs=np.abs, relu=lambda a: np.maximum(a, 0))
        name = str(self.rng.choice(list(table)))
        text = f"exp(-square({t.text}))" if name == "exp" else f"{name}({t.text})"
        return Term(text, t.dim, lambda v: table[name](t.value(v)))

    def fold(self, dim, depth):
        """A scalar from vectors"""
        a, b = self.term(dim, depth - 1), self.term(dim, depth - 1)
        kind = int(self.rng.integers(3))
        if kind == 0:
            return Term(f"sqdist({a.text}, {b.text})", 1,
                        lambda v: np.square(a.value(v) - b.value(v)).sum(-1, keepdims=True))
        if kind == 1:
            return Term(f"({a.text} | {b.text})", 1, lambda v: self.dot(a.value(v), b.value(v)))
        return Term(f"sum({a.text})", 1, lambda v: a.value(v).sum(-1, keepdims=True))

    @staticmethod
    def dot(a, b):
        return (a * b).sum(-1, keepdims=True)

    def term(self, dim, depth):
        if depth <= 0:
            return self.leaf(dim)
        kind = self.rng.random()
        if kind < 0.3:
            return self.unary(self.term(dim, depth - 1))
        if kind < 0.5 and self.d > 1:
            return self.fold(self.d, depth)
        a, b = self.term(dim, depth - 1), self.term(dim, depth - 1)
        if kind < 0.9:
            sign = str(self.rng.choice(["+", "-", "*"]))
            function = {"+": np.add, "-": np.subtract, "*": np.multiply}[sign]
            return Term(f"({a.text} {sign} {b.text})", max(a.dim, b.dim), lambda v: function(a.value(v), b.value(v)))
        return Term(f"({a.text} / (1 + square({b.text})))", max(a.dim, b.dim),
                    lambda v: a.value(v) / (1 + np.square(b.value(v))))


def draw(seed, smooth=False):
    """(formula, declarations, arrays, NumPy function of the arrays as float64)"""
    rng = np.random.default_rng(seed)
    g = Generator(rng, smooth)
    body = g.term(int(rng.choice([1, g.d, g.e])), int(rng.integers(2, 5)))
    axis = str(rng.choice(["j", "j", "i", "ij"]))
    name = str(rng.choice(["sum", "sum", "sum", "logsumexp"] + ([] if smooth else ["max", "min", "mean"])))
    if name == "logsumexp" and body.dim > 1:
        body = Term(f"sum({body.text})", 1, lambda v, b=body: b.value(v).sum(-1, keepdims=True))
    m, n = (int(k) for k in rng.choice(SIZES if not smooth else (1, 2, 7, 20), 2))
    if name == "mean":
        m, n = max(m, 1), max(n, 1)
    batches = [(), (3,), (2, 3), (1, 3), (2, 1)] if rng.random() < 0.3 else [()]
    arrays = {}
    for k, (place, dim) in g.variables.items():
        rows = {"i": (m,), "j": (n,), "p": ()}[place]
        batch = batches[int(rng.integers(len(batches)))]
        arrays[k] = rng.uniform(-1, 1, batch + rows + (dim,))
    text = f"{name}_{axis}({body.text})"

    def dense(values):
        wide = {}
        for k, (place, _) in g.variables.items():
            index = {"i": np.s_[..., :, None, :], "j": np.s_[..., None, :, :], "p": np.s_[..., None, None, :]}[place]
            wide[k] = np.asarray(values[k], np.float64)[index]
        batch = np.broadcast_shapes(*(w.shape[:-3] for w in wide.values()))
        f = np.broadcast_to(body.value(wide), batch + (m, n, body.dim))
        axes = {"j": -2, "i": -3, "ij": (-3, -2)}[axis]
        if name == "sum":
            return f.sum(axes), np.abs(f).sum(axes)
        if name == "mean":
            return f.mean(axes), np.abs(f).mean(axes)
        if name == "logsumexp":
            empty = 0 in np.take(f.shape, np.atleast_1d(axes))
            value = np.full(f.sum(axes).shape, -np.inf) if empty else special.logsumexp(f, axis=axes)
            return value, 1 + np.abs(f).max(axes, initial=0)
        pick = np.max if name == "max" else np.min
        return pick(f, axes, initial=-np.inf if name == "max" else np.inf), np.abs(f).max(axes, initial=0)

    declarations = [f"{k}:{place}{dim}" for k, (place, dim) in g.variables.items()]
    return text, declarations, arrays, dense


def stride(rng, a):
    """The same numbers in another layout: Fortran order, a window of a larger array, reversed, or as they are."""
    kind = int(rng.integers(4))
    if kind == 0:
        return np.asfortranarray(a)
    if kind == 1:
        wide = np.full(a.shape[:-1] + (2 * a.shape[-1] + 1,), np.nan, a.dtype)
        wide[..., 1::2] = a
        return wide[..., 1::2]
    if kind == 2:
        return np.ascontiguousarray(a[..., ::-1])[..., ::-1]
    return a


@pytest.mark.parametrize("seed", [pytest.param(k, marks=() if k < QUICK else pytest.mark.full) for k in range(ALL)])
def test_a_random_formula_is_numpys(seed):
    text, declarations, arrays, dense = draw(seed)
    rng = np.random.default_rng(seed + 10 ** 6)
    dtype = rng.choice([np.float64, np.float32])
    program = bb.parse(text, *declarations)
    given = {k: stride(rng, a.astype(dtype)) for k, a in arrays.items()}
    found = program(*given.values())
    expected, scale = dense({k: a.astype(dtype) for k, a in arrays.items()})
    if "_ij(" not in text and program.outputs[0][0] == "p":
        if expected.shape[-2] == 0:
            return  # without rows there is nothing to compare with what depends on no row
        expected, scale = program.kept(expected), program.kept(scale)
    assert found.shape == expected.shape, text
    infinite = np.isinf(expected)
    np.testing.assert_array_equal(found[infinite], expected[infinite], err_msg=text)
    tolerance = 1e-11 if dtype == np.float64 else 3e-4
    worst = np.abs(found - expected)[~infinite] / (scale[~infinite] + 1)
    assert worst.max(initial=0) < tolerance, text


@pytest.mark.full
@pytest.mark.parametrize("seed", range(0, ALL, 6))
def test_a_random_formula_has_the_same_bits_compiled(seed):
    text, declarations, arrays, _ = draw(seed)
    program = bb.parse(text, *declarations)
    dtype = np.float64 if seed % 4 == 0 else np.float32
    values = [a.astype(dtype) for a in arrays.values()]
    kernel = program.compile(target="cpu", policy="wait")
    np.testing.assert_array_equal(kernel(*values), program(*values), err_msg=text)


@pytest.mark.parametrize("seed", [pytest.param(k, marks=() if k < QUICK else pytest.mark.full) for k in range(ALL)])
def test_the_gradient_of_a_random_formula_is_that_of_central_differences(seed):
    text, declarations, arrays, dense = draw(seed, smooth=True)
    rng = np.random.default_rng(seed + 2 * 10 ** 6)
    program = bb.parse(text, *declarations)
    batch = np.broadcast_shapes(*(a.shape[:a.ndim - (1 if k in "sq" else 2)] for k, a in arrays.items()))
    arrays = {k: np.broadcast_to(a, batch + a.shape[a.ndim - (1 if k in "sq" else 2):]) for k, a in arrays.items()}
    direction = {k: rng.standard_normal(a.shape) for k, a in arrays.items()}
    def kept(values):
        value = dense(values)[0]
        return value if "_ij(" in text else program.kept(value)

    value = kept(arrays)
    cotangent = rng.standard_normal(value.shape)

    def along(t):
        return (kept({k: a + t * direction[k] for k, a in arrays.items()}) * cotangent).sum()

    def central(h):
        return (along(h) - along(-h)) / (2 * h)

    expected = (4 * central(1e-4) - central(2e-4)) / 3
    gradient = program.grad(list(arrays))(*arrays.values(), cotangent)
    products = [g * d for g, d in zip(gradient, direction.values())]
    scale = 1 + sum(np.abs(p).sum() for p in products) + np.abs(value * cotangent).sum()
    found = sum(p.sum() for p in products)
    assert abs(found - expected) < 1e-7 * scale, text
    tangent = program.diff(list(arrays))(*arrays.values(), *direction.values())
    assert abs((tangent * cotangent).sum() - found) < 1e-10 * scale, text


@pytest.mark.parametrize("seed", range(QUICK))
def test_a_formula_and_its_gradient_cost_at_most_five_times_the_formula(seed):
    text, declarations, _, _ = draw(seed, smooth=True)
    program = bb.parse(text, *declarations)
    if program.cost < 1:
        return
    gradient = program.grad([v[0] for v in program.variables])
    assert gradient.cost <= 5 * program.cost, text
