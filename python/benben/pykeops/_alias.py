"""import pykeops, import keopscore: a finder that answers with Benben's modules, the same objects under two names."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

_NAMES = {"pykeops": "benben.pykeops", "keopscore": "benben.pykeops._keopscore"}


def _target(name: str) -> str | None:
    top, _, rest = name.partition(".")
    return None if top not in _NAMES else _NAMES[top] + ("." + rest if rest else "")


class _Loader(importlib.abc.Loader):
    def __init__(self, target: str) -> None:
        self.target = target

    def create_module(self, spec: Any) -> ModuleType:
        module = importlib.import_module(self.target)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self.spec  # it is itself, under another name


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        found = _target(fullname)
        if found is None:
            return None
        try:
            if importlib.util.find_spec(found) is None:
                return None
        except ModuleNotFoundError:
            return None
        return importlib.machinery.ModuleSpec(fullname, _Loader(found), is_package=True)


_finder = _Finder()


def install() -> None:
    """From now on `import pykeops` and `import keopscore` give Benben."""
    if _finder in sys.meta_path:
        return
    for name in _NAMES:
        loaded = sys.modules.get(name)
        if loaded is not None and not loaded.__name__.startswith("benben."):
            raise RuntimeError(
                f"install_as_pykeops: {name} has been imported already (from {getattr(loaded, '__file__', '?')}): call "
                "it before the first import"
            )
    sys.meta_path.insert(0, _finder)
