/* interp_frame.h: a code in execution: where operands stand. Shared by interp.c and interp_strand.c. */
#ifndef BBI_INTERP_FRAME_H
#define BBI_INTERP_FRAME_H

#include "interp.h"

#include <string.h>

typedef struct bbi_space_view {
    const char *base;
    int64_t stride, step; /* bytes: from component to component, from cast to cast */
    bool splat;
} bbi_space_view;

typedef struct bbi_frame {
    const bbi_interp *interp;
    const bbi_interp_isa *isa;
    bbi_space_view space[BBI_SPACES];
    int64_t casts, vectors, tile_step; /* tile_step: bytes of a cast in a tile */
    const int64_t *size;
    int64_t *index, *counter;
    char *tiles, *sum, *out;
    char *local; /* of strands */
    int64_t tile_stride;
    int64_t sum_step; /* bytes from cast to cast of the sum area; components are a block apart */
    int64_t out_stride, out_step;
    bool single;     /* one element only: outputs are numbers, not vectors */
    bool in_strands; /* strands run where there are some */
    bool no_copies;  /* outputs that are components of the columns are left out */
    bbi_selecting *select;
    double count[3]; /* operands that are integers, as R */
} bbi_frame;

static inline int64_t bbi_frame_value(const bbi_frame *f, bbi_address a) {
    return a.slot < 0 ? a.value : f->index[a.slot];
}

/* An integer as R. */
static inline const char *bbi_frame_count(const bbi_frame *f, int64_t value, double *place) {
    if (f->interp->is_double) {
        *place = (double)value;
    } else {
        const float number = (float)value;
        memcpy(place, &number, sizeof number);
    }
    return (const char *)place;
}

/* ---- interp_strand.c ---- */
int64_t bbi_interp_strand_bytes(const bbi_interp *interp); /* of workspace */
void bbi_interp_run_strand(bbi_frame *f, const bbi_action *action);

#endif
