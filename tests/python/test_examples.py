"""The examples run at small size, leave a picture and its numbers, and the numbers are right; the scripts of the talk give
what dense NumPy gives."""
import json
import os
import pathlib
import runpy
import subprocess
import sys

import numpy as np
import pytest
from under_test import ROOT, SITE

EXAMPLES = ROOT / "examples"
pytestmark = pytest.mark.full

# example -> what must hold of its numbers
RIGHT = {
    "lazytensors": lambda n: n["error"] < 1e-14 and n["points"] == 120 ** 2,
    "kmeans": lambda n: n["Euclidean distance"] < 0.1 and n["Manhattan distance"] < 0.4,
    "neighbours": lambda n: n["right with 3"] > 0.97 and n["right with 1"] > 0.97,
    "interpolation_1d": lambda n: all(n[f"{k} error"] < 0.02 and n[f"{k} residual"] < 1e-4 for k in ("Gaussian", "Laplacian")),
    "interpolation_2d": lambda n: n["gaussian error"] < 0.12 and n["laplacian error"] < 0.12,
    "spectral": lambda n: abs(n["eigenvalue 0"] - 1) < 1e-10 and n["residual"] < 1e-8 and n["eigenvalue 4"] < 0.999,
    "boundary_element": lambda n: n["converged"] and abs(n["capacitance"] - 0.66068) < 5e-4,
    "sums_products_blocks": lambda n: n["missed"] < 2e-3 and n["residual"] < 1e-7 and n["largest"] > 1e5,
    "smoothing": lambda n: n["error"] < 1e-9 and n["slope error"] < 1e-5 and n["noise left"] < 40,
    "anisotropic": lambda n: n["error"] < 1e-12,
    "block_sparse": lambda n: n["error"] < 1e-5 and 0.01 < n["share"] < 0.2,
}


def test_every_example_is_tested():
    scripts = {p.stem for p in EXAMPLES.glob("*.py")} - {"common", "terrain"}
    assert scripts == set(RIGHT)
    assert {p.name for p in (EXAMPLES / "talk").glob("numpy_*.py")} == {f"numpy_{name}.py" for name in TALK}


def check_results(name, folder):
    numbers = json.loads((folder / f"{name}.json").read_text())
    assert RIGHT[name](numbers), numbers
    picture = (folder / f"{name}.png").read_bytes()
    assert picture[:8] == b"\x89PNG\r\n\x1a\n" and len(picture) > 20000


def run(name, folder):
    done = subprocess.run([sys.executable, EXAMPLES / f"{name}.py", "--output", folder], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": SITE}, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.gallery
@pytest.mark.parametrize("name", RIGHT)
def test_example(name, tmp_path):
    gallery = os.environ.get("BENBEN_GALLERY")
    if not gallery:
        run(name, tmp_path)
    check_results(name, pathlib.Path(gallery or tmp_path))


def test_examples_are_programs(tmp_path):
    run("lazytensors", tmp_path)
    check_results("lazytensors", tmp_path)


# ---- the talk
def sqdist(x, y):
    return ((x[:, None] - y[None]) ** 2).sum(-1)


def metrics(v):
    x, y = v["x"][:, 0], v["y"][0]
    assert (v["indices_i"][:, 0] == sqdist(x, y).argmin(1)).all()
    d = sqdist(x, x)
    dense = {"Euclidean": d, "Manhattan": np.abs(x[:, None] - x).sum(-1), "cosine": 1 - x @ x.T,
             "hyperbolic": d / (x[:, :1] * x[:, 0])}
    for name, matrix in dense.items():
        assert (v["neighbours"][name] == np.argsort(matrix, 1)[:, 1]).all(), name


def interpolation_1d(v):
    K = np.exp(-sqdist(v["x"], v["x"]) / (2 * v["sigma"] ** 2))
    exact = np.linalg.solve(K + v["alpha"] * np.eye(len(K)), v["b"])
    np.testing.assert_allclose(v["a"], exact, atol=1e-4)
    np.testing.assert_allclose(v["mean_t"], np.exp(-sqdist(v["t"], v["x"]) / (2 * v["sigma"] ** 2)) @ exact, atol=1e-4)


def interpolation_2d(v):
    K = np.exp(-np.sqrt(sqdist(v["x"], v["x"])) / 0.1)
    exact = np.linalg.solve(K + v["alpha"] * np.eye(len(K)), v["b"])
    np.testing.assert_allclose(v["a"], exact, atol=1e-4)
    mean = np.exp(-np.sqrt(sqdist(v["t"], v["x"])) / 0.1) @ exact
    np.testing.assert_allclose(v["mean_t"].reshape(-1, 1), mean, atol=1e-4)


def spectral(v):
    K = np.exp(-sqdist(v["x"], v["x"]) / 2)
    np.testing.assert_allclose(v["convolution"][:, 0], K.sum(1), rtol=1e-12)
    np.testing.assert_allclose(np.sort(v["eigenvalues"]), np.linalg.eigvalsh(K)[-5:], rtol=1e-9)
    np.testing.assert_allclose(K @ v["eigenvectors"], v["eigenvectors"] * v["eigenvalues"], atol=1e-7)


def gradient(v):
    assert v["F"].shape == (4000, 1) and v["F_grad_y"].shape == (3000, 1)  # the script asserts the values


TALK = {"metrics": metrics, "interpolation_1d": interpolation_1d, "interpolation_2d": interpolation_2d,
        "spectral": spectral, "gradient": gradient}


@pytest.mark.parametrize("name", TALK)
def test_talk(name, monkeypatch):
    monkeypatch.syspath_prepend(SITE)
    np.random.seed(0)
    TALK[name](runpy.run_path(str(EXAMPLES / "talk" / f"numpy_{name}.py")))
