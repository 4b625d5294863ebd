#!/usr/bin/env python3
"""Writes pykeops.jsonl: what genuine pykeops 2.3 answers. About twenty minutes, most of it its compiler.

    nice -n 15 .venv/bin/python tests/python/recorded/record.py [--expressions 140] [--cache FOLDER]

Needs tests/requirements-full.txt and a C++ compiler. What pykeops gets wrong is not recorded (docs/pykeops.md)."""
import argparse
import copy
import importlib
import json
import pathlib
import random
import sys
import tempfile
import time
import warnings

import numpy as np

import draw
import facts
import genuine

OUTPUT = pathlib.Path(__file__).with_name("pykeops.jsonl")
VARIANTS = 3


def record_facts(write):
    known = facts.names("pykeops")
    for expression in facts.PLAIN + facts.COMPILED:
        if expression in facts.DIFFERENT:
            continue
        for _ in range(5):
            try:
                write({"fact": expression, "outcome": facts.outcome(expression, known)})
                break
            except ModuleNotFoundError:
                importlib.invalidate_caches()


def record_case(package, seed, case, write):
    """One expression on several data; False where pykeops fails or gives what is not finite."""
    r = random.Random(f"sizes {seed}")
    for variant in range(VARIANTS):
        if variant:
            draw.sizes(r, case, variant)
        try:
            values, about = genuine.run(package, case)
        except Exception as error:
            print(f"seed {seed}: {type(error).__name__}: {str(error)[:100]}", file=sys.stderr)
            return False
        if not all(np.isfinite(v).all() for v in values):
            print(f"seed {seed}: not finite", file=sys.stderr)
            return False
        write({"case": copy.deepcopy(case), "about": about, "results": [facts.lay_out(v) for v in values]})
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--expressions", type=int, default=100)
    parser.add_argument("--cache", default=tempfile.gettempdir() + "/benben-genuine")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    package = genuine.load(options.cache)
    began, count = time.time(), 0
    with open(str(OUTPUT) + ".part", "w") as out:
        def write(line):
            nonlocal count
            count += 1
            out.write(json.dumps(line, separators=(",", ":")) + "\n")
            out.flush()

        record_facts(write)
        for k in range(len(draw.special_trees())):
            record_case(package, f"special {k}", draw.special_case(random.Random(k), k), write)
        for seed in range(options.expressions):
            record_case(package, seed, draw.draw(random.Random(seed)), write)
            print(f"{count} records, {time.time() - began:.0f} s", end="\r", file=sys.stderr)
    pathlib.Path(str(OUTPUT) + ".part").replace(OUTPUT)
    print(f"\n{count} records in {time.time() - began:.0f} s: {OUTPUT}", file=sys.stderr)


if __name__ == "__main__":
    main()
