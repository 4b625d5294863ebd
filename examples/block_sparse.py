"""Block-sparse reductions: clusters that are far from each other are never met."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import Vi, Vj
from benben.numpy.cluster import cluster_ranges_centroids, from_matrix, grid_cluster, sort_clusters
from common import COLOURS, Example
from matplotlib.colors import ListedColormap

example = Example("block_sparse", __doc__)
N, sigma = (200_000, 0.01) if example.full else (20_000, 0.02)
rng = np.random.default_rng(0)
turn = rng.random(N) * 2 * np.pi
x = np.stack([np.cos(turn) + 0.4 * np.cos(3 * turn), np.sin(turn) + 0.4 * np.sin(2 * turn)], 1)
x = (x + 0.04 * rng.normal(size=(N, 2))).astype(np.float32)
b = rng.normal(size=(N, 1)).astype(np.float32)

# Sort the points by the square of a grid they are in, and keep pairs of squares that are near.
labels = grid_cluster(x, 0.1)
ranges, centroids, _ = cluster_ranges_centroids(x, labels)
(x, b), labels = sort_clusters((x, b), labels)
reach = 6 * sigma + 0.1 * np.sqrt(2)  # no kernel value beyond is above 1.6e-8
keep = ((centroids[:, None] - centroids) ** 2).sum(-1) < reach ** 2

K = (-((Vi(x) - Vj(x)) ** 2).sum(-1) / (2 * sigma ** 2)).exp()
dense = example.timed("all pairs", lambda: K @ b)
K.ranges = from_matrix(ranges, ranges, keep)
sparse = example.timed("near pairs", lambda: K @ b)

sizes = np.diff(ranges)[:, 0]
share = (sizes[:, None] * sizes * keep).sum() / N ** 2
figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.8))
left.scatter(*x[::max(N // 20000, 1)].T, s=1.5, c=labels[::max(N // 20000, 1)] * 7 % 8, cmap=ListedColormap(COLOURS), linewidths=0)
chosen = len(centroids) // 3
near = keep[chosen]
left.scatter(*centroids[near].T, s=26, facecolors="none", edgecolors="black")
left.scatter(*centroids[chosen], s=40, c="black")
left.set(title=f"{N:,} points in {len(centroids)} squares; the neighbours of one", aspect="equal", xticks=[], yticks=[])
edges = np.append(ranges[:, 0], N)
right.pcolormesh(edges, edges, keep, cmap=ListedColormap(["#eef1f4", COLOURS[0]]))
right.set(title=f"the blocks of K that are computed: {100 * share:.1f} %", aspect="equal", xlabel="j", ylabel="i")
right.invert_yaxis()
right.ticklabel_format(useOffset=False, style="plain")
example.save(figure, points=N, share=share, error=np.abs(sparse - dense).max() / np.abs(dense).max())
