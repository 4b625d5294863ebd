"""Kernel smoothing of an elevation model: at each place the mean of all heights under a Gaussian weight, and its slope.

`make demo` does the same in C at every one of 138,632 points, with nearest neighbours and an interpolation beside it.
"""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import Genred, Vi, Vj
from common import Example
from terrain import elevation

example = Example("smoothing", __doc__)
height, east, north = elevation()
step = 1 if example.full else 4
height, east, north = (a.astype(float) for a in (height[::step, ::step], east[::step], north[::step]))
place = np.stack(np.meshgrid(east, north), -1).reshape(-1, 2)
h = height.reshape(-1, 1) + 60 * np.random.default_rng(0).normal(size=(height.size, 1))  # noise of 60 m
width = 0.25  # km

# the mean with weights: a quotient of two sums
K_ij = (-((Vi(place) - Vj(place)) ** 2).sum(-1) / (2 * width ** 2)).exp()
smooth = example.timed("smoothing", lambda: (K_ij @ h) / K_ij.sum(1))

# its slope, in m/km: d/dx sum_j K_ij (h_j - m_i) / sum_j K_ij, where m_i is held fast
g = np.array([1 / (2 * width ** 2)])
slopes = Genred("Grad(Exp(-SqDist(x, y) * g) * (h - m), x, e)", ["x = Vi(2)", "y = Vj(2)", "g = Pm(1)", "h = Vj(1)",
                "m = Vi(1)", "e = Vi(1)"], axis=1)
slope = example.timed("slope", lambda: slopes(place, place, g, h, smooth, 1 / K_ij.sum(1)))
steepness = np.linalg.norm(slope, axis=1)

rows = np.random.default_rng(1).choice(len(place), 50, replace=False)  # against dense NumPy
weight = np.exp(-((place[rows, None] - place[None]) ** 2).sum(-1) * g)
wanted = weight @ h / weight.sum(1, keepdims=True)
away = 1e-4 * np.eye(2)
moved = [np.exp(-((place[rows, None] + d - place[None]) ** 2).sum(-1) * g) for d in (*away, *-away)]
moved = [w @ h / w.sum(1, keepdims=True) for w in moved]
numerical = np.hstack([(moved[k] - moved[k + 2]) / 2e-4 for k in range(2)])

figure, panels = plt.subplots(1, 3, figsize=(12, 3.6), sharey=True)
extent = (east[0], east[-1], north[-1], north[0])
for panel, values, title in zip(panels, (h, smooth, steepness), ("heights, with noise, m", "smooth, m", "slope, m/km")):
    image = panel.imshow(values.reshape(height.shape), extent=extent, cmap="magma" if "slope" in title else "terrain")
    panel.set(title=title, xlabel="km")
    figure.colorbar(image, ax=panel, shrink=0.8)
example.save(figure, points=len(place), error=np.abs(smooth[rows] - wanted).max(),
             **{"slope error": np.abs(slope[rows] - numerical).max() / np.abs(numerical).max(),
                "noise left": np.sqrt(np.mean((smooth - height.reshape(-1, 1)) ** 2))})
