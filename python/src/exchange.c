/* exchange.c: tensors through DLPack's C exchange API (DLPack 1.3; PyTorch since 2.10), without headers of the library
 * that owns them: a type carries a table of functions, which fill in a borrowed description of a tensor, allocate one
 * with the library's own allocator and name the stream that it computes on. */
#include "core.h"

#include <string.h>

typedef struct dl_managed {
    uint32_t major, minor;
    void *manager;
    void (*deleter)(struct dl_managed *self);
    uint64_t flags;
    dl_tensor tensor;
} dl_managed;
typedef void (*dl_report)(void *context, const char *kind, const char *message);

struct core_exchange {
    uint32_t major, minor;
    const struct core_exchange *older;
    int (*allocate)(dl_tensor *prototype, dl_managed **out, void *context, dl_report report);
    int (*from_object)(void *object, dl_managed **out);
    int (*to_object)(dl_managed *tensor, void **object);
    int (*borrow)(void *object, dl_tensor *out); /* may be NULL */
    int (*stream)(int32_t device_type, int32_t device_id, void **stream);
};

/* ---- the table of a type, looked up once -------------------------------------------------------------------------- */
enum { MAJOR = 1, KNOWN = 8 };
static struct {
    PyTypeObject *type; /* owned */
    const core_exchange *table;
} known[KNOWN];
static int known_count;

static const core_exchange *look_up(PyObject *object) {
    PyObject *capsule = PyObject_GetAttrString((PyObject *)Py_TYPE(object), "__dlpack_c_exchange_api__");
    const core_exchange *table = NULL;
    if (capsule && PyCapsule_IsValid(capsule, "dlpack_exchange_api"))
        table = PyCapsule_GetPointer(capsule, "dlpack_exchange_api");
    while (table && table->major != MAJOR) table = table->older;
    Py_XDECREF(capsule);
    PyErr_Clear();
    return table && table->borrow ? table : NULL;
}

const core_exchange *core_exchange_of(PyObject *object) {
    PyTypeObject *type = Py_TYPE(object);
    for (int k = 0; k < known_count; k++)
        if (known[k].type == type) return known[k].table;
    const core_exchange *table = look_up(object);
    if (known_count < KNOWN) {
        Py_INCREF((PyObject *)type);
        known[known_count].type = type;
        known[known_count++].table = table;
    }
    return table;
}

/* ---- tensors ------------------------------------------------------------------------------------------------------- */
int core_exchange_take(const core_exchange *table, PyObject *object, bb_array *array) {
    dl_tensor d;
    if (table->borrow(object, &d)) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_RuntimeError, "the tensor cannot be exchanged through DLPack");
        return -1;
    }
    *array = (bb_array){.data = d.data,
                        .device_type = d.device_type,
                        .device_id = d.device_id,
                        .ndim = d.ndim,
                        .dtype_code = d.code,
                        .dtype_bits = d.bits,
                        .dtype_lanes = d.lanes,
                        .shape = d.shape,
                        .strides = d.strides,
                        .byte_offset = d.byte_offset};
    return 0;
}

static void report_error(void *context, const char *kind, const char *message) {
    (void)context;
    PyErr_Format(PyExc_RuntimeError, "allocation of an output: %s: %s", kind ? kind : "", message ? message : "");
}

PyObject *core_exchange_empty(const core_exchange *table, const bb_array *like, const int64_t *shape, int ndim,
                              bb_dtype dtype) {
    bb_array kind = bb_array_of(NULL, dtype, 0, NULL);
    int64_t extent[CORE_MAX_DIMS + 2];
    memcpy(extent, shape, (size_t)ndim * sizeof *extent);
    dl_tensor prototype = {.device_type = like->device_type,
                           .device_id = like->device_id,
                           .ndim = ndim,
                           .code = kind.dtype_code,
                           .bits = kind.dtype_bits,
                           .lanes = 1,
                           .shape = extent};
    dl_managed *managed = NULL;
    void *object = NULL;
    if (!table->allocate(&prototype, &managed, NULL, report_error) && !table->to_object(managed, &object))
        return object;
    if (!PyErr_Occurred()) PyErr_NoMemory();
    return NULL;
}

void *core_exchange_stream(const core_exchange *table, const bb_array *array) {
    void *stream = NULL;
    return table->stream && !table->stream(array->device_type, array->device_id, &stream) ? stream : NULL;
}
