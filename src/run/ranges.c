/* ranges.c: block-sparse ranges. The caller's clusters become segments of rows, each with its sequence of
 * column intervals; the rows between clusters become segments without columns, whose reductions yield the
 * neutral element. Positions count along the sequence; finished indices are translated to column numbers. */
#include "execute.h"

#include <stdlib.h>
#include <string.h>

/* the three arrays for one kept axis */
typedef struct side {
    const int64_t *ranges, *slices, *reduced;
    int64_t clusters;
    const char *ranges_name, *slices_name, *reduced_name;
} side;

static side side_of(const bb_ranges *ranges, bbi_place kept) {
    if (kept == BBI_I)
        return (side){ranges->ranges_i, ranges->slices_i, ranges->reduced_j, ranges->count_i,
                      "ranges_i",       "slices_i",       "reduced_j"};
    return (side){ranges->ranges_j, ranges->slices_j, ranges->reduced_i, ranges->count_j,
                  "ranges_j",       "slices_j",       "reduced_i"};
}

static bb_status check_interval(const int64_t *interval, int64_t limit, const char *name, int64_t number) {
    if (interval[0] >= 0 && interval[0] <= interval[1] && interval[1] <= limit) return BB_OK;
    return bbi_fail(BB_BAD_RANGES, "%s[%lld] is [%lld, %lld), expected 0 <= begin <= end <= %lld", name,
                    (long long)number, (long long)interval[0], (long long)interval[1], (long long)limit);
}

static bb_status check_side(const side *s, int64_t rows, int64_t columns) {
    if (s->clusters < 0 || (s->clusters > 0 && (!s->ranges || !s->slices)))
        return bbi_fail(BB_BAD_RANGES, "%s and %s are needed for this reduction: %lld clusters", s->ranges_name,
                        s->slices_name, (long long)s->clusters);
    int64_t begin = 0;
    for (int64_t c = 0; c < s->clusters; c++) {
        BBI_FORWARD(check_interval(s->ranges + 2 * c, rows, s->ranges_name, c));
        if (s->slices[c] < begin)
            return bbi_fail(BB_BAD_RANGES, "%s[%lld] = %lld is less than %lld: slices are ends and never decrease",
                            s->slices_name, (long long)c, (long long)s->slices[c], (long long)begin);
        if (s->slices[c] > begin && !s->reduced)
            return bbi_fail(BB_BAD_RANGES, "%s is missing, %s refers to it", s->reduced_name, s->slices_name);
        for (int64_t k = begin; k < s->slices[c]; k++)
            BBI_FORWARD(check_interval(s->reduced + 2 * k, columns, s->reduced_name, k));
        begin = s->slices[c];
    }
    return BB_OK;
}

static int by_first_row(const void *a, const void *b) {
    const bbi_segment *x = a, *y = b;
    if (x->first != y->first) return x->first < y->first ? -1 : 1;
    return (x->count > y->count) - (x->count < y->count); /* empty ones first: they hide nothing */
}

/* Segments of the clusters, in the first half of an array that has room for the gaps. */
static void fill_clusters(const side *s, bbi_segments *segments) {
    for (int64_t c = 0; c < s->clusters; c++) {
        int64_t begin = c ? s->slices[c - 1] : 0;
        bbi_segment *segment = &segments->segment[segments->count];
        *segment = (bbi_segment){.first = s->ranges[2 * c],
                                 .count = s->ranges[2 * c + 1] - s->ranges[2 * c],
                                 .interval = s->reduced + 2 * begin,
                                 .intervals = s->slices[c] - begin};
        for (int64_t k = 0; k < segment->intervals; k++)
            segment->columns += segment->interval[2 * k + 1] - segment->interval[2 * k];
        segments->count += segment->count > 0;
    }
}

static bb_status fill_gaps(const side *s, int64_t rows, bbi_segments *segments) {
    static const int64_t nothing[2] = {0, 0};
    int64_t clusters = segments->count, reached = 0;
    for (int64_t c = 0; c <= clusters; c++) {
        const bbi_segment *segment = &segments->segment[c];
        int64_t next = c < clusters ? segment->first : rows;
        if (next < reached)
            return bbi_fail(BB_BAD_RANGES, "%s: two ranges hold row %lld: ranges of rows must not overlap",
                            s->ranges_name, (long long)next);
        if (next > reached)
            segments->segment[segments->count++] =
                (bbi_segment){.first = reached, .count = next - reached, .interval = nothing};
        if (c < clusters) reached = next + segment->count;
    }
    return BB_OK;
}

bb_status bbi_ranges_segments(const bb_ranges *ranges, int64_t structure, bbi_place kept, int64_t m, int64_t n,
                              bbi_segments *segments) {
    bb_ranges all = {0};
    if (ranges->size < sizeof(size_t)) return bbi_fail(BB_BAD_RANGES, "ranges: set `size` to sizeof(bb_ranges)");
    memcpy(&all, (const char *)ranges + (size_t)structure * ranges->size,
           ranges->size < sizeof all ? ranges->size : sizeof all);
    side s = side_of(&all, kept);
    int64_t rows = kept == BBI_I ? m : n;
    BBI_FORWARD(check_side(&s, rows, kept == BBI_I ? n : m));
    segments->count = 0;
    segments->segment = bbi_calloc((size_t)(2 * s.clusters + 2), sizeof *segments->segment);
    if (!segments->segment) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory for the ranges");
    fill_clusters(&s, segments);
    qsort(segments->segment, (size_t)segments->count, sizeof *segments->segment, by_first_row);
    BBI_FORWARD(fill_gaps(&s, rows, segments));
    qsort(segments->segment, (size_t)segments->count, sizeof *segments->segment, by_first_row);
    return BB_OK;
}

void bbi_segments_number(bbi_segments *segments, int64_t group) {
    segments->groups = 0;
    for (int64_t k = 0; k < segments->count; k++) {
        segments->segment[k].first_group = segments->groups;
        segments->groups += (segments->segment[k].count + group - 1) / group;
    }
}

/* The interval that holds a position, which becomes relative to its begin. */
static int64_t find_interval(const bbi_segment *segment, int64_t *position) {
    int64_t k = 0;
    for (; k + 1 < segment->intervals; k++) {
        int64_t length = segment->interval[2 * k + 1] - segment->interval[2 * k];
        if (*position < length) break;
        *position -= length;
    }
    return k;
}

int64_t bbi_segment_column(const bbi_segment *segment, int64_t position) {
    if (!segment->interval) return position;
    int64_t k = find_interval(segment, &position);
    return segment->interval[2 * k] + position;
}

bool bbi_segment_is_straight(const bbi_segment *segment, int64_t first, int64_t count, int64_t *column) {
    *column = first;
    if (!segment->interval) return true;
    int64_t k = find_interval(segment, &first);
    *column = segment->interval[2 * k] + first;
    return *column + count <= segment->interval[2 * k + 1];
}

void bbi_segment_columns(const bbi_segment *segment, int64_t first, int64_t count, int64_t *column) {
    int64_t k = find_interval(segment, &first);
    for (int64_t at = segment->interval[2 * k] + first; count > 0; count--) {
        while (at >= segment->interval[2 * k + 1]) at = segment->interval[2 * ++k];
        *column++ = at++;
    }
}
