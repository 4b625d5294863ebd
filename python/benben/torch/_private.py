"""Everything of PyTorch that is not public, in one place: what a new version of it may break. tests/python/torch
checks what each is used for."""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

try:
    from torch._library import opaque_object
except ImportError:
    opaque_object = None  # type: ignore[assignment]

SingleLevelFunction: Any = _SingleLevelFunction  # a Function for one level of torch.func's transforms
BelowAutograd: Any = torch._C._AutoDispatchBelowAutograd
transforms_active = torch._C._are_functorch_transforms_active
dispatch_modes = torch._C._len_torch_dispatch_stack
allow_single_level = torch._C._functorch.set_single_level_autograd_function_allowed
single_level_allowed = torch._C._functorch.get_single_level_autograd_function_allowed
is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
forward_grad_enabled: Any = forward_ad._set_fwd_grad_enabled  # a context
jit_tracing = torch._C._get_tracing_state
autocast_on = torch._C._is_any_autocast_enabled
plain_types = frozenset([torch.Tensor, torch.nn.Parameter])


def dual_level() -> int:
    """The level of forward-mode dual numbers; -1: none."""
    return forward_ad._current_level


def primal(tensor: Any) -> Any:
    """Without the tangent of this level."""
    return torch._VF._unpack_dual(tensor, level=0)[0]  # type: ignore[attr-defined]


# ---- an Autograd kernel that is a Function of one level
@contextlib.contextmanager
def below(transforms: bool) -> Iterator[None]:
    """What a level's forward pass runs in: the kernels below Autograd. Where there are transforms, the levels outside
    go on recording."""
    with contextlib.ExitStack() as stack:
        if transforms:
            stack.enter_context(torch.enable_grad())
            stack.enter_context(forward_grad_enabled(True))
        stack.enter_context(BelowAutograd())
        yield


def at_this_level(inputs: Any, apply: Callable[[], Any], call: Callable[[], Any]) -> Any:
    """apply() where some derivative is wanted, else call() below Autograd."""
    active = transforms_active()
    if not ((torch.is_grad_enabled() and any(t.requires_grad for t in inputs)) or dual_level() >= 0 or active):
        with BelowAutograd():  # inside a compiled graph levels are entered without dual_level being set: `active`
            return call()
    if not active:
        return apply()
    allowed = single_level_allowed()
    allow_single_level(True)
    try:
        return apply()
    finally:
        allow_single_level(allowed)


# ---- torch.compile of whole expressions: constants with methods, and b @ K against K @ b
def constant_type(cls: Any, members: Iterable[str], text: Callable[[Any], str]) -> None:
    """Objects of the class are constants for the compiler, which runs these methods itself; text(object) is an
    expression that makes it again, with `benben` imported. Each is equal to itself alone."""
    if opaque_object is None:
        return
    import benben

    cls.__eq__ = lambda self, other: self is other
    cls.__hash__ = lambda self: id(self) >> 4
    cls.__fx_repr__ = lambda self: (text(self), {"benben": benben})
    kinds = dict.fromkeys([*members, "__eq__", "__hash__"], opaque_object.MemberType.USE_REAL)
    opaque_object.register_opaque_type(cls, typ="value", members=kinds)


class Compiler:
    """What has to be done while an expression is compiled."""

    def tell_matmul_apart(self) -> bool:
        """Dynamo hands both K @ b and b @ K to __torch_function__ as matmul(b, K). An entry in its table of reversed
        operators makes the first one __rmatmul__(b, K), as it is for the others; the compilation begins again."""
        from torch._dynamo import exc
        from torch._dynamo.variables import builtin

        table = builtin.BUILTIN_TO_TENSOR_RFN_MAP
        builtin.populate_builtin_to_tensor_fn_map()
        if operator.matmul not in table:
            table[operator.matmul] = table[operator.imatmul] = torch.Tensor.__rmatmul__
            raise exc.UnspecializeRestartAnalysis(restart_reason="K @ b and b @ K")
        return True

    def name_of(self, func: Any) -> tuple[str, bool]:
        """Name of a function of torch or of a method of Tensor, without underscores, and whether it has its operands
        in reverse: Tensor.__rsub__(p, K) is K - p."""
        name = func.__name__
        if name == "rsub":
            return "sub", True
        if name[:2] != "__" or name[-2:] != "__":
            return name, False
        name = name[2:-2]
        is_operator = name[1:] == "div" or hasattr(operator, f"__{name[1:]}__")
        if not is_operator or name[0] not in "ri":
            return name, False
        return name[1:], name[0] == "r"


compiler = Compiler()
constant_type(Compiler, ["tell_matmul_apart", "name_of"], lambda self: "benben.torch._private.compiler")


def matmul_is_told_apart() -> None:
    """To be called before matmul(b, K) is believed to be b @ K."""
    if torch.compiler.is_compiling() and not compiler.tell_matmul_apart():
        raise NotImplementedError("b @ K and K @ b cannot be told apart in torch.compile: write K.T @ b or K.matvec(b)")


# ---- the batches of autograd.grad(is_grads_batched=True), which are not those of torch.func.vmap
is_legacy_batched = torch._C._functorch.is_legacy_batchedtensor


def legacy_level() -> int:
    """The innermost level."""
    level = torch._C._vmapmode_increment_nesting() - 1
    torch._C._vmapmode_decrement_nesting()
    return int(level)


def legacy_unwrap(tensor: Any, level: int) -> Any:
    """The tensor with its batch in front."""
    return torch._remove_batch_dim(tensor, level, 1, 0)  # type: ignore[attr-defined]


def legacy_wrap(tensor: Any, level: int) -> Any:
    return torch._add_batch_dim(tensor, 0, level)  # type: ignore[attr-defined]


def constant(tensor: Any) -> Any:
    """tensor.detach(), which hidden batches lack."""
    if not is_legacy_batched(tensor):
        return tensor.detach()
    level = legacy_level()
    return legacy_wrap(legacy_unwrap(tensor, level).detach(), level)


# ---- which gradients a backward pass is for
def is_asked_for(ctx: Any, position: int) -> bool:
    """Whether a backward pass needs the gradient of this tensor among a node's inputs; True where that is not known."""
    node = ctx.next_functions[position][0]
    try:
        return bool(torch._C._will_engine_execute_node(node))
    except RuntimeError:  # of leaves, and outside of a backward pass
        return True
