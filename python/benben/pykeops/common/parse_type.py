"""pykeops.common.parse_type."""

from __future__ import annotations

from typing import Any

from ..._generic import read_alias


def get_type(type_str: str, position_in_list: int | None = None) -> tuple[str, int, int, int | None]:
    """(name, category, dimension, position) of a declaration such as 'x = Vi(3)'."""
    alias = read_alias(type_str)
    return alias.name, alias.category, alias.dim, position_in_list if alias.position is None else alias.position


def get_sizes(aliases: list[str], *args: Any) -> tuple[int, int]:
    """(M, N): rows of the variables along i and along j, 1 where there is none."""
    sizes = [1, 1]
    for k, text in enumerate(aliases):
        alias = read_alias(text)
        if alias.category < 2:
            sizes[alias.category] = args[k if alias.position is None else alias.position].shape[-2]
    return sizes[0], sizes[1]
