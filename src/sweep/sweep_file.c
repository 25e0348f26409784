/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep_file.c: reads a sweep file. Every mistake is found before any work and becomes one line: file, key, what was
 * expected. Unknown keys are mistakes and come with a suggestion.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sweep_impl.h"

static const char *const top_keys[] = {"$schema",     "name",   "description", "inputs", "model",
                                       "calibration", "grid",   "evaluate",    "output", "statistics",
                                       "scratch",     "search", "tokenizer",   "compute"};
static const char *const evaluate_keys[] = {"perplexity", "tasks",        "divergence",
                                            "logits",     "prefix_token", "efficiency"};
static const char *const divergence_keys[] = {"on", "measures"};
static const char *const logits_keys[] = {"on", "top", "tokens"};
static const char *const statistics_keys[] = {"sample", "tokens"};

#define COUNT(array) ((int64_t)(sizeof(array) / sizeof((array)[0])))

struct reader {
    struct wn_sweep *sweep;
    struct wn_problems *problems;
};

#define PROBLEM(reader, ...) wn_problems_add((reader)->problems, __VA_ARGS__)

static void check_keys(const struct reader *reader, const char *where, const cJSON *object, const char *const *keys,
                       int64_t count)
{
    const cJSON *item;
    cJSON_ArrayForEach (item, object) {
        bool known = false;
        for (int64_t i = 0; i < count && !known; i++)
            known = strcmp(item->string, keys[i]) == 0;
        if (known)
            continue;
        const char *near = wn_suggest(item->string, keys, count);
        PROBLEM(reader, "%s: %sunknown key \"%s\"%s%s%s", reader->sweep->path, where, item->string,
                near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
    }
}

/* The object below `key`, NULL when absent; another type is a mistake. */
static const cJSON *get_object(const struct reader *reader, const cJSON *parent, const char *where, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(parent, key);
    if (item && !cJSON_IsObject(item)) {
        PROBLEM(reader, "%s: %s%s: expected an object", reader->sweep->path, where, key);
        return NULL;
    }
    return item;
}

static bool check_name(const struct reader *reader, const char *where, const char *name)
{
    if (wn_name_fits(name))
        return true;
    PROBLEM(reader, "%s: %s\"%s\": a name has 1 to 48 letters, digits, '_', '-' or '.'", reader->sweep->path, where,
            name);
    return false;
}

/* ---- model, calibration, output ---- */

static void add_model(struct reader *reader, const cJSON *item)
{
    struct wn_sweep *sweep = reader->sweep;
    if (!cJSON_IsString(item) || !item->valuestring[0]) {
        PROBLEM(reader, "%s: model: expected the path of a checkpoint directory, or a list of paths", sweep->path);
        return;
    }
    char *path = wn_join_path(sweep->directory, item->valuestring);
    for (int64_t i = 0; i < sweep->n_models; i++)
        if (!strcmp(sweep->models[i], path))
            PROBLEM(reader, "%s: model: \"%s\" is listed twice", sweep->path, item->valuestring);
    sweep->models = wn_resize(sweep->models, sweep->n_models + 1, sizeof(char *));
    sweep->models[sweep->n_models++] = path;
}

static void read_models(struct reader *reader)
{
    const cJSON *model = cJSON_GetObjectItemCaseSensitive(reader->sweep->json, "model"), *item;
    if (!model) {
        PROBLEM(reader, "%s: key \"model\" is missing: the path of a checkpoint directory", reader->sweep->path);
        return;
    }
    if (!cJSON_IsArray(model)) {
        add_model(reader, model);
        return;
    }
    if (cJSON_GetArraySize(model) == 0)
        PROBLEM(reader, "%s: model: the list is empty", reader->sweep->path);
    cJSON_ArrayForEach (item, model)
        add_model(reader, item);
}

static void read_calibrations(struct reader *reader)
{
    struct wn_sweep *sweep = reader->sweep;
    const cJSON *sets = get_object(reader, sweep->json, "", "calibration"), *item;
    cJSON_ArrayForEach (item, sets) {
        if (!check_name(reader, "calibration: ", item->string))
            continue;
        sweep->calibrations = wn_resize(sweep->calibrations, sweep->n_calibrations + 1, sizeof *sweep->calibrations);
        struct wn_sweep_calibration *set = &sweep->calibrations[sweep->n_calibrations++];
        *set = (struct wn_sweep_calibration){
            .spec = item, .base = sweep->n_calibrations - 1, .draw = sweep->n_calibrations - 1};
        snprintf(set->name, sizeof set->name, "%s", item->string);
        wn_calibration_check(sweep->directory, set->name, item, reader->problems);
    }
}

static void check_search_task(struct reader *reader, const char *place, const char *name)
{
    struct wn_text known = {0};
    for (int64_t e = 0; e < reader->sweep->n_evals; e++) {
        const struct wn_sweep_eval *eval = &reader->sweep->evals[e];
        if (eval->kind->gold && !strcmp(eval->name, name)) {
            wn_text_release(&known);
            return;
        }
        if (eval->kind->gold)
            wn_text_printf(&known, ", \"%s\"", eval->name);
    }
    PROBLEM(reader,
            "%s: key \"fitness\": \"%s\" is no fitness (winnow help search) and no task under \"evaluate\" with right "
            "answers; there is \"kl\"%s",
            place, name, known.data ? known.data : "");
    wn_text_release(&known);
}

/* Which kind of space a search is for is known from the points that name it (searches.c); what is wrong for all is
 * wrong for drop. */
static void read_search(struct reader *reader, const cJSON *item)
{
    struct wn_sweep *sweep = reader->sweep;
    struct wn_search_settings settings;
    char *place = wn_format("%s: search.%s", sweep->path, item->string);
    int64_t before = reader->problems->count;
    bool known = false;
    if (cJSON_IsObject(item)) {
        wn_search_settings_read(place, item, WN_SPACE_DROP, &settings, reader->problems);
        for (int64_t c = 0; c < sweep->n_calibrations; c++)
            known = known || !strcmp(sweep->calibrations[c].name, settings.on);
        if (settings.fitness == WN_FITNESS_task)
            check_search_task(reader, place, settings.on);
        else if (!known && reader->problems->count == before)
            PROBLEM(reader, "%s: key \"on\": \"%s\" is not a set under \"calibration\"", place, settings.on);
        wn_search_settings_release(&settings);
    } else {
        PROBLEM(reader, "%s: expected an object", place);
    }
    wn_free(place);
}

static void read_searches(struct reader *reader)
{
    static const char *const taken[] = {"uniform", "owl", "dynamic_programming"};
    struct wn_sweep *sweep = reader->sweep;
    const cJSON *searches = get_object(reader, sweep->json, "", "search"), *item;
    cJSON_ArrayForEach (item, searches) {
        bool free = true;
        for (int64_t i = 0; i < COUNT(taken); i++)
            free = free && strcmp(item->string, taken[i]) != 0;
        if (!free)
            PROBLEM(reader, "%s: search: \"%s\" is an allocation of its own: choose another name", sweep->path,
                    item->string);
        if (!free || !check_name(reader, "search: ", item->string))
            continue;
        sweep->searches = wn_resize(sweep->searches, sweep->n_searches + 1, sizeof *sweep->searches);
        struct wn_sweep_search *search = &sweep->searches[sweep->n_searches++];
        snprintf(search->name, sizeof search->name, "%s", item->string);
        search->spec = item;
        read_search(reader, item);
    }
}

static void read_tokenizer(struct reader *reader)
{
    const cJSON *how = cJSON_GetObjectItemCaseSensitive(reader->sweep->json, "tokenizer");
    const char *text = cJSON_GetStringValue(how);
    reader->sweep->tokenizer_file = text && strcmp(text, "file") == 0;
    if (how && !reader->sweep->tokenizer_file && !(text && strcmp(text, "class") == 0))
        PROBLEM(reader, "%s: tokenizer: expected \"class\" or \"file\"", reader->sweep->path);
}

static void read_compute(struct reader *reader)
{
    const cJSON *compute = cJSON_GetObjectItemCaseSensitive(reader->sweep->json, "compute");
    const char *text = cJSON_GetStringValue(compute);
    if (text && strcmp(text, "bf16") == 0)
        reader->sweep->compute = WN_COMPUTE_BF16;
    else if (compute && !(text && strcmp(text, "f32") == 0))
        PROBLEM(reader, "%s: compute: expected \"f32\" or \"bf16\"", reader->sweep->path);
}

static void read_texts(struct reader *reader)
{
    struct wn_sweep *sweep = reader->sweep;
    static const char *const keys[] = {"name", "output", "scratch", "description", "inputs", "$schema"};
    for (int64_t i = 0; i < COUNT(keys); i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(sweep->json, keys[i]);
        if (item && (!cJSON_IsString(item) || !item->valuestring[0]))
            PROBLEM(reader, "%s: %s: expected a text", sweep->path, keys[i]);
    }
    const cJSON *name = cJSON_GetObjectItemCaseSensitive(sweep->json, "name");
    const cJSON *output = cJSON_GetObjectItemCaseSensitive(sweep->json, "output");
    sweep->name = wn_strdup(cJSON_IsString(name) ? name->valuestring : "sweep");
    char *folder = wn_directory_of(sweep->path);
    if (cJSON_IsString(output))
        sweep->output = wn_join_path(folder, output->valuestring);
    const char *scratch = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(sweep->json, "scratch"));
    if (scratch)
        sweep->scratch = wn_join_path(folder, scratch);
    const char *inputs = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(sweep->json, "inputs"));
    if (inputs) {
        wn_free(sweep->directory);
        sweep->directory = wn_join_path(folder, inputs);
    }
    wn_free(folder);
}

/* ---- evaluate ---- */

static struct wn_sweep_eval *find_eval(const struct wn_sweep *sweep, const char *name)
{
    for (int64_t i = 0; i < sweep->n_evals; i++)
        if (!strcmp(sweep->evals[i].name, name))
            return &sweep->evals[i];
    return NULL;
}

/* The kind a section of "evaluate" is for. */
static const struct wn_eval *kind_of_section(const char *section)
{
    int64_t count;
    const struct wn_eval *const *table = wn_eval_table(&count);
    for (int64_t i = 0; i < count; i++)
        if (!strcmp(table[i]->section, section))
            return table[i];
    return NULL;
}

static void add_eval(struct reader *reader, const char *section, const struct wn_eval *kind, const char *name,
                     const cJSON *spec)
{
    struct wn_sweep *sweep = reader->sweep;
    char where[96];
    snprintf(where, sizeof where, "evaluate.%s: ", section);
    if (!check_name(reader, where, name))
        return;
    if (find_eval(sweep, name)) {
        PROBLEM(reader, "%s: evaluate.%s: the name \"%s\" is used twice", sweep->path, section, name);
        return;
    }
    sweep->evals = wn_resize(sweep->evals, sweep->n_evals + 1, sizeof *sweep->evals);
    struct wn_sweep_eval *eval = &sweep->evals[sweep->n_evals++];
    *eval = (struct wn_sweep_eval){.kind = kind, .spec = spec};
    snprintf(eval->name, sizeof eval->name, "%s", name);
    kind->check(sweep->directory, name, spec, reader->problems);
}

/* A task: a path, or an object with "requests". Its file says the kind, and its name where it is one of a list. */
static void add_task(struct reader *reader, const char *given, const cJSON *item)
{
    char name[64];
    const struct wn_eval *kind = wn_requests_kind(reader->sweep->directory, item, name);
    if (given || name[0])
        add_eval(reader, "tasks", kind, given ? given : name, item);
    else
        PROBLEM(reader, "%s: evaluate.tasks: expected the path of a request file, or an object with \"requests\"",
                reader->sweep->path);
}

static void read_section(struct reader *reader, const cJSON *evaluate, const char *section)
{
    const cJSON *sets = cJSON_GetObjectItemCaseSensitive(evaluate, section), *item;
    if (!sets)
        return;
    bool tasks = !strcmp(section, "tasks");
    if (tasks && cJSON_IsArray(sets)) {
        cJSON_ArrayForEach (item, sets)
            add_task(reader, NULL, item);
    } else if (tasks && cJSON_IsObject(sets)) {
        cJSON_ArrayForEach (item, sets)
            add_task(reader, item->string, item);
    } else if (cJSON_IsObject(sets)) {
        cJSON_ArrayForEach (item, sets)
            add_eval(reader, section, kind_of_section(section), item->string, item);
    } else {
        PROBLEM(reader, "%s: evaluate.%s: expected an object of named sets%s", reader->sweep->path, section,
                tasks ? " or a list of paths" : "");
    }
}

/* A section that is one set. */
static void read_single(struct reader *reader, const cJSON *evaluate, const char *section)
{
    const cJSON *spec = get_object(reader, evaluate, "evaluate.", section);
    if (spec)
        add_eval(reader, section, kind_of_section(section), section, spec);
}

/* Names in "on" of divergence or logits; calls are for each existing set. */
static void read_on(struct reader *reader, const char *section, const cJSON *spec,
                    void (*mark)(struct wn_sweep_eval *, const cJSON *))
{
    struct wn_sweep *sweep = reader->sweep;
    const cJSON *on = cJSON_GetObjectItemCaseSensitive(spec, "on"), *item;
    if (!cJSON_IsArray(on) || cJSON_GetArraySize(on) == 0) {
        PROBLEM(reader, "%s: evaluate.%s.on: expected a list with at least one name of a set", sweep->path, section);
        return;
    }
    cJSON_ArrayForEach (item, on) {
        struct wn_sweep_eval *eval = cJSON_IsString(item) ? find_eval(sweep, item->valuestring) : NULL;
        if (eval && eval->kind->generates)
            PROBLEM(reader, "%s: evaluate.%s.on: \"%s\" generates text: it has no tokens to compare", sweep->path,
                    section, item->valuestring);
        else if (eval)
            mark(eval, spec);
        else
            PROBLEM(reader, "%s: evaluate.%s.on: \"%s\" is not a name under evaluate.perplexity or evaluate.tasks",
                    sweep->path, section, cJSON_IsString(item) ? item->valuestring : "?");
    }
}

static void mark_divergence(struct wn_sweep_eval *eval, const cJSON *spec)
{
    (void)spec;
    eval->divergence = true;
}

static void mark_logits(struct wn_sweep_eval *eval, const cJSON *spec)
{
    eval->top = (int64_t)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(spec, "top"));
    eval->logit_targets = (int64_t)cJSON_GetNumberValue(cJSON_GetObjectItemCaseSensitive(spec, "tokens"));
}

static void read_divergence(struct reader *reader, const cJSON *evaluate)
{
    const cJSON *spec = get_object(reader, evaluate, "evaluate.", "divergence"), *item;
    if (!spec)
        return;
    check_keys(reader, "evaluate.divergence: ", spec, divergence_keys, COUNT(divergence_keys));
    static const char *const measures[] = {"kl", "js", "top1"};
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(spec, "measures")) {
        bool known = false;
        for (int64_t i = 0; i < COUNT(measures); i++)
            known = known || (cJSON_IsString(item) && !strcmp(item->valuestring, measures[i]));
        if (!known)
            PROBLEM(reader, "%s: evaluate.divergence.measures: expected \"kl\", \"js\" or \"top1\" (all are recorded)",
                    reader->sweep->path);
    }
    read_on(reader, "divergence", spec, mark_divergence);
}

static bool check_count(const struct reader *reader, const cJSON *object, const char *where, const char *key,
                        double low, double high)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    double value = cJSON_IsNumber(item) ? item->valuedouble : NAN;
    if (value >= low && value <= high && floor(value) == value)
        return true;
    PROBLEM(reader, "%s: %s%s: expected a whole number from %.0f to %.0f", reader->sweep->path, where, key, low, high);
    return false;
}

static void read_logits(struct reader *reader, const cJSON *evaluate)
{
    const cJSON *spec = get_object(reader, evaluate, "evaluate.", "logits");
    if (!spec)
        return;
    check_keys(reader, "evaluate.logits: ", spec, logits_keys, COUNT(logits_keys));
    bool top = check_count(reader, spec, "evaluate.logits.", "top", 1, 65536);
    bool tokens = check_count(reader, spec, "evaluate.logits.", "tokens", 1, 1e9);
    if (top && tokens)
        read_on(reader, "logits", spec, mark_logits);
}

/* Whether the tokenizer has such a token shows when it is opened. */
static void read_prefix_token(struct reader *reader, const cJSON *evaluate)
{
    const cJSON *token = cJSON_GetObjectItemCaseSensitive(evaluate, "prefix_token");
    if (!token)
        return;
    if (!cJSON_IsString(token) || !token->valuestring[0])
        PROBLEM(reader, "%s: evaluate.prefix_token: expected \"bos\", \"eos\", \"none\" or a token",
                reader->sweep->path);
    else
        reader->sweep->prefix_token = token->valuestring;
}

static void read_evaluate(struct reader *reader)
{
    const cJSON *evaluate = get_object(reader, reader->sweep->json, "", "evaluate");
    if (evaluate) {
        check_keys(reader, "evaluate: ", evaluate, evaluate_keys, COUNT(evaluate_keys));
        read_section(reader, evaluate, "perplexity");
        read_section(reader, evaluate, "tasks");
        read_single(reader, evaluate, "efficiency");
        read_divergence(reader, evaluate);
        read_logits(reader, evaluate);
        read_prefix_token(reader, evaluate);
    }
    if (reader->sweep->n_evals == 0)
        PROBLEM(reader,
                "%s: evaluate: nothing to evaluate: give at least one set under evaluate.perplexity or "
                "evaluate.tasks",
                reader->sweep->path);
}

/* ---- statistics: the reference sample of output_error ---- */

static bool known_set(const struct wn_sweep *sweep, const char *name)
{
    for (int64_t i = 0; i < sweep->n_calibrations; i++)
        if (!strcmp(sweep->calibrations[i].name, name))
            return true;
    return find_eval(sweep, name) != NULL;
}

static void read_statistics(struct reader *reader)
{
    struct wn_sweep *sweep = reader->sweep;
    const cJSON *spec = get_object(reader, sweep->json, "", "statistics");
    const char *first = sweep->n_calibrations ? sweep->calibrations[0].name
                        : sweep->n_evals      ? sweep->evals[0].name
                                              : "";
    snprintf(sweep->sample_name, sizeof sweep->sample_name, "%s", first);
    sweep->sample_tokens = 512;
    if (!spec)
        return;
    check_keys(reader, "statistics: ", spec, statistics_keys, COUNT(statistics_keys));
    const cJSON *sample = cJSON_GetObjectItemCaseSensitive(spec, "sample");
    if (sample && (!cJSON_IsString(sample) || !known_set(sweep, sample->valuestring)))
        PROBLEM(reader, "%s: statistics.sample: expected the name of a calibration or evaluation set", sweep->path);
    else if (sample)
        snprintf(sweep->sample_name, sizeof sweep->sample_name, "%s", sample->valuestring);
    const cJSON *tokens = cJSON_GetObjectItemCaseSensitive(spec, "tokens");
    if (tokens && check_count(reader, spec, "statistics.", "tokens", 1, WN_CHUNK_TOKENS))
        sweep->sample_tokens = (int64_t)tokens->valuedouble;
}

/* ---- the whole file ---- */

void wn_sweep_place_problems(const struct wn_sweep *sweep, struct wn_problems *problems, int64_t first)
{
    for (int64_t i = first; i < problems->count; i++) {
        char *line = problems->lines[i];
        if (strncmp(line, "evaluate.", 9) && strncmp(line, "calibration.", 12))
            continue;
        problems->lines[i] = wn_format("%s: %s", sweep->path, line);
        wn_free(line);
    }
}

static void read_grid_key(struct reader *reader)
{
    struct wn_sweep *sweep = reader->sweep;
    sweep->grid = cJSON_GetObjectItemCaseSensitive(sweep->json, "grid");
    if (!sweep->grid)
        PROBLEM(reader, "%s: key \"grid\" is missing: a list of products", sweep->path);
    else if (!cJSON_IsArray(sweep->grid) || cJSON_GetArraySize(sweep->grid) == 0)
        PROBLEM(reader, "%s: grid: expected a list with at least one product", sweep->path);
    if (!cJSON_IsArray(sweep->grid))
        sweep->grid = NULL;
}

/* An existing folder as an absolute path in place of a key. */
static void replace_place(const struct reader *reader, const char *key, const char *option, const char *path)
{
    cJSON *json = reader->sweep->json;
    char *real = path ? realpath(path, NULL) : NULL;
    if (path && !real)
        PROBLEM(reader, "%s: %s: no such folder", option, path);
    if (!real)
        return;
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    cJSON_AddStringToObject(json, key, real);
    free(real);
}

static void replace_places(struct reader *reader, const struct wn_sweep_places *places)
{
    if (!places || (!places->model && !places->inputs))
        return;
    replace_place(reader, "model", "--model", places->model);
    replace_place(reader, "inputs", "--inputs", places->inputs);
    char *text = cJSON_Print(reader->sweep->json);
    wn_free(reader->sweep->text);
    reader->sweep->text = wn_strdup(text);
    cJSON_free(text);
}

/* Takes `text`; `status` says whether it could be read. */
static wn_status read_sweep(const char *path, char *text, int64_t length, wn_status status,
                            const struct wn_sweep_places *places, struct wn_problems *problems, struct wn_sweep **out)
{
    int64_t before = problems->count;
    struct wn_sweep *sweep = wn_alloc_zero(1, sizeof *sweep);
    struct reader reader = {sweep, problems};
    *out = sweep;
    sweep->path = wn_strdup(path);
    sweep->directory = wn_directory_of(path);
    sweep->text = text;
    if (status == WN_OK)
        status = wn_json_parse(path, text, length, true, &sweep->json);
    if (status == WN_OK && !cJSON_IsObject(sweep->json))
        status = wn_fail(WN_ERR_INPUT, "%s: expected an object at the top level", path);
    if (status != WN_OK) {
        wn_problems_add(problems, "%s", wn_error_message());
        return WN_ERR_INPUT;
    }
    replace_places(&reader, places);
    wn_paths_watch(&sweep->inputs);
    check_keys(&reader, "", sweep->json, top_keys, COUNT(top_keys));
    read_texts(&reader);
    read_tokenizer(&reader);
    read_compute(&reader);
    read_models(&reader);
    read_calibrations(&reader);
    read_evaluate(&reader);
    read_searches(&reader);
    read_statistics(&reader);
    read_grid_key(&reader);
    wn_sweep_vary_sets(sweep);
    wn_paths_watch(NULL);
    wn_sweep_place_problems(sweep, problems, before);
    return problems->count == before ? WN_OK : wn_fail(WN_ERR_INPUT, "%s", problems->lines[before]);
}

wn_status wn_sweep_read_at(const char *path, const struct wn_sweep_places *places, struct wn_problems *problems,
                           struct wn_sweep **sweep)
{
    int64_t length;
    char *text;
    wn_status status = wn_read_text(path, &text, &length);
    return read_sweep(path, text, length, status, places, problems, sweep);
}

wn_status wn_sweep_read(const char *path, struct wn_problems *problems, struct wn_sweep **sweep)
{
    return wn_sweep_read_at(path, NULL, problems, sweep);
}

wn_status wn_sweep_parse(const char *path, const char *text, struct wn_problems *problems, struct wn_sweep **sweep)
{
    return read_sweep(path, wn_strdup(text), (int64_t)strlen(text), WN_OK, NULL, problems, sweep);
}

void wn_sweep_close(struct wn_sweep **sweep_pointer)
{
    struct wn_sweep *sweep = *sweep_pointer;
    if (!sweep)
        return;
    for (int64_t i = 0; i < sweep->n_models; i++)
        wn_free(sweep->models[i]);
    for (int64_t i = 0; i < sweep->n_calibrations; i++)
        cJSON_Delete(sweep->calibrations[i].drawn);
    wn_paths_release(&sweep->inputs);
    wn_free(sweep->models);
    wn_free(sweep->calibrations);
    wn_free(sweep->evals);
    wn_free(sweep->searches);
    wn_free(sweep->path);
    wn_free(sweep->directory);
    wn_free(sweep->text);
    wn_free(sweep->name);
    wn_free(sweep->output);
    wn_free(sweep->scratch);
    cJSON_Delete(sweep->json);
    wn_free(sweep);
    *sweep_pointer = NULL;
}
