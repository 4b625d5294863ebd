"""What the examples share: options, the look of the pictures, where results go."""
import argparse
import json
import pathlib
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

INK, SOFT = "#1d2733", "#8a94a0"
COLOURS = ["#2f6f9f", "#e0852d", "#4f9d69", "#b5485d", "#7d62a8", "#8c6d4f", "#3fa7a3", "#c7a62c"]
plt.rcParams.update({
    "figure.dpi": 110, "savefig.dpi": 150, "figure.constrained_layout.use": True, "font.size": 10,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.edgecolor": SOFT, "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT,
    "axes.prop_cycle": plt.cycler(color=COLOURS), "legend.frameon": False, "image.cmap": "viridis"})


class Example:
    """Options of the command line; times and numbers are collected and left beside the picture."""

    def __init__(self, name, description):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--full", action="store_true", help="full size; else a small one, seconds of work")
        parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("build/examples"), help="folder")
        options = parser.parse_args()
        self.name, self.full, self.output, self.numbers = name, options.full, options.output, {}

    def timed(self, what, function):
        """Calls the function and keeps its time."""
        start = time.perf_counter()
        result = function()
        self.numbers[f"seconds: {what}"] = round(time.perf_counter() - start, 4)
        return result

    def save(self, figure, **numbers):
        """The picture and its numbers."""
        self.numbers.update({k: float(v) if hasattr(v, "dtype") else v for k, v in numbers.items()})
        self.output.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.output / f"{self.name}.png")
        (self.output / f"{self.name}.json").write_text(json.dumps(self.numbers, indent=1) + "\n")
        print(f"{self.name}: " + ", ".join(f"{k} {v:.6g}" if isinstance(v, float) else f"{k} {v}"
                                           for k, v in self.numbers.items()))
