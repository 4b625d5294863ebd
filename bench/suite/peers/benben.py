"""Benben through ctypes: compiled (benben) and interpreted (interp); described arrays and outputs are made once."""
from __future__ import annotations

import ctypes
import pathlib
import sys

import numpy as np

from .. import cases
from . import Form, part

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tests" / "python"))
import bb  # noqa: E402


def kernel_of(case: cases.Case, target: str, policy: str) -> tuple[bb.Program, bb.Kernel, list[str]]:
    program = bb.parse(case.family.formula, *case.declarations())
    if case.family.derive:
        program = program.grad(case.family.derive.split())
    return program, program.compile(target, policy), [name for name, _, _ in program.variables]


def values(case: cases.Case, program: bb.Program, names: list[str], data: cases.Arrays) -> list[np.ndarray]:
    """The arrays of the signature; the cotangent of a gradient is 1."""
    out = []
    for (_, place, dim), name in zip(program.variables, names, strict=True):
        if name in data:
            out.append(data[name])
        else:
            count = {"i": case.m, "j": case.n}.get(place)
            out.append(np.ones((count, dim) if count else dim, case.dtype))
    return out


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    target, policy = ("interp", "auto") if name == "interp" else ("cpu", "wait")
    program, kernel, names = kernel_of(case, target, policy)
    inputs = values(case, program, names, part(data, rows) if case.family.rows else data)
    if case.family.result == "solution":
        position = names.index("b")

        def solve():
            return kernel.solve(inputs, position, alpha=cases.ALPHA, tolerance=cases.TOLERANCE)[0]
        return [("conjugate gradients", solve)]
    described = bb.arrays(inputs)
    options = bb.run_options(ranges=cases.ranges(data) if case.family.name == "block" else None)
    out = [np.empty(kernel.shape(described, k, options), np.int64 if is_index else case.dtype)
           for k, (_, _, is_index) in enumerate(program.outputs)]
    outputs, handle, reference = bb.arrays(out), kernel.handle, ctypes.byref(options)

    def run():
        status = bb.lib.bb_run(handle, described, len(inputs), outputs, len(out), reference)
        if status:
            bb.check(status)
        if len(out) == 1:
            return out[0]
        return np.concatenate(out, -1) if case.family.name == "lddmm" else out
    run.keep = (program, kernel, inputs)
    return [("compiled" if target == "cpu" else "interpreted", run)]
