/* Sums over a list of the rows: a thread for a row and a part of its entries. */
BB_KERNEL(BB_THREADS) void benben_listed(BB_TABLE(geometry), BB_GLOBAL const I64 *BB_RESTRICT size,
    BB_GLOBAL const R *BB_RESTRICT uniform, BB_GLOBAL const R *BB_RESTRICT row,
    BB_GLOBAL const R *BB_RESTRICT column, BB_GLOBAL const char *BB_RESTRICT list, BB_GLOBAL A *value,
    BB_TABLE(pass), BB_TABLE(views))
{
    const I64 total = BB_AT(geometry, BB_GEO_TOTAL), blocks = total / BB_THREADS;
    const I64 part = BB_BLOCK / blocks, id = BB_BLOCK % blocks * BB_THREADS + BB_THREAD;
    const I64 groups = BB_AT(geometry, BB_GEO_GROUPS), slot = id / BB_THREADS / groups;
    const I64 place = (id / BB_THREADS % groups + BB_AT(geometry, BB_GEO_FIRST_GROUP)) * BB_THREADS + BB_THREAD;
    if (place >= BB_AT(geometry, BB_GEO_ROWS)) return;
    BB_BATCH(slot);
    list += BB_ORIGIN(0) + place * BB_VIEW(0, BB_FIELD_ROW);
    uniform += slot * BB_AT(geometry, BB_GEO_UNIFORM_SLOT);
    row += slot * BB_AT(geometry, BB_GEO_ROW_SLOT) + place;
    column += slot * BB_AT(geometry, BB_GEO_COLUMN_SLOT);
    value += part * BB_VALUES * total + id;
    BB_PLACE(value, total)
    BB_BEGIN(0);
    const I64 first = part * BB_AT(geometry, BB_GEO_CHUNK), dim = BB_AT(pass, BB_PASS_LIST_DIM);
    const I64 last = first + BB_AT(geometry, BB_GEO_CHUNK), end = last < dim ? last : dim;
    for (I64 entry = first; entry < end; entry++) {
        const I64 at = *(BB_GLOBAL const I64 *)(list + entry * BB_VIEW(0, BB_FIELD_DIM));
        if (at == -1) continue;
        if (at < 0 || at >= BB_AT(geometry, BB_GEO_COLUMNS)) {
            BB_SPOIL();
            break;
        }
        bb_add_pair(size, uniform, row, BB_AT(geometry, BB_GEO_ROW_STRIDE), column + at,
                    BB_AT(geometry, BB_GEO_COLUMN_STRIDE), entry, BB_TAKEN);
    }
    BB_END(value, total);
}
