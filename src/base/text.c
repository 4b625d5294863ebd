/* text.c: growing text for emitters, messages and logs. Out of memory is remembered in the text itself, so
 * that a caller adds freely and checks once at the end. Numbers printed with %g follow the host's locale:
 * emitters that need a decimal point print their numbers in hexadecimal or check. */
#include "base.h"

#include <stdio.h>
#include <string.h>

static bool reserve(bbi_text *text, size_t extra) {
    if (text->failed) return false;
    if (extra < text->capacity - text->length) return true;
    size_t wanted = text->capacity ? text->capacity : 64;
    if (extra >= SIZE_MAX / 4 - text->length) wanted = 0;
    while (wanted && wanted <= text->length + extra) wanted *= 2;
    char *data = wanted ? bbi_realloc(text->data, wanted) : NULL;
    if (!data) {
        text->failed = true;
        return false;
    }
    text->data = data;
    text->capacity = wanted;
    return true;
}

void bbi_text_append(bbi_text *text, const char *bytes, size_t length) {
    if (!reserve(text, length)) return;
    if (length) memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void bbi_text_vadd(bbi_text *text, const char *format, va_list arguments) {
    if (text->failed) return;
    va_list again;
    va_copy(again, arguments);
    size_t room = text->capacity - text->length;
    int length = vsnprintf(text->data ? text->data + text->length : NULL, room, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if ((size_t)length < room) {
        text->length += (size_t)length;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    } else if (text->data) {
        text->data[text->length] = '\0'; /* undo what the first attempt wrote */
    }
    va_end(again);
}

void bbi_text_add(bbi_text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    bbi_text_vadd(text, format, arguments);
    va_end(arguments);
}

void bbi_text_free(bbi_text *text) {
    bbi_free(text->data);
    *text = (bbi_text){0};
}
