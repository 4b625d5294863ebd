r"""
Sums, products and blocks of operators
======================================

Symbolic matrices are operators: their sums, products and blocks are never stored either, and SciPy's solvers take them. Here a
thin-plate spline bends a grid so that landmarks go where they are told. Its coefficients solve a system of blocks,

.. math:: \begin{pmatrix} K + \alpha I & P \\ P^T & 0 \end{pmatrix} \begin{pmatrix} a \\ c \end{pmatrix}
          = \begin{pmatrix} d \\ 0 \end{pmatrix}, \qquad K_{ij} = r^2 \log r, \quad P_i = (1, x_i).
"""

import matplotlib.pyplot as plt
import numpy as np
from benben import operators
from benben.numpy import Vi, Vj
from common import Example
from scipy.sparse.linalg import cg, minres, svds

# %%
# ``r^2 log r`` is half of ``s log s`` with the squared distance ``s``: the operation ``xlogx`` is 0 at 0.

example = Example("sums_products_blocks", __doc__)
rng = np.random.default_rng(0)
N = 4000 if example.full else 800
x = rng.random((N, 2))
centre = x - 0.5
angle = 1.5 * np.exp(-(centre**2).sum(1) / 0.05)
turned = np.stack([centre[:, 0] * np.cos(angle) - centre[:, 1] * np.sin(angle),
                   centre[:, 0] * np.sin(angle) + centre[:, 1] * np.cos(angle)], 1) + 0.5  # where the landmarks go


def thin_plate(x, y):
    return 0.5 * ((Vi(x) - Vj(y)) ** 2).sum(-1).xlogx()


P = np.concatenate([np.ones((N, 1)), x], 1)
alpha = 1e-3
A = operators.block([[thin_plate(x, x) + alpha * operators.identity(N), P], [P.T, None]])
print(A)

d = turned - x
solutions = [minres(A, np.append(d[:, k], np.zeros(3)), rtol=1e-7, maxiter=4000)[0] for k in range(2)]
a, c = np.stack([s[:N] for s in solutions], 1), np.stack([s[N:] for s in solutions], 1)
moved = x + thin_plate(x, x) @ a + P @ c
print(f"landmarks are missed by {np.abs(moved - turned).max():.4f} at most")

# %%
# The grid under the spline.

side = np.linspace(0, 1, 33)
grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
bent = grid + thin_plate(grid, x) @ a + np.insert(grid, 0, 1.0, axis=1) @ c
lines = bent.reshape(33, 33, 2)
figure, panels = plt.subplots(1, 2, figsize=(8, 4), constrained_layout=True)
panels[0].scatter(*x.T, s=4, color="#8a94a0")
panels[0].quiver(*x.T, *d.T, angles="xy", scale_units="xy", scale=1, width=0.003, color="#2f6f9f")
panels[0].set_title(f"{N} landmarks")
panels[1].plot(lines[..., 0], lines[..., 1], color="#1d2733", lw=0.7)
panels[1].plot(lines[..., 0].T, lines[..., 1].T, color="#1d2733", lw=0.7)
panels[1].set_title("the plane, bent")
for panel in panels:
    panel.set(aspect="equal", xticks=[], yticks=[])

# %%
# Sums and products
# -----------------
# A covariance of two scales, a linear trend and a noise of its own for each point, as one operator:

y = rng.random((800, 2))
D_ij = ((Vi(y) - Vj(y)) ** 2).sum(-1)
noise = 0.05 + rng.random(800)
scales = (-D_ij / 0.02).exp() + 0.5 * (-D_ij / 0.5).exp()  # a sum of kernels is a kernel
trend = operators.as_operator(y) @ operators.as_operator(y.T)
covariance = scales + trend + operators.diagonal(noise)
print(covariance)
b = rng.normal(size=800)
solution, info = cg(covariance, b, rtol=1e-8)
residual = np.linalg.norm(covariance @ solution - b) / np.linalg.norm(b)
print(f"cg: {'converged' if info == 0 else info}, relative residual {residual:.1e}")

# %%
# The singular values of a product of two kernels between three clouds, of 800 x 600 and 600 x 500 entries:

z, w = rng.random((600, 2)), rng.random((500, 2))
product = (-((Vi(y) - Vj(z)) ** 2).sum(-1)).exp() @ (-((Vi(z) - Vj(w)) ** 2).sum(-1)).exp()
print(product)
singular = svds(product, k=4, return_singular_vectors=False)[::-1]
print("largest singular values:", np.array2string(singular, precision=1, suppress_small=True))
example.save(figure, landmarks=N, missed=np.abs(moved - turned).max(), residual=residual, largest=singular[0])
