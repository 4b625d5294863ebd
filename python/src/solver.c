/* solver.c: systems, traces and eigenpairs for Python. A matrix is a tuple: (kernel, inputs, unknown, ranges), or, known by
 * what it does, (rows, multiply, columns or None, diagonal or None, single): multiply takes and gives float64 arrays
 * (rows, E), columns takes a tuple of numbers and gives (their count, rows), diagonal gives (rows,). */
#include "frame.h"

#include <stdio.h>
#include <string.h>

typedef struct system {
    bb_matrix matrix;
    frame f;
    int framed, failed; /* f is in use; a callback raised */
    PyObject *multiply, *columns, *diagonal, *function;
    bb_run_options run;
    watch watch;
} system_;

/* ---- options ------------------------------------------------------------------------------------------------------------- */
/* An option that is no number says which one it is. */
static void name_option(const char *name, PyObject *value, const char *expected) {
    if (!PyErr_Occurred() || !PyErr_ExceptionMatches(PyExc_TypeError)) return;
    PyErr_Clear();
    PyErr_Format(PyExc_TypeError, "%s=%R: expected %s", name, value, expected);
}

static double number(PyObject *options, const char *name) {
    PyObject *value = PyDict_GetItemString(options, name);
    double found = value ? PyFloat_AsDouble(value) : 0;
    if (value && found == -1) name_option(name, value, "a number");
    return found;
}

static int64_t integer(PyObject *options, const char *name) {
    PyObject *value = PyDict_GetItemString(options, name);
    int64_t found = value ? PyLong_AsLongLong(value) : 0;
    if (value && found == -1) name_option(name, value, "an integer");
    return found;
}

static int choice(PyObject *options, const char *name, const char *const *names) {
    PyObject *value = PyDict_GetItemString(options, name);
    PyObject *text = value && PyUnicode_Check(value) ? PyUnicode_AsUTF8String(value) : NULL;
    const char *given = text ? PyBytes_AsString(text) : NULL;
    char known[200] = "";
    int found = -1;
    for (int k = 0; value && names[k]; k++) {
        if (given && !strcmp(given, names[k])) found = k;
        size_t used = strlen(known);
        snprintf(known + used, sizeof known - used, "%s'%s'", k ? ", " : "", names[k]);
    }
    if (value && found < 0 && !PyErr_Occurred())
        PyErr_Format(PyExc_ValueError, "%s=%R is unknown; expected one of %s", name, value, known);
    Py_XDECREF(text);
    return value ? found : 0;
}

static const char *const preconditioners[] = {"auto", "none", "rpcholesky", "nystrom", "blocks", "neighbors", NULL};

/* ---- callbacks ------------------------------------------------------------------------------------------------------------ */
/* Copies what a callback gave; steals the reference. */
static int take_result(PyObject *given, int64_t count, double *to) {
    core_value value;
    memset(&value, 0, sizeof value);
    int bad = !given || core_value_take(given, 0, &value);
    if (!bad) {
        int64_t size = 1;
        for (int k = 0; k < value.array.ndim; k++) size *= value.array.shape[k];
        if (value.is_number || value.array.dtype_code != 2 || value.array.dtype_bits != 64 || size != count) {
            PyErr_SetString(PyExc_ValueError, "a callback of the matrix gave an array of another shape or type");
            bad = 1;
        } else {
            memcpy(to, (const char *)value.array.data + value.array.byte_offset, (size_t)count * sizeof *to);
        }
    }
    if (given) core_value_drop(&value);
    Py_XDECREF(given);
    return bad;
}

static PyObject *array_of(int64_t rows, int64_t columns, const double *from) {
    int64_t shape[2] = {rows, columns};
    core_value value;
    memset(&value, 0, sizeof value);
    PyObject *array = core_empty(shape, 2, BB_FLOAT64);
    if (!array || core_value_take(array, 1, &value)) {
        Py_XDECREF(array);
        return NULL;
    }
    memcpy(value.array.data, from, (size_t)(rows * columns) * sizeof *from);
    core_value_drop(&value);
    return array;
}

static int call_multiply(void *data, int64_t columns, const double *x, double *y) {
    system_ *s = data;
    PyEval_RestoreThread(s->watch.state);
    PyObject *v = array_of(s->matrix.rows, columns, x);
    PyObject *result = v ? PyObject_CallFunctionObjArgs(s->multiply, v, NULL) : NULL;
    int bad = take_result(result, s->matrix.rows * columns, y);
    Py_XDECREF(v);
    s->failed = s->failed || bad;
    s->watch.state = PyEval_SaveThread();
    return bad;
}

static int call_columns(void *data, int64_t count, const int64_t *list, double *result) {
    system_ *s = data;
    PyEval_RestoreThread(s->watch.state);
    PyObject *numbers = PyTuple_New(count), *given = NULL;
    for (int64_t k = 0; numbers && k < count; k++) {
        PyObject *one = PyLong_FromLongLong(list[k]);
        if (!one || PyTuple_SetItem(numbers, k, one)) Py_CLEAR(numbers);
    }
    if (numbers) given = PyObject_CallFunctionObjArgs(s->columns, numbers, NULL);
    int bad = take_result(given, s->matrix.rows * count, result);
    Py_XDECREF(numbers);
    s->failed = s->failed || bad;
    s->watch.state = PyEval_SaveThread();
    return bad;
}

static int call_diagonal(void *data, double *result) {
    system_ *s = data;
    PyEval_RestoreThread(s->watch.state);
    int bad = take_result(PyObject_CallFunctionObjArgs(s->diagonal, NULL), s->matrix.rows, result);
    s->failed = s->failed || bad;
    s->watch.state = PyEval_SaveThread();
    return bad;
}

static double call_function(void *data, double x) {
    system_ *s = data;
    PyEval_RestoreThread(s->watch.state);
    PyObject *given = s->failed ? NULL : PyObject_CallFunction(s->function, "d", x);
    double value = given ? PyFloat_AsDouble(given) : 0;
    if (!s->failed && PyErr_Occurred()) s->failed = 1;
    Py_XDECREF(given);
    s->watch.state = PyEval_SaveThread();
    return value;
}

/* ---- matrices -------------------------------------------------------------------------------------------------------------- */
static int take_kernel(system_ *s, PyObject *matrix, PyObject *report) {
    PyObject *kernel, *inputs, *ranges;
    int unknown;
    if (!PyArg_ParseTuple(matrix, "OOiO", &kernel, &inputs, &unknown, &ranges)) return -1;
    if (!PyObject_TypeCheck(kernel, core_kernel_type)) {
        PyErr_SetString(PyExc_TypeError, "a matrix begins with a Kernel");
        return -1;
    }
    core_kernel *k = (core_kernel *)(void *)kernel;
    s->framed = 1;
    if (core_frame_take(&s->f, k, inputs)) return -1;
    if (s->f.convert) return 0;
    if (core_frame_options(&s->f, ranges, NULL, NULL, NULL, report)) return -1;
    if (k->outputs != 1 || unknown < 0 || unknown >= s->f.inputs) {
        PyErr_SetString(PyExc_ValueError, "the formula must have one output, and the unknown be one of its variables");
        return -1;
    }
    s->run = s->f.options;
    s->run.progress = NULL;
    s->matrix.kernel = k->kernel;
    s->matrix.inputs = s->f.array;
    s->matrix.input_count = s->f.inputs;
    s->matrix.unknown = unknown;
    return 0;
}

static int take_callbacks(system_ *s, PyObject *matrix) {
    long long rows;
    if (!PyArg_ParseTuple(matrix, "LOOOp", &rows, &s->multiply, &s->columns, &s->diagonal, &s->matrix.single))
        return -1;
    s->matrix.rows = rows;
    s->matrix.multiply = call_multiply;
    s->matrix.entries = s->columns == Py_None ? NULL : call_columns;
    s->matrix.diagonal = s->diagonal == Py_None ? NULL : call_diagonal;
    s->matrix.data = s;
    return 0;
}

/* 0; 1 where the inputs have to be converted first; -1 with an exception */
static int system_take(system_ *s, PyObject *matrix, PyObject *options, PyObject *report) {
    memset(s, 0, sizeof *s);
    s->matrix.size = sizeof s->matrix;
    s->run = (bb_run_options){.size = sizeof s->run};
    if (!PyTuple_Check(matrix)) {
        PyErr_SetString(PyExc_TypeError, "a matrix is a tuple");
        return -1;
    }
    if (PyTuple_Size(matrix) == 4 ? take_kernel(s, matrix, report) : take_callbacks(s, matrix)) return -1;
    PyObject *threads = options ? PyDict_GetItemString(options, "threads") : NULL;
    s->run.threads = threads ? (int)PyLong_AsLong(threads) : 0;
    s->matrix.run = &s->run;
    s->watch.progress = report == Py_None ? NULL : report;
    return s->framed && s->f.convert;
}

static void system_drop(system_ *s) {
    if (s->framed) core_frame_drop(&s->f);
}

static int watch_system(void *data, int64_t iteration, double residual) {
    system_ *s = data;
    int stop = core_watch_solve(&s->watch, iteration, residual);
    if (stop) s->failed = 1;
    return stop;
}

static PyObject *not_implemented(void) {
    PyObject *result = Py_NotImplemented;
    Py_INCREF(result);
    return result;
}

/* Whether the status is one after which there is a result; else the exception is set. */
static int has_result(const system_ *s, bb_status status) {
    if (!PyErr_Occurred() && (status == BB_OK || status == BB_NO_CONVERGENCE || status == BB_INDEFINITE)) return 1;
    (void)s;
    core_fail(status == BB_OK ? BB_CANCELLED : status);
    return 0;
}

static const char *message_of(bb_status status) { return status == BB_OK ? NULL : bb_last_error(); }

/* An array to be written: *value is dropped by the caller where the answer is not NULL. */
static PyObject *new_array(const int64_t *shape, int ndim, bb_dtype dtype, core_value *value) {
    PyObject *array = core_empty(shape, ndim, dtype);
    if (array && core_value_take(array, 1, value)) Py_CLEAR(array);
    return array;
}

/* ---- solve ------------------------------------------------------------------------------------------------------------------ */
static PyObject *solve_report(const bb_solve_result *r, const double *history, int64_t room) {
    int64_t count = r->history_count < room ? r->history_count : room;
    PyObject *residuals = PyList_New(count);
    for (int64_t k = 0; residuals && k < count; k++) {
        PyObject *one = PyFloat_FromDouble(history[k]);
        if (!one || PyList_SetItem(residuals, k, one)) Py_CLEAR(residuals);
    }
    if (!residuals) return NULL;
    return Py_BuildValue("{s:L,s:L,s:d,s:d,s:s,s:L,s:d,s:d,s:s,s:N}", "iterations", (long long)r->iterations,
                         "products", (long long)r->products, "residual", r->residual, "seconds", r->seconds,
                         "precondition", preconditioners[r->precondition], "rank", (long long)r->rank, "trace_left",
                         r->trace_left, "precondition_seconds", r->precondition_seconds, "remark", r->remark, "history",
                         residuals);
}

static int solve_options(PyObject *options, bb_solve_options *o) {
    static const char *const methods[] = {"auto", "cg", "minres", NULL};
    int method = choice(options, "method", methods), precondition = choice(options, "precondition", preconditioners);
    if (method < 0 || precondition < 0) return -1;
    o->method = (bb_solve_method)method;
    o->precondition = (bb_precondition)precondition;
    o->alpha = number(options, "alpha");
    o->tolerance = number(options, "tolerance");
    o->relative = integer(options, "relative") != 0;
    o->max_iterations = integer(options, "max_iterations");
    o->rank = integer(options, "rank");
    o->memory = integer(options, "memory");
    o->seed = (uint64_t)integer(options, "seed");
    o->neighbor_count = integer(options, "neighbors");
    o->history_capacity = integer(options, "history");
    return PyErr_Occurred() ? -1 : 0;
}

/* The arrays of a call: right-hand side and solution of a matrix without a kernel, guess, clusters. */
typedef struct solve_arrays {
    core_value value[5];
    int taken;
    bb_array b, x, guess;
} solve_arrays;

static int take_array(solve_arrays *a, PyObject *object, bb_array *array) {
    core_value *value = &a->value[a->taken];
    if (core_value_take(object, 0, value)) return -1;
    a->taken++;
    *array = value->array;
    if (!value->is_number && !value->needs_conversion) return 0;
    PyErr_SetString(PyExc_TypeError, "solve: an array of floating-point numbers is expected");
    return -1;
}

/* A contiguous array of int64 of so many dimensions; its last extent. */
static int take_numbers(solve_arrays *a, PyObject *object, int ndim, const int64_t **numbers, int64_t *extent) {
    core_value *value = &a->value[a->taken];
    if (core_value_take(object, 0, value)) return -1;
    a->taken++;
    *numbers = (const int64_t *)(const void *)((const char *)value->array.data + value->array.byte_offset);
    *extent = value->array.ndim ? value->array.shape[value->array.ndim - 1] : 0;
    if (value->array.dtype_code == CODE_INT && value->array.dtype_bits == 64 && value->array.ndim == ndim) return 0;
    PyErr_SetString(PyExc_TypeError, "clusters and neighbours are contiguous arrays of int64");
    return -1;
}

/* pattern: None, labels of clusters, or (neighbours, rank) */
static int take_pattern(solve_arrays *a, PyObject *pattern, bb_solve_options *o) {
    int64_t extent;
    if (pattern == Py_None) return 0;
    if (!PyTuple_Check(pattern)) return take_numbers(a, pattern, 1, &o->clusters, &extent);
    if (take_numbers(a, PyTuple_GetItem(pattern, 0), 2, &o->neighbors, &o->neighbor_count)) return -1;
    return take_numbers(a, PyTuple_GetItem(pattern, 1), 1, &o->neighbor_rank, &extent);
}

static PyObject *run_solve(system_ *s, solve_arrays *a, bb_solve_options *o, PyObject *x) {
    bb_solve_result solved = {.size = sizeof solved};
    o->history = PyMem_Malloc(sizeof *o->history * (size_t)(o->history_capacity + 1));
    if (!o->history) return PyErr_NoMemory();
    s->watch.state = PyEval_SaveThread();
    const bb_array *b = s->matrix.kernel ? &s->matrix.inputs[s->matrix.unknown] : &a->b;
    bb_status status = bb_solve_matrix(&s->matrix, b, &a->x, o, &solved);
    PyEval_RestoreThread(s->watch.state);
    PyObject *result = NULL, *report = NULL;
    if (has_result(s, status) && (report = solve_report(&solved, o->history, o->history_capacity)))
        result = Py_BuildValue("(ONs)", x, report, message_of(status));
    PyMem_Free(o->history);
    return result;
}

PyObject *core_solve(PyObject *module, PyObject *arguments) {
    PyObject *matrix, *b, *guess, *clusters, *given, *report, *x = NULL, *result = NULL;
    system_ s;
    solve_arrays a;
    memset(&a, 0, sizeof a);
    bb_solve_options o = {.size = sizeof o, .report = watch_system, .report_data = &s};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOOOO!O:solve", &matrix, &b, &guess, &clusters, &PyDict_Type, &given, &report))
        return NULL;
    int taken = system_take(&s, matrix, given, report);
    core_value out;
    memset(&out, 0, sizeof out);
    if (taken || solve_options(given, &o)) goto end;
    if (guess != Py_None && take_array(&a, guess, &a.guess)) goto end;
    if (guess != Py_None) o.guess = &a.guess;
    if (take_pattern(&a, clusters, &o)) goto end;
    if (s.matrix.kernel) {
        core_kernel *k = (core_kernel *)(void *)PyTuple_GetItem(matrix, 0);
        if (!(x = core_frame_output(&s.f, k, 0, NULL))) goto end;
        a.x = s.f.array[s.f.inputs];
        s.matrix.inputs = s.f.array;
    } else {
        if (take_array(&a, b, &a.b)) goto end;
        if (!(x = new_array(a.b.shape, a.b.ndim, a.b.dtype_bits == 64 ? BB_FLOAT64 : BB_FLOAT32, &out))) goto end;
        a.x = out.array;
    }
    result = run_solve(&s, &a, &o, x);
end:
    if (taken == 1) result = not_implemented();
    if (!s.matrix.kernel && x) core_value_drop(&out);
    Py_XDECREF(x);
    while (a.taken) core_value_drop(&a.value[--a.taken]);
    system_drop(&s);
    return result;
}

/* ---- traces ------------------------------------------------------------------------------------------------------------------ */
static int trace_options(PyObject *options, bb_trace_options *o) {
    int precondition = choice(options, "precondition", preconditioners);
    if (precondition < 0) return -1;
    o->precondition = (bb_precondition)precondition;
    o->alpha = number(options, "alpha");
    o->tolerance = number(options, "tolerance");
    o->probes = integer(options, "probes");
    o->max_probes = integer(options, "max_probes");
    o->steps = integer(options, "steps");
    o->dense_rows = integer(options, "dense_rows");
    o->rank = integer(options, "rank");
    o->memory = integer(options, "memory");
    o->seed = (uint64_t)integer(options, "seed");
    if (o->probes == 0) o->probes = 16;
    return PyErr_Occurred() ? -1 : 0;
}

enum { VALUES, ERRORS, LEFT, RIGHT, TRACE_ARRAYS };
typedef struct trace_arrays {
    PyObject *array[TRACE_ARRAYS];
    core_value value[TRACE_ARRAYS];
    double *data[TRACE_ARRAYS];
} trace_arrays;

/* Batches as the inputs say; rows as the unknown says. */
static int new_trace_arrays(system_ *s, PyObject *matrix, trace_arrays *a, int64_t probes, int vectors) {
    int64_t shape[CORE_MAX_DIMS + 2] = {0};
    int ndim = 2;
    shape[0] = s->matrix.rows;
    if (s->matrix.kernel) {
        core_kernel *k = (core_kernel *)(void *)PyTuple_GetItem(matrix, 0);
        bb_status status = bb_output_shape(k->kernel, s->f.array, s->f.inputs, &s->run, 0, shape, CORE_MAX_DIMS, &ndim);
        if (status != BB_OK) return core_fail(status), -1;
    }
    for (int k = 0; k < TRACE_ARRAYS; k++) {
        if (k >= LEFT && !vectors) continue;
        int64_t own[CORE_MAX_DIMS + 2];
        memcpy(own, shape, sizeof own);
        own[ndim - 1] = probes;
        a->array[k] = new_array(own, k >= LEFT ? ndim : ndim - 2, BB_FLOAT64, &a->value[k]);
        if (!a->array[k]) return -1;
        a->data[k] = (double *)(void *)((char *)a->value[k].array.data + a->value[k].array.byte_offset);
    }
    return 0;
}

static PyObject *trace_report(const bb_trace_result *r) {
    return Py_BuildValue("{s:L,s:L,s:L,s:d,s:d,s:d,s:O,s:s,s:L,s:d,s:d,s:d,s:s}", "probes", (long long)r->probes,
                         "steps", (long long)r->steps, "products", (long long)r->products, "statistical",
                         r->statistical, "quadrature", r->quadrature, "rounding", r->rounding, "exact",
                         r->exact ? Py_True : Py_False, "precondition", preconditioners[r->precondition], "rank",
                         (long long)r->rank, "trace_left", r->trace_left, "precondition_seconds",
                         r->precondition_seconds, "seconds", r->seconds, "remark", r->remark);
}

PyObject *core_trace(PyObject *module, PyObject *arguments) {
    PyObject *matrix, *function, *given, *report, *result = NULL;
    int vectors;
    system_ s;
    trace_arrays a;
    memset(&a, 0, sizeof a);
    bb_trace_options o = {.size = sizeof o, .report = watch_system, .report_data = &s};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OOpO!O:trace", &matrix, &function, &vectors, &PyDict_Type, &given, &report))
        return NULL;
    int taken = system_take(&s, matrix, given, report), logdet = PyUnicode_Check(function); /* "logdet" */
    if (taken || trace_options(given, &o) || new_trace_arrays(&s, matrix, &a, o.probes, vectors && logdet)) goto end;
    if (!logdet && function != Py_None) {
        s.function = function;
        o.function = call_function;
        o.function_data = &s;
    }
    o.left = a.data[LEFT];
    o.right = a.data[RIGHT];
    bb_trace_result found = {.size = sizeof found};
    s.watch.state = PyEval_SaveThread();
    bb_status status = (logdet ? bb_logdet : bb_trace)(&s.matrix, &o, a.data[VALUES], a.data[ERRORS], &found);
    PyEval_RestoreThread(s.watch.state);
    if (!has_result(&s, status)) goto end;
    PyObject *told = trace_report(&found), *none = Py_None;
    if (told)
        result = Py_BuildValue("(OOOONs)", a.array[VALUES], a.array[ERRORS], a.array[LEFT] ? a.array[LEFT] : none,
                               a.array[RIGHT] ? a.array[RIGHT] : none, told, message_of(status));
end:
    if (taken == 1) result = not_implemented();
    for (int k = 0; k < TRACE_ARRAYS; k++) {
        if (a.array[k]) core_value_drop(&a.value[k]);
        Py_XDECREF(a.array[k]);
    }
    system_drop(&s);
    return result;
}

/* ---- eigenpairs --------------------------------------------------------------------------------------------------------------- */
PyObject *core_eigen(PyObject *module, PyObject *arguments) {
    static const char *const which[] = {"LA", "SA", "LM", NULL};
    PyObject *matrix, *given, *report, *array[2] = {NULL, NULL}, *result = NULL;
    core_value value[2];
    memset(value, 0, sizeof value);
    long long count;
    system_ s;
    bb_eigen_options o = {.size = sizeof o, .report = watch_system, .report_data = &s};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "OLO!O:eigen", &matrix, &count, &PyDict_Type, &given, &report)) return NULL;
    int taken = system_take(&s, matrix, given, report);
    if (taken) goto end;
    o.count = count;
    int chosen = choice(given, "which", which);
    o.which = (bb_eigen_which)chosen;
    o.tolerance = number(given, "tolerance");
    o.block = integer(given, "block");
    o.basis = integer(given, "basis");
    o.max_products = integer(given, "max_products");
    o.memory = integer(given, "memory");
    o.seed = (uint64_t)integer(given, "seed");
    if (PyErr_Occurred() || chosen < 0) goto end;
    int64_t rows = integer(given, "rows"), shape[2] = {count < 0 ? 0 : count, 0}, both[2] = {rows, shape[0]};
    if (!(array[0] = new_array(shape, 1, BB_FLOAT64, &value[0]))) goto end;
    if (!(array[1] = new_array(both, 2, BB_FLOAT64, &value[1]))) goto end;
    bb_eigen_result found = {.size = sizeof found};
    s.watch.state = PyEval_SaveThread();
    bb_status status = bb_eigen(&s.matrix, &o, value[0].array.data, value[1].array.data, &found);
    PyEval_RestoreThread(s.watch.state);
    if (!has_result(&s, status)) goto end;
    PyObject *told = Py_BuildValue("{s:L,s:d,s:d,s:s}", "products", (long long)found.products, "residual",
                                   found.residual, "seconds", found.seconds, "remark", found.remark);
    if (told) result = Py_BuildValue("(OONs)", array[0], array[1], told, message_of(status));
end:
    if (taken == 1) result = not_implemented();
    for (int k = 0; k < 2; k++) {
        if (array[k]) core_value_drop(&value[k]);
        Py_XDECREF(array[k]);
    }
    system_drop(&s);
    return result;
}
