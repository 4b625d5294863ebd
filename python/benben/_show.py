"""What a LazyTensor is and what will run: as text, and for notebooks."""

from __future__ import annotations

import html
import math
import os
from typing import Any

import numpy as np

from . import _core, _formula
from ._errors import ArgumentError

_ITEM = {"float16": 2, "bfloat16": 2, "float32": 4, "float64": 8}
# operations of the plan's count that one core does in a second, float32; a guess within a factor of a few
_RATE = 5e10


class Shown(str):
    """Text that an interactive prompt shows as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self)}</pre>"


def _bytes(n: float) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if n < 1024 or unit == "TiB":
            return f"{n:.0f} {unit}" if unit == "bytes" else f"{n:.3g} {unit}"
        n /= 1024
    raise AssertionError


def _seconds(t: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3)):
        if t >= scale:
            return f"about {t / scale:.2g} {unit}" if t < 600 else f"about {t / 60:.0f} minutes"
    return "less than 1 ms"


def _nbytes(value: Any) -> int:
    shape = getattr(value, "shape", None)
    return 0 if shape is None else math.prod(shape) * _ITEM.get(str(value.dtype).removeprefix("torch."), 8)


def _names(K: Any) -> list[str]:
    """x0, x1 ... along i, y0 ... along j, p0 ..."""
    count = {_formula.PLACE_I: 0, _formula.PLACE_J: 0, _formula.PLACE_P: 0}
    names = []
    for arg in K._all_args():
        letter = {_formula.PLACE_I: "x", _formula.PLACE_J: "y", _formula.PLACE_P: "p"}[arg.place]
        names.append(f"{letter}{count[arg.place]}")
        count[arg.place] += 1
    return names


def facts(K: Any) -> list[tuple[str, str]]:
    """What is known without a reduction: (label, text)."""
    names = _names(K)
    rows = [("shape", f"{K.shape}, axes (..., M, N{', D' if K._shape[-1] != 1 else ''}), {K.dtype or 'no type yet'}")]
    rows.append(("formula", K._formula.text(lambda k: names[k])))
    for name, arg in zip(names, K._all_args(), strict=True):
        where = {_formula.PLACE_I: "along i", _formula.PLACE_J: "along j", _formula.PLACE_P: "parameter"}[arg.place]
        if arg.value is None:
            text = f"symbolic variable {arg.index}, dimension {arg.dim}, {where}"
        elif hasattr(arg.value, "shape"):
            text = f"{tuple(arg.value.shape)} {arg.value.dtype}, {where}, {_bytes(_nbytes(arg.value))}"
        else:
            text = f"{arg.value}"
        rows.append((name, text))
    if K._mask is not None:
        rows.append(("mask", _pairs_text(K)))
    elif K.ranges is not None:
        rows.append(("ranges", _pairs_text(K)))
    if any(arg.value is None for arg in K._all_args()):
        return rows
    own = sum(_nbytes(arg.value) for arg in K._all_args())
    dense = math.prod(K._shape) * _ITEM.get(K._dtype or "float64", 8) * (2 if K.is_complex else 1)
    rows.append(("memory", f"{_bytes(own)}; as an array it would have {_bytes(dense)}"))
    return rows


def _pairs(K: Any) -> int:
    """How many pairs a reduction looks at."""
    whole: int = math.prod(K._shape[:-1])
    ranges = K.ranges
    if ranges is None and K._mask is not None and K._mask.blocks is not None:
        ranges = K._mask.blocks.ranges
    if ranges is None:
        return whole
    many = [ranges] if len(ranges) == 6 and not isinstance(ranges[0], (tuple, list)) else list(ranges)
    total = 0
    for six in many:
        rows, ends, columns = [np.asarray(K.tools.to_numpy(a) if K.tools.is_array(a) else a) for a in six[:3]]
        height = np.repeat(rows[:, 1] - rows[:, 0], np.diff(ends, prepend=0))
        total += int((height * (columns[: len(height), 1] - columns[: len(height), 0])).sum())
    batch = math.prod(K.batchdims or ())
    return int(total) if len(many) > 1 else int(total) * batch


def _pairs_text(K: Any) -> str:
    whole = math.prod(K._shape[:-1])
    pairs = _pairs(K)
    if pairs == whole:
        return f"all {whole} pairs are looked at"
    return f"{pairs} of {whole} pairs are looked at ({100 * pairs / max(whole, 1):.2g} %)"


def _program(K: Any, name: str, axis: int, k: int) -> tuple[Any, str]:
    """The program of a reduction and its name."""
    short = _formula.BY_ALIAS.get(name, name).removesuffix("_argmin").removesuffix("_argmax").removesuffix("_argkmin")
    if short not in _formula.REDUCTIONS or _formula.REDUCTIONS[short]["formulas"] != 1:
        raise ArgumentError(f"show: reduction={name!r}; expected the name of a reduction without weights")
    if K._mask is not None:
        K = K._neutral(short, {})[0]
    k = k if _formula.REDUCTIONS[short]["takes_k"] else 0
    code: list[Any] = []
    top = _formula.instructions(K._formula, code)
    signature = tuple([(arg.place, arg.dim) for arg in K._args])
    return _core.build(code, signature, ((short, 2 if axis == 1 else 1, top, -1, k),)), short


def show(K: Any, reduction: str = "sum", axis: int = 1, k: int = 10, detail: str | None = None) -> Shown:
    """What a reduction of a LazyTensor will do: formula, arguments, memory, stages, cost; nothing is computed.

    reduction: its name ('sum', 'logsumexp', 'argkmin' with k ...); axis: 1 over j, 0 over i, counted behind batches.
    Of a reduced LazyTensor its own. detail: 'parsed', 'dag', 'plan' or 'source' (the C of the kernel) is appended. K
    may be a Genred or an operator too. Returns text. The time is a guess, good to a factor of a few.

    >>> import benben, numpy as np
    >>> from benben.numpy import Vi, Vj
    >>> x = np.ones((1000, 3), np.float32)
    >>> print(benben.show((Vi(x) - Vj(x)).sqnorm2()))  # doctest: +ELLIPSIS
    LazyTensor
      shape      (1000, 1000), axes (..., M, N), float32
      formula    SqNorm2((x0 - y0))
      x0         (1000, 3) float32, along i, 11.7 KiB
      y0         (1000, 3) float32, along j, 11.7 KiB
      memory     23.4 KiB; as an array it would have 3.81 MiB
      reduction  sum over j: ...
    """
    rows: list[tuple[str, str]] = []
    if getattr(K, "__GenericLazyTensor__", False):
        rows += facts(K)
        r = K._reduced
        if r is not None:
            reduction, axis, k = r.short, r.axis, r.k
        known = all(arg.value is not None for arg in K._all_args())
        pairs, dtype = _pairs(K) if known else 0, K._dtype or "float64"
        if r is not None and (r.solve_for is not None or r.weight is not None):
            program, name = None, r.name
        else:
            program, name = _program(K if r is None else _plain(K), reduction, axis, k)
    elif hasattr(K, "_program") and hasattr(K, "aliases"):
        rows += [("formula", K.formula), ("arguments", ", ".join(K.aliases))]
        program, name, pairs, dtype = K._program.program, getattr(K, "reduction_op", "Solve"), 0, "float32"
        axis = K.axis
    elif hasattr(K, "matvec") and hasattr(K, "shape"):
        return Shown(f"{K!r}\n  computes A @ v without storing A")
    else:
        raise ArgumentError(f"show: expected a LazyTensor, a Genred or an operator, found {type(K).__qualname__}")
    text = f"{name} over {'j' if axis == 1 else 'i'}"
    rows.append(("reduction", text if program is None else f"{text}: {_cost(program, pairs, dtype)}"))
    if program is not None:
        if pairs and getattr(K, "__GenericLazyTensor__", False):
            rows.append(("target", _target(K, program, dtype)))
        plan = program.show("plan", dtype)
        rows += [("", line.strip()) for line in plan.splitlines() if line.startswith("stage")]
    lines = [f"{type(K).__name__}"] + [f"  {label:<10} {text}" for label, text in rows]
    if detail is not None:
        if program is None or detail not in ("parsed", "dag", "plan", "source"):
            raise ArgumentError(f"show: detail={detail!r}; expected 'parsed', 'dag', 'plan' or 'source'")
        lines += ["", program.show(detail, dtype).rstrip()]
    return Shown("\n".join(lines))


def _plain(K: Any) -> Any:
    """A reduced LazyTensor before it was reduced."""
    new = object.__new__(type(K))
    new.__dict__.update(K.__dict__, _args=K._reduced.args, _reduced=None)
    return new


def _target(K: Any, program: Any, dtype: str) -> str:
    """Which processor an automatic target takes, and why."""
    if any(getattr(arg.value, "is_cuda", False) for arg in K._all_args()):
        return "cuda: the arrays lie there"
    if K.ranges is not None or K._mask is not None:
        return "cpu: ranges and masks stay where the arrays are"
    *batch, m, n = K._shape[:-1]
    text: str = program.target(m, n, math.prod(batch), dtype)
    return text


def _cost(program: Any, pairs: int, dtype: str) -> str:
    text = f"{program.cost:.0f} operations per pair"
    if not pairs:
        return text
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    rate = _RATE * cores * (0.5 if dtype == "float64" else 1)
    return f"{text}, {pairs:.3g} pairs: {_seconds(program.cost * pairs / rate)} on {cores} cores"


def as_html(K: Any) -> str:
    """A table for notebooks."""
    rows = [("class", type(K).__name__), *facts(K)]
    if K._reduced is not None:
        rows.append(("reduction", f"{K._reduced.name} over {'j' if K._reduced.axis == 1 else 'i'}"))
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(a)}</th><td style='text-align:left'>"
        f"<code>{html.escape(b if len(b) < 500 else b[:500] + ' ...')}</code></td></tr>"
        for a, b in rows
    )
    return f"<table>{cells}</table>"


def doctor() -> Shown:
    """What was found on this machine (processor, compilers, cache, Python's packages), what is missing, and the remedy.

    >>> import benben
    >>> "compiler" in benben.doctor()
    True
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in ("numpy", "scipy", "torch", "scikit-learn", "pandas", "tqdm"):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    text = str(_core.doctor()).rstrip()
    return Shown(f"{text}\npython        {platform.python_version()}; {', '.join(found)}")
