"""Times one case: every system is built and warmed, then all run in turn, round after round."""
from __future__ import annotations

import contextlib
import fcntl
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import cases, peers
from .machine import Machine, cores
from .reference import Reference

PAUSE = 0.02        # seconds between two systems: idle threads of OpenMP spin for some milliseconds
SHORTEST = 0.002    # a measured interval holds at least as many calls
QUICK = 0.35        # seconds: in a round systems below run AGAIN times more, in turn, for a minimum of as many runs
AGAIN = 4
LONGEST_PEER = 0.6  # peers that would take longer compute fewer rows
LONGEST_OWN = 5.0
FIRST_WORK = 6e8    # pairs times length, for the first run of a peer; Benben may do a thousand times as much
FEWEST = 64         # rows
CANDIDATES = {"hand": 4, "jax": 2}  # forms that take part in the rounds where a short trial may choose wrongly
DISTRIBUTIONS = ("numpy", "scipy", "jax", "jaxlib", "torch", "numba", "pykeops", "faiss-cpu", "scikit-learn", "taichi")


@contextlib.contextmanager
def turn(exclusive: bool) -> Iterator[None]:
    """On a machine that several jobs share, BENBEN_BENCH_TURNS=GATE:MAIN names two files: measurements hold MAIN
    exclusively, preparations share it, and whoever waits holds GATE so that nobody new comes in."""
    files = [f for f in os.environ.get("BENBEN_BENCH_TURNS", "").split(":") if f]
    if len(files) != 2:
        yield
        return
    with open(files[0], "a", encoding="ascii") as gate, open(files[1], "a", encoding="ascii") as main:
        fcntl.flock(gate, fcntl.LOCK_EX)
        fcntl.flock(main, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        fcntl.flock(gate, fcntl.LOCK_UN)
        yield


def _busy() -> float:
    """Seconds that all processors together have worked, for anybody; 0 where the system does not tell."""
    try:
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(v) for v in stat.readline().split()[1:]]
        return (sum(fields[:3]) + sum(fields[5:8])) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError):
        return 0.0


@dataclass
class System:
    """One system on one case."""
    name: str
    how: str
    run: Callable[[], Any]
    rows: int
    first: float  # seconds to the first answer: tracing, compiling
    result: Any
    form: int = 0
    calls: int = 1
    error: float = float("nan")
    times: list[float] = field(default_factory=list)


def timed(run: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def _tried(name: str, case: cases.Case, data: cases.Arrays, rows: int, only: set[int] | None = None) -> list[System]:
    """Every form, or those with these numbers, the fastest first."""
    found = []
    for number, (label, run) in enumerate(peers.forms(name, case, data, rows)):
        if only is not None and number not in only:
            continue
        first, result = timed(run)
        again = first
        if first < 5:
            again, result = timed(run)
        if again < 0.05:
            again = min(again, timed(run)[0])
        found.append(System(name, label, run, rows, first, result, number, times=[again]))
    found.sort(key=lambda system: system.times[0])
    return [s for s in found[:CANDIDATES.get(name, 1)] if s.times[0] < 1.7 * found[0].times[0]]


def prepare(name: str, case: cases.Case, data: cases.Arrays) -> list[System]:
    """The fastest forms; on fewer rows where all of them take too long, which a run on few rows tells."""
    own = name in ("benben", "interp", "hand")
    work, rows = case.pairs * (case.d + case.e + 20), case.m
    most = FIRST_WORK * (1000 if own else 1)
    if case.family.rows and work > most:
        rows = min(case.m, max(FEWEST, int(most / (work / case.m)) // 16 * 16))
    systems = _tried(name, case, data, rows)
    if not systems:
        return []
    whole = systems[0].times[0] * case.m / rows
    wanted = LONGEST_OWN if own else LONGEST_PEER
    if not case.family.rows or (rows == case.m and whole <= wanted):
        return systems
    better = min(case.m, max(FEWEST, int(case.m * wanted / whole) // 16 * 16))
    if better == rows or (rows < case.m and better < 1.5 * rows):
        return systems
    again = _tried(name, case, data, better, {s.form for s in systems})
    for system in again:
        system.first = max(system.first, next(s.first for s in systems if s.form == system.form))
    return again or systems


@dataclass
class Prepared:
    """A case whose systems are warm."""
    case: cases.Case
    data: cases.Arrays
    systems: list[System]


def make_ready(case: cases.Case, names: list[str], say: Callable[[str], None] = lambda text: None) -> Prepared:
    data = cases.make(case)
    judge = Reference(case, data)
    systems: list[System] = []
    for name in names:
        try:
            start = time.perf_counter()
            for system in prepare(name, case, data):
                system.error = (judge.residual(system.result) if case.family.result == "solution"
                                else judge.error(system.result, system.rows))
                system.calls = max(1, int(SHORTEST / max(system.times[0], 1e-7)))
                system.times.clear()
                systems.append(system)
            say(f"   {case.name} {peers.TITLES[name]}: ready after {time.perf_counter() - start:.1f} s")
        except Exception as error:  # noqa: BLE001 a peer that fails is told and left out
            if name in ("benben", "interp"):
                raise
            say(f"   {case.name} {peers.TITLES[name]}: {type(error).__name__}: {str(error).splitlines()[:1]}")
    return Prepared(case, data, systems)


def _in_line(systems: list[System]) -> list[System]:
    """The order of a round. A minimum of more runs is lower: Benben runs beside each form of a peer, as often as the peer."""
    own = next((s for s in systems if s.name == "benben"), None)
    line: list[System] = []
    for before, system in zip([None, *systems], systems, strict=False):
        if own and before and before.name == system.name:
            line.append(own)
        line.append(system)
    return line


def measure(ready: Prepared, machine: Machine, budget: float, rounds: int = 15) -> dict[str, Any]:
    """The record of a case, as it stands in the JSON."""
    case, systems, line, limits = ready.case, ready.systems, _in_line(ready.systems), []
    start, mine, busy = time.perf_counter(), time.process_time(), _busy()
    for number in range(rounds):
        limits.append(machine.limit(case, machine.measure(case.kind == "f64")))
        first = number % max(len(line), 1)
        for turn_of_quick in range(1 + AGAIN):
            for system in line[first:] + line[:first]:
                if turn_of_quick and system.times[-1] * system.calls > QUICK:
                    continue
                time.sleep(PAUSE)
                begun = time.perf_counter()
                for _ in range(system.calls):
                    system.run()
                system.times.append((time.perf_counter() - begun) / system.calls)
        spent = time.perf_counter() - start
        if spent > 4 * budget or (number >= 2 and spent > budget):
            break
    others = (_busy() - busy - (time.process_time() - mine)) / (time.perf_counter() - start)
    return {**_record(case, systems, limits), "others": max(0.0, round(others, 2))}


def _record(case: cases.Case, systems: list[System], limits: list[float]) -> dict[str, Any]:
    record: dict[str, Any] = {"case": case.name, "title": case.family.title, "pairs": case.pairs,
                              "operations": case.operations, "limit": max(limits),
                              "time": time.strftime("%Y-%m-%d %H:%M"), "systems": {}}
    if case.family.result == "solution":
        record["limit"] = None
    for system in systems:
        ordered = sorted(system.times)
        share = system.rows / case.m
        known = record["systems"].get(system.name)
        if known and known["minimum"] <= ordered[0] / share:
            continue
        record["systems"][system.name] = {
            "how": system.how, "rows": system.rows, "first": system.first, "error": system.error,
            "minimum": ordered[0] / share, "median": ordered[len(ordered) // 2] / share, "runs": len(ordered),
            "pairs_per_second": case.pairs * share / ordered[0]}
    return record


def versions() -> dict[str, str]:
    found = {}
    for name in DISTRIBUTIONS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def heading(machine: Machine) -> dict[str, Any]:
    return {**machine.describe(), "threads": cores(), "versions": versions(), "missing": peers.missing()}


def lines(record: dict[str, Any], rows_of_case: int) -> str:
    """A record as people read it."""
    own = record["systems"].get("benben")
    alone = f"; other processes used {record['others']:.2f} cores" if record["others"] > 0.1 else ""
    out = [f"{record['case']}   ({record['title']}{alone})"]
    for name, s in record["systems"].items():
        part = f", {s['rows']} rows" if s["rows"] < rows_of_case else ""
        share = f"{s['pairs_per_second'] / record['limit']:6.1%}" if record["limit"] else "      "
        ratio = f"{s['minimum'] / own['minimum']:8.2f}" if own else ""
        out.append(f"   {peers.TITLES[name]:20} {s['minimum']:10.3g} s  median {s['median']:9.3g}  "
                   f"{s['pairs_per_second'] / 1e9:8.3f} Gpair/s  {share} of the limit  {ratio}x  error {s['error']:.1e}"
                   f"  ({s['how']}{part}; first {s['first']:.2g} s)")
    return "\n".join(out)
