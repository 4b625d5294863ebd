"""Reductions of LazyTensors: from a formula to a kernel that runs.

A Plan is made once for a formula, a reduction and the options that change the code; it hangs on the formula, so that
the same steps on other arrays find it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import _core, _devices, _formula, _options, _progress
from ._errors import ArgumentError, ShapeError
from ._formula import BY_ALIAS, PLACE_I, PLACE_J, REDUCTIONS, Formula
from ._generic import k_smallest

AXIS_I, AXIS_J, AXIS_IJ = 1, 2, 3
# reductions with two results
_PAIRS = {"min_argmin": ("min", "argmin"), "max_argmax": ("max", "argmax"), "kmin_argkmin": ("kmin", "argkmin")}


class Plan:
    """A kernel for one reduction of one formula."""

    __slots__ = ("kernel", "run", "program", "uniform", "k", "rows_i", "rows_j")

    def __init__(self, kernel: Any, program: Any, k: int, signature: tuple[tuple[int, int], ...]) -> None:
        self.kernel, self.program, self.run, self.k = kernel, program, kernel.run, k
        places = {place for place, _ in signature}  # an axis that no variable has is one row long
        self.rows_i, self.rows_j = int(PLACE_I not in places), int(PLACE_J not in places)
        self.uniform = any(place == "p" for place, _, _ in program.outputs)


def make_plan(root: Formula, key: tuple[Any, ...], signature: tuple[tuple[int, int], ...]) -> Plan:
    """key: tools, name and axis of the reduction, weight and the numbers of its variables, k, accuracy. signature:
    place and dimension of each argument."""
    tools, name, axis, weight, weight_map, k, accuracy = key
    code: list[Any] = []
    top = _formula.instructions(root, code)
    second = -1
    if weight is not None:
        second = _formula.instructions(weight, code, tuple(range(weight.size)) if weight_map is None else weight_map)
    outputs = tuple([(part, axis, top, second, k) for part in _PAIRS.get(name, (name,))])
    program = _core.build(code, signature, outputs)
    return Plan(tools.compile(program, ("build", code, signature, outputs), accuracy), program, k, signature)


class Reduction:
    """What a reduced LazyTensor will compute."""

    __slots__ = ("name", "short", "axis", "k", "args", "weight", "weight_map", "keywords", "solve_for", "squeeze")

    def __init__(
        self,
        name: str,
        short: str,
        axis: int,
        k: int,
        args: tuple[Any, ...],
        weight: Formula | None,
        weight_map: Any,
        keywords: dict[str, Any],
    ) -> None:
        self.name, self.short, self.axis, self.k, self.args = name, short, axis, k, args
        self.weight, self.weight_map, self.keywords = weight, weight_map, keywords
        self.solve_for: Any = None  # (unknown, right-hand side)
        self.squeeze = False

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What a call is given: the right-hand side in the place of the unknown."""
        if self.solve_for is None:
            return self.args
        unknown, b = self.solve_for
        return tuple([b if arg is unknown else arg for arg in self.args])


def broadcast_batch(a: Any, b: Any) -> Any:
    """Batch dimensions of two operands together."""
    if a == b or b is None:
        return a
    if a is None:
        return b
    n = max(len(a), len(b))
    p, q = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
    if any(x != y and x != 1 and y != 1 for x, y in zip(p, q, strict=True)):
        raise ShapeError(f"Incompatible batch dimensions: {a} and {b}")
    return tuple([y if x == 1 else x for x, y in zip(p, q, strict=True)])


class ReductionMethods:
    """Mixin of GenericLazyTensor."""

    _formula: Formula

    # ---- axes ----
    def _kind_of_axis(self: Any, axis: Any) -> str:
        """'I', 'J', 'D' or 'B' (a batch) for an axis of (..., M, N, D)."""
        n = self.nbatchdims
        if isinstance(axis, bool) or not hasattr(axis, "__index__"):
            raise ValueError(f"axis={axis!r}: expected an integer")
        at = int(axis) + n + 3 if axis < 0 else int(axis)
        if not 0 <= at < n + 3:
            raise ValueError(f"axis={axis}, but the axes of a LazyTensor of the shape {self._shape} are 0 to {n + 2}")
        return "B" if at < n else "IJD"[at - n]

    def _reduced_axis(self: Any, axis: Any, dim: Any, name: str) -> int:
        if axis is not None and dim is not None:
            raise ValueError("axis and dim say the same: give one of them")
        axis = dim if axis is None else axis
        if axis is None:
            raise ValueError(
                f"{name}: give axis={self.nbatchdims} (reduction over i) or {self.nbatchdims + 1} (over j)"
            )
        kind = self._kind_of_axis(axis)
        if kind == "I":
            return 0
        if kind == "J":
            return 1
        raise ValueError(
            f"{name}: axis={axis} is {'a batch axis' if kind == 'B' else 'the last one'}; expected "
            f"{self.nbatchdims} or {self.nbatchdims + 1}"
        )

    # ---- the general one ----
    def reduction(
        self: Any,
        reduction_op: str,
        other: Any = None,
        opt_arg: Any = None,
        axis: Any = None,
        dim: Any = None,
        call: bool = True,
        is_complex: bool = False,
        **keywords: Any,
    ) -> Any:
        """Any reduction by name ('Sum', 'ArgKMin', ...): other are weights, opt_arg is K. With symbolic variables or
        call=False the result is a reduced LazyTensor, to be called with arrays later."""
        self._refuse_reduced()
        if self._mask is not None:
            return self._reduce_masked(reduction_op, other, axis if dim is None else dim, opt_arg, call, keywords)
        short = BY_ALIAS.get(reduction_op, reduction_op)
        if short not in REDUCTIONS:
            raise NameError(f"unknown reduction {reduction_op!r}; known: {', '.join(sorted(BY_ALIAS))}")
        if other is not None and short in ("logsumexp", "maxsumshiftexp"):
            short += "weight"
        if short == "softmaxweight":
            short = "sumsoftmaxweight"
        folded = self._reduced_axis(axis, dim, reduction_op)
        k = _check_k(reduction_op, opt_arg) if REDUCTIONS[short]["takes_k"] else 0
        weight: Any = None
        weight_map: Any = None
        new = self
        if REDUCTIONS[short]["formulas"] == 2:
            if other is None:
                raise ValueError(f"{reduction_op}: the weights are missing")
            if self.tools.is_array(other) and len(other.shape) == 2:  # a row for each element that is folded
                other = self.real_class._along(other, PLACE_J if folded else PLACE_I, f"{reduction_op}: the weights")
            other = self._lift(other)
            if self._formula.dim != 1:
                raise ShapeError(f"{reduction_op}: the formula has dimension {self._formula.dim}, expected 1")
            new, weight_map = self._join(other)
            weight = other._formula
        elif other is not None:
            raise ValueError(f"{reduction_op}: takes no weights")
        if new is self:
            new = self._like()
        if keywords:
            _options.split(keywords, _options.COMPILE, _options.CALL)
        new._reduced = Reduction(reduction_op, short, folded, k, new._args, weight, weight_map, keywords)
        return new if not call or any(arg.value is None for arg in new._args) else new._run({})

    def __call__(self: Any, *args: Any, **keywords: Any) -> Any:
        """Runs a reduced LazyTensor; args are its symbolic variables in the order of their index."""
        if self._reduced is None:
            if len(args) == 1 and not keywords and self.tools.is_array(args[0]):
                return self @ args[0]  # SciPy takes what can be called for a function of vectors
            raise ValueError(
                "A LazyTensor object may be called only if it corresponds to the output of a reduction operation "
                "or solve operation."
            )
        new = self
        symbols = self._symbols()
        if symbols:
            if len(args) != len(symbols):
                raise ValueError(f"{len(args)} arguments for {len(symbols)} symbolic variables")
            new = self._with_symbols(symbols, args)
        elif args:
            raise ValueError(f"{len(args)} arguments, but there is no symbolic variable")
        return new._run(keywords)

    def _with_symbols(self: Any, symbols: list[Any], values: tuple[Any, ...]) -> Any:
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        table = {}
        for symbol, value in zip(symbols, values, strict=True):
            made = new._argument(value, symbol)
            table[symbol] = made
        old = self._reduced
        keep = None if old.solve_for is None else old.solve_for[0]
        args = tuple([arg if arg is keep else table.get(arg, arg) for arg in old.args])
        r = Reduction(old.name, old.short, old.axis, old.k, args, old.weight, old.weight_map, old.keywords)
        if old.solve_for is not None:
            unknown, b = old.solve_for
            r.solve_for = (unknown, table.get(b, b))
        r.squeeze = old.squeeze
        new._reduced = r
        return new

    def _argument(self: Any, value: Any, symbol: Any) -> Any:
        """The value of a symbolic variable as an argument; sizes are checked when it runs."""
        tools = self.tools
        if tools.is_array(value):
            value = tools.as_float(value)
            if tools.is_complex(value):
                value = tools.as_real(value)
        else:
            value = self._lift(value)._args[0].value
        return type(symbol)(value, symbol.place, symbol.dim)

    # ---- running ----
    def _run(self: Any, keywords: dict[str, Any]) -> Any:
        r = self._reduced
        if r.solve_for is not None:
            return self._run_solve(keywords)
        if r.keywords or keywords:
            compiled, call = _options.split({**r.keywords, **keywords}, _options.COMPILE, _options.CALL)
            accuracy = _options.accuracy(
                r.short,
                compiled.get("dtype_acc", "auto"),
                compiled.get("use_double_acc", False),
                compiled.get("sum_scheme", "auto"),
            )
            if self._dtype is not None:
                _options.check_accumulator(accuracy.dtype_acc, self._dtype)
        else:
            accuracy, call = _options.DEFAULT_ACCURACY, {}
        out = call.get("out")
        devices = self._devices_of(call) if call or self.backend is not None else None
        ranges = call.get("ranges")
        if ranges is not None and self._blocks is not None:
            raise ArgumentError("ranges: this LazyTensor is masked, and its mask has ranges; use K.filled(value)")
        ranges = self.ranges if ranges is None else ranges
        axis, progress = AXIS_I if r.axis == 0 else AXIS_J, call.get("progress")

        def run(name: str, k: int) -> Any:
            return self._fold(r.args, name, axis, r.weight, r.weight_map, k, accuracy, ranges, progress, devices)

        if r.k:
            place = PLACE_I if r.axis == 0 else PLACE_J
            n = next((arg.value.shape[-2] for arg in r.args if arg.place == place), None)
            if n is None:
                n = (self.ni if r.axis == 0 else self.nj) or 1
            result = k_smallest(run, r.short, r.k, n, self.tools)
        else:
            result = run(r.short, 0)
        if self.is_complex:
            result = self.tools.as_complex(result)
        if r.squeeze:
            result = result[..., 0]
        return result if out is None else self.tools.store(result, out)

    def _devices_of(self: Any, call: dict[str, Any]) -> tuple[int, ...] | None:
        """The devices that a call names, None for those chosen by themselves; refuses backends that are not there."""
        backend = call.get("backend") or self.backend or "auto"
        if backend != "auto":
            _options.check_backend(backend)
        return _devices.chosen(backend, call.get("device_id", -1), self.tools)

    def _fold(
        self: Any,
        args: tuple[Any, ...],
        name: str,
        axis: int,
        weight: Formula | None = None,
        weight_map: Any = None,
        k: int = 0,
        accuracy: _options.Accuracy = _options.DEFAULT_ACCURACY,
        ranges: Any = None,
        progress: Any = None,
        devices: tuple[int, ...] | None = None,
    ) -> Any:
        """Runs a reduction; the result has the axis that is kept, even where it is of length 1."""
        f = self._formula
        key = (self.tools, name, axis, weight, weight_map, k, accuracy)
        plan = f.plan(key) or f.keep(key, make_plan, tuple([(arg.place, arg.dim) for arg in args]))
        if plan.uniform and axis != AXIS_IJ and (ranges is not None or self._blocks is not None):
            # each row has pairs of its own, which a formula that lacks the axis cannot say
            placed, args, shift = self._placed_along(args, PLACE_I if axis == AXIS_J else PLACE_J)
            if weight is not None:
                where = range(weight.size) if weight_map is None else weight_map
                weight_map = tuple([n + shift for n in where])
            return placed._fold(args, name, axis, weight, weight_map, k, accuracy, ranges, progress, devices)
        values = tuple([arg.value for arg in args])
        if self._blocks is not None:
            values, ranges = self._sorted_values(args), self._blocks.ranges
        rows_i = plan.rows_i and (self.ni or 1)  # where no argument says it
        rows_j = plan.rows_j and (self.nj or 1)
        six = None if ranges is None else self.tools.ranges(ranges)
        more = {"devices": devices} if devices else {}
        if more or _progress.wanted(progress):
            with _progress.reporting(progress, f"{name} over {('i', 'j', 'i and j')[axis - 1]}") as report:
                result = self.tools.run(plan, values, six, rows_i, rows_j, report, **more)
        else:
            result = self.tools.run(plan, values, six, rows_i, rows_j, None)
        if self._blocks is not None:
            result = self._unsorted(result, axis)
        if plan.uniform and axis != AXIS_IJ:
            kept = PLACE_I if axis == AXIS_J else PLACE_J
            rows = next((arg.value.shape[-2] for arg in args if arg.place == kept), None)
            if rows is None:
                rows = (self.ni if kept == PLACE_I else self.nj) or 1
            result = self.tools.repeat_rows(result, rows)
        return result

    def _placed_along(self: Any, args: tuple[Any, ...], place: int) -> Any:
        """The same values by a formula that depends on an axis: its arguments, and by how much they are moved."""
        from ._lazy import Arg

        rows = (self.ni if place == PLACE_I else self.nj) or 1
        one = self.tools.place(np.ones((rows, 1)), self._dtype or "float64", [arg.value for arg in args])
        new = object.__new__(type(self))
        new.__dict__.update(self.__dict__)
        f = self._formula
        kids = (_formula.variable(place, 1), f, _formula.number(0))
        maps = ((0,), tuple(range(1, f.size + 1)), None)
        new._formula = _formula.apply("where", (), kids, maps, f.size + 1)
        args = (Arg(one, place, 1), *args)
        return new, args, 1

    def _fold_all(self: Any, name: str, keywords: Any = None) -> Any:
        """Over i and j: (..., D). keywords: those of reductions, without out."""
        self._refuse_reduced()
        if any(arg.value is None for arg in self._args):
            raise ValueError(f"{name} over both axes: there are symbolic variables")
        if self._mask is not None:
            return self._neutral(name, keywords or {})[0]._fold_all(name, keywords)
        compiled, call = _options.split(keywords or {}, _options.COMPILE, _options.CALL)
        accuracy = _options.accuracy(
            name,
            compiled.get("dtype_acc", "auto"),
            compiled.get("use_double_acc", False),
            compiled.get("sum_scheme", "auto"),
        )
        if self._dtype is not None:
            _options.check_accumulator(accuracy.dtype_acc, self._dtype)
        devices = self._devices_of(call)
        ranges = self.ranges if call.get("ranges") is None else call["ranges"]
        result = self._fold(self._args, name, AXIS_IJ, None, None, 0, accuracy, ranges, call.get("progress"), devices)[
            ..., 0, :
        ]
        return self.tools.as_complex(result) if self.is_complex else result


def _check_k(name: str, k: Any) -> int:
    if isinstance(k, bool) or not hasattr(k, "__index__") or k < 1:
        raise ValueError(f"{name}: K = {k!r}; expected an integer >= 1")
    return int(k)
