"""Dense reference computations and small helpers, by the names that KeOps's programs import."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from ._genred import Genred, KernelSolve
from .cluster import swap_axes


def squared_distances(x: Any, y: Any) -> Any:
    """|x_i - y_j|^2: (M, N)."""
    return ((x[:, None, :] - y[None, :, :]) ** 2).sum(-1)


def differences(x: Any, y: Any) -> Any:
    """x_i - y_j, dimension first: (D, M, N)."""
    return x.T[:, :, None] - y.T[:, None, :]


def _kernel(table: dict[str, Any], kernel: str, *arguments: Any) -> Any:
    if kernel not in table:
        raise ValueError(f"kernel {kernel!r} is unknown; known: {', '.join(table)}")
    return table[kernel](*arguments)


def np_kernel(x: Any, y: Any, s: float, kernel: str) -> Any:
    """The matrix of a radial kernel of scale s: gaussian, laplacian, cauchy or inverse_multiquadric."""
    table = {
        "gaussian": lambda q: np.exp(-q),
        "laplacian": lambda q: np.exp(-np.sqrt(q)),
        "cauchy": lambda q: 1 / (1 + q),
        "inverse_multiquadric": lambda q: 1 / np.sqrt(1 + q),
    }
    return _kernel(table, kernel, squared_distances(x, y) / (s * s))


def log_np_kernel(x: Any, y: Any, s: float, kernel: str) -> Any:
    """The logarithm of np_kernel."""
    table = {
        "gaussian": lambda q: -q,
        "laplacian": lambda q: -np.sqrt(q),
        "cauchy": lambda q: -np.log1p(q),
        "inverse_multiquadric": lambda q: -0.5 * np.log1p(q),
    }
    return _kernel(table, kernel, squared_distances(x, y) / (s * s))


def grad_np_kernel(x: Any, y: Any, s: float, kernel: str) -> Any:
    """The derivative of np_kernel with respect to the squared distance."""
    table = {
        "gaussian": lambda q: -np.exp(-q),
        "laplacian": lambda q: -np.exp(-np.sqrt(q)) / (2 * np.sqrt(q)),
        "cauchy": lambda q: -1 / (1 + q) ** 2,
        "inverse_multiquadric": lambda q: -0.5 / (1 + q) ** 1.5,
    }
    return _kernel(table, kernel, squared_distances(x, y) / (s * s)) / (s * s)


def np_kernel_sphere(nalpha: Any, nbeta: Any, s: float, kernel: str) -> Any:
    """The matrix of a kernel between unit vectors: linear, binet, gaussian_oriented or gaussian_unoriented."""
    table = {
        "linear": lambda c: c,
        "binet": lambda c: c**2,
        "gaussian_oriented": lambda c: np.exp((2 * c - 2) / (s * s)),
        "gaussian_unoriented": lambda c: np.exp((2 * c**2 - 2) / (s * s)),
    }
    return _kernel(table, kernel, nalpha @ nbeta.T)


def chain_rules(q: Any, ax: Any, by: Any, Aa: Any, p: Any) -> Any:
    """Sum over j of 2 (x_i - y_j) A_ij <q_i, p_j>: the gradient of a radial kernel's product, (M, D)."""
    weights = Aa * (q @ p.T)
    return 2 * (ax * weights.sum(1, keepdims=True) - weights @ by)


def log_sum_exp(mat: Any, axis: int = 0) -> Any:
    """log sum exp along an axis, without overflow."""
    top = mat.max(axis=axis, keepdims=True)
    return np.squeeze(top, axis) + np.log(np.exp(mat - top).sum(axis))


def WarmUpGpu(*_: Any) -> None:
    """Nothing has to be warmed up."""


class numpytools:
    """The array library's functions under common names."""

    Genred, KernelSolve = Genred, KernelSolve
    swap_axes = staticmethod(swap_axes)
    arraytype = np.ndarray
    float_types: ClassVar[list[type]] = [float, np.float64, np.float32, np.float16]
    norm, exp, log, sqrt = np.linalg.norm, np.exp, np.log, np.sqrt
    transpose, contiguous, tile, solve = np.transpose, np.ascontiguousarray, np.tile, np.linalg.solve
    copy, view, numpy, zeros, eye, array = np.copy, np.reshape, np.asarray, np.zeros, np.eye, np.array

    @staticmethod
    def arraysum(x: Any, axis: int | None = None) -> Any:
        return x.sum(axis=axis)

    @staticmethod
    def dtypename(dtype: Any) -> str:
        return str(np.dtype(dtype))

    @staticmethod
    def rand(*shape: int, dtype: Any = "float64") -> Any:
        return np.random.rand(*shape).astype(dtype)

    @staticmethod
    def randn(*shape: int, dtype: Any = "float64") -> Any:
        return np.random.randn(*shape).astype(dtype)
