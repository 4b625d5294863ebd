"""How the program of an operation is made, in words that json keeps: the text and aliases of a formula, or the code,
signature and outputs of a LazyTensor's plan. See `Op.key` in _ops.py."""

from __future__ import annotations

from typing import Any

from .. import _core

SELECTIONS = frozenset(["min", "max", "kmin"])


def program(recipe: Any) -> Any:
    kind, *rest = recipe
    if kind == "parse":
        text, aliases = rest
        return _core.parse(text, tuple(aliases))
    code, signature, outputs = rest
    return _core.build([tuples(c) for c in code], tuples(signature), tuples(outputs))


def paired(recipe: Any) -> Any:
    """The recipe of a selection with its indices; None for what is none."""
    kind, *rest = recipe
    if kind == "parse":
        text, aliases = rest
        name = text.split("(")[0].rpartition("_")[0]
        return (kind, f"{name}_arg{text}", aliases) if name in SELECTIONS else None
    code, signature, outputs = rest
    (name, *how), *others = outputs
    if others or name not in SELECTIONS:
        return None
    return kind, code, signature, ((name, *how), ("arg" + name, *how))


def tuples(x: Any) -> Any:
    return tuple([tuples(item) for item in x]) if isinstance(x, (list, tuple)) else x
