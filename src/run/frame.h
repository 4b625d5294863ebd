/* frame.h: the memory of a run, which is kept for the next run of the same executable. */
#ifndef BBI_FRAME_H
#define BBI_FRAME_H

#include "execute.h"

typedef struct bbi_block {
    char *bytes;
    size_t size;
} bbi_block;

struct bbi_frame {
    bbi_block workspace, memory; /* of the calling thread; temporaries and partial results */
    bbi_block columns;           /* packed columns of a stage */
    bbi_view *view;              /* the arrays behind the structure */
    bbi_schedule *schedule;
    char **temporary;
    bool scheduled; /* the schedules are those of these sizes, without ranges */
    int64_t m, n, slots;
};

/* At least `size` bytes, whose contents are lost when they move; NULL: there is not enough memory. */
void *bbi_block_need(bbi_block *b, size_t size);
/* From the executable and back to it; NULL: out of memory. */
bbi_frame *bbi_frame_take(bbi_executable *e);
void bbi_frame_give(bbi_executable *e, bbi_frame *frame);

#endif
