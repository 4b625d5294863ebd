/* test_bounds.c: formulas that would grow without bound are refused at once with a message; formulas that
 * only look so are computed. */
#include "refusal.h"

/* ---- formulas that would grow without bound ---- */

static void huge_expansions_are_refused_at_once(void **state) {
    (void)state;
    static const char *const formulas[] = {
        "sum_j(Laplacian(exp(-sqdist(x:i1000000, y:j1000000)), x))",
        "sum_j(TraceOperator(exp(x:i2000000 - y:j2000000), x))",
        "sum_j(Divergence(exp(x:i2000000 - y:j2000000), x))",
        "sum_j(sum(GradMatrix(exp(x:i1000000 - y:j1000000), x)))",
        "sum_j(BSpline(t:p100000000, y:j1, 99999990))",
        "sum_j(BSpline(t:p1000, y:j1, 990))",
        "sum_j(BSpline(t:p5, y:j1, 4))",
        "sum_j(sum(cumsum(cumsum(cumsum(cumsum(cumsum(x:i1000000 * y:j1)))))))",
        "sum_j(vprod(cumsum(x:i1000000 * y:j1)))",
        "sum_j(SoftDTW_SqDist(x:i100000, y:j100000, g:p1))",
        "sum_j(IntCst(99999999999999999999) * y:j1)",
        "sum_j(TensorDot(x:i100, y:j100, [10, 10], [1000000000, 1000000000], [0], [0]))",
        "sum_j(TensorDot(x:i100, y:j100, [10, 10], [10, 10], [7], [0]))",
        "sum_j(TensorProd(TensorProd(TensorProd(x:i1000000, y:j1000000), x), y))",
        "sum_j(sum(repeat(y:j1, 9223372036854775807)))",
        "sum_j(y:j1 * Zero(-5))",
    };
    for (size_t k = 0; k < sizeof formulas / sizeof *formulas; k++) {
        bb_context *c;
        bb_program *p = NULL;
        bb_kernel *kernel = NULL;
        EXPECT_OK(bb_context_new(&c));
        double begin = bbi_seconds();
        bb_clear_error();
        bb_status status = bb_program_parse(c, formulas[k], NULL, 0, &p);
        if (status == BB_OK) status = bb_compile(p, NULL, &kernel);
        double seconds = bbi_seconds() - begin;
        if (status == BB_OK || status == BB_OUT_OF_MEMORY || status == BB_INTERNAL || !bb_last_error()[0])
            fail_msg("%s: status %d: %s", formulas[k], (int)status, bb_last_error());
        if (seconds > 20) fail_msg("%s: %g seconds", formulas[k], seconds);
        bb_program_release(p);
        bb_context_release(c);
    }
    assert_true(bbi_peak_memory() < (int64_t)1 << 30);
}

static void large_exponents_and_zeros_are_fine(void **state) {
    (void)state;
    static const struct {
        const char *formula;
        double value;
    } cases[] = {
        {"sum_j(Pow(y:j1, 1000000000))", 1},
        {"sum_j(y:j1 ** 1000000000)", 1},
        {"sum_j(Pow(y:j1, -1000000000))", 1},
        {"sum_j(sum(Zero(1000000000000)) + y:j1)", 1},
        {"sum_j(elem(repeat(y:j1, 1000000000000), 999999999999))", 1},
        {"sum_j(elem(onehot(y:j1, 1000000000000), 1))", 1},
        {"sum_j(vprod(repeat(y:j1, 1000000000)))", 1},
    };
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        run_case c;
        case_open(&c, cases[k].formula, BB_FLOAT32, &interpreted);
        case_size(&c, 0, 1);
        *(float *)c.input[0].data = 1;
        EXPECT_OK(case_run(&c, NULL));
        assert_true(*(float *)c.output[0].data == cases[k].value);
        case_close(&c);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(huge_expansions_are_refused_at_once),
        cmocka_unit_test(large_exponents_and_zeros_are_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
