/* fold_user.c: reductions that the caller defined by formulas. The step runs on all lanes of a block through the
 * interpreter; init, merge and finish concern one row at a time and are evaluated in double by a small scalar
 * evaluator, so that they need no workspace. */
#include <math.h>
#include <string.h>

#include "fold.h"

enum { SCALAR_VALUES = 2048, SCALAR_COMPONENTS = 2048, SCALAR_LOOPS = 64 }; /* of one formula; they live on the stack */

struct bbi_user_step {
    const bbi_custom *custom;
    bbi_interp *interp;
    void *uniform;
    int64_t workspace;
};

/* ---- one row, in double ---------------------------------------------------------------------- */
typedef struct scalar {
    const bbi_stage *stage;
    double uniform[SCALAR_COMPONENTS], row[SCALAR_COMPONENTS], value[SCALAR_VALUES];
    int64_t counter[SCALAR_LOOPS];
} scalar;

static double operand(const scalar *s, const bbi_code *code, const bbi_operand *o) {
    if (o->space == BBI_VALUE) return s->value[o->number];
    if (o->space == BBI_LITERAL) return o->literal;
    int64_t at = bbi_index_value(code, o->number, s->stage->size, s->counter);
    return o->space == BBI_COUNT ? (double)at : o->space == BBI_UNIFORM ? s->uniform[at] : s->row[at];
}

static void execute(scalar *s, const bbi_code *code, double *target) {
    int32_t begin[SCALAR_LOOPS];
    int depth = 0;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *in = &code->instruction[n];
        double a[3] = {0, 0, 0};
        for (int k = 0; k < in->narg; k++) a[k] = operand(s, code, &in->arg[k]);
        if (in->kind == BBI_STEP_MAP) s->value[in->result] = bbi_op_info(in->op)->scalar(a[0], a[1], a[2]);
        if (in->kind == BBI_STEP_SET) s->value[in->result] = a[0];
        if (in->kind == BBI_STEP_OUT) target[bbi_index_value(code, in->index, s->stage->size, s->counter)] = a[0];
        if (in->kind == BBI_STEP_CHOOSE)
            s->value[in->result] = bbi_index_value(code, in->index, s->stage->size, s->counter) ? a[0] : a[1];
        if (in->kind == BBI_STEP_LOOP) {
            begin[depth++] = n;
            s->counter[in->counter] = 0;
        }
        if (in->kind == BBI_STEP_END) { /* loops run at least once: dimensions are >= 1 */
            const bbi_instruction *loop = &code->instruction[begin[depth - 1]];
            if (++s->counter[loop->counter] < bbi_index_value(code, loop->index, s->stage->size, s->counter))
                n = begin[depth - 1];
            else
                depth--;
        }
    }
}

static void load_constants(scalar *s) {
    for (int32_t k = 0; k < s->stage->nconstant; k++) s->uniform[k] = s->stage->constant[k];
    execute(s, &s->stage->uniform_code, s->uniform);
}

/* inputs: state, value of the formula, another state; NULL where the formula cannot see it. */
static void evaluate(const bbi_plan *plan, const double *const input[3], double *result) {
    scalar s;
    s.stage = &plan->stage[0];
    load_constants(&s);
    for (int32_t k = 0; k < s.stage->nsource; k++) {
        const bbi_source *source = &s.stage->source[k];
        memcpy(s.row + source->first, input[source->array], (size_t)source->dim * sizeof *s.row);
    }
    execute(&s, &s.stage->epilogue, s.row);
    memcpy(result, s.row + s.stage->result[0].first, (size_t)s.stage->result[0].dim * sizeof *result);
}

static bool fits(const bbi_plan *plan) {
    const bbi_stage *s = &plan->stage[0];
    const bbi_code *const code[] = {&s->uniform_code, &s->epilogue};
    if (plan->nstage != 1 || s->uniform_count > SCALAR_COMPONENTS || s->row_count > SCALAR_COMPONENTS ||
        s->row_code.count)
        return false;
    for (int k = 0; k < 2; k++)
        if (code[k]->value_count > SCALAR_VALUES || code[k]->counter_count > SCALAR_LOOPS) return false;
    return true;
}

/* ---- the step -------------------------------------------------------------------------------- */
bb_status bbi_user_step_new(const bbi_custom *custom, int level, bool is_double, bbi_user_step **step) {
    const bbi_stage *stage = &custom->step->stage[0];
    *step = NULL;
    if (!fits(custom->init) || !fits(custom->step) || !fits(custom->merge) || !fits(custom->finish))
        return bbi_fail(BB_BAD_SHAPE,
                        "custom reduction: a formula of it is too large; at most %d values and components",
                        (int)SCALAR_VALUES);
    bbi_user_step *u = bbi_calloc(1, sizeof *u);
    if (!u) return bbi_fail(BB_OUT_OF_MEMORY, "custom reduction: out of memory");
    u->custom = custom;
    u->interp = bbi_interp_new(&stage->epilogue, level, is_double, true, 0);
    u->uniform = bbi_alloc_aligned((size_t)stage->uniform_count * sizeof(double) + 64);
    if (!u->interp || !u->uniform) {
        bbi_user_step_free(u);
        return bbi_fail(BB_OUT_OF_MEMORY, "custom reduction: out of memory");
    }
    u->workspace = bbi_interp_workspace(u->interp);
    scalar s;
    s.stage = stage;
    load_constants(&s);
    for (int64_t k = 0; k < stage->uniform_count; k++) {
        if (is_double)
            ((double *)u->uniform)[k] = s.uniform[k];
        else
            ((float *)u->uniform)[k] = (float)s.uniform[k];
    }
    *step = u;
    return BB_OK;
}

void bbi_user_step_free(bbi_user_step *step) {
    if (!step) return;
    if (step->interp) bbi_interp_free(step->interp);
    bbi_free_aligned(step->uniform);
    bbi_free(step);
}

/* A cell: the state (state_dim lane vectors), the row array of the step, the interpreter's workspace. */
static int64_t state_bytes(const bbi_folding *f) { return f->user->custom->state_dim * BBI_LANE_BYTES; }
static int64_t row_bytes(const bbi_folding *f) { return f->user->custom->step->stage[0].row_count * BBI_LANE_BYTES; }

int64_t bbi_user_bytes(const bbi_folding *f) {
    return state_bytes(f) + row_bytes(f) + (f->user->workspace + 63) / 64 * 64;
}

void bbi_user_init(const bbi_folding *f, char *cell) {
    const double *const none[3] = {NULL, NULL, NULL};
    double state[SCALAR_COMPONENTS];
    evaluate(f->user->custom->init, none, state);
    int64_t lanes = bbi_fold_lanes(f);
    for (int64_t n = 0; n < f->user->custom->state_dim * lanes; n++) {
        if (f->is_double)
            ((double *)(void *)cell)[n] = state[n / lanes];
        else
            ((float *)(void *)cell)[n] = (float)state[n / lanes];
    }
}

void bbi_user_step_tile(const bbi_fold_tile *tile) {
    const bbi_folding *f = tile->folding;
    const bbi_stage *stage = &f->user->custom->step->stage[0];
    int64_t lanes = bbi_fold_lanes(f), real = BBI_LANE_BYTES / lanes;
    char *row = tile->cell + state_bytes(f), *workspace = row + row_bytes(f);
    for (int64_t q = 0; q < tile->casts; q++) {
        for (int32_t k = 0; k < stage->nsource; k++) {
            const bbi_source *source = &stage->source[k];
            for (int64_t d = 0; d < source->dim; d++) {
                const char *from = source->array == 0
                                       ? tile->cell + d * BBI_LANE_BYTES
                                       : (const char *)tile->values + (d * tile->component_step + q * lanes) * real;
                memcpy(row + (source->first + d) * BBI_LANE_BYTES, from, BBI_LANE_BYTES);
            }
        }
        bbi_interp_map(f->user->interp, stage->size, f->user->uniform, row, lanes, tile->lanes, workspace);
        memcpy(tile->cell, row + stage->result[0].first * BBI_LANE_BYTES, (size_t)state_bytes(f));
    }
}

/* ---- partial results ------------------------------------------------------------------------- */
int64_t bbi_user_values(const bbi_folding *f) { return f->user->custom->state_dim; }

void bbi_user_neutral(const bbi_folding *f, double *value, int64_t *index) {
    const double *const none[3] = {NULL, NULL, NULL};
    (void)index;
    evaluate(f->user->custom->init, none, value);
}

void bbi_user_merge(const bbi_folding *f, double *value, int64_t *index, const double *more,
                    const int64_t *more_index) {
    const double *const input[3] = {value, NULL, more};
    double merged[SCALAR_COMPONENTS];
    (void)index, (void)more_index;
    evaluate(f->user->custom->merge, input, merged);
    memcpy(value, merged, (size_t)f->user->custom->state_dim * sizeof *value);
}

void bbi_user_add_lane(const bbi_folding *f, const char *cell, int64_t lane, double *value, int64_t *index) {
    double state[SCALAR_COMPONENTS];
    int64_t lanes = bbi_fold_lanes(f);
    for (int64_t d = 0; d < f->user->custom->state_dim; d++)
        state[d] = f->is_double ? ((const double *)(const void *)cell)[d * lanes + lane]
                                : (double)((const float *)(const void *)cell)[d * lanes + lane];
    bbi_user_merge(f, value, index, state, NULL);
}

void bbi_user_finish(const bbi_folding *f, bbi_output output, const double *value, double *result) {
    const double *const input[3] = {value, NULL, NULL};
    (void)output;
    evaluate(f->user->custom->finish, input, result);
}
