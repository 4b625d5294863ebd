"""What is given in place of an array: converted where it is clear what is meant, else refused by name."""
import numpy as np
import pandas as pd
import pytest

import benben
from benben.numpy import Genred, KernelSolve, LazyTensor, Pm, Vi, Vj

X = np.arange(6.0).reshape(3, 2)
TABLES = [X.tolist(), [tuple(row) for row in X], [row for row in X], pd.DataFrame(X, columns=["a", "b"]), np.matrix]


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("table", TABLES, ids=lambda t: type(t).__module__ + "." + type(t).__name__)
def test_tables_are_arrays(table):
    table = table(X) if table is np.matrix else table
    expected = ((X[:, None] - X) ** 2).sum(-1)
    for D in (((Vi(table) - Vj(table)) ** 2).sum(-1), ((LazyTensor(table, axis=0) - LazyTensor(table, axis=1)) ** 2).sum(-1),
              ((Vi(X) - Vj(table)) ** 2).sum(-1)):
        np.testing.assert_array_equal(D.sum(axis=1)[:, 0], expected.sum(1))
        np.testing.assert_array_equal(D.dense(), expected)
        assert type(D.sum(axis=1)) is np.ndarray
        np.testing.assert_array_equal(D @ table, expected @ X)
        np.testing.assert_array_equal(np.asarray(table).T.tolist() @ D, X.T @ expected)
        np.testing.assert_allclose((-D).exp().solve(table, alpha=1), (-D).exp().solve(X, alpha=1))
    f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], axis=1)
    np.testing.assert_array_equal(f(table, table)[:, 0], expected.sum(1))
    s = KernelSolve("Exp(-SqDist(x, y)) * b", ["x = Vi(2)", "y = Vj(2)", "b = Vj(2)"], "b", axis=1)
    np.testing.assert_allclose(s(table, X, table, alpha=1), s(X, X, X, alpha=1))


def test_vectors():
    K = Vi(X) | Vj(X)
    for v in ([1, 2, 3], (1.0, 2.0, 3.0), range(1, 4), pd.Series([1, 2, 3]), np.array([1, 2, 3], np.int8)):
        np.testing.assert_array_equal(K @ v, X @ X.T @ np.array([1, 2, 3]))
    np.testing.assert_array_equal((Vi(X) + pd.Series([1.0, 2])).dense()[:, 0], X + [1, 2])
    np.testing.assert_array_equal((pd.Series([1.0, 2]) - Vi(X)).dense()[:, 0], [1, 2] - X)
    assert Pm([1, 2]).shape == Pm(pd.Series([1, 2])).shape == (1, 1, 2)


@pytest.mark.parametrize("call, words", [
    (lambda: Vi(None), r"Vi\(x\): expected an array of numpy, found builtins.NoneType"), (lambda: Vj("text"), r"Vj\(x\)"),
    (lambda: Vi([[1, 2], [3]]), r"Vi\(x\): the list is no array"), (lambda: Vi([["a"]]), r"Vi\(x\): the list holds something"),
    (lambda: Vi([1, 2]), r"shape \(2,\): expected \(..., M, D\)"), (lambda: Vj(pd.Series([1, 2])), r"expected \(..., N, D\)"),
    (lambda: Vi(pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})), "column b"),
    (lambda: Vi(pd.DataFrame({"a": [1, None, "x"]})), "missing"),
    (lambda: Vi(np.ma.masked_array(X, X > 3)), "masked array"), (lambda: LazyTensor(np.ma.masked_array(X, X > 3), axis=0), "masked array"),
    (lambda: LazyTensor({1: 2}), "dict"), (lambda: LazyTensor(pd.DataFrame(X)), "needs an axis"), (lambda: LazyTensor([[1, 2]]), "use an array"),
    (lambda: (Vi(X) | Vj(X)) @ [[1], [2, 3]], "K @ v"), (lambda: (Vi(X) | Vj(X)) @ ["a", "b", "c"], "K @ v"),
    (lambda: (Vi(X) | Vj(X)).solve("b"), r"solve\(other\)"), (lambda: (Vi(X) | Vj(X)).solve([1.0, 2, 3]), r"solve\(other\).*x\[:, None\]"),
    (lambda: Vi(X) + {}, "dict"), (lambda: Vi(X) + X, "needs an axis"),
])
def test_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_genred_names_the_argument():
    f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], axis=1)
    for bad in (None, "text", [[1, 2], [3]], {1: 2}, pd.DataFrame({"a": ["x"], "b": [1]})):
        with pytest.raises(TypeError, match="argument 1 'y'"):
            f(X, bad)
    with pytest.raises(benben.DtypeError, match="argument 0 'x' is complex"):
        f(X + 1j, X)
    with pytest.raises(ValueError, match="masked array"):
        f(X, np.ma.masked_array(X, X > 3))
    with pytest.raises(ValueError, match="'x' has the shape"):
        f([1.0, 2.0], X)


RANGES = ([[0, 1], [1, 3]], [1, 2], [[0, 2], [1, 3]], [[0, 3]], [1], [[0, 3]])


def test_numbers_ranges_and_weights_in_other_forms():
    """K as NumPy's integer, a parameter without axes, ranges as lists, weights as an array of rows."""
    f = Genred("SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)"], reduction_op="KMin", opt_arg=np.int32(2), axis=1)
    np.testing.assert_array_equal(f(X, X), np.sort(((X[:, None] - X) ** 2).sum(-1), 1)[:, :2])
    g = Genred("p * SqDist(x, y)", ["x = Vi(2)", "y = Vj(2)", "p = Pm(1)"], axis=1)
    np.testing.assert_array_equal(g(X, X, np.array(2.0)), g(X, X, 2.0))
    arrays = tuple(np.array(r) for r in RANGES)
    for six in (RANGES, list(RANGES), tuple(a.astype(np.int32) for a in arrays), [RANGES], [arrays]):
        np.testing.assert_array_equal(g(X, X, 1.0, ranges=six), g(X, X, 1.0, ranges=arrays))
    batch = np.stack([X] * 6)
    for one in (RANGES, arrays):
        np.testing.assert_array_equal(g(batch, X, 1.0, ranges=[one] * 6)[5], g(X, X, 1.0, ranges=arrays))
    D = (Vi(X) - Vj(X)).sqnorm2()
    np.testing.assert_array_equal((-D).logsumexp(1, weight=X + 1), (-D).logsumexp(1, weight=Vj(X + 1)))
    np.testing.assert_array_equal((-D).sumsoftmaxweight(X, axis=0), (-D).sumsoftmaxweight(Vi(X), axis=0))


@pytest.mark.parametrize("call, error, words", [
    (lambda: Genred("x", "x = Vi(3)"), ValueError, "expected a list of declarations"),
    (lambda: Genred("x", None), ValueError, "expected a list of declarations"), (lambda: Genred(None, []), TypeError, "expected a text"),
    (lambda: KernelSolve(3, ["x = Vi(3)"], "x"), TypeError, "expected a text"),
    (lambda: Genred("x", ["x = Vi(2)"], opt_arg=2.0, reduction_op="KMin"), ValueError, "opt_arg"),
    (lambda: (Vi(X) | Vj(X)).sum(1, ranges=tuple(np.array(r) + 0.5 for r in RANGES)), ValueError, "expected integers"),
    (lambda: (Vi(X) | Vj(X)).sum(1, ranges=(None,) * 6), ValueError, "array 0 of the ranges"),
    (lambda: (Vi(X) | Vj(X)).sum(1, ranges=RANGES[:3]), ValueError, "six arrays"),
    (lambda: Genred("y", ["y = Vj(2)"], axis=1)(X, ranges=RANGES), ValueError, "does not depend on i"),
    (lambda: (Vi(X) | Vj(X[:2])).solve(X), ValueError, "3 rows and 2 columns"),
    *[(lambda name=name, axis=axis: getattr(Vi(X) | Vj(X), name)(axis=axis, nonsense=1), TypeError, "unexpected keyword argument 'nonsense'")
      for name in ("sum", "min", "max", "mean", "prod", "any", "all", "var", "std") for axis in (None, 0, (0, 1), -1)],
    (lambda: np.argmin(Vi(X) | Vj(X)), ValueError, "give axis=0"),
    (lambda: (Vi(X) | Vj(X))[np.array([[0, 1], [1, 2]]), :], ValueError, "expected one dimension"),
    (lambda: (Vi(X) | Vj(X))[0, np.ones((1, 3), bool)], ValueError, "expected one dimension"),
    (lambda: LazyTensor((X, 2, 0)), ValueError, r"\(ndarray, 2, 0\): a symbolic variable"),
    (lambda: (Vi(X) | Vj(X)).solve(X, alpha=None), ValueError, "alpha=None: expected a number"),
    (lambda: (Vi(X) | Vj(X)).solve(X, eps="a"), ValueError, "eps='a': expected a number"),
    (lambda: (Vi(X) | Vj(X)).solve(X, rank="a"), TypeError, "rank='a': expected an integer"),
    (lambda: (Vi(X) | Vj(X)).solve(X, method="qr"), ValueError, "method='qr' is unknown; expected one of 'auto', 'cg', 'minres'"),
    (lambda: (Vi(X) | Vj(X)).solve(X, precondition=3), ValueError, "precondition=3 is unknown; expected one of 'auto', 'none'")])
def test_what_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_keywords_of_folds_over_several_axes():
    x = np.full((3000, 1), 0.1, np.float32)
    K = Vi(x) * Vj(x)
    out = np.zeros((), np.float32)
    assert K.sum(axis=None, out=out) is out and abs(out - 90000) < 1
    assert abs(K.sum(axis=(0, 1), use_double_acc=True) / 90000 - 1) < 1e-6
    with pytest.raises(ValueError, match="narrower"):
        K.sum(axis=None, dtype_acc="float16")
    one = tuple(np.array(a) for a in ([[0, 1]], [1], [[0, 2]], [[0, 2]], [1], [[0, 1]]))
    assert abs(K.sum(axis=(0, 1), ranges=one) - 0.02) < 1e-6
    seen = []
    K.max(axis=(0, 1), progress=seen.append)
    assert seen and seen[-1] == 1
    np.testing.assert_allclose(K.var(axis=None, out=np.zeros((), np.float32)), 0, atol=1e-9)
    with pytest.raises(ValueError, match="backend"):
        K.mean(axis=None, backend="cpu")


def test_one_right_hand_side_for_a_batch_of_systems():
    x = np.random.default_rng(0).random((2, 3, 7, 2))
    K = (-(Vi(x) - Vj(x)).sqnorm2()).exp()
    b = np.random.default_rng(1).random((7, 2))
    found = K.solve(b, alpha=1.0, eps=1e-12)
    expected = np.linalg.solve(K.dense() + np.eye(7), b)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    np.testing.assert_allclose(K.solve(np.stack([b, b + 1, b])[None], alpha=1.0, eps=1e-12)[:, 1],
                               np.linalg.solve(K.dense() + np.eye(7), b + 1)[:, 1], rtol=1e-6)
