/* error.c: the message of the last failure, one per thread. The buffer is part of the thread, so that
 * reporting a failure (out of memory first of all) never allocates. A message too long for it ends in an
 * ellipsis. */
#include "base.h"

#include <stdio.h>
#include <string.h>

enum { MESSAGE_SIZE = 4096 };

static _Thread_local char message[MESSAGE_SIZE];
static _Thread_local bb_status message_code;

/* Formats apart first: arguments may point into the message itself. */
static void add_at(size_t start, const char *format, va_list arguments) {
    char text[MESSAGE_SIZE];
    int length = vsnprintf(text, sizeof text, format, arguments);
    if (length < 0) text[0] = '\0';
    size_t room = MESSAGE_SIZE - start, size = strlen(text) + 1;
    bool cut = length >= MESSAGE_SIZE || size > room;
    if (size > room) size = room;
    memcpy(message + start, text, size);
    message[start + size - 1] = '\0';
    if (!cut) return;
    size_t end = MESSAGE_SIZE - 4;
    while (end > 0 && ((unsigned char)message[end] & 0xc0) == 0x80) end--; /* never cut inside a UTF-8 character */
    memcpy(message + end, "...", 4);
}

bb_status bbi_fail(bb_status code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_at(0, format, arguments);
    va_end(arguments);
    return message_code = code;
}

bb_status bbi_fail_append(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    add_at(strlen(message), format, arguments);
    va_end(arguments);
    if (message_code == BB_OK) message_code = BB_INTERNAL; /* whoever adds has failed, whatever was forgotten before */
    return message_code;
}

const char *bb_last_error(void) { return message; }

void bb_clear_error(void) {
    message[0] = '\0';
    message_code = BB_OK;
}

const char *bb_status_text(bb_status status) {
    switch (status) {
#define ERROR(name, value, text)                                                                                       \
    case name: return text;
#include "error.def"
#undef ERROR
    }
    return "unknown status code";
}
