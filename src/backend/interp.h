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
    bool linear;  /* chain loops: the indices of the term are linear in the counter */
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
    int32_t strand_end;            /* > 0: from here to before that action these links may run instead */
    int32_t first_link, link_count;
} bbi_action;

/* One operation of a strand, and what is done with its result; bound to addresses it becomes one to three
 * bbi_links. */
typedef enum bbi_link_kind {
    BBI_LINK_NOTHING, /* the current value is the result */
    BBI_LINK_LOAD,
    BBI_LINK_MAP,
    BBI_LINK_CHAIN,
    BBI_LINK_SUM,
    BBI_LINK_MIRROR
} bbi_link_kind;
typedef struct bbi_strand_link {
    uint8_t what, narg;
    uint8_t operands;   /* that are not in registers */
    uint8_t kind[2][3]; /* direct, transposed; of all operands */
    bool local[3];      /* operand is a value of the block: component.value is its slot */
    bool keep_local, out;
    bool copy;          /* of a component of the columns to an output */
    int32_t keep;       /* slot or buffer in which the result is kept, -1; while building: value number */
    int32_t first_term, term_count;
    bbi_address index; /* of the sum, or of the output that the result is */
    bbi_place_operand x[3];
    bbi_link_function *run[2]; /* direct, transposed */
    bbi_map_function *function;
} bbi_strand_link;

struct bbi_interp {
    const bbi_interp_isa *isa;
    const bbi_strand_isa *strands;
    bool map, is_double;
    bool one_pass; /* strands alone, which share no values: no need for tiles */
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
    bbi_strand_link *link;
    int32_t link_count, local_count;
    int32_t strand_links, strand_terms; /* of any strand, at most */
    int32_t select_links;               /* outputs that strands write, if they write all */
    int64_t copies, first_copy;         /* see bbi_interp_copies */
    int64_t tile_casts;
};

enum {
    BBI_CHAIN_TERMS = 64, /* terms of a chain loop taken at a time */
    BBI_BLOCK_BYTES = BBI_LANE_BYTES,
    BBI_STRAND_ACTIONS = 64 /* at most so many actions in a strand */
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
/* interp_strand.c: makes strands; false when out of memory. Then tile buffers that strands use must last for the whole
 * stretch, and be named in the links once they are assigned. */
bool bbi_interp_make_strands(bbi_interp_builder *builder);
void bbi_interp_strand_lives(const bbi_interp_builder *builder);
void bbi_interp_strand_buffers(const bbi_interp_builder *builder);

#endif
