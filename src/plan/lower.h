/* lower.h: shared by the files that turn a program into a plan: builder.c (loops and instructions), lower.c (nodes to
 * operands), stage.c (what a stage packs, folds and writes), plan.c (which stages there are). */
#ifndef BBI_LOWER_H
#define BBI_LOWER_H

#include "plan.h"

/* ---- map.c: from pairs of integers to an integer --------------------------------------------- */
typedef struct bbi_table {
    struct bbi_table_entry {
        int64_t a, b, value;
        bool used;
    } *entry;
    int64_t capacity, count;
} bbi_table;
int64_t bbi_table_get(const bbi_table *table, int64_t a, int64_t b); /* -1: absent */
bb_status bbi_table_put(bbi_table *table, int64_t a, int64_t b, int64_t value);
void bbi_table_free(bbi_table *table);

/* ---- builder.c: one code under construction -------------------------------------------------- */
/* the body of a loop, or the whole code; closed scopes are spliced into their parent's list
                            */
typedef struct bbi_scope {
    int32_t parent, counter, trip; /* numbers; -1 for the root */
    bool open;
    bbi_instruction *list;
    int32_t count, capacity;
} bbi_scope;
typedef struct bbi_stage_builder bbi_stage_builder;
typedef struct bbi_builder_state {
    bbi_stage_builder *stage;
    bbi_code *code;
    uint8_t native; /* BBI_VALUE: pair code; else the space that this map code computes */
    bool epilogue;  /* the stage's own reductions are available */
    bbi_scope *scope;
    int32_t scope_count, scope_capacity;
    int32_t *scope_of; /* by index, filled as far as was asked for */
    int32_t scope_of_count, scope_of_capacity;
    int32_t instruction_count, depth; /* depth: of bbi_lower in itself */
    bbi_table memo;                   /* (node id, index) -> operand number */
    bbi_operand *operand;
    int64_t operand_count, operand_capacity;
} bbi_builder_state;

bb_status bbi_builder_open(bbi_builder_state *b, bbi_stage_builder *stage, bbi_code *code, uint8_t native);
bb_status bbi_builder_close(bbi_builder_state *b); /* writes the root's list into the code */
void bbi_builder_free(bbi_builder_state *b);
int32_t bbi_scope_open(bbi_builder_state *b, int32_t parent,
                       int32_t trip); /* the new scope, -1 on error; its counter is scope[..].counter */
bb_status bbi_scope_close(bbi_builder_state *b, int32_t scope);
int32_t bbi_scope_of_index(bbi_builder_state *b,
                           int32_t index); /* the innermost loop whose counter the index mentions; -1 on error */
bb_status bbi_emit(bbi_builder_state *b, int32_t scope, const bbi_instruction *instruction);
bb_status bbi_builder_check(const bbi_builder_state *b); /* an error where the code grows beyond all bounds */
int32_t bbi_new_value(bbi_builder_state *b);
int32_t bbi_ix(bbi_builder_state *b, bbi_index_op op, int32_t x, int32_t y);
int32_t bbi_ix_const(bbi_builder_state *b, int64_t value);
int32_t bbi_ix_size(bbi_builder_state *b, int64_t value); /* a literal when small, else a run-time size */
bool bbi_ix_is_const(const bbi_builder_state *b, int32_t index, int64_t *value);

/* ---- lower.c --------------------------------------------------------------------------------- */
/* Component `index` of a node as an operand; instructions are added to the scopes that they belong to. */
bb_status bbi_lower(bbi_builder_state *b, const bbi_node *node, int32_t index, bbi_operand *result);
bool bbi_computed_here(const bbi_builder_state *b, const bbi_node *node); /* by the code under construction */
/* chain.c: lowers what a long chain of additions consists of, innermost first, so that bbi_lower need not descend along
 * it. */
bb_status bbi_lower_chain(bbi_builder_state *b, const bbi_node *node, int32_t index);
/* For every component k of node: instruction (SUM or OUT) with index first + k; SUM takes a product's factors apart. */
bb_status bbi_lower_sink(bbi_builder_state *b, const bbi_node *node, bbi_step kind, int32_t first);
/* SUM of node and MIRROR of image, which have the same dimension. */
bb_status bbi_lower_mirrored(bbi_builder_state *b, const bbi_node *node, const bbi_node *image, int32_t first);

/* ---- lower_product.c ------------------------------------------------------------------------- */
/* The factors of a product: x = f * g; g NULL where x is no product worth taking apart. */
bb_status bbi_factors(bbi_builder_state *b, const bbi_node *x, const bbi_node **f, const bbi_node **g);
/* Likewise of what a sum adds up, an exponential by itself where there is one. */
bb_status bbi_factors_of_sum(bbi_builder_state *b, const bbi_node *x, const bbi_node **f, const bbi_node **g);
/* exp or exp2 of a node's argument is 2^(rest * scale). */
bb_status bbi_exponent(bbi_builder_state *b, const bbi_node *node, const bbi_node **rest, const bbi_node **scale);
/* What a node is computed as per pair, made of other operations; NULL: it is itself. */
bb_status bbi_pair_form(bbi_builder_state *b, const bbi_node *node, const bbi_node **form);

/* ---- stage.c --------------------------------------------------------------------------------- */
/* where a node that is not computed per pair is found */
typedef struct bbi_place_in_stage {
    uint8_t space;
    int32_t first; /* its first component: the number, or the complement (~) of the run-time size that holds it */
} bbi_place_in_stage;
typedef struct bbi_plan_builder bbi_plan_builder;
struct bbi_stage_builder {
    bbi_plan_builder *plan;
    bbi_stage *stage;
    bbi_builder_state uniform, row, column, pair, epilogue;
    bbi_table located; /* (node id, 0) -> index into places; (reduction id, 1) -> where the epilogue reads it */
    bbi_place_in_stage *places;
    int64_t place_count, place_capacity;
    bool large[8];     /* by space, 6 sum, 7 out: a run-time dimension came before, so offsets are run-time numbers */
    bbi_table fold_of; /* (reduction id, 0) -> fold; (f and family, weight and K) -> fold */
    int32_t pair_uniforms; /* components in front that are kept for the pair code */
    int32_t constants_used;
    int32_t source_capacity, fold_capacity, read_capacity, result_capacity, size_capacity;
};
struct bbi_plan_builder {
    bbi_context *c;
    bbi_plan *plan;
    const bbi_plan_options *options;
    const bbi_node **nodes; /* everything reachable, operands first */
    int64_t node_count;
    bbi_table level;          /* (node id, 0) -> stage level of a reduction, level of what a node contains otherwise */
    bbi_table stage_of;       /* (node id, 1) -> the last stage whose reductions the node contains; absent: none */
    bbi_table temporary_of;   /* (reduction id, 0) -> temporary */
    int32_t constant_reserve; /* literals that are run-time numbers: room for so many in front of each stage's uniform
                                 array */
    bbi_stage_builder *stage;
    int32_t stage_count, stage_capacity;
};
int32_t bbi_stage_constant(bbi_stage_builder *s, double value); /* its component of the uniform array; -1: no room */
int32_t bbi_plan_custom(bbi_plan_builder *p,
                        int64_t definition); /* custom_plan.c: its number in the plan; -1 on error */
uint8_t bbi_space_of(const bbi_stage_builder *s, const bbi_node *node); /* UNIFORM, ROW, COLUMN; VALUE per pair */
bb_status bbi_locate(bbi_stage_builder *s, const bbi_node *node, bbi_place_in_stage *place);
bb_status bbi_stage_open(bbi_stage_builder *s, bbi_plan_builder *plan, bbi_place kept, bbi_place folded);
bb_status bbi_stage_fold(bbi_stage_builder *s, const bbi_node *reduction); /* the pair code of a reduction */
bb_status bbi_stage_read(bbi_stage_builder *s, const bbi_node *reduction,
                         bbi_place_in_stage *place); /* in the epilogue */
bb_status bbi_stage_result(bbi_stage_builder *s, const bbi_node *node, int32_t array);
bb_status bbi_stage_close(bbi_stage_builder *s);
void bbi_stage_builder_free(bbi_stage_builder *s);
/* Operations per pair; needed: only of the steps that define these values, and of the sums (NULL: all). */
double bbi_code_cost(const bbi_stage *stage, const bbi_code *code, const bool *needed);

/* ---- symmetric.c ----------------------------------------------------------------------------- */
/* Where i and j are the same elements: the outputs over variables that are the same where the arrays are, kept along i
 * instead of j where that can be done. outputs and places (their wanted placements) are overwritten. */
bb_status bbi_symmetric_outputs(bbi_plan_builder *p, const bbi_node **outputs, bbi_place *places, int32_t noutput);
/* image = ±F(j, i) for a term F(i, j) of a stage. */
bb_status bbi_symmetric_image(bbi_plan_builder *p, const bbi_node *f, const bbi_node **image, bool *negative);
/* Whether half of the pairs with both sums cost less than all of them. */
bb_status bbi_symmetric_pays(const bbi_stage *stage, bool *pays);
void *bbi_grow(void *array, int64_t count, int32_t *capacity, size_t size); /* NULL when out of memory */

#endif
