r"""
Gaussian-process regression with learned hyperparameters
========================================================

Heights of the Jacksboro fault, measured at N places, predict those at others. Length-scale, amplitude and noise of the
Matern kernel are learned by maximising the marginal likelihood

    log p(y) = -1/2 y' A^-1 y - 1/2 log det A - N/2 log 2 pi,   A = K + noise I,

without A: systems by conjugate gradients, the determinant and its gradient tr(A^-1 dA) by benben.torch.logdet, which is
stochastic Lanczos quadrature with a preconditioner.
"""
# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from benben.torch import Vi, Vj, logdet
from matplotlib import cbook
from matplotlib.colors import LightSource
from setting import COLOURS, SOFT, full, save, timed

torch.manual_seed(0)
N, steps, probes = (20_000, 40, 16) if full else (700, 20, 8)

elevation = torch.tensor(cbook.get_sample_data("jacksboro_fault_dem.npz")["elevation"].astype(np.float64))
rows, columns = elevation.shape
place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double() / 100
height = (elevation.flatten() - elevation.mean()) / elevation.std()
order = torch.randperm(len(height))
x, y = place[order[:N]], height[order[:N], None]
held_out = order[N:N + 20_000]


# %%
# The kernel: Matern 3/2. Parameters are logarithms of length-scale, amplitude and variance of the noise.
def kernel(x, y, parameters):
    length, amplitude, _ = parameters.exp()
    r = math.sqrt(3) * (Vi(x / length) - Vj(y / length)).norm2()
    return amplitude * (1 + r) * (-r).exp()


def quadratic(parameters):
    """y' A^-1 y, differentiated implicitly."""
    return (y * kernel(x, x, parameters).solve(y, alpha=parameters[2].exp(), eps=1e-7)).sum()


def determinant(parameters, seed):
    """log det A with its error; the gradient of its value is tr(A^-1 dA), estimated with the same probes."""
    return logdet(kernel(x, x, parameters), parameters[2].exp(), probes=probes, dense_rows=-1, seed=seed)


# %%
# Learning: Adam with new probes in each step.
parameters = torch.tensor([math.log(0.3), 0.0, math.log(0.1)], dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.Adam([parameters], lr=0.15)
history, likelihood = [], []


def learn():
    for step in range(steps):
        history.append(parameters.detach().exp())
        optimizer.zero_grad()
        fit = quadratic(parameters)
        (0.5 * (fit + determinant(parameters, step).value)).backward()
        optimizer.step()
        if step % 5 == 0 or step == steps - 1:
            with torch.no_grad():  # the likelihoods are compared, so their probes are the same
                value = determinant(history[-1].log(), 0).value
            likelihood.append((step, (-0.5 * (fit.detach() + value + N * math.log(2 * math.pi)) / N).item()))


_, seconds = timed(learn)
assert likelihood[-1][1] > likelihood[0][1]

# %%
# The gradient and the likelihood against dense ones, in their own errors.
learned = parameters.detach()
numbers = {}
if N <= 5000:
    def dense(parameters):
        length, amplitude, noise = parameters.exp()
        r = math.sqrt(3) * torch.cdist(x, x) / length
        L = torch.linalg.cholesky(amplitude * (1 + r) * torch.exp(-r) + noise * torch.eye(N))
        return torch.cholesky_solve(y, L).mul(y).sum().item(), 2 * L.diagonal().log().sum().item()

    leaf = learned.clone().requires_grad_()
    (by_fit,) = torch.autograd.grad(quadratic(leaf), leaf)
    estimates = [determinant(leaf, seed) for seed in range(5)]
    by_trace = torch.stack([torch.autograd.grad(e.value, leaf)[0] for e in estimates])
    step = 1e-4 * torch.eye(3, dtype=torch.float64)
    differences = torch.tensor([[(a - b) / 2e-4 for a, b in zip(dense(learned + h), dense(learned - h))] for h in step])
    fit_error = ((by_fit - differences[:, 0]).norm() / differences[:, 0].norm()).item()
    trace_error = (by_trace.mean(0) - differences[:, 1]).abs() / (by_trace.std(0) / math.sqrt(len(estimates)))
    log_determinant, exact = estimates[0].value.item(), dense(learned)[1]
    assert fit_error < 1e-3 and trace_error.max() < 8 and abs(log_determinant - exact) < 2 * estimates[0].error
    numbers = dict(gradient_of_the_fit_against_difference=fit_error, standard_errors_of_the_trace=trace_error.max(),
                   log_determinant=log_determinant, error_of_the_determinant=estimates[0].error, dense_log_determinant=exact)

# %%
# Prediction everywhere; its error where nothing was measured.
with torch.no_grad():
    mean = kernel(place, x, learned) @ kernel(x, x, learned).solve(y, alpha=learned[2].exp())
scale = elevation.std().item()
error = scale * (mean[held_out, 0] - height[held_out]).square().mean().sqrt().item()
nearest = ((Vi(place[held_out]) - Vj(x)) ** 2).sum(-1).argmin(dim=1)[:, 0]
error_nearest = scale * (y[nearest, 0] - height[held_out]).square().mean().sqrt().item()
assert error < 0.9 * error_nearest

# %%
figure, panels = plt.subplots(2, 2, figsize=(11, 9))
light = LightSource(azdeg=315, altdeg=45)
low, high = elevation.min().item(), elevation.max().item()
predicted = scale * mean.reshape(rows, columns) + elevation.mean()
for panel, values, title in [(panels[0, 0], elevation, "terrain"),
                             (panels[0, 1], predicted, f"predicted from {N:,} heights: error {error:.0f} m")]:
    panel.imshow(light.shade(values.numpy(), plt.cm.gist_earth, blend_mode="soft", vert_exag=0.05, vmin=low, vmax=high))
    panel.set(title=title, xticks=[], yticks=[])
panels[0, 1].scatter(100 * x[:, 1], 100 * x[:, 0], s=1.5 if N < 5000 else 0.2, c="black", linewidths=0)
for k, (name, colour) in enumerate(zip(("length-scale", "amplitude", "variance of the noise"), COLOURS)):
    panels[1, 0].semilogy(torch.stack(history)[:, k], lw=2, c=colour, label=name)
panels[1, 0].set(title="learning", xlabel="step")
panels[1, 0].legend()
panels[1, 1].plot(*zip(*likelihood), "o-", lw=2, c=COLOURS[3])
panels[1, 1].set(title="log marginal likelihood per height (stochastic Lanczos)", xlabel="step")
length, amplitude, noise = learned.exp().tolist()
save("gaussian_process", figure, heights=N, seconds=seconds, length_scale=length, amplitude=amplitude, noise=noise,
     held_out_error_m=error, nearest_neighbour_error_m=error_nearest, **numbers)
