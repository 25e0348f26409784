/* SPDX-License-Identifier: Apache-2.0 */
/* Status texts, the message of the last failure, problem lists, suggestions for typing errors, log lines, abort. */
#include <winnow/base.h>

#include "stop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGE_SIZE = 2048, SUGGEST_LONGEST = 128 };

/* Aligned, since mold may put the last odd bytes of the page before read-only data to thread-local memory that is not:
 * a program so linked does not start. */
static _Thread_local _Alignas(64) char message[MESSAGE_SIZE];

static enum wn_log_level log_most = WN_LOG_WARNING;
static int log_rank;
static int log_ranks = 1;

/* ---- status ---- */

const char *wn_status_text(wn_status status)
{
    switch (status) {
#define X(name, number, text)                                                                                          \
    case name:                                                                                                         \
        return text;
        WN_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

/* Names in messages come from files: a newline in one must not break the promise of one line. */
static void keep_one_line(char *text)
{
    size_t length = strlen(text);

    while (length > 0 && text[length - 1] == '\n')
        text[--length] = '\0';
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
}

/* vsnprintf with "..." at the end of a text that did not fit. */
static void print_line(char *line, size_t size, const char *format, va_list arguments)
{
    int needed = vsnprintf(line, size, format, arguments);

    if (needed < 0)
        snprintf(line, size, "%s", format);
    else if ((size_t)needed >= size)
        memcpy(line + size - 4, "...", 4);
    keep_one_line(line);
}

/* The arguments may contain the old message (a caller adding context), hence the copy. */
wn_status wn_fail(wn_status status, const char *format, ...)
{
    char line[MESSAGE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    print_line(line, sizeof line, format, arguments);
    va_end(arguments);
    memcpy(message, line, sizeof message);
    return status;
}

const char *wn_error_message(void)
{
    return message;
}

/* ---- our own mistakes ---- */

void wn_bug_(const char *file, int line, const char *format, ...)
{
    char text[MESSAGE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    print_line(text, sizeof text, format, arguments);
    va_end(arguments);
    fprintf(stderr, "winnow: error inside winnow at %s:%d: %s\n", file, line, text);
    wn_stop_();
}

/* ---- problems ---- */

void wn_problems_init(struct wn_problems *problems)
{
    *problems = (struct wn_problems){0};
}

void wn_problems_release(struct wn_problems *problems)
{
    for (int64_t i = 0; i < problems->count; i++)
        wn_free(problems->lines[i]);
    wn_free(problems->lines);
    wn_problems_init(problems);
}

void wn_problems_add(struct wn_problems *problems, const char *format, ...)
{
    char line[MESSAGE_SIZE];
    va_list arguments;

    va_start(arguments, format);
    print_line(line, sizeof line, format, arguments);
    va_end(arguments);
    for (int64_t i = 0; i < problems->count; i++)
        if (!strcmp(problems->lines[i], line))
            return; /* a file that is named twice is still one mistake */
    problems->lines = wn_grow(problems->lines, problems->count, 1, sizeof *problems->lines);
    problems->lines[problems->count++] = wn_strdup(line);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of two neighbours (optimal string alignment), each at cost 1. */
static int edit_distance(const char *a, int a_length, const char *b, int b_length)
{
    int rows[3][SUGGEST_LONGEST + 1];
    int *before = rows[0], *above = rows[1], *row = rows[2];

    for (int j = 0; j <= b_length; j++)
        above[j] = j;
    for (int i = 1; i <= a_length; i++) {
        row[0] = i;
        for (int j = 1; j <= b_length; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], before[j - 2] + 1);
        }
        int *spare = before;
        before = above;
        above = row;
        row = spare;
    }
    return above[b_length];
}

/* Near enough: at most one mistake per three letters of the longer word. */
const char *wn_suggest(const char *word, const char *const *candidates, int64_t count)
{
    const char *best = NULL;
    int best_distance = SUGGEST_LONGEST;
    size_t length = strlen(word);

    if (length > SUGGEST_LONGEST)
        return NULL;
    for (int64_t i = 0; i < count; i++) {
        size_t candidate_length = strlen(candidates[i]);
        if (candidate_length > SUGGEST_LONGEST)
            continue;
        int distance = edit_distance(word, (int)length, candidates[i], (int)candidate_length);
        int longer = (int)(length > candidate_length ? length : candidate_length);
        if (distance * 3 <= longer + 1 && distance < best_distance) {
            best = candidates[i];
            best_distance = distance;
        }
    }
    return best;
}

/* ---- log ---- */

void wn_log_set(enum wn_log_level most, int rank, int ranks)
{
    log_most = most;
    log_rank = rank;
    log_ranks = ranks;
}

/* One call of fprintf per line, so that lines of several threads and ranks do not mix. */
void wn_log(enum wn_log_level level, const char *format, ...)
{
    static const char *const names[] = {"error: ", "warning: ", "", ""};
    char line[MESSAGE_SIZE], rank[32] = "";
    va_list arguments;

    if (level > log_most)
        return;
    va_start(arguments, format);
    print_line(line, sizeof line, format, arguments);
    va_end(arguments);
    if (log_ranks > 1 && level <= WN_LOG_WARNING)
        snprintf(rank, sizeof rank, "rank %d: ", log_rank);
    fprintf(stderr, "winnow: %s%s%s\n", rank, names[level], line);
}
