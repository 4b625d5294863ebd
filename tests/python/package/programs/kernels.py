"""Kernel sums, their gradients and a mixture, by formulas."""
import numpy as np
import pykeops
from pykeops.numpy import Genred, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum
from pykeops.numpy.utils import log_np_kernel, np_kernel, squared_distances

pykeops.set_verbose(False)
backend = "GPU" if pykeops.config.gpu_available else "CPU"
rng = np.random.default_rng(0)
M, N, D = 30, 20, 3
x, y, b, e = rng.random((M, D)), rng.random((N, D)), rng.random((N, 2)), rng.random((M, 2))
g = np.array([0.5])
K = np.exp(-0.5 * squared_distances(x, y))
assert np.allclose(K, np_kernel(x, y, np.sqrt(2), kernel="gaussian"))

formula = "Exp(-g*SqDist(x,y))*b"
aliases = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)", "g = Pm(1)"]
gaussian = Genred(formula, aliases, reduction_op="Sum", axis=1)
assert np.allclose(gaussian(x, y, b, g, backend=backend), K @ b)
out = np.zeros((M, 2))
assert gaussian(x, y, b, g, out=out) is out and np.allclose(out, K @ b)

gradient = Genred(f"Grad({formula},y,e)", [*aliases, "e = Vi(2)"], axis=0)
exact = -2 * 0.5 * ((K * (e @ b.T))[:, :, None] * (y - x[:, None])).sum(0)
assert np.allclose(gradient(x, y, b, g, e), exact)

mixture = generic_logsumexp("w - g*SqDist(x,y)", "a = Vi(1)", "x = Vi(3)", "y = Vj(3)", "w = Vj(1)", "g = Pm(1)")
assert np.allclose(mixture(x, y, b[:, :1], g)[:, 0], np.log((K * np.exp(b[:, 0])).sum(1)))
total = generic_sum("Square((x|y))", "a = Vj(1)", "x = Vi(3)", "y = Vj(3)")
assert np.allclose(total(x, y)[:, 0], ((x @ y.T) ** 2).sum(0))
nearest = generic_argmin("SqDist(x,y)", "a = Vi(1)", "x = Vi(3)", "y = Vj(3)")(x, y)
assert (nearest[:, 0] == K.argmax(1)).all()
three = generic_argkmin("SqDist(x,y)", "a = Vi(3)", "x = Vi(3)", "y = Vj(3)")(x, y)
assert (three == np.argsort(-K, 1)[:, :3]).all()
accurate = Genred(formula, aliases, axis=1, dtype_acc="float64", sum_scheme="kahan_scheme")
single = [a.astype("float32") for a in (x, y, b, g)]
assert accurate(*single).dtype == np.float32 and np.allclose(accurate(*single), K @ b, rtol=1e-5)
for bad in (lambda: Genred(formula, aliases, axis=2), lambda: gaussian(x, y, b), lambda: gaussian(x, y, b, g, backend="FPGA"),
            lambda: Genred(formula, aliases, axis=1, sum_scheme="pairwise")(x, y, b, g)):
    try:
        bad()
    except ValueError:
        continue
    raise AssertionError
print("done")
