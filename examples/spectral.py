"""Spectral analysis: SciPy's eigsh on a symbolic matrix, the modes of a cloud of points."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import LazyTensor
from common import Example
from scipy.sparse import diags
from scipy.sparse.linalg import aslinearoperator, eigsh

example = Example("spectral", __doc__)
N = 10_000 if example.full else 1_500
rng = np.random.default_rng(0)
turn = 3.2 * np.pi * np.sqrt(rng.random(N) * 0.93 + 0.07)
x = np.stack([turn * np.cos(turn), turn * np.sin(turn)], 1) / 10 + 0.03 * rng.normal(size=(N, 2))

sigma = 0.06
x_i, x_j = LazyTensor(x[:, None, :]), LazyTensor(x[None, :, :])
K_xx = (-((x_i - x_j) ** 2).sum(-1) / (2 * sigma ** 2)).exp()  # (N, N), symbolic

degree = K_xx @ np.ones(N)
scale = aslinearoperator(diags(1 / np.sqrt(degree)))
normalized = scale @ aslinearoperator(K_xx) @ scale
values, vectors = example.timed("eigsh", lambda: eigsh(normalized, k=5))
order = np.argsort(-values)
values, vectors = values[order], vectors[:, order] / np.sqrt(degree)[:, None]
residual = max(np.linalg.norm(normalized @ (v * np.sqrt(degree)) - w * v * np.sqrt(degree)) /
               np.linalg.norm(v * np.sqrt(degree)) for w, v in zip(values, vectors.T))

figure, panels = plt.subplots(1, 5, figsize=(14, 3.2))
for k, panel in enumerate(panels):
    v = vectors[:, k] * np.sign(vectors[np.argmax(turn), k])
    top = np.abs(v).max()
    panel.scatter(*x.T, c=v, s=max(8000 / N, 1.5), cmap="RdBu_r", vmin=-top, vmax=top, linewidths=0)
    panel.set(title=f"λ = {values[k]:.4f}", aspect="equal", xticks=[], yticks=[])
    for side in panel.spines.values():
        side.set_visible(False)
example.save(figure, points=N, residual=residual, **{f"eigenvalue {k}": v for k, v in enumerate(values)})
