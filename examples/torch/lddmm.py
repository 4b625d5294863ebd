r"""
LDDMM: registration of two surfaces
===================================

A sphere is carried onto another surface by a diffeomorphism of space: the flow of a geodesic, whose momenta p at the
vertices q are found by minimising

    \|p\|_K^2 / 2 + distance(phi(sphere), target) / lambda

with L-BFGS, through fourth-order steps of Hamilton's equations. The distance is that of varifolds: surfaces as measures
of points and unoriented normals. The same flow carries all of space, here a grid; going back in time inverts it.
"""
# %%
import matplotlib.pyplot as plt
import torch
from benben.torch import Vi, Vj
from setting import COLOURS, INK, full, save, timed
from torch.func import grad, jvp

torch.manual_seed(0)
level, iterations = (5, 40) if full else (3, 15)
sigma, blur, weight, steps = 0.4, 0.25, 0.003, 10


# %%
# Two surfaces with unrelated meshes: a sphere, and a star-shaped body with four horns.
def sphere(level):
    """Vertices and triangles of an icosahedron, subdivided."""
    g = (1 + 5 ** 0.5) / 2
    v = torch.tensor([[-1, g, 0], [1, g, 0], [-1, -g, 0], [1, -g, 0], [0, -1, g], [0, 1, g], [0, -1, -g], [0, 1, -g],
                      [g, 0, -1], [g, 0, 1], [-g, 0, -1], [-g, 0, 1]], dtype=torch.float64)
    t = torch.tensor([[0, 11, 5], [0, 5, 1], [0, 1, 7], [0, 7, 10], [0, 10, 11], [1, 5, 9], [5, 11, 4], [11, 10, 2],
                      [10, 7, 6], [7, 1, 8], [3, 9, 4], [3, 4, 2], [3, 2, 6], [3, 6, 8], [3, 8, 9], [4, 9, 5], [2, 4, 11], [6, 2, 10],
                      [8, 6, 7], [9, 8, 1]])
    for _ in range(level):
        edges, inverse = torch.sort(t[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), 1)[0].unique(dim=0, return_inverse=True)
        a, b, c = (inverse.reshape(-1, 3) + len(v)).T
        v = torch.cat([v, v[edges].mean(1)])
        t = torch.cat([torch.stack(s, 1) for s in ([t[:, 0], a, c], [t[:, 1], b, a], [t[:, 2], c, b], [a, b, c])])
    return v / v.norm(dim=1, keepdim=True), t


def horned(v):
    angle = torch.linalg.qr(torch.randn(3, 3, dtype=torch.float64))[0]
    v = v @ angle
    radius = 0.75 + 0.55 * (v[:, 0] * v[:, 1] * v[:, 2]) * 3 ** 1.5 * (1 + 0.4 * v[:, 2])
    return v * radius[:, None] * torch.tensor([1.0, 1.0, 0.9], dtype=torch.float64)


q0, triangles = sphere(level)
q0 = 0.8 * q0
target_q, target_triangles = sphere(level)
target_q = horned(target_q)


def faces(q, triangles):
    """Centres, unit normals, areas."""
    a, b, c = q[triangles].unbind(1)
    normal = torch.linalg.cross(b - a, c - a) / 2
    area = normal.norm(dim=1, keepdim=True)
    return (a + b + c) / 3, normal / area, area


def product(s, t):
    """The scalar product of two varifolds."""
    (x, n, a), (y, m, b) = s, t
    K = (-((Vi(x) - Vj(y)) ** 2).sum(-1) / blur ** 2).exp() * (Vi(n) | Vj(m)) ** 2
    return (a * (K @ b)).sum()


target = faces(target_q, target_triangles)
target_norm = product(target, target)


def distance(q):
    moved = faces(q, triangles)
    return product(moved, moved) - 2 * product(moved, target) + target_norm


# %%
# The deformation: Hamilton's equations for landmarks, and the field K(x, q) p for any other point x.
def gaussian(x, y):
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1) / sigma ** 2).exp()


def hamiltonian(q, p):
    return 0.5 * (p * (gaussian(q, q) @ p)).sum()


def field(state):
    q, p, *others = state
    by_q, by_p = grad(hamiltonian, (0, 1))(q, p)
    return by_p, -by_q, *(gaussian(x, q) @ p for x in others)


def step(state, h):
    def moved(f, h):
        return tuple(s + h * d for s, d in zip(state, f))

    a = field(state)
    b = field(moved(a, h / 2))
    c = field(moved(b, h / 2))
    d = field(moved(c, h))
    return tuple(s + h / 6 * (ka + 2 * kb + 2 * kc + kd) for s, ka, kb, kc, kd in zip(state, a, b, c, d))


def flow(*state, steps=steps, sign=1):
    states = [state]
    for _ in range(steps):
        states.append(step(states[-1], sign / steps))
    return states


# %%
# Registration.
p0 = torch.zeros_like(q0, requires_grad=True)
optimizer = torch.optim.LBFGS([p0], lr=1, max_iter=iterations, history_size=10, line_search_fn="strong_wolfe")
history = []


def closure():
    optimizer.zero_grad()
    loss = hamiltonian(q0, p0) + distance(flow(q0, p0)[-1][0]) / weight
    loss.backward()
    history.append(loss.item())
    return loss


_, seconds = timed(optimizer.step, closure)
p0 = p0.detach()

# %%
# What a diffeomorphism has to satisfy.
n = 33
axis = torch.linspace(-1.2, 1.2, n, dtype=torch.float64)
sheet = torch.cartesian_prod(axis, axis)
grid = torch.cat([sheet, torch.zeros(n * n, 1)], 1)  # the plane z = 0
box = torch.cartesian_prod(*(torch.linspace(-1.2, 1.2, 13, dtype=torch.float64),) * 3)
states = flow(q0, p0, grid)
q1, p1, grid1 = states[-1]
energies = torch.stack([hamiltonian(q, p) for q, p, _ in states])
drift = ((energies - energies[0]).abs().max() / energies[0]).item()
back = flow(q1, p1, grid1, sign=-1)[-1]
inverse = max((back[0] - q0).abs().max().item(), (back[2] - grid).abs().max().item())
carry = lambda x: flow(q0, p0, x)[-1][2]
jacobian = torch.stack([jvp(carry, (box,), (torch.eye(3, dtype=torch.float64)[k].expand_as(box),))[1] for k in range(3)], -1)
determinant = torch.linalg.det(jacobian)
initial, final = distance(q0).item(), distance(q1).item()
assert drift < 1e-4 and inverse < 1e-3 and determinant.min() > 0 and final < 0.1 * initial

# %%
# Above: the surface; below: the plane z = 0, which the flow bends, seen from above.
figure = plt.figure(figsize=(17, 6))
light = dict(shade=True, linewidth=0, antialiased=False)


def draw(column, q, triangles, colour, title):
    panel = figure.add_subplot(2, 7, column, projection="3d")
    panel.plot_trisurf(*q.T, triangles=triangles, color=colour, **light)
    panel.set(title=title, xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), zlim=(-0.9, 0.9))
    panel.set_box_aspect((1, 1, 1), zoom=1.15)
    panel.view_init(28, -60)
    panel.set_axis_off()


for k in range(6):
    q, _, x = states[k * steps // 5]
    draw(k + 1, q, triangles, COLOURS[0], f"t = {k}/5" if 0 < k < 5 else f"t = {k // 5}")
    panel = figure.add_subplot(2, 7, k + 8)
    X, Y, _ = x.T.reshape(3, n, n)
    panel.plot(X, Y, color=INK, lw=0.6)
    panel.plot(X.T, Y.T, color=INK, lw=0.6)
    panel.set(aspect="equal", xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
draw(7, target_q, target_triangles, COLOURS[1], "target")
right = figure.add_subplot(2, 7, 14)
right.semilogy(history, lw=2, color=COLOURS[3])
right.set(title="energy + distance / $\\lambda$", xlabel="evaluation")
save("lddmm", figure, vertices=len(q0), triangles=len(triangles), seconds=seconds, evaluations=len(history),
     distance_before=initial, distance_after=final, distance_of_phi_from_identity=(2 * energies[0]).sqrt(),
     energy_drift=drift, smallest_determinant=determinant.min(), largest_determinant=determinant.max(), inverse_error=inverse)
