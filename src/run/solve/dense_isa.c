/* dense_isa.c: the inner loops of dense.c for one instruction set: a tile of a matrix product in registers, products
 * with a panel, scalar products. The sums run in vectors, so they depend on the instruction set and on nothing else. */
#include "backend/prelude/cpu.h"

#include "solve.h"

#if BB_DOUBLE

#ifdef __clang__
#define UNROLL _Pragma("unroll")
#else
#define UNROLL _Pragma("GCC unroll 32")
#endif

/* Rows and vectors of a tile: accumulators, a row of B and one number of A fill the registers. */
enum {
    TILE_ROWS = 6,
    TILE_VECTORS = BB_ISA == 2 ? 4 : 2,
    TILE_LANES = TILE_VECTORS * BB_W,
    VECTORS = BBI_PANEL / BB_W
};

BB_INLINE void tile(int rows, int64_t depth, const double *a, int64_t row, int64_t step, const double *b, int64_t ldb,
                    double *c, int64_t ldc, double sign) {
    V sum[TILE_ROWS][TILE_VECTORS];
    UNROLL
    for (int i = 0; i < rows; i++) UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] = K(0);
    for (int64_t k = 0; k < depth; k++) {
        V x[TILE_VECTORS];
        UNROLL
        for (int v = 0; v < TILE_VECTORS; v++) x[v] = v_loadu(b + k * ldb + v * BB_W);
        UNROLL
        for (int i = 0; i < rows; i++) {
            V y = v_splat(a[i * row + k * step]);
            UNROLL
            for (int v = 0; v < TILE_VECTORS; v++) sum[i][v] = v_fma(y, x[v], sum[i][v]);
        }
    }
    UNROLL
    for (int i = 0; i < rows; i++) UNROLL
    for (int v = 0; v < TILE_VECTORS; v++) {
        double *at = c + i * ldc + v * BB_W;
        v_storeu(at, v_fma(K(sign), sum[i][v], v_loadu(at)));
    }
}

static void gemm(int64_t rows, int64_t lanes, int64_t depth, const double *a, int64_t row, int64_t step,
                 const double *b, int64_t ldb, double *c, int64_t ldc, double sign) {
    for (int64_t l = 0; l < lanes; l += TILE_LANES) {
        int64_t i = 0;
        for (; i + TILE_ROWS <= rows; i += TILE_ROWS)
            tile(TILE_ROWS, depth, a + i * row, row, step, b + l, ldb, c + i * ldc + l, ldc, sign);
        for (; i + 2 <= rows; i += 2) tile(2, depth, a + i * row, row, step, b + l, ldb, c + i * ldc + l, ldc, sign);
        for (; i < rows; i++) tile(1, depth, a + i * row, row, step, b + l, ldb, c + i * ldc + l, ldc, sign);
    }
}

static void project(int64_t width, const double *panel, const double *v, double *sums) {
    V x[VECTORS];
    UNROLL
    for (int k = 0; k < VECTORS; k++) x[k] = v_loadu(v + k * BB_W);
    for (int64_t k = 0; k < width; k++) {
        const double *column = panel + k * BBI_PANEL;
        V a = v_loadu(sums + 8 * k), b = K(0);
        UNROLL
        for (int w = 0; w < VECTORS; w += 2) {
            a = v_fma(v_loadu(column + w * BB_W), x[w], a);
            b = v_fma(v_loadu(column + (w + 1) * BB_W), x[w + 1], b);
        }
        v_storeu(sums + 8 * k, a + b);
    }
}

static double dot(const double *a, const double *b, int64_t count) {
    V s = K(0), t = K(0);
    int64_t k = 0;
    for (; k + 2 * BB_W <= count; k += 2 * BB_W) {
        s = v_fma(v_loadu(a + k), v_loadu(b + k), s);
        t = v_fma(v_loadu(a + k + BB_W), v_loadu(b + k + BB_W), t);
    }
    double part[BB_W], sum = 0;
    v_storeu(part, s + t);
    for (int l = 0; l < BB_W; l++) sum += part[l];
    for (; k < count; k++) sum += a[k] * b[k];
    return sum;
}

static void flush(int64_t count, double *a) {
    for (int64_t k = 0; k < count; k += BB_W) {
        V x = v_loadu(a + k);
        v_storeu(a + k, v_sel(v_lt(v_abs(x), K(BBI_TINY)), K(0), x));
    }
}

static void squares(int64_t width, const double *panel, double *diagonal) {
    V x[VECTORS];
    UNROLL
    for (int w = 0; w < VECTORS; w++) x[w] = v_loadu(diagonal + w * BB_W);
    for (int64_t k = 0; k < width; k++) UNROLL
    for (int w = 0; w < VECTORS; w++) {
        V y = v_loadu(panel + k * BBI_PANEL + w * BB_W);
        x[w] = v_fma(-y, y, x[w]);
    }
    UNROLL
    for (int w = 0; w < VECTORS; w++) v_storeu(diagonal + w * BB_W, x[w]);
}

/* ---- tall matrices of few columns ---- */
/* Rows in front, of `size` numbers and `step` from one to the next, where whole vectors may be read. */
static int64_t roomy_rows(int64_t rows, int64_t step, int size) {
    int64_t padded = (size + BB_W - 1) / BB_W * BB_W, without = (padded - size + step - 1) / step;
    return rows > without ? rows - without : 0;
}

enum { CROSS_ROWS = 4 };

BB_INLINE void cross_tile(int count, int64_t rows, int64_t step, const double *a, const double *b, double *sums) {
    V sum[CROSS_ROWS];
    UNROLL
    for (int i = 0; i < count; i++) sum[i] = K(0);
    for (int64_t r = 0; r < rows; r++) {
        V x = v_loadu(b + r * step);
        UNROLL
        for (int i = 0; i < count; i++) sum[i] = v_fma(v_splat(a[r * step + i]), x, sum[i]);
    }
    UNROLL
    for (int i = 0; i < count; i++) v_storeu(sums + i * BB_W, sum[i]);
}

static void cross(int64_t rows, int64_t step, int size, const double *a, const double *b, double *sums) {
    if (size == 1 && step == 1) {
        sums[0] = dot(a, b, rows);
        return;
    }
    int64_t roomy = roomy_rows(rows, step, size);
    for (int i = 0; i < size; i += CROSS_ROWS)
        for (int j = 0; j < size; j += BB_W) {
            double part[CROSS_ROWS * BB_W] = {0};
            int count = size - i < CROSS_ROWS ? size - i : CROSS_ROWS;
            if (count == CROSS_ROWS)
                cross_tile(CROSS_ROWS, roomy, step, a + i, b + j, part);
            else
                for (int k = 0; k < count; k++) cross_tile(1, roomy, step, a + i + k, b + j, part + k * BB_W);
            for (int k = 0; k < count; k++)
                for (int l = 0; l < BB_W && j + l < size; l++) {
                    double sum = part[k * BB_W + l];
                    for (int64_t r = roomy; r < rows; r++) sum += a[r * step + i + k] * b[r * step + j + l];
                    sums[(i + k) * BBI_BLOCK + j + l] = sum;
                }
        }
}

static void axpy(int64_t count, double c, const double *x, double *y) {
    int64_t k = 0;
    for (; k + BB_W <= count; k += BB_W) v_storeu(y + k, v_fma(K(c), v_loadu(x + k), v_loadu(y + k)));
    for (; k < count; k++) y[k] += c * x[k];
}

/* A row's vector reaches into the next row, to whose numbers it adds 0: rows are written one after the other. */
static void combine(int64_t rows, int64_t step, int size, const double *b, const double *c, double *y, int64_t y_step) {
    if (size == 1 && step == 1 && y_step == 1) {
        axpy(rows, c[0], b, y);
        return;
    }
    int64_t roomy = roomy_rows(rows, y_step, size);
    for (int64_t r = 0; r < roomy; r++)
        for (int j = 0; j < size; j += BB_W) {
            V sum = v_loadu(y + r * y_step + j);
            for (int i = 0; i < size; i++) sum = v_fma(v_splat(b[r * step + i]), v_loadu(c + i * BBI_BLOCK + j), sum);
            v_storeu(y + r * y_step + j, sum);
        }
    for (int64_t r = roomy; r < rows; r++)
        for (int j = 0; j < size; j++)
            for (int i = 0; i < size; i++) y[r * y_step + j] += b[r * step + i] * c[i * BBI_BLOCK + j];
}

#define DENSE_NAME_(isa) bbi_dense_isa_##isa
#define DENSE_NAME(isa) DENSE_NAME_(isa)
const bbi_dense DENSE_NAME(BB_ISA) = {gemm, project, dot, flush, squares, cross, combine};

#else
extern int bbi_nothing_for_float;
#endif
