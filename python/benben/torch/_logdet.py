"""log det(K + alpha) as an operation of PyTorch: torch.ops.benben.logdet, differentiable to any order.

With A = K + alpha the derivative is tr(A^-1 dA), estimated by 1/P sum_k l_k^T dA r_k with the probes of the value:
l_k = A^-1 z_k, r_k = P^-1 z_k. It is the gradient of the product A r with the cotangent l / P. Where a derivative of
it may be wanted, l is the solution of a system A l = w with w = A l kept fixed: an operation that is differentiable,
and that costs one product, because l is known. So every derivative has the same probes; with as many as rows all
are exact.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .. import _core
from . import _private, _solve
from ._ops import Op, Setting, _again, _batch_in_front, _setting, _threads, in_legacy_batch, library
from ._solve import Way


def call(op: Op, product: Op, tensors: Any, unknown: int, alpha: Tensor, options: str, ranges: Any, slot: int) -> Any:
    """The value and the vectors (l, r) of its derivative, (..., M, P). op: the product with one column; product: with P
    of them."""
    flat = [] if ranges is None else [t for six in ranges for t in six]
    return torch.ops.benben.logdet.default(list(tensors), op.key, product.key, unknown, alpha, options, flat, slot)


class _Level(_private.SingleLevelFunction):  # type: ignore[misc]
    """One level of autograd or of a transform, see _ops."""

    @staticmethod
    def forward(ctx: Any, op: Op, product: Op, unknown: int, how: Any, alpha: Any, *args: Any) -> Any:
        options, ranges, slot = how
        with _private.below(_private.transforms_active()):
            value, left, right = call(op, product, args, unknown, alpha, options, ranges, slot)
        ctx.product, ctx.unknown, ctx.setting = product, unknown, Setting(ranges)
        ctx.save_for_backward(alpha, *args, left, right)
        ctx.save_for_forward(alpha, *args, left, right)
        ctx.mark_non_differentiable(left, right)
        ctx.set_materialize_grads(False)
        return value, left, right

    @staticmethod
    def backward(ctx: Any, g: Any, *_: Any) -> Any:
        alpha, *args, left, right = ctx.saved_tensors
        gradients: list[Any] = [None] * (len(args) + 5)
        variables = tuple([k for k, need in enumerate(ctx.needs_input_grad[5:]) if need and k != ctx.unknown])
        if g is None or not (variables or ctx.needs_input_grad[4]):
            return tuple(gradients)
        left = _left(ctx, alpha, args, left) * (g[..., None, None] / left.shape[-1])
        if variables:
            args[ctx.unknown] = right
            result = _again(ctx.product.derive("grad", variables), (*args, left), ctx.setting)
            for k, d in zip(variables, result if isinstance(result, tuple) else (result,), strict=True):
                gradients[k + 5] = d.sum_to_size(args[k].shape)
        if ctx.needs_input_grad[4]:
            gradients[4] = (left * right).sum().to(alpha.dtype).reshape(alpha.shape)
        return tuple(gradients)

    @staticmethod
    def jvp(ctx: Any, _op: Any, _product: Any, _unknown: Any, _how: Any, by_alpha: Any, *tangents: Any) -> Any:
        alpha, *args, left, right = ctx.saved_tensors
        if not _private.transforms_active():
            return _tangent(ctx, alpha, args, left, right, by_alpha, tangents), None, None
        with _private.forward_grad_enabled(True):
            alpha, left, right, *args = [_private.primal(t) for t in (alpha, left, right, *args)]
            return _tangent(ctx, alpha, args, left, right, by_alpha, tangents), None, None


def _left(ctx: Any, alpha: Tensor, args: list[Any], left: Tensor) -> Tensor:
    """l, as a function of what A depends on where that may matter."""
    if not (torch.is_grad_enabled() or _private.transforms_active() or _private.dual_level() >= 0):
        return left
    given = list(args)
    given[ctx.unknown] = left
    w = _private.constant(_again(ctx.product, tuple(given), ctx.setting) + alpha.to(left.dtype) * left)
    given[ctx.unknown] = w
    tolerance = 1e-10 if left.dtype == torch.float64 else 1e-5
    way = Way(_solve.options_text(tolerance=tolerance, relative=1), ctx.setting)
    if any(_private.is_legacy_batched(t) for t in given):
        return in_legacy_batch(  # type: ignore[no-any-return]
            ctx.product, tuple(given), lambda moved: _solve.call(ctx.product, moved, ctx.unknown, alpha, way)
        )
    return _solve.call(ctx.product, given, ctx.unknown, alpha, way, left)


def _tangent(ctx: Any, alpha: Any, args: list[Any], left: Any, right: Any, by_alpha: Any, tangents: Any) -> Any:
    """1/P sum_k l_k^T (dA r_k)."""
    left = _left(ctx, alpha, args, left) / left.shape[-1]
    variables = tuple([k for k, t in enumerate(tangents) if t is not None and k != ctx.unknown])
    total = torch.zeros((), dtype=left.dtype, device=left.device).expand(left.shape[:-2])
    if variables:
        args[ctx.unknown] = right
        moved = [tangents[k] for k in variables]
        total = (left * _again(ctx.product.derive("diff", variables), (*args, *moved), ctx.setting)).sum((-2, -1))
    if by_alpha is not None:
        total = total + by_alpha.to(left.dtype) * (left * right).sum((-2, -1))
    return total


# ---- the operation ----
library.define(
    "logdet(Tensor[] inputs, str program, str product, int unknown, Tensor alpha, str options, Tensor[] ranges, "
    "int slot) -> (Tensor, Tensor, Tensor)",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _plain(
    inputs: Any, program: str, product: str, unknown: int, alpha: Tensor, options: str, ranges: Any, slot: int
) -> Any:
    like = inputs[unknown]
    matrix = _solve.system(Op.of(program), inputs, unknown, ranges, True)
    said = _solve._slots.get(slot) or _solve.Slot(None)
    given = {**_solve.options_of(options), "alpha": float(alpha), "threads": _threads()}
    value, said.error, left, right, said.told, said.message = _core.trace(matrix, "logdet", True, given, said.report)
    return tuple([torch.as_tensor(a).to(like.device, like.dtype) for a in (value, left, right)])


def _fake(
    inputs: Any, program: str, product: str, unknown: int, alpha: Tensor, options: str, ranges: Any, slot: int
) -> Any:
    probes = Op.of(product).program.variables[unknown][2]
    one = Op.of(program).empty(inputs, Setting())[0]
    return (
        one.new_empty(one.shape[:-2]),
        one.new_empty((*one.shape[:-1], probes)),
        one.new_empty((*one.shape[:-1], probes)),
    )


def _autograd(
    inputs: Any, program: str, product: str, unknown: int, alpha: Tensor, options: str, ranges: Any, slot: int
) -> Any:
    def apply() -> Any:
        how = (options, _setting(ranges, 0, 0).ranges, slot)
        return _Level.apply(Op.of(program), Op.of(product), unknown, how, alpha, *inputs)

    def below() -> Any:
        return torch.ops.benben.logdet.default(inputs, program, product, unknown, alpha, options, ranges, slot)

    return _private.at_this_level((*inputs, alpha), apply, below)


def _batched(
    info: Any,
    in_dims: Any,
    inputs: Any,
    program: str,
    product: str,
    unknown: int,
    alpha: Tensor,
    options: str,
    ranges: Any,
    slot: int,
) -> Any:
    run = torch.ops.benben.logdet.default
    dims = in_dims[0]
    if in_dims[4] is not None:  # a matrix for each ridge
        rows = []
        for k, one in enumerate(alpha.unbind(in_dims[4])):
            parts = [t if d is None else t.select(d, k) for t, d in zip(inputs, dims, strict=True)]
            rows.append(run(parts, program, product, unknown, one, options, ranges, slot))
        return tuple([torch.stack(parts) for parts in zip(*rows, strict=True)]), (0, 0, 0)
    moved = list(_batch_in_front(Op.of(program), inputs, dims))
    ranges = list(ranges) * info.batch_size if len(ranges) > 6 else ranges
    return run(moved, program, product, unknown, alpha, options, ranges, slot), (0, 0, 0)


library.impl("logdet", _plain, "CPU")
library.impl("logdet", _plain, "CUDA")
library.impl("logdet", _autograd, "Autograd")
torch.library.register_fake("benben::logdet", _fake, lib=library)
torch.library.register_vmap("benben::logdet", _batched, lib=library)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast("benben::logdet", _device, torch.float32, lib=library)
