"""K-means: the nearest centroid is an argmin of a symbolic matrix; the metric is whatever its formula says."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import LazyTensor
from common import Example
from matplotlib.colors import hsv_to_rgb

METRICS = {"Euclidean": lambda x, c: ((x - c) ** 2).sum(-1), "Manhattan": lambda x, c: (x - c).abs().sum(-1)}


def kmeans(x, K, metric, steps=15):
    """Lloyd's algorithm: (labels, centroids)."""
    c = x[:K].copy()
    x_i = LazyTensor(x[:, None, :])
    for _ in range(steps):
        c_j = LazyTensor(c[None, :, :])
        labels = metric(x_i, c_j).argmin(axis=1)[:, 0]
        count = np.maximum(np.bincount(labels, minlength=K), 1)
        c = np.stack([np.bincount(labels, column, minlength=K) / count for column in x.T], 1)
    return metric(x_i, LazyTensor(c[None, :, :])).argmin(axis=1)[:, 0], c


example = Example("kmeans", __doc__)
N, K = (1_000_000, 200) if example.full else (20_000, 50)
rng = np.random.default_rng(0)
x = (0.7 * rng.normal(size=(N, 2)) + 0.3 * rng.choice([-2.0, 0, 2], (N, 2))).astype(np.float32)

figure, panels = plt.subplots(1, 2, figsize=(10, 5))
for panel, (name, metric) in zip(panels, METRICS.items()):
    labels, c = example.timed(name, lambda metric=metric: kmeans(x, K, metric))
    hue = (np.arctan2(c[:, 1], c[:, 0]) / (2 * np.pi)) % 1
    shade = 0.55 + 0.4 * rng.random(K)
    colours = hsv_to_rgb(np.stack([hue, np.full(K, 0.55), shade], 1))
    shown = slice(None, None, max(N // 30000, 1))
    panel.scatter(*x[shown].T, s=3, c=colours[labels[shown]], linewidths=0)
    panel.scatter(*c.T, s=16, c="black", edgecolors="white", linewidths=0.7)
    panel.set(title=f"{name}: {K} clusters of {N:,} points", aspect="equal", xlim=(-2.4, 2.4), ylim=(-2.4, 2.4),
              xticks=[], yticks=[])
    example.numbers[f"{name} distance"] = float(metric(x[:, None], c[labels][:, None]).mean()) if name == "Euclidean" \
        else float(np.abs(x - c[labels]).sum(1).mean())
example.save(figure, points=N, clusters=K)
