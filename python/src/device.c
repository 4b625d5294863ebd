/* device.c: arrays of a CUDA device that come without a library to allocate results with. What has
 * __cuda_array_interface__ (Numba, CuPy, PyCUDA ...; version 2 or 3) is taken in place, on the stream that it names.
 * Results are DeviceArrays, memory of our own that speaks that interface and DLPack; where the caller's library takes
 * those (its array namespace, or its module, has from_dlpack), they become arrays of that library. */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

PyTypeObject *core_device_array_type;

enum { LEGACY_STREAM = 1 };

/* ---- __cuda_array_interface__ ----------------------------------------------------------------------------------------- */
static int take_typestr(PyObject *interface, core_value *value) {
    PyObject *typestr = PyDict_GetItemString(interface, "typestr");
    char text[8] = "";
    PyObject *ascii = typestr && PyUnicode_Check(typestr) ? PyUnicode_AsASCIIString(typestr) : NULL;
    if (ascii && PyBytes_Size(ascii) < (Py_ssize_t)sizeof text) strcpy(text, PyBytes_AsString(ascii));
    Py_XDECREF(ascii);
    PyErr_Clear();
    int bytes = text[0] && text[1] ? (int)strtol(text + 2, NULL, 10) : 0;
    if ((text[0] != '<' && text[0] != '|' && text[0] != '=') || bytes < 1 || bytes > 16) {
        PyErr_Format(PyExc_TypeError, "__cuda_array_interface__: the typestr %R is none that can be computed with",
                     typestr ? typestr : Py_None);
        return -1;
    }
    value->array.dtype_lanes = 1;
    value->array.dtype_bits = (uint8_t)(8 * bytes);
    value->array.dtype_code = text[1] == 'f' ? 2 : CODE_INT;
    value->needs_conversion = text[1] != 'f' || bytes < 2 || bytes > 8;
    return bytes;
}

/* A tuple of at most CORE_MAX_DIMS integers; their number, or -1. */
static int take_tuple(PyObject *tuple, int64_t *to, const char *what) {
    Py_ssize_t count = tuple && PyTuple_Check(tuple) ? PyTuple_Size(tuple) : -1;
    if (count < 0 || count > CORE_MAX_DIMS) {
        PyErr_Format(PyExc_ValueError, "%s of an array: expected a tuple of at most %d integers", what,
                     (int)CORE_MAX_DIMS);
        return -1;
    }
    for (Py_ssize_t k = 0; k < count; k++) to[k] = PyLong_AsLongLong(PyTuple_GetItem(tuple, k));
    return PyErr_Occurred() ? -1 : (int)count;
}

static int take_layout(PyObject *interface, core_value *value) {
    int bytes = take_typestr(interface, value);
    int ndim = bytes < 0 ? -1 : take_tuple(PyDict_GetItemString(interface, "shape"), value->shape, "shape");
    if (ndim < 0) return -1;
    value->array.ndim = ndim;
    value->array.shape = value->shape;
    PyObject *strides = PyDict_GetItemString(interface, "strides");
    if (!strides || strides == Py_None) return 0;
    if (take_tuple(strides, value->strides, "strides") != ndim) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "__cuda_array_interface__: as many strides as extents are expected");
        return -1;
    }
    for (int k = 0; k < ndim; k++) {
        if (value->strides[k] % bytes) {
            PyErr_SetString(PyExc_ValueError, "__cuda_array_interface__: strides are no multiples of the element");
            return -1;
        }
        value->strides[k] /= bytes;
    }
    value->array.strides = value->strides;
    return 0;
}

/* None: nothing to wait for. 1: the default stream, which is NULL here. */
static int take_stream(PyObject *interface, core_value *value) {
    PyObject *stream = PyDict_GetItemString(interface, "stream");
    if (!stream || stream == Py_None) return 0;
    value->stream = PyLong_AsVoidPtr(stream);
    value->has_stream = 1;
    if ((uintptr_t)value->stream == LEGACY_STREAM) value->stream = NULL;
    return PyErr_Occurred() ? -1 : 0;
}

int core_cuda_stream(PyObject *object, core_value *value) {
    PyObject *interface = PyObject_GetAttrString(object, "__cuda_array_interface__");
    PyErr_Clear(); /* tensors on the processor have none */
    int failed = interface && PyDict_Check(interface) && take_stream(interface, value);
    Py_XDECREF(interface);
    return failed ? -1 : 0;
}

static int take_interface(PyObject *interface, int writable, core_value *value) {
    PyObject *mask = PyDict_GetItemString(interface, "mask"), *data = PyDict_GetItemString(interface, "data");
    if (mask && mask != Py_None) {
        PyErr_SetString(PyExc_ValueError, "__cuda_array_interface__: an array with a mask: fill or drop what is missing");
        return -1;
    }
    if (!data || !PyTuple_Check(data) || PyTuple_Size(data) != 2) {
        PyErr_SetString(PyExc_ValueError, "__cuda_array_interface__: data: expected (pointer, read only)");
        return -1;
    }
    if (writable && PyObject_IsTrue(PyTuple_GetItem(data, 1))) {
        PyErr_SetString(PyExc_ValueError, "an output that is read only");
        return -1;
    }
    value->array.data = PyLong_AsVoidPtr(PyTuple_GetItem(data, 0));
    value->array.device_type = DEVICE_CUDA;
    if (PyErr_Occurred() || take_layout(interface, value)) return -1;
    return take_stream(interface, value);
}

/* The interface does not name the device: whose memory it is, the driver knows. */
int core_cuda_take(PyObject *object, int writable, core_value *value) {
    PyObject *interface = PyObject_GetAttrString(object, "__cuda_array_interface__");
    if (!interface) return -1;
    int failed = -1;
    if (PyDict_Check(interface))
        failed = take_interface(interface, writable, value);
    else
        PyErr_SetString(PyExc_TypeError, "__cuda_array_interface__ is no dictionary");
    Py_DECREF(interface);
    if (failed) return -1;
    int number = 0;
    bb_status status = value->array.data ? bb_device_of(value->array.data, &number) : BB_OK;
    if (status != BB_OK) {
        core_fail(status);
        return -1;
    }
    value->array.device_id = number;
    return 0;
}

/* ---- arrays of our own ------------------------------------------------------------------------------------------------ */
typedef struct device_array {
    PyObject_HEAD void *memory;
    PyObject *base; /* whose memory it is, or NULL: its own */
    void *stream;   /* that wrote it last */
    int number, ndim;
    bb_dtype dtype;
    int64_t shape[CORE_MAX_DIMS + 2];
} device_array;

static const char *const type_text[] = {
    [BB_FLOAT32] = "<f4", [BB_FLOAT64] = "<f8", [BB_FLOAT16] = "<f2", [BB_BFLOAT16] = "<V2", [BB_INT64] = "<i8"};

static bb_array array_of(const device_array *self) {
    bb_array a = bb_array_of(self->memory, self->dtype, self->ndim, self->shape);
    a.device_type = DEVICE_CUDA;
    a.device_id = self->number;
    return a;
}

static int64_t bytes_of(const device_array *self) {
    int64_t bytes = array_of(self).dtype_bits / 8;
    for (int k = 0; k < self->ndim; k++) bytes *= self->shape[k];
    return bytes;
}

static device_array *new_array(int number, void *stream, const int64_t *shape, int ndim, bb_dtype dtype) {
    allocfunc allocate = (allocfunc)PyType_GetSlot(core_device_array_type, Py_tp_alloc);
    device_array *self = (device_array *)(void *)allocate(core_device_array_type, 0);
    if (!self) return NULL;
    self->number = number, self->ndim = ndim, self->dtype = dtype, self->stream = stream;
    memcpy(self->shape, shape, (size_t)ndim * sizeof *shape);
    return self;
}

PyObject *core_device_empty(int number, void *stream, const int64_t *shape, int ndim, bb_dtype dtype) {
    device_array *self = new_array(number, stream, shape, ndim, dtype);
    if (!self) return NULL;
    bb_status status = bb_device_allocate(number, (size_t)bytes_of(self), &self->memory);
    if (status == BB_OK) return (PyObject *)self;
    core_fail(status);
    Py_DECREF((PyObject *)self);
    return NULL;
}

void core_device_take(PyObject *object, core_value *value) {
    const device_array *self = (const device_array *)(void *)object;
    value->array = array_of(self);
    value->stream = self->stream;
    value->has_stream = 1;
    value->needs_conversion = self->dtype == BB_INT64;
}

static void array_free(device_array *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (!self->base && bb_device_release(self->number, self->memory) != BB_OK) bb_clear_error();
    Py_XDECREF(self->base);
    freefunc release = (freefunc)PyType_GetSlot(type, Py_tp_free);
    release(self);
    Py_DECREF(type);
}

static PyObject *array_shape(device_array *self, void *unused) {
    (void)unused;
    PyObject *shape = PyTuple_New(self->ndim);
    for (int k = 0; shape && k < self->ndim; k++) {
        PyObject *extent = PyLong_FromLongLong(self->shape[k]);
        if (!extent || PyTuple_SetItem(shape, k, extent)) Py_CLEAR(shape);
    }
    return shape;
}

static PyObject *array_interface(device_array *self, void *unused) {
    PyObject *shape = array_shape(self, unused);
    if (!shape) return NULL;
    unsigned long long stream = self->stream ? (unsigned long long)(uintptr_t)self->stream : LEGACY_STREAM;
    return Py_BuildValue("{s:N,s:s,s:(KO),s:O,s:i,s:K}", "shape", shape, "typestr", type_text[self->dtype], "data",
                         (unsigned long long)(uintptr_t)self->memory, Py_False, "strides", Py_None, "version", 3,
                         "stream", stream);
}

static PyObject *array_reshape(device_array *self, PyObject *shape) {
    int64_t extent[CORE_MAX_DIMS], count = 1;
    if (PyTuple_Size(shape) == 1 && PyTuple_Check(PyTuple_GetItem(shape, 0))) shape = PyTuple_GetItem(shape, 0);
    int ndim = take_tuple(shape, extent, "shape");
    if (ndim < 0) return NULL;
    for (int k = 0; k < ndim; k++) count *= extent[k];
    if (count * (array_of(self).dtype_bits / 8) != bytes_of(self)) {
        PyErr_SetString(PyExc_ValueError, "reshape: another number of elements");
        return NULL;
    }
    device_array *made = new_array(self->number, self->stream, extent, ndim, self->dtype);
    if (!made) return NULL;
    made->memory = self->memory;
    made->base = (PyObject *)self;
    Py_INCREF(made->base);
    return (PyObject *)made;
}

static PyObject *array_dlpack_device(device_array *self, PyObject *none) {
    (void)none;
    return Py_BuildValue("(ii)", DEVICE_CUDA, self->number);
}

static PyObject *array_numpy(device_array *self, PyObject *none) {
    (void)none;
    PyObject *made = core_empty(self->shape, self->ndim, self->dtype);
    core_value value;
    if (!made) return NULL;
    if (core_value_take(made, 1, &value)) {
        Py_DECREF(made);
        return NULL;
    }
    bb_status status;
    Py_BEGIN_ALLOW_THREADS status =
        bb_device_read(self->number, self->stream, value.array.data, self->memory, (size_t)bytes_of(self));
    Py_END_ALLOW_THREADS core_value_drop(&value);
    if (status == BB_OK) return made;
    Py_DECREF(made);
    return core_fail(status);
}

/* ---- DLPack, version 0 of its structures --------------------------------------------------------------------------------- */
typedef struct managed {
    dl_tensor tensor;
    void *manager;
    void (*deleter)(struct managed *self);
} managed;

static void delete_managed(managed *m) {
    PyGILState_STATE state = PyGILState_Ensure();
    Py_DECREF((PyObject *)m->manager);
    PyMem_Free(m);
    PyGILState_Release(state);
}

static void capsule_free(PyObject *capsule) { /* one that nobody has taken */
    if (!PyCapsule_IsValid(capsule, "dltensor")) return;
    managed *m = PyCapsule_GetPointer(capsule, "dltensor");
    m->deleter(m);
}

/* stream: of the taker; -1: it waits for nothing. Another one than ours sees the values once ours has come to its end. */
static PyObject *array_dlpack(device_array *self, PyObject *arguments, PyObject *keywords) {
    static char *names[] = {"stream", "max_version", "dl_device", "copy", NULL};
    PyObject *stream = Py_None, *version = Py_None, *device = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "|$OOOO:__dlpack__", names, &stream, &version, &device, &copy))
        return NULL;
    if (copy == Py_True) {
        PyErr_SetString(PyExc_BufferError, "__dlpack__: a copy was asked for, and none is made here");
        return NULL;
    }
    long long wanted = stream == Py_None ? LEGACY_STREAM : PyLong_AsLongLong(stream);
    if (PyErr_Occurred()) return NULL;
    void *own = wanted == LEGACY_STREAM ? NULL : (void *)(uintptr_t)wanted;
    if (wanted != -1 && own != self->stream) {
        bb_status status;
        Py_BEGIN_ALLOW_THREADS status = bb_device_wait(self->number, self->stream);
        Py_END_ALLOW_THREADS if (status != BB_OK) return core_fail(status);
    }
    managed *m = PyMem_Malloc(sizeof *m);
    if (!m) return PyErr_NoMemory();
    bb_array a = array_of(self);
    *m = (managed){.tensor = {.data = a.data,
                              .device_type = a.device_type,
                              .device_id = a.device_id,
                              .ndim = a.ndim,
                              .code = a.dtype_code,
                              .bits = a.dtype_bits,
                              .lanes = 1,
                              .shape = self->shape},
                   .manager = self,
                   .deleter = delete_managed};
    Py_INCREF((PyObject *)self);
    PyObject *capsule = PyCapsule_New(m, "dltensor", capsule_free);
    if (!capsule) delete_managed(m);
    return capsule;
}

/* ---- in the caller's kind of array ---------------------------------------------------------------------------------------- */
/* from_dlpack of the library that `like` belongs to: of its array namespace, else of its module; NULL without an exception:
 * it has none. */
static PyObject *importer_of(PyObject *like) {
    PyObject *space = PyObject_CallMethod(like, "__array_namespace__", NULL);
    PyErr_Clear();
    if (!space) {
        PyObject *module = PyObject_GetAttrString((PyObject *)Py_TYPE(like), "__module__");
        PyObject *parts = module ? PyObject_CallMethod(module, "split", "s", ".") : NULL;
        PyObject *first = parts ? PyList_GetItem(parts, 0) : NULL;
        space = first ? PyImport_GetModule(first) : NULL;
        Py_XDECREF(parts);
        Py_XDECREF(module);
        PyErr_Clear();
    }
    PyObject *importer = space ? PyObject_GetAttrString(space, "from_dlpack") : NULL;
    PyErr_Clear();
    Py_XDECREF(space);
    return importer;
}

/* Takes over the reference to `array`. */
PyObject *core_device_convert(PyObject *array, PyObject *like) {
    if (!array || !like || Py_TYPE(array) != core_device_array_type || Py_TYPE(like) == core_device_array_type)
        return array;
    PyObject *importer = importer_of(like);
    if (!importer) return array;
    PyObject *made = PyObject_CallFunctionObjArgs(importer, array, NULL);
    Py_DECREF(importer);
    Py_DECREF(array);
    return made;
}

/* ---- the type -------------------------------------------------------------------------------------------------------------- */
static PyObject *array_repr(device_array *self) {
    PyObject *shape = array_shape(self, NULL);
    PyObject *text = shape ? PyUnicode_FromFormat("<benben.DeviceArray %S %s on CUDA device %d>", shape,
                                                  type_text[self->dtype] + 1, self->number)
                           : NULL;
    Py_XDECREF(shape);
    return text;
}

static PyObject *refuse_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords) {
    (void)arguments, (void)keywords;
    PyErr_Format(PyExc_TypeError, "%R is what a run gives back", (PyObject *)type);
    return NULL;
}

static PyMethodDef array_methods[] = {
    {"__dlpack__", (PyCFunction)(void (*)(void))array_dlpack, METH_VARARGS | METH_KEYWORDS,
     "A DLPack capsule, for a stream of the taker's."},
    {"__dlpack_device__", (PyCFunction)(void (*)(void))array_dlpack_device, METH_NOARGS, "(2, number of the device)"},
    {"reshape", (PyCFunction)(void (*)(void))array_reshape, METH_VARARGS, "The same memory in another shape."},
    {"numpy", (PyCFunction)(void (*)(void))array_numpy, METH_NOARGS, "A copy as an array of NumPy, once it is computed."},
    {NULL, NULL, 0, NULL}};
static PyGetSetDef array_members[] = {{"shape", (getter)(void (*)(void))array_shape, NULL, "Extents.", NULL},
                                      {"__cuda_array_interface__", (getter)(void (*)(void))array_interface, NULL,
                                       "CUDA array interface, version 3.", NULL},
                                      {NULL, NULL, NULL, NULL, NULL}};
static PyType_Slot array_slots[] = {{Py_tp_dealloc, (void *)array_free},
                                    {Py_tp_new, (void *)refuse_new},
                                    {Py_tp_repr, (void *)array_repr},
                                    {Py_tp_methods, array_methods},
                                    {Py_tp_getset, array_members},
                                    {Py_tp_doc, "An array in the memory of a CUDA device, with __cuda_array_interface__ "
                                                "and __dlpack__: the result of a run on arrays that have only the former."},
                                    {0, NULL}};
PyType_Spec core_device_array_spec = {"benben._core.DeviceArray", sizeof(device_array), 0, Py_TPFLAGS_DEFAULT,
                                      array_slots};

/* ---- which devices there are ------------------------------------------------------------------------------------------------- */
PyObject *core_devices(PyObject *module, PyObject *arguments) {
    const char *name;
    int count = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "s:devices", &name)) return NULL;
    bb_target target = strcmp(name, "cuda") == 0 ? BB_TARGET_CUDA : BB_TARGET_OPENCL;
    bb_status status;
    Py_BEGIN_ALLOW_THREADS status = bb_device_count(target, &count);
    Py_END_ALLOW_THREADS if (status == BB_DEVICE) return PyList_New(0);
    if (status != BB_OK) return core_fail(status);
    PyObject *list = PyList_New(0);
    for (int k = 0; list && k < count; k++) {
        bb_device_info info = {.size = sizeof info};
        status = bb_device_about(target, k, &info);
        PyObject *row = status == BB_OK
                            ? Py_BuildValue("(sisLOi)", name, k, info.name, (long long)info.memory,
                                            info.has_float64 ? Py_True : Py_False, info.architecture)
                            : core_fail(status);
        if (!row || PyList_Append(list, row)) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    return list;
}
