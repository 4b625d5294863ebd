"""keopscore.utils.misc_utils."""

from __future__ import annotations

from typing import NoReturn


def KeOps_Error(message: str, show_line_number: bool = True) -> NoReturn:
    """Raises a ValueError."""
    raise ValueError(f"[KeOps] Error : {message}")


def KeOps_Warning(message: str) -> None:
    """Prints a warning."""
    print(f"[KeOps] Warning : {message}")
