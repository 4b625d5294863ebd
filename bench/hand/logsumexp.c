/* log sum_j exp(-|x_i - y_j|^2 / s): exponents of a block of columns and their maximum in one phase, one rescaling of
 * the sum per block, then 2^(t - max). */
#include "kernel.h"

#define BLOCK 64

static void rows(const R *x, const R *y, int64_t N, double *out) {
    V m[NI], sum[NI], tile[BLOCK * NI];
    UNROLL for (int a = 0; a < NI; a++) m[a] = splat((R)-1e30), sum[a] = splat(0);
    for (int64_t j0 = 0; j0 < N; j0 += BLOCK) {
        int n = (int)(j0 + BLOCK < N ? BLOCK : N - j0);
        V old[NI];
        UNROLL for (int a = 0; a < NI; a++) old[a] = m[a];
        for (int j = 0; j < BLOCK; j += NJ) { /* the last column stands again behind the end: its maximum is no other */
            V *s = tile + j * NI;
            exponents(x, y + (j0 + j) * DX, s, NJ);
            UNROLL for (int q = 0; q < NJ; q++) {
                UNROLL for (int a = 0; a < NI; a++) m[a] = vmax(m[a], s[q * NI + a]);
            }
        }
        UNROLL for (int a = 0; a < NI; a++) old[a] = old[a] - m[a];
        exp2_all(old, NI);
        UNROLL for (int a = 0; a < NI; a++) sum[a] *= old[a];
        int whole = n / NJ * NJ;
        for (int j = 0; j < whole; j += NJ) {
            V t[NI * NJ];
            UNROLL for (int q = 0; q < NJ; q++) {
                UNROLL for (int a = 0; a < NI; a++) t[q * NI + a] = tile[(j + q) * NI + a] - m[a];
            }
            exp2_all(t, NI * NJ);
            UNROLL for (int q = 0; q < NJ; q++) { UNROLL for (int a = 0; a < NI; a++) sum[a] += t[q * NI + a]; }
        }
        for (int j = whole; j < n; j++) {
            V t[NI];
            UNROLL for (int a = 0; a < NI; a++) t[a] = tile[j * NI + a] - m[a];
            exp2_all(t, NI);
            UNROLL for (int a = 0; a < NI; a++) sum[a] += t[a];
        }
    }
    UNROLL for (int a = 0; a < NI; a++) {
        for (int l = 0; l < W; l++) out[a * W + l] = ((double)m[a][l] + log2((double)sum[a][l])) * 0.6931471805599453;
    }
}

void logsumexp(int64_t M, int64_t N, const R *x, const R *y, double s, R *out) {
    packed p;
    pack(&p, M, N, x, y, 1.4426950408889634 / s);
#pragma omp parallel for schedule(dynamic, 4)
    for (int64_t t = 0; t < p.tiles; t++) {
        double tile[TI];
        rows(p.x + t * TI * DX, p.y, N, tile);
        for (int64_t i = t * TI; i < M && i < (t + 1) * TI; i++) out[i] = (R)tile[i - t * TI];
    }
    unpack(&p);
}
