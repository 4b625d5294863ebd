"""Sets of cases: what make bench runs, what acceptance asks, what the plots need."""
from __future__ import annotations

USUAL = ("benben", "interp", "hand", "plain", "numpy", "numba", "jax", "torch", "pykeops", "faiss", "sklearn",
         "ckdtree", "scipy")
ALL = (*USUAL, "compile", "taichi")
OWN = ("benben",)
NO_KEOPS = tuple(name for name in USUAL if name != "pykeops")
Member = tuple[str, tuple[str, ...] | None]

_HAND = [*(f"gauss/f32/1e4x1e4x{d}" for d in (1, 3, 10, 50, 100)), "gauss/f32/1e4x1e4x3x10", "gauss/f32/1e4x1e4x3x100",
         *(f"gauss/f64/1e4x1e4x{d}" for d in (3, 10, 100)), "argkmin/f32/1e4x1e5x3", "argkmin/f32/1e4x1e4x50",
         "argkmin/f32/1e4x1e4x100", "argkmin/f32/4e3x1e4x784", "argmin/f32/1e4x1e4x3", "logsumexp/f32/1e4x1e4x3"]
_FORMULAS = ["laplace/f32/1e4x1e4x3", "matern52/f32/1e4x1e4x3", "energy/f32/1e4x1e4x3", "softmax/f32/1e4x1e4x3x3",
             "gradient/f32/1e4x1e4x3", "hessian/f32/1e4x1e4x3", "lddmm/f32/1e4x1e4x3", "sinkhorn/f32/1e4x1e4x3",
             "batch/f32/500x500x3", "block/f32/2e4x2e4x3", "solve/f32/5e3x5e3x3"]
_GRADIENTS = [f"{name}/f32/4e3x4e3x3" for one in ("g1", "l1", "lse1", "ham") for name in (one, f"{one}-all")]
_FLAT = ["gauss/f32/1e3x1e3x3", "gauss/f32/3e3x3e3x3", "gauss/f32/3e4x3e4x3", "gauss/f32/1e5x1e5x3",
         "gauss/f32/1e4x1e6x3", "energy/f32/1e3x1e3x3", "energy/f32/3e4x3e4x3", "energy/f32/1e5x1e5x3",
         "energy/f32/1e4x1e6x3", "argkmin/f32/1e3x1e3x3", "argkmin/f32/1e4x1e4x3", "argkmin/f32/1e4x1e6x3"]
_KEOPS = {"gauss/f32/1e4x1e4x3", "gauss/f32/1e4x1e4x100", "argkmin/f32/4e3x1e4x784", "gradient/f32/1e4x1e4x3",
          "block/f32/2e4x2e4x3", "solve/f32/5e3x5e3x3", "laplace/f32/1e4x1e4x3", "energy/f32/1e4x1e4x3",
          "logsumexp/f32/1e4x1e4x3", "argkmin/f32/1e4x1e5x3", "batch/f32/500x500x3"}
_COMPILED = {"gauss/f32/1e4x1e4x3", "energy/f32/1e4x1e4x3", "laplace/f32/1e4x1e4x3"}


def _with_peers(names: list[str]) -> list[Member]:
    return [(n, ALL if n in _COMPILED else USUAL if n in _KEOPS else NO_KEOPS) for n in names]


SETS: dict[str, list[Member]] = {
    "quick": _with_peers(["gauss/f32/1e4x1e4x3", "gauss/f32/1e4x1e4x100", "gauss/f32/1e4x1e4x3x100",
                          "gauss/f64/1e4x1e4x3", "argkmin/f32/1e4x1e5x3", "argkmin/f32/1e4x1e4x100",
                          "logsumexp/f32/1e4x1e4x3", "energy/f32/1e4x1e4x3", "gradient/f32/1e4x1e4x3",
                          "block/f32/2e4x2e4x3"]),
    "acceptance": [*_with_peers(_HAND + _FORMULAS), *((n, ("benben", "jax")) for n in _GRADIENTS),
                   *((n, OWN) for n in _FLAT)],
    "more": [(n, NO_KEOPS) for n in (
        *(f"gauss/{t}/1e4x1e4x{d}" for t in ("f16", "f64") for d in (1, 3, 50)), "gauss/f16/1e4x1e4x3x10",
        "gauss/f32/1e4x1e4x784", "gauss/f32/1e4x1e4x100x10", "gauss/f64/1e4x1e4x3x10",
        *(f"laplace/f32/1e4x1e4x{d}" for d in (1, 10, 100)), "laplace/f64/1e4x1e4x3",
        *(f"energy/f32/1e4x1e4x{d}" for d in (1, 10, 100)), "energy/f64/1e4x1e4x3", "matern52/f32/1e4x1e4x10",
        *(f"logsumexp/f32/1e4x1e4x{d}" for d in (1, 10, 100)), "logsumexp/f64/1e4x1e4x3",
        "argmin/f32/1e4x1e4x10", "argmin/f32/1e4x1e4x100", "argmin/f64/1e4x1e4x3", "argkmin100/f32/1e4x1e4x3",
        "argkmin100/f32/1e4x1e4x100", "argkmin/f32/1e4x1e4x10", "gradient/f32/1e4x1e4x10",
        "gradient/f32/1e4x1e4x100", "gradient/f64/1e4x1e4x3", "hessian/f32/1e4x1e4x10", "softmax/f32/1e4x1e4x3x100",
        "sinkhorn/f32/1e4x1e4x2", "gauss/f32/1e2x1e2x3", "gauss/f32/1e1x1e6x3", "gauss/f32/1e6x1e1x3")],
    "against-n": [(f"gauss/f32/{m}x{n}x3", ("benben", "interp", "jax", "plain", "pykeops")) for m, n in (
        ("1e2", "1e2"), ("1e3", "1e3"), ("3e3", "3e3"), ("1e4", "1e4"), ("3e4", "3e4"), ("1e5", "1e5"),
        ("1e4", "1e6"))],
    "against-d": [(f"gauss/f32/4e3x4e3x{d}", ("benben", "interp", "hand", "jax", "plain"))
                  for d in (1, 2, 3, 5, 10, 20, 50, 100, 200, 400, 784)],
    "figure-gauss": [(f"gauss/f32/{n}x{n}x3", ("benben", "numpy", "torch", "pykeops"))
                     for n in ("1e2", "1e3", "3e3", "1e4", "3e4", "1e5", "3e5", "1e6")],
    "figure-knn": [(f"argkmin/f32/{n}x{n}x50", ("benben", "faiss")) for n in ("1e3", "1e4", "1e5", "1e6")],
    "figure-solve": [(f"solve/f32/{n}x{n}x3", ("benben", "scipy", "pykeops"))
                     for n in ("1e2", "3e2", "1e3", "3e3", "1e4")],
}
