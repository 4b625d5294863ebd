/* test_code.c: index expressions, the printed form of code, and what the verifier refuses. A test's name is
 * the sentence that would be false if it failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "code_text.h"

static uint64_t seed = 1;
static int64_t below(int64_t n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (int64_t)((seed >> 33) % (uint64_t)n);
}

/* ---- index expressions ---- */
/* an index expression and what it should be worth */
typedef struct tree {
    int32_t index;
    int64_t worth;
} tree;

static tree random_tree(bbi_code *code, int depth, const int64_t *size, const int64_t *counter) {
    if (depth == 0 || below(4) == 0) {
        int64_t n = below(4);
        switch (below(3)) {
        case 0: return (tree){bbi_code_index(code, BBI_IX_CONST, 0, 0, n), n};
        case 1: return (tree){bbi_code_index(code, BBI_IX_SIZE, 0, 0, n), size[n]};
        default: return (tree){bbi_code_index(code, BBI_IX_COUNTER, 0, 0, n), counter[n]};
        }
    }
    tree a = random_tree(code, depth - 1, size, counter), b = random_tree(code, depth - 1, size, counter);
    bbi_index_op op = (bbi_index_op)(BBI_IX_ADD + below(BBI_IX_AND - BBI_IX_ADD + 1));
    if (op == BBI_IX_SUB && a.worth < b.worth) op = BBI_IX_MAX; /* all expressions are >= 0 */
    if ((op == BBI_IX_DIV || op == BBI_IX_MOD) && b.worth == 0) op = BBI_IX_MIN;
    if (a.worth > 1000000 || b.worth > 1000000) op = BBI_IX_EQ;
    int64_t x = a.worth, y = b.worth, worth = 0;
    switch (op) {
    case BBI_IX_ADD: worth = x + y; break;
    case BBI_IX_SUB: worth = x - y; break;
    case BBI_IX_MUL: worth = x * y; break;
    case BBI_IX_DIV: worth = x / y; break;
    case BBI_IX_MOD: worth = x % y; break;
    case BBI_IX_MIN: worth = x < y ? x : y; break;
    case BBI_IX_MAX: worth = x < y ? y : x; break;
    case BBI_IX_LT: worth = x < y; break;
    case BBI_IX_GE: worth = x >= y; break;
    case BBI_IX_EQ: worth = x == y; break;
    default: worth = x && y; break;
    }
    return (tree){bbi_code_index(code, op, a.index, b.index, 0), worth};
}

static void folding_keeps_the_worth_of_an_index_expression(void **unused) {
    (void)unused;
    for (int round = 0; round < 2000; round++) {
        bbi_code code = {0};
        int64_t size[4], counter[4];
        for (int n = 0; n < 4; n++) size[n] = below(7), counter[n] = below(7);
        tree t = random_tree(&code, 5, size, counter);
        assert_true(t.index >= 0);
        assert_int_equal(bbi_index_value(&code, t.index, size, counter), t.worth);
        bbi_code_free(&code);
    }
}

static void equal_index_expressions_have_one_number(void **unused) {
    (void)unused;
    bbi_code code = {0};
    int32_t c = bbi_code_index(&code, BBI_IX_COUNTER, 0, 0, 0), one = bbi_code_index(&code, BBI_IX_CONST, 0, 0, 1);
    int32_t two = bbi_code_index(&code, BBI_IX_CONST, 0, 0, 2), n = bbi_code_index(&code, BBI_IX_SIZE, 0, 0, 5);
    int32_t next = bbi_code_index(&code, BBI_IX_ADD, c, one, 0);
    assert_int_equal(bbi_code_index(&code, BBI_IX_ADD, one, c, 0), next);
    assert_int_equal(bbi_code_index(&code, BBI_IX_ADD, next, one, 0), bbi_code_index(&code, BBI_IX_ADD, c, two, 0));
    assert_int_equal(bbi_code_index(&code, BBI_IX_ADD, c, n, 0), bbi_code_index(&code, BBI_IX_ADD, n, c, 0));
    assert_int_equal(bbi_code_index(&code, BBI_IX_MUL, c, one, 0), c);
    assert_int_equal(bbi_code_index(&code, BBI_IX_SUB, n, n, 0), bbi_code_index(&code, BBI_IX_CONST, 0, 0, 0));
    assert_int_equal(bbi_code_index(&code, BBI_IX_ADD, -1, one, 0), -1);
    bbi_code_free(&code);
}

/* ---- text ---- */
static void printed_code_reads_back_as_it_was(void **unused) {
    (void)unused;
    static const char text[] = "  %0 = sub(x[0], y[0])\n"
                               "  %1 := 0\n"
                               "  loop c0 < n[2] {\n"
                               "    %2 = sub(x[c0 + 1], y[(c0 * 3) + 1])\n"
                               "    %1 = fma(%2, %2, %1)\n"
                               "  }\n"
                               "  %3 = mul(%1, p[0])\n"
                               "  %4 = exp(%3)\n"
                               "  loop c1 < n[3] {\n"
                               "    %5 = (c1 < 3) and (c1 >= 1) ? x[c1 - 1] : -2.5\n"
                               "    %6 = mul(%5, (c1 + 1))\n"
                               "    sum[min(c1, n[4]) + (2 * c1)] += %4 * %6\n"
                               "    out[c1 % 4] = %6\n"
                               "  }\n";
    bbi_code code = code_of_text(text);
    bbi_text printed = {0};
    assert_int_equal(bbi_code_check(&code), BB_OK);
    bbi_code_print(&printed, &code);
    bbi_code again = code_of_text(printed.data);
    bbi_text twice = {0};
    bbi_code_print(&twice, &again);
    assert_string_equal(printed.data, twice.data);
    assert_non_null(strstr(printed.data, "    %1 = fma(%2, %2, %1)\n"));
    assert_non_null(strstr(printed.data, "  %4 = exp(%3)\n"));
    assert_non_null(strstr(printed.data, "x[c1 - 1] : -2.5\n"));
    bbi_text_free(&printed);
    bbi_text_free(&twice);
    bbi_code_free(&code);
    bbi_code_free(&again);
}

/* ---- the verifier ---- */
static void malformed_code_is_refused_with_the_reason(void **unused) {
    (void)unused;
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"%0 = neg(%1)\n %1 = neg(x[0])", "before its definition"},
        {"%0 = neg(%0)", "before its definition"},
        {"%0 = neg(x[0])\n %0 = neg(y[0])", "assigned twice"},
        {"loop c0 < 3 {\n %0 = neg(x[c0])\n }\n sum[0] += %0", "outside of its loop"},
        {"loop c0 < 3 {\n %0 = neg(x[0])\n }\n loop c1 < 3 {\n %0 = neg(x[1])\n }", "another loop"},
        {"loop c0 < 3 {\n %0 = neg(x[c0])", "without its end"},
        {"%0 = neg(x[0])\n }", "end without a loop"},
        {"loop c0 < 3 {\n %0 = neg(x[0])\n }\n %1 = neg(x[c0])", "outside of its loop"},
        {"loop c0 < 3 {\n loop c0 < 2 {\n }\n }", "two loops"},
        {"loop c0 < c0 {\n }", "outside of its loop"},
        {"sum[0] += x[0]\n sum[0] += y[0]", "two steps sum"},
        {"loop c0 < 3 {\n sum[0] += x[c0]\n }", "without its counter"},
        {"loop c0 < 3 {\n loop c1 < 3 {\n sum[c1] += x[c0]\n }\n }", "without its counter"},
        {"%0 = add(x[0])", "number of operands"},
        {"%0 = sum(x[0])", "not an elementwise operation"},
        {"loop c0 < 3 {\n %0 = neg(x[2 / c0])\n }", "divisor"},
        {"%0 = neg(x[n[512]])", "size slot"},
    };
    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        bbi_code code = code_of_text(cases[n].text);
        assert_int_equal(bbi_code_check(&code), BB_INTERNAL);
        if (!strstr(bb_last_error(), cases[n].reason)) fail_msg("case %d: %s", (int)n, bb_last_error());
        bbi_code_free(&code);
    }
}

static void accumulators_may_be_assigned_again_inside_loops(void **unused) {
    (void)unused;
    bbi_code code = code_of_text("%0 := 0\n loop c0 < n[2] {\n %1 := 1\n loop c1 < c0 {\n %1 = mul(%1, x[c1])\n }\n"
                                 " %0 = add(%0, %1)\n }\n sum[0] += %0");
    assert_int_equal(bbi_code_check(&code), BB_OK);
    bbi_code_free(&code);
}

static void checking_reports_lack_of_memory(void **unused) {
    (void)unused;
    bbi_code code = code_of_text("%0 = neg(x[0])\n sum[0] += %0");
    for (int64_t n = 0; n < 4; n++) {
        bbi_fail_allocations_after(n);
        bb_status status = bbi_code_check(&code);
        bbi_fail_allocations_after(-1);
        assert_int_equal(status, BB_OUT_OF_MEMORY);
    }
    bbi_code_free(&code);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folding_keeps_the_worth_of_an_index_expression),
        cmocka_unit_test(equal_index_expressions_have_one_number),
        cmocka_unit_test(printed_code_reads_back_as_it_was),
        cmocka_unit_test(malformed_code_is_refused_with_the_reason),
        cmocka_unit_test(accumulators_may_be_assigned_again_inside_loops),
        cmocka_unit_test(checking_reports_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
