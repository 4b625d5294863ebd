"""pykeops.common.get_options."""

from __future__ import annotations

from typing import Any

from ..._options import check_backend


def get_tag_backend(backend: str, variables: Any, str: bool = False) -> Any:
    """What computes: (0, 0, 0) or, with str, 'CPU'. ValueError for a backend that does not exist here."""
    check_backend(backend)
    return "CPU" if str else (0, 0, 0)
