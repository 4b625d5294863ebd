"""Kernel systems by conjugate gradients and MINRES; their preconditioners are in test_preconditioners.py."""
import numpy as np
import pytest

import bb
from kernel_systems import K, N, X, gauss, relative, system

RNG = np.random.default_rng(12)


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


# ---- warm starts, MINRES, hard systems --------------------------------------------------------------------------------
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
