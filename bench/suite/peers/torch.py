"""PyTorch: dense tiles by eager operations (torch), the same text through torch.compile (compile)."""
from __future__ import annotations

import numpy as np
import torch

from .. import cases, dense, machine
from . import Form

torch.set_num_threads(machine.cores())
torch.set_grad_enabled(False)


class Namespace:
    exp, sqrt = staticmethod(torch.exp), staticmethod(torch.sqrt)

    @staticmethod
    def maximum0(a):
        return a.clamp(min=0)

    @staticmethod
    def argmin(q):
        return q.argmin(-1)[:, None]

    @staticmethod
    def smallest(q, k):
        return q.topk(k, -1, largest=False)[1]

    @staticmethod
    def logsumexp(t):
        return torch.logsumexp(t, -1, keepdim=True)

    @staticmethod
    def softmax(t):
        return torch.softmax(t, -1)

    @staticmethod
    def join(parts):
        return torch.cat(parts, -1)


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    if case.family.derive or case.family.name in ("block", "solve", "ham", "batch"):
        return []
    placed = ("x", "e", "v", "pi")
    wide = {k: v.astype(np.float32) if v.dtype == np.float16 else v for k, v in data.items()}
    a = {k: torch.from_numpy(v[:rows] if k in placed else v) for k, v in wide.items() if k in case.family.inputs}
    found = []
    for expanded in ((False, True) if case.d <= 10 else (True,)):
        if name == "compile" and expanded and case.d <= 10:
            continue

        def tile(a, expanded=expanded):
            return dense.rows(Namespace, case, a, expanded)
        function = torch.compile(tile) if name == "compile" else tile
        for budget in ((1 << 25,) if name == "compile" else (1 << 21, 1 << 25)):
            chunk = max(1, min(rows, budget // (4 * case.n)))
            if name == "compile":  # one shape; differences fuse with the sum and store nothing
                chunk = next(c for c in range(chunk, 0, -1) if rows % c == 0) if expanded else rows

            def run(function=function, chunk=chunk):
                out = []
                for first in range(0, rows, chunk):
                    here = {k: v[first:first + chunk] if k in placed else v for k, v in a.items()}
                    out.append(function(here))
                return torch.cat(out).numpy()
            found.append((f"{'expanded' if expanded else 'differences'}, chunks of {chunk}", run))
    return found
