/* SPDX-License-Identifier: Apache-2.0 */
/* resume.c: see resume.h. The state of a point is one file, and one for each kept block, which does not change. */
#include "inside.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Time may run so much slower than before. */
static const double MARGIN = 1.2;
/* What is left is done instead of saved when it takes no longer. */
static const double FINISH_SECONDS = 1;

/* ---- what is saved ---- */

enum { N_SUMS = 10 };

/* Small things, as one piece. */
struct small {
    double sums[N_SUMS], seconds[WN_STAGES], before, tokens;
    int64_t folded;
    uint64_t weights_hash;
};

static void add_hidden(struct wn_pieces *list, const struct wn_subject *subject, const struct wn_sequences *sequences,
                       float *hidden)
{
    wn_pieces_add(list, hidden,
                  wn_sequences_tokens(sequences) * subject->model->config.hidden_size * (int64_t)sizeof(float));
}

/* Calibration and sample are done with behind the last block, texts come then. */
static struct wn_pieces list_pieces(const struct wn_between *between, int64_t step, struct small *small)
{
    const struct wn_subject *subject = between->subject;
    const struct wn_evaluation *evaluation = between->evaluation;
    const struct wn_record *record = between->recorder->record;
    bool behind = step == subject->model->config.n_blocks;
    struct wn_pieces list = {0};
    wn_pieces_add(&list, small, sizeof *small);
    for (int f = 0; f < record->schema->n_fields; f++)
        wn_pieces_add(&list, record->data[f], record->schema->fields[f].bytes);
    for (int64_t e = 0; e < evaluation->n_sets; e++)
        add_hidden(&list, subject, &subject->prepared->sets[e].sequences, evaluation->hidden[e]);
    if (!behind)
        add_hidden(&list, subject, &subject->prepared->sample, between->sample->hidden);
    if (!behind && between->collector->sequences)
        add_hidden(&list, subject, between->collector->sequences, between->collector->hidden);
    if (!behind && between->collector->routing.hidden) {
        const struct wn_routing *routing = &between->collector->routing;
        add_hidden(&list, subject, &routing->choosing, routing->hidden);
        wn_pieces_add(&list, routing->experts, wn_routing_experts_bytes(subject->model, &routing->choosing));
    }
    for (int64_t e = 0; behind && e < evaluation->n_sets; e++) {
        const struct wn_generation *generation = subject->prepared->sets[e].generation;
        if (generation)
            wn_pieces_add(&list, evaluation->texts[e].records,
                          wn_generation_texts(generation) * wn_generated_record_bytes(generation));
    }
    return list;
}

static double *sum_of(struct wn_recorder *recorder, int index)
{
    double *const sums[N_SUMS] = {&recorder->weights,      &recorder->zeros,        &recorder->bits,
                                  &recorder->stored,       &recorder->squared_norm, &recorder->squared_error,
                                  &recorder->output_error, &recorder->linears,      &recorder->active,
                                  &recorder->active_bits};
    return sums[index];
}

static void take_small(const struct wn_between *between, double elapsed, struct small *small)
{
    memset(small, 0, sizeof *small);
    for (int i = 0; i < N_SUMS; i++)
        small->sums[i] = *sum_of(between->recorder, i);
    memcpy(small->seconds, between->seconds, sizeof small->seconds);
    small->before = *between->before + elapsed;
    small->tokens = between->workspace->tokens;
    small->folded = between->compressor->folded;
    small->weights_hash = between->recorder->weights_hash;
}

static void give_small(const struct wn_between *between, const struct small *small)
{
    for (int i = 0; i < N_SUMS; i++)
        *sum_of(between->recorder, i) = small->sums[i];
    memcpy(between->seconds, small->seconds, sizeof small->seconds);
    *between->before = small->before;
    between->workspace->tokens = small->tokens;
    between->compressor->folded = small->folded != 0;
    between->recorder->weights_hash = small->weights_hash;
}

static int64_t index_of(const struct wn_subject *subject)
{
    return subject->point - subject->run->grid.points;
}

static struct wn_state point_state(const struct wn_subject *subject, int64_t step, char name[WN_STATE_NAME])
{
    wn_state_point_name(index_of(subject), name);
    return (struct wn_state){.name = name,
                             .what = subject->point->key,
                             .point = index_of(subject),
                             .step = step,
                             .steps = subject->model->config.n_blocks};
}

/* ---- kept blocks ---- */

static void kept_name(int64_t point, int64_t block, char name[WN_STATE_NAME])
{
    snprintf(name, WN_STATE_NAME, "kept-%lld-%lld", (long long)point, (long long)block);
}

static struct wn_state kept_state(const struct wn_subject *subject, int64_t block, char name[WN_STATE_NAME])
{
    struct wn_state state = point_state(subject, block + 1, name);
    kept_name(state.point, block, name);
    state.point = -1;
    return state;
}

static wn_status save_kept(struct wn_resume *resume, const struct wn_between *between, int64_t step)
{
    wn_status status = WN_OK;
    for (; resume->kept < step && status == WN_OK; resume->kept += status == WN_OK) {
        char name[WN_STATE_NAME];
        struct wn_state state = kept_state(between->subject, resume->kept, name);
        int64_t bytes = wn_kept_blocks_pack(&between->evaluation->kept, resume->kept, NULL);
        struct wn_state_piece piece = {wn_alloc(bytes, 1), bytes};
        wn_kept_blocks_pack(&between->evaluation->kept, resume->kept, piece.data);
        status = wn_state_write(resume->saver, &state, &piece, 1);
        wn_free(piece.data);
    }
    return status;
}

static wn_status read_kept(struct wn_resume *resume, const struct wn_between *between, int64_t step)
{
    wn_status status = WN_OK;
    for (int64_t b = 0; b < step && status == WN_OK; b++) {
        char name[WN_STATE_NAME];
        struct wn_state state = kept_state(between->subject, b, name);
        struct wn_state_piece piece = {.bytes = wn_state_bytes(resume->saver, &state)};
        piece.data = wn_alloc(piece.bytes, 1);
        status = wn_state_read(resume->saver, &state, &piece, 1);
        if (status == WN_OK)
            wn_kept_blocks_unpack(&between->evaluation->kept, b, piece.data);
        wn_free(piece.data);
    }
    return status;
}

/* Only what is still to be generated needs them. */
static bool needs_kept(const struct wn_between *between, int64_t step)
{
    const struct wn_evaluation *evaluation = between->evaluation;
    if (!evaluation->generates || step < between->subject->model->config.n_blocks)
        return evaluation->generates;
    for (int64_t e = 0; e < evaluation->n_sets; e++)
        for (int64_t t = 0; t < evaluation->texts[e].n_texts; t++)
            if (wn_generated_count(&evaluation->texts[e], t) == 0)
                return true;
    return false;
}

/* Texts are part of the state behind the last block, made or not. */
static void open_texts(const struct wn_between *between, int64_t step)
{
    const struct wn_eval_set *sets = between->subject->prepared->sets;
    struct wn_evaluation *evaluation = between->evaluation;
    for (int64_t e = 0; step == between->subject->model->config.n_blocks && e < evaluation->n_sets; e++)
        if (sets[e].generation && wn_subject_wants(between->subject, e) && !evaluation->texts[e].records)
            wn_generated_init(&evaluation->texts[e], sets[e].generation);
}

/* ---- saving and reading ---- */

/* Where a point is: behind `step` blocks, or at a place inside the next one. */
struct where {
    int64_t step;
    struct wn_place place;
    double inside;
};

static void set_place(const struct where *where, struct wn_state *state)
{
    state->place[0] = where->place.part;
    state->place[1] = where->place.done;
    state->place[2] = where->place.groups;
    state->inside = where->inside;
}

/* Kept blocks first: the state says that they are there. */
static wn_status save(struct wn_resume *resume, const struct wn_between *between, const struct where *where)
{
    char name[WN_STATE_NAME];
    struct small small;
    struct wn_inside inside = {0};
    int64_t step = where->step;
    struct wn_state state = point_state(between->subject, step, name);
    set_place(where, &state);
    WN_TRY(wn_checkpoint_check(between->subject->model->checkpoint)); /* it may have changed behind the last load */
    open_texts(between, step);
    take_small(between, wn_seconds() - resume->start, &small);
    struct wn_pieces list = list_pieces(between, step, &small);
    if (where->place.part) {
        wn_inside_open(&inside, between, step, &where->place);
        wn_inside_list(&inside, between, &list);
    }
    wn_status status = needs_kept(between, step) ? save_kept(resume, between, step) : WN_OK;
    if (status == WN_OK)
        status = wn_state_write(resume->saver, &state, list.items, list.count);
    wn_inside_release(&inside);
    wn_free(list.items);
    resume->saved = wn_seconds();
    if (status != WN_OK)
        return status;
    resume->done = (double)step + where->inside;
    if (resume->saver->saved)
        resume->saver->saved(resume->saver->context);
    return WN_OK;
}

/* The last piece is as long as the state says. */
static void expect_rest(const struct wn_resume *resume, const struct wn_state *state, struct wn_inside *inside,
                        struct wn_pieces *list)
{
    int64_t rest = wn_state_bytes(resume->saver, state) - list->bytes;
    if (inside->place.part < WN_PART_LINEARS || rest <= 0)
        return;
    inside->rest_bytes = rest;
    inside->rest = wn_alloc(rest, 1);
    list->items[list->count - 1] = (struct wn_state_piece){inside->rest, rest};
}

static wn_status read(struct wn_resume *resume, const struct wn_between *between, const struct wn_state *state)
{
    struct small small;
    struct wn_inside inside = {0};
    const struct wn_place place = {state->place[0], state->place[1], state->place[2]};
    open_texts(between, state->step);
    struct wn_pieces list = list_pieces(between, state->step, &small);
    if (place.part) {
        wn_inside_expect(&inside, between, &place);
        wn_inside_list(&inside, between, &list);
        expect_rest(resume, state, &inside, &list);
    }
    wn_status status = wn_state_read(resume->saver, state, list.items, list.count);
    wn_free(list.items);
    if (status == WN_OK && place.part)
        wn_inside_give(&inside, between, state->step);
    wn_inside_release(&inside);
    WN_TRY(status);
    if (needs_kept(between, state->step)) {
        WN_TRY(read_kept(resume, between, state->step));
        resume->kept = state->step;
    }
    give_small(between, &small);
    return WN_OK;
}

int64_t wn_resume_begin(struct wn_resume *resume, const struct wn_between *between, struct wn_place *place)
{
    char name[WN_STATE_NAME];
    struct wn_state state = point_state(between->subject, 0, name);
    resume->start = resume->last = resume->saved = resume->place = wn_seconds();
    resume->n_blocks = state.steps;
    *place = (struct wn_place){0};
    if (!resume->saver)
        return 0;
    if (!wn_state_find(resume->saver, &state))
        return 0;
    wn_status status = read(resume, between, &state);
    if (status != WN_OK) {
        wn_log(WN_LOG_WARNING, "point %lld starts again, as what was saved of it cannot be used: %s",
               (long long)state.point, wn_error_message());
        return -1;
    }
    *place = (struct wn_place){state.place[0], state.place[1], state.place[2]};
    resume->begun = state.inside;
    resume->done = (double)state.step + state.inside;
    resume->last = resume->place = wn_seconds();
    if (resume->saver->resumed)
        resume->saver->resumed(resume->saver->context, state.point, resume->done, state.steps);
    return state.step;
}

/* ---- stopping ---- */

static double state_bytes(const struct wn_between *between, const struct wn_resume *resume)
{
    const struct wn_subject *subject = between->subject;
    double bytes = (double)wn_point_state_bytes(subject->run, index_of(subject));
    if (between->evaluation->generates)
        bytes -= (double)(resume->kept * wn_block_bytes(subject->model));
    return bytes;
}

/* What is left behind `done` blocks. Of the first block of a start its share says how long it takes. */
static double seconds_left(const struct wn_resume *resume, const struct wn_between *between, const struct where *where,
                           double now)
{
    double blocks = (double)resume->n_blocks, done = (double)where->step, block = resume->block;
    if (where->inside > resume->begun)
        block = fmax(block, (now - resume->last) / (where->inside - resume->begun));
    double share = resume->saver->share ? resume->saver->share[index_of(between->subject)] : (double)NAN;
    if (isnan(share)) /* no limit is known: only whether it is nearly done matters */
        share = 0.5;
    return (blocks - done) * block + share * blocks * block;
}

/* What is left is done although a stop is requested, when it fits into the time that the request leaves. That time may
 * turn out to be shorter: all is saved once before. */
static bool wants_saving(const struct wn_resume *resume, bool fits, double left, double now)
{
    if (now - resume->saved >= resume->saver->every)
        return true;
    return wn_par_stop_requested() && fits && left > FINISH_SECONDS && !resume->safe;
}

/* Saves, leaves or goes on; `next`: seconds to the next place where it can be left. */
static wn_status rest(struct wn_resume *resume, const struct wn_between *between, const struct where *where,
                      double next, double now)
{
    struct wn_saver *saver = resume->saver;
    bool asked = wn_par_stop_requested();
    double left = seconds_left(resume, between, where, now), end = fmin(saver->end, wn_par_stop_deadline());
    bool fits = now + MARGIN * left <= end || (asked && left <= FINISH_SECONDS);
    bool next_fits = now + MARGIN * next + state_bytes(between, resume) / saver->rate <= end;
    bool leaves = !fits && (asked || !next_fits);
    if (!leaves && !wants_saving(resume, fits, left, now))
        return WN_OK;
    wn_status status = save(resume, between, where);
    resume->safe = asked;
    if (status != WN_OK || !leaves)
        return status == WN_ERR_CHANGED ? status : WN_OK;
    saver->left = true;
    return wn_fail(WN_ERR_INTERRUPTED, "stopped behind block %lld of %lld, which is saved", (long long)where->step,
                   (long long)resume->n_blocks);
}

wn_status wn_resume_check(struct wn_resume *resume, const struct wn_between *between, int64_t done)
{
    const struct where where = {.step = done};
    double now = wn_seconds();
    resume->block = fmax(resume->block, now - resume->last);
    resume->piece = fmax(resume->piece, now - resume->place);
    resume->last = resume->place = now;
    resume->begun = 0;
    if (!resume->saver || resume->saver->broken)
        return WN_OK;
    double next = done < resume->n_blocks ? resume->piece : seconds_left(resume, between, &where, now);
    wn_status status = rest(resume, between, &where, next, now);
    resume->last = resume->place = wn_seconds();
    return status;
}

wn_status wn_resume_inside(struct wn_resume *resume, const struct wn_between *between, int64_t done,
                           const struct wn_place *place, double inside)
{
    const struct where where = {done, *place, inside};
    double now = wn_seconds(), saved = resume->saved;
    resume->piece = fmax(resume->piece, now - resume->place);
    resume->place = now;
    if (resume->saver->broken)
        return WN_OK;
    wn_status status = rest(resume, between, &where, resume->piece, now);
    resume->place = wn_seconds();
    if (resume->saved > saved) /* writing is no work of the block */
        resume->last += resume->place - now;
    return status;
}

bool wn_resume_has_to_stop(const struct wn_resume *resume, double seconds)
{
    const struct wn_saver *saver = resume->saver;
    return saver && !saver->broken && wn_seconds() + MARGIN * seconds > fmin(saver->end, wn_par_stop_deadline());
}

wn_status wn_resume_leave(struct wn_resume *resume, const struct wn_between *between)
{
    wn_status status = save(resume, between, &(struct where){.step = resume->n_blocks});
    if (status != WN_OK)
        return status == WN_ERR_CHANGED ? status : WN_OK;
    resume->saver->left = true;
    return wn_fail(WN_ERR_INTERRUPTED, "stopped behind all blocks, which are saved");
}

/* ---- all states of a point ---- */

void wn_point_forget(const struct wn_run *run, int64_t index)
{
    const struct wn_point *point = &run->grid.points[index];
    char name[WN_STATE_NAME];
    if (!run->saver)
        return;
    wn_state_point_name(index, name);
    wn_state_remove(run->saver, name);
    for (int64_t b = 0;
         wn_prepared_generates(run, point->model) && b < run->models[point->model].model->config.n_blocks; b++) {
        kept_name(index, b, name);
        wn_state_remove(run->saver, name);
    }
}

int64_t wn_point_state_bytes(const struct wn_run *run, int64_t index)
{
    const struct wn_point *point = &run->grid.points[index];
    const struct wn_prepared_model *prepared = &run->models[point->model];
    struct wn_generation_bytes texts;
    int64_t rows = wn_sequences_tokens(&prepared->sample);
    for (int64_t e = 0; e < run->n_sets; e++)
        rows += wn_sequences_tokens(&prepared->sets[e].sequences);
    if (wn_point_walks_calibration(point))
        rows += wn_sequences_tokens(&prepared->calibrations[point->calibration].sequences);
    wn_generation_bytes(run, point->model, &point->recipe, &texts);
    int64_t rules = prepared->model->config.n_blocks * wn_point_rules_bytes(run, point);
    return wn_inside_bytes(run, point) + wn_point_routes_bytes(run, point) +
           rows * prepared->model->config.hidden_size * (int64_t)sizeof(float) + wn_schema_bytes(&prepared->schema) +
           texts.records + (texts.kept ? texts.kept + rules : 0);
}
