"""The talk's interpolation in two dimensions, with a Laplacian kernel. The slides show the kernel alone."""
import numpy as np
from benben.numpy import LazyTensor

N = 1000
x = np.random.rand(N, 2)
b = np.sin(6 * x[:, :1]) * np.cos(4 * x[:, 1:]) + .05 * np.random.randn(N, 1)


def laplacian_kernel(x, y, sigma=0.1):
    x_i = LazyTensor(x[:, None, :])  # (M, 1, 2)
    y_j = LazyTensor(y[None, :, :])  # (1, N, 2)
    D_ij = ((x_i - y_j) ** 2).sum(-1)  # (M, N) symbolic matrix of squared distances
    return (-D_ij.sqrt() / sigma).exp()  # (M, N) symbolic Laplacian kernel matrix


alpha = 1.
K_xx = laplacian_kernel(x, x)
a = K_xx.solve(b, alpha=alpha)

X, Y = np.meshgrid(np.linspace(0, 1, 50), np.linspace(0, 1, 50))
t = np.stack((X.ravel(), Y.ravel()), axis=1)
mean_t = (laplacian_kernel(t, x) @ a).reshape(50, 50)
