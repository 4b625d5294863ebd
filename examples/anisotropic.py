"""Anisotropic kernels: a length-scale for each axis, a metric of one's own, and a metric that varies from point to point."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import Pm, Vi, Vj
from common import COLOURS, Example

example = Example("anisotropic", __doc__)
N, side = (2_000, 300) if example.full else (60, 80)
rng = np.random.default_rng(0)
y, b = rng.random((N, 2)), rng.normal(size=(N, 1))
grid = np.linspace(0, 1, side)
x = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
z = Vi(x) - Vj(y)

turn = np.array([[np.cos(0.6), -np.sin(0.6)], [np.sin(0.6), np.cos(0.6)]])
metric = turn @ np.diag([1 / 0.15 ** 2, 1 / 0.04 ** 2]) @ turn.T  # the same for all pairs
angles = np.arctan2(y[:, 1] - 0.5, y[:, 0] - 0.5)  # of each point: kernels that run around the middle
spun = np.stack([np.cos(angles), np.sin(angles)], 1)

along = (z | Vj(spun))  # components of z along and across
across = z[..., 0] * Vj(spun)[..., 1] - z[..., 1] * Vj(spun)[..., 0]
KERNELS = {
    "a length-scale for each axis": (-z.weightedsqnorm(Pm(np.array([1 / 0.15 ** 2, 1 / 0.04 ** 2])))).exp(),
    "a metric": (-z.weightedsqnorm(Pm(metric.ravel()))).exp(),
    "a metric for each point": (-(along ** 2) / 0.04 ** 2 - across ** 2 / 0.15 ** 2).exp(),
}

d = x[:, None] - y[None]
u = (d * spun).sum(-1)
v = d[..., 0] * spun[:, 1] - d[..., 1] * spun[:, 0]
DENSE = [np.exp(-(d ** 2 * [1 / 0.15 ** 2, 1 / 0.04 ** 2]).sum(-1)), np.exp(-np.einsum("mni,ij,mnj->mn", d, metric, d)),
         np.exp(-u ** 2 / 0.04 ** 2 - v ** 2 / 0.15 ** 2)] if N * len(x) < 10 ** 7 else [None] * 3

figure, panels = plt.subplots(1, 3, figsize=(11, 3.6), sharey=True)
error = 0.0
for panel, (name, kernel), dense in zip(panels, KERNELS.items(), DENSE, strict=True):
    field = example.timed(name, lambda kernel=kernel: kernel @ b)
    if dense is not None:
        error = max(error, np.abs(field - dense @ b).max())
    panel.imshow(field.reshape(side, side), origin="lower", extent=(0, 1, 0, 1), cmap="RdBu", vmin=-3, vmax=3)
    panel.scatter(*y.T, s=4, c=COLOURS[3] if N < 100 else "none")
    panel.set(title=name)
example.save(figure, points=N, error=error)
