/* gpu.h: stages on a graphics processor. */
#ifndef BBI_GPU_H
#define BBI_GPU_H

#include "device/device.h"
#include "../plan/emit_gpu.h"
#include "execute.h"

/* ---- gpu.c: the kernels of an executable; of a stage: for many rows and for few */
typedef struct bbi_gpu_kernel {
    void *kernel;
    bbi_gpu_layout layout;
} bbi_gpu_kernel;
typedef struct bbi_gpu_stage {
    bbi_gpu_kernel kernel[2]; /* many rows, few rows */
} bbi_gpu_stage;
struct bbi_gpu_code {
    bbi_device *device;
    bbi_mutex *mutex; /* guards the making of kernels */
    bbi_gpu_stage *stage;
};

/* The text of a stage's kernel, and how it is laid out. */
bb_status bbi_gpu_text(const bbi_executable *executable, int32_t stage, bool cuda, bool few, bbi_text *text,
                       bbi_gpu_layout *layout);
bb_status bbi_gpu_kernel_of(bbi_executable *executable, int32_t stage, bool few, const bbi_gpu_kernel **kernel);

/* ---- gpu_stage.c ---- */
/* How a launch is laid out; a pure function of sizes, plan and kernel. */
typedef struct bbi_gpu_launch {
    int64_t tx, group_rows, groups, band; /* band: groups of one launch */
    int64_t chunk, chunks, shares, parts;
    int64_t row_stride, column_stride;
} bbi_gpu_launch;
void bbi_gpu_plan_launch(const bbi_gpu_layout *layout, int64_t rows, int64_t columns, int64_t slots, int64_t segments,
                         bool is_wide, bbi_gpu_launch *launch);

#endif
