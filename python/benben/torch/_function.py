"""torch's own functions and operators on LazyTensors: what __torch_function__ does."""

from __future__ import annotations

import math
from typing import Any

from .._einsum import einsum
from .._ufunc import COMPOSED
from . import _private

# torch's names -> methods of LazyTensor, where they differ
_NAMES = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctanh": "atanh",
    "neg": "__neg__",
    "negative": "__neg__",
    "positive": "__pos__",
    "reciprocal": "inv",
    "logical_not": "__invert__",
    "bitwise_not": "__invert__",
    "special_expm1": "expm1",
    "special_erf": "erf",
    "special_erfc": "erfc",
    "special_expit": "sigmoid",
    "special_log1p": "log1p",
    "special_sinc": "sinc",
    "special_logsumexp": "logsumexp",
    "conj_physical": "conj",
    "clip": "clamp",
    "amin": "min",
    "amax": "max",
    "adjoint": "_adjoint",
    "special_softmax": "softmax",
    "special_log_softmax": "log_softmax",
}
# functions of two operands -> what the first one does with the second, and the other way round
_PAIRS = {
    "add": ("__add__", "__radd__"),
    "sub": ("__sub__", "__rsub__"),
    "subtract": ("__sub__", "__rsub__"),
    "mul": ("__mul__", "__rmul__"),
    "multiply": ("__mul__", "__rmul__"),
    "div": ("__truediv__", "__rtruediv__"),
    "divide": ("__truediv__", "__rtruediv__"),
    "truediv": ("__truediv__", "__rtruediv__"),
    "true_divide": ("__truediv__", "__rtruediv__"),
    "floordiv": ("__floordiv__", "__rfloordiv__"),
    "floor_divide": ("__floordiv__", "__rfloordiv__"),
    "mod": ("__mod__", "__rmod__"),
    "remainder": ("__mod__", "__rmod__"),
    "pow": ("__pow__", "__rpow__"),
    "float_power": ("__pow__", "__rpow__"),
    "matmul": ("__matmul__", "__rmatmul__"),
    "mm": ("__matmul__", "__rmatmul__"),
    "mv": ("__matmul__", "__rmatmul__"),
    "lt": ("__lt__", "__gt__"),
    "less": ("__lt__", "__gt__"),
    "le": ("__le__", "__ge__"),
    "less_equal": ("__le__", "__ge__"),
    "gt": ("__gt__", "__lt__"),
    "greater": ("__gt__", "__lt__"),
    "ge": ("__ge__", "__le__"),
    "greater_equal": ("__ge__", "__le__"),
    "eq": ("__eq__", "__eq__"),
    "ne": ("__ne__", "__ne__"),
    "not_equal": ("__ne__", "__ne__"),
    "and": ("__and__", "__rand__"),
    "logical_and": ("__and__", "__rand__"),
    "bitwise_and": ("__and__", "__rand__"),
    "or": ("__or__", "__ror__"),
    "bitwise_or": ("__or__", "__ror__"),
    "xor": ("__xor__", "__rxor__"),
    "logical_xor": ("__xor__", "__rxor__"),
    "bitwise_xor": ("__xor__", "__rxor__"),
    "minimum": ("minimum", "minimum"),
    "fmin": ("minimum", "minimum"),
    "maximum": ("maximum", "maximum"),
    "fmax": ("maximum", "maximum"),
    "hypot": ("hypot", "hypot"),
}


# functions that the table lacks, of those that it has; those of NumPy under the same name serve as well
_COMPOSED: dict[str, Any] = {
    **COMPOSED,
    "special_exp2": lambda x: x.exp2(),
    "sgn": lambda x: x.sign(),
    "frac": lambda x: x - x.trunc(),
    "xlogy": lambda x, y: (x == 0).where(0, x * x._lift(y).log()),
    "special_xlogy": lambda x, y: (x == 0).where(0, x * x._lift(y).log()),
    "special_entr": lambda x: -x.xlogx(),
    "special_ndtr": lambda x: 0.5 * (x * -math.sqrt(0.5)).erfc(),
    "logsigmoid": lambda x: -(-x).softplus(),
    "log_sigmoid": lambda x: -(-x).softplus(),
    "relu6": lambda x: x.clip(0, 6),
    "hardtanh": lambda x, min_val=-1.0, max_val=1.0: x.clip(min_val, max_val),
    "leaky_relu": lambda x, negative_slope=0.01: x.relu() - negative_slope * (-x).relu(),
    "elu": lambda x, alpha=1.0: x.relu() + alpha * x.minimum(0).expm1(),
    "clamp_min": lambda x, min: x.maximum(min),
    "clamp_max": lambda x, max: x.minimum(max),
}
# without dim these are about all axes, as in torch
_OVER_ALL = ("sum", "mean", "prod", "min", "max", "any", "all", "count_nonzero")


def _refuse(name: str) -> Any:
    raise TypeError(
        f"{name} of a LazyTensor is not defined; its methods are what there is, and K.dense() is the tensor itself"
    )


def _is_lazy(x: Any) -> bool:
    return hasattr(x, "_formula")


def _first(items: Any) -> Any:
    for item in items:
        if _is_lazy(item):
            return item
    return _refuse("this function")


def torch_function(func: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """func(*args, **keywords), where some argument is a LazyTensor."""
    name, reverse = _private.compiler.name_of(func)
    if name in _PAIRS:
        if len(args) != 2:
            a, b = args[0], keywords.pop("other") if "other" in keywords else keywords.pop("exponent")
        else:
            a, b = args
        return _pair(name, reverse, a, b, keywords)
    if name == "where":
        return _first(args)._lift(args[0]).where(args[1], args[2])
    if name in ("cat", "concat", "concatenate"):
        return _first(args[0]).concatenate(args[0], *args[1:], *keywords.values())
    if name == "einsum":
        return einsum(*args, **keywords)
    if name in ("atan2", "arctan2"):
        return _first(args)._lift(args[0]).atan2(args[1])
    if name == "logical_or":
        return _first(args)._lift(args[0])._op("logical_or", args[1])
    x = args[0] if _is_lazy(args[0]) else _first(args)._lift(args[0])
    if name in ("norm", "vector_norm", "linalg_norm", "linalg_vector_norm"):
        return _norm(x, *args[1:], **keywords)
    if name in ("var", "std"):
        return _spread(x, name, *args[1:], **keywords)
    if name in _COMPOSED:
        keywords.pop("inplace", None)
        return _COMPOSED[name](x, *args[1:], **keywords)
    return _method(x, name, args[1:], keywords)


def _pair(name: str, reverse: bool, a: Any, b: Any, keywords: dict[str, Any]) -> Any:
    if keywords.get("alpha", 1) != 1:
        b = keywords["alpha"] * b
    rounding = keywords.get("rounding_mode")
    if rounding is not None:
        if rounding != "floor":
            _refuse(f"division with rounding_mode={rounding!r}")
        name = "floordiv"
    if name == "matmul" and not reverse and not _is_lazy(a):
        _private.matmul_is_told_apart()
    if reverse:
        a, b = b, a
    if _is_lazy(a):
        return getattr(a, _PAIRS[name][0])(b)
    return getattr(b, _PAIRS[name][1])(a)


def _norm(x: Any, p: Any = 2, dim: Any = None, keepdim: Any = False, **keywords: Any) -> Any:
    if p not in (2, "fro", None) or keywords.pop("ord", 2) != 2 or keepdim or any(keywords.values()):
        _refuse("a norm other than the Euclidean one, or with keepdim or dtype,")
    if dim is None:
        return x.square().sum(axis=None) ** 0.5
    return x.norm(dim[0] if isinstance(dim, (tuple, list)) else dim)


def _spread(
    x: Any, name: str, dim: Any = None, unbiased: Any = True, keepdim: Any = False, correction: Any = None
) -> Any:
    if keepdim:
        _refuse(f"{name} with keepdim")
    return getattr(x, name)(axis=dim, ddof=int(unbiased) if correction is None else correction)


def _method(x: Any, name: str, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    method = getattr(x, _NAMES.get(name, name), None)
    if method is None:
        return _refuse(name)
    if _is_lazy(method):  # real, imag
        return method
    if keywords.pop("keepdim", False):
        keywords["keepdims"] = True
    for ignored in ("dtype", "out", "inplace", "_stacklevel"):
        if ignored in keywords:
            if keywords[ignored] and ignored != "_stacklevel":
                _refuse(f"{name} with {ignored}={keywords[ignored]}")
            del keywords[ignored]
    if name == "clamp" or name == "clip":
        low, high = (*args, None, None)[:2]
        return x.clip(keywords.get("min", low), keywords.get("max", high))
    if name in _OVER_ALL and not args and "dim" not in keywords and "axis" not in keywords:
        return method(axis=None)
    if "dim" in keywords:
        keywords["axis"] = keywords.pop("dim")
    if isinstance(keywords.get("axis"), list):
        keywords["axis"] = tuple(keywords["axis"])
    if args and isinstance(args[0], list):
        args = (tuple(args[0]), *args[1:])
    return method(*args, **keywords)


class TorchFunctions:
    """Mixin of LazyTensors."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return torch_function(func, args, {} if kwargs is None else dict(kwargs))
