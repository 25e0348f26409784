/* SPDX-License-Identifier: Apache-2.0 */
/* The section "search" of a sweep file: its keys, the published presets, and their mistakes. */
#include "search_impl.h"

#include <winnow/data.h>

#include <cjson/cJSON.h>

#include <math.h>
#include <string.h>

/* ---- presets ---- */

struct preset {
    const char *name, *help;
    int64_t generations, offspring; /* generations 0: from the number of units that are left out */
    int n_stages;
    int64_t survivors[WN_SEARCH_STAGES], tokens[WN_SEARCH_STAGES];
};

/* Settings of the published scripts; the last one is that of the paper's appendix. */
static const struct preset presets[] = {
    {"sparsity", "levels of sparsity", 400, 64, 3, {8, 2, 1}, {2048, 16384, 65536}},
    {"bits", "levels of bits", 150, 128, 3, {16, 4, 1}, {2048, 16384, 131072}},
    {"drop", "branches or blocks left out", 0, 32, 2, {2, 1}, {2048, 32768}},
    {"super-fast", "any of them, on few tokens", 400, 16, 2, {1, 1}, {512, 8192}},
};

enum { PRESETS = sizeof presets / sizeof presets[0] };

static const struct preset *find_preset(const char *name, enum wn_space_kind kind)
{
    for (int p = 0; p < PRESETS; p++)
        if (!strcmp(presets[p].name, name))
            return &presets[p];
    return &presets[kind]; /* "auto" */
}

/* ---- keys ---- */

static const struct wn_parameter parameters[] = {
    {.name = "preset",
     .type = WN_STRING,
     .standard = "\"auto\"",
     .words = "auto|sparsity|bits|drop|super-fast",
     .help = "where generations, offspring, survivors and tokens come from when they are not given; auto: by what is "
             "searched"},
    {.name = "on",
     .type = WN_STRING,
     .help = "the calibration set that candidates are judged on; not of a fitness that is a task"},
    {.name = "fitness",
     .type = WN_STRING,
     .standard = "\"kl\"",
     .help = "what is to be small: one of those below, or the name of a task under \"evaluate\""},
    {.name = "top",
     .type = WN_INTEGER,
     .standard = "512",
     .low = 1,
     .high = 1048576,
     .help = "fitness sparse_kl: the largest probabilities of the dense model that are compared"},
    {.name = "generations",
     .type = WN_INTEGER,
     .low = 1,
     .high = 1000000,
     .help = "of k left out from n, when not given: int(k (n - k) / 1.5)"},
    {.name = "offspring", .type = WN_INTEGER, .low = 1, .high = 65536, .help = "candidates of a generation"},
    {.name = "initial",
     .type = WN_INTEGER,
     .low = 1,
     .high = 65536,
     .help = "random candidates, the best of which is the first parent, when not given: 64 for drop, else 32; without "
             "effect on sparsity and whole bits, which begin uniform"},
    {.name = "initial_tokens",
     .type = WN_INTEGER,
     .standard = "2048",
     .low = 2,
     .high = INFINITY,
     .unit = "token",
     .help = "on which it is chosen"},
    {.name = "seed", .type = WN_INTEGER, .standard = "0", .low = 0, .high = 9007199254740992.0, .help = "of all draws"},
    {.name = "inverted",
     .type = WN_BOOL,
     .standard = "false",
     .help = "look for the largest fitness: the worst choice"},
    {.name = "levels",
     .type = WN_INTEGER,
     .standard = "8",
     .low = 1,
     .high = 64,
     .help = "sparsity: levels above and below the uniform sparsity, as far as a linear has them"},
    {.name = "step",
     .type = WN_INTEGER,
     .low = 1,
     .high = INFINITY,
     .unit = "weight",
     .help = "sparsity: zeros from one level to the next, when not given: int(0.5 min(s, 1 - s) / levels * hidden^2)"},
    {.name = "legal_attention",
     .type = WN_STRING,
     .standard = "\"\"",
     .help = "drop: blocks whose attention may be left out, like \"0-3,7\"; of a whole block both; \"\": all"},
    {.name = "legal_mlp", .type = WN_STRING, .standard = "\"\"", .help = "drop: the same for the MLP"},
};

enum { PARAMETERS = sizeof parameters / sizeof parameters[0] };

/* Beside the table, which has as many rows as a list of values can have. */
static const struct wn_parameter more[] = {
    {.name = "items",
     .type = WN_NUMBER,
     .standard = "0.5",
     .low = 0.001,
     .high = 1,
     .help = "fitness of a task: share of its items that searches see, the same ones for every seed; the others are "
             "left to measure what was found"},
    {.name = "calibration_bits",
     .type = WN_INTEGER,
     .low = WN_BITS_LEAST,
     .high = WN_BITS_MOST,
     .unit = "bit",
     .help = "levels of bits are calibrated behind blocks that are quantized so, when not given behind dense ones; the "
             "published code has 3"},
};

enum { MORE = sizeof more / sizeof more[0] };

/* ---- lists ---- */

/* A list of 1 to WN_SEARCH_STAGES whole numbers from `low` on; 0: mistakes were added. */
static int read_list(const char *place, const cJSON *list, int64_t low, int64_t *values, struct wn_problems *problems)
{
    int count = cJSON_GetArraySize(list);
    bool fits = cJSON_IsArray(list) && count >= 1 && count <= WN_SEARCH_STAGES;

    for (int i = 0; i < count && fits; i++) {
        const cJSON *item = cJSON_GetArrayItem(list, i);
        fits = cJSON_IsNumber(item) && item->valuedouble == rint(item->valuedouble) &&
               item->valuedouble >= (double)low && item->valuedouble <= 9007199254740992.0;
        values[i] = fits ? (int64_t)item->valuedouble : 0;
    }
    if (!fits)
        wn_problems_add(problems,
                        "%s: key \"%s\": expected a list of 1 to %d whole numbers from %lld on, one for each "
                        "stage",
                        place, list->string, WN_SEARCH_STAGES, (long long)low);
    return fits ? count : 0;
}

/* Different numbers of bits, at least two; NULL: the standard. */
static unsigned read_bits(const char *place, const cJSON *list, struct wn_problems *problems)
{
    unsigned bits = list ? 0 : WN_BITS_STANDARD;
    bool fits = !list || (cJSON_IsArray(list) && cJSON_GetArraySize(list) >= 2);
    const cJSON *item;

    cJSON_ArrayForEach (item, list) {
        const double level = item->valuedouble;
        fits = fits && cJSON_IsNumber(item) && level == rint(level) && level >= WN_BITS_LEAST &&
               level <= WN_BITS_MOST && !(bits & WN_BITS((unsigned)level));
        if (fits)
            bits |= WN_BITS((unsigned)level);
    }
    if (!fits)
        wn_problems_add(problems,
                        "%s: key \"bits\": expected a list of different whole numbers in [%d, %d], at least 2", place,
                        WN_BITS_LEAST, WN_BITS_MOST);
    return fits ? bits : WN_BITS_STANDARD;
}

static void copy_list(int count, const int64_t *from, int64_t *to)
{
    memcpy(to, from, (size_t)count * sizeof *to);
}

/* Lists of the section or the preset; they belong together, so one alone must be as long as the other of the preset. */
static void read_stages(const char *place, const cJSON *survivors, const cJSON *tokens, const struct preset *preset,
                        struct wn_search_settings *settings, struct wn_problems *problems)
{
    int n_survivors = preset->n_stages, n_tokens = preset->n_stages;

    copy_list(n_survivors, preset->survivors, settings->survivors);
    copy_list(n_tokens, preset->tokens, settings->tokens);
    if (survivors)
        n_survivors = read_list(place, survivors, 1, settings->survivors, problems);
    if (tokens)
        n_tokens = read_list(place, tokens, 2, settings->tokens, problems);
    settings->n_stages = n_survivors;
    if (n_survivors && n_tokens && n_survivors != n_tokens)
        wn_problems_add(problems, "%s: \"survivors\" has %d stages, \"tokens\" %d", place, n_survivors, n_tokens);
}

static void check_survivors(const char *place, const struct wn_search_settings *settings, struct wn_problems *problems)
{
    int64_t before = settings->offspring;

    for (int s = 0; s < settings->n_stages; s++) {
        if (settings->survivors[s] > before)
            wn_problems_add(problems, "%s: key \"survivors\": stage %d keeps %lld of %lld candidates; they cannot grow",
                            place, s + 1, (long long)settings->survivors[s], (long long)before);
        before = settings->survivors[s];
    }
    if (settings->n_stages && before != 1)
        wn_problems_add(problems, "%s: key \"survivors\": the last stage keeps %lld, but a generation has one parent",
                        place, (long long)before);
}

/* ---- the section ---- */

static int64_t given_or(const struct wn_params *params, const char *name, int64_t otherwise)
{
    return wn_params_find(params, name)->set ? wn_params_integer(params, name) : otherwise;
}

/* What is none of the list is a task. */
static enum wn_fitness fitness_of(const char *name)
{
    int fitness = 0;

    while (fitness < WN_FITNESSES && strcmp(wn_fitness_name((enum wn_fitness)fitness), name) != 0)
        fitness++;
    return (enum wn_fitness)fitness;
}

static void take_params(const struct wn_params *params, const cJSON *json, enum wn_space_kind kind,
                        const struct preset *preset, struct wn_search_settings *settings)
{
    settings->fitness = fitness_of(wn_settings_text(json, "fitness", "kl"));
    settings->top = wn_params_integer(params, "top");
    settings->generations = given_or(params, "generations", preset->generations);
    settings->offspring = given_or(params, "offspring", preset->offspring);
    settings->seed = wn_params_integer(params, "seed");
    settings->initial = given_or(params, "initial", kind == WN_SPACE_DROP ? 64 : 32);
    settings->initial_tokens = wn_params_integer(params, "initial_tokens");
    settings->inverted = wn_params_flag(params, "inverted");
    settings->levels = wn_params_integer(params, "levels");
    settings->step = given_or(params, "step", 0);
    settings->legal_attention = wn_strdup(wn_settings_text(json, "legal_attention", ""));
    settings->legal_mlp = wn_strdup(wn_settings_text(json, "legal_mlp", ""));
}

/* The calibration set, or the task. */
static void take_name(const char *place, const cJSON *json, struct wn_search_settings *settings,
                      struct wn_problems *problems)
{
    const bool task = settings->fitness == WN_FITNESS_task;
    const char *on = wn_settings_text(json, "on", NULL), *name = task ? wn_settings_text(json, "fitness", "") : on;

    if (!name && cJSON_IsObject(json) && !cJSON_HasObjectItem(json, "on"))
        wn_problems_add(problems, "%s: key \"on\" is missing", place);
    if (!name)
        return;
    if (strlen(name) < sizeof settings->on)
        memcpy(settings->on, name, strlen(name) + 1);
    else
        wn_problems_add(problems, "%s: key \"%s\": nothing has a name this long", place, task ? "fitness" : "on");
}

/* Keys beside the table. */
static void take_more(const char *place, const cJSON *const *given, enum wn_space_kind kind,
                      struct wn_search_settings *settings, struct wn_problems *problems)
{
    struct wn_params params;

    wn_params_init(&params, more, MORE);
    for (int i = 0; i < MORE; i++)
        if (given[i] && wn_params_set(&params, more[i].name, given[i]) != WN_OK)
            wn_problems_add(problems, "%s: %s", place, wn_error_message());
    settings->items = wn_params_number(&params, "items");
    settings->calibration_bits = kind == WN_SPACE_BITS ? (int)given_or(&params, "calibration_bits", 0) : 0;
}

void wn_search_settings_read(const char *place, const cJSON *json, enum wn_space_kind kind,
                             struct wn_search_settings *settings, struct wn_problems *problems)
{
    cJSON *plain = cJSON_Duplicate(json, true);
    cJSON *survivors = cJSON_DetachItemFromObjectCaseSensitive(plain, "survivors");
    cJSON *tokens = cJSON_DetachItemFromObjectCaseSensitive(plain, "tokens");
    cJSON *bits = cJSON_DetachItemFromObjectCaseSensitive(plain, "bits");
    cJSON *beside[MORE];
    struct wn_params params;

    for (int i = 0; i < MORE; i++)
        beside[i] = cJSON_DetachItemFromObjectCaseSensitive(plain, more[i].name);
    *settings = (struct wn_search_settings){.kind = kind};
    wn_settings_read(place, plain, parameters, PARAMETERS, &params, problems);
    const struct preset *preset = find_preset(wn_params_text(&params, "preset"), kind);
    take_params(&params, plain, kind, preset, settings);
    settings->bits = read_bits(place, bits, problems);
    take_name(place, plain, settings, problems);
    take_more(place, (const cJSON *const *)beside, kind, settings, problems);
    read_stages(place, survivors, tokens, preset, settings, problems);
    check_survivors(place, settings, problems);
    if (settings->generations == 0 && kind != WN_SPACE_DROP)
        wn_problems_add(problems, "%s: key \"generations\" is missing: preset \"%s\" counts them for drop only", place,
                        preset->name);
    cJSON_Delete(plain);
    cJSON_Delete(survivors);
    cJSON_Delete(tokens);
    cJSON_Delete(bits);
    for (int i = 0; i < MORE; i++)
        cJSON_Delete(beside[i]);
}

void wn_search_settings_release(struct wn_search_settings *settings)
{
    wn_free(settings->legal_attention);
    wn_free(settings->legal_mlp);
    *settings = (struct wn_search_settings){0};
}

void wn_search_settings_tokens(const char *place, const struct wn_search_settings *settings, int64_t tokens,
                               struct wn_problems *problems)
{
    const char *what = settings->fitness == WN_FITNESS_task ? "what the search sees of task" : "calibration set";

    for (int s = 0; s < settings->n_stages; s++)
        if (settings->tokens[s] > tokens)
            wn_problems_add(problems, "%s: key \"tokens\": stage %d asks for %lld tokens, %s \"%s\" has %lld", place,
                            s + 1, (long long)settings->tokens[s], what, settings->on, (long long)tokens);
    if (settings->kind != WN_SPACE_SPARSITY && settings->initial_tokens > tokens)
        wn_problems_add(problems, "%s: key \"initial_tokens\": %lld tokens, %s \"%s\" has %lld", place,
                        (long long)settings->initial_tokens, what, settings->on, (long long)tokens);
}

void wn_search_settings_request(const struct wn_search_settings *settings, struct wn_space_request *request)
{
    request->levels = settings->levels;
    request->step = settings->step;
    request->bits = settings->bits;
    request->legal_attention = settings->legal_attention;
    request->legal_mlp = settings->legal_mlp;
}

/* ---- help ---- */

const struct wn_parameter *wn_search_parameters(int *count)
{
    *count = PARAMETERS;
    return parameters;
}

const struct wn_parameter *wn_search_more_parameters(int *count)
{
    *count = MORE;
    return more;
}

static void append_list(int count, const int64_t *values, struct wn_text *text)
{
    for (int i = 0; i < count; i++)
        wn_text_printf(text, "%s%lld", i ? ", " : "[", (long long)values[i]);
    wn_text_printf(text, "]");
}

void wn_search_help(struct wn_text *text)
{
    static const char *const descriptions[] = {
#define X(name, description) description,
        WN_FITNESS_LIST(X)
#undef X
    };

    wn_text_printf(text,
                   "Evolutionary search for levels of all linears under one budget (EvoPress, arXiv:2410.14649):\n"
                   "  \"search\": {\"NAME\": {\"on\": \"general\", ...}}\n\n");
    wn_params_help(parameters, PARAMETERS, text);
    wn_params_help(more, MORE, text);
    wn_text_printf(text,
                   "  bits       a list  levels of bits, with gaps or without (default [2, 3, 4, 5, 6]) [bit]; of a "
                   "joint point the bits are searched where this is given, or the preset \"bits\", or a mean that is "
                   "no whole number; else its sparsity\n"
                   "  survivors  a list  candidates that each stage of a generation keeps; the last one keeps 1\n"
                   "  tokens     a list  calibration tokens on which each stage judges, drawn anew [token]; of a task "
                   "as many items as have them, the last one whole; what a text begins with as the one before it in "
                   "its item counts once\n\n"
                   "fitness, the smaller the better:\n");
    for (int f = 0; f < WN_FITNESSES; f++)
        wn_text_printf(text, "  %-10s  %s\n", wn_fitness_name((enum wn_fitness)f), descriptions[f]);
    wn_text_printf(
        text,
        "  %-10s  minus the mean log-likelihood of the right answers: of a multiple_choice task per character "
        "or byte where its main metric is acc_norm or acc_bytes, of rolling texts per word or byte; of equals the "
        "candidate with more right answers\n",
        "(a task)");
    wn_text_printf(text, "\npresets:\n");
    for (int p = 0; p < PRESETS; p++) {
        wn_text_printf(text, "  %-10s  %s: generations ", presets[p].name, presets[p].help);
        if (presets[p].generations)
            wn_text_printf(text, "%lld", (long long)presets[p].generations);
        else
            wn_text_printf(text, "int(k (n - k) / 1.5)");
        wn_text_printf(text, ", offspring %lld, survivors ", (long long)presets[p].offspring);
        append_list(presets[p].n_stages, presets[p].survivors, text);
        wn_text_printf(text, ", tokens ");
        append_list(presets[p].n_stages, presets[p].tokens, text);
        wn_text_printf(text, "\n");
    }
}
