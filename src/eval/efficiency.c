/* SPDX-License-Identifier: Apache-2.0 */
/* efficiency: speeds of every point beside the dense model on the same rank (efficiency.h has what is measured). */
#include "protocol.h"

#include <winnow/efficiency.h>

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct wn_parameter parameters[] = {
    {.name = "prompt",
     .type = WN_INTEGER,
     .standard = "256",
     .low = 1,
     .high = 1e6,
     .unit = "tokens",
     .help = "tokens of each text before the first new one"},
    {.name = "steps",
     .type = WN_INTEGER,
     .standard = "8",
     .low = 1,
     .high = 1e6,
     .unit = "tokens",
     .help = "new tokens of each text in one take; take so many that it lasts 0.2 s"},
    {.name = "pairs",
     .type = WN_INTEGER,
     .standard = "5",
     .low = 1,
     .high = 1000,
     .help = "pairs of takes, dense and compressed; twice as many where the machine is busy"},
    {.name = "batch",
     .type = WN_INTEGER,
     .standard = "32",
     .low = 1,
     .high = 32,
     .unit = "texts",
     .help = "the largest of 1, 8 and 32 texts that are decoded side by side"},
    {.name = "threads",
     .type = WN_INTEGER,
     .standard = "1",
     .low = 1,
     .high = 1024,
     .help = "threads while it is measured; with 1 kernels are compared and not how they share a memory"},
};

enum { N_PARAMETERS = sizeof parameters / sizeof parameters[0] };

/* One number of a point each: name, unit, description. */
#define SCORES(X)                                                                                                      \
    X(prefill_seconds, "s", "wall time of a prefill of 512 tokens to the first new token: median")                     \
    X(first_token_seconds, "s", "wall time of a prefill of the prompt to the first new token: median")                 \
    X(decode_1_seconds, "s", "wall time of a step of one text: median")                                                \
    X(decode_8_seconds, "s", "wall time of a step of 8 texts: median")                                                 \
    X(decode_32_seconds, "s", "wall time of a step of 32 texts: median")                                               \
    X(prefill_faster, "1", "times as fast as dense fp32 in a prefill of 512 tokens, processor time: median of pairs")  \
    X(first_token_faster, "1", "times as fast as dense fp32 to the first token, processor time: median of pairs")      \
    X(decode_1_faster, "1", "times as fast as dense fp32 in steps of one text, processor time: median of pairs")       \
    X(decode_8_faster, "1", "times as fast as dense fp32 in steps of 8 texts, processor time: median of pairs")        \
    X(decode_32_faster, "1", "times as fast as dense fp32 in steps of 32 texts, processor time: median of pairs")      \
    X(jin_tokens_per_second, "token/s", "512 / (first token + 511 steps of one text), prompt 256 (arXiv:2402.16775)")  \
    X(jin_faster, "1", "times as fast as dense fp32 by that definition, processor time")                               \
    X(resident_bytes, "byte", "weights, embedding and head in memory, and the cache of one text")                      \
    X(bytes_read_per_token, "byte", "counted: weights, head and cache that a step of one text reads")                  \
    X(limit_share, "1", "bytes_read_per_token / read bandwidth of the same minute / decode_1_seconds")                 \
    X(disturbed, "1", "share of pairs in which a wall clock ran a tenth longer than the processor's")                  \
    X(machine_drift, "1", "largest change of bandwidth or product rate while it was measured, relative")               \
    X(cache_resident, "1", "1: the weights fit into twice the last cache, so that speeds say little")                  \
    X(joules_per_token, "J", "of a step of one text, of all that the counter sees; NaN: no counter")                   \
    X(joules_prefill, "J", "of a prefill of 512 tokens, of all that the counter sees; NaN: no counter")                \
    X(idle_watts, "W", "before it was measured, of all that the counter sees; NaN: no counter")                        \
    X(lock_seconds, "s", "waited until no other rank of the node measured")                                            \
    X(measured_at, "1", "point whose measurement it is: an equal form has an equal speed")

enum score {
#define X(name, unit, help) SCORE_##name,
    SCORES(X)
#undef X
        N_SCORES
};

struct efficiency {
    int field_score[N_SCORES];
    int field_seconds, field_faster, field_pairs, field_disturbed, field_bytes, field_resident, field_machine;
    int field_format, field_energy;
};

extern const struct wn_eval wn_eval_efficiency;

/* ---- settings ---- */

static void read_settings(const char *name, const cJSON *json, struct wn_efficiency *asked,
                          struct wn_problems *problems)
{
    struct wn_params params;
    int64_t before = problems->count;
    char *place = wn_format("evaluate.%s", name);
    wn_settings_read(place, json, parameters, N_PARAMETERS, &params, problems);
    wn_free(place);
    if (problems->count > before)
        return;
    *asked = (struct wn_efficiency){.prompt = wn_params_integer(&params, "prompt"),
                                    .steps = wn_params_integer(&params, "steps"),
                                    .pairs = wn_params_integer(&params, "pairs"),
                                    .threads = wn_params_integer(&params, "threads"),
                                    .batch = wn_params_integer(&params, "batch")};
}

static void check(const char *directory, const char *name, const cJSON *json, struct wn_problems *problems)
{
    struct wn_efficiency asked;
    (void)directory;
    read_settings(name, json, &asked, problems);
}

static wn_status prepare(const char *directory, const char *name, const cJSON *json, const struct wn_model *model,
                         struct wn_eval_set *set)
{
    struct wn_problems problems;
    struct wn_efficiency asked = {0};
    (void)directory;
    wn_problems_init(&problems);
    read_settings(name, json, &asked, &problems);
    wn_problems_release(&problems);
    if (asked.prompt + asked.steps > model->config.max_positions)
        return wn_fail(WN_ERR_INPUT,
                       "evaluate.%s: a prompt of %lld tokens and %lld steps are more than the %lld positions of %s",
                       name, (long long)asked.prompt, (long long)asked.steps, (long long)model->config.max_positions,
                       model->directory);
    set->kind = &wn_eval_efficiency;
    set->state = wn_alloc_zero(1, sizeof(struct efficiency));
    set->efficiency = wn_alloc(1, sizeof asked);
    *set->efficiency = asked;
    set->path = wn_strdup("none");
    set->protocol = wn_format("speeds beside dense fp32 and bf16 in turn: prompts of %lld tokens, takes of %lld steps, "
                              "%lld pairs and more, up to %lld texts, %lld threads",
                              (long long)asked.prompt, (long long)asked.steps, (long long)asked.pairs,
                              (long long)asked.batch, (long long)asked.threads);
    return WN_OK;
}

/* ---- fields ---- */

static int add_speed(struct wn_schema *schema, const struct wn_eval_set *set, const char *what, enum wn_field_type type,
                     int n_dims, const int *dims, const char *unit, const char *help)
{
    char path[160];
    snprintf(path, sizeof path, "/speed/%s/%s", set->name, what);
    return wn_schema_field(schema, path, type, n_dims, dims, unit, help, false);
}

static void add_scores(struct wn_eval_set *set, struct wn_schema *schema)
{
    struct efficiency *state = set->state;
    static const struct {
        const char *name, *unit, *help;
    } rows[] = {
#define X(name, unit, help) {#name, unit, help},
        SCORES(X)
#undef X
    };
    for (int i = 0; i < N_SCORES; i++) {
        char path[160];
        snprintf(path, sizeof path, "/scores/%s/%s", set->name, rows[i].name);
        state->field_score[i] = wn_schema_field(schema, path, WN_FIELD_F64, 0, NULL, rows[i].unit, rows[i].help, false);
    }
}

static void fields(struct wn_eval_set *set, struct wn_schema *schema)
{
    static const char *const models[] = {"point", "dense fp32", "dense bf16"}, *const clocks[] = {"wall", "processor"};
    static const char *const quartiles[] = {"low quartile", "median", "high quartile"};
    static const char *const moments[] = {"before", "after"}, *const rates[] = {"read", "fp32", "bf16"};
    const char *names[WN_SPEEDS];
    struct efficiency *state = set->state;
    for (int s = 0; s < WN_SPEEDS; s++)
        names[s] = wn_speed_name((enum wn_speed)s);
    const int speed = wn_schema_dim(schema, "speed_kind", WN_SPEEDS, names);
    const int model = wn_schema_dim(schema, "speed_model", WN_SPEED_MODELS, models);
    const int all[] = {speed, model, wn_schema_dim(schema, "clock", WN_CLOCKS, clocks),
                       wn_schema_dim(schema, "quartile", 3, quartiles)};
    const int machine[] = {wn_schema_dim(schema, "moment", 2, moments), wn_schema_dim(schema, "rate", 3, rates)};
    add_scores(set, schema);
    state->field_seconds = add_speed(schema, set, "seconds", WN_FIELD_F64, 4, all, "s",
                                     "of a prefill or a step; by the processor's clock of one thread");
    state->field_faster = add_speed(schema, set, "faster", WN_FIELD_F64, 4, all, "1",
                                    "times as fast as a dense model is the point, of pairs of takes; point: 1");
    state->field_pairs = add_speed(schema, set, "pairs", WN_FIELD_I32, 1, all, "1", "pairs of takes that were made");
    state->field_disturbed = add_speed(schema, set, "disturbed", WN_FIELD_I32, 1, all, "1",
                                       "of these: a wall clock ran a tenth longer than the processor's");
    state->field_bytes = add_speed(schema, set, "bytes_read", WN_FIELD_F64, 2, all, "byte",
                                   "counted for one new token: weights and head of its step, and its cache");
    state->field_resident = add_speed(schema, set, "resident_bytes", WN_FIELD_F64, 1, &model, "byte",
                                      "weights, embedding and head in memory, and the cache of one text");
    state->field_machine =
        add_speed(schema, set, "machine", WN_FIELD_F64, 2, machine, "1/s",
                  "bytes read, operations of fp32 and bf16 products per second, by the same threads");
    char path[160];
    snprintf(path, sizeof path, "/speed/%s/format", set->name);
    state->field_format = wn_schema_text(schema, path, 128, "form in memory of most weights", false);
    snprintf(path, sizeof path, "/speed/%s/energy_source", set->name);
    state->field_energy = wn_schema_text(schema, path, 32, "pm_counters, powercap, or none that can be read", false);
}

/* ---- scores ---- */

static double change(double before, double after)
{
    return fabs(after - before) / fmax(after, before);
}

/* Seconds of the paper's 512 new tokens behind a prompt of 256; NaN with another prompt. */
static double jin_seconds(const struct wn_efficiency *asked, const struct wn_efficiency_result *result,
                          enum wn_speed_model model, enum wn_speed_clock clock)
{
    return asked->prompt != 256
               ? (double)NAN
               : result->speeds[WN_SPEED_FIRST].seconds[model][clock].median +
                     (WN_SPEED_NEW - 1) * result->speeds[WN_SPEED_DECODE_1].seconds[model][clock].median;
}

static void fill_scores(const struct wn_efficiency *asked, const struct wn_efficiency_result *result, double *scores)
{
    const struct wn_machine_speed *a = &result->before, *b = &result->after;
    double pairs = 0, disturbed = 0;
    for (int s = 0; s < WN_SPEEDS; s++) {
        const struct wn_speed_numbers *numbers = &result->speeds[s];
        scores[SCORE_prefill_seconds + s] = numbers->seconds[WN_SPEED_POINT][WN_CLOCK_WALL].median;
        scores[SCORE_prefill_faster + s] = numbers->faster[WN_SPEED_F32][WN_CLOCK_PROCESSOR].median;
        pairs += (double)numbers->pairs;
        disturbed += (double)numbers->disturbed;
    }
    scores[SCORE_jin_tokens_per_second] = WN_SPEED_NEW / jin_seconds(asked, result, WN_SPEED_POINT, WN_CLOCK_WALL);
    scores[SCORE_jin_faster] = jin_seconds(asked, result, WN_SPEED_F32, WN_CLOCK_PROCESSOR) /
                               jin_seconds(asked, result, WN_SPEED_POINT, WN_CLOCK_PROCESSOR);
    scores[SCORE_resident_bytes] = result->resident_bytes[WN_SPEED_POINT];
    scores[SCORE_bytes_read_per_token] = result->bytes_read[WN_SPEED_POINT][WN_SPEED_DECODE_1];
    scores[SCORE_limit_share] =
        scores[SCORE_bytes_read_per_token] / fmax(a->read_bytes, b->read_bytes) / scores[SCORE_decode_1_seconds];
    scores[SCORE_disturbed] = disturbed / pairs;
    scores[SCORE_machine_drift] = fmax(change(a->read_bytes, b->read_bytes), change(a->f32, b->f32));
    scores[SCORE_cache_resident] = result->cache_resident;
    scores[SCORE_joules_per_token] = result->joules_per_token;
    scores[SCORE_joules_prefill] = result->joules_prefill;
    scores[SCORE_idle_watts] = result->idle_watts;
    scores[SCORE_lock_seconds] = result->lock_seconds;
    scores[SCORE_measured_at] = (double)result->measured_at;
}

static void put_quartiles(const struct wn_quartiles *quartiles, double *out)
{
    out[0] = quartiles->low;
    out[1] = quartiles->median;
    out[2] = quartiles->high;
}

static void fill_speeds(const struct efficiency *state, const struct wn_efficiency_result *result,
                        struct wn_record *record)
{
    double *seconds = wn_record_f64(record, state->field_seconds), *faster = wn_record_f64(record, state->field_faster);
    double *bytes = wn_record_f64(record, state->field_bytes);
    for (int s = 0; s < WN_SPEEDS; s++) {
        const struct wn_speed_numbers *numbers = &result->speeds[s];
        wn_record_i32(record, state->field_pairs)[s] = (int32_t)numbers->pairs;
        wn_record_i32(record, state->field_disturbed)[s] = (int32_t)numbers->disturbed;
        for (int m = 0; m < WN_SPEED_MODELS; m++) {
            bytes[s * WN_SPEED_MODELS + m] = result->bytes_read[m][s];
            for (int c = 0; c < WN_CLOCKS; c++) {
                const int place = ((s * WN_SPEED_MODELS + m) * WN_CLOCKS + c) * 3;
                put_quartiles(&numbers->seconds[m][c], seconds + place);
                put_quartiles(&numbers->faster[m][c], faster + place);
            }
        }
    }
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    const struct efficiency *state = set->state;
    const struct wn_efficiency_result *result = point->efficiency;
    const struct wn_machine_speed *moments[] = {&result->before, &result->after};
    double scores[N_SCORES];
    (void)dense;
    fill_scores(set->efficiency, result, scores);
    for (int i = 0; i < N_SCORES; i++)
        *wn_record_f64(record, state->field_score[i]) = scores[i];
    fill_speeds(state, result, record);
    for (int m = 0; m < WN_SPEED_MODELS; m++)
        wn_record_f64(record, state->field_resident)[m] = result->resident_bytes[m];
    for (int i = 0; i < 2; i++) {
        double *rates = wn_record_f64(record, state->field_machine) + (ptrdiff_t)3 * i;
        rates[0] = moments[i]->read_bytes;
        rates[1] = moments[i]->f32;
        rates[2] = moments[i]->bf16;
    }
    wn_record_set_text(record, state->field_format, result->format);
    wn_record_set_text(record, state->field_energy, result->energy_source);
}

static void release(void *state)
{
    wn_free(state);
}

const struct wn_eval wn_eval_efficiency = {
    .name = "efficiency",
    .help = "speed and memory of every point beside the dense model in fp32 and bf16, on the same rank, in turn",
    .section = "efficiency",
    .single = true,
    .parameters = parameters,
    .n_parameters = N_PARAMETERS,
    .generates = true,
    .check = check,
    .prepare = prepare,
    .fields = fields,
    .score = score,
    .release = release,
};
