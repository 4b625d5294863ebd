#!/usr/bin/env bash
# Runs test programs of a build under valgrind: no invalid access, no use of undefined values, no leak.
# Valgrind knows no AVX-512: the library is held to AVX2, as are kernels that it compiles.
set -uo pipefail
tests=$1
export BENBEN_ISA=1 CMOCKA_MESSAGE_OUTPUT=stdout
status=0
for name in test_tutorial test_api test_custom test_parse test_ranges; do
    [ -x "$tests/$name" ] || continue
    printf '%s: ' "$name"
    if valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite,indirect \
        --errors-for-leak-kinds=definite,indirect "$tests/$name" >"$tests/$name.valgrind" 2>&1; then
        echo clean
    else
        status=1
        echo "NOT CLEAN"
        tail -n 40 "$tests/$name.valgrind"
    fi
    ran=1
done
[ -n "${ran:-}" ] || { echo "no test program was found in $tests"; exit 1; }
exit $status
