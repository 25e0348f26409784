/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wrap.c: texts as wide as the terminal. A line of such a text is a paragraph, or a row whose cells are two spaces or
 * more apart; what does not fit goes on below where its last cell begins.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "command.h"

int wn_line_width(int otherwise)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    long width = columns ? strtol(columns, NULL, 10) : 0;
    if (isatty(STDOUT_FILENO) && !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col)
        return size.ws_col;
    return width > 0 && width < 100000 ? (int)width : otherwise;
}

struct line {
    const char *text;
    size_t length, indent; /* bytes; spaces in front */
    size_t last, before;   /* where the last cell begins and the one before it: in a paragraph the indent */
};

/* Characters, not bytes. */
static int columns_of(const char *text, size_t length)
{
    int columns = 0;
    for (size_t i = 0; i < length; i++)
        columns += ((unsigned char)text[i] & 0xC0) != 0x80;
    return columns;
}

static void put(struct wn_text *to, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        wn_text_append(to, text[i] == WN_HELD_SPACE ? " " : text + i, 1);
}

static void put_spaces(struct wn_text *to, int count)
{
    wn_text_printf(to, "%*s", count, "");
}

size_t wn_next_cell(const char *line, size_t length, size_t from)
{
    for (size_t i = from + 2; i < length; i++)
        if (line[i] != ' ' && line[i - 1] == ' ' && line[i - 2] == ' ')
            return i;
    return 0;
}

static struct line read_line(const char *text, size_t length)
{
    struct line line = {.text = text, .length = length};
    while (line.indent < length && text[line.indent] == ' ')
        line.indent++;
    line.last = line.before = line.indent;
    for (size_t cell = wn_next_cell(text, length, line.indent); cell; cell = wn_next_cell(text, length, cell)) {
        line.before = line.last;
        line.last = cell;
    }
    return line;
}

/* Words from column `at` on, on lines that begin at column `hang`; a comment stays one. */
static void fill(struct wn_text *to, const char *text, size_t length, int at, int hang, int width)
{
    const char *end = text + length;
    bool comment = length > 2 && !strncmp(text, "// ", 3), first = true;
    for (const char *word = text; word < end; first = false) {
        const char *space = memchr(word, ' ', (size_t)(end - word));
        size_t bytes = (size_t)((space ? space : end) - word);
        int columns = columns_of(word, bytes);
        if (!first && at + 1 + columns > width) {
            put(to, "\n", 1);
            put_spaces(to, hang);
            put(to, "// ", comment ? 3 : 0);
            at = hang + (comment ? 3 : 0);
        } else if (!first) {
            put(to, " ", 1);
            at++;
        }
        put(to, word, bytes);
        at += columns;
        word += bytes + (space != NULL);
    }
    put(to, "\n", 1);
}

static bool is_longer(const struct line *line, int width)
{
    return columns_of(line->text, line->length) > width;
}

/* "NAME: what it is" */
static bool is_heading(const struct line *line)
{
    const char *space = memchr(line->text, ' ', line->length);
    return !line->indent && space && space > line->text && space[-1] == ':';
}

enum { BELOW = 8 }; /* behind the letters of options */

/* The last cell on lines of its own: where the one before it begins, unless that is the first or far to the right. */
static void put_below(struct wn_text *to, const struct line *line, int width)
{
    int indent = (int)line->indent, before = columns_of(line->text, line->before);
    int place = before > indent && before <= width / 2 ? before : indent < BELOW ? BELOW : indent + 2;
    put_spaces(to, place);
    fill(to, line->text + line->last, line->length - line->last, place, place, width);
}

static void put_line(struct wn_text *to, const struct line *line, int width)
{
    int last = columns_of(line->text, line->last);
    if (!is_longer(line, width)) {
        put(to, line->text, line->length);
        put(to, "\n", 1);
        return;
    }
    put(to, line->text, line->last);
    bool row = line->last > line->indent;
    fill(to, line->text + line->last, line->length - line->last, last,
         row                        ? last
         : last || is_heading(line) ? last + 2
                                    : 0,
         width);
}

/* What stands in front of the last cell. */
static struct line head_of(const struct line *line)
{
    size_t length = line->last;
    while (length > 0 && line->text[length - 1] == ' ')
        length--;
    return read_line(line->text, length);
}

/* The line at a place, without its end; the place of the next one. */
static const char *next_line(const char *text, struct line *line)
{
    size_t length = strcspn(text, "\n");
    *line = read_line(text, length);
    return text + length + (text[length] == '\n');
}

/* Whether the last cells of the rows from here on, of one table, have too little room beside the others. */
static bool is_crowded(const char *text, int width)
{
    struct line first, line;
    next_line(text, &first);
    if (first.last == first.indent || columns_of(first.text, first.last) <= width / 2)
        return false;
    while (*text) {
        text = next_line(text, &line);
        if (line.last != first.last)
            return false;
        if (is_longer(&line, width))
            return true;
    }
    return false;
}

void wn_wrap(const char *text, int width, struct wn_text *to)
{
    struct line line, above = {0};
    bool below = false;
    while (*text) {
        const char *next = next_line(text, &line);
        if (!below || line.last != above.last)
            below = is_crowded(text, width);
        if (below) {
            struct line head = head_of(&line);
            put_line(to, &head, width);
            put_below(to, &line, width);
        } else {
            put_line(to, &line, width);
        }
        above = line;
        text = next;
    }
}

void wn_print_wrapped(FILE *stream, const struct wn_text *text)
{
    struct wn_text wrapped = {0};
    int width = wn_line_width(80);
    wn_wrap(text->data, width < 20 ? 20 : width, &wrapped);
    fprintf(stream, "%s", wrapped.data);
    wn_text_release(&wrapped);
}
