"""show, notebooks, doctor; progress."""
import io
import sys
import time

import numpy as np
import pytest

import benben
from benben import _progress, masks
from benben.numpy import Genred, KernelSolve, Pm, Vi, Vj

X = np.random.default_rng(0).random((1000, 3)).astype(np.float32)
K = (-(Vi(X) - Vj(X)).sqnorm2() / Pm(2.0)).exp()


def test_show_says_what_will_run():
    text = benben.show(K)
    for words in ("(1000, 1000)", "Exp((Minus(SqNorm2((x0 - y0))) / p0))", "11.7 KiB", "3.81 MiB", "sum over j", "operations per pair",
                  "1e+06 pairs", "keeps i, folds j", "float32", "p0         2.0"):
        assert words in text, words
    assert str(text) == repr(text) and "&lt;" not in text and text._repr_html_().startswith("<pre>")
    assert "logsumexp over i" in benben.show(K, "LogSumExp", axis=0) and "keeps j, folds i" in benben.show(K, "logsumexp", axis=0)
    assert "argkmin over j" in benben.show(K, "argkmin", k=3)
    assert "ArgKMin" in benben.show(K.argKmin(3, axis=1, call=False)) or "argkmin" in benben.show(K.argKmin(3, axis=1, call=False))
    assert "float64" in benben.show((Vi(X.astype(float)) - Vj(X)).abs())
    assert "void" in benben.show(K, detail="source") or "static" in benben.show(K, detail="source")


def test_show_counts_pairs():
    assert "1000 of 1000000 pairs" in benben.show(K.masked(masks.blocks(np.arange(1000))))
    ranged = K._like()
    part = np.array([[0, 10]])
    ranged.ranges = (part, np.array([1]), part, part, np.array([1]), part)
    assert "100 of 1000000 pairs" in benben.show(ranged)
    assert "all 1000000 pairs" in benben.show(K.masked(K < 0.5))
    batched = (Vi(np.ones((2, 6, 1))) * Vj(np.ones((2, 6, 1)))).masked(masks.intervals([0], [[1], [2]]))
    assert "18 of 72 pairs" in benben.show(batched)


def test_show_of_other_things():
    assert "arguments  x = Vi(2)" in benben.show(Genred("SqNorm2(x)", ["x = Vi(2)"]))
    assert "symbolic variable 0" in benben.show(Vi(0, 3) * Vj(1, 3))
    assert "Solve over j" in benben.show(K.solve(X, call=False))
    assert "without storing" in benben.show(K @ K)
    for bad in (lambda: benben.show(3), lambda: benben.show(K, "nonsense"), lambda: benben.show(K, "logsumexpweight"),
                lambda: benben.show(K, detail="everything")):
        with pytest.raises(ValueError):
            bad()


def test_notebooks_get_a_table():
    table = (Vi(X) < Vj(X))._repr_html_()
    assert table.startswith("<table>") and "&lt;" in table and "(1000, 1000, 3)" in table
    assert "Sum over j" in K.sum(1, call=False)._repr_html_() and "symbolic" in Vi(0, 3)._repr_html_()


def test_doctor():
    text = benben.doctor()
    assert "compiler" in text and "numpy " + np.__version__ in text and repr(text) == str(text)


LONG = np.random.default_rng(1).random((30000, 3))


def long_run():
    return (-(Vi(LONG) - Vj(LONG)).sqnorm2()).exp()


@pytest.mark.parametrize("tqdm", [True, False])
def test_progress_bars(tqdm, monkeypatch, capsys):
    monkeypatch.setattr(_progress, "_DELAY", 0.0)
    if not tqdm:
        monkeypatch.setitem(sys.modules, "tqdm.auto", None)
        clock = iter(range(10**9))
        monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    expected = long_run().sum(axis=1)
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(long_run().sum(axis=1, progress=True), expected)
    assert "sum over j: " in capsys.readouterr().err
    with benben.progress():
        np.testing.assert_array_equal(long_run() @ np.ones((30000, 1)), expected)
        assert "sum over j: " in capsys.readouterr().err
        long_run().sum(axis=1, progress=False)
        assert capsys.readouterr().err == ""
        with benben.progress(False):
            long_run().sum(axis=1)
        assert capsys.readouterr().err == ""
        Genred("Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], axis=1)(LONG, LONG)
        assert "sum over j: " in capsys.readouterr().err
    small = LONG[:300]
    b = np.ones((300, 1))
    for solve in (lambda: (-(Vi(small) - Vj(small)).sqnorm2()).exp().solve(b, alpha=0.1, progress=True),
                  lambda: KernelSolve("Exp(-SqDist(x, y)) * a", ["x = Vi(3)", "y = Vj(3)", "a = Vj(1)"], "a", axis=1)(
                      small, small, b, alpha=0.1, progress=True)):
        solve()
        err = capsys.readouterr().err
        assert "solve: " in err and ("residual" in err or tqdm)  # tqdm shows it from the second iteration on
    Genred("Exp(-SqDist(x, y))", ["x = Vi(3)", "y = Vj(3)"], axis=1)(small, small)
    assert capsys.readouterr().err == ""


def test_line_of_text(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    out = io.StringIO()
    line = _progress._Line("sum", out)
    line.update(20)
    assert out.getvalue() == ""  # not yet
    now[0] = 1.0
    line.update(22)
    line.update(1)  # too soon
    assert out.getvalue() == "\rsum: 42%, 1 s"
    line.close()
    assert out.getvalue().endswith("\r             \r")


def test_progress_is_checked():
    with pytest.raises(ValueError, match="progress="):
        K.sum(axis=1, progress=3)
    with pytest.raises(benben.CancelledError):
        long_run().sum(axis=1, progress=lambda done: True)
