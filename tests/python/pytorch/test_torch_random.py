"""Random expressions, shapes, batches and choices of what needs a gradient: values and gradients of first and second
order against dense PyTorch, by the direct way, through the dispatcher and compiled."""
import random

import pytest

torch = pytest.importorskip("torch")
from benben.torch import Pm, Vi, Vj, _ops  # noqa: E402

F64 = dict(dtype=torch.float64)


class Dense:
    """What a LazyTensor stands for: (..., M, N, D), with its spelling."""

    def __init__(self, t):
        self.t = t

    def both(self, other, f):
        return Dense(f(self.t, other.t if isinstance(other, Dense) else other))

    __add__ = lambda a, b: a.both(b, torch.add)  # noqa: E731
    __sub__ = lambda a, b: a.both(b, torch.sub)  # noqa: E731
    __mul__ = lambda a, b: a.both(b, torch.mul)  # noqa: E731
    __truediv__ = lambda a, b: a.both(b, torch.div)  # noqa: E731
    __or__ = lambda a, b: a.both(b, lambda x, y: (x * y).sum(-1, keepdim=True))  # noqa: E731
    __neg__ = lambda a: Dense(-a.t)  # noqa: E731
    __getitem__ = lambda a, k: Dense(a.t[..., k:k + 1])  # noqa: E731
    sqdist = lambda a, b: a.both(b, lambda x, y: ((x - y) ** 2).sum(-1, keepdim=True))  # noqa: E731
    minimum = lambda a, b: a.both(b, torch.minimum)  # noqa: E731
    concat = lambda a, b: a.both(b, lambda x, y: torch.cat(  # noqa: E731
        [t.expand(*torch.broadcast_shapes(x.shape[:-1], y.shape[:-1]), t.shape[-1]) for t in (x, y)], -1))
    sum = lambda a, _: Dense(a.t.sum(-1, keepdim=True))  # noqa: E731
    norm2 = lambda a: Dense(a.t.norm(dim=-1, keepdim=True))  # noqa: E731

    def __getattr__(self, name):
        return lambda: Dense(getattr(torch, name)(self.t))


UNARY = ["exp", "tanh", "sin", "cos", "square", "sigmoid", "neg", "sqrt1", "sum", "norm", "elem", "inv", "log1"]
BINARY = ["add", "sub", "mul", "div", "dot", "sqdist", "minimum", "concat"]


def unary(op, a, dim):
    if op == "sqrt1":
        return (a.square() + 1.0).sqrt(), dim
    if op == "log1":
        return (a.square() + 0.5).log(), dim
    if op == "inv":
        return (a.square() + 1.0).rsqrt(), dim
    if op == "sum":
        return a.sum(-1), 1
    if op == "norm":
        return (a.square() + 0.1).norm2(), 1
    if op == "elem":
        return a[dim - 1], 1
    if op == "neg":
        return -a, dim
    if op == "exp":
        return a.tanh().exp(), dim
    return getattr(a, op)(), dim


def binary(op, a, b, da, db):
    if op in ("dot", "sqdist") and da != db:
        op = "mul"
    if da != db and 1 not in (da, db) and op != "concat":
        a, b, da, db = a.sum(-1), b, 1, db
    dim = max(da, db)
    if op == "add":
        return a + b, dim
    if op == "sub":
        return a - b, dim
    if op == "mul":
        return a.tanh() * b.tanh(), dim
    if op == "div":
        return a / (b.square() + 1.0), dim
    if op == "dot":
        return (a | b).tanh(), 1
    if op == "sqdist":
        return a.tanh().sqdist(b.tanh()), 1
    if op == "minimum":
        return a.minimum(b), dim
    return (a.concat(b), da + db) if da + db <= 6 else (a.sum(-1) - b.sum(-1), 1)


def expression(r, leaves, depth):
    """f(list of variables) -> (value, dim), drawn once, for both kinds of values."""
    if depth == 0:
        k = r.randrange(len(leaves))
        return lambda v: (v[k], leaves[k][1])
    if r.random() < 0.4:
        op, a = r.choice(UNARY), expression(r, leaves, depth - 1)
        return lambda v: unary(op, *a(v))
    op, a, b = r.choice(BINARY), expression(r, leaves, depth - 1), expression(r, leaves, depth - r.randrange(1, depth + 1))

    def both(v):
        (x, dx), (y, dy) = a(v), b(v)
        return binary(op, x, y, dx, dy)

    return both


def reduce_lazy(op, K, at):
    return {"sum": lambda: K.sum(dim=at), "mean": lambda: K.mean(axis=at), "min": lambda: K.min(dim=at),
            "max": lambda: K.max(dim=at), "logsumexp": lambda: K.sum(-1).logsumexp(at),
            "kmin": lambda: K.sum(-1).Kmin(2, dim=at), "dense": lambda: K.dense()}[op]()


def reduce_dense(op, t, axis):
    one = t.sum(-1)
    return {"sum": lambda: t.sum(axis), "mean": lambda: t.mean(axis), "min": lambda: t.amin(axis),
            "max": lambda: t.amax(axis), "logsumexp": lambda: one.exp().sum(axis + 1).log()[..., None],
            "kmin": lambda: one.sort(axis + 1)[0].narrow(axis + 1, 0, 2).movedim(axis + 1, -1),
            "dense": lambda: t[..., 0] if t.shape[-1] == 1 else t}[op]()


class Drawn:
    def __init__(self, seed):
        r = self.r = random.Random(seed)
        self.leaves = [("i", 2), ("j", 2), ("p", r.choice([1, 2])), ("i", 1), ("j", 1)]
        self.f = expression(r, self.leaves, r.randrange(2, 5))
        self.op = r.choice(["sum", "sum", "sum", "mean", "min", "max", "logsumexp", "kmin", "dense"])
        self.axis = r.choice([0, 1])
        self.m, self.n = r.choice([(3, 4), (5, 2), (2, 7), (9, 8)])
        self.batch = r.choice([(), (), (2,), (2, 3)])
        self.needs = [r.random() < 0.7 for _ in self.leaves]
        g = torch.Generator().manual_seed(seed)
        self.tensors = []
        for place, dim in self.leaves:
            rows = {"i": (self.m,), "j": (self.n,), "p": ()}[place]
            own = r.choice([self.batch, self.batch[1:], (1,) * len(self.batch)])
            t = torch.randn((*own, *rows, dim), generator=g, **F64)
            self.tensors.append(t.mT.contiguous().mT if place != "p" and r.random() < 0.3 else t)

    def lazy(self, *tensors):
        make = {"i": Vi, "j": Vj, "p": Pm}
        values = [make[place](t) for (place, _), t in zip(self.leaves, tensors)]
        anchor = sum([(v * 0)[0] for v in values[1:]], (values[0] * 0)[0])  # every variable takes part
        K = self.f(values)[0] + anchor
        return reduce_lazy(self.op, K, K.nbatchdims + self.axis)

    def dense(self, *tensors):
        views = {"i": lambda t: t[..., :, None, :], "j": lambda t: t[..., None, :, :], "p": lambda t: t[..., None, None, :]}
        values = [Dense(views[place](t)) for (place, _), t in zip(self.leaves, tensors)]
        anchor = sum(v.t[..., :1] * 0 for v in values)
        return reduce_dense(self.op, self.f(values)[0].t + anchor, self.axis - 3)


def gradients(f, drawn, second=True):
    leaves = [t.clone().requires_grad_(n) for t, n in zip(drawn.tensors, drawn.needs)]
    wanted = [t for t in leaves if t.requires_grad]
    out = f(*leaves)
    if not wanted or not out.requires_grad:
        return [out]
    g = torch.sin(torch.arange(out.numel(), **F64)).reshape(out.shape)
    options = dict(allow_unused=True, materialize_grads=True)
    first = torch.autograd.grad(out, wanted, g, create_graph=second, **options)
    if not second:
        return [out, *first]
    value = sum((t.sin()).sum() for t in first)
    again = torch.autograd.grad(value, wanted, **options) if value.requires_grad else \
        [torch.zeros_like(t) for t in wanted]
    return [out, *first, *again]


def close(found, expected):
    assert len(found) == len(expected)
    for f, e in zip(found, expected):
        torch.testing.assert_close(f, e, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("seed", [pytest.param(s, marks=() if s < 25 else pytest.mark.full) for s in range(200)])
def test_random_expressions(seed, monkeypatch):
    drawn = Drawn(seed)
    expected = gradients(drawn.dense, drawn)
    found = gradients(drawn.lazy, drawn)
    close(found, expected)
    with monkeypatch.context() as patch:  # the slow twin: everything through the dispatcher
        patch.setattr(_ops, "plain_types", frozenset())
        for f, e in zip(gradients(drawn.lazy, drawn), found):
            assert torch.equal(f, e)


@pytest.mark.full
@pytest.mark.parametrize("seed", range(200, 230))
def test_random_expressions_compiled(seed):
    drawn = Drawn(seed)
    torch._dynamo.reset()
    close(gradients(torch.compile(drawn.lazy, fullgraph=True, backend="aot_eager"), drawn, second=False),
          gradients(drawn.dense, drawn, second=False))
