/* random_program.h: random formulas as text, over the table of operations. Every formula is written twice at
 * once: as the caller would, and with the pairs that block-sparse ranges leave out masked by hand (row_label
 * and column_label are one-hot vectors of clusters whose product says whether a pair counts; nothing[0] is
 * NaN, nothing[1] -inf).
 *
 * Values carry an interval, so that operands can be brought into the domain of a row of the table, and a
 * degree: a polynomial of degree <= 2 in inputs that are multiples of 1/64 is exact in float32, whatever the
 * order of its operations. What jumps (comparisons, rounding, indices) is only applied to such values. */
#ifndef BENBEN_TEST_RANDOM_PROGRAM_H
#define BENBEN_TEST_RANDOM_PROGRAM_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "expr.h"

enum { RANDOM_TEXTS = 2, RANDOM_POOL = 1 << 18, RANDOM_VARIABLES = 6, RANDOM_LIMIT = 6000, INEXACT = 99 };

typedef struct random_variable {
    char name[8];
    int place; /* bbi_place */
    int dim;
    double low, high;
} random_variable;

typedef struct random_program {
    uint64_t state;
    random_variable variable[RANDOM_VARIABLES];
    int variables;
    bool smooth; /* differentiable wherever the inputs are generic */
    bool plain;  /* no reduction but sums */
    bool firm;   /* nothing that may turn out constant: that has no placement, which ranges go by */
    int most_k;  /* largest K of the K smallest */
    int outputs;
    char *text[RANDOM_TEXTS];
    char pool[RANDOM_POOL];
    size_t used;
} random_program;

typedef struct piece {
    const char *text[RANDOM_TEXTS];
    int dim, place, degree;
    double low, high;
} piece;

/* ---- numbers and texts ---- */
static inline uint64_t draw(random_program *r) { /* splitmix64 */
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}
static inline int below(random_program *r, int n) { return (int)(draw(r) % (uint64_t)n); }
static inline bool chance(random_program *r, int percent) { return below(r, 100) < percent; }

static inline const char *pooled(random_program *r, const char *text, size_t length) {
    if (r->used + length + 1 > RANDOM_POOL) return "overflow";
    char *at = memcpy(r->pool + r->used, text, length);
    at[length] = 0;
    r->used += length + 1;
    return at;
}

/* The form with %0, %1, %2 replaced by the operands, %m and %n by the integers. */
static inline piece joined(random_program *r, const char *form, const piece *operand, int m, int n) {
    piece p = {.dim = 1, .degree = INEXACT, .low = -INFINITY, .high = INFINITY};
    for (int version = 0; version < RANDOM_TEXTS; version++) {
        static char buffer[4 * RANDOM_LIMIT];
        size_t length = 0;
        for (const char *f = form; *f && length < 3 * RANDOM_LIMIT; f++) {
            if (*f != '%') {
                buffer[length++] = *f;
                continue;
            }
            f++;
            int room = (int)(sizeof buffer - length);
            if (*f == 'm' || *f == 'n')
                length += (size_t)snprintf(buffer + length, (size_t)room, "%d", *f == 'm' ? m : n);
            else
                length += (size_t)snprintf(buffer + length, (size_t)room, "%s", operand[*f - '0'].text[version]);
            if (length > sizeof buffer) length = sizeof buffer;
        }
        p.text[version] = pooled(r, buffer, length);
    }
    for (const char *f = form; *f; f++)
        if (*f == '%' && f[1] >= '0' && f[1] <= '9') p.place |= operand[f[1] - '0'].place;
    return p;
}

static inline piece joined1(random_program *r, const char *form, piece a) { return joined(r, form, &a, 0, 0); }
static inline piece with_dim(piece p, int dim) {
    p.dim = dim;
    return p;
}
static inline piece within(piece p, double low, double high) {
    p.low = low, p.high = high;
    return p;
}
static inline bool same_text(const piece *p, const piece *q) { return strcmp(p->text[0], q->text[0]) == 0; }
static inline bool too_long(const piece *p) { return strlen(p->text[1]) > 400; }

/* a, brought between low and high. */
static inline piece bounded(random_program *r, piece a, double low, double high) {
    static const char *const forms[] = {"sin(%0)", "cos(%0)", "tanh(%0)", "(%0 / (1 + abs(%0)))", "(atan(%0) / 1.6)"};
    if (a.low >= low && a.high <= high) return a;
    char form[128];
    double middle = (low + high) / 2, half = (high - low) / 2 * 0.98;
    const char *inner = forms[r->smooth || too_long(&a) ? below(r, 3) : below(r, 5)];
    if (middle == 0)
        snprintf(form, sizeof form, "(%.3g * %s)", half, inner);
    else
        snprintf(form, sizeof form, "(%.6g + %.3g * %s)", middle, half, inner);
    return with_dim(within(joined1(r, form, a), low, high), a.dim);
}

/* ---- leaves ---- */
static inline void add_variable(random_program *r, char letter, int place, int dim, double low, double high) {
    random_variable *v = &r->variable[r->variables];
    snprintf(v->name, sizeof v->name, "%c%d", letter, r->variables++);
    v->place = place, v->dim = dim, v->low = low, v->high = high;
}

static inline int some_dim(random_program *r) {
    static const int dims[] = {1, 1, 1, 2, 2, 3, 3, 3, 5, 8, 9, 13, 20};
    return dims[below(r, 13)];
}

/* x and y of one dimension, a and b of others, a positive scalar and a parameter vector. */
static inline void declare(random_program *r) {
    int dim = some_dim(r);
    add_variable(r, 'x', BBI_I, dim, -2, 2);
    add_variable(r, 'y', BBI_J, dim, -2, 2);
    add_variable(r, 'b', BBI_J, some_dim(r), -2, 2);
    if (chance(r, 60)) add_variable(r, 's', BBI_P, 1, 0.5, 2);
    if (chance(r, 50)) add_variable(r, 'a', BBI_I, some_dim(r), -2, 2);
    if (chance(r, 40)) add_variable(r, 'q', BBI_P, chance(r, 50) ? dim : some_dim(r), -2, 2);
}

static inline piece number(random_program *r, bool exact) {
    static const char *const texts[] = {"1", "2", "-1", "0.5", "3", "-2", "0.25", "0.7", "1.3", "-0.31"};
    static const double values[] = {1, 2, -1, 0.5, 3, -2, 0.25, 0.7, 1.3, -0.31};
    int k = below(r, exact ? 7 : 10);
    piece p = within(joined(r, texts[k], NULL, 0, 0), values[k], values[k]);
    p.degree = k < 7 ? 0 : INEXACT;
    return p;
}

static inline piece leaf(random_program *r, int place, int dim) {
    const random_variable *fit[RANDOM_VARIABLES];
    int count = 0, equal = 0;
    for (int k = 0; k < r->variables; k++) {
        const random_variable *v = &r->variable[k];
        if ((v->place & ~place) || v->dim < dim) continue;
        if (v->dim == dim && !equal++) count = 0;
        if (v->dim == dim || !equal) fit[count++] = v;
    }
    if (!count) {
        piece p = number(r, true);
        return dim == 1 ? p : with_dim(within(joined(r, "repeat(%0, %m)", &p, dim, 0), p.low, p.high), dim);
    }
    const random_variable *v = fit[below(r, count)];
    piece name = {
        .text = {v->name, v->name}, .dim = v->dim, .place = v->place, .degree = 1, .low = v->low, .high = v->high};
    if (v->dim == dim) return name;
    int first = below(r, v->dim - dim + 1);
    piece part =
        dim == 1 ? joined(r, "elem(%0, %m)", &name, first, 0) : joined(r, "extract(%0, %m, %n)", &name, first, dim);
    part.degree = 1;
    return with_dim(within(part, v->low, v->high), dim);
}

/* ---- exact values: polynomials of degree <= 2 ---- */
static inline piece exact_value(random_program *r, int place, int dim, int depth) {
    piece o[2] = {leaf(r, place, dim), leaf(r, place, chance(r, 30) ? 1 : dim)};
    int choice = below(r, dim == 1 ? 9 : 6);
    if (same_text(&o[0], &o[1])) choice = choice % 2 ? 1 : 3; /* no zeros that simplify: they have no placement */
    double size = fmax(fmax(fabs(o[0].low), fabs(o[0].high)), fmax(fabs(o[1].low), fabs(o[1].high)));
    piece p;
    if (choice == 0) return o[0];
    if (choice < 3)
        p = within(joined(r, choice == 1 ? "(%0 + %1)" : "(%0 - %1)", o, 0, 0), -2 * size, 2 * size);
    else if (choice < 5)
        p = within(joined(r, choice == 3 ? "(%0 * %1)" : "square(%0 - %1)", o, 0, 0), -4 * size * size,
                   4 * size * size);
    else if (choice == 5)
        p = within(joined(r, "abs(%0)", o, 0, 0), 0, size);
    else {
        int wide = some_dim(r);
        o[0] = leaf(r, place, wide), o[1] = leaf(r, place, wide);
        if (same_text(&o[0], &o[1])) choice = 8;
        p = joined(r, choice == 6 ? "sqdist(%0, %1)" : choice == 7 ? "sum(%0)" : "dot(%0, %1)", o, 0, 0);
        p = within(p, -400, 400);
    }
    p.degree = 2;
    if (depth > 0 && chance(r, 40)) {
        piece q[2] = {with_dim(p, dim), exact_value(r, place, dim, 0)};
        bool plus = same_text(&q[0], &q[1]) || chance(r, 50);
        p = within(joined(r, plus ? "(%0 + %1)" : "(%0 - %1)", q, 0, 0), -1000, 1000);
        p.degree = 2;
    }
    return with_dim(p, dim);
}

/* ---- everything else ---- */
static inline piece value(random_program *r, int place, int dim, int depth);
static inline piece axis_reduction(random_program *r, int place, int dim, int depth);

static inline piece arithmetic(random_program *r, int place, int dim, int depth) {
    piece o[2] = {value(r, place, dim, depth), value(r, place, chance(r, 40) ? 1 : dim, depth)};
    if (chance(r, 50)) {
        piece swap = o[0];
        if (o[1].dim == dim) o[0] = o[1], o[1] = swap;
    }
    switch (same_text(&o[0], &o[1]) ? 5 : below(r, 7)) {
    case 0: return with_dim(within(joined(r, "(%0 + %1)", o, 0, 0), o[0].low + o[1].low, o[0].high + o[1].high), dim);
    case 1: return with_dim(within(joined(r, "(%0 - %1)", o, 0, 0), o[0].low - o[1].high, o[0].high - o[1].low), dim);
    case 2: o[1] = bounded(r, o[1], 0.5, 2.5); return with_dim(joined(r, "(%0 / %1)", o, 0, 0), dim);
    case 3: return with_dim(joined(r, chance(r, 50) ? "square(%0)" : "(-%0)", o, 0, 0), dim);
    case 4: o[0] = bounded(r, o[0], -2, 2); return with_dim(joined(r, "(%0 ** %m)", o, 2 + below(r, 3), 0), dim);
    default: break;
    }
    double most = fmax(fabs(o[0].low), fabs(o[0].high)) * fmax(fabs(o[1].low), fabs(o[1].high));
    if (!(most < 1e6)) most = INFINITY;
    return with_dim(within(joined(r, "(%0 * %1)", o, 0, 0), -most, most), dim);
}

/* The interval of a row's values over the box [low, high]^arity, from a grid. */
static inline void sample_range(const bbi_op_row *row, double *low, double *high) {
    *low = INFINITY, *high = -INFINITY;
    for (int k = 0; k < 1331; k++) {
        double t[3] = {k % 11 / 10.0, k / 11 % 11 / 10.0, k / 121 / 10.0};
        for (int d = 0; d < 3; d++) t[d] = row->domain_low + t[d] * (row->domain_high - row->domain_low);
        double y = row->scalar(t[0], t[1], t[2]);
        *low = fmin(*low, y), *high = fmax(*high, y);
    }
    double margin = 0.1 * (*high - *low) + 0.01 * fabs(*high);
    *low -= margin, *high += margin;
}

static inline bool jumps_at_first(int op) { return op == BBI_OP_where || op == BBI_OP_ifelse; }

static inline piece table_row(random_program *r, int place, int dim, int depth) {
    int op;
    const bbi_op_row *row;
    do {
        op = BBI_OP_REDUCE + 1 + below(r, BBI_OP_COUNT - BBI_OP_REDUCE - 1);
        if (chance(r, 25)) op = BBI_OP_exp;
        row = bbi_op_info(op);
    } while (row->kind != BBI_MAP || row->flags & BBI_HIDDEN || ((r->smooth || r->firm) && row->flags & BBI_NODIFF));
    piece o[3];
    char form[64];
    int at = snprintf(form, sizeof form, "%s(", row->name);
    for (int k = 0; k < row->arity; k++) {
        bool exact = row->flags & BBI_NODIFF || (jumps_at_first(op) && k == 0 && !r->smooth);
        int operand_dim = k == 0 || chance(r, 60) ? dim : 1;
        o[k] = exact ? exact_value(r, place, operand_dim, 1)
                     : bounded(r, value(r, place, operand_dim, depth), row->domain_low, row->domain_high);
        if (k && same_text(&o[k], &o[0])) o[k] = number(r, exact); /* not a - a */
        at += snprintf(form + at, sizeof form - (size_t)at, k ? ", %%%d" : "%%%d", k);
    }
    snprintf(form + at, sizeof form - (size_t)at, ")");
    piece p = with_dim(joined(r, form, o, 0, 0), dim);
    if (row->flags & BBI_NODIFF && !p.place) return leaf(r, place, dim); /* a constant 0 has no placement */
    if (row->flags & BBI_NODIFF)
        return within(p, row->flags & BBI_BOOLEAN ? 0 : -2000, row->flags & BBI_BOOLEAN ? 1 : 2000);
    double low, high;
    sample_range(row, &low, &high);
    return within(p, low, high);
}

static inline piece scalar_of_vectors(random_program *r, int place, int depth) {
    static const char *const two[] = {"dot(%0, %1)", "sqdist(%0, %1)", "sqdist(%0, %1)", "dot(%0, %1)", "sum(%0 * %1)"};
    static const char *const one[] = {"sum(%0)", "sqnorm2(%0)", "vmean(%0)", "vlogsumexp(%0)", "max(%0)", "min(%0)"};
    int wide = some_dim(r), choice = below(r, 12);
    piece o[3] = {value(r, place, wide, depth), value(r, place, wide, depth)};
    if (choice < 5) return joined(r, two[same_text(&o[0], &o[1]) ? 0 : choice], o, 0, 0);
    if (choice == 5 && wide < 6) return o[0] = bounded(r, o[0], 0.5, 1.5), joined(r, "vprod(%0)", o, 0, 0);
    if (choice == 6) return o[0] = bounded(r, o[0], 0.2, 2), joined(r, "norm2(%0)", o, 0, 0);
    if (choice == 7)
        return o[0] = leaf(r, place, 1),
               o[0].degree == INEXACT ? o[0] : joined(r, "weightedsqdist(%0, %1, %1 * 2)", o, 0, 0);
    if (choice == 8 && wide <= 3) return o[2] = leaf(r, place, wide * wide), joined(r, "symsqnorm(%2, %0)", o, 0, 0);
    if (choice == 9) return joined(r, "elem(%0, %m)", o, below(r, wide), 0);
    if (choice == 10 && !r->smooth && !r->firm) {
        o[2] = exact_value(r, place, 2 + below(r, 8), 0);
        if (o[2].place) return within(joined(r, chance(r, 50) ? "argmax(%2)" : "argmin(%2)", o, 0, 0), 0, 20);
    }
    o[0] = bounded(r, o[0], -20, 20);
    return joined(r, one[below(r, 6)], o, 0, 0);
}

static inline piece contraction(random_program *r, int place, int dim, int depth) {
    int e = 1 + below(r, 4), half = dim % 2 == 0 ? dim / 2 : dim;
    piece o[2];
    switch (below(r, 6)) {
    case 0:
        o[0] = value(r, place, dim * e, 0), o[1] = value(r, place, e, depth);
        return joined(r, "matvecmult(%0, %1)", o, 0, 0);
    case 1:
        o[0] = value(r, place, e, depth), o[1] = value(r, place, e * dim, 0);
        return joined(r, "vecmatmult(%0, %1)", o, 0, 0);
    case 2:
        o[0] = value(r, place, half, depth), o[1] = value(r, place, dim / half, depth);
        return joined(r, chance(r, 50) ? "tensorprod(%0, %1)" : "differencematrix(%0, %1)", o, 0, 0);
    case 3:
        o[0] = value(r, place, half, depth), o[1] = value(r, place, dim / half, depth);
        { /* Kronecker product of a half x 1 and a 1 x (dim / half) matrix */
            char form[80];
            snprintf(form, sizeof form, "kron(%%0, %%1, [%d, 1], [1, %d])", half, dim / half);
            return joined(r, form, o, 0, 0);
        }
    default: break;
    }
    char form[120];
    o[0] = value(r, place, half * e, depth), o[1] = value(r, place, e * (dim / half), 0);
    snprintf(form, sizeof form, "tensordot(%%0, %%1, [%d, %d], [%d, %d], [1], [0])", half, e, e, dim / half);
    return joined(r, form, o, 0, 0);
}

static inline piece vector_of(random_program *r, int place, int dim, int depth) {
    static const char *const complex2[] = {"complexmult(%0, %1)", "complexadd(%0, %1)", "complexsubtract(%0, %1)",
                                           "conj(%0)", "complexexp(%0)"};
    int cut = 1 + below(r, dim - 1), more = below(r, 5), choice = below(r, 12);
    piece o[2];
    if (choice < 2)
        return o[0] = value(r, place, cut, depth), o[1] = value(r, place, dim - cut, depth),
               joined(r, "concat(%0, %1)", o, 0, 0);
    if (choice == 2) return o[0] = value(r, place, 1, depth), joined(r, "repeat(%0, %m)", o, dim, 0);
    if (choice == 3 && (dim <= 5 || !r->smooth)) return joined1(r, "cumsum(%0)", value(r, place, dim, depth));
    if (choice == 4) return within(joined1(r, "vsoftmax(%0)", bounded(r, value(r, place, dim, depth), -5, 5)), 0, 1);
    if (choice == 5) return within(joined1(r, "normalize(%0)", bounded(r, value(r, place, dim, depth), 0.3, 2)), 0, 1);
    if (choice == 6)
        return o[0] = value(r, place, dim + more, depth),
               joined(r, dim > 1 ? "extract(%0, %m, dim(%0) - %n)" : "%0", o, more, more);
    if (choice == 7)
        return o[0] = value(r, place, cut, depth), joined(r, "extractt(%0, %n, %m)", o, dim, below(r, dim - cut + 1)),
               joined(r, "pad(%0, 0, %m, 1)", o, dim, 0);
    if (choice == 8 && dim % 2 == 0) {
        o[0] = bounded(r, value(r, place, dim, depth), -2, 2), o[1] = value(r, place, dim, depth);
        return joined(r, complex2[below(r, 5)], o, 0, 0);
    }
    return contraction(r, place, dim, depth);
}

static inline piece value(random_program *r, int place, int dim, int depth) {
    if (depth <= 0) return leaf(r, place, dim);
    int choice = below(r, 100);
    piece p;
    if (choice < 28)
        p = arithmetic(r, place, dim, depth - 1);
    else if (choice < 52)
        p = table_row(r, place, dim, depth - 1);
    else if (choice < 78)
        p = dim == 1 ? scalar_of_vectors(r, place, depth - 1) : vector_of(r, place, dim, depth - 1);
    else if (choice < 88 && depth > 1)
        p = axis_reduction(r, place, dim, depth - 2);
    else
        return leaf(r, place, dim);
    p.dim = dim;
    return strlen(p.text[1]) > 900 ? leaf(r, place, dim) : p;
}

/* ---- reductions over an axis ---- */
static inline const char *axis_suffix(int axis) { return axis == BBI_I ? "i" : axis == BBI_J ? "j" : "ij"; }

/* The formula f with the pairs that do not count replaced by `otherwise` in the masked text. */
static inline piece masked(random_program *r, piece f, int axis, const char *otherwise) {
    char form[100];
    if (axis != BBI_IJ && (f.place | axis) != BBI_IJ) return f;
    snprintf(form, sizeof form, "where(dot(row_label, column_label), %%0, %s)", otherwise);
    piece m = joined1(r, form, f);
    f.text[1] = m.text[1];
    return f;
}

static inline piece reduced(random_program *r, const char *name, int axis, piece f, const piece *weight, int k) {
    char form[100];
    piece o[2] = {f, weight ? *weight : f};
    int at = snprintf(form, sizeof form, "%s_%s(%%0", name, axis_suffix(axis));
    if (weight) at += snprintf(form + at, sizeof form - (size_t)at, ", %%1");
    snprintf(form + at, sizeof form - (size_t)at, k ? ", %d)" : ")", k);
    piece p = joined(r, form, o, 0, 0);
    if (axis == BBI_IJ && r->smooth &&
        (!strcmp(name, "min") || !strcmp(name, "max"))) { /* of which each axis has a derivative */
        snprintf(form, sizeof form, "%s_i(%s_j(%%0))", name, name);
        p.text[1] = joined(r, form, o, 0, 0).text[1];
    }
    p.place &= ~axis;
    p.dim = f.dim * (k ? k : 1);
    return p;
}

/* A body that depends on the folded axis and, mostly, on the kept one as well. */
static inline piece body(random_program *r, int place, int dim, int depth) {
    piece f = value(r, place, dim, depth);
    if (place != BBI_IJ || chance(r, 20)) return f;
    static const char *const kernels[] = {
        "exp(-sqdist(x0, y1))", "exp(-0.7 * sqdist(x0, y1))",       "(1 / (1 + sqdist(x0, y1)))",
        "sin(dot(x0, y1))",     "exp(-sqrt(0.1 + sqdist(x0, y1)))", "dot(x0, y1)",
        "sqdist(x0, y1)"};
    piece o[2] = {f, {.place = BBI_IJ, .dim = 1, .degree = INEXACT}};
    o[1].text[0] = o[1].text[1] = kernels[below(r, 7)];
    return with_dim(joined(r, chance(r, 85) ? "(%1 * %0)" : "(%0 + %1)", o, 0, 0), dim);
}

static inline piece masked_sum(random_program *r, piece f, int axis) {
    return reduced(r, "sum", axis, masked(r, f, axis, "0"), NULL, 0);
}

static inline piece mean_of(random_program *r, piece f, int axis) {
    piece one = joined(r, "1", NULL, 0, 0);
    piece o[2] = {masked_sum(r, f, axis), one};
    one.place = f.place; /* the mask stands where that of f does */
    piece count = masked_sum(r, one, axis);
    o[1].text[1] = count.text[1];
    piece p = reduced(r, "mean", axis, f, NULL, 0), q = joined(r, "(%0 / %1)", o, 0, 0);
    p.text[1] = q.text[1];
    return p;
}

/* Log-sum-exp and its kin; the weight of a logarithm is positive. */
static inline piece exponential_sum(random_program *r, int place, int axis, int dim, int depth) {
    piece f = bounded(r, body(r, place, 1, depth), -8, 8), w = value(r, place, dim, depth);
    int own = f.place;
    if (dim == 1 && chance(r, 50))
        return reduced(r, "logsumexp", axis, masked(r, f, axis, "elem(nothing, 1)"), NULL, 0);
    f.place |= w.place;
    f = masked(r, f, axis, "elem(nothing, 1)");
    f.place = own;
    bool logarithm = chance(r, 40);
    if (logarithm) w = bounded(r, w, 0.5, 2);
    own = w.place, w.place |= f.place;
    w = masked(r, w, axis, "0");
    w.place = own;
    return with_dim(reduced(r, logarithm ? "logsumexpweight" : "sumsoftmaxweight", axis, f, &w, 0), dim);
}

static inline piece axis_reduction(random_program *r, int place, int dim, int depth) {
    int axis, choice = r->plain ? 0 : below(r, 20);
    if (place == BBI_IJ)
        axis = 1 + below(r, 3);
    else
        axis = chance(r, 20) ? BBI_IJ : place == BBI_I ? BBI_J : place == BBI_J ? BBI_I : 1 + below(r, 3);
    int whole = place == BBI_IJ ? place : place | axis;
    if (place == BBI_IJ && axis != BBI_IJ) whole = BBI_IJ;
    if (choice < 10) return with_dim(masked_sum(r, body(r, whole, dim, depth), axis), dim);
    if (choice < 12) return with_dim(mean_of(r, body(r, whole, dim, depth), axis), dim);
    if (choice < 15) return exponential_sum(r, whole, axis, dim, depth);
    if (choice < 16) {
        piece f = bounded(r, body(r, whole, dim, depth), 0.98, 1.02);
        return with_dim(reduced(r, "prod", axis, masked(r, f, axis, "1"), NULL, 0), dim);
    }
    piece f = bounded(r, body(r, whole, dim, depth), r->smooth ? -10 : -1e4, r->smooth ? 10 : 1e4);
    return with_dim(reduced(r, chance(r, 50) ? "min" : "max", axis, masked(r, f, axis, "elem(nothing, 0)"), NULL, 0),
                    dim);
}

/* Outputs whose columns are chosen: the compared values are exact. */
static inline piece selection(random_program *r, int axis) {
    static const char *const names[] = {"argmin", "argmax", "min_argmin", "max_argmax", "min", "max"};
    static const char *const lists[] = {"kmin", "argkmin", "kmin_argkmin"};
    piece f = masked(r, exact_value(r, BBI_IJ, chance(r, 60) ? 1 : some_dim(r), 1), axis, "elem(nothing, 0)");
    if (axis == BBI_IJ || chance(r, 50)) {
        int which = axis == BBI_IJ ? 4 + below(r, 2) : below(r, 6);
        r->outputs += which == 2 || which == 3;
        return reduced(r, names[which], axis, f, NULL, 0);
    }
    int k = 1 + below(r, 5), which = below(r, 3);
    if (k > r->most_k) r->most_k = k;
    r->outputs += which == 2;
    return reduced(r, lists[which], axis, f, NULL, k);
}

static inline piece output(random_program *r, int depth) {
    int axis = chance(r, 55) ? BBI_J : chance(r, 60) ? BBI_I : BBI_IJ, kept = BBI_IJ & ~axis;
    int dim = chance(r, 60) ? 1 : some_dim(r);
    r->outputs++;
    if (!r->smooth && !r->plain && chance(r, 25)) return selection(r, axis);
    if (chance(r, 70)) return axis_reduction(r, kept, dim, depth);
    return value(r, kept, dim, depth + 1);
}

/* A program of up to three outputs. */
static inline void random_formula(random_program *r, uint64_t seed, bool smooth, bool firm, int depth, int outputs) {
    memset(r, 0, offsetof(random_program, pool));
    r->used = 0;
    r->firm = firm;
    r->state = seed * 0x2545f4914f6cdd1du;
    r->smooth = smooth;
    declare(r);
    for (int version = 0; version < RANDOM_TEXTS; version++) r->text[version] = calloc(1, 4 * RANDOM_LIMIT);
    for (int k = 0; k < outputs; k++) {
        piece p = output(r, 1 + below(r, depth));
        for (int version = 0; version < RANDOM_TEXTS; version++)
            snprintf(r->text[version] + strlen(r->text[version]), RANDOM_LIMIT, "%s%s", k ? "; " : "", p.text[version]);
    }
}

static inline void random_free(random_program *r) {
    for (int version = 0; version < RANDOM_TEXTS; version++) free(r->text[version]);
}

#endif
