/* SPDX-License-Identifier: Apache-2.0 */
/* common.c: options, tables and units that the commands share. */
#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

/* ---- options ---- */

static bool silent;

void wn_options_silence(void)
{
    silent = true;
}

/* An option and its value stay on one line. */
static void hold_brackets(char *usage)
{
    int depth = 0;
    for (; *usage; usage++) {
        depth += (*usage == '[') - (*usage == ']');
        if (depth && *usage == ' ')
            *usage = WN_HELD_SPACE;
    }
}

void wn_command_print_page(const struct wn_command *command)
{
    struct wn_text text = {0};
    char *usage = wn_strdup(command->usage);
    hold_brackets(usage);
    wn_text_printf(&text, "Usage: winnow %s\n\n%s\n", usage, command->page);
    wn_print_wrapped(stdout, &text);
    wn_text_release(&text);
    wn_free(usage);
}

static const struct wn_option *find_option(const struct wn_option *options, int count, const char *argument)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(argument, options[i].name) || (options[i].letter && !strcmp(argument, options[i].letter)))
            return &options[i];
    return NULL;
}

static bool wrong_usage(const struct wn_command *command, const char *what, const char *argument)
{
    if (!silent)
        fprintf(stderr, "winnow: %s: %s%s (usage: winnow %s)\n", command->name, what, argument, command->usage);
    return false;
}

static bool unknown_option(const struct wn_command *command, const struct wn_option *options, int count,
                           const char *argument)
{
    const char *names[32];
    for (int i = 0; i < count && i < 32; i++)
        names[i] = options[i].name;
    const char *near = wn_suggest(argument, names, count < 32 ? count : 32);
    if (near && !silent)
        fprintf(stderr, "winnow: %s: unknown option %s; did you mean %s?\n", command->name, argument, near);
    else if (!near)
        wrong_usage(command, "unknown option ", argument);
    return false;
}

const char wn_repeated[] = "";

/* The argument of an option; of one that may be given again, all of them, a line each. */
static void set_value(const struct wn_option *option, bool repeated, const char *argument)
{
    /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): an option without a flag has a value */
    const char *before = *option->value;
    if (!repeated) {
        *option->value = argument;
        return;
    }
    *option->value = before == wn_repeated ? wn_strdup(argument) : wn_format("%s\n%s", before, argument);
    if (before != wn_repeated)
        wn_free((void *)(uintptr_t)before);
}

bool wn_options_read(const struct wn_command *command, int argc, char **argv, const struct wn_option *options,
                     int n_options, const char **positional, int wanted, int *exit_code)
{
    int found = 0;
    bool repeated[32] = {false};
    *exit_code = 2;
    for (int i = 0; i < n_options && i < 32; i++)
        repeated[i] = options[i].value && *options[i].value == wn_repeated;
    bool plain = false; /* behind "--": no options any more */
    for (int i = 1; i < argc; i++) {
        if (!plain && !strcmp(argv[i], "--")) {
            plain = true;
            continue;
        }
        if (!plain && (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))) {
            if (!silent)
                wn_command_print_page(command);
            *exit_code = 0;
            return false;
        }
        if (!plain && argv[i][0] == '-' && argv[i][1]) {
            const struct wn_option *option = find_option(options, n_options, argv[i]);
            if (!option)
                return unknown_option(command, options, n_options, argv[i]);
            if (option->flag)
                *option->flag = true;
            else if (i + 1 < argc)
                set_value(option, repeated[option - options], argv[++i]);
            else
                return wrong_usage(command, "a value is missing after ", argv[i]);
        } else if (found == wanted) {
            return wrong_usage(command, "one argument too many: ", argv[i]);
        } else {
            positional[found++] = argv[i];
        }
    }
    if (found < wanted)
        return wrong_usage(command, "an argument is missing", "");
    return true;
}

bool wn_option_integer(const struct wn_command *command, const char *name, const char *text, long low, long high,
                       long *value)
{
    char *end;
    *value = strtol(text, &end, 10);
    if (*text && !*end && *value >= low && *value <= high)
        return true;
    if (!silent)
        fprintf(stderr, "winnow: %s: %s: expected a whole number from %ld to %ld, got \"%s\"\n", command->name, name,
                low, high, text);
    return false;
}

/* The seconds of a unit; 0: there is no such unit. */
static double unit_seconds(char unit)
{
    return unit == 's' ? 1 : unit == 'm' ? 60 : unit == 'h' ? 3600 : unit == 'd' ? 86400 : 0;
}

bool wn_option_duration(const struct wn_command *command, const char *name, const char *text, double *seconds)
{
    const char *at = text;
    bool good = *text != '\0';
    *seconds = 0;
    while (*at && good) {
        char *end = (char *)(uintptr_t)at; /* the analyzer does not see that -1 is no number */
        double number = isdigit((unsigned char)*at) || *at == '.' ? strtod(at, &end) : -1;
        double unit = number >= 0 && *end ? unit_seconds(*end) : 1;
        good = number >= 0 && unit > 0;
        *seconds += number * unit;
        at = good ? end + (*end != '\0') : at;
    }
    good = good && *seconds > 0 && isfinite(*seconds);
    if (!good && !silent)
        fprintf(stderr, "winnow: %s: %s: expected a time like 90s, 30m, 2h or 1h30m, got \"%s\"\n", command->name, name,
                text);
    return good;
}

void wn_problems_print(const struct wn_problems *problems)
{
    for (int64_t i = 0; i < problems->count; i++)
        fprintf(stderr, "winnow: %s\n", problems->lines[i]);
    if (problems->count > 1)
        fprintf(stderr, "winnow: %lld mistakes; nothing was started\n", (long long)problems->count);
}

/* ---- tables ---- */

void wn_grid_table_init(struct wn_grid_table *table, int rows, int columns)
{
    table->rows = rows;
    table->columns = columns;
    table->cells = wn_alloc(rows, sizeof *table->cells);
    for (int r = 0; r < rows; r++)
        table->cells[r] = wn_alloc_zero(columns, sizeof **table->cells);
    table->right = wn_alloc_zero(columns, sizeof *table->right);
}

void wn_grid_table_set(struct wn_grid_table *table, int row, int column, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    wn_free(table->cells[row][column]);
    table->cells[row][column] = wn_strdup(text);
}

/* Characters, not bytes. */
static int width_of(const char *text)
{
    int width = 0;
    for (; text && *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

int wn_grid_table_width(const struct wn_grid_table *table, int column)
{
    int width = 0;
    for (int r = 0; r < table->rows; r++)
        width = width_of(table->cells[r][column]) > width ? width_of(table->cells[r][column]) : width;
    return width;
}

static void print_cell(const struct wn_grid_table *table, int row, int column, int width, bool last)
{
    const char *text = table->cells[row][column] ? table->cells[row][column] : "";
    int room = width - width_of(text);
    bool right = table->right[column];
    printf("%*s%s%*s%s", right ? room : 0, "", text, right || last ? 0 : room, "", last ? "\n" : "  ");
}

void wn_grid_table_print_part(const struct wn_grid_table *table, int leading, int first, int end)
{
    int *width = wn_alloc_zero(table->columns, sizeof *width), shown = leading + end - first;
    for (int c = 0; c < table->columns; c++)
        width[c] = wn_grid_table_width(table, c);
    for (int r = 0; r < table->rows; r++)
        for (int i = 0; i < shown; i++) {
            int column = i < leading ? i : first + i - leading;
            print_cell(table, r, column, width[column], i + 1 == shown);
        }
    wn_free(width);
}

void wn_grid_table_print(const struct wn_grid_table *table)
{
    wn_grid_table_print_part(table, 0, 0, table->columns);
}

void wn_grid_table_release(struct wn_grid_table *table)
{
    for (int r = 0; r < table->rows; r++) {
        for (int c = 0; c < table->columns; c++)
            wn_free(table->cells[r][c]);
        wn_free(table->cells[r]);
    }
    wn_free(table->cells);
    wn_free(table->right);
}

/* ---- units ---- */

static char *next_buffer(void)
{
    static char buffers[4][48];
    static int next;
    next = (next + 1) % 4;
    return buffers[next];
}

const char *wn_bytes_text(double bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    char *text = next_buffer();
    int unit = 0;
    while (bytes >= 1024 && unit < 4) {
        bytes /= 1024;
        unit++;
    }
    snprintf(text, 48, unit ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
    return text;
}

const char *wn_seconds_text(double seconds)
{
    return wn_duration_text(seconds, next_buffer());
}
