#!/usr/bin/env bash
# gpu.sh check | bench: what a machine with an NVIDIA processor proves (`make check-gpu`, `make bench-gpu`). Builds the
# library; takes NumPy, pytest and NVRTC from .venv, where they can be fetched, else from this machine's Python.
set -euo pipefail
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
TARGET=${TARGET:-cuda}
tools/require.sh cmake
CMAKE=$(command -v cmake || echo "$PWD/.venv/bin/cmake")
"$CMAKE" -S . -B "$BUILD" -DBENBEN_BUILTIN=OFF -DBENBEN_TESTS=ON >/dev/null
"$CMAKE" --build "$BUILD" -j "${JOBS:-$(nproc)}" >/dev/null
PYTHON=python3
if tools/require.sh python tests/requirements.txt 2>/dev/null && tools/require.sh python tests/requirements-cuda.txt 2>/dev/null; then
    PYTHON=.venv/bin/python
    export VIRTUAL_ENV=$PWD/.venv
else
    echo "no packages can be fetched here: this machine's Python has to have numpy, scipy, pytest and hypothesis"
fi
export BENBEN_BUILD=$PWD/$BUILD BENBEN_TEST_TARGET=$TARGET
"$BUILD"/benben doctor
# A machine without the device must not pass for one that passed.
"$PYTHON" - <<END
import numpy as np, os, sys
np.save("$BUILD/probe.npy", np.ones((4, 1), np.float32))
END
"$BUILD"/benben run 'sum_j(x * y)' x="$BUILD"/probe.npy:i y="$BUILD"/probe.npy:j --target "$TARGET" >/dev/null
case "$1" in
check) "$PYTHON" -m pytest -q -rs --durations=5 tests/python/test_gpu.py tests/python/test_gpu_table.py tests/python/test_reductions.py tests/python/test_runs.py \
           -k "not same_bits and not every_size and not indices_pass" "${@:2}"
    # tensors, where there is a PyTorch that sees the device
    for python in "$PYTHON" python3; do
        "$python" -c 'import pytest, torch; raise SystemExit(not torch.cuda.is_available())' 2>/dev/null || continue
        "$CMAKE" --build "$BUILD" -j "${JOBS:-$(nproc)}" --target python_site >/dev/null
        exec env -u BENBEN_TEST_TARGET "$python" -m pytest -q -rs tests/python/pytorch/test_torch_device.py
    done
    echo "there is no PyTorch with CUDA here: the tests of its tensors are skipped" ;;
bench) "$PYTHON" bench/gpu.py --target "$TARGET" "${@:2}" ;;
*) echo "usage: gpu.sh check | bench" >&2; exit 2 ;;
esac
