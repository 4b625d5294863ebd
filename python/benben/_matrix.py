"""LazyTensors as matrices: products with arrays and operators, systems of equations."""

from __future__ import annotations

from typing import Any

from . import _options
from ._errors import ArgumentError, ShapeError
from ._formula import PLACE_I, PLACE_J
from ._generic import solve
from ._reduce import AXIS_I, AXIS_J, Reduction, broadcast_batch, make_plan


class MatrixMethods:
    """Mixin of GenericLazyTensor."""

    # ---- products ----
    def __matmul__(self: Any, v: Any, **keywords: Any) -> Any:
        """The product with an array (N,), (N, E) or (..., N, E): sum_j K_ij v_j. With a LazyTensor or an operator:
        their composition, as an operator."""
        if self._formula.dim != (2 if self.is_complex else 1):
            raise ValueError(
                f"K @ v: the entries of K have dimension {self._shape[-1]}, expected 1; for vectors use "
                "matvecmult and sum"
            )
        if not self.tools.is_array(v):
            if hasattr(v, "_formula") or hasattr(v, "matvec") or not hasattr(v, "__len__"):
                return self._compose(v)
            v = self.tools.as_array(v, "K @ v")
        flat = len(v.shape) == 1
        if flat:
            v = v[:, None]
        if self._mask is not None:
            return self._masked_matmul(v, flat, keywords)
        product = self * self.real_class._along(v, PLACE_J, "K @ v")
        product._reduced = Reduction("Sum", "sum", 1, 0, product._args, None, None, keywords)
        product._reduced.squeeze = flat
        return product if any(arg.value is None for arg in product._args) else product._run({})

    def dot(self: Any, v: Any) -> Any:
        """self @ v, by NumPy's name."""
        return self @ v

    def _compose(self: Any, other: Any) -> Any:
        from . import operators

        if not operators.is_operator(other):
            raise TypeError(
                f"K @ v: expected an array of {self.tools.name}, a LazyTensor or an operator, found "
                f"{type(other).__module__}.{type(other).__qualname__}"
            )
        return operators.compose(self, other)

    def __rmatmul__(self: Any, v: Any) -> Any:
        """v @ K for an array (M,) or (..., E, M)."""
        if not self.tools.is_array(v):
            if not isinstance(v, (list, tuple)) and not hasattr(v, "to_numpy"):
                return NotImplemented
            v = self.tools.as_array(v, "v @ K")
        if len(v.shape) == 1:
            return self.T @ v
        return self.tools.swap_last(self.T @ self.tools.swap_last(v))

    def matvec(self: Any, v: Any) -> Any:
        """self @ v: SciPy's protocol of linear operators."""
        return self @ v

    def rmatvec(self: Any, v: Any) -> Any:
        """The (conjugate) transpose times v."""
        return self.T.conj() @ v

    matmat, rmatmat = matvec, rmatvec

    # ---- systems ----
    def solve(self: Any, other: Any, var: Any = None, call: bool = True, **keywords: Any) -> Any:
        """The solution a of sum_j K_ij a_j + alpha a_i = other_i by conjugate gradients; K is symmetric and positive.

        other: an array (M, E), or Vi of one. var: where self is a formula linear in the symbolic variable var, that
        variable; else the formula is self * a. Keywords: alpha=1e-10, eps=1e-6 (mean square of the residual), and those
        of reductions; precondition='auto' ('rpcholesky', 'nystrom', 'blocks', None: pykeops's plain iteration),
        method='auto' ('cg', 'minres'), max_iterations, rank, memory, seed. benben.numpy.solve tells more of its result.
        """
        self._refuse_reduced()
        if self._mask is not None:
            return self._solvable().solve(other, var, call, **keywords)
        if not hasattr(other, "_formula"):
            other = self.real_class._along(other, PLACE_I, "solve(other)")
        if other._formula.op or len(other._args) != 1 or other._args[0].place not in (PLACE_I, PLACE_J):
            raise ValueError("solve: the right-hand side is an array, Vi(array) or a symbolic variable")
        batch = broadcast_batch(self.batchdims, other.batchdims)
        if batch != other.batchdims and other.variables:  # one right-hand side for all matrices
            value = other.variables[0]
            other = self.real_class._along(
                self.tools.broadcast(value, (*batch, *value.shape[-2:])), other._args[0].place
            )
        b = other._args[0]
        if var is None:
            if self.ni is not None and self.nj is not None and self.ni != self.nj:
                raise ShapeError(f"solve: the matrix has {self.ni} rows and {self.nj} columns; expected a square one")
            placed = other._like()
            placed.ni, placed.nj = other.nj, other.ni
            unknown = type(b)(b.value, PLACE_J if b.place == PLACE_I else PLACE_I, b.dim, b.index)
            placed._set(unknown)
            product = self * placed
        else:
            unknown = _variable_of(var, self._args)
            product = self._like()
            if other.ni is not None or other.nj is not None:
                product.ni = product.ni if product.ni is not None else product.nj
        if product.is_complex:
            raise ValueError("solve: complex systems are not supported")
        axis = 1 if unknown.place == PLACE_J else 0
        r = Reduction("Solve", "sum", axis, 0, product._args, None, None, keywords)
        r.solve_for = (unknown, b)
        if keywords:
            _options.split(keywords, _options.COMPILE, _options.CALL, _options.SOLVE)
        product._reduced = r
        symbolic = b.value is None or any(arg.value is None for arg in product._args if arg is not unknown)
        return product if not call or symbolic else product._run({})

    def _solve_plan(self: Any, keywords: dict[str, Any]) -> tuple[Any, ...]:
        """(kernel, arrays, position of the unknown among them, ranges, other keywords of the call, of the solver)"""
        r = self._reduced
        compiled, call, own = _options.split(
            {**r.keywords, **keywords}, _options.COMPILE, _options.CALL, _options.SOLVE
        )
        accuracy = _options.accuracy(
            "sum",
            compiled.get("dtype_acc", "auto"),
            compiled.get("use_double_acc", False),
            compiled.get("sum_scheme", "auto"),
        )
        _options.check_backend(call.get("backend") or self.backend or "auto")
        unknown, b = r.solve_for
        args = r.args
        key = (self.tools, "sum", AXIS_J if r.axis == 1 else AXIS_I, None, None, 0, accuracy)
        f = self._formula
        plan = f.plan(key) or f.keep(key, make_plan, tuple([(arg.place, arg.dim) for arg in args]))
        at = args.index(unknown)
        values = tuple([b.value if arg is unknown else arg.value for arg in args])
        ranges = call.get("ranges")
        ranges = self.ranges if ranges is None else ranges
        return plan.kernel, values, at, self.tools.ranges(ranges), call, own

    def _run_solve(self: Any, keywords: dict[str, Any]) -> Any:
        kernel, values, at, ranges, call, own = self._solve_plan(keywords)
        alpha, eps = own.pop("alpha", 1e-10), own.pop("eps", 1e-6)
        result = solve(self.tools, kernel, values, at, alpha, eps, ranges, call.get("progress"), **own)
        out = call.get("out")
        return result if out is None else self.tools.store(result, out)


def _variable_of(var: Any, args: tuple[Any, ...]) -> Any:
    found = var._args[0] if getattr(var, "_args", None) and not var._formula.op else None
    if found is None or found not in args:
        raise ArgumentError("var is not a variable of the formula")
    return found
