/* execute.h: running a plan on arrays. execute.c drives the stages, schedule.c cuts each into work items
 * whose shape depends on sizes, plan, real type and instruction set only, so that results are the same for
 * any number of threads; direct.c, symmetric.c, transposed.c and listed.c perform an item. */
#ifndef BBI_EXECUTE_H
#define BBI_EXECUTE_H

#include "executable.h"

/* ---- arrays.c: the caller's arrays, checked ---- */
enum { BBI_MAX_BATCH_DIMS = 12 };
/* what the inputs say together */
typedef struct bbi_extent {
    int64_t m, n; /* rows of i- and of j-variables */
    int32_t nbatch;
    int64_t batch[BBI_MAX_BATCH_DIMS]; /* broadcast shape in front */
    int64_t batches;                   /* its product */
} bbi_extent;
/* an array as the packers see it, over the broadcast batch */
typedef struct bbi_view {
    bbi_array array; /* of batch element 0 */
    bool batched, on_host; /* on_host: of a run on a device */
    int64_t batch_stride[BBI_MAX_BATCH_DIMS]; /* bytes; 0 where broadcast */
} bbi_view;
/* Number of the dtype, or -1. */
int bbi_array_dtype(const bb_array *array);
const char *bbi_dtype_name(int dtype);
/* The type of the computation: halves and float32 make float, float64 alone makes double; BB_BAD_DTYPE for a
 * mixture. Integers are for index arrays only. Inputs that no stage reads are not looked at. */
bb_status bbi_arrays_real_type(const bbi_plan *plan, const bb_array *inputs, int ninput, const bbi_variable *signature,
                               bool *is_double);
/* Checks number, device, dtype, shape of the inputs and that they agree. options may be NULL. */
bb_status bbi_arrays_extent(const bb_array *inputs, int ninput, const bbi_variable *signature, int nsignature,
                            const bb_run_options *options, bbi_extent *extent);
/* Shape of an output: shape has room for BBI_MAX_BATCH_DIMS + 2 numbers. Returns the number of dimensions. */
int bbi_output_shape(const bbi_extent *extent, const bb_output_info *info, int64_t *shape);
bb_status bbi_arrays_check_outputs(const bb_array *outputs, int noutput, const bb_output_info *info,
                                   const bbi_extent *extent);
/* trailing: dimensions behind the batch: 2, or 1 of parameters. */
void bbi_view_of(const bb_array *array, int trailing, const bbi_extent *extent, bbi_view *view);
bbi_array bbi_view_at(const bbi_view *view, const bbi_extent *extent, int64_t batch);
/* Whether the bytes between the first and the last element of two arrays meet. */
bool bbi_arrays_meet(const bb_array *a, const bb_array *b);
int64_t bbi_array_count(const bb_array *array);
/* Whole copy between arrays of equal shape and dtype. */
void bbi_array_copy(const bb_array *to, const bb_array *from);
/* Options that begin with a smaller size than ours have zeros in what they lack. */
bb_status bbi_run_options_of(const bb_run_options *options, bb_run_options *all);

/* ---- ranges.c: block-sparse ranges ---- */
/* consecutive rows that meet the same sequence of columns */
typedef struct bbi_segment {
    int64_t first, count;
    const int64_t *interval; /* (intervals, 2): [begin, end) of columns; NULL: columns 0 .. columns - 1 */
    int64_t intervals;
    int64_t columns;     /* length of the sequence */
    int64_t first_group; /* number, within the batch element, of its first group of rows; set by the schedule */
} bbi_segment;
/* of one kept axis: ascending, covering all rows once */
typedef struct bbi_segments {
    bbi_segment *segment;
    int64_t count;
    int64_t groups; /* set by the schedule */
} bbi_segments;
/* Clusters of ranges (number `structure` of an array of them) for the kept axis, with the rows that none
 * covers in segments of no column. Released with bbi_free(segments->segment). */
bb_status bbi_ranges_segments(const bb_ranges *ranges, int64_t structure, bbi_place kept, int64_t m, int64_t n,
                              bbi_segments *segments);
/* Numbers the groups of at most `group` rows through. */
void bbi_segments_number(bbi_segments *segments, int64_t group);
/* Column number of a position in the sequence. */
int64_t bbi_segment_column(const bbi_segment *segment, int64_t position);
/* Fills column numbers of positions first .. first + count - 1. */
void bbi_segment_columns(const bbi_segment *segment, int64_t first, int64_t count, int64_t *column);
/* Whether these positions are consecutive columns; *column is the first. */
bool bbi_segment_is_straight(const bbi_segment *segment, int64_t first, int64_t count, int64_t *column);

/* ---- schedule.c ---- */
/* of one stage at given sizes */
typedef struct bbi_schedule {
    bool transposed;
    int64_t rows, columns;  /* of the kept and of the folded axis */
    int64_t lanes;          /* of a block: L */
    int64_t group;          /* rows of an item: a multiple of L (direct, maps) or casts (transposed) */
    int64_t block;          /* columns packed at a time, a multiple of L */
    int64_t tile;           /* casts of a call that has an out area (direct) */
    int64_t first_look;     /* whole blocks of columns whose values are kept before the K smallest are looked for; 0: none */
    int64_t chunk;          /* columns of an item, a multiple of block */
    int64_t groups, chunks; /* per batch element; groups only without ranges */
    int64_t tiles;          /* symmetric: chunks (chunks + 1) / 2 pairs of a band of rows and one of columns, else 0 */
    int64_t piece;          /* rows of an item that stand together: all, or a lane block where they are long */
    int64_t piece_bytes;
    int64_t row_stride, column_stride; /* between components, of the rows of a piece, of the columns of a block */
    int64_t state_bytes;              /* of all folds, of one lane block (direct) or of the group (transposed) */
    int64_t value_count, index_count; /* of a row's partial result, all folds together */
    bbi_segment dense;                /* all rows meet all columns */
    double work;                      /* pair operations, all batch elements of a run */
    int64_t span, own_span;           /* LEAST: blocks of columns between two looks: packed for all items, or by each */
    int64_t least_bytes, few_columns; /* of a lane block: of the smallest values of groups; when all values are kept */
    size_t uniform, wide, row, column, sum, hits, least, out, mirrored, state, value, index, result, list,
        interp;   /* in a workspace */
    size_t bytes; /* of a workspace */
} bbi_schedule;
double bbi_packing_work(int64_t components); /* in pair operations */
/* batches: elements that run together. Ranges: the columns are those of the longest sequence. */
void bbi_schedule_make(const bbi_executable *executable, int stage, int64_t rows, int64_t columns, int64_t batches,
                       bool ranges, bbi_schedule *schedule);

/* ---- execute.c ---- */
typedef struct bbi_run bbi_run;
/* one thread in one stage */
typedef struct bbi_worker {
    bbi_run *run;
    int32_t stage;
    const bbi_schedule *schedule;
    char *workspace;
    int64_t uniform_batch; /* whose uniform array is in the workspace; -1: none */
} bbi_worker;
/* rows of one batch element against a chunk of their column sequence */
typedef struct bbi_item {
    int64_t batch;      /* within the whole run */
    int64_t batch_slot; /* within the elements that run together */
    const bbi_segment *segment;
    int64_t first_row, rows;
    int64_t chunk, first_position, end_position;
} bbi_item;
/* select_exact.c: what a scan found for a stage that selects the smallest values, for all batch elements and rows; see
 * there */
typedef struct bbi_candidates {
    int64_t k, count;     /* K; columns listed for each row, ascending by value */
    const void *value;    /* R: approximate values less something of the row's, (batches, rows, count) */
    const int64_t *index; /* their columns */
    const void *norm;     /* R, of the row: (batches, rows) */
    const void *largest;  /* R, of all columns: (batches) */
    double rounding, underflow; /* of the errors: see select_exact.c */
    double most;                /* no overflow below */
    bool plain;                 /* the stage selects from these values, not from a function of theirs */
    char *open;                 /* (batches, lane blocks): 1 where some row needs all columns; NULL: none is kept */
    int64_t blocks;             /* lane blocks of a batch element */
    _Atomic int64_t open_count;
} bbi_candidates;
struct bbi_run {
    bbi_candidates *candidates; /* NULL: all columns are met */
    bbi_executable *executable;
    const bbi_plan *plan;
    bbi_extent extent;
    bb_run_options options;
    bbi_view *input, *output; /* in the frame */
    bbi_schedule *schedule;   /* one per stage; in the frame */
    char *packed;             /* columns of the stage, block by block of each element; NULL: every item packs its own */
    char **temporary;         /* compact, of the elements that run together; in the frame */
    bbi_frame *frame;
    int64_t first_batch, slots; /* elements that run together */
    int64_t whole_rows;         /* of a piece of rows on a device: rows of the run; 0: this is all */
    bbi_segments *segments;     /* per kept axis (BBI_I, BBI_J) and structure of ranges; NULL without ranges */
    double *partial_value;      /* of stages that are cut along the columns: slot, row, chunk */
    int64_t *partial_index;
    char *partial_state;    /* of symmetric stages that are cut: slot, lane block, chunk */
    double work, work_done; /* for progress; of the whole run */
    double reported;        /* time of the last report */
    int threads;
    _Atomic int stop;  /* a bb_status: why everybody should come home */
    char message[512]; /* of whoever stopped first */
};
/* Stores a failure for the caller's thread and stops the others. */
void bbi_run_stop(bbi_run *run, bb_status status);
bool bbi_run_stopped(bbi_run *run); /* also looks at the caller's cancel flag */
bbi_array bbi_run_array(const bbi_run *run, int32_t array, int64_t batch, int64_t slot);
int64_t bbi_run_rows(const bbi_run *run, bbi_place place);
/* stages.c: the batch elements first_batch .. first_batch + slots - 1 of a stage. */
bb_status bbi_run_stage(bbi_run *run, int32_t number, int64_t slots);
void bbi_frame_free(bbi_frame *frame);
/* gpu_call.c */
bb_status bbi_gpu_call_stages(bbi_run *run, int32_t first, int32_t count, int64_t begin, int64_t end, bool on_device);
/* gpu_rows.c: a run with arrays of the host, in pieces of rows where that is worth it. *done false: nothing was done. */
bb_status bbi_gpu_run_pieces(bbi_run *run, bool *done);
/* Whether a device takes all stages. */
bool bbi_gpu_takes(const bbi_plan *plan);

int bbi_threads_allowed(int asked); /* asked, else BENBEN_THREADS, else all cores */
/* signature: the program's variables (ninput of them); info: its outputs (noutput of them). The executable's
 * real type must be that of bbi_arrays_real_type. Any number of threads may run one executable at a time. */
bb_status bbi_execute(bbi_executable *executable, const bb_array *inputs, int ninput, const bbi_variable *signature,
                      const bb_array *outputs, int noutput, const bb_output_info *info, const bb_run_options *options);
/* The same for arrays on the device of the executable (inputs may lie on the host), in the order of the options' stream. */
bb_status bbi_execute_on_device(bbi_executable *executable, const bb_array *inputs, int ninput,
                                const bbi_variable *signature, const bb_array *outputs, int noutput,
                                const bb_output_info *info, const bb_run_options *options);
/* The plan has one stage that folds, a minimum or the K smallest of one component: of candidates, where they suffice. */
bb_status bbi_execute_candidates(bbi_executable *executable, bbi_candidates *candidates, const bb_array *inputs,
                                 int ninput, const bbi_variable *signature, const bb_array *outputs, int noutput,
                                 const bb_output_info *info, const bb_run_options *options);

/* ---- rows.c: what is common to all schedules: packing, map codes, results ---- */
void bbi_load_uniform(bbi_worker *worker, int64_t batch, int64_t slot);
/* of an axis, that are packed together */
typedef struct bbi_elements {
    int64_t first, count;
    const int64_t *list; /* their numbers; NULL: consecutive from `first` on */
    const int64_t *slot; /* pair lists: numbers of the entries */
} bbi_elements;
/* Packs the sources of a space and runs its map code (NULL: none). target: component c of element k at
 * target[c * stride + k]. */
void bbi_load_sources(bbi_worker *worker, const bbi_item *item, uint8_t space, const bbi_elements *elements,
                      char *target, int64_t stride, const bbi_interp *code);
/* Packs rows of the item and runs the row code. */
void bbi_load_rows(bbi_worker *worker, const bbi_item *item);
/* Component 0 of the item's row number `row`. */
static inline char *bbi_row_at(const bbi_worker *worker, int64_t row) {
    const bbi_schedule *s = worker->schedule;
    const int64_t piece = row / s->piece;
    return worker->workspace + s->row + piece * s->piece_bytes + (row - piece * s->piece) * (BBI_LANE_BYTES / s->lanes);
}
/* Packs positions first .. first + count - 1 of the item's column sequence and runs the column code. */
void bbi_load_columns(bbi_worker *worker, const bbi_item *item, int64_t first, int64_t count);
void bbi_load_columns_to(bbi_worker *worker, const bbi_item *item, int64_t first, int64_t count, char *target);
/* Bytes of a block of packed columns; packs block number item->chunk of run->packed; where the block that begins at a
 * position of the columns stands. */
int64_t bbi_packed_bytes(const bbi_run *run, int32_t stage);
void bbi_pack_block(bbi_worker *worker, const bbi_item *item);
char *bbi_packed_at(const bbi_worker *worker, const bbi_item *item, int64_t position);
/* Takes the partial result of row number `row` of the item (value_count doubles, index_count indices):
 * finishes the folds, fills the row components that the epilogue reads, writes index results. */
void bbi_finish_row(bbi_worker *worker, const bbi_item *item, int64_t row, const double *value, int64_t *index);
/* All rows of the item from the states of its lane blocks, where the only result is one of lists of indices; else false. */
bool bbi_finish_lists(bbi_worker *worker, const bbi_item *item, const char *state);
/* Epilogue and results of all rows of the item. */
void bbi_finish_item(bbi_worker *worker, const bbi_item *item);
/* Where a cut stage keeps the partial result of a row (number within the axis) and chunk. */
void bbi_partial_slot(const bbi_worker *worker, const bbi_item *item, int64_t row, double **value, int64_t **index);
/* First <- first then more, for all folds of a row. */
void bbi_merge_rows(const bbi_worker *worker, double *value, int64_t *index, const double *more_value,
                    const int64_t *more_index);
bool bbi_only_sums(const bbi_worker *worker); /* all folds of the stage are sums that leave one number */
bool bbi_epilogue_needs_rows(const bbi_stage *stage); /* more of them than results of folds */
void bbi_merge_item(bbi_worker *worker, const bbi_item *item); /* merges all chunks of the item's rows, finishes */

/* ---- direct.c, symmetric.c, transposed.c, listed.c: one work item ---- */
void bbi_run_map(bbi_worker *worker, const bbi_item *item);
void bbi_run_direct(bbi_worker *worker, const bbi_item *item);
enum { BBI_LEAST_ROW = 64 }; /* lane blocks of columns that are few */
/* least.c: the columns of an item whose rows are loaded; false: nothing was done, some kernel is not compiled. */
bool bbi_run_least(bbi_worker *worker, const bbi_item *item);
/* The states of one lane block of rows: all folds, s->state_bytes. */
void bbi_states_init(const bbi_worker *worker, char *state);
void bbi_states_add(const bbi_worker *worker, char *state, const char *more); /* sums only */
void bbi_states_flush(const bbi_worker *worker, char *state, char *sum, int64_t lanes);
/* From the states of the item's lane blocks to results, or to the partial results of its chunk (not where the stage is
 * symmetric: there the states are them). */
void bbi_states_finish(bbi_worker *worker, const bbi_item *item, char *state);
/* Tile number `tile` of a batch element: rows of one band, columns of the same or a later one. */
void bbi_symmetric_item(const bbi_schedule *s, int64_t tile, bbi_item *item);
void bbi_run_symmetric(bbi_worker *worker, const bbi_item *item);
void bbi_merge_symmetric(bbi_worker *worker, const bbi_item *item); /* as bbi_merge_item */
int64_t bbi_symmetric_bytes(const bbi_schedule *s, int64_t slots);  /* of partial states */
void bbi_run_transposed(bbi_worker *worker, const bbi_item *item);
/* select_exact.c: the rows whose candidates suffice, then the others. */
void bbi_run_candidates(bbi_worker *worker, const bbi_item *item);
void bbi_run_open(bbi_worker *worker, const bbi_item *item);
void bbi_run_listed(bbi_worker *worker, const bbi_item *item);
/* Transposed list: the whole batch element at once, whatever the item's rows. */
void bbi_run_scattered(bbi_worker *worker, const bbi_item *item);
bb_status bbi_fail_list(int64_t entry, int64_t row, int64_t limit); /* an index that names nothing */

#endif
