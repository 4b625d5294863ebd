"""Taichi on the CPU: one kernel, the Gaussian and its like, fast_math. (Its kernels need evaluated annotations.)"""
import contextlib
import io

import numpy as np

from .. import cases, machine
from . import Form

with contextlib.redirect_stdout(io.StringIO()):
    import taichi as ti

    ti.init(arch=ti.cpu, cpu_max_num_threads=machine.cores(), log_level=ti.ERROR, fast_math=True)


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    if case.family.name not in ("gauss", "laplace", "energy") or case.e > 1 or case.kind == "f16" or case.d > 10:
        return []
    real = ti.f64 if case.kind == "f64" else ti.f32
    d, which = case.d, ("gauss", "laplace", "energy").index(case.family.name)

    @ti.kernel
    def run(x: ti.types.ndarray(dtype=real, ndim=2), y: ti.types.ndarray(dtype=real, ndim=2),
            b: ti.types.ndarray(dtype=real, ndim=2), s: real, out: ti.types.ndarray(dtype=real, ndim=2)):
        for i in range(x.shape[0]):
            total = ti.cast(0, real)
            for j in range(y.shape[0]):
                q = ti.cast(0, real)
                for k in ti.static(range(d)):
                    t = x[i, k] - y[j, k]
                    q += t * t
                if ti.static(which == 0):
                    total += ti.exp(-q / s) * b[j, 0]
                elif ti.static(which == 1):
                    total += ti.exp(-ti.sqrt(q / s)) * b[j, 0]
                else:
                    total += ti.sqrt(q) * b[j, 0]
            out[i, 0] = total
    x, y, b, s = np.ascontiguousarray(data["x"][:rows]), data["y"], data["b"], float(data["s"][0])
    out = np.empty((rows, 1), case.dtype)

    def call():
        run(x, y, b, s, out)
        return out
    return [("kernel", call)]
