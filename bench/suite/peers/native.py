"""C: the plain loops (loops.c) and the kernels written by hand (hand/), the fastest of a few shapes."""
from __future__ import annotations

import ctypes

import numpy as np

from .. import cases, native
from . import Form, part

I64 = ctypes.c_int64


class _Arrays(ctypes.Structure):
    _fields_ = [(name, ctypes.c_void_p) for name in ("x", "y", "b", "e", "v", "p", "pi", "g", "l", "starts", "blocks")]


def _plain(case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    family = case.family.name
    if case.family.derive or case.kind == "f16" or family in ("g1", "l1", "lse1", "ham", "solve"):
        return []
    known = {"batch": "gauss", "block": "gauss", "argkmin100": "argkmin"}
    real = "double" if case.kind == "f64" else "float"
    library = native.library("loops.c", "-ffast-math", f"-DREAL={real}", f"-DD={case.d}", f"-DE={case.e}",
                             f"-DK={case.k}", f"-DCASE_{known.get(family, family)}")
    used = part(data, rows) if case.family.rows else data
    arrays = _Arrays(*(used[n].ctypes.data if n in used else None for n, _ in _Arrays._fields_))
    width = {"gradient": case.d, "hessian": case.d, "lddmm": 2 * case.d, "logsumexp": 1, "sinkhorn": 1}
    out = np.empty((case.batches, rows, width.get(family, case.e)), case.dtype)
    index = np.empty((rows, max(case.k, 1)), np.int64)
    block = family == "block"
    library.loops.argtypes = [ctypes.c_void_p, I64, I64, I64, I64, I64, ctypes.c_double, ctypes.c_void_p,
                              ctypes.c_void_p]
    numbers = (case.batches, rows, case.n, cases.CLUSTERS if block else 0, cases.CLUSTERS_EACH)

    def run():
        library.loops(ctypes.addressof(arrays), *numbers, float(used["s"][0]), out.ctypes.data, index.ctypes.data)
        return index if case.k else out if case.batches > 1 else out[0]
    run.keep = (used, arrays)
    return [("loops", run)]


def _shapes(case: cases.Case) -> tuple[str, list[list[str]]]:
    """The source and the sets of flags worth trying."""
    family, d, double = case.family.name, case.d, case.kind == "f64"
    widths = [flag for flag in (32, 64) if flag == 32 or "avx512f" in _flags()]
    tiles = {32: [(2, 4), (2, 6), (3, 4), (2, 12)], 64: [(2, 4), (2, 8), (2, 12), (3, 8), (4, 6)]}
    out = []
    expanded = [0, 1] if 3 < d <= 10 else [int(d > 10)]
    for width in widths:
        for form in expanded:
            base = [f"-DVB={width}", f"-DEXPANDED={form}"]
            if family == "gauss" and case.e > 1:
                panels = ((2, 5), (2, 10)) if width == 64 else ((2, 5),)
                out += [[*base, "-DSHAPE=3", f"-DNI={ni}", "-DNJ=2", f"-DNE={ne}"] for ni, ne in panels]
            elif family == "gauss" and d <= 10:
                near = ((4, 1), (2, 2)) if double else ((2, 2), (2, 4), (4, 2))
                out += [[*base, "-DSHAPE=1", f"-DNI={ni}", f"-DNJ={nj}"] for ni, nj in near]
            elif family == "logsumexp":
                out += [[*base, f"-DNI={ni}", f"-DNJ={nj}"] for ni, nj in ((2, 2), (2, 4), (4, 2))]
            else:
                shape = ["-DSHAPE=2"] if family == "gauss" else []
                out += [[*base, *shape, f"-DNI={ni}", f"-DNJ={nj}"] for ni, nj in tiles[width]]
    source = {"gauss": "gauss.c", "logsumexp": "logsumexp.c"}.get(family, "select.c")
    more = ["-std=gnu11", f"-DD={d}", f"-DE={case.e}", f"-DK={max(case.k, 1)}", *(["-DDOUBLE"] if double else [])]
    return f"hand/{source}", [more + flags for flags in out]


def _flags() -> str:
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as info:
            return info.read()
    except OSError:
        return ""


def _hand(case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    if case.family.name not in ("gauss", "logsumexp", "argmin", "argkmin") or case.kind == "f16":
        return []
    if "avx2" not in _flags():
        return []
    source, shapes = _shapes(case)
    x, y, b, s = data["x"][:rows], data["y"], data["b"], float(data["s"][0])
    out = np.empty((rows, case.k), np.int64) if case.k else np.empty((rows, case.e), case.dtype)
    found = []
    for flags in shapes:
        library = native.library(source, *flags)
        arguments = [I64(rows), I64(case.n), native.pointer(x), native.pointer(y)]
        if case.family.name == "gauss":
            function, arguments = library.gauss, [*arguments, native.pointer(b), ctypes.c_double(s)]
        elif case.k:
            function = library.nearest
        else:
            function, arguments = library.logsumexp, [*arguments, ctypes.c_double(s)]
        function.restype = None

        mine = np.empty_like(out)
        arguments.append(native.pointer(mine))

        def run(function=function, arguments=arguments, mine=mine):
            function(*arguments)
            return mine
        run.keep = (x, y, b, library)
        found.append((" ".join(f[2:] for f in flags if f.startswith(("-DVB", "-DNI", "-DNJ", "-DEXP", "-DNE"))), run))
    return found


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    return (_hand if name == "hand" else _plain)(case, data, rows)
