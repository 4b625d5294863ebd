"""Genred, KernelSolve and the generic functions against dense float64."""
import gc
import os
import pickle
import signal
import sys
import threading

import numpy as np
import pytest

import benben
from benben.numpy import Genred, KernelSolve, Vi, Vj, generic_argkmin, generic_argmin, generic_logsumexp, generic_sum

ALIASES = ["x = Vi(3)", "y = Vj(3)", "b = Vj(2)"]
SHAPES = [(1, 1), (0, 3), (3, 0), (7, 11), (17, 16), (33, 31)]


def data(m, n, dtype=np.float64, batch=(), seed=0):
    r = np.random.default_rng(seed)
    x, y, b = r.normal(size=(*batch, m, 3)), r.normal(size=(*batch, n, 3)), r.normal(size=(*batch, n, 2))
    return x.astype(dtype), y.astype(dtype), b.astype(dtype)


def sqdist(x, y):
    return ((x[..., :, None, :].astype(float) - y[..., None, :, :]) ** 2).sum(-1)


def tolerance(dtype):
    return {np.float64: 1e-11, np.float32: 3e-5, np.float16: 3e-2}[dtype]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shape", SHAPES)
def test_sum_over_either_axis(shape, dtype):
    x, y, b = data(*shape, dtype)
    K = np.exp(-sqdist(x, y))
    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    out = f(x, y, b)
    assert out.dtype == dtype and out.shape == (shape[0], 2)
    np.testing.assert_allclose(out, K @ b.astype(float), atol=tolerance(dtype) * 10)
    g = Genred("Exp(-SqDist(x, y))", ALIASES[:2])  # axis 0 by default: over i
    np.testing.assert_allclose(g(x, y), K.sum(0)[:, None], atol=tolerance(dtype) * 10)


@pytest.mark.parametrize("name, reference", [
    ("Min", lambda d: d.min(1)), ("Max", lambda d: d.max(1)), ("ArgMin", lambda d: d.argmin(1)),
    ("ArgMax", lambda d: d.argmax(1)), ("LogSumExp", lambda d: np.log(np.exp(d).sum(1))),
    ("Mean", lambda d: d.mean(1)), ("Prod", lambda d: d.prod(1))])
def test_reductions(name, reference):
    x, y, _ = data(9, 8)
    out = Genred("SqDist(x, y)", ALIASES[:2], name, axis=1)(x, y)
    expected = reference(sqdist(x, y))[:, None]
    assert out.dtype == expected.dtype and out.shape == (9, 1)
    np.testing.assert_allclose(out, expected, rtol=1e-12)


def test_pairs_of_outputs():
    x, y, _ = data(9, 8)
    d = sqdist(x, y)
    value, index = Genred("SqDist(x, y)", ALIASES[:2], "Min_ArgMin", axis=1)(x, y)
    np.testing.assert_allclose(value[:, 0], d.min(1))
    assert index.dtype == np.int64 and (index[:, 0] == d.argmin(1)).all()
    value, index = Genred("SqDist(x, y)", ALIASES[:2], "KMin_ArgKMin", axis=1, opt_arg=3)(x, y)
    assert value.shape == index.shape == (9, 3)
    np.testing.assert_allclose(value, np.sort(d, 1)[:, :3])
    assert (index == np.argsort(d, 1)[:, :3]).all()


def test_k_smallest_of_vectors_and_more_than_there_are():
    x, y, _ = data(5, 4)
    out = Genred("Square(x - y)", ALIASES[:2], "KMin", axis=1, opt_arg=2)(x, y)
    np.testing.assert_allclose(out, np.sort((x[:, None] - y) ** 2, 1)[:, :2])
    for axis, n in ((0, 5), (1, 4)):
        for k in (3, 6):
            value, index = Genred("SqDist(x, y)", ALIASES[:2], "KMin_ArgKMin", axis=axis, opt_arg=k)(x, y)
            d = sqdist(x, y) if axis else sqdist(x, y).T
            some = min(k, n)
            np.testing.assert_allclose(value[:, :some], np.sort(d, 1)[:, :some])
            assert (index[:, :some] == np.argsort(d, 1)[:, :some]).all() and index.dtype == np.int64
            assert value.shape == index.shape == (len(d), k) and (value[:, n:] == np.inf).all() and (index[:, n:] == -1).all()
    value, index = Genred("Square(x - y)", ALIASES[:2], "KMin_ArgKMin", axis=1, opt_arg=6)(x, y)
    assert value.shape == index.shape == (5, 6, x.shape[1]) and (index[:, 4:] == -1).all() and (value[:, 4:] == np.inf).all()
    assert (index[:, :4] == np.argsort((x[:, None] - y) ** 2, 1)).all()
    value, index = Genred("SqDist(x, y)", ALIASES[:2], "KMin_ArgKMin", axis=1, opt_arg=2)(x, y[:0])
    assert (value == np.inf).all() and (index == -1).all() and value.shape == (5, 2)
    D = ((Vi(x) - Vj(y)) ** 2).sum(-1)
    for found in (D.argKmin(6, axis=1), D.Kmin_argKmin(6, axis=1)[1]):
        assert (found[:, 4:] == -1).all() and (found[:, :4] == np.argsort(sqdist(x, y), 1)).all()
    assert D.Kmin(7, axis=0).shape == (4, 7) and ((Vi(x) - Vj(y)) ** 2).Kmin(7, axis=0).shape == (4, 7, x.shape[1])
    assert ((Vi(x) - Vj(y[:0])) ** 2).argKmin(3, axis=1).tolist() == [[[-1] * x.shape[1]] * 3] * 5
    half = np.full((2, 70000, 1), 1, np.float16)
    assert Vj(half).Kmin(2, axis=2).dtype == np.float16 and Vj(half).argKmin(70001, axis=2)[0, 0, -2:].tolist() == [69999, -1]


def test_weights():
    x, y, b = data(6, 5)
    s = -sqdist(x, y)
    out = Genred("-SqDist(x, y)", ALIASES, "LogSumExp", axis=1, formula2="Exp(b)")(x, y, b)
    np.testing.assert_allclose(out, np.log(np.exp(s) @ np.exp(b)), rtol=1e-12)
    for name in ("SumSoftMaxWeight", "SoftMax"):
        out = Genred("-SqDist(x, y)", ALIASES, name, axis=1, formula2="b")(x, y, b)
        np.testing.assert_allclose(out, np.exp(s) @ b / np.exp(s).sum(1, keepdims=True), rtol=1e-12)


def test_batches_broadcast_and_strides_are_followed():
    x, y, b = data(6, 5, batch=(4, 2))
    f = Genred("Exp(-SqDist(x, y) * p) * b", [*ALIASES, "p = Pm(1)"], axis=1)
    p = np.linspace(0.5, 1, 4).reshape(4, 1, 1)
    expected = np.exp(-sqdist(x, y) * p[..., None]) @ b
    np.testing.assert_allclose(f(x, y, b, p), expected, rtol=1e-12)
    assert f(x[:1], y[:, :1], b, p).shape == (4, 2, 6, 2)
    back = np.ascontiguousarray(x[..., ::-1, ::-1])[..., ::-1, ::-1]
    every = np.repeat(y, 2, axis=-2)[..., ::2, :]
    np.testing.assert_array_equal(f(back, every, b, p), f(x, y, b, p))
    np.testing.assert_array_equal(f(np.asfortranarray(x), y, b, p), f(x, y, b, p))


def test_types_are_promoted_as_numpy_does():
    x, y, b = data(6, 5)
    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    mixed = f(x.astype(np.float32), y, (b * 3).astype(np.int32))
    assert mixed.dtype == np.float64
    np.testing.assert_allclose(mixed, np.exp(-sqdist(x.astype(np.float32), y)) @ (b * 3).astype(np.int32), rtol=1e-12)
    assert f(x.astype(np.float32), y.astype(np.float16), (b > 0)).dtype == np.float32
    swapped = x.astype(x.dtype.newbyteorder())
    np.testing.assert_array_equal(f(swapped, y, b), f(x, y, b))
    record = np.zeros(6, dtype=[("a", "i1"), ("x", "f8", 3)])
    record["x"] = x  # neither aligned nor a whole number of elements apart
    np.testing.assert_array_equal(f(record["x"], y, b), f(x, y, b))


def test_a_formula_without_one_of_the_axes():
    x, y, _ = data(6, 5)
    np.testing.assert_allclose(Genred("y", ALIASES[:2], axis=1)(x, y), np.tile(y.sum(0), (6, 1)))
    np.testing.assert_allclose(Genred("x", ALIASES[:2], axis=1)(x, y), 5 * x)
    np.testing.assert_allclose(Genred("x", ["x = Vi(3)"], axis=1)(x), x)
    np.testing.assert_allclose(Genred("x", ["x = Vi(3)"], axis=0)(x), x.sum(0)[None])


def test_spellings_of_variables():
    x, y, _ = data(6, 5)
    expected = np.exp(-sqdist(x, y)).sum(1)[:, None]
    for formula, aliases in [("Exp(-SqDist(Var(0,3,0), Var(1,3,1)))", []), ("Exp(-SqDist(x,y))", ["x=Vi(0,3)", "y=Vj(1,3)"]),
                             ("Exp(-((x-y)|(x-y)))", ["x = Var(0,3,0)", "y = Vj(3)"])]:
        np.testing.assert_allclose(Genred(formula, aliases, axis=1)(x, y), expected, rtol=1e-12)


def blocks(m, n):
    """Ranges of two clusters on each side, the first of which meets both, and the mask that they mean."""
    i, j = np.array([[0, m // 2], [m // 2, m]], np.int32), np.array([[0, n // 3], [n // 3, n]], np.int32)
    six = (i, np.array([2, 3], np.int32), np.concatenate([j, j[1:]]), j, np.array([1, 3], np.int32), np.concatenate([i[:1], i]))
    mask = np.ones((m, n), bool)
    mask[m // 2:, :n // 3] = False
    return six, mask


@pytest.mark.parametrize("axis", [0, 1])
def test_ranges(axis):
    x, y, _ = data(10, 9)
    ranges, mask = blocks(10, 9)
    out = Genred("Exp(-SqDist(x, y))", ALIASES[:2], axis=axis)(x, y, ranges=ranges)
    np.testing.assert_allclose(out[:, 0], (np.exp(-sqdist(x, y)) * mask).sum(axis), rtol=1e-12)


def test_ranges_with_batches_and_uncovered_rows():
    x, y, _ = data(10, 9, batch=(2,))
    ranges, mask = blocks(10, 9)
    f = Genred("Exp(-SqDist(x, y))", ALIASES[:2], axis=1)
    np.testing.assert_allclose(f(x, y, ranges=ranges)[..., 0], (np.exp(-sqdist(x, y)) * mask).sum(-1), rtol=1e-12)
    short = (ranges[0][:1], ranges[1][:1], ranges[2], *ranges[3:])
    out = f(x, y, ranges=[ranges, short])
    assert (out[1, 5:] == 0).all() and (out[0, 5:] != 0).all()
    with pytest.raises(ValueError, match="ranges"):
        f(x, y, ranges=ranges[:5])


def test_solve():
    x, _, b = data(12, 12)
    K = np.exp(-sqdist(x, x))
    solve = KernelSolve("Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)
    a = solve(x, x, b, alpha=0.1, eps=1e-9)
    np.testing.assert_allclose(K @ a + 0.1 * a, b, atol=1e-7)
    solve = pickle.loads(pickle.dumps(KernelSolve("Exp(-SqDist(x, y)) * b", [*ALIASES[:2], "b = Vi(2)"], "Var(2,2,0)", axis=0)))
    np.testing.assert_allclose(solve(x, x, b, alpha=np.array([0.1]), eps=1e-9), a, atol=1e-7)
    with pytest.warns(benben.ConvergenceWarning):
        KernelSolve("-Exp(-SqDist(x, y)) * b", ALIASES, "b", axis=1)(x, x, b)


def test_options():
    x, y, b = data(50, 40, np.float32)
    expected = np.exp(-sqdist(x, y)) @ b
    for keywords in [dict(sum_scheme="kahan_scheme"), dict(sum_scheme="direct_sum"), dict(dtype_acc="float64"),
                     dict(use_double_acc=True), dict(enable_chunks=False, rec_multVar_highdim=1, use_fast_math=False)]:
        out = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1, **keywords)(x, y, b, backend="CPU", device_id=-1)
        np.testing.assert_allclose(out, expected, atol=1e-4)
    for keywords in [dict(sum_scheme="best"), dict(dtype_acc="float128"), dict(dtype_acc="float64", use_double_acc=True),
                     dict(reduction_op="Min", sum_scheme="kahan_scheme"), dict(axis=2), dict(reduction_op="KMin"),
                     dict(reduction_op="Min", dtype_acc="float64"), dict(reduction_op="SumSoftMaxWeight")]:
        with pytest.raises(ValueError):
            Genred("Exp(-SqDist(x, y)) * b", ALIASES, **keywords)
    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1, dtype_acc="float32")
    with pytest.raises(ValueError, match="narrower"):
        f(x.astype(float), y.astype(float), b.astype(float))
    with pytest.raises(ValueError, match="backend"):
        f(x, y, b, backend="TPU")
    with pytest.warns(DeprecationWarning):
        Genred("x", ["x = Vi(3)"], dtype="float32")


def test_out():
    x, y, b = data(6, 5)
    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    out = np.zeros((6, 4))[:, ::2]
    assert f(x, y, b, out=out) is out
    np.testing.assert_array_equal(out, f(x, y, b))
    with pytest.raises(ValueError, match="shape"):
        f(x, y, b, out=np.zeros((5, 2)))


@pytest.mark.parametrize("error, call", [
    (NameError, lambda x, y: Genred("Expp(x)", ["x = Vi(3)"])), (NameError, lambda x, y: Genred("Exp(z)", ["x = Vi(3)"])),
    (NameError, lambda x, y: Genred("x", ["x = Vi(3)"], "Summ")), (SyntaxError, lambda x, y: Genred("Exp(x", ["x = Vi(3)"])),
    (ValueError, lambda x, y: Genred("x + y", ["x = Vi(3)", "y = Vj(2)"])), (ValueError, lambda x, y: Genred("x", ["x = Vz(3)"])),
    (ValueError, lambda x, y: Genred("x*y", ALIASES[:2])(x)), (ValueError, lambda x, y: Genred("x*y", ALIASES[:2])(x, y, y)),
    (ValueError, lambda x, y: Genred("x*y", ALIASES[:2])(x, y[:, :2])), (ValueError, lambda x, y: Genred("x*y", ALIASES[:2])(x[0], y)),
    (TypeError, lambda x, y: Genred("x*y", ALIASES[:2])([["x"]], y)), (TypeError, lambda x, y: Genred("x*y", ALIASES[:2], foo=1)),
    (TypeError, lambda x, y: Genred("x*y", ALIASES[:2])("x", y)), (TypeError, lambda x, y: Genred("x*y", ALIASES[:2])(x + 1j, y)),
    (ValueError, lambda x, y: generic_sum("x*y", "a = Pm(3)", *ALIASES[:2]))])
def test_errors(error, call):
    x, y, _ = data(4, 5)
    with pytest.raises(error) as info:
        call(x, y)
    assert str(info.value)


def test_generic_functions():
    x, y, b = data(6, 5)
    d = sqdist(x, y)
    np.testing.assert_allclose(generic_sum("SqDist(x, y)", "a = Vj(1)", *ALIASES[:2])(x, y)[:, 0], d.sum(0))
    np.testing.assert_allclose(generic_logsumexp("SqDist(x, y)", "a = Vi(1)", *ALIASES[:2])(x, y)[:, 0], np.log(np.exp(d).sum(1)))
    assert (generic_argmin("SqDist(x, y)", "a = Vi(1)", *ALIASES[:2])(x, y)[:, 0] == d.argmin(1)).all()
    assert (generic_argkmin("SqDist(x, y)", "a = Vi(3)", *ALIASES[:2])(x, y) == np.argsort(d, 1)[:, :3]).all()


def test_pickle_and_subclass():
    x, y, b = data(6, 5)

    class Mine(Genred):
        def __call__(self, arrays):
            return super().__call__(*arrays)

    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1, dtype_acc="auto")
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(f))(x, y, b), f(x, y, b))
    np.testing.assert_array_equal(Mine("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)([x, y, b]), f(x, y, b))


def test_two_threads():
    x, y, b = data(300, 300)
    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)
    expected, wrong = f(x, y, b), []

    def work():
        for _ in range(20):
            if not np.array_equal(f(x, y, b), expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_stops_a_run_and_leaves_everything_sound():
    r = np.random.default_rng(0)
    x = r.random((400000, 3))  # minutes of work
    f = Genred("Exp(-SqDist(x, y))", ALIASES[:2], axis=1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
    try:
        timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            f(x, x)
        timer.join()
    finally:
        signal.signal(signal.SIGINT, before)
    np.testing.assert_allclose(f(x[:9], x[:9])[:, 0], np.exp(-sqdist(x[:9], x[:9])).sum(1))


def test_progress_is_told_and_can_cancel():
    from benben.numpy import Vi, Vj

    x = np.random.default_rng(0).random((20000, 3))
    K = (Vi(x) | Vj(x)).exp()
    done = []
    K.sum(axis=1, progress=done.append)
    assert done[-1] == 1 and done == sorted(done)
    with pytest.raises(benben.CancelledError):
        K.sum(axis=1, progress=lambda part: True)
    with pytest.raises(ZeroDivisionError):
        K.sum(axis=1, progress=lambda part: 1 / 0)


@pytest.mark.skipif(not hasattr(sys, "getrefcount"), reason="needs reference counts")
def test_nothing_leaks():
    x, y, b = data(4, 4)
    f = Genred("Exp(-SqDist(x, y)) * b", ALIASES, axis=1)

    def bad():
        for arguments in [(x, y), (x, y, b[:2]), (x, y, "b"), (x, y, b + 1j)]:
            with pytest.raises((ValueError, TypeError)):
                f(*arguments)

    f(x, y, b)
    bad()
    gc.collect()
    before = [sys.getrefcount(a) for a in (x, y, b)], len(gc.get_objects())
    for _ in range(2000):
        f(x, y, b)
    for _ in range(20):
        bad()
    gc.collect()
    assert [sys.getrefcount(a) for a in (x, y, b)] == before[0]
    assert len(gc.get_objects()) <= before[1] + 50
