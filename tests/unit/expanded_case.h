/* expanded_case.h: of tests of expanded distances: random numbers, whether a run was expanded, Gaussian sums in double. */
#ifndef EXPANDED_CASE_H
#define EXPANDED_CASE_H

#include "run_case.h"

#include "../../src/run/program.h"

static inline double draw(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (double)(*state >> 8) / (1 << 23) - 1;
}

static inline bool is_expanded(const run_case *c) {
    bbi_variant *v = atomic_load(&c->kernel->variant[c->dtype == BB_FLOAT64]);
    return v && bbi_expanded_executable(atomic_load(&v->expanded)) != NULL;
}

/* sum_j exp(-s |x - y|^2) b in double; *scale: the sum of absolute terms. */
static inline double exact_gaussian(const run_case *c, int64_t i, double s, double *scale) {
    int64_t dim = c->variable[1].dim;
    double sum = 0;
    *scale = 0;
    for (int64_t j = 0; j < c->n; j++) {
        double d = 0;
        for (int64_t k = 0; k < dim; k++) {
            double t = case_element(&c->input[1], i * dim + k) - case_element(&c->input[2], j * dim + k);
            d += t * t;
        }
        double term = exp(-s * d) * case_element(&c->input[3], j);
        sum += term;
        *scale += fabs(term);
    }
    return sum;
}

static inline void check_gaussian(const run_case *c, double tolerance) {
    for (int64_t i = 0; i < c->m; i++) {
        double scale, wanted = exact_gaussian(c, i, 0.5, &scale), found = case_element(&c->output[0], i);
        if (!(fabs(found - wanted) <= tolerance * scale))
            fail_msg("row %lld: found %.17g, wanted %.17g, off by %g", (long long)i, found, wanted,
                     fabs(found - wanted) / scale);
    }
}

#endif
