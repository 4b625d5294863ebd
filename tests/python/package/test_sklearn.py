"""Kernels, neighbours and estimators beside those of scikit-learn."""
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from sklearn import cluster, decomposition, kernel_ridge, model_selection, neighbors, pipeline, preprocessing, svm
from sklearn.base import clone
from sklearn.metrics import pairwise
from sklearn.utils.estimator_checks import estimator_checks_generator

from benben.numpy import LazyTensor
from benben.sklearn import Kernel, KernelPCA, KernelRidge, NearestNeighbors

R = np.random.default_rng(0)
X, Y = R.random((60, 3)), R.random((40, 3))


@pytest.mark.parametrize("name", ["linear", "polynomial", "poly", "rbf", "laplacian", "sigmoid", "cosine", "chi2", "additive_chi2"])
@pytest.mark.parametrize("gamma", [None, 0.7])
def test_kernels(name, gamma):
    x = X.copy()
    x[:5, 0] = 0
    y = Y.copy()
    y[:5, 0] = 0  # chi2: 0 / 0
    kernel = Kernel(name, gamma=gamma)
    accepted = {"gamma": gamma} if name not in ("linear", "cosine", "additive_chi2") and gamma else {}
    np.testing.assert_allclose(kernel(x, y), pairwise.pairwise_kernels(x, y, metric=name, **accepted), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(kernel(x), kernel(x, x))
    assert isinstance(kernel.lazy(x, y), LazyTensor) and kernel.lazy(x, y).shape == (60, 40)
    assert isinstance(kernel(x[0], y[0]), float) and abs(kernel(x[0], y[0]) - kernel(x, y)[0, 0]) < 1e-12


def test_degrees():
    for degree in (2, 3, 2.5):
        np.testing.assert_allclose(Kernel("poly", gamma=2, degree=degree, coef0=0.5)(X, Y),
                                   pairwise.polynomial_kernel(X, Y, degree=degree, gamma=2, coef0=0.5))


def test_kernels_in_scikit_learn():
    """Where scikit-learn takes a function for a kernel."""
    kernel, labels = Kernel("rbf", gamma=5.0), (X[:, 0] > 0.5).astype(int)
    np.testing.assert_array_equal(svm.SVC(kernel=kernel).fit(X, labels).predict(Y), svm.SVC(kernel="rbf", gamma=5.0).fit(X, labels).predict(Y))
    ours, theirs = [kernel_ridge.KernelRidge(kernel=k, gamma=None if k is kernel else 5.0).fit(X, X[:, 0]).predict(Y) for k in (kernel, "rbf")]
    np.testing.assert_allclose(ours, theirs)
    found = [cluster.SpectralClustering(2, affinity=a, gamma=5.0, random_state=0).fit_predict(X if a == "rbf" else kernel(X))
             for a in ("precomputed", "rbf")]
    assert (found[0] == found[1]).all() or (found[0] != found[1]).all()


@pytest.mark.parametrize("columns", [0, 2])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_kernel_ridge(columns, dtype):
    target = (np.sin(6 * X[:, 0]) if not columns else np.stack([X[:, 0], 1000 * X[:, 1] ** 2], 1)).astype(dtype)
    options = dict(alpha=0.1, kernel="rbf", gamma=3.0)
    ours, theirs = KernelRidge(**options).fit(X.astype(dtype), target), kernel_ridge.KernelRidge(**options).fit(X, target)
    rough = 2e-4 if dtype == np.float32 else 1e-5
    np.testing.assert_allclose(ours.predict(Y.astype(dtype)) / np.abs(target).max(0), theirs.predict(Y) / np.abs(target).max(0), atol=rough)
    assert ours.score(X.astype(dtype), target) > 0.9


def test_pipelines_searches_and_clones():
    model = pipeline.make_pipeline(preprocessing.StandardScaler(), KernelRidge(kernel="laplacian"))
    search = model_selection.GridSearchCV(model, {"kernelridge__alpha": [1e-3, 1.0], "kernelridge__gamma": [0.1, 1.0]}, cv=3)
    assert search.fit(X, X[:, 0] * X[:, 1]).best_score_ > 0.5
    assert clone(KernelRidge(alpha=3.0, kernel=np.add)).get_params()["alpha"] == 3.0
    distance = KernelRidge(kernel=lambda x, y: (-(x - y).abs().sum(-1)).exp(), alpha=1e-3).fit(X, X[:, 0])
    np.testing.assert_allclose(distance.predict(X), KernelRidge(kernel="laplacian", gamma=1.0, alpha=1e-3).fit(X, X[:, 0]).predict(X))


@pytest.mark.parametrize("kernel", ["linear", "rbf", "poly"])
def test_kernel_pca(kernel):
    ours = KernelPCA(2, kernel=kernel, gamma=2.0, random_state=0)
    theirs = decomposition.KernelPCA(2, kernel=kernel, gamma=2.0)
    a, b = ours.fit_transform(X), theirs.fit_transform(X)
    np.testing.assert_allclose(ours.eigenvalues_, theirs.eigenvalues_, rtol=1e-9)
    np.testing.assert_allclose(abs(a), abs(b), atol=1e-8)
    np.testing.assert_allclose(abs(ours.transform(Y)), abs(theirs.transform(Y)), atol=1e-8)
    np.testing.assert_allclose(ours.transform(X), a, atol=1e-8)


METRICS = ["euclidean", "l2", "sqeuclidean", "manhattan", "l1", "cityblock", "chebyshev", "cosine", ("minkowski", 3), ("minkowski", 1.5), "minkowski"]


@pytest.mark.parametrize("metric", METRICS, ids=str)
def test_neighbors(metric):
    metric, p = metric if isinstance(metric, tuple) else (metric, 2)
    ours = NearestNeighbors(n_neighbors=4, radius=0.3, metric=metric, p=p).fit(X)
    theirs = neighbors.NearestNeighbors(n_neighbors=4, radius=0.3, metric=metric, p=p, algorithm="brute").fit(X)
    for query in (Y, None):
        for a, b in zip(ours.kneighbors(query), theirs.kneighbors(query)):
            np.testing.assert_allclose(a, b, atol=1e-9)
        np.testing.assert_array_equal(ours.kneighbors(query, 2, return_distance=False), theirs.kneighbors(query, 2, return_distance=False))
        for options in ({}, {"sort_results": True}, {"return_distance": False}):
            a, b = ours.radius_neighbors(query, 0.2, **options), theirs.radius_neighbors(query, 0.2, **options)
            a, b = (a, b) if isinstance(a, tuple) else ((a,), (b,))
            assert len(a) == len(b)
            for part, other in zip(a, b):
                assert part.dtype == object and part.shape == other.shape
                for one, two in zip(part, other):
                    if "sort_results" not in options:  # their order is any
                        one, two = np.sort(one), np.sort(two)
                    np.testing.assert_allclose(one, two, atol=1e-9)
        for mode in ("connectivity", "distance"):
            for a, b in ((ours.kneighbors_graph(query, 3, mode), theirs.kneighbors_graph(query, 3, mode)),
                         (ours.radius_neighbors_graph(query, mode=mode), theirs.radius_neighbors_graph(query, mode=mode))):
                assert a.shape == b.shape and a.format == "csr"
                np.testing.assert_allclose(a.toarray(), b.toarray(), atol=1e-9)


def test_errors_and_functions():
    near = NearestNeighbors(metric=lambda x, y: (x - y).abs().sum(-1)).fit(X)
    np.testing.assert_array_equal(near.kneighbors(Y)[1], neighbors.NearestNeighbors(p=1).fit(X).kneighbors(Y)[1])
    for call, words in [(lambda: near.kneighbors(Y, 61), "n_neighbors <= 60"), (lambda: near.kneighbors(None, 60), "n_neighbors <= 59"),
                        (lambda: near.kneighbors(Y[:, :2]), "features"), (lambda: NearestNeighbors(metric="hamming").fit(X), "metric='hamming'"),
                        (lambda: Kernel("nonsense"), "kernel='nonsense'"), (lambda: Kernel(lambda x, y: x - y).lazy(X), "a number for each pair"),
                        (lambda: near.radius_neighbors(Y, 1, return_distance=False, sort_results=True), "sort_results"),
                        (lambda: near.kneighbors_graph(Y, mode="x"), "mode='x'"), (lambda: KernelPCA(60).fit(X), "n_components=60")]:
        with pytest.raises(ValueError, match=words):
            call()
    assert near.radius_neighbors(Y, 0.0)[1][0].shape == (0,)


ESTIMATORS = [KernelRidge(alpha=0.1), KernelPCA(1, kernel="rbf", random_state=0), NearestNeighbors(n_neighbors=1)]


@pytest.mark.full
@pytest.mark.parametrize("estimator, check", [
    pair for e in ESTIMATORS for pair in estimator_checks_generator(e) if "array_api" not in str(pair[1])],
    ids=lambda value: re.sub(r" at 0x\w+", "", str(value)))  # the same in every process
def test_the_checks_of_scikit_learn(estimator, check):
    """All but those of arrays of other libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(clone(estimator))


def test_nothing_imports_scikit_learn_unasked():
    code = "import sys, benben.numpy, benben.masks, benben.neighbors; assert not {'sklearn', 'scipy', 'pandas', 'tqdm'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})
