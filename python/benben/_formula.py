"""Formulas: what a LazyTensor computes for a pair (i, j), without the arrays.

A formula is an interned node of a DAG whose variables are numbered 0, 1, ... in the order in which they are met; the
arrays stand beside it, in the LazyTensor. The same steps on other arrays therefore give the *same object*, and what
was compiled for it is found by an attribute: a second call costs a few dictionary look-ups. Where two formulas meet,
a tuple says which variable of the whole each operand's variable is.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

from . import _core

PLACE_P, PLACE_I, PLACE_J = 0, 1, 2
CATEGORY = {PLACE_I: 0, PLACE_J: 1, PLACE_P: 2}  # KeOps's numbers for Vi, Vj, Pm
PLACE_OF_CATEGORY = {0: PLACE_I, 1: PLACE_J, 2: PLACE_P}

# 0 or 1: what `&` and `|` take as logical
BOOLEAN = frozenset(
    [
        "lt",
        "le",
        "gt",
        "ge",
        "eq",
        "ne",
        "logical_and",
        "logical_or",
        "logical_xor",
        "logical_not",
        "isnan",
        "isinf",
        "isfinite",
    ]
)
_INFIX = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "dot": "|",
    "lt": "<",
    "le": "<=",
    "gt": ">",
    "ge": ">=",
    "eq": "==",
    "ne": "!=",
}
OPERATIONS: dict[str, dict[str, Any]] = {row["name"]: row for row in _core.operations()}
REDUCTIONS: dict[str, dict[str, Any]] = {row["name"]: row for row in _core.reductions()}
BY_ALIAS = {row["alias"]: row["name"] for row in REDUCTIONS.values() if row["alias"]}

Maps = tuple["tuple[int, ...] | None", ...]
_LIMIT = 20000  # formulas kept; beyond, the table is emptied (what is alive stays valid)
_interned: dict[Any, Formula] = {}
_dims: dict[Any, int] = {}


class Formula:
    """A node: a variable, a number, or an operation on other formulas.

    op: name in the table of operations, "" for a variable (place, dim), "number" (value).
    kids, maps: operands, and for each which variable of this formula its variables are (None: the same numbers).
    size: number of variables.
    """

    __slots__ = ("op", "ints", "kids", "maps", "size", "dim", "boolean", "value", "place", "plans", "__weakref__")

    def __init__(
        self, op: str, ints: tuple[int, ...], kids: tuple[Formula, ...], maps: Maps, size: int, dim: int
    ) -> None:
        self.op, self.ints, self.kids, self.maps, self.size, self.dim = op, ints, kids, maps, size, dim
        self.boolean: bool = op in BOOLEAN or (op in ("slice", "stop") and kids[0].boolean)
        self.value, self.place = 0.0, PLACE_P
        self.plans: dict[Any, Any] = {}

    def __reduce__(self) -> Any:
        """Pickled as the steps that made it: loaded, it is the interned one again."""
        if not self.op:
            return variable, (self.place, self.dim)
        if self.op == "number":
            return number, (self.value,)
        return apply, (self.op, self.ints, self.kids, self.maps, self.size)

    # ---- making others: methods, because a compiler of Python (torch.compile) takes what methods of constants give for
    # a constant
    def apply(self, op: str, ints: tuple[int, ...], others: tuple[Formula, ...], maps: Maps, size: int) -> Formula:
        """The operation on this formula, whose variables keep their numbers, and others."""
        return apply(op, ints, (self, *others), (None, *maps), size)

    def variable(self, place: int, dim: int) -> Formula:
        return variable(place, dim)

    def number(self, value: float) -> Formula:
        return number(value)

    def replaced(self, places: tuple[int, int, int]) -> Formula:
        return replaced(self, places)

    def plan(self, key: Any) -> Any:
        """What was compiled for it, or None."""
        return self.plans.get(key)

    def keep(self, key: Any, make: Callable[[Formula, Any, Any], Any], signature: Any) -> Any:
        """Compiles, and keeps the result."""
        found = self.plans[key] = make(self, key, signature)
        return found

    # ---- text
    def text(self, variable: Callable[[int], str] | None = None) -> str:
        """The formula in KeOps's spelling; variable(k) names variable k."""

        def leaf(node: Formula, env: tuple[int, ...]) -> str:
            return f"Var({env[0]},{node.dim},{CATEGORY[node.place]})" if variable is None else variable(env[0])

        return str(walk(self, leaf, _node_text))

    def __repr__(self) -> str:
        return f"<Formula {self.text()}>"


def _node_text(node: Formula, kids: list[str]) -> str:
    op, ints = node.op, node.ints
    if op == "number":
        return f"IntCst({int(node.value)})" if node.value == int(node.value) else repr(node.value)
    if op in _INFIX:
        return f"({kids[0]} {_INFIX[op]} {kids[1]})"
    if op == "slice" and ints[2] == 1:
        return f"Elem({kids[0]},{ints[0]})" if ints[1] == 1 else f"Extract({kids[0]},{ints[0]},{ints[1]})"
    name = OPERATIONS[op]["alias"] or op
    extra = [str(k) for k in ints]
    if op == "tensordot" or op == "kron":
        extra = _lists(ints)
    return f"{name}({','.join(kids + extra)})"


def _lists(ints: tuple[int, ...]) -> list[str]:
    """Integer lists as bb_apply takes them: each preceded by its length."""
    out, k = [], 0
    while k < len(ints):
        out.append("[" + ",".join(map(str, ints[k + 1 : k + 1 + ints[k]])) + "]")
        k += 1 + ints[k]
    return out


# ---- making ----
def _intern(key: Any, node: Formula) -> Formula:
    if len(_interned) > _LIMIT:
        _interned.clear()
    _interned[key] = node
    return node


def variable(place: int, dim: int) -> Formula:
    """The variable number 0 of a formula of its own."""
    key = ("", place, dim)
    node = _interned.get(key)
    if node is None:
        if dim < 1:
            raise ValueError(f"a variable has dimension {dim}; expected 1 or more")
        node = Formula("", (), (), (), 1, dim)
        node.place = place
        _intern(key, node)
    return node


def number(value: float) -> Formula:
    """A number that is part of the formula."""
    key = ("number", float(value))
    node = _interned.get(key)
    if node is None:
        node = Formula("number", (), (), (), 0, 1)
        node.value = float(value)
        _intern(key, node)
    return node


ONE = number(1)


def unpickled(text: bytes) -> Formula:
    """A formula from its pickle."""
    return pickle.loads(text)  # type: ignore[no-any-return]


def dimension(op: str, dims: tuple[int, ...], ints: tuple[int, ...]) -> int:
    """Dimension of the result of an operation; raises where the operands do not fit."""
    key = (op, dims, ints)
    found = _dims.get(key)
    if found is None:
        if len(_dims) > _LIMIT:
            _dims.clear()
        found = _dims[key] = _core.dim(op, dims, ints)
    return found


def apply(op: str, ints: tuple[int, ...], kids: tuple[Formula, ...], maps: Maps, size: int) -> Formula:
    """The operation on formulas whose variables are, through maps, among `size`."""
    key = (op, ints, kids, maps)
    node = _interned.get(key)
    if node is None:
        node = Formula(op, ints, kids, maps, size, dimension(op, tuple(kid.dim for kid in kids), ints))
        _intern(key, node)
    return node


# ---- walking ----
def walk(
    root: Formula,
    leaf: Callable[[Formula, tuple[int, ...]], Any],
    join: Callable[[Formula, list[Any]], Any],
    env: tuple[int, ...] | None = None,
) -> Any:
    """Folds the DAG from its leaves, each node (with its numbering) once, without recursion: leaf(variable, env),
    join(node, values of the operands)."""
    start = (root, tuple(range(root.size)) if env is None else env)
    done: dict[Any, Any] = {}
    stack = [start]
    while stack:
        item = stack[-1]
        if item in done:
            stack.pop()
            continue
        node, numbers = item
        if not node.op:
            done[item] = leaf(node, numbers)
            stack.pop()
            continue
        below = [
            (kid, numbers if m is None else tuple([numbers[k] for k in m]))
            for kid, m in zip(node.kids, node.maps, strict=True)
        ]
        below = [(kid, e[: kid.size]) for kid, e in below]
        missing = [b for b in below if b not in done]
        if missing:
            stack.extend(missing)
            continue
        done[item] = join(node, [done[b] for b in below])
        stack.pop()
    return done[start]


def instructions(root: Formula, code: list[Any], env: tuple[int, ...] | None = None) -> int:
    """Appends what _core.build reads; returns the number of the root's instruction."""

    def leaf(node: Formula, numbers: tuple[int, ...]) -> int:
        code.append(numbers[0])
        return len(code) - 1

    def join(node: Formula, kids: list[int]) -> int:
        code.append(node.value if node.op == "number" else (node.op, tuple(kids), node.ints))
        return len(code) - 1

    return int(walk(root, leaf, join, env))


# ---- other placements ----
def replaced(root: Formula, places: tuple[int, int, int]) -> Formula:
    """The formula whose variables stand elsewhere: places[p] instead of p (PLACE_P, PLACE_I, PLACE_J)."""
    found = root.plans.get(places)
    if found is not None:
        return found  # type: ignore[no-any-return]
    done: dict[Formula, Formula] = {}
    stack = [root]
    while stack:
        node = stack[-1]
        missing = [kid for kid in node.kids if kid not in done]
        if node in done or missing:
            stack.pop() if node in done else stack.extend(missing)
            continue
        if not node.op:
            done[node] = variable(places[node.place], node.dim)
        elif node.kids:
            done[node] = apply(node.op, node.ints, tuple([done[kid] for kid in node.kids]), node.maps, node.size)
        else:
            done[node] = node
        stack.pop()
    root.plans[places] = done[root]
    return done[root]
