"""Derivatives of higher order against closed forms, in float64."""
import numpy as np
import pytest

import bb

RNG = np.random.default_rng(7)
M, N, D = 9, 11, 3
X, Y, B = RNG.uniform(0, 1, (M, D)), RNG.uniform(0, 1, (N, D)), RNG.uniform(-1, 1, (N, 1))
DECLARATIONS = ("x:i3", "y:j3", "b:j1")
GAUSS = "exp(-sqdist(x, y)) * b"


def differences():
    r = X[:, None] - Y[None]
    return r, np.exp(-(r ** 2).sum(-1))


def hermite(order, t):
    """d^n/dt^n exp(-t^2) = (-1)^n H_n(t) exp(-t^2): the polynomial with its sign"""
    return np.polynomial.hermite.hermval(t, [0] * order + [(-1) ** order])


def directional(order, v):
    """The derivative of that order of sum_j exp(-|x + t v - y_j|^2) b_j at t = 0: with s = v.r and v of length 1,
    exp(-|r|^2) = exp(-(|r|^2 - s^2)) exp(-s^2)."""
    r, g = differences()
    s = (r * v[:, None]).sum(-1)
    return (hermite(order, s) * g) @ B


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_derivatives_up_to_the_fourth_agree_with_closed_forms(order, target):
    """Forward mode again and again, then once in reverse."""
    v = RNG.standard_normal((M, D))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    program = bb.parse(f"sum_j({GAUSS})", *DECLARATIONS)
    values = [X, Y, B]
    for _ in range(order):
        program = program.diff(["x"])
        values.append(v)
    found = program.compile(target=target)(*values)
    expected = directional(order, v)
    assert np.abs(found - expected).max() < 1e-10 * max(1, np.abs(expected).max())


def test_four_reverse_passes_agree_with_the_closed_form(target):
    """grad four times, contracted with v between: <v, grad <v, grad ...>>"""
    v = RNG.standard_normal((M, D))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    program = bb.parse(f"sum_j({GAUSS})", *DECLARATIONS)
    values = [X, Y, B]
    for order in range(1, 5):
        program = program.grad(["x"])
        values.append(np.ones((M, 1)) if order == 1 else v)
    found = (program.compile(target=target)(*values) * v).sum(-1, keepdims=True)
    expected = directional(4, v)
    assert np.abs(found - expected).max() < 1e-10 * max(1, np.abs(expected).max())


def test_fourth_derivatives_inside_the_formula():
    """grad in formula text, four deep"""
    formula = GAUSS
    for _ in range(4):
        formula = f"(grad({formula}, x, 1) | v)"
    v = RNG.standard_normal((M, D))
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    found = bb.parse(f"sum_j({formula})", *DECLARATIONS, "v:i3")(X, Y, B, v)
    expected = directional(4, v)
    assert np.abs(found - expected).max() < 1e-10 * max(1, np.abs(expected).max())


def test_the_laplacian_and_the_divergence(target):
    r, g = differences()
    q = (r ** 2).sum(-1)
    found = bb.parse("sum_j(laplacian(exp(-sqdist(x, y)), x) * b)", *DECLARATIONS)(X, Y, B, target=target)
    np.testing.assert_allclose(found, ((4 * q - 2 * D) * g) @ B, rtol=0, atol=1e-10)
    found = bb.parse("sum_j(divergence((x - y) * exp(-sqdist(x, y)), x) * b)", *DECLARATIONS)(X, Y, B, target=target)
    np.testing.assert_allclose(found, ((D - 2 * q) * g) @ B, rtol=0, atol=1e-10)


def test_the_gradient_of_a_reduction_inside_a_formula():
    r, g = differences()
    found = bb.parse(f"grad(sum_j({GAUSS}), x, 1)", *DECLARATIONS)(X, Y, B)
    expected = -2 * np.einsum("mnd,mn,n->md", r, g, B[:, 0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    text = "Grad(Sum_Reduction(Exp(-SqDist(x,y))*b,0), y, e)"
    found = bb.parse(text, *DECLARATIONS, "e:i1")(X, Y, B, np.ones((M, 1)))
    expected = 2 * np.einsum("mnd,mn,n->nd", r, g, B[:, 0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_the_gradient_folds_the_axes_that_a_variable_lacks():
    s = np.array([0.7])
    e = RNG.standard_normal((M, 1))
    program = bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", *DECLARATIONS, "s:p1").grad(["x", "y", "b", "s"])
    assert [place for place, _, _ in program.outputs] == ["i", "j", "j", "p"]
    by_x, by_y, by_b, by_s = program(X, Y, B, s, e)
    r, _ = differences()
    q = (r ** 2).sum(-1)
    k = np.exp(-q / s)
    weight = e * k * B[:, 0]
    np.testing.assert_allclose(by_x, -2 / s * np.einsum("mnd,mn->md", r, weight), atol=1e-12)
    np.testing.assert_allclose(by_y, 2 / s * np.einsum("mnd,mn->nd", r, weight), atol=1e-12)
    np.testing.assert_allclose(by_b, k.T @ e, atol=1e-12)
    np.testing.assert_allclose(by_s, [(weight * q).sum() / s[0] ** 2], atol=1e-11)


def test_the_gradient_may_use_the_forward_output():
    program = bb.parse("logsumexp_j(-sqdist(x, y))", "x:i3", "y:j3")
    e = RNG.standard_normal((M, 1))
    plain = program.grad(["x"])(X, Y, e)
    value = program(X, Y)
    saved = program.grad(["x"], forward=[0])
    np.testing.assert_allclose(saved(X, Y, e, value), plain, atol=1e-12)


def test_softmax_and_log_sum_exp_are_exact_to_third_order():
    """The tangents of log sum exp along v are the cumulants of v.y under the softmax."""
    v = RNG.standard_normal((M, D))
    program = bb.parse("logsumexp_j((x | y))", "x:i3", "y:j3")
    f = X @ Y.T
    p = np.exp(f - f.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    t = v @ Y.T
    mean = (p * t).sum(1, keepdims=True)
    centred = t - mean
    moments = [mean, (p * centred ** 2).sum(1, keepdims=True), (p * centred ** 3).sum(1, keepdims=True)]
    values = [X, Y]
    for expected in moments:
        program = program.diff(["x"])
        values.append(v)
        np.testing.assert_allclose(program(*values), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("name, pick", [("min", np.argmin), ("max", np.argmax)])
def test_selections_differentiate_through_the_chosen_pair(name, pick):
    e = RNG.standard_normal((M, 1))
    program = bb.parse(f"{name}_j(sqdist(x, y))", "x:i3", "y:j3")
    by_x, by_y = program.grad(["x", "y"])(X, Y, e)
    r, _ = differences()
    chosen = pick((r ** 2).sum(-1), axis=1)
    step = 2 * r[np.arange(M), chosen] * e
    np.testing.assert_allclose(by_x, step, atol=1e-13)
    expected = np.zeros_like(Y)
    np.add.at(expected, chosen, -step)
    np.testing.assert_allclose(by_y, expected, atol=1e-13)


def test_the_k_smallest_values_differentiate_twice():
    k = 4
    e = RNG.standard_normal((M, k))
    v = RNG.standard_normal((M, D))
    program = bb.parse(f"kmin_j(square(sqdist(x, y)), {k})", "x:i3", "y:j3").grad(["x"])
    r, _ = differences()
    q = (r ** 2).sum(-1)
    nearest = np.argsort(q, axis=1)[:, :k]
    rows = np.arange(M)[:, None]
    near, near_q = r[rows, nearest], q[rows, nearest]
    expected = (e[:, :, None] * 4 * near_q[:, :, None] * near).sum(1)
    np.testing.assert_allclose(program(X, Y, e), expected, atol=1e-12)
    inner = (near * v[:, None]).sum(-1)
    expected = (e[:, :, None] * (8 * inner[:, :, None] * near + 4 * near_q[:, :, None] * v[:, None])).sum(1)
    np.testing.assert_allclose(program.diff(["x"])(X, Y, e, v), expected, atol=1e-12)


def test_hessian_vector_products_of_the_lddmm_hamiltonian(target):
    """H(q, p) = 1/2 sum_ij p_i . K(q_i, q_j) p_j with a Gaussian K; the Hessian-vector product is the tangent of the
    gradient, with the rows q_i and the columns q_j moving together."""
    n = 12
    q, p = RNG.standard_normal((n, D)), RNG.standard_normal((n, D))
    w, z = RNG.standard_normal((n, D)), RNG.standard_normal((n, D))
    text = "0.5 * sum_ij(exp(-sqdist(x, y)) * (a | b))"
    names = ["x", "y", "a", "b"]
    program = bb.parse(text, "x:i3", "y:j3", "a:i3", "b:j3").grad(names)
    kernel, tangent = program.compile(target=target), program.diff(names).compile(target=target)
    one = np.ones(1)

    def gradient(q, p):
        by_x, by_y, by_a, by_b = kernel(q, q, p, p, one)
        return by_x + by_y, by_a + by_b

    h = 1e-4
    steps = [gradient(q + t * w, p + t * z) for t in (h, -h, 2 * h, -2 * h)]
    for k, found in enumerate(((0, 1), (2, 3))):
        exact = tangent(q, q, p, p, one, w, w, z, z)
        product = exact[found[0]] + exact[found[1]]
        near, far = (steps[0][k] - steps[1][k]) / (2 * h), (steps[2][k] - steps[3][k]) / (4 * h)
        np.testing.assert_allclose(product, (4 * near - far) / 3, rtol=0, atol=1e-9)


def test_selecting_without_a_derivative_says_so():
    with pytest.raises(bb.Error, match="index") as caught:
        bb.parse("argmin_j(sqdist(x, y))", "x:i3", "y:j3").grad(["x"])
    assert caught.value.status == "NOT_DIFFERENTIABLE"
