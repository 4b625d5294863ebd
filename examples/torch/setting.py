"""What the examples share: size, folder of results, look of the pictures.

``--full`` (or BENBEN_FULL=1) asks for the full size; ``--output FOLDER`` (or BENBEN_EXAMPLES) says where the picture and
the numbers go, build/examples if it does not."""
import argparse
import json
import os
import pathlib
import time

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

parser = argparse.ArgumentParser(description="small by default: seconds of work")
parser.add_argument("--full", action="store_true", default=os.environ.get("BENBEN_FULL", "0") != "0")
parser.add_argument("--output", type=pathlib.Path, default=os.environ.get("BENBEN_EXAMPLES", "build/examples"))
options, _ = parser.parse_known_args()
options.output = pathlib.Path(options.output)
full = options.full

INK, SOFT = "#1d2733", "#8a94a0"
COLOURS = ["#2f6f9f", "#e0852d", "#4f9d69", "#b5485d", "#7d62a8", "#8c6d4f", "#3fa7a3", "#c7a62c"]
plt.rcParams.update({
    "figure.dpi": 110, "savefig.dpi": 130, "figure.constrained_layout.use": True, "font.size": 10,
    "axes.titlesize": 11, "axes.titlelocation": "left", "axes.edgecolor": SOFT, "axes.labelcolor": INK,
    "axes.spines.top": False, "axes.spines.right": False, "text.color": INK, "xtick.color": SOFT, "ytick.color": SOFT,
    "axes.prop_cycle": plt.cycler(color=COLOURS), "legend.frameon": False, "image.cmap": "viridis"})


def timed(function, *arguments):
    """(result, seconds) of a call."""
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def save(name, figure, **numbers):
    """Writes NAME.png and NAME.json, and prints the numbers."""
    options.output.mkdir(parents=True, exist_ok=True)
    numbers = {key: value.item() if hasattr(value, "item") else value for key, value in numbers.items()}
    for key, value in numbers.items():
        print(f"{key.replace('_', ' ')}: {value:.4g}" if isinstance(value, float) else f"{key.replace('_', ' ')}: {value}")
    figure.savefig(options.output / f"{name}.png")
    (options.output / f"{name}.json").write_text(json.dumps(numbers, indent=1) + "\n")
    print(options.output / f"{name}.png")
