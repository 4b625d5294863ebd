r"""
Deformation modules with an implicit constraint
===============================================

A model of growth in the manner of IMODAL (Lacroix, Charlier, Trouvé, Gris, CVPR 2021). A *module* turns a few controls into a
vector field. Here the field of a control :math:`h` is known by what it does: at the points :math:`q_i` its strain
:math:`\varepsilon(v) = (Dv + Dv^T)/2` is :math:`h\, c_i I`, a growth without preferred direction at the rate :math:`c_i`; among such
fields it is the one of least norm in the space of a Gaussian kernel. With :math:`C v = (\varepsilon(v)(q_i))_i` that field is
:math:`v = K C^T \lambda`, where

.. math:: (C K C^T + \alpha I)\, \lambda = h\, c,

a system with a kernel of 3 x 3 matrices, which is solved within the Hamiltonian; gradients go through it, twice: once for
the equations of motion, once to learn the rates :math:`c` from a leaf before and after its growth.
"""

import matplotlib.pyplot as plt
import torch
from benben.torch import Vi, Vj

torch.set_default_dtype(torch.float64)
sigma, alpha, spread, weight = 0.4, 1e-2, 0.15, 0.01

# %%
# The kernel
# ----------
# A symmetric matrix is a vector :math:`m = (\Lambda_{11}, \Lambda_{22}, \sqrt 2 \Lambda_{12})`. With :math:`r = x - y`,
# :math:`K C^T` takes it to the field :math:`k(r) \Lambda r / \sigma^2`; the strain of that field is the kernel of the system.


def field(x_i, y_j, m_j):
    r = x_i - y_j
    k = (-(r**2).sum(-1) / (2 * sigma**2)).exp() / sigma**2
    a, b, c = m_j[..., 0:1], m_j[..., 1:2], m_j[..., 2:3] / 2**0.5
    r1, r2 = r[..., 0:1], r[..., 1:2]
    return k, r, (a * r1 + c * r2).concat(c * r1 + b * r2)  # the last: Lambda r


def velocity(x_i, y_j, m_j):
    k, _, u = field(x_i, y_j, m_j)
    return k * u


def strain(x_i, y_j, m_j):
    k, r, u = field(x_i, y_j, m_j)
    r1, r2, u1, u2 = r[..., 0:1], r[..., 1:2], u[..., 0:1], u[..., 1:2]
    symmetric = (u1 * r1).concat(u2 * r2).concat((u1 * r2 + u2 * r1) / 2**0.5)
    return k * (m_j - symmetric / sigma**2)


# %%
# The Hamiltonian
# ---------------
# Two modules move the points :math:`x` (the first ones are the :math:`q_i`, the others the contour): the growth, whose best
# control is known in closed form, and translations of every point, smooth and expensive, for what growth does not explain.


def growth(x, rates):
    q, c = x[: len(rates)], rates[:, None] * torch.tensor([1.0, 1.0, 0.0])
    m = strain(Vi(q), Vj(q), Vj(0, 3)).solve(Vi(c), var=Vj(0, 3), alpha=alpha, eps=1e-8)
    return velocity(Vi(x), Vj(q), Vj(m)).sum(1), (c * m).sum()  # v of h = 1, and its cost


def hamiltonian(x, p, rates):
    v, cost = growth(x, rates)
    K_xx = (-((Vi(x) - Vj(x)) ** 2).sum(-1) / (2 * spread**2)).exp()
    return (p * v).sum() ** 2 / (2 * cost) + weight * (p * (K_xx @ p)).sum() / 2


def shoot(x, p, rates, steps=4):
    """The points at time 1, by Heun's method."""

    def right_side(x, p):
        dx, dp = torch.autograd.grad(hamiltonian(x, p, rates), (x, p), create_graph=True)
        return dp, -dx

    for _ in range(steps):
        vx, vp = right_side(x, p)
        wx, wp = right_side(x + vx / steps, p + vp / steps)
        x, p = x + (vx + wx) / (2 * steps), p + (vp + wp) / (2 * steps)
    return x


# %%
# Data
# ----
# A leaf, and the same leaf after it has grown at the base (basipetal growth), by rates that the model is not told.


def leaf(n=60):
    t = torch.linspace(0, 2 * torch.pi, n + 1)[:-1]
    half_width = 0.22 * torch.sin(t) * (1.3 - torch.cos(t)) / 1.5
    return torch.stack([half_width, (1 - torch.cos(t)) / 2], 1)


contour = leaf()
grid = torch.cartesian_prod(torch.linspace(-0.3, 0.3, 9), torch.linspace(0.05, 0.95, 12))
width = 0.22 * 2 * (grid[:, 1] * (1 - grid[:, 1])).sqrt() * (0.3 + 2 * grid[:, 1]) / 1.5
q = grid[grid[:, 0].abs() < 0.9 * width]
x0 = torch.cat([q, contour])

# rates are polynomials of the height
basis = torch.stack([torch.ones(len(q)), q[:, 1], q[:, 1] ** 2], 1)
hidden = torch.tensor([1.0, -1.4, 0.5])
with torch.no_grad():
    target = x0
    for _ in range(8):  # the hidden growth, at a constant control
        v, _ = growth(target, basis @ hidden)
        target = target + 0.75 * v / 8
target = target[len(q) :]

# %%
# Fit
# ---
# Unknown are the momenta and the coefficients of the rates. Gradients with respect to both pass through
# every system of the four steps.

p0 = torch.zeros_like(x0)
p0[len(q) :] = 0.1 * (target - contour)
p0.requires_grad_()
coefficients = torch.tensor([1.0, 0.0, 0.0], requires_grad=True)
optimizer = torch.optim.LBFGS([p0, coefficients], max_iter=30, line_search_fn="strong_wolfe")
losses = []


def closure():
    optimizer.zero_grad()
    x = x0.clone().requires_grad_()
    end = shoot(x, p0, basis @ coefficients)
    loss = ((end[len(q) :] - target) ** 2).sum() + 1e-3 * hamiltonian(x, p0, basis @ coefficients)
    loss.backward()
    losses.append(loss.item())
    return loss


optimizer.step(closure)
x = x0.clone().requires_grad_()
end = shoot(x, p0, basis @ coefficients).detach()
before = (contour - target).norm(dim=1).mean().item()
after = (end[len(q) :] - target).norm(dim=1).mean().item()
profile = (coefficients / coefficients[0]).tolist()
print(f"{len(q)} constraints of 3 numbers, {len(losses)} gradients")
print(f"mean distance to the target: {before:.4f} before, {after:.4f} after")
print(f"rates: 1 {profile[1]:+.2f} y {profile[2]:+.2f} y^2, hidden: 1 {hidden[1]:+.2f} y {hidden[2]:+.2f} y^2")

# %%
# The leaf, its growth, and the rates found.

figure, panels = plt.subplots(1, 3, figsize=(10, 4.5), width_ratios=[1, 1, 1.1], constrained_layout=True)
loop = [*range(len(contour)), 0]
rates = (basis @ coefficients).detach()
panels[0].plot(*contour[loop].T, color="#1d2733")
panels[0].scatter(*q.T, c=rates, s=25, cmap="viridis")
panels[0].set_title("before; points: growth rate")
panels[1].plot(*target[loop].T, color="#e0852d", lw=5, alpha=0.5, label="target")
panels[1].plot(*end[len(q) :][loop].T, color="#1d2733", label="model")
panels[1].scatter(*end[: len(q)].T, c=rates, s=25, cmap="viridis")
panels[1].set_title("after")
panels[1].legend(frameon=False, loc="lower right")
y = torch.linspace(0, 1, 50)
for values, label in ((hidden, "hidden"), (coefficients.detach(), "found")):
    curve = values[0] + values[1] * y + values[2] * y**2
    panels[2].plot(curve / curve[0], y, label=label)
panels[2].set(title="rate by height", xlabel="relative to the base", ylabel="y")
panels[2].legend(frameon=False)
both = torch.cat([contour, target])
low, high = both.min(0).values - 0.1, both.max(0).values + 0.1
for panel in panels[:2]:
    panel.set(aspect="equal", xticks=[], yticks=[], xlim=(low[0], high[0]), ylim=(low[1], high[1]))
plt.show()
