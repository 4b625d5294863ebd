#!/usr/bin/env bash
# Fetches what a make target needs and the machine lacks:
#   require.sh cmake | cmocka | opencl | hip | package NAME COMMAND-OR-FILE | packages NAME… | python-headers |
#              python REQUIREMENTS.txt… | torch | bench
# Debian packages are installed when this user may (root, apt-get); otherwise the message says what to install.
# Python packages go to .venv only, the peers of the benchmark to .venv-bench.
set -euo pipefail
cd "$(dirname "$0")/.."

apt_install() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    echo "Installing $* ..."
    export DEBIAN_FRONTEND=noninteractive
    local apt=(apt-get -qq -o DPkg::Lock::Timeout=600) # another may be at it
    "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1 ||
        { "${apt[@]}" update >/dev/null 2>&1 && "${apt[@]}" install -y --no-install-recommends "$@" >/dev/null 2>&1; }
}

virtual_environment() {
    [ -x .venv/bin/python ] && .venv/bin/python -c 'import pip' 2>/dev/null && return
    rm -rf .venv
    python3 -m venv .venv 2>/dev/null && return
    apt_install python3 python3-venv && python3 -m venv .venv && return
    echo "error: python3 -m venv does not work: install Python 3 with its venv module (Debian: python3-venv)" >&2
    return 1
}

# Without compiling: what is imported compiles itself, which is a small part.
PIP=(.venv/bin/python -m pip install -qq --disable-pip-version-check --no-compile)

python_packages() { # once per content of a requirements file; what several ask for is resolved together
    virtual_environment
    local file stamp stamps=() wanted=()
    for file in "$@"; do
        stamp=".venv/.have-$(cksum <"$file" | tr ' ' '-')"
        [ -f "$stamp" ] || { stamps+=("$stamp"); wanted+=(-r "$file"); }
    done
    [ ${#stamps[@]} -gt 0 ] || return 0
    echo "Installing ${wanted[*]//-r/} into .venv ..."
    "${PIP[@]}" "${wanted[@]}"
    touch "${stamps[@]}"
}

# PyTorch for the tests, without CUDA: the plain name would fetch gigabytes. A failure is no error: the tests that need it
# say that they are skipped.
pytorch() {
    virtual_environment
    local stamp
    stamp=".venv/.have-$(cksum <tests/requirements-torch.txt | tr ' ' '-')"
    [ -f "$stamp" ] && return
    echo "Installing $(tr '\n' ' ' <tests/requirements-torch.txt)into .venv ..."
    # from PyTorch's own index where it can be reached; without dependencies, so that only one name is asked for there
    if "${PIP[@]}" --retries 1 --no-deps "$(grep ^torch= tests/requirements-torch.txt)" \
        --extra-index-url https://download.pytorch.org/whl/cpu && "${PIP[@]}" -r tests/requirements-torch.txt; then
        touch "$stamp"
    else
        echo "PyTorch could not be installed: its tests are skipped" >&2
    fi
}

# The peers of the benchmark, about 1.5 GB. PyTorch comes first and without CUDA: what depends on it would fetch that.
bench_peers() {
    local stamp pip=".venv-bench/bin/python -m pip install -qq --disable-pip-version-check"
    stamp=".venv-bench/.have-$(cat bench/requirements*.txt | cksum | tr ' ' '-')"
    [ -f "$stamp" ] && return
    [ -x .venv-bench/bin/python ] || python3 -m venv .venv-bench
    echo "Installing the peers of the benchmark into .venv-bench ..."
    # as in pytorch(): one name alone is asked for at PyTorch's index, once
    { $pip --retries 1 --no-deps $(grep -o '^torch[^;# ]*' bench/requirements-torch.txt) \
        --extra-index-url https://download.pytorch.org/whl/cpu && $pip -r bench/requirements-torch.txt; } ||
        echo "PyTorch could not be installed: the benchmark runs without it" >&2
    $pip -r bench/requirements.txt || while read -r package; do # one that a machine lacks shall not stop the others
        $pip --retries 1 "$package" || echo "$package could not be installed: the benchmark runs without it" >&2
    done <bench/requirements.txt
    touch "$stamp"
}

case "$1" in
bench)
    bench_peers
    ;;
cmake)
    command -v cmake >/dev/null || [ -x .venv/bin/cmake ] || apt_install cmake ||
        { virtual_environment && .venv/bin/python -m pip install -qq --disable-pip-version-check cmake; }
    ;;
cmocka)
    echo '#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>' | "${CC:-cc}" -E -x c - >/dev/null 2>&1 || apt_install libcmocka-dev ||
        { echo "error: the C tests need cmocka: install it (Debian: libcmocka-dev)" >&2; exit 1; }
    ;;
opencl) # a loader, and a device that is the processor itself
    [ -e /etc/OpenCL/vendors/pocl.icd ] || apt_install ocl-icd-libopencl1 pocl-opencl-icd || exit 1
    [ -e /usr/lib/oclgrind/liboclgrind-rt.so ] || apt_install oclgrind || true # a check; its test says that it is skipped
    ;;
hip) # clang alone, which compiles the texts of kernels for AMD's processors
    command -v clang-19 >/dev/null || apt_install clang-19 || exit 1
    ;;
package)
    command -v "$3" >/dev/null || [ -e "$3" ] || apt_install "$2" || exit 1
    ;;
packages) # those that are not there, in one go
    shift
    missing=()
    for name in "$@"; do
        dpkg-query -W -f '${Status}' "$name" 2>/dev/null | grep -q 'ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} = 0 ] || apt_install "${missing[@]}"
    ;;
python-headers)
    python3 -c 'import os, sysconfig
assert os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null || apt_install python3-dev ||
        { echo "error: the Python package needs the headers of Python (Debian: python3-dev)" >&2; exit 1; }
    ;;
python)
    shift
    python_packages "$@"
    ;;
torch)
    pytorch
    ;;
*)
    echo "usage: require.sh cmake | cmocka | opencl | hip | package NAME COMMAND-OR-FILE | packages NAME... | python-headers | python REQUIREMENTS.txt... | torch | bench" >&2
    exit 2
    ;;
esac
