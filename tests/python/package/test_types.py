"""Types: of the package and of a program that uses it, as mypy --strict reads them."""
import pathlib
import runpy
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.mark.full
def test_mypy():
    cache = ROOT / "build" / "mypy"
    run = subprocess.run([sys.executable, "-m", "mypy", "--strict", f"--cache-dir={cache}"], cwd=ROOT, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_example_runs(capsys):
    runpy.run_path(str(ROOT / "tests" / "python" / "typed" / "example.py"), run_name="__main__")
    assert "Incompatible values for attribute ni" in capsys.readouterr().out
