"""pykeops on the CPU, Genred on NumPy arrays, default flags."""
from __future__ import annotations

import contextlib
import io

import numpy as np

from .. import cases
from . import Form

with contextlib.redirect_stdout(io.StringIO()):
    import pykeops
    from pykeops.numpy import Genred, KernelSolve

pykeops.set_verbose(False)
SQ = "SqDist(x,y)"
GAUSS = f"Exp(-g*{SQ})"
FORMULAS = {
    "gauss": (f"{GAUSS}*b", "Sum"), "batch": (f"{GAUSS}*b", "Sum"), "block": (f"{GAUSS}*b", "Sum"),
    "solve": (f"{GAUSS}*b", "Sum"),
    "laplace": (f"Exp(-Sqrt(g*{SQ}))*b", "Sum"),
    "matern52": (f"(IntCst(1)+Sqrt(IntCst(5)*g*{SQ})+IntCst(5)*g*{SQ}/IntCst(3))*Exp(-Sqrt(IntCst(5)*g*{SQ}))*b",
                 "Sum"),
    "energy": (f"Sqrt({SQ})*b", "Sum"),
    "logsumexp": (f"-g*{SQ}", "LogSumExp"),
    "softmax": (f"-g*{SQ}", "SumSoftMaxWeight"),
    "argmin": (SQ, "ArgMin"), "argkmin": (SQ, "ArgKMin"), "argkmin100": (SQ, "ArgKMin"),
    "gradient": (f"Grad({GAUSS}*b,x,e)", "Sum"),
    "sinkhorn": (f"g*(h-{SQ}/IntCst(2))+l", "LogSumExp"),
    "hessian": ("", "Sum"), "lddmm": ("", "Sum"),
}


def _formula(case: cases.Case) -> tuple[str, list[str], str]:
    family, d = case.family.name, case.d
    formula, reduction = FORMULAS[family]
    aliases = [f"x=Vi({d})", f"y=Vj({d})"]
    if family not in ("energy", "argmin", "argkmin", "argkmin100"):
        aliases.append("g=Pm(1)")
    if "b" in case.family.inputs.split(":")[0] or " b:" in case.family.inputs:
        aliases.append(f"b=Vj({case.e})")
    if family == "gradient":
        aliases.append("e=Vi(1)")
    if family == "hessian":
        aliases += ["e=Vi(1)", f"v=Vi({d})"]
        formula = f"Grad((Grad({GAUSS}*b,x,e)|v),x,IntCst(1))"
    if family == "lddmm":
        aliases += [f"pi=Vi({d})", f"p=Vj({d})"]
        formula = f"Concat({GAUSS}*p,-Grad({GAUSS}*(pi|p),x,IntCst(1)))"
    if family == "sinkhorn":
        aliases += ["h=Vj(1)", "l=Vj(1)"]
    return formula, aliases, reduction


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    family = case.family.name
    if family not in FORMULAS or case.kind == "f16" or (family == "softmax" and case.e > 100) or case.d > 784:
        return []
    formula, aliases, reduction = _formula(case)
    inverse = np.array([1 / data["s"][0]], case.dtype)
    known = {**data, "g": inverse, "h": data["g"]}
    placed = ("x", "e", "v", "pi")
    names = [alias.split("=")[0] for alias in aliases]
    values = [known[n][:rows] if n in placed and case.family.rows else known[n] for n in names]
    if case.batches > 1:
        values = [v[None] if n == "g" else v for n, v in zip(names, values, strict=True)]
    if family == "solve":
        solver = KernelSolve(formula, aliases, "b", axis=1)
        return [("KernelSolve", lambda: solver(*values, alpha=cases.ALPHA, eps=cases.TOLERANCE, backend="CPU"))]
    more = {"formula2": "b"} if family == "softmax" else {"opt_arg": case.k} if case.k > 1 else {}
    function = Genred(formula, aliases, reduction_op=reduction, axis=1, **more)
    options = {"backend": "CPU"}
    if family == "block":
        options["ranges"] = tuple(a.astype(np.int32) for a in cases.ranges(data))
    if family == "sinkhorn":
        return [("Genred", lambda: -data["s"][0] * function(*values, **options))]
    return [("Genred", lambda: function(*values, **options))]
