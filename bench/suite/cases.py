"""The cases: names, formulas, data, and the least number of vector operations a pair can cost."""
from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np

Arrays = dict[str, np.ndarray]
SQDIST = "sqdist(x, y)"
GAUSS = f"exp(-{SQDIST} / s)"
SCALED = f"exp(-2 * {SQDIST})"
MATERN = f"(1 + sqrt(5 * {SQDIST} / s) + 5 / 3 * {SQDIST} / s) * exp(-sqrt(5 * {SQDIST} / s))"


@dataclass(frozen=True)
class Family:
    """A formula. inputs: its variables in order, with place and dimension; result: what an output is."""
    name: str
    formula: str
    inputs: str
    result: str = "value"  # value, index, solution
    derive: str = ""       # variables of the gradient: "" for none
    rows: bool = True      # some rows can be computed without the others
    title: str = ""


FAMILIES = {f.name: f for f in [
    Family("gauss", f"sum_j({GAUSS} * b)", "x:iD y:jD b:jE s:p1", title="Gaussian"),
    Family("laplace", f"sum_j(exp(-sqrt({SQDIST} / s)) * b)", "x:iD y:jD b:jE s:p1", title="Laplacian"),
    Family("matern52", f"sum_j({MATERN} * b)", "x:iD y:jD b:jE s:p1", title="Matérn-5/2"),
    Family("energy", f"sum_j(sqrt({SQDIST}) * b)", "x:iD y:jD b:jE", title="energy distance"),
    Family("logsumexp", f"logsumexp_j(-{SQDIST} / s)", "x:iD y:jD s:p1", title="log-sum-exp"),
    Family("softmax", f"sumsoftmaxweight_j(-{SQDIST} / s, b)", "x:iD y:jD b:jE s:p1", title="softmax-weighted sum"),
    Family("argmin", f"argmin_j({SQDIST})", "x:iD y:jD", "index", title="nearest"),
    Family("argkmin", f"argkmin_j({SQDIST}, 10)", "x:iD y:jD", "index", title="10 nearest"),
    Family("argkmin100", f"argkmin_j({SQDIST}, 100)", "x:iD y:jD", "index", title="100 nearest"),
    Family("gradient", f"grad(sum_j({GAUSS} * b), x, e)", "x:iD y:jD b:j1 s:p1 e:i1", title="gradient of Gaussian"),
    Family("hessian", f"diff(grad(sum_j({GAUSS} * b), x, e), x, v)", "x:iD y:jD b:j1 s:p1 e:i1 v:iD",
           title="Hessian-vector product"),
    Family("lddmm", f"sum_j({GAUSS} * p); 0 - grad(sum_j({GAUSS} * (pi | p)), x, 1)", "x:iD y:jD pi:iD p:jD s:p1",
           title="LDDMM step"),
    Family("sinkhorn", f"-1 * s * logsumexp_j((g - {SQDIST} / 2) / s + l)", "x:iD y:jD g:j1 l:j1 s:p1",
           title="Sinkhorn step"),
    Family("batch", f"sum_j({GAUSS} * b)", "x:iD y:jD b:jE s:p1", rows=False, title="100 batches, Gaussian"),
    Family("block", f"sum_j({GAUSS} * b)", "x:iD y:jD b:jE s:p1", rows=False, title="block-sparse 20 %, Gaussian"),
    Family("solve", f"sum_j({GAUSS} * b)", "x:iD y:jD b:jE s:p1", "solution", rows=False, title="kernel solve"),
    # A formula and its gradient with respect to all inputs, the cotangent being 1.
    Family("g1", f"sum_j({SCALED} * b)", "x:iD y:jD b:j1", title="Gaussian (constant scale)"),
    Family("g1-all", f"sum_j({SCALED} * b)", "x:iD y:jD b:j1", derive="x y b", rows=False,
           title="its gradient, all inputs"),
    Family("l1", f"sum_j(exp(-sqrt({SQDIST})) * b)", "x:iD y:jD b:j1", title="Laplacian (constant scale)"),
    Family("l1-all", f"sum_j(exp(-sqrt({SQDIST})) * b)", "x:iD y:jD b:j1", derive="x y b", rows=False,
           title="its gradient, all inputs"),
    Family("lse1", f"logsumexp_j(b - {SQDIST})", "x:iD y:jD b:j1", title="log-sum-exp with weights"),
    Family("lse1-all", f"logsumexp_j(b - {SQDIST})", "x:iD y:jD b:j1", derive="x y b", rows=False,
           title="its gradient, all inputs"),
    Family("ham", f"sum_i(sum_j({SCALED} * (pi | p)))", "x:iD y:jD pi:iD p:jD", rows=False,
           title="LDDMM Hamiltonian"),
    Family("ham-all", f"sum_i(sum_j({SCALED} * (pi | p)))", "x:iD y:jD pi:iD p:jD", derive="x y pi p", rows=False,
           title="its gradient, all inputs"),
]}
TYPES = {"f16": np.float16, "f32": np.float32, "f64": np.float64}
BATCHES, CLUSTERS, CLUSTERS_EACH, ALPHA, TOLERANCE = 100, 100, 20, 1.0, 1e-4


@dataclass(frozen=True)
class Case:
    name: str
    family: Family
    kind: str
    m: int
    n: int
    d: int
    e: int = 1
    peers: tuple[str, ...] = field(default=(), compare=False)

    @property
    def dtype(self) -> type:
        return TYPES[self.kind]

    @property
    def k(self) -> int:
        return {"argmin": 1, "argkmin": 10, "argkmin100": 100}.get(self.family.name, 0)

    @property
    def batches(self) -> int:
        return BATCHES if self.family.name == "batch" else 1

    @property
    def pairs(self) -> float:
        share = CLUSTERS_EACH / CLUSTERS if self.family.name == "block" else 1
        return self.batches * self.m * self.n * share

    def declarations(self) -> list[str]:
        return [t.replace("D", str(self.d)).replace("E", str(self.e)) for t in self.family.inputs.split()]

    @property
    def operations(self) -> int:
        """The least number of vector operations a pair: see slots."""
        return slots(self)


def slots(case: Case) -> int:
    """Operations of the vector arithmetic units for one vector of pairs, as few as any schedule known to us needs.

    A squared distance: 2 D by differences, D + 1 expanded. 2^t (2 ulp, 0 below, infinity above, NaN kept): reduction 2,
    table 2, polynomial 3 (7 in double), test and scaling 3. A square root: estimate and Newton steps 7 (11).
    """
    double, d, e = case.kind == "f64", case.d, case.e
    distance, exp, root = min(2 * d, d + 1), 14 if double else 10, 11 if double else 7
    name = case.family.name.removesuffix("-all")
    weight = {"gauss": exp, "g1": exp, "laplace": root + exp, "l1": root + exp, "matern52": root + exp + 3,
              "energy": root, "batch": exp, "block": exp, "solve": exp}
    if name in weight:
        forward = distance + weight[name] + e
    elif case.k:
        forward = distance + 1
    else:
        forward = distance + {"logsumexp": exp + 3, "lse1": exp + 4, "sinkhorn": exp + 4, "softmax": exp + 3 + e,
                              "gradient": exp + d + 2, "hessian": exp + 2 * d + 4, "lddmm": exp + 3 * d + 2,
                              "ham": exp + d + 1}[name]
    return forward + (2 * d + 4 if case.family.derive else 0)


def parse(name: str) -> Case:
    """gauss/f32/1e4x1e4x3 or, with E columns, gauss/f32/1e4x1e4x3x100."""
    parts = name.split("/")
    number = r"(\d+(?:e\d+)?)"
    sizes = re.fullmatch(f"{number}x{number}x{number}(?:x{number})?", parts[-1]) if len(parts) == 3 else None
    if not sizes or parts[0] not in FAMILIES or parts[1] not in TYPES:
        raise SystemExit(f"'{name}' is no case: expected FAMILY/TYPE/MxNxD or MxNxDxE, such as gauss/f32/1e4x1e4x3; "
                         f"families: {' '.join(FAMILIES)}; types: {' '.join(TYPES)}")
    m, n, d, e = (int(float(v or 1)) for v in sizes.groups())
    return Case(name, FAMILIES[parts[0]], parts[1], m, n, d, e)


def make(case: Case) -> Arrays:
    """Points uniform in a cube whose diagonal does not depend on D, weights normal; 's' is the scale 1/2."""
    random = np.random.default_rng(case.d * 7919 + case.m)
    name, width = case.family.name, 1.7 / np.sqrt(case.d)
    front = (case.batches,) if case.batches > 1 else ()

    def points(rows: int) -> np.ndarray:
        return random.random((*front, rows, case.d)) * width
    data = {"x": points(case.m), "y": points(case.n), "b": random.standard_normal((*front, case.n, case.e)),
            "e": random.standard_normal((case.m, 1)), "v": random.standard_normal((case.m, case.d)),
            "g": random.standard_normal((case.n, 1)), "l": np.full((case.n, 1), -np.log(case.n)),
            "p": random.standard_normal((case.n, case.d)), "s": np.array([0.5])}
    if name in ("lddmm", "solve", "ham", "ham-all"):
        data["y"] = data["x"]
    data["pi"] = data["p"] if case.m == case.n else random.standard_normal((case.m, case.d))
    if name == "solve":
        data["s"] = np.array([0.05])
    out = {key: np.ascontiguousarray(value, case.dtype) for key, value in data.items()}
    if name == "block":  # clusters of unequal sizes, each meets a fifth of them
        cuts = np.sort(random.choice(np.arange(1, case.m), CLUSTERS - 1, replace=False))
        even = np.linspace(0, case.m, CLUSTERS + 1)[1:-1]
        out["starts"] = np.r_[0, np.sort((cuts + 3 * even) // 4), case.m].astype(np.int64)
        out["blocks"] = np.sort([random.choice(CLUSTERS, CLUSTERS_EACH, replace=False) for _ in range(CLUSTERS)])
    return out


def ranges(data: Arrays) -> tuple[np.ndarray, ...]:
    """KeOps's six arrays of a block case."""
    starts, blocks = data["starts"], data["blocks"]
    rows = np.stack([starts[:-1], starts[1:]], 1)
    mask = np.zeros((CLUSTERS, CLUSTERS), bool)
    for cluster, others in enumerate(blocks):
        mask[cluster, others] = True
    both = []
    for matrix in (mask, mask.T):
        both += [rows, np.cumsum(matrix.sum(1)), np.concatenate([rows[line] for line in matrix])]
    return tuple(np.ascontiguousarray(a, np.int64) for a in both)
