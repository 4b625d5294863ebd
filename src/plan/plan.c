/* plan.c: a program as a list of stages.
 *
 * Requires: outputs placed at P, I or J. A reduction's level is one more than that of the reductions inside its
 * operands. Reductions of one level that keep and fold the same axes (over the same list) share a stage, hence one pass
 * over the pairs. A value over reductions is computed in the epilogue of the last of their stages where that stage
 * keeps the value's axis and the others are complete by then, else in a map stage at the end. A reduction that anybody
 * else reads is written to a temporary. */
#include "lower.h"

typedef struct stage_key {
    int64_t level;
    bbi_place kept, folded;
    const bbi_node *list;
} stage_key;

typedef struct planner {
    bbi_plan_builder b;
    const bbi_node *const *outputs;
    int32_t noutput;
    stage_key *key;               /* of each stage */
    int32_t *home;                /* stage whose epilogue computes an output */
    const bbi_node **own_outputs; /* what stands for the caller's where arrays are the same */
    bbi_place *own_places;
    int64_t max_level;
} planner;

static int64_t level_of(const planner *p, const bbi_node *node) { return bbi_table_get(&p->b.level, node->id, 0); }
static int64_t stage_of(const planner *p, const bbi_node *node) { return bbi_table_get(&p->b.stage_of, node->id, 1); }

static bb_status no_memory(void) { return bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory"); }

static bbi_place wanted_place(const planner *p, int32_t k) {
    if (p->outputs == p->own_outputs) return p->own_places[k];
    return p->b.options->places ? p->b.options->places[k] : (bbi_place)p->outputs[k]->place;
}

static bb_status check_outputs(const planner *p) {
    for (int32_t k = 0; k < p->noutput; k++) {
        if (!p->outputs[k]) return bbi_fail(BB_BAD_ARGUMENT, "plan: output %d is missing", k);
        if (p->outputs[k]->place == BBI_IJ)
            return bbi_fail(BB_BAD_SHAPE,
                            "output %d depends on both i and j, so it is a matrix that is never stored: reduce it, for "
                            "instance sum_j(...)",
                            k);
    }
    return BB_OK;
}

static bb_status find_levels(planner *p) {
    for (int64_t n = 0; n < p->b.node_count; n++) {
        const bbi_node *node = p->b.nodes[n];
        int64_t level = 0;
        for (int k = 0; k < node->narg; k++)
            if (node->arg[k] && level_of(p, node->arg[k]) > level) level = level_of(p, node->arg[k]);
        if (node->op == BBI_OP_REDUCE) level++;
        if (level > p->max_level) p->max_level = level;
        BBI_FORWARD(bbi_table_put(&p->b.level, node->id, 0, level));
        if (node->op == BBI_OP_exp || node->op == BBI_OP_div)
            p->b.constant_reserve += 2; /* scales and inverses made while lowering */
        if (node->op == BBI_OP_CONST && !bbi_is_literal(node->value)) p->b.constant_reserve++;
    }
    return BB_OK;
}

static stage_key key_of(const planner *p, const bbi_node *r) {
    stage_key key = {.level = level_of(p, r), .kept = (bbi_place)r->place, .folded = (bbi_place)r->ints[1]};
    bool listed = bbi_reduction_info((int)r->ints[0])->family == BBI_FAMILY_SUM; /* of a selection it is a look-up */
    key.list = r->narg > 2 && listed ? r->arg[2] : NULL;
    return key;
}

static int32_t find_stage(const planner *p, const stage_key *key) {
    for (int32_t s = 0; s < p->b.stage_count; s++) {
        const stage_key *k = &p->key[s];
        if (k->level == key->level && k->kept == key->kept && k->folded == key->folded && k->list == key->list)
            return s;
    }
    return -1;
}

static int32_t add_stage(planner *p, const stage_key *key) {
    stage_key *grown = bbi_realloc(p->key, (size_t)(p->b.stage_count + 1) * sizeof *grown);
    if (!grown) return (int32_t)(no_memory(), -1);
    p->key = grown;
    p->key[p->b.stage_count] = *key;
    return p->b.stage_count++;
}

/* Stages in order of level; marks every node with the last stage whose reductions it contains. */
static bb_status find_stages(planner *p) {
    for (int64_t level = 1; level <= p->max_level; level++) {
        for (int64_t n = 0; n < p->b.node_count; n++) {
            const bbi_node *r = p->b.nodes[n];
            if (r->op != BBI_OP_REDUCE || level_of(p, r) != level) continue;
            stage_key key = key_of(p, r);
            if (key.folded == BBI_IJ)
                return bbi_fail(BB_BAD_ARGUMENT, "%s over both axes is not defined here: reduce over j, then over i",
                                bbi_reduction_info((int)r->ints[0])->name);
            int32_t s = find_stage(p, &key);
            if (s < 0) s = add_stage(p, &key);
            if (s < 0) return BB_OUT_OF_MEMORY;
            BBI_FORWARD(bbi_table_put(&p->b.stage_of, r->id, 1, s));
        }
    }
    for (int64_t n = 0; n < p->b.node_count; n++) {
        const bbi_node *node = p->b.nodes[n];
        int64_t last = -1;
        if (node->op == BBI_OP_REDUCE) continue;
        for (int k = 0; k < node->narg; k++)
            if (node->arg[k] && stage_of(p, node->arg[k]) > last) last = stage_of(p, node->arg[k]);
        if (last >= 0) BBI_FORWARD(bbi_table_put(&p->b.stage_of, node->id, 1, last));
    }
    return BB_OK;
}

/* Visits the reductions that root reads (not those inside other reductions). */
typedef bb_status visitor(planner *p, const bbi_node *reduction, void *data);
static bb_status visit(planner *p, bbi_table *seen, const bbi_node *root, visitor *f, void *data) {
    const bbi_node **waiting = NULL; /* formulas may be deeper than any stack */
    int32_t count = 0, capacity = 0;
    bb_status status = BB_OK;
    while (root && status == BB_OK) {
        if (bbi_table_get(seen, root->id, 0) < 0 && level_of(p, root) > 0) {
            status = bbi_table_put(seen, root->id, 0, 1);
            if (status == BB_OK && root->op == BBI_OP_REDUCE) status = f(p, root, data);
            for (int k = root->op == BBI_OP_REDUCE ? 0 : root->narg; k-- > 0 && status == BB_OK;) {
                const bbi_node **grown = root->arg[k] ? bbi_grow(waiting, count, &capacity, sizeof *grown) : waiting;
                if (root->arg[k] && !grown)
                    status = BB_OUT_OF_MEMORY;
                else if (root->arg[k])
                    waiting = grown, waiting[count++] = root->arg[k];
            }
        }
        root = count ? waiting[--count] : NULL;
    }
    bbi_free(waiting);
    return status;
}

static bb_status need_temporary(planner *p, const bbi_node *r, void *data) {
    const int32_t *home = data;
    bbi_plan *plan = p->b.plan;
    if (stage_of(p, r) == *home || bbi_table_get(&p->b.temporary_of, r->id, 0) >= 0) return BB_OK;
    bbi_temporary *grown = bbi_realloc(plan->temporary, (size_t)(plan->ntemporary + 1) * sizeof *grown);
    if (!grown) return no_memory();
    plan->temporary = grown;
    plan->temporary[plan->ntemporary] =
        (bbi_temporary){.place = (bbi_place)r->place, .dim = r->dim, .index = bbi_node_is_index(r)};
    return bbi_table_put(&p->b.temporary_of, r->id, 0, plan->ntemporary++);
}

typedef struct home_search {
    int32_t home;
    bool possible;
} home_search;
static bb_status check_home(planner *p, const bbi_node *r, void *data) {
    home_search *search = data;
    int64_t s = stage_of(p, r);
    if (s != search->home && p->key[s].level >= p->key[search->home].level) search->possible = false;
    return BB_OK;
}

static bb_status visit_once(planner *p, const bbi_node *root, visitor *f, void *data) {
    bbi_table seen = {0};
    bb_status status = visit(p, &seen, root, f, data);
    bbi_table_free(&seen);
    return status;
}

static bb_status find_homes(planner *p) {
    p->home = bbi_calloc((size_t)p->noutput + 1, sizeof *p->home);
    if (!p->home) return no_memory();
    for (int32_t k = 0; k < p->noutput; k++) {
        const bbi_node *root = p->outputs[k];
        home_search search = {.home = (int32_t)stage_of(p, root), .possible = true};
        if (search.home >= 0) {
            search.possible = p->key[search.home].kept == wanted_place(p, k) && !p->key[search.home].list;
            BBI_FORWARD(visit_once(p, root, check_home, &search));
        }
        bool itself = root->op == BBI_OP_REDUCE && (bbi_place)root->place == wanted_place(p, k);
        p->home[k] = search.home >= 0 && (search.possible || itself) ? search.home : -1;
        BBI_FORWARD(visit_once(p, root, need_temporary, &p->home[k]));
    }
    int32_t nowhere = -1;
    for (int64_t n = 0; n < p->b.node_count; n++) {
        const bbi_node *r = p->b.nodes[n];
        for (int k = 0; r->op == BBI_OP_REDUCE && k < r->narg; k++)
            BBI_FORWARD(visit_once(p, r->arg[k], need_temporary, &nowhere));
    }
    return BB_OK;
}

/* One map stage for each placement of outputs that have no home. */
static bb_status add_map_stages(planner *p) {
    for (int32_t k = 0; k < p->noutput; k++) {
        if (p->home[k] >= 0) continue;
        stage_key key = {.level = p->max_level + 1, .kept = wanted_place(p, k), .folded = BBI_P};
        p->home[k] = find_stage(p, &key);
        if (p->home[k] < 0) p->home[k] = add_stage(p, &key);
        if (p->home[k] < 0) return BB_OUT_OF_MEMORY;
    }
    return BB_OK;
}

static bb_status fill_stage(planner *p, int32_t number, bool symmetric) {
    bbi_stage_builder *s = &p->b.stage[number];
    const stage_key *key = &p->key[number];
    BBI_FORWARD(bbi_stage_open(s, &p->b, key->kept, key->folded));
    s->stage->symmetric = symmetric;
    if (key->list) {
        s->stage->list = key->list;
        s->stage->list_dim = key->list->dim;
        s->stage->list_transposed = (bbi_place)key->list->place != key->kept;
        s->stage->list_array = key->list->op == BBI_OP_REDUCE
                                   ? p->b.plan->ninput + (int32_t)bbi_table_get(&p->b.temporary_of, key->list->id, 0)
                                   : (int32_t)key->list->ints[0];
    }
    for (int64_t n = 0; n < p->b.node_count; n++) {
        const bbi_node *r = p->b.nodes[n];
        if (r->op == BBI_OP_REDUCE && stage_of(p, r) == number) BBI_FORWARD(bbi_stage_fold(s, r));
    }
    for (int64_t n = 0; n < p->b.node_count; n++) {
        const bbi_node *r = p->b.nodes[n];
        int64_t temporary =
            r->op == BBI_OP_REDUCE && stage_of(p, r) == number ? bbi_table_get(&p->b.temporary_of, r->id, 0) : -1;
        if (temporary >= 0) BBI_FORWARD(bbi_stage_result(s, r, p->noutput + (int32_t)temporary));
    }
    for (int32_t k = 0; k < p->noutput; k++)
        if (p->home[k] == number) BBI_FORWARD(bbi_stage_result(s, p->outputs[k], k));
    return bbi_stage_close(s);
}

/* Only sums over the other axis can be had for both sides of a pair at once. */
static bool may_be_symmetric(const planner *p, int32_t number) {
    const stage_key *key = &p->key[number];
    if (!p->b.options->same || p->b.options->separate_sums || key->list) return false;
    if ((key->kept | key->folded) != BBI_IJ || key->kept == BBI_P || key->folded == BBI_P) return false;
    for (int64_t n = 0; n < p->b.node_count; n++) {
        const bbi_node *r = p->b.nodes[n];
        if (r->op != BBI_OP_REDUCE || stage_of(p, r) != number) continue;
        if (bbi_reduction_info((int)r->ints[0])->family != BBI_FAMILY_SUM) return false;
    }
    return true;
}

static bb_status choose_stage(planner *p, int32_t number) {
    bbi_stage *stage = p->b.stage[number].stage;
    bool pays = may_be_symmetric(p, number);
    if (pays) {
        BBI_FORWARD(fill_stage(p, number, true));
        BBI_FORWARD(bbi_symmetric_pays(stage, &pays));
        if (pays) return BB_OK;
        bbi_stage_builder_free(&p->b.stage[number]);
        bbi_stage_free(stage);
        p->b.stage[number] = (bbi_stage_builder){.stage = stage};
        *stage = (bbi_stage){0};
    }
    return fill_stage(p, number, false);
}

/* Outputs and places of the caller's become ours. */
static bb_status swap_outputs(planner *p, const bbi_node **outputs, bbi_place *places) {
    for (int32_t k = 0; k < p->noutput; k++) {
        places[k] = wanted_place(p, k);
        outputs[k] = p->outputs[k];
    }
    BBI_FORWARD(bbi_symmetric_outputs(&p->b, outputs, places, p->noutput));
    p->outputs = outputs;
    return BB_OK;
}

static bb_status build(planner *p) {
    bbi_plan *plan = p->b.plan;
    BBI_FORWARD(check_outputs(p));
    if (p->b.options->same) BBI_FORWARD(swap_outputs(p, p->own_outputs, p->own_places));
    BBI_FORWARD(bbi_topological(p->outputs, p->noutput, &p->b.nodes, &p->b.node_count));
    BBI_FORWARD(find_levels(p));
    BBI_FORWARD(find_stages(p));
    BBI_FORWARD(find_homes(p));
    BBI_FORWARD(add_map_stages(p));
    plan->stage = bbi_calloc((size_t)p->b.stage_count + 1, sizeof *plan->stage);
    p->b.stage = bbi_calloc((size_t)p->b.stage_count + 1, sizeof *p->b.stage);
    if (!plan->stage || !p->b.stage) return no_memory();
    plan->nstage = p->b.stage_count;
    for (int32_t s = 0; s < p->b.stage_count; s++) p->b.stage[s].stage = &plan->stage[s];
    for (int32_t s = 0; s < p->b.stage_count; s++) BBI_FORWARD(choose_stage(p, s));
    return BB_OK;
}

bb_status bbi_plan_make(bbi_context *c, const bbi_node *const *outputs, int32_t noutput, int32_t ninput,
                        const bbi_plan_options *options, bbi_plan **result) {
    static const bbi_plan_options defaults = {0};
    planner p = {.outputs = outputs, .noutput = noutput};
    *result = NULL;
    p.b.c = c;
    bbi_plan_options own = options ? *options : defaults;
    p.b.options = &own;
    if (own.same) {
        p.own_outputs = bbi_calloc((size_t)noutput + 1, sizeof *p.own_outputs);
        p.own_places = bbi_calloc((size_t)noutput + 1, sizeof *p.own_places);
        if (!p.own_outputs || !p.own_places) {
            bbi_free(p.own_outputs);
            bbi_free(p.own_places);
            return no_memory();
        }
    }
    p.b.constant_reserve = 2;
    p.b.plan = bbi_calloc(1, sizeof *p.b.plan);
    bb_status status = BB_OK;
    if (p.b.plan) {
        p.b.plan->ninput = ninput;
        p.b.plan->noutput = noutput;
        status = build(&p);
    } else {
        status = no_memory();
    }
    for (int32_t s = 0; p.b.stage && s < p.b.stage_count; s++) bbi_stage_builder_free(&p.b.stage[s]);
    bbi_free(p.b.stage);
    bbi_free(p.b.nodes);
    bbi_free(p.key);
    bbi_free(p.home);
    bbi_free(p.own_outputs);
    bbi_free(p.own_places);
    bbi_table_free(&p.b.level);
    bbi_table_free(&p.b.stage_of);
    bbi_table_free(&p.b.temporary_of);
    if (status == BB_OK)
        *result = p.b.plan;
    else
        bbi_plan_free(p.b.plan);
    return status;
}

void bbi_stage_free(bbi_stage *s) {
    bbi_code *const code[] = {&s->uniform_code, &s->row_code, &s->column_code, &s->pair_code, &s->epilogue};
    for (size_t k = 0; k < sizeof code / sizeof *code; k++) bbi_code_free(code[k]);
    bbi_free(s->source);
    bbi_free(s->fold);
    bbi_free(s->read);
    bbi_free(s->result);
    bbi_free(s->constant);
    bbi_free(s->size);
}

void bbi_plan_free(bbi_plan *plan) {
    if (!plan) return;
    for (int32_t n = 0; plan->stage && n < plan->nstage; n++) bbi_stage_free(&plan->stage[n]);
    for (int32_t n = 0; n < plan->ncustom; n++) {
        bbi_plan_free(plan->custom[n].init);
        bbi_plan_free(plan->custom[n].step);
        bbi_plan_free(plan->custom[n].merge);
        bbi_plan_free(plan->custom[n].finish);
    }
    bbi_free(plan->custom);
    bbi_free(plan->stage);
    bbi_free(plan->temporary);
    bbi_arena_free(&plan->arena);
    bbi_free(plan);
}
