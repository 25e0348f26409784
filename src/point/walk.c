/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.c: one walk down the decoder blocks. Load a block, collect what the method needs, compress its linears, push
 * the calibration and evaluation sequences through the compressed block, drop it; after the last block, score. Memory
 * is the hidden states of the sequences plus two blocks (dense and compressed), whatever the number of blocks. Where a
 * set has texts to be generated, the evaluated blocks are kept, all of them, until that is done. Between two blocks,
 * and at many places inside one, a point can be left, and another start goes on with it (resume.c).
 */
#include "inside.h"

struct walk {
    struct wn_subject subject;
    struct wn_allocation allocation;
    const struct wn_point_sink *sink; /* NULL: none */
    struct wn_block *dense;           /* the current block */
    struct wn_workspace workspace;
    struct wn_collector collector;
    struct wn_sample sample;
    struct wn_compressor compressor;
    struct wn_recorder recorder;
    struct wn_evaluation evaluation;
    struct wn_resume resume;
    double seconds[WN_STAGES], mark, before; /* before: seconds of earlier starts */
    struct wn_pauses pauses;
    struct wn_between between;
    int64_t block;
};

/* Time since the last call belongs to `stage`. */
static void clock_stage(struct walk *walk, enum wn_point_stage stage)
{
    double now = wn_seconds();
    walk->seconds[stage] += now - walk->mark;
    walk->mark = now;
}

/* Linears go to a sink, or evaluation sets through the blocks. */
static void open_walk(struct walk *walk)
{
    const struct wn_subject *subject = &walk->subject;
    walk->dense = wn_block_create(subject->model);
    wn_workspace_open(&walk->workspace, subject);
    wn_collector_open(&walk->collector, subject);
    wn_sample_open(&walk->sample, subject);
    wn_compressor_open(&walk->compressor, subject);
    wn_evaluation_open(&walk->evaluation, subject, walk->sink ? 0 : subject->run->n_sets);
    walk->workspace.pauses = walk->collector.pauses = walk->compressor.pauses =
        walk->resume.saver ? &walk->pauses : NULL;
}

/* What only the walk over the blocks needs; scoring comes after it. */
static void close_blocks(struct walk *walk)
{
    if (walk->dense)
        wn_block_destroy(&walk->dense, walk->subject.model);
    wn_workspace_release(&walk->workspace);
    wn_collector_release(&walk->collector, &walk->subject);
    wn_sample_release(&walk->sample);
    wn_compressor_release(&walk->compressor, walk->subject.model);
}

static void close_walk(struct walk *walk)
{
    close_blocks(walk);
    wn_evaluation_release(&walk->evaluation);
    wn_allocation_release(&walk->allocation);
}

/* ---- a block ---- */

static wn_status make_linear(struct walk *walk, int index)
{
    const struct wn_layout *layout = &walk->subject.model->layout;
    const struct wn_linear_info *linear = &layout->linears[index];
    const float *dense = walk->dense->linears[index];
    int64_t block_index = walk->compressor.block_index;
    struct wn_made made;
    WN_TRY(wn_compressor_make(&walk->compressor, &walk->subject, &walk->collector, index, &made));
    double error = wn_sample_error(&walk->sample, &walk->subject, index, dense, made.form.weight,
                                   walk->compressor.activations[index], walk->compressor.scales[linear->input]);
    const bool gone = walk->compressor.left_out[layout->input_branches[linear->input]];
    const int64_t packed = walk->evaluation.generates && !gone
                               ? wn_kept_blocks_take_linear(&walk->evaluation.kept, block_index, index, &made.form)
                               : 0;
    made.stored = gone ? 0 : packed ? packed : wn_stored_linear(&made.form);
    wn_recorder_take(&walk->recorder, &walk->subject, block_index, index, dense, &made, error);
    wn_status status = walk->sink ? walk->sink->take(walk->sink->context, block_index, index, &made.form) : WN_OK;
    wn_made_release(&made);
    return status;
}

/* The inputs of a step are calibrated anew on what the compressed linears before them make; those of the first have
 * their statistics. */
static wn_status collect_again(struct walk *walk, int step, int made, int all)
{
    const struct wn_place *from = &walk->pauses.from;
    struct wn_block view;
    bool goes_on = from->part == WN_PART_LINEARS && from->done == made;
    clock_stage(walk, WN_STAGE_COMPRESS);
    WN_TRY(wn_collector_again(&walk->collector, &walk->subject, &walk->workspace,
                              wn_compressor_view(&walk->compressor, &walk->subject.model->layout, step, &view), step,
                              goes_on ? from->groups : 0, made, all));
    clock_stage(walk, WN_STAGE_STATISTICS);
    return WN_OK;
}

static wn_status make_linears(struct walk *walk)
{
    const struct wn_model *model = walk->subject.model;
    const struct wn_layout *layout = &model->layout;
    bool by_input = wn_recipe_true_sequential(&walk->subject.point->recipe);
    int order[WN_MAX_LINEARS], all = wn_order_linears(layout, by_input, order);
    for (int k = (int)wn_pauses_done(walk->compressor.pauses, WN_PART_LINEARS); k < all; k++) {
        const struct wn_linear_info *linear = &layout->linears[order[k]];
        int step = layout->input_steps[linear->input];
        if (by_input && k > 0 && layout->input_steps[layout->linears[order[k - 1]].input] != step)
            WN_TRY(collect_again(walk, step, k, all));
        if (!wn_is_in(&model->config, linear->where, walk->block))
            continue;
        WN_TRY(make_linear(walk, order[k]));
        wn_collector_leave(&walk->collector, layout, order, all, k);
        WN_TRY(wn_pause(walk->compressor.pauses, (struct wn_place){.part = WN_PART_LINEARS, .done = k + 1}, all));
    }
    return WN_OK;
}

/* Calibration sequences see the block that the next one is calibrated behind; behind the last there is none. */
static wn_status push(struct walk *walk, const struct wn_block *view)
{
    const struct wn_subject *subject = &walk->subject;
    struct wn_collector *collector = &walk->collector;
    bool calibrates = collector->sequences && walk->block + 1 < subject->model->config.n_blocks;
    struct wn_pushing pushing = {.part = WN_PART_PUSH,
                                 .all = calibrates ? wn_sequences_parts(collector->sequences) : 0};
    for (int64_t e = 0; e < walk->evaluation.n_sets; e++)
        if (wn_subject_wants(subject, e))
            pushing.all += wn_sequences_parts(&subject->prepared->sets[e].sequences);
    if (calibrates) {
        const struct wn_block *next = subject->point->propagation == WN_PROPAGATION_DENSE ? walk->dense : view;
        WN_TRY(wn_workspace_push_set(&walk->workspace, subject->model, next, collector->sequences, collector->hidden,
                                     &pushing));
    }
    return wn_evaluation_push(&walk->evaluation, subject, &walk->workspace, walk->block, view,
                              walk->compressor.activations, &pushing);
}

/* What is done of the first block that a start walks is left out. */
static wn_status walk_block(struct walk *walk, int64_t block_index)
{
    const struct wn_subject *subject = &walk->subject;
    const int64_t part = walk->pauses.from.part;
    struct wn_block view;
    walk->block = block_index;
    WN_TRY(wn_model_load_block(subject->model, block_index, walk->dense));
    clock_stage(walk, WN_STAGE_LOAD);
    if (part <= WN_PART_ROUTE)
        WN_TRY(wn_routing_choose(&walk->collector.routing, subject, &walk->workspace, walk->dense));
    WN_TRY(wn_collector_gather(&walk->collector, subject, &walk->workspace, block_index, walk->dense));
    if (part <= WN_PART_GATHER)
        wn_sample_push(&walk->sample, subject, &walk->workspace, walk->dense);
    clock_stage(walk, WN_STAGE_STATISTICS);
    wn_compressor_begin(&walk->compressor, subject, &walk->allocation, block_index, walk->dense);
    if (part <= WN_PART_SCALE)
        WN_TRY(wn_compressor_scale(&walk->compressor, subject, &walk->collector, &walk->workspace));
    if (part <= WN_PART_LINEARS)
        WN_TRY(make_linears(walk));
    wn_compressor_view(&walk->compressor, &subject->model->layout, WN_ALL_STEPS, &view);
    if (part <= WN_PART_LINEARS)
        wn_recorder_vectors(&walk->recorder, subject, &walk->compressor, &view);
    clock_stage(walk, WN_STAGE_COMPRESS);
    WN_TRY(push(walk, &view));
    clock_stage(walk, WN_STAGE_FORWARD);
    walk->pauses.from = (struct wn_place){0};
    return WN_OK;
}

/* What stages ask at places where the point can be left. */
static wn_status pause_walk(void *context, const struct wn_place *place, int64_t all)
{
    static const enum wn_point_stage stages[WN_PARTS] = {[WN_PART_ROUTE] = WN_STAGE_STATISTICS,
                                                         [WN_PART_GATHER] = WN_STAGE_STATISTICS,
                                                         [WN_PART_SCALE] = WN_STAGE_COMPRESS,
                                                         [WN_PART_LINEARS] = WN_STAGE_COMPRESS,
                                                         [WN_PART_PUSH] = WN_STAGE_FORWARD};
    struct walk *walk = context;
    double first = wn_point_asks_routes(walk->subject.point) ? WN_PART_ROUTE : WN_PART_GATHER;
    double parts = WN_PARTS - first, done = (double)place->part - first + (double)place->done / (double)(all + 1);
    clock_stage(walk, place->groups ? WN_STAGE_STATISTICS : stages[place->part]);
    wn_status status = wn_resume_inside(&walk->resume, &walk->between, walk->block, place, done / parts);
    walk->mark = wn_seconds();
    return status;
}

/* ---- the point ---- */

static struct wn_between between_of(struct walk *walk)
{
    return (struct wn_between){.subject = &walk->subject,
                               .workspace = &walk->workspace,
                               .collector = &walk->collector,
                               .sample = &walk->sample,
                               .compressor = &walk->compressor,
                               .recorder = &walk->recorder,
                               .evaluation = &walk->evaluation,
                               .seconds = walk->seconds,
                               .before = &walk->before};
}

/* The blocks that earlier starts have done. */
static int64_t resume(struct walk *walk)
{
    int64_t first = wn_resume_begin(&walk->resume, &walk->between, &walk->pauses.from);
    if (first < 0) { /* half read */
        close_walk(walk);
        wn_record_clear(walk->recorder.record);
        open_walk(walk);
        first = 0;
    }
    walk->mark = wn_seconds();
    return first;
}

static wn_status walk_blocks(struct walk *walk)
{
    const struct wn_subject *subject = &walk->subject;
    int64_t n_blocks = subject->model->config.n_blocks;
    WN_TRY(wn_evaluation_check(&walk->evaluation, subject));
    int64_t first = resume(walk);
    WN_TRY(wn_point_allocate(subject->run, subject->reference, subject->point, &walk->allocation));
    wn_recorder_allocation(&walk->recorder, subject, &walk->allocation);
    for (int64_t b = first; b < n_blocks; b++) {
        WN_TRY(walk_block(walk, b));
        wn_watch(subject->run, subject->point - subject->run->grid.points, b + 1, n_blocks);
        WN_TRY(wn_resume_check(&walk->resume, &walk->between, b + 1));
        walk->mark = wn_seconds();
    }
    close_blocks(walk);
    return WN_OK;
}

static wn_status walk_model(struct walk *walk)
{
    const struct wn_subject *subject = &walk->subject;
    WN_TRY(walk_blocks(walk));
    double tokens = walk->workspace.tokens;
    wn_status generated;
    do {
        walk->workspace.tokens = tokens; /* texts that are made count anew */
        generated = wn_evaluation_generate(&walk->evaluation, subject, &walk->resume, &walk->workspace.tokens);
        clock_stage(walk, WN_STAGE_GENERATE);
        if (generated == WN_ERR_INTERRUPTED) {
            walk->workspace.tokens = tokens;
            WN_TRY(wn_resume_leave(&walk->resume, &walk->between));
        }
    } while (generated == WN_ERR_INTERRUPTED); /* it could not be saved: the rest of them */
    wn_status status = wn_evaluation_score(&walk->evaluation, subject, generated, &walk->recorder);
    clock_stage(walk, WN_STAGE_SCORE);
    return status;
}

static wn_status compute(const struct wn_run *run, const struct wn_reference *reference, int64_t index,
                         const struct wn_point_sink *sink, struct wn_record *record, struct wn_point_report *report)
{
    const struct wn_point *point = &run->grid.points[index];
    struct walk walk = {.subject = {.run = run,
                                    .prepared = &run->models[point->model],
                                    .model = run->models[point->model].model,
                                    .point = point,
                                    .reference = reference},
                        .sink = sink,
                        .recorder = {.record = record},
                        .resume = {.saver = sink ? NULL : run->saver},
                        .pauses = {.at = pause_walk, .context = &walk}};
    int64_t before = wn_memory_bytes();
    double start = walk.mark = wn_seconds();
    wn_memory_reset_peak();
    walk.between = between_of(&walk);
    open_walk(&walk);
    wn_status status = walk_model(&walk);
    if (status != WN_OK && status != WN_ERR_INTERRUPTED)
        wn_recorder_reason(&walk.recorder, &walk.subject);
    wn_status unchanged = wn_checkpoint_check(walk.subject.model->checkpoint); /* the head was read behind the blocks */
    if (unchanged != WN_OK) {
        status = unchanged;
        wn_record_set_text(record, run->fields.reason, wn_error_message());
    }
    *report = (struct wn_point_report){
        .seconds = wn_seconds() - start + walk.before, .tokens = walk.workspace.tokens, .saved = walk.resume.done};
    wn_recorder_finish(&walk.recorder, &walk.subject, &walk.allocation, walk.seconds, report,
                       wn_memory_peak() - before);
    close_walk(&walk);
    return status;
}

wn_status wn_point_compute(const struct wn_run *run, const struct wn_reference *reference, int64_t point,
                           struct wn_record *record, struct wn_point_report *report)
{
    return compute(run, reference, point, NULL, record, report);
}

wn_status wn_point_compress(const struct wn_run *run, const struct wn_reference *reference, int64_t point,
                            const struct wn_point_sink *sink, struct wn_record *record)
{
    struct wn_point_report report;
    return compute(run, reference, point, sink, record, &report);
}
