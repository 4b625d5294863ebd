"""LazyTensors: a field of charges, its gradient and nearest neighbours, from one symbolic matrix."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import LazyTensor, Vi
from common import INK, Example

example = Example("lazytensors", __doc__)
side, N = (400, 2000) if example.full else (120, 60)
rng = np.random.default_rng(3)

# Arrays: M points of a grid, N charges. An array (M, 1, D) is indexed by i, (1, N, D) by j.
axis = np.linspace(0, 1, side)
x = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
y = rng.random((N, 2))
b = rng.choice([-1.0, 1.0], (N, 1))
x_i, y_j = LazyTensor(x[:, None, :]), LazyTensor(y[None, :, :])

# Symbolic matrices: nothing is computed, nothing of the size M N will ever be stored.
D_ij = ((x_i - y_j) ** 2).sum(-1)
sigma = 0.09 if N < 100 else 0.03
K_ij = (-D_ij / (2 * sigma ** 2)).exp()
print(K_ij)

# Reductions give arrays: a matrix product, the two nearest charges, a log-sum-exp.
field = example.timed("field", lambda: K_ij @ b)                       # (M, 1)
nearest = example.timed("2 nearest", lambda: D_ij.argKmin(2, axis=1))  # (M, 2)
entropy = (-D_ij / (2 * sigma ** 2)).logsumexp(axis=1)                 # (M, 1)

# Derivatives are formulas too: the gradient of the entry K_ij in x_i, summed with the charges.
u = x.reshape(side, side, 2)[5::side // 15, 5::side // 15].reshape(-1, 2)
u_i = Vi(u)
slope = ((-((u_i - y_j) ** 2).sum(-1) / (2 * sigma ** 2)).exp().grad(u_i, 1) * LazyTensor(b[None])).sum(axis=1)

# Rows, columns and entries of the matrix are there when asked for.
rows = np.array([0, 7, side])
dense = np.exp(-((x[rows, None] - y) ** 2).sum(-1) / (2 * sigma ** 2))
error = np.abs(K_ij[rows, :].dense() - dense).max()

figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.9))
extent, top = (0, 1, 0, 1), np.abs(field).max()
left.imshow(field.reshape(side, side), origin="lower", extent=extent, cmap="RdBu_r", vmin=-top, vmax=top)
left.quiver(*u.T, *slope.T, color=INK, alpha=0.75, width=0.003)
left.set_title("K @ b, and the gradient in x")
gap = np.sqrt(np.abs(np.diff(((x[:, None] - y[nearest]) ** 2).sum(-1), axis=1)))
right.imshow(gap.reshape(side, side), origin="lower", extent=extent, cmap="magma", vmax=np.quantile(gap, 0.97))
right.set_title("how much nearer the nearest charge is than the next")
for panel in (left, right):
    panel.scatter(*y.T, c=np.where(b[:, 0] > 0, "#b5202e", "#1f4e8c"), s=22 if N < 100 else 2, edgecolors="white",
                  linewidths=0.6 if N < 100 else 0)
    panel.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
example.save(figure, points=len(x), charges=N, error=error, smallest_entropy=entropy.min())
