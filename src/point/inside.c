/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inside.c: see inside.h. What is large lies in a state as it lies in memory, and comes back as it was: statistics,
 * which take a forward pass of the calibration set to be made again but far less room than its hidden states, and the
 * linears that are made. What follows from the dense block in less time than it takes to be read is made again: factors
 * of second moments, divided vectors, counts of zeros.
 */
#include "inside.h"

#include <string.h>

wn_status wn_pause(const struct wn_pauses *pauses, struct wn_place place, int64_t all)
{
    return pauses ? pauses->at(pauses->context, &place, all) : WN_OK;
}

int64_t wn_pauses_done(const struct wn_pauses *pauses, enum wn_part part)
{
    return pauses && pauses->from.part == part ? pauses->from.done : 0;
}

int wn_order_linears(const struct wn_layout *layout, bool by_input, int order[WN_MAX_LINEARS])
{
    int count = 0;
    const int last = layout->input_steps[layout->n_inputs - 1];
    for (int step = 0; step <= (by_input ? last : 0); step++)
        for (int l = 0; l < layout->n_linears; l++)
            if (!by_input || layout->input_steps[layout->linears[l].input] == step)
                order[count++] = l;
    return count;
}

void wn_pieces_add(struct wn_pieces *pieces, void *data, int64_t bytes)
{
    pieces->items = wn_resize(pieces->items, pieces->count + 1, sizeof *pieces->items);
    pieces->items[pieces->count++] = (struct wn_state_piece){data, data ? bytes : 0};
    pieces->bytes += data ? bytes : 0;
}

/* ---- scales, rules and kept linears ---- */

static void take_scales(struct wn_inside *inside, const struct wn_layout *layout,
                        const struct wn_compressor *compressor)
{
    float *scales = inside->scales;
    for (int i = 0; i < layout->n_inputs; scales += layout->input_widths[i++]) {
        inside->small.scaled[i] = compressor->scales[i] != NULL;
        inside->small.trials[i] = compressor->trials[i];
        if (compressor->scales[i])
            memcpy(scales, compressor->scales[i], (size_t)layout->input_widths[i] * sizeof *scales);
    }
}

static void give_scales(const struct wn_inside *inside, const struct wn_layout *layout,
                        struct wn_compressor *compressor)
{
    const float *scales = inside->scales;
    for (int i = 0; i < layout->n_inputs; scales += layout->input_widths[i++]) {
        compressor->trials[i] = inside->small.trials[i];
        if (!inside->small.scaled[i])
            continue;
        compressor->scales[i] = wn_alloc(layout->input_widths[i], sizeof *scales);
        memcpy(compressor->scales[i], scales, (size_t)layout->input_widths[i] * sizeof *scales);
    }
}

static int64_t pack_rest(const struct wn_between *between, int64_t block, uint8_t *out)
{
    int64_t bytes = 0;
    for (int l = 0; l < between->subject->model->layout.n_linears; l++)
        bytes += wn_rule_pack(between->compressor->activations[l], out ? out + bytes : NULL);
    if (between->evaluation->generates)
        bytes += wn_kept_linears_pack(&between->evaluation->kept, block, out ? out + bytes : NULL);
    return bytes;
}

static void unpack_rest(const struct wn_inside *inside, const struct wn_between *between, int64_t block)
{
    const uint8_t *bytes = inside->rest;
    for (int l = 0; l < between->subject->model->layout.n_linears; l++)
        between->compressor->activations[l] = wn_rule_unpack(&bytes);
    if (between->evaluation->generates)
        wn_kept_linears_unpack(&between->evaluation->kept, block, &bytes);
}

/* ---- room ---- */

void wn_inside_open(struct wn_inside *inside, const struct wn_between *between, int64_t block,
                    const struct wn_place *place)
{
    const struct wn_layout *layout = &between->subject->model->layout;
    *inside = (struct wn_inside){.place = *place};
    if (place->part < WN_PART_LINEARS)
        return;
    inside->scales = wn_alloc_zero(wn_layout_input_total(layout), sizeof *inside->scales);
    take_scales(inside, layout, between->compressor);
    inside->rest_bytes = pack_rest(between, block, NULL);
    inside->rest = wn_alloc(inside->rest_bytes, 1);
    pack_rest(between, block, inside->rest);
}

void wn_inside_expect(struct wn_inside *inside, const struct wn_between *between, const struct wn_place *place)
{
    const struct wn_layout *layout = &between->subject->model->layout;
    const struct wn_recipe *recipe = &between->subject->point->recipe;
    struct wn_compressor *compressor = between->compressor;
    *inside = (struct wn_inside){.place = *place};
    if (place->part >= WN_PART_LINEARS)
        inside->scales = wn_alloc_zero(wn_layout_input_total(layout), sizeof *inside->scales);
    if (place->part < WN_PART_SCALE || place->part > WN_PART_LINEARS || !wn_recipe_trials(recipe))
        return;
    compressor->loss = wn_alloc_zero(layout->n_inputs * wn_recipe_trials(recipe), sizeof *compressor->loss);
    for (int i = 0; i < layout->n_inputs; i++) {
        int64_t width = layout->input_widths[i], run = wn_recipe_moment_run(recipe, width);
        compressor->run_moments[i] = run ? wn_alloc_zero(width * run, sizeof(float)) : NULL;
    }
}

void wn_inside_release(struct wn_inside *inside)
{
    wn_free(inside->scales);
    wn_free(inside->rest);
    *inside = (struct wn_inside){0};
}

/* ---- pieces ---- */

/* What linears are still made from. */
static void list_sources(const struct wn_between *between, int64_t part, struct wn_pieces *pieces)
{
    const struct wn_subject *subject = between->subject;
    const struct wn_layout *layout = &subject->model->layout;
    const struct wn_compressor *compressor = between->compressor;
    int64_t sample = wn_sequences_tokens(&subject->prepared->sample), floats = (int64_t)sizeof(float);
    if (part > WN_PART_GATHER) {
        wn_pieces_add(pieces, between->sample->rows, layout->n_inputs * (int64_t)sizeof(int64_t));
        wn_pieces_add(pieces, between->sample->begin, layout->n_inputs * (int64_t)sizeof(int64_t));
        wn_pieces_add(pieces, between->sample->all, wn_model_input_floats(subject->model, sample) * floats);
    }
    if (part >= WN_PART_GATHER && wn_point_collects(subject->point))
        wn_pieces_add(pieces, between->collector->statistics, wn_statistics_bytes(layout, between->collector->needs));
    for (int i = 0; part > WN_PART_GATHER && i < layout->n_inputs; i++) {
        int64_t width = layout->input_widths[i];
        wn_pieces_add(pieces, compressor->run_moments[i],
                      width * wn_recipe_moment_run(&subject->point->recipe, width) * floats);
    }
    if (part == WN_PART_SCALE)
        wn_pieces_add(pieces, compressor->loss,
                      layout->n_inputs * wn_recipe_trials(&subject->point->recipe) * (int64_t)sizeof(double));
}

/* The linears that are made. */
static void list_linears(const struct wn_between *between, int64_t made, struct wn_pieces *pieces)
{
    const struct wn_point *point = between->subject->point;
    const struct wn_layout *layout = &between->subject->model->layout;
    int order[WN_MAX_LINEARS] = {0};
    wn_order_linears(layout, wn_recipe_true_sequential(&point->recipe), order);
    for (int64_t k = 0; wn_point_changes_linears(point) && k < made; k++) {
        const struct wn_linear_info *linear = &layout->linears[order[k]];
        wn_pieces_add(pieces, between->compressor->compressed->linears[order[k]],
                      linear->rows * linear->columns * (int64_t)sizeof(float));
    }
}

void wn_inside_list(struct wn_inside *inside, const struct wn_between *between, struct wn_pieces *pieces)
{
    const struct wn_layout *layout = &between->subject->model->layout;
    int64_t part = inside->place.part;
    if (part < WN_PART_PUSH)
        list_sources(between, part, pieces);
    if (part < WN_PART_LINEARS)
        return;
    list_linears(between, part == WN_PART_LINEARS ? inside->place.done : layout->n_linears, pieces);
    wn_pieces_add(pieces, &inside->small, sizeof inside->small);
    wn_pieces_add(pieces, inside->scales, wn_layout_input_total(layout) * (int64_t)sizeof(float));
    wn_pieces_add(pieces, inside->rest, inside->rest_bytes);
}

void wn_inside_give(const struct wn_inside *inside, const struct wn_between *between, int64_t block)
{
    between->compressor->restored = true;
    if (inside->place.part < WN_PART_LINEARS)
        return;
    give_scales(inside, &between->subject->model->layout, between->compressor);
    unpack_rest(inside, between, block);
}

int64_t wn_inside_bytes(const struct wn_run *run, const struct wn_point *point)
{
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_layout *layout = &prepared->model->layout;
    int64_t sample = wn_sequences_tokens(&prepared->sample);
    int64_t floats = wn_model_input_floats(prepared->model, sample) + wn_layout_input_total(layout);
    int64_t bytes =
        2 * layout->n_inputs * (int64_t)sizeof(int64_t) + (int64_t)sizeof(struct wn_inside) * (1 + layout->n_linears);
    for (int i = 0; i < layout->n_inputs; i++)
        floats += layout->input_widths[i] * wn_recipe_moment_run(&point->recipe, layout->input_widths[i]);
    bytes += layout->n_inputs * wn_recipe_trials(&point->recipe) * (int64_t)sizeof(double);
    if (wn_point_collects(point))
        bytes += wn_statistics_bytes(layout, wn_recipe_needs(&point->recipe));
    if (wn_point_changes_linears(point))
        bytes += wn_block_bytes(prepared->model);
    if (wn_prepared_generates(run, point->model))
        bytes += wn_block_bytes(prepared->model);
    return bytes + floats * (int64_t)sizeof(float) + wn_point_rules_bytes(run, point);
}
