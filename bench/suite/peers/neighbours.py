"""Nearest neighbours: FAISS (flat index), scikit-learn (brute force, and its tree in low dimension), SciPy's cKDTree.
Building an index is not timed."""
from __future__ import annotations

import faiss
from scipy.spatial import cKDTree
from sklearn.neighbors import NearestNeighbors

from .. import cases, machine
from . import Form

faiss.omp_set_num_threads(machine.cores())


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    if not case.k or case.kind == "f16":
        return []
    x, y = data["x"][:rows], data["y"]
    if name == "faiss":
        if case.kind == "f64":
            return []
        index = faiss.IndexFlatL2(case.d)
        index.add(y)
        return [("IndexFlatL2", lambda: index.search(x, case.k)[1])]
    if name == "sklearn":
        finder = NearestNeighbors(n_neighbors=case.k, algorithm="brute", n_jobs=-1).fit(y)
        return [("brute force", lambda: finder.kneighbors(x, return_distance=False))]
    if case.d > 10:
        return []
    tree = cKDTree(y)
    return [("tree, no brute force", lambda: tree.query(x, case.k, workers=-1)[1].reshape(rows, -1))]
