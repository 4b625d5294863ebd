"""NumPy: matrices of kernel values, chunk by chunk, the fastest of a few chunk sizes."""
from __future__ import annotations

import numpy as np

from .. import cases, dense, reference
from . import Form, part


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    if case.family.derive or case.family.name in ("block", "solve", "ham"):
        return []
    wide = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in data.items()}

    def run(expanded: bool, chunk: int):
        if case.batches > 1:
            return np.stack([dense.rows(reference.NumPy, case, {**wide, **{k: wide[k][n] for k in "xyb"}}, expanded)
                             for n in range(case.batches)])
        out = []
        for first in range(0, rows, chunk):
            end = min(first + chunk, rows)
            ahead = {k: v[first:] if k in ("x", "e", "v", "pi") else v for k, v in wide.items()}
            out.append(dense.rows(reference.NumPy, case, part(ahead, end - first), expanded))
        return np.concatenate(out)
    found = []
    for expanded in (False, True) if case.d <= 10 else (True,):
        for budget in (1 << 20, 1 << 25):
            chunk = max(1, budget // (4 * case.n))
            found.append((f"{'expanded' if expanded else 'differences'}, chunks of {chunk}",
                          lambda expanded=expanded, chunk=chunk: run(expanded, chunk)))
    return found
