"""Every code block of README.md and of docs/ is run, and prints what the page says that it prints."""
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from documentation import blocks, commands, run_page, same
from under_test import ROOT, SITE

BUILD = pathlib.Path(os.environ.get("BENBEN_BUILD", ROOT / "build"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in PAGES if blocks(page)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Benben installed under a prefix of its own."""
    subprocess.run([ROOT / "tools" / "require.sh", "package", "pkg-config", "pkg-config"], check=True)
    prefix = tmp_path_factory.mktemp("prefix")
    cmake = shutil.which("cmake") or str(ROOT / ".venv" / "bin" / "cmake")
    subprocess.run([cmake, "--install", str(BUILD), "--prefix", str(prefix)], check=True, capture_output=True)
    return prefix


@pytest.fixture
def folder(tmp_path):
    """A folder that looks like the source tree from inside, so that pages may say build/benben and make."""
    for path in ROOT.iterdir():
        if path.name not in (".git", "__pycache__", ".pytest_cache", ".hypothesis"):
            (tmp_path / path.name).symlink_to(path)
    tutorial = ROOT / "cmake" / "tutorial.cmake"
    cmake = shutil.which("cmake") or str(ROOT / ".venv" / "bin" / "cmake")
    subprocess.run([cmake, f"-DINPUT={ROOT}/include/benben.h", f"-DOUTPUT={tmp_path}/program.c", "-P", str(tutorial)],
                   check=True, capture_output=True)
    return tmp_path


@pytest.mark.full
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_page(page, folder, installed):
    if any("benben.torch" in block.text or "import torch" in block.text for block in blocks(page)):
        pytest.importorskip("torch", reason="the page needs PyTorch")
    libraries = next(path.parent for path in installed.rglob("libbenben.so*"))
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(installed / "bin"), str(pathlib.Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": SITE, "PKG_CONFIG_PATH": str(libraries / "pkgconfig"), "LD_LIBRARY_PATH": str(libraries),
        "MPLBACKEND": "Agg", "BENBEN_TEST_CFLAGS": f"-I{installed}/include",
    }
    assert run_page(page, folder, environment) > 0


def test_the_runner_sees_differences():
    assert same("a 1.00001\nb", "a 1\nb") and same("x\ny\nz 2", "...\nz 2.0")
    assert not same("a 1.1", "a 1") and not same("a", "b") and not same("a\nb", "a") and not same("a", "a\nb")
    assert commands("$ python3 -c \"\nprint(1)\"\n1\n$ true\n") == [('python3 -c "\nprint(1)"', "1\n"), ("true", "")]
