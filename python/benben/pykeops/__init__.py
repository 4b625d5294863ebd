"""The module tree of pykeops, over Benben: thin re-exports.

`benben.install_as_pykeops()` makes `import pykeops` (and what of keopscore users touch) resolve to it;
`python -m benben.pykeops script.py ...` runs a program that way.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

from .. import _core
from . import config

__version__ = "2.3"
default_device_id = 0
show_cuda_status = False
verbose = os.environ.get("PYKEOPS_VERBOSE", "1") not in ("0", "False", "false")


def set_verbose(val: bool) -> None:
    """Benben prints nothing while it works; the flag silences the self tests."""
    global verbose
    verbose = bool(val)


def clean_pykeops(recompile_jit_binaries: bool = True) -> None:
    """Empties the cache of kernels, where there is one."""
    if os.environ.get("BENBEN_CACHE") != "0":
        _core.cache_clear()


def set_build_folder(path: str | None = None) -> None:
    """The folder of the cache of kernels; None: the default one."""
    if path is None:
        os.environ.pop("BENBEN_CACHE_DIR", None)
    else:
        os.makedirs(path, mode=0o700, exist_ok=True)
        os.environ["BENBEN_CACHE_DIR"] = os.fspath(path)


get_build_folder = config.get_build_folder


def check_health() -> None:
    """Prints what was found on this machine."""
    print(_core.doctor())


def test_numpy_bindings() -> None:
    """Runs a small formula on NumPy arrays."""
    from .numpy import test_install

    test_install.test_numpy_bindings()


test_numpy_bindings.__test__ = False  # type: ignore[attr-defined]


def test_torch_bindings() -> None:
    """Runs a small formula on PyTorch tensors."""
    importlib.import_module("benben.pykeops.torch.test_install").test_torch_bindings()


test_torch_bindings.__test__ = False  # type: ignore[attr-defined]


def __getattr__(name: str) -> Any:
    if name in ("common", "numpy", "torch"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
