"""einsum with LazyTensors, keepdims, and what depends on the order of values, beside NumPy."""
import itertools

import numpy as np
import pytest

import benben
from benben.numpy import LazyTensor, Vi, Vj, einsum

SIZE = dict(b=2, c=3, i=7, j=5, d=3, e=2, f=4)
R = np.random.default_rng(0)
X, Y = R.normal(size=(7, 3)), R.normal(size=(5, 3))
XB = R.normal(size=(2, 1, 7, 3))
YB = R.normal(size=(3, 5, 3))
LAZY = {"ij": Vi(X).sqdist(Vj(Y)), "ijd": Vi(X) * Vj(Y), "bcij": (Vi(XB) | Vj(YB)), "bcijd": Vi(XB) - Vj(YB), "cij": Vi(X) | Vj(YB)}
DENSE = {"ij": ((X[:, None] - Y) ** 2).sum(-1), "ijd": X[:, None] * Y, "bcij": XB @ YB.swapaxes(-1, -2),
         "bcijd": XB[..., :, None, :] - YB[:, None], "cij": X @ YB.swapaxes(-1, -2)}


def operand(term):
    """The LazyTensor of a term and its dense array, or one array twice."""
    for name, lazy in LAZY.items():
        if term == name:
            return lazy, DENSE[name]
        n = len(name) - name.endswith("d")
        if term == name[: n - 2] + "ji" + name[n:]:  # transposed
            order = [name.index(c) for c in term]
            return lazy.T, DENSE[name].transpose(order)
    array = R.normal(size=[SIZE[c] for c in term])
    return array, array


@pytest.mark.parametrize("text", [
    "ij,j->i", "ij,jd->id", "ij,i->j", "ij->", "ij->i", "ij->j", "i,ij,j->", "ij,jd,ie->de", "ijd->id", "ijd->i", "ijd->", "ijd->di",
    "ijd,jd->i", "ijd,d->i", "ijd,d->id", "ijd,de->ie", "ijd,jde->ei", "ijd,id,jd->id", "ijd,ie,je->d", "ij,jdef->fied",
    "ij,ij->i", "ijd,ijd->j", "ijd,ij,j->id", "ji,j->i", "jid,j->id", "ijd,jid->d", "cij,cj->ci", "cij,cj->i", "cij,j->ci",
    "bcij,cje->bcie", "bcij,j->", "bcij,b->ci", "bcijd,cjd->bi", "bcijd,bcij->bd", "cij,bj->bci", "cij,ij->ci", "bcij,ij,cj->ib",
    "cij,bcij->bc", "ijd,jdf,e->ief", "ij,jd", "ij", "ijd,df,jf->i", "ijd,e,jde->ie", "d,ijd->ji", "ij,d->", "ijd,djf->if"])
def test_against_numpy(text):
    terms = text.split("->")[0].split(",")
    pairs = [operand(term) for term in terms]
    if not any(isinstance(lazy, LazyTensor) for lazy, _ in pairs):
        pytest.fail("no operand is lazy")
    expected = np.einsum(text, *[dense for _, dense in pairs])
    for function in (einsum, np.einsum):
        found = function(text, *[lazy for lazy, _ in pairs])
        found = found.dense() if isinstance(found, LazyTensor) else found
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("text", ["ijd->ijd", "ijd->jid", "ij,jd->ijd", "cij->ij", "ijd,d->ij", "ij,d,i->ijd", "bcij,b->cij"])
def test_both_axes_stay_lazy(text):
    terms = text.split("->")[0].split(",")
    pairs = [operand(term) for term in terms]
    found = einsum(text, *[lazy for lazy, _ in pairs])
    assert isinstance(found, LazyTensor)
    np.testing.assert_allclose(found.dense(), np.einsum(text, *[dense for _, dense in pairs]), rtol=1e-9, atol=1e-9)


def test_diagonals_lists_and_masks():
    K = Vi(X).sqdist(Vj(X + 1))
    k = ((X[:, None] - X - 1) ** 2).sum(-1)
    np.testing.assert_allclose(einsum("ii->i", K), k.diagonal())
    np.testing.assert_allclose(einsum("ii->", K), k.trace())
    np.testing.assert_allclose(einsum("ij,j->i", K, list(range(7))), k @ np.arange(7))
    M = K.masked(benben.masks.causal())
    np.testing.assert_allclose(einsum("ij,jd->id", M, X), np.tril(k) @ X)
    np.testing.assert_allclose(np.tril(K).dense(), np.tril(k))
    np.testing.assert_allclose(np.triu(K, 2).dense(), np.triu(k, 2))
    z = (1j * K).exp()
    np.testing.assert_allclose(einsum("ij,j->i", z, X[:, 0]), np.exp(1j * k) @ X[:, 0])


@pytest.mark.parametrize("text, operands, words", [
    ("ij,j->k", ["ij", "j"], "of no operand"), ("ij", ["ij", "j"], "2 operands"), ("ij,j->ii", ["ij", "j"], "twice"),
    ("ijde,j->i", ["ij", "j"], "a letter for each axis"), ("ij,jd->i", ["ij", "j"], "a letter for each axis"),
    ("ij,i->j", ["ij", "j"], "the letter i is 5"), ("i,j->ij", ["i", "j"], "no operand is a LazyTensor"),
    ("ij,jk->ik", ["ij", "ij"], "K @ L"), ("ij,ij->i", ["ij", "dense"], "dense matrix"), ("ijd,e->ijde", ["ijd", "e"], "LazyTensor"),
    ("...j,j", ["ij", "j"], "one term of letters"), ("ij,jj->i", ["ij", "dense"], "letter twice")])
def test_errors(text, operands, words):
    values = [DENSE["ij"] if name == "dense" else operand(name)[0] for name in operands]
    with pytest.raises(ValueError, match=words):
        einsum(text, *values)


@pytest.mark.parametrize("name", ["sum", "mean", "var", "std", "prod", "min", "max", "any", "all", "argmin", "argmax", "count_nonzero",
                                  "median", "ptp"])
def test_keepdims(name):
    for term in ("ij", "ijd", "bcij", "bcijd"):
        lazy, dense = LAZY[term], DENSE[term]
        n = len(term) - term.endswith("d") - 2
        axes = [n, n + 1]
        if name not in ("argmin", "argmax", "median"):
            axes += [(n, n + 1), None] if name != "count_nonzero" else []
        for axis in axes:
            expected = getattr(np, name)(dense, axis=axis, keepdims=True)
            found = getattr(np, name)(lazy, axis=axis, keepdims=True)
            assert found.shape == expected.shape, (term, axis)
            np.testing.assert_allclose(found, expected.astype(float), rtol=1e-9, atol=1e-9)
            if hasattr(lazy, name):
                np.testing.assert_array_equal(getattr(lazy, name)(axis=axis, keepdims=True), found)
    assert LAZY["ijd"].sum(-1, keepdims=True).shape == (7, 5) == LAZY["bcij"].sum(axis=(0, 1), keepdims=True).shape[2:]
    np.testing.assert_allclose(LAZY["ij"].logsumexp(1, keepdims=True), np.log(np.exp(DENSE["ij"]).sum(1, keepdims=True)))
    np.testing.assert_allclose(LAZY["ij"].masked(LAZY["ij"] < 3).var(1, keepdims=True, ddof=1)[:, 0],
                               [np.var(row[row < 3], ddof=1) if (row < 3).sum() > 1 else np.nan for row in DENSE["ij"]])


def test_order(monkeypatch):
    from benben.numpy import _order

    for block, term in itertools.product((1, 17, 2**22), ("ij", "ijd", "bcij", "bcijd")):
        monkeypatch.setattr(_order, "_BLOCK", block)
        lazy, dense = LAZY[term], DENSE[term]
        full, n = dense.reshape(lazy._shape), len(lazy._shape) - 3
        for axis in (n, n + 1):
            np.testing.assert_allclose(lazy.median(axis), np.median(full, axis))
            np.testing.assert_allclose(lazy.quantile([0.1, 0.7], axis), np.quantile(full, [0.1, 0.7], axis))
            np.testing.assert_allclose(np.percentile(lazy, 30, axis=axis), np.percentile(full, 30, axis))
            np.testing.assert_array_equal(np.sort(lazy, axis=axis), np.sort(lazy.dense(), axis))
            np.testing.assert_array_equal(lazy.argsort(axis), np.argsort(lazy.dense(), axis, kind="stable"))
    for call in (lambda: LAZY["ij"].median(), lambda: np.sort(LAZY["ij"]), lambda: LAZY["ijd"].median(-1)):
        with pytest.raises(ValueError, match="along i"):
            call()
    big = Vi(np.zeros((2**14, 1))) * Vj(np.zeros((2**14, 1)))
    with pytest.raises(ValueError, match="Kmin"):
        big.sort(axis=1)
    with pytest.raises(ValueError, match="masked"):
        LAZY["ij"].masked(benben.masks.causal()).median(1)
    assert LAZY["ij"][:0, :].median(1).shape == (0, 1)


@pytest.mark.parametrize("call, words", [
    (lambda K: np.cumsum(K, axis=1), "numpy.cumsum"), (lambda K: np.linalg.eigvalsh(K), "K.dense()"), (lambda K: np.stack([K, K]), "numpy.stack"),
    (lambda K: np.exp(K, out=np.zeros((7, 5))), "with out"), (lambda K: np.gcd(K, 2), "numpy.gcd"), (lambda K: np.add.outer(K, K), "outer"),
    (lambda K: np.swapaxes(K, 0, 2), "swapaxes"), (lambda K: np.diag(K, 1), "diag")])
def test_what_numpy_has_and_a_lazytensor_has_not(call, words):
    with pytest.raises(TypeError, match=words.replace("(", r"\(").replace(")", r"\)")):
        call(LAZY["ij"])
    with pytest.raises(ValueError, match="always a new one"):
        np.array(LAZY["ij"], copy=False)
