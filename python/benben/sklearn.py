"""Benben beside scikit-learn: kernels, nearest neighbours and estimators with scikit-learn's signatures. This module
alone imports scikit-learn.

>>> import numpy as np
>>> from benben.sklearn import Kernel, KernelRidge, NearestNeighbors
>>> X = np.array([[0.0], [1.0], [3.0]])
>>> NearestNeighbors(n_neighbors=2).fit(X).kneighbors([[0.9]])
(array([[0.1, 0.9]]), array([[1, 0]]))
>>> model = KernelRidge(alpha=1e-3, kernel="rbf", gamma=0.5).fit(X, [0.0, 1.0, 0.0])
>>> bool(abs(model.predict(X) - [0, 1, 0]).max() < 0.01)
True
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted, validate_data

from . import masks, neighbors, operators
from ._errors import ArgumentError
from .numpy import Vi, Vj

__all__ = ["Kernel", "KernelPCA", "KernelRidge", "NearestNeighbors"]

_FLOATS = [np.float64, np.float32]


# ---- kernels ----
def _gamma(kernel: Kernel, x: Any) -> float:
    return 1.0 / x._vector_dim if kernel.gamma is None else float(kernel.gamma)


def _polynomial(kernel: Kernel, x: Any, y: Any) -> Any:
    base = _gamma(kernel, x) * (x * y).sum(-1) + kernel.coef0
    degree = kernel.degree
    return base ** (int(degree) if degree == int(degree) else float(degree))


def _additive_chi2(x: Any, y: Any) -> Any:
    total = x + y
    return -((total != 0).where((x - y) ** 2 / total, 0)).sum(-1)


_KERNELS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "linear": lambda k, x, y: (x * y).sum(-1),
    "polynomial": _polynomial,
    "poly": _polynomial,
    "rbf": lambda k, x, y: (-_gamma(k, x) * x.sqdist(y)).exp(),
    "laplacian": lambda k, x, y: (-_gamma(k, x) * (x - y).abs().sum(-1)).exp(),
    "sigmoid": lambda k, x, y: (_gamma(k, x) * (x * y).sum(-1) + k.coef0).tanh(),
    "cosine": lambda k, x, y: (x.normalize() * y.normalize()).sum(-1),
    "additive_chi2": lambda k, x, y: _additive_chi2(x, y),
    "chi2": lambda k, x, y: (_additive_chi2(x, y) * (1.0 if k.gamma is None else float(k.gamma))).exp(),
}


class Kernel:
    """A kernel between points, as scikit-learn names them or as a function of two LazyTensors.

    name: 'rbf', 'laplacian', 'linear', 'polynomial', 'sigmoid', 'cosine', 'chi2', 'additive_chi2', or a function
    f(x_i, y_j) of LazyTensors (M, 1, D) and (1, N, D) that gives one number for each pair. gamma (1 / D unless given; 1
    for chi2), degree and coef0 as in sklearn.metrics.pairwise.

    kernel.lazy(X, Y) is a LazyTensor. kernel(X, Y) is an array (M, N), or a number for two vectors: what scikit-learn
    asks of `kernel=`, `affinity=` and the like; it is dense, so prefer kernel="precomputed" there, or the estimators of
    this module.

    >>> import numpy as np
    >>> from benben.sklearn import Kernel
    >>> X = np.array([[0.0], [1.0]])
    >>> Kernel("rbf", gamma=1.0)(X).round(3).tolist()
    [[1.0, 0.368], [0.368, 1.0]]
    >>> Kernel(lambda x, y: (x - y).abs().sum(-1)).lazy(X).sum(axis=1).ravel().tolist()
    [1.0, 1.0]
    """

    def __init__(
        self,
        name: str | Callable[[Any, Any], Any] = "rbf",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
    ) -> None:
        if not callable(name) and name not in _KERNELS:
            raise ArgumentError(
                f"kernel={name!r}; expected a function of two LazyTensors, or one of {', '.join(_KERNELS)}"
            )
        self.name, self.gamma, self.degree, self.coef0 = name, gamma, degree, coef0

    def __repr__(self) -> str:
        return f"Kernel({self.name!r}, gamma={self.gamma}, degree={self.degree}, coef0={self.coef0})"

    def lazy(self, X: Any, Y: Any = None) -> Any:
        """The LazyTensor (M, N) of points X (M, D) and Y (N, D), Y = X unless given."""
        x, y = Vi(X), Vj(X if Y is None else Y)
        K = self.name(x, y) if callable(self.name) else _KERNELS[self.name](self, x, y)
        if getattr(K, "_vector_dim", 0) != 1:
            raise ArgumentError(
                f"the kernel {self.name!r} gives {type(K).__qualname__}: expected a number for each pair"
            )
        return K

    def __call__(self, X: Any, Y: Any = None) -> Any:
        X = np.asarray(X)
        if X.ndim == 1:  # scikit-learn's pairwise_kernels asks pair by pair
            return float(self.lazy(X[None], np.asarray(X if Y is None else Y)[None]).dense()[0, 0])
        return self.lazy(X, None if Y is None else np.asarray(Y)).dense()


def _kernel_of(estimator: Any) -> Kernel:
    kernel = estimator.kernel
    if isinstance(kernel, Kernel):
        return kernel
    return Kernel(kernel, estimator.gamma, estimator.degree, estimator.coef0)


# ---- estimators ----
class KernelRidge(MultiOutputMixin, RegressorMixin, BaseEstimator):
    """sklearn.kernel_ridge.KernelRidge in O(n) memory: (K + alpha I) a = y by preconditioned conjugate gradients.

    alpha: regularization; kernel: as Kernel takes it, or a Kernel; gamma, degree, coef0: its parameters; tol: of the
    residual, relative to y. fit(X (n, D), y (n,) or (n, E)); predict(X (m, D)). dual_coef_: a.

    >>> import numpy as np
    >>> from benben.sklearn import KernelRidge
    >>> X = np.linspace(0, 1, 50)[:, None]
    >>> KernelRidge(alpha=1e-2, gamma=10).fit(X, np.sin(6 * X[:, 0])).predict([[0.5]]).round(2).tolist()
    [0.14]
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        kernel: Any = "rbf",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        tol: float = 1e-6,
    ) -> None:
        self.alpha, self.kernel, self.gamma, self.degree, self.coef0 = alpha, kernel, gamma, degree, coef0
        self.tol = tol

    def fit(self, X: Any, y: Any) -> KernelRidge:
        """Solves for dual_coef_ (n,) or (n, E)."""
        X, y = validate_data(self, X, y, dtype=_FLOATS, multi_output=True, y_numeric=True)
        y = np.asarray(y, X.dtype)
        b = y if y.ndim == 2 else y[:, None]
        scale = np.linalg.norm(b, axis=0)
        scale[scale == 0] = 1
        K = _kernel_of(self).lazy(X)
        solution = K.solve(b / scale, alpha=self.alpha, eps=max(self.tol, 4 * float(np.finfo(X.dtype).eps)))
        self.dual_coef_ = (solution * scale).reshape(y.shape)
        self.X_fit_ = X
        return self

    def predict(self, X: Any) -> Any:
        """sum_j k(x, x_j) a_j: (m,) or (m, E)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        return _kernel_of(self).lazy(X, self.X_fit_) @ self.dual_coef_


class KernelPCA(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """sklearn.decomposition.KernelPCA in O(n) memory: the largest eigenpairs of the centred kernel, by scipy's eigsh.

    n_components; kernel, gamma, degree, coef0: as Kernel takes them; tol, random_state: of the iteration.
    eigenvalues_ (k,), eigenvectors_ (n, k): as scikit-learn has them.

    >>> import numpy as np
    >>> from benben.sklearn import KernelPCA
    >>> X = np.random.default_rng(0).random((30, 2))
    >>> KernelPCA(2, kernel="rbf").fit_transform(X).shape
    (30, 2)
    """

    def __init__(
        self,
        n_components: int = 2,
        *,
        kernel: Any = "linear",
        gamma: float | None = None,
        degree: float = 3,
        coef0: float = 1,
        tol: float = 0,
        random_state: Any = None,
    ) -> None:
        self.n_components, self.kernel, self.gamma, self.degree, self.coef0 = n_components, kernel, gamma, degree, coef0
        self.tol, self.random_state = tol, random_state

    def fit(self, X: Any, y: Any = None) -> KernelPCA:
        """Eigenpairs of the centred kernel of X (n, D)."""
        from scipy.sparse.linalg import eigsh
        from sklearn.utils import check_random_state

        X = validate_data(self, X, dtype=_FLOATS, ensure_min_samples=2)
        n, k = len(X), self.n_components
        if not 1 <= k < n:
            raise ArgumentError(f"n_components={k!r}; expected 1 <= n_components < {n}, the number of points")
        K = _kernel_of(self).lazy(X)
        self._row_means = K.mean(axis=1)[:, 0]
        self._mean = self._row_means.mean()

        def centred(v: Any) -> Any:
            w = K @ (v - v.mean(0))
            return w - w.mean(0)

        A = operators.Operator((n, n), centred, centred, X.dtype, "centred kernel")
        start = check_random_state(self.random_state).uniform(-1, 1, n).astype(X.dtype)
        values, vectors = eigsh(A, k, which="LA", tol=self.tol, v0=start)
        values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
        sign = np.sign(vectors[np.abs(vectors).argmax(0), np.arange(k)])
        self.eigenvalues_, self.eigenvectors_ = values, vectors * sign
        self._n_features_out, self.X_fit_ = k, X
        return self

    def fit_transform(self, X: Any, y: Any = None) -> Any:
        """The components of the points that are fitted: (n, k)."""
        self.fit(X)
        return self.eigenvectors_ * np.sqrt(self.eigenvalues_)

    def transform(self, X: Any) -> Any:
        """The components of points (m, D): (m, k)."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=_FLOATS, reset=False)
        K = _kernel_of(self).lazy(X, self.X_fit_)
        positive = self.eigenvalues_ > 0
        scale = np.zeros_like(self.eigenvalues_)
        scale[positive] = 1 / np.sqrt(self.eigenvalues_[positive])
        axes = self.eigenvectors_ * scale
        return K @ axes - K.mean(axis=1) * axes.sum(0) - self._row_means @ axes + self._mean * axes.sum(0)


# ---- neighbours ----
_METRICS: dict[str, Callable[[Any, Any, float], Any]] = {
    "sqeuclidean": lambda x, y, p: x.sqdist(y),
    "manhattan": lambda x, y, p: (x - y).abs().sum(-1),
    "chebyshev": lambda x, y, p: (x - y).abs().max(-1),
    "cosine": lambda x, y, p: 1 - (x.normalize() * y.normalize()).sum(-1),
    "minkowski": lambda x, y, p: ((x - y).abs() ** float(p)).sum(-1) ** (1.0 / p),
}
_ALIASES = {
    "l2": "euclidean",
    "l1": "manhattan",
    "cityblock": "manhattan",
    "infinity": "chebyshev",
    "linf": "chebyshev",
}


class NearestNeighbors(BaseEstimator):
    """sklearn.neighbors.NearestNeighbors by exact search over all pairs, for any metric.

    n_neighbors, radius: what the queries take unless told. metric: 'euclidean', 'sqeuclidean', 'manhattan',
    'chebyshev', 'cosine', 'minkowski' (with p), or a function f(x_i, y_j) of LazyTensors (M, 1, D) and (1, N, D) that
    gives one number for each pair. fit(X (n, D)); then kneighbors, radius_neighbors and their graphs. A query without
    points is about the fitted ones, none being a neighbour of itself. Equal distances: the smaller index.

    >>> import numpy as np
    >>> from benben.sklearn import NearestNeighbors
    >>> X = np.array([[0.0], [1.0], [3.0]])
    >>> near = NearestNeighbors(radius=1.5, metric=lambda x, y: (x - y).abs().sum(-1)).fit(X)
    >>> near.kneighbors(n_neighbors=1, return_distance=False).ravel().tolist()
    [1, 0, 1]
    >>> [a.tolist() for a in near.radius_neighbors([[0.0]], return_distance=False)]
    [[0, 1]]
    >>> near.kneighbors_graph(n_neighbors=1).toarray().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    """

    def __init__(self, n_neighbors: int = 5, radius: float = 1.0, metric: Any = "minkowski", p: float = 2) -> None:
        self.n_neighbors, self.radius, self.metric, self.p = n_neighbors, radius, metric, p

    def fit(self, X: Any, y: Any = None) -> NearestNeighbors:
        """Keeps the points X (n, D)."""
        self._fit_X = validate_data(self, X, dtype=_FLOATS)
        self.n_samples_fit_ = len(self._fit_X)
        self._metric()
        return self

    def _metric(self) -> tuple[Callable[[Any, Any], Any], bool]:
        """The distance, and whether its square root is to be taken."""
        if callable(self.metric):
            return self.metric, False
        name, p = _ALIASES.get(self.metric, self.metric), self.p
        if name == "minkowski" and p in (1, 2, np.inf):
            name = {1: "manhattan", 2: "euclidean", np.inf: "chebyshev"}[p]
        if name == "euclidean":
            return lambda x, y: x.sqdist(y), True
        if name not in _METRICS:
            known = ", ".join(["euclidean", *_METRICS])
            raise ArgumentError(f"metric={self.metric!r}; expected a function of two LazyTensors, or one of {known}")
        if not p > 0:
            raise ArgumentError(f"p={p!r}; expected a number > 0")
        return lambda x, y: _METRICS[name](x, y, p), False

    def _distance(self, X: Any) -> tuple[Any, bool]:
        check_is_fitted(self)
        distance, root = self._metric()
        itself = X is None
        X = self._fit_X if itself else validate_data(self, X, dtype=_FLOATS, reset=False)
        D = distance(Vi(X), Vj(self._fit_X))
        return (D.masked(~masks.band(0)) if itself else D), root

    def kneighbors(self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True) -> Any:
        """(distances (m, K), indices (m, K)) of the K nearest points, nearest first; or the indices alone."""
        k = self.n_neighbors if n_neighbors is None else n_neighbors
        D, root = self._distance(X)
        most = self.n_samples_fit_ - (X is None)
        if isinstance(k, bool) or not hasattr(k, "__index__") or not 1 <= k <= most:
            raise ArgumentError(f"n_neighbors={k!r}; expected 1 <= n_neighbors <= {most}, the number of points")
        if not return_distance:
            return D.argKmin(int(k), axis=1)
        values, indices = D.Kmin_argKmin(int(k), axis=1)
        return (np.sqrt(values) if root else values), indices

    def radius_neighbors(
        self, X: Any = None, radius: float | None = None, return_distance: bool = True, sort_results: bool = False
    ) -> Any:
        """(distances, indices) of the points within the radius: arrays (m,) of arrays; or the indices alone."""
        if sort_results and not return_distance:
            raise ArgumentError("sort_results=True: return_distance must be True")
        found, root = self._within(X, radius, return_distance, "value" if sort_results else "index")
        cut = found.indptr[1:-1]
        parts = [np.split(found.indices, cut)]
        if return_distance:
            parts.insert(0, np.split(np.sqrt(found.values) if root else found.values, cut))
        out = []
        for lists in parts:
            column = np.empty(len(found.indptr) - 1, object)
            column[:] = lists[: len(column)]
            out.append(column)
        return tuple(out) if return_distance else out[0]

    def _within(self, X: Any, radius: float | None, values: bool, order: str) -> tuple[neighbors.Neighbors, bool]:
        D, root = self._distance(X)
        r = float(self.radius if radius is None else radius)
        r = (r * r if r >= 0 else -1.0) if root else r
        return neighbors.radius_search(D, r, values=values, order=order), root

    def kneighbors_graph(self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity") -> Any:
        """A sparse matrix (m, n), CSR: 1, or with mode='distance' the distance, at the K nearest of each row."""
        _check_mode(mode)
        found = self.kneighbors(X, n_neighbors, return_distance=True)
        values, indices = found
        m, k = indices.shape
        return self._graph(values.ravel(), indices.ravel(), np.arange(0, m * k + 1, k), mode)

    def radius_neighbors_graph(
        self, X: Any = None, radius: float | None = None, mode: str = "connectivity", sort_results: bool = False
    ) -> Any:
        """A sparse matrix (m, n), CSR: 1, or with mode='distance' the distance, at the points within the radius."""
        _check_mode(mode)
        found, root = self._within(X, radius, True, "value" if sort_results else "index")
        return self._graph(np.sqrt(found.values) if root else found.values, found.indices, found.indptr, mode)

    def _graph(self, values: Any, indices: Any, indptr: Any, mode: str) -> Any:
        from scipy.sparse import csr_matrix

        data = values if mode == "distance" else np.ones(len(indices))
        return csr_matrix((data, indices, indptr), shape=(len(indptr) - 1, self.n_samples_fit_))


def _check_mode(mode: str) -> None:
    if mode not in ("connectivity", "distance"):
        raise ArgumentError(f"mode={mode!r}; expected 'connectivity' or 'distance'")
