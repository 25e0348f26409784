/* SPDX-License-Identifier: Apache-2.0 */
/*
 * quantized.c: statistics of inputs behind quantized blocks, for levels of bits whose predecessors are not dense. It is
 * the dense pass over one calibration set, but that a block that statistics were taken of pushes nothing on: the same
 * block, quantized by these statistics, does.
 */
#include <math.h>

#include "inside.h"
#include "pass.h"
#include "walk.h"

/* States have names as those of the dense pass of a model of this number and more, which come after it. */
enum { FIRST_NUMBER = 1000 };

struct quantizing {
    struct wn_pass pass;
    struct wn_point point;
    struct wn_subject subject;       /* its reference has what the pass has summed so far */
    struct wn_allocation allocation; /* none: all linears have the bits of the recipe */
    struct wn_workspace workspace;   /* of no use under dense propagation */
    struct wn_collector collector;
    struct wn_compressor compressor;
    struct wn_block *dense; /* NULL: no unit is mine */
    char *title;
};

/* ---- what is summed ---- */

/* What the recipe needs, and second moments where layer errors are known by them. */
static unsigned needs_of(const struct wn_point *point, unsigned dense)
{
    return wn_recipe_needs(&point->recipe) | (dense & WN_NEED_SECOND_MOMENTS);
}

/* The rows of one model become others, in which the statistics of one set are still to be summed. */
static void open_reference(const struct wn_run *run, const struct wn_reference *from, const struct wn_point *point,
                           struct wn_reference *quantized)
{
    int64_t m = point->model, c = point->calibration;
    *quantized = *from;
    quantized->statistics = wn_alloc(run->n_models, sizeof *quantized->statistics);
    quantized->needs = wn_alloc(run->n_models, sizeof *quantized->needs);
    for (int64_t i = 0; i < run->n_models; i++) {
        quantized->statistics[i] = from->statistics[i];
        quantized->needs[i] = from->needs[i];
    }
    quantized->statistics[m] = wn_alloc_zero(run->n_calibrations, sizeof **quantized->statistics);
    quantized->needs[m] = wn_alloc_zero(run->n_calibrations, sizeof **quantized->needs);
    quantized->needs[m][c] = needs_of(point, from->needs[m][c]);
}

void wn_quantized_release(const struct wn_run *run, const struct wn_point *point, struct wn_reference *quantized)
{
    if (!quantized->statistics)
        return;
    struct wn_shared *own = quantized->statistics[point->model];
    for (int64_t c = 0; c < run->n_calibrations; c++)
        if (own[c].data)
            wn_par_shared_release(&own[c]);
    wn_free(own);
    wn_free(quantized->needs[point->model]);
    wn_free(quantized->statistics);
    wn_free(quantized->needs);
    *quantized = (struct wn_reference){0};
}

/* ---- units ---- */

static void plan_units(struct wn_pass *pass, int64_t calibration)
{
    const struct wn_sequences *sequences = &pass->prepared->calibrations[calibration].sequences;
    for (int64_t g = 0; g < wn_statistics_groups(sequences); g++)
        wn_units_add(&pass->units, sequences, -1, calibration, wn_statistics_group(sequences, g),
                     wn_statistics_group(sequences, g + 1), 1);
    pass->units.counted = pass->units.count;
    wn_units_deal(&pass->units);
    wn_pass_deal_slots(pass);
    pass->slot_bytes = wn_pass_statistics_bytes(pass, calibration);
}

static int64_t largest_unit(const struct wn_units *units)
{
    int64_t most = 0;
    for (int64_t u = 0; u < units->count; u++)
        most = units->items[u].tokens > most ? units->items[u].tokens : most;
    return most;
}

/* ---- memory ---- */

static wn_status open_shared(struct quantizing *q)
{
    struct wn_pass *pass = &q->pass;
    int64_t c = q->point.calibration, n_blocks = pass->prepared->model->config.n_blocks;
    WN_TRY(wn_par_shared_create(pass->par, NULL, n_blocks * wn_pass_statistics_bytes(pass, c), &pass->statistics[c]));
    return wn_par_shared_create(pass->par, NULL, pass->slots * pass->slot_bytes, &pass->partial);
}

/* On ranks with units. */
static void open_blocks(struct quantizing *q)
{
    struct wn_pass *pass = &q->pass;
    const struct wn_model *model = pass->prepared->model;
    pass->group_rows = wn_prepared_group_rows(pass->run, pass->model_index);
    pass->scratch = wn_alloc(wn_model_scratch(model, pass->group_rows), sizeof(float));
    pass->offset = wn_alloc(wn_prepared_offsets(pass->run, pass->model_index), sizeof(int64_t));
    pass->copy = wn_alloc(largest_unit(&pass->units) * model->config.hidden_size, sizeof(float));
    q->dense = wn_block_create(model);
    wn_collector_open(&q->collector, &q->subject);
    wn_compressor_open(&q->compressor, &q->subject);
    wn_pass_embed(pass);
}

static void close(struct quantizing *q)
{
    struct wn_pass *pass = &q->pass;
    if (q->dense) {
        wn_compressor_release(&q->compressor, q->subject.model);
        wn_collector_release(&q->collector, &q->subject);
        wn_block_destroy(&q->dense, q->subject.model);
    }
    wn_units_release(&pass->units);
    wn_free(pass->slot);
    wn_free(pass->scratch);
    wn_free(pass->offset);
    wn_free(pass->copy);
    wn_free(pass->outliers);
    wn_free(q->title);
    if (pass->partial.data)
        wn_par_shared_release(&pass->partial);
}

int64_t wn_quantized_bytes(const struct wn_run *run, const struct wn_point_search *search, int ranks, int64_t *shared)
{
    const struct wn_point *point = &run->grid.points[search->point];
    const struct wn_model *model = run->models[point->model].model;
    int64_t c = point->calibration, hidden = model->config.hidden_size, most = 0, rank = 0;
    *shared = 0;
    if (!search->settings.calibration_bits)
        return 0;
    unsigned *needs = wn_alloc_zero(run->n_calibrations, sizeof *needs);
    struct wn_pass pass = {.units = {.ranks = ranks},
                           .run = run,
                           .prepared = &run->models[point->model],
                           .model_index = point->model,
                           .needs = needs};
    needs[c] = needs_of(point, WN_NEED_SECOND_MOMENTS);
    plan_units(&pass, c);
    for (int r = 0; r < ranks; r++) {
        int64_t tokens = 0;
        for (int64_t u = 0; u < pass.units.count; u++)
            tokens += pass.units.items[u].owner == r ? pass.units.items[u].tokens : 0;
        most = tokens > most ? tokens : most;
    }
    rank = (most + largest_unit(&pass.units)) * hidden +
           wn_model_scratch(model, wn_prepared_group_rows(run, point->model));
    rank = rank * (int64_t)sizeof(float) + 2 * wn_block_bytes(model) + 10 * wn_layout_largest_linear(&model->layout) +
           wn_point_solver_bytes(&model->layout, &point->recipe) + wn_point_rules_bytes(run, point) +
           wn_prepared_offsets(run, point->model) * (int64_t)sizeof(int64_t);
    *shared = (model->config.n_blocks + pass.slots) * pass.slot_bytes;
    wn_units_release(&pass.units);
    wn_free(pass.slot);
    wn_free(needs);
    return rank;
}

/* ---- blocks ---- */

/* The block of `dense`, quantized by what was summed of it. */
static wn_status quantize(struct quantizing *q, int64_t b, struct wn_block *view)
{
    const struct wn_layout *layout = &q->subject.model->layout;
    int order[WN_MAX_LINEARS], count = wn_order_linears(layout, false, order);
    struct wn_made made;
    WN_TRY(wn_collector_gather(&q->collector, &q->subject, &q->workspace, b, q->dense));
    wn_compressor_begin(&q->compressor, &q->subject, &q->allocation, b, q->dense);
    WN_TRY(wn_compressor_scale(&q->compressor, &q->subject, &q->collector, &q->workspace));
    for (int k = 0; k < count; k++) {
        WN_TRY(wn_compressor_make(&q->compressor, &q->subject, &q->collector, order[k], &made));
        wn_made_release(&made);
        wn_collector_leave(&q->collector, layout, order, count, k);
    }
    wn_compressor_view(&q->compressor, layout, WN_ALL_STEPS, view);
    return WN_OK;
}

/* Behind the last block there is none to be calibrated. Collective. */
static wn_status walk_block(struct quantizing *q, int64_t b)
{
    struct wn_pass *pass = &q->pass;
    struct wn_block view;
    double start = wn_seconds();
    wn_status status = q->dense ? wn_model_load_block(q->subject.model, b, q->dense) : WN_OK;
    WN_TRY(wn_par_agree(pass->par, status));
    wn_pass_run_block(pass, q->dense, b);
    wn_par_barrier(pass->par); /* one rank of a node makes sums symmetric, all read them */
    bool pushes = q->dense && b + 1 < q->subject.model->config.n_blocks;
    if (pushes)
        status = quantize(q, b, &view);
    WN_TRY(wn_par_agree(pass->par, status));
    if (pushes)
        wn_pass_push(pass, &view);
    pass->last = wn_seconds() - start;
    return wn_pass_end_block(pass, b + 1);
}

static wn_status walk(struct quantizing *q)
{
    struct wn_pass *pass = &q->pass;
    WN_TRY(wn_par_agree(pass->par, open_shared(q)));
    if (wn_units_any(&pass->units, wn_par_rank(pass->par)))
        open_blocks(q);
    for (int64_t b = wn_pass_resume(pass); b < q->subject.model->config.n_blocks; b++)
        WN_TRY(walk_block(q, b));
    return wn_pass_keep(pass);
}

wn_status wn_quantized_make(struct wn_par *par, const struct wn_run *run, const struct wn_reference *reference,
                            int64_t search, struct wn_reference *quantized)
{
    const struct wn_point_search *of = &run->searches[search];
    struct quantizing q = {.point = run->grid.points[of->point]};
    int64_t m = q.point.model;
    q.point.propagation = WN_PROPAGATION_DENSE; /* statistics are read, here those behind quantized blocks */
    q.title = wn_format("pass behind blocks of %d bits of %s", of->settings.calibration_bits, q.point.key);
    open_reference(run, reference, &q.point, quantized);
    q.subject = (struct wn_subject){.run = run,
                                    .prepared = &run->models[m],
                                    .model = run->models[m].model,
                                    .point = &q.point,
                                    .reference = quantized};
    q.pass = (struct wn_pass){.par = par,
                              .units = {.par = par, .ranks = wn_par_size(par)},
                              .run = run,
                              .prepared = q.subject.prepared,
                              .model_index = m,
                              .number = FIRST_NUMBER + search,
                              .title = q.title,
                              .saver = run->saver,
                              .start = wn_seconds(),
                              .statistics = quantized->statistics[m],
                              .needs = quantized->needs[m],
                              .outliers = wn_alloc_zero(run->n_calibrations, sizeof *q.pass.outliers)};
    wn_level_apply(&(struct wn_level){.sparsity = (double)NAN, .bits = of->settings.calibration_bits}, &q.point.recipe);
    plan_units(&q.pass, q.point.calibration);
    wn_status status = walk(&q);
    close(&q);
    return status;
}
