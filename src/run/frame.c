/* frame.c: views, schedules and workspace of a run, so that small problems meet no allocation. */
#include "frame.h"

static const size_t kept_bytes = 1 << 20; /* of each block of a frame between runs */

static void give_up(bbi_block *b) {
    if (b->size > kept_bytes)
        bbi_free_kept(b->bytes, b->size);
    else
        bbi_free_aligned(b->bytes);
    *b = (bbi_block){0};
}

void *bbi_block_need(bbi_block *b, size_t size) {
    if (b->size >= size) return b->bytes;
    give_up(b);
    b->bytes = size > kept_bytes ? bbi_alloc_kept(&size) : bbi_alloc_aligned(size);
    b->size = b->bytes ? size : 0;
    return b->bytes;
}

static void trim(bbi_block *b) {
    if (b->size > kept_bytes) give_up(b);
}

void bbi_frame_free(bbi_frame *frame) {
    if (!frame) return;
    bbi_free_aligned(frame->workspace.bytes);
    bbi_free_aligned(frame->memory.bytes);
    bbi_free_aligned(frame->columns.bytes);
    bbi_free(frame);
}

bbi_frame *bbi_frame_take(bbi_executable *e) {
    bbi_frame *frame = atomic_exchange(&e->spare, NULL);
    if (frame) return frame;
    const bbi_plan *plan = e->plan;
    size_t views = (size_t)(plan->ninput + plan->noutput) * sizeof(bbi_view);
    size_t schedules = (size_t)plan->nstage * sizeof(bbi_schedule);
    size_t temporaries = (size_t)plan->ntemporary * sizeof(char *);
    size_t head = (sizeof *frame + 15) / 16 * 16;
    frame = bbi_calloc(1, head + views + schedules + temporaries);
    if (!frame) return NULL;
    frame->view = (bbi_view *)(void *)((char *)frame + head);
    frame->schedule = (bbi_schedule *)(void *)((char *)frame->view + views);
    frame->temporary = (char **)(void *)((char *)frame->schedule + schedules);
    return frame;
}

void bbi_frame_give(bbi_executable *e, bbi_frame *frame) {
    trim(&frame->workspace);
    trim(&frame->memory);
    trim(&frame->columns);
    bbi_frame_free(atomic_exchange(&e->spare, frame));
}
