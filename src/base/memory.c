/* memory.c: the only place of the library that allocates. Two switches make it testable: a countdown after
 * which every allocation fails, and a count of live blocks. The arena hands out zeroed memory in chunks
 * that double in size. */
#include "base.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { CACHE_LINE = 64, ARENA_ALIGNMENT = 16, FIRST_CHUNK = 4096, LARGE_BLOCK = 4 << 20, LARGE_PAGE = 2 << 20 };

static _Atomic int64_t allocations_left = -1; /* -1: no limit */
static _Atomic int64_t live_allocations;

static bool allocation_permitted(void) {
    int64_t left = atomic_load_explicit(&allocations_left, memory_order_relaxed);
    while (left > 0 && !atomic_compare_exchange_weak(&allocations_left, &left, left - 1)) {
    }
    return left != 0;
}

static void *counted(void *pointer) {
    if (pointer) atomic_fetch_add_explicit(&live_allocations, 1, memory_order_relaxed);
    return pointer;
}

void *bbi_alloc(size_t size) { return allocation_permitted() ? counted(malloc(size ? size : 1)) : NULL; }

void *bbi_calloc(size_t count, size_t size) {
    if (count == 0 || size == 0) count = size = 1;
    return allocation_permitted() ? counted(calloc(count, size)) : NULL;
}

void *bbi_realloc(void *pointer, size_t size) {
    if (!pointer) return bbi_alloc(size);
    return allocation_permitted() ? realloc(pointer, size ? size : 1) : NULL;
}

void bbi_free(void *pointer) {
    if (!pointer) return;
    atomic_fetch_sub_explicit(&live_allocations, 1, memory_order_relaxed);
    free(pointer);
}

/* C11's aligned_alloc is missing on Windows: the block is shifted by hand and its true start stored just
 * before it. */
void *bbi_alloc_aligned(size_t size) {
    bool large = size >= LARGE_BLOCK;
    uintptr_t alignment = large ? LARGE_PAGE : CACHE_LINE;
    if (size > SIZE_MAX - 2 * alignment - sizeof(void *)) return NULL;
    if (large) size = (size + alignment - 1) & ~(alignment - 1); /* so that its end stands on a large page, too */
    char *start = bbi_alloc(size + alignment + sizeof(void *));
    if (!start) return NULL;
    uintptr_t aligned = ((uintptr_t)start + sizeof(void *) + alignment - 1) & ~(alignment - 1);
    char *block = start + (aligned - (uintptr_t)start);
    memcpy(block - sizeof(void *), &start, sizeof start);
    if (large) bbi_advise_large_pages(block, size);
    return block;
}

void bbi_free_aligned(void *pointer) {
    if (!pointer) return;
    void *start;
    memcpy(&start, (char *)pointer - sizeof(void *), sizeof start);
    bbi_free(start);
}

/* ---- a block between two runs ---- */
typedef struct kept {
    size_t size;
} kept;

static const size_t most_kept = 128 << 20, most_kept_for_good = 4 << 20;
static kept *_Atomic kept_block;

static void free_uncounted(void *block) {
    atomic_fetch_add_explicit(&live_allocations, 1, memory_order_relaxed);
    bbi_free_aligned(block);
}

void *bbi_alloc_kept(size_t *size) {
    kept *block = atomic_exchange(&kept_block, NULL);
    if (!block) return bbi_alloc_aligned(*size);
    if (block->size >= *size && allocation_permitted()) {
        *size = block->size;
        return counted(block);
    }
    block = atomic_exchange(&kept_block, block);
    if (block) free_uncounted(block);
    return bbi_alloc_aligned(*size);
}

void bbi_free_kept(void *pointer, size_t size) {
    if (!pointer) return;
    kept *block = pointer;
    bool kept_for_good = !bbi_advise_unused((char *)pointer + LARGE_PAGE, size > LARGE_PAGE ? size - LARGE_PAGE : 0);
    if (size < sizeof *block || size > (kept_for_good ? most_kept_for_good : most_kept)) {
        bbi_free_aligned(pointer);
        return;
    }
    block->size = size;
    atomic_fetch_sub_explicit(&live_allocations, 1, memory_order_relaxed);
    kept *other = atomic_exchange(&kept_block, block);
    if (other && other->size > size) other = atomic_exchange(&kept_block, other);
    if (other) free_uncounted(other);
}

char *bbi_strdup(const char *string) {
    size_t size = strlen(string) + 1;
    char *copy = bbi_alloc(size);
    if (copy) memcpy(copy, string, size);
    return copy;
}

void bbi_fail_allocations_after(int64_t count) { atomic_store(&allocations_left, count); }

int64_t bbi_live_allocations(void) { return atomic_load(&live_allocations); }

struct bbi_arena_chunk {
    struct bbi_arena_chunk *next;
    size_t used, size; /* of the bytes that follow the header */
};

static size_t round_up(size_t size) { return (size + ARENA_ALIGNMENT - 1) & ~(size_t)(ARENA_ALIGNMENT - 1); }

static char *chunk_bytes(struct bbi_arena_chunk *chunk) { return (char *)chunk + round_up(sizeof *chunk); }

void *bbi_arena_alloc(bbi_arena *arena, size_t size) {
    if (size > SIZE_MAX / 4) return NULL;
    size = round_up(size ? size : 1);
    struct bbi_arena_chunk *chunk = arena->chunk;
    if (!chunk || chunk->size - chunk->used < size) {
        size_t wanted = arena->total > FIRST_CHUNK ? arena->total : FIRST_CHUNK;
        if (wanted < size) wanted = size;
        chunk = bbi_calloc(1, round_up(sizeof *chunk) + wanted);
        if (!chunk) return NULL;
        chunk->size = wanted;
        chunk->next = arena->chunk;
        arena->chunk = chunk;
        arena->total += wanted;
    }
    void *block = chunk_bytes(chunk) + chunk->used;
    chunk->used += size;
    return block;
}

char *bbi_arena_strndup(bbi_arena *arena, const char *string, size_t length) {
    char *copy = length < SIZE_MAX ? bbi_arena_alloc(arena, length + 1) : NULL;
    if (copy) memcpy(copy, string, length);
    return copy;
}

void bbi_arena_free(bbi_arena *arena) {
    for (struct bbi_arena_chunk *chunk = arena->chunk, *next; chunk; chunk = next) {
        next = chunk->next;
        bbi_free(chunk);
    }
    *arena = (bbi_arena){0};
}
