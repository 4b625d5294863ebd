"""Interpolation in one dimension: kernel ridge regression with a Gaussian and with a Laplacian kernel."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import Vi, Vj
from common import COLOURS, SOFT, Example

KERNELS = {
    "Gaussian": lambda x, y, s: (-((Vi(x) - Vj(y)) ** 2).sum(-1) / (2 * s ** 2)).exp(),
    "Laplacian": lambda x, y, s: (-(Vi(x) - Vj(y)).norm2() / s).exp(),
}


def signal(t):
    return t + 0.5 * np.sin(6 * t) + 0.1 * np.sin(20 * t)


example = Example("interpolation_1d", __doc__)
N = 10_000 if example.full else 1_000
rng = np.random.default_rng(0)
x = rng.random((N, 1))
b = signal(x) + 0.05 * rng.normal(size=(N, 1))
t = np.linspace(0, 1, 1001)[:, None]
sigma, alpha = 0.1, 1.0

figure, panels = plt.subplots(1, 2, figsize=(10, 4), sharey=True)
errors = {}
for panel, (name, kernel), colour in zip(panels, KERNELS.items(), (COLOURS[3], COLOURS[0])):
    a = example.timed(name, lambda kernel=kernel: kernel(x, x, sigma).solve(b, alpha=alpha))
    mean = kernel(t, x, sigma) @ a
    residual = np.abs(kernel(x, x, sigma) @ a + alpha * a - b).max()
    errors |= {f"{name} error": np.sqrt(((mean - signal(t)) ** 2).mean()), f"{name} residual": residual}
    shown = slice(None, None, max(N // 2000, 1))
    panel.scatter(x[shown], b[shown], s=5, c=SOFT, alpha=0.5, linewidths=0, label=f"{N:,} noisy values")
    panel.plot(t, signal(t), "--", c="black", lw=1, label="the signal")
    panel.plot(t, mean, c=colour, lw=2, label=f"root mean square error {errors[f'{name} error']:.4f}")
    panel.set(title=f"{name} kernel", xlabel="x", xlim=(0, 1), ylim=(-0.45, 1.1))
    panel.legend(loc="lower right")
example.save(figure, points=N, **errors)
