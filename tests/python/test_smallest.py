"""The K smallest against a sort by NumPy: ties, columns without a number, and a processor that takes denormals for 0."""
import ctypes
import platform
import subprocess

import numpy as np
import pytest

import bb

SIZES = (1, 15, 17, 40, 64, 100, 333, 3000)


def sorted_out(d, k):
    """The indices of the k smallest numbers of each row, the smaller index first among equals; -1 behind them."""
    order = np.argsort(d, axis=1, kind="stable")[:, :k]  # NaN last
    return np.where(np.isnan(np.take_along_axis(d, order, 1)), -1, order)


def check(k, dtype, target, columns):
    program = bb.parse(f"kmin_argkmin_j(x * y, {k})", "x:i1", "y:j1").compile(target=target)
    rng = np.random.default_rng(k)
    for n in (n for n in SIZES if n >= k):
        for m in (1, 17, 100):
            x, y = rng.integers(1, 4, (m, 1)).astype(dtype), columns(rng, n)[:, None].astype(dtype)
            found = program(x, y)
            np.testing.assert_array_equal(found[1], sorted_out(x * y.T, k), f"M = {m}, N = {n}")


@pytest.mark.parametrize("isa", "012")
@pytest.mark.parametrize("target", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 4, 10, 70])
def test_columns_without_a_number(k, dtype, target, isa, monkeypatch):
    monkeypatch.setenv("BENBEN_ISA", isa)

    def columns(rng, n):
        y = np.where(rng.random(n) < rng.choice([0.02, 0.5, 0.9, 1]), np.nan, rng.standard_normal(n))
        y[: n // 3] = np.nan
        y[n // 3 : n // 3 + rng.integers(0, 3)] = rng.choice([-1.0, 2.0, np.inf, -np.inf])
        return y

    check(k, dtype, target, columns)


@pytest.fixture
def no_denormals(tmp_path):
    """As after torch.set_flush_denormal(True), or once a library made with -ffast-math has been loaded."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("how this processor is told to take denormals for 0 is not known here")
    source, library = tmp_path / "flush.c", tmp_path / "flush.so"
    source.write_text("#include <immintrin.h>\nunsigned flush(unsigned more) {\n    unsigned before = _mm_getcsr();\n"
                      "    _mm_setcsr(more ? before | 0x8040 : before & ~0x8040u);\n    return before;\n}\n", "ascii")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    flush = ctypes.CDLL(str(library)).flush
    before = flush(1) & 0x8040
    yield
    flush(before)


@pytest.mark.parametrize("isa", "012")
@pytest.mark.parametrize("target", ["cpu", "interp"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 4, 10, 70])
def test_ties_at_zero_without_denormals(k, dtype, target, isa, monkeypatch, no_denormals):
    monkeypatch.setenv("BENBEN_ISA", isa)
    check(k, dtype, target, lambda rng, n: rng.integers(0, rng.choice([1, 2, 40]), n) * rng.choice([-1.0, 1.0]))


@pytest.mark.parametrize("isa", "012")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 10, 70])
def test_more_columns_than_are_looked_at_together(k, dtype, isa, monkeypatch):
    """Lists are full after the first part of the columns; in later parts few, none, or all values are below."""
    monkeypatch.setenv("BENBEN_ISA", isa)
    program = bb.parse(f"kmin_argkmin_j(x * y, {k})", "x:i1", "y:j1").compile(target="cpu")
    rng = np.random.default_rng(k)
    n = 70001
    late = np.where(np.arange(n) < 35000, np.nan, 1 - rng.random(n))
    for y in (rng.standard_normal(n), -np.arange(n) / 64, rng.integers(0, 9, n), late):
        for m in (1, 33, 97):
            x = rng.integers(1, 4, (m, 1)).astype(dtype)
            column = y[:, None].astype(dtype)
            found = program(x, column)
            np.testing.assert_array_equal(found[1], sorted_out(x * column.T, k), f"M = {m}")


@pytest.mark.parametrize("isa", "012")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("k", [1, 10, 40, 64, 70])
def test_of_long_rows(k, dtype, isa, monkeypatch):
    """The values of the first columns are looked at together, later ones against the limits of the lists."""
    monkeypatch.setenv("BENBEN_ISA", isa)
    program = bb.parse(f"kmin_argkmin_j(sum(abs(x - y)), {k})", "x:i30", "y:j30").compile(target="cpu")
    rng = np.random.default_rng(k)
    for n in (k, 500, 1023, 1025, 3001):
        if n < k:
            continue
        plain = rng.integers(0, 9, (n, 30)).astype(dtype)
        falling = (plain + np.arange(n, 0, -1)[:, None] * 3).astype(dtype)
        late, sparse = plain.copy(), plain.copy()
        late[: n // 2, 7] = sparse[rng.random(n) < 0.999, 0] = np.nan
        for y in (plain, falling, late, sparse, plain * 0 + np.inf):
            x = rng.integers(0, 9, (150, 30)).astype(dtype)
            d = np.concatenate([np.abs(part[:, None] - y).sum(2) for part in np.split(x, 10)])
            np.testing.assert_array_equal(program(x, y)[1], sorted_out(d, k), f"N = {n}")
