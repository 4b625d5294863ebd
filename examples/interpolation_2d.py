"""Interpolation in the plane, with a Gaussian and with a Laplacian kernel: smooth hills cut by a cliff."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import LazyTensor
from common import Example


def gaussian(D_ij, sigma):
    return (-D_ij / (2 * sigma ** 2)).exp()


def laplacian(D_ij, sigma):
    return (-D_ij.sqrt() / sigma).exp()


def sqdist(x, y):
    return ((LazyTensor(x[:, None, :]) - LazyTensor(y[None, :, :])) ** 2).sum(-1)


def height(p):
    u, v = p[:, :1], p[:, 1:]
    hills = np.exp(-((u - 0.3) ** 2 + (v - 0.65) ** 2) / 0.03) + 0.6 * np.sin(5 * u + 3 * v ** 2)
    return hills + (v < 0.35 + 0.15 * np.sin(7 * u))


example = Example("interpolation_2d", __doc__)
N, side = (20_000, 400) if example.full else (2_000, 120)
rng = np.random.default_rng(0)
x = rng.random((N, 2))
b = height(x) + 0.05 * rng.normal(size=(N, 1))
axis = np.linspace(0, 1, side)
t = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
truth = height(t)

figure, panels = plt.subplots(1, 4, figsize=(13, 3.7))
window = dict(vmin=truth.min(), vmax=truth.max())
panels[0].scatter(*x.T, c=b[:, 0], s=4000 / N, linewidths=0, **window)
panels[0].set_title(f"{N:,} noisy values")
panels[1].imshow(truth.reshape(side, side), origin="lower", extent=(0, 1, 0, 1), **window)
panels[1].set_title("what they were taken from")
errors = {}
for panel, kernel, sigma, alpha in zip(panels[2:], (gaussian, laplacian), (0.05, 0.3), (0.5, 0.5)):
    name = kernel.__name__
    a = example.timed(name, lambda k=kernel, s=sigma, r=alpha: k(sqdist(x, x), s).solve(b, alpha=r, eps=1e-4))
    mean = kernel(sqdist(t, x), sigma) @ a
    errors[f"{name} error"] = np.sqrt(((mean - truth) ** 2).mean())
    panel.imshow(mean.reshape(side, side), origin="lower", extent=(0, 1, 0, 1), **window)
    panel.set_title(f"{name}: error {errors[f'{name} error']:.3f}")
for panel in panels:
    panel.set(aspect="equal", xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
example.save(figure, points=N, **errors)
