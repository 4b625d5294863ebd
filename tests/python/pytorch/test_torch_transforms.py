"""Every kind of derivative of a family of reductions, against dense PyTorch: any order of reverse mode, forward mode,
torch.func's transforms nested, batched gradients, compilation, export."""
import pytest

torch = pytest.importorskip("torch")
from torch.autograd import forward_ad, gradcheck, gradgradcheck  # noqa: E402
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402

from tensor_cases import BY_NAME, CASES, F64  # noqa: E402

full = pytest.mark.full
FAMILY = [pytest.param(case, id=case.name, marks=() if k in (0, 1, 2, 5) else full) for k, case in enumerate(CASES)]
COMPILED = [pytest.param(case, id=case.name, marks=() if k == 0 else full) for k, case in enumerate(CASES)
            if not case.name.startswith("lazy")]
any_case = pytest.mark.parametrize("case", FAMILY)
compiled_case = pytest.mark.parametrize("case", COMPILED)


def close(found, expected):
    found, expected = tree_leaves(found), tree_leaves(expected)
    assert len(found) == len(expected)
    for f, e in zip(found, expected):
        torch.testing.assert_close(f, e, rtol=1e-9, atol=1e-9)


def both(case, transform, *args):
    """The transform of what Benben computes and of the dense computation."""
    close(transform(case.found)(*args), transform(case.expected)(*args))


def scalar(f):
    return lambda *args: (f(*args) ** 2).sum()


def stacked(case, count=3):
    """Batches of the first two variables, the others alone."""
    tensors = case.tensors()
    batches = [case.tensors(seed=k + 1) for k in range(count)]
    many = [torch.stack([b[k] for b in batches]) for k in range(2)]
    return (*many, *tensors[2:]), (0, 0) + (None,) * (len(tensors) - 2)


@any_case
def test_forward(case):
    both(case, lambda f: f, *case.tensors())


@any_case
def test_backward(case):
    assert gradcheck(case.found, case.leaves())


@any_case
def test_double_backward(case):
    assert gradgradcheck(case.found, case.leaves())


@any_case
def test_fourth_order_backward(case):
    def fourth(f):
        leaves = case.leaves()
        value = (f(*leaves) ** 3).sum()
        for k in range(3):
            (g,) = torch.autograd.grad(value, leaves[k % 2], create_graph=True)
            value = (g ** 2).sum()
        return torch.autograd.grad(value, leaves, allow_unused=True, materialize_grads=True)

    close(fourth(case.found), fourth(case.expected))


@any_case
def test_forward_mode(case):
    assert gradcheck(case.found, case.leaves(), check_forward_ad=True, check_backward_ad=False,
                     check_undefined_grad=False, check_batched_forward_grad=True)


@any_case
def test_forward_over_reverse(case):
    assert gradgradcheck(case.found, case.leaves(), check_fwd_over_rev=True, check_rev_over_rev=False,
                         check_undefined_grad=False)


@any_case
def test_reverse_over_dual_numbers(case):
    def pushed(f):
        leaves = case.leaves()
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(leaves[0], torch.ones_like(leaves[0]))
            tangent = forward_ad.unpack_dual(f(dual, *leaves[1:])).tangent
        return torch.autograd.grad((tangent ** 2).sum(), leaves, allow_unused=True, materialize_grads=True)

    close(pushed(case.found), pushed(case.expected))


@any_case
def test_vmap(case):
    args, dims = stacked(case)
    both(case, lambda f: vmap(f, dims), *args)
    both(case, lambda f: vmap(f, (None, 1) + dims[2:]), args[0][0], args[1].movedim(0, 1), *args[2:])


@any_case
def test_vmap_nested(case):
    args, _ = stacked(case)
    rest = (None,) * (len(args) - 2)
    both(case, lambda f: vmap(vmap(f, (None, 0) + rest), (0, None) + rest), *args)
    both(case, lambda f: vmap(vmap(f, (0, None) + rest, out_dims=1), (None, 0) + rest, out_dims=2), *args)


@any_case
def test_vmap_of_batches(case):
    args = case.tensors(batch=(3, 2))
    both(case, lambda f: vmap(f), *args)
    both(case, lambda f: vmap(f, (0,) + (None,) * (len(args) - 1)), args[0], *[a[0] for a in args[1:]])


@any_case
def test_grad(case):
    args = case.tensors()
    both(case, lambda f: grad(scalar(f), tuple(range(len(args)))), *args)


@any_case
def test_vmap_of_grad(case):
    args, dims = stacked(case)
    both(case, lambda f: vmap(grad(scalar(f), (0, 1)), dims), *args)


@any_case
def test_vjp(case):
    args = case.tensors()
    g = torch.randn_like(case.expected(*args))
    both(case, lambda f: lambda *a: vjp(f, *a)[1](g), *args)


@any_case
def test_jvp(case):
    args = case.tensors()
    both(case, lambda f: lambda *a: jvp(f, a, tuple(case.tensors(seed=5))), *args)


@any_case
def test_jvp_of_jvp(case):
    args, (u, v, *_) = case.tensors(), case.tensors(seed=6)

    def twice(f):
        inner = lambda x, y, *rest: jvp(lambda y: f(x, y, *rest), (y,), (v,))[1]  # noqa: E731
        return lambda x, *rest: jvp(lambda x: inner(x, *rest), (x,), (u,))

    both(case, twice, *args)


@any_case
@pytest.mark.parametrize("jacobian", [jacrev, jacfwd])
def test_jacobians(case, jacobian):
    args = case.tensors()
    both(case, lambda f: jacobian(f, tuple(range(len(args)))), *args)


@any_case
@pytest.mark.parametrize("outer", [jacrev, jacfwd])
@pytest.mark.parametrize("inner", [jacrev, jacfwd])
def test_jacobians_of_jacobians(case, outer, inner):
    both(case, lambda f: outer(inner(scalar(f), 1), 0), *case.tensors())


@any_case
def test_hessian(case):
    args = case.tensors()
    both(case, lambda f: hessian(scalar(f), tuple(range(len(args)))), *args)


@any_case
def test_vmap_of_hessian(case):
    args, dims = stacked(case)
    both(case, lambda f: vmap(hessian(scalar(f), (0, 1)), dims), *args)


@any_case
@pytest.mark.parametrize("create_graph", [False, True])
def test_batched_gradients(case, create_graph):
    def batched(f):
        leaves = case.leaves()
        out = f(*leaves)
        directions = torch.randn(3, *out.shape, generator=torch.Generator().manual_seed(3), **F64)
        grads = torch.autograd.grad(out, leaves, directions, is_grads_batched=True, create_graph=create_graph,
                                    allow_unused=True, materialize_grads=True)
        if not create_graph:
            return grads
        again = torch.autograd.grad(sum((g ** 2).sum() for g in grads), leaves, allow_unused=True,
                                    materialize_grads=True)
        return grads, again

    close(batched(case.found), batched(case.expected))


@any_case
@pytest.mark.parametrize("which", [(0,), (1,), (0, 2)])
def test_gradients_of_some_variables_only(case, which):
    def some(f):
        args = case.tensors()
        leaves = [args[k].requires_grad_() for k in which]
        return torch.autograd.grad((f(*args) ** 2).sum(), leaves, allow_unused=True, materialize_grads=True)

    close(some(case.found), some(case.expected))


@any_case
def test_broadcast_batches(case):
    def broadcast(f):
        tensors = case.tensors(batch=(3, 2))
        tensors = [t[:1, :1] if k == 1 else t[0] if k == 2 else t[0, 0] if k == 3 else t for k, t in enumerate(tensors)]
        leaves = [t.clone().requires_grad_() for t in tensors]
        out = f(*leaves)
        grads = torch.autograd.grad((out ** 2).sum(), leaves, create_graph=True, allow_unused=True,
                                    materialize_grads=True)
        again = torch.autograd.grad(sum((g ** 2).sum() for g in grads), leaves, allow_unused=True,
                                    materialize_grads=True)
        return out, grads, again

    close(broadcast(case.found), broadcast(case.expected))


# ---- tracing and compilation ----
def compiled(f, backend="aot_eager", **options):
    torch._dynamo.reset()
    return torch.compile(f, fullgraph=True, backend=backend, **options)


@compiled_case
def test_compiled_forward(case):
    args = case.tensors()
    close(compiled(lambda x, *a: torch.sin(case.found(x * 2, *a)) + 1)(*args),
          torch.sin(case.expected(args[0] * 2, *args[1:])) + 1)


@compiled_case
def test_compiled_by_inductor(case):
    args = case.tensors()
    found, expected = case.leaves(), case.leaves()
    f = compiled(lambda x, *a: torch.sin(case.found(x * 2, *a)).sum(), backend="inductor")
    close(torch.autograd.grad(f(*found), found),
          torch.autograd.grad(torch.sin(case.expected(expected[0] * 2, *expected[1:])).sum(), expected))
    close(f(*args), torch.sin(case.expected(args[0] * 2, *args[1:])).sum())


@compiled_case
def test_compiled_backward(case):
    found, expected = case.leaves(), case.leaves()
    f = compiled(lambda x, *a: torch.sin(case.found(x * 2, *a)).sum())
    close(torch.autograd.grad(f(*found), found),
          torch.autograd.grad(torch.sin(case.expected(expected[0] * 2, *expected[1:])).sum(), expected))


@compiled_case
def test_compiled_with_dynamic_shapes(case):
    f = compiled(lambda x, *a: case.found(x * 2, *a), dynamic=True)
    for m, n in ((4, 5), (7, 3), (9, 11)):
        args = case.tensors(m, n)
        close(f(*args), case.expected(args[0] * 2, *args[1:]))


@compiled_case
def test_compiled_transforms(case):
    args, dims = stacked(case)
    close(compiled(vmap(case.found, dims))(*args), vmap(case.expected, dims)(*args))
    args = case.tensors()
    close(compiled(grad(scalar(case.found), (0, 1)))(*args), grad(scalar(case.expected), (0, 1))(*args))


@full
@compiled_case
def test_compiled_transforms_of_second_order(case):
    args = case.tensors()
    v = torch.randn_like(args[0])
    for transform in (
        lambda f: grad(lambda *a: grad(scalar(f))(*a).sin().sum()),
        lambda f: lambda x, *a: jvp(lambda x: f(x, *a), (x,), (v,)),
        lambda f: hessian(scalar(f), (0, 1)),
    ):
        close(compiled(transform(case.found))(*args), transform(case.expected)(*args))


class Module(torch.nn.Module):
    def __init__(self, f):
        super().__init__()
        self.f = f

    def forward(self, args):
        return self.f(*args)


@compiled_case
def test_export(case):
    args = case.tensors()
    exported = torch.export.export(Module(case.found), (args,))
    close(exported.module()(args), case.expected(*args))


@any_case
@pytest.mark.parametrize("mode", ["real", "fake", "symbolic"])
def test_make_fx(case, mode):
    from torch.fx.experimental.proxy_tensor import make_fx

    args = case.tensors()
    graph = make_fx(case.found, tracing_mode=mode)(*args)
    others = case.tensors(seed=9) if mode != "symbolic" else case.tensors(6, 8)
    close(graph(*others), case.expected(*others))
    graph = make_fx(grad(scalar(case.found)), tracing_mode=mode)(*args)
    close(graph(*others), grad(scalar(case.expected))(*others))


@pytest.mark.parametrize("case", [BY_NAME["gauss_j"]])
def test_jit_trace(case):
    args = case.tensors()
    traced = torch.jit.trace(lambda *a: case.found(*a), tuple(args), check_trace=False)
    others = case.tensors(seed=9)
    close(traced(*others), case.expected(*others))
