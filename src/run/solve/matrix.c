/* matrix.c: the matrix of a kernel system, through its program alone. Products are runs; so are entries: with the
 * points of one axis gathered as a batch of single points and b a unit vector, the program yields columns of the matrix,
 * and with both axes taken apart in that way its diagonal. No other program is made for that, except one for a single
 * column where b has many. */
#include "solve.h"

#include <stdlib.h>
#include <string.h>

/* ---- life and products ----------------------------------------------------------------------- */
static bb_status measure(bbi_matrix *m, const bb_array *inputs) {
    bbi_variant *variant;
    const bb_program *p = m->kernel->program;
    BBI_FORWARD(bbi_arrays_real_type(m->kernel->plan, inputs, m->ninput, p->signature.variables, &m->is_double));
    BBI_FORWARD(bbi_kernel_variant(m->kernel, m->is_double, &variant));
    BBI_FORWARD(bbi_structure_of(p, m->unknown, &m->structure));
    m->level = variant->executable->level;
    for (int32_t s = 0; s < variant->executable->plan->nstage; s++)
        m->pair_cost += variant->executable->plan->stage[s].cost;
    const bbi_variable *b = &p->signature.variables[m->unknown];
    m->batches = m->extent.batches;
    m->points = b->place == BBI_I ? m->extent.m : m->extent.n;
    m->dim = b->dim;
    m->columns = m->structure.separate ? m->dim : 1;
    m->n = m->points * (m->dim / m->columns);
    m->count = m->batches * m->n * m->columns;
    if (m->run.ranges) m->structure.no_entries = "the matrix has block-sparse ranges";
    if (m->extent.m != m->extent.n) m->structure.no_entries = "the matrix is not square";
    return BB_OK;
}

bb_status bbi_matrix_open(bbi_matrix *m, bb_kernel *kernel, const bb_array *inputs, int ninput, int unknown,
                          const bb_run_options *run, const bbi_extent *extent) {
    *m = (bbi_matrix){.kernel = kernel, .ninput = ninput, .unknown = unknown, .extent = *extent};
    BBI_FORWARD(bbi_run_options_of(run, &m->run));
    BBI_FORWARD(measure(m, inputs));
    m->threads = bbi_threads_allowed(m->run.threads);
    m->inputs = bbi_alloc((size_t)ninput * sizeof *m->inputs);
    void *direction = bbi_calloc((size_t)m->count + 1, sizeof(double));
    if (!m->inputs || !direction) {
        bbi_free(direction);
        bbi_free(m->inputs);
        m->inputs = NULL;
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld unknowns", (long long)m->count);
    }
    memcpy(m->inputs, inputs, (size_t)ninput * sizeof *inputs);
    int ndim = extent->nbatch + 2;
    memcpy(m->shape, extent->batch, (size_t)extent->nbatch * sizeof *m->shape);
    m->shape[ndim - 2] = m->points;
    m->shape[ndim - 1] = m->dim;
    m->inputs[unknown] = bb_array_of(direction, m->is_double ? BB_FLOAT64 : BB_FLOAT32, ndim, m->shape);
    return BB_OK;
}

void bbi_matrix_close(bbi_matrix *m) {
    if (m->inputs) bbi_free(m->inputs[m->unknown].data);
    bbi_free(m->inputs);
    bb_kernel_release(m->single);
    m->inputs = NULL;
    m->single = NULL;
}

bb_status bbi_matrix_multiply(bbi_matrix *m, const double *p, double *q) {
    bb_array *direction = &m->inputs[m->unknown];
    if (m->is_double)
        memcpy(direction->data, p, (size_t)m->count * sizeof *p);
    else
        for (int64_t k = 0; k < m->count; k++) ((float *)direction->data)[k] = (float)p[k];
    bb_array product = bb_array_of(q, BB_FLOAT64, direction->ndim, m->shape);
    m->products++;
    return bb_run(m->kernel, m->inputs, m->ninput, &product, 1, &m->run);
}

/* ---- entries --------------------------------------------------------------------------------- */
/* The inputs of a run on some points: arrays of one batch element whose rows are taken apart. */
typedef struct input {
    int64_t shape[3], strides[3];
    void *gathered;
} input;
typedef struct selection {
    bb_array *array;
    input *input;
    int count;
    int64_t unit; /* which component of b is 1 */
} selection;

static void close_selection(selection *s) {
    for (int k = 0; s->input && k < s->count; k++) bbi_free(s->input[k].gathered);
    bbi_free(s->input);
    bbi_free(s->array);
}

static bb_status open_selection(const bbi_matrix *m, selection *s) {
    *s = (selection){.count = m->ninput};
    s->array = bbi_calloc((size_t)m->ninput, sizeof *s->array);
    s->input = bbi_calloc((size_t)m->ninput, sizeof *s->input);
    return s->array && s->input ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory for entries of the matrix");
}

static void describe(bb_array *a, input *in, const bbi_array *view, int ndim) {
    int64_t size = a->dtype_bits / 8;
    a->data = (void *)(uintptr_t)view->data;
    a->byte_offset = 0;
    a->ndim = ndim;
    in->strides[ndim - 1] = view->dim_stride / size;
    if (ndim > 1) in->strides[ndim - 2] = ndim > 2 ? 0 : view->row_stride / size;
    if (ndim > 2) in->strides[0] = view->row_stride / size;
    a->shape = in->shape;
    a->strides = in->strides;
}

/* Rows list[k] / width of an array, as a batch of single rows. */
static bb_status gather(bb_array *a, input *in, const bbi_array *view, int64_t dim, const int64_t *list, int64_t count,
                        int64_t width) {
    size_t size = a->dtype_bits / 8;
    char *to = in->gathered = bbi_alloc((size_t)(count * dim) * size + 1);
    if (!to) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld points", (long long)count);
    for (int64_t k = 0; k < count; k++)
        for (int64_t d = 0; d < dim; d++, to += size)
            memcpy(to, view->data + list[k] / width * view->row_stride + d * view->dim_stride, size);
    a->data = in->gathered;
    a->byte_offset = 0;
    a->ndim = 3;
    a->strides = NULL;
    a->shape = in->shape;
    in->shape[0] = count;
    in->shape[1] = 1;
    in->shape[2] = dim;
    return BB_OK;
}

/* b: unit vectors. list NULL: the same for all points, component `unit`. */
static bb_status unit_vectors(const bbi_matrix *m, selection *s, int64_t dim, const int64_t *list, int64_t count) {
    bb_array *a = &s->array[m->unknown];
    input *in = &s->input[m->unknown];
    double *b = in->gathered = bbi_calloc((size_t)(count * dim) + 1, sizeof *b);
    if (!b) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld unit vectors", (long long)count);
    for (int64_t k = 0; k < count; k++) {
        int64_t at = k * dim + (list ? list[k] % dim : s->unit);
        if (m->is_double)
            b[at] = 1;
        else
            ((float *)(void *)b)[at] = 1;
    }
    in->shape[0] = list ? count : m->points;
    in->shape[1] = 1;
    in->shape[2] = dim;
    in->strides[0] = list ? dim : 0;
    in->strides[1] = dim;
    in->strides[2] = 1;
    *a = bb_array_of(b, m->is_double ? BB_FLOAT64 : BB_FLOAT32, 3, in->shape);
    a->strides = in->strides;
    return BB_OK;
}

/* The kernel for entries, and its number of components of b. */
static bb_status entry_kernel(bbi_matrix *m, bb_kernel **kernel, int64_t *dim) {
    *dim = m->columns == 1 ? m->dim : 1;
    *kernel = m->columns == 1 ? m->kernel : m->single;
    if (!*kernel) BBI_FORWARD(bbi_with_columns(m->kernel, m->unknown, 1, &m->single));
    if (!*kernel) *kernel = m->single;
    return BB_OK;
}

static bb_status run_selection(bbi_matrix *m, bb_kernel *kernel, const selection *s, int64_t rows, int64_t batch,
                               int64_t dim, double *result) {
    bool along_j = kernel->program->signature.variables[m->unknown].place == BBI_J;
    bb_run_options run = m->run;
    int64_t shape[3] = {batch, rows, dim};
    run.progress = NULL;
    run.rows_i = along_j ? rows : 1;
    run.rows_j = along_j ? 1 : rows;
    bb_array out = bb_array_of(result, BB_FLOAT64, 3, shape);
    return bb_run(kernel, s->array, s->count, &out, 1, &run);
}

/* list NULL: the diagonal, every input that has rows taken apart */
static bb_status select_points(const bbi_matrix *m, selection *s, int64_t batch, const int64_t *list, int64_t count,
                               int64_t dim) {
    const bbi_variable *v = m->kernel->program->signature.variables;
    for (int k = 0; k < m->ninput; k++) {
        bbi_view view;
        if (k == m->unknown) {
            BBI_FORWARD(unit_vectors(m, s, dim, list, list ? count : 1));
            continue;
        }
        int trailing = v[k].place == BBI_P ? 1 : 2;
        s->array[k] = m->inputs[k];
        bbi_view_of(&m->inputs[k], trailing, &m->extent, &view);
        bbi_array at = bbi_view_at(&view, &m->extent, batch);
        if (list && v[k].place == v[m->unknown].place) {
            BBI_FORWARD(gather(&s->array[k], &s->input[k], &at, v[k].dim, list, count, dim));
            continue;
        }
        int ndim = trailing == 2 && !list ? 3 : trailing;
        describe(&s->array[k], &s->input[k], &at, ndim);
        s->input[k].shape[0] = m->points;
        s->input[k].shape[1] = 1;
        s->input[k].shape[ndim - 1] = v[k].dim;
    }
    return BB_OK;
}

bb_status bbi_matrix_columns(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, double *result) {
    bb_kernel *kernel;
    int64_t dim;
    selection s;
    if (count == 0) return BB_OK;
    BBI_FORWARD(entry_kernel(m, &kernel, &dim));
    bb_status status = open_selection(m, &s);
    if (status == BB_OK) status = select_points(m, &s, batch, list, count, dim);
    if (status == BB_OK) status = run_selection(m, kernel, &s, m->points, count, dim, result);
    close_selection(&s);
    return status;
}

bb_status bbi_matrix_diagonal(bbi_matrix *m, int64_t batch, double *diagonal) {
    bb_kernel *kernel;
    int64_t dim;
    BBI_FORWARD(entry_kernel(m, &kernel, &dim));
    double *all = bbi_alloc((size_t)(m->points * dim) * sizeof *all + 8);
    bb_status status = all ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the diagonal of the matrix");
    for (int64_t e = 0; e < dim && status == BB_OK; e++) {
        selection s;
        status = open_selection(m, &s);
        s.unit = e;
        if (status == BB_OK) status = select_points(m, &s, batch, NULL, m->points, dim);
        if (status == BB_OK) status = run_selection(m, kernel, &s, 1, m->points, dim, all);
        for (int64_t k = 0; status == BB_OK && k < m->points; k++) diagonal[k * dim + e] = all[k * dim + e];
        close_selection(&s);
    }
    bbi_free(all);
    return status;
}
