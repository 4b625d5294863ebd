"""The examples in the docstrings."""
import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "name", ["benben", "benben._progress", "benben._show", "benben.masks", "benben.neighbors", "benben.operators", "benben.sklearn",
             "benben.solvers", "benben.numpy._genred",
             "benben.numpy._lazytensor", "benben.numpy.cluster"]
)
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed
