/* stage.c: what one stage packs, computes in front of the pairs, folds and writes. Values that do not depend on the
 * pair are given components of the uniform, row or column array: sources are packed there, the others computed by that
 * array's map code.
 *
 * The uniform array opens with PAIR_UNIFORMS components that are kept for the pair code: what it reads of the uniform
 * array is put there in the order in which it reads it. So its text does not show whether a factor is a number, a
 * parameter or computed from others, nor what else the formula has of them: exp(-d), exp(-d / s) and
 * exp(-0.3 d) are one kernel. The literals -1, 2, -2, 1/2, -1/2, which other texts show, are such numbers where they
 * are factors: -d, -d / 2 and -d / s are one kernel too. */
#include "lower.h"

#include <math.h>

enum { PAIR_UNIFORMS = 16 };

/* ---- spaces and components ------------------------------------------------------------------- */
uint8_t bbi_space_of(const bbi_stage_builder *s, const bbi_node *node) {
    if (node->place == BBI_P) return BBI_UNIFORM;
    if (node->place == s->stage->kept) return BBI_ROW;
    if (node->place == s->stage->folded) return BBI_COLUMN;
    return BBI_VALUE;
}

int32_t bbi_stage_constant(bbi_stage_builder *s, double value) {
    bbi_stage *stage = s->stage;
    for (int32_t k = s->pair_uniforms; k < s->constants_used; k++)
        if (stage->constant[k] == value || (isnan(value) && isnan(stage->constant[k]))) return k;
    if (s->constants_used == stage->nconstant) return -1;
    stage->constant[s->constants_used] = value;
    return s->constants_used++;
}

/* dim components at the end of an area; large: index of its flag. Returns the first as a number, and as a place (see
 * bbi_place_in_stage). */
static bb_status allocate(bbi_stage_builder *s, int64_t *count, int large, int64_t dim, int64_t *number,
                          int32_t *first) {
    *number = *count;
    *first = (int32_t)*count;
    if (s->large[large]) {
        int64_t *size = bbi_grow(s->stage->size, s->stage->nsize, &s->size_capacity, sizeof *size);
        if (!size) return BB_OUT_OF_MEMORY;
        s->stage->size = size;
        s->stage->size[s->stage->nsize] = *count;
        *first = ~s->stage->nsize++;
    }
    s->large[large] = s->large[large] || dim > BBI_SMALL;
    *count += dim;
    return *count < INT32_MAX ? BB_OK : bbi_fail(BB_BAD_SHAPE, "plan: a stage needs more than 2^31 components");
}

static int32_t index_of(bbi_builder_state *b, int32_t first) {
    return first >= 0 ? bbi_ix_const(b, first) : bbi_code_index(b->code, BBI_IX_SIZE, 0, 0, ~first);
}

static int64_t *count_of(bbi_stage *stage, uint8_t space) {
    return space == BBI_UNIFORM ? &stage->uniform_count : space == BBI_ROW ? &stage->row_count : &stage->column_count;
}

static bb_status remember(bbi_stage_builder *s, const bbi_node *node, int64_t what, bbi_place_in_stage place) {
    int32_t capacity = (int32_t)s->place_capacity;
    bbi_place_in_stage *grown = bbi_grow(s->places, s->place_count, &capacity, sizeof *grown);
    if (!grown) return BB_OUT_OF_MEMORY;
    s->places = grown, s->place_capacity = capacity;
    s->places[s->place_count] = place;
    return bbi_table_put(&s->located, node->id, what, s->place_count++);
}

/* ---- values in front of the pairs ------------------------------------------------------------ */
static bb_status add_source(bbi_stage_builder *s, int32_t array, uint8_t space, int64_t dim, int64_t first) {
    bbi_source *grown = bbi_grow(s->stage->source, s->stage->nsource, &s->source_capacity, sizeof *grown);
    if (!grown) return BB_OUT_OF_MEMORY;
    s->stage->source = grown;
    s->stage->source[s->stage->nsource++] = (bbi_source){.array = array, .space = space, .dim = dim, .first = first};
    return BB_OK;
}

bb_status bbi_locate(bbi_stage_builder *s, const bbi_node *node, bbi_place_in_stage *place) {
    int64_t known = bbi_table_get(&s->located, node->id, 0), number;
    if (known >= 0) {
        *place = s->places[known];
        return BB_OK;
    }
    place->space = bbi_space_of(s, node);
    if (node->op == BBI_OP_VAR && node->ints[0] == BBI_SLOT) place->space = BBI_ROW;
    if (place->space == BBI_VALUE)
        return bbi_fail(BB_INTERNAL, "plan: %s is not computed per pair here", bbi_op_info(node->op)->name);
    BBI_FORWARD(allocate(s, count_of(s->stage, place->space), place->space, node->dim, &number, &place->first));
    BBI_FORWARD(remember(s, node, 0, *place));
    if (node->op == BBI_OP_VAR) return add_source(s, (int32_t)node->ints[0], place->space, node->dim, number);
    if (node->op == BBI_OP_REDUCE) {
        int64_t temporary = bbi_table_get(&s->plan->temporary_of, node->id, 0);
        if (temporary < 0) return bbi_fail(BB_INTERNAL, "plan: a reduction is read before it is computed");
        return add_source(s, s->plan->plan->ninput + (int32_t)temporary, place->space, node->dim, number);
    }
    bbi_builder_state *b = place->space == BBI_UNIFORM ? &s->uniform : place->space == BBI_ROW ? &s->row : &s->column;
    return bbi_lower_sink(b, node, BBI_STEP_OUT, index_of(b, place->first));
}

/* ---- folds ----------------------------------------------------------------------------------- */
static bb_status sink_fold(bbi_stage_builder *s, const bbi_node *r, bbi_fold *fold) {
    bool fused = fold->family == BBI_FAMILY_SUM && !s->plan->options->separate_sums && !s->stage->list;
    int64_t *first_of_fold = fused ? &fold->sum_first : &fold->out_first, number;
    int32_t first;
    BBI_FORWARD(allocate(s, fused ? &s->stage->sum_count : &s->stage->out_count, fused ? 6 : 7, fold->dim,
                         first_of_fold, &first));
    if (s->stage->symmetric) {
        const bbi_node *image;
        BBI_FORWARD(bbi_symmetric_image(s->plan, r->arg[0], &image, &fold->mirror_negative));
        return bbi_lower_mirrored(&s->pair, r->arg[0], image, index_of(&s->pair, first));
    }
    BBI_FORWARD(bbi_lower_sink(&s->pair, r->arg[0], fused ? BBI_STEP_SUM : BBI_STEP_OUT, index_of(&s->pair, first)));
    if (!fold->weight_dim) return BB_OK;
    BBI_FORWARD(allocate(s, &s->stage->out_count, 7, fold->weight_dim, &number, &first));
    return bbi_lower_sink(&s->pair, r->arg[1], BBI_STEP_OUT, index_of(&s->pair, first));
}

bb_status bbi_stage_fold(bbi_stage_builder *s, const bbi_node *r) {
    const bbi_reduction_row *row = bbi_reduction_info((int)r->ints[0]);
    const bbi_node *f = r->arg[0], *w = r->narg > 1 ? r->arg[1] : NULL;
    int32_t user = row->family == BBI_FAMILY_USER ? bbi_plan_custom(s->plan, r->ints[2]) : 0;
    if (user < 0) return BB_OUT_OF_MEMORY;
    const bbi_node *lookup = row->family != BBI_FAMILY_SUM && r->narg > 2 ? r->arg[2] : NULL;
    int64_t key = ((int64_t)f->id * 16 + row->family) | (lookup ? (int64_t)(lookup->id + 1) << 36 : 0),
            detail = (w ? (int64_t)w->id + 1 : 0) * 65536 + r->ints[2];
    int64_t known = bbi_table_get(&s->fold_of, key, detail + INT32_MAX);
    if (known < 0) {
        bbi_fold *grown = bbi_grow(s->stage->fold, s->stage->nfold, &s->fold_capacity, sizeof *grown);
        if (!grown) return BB_OUT_OF_MEMORY;
        s->stage->fold = grown;
        known = s->stage->nfold++;
        bbi_fold fold = {.family = row->family,
                         .dim = f->dim,
                         .weight_dim = w ? w->dim : 0,
                         .k = r->ints[2],
                         .sum_first = -1,
                         .out_first = -1,
                         .lookup = lookup ? 1 + s->plan->plan->ninput +
                                                (int32_t)bbi_table_get(&s->plan->temporary_of, lookup->id, 0)
                                          : 0,
                         .user = user};
        BBI_FORWARD(sink_fold(s, r, &fold));
        s->stage->fold[known] = fold;
        BBI_FORWARD(bbi_table_put(&s->fold_of, key, detail + INT32_MAX, known));
    }
    if (row->output == BBI_OUT_INDEX) s->stage->fold[known].want_index = true;
    return bbi_table_put(&s->fold_of, r->id, 0, known);
}

bb_status bbi_stage_read(bbi_stage_builder *s, const bbi_node *r, bbi_place_in_stage *place) {
    int64_t known = bbi_table_get(&s->located, r->id, 1), number;
    if (known >= 0) {
        *place = s->places[known];
        return BB_OK;
    }
    place->space = BBI_ROW;
    BBI_FORWARD(allocate(s, &s->stage->row_count, BBI_ROW, r->dim, &number, &place->first));
    bbi_read *grown = bbi_grow(s->stage->read, s->stage->nread, &s->read_capacity, sizeof *grown);
    if (!grown) return BB_OUT_OF_MEMORY;
    s->stage->read = grown;
    s->stage->read[s->stage->nread++] = (bbi_read){.fold = (int32_t)bbi_table_get(&s->fold_of, r->id, 0),
                                                   .output = bbi_reduction_info((int)r->ints[0])->output,
                                                   .first = number,
                                                   .dim = r->dim};
    return remember(s, r, 1, *place);
}

bb_status bbi_stage_result(bbi_stage_builder *s, const bbi_node *node, int32_t array) {
    bbi_result result = {.array = array, .fold = -1, .dim = node->dim};
    int64_t fold = node->op == BBI_OP_REDUCE ? bbi_table_get(&s->fold_of, node->id, 0) : -1;
    bbi_place_in_stage place;
    if (fold >= 0 && bbi_node_is_index(node)) {
        result.fold = (int32_t)fold;
    } else if (fold >= 0) {
        BBI_FORWARD(bbi_stage_read(s, node, &place));
        result.first = place.first >= 0 ? place.first : s->stage->size[~place.first];
    } else {
        int32_t first;
        BBI_FORWARD(allocate(s, &s->stage->row_count, BBI_ROW, node->dim, &result.first, &first));
        BBI_FORWARD(bbi_lower_sink(&s->epilogue, node, BBI_STEP_OUT, index_of(&s->epilogue, first)));
    }
    bbi_result *grown = bbi_grow(s->stage->result, s->stage->nresult, &s->result_capacity, sizeof *grown);
    if (!grown) return BB_OUT_OF_MEMORY;
    s->stage->result = grown;
    s->stage->result[s->stage->nresult++] = result;
    return BB_OK;
}

/* ---- what the pair code reads of the uniform array ------------------------------------------- */
/* Whose value component `at` is: a computed one's operand in the uniform code, or the component itself where it is
 * packed. False for components of long vectors, which the pair code addresses by a counter. */
static bool uniform_value(const bbi_stage_builder *s, int64_t at, bbi_operand *value) {
    const bbi_scope *root = &s->uniform.scope[0];
    int64_t first;
    for (int32_t n = 0; n < root->count; n++) {
        const bbi_instruction *in = &root->list[n];
        if (in->kind != BBI_STEP_OUT || !bbi_ix_is_const(&s->uniform, in->index, &first) || first != at) continue;
        *value = in->arg[0];
        return true;
    }
    for (int32_t n = 0; n < s->stage->nsource; n++) {
        const bbi_source *source = &s->stage->source[n];
        if (source->space == BBI_UNIFORM && at >= source->first && at < source->first + source->dim) return true;
    }
    return false;
}

/* Fills component `slot` with what component `at` holds. */
static bb_status fill_slot(bbi_stage_builder *s, int32_t slot, int64_t at, bool *filled) {
    *filled = true;
    if (at < s->stage->nconstant) {
        s->stage->constant[slot] = s->stage->constant[at];
        return BB_OK;
    }
    bbi_operand value = {.space = BBI_UNIFORM, .number = bbi_ix_const(&s->uniform, at)};
    *filled = uniform_value(s, at, &value);
    if (!*filled) return BB_OK;
    bbi_instruction out = {.kind = BBI_STEP_OUT,
                           .narg = 1,
                           .result = -1,
                           .index = bbi_ix_const(&s->uniform, slot),
                           .counter = -1,
                           .arg = {value}};
    if (out.index < 0 || value.number < 0) return BB_OUT_OF_MEMORY;
    return bbi_emit(&s->uniform, 0, &out);
}

/* what a slot holds: a component of the uniform array, or (at < 0) a literal */
typedef struct slot_content {
    int64_t at;
    double literal;
} slot_content;

static bool gathered(const bbi_stage_builder *s, const bbi_instruction *in, int a, slot_content *content) {
    const bbi_operand *operand = &in->arg[a];
    bool product = in->kind == BBI_STEP_SUM || in->kind == BBI_STEP_MIRROR ||
                   (in->kind == BBI_STEP_MAP &&
                    (in->op == BBI_OP_mul || in->op == BBI_OP_fma || in->op == BBI_OP_fnma || in->op == BBI_OP_expk));
    *content = (slot_content){-1, operand->literal};
    if (operand->space == BBI_LITERAL)
        return product && a < 2 && in->narg > 1 && operand->literal != 0 && operand->literal != 1 &&
               bbi_is_literal(operand->literal);
    return operand->space == BBI_UNIFORM && bbi_ix_is_const(&s->pair, operand->number, &content->at);
}

static bb_status fill(bbi_stage_builder *s, int32_t slot, const slot_content *content, bool *filled) {
    if (content->at >= 0) return fill_slot(s, slot, content->at, filled);
    *filled = true;
    s->stage->constant[slot] = content->literal;
    return BB_OK;
}

static bb_status gather_uniforms(bbi_stage_builder *s, bbi_code *pair) {
    slot_content known[PAIR_UNIFORMS], content;
    int32_t used = 0;
    for (int32_t n = 0; n < pair->count; n++) {
        for (int a = 0; a < pair->instruction[n].narg; a++) {
            bbi_operand *operand = &pair->instruction[n].arg[a];
            if (!gathered(s, &pair->instruction[n], a, &content)) continue;
            int32_t slot = 0;
            while (slot < used &&
                   (known[slot].at != content.at || (content.at < 0 && known[slot].literal != content.literal)))
                slot++;
            bool filled = slot < used;
            if (slot == s->pair_uniforms) return BB_OK;
            if (!filled) BBI_FORWARD(fill(s, slot, &content, &filled));
            if (!filled) continue;
            if (slot == used) known[used++] = content;
            *operand = (bbi_operand){.space = BBI_UNIFORM, .number = bbi_ix_const(&s->pair, slot)};
            if (operand->number < 0) return BB_OUT_OF_MEMORY;
        }
    }
    return BB_OK;
}

/* ---- opening and closing --------------------------------------------------------------------- */
bb_status bbi_stage_open(bbi_stage_builder *s, bbi_plan_builder *plan, bbi_place kept, bbi_place folded) {
    bbi_stage *stage = s->stage;
    s->plan = plan;
    stage->kept = kept, stage->folded = folded;
    stage->list_array = -1;
    s->pair_uniforms = s->constants_used = folded == BBI_P ? 0 : PAIR_UNIFORMS;
    stage->nconstant = s->pair_uniforms + plan->constant_reserve;
    stage->uniform_count = stage->nconstant;
    stage->constant = bbi_calloc((size_t)stage->nconstant + 1, sizeof *stage->constant);
    stage->size = bbi_calloc(8, sizeof *stage->size);
    if (!stage->constant || !stage->size) return bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory");
    s->size_capacity = 8;
    stage->nsize = 3; /* sum_count, out_count, column_count */
    BBI_FORWARD(bbi_builder_open(&s->uniform, s, &stage->uniform_code, BBI_UNIFORM));
    BBI_FORWARD(bbi_builder_open(&s->row, s, &stage->row_code, BBI_ROW));
    BBI_FORWARD(bbi_builder_open(&s->column, s, &stage->column_code, BBI_COLUMN));
    BBI_FORWARD(bbi_builder_open(&s->pair, s, &stage->pair_code, BBI_VALUE));
    BBI_FORWARD(bbi_builder_open(&s->epilogue, s, &stage->epilogue, BBI_ROW));
    s->epilogue.epilogue = true;
    return BB_OK;
}

double bbi_code_cost(const bbi_stage *stage, const bbi_code *code, const bool *needed) {
    double total = 0, times[64] = {1};
    int depth = 0;
    for (int32_t n = 0; n < code->count; n++) {
        const bbi_instruction *in = &code->instruction[n];
        if (in->kind == BBI_STEP_LOOP && depth < 63) {
            times[depth + 1] = times[depth] * (double)bbi_index_value(code, in->index, stage->size, NULL);
            depth++;
        } else if (in->kind == BBI_STEP_END && depth > 0) {
            depth--;
        } else if (needed && (in->kind == BBI_STEP_MIRROR || (in->result >= 0 && !needed[in->result]))) {
            continue;
        } else if (in->kind == BBI_STEP_MAP) {
            total += times[depth] * bbi_op_info(in->op)->cost;
        } else {
            total += times[depth] * in->narg;
        }
    }
    return total;
}

bb_status bbi_stage_close(bbi_stage_builder *s) {
    bbi_stage *stage = s->stage;
    bbi_builder_state *const builders[] = {&s->uniform, &s->row, &s->column, &s->pair, &s->epilogue};
    if (stage->nsize > BBI_SIZE_SLOTS)
        return bbi_fail(
            BB_BAD_SHAPE,
            "the formula needs %d run-time sizes; at most %d are supported: write it with fewer long vectors",
            stage->nsize, (int)BBI_SIZE_SLOTS);
    stage->size[0] = stage->sum_count;
    stage->size[1] = stage->out_count;
    stage->size[2] = stage->column_count;
    BBI_FORWARD(bbi_builder_close(&s->pair));
    BBI_FORWARD(gather_uniforms(s, &stage->pair_code));
    for (size_t n = 0; n < sizeof builders / sizeof *builders; n++) {
        BBI_FORWARD(bbi_builder_close(builders[n]));
        BBI_FORWARD(bbi_code_check(builders[n]->code));
    }
    stage->cost = bbi_code_cost(stage, &stage->pair_code, NULL);
    return BB_OK;
}

void bbi_stage_builder_free(bbi_stage_builder *s) {
    bbi_builder_free(&s->uniform);
    bbi_builder_free(&s->row);
    bbi_builder_free(&s->column);
    bbi_builder_free(&s->pair);
    bbi_builder_free(&s->epilogue);
    bbi_table_free(&s->located);
    bbi_table_free(&s->fold_of);
    bbi_free(s->places);
}
