/* optable.c: the tables of operations and reductions as data. The value column of op.def is compiled here
 * once more, as plain double arithmetic with libm: the scalar twin that folds constants and serves the
 * oracle. Names are found through one hash set of both spellings, filled on first use; filling is lock-free
 * and idempotent, so any number of threads may do it at once. */
#include "expr.h"

#include <math.h>
#include <stdatomic.h>
#include <string.h>

/* ---- scalar twins ---- */
#define K(x) ((double)(x))
#define v_fma(a, b, c) fma(a, b, c)
#define v_abs(a) fabs(a)
#define v_sqrt(a) sqrt(a)
#define v_floor(a) floor(a)
#define v_ceil(a) ceil(a)
#define v_trunc(a) trunc(a)
#define v_rint(a) rint(a)
#define v_lt(a, b) ((a) < (b))
#define v_le(a, b) ((a) <= (b))
#define v_gt(a, b) ((a) > (b))
#define v_ge(a, b) ((a) >= (b))
#define v_eq(a, b) ((a) == (b))
#define v_ne(a, b) ((a) != (b))
#define v_isnan(a) ((a) != (a))
#define v_and(a, b) ((a) && (b))
#define v_or(a, b) ((a) || (b))
#define v_not(a) (!(a))
#define v_sel(m, a, b) ((m) ? (a) : (b))
#define v_mask01(m) ((m) ? 1.0 : 0.0)
#define v_exp(a) exp(a)
#define v_exp2(a) exp2(a)
#define v_expk(a, b) exp2((a) * (b))
#define v_sqrtk(a) sqrt(a)
#define v_rsqrtk(a) ((a) == 0 ? 0 : 1 / sqrt(a))
#define v_invk(a) (1 / (a))
#define v_expm1(a) expm1(a)
#define v_log(a) log(a)
#define v_log2(a) log2(a)
#define v_log10(a) log10(a)
#define v_log1p(a) log1p(a)
#define v_sin(a) sin(a)
#define v_cos(a) cos(a)
#define v_tan(a) tan(a)
#define v_asin(a) asin(a)
#define v_acos(a) acos(a)
#define v_atan(a) atan(a)
#define v_atan2(a, b) atan2(a, b)
#define v_sinh(a) sinh(a)
#define v_cosh(a) cosh(a)
#define v_tanh(a) tanh(a)
#define v_asinh(a) asinh(a)
#define v_acosh(a) acosh(a)
#define v_atanh(a) atanh(a)
#define v_erf(a) erf(a)
#define v_erfc(a) erfc(a)
#define v_pow(a, b) pow(a, b)
#define v_hypot(a, b) hypot(a, b)
#define v_sigmoid(a) (1 / (1 + exp(-(a))))
#define v_softplus(a) (fmax(a, 0) + log1p(exp(-fabs(a))))

#define SCALAR_MAP(id, value)                                                                                          \
    static double scalar_##id(double a, double b, double c) {                                                          \
        (void)b, (void)c;                                                                                              \
        return value;                                                                                                  \
    }
#define SCALAR_FOLD(id, value)
#define SCALAR_CONTRACT(id, value)
#define SCALAR_INDEX(id, value)
#define SCALAR_MACRO(id, value)
#define SCALAR_BUILD(id, value)
#define OP(id, alias, arity, nint, kind, flags, value, ...) SCALAR_##kind(id, value)
#include "op.def"

#define POINTER_MAP(id) scalar_##id
#define POINTER_FOLD(id) NULL
#define POINTER_CONTRACT(id) NULL
#define POINTER_INDEX(id) NULL
#define POINTER_MACRO(id) NULL
#define POINTER_BUILD(id) NULL

/* ---- the tables ---- */
enum {
    NONE = 0,
    COMMUTES = BBI_COMMUTES,
    NODIFF = BBI_NODIFF,
    LINEAR = BBI_LINEAR,
    BOOLEAN = BBI_BOOLEAN,
    HIDDEN = BBI_HIDDEN
};

static const bbi_op_row rows[BBI_OP_COUNT] = {
    [BBI_OP_VAR] = {"variable", "", BBI_LEAF, 0, 3, HIDDEN, "", {"", "", ""}, 0, 0, 0, "a variable", NULL},
    [BBI_OP_CONST] = {"constant", "", BBI_LEAF, 0, 0, NODIFF | HIDDEN, "", {"", "", ""}, 0, 0, 0, "a number", NULL},
    [BBI_OP_IOTA] = {"iota", "", BBI_LEAF, 0, 1, NODIFF | HIDDEN, "", {"", "", ""}, 0, 0, 0, "0, 1, ... m - 1", NULL},
    [BBI_OP_REDUCE] = {"reduction", "", BBI_LEAF, 1, 4, HIDDEN, "", {"", "", ""}, 0, 0, 1, "a reduction", NULL},
/* clang-format off */
#define OP(id, alias, arity, nint, kind, flags, value, vjp_a, vjp_b, vjp_c, low, high, cost, doc) \
    [BBI_OP_##id] = {#id, alias, BBI_##kind, arity, nint, flags, #value, {vjp_a, vjp_b, vjp_c}, \
                     low, high, cost, doc, POINTER_##kind(id)},
/* clang-format on */
#include "op.def"
};

static const bbi_reduction_row reductions[BBI_RED_COUNT] = {
#define REDUCTION(id, name, alias, family, output, parameters, formulas, doc)                                          \
    {name, alias, BBI_FAMILY_##family, BBI_OUT_##output, parameters, formulas, doc},
#include "reduce.def"
};

const bbi_op_row *bbi_op_info(int op) { return op >= 0 && op < BBI_OP_COUNT ? &rows[op] : NULL; }

const bbi_reduction_row *bbi_reduction_info(int reduction) {
    static const bbi_reduction_row custom = {
        "custom", "", BBI_FAMILY_USER, BBI_OUT_VALUE, 0, 1, "a reduction of the caller's own"};
    if (reduction == BBI_RED_custom) return &custom;
    return reduction >= 0 && reduction < BBI_RED_COUNT ? &reductions[reduction] : NULL;
}

/* ---- look-up by name ---- */
enum { SLOTS = 1024 };            /* open addressing; more than twice the number of spellings */
static atomic_short slots[SLOTS]; /* 0: empty; else op + 1, or -(op + 1) for an alias */
static atomic_bool filled;

_Static_assert(4 * BBI_OP_COUNT <= SLOTS, "the hash set of names is too small");

static uint32_t name_hash(const char *name, size_t length) {
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < length; i++) h = (h ^ (unsigned char)name[i]) * 16777619u; /* FNV-1a */
    return h ^ h >> 15;
}

static void insert_name(const char *name, short entry) {
    for (uint32_t h = name_hash(name, strlen(name));; h++) {
        short empty = 0;
        if (atomic_compare_exchange_strong(&slots[h % SLOTS], &empty, entry) || empty == entry) return;
    }
}

static void fill_names(void) {
    for (int op = 0; op < BBI_OP_COUNT; op++) {
        if (rows[op].kind == BBI_LEAF) continue;
        insert_name(rows[op].name, (short)(op + 1));
        if (rows[op].alias[0]) insert_name(rows[op].alias, (short)-(op + 1));
    }
    atomic_store_explicit(&filled, true, memory_order_release);
}

static bool same_name(const char *name, size_t length, const char *entry) {
    return strlen(entry) == length && memcmp(name, entry, length) == 0;
}

int bbi_op_find(const char *name, size_t length) {
    if (!atomic_load_explicit(&filled, memory_order_acquire)) fill_names();
    for (uint32_t h = name_hash(name, length);; h++) {
        short entry = atomic_load_explicit(&slots[h % SLOTS], memory_order_relaxed);
        if (entry == 0) return -1;
        int op = (entry > 0 ? entry : -entry) - 1;
        if (same_name(name, length, entry > 0 ? rows[op].name : rows[op].alias)) return op;
    }
}

int bbi_reduction_find(const char *name, size_t length) {
    for (int r = 0; r < BBI_RED_COUNT; r++)
        if (same_name(name, length, reductions[r].name) || same_name(name, length, reductions[r].alias)) return r;
    return -1;
}
