"""The keywords that KeOps users pass: what each may be, and what it becomes here."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

from . import _core
from ._errors import ArgumentError, DeviceError

BACKENDS = ("auto", "CPU", "GPU", "GPU_1D", "GPU_2D", "GPU_1D_host", "GPU_1D_device", "GPU_2D_host", "GPU_2D_device")
SUM_SCHEMES = {"auto": "auto", "direct_sum": "direct", "block_sum": "block", "kahan_scheme": "kahan"}
# reductions that add up: those for which accuracy options have a meaning
SUMS = frozenset(
    [
        "sum",
        "logsumexp",
        "logsumexpweight",
        "sumsoftmaxweight",
        "softmaxweight",
        "maxsumshiftexp",
        "maxsumshiftexpweight",
        "mean",
        "var",
        "std",
    ]
)
# keywords of reductions, as KeOps has them, with their defaults
COMPILE = {
    "dtype_acc": "auto",
    "use_double_acc": False,
    "sum_scheme": "auto",
    "enable_chunks": True,
    "rec_multVar_highdim": False,
    "use_fast_math": True,
}
SOLVE = {
    "alpha": 1e-10,
    "eps": 1e-6,
    "precondition": "auto",
    "method": "auto",
    "max_iterations": 0,
    "rank": 0,
    "memory": 0,
    "seed": 0,
}
CALL = {"backend": None, "device_id": -1, "ranges": None, "out": None, "progress": None}


class Accuracy(NamedTuple):
    """What is compiled differently; part of the key of a plan."""

    sum_scheme: str = "auto"
    dtype_acc: str = "auto"


DEFAULT_ACCURACY = Accuracy()


def accuracy(
    reduction: str, dtype_acc: str = "auto", use_double_acc: bool = False, sum_scheme: str = "auto"
) -> Accuracy:
    """Checks the accuracy options of a reduction (by its short name)."""
    if dtype_acc != "auto" and use_double_acc:
        raise ArgumentError("dtype_acc and use_double_acc say the same: give one of them")
    if use_double_acc:
        dtype_acc = "float64"
    if dtype_acc not in ("auto", "float16", "float32", "float64"):
        raise ArgumentError(f"dtype_acc={dtype_acc!r}: expected 'auto', 'float16', 'float32' or 'float64'")
    if sum_scheme not in SUM_SCHEMES:
        raise ArgumentError(f"sum_scheme={sum_scheme!r}: expected one of {', '.join(map(repr, SUM_SCHEMES))}")
    if reduction not in SUMS:
        if dtype_acc != "auto":
            raise ArgumentError(f"dtype_acc is for reductions that add up; {reduction!r} does not")
        if sum_scheme in ("block_sum", "kahan_scheme"):
            raise ArgumentError(f"sum_scheme={sum_scheme!r} is for reductions that add up; {reduction!r} does not")
    return Accuracy(SUM_SCHEMES[sum_scheme], dtype_acc)


_ORDER = {"float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}


def check_accumulator(dtype_acc: str, dtype: str) -> None:
    """An accumulator is at least as wide as the data."""
    if dtype_acc != "auto" and _ORDER[dtype_acc] < _ORDER.get(dtype, 1):
        raise ArgumentError(f"dtype_acc={dtype_acc!r} is narrower than the data, which are {dtype}")


def check_backend(backend: str) -> None:
    """Refuses backends that do not exist, and those of a graphics processor where there is none."""
    if backend not in BACKENDS:
        raise ArgumentError(f"backend={backend!r}: expected one of {', '.join(BACKENDS)}")
    if backend.startswith("GPU") and not _core.devices("cuda"):
        raise DeviceError(f"backend={backend!r}, but Benben has no graphics processor here: use 'auto' or 'CPU'")


def deprecated(**keywords: Any) -> None:
    """dtype and cuda_type are accepted and ignored."""
    for name, value in keywords.items():
        if value is not None:
            warnings.warn(
                f"{name} is deprecated and ignored: the arrays say their type", DeprecationWarning, stacklevel=3
            )


def split(keywords: Mapping[str, Any], *groups: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Sorts keywords into the groups; an unknown one is a TypeError."""
    out: list[dict[str, Any]] = [{} for _ in groups]
    for name, value in keywords.items():
        for group, into in zip(groups, out, strict=True):
            if name in group:
                into[name] = value
                break
        else:
            known = ", ".join(sorted(name for group in groups for name in group))
            raise TypeError(f"unexpected keyword argument {name!r}; known: {known}")
    return out
