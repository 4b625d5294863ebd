"""Values that get small: right down to the smallest normal number, beyond it zero or a denormal number."""
import numpy as np
import pytest
from scipy import special

import bb

WIDE = np.longdouble
LIMIT = {"float32": 87.3, "float64": 708.3}  # exp(-d) is the smallest normal number near there
TWO = 0.6931471805599453


def arguments(dtype, scale):
    """Dense where results become denormal and zero, to far beyond; a prime number of rows."""
    edge = LIMIT[dtype] * scale
    width = 0.25 if dtype == "float32" else 0.06
    around = np.linspace(edge * (1 - width), edge * (1 + width), 1201)
    parts = [np.linspace(0, edge, 601), around, np.geomspace(edge, 100 * edge, 200)]
    return np.concatenate(parts)[:1999, None].astype(dtype)


# name: (text over a >= 0 (rows) and b = 1 (column) and w (column), reference of a, arguments over the natural ones)
PAIRS = {
    "exp": ("exp(-a * b) * w", lambda a: np.exp(-a), 1),
    "exp2": ("exp2(-a * b) * w", lambda a: np.exp2(-a), 1 / TWO),
    "scaled": ("exp2(a * b * -3) * w", lambda a: np.exp2(-3 * a), 1 / (3 * TWO)),
    "square": ("square(exp(-a * b)) * w", lambda a: np.exp(-2 * a), 0.5),
    "cube": ("exp(-a * b) * square(exp(-a * b)) * w", lambda a: np.exp(-3 * a), 1 / 3),
    "quotient": ("exp(-a * b) / (1 + a * b) * w", lambda a: np.exp(-a) / (1 + a), 1),
    "quotient alone": ("-exp(-a * b) / (1 + a * b)", lambda a: -np.exp(-a) / (1 + a), 1),
    "product": ("(1 + a * b) * exp(-a * b) * w", lambda a: np.exp(-a) * (1 + a), 1),  # 90 (710) times a 0
    "sigmoid": ("sigmoid(-a * b) * w", lambda a: 1 / (1 + np.exp(a)), 1),
    "sigmoid above": ("sigmoid(a * b) * w", lambda a: 1 / (1 + np.exp(-a)), 1),
    "softplus": ("softplus(-a * b) * w", lambda a: np.log1p(np.exp(-a)), 1),
    "softplus above": ("softplus(a * b) * w", lambda a: a + np.log1p(np.exp(-a)), 1),
    "erfc": ("erfc(sqrt(a * b)) * w", lambda a: special.erfc(np.sqrt(a).astype(np.float64)), 1),
    "gradient": ("grad(sum(exp(-a * b) * w), a, 1)", lambda a: -np.exp(-a), 1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_a_pairs_value_is_right_or_too_small_to_matter(name, dtype, target):
    text, reference, scale = PAIRS[name]
    a, one = arguments(dtype, scale), np.ones((1, 1), dtype)
    info, unit = np.finfo(dtype), np.finfo(dtype).eps
    text = f"sum_j({text})"
    used = [name for name in "abw" if f"{name} " in text + " " or f"{name})" in text]
    program = bb.parse(text, *[f"{name}:{'i' if name == 'a' else 'j'}1" for name in used])
    found = np.asarray(program.compile(target=target, policy="wait")(*[a if name == "a" else one for name in used]))
    exact = reference(a.astype(WIDE))
    small = WIDE(info.smallest_normal) * (4 if name != "product" else 4 * LIMIT[dtype])
    relative = ((6 if name == "erfc" else 2) * a.astype(WIDE) / scale + 16) * unit * abs(exact)
    assert (abs(found - exact) <= np.where(abs(exact) > small, relative, relative + small)).all()
    assert (found[abs(exact) < info.smallest_subnormal / 4] == 0).all()


# As operations (of rows) they are right among the denormal numbers as well.
ROWS = {
    "exp": (lambda a: np.exp(-a), 1, 1),
    "exp2": (lambda a: np.exp2(-a), 1, 1 / TWO),
    "sigmoid": (lambda a: 1 / (1 + np.exp(a)), 3, 1),
    "softplus": (lambda a: np.log1p(np.exp(-a)), 3, 1),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ROWS)
def test_an_operation_is_right_among_denormal_numbers(name, dtype, target):
    reference, ulps, scale = ROWS[name]
    a, one = arguments(dtype, scale), np.ones((1, 1), dtype)
    info = np.finfo(dtype)
    program = bb.parse(f"{name}(-a) * sum_j(b)", "a:i1", "b:j1")
    found = np.asarray(program.compile(target=target, policy="wait")(a, one))
    exact = reference(a.astype(WIDE))
    spacing = np.maximum(np.spacing(abs(exact).astype(dtype)).astype(WIDE), WIDE(info.smallest_subnormal))
    assert (abs(found - exact) <= (ulps + 0.01) * spacing).all()
    denormal = (exact > 2 * WIDE(info.smallest_subnormal)) & (exact < WIDE(info.smallest_normal) / 2)
    assert denormal.sum() > 50 and (found[denormal] != 0).all()
