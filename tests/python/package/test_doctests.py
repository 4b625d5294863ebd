"""The examples in the docstrings."""
import doctest
import importlib
from dataclasses import is_dataclass

import pytest


@pytest.mark.parametrize(
    "name", ["benben", "benben._progress", "benben._show", "benben.masks", "benben.neighbors", "benben.operators", "benben.sklearn",
             "benben.solvers", "benben.numpy._genred",
             "benben.numpy._lazytensor", "benben.numpy.cluster"]
)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


@pytest.mark.parametrize("name", ["benben", "benben.numpy", "benben.masks", "benben.neighbors", "benben.operators", "benben.sklearn",
                                  "benben.numpy.cluster"])
def test_every_public_name_has_one(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None) or [n for n, v in vars(module).items() if not n.startswith("_") and callable(v)
                                                  and getattr(v, "__module__", "") == name]
    assert public
    for item in public:
        value = getattr(module, item)
        if callable(value) and not (isinstance(value, type) and (issubclass(value, (Exception, tuple)) or is_dataclass(value))):
            assert ">>> " in (value.__doc__ or ""), item
        elif isinstance(value, type):
            assert value.__doc__, item
