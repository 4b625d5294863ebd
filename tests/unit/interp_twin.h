/* interp_twin.h: the interpreter's slow twin, which evaluates one pair in double, and problems on which both run:
 * arrays of either real type, checked lane by lane. */
#ifndef INTERP_TWIN_H
#define INTERP_TWIN_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "../../src/backend/backend.h"
#include "code_text.h"

/* ---- arrays of either real type -------------------------------------------------------------- */
static inline double get(bool is_double, const void *array, int64_t k) {
    return is_double ? ((const double *)array)[k] : (double)((const float *)array)[k];
}

static inline void set(bool is_double, void *array, int64_t k, double value) {
    if (is_double) {
        ((double *)array)[k] = value;
    } else {
        ((float *)array)[k] = (float)value;
    }
}

static uint64_t seed = 1;
static inline double uniform(double low, double high) { /* xorshift64*, Vigna 2016 */
    seed ^= seed >> 12, seed ^= seed << 25, seed ^= seed >> 27;
    return low + (high - low) * (double)((seed * 0x2545f4914f6cdd1dULL) >> 11) * 0x1p-53;
}

static inline void *new_array(bool is_double, int64_t count, double low, double high) {
    void *array = bbi_alloc_aligned((size_t)(count + 64) * (is_double ? 8 : 4));
    assert_non_null(array);
    for (int64_t k = 0; k < count + 64; k++) {
        set(is_double, array, k, uniform(low, high));
    }
    return array;
}

/* ---- the slow twin: one pair, in double ------------------------------------------------------ */
typedef struct twin {
    const bbi_code *code;
    bool is_double;
    const int64_t *size;
    const void *uniform, *row, *column;
    int64_t row_stride, column_stride, r, c;
    double value[64], sum[128], out[128];
    int64_t counter[8];
} twin;

static inline double twin_operand(const twin *t, const bbi_operand *o) {
    const int64_t k =
        o->space == BBI_VALUE || o->space == BBI_LITERAL ? 0 : bbi_index_value(t->code, o->number, t->size, t->counter);
    switch (o->space) {
    case BBI_VALUE: return t->value[o->number];
    case BBI_LITERAL: return t->is_double ? o->literal : (double)(float)o->literal;
    case BBI_COUNT: return (double)k;
    case BBI_UNIFORM: return get(t->is_double, t->uniform, k);
    case BBI_ROW: return get(t->is_double, t->row, k * t->row_stride + t->r);
    default: return get(t->is_double, t->column, k * t->column_stride + t->c);
    }
}

static inline int32_t twin_run(twin *t, int32_t first) {
    int32_t n = first;
    for (; n < t->code->count && t->code->instruction[n].kind != BBI_STEP_END; n++) {
        const bbi_instruction *s = &t->code->instruction[n];
        double a[3] = {0, 0, 0};
        if (s->kind == BBI_STEP_LOOP) {
            const int64_t count = bbi_index_value(t->code, s->index, t->size, t->counter);
            int32_t end = n + 1;
            for (int64_t c = 0; c < count; c++) {
                t->counter[s->counter] = c;
                end = twin_run(t, n + 1);
            }
            for (int depth = 1; count == 0 && depth > 0; end += depth > 0) {
                depth += t->code->instruction[end].kind == BBI_STEP_LOOP;
                depth -= t->code->instruction[end].kind == BBI_STEP_END;
            }
            n = end;
            continue;
        }
        const int64_t k = s->kind >= BBI_STEP_CHOOSE ? bbi_index_value(t->code, s->index, t->size, t->counter) : 0;
        if (s->kind == BBI_STEP_CHOOSE) {
            t->value[s->result] = twin_operand(t, &s->arg[k == 0]);
            continue;
        }
        for (int m = 0; m < s->narg; m++) {
            a[m] = twin_operand(t, &s->arg[m]);
        }
        switch (s->kind) {
        case BBI_STEP_MAP: t->value[s->result] = bbi_op_info(s->op)->scalar(a[0], a[1], a[2]); break;
        case BBI_STEP_SET: t->value[s->result] = a[0]; break;
        case BBI_STEP_SUM: t->sum[k] += s->narg > 1 ? a[0] * a[1] : a[0]; break;
        default: t->out[k] = a[0]; break;
        }
    }
    return n;
}

/* ---- running a pair code --------------------------------------------------------------------- */
typedef struct problem {
    bool is_double, transposed;
    int level;
    int64_t lanes, casts, rows_dim, columns_dim, sum_count, out_count, size[4];
    void *uniform, *lane, *cast, *sum, *out, *workspace;
} problem;

static inline int64_t block(bool is_double) { return BBI_LANE_BYTES / (is_double ? 8 : 4); }

static inline void open_problem(problem *p, double low, double high) {
    const int64_t L = block(p->is_double), rows = p->transposed ? p->casts : L, columns = p->transposed ? L : p->casts;
    p->uniform = new_array(p->is_double, 64, low, high);
    void *row = new_array(p->is_double, p->rows_dim * rows, low, high);
    void *column = new_array(p->is_double, p->columns_dim * columns, low, high);
    p->lane = p->transposed ? column : row;
    p->cast = p->transposed ? row : column;
    const int64_t sums = p->sum_count * L * (p->transposed ? p->casts : 1);
    p->sum = new_array(p->is_double, sums, -1, 1);
    p->out = new_array(p->is_double, p->out_count * p->casts * L, -1, 1);
    p->workspace = NULL;
}

static inline void close_problem(problem *p) {
    bbi_free_aligned(p->uniform);
    bbi_free_aligned(p->lane);
    bbi_free_aligned(p->cast);
    bbi_free_aligned(p->sum);
    bbi_free_aligned(p->out);
}

/* Runs casts first .. first + count - 1 of a problem into `sum` and p->out. */
static inline void run_part(const problem *p, const bbi_interp *interp, void *sum, int64_t first, int64_t count) {
    const int64_t L = block(p->is_double), real = p->is_double ? 8 : 4;
    void *workspace = bbi_alloc_aligned((size_t)bbi_interp_workspace(interp));
    assert_non_null(workspace);
    bbi_interp_pair(interp, p->transposed, p->size, p->uniform, p->lane, L, (char *)p->cast + first * real, p->casts,
                    p->lanes, count, (char *)sum + (p->transposed ? first * p->sum_count * BBI_LANE_BYTES : 0),
                    (char *)p->out + first * BBI_LANE_BYTES, p->casts, workspace);
    bbi_free_aligned(workspace);
}

static inline void assert_near(const problem *p, double found, double expected, double scale) {
    const double unit = p->is_double ? 0x1p-52 : 0x1p-23;
    if (found == expected || (isnan(found) && isnan(expected))) return;
    if (!(fabs(found - expected) <= 64 * unit * scale)) {
        fail_msg("level %d %s %s lanes %d casts %d: found %.17g, expected %.17g", p->level,
                 p->is_double ? "double" : "float", p->transposed ? "transposed" : "direct", (int)p->lanes,
                 (int)p->casts, found, expected);
    }
}

/* Sums and outputs of every pair in use, and no other lane of the sums' vectors' neighbours, are what the
 * twin finds. */
static inline void check_pair(const bbi_code *code, problem *p, double low, double high) {
    const int64_t L = block(p->is_double), sums = p->sum_count * L * (p->transposed ? p->casts : 1);
    open_problem(p, low, high);
    void *before = new_array(p->is_double, sums, 0, 0);
    memcpy(before, p->sum, (size_t)sums * (p->is_double ? 8 : 4));
    bbi_interp *interp = bbi_interp_new(code, p->level, p->is_double, false, p->sum_count);
    assert_non_null(interp);
    run_part(p, interp, p->sum, 0, p->casts);
    for (int64_t lane = 0; lane < p->lanes; lane++) {
        double total[128] = {0}, size[128];
        for (int64_t e = 0; e < p->sum_count && !p->transposed; e++) {
            total[e] = get(p->is_double, before, e * L + lane);
            size[e] = fabs(total[e]) + 1;
        }
        for (int64_t cast = 0; cast < p->casts; cast++) {
            twin t = {.code = code,
                      .is_double = p->is_double,
                      .size = p->size,
                      .uniform = p->uniform,
                      .row = p->transposed ? p->cast : p->lane,
                      .column = p->transposed ? p->lane : p->cast,
                      .row_stride = p->transposed ? p->casts : L,
                      .column_stride = p->transposed ? L : p->casts,
                      .r = p->transposed ? cast : lane,
                      .c = p->transposed ? lane : cast};
            twin_run(&t, 0);
            for (int64_t e = 0; e < p->sum_count; e++) {
                total[e] += t.sum[e];
                size[e] += fabs(t.sum[e]);
                if (!p->transposed) continue;
                const int64_t at = (cast * p->sum_count + e) * L + lane;
                assert_near(p, get(p->is_double, p->sum, at), get(p->is_double, before, at) + t.sum[e],
                            2 + fabs(t.sum[e]));
            }
            for (int64_t e = 0; e < p->out_count; e++) {
                assert_near(p, get(p->is_double, p->out, (e * p->casts + cast) * L + lane), t.out[e],
                            1 + fabs(t.out[e]));
            }
        }
        for (int64_t e = 0; e < p->sum_count && !p->transposed; e++) {
            assert_near(p, get(p->is_double, p->sum, e * L + lane), total[e], size[e]);
        }
    }
    bbi_interp_free(interp);
    bbi_free_aligned(before);
    close_problem(p);
}

/* Every level, type, schedule and a grid of sizes. */
static inline void check_all(const char *text, problem like, double low, double high) {
    bbi_code code = code_of_text(text);
    assert_int_equal(bbi_code_check(&code), BB_OK);
    for (int level = 0; level <= bbi_cpu_level(); level++) {
        for (int k = 0; k < 4; k++) {
            problem p = like;
            p.level = level, p.is_double = k & 1, p.transposed = k & 2;
            const int64_t L = block(p.is_double), W = L >> (4 - level);
            const int64_t lanes[] = {1, W - 1, W, W + 1, L}, casts[] = {0, 1, 15, 16, 17, 33, 300};
            for (int a = 0; a < 5; a++) {
                for (int b = 0; b < 7; b++) {
                    p.lanes = lanes[a], p.casts = casts[b];
                    if (p.lanes > 0 && (p.casts < 300 || a == 1)) check_pair(&code, &p, low, high);
                }
            }
        }
    }
    bbi_code_free(&code);
}

#endif
