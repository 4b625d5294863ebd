"""NumPy's functions of LazyTensors: np.exp(K), np.sum(K, axis=1), np.where(...), by the methods of the same meaning."""

from __future__ import annotations

import math
from typing import Any

from . import masks
from ._einsum import einsum

_UNARY = {
    "negative": "__neg__",
    "positive": "__pos__",
    "absolute": "abs",
    "fabs": "abs",
    "reciprocal": "inv",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arcsinh": "asinh",
    "arccosh": "acosh",
    "arctanh": "atanh",
    "conjugate": "conj",
    "invert": "__invert__",
}
_BINARY = {
    "add": ("__add__", "__radd__"),
    "subtract": ("__sub__", "__rsub__"),
    "multiply": ("__mul__", "__rmul__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"),
    "remainder": ("__mod__", "__rmod__"),
    "power": ("__pow__", "__rpow__"),
    "float_power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "less": ("__lt__", "__gt__"),
    "less_equal": ("__le__", "__ge__"),
    "greater": ("__gt__", "__lt__"),
    "greater_equal": ("__ge__", "__le__"),
    "equal": ("__eq__", "__eq__"),
    "not_equal": ("__ne__", "__ne__"),
    "logical_and": ("__and__", "__rand__"),
    "logical_xor": ("__xor__", "__rxor__"),
    "bitwise_and": ("__and__", "__rand__"),
    "bitwise_xor": ("__xor__", "__rxor__"),
    "bitwise_or": ("__or__", "__ror__"),
    "minimum": ("minimum", "minimum"),
    "maximum": ("maximum", "maximum"),
    "fmin": ("minimum", "minimum"),
    "fmax": ("maximum", "maximum"),
    "hypot": ("hypot", "hypot"),
}


def _logaddexp(x: Any, y: Any) -> Any:
    y = x._lift(y)
    return (x == y).where(x + math.log(2), x.maximum(y) + (-abs(x - y)).exp().log1p())  # inf - inf is no number


# what the table lacks
COMPOSED: dict[str, Any] = {
    "cbrt": lambda x: x.sign() * abs(x) ** (1 / 3),
    "deg2rad": lambda x: x * (math.pi / 180),
    "radians": lambda x: x * (math.pi / 180),
    "rad2deg": lambda x: x * (180 / math.pi),
    "degrees": lambda x: x * (180 / math.pi),
    "fmod": lambda x, y: x - (x / y).trunc() * y,
    "heaviside": lambda x, y: (x == 0).where(y, x > 0),
    "logaddexp": _logaddexp,
}
_BY_METHOD = frozenset(
    [
        "sum",
        "min",
        "max",
        "amin",
        "amax",
        "argmin",
        "argmax",
        "mean",
        "var",
        "std",
        "prod",
        "any",
        "all",
        "count_nonzero",
        "round",
        "clip",
        "diagonal",
        "trace",
        "transpose",
        "reshape",
        "real",
        "imag",
        "angle",
        "shape",
        "isclose",
        "norm",
        "sinc",
        "size",
        "median",
        "quantile",
        "percentile",
        "sort",
        "argsort",
    ]
)


def _refuse(name: str) -> Any:
    raise TypeError(
        f"{name} of a LazyTensor is not defined; its methods are what there is, and K.dense() is the array itself"
    )


def _ptp(K: Any, axis: Any = None, keepdims: bool = False) -> Any:
    return K.max(axis=axis, keepdims=keepdims) - K.min(axis=axis, keepdims=keepdims)


def _average(K: Any, axis: Any = None, weights: Any = None, returned: bool = False, keepdims: bool = False) -> Any:
    if weights is not None or returned:
        _refuse("numpy.average with weights")
    return K.mean(axis=axis, keepdims=keepdims)


def _swapaxes(K: Any, a: int, b: int) -> Any:
    if {K._kind_of_axis(a), K._kind_of_axis(b)} != {"I", "J"}:
        _refuse("numpy.swapaxes of other axes than those of the matrix")
    return K.T


def _diag(K: Any, k: int = 0) -> Any:
    return K.diagonal() if k == 0 else _refuse("numpy.diag with k")


# NumPy's functions that are not called as a method of K is
_FUNCTIONS: dict[str, Any] = {
    "ptp": _ptp,
    "average": _average,
    "swapaxes": _swapaxes,
    "diag": _diag,
    "tril": lambda K, k=0: K.masked(masks.causal(k)).filled(0.0),
    "triu": lambda K, k=0: K.masked(~masks.causal(k - 1)).filled(0.0),
}
_OVER_ALL = frozenset("var std sum min max amin amax mean prod any all count_nonzero argmin argmax".split())


class NumpyMethods:
    """Mixin of GenericLazyTensor."""

    __array_priority__ = 1000.0
    __pandas_priority__ = 5000  # pandas leaves operations to us

    def __array_ufunc__(self: Any, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        name = ufunc.__name__
        if method == "reduce" and name in ("add", "multiply", "minimum", "maximum", "logical_or", "logical_and"):
            names = {
                "add": "sum",
                "multiply": "prod",
                "minimum": "min",
                "maximum": "max",
                "logical_or": "any",
                "logical_and": "all",
            }
            return getattr(self, names[name])(axis=keywords.get("axis", 0), keepdims=keywords.get("keepdims", False))
        if method != "__call__" or any(v is not None for v in keywords.values()):
            return _refuse(f"numpy.{name}" + (f" with {', '.join(keywords)}" if keywords else f".{method}"))
        if name in COMPOSED:
            return COMPOSED[name](self._lift(inputs[0]), *inputs[1:])
        if len(inputs) == 1:
            function = getattr(self, _UNARY.get(name, name), None)
            return _refuse(f"numpy.{name}") if function is None else function()
        if name == "arctan2":
            return self._lift(inputs[0]).atan2(inputs[1])
        if name == "logical_or":
            return self._lift(inputs[0])._op("logical_or", inputs[1])
        if name not in _BINARY:
            return _refuse(f"numpy.{name}")
        if isinstance(inputs[0], NumpyMethods):
            return getattr(inputs[0], _BINARY[name][0])(inputs[1])
        return getattr(inputs[1], _BINARY[name][1])(inputs[0])

    def __array_function__(self: Any, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        name = function.__name__
        if name == "where" and len(args) == 3:
            return self._lift(args[0]).where(args[1], args[2])
        if name == "concatenate":
            return self.concatenate(*args, **keywords)
        if name == "matvec" or name == "dot":
            return args[0] @ args[1]
        if name == "einsum" and not keywords.get("out"):
            return einsum(*args)
        if name in _FUNCTIONS and args and args[0] is self:
            return _FUNCTIONS[name](*args, **keywords)
        if name == "norm" and len(args) == 1 and not any(v is not None and v is not False for v in keywords.values()):
            return self.tools.sqrt(self._unary("square").sum(axis=None))  # of all entries
        if args and args[0] is self and name in _BY_METHOD:
            attribute = getattr(self, {"amin": "min", "amax": "max"}.get(name, name))
            keywords = {k: v for k, v in keywords.items() if not (k in ("keepdims", "out", "dtype") and not v)}
            if name in _OVER_ALL and len(args) < 2:
                keywords.setdefault("axis", None)  # NumPy's default
            return attribute if name in ("shape", "real", "imag", "size") else attribute(*args[1:], **keywords)
        if any(t.__module__.partition(".")[0] not in ("numpy", "benben", "builtins") for t in types):
            return NotImplemented  # another library may know
        return _refuse(f"numpy.{name}")
