/* gpu.h: stages on a graphics processor. gpu.c keeps their kernels, gpu_launch.c says how a launch is laid out and starts
 * the kernels of a stage, gpu_call.c brings arrays and memory together for a run, gpu_ranges.c keeps lists of ranges on
 * the device, gpu_arrays.c is the way in for arrays that lie there. */
#ifndef BBI_GPU_H
#define BBI_GPU_H

#include "device/device.h"
#include "../plan/emit_gpu.h"
#include "execute.h"

/* How a launch of pairs is laid out; a pure function of sizes, plan and kernel. */
typedef struct bbi_gpu_launch {
    int64_t tx, group_rows, groups, band; /* band: groups of one launch */
    int64_t chunk, chunks, shares, parts;
    int64_t row_stride, column_stride;
} bbi_gpu_launch;

/* ---- gpu_ranges.c: groups of rows of one segment each, and what columns they meet ---- */
typedef struct bbi_gpu_lists {
    int64_t groups, intervals;
    int64_t *group, *interval; /* as on the device: BBI_GPU_GROUP_FIELDS and 2 numbers each */
    bbi_memory group_memory, interval_memory;
    struct bbi_gpu_lists *next;
} bbi_gpu_lists;

/* ---- gpu.c: the kernels of an executable ---- */
typedef struct bbi_gpu_kernel {
    void *kernel;
    bbi_gpu_layout layout;
} bbi_gpu_kernel;
typedef struct bbi_gpu_stage {
    bbi_gpu_kernel pairs[2]; /* for many rows, for few */
    void *maps;
    bbi_memory size, constant; /* the stage's numbers, on the device */
    bbi_gpu_lists *lists;      /* the last ones, newest first */
} bbi_gpu_stage;
struct bbi_gpu_code {
    bbi_device *device;
    bbi_mutex *mutex; /* guards the making of kernels, and lists */
    bbi_gpu_stage *stage;
};
bbi_device *bbi_gpu_device(const bbi_executable *executable);
/* What a stage runs with; built when it first runs. */
typedef struct bbi_gpu_ready {
    const bbi_gpu_kernel *pairs; /* NULL: nothing is folded */
    void *maps;
    bbi_memory size, constant;
} bbi_gpu_ready;
bb_status bbi_gpu_stage_of(bbi_executable *executable, int32_t stage, bool few, bbi_gpu_ready *ready);

/* Lists for these segments, from the device where they have been before. Kept by the executable. */
bb_status bbi_gpu_lists_of(bbi_executable *executable, int32_t stage, const bbi_segments *segments, int64_t group_rows,
                           const bbi_gpu_lists **lists);
int64_t bbi_gpu_count_groups(const bbi_segments *segments, int64_t group_rows);
void bbi_gpu_lists_free(bbi_device *device, bbi_gpu_lists *lists);

/* ---- gpu_call.c ---- */
/* an array of the plan as the kernels see it */
typedef struct bbi_gpu_view {
    bbi_memory memory;                                   /* 0: not there (yet) */
    int64_t offset, row, dim, batch[BBI_MAX_BATCH_DIMS]; /* bytes */
    int dtype;
    int64_t folded[BBI_GPU_BATCH_DIMS]; /* batch strides of the call's batch */
} bbi_gpu_view;
typedef enum bbi_gpu_buffer {
    BBI_BUFFER_UNIFORM,
    BBI_BUFFER_ROWS,
    BBI_BUFFER_COLUMNS,
    BBI_BUFFER_VALUES,
    BBI_BUFFER_INDICES,
    BBI_BUFFER_SCRATCH,
    BBI_BUFFER_ENTRIES, /* of listed pairs: gpu_listed.c */
    BBI_BUFFER_BLOCKS,
    BBI_BUFFERS
} bbi_gpu_buffer;
typedef struct bbi_gpu_call {
    bbi_run *run;
    bbi_executable *executable;
    bbi_device *device;
    void *stream;
    bool on_device;       /* arrays of the caller lie there, and nothing is waited for */
    int32_t first, count; /* stages */
    int64_t begin, end;   /* batch elements */
    int64_t slots;        /* of them that run together */
    bool one_by_one;      /* batch elements cannot be told apart by BBI_GPU_BATCH_DIMS strides */
    int64_t batch[BBI_GPU_BATCH_DIMS];
    bbi_gpu_view *view; /* inputs, temporaries, outputs */
    bbi_memory buffer[BBI_BUFFERS];
    size_t bytes[BBI_BUFFERS];
} bbi_gpu_call;
bbi_gpu_view *bbi_gpu_source_view(const bbi_gpu_call *call, int32_t array);
bbi_gpu_view *bbi_gpu_result_view(const bbi_gpu_call *call, int32_t array);
/* Stages first .. first + count - 1 for batch elements begin .. end - 1 of a run whose arrays are on the host or, on_device,
 * the device. temporaries: the run's, where some of the plan's stages are left to the CPU; else they stay on the device. */
bb_status bbi_gpu_call_stages(bbi_run *run, int32_t first, int32_t count, int64_t begin, int64_t end, bool on_device);

/* ---- gpu_rows.c ---- */
/* The axis along which a program's rows can be divided: BBI_I or BBI_J; BBI_P: they cannot. */
bbi_place bbi_gpu_row_axis(const bbi_plan *plan);

/* ---- gpu_launch.c ---- */
/* a stage of a call, and the arguments of the kernel that is started next */
typedef struct bbi_gpu_launcher {
    bbi_gpu_call *call;
    const bbi_stage *stage;
    bbi_gpu_ready ready;
    bbi_gpu_launch launch;
    const bbi_gpu_lists *lists; /* NULL: all pairs */
    int64_t rows, columns, batch, slots;
    int64_t geometry[BBI_GEO_COUNT], views[BBI_GPU_MAX_ARRAYS * BBI_FIELDS];
    bbi_argument argument[BBI_MOST_ARGUMENTS];
    int arguments, arrays;
    bbi_memory none;
} bbi_gpu_launcher;
void bbi_gpu_add_memory(bbi_gpu_launcher *l, const bbi_memory *memory);
void bbi_gpu_add_table(bbi_gpu_launcher *l, const int64_t *numbers, int64_t count);
void bbi_gpu_add_array(bbi_gpu_launcher *l, const bbi_gpu_view *view, int64_t count, int64_t first);
/* Makes a buffer of the call at least that large. */
void bbi_gpu_enlarge(bbi_gpu_call *call, bbi_gpu_buffer which, int64_t bytes);
void bbi_gpu_plan_launch(const bbi_gpu_layout *layout, int64_t rows, int64_t columns, int64_t slots, int64_t segments,
                         bool is_wide, bbi_gpu_launch *launch);
/* The stage's segments for a batch element; NULL: all pairs. */
const bbi_segments *bbi_gpu_segments(const bbi_run *run, int32_t stage, int64_t batch);
/* Makes call->bytes large enough for the stage. */
bb_status bbi_gpu_measure(bbi_gpu_call *call, int32_t stage);
/* Starts the kernels of a stage for `slots` batch elements from `batch` on. */
bb_status bbi_gpu_start(bbi_gpu_call *call, int32_t stage, int64_t batch, int64_t slots);

/* ---- gpu_listed.c: stages over listed pairs ---- */
void bbi_gpu_plan_listed(const bbi_gpu_layout *layout, const bbi_stage *stage, int64_t rows, int64_t slots, bool is_wide,
                         bbi_gpu_launch *launch);
void bbi_gpu_measure_listed(bbi_gpu_launcher *l, bool is_wide);
bb_status bbi_gpu_start_listed(bbi_gpu_launcher *l);
/* A list of the caller's in host memory names what exists. */
bb_status bbi_gpu_check_lists(const bbi_run *run, bool on_device);

#endif
