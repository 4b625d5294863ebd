/* build.c: the BUILD rows of op.def: operations that are made of others in a way that a formula cannot say,
 * because the shape of the construction depends on dimensions or integers. Each function gets operands that
 * exist (never NULL) in the number that its row states, and either returns a node or stores an error;
 * operands of what it calls may be NULL, so that only the end needs to be looked at. */
#include "expr.h"

#include <math.h>

#define BUILDER(name)                                                                                                  \
    static const bbi_node *name(bbi_context *c, const bbi_node *const *args, int narg, const int64_t *ints, int nint)
#define UNUSED (void)c, (void)args, (void)narg, (void)ints, (void)nint

static const bbi_node *add(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    return bbi_op2(c, BBI_OP_add, a, b);
}
static const bbi_node *sub(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    return bbi_op2(c, BBI_OP_sub, a, b);
}
static const bbi_node *mul(bbi_context *c, const bbi_node *a, const bbi_node *b) {
    return bbi_op2(c, BBI_OP_mul, a, b);
}

/* ---- powers, rounding, constants ---- */
BUILDER(build_pow) {
    UNUSED;
    uint64_t n = ints[0] < 0 ? -(uint64_t)ints[0] : (uint64_t)ints[0];
    const bbi_node *base = args[0], *power = NULL;
    if (n == 0) return base->dim == 1 ? bbi_const(c, 1) : bbi_repeat(c, bbi_const(c, 1), base->dim);
    for (;; base = bbi_op1(c, BBI_OP_square, base)) {
        if (n & 1) power = power ? mul(c, power, base) : base;
        n >>= 1;
        if (!n || !base) break;
    }
    return ints[0] < 0 ? bbi_op1(c, BBI_OP_inv, power) : power;
}

BUILDER(build_round) {
    UNUSED;
    if (nint > 1 || (nint == 1 && (ints[0] > 300 || ints[0] < -300))) {
        bbi_fail(BB_BAD_ARGUMENT, "round: takes one number of decimals, from -300 to 300");
        return NULL;
    }
    int64_t decimals = nint ? ints[0] : 0;
    const bbi_node *scale = bbi_const(c, pow(10, (double)(decimals < 0 ? -decimals : decimals)));
    if (decimals == 0) return bbi_op1(c, BBI_OP_rint, args[0]);
    if (decimals > 0) return bbi_op2(c, BBI_OP_div, bbi_op1(c, BBI_OP_rint, mul(c, args[0], scale)), scale);
    return mul(c, bbi_op1(c, BBI_OP_rint, bbi_op2(c, BBI_OP_div, args[0], scale)), scale);
}

BUILDER(build_intcst) {
    UNUSED;
    return bbi_const(c, (double)ints[0]);
}

static const bbi_node *ratio(bbi_context *c, int64_t numerator, int64_t denominator) {
    if (denominator != 0) return bbi_const(c, (double)numerator / (double)denominator);
    bbi_fail(BB_BAD_ARGUMENT, "the denominator of a constant is 0");
    return NULL;
}

BUILDER(build_intinv) {
    UNUSED;
    return ratio(c, 1, ints[0]);
}

BUILDER(build_ratcst) {
    UNUSED;
    return ratio(c, ints[0], ints[1]);
}

BUILDER(build_zero) {
    UNUSED;
    return bbi_zero(c, ints[0]);
}

BUILDER(build_iota) {
    UNUSED;
    return bbi_iota(c, ints[0]);
}

BUILDER(build_onehot) {
    UNUSED;
    if (args[0]->dim == 1) return bbi_op2(c, BBI_OP_eq, bbi_op1(c, BBI_OP_rint, args[0]), bbi_iota(c, ints[0]));
    bbi_fail(BB_BAD_SHAPE, "onehot: the operand has dimension %lld; it must be a scalar", (long long)args[0]->dim);
    return NULL;
}

BUILDER(build_first) {
    UNUSED;
    return args[0];
}

/* ---- along the vector ---- */
/* A tree of halves: log2(n) vector operations, and a gradient of the same shape. */
BUILDER(build_vprod) {
    UNUSED;
    const bbi_node *v = args[0], *odd = NULL;
    while (v && v->dim > 1) {
        int64_t half = v->dim / 2;
        if (v->dim % 2) {
            const bbi_node *last = bbi_slice(c, v, v->dim - 1, 1, 1);
            odd = odd ? mul(c, odd, last) : last;
        }
        v = mul(c, bbi_slice(c, v, 0, half, 1), bbi_slice(c, v, half, half, 1));
    }
    return odd ? mul(c, v, odd) : v;
}

/* Scan by doubling (Hillis and Steele, 1986): after the step with shift s, component k sums components k - 2
 * s + 1 .. k. */
BUILDER(build_cumsum) {
    UNUSED;
    const bbi_node *v = args[0];
    int64_t n = v->dim;
    for (int64_t shift = 1; v && shift < n; shift *= 2) {
        v = add(c, v, bbi_pad(c, bbi_slice(c, v, 0, n - shift, 1), shift, n, 1));
    }
    return v;
}

/* ---- tensor algebra ---- */
enum { MAX_AXES = 16 };

typedef struct integer_list {
    const int64_t *item;
    int64_t count;
} integer_list;

/* Lists arrive flattened, each as its length and its items. */
static bool read_lists(const char *name, integer_list *list, int needed, int allowed, const int64_t *ints, int nint) {
    int n = 0;
    for (int at = 0; at < nint; n++) {
        if (n == allowed || ints[at] < 0 || ints[at] > MAX_AXES || ints[at] > nint - at - 1) {
            n = -1;
            break;
        }
        list[n] = (integer_list){ints + at + 1, ints[at]};
        at += 1 + (int)ints[at];
    }
    if (n >= needed) return true;
    bbi_fail(BB_BAD_ARGUMENT, "%s: takes %d%s lists of at most %d integers", name, needed,
             allowed > needed ? " or more" : "", MAX_AXES);
    return false;
}

/* Gives the axes of b that are contracted with axes of a the labels of those; *count goes on counting labels.
 */
static bool label_axes(const integer_list *list, int64_t *size, int64_t *la, int64_t *lb, int *count) {
    integer_list da = list[0], db = list[1], ca = list[2], cb = list[3];
    if (ca.count != cb.count) return false;
    for (int64_t k = 0; k < da.count; k++) {
        la[k] = *count;
        size[(*count)++] = da.item[k];
    }
    for (int64_t k = 0; k < db.count; k++) lb[k] = -1;
    for (int64_t k = 0; k < ca.count; k++) {
        int64_t i = ca.item[k], j = cb.item[k];
        if (i < 0 || i >= da.count || j < 0 || j >= db.count || lb[j] >= 0 || da.item[i] != db.item[j]) return false;
        lb[j] = la[i];
    }
    for (int64_t k = 0; k < db.count; k++) {
        if (lb[k] >= 0) continue;
        lb[k] = *count;
        size[(*count)++] = db.item[k];
    }
    return true;
}

static bool contains(const int64_t *items, int64_t count, int64_t value) {
    for (int64_t k = 0; k < count; k++) {
        if (items[k] == value) return true;
    }
    return false;
}

/* Kept axes, a's then b's; kept axis k goes to place to[k]. */
static bool place_axes(const integer_list *list, bool permuted, const int64_t *la, const int64_t *lb,
                       bbi_contraction *spec, int64_t *lo) {
    int64_t kept[2 * MAX_AXES];
    int n = 0;
    for (int64_t k = 0; k < list[0].count; k++) {
        if (!contains(lb, list[1].count, la[k])) kept[n++] = la[k];
    }
    for (int64_t k = 0; k < list[1].count; k++) {
        if (!contains(la, list[0].count, lb[k])) kept[n++] = lb[k];
    }
    spec->no = n;
    for (int k = 0; k < n; k++) lo[k] = permuted ? -1 : kept[k];
    if (!permuted) return true;
    if (list[4].count != n) return false;
    for (int k = 0; k < n; k++) {
        int64_t to = list[4].item[k];
        if (to < 0 || to >= n || lo[to] >= 0) return false;
        lo[to] = kept[k];
    }
    return true;
}

BUILDER(build_tensordot) {
    UNUSED;
    integer_list list[5] = {{0}};
    int64_t size[2 * MAX_AXES], la[MAX_AXES], lb[MAX_AXES], lo[2 * MAX_AXES];
    bbi_contraction spec = {.size = size, .la = la, .lb = lb, .lo = lo};
    if (!read_lists("tensordot", list, 4, 5, ints, nint)) return NULL;
    spec.na = (int)list[0].count;
    spec.nb = (int)list[1].count;
    if (label_axes(list, size, la, lb, &spec.nlabel) && place_axes(list, list[4].item != NULL, la, lb, &spec, lo)) {
        return bbi_contract(c, args[0], args[1], &spec);
    }
    bbi_fail(BB_BAD_SHAPE, "tensordot: contracted axes must exist, be distinct and have equal sizes, and the "
                           "last list be a permutation "
                           "of the kept axes");
    return NULL;
}

BUILDER(build_kron) {
    UNUSED;
    integer_list list[2] = {{0}};
    if (!read_lists("kron", list, 2, 2, ints, nint)) return NULL;
    int n = (int)list[0].count;
    if (list[1].count != n) {
        bbi_fail(BB_BAD_SHAPE, "kron: the shapes have %d and %lld axes; they must have as many", n,
                 (long long)list[1].count);
        return NULL;
    }
    int64_t size[2 * MAX_AXES], la[MAX_AXES], lb[MAX_AXES], lo[2 * MAX_AXES];
    for (int k = 0; k < n; k++) {
        lo[2 * k] = la[k] = 2 * k;
        lo[2 * k + 1] = lb[k] = 2 * k + 1;
        size[2 * k] = list[0].item[k];
        size[2 * k + 1] = list[1].item[k];
    }
    return bbi_contract(c, args[0], args[1], &(bbi_contraction){2 * n, n, n, 2 * n, size, la, lb, lo});
}

static const bbi_node *product(bbi_context *c, const bbi_node *matrix, const bbi_node *vector, bool transposed) {
    if (matrix->dim % vector->dim) {
        bbi_fail(BB_BAD_SHAPE, "a matrix of %lld entries has no rows or columns of %lld", (long long)matrix->dim,
                 (long long)vector->dim);
        return NULL;
    }
    int64_t other = matrix->dim / vector->dim,
            size[2] = {transposed ? vector->dim : other, transposed ? other : vector->dim};
    const int64_t row[1] = {0}, column[1] = {1}, both[2] = {0, 1};
    const int64_t *summed = transposed ? row : column, *kept = transposed ? column : row;
    return bbi_contract(c, matrix, vector, &(bbi_contraction){2, 2, 1, 1, size, both, summed, kept});
}

BUILDER(build_matvecmult) {
    UNUSED;
    return product(c, args[0], args[1], false);
}

BUILDER(build_vecmatmult) {
    UNUSED;
    return product(c, args[1], args[0], true);
}

BUILDER(build_tensorprod) {
    UNUSED;
    const int64_t size[2] = {args[0]->dim, args[1]->dim}, row[1] = {0}, column[1] = {1}, both[2] = {0, 1};
    return bbi_contract(c, args[0], args[1], &(bbi_contraction){2, 1, 1, 2, size, row, column, both});
}

BUILDER(build_differencematrix) {
    UNUSED;
    const int64_t size[2] = {args[0]->dim, args[1]->dim}, row[1] = {0}, column[1] = {1}, both[2] = {0, 1};
    const bbi_node *a = bbi_contract(c, args[0], NULL, &(bbi_contraction){2, 1, 0, 2, size, row, NULL, both});
    return sub(c, a, bbi_contract(c, args[1], NULL, &(bbi_contraction){2, 1, 0, 2, size, column, NULL, both}));
}

BUILDER(build_symsqnorm) {
    UNUSED;
    int64_t d = args[1]->dim;
    if (d <= INT32_MAX && args[0]->dim == d * d) {
        return bbi_op1(c, BBI_OP_sum, mul(c, args[1], product(c, args[0], args[1], false)));
    }
    bbi_fail(BB_BAD_SHAPE,
             "symsqnorm: the matrix has %lld entries, the vector %lld; the matrix must have the square of that",
             (long long)args[0]->dim, (long long)d);
    return NULL;
}

BUILDER(build_weightedsqnorm) {
    UNUSED;
    const bbi_node *s = args[0], *f = args[1], *squares = bbi_op1(c, BBI_OP_square, f);
    if (s->dim == 1) return mul(c, s, bbi_op1(c, BBI_OP_sum, squares));
    if (s->dim == f->dim) return bbi_op1(c, BBI_OP_sum, mul(c, s, squares));
    return build_symsqnorm(c, args, narg, ints, nint);
}

/* ---- complex vectors ---- */
static const bbi_node *complex_part(bbi_context *c, const bbi_node *a, int64_t part) {
    if (a->dim % 2 == 0) return bbi_slice(c, a, part, a->dim / 2, 2);
    bbi_fail(BB_BAD_SHAPE, "a complex operand has the odd dimension %lld; complex vectors interleave (re, im)",
             (long long)a->dim);
    return NULL;
}

static const bbi_node *join_parts(bbi_context *c, const bbi_node *re, const bbi_node *im) {
    if (!re || !im) return NULL;
    return add(c, bbi_pad(c, re, 0, 2 * re->dim, 2), bbi_pad(c, im, 1, 2 * im->dim, 2));
}

BUILDER(build_complexreal) {
    UNUSED;
    return complex_part(c, args[0], 0);
}

BUILDER(build_compleximag) {
    UNUSED;
    return complex_part(c, args[0], 1);
}

static const bbi_node *complex_sum(bbi_context *c, int op, const bbi_node *a, const bbi_node *b) {
    const bbi_node *re = bbi_op2(c, op, complex_part(c, a, 0), complex_part(c, b, 0));
    if (!re || a->dim == b->dim) return re ? bbi_op2(c, op, a, b) : NULL;
    return join_parts(c, re, bbi_op2(c, op, complex_part(c, a, 1), complex_part(c, b, 1)));
}

BUILDER(build_complexadd) {
    UNUSED;
    return complex_sum(c, BBI_OP_add, args[0], args[1]);
}

BUILDER(build_complexsubtract) {
    UNUSED;
    return complex_sum(c, BBI_OP_sub, args[0], args[1]);
}

BUILDER(build_complexrealscal) {
    UNUSED;
    const bbi_node *a = args[0], *re = mul(c, a, complex_part(c, args[1], 0));
    if (!re || a->dim == 1) return re ? mul(c, a, args[1]) : NULL;
    return join_parts(c, re, mul(c, a, complex_part(c, args[1], 1)));
}

/* ---- splines and time series ---- */
/* One step of the recurrence of Cox and de Boor, with 0 / 0 = 0:
 * B_(i,p)(x) = (x - t_i) / (t_(i+p) - t_i) B_(i,p-1)(x) + (t_(i+p+1) - x) / (t_(i+p+1) - t_(i+1))
 * B_(i+1,p-1)(x). */
static const bbi_node *raise_degree(bbi_context *c, const bbi_node *t, const bbi_node *x, const bbi_node *b,
                                    int64_t p) {
    if (!b) return NULL;
    int64_t n = b->dim - 1;
    const bbi_node *low = bbi_slice(c, t, 0, n, 1), *low1 = bbi_slice(c, t, 1, n, 1);
    const bbi_node *high = bbi_slice(c, t, p, n, 1), *high1 = bbi_slice(c, t, p + 1, n, 1);
    const bbi_node *up = mul(c, sub(c, x, low), bbi_op1(c, BBI_OP_inv0, sub(c, high, low)));
    const bbi_node *down = mul(c, sub(c, high1, x), bbi_op1(c, BBI_OP_inv0, sub(c, high1, low1)));
    return add(c, mul(c, up, bbi_slice(c, b, 0, n, 1)), mul(c, down, bbi_slice(c, b, 1, n, 1)));
}

BUILDER(build_bspline) {
    UNUSED;
    const bbi_node *t = args[0], *x = args[1];
    int64_t degree = ints[0], intervals = t->dim - 1;
    if (x->dim != 1 || degree < 0 || degree > t->dim - 2) {
        bbi_fail(BB_BAD_SHAPE,
                 "bspline: %lld knots, a point of dimension %lld, degree %lld; degree + 2 knots or more, a scalar "
                 "and a degree >= 0 are needed",
                 (long long)t->dim, (long long)x->dim, (long long)degree);
        return NULL;
    }
    const bbi_node *from = bbi_op2(c, BBI_OP_ge, x, bbi_slice(c, t, 0, intervals, 1));
    const bbi_node *b = mul(c, from, bbi_op2(c, BBI_OP_lt, x, bbi_slice(c, t, 1, intervals, 1)));
    for (int64_t p = 1; p <= degree; p++) b = raise_degree(c, t, x, b, p);
    return b;
}

/* -gamma log(exp(-p / gamma) + exp(-q / gamma) + exp(-r / gamma)), shifted by the smallest; its derivatives
 * do not depend on the shift. */
static const bbi_node *soft_minimum(bbi_context *c, const bbi_node *p, const bbi_node *q, const bbi_node *r,
                                    const bbi_node *gamma) {
    const bbi_node *option[3] = {p, q, r}, *total = NULL;
    const bbi_node *least = bbi_op2(c, BBI_OP_minimum, bbi_op2(c, BBI_OP_minimum, p, q), r);
    least = bbi_op1(c, BBI_OP_stop, least);
    for (int k = 0; k < 3; k++) {
        const bbi_node *e = bbi_op1(c, BBI_OP_exp, bbi_op2(c, BBI_OP_div, sub(c, least, option[k]), gamma));
        total = k ? add(c, total, e) : e;
    }
    return sub(c, least, mul(c, gamma, bbi_op1(c, BBI_OP_log, total)));
}

/* Cuturi and Blondel, 2017: R_ij = (x_i - y_j)^2 + softmin(R_(i-1,j), R_(i,j-1), R_(i-1,j-1)); the value is
 * the last entry. */
BUILDER(build_softdtw_sqdist) {
    UNUSED;
    enum { MAX_CELLS = 4096 };
    const bbi_node *x = args[0], *y = args[1], *gamma = args[2], *row[MAX_CELLS];
    if (gamma->dim != 1 || y->dim > MAX_CELLS || x->dim > MAX_CELLS / y->dim) {
        bbi_fail(BB_BAD_SHAPE,
                 "softdtw_sqdist: sequences of %lld and %lld, a parameter of dimension %lld; at most %d "
                 "pairs and a scalar",
                 (long long)x->dim, (long long)y->dim, (long long)gamma->dim, MAX_CELLS);
        return NULL;
    }
    for (int64_t i = 0; i < x->dim; i++) {
        const bbi_node *xi = bbi_slice(c, x, i, 1, 1), *diagonal = NULL;
        for (int64_t j = 0; j < y->dim; j++) {
            const bbi_node *cost = bbi_op1(c, BBI_OP_square, sub(c, xi, bbi_slice(c, y, j, 1, 1)));
            const bbi_node *above = i ? row[j] : NULL, *left = j ? row[j - 1] : NULL, *before = above ? above : left;
            if (i && j) before = soft_minimum(c, above, left, diagonal, gamma);
            row[j] = i || j ? add(c, cost, before) : cost;
            diagonal = above;
        }
        if (!row[y->dim - 1]) return NULL;
    }
    return row[y->dim - 1];
}

/* ---- derivatives ---- */
static bool is_variable(const bbi_node *x) {
    if (x->op == BBI_OP_VAR) return true;
    bbi_fail(BB_BAD_ARGUMENT, "the second operand must be a variable: derivatives are taken with respect to it");
    return false;
}

BUILDER(build_grad) {
    UNUSED;
    const bbi_node *result;
    if (!is_variable(args[1]) || bbi_vjp(c, args, args + 2, 1, args + 1, 1, true, &result) != BB_OK) return NULL;
    return result;
}

BUILDER(build_diff) {
    UNUSED;
    return is_variable(args[1]) ? bbi_jvp(c, args[0], args + 1, args + 2, 1) : NULL;
}

BUILDER(build_gradmatrix) {
    UNUSED;
    return bbi_grad_matrix(c, args[0], args[1]);
}

BUILDER(build_divergence) {
    UNUSED;
    return bbi_divergence(c, args[0], args[1]);
}

BUILDER(build_laplacian) {
    UNUSED;
    return bbi_laplacian(c, args[0], args[1]);
}

BUILDER(build_traceoperator) {
    UNUSED;
    return bbi_trace_operator(c, args[0], args[1]);
}

BUILDER(build_adjointoperator) {
    UNUSED;
    return bbi_adjoint_operator(c, args[0], args[1], args[2]);
}

/* f(x) = M x: the sum of M's entries is the sum of f's derivative along (1, ..., 1). */
BUILDER(build_sumlinoperator) {
    UNUSED;
    if (!is_variable(args[1])) return NULL;
    const bbi_node *ones = bbi_const(c, 1);
    if (args[1]->dim > 1) ones = bbi_repeat(c, ones, args[1]->dim);
    return bbi_op1(c, BBI_OP_sum, bbi_jvp(c, args[0], args + 1, &ones, 1));
}

/* ---- the table ---- */
#define ENTRY_MAP(id, value)
#define ENTRY_FOLD(id, value)
#define ENTRY_CONTRACT(id, value)
#define ENTRY_INDEX(id, value)
#define ENTRY_MACRO(id, value)
#define ENTRY_BUILD(id, value) [BBI_OP_##id] = value,

static bbi_builder *const builders[BBI_OP_COUNT] = {
#define OP(id, alias, arity, nint, kind, flags, value, ...) ENTRY_##kind(id, value)
#include "op.def"
};

bbi_builder *bbi_builder_of(int op) { return op >= 0 && op < BBI_OP_COUNT ? builders[op] : NULL; }
