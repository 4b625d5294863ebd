"""Reductions of the caller's own, for tests: their formulas by the builder of the C interface."""
import ctypes as c

import numpy as np

import bb

P = c.c_void_p


class Definition(c.Structure):
    _fields_ = [("size", c.c_size_t), ("state_dim", c.c_int64), ("init", P), ("step", P), ("merge", P), ("finish", P)]


for _name in ("bb_variable", "bb_number", "bb_apply", "bb_reduce", "bb_reduce_custom"):
    getattr(bb.lib, _name).restype = P
CONTEXT = bb.shared_context().handle


def checked(handle):
    if not handle:
        raise bb.Error(2, bb.lib.bb_last_error().decode())
    return handle


class Formula:
    def __init__(self, handle):
        self.handle = checked(handle)

    def __add__(self, other):
        return apply("add", self, other)

    def __sub__(self, other):
        return apply("sub", self, other)

    def __mul__(self, other):
        return apply("mul", self, other)

    def __truediv__(self, other):
        return apply("div", self, other)

    def __getitem__(self, k):
        return apply("elem", self, integers=(k,))


def formula(x):
    return x if isinstance(x, Formula) else Formula(bb.lib.bb_number(CONTEXT, c.c_double(x)))


def variable(position, place, dim):
    return Formula(bb.lib.bb_variable(CONTEXT, position, {"p": 0, "i": 1, "j": 2}[place], c.c_int64(dim)))


def apply(name, *operands, integers=()):
    handles = (P * max(1, len(operands)))(*(formula(o).handle for o in operands))
    return Formula(bb.lib.bb_apply(CONTEXT, name.encode(), handles, len(operands),
                                   (c.c_int64 * max(1, len(integers)))(*integers), len(integers)))


def concat(first, *rest):
    for more in rest:
        first = apply("concat", first, more)
    return first


def reduce(name, axis, f):
    return Formula(bb.lib.bb_reduce(CONTEXT, name.encode(), axis, P(f.handle), None, c.c_int64(0)))


def custom(definition, axis, f):
    return Formula(bb.lib.bb_reduce_custom(CONTEXT, c.byref(definition), axis, P(f.handle)))


def define(state_dim, dim, init, step, merge, finish=None):
    """step(s, f), merge(s, t), finish(s): functions of formulas."""
    s, f, t = variable(0, "p", state_dim), variable(1, "p", dim), variable(2, "p", state_dim)
    return Definition(c.sizeof(Definition), state_dim, formula(init).handle, step(s, f).handle, merge(s, t).handle,
                      finish(s).handle if finish else None)


def program(signature, *outputs):
    """signature: (name, place, dim) ..."""
    class Info(c.Structure):
        _fields_ = [("name", c.c_char_p), ("place", c.c_int), ("dim", c.c_int64), ("is_index", c.c_int)]

    infos = (Info * len(signature))(*(Info(n.encode(), {"p": 0, "i": 1, "j": 2}[p], d, 0) for n, p, d in signature))
    handle = P()
    bb.check(bb.lib.bb_program_new(CONTEXT, infos, len(signature), (P * len(outputs))(*(o.handle for o in outputs)),
                                   len(outputs), c.byref(handle)))
    return bb.Program(handle)


# ---- what is tested: (definition, dim, the same of an array of values (rows, columns, dim))
def variance():
    """(n, mean, M2) of Welford, merged as Chan, Golub and LeVeque (1979) do."""
    def step(s, f):
        n, d = s[0] + 1, f - s[1]
        mean = s[1] + d / n
        return concat(n, mean, s[2] + d * (f - mean))

    def merge(s, t):
        n, gap = s[0] + t[0], t[1] - s[1]
        some = apply("maximum", n, 1)
        return concat(n, s[1] + gap * t[0] / some, s[2] + t[2] + gap * gap * s[0] * t[0] / some)

    return define(3, 1, apply("zero", integers=(3,)), step, merge, lambda s: s[2] / s[0]), 1, lambda v: v.var(1)


def extent():
    """Largest less smallest of each of two components."""
    def both(a, b):
        return concat(apply("minimum", a[0], b[0]), apply("minimum", a[1], b[1]), apply("maximum", a[2], b[2]),
                      apply("maximum", a[3], b[3]))

    init = concat(formula(np.inf), np.inf, -np.inf, -np.inf)
    made = define(4, 2, init, lambda s, f: both(s, concat(f, f)), both, lambda s: concat(s[2] - s[0], s[3] - s[1]))
    return made, 2, lambda v: v.max(1) - v.min(1)


def rotations():
    """A product of complex numbers of modulus near 1, with a literal; the state is the result."""
    def product(a, b):
        return concat(a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0])

    def step(s, f):
        angle = f * 0.37
        return product(s, concat(apply("cos", angle), apply("sin", angle)))

    def expected(v):
        angle = 0.37 * v.sum(1)
        return np.concatenate([np.cos(angle), np.sin(angle)], -1)

    return define(2, 1, concat(formula(1), 0), step, product), 1, expected


def long():
    """Of a vector that is computed by a loop: left to the processor."""
    def most(s, t):
        return apply("maximum", s, t)

    return define(12, 12, apply("zero", integers=(12,)), most, most), 12, lambda v: np.maximum(v.max(1), 0)
