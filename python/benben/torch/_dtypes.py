"""Tensors and numbers of types that go together: what the arguments of a program become before it runs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .._errors import DtypeError


def common_dtype(tensors: Any) -> torch.dtype:
    """What is computed in: the widest; float32 for float16 beside bfloat16."""
    dtype = tensors[0].dtype
    for t in tensors:
        if t.dtype != dtype:
            dtype = torch.promote_types(dtype, t.dtype)
    return dtype  # type: ignore[no-any-return]


def promote(args: tuple[Any, ...], lists: frozenset[int] = frozenset()) -> tuple[Any, ...]:
    """Tensors of one floating-point type; lists: the positions of indices."""
    if lists:
        rest = iter(promote(tuple([a for k, a in enumerate(args) if k not in lists])))
        return tuple([a if k in lists else next(rest) for k, a in enumerate(args)])
    first = None
    for a in args:
        if isinstance(a, Tensor):
            if first is None:
                first = a.dtype
                if not first.is_floating_point:
                    break
            elif a.dtype != first:
                break
    else:
        return args
    dtype = common_dtype([a for a in args if isinstance(a, Tensor)])
    if dtype.is_complex:
        raise DtypeError(
            "an argument is complex: pass real and imaginary parts interleaved, torch.view_as_real(x).flatten(-2), or "
            "use a LazyTensor"
        )
    if not dtype.is_floating_point:
        dtype = torch.get_default_dtype()
    return tuple([a.to(dtype) if isinstance(a, Tensor) else a for a in args])


def as_tensors(args: tuple[Any, ...], lists: frozenset[int] = frozenset()) -> tuple[Any, ...]:
    """Numbers and tuples of numbers as tensors of the type of the others."""
    if all(isinstance(a, Tensor) for a in args):
        return args
    tensors = [a for k, a in enumerate(args) if isinstance(a, Tensor) and k not in lists]
    dtype, device = (common_dtype(tensors), tensors[0].device) if tensors else (torch.float64, None)
    out = []
    for k, a in enumerate(args):
        if not isinstance(a, Tensor):
            if not isinstance(a, (int, float, tuple)):
                kind = f"{type(a).__module__}.{type(a).__qualname__}"
                raise TypeError(f"argument {k}: expected a tensor, found {kind}; use torch.as_tensor")
            a = torch.tensor(a if isinstance(a, tuple) else (a,), dtype=dtype, device=device)
        out.append(a)
    return tuple(out)
