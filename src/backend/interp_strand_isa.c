/* Threaded code: straight pair code for one instruction set and one real type, a block of pairs at a time.
 *
 * A block is two casts by four vectors of lanes. Its current value stands in eight vector registers, which
 * one link hands to the next as arguments of a call in tail position; other operands come from memory, where
 * links store what is needed again. So a chain of operations costs no loads and stores between them, and the
 * dispatch hides behind the arithmetic of eight vectors. Compilers that do not turn these calls into jumps
 * (unoptimised, sanitised code) nest them: strands are short (BBI_STRAND_ACTIONS). */
#include "interp_isa.h"

enum { CASTS = BBI_BLOCK_CASTS, VECTORS = BBI_BLOCK_VECTORS, SLOTS = CASTS * VECTORS };
#define ARGUMENTS const bbi_link *s, const bbi_block *b, V a0, V a1, V a2, V a3, V a4, V a5, V a6, V a7
typedef void link_function(ARGUMENTS);
#define OPEN V r[SLOTS] = {a0, a1, a2, a3, a4, a5, a6, a7};
#define NEXT ((link_function *)s[1].run)(s + 1, b, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7]);
#define EACH(k) UNROLL for (int k = 0; k < SLOTS; k++)
#define ENTRY(function) ((bbi_link_function *)(function))

/* ---- operands -------------------------------------------------------------------------------- */
BB_INLINE const char *first_of(const bbi_link_operand *x) { return x->at + *x->offset; }
/* from the first cast of the block to the second */
BB_INLINE int64_t second_of(const bbi_link_operand *x) { return x->offset[BBI_MOTIONS]; }

BB_INLINE void fetch(V *m, const bbi_link_operand *x, int kind) {
    const char *p = first_of(x), *q = p + second_of(x);
    if (kind == BBI_KIND_SPLAT) {
        const V v = splat_at(p), w = splat_at(q);
        EACH(k) m[k] = k < VECTORS ? v : w;
    } else {
        EACH(k) m[k] = k < VECTORS ? at(p + k * BB_VB) : at(q + (k - VECTORS) * BB_VB);
    }
}

static void load_m(ARGUMENTS) {
    OPEN fetch(r, &s->x[0], BBI_KIND_MEMORY);
    NEXT
}

static void load_s(ARGUMENTS) {
    OPEN fetch(r, &s->x[0], BBI_KIND_SPLAT);
    NEXT
}

static void store(ARGUMENTS) {
    OPEN char *p = (char *)(uintptr_t)first_of(&s->x[0]), *q = p + second_of(&s->x[0]);
    EACH(k) put(k < VECTORS ? p + k * BB_VB : q + (k - VECTORS) * BB_VB, r[k]);
    NEXT
}

/* As kernels that select do (emit_select.c): each vector takes the best of BBI_GROUP_CASTS casts, and one comparison
 * tells whether somebody has to look at them. */
BB_INLINE void close_group(bbi_selecting *w, int64_t lane, int64_t first, int64_t casts) {
    bbi_hits *hits = w->hits;
    for (int64_t g = lane; g < lane + VECTORS * BB_VB; g += BB_VB) {
        const V best = at(w->best + g), limit = at(hits->limit + g);
        const int64_t bits = v_bits(v_ne(best, limit));
        if (__builtin_expect(bits == 0, 1)) continue;
        hits->hit[hits->count++] = bits << 32 | (w->first + first) << 16 | casts << 8 | g / (int64_t)sizeof(R);
        put(w->improves ? hits->limit + g : w->best + g, w->improves ? best : limit);
    }
}

BB_INLINE void select_best(bool max, V *r, const bbi_link *s, const bbi_block *b) {
    bbi_selecting *w = s->select;
    const int64_t lane = b->offset[BBI_LANES], cast = (b->offset[BBI_OUTS] - lane) / BBI_LANE_BYTES,
                  first = cast - cast % BBI_GROUP_CASTS, end = b->single ? cast + 1 : cast + CASTS;
    char *best = w->best + lane;
    EACH(k) {
        if (k >= VECTORS) continue;
        const V x = r[k], y = r[k + VECTORS], z = at(best + k * BB_VB);
        put(best + k * BB_VB, max ? v_maxx(y, v_maxx(x, z)) : v_minx(y, v_minx(x, z)));
    }
    if (end - first == BBI_GROUP_CASTS || end == w->casts) close_group(w, lane, first, end - first);
}

#define SELECT(name, max)                                                                                              \
    static void select_##name(ARGUMENTS) {                                                                             \
        OPEN char *p = (char *)(uintptr_t)first_of(&s->x[0]), *q = p + second_of(&s->x[0]);                            \
        EACH(k) put(k < VECTORS ? p + k * BB_VB : q + (k - VECTORS) * BB_VB, r[k]);                                    \
        select_best(max, r, s, b);                                                                                     \
        NEXT                                                                                                           \
    }
SELECT(min, 0)
SELECT(max, 1)

static void stop(ARGUMENTS) { (void)s, (void)b, (void)a0, (void)a1, (void)a2, (void)a3, (void)a4, (void)a5, (void)a6, (void)a7; }

/* ---- elementwise operations: every one, for any kinds of operands ------------------------------ */
/* Long ones go through memory to the functions of tiles: printed eight times they would only be text. */
static void map_tile(ARGUMENTS) {
    OPEN char value[SLOTS * BB_VB] __attribute__((aligned(BB_VB)));
    EACH(k) put(value + k * BB_VB, r[k]);
    bbi_view view[3];
    for (int n = 0, next = 0; n < s->count; n++) {
        const bool in_register = s->kind[n] == BBI_KIND_REGISTER;
        const bbi_link_operand *x = &s->x[next];
        next += !in_register;
        view[n] = (bbi_view){.at = in_register ? value : first_of(x),
                             .cast_step = in_register ? VECTORS * BB_VB : second_of(x),
                             .splat = s->kind[n] == BBI_KIND_SPLAT};
    }
    s->function(value, view, CASTS, VECTORS);
    EACH(k) r[k] = at(value + k * BB_VB);
    NEXT
}

#define IS_SHORT(cost) ((cost) <= 10)
#define SHORT_1(id) EACH(k) r[k] = f_##id(r[k], r[k], r[k]);
#define SHORT_2(id)                                                                                                    \
    V m[SLOTS];                                                                                                        \
    if (s->kind[0] == s->kind[1]) {                                                                                    \
        EACH(k) m[k] = r[k];                                                                                           \
    } else if ((s->kind[0] | s->kind[1]) == BBI_KIND_SPLAT) {                                                          \
        fetch(m, &s->x[0], BBI_KIND_SPLAT);                                                                            \
    } else {                                                                                                           \
        fetch(m, &s->x[0], BBI_KIND_MEMORY);                                                                           \
    }                                                                                                                  \
    if (s->kind[0] == BBI_KIND_REGISTER) {                                                                             \
        EACH(k) r[k] = f_##id(r[k], m[k], r[k]);                                                                       \
    } else {                                                                                                           \
        EACH(k) r[k] = f_##id(m[k], r[k], r[k]);                                                                       \
    }
#define SHORT_3(id)                                                                                                    \
    V m[3][SLOTS];                                                                                                     \
    for (int n = 0, next = 0; n < 3; n++) {                                                                            \
        if (s->kind[n] == BBI_KIND_REGISTER) {                                                                         \
            EACH(k) m[n][k] = r[k];                                                                                    \
        } else if (s->kind[n] == BBI_KIND_SPLAT) {                                                                     \
            fetch(m[n], &s->x[next++], BBI_KIND_SPLAT);                                                                \
        } else {                                                                                                       \
            fetch(m[n], &s->x[next++], BBI_KIND_MEMORY);                                                               \
        }                                                                                                              \
    }                                                                                                                  \
    EACH(k) r[k] = f_##id(m[0][k], m[1][k], m[2][k]);

#define OP(id, alias, arity, nint, kind, ...) GENERATE_##kind(id, arity)
#define GENERATE_FOLD(...)
#define GENERATE_CONTRACT(...)
#define GENERATE_INDEX(...)
#define GENERATE_MACRO(...)
#define GENERATE_BUILD(...)
#define GENERATE_MAP(id, arity)                                                                                        \
    static void short_##id(ARGUMENTS) {                                                                                \
        OPEN SHORT_##arity(id) NEXT                                                                                    \
    }
#include "../expr/op.def"
#undef OP
#undef GENERATE_MAP

#define OP(id, alias, arity, nint, kind, flags, value, va, vb, vc, low, high, cost, doc)                               \
    [BBI_OP_##id] = LIST_##kind(id, cost),
#define LIST_FOLD(...) NULL
#define LIST_CONTRACT(...) NULL
#define LIST_INDEX(...) NULL
#define LIST_MACRO(...) NULL
#define LIST_BUILD(...) NULL
#define LIST_MAP(id, cost) IS_SHORT(cost) ? ENTRY(short_##id) : ENTRY(map_tile)
static bbi_link_function *const any[BBI_OP_COUNT] = {
#include "../expr/op.def"
};
#undef OP

/* ---- the operations of inner loops, with kinds known at compile time --------------------------- */
#define M BBI_KIND_MEMORY
#define S BBI_KIND_SPLAT
#define KIND_m M
#define KIND_s S
/* result = text over r, the value in registers, and m: x[0] */
#define BINARY(id, name, letter, first, second)                                                                        \
    static void id##_##name##letter(ARGUMENTS) {                                                                       \
        OPEN V m[SLOTS];                                                                                               \
        fetch(m, &s->x[0], KIND_##letter);                                                                             \
        EACH(k) r[k] = f_##id(first[k], second[k], r[k]);                                                              \
        NEXT                                                                                                           \
    }
/* likewise, and n: x[1] */
#define TERNARY(id, name, letter, other, first, second, third)                                                         \
    static void id##_##name##letter##other(ARGUMENTS) {                                                                \
        OPEN V m[SLOTS], n[SLOTS];                                                                                     \
        fetch(m, &s->x[0], KIND_##letter);                                                                             \
        fetch(n, &s->x[1], KIND_##other);                                                                              \
        EACH(k) r[k] = f_##id(first[k], second[k], third[k]);                                                          \
        NEXT                                                                                                           \
    }
#define PRODUCTS(id)                                                                                                   \
    TERNARY(id, rxx_, m, m, r, m, n)                                                                                   \
    TERNARY(id, rxx_, m, s, r, m, n)                                                                                   \
    TERNARY(id, rxx_, s, m, r, m, n)                                                                                   \
    TERNARY(id, rxx_, s, s, r, m, n)                                                                                   \
    TERNARY(id, xxr_, m, m, m, n, r)                                                                                   \
    TERNARY(id, xxr_, m, s, m, n, r)                                                                                   \
    TERNARY(id, xxr_, s, m, m, n, r)                                                                                   \
    TERNARY(id, xxr_, s, s, m, n, r)
BINARY(add, rx_, m, r, m)
BINARY(add, rx_, s, r, m)
BINARY(sub, rx_, m, r, m)
BINARY(sub, rx_, s, r, m)
BINARY(sub, xr_, m, m, r)
BINARY(sub, xr_, s, m, r)
BINARY(mul, rx_, m, r, m)
BINARY(mul, rx_, s, r, m)
BINARY(expk, rx_, m, r, m)
BINARY(expk, rx_, s, r, m)
PRODUCTS(fma)
PRODUCTS(fnma)

/* Nothing in registers before. */
#define PAIR(id, letter, other)                                                                                        \
    static void id##_xx_##letter##other(ARGUMENTS) {                                                                   \
        OPEN V m[SLOTS], n[SLOTS];                                                                                     \
        fetch(m, &s->x[0], KIND_##letter);                                                                             \
        fetch(n, &s->x[1], KIND_##other);                                                                              \
        EACH(k) r[k] = f_##id(m[k], n[k], r[k]);                                                                       \
        NEXT                                                                                                           \
    }
#define PAIRS(id) PAIR(id, m, m) PAIR(id, m, s) PAIR(id, s, m)
PAIRS(sub)
PAIRS(mul)

static bbi_link_function *pair_link(int op, const uint8_t *kind) {
#define CHOOSE(id)                                                                                                     \
    case BBI_OP_##id: return ENTRY(kind[1] == S ? id##_xx_ms : kind[0] == S ? id##_xx_sm : id##_xx_mm);
    if (kind[0] == S && kind[1] == S) return NULL;
    switch (op) {
        CHOOSE(sub)
        CHOOSE(mul)
    default: return NULL;
    }
#undef CHOOSE
}

/* Products, sums and fused products do not distinguish their factors. */
static bbi_link_function *map_link(int op, const uint8_t *kind) {
#define CODE(a, b, c) ((a) + 3 * (b) + 9 * (c))
    enum { REGISTER = BBI_KIND_REGISTER };
    const int code = CODE(kind[0], kind[1], kind[2]);
#define COMMUTATIVE(id)                                                                                                \
    case BBI_OP_##id:                                                                                                  \
        if (kind[0] != kind[1]) return ENTRY(kind[0] + kind[1] == M ? id##_rx_m : id##_rx_s);                          \
        break;
#define FUSED(id)                                                                                                      \
    case BBI_OP_##id:                                                                                                  \
        switch (code) {                                                                                                \
        case CODE(REGISTER, M, M):                                                                                     \
        case CODE(M, REGISTER, M): return ENTRY(id##_rxx_mm);                                                          \
        case CODE(REGISTER, M, S):                                                                                     \
        case CODE(M, REGISTER, S): return ENTRY(id##_rxx_ms);                                                          \
        case CODE(REGISTER, S, M):                                                                                     \
        case CODE(S, REGISTER, M): return ENTRY(id##_rxx_sm);                                                          \
        case CODE(REGISTER, S, S):                                                                                     \
        case CODE(S, REGISTER, S): return ENTRY(id##_rxx_ss);                                                          \
        case CODE(M, M, REGISTER): return ENTRY(id##_xxr_mm);                                                          \
        case CODE(M, S, REGISTER): return ENTRY(id##_xxr_ms);                                                          \
        case CODE(S, M, REGISTER): return ENTRY(id##_xxr_sm);                                                          \
        case CODE(S, S, REGISTER): return ENTRY(id##_xxr_ss);                                                          \
        default: break;                                                                                                \
        }                                                                                                              \
        break;
    switch (op) {
        COMMUTATIVE(add)
        COMMUTATIVE(mul)
        COMMUTATIVE(expk)
        FUSED(fma)
        FUSED(fnma)
    case BBI_OP_sub:
        if (kind[0] == REGISTER && kind[1] != REGISTER) return ENTRY(kind[1] == M ? sub_rx_m : sub_rx_s);
        if (kind[1] == REGISTER && kind[0] != REGISTER) return ENTRY(kind[0] == M ? sub_xr_m : sub_xr_s);
        break;
    default: break;
    }
    return any[op];
#undef COMMUTATIVE
#undef FUSED
#undef CODE
}

/* ---- sums ------------------------------------------------------------------------------------ */
/* x[0], x[1]: the operands of sum_term beside the value; x[2]: the sums. Operands are read as they are needed, for lack of
 * registers; where both casts are added to one sum, it stays in one meanwhile. */
typedef struct source {
    const char *p, *q;
    V v, w;
} source;
BB_INLINE source open_source(const bbi_link_operand *x, int kind) {
    source m = {0};
    if (kind == BBI_KIND_REGISTER) return m;
    m.p = first_of(x);
    m.q = m.p + second_of(x);
    if (kind == BBI_KIND_SPLAT) m.v = splat_at(m.p), m.w = splat_at(m.q);
    return m;
}
BB_INLINE V read_source(const source *m, int kind, V r, int k) {
    if (kind == BBI_KIND_REGISTER) return r;
    if (kind == BBI_KIND_SPLAT) return k < VECTORS ? m->v : m->w;
    return at(k < VECTORS ? m->p + k * BB_VB : m->q + (k - VECTORS) * BB_VB);
}
#define TERM(k, acc) sum_term(narg, r[k], read_source(&m, first, r[k], k), read_source(&n, second, r[k], k), acc)
BB_INLINE void sum(V *r, const bbi_link *s, const bbi_block *b, int narg, int first, int second) {
    const source m = open_source(&s->x[0], first), n = open_source(&s->x[1], second);
    char *sum = (char *)(uintptr_t)first_of(&s->x[2]), *next = sum + second_of(&s->x[2]);
    if (next == sum && !b->single) {
        UNROLL for (int k = 0; k < VECTORS; k++) {
            const V one = TERM(k, at(sum + k * BB_VB));
            put(sum + k * BB_VB, TERM(k + VECTORS, one));
        }
        return;
    }
    UNROLL for (int k = 0; k < VECTORS; k++) put(sum + k * BB_VB, TERM(k, at(sum + k * BB_VB)));
    if (b->single) return;
    UNROLL for (int k = 0; k < VECTORS; k++) put(next + k * BB_VB, TERM(k + VECTORS, at(next + k * BB_VB)));
}
#define SUM(name, count, first, second)                                                                                \
    static void sum_##name(ARGUMENTS) {                                                                                \
        OPEN sum(r, s, b, count, first, second);                                                                       \
        NEXT                                                                                                           \
    }
SUM(value, 1, BBI_KIND_REGISTER, BBI_KIND_REGISTER)
SUM(square, 2, BBI_KIND_REGISTER, BBI_KIND_REGISTER)
SUM(product_m, 2, M, BBI_KIND_REGISTER)
SUM(product_s, 2, S, BBI_KIND_REGISTER)
SUM(difference_mm, 3, M, M)
SUM(difference_ms, 3, M, S)
SUM(difference_sm, 3, S, M)
SUM(difference_ss, 3, S, S)

static bbi_link_function *sum_link(int narg, const uint8_t *kind) {
    static bbi_link_function *const product[] = {ENTRY(sum_square), ENTRY(sum_product_m), ENTRY(sum_product_s)};
    static bbi_link_function *const difference[] = {ENTRY(sum_difference_mm), ENTRY(sum_difference_ms),
                                                    ENTRY(sum_difference_sm), ENTRY(sum_difference_ss)};
    if (narg == 1) return ENTRY(sum_value);
    if (narg == 2) return product[kind[1]];
    return difference[2 * (kind[1] == S) + (kind[2] == S)];
}

/* As sums, one vector for each cast, to which the vectors are added in ascending order. */
static void mirror(ARGUMENTS) {
    OPEN V m[SLOTS];
    char *sum = (char *)(uintptr_t)first_of(&s->x[2]);
    const int narg = s->kind[2];
    if (narg < 2 || s->kind[1] == BBI_KIND_REGISTER) {
        EACH(k) m[k] = r[k];
    } else if (s->kind[1] == S) {
        fetch(m, &s->x[0], S);
    } else {
        fetch(m, &s->x[0], M);
    }
    for (int j = 0; j < (b->single ? 1 : CASTS); j++, sum += second_of(&s->x[2])) {
        V acc = at(sum);
        for (int g = 0; g < VECTORS; g++) {
            const V x = r[j * VECTORS + g], y = m[j * VECTORS + g];
            acc = narg == 1 ? acc + x : v_fma(x, y, acc);
        }
        put(sum, acc);
    }
    NEXT
}

/* ---- chains ---------------------------------------------------------------------------------- */
BB_INLINE void add_term(V *r, const bbi_link *s, const bbi_block *b, int64_t d, bool square, bool add) {
    const char *x = s->lane[d] + b->offset[BBI_LANES], *y = s->cast[d] + b->offset[BBI_CASTS];
    const V v = splat_at(y), w = splat_at(y + b->second[BBI_CASTS]);
    V lane[VECTORS];
    UNROLL for (int g = 0; g < VECTORS; g++) lane[g] = at(x + g * BB_VB);
    EACH(k) r[k] = chain_term(lane[k % VECTORS], k < VECTORS ? v : w, square, add, r[k]);
}

/* count: terms, if there are few and no initial value */
#define CHAIN(name, squares, initial, terms)                                                                            \
    static void chain_##name(ARGUMENTS) {                                                                              \
        OPEN if (!(initial)) add_term(r, s, b, 0, squares, 0);                                                          \
        if ((terms) > 0) {                                                                                             \
            UNROLL for (int d = 1; d < (terms); d++) add_term(r, s, b, d, squares, 1);                                  \
        } else {                                                                                                       \
            for (int64_t d = !(initial); d < s->count; d++) add_term(r, s, b, d, squares, 1);                           \
        }                                                                                                              \
        NEXT                                                                                                           \
    }
CHAIN(square_1, 1, 0, 1)
CHAIN(square_2, 1, 0, 2)
CHAIN(square_3, 1, 0, 3)
CHAIN(square_4, 1, 0, 4)
CHAIN(square_n, 1, 0, 0)
CHAIN(square_more, 1, 1, 0)
CHAIN(product_n, 0, 0, 0)
CHAIN(product_more, 0, 1, 0)

static bbi_link_function *chain_link(bool square, bool initial, int64_t count) {
    static bbi_link_function *const few[] = {NULL, ENTRY(chain_square_1), ENTRY(chain_square_2), ENTRY(chain_square_3),
                                             ENTRY(chain_square_4)};
    if (!square) return ENTRY(initial ? chain_product_more : chain_product_n);
    if (initial) return ENTRY(chain_square_more);
    return count <= 4 ? few[count] : ENTRY(chain_square_n);
}

/* ---- all blocks of a tile -------------------------------------------------------------------- */
/* Offsets are stored one by one: processors hand on what a vector store wrote to a load of a part of it late. */
static void walk(const bbi_link *links, bbi_block *b, const int64_t *step, int64_t casts, int64_t vectors) {
    const V none = {0};
    int64_t base[BBI_MOTIONS] = {0};
    for (int k = 0; k < BBI_MOTIONS; k++) b->second[k] = step[k];
    b->second[BBI_LOCAL] = VECTORS * BB_VB;
    b->single = false;
    for (int64_t r = 0; r < casts; r += CASTS) {
        if (r + 1 == casts) {
            b->single = true;
            for (int k = 0; k < BBI_MOTIONS; k++) b->second[k] = k == BBI_LOCAL ? b->second[k] : 0;
        }
        for (int64_t v = 0; v < vectors * BB_VB; v += VECTORS * BB_VB) {
            UNROLL for (int k = 0; k < BBI_MOTIONS; k++) b->offset[k] = base[k] + (k >= BBI_LANES ? v : 0);
            ((link_function *)links->run)(links, b, none, none, none, none, none, none, none, none);
        }
        UNROLL for (int k = 0; k < BBI_MOTIONS; k++) base[k] += CASTS * step[k];
    }
}

const bbi_strand_isa BBI_ISA_NAME(bbi_strand_isa, BB_ISA, BB_DOUBLE) = {
    .load = {[M] = ENTRY(load_m), [S] = ENTRY(load_s)},
    .store = ENTRY(store),
    .stop = ENTRY(stop),
    .mirror = ENTRY(mirror),
    .select = {ENTRY(select_min), ENTRY(select_max)},
    .map = map_link,
    .pair = pair_link,
    .sum = sum_link,
    .chain = chain_link,
    .walk = walk,
};
