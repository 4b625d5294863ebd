"""JAX (XLA on CPU): jitted, chunks of rows by lax.map, differences or the expanded form, the fastest of a few."""
from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .. import cases, dense
from . import Form

jax.config.update("jax_enable_x64", True)


class Namespace:
    exp, sqrt = staticmethod(jnp.exp), staticmethod(jnp.sqrt)

    @staticmethod
    def maximum0(a):
        return jnp.maximum(a, 0)

    @staticmethod
    def argmin(q):
        return jnp.argmin(q, -1)[:, None]

    @staticmethod
    def smallest(q, k):
        return jax.lax.top_k(-q, k)[1]

    @staticmethod
    def logsumexp(t):
        return jax.scipy.special.logsumexp(t, -1, keepdims=True)

    @staticmethod
    def softmax(t):
        return jax.nn.softmax(t, -1)

    @staticmethod
    def join(parts):
        return jnp.concatenate(parts, -1)


def _widen(a: Any) -> Any:
    return a.astype(jnp.float32) if a.dtype == jnp.float16 else a


def _mapped(case: cases.Case, expanded: bool, chunk: int, rows: int):
    """A function of the arrays: chunks of rows one after the other (each is spread over the cores), the rest at the
    end."""
    placed = ("x", "e", "v", "pi")

    def compute(a):
        a = {k: _widen(v) for k, v in a.items()}
        here = {k: v for k, v in a.items() if k in placed}
        rest = {k: v for k, v in a.items() if k not in placed}
        whole = rows // chunk * chunk
        out = []
        if whole:
            pieces = {k: v[:whole].reshape(-1, chunk, v.shape[-1]) for k, v in here.items()}
            done = jax.lax.map(lambda piece: dense.rows(Namespace, case, {**rest, **piece}, expanded), pieces)
            out.append(done.reshape(whole, -1))
        if whole < rows:
            out.append(dense.rows(Namespace, case, {**rest, **{k: v[whole:] for k, v in here.items()}}, expanded))
        return jnp.concatenate(out) if len(out) > 1 else out[0]
    return jax.jit(compute)


def _gradient(case: cases.Case):
    """Reverse mode of the whole matrix."""
    wanted = case.family.derive.split()
    name = case.family.name.removesuffix("-all")

    def value(free, fixed, expanded):
        a = {**fixed, **free}
        if name == "ham":
            q = dense.sqdist(Namespace, a["x"], a["y"], expanded)
            return jnp.sum(jnp.exp(-2 * q) * (a["pi"] @ a["p"].T))
        return dense.rows(Namespace, cases.parse(f"{name}/{case.name.split('/', 1)[1]}"), a, expanded).sum()

    def gradient(a, expanded):
        found = jax.grad(value)({k: a[k] for k in wanted}, {k: v for k, v in a.items() if k not in wanted}, expanded)
        return [found[k] for k in wanted]
    return jax.jit(gradient, static_argnums=1)


def _solve(case: cases.Case, a: dict, expanded: bool, chunk: int):
    product = _mapped(case, expanded, chunk, case.m)
    bound = cases.TOLERANCE * float(np.sqrt(case.m * case.e))

    @jax.jit
    def solve(a):
        return jax.scipy.sparse.linalg.cg(lambda v: product({**a, "b": v}) + cases.ALPHA * v, a["b"], tol=0.0,
                                          atol=bound)[0]
    return lambda: solve(a).block_until_ready()


def _block(case: cases.Case, data: cases.Arrays, a: dict):
    """Clusters padded to the largest, columns gathered cluster by cluster."""
    starts, blocks = data["starts"], data["blocks"]
    size = int(np.diff(starts).max())
    where = np.minimum(starts[:-1, None] + np.arange(size), case.m - 1)
    weight = (np.arange(size) < np.diff(starts)[:, None]).astype(case.dtype)
    back = np.concatenate([c * size + np.arange(starts[c + 1] - starts[c]) for c in range(len(blocks))])

    @jax.jit
    def run(a, where, weight, blocks, back):
        def cluster(pair):
            rows, others = pair
            columns = where[others].reshape(-1)
            b = a["b"][columns] * weight[others].reshape(-1)[:, None]
            return dense.rows(Namespace, case, {"x": a["x"][rows], "y": a["y"][columns], "b": b, "s": a["s"]}, False)
        return jax.lax.map(cluster, (where, blocks)).reshape(-1, case.e)[back]
    fixed = [jnp.asarray(v) for v in (where, weight, blocks, back)]
    return lambda: run(a, *fixed).block_until_ready()


def forms(name: str, case: cases.Case, data: cases.Arrays, rows: int) -> list[Form]:
    placed = ("x", "e", "v", "pi")
    names = [t.split(":")[0] for t in case.family.inputs.split()]
    a = {k: jnp.asarray(data[k][:rows] if k in placed and case.family.rows else data[k]) for k in names}
    both = (False, True) if case.d <= 10 else (True,)
    say = {False: "differences", True: "expanded"}
    if case.family.name == "ham":
        return []
    if case.family.derive:
        if case.m * case.n > 3e7:
            return []
        gradient = _gradient(case)
        return [(say[x], lambda x=x: [v.block_until_ready() for v in gradient(a, x)]) for x in both]
    if case.family.name == "block":
        return [("gathered clusters", _block(case, data, a))]
    if case.batches > 1:
        single = {k: (0 if k in "xyb" else None) for k in a}
        out = []
        for x in both:
            f = jax.jit(lambda a, x=x: jax.lax.map(
                lambda p: dense.rows(Namespace, case, {**a, **p}, x), {k: a[k] for k in single if single[k] == 0}))
            g = jax.jit(jax.vmap(lambda a, x=x: dense.rows(Namespace, case, a, x), in_axes=(single,)))
            out += [(f"{say[x]}, map", lambda f=f: f(a).block_until_ready()),
                    (f"{say[x]}, vmap", lambda g=g: g(a).block_until_ready())]
        return out
    out = []
    for x in both:
        for budget in (1 << 22, 1 << 26):
            chunk = max(1, min(rows, budget // (4 * case.n)))
            how = f"{say[x]}, chunks of {chunk}"
            if case.family.result == "solution":
                # XLA moves the kernel values out of the loop where they fit into memory, and stores the matrix.
                out.append((f"conjugate gradients, {how}, matrix stored if it fits", _solve(case, a, x, chunk)))
                continue
            f = _mapped(case, x, chunk, rows)
            out.append((how, lambda f=f: f(a).block_until_ready()))
    return out
