/* Gaussian matrix-vector product a_i = sum_j exp(-|x_i - y_j|^2 / s) b_j in three shapes:
 *   SHAPE 1  two phases per tile: exponents of NI vectors x BLOCK columns to a buffer in L1, then 2^t of NI x NJ
 *            vectors at a time (low D, one column of b);
 *   SHAPE 2  a register tile of NI vectors x NJ columns, exponents and 2^t (high D);
 *   SHAPE 3  a tile of kernel values in L1, then a product of matrices with panels of NE columns of b.
 * Sums of a block of columns are added up in double. */
#include "kernel.h"

#ifndef SHAPE
#define SHAPE 1
#endif
#ifndef BLOCK
#define BLOCK 32
#endif
#ifndef NE
#define NE 5
#endif
#define SUM_BLOCK 256 /* columns of a block sum */
#define FAR_BLOCK 512 /* columns that stay in L2 while all rows pass */
#define PANELS ((E + NE - 1) / NE)

/* 2^t of n vectors of one register tile, eight at a time. */
INLINE void exp2_some(V *s, const int n) {
    UNROLL for (int u = 0; u < n; u += 8) exp2_all(s + u, n - u < 8 ? n - u : 8);
}

#if SHAPE == 3
static void block(const R *x, const R *y, const R *b, int64_t columns, int64_t first, int n, double *sums) {
    V tile[SUM_BLOCK * NI];
    for (int j = 0; j < n; j += NJ) {
        V s[NI * NJ];
        exponents(x, y + j * DX, s, NJ);
        exp2_some(s, NI * NJ);
        UNROLL for (int k = 0; k < NI * NJ; k++) tile[j * NI + k] = s[k];
    }
    for (int e = 0; e < PANELS; e++) {
        V acc[NI * NE];
        UNROLL for (int k = 0; k < NI * NE; k++) acc[k] = splat(0);
        const R *panel = b + ((int64_t)e * columns + first) * NE;
        for (int j = 0; j < n; j++, panel += NE) {
            V k[NI];
            UNROLL for (int a = 0; a < NI; a++) k[a] = tile[j * NI + a];
            UNROLL for (int q = 0; q < NE; q++) {
                V bb = splat(panel[q]);
                UNROLL for (int a = 0; a < NI; a++) acc[q * NI + a] += k[a] * bb;
            }
        }
        UNROLL for (int q = 0; q < NE; q++) {
            UNROLL for (int a = 0; a < NI; a++) {
                for (int l = 0; l < W; l++) sums[(e * NE + q) * TI + a * W + l] += (double)acc[q * NI + a][l];
            }
        }
    }
}
#else
static void block(const R *x, const R *y, const R *b, int64_t columns, int64_t first, int n, double *sums) {
    (void)columns;
    V acc[NI];
    UNROLL for (int a = 0; a < NI; a++) acc[a] = splat(0);
    b += first;
#if SHAPE == 1
    V tile[BLOCK * NI];
    for (int j0 = 0; j0 < n; j0 += BLOCK) {
        for (int j = 0; j < BLOCK; j++) exponents(x, y + (j0 + j) * DX, tile + j * NI, 1);
        for (int j = 0; j < BLOCK; j += NJ) {
            V s[NI * NJ];
            UNROLL for (int k = 0; k < NI * NJ; k++) s[k] = tile[j * NI + k];
            exp2_all(s, NI * NJ);
            UNROLL for (int q = 0; q < NJ; q++) {
                UNROLL for (int a = 0; a < NI; a++) acc[a] += s[q * NI + a] * b[j0 + j + q];
            }
        }
    }
#else
    for (int j = 0; j < n; j += NJ) {
        V s[NI * NJ];
        exponents(x, y + j * DX, s, NJ);
        exp2_some(s, NI * NJ);
        UNROLL for (int q = 0; q < NJ; q++) { UNROLL for (int a = 0; a < NI; a++) acc[a] += s[q * NI + a] * b[j + q]; }
    }
#endif
    UNROLL for (int a = 0; a < NI; a++) {
        for (int l = 0; l < W; l++) sums[a * W + l] += (double)acc[a][l];
    }
}
#endif

void gauss(int64_t M, int64_t N, const R *x, const R *y, const R *b, double s, R *out) {
    packed p;
    pack(&p, M, N, x, y, 1.4426950408889634 / s);
    int64_t step = SHAPE == 1 ? BLOCK : NJ, columns = (N + step - 1) / step * step, width = PANELS * NE;
    R *weights = new_array((size_t)((columns + SUM_BLOCK) * width));
    R *points = p.y;
    if (columns > p.columns) { /* NJ does not divide 64 */
        points = new_array((size_t)(columns * DX));
        memcpy(points, p.y, sizeof(R) * (size_t)(p.columns * DX));
        for (int64_t j = p.columns; j < columns; j++) memcpy(points + j * DX, p.y, sizeof(R) * DX);
    }
    for (int64_t j = 0; j < columns; j++) { /* columns that do not exist weigh nothing */
        for (int e = 0; e < width; e++) {
            R value = j < N && e < E ? b[j * E + e] : 0;
            weights[SHAPE == 3 ? ((e / NE) * columns + j) * NE + e % NE : j] =
                SHAPE == 3 || e == 0 ? value : weights[j];
        }
    }
    int far = FAR_BLOCK / NJ * NJ, near = SUM_BLOCK / (int)step * (int)step, chunk = D > 16 ? 8 : 1;
#pragma omp parallel for schedule(dynamic)
    for (int64_t t0 = 0; t0 < p.tiles; t0 += chunk) {
        int tiles = (int)(t0 + chunk < p.tiles ? chunk : p.tiles - t0);
        double *sums = calloc((size_t)(chunk * TI * width), sizeof(double));
        if (D <= 16) far = (int)columns;
        for (int64_t j0 = 0; j0 < columns; j0 += far) {
            int64_t j1 = j0 + far < columns ? j0 + far : columns;
            for (int t = 0; t < tiles; t++) {
                for (int64_t j = j0; j < j1; j += near) {
                    int n = (int)(j + near < j1 ? near : j1 - j);
                    block(p.x + (t0 + t) * TI * DX, points + j * DX, weights, columns, j, n,
                          sums + (int64_t)t * TI * width);
                }
            }
        }
        for (int64_t i = t0 * TI; i < M && i < (t0 + tiles) * TI; i++) {
            int64_t t = i / TI - t0, l = i % TI;
            for (int e = 0; e < E; e++) out[i * E + e] = (R)sums[(t * width + e) * TI + l];
        }
        free(sums);
    }
    if (points != p.y) free(points);
    free(weights);
    unpack(&p);
}
