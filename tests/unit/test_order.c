/* test_order.c: the text of a kernel follows from its formula alone. It is the same in a context that has met other
 * formulas before as in a fresh one; and it does not show what is a run-time number: positions of variables, literals,
 * long dimensions, whether a factor is a number or a parameter. */
#include "run_case.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expr.h"

static char *source_of(bb_context *context, const char *formula, const int *variable, bb_dtype dtype) {
    bb_program *program, *gradient = NULL;
    char *text;
    EXPECT_OK(bb_program_parse(context, formula, NULL, 0, &program));
    if (variable) EXPECT_OK(bb_grad(program, variable, 1, NULL, 0, &gradient));
    EXPECT_OK(bb_program_show(gradient ? gradient : program, "source", dtype, &text));
    bb_program_release(gradient);
    bb_program_release(program);
    return text;
}

static char *fresh_source(const char *formula, const int *variable, bb_dtype dtype) {
    bb_context *context;
    EXPECT_OK(bb_context_new(&context));
    char *text = source_of(context, formula, variable, dtype);
    bb_context_release(context);
    return text;
}

/* Some of these hold the parts of others, in other orders. */
static const char *const formulas[] = {
    "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)",
    "sum_j((x:i3 | y:j3) * exp(-sqdist(x, y)) * b:j2)",
    "sum_j(b:j2 * exp(-sqdist(y:j3, x:i3)))",
    "logsumexp_j(-sqdist(x:i3, y:j3) + b:j1)",
    "sum_j(exp(b:j1 + x:i1) + sin(x) * cos(b) + abs(b - x))",
    "sum_j(exp(x:i1 + b:j1) + cos(b) * sin(x) + abs(x - b))",
    "sumsoftmaxweight_j(-norm2(x:i20 - y:j20), y)",
    "sum_j(tensordot(x:i4, y:j4, [2, 2], [2, 2], [1], [0]) * (1 + sqdist(x, y)))",
    "sum_j((1 + sqrt(5 * sqdist(x:i3, y:j3)) + 5 * sqdist(x, y) / 3) * exp(-sqrt(5 * sqdist(x, y))) * b:j1)",
    "argkmin_j(sqdist(x:i12, y:j12), 5)",
    "sum_i(x:i3 * sum_j(exp(-sqdist(x, y:j3)) * b:j1)); sum_j(max(x - y) * min(y - x))",
};
enum { FORMULAS = sizeof formulas / sizeof *formulas };

static const int wanted[] = {0, 1};

static void what_a_context_met_before_does_not_show(void **state) {
    bb_context *old;
    EXPECT_OK(bb_context_new(&old));
    srand(5);
    for (int turn = 0; turn < 3 * FORMULAS; turn++) {
        const char *formula = formulas[turn < FORMULAS ? FORMULAS - 1 - turn : rand() % FORMULAS];
        for (int what = 0; what < 3; what++) {
            if (what && strstr(formula, "argkmin")) continue;
            char *fresh = fresh_source(formula, what ? &wanted[what - 1] : NULL, BB_FLOAT32);
            char *other = source_of(old, formula, what ? &wanted[what - 1] : NULL, BB_FLOAT32);
            if (strcmp(fresh, other)) fail_msg("%s, gradient %d:\n%s\n====\n%s", formula, what, fresh, other);
            bb_free(fresh);
            bb_free(other);
        }
    }
    bb_context_release(old);
}

/* Each list is one kernel. */
static const char *const same[][9] = {
    {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j1)", "sum_j(exp(-sqdist(x:i3, y:j3) / s:p1) * b:j1)",
     "sum_j(b:j1 * exp(-0.37 * sqdist(y:j3, x:i3))) * 2.5", "sum_j(exp(-s:p1 * sum(square(x:i3 - y:j3))) * b:j1)",
     "Sum_Reduction(Exp(-Pm(0,1)*SqDist(Vi(1,3),Vj(2,3)))*Vj(3,1),0)",
     "sum_j(exp(-sqdist(x:i3 / s:p1, y:j3 / s)) * b:j1)", "sum_j(exp(-sum((x:i3 - y:j3)**2) / (2 * s:p1 * s)) * b:j1)",
     "sum_j(a:i1 * exp(-sqdist(x:i3, y:j3)) * b:j1)"},
    {"sum_j(exp(-sqdist(x:i10, y:j10)) * b:j1)", "sum_j(exp(-sqdist(x:i50, y:j50) / s:p1) * b:j1)",
     "sum_j(b:j1 * exp(-sqdist(x:i784, y:j784)))"},
    {"sum_j(exp(-sqdist(x:i3, y:j3)) * b:j20)", "sum_j(exp(-sqdist(x:i3, y:j3)) * b:j100)"},
    {"logsumexp_j(-sqdist(x:i3, y:j3) + h:j1)", "logsumexp_j(h:j1 - sqdist(x:i3, y:j3))",
     "logsumexp_j(h:j1 - sqdist(y:j3, x:i3))"},
    {"argkmin_j(sqdist(x:i3, y:j3), 5)", "argkmin_j(sqdist(y:j3, x:i3), 50)"},
    {"sum_j(exp(a:j1 * 0.3) * exp(x:i1 * y:j1 + 0.1))", "sum_j(exp(a:j1 * 0.7) * exp(x:i1 * y:j1 + 9))"},
};

static void what_is_a_run_time_number_does_not_show(void **state) {
    for (size_t group = 0; group < sizeof same / sizeof *same; group++) {
        for (int type = 0; type < 2; type++) {
            char *first = fresh_source(same[group][0], NULL, (bb_dtype)type);
            for (int k = 1; k < 9 && same[group][k]; k++) {
                char *other = fresh_source(same[group][k], NULL, (bb_dtype)type);
                if (strcmp(first, other)) fail_msg("%s\n%s\n====\n%s", same[group][k], first, other);
                bb_free(other);
            }
            bb_free(first);
        }
    }
}

/* ---- the order itself ---- */

static void nodes_are_ordered_without_regard_to_age(void **state) {
    for (int turn = 0; turn < 2; turn++) {
        bbi_context *c = bbi_context_new();
        const bbi_node *made[4];
        for (int k = 0; k < 4; k++) { /* two x, two y: in the second turn made in the opposite order */
            int n = turn ? 3 - k : k;
            made[n] = bbi_op1(c, n % 2 ? BBI_OP_sin : BBI_OP_cos, bbi_var(c, n / 2, n / 2 ? BBI_J : BBI_I, 3));
        }
        for (int a = 0; a < 4; a++) {
            assert_int_equal(bbi_compare(made[a], made[a]), 0);
            assert_true(bbi_compare(made[a]->arg[0], made[a]) < 0);
            for (int b = 0; b < 4; b++) {
                const bbi_node *sum = bbi_op2(c, BBI_OP_add, made[a], made[b]);
                assert_ptr_equal(sum, bbi_op2(c, BBI_OP_add, made[b], made[a]));
                if (a == b) continue;
                assert_true((bbi_compare(made[a], made[b]) < 0) != (bbi_compare(made[b], made[a]) < 0));
                assert_true(bbi_compare(sum->arg[0], sum->arg[1]) < 0);
            }
        }
        assert_true(bbi_compare(made[0], made[2]) < 0); /* i before j */
        assert_true(bbi_compare(made[1], made[3]) < 0);
        bbi_context_release(c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_context_met_before_does_not_show),
        cmocka_unit_test(what_is_a_run_time_number_does_not_show),
        cmocka_unit_test(nodes_are_ordered_without_regard_to_age),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
