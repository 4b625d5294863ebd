"""Gaussian kernel systems beside their dense matrices, for the tests of solvers."""
import numpy as np

import bb

N = 300
X = np.random.default_rng(11).uniform(0, 1, (N, 2))
K = np.exp(-((X[:, None] - X[None]) ** 2).sum(-1) / 0.1)


def gauss(e=1):
    return bb.parse("sum_j(exp(-sqdist(x, y) / s) * b)", "x:i2", "y:j2", "s:p1", f"b:j{e}")


def system(n, alpha, e=1, scale=0.1, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 1, (n, 2)).astype(dtype)
    k = np.exp(-((x[:, None].astype(np.float64) - x[None]) ** 2).sum(-1) / scale)
    b = rng.standard_normal((n, e)).astype(dtype)
    return (x, x, np.array([scale], dtype), b), k + alpha * np.eye(n), b


def relative(matrix, found, b):
    return np.linalg.norm(matrix @ found.astype(np.float64) - b, axis=-2) / np.linalg.norm(b, axis=-2)
