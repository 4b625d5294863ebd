"""
Fitting a Gaussian mixture
==========================

A mixture of K Gaussians, each with a full covariance, fitted to N points in the plane by gradient descent on the
likelihood: one weighted log-sum-exp over the N x K matrix of Mahalanobis distances. The likelihood of points that were
held out follows: no Gaussian sits on single points.
"""
# %%
import math

import matplotlib.pyplot as plt
import torch
from benben.torch import Vi, Vj
from setting import COLOURS, SOFT, full, save, timed

N, K, steps = (200_000, 60, 600) if full else (4_000, 24, 150)
torch.manual_seed(0)


def spirals(n):
    arm = torch.randint(3, (n, 1))
    t = torch.rand(n, 1).sqrt() * 4.2 + 0.4
    angle = t + 2 * math.pi / 3 * arm
    return 0.22 * t * torch.cat([angle.cos(), angle.sin()], 1) + 0.035 * torch.randn(n, 2)


# %%
# log p(x) = log sum_k w_k det(A_k) / (2 pi) exp(-\|A_k (x - m_k)\|^2 / 2), with A_k the root of a precision matrix.
class GaussianMixture(torch.nn.Module):
    def __init__(self, x, K):
        super().__init__()
        self.mean = torch.nn.Parameter(x[torch.randperm(len(x))[:K]].clone())
        self.root = torch.nn.Parameter(torch.eye(2).repeat(K, 1, 1) / 0.2)
        self.logit = torch.nn.Parameter(torch.zeros(K))

    def forward(self, x):
        log_weight = self.logit.log_softmax(0) + torch.linalg.slogdet(self.root).logabsdet - math.log(2 * math.pi)
        distance = Vj(self.root.reshape(-1, 4)).matvecmult(Vi(x) - Vj(self.mean)).sqnorm2()
        return (Vj(log_weight[:, None]) - distance / 2).logsumexp(dim=1)[:, 0]


x, held_out = spirals(N), spirals(N // 4)
model = GaussianMixture(x, K)
optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
train, test = [], []


def fit():
    for _ in range(steps):
        optimizer.zero_grad()
        loss = -model(x).mean()
        loss.backward()
        optimizer.step()
        schedule.step()
        train.append(-loss.item())
        with torch.no_grad():
            test.append(model(held_out).mean().item())


_, seconds = timed(fit)

# %%
# The log-likelihood against PyTorch's own mixture, dense.
mixture = torch.distributions.MixtureSameFamily(
    torch.distributions.Categorical(logits=model.logit),
    torch.distributions.MultivariateNormal(model.mean, precision_matrix=model.root.mT @ model.root))
with torch.no_grad():
    deviation = (mixture.log_prob(x[:500]) - model(x[:500])).abs().max().item()
assert deviation < 1e-3 and test[-1] > test[0] + 0.5 and train[-1] - test[-1] < 0.15

# %%
figure, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.4))
axis = torch.linspace(-1.25, 1.25, 300)
grid = torch.cartesian_prod(axis, axis)
with torch.no_grad():
    density = model(grid).reshape(300, 300).T
left.scatter(*x[:4000].T, s=3, c=COLOURS[0], alpha=0.5, linewidths=0)
left.set(title=f"{N:,} points", xticks=[], yticks=[])
middle.imshow(density.clamp(min=-4), extent=(-1.25, 1.25) * 2, origin="lower", cmap="magma")
circle = torch.linspace(0, 2 * math.pi, 60)
circle = torch.stack([circle.cos(), circle.sin()])
for m, A in zip(model.mean.detach(), torch.linalg.inv(model.root.detach())):
    middle.plot(*(m[:, None] + 1.5 * A @ circle), color="white", lw=0.7)
middle.set(title=f"log-density of {K} Gaussians, and where they are", xticks=[], yticks=[])
for panel in (left, middle):
    panel.set(xlim=(-1.25, 1.25), ylim=(-1.25, 1.25), aspect="equal")
    panel.spines[:].set_visible(False)
right.plot(train, lw=2, label="fitted points")
right.plot(test, "--", lw=2, label="points held out")
right.set(title="mean log-likelihood", xlabel="step")
right.legend()
save("gaussian_mixture", figure, points=N, components=K, steps=steps, seconds=seconds, log_likelihood=train[-1],
     held_out=test[-1], against_torch_distributions=deviation)
