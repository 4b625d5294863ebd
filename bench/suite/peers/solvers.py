"""SciPy: the dense matrix and its Cholesky factors, in the type of the case."""
from __future__ import annotations

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from .. import cases, dense, reference
from . import Form


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    if case.family.name != "solve" or case.kind == "f16" or case.m > 1e4:
        return []

    def run():
        matrix = np.exp(-dense.sqdist(reference.NumPy, data["x"], data["y"], True) / data["s"])
        matrix[np.diag_indices(case.m)] += cases.ALPHA
        return cho_solve(cho_factor(matrix, overwrite_a=True, check_finite=False), data["b"], check_finite=False)
    return [("dense Cholesky", run)]
