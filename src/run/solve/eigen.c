/* eigen.c: extreme eigenpairs of a symmetric matrix by block Lanczos (Golub and Underwood, 1977) with full
 * orthogonalisation and thick restarts (Wu and Simon, SIAM J. Matrix Anal. Appl. 22, 2000). A block costs one product,
 * in which the entries of the matrix are computed once for all of its vectors: that is why it is faster here than methods
 * that multiply one vector at a time. Basis vectors are rows. Small matrices are decomposed as they are. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { BLOCK = 8, DENSE_ROWS = 300, MAX_PRODUCTS = 1000, LANES = 32 };

typedef struct eigen {
    bbi_matrix m;
    bb_eigen_options options;
    bb_eigen_result found;
    const bbi_dense *dense;
    bbi_random random;
    int64_t n, ld, block, most;       /* rows; padded; vectors of a block; room in the basis without the last block */
    int64_t size, fresh;              /* vectors in the basis; the last so many of them have not been multiplied */
    double *basis, *spare, *product;  /* (most + block, ld); (most, ld); (block, ld) */
    double *in, *out;                 /* (n, block) */
    double *h, *copy, *ritz, *values; /* projected matrix, (most + block)^2; its eigenvectors as rows and eigenvalues */
    double *coupling;                 /* (block, block): what is left of the product in terms of the next block */
    double *residual;                 /* per Ritz pair */
} eigen;

static double *vector(const eigen *s, int64_t k) { return s->basis + k * s->ld; }

/* ---- products and projections ---------------------------------------------------------------- */
static bb_status multiply_rows(eigen *s, const double *rows, int64_t count, double *result) {
    bbi_matrix *m = &s->m;
    int64_t width = m->columns;
    for (int64_t first = 0; first < count; first += width) {
        int64_t some = count - first < width ? count - first : width;
        memset(s->in, 0, (size_t)(s->n * width) * sizeof *s->in);
        for (int64_t e = 0; e < some; e++)
            for (int64_t i = 0; i < s->n; i++) s->in[i * width + e] = rows[(first + e) * s->ld + i];
        BBI_FORWARD(bbi_matrix_multiply(m, s->in, s->out));
        for (int64_t e = 0; e < some; e++)
            for (int64_t i = 0; i < s->n; i++) result[(first + e) * s->ld + i] = s->out[i * width + e];
    }
    for (int64_t e = 0; e < count; e++)
        for (int64_t i = 0; i < s->n; i++)
            if (!isfinite(result[e * s->ld + i]))
                return bbi_fail(BB_NO_CONVERGENCE,
                                "bb_eigen: a product with the matrix is not finite: check the data and the formula");
    return BB_OK;
}

typedef struct projection {
    const eigen *s;
    int64_t count;
    const double *rows;
    double *result; /* (basis, count) */
} projection;

static void project_on(void *argument, int64_t k) {
    const projection *p = argument;
    for (int64_t e = 0; e < p->count; e++)
        p->result[k * p->count + e] = p->s->dense->dot(vector(p->s, k), p->rows + e * p->s->ld, p->s->n);
}

/* rows <- rows - (their part in the basis), twice; sums, (basis, count), receives the coefficients. */
static void orthogonalise(eigen *s, int64_t size, double *rows, int64_t count, double *sums, double *scratch) {
    memset(sums, 0, (size_t)(size * count) * sizeof *sums);
    for (int pass = 0; pass < 2; pass++) {
        projection p = {s, count, rows, scratch};
        bbi_parallel(size * count * s->n > 100000 ? s->m.threads : 1, size, project_on, &p);
        s->dense->gemm(count, s->ld, size, scratch, 1, count, s->basis, s->ld, rows, s->ld, -1);
        for (int64_t k = 0; k < size * count; k++) sums[k] += scratch[k];
    }
}

/* A vector that is orthogonal to the first `size` of the basis, in place of one that depends on them. False: there is none. */
static bool fresh_vector(eigen *s, int64_t size) {
    double *v = vector(s, size), *sums = s->copy, *scratch = s->copy + s->most + s->block;
    if (size >= s->n) return false;
    for (int tries = 0; tries < 5; tries++) {
        for (int64_t i = 0; i < s->n; i++) v[i] = bbi_random_normal(&s->random);
        double before = sqrt(s->dense->dot(v, v, s->n));
        orthogonalise(s, size, v, 1, sums, scratch);
        double norm = sqrt(s->dense->dot(v, v, s->n));
        if (!(norm > 1e-8 * before)) continue;
        for (int64_t i = 0; i < s->n; i++) v[i] /= norm;
        return true;
    }
    return false;
}

/* What is left of the product becomes the next block, behind the basis: rows = coupling^T next. */
static int64_t next_block(eigen *s, double scale) {
    int64_t room = s->n - s->size < s->fresh ? s->n - s->size : s->fresh, made = 0;
    int64_t had = s->fresh;
    memset(s->coupling, 0, (size_t)(s->block * s->block) * sizeof *s->coupling);
    for (int64_t e = 0; e < had; e++) {
        double *rest = s->product + e * s->ld, norm;
        for (int pass = 0; pass < 2; pass++)
            for (int64_t k = 0; k < made; k++) {
                double *q = vector(s, s->size + k), part = s->dense->dot(q, rest, s->n);
                s->coupling[k * s->block + e] += part;
                for (int64_t i = 0; i < s->n; i++) rest[i] -= part * q[i];
            }
        norm = sqrt(s->dense->dot(rest, rest, s->n));
        if (made >= room) continue;
        if (norm > 1e-14 * scale) {
            double *q = vector(s, s->size + made);
            for (int64_t i = 0; i < s->n; i++) q[i] = rest[i] / norm;
            s->coupling[made++ * s->block + e] = norm;
        }
    }
    while (made < room && fresh_vector(s, s->size + made)) made++;
    return made;
}

/* ---- Rayleigh and Ritz ----------------------------------------------------------------------- */
/* Position of the wanted pair number k in ascending order. */
static int64_t wanted(const eigen *s, int64_t k) {
    if (s->options.which == BB_EIGEN_SMALLEST) return k;
    if (s->options.which == BB_EIGEN_LARGEST) return s->size - 1 - k;
    int64_t low = 0, high = s->size - 1, at = high;
    for (int64_t t = 0; t <= k; t++) at = fabs(s->values[low]) > fabs(s->values[high]) ? low++ : high--;
    return at;
}

static bb_status rayleigh_ritz(eigen *s, double *scale) {
    int64_t ld = s->most + s->block, first = s->size - s->fresh;
    for (int64_t i = 0; i < s->size; i++)
        for (int64_t j = 0; j < s->size; j++) s->copy[i * s->size + j] = 0.5 * (s->h[i * ld + j] + s->h[j * ld + i]);
    BBI_FORWARD(bbi_symmetric_eigen(s->dense, s->copy, s->size, s->size, s->values, s->ritz));
    *scale = 0;
    for (int64_t k = 0; k < s->size; k++) {
        double sum = 0;
        for (int64_t b = 0; b < s->block; b++) {
            double part = 0;
            for (int64_t e = 0; e < s->fresh; e++)
                part += s->coupling[b * s->block + e] * s->ritz[k * s->size + first + e];
            sum += part * part;
        }
        s->residual[k] = sqrt(sum);
        if (fabs(s->values[k]) > *scale) *scale = fabs(s->values[k]);
    }
    return BB_OK;
}

/* spare <- Ritz vectors number wanted(0), wanted(1), ... */
static void ritz_vectors(eigen *s, int64_t count) {
    for (int64_t k = 0; k < count; k++)
        memcpy(s->copy + k * s->size, s->ritz + wanted(s, k) * s->size, (size_t)s->size * sizeof *s->copy);
    memset(s->spare, 0, (size_t)(count * s->ld) * sizeof *s->spare);
    s->dense->gemm(count, s->ld, s->size, s->copy, s->size, 1, s->basis, s->ld, s->spare, s->ld, 1);
}

/* The wanted Ritz vectors and the next block become the basis. */
static void restart(eigen *s, int64_t made) {
    int64_t ld = s->most + s->block, keep = s->options.count + (s->most - s->options.count) / 3;
    if (keep > s->size) keep = s->size;
    if (keep + s->block > s->most) keep = s->most - s->block;
    ritz_vectors(s, keep);
    memmove(vector(s, keep), vector(s, s->size), (size_t)(made * s->ld) * sizeof *s->basis);
    memcpy(s->basis, s->spare, (size_t)(keep * s->ld) * sizeof *s->basis);
    for (int64_t i = 0; i < keep; i++)
        for (int64_t j = 0; j < keep; j++) s->h[i * ld + j] = i == j ? s->values[wanted(s, i)] : 0;
    s->size = keep;
}

/* ---- the iteration --------------------------------------------------------------------------- */
static bb_status step(eigen *s, double *scale, int64_t *made) {
    int64_t ld = s->most + s->block, first = s->size - s->fresh;
    double *sums = s->copy, *scratch = s->copy + s->size * s->fresh;
    BBI_FORWARD(multiply_rows(s, vector(s, first), s->fresh, s->product));
    for (int64_t e = 0; e < s->fresh; e++) {
        double norm = sqrt(s->dense->dot(s->product + e * s->ld, s->product + e * s->ld, s->n));
        if (norm > *scale) *scale = norm;
    }
    orthogonalise(s, s->size, s->product, s->fresh, sums, scratch);
    for (int64_t k = 0; k < s->size; k++)
        for (int64_t e = 0; e < s->fresh; e++)
            s->h[k * ld + first + e] = s->h[(first + e) * ld + k] = sums[k * s->fresh + e];
    for (int64_t k = first; k < s->size; k++)
        for (int64_t e = 0; e < s->fresh; e++)
            s->h[k * ld + first + e] = 0.5 * (sums[k * s->fresh + e] + sums[(first + e) * s->fresh + k - first]);
    *made = next_block(s, *scale);
    return rayleigh_ritz(s, scale);
}

static double tolerance_of(const eigen *s) {
    return s->options.tolerance > 0 ? s->options.tolerance : s->m.is_double ? 1e-10 : 1e-6;
}

/* The largest residual of the wanted pairs by the recurrence, relative. */
static double worst_of(const eigen *s, double scale) {
    double worst = 0;
    for (int64_t k = 0; k < s->options.count; k++)
        if (k >= s->size)
            return INFINITY;
        else if (s->residual[wanted(s, k)] > worst)
            worst = s->residual[wanted(s, k)];
    return scale > 0 ? worst / scale : 0;
}

static bb_status iterate(eigen *s) {
    double scale = 0;
    int64_t made = 0, limit = s->options.max_products ? s->options.max_products : MAX_PRODUCTS;
    while (made < s->block && fresh_vector(s, made)) made++;
    s->size = s->fresh = made;
    for (;;) {
        BBI_FORWARD(step(s, &scale, &made));
        double worst = worst_of(s, scale);
        s->found.residual = worst;
        if (s->options.report && s->options.report(s->options.report_data, s->m.products, worst))
            return bbi_fail(BB_CANCELLED, "bb_eigen: cancelled after %lld products", (long long)s->m.products);
        if (worst <= 0.5 * tolerance_of(s) || made == 0 || s->m.products >= limit) return BB_OK;
        if (s->size + made > s->most) restart(s, made);
        s->size += made;
        s->fresh = made;
    }
}

/* The whole matrix as its own projection. */
static bb_status decompose(eigen *s) {
    int64_t *list = bbi_alloc((size_t)s->n * sizeof *list + 8);
    if (!list) return bbi_fail(BB_OUT_OF_MEMORY, "bb_eigen: out of memory");
    for (int64_t k = 0; k < s->n; k++) list[k] = k;
    bb_status status = bbi_matrix_columns(&s->m, 0, list, s->n, s->h);
    bbi_free(list);
    BBI_FORWARD(status);
    s->m.products++;
    for (int64_t i = 0; i < s->n * s->n; i++)
        if (!isfinite(s->h[i]))
            return bbi_fail(BB_NO_CONVERGENCE, "bb_eigen: the matrix has entries that are not finite: check the data");
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t j = 0; j < s->n; j++) s->copy[i * s->n + j] = 0.5 * (s->h[i * s->n + j] + s->h[j * s->n + i]);
    s->size = s->n;
    memset(s->basis, 0, (size_t)(s->n * s->ld) * sizeof *s->basis);
    for (int64_t i = 0; i < s->n; i++) vector(s, i)[i] = 1;
    return bbi_symmetric_eigen(s->dense, s->copy, s->n, s->n, s->values, s->ritz);
}

/* The pairs in ascending order, and what they are worth. */
static bb_status deliver(eigen *s, double *values, double *vectors) {
    int64_t count = s->options.count;
    double scale = 0, worst = 0;
    ritz_vectors(s, count);
    int64_t *order = bbi_alloc((size_t)count * sizeof *order + 8);
    if (!order) return bbi_fail(BB_OUT_OF_MEMORY, "bb_eigen: out of memory");
    for (int64_t k = 0; k < count; k++) {
        int64_t at = k;
        for (; at > 0 && s->values[wanted(s, order[at - 1])] > s->values[wanted(s, k)]; at--) order[at] = order[at - 1];
        order[at] = k;
    }
    for (int64_t k = 0; k < s->size; k++)
        if (fabs(s->values[k]) > scale) scale = fabs(s->values[k]);
    bb_status status = BB_OK;
    for (int64_t first = 0; first < count && status == BB_OK; first += s->block) {
        int64_t some = count - first < s->block ? count - first : s->block;
        status = multiply_rows(s, s->spare + first * s->ld, some, s->product);
        for (int64_t e = 0; e < some && status == BB_OK; e++) {
            double sum = 0, value = s->values[wanted(s, first + e)];
            for (int64_t i = 0; i < s->n; i++) {
                double r = s->product[e * s->ld + i] - value * s->spare[(first + e) * s->ld + i];
                sum += r * r;
            }
            if (sqrt(sum) > worst) worst = sqrt(sum);
        }
    }
    for (int64_t k = 0; k < count; k++) {
        values[k] = s->values[wanted(s, order[k])];
        for (int64_t i = 0; vectors && i < s->n; i++) vectors[i * count + k] = s->spare[order[k] * s->ld + i];
    }
    bbi_free(order);
    BBI_FORWARD(status);
    s->found.residual = scale > 0 ? worst / scale : worst;
    if (s->found.residual <= 2 * tolerance_of(s)) return BB_OK;
    if (s->found.residual <= (s->m.is_double ? 1e-7 : 1e-4) && !(s->options.tolerance > 0)) {
        s->found.remark = "rounding keeps the residual above the tolerance";
        return BB_OK;
    }
    return bbi_fail(
        BB_NO_CONVERGENCE,
        "bb_eigen: after %lld products the residual is %.3g of the largest eigenvalue, not %.3g: allow more "
        "products or a larger basis, loosen the tolerance, %s",
        (long long)s->m.products, s->found.residual, tolerance_of(s),
        s->m.is_double ? "or check that the matrix is symmetric"
                       : "use float64, or check that the matrix is symmetric");
}

static bb_status allocate(eigen *s, bool dense) {
    int64_t room = dense ? s->n : s->most + s->block, spare = dense ? s->n : s->most;
    size_t n = (size_t)s->ld, all = (size_t)room, square = all * all;
    s->basis = bbi_calloc((all + (size_t)spare + (size_t)s->block) * n + 1, sizeof *s->basis);
    s->in = bbi_calloc(2 * (size_t)(s->n * s->block) + 1, sizeof *s->in);
    s->h =
        bbi_calloc(4 * square + 2 * all * (size_t)s->block + 2 * all + (size_t)(s->block * s->block) + 1, sizeof *s->h);
    if (!s->basis || !s->in || !s->h)
        return bbi_fail(BB_OUT_OF_MEMORY, "bb_eigen: out of memory for %lld vectors of %lld rows", (long long)room,
                        (long long)s->n);
    s->spare = s->basis + all * n, s->product = s->spare + (size_t)spare * n;
    s->out = s->in + s->n * s->block;
    s->ritz = s->h + square, s->copy = s->ritz + square;
    s->values = s->copy + 2 * square + 2 * all * (size_t)s->block;
    s->residual = s->values + all, s->coupling = s->residual + all;
    return BB_OK;
}

static bb_status choose_sizes(eigen *s) {
    const bb_eigen_options *o = &s->options;
    int64_t memory = o->memory ? o->memory : (int64_t)1 << 28, rows = memory / (16 * s->ld + 1);
    if (o->count > s->n)
        return bbi_fail(BB_BAD_ARGUMENT, "bb_eigen: %lld eigenpairs of a matrix of %lld rows", (long long)o->count,
                        (long long)s->n);
    s->most = o->basis ? o->basis : 3 * o->count + 6 * s->block;
    if (!o->basis && s->most > rows) s->most = rows;
    if (s->most < o->count + 2 * s->block) s->most = o->count + 2 * s->block;
    if (s->most > s->n) s->most = s->n > s->block ? s->n : s->block;
    return BB_OK;
}

static bb_status compute(eigen *s, const bb_matrix *matrix, double *values, double *vectors) {
    const bb_eigen_options *o = &s->options;
    bb_matrix given;
    if (!matrix || !values) return bbi_fail(BB_BAD_ARGUMENT, "bb_eigen: the matrix and values must not be NULL");
    if (o->count < 0 || o->block < 0 || o->basis < 0 || o->max_products < 0 || o->memory < 0 || !(o->tolerance >= 0) ||
        (int)o->which < 0 || o->which > BB_EIGEN_MAGNITUDE)
        return bbi_fail(BB_BAD_ARGUMENT,
                        "bb_eigen: count, block, basis, max_products, memory and tolerance must be at least 0, "
                        "which one of bb_eigen_which");
    BBI_FORWARD(bbi_matrix_given(matrix, &given));
    s->block = o->block ? o->block : o->count < BLOCK ? o->count + (o->count < 2) : BLOCK;
    BBI_FORWARD(bbi_matrix_open_block(&s->m, "bb_eigen", &given, s->block));
    if (s->m.batches != 1)
        return bbi_fail(BB_BAD_SHAPE, "bb_eigen: a batch of %lld matrices: give one at a time",
                        (long long)s->m.batches);
    s->n = s->m.n;
    s->ld = (s->n + LANES - 1) / LANES * LANES;
    s->dense = bbi_dense_of(s->m.level);
    s->random = (bbi_random){o->seed};
    BBI_FORWARD(choose_sizes(s));
    if (o->count == 0) return BB_OK;
    bool dense = s->n <= DENSE_ROWS && !s->m.structure.no_entries && !o->basis && !o->block;
    BBI_FORWARD(allocate(s, dense));
    bbi_team_enter();
    bb_status status = dense ? decompose(s) : iterate(s);
    bbi_team_leave();
    return status == BB_OK ? deliver(s, values, vectors) : status;
}

bb_status bb_eigen(const bb_matrix *matrix, const bb_eigen_options *options, double *values, double *vectors,
                   bb_eigen_result *result) {
    eigen s = {.found = {.size = sizeof s.found, .remark = ""}};
    double start = bbi_seconds();
    if (options && !bbi_options_fit(options->size, sizeof s.options, "bb_eigen_options")) return BB_BAD_ARGUMENT;
    if (options) memcpy(&s.options, options, options->size < sizeof s.options ? options->size : sizeof s.options);
    bb_status status = compute(&s, matrix, values, vectors);
    bbi_free(s.basis), bbi_free(s.in), bbi_free(s.h);
    bbi_matrix_close(&s.m);
    s.found.products = s.m.products;
    s.found.seconds = bbi_seconds() - start;
    if (result && result->size) {
        size_t size = result->size < sizeof s.found ? result->size : sizeof s.found;
        s.found.size = result->size;
        memcpy(result, &s.found, size);
    }
    return status;
}
