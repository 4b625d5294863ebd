/* gpu_devices.c: one run on several CUDA devices: the rows of the outputs are divided among them, a thread for each. */
#include "gpu.h"
#include "program.h"

#include <string.h>

/* the rows of one device */
typedef struct share {
    bb_kernel *kernel;
    const bb_program *program;
    bb_array *input, *output;
    bb_run_options options;
    bbi_thread *thread;
    bb_status status;
    char message[512];
} share;

static void perform(void *argument) {
    share *s = argument;
    s->status =
        bb_run(s->kernel, s->input, (int)s->program->signature.count, s->output, s->program->noutput, &s->options);
    if (s->status == BB_OK) return;
    strncpy(s->message, bb_last_error(), sizeof s->message - 1);
}

static bb_status check(const bb_run_options *o, bool on_device, bb_target target) {
    if (target != BB_TARGET_CUDA && target != BB_TARGET_AUTO)
        return bbi_fail(BB_BAD_ARGUMENT, "run options: devices are for the target cuda");
    if (on_device)
        return bbi_fail(
            BB_DEVICE,
            "run options: devices are for arrays on the host; these lie on a device, where they are worked on");
    for (int k = 0; k < o->device_count; k++) {
        if (o->devices[k] < 0 || o->devices[k] >= BBI_MAX_DEVICES)
            return bbi_fail(BB_BAD_ARGUMENT, "run options: device %d, expected 0 .. %d", o->devices[k],
                            BBI_MAX_DEVICES - 1);
        for (int n = 0; n < k; n++)
            if (o->devices[n] == o->devices[k])
                return bbi_fail(BB_BAD_ARGUMENT, "run options: device %d is named twice", o->devices[k]);
    }
    return BB_OK;
}

/* Rows first .. first + count - 1 of an array, in memory behind it: shape and strides. */
static void slice(const bb_array *array, int64_t first, int64_t count, int64_t *numbers, bb_array *part) {
    int64_t step = 1, *shape = numbers, *strides = numbers + array->ndim;
    for (int k = array->ndim - 1; k >= 0; k--) {
        shape[k] = array->shape[k];
        strides[k] = array->strides ? array->strides[k] : step;
        step *= array->shape[k];
    }
    *part = *array;
    part->shape = shape;
    part->strides = strides;
    part->byte_offset += (uint64_t)(first * strides[array->ndim - 2] * (array->dtype_bits / 8));
    shape[array->ndim - 2] = count;
}

enum { NUMBERS = 2 * (BBI_MAX_BATCH_DIMS + 2) };

static void take_rows(share *s, bbi_place axis, const bb_array *inputs, const bb_array *outputs, int64_t first,
                      int64_t count, int64_t *numbers) {
    const bb_program *p = s->program;
    int ninput = (int)p->signature.count;
    int64_t *asked = axis == BBI_I ? &s->options.rows_i : &s->options.rows_j;
    for (int k = 0; k < ninput + p->noutput; k++) {
        const bb_array *whole = k < ninput ? &inputs[k] : &outputs[k - ninput];
        int place = k < ninput ? (int)p->signature.variables[k].place : (int)p->info[k - ninput].place;
        if (place == (int)axis)
            slice(whole, first, count, numbers + k * NUMBERS, &s->input[k]);
        else
            s->input[k] = *whole;
    }
    s->output = s->input + ninput;
    if (*asked) *asked = count;
}

static bb_status run_shares(share *shares, int count) {
    for (int k = 1; k < count; k++) shares[k].thread = bbi_thread_start(perform, &shares[k]);
    perform(&shares[0]);
    for (int k = 1; k < count; k++) {
        if (shares[k].thread)
            bbi_thread_join(shares[k].thread);
        else
            perform(&shares[k]); /* no thread is to be had */
    }
    for (int k = 0; k < count; k++)
        if (shares[k].status != BB_OK) return bbi_fail(shares[k].status, "%s", shares[k].message);
    return BB_OK;
}

/* options: complete. Rows that cannot be divided are all of the first device. */
bb_status bbi_run_devices(bb_kernel *kernel, const bb_array *inputs, const bb_array *outputs,
                          const bb_run_options *options) {
    const bb_program *p = kernel->program;
    int ninput = (int)p->signature.count, arrays = ninput + p->noutput, count = options->device_count;
    bbi_place axis = options->ranges ? BBI_P : bbi_gpu_row_axis(kernel->plan);
    bbi_extent extent;
    BBI_FORWARD(check(options, bbi_arrays_on_device(inputs, ninput, outputs, p->noutput), kernel->options.target));
    BBI_FORWARD(bbi_arrays_extent(inputs, ninput, p->signature.variables, ninput, options, &extent));
    BBI_FORWARD(bbi_arrays_check_outputs(outputs, p->noutput, p->info, &extent));
    if (axis == BBI_P) count = 1;
    int64_t rows = axis == BBI_J ? extent.n : extent.m;
    share *shares = bbi_calloc((size_t)count, sizeof *shares);
    bb_array *array = bbi_calloc((size_t)(count * arrays) + 1, sizeof *array);
    int64_t *numbers = bbi_calloc((size_t)(count * arrays) * NUMBERS + 1, sizeof *numbers);
    bb_status status =
        shares && array && numbers ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory while preparing a run");
    for (int k = 0; k < count && status == BB_OK; k++) {
        share *s = &shares[k];
        *s = (share){.program = p, .input = array + k * arrays, .options = *options};
        s->options.devices = NULL, s->options.device_count = 0;
        if (k > 0) s->options.progress = NULL; /* from one thread */
        int64_t first = k * rows / count, end = (k + 1) * rows / count;
        take_rows(s, axis, inputs, outputs, first, end - first, numbers + (int64_t)k * arrays * NUMBERS);
        bbi_device *device; /* opened before any of them begins */
        status = bbi_device_open(&bbi_driver_cuda, options->devices[k], &device);
        if (status == BB_OK) status = bbi_kernel_on_device(kernel, options->devices[k], &s->kernel);
    }
    if (status == BB_OK) status = run_shares(shares, count);
    bbi_free(shares);
    bbi_free(array);
    bbi_free(numbers);
    return status;
}
