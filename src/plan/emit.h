/* emit.h: shared by the files that print a pair kernel. emit_prelude.c prints what stands before the kernel,
 * emit_text.c lines and index expressions, emit_body.c and emit_symmetric.c the steps of a stretch of code over a block
 * of pairs, emit.c the loops around them. */
#ifndef BBI_EMIT_H
#define BBI_EMIT_H

#include "plan.h"

/* A segment is a stretch of code that runs inside one loop over casts: straight steps, with loops that only
 * compute values; a loop that carries an accumulator from one iteration to the next is a segment of its own.
 * Values that cross from one segment to another live in buffers in between, one entry for each cast of a tile
 * and vector of a group. */
typedef struct bbi_emitter {
    bbi_text *text;
    const bbi_stage *stage;
    const bbi_code *code;
    const bbi_emit_options *options;
    /* of the code, by instruction */
    int32_t *end;     /* of a loop: its END */
    bool *sinks;      /* of a loop: contains a SUM or an OUT */
    bool *carries;    /* of a loop without them: a step assigns a value that it reads */
    int32_t *segment; /* of a step: its segment */
    /* by value */
    int32_t *home;  /* the segment that defines it */
    bool *buffered; /* lives in a buffer between segments */
    bool *declared; /* in the body being printed */
    bool *assigned; /* in the segment being printed */
    int32_t nbuffered;
    /* by space and index expression: depth of the loop where an operand was loaded, + 1; 0 where it was not.
     * Three spaces. */
    uint8_t *loaded;
    /* the blocks of the segment being printed: vectors, and casts or iterations of the loop around them */
    int vectors, block;
    int32_t counter;       /* the loop whose iterations are blocked; -1: casts are */
    int budget;            /* vector registers that loads may still occupy across the loop over casts */
    const char *from, *to; /* names of the first cast of the loop over casts and of the one behind the last */
    int32_t panel;         /* the loop of the segment being printed whose iterations are cut into panels; -1: none */
    int indent, depth;
    bbi_selection selection;
    bool unroll; /* the casts of a tile are a constant number, and their code is short */
} bbi_emitter;

/* ---- emit_prelude.c ---- */
bb_status bbi_emit_prelude(bbi_text *text, const bbi_code *code, bbi_selection selection,
                           const bbi_emit_options *options);

/* ---- emit_text.c ---- */
void bbi_emit_line(const bbi_emitter *e, const char *format, ...) BBI_PRINTF(2, 3);
void bbi_emit_literal(bbi_text *text, double value);
/* C text of an index expression; the blocked counter is advanced by `at`. */
void bbi_emit_index(const bbi_emitter *e, int32_t index, int at);
bool bbi_index_depends(const bbi_code *code, int32_t index, int32_t counter);

/* ---- emit_body.c ---- */
/* Most iterations of a long loop that run before the next casts: what they load of the lanes stays in the first-level
 * cache. Fewer would cost more: with each panel the accumulators go to their buffer and back. */
enum { BBI_PANEL = 104 };
/* An operand of vector v and cast (iteration) u. */
void bbi_emit_operand(const bbi_emitter *e, const bbi_operand *o, int v, int u);
/* Operands are loaded where they stand from here on. */
void bbi_forget_loads(const bbi_emitter *e);
/* emit_symmetric.c: MIRROR for all vectors and cast (iteration) u. */
void bbi_emit_mirror(const bbi_emitter *e, const bbi_instruction *s, int u);
/* emit_body.c: the steps first .. last - 1, which are one segment: loads, the loop over casts from t to t1, sums
 * stored. */
void bbi_emit_segment(bbi_emitter *e, int32_t first, int32_t last);

/* ---- emit_select.c: hooks of a kernel that selects; the others print nothing by them ---- */
void bbi_emit_select_begin(const bbi_emitter *e); /* before the first cast of a group of vectors */
void bbi_emit_select_tile(const bbi_emitter *e);  /* before the casts of a tile */
/* The variable best_v takes a value of vector v, whose text the caller prints between both. */
void bbi_emit_select_open(const bbi_emitter *e, int v);
void bbi_emit_select_close(const bbi_emitter *e, int v);
void bbi_emit_select_hits(bbi_emitter *e);      /* behind the casts of a tile */
void bbi_emit_select_end(const bbi_emitter *e); /* behind the last cast */

/* ---- emit_lse.c: the same hooks of a log-sum-exp ---- */
int bbi_emit_unrolled(const bbi_emitter *e);
bool bbi_emit_is_weight(const bbi_emitter *e, const bbi_instruction *s); /* writes a component behind the value */
void bbi_emit_lse_begin(const bbi_emitter *e);
void bbi_emit_lse_group(bbi_emitter *e);
void bbi_emit_lse_end(const bbi_emitter *e);

#endif
