"""Masks on tensors: values and gradients against dense torch."""
import pytest

torch = pytest.importorskip("torch")
from benben import masks, neighbors  # noqa: E402
from benben.torch import Vi, Vj  # noqa: E402

torch.manual_seed(0)
M, N = 30, 41
LABELS_I, LABELS_J = torch.randint(0, 3, (M,)), torch.randint(0, 3, (N,))
I, J = torch.arange(M)[:, None], torch.arange(N)
CASES = [
    (masks.causal(), J <= I), (masks.band(3), (I - J).abs() <= 3), (~masks.band(0), I != J),
    (masks.blocks(LABELS_I, LABELS_J), LABELS_I[:, None] == LABELS_J),
    (masks.blocks(LABELS_I, LABELS_J) & masks.causal(), (LABELS_I[:, None] == LABELS_J) & (J <= I)),
]


@pytest.mark.parametrize("mask, keep", CASES)
@pytest.mark.parametrize("axis", [0, 1])
def test_masked_reductions_and_gradients(mask, keep, axis):
    x = torch.rand(M, 2, dtype=torch.float64, requires_grad=True)
    y = torch.rand(N, 2, dtype=torch.float64, requires_grad=True)
    K = (-(Vi(x) - Vj(y)).sqnorm2()).exp()
    dense = (-((x[:, None] - y) ** 2).sum(-1)).exp()
    some = keep.any(axis)
    pairs = {
        "sum": torch.where(keep, dense, 0).sum(axis), "mean": torch.where(keep, dense, 0).sum(axis) / keep.sum(axis),
        "logsumexp": torch.where(keep, dense, -torch.inf).logsumexp(axis),
        "max": torch.where(keep, dense, -torch.inf).amax(axis),
    }
    for name, expected in pairs.items():
        found = getattr(K.masked(mask), name)(axis=axis)[:, 0]
        torch.testing.assert_close(found, expected, equal_nan=True)
        mine = torch.autograd.grad(found[some].sum(), (x, y), retain_graph=True)
        theirs = torch.autograd.grad(expected[some].sum(), (x, y), retain_graph=True)
        torch.testing.assert_close(mine, theirs)
    indices = K.masked(mask).argKmin(2, axis=axis)
    values = torch.where(keep, dense, torch.inf)
    expected = (values if axis == 1 else values.T).sort(dim=1, stable=True)
    torch.testing.assert_close(indices, torch.where(expected.values < torch.inf, expected.indices, -1)[:, :2])


def test_masked_attention():
    q, k, v = [torch.rand(2, 9, 4, dtype=torch.float64, requires_grad=True) for _ in range(3)]
    found = (Vi(q) * Vj(k)).sum(-1).masked(masks.causal()).softmax(axis=2) @ v
    expected = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad((found ** 2).sum(), (q, k, v)), torch.autograd.grad((expected ** 2).sum(), (q, k, v)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_neighbors(dtype):
    x = torch.randint(0, 9, (50, 2)).to(dtype)
    d = ((x[:, None] - x) ** 2).sum(-1)
    found = neighbors.radius_search(((Vi(x) - Vj(x)) ** 2).sum(-1).masked(~masks.band(0)), 8, values=True)
    near = (d <= 8) & ~torch.eye(50, dtype=torch.bool)
    assert found.indptr.dtype == found.indices.dtype == torch.int64 and found.values.dtype == dtype
    assert found.indices.tolist() == near.nonzero()[:, 1].tolist() and found.indptr[1:].tolist() == near.sum(1).cumsum(0).tolist()
    torch.testing.assert_close(found.values, d[near])
