/* cache.h: a disk cache of blobs, addressed by the SHA-256 digest of what they were made from. */
#ifndef BBI_CACHE_H
#define BBI_CACHE_H

#include "base.h"

typedef struct bbi_cache_state {
    char folder[BBI_PATH_SIZE]; /* where entries are or would be; "" when there is no such place */
    char refusal[256];          /* "" when the folder can be used, else why it cannot */
    int64_t entries, bytes, limit;
} bbi_cache_state;

/* Folder and contents. Fails only for want of memory; a folder that cannot be used is reported in
 * `refusal`. */
bb_status bbi_cache_look(bbi_cache_state *state);
/* Removes every entry; *removed may be NULL. BB_CACHE when the folder cannot be used. */
bb_status bbi_cache_clear(int64_t *removed);

/* True on a hit: *bytes (released with bbi_free) was checked against the digest stored with it. Everything
 * else is a miss, and an entry that fails the check is removed. */
bool bbi_cache_load(const uint8_t key[32], char **bytes, size_t *length);
/* Removes the entry: what passed the check turned out to be useless. */
void bbi_cache_drop(const uint8_t key[32]);
/* Best effort: false where the folder is read-only, foreign, full, or the cache is off. Then drops the
 * oldest entries until the limit is kept. */
bool bbi_cache_store(const uint8_t key[32], const void *bytes, size_t length);
/* Lets one process make an entry while others wait. NULL after `timeout` seconds or without a usable
 * folder: then whoever asked makes it himself. */
bbi_file_lock *bbi_cache_lock(const uint8_t key[32], double timeout);

void bbi_hex(const uint8_t *bytes, size_t count, char *text); /* 2*count digits and a NUL */

#endif
