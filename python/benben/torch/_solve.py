"""Kernel systems as an operation of PyTorch: torch.ops.benben.solve, differentiable to any order by the implicit
function theorem.

With a = (K + alpha)^-1 b and K symmetric, the cotangent of b is lambda = (K + alpha)^-1 g, that of alpha -<lambda, a>,
and that of what K depends on is the gradient of the product K a with the cotangent -lambda: one more system and one
pass over the pairs, both operations that are differentiable themselves.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._errors import ShapeError
from .._generic import solution
from . import _private
from ._ops import (
    Op,
    Setting,
    _again,
    _batch_in_front,
    _setting,
    _threads,
    as_tensors,
    in_legacy_batch,
    library,
    promote,
)


def solve(op: Op, args: tuple[Any, ...], unknown: int, alpha: Any, eps: float, ranges: Any, report: Any = None) -> Any:
    """The solution; args[unknown] is the right-hand side."""
    tensors = promote(as_tensors(args))
    if not isinstance(alpha, Tensor):
        alpha = torch.tensor(float(alpha), dtype=torch.float64, device="cpu")
    elif alpha.numel() != 1:
        raise ShapeError(f"alpha has the shape {tuple(alpha.shape)}: expected a number")
    elif not alpha.is_floating_point():
        alpha = alpha.to(torch.float64)
    return _call(op, tensors, unknown, alpha, eps, Setting(ranges))


def _call(op: Op, tensors: Any, unknown: int, alpha: Tensor, eps: float, setting: Setting) -> Tensor:
    flat = [] if setting.ranges is None else [t for six in setting.ranges for t in six]
    return torch.ops.benben.solve.default(list(tensors), op.key, unknown, alpha, eps, flat)  # type: ignore[no-any-return]


class _Level(_private.SingleLevelFunction):  # type: ignore[misc]
    """One level of autograd or of a transform, see _ops."""

    @staticmethod
    def forward(ctx: Any, op: Op, unknown: int, eps: float, setting: Setting, alpha: Any, *args: Any) -> Any:
        with _private.below(_private.transforms_active()):
            a = _call(op, args, unknown, alpha, eps, setting)
        ctx.op, ctx.unknown, ctx.eps, ctx.setting = op, unknown, eps, setting
        ctx.save_for_backward(alpha, *args, a)
        ctx.save_for_forward(alpha, *args, a)
        return a

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        alpha, *args, a = ctx.saved_tensors
        op, unknown = ctx.op, ctx.unknown
        args[unknown] = g
        if any(_private.is_legacy_batched(t) for t in args):
            adjoint = in_legacy_batch(
                op, tuple(args), lambda moved: _call(op, moved, unknown, alpha, ctx.eps, ctx.setting)
            )
        else:
            adjoint = _call(op, args, unknown, alpha, ctx.eps, ctx.setting)
        args[unknown] = a
        needs = ctx.needs_input_grad[5:]
        gradients: list[Any] = [None] * len(args)
        variables = tuple([k for k, need in enumerate(needs) if need and k != unknown])
        if variables:
            result = _again(op.derive("grad", variables), (*args, -adjoint), ctx.setting)
            for k, d in zip(variables, result if isinstance(result, tuple) else (result,), strict=True):
                gradients[k] = d.sum_to_size(args[k].shape)
        if needs[unknown]:
            gradients[unknown] = adjoint
        by_alpha = -(adjoint * a).sum().to(alpha.dtype).reshape(alpha.shape) if ctx.needs_input_grad[4] else None
        return (None, None, None, None, by_alpha, *gradients)

    @staticmethod
    def jvp(ctx: Any, _op: Any, _unknown: Any, _eps: Any, _setting: Any, by_alpha: Any, *tangents: Any) -> Any:
        alpha, *args, a = ctx.saved_tensors
        if not _private.transforms_active():
            return _tangent(ctx, alpha, args, a, by_alpha, tangents)
        with _private.forward_grad_enabled(True):  # this level's tangent off, those of the levels outside on
            alpha, a, *args = [_private.primal(t) for t in (alpha, a, *args)]
            return _tangent(ctx, alpha, args, a, by_alpha, tangents)


def _tangent(ctx: Any, alpha: Any, args: list[Any], a: Any, by_alpha: Any, tangents: Any) -> Any:
    """(K + alpha)^-1 (db - dK a - dalpha a)."""
    op, unknown = ctx.op, ctx.unknown
    rest = tangents[unknown] if tangents[unknown] is not None else torch.zeros_like(a)
    args[unknown] = a
    variables = tuple([k for k, t in enumerate(tangents) if t is not None and k != unknown])
    if variables:
        moved = [tangents[k] for k in variables]
        rest = rest - _again(op.derive("diff", variables), (*args, *moved), ctx.setting)
    if by_alpha is not None:
        rest = rest - by_alpha.to(a.dtype) * a
    args[unknown] = rest
    return _call(op, args, unknown, alpha, ctx.eps, ctx.setting)


library.define(
    "solve(Tensor[] inputs, str program, int unknown, Tensor alpha, float eps, Tensor[] ranges) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _plain(inputs: Any, program: str, unknown: int, alpha: Tensor, eps: float, ranges: Any) -> Tensor:
    op = Op.of(program)
    setting = _setting(ranges, 0, 0)
    args = [t.detach() for t in inputs]
    args[unknown] = args[unknown].expand(op.empty([t.to("meta") for t in args], setting)[0].shape)
    answer = op.kernel.solve(tuple(args), unknown, float(alpha), eps, False, 0, setting.ranges, None, _threads())
    result = solution(answer, 3)
    return result if isinstance(result, Tensor) else torch.from_numpy(result)


def _fake(inputs: Any, program: str, unknown: int, alpha: Tensor, eps: float, ranges: Any) -> Tensor:
    return Op.of(program).empty(inputs, Setting())[0]


def _autograd(inputs: Any, program: str, unknown: int, alpha: Tensor, eps: float, ranges: Any) -> Any:
    op = Op.of(program)

    def apply() -> Any:
        return _Level.apply(op, unknown, eps, _setting(ranges, 0, 0), alpha, *inputs)

    def below() -> Any:
        return torch.ops.benben.solve.default(inputs, program, unknown, alpha, eps, ranges)

    return _private.at_this_level((*inputs, alpha), apply, below)


def _batched(
    info: Any, in_dims: Any, inputs: Any, program: str, unknown: int, alpha: Tensor, eps: float, ranges: Any
) -> Any:
    call = torch.ops.benben.solve.default
    dims = in_dims[0]
    if in_dims[3] is not None:  # a system for each ridge
        rows = []
        for k, one in enumerate(alpha.unbind(in_dims[3])):
            parts = [t if d is None else t.select(d, k) for t, d in zip(inputs, dims, strict=True)]
            rows.append(call(parts, program, unknown, one, eps, ranges))
        return torch.stack(rows), 0
    moved = list(_batch_in_front(Op.of(program), inputs, dims))
    return call(moved, program, unknown, alpha, eps, list(ranges) * info.batch_size if len(ranges) > 6 else ranges), 0


library.impl("solve", _plain, "CPU")
library.impl("solve", _plain, "CUDA")
library.impl("solve", _autograd, "Autograd")
torch.library.register_fake("benben::solve", _fake, lib=library)
torch.library.register_vmap("benben::solve", _batched, lib=library)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast("benben::solve", _device, torch.float32, lib=library)
