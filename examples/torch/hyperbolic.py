"""
Embedding a tree in the hyperbolic plane
========================================

The nodes of a tree become points of the hyperbolic half-plane, whose distance is acosh(1 + D_ij / (2 h_i h_j)), with
squared Euclidean distances D_ij and heights h. Each edge (i, j) asks that j be likely among all nodes under a softmax of
minus the distance from i: one log-sum-exp over a symbolic matrix of distances. The Euclidean plane has no room for a
tree; the mean average precision, with which neighbours in the tree are the nearest points, tells.
"""
# %%
import math

import matplotlib.pyplot as plt
import torch
from benben.torch import Vi, Vj
from matplotlib.collections import LineCollection
from setting import COLOURS, SOFT, full, save, timed

torch.manual_seed(0)
torch.set_default_dtype(torch.float64)
branches, depth, steps = (3, 8, 300) if full else (3, 5, 70)

# %%
# A complete tree: nodes in breadth-first order.
N = (branches ** (depth + 1) - 1) // (branches - 1)
child = torch.arange(1, N)
parent = (child - 1) // branches
level = torch.zeros(N, dtype=torch.long)
for i in range(1, N):
    level[i] = level[(i - 1) // branches] + 1
ends = torch.cat([torch.stack([child, parent], 1), torch.stack([parent, child], 1)])


# %%
# Two geometries: coordinates from free parameters, and distances of rows, or as a symbolic matrix.
class Hyperbolic:
    @staticmethod
    def place(v):
        """The exponential map at the centre of the disc, then to the half-plane: (height, abscissa)."""
        r = (v.square().sum(1, keepdim=True) + 1e-12).sqrt()
        w = torch.tanh(r / 2) * v / r
        size = (1 - w[:, :1]) ** 2 + w[:, 1:] ** 2
        return torch.cat([torch.cosh(r / 2) ** -2 / size, -2 * w[:, 1:] / size], 1)

    @staticmethod
    def distance(x, y):
        z = ((x - y) ** 2).sum(-1) / (2 * x[..., 0] * y[..., 0])
        return (z + (z * (z + 2) + 1e-9).sqrt()).log1p()  # acosh(1 + z), with a derivative at 0

    @staticmethod
    def disc(x):
        z = torch.complex(x[:, 1], x[:, 0])
        w = (z - 1j) / (z + 1j)
        return torch.stack([w.real, w.imag], 1)


class Euclidean:
    @staticmethod
    def place(v):
        return v

    @staticmethod
    def distance(x, y):
        return (((x - y) ** 2).sum(-1) + 1e-9).sqrt()


def loss(geometry, v):
    x = geometry.place(v)
    i, j = ends[(ends < len(v)).all(1)].T
    partition = (-geometry.distance(Vi(x), Vj(x))).logsumexp(dim=1)[:, 0]
    return (geometry.distance(x[i], x[j]) + partition[i]).mean()


def embed(geometry, rate):
    """One level after the other; children begin near their parents."""
    v, history = torch.zeros(1, 2), []
    for deep in range(1, depth + 1):
        born = parent[level[1:] == deep]
        v = torch.cat([v.detach(), v.detach()[born] + 0.1 * torch.randn(len(born), 2)]).requires_grad_()
        optimizer = torch.optim.Adam([v], lr=rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, steps)
        for _ in range(steps):
            optimizer.zero_grad()
            value = loss(geometry, v)
            value.backward()
            optimizer.step()
            schedule.step()
            history.append(value.item())
    return geometry.place(v.detach()), history


def average_precision(geometry, x):
    """Neighbours in the tree among the nearest points, averaged over their ranks and the nodes."""
    i, j = ends.T
    own = geometry.distance(x[i], x[j])[:, None]
    nearer = (geometry.distance(Vi(x[i]), Vj(x)) < Vi(own * (1 - 1e-9))).sum(dim=1)[:, 0]  # the node itself among them
    among = torch.zeros(len(ends))
    for node in range(N):
        mine = (i == node).nonzero()[:, 0]
        among[mine[own[mine, 0].argsort()]] = torch.arange(1.0, len(mine) + 1)
    precision = among / nearer.clamp(min=1)
    return (torch.zeros(N).index_add(0, i, precision) / torch.bincount(i)).mean().item()


(x, history), seconds = timed(embed, Hyperbolic, 0.1)
flat, history_flat = embed(Euclidean, 0.1)
precision, precision_flat = average_precision(Hyperbolic, x), average_precision(Euclidean, flat)
assert precision > precision_flat and history[-1] < history_flat[-1] - 0.3

# %%
# In the Poincare disc, edges are arcs of geodesics: straight in the hyperboloid, so drawn from points between.
def geodesic(a, b, t):
    def lift(w):
        s = (w ** 2).sum(-1, keepdim=True)
        return torch.cat([1 + s, 2 * w], -1) / (1 - s)

    p = (1 - t)[:, None] * lift(a)[:, None] + t[:, None] * lift(b)[:, None]
    p = p / (p[..., :1] ** 2 - (p[..., 1:] ** 2).sum(-1, keepdim=True)).sqrt()
    return p[..., 1:] / (1 + p[..., :1])


figure, (left, middle, right) = plt.subplots(1, 3, figsize=(14.5, 4.9), width_ratios=[1, 1, 0.85])
w = Hyperbolic.disc(x)
left.add_patch(plt.Circle((0, 0), 1, color="#f2f4f6"))
for panel, points, paths, title in [
    (left, w, geodesic(w[child], w[parent], torch.linspace(0, 1, 20)), f"hyperbolic: average precision {precision:.2f}"),
    (middle, flat, torch.stack([flat[child], flat[parent]], 1), f"Euclidean: average precision {precision_flat:.2f}")]:
    panel.add_collection(LineCollection(paths.numpy(), colors=SOFT, linewidths=0.6))
    panel.scatter(*points.T, c=[COLOURS[k % 8] for k in level.tolist()], s=40 / (1 + level), zorder=3, linewidths=0)
    panel.set(title=title, aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
left.set(xlim=(-1.02, 1.02), ylim=(-1.02, 1.02))
right.plot(history, lw=2, label="hyperbolic")
right.plot(history_flat, lw=2, label="Euclidean")
right.set(title=f"loss, {N:,} nodes", xlabel="step")
right.legend()
save("hyperbolic", figure, nodes=N, steps=steps * depth, seconds=seconds, average_precision=precision,
     average_precision_euclidean=precision_flat, loss=history[-1], loss_euclidean=history_flat[-1])
