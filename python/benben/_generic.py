"""Reductions of formulas given as text: what Genred, KernelSolve and the generic_* functions of every array library
share."""

from __future__ import annotations

import re
import warnings
from typing import Any, ClassVar, NamedTuple

import numpy as np

from . import _core, _devices, _options, _progress
from ._errors import ArgumentError, ConvergenceWarning, ShapeError
from ._formula import BY_ALIAS, REDUCTIONS


class Alias(NamedTuple):
    """A declared variable: 'x = Vi(3)', 'x = Vi(0,3)', 'x = Var(0,3,0)', 'Vi(3)'."""

    name: str
    category: int  # 0 Vi, 1 Vj, 2 Pm
    dim: int
    position: int | None


_ALIAS = re.compile(r"^\s*(?:([A-Za-z_]\w*)\s*=\s*)?(Vi|Vj|Pm|Vx|Vy|Var)\s*\(\s*([\d\s,]+)\)\s*$")
_CATEGORY = {"Vi": 0, "Vj": 1, "Pm": 2, "Vx": 0, "Vy": 1}


def read_alias(text: str) -> Alias:
    """Reads a declaration; ValueError where it is malformed."""
    match = _ALIAS.match(text) if isinstance(text, str) else None
    numbers = [int(n) for n in match[3].split(",") if n.strip()] if match else []
    if match and match[2] == "Var" and len(numbers) == 3 and numbers[2] in (0, 1, 2):
        return Alias(match[1] or "", numbers[2], numbers[1], numbers[0])
    if match and match[2] != "Var" and len(numbers) in (1, 2):
        if match[2] in ("Vx", "Vy"):
            warnings.warn(
                f"{match[2]} is an old name: write V{'i' if match[2] == 'Vx' else 'j'}",
                DeprecationWarning,
                stacklevel=3,
            )
        return Alias(match[1] or "", _CATEGORY[match[2]], numbers[-1], numbers[0] if len(numbers) == 2 else None)
    raise ArgumentError(
        f"the declaration {text!r} is malformed; expected, for example, 'x = Vi(3)', 'y = Vj(1, 2)', "
        "'p = Pm(1)' or 'x = Var(0, 3, 0)'"
    )


def reduction_name(name: str, weighted: bool) -> str:
    """The short name of a reduction in either spelling."""
    short: str = BY_ALIAS.get(name, name)
    if weighted and short in ("logsumexp", "maxsumshiftexp"):
        short += "weight"
    if short == "softmaxweight":
        short = "sumsoftmaxweight"
    if short not in REDUCTIONS:
        raise NameError(f"unknown reduction {name!r}; known: {', '.join(sorted(BY_ALIAS))}")
    formulas = REDUCTIONS[short]["formulas"]
    if formulas != 1 + weighted:
        raise ArgumentError(
            f"the reduction {name} takes {formulas} formula{'s' * (formulas > 1)}; the second one is formula2"
        )
    return short


def split_k(value: Any, k: int, tools: Any) -> Any:
    """(..., K D) as (..., K, D), or (..., K) where D = 1."""
    dim = value.shape[-1] // k
    return value.reshape(value.shape[:-1] + ((k, dim) if dim > 1 else (k,)))


_OF_NOTHING = {"kmin": "min", "argkmin": "argmin", "kmin_argkmin": "min_argmin"}


def k_smallest(run: Any, name: str, k: int, n: int, tools: Any) -> Any:
    """The K smallest of n: run(name, K) where there are as many; else those there are, then inf and the index -1."""
    result = run(name, min(k, n)) if n else run(_OF_NOTHING[name], 0)
    have = max(min(k, n), 1)

    def parts(value: Any) -> Any:
        axis = -1 if value.shape[-1] == have else -2
        value = split_k(value, have, tools)
        return value if have == k else tools.lengthen(value, axis, k - have)

    return tuple([parts(r) for r in result]) if isinstance(result, tuple) else parts(result)


class Program:
    """A parsed reduction and its kernels, one for each setting of accuracy; shared by all that say the same."""

    _cache: ClassVar[dict[Any, Program]] = {}

    def __init__(self, text: str, aliases: tuple[str, ...], axis: int) -> None:
        self.program = _core.parse(text, aliases)
        self.recipe = ("parse", text, aliases)
        self.places = [place for _, place, _ in self.program.variables]
        self.names = [name for name, _, _ in self.program.variables]
        kept = "i" if axis == 1 else "j"
        self.rows_i = 0 if "i" in self.places else 1  # an axis that no variable has is one row long
        self.rows_j = 0 if "j" in self.places else 1
        # a result that is the same for all rows is repeated
        self.repeat = (
            next((k for k, p in enumerate(self.places) if p == kept), None)
            if any(place == "p" for place, _, _ in self.program.outputs)
            else None
        )

    @classmethod
    def of(cls, text: str, aliases: tuple[str, ...], axis: int) -> Program:
        key = (text, aliases, axis)
        found = cls._cache.get(key)
        if found is None:
            if len(cls._cache) > 5000:
                cls._cache.clear()
            found = cls._cache[key] = cls(text, aliases, axis)
        return found

    def kernel(self, accuracy: _options.Accuracy, tools: Any) -> Any:
        return tools.compile(self.program, self.recipe, accuracy)


def _check(formula: Any, aliases: Any, axis: Any) -> None:
    """What Genred and KernelSolve are made of."""
    if axis not in (0, 1) or isinstance(axis, bool):
        raise ArgumentError(f"axis={axis!r}: expected 0 (reduction over i) or 1 (over j)")
    if not isinstance(formula, str):
        raise TypeError(f"formula: expected a text such as 'Exp(-SqDist(x,y))*b', found {formula!r}")
    if isinstance(aliases, str) or not hasattr(aliases, "__iter__"):
        raise ArgumentError(f"aliases={aliases!r}: expected a list of declarations such as ['x = Vi(3)', 'y = Vj(3)']")


class GenericGenred:
    """A reduction of a formula, see benben.numpy.Genred. `tools` says how arrays of the library are handled."""

    tools: Any  # of the class: how arrays are handled

    def __init__(
        self,
        formula: str,
        aliases: Any,
        reduction_op: str = "Sum",
        axis: int = 0,
        dtype: Any = None,
        opt_arg: int | None = None,
        formula2: str | None = None,
        cuda_type: Any = None,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: Any = False,
        use_fast_math: bool = True,
    ) -> None:
        _options.deprecated(dtype=dtype, cuda_type=cuda_type)
        _check(formula, aliases, axis)
        self.formula, self.aliases, self.axis, self.opt_arg, self.formula2 = (
            formula,
            list(aliases),
            axis,
            opt_arg,
            formula2,
        )
        self.reduction_op = reduction_op
        self._options: dict[str, Any] = dict(dtype_acc=dtype_acc, use_double_acc=use_double_acc, sum_scheme=sum_scheme)
        self._prepare()

    def _prepare(self) -> None:
        name = reduction_name(self.reduction_op, self.formula2 is not None)
        self._k = 0
        if REDUCTIONS[name]["takes_k"]:
            k: Any = self.opt_arg
            if isinstance(k, bool) or not hasattr(k, "__index__") or k < 1:
                raise ArgumentError(f"opt_arg={k!r}: {self.reduction_op} needs the number K >= 1 of values")
            self._k = int(k)
        self._accuracy = _options.accuracy(name, **self._options)
        for alias in self.aliases:
            read_alias(alias)
        self._name = name
        self._program = Program.of(self._text(name, self.formula, self._k), tuple(self.aliases), self.axis)
        self._kernel = self._program.kernel(self._accuracy, self.tools)
        self._run = self._kernel.run
        p = self._program
        self._plain = not (
            p.rows_i or p.rows_j or self._k or p.repeat is not None or self._accuracy.dtype_acc != "auto"
        )

    def _text(self, name: str, formula: str, k: int) -> str:
        parts = [formula] + ([self.formula2] if self.formula2 else []) + ([str(k)] if k else [])
        return f"{name}_{'ij'[self.axis]}({', '.join(parts)})"

    def _placed(self, args: tuple[Any, ...], name: str, k: int) -> tuple[Program, tuple[Any, ...]]:
        """For ranges, where the formula lacks the axis that is kept: each row has pairs of its own all the same."""
        kept = "ij"[1 - self.axis]
        ones = f"placed__ = V{kept}({len(self._program.places)},1)"
        text = self._text(name, f"where(placed__, {self.formula}, 0)", k)
        like = args[self._program.places.index(kept)]
        one = self.tools.place(np.ones((like.shape[-2], 1)), self.tools.common_dtype(args), args)
        return Program.of(text, (*self.aliases, ones), self.axis), (*args, one)

    # kernels are not pickled: the text is
    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_program", "_kernel", "_run")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._prepare()

    def __call__(
        self,
        *args: Any,
        backend: str = "auto",
        device_id: Any = -1,
        ranges: Any = None,
        out: Any = None,
        progress: Any = None,
    ) -> Any:
        plain = ranges is None and out is None and backend == "auto" and device_id == -1
        if plain and self._plain and not _progress.wanted(progress):
            try:
                result = self._run(args)
            except (TypeError, ShapeError):  # what is converted, or refused by name, below
                result = NotImplemented
            if result is not NotImplemented:
                return result
        _options.check_backend(backend)
        tools = self.tools
        devices = _devices.chosen(backend, device_id, tools)
        more = {"devices": devices} if devices else {}
        args = tools.convert(args, self._program.names)
        if self._accuracy.dtype_acc != "auto":
            _options.check_accumulator(self._accuracy.dtype_acc, tools.common_dtype(args))

        def run(name: str, k: int) -> Any:
            program, given = self._program, args
            if ranges is not None and program.repeat is not None:
                program, given = self._placed(args, name, k)
            elif (name, k) != (self._name, self._k):
                program = Program.of(self._text(name, self.formula, k), tuple(self.aliases), self.axis)
            kernel = self._kernel if program is self._program else program.kernel(self._accuracy, tools)
            with _progress.reporting(progress, f"{name} over {(self.axis and 'j') or 'i'}") as report:
                result = tools.run(kernel, given, tools.ranges(ranges), program.rows_i, program.rows_j, report, **more)
            if program.repeat is not None:
                result = tools.repeat_rows(result, args[program.repeat].shape[-2])
            return result

        if self._k:
            folded = "i" if self.axis == 0 else "j"
            along = [arg.shape[-2] for arg, place in zip(args, self._program.places, strict=False) if place == folded]
            result = k_smallest(run, self._name, self._k, along[0] if along else 1, tools)
        else:
            result = run(self._name, 0)
        return result if out is None else tools.store(result, out)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.formula!r}, {self.aliases!r}, {self.reduction_op!r}, axis={self.axis})"


class GenericKernelSolve:
    """Conjugate gradients for (K + alpha I) a = b, see benben.numpy.KernelSolve."""

    tools: Any  # of the class: how arrays are handled

    def __init__(
        self,
        formula: str,
        aliases: Any,
        varinvalias: str,
        axis: int = 0,
        dtype_acc: str = "auto",
        use_double_acc: bool = False,
        sum_scheme: str = "auto",
        enable_chunks: bool = True,
        rec_multVar_highdim: Any = None,
        dtype: Any = None,
        cuda_type: Any = None,
        use_fast_math: bool = True,
    ) -> None:
        _options.deprecated(dtype=dtype, cuda_type=cuda_type)
        _check(formula, aliases, axis)
        self.formula, self.aliases, self.axis, self.varinvalias = formula, list(aliases), axis, varinvalias
        self._options: dict[str, Any] = dict(dtype_acc=dtype_acc, use_double_acc=use_double_acc, sum_scheme=sum_scheme)
        self._prepare()

    def _prepare(self) -> None:
        self._accuracy = _options.accuracy("sum", **self._options)
        aliases = [read_alias(alias) for alias in self.aliases]
        text = f"sum_{'ij'[self.axis]}({self.formula})"
        self._program = Program.of(text, tuple(self.aliases), self.axis)
        self._unknown = self._position(aliases)
        self._kernel = self._program.kernel(self._accuracy, self.tools)

    def _position(self, aliases: list[Alias]) -> int:
        wanted = self.varinvalias.replace(" ", "")
        if wanted.startswith(("Var(", "Vi(", "Vj(")):
            position = read_alias(wanted).position
            if position is not None:
                return position
        for k, name in enumerate(self._program.names):
            if name and name == wanted:
                return k
        raise ArgumentError(
            f"varinvalias={self.varinvalias!r} is none of the variables: {', '.join(alias.name for alias in aliases)}"
        )

    __getstate__ = GenericGenred.__getstate__
    __setstate__ = GenericGenred.__setstate__

    def __call__(
        self,
        *args: Any,
        backend: str = "auto",
        device_id: int = -1,
        alpha: Any = 1e-10,
        eps: float = 1e-6,
        ranges: Any = None,
        progress: Any = None,
        **settings: Any,
    ) -> Any:
        _options.check_backend(backend)
        _options.split(settings, _options.SOLVE)
        args = self.tools.convert(args, self._program.names)
        return solve(
            self.tools, self._kernel, args, self._unknown, alpha, eps, self.tools.ranges(ranges), progress, **settings
        )


def solve(
    tools: Any,
    kernel: Any,
    args: tuple[Any, ...],
    unknown: int,
    alpha: Any,
    eps: float,
    ranges: Any,
    report: Any = None,
    **settings: Any,
) -> Any:
    """Solves; warns where the iteration stopped early. report: as the keyword progress; settings: of _options.SOLVE,
    without alpha and eps."""
    if _progress.wanted(report) and not callable(report):
        with _progress.reporting(report, "solve", solve=True) as bar:
            return solve(tools, kernel, args, unknown, alpha, eps, ranges, bar, **settings)
    report = report or None
    if hasattr(tools, "solve"):  # a library of its own mind: derivatives
        return tools.solve(kernel, args, unknown, alpha, eps, ranges, report, **settings)
    if settings.get("precondition", "") is None:
        settings["precondition"] = "none"
    options = {**settings, "alpha": tools.number(alpha), "tolerance": real("eps", eps), "relative": 0}
    answer = _core.solve((kernel, args, unknown, ranges), None, None, None, options, report)
    if answer is NotImplemented:
        answer = _core.solve((kernel, tools.promote(args), unknown, ranges), None, None, None, options, report)
    result, told, why = answer
    return solution((result, told["iterations"], told["residual"], why), 4)


def real(name: str, value: Any) -> float:
    """The value of a keyword as a number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ArgumentError(f"{name}={value!r}: expected a number") from None


def solution(answer: tuple[Any, int, float, str | None], level: int) -> Any:
    """What the core answers, without what it says of the iteration: that becomes a warning."""
    result, iterations, residual, why = answer
    if why:
        warnings.warn(
            f"{why} ({iterations} iterations, relative residual {residual:.2g})", ConvergenceWarning, stacklevel=level
        )
    return result


def generic(
    genred: type[GenericGenred],
    reduction_op: str,
    formula: str,
    output: str,
    aliases: tuple[str, ...],
    keywords: dict[str, Any],
) -> GenericGenred:
    """generic_sum and its sisters: the category of the output says the axis."""
    target = read_alias(output)
    if target.category == 2:
        raise ArgumentError(f"the output {output!r} is a parameter: expected Vi (reduction over j) or Vj (over i)")
    if reduction_op == "ArgKMin":
        keywords.setdefault("opt_arg", target.dim)
    return genred(formula, list(aliases), reduction_op=reduction_op, axis=1 - target.category, **keywords)
