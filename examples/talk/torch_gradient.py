"""
The talk: gradients of a symbolic sum
=====================================

F(x, y)_i = sum_j exp(x_i + y_j), and its gradient along j: a sum over i. ``install_as_pykeops`` lets the lines of the slides
run as they are.
"""
# %%
import benben
import torch

benben.install_as_pykeops()
import pykeops.torch

torch.manual_seed(0)
x = torch.rand(4000, 1, requires_grad=True)
y = torch.rand(3000, 1, requires_grad=True)

X = pykeops.torch.LazyTensor(x.reshape(4000, 1, 1))
Y = pykeops.torch.LazyTensor(y.reshape(1, 3000, 1))
Z = (X + Y).exp()  # still LazyTensor

F = Z.sum(1)
assert torch.allclose(torch.exp(x + y.t()).sum(1), F.view(-1))

# %%
# The gradient with respect to y, applied to a test vector e indexed by i.
e = torch.rand_like(x)
F_grad_y = torch.autograd.grad(F, [y], e)[0]
assert torch.allclose(torch.exp(x + y.t()).t() @ e, F_grad_y)
print("sum and gradient agree with dense PyTorch")
