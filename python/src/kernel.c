/* kernel.c: running. A call takes its arrays, allocates what it gives back, lets go of the interpreter's lock, runs, and
 * now and then asks Python whether somebody pressed Ctrl-C. It is the path of the smallest problems: it keeps its frame
 * on the stack and imports, looks up and formats nothing. */
#include "frame.h"

#include <string.h>

/* ---- making ----------------------------------------------------------------------------------------------------------- */
static int choose(const char *value, const char *const *names, const char *what) {
    for (int k = 0; names[k]; k++)
        if (!strcmp(value, names[k])) return k;
    PyErr_Format(PyExc_ValueError, "%s '%s' is unknown", what, value);
    return -1;
}

static int describe(core_kernel *self, const bb_program *program) {
    self->outputs = bb_program_output_count(program);
    self->inputs = bb_program_variable_count(program);
    if (self->outputs > MAX_OUTPUTS) {
        PyErr_Format(PyExc_ValueError, "%d outputs: at most %d are supported", self->outputs, MAX_OUTPUTS);
        return -1;
    }
    self->variable = PyMem_Malloc(sizeof *self->variable * (size_t)(self->inputs + 1));
    if (!self->variable) {
        PyErr_NoMemory();
        return -1;
    }
    bb_status status = BB_OK;
    for (int k = 0; k < self->outputs && status == BB_OK; k++) status = bb_program_output(program, k, &self->info[k]);
    for (int k = 0; k < self->inputs && status == BB_OK; k++)
        status = bb_program_variable(program, k, &self->variable[k]);
    if (status == BB_OK) return 0;
    core_fail(status);
    return -1;
}

PyObject *core_compile(core_program *program, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"target", "policy", "sum_scheme", "accumulate_double", "rows", NULL};
    static const char *const targets[] = {"auto", "interp", "cpu", "cuda", "opencl", NULL};
    static const char *const policies[] = {"auto", "wait", "background", NULL};
    static const char *const schemes[] = {"auto", "block", "kahan", "direct", NULL};
    const char *target = "auto", *policy = "auto", *scheme = "auto";
    int accumulate_double = 0, rows = 0;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|ssspp:compile", names, &target, &policy, &scheme,
                                     &accumulate_double, &rows))
        return NULL;
    int t = choose(target, targets, "target"), p = choose(policy, policies, "policy"),
        s = choose(scheme, schemes, "sum_scheme");
    if (t < 0 || p < 0 || s < 0) return NULL;
    bb_compile_options options = {.size = sizeof options,
                                  .target = (bb_target)t,
                                  .policy = (bb_policy)p,
                                  .sum_scheme = (bb_sum_scheme)s,
                                  .accumulate_double = accumulate_double};
    allocfunc allocate = (allocfunc)PyType_GetSlot(core_kernel_type, Py_tp_alloc);
    core_kernel *self = (core_kernel *)(void *)allocate(core_kernel_type, 0);
    if (!self) return NULL;
    bb_status status;
    Py_BEGIN_ALLOW_THREADS status = bb_compile(program->program, &options, &self->kernel);
    Py_END_ALLOW_THREADS self->rows = rows;
    if (status != BB_OK) core_fail(status);
    if (status == BB_OK && !describe(self, bb_kernel_program(self->kernel))) return (PyObject *)self;
    Py_DECREF((PyObject *)self);
    return NULL;
}

static void kernel_free(core_kernel *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->kernel) bb_kernel_release(self->kernel);
    PyMem_Free(self->variable);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *refuse_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments, (void)keywords;
    PyErr_Format(PyExc_TypeError, "%R is made by Program.compile", (PyObject *)type);
    return NULL;
}

/* ---- ranges: a sequence of six arrays, or of such sequences, one for each batch element --------------------------------- */
static void ranges_drop(core_ranges *r) {
    for (Py_ssize_t k = 0; k < r->taken; k++) core_value_drop(&r->value[k]);
    PyMem_Free(r->structure);
    PyMem_Free(r->value);
}

static int ranges_take_one(core_ranges *r, PyObject *six, bb_ranges *into) {
    const int64_t *data[6];
    int64_t length[6];
    for (Py_ssize_t k = 0; k < 6; k++) {
        PyObject *item = PySequence_GetItem(six, k);
        core_value *value = &r->value[r->taken];
        int bad = !item || core_value_take(item, 0, value);
        Py_XDECREF(item);
        if (bad) return -1;
        r->taken++;
        const bb_array *a = &value->array;
        int64_t compact = 1;
        for (int d = a->ndim - 1; d >= 0; compact *= a->shape[d--])
            if (a->shape[d] > 1 && a->strides && a->strides[d] != compact) bad = 1;
        if (bad || value->is_number || a->dtype_code != CODE_INT || a->dtype_bits != 64 || a->device_type != 1) {
            PyErr_SetString(PyExc_TypeError, "ranges are six contiguous arrays of int64 on the CPU");
            return -1;
        }
        if (a->ndim != (k % 3 == 1 ? 1 : 2) || (k % 3 != 1 && a->shape[1] != 2)) {
            PyErr_Format(PyExc_ValueError, "array %zd of the ranges: expected the shape %s", k,
                         k % 3 == 1 ? "(C,)" : "(C, 2)");
            return -1;
        }
        data[k] = (const int64_t *)(const void *)((const char *)a->data + a->byte_offset);
        length[k] = a->shape[0];
    }
    for (int side = 0; side < 6; side += 3) {
        int64_t last = length[side + 1] ? data[side + 1][length[side + 1] - 1] : 0;
        if (length[side] == length[side + 1] && last <= length[side + 2]) continue;
        PyErr_SetString(PyExc_ValueError,
                        "ranges: as many slices as clusters are expected, the last one not beyond the "
                        "number of reduction intervals");
        return -1;
    }
    *into = (bb_ranges){sizeof *into, length[0], length[3], data[0], data[1], data[2], data[3], data[4], data[5]};
    return 0;
}

static int ranges_take(PyObject *list, core_ranges *r) {
    r->count = PySequence_Size(list);
    if (r->count < 0) return -1;
    r->structure = PyMem_Malloc(sizeof *r->structure * (size_t)(r->count + 1));
    r->value = PyMem_Malloc(sizeof *r->value * (size_t)(6 * r->count + 1));
    if (!r->structure || !r->value) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t k = 0; k < r->count; k++) {
        PyObject *six = PySequence_GetItem(list, k);
        int bad = !six || PySequence_Size(six) != 6 || ranges_take_one(r, six, &r->structure[k]);
        Py_XDECREF(six);
        if (!bad) continue;
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "ranges: a sequence of six arrays is expected");
        return -1;
    }
    return 0;
}

/* ---- Ctrl-C and progress: the library asks from the calling thread, a few times a second ---------------------------------- */
static int watch_run(void *data, double done) {
    watch *w = data;
    if (done >= 1 && !w->progress) return 0;
    PyEval_RestoreThread(w->state);
    int stop = PyErr_CheckSignals() != 0;
    if (!stop && w->progress) {
        PyObject *answer = PyObject_CallFunction(w->progress, "d", done);
        stop = !answer || (answer != Py_None && PyObject_IsTrue(answer) != 0);
        Py_XDECREF(answer);
    }
    w->state = PyEval_SaveThread();
    return stop;
}

int core_watch_solve(void *data, int64_t iteration, double residual) {
    watch *w = data;
    PyEval_RestoreThread(w->state);
    int stop = PyErr_CheckSignals() != 0;
    if (!stop && w->progress) {
        PyObject *answer = PyObject_CallFunction(w->progress, "Ld", (long long)iteration, residual);
        stop = !answer || (answer != Py_None && PyObject_IsTrue(answer) != 0);
        Py_XDECREF(answer);
    }
    w->state = PyEval_SaveThread();
    return stop;
}

/* ---- a call's frame ---------------------------------------------------------------------------------------------------------- */
void core_frame_drop(frame *f) {
    Py_CLEAR(f->scratch);
    while (f->taken) core_value_drop(&f->value[--f->taken]);
    if (f->ranges.value) ranges_drop(&f->ranges);
    if (f->value != f->on_stack) PyMem_Free(f->value);
    if (f->array != f->array_on_stack) PyMem_Free(f->array);
}

/* What the inputs are computed in: double if there is a float64, unless something else is there too: then the caller
 * converts. Half precision is storage: outputs have it where all inputs do. */
static void frame_types(frame *f, const core_kernel *self) {
    int wide = 0, narrow = 0, half = 0, brain = 0;
    for (int k = 0; k < f->inputs; k++) {
        const core_value *v = &f->value[k];
        if (v->is_number) continue;
        if (k < self->inputs && self->variable[k].is_index && v->array.dtype_code == CODE_INT && v->array.dtype_bits == 64)
            continue;
        if (v->needs_conversion) f->convert = 1;
        if (v->exchange && !f->like) f->like = v;
        if (v->array.dtype_bits == 64)
            wide = 1;
        else if (v->array.dtype_bits != 16)
            narrow = 1;
        else if (v->array.dtype_code == CODE_BFLOAT)
            brain = 1;
        else
            half = 1;
    }
    int others = narrow + half + brain;
    f->dtype = wide || !others ? BB_FLOAT64 : narrow || others > 1 ? BB_FLOAT32 : half ? BB_FLOAT16 : BB_BFLOAT16;
    if (wide && others) f->convert = 1; /* numbers alone: double */
}

int core_frame_take(frame *f, const core_kernel *self, PyObject *inputs) {
    f->taken = f->inputs = f->convert = 0;
    f->like = NULL;
    f->origin = f->scratch = NULL;
    f->ranges = (core_ranges){0};
    f->value = f->on_stack;
    f->array = f->array_on_stack;
    if (!PyTuple_Check(inputs)) {
        PyErr_SetString(PyExc_TypeError, "inputs: a tuple is expected");
        return -1;
    }
    Py_ssize_t count = PyTuple_Size(inputs), room = count + self->outputs;
    f->value = room <= STACK_VALUES ? f->on_stack : PyMem_Malloc(sizeof *f->value * (size_t)room);
    f->array = room <= STACK_VALUES ? f->array_on_stack : PyMem_Malloc(sizeof *f->array * (size_t)room);
    if (!f->value || !f->array) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        f->taken++; /* also what fails is dropped: it may hold a buffer already */
        if (core_value_take(PyTuple_GetItem(inputs, k), 0, &f->value[k])) return -1;
        const core_value *v = &f->value[k];
        if (!f->origin && !v->is_number && !v->exchange && v->array.device_type == DEVICE_CUDA)
            f->origin = PyTuple_GetItem(inputs, k);
    }
    f->inputs = (int)count;
    frame_types(f, self);
    if (f->convert) return 0;
    for (Py_ssize_t k = 0; k < count; k++) {
        if (f->value[k].is_number) core_value_number(&f->value[k], f->dtype == BB_FLOAT64);
        f->array[k] = f->value[k].array;
    }
    return 0;
}

/* Device memory for the time of a run: a tensor, which goes back to its library when the call ends. By then all kernels are in
 * the stream, and the library's allocator hands the memory out again in the order of the stream. */
static void *frame_allocate(void *data, size_t bytes, void *stream) {
    frame *f = data;
    (void)stream; /* the library's current one, as in the options */
    PyGILState_STATE state = PyGILState_Ensure();
    int64_t shape[1] = {(int64_t)(bytes + sizeof(double) - 1) / (int64_t)sizeof(double)};
    void *memory = NULL;
    if (!f->scratch) f->scratch = PyList_New(0);
    PyObject *tensor =
        f->scratch ? core_exchange_empty(f->like->exchange, &f->like->array, shape, 1, BB_FLOAT64) : NULL;
    bb_array array;
    if (tensor && !core_exchange_take(f->like->exchange, tensor, &array) && !PyList_Append(f->scratch, tensor))
        memory = (char *)array.data + array.byte_offset;
    Py_XDECREF(tensor);
    PyErr_Clear(); /* the library says that memory is missing */
    PyGILState_Release(state);
    return memory;
}

static void frame_release(void *data, void *memory, size_t bytes, void *stream) {
    (void)data, (void)memory, (void)bytes, (void)stream; /* core_frame_drop */
}

/* Arrays that other streams compute are waited for. */
static int wait_for_others(const frame *f) {
    for (int k = 0; k < f->inputs; k++) {
        const core_value *v = &f->value[k];
        if (!v->has_stream || v->array.device_type != DEVICE_CUDA || v->stream == f->options.stream) continue;
        bb_status status;
        Py_BEGIN_ALLOW_THREADS status = bb_device_wait(v->array.device_id, v->stream);
        Py_END_ALLOW_THREADS if (status != BB_OK) return core_fail(status), -1;
    }
    return 0;
}

/* Where the arrays are: device, the stream that their library computes on, its memory. 0, or -1 with an exception. */
static int frame_device(frame *f) {
    const core_value *on = f->like && f->like->array.device_type != DEVICE_CPU ? f->like : NULL;
    for (int k = 0; !on && k < f->inputs; k++)
        if (!f->value[k].is_number && f->value[k].array.device_type != DEVICE_CPU) on = &f->value[k];
    if (!on) return 0;
    f->options.device_type = on->array.device_type;
    f->options.device_id = on->array.device_id;
    if (on->exchange) {
        f->options.stream = core_exchange_stream(on->exchange, &on->array);
        f->options.allocate = frame_allocate;
        f->options.release = frame_release;
        f->options.allocator = f;
        f->like = on;
    } else {
        for (int k = 0; k < f->inputs && !f->options.stream; k++) f->options.stream = f->value[k].stream;
        if (f->like) f->like = NULL; /* tensors on the processor beside arrays on the device */
    }
    return wait_for_others(f);
}

int core_frame_options(frame *f, PyObject *ranges, PyObject *rows_i, PyObject *rows_j, PyObject *threads,
                       PyObject *progress) {
    f->options = (bb_run_options){.size = sizeof f->options};
    f->watch.progress = progress == Py_None ? NULL : progress;
    f->options.progress = watch_run;
    f->options.progress_data = &f->watch;
    f->options.rows_i = rows_i ? PyLong_AsLongLong(rows_i) : 0;
    f->options.rows_j = rows_j ? PyLong_AsLongLong(rows_j) : 0;
    f->options.threads = threads ? (int)PyLong_AsLong(threads) : 0;
    if (PyErr_Occurred()) return -1;
    if (frame_device(f)) return -1;
    if (!ranges || ranges == Py_None) return 0;
    if (ranges_take(ranges, &f->ranges)) return -1;
    f->options.ranges = f->ranges.structure;
    f->options.ranges_count = f->ranges.count;
    return 0;
}

/* The array of an output with an axis of length 1 that the library does not know. */
static void without_row(core_value *value) {
    bb_array *a = &value->array;
    if (a->ndim < 2) return;
    memmove(value->shape, a->shape, (size_t)a->ndim * sizeof *value->shape);
    if (a->strides) memmove(value->strides, a->strides, (size_t)a->ndim * sizeof *value->strides);
    if (value->shape[a->ndim - 2] != 1) return;
    value->shape[a->ndim - 2] = value->shape[a->ndim - 1];
    value->strides[a->ndim - 2] = value->strides[a->ndim - 1];
    a->shape = value->shape;
    if (a->strides) a->strides = value->strides;
    a->ndim--;
}

/* Allocates output k, or takes the caller's; returns a new reference. */
PyObject *core_frame_output(frame *f, core_kernel *self, int k, PyObject *given) {
    PyObject *object = NULL;
    int added = self->rows && self->info[k].place == BB_NONE;
    if (given) {
        object = given;
        Py_INCREF(object);
    } else {
        int64_t shape[CORE_MAX_DIMS + 2];
        int ndim = 0;
        bb_status status =
            bb_output_shape(self->kernel, f->array, f->inputs, &f->options, k, shape, CORE_MAX_DIMS, &ndim);
        if (status != BB_OK) return core_fail(status);
        if (added) {
            shape[ndim] = shape[ndim - 1];
            shape[ndim - 1] = 1;
            ndim++;
        }
        bb_dtype dtype = self->info[k].is_index ? BB_INT64 : f->dtype;
        object = f->like     ? core_exchange_empty(f->like->exchange, &f->like->array, shape, ndim, dtype)
                 : f->origin ? core_device_empty(f->options.device_id, f->options.stream, shape, ndim, dtype)
                             : core_empty(shape, ndim, dtype);
    }
    if (!object) return NULL;
    core_value *value = &f->value[f->inputs + k];
    f->taken++;
    if (core_value_take(object, 1, value)) {
        Py_DECREF(object);
        return NULL;
    }
    if (added) without_row(value);
    f->array[f->inputs + k] = value->array;
    return object;
}

static int take_devices(frame *f, PyObject *devices) {
    if (devices == Py_None) return 0;
    Py_ssize_t count = PyTuple_Check(devices) ? PyTuple_Size(devices) : -1;
    if (count < 1 || count > MAX_DEVICES) {
        PyErr_Format(PyExc_ValueError, "devices: a tuple of 1 to %d numbers is expected", (int)MAX_DEVICES);
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++) f->devices[k] = (int)PyLong_AsLong(PyTuple_GetItem(devices, k));
    f->options.devices = f->devices;
    f->options.device_count = (int)count;
    return PyErr_Occurred() ? -1 : 0;
}

/* run(inputs[, outputs or None[, ranges[, rows_i[, rows_j[, threads[, progress[, stream[, devices]]]]]]]]): the outputs, one
 * alone or in a tuple; stream: of arrays that do not say theirs; devices: of CUDA, among which the rows are divided;
 * NotImplemented where inputs have to be converted first: float64 beside narrower types, integers. */
static PyObject *kernel_run(core_kernel *self, PyObject *const *argument, Py_ssize_t count) {
    if (count < 1 || count > 9) {
        PyErr_SetString(PyExc_TypeError, "run: 1 to 9 arguments");
        return NULL;
    }
    frame f;
    PyObject *result = NULL, *output[MAX_OUTPUTS] = {NULL};
    PyObject *given = count > 1 && argument[1] != Py_None ? argument[1] : NULL;
#define AT(k) (count > (k) ? argument[k] : NULL)
    if (core_frame_take(&f, self, argument[0])) goto end;
    if (f.convert) {
        result = Py_NotImplemented;
        Py_INCREF(result);
        goto end;
    }
    if (core_frame_options(&f, AT(2), AT(3), AT(4), AT(5), count > 6 ? argument[6] : Py_None)) goto end;
    if (count > 7 && !f.options.stream) f.options.stream = PyLong_AsVoidPtr(argument[7]);
    if (PyErr_Occurred() || (count > 8 && take_devices(&f, argument[8]))) goto end;
    if (given && (!PyTuple_Check(given) || PyTuple_Size(given) != self->outputs)) {
        PyErr_Format(PyExc_TypeError, "outputs: a tuple of %d arrays is expected", self->outputs);
        goto end;
    }
    for (int k = 0; k < self->outputs; k++)
        if (!(output[k] = core_frame_output(&f, self, k, given ? PyTuple_GetItem(given, k) : NULL))) goto end;
    bb_status status;
    f.watch.state = PyEval_SaveThread();
    status = bb_run(self->kernel, f.array, f.inputs, f.array + f.inputs, self->outputs, &f.options);
    PyEval_RestoreThread(f.watch.state);
    if (status != BB_OK) core_fail(status);
    for (int k = 0; k < self->outputs && status == BB_OK && f.origin && !given; k++)
        if (!(output[k] = core_device_convert(output[k], f.origin))) goto end;
    if (status != BB_OK) {
    } else if (self->outputs == 1) {
        result = output[0];
        output[0] = NULL;
    } else if ((result = PyTuple_New(self->outputs))) {
        for (int k = 0; k < self->outputs; k++) {
            PyTuple_SetItem(result, k, output[k]);
            output[k] = NULL;
        }
    }
#undef AT
end:
    core_frame_drop(&f);
    for (int k = 0; k < self->outputs; k++) Py_XDECREF(output[k]);
    return result;
}

/* ---- the rest ---------------------------------------------------------------------------------------------------------------- */
static PyObject *kernel_tier(core_kernel *self, PyObject *arguments) {
    const char *dtype = "float32", *reason = "";
    if (!PyArg_ParseTuple(arguments, "|s:tier", &dtype)) return NULL;
    bb_target tier = bb_kernel_tier(self->kernel, strcmp(dtype, "float64") ? BB_FLOAT32 : BB_FLOAT64, &reason);
    static const char *const names[] = {"auto", "interp", "cpu", "cuda", "opencl"};
    return Py_BuildValue("(sz)", names[tier], reason);
}

static PyObject *kernel_wait(core_kernel *self, PyObject *none) {
    (void)none;
    bb_status status;
    Py_BEGIN_ALLOW_THREADS status = bb_kernel_wait(self->kernel);
    Py_END_ALLOW_THREADS if (status != BB_OK) return core_fail(status);
    Py_RETURN_NONE;
}

static PyMethodDef kernel_methods[] = {
    {"run", (PyCFunction)(void (*)(void))kernel_run, METH_FASTCALL,
     "run(inputs, outputs=None, ranges=None, rows_i=0, rows_j=0, threads=0, progress=None, stream=0, devices=None)"},
    {"tier", (PyCFunction)(void (*)(void))kernel_tier, METH_VARARGS,
     "tier(dtype='float32'): (what runs, why not compiled)"},
    {"wait", (PyCFunction)(void (*)(void))kernel_wait, METH_NOARGS, "Waits for background compiles."},
    {NULL, NULL, 0, NULL}};
static PyType_Slot kernel_slots[] = {{Py_tp_dealloc, (void *)kernel_free},
                                     {Py_tp_new, (void *)refuse_new},
                                     {Py_tp_methods, kernel_methods},
                                     {Py_tp_doc, "A program that can run."},
                                     {0, NULL}};
PyType_Spec core_kernel_spec = {"benben._core.Kernel", sizeof(core_kernel), 0, Py_TPFLAGS_DEFAULT, kernel_slots};
