/* Centres of expanded distances are means of some of the columns where these are many: any centre must do. */
#include "expanded_case.h"

enum { DIM = 16, ROWS = 403, COLUMNS = 5003 }; /* every fifth column is looked at */

/* Points about (shift, shift ...); those that are not looked at, others about (shift + apart, ...). */
static void fill(run_case *c, double shift, double apart) {
    uint32_t state = 7;
    case_size(c, ROWS, COLUMNS);
    for (int k = 0; k < c->inputs; k++) {
        const int64_t dim = c->variable[k].dim, count = case_rows(c, c->variable[k].place) * dim;
        float *value = c->input[k].data;
        for (int64_t e = 0; e < count; e++) {
            const double r = draw(&state);
            if (c->variable[k].place == BB_NONE)
                value[e] = 0.5f;
            else if (dim == 1)
                value[e] = (float)r;
            else
                value[e] = (float)(shift + 0.2 * r + (c->variable[k].place == BB_J && e / dim % 5 ? apart : 0));
        }
    }
}

static void open_case(run_case *c, const char *formula, bb_accuracy accuracy) {
    bb_compile_options options = {.size = sizeof options, .target = BB_TARGET_INTERP, .accuracy = accuracy};
    case_open(c, formula, BB_FLOAT32, &options);
}

/* What the sample says may be far from the mean: the norms about it are what is bounded. */
static void gaussians_are_accurate_about_any_centre(void **state) {
    (void)state;
    static const double apart[] = {0, 0.4, 3};
    for (int k = 0; k < 3; k++) {
        run_case c;
        open_case(&c, "sum_j(exp(-s:p1 * sqdist(x:i16, y:j16)) * b:j1)", BB_ACCURACY_AUTO);
        fill(&c, 50, apart[k]);
        EXPECT_OK(case_run(&c, NULL));
        assert_true(is_expanded(&c) == (k < 2));
        check_gaussian(&c, 2.5e-6);
        case_close(&c);
    }
}

/* Columns in storage of any stride give the bits of compact ones. */
static void strides_are_those_of_the_columns(void **state) {
    (void)state;
    enum { STEP = 2, ROW = STEP * DIM + 3 };
    run_case c;
    size_t length;
    open_case(&c, "sum_j(exp(-s:p1 * sqdist(x:i16, y:j16)) * b:j1)", BB_ACCURACY_AUTO);
    fill(&c, -20, 0.3);
    EXPECT_OK(case_run(&c, NULL));
    char *bits = case_bits(&c, &length);
    float *compact = c.input[2].data, *wide = calloc(COLUMNS * ROW, sizeof *wide);
    assert_non_null(wide);
    for (int64_t e = 0; e < (int64_t)COLUMNS * DIM; e++) wide[e / DIM * ROW + e % DIM * STEP] = compact[e];
    const int64_t strides[2] = {ROW, STEP};
    c.input[2].data = wide;
    c.input[2].strides = strides;
    EXPECT_OK(case_run(&c, NULL));
    assert_true(is_expanded(&c));
    case_expect_bits(&c, bits, "columns with gaps");
    c.input[2].data = compact;
    c.input[2].strides = NULL;
    free(wide);
    free(bits);
    case_close(&c);
}

static void selections_have_the_bits_of_differences(void **state) {
    (void)state;
    static const char *const formulas[] = {"argkmin_j(sqdist(x:i16, y:j16), 10)", "kmin_argkmin_j(sqdist(x:i16, y:j16), 3)",
                                           "argmin_j(sqdist(x:i16, y:j16))"};
    for (int k = 0; k < 9; k++) {
        run_case c, d;
        size_t length;
        const char *formula = formulas[k % 3];
        open_case(&c, formula, BB_ACCURACY_AUTO);
        open_case(&d, formula, BB_ACCURACY_EXACT);
        fill(&c, 10, k / 3 * 1.5);
        fill(&d, 10, k / 3 * 1.5);
        EXPECT_OK(case_run(&c, NULL));
        EXPECT_OK(case_run(&d, NULL));
        assert_true(is_expanded(&c));
        char *bits = case_bits(&d, &length);
        case_expect_bits(&c, bits, formula);
        free(bits);
        case_close(&c);
        case_close(&d);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(gaussians_are_accurate_about_any_centre),
                                       cmocka_unit_test(strides_are_those_of_the_columns),
                                       cmocka_unit_test(selections_have_the_bits_of_differences)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
