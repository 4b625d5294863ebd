/* sample.h: a formula over parameters and a point at which the oracle evaluates it; for the tests of
 * operations. */
#ifndef BENBEN_TEST_SAMPLE_H
#define BENBEN_TEST_SAMPLE_H

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "expr.h"

enum { MAX_VARIABLES = 6, MAX_DIM = 24 };

static uint64_t seed = 7;

static inline double uniform(double low, double high) { /* xorshift64* */
    seed ^= seed >> 12;
    seed ^= seed << 25;
    seed ^= seed >> 27;
    return low + (high - low) * (double)(seed * 0x2545F4914F6CDD1Du >> 11) / 9007199254740992.0;
}

/* ---- a formula over parameters and a point at which it is evaluated ---- */
typedef struct sample {
    bbi_context *c;
    bbi_signature signature;
    const bbi_node *f;
    const bbi_node *variable[MAX_VARIABLES];
    double x[MAX_VARIABLES][MAX_DIM];
} sample;

static inline void read_sample(sample *s, const char *text) {
    int64_t outputs;
    memset(s, 0, sizeof *s);
    s->c = bbi_context_new();
    if (bbi_parse(s->c, text, &s->signature, NULL, &s->f, 1, &outputs) != BB_OK)
        fail_msg("%s: %s", text, bb_last_error());
    assert_true(s->signature.count <= MAX_VARIABLES);
    for (int64_t v = 0; v < s->signature.count; v++)
        s->variable[v] = bbi_var(s->c, v, s->signature.variables[v].place, s->signature.variables[v].dim);
}

/* One component in each of as many equal parts of the interval, in random order: ties, where comparisons
 * jump, are far. */
static inline void draw_point(sample *s, double low, double high) {
    double *component[MAX_VARIABLES * MAX_DIM];
    int count = 0;
    for (int64_t v = 0; v < s->signature.count; v++) {
        for (int64_t k = 0; k < s->signature.variables[v].dim; k++) component[count++] = &s->x[v][k];
    }
    for (int part = 0; part < count; part++) {
        int chosen = part + (int)uniform(0, count - part);
        double *x = component[chosen];
        component[chosen] = component[part];
        *x = low + (high - low) * (part + uniform(0.1, 0.9)) / count;
    }
}

static inline void free_sample(sample *s) {
    bbi_signature_free(&s->signature);
    bbi_context_release(s->c);
}

/* The value of a node; its variables are those of the sample. */
static inline void evaluate(const sample *s, const bbi_node *n, double *value) {
    bbi_oracle_array in[MAX_VARIABLES], out;
    for (int64_t v = 0; v < s->signature.count; v++)
        in[v] = (bbi_oracle_array){(double *)s->x[v], 1, s->signature.variables[v].dim};
    if (bbi_oracle(&n, 1, in, s->signature.count, 1, 1, &out) != BB_OK) fail_msg("%s", bb_last_error());
    assert_int_equal(out.dim, n->dim);
    memcpy(value, out.data, (size_t)n->dim * sizeof *value);
    bbi_free(out.data);
}

#endif
