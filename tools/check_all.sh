#!/usr/bin/env bash
# `make check-all`: every test there is. Each section ends with the closing line of its runner; what cannot run on
# this machine is named as skipped, here and in the summary. What the sections need is fetched while the library is
# built; then the Python tests run on one side, and what mostly keeps one core busy on the other, whose output follows.
set -uo pipefail
cd "$(dirname "$0")/.."
JOBS=${JOBS:-2}
FUZZ_SECONDS=${FUZZ_SECONDS:-20}
export PIP_DISABLE_PIP_VERSION_CHECK=1
export BENBEN_CACHE_DIR="$PWD/build/test-cache" BENBEN_BUILD="$PWD/build"
export ASAN_OPTIONS=detect_leaks=1 UBSAN_OPTIONS=print_stacktrace=1
generator=()
command -v ninja >/dev/null && generator=(-G Ninja)
mkdir -p build
summary=$PWD/build/check-all.summary others=$PWD/build/check-all.others
: >"$summary"
trap 'jobs -p | xargs -r kill 2>/dev/null' EXIT

section() {
    begun=$SECONDS
    printf '\n==== %s (after %d s)\n' "$1" "$SECONDS"
}
verdict() { # name status
    local word=passed
    [ "$2" = 0 ] || word=FAILED
    echo "$word   $1 ($((SECONDS - begun)) s)" | tee -a "$summary"
}
skip() {
    echo "skipped: $1 ($2)"
    echo "skipped  $1: $2" >>"$summary"
}
need() { tools/require.sh package "$1" "$2"; }
tests() { .venv/bin/python -m pytest -q -rs "$@"; }

# build_and_test FOLDER LABELS [cmake flags]: the C tests in a build of their own; the fuzzers are among the full ones
build_and_test() {
    local folder=$1 labels=$2
    shift 2
    cmake -S . -B "$folder" "${generator[@]}" -DBENBEN_COMMAND=OFF "$@" >"$folder.log" 2>&1 &&
        cmake --build "$folder" -j "$JOBS" --target unit_tests >>"$folder.log" 2>&1 ||
        { tail -n 40 "$folder.log"; return 1; }
    (cd "$folder" && ctest -j "$JOBS" --output-on-failure $labels)
}

# ---- what the sections need. One that lacks something tries once more, and says so.
fetch_packages() {
    tools/require.sh packages libcmocka-dev python3-dev python3-venv pkg-config g++ ocl-icd-libopencl1 pocl-opencl-icd oclgrind \
        clang-19 graphviz doxygen valgrind gcc-mingw-w64-x86-64-posix gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static
}
fetch_python() {
    tools/require.sh torch
    tools/require.sh python tests/requirements.txt tests/requirements-full.txt tests/requirements-cuda.txt \
        python/requirements-wheel.txt docs/requirements.txt examples/requirements.txt examples/torch/requirements.txt
}

# ---- what runs beside the Python tests; nothing here touches build/site or the installed package
comparison() { tests tests/python/recorded; } # on their own: pykeops must be the genuine one there

documentation() { # from nothing: an example that is not run again would leave the numbers of yesterday to the tests
    rm -rf build/docs
    tools/require.sh package doxygen doxygen && .venv/bin/python tools/docs.py --build build &&
        BENBEN_GALLERY="$PWD/build/docs/results" tests -m gallery tests/python/test_examples.py \
            tests/python/pytorch/test_torch_examples.py
}

wheel() { # the kernels inside the library are those of the build: the same texts, compiler and options
    make --no-print-directory JOBS="$JOBS" wheel \
        WHEEL_FLAGS="--no-isolation --config-setting=cmake.define.BENBEN_BUILTIN_FROM=$PWD/build" >build/wheel.log 2>&1 ||
        { tail -n 40 build/wheel.log; return 1; }
    rm -rf build/wheel-site
    .venv/bin/python -m pip install -qq --no-deps --target build/wheel-site build/wheel/*.whl &&
        .venv/bin/python tools/no_compiler.py --site build/wheel-site
}

tsan() {
    cmake -S . -B build-tsan "${generator[@]}" -DBENBEN_COMMAND=OFF -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 \
          -DBENBEN_SANITIZE=thread >build-tsan.log 2>&1 &&
        cmake --build build-tsan -j "$JOBS" --target test_threads --target test_run --target test_team >>build-tsan.log 2>&1 ||
        { tail -n 40 build-tsan.log; return 1; }
    printf '%s\n' test_threads test_run test_team | TSAN_OPTIONS=die_after_fork=0 xargs -P "$JOBS" -I{} env build-tsan/tests/{}
}

windows() {
    cmake -S . -B build-windows "${generator[@]}" -DCMAKE_TOOLCHAIN_FILE="$PWD/cmake/mingw-w64.cmake" \
          -DBENBEN_TESTS=OFF >build-windows.log 2>&1 &&
        cmake --build build-windows -j "$JOBS" >>build-windows.log 2>&1 || { tail -n 40 build-windows.log; return 1; }
    ls -l build-windows/*.dll build-windows/benben.exe
}

beside() {
    section "comparison with pykeops"
    comparison
    verdict "comparison with pykeops" $?

    section "the documentation, every example run, without a warning; the numbers of the examples"
    documentation
    verdict "documentation and examples" $?

    section "the wheel, installed alone, on a machine without a compiler"
    wheel
    verdict "the wheel" $?

    section "valgrind"
    if need valgrind valgrind; then
        tools/valgrind.sh build/tests
        verdict "valgrind" $?
    else
        skip "valgrind" "not installed, and it could not be fetched"
    fi

    section "aarch64 (cross-compiled, run under qemu-user)"
    if need gcc-aarch64-linux-gnu aarch64-linux-gnu-gcc &&
        need libc6-dev-arm64-cross /usr/aarch64-linux-gnu/lib/crt1.o && need qemu-user-static qemu-aarch64-static; then
        tools/aarch64.sh build-aarch64 "$JOBS"
        verdict "aarch64 under qemu-user" $?
    else
        skip "aarch64 under qemu-user" "no cross-compiler or no qemu-user, and they could not be fetched"
    fi

    section "64-bit Windows (mingw-w64, cross-compiled)"
    if need gcc-mingw-w64-x86-64-posix x86_64-w64-mingw32-gcc; then
        windows
        verdict "cross-compilation to Windows" $?
    else
        skip "cross-compilation to Windows" "no mingw-w64, and it could not be fetched"
    fi

    section "C tests under AddressSanitizer and UndefinedBehaviorSanitizer"
    build_and_test build-asan "" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG=-O1 -DBENBEN_SANITIZE=address,undefined
    verdict "C tests under ASan and UBSan" $?

    section "threads under ThreadSanitizer"
    tsan
    verdict "threads under ThreadSanitizer" $?

    section "clang"
    clang=$(command -v clang || compgen -c clang- | grep -E '^clang-[0-9]+$' | sort -Vr | head -n 1)
    [ -n "$clang" ] || { need clang clang && clang=clang; }
    if [ -n "$clang" ]; then
        build_and_test build-clang "-LE full" -DCMAKE_C_COMPILER="$clang" -DBENBEN_WERROR=ON
        verdict "C tests, library built by ${clang##*/}" $?
    else
        skip "clang" "not installed, and it could not be fetched"
    fi
}

section "build"
tools/require.sh cmake || exit 1
fetch_packages & packages=$!
fetch_python & python=$!
make --no-print-directory JOBS="$JOBS" CMAKE_FLAGS=-DBENBEN_WERROR=ON build
status=$?
verdict "build without warnings" $status
[ $status = 0 ] || { echo "nothing else can run without a build"; exit 1; }

section "C tests"
wait $packages || echo "not every package of the system could be installed at once; each section tries its own"
tools/require.sh cmocka && cmake build >/dev/null && cmake --build build -j "$JOBS" --target unit_tests &&
    (cd build && ctest -LE full -j "$JOBS" --output-on-failure)
verdict "C tests" $?

section "fuzz of the parser and of the runner, $FUZZ_SECONDS s each"
ls build/tests/fuzz_* | xargs -P "$JOBS" -I{} sh -c '{} "$0" || { echo "{} failed"; exit 1; }' "$FUZZ_SECONDS"
verdict "fuzz" $?

section "the Python package, and what its tests need"
wait $python
tools/require.sh torch && tools/require.sh python tests/requirements.txt && tools/require.sh python tests/requirements-full.txt &&
    tools/require.sh package g++ g++ # pykeops compiles with it
status=$?
tools/require.sh opencl || skip "OpenCL" "no PoCL, and it could not be fetched"
tools/require.sh hip || skip "HIP's texts" "no clang-19, and it could not be fetched"
tools/require.sh python tests/requirements-cuda.txt || skip "CUDA's texts" "no NVRTC, and it could not be fetched"
tools/require.sh python docs/requirements.txt examples/requirements.txt examples/torch/requirements.txt
tools/require.sh package graphviz dot || echo "graphviz could not be installed: the drawing of the talk fails" >&2
[ $status = 0 ] && make --no-print-directory JOBS="$JOBS" python
verdict "the Python package" $?

beside >"$others" 2>&1 & beside=$!
section "Python tests, both tiers; OpenCL on the processor"
tests -n "$JOBS" --dist worksteal -m "not gallery" tests/python --ignore tests/python/recorded # the examples: documentation
verdict "Python tests" $?

tail -n +1 -f --pid=$beside "$others"
begun=$SECONDS
wait $beside
status=$?
[ $status = 0 ] || verdict "what ran beside the Python tests came to its end" $status

section "summary"
cat "$summary"
! grep -q ^FAILED "$summary"
