"""Programs as operations of PyTorch: torch.ops.benben.run, its derivatives of any order in both modes, its batching
rule and its shapes.

The gradient of a program is a program, and so is its tangent: derivatives call this operation again, so that every
order and mixture follows. Two ways lead in:
  * plain tensors go straight to the C library, through a Function when something needs a gradient;
  * everything else (torch.func's transforms, dual numbers, tracing, compilation, subclasses, autocast) goes through
    the dispatcher, which meets an Autograd kernel of our own that is a Function of one level: each level of a transform
    re-enters the dispatcher and meets the kernel with its own tensors.
An operation of the dispatcher has no objects as arguments: a program is a text (`Op.key`) that says how it is made.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .._errors import ArgumentError, DeviceError, NotDifferentiableError
from .._options import Accuracy
from . import _private, _recipe
from ._dtypes import as_tensors, common_dtype, promote
from ._private import plain_types

_threads = torch.get_num_threads
_grad_enabled = torch.is_grad_enabled
_compiling = torch.compiler.is_compiling
_has_exchange = hasattr(Tensor, "__dlpack_c_exchange_api__")  # torch >= 2.10
TABLE_LIMIT = 5000  # operations kept by key
_TRAILING = {"i": 2, "j": 2, "p": 1}  # axes of a variable behind its batches


class Setting(NamedTuple):
    """What a call says besides its tensors."""

    ranges: Any = None  # sextuples of int64 tensors
    rows_i: int = 0
    rows_j: int = 0
    progress: Any = None


PLAIN = Setting()


class Op:
    """A program that takes and gives tensors: shapes are those of the C library."""

    __slots__ = (
        "accuracy",
        "derived",
        "float_outputs",
        "index_outputs",
        "kernel",
        "key",
        "lists",
        "outputs",
        "paired",
        "places",
        "program",
        "recipe",
        "run",
        "steps",
        "uniform",
    )
    table: dict[str, Op] = {}  # noqa: RUF012

    def __init__(self, key: str, program: Any, recipe: Any, accuracy: Accuracy, steps: tuple[Any, ...]) -> None:
        self.key, self.program, self.recipe, self.accuracy, self.steps = key, program, recipe, accuracy, steps
        self.kernel = program.compile(sum_scheme=accuracy.sum_scheme, accumulate_double=accuracy.dtype_acc == "float64")
        self.places = tuple([place for _, place, _ in program.variables])
        self.outputs = tuple(program.outputs)
        self.float_outputs = tuple([k for k, (_, _, is_index) in enumerate(self.outputs) if not is_index])
        self.index_outputs = len(self.float_outputs) < len(self.outputs)
        self.uniform = tuple([k for k, (place, _, _) in enumerate(self.outputs) if place == "p"])
        self.lists = frozenset(program.lists)
        self.paired: Any = None  # see with_indices
        self.derived: dict[Any, Any] = {}
        self.run = functools.partial(call, self)

    # ---- making ----
    @classmethod
    def make(cls, program: Any, recipe: Any, accuracy: Accuracy, steps: tuple[Any, ...] = ()) -> Op:
        key = json.dumps([recipe, accuracy, steps], separators=(",", ":"))
        found = cls.table.get(key)
        if found is None:
            if len(cls.table) > TABLE_LIMIT:
                cls.table.clear()
            found = cls.table[key] = cls(key, program, recipe, accuracy, steps)
        return found

    @classmethod
    def of(cls, key: str) -> Op:
        """The operation of a key, in this or in another process."""
        found = cls.table.get(key)
        if found is None:
            recipe, accuracy, steps = json.loads(key)
            program = _recipe.program(recipe)
            for kind, variables, forward in steps:
                program = getattr(program, kind)(tuple(variables), tuple(forward))
            found = cls.make(program, _recipe.tuples(recipe), Accuracy(*accuracy), _recipe.tuples(steps))
            cls.table[key] = found
        return found

    def derive(self, kind: str, variables: tuple[int, ...], forward: tuple[int, ...] = ()) -> Op:
        """The program of the gradients ("grad") or tangents ("diff") with respect to some variables, or of some of the
        outputs ("select")."""
        program = getattr(self.program, kind)(variables, forward)
        return Op.make(program, self.recipe, self.accuracy, (*self.steps, (kind, variables, forward)))

    def gradient(self, variables: tuple[int, ...]) -> tuple[Op, tuple[int, ...]]:
        """The program of the gradients, and which outputs of this one it is given, because that saves work."""
        found = self.derived.get(variables)
        if found is None:
            forward: tuple[int, ...] = ()
            least = self.program.grad(variables).cost
            for known in (self.float_outputs, tuple(range(len(self.outputs)))):
                with contextlib.suppress(ArgumentError):  # indices that a derivative would not read as a list
                    cost = self.program.grad(variables, known).cost
                    if cost < least:
                        least, forward = cost, known
            found = self.derived[variables] = (self.derive("grad", variables, forward), forward)
        return found  # type: ignore[no-any-return]

    def partial_gradient(self, variables: tuple[int, ...], outputs: tuple[int, ...]) -> Op:
        """The program of the gradients where only these outputs have cotangents."""
        found = self.derived.get((variables, outputs))
        if found is None:
            found = self.derived[variables, outputs] = self.derive("select", outputs).derive("grad", variables)
        return found  # type: ignore[no-any-return]

    def tangent(self, variables: tuple[int, ...], forward: tuple[int, ...] = ()) -> Op:
        """The program of the tangents of the outputs, given those of these variables and some outputs."""
        found = self.derived.get(("diff", variables, forward))
        if found is None:
            found = self.derived["diff", variables, forward] = self.derive("diff", variables, forward)
        return found  # type: ignore[no-any-return]

    def with_indices(self) -> Op | None:
        """Where this is a selection (minima, K smallest values): the same with its indices, which its derivatives read
        instead of selecting again."""
        if self.paired is None:
            self.paired = False
            recipe = _recipe.paired(self.recipe)
            if recipe is not None and not self.steps:
                with contextlib.suppress(ArgumentError):
                    made = Op.make(_recipe.program(recipe), recipe, self.accuracy)
                    if 1 in made.gradient((0,))[1]:
                        self.paired = made
        return self.paired or None

    # ---- running ----
    def compute(self, args: tuple[Any, ...], setting: Setting) -> Any:
        """On plain tensors (and numbers) of types that go together: a tensor, or a tuple of several."""
        if _has_exchange:
            return self.kernel.run(
                args, None, setting.ranges, setting.rows_i, setting.rows_j, _threads(), setting.progress
            )
        return self.compute_slowly(args, setting)

    def compute_slowly(self, args: tuple[Any, ...], setting: Setting) -> Any:
        """compute, by what PyTorch had before 2.10: __dlpack__ and tensors allocated here."""
        args = tuple([a.detach() if isinstance(a, Tensor) else a for a in args])
        outputs = tuple(self.empty(args, setting))
        device = outputs[0].device
        stream = torch.cuda.current_stream(device).cuda_stream if device.type == "cuda" else 0
        return self.kernel.run(
            args, outputs, setting.ranges, setting.rows_i, setting.rows_j, _threads(), setting.progress, stream
        )

    def empty(self, args: Any, setting: Setting) -> list[Tensor]:
        """Tensors for the outputs."""
        known = [(a, place) for a, place in zip(args, self.places, strict=True) if isinstance(a, Tensor)]
        tensors = [(a, place) for k, (a, place) in enumerate(known) if k not in self.lists]
        batch = torch.broadcast_shapes(*[a.shape[: -_TRAILING[place]] for a, place in tensors])
        dtype = common_dtype([a for a, _ in tensors])
        rows: dict[str, Any] = {"i": setting.rows_i, "j": setting.rows_j}
        for a, place in tensors:
            if place != "p":
                rows[place] = a.shape[-2]
        like = tensors[0][0]
        return [
            like.new_empty(
                (*batch, dim) if place == "p" else (*batch, rows[place], dim), dtype=torch.int64 if is_index else dtype
            )
            for place, dim, is_index in self.outputs
        ]


def call(op: Op, args: tuple[Any, ...], setting: Setting = PLAIN) -> Any:
    """On any tensors: a tensor, or a tuple of several."""
    if _compiling():
        return dispatch(op, args, setting)
    needs = elsewhere = False
    for a in args:
        if type(a) in plain_types:
            if a.requires_grad:
                needs = True
            if not a.is_cpu:
                elsewhere = True
            if a.is_neg():
                return dispatch(op, args, setting)
        elif type(a) is not float and type(a) is not tuple:
            return dispatch(op, args, setting)
    if (
        _private.transforms_active()
        or _private.dual_level() >= 0
        or _private.dispatch_modes()
        or _private.autocast_on()
        or _private.jit_tracing() is not None
    ):
        return dispatch(op, args, setting)
    if elsewhere and not on_one_device(op, args).is_cuda:
        return dispatch(op, args, setting)
    if needs and _grad_enabled():
        return _Direct.apply(op, setting, *_told_apart(promote(args, op.lists)))
    result = op.compute(args, setting)
    return op.compute(promote(args, op.lists), setting) if result is NotImplemented else result


def on_one_device(op: Op, args: tuple[Any, ...]) -> Tensor:
    """A tensor of those that are there; DeviceError where they are not on one device."""
    tensors = [(k, a) for k, a in enumerate(args) if isinstance(a, Tensor)]
    first, like = tensors[0]
    for k, a in tensors:
        if a.device != like.device:
            one, other = [f"argument {n} '{op.program.variables[n][0]}'".removesuffix(" ''") for n in (first, k)]
            raise DeviceError(
                f"{one} is on {like.device}, {other} on {a.device}: the tensors of a call are on one device; use "
                f".to({str(like.device)!r})"
            )
    return like


def _told_apart(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Where several leaves need gradients: a node of the graph for each, of which _backward can ask whether its
    gradient is wanted (a leaf does not say)."""
    leaves = [a for a in args if isinstance(a, Tensor) and a.requires_grad]
    if len(leaves) < 2:
        return args
    return tuple([a.view_as(a) if isinstance(a, Tensor) and a.requires_grad and a.is_leaf else a for a in args])


def dispatch(op: Op, args: tuple[Any, ...], setting: Setting) -> Any:
    """Through the dispatcher."""
    tensors = promote(as_tensors(args, op.lists), op.lists)
    flat = [] if setting.ranges is None else [t for six in setting.ranges for t in six]
    result = torch.ops.benben.run.default(list(tensors), op.key, flat, setting.rows_i, setting.rows_j)
    return result[0] if len(op.outputs) == 1 else tuple(result)


def _setting(ranges: Any, rows_i: int, rows_j: int) -> Setting:
    six = tuple([tuple(ranges[k : k + 6]) for k in range(0, len(ranges), 6)])
    return Setting(six or None, rows_i, rows_j)


# ---- derivatives, for both ways in ----
def _save(ctx: Any, op: Op, setting: Setting, args: tuple[Any, ...], result: Any, hidden: bool = False) -> Any:
    """hidden: of the results only the first one was asked for."""
    ctx.asks, ctx.hidden = False, hidden
    ctx.op, ctx.setting = op, setting if setting.progress is None else setting._replace(progress=None)
    results = result if isinstance(result, tuple) else (result,)
    ctx.numbers = None
    if not all(isinstance(a, Tensor) for a in args):
        ctx.numbers = tuple([None if isinstance(a, Tensor) else a for a in args])
        args = tuple([a for a in args if isinstance(a, Tensor)])
    variables = tuple([k for k, needs in enumerate(ctx.needs_input_grad[2:]) if needs])
    ctx.kept = ()
    if op.float_outputs and (variables or op.index_outputs):  # (tangents read indices too)
        with contextlib.suppress(NotDifferentiableError):  # says so when its gradient is asked for
            ctx.kept = op.gradient(variables or (0,))[1]
    kept = tuple([results[k] for k in ctx.kept])
    ctx.inputs = len(args)
    ctx.save_for_backward(*args, *kept)
    ctx.save_for_forward(*args, *kept)
    ctx.set_materialize_grads(False)
    if hidden:
        return results[0]
    if op.index_outputs:
        ctx.mark_non_differentiable(*[r for r, (_, _, is_index) in zip(results, op.outputs, strict=True) if is_index])
    return result


def _inputs(ctx: Any, tensors: Any) -> tuple[Any, ...]:
    if ctx.numbers is None:
        return tuple(tensors)
    rest = iter(tensors)
    return tuple([next(rest) if number is None else number for number in ctx.numbers])


def _wanted(ctx: Any) -> tuple[int, ...]:
    """The variables whose gradients somebody asks for."""
    needed = tuple([k for k, needs in enumerate(ctx.needs_input_grad[2:]) if needs])
    if not ctx.asks or len(needed) < 2:
        return needed
    before = ctx.numbers or ()  # numbers have no node
    return tuple([k for k in needed if _private.is_asked_for(ctx, k - sum(n is not None for n in before[:k]))])


def _backward(ctx: Any, *cotangents: Any) -> Any:
    op = ctx.op
    saved = ctx.saved_tensors
    args, kept = _inputs(ctx, saved[: ctx.inputs]), saved[ctx.inputs :]
    variables = _wanted(ctx)
    gradients: list[Any] = [None] * (len(args) + 2)
    wanted = [cotangents[k] for k in op.float_outputs]
    if not variables or all(g is None for g in wanted):
        return tuple(gradients)
    if any(g is None for g in wanted):
        gradient = op.partial_gradient(variables, tuple([k for k in op.float_outputs if cotangents[k] is not None]))
        wanted, kept = [g for g in wanted if g is not None], ()
    else:
        gradient, forward = op.gradient(variables)
        if forward != ctx.kept:  # another set of variables than when the forward pass ran
            kept = ctx.kept and saved[ctx.inputs :]
            gradient = op.derive("grad", variables, ctx.kept)
    result = _again(gradient, (*args, *wanted, *kept), ctx.setting)
    for k, g in zip(variables, result if isinstance(result, tuple) else (result,), strict=True):
        gradients[k + 2] = g if g.shape == args[k].shape else g.sum_to_size(args[k].shape)
    return tuple(gradients)


def _again(op: Op, args: tuple[Any, ...], setting: Setting) -> Any:
    """Runs a derivative. What was saved may be wrapped by a transform that has ended (torch.func.vjp), and directions
    may be batched by autograd.grad(is_grads_batched=True)."""
    for a in args:
        if isinstance(a, Tensor):
            if _private.is_legacy_batched(a):
                return in_legacy_batch(op, args, lambda moved: call(op, moved, setting))
            if _private.is_wrapped(a):
                return dispatch(op, args, setting)
    return call(op, args, setting)


def in_legacy_batch(op: Op, args: tuple[Any, ...], run: Callable[[tuple[Any, ...]], Any]) -> Any:
    """run on the tensors with their hidden batch axis in front, hidden again in what it gives."""
    level = _private.legacy_level()
    args = as_tensors(args)
    dims = [0 if _private.is_legacy_batched(a) else None for a in args]
    args = tuple([a if d is None else _private.legacy_unwrap(a, level) for a, d in zip(args, dims, strict=True)])
    result = run(_batch_in_front(op, args, dims))
    wrap = _private.legacy_wrap
    return tuple([wrap(r, level) for r in result]) if isinstance(result, tuple) else wrap(result, level)


def _tangents(ctx: Any, args: tuple[Any, ...], tangents: Any) -> Any:
    op = ctx.op
    variables = tuple([k for k, t in enumerate(tangents) if t is not None])
    moved = [
        t if t.shape == args[k].shape else t.expand(args[k].shape) for k, t in enumerate(tangents) if t is not None
    ]
    args, kept = args[: ctx.inputs], args[ctx.inputs :]
    result = _again(op.tangent(variables, ctx.kept), (*args, *moved, *kept), ctx.setting)
    if ctx.hidden:
        return result
    parts = iter(result if isinstance(result, tuple) else (result,))
    full = tuple([None if is_index else next(parts) for _, _, is_index in op.outputs])
    return full[0] if len(full) == 1 else full


class _Direct(_private.SingleLevelFunction):  # type: ignore[misc]
    """Reverse mode on plain tensors: no dispatcher."""

    @staticmethod
    def forward(ctx: Any, op: Op, setting: Setting, *args: Any) -> Any:
        fuller = op.with_indices()
        result = _save(ctx, fuller or op, setting, args, (fuller or op).compute(args, setting), fuller is not None)
        ctx.asks = True
        return result

    backward = staticmethod(_backward)


class _Level(_private.SingleLevelFunction):  # type: ignore[misc]
    """One level of whatever is going on; below it the next level's kernel runs, or the computation."""

    @staticmethod
    def forward(ctx: Any, op: Op, setting: Setting, *args: Any) -> Any:
        fuller = op.with_indices()
        with _private.below(_private.transforms_active()):
            result = dispatch(fuller or op, args, setting)
        return _save(ctx, fuller or op, setting, args, result, fuller is not None)

    backward = staticmethod(_backward)

    @staticmethod
    def jvp(ctx: Any, _op: Any, _setting: Any, *tangents: Any) -> Any:
        saved = ctx.saved_tensors
        if not _private.transforms_active():
            return _tangents(ctx, saved, tangents)
        with _private.forward_grad_enabled(True):  # this level's tangent off, those of the levels outside on
            return _tangents(ctx, tuple([_private.primal(t) for t in saved]), tangents)


def _batch_in_front(op: Op, tensors: Any, dims: Any) -> tuple[Any, ...]:
    """The tensors with the axis that dims says in front of all others, where they broadcast together."""
    trailing = [_TRAILING[place] for place in op.places]
    rank = max([t.dim() - (d is not None) - n for t, d, n in zip(tensors, dims, trailing, strict=True)])
    moved = []
    for t, d, n in zip(tensors, dims, trailing, strict=True):
        if d is not None:
            t = t.movedim(d, 0)
            own = t.dim() - 1 - n
            t = t.reshape(t.shape[:1] + (1,) * (rank - own) + t.shape[1:]) if own < rank else t
        moved.append(t)
    return tuple(moved)


# ---- the operation ----
library = torch.library.Library("benben", "DEF")
library.define(
    "run(Tensor[] inputs, str program, Tensor[] ranges, SymInt rows_i, SymInt rows_j) -> Tensor[]",
    tags=(torch.Tag.pt2_compliant_tag,),
)


def _run_plain(inputs: Any, program: str, ranges: Any, rows_i: int, rows_j: int) -> Any:
    op = Op.of(program)
    if not all(t.is_cpu for t in inputs):
        on_one_device(op, tuple(inputs))
    result = op.compute(tuple(inputs), _setting(ranges, rows_i, rows_j))
    return list(result) if isinstance(result, tuple) else [result]


def _run_fake(inputs: Any, program: str, ranges: Any, rows_i: int, rows_j: int) -> Any:
    return Op.of(program).empty(inputs, Setting(None, rows_i, rows_j))


def _run_autograd(inputs: Any, program: str, ranges: Any, rows_i: int, rows_j: int) -> Any:
    op = Op.of(program)

    def apply() -> Any:
        return _Level.apply(op, _setting(ranges, rows_i, rows_j), *inputs)

    def below() -> Any:
        return torch.ops.benben.run.default(inputs, program, ranges, rows_i, rows_j)

    result = _private.at_this_level(inputs, apply, below)
    return result if isinstance(result, list) else list(result) if isinstance(result, tuple) else [result]


def _run_batched(info: Any, in_dims: Any, inputs: Any, program: str, ranges: Any, rows_i: int, rows_j: int) -> Any:
    moved = list(_batch_in_front(Op.of(program), inputs, in_dims[0]))
    if len(ranges) > 6:  # one sextuple for each element of the batch
        ranges = list(ranges) * info.batch_size
    result = torch.ops.benben.run.default(moved, program, ranges, rows_i, rows_j)
    return result, [0] * len(result)


library.impl("run", _run_plain, "CPU")
library.impl("run", _run_plain, "CUDA")
library.impl("run", _run_autograd, "Autograd")
torch.library.register_fake("benben::run", _run_fake, lib=library)
torch.library.register_vmap("benben::run", _run_batched, lib=library)
for _device in ("cpu", "cuda"):  # as PyTorch does with exponentials, distances and sums
    torch.library.register_autocast("benben::run", _device, torch.float32, lib=library)
_private.constant_type(Op, Op.__slots__, lambda op: f"benben.torch._ops.Op.of({op.key!r})")
