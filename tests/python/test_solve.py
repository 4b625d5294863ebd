"""Kernel systems by conjugate gradients."""
import numpy as np
import pytest

import bb

RNG = np.random.default_rng(11)
N = 300
X = RNG.uniform(0, 1, (N, 2))
K = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1) / 0.1)


def gauss(e=1):
    return bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i2", "y:j2", "s:p1", f"b:j{e}")


@pytest.mark.parametrize("e", [1, 3, 20])
def test_the_solution_is_that_of_the_dense_system(e, target):
    b = RNG.standard_normal((N, e))
    found, result = gauss(e).compile(target=target).solve((X, X, np.array([0.1]), b), 3, alpha=0.1, tolerance=1e-10,
                                                          relative=True)
    np.testing.assert_allclose(found, np.linalg.solve(K + 0.1 * np.eye(N), b), rtol=0, atol=1e-7)
    assert result.iterations > 0 and result.residual <= 1e-10 and result.seconds > 0


def test_the_absolute_rule_of_stopping():
    """sum r^2 < numel(b) tolerance^2"""
    b = RNG.standard_normal((N, 2))
    found, _ = gauss(2).compile(target="interp").solve((X, X, np.array([0.1]), b), 3, alpha=0.5, tolerance=1e-5)
    r = b - (K + 0.5 * np.eye(N)) @ found
    assert (r ** 2).sum() < 1.01 * b.size * 1e-10


def test_float32():
    b = RNG.standard_normal((N, 1)).astype(np.float32)
    x = X.astype(np.float32)
    found, _ = gauss().compile(target="interp").solve((x, x, np.array([0.1], np.float32), b), 3, alpha=1.0,
                                                      tolerance=1e-5, relative=True)
    np.testing.assert_allclose(found, np.linalg.solve(K + np.eye(N), b), rtol=0, atol=2e-4)


def test_a_right_hand_side_of_zero_has_the_solution_zero():
    found, result = gauss().compile(target="interp").solve((X, X, np.array([0.1]), np.zeros((N, 1))), 3, alpha=0.1)
    assert (found == 0).all() and result.iterations == 0


def test_no_convergence_is_reported_with_the_iterate_so_far():
    """Conjugate gradients lower the energy 1/2 a.(K + alpha) a - a.b in every step (not the residual)."""
    b = RNG.standard_normal((N, 1))
    with pytest.raises(bb.Error) as caught:
        gauss().compile(target="interp").solve((X, X, np.array([0.1]), b), 3, alpha=1e-12, tolerance=1e-12,
                                               relative=True, max_iterations=5)
    assert caught.value.status == "NO_CONVERGENCE"
    a = caught.value.solution
    assert caught.value.result.iterations == 5
    assert 0.5 * (a * (K @ a)).sum() - (a * b).sum() < 0


def test_negative_curvature_is_reported():
    b = RNG.standard_normal((N, 1))
    program = bb.parse("sum_j(-exp(-sqdist(x, y) / s) * b)", "x:i2", "y:j2", "s:p1", "b:j1")
    with pytest.raises(bb.Error) as caught:
        program.compile(target="interp").solve((X, X, np.array([0.1]), b), 3, alpha=0.01)
    assert caught.value.status == "INDEFINITE"


def test_iterations_are_reported_and_may_cancel():
    b = RNG.standard_normal((N, 1))
    seen = []
    gauss().compile(target="interp").solve((X, X, np.array([0.1]), b), 3, alpha=0.1,
                                           report=lambda k, r: seen.append((k, r)))
    assert [k for k, _ in seen] == sorted(k for k, _ in seen) and seen[-1][1] < seen[0][1]
    with pytest.raises(bb.Error) as caught:
        gauss().compile(target="interp").solve((X, X, np.array([0.1]), b), 3, alpha=0.1, report=lambda k, r: True)
    assert caught.value.status == "CANCELLED"


def test_a_program_that_is_no_kernel_product_is_refused():
    program = bb.parse("argmin_j(sqdist(x, y) * b)", "x:i2", "y:j2", "b:j1")
    with pytest.raises(bb.Error) as caught:
        program.compile(target="interp").solve((X, X, np.zeros((N, 1))), 2)
    assert caught.value.status in ("BAD_ARGUMENT", "BAD_SHAPE", "BAD_DTYPE")
