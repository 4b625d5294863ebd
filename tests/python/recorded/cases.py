"""What a case of the comparison with pykeops is, and how it runs on either package.

A case is a dictionary that JSON can hold: seed and sizes of the data, an expression as nested lists
["exp", ["sqdist", ["var", "x"], ["var", "y"]]], and how it is reduced. OPERATIONS says what each operation is as
LazyTensor and in a formula's text, so that one expression serves both.
"""
import numpy as np

# name: (as LazyTensor, as text)
OPERATIONS = {
    "add": (lambda f, g: f + g, "({0}+{1})"),
    "sub": (lambda f, g: f - g, "({0}-{1})"),
    "mul": (lambda f, g: f * g, "({0}*{1})"),
    "div": (lambda f, g: f / g, "({0}/{1})"),
    "dot": (lambda f, g: f | g, "({0}|{1})"),
    "neg": (lambda f: -f, "(-{0})"),
    "inv": (lambda f: 1 / f, "Inv({0})"),
    "eq": (lambda f, g: f == g, "Equal({0},{1})"),
    "ne": (lambda f, g: f != g, "NotEqual({0},{1})"),
    "lt": (lambda f, g: f < g, "LessThan({0},{1})"),
    "le": (lambda f, g: f <= g, "LessOrEqual({0},{1})"),
    "gt": (lambda f, g: f > g, "({0}>{1})"),
    "ge": (lambda f, g: f >= g, "({0}>={1})"),
    "exp": (lambda f: f.exp(), "Exp({0})"),
    "log": (lambda f: f.log(), "Log({0})"),
    "xlogx": (lambda f: f.xlogx(), "XLogX({0})"),
    "sin": (lambda f: f.sin(), "Sin({0})"),
    "cos": (lambda f: f.cos(), "Cos({0})"),
    "asin": (lambda f: f.asin(), "Asin({0})"),
    "acos": (lambda f: f.acos(), "Acos({0})"),
    "atan": (lambda f: f.atan(), "Atan({0})"),
    "atan2": (lambda f, g: f.atan2(g), "Atan2({0},{1})"),
    "abs": (lambda f: abs(f), "Abs({0})"),
    "sqrt": (lambda f: f.sqrt(), "Sqrt({0})"),
    "rsqrt": (lambda f: f.rsqrt(), "Rsqrt({0})"),
    "square": (lambda f: f.square(), "Square({0})"),
    "pow": (lambda f, n: f ** n, "Pow({0},{1})"),
    "powf": (lambda f, g: f ** g, "Powf({0},{1})"),
    "sinxdivx": (lambda f: f.sinxdivx(), "SinXDivX({0})"),
    "sinc": (lambda f: f.sinc(), None),
    "sign": (lambda f: f.sign(), "Sign({0})"),
    "step": (lambda f: f.step(), "Step({0})"),
    "relu": (lambda f: f.relu(), "ReLU({0})"),
    "floor": (None, "Floor({0})"),
    "round": (lambda f, d: f.round(d), "Round({0},{1})"),
    "mod": (lambda f, m, o: f.mod(m, o), "Mod({0},{1},{2})"),
    "clamp": (lambda f, a, b: f.clamp(a, b), "Clamp({0},{1},{2})"),
    "clampint": (lambda f, a, b: f.clamp(a, b), "ClampInt({0},{1},{2})"),
    "ifelse": (lambda f, a, b: f.ifelse(a, b), "IfElse({0},{1},{2})"),
    "sqnorm2": (lambda f: f.sqnorm2(), "SqNorm2({0})"),
    "norm2": (lambda f: f.norm(-1), "Norm2({0})"),
    "normalize": (lambda f: f.normalize(), "Normalize({0})"),
    "sqdist": (lambda f, g: f.sqdist(g), "SqDist({0},{1})"),
    "weightedsqnorm": (lambda f, s: f.weightedsqnorm(s), "WeightedSqNorm({1},{0})"),
    "weightedsqdist": (lambda f, g, s: f.weightedsqdist(g, s), "WeightedSqDist({2},{0},{1})"),
    "symsqnorm": (None, "SymSqNorm({1},{0})"),
    "sum": (lambda f: f.sum(-1), "Sum({0})"),
    "max": (lambda f: f.max(-1), "Max({0})"),
    "min": (lambda f: f.min(-1), "Min({0})"),
    "argmax": (lambda f: f.argmax(-1), "ArgMax({0})"),
    "argmin": (lambda f: f.argmin(-1), "ArgMin({0})"),
    "elem": (lambda f, i: f[i], "Elem({0},{1})"),
    "elemt": (None, "ElemT({0},{1},{2})"),
    "extract": (lambda f, i, d: f[i:i + d], "Extract({0},{1},{2})"),
    "extractt": (None, "ExtractT({0},{1},{2})"),
    "sumt": (None, "SumT({0},{1})"),
    "onehot": (lambda f, d: f.one_hot(d), "OneHot({0},{1})"),
    "concat": (lambda f, g: f.concat(g), "Concat({0},{1})"),
    "matvecmult": (lambda f, g: f.matvecmult(g), "MatVecMult({0},{1})"),
    "vecmatmult": (lambda f, g: f.vecmatmult(g), "VecMatMult({0},{1})"),
    "tensorprod": (lambda f, g: f.tensorprod(g), "TensorProd({0},{1})"),
    "tensordot": (lambda f, g, *lists: f.keops_tensordot(g, *[tuple(a) for a in lists]),
                  "TensorDot({0},{1},{2},{3},{4},{5},{6})"),
    "kron": (lambda f, g, a, b: f.keops_kron(g, tuple(a), tuple(b)), "Kron({0},{1},{2},{3})"),
    "bspline": (lambda f, x, k: f.bspline(x, k), "BSpline({0},{1},{2})"),
    "softdtw": (lambda f, g, s: f.softdtw_sqdist(g, s), "SoftDTW_SqDist({0},{1},{2})"),
    "grad": (lambda f, v, e: f.grad(v, e), "Grad({0},{1},{2})"),
    "diff": (lambda f, v, e: f.diff(v, e), "Diff({0},{1},{2})"),
    "gradmatrix": (None, "GradMatrix({0},{1})"),
    "divergence": (lambda f, v: f.divergence(v), "Divergence({0},{1})"),
    "laplacian": (lambda f, v: f.laplacian(v), "Laplacian({0},{1})"),
    # complex numbers
    "real2complex": (lambda f: f.real2complex(), "Real2Complex({0})"),
    "imag2complex": (lambda f: f.imag2complex(), "Imag2Complex({0})"),
    "exp1j": (lambda f: f.exp1j(), "ComplexExp1j({0})"),
    "real": (lambda f: f.real, "ComplexReal({0})"),
    "imag": (lambda f: f.imag, "ComplexImag({0})"),
    "angle": (lambda f: f.angle(), "ComplexAngle({0})"),
    "conj": (lambda f: f.conj(), "Conj({0})"),
    "cabs": (lambda f: abs(f), "ComplexAbs({0})"),
    "csquareabs": (None, "ComplexSquareAbs({0})"),
    "cexp": (lambda f: f.exp(), "ComplexExp({0})"),
    "cadd": (lambda f, g: f + g, "ComplexAdd({0},{1})"),
    "csub": (lambda f, g: f - g, "ComplexSubtract({0},{1})"),
    "cmul": (lambda f, g: f * g, "ComplexMult({0},{1})"),
    "cdiv": (lambda f, g: f / g, "ComplexDivide({0},{1})"),
    "csum": (lambda f: f.sum(-1), "ComplexSum({0})"),
    "cscale": (None, "ComplexRealScal({0},{1})"),
}
VI, VJ, PM = 0, 1, 2
# method of a LazyTensor, name for Genred, takes weights, takes K
REDUCTIONS = {
    "sum": ("Sum", False, False), "logsumexp": ("LogSumExp", False, False), "min": ("Min", False, False),
    "max": ("Max", False, False), "argmin": ("ArgMin", False, False), "argmax": ("ArgMax", False, False),
    "min_argmin": ("Min_ArgMin", False, False), "max_argmax": ("Max_ArgMax", False, False),
    "Kmin": ("KMin", False, True), "argKmin": ("ArgKMin", False, True), "Kmin_argKmin": ("KMin_ArgKMin", False, True),
    "logsumexpweight": ("LogSumExp", True, False), "sumsoftmaxweight": ("SumSoftMaxWeight", True, False),
}


def data(case):
    """The arrays of a case: {name: array}. RandomState's stream is the same for ever."""
    r = np.random.RandomState(case["seed"])
    batch = tuple(case.get("batch", ()))
    out = {}
    for name, (place, dim, low, high) in case["variables"].items():
        rows = (case["m"],) if place == VI else (case["n"],) if place == VJ else ()
        x = low + (high - low) * r.random_sample(batch + rows + (dim,))
        if name in case.get("complex", ()):
            x = x + 1j * (low + (high - low) * r.random_sample(x.shape))
        if name == "k":
            x = np.sort(x, -1)
        out[name] = x.astype(np.result_type(case["dtype"], np.complex64) if np.iscomplexobj(x) else case["dtype"])
    return out


def ranges(case):
    """Block-sparse ranges of a case: every row and every column is in a block that is kept."""
    if "ranges" not in case:
        return None
    (cuts_i, cuts_j), keep = case["ranges"][:2], np.array(case["ranges"][2], dtype=bool)
    ends = [np.stack([c[:-1], c[1:]], 1).astype(np.int32) for c in (np.array(cuts_i), np.array(cuts_j))]
    six = []
    for k, (rows, columns) in enumerate([ends, ends[::-1]]):
        kept = [np.flatnonzero(line) for line in (keep, keep.T)[k]]
        slices = np.cumsum([len(c) for c in kept]).astype(np.int32)
        six += [rows, slices, columns[np.concatenate(kept)]]
    return tuple(six)


def lazy(tree, variables):
    """An expression as LazyTensor."""
    if not (isinstance(tree, list) and tree and isinstance(tree[0], str)):
        return tree
    if tree[0] == "var":
        return variables[tree[1]]
    return OPERATIONS[tree[0]][0](*[lazy(part, variables) for part in tree[1:]])


def text(tree):
    """An expression as the text of a formula."""
    if not (isinstance(tree, list) and tree and isinstance(tree[0], str)):
        return str(tree).replace(" ", "")
    if tree[0] == "var":
        return tree[1]
    return OPERATIONS[tree[0]][1].format(*[text(part) for part in tree[1:]])


def names(tree):
    """The variables of an expression."""
    if not (isinstance(tree, list) and tree and isinstance(tree[0], str)):
        return set()
    return {tree[1]} if tree[0] == "var" else set().union(*[names(part) for part in tree[1:]])


def tensors(package, case, arrays):
    """The arrays as LazyTensors; with batches as (B, M, 1, D), (B, 1, N, D), (B, 1, 1, D)."""
    makers, out = (package.Vi, package.Vj, package.Pm), {}
    for name, (place, _, _, _) in case["variables"].items():
        x = arrays[name]
        if case.get("batch") or name in case.get("complex", ()):
            out[name] = package.LazyTensor(x[..., :, None, :] if place == VI else x[..., None, :, :] if place == VJ
                                           else x[..., None, None, :])
        else:
            out[name] = makers[place](x)
    return out


def run_lazy(package, case):
    arrays = data(case)
    variables = tensors(package, case, arrays)
    f = lazy(case["tree"], variables)
    six = ranges(case)
    if six is not None:
        f.ranges = six
    about = {"shape": list(f.shape), "dtype": f.dtype, "dim": f.dim()}
    options = dict(case.get("options", {}))
    axis = case["axis"] + len(case.get("batch", ()))
    how = case["reduction"]
    if how == "matmul":
        return f @ arrays[case["right"]], about
    if how == "solve":
        return f.solve(arrays[case["right"]], **options), about
    if how == "logsumexpweight":
        return f.logsumexp(axis, lazy(case["weight"], variables), **options), about
    if how == "sumsoftmaxweight":
        return f.sumsoftmaxweight(lazy(case["weight"], variables), axis, **options), about
    if "k" in case:
        return getattr(f, how)(case["k"], axis=axis, **options), about
    if case.get("later"):
        return getattr(f, how)(axis=axis, call=False, **options)(), about
    return getattr(f, how)(axis=axis, **options), about


def run_text(package, case):
    arrays = data(case)
    used = names(case["tree"]) | names(case.get("weight", 0))
    variables = [name for name in case["variables"] if name in used]
    kinds = ("Vi", "Vj", "Pm")
    aliases = [f"{name} = {kinds[case['variables'][name][0]]}({case['variables'][name][1]})" for name in variables]
    how, more = REDUCTIONS[case["reduction"]][0], dict(case.get("options", {}))
    if "weight" in case:
        more["formula2"] = text(case["weight"])
    if "k" in case:
        more["opt_arg"] = case["k"]
    f = package.Genred(text(case["tree"]), aliases, reduction_op=how, axis=case["axis"], **more)
    return f(*[arrays[name] for name in variables], backend="CPU", ranges=ranges(case)), None


def run(package, case):
    """(arrays, what is known before the reduction); exceptions pass."""
    values, about = (run_lazy if case["form"] == "lazy" else run_text)(package, case)
    return (list(values) if isinstance(values, tuple) else [values]), about
