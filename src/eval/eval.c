/* SPDX-License-Identifier: Apache-2.0 */
/* The table of kinds, and the core: final hidden states to numbers per target, numbers to fields. */
#include "protocol.h"

#include <winnow/nn.h>

#include <cjson/cJSON.h>

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- table ---- */

#define WN_EVAL(name) extern const struct wn_eval wn_eval_##name;
#include "eval_list.h"
#undef WN_EVAL

static const struct wn_eval *const table[] = {
#define WN_EVAL(name) &wn_eval_##name,
#include "eval_list.h"
#undef WN_EVAL
};

enum { KINDS = sizeof table / sizeof table[0] };

const struct wn_eval *const *wn_eval_table(int64_t *count)
{
    *count = KINDS;
    return table;
}

const struct wn_eval *wn_eval_find(const char *name)
{
    for (int k = 0; k < KINDS; k++)
        if (strcmp(table[k]->name, name) == 0)
            return table[k];
    return NULL;
}

/* ---- sets ---- */

static void clear_set(struct wn_eval_set *set)
{
    *set = (struct wn_eval_set){0};
    set->field_loss = set->field_kl = set->field_js = set->field_top1 = -1;
    set->field_top_ids = set->field_top_values = set->field_log_sum_exp = set->field_target_logit = -1;
    for (int i = 0; i < WN_SUMMARIES; i++)
        set->field_summary[i] = -1;
}

void wn_eval_set_init(struct wn_eval_set *set)
{
    clear_set(set);
    wn_sequences_init(&set->sequences);
}

void wn_eval_set_release(struct wn_eval_set *set)
{
    if (set->kind && set->state)
        set->kind->release(set->state);
    wn_sequences_release(&set->sequences);
    if (set->generation)
        wn_generation_release(set->generation);
    wn_free(set->generation);
    wn_free(set->efficiency);
    wn_free(set->target_row);
    wn_free(set->target_id);
    wn_free(set->target_place);
    wn_free(set->path);
    wn_free(set->facts);
    wn_free(set->protocol);
    clear_set(set);
}

/* ---- common prefixes ---- */

static bool may_share(const struct wn_model *model, const struct wn_eval_set *set)
{
    bool may = strcmp(set->kind->section, "tasks") == 0 && !set->divergence && set->top == 0;

    for (int64_t s = 0; may && s < set->sequences.n_sequences; s++)
        may = set->sequences.offset[s + 1] - set->sequences.offset[s] <= wn_rope_limit(&model->config.rope);
    return may;
}

/* A target by its row, and by its number among equal rows. */
struct placed {
    int64_t row, number;
};

static int compare_placed(const void *a, const void *b)
{
    const struct placed *left = a, *right = b;

    if (left->row != right->row)
        return left->row < right->row ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

/* Puts the targets in the order of their rows. */
static void place_targets(struct wn_eval_set *set)
{
    int64_t n = set->n_targets;
    struct placed *placed = wn_alloc(n, sizeof *placed);
    int32_t *ids = wn_alloc(n, sizeof *ids);

    for (int64_t t = 0; t < n; t++)
        placed[t] = (struct placed){set->target_row[t], t};
    qsort(placed, (size_t)n, sizeof *placed, compare_placed);
    set->target_place = wn_alloc(n, sizeof *set->target_place);
    for (int64_t i = 0; i < n; i++) {
        set->target_row[i] = placed[i].row;
        ids[i] = set->target_id[placed[i].number];
        set->target_place[placed[i].number] = i;
    }
    wn_free(set->target_id);
    set->target_id = ids;
    wn_free(placed);
}

void wn_eval_share(const struct wn_model *model, struct wn_eval_set *set)
{
    if (!may_share(model, set) || !wn_sequences_share(&set->sequences, set->target_row, set->n_targets))
        return;
    place_targets(set);
    char *protocol = wn_format("%s; common prefixes run once: %lld tokens as written, %lld run", set->protocol,
                               (long long)set->sequences.written, (long long)wn_sequences_tokens(&set->sequences));
    wn_free(set->protocol);
    set->protocol = protocol;
}

/* Losses in the order in which the kind added its targets. */
static void unplace_scores(const struct wn_eval_set *set, const struct wn_target_scores *from,
                           struct wn_target_scores *scores)
{
    *scores = (struct wn_target_scores){0};
    scores->loss = wn_alloc(set->n_targets, sizeof *scores->loss);
    scores->greedy = wn_alloc(set->n_targets, sizeof *scores->greedy);
    for (int64_t t = 0; t < set->n_targets; t++) {
        scores->loss[t] = from->loss[set->target_place[t]];
        scores->greedy[t] = from->greedy[set->target_place[t]];
    }
}

/* ---- fields ---- */

static int64_t logit_targets(const struct wn_eval_set *set)
{
    if (set->top <= 0)
        return 0;
    return set->logit_targets < set->n_targets ? set->logit_targets : set->n_targets;
}

static void summary_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    static const struct {
        const char *name, *unit, *description;
    } rows[] = {
#define X(name, unit, description) {#name, unit, description},
        WN_SUMMARY_LIST(X)
#undef X
    };

    for (int i = 0; i < WN_SUMMARIES; i++)
        set->field_summary[i] =
            wn_add_field(schema, set, "scores", rows[i].name, WN_FIELD_F64, 0, NULL, rows[i].unit, rows[i].description);
}

/* Which text each target is: known before the first point. */
static void token_constants(const struct wn_eval_set *set, struct wn_schema *schema, int axis)
{
    int64_t n = set->n_targets, *sequence = wn_target_sequences(set);
    int32_t *numbers = wn_alloc(n, sizeof *numbers), *positions = wn_alloc(n, sizeof *positions);

    for (int64_t t = 0; t < n; t++) {
        numbers[t] = (int32_t)sequence[t];
        positions[t] = (int32_t)(set->target_row[t] - set->sequences.offset[sequence[t]]);
    }
    wn_add_constant(schema, set, "tokens", "token_id", 1, &axis, "id of the token that came next", set->target_id);
    wn_add_constant(schema, set, "tokens", "sequence", 1, &axis,
                    "sequence of the token, from 0: standard errors of kl, js and top1 are clustered by it", numbers);
    wn_add_constant(
        schema, set, "tokens", "position", 1, &axis,
        "row of its sequence behind which the token comes, from 0: it is predicted from position + 1 tokens",
        positions);
    wn_free(sequence);
    wn_free(numbers);
    wn_free(positions);
}

static void token_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    char *name = wn_format("token_%s", set->name);
    int axis = wn_schema_dim(schema, name, set->n_targets, NULL);

    set->field_loss =
        wn_add_field(schema, set, "tokens", "loss", WN_FIELD_F32, 1, &axis, "nat", "-ln p of the token that came next");
    set->field_kl = wn_add_field(schema, set, "tokens", "kl", WN_FIELD_F32, 1, &axis, "nat",
                                 "KL(dense||compressed) of the next-token distributions");
    set->field_js = wn_add_field(schema, set, "tokens", "js", WN_FIELD_F32, 1, &axis, "nat",
                                 "Jensen-Shannon divergence of the next-token distributions, at most ln 2");
    set->field_top1 = wn_add_field(schema, set, "tokens", "top1", WN_FIELD_U8, 1, &axis, "1",
                                   "1 where both models have the same argmax");
    token_constants(set, schema, axis);
    wn_free(name);
}

static void logit_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    char *token = wn_format("logit_token_%s", set->name), *top = wn_format("top_%lld", (long long)set->top);
    int dims[2] = {wn_schema_dim(schema, token, set->logit_targets, NULL), wn_schema_dim(schema, top, set->top, NULL)};

    set->field_top_ids = wn_add_field(schema, set, "logits", "ids", WN_FIELD_I32, 2, dims, "1",
                                      "token ids of the largest logits, falling");
    set->field_top_values =
        wn_add_field(schema, set, "logits", "values", WN_FIELD_F32, 2, dims, "nat", "the largest logits, falling");
    set->field_log_sum_exp = wn_add_field(schema, set, "logits", "log_sum_exp", WN_FIELD_F64, 1, dims, "nat",
                                          "ln of the sum of exp over all logits: ln p = logit - log_sum_exp");
    set->field_target_logit = wn_add_field(schema, set, "logits", "target_logit", WN_FIELD_F32, 1, dims, "nat",
                                           "logit of the token that came next");
    wn_add_constant(schema, set, "logits", "token_id", 1, dims, "id of the token that came next", set->target_id);
    wn_free(token);
    wn_free(top);
}

void wn_eval_fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    set->logit_targets = logit_targets(set);
    if (set->divergence) {
        token_fields(set, schema);
        summary_fields(set, schema);
    }
    if (set->logit_targets > 0)
        logit_fields(set, schema);
    set->kind->fields(set, schema);
}

/* ---- scores ---- */

void wn_target_scores_init(struct wn_target_scores *scores, const struct wn_eval_set *set)
{
    int64_t n = set->n_targets, m = logit_targets(set);

    *scores = (struct wn_target_scores){0};
    scores->loss = wn_alloc(n, sizeof *scores->loss);
    scores->greedy = wn_alloc(n, sizeof *scores->greedy);
    if (set->divergence) {
        scores->kl = wn_alloc(n, sizeof *scores->kl);
        scores->js = wn_alloc(n, sizeof *scores->js);
        scores->top1 = wn_alloc(n, sizeof *scores->top1);
    }
    if (m > 0) {
        scores->top_ids = wn_alloc(m * set->top, sizeof *scores->top_ids);
        scores->top_values = wn_alloc(m * set->top, sizeof *scores->top_values);
        scores->log_sum_exp = wn_alloc(m, sizeof *scores->log_sum_exp);
        scores->target_logit = wn_alloc(m, sizeof *scores->target_logit);
    }
}

void wn_target_scores_release(struct wn_target_scores *scores)
{
    wn_free(scores->loss);
    wn_free(scores->greedy);
    wn_free(scores->kl);
    wn_free(scores->js);
    wn_free(scores->top1);
    wn_free(scores->top_ids);
    wn_free(scores->top_values);
    wn_free(scores->log_sum_exp);
    wn_free(scores->target_logit);
    *scores = (struct wn_target_scores){0};
}

int64_t wn_target_scores_bytes(const struct wn_eval_set *set)
{
    int64_t copies = !set->target_place ? 1 : set->kind->compares ? 3 : 2;
    int64_t per_target =
        copies * (int64_t)(sizeof(double) + 1) + (set->divergence ? (int64_t)(2 * sizeof(double) + 1) : 0);
    int64_t per_logit =
        set->top * (int64_t)(sizeof(int32_t) + sizeof(float)) + (int64_t)(sizeof(double) + sizeof(float));

    return set->n_targets * per_target + logit_targets(set) * per_logit;
}

/* ---- chunks ---- */

/* First target whose row is not below `row`. */
static int64_t first_target(const struct wn_eval_set *set, int64_t row)
{
    int64_t low = 0, high = set->n_targets;

    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (set->target_row[middle] < row)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* First packed row of a chunk. */
static int64_t chunk_row(const struct wn_eval_set *set, int64_t chunk)
{
    return set->sequences.offset[set->sequences.chunk[chunk]];
}

int64_t wn_eval_chunk_targets(const struct wn_eval_set *set, int64_t chunk, int64_t *first)
{
    *first = first_target(set, chunk_row(set, chunk));
    return first_target(set, chunk_row(set, chunk + 1)) - *first;
}

void wn_eval_dense_states(const struct wn_model *model, const struct wn_eval_set *set, int64_t chunk,
                          const float *hidden, float *states)
{
    int64_t first, n = wn_eval_chunk_targets(set, chunk, &first), width = model->config.hidden_size;
    int64_t row = chunk_row(set, chunk);

    for (int64_t t = 0; t < n; t++)
        memcpy(states + t * width, hidden + (set->target_row[first + t] - row) * width, (size_t)width * sizeof *states);
    wn_model_final_norm(model, states, n, states);
}

/* ---- head tiles ---- */

enum { MOST_TILES = 8 };

/* Rows of a head tile: the largest power of two up to 256 whose logits take at most 128 MiB, at least 16. */
static int64_t tile_rows(int64_t vocabulary)
{
    int64_t rows = 256;

    while (rows > 16 && rows * vocabulary * (int64_t)sizeof(float) > (int64_t)128 << 20)
        rows /= 2;
    return rows;
}

/* Tiles that are multiplied together, so that many threads have enough to do: up to the 8 of a chunk. */
static int64_t tiles_together(void)
{
    int64_t tiles = omp_get_max_threads() / 2;

    return tiles < 1 ? 1 : tiles > MOST_TILES ? MOST_TILES : tiles;
}

struct tile {
    const struct wn_model *model;
    const struct wn_eval_set *set;
    int64_t most;                /* rows there is room for: those of one or several tiles */
    int64_t rows;                /* distinct rows taken */
    int64_t *first;              /* [rows + 1]: targets first[r] .. first[r+1]-1 read row r */
    float *states, *logits;      /* [rows, hidden_size], [rows, vocabulary] */
    float *dense, *dense_logits; /* the same of the dense model; NULL without divergence */
    float *scratch;              /* of wn_model_logits */
};

static void tile_create(struct tile *tile, const struct wn_model *model, const struct wn_eval_set *set, bool divergence)
{
    int64_t width = model->config.hidden_size, vocabulary = model->config.vocab_size;
    int64_t rows = tiles_together() * tile_rows(vocabulary);

    *tile = (struct tile){.model = model, .set = set, .most = rows};
    tile->first = wn_alloc(rows + 1, sizeof *tile->first);
    tile->states = wn_alloc(rows * width, sizeof(float));
    tile->logits = wn_alloc(rows * vocabulary, sizeof(float));
    tile->scratch = wn_alloc(wn_model_head_scratch(model), sizeof(float));
    if (divergence) {
        tile->dense = wn_alloc(rows * width, sizeof(float));
        tile->dense_logits = wn_alloc(rows * vocabulary, sizeof(float));
    }
}

static void tile_release(struct tile *tile)
{
    wn_free(tile->first);
    wn_free(tile->states);
    wn_free(tile->logits);
    wn_free(tile->scratch);
    wn_free(tile->dense);
    wn_free(tile->dense_logits);
}

int64_t wn_eval_scratch_bytes(const struct wn_model *model, bool divergence)
{
    int64_t rows = tiles_together() * tile_rows(model->config.vocab_size);
    int64_t per_row = (model->config.hidden_size + model->config.vocab_size) * (int64_t)sizeof(float);

    return rows * per_row * (divergence ? 2 : 1) + (rows + 1) * (int64_t)sizeof(int64_t) +
           wn_model_head_scratch(model) * (int64_t)sizeof(float);
}

/* Takes targets from `at` on, as many rows as there is room for, targets of one row together; returns the target
 * behind. */
static int64_t tile_take(struct tile *tile, int64_t at, int64_t end)
{
    const int64_t *row = tile->set->target_row;

    tile->rows = 0;
    while (at < end && tile->rows < tile->most) {
        tile->first[tile->rows++] = at;
        do
            at++;
        while (at < end && row[at] == row[at - 1]);
    }
    tile->first[tile->rows] = at;
    return at;
}

/* Logits of both models, by the same tiles: equal states give equal bits. */
static void tile_logits(struct tile *tile, int64_t chunk, int64_t chunk_first, const float *hidden,
                        const float *dense_states)
{
    int64_t width = tile->model->config.hidden_size, row = chunk_row(tile->set, chunk);
    size_t bytes = (size_t)width * sizeof(float);

    for (int64_t r = 0; r < tile->rows; r++) {
        int64_t t = tile->first[r];
        memcpy(tile->states + r * width, hidden + (tile->set->target_row[t] - row) * width, bytes);
        if (tile->dense)
            memcpy(tile->dense + r * width, dense_states + (t - chunk_first) * width, bytes);
    }
    wn_model_final_norm(tile->model, tile->states, tile->rows, tile->states);
    int64_t run[MOST_TILES + 1] = {0}, n_runs = 0, step = tile_rows(tile->model->config.vocab_size);
    while (run[n_runs] < tile->rows) {
        int64_t end = run[n_runs] + step;
        run[++n_runs] = end < tile->rows ? end : tile->rows;
    }
    wn_model_logits_of_runs(tile->model, tile->states, n_runs, run, tile->logits, tile->scratch);
    if (tile->dense)
        wn_model_logits_of_runs(tile->model, tile->dense, n_runs, run, tile->dense_logits, tile->scratch);
}

static void keep_logits(const struct wn_eval_set *set, const float *logits, int64_t vocabulary, double log_sum_exp,
                        int64_t target, struct wn_target_scores *scores)
{
    wn_top_k(logits, vocabulary, set->top, scores->top_values + target * set->top, scores->top_ids + target * set->top);
    scores->log_sum_exp[target] = log_sum_exp;
    scores->target_logit[target] = logits[set->target_id[target]];
}

static void score_row(const struct tile *tile, int64_t r, struct wn_target_scores *scores)
{
    const struct wn_eval_set *set = tile->set;
    int64_t vocabulary = tile->model->config.vocab_size, logit_count = scores->top_ids ? logit_targets(set) : 0;
    const float *q = tile->logits + r * vocabulary;
    double log_sum_exp = wn_log_sum_exp(q, vocabulary), kl = 0, js = 0;
    int64_t best = wn_argmax(q, vocabulary);
    bool top1 = false;

    if (tile->dense) {
        const float *p = tile->dense_logits + r * vocabulary;
        wn_row_divergence(p, wn_log_sum_exp(p, vocabulary), q, log_sum_exp, vocabulary, &kl, &js);
        top1 = wn_argmax(p, vocabulary) == best;
    }
    for (int64_t t = tile->first[r]; t < tile->first[r + 1]; t++) {
        scores->loss[t] = log_sum_exp - (double)q[set->target_id[t]];
        scores->greedy[t] = best == set->target_id[t];
        if (tile->dense) {
            scores->kl[t] = kl;
            scores->js[t] = js;
            scores->top1[t] = top1;
        }
        if (t < logit_count)
            keep_logits(set, q, vocabulary, log_sum_exp, t, scores);
    }
}

void wn_eval_score_chunk(const struct wn_model *model, const struct wn_eval_set *set, int64_t chunk,
                         const float *hidden, const float *dense_states, struct wn_target_scores *scores)
{
    int64_t first, n = wn_eval_chunk_targets(set, chunk, &first);
    struct tile tile;

    if (n == 0)
        return;
    tile_create(&tile, model, set, set->divergence && dense_states);
    for (int64_t at = first; at < first + n;) {
        at = tile_take(&tile, at, first + n);
        tile_logits(&tile, chunk, first, hidden, dense_states);
#pragma omp parallel for schedule(dynamic, 4)
        for (int64_t r = 0; r < tile.rows; r++)
            score_row(&tile, r, scores);
    }
    tile_release(&tile);
}

/* ---- summaries ---- */

static void set_field(struct wn_record *record, int field, double value)
{
    *wn_record_f64(record, field) = value;
}

/* Six fields from fields[0]: mean, standard error, median, 90th and 99th percentile, maximum. */
static void summarize(const double *values, const int64_t *sequence, int64_t n, const int *fields,
                      struct wn_record *record)
{
    double *sorted = wn_alloc(n, sizeof *sorted), mean, standard_error;

    memcpy(sorted, values, (size_t)n * sizeof *sorted);
    wn_sort_doubles(sorted, n);
    wn_clustered_mean(values, sequence, n, &mean, &standard_error);
    set_field(record, fields[0], mean);
    set_field(record, fields[1], standard_error);
    set_field(record, fields[2], wn_percentile(sorted, n, 0.5));
    set_field(record, fields[3], wn_percentile(sorted, n, 0.9));
    set_field(record, fields[4], wn_percentile(sorted, n, 0.99));
    set_field(record, fields[5], wn_percentile(sorted, n, 1));
    wn_free(sorted);
}

static void finish_divergence(const struct wn_eval_set *set, const struct wn_target_scores *scores,
                              struct wn_record *record)
{
    int64_t n = set->n_targets, *sequence = wn_target_sequences(set);
    double *agreement = wn_alloc(n, sizeof *agreement), mean, standard_error;

    for (int64_t t = 0; t < n; t++) {
        wn_record_f32(record, set->field_loss)[t] = (float)scores->loss[t];
        wn_record_f32(record, set->field_kl)[t] = (float)scores->kl[t];
        wn_record_f32(record, set->field_js)[t] = (float)scores->js[t];
        wn_record_u8(record, set->field_top1)[t] = scores->top1[t];
        agreement[t] = scores->top1[t];
    }
    summarize(scores->kl, sequence, n, set->field_summary + WN_SUMMARY_kl_mean, record);
    summarize(scores->js, sequence, n, set->field_summary + WN_SUMMARY_js_mean, record);
    wn_clustered_mean(agreement, sequence, n, &mean, &standard_error);
    set_field(record, set->field_summary[WN_SUMMARY_top1_agreement], mean);
    set_field(record, set->field_summary[WN_SUMMARY_top1_agreement_stderr], standard_error);
    wn_free(agreement);
    wn_free(sequence);
}

static void finish_logits(const struct wn_eval_set *set, const struct wn_target_scores *scores,
                          struct wn_record *record)
{
    size_t m = (size_t)set->logit_targets, all = m * (size_t)set->top;

    memcpy(wn_record_i32(record, set->field_top_ids), scores->top_ids, all * sizeof *scores->top_ids);
    memcpy(wn_record_f32(record, set->field_top_values), scores->top_values, all * sizeof *scores->top_values);
    memcpy(wn_record_f64(record, set->field_log_sum_exp), scores->log_sum_exp, m * sizeof *scores->log_sum_exp);
    memcpy(wn_record_f32(record, set->field_target_logit), scores->target_logit, m * sizeof *scores->target_logit);
}

/* The kind's part, with outcomes in its own order. */
static void score_placed(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                         struct wn_record *record)
{
    struct wn_target_scores scores, dense_scores = {0};
    struct wn_outcome of_point = *point, of_dense = {0};

    unplace_scores(set, point->scores, &scores);
    of_point.scores = &scores;
    if (dense) {
        unplace_scores(set, dense->scores, &dense_scores);
        of_dense = *dense;
        of_dense.scores = &dense_scores;
    }
    set->kind->score(set, &of_point, dense ? &of_dense : NULL, record);
    wn_target_scores_release(&scores);
    wn_target_scores_release(&dense_scores);
}

void wn_eval_finish(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                    struct wn_record *record)
{
    if (set->field_kl >= 0)
        finish_divergence(set, point->scores, record);
    if (set->field_top_ids >= 0)
        finish_logits(set, point->scores, record);
    if (!set->kind->compares)
        dense = NULL;
    if (set->target_place)
        score_placed(set, point, dense, record);
    else
        set->kind->score(set, point, dense, record);
}
