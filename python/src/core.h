/* core.h: benben._core, the C library as Python sees it, on CPython's limited API (3.11 and later, one binary). The
 * extension knows programs, kernels and arrays; formulas as Python objects, LazyTensors and the rest are Python. */
#ifndef BENBEN_CORE_H
#define BENBEN_CORE_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "benben.h"

/* DLPack's description of a tensor, the same in all versions. */
typedef struct dl_tensor {
    void *data;
    int32_t device_type, device_id, ndim;
    uint8_t code, bits;
    uint16_t lanes;
    int64_t *shape, *strides;
    uint64_t byte_offset;
} dl_tensor;

enum { CORE_MAX_DIMS = 14 };

/* ---- core.c */
/* Sets the exception of a status with the library's message; returns NULL. */
PyObject *core_fail(bb_status status);
PyObject *core_fail_null(void); /* the same for a NULL expression */
bb_context *core_context(void); /* borrowed; replaced by a new one when it has grown large */
void core_context_grew(Py_ssize_t nodes);
extern PyTypeObject *core_program_type, *core_kernel_type, *core_device_array_type;

/* ---- exchange.c: tensors of a library with DLPack's C exchange API */
typedef struct core_exchange core_exchange;
const core_exchange *core_exchange_of(PyObject *object); /* NULL where its type has none */
/* Shape and strides are the tensor's own memory: it must stay alive. 0, or -1 with an exception. */
int core_exchange_take(const core_exchange *table, PyObject *object, bb_array *array);
PyObject *core_exchange_empty(const core_exchange *table, const bb_array *like, const int64_t *shape, int ndim,
                              bb_dtype dtype);                                 /* on the device of `like` */
void *core_exchange_stream(const core_exchange *table, const bb_array *array); /* the library's current one */

/* ---- value.c: Python's arrays and numbers as the library's */
typedef struct core_value {
    bb_array array;
    Py_buffer buffer;
    PyObject *capsule;             /* of __dlpack__ */
    const core_exchange *exchange; /* or NULL */
    double *numbers;               /* of a list of numbers, or `single` */
    double single;
    Py_ssize_t count;
    int has_buffer, is_number, needs_conversion; /* of a type that the library does not compute in */
    int has_stream;
    void *stream; /* of an array on a device that names the stream where it is computed */
    int64_t shape[CORE_MAX_DIMS], strides[CORE_MAX_DIMS];
} core_value;
/* 0, or -1 with an exception. A number or a tuple of numbers gets its memory later, by core_value_number. */
int core_value_take(PyObject *object, int writable, core_value *value);
void core_value_number(core_value *value, int is_double);
void core_value_drop(core_value *value);
/* A new NumPy array; not of bfloat16. */
PyObject *core_empty(const int64_t *shape, int ndim, bb_dtype dtype);

/* ---- device.c: arrays on a CUDA device without a library's allocator */
int core_cuda_take(PyObject *object, int writable, core_value *value); /* of __cuda_array_interface__ */
int core_cuda_stream(PyObject *object, core_value *value);  /* what that says of the stream, where it is there */
void core_device_take(PyObject *object, core_value *value); /* of a DeviceArray */
PyObject *core_device_empty(int number, void *stream, const int64_t *shape, int ndim, bb_dtype dtype);
PyObject *core_device_convert(PyObject *array, PyObject *like); /* to the kind of array that `like` is */
PyObject *core_devices(PyObject *module, PyObject *arguments);
extern PyType_Spec core_device_array_spec;

/* ---- program.c */
typedef struct core_program {
    PyObject_HEAD bb_program *program;
} core_program;
PyObject *core_program_wrap(bb_program *program); /* takes over the reference */
PyObject *core_parse(PyObject *module, PyObject *arguments);
PyObject *core_build(PyObject *module, PyObject *arguments);
PyObject *core_dim(PyObject *module, PyObject *arguments);
extern PyType_Spec core_program_spec;

/* ---- kernel.c */
PyObject *core_compile(core_program *self, PyObject *arguments, PyObject *keywords);
extern PyType_Spec core_kernel_spec;
int core_kernel_ready(PyObject *module); /* what running needs of NumPy; at import */

#endif
