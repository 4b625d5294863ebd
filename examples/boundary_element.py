r"""
A boundary-element method
=========================

The capacitance of the unit cube. The charge density :math:`\rho` of a conductor at potential 1 solves

.. math:: \int_S \frac{\rho(y)}{4\pi |x - y|} \, dy = 1 \quad (x \in S),

and its integral is the capacitance. Panels of the surface with one unknown each (collocation at the centres) give a dense system
with the kernel 1/r, which Benben multiplies and SciPy's GMRES solves. The kernel is infinite on the diagonal: these
entries are left out by a mask, and the integral of a panel over itself, known in closed form, is put in their place.
"""

import matplotlib.pyplot as plt
import numpy as np
from benben import masks, operators
from benben.numpy import Vi, Vj
from common import Example
from scipy.sparse.linalg import gmres

# %%
# Panels: n x n squares on each of the six faces.

example = Example("boundary_element", __doc__)
n = 64 if example.full else 24
h = 1 / n
u = np.stack(np.meshgrid(*[h * (np.arange(n) + 0.5)] * 2), -1).reshape(-1, 2)
x = np.concatenate([np.insert(u, axis, side, axis=1) for axis in range(3) for side in (0.0, 1.0)])
print(f"{len(x)} panels, a matrix of {len(x) ** 2:,} entries")

# %%
# The operator: pairs of different panels, by their centres, and the panels themselves: the integral of 1/r over a square from its
# centre is :math:`4 h \ln(1 + \sqrt 2)`.

inverse_distance = ((Vi(x) - Vj(x)) ** 2).sum(-1).rsqrt().masked(~masks.band(0))
own = np.full(len(x), h * np.log(1 + np.sqrt(2)) / np.pi)
A = inverse_distance * (h**2 / (4 * np.pi)) + operators.diagonal(own)

residuals = []
density, info = gmres(A, np.ones(len(x)), rtol=1e-8, callback=residuals.append, callback_type="pr_norm")
capacitance = h**2 * density.sum() / (4 * np.pi)
print(f"GMRES: {len(residuals)} iterations, converged: {info == 0}")
print(f"capacitance / (4 pi): {capacitance:.5f}; reference 0.66068")

# %%
# Charge gathers at edges and corners.

figure, panels = plt.subplots(1, 2, figsize=(9, 3.8), constrained_layout=True)
image = panels[0].imshow(density[: n * n].reshape(n, n), extent=(0, 1, 0, 1), cmap="magma")
figure.colorbar(image, ax=panels[0], label="charge density on a face")
panels[0].set(xticks=[], yticks=[])
panels[1].semilogy(residuals, "o-", ms=3)
panels[1].set(xlabel="iteration", ylabel="relative residual", title="GMRES")
example.save(figure, panels=len(x), iterations=len(residuals), converged=info == 0, capacitance=capacitance)
