/* SPDX-License-Identifier: Apache-2.0 */
/* tables.c: what is known of points and cells before the first one runs: table columns, identity, provenance. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cjson/cJSON.h>
#include <openssl/crypto.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <winnow/linalg.h>

#include "../point/point_impl.h"
#include "sweep_impl.h"
#include "winnow_build.h"

/* ---- columns ---- */

static bool is_numeric(const struct wn_parameter *parameter)
{
    return parameter->type != WN_STRING && !parameter->words;
}

static struct wn_column *find_column(struct wn_table *table, const char *name)
{
    for (int i = 0; i < table->n_columns; i++)
        if (!strcmp(table->columns[i].name, name))
            return &table->columns[i];
    return NULL;
}

static void set_text(struct wn_table *table, const char *name, const char *description, int64_t row, const char *text)
{
    struct wn_column *column = find_column(table, name);
    if (!column)
        column = wn_table_add(table, name, false, "", description);
    wn_table_set_text(table, column, row, text);
}

static void set_number(struct wn_table *table, const char *name, const char *unit, const char *description, int64_t row,
                       double value)
{
    struct wn_column *column = find_column(table, name);
    if (!column)
        column = wn_table_add(table, name, true, unit, description);
    column->numbers[row] = value;
}

static void set_recipe(struct wn_table *table, int64_t row, const struct wn_recipe *recipe)
{
    char *label = wn_recipe_label(recipe);
    set_text(table, "method", "method, or pruner+quantizer of a joint point", row, label);
    wn_free(label);
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_params *params = &recipe->stages[s].params;
        for (int i = 0; i < params->count; i++) {
            const struct wn_value *value = &params->values[i];
            const struct wn_parameter *parameter = value->parameter;
            if (!value->set)
                continue;
            if (is_numeric(parameter)) {
                set_number(table, parameter->name, parameter->unit ? parameter->unit : "1", parameter->help, row,
                           value->number);
                find_column(table, parameter->name)->boolean = parameter->type == WN_BOOL;
            } else {
                set_text(table, parameter->name, parameter->help, row, value->text);
            }
        }
    }
    if (recipe->search)
        set_text(table, "allocation", "the search that decides (or what pruners allocate by)", row, recipe->search);
}

static void set_calibration(const struct wn_run *run, struct wn_table *table, int64_t row, int64_t model,
                            int64_t calibration, enum wn_propagation propagation)
{
    bool used = calibration >= 0;
    const struct wn_calibration *set = used ? &run->models[model].calibrations[calibration] : NULL;
    const struct wn_sweep_calibration *sets = run->sweep->calibrations;
    set_text(table, "calibration", "calibration set", row, used ? sets[sets[calibration].base].name : "");
    set_text(table, "propagation", "whose activations calibrate later blocks", row,
             used ? wn_propagation_name(propagation) : "");
    if (used && set->tokens > 0) {
        set_text(table, "calibration_kind", "general or task-specific", row,
                 set->task_specific ? "task-specific" : "general");
        set_number(table, "calibration_tokens", "token", "tokens of the calibration set", row, (double)set->tokens);
    }
    if (!used || !wn_sweep_varies(run->sweep))
        return;
    const struct wn_variation *variation = &sets[calibration].variation;
    set_number(table, "replicate", "1", "the calibration set is drawn with its seed and so many more", row,
               (double)variation->replicate);
    set_number(table, "perturb", "1", "relative noise on what the first block gets of the calibration set", row,
               variation->perturb);
    set_number(table, "perturb_seed", "1", "seed of that noise", row, (double)variation->perturb_seed);
}

static void set_model(const struct wn_run *run, struct wn_table *table, int64_t row, int64_t model)
{
    char *name = wn_sweep_model_name(run->sweep, model);
    set_text(table, "model", "model: last part of its path", row, name);
    set_text(table, "model_path", "checkpoint directory", row, run->sweep->models[model]);
    wn_free(name);
}

/* A column where a point is told which experts its calibration set goes to. */
static void set_routing(struct wn_run *run)
{
    const char *name = "routing", *help = "which model chooses the experts of the calibration set";
    bool asked = false;
    for (int64_t i = 0; i < run->grid.n_points; i++)
        asked = asked || run->grid.points[i].routes_dense;
    for (int64_t i = 0; asked && i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        bool used = point->calibration >= 0 && wn_layout_routes(&run->models[point->model].model->layout);
        bool dense = point->routes_dense || point->propagation == WN_PROPAGATION_DENSE;
        set_text(&run->points, name, help, i, !used ? "" : dense ? "dense" : "sequential");
    }
    for (int64_t i = 0; asked && i < run->grid.n_cells; i++)
        set_text(&run->cells, name, help, i, run->grid.cells[i].routes_dense ? "dense" : "sequential");
}

void wn_run_build_tables(struct wn_run *run)
{
    wn_table_init(&run->points, "/points", "point", run->grid.n_points);
    wn_table_init(&run->cells, "/cells", "cell", run->grid.n_cells);
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        set_text(&run->points, "key", "canonical text: equal keys are equal points", i, point->key);
        set_model(run, &run->points, i, point->model);
        set_recipe(&run->points, i, &point->recipe);
        set_calibration(run, &run->points, i, point->model, point->calibration, point->propagation);
    }
    for (int64_t i = 0; i < run->grid.n_cells; i++) {
        const struct wn_cell *cell = &run->grid.cells[i];
        set_number(&run->cells, "point_index", "1", "the point that answers this cell", i, (double)cell->point);
        set_model(run, &run->cells, i, cell->model);
        set_recipe(&run->cells, i, wn_cell_recipe(&run->grid, cell));
        set_calibration(run, &run->cells, i, cell->model, cell->calibration, cell->propagation);
    }
    set_routing(run);
}

/* ---- memory ---- */

/* A text is a block of the allocator: 64 bytes in front, up to 63 behind. */
static int64_t texts_bytes(const struct wn_texts *texts)
{
    int64_t bytes = texts->count * (64 + 32 + (int64_t)sizeof(char *)) + texts->n_slots * (int64_t)sizeof(int64_t);
    for (int64_t i = 0; i < texts->count; i++)
        bytes += (int64_t)strlen(texts->texts[i]);
    return bytes;
}

static int64_t table_bytes(const struct wn_table *table)
{
    return table->rows * table->n_columns * (int64_t)sizeof(double) + texts_bytes(&table->texts);
}

int64_t wn_run_grid_bytes(const struct wn_run *run)
{
    const struct wn_grid_points *grid = &run->grid;
    int64_t own = 0;
    for (int64_t i = 0; i < grid->n_cells; i++)
        own += grid->cells[i].own != NULL;
    return grid->n_points * (int64_t)sizeof *grid->points + grid->n_cells * (int64_t)sizeof *grid->cells +
           own * (int64_t)sizeof(struct wn_recipe) + texts_bytes(&grid->keys) + table_bytes(&run->points) +
           table_bytes(&run->cells) + (int64_t)strlen(run->identity);
}

/* ---- identity ---- */

static void identify_model(const struct wn_run *run, const struct wn_prepared_model *prepared, struct wn_text *text)
{
    const struct wn_sweep *sweep = run->sweep;
    char *name = wn_sweep_model_name(sweep, prepared - run->models), about[WN_HASH_HEX];
    wn_text_printf(text, "of model %s\n", name);
    wn_free(name);
    for (const char *line = prepared->hash ? prepared->hash : ""; *line;) {
        size_t length = strcspn(line, "\n");
        wn_text_printf(text, "model file %.*s\n", (int)length, line);
        line += length + (line[length] == '\n');
    }
    if (sweep->compute == WN_COMPUTE_BF16)
        wn_text_printf(text, "model file computed with linears in bf16\n");
    for (int64_t c = 0; c < sweep->n_calibrations; c++) {
        const struct wn_calibration *set = &prepared->calibrations[c];
        if (set->tokens > 0)
            wn_text_printf(text, "calibration %s: %lld tokens %s\n", sweep->calibrations[c].name,
                           (long long)set->tokens, set->token_hash);
    }
    for (int64_t e = 0; e < sweep->n_evals; e++) {
        const struct wn_eval_set *set = &prepared->sets[e];
        wn_hash_buffer(set->facts ? set->facts : "", set->facts ? strlen(set->facts) : 0, about);
        wn_text_printf(text,
                       "evaluation %s: %s; %lld targets %s; file %s; header %s; divergence %s; logits %lld of %lld\n",
                       set->name, set->protocol, (long long)set->n_targets, set->token_hash, set->file_hash,
                       set->facts ? about : "none", set->divergence ? "yes" : "no", (long long)set->top,
                       (long long)set->logit_targets);
    }
    wn_searches_identify(run, prepared - run->models, text);
    char sample[WN_HASH_HEX];
    wn_sequences_hash(&prepared->sample, sample);
    wn_text_printf(text, "reference sample %s: %lld tokens %s\n", sweep->sample_name,
                   (long long)wn_sequences_tokens(&prepared->sample), sample);
}

void wn_run_build_identity(struct wn_run *run)
{
    struct wn_text text = {0};
    wn_text_printf(&text, "results schema %d\n", WN_SCHEMA_VERSION);
    for (int64_t m = 0; m < run->n_models; m++)
        identify_model(run, &run->models[m], &text);
    for (int64_t i = 0; i < run->grid.n_points; i++)
        wn_text_printf(&text, "point %s\n", run->grid.points[i].key);
    for (int64_t i = 0; i < run->grid.n_cells; i++)
        wn_text_printf(&text, "cell %lld answered by point %lld\n", (long long)i, (long long)run->grid.cells[i].point);
    run->identity = text.data;
}

void wn_run_results_plan(const struct wn_run *run, const struct wn_facts *provenance, struct wn_results_plan *plan)
{
    *plan = (struct wn_results_plan){.schema = &run->schema,
                                     .points = &run->points,
                                     .cells = &run->cells,
                                     .sweep = run->sweep->text,
                                     .identity = run->identity,
                                     .logs = run->logs,
                                     .n_logs = run->n_logs,
                                     .provenance = provenance};
}

/* ---- provenance ---- */

/* The first line of /proc/cpuinfo that names the processor. */
static void add_processor(struct wn_facts *facts)
{
    char line[512];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) || !colon)
            continue;
        line[strcspn(line, "\n")] = '\0';
        wn_facts_add(facts, "processor", "%s", colon + 2);
        break;
    }
    if (file)
        fclose(file);
}

/* Host of every rank, each once, in rank order. Collective. */
static void add_hosts(struct wn_par *par, struct wn_facts *facts)
{
    struct wn_text hosts = {0};
    char last[128] = "";
    for (int r = 0; r < wn_par_size(par); r++) {
        char host[128];
        snprintf(host, sizeof host, "%s", wn_par_host(par));
        wn_par_broadcast(par, host, sizeof host, r);
        if (strcmp(host, last))
            wn_text_printf(&hosts, "%s%s", hosts.length ? " " : "", host);
        memcpy(last, host, sizeof last);
    }
    wn_facts_add(facts, "hosts", "%s", hosts.data);
    wn_text_release(&hosts);
}

static void add_environment(struct wn_facts *facts)
{
    static const char *const names[] = {"SLURM_JOB_ID", "SLURM_JOB_NODELIST", "OMP_NUM_THREADS", "OMP_PROC_BIND",
                                        "OPENBLAS_CORETYPE"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (getenv(names[i]))
            wn_facts_add(facts, names[i], "%s", getenv(names[i]));
}

/* Where the sweep file is; winnow export looks there. */
static void add_sweep_file(const struct wn_sweep *sweep, struct wn_facts *facts)
{
    const char *slash = strrchr(sweep->path, '/');
    char *directory = wn_directory_of(sweep->path), *folder = realpath(directory, NULL);
    wn_facts_add(facts, "sweep_file", "%s/%s", folder ? folder : directory, slash ? slash + 1 : sweep->path);
    free(folder);
    wn_free(directory);
}

/* What is odd about the files of a model; without such, nothing. */
static void add_notes(const struct wn_model *model, int64_t index, struct wn_facts *facts)
{
    struct wn_text lines = {0};
    char name[128];
    for (int64_t i = 0; i < model->notes.count; i++)
        wn_text_printf(&lines, "%s%s", i ? "\n" : "", model->notes.lines[i]);
    snprintf(name, sizeof name, "model_%lld_notes", (long long)index);
    if (lines.data)
        wn_facts_add(facts, name, "%s", lines.data);
    wn_text_release(&lines);
}

static void add_inputs(const struct wn_run *run, struct wn_facts *facts)
{
    const struct wn_sweep *sweep = run->sweep;
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_prepared_model *prepared = &run->models[m];
        char name[192];
        snprintf(name, sizeof name, "model_%lld", (long long)m);
        wn_facts_add(facts, name, "%s\n%s", sweep->models[m], prepared->hash);
        add_notes(prepared->model, m, facts);
        for (int64_t c = 0; c < sweep->n_calibrations; c++) {
            const struct wn_calibration *set = &prepared->calibrations[c];
            if (set->tokens == 0)
                continue;
            char skipped[64] = "";
            if (set->skipped > 0)
                snprintf(skipped, sizeof skipped, "; %lld records that cannot be used left out",
                         (long long)set->skipped);
            snprintf(name, sizeof name, "calibration_%s_%lld", sweep->calibrations[c].name, (long long)m);
            wn_facts_add(facts, name,
                         "file %s sha256 %s; %lld sequences, %lld tokens, sampling %s, length %lld, seed %lld; "
                         "tokens sha256 %s%s%s%s",
                         set->path, set->file_hash, (long long)set->sequences.n_sequences, (long long)set->tokens,
                         set->sampling, (long long)set->length, (long long)set->seed, set->token_hash, skipped,
                         set->chat_template[0] ? "; chat template " : "", set->chat_template);
            const struct wn_variation *variation = &sweep->calibrations[c].variation;
            if (variation->perturb > 0) {
                snprintf(name, sizeof name, "noise_%s_%lld", sweep->calibrations[c].name, (long long)m);
                wn_facts_add(facts, name, "hidden states in front of the first block times 1 + %.15g u, seed %lld",
                             variation->perturb, (long long)variation->perturb_seed);
            }
        }
        for (int64_t e = 0; e < sweep->n_evals; e++) {
            const struct wn_eval_set *set = &prepared->sets[e];
            snprintf(name, sizeof name, "evaluation_%s_%lld", set->name, (long long)m);
            wn_facts_add(facts, name, "file %s sha256 %s; %s; %lld tokens, %lld targets; tokens sha256 %s", set->path,
                         set->file_hash, set->protocol, (long long)wn_sequences_tokens(&set->sequences),
                         (long long)set->n_targets, set->token_hash);
            snprintf(name, sizeof name, "task_%s", set->name);
            if (m == 0 && set->facts)
                wn_facts_add(facts, name, "%s", set->facts);
        }
    }
}

void wn_provenance(struct wn_par *par, const struct wn_run *run, struct wn_facts *facts)
{
    char when[64];
    time_t now = time(NULL);
    struct tm utc;
    unsigned major, minor, release;
    strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
    wn_facts_add(facts, "winnow_version", "%s", WN_VERSION);
    wn_facts_add(facts, "winnow_revision", "%s", WN_REVISION);
    wn_facts_add(facts, "compiler", "%s", WN_COMPILER);
    wn_facts_add(facts, "flags", "%s", WN_FLAGS);
    wn_facts_add(facts, "arithmetic", "%s%s%s; square tiles of 192 to 512; attention by %d keys; chunks of %d tokens",
                 wn_linalg_protocol(), run->sweep->compute == WN_COMPUTE_BF16 ? "; " : "",
                 run->sweep->compute == WN_COMPUTE_BF16 ? wn_bf16_protocol() : "", WN_ATTENTION_KEYS, WN_CHUNK_TOKENS);
    wn_facts_add(facts, "mpi", "%s", wn_par_library());
    wn_results_library_version(&major, &minor, &release);
    wn_facts_add(facts, "hdf5", "%u.%u.%u", major, minor, release);
    wn_facts_add(facts, "cjson", "%s", cJSON_Version());
    wn_facts_add(facts, "pcre2", "%d.%d", PCRE2_MAJOR, PCRE2_MINOR);
    wn_facts_add(facts, "libcrypto", "%s", OpenSSL_version(OPENSSL_VERSION));
    wn_facts_add(facts, "created", "%s", when);
    wn_facts_add(facts, "ranks", "%d", wn_par_size(par));
    wn_facts_add(facts, "threads", "%d", omp_get_max_threads());
    add_hosts(par, facts);
    add_processor(facts);
    add_environment(facts);
    add_sweep_file(run->sweep, facts);
    add_inputs(run, facts);
}
