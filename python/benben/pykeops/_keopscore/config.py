"""keopscore.config."""

from __future__ import annotations

from ..config import get_build_folder, pykeops_base, pykeops_cuda, pykeops_openmp

__all__ = ["get_build_folder", "pykeops_base", "pykeops_cuda", "pykeops_openmp"]
