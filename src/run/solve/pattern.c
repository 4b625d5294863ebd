/* pattern.c: the neighbours of a sparse inverse factor, from the points themselves. Unknowns are put in a random order, and for
 * each of them the nearest of those before it are found by a k-d tree (Bentley, Commun. ACM 18, 1975) whose nodes know the
 * first of their points in that order: what comes later is passed over as a whole. Random orders spread early unknowns
 * over the whole, so that neighbours lie at all scales. */
#include "solve.h"

#include <math.h>
#include <string.h>

enum { LEAF = 12, MAX_DIM = 16, CLUSTER = 256 };

typedef struct node {
    int64_t first, count, right; /* points; number of the right child, 0 in a leaf; the left one comes next */
    int64_t least;               /* rank */
    double low[MAX_DIM], high[MAX_DIM];
} node;

typedef struct tree {
    int64_t n, nodes, wanted, leaf; /* leaf: points of a leaf, at most */
    int dim;
    const double *x;       /* (n, dim) */
    int64_t *rank, *order; /* of each unknown; unknowns by leaves */
    node *node;
    int64_t *list;    /* (n, wanted) */
    double *distance; /* (n, wanted), squared, of a heap for each unknown that is being looked at */
} tree;

static void bounds(const tree *t, node *at) {
    for (int d = 0; d < t->dim; d++) at->low[d] = INFINITY, at->high[d] = -INFINITY;
    at->least = INT64_MAX;
    for (int64_t k = at->first; k < at->first + at->count; k++) {
        const double *p = t->x + t->order[k] * t->dim;
        for (int d = 0; d < t->dim; d++) {
            at->low[d] = fmin(at->low[d], p[d]);
            at->high[d] = fmax(at->high[d], p[d]);
        }
        if (t->rank && t->rank[t->order[k]] < at->least) at->least = t->rank[t->order[k]];
    }
}

/* Whether unknown a stands before b along an axis: equal coordinates go by number, so that halves are what they are. */
static bool before(const tree *t, int axis, int64_t a, int64_t b) {
    double x = t->x[a * t->dim + axis], y = t->x[b * t->dim + axis];
    return x < y || (x == y && a < b);
}

/* order[first .. first + middle - 1] stand before the others (Hoare's quickselect) */
static void halve(const tree *t, int axis, int64_t *order, int64_t count, int64_t middle) {
    int64_t low = 0, high = count - 1;
    while (low < high) {
        int64_t pivot = order[low + (high - low) / 2], i = low, j = high;
        while (i <= j) {
            while (before(t, axis, order[i], pivot)) i++;
            while (before(t, axis, pivot, order[j])) j--;
            if (i > j) break;
            int64_t swap = order[i];
            order[i++] = order[j];
            order[j--] = swap;
        }
        if (middle <= j)
            high = j;
        else if (middle >= i)
            low = i;
        else
            return;
    }
}

/* The nodes of a range of the order, in front of the children: depth is logarithmic, as halves are halves. */
static void grow(tree *t, int64_t first, int64_t count) {
    node *at = &t->node[t->nodes++];
    *at = (node){.first = first, .count = count};
    bounds(t, at);
    if (count <= t->leaf) return;
    int axis = 0;
    for (int d = 1; d < t->dim; d++)
        if (at->high[d] - at->low[d] > at->high[axis] - at->low[axis]) axis = d;
    halve(t, axis, t->order + first, count, count / 2);
    grow(t, first, count / 2);
    at->right = t->nodes;
    grow(t, first + count / 2, count - count / 2);
}

/* ---- the nearest ----------------------------------------------------------------------------- */
typedef struct query {
    const tree *t;
    const double *at;
    int64_t rank, count;
    int64_t *list; /* a heap, the farthest in front */
    double *distance;
} query;

static void sink(query *q, int64_t k, int64_t number, double distance) {
    for (int64_t child; (child = 2 * k + 1) < q->count; k = child) {
        if (child + 1 < q->count && q->distance[child + 1] > q->distance[child]) child++;
        if (!(q->distance[child] > distance)) break;
        q->distance[k] = q->distance[child];
        q->list[k] = q->list[child];
    }
    q->distance[k] = distance;
    q->list[k] = number;
}

static void offer(query *q, int64_t number, double distance) {
    if (q->count == q->t->wanted) {
        if (distance < q->distance[0]) sink(q, 0, number, distance);
        return;
    }
    int64_t k = q->count++;
    for (int64_t parent; k > 0 && q->distance[parent = (k - 1) / 2] < distance; k = parent) {
        q->distance[k] = q->distance[parent];
        q->list[k] = q->list[parent];
    }
    q->distance[k] = distance;
    q->list[k] = number;
}

static double distance_to_box(const query *q, const node *at) {
    double sum = 0;
    for (int d = 0; d < q->t->dim; d++) {
        double x = q->at[d], gap = fmax(fmax(at->low[d] - x, x - at->high[d]), 0);
        sum += gap * gap;
    }
    return sum;
}

static void visit(query *q, int64_t number, double distance) {
    const tree *t = q->t;
    const node *at = &t->node[number];
    if (at->least >= q->rank || (q->count == t->wanted && !(distance < q->distance[0]))) return;
    if (at->right) {
        double left = distance_to_box(q, &t->node[number + 1]), right = distance_to_box(q, &t->node[at->right]);
        visit(q, left <= right ? number + 1 : at->right, fmin(left, right));
        visit(q, left <= right ? at->right : number + 1, fmax(left, right));
        return;
    }
    for (int64_t k = at->first; k < at->first + at->count; k++) {
        int64_t other = t->order[k];
        if (t->rank[other] >= q->rank) continue;
        double sum = 0;
        for (int d = 0; d < t->dim; d++) {
            double gap = q->at[d] - t->x[other * t->dim + d];
            sum += gap * gap;
        }
        offer(q, other, sum);
    }
}

enum { TOGETHER = 256 }; /* unknowns of an item of the threads */

static void look_some(void *argument, int64_t item) {
    const tree *t = argument;
    for (int64_t i = item * TOGETHER; i < (item + 1) * TOGETHER && i < t->n; i++) {
        query q = {.t = t,
                   .at = t->x + i * t->dim,
                   .rank = t->rank[i],
                   .list = t->list + i * t->wanted,
                   .distance = t->distance + i * t->wanted};
        visit(&q, 0, 0);
        for (int64_t k = q.count; k < t->wanted; k++) q.list[k] = -1;
    }
}

static bool open_tree(tree *t) {
    t->order = bbi_alloc((size_t)t->n * sizeof *t->order + 8);
    t->node = bbi_alloc((size_t)(2 * (t->n / (t->leaf / 2) + 1)) * sizeof *t->node);
    for (int64_t k = 0; t->order && k < t->n; k++) t->order[k] = k;
    return t->order && t->node;
}

/* Whether there was memory for it. */
static bool close_tree(tree *t) {
    bool good = t->order && t->node;
    bbi_free(t->order);
    bbi_free(t->node);
    return good;
}

static void shuffle(tree *t, uint64_t seed) {
    bbi_random random = {seed ^ 0x6C62272E07BB0142u};
    for (int64_t k = 0; k < t->n; k++) t->rank[k] = k;
    for (int64_t k = t->n - 1; k > 0; k--) {
        int64_t other = (int64_t)(bbi_random_uniform(&random) * (double)(k + 1)), swap = t->rank[k];
        t->rank[k] = t->rank[other];
        t->rank[other] = swap;
    }
}

bb_status bbi_pattern_make(const double *points, int64_t n, int dim, int64_t wanted, int threads, uint64_t seed,
                           int64_t *list, int64_t *rank) {
    tree t = {.n = n, .dim = dim, .leaf = LEAF, .x = points, .wanted = wanted, .rank = rank, .list = list};
    bool good = open_tree(&t);
    t.distance = bbi_alloc((size_t)(n * wanted) * sizeof *t.distance + 8);
    if (good && t.distance) {
        shuffle(&t, seed);
        grow(&t, 0, n);
        bbi_parallel(threads, (n + TOGETHER - 1) / TOGETHER, look_some, &t);
    }
    good = close_tree(&t) && t.distance;
    bbi_free(t.distance);
    return good ? BB_OK
                : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for %lld neighbours of %lld unknowns",
                           (long long)wanted, (long long)n);
}

bb_status bbi_pattern_clusters(const double *points, int64_t n, int dim, int64_t *label) {
    tree t = {.n = n, .dim = dim, .leaf = CLUSTER, .x = points};
    int64_t count = 0;
    if (open_tree(&t)) {
        grow(&t, 0, n);
        for (int64_t k = 0; k < t.nodes; k++) {
            const node *at = &t.node[k];
            for (int64_t i = at->first; !at->right && i < at->first + at->count; i++) label[t.order[i]] = count;
            count += !at->right;
        }
    }
    return close_tree(&t)
               ? BB_OK
               : bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory for clusters of %lld unknowns", (long long)n);
}

/* ---- the points of a matrix ------------------------------------------------------------------ */
/* The widest array of the output's axis: its number, or -1 where there is none that gives places of the unknowns. */
static int find_points(const bbi_matrix *m) {
    const bbi_variable *v = m->kernel->program->signature.variables;
    int best = -1;
    for (int k = 0; k < m->ninput; k++) {
        bool places = v[k].place != BBI_P && v[k].place != v[m->unknown].place && k != m->unknown;
        if (places && bbi_array_dtype(&m->inputs[k]) != BBI_I64 && (best < 0 || v[k].dim > v[best].dim)) best = k;
    }
    return best;
}

int bbi_matrix_dimension(const bbi_matrix *m) {
    int found = m->kernel && m->n == m->points ? find_points(m) : -1;
    int64_t dim = found < 0 ? 0 : m->kernel->program->signature.variables[found].dim;
    return dim > MAX_DIM ? 0 : (int)dim;
}

bb_status bbi_matrix_places(const bbi_matrix *m, int64_t batch, double *points, bool *finite) {
    int found = find_points(m), dim = bbi_matrix_dimension(m);
    int64_t lanes = BBI_LANE_BYTES / (int64_t)sizeof(double);
    bbi_view view;
    bbi_view_of(&m->inputs[found], 2, &m->extent, &view);
    bbi_array a = bbi_view_at(&view, &m->extent, batch);
    double *wide = bbi_alloc_aligned((size_t)(dim * BBI_LANE_BYTES));
    if (!wide) return bbi_fail(BB_OUT_OF_MEMORY, "bb_solve: out of memory");
    *finite = true;
    for (int64_t first = 0; first < m->points; first += lanes) {
        int64_t count = m->points - first < lanes ? m->points - first : lanes;
        bbi_pack(true, 0, wide, lanes, &a, dim, first, count, lanes);
        for (int64_t k = 0; k < count; k++)
            for (int d = 0; d < dim; d++) {
                points[(first + k) * dim + d] = wide[d * lanes + k];
                *finite = *finite && isfinite(wide[d * lanes + k]);
            }
    }
    bbi_free_aligned(wide);
    return BB_OK;
}
