/* gpu_arrays.c: arrays in the memory of a CUDA device. A run whose arrays lie there is done on that device (a
 * kernel that was compiled for another target refuses them), in place and in the order of the caller's stream. What the device
 * does not take as a whole (see is_direct) is read after that stream has come to its end, worked on through copies in host memory, and
 * written before the call returns. */
#include "gpu.h"
#include "program.h"

#include <string.h>

enum { DEVICE_CPU = 1, DEVICE_CUDA = 2, DEVICE_PINNED = 3, DEVICE_MANAGED = 13 }; /* as in DLPack */

static bool is_host(const bb_array *a) { return a->device_type == DEVICE_CPU; }

static bool is_cuda(const bb_array *a) { return a->device_type == DEVICE_CUDA || a->device_type == DEVICE_MANAGED; }

bool bbi_arrays_on_device(const bb_array *inputs, int ninput, const bb_array *outputs, int noutput) {
    for (int k = 0; k < ninput + noutput; k++)
        if (is_cuda(k < ninput ? &inputs[k] : &outputs[k - ninput])) return true;
    return false;
}

/* ---- one array ---- */
/* Bytes below and from the first element on that its strides reach. */
typedef struct span {
    int64_t below, bytes;
} span;

static bool span_of(const bb_array *a, span *s) {
    int64_t low = 0, high = 0, step = 1, size = a->dtype_bits / 8;
    *s = (span){0};
    if (!a->shape || a->ndim < 0 || a->ndim > BBI_MAX_BATCH_DIMS + 2) return false;
    for (int k = a->ndim - 1; k >= 0; k--) {
        int64_t stride = a->strides ? a->strides[k] : step;
        if (a->shape[k] <= 0) return a->shape[k] == 0;
        if (stride < 0)
            low += stride * (a->shape[k] - 1);
        else
            high += stride * (a->shape[k] - 1);
        step *= a->shape[k];
    }
    *s = (span){.below = -low * size, .bytes = (high - low + 1) * size};
    return true;
}

static bb_status stage(bbi_device *device, const bb_array *a, bb_array *copy, const char *kind, int position) {
    span s;
    *copy = *a;
    if (is_host(a) || a->device_type == DEVICE_PINNED) {
        copy->device_type = DEVICE_CPU;
        return BB_OK;
    }
    if (!is_cuda(a))
        return bbi_fail(BB_DEVICE,
                        "%s %d lies on a device of type %d: arrays of the host (1) and of CUDA (2) are taken", kind,
                        position, (int)a->device_type);
    if (a->device_id != device->number)
        return bbi_fail(BB_DEVICE, "%s %d lies on CUDA device %d, others on device %d: bring them together", kind,
                        position, (int)a->device_id, device->number);
    if (!span_of(a, &s))
        return bbi_fail(BB_BAD_SHAPE, "%s %d: %d dimensions, or one of them negative", kind, position, (int)a->ndim);
    char *host = bbi_alloc_aligned((size_t)s.bytes + 64);
    if (!host)
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory: a copy of %s %d, %lld bytes", kind, position,
                        (long long)s.bytes);
    copy->device_type = DEVICE_CPU;
    copy->data = host;
    copy->byte_offset = (uint64_t)s.below;
    bbi_memory from = (bbi_memory)(uintptr_t)a->data + a->byte_offset - (uint64_t)s.below;
    return device->driver->read(device, host, from, 0,
                                (size_t)s.bytes); /* outputs too: what lies between their elements stays */
}

static bb_status write_back(bbi_device *device, const bb_array *a, const bb_array *copy) {
    span s;
    if (!is_cuda(a) || !span_of(a, &s)) return BB_OK;
    bbi_memory to = (bbi_memory)(uintptr_t)a->data + a->byte_offset - (uint64_t)s.below;
    return device->driver->write(device, to, 0, copy->data, (size_t)s.bytes);
}

/* ---- a run ---- */
static int device_number(const bb_array *inputs, int ninput, const bb_array *outputs, int noutput) {
    for (int k = 0; k < ninput + noutput; k++) {
        const bb_array *a = k < ninput ? &inputs[k] : &outputs[k - ninput];
        if (is_cuda(a)) return a->device_id;
    }
    return 0;
}

bb_status bbi_kernel_on_device(bb_kernel *kernel, int number, bb_kernel **chosen) {
    *chosen = kernel;
    if (kernel->options.target == BB_TARGET_CUDA && kernel->options.device == number) return BB_OK;
    if (number < 0 || number >= BBI_MAX_DEVICES)
        return bbi_fail(BB_DEVICE, "CUDA device %d: at most %d", number, BBI_MAX_DEVICES);
    bb_status status = BB_OK;
    bbi_mutex_lock(kernel->mutex);
    if (!kernel->on_device[number]) {
        bb_compile_options options = kernel->options;
        options.target = BB_TARGET_CUDA;
        options.device = number;
        status = bb_compile(kernel->program, &options, &kernel->on_device[number]);
    }
    *chosen = kernel->on_device[number];
    bbi_mutex_unlock(kernel->mutex);
    return status;
}

/* Arrays of a device are worked on there, unless another target was asked for. */
static bb_status kernel_for(bb_kernel *kernel, int number, bb_kernel **chosen) {
    *chosen = kernel;
    const char *forced = bbi_environment("BENBEN_TARGET");
    bool automatic = kernel->options.target == BB_TARGET_AUTO && (!forced || strcmp(forced, "cuda") == 0);
    return automatic || kernel->options.target == BB_TARGET_CUDA ? bbi_kernel_on_device(kernel, number, chosen) : BB_OK;
}

/* Whatever device the options name: it is that of the arrays. */
static bb_status options_of(const bb_run_options *options, bb_run_options *all) {
    bb_run_options plain = {0};
    if (!options || options->size == 0) return bbi_run_options_of(options, all);
    memcpy(&plain, options, options->size < sizeof plain ? options->size : sizeof plain);
    if (plain.device_type == DEVICE_CUDA || plain.device_type == DEVICE_MANAGED) plain.device_type = 0;
    return bbi_run_options_of(&plain, all);
}

/* ---- in place ---- */
static bool is_reachable(const bb_array *a) { return is_cuda(a) || a->device_type == DEVICE_PINNED; }

static bb_status check_device(const bb_array *a, int number, const char *kind, int position) {
    if (a->device_type != DEVICE_CUDA || a->device_id == number) return BB_OK;
    return bbi_fail(BB_DEVICE, "%s %d lies on CUDA device %d, others on device %d: bring them together", kind, position,
                    (int)a->device_id, number);
}

/* Whether a run on the device waits for nothing: all stages are taken there, and outputs lie apart from inputs. */
static bool is_direct(const bbi_plan *plan, const bb_array *inputs, int ninput, const bb_array *outputs, int noutput) {
    if (!bbi_gpu_takes(plan)) return false;
    for (int k = 0; k < ninput + noutput; k++) {
        const bb_array *a = k < ninput ? &inputs[k] : &outputs[k - ninput];
        if (bbi_array_dtype(a) < 0 || a->ndim < 0 || (a->ndim && !a->shape))
            return false; /* the checks of the other way tell */
        if (!is_reachable(a) && !(k < ninput && is_host(a))) return false;
    }
    for (int k = 0; k < noutput; k++)
        for (int n = 0; n < ninput; n++)
            if (bbi_arrays_meet(&outputs[k], &inputs[n])) return false;
    return true;
}

static bb_status run_direct(bb_kernel *kernel, int number, const bb_array *inputs, int ninput, const bb_array *outputs,
                            int noutput, const bb_run_options *options, bool *done) {
    const bb_program *p = kernel->program;
    bool is_double;
    bbi_variant *v;
    bb_run_options all;
    BBI_FORWARD(bbi_run_options_of(options, &all));
    BBI_FORWARD(bbi_arrays_real_type(kernel->plan, inputs, ninput, p->signature.variables, &is_double));
    BBI_FORWARD(bbi_variant_for(kernel, is_double, all.ranges != NULL, &v));
    *done = v->executable->gpu && is_direct(v->executable->plan, inputs, ninput, outputs, noutput);
    if (!*done) return BB_OK;
    for (int k = 0; k < ninput; k++) BBI_FORWARD(check_device(&inputs[k], number, "input", k));
    for (int k = 0; k < noutput; k++) BBI_FORWARD(check_device(&outputs[k], number, "output", k));
    return bbi_execute_on_device(v->executable, inputs, ninput, p->signature.variables, outputs, noutput, p->info,
                                 options);
}

bb_status bbi_run_staged(bb_kernel *kernel, const bb_array *inputs, int ninput, const bb_array *outputs, int noutput,
                         const bb_run_options *options) {
    int count = ninput + noutput, number = device_number(inputs, ninput, outputs, noutput);
    bbi_device *device;
    bb_kernel *chosen;
    bb_run_options all;
    BBI_FORWARD(options_of(options, &all));
    BBI_FORWARD(bbi_device_open(&bbi_driver_cuda, number, &device));
    BBI_FORWARD(kernel_for(kernel, number, &chosen));
    bool done = false;
    BBI_FORWARD(run_direct(chosen, number, inputs, ninput, outputs, noutput, &all, &done));
    if (done) return BB_OK;
    bb_array *copy = bbi_calloc((size_t)count + 1, sizeof *copy);
    if (!copy) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a run");
    bb_status status = device->driver->wait(device, all.stream);
    int staged = 0;
    for (; staged < count && status == BB_OK; staged++) {
        bool input = staged < ninput;
        const bb_array *a = input ? &inputs[staged] : &outputs[staged - ninput];
        status = stage(device, a, &copy[staged], input ? "input" : "output", input ? staged : staged - ninput);
    }
    all.stream = NULL;
    if (status == BB_OK) status = bb_run(chosen, copy, ninput, copy + ninput, noutput, &all);
    for (int k = 0; k < noutput && status == BB_OK; k++) status = write_back(device, &outputs[k], &copy[ninput + k]);
    for (int k = 0; k < staged; k++) {
        const bb_array *a = k < ninput ? &inputs[k] : &outputs[k - ninput];
        if (copy[k].data != a->data) bbi_free_aligned(copy[k].data);
    }
    bbi_free(copy);
    return status;
}
