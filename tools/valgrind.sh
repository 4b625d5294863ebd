#!/usr/bin/env bash
# Runs test programs of a build under valgrind: no invalid access, no use of undefined values, no leak.
# Valgrind knows no AVX-512: the library is held to AVX2, as are kernels that it compiles.
set -uo pipefail
export TESTS=$1 BENBEN_ISA=1 CMOCKA_MESSAGE_OUTPUT=stdout
run() { # the name of a program
    if valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect "$TESTS/$1" >"$TESTS/$1.valgrind" 2>&1; then
        echo "$1: clean"
    else
        tail -n 40 "$TESTS/$1.valgrind"
        echo "$1: NOT CLEAN"
        return 1
    fi
}
export -f run
programs=()
for name in test_api test_custom test_ranges test_parse test_tutorial; do # the longest first
    [ -x "$TESTS/$name" ] && programs+=("$name")
done
[ ${#programs[@]} -gt 0 ] || { echo "no test program was found in $TESTS"; exit 1; }
printf '%s\n' "${programs[@]}" | xargs -P "${JOBS:-2}" -I{} bash -c 'run {}'
