"""Benben: symbolic matrices F(x_i, y_j) that are never stored: differentiated, compiled and reduced at run time.

benben.numpy has LazyTensors and Genred for NumPy arrays, benben.torch the same, differentiable, for PyTorch tensors.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import _core as _core
from ._devices import Device, devices
from ._errors import (
    ArgumentError,
    CancelledError,
    CompilerError,
    ConvergenceError,
    ConvergenceWarning,
    DeviceError,
    DtypeError,
    Error,
    FormulaError,
    NotDifferentiableError,
    RangesError,
    ShapeError,
    UnknownNameError,
)
from ._progress import progress
from ._show import doctor, show

__version__: str = _core.version
__all__ = [
    "ArgumentError",
    "CancelledError",
    "CompilerError",
    "ConvergenceError",
    "ConvergenceWarning",
    "Device",
    "DeviceError",
    "DtypeError",
    "Error",
    "FormulaError",
    "NotDifferentiableError",
    "RangesError",
    "ShapeError",
    "UnknownNameError",
    "__version__",
    "devices",
    "doctor",
    "install_as_pykeops",
    "progress",
    "show",
]


def install_as_pykeops() -> None:
    """From now on `import pykeops`, everything under it, and `import keopscore` give Benben. RuntimeError where they
    have been imported already.

    >>> import benben
    >>> benben.install_as_pykeops()
    >>> from pykeops.numpy import LazyTensor
    >>> LazyTensor is benben.numpy.LazyTensor
    True
    """
    from .pykeops import _alias

    _alias.install()


def __getattr__(name: str) -> Any:
    if name in ("masks", "neighbors", "numpy", "operators", "pykeops", "sklearn", "solvers", "torch"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
