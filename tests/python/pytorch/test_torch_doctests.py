"""The examples in the docstrings; what importing does."""
import doctest
import importlib
import pathlib
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch")
import benben  # noqa: E402

SITE = str(pathlib.Path(benben.__file__).parents[1])


@pytest.mark.parametrize("name", ["benben.torch._genred", "benben.torch._lazytensor", "benben.torch.cluster",
                                  "benben.torch.solvers"])
def test_examples(name):
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted and not found.failed


def run(code):
    subprocess.run([sys.executable, "-c", f"import sys; sys.path.insert(0, {SITE!r}); {code}"], check=True)


def test_importing_benben_does_not_import_torch():
    run("import benben, benben.numpy, benben.operators; assert 'torch' not in sys.modules")


def test_importing_starts_no_device():
    run("import benben.torch, torch; assert not torch.cuda.is_initialized()")
