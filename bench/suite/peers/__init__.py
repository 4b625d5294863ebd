"""The systems that are compared. Each module has forms(name, case, data, rows): a list of (how, function)
pairs, of which the fastest is timed; a function returns the result for the first rows. An empty list: not expressible.
"""
from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Callable
from typing import Any

from .. import cases

Form = tuple[str, Callable[[], Any]]
MODULES = {"benben": "benben", "interp": "benben", "hand": "native", "plain": "native", "numpy": "arrays",
           "numba": "numba", "jax": "jax", "torch": "torch", "compile": "torch", "pykeops": "pykeops",
           "faiss": "neighbours", "sklearn": "neighbours", "ckdtree": "neighbours", "scipy": "solvers",
           "taichi": "taichi"}
TITLES = {"benben": "Benben", "interp": "Benben, interpreted", "hand": "by hand", "plain": "plain C", "numpy": "NumPy",
          "numba": "Numba", "jax": "JAX", "torch": "PyTorch", "compile": "torch.compile", "pykeops": "pykeops",
          "faiss": "FAISS", "sklearn": "scikit-learn", "ckdtree": "cKDTree", "scipy": "SciPy", "taichi": "Taichi"}
_missing: dict[str, str] = {}


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    """[] where the system is missing or cannot express the case."""
    module = MODULES[name]
    if module in _missing:
        return []
    try:
        loaded = importlib.import_module(f".{module}", __name__)
    except ImportError as error:
        _missing[module] = str(error)
        return []
    return loaded.forms(name, case, data, rows)


def missing() -> dict[str, str]:
    return dict(_missing)


def part(data: cases.Arrays, rows: int) -> cases.Arrays:
    """The first rows of what is placed at i."""
    return {k: v[:rows] if k in ("x", "e", "v", "pi") else v for k, v in data.items()}


def settle() -> None:
    """Caches and threads, before anything is imported."""
    root = os.environ.setdefault("BENBEN_BENCH_CACHE", os.path.join(os.getcwd(), "build", "bench"))
    os.environ.setdefault("KEOPS_CACHE_FOLDER", os.path.join(root, "keops"))
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(root, "inductor"))
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    os.environ.setdefault("KEOPS_VERBOSE", "0")
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
        flags = info.read()  # old copies of OpenBLAS (that in FAISS) take a processor they do not know for a Pentium 4
        core = "SkylakeX" if "avx512f" in flags else "Haswell" if "avx2" in flags else ""
        if core:
            os.environ.setdefault("OPENBLAS_CORETYPE", core)
