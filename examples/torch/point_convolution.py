r"""
Convolution on point clouds: learning the curvature of surfaces
===============================================================

A layer sums over the neighbours x_j of x_i a window exp(-\|x_j - x_i\|^2 / 2 s^2), times a small network of what rotations
leave unchanged (the height of x_j over the tangent plane, its distance, the angle of the normals), times features of x_j.
No list of neighbours, no matrix: one symbolic sum for a whole batch of surfaces. Two layers learn mean curvature from
points and normals, and are tried on surfaces that they have not seen, sampled more densely, and turned.
"""
# %%
import math

import matplotlib.pyplot as plt
import torch
from benben.torch import LazyTensor, Pm, Vi, Vj
from setting import COLOURS, SOFT, full, save, timed
from torch.func import grad, hessian, vmap

torch.manual_seed(0)
count, batch, N, steps = (64, 8, 4_000, 600) if full else (12, 2, 300, 250)


# %%
# Surfaces ``|x| = r(x / |x|)`` with random bumps; normals and mean curvature by automatic differentiation.
def surfaces(count, n):
    directions = torch.nn.functional.normalize(torch.randn(count, 8, 3), dim=-1)
    heights = torch.randn(count, 8)

    def level(x, d, h):
        u = x / x.norm()
        return x.norm() - 0.75 - 0.12 * (h * (3 * (d @ u - 1)).exp()).sum()

    def curvature(x, d, h):  # half the divergence of the normal field
        g, H = grad(level)(x, d, h), hessian(level)(x, d, h)
        size = g.norm()
        return (H.trace() - g @ H @ g / size ** 2) / (2 * size)

    u = torch.nn.functional.normalize(torch.randn(count, n, 3), dim=-1)
    over = lambda f: vmap(vmap(f, (0, None, None)))
    x = u * (1 - over(level)(u, directions, heights))[..., None]
    normal = torch.nn.functional.normalize(over(grad(level))(x, directions, heights), dim=-1)
    return x, normal, over(curvature)(x, directions, heights)[..., None]


# %%
# The layer.
class PointConvolution(torch.nn.Module):
    """points and normals (..., N, 3), features (..., N, C) -> (..., N, C)."""

    def __init__(self, channels, radius):
        super().__init__()
        self.radius, self.scale = radius, 1 / radius  # curvatures times the radius are small
        self.filter = torch.nn.Linear(3, channels)
        self.mix = torch.nn.Sequential(torch.nn.Linear(channels, channels), torch.nn.SiLU(),
                                       torch.nn.Linear(channels, channels))

    def forward(self, x, normal, f):
        x = x / self.radius
        d = Vj(x) - Vi(x)
        angle = 1 - (Vi(normal) | Vj(normal))
        seen = LazyTensor.cat((self.scale * (Vi(normal) | d), d.sqnorm2(), self.scale ** 2 * angle), dim=-1)
        filtered = (Pm(self.filter.weight.flatten()).matvecmult(seen) + Pm(self.filter.bias)).relu()
        window = (-d.sqnorm2() / 2).exp()
        total = (window * filtered * Vj(f)).sum(dim=d.dim() - 2)
        return f + self.mix(total / window.sum(dim=d.dim() - 2))


class Network(torch.nn.Module):
    def __init__(self, channels=12):
        super().__init__()
        self.first = torch.nn.Parameter(torch.ones(channels))
        self.layers = torch.nn.ModuleList([PointConvolution(channels, r) for r in (0.15, 0.3)])
        self.head = torch.nn.Linear(channels, 1)

    def forward(self, x, normal):
        f = self.first.expand(*x.shape[:-1], -1)
        for layer in self.layers:
            f = layer(x, normal, f)
        return self.head(f)


# %%
# The layer beside dense PyTorch, gradients included.
def dense(layer, x, normal, f):
    d = (x[..., None, :, :] - x[..., :, None, :]) / layer.radius
    squared = (d ** 2).sum(-1, keepdim=True)
    angle = 1 - (normal[..., :, None, :] * normal[..., None, :, :]).sum(-1, keepdim=True)
    over_plane = (normal[..., :, None, :] * d).sum(-1, keepdim=True)
    seen = torch.cat([layer.scale * over_plane, squared, layer.scale ** 2 * angle], -1)
    window = (-squared / 2).exp()
    total = (window * layer.filter(seen).relu() * f[..., None, :, :]).sum(-2)
    return f + layer.mix(total / window.sum(-2))


layer = PointConvolution(4, 0.3).double()
x, normal, _ = (t.double() for t in surfaces(2, 60))
leaves = (x.requires_grad_(), *layer.parameters())
f = torch.randn(2, 60, 4, dtype=torch.float64)
found, expected = layer(x, normal, f), dense(layer, x, normal, f)
cotangent = torch.randn_like(found)
deviation = (found - expected).abs().max().item()
for a, b in zip(torch.autograd.grad(found, leaves, cotangent), torch.autograd.grad(expected, leaves, cotangent)):
    deviation = max(deviation, ((a - b).abs().max() / b.abs().max()).item())
assert deviation < 1e-10

# %%
# Learning from some surfaces, and a test on others.
known = surfaces(count, N)
mean, spread = known[2].mean(), known[2].std()
test_x, test_normal, truth = surfaces(4, max(N, 2_000))
model = Network()
optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
history = []


def learn():
    for _ in range(steps):
        some = torch.randperm(count)[:batch]
        x, normal, curvature = (t[some] for t in known)
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(x, normal), (curvature - mean) / spread)
        loss.backward()
        optimizer.step()
        schedule.step()
        history.append(loss.item())


_, seconds = timed(learn)
turn = torch.linalg.qr(torch.randn(3, 3))[0]
with torch.no_grad():
    predicted = mean + spread * model(test_x, test_normal)
    turned = mean + spread * model(test_x @ turn, test_normal @ turn)
explained = 1 - ((predicted - truth).square().mean() / truth.var()).item()
invariance = (turned - predicted).abs().max().item()
assert explained > 0.7 and invariance < 1e-2

# %%
figure = plt.figure(figsize=(14.5, 4.4))
shown = truth[..., 0].var(1).argmax()
low, high = truth[shown].quantile(0.02).item(), truth[shown].quantile(0.98).item()
for k, (values, title) in enumerate([(truth, "mean curvature of a new surface"), (predicted, "what the network says")]):
    panel = figure.add_subplot(1, 4, k + 1, projection="3d")
    front = (test_x[shown] @ torch.tensor([0.5, -0.75, 0.45]) > -0.1)
    panel.scatter(*test_x[shown][front].T, c=values[shown][front, 0], s=7, cmap="RdYlBu_r", vmin=low, vmax=high,
                  linewidths=0, depthshade=False)
    panel.set_box_aspect((1, 1, 1), zoom=1.35)
    panel.set(title=title, xlim=(-0.9, 0.9), ylim=(-0.9, 0.9), zlim=(-0.9, 0.9))
    panel.view_init(27, -56)
    panel.set_axis_off()
panel = figure.add_subplot(1, 4, 3)
panel.scatter(truth, predicted, s=2, alpha=0.4, linewidths=0, c=COLOURS[0])
ends = [truth.min(), truth.max()]
panel.plot(ends, ends, "--", c=SOFT)
panel.set(title=f"{100 * explained:.0f} % of the variance", xlabel="curvature", ylabel="predicted")
panel = figure.add_subplot(1, 4, 4)
panel.semilogy(torch.tensor(history).unfold(0, 20, 1).mean(1), lw=2, c=COLOURS[1])
panel.set(title="squared error while learning, smoothed", xlabel="step")
save("point_convolution", figure, surfaces=count, points=N, steps=steps, seconds=seconds, layer_against_dense=deviation,
     explained_variance=explained, change_under_rotation=invariance)
