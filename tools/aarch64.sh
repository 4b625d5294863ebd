#!/usr/bin/env bash
# Cross-compiles library and tests to aarch64 and runs the tests that need no compiler on that machine under
# qemu-user. cmocka for aarch64 is taken from the Debian archive where apt allows foreign packages; without it the
# tutorial alone is run, which needs nothing.
set -uo pipefail
folder=$1 jobs=$2
export BENBEN_TARGET=interp
toolchain="$PWD/cmake/aarch64-linux.cmake"
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
cmake -S . -B "$folder" "${generator[@]}" -DCMAKE_TOOLCHAIN_FILE="$toolchain" >"$folder.log" 2>&1 &&
    cmake --build "$folder" -j "$jobs" >>"$folder.log" 2>&1 || { tail -n 40 "$folder.log"; exit 1; }
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
out=$("$qemu" -L /usr/aarch64-linux-gnu "$folder/benben" run 'sum_j(exp(-sqdist(x, y) / s) * b)' \
    x=tests/python/data/x.npy:i y=tests/python/data/y.npy:j b=tests/python/data/b.npy:j s=2) || exit 1
echo "$out"
native=$(build/benben run 'sum_j(exp(-sqdist(x, y) / s) * b)' \
    x=tests/python/data/x.npy:i y=tests/python/data/y.npy:j b=tests/python/data/b.npy:j s=2) || exit 1
.venv/bin/python - "$out" "$native" <<'PY'
import re, sys
number = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")
a, b = ([float(v) for v in number.findall(text)] for text in sys.argv[1:3])
assert a and len(a) == len(b), "the two machines print different shapes"
worst = max(abs(u - v) / max(1.0, abs(v)) for u, v in zip(a, b))
print(f"1 run: aarch64 and this machine differ by {worst:.1e}")
assert worst < 1e-5
PY
