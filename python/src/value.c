/* value.c: what Python calls arrays and numbers, as the library's arrays, without a copy. An array comes through the buffer
 * protocol (NumPy and much else), through DLPack's C exchange API (exchange.c), through __dlpack__ or
 * __cuda_array_interface__ (device.c); a number or a tuple of numbers is a parameter whose type is
 * that of the computation. */
#include "core.h"

#include <string.h>

enum { CODE_INT = 0, CODE_FLOAT = 2, CODE_BFLOAT = 4 };

static PyObject *numpy_empty, *numpy_array, *dtype_object[5];
static const char *const dtype_name[5] = {"float32", "float64", "float16", "float32", "int64"}; /* by bb_dtype */

/* ---- the buffer protocol ------------------------------------------------------------------------------------------- */
static int native_order(char mark) {
    static const uint16_t one = 1;
    int little = *(const unsigned char *)&one;
    return mark == '@' || mark == '=' || (little ? mark == '<' : mark == '>' || mark == '!');
}

/* Type of the elements from the format of struct; others than the library's need a conversion. */
static void format_type(core_value *value) {
    const char *format = value->buffer.format ? value->buffer.format : "B";
    int native = 1;
    if (strchr("@=<>!", *format) && *format) native = native_order(*format++);
    char letter = format[0];
    int known = native && letter && !format[1];
    value->array.dtype_lanes = 1;
    value->array.dtype_code = CODE_FLOAT;
    value->array.dtype_bits = (uint8_t)(value->buffer.itemsize * 8);
    if (known && (letter == 'f' || letter == 'd' || letter == 'e')) return;
    if (known && (letter == 'l' || letter == 'q') && value->buffer.itemsize == 8) value->array.dtype_code = CODE_INT;
    value->needs_conversion = 1;
}

static int take_buffer(PyObject *object, int writable, core_value *value) {
    int flags = PyBUF_STRIDES | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0);
    if (PyObject_GetBuffer(object, &value->buffer, flags)) return -1;
    value->has_buffer = 1;
    const Py_buffer *b = &value->buffer;
    if (b->ndim > CORE_MAX_DIMS) {
        PyErr_Format(PyExc_ValueError, "an array of %d dimensions: at most %d are supported", b->ndim, CORE_MAX_DIMS);
        return -1;
    }
    format_type(value);
    /* a subclass of NumPy's array may mean more than its buffer says: masked arrays; the caller looks at it */
    if (numpy_array && (PyObject *)Py_TYPE(object) != numpy_array && PyObject_HasAttrString(object, "mask"))
        value->needs_conversion = 1;
    bb_array *a = &value->array;
    a->data = b->buf;
    a->device_type = 1;
    a->ndim = b->ndim;
    a->shape = value->shape;
    a->strides = value->strides;
    for (int k = 0; k < b->ndim; k++) {
        value->shape[k] = b->shape[k];
        value->strides[k] = b->itemsize ? b->strides[k] / b->itemsize : 0;
        if (b->shape[k] > 1 && b->strides[k] % b->itemsize) value->needs_conversion = 1;
    }
    if ((uintptr_t)b->buf % (b->itemsize ? (size_t)b->itemsize : 1)) value->needs_conversion = 1; /* not aligned */
    return 0;
}

/* ---- DLPack -------------------------------------------------------------------------------------------------------------- */
static int take_dlpack(PyObject *object, core_value *value) {
    if (PyObject_HasAttrString(object, "__cuda_array_interface__") && core_cuda_stream(object, value)) return -1;
    PyObject *arguments = PyTuple_New(0), *method = PyObject_GetAttrString(object, "__dlpack__"),
             *keywords = value->stream ? Py_BuildValue("{s:K}", "stream", (unsigned long long)(uintptr_t)value->stream)
                                       : NULL;
    if (arguments && method && !PyErr_Occurred()) value->capsule = PyObject_Call(method, arguments, keywords);
    Py_XDECREF(arguments);
    Py_XDECREF(method);
    Py_XDECREF(keywords);
    if (!value->capsule) return -1;
    const dl_tensor *d = PyCapsule_GetPointer(value->capsule, "dltensor"); /* not consumed: the capsule frees it */
    if (!d) return -1;
    if (d->ndim > CORE_MAX_DIMS) {
        PyErr_Format(PyExc_ValueError, "an array of %d dimensions: at most %d are supported", d->ndim, CORE_MAX_DIMS);
        return -1;
    }
    value->array = (bb_array){.data = d->data,
                              .device_type = d->device_type,
                              .device_id = d->device_id,
                              .ndim = d->ndim,
                              .dtype_code = d->code,
                              .dtype_bits = d->bits,
                              .dtype_lanes = d->lanes,
                              .shape = d->shape,
                              .strides = d->strides,
                              .byte_offset = d->byte_offset};
    value->needs_conversion = d->code != CODE_FLOAT && d->code != CODE_BFLOAT;
    return 0;
}

/* ---- numbers ----------------------------------------------------------------------------------------------------------- */
static int take_numbers(PyObject *object, core_value *value) {
    value->is_number = 1;
    value->count = PyTuple_Check(object) ? PyTuple_Size(object) : 1;
    value->numbers = value->count == 1 ? &value->single : PyMem_Malloc(sizeof(double) * (size_t)(value->count + 1));
    if (!value->numbers) {
        PyErr_NoMemory();
        return -1;
    }
    for (Py_ssize_t k = 0; k < value->count; k++) {
        value->numbers[k] = PyFloat_AsDouble(PyTuple_Check(object) ? PyTuple_GetItem(object, k) : object);
        if (value->numbers[k] == -1.0 && PyErr_Occurred()) return -1;
    }
    return 0;
}

void core_value_number(core_value *value, int is_double) {
    if (!is_double) { /* in place: element k is written before double k is read only where k = 0 */
        float *narrow = (float *)(void *)value->numbers;
        for (Py_ssize_t k = 0; k < value->count; k++) {
            float number = (float)value->numbers[k];
            memcpy((char *)narrow + (size_t)k * sizeof number, &number, sizeof number);
        }
    }
    value->shape[0] = value->count;
    value->array = bb_array_of(value->numbers, is_double ? BB_FLOAT64 : BB_FLOAT32, 1, value->shape);
}

/* ---- either way -------------------------------------------------------------------------------------------------------- */
int core_value_take(PyObject *object, int writable, core_value *value) {
    value->capsule = NULL;
    value->numbers = NULL;
    value->exchange = NULL;
    value->stream = NULL;
    value->has_stream = 0;
    value->has_buffer = value->is_number = value->needs_conversion = 0;
    memset(&value->array, 0, sizeof value->array);
    if (!writable && (PyFloat_Check(object) || PyLong_Check(object) || PyTuple_Check(object)))
        return take_numbers(object, value);
    if ((value->exchange = core_exchange_of(object))) {
        if (core_exchange_take(value->exchange, object, &value->array)) return -1;
        value->needs_conversion = value->array.dtype_code != CODE_FLOAT && value->array.dtype_code != CODE_BFLOAT;
        return 0;
    }
    if (PyObject_CheckBuffer(object)) return take_buffer(object, writable, value);
    if (Py_TYPE(object) == core_device_array_type) {
        core_device_take(object, value);
        return 0;
    }
    if (PyObject_HasAttrString(object, "__dlpack__")) return take_dlpack(object, value);
    if (PyObject_HasAttrString(object, "__cuda_array_interface__")) return core_cuda_take(object, writable, value);
    PyErr_Format(PyExc_TypeError,
                 "expected an array (buffer protocol, DLPack or __cuda_array_interface__) or a number, found %R",
                 (PyObject *)Py_TYPE(object));
    return -1;
}

void core_value_drop(core_value *value) {
    if (value->has_buffer) PyBuffer_Release(&value->buffer);
    if (value->numbers != &value->single) PyMem_Free(value->numbers);
    if (value->capsule) {
        PyObject *type, *error, *trace;
        PyErr_Fetch(&type, &error, &trace);
        Py_CLEAR(value->capsule);
        PyErr_Restore(type, error, trace);
    }
    value->has_buffer = 0;
    value->numbers = NULL;
}

PyObject *core_empty(const int64_t *shape, int ndim, bb_dtype dtype) {
    if (!numpy_empty) {
        PyErr_SetString(PyExc_ImportError, "outputs are NumPy arrays, but NumPy could not be imported");
        return NULL;
    }
    PyObject *dims = PyTuple_New(ndim);
    for (int k = 0; dims && k < ndim; k++) {
        PyObject *extent = PyLong_FromLongLong(shape[k]);
        if (!extent || PyTuple_SetItem(dims, k, extent)) Py_CLEAR(dims);
    }
    PyObject *result = dims ? PyObject_CallFunctionObjArgs(numpy_empty, dims, dtype_object[dtype], NULL) : NULL;
    Py_XDECREF(dims);
    return result;
}

int core_kernel_ready(PyObject *module) {
    (void)module;
    PyObject *numpy = PyImport_ImportModule("numpy");
    if (!numpy) return -1;
    numpy_empty = PyObject_GetAttrString(numpy, "empty");
    numpy_array = PyObject_GetAttrString(numpy, "ndarray");
    int ok = numpy_empty != NULL && numpy_array != NULL;
    for (int k = 0; ok && k < 5; k++) {
        dtype_object[k] = PyObject_CallMethod(numpy, "dtype", "s", dtype_name[k]);
        ok = dtype_object[k] != NULL;
    }
    Py_DECREF(numpy);
    return ok ? 0 : -1;
}
