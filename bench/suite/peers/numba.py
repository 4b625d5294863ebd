"""Numba: parallel loops with fastmath; columns as a structure of arrays, so that the loop over j vectorises, or point
by point, so that the loop over d does."""
from __future__ import annotations

import math

import numba
import numpy as np

from .. import cases, machine
from . import Form

numba.set_num_threads(min(machine.cores(), numba.config.NUMBA_NUM_THREADS))


def _terms(family: str):
    """kernel(q, s) of the sums."""
    if family == "laplace":
        return lambda q, s: math.exp(-math.sqrt(q / s))
    if family == "energy":
        return lambda q, s: math.sqrt(q)
    if family == "matern52":
        def matern(q, s):
            r = math.sqrt(5 * q / s)
            return (1 + r + r * r / 3) * math.exp(-r)
        return matern
    return lambda q, s: math.exp(-q / s)


def _sum(family: str, d: int, real):
    kernel = numba.njit(fastmath=True, inline="always")(_terms(family))

    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out):
        for i in numba.prange(x.shape[0]):
            total = real(0)
            for j in range(y.shape[1]):
                q = real(0)
                for k in range(d):
                    t = x[i, k] - y[k, j]
                    q += t * t
                total += real(kernel(q, s)) * b[j]
            out[i, 0] = total
    return run


def _sum_by_points(family: str, d: int, real):
    kernel = numba.njit(fastmath=True, inline="always")(_terms(family))

    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out):
        for i in numba.prange(x.shape[0]):
            total = real(0)
            for j in range(y.shape[0]):
                q = real(0)
                for k in range(d):
                    t = x[i, k] - y[j, k]
                    q += t * t
                total += real(kernel(q, s)) * b[j]
            out[i, 0] = total
    return run


def _batch(d: int, real):
    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out):
        for n in numba.prange(x.shape[0]):
            for i in range(x.shape[1]):
                total = real(0)
                for j in range(y.shape[2]):
                    q = real(0)
                    for k in range(d):
                        t = x[n, i, k] - y[n, k, j]
                        q += t * t
                    total += math.exp(-q / s) * b[n, j]
                out[n, i, 0] = total
    return run


def _block(d: int, real):
    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out, starts, blocks):
        for c in numba.prange(blocks.shape[0]):
            for i in range(starts[c], starts[c + 1]):
                total = real(0)
                for n in range(blocks.shape[1]):
                    for j in range(starts[blocks[c, n]], starts[blocks[c, n] + 1]):
                        q = real(0)
                        for k in range(d):
                            t = x[i, k] - y[k, j]
                            q += t * t
                        total += math.exp(-q / s) * b[j]
                out[i, 0] = total
    return run


def _argmin(d: int, real):
    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out):
        for i in numba.prange(x.shape[0]):
            best, at = real(np.inf), 0
            for j in range(y.shape[1]):
                q = real(0)
                for k in range(d):
                    t = x[i, k] - y[k, j]
                    q += t * t
                if q < best:
                    best, at = q, j
            out[i, 0] = at
    return run


def _logsumexp(d: int, real):
    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out):
        for i in numba.prange(x.shape[0]):
            top = real(-np.inf)
            for j in range(y.shape[1]):
                q = real(0)
                for k in range(d):
                    t = x[i, k] - y[k, j]
                    q += t * t
                top = max(top, -q / s)
            total = real(0)
            for j in range(y.shape[1]):
                q = real(0)
                for k in range(d):
                    t = x[i, k] - y[k, j]
                    q += t * t
                total += math.exp(-q / s - top)
            out[i, 0] = top + math.log(total)
    return run


def _gradient(d: int, real):
    @numba.njit(parallel=True, fastmath=True)
    def run(x, y, b, s, out, e):
        for i in numba.prange(x.shape[0]):
            for k in range(d):
                out[i, k] = real(0)
            for j in range(y.shape[1]):
                q = real(0)
                for k in range(d):
                    t = x[i, k] - y[k, j]
                    q += t * t
                w = math.exp(-q / s) * b[j]
                for k in range(d):
                    out[i, k] += w * (x[i, k] - y[k, j])
            for k in range(d):
                out[i, k] *= -2 / s * e[i, 0]
    return run


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    family, real = case.family.name, numba.float64 if case.kind == "f64" else numba.float32
    if case.e > 1 or case.kind == "f16":
        return []
    x = data["x"][:rows] if case.family.rows else data["x"]
    y = np.ascontiguousarray(np.swapaxes(data["y"], -1, -2))
    b, s = data["b"][..., 0].copy(), case.dtype(data["s"][0])
    shape = (*x.shape[:-1], case.d if family == "gradient" else 1)
    out = np.empty(shape, np.int64 if case.k else case.dtype)
    more: tuple = ()
    if family in ("gauss", "laplace", "matern52", "energy"):
        function = _sum(family, case.d, real)
    elif family == "gradient":
        function, more = _gradient(case.d, real), (data["e"][:rows],)
    elif family == "block":
        function, more = _block(case.d, real), (data["starts"], data["blocks"])
    elif family in ("argmin", "logsumexp", "batch"):
        function = {"argmin": _argmin, "logsumexp": _logsumexp, "batch": _batch}[family](case.d, real)
    else:
        return []

    def run():
        function(x, y, b, s, out, *more)
        return out
    if family not in ("gauss", "laplace", "matern52", "energy") or case.d < 10:
        return [("loops, fastmath", run)]
    points = _sum_by_points(family, case.d, real)

    def by_points():
        points(x, data["y"], b, s, out)
        return out
    return [("loops, fastmath", run), ("loops over d inside", by_points)]
