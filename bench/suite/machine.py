"""The machine: its name, clock and rates of vector arithmetic (machine.c)."""
from __future__ import annotations

import ctypes
import os
import pathlib
import platform
import subprocess

from . import cases, native


def cores() -> int:
    return len(os.sched_getaffinity(0))


class Machine:
    """rate(case): vector operations a second on all cores together, the fastest seen so far for each width."""

    def __init__(self, seconds: float = 0.1):
        self.seconds = seconds  # of one measurement
        self.library = native.library("machine.c")
        self.library.fma_rate.restype = self.library.clock_rate.restype = ctypes.c_double
        self.library.fma_rate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_double]
        self.clock = 0.0
        self.rates: dict[tuple[int, bool], float] = {}

    def measure(self, double: bool) -> dict[int, float]:
        """The rates now, in vectors of 32 and 64 bytes; remembers the largest."""
        self.clock = max(self.clock, self.library.clock_rate())
        now = {}
        for width in (32, 64):
            rate = self.library.fma_rate(width, int(double), self.seconds)
            now[width] = rate
            self.rates[width, double] = max(rate, self.rates.get((width, double), 0))
        return now

    def limit(self, case: cases.Case, rates: dict[int, float] | None = None) -> float:
        """Pairs a second that no schedule of cases.slots can exceed, with the rates given or the largest seen."""
        double = case.kind == "f64"
        size = 8 if double else 4
        rates = rates or {w: self.rates[w, double] for w in (32, 64)}
        return max(rates[w] * (w // size) for w in (32, 64)) / case.operations

    def describe(self) -> dict:
        model = platform.processor() or platform.machine()
        info = pathlib.Path("/proc/cpuinfo")
        if info.exists():
            lines = info.read_text().splitlines()
            model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
            flags = next((line for line in lines if line.startswith("flags")), "").split()
        else:
            flags = []
        sets = [name for name in ("avx2", "fma", "avx512f", "avx512dq", "asimd") if name in flags]
        compiler = subprocess.run([os.environ.get("CC", "cc"), "--version"], capture_output=True, text=True, check=True)
        return {"processor": model, "cores": cores(), "sets": sets, "clock": self.clock,
                "compiler": compiler.stdout.splitlines()[0],
                "rates": {f"f{64 if double else 32}x{width}": rate for (width, double), rate in self.rates.items()}}
