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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_copies_of_the_points_are_the_same_points(dtype):
    """Products then meet each pair once, whose sums have other roundings than those of all pairs."""
    x, b, s = X.astype(dtype), RNG.standard_normal((N, 1)).astype(dtype), np.array([0.1], dtype)
    kernel = gauss().compile(target="interp")
    same, _ = kernel.solve((x, x, s, b), 3, alpha=0.1, tolerance=1e-5)
    for copy in (x.copy(), np.asfortranarray(x), np.repeat(x, 2, axis=0)[::2]):
        found, _ = kernel.solve((x, copy, s, b), 3, alpha=0.1, tolerance=1e-5)
        np.testing.assert_array_equal(found, same)
    other = x.copy()
    other[-1, -1] = np.nextafter(other[-1, -1], dtype(2))
    found, _ = kernel.solve((x, other, s, b), 3, alpha=0.1, tolerance=1e-5)
    assert (found != same).any()
    np.testing.assert_allclose(found, same, rtol=0, atol=1e-2)


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


# ---- preconditioners, blocks, warm starts, MINRES -------------------------------------------------------------------
def system(n, alpha, e=1, scale=0.1, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n, 2)).astype(dtype)
    k = np.exp(-((x[:, None].astype(np.float64) - x[None]) ** 2).sum(-1) / scale)
    b = rng.standard_normal((n, e)).astype(dtype)
    return (x, x, np.array([scale], dtype), b), k + alpha * np.eye(n), b


def relative(matrix, found, b):
    return np.linalg.norm(matrix @ found.astype(np.float64) - b, axis=-2) / np.linalg.norm(b, axis=-2)


@pytest.mark.parametrize("n", [1, 2, 17, 63, 64, 65, 200])
@pytest.mark.parametrize("e", [1, 3, 17])
@pytest.mark.parametrize("precondition", ["auto", "none", "rpcholesky", "nystrom"])
def test_every_preconditioner_solves_the_system(n, e, precondition):
    values, matrix, b = system(n, 1e-3, e)
    found, result = gauss(e).compile(target="interp").solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True,
                                                            precondition=precondition, max_iterations=5000)
    assert relative(matrix, found, b).max() <= 2.1e-8
    assert result.remark == b"" and (result.rank > 0) == (result.used in ("rpcholesky", "nystrom"))
    if precondition != "auto":
        assert result.used == precondition


@pytest.mark.parametrize("precondition", ["rpcholesky", "nystrom"])
def test_a_preconditioner_saves_iterations(precondition):
    values, matrix, b = system(400, 1e-4)
    k = gauss().compile(target="interp")
    plain = k.solve(values, 3, alpha=1e-4, relative=True, precondition="none")[1]
    found, result = k.solve(values, 3, alpha=1e-4, relative=True, precondition=precondition)
    assert result.iterations * 10 < plain.iterations and result.trace_left < 1e-3 and plain.rank == 0
    assert relative(matrix, found, b).max() <= 2e-6
    _, fixed = k.solve(values, 3, alpha=1e-4, relative=True, precondition=precondition, rank=10)
    assert fixed.rank == 10 and result.iterations < fixed.iterations < plain.iterations


def test_an_easy_system_gets_no_preconditioner():
    values, _, _ = system(300, 1000.0)
    assert gauss().compile(target="interp").solve(values, 3, alpha=1000.0, relative=True)[1].used == "none"


def test_results_do_not_depend_on_threads_and_follow_the_seed():
    values, _, _ = system(700, 1e-3, 2)
    k = gauss(2).compile(target="interp")
    def solve(threads, seed):
        return k.solve(values, 3, alpha=1e-3, relative=True, precondition="rpcholesky", seed=seed, threads=threads)[0]
    one = solve(1, 5)
    assert (one == solve(3, 5)).all() and (one == solve(1, 5)).all() and not (one == solve(1, 6)).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("formula,matrix", [
    ("sum_j(exp(-sqdist(x, y) / s) * b)", lambda k, x: k),
    ("2 * sum_j(exp(-sqdist(x, y) / s) * b) + sum_j(b)", lambda k, x: 2 * k + 1),
    ("s * sum_j((x | y) * b) + sum_j(b * exp(-sqdist(x, y) / s) / s)", lambda k, x: 0.1 * x @ x.T + 10 * k),
    ("sum_j(exp(-sqdist(x, y) / s) * (x | x) * b * (y | y))", lambda k, x: k * np.outer(*2 * [(x * x).sum(1)]))])
def test_entries_are_those_of_the_product(formula, matrix, dtype):
    """A factor of high rank of the right entries leaves little to be done."""
    n, x = 90, X[:90].astype(dtype)
    b = RNG.standard_normal((n, 2)).astype(dtype)
    program = bb.parse(formula, "x:i2", "y:j2", "s:p1", "b:j2")
    tolerance, alpha = (1e-3, 0.1) if dtype == np.float32 else (1e-9, 0.01)
    kernel, values = program.compile(target="interp"), (x, x, np.array([0.1], dtype), b)
    options = dict(alpha=alpha, rank=n, tolerance=tolerance, relative=True)
    found, result = kernel.solve(values, 3, precondition="rpcholesky", **options)
    left = b - matrix(K[:n, :n], X[:n]) @ found - alpha * found
    assert np.linalg.norm(left, axis=0).max() <= 4 * tolerance * np.linalg.norm(b)
    assert result.used == "rpcholesky" and result.iterations <= 6
    assert kernel.solve(values, 3, precondition="none", **options)[1].iterations > 1.5 * result.iterations


def test_memory_bounds_the_rank():
    values, matrix, b = system(500, 1e-6)
    found, result = gauss().compile(target="interp").solve(values, 3, alpha=1e-6, relative=True, memory=300_000,
                                                           precondition="rpcholesky", max_iterations=20000)
    assert 0 < result.rank <= 75 and relative(matrix, found, b).max() <= 2e-6


@pytest.mark.parametrize("precondition", ["none", "auto", "rpcholesky", "nystrom"])
def test_a_kernel_with_matrices_as_values_is_one_system(precondition):
    """curl-free kernel: components of b mix"""
    n = 60
    rng = np.random.default_rng(3)
    x, b = rng.standard_normal((n, 2)), rng.standard_normal((n, 2))
    u = x[:, None] - x[None]
    g = np.exp(-(u ** 2).sum(-1))
    dense = 2 * g[..., None, None] * (np.eye(2) - 2 * u[..., :, None] * u[..., None, :])
    matrix = dense.transpose(0, 2, 1, 3).reshape(2 * n, 2 * n) + 0.01 * np.eye(2 * n)
    program = bb.parse("sum_j(2 * exp(-sqdist(x, y)) * (b - 2 * (x - y | b) * (x - y)))", "x:i2", "y:j2", "b:j2")
    found, result = program.compile(target="interp").solve((x, x, b), 2, alpha=0.01, tolerance=1e-9, relative=True,
                                                           precondition=precondition)
    np.testing.assert_allclose(found.ravel(), np.linalg.solve(matrix, b.ravel()), rtol=0, atol=1e-5)
    assert result.used == ("rpcholesky" if precondition == "auto" else precondition)


def test_columns_with_matrices_of_their_own():
    n = 80
    rng = np.random.default_rng(4)
    x, b, s = rng.uniform(0, 1, (n, 2)), rng.standard_normal((n, 2)), np.array([0.05, 0.3])
    d = ((x[:, None] - x[None]) ** 2).sum(-1)
    program = bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i2", "y:j2", "s:p2", "b:j2")
    found, result = program.compile(target="interp").solve((x, x, s, b), 3, alpha=0.1, tolerance=1e-9, relative=True)
    for e in range(2):
        np.testing.assert_allclose(found[:, e], np.linalg.solve(np.exp(-d / s[e]) + 0.1 * np.eye(n), b[:, e]), atol=1e-6)
    assert result.used == "none" and b"matrix of its own" in result.remark


@pytest.mark.parametrize("precondition", ["none", "rpcholesky"])
def test_batches(precondition):
    n, rng = 70, np.random.default_rng(5)
    x, b, s = rng.uniform(0, 1, (2, 3, n, 2)), rng.standard_normal((2, 3, n, 2)), rng.uniform(.05, .3, (2, 1, 1))
    k = np.exp(-((x[..., :, None, :] - x[..., None, :, :]) ** 2).sum(-1) / s[..., None]) + 1e-2 * np.eye(n)
    found, result = gauss(2).compile(target="interp").solve((x, x, s, b), 3, alpha=1e-2, tolerance=1e-9, relative=True,
                                                            precondition=precondition)
    np.testing.assert_allclose(found, np.linalg.solve(k, b), rtol=0, atol=1e-5)
    assert result.used == precondition


def test_the_unknown_may_be_indexed_by_i_and_arrays_may_be_strided():
    n, rng = 90, np.random.default_rng(6)
    wide = rng.uniform(0, 1, (n, 6))
    x, b = wide[:, ::3], np.asfortranarray(rng.standard_normal((n, 2)))
    matrix = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1)) + 1e-3 * np.eye(n)
    program = bb.parse("sum_i(exp(-sqdist(x, y)) * b)", "x:i2", "y:j2", "b:i2")
    found, _ = program.compile(target="interp").solve((x, x, b), 2, alpha=1e-3, tolerance=1e-10, relative=True,
                                                      precondition="rpcholesky")
    assert relative(matrix, found, b).max() < 1e-9


def test_a_warm_start():
    values, matrix, b = system(200, 1e-2, 2)
    k = gauss(2).compile(target="interp")
    found, cold = k.solve(values, 3, alpha=1e-2, tolerance=1e-8, relative=True, precondition="none", history=1000)
    assert len(cold.history) == cold.history_count == cold.iterations + 1 and cold.history[0] == 1
    again, warm = k.solve(values, 3, alpha=1e-2, tolerance=1e-7, relative=True, precondition="none", guess=found)
    assert warm.iterations == 0 and (again == found).all()
    near, warm = k.solve(values, 3, alpha=1e-2, tolerance=1e-8, relative=True, precondition="none",
                         guess=found + 1e-6 * RNG.standard_normal(found.shape))
    assert 0 < warm.iterations < cold.iterations and relative(matrix, near, b).max() <= 2e-8
    with pytest.raises(bb.Error) as caught:
        k.solve(values, 3, guess=found[:5])
    assert caught.value.status == "BAD_SHAPE"


@pytest.mark.parametrize("e", [1, 3])
def test_minres_solves_indefinite_systems(e):
    n, rng = 80, np.random.default_rng(7)
    x, b = rng.uniform(0, 1, (n, 1)), rng.standard_normal((n, e))
    matrix = -np.abs(x - x.T)
    program = bb.parse("sum_j(-abs(x - y) * b)", "x:i1", "y:j1", f"b:j{e}").compile(target="interp")
    found, result = program.solve((x, x, b), 2, alpha=0.3, tolerance=1e-9, relative=True, method="minres")
    np.testing.assert_allclose(found, np.linalg.solve(matrix + 0.3 * np.eye(n), b), atol=1e-6)
    assert result.used == "none"
    with pytest.raises(bb.Error) as caught:
        program.solve((x, x, b), 2, alpha=0.3, relative=True)
    assert caught.value.status == "INDEFINITE" and "MINRES" in str(caught.value)
    with pytest.raises(bb.Error) as caught:
        program.solve((x, x, b), 2, method="minres", precondition="nystrom")
    assert caught.value.status == "BAD_ARGUMENT"


@pytest.mark.parametrize("method,precondition", [("cg", "none"), ("cg", "auto"), ("cg", "rpcholesky"), ("cg", "nystrom"),
                                                 ("cg", "blocks"), ("cg", "neighbors"), ("minres", "auto")])
@pytest.mark.parametrize("what", ["duplicates", "smooth", "far apart", "float32", "nan point", "nan b", "infinite point",
                                  "not symmetric", "affine"])
def test_no_wrong_answer_without_a_word(what, method, precondition):
    """Either the residual is as small as asked for, or there is an error."""
    n, rng = 120, np.random.default_rng(8)
    x, b, formula = rng.uniform(0, 1, (n, 2)), rng.standard_normal((n, 2)), "sum_j(exp(-sqdist(x, y) / s) * b)"
    s = 0.1
    if what == "duplicates":
        x[60:] = x[:60]
    if what == "smooth":
        s = 1e4
    if what == "far apart":
        s = 1e-9
    if what == "nan point":
        x[7, 1] = np.nan
    if what == "infinite point":
        x[7, 1] = np.inf
    if what == "nan b":
        b[9] = np.nan
    if what == "not symmetric":
        formula = "sum_j(exp(-sqdist(x, y) / s) * (2 + sin(9 * elem(y, 0) * elem(x, 1))) * b)"
    if what == "affine":
        formula = "sum_j(exp(-sqdist(x, y) / s) * (b + 1))"
    dtype = np.float32 if what == "float32" else np.float64
    x, b, p = x.astype(dtype), b.astype(dtype), np.array([s], dtype)
    k = bb.parse(formula, "x:i2", "y:j2", "s:p1", "b:j2").compile(target="interp")
    for alpha in (0.0, 1e-6):
        try:
            found, result = k.solve((x, x, p, b), 3, alpha=alpha, tolerance=1e-5, relative=True, method=method,
                                    precondition=precondition, max_iterations=600)
        except bb.Error as error:
            assert error.status in ("NO_CONVERGENCE", "INDEFINITE") and len(str(error)) > 40
        else:
            r = b - k(x, x, p, found, dtype=np.float64) - alpha * found
            assert (np.linalg.norm(r, axis=0) <= 2.1e-5 * np.linalg.norm(b, axis=0)).all()
            assert what not in ("nan point", "nan b", "infinite point")


def test_what_rules_a_preconditioner_out_is_said():
    values, _, _ = system(100, 0.0)
    program = bb.parse("sum_j(exp(-sqdist(x, y) / s) / (1 + sum_i(exp(-sqdist(x, y) / s))) * b)", "x:i2", "y:j2", "s:p1",
                       "b:j1").compile(target="interp")
    _, result = program.solve(values, 3, alpha=1.0, relative=True, precondition="rpcholesky")
    assert result.used == "none" and b"reduction within" in result.remark
    six = tuple(np.array(a) for a in ([[0, 100]], [1], [[0, 100]], [[0, 100]], [1], [[0, 100]]))
    _, result = gauss().compile(target="interp").solve(values, 3, alpha=1.0, relative=True, precondition="nystrom",
                                                       ranges=six)
    assert result.used == "none" and b"ranges" in result.remark


def test_cancelling_while_the_preconditioner_is_in_use():
    values, _, _ = system(300, 1e-6)
    with pytest.raises(bb.Error) as caught:
        gauss().compile(target="interp").solve(values, 3, alpha=1e-6, relative=True, precondition="rpcholesky",
                                               report=lambda k, r: k == 2)
    assert caught.value.status == "CANCELLED"


# ---- nothing wrong goes unsaid: a sample of all combinations --------------------------------------------------------
FORMULAS = {
    "gaussian": "exp(-sqdist(x, y) / s) * b", "laplacian": "exp(-norm2(x - y) / s) * b",
    "matern": "(1 + norm2(x - y) / s) * exp(-norm2(x - y) / s) * b", "linear": "(x | y) * b",
    "distance": "norm2(x - y) / s * b", "energy": "-norm2(x - y) / s * b", "cosine": "cos(sqdist(x, y) / s) * b",
    "not symmetric": "exp(-sqdist(x, y) / s) * (2 + sin(9 * elem(y, 0) * elem(x, 1))) * b",
    "affine": "exp(-sqdist(x, y) / s) * (b + 1)", "square": "exp(-sqdist(x, y) / s) * b * b",
    "infinite": "b / norm2(x - y)"}
SIZES = {np.float32: 1e30, np.float64: 1e150}


def hard_system(rng, dtype):
    n = rng.choice([0, 1, 2, 3, 17, 64, 120])
    x, b = rng.uniform(0, 1, (n, 2)).astype(dtype), rng.standard_normal((n, 3)).astype(dtype)
    if rng.random() < 0.3:
        x[n // 2:2 * (n // 2)] = x[:n // 2]
    if rng.random() < 0.1:
        x[:, 1] = np.nan
    what = rng.choice(["plain", "plain", "zero", "one zero", "equal", "huge", "tiny", "nan"])
    if what == "zero":
        b[:] = 0
    if what == "one zero":
        b[:, 1] = 0
    if what == "equal":
        b[:, 1:] = b[:, :1]
    if what in ("huge", "tiny"):
        b *= dtype(SIZES[dtype] if what == "huge" else 1 / SIZES[dtype])
    if what == "nan" and n:
        b[n // 2, 1] = np.nan
    return x, b


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_answer_is_right_or_refused(formula, dtype):
    rng = np.random.default_rng(sum(map(ord, formula)) + 7 * np.dtype(dtype).itemsize)
    k = bb.parse(f"sum_j({FORMULAS[formula]})", "x:i2", "y:j2", "s:p1", "b:j3").compile(target="interp")
    answers = refusals = 0
    for _ in range(60):
        x, b = hard_system(rng, dtype)
        s, alpha = np.array([rng.choice([1e-8, 0.1, 1e6])], dtype), rng.choice([0.0, 1e-6, 1e-1, 10.0])
        method = rng.choice(["auto", "cg", "minres"])
        precondition = "none" if method == "minres" else rng.choice(["none", "auto", "rpcholesky", "nystrom", "blocks", "neighbors"])
        relative = bool(rng.random() < 0.7)
        try:
            found, result = k.solve((x, x, s, b), 3, alpha=alpha, tolerance=1e-5, relative=relative, method=method,
                                    precondition=precondition, max_iterations=600)
        except bb.Error as error:
            refusals += 1
            assert error.status in ("NO_CONVERGENCE", "INDEFINITE") and len(str(error)) > 60
            assert len(b) > 0
            continue
        answers += 1
        if not len(b):
            continue
        r = (b - k(x, x, s, found, dtype=np.float64) - alpha * found.astype(np.float64)).astype(np.float64)
        axis = None if formula in ("affine", "square") else 0  # those have no columns of their own
        size = np.linalg.norm(b.astype(np.float64), axis=axis)
        floor = 0 if relative else 2.1e-5 * np.sqrt(b.size)
        rounding = 10 * np.finfo(dtype).eps
        assert (np.linalg.norm(r, axis=axis) <= (2.1e-5 if relative else rounding) * size + floor).all()
    assert answers > 5 and refusals > 5


@pytest.mark.parametrize("e", [5, 8, 16, 20])
def test_blocks_of_columns_stay_independent(e):
    """With residuals instead of their basis, this stopped at 3,000 iterations with a residual of 1e-3."""
    values, matrix, b = system(300, 1e-6, e)
    found, result = gauss(e).compile(target="interp").solve(values, 3, alpha=1e-6, relative=True, precondition="none")
    assert relative(matrix, found, b).max() <= 2e-6 and result.iterations < 1000


def test_equal_columns_share_their_solution():
    values, matrix, b = system(200, 1e-3, 1)
    b = np.repeat(b, 6, axis=1) * [1, 2, 0, -1, 1e-9, 1e9]
    found, _ = gauss(6).compile(target="interp").solve((*values[:3], b), 3, alpha=1e-3, relative=True, tolerance=1e-9)
    np.testing.assert_allclose(found, found[:, :1] * [1, 2, 0, -1, 1e-9, 1e9], rtol=1e-4, atol=0)


def test_a_failure_gives_no_iterate_that_is_far_worse_than_one_before():
    values, matrix, b = system(300, 0.0, 1)
    for precondition in ("none", "rpcholesky", "nystrom"):
        with pytest.raises(bb.Error) as caught:
            gauss().compile(target="interp").solve(values, 3, alpha=0.0, relative=True, precondition=precondition)
        true = relative(matrix, caught.value.solution, b).max()
        assert true <= 1100 and abs(caught.value.result.residual - true) <= 0.05 * true
        assert any(word in str(caught.value) for word in ("raise alpha", "raise max_iterations"))


def test_a_solution_beyond_its_type_is_refused():
    values, _, b = system(5, 0.0, 1, dtype=np.float32)
    with pytest.raises(bb.Error) as caught:
        gauss().compile(target="interp").solve((*values[:2], np.array([1e-9], np.float32), b * np.float32(1e38) * 9), 3,
                                               alpha=0.0, relative=True)
    assert caught.value.status == "NO_CONVERGENCE"
    b, x = b.astype(np.float16), values[0].astype(np.float16)
    k = bb.parse("sum_j(exp(-sqdist(x, y) / s) * 0.01 * b)", "x:i2", "y:j2", "s:p1", "b:j1").compile(target="interp")
    with pytest.raises(bb.Error, match="beyond the largest number"):
        k.solve((x, x, np.array([1e-9], np.float32), np.full_like(b, 3e4)), 3, alpha=0.0, relative=True)


# ---- blocks -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("e", [1, 5])
@pytest.mark.parametrize("clusters", [None, "grid", "one", "each"])
def test_the_block_diagonal_preconditioner(e, clusters):
    values, matrix, b = system(300, 1e-3, e, scale=1e-3)
    x = values[0]
    labels = {"grid": (np.floor(4 * x[:, 0]) * 7 + np.floor(4 * x[:, 1])).astype(np.int64),
              "one": np.zeros(300, np.int64), "each": np.arange(300, dtype=np.int64)}.get(clusters)
    k = gauss(e).compile(target="interp")
    found, result = k.solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True, precondition="blocks", clusters=labels)
    assert relative(matrix, found, b).max() <= 2.1e-8 and result.used == "blocks"
    plain = k.solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True, precondition="none")[1]
    if clusters == "one":
        assert result.iterations <= 2
    if clusters == "grid" and e == 1:
        assert result.iterations < 0.7 * plain.iterations
    for bad in (np.full(300, -1), np.full(300, 300)):
        with pytest.raises(bb.Error, match="expected a number from 0 to 299"):
            k.solve(values, 3, precondition="blocks", clusters=bad.astype(np.int64))
    with pytest.raises(bb.Error, match="make the clusters smaller"):
        k.solve(values, 3, precondition="blocks", clusters=np.zeros(300, np.int64), memory=300_000)


def test_blocks_of_batches_and_of_matrices_as_values():
    n, rng = 70, np.random.default_rng(5)
    x, b, s = rng.uniform(0, 1, (3, n, 2)), rng.standard_normal((3, n, 2)), rng.uniform(.05, .3, (3, 1))
    k = np.exp(-((x[..., :, None, :] - x[..., None, :, :]) ** 2).sum(-1) / s[..., None]) + 1e-2 * np.eye(n)
    found, result = gauss(2).compile(target="interp").solve((x, x, s, b), 3, alpha=1e-2, tolerance=1e-9, relative=True,
                                                            precondition="blocks", clusters=np.arange(n) // 9)
    np.testing.assert_allclose(found, np.linalg.solve(k, b), rtol=0, atol=1e-5)
    program = bb.parse("sum_j(2 * exp(-sqdist(x, y)) * (b - 2 * (x - y | b) * (x - y)))", "x:i2", "y:j2", "b:j2")
    args = (x[0], x[0], b[0])
    plain, _ = program.compile(target="interp").solve(args, 2, alpha=0.1, tolerance=1e-9, relative=True,
                                                      precondition="none")
    found, result = program.compile(target="interp").solve(args, 2, alpha=0.1, tolerance=1e-9, relative=True,
                                                           precondition="blocks", clusters=np.arange(2 * n) // 10)
    np.testing.assert_allclose(found, plain, atol=1e-6)
    assert result.used == "blocks"


# ---- sparse inverse factors -------------------------------------------------------------------------------------------
def pattern(x, count, rng):
    """Nearest among earlier ones in a random order, by brute force."""
    n = len(x)
    rank = rng.permutation(n)
    q = ((x[:, None] - x[None]) ** 2).sum(-1)
    q[rank[None] >= rank[:, None]] = np.inf
    found = np.argsort(q, axis=1)[:, :count]
    return np.where(np.isinf(np.take_along_axis(q, found, 1)), -1, found).astype(np.int64), rank.astype(np.int64)


@pytest.mark.parametrize("n", [1, 2, 17, 300, 700])
@pytest.mark.parametrize("e", [1, 3])
def test_the_neighbors_preconditioner(n, e):
    values, matrix, b = system(n, 1e-3, e, scale=0.01)
    k = gauss(e).compile(target="interp")
    plain = k.solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True, precondition="none")[1]
    for count in (1, 20):
        near, rank = pattern(values[0], min(count, n), np.random.default_rng(1))
        found, result = k.solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True, precondition="neighbors",
                                neighbors=near, rank_of=rank)
        assert relative(matrix, found, b).max() <= 2.1e-8 and result.used == "neighbors"
    if n >= 300 and e == 1:
        assert 3 * result.iterations < plain.iterations


def test_all_earlier_unknowns_as_neighbors_give_the_inverse():
    values, _, b = system(60, 1e-4, 2)
    near = np.where(np.arange(59) < np.arange(60)[:, None], np.arange(59), -1).astype(np.int64)
    found, result = gauss(2).compile(target="interp").solve(values, 3, alpha=1e-4, tolerance=1e-7, relative=True,
                                                            precondition="neighbors", neighbors=near)
    assert result.iterations <= 3


def test_patterns_are_checked():
    values, _, _ = system(10, 1e-2)
    k = gauss().compile(target="interp")
    good = np.full((10, 2), -1, np.int64)
    for row, column, bad in ((3, 0, 3), (3, 1, 5), (3, 0, -2), (3, 0, 10)):
        near = good.copy()
        near[row, column] = bad
        with pytest.raises(bb.Error, match="comes before it"):
            k.solve(values, 3, alpha=1e-2, precondition="neighbors", neighbors=near)
    near = good.copy()
    near[5] = 2
    with pytest.raises(bb.Error, match="once"):
        k.solve(values, 3, alpha=1e-2, precondition="neighbors", neighbors=near)
    with pytest.raises(bb.Error, match="neighbor_count"):
        k.solve(values, 3, alpha=1e-2, precondition="neighbors", neighbor_count=1001)


@pytest.mark.parametrize("points", ["plane", "line", "copies", "one place", "8-D"])
@pytest.mark.parametrize("n", [1, 2, 13, 250])
def test_neighbors_are_found_among_the_points(points, n):
    """With all that come before it as neighbours the factor is exact; with some, it saves most of the iterations."""
    values, _, b = system(n, 1e-3, 3, scale=0.01)
    rng = np.random.default_rng(n)
    x = {"plane": values[0], "line": np.hstack([values[0][:, :1], 0 * values[0][:, 1:]]), "8-D": rng.uniform(0, 1, (n, 8)),
         "copies": values[0][rng.integers(0, n // 2 + 1, n)], "one place": 0 * values[0]}[points]
    k = bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", f"x:i{x.shape[1]}", f"y:j{x.shape[1]}", "s:p1", "b:j3").compile(
        target="interp")
    values = (x, x, *values[2:])
    matrix = np.exp(-((x[:, None] - x[None]) ** 2).sum(-1) / float(np.ravel(values[2])[0])) + 1e-3 * np.eye(n)
    for count, most in ((n, 3), (12, n)):
        found, result = k.solve(values, 3, alpha=1e-3, tolerance=1e-7, relative=True, precondition="neighbors",
                                neighbor_count=min(count, 1000))
        assert relative(matrix, found, b).max() <= 2.1e-7
        assert result.used == "neighbors" and result.iterations <= most


def test_neighbors_found_are_as_good_as_those_by_brute_force():
    values, _, _ = system(900, 1e-3, 1, scale=0.003)
    k = gauss().compile(target="interp")
    near, rank = pattern(values[0], 15, np.random.default_rng(1))
    options = dict(alpha=1e-3, tolerance=1e-8, relative=True, precondition="neighbors")
    wanted = k.solve(values, 3, neighbors=near, rank_of=rank, **options)[1].iterations
    assert abs(k.solve(values, 3, neighbor_count=15, **options)[1].iterations - wanted) <= 0.2 * wanted + 1
    first = k.solve(values, 3, neighbor_count=15, threads=1, **options)[0]
    np.testing.assert_array_equal(first, k.solve(values, 3, neighbor_count=15, threads=3, **options)[0])


def test_auto_finds_neighbors_of_many_points():
    values, matrix, b = system(3100, 1e-3, 1, scale=3e-5)
    found, result = gauss().compile().solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True)
    assert relative(matrix, found, b).max() <= 2.1e-8 and result.used == "neighbors"


def test_neighbors_of_points_that_are_not_finite():
    values, _, _ = system(40, 1e-3, 1)
    values[0][7, 0] = np.nan
    with pytest.raises(bb.Error, match="not"):
        gauss().compile(target="interp").solve(values, 3, alpha=1e-3, precondition="neighbors")


def test_blocks_are_made_of_points_near_each_other():
    """No clusters named: the order of the points does not matter."""
    values, matrix, b = system(1000, 1e-3, 1, scale=1e-4)
    k = gauss().compile(target="interp")
    found, result = k.solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True, precondition="blocks")
    assert relative(matrix, found, b).max() <= 2.1e-8 and result.used == "blocks"
    random = k.solve(values, 3, alpha=1e-3, tolerance=1e-8, relative=True, precondition="blocks",
                     clusters=(np.random.default_rng(0).permutation(1000) // 256).astype(np.int64))[1]
    assert 2 * result.iterations < random.iterations


def test_auto_takes_neighbors_where_a_low_rank_leaves_too_much():
    for scale, wanted in ((1e-4, "neighbors"), (10.0, "rpcholesky")):
        values, matrix, b = system(600, 1e-3, 1, scale=scale)
        near, rank = pattern(values[0], 20, np.random.default_rng(1))
        found, result = gauss().compile(target="interp").solve(
            values, 3, alpha=1e-3, tolerance=1e-8, relative=True, neighbors=near, rank_of=rank, memory=1_000_000)
        assert relative(matrix, found, b).max() <= 2.1e-8
        assert result.used == wanted


@pytest.mark.parametrize("method", ["cg", "minres", "auto"])
def test_a_matrix_that_is_not_symmetric_is_named(method):
    values, _, b = system(60, 1e-3, 2)
    k = bb.parse("sum_j(exp((x | x) - 2 * (y | y)) * b)", "x:i2", "y:j2",
                 "b:j2").compile(target="interp")
    with pytest.raises(bb.Error, match="not symmetric.*GMRES"):
        k.solve((values[0], values[0], b), 2, alpha=0.3, tolerance=1e-9, relative=True, method=method)


# ---- the command ------------------------------------------------------------------------------------------------------
def test_the_commands_solve_logdet_eigen(tmp_path):
    import subprocess

    values, matrix, b = system(120, 0.0)
    for name, a in (("x", values[0]), ("b", b)):
        np.save(tmp_path / f"{name}.npy", a)

    def call(what, *more, code=0):
        command = [bb.COMMAND, what, "sum_j(exp(-sqdist(x, y) / s) * b)", "x=x.npy:i", "y=x.npy:j", "s=0.1", "b=b.npy:j"]
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
        return done

    done = call("solve", "--alpha", "0.1", "--rtol", "1e-9", "-o", "a.npy")
    np.testing.assert_allclose((matrix + 0.1 * np.eye(120)) @ np.load(tmp_path / "a.npy"), b, atol=1e-7)
    assert "iterations, relative residual" in done.stderr
    for how in ("blocks", "neighbors"):
        done = call("solve", "--alpha", "0.1", "--precondition", how, "--neighbors", "7", "-o", "c.npy")
        assert how in done.stderr
        np.testing.assert_allclose(np.load(tmp_path / "c.npy"), np.load(tmp_path / "a.npy"), atol=1e-4)
    assert "preconditioners AUTO" in call("logdet", "--alpha", "0.1", "--precondition", "blocks", code=1).stderr
    value, error = call("logdet", "--alpha", "0.1").stdout.split(" +- ")
    assert abs(float(value) - np.linalg.slogdet(matrix + 0.1 * np.eye(120))[1]) <= float(error) + 1e-6
    found = np.array(call("eigen", "--count", "3", "-o", "v.npy").stdout.split(), float)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix)[-3:], rtol=1e-8)
    v = np.load(tmp_path / "v.npy")
    np.testing.assert_allclose(matrix @ v, v * found, atol=1e-7)
    assert "raise alpha" in call("solve", "--method", "cg", "--rtol", "1e-14", code=1).stderr
    assert "at least 0" in call("solve", "--alpha", "-1", code=2).stderr
    assert "no such variable" in call("logdet", "--unknown", "c", code=2).stderr
    assert "usage: benben solve" in call("solve", "--help").stdout
