/* lex.c: the tokens of formulas, and the two-line messages that show where a text is wrong. Nothing here
 * depends on the host's locale: decimal points are read by hand, and digits without a point go to strtod,
 * which then rounds correctly everywhere. */
#include "syntax.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_digit(int c) { return c >= '0' && c <= '9'; }

static bool is_letter(int c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

static int at(const bbi_lexer *lexer, size_t offset) {
    return offset < lexer->length ? (unsigned char)lexer->text[offset] : 0;
}

enum { LINE_WIDTH = 100 }; /* longer lines are shown as a window around the place */

/* Appends one line of the text as printable characters; returns the column at which the place stands. */
static size_t show_line(bbi_text *message, const char *text, size_t length, size_t place) {
    size_t first = place, last = place;
    while (first > 0 && text[first - 1] != '\n') first--;
    while (last < length && text[last] != '\n') last++;
    bool cut_left = place - first > LINE_WIDTH - 20;
    if (cut_left) first = place - LINE_WIDTH / 2;
    bool cut_right = last - first > LINE_WIDTH;
    if (cut_right) last = first + LINE_WIDTH;
    while (cut_left && first < place && (text[first] & 0xc0) == 0x80) first++;
    while (cut_right && last > place && (text[last] & 0xc0) == 0x80) last--;
    size_t column = cut_left ? 3 : 0;
    if (cut_left) bbi_text_add(message, "...");
    for (size_t k = first; k < last; k++) {
        unsigned char c = (unsigned char)text[k];
        if (k < place && (c & 0xc0) != 0x80) column++;
        if (c < 32 || c == 127)
            bbi_text_add(message, c == '\t' || c == '\r' ? " " : "?");
        else
            bbi_text_append(message, text + k, 1);
    }
    if (cut_right) bbi_text_add(message, "...");
    return column;
}

bb_status bbi_fail_at(bb_status code, const char *text, size_t length, size_t place, const char *format, ...) {
    bbi_text message = {0};
    if (place > length) place = length;
    size_t column = show_line(&message, text, length, place);
    bbi_text_add(&message, "\n%*s^ ", (int)column, "");
    va_list arguments;
    va_start(arguments, format);
    bbi_text_vadd(&message, format, arguments);
    va_end(arguments);
    if (message.failed)
        code = bbi_fail(BB_OUT_OF_MEMORY, "out of memory while reporting an error in a formula");
    else
        bbi_fail(code, "%s", message.data);
    bbi_text_free(&message);
    return code;
}

static bb_status fail_here(const bbi_lexer *lexer, size_t place, const char *message) {
    return bbi_fail_at(BB_BAD_SYNTAX, lexer->text, lexer->length, place, "%s", message);
}

double bbi_decimal(const char *digits, size_t count, int64_t exponent) {
    char text[800]; /* 767 digits decide every double; a sticky last one stands for the rest */
    size_t kept = 0;
    while (count > 0 && *digits == '0') digits++, count--;
    for (size_t k = 0; k < count; k++) {
        if (kept < 770)
            text[kept++] = digits[k];
        else if (digits[k] != '0')
            text[769] = '1';
    }
    if (kept == 0) return 0;
    exponent += (int64_t)(count - kept);
    if (exponent > 100000) exponent = 100000;
    if (exponent < -100000) exponent = -100000;
    snprintf(text + kept, sizeof text - kept, "e%d", (int)exponent);
    return strtod(text, NULL);
}

/* The digits of the mantissa without their point: strtod of "1234e-2" does not ask the locale for a decimal
 * point. */
static bb_status lex_number(bbi_lexer *lexer) {
    size_t end = lexer->start, mantissa_end, point = SIZE_MAX;
    while (is_digit(at(lexer, end)) || (at(lexer, end) == '.' && point == SIZE_MAX)) {
        if (at(lexer, end) == '.') point = end;
        end++;
    }
    mantissa_end = end;
    int64_t exponent = 0;
    bool has_exponent = false;
    if (at(lexer, end) == 'e' || at(lexer, end) == 'E') {
        size_t digit = end + 1;
        bool negative = at(lexer, digit) == '-';
        if (negative || at(lexer, digit) == '+') digit++;
        has_exponent = is_digit(at(lexer, digit));
        if (!has_exponent) return fail_here(lexer, end, "the exponent of a number has no digits");
        for (end = digit; is_digit(at(lexer, end)); end++) {
            if (exponent < 1000000) exponent = 10 * exponent + (at(lexer, end) - '0');
        }
        if (negative) exponent = -exponent;
    }
    if (is_letter(at(lexer, end)) || at(lexer, end) == '.' || is_digit(at(lexer, end))) {
        return fail_here(lexer, end, "a number runs into what follows it");
    }
    char *digits = bbi_alloc(mantissa_end - lexer->start);
    if (!digits) return bbi_fail(BB_OUT_OF_MEMORY, "out of memory while reading a formula");
    size_t count = 0;
    for (size_t k = lexer->start; k < mantissa_end; k++) {
        if (k != point) digits[count++] = lexer->text[k];
    }
    if (point != SIZE_MAX) exponent -= (int64_t)(mantissa_end - point - 1);
    lexer->real = bbi_decimal(digits, count, exponent);
    lexer->kind = BBI_TOKEN_REAL;
    if (point == SIZE_MAX && !has_exponent) {
        int64_t integer = 0;
        size_t k = 0;
        while (k < count && integer <= (INT64_MAX - (digits[k] - '0')) / 10)
            integer = 10 * integer + (digits[k++] - '0');
        if (k == count) lexer->kind = BBI_TOKEN_INTEGER; /* else it is beyond 64 bits: a real number */
        lexer->integer = integer;
    }
    bbi_free(digits);
    lexer->next = end;
    lexer->size = end - lexer->start;
    return BB_OK;
}

static bb_status lex_name(bbi_lexer *lexer) {
    static const struct {
        const char *word;
        int kind;
    } words[] = {{"and", BBI_TOKEN_AND}, {"or", BBI_TOKEN_OR}, {"not", BBI_TOKEN_NOT}};
    size_t end = lexer->start;
    while (is_letter(at(lexer, end)) || is_digit(at(lexer, end))) end++;
    lexer->size = end - lexer->start;
    if (lexer->size > BBI_MAX_NAME) return fail_here(lexer, lexer->start, "this name is too long");
    lexer->kind = BBI_TOKEN_NAME;
    lexer->next = end;
    for (size_t k = 0; k < sizeof words / sizeof *words; k++) {
        bool same =
            strlen(words[k].word) == lexer->size && !memcmp(words[k].word, lexer->text + lexer->start, lexer->size);
        if (same) lexer->kind = words[k].kind;
    }
    return BB_OK;
}

bb_status bbi_lex(bbi_lexer *lexer) {
    static const struct {
        char pair[3];
        int kind;
    } pairs[] = {{"**", BBI_TOKEN_POWER},         {"//", BBI_TOKEN_FLOOR_DIVIDE}, {"<=", BBI_TOKEN_LESS_EQUAL},
                 {">=", BBI_TOKEN_GREATER_EQUAL}, {"==", BBI_TOKEN_EQUAL},        {"!=", BBI_TOKEN_NOT_EQUAL}};
    while (lexer->next < lexer->length && strchr(" \t\r\n", lexer->text[lexer->next]) && lexer->text[lexer->next])
        lexer->next++;
    lexer->start = lexer->next;
    int c = at(lexer, lexer->start), following = at(lexer, lexer->start + 1);
    lexer->size = 0;
    lexer->kind = BBI_TOKEN_END;
    if (lexer->start >= lexer->length) return BB_OK;
    if (is_digit(c) || (c == '.' && is_digit(following))) return lex_number(lexer);
    if (is_letter(c)) return lex_name(lexer);
    for (size_t k = 0; k < sizeof pairs / sizeof *pairs; k++) {
        if (pairs[k].pair[0] != c || pairs[k].pair[1] != following) continue;
        lexer->kind = pairs[k].kind;
        lexer->size = 2;
        lexer->next = lexer->start + 2;
        return BB_OK;
    }
    if (c == 0 || !strchr("+-*/%<>=|()[],;:", c)) {
        const char *form =
            c >= 32 && c < 127 ? "unexpected character '%c'" : "unexpected byte 0x%02x: formulas are plain ASCII";
        char message[80];
        snprintf(message, sizeof message, form, c);
        return fail_here(lexer, lexer->start, message);
    }
    lexer->kind = c;
    lexer->size = 1;
    lexer->next = lexer->start + 1;
    return BB_OK;
}
