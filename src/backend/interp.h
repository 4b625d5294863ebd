/* interp.h: the form in which the interpreter keeps a code, shared by interp_fuse.c and interp_build.c, which
 * make it, and interp.c, which executes it. */
#ifndef BBI_INTERP_H
#define BBI_INTERP_H

#include "backend.h"
#include "isa.h"

/* Where an operand lives: a bbi_space, with VALUE meaning tile buffers of the workspace. */
enum { BBI_SPACES = BBI_COLUMN + 1 };
/* a component of a space, or an integer: `value`, or index[slot] if slot >= 0 */
typedef struct bbi_address {
    int32_t slot;
    int64_t value;
} bbi_address;
typedef struct bbi_place_operand {
    uint8_t space;
    bbi_address component; /* VALUE: the buffer's number; LITERAL: its number; COUNT: the integer itself */
} bbi_place_operand;

typedef enum bbi_action_kind {
    BBI_ACT_MAP,    /* result = op(arg...) */
    BBI_ACT_COPY,   /* result = arg[0] */
    BBI_ACT_CHOOSE, /* result = index != 0 ? arg[0] : arg[1] */
    BBI_ACT_LOOP,   /* for index times: the actions up to end */
    BBI_ACT_END,
    BBI_ACT_SUM,        /* sum[index] += arg[0], or fma(arg[0], arg[1], .), or fma(arg[0], arg[1] - arg[2], .) */
    BBI_ACT_OUT,        /* out[index] = arg[0] */
    BBI_ACT_MIRROR,     /* as SUM, onto the sum of the column */
    BBI_ACT_CHAIN,      /* result = arg[0] (narg 1) or nothing (narg 0), plus the terms */
    BBI_ACT_CHAIN_LOOP, /* a loop whose body is one chain onto its own result */
    BBI_ACT_SUM_LOOP,   /* a loop whose body is one SUM of a tile times weights */
    BBI_ACT_NONE        /* while building: absorbed by another action */
} bbi_action_kind;

/* of a chain: component of the rows, component of the columns */
typedef struct bbi_term {
    bbi_address row, column;
    int32_t next; /* term number, -1 */
} bbi_term;

typedef struct bbi_action {
    uint8_t kind, narg;
    bool square;  /* chain */
    bool to_out;  /* the result is output component `index` and nothing else reads it */
    uint8_t wide; /* SUM: BBI_WIDE_.. in the direct schedule, BBI_WIDE_KINDS: none of them */
    uint8_t run;  /* SUM: so many like it, of the same tile, begin here */
    uint16_t op;
    int32_t result;                 /* buffer; while building: value number; -1 */
    int32_t end;                    /* loops: the action after the body's END */
    int32_t counter;                /* loops */
    int32_t first_node, node_count; /* loops: index expressions to evaluate in each iteration */
    int32_t first_term, term_count; /* chains */
    bbi_address index;
    bbi_place_operand arg[3];
    bbi_map_function *function[8]; /* MAP: by splat flags of the operands */
} bbi_action;

struct bbi_interp {
    const bbi_interp_isa *isa;
    bool map, is_double;
    bool mirrors; /* the out area holds mirror sums */
    int64_t sum_count;
    bbi_action *action;
    bbi_term *term;
    bbi_index *index; /* copy of the code's */
    int64_t *initial; /* index values known beforehand */
    int32_t *node;    /* numbers of index expressions, in the order in which they are evaluated */
    void *literal;    /* as R */
    int32_t action_count, term_count, index_count, node_count, literal_count;
    int32_t outer_nodes; /* the first nodes, which depend on no counter */
    int32_t counter_count, buffer_count;
    int64_t tile_casts;
};

enum {
    BBI_CHAIN_TERMS = 64, /* terms of a chain loop taken at a time */
    BBI_BLOCK_BYTES = BBI_LANE_BYTES
};

/* ---- making one: interp_build.c, interp_fuse.c ----------------------------------------------- */
typedef struct bbi_interp_builder {
    const bbi_code *code;
    bbi_interp *interp;
    int32_t *uses, *defs; /* of a value: how many */
    int32_t *defined;     /* of a value: the last defining instruction so far */
    int32_t *block;       /* of an instruction: number of its stretch of code */
    int32_t *level;       /* of an index: -3 unused, -2 constant, -1 sizes only, else its loop */
    int32_t *last;        /* of a value: last action that needs it */
    int32_t *buffer, *next_ending, *first_ending, *free_buffer;
} bbi_interp_builder;

/* Fills interp->action and interp->term from the code; false when out of memory. */
bool bbi_interp_fuse(bbi_interp_builder *builder);

#endif
