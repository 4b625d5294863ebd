"""Random cases: expressions that are well defined on their data. Each node carries an interval that holds its values, so
that logarithms, quotients and inverse functions meet only what they are made for and nothing overflows."""
import math
from typing import NamedTuple

from cases import REDUCTIONS, VI, VJ, PM

DERIVATIVES = "grad", "diff"  # one that loses its variables along an axis is 0 in pykeops where there are batches
LIMIT = 60.0  # of the magnitude of any value


class Node(NamedTuple):
    tree: object
    dim: int
    low: float
    high: float
    jumps: bool = False  # not continuous: compared in float64 alone, where data that sit on a jump do not occur


def monotone(op, f, *rest):
    """A rule for an increasing function."""
    return lambda r, a: Node([op, a.tree, *rest], a.dim, f(a.low), f(a.high), a.jumps)


def bounded(op, low, high, jumps=False):
    return lambda r, a: Node([op, a.tree], a.dim, low, high, a.jumps or jumps)


def squares(a):
    low = 0.0 if a.low <= 0 <= a.high else min(a.low ** 2, a.high ** 2)
    return low, max(a.low ** 2, a.high ** 2)


def inside(a, low, high):
    return low <= a.low and a.high <= high


def away(a, least=0.3):
    return a.low >= least or a.high <= -least


def smooth_unary(form):
    """[(condition, rule)] for operations of one operand, differentiable where the condition holds."""
    def inverse(r, a):
        ends = sorted((1 / a.low, 1 / a.high))
        return Node(["inv", a.tree], a.dim, *ends, a.jumps)

    def square(r, a):
        return Node(["square", a.tree], a.dim, *squares(a), a.jumps)

    def power(r, a):
        n = r.choice([2, 3])
        low, high = squares(a) if n == 2 else (a.low ** 3, a.high ** 3)
        return Node(["pow", a.tree, n], a.dim, low, high, a.jumps)

    def scaled(r, a):
        factor = r.choice([2, 3, -1, -2] if form == "text" else [2, 0.5, -1.5, 3, 0.25])
        ends = sorted((factor * a.low, factor * a.high))
        return Node(["mul", a.tree, factor] if r.random() < 0.5 else ["mul", factor, a.tree], a.dim, *ends, a.jumps)

    def shifted(r, a):
        term = r.choice([1, 2] if form == "text" else [1, 0.5, 1.25, 2])
        return Node(["add", a.tree, term], a.dim, a.low + term, a.high + term, a.jumps)

    def length(op, root):
        def rule(r, a):
            low, high = squares(a)
            f = math.sqrt if root else float
            return Node([op, a.tree], 1, f(a.dim * low), f(a.dim * high), a.jumps)
        return rule

    def total(r, a):
        return Node(["sum", a.tree], 1, a.dim * a.low, a.dim * a.high, a.jumps)

    rules = [
        (lambda a: a.high <= 3, monotone("exp", math.exp)),
        (lambda a: a.low >= 0.2, monotone("log", math.log)),
        (lambda a: a.low >= 0.4, monotone("xlogx", lambda v: v * math.log(v))),
        (lambda a: a.low >= 0.1, monotone("sqrt", math.sqrt)),
        (lambda a: a.low >= 0.1, lambda r, a: Node(["rsqrt", a.tree], a.dim, a.high ** -0.5, a.low ** -0.5, a.jumps)),
        (lambda a: True, bounded("sin", -1, 1)),
        (lambda a: True, bounded("cos", -1, 1)),
        (lambda a: True, bounded("atan", -1.6, 1.6)),
        (lambda a: inside(a, -0.95, 0.95), bounded("asin", -1.6, 1.6)),
        (lambda a: inside(a, -0.95, 0.95), bounded("acos", 0.2, 3.2)),
        (lambda a: True, bounded("sinxdivx", -1, 1)),
        (away, inverse), (lambda a: True, square), (lambda a: True, power), (lambda a: True, scaled),
        (lambda a: True, shifted),
        (lambda a: True, lambda r, a: Node(["neg", a.tree], a.dim, -a.high, -a.low, a.jumps)),
        (lambda a: a.dim > 1, length("sqnorm2", False)),
        (lambda a: a.dim > 1 and away(a), length("norm2", True)),
        (lambda a: a.dim > 1, total),
        (lambda a: a.dim > 1 and away(a), lambda r, a: Node(["normalize", a.tree], a.dim, -1, 1, a.jumps)),
    ]
    if form == "lazy":
        rules.append((lambda a: True, bounded("sinc", -1, 1)))
    return rules


def rough_unary(form):
    """Operations with kinks or jumps."""
    def rounded(r, a):
        d = r.choice([0, 1])
        return Node(["round", a.tree, d], a.dim, a.low - 1, a.high + 1, True)

    def absolute(r, a):
        low, high = squares(a)
        return Node(["abs", a.tree], a.dim, math.sqrt(low), math.sqrt(high), a.jumps)

    def clamp(r, a):
        op, ends = ("clampint", [-1, 1]) if r.random() < 0.5 or form == "text" else ("clamp", [-0.5, 0.75])
        return Node([op, a.tree, *ends], a.dim, max(a.low, ends[0]), min(a.high, ends[1]), a.jumps)

    def pick(op, index):
        return lambda r, a: Node([op, a.tree], 1, *((0, a.dim) if index else (a.low, a.high)), a.jumps or index)

    rules = [
        (lambda a: True, bounded("sign", -1, 1, True)),
        (lambda a: True, bounded("step", 0, 1, True)),
        (lambda a: True, lambda r, a: Node(["relu", a.tree], a.dim, max(a.low, 0), max(a.high, 0), a.jumps)),
        (lambda a: True, rounded), (lambda a: True, absolute),
        (lambda a: a.low < -0.5 and a.high > 1 or inside(a, -0.9, 0.9), clamp),
        (lambda a: a.dim > 1, pick("max", False)), (lambda a: a.dim > 1, pick("min", False)),
        (lambda a: a.dim > 1, pick("argmax", True)), (lambda a: a.dim > 1, pick("argmin", True)),
    ]
    if form == "text":
        rules.append((lambda a: True, lambda r, a: Node(["floor", a.tree], a.dim, a.low - 1, a.high, True)))
    return rules


def indexing(form):
    def elem(r, a):
        return Node(["elem", a.tree, r.randrange(a.dim)], 1, a.low, a.high, a.jumps)

    def extract(r, a):
        d = r.randrange(1, a.dim + 1)
        return Node(["extract", a.tree, r.randrange(a.dim - d + 1), d], d, a.low, a.high, a.jumps)

    def one_hot(r, a):
        return Node(["onehot", a.tree, 3], 3, 0, 1, True)

    rules = [(lambda a: a.dim > 1, elem), (lambda a: a.dim > 1, extract),
             (lambda a: a.dim == 1 and inside(a, 0, 2), one_hot)]
    if form == "text":
        rules += [
            (lambda a: a.dim == 1, lambda r, a: Node(["elemt", a.tree, 3, r.randrange(3)], 3, min(a.low, 0),
                                                     max(a.high, 0), a.jumps)),
            (lambda a: a.dim < 3, lambda r, a: Node(["extractt", a.tree, 1, a.dim + 2], a.dim + 2, min(a.low, 0),
                                                    max(a.high, 0), a.jumps)),
            (lambda a: a.dim == 1, lambda r, a: Node(["sumt", a.tree, 3], 3, a.low, a.high, a.jumps)),
        ]
    return rules


def products(a, b):
    ends = [p * q for p in (a.low, a.high) for q in (b.low, b.high)]
    return min(ends), max(ends)


def same_or_one(a, b):
    return a.dim == b.dim or 1 in (a.dim, b.dim)


def binary():
    """[(condition, rule)] for operations of two operands; smooth ones first, then those with jumps."""
    def simple(op, f):
        return lambda r, a, b: Node([op, a.tree, b.tree], max(a.dim, b.dim), *f(a, b), a.jumps or b.jumps)

    def contraction(op, terms, dim):
        def rule(r, a, b):
            low, high = products(a, b)
            n = terms(a, b)
            return Node([op, a.tree, b.tree], dim(a, b), n * low, n * high, a.jumps or b.jumps)
        return rule

    def distance(r, a, b):
        far = max(abs(a.high - b.low), abs(b.high - a.low))
        return Node(["sqdist", a.tree, b.tree], 1, 0, max(a.dim, b.dim) * far ** 2, a.jumps or b.jumps)

    def concat(r, a, b):
        return Node(["concat", a.tree, b.tree], a.dim + b.dim, min(a.low, b.low), max(a.high, b.high), a.jumps or b.jumps)

    def weighted(r, a, s):
        return Node(["weightedsqnorm", a.tree, s.tree], 1, 0, a.dim ** 2 * squares(a)[1] * s.high, a.jumps or s.jumps)

    def quotient(r, a, b):
        low, high = products(a, Node(0, 1, *sorted((1 / b.low, 1 / b.high))))
        return Node(["div", a.tree, b.tree], max(a.dim, b.dim), low, high, a.jumps or b.jumps)

    def power(r, a, b):
        ends = [p ** q for p in (a.low, a.high) for q in (b.low, b.high)]
        return Node(["powf", a.tree, b.tree], max(a.dim, b.dim), min(ends), max(ends), a.jumps or b.jumps)

    def tensordot(r, a, b):
        if a.dim == 4 and b.dim == 4 and r.random() < 0.5:
            lists, terms, dim = [[2, 2], [2, 2], [r.randrange(2)], [r.randrange(2)], r.choice([[0, 1], [1, 0]])], 2, 4
        else:
            lists, terms, dim = [[a.dim], [b.dim], [0], [0], []], a.dim, 1
        low, high = products(a, b)
        if not lists[-1]:
            lists = [[a.dim, 1], [b.dim, 1], [0], [0], [0, 1]]
        return Node(["tensordot", a.tree, b.tree, *lists], dim, terms * low, terms * high, a.jumps or b.jumps)

    def kron(r, a, b):
        low, high = products(a, b)
        return Node(["kron", a.tree, b.tree, [a.dim], [b.dim]], a.dim * b.dim, low, high, a.jumps or b.jumps)

    smooth = [
        (same_or_one, simple("add", lambda a, b: (a.low + b.low, a.high + b.high))),
        (same_or_one, simple("sub", lambda a, b: (a.low - b.high, a.high - b.low))),
        (same_or_one, simple("mul", products)),
        (lambda a, b: same_or_one(a, b) and away(b), quotient),
        (lambda a, b: a.dim == b.dim, contraction("dot", lambda a, b: a.dim, lambda a, b: 1)),
        (lambda a, b: a.dim == b.dim, distance),
        (lambda a, b: a.dim + b.dim <= 8, concat),
        (lambda a, b: b.low >= 0.1 and b.dim in (1, a.dim) and a.dim > 1, weighted),
        (lambda a, b: same_or_one(a, b) and a.low >= 0.3 and inside(b, -2, 2), power),
        (lambda a, b: same_or_one(a, b) and away(b), simple("atan2", lambda a, b: (-3.2, 3.2))),
        (lambda a, b: a.dim % b.dim == 0 and b.dim > 1,
         contraction("matvecmult", lambda a, b: b.dim, lambda a, b: a.dim // b.dim)),
        (lambda a, b: b.dim % a.dim == 0 and a.dim > 1,
         contraction("vecmatmult", lambda a, b: a.dim, lambda a, b: b.dim // a.dim)),
        (lambda a, b: 1 < a.dim * b.dim <= 9, contraction("tensorprod", lambda a, b: 1, lambda a, b: a.dim * b.dim)),
        (lambda a, b: a.dim == b.dim > 1, tensordot),
        (lambda a, b: 1 < a.dim * b.dim <= 9, kron),
    ]
    compared = [(same_or_one, lambda r, a, b, op=op: Node([op, a.tree, b.tree], max(a.dim, b.dim), 0, 1, True))
                for op in ("lt", "le", "gt", "ge", "eq", "ne")]

    def modulo(r, a, b):
        return Node(["mod", a.tree, b.tree, 0], max(a.dim, b.dim), 0, b.high, True)

    def choose(r, a, b):
        return Node(["ifelse", a.tree, b.tree, ["neg", b.tree]], max(a.dim, b.dim), -max(abs(b.low), abs(b.high)),
                    max(abs(b.low), abs(b.high)), True)

    rough = [*compared, (lambda a, b: same_or_one(a, b) and b.low >= 0.3, modulo), (same_or_one, choose)]
    return smooth, rough


def variables(r, case):
    """The leaves: x_i and y_j of dimension D, u_i and v_j of dimension 1, s_j >= 0.3, parameters p and q."""
    d = r.choice([1, 2, 3, 4])
    case["variables"] = {"x": [VI, d, -1, 1], "y": [VJ, d, -1, 1], "u": [VI, 1, 0.4, 2], "v": [VJ, 1, -0.9, 0.9],
                         "s": [VJ, d, 0.5, 1.5], "p": [PM, 1, 0.5, 1.5], "q": [PM, d, -1, 1], "w": [VJ, 2, -1, 1],
                         "e": [VI, d, -1, 1], "a": [VI, 1, -1, 1]}
    return [Node(["var", k], case["variables"][k][1], *case["variables"][k][2:]) for k in "xyuvspq"]


def adapt(condition, a, fixed=None):
    """a, or a function of it that meets the condition; None where there is none."""
    top = max(a.low ** 2, a.high ** 2)
    shapes = [a, Node(["add", ["square", a.tree], 1], a.dim, 1, 1 + top, a.jumps),
              Node(["div", ["sin", a.tree], 2], a.dim, -0.5, 0.5, a.jumps)]
    return next((b for b in shapes if condition(*((b,) if fixed is None else (fixed, b)))), None)


def grow(r, form, leaves, steps, smooth):
    """An expression of so many operations, each on the one before, that depends on i and on j."""
    x, y = leaves[0], leaves[1]
    sure, jumping = binary()
    one = smooth_unary(form) + indexing(form)
    if not smooth:
        one += rough_unary(form)
    last = r.choice(sure[:3])[1](r, *((x, y) if r.random() < 0.5 else (y, x)))
    pool = [*leaves, last]
    made = 0
    while made < steps:
        if r.random() < 0.5:
            condition, rule = r.choice(one)
            fit = adapt(condition, last)
            if fit is None:
                continue
            new = rule(r, fit)
        else:
            other = r.choice(pool)
            pair = (last, other) if r.random() < 0.5 else (other, last)
            condition, rule = r.choice(sure if smooth or r.random() < 0.7 else jumping)
            fit = adapt(condition, pair[1], pair[0])
            if fit is None:
                continue
            new = rule(r, pair[0], fit)
        if max(abs(new.low), abs(new.high)) > LIMIT or new.dim > 9:
            continue
        last = new
        pool.append(last)
        made += 1
    return last


def differentiate(r, form, f, case):
    """The gradient (or a tangent) of f in a variable."""
    used = [k for k in "xyuq" if f'"{k}"' in str(f.tree).replace("'", '"')]
    wanted = r.choice(used) if used else "x"
    d = case["variables"][wanted][1]
    if f.dim == 1:
        cotangent = ["var", "a"]
    elif f.dim == case["variables"]["e"][1]:
        cotangent = ["var", "e"]
    else:
        case["variables"]["g"] = [VI, f.dim, -1, 1]
        cotangent = ["var", "g"]
    if form == "text" and f.dim == 1 and r.random() < 0.2:
        return Node(["gradmatrix", f.tree, ["var", wanted]], d, -1, 1)
    return Node(["grad", f.tree, ["var", wanted], cotangent], d, -1, 1)


def reduction(r, f, case):
    """How f is folded, with the options that go with it."""
    how = r.choice([k for k, (_, weighted, _) in REDUCTIONS.items()
                    if (f.dim == 1 or not (weighted or k == "logsumexp"))
                    and not (k == "logsumexpweight" and case["form"] == "lazy")]  # there pykeops forgets the weights
                    + ["sum"] * 4
                   + (["matmul"] * 3 if case["form"] == "lazy" and f.dim == 1 else []))
    case["reduction"] = how
    case["axis"] = 1 if how == "matmul" else r.randrange(2)
    if how == "matmul":
        case["right"] = r.choice(["v", "w", "y"])
    elif REDUCTIONS[how][1]:
        case["weight"] = r.choice([["var", "v"], ["exp", ["var", "w"]], ["add", ["var", "s"], 1]]
                                  if how == "sumsoftmaxweight" else [["exp", ["var", "w"]], ["var", "s"]])
        if case["axis"] == 0:  # weights along the axis that is folded
            case["weight"] = ["exp", ["var", "a"]]
    elif REDUCTIONS[how][2]:
        case["k"] = r.choice([1, 2, 3])
    if how in ("sum", "logsumexp") and r.random() < 0.3:
        case["options"] = r.choice([{"sum_scheme": "kahan_scheme"}, {"sum_scheme": "block_sum"},
                                    {"sum_scheme": "direct_sum"}, {"use_double_acc": True}, {"dtype_acc": "float64"}])
        if how == "logsumexp" and case["options"].get("sum_scheme") in ("kahan_scheme",):
            del case["options"]
    if case["form"] == "lazy" and how in ("sum", "min", "argmax") and r.random() < 0.2:
        case["later"] = True


def sizes(r, case, variant=0):
    """Other data for the same compiled formula: sizes, batches, ranges."""
    case.pop("batch", None)
    case.pop("ranges", None)
    case["seed"] = r.randrange(10 ** 6)
    case["m"], case["n"] = r.choice([1, 2, 4, 5, 7]), r.choice([3, 4, 5, 8])
    if case["axis"] == 0:
        case["m"], case["n"] = case["n"], case["m"]
    if variant == 1 and not any(name in str(case["tree"]) for name in DERIVATIVES):
        case["batch"] = r.choice([[2], [3], [2, 2]])
    elif variant == 2 and "k" not in case and case["reduction"] != "matmul" or variant == 2 and case["form"] == "lazy" \
            and "k" not in case:
        m, n = case["m"] + 2, case["n"] + 2
        case["m"], case["n"] = m, n
        i, j = r.randrange(1, m), r.randrange(1, n)
        keep = r.choice([[[1, 0], [0, 1]], [[1, 1], [0, 1]], [[0, 1], [1, 1]]])
        case["ranges"] = [[0, i, m], [0, j, n], keep]


def real_case(r):
    case = {"form": r.choice(["lazy", "text"])}
    leaves = variables(r, case)
    gradient = r.random() < 0.35
    f = grow(r, case["form"], leaves, r.choice([1, 2, 3, 4, 5]), gradient)
    if gradient:
        f = differentiate(r, case["form"], f, case)
    case["tree"] = f.tree
    # of a gradient the values may be large and cancel
    case["dtype"] = "float64" if f.jumps or gradient else r.choice(["float32", "float64"])
    reduction(r, f, case)
    sizes(r, case)
    return prune(case)


def complex_case(r):
    d = r.choice([1, 2, 3])
    case = {"form": "lazy", "dtype": "float64", "reduction": "sum", "axis": r.randrange(2), "complex": ["x", "y"],
            "variables": {"x": [VI, d, 0.5, 1.5], "y": [VJ, d, -1, 1], "u": [VI, 1, 0.4, 2], "q": [PM, d, -1, 1]}}
    x, y, u, q = (["var", k] for k in "xyuq")
    f = [r.choice(["cadd", "csub", "cmul"]), x, y]
    if r.random() < 0.3:
        f = ["cdiv", y, x]
    real = False
    for _ in range(r.choice([0, 1, 2, 3])):
        op = r.choice(["conj", "cexp", "cmul", "cadd", "csum", "real", "imag", "cabs", "angle", "qmul"])
        if real:
            f, real = [r.choice(["exp1j", "real2complex", "imag2complex"]), f], False
        elif op in ("conj", "cexp", "csum"):
            f = [op, f]
        elif op in ("cmul", "cadd"):
            f = [op, f, r.choice([x, y])] if "csum" not in str(f) else ["conj", f]
        elif op == "qmul":
            f = ["mul", q, f] if "csum" not in str(f) else ["conj", f]
        else:
            f, real = [op, f], True
    if str(f).count("cexp") > 1:
        return complex_case(r)
    case["tree"] = f
    sizes(r, case)
    return prune(case)


def special_trees():
    """Expressions with operations that chance hardly meets: (form, tree)."""
    x, y, u, v, s, p, q, e, k = (["var", name] for name in "xyuvspqek")
    z, w = ["real2complex", ["sub", x, y]], ["exp1j", ["mul", x, y]]
    both = [
        ["weightedsqdist", x, y, s], ["weightedsqdist", x, y, p], ["weightedsqnorm", ["sub", x, y], ["tensorprod", s, s]],
        ["weightedsqnorm", ["mul", x, y], u],
        ["diff", ["exp", ["neg", ["sqdist", x, y]]], x, e], ["diff", ["mul", ["sin", ["mul", x, y]], v], x, e],
        ["divergence", ["mul", ["exp", ["sub", x, y]], x], x], ["divergence", ["sin", ["mul", x, y]], y],
        ["laplacian", ["exp", ["neg", ["sqdist", x, y]]], x], ["laplacian", ["sin", ["dot", x, y]], y],
        ["onehot", ["add", ["step", ["sum", ["sub", x, y]]], 1], 4], ["normalize", ["add", ["square", ["sub", x, y]], 1]],
        ["norm2", ["sub", x, y]], ["norm2", ["sub", ["mul", x, y], q]],
        ["grad", ["grad", ["exp", ["neg", ["sqdist", x, y]]], x, e[:1] + ["a"]], x, e],
        ["grad", ["norm2", ["sub", x, y]], x, ["var", "a"]],
        ["matvecmult", ["tensorprod", x, s], y], ["vecmatmult", x, ["tensorprod", y, s]],
        ["tensordot", ["tensorprod", x, s], ["tensorprod", y, s], ["D", "D"], ["D", "D"], [0, 1], [1, 0], []],
        ["real", ["cmul", z, w]], ["imag", ["cdiv", z, ["cadd", w, ["real2complex", ["square", s]]]]],
        ["angle", ["cadd", z, w]], ["conj", ["cexp", z]], ["csum", ["csub", z, ["imag2complex", s]]],
    ]
    return [("lazy", tree) for tree in both] + [("text", tree) for tree in both] + [
        ("text", ["symsqnorm", ["sub", x, y], ["tensorprod", s, s]]), ("text", ["csquareabs", ["cmul", z, w]]),
        ("text", ["cscale", p, z]), ("text", ["cabs", ["cadd", z, w]]), ("text", ["gradmatrix", ["mul", ["sin", x], y], x]),
        ("lazy", ["bspline", k, ["mul", u, v], 2]), ("text", ["bspline", k, ["mul", u, v], 1]),
        ("lazy", ["cabs", ["cadd", z, w]]), ("text", ["floor", ["mul", ["sub", x, y], 3]]),
    ]


def special_case(r, which=None):
    form, tree = r.choice(special_trees()) if which is None else special_trees()[which]
    case = {"form": form, "dtype": "float64", "reduction": "sum", "axis": r.randrange(2), "tree": tree}
    variables(r, case)
    d = case["variables"]["x"][1]
    case["variables"]["k"] = [PM, 6, -1, 2]
    if tree[0] == "tensordot":
        d = max(d, 2)
        case["tree"] = [[d, d] if part == ["D", "D"] else part for part in tree]
        if not tree[-1]:
            case["tree"] = case["tree"][:-1] + [[]]
        for name in "xysqe":
            case["variables"][name][1] = d
    sizes(r, case)
    return prune(case)


def prune(case):
    """Without variables that nothing uses."""
    from cases import names
    used = names(case["tree"]) | names(case.get("weight", 0)) | {case.get("right")}
    case["variables"] = {k: v for k, v in case["variables"].items() if k in used}
    if "complex" in case:
        case["complex"] = [k for k in case["complex"] if k in used]
    return case


def draw(r):
    """A case; r is a random.Random, or hypothesis's."""
    chance = r.random()
    return complex_case(r) if chance < 0.1 else special_case(r) if chance < 0.2 else real_case(r)
