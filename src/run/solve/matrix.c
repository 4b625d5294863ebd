/* matrix.c: the matrix of a system, through a program alone. Products are runs; so are entries: with the
 * points of one axis gathered as a batch of single points and b a unit vector, the program yields columns of the matrix,
 * and with both axes taken apart in that way its diagonal. No other program is made for that, except those for other
 * numbers of columns. A matrix without a program answers by its callbacks. */
#include "solve.h"

#include <stdlib.h>
#include <string.h>

/* ---- life and products ----------------------------------------------------------------------- */
static bb_status check_kernel(const bbi_matrix *m, const char *what) {
    const bb_matrix *a = m->given;
    if (!a->inputs) return bbi_fail(BB_BAD_ARGUMENT, "%s: inputs must not be NULL", what);
    const bb_program *p = a->kernel->program;
    if (a->input_count != p->signature.count || a->unknown < 0 || a->unknown >= a->input_count)
        return bbi_fail(BB_BAD_ARGUMENT, "%s: %d inputs for a program of %lld variables, unknown %d", what,
                        a->input_count, (long long)p->signature.count, a->unknown);
    const bbi_variable *v = &p->signature.variables[a->unknown];
    if (p->noutput != 1 || p->info[0].is_index || v->place == BBI_P || p->info[0].dim != v->dim ||
        (int)p->info[0].place != (BBI_IJ ^ (int)v->place))
        return bbi_fail(
            BB_BAD_SHAPE,
            "%s: the program must have one output a_i = sum_j K(..) b_j of the dimension of variable %d ('%s')", what,
            a->unknown, v->name);
    if (bbi_array_dtype(&a->inputs[a->unknown]) == BBI_I64)
        return bbi_fail(BB_BAD_DTYPE, "%s: the right-hand side (input %d) has the type int64, expected a floating one",
                        what, a->unknown);
    return BB_OK;
}

static bb_status measure_kernel(bbi_matrix *m, const char *what, int64_t columns) {
    const bb_matrix *a = m->given;
    bbi_variant *variant;
    BBI_FORWARD(check_kernel(m, what));
    const bbi_signature *signature = &a->kernel->program->signature;
    m->ninput = a->input_count;
    m->unknown = a->unknown;
    m->kernel = a->kernel;
    BBI_FORWARD(bbi_arrays_real_type(m->kernel->plan, a->inputs, m->ninput, signature->variables, &m->is_double));
    BBI_FORWARD(bbi_arrays_extent(a->inputs, m->ninput, signature->variables, m->ninput, a->run, &m->extent));
    BBI_FORWARD(bbi_structure_of(m->kernel->program, m->unknown, &m->structure));
    if (columns && m->structure.scalar && columns != signature->variables[m->unknown].dim) {
        BBI_FORWARD(bbi_with_columns(m->kernel, m->unknown, columns, &m->owned));
        m->kernel = m->owned;
    } else if (columns && !m->structure.scalar) {
        m->structure.separate = false;
    }
    BBI_FORWARD(bbi_kernel_variant(m->kernel, m->is_double, &variant));
    m->level = variant->executable->level;
    for (int32_t s = 0; s < variant->executable->plan->nstage; s++)
        m->pair_cost += variant->executable->plan->stage[s].cost;
    const bbi_variable *b = &m->kernel->program->signature.variables[m->unknown];
    m->batches = m->extent.batches;
    m->points = b->place == BBI_I ? m->extent.m : m->extent.n;
    m->dim = b->dim;
    m->columns = m->structure.separate ? m->dim : 1;
    if (m->run.ranges) m->structure.no_entries = "the matrix has block-sparse ranges";
    if (m->extent.m != m->extent.n) m->structure.no_entries = "the matrix is not square";
    return BB_OK;
}

static bb_status measure_callbacks(bbi_matrix *m, const char *what, int64_t columns) {
    const bb_matrix *a = m->given;
    if (!a->multiply || a->rows < 0 || !a->entries != !a->diagonal)
        return bbi_fail(BB_BAD_ARGUMENT,
                        "%s: a matrix without a kernel needs the callback multiply, rows (now %lld) of at least 0, and "
                        "entries and diagonal both or neither",
                        what, (long long)a->rows);
    m->structure = (bbi_structure){.separate = true, .scalar = true};
    if (!a->entries) m->structure.no_entries = "the matrix is known by its products alone";
    m->is_double = !a->single;
    m->level = bbi_cpu_level();
    m->pair_cost = a->entry_cost > 0 ? a->entry_cost : 10;
    m->batches = 1;
    m->points = a->rows;
    m->dim = m->columns = columns;
    return BB_OK;
}

/* Bytes from one index of an axis to the next. */
static int64_t step_of(const bb_array *a, int axis) {
    int64_t step = a->dtype_bits / 8;
    if (a->strides) return a->strides[axis] * step;
    for (int k = a->ndim - 1; k > axis; k--) step *= a->shape[k];
    return step;
}

static bool is_equal(const bb_array *a, const bb_array *b, int axis, const char *p, const char *q) {
    if (axis == a->ndim) return memcmp(p, q, a->dtype_bits / 8) == 0;
    int64_t count = a->shape[axis], u = step_of(a, axis), v = step_of(b, axis), size = a->dtype_bits / 8;
    if (axis == a->ndim - 1 && u == size && v == size) return memcmp(p, q, (size_t)(count * size)) == 0;
    bool equal = true;
    for (int64_t k = 0; k < count && equal; k++) equal = is_equal(a, b, axis + 1, p + k * u, q + k * v);
    return equal;
}

static bool are_copies(const bb_array *a, const bb_array *b) {
    const int32_t host = 1;
    return a->device_type == host && b->device_type == host && a->ndim == b->ndim && a->dtype_code == b->dtype_code &&
           a->dtype_bits == b->dtype_bits && !memcmp(a->shape, b->shape, (size_t)a->ndim * sizeof *a->shape) &&
           is_equal(a, b, 0, (char *)a->data + a->byte_offset, (char *)b->data + b->byte_offset);
}

/* Points that stand in two arrays, one for each axis, are taken from one: runs that know both axes to be the same
 * points meet each pair once. */
static void unite_copies(bbi_matrix *m) {
    const bbi_variable *v = m->kernel->program->signature.variables;
    for (int k = 0; k < m->ninput; k++)
        for (int n = 0; n < k; n++) {
            bool across = v[k].place != BBI_P && v[n].place != BBI_P && v[k].place != v[n].place;
            if (!across || k == m->unknown || n == m->unknown || v[k].dim != v[n].dim) continue;
            if (!are_copies(&m->inputs[k], &m->inputs[n])) continue;
            m->inputs[k] = m->inputs[n];
            break;
        }
}

static bb_status allocate_inputs(bbi_matrix *m) {
    void *direction = bbi_calloc((size_t)m->count + 1, sizeof(double));
    m->inputs = direction ? bbi_alloc((size_t)m->ninput * sizeof *m->inputs) : NULL;
    if (!m->inputs) {
        bbi_free(direction);
        return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for %lld unknowns", (long long)m->count);
    }
    memcpy(m->inputs, m->given->inputs, (size_t)m->ninput * sizeof *m->inputs);
    int ndim = m->extent.nbatch + 2;
    memcpy(m->shape, m->extent.batch, (size_t)m->extent.nbatch * sizeof *m->shape);
    m->shape[ndim - 2] = m->points;
    m->shape[ndim - 1] = m->dim;
    m->inputs[m->unknown] = bb_array_of(direction, m->is_double ? BB_FLOAT64 : BB_FLOAT32, ndim, m->shape);
    unite_copies(m);
    return BB_OK;
}

bb_status bbi_matrix_given(const bb_matrix *matrix, bb_matrix *given) {
    *given = (bb_matrix){0};
    if (!bbi_options_fit(matrix->size, sizeof *given, "bb_matrix")) return BB_BAD_ARGUMENT;
    memcpy(given, matrix, matrix->size < sizeof *given ? matrix->size : sizeof *given);
    return BB_OK;
}

static bb_status open(bbi_matrix *m, const char *what, const bb_matrix *given, int64_t columns, bool block) {
    *m = (bbi_matrix){.given = given};
    if (!given) return bbi_fail(BB_BAD_ARGUMENT, "%s: the matrix must not be NULL", what);
    BBI_FORWARD(bbi_run_options_of(given->run, &m->run));
    m->threads = bbi_threads_allowed(m->run.threads);
    if (given->kernel)
        BBI_FORWARD(measure_kernel(m, what, block ? columns : 0));
    else
        BBI_FORWARD(measure_callbacks(m, what, columns));
    m->n = m->columns ? m->points * (m->dim / m->columns) : m->points;
    m->count = m->batches * m->n * m->columns;
    return m->kernel ? allocate_inputs(m) : BB_OK;
}

bb_status bbi_matrix_open(bbi_matrix *m, const char *what, const bb_matrix *given, int64_t columns) {
    return open(m, what, given, columns, false);
}

bb_status bbi_matrix_open_block(bbi_matrix *m, const char *what, const bb_matrix *given, int64_t columns) {
    BBI_FORWARD(open(m, what, given, columns, true));
    if (m->kernel && m->extent.m != m->extent.n)
        return bbi_fail(BB_BAD_SHAPE, "%s: the matrix has %lld rows and %lld columns: expected a square one", what,
                        (long long)m->extent.m, (long long)m->extent.n);
    return BB_OK;
}

void bbi_matrix_close(bbi_matrix *m) {
    if (m->inputs) bbi_free(m->inputs[m->unknown].data);
    bbi_free(m->inputs);
    bb_kernel_release(m->single);
    bb_kernel_release(m->owned);
    bb_kernel_release(m->wide);
    m->inputs = NULL;
    m->single = m->owned = m->wide = NULL;
}

static bb_status answered(int stop) {
    return stop ? bbi_fail(BB_CANCELLED, "a callback of the matrix stopped the computation") : BB_OK;
}

bb_status bbi_matrix_multiply(bbi_matrix *m, const double *p, double *q) {
    m->products++;
    if (m->count == 0) return BB_OK;
    if (!m->kernel) return answered(m->given->multiply(m->given->data, m->columns, p, q));
    bb_array *direction = &m->inputs[m->unknown];
    if (m->is_double)
        memcpy(direction->data, p, (size_t)m->count * sizeof *p);
    else
        for (int64_t k = 0; k < m->count; k++) ((float *)direction->data)[k] = (float)p[k];
    bb_array product = bb_array_of(q, BB_FLOAT64, direction->ndim, m->shape);
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

/* list NULL: the diagonal, every input that has rows taken apart. rows: of the other axis, NULL: all of them. */
static bb_status select_points(const bbi_matrix *m, selection *s, int64_t batch, const int64_t *list, int64_t count,
                               int64_t dim, const int64_t *rows, int64_t row_count) {
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
        if (rows && trailing == 2) {
            BBI_FORWARD(gather(&s->array[k], &s->input[k], &at, v[k].dim, rows, row_count, 1));
            s->array[k].ndim = 2; /* the same rows for the whole batch */
            s->input[k].shape[0] = row_count;
            s->input[k].shape[1] = v[k].dim;
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
    if (!m->kernel) return answered(m->given->entries(m->given->data, count, list, result));
    BBI_FORWARD(entry_kernel(m, &kernel, &dim));
    bb_status status = open_selection(m, &s);
    if (status == BB_OK) status = select_points(m, &s, batch, list, count, dim, NULL, 0);
    if (status == BB_OK) status = run_selection(m, kernel, &s, m->points, count, dim, result);
    close_selection(&s);
    return status;
}

bb_status bbi_matrix_diagonal(bbi_matrix *m, int64_t batch, double *diagonal) {
    bb_kernel *kernel;
    int64_t dim;
    if (m->n == 0) return BB_OK;
    if (!m->kernel) return answered(m->given->diagonal(m->given->data, diagonal));
    BBI_FORWARD(entry_kernel(m, &kernel, &dim));
    double *all = bbi_alloc((size_t)(m->points * dim) * sizeof *all + 8);
    bb_status status = all ? BB_OK : bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the diagonal of the matrix");
    for (int64_t e = 0; e < dim && status == BB_OK; e++) {
        selection s;
        status = open_selection(m, &s);
        s.unit = e;
        if (status == BB_OK) status = select_points(m, &s, batch, NULL, m->points, dim, NULL, 0);
        if (status == BB_OK) status = run_selection(m, kernel, &s, 1, m->points, dim, all);
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
    bb_kernel *kernel;
    int64_t dim;
    selection s;
    if (count == 0) return BB_OK;
    if (!m->kernel || m->n != m->points) return block_of_columns(m, batch, list, count, result);
    BBI_FORWARD(entry_kernel(m, &kernel, &dim));
    bb_status status = open_selection(m, &s);
    if (status == BB_OK) status = select_points(m, &s, batch, list, count, dim, list, count);
    if (status == BB_OK) status = run_selection(m, kernel, &s, count, count, dim, result);
    close_selection(&s);
    return status;
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
