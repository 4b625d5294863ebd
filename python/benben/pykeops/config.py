"""What pykeops.config tells."""

from __future__ import annotations

import importlib.util
import os

from .. import _core

gpu_available = False
numpy_found = True
torch_found = importlib.util.find_spec("torch") is not None


def get_build_folder() -> str:
    """The folder of the cache of kernels."""
    folder = os.environ.get("BENBEN_CACHE_DIR") or _core.cache_info()[0]
    return str(folder or "")


def pykeops_nvrtc_name(type: str = "src") -> str:
    """pykeops's file names; Benben has one extension, benben._core."""
    return os.path.basename(str(_core.__file__))


def pykeops_cpp_name(tag: str = "", extension: str = "") -> str:
    """pykeops's file names; Benben has one extension, benben._core."""
    return os.path.basename(str(_core.__file__))


class _Base:
    """The questions that programs ask pykeops's configuration."""

    get_build_folder = staticmethod(get_build_folder)

    def get_cxx_compiler(self) -> str | None:
        """None: the compiler of C that is used is told by benben.doctor()."""
        return os.environ.get("BENBEN_CC")

    def get_use_cuda(self) -> bool:
        return gpu_available

    def get_use_OpenMP(self) -> bool:
        """Benben has threads of its own, as many as BENBEN_THREADS says."""
        return False


pykeops_base = pykeops_cuda = pykeops_openmp = _Base()
