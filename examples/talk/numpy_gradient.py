"""The talk's F(x, y)_i = sum_j exp(x_i + y_j) and the adjoint of its derivative in y, with Genred and Grad."""
import numpy as np
from benben.numpy import Genred, LazyTensor

x = np.random.rand(4000, 1)
y = np.random.rand(3000, 1)

X = LazyTensor(x.reshape(4000, 1, 1))
Y = LazyTensor(y.reshape(1, 3000, 1))
Z = (X + Y).exp()  # still LazyTensor

F = Z.sum(1)

assert np.allclose(np.exp(x + y.T).sum(1), F.reshape(-1))

e = np.random.rand(*x.shape)

dF = Genred("Grad(Exp(x + y), y, e)", ["x = Vi(1)", "y = Vj(1)", "e = Vi(1)"], reduction_op="Sum", axis=0)
F_grad_y = dF(x, y, e)

assert np.allclose(np.exp(x + y.T).T @ e, F_grad_y)
