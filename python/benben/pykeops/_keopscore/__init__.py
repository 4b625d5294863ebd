"""What of keopscore users touch."""

from __future__ import annotations

from .. import __version__, check_health, set_build_folder, set_verbose, show_cuda_status
from .. import clean_pykeops as clean_keops
from ..config import get_build_folder

auto_factorize = False
verbose = False
cuda_block_size = 192

__all__ = [
    "__version__",
    "auto_factorize",
    "check_health",
    "clean_keops",
    "cuda_block_size",
    "get_build_folder",
    "set_build_folder",
    "set_verbose",
    "show_cuda_status",
    "verbose",
]
