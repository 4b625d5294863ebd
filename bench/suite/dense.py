"""Each case as array operations on some rows and all columns: NumPy, JAX and PyTorch share this text, and NumPy in
float64 by differences is what every system's error is measured against."""
from __future__ import annotations

from typing import Any

from . import cases

Namespace = Any  # exp, sqrt, maximum0, argmin, smallest, logsumexp, softmax


def sqdist(m: Namespace, x: Any, y: Any, expanded: bool) -> Any:
    if expanded:
        return m.maximum0((x * x).sum(-1)[:, None] + (y * y).sum(-1)[None, :] - 2 * (x @ y.T))
    q = 0
    for d in range(x.shape[-1]):
        t = x[:, d, None] - y[None, :, d]
        q = q + t * t
    return q


def times(weights: Any, b: Any, expanded: bool) -> Any:
    """weights @ b; one column by a product and a sum, which compilers fuse with what made the weights."""
    if expanded or b.shape[1] > 1:
        return weights @ b
    return (weights * b[:, 0]).sum(-1)[:, None]


def rows(m: Namespace, case: cases.Case, a: dict[str, Any], expanded: bool) -> Any:
    """The result for the rows in a["x"] (and e, v, pi)."""
    name, x, y, s = case.family.name, a["x"], a["y"], a.get("s")
    q = sqdist(m, x, y, expanded)
    if name in ("gauss", "batch", "block", "solve"):
        return times(m.exp(-q / s), a["b"], expanded)
    if name == "g1":
        return times(m.exp(-2 * q), a["b"], expanded)
    if name == "l1":
        return times(m.exp(-m.sqrt(q)), a["b"], expanded)
    if name == "lse1":
        return m.logsumexp(a["b"][:, 0] - q)
    if name == "laplace":
        return times(m.exp(-m.sqrt(q / s)), a["b"], expanded)
    if name == "matern52":
        r = m.sqrt(5 * q / s)
        return times((1 + r + r * r / 3) * m.exp(-r), a["b"], expanded)
    if name == "energy":
        return times(m.sqrt(q), a["b"], expanded)
    if name == "logsumexp":
        return m.logsumexp(-q / s)
    if name == "sinkhorn":
        return -s * m.logsumexp((a["g"][:, 0] - q / 2) / s + a["l"][:, 0])
    if name == "softmax":
        return m.softmax(-q / s) @ a["b"]
    if case.k:
        return m.argmin(q) if case.k == 1 else m.smallest(q, case.k)
    kernel = m.exp(-q / s)
    if name == "gradient":
        w = kernel * a["b"][:, 0]
        return -2 / s * a["e"] * (x * w.sum(-1)[:, None] - w @ y)
    if name == "hessian":
        w = kernel * a["b"][:, 0]
        u = w * ((x * a["v"]).sum(-1)[:, None] - a["v"] @ y.T)
        change = 4 / (s * s) * (x * u.sum(-1)[:, None] - u @ y)
        return a["e"] * (change - 2 / s * a["v"] * w.sum(-1)[:, None])
    if name == "lddmm":
        w = kernel * (a["pi"] @ a["p"].T)
        return m.join([kernel @ a["p"], 2 / s * (x * w.sum(-1)[:, None] - w @ y)])
    raise KeyError(name)
