/* debug.c: what the library tells a developer who asks for it. BENBEN_DEBUG is a set of letters (p parsed,
 * s simplified, g gradient, l plan, e emitted source, c compiler, k cache, r runs), read at the first
 * question, not at load time. A caller can ask for letters as well and receive the lines; without a
 * callback they go to stderr. */
#include "base.h"

#include <stdatomic.h>
#include <stdio.h>

enum { NOT_READ = 1 << 26 }; /* bits 0..25: letters a..z */

static _Atomic unsigned environment_letters = NOT_READ;
static _Atomic unsigned caller_letters;
static _Atomic(bbi_log_callback) log_callback;
static _Atomic(void *) log_user;

static unsigned letter_bits(const char *letters) {
    unsigned bits = 0;
    for (; letters && *letters; letters++)
        if (*letters >= 'a' && *letters <= 'z') bits |= 1u << (*letters - 'a');
    return bits;
}

static unsigned active_letters(void) {
    unsigned bits = atomic_load_explicit(&environment_letters, memory_order_relaxed);
    if (bits == NOT_READ) {
        bits = letter_bits(bbi_environment("BENBEN_DEBUG"));
        atomic_store_explicit(&environment_letters, bits, memory_order_relaxed);
    }
    return bits | atomic_load_explicit(&caller_letters, memory_order_relaxed);
}

bool bbi_debug(char letter) { return letter >= 'a' && letter <= 'z' && (active_letters() >> (letter - 'a') & 1); }

void bbi_set_log(const char *letters, bbi_log_callback callback, void *user) {
    atomic_store(&log_callback, (bbi_log_callback)0);
    atomic_store(&log_user, user);
    atomic_store(&log_callback, callback);
    atomic_store(&caller_letters, letter_bits(letters));
}

void bbi_log(char letter, const char *format, ...) {
    if (!bbi_debug(letter)) return;
    bbi_text line = {0};
    va_list arguments;
    va_start(arguments, format);
    bbi_text_vadd(&line, format, arguments);
    va_end(arguments);
    bbi_log_callback callback = atomic_load(&log_callback);
    if (line.failed) {
        /* a line of a developer's log is not worth a failure */
    } else if (callback) {
        callback(atomic_load(&log_user), letter, line.data);
    } else {
        fprintf(stderr, "benben %c: %s\n", letter, line.data);
    }
    bbi_text_free(&line);
}
