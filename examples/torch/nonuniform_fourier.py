r"""
Non-uniform Fourier transform and the reconstruction of an image
================================================================

A scanner measures a slice m at frequencies that are no grid: y_k = sum_j exp(-2 pi i f_k . p_j) m_j, here along spokes
through the origin. The matrix of complex exponentials is symbolic; its adjoint is its conjugate transpose. The slice, from
matplotlib's sample data, is recovered by conjugate gradients on the normal equations.
"""
# %%
import gzip
import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from benben.torch import LazyTensor
from matplotlib import cbook
from setting import SOFT, full, save, timed

with cbook.get_sample_data("s1045.ima.gz") as data:
    raw = data.read()
raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
slice_ = np.frombuffer(raw, np.uint16).reshape(256, 256).astype(np.float32)
n = 256 if full else 128
image = torch.tensor(slice_.reshape(n, 256 // n, n, 256 // n).mean((1, 3)))
image /= image.max()

# %%
# Pixels at integer places, frequencies in cycles per pixel along spokes through the origin; angles turn by the golden ratio.
place = torch.cartesian_prod(torch.arange(n), torch.arange(n)).float() - n / 2
spokes, readout = round(0.8 * n), 2 * n
angle = math.pi * torch.arange(spokes) / ((1 + 5 ** 0.5) / 2)
radius = (torch.arange(readout) - readout / 2 + 0.5) / readout
frequency = torch.stack([torch.outer(angle.cos(), radius).flatten(), torch.outer(angle.sin(), radius).flatten()], 1)

p_j, f_k = LazyTensor(place[None, :, :]), LazyTensor(frequency[:, None, :])
F = (-2j * math.pi * (f_k | p_j)).exp()  # (samples, pixels), complex, symbolic


def transform(m):
    return (F * LazyTensor(m[None, :, None])).sum(dim=1)[:, 0]


def adjoint(y):
    return (F.conj() * LazyTensor(y[:, None, None])).sum(dim=0)[:, 0]


m = image.flatten()
samples, seconds = timed(transform, m)
noise = torch.complex(*torch.randn(2, len(samples), generator=torch.Generator().manual_seed(0)))
measured = samples + 1e-3 * samples.abs().max() * noise / 10

# %%
# <F m, y> = <m, F* y>; on a grid of frequencies the transform is the fast Fourier transform; and it is differentiable.
m2, y2 = torch.rand(n * n), torch.complex(*torch.randn(2, len(samples)))
left, right = torch.vdot(transform(m2), y2), (m2 * adjoint(y2)).sum()
adjointness = ((left - right).abs() / left.abs()).item()
grid = torch.cartesian_prod(torch.fft.fftfreq(n)[:4], torch.fft.fftfreq(n))
on_grid = (-2j * math.pi * (LazyTensor(grid[:, None, :]) | p_j)).exp() * LazyTensor(m[None, :, None])
fft = torch.fft.fft2(torch.fft.ifftshift(image))[:4].flatten()
against_fft = ((on_grid.sum(dim=1)[:, 0] - fft).abs().max() / fft.abs().max()).item()
m3 = m.clone().requires_grad_()
(gradient,) = torch.autograd.grad(0.5 * (transform(m3) - y2).abs().square().sum(), m3)
expected = adjoint(transform(m) - y2).real
gradient_error = ((gradient - expected).norm() / expected.norm()).item()
assert adjointness < 1e-3 and against_fft < 1e-4 and gradient_error < 1e-4

# %%
# First the adjoint, with each sample weighted by the area around it, then conjugate gradients.
area = radius.abs().repeat(spokes) * math.pi / spokes / readout
gridded = adjoint(area * measured).real


def reconstruct(iterations=4):
    """Least squares, weighted by area: F* W F m = F* W y."""
    m, r = torch.zeros(n * n), gridded
    d, rr, errors = r, (r * r).sum(), []
    for _ in range(iterations):
        q = adjoint(area * transform(d)).real
        step = rr / (d * q).sum()
        m, r = m + step * d, r - step * q
        rr, old = (r * r).sum(), rr
        d = r + rr / old * d
        errors.append(((m - image.flatten()).norm() / image.norm()).item())
    return m, errors


(found, errors), seconds_cg = timed(reconstruct)
gridding_error = ((gridded - image.flatten()).norm() / image.norm()).item()
assert errors[-1] < 0.8 * gridding_error

# %%
figure, panels = plt.subplots(1, 5, figsize=(17, 3.9))
for panel, values, title in [(panels[0], m, f"slice, {n} x {n}"),
                             (panels[2], gridded, f"weighted adjoint: error {100 * gridding_error:.0f} %"),
                             (panels[3], found, f"conjugate gradients: error {100 * errors[-1]:.1f} %")]:
    panel.imshow(values.reshape(n, n), cmap="gray", vmin=0, vmax=0.9)
    panel.set(title=title, xticks=[], yticks=[])
shown = frequency.reshape(spokes, readout, 2)
panels[1].scatter(*shown.reshape(-1, 2).T, c=measured.abs().log10(), s=1.5 if not full else 0.2, linewidths=0, cmap="magma")
panels[1].set(title=f"{len(frequency):,} samples on {spokes} spokes", aspect="equal", xticks=[], yticks=[])
panels[1].spines[:].set_visible(False)
panels[4].plot(range(1, len(errors) + 1), errors, "o-", lw=2)
panels[4].axhline(gridding_error, ls="--", c=SOFT)
panels[4].set(title="relative error (dashed: weighted adjoint)", xlabel="iteration", ylim=(0, None))
save("nonuniform_fourier", figure, pixels=n * n, samples=len(frequency), seconds_per_transform=seconds, seconds=seconds_cg,
     adjointness=adjointness, against_fft=against_fft, gradient_against_adjoint=gradient_error,
     error_of_the_weighted_adjoint=gridding_error, error_of_conjugate_gradients=errors[-1])
