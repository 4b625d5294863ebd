/* The rewrite rules and the structural rewrites: each rule agrees with itself at random points, decreases
 * the weight that makes rewriting end, and can fire; and random formulas mean the same whether they are
 * rewritten or not. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "expr.h"
#include "simplify.h"

static uint64_t seed = 1;

static double uniform(double low, double high) { /* xorshift64* */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return low + (high - low) * (double)(seed * 0x2545F4914F6CDD1Du >> 11) / 9007199254740992.0;
}

static int pick(int n) { return (int)uniform(0, n); }

static void draw(bbi_oracle_array *a, double *data, int64_t dim, double low, double high) {
    *a = (bbi_oracle_array){data, 1, dim};
    for (int64_t k = 0; k < dim; k++) data[k] = uniform(low, high);
}

static bool close_to(double a, double b) { return a == b || fabs(a - b) <= 1e-9 * (1 + fabs(a)); }

/* ---- single rules ---- */
typedef struct letters {
    const bbi_node *node[BBI_NODE_LETTERS];
    int64_t integer[BBI_INT_LETTERS];
} letters;

static letters make_letters(bbi_context *c, const int64_t dim[3], const bbi_place place[3], double p, double q) {
    letters l = {{NULL}, {2, 9, 2, 1}};
    for (int k = 0; k < 3; k++) l.node[k] = bbi_var(c, k, place[k], dim[k]);
    l.node[3] = bbi_const(c, p);
    l.node[4] = bbi_const(c, q);
    return l;
}

static const bbi_place parameters[3] = {BBI_P, BBI_P, BBI_P};

/* NaN and infinities on the left may become numbers; a number may not become NaN. */
static void assert_sides_agree(int rule, const bbi_node *left, const bbi_node *right, const int64_t dim[3], double low,
                               double high) {
    double x[3][3];
    bbi_oracle_array in[3], out[2];
    const bbi_node *sides[2] = {left, right};
    for (int k = 0; k < 3; k++) draw(&in[k], x[k], dim[k], low, high);
    assert_int_equal(bbi_oracle(sides, 2, in, 3, 1, 1, out), BB_OK);
    for (int64_t k = 0; k < left->dim; k++) {
        if (isfinite(out[0].data[k]) && !close_to(out[0].data[k], out[1].data[k]))
            fail_msg("%s -> %s: %g and %g", bbi_rule_text(rule, false), bbi_rule_text(rule, true), out[0].data[k],
                     out[1].data[k]);
    }
    bbi_free(out[0].data);
    bbi_free(out[1].data);
}

static void every_rule_agrees_at_random_points(void **state) {
    (void)state;
    for (int rule = 0; rule < bbi_rule_count(); rule++) {
        int checked = 0;
        for (int pattern = 0; pattern < 8; pattern++) {
            bbi_context *c = bbi_context_new();
            c->raw = true;
            const bbi_node *left, *right;
            const int64_t dim[3] = {pattern & 1 ? 3 : 1, pattern & 2 ? 3 : 1, pattern & 4 ? 3 : 1};
            letters l = make_letters(c, dim, parameters, 3, -5);
            if (bbi_rule_sides(c, rule, l.node, l.integer, &left, &right)) {
                for (int n = 0; n < 5; n++) assert_sides_agree(rule, left, right, dim, 0.2, 0.9);
                for (int n = 0; n < 20; n++) assert_sides_agree(rule, left, right, dim, -0.9, 0.9);
                checked++;
            }
            bbi_context_release(c);
        }
        if (!checked) fail_msg("%s -> %s fits no dimensions", bbi_rule_text(rule, false), bbi_rule_text(rule, true));
    }
}

static void every_rule_decreases_the_weight(void **state) {
    (void)state;
    bbi_context *c = bbi_context_new();
    for (int rule = 0; rule < bbi_rule_count(); rule++) {
        if (!bbi_rule_decreases(c, rule))
            fail_msg("%s -> %s does not decrease the weight", bbi_rule_text(rule, false), bbi_rule_text(rule, true));
    }
    bbi_context_release(c);
}

static void no_rule_inspects_other_numbers_than_0_1_2(void **state) {
    (void)state;
    for (int rule = 0; rule < 2 * bbi_rule_count(); rule++) {
        const char *text = bbi_rule_text(rule / 2, rule % 2);
        for (const char *p = text; *p; p++) {
            bool digit = *p >= '0' && *p <= '9', in_word = p > text && ((p[-1] >= 'a' && p[-1] <= 'z') || p[-1] == '_');
            if (digit && !in_word && (*p > '2' || strchr("0123456789.", p[1] ? p[1] : 'x'))) fail_msg("%s", text);
        }
    }
}

static void every_rule_fires(void **state) {
    (void)state;
    const bbi_place pairs[3] = {BBI_I, BBI_J, BBI_I};
    for (int rule = 0; rule < bbi_rule_count(); rule++) {
        int64_t fired = 0;
        for (int pattern = 0; pattern < 16 && !fired; pattern++) {
            bbi_context *c = bbi_context_new();
            const bbi_node *left, *right;
            const int64_t dim[3] = {pattern & 1 ? 3 : 1, pattern & 2 ? 3 : 1, pattern & 4 ? 3 : 1};
            letters l = make_letters(c, dim, pattern & 8 ? pairs : parameters, 3, -5);
            bbi_rule_sides(c, rule, l.node, l.integer, &left, &right);
            fired = bbi_rule_fired(c, rule);
            bbi_context_release(c);
        }
        if (!fired) fail_msg("%s -> %s never fires", bbi_rule_text(rule, false), bbi_rule_text(rule, true));
    }
}

/* ---- random formulas ---- */
enum { POOL = 40, VARIABLES = 5, WIDEST = 12 };

/* the same formulas, raw and rewritten */
typedef struct twins {
    bbi_context *raw, *simple;
    const bbi_node *r[POOL], *s[POOL];
    int count;
} twins;

static void push(twins *t, const bbi_node *r, const bbi_node *s) {
    if (!r && !s) return;
    if (!r || !s || r->dim != s->dim) fail_msg("shapes differ: %s", bb_last_error());
    if (r->dim > WIDEST) return;
    t->r[t->count] = r;
    t->s[t->count++] = s;
}

static void push_op(twins *t, int op, const int *which, int narg, const int64_t *ints, int nint) {
    const bbi_node *r[3], *s[3];
    for (int k = 0; k < narg; k++) {
        r[k] = t->r[which[k]];
        s[k] = t->s[which[k]];
    }
    push(t, bbi_node_make(t->raw, op, r, narg, ints, nint), bbi_node_make(t->simple, op, s, narg, ints, nint));
}

static void push_component_op(twins *t, int a) {
    int64_t dim = t->r[a]->dim;
    int64_t start = pick((int)dim), step = 1 + pick(3), count = 1 + pick((int)((dim - 1 - start) / step) + 1);
    int64_t total = start + (dim - 1) * step + 1 + pick(3);
    switch (pick(4)) {
    case 0: push_op(t, BBI_OP_slice, &a, 1, (int64_t[]){start, count, step}, 3); break;
    case 1: push_op(t, BBI_OP_pad, &a, 1, (int64_t[]){start, total, step}, 3); break;
    case 2: push_op(t, BBI_OP_concat, (int[]){a, pick(t->count)}, 2, NULL, 0); break;
    default:
        if (dim == 1) push_op(t, BBI_OP_repeat, &a, 1, (int64_t[]){1 + pick(4)}, 1);
    }
}

/* Some formula of this dimension, or a scalar repeated to it. */
static int of_dim(twins *t, int64_t dim) {
    int start = pick(t->count);
    for (int k = 0; k < t->count && pick(8); k++) {
        if (t->r[(start + k) % t->count]->dim == dim) return (start + k) % t->count;
    }
    int scalar = pick(2) ? 0 : 3;
    push_op(t, BBI_OP_repeat, &scalar, 1, &dim, 1);
    return t->count - 1;
}

/* A random contraction over the labels 0 .. 3. */
static void push_contraction(twins *t) {
    static const int64_t size[4] = {2, 3, 1, 2};
    int64_t list[3][4], dim[3];
    int count[3];
    uint64_t used = 0;
    for (int l = 0; l < 3; l++) {
        count[l] = 0;
        dim[l] = 1;
        for (int k = 0; k < 4; k++) {
            int64_t label = (k + l) % 4;
            if (pick(2)) continue;
            list[l][count[l]++] = label;
            dim[l] *= size[label];
            used |= (uint64_t)1 << label;
        }
    }
    if (used != 15 || t->count > POOL - 4) return;
    int a = of_dim(t, dim[0]), b = of_dim(t, dim[1]);
    bool single = count[1] == 0 && pick(2);
    bbi_contraction spec = {4, count[0], count[1], count[2], size, list[0], list[1], list[2]};
    push(t, bbi_contract(t->raw, t->r[a], single ? NULL : t->r[b], &spec),
         bbi_contract(t->simple, t->s[a], single ? NULL : t->s[b], &spec));
}

static void grow(twins *t) {
    static const int one[] = {BBI_OP_neg, BBI_OP_square, BBI_OP_abs, BBI_OP_sin,  BBI_OP_cos,
                              BBI_OP_sum, BBI_OP_max,    BBI_OP_inv, BBI_OP_tanh, BBI_OP_exp};
    static const int two[] = {BBI_OP_add, BBI_OP_sub, BBI_OP_mul, BBI_OP_div, BBI_OP_add, BBI_OP_mul, BBI_OP_minimum};
    int a = pick(t->count), b = pick(t->count);
    switch (pick(8)) {
    case 0:
    case 1: push_op(t, one[pick(10)], &a, 1, NULL, 0); break;
    case 2: push_contraction(t); break;
    case 3:
    case 4: push_component_op(t, a); break;
    default: push_op(t, two[pick(7)], (int[]){a, b}, 2, NULL, 0);
    }
}

static void start(twins *t) {
    static const int64_t dim[VARIABLES] = {1, 3, 6, 1, 2};
    static const bbi_place place[VARIABLES] = {BBI_P, BBI_I, BBI_J, BBI_I, BBI_J};
    *t = (twins){.raw = bbi_context_new(), .simple = bbi_context_new()};
    t->raw->raw = true;
    for (int k = 0; k < VARIABLES; k++)
        push(t, bbi_var(t->raw, k, place[k], dim[k]), bbi_var(t->simple, k, place[k], dim[k]));
    for (int k = -1; k < 3; k++) push(t, bbi_const(t->raw, k), bbi_const(t->simple, k));
}

static double *evaluate(const bbi_node *n, double (*x)[6]) {
    bbi_oracle_array in[VARIABLES], out;
    static const int64_t dim[VARIABLES] = {1, 3, 6, 1, 2};
    for (int k = 0; k < VARIABLES; k++) in[k] = (bbi_oracle_array){x[k], 1, dim[k]};
    assert_int_equal(bbi_oracle(&n, 1, in, VARIABLES, 1, 1, &out), BB_OK);
    return out.data;
}

static bool all_finite(const bbi_node *root, double (*x)[6]) {
    const bbi_node **order;
    int64_t count;
    bool finite = true;
    assert_int_equal(bbi_topological(&root, 1, &order, &count), BB_OK);
    for (int64_t k = 0; finite && k < count; k++) {
        double *v = evaluate(order[k], x);
        for (int64_t d = 0; d < order[k]->dim; d++) finite = finite && fabs(v[d]) < 1e9;
        bbi_free(v);
    }
    bbi_free(order);
    return finite;
}

/* Where the raw formula and all in it are finite and well conditioned (moving the operands a little moves
 * it a little). */
static void assert_twins_agree(const twins *t, int k, double (*x)[6]) {
    double moved[VARIABLES][6];
    for (int v = 0; v < VARIABLES; v++) {
        for (int i = 0; i < 6; i++) moved[v][i] = x[v][i] * (1 + uniform(-1e-9, 1e-9));
    }
    double *r = evaluate(t->r[k], x), *s = evaluate(t->s[k], x), *near = evaluate(t->r[k], moved);
    for (int64_t d = 0; d < t->r[k]->dim; d++) {
        if (fabs(r[d] - s[d]) <= 1e-6 * (1 + fabs(r[d])) || fabs(r[d] - near[d]) > 1e-6 * (1 + fabs(r[d]))) continue;
        if (!all_finite(t->r[k], x)) continue;
        bbi_text a = {0}, b = {0};
        bbi_print(&a, t->r[k], NULL);
        bbi_print(&b, t->s[k], NULL);
        fail_msg("component %d: %s = %.12g, rewritten %s = %.12g", (int)d, a.data, r[d], b.data, s[d]);
    }
    bbi_free(r);
    bbi_free(s);
    bbi_free(near);
}

static void random_formulas_mean_the_same_rewritten(void **state) {
    (void)state;
    int64_t rewrites = 0;
    for (int round = 0; round < 1500; round++) {
        twins t;
        double x[VARIABLES][6];
        start(&t);
        while (t.count < POOL - 2) grow(&t);
        for (int v = 0; v < VARIABLES; v++) {
            for (int k = 0; k < 6; k++) x[v][k] = uniform(-1.5, 1.5);
        }
        for (int k = VARIABLES; k < t.count; k++) assert_twins_agree(&t, k, x);
        rewrites += t.simple->rewrites;
        bbi_context_release(t.raw);
        bbi_context_release(t.simple);
    }
    assert_true(rewrites > 1500 * 5);
}

/* Baur and Strassen, 1983: a scalar formula and its gradient together cost at most 5 times the formula, as
 * operations are counted in op.def. What has no operations at all, like a sum of repeats, is let pass. */
static void gradients_of_random_formulas_are_cheap(void **state) {
    (void)state;
    for (int round = 0; round < 300; round++) {
        twins t;
        start(&t);
        while (t.count < POOL - 2) grow(&t);
        for (int k = VARIABLES; k < t.count; k++) {
            const bbi_node *one = bbi_const(t.simple, 1), *all[1 + VARIABLES] = {bbi_op1(t.simple, BBI_OP_sum, t.s[k])};
            assert_int_equal(bbi_vjp(t.simple, all, &one, 1, t.s, VARIABLES, true, all + 1), BB_OK);
            double formula = bbi_cost(all, 1), together = bbi_cost(all, 1 + VARIABLES);
            if (together > 5 * formula + 2 * WIDEST) {
                bbi_text text = {0};
                bbi_print(&text, t.s[k], NULL);
                fail_msg("%s costs %g, with its gradient %g", text.data, formula, together);
            }
        }
        bbi_context_release(t.raw);
        bbi_context_release(t.simple);
    }
}

/* ---- identities of nodes ---- */
static const bbi_node *parsed(bbi_context *c, bbi_signature *signature, const char *text) {
    const bbi_node *node;
    int64_t count;
    if (bbi_parse(c, text, signature, NULL, &node, 1, &count) != BB_OK) fail_msg("%s", bb_last_error());
    return node;
}

static void equal_formulas_are_one_node(void **state) {
    (void)state;
    static const char *const equal[][2] = {
        {"sqdist(x, y)", "sqdist(y, x)"},
        {"2*(3*x)", "6*x"},
        {"-(3*x)", "(-3)*x"},
        {"x*y + z*x", "x*(z + y)"},
        {"exp(x)*exp(z)", "exp(x + z)"},
        {"x - x + y", "y"},
        {"x/4", "x*0.25"},
        {"sum(2*x)", "2*sum(x)"},
        {"slice(concat(x, y), 3, 3, 1)", "y"},
        {"slice(pad(x, 2, 9, 2), 2, 3, 2)", "x"},
        {"pad(elem(x, 0), 0, 3, 1) + pad(elem(x, 1), 1, 3, 1) + pad(elem(x, 2), 2, 3, 1)", "x"},
        {"concat(elem(x, 1), elem(x, 2))", "extract(x, 1, 2)"},
        {"sum(x*repeat(s, 3))", "s*sum(x)"},
        {"complexreal(complex(x, y))", "x"},
        {"compleximag(complex(x, y))", "y"},
        {"complexreal(complexmult(complex(x, y), complex(z, x)))", "x*z - y*x"},
        {"conj(conj(w))", "w"},
        {"matvecmult(w, s)", "w*s"},
        {"tensordot(x, y, [3], [3], [0], [0])", "dot(x, y)"},
        {"tensordot(w, w, [2,3], [2,3], [0,1], [0,1])", "sqnorm2(w)"},
        {"vecmatmult(x, w)", "tensordot(w, x, [3,2], [3], [0], [0])"},
        {"argmax(s)", "0"},
        {"sum_j(y*0)", "zero(3)"},
        {"x**2", "square(x)"},
        {"sqrt(x)*sqrt(x)", "x"},
    };
    bbi_context *c = bbi_context_new();
    bbi_signature signature = {0};
    parsed(c, &signature, "x:i3 + y:j3 + z:i3 + s:p1 + sum(w:i6)");
    for (size_t k = 0; k < sizeof equal / sizeof *equal; k++) {
        const bbi_node *a = parsed(c, &signature, equal[k][0]), *b = parsed(c, &signature, equal[k][1]);
        if (a != b) {
            bbi_text t = {0}, u = {0};
            bbi_print(&t, a, &signature);
            bbi_print(&u, b, &signature);
            fail_msg("%s is %s, %s is %s", equal[k][0], t.data, equal[k][1], u.data);
        }
    }
    bbi_signature_free(&signature);
    bbi_context_release(c);
}

/* A new number must not need new code: the same nodes but for the constants. */
static void structure_does_not_depend_on_literals(void **state) {
    (void)state;
    static const char *const formulas[] = {"exp(-sqdist(x, y)/%s)*%s", "(x*%s + %s)*%s - y",
                                           "sum(x*%s)/(%s + sum(y*%s))", "powf(%s, x) - %s/x"};
    static const char *const numbers[] = {"3.7", "5.3", "1e-3", "123456.75"};
    for (size_t f = 0; f < sizeof formulas / sizeof *formulas; f++) {
        char shape[4][512];
        for (int n = 0; n < 4; n++) {
            bbi_context *c = bbi_context_new();
            bbi_signature signature = {0};
            char text[256];
            parsed(c, &signature, "sum(x:i3) + sum(y:j3)");
            snprintf(text, sizeof text, formulas[f], numbers[n], numbers[(n + 1) % 4], numbers[(n + 2) % 4]);
            const bbi_node *root = parsed(c, &signature, text), **order;
            int64_t count;
            size_t used = 0;
            assert_int_equal(bbi_topological(&root, 1, &order, &count), BB_OK);
            for (int64_t k = 0; k < count; k++) {
                used +=
                    (size_t)snprintf(shape[n] + used, sizeof shape[n] - used, "%s ", bbi_op_info(order[k]->op)->name);
            }
            bbi_free(order);
            bbi_signature_free(&signature);
            bbi_context_release(c);
            assert_string_equal(shape[0], shape[n]);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_rule_agrees_at_random_points),
        cmocka_unit_test(every_rule_decreases_the_weight),
        cmocka_unit_test(no_rule_inspects_other_numbers_than_0_1_2),
        cmocka_unit_test(every_rule_fires),
        cmocka_unit_test(equal_formulas_are_one_node),
        cmocka_unit_test(structure_does_not_depend_on_literals),
        cmocka_unit_test(random_formulas_mean_the_same_rewritten),
        cmocka_unit_test(gradients_of_random_formulas_are_cheap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
