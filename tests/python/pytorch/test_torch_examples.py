"""The worked examples for PyTorch, at small size: each checks itself, and leaves a picture with its numbers."""
import json
import os
import pathlib
import subprocess
import sys

import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
EXAMPLES = pathlib.Path(__file__).resolve().parents[3] / "examples"
SCRIPTS = sorted(p for p in EXAMPLES.glob("torch/*.py") if p.name != "setting.py")
TALK = sorted(EXAMPLES.glob("talk/torch_*.py"))
assert SCRIPTS and TALK


def run(script, output):
    import benben

    environment = dict(os.environ, BENBEN_EXAMPLES=str(output), PYTHONPATH=str(pathlib.Path(benben.__file__).parents[1]))
    environment["MPLBACKEND"] = "Agg"
    environment.pop("BENBEN_FULL", None)
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning:__main__", str(script)], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_results(script, folder):
    assert (folder / f"{script.stem}.png").stat().st_size > 20_000
    numbers = json.loads((folder / f"{script.stem}.json").read_text())
    assert numbers and all(value == value for value in numbers.values())


@pytest.mark.gallery
@pytest.mark.full
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_example(script, tmp_path):
    gallery = os.environ.get("BENBEN_GALLERY")
    if not gallery:
        run(script, tmp_path)
    if "from setting import" in script.read_text():  # others leave their pictures to the gallery
        check_results(script, pathlib.Path(gallery or tmp_path))
    elif gallery:
        page = pathlib.Path(gallery).parent / "source" / "gallery" / "torch" / f"{script.stem}.rst"
        assert "image-sg" in page.read_text() or "sphx-glr-script-out" in page.read_text()


@pytest.mark.full
def test_examples_are_programs(tmp_path):
    script = EXAMPLES / "torch" / "textures.py"
    run(script, tmp_path)
    check_results(script, tmp_path)


@pytest.mark.full
@pytest.mark.parametrize("script", TALK, ids=lambda p: p.stem)
def test_talk(script, tmp_path):
    assert run(script, tmp_path)
    if script.stem == "torch_hamiltonian":
        assert (tmp_path / "graph_dense.png").stat().st_size > 5_000
