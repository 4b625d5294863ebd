/* sha256.c: SHA-256 after FIPS 180-4, the digest behind cache keys and checksums. Plain C: a kernel's
 * object of 50 KB takes a fraction of a millisecond. The constants are the first 32 bits of the fractional
 * parts of the square roots (initial state) and cube roots (round constants) of the first primes. */
#include "base.h"

#include <string.h>

static const uint32_t round_constant[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t big_endian(const uint8_t *p) {
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64], a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 16; t++) w[t] = big_endian(block + 4 * t);
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate(w[t - 15], 7) ^ rotate(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate(w[t - 2], 17) ^ rotate(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    for (int t = 0; t < 64; t++) {
        uint32_t sum1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
        uint32_t sum0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
        uint32_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + round_constant[t] + w[t];
        uint32_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void bbi_sha256_init(bbi_sha256 *hash) {
    *hash = (bbi_sha256){
        .state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void bbi_sha256_add(bbi_sha256 *hash, const void *bytes, size_t length) {
    const uint8_t *next = bytes;
    size_t held = hash->length % 64;
    hash->length += length;
    while (length > 0) {
        if (held == 0 && length >= 64) {
            compress(hash->state, next);
            next += 64, length -= 64;
            continue;
        }
        size_t part = 64 - held < length ? 64 - held : length;
        memcpy(hash->block + held, next, part);
        next += part, length -= part, held += part;
        if (held == 64) {
            compress(hash->state, hash->block);
            held = 0;
        }
    }
}

void bbi_sha256_field(bbi_sha256 *hash, const void *bytes, size_t length) {
    uint8_t prefix[8];
    for (int k = 0; k < 8; k++) prefix[k] = (uint8_t)((uint64_t)length >> 8 * k);
    bbi_sha256_add(hash, prefix, sizeof prefix);
    bbi_sha256_add(hash, bytes, length);
}

void bbi_sha256_finish(bbi_sha256 *hash, uint8_t digest[32]) {
    static const uint8_t padding[64] = {0x80};
    uint64_t bits = hash->length * 8;
    uint8_t tail[8];
    for (int k = 0; k < 8; k++) tail[k] = (uint8_t)(bits >> (56 - 8 * k));
    bbi_sha256_add(hash, padding, 1 + (119 - hash->length % 64) % 64);
    bbi_sha256_add(hash, tail, sizeof tail);
    for (int k = 0; k < 32; k++) digest[k] = (uint8_t)(hash->state[k / 4] >> (24 - 8 * (k % 4)));
}
