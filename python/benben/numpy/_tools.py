"""How arrays are handled, for NumPy: the protocol behind LazyTensor and Genred. Another library gives the same
functions."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._errors import ArgumentError, DtypeError, RangesError, ShapeError
from .._options import Accuracy

name = "numpy"
divides_rows = True  # among devices that device_id names
float_types = ("float16", "float32", "float64")
_KNOWN = {
    np.dtype("float16"): "float16",
    np.dtype("float32"): "float32",
    np.dtype("float64"): "float64",
    np.dtype("complex64"): "float32",
    np.dtype("complex128"): "float64",
}
_DTYPE_NAME = {np.dtype(t): t for t in ("float16", "float32", "float64")}


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def as_array(x: Any, what: str) -> Any:
    """An array of what NumPy users pass for one: sequences of numbers or of rows, tables of pandas and what else has
    to_numpy. what: the argument's name, for errors."""
    if isinstance(x, np.ndarray):
        return x
    module = type(x).__module__.partition(".")[0]
    if hasattr(x, "to_numpy"):
        array = x.to_numpy()
        if array.dtype.kind not in "biufc":
            names = [str(c) for c in getattr(x, "columns", [])]
            odd = [c for c in names if np.asarray(x[c].to_numpy()).dtype.kind not in "biufc"]
            where = f"its column{'s' * (len(odd) > 1)} {', '.join(odd)}" if odd else "it"
            raise ArgumentError(
                f"{what}: a {module} {type(x).__name__} of the dtype {array.dtype}: convert {where} to numbers, fill "
                "or drop what is missing"
            )
        return array
    if isinstance(x, (list, tuple, range)):
        try:
            array = np.asarray(x)
        except (ValueError, TypeError) as error:
            raise ArgumentError(f"{what}: the {type(x).__name__} is no array: {error}") from None
        if array.dtype.kind not in "biufc":
            raise ArgumentError(f"{what}: the {type(x).__name__} holds something that is not a number: {array.dtype}")
        return array
    hint = "use benben.torch, or x.numpy()" if module == "torch" else "use numpy.asarray"
    raise ArgumentError(
        f"{what}: expected an array of numpy, found {type(x).__module__}.{type(x).__qualname__}; {hint}"
    )


def is_scalar(x: Any) -> bool:
    return isinstance(x, np.generic)


def is_boolean(x: Any) -> bool:
    return isinstance(x, bool) or (isinstance(x, (np.ndarray, np.generic)) and x.dtype == bool)


def scalar(x: Any) -> Any:
    """A NumPy scalar as Python's number: it takes the type of the arrays beside it."""
    return x.item() if x.dtype.kind in "iufb" else complex(x)


def is_complex(x: Any) -> bool:
    return (
        isinstance(x, complex)
        or (isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "c")
        or (isinstance(x, list) and any(isinstance(n, complex) for n in x))
    )


def as_float(x: Any) -> Any:
    """The array in a type that is computed in: integers and booleans become what NumPy makes of them beside a
    float32."""
    if type(x) is not np.ndarray:
        if isinstance(x, np.ma.MaskedArray):
            raise ArgumentError(
                "a masked array: LazyTensors know no missing values; fill them, drop the rows, or mask pairs by "
                "K.masked(benben.masks...)"
            )
        x = np.asarray(x)  # numpy.matrix and its like have an arithmetic of their own
    dtype = x.dtype
    if dtype in _KNOWN:
        return x if dtype.isnative else x.astype(dtype.newbyteorder("="))
    if dtype.kind in "biu":
        return x.astype(np.result_type(dtype, np.float32))
    if dtype.kind == "f" or dtype.kind == "c":
        if dtype.newbyteorder("=") in _KNOWN:
            return x.astype(dtype.newbyteorder("="))
        raise DtypeError(f"the dtype {dtype} is not supported: convert to float16, float32 or float64")
    raise DtypeError(f"the dtype {dtype} is not a number: expected float16, float32, float64, complex or integers")


def dtype_name(x: Any) -> str:
    """The type of the computation."""
    return _KNOWN[x.dtype]


def convert(args: Any, names: Any = ()) -> tuple[Any, ...]:
    """Arguments of a Genred: arrays, with integers promoted; names: of the variables."""
    out: list[Any] = []
    for k, x in enumerate(args):
        if isinstance(x, (int, float, np.number)) and not isinstance(x, bool):
            out.append(float(x))
            continue
        if isinstance(x, np.ndarray) and not x.ndim and x.dtype.kind in "iuf":
            out.append(float(x))
            continue
        what = f"argument {k}" + (f" '{names[k]}'" if k < len(names) and names[k] else "")
        if not isinstance(x, np.ndarray) and hasattr(x, "__cuda_array_interface__"):
            out.append(x)
            continue
        if not isinstance(x, np.ndarray):
            try:
                x = as_array(x, what)
            except ArgumentError as error:
                raise TypeError(str(error)) from None
        if x.dtype.kind == "c":
            raise DtypeError(f"{what} is complex: pass real and imaginary parts interleaved, or use a LazyTensor")
        out.append(x if type(x) is np.ndarray and x.dtype in _DTYPE_NAME and x.dtype.isnative else as_float(x))
    return tuple(out)


def common_dtype(args: tuple[Any, ...]) -> str:
    arrays = [x.dtype for x in args if isinstance(x, np.ndarray)]
    return str(np.result_type(*arrays)) if arrays else "float64"


def promote(args: tuple[Any, ...]) -> tuple[Any, ...]:
    """Arrays in the type that NumPy would compute in."""
    dtype = np.dtype(common_dtype(args))
    out = []
    for x in args:
        if isinstance(x, np.ndarray):
            x = x.astype(dtype, copy=False)
            if not x.flags.aligned or any(s % x.itemsize for s in x.strides):
                x = np.ascontiguousarray(x).copy()
        out.append(x)
    return tuple(out)


def compile(program: Any, recipe: Any, accuracy: Accuracy) -> Any:
    """What runs a program; recipe says how it is made."""
    return program.compile(sum_scheme=accuracy.sum_scheme, accumulate_double=accuracy.dtype_acc == "float64", rows=True)


def run(
    plan: Any,
    args: tuple[Any, ...],
    ranges: Any = None,
    rows_i: int = 0,
    rows_j: int = 0,
    progress: Any = None,
    devices: tuple[int, ...] | None = None,
) -> Any:
    """Runs a plan (or a kernel). devices: of CUDA, among which the rows are divided."""
    result = plan.run(args, None, ranges, rows_i, rows_j, 0, progress, 0, devices)
    if result is NotImplemented:
        result = plan.run(promote(args), None, ranges, rows_i, rows_j, 0, progress, 0, devices)
    if result is NotImplemented:
        raise DtypeError("arrays of a device are not converted: pass all of them in float32, or all in float64")
    return result


def number(alpha: Any) -> float:
    """A number, or an array of one."""
    if isinstance(alpha, np.ndarray):
        if alpha.size != 1:
            raise ShapeError(f"alpha has the shape {alpha.shape}: expected a number")
        return float(alpha.reshape(-1)[0])
    if not isinstance(alpha, (int, float, np.generic)):
        raise ArgumentError(f"alpha={alpha!r}: expected a number")
    return float(alpha)


def ranges(six: Any) -> Any:
    """Ranges as the core takes them: int64, one sextuple for each batch element."""
    if six is None:
        return None
    if len(six) == 6 and (not isinstance(six[0], (tuple, list)) or _is_array_of_ranges(six[0])):
        six = (six,)
    return tuple([tuple([_range_array(a, k) for k, a in enumerate(one)]) for one in six])


def _is_array_of_ranges(x: Any) -> bool:
    """[[0, 3], [3, 7]] in the place of ranges_i: not the six arrays of a batch element."""
    return not len(x) or np.ndim(x[0]) == 1


def _range_array(a: Any, k: int) -> Any:
    """Number k of six arrays of ranges, in int64."""
    array = np.asarray(a)
    if array.dtype.kind not in "iu" and array.size:
        raise RangesError(f"array {k} of the ranges: expected integers, found the dtype {array.dtype}")
    return np.ascontiguousarray(array.reshape(-1, 2) if not array.size and k % 3 != 1 else array, dtype=np.int64)


def repeat_rows(result: Any, rows: int) -> Any:
    if isinstance(result, tuple):
        return tuple([repeat_rows(r, rows) for r in result])
    return result if result.shape[-2] == rows else np.repeat(result, rows, axis=-2)


def store(result: Any, out: Any) -> Any:
    """Writes into the caller's array(s), whatever their type and strides."""
    if isinstance(result, tuple):
        if not isinstance(out, (tuple, list)) or len(out) != len(result):
            raise ArgumentError(f"out: expected {len(result)} arrays")
        return tuple([store(r, o) for r, o in zip(result, out, strict=True)])
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out: expected a NumPy array, found {type(out).__qualname__}")
    if out.shape != result.shape:
        raise ShapeError(f"out has the shape {out.shape}, the result {result.shape}")
    out[...] = result
    return out


def from_list(numbers: Any) -> tuple[float, ...]:
    return tuple([float(n) for n in numbers])


def as_real(x: Any) -> Any:
    """A complex array (..., D) as a real one (..., 2 D), without a copy where it is compact."""
    x = np.ascontiguousarray(x)
    return x.view(x.real.dtype)


def as_complex(x: Any) -> Any:
    x = np.ascontiguousarray(x)
    return x.view(np.complex128 if x.dtype == np.float64 else np.complex64)


def place(values: Any, dtype: str, beside: Any) -> Any:
    """A NumPy array as an array of this type, on the device of the arrays `beside` (a list)."""
    return np.ascontiguousarray(values, dtype)


def take(x: Any, order: Any) -> Any:
    """Rows in another order."""
    return x if x.shape[-2] == 1 and len(order) != 1 else np.take(x, order, axis=-2)


def lengthen(x: Any, axis: int, count: int) -> Any:
    """With inf, or the index -1, behind along an axis."""
    shape = list(x.shape)
    shape[axis] = count
    return np.concatenate([x, np.full(shape, -1 if is_index(x) else np.inf, x.dtype)], axis)


def cast(x: Any, like: Any) -> Any:
    """In the type of another array."""
    return x.astype(like.dtype, copy=False)


def is_index(x: Any) -> bool:
    return bool(x.dtype.kind == "i")


def renumber(index: Any, order: Any) -> Any:
    """order[index]; -1 stays."""
    return np.where(index < 0, index, np.asarray(order)[index]) if len(order) else index


def all_finite(x: Any) -> bool:
    return bool(np.isfinite(x).all())


def sqrt(x: Any) -> Any:
    return np.sqrt(x)


def to_numpy(x: Any) -> Any:
    return x


def broadcast(x: Any, shape: tuple[int, ...]) -> Any:
    return np.broadcast_to(x, shape)


def swap_last(x: Any) -> Any:
    return np.swapaxes(x, -1, -2)


def permute(x: Any, order: Any) -> Any:
    """Axes in another order."""
    return x.transpose(order)


def sum_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.sum(axes)


def min_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.min(axes)


def max_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.max(axes)


def mean_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.mean(axes)


def prod_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.prod(axes)


def any_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.max(axes)


def all_axes(x: Any, axes: tuple[int, ...]) -> Any:
    return x.min(axes)


# ---- indices ----
def index(key: Any, extent: int) -> Any:
    """A slice, or an array of integers, of one axis."""
    if isinstance(key, slice):
        return key
    key = np.asarray(key)
    if key.ndim != 1:
        raise ShapeError(f"an index array of the shape {key.shape}: expected one dimension")
    if key.dtype == bool:
        if key.shape[0] != extent:
            raise ShapeError(f"a mask of length {key.shape[0]} for an axis of length {extent}")
        return np.flatnonzero(key)
    if key.size == 0:
        return key.astype(np.int64)
    if key.dtype.kind not in "iu":
        raise ArgumentError(f"an index array of the dtype {key.dtype}: expected integers or booleans")
    if key.min() < -extent or key.max() >= extent:
        raise ShapeError(f"an index array reaches from {key.min()} to {key.max()}; the axis has length {extent}")
    return key


def index_length(key: Any, extent: int) -> int:
    return len(range(*key.indices(extent))) if isinstance(key, slice) else len(key)


def is_pointwise(i: Any, j: Any) -> bool:
    """Two index arrays pair up, unless they are those of numpy.ix_."""
    if isinstance(i, slice) or isinstance(j, slice):
        return False
    i, j = np.asarray(i), np.asarray(j)
    return not (i.ndim == j.ndim == 2 and i.shape[1] == 1 and j.shape[0] == 1)


def open_index(key: Any) -> Any:
    return key if isinstance(key, slice) else np.asarray(key).reshape(-1)


def pair_index(i: Any, j: Any) -> Any:
    i, j = [np.flatnonzero(k) if k.dtype == bool else k for k in (np.asarray(i), np.asarray(j))]
    return np.broadcast_arrays(i, j)
