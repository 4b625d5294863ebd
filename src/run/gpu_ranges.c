/* gpu_ranges.c: block-sparse ranges on a device: which columns the groups of rows meet. Lists are made on the host, small as
 * they are, and stay on the device: a run with ranges that were there before copies nothing. */
#include "gpu.h"

#include <string.h>

enum { KEPT = 64 }; /* lists of a stage */

int64_t bbi_gpu_count_groups(const bbi_segments *segments, int64_t group_rows) {
    int64_t groups = 0;
    for (int64_t k = 0; k < segments->count; k++) groups += (segments->segment[k].count + group_rows - 1) / group_rows;
    return groups;
}

void bbi_gpu_lists_free(bbi_device *device, bbi_gpu_lists *lists) {
    if (bbi_device_check(device) == BB_OK) {
        device->driver->release(device, lists->group_memory);
        device->driver->release(device, lists->interval_memory);
    }
    bbi_free(lists->group);
    bbi_free(lists->interval);
    bbi_free(lists);
}

static void fill(const bbi_segments *segments, int64_t group_rows, bbi_gpu_lists *lists) {
    int64_t at = 0, groups = 0;
    for (int64_t k = 0; k < segments->count; k++) {
        const bbi_segment *s = &segments->segment[k];
        int64_t first = at, position = 0;
        for (int64_t n = 0; n < s->intervals; n++) {
            lists->interval[2 * at] = position;
            lists->interval[2 * at++ + 1] = s->interval[2 * n];
            position += s->interval[2 * n + 1] - s->interval[2 * n];
        }
        for (int64_t row = 0; row < s->count; row += group_rows) {
            int64_t *g = lists->group + BBI_GPU_GROUP_FIELDS * groups++;
            g[0] = s->first + row;
            g[1] = s->count - row < group_rows ? s->first + s->count : s->first + row + group_rows;
            g[2] = first;
            g[3] = s->intervals;
            g[4] = s->columns;
        }
    }
}

static bb_status make(const bbi_segments *segments, int64_t group_rows, bbi_gpu_lists **made) {
    bbi_gpu_lists *lists = *made = bbi_calloc(1, sizeof *lists);
    if (!lists) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the ranges");
    lists->groups = bbi_gpu_count_groups(segments, group_rows);
    for (int64_t k = 0; k < segments->count; k++) lists->intervals += segments->segment[k].intervals;
    lists->group = bbi_calloc((size_t)(lists->groups * BBI_GPU_GROUP_FIELDS + 1), sizeof *lists->group);
    lists->interval = bbi_calloc((size_t)(2 * lists->intervals + 1), sizeof *lists->interval);
    if (!lists->group || !lists->interval) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the ranges");
    fill(segments, group_rows, lists);
    return BB_OK;
}

static bb_status send(bbi_device *device, bbi_gpu_lists *lists) {
    size_t group = (size_t)(lists->groups * BBI_GPU_GROUP_FIELDS) * 8, interval = (size_t)lists->intervals * 16;
    BBI_FORWARD(device->driver->allocate(device, group + 8, &lists->group_memory));
    BBI_FORWARD(device->driver->allocate(device, interval + 8, &lists->interval_memory));
    BBI_FORWARD(device->driver->write(device, lists->group_memory, 0, lists->group, group));
    return device->driver->write(device, lists->interval_memory, 0, lists->interval, interval);
}

static bool is_same(const bbi_gpu_lists *a, const bbi_gpu_lists *b) {
    return a->groups == b->groups && a->intervals == b->intervals &&
           memcmp(a->group, b->group, (size_t)(a->groups * BBI_GPU_GROUP_FIELDS) * 8) == 0 &&
           memcmp(a->interval, b->interval, (size_t)a->intervals * 16) == 0;
}

/* The oldest make room; what a run under way uses is among the newest, unless KEPT threads are at it. */
static void enter(bbi_device *device, bbi_gpu_stage *stage, bbi_gpu_lists *lists) {
    int count = 1;
    lists->next = stage->lists;
    stage->lists = lists;
    for (bbi_gpu_lists *l = lists; l->next; l = l->next) {
        if (++count <= KEPT) continue;
        bbi_gpu_lists_free(device, l->next);
        l->next = NULL;
        break;
    }
}

bb_status bbi_gpu_lists_of(bbi_executable *executable, int32_t stage, const bbi_segments *segments, int64_t group_rows,
                           const bbi_gpu_lists **lists) {
    bbi_gpu_code *gpu = executable->gpu;
    bbi_gpu_stage *s = &gpu->stage[stage];
    bbi_gpu_lists *made = NULL, *found;
    bb_status status = make(segments, group_rows, &made);
    bbi_mutex_lock(gpu->mutex);
    for (found = s->lists; status == BB_OK && found && !is_same(found, made);) found = found->next;
    if (status == BB_OK && !found) {
        status = send(gpu->device, made);
        if (status == BB_OK) {
            enter(gpu->device, s, made);
            found = made;
            made = NULL;
        }
    }
    bbi_mutex_unlock(gpu->mutex);
    if (made) bbi_gpu_lists_free(gpu->device, made);
    *lists = found;
    return status;
}
