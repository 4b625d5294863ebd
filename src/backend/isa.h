/* isa.h: the tables through which ordinary C reaches the sources that are compiled once per instruction set
 * and real type (interp_isa.c, interp_strand_isa.c, pack_isa.c). A unit is compiled with -DBB_ISA=0|1|2 -DBB_DOUBLE=0|1 and
 * exports one const table whose name ends in both numbers; the files that choose among them are told the
 * highest level built by -DBBI_HAVE_ISA. */
#ifndef BBI_ISA_H
#define BBI_ISA_H

#include "../plan/plan.h"

#ifndef BBI_HAVE_ISA
#define BBI_HAVE_ISA 0
#endif
#define BBI_ISA_PASTE(name, isa, real) name##_##isa##_##real
#define BBI_ISA_NAME(name, isa, real) BBI_ISA_PASTE(name, isa, real)

/* ---- interp_isa.c: operations on tiles ------------------------------------------------------- */
/* A tile is `rows` casts by `vectors` vectors of lanes, contiguous. An operand varies with the casts by
 * cast_step bytes; with the lanes either as a vector in memory does, or not at all (splat). */
typedef struct bbi_view {
    const char *at;
    int64_t cast_step;
    bool splat;
} bbi_view;

/* Sum of terms onto an initial value: term d is (lane_d - cast_d)^2 or lane_d cast_d, d ascending, each added
 * by one fma; without an initial value the first term is a plain product. */
typedef struct bbi_chain {
    int64_t count;
    const char *const *lane;
    const char *const *cast;
    int64_t cast_step; /* bytes; 0: both sides are tiles (pair lists) */
    bool square, has_initial;
    bbi_view initial;
} bbi_chain;

/* result may be one of the operands: element k is written after it was read, and no other is read later. */
typedef void bbi_map_function(char *result, const bbi_view *view, int64_t rows, int64_t vectors);

/* Sums of a tile times weights: components of the sum, taken together so that the tile is loaded once. */
enum { BBI_WIDE = 4 };
/* Kinds of weight: cast, lane - cast, cast - lane. */
enum { BBI_WIDE_CAST, BBI_WIDE_LANE_CAST, BBI_WIDE_CAST_LANE, BBI_WIDE_KINDS };
typedef struct bbi_wide {
    int64_t count, tile_step, cast_step;
    const char *tile;
    char *sum[BBI_WIDE];
    const char *lane[BBI_WIDE], *cast[BBI_WIDE];
} bbi_wide;

typedef struct bbi_interp_isa {
    int vector_bytes, real_bytes;
    bbi_map_function *const *map; /* by operation; NULL where the row is no MAP */
    /* The variant for operands whose splat flags are these bits (bit n: operand n), or NULL. */
    bbi_map_function *(*special)(int op, unsigned splats);
    void (*copy)(char *result, int64_t result_step, const bbi_view *view, int64_t rows, int64_t vectors);
    /* sum[.] += view[0], or fma(view[0], view[1], sum[.]), or fma(view[0], view[1] - view[2], sum[.]), rows
     * ascending. sum_step: bytes from cast to cast, 0: one vector row that all casts are added to. */
    void (*sum)(char *sum, int64_t sum_step, const bbi_view *view, int narg, int64_t rows, int64_t vectors);
    /* sum_wide[kind]: 1 to BBI_WIDE such sums at a time of the same tile, where view[1] and view[2] are of
     * the kind. */
    void (*sum_wide[BBI_WIDE_KINDS])(const bbi_wide *wide, int64_t rows, int64_t vectors);
    void (*chain)(char *result, const bbi_chain *chain, int64_t rows, int64_t vectors);
    /* Mirror sums, as sum: one vector for each cast, to which the tile's vectors are added in ascending order. */
    void (*mirror)(char *sum, const bbi_view *view, int narg, int64_t rows, int64_t vectors);
    /* result[k] = ± the sum of vector k by halves: lane n and n + W/2, then n + W/4 ... */
    void (*lane_sums)(char *result, const char *source, int64_t count, bool negative);
} bbi_interp_isa;

extern const bbi_interp_isa bbi_interp_isa_0_0, bbi_interp_isa_0_1;
#if BBI_HAVE_ISA >= 1
extern const bbi_interp_isa bbi_interp_isa_1_0, bbi_interp_isa_1_1;
#endif
#if BBI_HAVE_ISA >= 2
extern const bbi_interp_isa bbi_interp_isa_2_0, bbi_interp_isa_2_1;
#endif

/* ---- interp_strand_isa.c: straight pair code, block by block, values in registers ------------- */
enum { BBI_BLOCK_CASTS = 2, BBI_BLOCK_VECTORS = 4 };
/* How an address moves from block to block. From BBI_LANES on also with the lanes. */
typedef enum bbi_motion {
    BBI_STAYS,  /* uniform values, literals */
    BBI_LOCAL,  /* values of the block */
    BBI_CASTS,  /* arrays that are cast */
    BBI_MIRROR, /* mirror sums */
    BBI_LANES,  /* arrays in lanes */
    BBI_TILE,   /* tile buffers */
    BBI_SUMS,
    BBI_OUTS,
    BBI_MOTIONS
} bbi_motion;
typedef struct bbi_block {
    int64_t offset[BBI_MOTIONS]; /* bytes, of the first cast */
    int64_t second[BBI_MOTIONS]; /* from the first cast to the second; directly behind `offset` */
    bool single;                 /* no second cast: its slots repeat the first */
} bbi_block;
typedef struct bbi_link_operand {
    const char *at;
    const int64_t *offset; /* among the offsets of the block */
} bbi_link_operand;
enum { BBI_KIND_REGISTER, BBI_KIND_MEMORY, BBI_KIND_SPLAT }; /* of an operand; REGISTER: the link's current value */
typedef void bbi_link_function(void);                        /* its true type is known to the isa only */
/* What a selection needs beside the values: see bbi_hits. */
typedef struct bbi_selecting {
    bbi_hits *hits;
    bool max, improves;    /* improves: the limit becomes the best so far */
    int64_t first, casts;  /* of the tile: number of its first cast, casts */
    char best[BBI_LANE_BYTES];
} bbi_selecting;
/* One operation of a strand, bound to addresses: takes the current value and leaves the next one. */
typedef struct bbi_link {
    bbi_link_function *run;
    bbi_link_operand x[3];           /* operands that are not in registers; [2]: sums */
    int64_t count;                   /* operands of an operation; terms of a chain, and where they stand: */
    const char *const *lane, *const *cast;
    bbi_map_function *function;      /* the operation on tiles */
    bbi_selecting *select;
    double number[2];                /* operands that are integers, as R */
    uint8_t kind[3];                 /* mirror sums: [2] is the number of operands */
} bbi_link;
typedef struct bbi_strand_isa {
    bbi_link_function *load[3], *store, *stop, *mirror;
    bbi_link_function *select[2]; /* store, and what is compared meanwhile: minima, maxima */
    /* by kinds of the operands; some operand is in registers */
    bbi_link_function *(*map)(int op, const uint8_t *kind);
    /* of two operands, none of which is in registers; NULL where such an operation begins with a load */
    bbi_link_function *(*pair)(int op, const uint8_t *kind);
    /* kind[0] is in registers */
    bbi_link_function *(*sum)(int narg, const uint8_t *kind);
    bbi_link_function *(*chain)(bool square, bool has_initial, int64_t count);
    /* Runs links for casts x vectors pairs; step: bytes from cast to cast, by motion; vectors are a multiple of
     * BBI_BLOCK_VECTORS. */
    void (*walk)(const bbi_link *links, bbi_block *block, const int64_t *step, int64_t casts, int64_t vectors);
} bbi_strand_isa;

extern const bbi_strand_isa bbi_strand_isa_0_0, bbi_strand_isa_0_1;
#if BBI_HAVE_ISA >= 1
extern const bbi_strand_isa bbi_strand_isa_1_0, bbi_strand_isa_1_1;
#endif
#if BBI_HAVE_ISA >= 2
extern const bbi_strand_isa bbi_strand_isa_2_0, bbi_strand_isa_2_1;
#endif

/* ---- pack_isa.c: between the storage types and R, between rows of components and components of rows  */
enum { BBI_DTYPES = 5 };
typedef struct bbi_pack_isa {
    /* count numbers, `step` bytes apart in storage, compact as R; by storage type; unaligned too. */
    void (*read[BBI_DTYPES])(void *result, const char *data, int64_t step, int64_t count);
    void (*write[BBI_DTYPES])(char *data, int64_t step, const void *source, int64_t count);
    /* result[d * stride + r] = source[r * row_step + d]; steps in R's. */
    void (*transpose)(void *result, int64_t stride, const void *source, int64_t row_step, int64_t rows, int64_t dim);
} bbi_pack_isa;

extern const bbi_pack_isa bbi_pack_isa_0_0, bbi_pack_isa_0_1;
#if BBI_HAVE_ISA >= 1
extern const bbi_pack_isa bbi_pack_isa_1_0, bbi_pack_isa_1_1;
#endif
#if BBI_HAVE_ISA >= 2
extern const bbi_pack_isa bbi_pack_isa_2_0, bbi_pack_isa_2_1;
#endif

#endif
