"""
Colour transfer between two photographs by optimal transport
============================================================

scikit-learn's ``china.jpg`` gets the colours of ``flower.jpg``, and the other way round. The colours of each picture are
a cloud of points in a cube; Sinkhorn's iterations find the regularised optimal transport between two samples of them,
and its barycentric map, defined everywhere by the dual potentials, moves every pixel.
"""
# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from benben.torch import Vi, Vj
from setting import full, save, timed
from sklearn.datasets import load_sample_image

torch.manual_seed(0)
pictures = [torch.tensor(load_sample_image(name) / np.float32(255)) for name in ("china.jpg", "flower.jpg")]
pixels = [p.reshape(-1, 3) for p in pictures]
samples = 30_000 if full else 2_000
blur = 0.04
x, y = (p[torch.randperm(len(p))[:samples]] for p in pixels)


def scores(x, y, g, epsilon):
    """log of the kernel exp((g_j - \|x_i - y_j\|^2 / 2) / epsilon): a symbolic matrix."""
    return (Vj(g) - ((Vi(x) - Vj(y)) ** 2).sum(-1) / 2) / epsilon


def sinkhorn(x, y, iterations=120):
    """Dual potentials of uniform measures, with a regularisation that shrinks to blur^2."""
    f, g = torch.zeros(len(x), 1), torch.zeros(len(y), 1)
    for epsilon in np.geomspace(1.0, blur ** 2, iterations // 2).tolist() + [blur ** 2] * (iterations - iterations // 2):
        f = -epsilon * (scores(x, y, g, epsilon).logsumexp(dim=1) - np.log(len(y)))
        g = -epsilon * (scores(y, x, f, epsilon).logsumexp(dim=1) - np.log(len(x)))
    return f, g


def transport(points, y, g):
    """The mean of y under the plan that leaves a point: a softmax over the columns."""
    return scores(points, y, g, blur ** 2).sumsoftmaxweight(Vj(y), dim=1)


(f, g), seconds = timed(sinkhorn, x, y)
(to_flower, to_china), seconds_pixels = timed(lambda: (transport(pixels[0], y, g), transport(pixels[1], x, f)))

# %%
# The plan has the right marginals, and moved colours are distributed as those they imitate: means and deviations of the
# three channels tell.
marginal = (scores(x, y, g, blur ** 2).logsumexp(dim=1) + f / blur ** 2 - np.log(len(y))).exp()
marginal_error = (marginal - 1).abs().mean().item()
mean_error = (to_flower.mean(0) - y.mean(0)).abs().max().item()
before = (pixels[0].mean(0) - pixels[1].mean(0)).abs().max().item()
assert marginal_error < 0.04 and mean_error < 0.1 * before + 0.01
assert not to_flower.isnan().any() and to_flower.min() >= 0 and to_flower.max() <= 1

# %%
figure = plt.figure(figsize=(14, 7))
titles = ["china.jpg", "with the colours of the flower", "flower.jpg", "with the colours of China"]
for k, (colours, title) in enumerate(zip((pixels[0], to_flower, pixels[1], to_china), titles)):
    panel = figure.add_subplot(2, 3, (1, 2, 4, 5)[k])
    panel.imshow(colours.reshape(pictures[k // 2].shape))
    panel.set(title=title, xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
for k, (cloud, title) in enumerate([(pixels[0], "colours of china.jpg"), (pixels[1], "colours of flower.jpg")]):
    panel = figure.add_subplot(2, 3, 3 * k + 3, projection="3d")
    shown = cloud[:: len(cloud) // 6000]
    panel.scatter(*shown.T, c=shown.numpy(), s=4, linewidths=0, depthshade=False)
    panel.set(title=title, xlabel="red", ylabel="green", zlabel="blue", xticklabels=[], yticklabels=[], zticklabels=[])
save("colour_transfer", figure, samples=samples, pixels=len(pixels[0]) + len(pixels[1]), seconds_sinkhorn=seconds,
     seconds_pixels=seconds_pixels, error_of_the_marginal=marginal_error, error_of_the_mean_colour=mean_error)
