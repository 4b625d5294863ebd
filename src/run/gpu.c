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

/* Memory that kernels of a caller's stream may still read is never kept for other runs: the driver's release waits. */
static void close_stage(bbi_device *device, bbi_gpu_stage *stage) {
    for (int few = 0; few < 2; few++)
        if (stage->pairs[few].kernel) device->driver->drop(device, stage->pairs[few].kernel);
    if (stage->maps) device->driver->drop(device, stage->maps);
    if (bbi_device_check(device) == BB_OK) {
        device->driver->release(device, stage->size);
        device->driver->release(device, stage->constant);
    }
    for (bbi_gpu_lists *l = stage->lists, *next; l; l = next) {
        next = l->next;
        bbi_gpu_lists_free(device, l);
    }
}

void bbi_gpu_close(bbi_executable *executable) {
    bbi_gpu_code *gpu = executable->gpu;
    if (!gpu) return;
    for (int32_t k = 0; gpu->stage && k < executable->plan->nstage; k++) close_stage(gpu->device, &gpu->stage[k]);
    if (gpu->mutex) bbi_mutex_free(gpu->mutex);
    bbi_free(gpu->stage);
    bbi_free(gpu);
}

bbi_device *bbi_gpu_device(const bbi_executable *executable) { return executable->gpu->device; }

const char *bbi_gpu_name(const bbi_executable *executable) { return executable->gpu->device->driver->name; }

bb_target bbi_gpu_target(const bbi_executable *executable) {
    return executable->gpu->device->driver->target;
}

static bbi_gpu_options options_of(const bbi_executable *e, bool few) {
    bool wide = false;
    for (int32_t k = 0; k < e->plan->nstage; k++)
        if (e->stage[k].folding && e->plan->stage[k].nfold) wide = wide || e->stage[k].folding[0].accumulate_double;
    return (bbi_gpu_options){.is_double = e->is_double,
                             .custom = e->plan->custom,
                             .wide = wide,
                             .cuda = bbi_gpu_target(e) == BB_TARGET_CUDA,
                             .few_rows = few,
                             .exact = e->exact,
                             .scheme = e->scheme == BBI_SCHEME_KAHAN    ? 1
                                       : e->scheme == BBI_SCHEME_DIRECT ? 2
                                                                        : 0};
}

static bb_status build_pairs(const bbi_executable *e, int32_t stage, bool few, bbi_gpu_kernel *kernel) {
    bbi_device *device = e->gpu->device;
    bbi_gpu_options options = options_of(e, few);
    bbi_text text = {0};
    bb_status status = bbi_emit_gpu(&text, &e->plan->stage[stage], &options, &kernel->layout);
    if (status == BB_OK && device->local && kernel->layout.local * (e->is_double ? 8 : 4) > device->local) {
        bbi_text_free(&text);
        text = (bbi_text){0};
        options.apart = true;
        status = bbi_emit_gpu(&text, &e->plan->stage[stage], &options, &kernel->layout);
    }
    if (status == BB_OK) {
        bbi_log('e', "%s", text.data);
        status = device->driver->build(device, text.data, bbi_gpu_pair_symbols(&e->plan->stage[stage]), &kernel->kernel);
    }
    bbi_text_free(&text);
    return status;
}

static bb_status build_maps(const bbi_executable *e, int32_t stage, const bbi_gpu_layout *layout, void **maps) {
    bbi_device *device = e->gpu->device;
    bbi_gpu_options options = options_of(e, false);
    bbi_text text = {0};
    bb_status status = bbi_emit_gpu_maps(&text, &e->plan->stage[stage], &options, layout);
    if (status == BB_OK) {
        bbi_log('e', "%s", text.data);
        status = device->driver->build(device, text.data, bbi_gpu_map_symbols, maps);
    }
    bbi_text_free(&text);
    return status;
}

/* The numbers of a stage that no run changes. */
static bb_status send_numbers(const bbi_executable *e, const bbi_stage *stage, bbi_gpu_stage *to) {
    bbi_device *device = e->gpu->device;
    size_t real = e->is_double ? 8 : 4, sizes = (size_t)stage->nsize * 8, constants = (size_t)stage->nconstant * real;
    float *narrow = bbi_calloc((size_t)stage->nconstant + 1, sizeof *narrow);
    if (!narrow) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a program");
    for (int32_t k = 0; k < stage->nconstant; k++) narrow[k] = (float)stage->constant[k];
    bb_status status = to->size ? BB_OK : device->driver->allocate(device, sizes + 8, &to->size);
    if (status == BB_OK) status = device->driver->write(device, to->size, 0, stage->size, sizes);
    if (status == BB_OK && !to->constant) status = device->driver->allocate(device, constants + 8, &to->constant);
    if (status == BB_OK)
        status =
            device->driver->write(device, to->constant, 0, e->is_double ? (void *)stage->constant : narrow, constants);
    bbi_free(narrow);
    return status;
}

static bb_status make_ready(const bbi_executable *e, int32_t number, bool few, bbi_gpu_stage *s) {
    const bbi_stage *stage = &e->plan->stage[number];
    const bbi_gpu_layout nothing = {0};
    if (stage->folded != BBI_P && !s->pairs[few].kernel) BBI_FORWARD(build_pairs(e, number, few, &s->pairs[few]));
    if (s->maps) return BB_OK;
    BBI_FORWARD(send_numbers(e, stage, s));
    return build_maps(e, number, stage->folded != BBI_P ? &s->pairs[few].layout : &nothing, &s->maps);
}

bb_status bbi_gpu_stage_of(bbi_executable *executable, int32_t stage, bool few, bbi_gpu_ready *ready) {
    bbi_gpu_code *gpu = executable->gpu;
    bbi_gpu_stage *s = &gpu->stage[stage];
    bbi_mutex_lock(gpu->mutex);
    bb_status status = make_ready(executable, stage, few, s);
    bbi_mutex_unlock(gpu->mutex);
    *ready = (bbi_gpu_ready){.pairs = executable->plan->stage[stage].folded != BBI_P ? &s->pairs[few] : NULL,
                             .maps = s->maps,
                             .size = s->size,
                             .constant = s->constant};
    return status;
}
