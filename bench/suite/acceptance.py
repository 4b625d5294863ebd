"""The ratios that are asked for, computed from the results of the set `acceptance`."""
from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from . import peers, sets
from .cases import parse

CAP = 0.85     # of the measured limit: no floor asks for more
FLAT = 1.20    # largest over smallest time per pair beyond N = 1e4
PEAK = 0.75    # of the rate of fused multiply-adds, argKmin at D = 784
GRADIENT = 5.0
Results = dict[str, Any]


@dataclass
class Demand:
    """A ratio, its floor, and the floor that 85 % of the limit leaves."""
    case: str
    against: str
    ratio: float
    floor: float
    cap: float = float("inf")
    most: bool = False  # floor is a ceiling

    @property
    def passed(self) -> bool:
        return self.ratio <= self.floor if self.most else self.ratio >= min(self.floor, self.cap)


KEOPS = {"gauss/f32/1e4x1e4x3": 25, "gauss/f32/1e4x1e4x100": 40, "argkmin/f32/4e3x1e4x784": 50,
         "gradient/f32/1e4x1e4x3": 20, "block/f32/2e4x2e4x3": 10, "solve/f32/5e3x5e3x3": 10}
FAMOUS = {3: 10.0, 50: 1.3, 100: 1.3, 784: 0.9}


def _floors(name: str, systems: Iterable[str]) -> dict[str, float]:
    """The floors of a case, by system."""
    case, found = parse(name), {}
    if "hand" in systems:
        found["hand"] = 0.9
    if name in KEOPS:
        found["pykeops"] = KEOPS[name]
    found["jax"] = 1.4 if case.d > 10 else 2.5 if case.family.name == "energy" else 3.0
    found["plain"] = 1.5
    if case.family.name == "argkmin":
        found["faiss"] = FAMOUS[case.d]
        if case.d != 784:
            found["sklearn"] = FAMOUS[case.d]
    if case.family.name == "energy":
        found["numba"] = 0.95
    return {k: v for k, v in found.items() if k in systems}


def _ratios(records: dict[str, Results]) -> Iterable[Demand]:
    for name, wanted in sets.SETS["acceptance"]:
        record = records.get(name)
        if not record or wanted == sets.OWN:
            continue
        own = record["systems"]["benben"]
        cap = CAP * record["limit"] / own["pairs_per_second"] if record["limit"] else float("inf")
        for system, floor in _floors(name, record["systems"]).items():
            ratio = record["systems"][system]["minimum"] / own["minimum"]
            yield Demand(name, peers.TITLES[system], ratio, floor, cap * ratio)


def _others(records: dict[str, Results]) -> Iterable[Demand]:
    peak = records.get("argkmin/f32/4e3x1e4x784")
    if peak:
        rate = peak["limit"] * peak["operations"]  # pairs in a vector times operations a second
        share = peak["systems"]["benben"]["pairs_per_second"] * 784 / rate
        yield Demand(peak["case"], "FMA peak", share, PEAK)
    for one in ("g1", "l1", "lse1", "ham"):
        forward, backward = (records.get(f"{n}/f32/4e3x4e3x3") for n in (one, f"{one}-all"))
        if forward and backward:
            cost = backward["systems"]["benben"]["minimum"] / forward["systems"]["benben"]["minimum"]
            yield Demand(backward["case"], "its formula, cost", cost, GRADIENT, most=True)
    for family in ("gauss", "energy", "argkmin"):
        flat = [r["systems"]["benben"]["pairs_per_second"] for r in records.values()
                if (c := parse(r["case"])).family.name == family and c.d == 3 and c.e == 1 and c.kind == "f32"
                and c.n >= 10000]
        if len(flat) > 1:
            yield Demand(f"{family}, D = 3, N >= 1e4", "time per pair, spread", max(flat) / min(flat), FLAT, most=True)


def demands(path: pathlib.Path) -> list[Demand]:
    records = {r["case"]: r for r in json.loads(path.read_text())["records"]}
    return [*_ratios(records), *_others(records)]


def rows(path: pathlib.Path) -> list[tuple[str, ...]]:
    out = []
    for d in demands(path):
        cap = "" if d.most or d.cap == float("inf") else f"{d.cap:.2f}"
        out.append((d.case, d.against, f"{d.ratio:.2f}", f"{'<=' if d.most else '>='} {d.floor:g}", cap,
                    "pass" if d.passed else "SHORT"))
    return out


def table(path: pathlib.Path) -> str:
    """Text for people, the short ones again at the end."""
    lines = [("case", "against", "ratio", "floor", "85 % of limit", "")] + rows(path)
    widths = [max(len(line[k]) for line in lines) for k in range(6)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    short = [line for line, row in zip(text[1:], lines[1:], strict=True) if row[5] == "SHORT"]
    return "\n".join([*text, "", f"{len(short)} of {len(lines) - 1} fall short:", *short])
