"""The talk's first example, in NumPy: nearest neighbours in dimension 50, and the same with any metric."""
import numpy as np
from benben.numpy import LazyTensor

N, M, D = 10**3, 10**3, 50  # the slide: 10**6, 10**6, 50
x = np.random.rand(N, 1, D)  # (N, 1, 50) array
y = np.random.rand(1, M, D)  # (1, M, 50) array

# Turn dense arrays into symbolic matrices:
x_i, y_j = LazyTensor(x), LazyTensor(y)

# Create a large symbolic matrix of squared distances:
D_ij = ((x_i - y_j) ** 2).sum(dim=2)  # (N, M) symbolic

# Use an .argmin() reduction to perform a nearest neighbor query:
indices_i = D_ij.argmin(dim=1)  # -> standard array

# And any metric:
x_j = LazyTensor(x.reshape(1, N, D))
D_ij = ((x_i - x_j) ** 2).sum(dim=2)  # Euclidean
M_ij = (x_i - x_j).abs().sum(dim=2)  # Manhattan
C_ij = 1 - (x_i | x_j)  # Cosine
H_ij = D_ij / (x_i[..., 0] * x_j[..., 0])  # Hyperbolic

# The second nearest point is the nearest other one.
neighbours = {name: A_ij.argKmin(2, dim=1)[:, 1] for name, A_ij in
              [("Euclidean", D_ij), ("Manhattan", M_ij), ("cosine", C_ij), ("hyperbolic", H_ij)]}
