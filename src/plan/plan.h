/* plan.h: what will run, as plain data. A program (outputs over shared stages) is lowered to a plan: a list of stages;
 * each stage folds one axis, keeps another, and consists of straight "code" with loops over features, which the
 * interpreter executes tile by tile and the emitters print. Interpreter and emitters read the same code, so both tiers
 * perform the same operations in the same order.
 *
 * Words: a *row* is an element of the kept axis, a *column* one of the folded axis (so for a reduction over i the
 * columns are the i's). A *lane* is a slot of the vector dimension, a *cast* an element that is broadcast against the
 * lanes. The direct schedule has rows in lanes and columns cast; the transposed schedule (few rows) has columns in
 * lanes and rows cast.
 *
 * Arrays inside a stage are structures of arrays of the computing type R (float or double):
 *   uniform[component], row[component * row_stride + r], column[component * column_stride + c].
 * Components at the front are packed from the stage's sources, the following ones are computed by the map codes below.
 */
#ifndef BBI_PLAN_H
#define BBI_PLAN_H

#include "../expr/expr.h"

enum {
    BBI_LANE_BYTES = 256,   /* a lane block: 64 float or 32 double lanes, whatever the vector width */
    BBI_COLUMN_BLOCK = 256, /* columns between two flushes of a sum into its second-level accumulator */
    BBI_LONG_BLOCK = 192,   /* columns of many components: tiles of whole blocks of 2, 3, 4, 6 and 8 casts divide it */
    BBI_SIZE_SLOTS = 512    /* at most so many run-time sizes in a stage */
};

/* ---- code ------------------------------------------------------------------------------------ */
typedef enum bbi_space {
    BBI_VALUE,   /* number: value number */
    BBI_LITERAL, /* literal */
    BBI_COUNT,   /* number: index expression; the integer as an R */
    BBI_UNIFORM, /* number: index expression of the component */
    BBI_ROW,     /* likewise */
    BBI_COLUMN   /* likewise */
} bbi_space;
typedef struct bbi_operand {
    uint8_t space;
    int32_t number;
    double literal;
} bbi_operand;

/* Integer expressions over loop counters and run-time sizes, interned: code->index[n]. All are >= 0. */
typedef enum bbi_index_op {
    BBI_IX_CONST,   /* value */
    BBI_IX_SIZE,    /* size[value] */
    BBI_IX_COUNTER, /* counter of loop number value */
    BBI_IX_ADD,
    BBI_IX_SUB,
    BBI_IX_MUL,
    BBI_IX_DIV,
    BBI_IX_MOD,
    BBI_IX_MIN,
    BBI_IX_MAX, /* of a and b */
    BBI_IX_LT,
    BBI_IX_GE,
    BBI_IX_EQ,
    BBI_IX_AND /* 0 or 1 */
} bbi_index_op;
typedef struct bbi_index {
    uint8_t op;
    int32_t a, b;
    int64_t value;
} bbi_index;

typedef enum bbi_step {
    BBI_STEP_MAP,    /* result = op(args): a MAP row of op.def */
    BBI_STEP_SET,    /* result = args[0]; opens an accumulator that later steps, also inside loops, assign again */
    BBI_STEP_CHOOSE, /* result = index[index] != 0 ? args[0] : args[1]; the condition is the same for all lanes */
    BBI_STEP_LOOP,   /* for counter = 0 .. index[index] - 1 */
    BBI_STEP_END,
    BBI_STEP_SUM,   /* pair code: sum[index] += args[0], or fma(args[0], args[1], sum[index]) with two arguments */
    BBI_STEP_OUT,   /* pair code: out[index] = args[0] (a value for a fold kernel); map codes: component index of their
                     array = args[0] */
    BBI_STEP_MIRROR /* pair code of a symmetric stage: as SUM, but added to the column's sum[index] */
} bbi_step;
typedef struct bbi_instruction {
    uint8_t kind; /* bbi_step */
    uint8_t narg;
    uint16_t op;
    int32_t result;  /* value number; a value is assigned once, but for accumulators opened by SET */
    int32_t index;   /* index expression */
    int32_t counter; /* LOOP: its number, unique in the code */
    bbi_operand arg[3];
} bbi_instruction;

typedef struct bbi_code {
    bbi_instruction *instruction;
    int32_t count, capacity;
    bbi_index *index;
    int32_t index_count, index_capacity;
    int32_t value_count, counter_count;
    bool has_sum, has_out; /* pair code */
} bbi_code;

/* ---- stages ---------------------------------------------------------------------------------- */
/* an array that the stage packs: components first .. first + dim - 1 of its space */
typedef struct bbi_source {
    int32_t array; /* 0 .. ninput - 1: an input of the program; ninput + t: temporary t; BBI_NUMBER: the element number;
                      BBI_SLOT: the entry number in its list */
    uint8_t space; /* BBI_UNIFORM, BBI_ROW, BBI_COLUMN */
    int64_t dim, first;
} bbi_source;

/* one running reduction of a stage */
typedef struct bbi_fold {
    bbi_family family;
    int64_t dim; /* components of f */
    int64_t
        weight_dim; /* LSE: components of the weight, 0 without; the state keeps 1 + weight_dim sums then (s_1 first) */
    int64_t k;      /* KMIN */
    int64_t sum_first; /* SUM accumulated by the pair code: first component in the sum area, else -1 */
    int64_t out_first; /* first component of f in the out area, else -1; the weight's follow f's */
    bool want_index;   /* MIN, MAX, KMIN: some result reads the indices */
    int32_t lookup; /* MIN, MAX over both axes: 1 + the array that holds, for each element, its index along j; the index
                       is then i N + j; 0: none */
    int32_t user;   /* FAMILY_USER: number in the plan's list of custom reductions */
    bool mirror_negative; /* symmetric stage: what the mirror sums add up is to be subtracted */
} bbi_fold;

/* after the folds: how a result enters the epilogue, as components of the row array */
typedef struct bbi_read {
    int32_t fold;
    bbi_output output;
    int64_t first, dim; /* row components first .. first + dim - 1 (indices converted to R) */
} bbi_read;

/* what the stage writes */
typedef struct bbi_result {
    int32_t array; /* 0 .. noutput - 1: an output of the program; noutput + t: temporary t */
    int32_t
        fold; /* -1: row components first .. first + dim - 1 after the epilogue; else the int64 indices of that fold */
    int64_t first, dim;
} bbi_result;

/* A symmetric stage runs only where i and j are the same elements: a pair (r, c), r < c, gives F(r, c) to the sums of
 * row r (SUM) and F(c, r) to those of row c (MIRROR), so that half of the pairs are met. Its sources name the arrays
 * of both sides. */
typedef struct bbi_stage {
    bool symmetric;
    bbi_place kept; /* BBI_I, BBI_J or BBI_P (one row) */
    bbi_place
        folded; /* BBI_J, BBI_I; BBI_P: nothing is folded (a map stage): sources, row code, epilogue, results only */
    const bbi_node *list; /* pair-list stage: sum over listed pairs only; the list is array `list_array` (int64 indices,
                             rows x list_dim) */
    int32_t list_array;
    int64_t list_dim;
    bool list_transposed; /* rows are the listed elements: contributions arrive by index */
    bbi_source *source;
    int32_t nsource;
    bbi_fold *fold;
    int32_t nfold;
    bbi_read *read;
    int32_t nread;
    bbi_result *result;
    int32_t nresult;
    bbi_code uniform_code; /* map code over one element; reads and writes the uniform array (its components are
                              addressed as BBI_UNIFORM) */
    bbi_code row_code;     /* map code over rows: reads uniform and row, writes row */
    bbi_code column_code;  /* map code over columns: reads uniform and column, writes column */
    bbi_code pair_code;    /* reads all; SUM and OUT */
    bbi_code epilogue;     /* map code over rows after the folds: reads uniform and row, writes row */
    int64_t uniform_count, row_count, column_count; /* components in total */
    int64_t sum_count, out_count;                   /* components of the sum and out areas */
    double *constant;
    int32_t nconstant; /* literals, the first components of the uniform array */
    int64_t *size;
    int32_t nsize; /* run-time sizes that index expressions name; size[0] = sum_count, size[1] = out_count,
                      size[2] = column_count */
    double cost;   /* operations per pair */
} bbi_stage;

typedef struct bbi_temporary {
    bbi_place place;
    int64_t dim;
    bool index; /* int64 */
} bbi_temporary;

/* A reduction of the caller's own: one small plan for each formula, a single map stage over rows; its inputs are the
 * state (array 0), the value of the formula (1) and another state (2), its output the result. */
typedef struct bbi_custom {
    int64_t definition; /* number in the context */
    int64_t state_dim, dim, result_dim;
    struct bbi_plan *init, *step, *merge, *finish;
} bbi_custom;

typedef struct bbi_plan {
    bbi_arena arena; /* owns everything below but the codes' growing arrays */
    int32_t ninput, noutput;
    bbi_stage *stage;
    int32_t nstage;
    bbi_temporary *temporary;
    int32_t ntemporary;
    bbi_custom *custom;
    int32_t ncustom;
} bbi_plan;

/* ---- code.c: building, checking and printing code -------------------------------------------- */
int32_t bbi_code_index(bbi_code *code, bbi_index_op op, int32_t a, int32_t b,
                       int64_t value); /* interned, folded; -1 out of memory */
bb_status bbi_code_add(bbi_code *code, const bbi_instruction *instruction);
void bbi_code_free(bbi_code *code);
bb_status bbi_code_check(
    const bbi_code *code); /* the verifier: every operand defined before use, loops nest, indices in range */
void bbi_code_print(bbi_text *text, const bbi_code *code);
int64_t bbi_index_value(const bbi_code *code, int32_t index, const int64_t *size, const int64_t *counter);

/* ---- plan.c, lower.c ------------------------------------------------------------------------- */
typedef struct bbi_plan_options {
    bool separate_sums;      /* sums go through out and fold kernels (direct summation in double of float terms) */
    const bbi_place *places; /* where each output is wanted: at least its own placement; NULL: just there */
    const int32_t *same;     /* the plan is for as many i's as j's, and input k is the array that input same[k] is (same
                            dimension, same[same[k]] = same[k] <= k); NULL: nothing is known */
} bbi_plan_options;
/* outputs: placed values (I, J or P) over reductions. The context is locked by the caller; the plan keeps no pointer
 * into it but stage->list. */
bb_status bbi_plan_make(bbi_context *c, const bbi_node *const *outputs, int32_t noutput, int32_t ninput,
                        const bbi_plan_options *options, bbi_plan **plan);
void bbi_stage_free(bbi_stage *stage); /* what it owns */
void bbi_plan_free(bbi_plan *plan);
void bbi_plan_print(bbi_text *text, const bbi_plan *plan);

/* ---- emit_select.c: stages whose kernel does a part of the selection ---- */
/* Where the only fold of a stage is a minimum, a maximum, the K smallest or the log-sum-exp of one component, the
 * compiled kernel of the direct schedule compares the values while they are at hand. `sum` has another meaning then:
 *   BEST  (no index) R best[L], the state itself; `out` is not used
 *   HITS  a bbi_hits: values are written to `out`, and whoever folds them looks at the groups of casts named there
 *   LEAST (the K smallest, of code without loops) R least[groups][L]: the smallest value of each group of BBI_LEAST_CASTS
 *         casts, infinity where all are NaN; `out` is not used. Whoever reads them evaluates again what can count.
 *   LSE   R best[L], base[L], sum[1 + weight_dim][L]: the largest value so far, and the sums of exp(f - base) of a block
 *         of columns, accumulated onto; `out` has room for the values of a group, which the kernel reads again. */
typedef enum bbi_selection {
    BBI_SELECT_NONE,
    BBI_SELECT_BEST,
    BBI_SELECT_HITS,
    BBI_SELECT_LEAST,
    BBI_SELECT_LSE
} bbi_selection;
bbi_selection bbi_stage_selection(const bbi_stage *stage);
enum {
    BBI_GROUP_CASTS = 8, /* at least so many casts in a group; for LSE no more, counted from the first cast of the call */
    BBI_LEAST_CASTS = 16,
    BBI_LSE_WEIGHTS = 4 /* at most, for LSE */
};
/* A group is some casts of one vector. It is a hit where a lane holds a value better than its limit, or has the limit
 * NaN. The hits of a vector stand in the order of their casts. */
typedef struct bbi_hits {
    char limit[BBI_LANE_BYTES]; /* R's */
    int64_t count;              /* 0 before the call */
    int64_t hit[];              /* lanes (a bit each) << 32 | first cast << 16 | casts << 8 | first lane of the vector;
                                   room for one more than there are groups */
} bbi_hits;

/* ---- emit.c: text of a pair kernel: a pure function of (stage, real type, level, schedule) ---- */
typedef struct bbi_emit_options {
    bool is_double;
    int level; /* bbi_cpu_level: decides vectors per step, nothing else */
    bool transposed;
    bool again; /* transposed: the direct schedule needs it too (BBI_SELECT_LEAST); the text is the same */
} bbi_emit_options;
#define BBI_KERNEL_SYMBOL "benben_kernel"
/* Stands between a text's prelude and its kernel. Kernels compiled ahead share one whole prelude (bbi_emit_whole_prelude)
 * and one translation unit: what follows the mark may define static functions and arrays, in lines that begin with
 * `static` or BB_INLINE (they are renamed), and typedefs and macros that are the same in every kernel. */
#define BBI_KERNEL_MARK "/* ==== kernel ==== */\n"
/* lanes: lanes of the block that are in use, 1 .. BBI_LANE_BYTES / sizeof(R); lane arrays are readable and sum/out
 * writable up to the next multiple of the whole block. casts: number of cast elements. lane, cast: the row and column
 * arrays (direct schedule) or column and row arrays (transposed). sum: direct: sum[component * L + lane], L =
 * BBI_LANE_BYTES / sizeof(R), accumulated onto; transposed: sum[(cast * sum_count + component) * L + lane]. out:
 * out[(component * out_stride + cast) * L + lane]. Of a symmetric stage, whose lanes must all be in use where the
 * mirror sums are to be used, out[(component * out_stride + cast) * W + lane], W the reals of a vector of the level,
 * holds the mirror sums: to those of a cast the vectors of lanes are added one after the other. Transposed, of a stage
 * that selects by BBI_SELECT_LEAST: -casts groups of `lanes` columns, whole vectors, and a row for each: lane and cast are
 * arrays of pointers to them, and out[group * lanes + lane] the only component. */
typedef void bbi_pair_kernel(const int64_t *size, const void *uniform, const void *lane, int64_t lane_stride,
                             const void *cast, int64_t cast_stride, int64_t lanes, int64_t casts, void *sum, void *out,
                             int64_t out_stride);
bb_status bbi_emit_pair(bbi_text *text, const bbi_stage *stage, const bbi_emit_options *options);
/* emit_prelude.c: the prelude of any kernel of this level and real type */
bb_status bbi_emit_whole_prelude(bbi_text *text, const bbi_emit_options *options);

#endif
