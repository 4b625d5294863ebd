"""
The talk: nearest neighbours in dimension 50
============================================

The slides' query, in any metric. A million points by a million in dimension 50 is work for hours on a processor: the
number of points is an argument (``python torch_neighbours.py 1000000``).
"""
# %%
import sys
import time

import benben
import torch

benben.install_as_pykeops()
torch.manual_seed(0)
N = M = int(sys.argv[1]) if sys.argv[1:] and sys.argv[1].isdigit() else 10 ** 4
D = 50
x = torch.rand(N, 1, D)  # (N, 1, 50) array
y = torch.rand(1, M, D)  # (1, M, 50) array

# %%
# Turn dense arrays into symbolic matrices.
from pykeops.torch import LazyTensor

x_i, y_j = LazyTensor(x), LazyTensor(y)

# %%
# A large symbolic matrix of squared distances, and a query.
start = time.perf_counter()
D_ij = ((x_i - y_j) ** 2).sum(dim=2)  # (N, M) symbolic
indices_i = D_ij.argmin(dim=1)  # -> standard torch tensor
print(f"{N:,} x {M:,} points in dimension {D}: {time.perf_counter() - start:.2f} s, compilation included")
rows = torch.arange(0, N, max(N // 100, 1))
assert torch.equal(torch.cdist(x[rows, 0].double(), y[0].double()).argmin(1), indices_i[rows, 0])

# %%
# Any metric will do. The last one is monotone in the distance of the hyperbolic half-space.
x_j = y_j
M_ij = (x_i - x_j).abs().sum(dim=2)  # Manhattan
C_ij = 1 - (x_i | x_j)  # Cosine
H_ij = D_ij / (x_i[..., 0] * x_j[..., 0])  # Hyperbolic
dense_x, dense_y = x[rows].double(), y.double()
dense_D = ((dense_x - dense_y) ** 2).sum(2)
for name, metric, dense in [
    ("Manhattan", M_ij, (dense_x - dense_y).abs().sum(2)),
    ("cosine", C_ij, 1 - (dense_x * dense_y).sum(2)),
    ("hyperbolic", H_ij, dense_D / (dense_x[..., 0] * dense_y[..., 0])),
]:
    found = dense.gather(1, metric.argmin(dim=1)[rows])[:, 0]
    assert torch.allclose(found, dense.amin(1), rtol=1e-5, atol=1e-5), name
    print(f"{name}: the same neighbours as in float64")
