#!/usr/bin/env bash
# Cross-compiles the library and the command to aarch64 and runs the command under qemu-user beside the native one:
# aarch64.sh FOLDER JOBS. There is no compiler on that emulated machine: its kernels are interpreted.
set -uo pipefail
folder=$1 jobs=$2
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
cmake -S . -B "$folder" "${generator[@]}" -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/aarch64-linux.cmake" \
      -DBENBEN_TESTS=OFF >"$folder.log" 2>&1 &&
    cmake --build "$folder" -j "$jobs" >>"$folder.log" 2>&1 || { tail -n 40 "$folder.log"; exit 1; }
qemu=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
.venv/bin/python tests/python/compare_commands.py "$qemu -L /usr/aarch64-linux-gnu $folder/benben" build/benben
