/* test_parse.c: formulas as text: the cases of tests/text/formulas.txt, reading back what is printed,
 * declarations, bounds, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "syntax.h"

enum { MAX_OUTPUTS = 8 };

static uint64_t random_state = 88172645463325252u;

static int64_t random_below(int64_t n) {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int64_t)(random_state % (uint64_t)n);
}

static const bbi_node *read_one(bbi_context *c, const char *text, bbi_signature *signature) {
    const bbi_node *node = NULL;
    int64_t count;
    if (bbi_parse(c, text, signature, NULL, &node, 1, &count) != BB_OK) fail_msg("%s\n%s", text, bb_last_error());
    return node;
}

/* ---- text cases ---- */

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot open %s", path);
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *text = calloc((size_t)size + 1, 1);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    fclose(file);
    return text;
}

static void declare_all(bbi_signature *signature, char *list) {
    bbi_signature_free(signature);
    for (char *item = strtok(list, ";"); item; item = strtok(NULL, ";")) {
        if (item[strspn(item, " ")] == 0) continue;
        if (bbi_parse_alias(signature, item) != BB_OK) fail_msg("%s", bb_last_error());
    }
}

/* What the file should say of a formula: its outputs or its message, in the form of the file. */
static void describe(bbi_text *text, bbi_context *c, const char *formula, bbi_signature *signature) {
    static const char *const places[] = {"P", "I", "J", "IJ"};
    const bbi_node *outputs[MAX_OUTPUTS];
    int64_t count;
    if (bbi_parse(c, formula, signature, NULL, outputs, MAX_OUTPUTS, &count) != BB_OK) {
        char *message = strdup(bb_last_error()), *line = message;
        for (char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            *end = '\0';
            bbi_text_add(text, "! %s\n", line);
        }
        bbi_text_add(text, "! %s\n", line);
        free(message);
        return;
    }
    for (int64_t k = 0; k < count; k++) {
        bbi_text_add(text, "= ");
        bbi_print(text, outputs[k], signature);
        bbi_text_add(text, " : %lld %s\n", (long long)outputs[k]->dim, places[outputs[k]->place]);
    }
}

/* Equal, or `expected` ends in "..." and is a beginning. */
static bool matches(const char *expected, const char *found) {
    size_t length = strlen(expected);
    if (length > 4 && !strcmp(expected + length - 4, "...\n")) return !strncmp(expected, found, length - 4);
    return !strcmp(expected, found);
}

static void each_text_case_gives_what_the_file_says(void **state) {
    char *text = read_file(BBI_SOURCE_DIR "/tests/text/formulas.txt"), *line = text, *end;
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    bbi_text expected = {0};
    char formula[400] = "";
    int cases = 0, failures = 0;
    c->raw = true;
    for (; *line; line = end + 1) {
        end = strchr(line, '\n');
        assert_non_null(end);
        *end = '\0';
        if (*line == '@')
            declare_all(&signature, line + 1);
        else if (*line == '=' || *line == '!')
            bbi_text_add(&expected, "%s\n", line);
        else if (*line && *line != '#')
            snprintf(formula, sizeof formula, "%s", line);
        bool last = end[1] != '=' && end[1] != '!';
        if (!expected.length || !last) continue;
        bbi_text found = {0};
        describe(&found, c, formula, &signature);
        if (!matches(expected.data, found.data)) {
            failures++;
            print_error("formula  %s\nexpected\n%sfound\n%s\n", formula, expected.data, found.data);
        }
        cases++;
        bbi_text_free(&found);
        bbi_text_free(&expected);
    }
    assert_int_equal(failures, 0);
    assert_true(cases > 80);
    bbi_signature_free(&signature);
    bbi_context_release(c);
    free(text);
}

/* ---- reading back what is printed ---- */

static const bbi_node *scalar_of(bbi_context *c, const bbi_node *a) {
    return a->dim == 1 ? a : bbi_op1(c, BBI_OP_sum, a);
}

static const bbi_node *random_contract(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    int64_t size[2] = {a->dim, b->dim}, first[1] = {0}, second[1] = {1}, both[2] = {1, 0};
    bbi_contraction outer = {2, 1, 1, 2, size, first, second, both}, total = {1, 1, 0, 0, size, first, NULL, NULL};
    if (a->dim * b->dim > 50) return bbi_contract(c, a, NULL, &total);
    return bbi_contract(c, a, b, &outer);
}

static const bbi_node *random_reduction(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    int reduction = (int)random_below(BBI_RED_COUNT);
    const bbi_reduction_row *row = bbi_reduction_info(reduction);
    const bbi_node *f = row->family == BBI_FAMILY_LSE ? scalar_of(c, a) : a;
    bbi_place axis = (bbi_place)(1 + random_below(3));
    const bbi_node *list = NULL;
    if (random_below(4) == 0 && axis != BBI_IJ)
        list = bbi_reduce(c, BBI_RED_argkmin, axis, 2, scalar_of(c, b), NULL, NULL);
    return bbi_reduce(c, (bbi_reduction)reduction, axis, 1 + random_below(3), f, row->formulas == 2 ? b : NULL, list);
}

/* One more node over those made before, of a random kind; NULL where shapes do not fit. */
static const bbi_node *random_node(bbi_context *c, const bbi_node *const *pool, int64_t count) {
    static const double numbers[] = {0,     -0.0,  1,     -1,         0.5,  2,    0.1,
                                     1e-30, 1e300, -3.25, 123456.789, 1e15, 1e17, 4.9e-324};
    const bbi_node *args[4];
    for (int k = 0; k < 4; k++) args[k] = pool[count - 1 - random_below(count < 12 ? count : 12)];
    switch (random_below(8)) {
    case 0: return bbi_const(c, numbers[random_below(sizeof numbers / sizeof *numbers)]);
    case 1: return random_reduction(c, args[0], args[1]);
    case 2: return random_contract(c, args[0], args[1]);
    case 3: return bbi_slice(c, args[0], random_below(args[0]->dim), 1, 1);
    case 4: return args[0]->dim < 20 ? bbi_pad(c, args[0], random_below(3), 3 + args[0]->dim, 1) : NULL;
    case 5: return args[0]->dim < 20 ? bbi_op2(c, BBI_OP_concat, args[0], args[1]) : NULL;
    case 6: return bbi_repeat(c, scalar_of(c, args[0]), 3);
    default: break;
    }
    int op = BBI_OP_REDUCE + 1 + (int)random_below(BBI_OP_COUNT - BBI_OP_REDUCE - 1);
    const bbi_op_row *row = bbi_op_info(op);
    if (row->kind != BBI_MAP && row->kind != BBI_FOLD) op = random_below(2) ? BBI_OP_sub : BBI_OP_mul;
    return bbi_node_make(c, op, args, bbi_op_info(op)->arity, NULL, 0);
}

static void what_is_printed_is_read_back_to_the_same_node(void **state) {
    int compared = 0;
    for (int round = 0; round < 300; round++) {
        bbi_context *c = bbi_context_new();
        bbi_signature signature = {0};
        const bbi_node *pool[64], *again;
        int64_t count = 0, outputs;
        static const char *const start[] = {"x:i3", "y:j3", "b:j1", "s:p1", "q:p3", "_one_ij", "_number_j"};
        for (size_t k = 0; k < sizeof start / sizeof *start; k++) pool[count++] = read_one(c, start[k], &signature);
        while (count < 40) {
            const bbi_node *node = random_node(c, pool, count);
            if (!node || node->dim > 100) continue;
            pool[count++] = node;
            bbi_text text = {0};
            bbi_print(&text, node, random_below(2) ? &signature : NULL);
            assert_false(text.failed);
            bool cut = text.length > 200000 || strstr(text.data, "...");
            if (!cut) {
                if (bbi_parse(c, text.data, &signature, NULL, &again, 1, &outputs) != BB_OK)
                    fail_msg("%s", bb_last_error());
                if (again != node) {
                    bbi_text second = {0};
                    bbi_print(&second, again, &signature);
                    fail_msg("printed %s\nread    %s", text.data, second.data);
                }
                compared++;
            }
            bbi_text_free(&text);
        }
        bbi_signature_free(&signature);
        bbi_context_release(c);
    }
    assert_true(compared > 5000);
}

static void long_sums_need_no_deep_stack(void **state) {
    enum { TERMS = 20000 };
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    bbi_text text = {0}, printed = {0};
    c->raw = true;
    for (int k = 0; k < TERMS; k++) bbi_text_add(&text, "%sVar(%d,1,0)*%d.5", k ? " + " : "", k % 100, k + 2);
    const bbi_node *node = read_one(c, text.data, &signature);
    bbi_print(&printed, node, &signature);
    assert_ptr_equal(read_one(c, printed.data, &signature), node);
    bbi_text_free(&text);
    bbi_text_free(&printed);
    bbi_signature_free(&signature);
    bbi_context_release(c);
}

static void a_dag_is_listed_line_by_line(void **state) {
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    bbi_text text = {0};
    c->raw = true;
    const bbi_node *node = read_one(c, "argkmin_j(exp(x:i3) * 0.5 - y:j3, 2)", &signature);
    bbi_print_dag(&text, &node, 1, &signature);
    assert_string_equal(text.data,
                        "%0 = 0.5  dim 1 P\n%1 = x  dim 3 I\n%2 = y  dim 3 J\n%3 = exp(%1)  dim 3 I\n"
                        "%4 = mul(%3, %0)  dim 3 I\n%5 = sub(%4, %2)  dim 3 IJ\n%6 = argkmin_j(%5, 2)  dim 6 I\n");
    bbi_text_free(&text);
    bbi_signature_free(&signature);
    bbi_context_release(c);
}

/* ---- numbers ---- */

static void numbers_survive_every_locale(void **state) {
    static const double numbers[] = {
        0.1, 1.0 / 3, 6.02214076e23, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 9007199254740993.0};
    const char *comma = setlocale(LC_NUMERIC, "de_DE.UTF-8");
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    if (!comma) print_message("no locale with a decimal comma is installed: checked in the C locale only\n");
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++) {
        bbi_text text = {0};
        bbi_print(&text, bbi_const(c, numbers[k]), NULL);
        assert_null(strchr(text.data, ','));
        assert_true(read_one(c, text.data, &signature)->value == numbers[k]);
        bbi_text_free(&text);
    }
    assert_true(read_one(c, "1.5", &signature)->value == 1.5);
    assert_true(read_one(c, "9223372036854775808", &signature)->value == 9223372036854775808.0);
    assert_true(read_one(c, "9223372036854775807 + 1", &signature)->value == 9223372036854775808.0);
    assert_true(read_one(c, "-9223372036854775807 - 10", &signature)->value == -9223372036854775808.0);
    assert_true(read_one(c, "4294967296 * 4294967296", &signature)->value == 18446744073709551616.0);
    assert_true(read_one(c, "(-9223372036854775807 - 1) % 3", &signature)->value == 1);
    assert_true(read_one(c, "(-9223372036854775807 - 1) / -1", &signature)->value == 9223372036854775808.0);
    assert_true(read_one(c, "-7 % 3 + 7 % -3 * 10", &signature)->value == 2 - 20);
    assert_true(read_one(c, "3 ** 60", &signature)->value == 42391158275216203514294433201.0);
    setlocale(LC_NUMERIC, "C");
    bbi_context_release(c);
}

static void decimals_of_many_digits_round_correctly(void **state) {
    char digits[1200];
    memset(digits, '0', sizeof digits);
    memcpy(digits, "9007199254740993", 16); /* 2^53 + 1: a tie, broken by the digits far behind */
    assert_true(bbi_decimal(digits, 1000, -984) == 9007199254740992.0);
    digits[999] = '1';
    assert_true(bbi_decimal(digits, 1000, -984) == 9007199254740994.0);
    assert_true(bbi_decimal("1", 1, 400) > 1e308 && bbi_decimal("1", 1, -400) == 0);
}

/* ---- declarations ---- */

static void declarations_of_keops_are_understood(void **state) {
    static const struct {
        const char *text, *name;
        int64_t position, dim;
        bbi_place place;
    } good[] = {
        {"x = Vi(3)", "x", 0, 3, BBI_I},      {"y=Vj(1,4)", "y", 1, 4, BBI_J}, {" b = Pm( 2 ) ", "b", 2, 2, BBI_P},
        {"z = Var(3,5,0)", "z", 3, 5, BBI_I}, {"Vi(6)", "", 4, 6, BBI_I},      {"Vy(6)", "", 5, 6, BBI_J},
        {"u:p7", "u", 6, 7, BBI_P},           {"v = Vx(2)", "v", 7, 2, BBI_I}, {"x = Vi(3)", "x", 0, 3, BBI_I}};
    static const char *const bad[] = {"x = Vi(4)",
                                      "x = Vk(3)",
                                      "x = ",
                                      "= Vi(3)",
                                      "x = Vi(0)",
                                      "x = Vi(-3)",
                                      "",
                                      "x",
                                      "x = Vi(1,2,3)",
                                      "x = 3",
                                      "x = Var(0,3)",
                                      "x = Vi(3) 4",
                                      "q = y",
                                      "x:i3; w:i2",
                                      "x = u:i3",
                                      "q = Vi(5000,3)",
                                      "q = Vi(9,99999999999)",
                                      "_slot_ij:i1",
                                      "w = Vi(0,3)"};
    bbi_signature s = {0};
    for (size_t k = 0; k < sizeof good / sizeof *good; k++) {
        if (bbi_parse_alias(&s, good[k].text) != BB_OK) fail_msg("%s: %s", good[k].text, bb_last_error());
        const bbi_variable *v = &s.variables[good[k].position];
        assert_string_equal(v->name, good[k].name);
        assert_int_equal(v->dim, good[k].dim);
        assert_int_equal(v->place, good[k].place);
    }
    assert_int_equal(s.count, 8);
    for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
        if (bbi_parse_alias(&s, bad[k]) == BB_OK) fail_msg("accepted: %s", bad[k]);
        assert_true(strlen(bb_last_error()) > 10);
        assert_int_equal(s.count, 8);
    }
    bbi_signature_free(&s);
}

static void a_refused_formula_declares_nothing(void **state) {
    bbi_context *c = bbi_context_new();
    bbi_signature s = {0};
    const bbi_node *node;
    int64_t count;
    read_one(c, "Var(0,3,0)", &s);
    assert_int_equal(bbi_parse(c, "x:i3 + y:j3 + Var(5,3,1) + z", &s, NULL, &node, 1, &count), BB_UNKNOWN_NAME);
    assert_int_equal(count, 0);
    assert_int_equal(s.count, 1);
    assert_string_equal(s.variables[0].name, "");
    assert_int_equal(s.variables[0].dim, 3);
    assert_int_equal(bbi_parse(c, "1 + x:i3", NULL, NULL, &node, 1, &count), BB_BAD_ARGUMENT);
    assert_int_equal(bbi_parse(c, "1; 2; 3", &s, NULL, &node, 1, &count), BB_BAD_ARGUMENT);
    bbi_signature_free(&s);
    bbi_context_release(c);
}

static const bbi_node *look_up(void *data, const char *name, size_t length) {
    return length == 2 && !memcmp(name, "f1", 2) ? data : NULL;
}

static void names_may_stand_for_nodes_of_the_caller(void **state) {
    bbi_context *c = bbi_context_new();
    bbi_signature s = {0};
    int64_t count;
    const bbi_node *bound = read_one(c, "exp(x:i3)", &s), *node;
    bbi_parse_options options = {look_up, (void *)bound};
    assert_int_equal(bbi_parse(c, "x - f1", &s, &options, &node, 1, &count), BB_OK);
    assert_ptr_equal(node, read_one(c, "x - exp(x)", &s));
    assert_int_equal(bbi_parse(c, "x - f2", &s, &options, &node, 1, &count), BB_UNKNOWN_NAME);
    bbi_signature_free(&s);
    bbi_context_release(c);
}

/* ---- gradients in formulas ---- */

static void gradients_are_per_pair_or_of_the_reduction(void **state) {
    bbi_context *c = bbi_context_new();
    bbi_signature s = {0};
    read_one(c, "x:i3 + y:j3 + e:i3", &s);
    assert_int_equal(read_one(c, "Grad(SqDist(x,y), y, 1)", &s)->place, BBI_IJ);
    assert_int_equal(read_one(c, "Grad(Sum_Reduction(x*y,0), y, e)", &s)->place, BBI_J);
    assert_int_equal(read_one(c, "Grad(Sum_Reduction(x*y,0), x, e)", &s)->place, BBI_I);
    bbi_signature_free(&s);
    bbi_context_release(c);
}

/* ---- bounds ---- */

static void assert_refused(const char *text, bb_status expected) {
    bbi_context *c = bbi_context_new();
    bbi_signature s = {0};
    const bbi_node *node;
    int64_t count;
    bb_status status = bbi_parse(c, text, &s, NULL, &node, 1, &count);
    if (status != expected) fail_msg("status %d, expected %d: %.60s", status, expected, text);
    assert_true(strlen(bb_last_error()) > 5);
    bbi_signature_free(&s);
    bbi_context_release(c);
}

static void repeat_text(bbi_text *text, const char *piece, int count) {
    for (int k = 0; k < count; k++) bbi_text_add(text, "%s", piece);
}

static void hostile_texts_are_refused(void **state) {
    static const char *const pieces[] = {"(",      "[",      "-",      "not ", "exp(",    "2**",
                                         "sum_j(", "x:i3+(", "x:i1*-", "(1,",  "sum_j(1;"};
    for (size_t k = 0; k < sizeof pieces / sizeof *pieces; k++) {
        bbi_text text = {0};
        repeat_text(&text, pieces[k], 100000);
        assert_refused(text.data, BB_BAD_SYNTAX);
        bbi_text_free(&text);
    }
    bbi_text text = {0};
    repeat_text(&text, "1+", 700000);
    assert_refused(text.data, BB_BAD_SYNTAX);
    bbi_text_free(&text);
    repeat_text(&text, "n", 200);
    assert_refused(text.data, BB_BAD_SYNTAX);
    bbi_text_free(&text);
    bbi_text_add(&text, "TensorDot(x:i1,x,[");
    repeat_text(&text, "1,", 100);
    bbi_text_add(&text, "1],[1],[0],[0])");
    assert_refused(text.data, BB_BAD_SYNTAX);
    bbi_text_free(&text);
    assert_refused("x:i1 \x01", BB_BAD_SYNTAX);
    assert_refused("x:i1 + \xff\xfe", BB_BAD_SYNTAX);
    assert_refused("\xf0\x9f\x98\x80", BB_BAD_SYNTAX);
    assert_refused("Var(99999,1,0)", BB_BAD_ARGUMENT);
    assert_refused("Var(0,0,0)", BB_BAD_SHAPE);
    assert_refused("x:i0", BB_BAD_SHAPE);
    assert_refused("Elem(x:i3, 9223372036854775807)", BB_BAD_SHAPE);
    assert_refused("KMin_Reduction(x:i3 + y:j3, 9223372036854775807, 0)", BB_BAD_SHAPE);
}

static void errors_in_long_lines_show_a_window(void **state) {
    bbi_context *c = bbi_context_new();
    bbi_signature s = {0};
    bbi_text text = {0};
    const bbi_node *node;
    int64_t count;
    bbi_text_add(&text, "x:i3 +\n");
    repeat_text(&text, "x + ", 100);
    bbi_text_add(&text, "zeta");
    repeat_text(&text, " + x", 100);
    assert_int_equal(bbi_parse(c, text.data, &s, NULL, &node, 1, &count), BB_UNKNOWN_NAME);
    const char *caret = strchr(bb_last_error(), '\n');
    assert_non_null(caret);
    size_t column = strspn(caret + 1, " ");
    assert_int_equal(strncmp(bb_last_error() + column, "zeta", 4), 0);
    assert_true(caret - bb_last_error() < 110);
    bbi_text_free(&text);
    bbi_signature_free(&s);
    bbi_context_release(c);
}

/* ---- memory ---- */

static void running_out_of_memory_is_reported_and_leaks_nothing(void **state) {
    static const char *const texts[] = {"min_argmin_j(sqdist(x:i3, y:j3)); mean_j(y)", "Var(7,1,0)", "x:i3 + z",
                                        "x:i3 + (", "sum_j(exp(-sqdist(x:i3, y:j3) / 0.25) * b:j1)"};
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        int64_t live = bbi_live_allocations();
        bool injected = true;
        for (int allowed = 0; injected; allowed++) {
            bbi_fail_allocations_after(allowed);
            bbi_context *c = bbi_context_new();
            bbi_signature s = {0};
            const bbi_node *nodes[4];
            int64_t count;
            bb_status status = c ? bbi_parse(c, texts[t], &s, NULL, nodes, 4, &count) : BB_OUT_OF_MEMORY;
            bbi_text text = {0};
            if (status == BB_OK) bbi_print(&text, nodes[0], &s);
            injected = status == BB_OUT_OF_MEMORY || text.failed;
            bbi_fail_allocations_after(-1);
            if (!injected)
                assert_int_equal(status, t < 1 || t > 3 ? BB_OK
                                         : t == 1       ? BB_BAD_ARGUMENT
                                         : t == 2       ? BB_UNKNOWN_NAME
                                                        : BB_BAD_SYNTAX);
            bbi_text_free(&text);
            bbi_signature_free(&s);
            bbi_context_release(c);
            assert_int_equal(bbi_live_allocations(), live);
            assert_true(allowed < 2000);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_text_case_gives_what_the_file_says),
        cmocka_unit_test(what_is_printed_is_read_back_to_the_same_node),
        cmocka_unit_test(long_sums_need_no_deep_stack),
        cmocka_unit_test(a_dag_is_listed_line_by_line),
        cmocka_unit_test(numbers_survive_every_locale),
        cmocka_unit_test(decimals_of_many_digits_round_correctly),
        cmocka_unit_test(declarations_of_keops_are_understood),
        cmocka_unit_test(a_refused_formula_declares_nothing),
        cmocka_unit_test(names_may_stand_for_nodes_of_the_caller),
        cmocka_unit_test(gradients_are_per_pair_or_of_the_reduction),
        cmocka_unit_test(hostile_texts_are_refused),
        cmocka_unit_test(errors_in_long_lines_show_a_window),
        cmocka_unit_test(running_out_of_memory_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
