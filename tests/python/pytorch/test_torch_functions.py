"""PyTorch's functions and operators on LazyTensors, mixed with tensors, against the same on dense matrices; and the
same expressions through torch.compile."""
import pytest

torch = pytest.importorskip("torch")
from tensor_cases import F64  # noqa: E402

from benben.torch import LazyTensor, Pm, Vi, Vj  # noqa: E402

G = torch.Generator().manual_seed(4)
X, Y = [torch.rand(5, 3, generator=G, **F64) + 0.1 for _ in range(2)]  # square on purpose: M = N hides mistakes
P, V, W = [torch.rand(n, generator=G, **F64) + 0.1 for n in (3, 5, 5)]
B, C = torch.randn(5, 2, generator=G, **F64), torch.randn(2, 5, generator=G, **F64)
SQUARE = torch.randn(5, 5, generator=G, **F64)


def matrix(x=X, y=Y):
    """Not symmetric, entries in (0, 1)."""
    return ((-(Vi(x) - Vj(y)) ** 2).sum(-1) * 0.5 - Vi(x)[0] * Vj(y)[1]).exp()


def vectors(x=X, y=Y):
    return Vi(x) * Vj(y) + 0.5


UNARY = ["abs", "absolute", "acos", "arccos", "asin", "arcsin", "atan", "arctan", "ceil", "cos",
         "cosh", "exp", "exp2", "expm1", "erf", "erfc", "floor", "log", "log10", "log1p", "log2", "neg",
         "negative", "positive", "reciprocal", "relu", "round", "rsqrt", "sigmoid", "sign", "sin", "sinc", "sinh", "sqrt",
         "square", "tan", "tanh", "trunc", "logical_not", "isnan", "isfinite", "isinf", "special.expit", "special.erf",
         "nn.functional.softplus", "nn.functional.silu", "nn.functional.gelu", "nn.functional.relu"]
BINARY = ["add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide", "remainder", "pow",
          "lt", "less", "le", "gt", "greater", "ge", "eq", "ne", "logical_and", "logical_or", "logical_xor", "minimum",
          "maximum", "fmin", "fmax", "hypot", "atan2"]
OPERATORS = {
    "K + p": lambda k: k + P, "p + K": lambda k: P + k, "K - p": lambda k: k - P, "p - K": lambda k: P - k,
    "K * p": lambda k: k * P, "p * K": lambda k: P * k, "K / p": lambda k: k / P, "p / K": lambda k: P / k,
    "K // p": lambda k: k // P, "p // K": lambda k: P // k, "K % p": lambda k: k % P, "p % K": lambda k: P % k,
    "K ** p": lambda k: k ** P, "p ** K": lambda k: P ** k, "K < p": lambda k: k < P, "p < K": lambda k: P < k,
    "K >= p": lambda k: k >= P, "p >= K": lambda k: P >= k, "K == p": lambda k: k == P, "p != K": lambda k: P != k,
    "add alpha": lambda k: torch.add(k, P, alpha=3), "sub alpha": lambda k: torch.sub(P, k, alpha=3),
    "rsub": lambda k: torch.rsub(k, P), "div floor": lambda k: torch.div(k, P, rounding_mode="floor"),
    "clamp": lambda k: torch.clamp(k, 0.7, 0.9), "clamp min": lambda k: torch.clamp(k, min=0.8),
    "where": lambda k: torch.where(k < 0.8, k, 2 * k), "where p": lambda k: torch.where(k < P, P, k),
    "cat": lambda k: torch.cat([k, 2 * k], -1), "concat": lambda k: torch.concat((k, k), dim=-1),
    "softmax": lambda k: torch.softmax(k, -1), "functional.softmax": lambda k: torch.nn.functional.softmax(k, dim=-1),
    "log_softmax": lambda k: torch.log_softmax(k, -1),
}
MATRIX = {
    "K @ b": lambda k: k @ B, "c @ K": lambda k: C @ k, "K @ v": lambda k: k @ V, "v @ K": lambda k: V @ k,
    "K @ s": lambda k: k @ SQUARE, "s @ K": lambda k: SQUARE @ k, "matmul(K, s)": lambda k: torch.matmul(k, SQUARE),
    "matmul(s, K)": lambda k: torch.matmul(SQUARE, k), "mm(s, K)": lambda k: torch.mm(SQUARE, k),
    "mv": lambda k: torch.mv(k, V), "K.T @ b": lambda k: k.T @ B, "s @ K @ b": lambda k: SQUARE @ (k @ B),
    "exp(K) @ b": lambda k: torch.exp(k) @ B, "sum": lambda k: torch.sum(k), "mean": lambda k: torch.mean(k),
    "amax": lambda k: torch.amax(k, (0, 1)), "sum 1": lambda k: torch.sum(k, dim=1), "sum 0": lambda k: torch.sum(k, 0),
    "logsumexp": lambda k: torch.logsumexp(k, 1), "argmin": lambda k: torch.argmin(k, dim=1),
    "argmax": lambda k: torch.argmax(k, 0), "prod": lambda k: torch.prod(k, 1), "mean 1": lambda k: torch.mean(k, 1),
    "norm": lambda k: torch.linalg.vector_norm(k, dim=1), "norm all": lambda k: torch.norm(k),
    "diagonal": lambda k: torch.diagonal(k), "trace": lambda k: torch.trace(k), "t": lambda k: torch.t(k) @ B,
    "softmax 1": lambda k: torch.softmax(k, 1) @ B, "std": lambda k: torch.std(k, 1, correction=0),
}


def close(found, expected, like=None):
    if hasattr(found, "_formula"):
        found = found.dense()
    expected = expected.to(found.dtype)
    torch.testing.assert_close(found.reshape(expected.shape), expected, rtol=1e-12, atol=1e-12, equal_nan=True)


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_operand(name):
    function = torch
    for part in name.split("."):
        function = getattr(function, part)
    k = vectors() - (0.8 if name in ("abs", "relu", "sign", "nn.functional.relu", "ceil", "floor", "round", "trunc") else 0)
    k = k * 0.3 if name in ("acos", "arccos", "asin", "arcsin") else k
    dense = k.dense()
    close(function(k), function(dense) if name != "logical_not" else torch.logical_not(dense))


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_operands(name):
    function, k = getattr(torch, name), vectors()
    close(function(k, P), function(k.dense(), P))
    close(function(P, k), function(P, k.dense()))
    close(function(k, vectors(Y, X)), function(k.dense(), vectors(Y, X).dense()))


@pytest.mark.parametrize("name", OPERATORS)
def test_operators_with_tensors(name):
    close(OPERATORS[name](vectors()), OPERATORS[name](vectors().dense()))


@pytest.mark.parametrize("name", MATRIX)
def test_matrices(name):
    close(MATRIX[name](matrix()), MATRIX[name](matrix().dense()))


def test_what_is_not_defined_is_refused():
    for function in (torch.det, torch.linalg.inv, torch.flip):
        with pytest.raises(TypeError, match="not defined"):
            function(matrix(), *([(0,)] if function is torch.flip else []))


def test_kept_axes_and_einsum():
    K, k = matrix(), matrix().dense()
    for function in (torch.sum, torch.mean, torch.amax, torch.argmin, torch.logsumexp):
        found, expected = function(K, dim=1, keepdim=True), function(k, dim=1, keepdim=True)
        assert found.shape == expected.shape
        close(found, expected)
    for text, others in (("ij,jd->id", (B,)), ("ij,ji->j", (C.T @ C,)), ("ij,i,jd->d", (V, B)), ("ij->", ())):
        if text == "ij,ji->j":
            with pytest.raises(ValueError, match="dense matrix"):
                torch.einsum(text, K, *others)
            continue
        found, expected = torch.einsum(text, K, *others), torch.einsum(text, k, *others)
        assert found.shape == expected.shape
        close(found, expected)
    x = X.clone().requires_grad_()
    gradients = [torch.autograd.grad(torch.einsum("ijd,jd,id->", f, B @ B.T[:, :3] + Y, X), x)[0]
                 for f in (vectors(x), x[:, None] * Y + 0.5)]
    close(*gradients)


# ---- compiled ----
EXPRESSIONS = {
    **{name: lambda x, y, f=f: f(vectors(x, y)).sum(1) for name, f in OPERATORS.items()
       if name != "concat"},  # Dynamo looks into the list of torch.cat alone
    **{name: lambda x, y, f=f: f(matrix(x, y)) for name, f in MATRIX.items()},
    "squares": lambda x, y: ((LazyTensor(x[:, None, :]) - LazyTensor(y[None])) ** 2).sum(-1).sum(dim=0),
    "parameter": lambda x, y: (matrix(x, y) * Pm(P)).sum(1),
    "Kmin": lambda x, y: matrix(x, y).Kmin(2, dim=1),
    "argKmin": lambda x, y: matrix(x, y).argKmin(2, dim=1),
    "sumsoftmaxweight": lambda x, y: matrix(x, y).sumsoftmaxweight(Vj(y), axis=1),
    "weighted": lambda x, y: matrix(x, y).logsumexp(1, weight=Vj(y)),
    "dense": lambda x, y: matrix(x, y).dense(),
    "rows": lambda x, y: matrix(x, y)[1:3, :].sum(1),
    "complex": lambda x, y: torch.view_as_real((1j * Vi(x) * Vj(y)).exp().sum(0)),
    "solve": lambda x, y: (matrix(x, x) + matrix(x, x).T).solve(B, alpha=2.0),
    "mixed": lambda x, y: torch.sin(SQUARE @ torch.exp(-matrix(x, y)) @ (matrix(y, x) * P[0] @ B)),
}
QUICK = ["K - p", "p - K", "p ** K", "K < p", "where", "cat", "K @ s", "s @ K", "v @ K", "matmul(s, K)", "exp(K) @ b",
         "logsumexp", "squares", "argKmin", "complex", "mixed"]
compiled = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.full) for name in EXPRESSIONS])


@compiled
def test_compiled_expressions(name):
    f = EXPRESSIONS[name]
    torch._dynamo.reset()
    expected, found = f(X, Y), torch.compile(f, fullgraph=True, backend="aot_eager")(X, Y)
    close(found, expected)
    if not expected.is_floating_point():
        return
    leaves = [t.clone().requires_grad_() for t in (X, Y)]
    g = torch.randn_like(expected)
    grads = [torch.autograd.grad(h(*leaves), leaves, g, allow_unused=True, materialize_grads=True)
             for h in (f, torch.compile(f, fullgraph=True, backend="aot_eager"))]
    for a, b in zip(*grads):
        close(a, b)


@pytest.mark.full
@pytest.mark.parametrize("name", ["K @ s", "s @ K", "mixed"])
def test_compiled_by_inductor(name):
    f = EXPRESSIONS[name]
    torch._dynamo.reset()
    leaves = [t.clone().requires_grad_() for t in (X, Y)]
    results = [torch.autograd.grad((h(*leaves) ** 2).sum(), leaves) for h in (f, torch.compile(f, fullgraph=True))]
    for a, b in zip(*results):
        close(a, b)


@pytest.mark.full
def test_matmul_when_it_is_the_first_thing_that_is_compiled(tmp_path):
    """K @ b and b @ K reach __torch_function__ as the same call unless Dynamo is told first: in fresh processes, on
    LazyTensors made before."""
    import pathlib
    import subprocess
    import sys

    import benben

    site = str(pathlib.Path(benben.__file__).parents[1])
    for expression in ("K @ s", "s @ K"):
        code = f"""
import sys; sys.path.insert(0, {site!r})
import torch
from benben.torch import Vi, Vj
x, s = torch.rand(4, 2), torch.rand(4, 4)
K = (Vi(x)[0] - Vj(x)[1]).exp()
f = lambda K, s: {expression}
expected = f(K.dense(), s)
assert torch.allclose(torch.compile(lambda s: f(K, s), fullgraph=True, backend="eager")(s), expected)
assert torch.allclose(torch.compile(f, fullgraph=True, backend="eager")(K, s), expected)
"""
        subprocess.run([sys.executable, "-c", code], check=True)


def test_compiled_with_dynamic_shapes():
    torch._dynamo.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    f = torch.compile(lambda x, y, b: matrix(x, y) @ b, fullgraph=True, backend=counter)
    for m, n in ((4, 5), (7, 3), (8, 9), (9, 12), (31, 2)):
        x, y, b = torch.rand(m, 3, **F64), torch.rand(n, 3, **F64), torch.rand(n, 2, **F64)
        close(f(x, y, b), matrix(x, y).dense() @ b)
    assert counter.frame_count <= 2


def test_literals_and_dimensions_are_part_of_what_is_compiled():
    torch._dynamo.reset()
    f = torch.compile(lambda x, y, n: ((Vi(x) - Vj(y)) ** n).sum(-1).sum(1), fullgraph=True, backend="eager")
    for n, width in ((1, 3), (2, 3), (3, 2), (2, 1), (4, 3), (5, 3)):
        x, y = X[:, :width], Y[:, :width]
        close(f(x, y, n), ((x[:, None] - y) ** n).sum(-1).sum(1))
    f = torch.compile(lambda x, y, s: (s * (Vi(x) - Vj(y)) + s).exp().sum(1), fullgraph=True, backend="aot_eager")
    for s in (0.5, 0.25, 1.5, 2.0):
        close(f(X, Y, s), (s * (X[:, None] - Y) + s).exp().sum(1))


def test_exported_expression():
    class Module(torch.nn.Module):
        def forward(self, x, y, b):
            return torch.exp(-((Vi(x) - Vj(y)) ** 2).sum(-1)) @ b

    args = (X, Y, B)
    rows = torch.export.Dim("rows", min=3)
    exported = torch.export.export(Module(), args, dynamic_shapes=({0: rows}, None, None))
    for x in (X, torch.rand(9, 3, **F64)):
        close(exported.module()(x, Y, B), torch.exp(-((x[:, None] - Y) ** 2).sum(-1)) @ B)


def test_compiled_with_ranges():
    from benben.torch import Genred, cluster

    six = cluster.from_matrix(torch.tensor([[0, 3], [3, 5]]), torch.tensor([[0, 4], [4, 5]]),
                              torch.tensor([[True, False], [True, True]]))
    gauss = Genred("Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], axis=1)

    def by_text(x, y, *six):
        return gauss(x, y, ranges=six)

    def by_lazy(x, y, *six):
        K = (-((Vi(x) - Vj(y)) ** 2).sum(-1)).exp()
        K.ranges = six
        return K.sum(1)

    mask = torch.ones(5, 5, **F64)
    mask[:3, 4] = 0
    expected = (torch.exp(-((X[:, None] - Y) ** 2).sum(-1)) * mask).sum(1)
    for f in (by_text, by_lazy):
        torch._dynamo.reset()
        close(f(X, Y, *six), expected)
        close(torch.compile(f, fullgraph=True, backend="aot_eager")(X, Y, *six), expected)


def test_lazytensors_go_in_and_out_of_compiled_functions():
    torch._dynamo.reset()
    made = torch.compile(matrix, fullgraph=True, backend="aot_eager")(X, Y)
    close(made @ B, matrix().dense() @ B)
    doubled = torch.compile(lambda k: (2 * k).sum(1), fullgraph=True, backend="aot_eager")
    close(doubled(matrix()), 2 * matrix().dense().sum(1))
    close(doubled(vectors()), 2 * vectors().dense().sum(1))  # another formula: compiled anew


@pytest.mark.full
def test_exported_programs_are_loaded_by_another_process(tmp_path):
    import pathlib
    import subprocess
    import sys

    import benben

    class Module(torch.nn.Module):
        def forward(self, x, y, b):
            return torch.exp(-((Vi(x) - Vj(y)) ** 2).sum(-1)) @ b

    torch.export.save(torch.export.export(Module(), (X, Y, B)), tmp_path / "f.pt2")
    torch.save((X, Y, B, torch.exp(-((X[:, None] - Y) ** 2).sum(-1)) @ B), tmp_path / "data.pt")
    code = f"""
import sys; sys.path.insert(0, {str(pathlib.Path(benben.__file__).parents[1])!r})
import torch, benben.torch
x, y, b, expected = torch.load({str(tmp_path / "data.pt")!r})
f = torch.export.load({str(tmp_path / "f.pt2")!r}).module()
torch.testing.assert_close(f(x, y, b), expected)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.full
def test_an_older_pytorch():
    """The quick tests of transforms with another version of PyTorch (>= 2.6): its plain path is __dlpack__ below 2.10."""
    import os
    import pathlib
    import subprocess

    python = os.environ.get("BENBEN_OLDER_TORCH")
    if not python:
        pytest.skip("set BENBEN_OLDER_TORCH to a Python that has pytest, NumPy and an older PyTorch; the one path of ours "
                    "that it takes is tested by test_without_the_exchange_api")
    tests = pathlib.Path(__file__).with_name("test_torch_transforms.py")
    subprocess.run([python, "-m", "pytest", "-q", "-m", "not full", "-k", "not compiled and not export", str(tests)],
                   check=True)


def test_operators_of_lazytensors():
    from benben import operators

    K, k = matrix(), matrix().dense()
    v = V.clone().requires_grad_()
    A = K @ K.T + operators.diagonal(V) @ K - 2 * operators.identity(5)
    dense = k @ k.T + torch.diag(V) @ k - 2 * torch.eye(5, **F64)
    for found, expected in ((A @ v, dense @ v), (v @ A, v @ dense), (A @ B, dense @ B)):
        close(found, expected)
        if found.requires_grad:
            close(*[torch.autograd.grad((t ** 2).sum(), v)[0] for t in (found, expected)])
    close(A.dense(), dense)
    close(A.T.dense(), dense.T)
    close(A.diagonal(), dense.diagonal())
    blocks = operators.block([[K, None], [2 * (K @ K), operators.diagonal(v)]])
    full = torch.cat([torch.cat([k, torch.zeros(5, 5, **F64)], 1), torch.cat([2 * k @ k, torch.diag(v)], 1)])
    close(blocks.dense(), full)
    close(operators.block([[K, None], [K, K]]).diagonal(), k.diagonal().repeat(2))
    close(blocks.T.dense(), full.T)
    close(*[torch.autograd.grad((t ** 2).sum(), v)[0] for t in (blocks.dense(), full)])
    close(blocks @ torch.cat([V, V]), full @ torch.cat([V, V]))


MORE = {
    "acosh": lambda k: torch.acosh(k + 1), "arcsinh": torch.arcsinh, "arctanh": lambda k: torch.arctanh(0.5 * k),
    "deg2rad": torch.deg2rad, "frac": lambda k: torch.frac(3 * k), "exp2": torch.special.exp2, "sgn": lambda k: torch.sgn(k - 0.8),
    "entr": torch.special.entr, "ndtr": torch.special.ndtr, "logsigmoid": torch.nn.functional.logsigmoid,
    "relu6": lambda k: torch.nn.functional.relu6(20 * (k - 0.8)), "hardtanh": lambda k: torch.nn.functional.hardtanh(3 * (k - 0.8)),
    "leaky_relu": lambda k: torch.nn.functional.leaky_relu(k - 0.8, 0.2), "elu": lambda k: torch.nn.functional.elu(k - 0.8, 1.5),
    "logaddexp": lambda k: torch.logaddexp(k, 2 * k), "xlogy": lambda k: torch.special.xlogy(k, 2 * k),
    "fmod": lambda k: torch.fmod(5 * k, k + 1), "heaviside": lambda k: torch.heaviside(k - 0.8, 2 * k),
    "clamp_min": lambda k: torch.clamp_min(k, 0.8), "clamp_max": lambda k: torch.clamp_max(k, max=0.8),
}


@pytest.mark.parametrize("name", MORE)
def test_functions_made_of_others(name):
    close(MORE[name](vectors()), MORE[name](vectors().dense()))


def test_every_operation_of_the_table_has_its_torch_function():
    """Elementwise operations that torch knows by the same name, in torch, torch.special or torch.nn.functional."""
    from benben._formula import OPERATIONS

    places = (torch, torch.special, torch.nn.functional)
    known = [n for n, row in OPERATIONS.items() if row["kind"] == "map" and row["arity"] == 1]
    functions = [(n, getattr(p, n)) for n in known for p in places if callable(getattr(p, n, None))]
    assert len(functions) > 40
    for name, function in functions:
        k = 0.3 * vectors() + (1 if name == "acosh" else 0)
        close(function(k), function(k.dense() != 0) if name == "logical_not" else function(k.dense()))
