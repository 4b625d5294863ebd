"""Preconditioners of kernel systems: low rank, blocks, sparse inverse factors, and which one is taken."""
import numpy as np
import pytest

import bb
from kernel_systems import K, X, gauss, relative, system

RNG = np.random.default_rng(13)


# ---- low rank ---------------------------------------------------------------------------------------------------------
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
