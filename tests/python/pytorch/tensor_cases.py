"""A family of reductions with dense PyTorch beside: sums, log-sum-exp, extrema, K smallest, weights, over either axis,
by Genred and by LazyTensor, with i-, j- and parameter variables."""
import torch

from benben.torch import Genred, LazyTensor, Pm, Vi, Vj

F64 = dict(dtype=torch.float64)


def sq(x, y):
    return ((x[..., :, None, :] - y[..., None, :, :]) ** 2).sum(-1)


def gauss(x, y, s):
    return torch.exp(-sq(x, y) / s[..., None, :])


class Case:
    """found and expected are functions of tensors (M, D) for i, (N, D) for j, (D,) for parameters."""

    def __init__(self, name, found, expected, places):
        self.name, self.found, self.expected, self.places = name, found, expected, places

    def __repr__(self):
        return self.name

    def tensors(self, m=4, n=5, batch=(), seed=0, **kind):
        r = torch.Generator().manual_seed(seed)
        out = []
        for place, dim in self.places:
            rows = {"i": (m,), "j": (n,), "p": ()}[place]
            t = torch.randn((*batch, *rows, dim), generator=r, **F64)
            out.append((t.abs() + 0.5 if place == "p" else t).to(**(kind or F64)))
        return out

    def leaves(self, *args, **keywords):
        return [t.requires_grad_() for t in self.tensors(*args, **keywords)]


XYSB = ["x = Vi(2)", "y = Vj(2)", "s = Pm(1)", "b = Vj(2)"]
XYSA = ["x = Vi(2)", "y = Vj(2)", "s = Pm(1)", "a = Vi(2)"]
XYS = XYSB[:3]
PLACES = [("i", 2), ("j", 2), ("p", 1)]
K3 = Genred("SqDist(x, y) / s", XYS, "KMin", axis=1, opt_arg=3)


def lazy_product(x, y, s, b):
    K = (-((Vi(x) - Vj(y)) ** 2).sum(-1) / Pm(s)).exp()
    return K @ b


def lazy_polynomial(x, y, b):
    f = LazyTensor(x[..., :, None, :]) - LazyTensor(y[..., None, :, :])
    return (f * Vj(b)).sum(dim=f.dim() - 2)


CASES = [
    Case("gauss_j", Genred("Exp(-SqDist(x, y) / s) * b", XYSB, axis=1), lambda x, y, s, b: gauss(x, y, s) @ b,
         [*PLACES, ("j", 2)]),
    Case("gauss_i", Genred("Exp(-SqDist(x, y) / s) * a", XYSA, axis=0),
         lambda x, y, s, a: gauss(x, y, s).transpose(-1, -2) @ a, [*PLACES, ("i", 2)]),
    Case("logsumexp_j", Genred("-SqDist(x, y) / s", XYS, "LogSumExp", axis=1),
         lambda x, y, s: gauss(x, y, s).sum(-1, keepdim=True).log(), PLACES),
    Case("logsumexp_weights_i", Genred("-SqDist(x, y) / s", XYSA, "LogSumExp", axis=0, formula2="Square(a)"),
         lambda x, y, s, a: (gauss(x, y, s).transpose(-1, -2) @ a ** 2).log(), [*PLACES, ("i", 2)]),
    Case("softmax_j", Genred("-SqDist(x, y) / s", XYSB, "SumSoftMaxWeight", axis=1, formula2="b"),
         lambda x, y, s, b: gauss(x, y, s) @ b / gauss(x, y, s).sum(-1, keepdim=True), [*PLACES, ("j", 2)]),
    Case("min_j", Genred("SqDist(x, y) / s", XYS, "Min", axis=1),
         lambda x, y, s: (sq(x, y) / s[..., None, :]).amin(-1, keepdim=True), PLACES),
    Case("max_i", Genred("(x - y) * s", XYS, "Max", axis=0),
         lambda x, y, s: ((x[..., :, None, :] - y[..., None, :, :]) * s[..., None, None, :]).amax(-3), PLACES),
    Case("kmin_j", K3, lambda x, y, s: (sq(x, y) / s[..., None, :]).sort(-1)[0][..., :3], PLACES),
    Case("lazy_product", lazy_product, lambda x, y, s, b: gauss(x, y, s) @ b, [*PLACES, ("j", 2)]),
    Case("lazy_vectors", lazy_polynomial,
         lambda x, y, b: ((x[..., :, None, :] - y[..., None, :, :]) * b[..., None, :, :]).sum(-2),
         [("i", 2), ("j", 2), ("j", 2)]),
]
BY_NAME = {case.name: case for case in CASES}
