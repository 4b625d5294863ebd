/* contract.c: the normal form of contractions, out[lo] = sum a[la] b[lb]. Axes of size 1 go, axes that stay
 * together in every tensor become one, scalars and repeats leave the contraction, what concerns one operand
 * alone is done to it first, and what is then an elementwise product, a scalar product, a sum or nothing at
 * all is made as such. What remains gets its operands in the order of order.c and its labels in the order
 * in which they are first met in lo, la, lb: equal contractions become one node. */
#include "simplify.h"

#include <string.h>

enum { A, B, OUT, LISTS };

/* a contraction that can be edited */
typedef struct labelled {
    int nlabel, count[LISTS];
    int64_t size[BBI_MAX_INTS], list[LISTS][BBI_MAX_INTS];
} labelled;

static labelled read_labels(const bbi_node *n) {
    labelled s;
    bbi_contraction spec = bbi_contraction_of(n);
    const int64_t *from[LISTS] = {spec.la, spec.lb, spec.lo};
    s.nlabel = spec.nlabel;
    s.count[A] = spec.na;
    s.count[B] = spec.nb;
    s.count[OUT] = spec.no;
    memcpy(s.size, spec.size, (size_t)s.nlabel * sizeof *s.size);
    for (int t = 0; t < LISTS; t++) memcpy(s.list[t], from[t], (size_t)s.count[t] * sizeof **s.list);
    return s;
}

static int find_label(const labelled *s, int t, int64_t label) {
    for (int k = 0; k < s->count[t]; k++) {
        if (s->list[t][k] == label) return k;
    }
    return -1;
}

static void drop_label(labelled *s, int t, int64_t label) {
    int at = find_label(s, t, label);
    if (at < 0) return;
    s->count[t]--;
    memmove(&s->list[t][at], &s->list[t][at + 1], (size_t)(s->count[t] - at) * sizeof **s->list);
}

/* Numbers the labels anew, in the order in which they are met; those that are in no list vanish. */
static void number_labels(labelled *s) {
    static const int order[LISTS] = {OUT, A, B};
    int64_t renamed[BBI_MAX_INTS], size[BBI_MAX_INTS];
    int met = 0;
    for (int k = 0; k < s->nlabel; k++) renamed[k] = -1;
    for (int t = 0; t < LISTS; t++) {
        for (int k = 0; k < s->count[order[t]]; k++) {
            int64_t *label = &s->list[order[t]][k];
            if (renamed[*label] < 0) {
                size[met] = s->size[*label];
                renamed[*label] = met++;
            }
            *label = renamed[*label];
        }
    }
    memcpy(s->size, size, (size_t)met * sizeof *size);
    s->nlabel = met;
}

static const bbi_node *contract(bbi_context *c, const bbi_node *a, const bbi_node *b, labelled s) {
    number_labels(&s);
    return bbi_contract(
        c, a, b,
        &(bbi_contraction){s.nlabel, s.count[A], s.count[B], s.count[OUT], s.size, s.list[A], s.list[B], s.list[OUT]});
}

static bool equal_lists(const labelled *s, int t, int u) {
    return s->count[t] == s->count[u] && !memcmp(s->list[t], s->list[u], (size_t)s->count[t] * sizeof **s->list);
}

/* Whether label q follows label p directly wherever one of them is. */
static bool stay_together(const labelled *s, int64_t p, int64_t q) {
    for (int t = 0; t < LISTS; t++) {
        int i = find_label(s, t, p), j = find_label(s, t, q);
        if ((i < 0) != (j < 0) || (i >= 0 && j != i + 1)) return false;
    }
    return true;
}

static void merge_labels(labelled *s) {
    for (int64_t p = 0; p < s->nlabel; p++) {
        for (int64_t q = 0; q < s->nlabel; q++) {
            if (p == q || s->size[q] == 1 || !stay_together(s, p, q)) continue;
            s->size[p] *= s->size[q];
            for (int t = 0; t < LISTS; t++) drop_label(s, t, q);
            s->size[q] = 1; /* in no list any more */
            q = -1;
        }
    }
}

static void normalise(labelled *s) {
    for (int64_t p = 0; p < s->nlabel; p++) {
        for (int t = 0; t < LISTS && s->size[p] == 1; t++) drop_label(s, t, p);
    }
    merge_labels(s);
    number_labels(s);
}

/* A repeated scalar x as operand t: only the number of terms that its own summed labels stand for remains of
 * them. */
static const bbi_node *strip_repeat(bbi_context *c, labelled *s, int t, const bbi_node *x) {
    double terms = 1;
    for (int k = 0; k < s->count[t]; k++) {
        int64_t label = s->list[t][k];
        if (find_label(s, OUT, label) < 0 && find_label(s, t == A ? B : A, label) < 0) terms *= (double)s->size[label];
    }
    s->count[t] = 0;
    return bbi_op2(c, BBI_OP_mul, bbi_const(c, terms), x->arg[0]);
}

static const bbi_node *one_operand(bbi_context *c, const bbi_node *n, const bbi_node *a, const labelled *s) {
    if (s->count[A] == 0) return bbi_repeat(c, a, n->dim);
    if (equal_lists(s, A, OUT)) return a;
    if (s->count[OUT] == 0) return bbi_op1(c, BBI_OP_sum, a);
    return NULL;
}

/* Labels of `of` alone are taken out of it: for an operand, summed before the product; for the result,
 * repeated after it. */
static bool split_own(const labelled *s, int of, labelled *without, labelled *own) {
    int others[2] = {of == A ? B : A, of == OUT ? B : OUT};
    *without = *own = *s;
    for (int k = 0; k < s->count[of]; k++) {
        int64_t label = s->list[of][k];
        if (find_label(s, others[0], label) < 0 && find_label(s, others[1], label) < 0) drop_label(without, of, label);
    }
    if (without->count[of] == s->count[of]) return false;
    int from = of == OUT ? OUT : A, to = of == OUT ? A : OUT;
    own->count[B] = 0;
    own->count[from] = s->count[of];
    memcpy(own->list[from], s->list[of], sizeof *own->list);
    own->count[to] = without->count[of];
    memcpy(own->list[to], without->list[of], sizeof *own->list);
    return true;
}

static const bbi_node *two_operands(bbi_context *c, const bbi_node *a, const bbi_node *b, const labelled *s) {
    labelled rest, own;
    if (equal_lists(s, A, B) && equal_lists(s, A, OUT)) return bbi_op2(c, BBI_OP_mul, a, b);
    if (equal_lists(s, A, B) && s->count[OUT] == 0) return bbi_op1(c, BBI_OP_sum, bbi_op2(c, BBI_OP_mul, a, b));
    if (split_own(s, A, &rest, &own)) return contract(c, contract(c, a, NULL, own), b, rest);
    if (split_own(s, B, &rest, &own)) return contract(c, a, contract(c, b, NULL, own), rest);
    if (split_own(s, OUT, &rest, &own)) return contract(c, contract(c, a, b, rest), NULL, own);
    return NULL;
}

static bool unchanged(const bbi_node *n, const bbi_node *a, const labelled *s) {
    labelled was = read_labels(n);
    if (a != n->arg[0] || was.nlabel != s->nlabel || memcmp(was.size, s->size, (size_t)s->nlabel * sizeof *s->size))
        return false;
    for (int t = 0; t < LISTS; t++) {
        if (was.count[t] != s->count[t] || memcmp(was.list[t], s->list[t], (size_t)s->count[t] * sizeof **s->list))
            return false;
    }
    return true;
}

static void swap_operands(labelled *s, const bbi_node **a, const bbi_node **b) {
    labelled copy = *s;
    const bbi_node *first = *a;
    s->count[A] = copy.count[B];
    s->count[B] = copy.count[A];
    memcpy(s->list[A], copy.list[B], sizeof *copy.list);
    memcpy(s->list[B], copy.list[A], sizeof *copy.list);
    *a = *b;
    *b = first;
    number_labels(s);
}

const bbi_node *bbi_simplify_contract(bbi_context *c, const bbi_node *n) {
    const bbi_node *a = n->arg[0], *b = n->narg == 2 ? n->arg[1] : NULL;
    if (bbi_is_const(a, 0) || (b && bbi_is_const(b, 0))) return bbi_zero(c, n->dim);
    labelled s = read_labels(n);
    normalise(&s);
    if (a->op == BBI_OP_repeat) a = strip_repeat(c, &s, A, a);
    if (b && b->op == BBI_OP_repeat) b = strip_repeat(c, &s, B, b);
    if (!a || (n->narg == 2 && !b)) return NULL;
    if (b && s.count[A] == 0) swap_operands(&s, &a, &b);
    number_labels(&s);
    const bbi_node *r;
    if (b && s.count[B] == 0) { /* a scalar factor */
        if (s.count[A] == 0) return bbi_repeat(c, bbi_op2(c, BBI_OP_mul, a, b), n->dim);
        return bbi_op2(c, BBI_OP_mul, b, contract(c, a, NULL, s));
    }
    if (b && bbi_compare(b, a) < 0) swap_operands(&s, &a, &b);
    r = b ? two_operands(c, a, b, &s) : one_operand(c, n, a, &s);
    if (r) return r;
    return unchanged(n, a, &s) ? NULL : contract(c, a, b, s);
}
