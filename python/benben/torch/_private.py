"""Everything of PyTorch that is not public, in one place: what a new version of it may break. tests/python/torch
checks what each is used for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.autograd import forward_ad
from torch.autograd.function import _SingleLevelFunction

SingleLevelFunction: Any = _SingleLevelFunction  # a Function for one level of torch.func's transforms
BelowAutograd: Any = torch._C._AutoDispatchBelowAutograd
transforms_active = torch._C._are_functorch_transforms_active
dispatch_modes = torch._C._len_torch_dispatch_stack
allow_single_level = torch._C._functorch.set_single_level_autograd_function_allowed
single_level_allowed = torch._C._functorch.get_single_level_autograd_function_allowed
is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
forward_grad_enabled: Any = forward_ad._set_fwd_grad_enabled  # a context
jit_tracing = torch._C._get_tracing_state
autocast_on = torch.is_autocast_enabled
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
