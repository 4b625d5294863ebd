/* entries.c: entries of a matrix, by runs of programs made from the one of its products: columns and the diagonal by what a
 * pair of points adds to a product, b being a unit vector; many small blocks by products with unit matrices. A matrix
 * without a program answers by its callbacks. */
#include "solve.h"

#include <string.h>

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
    if (ndim > 1) in->strides[ndim - 2] = view->row_stride / size;
    a->shape = in->shape;
    a->strides = in->strides;
}

/* Rows list[k] / width of an array: (count, dim) */
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
    a->ndim = 2;
    a->strides = NULL;
    a->shape = in->shape;
    in->shape[0] = count;
    in->shape[1] = dim;
    return BB_OK;
}

/* b: unit vectors, (count, dim). list NULL: the same for all points, component `unit`. */
static bb_status unit_vectors(const bbi_matrix *m, selection *s, int64_t dim, const int64_t *list, int64_t count) {
    input *in = &s->input[m->unknown];
    double *b = in->gathered = bbi_calloc((size_t)((list ? count : 1) * dim) + 1, sizeof *b);
    if (!b) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld unit vectors", (long long)count);
    for (int64_t k = 0; k < (list ? count : 1); k++) {
        int64_t at = k * dim + (list ? list[k] % dim : s->unit);
        if (m->is_double)
            b[at] = 1;
        else
            ((float *)(void *)b)[at] = 1;
    }
    in->shape[0] = count;
    in->shape[1] = dim;
    in->strides[0] = list ? dim : 0;
    in->strides[1] = 1;
    s->array[m->unknown] = bb_array_of(b, m->is_double ? BB_FLOAT64 : BB_FLOAT32, 2, in->shape);
    s->array[m->unknown].strides = in->strides;
    return BB_OK;
}

/* The inputs of a summand. list: of columns, NULL: of the diagonal. rows: of the other axis, NULL: all of them. */
static bb_status select_points(const bbi_matrix *m, selection *s, int64_t batch, const int64_t *list, int64_t count,
                               int64_t dim, const int64_t *rows, int64_t row_count) {
    const bbi_variable *v = m->kernel->program->signature.variables;
    for (int k = 0; k < m->ninput; k++) {
        bbi_view view;
        if (k == m->unknown) {
            BBI_FORWARD(unit_vectors(m, s, dim, list, list ? count : m->points));
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
        if (rows && trailing == 2) {
            BBI_FORWARD(gather(&s->array[k], &s->input[k], &at, v[k].dim, rows, row_count, 1));
            continue;
        }
        describe(&s->array[k], &s->input[k], &at, trailing);
        s->input[k].shape[0] = m->points;
        s->input[k].shape[trailing - 1] = v[k].dim;
    }
    return BB_OK;
}

/* Components of b in a program for entries. */
static int64_t entry_dim(const bbi_matrix *m) { return m->columns == 1 ? m->dim : 1; }

static bb_status run_summand(bbi_matrix *m, bb_kernel *kernel, const selection *s, int64_t batch, int64_t rows,
                             double *result) {
    bb_run_options run = m->run;
    int64_t shape[3] = {batch, rows, entry_dim(m)};
    int ndim = batch ? 3 : 2;
    run.progress = NULL;
    run.rows_i = run.rows_j = rows;
    bb_array out = bb_array_of(result, BB_FLOAT64, ndim, batch ? shape : shape + 1);
    return bb_run(kernel, s->array, s->count, &out, 1, &run);
}

static bb_status columns_of_rows(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, const int64_t *rows,
                                 int64_t row_count, double *result) {
    selection s;
    int64_t dim = entry_dim(m);
    if (!m->entries) BBI_FORWARD(bbi_summand_of(m->kernel, m->unknown, dim, false, &m->entries));
    bb_status status = open_selection(m, &s);
    if (status == BB_OK) status = select_points(m, &s, batch, list, count, dim, rows, row_count);
    if (status == BB_OK) status = run_summand(m, m->entries, &s, count, rows ? row_count : m->points, result);
    close_selection(&s);
    return status;
}

bb_status bbi_matrix_columns(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, double *result) {
    if (count == 0) return BB_OK;
    if (!m->kernel) return bbi_matrix_answered(m->given->entries(m->given->data, count, list, result));
    return columns_of_rows(m, batch, list, count, NULL, 0, result);
}

bb_status bbi_matrix_diagonal(bbi_matrix *m, int64_t batch, double *diagonal) {
    if (m->n == 0) return BB_OK;
    if (!m->kernel) return bbi_matrix_answered(m->given->diagonal(m->given->data, diagonal));
    int64_t dim = entry_dim(m);
    if (!m->diagonal) BBI_FORWARD(bbi_summand_of(m->kernel, m->unknown, dim, true, &m->diagonal));
    double *all = bbi_alloc((size_t)(m->points * dim) * sizeof *all + 8);
    bb_status status = all ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the diagonal of the matrix");
    for (int64_t e = 0; e < dim && status == BB_OK; e++) {
        selection s;
        status = open_selection(m, &s);
        s.unit = e;
        if (status == BB_OK) status = select_points(m, &s, batch, NULL, m->points, dim, NULL, 0);
        if (status == BB_OK) status = run_summand(m, m->diagonal, &s, 0, m->points, all);
        for (int64_t k = 0; status == BB_OK && k < m->points; k++) diagonal[k * dim + e] = all[k * dim + e];
        close_selection(&s);
    }
    bbi_free(all);
    return status;
}

/* Without a kernel, or where the points of the unknowns have several components: some columns at a time. */
static bb_status block_of_columns(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, double *result) {
    enum { TOGETHER = 64 };
    double *columns = bbi_alloc((size_t)(m->n * TOGETHER) * sizeof *columns + 8);
    bb_status status = columns ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory for entries of the matrix");
    for (int64_t first = 0; first < count && status == BB_OK; first += TOGETHER) {
        int64_t some = count - first < TOGETHER ? count - first : TOGETHER;
        status = bbi_matrix_columns(m, batch, list + first, some, columns);
        for (int64_t k = 0; k < some && status == BB_OK; k++)
            for (int64_t i = 0; i < count; i++) result[(first + k) * count + i] = columns[k * m->n + list[i]];
    }
    bbi_free(columns);
    return status;
}

bb_status bbi_matrix_block(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t count, double *result) {
    if (count == 0) return BB_OK;
    if (!m->kernel || m->n != m->points) return block_of_columns(m, batch, list, count, result);
    return columns_of_rows(m, batch, list, count, list, count, result);
}

/* The products of the blocks with unit matrices: a batch of small systems, both axes gathered. */
static bb_status select_blocks(const bbi_matrix *m, selection *s, int64_t batch, const int64_t *list, int64_t rows,
                               int64_t width, double *unit) {
    const bbi_variable *v = m->kernel->program->signature.variables;
    for (int k = 0; k < m->ninput; k++) {
        bbi_view view;
        input *in = &s->input[k];
        bb_array *a = &s->array[k];
        if (k == m->unknown) {
            for (int64_t i = 0; i < width; i++) {
                if (m->is_double)
                    unit[i * width + i] = 1;
                else
                    ((float *)(void *)unit)[i * width + i] = 1;
            }
            in->shape[0] = in->shape[1] = width;
            *a = bb_array_of(unit, m->is_double ? BB_FLOAT64 : BB_FLOAT32, 2, in->shape);
            continue;
        }
        int trailing = v[k].place == BBI_P ? 1 : 2;
        *a = m->inputs[k];
        bbi_view_of(&m->inputs[k], trailing, &m->extent, &view);
        bbi_array at = bbi_view_at(&view, &m->extent, batch);
        if (trailing == 1) {
            describe(a, in, &at, 1);
            in->shape[0] = v[k].dim;
            continue;
        }
        BBI_FORWARD(gather(a, in, &at, v[k].dim, list, rows * width, 1));
        a->ndim = 3;
        in->shape[0] = rows;
        in->shape[1] = width;
        in->shape[2] = v[k].dim;
    }
    return BB_OK;
}

bb_status bbi_matrix_blocks(bbi_matrix *m, int64_t batch, const int64_t *list, int64_t rows, int64_t width,
                            double *result) {
    selection s;
    if (m->wide_columns != width) {
        bb_kernel_release(m->wide);
        m->wide = NULL;
        BBI_FORWARD(bbi_with_columns(m->kernel, m->unknown, width, &m->wide));
        m->wide_columns = width;
    }
    double *unit = bbi_calloc((size_t)(width * width) + 1, sizeof *unit);
    int64_t *full = bbi_alloc((size_t)(rows * width) * sizeof *full + 8), shape[3] = {rows, width, width};
    bb_status status = open_selection(m, &s);
    if (status == BB_OK && (!unit || !full))
        status = bbi_fail(BB_OUT_OF_MEMORY, "out of memory for entries of the matrix");
    for (int64_t k = 0; k < rows * width && status == BB_OK; k++) full[k] = list[k] < 0 ? full[k - 1] : list[k];
    if (status == BB_OK) status = select_blocks(m, &s, batch, full, rows, width, unit);
    if (status == BB_OK) {
        bb_run_options run = m->run;
        run.progress = NULL;
        run.rows_i = run.rows_j = width;
        bb_array out = bb_array_of(result, BB_FLOAT64, 3, shape);
        status = bb_run(m->wide, s.array, s.count, &out, 1, &run);
    }
    close_selection(&s);
    bbi_free(unit);
    bbi_free(full);
    return status;
}
