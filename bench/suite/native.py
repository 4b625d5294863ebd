"""C text compiled for this machine, kept between runs by a hash of text and flags."""
from __future__ import annotations

import ctypes
import hashlib
import os
import pathlib
import subprocess

BENCH = pathlib.Path(__file__).resolve().parents[1]
CACHE = pathlib.Path(os.environ.get("BENBEN_BENCH_CACHE", BENCH.parent / "build" / "bench"))
FLAGS = ["-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", "-w"]


def library(source: str, *flags: str) -> ctypes.CDLL:
    path = BENCH / source
    texts = b"".join(f.read_bytes() for f in sorted({path, *path.parent.glob("*.h")}))
    key = hashlib.sha256(texts + repr((FLAGS, flags, os.uname())).encode()).hexdigest()[:20]
    target = CACHE / f"{path.stem}-{key}.so"
    if not target.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = target.with_suffix(f".{os.getpid()}")
        subprocess.run([os.environ.get("CC", "cc"), *FLAGS, *flags, str(path), "-o", str(partial), "-lm"], check=True)
        partial.rename(target)
    return ctypes.CDLL(str(target))


def pointer(array) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
