/* emit_gpu.h: the family of emitters for graphics processors. The text is one for CUDA and OpenCL but for the prelude of
 * the target. emit_gpu.c prints the skeleton, emit_gpu_body.c the steps of the pair code over a block of pairs,
 * emit_gpu_states.c places the states of the reductions, emit_gpu_fold.c prints them.
 *
 * A thread owns `rows` rows in registers and meets the columns of a tile in local memory, `casts` at a time. A block of
 * BBI_GPU_THREADS threads is tx rows wide (times `rows`); where there are few rows, threads with the same rows share the
 * columns of a tile. The column axis is cut into chunks; every part (chunk and share) leaves a partial result of each
 * row in `value` and `index`, which are merged in the order of the parts. */
#ifndef BBI_EMIT_GPU_H
#define BBI_EMIT_GPU_H

#include "emit.h"

enum { BBI_GPU_THREADS = 128, BBI_GPU_TILE = 128, BBI_GPU_MAX_FOLDS = 64 };

/* what the kernel finds in `geometry` */
typedef enum bbi_gpu_geometry {
    BBI_GEO_TX,          /* threads of a block that have rows of their own; divides BBI_GPU_THREADS */
    BBI_GEO_GROUPS,      /* of rows, per batch element, in this launch */
    BBI_GEO_FIRST_GROUP, /* number of the first of them */
    BBI_GEO_CHUNKS,
    BBI_GEO_CHUNK, /* columns, a multiple of the tile */
    BBI_GEO_ROWS,
    BBI_GEO_COLUMNS,
    BBI_GEO_ROW_STRIDE,
    BBI_GEO_ROW_SLOT, /* R's of a batch element */
    BBI_GEO_COLUMN_STRIDE,
    BBI_GEO_COLUMN_SLOT,
    BBI_GEO_UNIFORM_SLOT,
    BBI_GEO_TOTAL,  /* rows that `value` has room for: batch elements * groups * tx * rows */
    BBI_GEO_RANGES, /* 1: `group` and `interval` say who meets whom */
    /* ---- of the kernels around the pairs alone */
    BBI_GEO_SLOTS,                          /* batch elements of this launch */
    BBI_GEO_FIRST_BATCH,                    /* number of the first of them */
    BBI_GEO_BATCH,                          /* extents of the batch, BBI_GPU_BATCH_DIMS of them */
    BBI_GEO_ROW_BLOCKS = BBI_GEO_BATCH + 4, /* blocks that pack rows; the others pack columns */
    BBI_GEO_PARTS,
    BBI_GEO_GROUP_ROWS, /* tx * rows */
    BBI_GEO_EXTENT_J,   /* for indices over both axes */
    BBI_GEO_STEP,       /* parts that are to be merged: 0, step, 2 step ... */
    BBI_GEO_COUNT
} bbi_gpu_geometry;
/* of a group of rows, in `group`: first row, end, first interval, intervals, columns */
enum { BBI_GPU_GROUP_FIELDS = 5 };

typedef struct bbi_gpu_options {
    bool is_double, wide;     /* wide: blocks of float sums are added up in double */
    bool cuda, few_rows;      /* few_rows: one row for each thread */
    bool exact;               /* distances by differences always */
    bool apart;               /* no products of tiles (emit_gpu_product.c): each thread keeps the sums of its rows */
    int scheme;               /* 0 block, 1 compensated, 2 to the end */
    const bbi_custom *custom; /* the plan's */
} bbi_gpu_options;
/* how the kernel leaves partial results: components of `value` and of `index` */
typedef struct bbi_gpu_layout {
    int rows, casts;
    bool shared;   /* the tile of columns stands in local memory: (column_count + derived) * BBI_GPU_TILE R's */
    int derived;   /* components that the kernel adds to a tile */
    int tx;        /* threads along rows; 0: the launch chooses */
    bool together; /* a block leaves one part; else each of its shares does */
    int64_t local; /* R's of local memory that a block needs; 0: the tile's */
    int64_t values, indices, slots; /* slots: sums of blocks that stand in `scratch` */
    int64_t value_first[BBI_GPU_MAX_FOLDS], index_first[BBI_GPU_MAX_FOLDS];
    bool low[BBI_GPU_MAX_FOLDS]; /* behind the sums stand as many corrections */
    int64_t low_step;            /* components from a sum to its correction; 0: as many as the fold has */
} bbi_gpu_layout;
#define BBI_GPU_SYMBOL "benben_pairs"
/* The kernels of the pairs by name, then NULL: one, but for listed pairs (emit_gpu_listed.c). */
const char *const *bbi_gpu_pair_symbols(const bbi_stage *stage);

/* ---- listed pairs: see emit_gpu_listed.c ---- */
typedef enum bbi_gpu_listed_kernel {
    BBI_LISTED_SUMS = 0, /* of a list of the rows: the only one */
    BBI_LISTED_KEYS = 0, /* of a list of the columns */
    BBI_LISTED_COUNT,
    BBI_LISTED_SCAN,
    BBI_LISTED_MOVE,
    BBI_LISTED_BLOCKS,
    BBI_LISTED_ROWS,
    BBI_LISTED_KERNELS
} bbi_gpu_listed_kernel;
/* what these kernels find in `pass` */
typedef enum bbi_gpu_pass {
    BBI_PASS_LIST_DIM,
    BBI_PASS_FIRST_SLOT, /* of the sorted entries: batch elements and columns of the piece */
    BBI_PASS_SLOTS,
    BBI_PASS_FIRST_COLUMN,
    BBI_PASS_COLUMNS,
    BBI_PASS_ENTRIES,  /* slots * columns * list_dim */
    BBI_PASS_CAPACITY, /* that `entries` has room for, four numbers each, before the counts */
    BBI_PASS_TILES,    /* of BBI_GPU_SORT_TILE entries */
    BBI_PASS_SHIFT,    /* the digit: bits that it begins at */
    BBI_PASS_SIDE,     /* where the entries stand: 0 or 1 */
    BBI_PASS_COUNT
} bbi_gpu_pass;
enum { BBI_GPU_SORT_ITEMS = 16, BBI_GPU_SORT_TILE = BBI_GPU_SORT_ITEMS * BBI_GPU_THREADS, BBI_GPU_SORT_BITS = 4 };
enum { BBI_GPU_SORT_BLOCK = 64 }; /* sorted entries whose sum stands in `blocks` where they are of one row */

/* What a kernel is told of an array: element (b, r, d) is at offset + b . batch + r row + d dim bytes. */
enum { BBI_GPU_BATCH_DIMS = 4, BBI_GPU_MAX_ARRAYS = 40 };
typedef enum bbi_gpu_field {
    BBI_FIELD_OFFSET,
    BBI_FIELD_ROW,
    BBI_FIELD_DIM,
    BBI_FIELD_DTYPE,                                        /* bbi_gpu_dtype */
    BBI_FIELD_BATCH,                                        /* BBI_GPU_BATCH_DIMS of them */
    BBI_FIELD_COUNT = BBI_FIELD_BATCH + BBI_GPU_BATCH_DIMS, /* components */
    BBI_FIELD_FIRST,                                        /* the first of them in the packed array */
    BBI_FIELDS
} bbi_gpu_field;
typedef enum bbi_gpu_dtype {
    BBI_GPU_F16,
    BBI_GPU_BF16,
    BBI_GPU_F32,
    BBI_GPU_F64,
    BBI_GPU_I64,
    BBI_GPU_GIVEN
} bbi_gpu_dtype; /* as bbi_dtype; GIVEN: uniform, up to
                                            BBI_GPU_BATCH_DIMS numbers as bits of R in the place of batch strides */
/* The kernels around the pairs, in one text (emit_gpu_map.c, emit_gpu_finish.c). Their arguments, in this order:
 *   uniform  geometry size constant uniform, sources, views    one block of threads for a batch element
 *   pack     geometry size uniform row column, sources of rows, of columns, views    a thread for a row or column
 *   finish   geometry size uniform row group interval value index, arrays (see bbi_gpu_finish_arrays), views
 *            a thread for a row: merges the parts in their order, epilogue, results
 *   merge    geometry value index    a thread for a row and BBI_GPU_MERGED parts
 * views: BBI_FIELDS numbers for each array. */
enum { BBI_GPU_MERGED = 16 };
typedef enum bbi_gpu_map { BBI_MAP_UNIFORM, BBI_MAP_PACK, BBI_MAP_FINISH, BBI_MAP_MERGE, BBI_MAPS } bbi_gpu_map;
extern const char *const bbi_gpu_map_symbols[BBI_MAPS + 1];
bool bbi_gpu_is_source(const bbi_source *source, uint8_t space); /* an array, of this space */
/* What the kernel `finish` finds its arrays for: indices along j that are looked up, then results. number: of the fold
 * or result. Returns how many there are. */
typedef struct bbi_gpu_finish_array {
    bool is_lookup;
    int32_t number;
} bbi_gpu_finish_array;
int bbi_gpu_finish_arrays(const bbi_stage *stage, bbi_gpu_finish_array *arrays); /* room for BBI_GPU_MAX_ARRAYS */

/* NULL, or why the stage is left to the CPU. */
const char *bbi_gpu_refusal(const bbi_stage *stage);
bb_status bbi_emit_gpu(bbi_text *text, const bbi_stage *stage, const bbi_gpu_options *options, bbi_gpu_layout *layout);
/* layout: of either kernel of pairs; where nothing is folded, zeros. */
bb_status bbi_emit_gpu_maps(bbi_text *text, const bbi_stage *stage, const bbi_gpu_options *options,
                            const bbi_gpu_layout *layout);

/* ---- shared by these files ---- */
enum { BBI_GPU_MAX_DISTANCE = 4 };
/* a squared distance that may be expanded: see emit_gpu_expand.c */
typedef struct bbi_gpu_distance {
    int dim; /* 0: none */
    const bbi_operand *row[BBI_GPU_MAX_DISTANCE], *column[BBI_GPU_MAX_DISTANCE];
    const bbi_operand *scale; /* of the exponent; NULL: the distance is selected from */
    int32_t user;             /* the instruction that uses it */
} bbi_gpu_distance;
/* Sums of a value of the pair times components of the column: see emit_gpu_product.c. */
enum { BBI_GPU_MAX_PRODUCTS = 2, BBI_GPU_MAX_PIECES = 4, BBI_GPU_MAX_REST = 8 };
typedef struct bbi_gpu_piece {
    int64_t column, sum, count; /* first component of the column; first sum */
} bbi_gpu_piece;
typedef struct bbi_gpu_product {
    int32_t value;
    int pieces;
    bbi_gpu_piece piece[BBI_GPU_MAX_PIECES];
    int64_t count; /* outputs */
} bbi_gpu_product;
typedef struct bbi_gpu_products {
    int count;
    bbi_gpu_product product[BBI_GPU_MAX_PRODUCTS];
    int64_t rest[BBI_GPU_MAX_REST]; /* other sums */
    int nrest;
    bool *used;         /* component of the column: the values take it */
    int64_t components; /* of them */
    bool single;        /* all outputs are in one panel, whose sums stay in registers */
    int width;          /* numbers of a vector load */
    int across;         /* threads along outputs */
    int down, over;     /* rows and outputs of a thread */
    int vectors;        /* of its outputs */
    int tall;           /* rows of a block */
    int columns, panel_columns, line, panel_line;
} bbi_gpu_products;
/* Loops over many components, in tiles: see emit_gpu_deep.c. */
typedef struct bbi_gpu_deep {
    bool on, inside;
    int32_t loop;    /* inside of this one */
    int left, right; /* components of rows, of columns, for one iteration */
    int tall, tile;  /* rows and columns of a block */
    int blocks;      /* on a multiprocessor */
} bbi_gpu_deep;
typedef struct bbi_gpu {
    bbi_emitter e; /* text, stage, code: for index expressions */
    const bbi_gpu_options *options;
    bbi_gpu_layout *layout;
    int blocks;         /* on a multiprocessor: what their registers allow */
    int casts;          /* of the body being printed */
    bool *nested;       /* of a loop: there is one inside */
    bool *crosses;      /* a value lives in an array over the block */
    bool *assigned;     /* by value: printed in this segment */
    uint8_t *held;      /* by space and index expression: 1 in registers of the kernel, 2 of the segment */
    bool register_sums; /* sums of the pair code stand in registers */
    bool in_memory[BBI_GPU_MAX_FOLDS];     /* the state of a fold stands in `value` and `index` */
    int64_t slot_first[BBI_GPU_MAX_FOLDS]; /* LSE: slots of its weights' sums, in memory */
    bbi_gpu_distance distance;
    bool *skip;   /* of an instruction: part of the distance */
    bool *served; /* of an instruction: part of a product */
    bbi_gpu_products products;
    bbi_gpu_deep deep;
    bool fast; /* the body being printed expands it */
} bbi_gpu;

/* ---- emit_gpu.c ---- */
void bbi_gpu_head(bbi_gpu *g, const bbi_code *const *codes,
                  int count);          /* preludes, operations, names of the geometry */
double bbi_gpu_work(const bbi_gpu *g); /* of a pair */
void bbi_gpu_emit_pairs(bbi_gpu *g);   /* the columns of a tile, for all rows of the thread */

/* ---- emit_gpu_deep.c ---- */
bool bbi_gpu_find_deep(bbi_gpu *g); /* with the shape of the kernel; false: it is another */
int bbi_gpu_deep_stream(const bbi_gpu *g,
                        const bbi_operand *o); /* number of an operand in the tiles; -1: it is not there */
void bbi_gpu_deep_head(const bbi_gpu *g);
void bbi_gpu_deep_begin(const bbi_gpu *g);
void bbi_gpu_deep_loop(bbi_gpu *g, int32_t loop);

/* ---- emit_gpu_product.c ---- */
bool bbi_gpu_find_products(bbi_gpu *g);         /* with the shape of the kernel; false: there are none */
int64_t bbi_gpu_product_tile(const bbi_gpu *g); /* R's of the columns' components that stand in local memory */
/* What is to be taken from the number of a component for its place there. */
int64_t bbi_gpu_product_shift(const bbi_gpu *g, int32_t index);

/* ---- emit_gpu_panel.c ---- */
int bbi_gpu_product_blocks(const bbi_gpu *g); /* on a multiprocessor: what their registers allow */
void bbi_gpu_product_head(const bbi_gpu *g);
void bbi_gpu_emit_products(bbi_gpu *g);
void bbi_gpu_store_values(const bbi_gpu *g); /* behind the segments of a block of pairs */

/* ---- emit_gpu_code.c: codes as functions of an element or a pair ---- */
/* What stands before and behind the index of a component. */
typedef struct bbi_gpu_spaces {
    const char *uniform[2], *row[2], *column[2];
    const char *out[2], *behind; /* of an OUT: around the index, and behind the value */
    int64_t entry;               /* the row component that is the number of the list's entry, `entry`; -1: none */
    bool known;                  /* sizes are constants of the text */
} bbi_gpu_spaces;
void bbi_gpu_print_operand(const bbi_gpu *g, const bbi_operand *o, const bbi_gpu_spaces *spaces);
void bbi_gpu_print_code(bbi_gpu *g, const bbi_code *code, const bbi_gpu_spaces *spaces);

/* ---- emit_gpu_map.c ---- */
void bbi_gpu_arrays_head(bbi_gpu *g, int arrays); /* behind bbi_gpu_head: what arrays are called */

/* ---- emit_gpu_user.c: k is the number of a fold of the family USER ---- */
bool bbi_gpu_takes_user(const bbi_stage *stage, const bbi_fold *fold);
enum { BBI_GPU_USER_CODES = 8 }; /* of a fold: what its formulas are made of */
/* Adds them to `codes`, of which there are `count`; how many there are then. */
int bbi_gpu_user_codes(const bbi_stage *stage, const bbi_custom *custom, const bbi_code **codes, int count);
void bbi_gpu_emit_user(bbi_gpu *g, bool around);     /* functions for the kernel of pairs, or for those around it */
int64_t bbi_gpu_user_state(const bbi_gpu *g, int k); /* numbers of a state */
void bbi_gpu_begin_user(const bbi_gpu *g, int k);
void bbi_gpu_step_user(const bbi_gpu *g); /* all of them */
void bbi_gpu_end_user(const bbi_gpu *g, int k);
void bbi_gpu_merge_user(bbi_gpu *g, int k);
void bbi_gpu_finish_user(bbi_gpu *g, const bbi_read *read);

/* ---- emit_gpu_listed.c ---- */
void bbi_gpu_emit_listed(bbi_gpu *g);

/* ---- emit_gpu_finish.c ---- */
void bbi_gpu_emit_finish(bbi_gpu *g);

/* ---- emit_gpu_body.c ---- */
int64_t bbi_gpu_component(const bbi_gpu *g, int32_t index); /* value with all counters 0 */
bool bbi_gpu_is_const(const bbi_gpu *g, int32_t index);
bool bbi_gpu_is_fixed(const bbi_gpu *g, int32_t index); /* depends on no counter */
void bbi_gpu_operand(const bbi_gpu *g, const bbi_operand *o);
void bbi_gpu_segment(bbi_gpu *g, int32_t first, int32_t last);
void bbi_gpu_hold(bbi_gpu *g);                     /* loads that stand in front of all columns */
int64_t bbi_gpu_held(const bbi_gpu *g);            /* numbers that it loads */
int64_t bbi_gpu_segment_columns(const bbi_gpu *g); /* components of the column that one segment reads, at most */

/* ---- emit_gpu_states.c ---- */
static inline const bbi_fold *bbi_gpu_fold(const bbi_gpu *g, int k) { return &g->e.stage->fold[k]; }
static inline bool bbi_gpu_is_extreme(const bbi_fold *f) {
    return f->family == BBI_FAMILY_MIN || f->family == BBI_FAMILY_MAX;
}
static inline bool bbi_gpu_is_less(const bbi_fold *f) { return f->family != BBI_FAMILY_MAX; }
static inline bool bbi_gpu_is_direct(const bbi_gpu *g) { return g->options->scheme == 2; }
static inline bool bbi_gpu_has_low(const bbi_gpu *g) { return g->options->scheme == 1; }
/* All states in registers, of which a thread needs no more than `words`; else false. */
bool bbi_gpu_place_in_registers(bbi_gpu *g, int64_t words);
void bbi_gpu_choose_states(bbi_gpu *g);                               /* may make the block smaller */
int bbi_gpu_fold_of_out(const bbi_gpu *g, const bbi_instruction *s);  /* that an OUT gives a component to */
bool bbi_gpu_is_exponent(const bbi_gpu *g, int k, int64_t component); /* of the log-sum-exp k; the others are weights */
bool bbi_gpu_is_memory_sink(const bbi_gpu *g, const bbi_instruction *s);

/* ---- emit_gpu_fold.c ---- */
void bbi_gpu_begin_states(const bbi_gpu *g);
void bbi_gpu_declare_outs(const bbi_gpu *g); /* arrays over the block for what the folds take */
/* Behind a segment: the folds of what its steps have put out. */
void bbi_gpu_fold_segment(const bbi_gpu *g, int32_t first, int32_t last);
/* An OUT in a loop, whose state is in memory: before, inside and behind the loop over the casts of a row. */
void bbi_gpu_memory_open(const bbi_gpu *g, const bbi_instruction *s);
void bbi_gpu_memory_step(const bbi_gpu *g, const bbi_instruction *s);
void bbi_gpu_memory_close(const bbi_gpu *g, const bbi_instruction *s);
/* The fold of the only component that is put out, for row r alone. */
void bbi_gpu_fold_row(const bbi_gpu *g);
void bbi_gpu_flush(const bbi_gpu *g);
void bbi_gpu_end_states(const bbi_gpu *g);

/* ---- emit_gpu_expand.c ---- */
void bbi_gpu_find_distance(bbi_gpu *g);
bool bbi_gpu_is_expanded(const bbi_gpu *g); /* once the kernel's own loads are printed */
/* Behind the barrier of a tile: what the loop needs. */
void bbi_gpu_prepare_distance(const bbi_gpu *g);
void bbi_gpu_begin_selection(const bbi_gpu *g);
/* In front of a block of pairs; the distance of row r and cast u; the block of a selection. */
void bbi_gpu_load_distance(const bbi_gpu *g);
void bbi_gpu_print_distance(const bbi_gpu *g, const char *start);
void bbi_gpu_select_distance(bbi_gpu *g);

#endif
