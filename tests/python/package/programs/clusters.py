"""K-means, then block-sparse sums between the clusters of a grid."""
import numpy as np
from pykeops.numpy import LazyTensor, Vi, Vj
from pykeops.numpy.cluster import (cluster_centroids, cluster_ranges, cluster_ranges_centroids, from_matrix, grid_cluster,
                                   sort_clusters, swap_axes)

rng = np.random.default_rng(1)
x = rng.random((300, 2))
b = rng.random((300, 1))


def kmeans(x, K, steps=10):
    c = x[:K, :].copy()
    x_i = LazyTensor(x[:, None, :])
    for _ in range(steps):
        c_j = LazyTensor(c[None, :, :])
        D_ij = ((x_i - c_j) ** 2).sum(-1)
        cl = D_ij.argmin(axis=1).astype(int).reshape(len(x))
        Ncl = np.maximum(np.bincount(cl, minlength=K), 1).astype(x.dtype)
        for d in range(x.shape[1]):
            c[:, d] = np.bincount(cl, weights=x[:, d], minlength=K) / Ncl
    return cl, c


cl, c = kmeans(x, 8)
assert (np.sort(np.unique(cl)) == np.arange(8)).all()
assert (((x[:, None] - c) ** 2).sum(-1).argmin(1) == kmeans(x, 8, 11)[0]).all()

lab = grid_cluster(x, 0.2)
x_ranges, x_centroids, weights = cluster_ranges_centroids(x, lab)
(x, b), lab = sort_clusters((x, b), lab)
assert np.allclose(cluster_centroids(x, lab), x_centroids) and (cluster_ranges(lab) == x_ranges).all()
assert weights.sum() == 300
keep = ((x_centroids[:, None, :] - x_centroids[None, :, :]) ** 2).sum(2) < 0.4 ** 2
ranges_ij = from_matrix(x_ranges, x_ranges, keep)
assert all((a == b).all() for a, b in zip(swap_axes(swap_axes(ranges_ij)), ranges_ij))
D_ij = ((Vi(x) - Vj(x)) ** 2).sum(-1)
K_ij = (-D_ij / 0.02).exp()
K_ij.ranges = ranges_ij
mask = keep[lab[:, None], lab[None, :]]
dense = np.exp(-((x[:, None] - x) ** 2).sum(-1) / 0.02) * mask
assert np.allclose(K_ij @ b, dense @ b)
assert np.allclose(K_ij.t() @ b, dense.T @ b)
assert np.allclose((-D_ij).exp().sum(axis=0, ranges=ranges_ij)[:, 0],
                   (np.exp(-((x[:, None] - x) ** 2).sum(-1)) * mask).sum(0))
values, indices = D_ij.Kmin_argKmin(4, dim=1)
full = ((x[:, None] - x) ** 2).sum(-1)
assert np.allclose(values, np.sort(full, 1)[:, :4]) and np.allclose(np.take_along_axis(full, indices, 1), values)
print("done")
