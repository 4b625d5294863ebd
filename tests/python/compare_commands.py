"""Runs two builds of the command on the same formulas and files: compare_commands.py COMMAND REFERENCE."""
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile

import numpy as np

FORMULAS = ["sum_j(exp(-sqdist(x, y) / s) * b)", "grad(sum_j(exp(-sqdist(x, y) / s) * b), x, b2)",
            "sum_i(sin(x | y) * tanh(x))", "logsumexp_j(-sqdist(x, y))", "argmin_j(sqdist(x, y))",
            "kmin_j(sqdist(x, y), 5)", "sum_j(log(1 + sqdist(x, y)) * erf(x - y) * atan2(x, y + 2))",
            "max_j((x | y) - norm2(x - y))", "prod_j(1 + 0.01 * cos(x | y))", "sum_ij(powf(sqdist(x, y) + 1, 0.3))"]


def main():
    commands = [shlex.split(c) for c in sys.argv[1:3]]
    commands = [[str(pathlib.Path(p).resolve()) if pathlib.Path(p).exists() else p for p in c] for c in commands]
    rng = np.random.default_rng(0)
    worst, failures = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        for dtype in (np.float32, np.float64):
            arrays = {"x": (70, 3), "y": (130, 3), "b": (130, 2), "b2": (70, 2)}
            for name, shape in arrays.items():
                np.save(os.path.join(folder, name), rng.uniform(0, 1, shape).astype(dtype))
            for formula in FORMULAS:
                results = []
                for command in commands:
                    subprocess.run([*command, "run", formula, "x=x.npy:i", "y=y.npy:j", "b=b.npy:j", "b2=b2.npy:i",
                                    "s=0.7", "--target", "interp", "-o", "out.npy"], cwd=folder, check=True)
                    results.append(np.load(os.path.join(folder, "out.npy")))
                error = np.abs(results[0] - results[1]).max() / max(1, np.abs(results[1]).max())
                worst = max(worst, error / np.finfo(dtype).eps)
                if not error < 100 * np.finfo(dtype).eps:
                    failures += 1
                    print(f"{formula} in {dtype.__name__}: the two differ by {error:.1e}")
    print(f"{2 * len(FORMULAS) - failures} of {2 * len(FORMULAS)} runs agree, within {worst:.0f} units of rounding")
    return failures > 0


if __name__ == "__main__":
    sys.exit(main())
