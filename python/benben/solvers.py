"""Systems, log-determinants, traces and eigenpairs of symmetric matrices that are never stored.

A matrix is a LazyTensor, an operator made of them (sums, products, blocks: benben.operators), a dense or sparse
array, or anything with SciPy's protocol. Every result says what was done and how good it is.

>>> import numpy as np
>>> from benben.numpy import Vi, Vj, logdet, solve
>>> x = np.linspace(0, 1, 50)[:, None]
>>> K = (-(((Vi(x) - Vj(x)) / 0.1) ** 2).sum(-1)).exp()
>>> s = solve(K, np.sin(6 * x), alpha=0.01, rtol=1e-8)
>>> s.converged, s.residual < 2e-8, s.x.shape
(True, True, (50, 1))
>>> d = logdet(K, alpha=0.01)
>>> bool(abs(d.value - np.linalg.slogdet(K.dense() + 0.01 * np.eye(50))[1]) <= d.error + 1e-9)
True
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import _core, operators
from ._errors import ArgumentError, ConvergenceWarning, ShapeError
from ._formula import PLACE_I

HISTORY = 100_000


@dataclass(repr=False)
class _Report:
    message: str  # why it is not what was asked for; "" otherwise
    precondition: str  # what was used: none, rpcholesky, nystrom, blocks or neighbors
    rank: int
    trace_left: float  # of the matrix without its approximation, relative
    precondition_seconds: float
    seconds: float
    products: int
    remark: str  # why there is no preconditioner, and the like

    def __repr__(self) -> str:
        values = [
            (k, v) for k, v in vars(self).items() if not isinstance(v, (np.ndarray, list)) and v not in ("", None)
        ]
        text = ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in values)
        return f"{type(self).__name__}({text})"


@dataclass(repr=False)
class Solution(_Report):
    """(K + alpha I) x = b.

    x: the solution, shaped as b; after a failure the last iterate, or an earlier one that is much better. converged:
    whether the residual |b - (K + alpha I) x| / |b|, computed from x, is as small as asked for. history: residuals of
    the iterations, by their recurrence.
    """

    x: Any
    converged: bool
    iterations: int
    residual: float
    history: Any = field(default_factory=list)


@dataclass(repr=False)
class Estimate(_Report):
    """A log-determinant or a trace: value +- error with a probability of 95 %, exact up to rounding where `exact`.

    Numbers, or arrays for a batch of matrices. statistical, quadrature, rounding: the parts of the error. left, right:
    (rows, probes), see logdet; None where they were not asked for.
    """

    value: Any
    error: Any
    exact: bool
    probes: int
    steps: int
    statistical: float
    quadrature: float
    rounding: float
    left: Any = None
    right: Any = None

    def __float__(self) -> float:
        return float(self.value)


# ---- matrices as the core takes them -----------------------------------------
def _is_lazy(a: Any) -> bool:
    return getattr(a, "__GenericLazyTensor__", False) and a.tools.name == "numpy"


def _of_lazy(a: Any, b: Any) -> tuple[tuple[Any, ...], Any]:
    """Also the points, to make clusters of: the widest array along i."""
    if a.is_complex:
        raise ArgumentError("complex matrices: use scipy.sparse.linalg, which takes LazyTensors as they are")
    product = a.solve(b, call=False)
    kernel, values, unknown, ranges = product._solve_plan({})[:4]
    rows = [
        x
        for x, arg in zip(values, product._reduced.args, strict=True)
        if arg.place == PLACE_I and isinstance(x, np.ndarray) and x.ndim == 2
    ]
    return (kernel, values, unknown, ranges), max(rows, key=lambda x: x.shape[1], default=None)


def _checked(a: Any, b: Any) -> Any:
    shape = a.shape[-2:]
    if shape[0] != shape[1]:
        raise ShapeError(f"the matrix is {shape[0]} x {shape[1]}: expected a square one")
    if b is not None and (b.ndim < 2 or b.shape[-2] != shape[0]):
        raise ShapeError(f"the matrix has {shape[0]} rows, the right-hand side has the shape {b.shape}")
    return a


def _of_operator(a: Any) -> tuple[Any, ...]:
    op = operators.as_operator(a)
    if op.dtype.kind == "c":
        raise ArgumentError("complex matrices: use scipy.sparse.linalg, which takes operators as they are")
    dtype = op.dtype if op.dtype in (np.float32, np.float64) else np.dtype(np.float64)

    def doubles(values: Any) -> Any:
        return np.ascontiguousarray(values, dtype=np.float64)

    def multiply(v: Any) -> Any:
        return doubles(op @ v.astype(dtype))

    columns = diagonal = None
    if op.has_entries:

        def columns(wanted: Any) -> Any:
            return doubles(op.columns(np.array(wanted, dtype=np.int64)).T)

        def diagonal() -> Any:
            return doubles(op.diagonal())

    return (op.shape[0], multiply, columns, diagonal, dtype == np.float32)


def _matrix(a: Any, b: Any = None) -> tuple[Any, Any]:
    """(what the core takes, the points of a LazyTensor or None)"""
    if not _is_lazy(a):
        return _of_operator(_checked(operators.as_operator(a), b)), None
    if len(a.shape) < 2:
        raise ShapeError(f"expected a matrix, found a LazyTensor of the shape {a.shape}")
    shape = a._shape
    if shape[-1] != 1:
        raise ShapeError(f"the entries of the matrix have the dimension {shape[-1]}, expected 1")
    if shape[-2] != shape[-3]:
        raise ShapeError(f"the matrix is {shape[-3]} x {shape[-2]}: expected a square one")
    if b is None:
        b = np.zeros((shape[-2], 1), dtype=a.dtype)
    elif b.shape[-2] != shape[-2]:
        raise ShapeError(f"the matrix has {shape[-2]} rows, the right-hand side has the shape {b.shape}")
    return _of_lazy(a, b)


def _call(function: Any, matrix: tuple[Any, ...], *arguments: Any) -> Any:
    answer = function(matrix, *arguments)
    if answer is NotImplemented:  # arrays of different types
        from .numpy import _tools

        matrix = (matrix[0], _tools.promote(matrix[1]), *matrix[2:])
        answer = function(matrix, *arguments)
    return answer


def _warn(message: str | None) -> None:
    if message:
        warnings.warn(message, ConvergenceWarning, stacklevel=4)


# ---- systems -----------------------------------------------------------------
def clusters_of(points: Any, size: int = 256) -> Any:
    """Labels (M,) of clusters of at most `size` neighbours: points (M, D) are halved along their longest side.

    >>> import numpy as np
    >>> from benben.numpy import clusters_of
    >>> labels = clusters_of(np.array([[0.0], [9.0], [0.1], [9.1]]), size=2)
    >>> bool(labels[0] == labels[2] != labels[1] == labels[3])
    True
    """
    points = np.asarray(points)
    labels = np.zeros(len(points), dtype=np.int64)
    parts, count = [np.arange(len(points))], 0
    while parts:
        part = parts.pop()
        if len(part) <= size:
            labels[part] = count
            count += 1
            continue
        some = points[part]
        axis = int(np.argmax(np.nan_to_num(some.max(0) - some.min(0))))
        order = np.argsort(some[:, axis], kind="stable")
        parts += [part[order[: len(part) // 2]], part[order[len(part) // 2 :]]]
    return labels


def neighbors_before(points: Any, count: int = 30, seed: int = 0) -> tuple[Any, Any]:
    """For each point `count` near ones among those before it in a random order, (M, count) with -1 for none, and each
    point's place in the order, (M,): the pattern of a sparse inverse Cholesky factor.

    Points are added in blocks, each a half of those before it, and look among those.

    >>> import numpy as np
    >>> from benben.numpy import neighbors_before
    >>> found, rank = neighbors_before(np.arange(5.0)[:, None], count=2)
    >>> found.shape, sorted(rank.tolist())
    ((5, 2), [0, 1, 2, 3, 4])
    """
    points = np.asarray(points, dtype=np.float64)
    n = len(points)
    order = np.random.default_rng(seed).permutation(n)
    found = np.full((n, count), -1, dtype=np.int64)
    have = 1
    while have < n:
        more = min(n, max(have + 1, have + have // 2))
        k = min(count, have)
        nearest = _nearest(points[order[have:more]], points[order[:have]], k)
        found[order[have:more], :k] = order[nearest]
        have = more
    rank = np.empty(n, dtype=np.int64)
    rank[order] = np.arange(n)
    return found, rank


def _nearest(x: Any, y: Any, k: int) -> Any:
    try:
        from scipy.spatial import cKDTree
    except ImportError:
        from .numpy import Vi, Vj

        return ((Vi(x) - Vj(y)) ** 2).sum(-1).argKmin(k, axis=1)
    return cKDTree(y).query(x, k, workers=-1)[1].reshape(len(x), k)


def _pattern(precondition: str, clusters: Any, neighbors: Any, points: Any, n: int) -> Any:
    """What the core takes as a pattern: labels, (neighbours, rank), or None."""
    if precondition == "blocks":
        return None if clusters is None else _labels(clusters, n)
    if precondition not in ("auto", "neighbors"):
        return None
    if neighbors is None or isinstance(neighbors, (int, np.integer)):  # the library finds them
        if precondition == "neighbors" and (points is None or len(points) != n):
            raise ArgumentError("precondition='neighbors' needs points (M, D) along i, or neighbors=(numbers, rank)")
        return None
    numbers, rank = (np.ascontiguousarray(a, dtype=np.int64) for a in neighbors)
    if numbers.ndim != 2 or len(numbers) != n or rank.shape != (n,):
        raise ShapeError(
            f"neighbors: expected numbers ({n}, K) and rank ({n},), found {numbers.shape} and {rank.shape}"
        )
    return numbers, rank


def _labels(clusters: Any, n: int) -> Any:
    labels = np.ascontiguousarray(clusters, dtype=np.int64)
    if labels.shape != (n,):
        raise ShapeError(f"clusters: expected a label for each of the {n} rows, found the shape {labels.shape}")
    return labels


def solve(
    A: Any,
    b: Any,
    alpha: float = 0.0,
    rtol: float | None = None,
    *,
    precondition: str | None = "auto",
    method: str = "auto",
    x0: Any = None,
    max_iterations: int = 0,
    rank: int = 0,
    memory: int = 0,
    seed: int = 0,
    clusters: Any = None,
    neighbors: Any = None,
    mixed: bool = False,
    callback: Callable[[int, float], Any] | None = None,
) -> Solution:
    """Solves (A + alpha I) x = b for the symmetric matrix A and all columns of b, (M,), (M, E) or (..., M, E).

    Each column is iterated until its residual is rtol (1e-6; in float32, where that cannot be had, 1e-4 will do) times
    its norm. precondition: 'auto' (randomly pivoted Cholesky where some plain iterations are not enough), 'rpcholesky',
    'nystrom', 'blocks' (exact within clusters, (M,) labels; by default points are clustered in space), 'neighbors'
    (sparse inverse Cholesky factor, for rough or short kernels of many points; neighbors: their number, by default one
    that pays, 10 to 100, or what neighbors_before gives; 'auto' considers it from 3,000 points in up to 4 dimensions
    on) or None. method:
    'cg' (block conjugate gradients; A + alpha I positive definite) or 'minres' (indefinite; no preconditioner). x0:
    first iterate. rank, memory (bytes, 256 MiB): of the preconditioner. callback(iteration, residual) stops where it
    returns True. mixed: of float64 arrays, iterate in float32 and correct by residuals in float64, which takes half of
    the time where alpha is not small.

    Where the tolerance is not reached there is a ConvergenceWarning with the remedy, and .converged is False. Errors:
    ShapeError, ArgumentError (both ValueErrors).

    >>> import numpy as np
    >>> from benben.numpy import solve
    >>> solve(np.diag([1.0, 3.0]), np.ones((2, 1)), alpha=1.0).x.ravel().round(4).tolist()
    [0.5, 0.25]
    """
    b = np.asarray(b)
    if b.dtype.kind not in "fiub":
        raise ArgumentError(f"the right-hand side has the dtype {b.dtype}: expected real numbers")
    if b.dtype not in (np.float16, np.float32, np.float64):
        b = b.astype(np.float64)
    flat = b.ndim == 1
    b = b[:, None] if flat else b
    matrix, points = _matrix(A, b)
    if x0 is not None:
        x0 = np.asarray(x0, dtype=b.dtype)
        x0 = x0[:, None] if flat and x0.ndim == 1 else x0
    precondition = "none" if precondition is None else precondition
    pattern = _pattern(precondition, clusters, neighbors, points, b.shape[-2])
    options = dict(
        alpha=float(alpha), tolerance=float(rtol or 0), relative=1, method=method, precondition=precondition, rank=rank,
        max_iterations=max_iterations, memory=memory, seed=seed, history=HISTORY,
        neighbors=int(neighbors) if isinstance(neighbors, (int, np.integer)) else 0,
    )  # fmt: skip
    if mixed and len(matrix) == 4 and b.dtype == np.float64:
        x, told, message = _refine(matrix, b, x0, pattern, options, callback)
    else:
        x, told, message = _call(_core.solve, matrix, b, x0, pattern, options, callback)
    _warn(message)
    told["history"] = np.array(told["history"])
    return Solution(x=x[..., 0] if flat else x, converged=message is None, message=message or "", **told)


def _refine(matrix: Any, b: Any, x0: Any, pattern: Any, options: dict[str, Any], callback: Any) -> Any:
    """Iterations in float32 for what the residual in float64 leaves; in float64 where that no longer helps."""
    kernel, values, unknown, ranges = matrix
    narrow = tuple([v.astype(np.float32) if isinstance(v, np.ndarray) else v for v in values])
    sizes, rtol = np.linalg.norm(b, axis=-2, keepdims=True), options["tolerance"] or 1e-6
    x, r = (np.zeros_like(b), b) if x0 is None else (x0, None)
    done: list[dict[str, Any]] = []
    last = np.inf
    while True:
        if r is None:
            inputs = [x if k == unknown else v for k, v in enumerate(values)]
            r = b - kernel.run(tuple(inputs), None, ranges) - options["alpha"] * x
        left = np.linalg.norm(r, axis=-2, keepdims=True)
        worst = float(np.max(left / np.where(sizes > 0, sizes, 1), initial=0.0))
        if not worst < 0.5 * last or (done and worst <= rtol):
            break
        scale = np.where(left > 0, left, 1)  # float32 has a short range
        system = (kernel, tuple([(r / scale).astype(np.float32) if k == unknown else v for k, v in enumerate(narrow)]))
        inner = {**options, "tolerance": min(max(0.3 * rtol / worst, 1e-3), 0.1) if worst > 0 else 0.1}
        d, told, _ = _core.solve((*system, unknown, ranges), None, None, pattern, inner, callback)
        told["history"] = [h * worst for h in told["history"]]
        done.append(told)
        x, r, last = x + d * scale, None, worst
    x, told, message = _core.solve(matrix, None, x, pattern, options, callback)
    for key in ("iterations", "products", "seconds", "precondition_seconds"):
        told[key] += sum(one[key] for one in done)
    told["history"] = [h for one in done for h in one["history"]] + told["history"]
    for key in ("precondition", "rank", "trace_left"):
        told[key] = done[0][key] if done and told["precondition"] == "none" else told[key]
    return x, told, message


# ---- log-determinants and traces ---------------------------------------------
def _estimate(A: Any, function: Any, vectors: bool, options: dict[str, Any], callback: Any) -> Estimate:
    matrix, _ = _matrix(A)
    values, errors, left, right, told, message = _call(_core.trace, matrix, function, vectors, options, callback)
    _warn(message)
    value, error = (float(a) if a.ndim == 0 else a for a in (values, errors))
    return Estimate(value=value, error=error, left=left, right=right, message=message or "", **told)


def logdet(
    A: Any,
    alpha: float = 0.0,
    *,
    tolerance: float = 0.0,
    probes: int = 0,
    max_probes: int = 0,
    steps: int = 0,
    dense_rows: int = 0,
    precondition: str | None = "auto",
    rank: int = 0,
    memory: int = 0,
    seed: int = 0,
    vectors: bool = False,
    callback: Callable[[int, float], Any] | None = None,
) -> Estimate:
    """log det(A + alpha I) of a symmetric positive definite matrix, by stochastic Lanczos quadrature with a
    preconditioner; small matrices (dense_rows, 800) are factored.

    tolerance: probes are added until the error is at most that (0: `probes`, 16, of them). vectors: also .left and
    .right, (M, probes), such that the mean over k of left_k^T dA right_k estimates d log det(A + alpha I): the gradient
    with respect to whatever A depends on is that of the product A @ right with the cotangent left / probes, and with
    respect to alpha it is (left * right).sum() / probes. With at least M probes it is exact.

    Errors: ConvergenceError where A + alpha I is found not to be positive definite; a ConvergenceWarning where the
    tolerance is not reached.

    >>> import numpy as np
    >>> from benben.numpy import logdet
    >>> round(logdet(np.diag([1.0, np.e])).value, 6)
    1.0
    """
    options = dict(
        alpha=float(alpha), tolerance=float(tolerance), probes=probes, max_probes=max_probes, steps=steps, rank=rank,
        dense_rows=dense_rows, precondition="none" if precondition is None else precondition, memory=memory, seed=seed,
    )  # fmt: skip
    return _estimate(A, "logdet", vectors, options, callback)


def trace(
    A: Any,
    function: Callable[[float], float] | None = None,
    alpha: float = 0.0,
    *,
    tolerance: float = 0.0,
    probes: int = 0,
    max_probes: int = 0,
    steps: int = 0,
    dense_rows: int = 0,
    seed: int = 0,
    callback: Callable[[int, float], Any] | None = None,
) -> Estimate:
    """tr f(A + alpha I) for a symmetric matrix; function None: the trace itself, exact where the diagonal can be had.

    >>> import numpy as np
    >>> from benben.numpy import Vi, Vj, trace
    >>> x = np.linspace(0, 1, 50)[:, None]
    >>> K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    >>> squares = trace(K, lambda t: t**2)
    >>> round(trace(K).value, 6), bool(np.isclose(squares.value, (K.dense() ** 2).sum())), squares.exact
    (50.0, True, True)
    """
    options = dict(
        alpha=float(alpha), tolerance=float(tolerance), probes=probes, max_probes=max_probes, steps=steps, seed=seed,
        dense_rows=dense_rows,
    )  # fmt: skip
    return _estimate(A, function, False, options, callback)


# ---- eigenpairs --------------------------------------------------------------
def eigsh(
    A: Any,
    k: int = 6,
    which: str = "LM",
    *,
    tol: float = 0.0,
    method: str = "auto",
    block: int = 0,
    basis: int = 0,
    max_products: int = 0,
    memory: int = 0,
    seed: int = 0,
    return_eigenvectors: bool = True,
    callback: Callable[[int, float], Any] | None = None,
) -> Any:
    """The k eigenvalues of a symmetric matrix that are largest ('LA'), smallest ('SA') or largest in absolute value
    ('LM'), ascending, (k,), and their eigenvectors, (M, k): as scipy.sparse.linalg.eigsh.

    method: 'lanczos' (block Lanczos: a product serves several vectors), 'arpack' or 'lobpcg' (of SciPy). tol: of
    |A v - lambda v| relative to the largest |lambda|; 0: 1e-10 (float32: 1e-6). A ConvergenceWarning says where it
    is not reached.

    >>> import numpy as np
    >>> from benben.numpy import eigsh
    >>> eigsh(np.diag([1.0, 5.0, 3.0]), 2, return_eigenvectors=False).round(6).tolist()
    [3.0, 5.0]
    """
    if which not in ("LM", "LA", "SA"):
        raise ArgumentError(f"which={which!r}: expected 'LM', 'LA' or 'SA'")
    if method not in ("auto", "lanczos", "arpack", "lobpcg"):
        raise ArgumentError(f"method={method!r}: expected 'auto', 'lanczos', 'arpack' or 'lobpcg'")
    if method in ("arpack", "lobpcg"):
        return _by_scipy(A, k, which, tol, method, seed, return_eigenvectors)
    matrix, _ = _matrix(A)
    options = dict(
        which=which, tolerance=float(tol), block=block, basis=basis, max_products=max_products, memory=memory,
        seed=seed, rows=int(A.shape[0]),
    )  # fmt: skip
    if getattr(A, "nbatchdims", 0):
        raise ShapeError(f"eigsh: one matrix at a time, found a batch of the shape {A.shape}")
    values, vectors, _, message = _call(_core.eigen, matrix, k, options, callback)
    _warn(message)
    return (values, vectors) if return_eigenvectors else values


def _by_scipy(A: Any, k: int, which: str, tol: float, method: str, seed: int, vectors: bool) -> Any:
    from scipy.sparse import linalg

    op = linalg.aslinearoperator(A)
    if method == "arpack":
        return linalg.eigsh(op, k, which=which, tol=tol, return_eigenvectors=vectors)
    if which == "LM":
        raise ArgumentError("which='LM': lobpcg finds the largest ('LA') or the smallest ('SA')")
    start = np.random.default_rng(seed).normal(size=(op.shape[0], k)).astype(op.dtype)
    values, found = linalg.lobpcg(op, start, tol=tol or None, maxiter=1000, largest=which == "LA")
    order = np.argsort(values)
    return (values[order], found[:, order]) if vectors else values[order]
