#!/usr/bin/env bash
# `make check-all`: every test there is. Each section ends with the closing line of its runner; what cannot run on
# this machine is named as skipped, here and in the summary.
set -uo pipefail
cd "$(dirname "$0")/.."
JOBS=${JOBS:-2}
FUZZ_SECONDS=${FUZZ_SECONDS:-20}
export BENBEN_CACHE_DIR="$PWD/build/test-cache" BENBEN_BUILD="$PWD/build"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
summary=()
failed=0

section() { printf '\n==== %s (after %d s)\n' "$1" "$SECONDS"; }
verdict() { # name status
    if [ "$2" = 0 ]; then summary+=("passed   $1"); else summary+=("FAILED   $1"); failed=1; fi
}
skip() { echo "skipped: $1 ($2)"; summary+=("skipped  $1: $2"); }
need() { tools/require.sh package "$1" "$2"; }

# build_and_test FOLDER LABELS [cmake flags]: the C tests in a build of their own; the fuzzers are among the full ones
build_and_test() {
    local folder=$1 labels=$2
    shift 2
    cmake -S . -B "$folder" "${generator[@]}" -DBENBEN_COMMAND=OFF "$@" >"$folder.log" 2>&1 &&
        cmake --build "$folder" -j "$JOBS" --target unit_tests >>"$folder.log" 2>&1 ||
        { tail -n 40 "$folder.log"; return 1; }
    (cd "$folder" && ctest -j "$JOBS" --output-on-failure $labels)
}

section "build"
make --no-print-directory JOBS="$JOBS" CMAKE_FLAGS=-DBENBEN_WERROR=ON build &&
    tools/require.sh cmocka && tools/require.sh python tests/requirements.txt && tools/require.sh torch &&
    tools/require.sh python tests/requirements-full.txt && tools/require.sh package g++ g++ # pykeops compiles with it
status=$?
verdict "build without warnings" $status
[ $status = 0 ] || { echo "nothing else can run without a build"; exit 1; }

section "C tests"
cmake build >/dev/null && cmake --build build -j "$JOBS" --target unit_tests &&
    (cd build && ctest -LE full -j "$JOBS" --output-on-failure)
verdict "C tests" $?

section "fuzz of the parser and of the runner, $FUZZ_SECONDS s each"
ls build/tests/fuzz_* | xargs -P "$JOBS" -I{} sh -c '{} "$0" || { echo "{} failed"; exit 1; }' "$FUZZ_SECONDS"
verdict "fuzz" $?

section "Python tests, both tiers; OpenCL on the processor"
tools/require.sh opencl || skip "OpenCL" "no PoCL, and it could not be fetched"
tools/require.sh hip || skip "HIP's texts" "no clang-19, and it could not be fetched"
tools/require.sh python tests/requirements-cuda.txt || skip "CUDA's texts" "no NVRTC, and it could not be fetched"
tools/require.sh python examples/torch/requirements.txt
tools/require.sh package graphviz dot || echo "graphviz could not be installed: the drawing of the talk fails" >&2
make --no-print-directory JOBS="$JOBS" python &&
    .venv/bin/python -m pytest -q -rs -n "$JOBS" --dist worksteal tests/python --ignore tests/python/recorded
verdict "Python tests" $?
.venv/bin/python -m pytest -q -rs tests/python/recorded # on their own: pykeops must be the genuine one there
verdict "comparison with pykeops" $?

section "the documentation, every example run, without a warning"
make --no-print-directory JOBS="$JOBS" docs
verdict "documentation" $?

section "the wheel, installed alone, on a machine without a compiler"
wheel() {
    make --no-print-directory JOBS="$JOBS" wheel >build/wheel.log 2>&1 || { tail -n 40 build/wheel.log; return 1; }
    rm -rf build/wheel-site
    .venv/bin/python -m pip install -qq --no-deps --target build/wheel-site build/wheel/*.whl &&
        .venv/bin/python tools/no_compiler.py --site build/wheel-site
}
wheel
verdict "the wheel" $?

section "C tests under AddressSanitizer and UndefinedBehaviorSanitizer"
build_and_test build-asan "" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 -DBENBEN_SANITIZE=address,undefined
verdict "C tests under ASan and UBSan" $?

section "threads under ThreadSanitizer"
tsan() {
    cmake -S . -B build-tsan "${generator[@]}" -DBENBEN_COMMAND=OFF -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 \
          -DBENBEN_SANITIZE=thread >build-tsan.log 2>&1 &&
        cmake --build build-tsan -j "$JOBS" --target test_threads --target test_run >>build-tsan.log 2>&1 ||
        { tail -n 40 build-tsan.log; return 1; }
    printf '%s\n' test_threads test_run | TSAN_OPTIONS=die_after_fork=0 xargs -P "$JOBS" -I{} env build-tsan/tests/{}
}
tsan
verdict "threads under ThreadSanitizer" $?

section "valgrind"
if need valgrind valgrind; then
    tools/valgrind.sh build/tests
    verdict "valgrind" $?
else
    skip "valgrind" "not installed, and it could not be fetched"
fi

section "clang"
clang=$(command -v clang || compgen -c clang- | grep -E '^clang-[0-9]+$' | sort -Vr | head -n 1)
[ -n "$clang" ] || { need clang clang && clang=clang; }
if [ -n "$clang" ]; then
    build_and_test build-clang "-LE full" -DCMAKE_C_COMPILER="$clang" -DBENBEN_WERROR=ON
    status=$?
    verdict "C tests, library built by ${clang##*/}" $status
else
    skip "clang" "not installed, and it could not be fetched"
fi

section "64-bit Windows (mingw-w64, cross-compiled)"
if need gcc-mingw-w64-x86-64-posix x86_64-w64-mingw32-gcc; then
    cmake -S . -B build-windows "${generator[@]}" -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/mingw-w64.cmake" \
          -DBENBEN_TESTS=OFF >build-windows.log 2>&1 &&
        cmake --build build-windows -j "$JOBS" >>build-windows.log 2>&1
    status=$?
    [ $status = 0 ] && ls -l build-windows/*.dll build-windows/benben.exe || tail -n 40 build-windows.log
    verdict "cross-compilation to Windows" $status
else
    skip "cross-compilation to Windows" "no mingw-w64, and it could not be fetched"
fi

section "aarch64 (cross-compiled, run under qemu-user)"
if need gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc &&
    need libc6-dev-arm64-cross /usr/aarch64-linux-gnu/lib/crt1.o && need qemu-user-static qemu-aarch64-static; then
    tools/aarch64.sh build-aarch64 "$JOBS"
    verdict "aarch64 under qemu-user" $?
else
    skip "aarch64 under qemu-user" "no cross-compiler or no qemu-user, and they could not be fetched"
fi

section "summary"
printf '%s\n' "${summary[@]}"
exit $failed
