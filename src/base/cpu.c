/* cpu.c: what the processor can do, found through cpuid when somebody asks and never at load time. Answers
 * are computed once; two threads that ask at once compute the same thing and one result is kept. */
#include "base.h"

#include <stdatomic.h>
#include <stdio.h>

#if (defined(__x86_64__) || defined(__i386__)) && defined(__GNUC__)
#define HAVE_CPUID 1
#include <cpuid.h>
#else
#define HAVE_CPUID 0
#endif

enum { UNKNOWN = -1, CACHE_LEVELS = 3 };

#if HAVE_CPUID
typedef struct registers {
    unsigned a, b, c, d;
} registers;

static registers cpuid(unsigned leaf, unsigned subleaf) {
    registers r = {0};
    if (!__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d)) r = (registers){0};
    return r;
}

static bool bit(unsigned word, int k) { return word >> k & 1; }

/* Register state that the operating system saves: XCR0, read with xgetbv once cpuid says that xgetbv
 * exists. */
static unsigned saved_state(registers leaf1) {
    if (!bit(leaf1.c, 27)) return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static int find_level(void) {
    registers leaf1 = cpuid(1, 0), leaf7 = cpuid(7, 0);
    unsigned state = saved_state(leaf1);
    bool fma = bit(leaf1.c, 12), avx = bit(leaf1.c, 28), f16c = bit(leaf1.c, 29), avx2 = bit(leaf7.b, 5);
    if (!(avx && avx2 && fma && f16c && (state & 0x06) == 0x06)) return 0; /* XMM, YMM */
    bool f = bit(leaf7.b, 16), dq = bit(leaf7.b, 17), bw = bit(leaf7.b, 30), vl = bit(leaf7.b, 31);
    return f && dq && bw && vl && (state & 0xe6) == 0xe6 ? 2 : 1; /* and opmask, both halves of ZMM */
}

/* Deterministic cache parameters: leaf 4 on Intel, its copy 0x8000001d on AMD. */
static int64_t find_cache_size(int level) {
    unsigned leaf = cpuid(4, 0).a & 31 ? 4 : 0x8000001d;
    for (unsigned k = 0; k < 16; k++) {
        registers r = cpuid(leaf, k);
        unsigned type = r.a & 31; /* 1 data, 2 instruction, 3 unified */
        if (type == 0) break;
        if (type != 2 && (int)(r.a >> 5 & 7) == level)
            return (int64_t)((r.b >> 22) + 1) * ((r.b >> 12 & 1023) + 1) * ((r.b & 4095) + 1) * ((int64_t)r.c + 1);
    }
    return 0;
}

/* Not ebx of leaf 1, which names the core that happened to answer. */
static void describe(bbi_text *text) {
    registers leaf1 = cpuid(1, 0), leaf7 = cpuid(7, 0), ext = cpuid(0x80000001, 0);
    registers vendor = cpuid(0, 0);
    bbi_text_add(text, "x86 %08x%08x%08x %08x %08x.%08x", vendor.b, vendor.d, vendor.c, leaf1.a, leaf1.c, leaf1.d);
    bbi_text_add(text, " %08x.%08x.%08x", leaf7.b, leaf7.c, leaf7.d);
    bbi_text_add(text, " %08x.%08x", cpuid(7, 1).a, cpuid(7, 1).d);
    bbi_text_add(text, " %08x.%08x %08x", ext.c, ext.d, cpuid(0x80000008, 0).b);
    bbi_text_add(text, " %08x %08x", cpuid(0xd, 1).a, saved_state(leaf1));
}
#else
static int find_level(void) { return 0; }

static int64_t find_cache_size(int level) {
    (void)level;
    return 0;
}

static void describe(bbi_text *text) { bbi_cpu_describe(text); }
#endif

int bbi_cpu_level(void) {
    static _Atomic int known = UNKNOWN;
    int level = atomic_load_explicit(&known, memory_order_relaxed);
    if (level == UNKNOWN) {
        level = find_level();
        atomic_store_explicit(&known, level, memory_order_relaxed);
    }
    return level;
}

int64_t bbi_cache_size(int level) {
    static const int64_t guess[CACHE_LEVELS] = {32 << 10, 512 << 10, 8 << 20};
    static _Atomic int64_t known[CACHE_LEVELS];
    if (level < 1 || level > CACHE_LEVELS) return 0;
    int64_t size = atomic_load_explicit(&known[level - 1], memory_order_relaxed);
    if (size == 0) {
        size = find_cache_size(level);
        if (size <= 0) size = guess[level - 1];
        atomic_store_explicit(&known[level - 1], size, memory_order_relaxed);
    }
    return size;
}

const char *bbi_cpu_identity(void) {
    static char identity[512];
    static _Atomic bool known;
    if (atomic_load(&known)) return identity;
    bbi_text text = {0};
    describe(&text);
    bbi_global_lock(BBI_GLOBAL_SETUP);
    if (!atomic_load(&known) && text.data && !text.failed) {
        snprintf(identity, sizeof identity, "%s", text.data);
        atomic_store(&known, true);
    }
    bbi_global_unlock(BBI_GLOBAL_SETUP);
    bbi_text_free(&text);
    return atomic_load(&known) ? identity : "unknown";
}
