"""Linear systems, SciPy's solvers, complex exponentials, symbolic variables, pickles, a class derived from Genred."""
import pickle

import numpy as np
from pykeops.numpy import ComplexLazyTensor, Genred, KernelSolve, LazyTensor, Pm, Vi, Vj
from scipy.sparse.linalg import aslinearoperator, cg, eigsh

rng = np.random.default_rng(2)
x, b, p = rng.random((80, 2)), rng.random((80, 1)), np.array([5.0])
dense = np.exp(-5 * ((x[:, None] - x) ** 2).sum(-1))
x_i, x_j = Vi(x), Vj(x)
K = (-Pm(p) * x_i.sqdist(x_j)).exp()
exact = np.linalg.solve(dense + 0.1 * np.eye(80), b)
assert np.allclose(K.solve(b, alpha=0.1, eps=1e-9), exact, atol=1e-6)
solver = KernelSolve("Exp(-p*SqDist(x,y))*b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(1)", "p = Pm(1)"], "b", axis=1)
assert np.allclose(solver(x, x, b, p, alpha=0.1, eps=1e-9), exact, atol=1e-6)
later = K.solve(Vi(0, 1), alpha=0.1, eps=1e-9)
assert np.allclose(later(b), exact, atol=1e-6)

A = aslinearoperator(K)
assert A.shape == (80, 80) and A.dtype == np.float64
assert np.allclose(np.sort(eigsh(A, k=5)[0]), np.linalg.eigvalsh(dense)[-5:])
assert np.allclose(A.rmatvec(b[:, 0]), dense.T @ b[:, 0])
assert np.allclose(cg(aslinearoperator((K + 0)) + aslinearoperator(0.1 * np.eye(80)), b[:, 0], rtol=1e-10)[0], exact[:, 0], atol=1e-6)

# a non-uniform Fourier transform
freq = rng.random((30, 2))
z = (-2 * np.pi * 1j * (Vi(freq) | Vj(x))).exp()
assert isinstance(z, ComplexLazyTensor) and z.dtype == "complex128"
f = (z * Vj(b)).sum(axis=1)
wave = np.exp(-2j * np.pi * freq @ x.T)
assert f.dtype == np.complex128 and np.allclose(f, wave @ b)
assert np.allclose((abs(z) + z.real).sum(axis=0)[:, 0], (1 + wave.real).sum(0))
w = LazyTensor((x[:, None, :] + 1j * x[:, None, ::-1]))
assert np.allclose((w * w.conj()).sum(-1).sum(axis=0), 2 * (x ** 2).sum())

# formulas without data
F = ((Vi(0, 2) - Vj(1, 2)) ** 2).sum(-1).exp() * Pm(2, 1)
G = F.sum_reduction(axis=1)
assert np.allclose(G(x, x, p)[:, 0], 5 * np.exp(((x[:, None] - x) ** 2).sum(-1)).sum(1))
assert "Exp" in F.formula and "Var(0,2,0)" in F.formula and "reduction: Sum" in str(G)


class GenredR(Genred):
    """Takes a list, as from R."""

    def __call__(self, args, **keywords):
        return super().__call__(*args, **keywords)


r = GenredR("SqDist(x,y)", ["x = Vi(2)", "y = Vj(2)"], reduction_op="Max", axis=1)
assert np.allclose(r([x, x], backend="CPU")[:, 0], ((x[:, None] - x) ** 2).sum(-1).max(1))
copy = pickle.loads(pickle.dumps(Genred("SqDist(x,y)", ["x = Vi(2)", "y = Vj(2)"], reduction_op="ArgKMin", axis=1, opt_arg=2)))
assert (copy(x, x)[:, 0] == np.arange(80)).all()
print("done")
