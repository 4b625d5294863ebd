/* arrays.c: checks of the caller's arrays against the signature. Every message names the operand, what was
 * found, what was expected and what to do. Nothing here allocates, and a call on good arrays does little
 * work: it is on the path of the smallest problems. */
#include "execute.h"

#include <stdio.h>
#include <string.h>

enum { NAME_SIZE = 96, SHAPE_SIZE = 256, DEVICE_CPU = 1, CODE_INT = 0, CODE_FLOAT = 2, CODE_BFLOAT = 4 };

int bbi_array_dtype(const bb_array *array) {
    if (array->dtype_lanes != 1) return -1;
    switch (array->dtype_code << 8 | array->dtype_bits) {
    case CODE_FLOAT << 8 | 32: return BBI_F32;
    case CODE_FLOAT << 8 | 64: return BBI_F64;
    case CODE_FLOAT << 8 | 16: return BBI_F16;
    case CODE_BFLOAT << 8 | 16: return BBI_BF16;
    case CODE_INT << 8 | 64: return BBI_I64;
    }
    return -1;
}

const char *bbi_dtype_name(int dtype) {
    static const char *const name[] = {"float16", "bfloat16", "float32", "float64", "int64"};
    return dtype < 0 ? "an unknown type" : name[dtype];
}

static int64_t dtype_bytes(int dtype) {
    static const int8_t bytes[] = {2, 2, 4, 8, 8};
    return bytes[dtype];
}

/* ---- words for messages ---- */

static const char *input_name(char *text, int position, const bbi_variable *variable) {
    if (variable->name && variable->name[0])
        snprintf(text, NAME_SIZE, "input %d '%.60s'", position, variable->name);
    else
        snprintf(text, NAME_SIZE, "input %d", position);
    return text;
}

static const char *shape_text(char *text, const int64_t *shape, int ndim) {
    size_t used = 0;
    text[used++] = '(';
    for (int k = 0; k < ndim && used < SHAPE_SIZE - 32; k++)
        used += (size_t)snprintf(text + used, SHAPE_SIZE - used, k ? ", %lld" : "%lld", (long long)shape[k]);
    snprintf(text + used, SHAPE_SIZE - used, ndim == 1 ? ",)" : ")");
    return text;
}

static const char *expected_shape(bbi_place place) {
    return place == BBI_I ? "(..., M, %lld)" : place == BBI_J ? "(..., N, %lld)" : "(..., %lld)";
}

static bb_status bad_input_shape(int position, const bbi_variable *variable, const bb_array *array, const char *why) {
    char name[NAME_SIZE], found[SHAPE_SIZE], expected[64];
    snprintf(expected, sizeof expected, expected_shape(variable->place), (long long)variable->dim);
    return bbi_fail(BB_BAD_SHAPE, "%s has the shape %s, expected %s: %s", input_name(name, position, variable),
                    shape_text(found, array->shape, array->ndim), expected, why);
}

/* ---- dtypes ---- */

static bb_status refuse_input_dtype(int position, const bbi_variable *variable, int dtype) {
    char name[NAME_SIZE];
    if (dtype == BBI_I64)
        return bbi_fail(BB_BAD_DTYPE,
                        "%s has the type int64, which is for lists of indices only: convert it to "
                        "float32 or float64",
                        input_name(name, position, variable));
    return bbi_fail(BB_BAD_DTYPE, "%s has a type that is not supported: use float16, bfloat16, float32 or float64",
                    input_name(name, position, variable));
}

static bb_status refuse_list_dtype(int position, const bbi_variable *variable, int dtype) {
    char name[NAME_SIZE];
    return bbi_fail(BB_BAD_DTYPE, "%s has the type %s, but it is a list of indices: expected int64",
                    input_name(name, position, variable), bbi_dtype_name(dtype));
}

enum { USED_AS_SOURCE = 1, USED_AS_LIST = 2 };

/* How the plan reads an input. */
static unsigned use_of(const bbi_plan *plan, int position) {
    unsigned use = 0;
    for (int32_t s = 0; s < plan->nstage; s++) {
        const bbi_stage *stage = &plan->stage[s];
        if (stage->list && stage->list_array == position) use |= USED_AS_LIST;
        for (int32_t k = 0; k < stage->nsource; k++)
            if (stage->source[k].array == position) use |= USED_AS_SOURCE;
    }
    return use;
}

bb_status bbi_arrays_real_type(const bbi_plan *plan, const bb_array *inputs, int ninput, const bbi_variable *signature,
                               bool *is_double) {
    int wide = -1, narrow = -1, unread_wide = -1, unread_narrow = -1;
    for (int k = 0; k < ninput; k++) {
        int dtype = bbi_array_dtype(&inputs[k]);
        bool floating = dtype >= 0 && dtype != BBI_I64;
        unsigned use = use_of(plan, k);
        if (floating && use & USED_AS_LIST) return refuse_list_dtype(k, &signature[k], dtype);
        if (!floating && (dtype < 0 || use & USED_AS_SOURCE)) return refuse_input_dtype(k, &signature[k], dtype);
        if (!floating) continue;
        bool read = use != 0;
        int *first = dtype == BBI_F64 ? (read ? &wide : &unread_wide) : (read ? &narrow : &unread_narrow);
        if (*first < 0) *first = k;
    }
    if (wide < 0 && narrow < 0) {
        wide = unread_wide;
        narrow = unread_wide < 0 ? unread_narrow : -1;
    }
    if (wide >= 0 && narrow >= 0) {
        char a[NAME_SIZE], b[NAME_SIZE];
        return bbi_fail(BB_BAD_DTYPE,
                        "%s has the type %s but %s has the type float64: convert one of them, "
                        "single and double precision do not mix",
                        input_name(a, narrow, &signature[narrow]), bbi_dtype_name(bbi_array_dtype(&inputs[narrow])),
                        input_name(b, wide, &signature[wide]));
    }
    *is_double = wide >= 0;
    return BB_OK;
}

/* ---- inputs ---- */

bb_status bbi_run_options_of(const bb_run_options *options, bb_run_options *all) {
    memset(all, 0, sizeof *all);
    if (options) {
        if (options->size == 0) return bbi_fail(BB_BAD_ARGUMENT, "run options: set `size` to sizeof");
        memcpy(all, options, options->size < sizeof *all ? options->size : sizeof *all);
    }
    all->size = sizeof *all;
    if (all->threads < 0) return bbi_fail(BB_BAD_ARGUMENT, "run options: %d threads", all->threads);
    if (all->ranges_count < 0)
        return bbi_fail(BB_BAD_RANGES, "run options: %lld structures of ranges", (long long)all->ranges_count);
    if (all->rows_i < 0 || all->rows_j < 0) return bbi_fail(BB_BAD_ARGUMENT, "run options: a negative number of rows");
    if (all->device_count < 0) return bbi_fail(BB_BAD_ARGUMENT, "run options: %d devices", all->device_count);
    if (all->device_type != 0 && all->device_type != DEVICE_CPU)
        return bbi_fail(BB_DEVICE, "run options: device type %d, but this kernel runs on the CPU (1)",
                        (int)all->device_type);
    return BB_OK;
}

int64_t bbi_array_count(const bb_array *array) {
    int64_t count = 1;
    for (int k = 0; k < array->ndim; k++) count *= array->shape[k];
    return count;
}

static bb_status check_memory(const bb_array *array, const char *name) {
    if (array->device_type != DEVICE_CPU)
        return bbi_fail(BB_DEVICE, "%s lies on a device of type %d, but this kernel runs on the CPU (1): copy it there",
                        name, (int)array->device_type);
    if (array->ndim < 0 || (array->ndim > 0 && !array->shape))
        return bbi_fail(BB_BAD_ARGUMENT, "%s has no shape", name);
    if (array->ndim > BBI_MAX_BATCH_DIMS + 2)
        return bbi_fail(BB_BAD_SHAPE, "%s has %d dimensions, at most %d are supported", name, (int)array->ndim,
                        BBI_MAX_BATCH_DIMS + 2);
    int64_t count = 1;
    for (int k = 0; k < array->ndim; k++) {
        if (array->shape[k] < 0) return bbi_fail(BB_BAD_SHAPE, "%s has a negative extent", name);
        if (array->shape[k] && count > INT64_MAX / 8 / array->shape[k])
            return bbi_fail(BB_BAD_SHAPE, "%s has more elements than memory can hold", name);
        count *= array->shape[k];
    }
    if (count && !array->data) return bbi_fail(BB_BAD_ARGUMENT, "%s has no data (a null pointer)", name);
    return BB_OK;
}

static bb_status check_input(int position, const bbi_variable *variable, const bb_array *array) {
    int trailing = variable->place == BBI_P ? 1 : 2;
    if (array->device_type != DEVICE_CPU || array->ndim > BBI_MAX_BATCH_DIMS + 2 || array->ndim < trailing ||
        !array->data || !array->shape || array->shape[array->ndim - 1] != variable->dim) {
        char name[NAME_SIZE];
        BBI_FORWARD(check_memory(array, input_name(name, position, variable)));
        if (array->ndim < trailing) return bad_input_shape(position, variable, array, "dimensions are missing");
        if (array->shape[array->ndim - 1] != variable->dim)
            return bad_input_shape(position, variable, array, "the last one must be the variable's dimension");
        return BB_OK;
    }
    int64_t count = 1;
    for (int k = 0; k < array->ndim; k++) {
        int64_t extent = array->shape[k];
        if (extent < 0 || (extent && count > INT64_MAX / 8 / extent)) {
            char name[NAME_SIZE];
            return check_memory(array, input_name(name, position, variable));
        }
        count *= extent;
    }
    return BB_OK;
}

static bb_status agree_on_rows(const bb_array *inputs, int position, const bbi_variable *signature, int *first,
                               int64_t asked, int64_t *rows) {
    const bb_array *array = &inputs[position];
    const bbi_variable *variable = &signature[position];
    int64_t found = array->shape[array->ndim - 2];
    const char *axis = variable->place == BBI_I ? "i" : "j";
    char a[NAME_SIZE], b[NAME_SIZE];
    if (*first < 0) {
        *first = position;
        *rows = found;
        if (!asked || asked == found) return BB_OK;
        return bbi_fail(BB_BAD_SHAPE, "%s has %lld rows, but the run options say rows_%s = %lld: leave that 0",
                        input_name(a, position, variable), (long long)found, axis, (long long)asked);
    }
    if (*rows == found) return BB_OK;
    return bbi_fail(BB_BAD_SHAPE,
                    "%s has %lld rows but %s has %lld: all variables indexed by %s must have the same "
                    "number",
                    input_name(a, position, variable), (long long)found, input_name(b, *first, &signature[*first]),
                    (long long)*rows, axis);
}

static bb_status broadcast(const bb_array *array, int position, const bbi_variable *variable, bbi_extent *extent) {
    int own = array->ndim - (variable->place == BBI_P ? 1 : 2);
    for (int k = 0; k < own; k++) {
        int64_t *common = &extent->batch[extent->nbatch - own + k], found = array->shape[k];
        if (*common == found || found == 1) continue;
        if (*common != 1) {
            char name[NAME_SIZE], a[SHAPE_SIZE], b[SHAPE_SIZE];
            return bbi_fail(BB_BAD_SHAPE,
                            "%s has the batch shape %s, which does not broadcast with %s of the inputs "
                            "before it: extents must be equal or 1",
                            input_name(name, position, variable), shape_text(a, array->shape, own),
                            shape_text(b, extent->batch, extent->nbatch));
        }
        *common = found;
    }
    return BB_OK;
}

bb_status bbi_arrays_extent(const bb_array *inputs, int ninput, const bbi_variable *signature, int nsignature,
                            const bb_run_options *options, bbi_extent *extent) {
    if (ninput != nsignature || (ninput > 0 && !inputs))
        return bbi_fail(BB_BAD_ARGUMENT,
                        "%d inputs were given, the program has %d variables: pass one array for each, "
                        "in the order of the signature",
                        inputs ? ninput : 0, nsignature);
    const size_t long_enough = offsetof(bb_run_options, rows_j) + sizeof options->rows_j;
    int64_t asked_i = options && options->size >= long_enough ? options->rows_i : 0;
    int64_t asked_j = options && options->size >= long_enough ? options->rows_j : 0;
    *extent = (bbi_extent){.m = asked_i, .n = asked_j, .batches = 1};
    int first_i = -1, first_j = -1;
    for (int k = 0; k < ninput; k++) {
        BBI_FORWARD(check_input(k, &signature[k], &inputs[k]));
        int own = inputs[k].ndim - (signature[k].place == BBI_P ? 1 : 2);
        if (own > extent->nbatch) extent->nbatch = own;
        if (signature[k].place == BBI_I)
            BBI_FORWARD(agree_on_rows(inputs, k, signature, &first_i, asked_i, &extent->m));
        if (signature[k].place == BBI_J)
            BBI_FORWARD(agree_on_rows(inputs, k, signature, &first_j, asked_j, &extent->n));
    }
    if (!extent->nbatch) return BB_OK;
    if (extent->nbatch > BBI_MAX_BATCH_DIMS)
        return bbi_fail(BB_BAD_SHAPE, "%d batch dimensions, at most %d are supported", (int)extent->nbatch,
                        BBI_MAX_BATCH_DIMS);
    for (int k = 0; k < extent->nbatch; k++) extent->batch[k] = 1;
    for (int k = 0; k < ninput; k++) BBI_FORWARD(broadcast(&inputs[k], k, &signature[k], extent));
    for (int k = 0; k < extent->nbatch; k++) {
        if (extent->batch[k] && extent->batches > INT64_MAX / extent->batch[k])
            return bbi_fail(BB_BAD_SHAPE, "the batch has more elements than can be counted");
        extent->batches *= extent->batch[k];
    }
    return BB_OK;
}

/* ---- outputs ---- */

int bbi_output_shape(const bbi_extent *extent, const bb_output_info *info, int64_t *shape) {
    int ndim = extent->nbatch;
    for (int k = 0; k < ndim; k++) shape[k] = extent->batch[k];
    if (info->place != BB_NONE) shape[ndim++] = info->place == BB_I ? extent->m : extent->n;
    shape[ndim++] = info->dim;
    return ndim;
}

static bb_status check_output(int position, const bb_array *array, const bb_output_info *info,
                              const bbi_extent *extent) {
    char name[NAME_SIZE] = "output";
    int64_t shape[BBI_MAX_BATCH_DIMS + 2];
    int ndim = bbi_output_shape(extent, info, shape), dtype = bbi_array_dtype(array);
    if (check_memory(array, name) != BB_OK) {
        snprintf(name, sizeof name, "output %d", position);
        return check_memory(array, name);
    }
    if (array->ndim != ndim || (ndim && memcmp(array->shape, shape, (size_t)ndim * sizeof *shape) != 0)) {
        char found[SHAPE_SIZE], expected[SHAPE_SIZE];
        return bbi_fail(BB_BAD_SHAPE, "output %d has the shape %s, expected %s: bb_output_shape tells it", position,
                        shape_text(found, array->shape, array->ndim), shape_text(expected, shape, ndim));
    }
    if (info->is_index ? dtype != BBI_I64 : dtype < 0 || dtype == BBI_I64)
        return bbi_fail(BB_BAD_DTYPE, "output %d has %s, expected %s", position,
                        dtype < 0 ? "a type that is not supported" : bbi_dtype_name(dtype),
                        info->is_index ? "int64: it holds indices" : "float16, bfloat16, float32 or float64");
    bool empty = false;
    for (int k = 0; k < ndim; k++) empty = empty || shape[k] == 0;
    for (int k = 0; !empty && array->strides && k < ndim; k++)
        if (array->strides[k] == 0 && shape[k] > 1)
            return bbi_fail(BB_BAD_ARGUMENT, "output %d has stride 0 in dimension %d: its elements share memory",
                            position, k);
    return BB_OK;
}

/* Strided outputs may interleave in one block; that two share an element is certain where both are compact or begin at
 * the same place. */
static bool certainly_meet(const bb_array *a, const bb_array *b) {
    if (!bbi_arrays_meet(a, b)) return false;
    return (!a->strides && !b->strides) || (char *)a->data + a->byte_offset == (char *)b->data + b->byte_offset;
}

bb_status bbi_arrays_check_outputs(const bb_array *outputs, int noutput, const bb_output_info *info,
                                   const bbi_extent *extent) {
    for (int k = 0; k < noutput; k++) {
        BBI_FORWARD(check_output(k, &outputs[k], &info[k], extent));
        for (int other = 0; other < k; other++)
            if (certainly_meet(&outputs[k], &outputs[other]))
                return bbi_fail(BB_BAD_ARGUMENT, "output %d shares memory with output %d: give each its own", k, other);
    }
    return BB_OK;
}

/* ---- views ---- */

static int64_t stride_of(const bb_array *array, int dimension) {
    if (array->strides) return array->strides[dimension];
    int64_t stride = 1;
    for (int k = array->ndim - 1; k > dimension; k--) stride *= array->shape[k];
    return stride;
}

/* The stride of a dimension of at most one element is nobody's business: it may hold anything. */
static int64_t step_of(const bb_array *array, int dimension) {
    return array->shape[dimension] > 1 ? stride_of(array, dimension) : 0;
}

void bbi_view_of(const bb_array *array, int trailing, const bbi_extent *extent, bbi_view *view) {
    int dtype = bbi_array_dtype(array), own = array->ndim - trailing;
    int64_t size = dtype_bytes(dtype);
    view->array.data = (const char *)array->data + array->byte_offset;
    view->array.dtype = dtype;
    view->array.dim_stride = step_of(array, array->ndim - 1) * size;
    view->array.row_stride = trailing == 2 ? step_of(array, array->ndim - 2) * size : 0;
    view->batched = false;
    for (int k = 0; k < extent->nbatch; k++) {
        int mine = k - (extent->nbatch - own);
        bool steps = mine >= 0 && array->shape[mine] > 1;
        view->batch_stride[k] = steps ? stride_of(array, mine) * size : 0;
        view->batched |= view->batch_stride[k] != 0;
    }
}

bbi_array bbi_view_at(const bbi_view *view, const bbi_extent *extent, int64_t batch) {
    bbi_array array = view->array;
    if (!view->batched) return array;
    for (int k = extent->nbatch - 1; k >= 0; k--) {
        array.data += batch % extent->batch[k] * view->batch_stride[k];
        batch /= extent->batch[k];
    }
    return array;
}

static void byte_range(const bb_array *array, intptr_t *low, intptr_t *high) {
    int64_t size = dtype_bytes(bbi_array_dtype(array));
    *low = (intptr_t)array->data + (intptr_t)array->byte_offset;
    *high = *low + (intptr_t)size;
    for (int k = 0; k < array->ndim; k++) {
        int64_t reach = (array->shape[k] - 1) * step_of(array, k) * size;
        if (reach < 0)
            *low += (intptr_t)reach;
        else
            *high += (intptr_t)reach;
    }
}

bool bbi_arrays_meet(const bb_array *a, const bb_array *b) {
    for (int k = 0; k < a->ndim; k++)
        if (a->shape[k] == 0) return false;
    for (int k = 0; k < b->ndim; k++)
        if (b->shape[k] == 0) return false;
    intptr_t a_low, a_high, b_low, b_high;
    byte_range(a, &a_low, &a_high);
    byte_range(b, &b_low, &b_high);
    return a_low < b_high && b_low < a_high;
}

void bbi_array_copy(const bb_array *to, const bb_array *from) {
    int64_t count = bbi_array_count(to), size = dtype_bytes(bbi_array_dtype(to));
    char *target = (char *)to->data + to->byte_offset;
    const char *source = (const char *)from->data + from->byte_offset;
    for (int64_t element = 0; element < count; element++) {
        int64_t rest = element, a = 0, b = 0;
        for (int k = to->ndim - 1; k >= 0; k--) {
            int64_t at = rest % to->shape[k];
            rest /= to->shape[k];
            a += at * stride_of(to, k);
            b += at * stride_of(from, k);
        }
        memcpy(target + a * size, source + b * size, (size_t)size);
    }
}
