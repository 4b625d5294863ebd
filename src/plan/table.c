/* table.c: a small hash table from pairs of integers to an integer, used while a plan is made. */
#include "lower.h"

static uint64_t mix(int64_t a, int64_t b) {
    uint64_t h = (uint64_t)a * 0x9E3779B97F4A7C15u ^ ((uint64_t)b + 0x7F4A7C15u) * 0xC2B2AE3D27D4EB4Fu;
    return h ^ (h >> 29);
}

int64_t bbi_table_get(const bbi_table *table, int64_t a, int64_t b) {
    if (!table->capacity) return -1;
    for (uint64_t slot = mix(a, b);; slot++) {
        const struct bbi_table_entry *e = &table->entry[slot & (uint64_t)(table->capacity - 1)];
        if (!e->used) return -1;
        if (e->a == a && e->b == b) return e->value;
    }
}

static void insert(bbi_table *table, int64_t a, int64_t b, int64_t value) {
    for (uint64_t slot = mix(a, b);; slot++) {
        struct bbi_table_entry *e = &table->entry[slot & (uint64_t)(table->capacity - 1)];
        if (e->used && (e->a != a || e->b != b)) continue;
        if (!e->used) table->count++;
        *e = (struct bbi_table_entry){a, b, value, true};
        return;
    }
}

bb_status bbi_table_put(bbi_table *table, int64_t a, int64_t b, int64_t value) {
    if (2 * (table->count + 1) > table->capacity) {
        bbi_table larger = {NULL, table->capacity ? 2 * table->capacity : 64, 0};
        larger.entry = bbi_calloc((size_t)larger.capacity, sizeof *larger.entry);
        if (!larger.entry) return bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory");
        for (int64_t n = 0; n < table->capacity; n++)
            if (table->entry[n].used) insert(&larger, table->entry[n].a, table->entry[n].b, table->entry[n].value);
        bbi_free(table->entry);
        *table = larger;
    }
    insert(table, a, b, value);
    return BB_OK;
}

void bbi_table_free(bbi_table *table) {
    bbi_free(table->entry);
    *table = (bbi_table){0};
}

void *bbi_grow(void *array, int64_t count, int32_t *capacity, size_t size) {
    if (count < *capacity) return array;
    int32_t wanted = *capacity ? 2 * *capacity : 8;
    void *larger = bbi_realloc(array, (size_t)wanted * size);
    if (!larger) {
        bbi_fail(BB_OUT_OF_MEMORY, "plan: out of memory");
        return NULL;
    }
    *capacity = wanted;
    return larger;
}
