"""The tree of pykeops: its names, the alias, running programs, clusters and utilities."""
import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

import benben
from benben.numpy import LazyTensor, Vi, Vj, cluster

PROGRAM = """
import sys, numpy as np
import pykeops, keopscore
import pykeops.numpy as pn
from pykeops.numpy import LazyTensor, Vi, Vj, Pm, Genred, KernelSolve, generic_sum, ComplexLazyTensor
from pykeops.numpy.lazytensor.LazyTensor import Var
from pykeops.numpy.cluster import grid_cluster, from_matrix, sort_clusters, cluster_ranges_centroids, swap_axes
from pykeops.numpy.utils import squared_distances, WarmUpGpu, np_kernel, numpytools
from pykeops.numpy.operations import KernelSolve
from pykeops.common.lazy_tensor import GenericLazyTensor, ComplexGenericLazyTensor
from pykeops.common.gpu_utils import get_gpu_number
from pykeops.common.utils import axis2cat
import pykeops.config
from pykeops import set_verbose, clean_pykeops, get_build_folder, set_build_folder, check_health
assert pykeops.config.gpu_available is False and get_gpu_number() == 0 and keopscore.auto_factorize is False
assert isinstance(LazyTensor(2.0), GenericLazyTensor) and pykeops.__version__
WarmUpGpu()
x = np.arange(6.).reshape(3, 2)
assert np.allclose((Vi(x) | Vj(x)).sum(axis=1)[:, 0], (x @ x.T).sum(1))
pykeops.test_numpy_bindings()
clean_pykeops()
folder = sys.argv[1]
set_build_folder(folder)
assert get_build_folder() == folder
try:
    import pykeops.nothing
except ModuleNotFoundError:
    pass
else:
    raise AssertionError
print(sys.argv[1:], __name__)
"""


def run(*arguments, **keywords):
    site = benben.__file__.rsplit("/benben/", 1)[0]
    import os
    environment = {**os.environ, "PYTHONPATH": site, "PYTHONWARNINGS": "error"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, **keywords)


def test_a_program_runs_unchanged(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    folder = str(tmp_path / "cache")
    for arguments in [(str(script), folder), ("-c", PROGRAM, folder)]:
        done = run("-m", "benben.pykeops", *arguments)
        assert done.returncode == 0, done.stderr
        assert "working!" in done.stdout and f"['{folder}'] __main__" in done.stdout
    (tmp_path / "module.py").write_text("import pykeops\nprint(pykeops.__name__, __name__)")
    done = run("-m", "benben.pykeops", "-m", "module", cwd=tmp_path)
    assert done.stdout.split() == ["benben.pykeops", "__main__"], done.stderr
    assert run("-m", "benben.pykeops").returncode == 2


def test_the_alias_is_refused_after_an_import(tmp_path):
    (tmp_path / "pykeops.py").write_text("")
    done = run("-c", "import sys; sys.path.insert(0, sys.argv[1]); import pykeops, benben; benben.install_as_pykeops()",
               str(tmp_path))
    assert "imported already" in done.stderr


def test_import_is_light():
    code = ("import sys, time, numpy; t = time.perf_counter(); import benben, benben.numpy; "
            "print('torch' in sys.modules, 'scipy' in sys.modules, 'subprocess' in sys.modules)")
    assert run("-c", code).stdout.split() == ["False"] * 3


@pytest.mark.parametrize("dim", [1, 2, 3, 5])
def test_clusters(dim):
    r = np.random.default_rng(dim)
    x = r.normal(size=(200, dim))
    w = r.uniform(0.5, 1, 200)
    labels = cluster.grid_cluster(x, 0.7)
    cubes = np.floor(x / 0.7)
    assert labels.shape == (200,) and labels.min() == 0 and labels.max() == len(np.unique(cubes, axis=0)) - 1
    assert ((labels[:, None] == labels) == (cubes[:, None] == cubes).all(-1)).all()
    ranges, centroids, weights = cluster.cluster_ranges_centroids(x, labels)
    assert ranges.dtype == np.int64 and (weights == np.bincount(labels)).all()
    (xs, ws), sorted_labels = cluster.sort_clusters((x, w), labels)
    assert (np.diff(sorted_labels) >= 0).all()
    for c, (begin, end) in enumerate(ranges):
        assert (sorted_labels[begin:end] == c).all()
        np.testing.assert_allclose(centroids[c], xs[begin:end].mean(0))
    _, weighted, total = cluster.cluster_ranges_centroids(x, labels, weights=w)
    np.testing.assert_allclose(weighted, [(ws[b:e, None] * xs[b:e]).sum(0) / ws[b:e].sum() for b, e in ranges])
    np.testing.assert_allclose(total, [ws[b:e].sum() for b, e in ranges])
    keep = ((centroids[:, None] - centroids) ** 2).sum(-1) < 2
    mask = keep[sorted_labels[:, None], sorted_labels]
    K = (-((Vi(xs) - Vj(xs)) ** 2).sum(-1)).exp()
    K.ranges = cluster.from_matrix(ranges, ranges, keep)
    dense = np.exp(-((xs[:, None] - xs) ** 2).sum(-1)) * mask
    np.testing.assert_allclose(K @ ws, dense @ ws)
    np.testing.assert_allclose(K.T @ ws, dense.T @ ws)
    assert cluster.swap_axes(None) is None and cluster.swap_axes(K.ranges)[0] is K.ranges[3]


def test_bad_clusters():
    for bad in [lambda: cluster.grid_cluster(np.zeros(3), 1), lambda: cluster.grid_cluster(np.zeros((3, 2)), 0),
                lambda: cluster.from_matrix(np.zeros((2, 2)), np.zeros((2, 2)), np.ones((3, 2)))]:
        with pytest.raises(ValueError):
            bad()
    assert cluster.grid_cluster(np.zeros((0, 2)), 1).shape == (0,)


def test_utilities():
    from benben.numpy import utils
    r = np.random.default_rng(3)
    x, y, p = r.normal(size=(6, 3)), r.normal(size=(5, 3)), r.normal(size=(5, 2))
    q = r.normal(size=(6, 2))
    assert utils.differences(x, y).shape == (3, 6, 5)
    for kernel in ("gaussian", "laplacian", "cauchy", "inverse_multiquadric"):
        np.testing.assert_allclose(np.log(utils.np_kernel(x, y, 0.7, kernel)), utils.log_np_kernel(x, y, 0.7, kernel), atol=1e-12)
        h = 1e-6  # the gradient of sum q_i k_ij p_j in x
        step = np.zeros_like(x)
        step[2, 1] = h
        energy = [(q * (utils.np_kernel(x + s, y, 0.7, kernel) @ p)).sum() for s in (step, -step)]
        grad = utils.chain_rules(q, x, y, utils.grad_np_kernel(x, y, 0.7, kernel), p)
        np.testing.assert_allclose(grad[2, 1], (energy[0] - energy[1]) / (2 * h), rtol=1e-5)
    for kernel in ("linear", "binet", "gaussian_oriented", "gaussian_unoriented"):
        assert utils.np_kernel_sphere(x, y, 1, kernel).shape == (6, 5)
    np.testing.assert_allclose(utils.log_sum_exp(x, 1), np.log(np.exp(x).sum(1)))
    with pytest.raises(ValueError, match="unknown"):
        utils.np_kernel(x, y, 1, "sinc")


def test_pickles_and_copies():
    r = np.random.default_rng(3)
    x, y = r.normal(size=(6, 3)), r.normal(size=(5, 3))
    K = (-((Vi(x) - Vj(y)) ** 2).sum(-1) / 0.3).exp()
    for other in (pickle.loads(pickle.dumps(K)), copy.copy(K), copy.deepcopy(K)):
        np.testing.assert_array_equal(other.sum(1), K.sum(1))
        assert other._formula is K._formula
    later = pickle.loads(pickle.dumps((Vi(0, 3) | Vj(y)).sum(1)))
    np.testing.assert_allclose(later(x), (x @ y.T).sum(1)[:, None])
    z = pickle.loads(pickle.dumps(LazyTensor(1j * x[:, None])))
    assert z.is_complex and z.dtype == "complex128"
