"""Operations for each pair (i, j): operators and named functions. Operands may be LazyTensors, numbers, lists, 1D
arrays; their dimensions are equal, or one of them is 1. What needs nothing but the operation's name is added from the
library's table by _lazy.add_table_methods."""

from __future__ import annotations

import operator
from typing import Any

from . import _formula
from ._errors import ShapeError


def _is(x: Any, number: int) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and x == number


class PointwiseMethods:
    """Mixin of GenericLazyTensor."""

    _formula: _formula.Formula

    # ---- arithmetic ----
    def __add__(self: Any, other: Any) -> Any:
        return self if _is(other, 0) else self._op("add", other)

    def __radd__(self: Any, other: Any) -> Any:
        return self if _is(other, 0) else self._op("add", other, True)

    def __sub__(self: Any, other: Any) -> Any:
        return self if _is(other, 0) else self._op("sub", other)

    def __rsub__(self: Any, other: Any) -> Any:
        return -self if _is(other, 0) else self._op("sub", other, True)

    def __mul__(self: Any, other: Any) -> Any:
        if isinstance(other, (int, float)):
            if other == 1:
                return self
            if other == -1:
                return -self
        return self._op("mul", other)

    def __rmul__(self: Any, other: Any) -> Any:
        if isinstance(other, (int, float)):
            if other == 1:
                return self
            if other == -1:
                return -self
        return self._op("mul", other, True)

    def __truediv__(self: Any, other: Any) -> Any:
        return self if _is(other, 1) else self._op("div", other)

    def __rtruediv__(self: Any, other: Any) -> Any:
        return self._unary("inv") if _is(other, 1) else self._op("div", other, True)

    def __neg__(self: Any) -> Any:
        return self._unary("neg")

    def __pos__(self: Any) -> Any:
        return self

    def __abs__(self: Any) -> Any:
        return self._unary("abs")

    def abs(self: Any) -> Any:
        """Absolute value."""
        return abs(self)

    def __pow__(self: Any, other: Any) -> Any:
        """Integers are multiplied out; 0.5 and -0.5 are square roots; other numbers, lists, arrays and LazyTensors
        are real exponents (of a base >= 0)."""
        if isinstance(other, bool):
            raise ValueError("the exponent is a boolean: expected a number or a LazyTensor")
        if isinstance(other, int):
            return self._unary("square") if other == 2 else self._unary("pow", (operator.index(other),))
        if isinstance(other, float):
            if other == 0.5:
                return self._unary("sqrt")
            if other == -0.5:
                return self._unary("rsqrt")
        elif isinstance(other, (str, bytes)) or other is None:
            raise ValueError(f"the exponent is {other!r}: expected a number or a LazyTensor")
        return self._op("powf", other)

    def __rpow__(self: Any, other: Any) -> Any:
        if _is(other, 2):
            return self._unary("exp2")
        return self._op("powf", other, True)

    def power(self: Any, other: Any) -> Any:
        """self ** other."""
        return self**other

    def __floordiv__(self: Any, other: Any) -> Any:
        return self._op("div", other)._unary("floor")

    def __rfloordiv__(self: Any, other: Any) -> Any:
        return self._op("div", other, True)._unary("floor")

    def __mod__(self: Any, other: Any) -> Any:
        return self.mod(other)

    def __rmod__(self: Any, other: Any) -> Any:
        return self._lift(other).mod(self)

    def __divmod__(self: Any, other: Any) -> Any:
        return self // other, self % other

    def __rdivmod__(self: Any, other: Any) -> Any:
        return other // self, other % self

    def mod(self: Any, modulus: Any, offset: Any = 0) -> Any:
        """self - modulus floor((self - offset) / modulus)."""
        return self._nary("mod", (modulus, offset))

    # ---- comparisons and logic: 0 or 1 ----
    def __lt__(self: Any, other: Any) -> Any:
        return self._op("lt", other)

    def __le__(self: Any, other: Any) -> Any:
        return self._op("le", other)

    def __gt__(self: Any, other: Any) -> Any:
        return self._op("gt", other)

    def __ge__(self: Any, other: Any) -> Any:
        return self._op("ge", other)

    def __eq__(self: Any, other: object) -> Any:
        return self._op("eq", other)

    def __ne__(self: Any, other: object) -> Any:
        return self._op("ne", other)

    def __or__(self: Any, other: Any) -> Any:
        """Between comparisons: logical or. Otherwise the scalar product (x | y) of vectors of equal dimension."""
        self._refuse_reduced()
        if hasattr(other, "_bind"):
            return NotImplemented  # a mask
        logical = self.tools.is_boolean(other)
        other = self._lift(other)
        if self._formula.boolean and (logical or other._formula.boolean):
            return self._binary("logical_or", other)
        if self._formula.dim != other._formula.dim:
            raise ShapeError(
                f"(x | y): the operands have dimensions {self._formula.dim} and {other._formula.dim}; "
                "they must be equal"
            )
        return self._op("dot", other)

    def __ror__(self: Any, other: Any) -> Any:
        return self | other  # both meanings are symmetric

    def __and__(self: Any, other: Any) -> Any:
        """1 where both are not 0."""
        return self._op("logical_and", other)

    def __rand__(self: Any, other: Any) -> Any:
        return self._op("logical_and", other, True)

    def __xor__(self: Any, other: Any) -> Any:
        """1 where exactly one is not 0."""
        return self._op("logical_xor", other)

    def __rxor__(self: Any, other: Any) -> Any:
        return self._op("logical_xor", other, True)

    def __invert__(self: Any) -> Any:
        """1 where self is 0."""
        return self._unary("logical_not")

    def ifelse(self: Any, a: Any, b: Any) -> Any:
        """a where self >= 0, else b."""
        return self._nary("ifelse", (a, b))

    def where(self: Any, a: Any, b: Any) -> Any:
        """a where self is not 0, else b: (D < 1).where(a, b)."""
        return self._nary("where", (a, b))

    def minimum(self: Any, other: Any) -> Any:
        """The smaller of two; NaN if one of them is."""
        return self._op("minimum", other)

    def maximum(self: Any, other: Any) -> Any:
        """The larger of two; NaN if one of them is."""
        return self._op("maximum", other)

    def hypot(self: Any, other: Any) -> Any:
        """sqrt(self^2 + other^2) without overflow."""
        return self._op("hypot", other)

    def atan2(self: Any, other: Any) -> Any:
        """The angle of the point (other, self)."""
        return self._op("atan2", other)

    def clamp(self: Any, a: Any, b: Any) -> Any:
        """a where self < a, b where self > b, else self."""
        if isinstance(a, int) and isinstance(b, int):
            return self._unary("clampint", (a, b))
        return self._nary("clamp", (a, b))

    def clip(self: Any, a: Any, b: Any) -> Any:
        """clamp, by NumPy's name; None leaves that side open."""
        low = self if a is None else self.maximum(a)
        return low if b is None else low.minimum(b)

    def round(self: Any, d: int = 0) -> Any:
        """Rounded to d decimals, ties to even."""
        return self._unary("round", (_integer(d, "round"),))

    def __round__(self: Any, d: int | None = None) -> Any:
        return self.round(d or 0)

    def isclose(self: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8) -> Any:
        """1 where |self - other| <= atol + rtol |other|, else 0."""
        other = self._lift(other)
        return abs(self - other) <= atol + rtol * abs(other)

    # ---- norms ----
    def norm(self: Any, dim: int | None = None, axis: int | None = None) -> Any:
        """Euclidean norm of the vector of each pair; of the matrix's columns or rows with axis 0 or 1 (counted behind
        the batches)."""
        axis = dim if axis is None else axis
        if axis is None or self._kind_of_axis(axis) == "D":
            return self._unary("norm2")
        return self.tools.sqrt(self._unary("square").sum(axis=axis))

    def sqdist(self: Any, other: Any) -> Any:
        """|self - other|^2."""
        return self._op("sqdist", other)

    def weightedsqnorm(self: Any, s: Any) -> Any:
        """s |self|^2, sum_k s_k self_k^2 or self^T S self, as s has 1, D or D^2 components."""
        return self._lift(s)._op("weightedsqnorm", self)

    def weightedsqdist(self: Any, g: Any, s: Any) -> Any:
        """(self - g).weightedsqnorm(s)."""
        return (self - self._lift(g)).weightedsqnorm(s)

    def difference_matrix(self: Any, g: Any) -> Any:
        """The matrix self_k - g_l, row by row."""
        return self._op("differencematrix", g)

    def softdtw_sqdist(self: Any, g: Any, gamma: Any) -> Any:
        """Soft dynamic time warping between two sequences, with squared differences."""
        return self._nary("softdtw_sqdist", (g, gamma))

    # ---- vectors ----
    def elem(self: Any, i: int) -> Any:
        """Component i."""
        i = _integer(i, "elem")
        if not 0 <= i < self._formula.dim:
            raise ShapeError(f"elem: component {i} of a vector of dimension {self._formula.dim}")
        return self._unary("slice", (i, 1, 1))

    def extract(self: Any, i: int, d: int) -> Any:
        """Components i, ..., i + d - 1."""
        i, d = _integer(i, "extract"), _integer(d, "extract")
        if i < 0 or d < 1 or i + d > self._formula.dim:
            raise ShapeError(f"extract: components {i}, ..., {i + d - 1} of a vector of dimension {self._formula.dim}")
        return self._unary("slice", (i, d, 1))

    def one_hot(self: Any, D: int) -> Any:
        """The vector of dimension D with 1 at the integer nearest to self, else 0."""
        if self._formula.dim != 1:
            raise ShapeError(f"one_hot: a scalar is expected, found dimension {self._formula.dim}")
        return self._unary("onehot", (_integer(D, "one_hot"),))

    def bspline(self: Any, x: Any, k: int = 0) -> Any:
        """The B-splines of degree k on the knots self, at x."""
        return self._nary("bspline", (x,), (_integer(k, "bspline"),))

    def concat(self: Any, other: Any) -> Any:
        """The components of self, then those of other."""
        return self._op("concat", other)

    @staticmethod
    def concatenate(tuple_of_lt: Any, axis: int = -1) -> Any:
        """The components of several LazyTensors in a row; along the last axis."""
        items = list(tuple_of_lt)
        first = next((item for item in items if isinstance(item, PointwiseMethods)), None)
        if first is None or len(items) < 1:
            raise ValueError("concatenate: a sequence of LazyTensors is expected")
        result = first._lift(items[0])  # type: ignore[attr-defined]
        if axis not in (-1, result.dim() - 1):
            raise ValueError(f"concatenate: axis={axis}, but only the last axis (-1) can be joined")
        for item in items[1:]:
            result = result.concat(item)
        return result

    @staticmethod
    def cat(tuple_of_lt: Any, dim: int = -1) -> Any:
        """concatenate, by torch's name."""
        return PointwiseMethods.concatenate(tuple_of_lt, dim)

    # ---- matrices and tensors, flattened row by row ----
    def matvecmult(self: Any, other: Any) -> Any:
        """The matrix self times the vector other."""
        return self._op("matvecmult", other)

    def vecmatmult(self: Any, other: Any) -> Any:
        """The vector self times the matrix other."""
        return self._op("vecmatmult", other)

    def tensorprod(self: Any, other: Any) -> Any:
        """The matrix self_k other_l."""
        return self._op("tensorprod", other)

    def keops_tensordot(
        self: Any, other: Any, dimfa: Any, dimfb: Any, contfa: Any, contfb: Any, *permutation: Any
    ) -> Any:
        """numpy.tensordot of self, a tensor of the shape dimfa, and other, of the shape dimfb, over the axes contfa
        and contfb; permutation: of the axes that are left."""
        lists = [dimfa, dimfb, contfa, contfb, *[p for p in permutation if p is not None]]
        return self._nary("tensordot", (other,), _lists(lists, "keops_tensordot"))

    def keops_kron(self: Any, other: Any, dimfa: Any, dimfb: Any) -> Any:
        """numpy.kron of tensors of the shapes dimfa and dimfb."""
        return self._nary("kron", (other,), _lists([dimfa, dimfb], "keops_kron"))

    # ---- derivatives for each pair ----
    def grad(self: Any, other: Any, gradin: Any) -> Any:
        """(d self / d other)^T gradin; other is a variable: Vi(...), Vj(...), Pm(...)."""
        return self._nary("grad", (_variable(other), gradin))

    def diff(self: Any, other: Any, diffin: Any) -> Any:
        """(d self / d other) diffin."""
        return self._nary("diff", (_variable(other), diffin))

    def grad_matrix(self: Any, other: Any) -> Any:
        """Transposed Jacobian matrix, row by row."""
        return self._nary("gradmatrix", (_variable(other),))

    def divergence(self: Any, other: Any) -> Any:
        """Divergence in the variable other."""
        return self._nary("divergence", (_variable(other),))

    def laplacian(self: Any, other: Any) -> Any:
        """Laplacian in the variable other."""
        return self._nary("laplacian", (_variable(other),))

    def trace_operator(self: Any, other: Any) -> Any:
        """Trace of self, linear in the variable other."""
        return self._nary("traceoperator", (_variable(other),))

    def factorize(self: Any, other: Any) -> Any:
        """self: common subexpressions are shared always."""
        return self._like()

    def auto_factorize(self: Any) -> Any:
        """self: common subexpressions are shared always."""
        return self._like()

    # ---- to complex ----
    def real2complex(self: Any) -> Any:
        """self + 0 i."""
        return self._unary("real2complex", cls=self.complex_class)

    def imag2complex(self: Any) -> Any:
        """0 + self i."""
        return self._unary("imag2complex", cls=self.complex_class)

    def exp1j(self: Any) -> Any:
        """exp(i self)."""
        return self._unary("complexexp1j", cls=self.complex_class)

    @property
    def real(self: Any) -> Any:
        return self

    @property
    def imag(self: Any) -> Any:
        return self * self._lift(0)

    def conj(self: Any) -> Any:
        """self: a real LazyTensor."""
        return self


def _integer(n: Any, what: str) -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise ValueError(f"{what}: expected an integer, found {n!r}")
    return operator.index(n)


def _lists(lists: list[Any], what: str) -> tuple[int, ...]:
    out: list[int] = []
    for items in lists:
        items = (items,) if hasattr(items, "__index__") else tuple(items)
        out += [len(items), *[_integer(n, what) for n in items]]
    return tuple(out)


def _variable(other: Any) -> Any:
    formula = getattr(other, "_formula", None)
    if formula is None or formula.op:
        raise ValueError("the derivative is with respect to a variable: a LazyTensor made of one array by Vi, Vj or Pm")
    return other
