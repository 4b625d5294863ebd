"""Kernel systems as an operation of PyTorch: torch.ops.benben.solve, differentiable to any order by the implicit
function theorem.

With a = (K + alpha)^-1 b and K symmetric, the cotangent of b is lambda = (K + alpha)^-1 g, that of alpha -<lambda, a>,
and that of what K depends on is the gradient of the product K a with the cotangent -lambda: one more system and one
pass over the pairs, both operations that are differentiable themselves. What says how to solve (preconditioner, rank,
...) is a text, handed on to the systems of the derivatives.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import _core
from .._errors import ShapeError
from .._generic import solution
from . import _private
from ._dtypes import as_tensors, promote
from ._ops import (
    PLAIN,
    Op,
    Setting,
    _again,
    _batch_in_front,
    _setting,
    _threads,
    in_legacy_batch,
    library,
)


class Way(NamedTuple):
    """How a system is solved."""

    options: str  # of the core, see options_text
    setting: Setting = PLAIN
    pattern: tuple[Tensor, ...] = ()  # labels of clusters, or (neighbours, rank)
    slot: int = 0

    def again(self) -> Way:
        """For the systems of derivatives: nobody is told of them."""
        return self._replace(slot=0)


# ---- what a caller wants to be told, and what was told: no argument of an operation
class Slot:
    """Of a call that is under way."""

    def __init__(self, report: Any) -> None:
        self.report = report
        self.told: dict[str, Any] = {}
        self.message: str | None = None
        self.error: Any = None


_slots: dict[int, Slot] = {}
_numbers = itertools.count(1)


@contextlib.contextmanager
def slot(report: Any) -> Iterator[tuple[int, Slot]]:
    """A number for an operation, and what it will have said."""
    number = next(_numbers)
    _slots[number] = Slot(report)
    try:
        yield number, _slots[number]
    finally:
        del _slots[number]


def as_alpha(alpha: Any) -> Tensor:
    """A tensor of one number."""
    if not isinstance(alpha, Tensor):
        return torch.tensor(float(alpha), dtype=torch.float64, device="cpu")
    if alpha.numel() != 1:
        raise ShapeError(f"alpha has the shape {tuple(alpha.shape)}: expected a number")
    return alpha if alpha.is_floating_point() else alpha.to(torch.float64)


def options_text(**options: Any) -> str:
    """Options of the core as an argument of an operation; None is no preconditioner."""
    if options.get("precondition", "") is None:
        options["precondition"] = "none"
    return " ".join([name + "=" + str(options[name]) for name in sorted(options)])


def options_of(text: str) -> dict[str, Any]:
    """What options_text was given."""
    found: dict[str, Any] = {}
    for item in text.split():
        name, value = item.split("=")
        found[name] = value if value.isalpha() and value not in ("inf", "nan") else float(value)
        if name not in ("tolerance", "precondition", "method"):
            found[name] = int(value)
    return found


def solve(
    op: Op,
    args: tuple[Any, ...],
    unknown: int,
    alpha: Any,
    eps: float,
    ranges: Any,
    report: Any = None,
    **settings: Any,
) -> Any:
    """The solution; args[unknown] is the right-hand side."""
    tensors = promote(as_tensors(args))
    way = Way(options_text(**settings, tolerance=float(eps), relative=0), Setting(ranges))
    if report is None:
        return call(op, tensors, unknown, as_alpha(alpha), way)
    with slot(report) as (number, said):
        result = call(op, tensors, unknown, as_alpha(alpha), way._replace(slot=number))
    return result if said.message is None else solution(_short(result, said.told, said.message), 4)


def _short(result: Any, told: dict[str, Any], message: str | None) -> tuple[Any, int, float, str | None]:
    return result, told["iterations"], told["residual"], message


def call(op: Op, tensors: Any, unknown: int, alpha: Tensor, way: Way, guess: Any = None) -> Tensor:
    """Through the dispatcher."""
    ranges = way.setting.ranges
    flat = [] if ranges is None else [t for six in ranges for t in six]
    return torch.ops.benben.solve.default(  # type: ignore[no-any-return]
        list(tensors), op.key, unknown, alpha, way.options, flat, list(way.pattern), guess, way.slot
    )


class _Level(_private.SingleLevelFunction):  # type: ignore[misc]
    """One level of autograd or of a transform, see _ops."""

    @staticmethod
    def forward(ctx: Any, op: Op, unknown: int, way: Way, guess: Any, alpha: Any, *args: Any) -> Any:
        with _private.below(_private.transforms_active()):
            a = call(op, args, unknown, alpha, way, guess)
        ctx.op, ctx.unknown, ctx.way = op, unknown, way.again()
        ctx.save_for_backward(alpha, *args, a)
        ctx.save_for_forward(alpha, *args, a)
        return a

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        alpha, *args, a = ctx.saved_tensors
        op, unknown = ctx.op, ctx.unknown
        adjoint = _adjoint(ctx, args, alpha, g)
        args[unknown] = a
        needs = ctx.needs_input_grad[5:]
        gradients: list[Any] = [None] * len(args)
        variables = tuple([k for k, need in enumerate(needs) if need and k != unknown])
        if variables:
            result = _again(op.derive("grad", variables), (*args, -adjoint), ctx.way.setting)
            for k, d in zip(variables, result if isinstance(result, tuple) else (result,), strict=True):
                gradients[k] = d.sum_to_size(args[k].shape)
        if needs[unknown]:
            gradients[unknown] = adjoint.sum_to_size(args[unknown].shape)
        by_alpha = -(adjoint * a).sum().to(alpha.dtype).reshape(alpha.shape) if ctx.needs_input_grad[4] else None
        return (None, None, None, None, by_alpha, *gradients)

    @staticmethod
    def jvp(ctx: Any, _op: Any, _unknown: Any, _way: Any, _guess: Any, by_alpha: Any, *tangents: Any) -> Any:
        alpha, *args, a = ctx.saved_tensors
        if not _private.transforms_active():
            return _tangent(ctx, alpha, args, a, by_alpha, tangents)
        with _private.forward_grad_enabled(True):  # this level's tangent off, those of the levels outside on
            alpha, a, *args = [_private.primal(t) for t in (alpha, a, *args)]
            return _tangent(ctx, alpha, args, a, by_alpha, tangents)


def _adjoint(ctx: Any, args: list[Any], alpha: Tensor, g: Tensor) -> Tensor:
    """(K + alpha)^-1 g."""
    op, unknown, way = ctx.op, ctx.unknown, ctx.way
    given, scale = list(args), None
    if "relative=0" in way.options:  # a tolerance that is right for b is so for g of the size of b
        b, direction = _private.constant(args[unknown]), _private.constant(g)
        of_b = b.square().mean((-2, -1), keepdim=True).sqrt()
        of_g = direction.square().mean(-2, keepdim=True).sqrt()
        scale = torch.where((of_b > 0) & (of_g > 0), of_b / of_g, torch.ones_like(of_b))
        g = g * scale
    given[unknown] = g
    if any(_private.is_legacy_batched(t) for t in given):
        found = in_legacy_batch(op, tuple(given), lambda moved: call(op, moved, unknown, alpha, way))
    else:
        found = call(op, given, unknown, alpha, way)
    return found if scale is None else found / scale  # type: ignore[no-any-return]


def _tangent(ctx: Any, alpha: Any, args: list[Any], a: Any, by_alpha: Any, tangents: Any) -> Any:
    """(K + alpha)^-1 (db - dK a - dalpha a)."""
    op, unknown = ctx.op, ctx.unknown
    b = args[unknown]
    rest = tangents[unknown] if tangents[unknown] is not None else torch.zeros_like(a)
    args[unknown] = a
    variables = tuple([k for k, t in enumerate(tangents) if t is not None and k != unknown])
    if variables:
        moved = [tangents[k] for k in variables]
        rest = rest - _again(op.derive("diff", variables), (*args, *moved), ctx.way.setting)
    if by_alpha is not None:
        rest = rest - by_alpha.to(a.dtype) * a
    args[unknown] = b
    return _adjoint(ctx, args, alpha, rest)


library.define(
    "solve(Tensor[] inputs, str program, int unknown, Tensor alpha, str options, Tensor[] ranges, Tensor[] pattern, "
    "Tensor? guess, int slot) -> Tensor",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def system(op: Op, inputs: Any, unknown: int, ranges: Any, columns: bool) -> tuple[Any, ...]:
    """A matrix as the core takes it. columns: the unknown is a right-hand side, which gets the batches of the rest."""
    setting = _setting(ranges, 0, 0)
    args = [t.detach().to("cpu") for t in inputs]  # solvers are of the host
    if columns:
        shape = op.empty([t.to("meta") for t in args], setting)[0].shape
        args[unknown] = args[unknown].expand(shape).contiguous()
    return op.kernel, tuple(args), unknown, setting.ranges


def _plain(
    inputs: Any,
    program: str,
    unknown: int,
    alpha: Tensor,
    options: str,
    ranges: Any,
    pattern: Any,
    guess: Any,
    slot: int,
) -> Tensor:
    op = Op.of(program)
    matrix = system(op, inputs, unknown, ranges, True)
    if guess is not None:
        guess = guess.detach().to("cpu", inputs[unknown].dtype).expand(matrix[1][unknown].shape).contiguous()
    said = _slots.get(slot)
    clusters = tuple(pattern) if len(pattern) > 1 else pattern[0] if pattern else None
    result, told, message = _core.solve(
        matrix,
        None,
        guess,
        clusters,
        {**options_of(options), "alpha": float(alpha), "threads": _threads()},
        None if said is None else said.report,
    )
    if said is None:
        solution(_short(result, told, message), 3)
    else:
        said.told, said.message = told, message
    found = result if isinstance(result, Tensor) else torch.from_numpy(result)
    return found.to(inputs[unknown].device)


def _fake(inputs: Any, program: str, unknown: int, alpha: Tensor, options: str, ranges: Any, *_: Any) -> Tensor:
    return Op.of(program).empty(inputs, Setting())[0]


def _autograd(
    inputs: Any,
    program: str,
    unknown: int,
    alpha: Tensor,
    options: str,
    ranges: Any,
    pattern: Any,
    guess: Any,
    slot: int,
) -> Any:
    op = Op.of(program)

    def apply() -> Any:
        way = Way(options, _setting(ranges, 0, 0), tuple(pattern), slot)
        return _Level.apply(op, unknown, way, guess, alpha, *inputs)

    def below() -> Any:
        return torch.ops.benben.solve.default(inputs, program, unknown, alpha, options, ranges, pattern, guess, slot)

    return _private.at_this_level((*inputs, alpha), apply, below)


def _batched(
    info: Any,
    in_dims: Any,
    inputs: Any,
    program: str,
    unknown: int,
    alpha: Tensor,
    options: str,
    ranges: Any,
    pattern: Any,
    guess: Any,
    slot: int,
) -> Any:
    run = torch.ops.benben.solve.default
    dims = in_dims[0]
    if in_dims[3] is not None:  # a system for each ridge
        rows = []
        for k, one in enumerate(alpha.unbind(in_dims[3])):
            parts = [t if d is None else t.select(d, k) for t, d in zip(inputs, dims, strict=True)]
            first = guess if guess is None or in_dims[7] is None else guess.select(in_dims[7], k)
            rows.append(run(parts, program, unknown, one, options, ranges, pattern, first, slot))
        return torch.stack(rows), 0
    moved = list(_batch_in_front(Op.of(program), inputs, dims))
    if guess is not None and in_dims[7] is not None:
        guess = guess.movedim(in_dims[7], 0)
    ranges = list(ranges) * info.batch_size if len(ranges) > 6 else ranges
    return run(moved, program, unknown, alpha, options, ranges, pattern, guess, slot), 0


library.impl("solve", _plain, "CPU")
library.impl("solve", _plain, "CUDA")
library.impl("solve", _autograd, "Autograd")
torch.library.register_fake("benben::solve", _fake, lib=library)
torch.library.register_vmap("benben::solve", _batched, lib=library)
for _device in ("cpu", "cuda"):
    torch.library.register_autocast("benben::solve", _device, torch.float32, lib=library)
