"""The talk's use of SciPy's linear algebra. The slide called the array both x and x_."""
import numpy as np

N = 1000  # the slide: 10000
x = np.random.randn(N, 2)

# Turn it into a LazyTensor:
from benben.numpy import LazyTensor

x_i, x_j = LazyTensor(x[:, None, :]), LazyTensor(x[None, :, :])
K_xx = (-((x_i - x_j) ** 2).sum(2) / 2).exp()  # Symbolic (N,N) Gaussian kernel matrix

# Using a `sum` reduction we may compute a Gaussian convolution...
convolution = K_xx.sum(1)

# ... instead, K_xx can be directly understood as a LinearOperator:
from scipy.sparse.linalg import aslinearoperator

K = aslinearoperator(K_xx)

from scipy.sparse.linalg import eigsh

eigenvalues, eigenvectors = eigsh(K, k=5)  # Largest 5 eigenvalues/vectors
