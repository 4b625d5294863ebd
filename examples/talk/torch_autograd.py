"""
The talk: automatic differentiation in PyTorch
==============================================

The slides on Jacobians, vector-Jacobian and Jacobian-vector products, line by line. Mended: the function has one name
(``func``; the slides call it ``exp_reducer`` as well), ``allclose`` is torch's, and the cotangent of a number is a number.
"""
# %%
# A first example: f from (3, 4) to (3,), and its Jacobian, (3, (3, 4)).
import torch
from torch.autograd.functional import jvp, vjp

torch.manual_seed(0)


def func(x):
    return x.exp().sum(dim=1)


inputs = torch.rand(3, 4)  # same size as input of f
v = torch.randn_like(func(inputs))  # same size as output of f
jac = torch.autograd.functional.jacobian(func, inputs)  # (3, (3, 4))
print(jac)
assert torch.allclose(jac[range(3), range(3)], inputs.exp())  # ... with same entries as exp(inputs)

# %%
# Reverse mode: v @ jac without jac.
_, vjp = vjp(func, inputs, v)
assert torch.allclose(vjp, v @ jac)

# %%
# Forward mode: jac @ v2 without jac.
v2 = torch.randn_like(inputs)  # tangent vector: same size as x
_, jvp = jvp(func, inputs, v2)
assert torch.allclose(jvp, (jac.reshape(3, -1) @ v2.reshape(-1, 1)).ravel())

# %%
# A second example: the gradient of half of the squared norm is the vector itself.
a = torch.randn(5, 1, requires_grad=True)
b = 0.5 * (a ** 2).sum()
(gradient,) = torch.autograd.grad(b, [a], torch.ones(()))
assert torch.equal(gradient, a)

# %%
# The same three calls on a symbolic matrix: f(x)_i = sum_j exp(-\|x_i - y_j\|^2), whose Jacobian is block diagonal.
from benben.torch import Vi, Vj

y = torch.rand(1000, 4)


def symbolic(x):
    return (-((Vi(x) - Vj(y)) ** 2).sum(-1)).exp().sum(dim=1)[:, 0]


from torch.autograd import functional

jac = functional.jacobian(symbolic, inputs)
assert torch.allclose(jac, functional.jacobian(symbolic, inputs, strategy="forward-mode", vectorize=True), rtol=1e-4)
assert torch.allclose(functional.vjp(symbolic, inputs, v)[1], torch.einsum("k,kij->ij", v, jac), rtol=1e-4)
assert torch.allclose(functional.jvp(symbolic, inputs, v2)[1], torch.einsum("kij,ij->k", jac, v2), rtol=1e-4)
print("Jacobian, vjp and jvp agree, dense and symbolic")
