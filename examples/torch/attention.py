r"""
An attention layer, and a picture from a twentieth of its pixels
================================================================

Softmax attention as a reduction: out_i = sum_j softmax_j(q_i . k_j / sqrt(D)) v_j, in linear memory, with any score that
can be written as a formula. Here the score also has -\|x_i - y_j\|^2 / s^2 of the places of the tokens, with a width s for
each head that is learned. The layer learns from the known pixels of a photograph to predict a pixel from the others.
"""
# %%
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from benben.torch import Vi, Vj
from setting import COLOURS, full, save, timed
from sklearn.datasets import load_sample_image

torch.manual_seed(0)


class Attention(torch.nn.Module):
    """queries (M, E) at places (M, P), keys and values of context (N, E), values (N, V) at places (N, P): (M, V)."""

    def __init__(self, features, values, heads, dim):
        super().__init__()
        self.heads, self.dim = heads, dim
        self.query = torch.nn.Linear(features, heads * dim, bias=False)
        self.key = torch.nn.Linear(features, heads * dim, bias=False)
        self.value = torch.nn.Linear(values, heads * values, bias=False)
        self.out = torch.nn.Linear(heads * values, values, bias=False)
        self.log_width = torch.nn.Parameter(torch.linspace(-4, -2, heads))

    def split(self, t):
        return t.unflatten(1, (self.heads, -1)).transpose(0, 1)  # heads are a batch dimension

    def forward(self, places, features, context_places, context_features, values, own=None):
        q, k = self.split(self.query(features)), self.split(self.key(context_features))
        v = self.split(self.value(values))
        width = self.log_width.exp()[:, None, None]
        D_ij = ((Vi(places / width) - Vj(context_places / width)) ** 2).sum(-1)
        score = (Vi(q) | Vj(k)) / math.sqrt(self.dim) - D_ij
        if own is not None:  # tokens do not see themselves
            score = score - 1e4 * (Vi(own) == Vj(own))
        return self.out(score.sumsoftmaxweight(Vj(v), dim=2).transpose(0, 1).flatten(1))


# %%
# The reduction is PyTorch's own attention, gradients included.
q, k, v = (torch.randn(2, 3, n, d, requires_grad=True) for n, d in ((70, 16), (90, 16), (90, 8)))
fused = torch.nn.functional.scaled_dot_product_attention(q, k, v)
symbolic = ((Vi(q) | Vj(k)) / 4).sumsoftmaxweight(Vj(v), dim=3)
cotangent = torch.randn_like(fused)
deviation = (symbolic - fused).abs().max().item()
gradients = (torch.autograd.grad(result, (q, k, v), cotangent) for result in (symbolic, fused))
for found, expected in zip(*gradients):
    deviation = max(deviation, (found - expected).abs().max().item())
assert deviation < 1e-4

# %%
# A photograph, of which 5 % of the pixels are known. A feature is the position in waves of several lengths.
scale = 2 if full else 4
picture = torch.tensor(load_sample_image("flower.jpg")[::scale, ::scale] / np.float32(255))
height, width, _ = picture.shape
places = torch.cartesian_prod(torch.linspace(0, height / width, height), torch.linspace(0, 1, width))
colours = picture.reshape(-1, 3)
known = torch.randperm(len(places))[: len(places) // 20]
waves = 6 * torch.randn(2, 16)
features = torch.cat([(places @ waves).sin(), (places @ waves).cos()], 1)
mean = colours[known].mean(0)

layer = Attention(32, 3, heads=4, dim=8)
optimizer = torch.optim.Adam(layer.parameters(), lr=0.02)
own = torch.arange(float(len(known)))[:, None]
here = (places[known], features[known], places[known], features[known], colours[known] - mean)
history = []


def train(steps=300 if full else 60):
    for _ in range(steps):
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(layer(*here, own), colours[known] - mean)
        loss.backward()
        optimizer.step()
        history.append(loss.item())


_, seconds = timed(train)
with torch.no_grad():
    predicted = (layer(places, features, *here[2:]) + mean).clamp(0, 1)
nearest = colours[known][((Vi(places) - Vj(places[known])) ** 2).sum(-1).argmin(dim=1)[:, 0]]
unknown = torch.ones(len(places), dtype=torch.bool).index_fill(0, known, False)
quality = [-10 * math.log10((t - colours)[unknown].square().mean()) for t in (nearest, predicted)]
assert quality[1] > quality[0] + 0.5

# %%
figure, panels = plt.subplots(2, 3, figsize=(14, 6.6))
seen = torch.ones_like(colours).index_copy(0, known, colours[known])
titles = ["picture", f"{len(known):,} known pixels", f"nearest known pixel: {quality[0]:.1f} dB",
          f"attention: {quality[1]:.1f} dB"]
for panel, image, title in zip(panels.flat, (colours, seen, nearest, predicted), titles):
    panel.imshow(image.reshape(picture.shape), interpolation="nearest")
    panel.set(title=title, xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
panels[1, 1].semilogy(history, lw=2)
panels[1, 1].set(title="mean squared error of known pixels, each from the others", xlabel="step")
middle = (height // 2 * width + width // 2)
with torch.no_grad():
    q, k = layer.split(layer.query(features[[middle]])), layer.split(layer.key(features))
    D = ((places[middle] - places) ** 2).sum(-1) / layer.log_width.exp()[:, None] ** 2
    weights = ((q @ k.mT)[:, 0] / math.sqrt(8) - D).softmax(1)
window = 24
weights = weights.reshape(4, height, width)
weights = weights[:, height // 2 - window: height // 2 + window, width // 2 - window: width // 2 + window]
tiles = (weights / weights.amax((1, 2), keepdim=True)).sqrt()
panels[1, 2].imshow(torch.cat([torch.cat(list(tiles[:2]), 1), torch.cat(list(tiles[2:]), 1)]), cmap="magma")
panels[1, 2].set(title="where the four heads look", xticks=[], yticks=[])
save("attention", figure, pixels=len(places), known=len(known), seconds=seconds, against_torch=deviation,
     decibel_nearest=quality[0], decibel_attention=quality[1])
