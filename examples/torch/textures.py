"""
K nearest neighbours: classifying textures by their patches
===========================================================

scikit-image's brick, grass and gravel hold 768,108 patches of 7 x 7 pixels, vectors of dimension 49. The left part of
each picture is known; patches of the right part, which share no pixel with it, get the majority of the classes of their
K nearest neighbours.
"""
# %%
import matplotlib.pyplot as plt
import numpy as np
import torch
from benben.torch import Vi, Vj
from matplotlib.colors import ListedColormap
from setting import COLOURS, full, save, timed
from skimage import data

names, size, K, cut = ["brick", "grass", "gravel"], 7, 5, 336
pictures = [torch.tensor(getattr(data, name)() / np.float32(255)) for name in names]
patches = torch.stack([p.unfold(0, size, 1).unfold(1, size, 1).reshape(506, 506, size * size) for p in pictures])
assert patches[..., 0].numel() == 768_108

# %%
# Left patches end before column `cut`, right patches begin there. Small size: every few of both.
every, other = (1, 1) if full else (3, 6)
left = patches[:, ::every, : cut - size + 1 : every]
right = patches[:, ::other, cut::other]
train, test = left.reshape(-1, size ** 2).contiguous(), right.reshape(-1, size ** 2).contiguous()
truth = [torch.arange(3).repeat_interleave(t[0, ..., 0].numel()) for t in (left, right)]


# %%
# One reduction: the K smallest distances of every row, among all columns.
def classify(test):
    D_ij = ((Vi(test) - Vj(train)) ** 2).sum(-1)
    nearest = D_ij.argKmin(K, dim=1)
    return torch.nn.functional.one_hot(truth[0][nearest], 3).sum(1).argmax(1), nearest


(found, nearest), seconds = timed(classify, test)
accuracy = (found == truth[1]).double().mean().item()
confusion = torch.bincount(3 * truth[1] + found, minlength=9).reshape(3, 3)
rows = torch.randperm(len(test), generator=torch.Generator().manual_seed(0))[:50]
exact = torch.cdist(test[rows].double(), train.double(), compute_mode="donot_use_mm_for_euclid_dist")
expected = exact.topk(K, largest=False)[0]
selected = (test[rows, None].double() - train[nearest[rows]].double()).norm(dim=-1)
deviation = (selected - expected).abs().max().item()
assert deviation < 1e-5 and accuracy > 0.65

# %%
figure, panels = plt.subplots(1, 4, figsize=(15, 4.2), width_ratios=[1, 1, 1, 0.9])
labels = found.reshape(right.shape[:3])
for k, panel in enumerate(panels[:3]):
    panel.imshow(pictures[k], cmap="gray", extent=(0, 512, 512, 0))
    panel.imshow(labels[k], cmap=ListedColormap(COLOURS[:3]), vmin=-0.5, vmax=2.5, alpha=0.6, interpolation="nearest",
                 extent=(cut, 512, 512, 0))
    panel.set(title=f"{names[k]}: {100 * confusion[k, k] / confusion[k].sum():.1f} % right", xticks=[], yticks=[], xlim=(0, 512))
    panel.axvline(cut, color="white", lw=1.5)
panels[3].imshow(confusion, cmap="Blues")
for i in range(3):
    for j in range(3):
        panels[3].text(j, i, f"{confusion[i, j]:,}", ha="center", va="center",
                       color="white" if confusion[i, j] > confusion.max() / 2 else "black")
panels[3].set(title=f"{len(test):,} patches, {len(train):,} known", xticks=range(3), yticks=range(3), xticklabels=names,
              yticklabels=names, xlabel="found", ylabel="true")
save("textures", figure, known=len(train), classified=len(test), seconds=seconds, accuracy=accuracy,
     distances_against_float64=deviation)
