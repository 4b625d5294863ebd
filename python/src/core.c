/* core.c: the module: its context, its exceptions, the tables and what the library says of the machine. */
#include "frame.h"

#include <string.h>

enum { STATUS_COUNT = 17, CONTEXT_NODES = 200000 };

PyTypeObject *core_program_type, *core_kernel_type;
static bb_context *context;
static Py_ssize_t context_nodes;
static PyObject *exception[STATUS_COUNT]; /* from benben._errors */

/* ---- failures -------------------------------------------------------------------------------------------------- */
static PyObject *raise_message(bb_status status, const char *message) {
    if (PyErr_Occurred()) return NULL; /* a callback of the caller's raised: that is the reason */
    if (status == BB_OUT_OF_MEMORY) return PyErr_NoMemory();
    PyObject *type =
        (int)status > 0 && (int)status < STATUS_COUNT && exception[status] ? exception[status] : PyExc_RuntimeError;
    PyObject *text = PyUnicode_DecodeUTF8(message, (Py_ssize_t)strlen(message), "replace");
    if (text) PyErr_SetObject(type, text);
    Py_XDECREF(text);
    return NULL;
}

PyObject *core_fail(bb_status status) { return raise_message(status, bb_last_error()); }

/* A builder that gives NULL keeps a message but no code: bb_program_new passes the code on. */
PyObject *core_fail_null(void) {
    char message[1024];
    strncpy(message, bb_last_error(), sizeof message - 1);
    message[sizeof message - 1] = '\0';
    bb_expr none = NULL;
    bb_program *program = NULL;
    bb_status status = bb_program_new(context, NULL, 0, &none, 1, &program);
    return raise_message(status == BB_OK ? BB_INTERNAL : status, message);
}

/* ---- the context: expressions live as long as it does, so that one that has seen many formulas is replaced; programs
 * keep theirs alive. ------------------------------------------------------------------------------------------------ */
bb_context *core_context(void) {
    if (context && context_nodes > CONTEXT_NODES) {
        bb_context_release(context);
        context = NULL;
    }
    if (!context) {
        bb_status status = bb_context_new(&context);
        context_nodes = 0;
        if (status != BB_OK) {
            core_fail(status);
            context = NULL;
        }
    }
    return context;
}

void core_context_grew(Py_ssize_t nodes) { context_nodes += nodes; }

/* ---- tables and the machine -------------------------------------------------------------------------------------- */
static PyObject *core_operations(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    PyObject *list = PyList_New(0);
    for (int k = 0; list && k < bb_op_count(); k++) {
        bb_op_info info;
        bb_status status = bb_op(k, &info);
        PyObject *row = status == BB_OK ? Py_BuildValue("{s:s,s:s,s:s,s:s,s:i,s:i,s:d,s:O}", "name", info.name, "alias",
                                                        info.alias, "kind", info.kind, "doc", info.doc, "arity",
                                                        info.arity, "integers", info.integers, "cost", info.cost,
                                                        "differentiable", info.differentiable ? Py_True : Py_False)
                                        : core_fail(status);
        if (!row || PyList_Append(list, row)) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *core_reductions(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    PyObject *list = PyList_New(0);
    for (int k = 0; list && k < bb_reduction_count(); k++) {
        bb_reduction_info info;
        bb_status status = bb_reduction(k, &info);
        PyObject *row =
            status == BB_OK
                ? Py_BuildValue("{s:s,s:s,s:s,s:O,s:i,s:O,s:i}", "name", info.name, "alias", info.alias, "doc",
                                info.doc, "takes_k", info.takes_k ? Py_True : Py_False, "formulas", info.formulas,
                                "is_index", info.is_index ? Py_True : Py_False, "outputs", info.outputs)
                : core_fail(status);
        if (!row || PyList_Append(list, row)) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *core_statistics(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    bb_statistics s = {.size = sizeof s};
    bb_status status = bb_get_statistics(&s);
    if (status != BB_OK) return core_fail(status);
    return Py_BuildValue("{s:L,s:L,s:L,s:L,s:L}", "compiles", (long long)s.compiles, "disk_hits",
                         (long long)s.disk_hits, "memory_hits", (long long)s.memory_hits, "failures",
                         (long long)s.failures, "peak_memory", (long long)s.peak_memory);
}

static PyObject *core_doctor(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    char *text = NULL;
    bb_status status;
    Py_BEGIN_ALLOW_THREADS status = bb_doctor(&text);
    Py_END_ALLOW_THREADS if (status != BB_OK) return core_fail(status);
    PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    bb_free(text);
    return result;
}

static PyObject *core_cache_info(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    char *path = NULL;
    int64_t entries = 0, bytes = 0;
    bb_status status = bb_cache_info(&path, &entries, &bytes);
    if (status != BB_OK) return core_fail(status);
    PyObject *result = Py_BuildValue("(zLL)", path, (long long)entries, (long long)bytes);
    bb_free(path);
    return result;
}

static PyObject *core_cache_clear(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    bb_status status = bb_cache_clear();
    if (status != BB_OK) return core_fail(status);
    Py_RETURN_NONE;
}

/* ---- the module ----------------------------------------------------------------------------------------------------- */
static PyMethodDef methods[] = {
    {"parse", core_parse, METH_VARARGS, "parse(formula, declarations) -> Program"},
    {"build", core_build, METH_VARARGS, "build(instructions, signature, outputs) -> Program"},
    {"dim", core_dim, METH_VARARGS, "dim(operation, dims, integers) -> dimension of its result"},
    {"operations", core_operations, METH_NOARGS, "The table of operations, a dictionary for each."},
    {"reductions", core_reductions, METH_NOARGS, "The table of reductions, a dictionary for each."},
    {"solve", core_solve, METH_VARARGS,
     "solve(matrix, b, guess, clusters, options, report) -> (a, result, message or None)"},
    {"trace", core_trace, METH_VARARGS,
     "trace(matrix, function, vectors, options, report) -> (values, errors, left, right, result, message)"},
    {"eigen", core_eigen, METH_VARARGS, "eigen(matrix, count, options, report) -> (values, vectors, result, message)"},
    {"statistics", core_statistics, METH_NOARGS, "Counts of compiles and of what the cache had, peak memory."},
    {"doctor", core_doctor, METH_NOARGS, "Text about what was found on this machine and what is missing."},
    {"devices", core_devices, METH_VARARGS,
     "devices(target): (target, number, name, bytes, float64, compute capability) of each; target: 'cuda' or 'opencl'"},
    {"cache_info", core_cache_info, METH_NOARGS, "(folder or None, entries, bytes) of the cache of kernels."},
    {"cache_clear", core_cache_clear, METH_NOARGS, "Empties the cache of kernels."},
    {NULL, NULL, 0, NULL}};

static int take_exceptions(void) {
    PyObject *errors = PyImport_ImportModule("benben._errors");
    PyObject *list = errors ? PyObject_GetAttrString(errors, "BY_STATUS") : NULL;
    Py_XDECREF(errors);
    for (Py_ssize_t k = 0; list && k < STATUS_COUNT; k++) {
        PyObject *type = PySequence_GetItem(list, k);
        if (!type) Py_CLEAR(list);
        exception[k] = type;
    }
    Py_XDECREF(list);
    return list ? 0 : -1;
}

static int add_type(PyObject *module, const char *name, PyType_Spec *spec, PyTypeObject **type) {
    PyObject *made = PyType_FromSpec(spec);
    if (!made) return -1;
    *type = (PyTypeObject *)made;
    Py_INCREF(made);
    if (PyModule_AddObject(module, name, made) == 0) return 0;
    Py_DECREF(made);
    return -1;
}

static int execute(PyObject *module) {
    if (take_exceptions()) return -1;
    if (add_type(module, "Program", &core_program_spec, &core_program_type)) return -1;
    if (add_type(module, "Kernel", &core_kernel_spec, &core_kernel_type)) return -1;
    if (add_type(module, "DeviceArray", &core_device_array_spec, &core_device_array_type)) return -1;
    if (PyModule_AddStringConstant(module, "version", bb_version())) return -1;
    return core_kernel_ready(module);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, (void *)execute}, {0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                        "_core",
                                        "The C library Benben: programs, kernels, arrays.",
                                        0,
                                        methods,
                                        slots,
                                        NULL,
                                        NULL,
                                        NULL};
PyMODINIT_FUNC PyInit__core(void);
PyMODINIT_FUNC PyInit__core(void) { return PyModuleDef_Init(&definition); }
