/* gpu.c: the kernels of an executable on a graphics processor, built when a stage first runs. */
#include "gpu.h"

#include <string.h>

bb_status bbi_gpu_open(bbi_executable *executable, bb_target target, int number) {
    const bbi_driver *driver = target == BB_TARGET_CUDA ? &bbi_driver_cuda : &bbi_driver_opencl;
    bbi_device *device;
    BBI_FORWARD(bbi_device_open(driver, number, &device));
    if (executable->is_double && !device->has_double)
        return bbi_fail(BB_BAD_DTYPE, "%s cannot compute in float64: convert the inputs to float32", device->name);
    bbi_gpu_code *gpu = executable->gpu = bbi_calloc(1, sizeof *gpu);
    if (!gpu) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a program");
    gpu->device = device;
    gpu->mutex = bbi_mutex_new();
    gpu->stage = bbi_calloc((size_t)executable->plan->nstage + 1, sizeof *gpu->stage);
    if (gpu->mutex && gpu->stage) return BB_OK;
    return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a program");
}

void bbi_gpu_close(bbi_executable *executable) {
    bbi_gpu_code *gpu = executable->gpu;
    if (!gpu) return;
    for (int32_t k = 0; gpu->stage && k < executable->plan->nstage; k++)
        for (int few = 0; few < 2; few++)
            if (gpu->stage[k].kernel[few].kernel)
                gpu->device->driver->drop(gpu->device, gpu->stage[k].kernel[few].kernel);
    if (gpu->mutex) bbi_mutex_free(gpu->mutex);
    bbi_free(gpu->stage);
    bbi_free(gpu);
}

const char *bbi_gpu_name(const bbi_executable *executable) { return executable->gpu->device->driver->name; }

bb_target bbi_gpu_target(const bbi_executable *executable) {
    return executable->gpu->device->is_cuda ? BB_TARGET_CUDA : BB_TARGET_OPENCL;
}

static bbi_gpu_options options_of(const bbi_executable *e, bool cuda, bool few) {
    bool wide = false;
    for (int32_t k = 0; k < e->plan->nstage; k++)
        if (e->stage[k].folding && e->plan->stage[k].nfold) wide = wide || e->stage[k].folding[0].accumulate_double;
    return (bbi_gpu_options){.is_double = e->is_double,
                             .wide = wide,
                             .cuda = cuda,
                             .few_rows = few,
                             .exact = e->exact,
                             .scheme = e->scheme == BBI_SCHEME_KAHAN    ? 1
                                       : e->scheme == BBI_SCHEME_DIRECT ? 2
                                                                        : 0};
}

bb_status bbi_gpu_text(const bbi_executable *executable, int32_t stage, bool cuda, bool few, bbi_text *text,
                       bbi_gpu_layout *layout) {
    bbi_gpu_options options = options_of(executable, cuda, few);
    return bbi_emit_gpu(text, &executable->plan->stage[stage], &options, layout);
}

static bb_status build(const bbi_executable *e, int32_t stage, bool few, bbi_gpu_kernel *kernel) {
    bbi_device *device = e->gpu->device;
    bbi_text text = {0};
    bb_status status = bbi_gpu_text(e, stage, device->is_cuda, few, &text, &kernel->layout);
    if (status == BB_OK) {
        bbi_log('e', "%s", text.data);
        status = device->driver->build(device, text.data, BBI_GPU_SYMBOL, &kernel->kernel);
    }
    bbi_text_free(&text);
    return status;
}

bb_status bbi_gpu_kernel_of(bbi_executable *executable, int32_t stage, bool few, const bbi_gpu_kernel **kernel) {
    bbi_gpu_code *gpu = executable->gpu;
    bbi_gpu_kernel *k = &gpu->stage[stage].kernel[few];
    bb_status status = BB_OK;
    bbi_mutex_lock(gpu->mutex);
    if (!k->kernel) status = build(executable, stage, few, k);
    bbi_mutex_unlock(gpu->mutex);
    *kernel = k;
    return status;
}
