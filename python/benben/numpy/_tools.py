"""How arrays are handled, for NumPy: the protocol behind LazyTensor and Genred. Another library gives the same functions."""
from __future__ import annotations

from typing import Any

import numpy as np

from .._errors import ArgumentError, DtypeError, ShapeError

name = "numpy"
float_types = ("float16", "float32", "float64")
_KNOWN = {np.dtype(t): t for t in ("float16", "float32", "float64", "complex64", "complex128")}
_DTYPE_NAME = {np.dtype(t): t for t in ("float16", "float32", "float64")}


def is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray)


def is_foreign(x: Any) -> bool:
    """An array of another library, a table: refused rather than converted behind the caller's back."""
    return not isinstance(x, (np.ndarray, np.generic)) and hasattr(x, "shape") and hasattr(x, "dtype")


def as_float(x: Any) -> Any:
    """The array in a type that is computed in: integers and booleans become what NumPy makes of them beside a float32."""
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
    return _KNOWN[x.dtype]


def convert(args: Any) -> tuple[Any, ...]:
    """Arguments of a Genred: arrays, with integers promoted."""
    out = []
    for k, x in enumerate(args):
        if isinstance(x, np.ndarray):
            if x.dtype.kind == "c":
                raise DtypeError(f"argument {k} is complex: pass real and imaginary parts interleaved, or use a LazyTensor")
            out.append(x if x.dtype in _DTYPE_NAME and x.dtype.isnative else as_float(x))
        elif isinstance(x, (int, float, np.number)) and not isinstance(x, bool):
            out.append(float(x))
        else:
            raise TypeError(f"argument {k}: expected a NumPy array, found {type(x).__module__}.{type(x).__qualname__}"
                            "; use numpy.asarray")
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


def run(kernel: Any, args: tuple[Any, ...], ranges: Any = None, rows_i: int = 0, rows_j: int = 0, threads: int = 0,
        progress: Any = None) -> Any:
    result = kernel.run(args, None, ranges, rows_i, rows_j, threads, progress)
    if result is NotImplemented:
        result = kernel.run(promote(args), None, ranges, rows_i, rows_j, threads, progress)
    return result


def number(alpha: Any) -> float:
    """A number, or an array of one."""
    if isinstance(alpha, np.ndarray):
        if alpha.size != 1:
            raise ShapeError(f"alpha has the shape {alpha.shape}: expected a number")
        return float(alpha.reshape(-1)[0])
    return float(alpha)


def ranges(six: Any) -> Any:
    """Ranges as the core takes them: int64, one sextuple for each batch element."""
    if six is None:
        return None
    if len(six) == 6 and not isinstance(six[0], (tuple, list)):
        six = (six,)
    return tuple([tuple([np.ascontiguousarray(a, dtype=np.int64) for a in one]) for one in six])


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


def asarray(x: Any, dtype: str) -> Any:
    return np.asarray(x, dtype=dtype)


def zeros_index(rows: int) -> Any:
    return np.arange(rows)
