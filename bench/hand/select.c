/* Indices of the K nearest columns: a register tile of distances, one comparison and branch per tile against the
 * running K-th distance, a branch-free insertion into sorted lists on the rare hit. K = 1 is argmin. Ties: the smaller
 * index, because columns come in order and only smaller distances enter. */
#include "kernel.h"

#ifndef K
#define K 10
#endif
#ifndef FAR_BLOCK
#define FAR_BLOCK (D <= 16 ? 6000 : D <= 128 ? 504 : 96)
#endif
#ifndef CHUNK
#define CHUNK 16 /* row tiles that pass one far block together */
#endif

typedef struct list {
    V d[K];
    VI j[K];
} list;

static __attribute__((noinline)) void insert(list *restrict l, V s, I j) {
    VI jj = j - (VI){0};
    UNROLL for (int k = 0; k < K; k++) {
        V d = l->d[k];
        VI index = l->j[k], less = s < d;
        l->d[k] = vmin(s, d);
        s = vmax(d, s);
        l->j[k] = (less & jj) | (~less & index);
        jj = (less & index) | (~less & jj);
    }
}

static __attribute__((noinline)) void hit(list *l, V *bound, const V *s, int64_t j, int64_t N) {
    for (int q = 0; q < NJ && j + q < N; q++) {
        for (int a = 0; a < NI; a++) {
            V distance = -s[q * NI + a];
            if (!some_less(distance, bound[a])) continue;
            insert(l + a, distance, (I)(j + q));
            bound[a] = l[a].d[K - 1];
        }
    }
}

static void pass(const R *x, const R *y, int64_t j0, int64_t j1, int64_t N, list *l, V *bounds) {
    V top[NI]; /* minus the bounds: exponents() yields minus the distances */
    UNROLL for (int a = 0; a < NI; a++) top[a] = -bounds[a];
    for (int64_t j = j0; j < j1; j += NJ) {
        V s[NI * NJ];
        exponents(x, y + j * DX, s, NJ);
        int some = 0;
        UNROLL for (int a = 0; a < NI; a++) {
            V m = s[a];
            UNROLL for (int q = 1; q < NJ; q++) m = vmax(m, s[q * NI + a]);
            some |= some_less(top[a], m);
        }
        if (__builtin_expect(some, 0)) {
            V copy[NI * NJ], bound[NI];
            UNROLL for (int k = 0; k < NI * NJ; k++) copy[k] = s[k];
            UNROLL for (int a = 0; a < NI; a++) bound[a] = -top[a];
            hit(l, bound, copy, j, N);
            UNROLL for (int a = 0; a < NI; a++) top[a] = -bound[a];
        }
    }
    UNROLL for (int a = 0; a < NI; a++) bounds[a] = -top[a];
}

void nearest(int64_t M, int64_t N, const R *x, const R *y, int64_t *out) {
    packed p;
    pack(&p, M, N, x, y, 1);
    int64_t columns = (N + NJ - 1) / NJ * NJ;
    R *points = new_array((size_t)(columns * DX));
    memcpy(points, p.y, sizeof(R) * (size_t)((columns < p.columns ? columns : p.columns) * DX));
    for (int64_t j = p.columns; j < columns; j++) memcpy(points + j * DX, p.y, sizeof(R) * DX);
    int64_t far = FAR_BLOCK / NJ * NJ;
#pragma omp parallel for schedule(dynamic)
    for (int64_t t0 = 0; t0 < p.tiles; t0 += CHUNK) {
        int tiles = (int)(t0 + CHUNK < p.tiles ? CHUNK : p.tiles - t0);
        list *lists = aligned_alloc(64, sizeof(list) * (size_t)(tiles * NI));
        V bounds[CHUNK * NI];
        for (int t = 0; t < tiles * NI; t++) {
            bounds[t] = splat((R)INFINITY);
            for (int k = 0; k < K; k++) lists[t].d[k] = splat((R)INFINITY), lists[t].j[k] = (VI){0};
        }
        for (int64_t j = 0; j < columns; j += far) {
            for (int t = 0; t < tiles; t++) {
                pass(p.x + (t0 + t) * TI * DX, points, j, j + far < columns ? j + far : columns, N, lists + t * NI,
                     bounds + t * NI);
            }
        }
        for (int64_t i = t0 * TI; i < M && i < (t0 + tiles) * TI; i++) {
            int64_t row = i - t0 * TI;
            for (int k = 0; k < K; k++) out[i * K + k] = lists[row / W].j[k][row % W];
        }
        free(lists);
    }
    free(points);
    unpack(&p);
}
