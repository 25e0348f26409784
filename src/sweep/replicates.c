/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replicates.c: how sure is a point? Other draws of a calibration set, and noise in front of the first block, which
 * long chains of solves amplify as they do rounding. Each is a set of its own, so statistics, dense passes and states
 * know nothing of it; a product asks for them by "replicates", "perturb" and "perturb_seed".
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sweep_impl.h"

#define MOST_REPLICATES 1000
#define MOST_PERTURB    0.01
#define MOST_SEED       9007199254740992.0

/* ---- values ---- */

static bool is_whole(const cJSON *value, double low, double high)
{
    return cJSON_IsNumber(value) && value->valuedouble >= low && value->valuedouble <= high &&
           value->valuedouble == rint(value->valuedouble);
}

static bool is_perturb(const cJSON *value)
{
    return cJSON_IsNumber(value) && value->valuedouble >= 0 && value->valuedouble <= MOST_PERTURB;
}

int wn_grid_replicates(const cJSON *value)
{
    return is_whole(value, 1, MOST_REPLICATES) ? (int)value->valuedouble : 0;
}

/* Without noise its seed is no matter. */
static struct wn_variation variation_of(int replicate, const cJSON *perturb, const cJSON *perturb_seed)
{
    struct wn_variation variation = {.replicate = replicate, .perturb = perturb ? perturb->valuedouble : 0};
    if (variation.perturb > 0 && perturb_seed)
        variation.perturb_seed = (int64_t)perturb_seed->valuedouble;
    return variation;
}

bool wn_grid_read_variation(const cJSON *replicates, int replicate, const cJSON *perturb, const cJSON *perturb_seed,
                            const char *where, struct wn_problems *problems, struct wn_variation *variation)
{
    int64_t before = problems->count;
    if (replicates && !wn_grid_replicates(replicates))
        wn_problems_add(problems, "%sreplicates: expected a whole number from 1 to %d: how many draws", where,
                        MOST_REPLICATES);
    if (perturb && !is_perturb(perturb))
        wn_problems_add(problems, "%sperturb: expected a number from 0 to %g (rounding is about 1e-7)", where,
                        MOST_PERTURB);
    if (perturb_seed && !is_whole(perturb_seed, 0, MOST_SEED))
        wn_problems_add(problems, "%sperturb_seed: expected a whole number from 0 to 2^53", where);
    if (perturb_seed && !perturb)
        wn_problems_add(problems, "%sperturb_seed: needs \"perturb\"", where);
    if (problems->count > before)
        return false;
    *variation = variation_of(replicate, perturb, perturb_seed);
    return true;
}

/* Each part that is there behind its sign. */
static void put_variation(const struct wn_variation *variation, const char *replicate, const char *perturb,
                          const char *seed, struct wn_text *text)
{
    if (variation->replicate)
        wn_text_printf(text, "%s%lld", replicate, (long long)variation->replicate);
    if (variation->perturb > 0)
        wn_text_printf(text, "%s%.15g", perturb, variation->perturb);
    if (variation->perturb_seed)
        wn_text_printf(text, "%s%lld", seed, (long long)variation->perturb_seed);
}

void wn_variation_describe(const struct wn_variation *variation, struct wn_text *text)
{
    put_variation(variation, " replicate=", " perturb=", " perturb_seed=", text);
}

const struct wn_parameter *wn_grid_variation_parameters(int *count)
{
    static const struct wn_parameter parameters[] = {
        {.name = "replicates",
         .type = WN_INTEGER,
         .low = 1,
         .high = MOST_REPLICATES,
         .help = "draws of the calibration set, with its seed and 1, 2 ... more: an axis"},
        {.name = "perturb",
         .type = WN_NUMBER,
         .high = MOST_PERTURB,
         .help = "relative noise on what the first block gets of the calibration set"},
        {.name = "perturb_seed", .type = WN_INTEGER, .high = MOST_SEED, .help = "seed of that noise"},
    };
    *count = sizeof parameters / sizeof *parameters;
    return parameters;
}

/* ---- sets ---- */

/* -1: there is none. */
static int64_t find_varied(const struct wn_sweep *sweep, int64_t base, const struct wn_variation *variation)
{
    for (int64_t c = 0; c < sweep->n_calibrations; c++) {
        const struct wn_sweep_calibration *set = &sweep->calibrations[c];
        if (set->base == base && set->variation.replicate == variation->replicate &&
            set->variation.perturb == variation->perturb && set->variation.perturb_seed == variation->perturb_seed)
            return c;
    }
    return -1;
}

int64_t wn_sweep_varied_set(const struct wn_sweep *sweep, int64_t base, const struct wn_variation *variation)
{
    int64_t found = find_varied(sweep, base, variation);
    if (found < 0)
        WN_BUG("calibration set %lld has no such variation", (long long)base);
    return found;
}

int64_t wn_sweep_sets(const struct wn_sweep *sweep)
{
    int64_t count = 0;
    while (count < sweep->n_calibrations && sweep->calibrations[count].base == count)
        count++;
    return count;
}

bool wn_sweep_varies(const struct wn_sweep *sweep)
{
    return wn_sweep_sets(sweep) < sweep->n_calibrations;
}

/* "general#1~1e-07~2": no name of the file has these signs. */
static void name_set(struct wn_sweep_calibration *set, const char *base)
{
    struct wn_text text = {0};
    wn_text_printf(&text, "%s", base);
    put_variation(&set->variation, "#", "~", "~", &text);
    snprintf(set->name, sizeof set->name, "%s", text.data);
    wn_text_release(&text);
}

/* The set is that of the file, drawn with another seed. */
static cJSON *draw_again(const cJSON *spec, int64_t replicate)
{
    cJSON *drawn = cJSON_Duplicate(spec, true), *seed = cJSON_GetObjectItemCaseSensitive(drawn, "seed");
    double first = cJSON_IsNumber(seed) ? seed->valuedouble : 0;
    cJSON_DeleteItemFromObjectCaseSensitive(drawn, "seed");
    cJSON_AddNumberToObject(drawn, "seed", first + (double)replicate);
    return drawn;
}

/* Its number; it is there already where it is that of the file, or another product asked for it. */
static int64_t add_set(struct wn_sweep *sweep, int64_t base, const struct wn_variation *variation)
{
    int64_t found = find_varied(sweep, base, variation), draw = sweep->n_calibrations;
    if (found >= 0)
        return found;
    if (variation->perturb > 0) /* noise is put on a set that is there */
        draw = add_set(sweep, base, &(struct wn_variation){.replicate = variation->replicate});
    sweep->calibrations = wn_resize(sweep->calibrations, sweep->n_calibrations + 1, sizeof *sweep->calibrations);
    struct wn_sweep_calibration *set = &sweep->calibrations[sweep->n_calibrations];
    *set = (struct wn_sweep_calibration){.base = base, .draw = draw, .variation = *variation};
    name_set(set, sweep->calibrations[base].name);
    if (variation->perturb > 0) {
        set->spec = sweep->calibrations[draw].spec;
    } else {
        set->drawn = draw_again(sweep->calibrations[base].spec, variation->replicate);
        set->spec = set->drawn;
    }
    return sweep->n_calibrations++;
}

/* ---- products ---- */

/* Values of an axis; a value that is no list is one of them, and so is a key that is not there. */
static int count_values(const cJSON *axis)
{
    return cJSON_IsArray(axis) ? cJSON_GetArraySize(axis) : 1;
}

static const cJSON *value_at(const cJSON *axis, int index)
{
    return cJSON_IsArray(axis) ? cJSON_GetArrayItem(axis, index) : axis;
}

/* All variations of one set. */
static void vary_set(struct wn_sweep *sweep, const cJSON *product, int64_t base)
{
    const cJSON *replicates = cJSON_GetObjectItemCaseSensitive(product, "replicates");
    const cJSON *perturbs = cJSON_GetObjectItemCaseSensitive(product, "perturb");
    const cJSON *seeds = cJSON_GetObjectItemCaseSensitive(product, "perturb_seed");
    int draws = replicates ? wn_grid_replicates(replicates) : 1;
    for (int p = 0; p < count_values(perturbs); p++)
        for (int s = 0; s < count_values(seeds); s++) {
            const cJSON *perturb = value_at(perturbs, p), *seed = value_at(seeds, s);
            if ((perturb && !is_perturb(perturb)) || (seed && !is_whole(seed, 0, MOST_SEED)))
                continue; /* told when the grid is built */
            for (int r = 0; r < draws; r++) {
                struct wn_variation variation = variation_of(r, perturb, seed);
                add_set(sweep, base, &variation);
            }
        }
}

/* Whether a product calibrates on a set: it names it, or the only one is meant. */
static bool uses_set(const struct wn_sweep *sweep, const cJSON *product, int64_t base, int64_t count)
{
    const cJSON *names = cJSON_GetObjectItemCaseSensitive(product, "calibration");
    for (int i = 0; names && i < count_values(names); i++) {
        const cJSON *name = value_at(names, i);
        if (cJSON_IsString(name) && !strcmp(name->valuestring, sweep->calibrations[base].name))
            return true;
    }
    return !names && count == 1;
}

void wn_sweep_vary_sets(struct wn_sweep *sweep)
{
    const int64_t count = sweep->n_calibrations;
    const cJSON *product;
    cJSON_ArrayForEach (product, sweep->grid)
        for (int64_t c = 0; c < count; c++)
            if (uses_set(sweep, product, c, count))
                vary_set(sweep, product, c);
}

/* ---- noise ---- */

static void perturb(const struct wn_calibration *from, const struct wn_sweep_calibration *as,
                    struct wn_calibration *set)
{
    const struct wn_sequences *tokens = &from->sequences;
    struct wn_sequences sequences = set->sequences; /* empty */
    *set = *from;
    set->sequences = sequences;
    set->path = wn_strdup(from->path);
    set->keep_ids = false; /* they are those of the set that is perturbed */
    memcpy(set->name, as->name, sizeof set->name);
    for (int64_t s = 0; s < tokens->n_sequences; s++)
        wn_sequences_append(&set->sequences, tokens->ids + tokens->offset[s],
                            tokens->offset[s + 1] - tokens->offset[s]);
    wn_sequences_cut(&set->sequences);
    set->sequences.noise = as->variation.perturb;
    set->sequences.noise_seed = as->variation.perturb_seed;
}

void wn_sweep_perturb_sets(const struct wn_sweep *sweep, struct wn_prepared_model *prepared)
{
    for (int64_t c = 0; c < sweep->n_calibrations; c++) {
        const struct wn_sweep_calibration *set = &sweep->calibrations[c];
        if (set->draw != c && prepared->calibrations[set->draw].tokens > 0)
            perturb(&prepared->calibrations[set->draw], set, &prepared->calibrations[c]);
    }
}
