/* program.c: programs from text and from lists of instructions. */
#include "core.h"

#include <string.h>

static const char *const place_name[4] = {"p", "i", "j", "ij"};

/* ---- wrapping ------------------------------------------------------------------------------------------------------- */
PyObject *core_program_wrap(bb_program *program) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(core_program_type, Py_tp_alloc);
    core_program *self = (core_program *)(void *)allocate(core_program_type, 0);
    if (self)
        self->program = program;
    else
        bb_program_release(program);
    return (PyObject *)self;
}

static void program_free(core_program *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    bb_program_release(self->program);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *refuse_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments, (void)keywords;
    PyErr_Format(PyExc_TypeError, "%R is made by parse, build, grad or compile", (PyObject *)type);
    return NULL;
}

/* ---- text ------------------------------------------------------------------------------------------------------------- */
PyObject *core_parse(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *formula;
    PyObject *declarations;
    if (!PyArg_ParseTuple(arguments, "sO!:parse", &formula, &PyTuple_Type, &declarations)) return NULL;
    Py_ssize_t count = PyTuple_Size(declarations);
    const char **text = PyMem_Malloc(sizeof *text * (size_t)(count + 1));
    if (!text) return PyErr_NoMemory();
    for (Py_ssize_t k = 0; k < count; k++) {
        text[k] = PyUnicode_AsUTF8AndSize(PyTuple_GetItem(declarations, k), NULL);
        if (!text[k]) {
            PyMem_Free(text);
            return NULL;
        }
    }
    bb_program *program = NULL;
    bb_context *context = core_context();
    bb_status status = context ? bb_program_parse(context, formula, text, (int)count, &program) : BB_SYSTEM;
    core_context_grew((Py_ssize_t)strlen(formula));
    PyMem_Free(text);
    return status == BB_OK ? core_program_wrap(program) : core_fail(status);
}

/* ---- instructions ------------------------------------------------------------------------------------------------------- */
enum { MAX_OPERANDS = 16, MAX_INTEGERS = 256 };

typedef struct builder {
    bb_context *context;
    bb_expr *expr;
    Py_ssize_t count;
    bb_variable_info *signature;
    Py_ssize_t variables;
} builder;

static int integers_of(PyObject *tuple, int64_t *integers) {
    Py_ssize_t count = PyTuple_Size(tuple);
    if (count > MAX_INTEGERS) {
        PyErr_Format(PyExc_ValueError, "%zd integer parameters: at most %d are supported", count, MAX_INTEGERS);
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++) {
        integers[k] = PyLong_AsLongLong(PyTuple_GetItem(tuple, k));
        if (integers[k] == -1 && PyErr_Occurred()) return -1;
    }
    return (int)count;
}

static bb_expr expr_at(const builder *b, PyObject *index) {
    Py_ssize_t k = PyLong_AsSsize_t(index);
    if (k >= 0 && k < b->count) return b->expr[k];
    if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "an instruction names one that is not before it");
    return NULL;
}

/* An instruction: a position of the signature (int), a number (float), or (operation, operands, integers). */
static bb_expr instruction(const builder *b, PyObject *item) {
    if (PyLong_Check(item)) {
        Py_ssize_t position = PyLong_AsSsize_t(item);
        if (position < 0 || position >= b->variables) {
            if (!PyErr_Occurred()) PyErr_SetString(PyExc_IndexError, "no such position in the signature");
            return NULL;
        }
        const bb_variable_info *v = &b->signature[position];
        return bb_variable(b->context, (int)position, v->place, v->dim);
    }
    if (PyFloat_Check(item)) return bb_number(b->context, PyFloat_AsDouble(item));
    const char *name;
    PyObject *operands, *ints;
    if (!PyTuple_Check(item) ||
        !PyArg_ParseTuple(item, "sO!O!", &name, &PyTuple_Type, &operands, &PyTuple_Type, &ints)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "not an instruction");
        return NULL;
    }
    bb_expr operand[MAX_OPERANDS];
    int64_t integer[MAX_INTEGERS];
    Py_ssize_t count = PyTuple_Size(operands);
    if (count > MAX_OPERANDS) {
        PyErr_Format(PyExc_ValueError, "%zd operands", count);
        return NULL;
    }
    for (Py_ssize_t k = 0; k < count; k++)
        if (!(operand[k] = expr_at(b, PyTuple_GetItem(operands, k)))) return NULL;
    int integers = integers_of(ints, integer);
    return integers < 0 ? NULL : bb_apply(b->context, name, operand, (int)count, integer, integers);
}

/* An output: (reduction or "", axis, formula, weight or -1, K). */
static bb_expr output_of(const builder *b, PyObject *item) {
    const char *name;
    int axis;
    Py_ssize_t formula, weight;
    long long k;
    if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "sinnL", &name, &axis, &formula, &weight, &k)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "not an output");
        return NULL;
    }
    if (formula < 0 || formula >= b->count || weight >= b->count) {
        PyErr_SetString(PyExc_IndexError, "an output names an instruction that does not exist");
        return NULL;
    }
    if (!name[0]) return b->expr[formula];
    return bb_reduce(b->context, name, (bb_axis)axis, b->expr[formula], weight < 0 ? NULL : b->expr[weight], k);
}

static int read_signature(builder *b, PyObject *signature) {
    for (Py_ssize_t k = 0; k < b->variables; k++) {
        int place;
        long long dim;
        if (!PyArg_ParseTuple(PyTuple_GetItem(signature, k), "iL", &place, &dim)) return -1;
        b->signature[k] = (bb_variable_info){.name = "", .place = (bb_axis)place, .dim = dim};
    }
    return 0;
}

PyObject *core_build(PyObject *module, PyObject *arguments) {
    (void)module;
    PyObject *code, *signature, *outputs, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "O!O!O!:build", &PyList_Type, &code, &PyTuple_Type, &signature, &PyTuple_Type,
                          &outputs))
        return NULL;
    Py_ssize_t size = PyList_Size(code), wanted = PyTuple_Size(outputs);
    builder b = {.context = core_context(), .variables = PyTuple_Size(signature)};
    if (!b.context) return NULL;
    b.expr = PyMem_Malloc(sizeof *b.expr * (size_t)(size + wanted + 1));
    b.signature = PyMem_Malloc(sizeof *b.signature * (size_t)(b.variables + 1));
    bb_status status = BB_OK;
    if (!b.expr || !b.signature) {
        PyErr_NoMemory();
        goto end;
    }
    if (read_signature(&b, signature)) goto end;
    core_context_grew(size + b.variables + wanted);
    for (; b.count < size; b.count++)
        if (!(b.expr[b.count] = instruction(&b, PyList_GetItem(code, b.count)))) goto failed;
    for (Py_ssize_t k = 0; k < wanted; k++)
        if (!(b.expr[size + k] = output_of(&b, PyTuple_GetItem(outputs, k)))) goto failed;
    bb_program *program = NULL;
    status = bb_program_new(b.context, b.signature, (int)b.variables, b.expr + size, (int)wanted, &program);
    result = status == BB_OK ? core_program_wrap(program) : core_fail(status);
    goto end;
failed:
    if (!PyErr_Occurred()) core_fail_null();
end:
    PyMem_Free(b.expr);
    PyMem_Free(b.signature);
    return result;
}

/* The dimension of an operation's result: of the operation on variables of these dimensions. */
PyObject *core_dim(PyObject *module, PyObject *arguments) {
    (void)module;
    const char *name;
    PyObject *dims, *ints;
    if (!PyArg_ParseTuple(arguments, "sO!O!:dim", &name, &PyTuple_Type, &dims, &PyTuple_Type, &ints)) return NULL;
    int64_t dim[MAX_INTEGERS], integer[MAX_INTEGERS];
    bb_expr operand[MAX_OPERANDS];
    int count = integers_of(dims, dim), integers = integers_of(ints, integer);
    if (count < 0 || integers < 0) return NULL;
    if (count > MAX_OPERANDS) {
        PyErr_SetString(PyExc_ValueError, "too many operands");
        return NULL;
    }
    bb_context *context = core_context();
    if (!context) return NULL;
    core_context_grew(2 * count + 1);
    for (int k = 0; k < count; k++) operand[k] = bb_variable(context, k, BB_I, dim[k]);
    bb_expr result = bb_apply(context, name, operand, count, integer, integers);
    return result ? PyLong_FromLongLong(bb_expr_dim(result)) : core_fail_null();
}

/* ---- what a program says and gives ---------------------------------------------------------------------------------------- */
static PyObject *program_variables(core_program *self, void *none) {
    (void)none;
    int count = bb_program_variable_count(self->program);
    PyObject *list = PyList_New(0);
    for (int k = 0; list && k < count; k++) {
        bb_variable_info info;
        bb_status status = bb_program_variable(self->program, k, &info);
        PyObject *row = status == BB_OK ? Py_BuildValue("(ssL)", info.name ? info.name : "", place_name[info.place & 3],
                                                        (long long)info.dim)
                                        : core_fail(status);
        if (!row || PyList_Append(list, row)) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *program_lists(core_program *self, void *none) {
    (void)none;
    int count = bb_program_variable_count(self->program);
    PyObject *list = PyList_New(0);
    for (int k = 0; list && k < count; k++) {
        bb_variable_info info;
        if (bb_program_variable(self->program, k, &info) != BB_OK || !info.is_index) continue;
        PyObject *position = PyLong_FromLong(k);
        if (!position || PyList_Append(list, position)) Py_CLEAR(list);
        Py_XDECREF(position);
    }
    return list;
}

static PyObject *program_outputs(core_program *self, void *none) {
    (void)none;
    int count = bb_program_output_count(self->program);
    PyObject *list = PyList_New(0);
    for (int k = 0; list && k < count; k++) {
        bb_output_info info;
        bb_status status = bb_program_output(self->program, k, &info);
        PyObject *row = status == BB_OK ? Py_BuildValue("(sLO)", place_name[info.place & 3], (long long)info.dim,
                                                        info.is_index ? Py_True : Py_False)
                                        : core_fail(status);
        if (!row || PyList_Append(list, row)) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}

static PyObject *program_cost(core_program *self, void *none) {
    (void)none;
    return PyFloat_FromDouble(bb_program_cost(self->program));
}

static PyObject *program_target(core_program *self, PyObject *arguments) {
    long long m, n, batches = 1;
    const char *dtype = "float32";
    if (!PyArg_ParseTuple(arguments, "LL|Ls:target", &m, &n, &batches, &dtype)) return NULL;
    char *why;
    bb_status status = bb_program_target(self->program, strcmp(dtype, "float64") ? BB_FLOAT32 : BB_FLOAT64, m, n,
                                         batches, NULL, &why);
    if (status != BB_OK) return core_fail(status);
    PyObject *made = PyUnicode_FromString(why);
    bb_free(why);
    return made;
}

static PyObject *program_show(core_program *self, PyObject *arguments) {
    const char *what = "parsed", *dtype = "float32";
    if (!PyArg_ParseTuple(arguments, "|ss:show", &what, &dtype)) return NULL;
    char *text = NULL;
    bb_status status = bb_program_show(self->program, what, strcmp(dtype, "float64") ? BB_FLOAT32 : BB_FLOAT64, &text);
    if (status != BB_OK) return core_fail(status);
    PyObject *result = PyUnicode_DecodeUTF8(text, (Py_ssize_t)strlen(text), "replace");
    bb_free(text);
    return result;
}

typedef bb_status (*derive)(const bb_program *, const int *, int, const int *, int, bb_program **);

static PyObject *derived(core_program *self, PyObject *arguments, derive function) {
    PyObject *variables, *forward = NULL;
    int position[MAX_INTEGERS], outputs[MAX_INTEGERS];
    int64_t number[MAX_INTEGERS];
    if (!PyArg_ParseTuple(arguments, "O!|O!", &PyTuple_Type, &variables, &PyTuple_Type, &forward)) return NULL;
    int count = integers_of(variables, number);
    for (int k = 0; k < count; k++) position[k] = (int)number[k];
    int forward_count = count < 0 || !forward ? 0 : integers_of(forward, number);
    if (count < 0 || forward_count < 0) return NULL;
    for (int k = 0; k < forward_count; k++) outputs[k] = (int)number[k];
    bb_program *program = NULL;
    bb_status status = function(self->program, position, count, outputs, forward_count, &program);
    return status == BB_OK ? core_program_wrap(program) : core_fail(status);
}

static PyObject *program_grad(core_program *self, PyObject *arguments) { return derived(self, arguments, bb_grad); }
static PyObject *program_diff(core_program *self, PyObject *arguments) { return derived(self, arguments, bb_diff); }

static bb_status select_outputs(const bb_program *program, const int *outputs, int count, const int *none, int zero,
                                bb_program **selected) {
    (void)none, (void)zero;
    return bb_program_select(program, outputs, count, selected);
}
static PyObject *program_select(core_program *self, PyObject *arguments) {
    return derived(self, arguments, select_outputs);
}

static PyMethodDef program_methods[] = {
    {"target", (PyCFunction)(void (*)(void))program_target, METH_VARARGS,
     "target(m, n, batches=1, dtype='float32'): what an automatic target takes for arrays of the host, and why"},
    {"show", (PyCFunction)(void (*)(void))program_show, METH_VARARGS,
     "show(what='parsed', dtype='float32'): text; what is parsed, dag, plan or source"},
    {"grad", (PyCFunction)(void (*)(void))program_grad, METH_VARARGS,
     "grad(variables, forward=()): the program of the gradient"},
    {"diff", (PyCFunction)(void (*)(void))program_diff, METH_VARARGS,
     "diff(variables, forward=()): the program of the tangent"},
    {"select", (PyCFunction)(void (*)(void))program_select, METH_VARARGS,
     "select(outputs): the program of some of the outputs"},
    {"compile", (PyCFunction)(void (*)(void))core_compile, METH_VARARGS | METH_KEYWORDS,
     "compile(target='auto', policy='auto', sum_scheme='auto', accumulate_double=False) -> Kernel"},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef program_properties[] = {{"variables", (getter)program_variables, NULL, "[(name, place, dim)]", NULL},
                                           {"lists", (getter)program_lists, NULL, "positions of variables that are int64 indices", NULL},
                                           {"outputs", (getter)program_outputs, NULL, "[(place, dim, is_index)]", NULL},
                                           {"cost", (getter)program_cost, NULL, "operations per pair", NULL},
                                           {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot program_slots[] = {{Py_tp_dealloc, (void *)program_free},
                                      {Py_tp_new, (void *)refuse_new},
                                      {Py_tp_methods, program_methods},
                                      {Py_tp_getset, program_properties},
                                      {Py_tp_doc, "A signature and a list of outputs."},
                                      {0, NULL}};
PyType_Spec core_program_spec = {"benben._core.Program", sizeof(core_program), 0, Py_TPFLAGS_DEFAULT, program_slots};
