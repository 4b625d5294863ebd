"""Two copies of the library in one process, as an extension module and a shared library are: what one has loaded must
not serve the other."""
import importlib.util
import shutil

import bb
import numpy as np
import pytest

RNG = np.random.default_rng(3)
X, Y = RNG.uniform(0, 1, (9, 3)), RNG.uniform(0, 1, (11, 3))
FORMULAS = {
    "sum_j(cos(x | y) + 3)": lambda s: (np.cos(s) + 3).sum(1, keepdims=True),
    "sum_j(sin(x | y) * 5)": lambda s: (np.sin(s) * 5).sum(1, keepdims=True),
    "sum_j(atan(x | y) - 7)": lambda s: (np.arctan(s) - 7).sum(1, keepdims=True),
    "sum_j(sinh(x | y) + 2)": lambda s: (np.sinh(s) + 2).sum(1, keepdims=True),
}


@pytest.fixture
def copy(tmp_path, monkeypatch):
    shutil.copy(bb.LIBRARY, tmp_path / bb.LIBRARY.name)
    monkeypatch.setenv("BENBEN_BUILD", str(tmp_path))
    spec = importlib.util.spec_from_file_location("bb_copy", bb.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.LIBRARY != bb.LIBRARY
    return module


def test_kernels_of_two_copies_are_not_confused(copy, monkeypatch):
    monkeypatch.setenv("BENBEN_BUILTIN", "0")
    formulas = list(FORMULAS.items())
    for k in range(2 * len(formulas)):  # from both sides, whatever had been loaded before
        text, expected = formulas[(k + k // len(formulas)) % len(formulas)]
        module = (bb, copy)[k % 2]
        found = module.parse(text, "x:i3", "y:j3").compile(target="cpu")(X, Y)
        np.testing.assert_allclose(found, expected(X @ Y.T), rtol=1e-12)
