"""The directive `benchmark`: pictures of bench/results/*.json, drawn when the page is built.

`ratios`: the times of other systems over Benben's, a row for each case; `sizes`: time per pair against the number
of pairs; `interpolation`: times of solving systems against their size; `iterations`: against the size as well.
"""
from __future__ import annotations

import json
import os
import pathlib

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

TITLES = {"hand": "by hand", "plain": "plain C", "numpy": "NumPy", "numba": "Numba", "jax": "JAX", "torch": "PyTorch",
          "compile": "torch.compile", "pykeops": "pykeops", "faiss": "FAISS", "sklearn": "scikit-learn",
          "scipy": "SciPy", "taichi": "Taichi"}
SHOWN = ("pykeops", "jax", "torch", "numpy", "numba", "plain", "hand", "faiss", "sklearn")
COLOURS = ("#2f6f9f", "#e0852d", "#4f9d69", "#b5485d", "#7d62a8", "#8c6d4f", "#3fa7a3", "#c7a62c", "#d16ba5")


def results(name: str) -> pathlib.Path:
    return pathlib.Path(os.environ["BENBEN_ROOT"]) / "bench" / "results" / f"{name}.json"


def records(name: str = "acceptance") -> list[dict]:
    return json.loads(results(name).read_text())["records"] if results(name).exists() else []


def time(record: dict, system: str) -> float | None:
    """Of the whole case; where some of its rows were computed the record has the scaled time."""
    return record["systems"].get(system, {}).get("minimum")


def ratios(plot) -> None:
    """plot: matplotlib's axes."""
    cases = [r for r in records() if time(r, "benben") and sum(time(r, s) is not None for s in SHOWN) >= 2]
    for system, colour in zip(SHOWN, COLOURS, strict=True):
        points = [(time(r, system) / time(r, "benben"), k) for k, r in enumerate(cases) if time(r, system)]
        if points:
            plot.scatter(*zip(*points, strict=True), color=colour, s=34, label=TITLES[system], zorder=3)
    plot.axvline(1, color="#1d2733", lw=1.2)
    plot.set(xscale="log", yticks=range(len(cases)), ylim=(len(cases) - 0.4, -0.6),
             xlabel="time over Benben's (right of the line: slower than Benben)")
    plot.set_yticklabels([r["case"] for r in cases], fontsize=8)
    plot.grid(alpha=0.3, which="major")
    plot.legend(ncols=5, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)


def sizes(plot) -> None:
    """plot: matplotlib's axes."""
    for name, colour in zip(("gauss", "energy", "argkmin"), COLOURS, strict=False):
        points = sorted((r["pairs"], time(r, "benben") / r["pairs"] * 1e9) for r in records()
                        if r["case"].startswith(f"{name}/f32/") and r["case"].endswith("x3")
                        and r["case"].count("x") == 2 and time(r, "benben"))
        plot.loglog(*zip(*points, strict=True), "o-", color=colour, label=name, ms=4)
    plot.set(xlabel="pairs", ylabel="ns per pair")
    plot.grid(alpha=0.3, which="major")
    plot.legend(frameon=False)


def size_axis(plot, sizes: set[int]) -> None:
    plot.set_xlabel("points")
    plot.set_xticks(sorted(sizes), [f"{n:,}" for n in sorted(sizes)], fontsize=8)
    plot.minorticks_off()
    plot.grid(alpha=0.3, which="major")


def interpolation(plots) -> None:
    """Time of a kernel system against its size."""
    found = records("interpolation")
    for plot, kernel in zip(plots, ("gaussian", "matern32"), strict=True):
        systems = list(dict.fromkeys(r["system"] for r in found if r["kernel"] == kernel))
        for system, colour in zip(systems, COLOURS, strict=False):
            mine = [r for r in found if r["kernel"] == kernel and r["system"] == system]
            plot.loglog([r["n"] for r in mine], [r["seconds"] for r in mine], "-", color=colour, label=system)
            for r in mine:
                plot.loglog(r["n"], r["seconds"], "^" if r.get("bound") else "o", color=colour,
                            mfc="white" if r.get("extrapolated") else colour)
        plot.set(title=kernel)
        size_axis(plot, {r["n"] for r in found})
    plots[0].set_ylabel("seconds to a residual of 1e-6")
    plots[0].legend(fontsize=8, frameon=False)


def iterations(plots) -> None:
    """Iterations against the size of the system, for three length-scales."""
    found = records("iterations")
    for plot, length in zip(plots, sorted({r["length"] for r in found}), strict=False):
        for how, colour in zip(dict.fromkeys(r["precondition"] for r in found), COLOURS, strict=False):
            mine = [r for r in found if r["length"] == length and r["precondition"] == how]
            plot.loglog([r["n"] for r in mine], [r["iterations"] for r in mine], "-", color=colour, label=how)
            for r in mine:
                plot.loglog(r["n"], r["iterations"], "o" if r["converged"] else "^", color=colour)
        plot.set(title=f"Gaussian, length-scale {length} km")
        size_axis(plot, {r["n"] for r in found})
    plots[0].set_ylabel("iterations to 1e-6, ridge 1e-3")
    plots[0].legend(fontsize=8, frameon=False)


# what draws, how many plots beside each other, size, results
KINDS = {"ratios": (ratios, 1, (8.5, 8), "acceptance"), "sizes": (sizes, 1, (7, 3.6), "acceptance"),
         "interpolation": (interpolation, 2, (9, 4), "interpolation"),
         "iterations": (iterations, 3, (10, 3.6), "iterations")}


class Benchmark(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        import matplotlib

        matplotlib.use("Agg")
        from matplotlib import pyplot

        draw, count, size, source = KINDS[self.arguments[0]]
        if not results(source).exists():
            return []
        figure, plot = pyplot.subplots(1, count, figsize=size, layout="constrained", sharey=True)
        draw(plot)
        folder = pathlib.Path(self.env.srcdir) / "drawn"
        folder.mkdir(exist_ok=True)
        figure.savefig(folder / f"{self.arguments[0]}.svg")
        pyplot.close(figure)
        self.env.note_dependency(str(results(source)))
        return [nodes.image(uri=f"/drawn/{self.arguments[0]}.svg", alt=(draw.__doc__ or "") + self.arguments[0])]


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("benchmark", Benchmark)
    return {"parallel_read_safe": True}
