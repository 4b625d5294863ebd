"""Complex LazyTensors: vectors of complex numbers, stored as (re, im) pairs of components."""

from __future__ import annotations

from typing import Any, ClassVar

from ._errors import ShapeError
from ._formula import PLACE_P
from ._lazy import Arg, GenericLazyTensor

_OPERATION = {"add": "complexadd", "sub": "complexsubtract", "mul": "complexmult", "div": "complexdivide"}


class ComplexGenericLazyTensor(GenericLazyTensor):
    """A symbolic matrix of complex vectors; made by LazyTensor of a complex array or number."""

    is_complex: ClassVar[bool] = True

    def __init__(self, x: Any = None, axis: int | None = None, is_complex: bool = True) -> None:
        if isinstance(x, (int, float, complex)) and not isinstance(x, bool):
            super().__init__(1.0)
            self._set(Arg((float(x.real), float(x.imag)), PLACE_P, 2))
        else:
            super().__init__(x, axis)

    def _from_list(self, x: list[Any]) -> None:
        numbers = [complex(n) for n in x]
        self._set(Arg(tuple([part for n in numbers for part in (n.real, n.imag)]), PLACE_P, 2 * len(numbers)))

    def _place_array(self, x: Any, place: int) -> None:
        super()._place_array(self.tools.as_real(x), place)

    @property
    def _vector_dim(self) -> int:
        return self._formula.dim // 2

    @property
    def dtype(self) -> str | None:
        return None if self._dtype is None else {"float32": "complex64", "float64": "complex128"}.get(self._dtype)

    # ---- arithmetic ----
    def _op(self, op: str, other: Any, reverse: bool = False) -> Any:
        self._refuse_reduced()
        if not isinstance(other, (int, float)) and hasattr(other, "_rmatmul"):
            return NotImplemented
        return self._complex_op(op, self._lift(other), reverse)

    def _complex_op(self, op: str, other: Any, other_first: bool) -> Any:
        """other (op) self or self (op) other; a real operand is promoted."""
        if op in ("eq", "ne"):
            both = (self.real._op("eq", other.real)) & (self.imag._op("eq", other.imag))
            return both if op == "eq" else ~both
        if op not in _OPERATION:
            raise ValueError(f"{op} of complex LazyTensors is not defined")
        if other.is_complex:
            a, b = (other, self) if other_first else (self, other)
            return a._binary(_OPERATION[op], b)
        if op == "mul" and (other._formula.dim == 1 or other._formula.dim == self._vector_dim or self._vector_dim == 1):
            return self._scaled(other)
        if op == "div" and not other_first:
            return self._scaled(other._unary("inv"))
        promoted = other.real2complex()
        return promoted._binary(_OPERATION[op], self) if other_first else self._binary(_OPERATION[op], promoted)

    def _scaled(self, other: Any) -> Any:
        """A real factor."""
        if other._formula.dim == 1 or other._formula.dim == self._vector_dim == 1:
            return other._binary("complexrealscal", self, cls=self.complex_class)
        return self._binary("complexmult", other.real2complex())

    def __pow__(self, other: Any) -> Any:
        if isinstance(other, int) and not isinstance(other, bool) and other >= 0:
            result: Any = 1
            for _ in range(other):
                result = self if isinstance(result, int) else result * self
            return self._lift(1.0 + 0j) if isinstance(result, int) else result
        raise ValueError("powers of complex LazyTensors: integer exponents >= 0")

    def __rpow__(self, other: Any) -> Any:
        raise ValueError("a complex LazyTensor cannot be an exponent; use exp")

    def __rtruediv__(self, other: Any) -> Any:
        return self._op("div", other, True)

    def __neg__(self) -> Any:
        return self._unary("neg")

    def __or__(self, other: Any) -> Any:
        """The sum of products of components, without conjugation."""
        return (self * other).sum(-1)

    def __ror__(self, other: Any) -> Any:
        return self | other

    def __abs__(self) -> Any:
        return self._unary("complexabs", cls=self.real_class)

    def abs(self) -> Any:
        """Modulus: a real LazyTensor."""
        return abs(self)

    def angle(self) -> Any:
        """Argument: a real LazyTensor."""
        return self._unary("complexangle", cls=self.real_class)

    def conj(self) -> Any:
        """Complex conjugate."""
        return self._unary("conj")

    def exp(self) -> Any:
        """Exponential."""
        return self._unary("complexexp")

    def square(self) -> Any:
        """self * self."""
        return self * self

    def sqnorm2(self) -> Any:
        """Sum of the squared moduli: a real LazyTensor."""
        return self._unary("complexsquareabs", cls=self.real_class)._unary("sum")

    @property
    def real(self) -> Any:
        """Real part."""
        return self._unary("complexreal", cls=self.real_class)

    @property
    def imag(self) -> Any:
        """Imaginary part."""
        return self._unary("compleximag", cls=self.real_class)

    def real2complex(self) -> Any:
        raise ValueError("real2complex: the LazyTensor is complex already")

    def imag2complex(self) -> Any:
        raise ValueError("imag2complex: the LazyTensor is complex already")

    def exp1j(self) -> Any:
        raise ValueError("exp1j: a real LazyTensor is expected; use (1j * z).exp()")

    # ---- sums and components ----
    def sum(self, axis: Any = -1, dim: Any = None, **keywords: Any) -> Any:
        """The sum over i or j (a complex array), over the components (the default) or over a tuple of axes."""
        axis = axis if dim is None else dim
        if keywords and "keepdims" in keywords:
            keep = keywords.pop("keepdims")
            return self._kept(self.sum(axis, **keywords), axis, keep)
        if axis is not None and not isinstance(axis, tuple) and self._kind_of_axis(axis) == "D":
            return self._unary("complexsum")
        return super().sum(axis, **keywords)

    def reduction(self, reduction_op: str, *args: Any, **keywords: Any) -> Any:
        if reduction_op not in ("Sum", "sum", "mean", "Mean"):
            raise ValueError(f"{reduction_op}: complex numbers can be summed only; take abs(), real or imag first")
        return super().reduction(reduction_op, *args, **keywords)

    def _part(self, start: int, count: int, step: int) -> Any:
        if step != 1:
            raise ValueError("a step is not supported in the components of complex vectors")
        return self._unary("slice", (2 * start, 2 * count, 1))

    def elem(self, i: int) -> Any:
        """Component i."""
        if not 0 <= i < self._vector_dim:
            raise ShapeError(f"elem: component {i} of a vector of dimension {self._vector_dim}")
        return self._part(i, 1, 1)

    def extract(self, i: int, d: int) -> Any:
        """Components i, ..., i + d - 1."""
        if i < 0 or d < 1 or i + d > self._vector_dim:
            raise ShapeError(f"extract: components {i}, ..., {i + d - 1} of a vector of dimension {self._vector_dim}")
        return self._part(i, d, 1)

    def mean(self, axis: Any = -1, **keywords: Any) -> Any:
        """The mean over an axis."""
        if axis is not None and not isinstance(axis, tuple) and self._kind_of_axis(axis) == "D":
            return self.sum(-1) / self._vector_dim
        return super().mean(axis, **keywords)


# what exists for real numbers only; everything else elementwise is refused by name
_REFUSED = [
    "log",
    "sqrt",
    "rsqrt",
    "sin",
    "cos",
    "relu",
    "sign",
    "step",
    "floor",
    "round",
    "norm2",
    "normalize",
    "clamp",
    "mod",
    "tanh",
    "min",
    "max",
    "argmin",
    "argmax",
    "Kmin",
    "argKmin",
    "logsumexp",
    "var",
    "std",
    "prod",
    "softmax",
    "sqdist",
]


def _refuse(name: str) -> Any:
    def method(self: Any, *args: Any, **keywords: Any) -> Any:
        raise ValueError(f"{name} is not defined for complex LazyTensors; take abs(), real or imag first")

    method.__name__ = name
    return method


for _name in _REFUSED:
    setattr(ComplexGenericLazyTensor, _name, _refuse(_name))
