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
