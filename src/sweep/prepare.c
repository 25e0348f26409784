/* SPDX-License-Identifier: Apache-2.0 */
/*
 * prepare.c: everything a run needs, the same on every rank: models, token sequences, schema, tables, identity.
 *
 * Encoding text and hashing files (inputs.c) are the slow parts. Set j is built by rank j modulo size, which records
 * its encodings; the others build it again from the recorded ones, so each text is tokenized once whatever the number
 * of ranks.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include <winnow/encodings.h>
#include <winnow/linalg.h>

#include "../point/point_impl.h"
#include "sweep_impl.h"

/* ---- sharing encodings ---- */

/* One calibration or evaluation set of one model. */
struct set_job {
    int64_t model, calibration, eval; /* calibration or eval is -1 */
    wn_status status;
    char message[1024];
    struct wn_encodings encodings;
};

static wn_status build_set(const struct wn_sweep *sweep, struct wn_prepared_model *prepared, const struct set_job *job)
{
    if (job->calibration >= 0) {
        const struct wn_sweep_calibration *set = &sweep->calibrations[job->calibration];
        wn_sequences_release(&prepared->calibrations[job->calibration].sequences); /* the empty one; it is built now */
        return wn_calibration_build(sweep->directory, set->name, set->spec, prepared->model,
                                    &prepared->calibrations[job->calibration]);
    }
    const struct wn_sweep_eval *eval = &sweep->evals[job->eval];
    struct wn_eval_set *set = &prepared->sets[job->eval];
    snprintf(set->name, sizeof set->name, "%s", eval->name);
    set->kind = eval->kind;
    set->divergence = eval->divergence;
    WN_TRY(eval->kind->prepare(sweep->directory, eval->name, eval->spec, prepared->model, set));
    wn_sweep_note_set(sweep, prepared, set);
    set->top = eval->top < prepared->model->config.vocab_size ? eval->top : prepared->model->config.vocab_size;
    set->logit_targets = eval->logit_targets < set->n_targets ? eval->logit_targets : set->n_targets;
    return WN_OK;
}

static void broadcast_encodings(struct wn_par *par, struct wn_encodings *encodings, int owner)
{
    int64_t counts[2] = {encodings->count, encodings->ids.count};
    wn_par_broadcast(par, counts, sizeof counts, owner);
    if (wn_par_rank(par) != owner)
        wn_encodings_reserve(encodings, counts[0], counts[1]);
    wn_par_broadcast(par, encodings->ends, counts[0] * (int64_t)sizeof(int64_t), owner);
    wn_par_broadcast(par, encodings->ids.data, counts[1] * (int64_t)sizeof(int32_t), owner);
}

/* A calibration set is little against the text it was drawn from: it travels itself. */
static void broadcast_calibration(struct wn_par *par, struct wn_calibration *calibration, int owner)
{
    bool mine = wn_par_rank(par) == owner;
    struct wn_calibration about = *calibration;
    wn_par_broadcast(par, &about, sizeof about, owner);
    int64_t counts[3] = {calibration->sequences.n_sequences, calibration->tokens,
                         mine ? (int64_t)strlen(calibration->path) + 1 : 0};
    wn_par_broadcast(par, counts, sizeof counts, owner);
    struct wn_sequences all = mine ? calibration->sequences : (struct wn_sequences){0};
    char *path = mine ? calibration->path : wn_alloc(counts[2], 1);
    if (!mine) {
        all.offset = wn_alloc(counts[0] + 1, sizeof *all.offset);
        all.ids = wn_alloc(counts[1], sizeof *all.ids);
    }
    wn_par_broadcast(par, path, counts[2], owner);
    wn_par_broadcast(par, all.offset, (counts[0] + 1) * (int64_t)sizeof *all.offset, owner);
    wn_par_broadcast(par, all.ids, counts[1] * (int64_t)sizeof *all.ids, owner);
    if (mine)
        return;
    struct wn_sequences sequences = calibration->sequences; /* empty */
    *calibration = about;
    calibration->path = path;
    calibration->sequences = sequences;
    for (int64_t i = 0; i < counts[0]; i++)
        wn_sequences_append(&calibration->sequences, all.ids + all.offset[i], all.offset[i + 1] - all.offset[i]);
    wn_sequences_cut(&calibration->sequences);
    wn_sequences_release(&all);
}

/* A set that this rank has tokenized. */
static void tell_set(const struct wn_run *run, const struct set_job *job, double seconds)
{
    const struct wn_prepared_model *prepared = &run->models[job->model];
    const struct wn_eval_set *set = job->eval >= 0 ? &prepared->sets[job->eval] : NULL;
    int64_t tokens = set ? wn_sequences_tokens(&set->sequences) : prepared->calibrations[job->calibration].tokens;
    for (int64_t p = 0; set && set->generation && p < set->generation->n_prompts; p++)
        tokens += set->generation->prompts[p].count;
    wn_log(WN_LOG_INFO, "tokenized %s: %lld tokens in %.1f s",
           set ? set->name : run->sweep->calibrations[job->calibration].name, (long long)tokens, seconds);
}

static void note_failure(struct set_job *job)
{
    if (job->status != WN_OK)
        snprintf(job->message, sizeof job->message, "%s", wn_error_message());
}

/* The set of a job, on its owner. */
static void build_first(struct wn_run *run, struct set_job *job)
{
    double start = wn_seconds();
    if (job->eval >= 0)
        wn_encodings_record(&job->encodings);
    job->status = build_set(run->sweep, &run->models[job->model], job);
    wn_encodings_stop();
    note_failure(job);
    if (job->status == WN_OK)
        tell_set(run, job, wn_seconds() - start);
}

/* The set of a job, which its owner has built, on all others. Collective. */
static void build_again(struct wn_par *par, struct wn_run *run, struct set_job *job, int owner)
{
    struct wn_prepared_model *prepared = &run->models[job->model];
    if (job->calibration >= 0) {
        broadcast_calibration(par, &prepared->calibrations[job->calibration], owner);
        return;
    }
    broadcast_encodings(par, &job->encodings, owner);
    if (wn_par_rank(par) == owner)
        return;
    wn_encodings_replay(&job->encodings);
    job->status = build_set(run->sweep, prepared, job);
    wn_encodings_stop();
    note_failure(job);
}

/* Builds the sets of all jobs on all ranks; mistakes become lines. Collective. */
static void build_sets(struct wn_par *par, struct wn_run *run, struct set_job *jobs, int64_t count,
                       struct wn_problems *problems)
{
    int size = wn_par_size(par);
    int64_t before = problems->count;
    for (int64_t j = wn_par_rank(par); j < count; j += size)
        build_first(run, &jobs[j]);
    for (int64_t j = 0; j < count; j++) {
        int owner = (int)(j % size);
        wn_par_broadcast(par, &jobs[j].status, sizeof jobs[j].status, owner);
        wn_par_broadcast(par, jobs[j].message, sizeof jobs[j].message, owner);
        if (jobs[j].status == WN_OK)
            build_again(par, run, &jobs[j], owner);
        wn_encodings_release(&jobs[j].encodings);
        if (jobs[j].status != WN_OK)
            wn_problems_add(problems, "%s", jobs[j].message);
    }
    wn_sweep_place_problems(run->sweep, problems, before);
}

static bool wants_calibration(const struct wn_run *run, int64_t model, int64_t calibration)
{
    for (int64_t s = 0; s < run->n_searches; s++)
        if (run->grid.points[run->searches[s].point].model == model && run->searches[s].calibration == calibration)
            return true;
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) /* a perturbed set has its tokens */
        if (c != calibration && run->sweep->calibrations[c].draw == calibration &&
            wn_grid_uses_calibration(&run->grid, model, c))
            return true;
    return wn_grid_uses_calibration(&run->grid, model, calibration) ||
           !strcmp(run->sweep->sample_name, run->sweep->calibrations[calibration].name);
}

static void build_all_sets(struct wn_par *par, struct wn_run *run, struct wn_problems *problems)
{
    const struct wn_sweep *sweep = run->sweep;
    struct set_job *jobs = wn_alloc_zero(run->n_models * (sweep->n_calibrations + sweep->n_evals), sizeof *jobs);
    int64_t count = 0;
    for (int64_t m = 0; m < run->n_models; m++) {
        for (int64_t c = 0; c < sweep->n_calibrations; c++)
            if (sweep->calibrations[c].draw == c && wants_calibration(run, m, c))
                jobs[count++] = (struct set_job){.model = m, .calibration = c, .eval = -1};
        for (int64_t e = 0; e < sweep->n_evals; e++)
            jobs[count++] = (struct set_job){.model = m, .calibration = -1, .eval = e};
    }
    build_sets(par, run, jobs, count, problems);
    wn_free(jobs);
}

/* ---- the reference sample of output_error ---- */

/* `set` gets the evaluation set of that name. */
static const struct wn_sequences *find_sequences(const struct wn_run *run, const struct wn_prepared_model *prepared,
                                                 const struct wn_eval_set **set)
{
    *set = NULL;
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++)
        if (!strcmp(run->sweep->calibrations[c].name, run->sweep->sample_name))
            return &prepared->calibrations[c].sequences;
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        if (!strcmp(run->sweep->evals[e].name, run->sweep->sample_name)) {
            *set = &prepared->sets[e];
            return &prepared->sets[e].sequences;
        }
    return NULL;
}

/* As many of the tokens as are left to take. */
static void append_sample(struct wn_sequences *sample, const int32_t *ids, int64_t count, int64_t *left)
{
    count = count < *left ? count : *left;
    if (count > 0)
        wn_sequences_append(sample, ids, count);
    *left -= count;
}

/* The first sample_tokens tokens of the set, cut at sequence ends, as one chunk. Of a set that generates: of its
 * prompts. */
static void take_sample(const struct wn_run *run, struct wn_prepared_model *prepared)
{
    const struct wn_eval_set *set;
    const struct wn_sequences *source = find_sequences(run, prepared, &set);
    int64_t left = run->sweep->sample_tokens;
    for (int64_t s = 0; source && s < source->n_sequences; s++)
        append_sample(&prepared->sample, source->ids + source->offset[s], source->offset[s + 1] - source->offset[s],
                      &left);
    for (int64_t p = 0; set && set->generation && p < set->generation->n_prompts; p++)
        append_sample(&prepared->sample, set->generation->prompts[p].ids, set->generation->prompts[p].count, &left);
    wn_sequences_cut(&prepared->sample);
}

/* ---- schema ---- */

struct statistic_row {
    const char *name, *unit, *help;
};

/* Fields /weights/NAME [block, linear] for the rows of a table; returns their schema indices. */
static int64_t *add_linear_fields(struct wn_prepared_model *prepared, const struct statistic_row *rows, int64_t count)
{
    const struct wn_model *model = prepared->model;
    const char *names[WN_MAX_LINEARS];
    int64_t *fields = wn_alloc(count, sizeof *fields);
    for (int i = 0; i < model->layout.n_linears; i++)
        names[i] = model->layout.linears[i].name;
    int dims[2] = {wn_schema_dim(&prepared->schema, "block", model->config.n_blocks, NULL),
                   wn_schema_dim(&prepared->schema, "linear", model->layout.n_linears, names)};
    for (int64_t i = 0; i < count; i++) {
        char path[96];
        snprintf(path, sizeof path, "/weights/%s", rows[i].name);
        fields[i] = wn_schema_field(&prepared->schema, path, WN_FIELD_F64, 2, dims, rows[i].unit, rows[i].help, true);
    }
    return fields;
}

static void add_expert_fields(struct wn_prepared_model *prepared)
{
    static const struct statistic_row rows[] = {
        {"calibration_rows", "token",
         "calibration tokens that went through the linear: of an expert, those that chose it"},
        {"fell_back", "1", "1 when none did: the linear was pruned by magnitude, or rounded to the nearest code"}};
    int64_t *fields = add_linear_fields(prepared, rows, 2);
    prepared->expert_fields = wn_resize(fields, 3, sizeof *fields);
    prepared->expert_fields[2] =
        wn_schema_field(&prepared->schema, "/points/bits_per_active_weight_nominal", WN_FIELD_F64, 0, NULL, "bit",
                        "the same of the weights that a token goes through: those of experts count by the share of "
                        "experts that it chooses",
                        true);
}

static void add_weight_fields(const struct wn_run *run, struct wn_prepared_model *prepared)
{
    static const struct statistic_row weights[] = {
#define X(name, unit, help) {#name, unit, help},
        WN_WEIGHT_STATISTICS(X)};
    static const struct statistic_row solver[] = {WN_SOLVER_STATISTICS(X)};
    static const struct statistic_row search[] = {WN_SEARCH_STATISTICS(X)
#undef X
    };
    unsigned needs = 0;
    bool searches = false;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        needs |= wn_recipe_needs(&run->grid.points[i].recipe);
        searches = searches || wn_recipe_trials(&run->grid.points[i].recipe);
    }
    prepared->weight_fields = add_linear_fields(prepared, weights, sizeof weights / sizeof weights[0]);
    if (needs & WN_NEED_SECOND_MOMENTS)
        prepared->solver_fields = add_linear_fields(prepared, solver, sizeof solver / sizeof solver[0]);
    static const struct statistic_row levels[] = {
        {"level_sparsity", "1", "sparsity that the linear was allocated; NaN: as the point says"},
        {"level_bits", "bit", "bits that the linear was allocated; NaN: as the point says"}};
    bool allocates = false;
    for (int64_t s = 0; s < run->n_searches; s++)
        allocates = allocates || run->searches[s].space.kind != WN_SPACE_DROP;
    if (prepared->model->config.decoder.experts.count)
        add_expert_fields(prepared);
    if (allocates)
        prepared->level_fields = add_linear_fields(prepared, levels, 2);
    if (searches)
        prepared->search_fields = add_linear_fields(prepared, search, sizeof search / sizeof search[0]);
}

static bool has_points_of(const struct wn_run *run, const struct wn_allocation_kind *kind)
{
    for (int64_t i = 0; i < run->grid.n_points; i++)
        if (wn_allocation_of(&run->grid.points[i].recipe) == kind)
            return true;
    return false;
}

/* Fields /weights/NAME [block], of the kinds of allocation that any point has. */
static void add_note_fields(const struct wn_run *run, struct wn_prepared_model *prepared)
{
    int64_t count;
    const struct wn_allocation_kind *const *kinds = wn_allocation_table(&count);
    prepared->note_fields = wn_alloc_zero(count, sizeof *prepared->note_fields);
    for (int64_t k = 0; k < count; k++)
        for (int n = 0; n < kinds[k]->n_notes && has_points_of(run, kinds[k]); n++) {
            const struct wn_note *note = &kinds[k]->notes[n];
            int dims[1] = {wn_schema_dim(&prepared->schema, "block", prepared->model->config.n_blocks, NULL)};
            char path[96];
            snprintf(path, sizeof path, "/weights/%s", note->name);
            int there = wn_schema_find(&prepared->schema, path); /* kinds may say the same of a block */
            prepared->note_fields[k][n] = there >= 0 ? there
                                                     : wn_schema_field(&prepared->schema, path, WN_FIELD_F64, 1, dims,
                                                                       note->unit, note->help, true);
        }
}

static void build_schema(struct wn_run *run, struct wn_prepared_model *prepared)
{
    wn_schema_init(&prepared->schema);
    wn_run_add_point_fields(run, &prepared->schema);
    add_weight_fields(run, prepared);
    add_note_fields(run, prepared);
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        wn_eval_fields(&prepared->sets[e], &prepared->schema);
    wn_search_mark_items(run, prepared);
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++)
        wn_sweep_keep_ids(&prepared->calibrations[c], &prepared->schema);
}

/* ---- the whole preparation ---- */

/* Whether the linears of its model allow a point; false: wn_error_message says which does not. */
static bool point_fits(const struct wn_point *point, const struct wn_layout *layout)
{
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        if (wn_recipe_check_linear(&point->recipe, linear->name, linear->rows, linear->columns) != WN_OK)
            return false;
    }
    return true;
}

/* Where no point can route as asked. */
static void check_routing(const struct wn_run *run, const struct wn_model *model, int64_t index,
                          struct wn_problems *problems)
{
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        if (point->model != index || !point->routes_dense || wn_layout_routes(&model->layout))
            continue;
        wn_problems_add(problems,
                        "%s: routing: \"dense\" is for models with experts, which %s has not; name another "
                        "with \"model\" in this product",
                        run->sweep->path, run->sweep->models[index]);
        return;
    }
}

/*
 * Points that a shape forbids become failed rows, which is told here, as long as others of the model are left; where
 * all are forbidden, the sweep is a mistake.
 */
static void check_shapes(const struct wn_run *run, const struct wn_model *model, int64_t index, bool first,
                         struct wn_problems *problems)
{
    const int64_t most = 20;
    int64_t forbidden = 0, left = 0;
    struct wn_problems found = {0};
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        if (point->model != index || point->recipe.n_stages == 0)
            continue;
        bool fits = point_fits(point, &model->layout);
        left += fits;
        if (!fits && ++forbidden <= most)
            wn_problems_add(&found, "%s: point \"%s\": %s", run->sweep->path, point->key, wn_error_message());
    }
    for (int64_t i = 0; i < found.count; i++) {
        if (left == 0)
            wn_problems_add(problems, "%s", found.lines[i]);
        else if (first)
            wn_log(WN_LOG_WARNING, "%s: it will be a failed row", found.lines[i]);
    }
    if (first && left > 0 && forbidden > most)
        wn_log(WN_LOG_WARNING, "and %lld points more that a shape forbids", (long long)(forbidden - most));
    wn_problems_release(&found);
}

/* `first`: this rank tells what is odd about the models. */
static void open_models(struct wn_run *run, bool first, struct wn_problems *problems)
{
    const struct wn_sweep *sweep = run->sweep;
    run->n_models = sweep->n_models;
    run->n_sets = sweep->n_evals;
    run->n_calibrations = sweep->n_calibrations;
    run->models = wn_alloc_zero(run->n_models, sizeof *run->models);
    for (int64_t m = 0; m < run->n_models; m++) {
        struct wn_prepared_model *prepared = &run->models[m];
        prepared->calibrations = wn_alloc_zero(sweep->n_calibrations, sizeof *prepared->calibrations);
        prepared->sets = wn_alloc_zero(sweep->n_evals, sizeof *prepared->sets);
        for (int64_t c = 0; c < sweep->n_calibrations; c++)
            wn_sequences_init(&prepared->calibrations[c].sequences);
        for (int64_t e = 0; e < sweep->n_evals; e++)
            wn_eval_set_init(&prepared->sets[e]);
        wn_sequences_init(&prepared->sample);
        wn_schema_init(&prepared->schema);
        if (wn_model_open(sweep->models[m], problems, &prepared->model) != WN_OK)
            continue;
        prepared->model->compute = sweep->compute;
        wn_sweep_set_tokenizer(sweep, prepared->model, problems);
        wn_log(WN_LOG_INFO, "opened %s: %s, %.1f M parameters, %lld blocks", sweep->models[m],
               prepared->model->config.model_type, (double)wn_model_parameters(prepared->model) / 1e6,
               (long long)prepared->model->config.n_blocks);
        for (int64_t i = 0; first && i < prepared->model->notes.count; i++)
            wn_log(WN_LOG_WARNING, "%s", prepared->model->notes.lines[i]);
        check_routing(run, prepared->model, m, problems);
        check_shapes(run, prepared->model, m, first, problems);
    }
}

/* Rank 0's list counts; a rank that alone has a problem (a file that only it cannot read) stops all too. */
static wn_status agree_on_problems(struct wn_par *par, const struct wn_problems *problems)
{
    wn_status status = WN_OK;
    if (problems->count)
        status = wn_fail(WN_ERR_INPUT, "%s", problems->lines[0]);
    return wn_par_agree(par, status);
}

wn_status wn_prepare(struct wn_par *par, const struct wn_sweep *sweep, bool hash, struct wn_problems *problems,
                     struct wn_run **out)
{
    struct wn_run *run = wn_alloc_zero(1, sizeof *run);
    *out = run;
    run->sweep = sweep;
    run->measured = wn_measured_create();
    wn_schema_init(&run->schema);
    WN_TRY(wn_inputs_compare_sweep(par, sweep));
    wn_grid_build(sweep, problems, &run->grid);
    if (sweep->compute == WN_COMPUTE_BF16 && wn_bf16_start() != WN_OK)
        wn_problems_add(problems, "%s: %s", sweep->path, wn_error_message());
    for (int64_t i = 0; wn_par_rank(par) == 0 && problems->count == 0 && i < run->grid.notes.count; i++)
        wn_log(WN_LOG_WARNING, "%s", run->grid.notes.lines[i]);
    open_models(run, wn_par_rank(par) == 0, problems);
    wn_searches_open(run, problems);
    WN_TRY(agree_on_problems(par, problems));
    if (hash)
        WN_TRY(wn_inputs_compare_texts(par, sweep));
    build_all_sets(par, run, problems);
    for (int64_t m = 0; m < run->n_models; m++)
        wn_sweep_perturb_sets(sweep, &run->models[m]);
    wn_searches_check(run, problems);
    WN_TRY(agree_on_problems(par, problems));
    for (int64_t m = 0; m < run->n_models; m++) {
        take_sample(run, &run->models[m]);
        for (int64_t e = 0; e < sweep->n_evals; e++)
            wn_eval_share(run->models[m].model, &run->models[m].sets[e]);
        build_schema(run, &run->models[m]);
        if (hash)
            WN_TRY(wn_inputs_compare_model(par, &run->models[m]));
    }
    if (wn_par_rank(par) == 0)
        wn_sweep_warn_of_floor(run);
    wn_run_merge_schemas(run);
    wn_searches_lay_out(run);
    wn_run_build_tables(run);
    wn_run_build_identity(run);
    return WN_OK;
}

static void release_model(const struct wn_sweep *sweep, struct wn_prepared_model *prepared)
{
    for (int64_t c = 0; c < sweep->n_calibrations; c++)
        wn_calibration_release(&prepared->calibrations[c]);
    for (int64_t e = 0; e < sweep->n_evals; e++)
        wn_eval_set_release(&prepared->sets[e]);
    wn_sequences_release(&prepared->sample);
    wn_schema_release(&prepared->schema);
    wn_free(prepared->calibrations);
    wn_free(prepared->sets);
    wn_free(prepared->weight_fields);
    wn_free(prepared->solver_fields);
    wn_free(prepared->search_fields);
    wn_free(prepared->expert_fields);
    wn_free(prepared->note_fields);
    wn_free(prepared->level_fields);
    wn_free(prepared->hash);
    wn_model_close(&prepared->model);
}

void wn_run_release(struct wn_run **run_pointer)
{
    struct wn_run *run = *run_pointer;
    if (!run)
        return;
    for (int64_t m = 0; m < run->n_models; m++)
        release_model(run->sweep, &run->models[m]);
    wn_free(run->models);
    wn_searches_release(run);
    wn_grid_release(&run->grid);
    wn_schema_release(&run->schema);
    if (run->points.columns)
        wn_table_release(&run->points);
    if (run->cells.columns)
        wn_table_release(&run->cells);
    wn_free(run->identity);
    wn_free(run->evaluated);
    wn_measured_destroy(&run->measured);
    wn_free(run);
    *run_pointer = NULL;
}
