/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: copies, formatted strings, growing text. */
#include <winnow/base.h>

#include <stdio.h>
#include <string.h>

char *wn_strdup(const char *text)
{
    return wn_strndup(text, strlen(text));
}

char *wn_strndup(const char *text, size_t length)
{
    char *copy = wn_alloc((int64_t)length + 1, 1);

    memcpy(copy, text, length);
    copy[length] = '\0';
    return copy;
}

/* Makes room for `more` bytes and a NUL. Doubling keeps appending linear in total. */
static void reserve(struct wn_text *text, size_t more)
{
    size_t needed = text->length + more + 1;

    if (needed <= text->capacity)
        return;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity < needed)
        capacity *= 2;
    text->data = wn_resize(text->data, (int64_t)capacity, 1);
    text->capacity = capacity;
}

void wn_text_append(struct wn_text *text, const char *bytes, size_t length)
{
    reserve(text, length);
    if (length > 0)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

static __attribute__((nonnull)) void print_to(struct wn_text *text, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        WN_BUG("the format \"%s\" cannot be printed", format);
    reserve(text, (size_t)length);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
    text->length += (size_t)length;
}

void wn_text_printf(struct wn_text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    print_to(text, format, arguments);
    va_end(arguments);
}

char *wn_format(const char *format, ...)
{
    struct wn_text text = {0};
    va_list arguments;

    va_start(arguments, format);
    print_to(&text, format, arguments);
    va_end(arguments);
    return text.data;
}

void wn_text_release(struct wn_text *text)
{
    wn_free(text->data);
    *text = (struct wn_text){0};
}
