/* SPDX-License-Identifier: Apache-2.0 */
/* statistics.c: sums over the inputs of a block: how they lie in memory, how they are taken and added. */
#include <string.h>

#include <winnow/linalg.h>

#include "point_impl.h"

/* Sums of every score of every unit, rounded up to whole cache lines; the last part of statistics. */
enum { DROP_BYTES = (WN_DROP_UNITS * WN_DROP_SCORES * (int)sizeof(double) + 63) / 64 * 64 };

static int64_t round_up(int64_t bytes)
{
    return (bytes + 63) / 64 * 64;
}

/* Rows of every input where they differ, behind the sums of squares. */
static int64_t counts(const struct wn_layout *layout)
{
    return wn_layout_routes(layout) ? layout->n_inputs : 0;
}

static int64_t squares_bytes(const struct wn_layout *layout)
{
    return round_up((wn_layout_input_total(layout) + counts(layout)) * (int64_t)sizeof(double));
}

static int64_t maxima_bytes(const struct wn_layout *layout)
{
    return round_up(wn_layout_input_total(layout) * (int64_t)sizeof(float));
}

static int64_t moments_bytes(const struct wn_layout *layout, int input)
{
    return round_up(layout->input_widths[input] * layout->input_widths[input] * (int64_t)sizeof(float));
}

int64_t wn_statistics_bytes(const struct wn_layout *layout, unsigned needs)
{
    int64_t bytes = 2 * squares_bytes(layout) + maxima_bytes(layout);
    for (int i = 0; needs & WN_NEED_SECOND_MOMENTS && i < layout->n_inputs; i++)
        bytes += moments_bytes(layout, i);
    if (needs & WN_NEED_DROP_SCORES)
        bytes += DROP_BYTES;
    return bytes;
}

double *wn_statistics_squares(const struct wn_layout *layout, void *statistics, int input)
{
    double *squares = statistics;
    for (int i = 0; i < input; i++)
        squares += layout->input_widths[i];
    return squares;
}

double *wn_statistics_rows(const struct wn_layout *layout, void *statistics, int input)
{
    return wn_layout_routes(layout) ? (double *)statistics + wn_layout_input_total(layout) + input : NULL;
}

double *wn_statistics_magnitudes(const struct wn_layout *layout, void *statistics, int input)
{
    return wn_statistics_squares(layout, (char *)statistics + squares_bytes(layout), input);
}

float *wn_statistics_maxima(const struct wn_layout *layout, void *statistics, int input)
{
    float *maxima = (float *)((char *)statistics + 2 * squares_bytes(layout));
    for (int i = 0; i < input; i++)
        maxima += layout->input_widths[i];
    return maxima;
}

float *wn_statistics_moments(const struct wn_layout *layout, void *statistics, int input)
{
    char *place = (char *)statistics + 2 * squares_bytes(layout) + maxima_bytes(layout);
    for (int i = 0; i < input; i++)
        place += moments_bytes(layout, i);
    return (float *)place;
}

double *wn_statistics_drop_scores(const struct wn_layout *layout, unsigned needs, void *statistics,
                                  enum wn_drop_unit unit)
{
    char *end = (char *)statistics + wn_statistics_bytes(layout, needs);
    return (double *)(end - DROP_BYTES) + unit * WN_DROP_SCORES;
}

/* What [first, end) and [start, start + bytes) have in common, counted from start; false: nothing. */
static bool overlap(int64_t first, int64_t end, int64_t start, int64_t bytes, int64_t *from, int64_t *to)
{
    *from = first > start ? first - start : 0;
    *to = end < start + bytes ? end - start : bytes;
    return *from < *to;
}

static void add_doubles(void *into, const void *from, int64_t first, int64_t end)
{
    double *sums = into;
    const double *added = from;
    for (int64_t i = first / (int64_t)sizeof *sums; i < end / (int64_t)sizeof *sums; i++)
        sums[i] += added[i];
}

/* Of elements first .. end - 1 of a square those on and above the diagonal. */
static void add_triangle(float *sums, const float *added, int64_t width, int64_t first, int64_t end)
{
#pragma omp parallel for schedule(dynamic, 16) /* rows become shorter */
    for (int64_t row = first / width; row <= (end - 1) / width; row++) {
        int64_t from = row * width + row > first ? row * width + row : first;
        int64_t to = (row + 1) * width < end ? (row + 1) * width : end;
        for (int64_t i = from; i < to; i++)
            sums[i] += added[i];
    }
}

void wn_statistics_add_part(const struct wn_layout *layout, unsigned needs, void *into, const void *from, int64_t first,
                            int64_t end)
{
    int64_t start = 2 * squares_bytes(layout), a, b;
    if (overlap(first, end, 0, start, &a, &b))
        add_doubles(into, from, a, b);
    if (overlap(first, end, start, maxima_bytes(layout), &a, &b))
        wn_take_column_maxima((const float *)((const char *)from + start + a), 1, (b - a) / (int64_t)sizeof(float),
                              (float *)((char *)into + start + a));
    start += maxima_bytes(layout);
    for (int i = 0; needs & WN_NEED_SECOND_MOMENTS && i < layout->n_inputs; i++) {
        int64_t width = layout->input_widths[i], floats = (int64_t)sizeof(float);
        if (overlap(first, end, start, width * width * floats, &a, &b))
            add_triangle((float *)((char *)into + start), (const float *)((const char *)from + start), width,
                         a / floats, b / floats);
        start += moments_bytes(layout, i);
    }
    if (needs & WN_NEED_DROP_SCORES && overlap(first, end, start, DROP_BYTES, &a, &b))
        add_doubles((char *)into + start, (const char *)from + start, a, b);
}

void wn_statistics_add(const struct wn_layout *layout, unsigned needs, void *into, const void *from)
{
    wn_statistics_add_part(layout, needs, into, from, 0, wn_statistics_bytes(layout, needs));
}

void wn_statistics_symmetrize(const struct wn_layout *layout, void *statistics)
{
    for (int i = 0; i < layout->n_inputs; i++)
        wn_symmetrize(wn_statistics_moments(layout, statistics, i), layout->input_widths[i]);
}

int64_t wn_statistics_groups(const struct wn_sequences *sequences)
{
    return sequences->n_chunks < WN_STATISTICS_GROUPS ? sequences->n_chunks : WN_STATISTICS_GROUPS;
}

int64_t wn_statistics_group(const struct wn_sequences *sequences, int64_t group)
{
    return group * sequences->n_chunks / wn_statistics_groups(sequences);
}

void wn_statistics_take(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct wn_statistics_tap *tap = context;
    int64_t rows = row[n_chunks];
    if (wn_layout_routes(tap->layout))
        *wn_statistics_rows(tap->layout, tap->statistics, input) += (double)rows;
    wn_add_column_squares(x, rows, width, wn_statistics_squares(tap->layout, tap->statistics, input));
    if (tap->needs & WN_NEED_ABSOLUTE_SUMS)
        wn_add_column_magnitudes(x, rows, width, wn_statistics_magnitudes(tap->layout, tap->statistics, input));
    if (tap->needs & WN_NEED_ABSOLUTE_MAXIMA)
        wn_take_column_maxima(x, rows, width, wn_statistics_maxima(tap->layout, tap->statistics, input));
    if (tap->needs & WN_NEED_SECOND_MOMENTS)
        wn_add_second_moments_of_runs(x, n_chunks, row, width,
                                      wn_statistics_moments(tap->layout, tap->statistics, input));
}

/* The first branch sees the hidden state before the block; what the last one makes of it is the state behind it. */
void wn_statistics_add_branch(void *context, enum wn_branch branch, const float *hidden, const float *added,
                              int64_t rows, int64_t width)
{
    struct wn_statistics_tap *tap = context;
    enum wn_drop_unit unit = branch == WN_BRANCH_ATTENTION ? WN_UNIT_ATTENTION : WN_UNIT_MLP;
    wn_drop_scores_add(hidden, hidden, added, rows, width,
                       wn_statistics_drop_scores(tap->layout, tap->needs, tap->statistics, unit));
    if (branch == WN_BRANCH_ATTENTION)
        memcpy(tap->before, hidden, (size_t)(rows * width) * sizeof *hidden);
    else
        wn_drop_scores_add(tap->before, hidden, added, rows, width,
                           wn_statistics_drop_scores(tap->layout, tap->needs, tap->statistics, WN_UNIT_BLOCK));
}

/* ---- what a point needs ---- */

bool wn_point_collects(const struct wn_point *point)
{
    return point->calibration >= 0 && point->propagation == WN_PROPAGATION_SEQUENTIAL;
}

bool wn_point_walks_calibration(const struct wn_point *point)
{
    return wn_point_collects(point) || (point->calibration >= 0 && wn_recipe_trials(&point->recipe));
}

bool wn_point_reads_dense(const struct wn_point *point)
{
    return point->calibration >= 0 && (point->propagation == WN_PROPAGATION_DENSE || point->recipe.search ||
                                       wn_allocation_of(&point->recipe)->reads_dense);
}

unsigned wn_point_dense_needs(const struct wn_point *point)
{
    return point->propagation == WN_PROPAGATION_DENSE || point->recipe.search ? wn_recipe_needs(&point->recipe)
                                                                              : WN_NEED_NOTHING;
}
