/* custom_plan.c: the small plans of a custom reduction's formulas. Their parameters become rows, so that one map stage
 * with the lanes of a block (or with one row, at merges) evaluates them. */
#include "lower.h"

static bb_status make(bbi_context *c, const bbi_node *formula, const bbi_definition *d, bbi_plan **plan) {
    const bbi_node *image[3] = {bbi_var(c, 0, BBI_I, d->state_dim), bbi_var(c, 1, BBI_I, d->dim),
                                bbi_var(c, 2, BBI_I, d->state_dim)};
    const bbi_node *placed = bbi_substitute(c, formula, image, 3);
    bbi_place rows = BBI_I;
    bbi_plan_options options = {.places = &rows};
    if (!placed) return bbi_fail_append("%s", "");
    return bbi_plan_make(c, &placed, 1, 3, &options, plan);
}

int32_t bbi_plan_custom(bbi_plan_builder *p, int64_t definition) {
    bbi_plan *plan = p->plan;
    for (int32_t n = 0; n < plan->ncustom; n++)
        if (plan->custom[n].definition == definition) return n;
    bbi_custom *grown = bbi_realloc(plan->custom, (size_t)(plan->ncustom + 1) * sizeof *grown);
    if (!grown) return (int32_t)(bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory"), -1);
    plan->custom = grown;
    const bbi_definition *d = &p->c->definition[definition];
    bbi_custom *custom = &plan->custom[plan->ncustom++];
    *custom =
        (bbi_custom){.definition = definition, .state_dim = d->state_dim, .dim = d->dim, .result_dim = d->finish->dim};
    bool ok = make(p->c, d->init, d, &custom->init) == BB_OK && make(p->c, d->step, d, &custom->step) == BB_OK &&
              make(p->c, d->merge, d, &custom->merge) == BB_OK && make(p->c, d->finish, d, &custom->finish) == BB_OK;
    return ok ? plan->ncustom - 1 : -1;
}
