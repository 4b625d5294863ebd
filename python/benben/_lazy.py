"""LazyTensors: the algebra of symbolic matrices, for every array library.

A LazyTensor is a Formula (what is computed for a pair) and its arguments (arrays placed along i, along j, or
parameters). An operation joins arguments and makes a formula; nothing is computed before a reduction. What depends on
the array library goes through `tools`, a module such as benben/numpy/_tools.py. Reductions stand in _reduce.py,
products and systems in _matrix.py, masks in _masked.py, indexing and what NumPy's arrays can do besides in _array.py,
complex numbers in _complex.py.
"""

from __future__ import annotations

import math
import operator
from typing import Any, ClassVar

from . import _formula, _show
from ._array import ArrayMethods
from ._errors import ArgumentError, ShapeError
from ._formula import CATEGORY, OPERATIONS, PLACE_I, PLACE_J, PLACE_OF_CATEGORY, PLACE_P, Formula
from ._masked import MaskMethods
from ._matrix import MatrixMethods
from ._named import NamedReductions
from ._pointwise import PointwiseMethods, _integer
from ._reduce import ReductionMethods, broadcast_batch
from ._ufunc import NumpyMethods

_DTYPE_ORDER = {None: -1, "float16": 0, "bfloat16": 0, "float32": 1, "float64": 2}


class Arg:
    """An argument: an array, a number or a tuple of numbers, and where it is placed. Compared by identity."""

    __slots__ = ("value", "place", "dim", "index", "twin")
    value: Any  # None for a symbolic variable
    twin: Arg | None  # the same array along the other axis

    def __init__(self, value: Any, place: int, dim: int, index: int = -1) -> None:
        self.value, self.place, self.dim, self.index, self.twin = value, place, dim, index, None

    def __reduce__(self) -> Any:
        if self.value is None:
            return symbol, (self.index, self.dim, CATEGORY[self.place])
        return Arg, (self.value, self.place, self.dim)

    def along(self, place: int) -> Arg:
        """The same array along another axis; twice is the argument itself."""
        if self.place == place or self.place == PLACE_P:
            return self
        if self.value is None:
            return symbol(self.index, self.dim, CATEGORY[place])
        if self.twin is None:
            self.twin = Arg(self.value, place, self.dim)
            self.twin.twin = self
        return self.twin


_symbols: dict[tuple[int, int, int], Arg] = {}


def symbol(index: int, dim: int, category: int) -> Arg:
    """The symbolic variable Var(index, dim, category)."""
    key = (index, dim, category)
    if key not in _symbols:
        _symbols[key] = Arg(None, PLACE_OF_CATEGORY[category], dim, index)
    return _symbols[key]


def _shown(x: tuple[Any, ...]) -> str:
    """A tuple in a message: numbers, and of the rest the types."""
    return f"({', '.join([repr(n) if isinstance(n, (int, float, str)) else type(n).__name__ for n in x])})"


class GenericLazyTensor(
    PointwiseMethods, ReductionMethods, NamedReductions, MatrixMethods, MaskMethods, ArrayMethods, NumpyMethods
):
    """A symbolic matrix: see benben.numpy.LazyTensor for how it is made and used."""

    tools: Any  # these three are of the class
    Genred: Any
    KernelSolve: Any
    real_class: ClassVar[type[GenericLazyTensor]]
    complex_class: ClassVar[type[GenericLazyTensor]]
    __GenericLazyTensor__ = True
    is_complex: ClassVar[bool] = False
    __hash__ = None  # type: ignore[assignment]
    __iter__ = None

    _formula: Formula
    _args: tuple[Arg, ...]
    ni: int | None
    nj: int | None
    batchdims: tuple[int, ...] | None
    _dtype: str | None
    ranges: Any
    backend: str | None
    _reduced: Any  # of a reduced LazyTensor: which reduction

    # ---- making ----
    def __init__(self, x: Any = None, axis: int | None = None, is_complex: bool = False) -> None:
        tools = self.tools
        self.ni = self.nj = self.batchdims = self._dtype = self.ranges = self.backend = self._reduced = None
        self._args = ()
        if tools.is_array(x):
            self._from_array(x, axis)
        elif isinstance(x, tuple):
            self._from_symbol(x)
        elif axis in (0, 1) and (isinstance(x, list) or hasattr(x, "to_numpy")):
            self._from_array(tools.as_array(x, "LazyTensor"), axis)
        elif axis is not None and axis != 2:
            raise ValueError(f"axis={axis} is for arrays; a number or a list is a parameter")
        elif isinstance(x, int):
            self._formula = _formula.ONE.number(x)
        elif isinstance(x, float):
            self._set(Arg(float(x), PLACE_P, 1))
        elif isinstance(x, list):
            self._from_list(x)
        elif tools.is_scalar(x):
            self.__init__(tools.scalar(x))  # type: ignore[misc]
        elif x is None:
            raise ValueError("a LazyTensor is made of an array, a number, a list of numbers or a tuple (ind, dim, cat)")
        else:
            self._from_array(tools.as_array(x, f"a LazyTensor of {tools.name} cannot be made of this"), axis)

    def _set(self, arg: Arg) -> None:
        self._args = (arg,)
        self._formula = _formula.ONE.variable(arg.place, arg.dim)

    def _from_symbol(self, x: tuple[Any, ...]) -> None:
        if len(x) != 3 or not all(isinstance(n, int) for n in x) or x[0] < 0 or x[1] < 1 or x[2] not in (0, 1, 2):
            raise ValueError(
                f"{_shown(x)}: a symbolic variable is a tuple (ind, dim, cat) of integers, ind >= 0, dim >= 1, cat 0, "
                "1 or 2; for a list of numbers use a list"
            )
        self._set(symbol(*x))

    def _from_list(self, x: list[Any]) -> None:
        try:
            numbers = self.tools.from_list(x)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the list holds something that is not a number ({error}); for points use an array"
            ) from None
        if not numbers:
            raise ValueError("the list is empty")
        self._set(Arg(numbers if len(numbers) > 1 else numbers[0], PLACE_P, len(numbers)))

    def _from_array(self, x: Any, axis: int | None) -> None:
        x = self.tools.as_float(x)
        self._dtype = self.tools.dtype_name(x)
        shape = tuple(x.shape)
        n = len(shape)
        if n >= 3 and axis is None:
            m, k = shape[-3], shape[-2]
            if k == 1:
                if m == 1:
                    place, x = PLACE_P, x[..., 0, 0, :]
                else:
                    place, x, self.ni = PLACE_I, x[..., 0, :], m
            elif m == 1:
                place, x, self.nj = PLACE_J, x[..., 0, :, :], k
            else:
                raise ValueError(
                    f"an array of the shape {shape}: one of the two axes before the last must be 1: (M, 1, D) is "
                    "indexed by i, (1, N, D) by j, (1, 1, D) is a parameter"
                )
            if n > 3:
                self.batchdims = shape[:-3]
        elif axis == 2:
            place = PLACE_P
            if n == 0:
                x = x.reshape(1)
            elif n > 1:
                self.batchdims = shape[:-1]
        elif n == 2 and axis in (0, 1):
            place = PLACE_I if axis == 0 else PLACE_J
            if axis == 0:
                self.ni = shape[0]
            else:
                self.nj = shape[0]
        elif n == 2 and axis is None:
            raise ValueError("a 2D array needs an axis: LazyTensor(x, axis=0) for i, axis=1 for j; or Vi(x), Vj(x)")
        elif axis is not None:
            raise ValueError(
                f"axis={axis!r} with an array of the shape {shape}: axis is 0 or 1 with 2D arrays, 2 for "
                "parameters; see Vi and Vj for batches"
            )
        else:
            place = PLACE_P
            if n == 0:
                x = x.reshape(1)
        self._place_array(x, place)

    def _place_array(self, x: Any, place: int) -> None:
        dim = operator.index(x.shape[-1])  # a number of the formula, also where sizes are symbolic
        if dim < 1:
            raise ValueError(f"an array of the shape {tuple(x.shape)} has vectors of dimension 0")
        self._set(Arg(x, place, dim))

    @classmethod
    def _along(cls, x: Any, place: int, what: str = "") -> Any:
        """The array (..., M, D) or (..., N, D) along an axis. what: the argument's name, for errors."""
        tools = cls.tools
        if not tools.is_array(x):
            x = tools.as_array(x, what or f"V{'i' if place == PLACE_I else 'j'}(x)")
        x = tools.as_float(x)
        shape = tuple(x.shape)
        if len(shape) < 2:
            what, axis = what or f"V{'i' if place == PLACE_I else 'j'}(x)", "M" if place == PLACE_I else "N"
            raise ValueError(f"{what}: an array of the shape {shape}: expected (..., {axis}, D), as x[:, None] is")
        self = cls.__new__(cls.complex_class if tools.is_complex(x) else cls)
        self.ni = self.nj = self.batchdims = self.ranges = self.backend = self._reduced = None
        self._dtype = tools.dtype_name(x)
        if place == PLACE_I:
            self.ni = shape[-2]
        else:
            self.nj = shape[-2]
        if len(shape) > 2:
            self.batchdims = shape[:-2]
        self._place_array(x, place)
        return self

    def lt_constructor(self, x: Any = None, is_complex: bool = False) -> Any:
        """A LazyTensor of the same library."""
        return self.real_class(x)

    # ---- what it is ----
    @property
    def ndim(self) -> int:
        """Dimension D of the vector that the formula computes (as KeOps has it; dim() counts the axes)."""
        return self._formula.dim

    @property
    def _vector_dim(self) -> int:
        return self._formula.dim

    @property
    def dtype(self) -> str | None:
        """'float16', 'float32', 'float64', 'complex64', 'complex128'; None before an array takes part."""
        return self._dtype

    @property
    def _shape(self) -> tuple[int, ...]:
        return (
            *(self.batchdims or ()),
            1 if self.ni is None else self.ni,
            1 if self.nj is None else self.nj,
            self._vector_dim,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """(..., M, N, D), without D where it is 1."""
        full = self._shape
        return full[:-1] if full[-1] == 1 else full

    @property
    def size(self) -> int:
        """Number of entries."""
        return math.prod(self._shape)

    def dim(self) -> int:
        """Number of axes, D counted always."""
        return len(self._shape)

    @property
    def nbatchdims(self) -> int:
        return 0 if self.batchdims is None else len(self.batchdims)

    @property
    def axis(self) -> int | None:
        """Of a variable: 0, 1 or 2; of a reduced LazyTensor: the axis that it folds."""
        if self._reduced is not None:
            return int(self._reduced.axis)
        return CATEGORY[self._args[0].place] if not self._formula.op and self._args else None

    @property
    def variables(self) -> tuple[Any, ...]:
        """The arrays, in the order of the formula."""
        return tuple([arg.value for arg in self._all_args() if arg.value is not None])

    @property
    def symbolic_variables(self) -> tuple[tuple[int, int, int], ...]:
        return tuple([(arg.index, arg.dim, CATEGORY[arg.place]) for arg in self._symbols()])

    def _all_args(self) -> tuple[Arg, ...]:
        return self._args if self._reduced is None else self._reduced.inputs

    def _symbols(self) -> list[Arg]:
        return sorted([arg for arg in self._all_args() if arg.value is None], key=lambda arg: arg.index)

    def _text(self, formula: Formula, env: tuple[int, ...] | None = None) -> str:
        symbolic = self._symbols()
        following = len(symbolic)
        names = []
        for arg in self._all_args():
            number = arg.index
            if arg.value is not None:
                number, following = following, following + 1
            names.append(f"Var({number},{arg.dim},{CATEGORY[arg.place]})")
        return formula.text(lambda k: names[k if env is None else env[k]])

    @property
    def formula(self) -> str:
        """The formula in KeOps's spelling, its variables numbered in order, symbolic ones first."""
        return self._text(self._formula)

    @property
    def formula2(self) -> str | None:
        """The weights' formula of a reduced LazyTensor."""
        r = self._reduced
        return None if r is None or r.weight is None else self._text(r.weight, r.weight_map)

    @property
    def reduction_op(self) -> str:
        if self._reduced is None:
            raise AttributeError("reduction_op: this LazyTensor is not reduced")
        return str(self._reduced.name)

    def __str__(self) -> str:
        lines = ["KeOps LazyTensor", f"    formula: {self.formula}"]
        if self.symbolic_variables:
            lines.append("    symbolic variables: " + ", ".join(f"Var{v}" for v in self.symbolic_variables))
        lines.append(f"    shape: {self.shape}")
        if self._reduced is not None:
            lines.append(f"    reduction: {self.reduction_op} (axis={self.axis})")
            if self._reduced.k:
                lines.append(f"        opt_arg: {self._reduced.k}")
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return _show.as_html(self)

    # ---- joining ----
    def _refuse_reduced(self) -> None:
        if self._reduced is not None:
            raise ValueError("Input is a 'reduced' LazyTensor, no operation can be applied to it.")

    def _lift(self, other: Any) -> GenericLazyTensor:
        """The other operand as a LazyTensor."""
        if isinstance(other, GenericLazyTensor):
            if other._reduced is not None:
                other._refuse_reduced()
            if other.tools is not self.tools:
                raise ValueError(f"a LazyTensor of {self.tools.name} and one of {other.tools.name} do not mix")
            return other
        lifted: GenericLazyTensor = self.real_class(other)
        return lifted

    def _like(self, cls: type[GenericLazyTensor] | None = None) -> Any:
        """A copy to be changed."""
        self._refuse_reduced()
        new = object.__new__(type(self) if cls is None else cls)
        new.__dict__.update(self.__dict__)
        return new

    def _join(self, other: GenericLazyTensor) -> tuple[Any, tuple[int, ...] | None]:
        """A copy of self with the arguments, sizes and options of both, and where other's variables are in it."""
        new = self._like()
        args, more = self._args, other._args
        if not more or more == args:
            where: tuple[int, ...] | None = None
        elif not args:
            new._args, where = more, None
        else:
            both, places = list(args), []
            for arg in more:
                if arg in both:
                    places.append(both.index(arg))
                else:
                    places.append(len(both))
                    both.append(arg)
            new._args, where = tuple(both), tuple(places)
        if other.ni is not None:
            if self.ni is not None and self.ni != other.ni:
                raise ShapeError(f"Incompatible values for attribute ni: {self.ni} and {other.ni} (rows along i)")
            new.ni = other.ni
        if other.nj is not None:
            if self.nj is not None and self.nj != other.nj:
                raise ShapeError(f"Incompatible values for attribute nj: {self.nj} and {other.nj} (rows along j)")
            new.nj = other.nj
        if other.batchdims is not None:
            new.batchdims = broadcast_batch(self.batchdims, other.batchdims)
        if other._dtype != self._dtype and _DTYPE_ORDER[other._dtype] > _DTYPE_ORDER[self._dtype]:
            new._dtype = other._dtype
        if other.ranges is not None:
            if (
                self.ranges is not None
                and self.ranges is not other.ranges
                and not same_ranges(self.ranges, other.ranges)
            ):
                raise ArgumentError("Incompatible values for attribute ranges")
            new.ranges = other.ranges
        if other._mask is not None:
            new._mask = other._mask if self._mask is None else self._mask & other._mask
        if other.backend is not None:
            if self.backend is not None and self.backend != other.backend:
                raise ArgumentError(f"Incompatible values for attribute backend: {self.backend} and {other.backend}")
            new.backend = other.backend
        return new, where

    def _unary(self, op: str, ints: tuple[int, ...] = (), cls: type[GenericLazyTensor] | None = None) -> Any:
        new = self._like(cls)
        f = self._formula
        new._formula = f.apply(op, ints, (), (), f.size)
        return new

    def _binary(
        self, op: str, other: GenericLazyTensor, ints: tuple[int, ...] = (), cls: type[GenericLazyTensor] | None = None
    ) -> Any:
        new, where = self._join(other)
        new._formula = self._formula.apply(op, ints, (other._formula,), (where,), len(new._args))
        if cls is not None and type(new) is not cls:
            new.__class__ = cls
        return new

    def _nary(self, op: str, others: tuple[Any, ...], ints: tuple[int, ...] = ()) -> Any:
        """The operation on self and others, numbers and arrays among them."""
        new: Any = self
        kids: list[Any] = []
        maps: list[Any] = []
        for other in others:
            other = self._lift(other)
            new, where = new._join(other)
            kids.append(other._formula)
            maps.append(where)
        new._formula = self._formula.apply(op, ints, tuple(kids), tuple(maps), len(new._args))
        return new

    def _op(self, op: str, other: Any, reverse: bool = False) -> Any:
        """A binary operation whose operand may be a number or an array; complex operands take over."""
        self._refuse_reduced()
        if not isinstance(other, (int, float)) and (hasattr(other, "_rmatmul") or hasattr(other, "_bind")):
            return NotImplemented  # an Operator, or a mask, knows how
        other = self._lift(other)
        if other.is_complex:
            return other._complex_op(op, self, not reverse)
        return other._binary(op, self, cls=type(self)) if reverse else self._binary(op, other)


def same_ranges(a: Any, b: Any) -> bool:
    """Whether two sextuples hold the same arrays."""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


# Operations become methods, with the table's words: self is the first operand, then come the others, then integers.
def _method(op: str, row: dict[str, Any]) -> Any:
    others, integers, doc = row["arity"] - 1, row["integers"], row["doc"]

    def method(self: Any, *operands: Any) -> Any:
        if len(operands) != others + integers:
            raise TypeError(f"{op}: {others} operands and {integers} integers are expected, found {len(operands)}")
        ints = tuple([_integer(n, op) for n in operands[others:]])
        return self._nary(op, operands[:others], ints) if others else self._unary(op, ints)

    method.__name__ = op
    method.__doc__ = f"{doc[0].upper()}{doc[1:]}, for each pair{' and component' if row['kind'] == 'map' else ''}."
    return method


# what is about variables, or has a method of another name
_NO_METHOD = ("complex", "grad", "diff_", "traceoperator", "adjointoperator", "sumlinoperator", "autofactorize", "dot")


def add_table_methods(cls: type, skip: frozenset[str]) -> None:
    """Gives the class a method for each operation of the table that it does not define itself."""
    for name, row in OPERATIONS.items():
        if row["arity"] > 0 and row["integers"] >= 0 and name not in skip and not name.startswith(_NO_METHOD):
            if not hasattr(cls, name):
                setattr(cls, name, _method(name, row))
