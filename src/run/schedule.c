/* schedule.c: how a stage is cut into work items and what a thread needs to work on one. A pure function of
 * sizes, plan, real type and instruction set: the number of threads, the load of the machine and the tier
 * have no say, because the cuts decide the order of summation.
 *
 * Direct: an item holds `group` rows (lane blocks) and walks over its columns block by block; a block of
 * columns is packed once and met by all lane blocks of the item. Transposed, for few rows: lanes are columns,
 * so that no lane is idle, and the rows are cast. Few items: the column axis is cut into chunks whose partial
 * results are merged in column order.
 *
 * Symmetric: rows and columns are cut into the same bands, and an item is a pair of bands, columns not before rows. It
 * gives partial results of both bands, which are merged in column order like those of chunks. */
#include "execute.h"

enum {
    ITEMS_WANTED = 128,      /* enough to keep many cores busy to the end */
    ITEMS_WANTED_LONG = 64,  /* every cut of the columns begins lists anew, and packs and prepares long rows anew */
    MIN_CHUNK_KMIN = 64,     /* columns, times K */
    MAX_GROUP = 16,          /* lane blocks of an item: packing columns is amortised over them */
    MIN_GROUP = 4,           /* below that packing shows, unless it is done once for all, and rows are long */
    MIN_CHUNK_DIRECT = 1024, /* columns */
    MIN_CHUNK_TRANSPOSED = 4096,
    MIN_CHUNK_LONG = 4096, /* rows of many components: every chunk packs and prepares them anew */
    ITEMS_NEEDED = 32,     /* of such rows: with less, shorter chunks */
    MAX_BANDS = 16,        /* of a symmetric stage; 136 items */
    MIN_BAND = 8,          /* lane blocks */
    TILE_UNIT = 48,        /* casts: whole groups of selecting kernels, whose blocks are of 2, 3, 4, 6 or 8 */
    FIRST_LOOK = 1024,     /* columns */
    FEW_COLUMNS = 32,      /* times K: all values of a row cost no more than a look at groups of columns */
    ALIGNMENT = 64
};
/* Components: beyond, a narrow block of columns, and rows a lane block at a time, put them on fewer pages and nearer than
 * half a page from each other, which is as far as the processor's stride prefetcher follows. */
static const int64_t long_element = 24;
/* Packed rows of an item stay in the second-level cache, by level. */
static const int64_t row_bytes[] = {256 << 10, 256 << 10, 640 << 10};
static const int64_t long_row_bytes = 320 << 10; /* the same, of long rows, beside two blocks of long columns */
static const int64_t column_bytes[] = {256 << 10, 256 << 10, 704 << 10}; /* packed columns likewise; short ones: the first */
static const int64_t out_bytes = 32 << 10;     /* tile of values on its way from the pair code to a fold */
static const int64_t own_limit = 512 << 10;    /* columns that an item packs for itself before it looks at these */
static const int64_t state_limit = 4 << 20;    /* reduction states of an item */
static const int64_t partial_limit = 16 << 20; /* partial results of a cut stage */
static const int64_t mirror_bytes = 32 << 10;  /* mirror sums of a block of columns stay in the first-level cache */
static const int64_t band_limit = 64 << 20;    /* partial results of a symmetric stage */
static const double work_worth_cutting = 1e6;  /* pair operations */

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
    return value < low ? low : value > high ? high : value;
}

static int64_t ceil_div(int64_t a, int64_t b) { return a / b + (a % b != 0); }

/* Whole lane blocks and a cache line, an odd number of lines in all: the components of an element meet every set of the
 * first-level cache before they come back to the first. */
static int64_t odd_stride(int64_t count, int64_t lanes) {
    return ceil_div(count, lanes) * lanes + lanes * ALIGNMENT / BBI_LANE_BYTES;
}

static int64_t state_bytes(const bbi_stage *stage, const bbi_stage_code *code, bool transposed, int64_t casts) {
    int64_t bytes = 0;
    for (int32_t k = 0; k < stage->nfold; k++)
        bytes += ceil_div(bbi_fold_state_bytes(&code->folding[k], transposed, casts), ALIGNMENT) * ALIGNMENT;
    return bytes;
}

/* Components are loaded, transposed and prepared one by one: as much as so many pair operations, which are vectors'. */
double bbi_packing_work(int64_t components) { return 4 * (double)components; }

/* The largest K of the K smallest that the stage looks for, 1 for the place of a minimum, 0 where it looks for none. */
static int64_t listed_smallest(const bbi_stage *stage, const bbi_stage_code *code) {
    int64_t most = 0;
    for (int32_t k = 0; k < stage->nfold && code->folding; k++) {
        const bbi_fold *fold = &code->folding[k].fold;
        bool place = (fold->family == BBI_FAMILY_MIN || fold->family == BBI_FAMILY_MAX) && fold->want_index;
        int64_t listed = fold->family == BBI_FAMILY_KMIN ? fold->k : place;
        if (listed > most) most = listed;
    }
    return most;
}

/* Few rows leave lanes idle: they pay when the axis of columns is long enough to fill lanes instead. But then
 * every sum is loaded and stored for every pair, so wide sums want lanes that are emptier still. */
static bool choose_transposed(const bbi_executable *e, const bbi_stage *stage, const bbi_schedule *s) {
    int64_t vector = (16 << e->level) / (e->is_double ? 8 : 4), most = ceil_div(s->rows, vector) * vector;
    if (s->rows * 2 >= s->lanes || s->columns < 4 * s->lanes || s->rows * 4 >= most * 3) return false;
    return (double)s->rows * (stage->cost + (double)stage->sum_count) < 0.75 * (double)most * stage->cost;
}

/* Components of the rows or columns that the pair code reads, about: sources that it does not read where its loops begin
 * are of the map code alone. */
static int64_t read_components(const bbi_stage *stage, uint8_t space) {
    enum { MOST_LOOPS = 64 };
    static const int64_t begin[MOST_LOOPS] = {0};
    const bbi_code *code = &stage->pair_code;
    int64_t count = space == BBI_ROW ? stage->row_count : stage->column_count;
    if (code->counter_count > MOST_LOOPS) return count;
    for (int32_t k = 0; k < stage->nsource; k++) {
        const bbi_source *source = &stage->source[k];
        bool read = source->space != space;
        for (int32_t n = 0; n < code->count && !read; n++)
            for (int a = 0; a < code->instruction[n].narg && !read; a++) {
                const bbi_operand *o = &code->instruction[n].arg[a];
                if (o->space != space) continue;
                const int64_t at = bbi_index_value(code, o->number, stage->size, begin);
                read = at >= source->first && at < source->first + source->dim;
            }
        if (!read) count -= source->dim;
    }
    return count;
}

static bool is_long(const bbi_stage *stage, uint8_t space) {
    return (space == BBI_ROW ? stage->row_count : stage->column_count) >= long_element;
}

static void choose_blocks(int level, const bbi_stage *stage, bbi_schedule *s) {
    int64_t size = BBI_LANE_BYTES / s->lanes;
    bool longer = is_long(stage, BBI_COLUMN);
    int64_t fit = longer ? column_bytes[level] / (size * (read_components(stage, BBI_COLUMN) + 1))
                         : column_bytes[0] / (size * (stage->column_count + 1));
    int64_t most = longer ? 3 * s->lanes : BBI_COLUMN_BLOCK;
    s->block = clamp(fit / s->lanes * s->lanes, s->lanes, most);
    s->block = clamp(s->block, s->lanes, ceil_div(s->columns > 0 ? s->columns : 1, s->lanes) * s->lanes);
    s->column_stride = odd_stride(s->block, s->lanes);
    int64_t tile = s->block;
    if (stage->out_count > 0) tile = out_bytes / (BBI_LANE_BYTES * stage->out_count);
    if (tile > 8) tile -= tile % (tile > TILE_UNIT ? TILE_UNIT : 8);
    s->tile = clamp(tile, 1, s->block);
}

static int64_t blocks_in_cache(int level, const bbi_stage *stage) {
    if (is_long(stage, BBI_ROW))
        return (level < 2 ? row_bytes[level] : long_row_bytes) /
               (BBI_LANE_BYTES * (read_components(stage, BBI_ROW) + stage->sum_count + 1));
    return row_bytes[level] / (BBI_LANE_BYTES * (stage->row_count + stage->sum_count + 1));
}

/* Direct and maps: lane blocks of an item. */
static void choose_group(int level, const bbi_stage *stage, const bbi_stage_code *code, int64_t batches,
                         bbi_schedule *s) {
    int64_t blocks = ceil_div(s->rows > 0 ? s->rows : 1, s->lanes);
    int64_t group = blocks_in_cache(level, stage);
    s->state_bytes = state_bytes(stage, code, false, 1);
    if (s->state_bytes > 0) group = clamp(group, 1, state_limit / s->state_bytes);
    bool lists = listed_smallest(stage, code) > 0;
    bool longer = is_long(stage, BBI_ROW), long_lists = lists && bbi_stage_selection(stage) != BBI_SELECT_LEAST;
    int64_t shared = ceil_div(blocks * batches, long_lists || longer ? ITEMS_WANTED_LONG : ITEMS_WANTED);
    group = clamp(group, 1, clamp(shared, lists || longer ? 1 : MIN_GROUP, MAX_GROUP));
    if (group > blocks) group = blocks;
    s->group = group * s->lanes;
    s->piece = longer ? s->lanes : s->group;
}

static void choose_casts(const bbi_stage *stage, const bbi_stage_code *code, bbi_schedule *s) {
    int64_t one = BBI_LANE_BYTES * (stage->out_count + 1) + BBI_LANE_BYTES * stage->sum_count / 4;
    s->group = clamp(2 * out_bytes / one, 1, s->rows);
    while (s->group > 1 && state_bytes(stage, code, true, s->group) > state_limit) s->group = (s->group + 1) / 2;
    s->state_bytes = state_bytes(stage, code, true, s->group);
    s->piece = s->group;
}

/* Columns of an item. Never cut: small problems (a thread takes them whole), pair sequences of ranges. */
static void choose_chunks(const bbi_stage *stage, const bbi_stage_code *code, int64_t batches, bool ranges,
                          bbi_schedule *s) {
    s->chunk = s->columns > 0 ? s->columns : 1;
    s->chunks = 1;
    int64_t items = batches * s->groups;
    if (ranges || stage->folded == BBI_P || s->work < work_worth_cutting || items >= ITEMS_WANTED) return;
    if (items == 0 || s->columns == 0) return;
    int64_t most = listed_smallest(stage, code);
    bool longer = is_long(stage, BBI_ROW) && !s->transposed;
    int64_t wanted = most > 0 || longer ? ITEMS_WANTED_LONG / items : ceil_div(ITEMS_WANTED, items);
    if ((most > 0 || longer) && 2 * items >= ITEMS_WANTED_LONG) wanted = 1; /* twice the lists would be twice the work */
    int64_t bytes = 8 * (s->value_count + s->index_count) * s->rows * batches;
    bool enough = longer && items * ceil_div(s->columns, MIN_CHUNK_LONG) >= ITEMS_NEEDED;
    int64_t least = s->transposed ? MIN_CHUNK_TRANSPOSED : enough ? MIN_CHUNK_LONG : MIN_CHUNK_DIRECT;
    if (least < MIN_CHUNK_KMIN * most) least = MIN_CHUNK_KMIN * most;
    wanted = clamp(wanted, 1, clamp(s->columns / least, 1, partial_limit / (bytes + 1) + 1));
    s->chunk = ceil_div(ceil_div(s->columns, wanted), s->block) * s->block;
    s->chunks = ceil_div(s->columns, s->chunk);
}

static void choose_bands(int level, const bbi_stage *stage, int64_t batches, bbi_schedule *s) {
    int64_t vector = 64, fit = mirror_bytes / (vector * stage->sum_count) / s->lanes * s->lanes;
    s->block = clamp(fit, s->lanes, s->block);
    s->column_stride = odd_stride(s->block, s->lanes);
    int64_t blocks = ceil_div(s->rows > 0 ? s->rows : 1, s->lanes), bands = 1;
    int64_t most = clamp(blocks / MIN_BAND, 1, MAX_BANDS);
    most = clamp(most, 1, band_limit / (s->state_bytes * blocks * batches) + 4);
    while (s->work >= work_worth_cutting && bands < most && batches * bands * (bands + 1) / 2 < ITEMS_WANTED) bands++;
    int64_t band = ceil_div(blocks, bands);
    s->chunk = band * s->lanes;
    s->chunks = ceil_div(blocks, band);
    s->tiles = s->chunks * (s->chunks + 1) / 2;
    s->group = clamp(blocks_in_cache(level, stage), 1, MAX_GROUP);
    s->group = clamp(s->group, 1, band) * s->lanes;
    if (s->piece != s->lanes) s->piece = s->group;
    s->work = s->work / 2;
}

static int64_t interp_bytes(const bbi_stage_code *code) {
    const bbi_interp *const interps[] = {code->uniform, code->row, code->column, code->pair, code->epilogue};
    int64_t most = 0;
    for (size_t k = 0; k < sizeof interps / sizeof *interps; k++) {
        int64_t bytes = interps[k] ? bbi_interp_workspace(interps[k]) : 0;
        if (bytes > most) most = bytes;
    }
    return most;
}

static int64_t read_dim(const bbi_stage *stage) {
    int64_t most = 1;
    for (int32_t k = 0; k < stage->nread; k++)
        if (stage->read[k].dim > most) most = stage->read[k].dim;
    return most;
}

static size_t reserve(bbi_schedule *s, int64_t bytes) {
    size_t at = s->bytes;
    s->bytes += (size_t)(ceil_div(bytes, ALIGNMENT) * ALIGNMENT);
    return at;
}

/* Vectors have 16 bytes or more. */
static int64_t hits_bytes(const bbi_schedule *s) {
    int64_t groups = ceil_div(s->tile, BBI_GROUP_CASTS);
    return (int64_t)sizeof(bbi_hits) + 8 * (1 + groups * BBI_LANE_BYTES / 16);
}

/* The smallest values of the groups of a span, of one lane block, are half a mebibyte at most: a part of the second-level
 * cache, and so are columns that each item packs for itself. */
static void choose_span(const bbi_stage *stage, bbi_schedule *s) {
    int64_t size = BBI_LANE_BYTES / s->lanes, packed = size * s->column_stride * stage->column_count + 1;
    int64_t one = BBI_LANE_BYTES * (s->block / BBI_LEAST_CASTS), columns = s->chunk;
    s->span = clamp(BBI_LEAST_GROUPS * BBI_LEAST_CASTS / s->block, 1, ceil_div(columns, s->block));
    s->own_span = clamp(own_limit / packed, 1, s->span);
    s->least_bytes = one * s->span;
    int64_t most = s->own_span * s->block;
    s->few_columns = clamp(FEW_COLUMNS * stage->fold->k, 1, clamp(most, 1, BBI_LEAST_ROW * s->lanes));
}

/* K values enter a list of the first columns, and K ln(N / first) of the others, each of which costs a guess. */
static int64_t first_look(const bbi_stage *stage, const bbi_schedule *s) {
    int64_t columns = clamp(FIRST_LOOK, 1, s->chunk) / s->block * s->block;
    bool few = stage->fold->family == BBI_FAMILY_KMIN && 4 * stage->fold->k <= columns && bbi_fold_sorts(stage->fold->k);
    return few && columns > s->tile ? columns : 0;
}

static void lay_out_folds(const bbi_stage *stage, bbi_schedule *s) {
    int64_t blocks = s->transposed ? 1 : s->group / s->lanes, casts = s->transposed ? s->group : 1;
    bbi_selection selection = s->transposed ? BBI_SELECT_NONE : bbi_stage_selection(stage);
    bool least = selection == BBI_SELECT_LEAST;
    if (least) choose_span(stage, s);
    if (selection == BBI_SELECT_HITS) s->first_look = first_look(stage, s);
    s->column =
        reserve(s, BBI_LANE_BYTES / s->lanes * s->column_stride * stage->column_count * (least ? s->own_span : 1));
    s->sum = reserve(s, BBI_LANE_BYTES * stage->sum_count * blocks * casts);
    if (least || selection == BBI_SELECT_HITS) s->hits = reserve(s, hits_bytes(s));
    if (least) s->least = reserve(s, s->least_bytes);
    if (s->tiles) { /* mirror sums of a block of columns and of a lane block that nobody reads */
        s->out = reserve(s, 64 * stage->sum_count * (s->block + s->lanes));
        s->mirrored = reserve(s, BBI_LANE_BYTES * stage->sum_count * (s->block / s->lanes));
        s->state = reserve(s, s->state_bytes * (s->chunks > 1 ? blocks : s->chunk / s->lanes));
    } else {
        int64_t kept = s->transposed ? casts : least && s->tile < 2 * BBI_AGAIN ? 2 * BBI_AGAIN : s->tile;
        if (kept < s->first_look) kept = s->first_look;
        s->out = reserve(s, BBI_LANE_BYTES * stage->out_count * kept + 64);
        s->state = reserve(s, s->state_bytes * blocks);
    }
    s->value = reserve(s, 8 * s->value_count * (casts + 1));
    s->index = reserve(s, 8 * s->index_count * (casts + 1));
    s->result = reserve(s, 8 * read_dim(stage));
    s->list = reserve(s, 8 * s->block);
}

/* Pair lists: both sides of a block of pairs are gathered; `sum` holds the rows' side, `value` the rows'
 * sums. */
static void lay_out_list(const bbi_stage *stage, bbi_schedule *s) {
    int64_t size = BBI_LANE_BYTES / s->lanes;
    s->column = reserve(s, size * s->column_stride * stage->column_count);
    s->sum = reserve(s, size * s->column_stride * stage->row_count);
    s->out = reserve(s, size * s->column_stride * stage->out_count);
    s->value = reserve(s, 8 * stage->out_count * s->group);
    s->list = reserve(s, 8 * 3 * s->block);
}

/* Offsets in a thread's workspace. */
static void lay_out(const bbi_stage *stage, const bbi_stage_code *code, bbi_schedule *s) {
    int64_t size = BBI_LANE_BYTES / s->lanes;
    s->bytes = 0;
    s->uniform = reserve(s, size * stage->uniform_count);
    s->wide = reserve(s, (code->uniform ? BBI_LANE_BYTES : size) * stage->uniform_count + BBI_LANE_BYTES);
    s->row_stride = odd_stride(s->piece, s->lanes);
    s->piece_bytes = ceil_div(size * s->row_stride * stage->row_count, ALIGNMENT) * ALIGNMENT;
    s->row = reserve(s, s->piece_bytes * ceil_div(s->group, s->piece));
    if (stage->list)
        lay_out_list(stage, s);
    else if (stage->folded != BBI_P)
        lay_out_folds(stage, s);
    s->interp = reserve(s, interp_bytes(code));
}

void bbi_schedule_make(const bbi_executable *executable, int stage_number, int64_t rows, int64_t columns,
                       int64_t batches, bool ranges, bbi_schedule *schedule) {
    const bbi_stage *stage = &executable->plan->stage[stage_number];
    const bbi_stage_code *code = &executable->stage[stage_number];
    bbi_schedule *s = schedule;
    *s = (bbi_schedule){.rows = rows, .columns = stage->folded == BBI_P ? 0 : columns};
    s->dense = (bbi_segment){.count = rows, .columns = s->columns};
    s->lanes = BBI_LANE_BYTES / (executable->is_double ? 8 : 4);
    int64_t met = stage->folded == BBI_P ? 1 : stage->list ? stage->list_dim : columns; /* by each row */
    int64_t more = stage->folded == BBI_P ? stage->row_count + stage->epilogue.count : 1;
    s->work = (double)rows * (double)met * (stage->cost + (double)more) * (double)batches;
    if (stage->folded != BBI_P && !stage->list)
        s->work += bbi_packing_work(rows * stage->row_count + columns * stage->column_count) * (double)batches;
    for (int32_t k = 0; k < stage->nfold && !stage->list; k++) {
        s->value_count += bbi_fold_value_count(&code->folding[k]);
        s->index_count += bbi_fold_index_count(&code->folding[k]);
    }
    bool folds = stage->folded != BBI_P && !stage->list;
    s->transposed = folds && !ranges && !stage->symmetric && choose_transposed(executable, stage, s);
    choose_blocks(executable->level, stage, s);
    if (stage->list) s->block = BBI_COLUMN_BLOCK, s->column_stride = odd_stride(s->block, s->lanes);
    if (s->transposed)
        choose_casts(stage, code, s);
    else
        choose_group(executable->level, stage, code, batches, s);
    if (stage->symmetric) choose_bands(executable->level, stage, batches, s);
    s->groups = ceil_div(rows, s->group);
    if (!stage->symmetric) choose_chunks(stage, code, stage->list ? 0 : batches, ranges, s);
    lay_out(stage, code, s);
}
