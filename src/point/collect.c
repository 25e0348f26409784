/* SPDX-License-Identifier: Apache-2.0 */
/*
 * collect.c: statistics of the inputs of every block of a walk. Under sequential propagation a point makes its own, by
 * the groups of chunks of the shared dense pass and in their order; else it reads those of that pass.
 */
#include <string.h>

#include "walk.h"

enum { PIECE = 1 << 16 }; /* bytes that a thread clears at a time */

void wn_collector_open(struct wn_collector *collector, const struct wn_subject *subject)
{
    const struct wn_layout *layout = &subject->model->layout;
    collector->needs = wn_recipe_needs(&subject->point->recipe);
    if (wn_point_walks_calibration(subject->point)) {
        wn_routing_open(&collector->routing, subject);
        collector->sequences =
            collector->routing.hidden ? &collector->routing.routed : &wn_subject_calibration(subject)->sequences;
        collector->hidden = wn_workspace_embed(subject->model, collector->sequences);
    }
    if (wn_point_collects(subject->point)) {
        collector->statistics = wn_alloc(wn_statistics_bytes(layout, collector->needs), 1);
        collector->group_statistics = wn_alloc(wn_statistics_bytes(layout, collector->needs), 1);
    }
}

static void release_factors(struct wn_collector *collector, const struct wn_subject *subject)
{
    for (int i = 0; i < subject->model->layout.n_inputs; i++)
        wn_factor_cache_release(&collector->factors[i]);
}

void wn_collector_leave(struct wn_collector *collector, const struct wn_layout *layout, const int *order, int count,
                        int made)
{
    const int input = layout->linears[order[made]].input;
    for (int k = made + 1; k < count; k++)
        if (layout->linears[order[k]].input == input)
            return;
    wn_factor_cache_release(&collector->factors[input]);
}

void wn_collector_release(struct wn_collector *collector, const struct wn_subject *subject)
{
    release_factors(collector, subject);
    wn_routing_release(&collector->routing);
    wn_free(collector->hidden);
    if (collector->group_statistics) {
        wn_free(collector->statistics);
        wn_free(collector->group_statistics);
    }
    *collector = (struct wn_collector){0};
}

/* What is collected, and where a walk is then. */
struct what {
    int step; /* -1: all */
    struct wn_place place;
    int64_t all; /* of its part */
};

/* Statistics of all inputs, or of one step. */
struct input_tap {
    struct wn_statistics_tap all;
    int step; /* -1: all */
};

static void take_input(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct input_tap *tap = context;
    if (tap->step < 0 || tap->step == tap->all.layout->input_steps[input])
        wn_statistics_take(&tap->all, input, x, n_chunks, row, width);
}

static void clear(void *memory, int64_t bytes)
{
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < bytes; at += PIECE)
        memset((char *)memory + at, 0, (size_t)(bytes - at < PIECE ? bytes - at : PIECE));
}

/* Adds chunks: runs the block on a copy of their rows and drops the result. */
static void collect_chunks(struct wn_collector *collector, const struct wn_model *model, struct wn_workspace *workspace,
                           const struct wn_block *block, int64_t first, int64_t end, const struct wn_tap *tap)
{
    struct wn_chunk group;
    int64_t row = wn_sequences_chunks(collector->sequences, first, end, workspace->offset, &group);
    int64_t hidden = model->config.hidden_size, rows = group.offset[group.n_sequences];
    wn_copy_floats(workspace->copy, collector->hidden + row * hidden, rows * hidden);
    wn_model_run_block(model, block, &group, workspace->copy, workspace->scratch, tap);
}

/* Sums of each group from `first` on, added in group order: the order of the shared dense pass too. */
static wn_status collect(struct wn_collector *collector, const struct wn_model *model, struct wn_workspace *workspace,
                         const struct wn_block *block, int64_t first, const struct what *what)
{
    const struct wn_layout *layout = &model->layout;
    const struct wn_sequences *sequences = collector->sequences;
    int64_t bytes = wn_statistics_bytes(layout, collector->needs);
    struct input_tap context = {{.layout = layout, .needs = collector->needs}, what->step};
    struct wn_tap tap = {.take = take_input, .context = &context};
    for (int64_t g = first; g < wn_statistics_groups(sequences); g++) {
        context.all.statistics = g == 0 ? collector->statistics : collector->group_statistics; /* 0 + first is first */
        clear(context.all.statistics, bytes);
        int64_t end = wn_statistics_group(sequences, g + 1);
        for (int64_t c = wn_statistics_group(sequences, g), behind; c < end; c = behind) {
            behind = wn_sequences_group(sequences, c, end, workspace->group_rows);
            collect_chunks(collector, model, workspace, block, c, behind, &tap);
        }
        if (g > 0)
            wn_statistics_add(layout, collector->needs, collector->statistics, collector->group_statistics);
        struct wn_place place = what->place;
        *(what->step < 0 ? &place.done : &place.groups) = g + 1;
        WN_TRY(wn_pause(collector->pauses, place, what->all));
    }
    if (collector->needs & WN_NEED_SECOND_MOMENTS)
        wn_statistics_symmetrize(layout, collector->statistics);
    workspace->tokens += (double)wn_sequences_tokens(sequences);
    return WN_OK;
}

wn_status wn_collector_gather(struct wn_collector *collector, const struct wn_subject *subject,
                              struct wn_workspace *workspace, int64_t block_index, const struct wn_block *block)
{
    const struct wn_reference *reference = subject->reference;
    int64_t model = subject->point->model, calibration = subject->point->calibration;
    release_factors(collector, subject);
    if (collector->group_statistics) {
        int64_t groups = wn_statistics_groups(collector->sequences);
        if (collector->pauses && collector->pauses->from.part > WN_PART_GATHER)
            return WN_OK;
        return collect(collector, subject->model, workspace, block, wn_pauses_done(collector->pauses, WN_PART_GATHER),
                       &(struct what){-1, {.part = WN_PART_GATHER}, groups});
    }
    if (calibration >= 0)
        collector->statistics =
            (char *)reference->statistics[model][calibration].data +
            block_index * wn_statistics_bytes(&subject->model->layout, reference->needs[model][calibration]);
    return WN_OK;
}

wn_status wn_collector_again(struct wn_collector *collector, const struct wn_subject *subject,
                             struct wn_workspace *workspace, const struct wn_block *block, int step, int64_t groups,
                             int64_t made, int64_t all)
{
    return collect(collector, subject->model, workspace, block, groups,
                   &(struct what){step, {.part = WN_PART_LINEARS, .done = made}, all});
}

void wn_collector_tell(struct wn_collector *collector, const struct wn_subject *subject, int input,
                       struct wn_input_stats *stats)
{
    const struct wn_layout *layout = &subject->model->layout;
    const struct wn_calibration *calibration = wn_subject_calibration(subject);
    if (!calibration)
        return;
    const double *rows = wn_statistics_rows(layout, collector->statistics, input);
    stats->tokens =
        rows && layout->input_experts[input] ? (int64_t)*rows : wn_sequences_tokens(&calibration->sequences);
    stats->sequences = calibration->sequences.n_sequences;
    stats->squares = wn_statistics_squares(layout, collector->statistics, input);
    if (collector->needs & WN_NEED_ABSOLUTE_SUMS)
        stats->magnitudes = wn_statistics_magnitudes(layout, collector->statistics, input);
    if (collector->needs & WN_NEED_ABSOLUTE_MAXIMA)
        stats->maxima = wn_statistics_maxima(layout, collector->statistics, input);
    if (collector->needs & WN_NEED_SECOND_MOMENTS) {
        stats->second_moments = wn_statistics_moments(layout, collector->statistics, input);
        stats->factors = &collector->factors[input];
    }
}
