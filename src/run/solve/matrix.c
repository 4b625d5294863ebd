/* matrix.c: the matrix of a system, through a program alone: products are runs. A matrix without a program answers by its
 * callbacks. */
#include "solve.h"

#include <stdlib.h>
#include <string.h>

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
    bb_kernel_release(m->owned);
    bb_kernel_release(m->entries);
    bb_kernel_release(m->diagonal);
    bb_kernel_release(m->wide);
    m->inputs = NULL;
    m->owned = m->entries = m->diagonal = m->wide = NULL;
}

/* Operations that a product takes: runs whose axes are the same points meet each pair once, at a little more than a half. */
double bbi_matrix_work(const bbi_matrix *m) {
    int32_t same[BBI_MAX_TWINS];
    bool twins = m->kernel && bbi_twin_inputs(m->kernel, m->inputs, &m->run, same);
    return (double)m->points * (double)m->points * m->pair_cost * (twins ? 0.57 : 1);
}

bb_status bbi_matrix_answered(int stop) {
    return stop ? bbi_fail(BB_CANCELLED, "a callback of the matrix stopped the computation") : BB_OK;
}

bb_status bbi_matrix_multiply(bbi_matrix *m, const double *p, double *q) {
    m->products++;
    if (m->count == 0) return BB_OK;
    if (!m->kernel) return bbi_matrix_answered(m->given->multiply(m->given->data, m->columns, p, q));
    bb_array *direction = &m->inputs[m->unknown];
    if (m->is_double)
        memcpy(direction->data, p, (size_t)m->count * sizeof *p);
    else
        for (int64_t k = 0; k < m->count; k++) ((float *)direction->data)[k] = (float)p[k];
    bb_array product = bb_array_of(q, BB_FLOAT64, direction->ndim, m->shape);
    return bb_run(m->kernel, m->inputs, m->ninput, &product, 1, &m->run);
}
