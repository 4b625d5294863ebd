"""
Optimal transport: a gradient flow of the Sinkhorn divergence
=============================================================

Points of one shape flow to another along the gradient of S(a, b) = OT(a, b) - OT(a, a)/2 - OT(b, b)/2, where OT is
optimal transport with entropic regularisation. The dual potentials are found by Sinkhorn's iterations in the log domain,
one log-sum-exp reduction each, with a regularisation that shrinks from the size of the picture to its goal; at their
fixed point the gradient passes through the last step only.
"""
# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from benben.torch import Vi, Vj
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from setting import COLOURS, full, save, timed

torch.manual_seed(0)
N = 10_000 if full else 1_000
goal = 0.02  # the regularisation is a squared length: blur is about its root


def softmin(epsilon, x, y, h):
    """-epsilon log sum_j exp(h_j - C(x_i, y_j) / epsilon), with C = \|x - y\|^2 / 2."""
    C = ((Vi(x) - Vj(y)) ** 2).sum(-1) / 2
    return -epsilon * (Vj(h[:, None]) - C / epsilon).logsumexp(dim=1)[:, 0]


def sinkhorn_divergence(x, y, blur=goal, scaling=0.7, polish=1):
    """Uniform weights on the rows of x (differentiable) and y."""
    log_a, log_b = (torch.full_like(t[:, 0], -np.log(len(t))) for t in (x, y))
    with torch.no_grad():
        epsilon = 4.0
        zero = lambda t: torch.zeros_like(t[:, 0])
        f, g, f_x, g_y = zero(x), zero(y), zero(x), zero(y)
        while True:
            new_f = softmin(epsilon, x, y, log_b + g / epsilon)
            new_g = softmin(epsilon, y, x, log_a + f / epsilon)
            f_x = (f_x + softmin(epsilon, x, x, log_a + f_x / epsilon)) / 2
            g_y = (g_y + softmin(epsilon, y, y, log_b + g_y / epsilon)) / 2
            f, g = (f + new_f) / 2, (g + new_g) / 2
            polish -= epsilon == blur ** 2
            if not polish:
                break
            epsilon = max(epsilon * scaling ** 2, blur ** 2)
    fixed_x = x.detach()
    f = softmin(epsilon, x, y, log_b + g / epsilon)
    g = softmin(epsilon, y, fixed_x, log_a + f.detach() / epsilon)
    f_x = softmin(epsilon, x, fixed_x, log_a + f_x / epsilon)
    return (f - f_x).mean() + (g - g_y).mean()


# %%
# Points of a disc, and points of a letter.
rng = np.random.default_rng(0)


def points_in(text):
    path = TextPath((0, 0), text, size=1, prop=dict(family="DejaVu Sans", weight="bold"))
    low, high = path.get_extents().min, path.get_extents().max
    drawn = low + (high - low) * rng.random((40 * N, 2))
    inside = np.zeros(len(drawn), int)
    for polygon in path.to_polygons():
        inside += Path(polygon).contains_points(drawn)
    drawn = drawn[inside % 2 == 1][:N]
    return torch.tensor((drawn - drawn.mean(0)) / (high - low).max() + 0.5, dtype=torch.float32)


y = points_in("B")
r, t = 0.25 * np.sqrt(rng.random(N)), 2 * np.pi * rng.random(N)
x = torch.tensor(np.stack([0.5 + r * np.cos(t), 0.5 + r * np.sin(t)], 1), dtype=torch.float32)

# %%
# The flow: N times the gradient is the displacement of each point.
steps, rate = 30, 0.3
states, values = [x], []


def flow():
    global x
    for _ in range(steps):
        x = x.detach().requires_grad_()
        value = sinkhorn_divergence(x, y)
        (gradient,) = torch.autograd.grad(value, x)
        x = (x - rate * N * gradient).detach()
        states.append(x)
        values.append(value.item())


_, seconds = timed(flow)
assert values[-1] < 0.01 * values[0]
assert abs(sinkhorn_divergence(y, y).item()) < 1e-6

# %%
# The gradient against a finite difference of the divergence, in float64.
x64, y64 = states[3][:300].double().requires_grad_(), y[:300].double()
fine = lambda x: sinkhorn_divergence(x, y64, 0.1, 0.7, 300)
direction = torch.randn_like(x64)
slope = (torch.autograd.grad(fine(x64), x64)[0] * direction).sum().item()
with torch.no_grad():
    difference = ((fine(x64 + 1e-4 * direction) - fine(x64 - 1e-4 * direction)) / 2e-4).item()
assert abs(slope - difference) < 1e-4 * abs(difference), (slope, difference)

# %%
shown = [0, 2, 5, 10, 30]
figure, panels = plt.subplots(1, 6, figsize=(16, 3))
colours = plt.cm.hsv(0.5 + np.arctan2(*(states[0].numpy() - 0.5).T) / (2 * np.pi))
for panel, k in zip(panels, shown):
    panel.scatter(*y.T, s=3, c="#c9d0d6", linewidths=0)
    panel.scatter(*states[k].T, s=5 if N < 5000 else 2, c=colours, linewidths=0)
    panel.set(title=f"step {k}", xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
panels[5].semilogy(values, lw=2, color=COLOURS[1])
panels[5].set(title="Sinkhorn divergence", xlabel="step")
save("sinkhorn", figure, points=N, seconds=seconds, divergence_first=values[0], divergence_last=values[-1],
     gradient=slope, finite_difference=difference)
