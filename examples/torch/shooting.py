"""
The Hamiltonian and geodesic shooting
=====================================

H(q, p) = 1/2 sum_ij p_i . k(q_i, q_j) p_j with a Gaussian kernel k: the kinetic energy of landmarks q that move with
momenta p. Its gradient is the field of Hamilton's equations, its second derivatives move perturbations along. The
equations are integrated by the classical Runge-Kutta method; the energy is conserved, and the error falls as the fourth
power of the step.
"""
# %%
# The Hamiltonian, with derivatives of first and second order beside those of a dense matrix.
import matplotlib.pyplot as plt
import torch
from benben.torch import Vi, Vj
from setting import COLOURS, SOFT, full, save, timed
from torch.func import grad, hessian, jvp

sigma = 0.35


def hamiltonian(q, p):
    K = (-((Vi(q) - Vj(q)) ** 2).sum(-1) / sigma ** 2).exp()
    return 0.5 * (p * (K @ p)).sum()


def dense(q, p):
    K = torch.exp(-((q[:, None] - q) ** 2).sum(-1) / sigma ** 2)
    return 0.5 * (p * (K @ p)).sum()


torch.manual_seed(0)
q, p = 0.3 * torch.randn(2, 40, 3, dtype=torch.float64)
deviation = 0.0
for derivative in (grad, hessian):
    found, expected = derivative(hamiltonian, (0, 1))(q, p), derivative(dense, (0, 1))(q, p)
    for f, e in zip(torch.utils._pytree.tree_leaves(found), torch.utils._pytree.tree_leaves(expected)):
        deviation = max(deviation, ((f - e).abs().max() / e.abs().max()).item())
assert deviation < 1e-12

# %%
# Hamilton's equations: dq/dt = dH/dp, dp/dt = -dH/dq.
field = grad(hamiltonian, (0, 1))


def velocity(q, p):
    by_q, by_p = field(q, p)
    return by_p, -by_q


def shoot(q, p, steps=20):
    """The states at times 0, 1/steps, ..., 1."""
    h, states = 1 / steps, [(q, p)]
    for _ in range(steps):
        a = velocity(q, p)
        b = velocity(q + h / 2 * a[0], p + h / 2 * a[1])
        c = velocity(q + h / 2 * b[0], p + h / 2 * b[1])
        d = velocity(q + h * c[0], p + h * c[1])
        q, p = (x + h / 6 * (ka + 2 * kb + 2 * kc + kd) for x, ka, kb, kc, kd in zip((q, p), a, b, c, d))
        states.append((q, p))
    return states


# %%
# Landmarks on a circle; the momenta push it into a flower.
N = 20_000 if full else 400
angle = torch.linspace(0, 2 * torch.pi, N + 1, dtype=torch.float64)[:-1]
radial = torch.stack([angle.cos(), angle.sin()], 1)
q = 0.6 * radial
p = 25 / N * (0.45 * torch.cos(5 * angle) + 0.15 + 0.2 * torch.sin(2 * angle))[:, None] * radial
states, seconds = timed(shoot, q, p)
energy = torch.stack([hamiltonian(*state) for state in states])
drift = ((energy - energy[0]).abs().max() / energy[0]).item()
assert drift < 1e-5

# %%
# The order of the integrator, and second derivatives at work: the tangent of the end point with respect to the momenta
# (forward mode through every step) against a finite difference.
counts = [5, 10, 20, 40]
few = slice(None, None, max(N // 400, 1))
exact = shoot(q[few], p[few] * (N / len(q[few])), 160)[-1][0]
errors = [(shoot(q[few], p[few] * (N / len(q[few])), n)[-1][0] - exact).norm().item() for n in counts]
order = torch.log2(torch.tensor(errors[1]) / torch.tensor(errors[3])).item() / 2
assert 3.7 < order < 4.5
tangent = torch.randn_like(p[few])
end = lambda p: shoot(q[few], p, 10)[-1][0]
found = jvp(end, (p[few],), (tangent,))[1]
step = 1e-5
expected = (end(p[few] + step * tangent) - end(p[few] - step * tangent)) / (2 * step)
tangent_error = ((found - expected).norm() / found.norm()).item()
assert tangent_error < 1e-6

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 4.4), width_ratios=[1.15, 1, 1])
paths = torch.stack([state[0] for state in states])[:, :: max(N // 100, 1)]
left.plot(*paths.permute(2, 0, 1), color=SOFT, lw=0.5)
for t, colour in zip((0, 10, 20), (SOFT, COLOURS[0], COLOURS[1])):
    left.plot(*torch.cat([states[t][0], states[t][0][:1]]).T, color=colour, lw=2, label=f"t = {t / 20:g}")
left.set(title=f"{N:,} landmarks, geodesic from t = 0 to 1", aspect="equal", xticks=[], yticks=[])
left.legend(loc="upper center", bbox_to_anchor=(0.5, 0.02), ncol=3)
left.spines[:].set_visible(False)
middle.plot(torch.linspace(0, 1, 21), energy / energy[0] - 1, lw=2)
middle.set(title="relative drift of the energy H", xlabel="t")
right.loglog(counts, errors, "o-", lw=2, label="error of the end points")
right.loglog(counts, [errors[0] * (counts[0] / n) ** 4 for n in counts], "--", color=SOFT, label="fourth power of the step")
right.set(title="Runge-Kutta", xlabel="steps", xticks=counts, xticklabels=counts)
right.minorticks_off()
right.legend()
save("shooting", figure, landmarks=N, seconds_of_20_steps=seconds, derivatives_against_dense=deviation, energy_drift=drift,
     order=order, tangent_against_difference=tangent_error)
