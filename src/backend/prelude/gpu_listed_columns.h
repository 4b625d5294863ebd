/* Sums over a list of the columns: keys, a sort by digits, sums of blocks, sums of rows. */
#define BB_DIGITS (1 << BB_BITS)
#define BB_BAND (BB_AT(geometry, BB_GEO_GROUPS) * BB_THREADS)
#define BB_NONE ((unsigned)(BB_AT(pass, BB_PASS_SLOTS) * BB_BAND))
#define BB_KEYS(side) (entries + 2 * (side) * BB_AT(pass, BB_PASS_CAPACITY))
#define BB_ITEMS_OF(keys) (keys + BB_AT(pass, BB_PASS_CAPACITY))
#define BB_COUNTS (entries + 4 * BB_AT(pass, BB_PASS_CAPACITY))
BB_KERNEL(BB_THREADS) void benben_listed_keys(BB_TABLE(geometry), BB_GLOBAL const char *BB_RESTRICT list,
    BB_GLOBAL unsigned *entries, BB_TABLE(pass), BB_TABLE(views))
{
    const I64 id = BB_BLOCK * BB_THREADS + BB_THREAD, dim = BB_AT(pass, BB_PASS_LIST_DIM);
    const I64 each = BB_AT(pass, BB_PASS_COLUMNS) * dim, rows = BB_AT(geometry, BB_GEO_ROWS);
    if (id >= BB_AT(pass, BB_PASS_ENTRIES)) return;
    const I64 slot = id / each, column = id % each / dim + BB_AT(pass, BB_PASS_FIRST_COLUMN);
    BB_BATCH(BB_AT(pass, BB_PASS_FIRST_SLOT) + slot);
    list += BB_ORIGIN(0) + column * BB_VIEW(0, BB_FIELD_ROW) + id % dim * BB_VIEW(0, BB_FIELD_DIM);
    const I64 at = *(BB_GLOBAL const I64 *)list, place = at - BB_AT(geometry, BB_GEO_FIRST_GROUP) * BB_THREADS;
    BB_KEYS(0)[id] = at < -1 || at >= rows                        ? BB_NONE + 1
                     : at < 0 || place < 0 || place >= BB_BAND ? BB_NONE
                                                               : (unsigned)(slot * BB_BAND + place);
    BB_ITEMS_OF(BB_KEYS(0))[id] = (unsigned)id;
}
#define BB_DIGIT(key) (int)(((key) >> (int)BB_AT(pass, BB_PASS_SHIFT)) & (BB_DIGITS - 1u))
/* of a thread's own neighbours, so that equal digits keep their order */
#define BB_COUNT_DIGITS(count, key, first, end)                                                    \
    do {                                                                                           \
        for (int d = 0; d < BB_DIGITS; d++) count[d * BB_THREADS + BB_THREAD] = 0;                 \
        for (int k = 0; k < BB_ITEMS; k++)                                                         \
            if ((first) + k < (end)) count[BB_DIGIT((key)[(first) + k]) * BB_THREADS + BB_THREAD]++; \
    } while (0)
BB_KERNEL(BB_THREADS) void benben_listed_count(BB_TABLE(geometry), BB_GLOBAL unsigned *entries, BB_TABLE(pass))
{
    BB_LOCAL_ARRAY(unsigned, count, BB_DIGITS * BB_THREADS);
    BB_GLOBAL const unsigned *from = BB_KEYS(BB_AT(pass, BB_PASS_SIDE));
    const I64 first = (BB_BLOCK * BB_THREADS + BB_THREAD) * BB_ITEMS, end = BB_AT(pass, BB_PASS_ENTRIES);
    BB_COUNT_DIGITS(count, from, first, end);
    BB_BARRIER();
    if (BB_THREAD < BB_DIGITS) {
        unsigned all = 0;
        for (int t = 0; t < BB_THREADS; t++) all += count[BB_THREAD * BB_THREADS + t];
        BB_COUNTS[BB_THREAD * BB_AT(pass, BB_PASS_TILES) + BB_BLOCK] = all;
    }
}
/* one block: where the entries of a digit and a tile go */
BB_KERNEL(BB_THREADS) void benben_listed_scan(BB_TABLE(geometry), BB_GLOBAL unsigned *entries, BB_TABLE(pass))
{
    BB_LOCAL_ARRAY(unsigned, before, BB_THREADS);
    BB_GLOBAL unsigned *count = BB_COUNTS;
    const I64 all = BB_DIGITS * BB_AT(pass, BB_PASS_TILES), each = (all + BB_THREADS - 1) / BB_THREADS;
    const I64 first = BB_THREAD * each, end = first + each < all ? first + each : all;
    unsigned sum = 0;
    for (I64 k = first; k < end; k++) sum += count[k];
    before[BB_THREAD] = sum;
    BB_BARRIER();
    sum = 0;
    for (int t = 0; t < BB_THREAD; t++) sum += before[t];
    for (I64 k = first; k < end; k++) {
        const unsigned own = count[k];
        count[k] = sum;
        sum += own;
    }
}
BB_KERNEL(BB_THREADS) void benben_listed_move(BB_TABLE(geometry), BB_GLOBAL unsigned *entries, BB_TABLE(pass))
{
    BB_LOCAL_ARRAY(unsigned, count, BB_DIGITS * BB_THREADS);
    BB_GLOBAL const unsigned *from = BB_KEYS(BB_AT(pass, BB_PASS_SIDE));
    BB_GLOBAL unsigned *to = BB_KEYS(1 - BB_AT(pass, BB_PASS_SIDE));
    const I64 first = (BB_BLOCK * BB_THREADS + BB_THREAD) * BB_ITEMS, end = BB_AT(pass, BB_PASS_ENTRIES);
    BB_COUNT_DIGITS(count, from, first, end);
    BB_BARRIER();
    if (BB_THREAD < BB_DIGITS) {
        unsigned next = BB_COUNTS[BB_THREAD * BB_AT(pass, BB_PASS_TILES) + BB_BLOCK];
        for (int t = 0; t < BB_THREADS; t++) {
            const unsigned own = count[BB_THREAD * BB_THREADS + t];
            count[BB_THREAD * BB_THREADS + t] = next;
            next += own;
        }
    }
    BB_BARRIER();
    for (int k = 0; k < BB_ITEMS; k++) {
        if (first + k >= end) return;
        const unsigned key = from[first + k], place = count[BB_DIGIT(key) * BB_THREADS + BB_THREAD]++;
        to[place] = key;
        BB_ITEMS_OF(to)[place] = BB_ITEMS_OF(from)[first + k];
    }
}
BB_INLINE I64 bb_lower(BB_GLOBAL const unsigned *key, I64 count, unsigned wanted)
{
    I64 low = 0, high = count;
    while (low < high) {
        const I64 middle = low + (high - low) / 2;
        if (key[middle] < wanted)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}
/* sorted entry number p, of row `place` of batch element `slot` */
#define BB_ADD_ENTRY(p)                                                                                   \
    do {                                                                                                  \
        const I64 dim_ = BB_AT(pass, BB_PASS_LIST_DIM), item_ = BB_ITEMS_OF(key)[p];                      \
        const I64 at_ = item_ % (BB_AT(pass, BB_PASS_COLUMNS) * dim_);                                    \
        bb_add_pair(size, uniform + slot * BB_AT(geometry, BB_GEO_UNIFORM_SLOT),                          \
                    row + slot * BB_AT(geometry, BB_GEO_ROW_SLOT) + place,                                \
                    BB_AT(geometry, BB_GEO_ROW_STRIDE),                                                   \
                    column + slot * BB_AT(geometry, BB_GEO_COLUMN_SLOT) + at_ / dim_ +                    \
                        BB_AT(pass, BB_PASS_FIRST_COLUMN),                                                \
                    BB_AT(geometry, BB_GEO_COLUMN_STRIDE), at_ % dim_, BB_TAKEN);                         \
    } while (0)
BB_KERNEL(BB_THREADS) void benben_listed_blocks(BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,
    BB_GLOBAL const R *BB_RESTRICT uniform, BB_GLOBAL const R *BB_RESTRICT row,
    BB_GLOBAL const R *BB_RESTRICT column, BB_GLOBAL const unsigned *BB_RESTRICT entries, BB_GLOBAL A *value,
    BB_TABLE(pass))
{
    BB_GLOBAL const unsigned *key = BB_KEYS(BB_AT(pass, BB_PASS_SIDE));
    const I64 total = BB_AT(pass, BB_PASS_ENTRIES) / BB_SORTED, id = BB_BLOCK * BB_THREADS + BB_THREAD;
    if (id >= total) return;
    const unsigned own = key[id * BB_SORTED];
    if (own != key[id * BB_SORTED + BB_SORTED - 1] || own >= BB_NONE) return;
    const I64 slot = BB_AT(pass, BB_PASS_FIRST_SLOT) + own / BB_BAND;
    const I64 place = own % BB_BAND + BB_AT(geometry, BB_GEO_FIRST_GROUP) * BB_THREADS;
    value += id;
    BB_PLACE(value, total)
    BB_BEGIN(0);
    for (int k = 0; k < BB_SORTED; k++) BB_ADD_ENTRY(id * BB_SORTED + k);
    BB_END(value, total);
}
BB_KERNEL(BB_THREADS) void benben_listed_rows(BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,
    BB_GLOBAL const R *BB_RESTRICT uniform, BB_GLOBAL const R *BB_RESTRICT row,
    BB_GLOBAL const R *BB_RESTRICT column, BB_GLOBAL const unsigned *BB_RESTRICT entries,
    BB_GLOBAL const A *BB_RESTRICT block, BB_GLOBAL A *value, BB_TABLE(pass))
{
    BB_GLOBAL const unsigned *key = BB_KEYS(BB_AT(pass, BB_PASS_SIDE));
    const I64 total = BB_AT(geometry, BB_GEO_TOTAL), id = BB_BLOCK * BB_THREADS + BB_THREAD;
    const I64 slot = id / BB_BAND, own = slot - BB_AT(pass, BB_PASS_FIRST_SLOT);
    const I64 place = id % BB_BAND + BB_AT(geometry, BB_GEO_FIRST_GROUP) * BB_THREADS;
    if (place >= BB_AT(geometry, BB_GEO_ROWS) || own < 0 || own >= BB_AT(pass, BB_PASS_SLOTS)) return;
    const I64 count = BB_AT(pass, BB_PASS_ENTRIES), blocks = count / BB_SORTED;
    const unsigned wanted = (unsigned)(own * BB_BAND + id % BB_BAND);
    value += id;
    BB_PLACE(value, total)
    BB_BEGIN(BB_AT(pass, BB_PASS_FIRST_COLUMN) > 0);
    I64 p = bb_lower(key, count, wanted);
    const I64 end = p + bb_lower(key + p, count - p, wanted + 1);
    while (p < end) {
        if (p % BB_SORTED == 0 && p + BB_SORTED <= end) {
            BB_GLOBAL const A *more = block + p / BB_SORTED;
            for (int c = 0; c < BB_OUTS; c++) {
                BB_ADD(c, more[c * blocks]);
                BB_SUM(c + BB_OUTS) += more[(c + BB_OUTS) * blocks];
            }
            p += BB_SORTED;
        } else {
            BB_ADD_ENTRY(p);
            p++;
        }
    }
    if (count && key[count - 1] == BB_NONE + 1) {
        BB_SPOIL();
    }
    BB_END(value, total);
}
