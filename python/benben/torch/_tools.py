"""How arrays are handled, for PyTorch: the protocol behind LazyTensor and Genred (see benben/numpy/_tools.py)."""

from __future__ import annotations

import pickle
from typing import Any

import torch
from torch import Tensor

from .._errors import ArgumentError, DtypeError, RangesError, ShapeError
from .._formula import Formula
from .._options import Accuracy
from .._reduce import Plan
from . import _private
from ._dtypes import common_dtype as _common_dtype
from ._dtypes import promote
from ._ops import Op, Setting, call
from ._solve import solve


def _no_part_of_a_graph(plan: Any) -> str:
    raise TypeError("a plan is no part of a graph")


# for torch.compile formulas and what is compiled of them are constants
_private.constant_type(
    Formula,
    [name for name in dir(Formula) if name[0] != "_"],
    lambda f: f"benben._formula.unpickled({pickle.dumps(f)!r})",
)
_private.constant_type(Plan, Plan.__slots__, _no_part_of_a_graph)

name = "torch"
_KNOWN = {
    torch.float16: "float16",
    torch.bfloat16: "bfloat16",
    torch.float32: "float32",
    torch.float64: "float64",
    torch.complex64: "float32",
    torch.complex128: "float64",
}


def is_array(x: Any) -> bool:
    return isinstance(x, Tensor)


def as_array(x: Any, what: str) -> Any:
    """A tensor, also of a sequence of numbers or of rows. what: the argument's name, for errors."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, (list, tuple)):
        try:
            return torch.tensor(x)
        except (ValueError, TypeError, RuntimeError) as error:
            raise ArgumentError(f"{what}: the {type(x).__name__} is no tensor: {error}") from None
    raise ArgumentError(
        f"{what}: expected a tensor of torch, found {type(x).__module__}.{type(x).__qualname__}; use torch.as_tensor"
    )


def is_scalar(x: Any) -> bool:
    """NumPy's scalars, for parameters."""
    return type(x).__module__ == "numpy" and hasattr(x, "item") and getattr(x, "shape", None) == ()


def is_boolean(x: Any) -> bool:
    return isinstance(x, bool) or (isinstance(x, Tensor) and x.dtype == torch.bool)


def scalar(x: Any) -> Any:
    return x.item()


def is_complex(x: Any) -> bool:
    return (
        isinstance(x, complex)
        or (isinstance(x, Tensor) and x.dtype.is_complex)
        or (isinstance(x, list) and any(isinstance(n, complex) for n in x))
    )


def as_float(x: Any) -> Any:
    """The tensor in a type that is computed in: integers and booleans become the default type, as beside a float
    in PyTorch."""
    dtype = x.dtype
    if dtype in _KNOWN:
        return x
    if dtype.is_floating_point or dtype.is_complex or x.is_quantized:
        raise DtypeError(f"the dtype {dtype} is not supported: convert to bfloat16, float16, float32 or float64")
    return x.to(torch.get_default_dtype())


def dtype_name(x: Any) -> str:
    """The type of the computation."""
    return _KNOWN[x.dtype]


def dtype_of(name: str) -> Any:
    return getattr(torch, name)


def convert(args: Any, names: Any = ()) -> tuple[Any, ...]:
    """Arguments of a Genred: tensors, with integers promoted; names: of the variables."""
    out: list[Any] = []
    for k, x in enumerate(args):
        what = f"argument {k}" + (f" '{names[k]}'" if k < len(names) and names[k] else "")
        if isinstance(x, Tensor):
            if x.dtype.is_complex:
                raise DtypeError(f"{what} is complex: pass torch.view_as_real(x).flatten(-2), or use a LazyTensor")
            out.append(as_float(x))
        elif isinstance(x, (int, float)) and not isinstance(x, bool):
            out.append(float(x))
        elif is_scalar(x):
            out.append(float(x.item()))
        else:
            try:
                out.append(as_float(as_array(x, what)))
            except ArgumentError as error:
                raise TypeError(str(error)) from None
    return tuple(out)


def common_dtype(args: tuple[Any, ...]) -> str:
    tensors = [x for x in args if isinstance(x, Tensor)]
    return _KNOWN[_common_dtype(tensors)] if tensors else "float64"


def compile(program: Any, recipe: Any, accuracy: Accuracy) -> Op:
    """What runs a program."""
    return Op.make(program, recipe, accuracy)


def run(
    plan: Any, args: tuple[Any, ...], ranges: Any = None, rows_i: int = 0, rows_j: int = 0, progress: Any = None
) -> Any:
    """Runs a plan (or a kernel)."""
    op: Op = plan if isinstance(plan, Op) else plan.kernel
    result = call(op, args, Setting(ranges, rows_i, rows_j, progress))
    if not op.uniform:
        return result
    if not isinstance(result, tuple):
        return result.unsqueeze(-2)
    return tuple([r.unsqueeze(-2) if k in op.uniform else r for k, r in enumerate(result)])


def ranges(six: Any) -> Any:
    """Ranges as the core takes them: int64 on the CPU, one sextuple for each batch element."""
    if six is None:
        return None
    if len(six) == 6 and not isinstance(six[0], (tuple, list)):
        six = (six,)
    for one in six:
        for k, a in enumerate(one):
            dtype = torch.as_tensor(a).dtype
            if dtype.is_floating_point and len(a):
                raise RangesError(f"array {k} of the ranges: expected integers, found the dtype {dtype}")
    return tuple([tuple([torch.as_tensor(a).to("cpu", torch.int64).contiguous() for a in one]) for one in six])


def repeat_rows(result: Any, rows: int) -> Any:
    if isinstance(result, tuple):
        return tuple([repeat_rows(r, rows) for r in result])
    return result if result.shape[-2] == rows else result.repeat_interleave(rows, -2)


def store(result: Any, out: Any) -> Any:
    """Writes into the caller's tensor(s), whatever their type and strides."""
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise ArgumentError(f"out: expected {len(result)} tensors")
        return tuple([store(r, o) for r, o in zip(result, out, strict=True)])
    if not isinstance(out, Tensor):
        raise TypeError(f"out: expected a tensor, found {type(out).__qualname__}")
    if out.shape != result.shape:
        raise ShapeError(f"out has the shape {tuple(out.shape)}, the result {tuple(result.shape)}")
    return out.copy_(result)


def from_list(numbers: Any) -> tuple[float, ...]:
    return tuple([float(n) for n in numbers])


def as_real(x: Any) -> Any:
    """A complex tensor (..., D) as a real one (..., 2 D), without a copy where it is compact."""
    return torch.view_as_real(x.resolve_conj()).flatten(-2)


def as_complex(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple([as_complex(r) for r in x])
    return torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous())


def place(values: Any, dtype: str, beside: Any) -> Any:
    """A NumPy array as a tensor of this type, on the device of the tensors `beside` (a list)."""
    device = next((x.device for x in beside if isinstance(x, Tensor)), None)
    return torch.tensor(values, dtype=getattr(torch, dtype), device=device)


def take(x: Any, order: Any) -> Any:
    """Rows in another order."""
    if x.shape[-2] == 1 and len(order) != 1:
        return x
    return x.index_select(-2, torch.as_tensor(order, device=x.device))


def lengthen(x: Any, axis: int, count: int) -> Any:
    """With inf, or the index -1, behind along an axis."""
    shape = list(x.shape)
    shape[axis] = count
    return torch.cat([x, x.new_full(shape, -1 if is_index(x) else float("inf"))], axis)


def cast(x: Any, like: Any) -> Any:
    """In the type of another tensor."""
    return x.to(like.dtype)


def is_index(x: Any) -> bool:
    return not (x.dtype.is_floating_point or x.dtype.is_complex)


def renumber(index: Any, order: Any) -> Any:
    """order[index]; -1 stays."""
    if not len(order):
        return index
    return torch.where(index < 0, index, torch.as_tensor(order, device=index.device)[index])


def all_finite(x: Any) -> bool:
    try:
        return bool(x.isfinite().all())
    except RuntimeError:  # under a transform of torch.func values are not known
        return False


def sqrt(x: Any) -> Any:
    return x.sqrt()


def to_numpy(x: Any) -> Any:
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy(force=True)  # NumPy has no bfloat16


def broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    return x.expand(shape)


def swap_last(x: Any) -> Any:
    return x.transpose(-1, -2)


def permute(x: Any, order: Any) -> Any:
    """Axes in another order."""
    return x.permute(tuple(order))


def sum_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.sum(axes)


def min_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.amin(axes)


def max_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.amax(axes)


def mean_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.mean(axes)


def prod_axes(x: Any, axes: tuple[int, ...]) -> Any:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis)
    return x


def any_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.amax(axes)


def all_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.amin(axes)


# ---- indices ----
def index(key: Any, extent: int) -> Any:
    """A tensor of integers for one axis. Slices without a step, or with a positive one, stay slices."""
    if isinstance(key, slice):
        start, stop, step = key.indices(extent)
        return key if step > 0 else torch.arange(start, stop, step) if start > stop else torch.arange(0)
    key = torch.as_tensor(key)
    if key.dim() != 1:
        raise ShapeError(f"an index array of the shape {tuple(key.shape)}: expected one dimension")
    if key.dtype == torch.bool:
        if key.shape[0] != extent:
            raise ShapeError(f"a mask of length {key.shape[0]} for an axis of length {extent}")
        return key.nonzero().flatten()
    if key.numel() == 0:
        return key.to(torch.int64)
    if key.dtype.is_floating_point or key.dtype.is_complex:
        raise ArgumentError(f"an index array of the dtype {key.dtype}: expected integers or booleans")
    if key.min() < -extent or key.max() >= extent:
        raise ShapeError(
            f"an index array reaches from {int(key.min())} to {int(key.max())}; the axis has length {extent}"
        )
    return key.to(torch.int64)


def index_length(key: Any, extent: int) -> int:
    return len(range(*key.indices(extent))) if isinstance(key, slice) else len(key)


def is_pointwise(i: Any, j: Any) -> bool:
    """Two index arrays pair up, unless they are an open mesh: (M, 1) and (1, N)."""
    if isinstance(i, slice) or isinstance(j, slice):
        return False
    i, j = torch.as_tensor(i), torch.as_tensor(j)
    return not (i.dim() == j.dim() == 2 and i.shape[1] == 1 and j.shape[0] == 1)


def open_index(key: Any) -> Any:
    return key if isinstance(key, slice) else torch.as_tensor(key).reshape(-1)


def pair_index(i: Any, j: Any) -> Any:
    i, j = [k.nonzero().flatten() if k.dtype == torch.bool else k for k in (torch.as_tensor(i), torch.as_tensor(j))]
    return torch.broadcast_tensors(i, j)


__all__ = ["promote", "solve"]
