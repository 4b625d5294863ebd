"""Systems, log-determinants and traces of symmetric LazyTensors, with results that say how good they are, and gradients
of any order with respect to everything that a matrix depends on.

>>> import torch
>>> from benben.torch import Vi, Vj, logdet, solve
>>> x = torch.linspace(0, 1, 50, dtype=torch.float64)[:, None]
>>> width = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
>>> K = (-(((Vi(x) - Vj(x)) / width) ** 2).sum(-1)).exp()
>>> s = solve(K, torch.sin(6 * x), alpha=0.01, rtol=1e-8)
>>> s.converged, s.residual < 2e-8, tuple(s.x.shape)
(True, True, (50, 1))
>>> evidence = (torch.sin(6 * x) * s.x).sum() + logdet(K, alpha=0.01).value
>>> evidence.backward()
>>> width.grad.shape
torch.Size([])
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import _core, solvers
from .._errors import ArgumentError, ConvergenceWarning, ShapeError
from .._formula import PLACE_I
from ..solvers import Estimate, Solution
from . import _logdet, _solve, _tools
from ._dtypes import as_tensors, promote
from ._ops import Setting, call

_DENSE_ROWS = 800
_EMPTY: dict[str, Any] = dict(
    precondition="none", rank=0, trace_left=1.0, precondition_seconds=0.0, seconds=0.0, products=0, remark=""
)


def _checked(a: Any, b: Any = None) -> Any:
    if not getattr(a, "__GenericLazyTensor__", False) or a.tools is not _tools:
        kind = f"{type(a).__module__}.{type(a).__qualname__}"
        raise ArgumentError(f"expected a LazyTensor of benben.torch, found {kind}: torch.linalg is for tensors")
    if a.is_complex:
        raise ArgumentError("complex matrices are not supported")
    shape = a._shape
    if shape[-1] != 1:
        raise ShapeError(f"the entries of the matrix have the dimension {shape[-1]}, expected 1")
    if shape[-2] != shape[-3]:
        raise ShapeError(f"the matrix is {shape[-3]} x {shape[-2]}: expected a square one")
    if b is not None and b.shape[-2] != shape[-2]:
        raise ShapeError(f"the matrix has {shape[-2]} rows, the right-hand side has the shape {tuple(b.shape)}")
    return a


def _warn(message: str | None) -> None:
    if message:
        warnings.warn(message, ConvergenceWarning, stacklevel=3)


def _plan(a: Any, b: Any) -> tuple[Any, ...]:
    """(operation, tensors of one type, position of b, ranges, points along i or None)"""
    product = a.solve(b, call=False)
    op, values, unknown, ranges = product._solve_plan({})[:4]
    rows = [
        x
        for x, arg in zip(values, product._reduced.args, strict=True)
        if arg.place == PLACE_I and isinstance(x, Tensor) and x.dim() == 2
    ]
    points = max(rows, key=lambda x: x.shape[1], default=None)
    return op, promote(as_tensors(values)), unknown, ranges, points


def _pattern(precondition: str, clusters: Any, neighbors: Any, points: Any, n: int) -> tuple[Tensor, ...]:
    if isinstance(neighbors, tuple):
        neighbors = tuple([np.asarray(a) for a in neighbors])
    labels = clusters if clusters is None else np.asarray(clusters)
    found = solvers._pattern(
        precondition, labels, neighbors, None if points is None else _tools.to_numpy(points.detach()), n
    )
    return tuple([torch.from_numpy(a) for a in (found if isinstance(found, tuple) else (found,)) if a is not None])


def solve(
    A: Any,
    b: Tensor,
    alpha: Any = 0.0,
    rtol: float | None = None,
    *,
    precondition: str | None = "auto",
    method: str = "auto",
    x0: Tensor | None = None,
    max_iterations: int = 0,
    rank: int = 0,
    memory: int = 0,
    seed: int = 0,
    clusters: Any = None,
    neighbors: Any = None,
    callback: Callable[[int, float], Any] | None = None,
) -> Solution:
    """Solves (A + alpha I) x = b for the symmetric LazyTensor A and all columns of b, (M,), (M, E) or (..., M, E).

    As benben.numpy.solve, whose page tells of the keywords; .x is differentiable to any order with respect to b, alpha
    (a number or a tensor of one) and what A depends on. The systems of derivatives are solved in the same way.

    >>> import torch
    >>> from benben.torch import Vi, Vj, solve
    >>> x = torch.linspace(0, 1, 4, dtype=torch.float64)[:, None]
    >>> K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    >>> s = solve(K, x, alpha=1.0, rtol=1e-10, precondition=None)
    >>> torch.allclose(K @ s.x + s.x, x), s.precondition
    (True, 'none')
    """
    flat = b.dim() == 1
    b = _tools.as_float(b[:, None] if flat else b)
    op, tensors, unknown, ranges, points = _plan(_checked(A, b), b)
    if x0 is not None and flat and x0.dim() == 1:
        x0 = x0[:, None]
    precondition = "none" if precondition is None else precondition
    options = _solve.options_text(
        tolerance=float(rtol or 0), relative=1, method=method, precondition=precondition, rank=rank,
        max_iterations=max_iterations, memory=memory, seed=seed, history=solvers.HISTORY,
        neighbors=int(neighbors) if isinstance(neighbors, (int, np.integer)) else 0,
    )  # fmt: skip
    pattern = _pattern(precondition, clusters, neighbors, points, b.shape[-2])
    with _solve.slot(callback) as (number, said):
        way = _solve.Way(options, Setting(ranges), pattern, number)
        x = _solve.call(op, tensors, unknown, _solve.as_alpha(alpha), way, x0)
    _warn(said.message)
    told = {**_EMPTY, "iterations": 0, "residual": 0.0, "history": [], **said.told}
    told["history"] = np.array(told["history"])
    return Solution(x=x[..., 0] if flat else x, converged=said.message is None, message=said.message or "", **told)


def logdet(
    A: Any,
    alpha: Any = 0.0,
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
    callback: Callable[[int, float], Any] | None = None,
) -> Estimate:
    """log det(A + alpha I) of a symmetric positive definite LazyTensor, by stochastic Lanczos quadrature with a
    preconditioner; small matrices (dense_rows, 800) are factored.

    As benben.numpy.logdet; .value is a tensor, differentiable to any order with respect to alpha and what A depends on.
    Derivatives are estimated with the same probes (one system with `probes` columns, solved with the value; each
    further order one more): with at least M of them, the default where the matrix is factored, they are exact to
    about 1e-6; else 16.

    >>> import torch
    >>> from benben.torch import Vi, Vj, logdet
    >>> x = torch.linspace(0, 1, 20, dtype=torch.float64, requires_grad=True)
    >>> K = (-abs(Vi(x[:, None]) - Vj(x[:, None]))).exp()
    >>> (found,) = torch.autograd.grad(logdet(K, alpha=0.1).value, x)
    >>> dense = torch.exp(-(x[:, None] - x).abs()) + 0.1 * torch.eye(20, dtype=x.dtype)
    >>> torch.allclose(found, torch.autograd.grad(torch.logdet(dense), x)[0], atol=1e-4)
    True
    """
    rows = _checked(A)._shape[-2]
    if probes == 0:
        probes = rows if rows <= (dense_rows or _DENSE_ROWS) else 16
    one = torch.zeros((rows, 1), dtype=_tools.dtype_of(A.dtype if isinstance(A.dtype, str) else A._dtype))
    op, tensors, unknown, ranges, _ = _plan(A, _beside(A, one))
    product = _plan(A, _beside(A, one.expand(rows, probes)))[0]
    options = _solve.options_text(
        tolerance=float(tolerance), probes=probes, max_probes=max_probes, steps=steps, rank=rank, memory=memory,
        dense_rows=dense_rows, precondition=precondition, seed=seed,
    )  # fmt: skip
    with _solve.slot(callback) as (number, said):
        value = _logdet.call(op, product, tensors, unknown, _solve.as_alpha(alpha), options, ranges, number)[0]
    return _estimate(value, said, probes)


def _beside(a: Any, x: Tensor) -> Tensor:
    device = next((arg.value.device for arg in a._args if isinstance(arg.value, Tensor)), None)
    return x.to(device)


def _estimate(value: Tensor, said: Any, probes: int) -> Estimate:
    _warn(said.message)
    told = {
        **_EMPTY, "exact": False, "probes": probes, "steps": 0, "statistical": 0.0, "quadrature": 0.0, "rounding": 0.0,
        **said.told,
    }  # fmt: skip
    error = np.asarray(0.0 if said.error is None else said.error)
    return Estimate(value=value, error=float(error) if error.ndim == 0 else error, message=said.message or "", **told)


def trace(A: Any, function: Callable[[Tensor], Tensor] | None = None, alpha: Any = 0.0, **keywords: Any) -> Estimate:
    """tr f(A + alpha I) of a symmetric LazyTensor; function None: the trace itself, exact, differentiable to any order.

    function: of a tensor of eigenvalues, elementwise and differentiable by torch, such as torch.exp; the gradient,
    tr f'(A) dA, is estimated by Lanczos with `probes` vectors (all unit vectors where the matrix has at most dense_rows
    rows: exact), once. Keywords: those of benben.numpy.trace.

    >>> import torch
    >>> from benben.torch import Vi, Vj, trace
    >>> x = torch.linspace(0, 1, 9, dtype=torch.float64)[:, None].requires_grad_()
    >>> K = (-((Vi(x) - Vj(x)) ** 2).sum(-1)).exp()
    >>> found = trace(K, torch.square)
    >>> torch.allclose(found.value, (K.dense() ** 2).sum()), float(trace(K).value.detach())
    (True, 9.0)
    """
    _checked(A)
    if function is None:
        return _plain_trace(A, alpha)
    return _function_trace(A, function, alpha, **keywords)


def _plain_trace(a: Any, alpha: Any) -> Estimate:
    if a._mask is not None or a.ranges is not None:
        raise ArgumentError("the trace of a matrix with a mask or ranges is not supported")
    value = a.trace() + alpha * a._shape[-2]
    said = _solve.Slot(None)
    said.told = {"exact": True}
    return _estimate(value, said, 0)


def _function_trace(a: Any, function: Any, alpha: Any, dense_rows: int = 0, **keywords: Any) -> Estimate:
    rows = a._shape[-2]
    said = _solve.Slot(keywords.pop("callback", None))
    if dense_rows >= 0 and rows <= (dense_rows or _DENSE_ROWS):
        eye = _beside(a, torch.eye(rows, dtype=_tools.dtype_of(a._dtype)))
        values = torch.linalg.eigvalsh(a.dense() + alpha * eye)
        said.told = {"exact": True}
        return _estimate(function(values).sum(-1), said, 0)
    if a.nbatchdims:
        raise ShapeError(f"one matrix at a time, found a batch of the shape {a.shape}")
    op, tensors, unknown, ranges, _ = _plan(a, _beside(a, torch.zeros((rows, 1), dtype=_tools.dtype_of(a._dtype))))
    probes = keywords.get("probes") or 16
    z = torch.randint(0, 2, (rows, probes), generator=torch.Generator().manual_seed(keywords.get("seed", 0)))
    z = _beside(a, (2 * z - 1).to(tensors[unknown].dtype))
    product = _plan(a, z)[0]
    alpha = _solve.as_alpha(alpha)
    value = _FunctionTrace.apply(
        (op, product, unknown, ranges, function, said, {**keywords, "probes": probes}), z, alpha, *tensors
    )
    return _estimate(value, said, probes)


class _FunctionTrace(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, what: Any, z: Tensor, alpha: Tensor, *args: Tensor) -> Tensor:
        op, ctx.product, ctx.unknown, ctx.ranges, ctx.function, said, options = what
        like = args[ctx.unknown]

        def of_number(t: float) -> float:
            return float(ctx.function(torch.tensor(t, dtype=torch.float64)))

        matrix = (op.kernel, tuple([t.detach().to("cpu") for t in args]), ctx.unknown, ctx.ranges)
        options = {**options, "alpha": float(alpha), "dense_rows": -1}
        value, said.error, _, _, said.told, said.message = _core.trace(matrix, of_number, False, options, said.report)
        ctx.steps = max(int(said.told["steps"]), 8)
        ctx.save_for_backward(z, alpha, *args)
        return torch.as_tensor(value).to(like.device, like.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Any:
        z, alpha, *args = ctx.saved_tensors
        gradients: list[Any] = [None] * (len(args) + 3)
        needs = ctx.needs_input_grad
        variables = tuple([k for k, need in enumerate(needs[3:]) if need and k != ctx.unknown])
        y = _derivative_times(ctx, args, alpha, z) * (g / z.shape[-1])
        if variables:
            args[ctx.unknown] = z
            setting = Setting(ctx.ranges)
            result = call(ctx.product.derive("grad", variables), (*args, y), setting)
            for k, d in zip(variables, result if isinstance(result, tuple) else (result,), strict=True):
                gradients[k + 3] = d.sum_to_size(args[k].shape)
        if needs[2]:
            gradients[2] = (y * z).sum().to(alpha.dtype).reshape(alpha.shape)
        return tuple(gradients)


def _derivative_times(ctx: Any, args: list[Tensor], alpha: Tensor, z: Tensor) -> Tensor:
    """f'(A) z: Lanczos twice, for the coefficients and for the sum, so that no basis is kept."""

    def multiply(v: Tensor) -> Tensor:
        given = list(args)
        given[ctx.unknown] = v
        product: Tensor = call(ctx.product, tuple(given), Setting(ctx.ranges))
        return product + alpha.to(v.dtype) * v

    def vectors() -> Any:
        size = z.norm(dim=0)
        last, q, beta = torch.zeros_like(z), z / size, torch.zeros_like(size)
        for _ in range(min(ctx.steps, z.shape[0])):
            w = multiply(q) - beta * last
            diagonal = (q * w).sum(0)
            w = w - diagonal * q
            beta = w.norm(dim=0)
            yield q, diagonal, beta
            last, q = q, torch.where(beta > 0, w / beta, torch.zeros_like(w))

    found = [(d, b) for _, d, b in vectors()]
    diagonal, beta = (torch.stack([pair[k] for pair in found], -1).double() for k in (0, 1))
    theta, s = torch.linalg.eigh(
        torch.diag_embed(diagonal) + torch.diag_embed(beta[:, :-1], 1) + torch.diag_embed(beta[:, :-1], -1)
    )
    with torch.enable_grad():
        theta.requires_grad_()
        (slope,) = torch.autograd.grad(ctx.function(theta).sum(), theta)
    weights = (s @ (slope * s[:, 0, :]).unsqueeze(-1))[..., 0] * z.norm(dim=0)[:, None].double()
    total = torch.zeros_like(z)
    for k, (q, _, _) in enumerate(vectors()):
        total += weights[:, k].to(z.dtype) * q
    return total
