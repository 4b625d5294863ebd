/* custom.c: reductions that the caller defines by formulas. Their state is a vector; step, merge and finish are
 * formulas over parameters, so what they may do is what formulas can. */
#include "expr.h"

static bb_status check_formula(const bbi_node *node, const char *name, int64_t dim, int64_t state_dim,
                               int64_t formula_dim, bool sees_value, bool sees_other) {
    const bbi_node **nodes;
    int64_t count;
    if (!node) return bbi_fail_append(" (custom reduction: %s)", name);
    if (dim && node->dim != dim)
        return bbi_fail(BB_BAD_SHAPE, "custom reduction: %s has dimension %lld, the state %lld; they must be equal",
                        name, (long long)node->dim, (long long)dim);
    BBI_FORWARD(bbi_topological(&node, 1, &nodes, &count));
    bb_status status = BB_OK;
    for (int64_t n = 0; n < count && status == BB_OK; n++) {
        const bbi_node *v = nodes[n];
        if (v->op == BBI_OP_REDUCE)
            status = bbi_fail(BB_BAD_ARGUMENT, "custom reduction: %s contains a reduction", name);
        if (v->op != BBI_OP_VAR) continue;
        int64_t position = v->ints[0], wanted = position == 1 ? formula_dim : state_dim;
        if (v->place != BBI_P || position < 0 || position > 2 || (position == 1 && !sees_value) ||
            (position == 2 && !sees_other))
            status = bbi_fail(BB_BAD_ARGUMENT,
                              "custom reduction: %s uses variable %lld; parameters 0 (state), 1 (the formula's value, "
                              "in step) and 2 (another state, in merge) "
                              "are what it may use",
                              name, (long long)position);
        else if (v->dim != wanted)
            status = bbi_fail(BB_BAD_SHAPE, "custom reduction: in %s variable %lld has dimension %lld, not %lld", name,
                              (long long)position, (long long)v->dim, (long long)wanted);
    }
    bbi_free(nodes);
    return status;
}

static bb_status check_definition(const bbi_definition *d) {
    BBI_FORWARD(check_formula(d->init, "init", d->state_dim, d->state_dim, d->dim, false, false));
    BBI_FORWARD(check_formula(d->step, "step", d->state_dim, d->state_dim, d->dim, true, false));
    BBI_FORWARD(check_formula(d->merge, "merge", d->state_dim, d->state_dim, d->dim, false, true));
    return check_formula(d->finish, "finish", 0, d->state_dim, d->dim, false, false);
}

int64_t bbi_define(bbi_context *c, const bbi_definition *definition) {
    bbi_definition d = *definition;
    if (d.state_dim < 1 || d.dim < 1) {
        bbi_fail(BB_BAD_ARGUMENT, "custom reduction: the state has dimension %lld; it must be at least 1",
                 (long long)d.state_dim);
        return -1;
    }
    if (d.init && d.init->dim == 1) d.init = bbi_repeat(c, d.init, d.state_dim);
    if (!d.finish) d.finish = bbi_var(c, 0, BBI_P, d.state_dim);
    if (check_definition(&d) != BB_OK) return -1;
    for (int64_t n = 0; n < c->definition_count; n++) {
        const bbi_definition *e = &c->definition[n];
        if (e->state_dim == d.state_dim && e->dim == d.dim && e->init == d.init && e->step == d.step &&
            e->merge == d.merge && e->finish == d.finish)
            return n;
    }
    bbi_definition *grown = bbi_realloc(c->definition, (size_t)(c->definition_count + 1) * sizeof *grown);
    if (!grown) {
        bbi_fail(BB_OUT_OF_MEMORY, "custom reduction: out of memory");
        return -1;
    }
    c->definition = grown;
    c->definition[c->definition_count] = d;
    return c->definition_count++;
}
