"""K nearest neighbours: handwritten digits (1797 images of 8 x 8, in scikit-learn) are read by a vote of neighbours."""
import matplotlib.pyplot as plt
import numpy as np
from benben.numpy import Vi, Vj
from common import INK, SOFT, Example
from sklearn.datasets import load_digits

example = Example("neighbours", __doc__)
digits = load_digits()
images, labels = digits.data.astype(np.float32), digits.target
if example.full:  # every image moved by a pixel each way, too
    moves = [np.roll(digits.images, step, axis).reshape(len(labels), -1) for axis in (1, 2) for step in (-1, 1)]
order = np.random.default_rng(1).permutation(len(images))
known, asked = order[:1200], order[1200:]
train, answers = images[known], labels[known]
if example.full:
    train = np.concatenate([train, *[m[known] for m in moves]]).astype(np.float32)
    answers = np.tile(answers, 5)

D_ij = ((Vi(images[asked]) - Vj(train)) ** 2).sum(-1)  # asked x known, symbolic
right = {}
for K in (1, 3, 5, 9, 15):
    nearest = D_ij.argKmin(K, axis=1)
    votes = (answers[nearest][:, :, None] == np.arange(10)).sum(1)
    right[K] = float((votes.argmax(1) == labels[asked]).mean())
nearest = example.timed("5 nearest", lambda: D_ij.argKmin(5, axis=1))
votes = (answers[nearest][:, :, None] == np.arange(10)).sum(1)
read = votes.argmax(1)

wrong = np.flatnonzero(read != labels[asked])[:4]
sure = np.flatnonzero(read == labels[asked])[:4]
figure, panels = plt.subplots(8, 7, figsize=(7.6, 8.4), gridspec_kw={"width_ratios": [1, 0.25, 1, 1, 1, 1, 1]})
for row, k in enumerate([*sure, *wrong]):
    pictures = [images[asked[k]], None, *train[nearest[k]]]
    names = [labels[asked][k], None, *answers[nearest[k]]]
    for column, (picture, name) in enumerate(zip(pictures, names)):
        panel = panels[row, column]
        panel.axis("off")
        if picture is None:
            continue
        panel.imshow(picture.reshape(8, 8), cmap="Greys" if column else "Blues")
        good = column == 0 or name == labels[asked][k]
        panel.text(0.04, 0.95, name, transform=panel.transAxes, color=INK if good else "#b5202e", va="top", weight="bold")
panels[0, 0].set_title("asked", loc="center")
panels[0, 4].set_title("its five nearest", loc="center")
panels[4, 0].text(-0.25, 1.12, "misread:", transform=panels[4, 0].transAxes, color=SOFT, style="italic")
figure.suptitle(f"{100 * right[5]:.1f} % of {len(asked)} digits read right", x=0.02, ha="left")
example.save(figure, known=len(train), asked=len(asked), **{f"right with {K}": v for K, v in right.items()})
