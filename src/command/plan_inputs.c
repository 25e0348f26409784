/* SPDX-License-Identifier: Apache-2.0 */
/* plan_inputs.c: the inputs of a sweep in `winnow plan`, and what is thin about them. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <winnow/efficiency.h>
#include <winnow/sweep.h>

#include "command.h"

static const unsigned NORMS = WN_NEED_INPUT_SQUARES | WN_NEED_ABSOLUTE_MAXIMA | WN_NEED_ABSOLUTE_SUMS;

/* Appends a method that uses the set, each once. */
static void add_method(struct wn_text *text, const char *key)
{
    char *label = wn_point_label(key), *found = NULL;
    char *entry = wn_format(", %s,", label);
    if (text->data) {
        char *all = wn_format(", %s,", text->data);
        found = strstr(all, entry);
        wn_free(all);
    }
    if (!found)
        wn_text_printf(text, "%s%s", text->length ? ", " : "", label);
    wn_free(entry);
    wn_free(label);
}

/* With 1.3 tokens for each column of the widest input kernels of one library move SparseGPT's perplexity by 6 %, with
 * 11 by 1 %, measured on a model of 135 M parameters; Wanda's by 1 % and 0.5 %. */
enum { THIN = 4 };

/* What the points of a calibration set share, and whether it is large enough for the methods that use it. */
static void print_sharing(const struct wn_run *run, int64_t model, int64_t calibration)
{
    const struct wn_layout *layout = &run->models[model].model->layout;
    const struct wn_calibration *set = &run->models[model].calibrations[calibration];
    struct wn_text solvers = {0}, others = {0}, amplifiers = {0};
    int64_t dense = 0, widest = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        widest = layout->input_widths[i] > widest ? layout->input_widths[i] : widest;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        unsigned needs = wn_recipe_needs(&point->recipe);
        if (point->model != model || point->calibration != calibration)
            continue;
        dense += point->propagation == WN_PROPAGATION_DENSE;
        if (set->tokens < widest && needs & WN_NEED_SECOND_MOMENTS)
            add_method(&solvers, point->key);
        else if (set->tokens < THIN * widest && needs & WN_NEED_SECOND_MOMENTS)
            add_method(&amplifiers, point->key);
        else if (set->tokens < widest && needs & NORMS)
            add_method(&others, point->key);
    }
    if (dense > 1)
        printf("             one pass over it serves %lld points with dense propagation\n", (long long)dense);
    if (solvers.data || others.data)
        printf("             warning: %lld tokens for the %lld columns of the widest input are thin\n",
               (long long)set->tokens, (long long)widest);
    if (solvers.data)
        printf("             %s: second moments are singular before damping;\n"
               "             two programs, or two kernels, may differ by several per cent of perplexity,\n"
               "             and methods may change places\n",
               solvers.data);
    if (amplifiers.data)
        printf("             %s: %lld tokens are %.1f for each of the %lld columns of the widest input:\n"
               "             rounding, amplified, may move scores by several per cent, and other draws by more;\n"
               "             use %lld tokens, or show it (\"perturb\": 1e-7, \"replicates\": 5)\n",
               amplifiers.data, (long long)set->tokens, (double)set->tokens / (double)widest, (long long)widest,
               8 * (long long)widest);
    if (others.data)
        printf("             %s: norms of inputs of few tokens; compare methods on more\n", others.data);
    wn_text_release(&solvers);
    wn_text_release(&others);
    wn_text_release(&amplifiers);
}

/* The axis that results of the task have. */
int64_t wn_plan_items(const struct wn_prepared_model *prepared, const char *name)
{
    char axis[96];
    snprintf(axis, sizeof axis, "item_%s", name);
    for (int d = 0; d < prepared->schema.n_dims; d++)
        if (!strcmp(prepared->schema.dims[d].name, axis))
            return prepared->schema.dims[d].size;
    return 0;
}

double wn_plan_half_interval(int64_t items)
{
    return 100 * 1.96 * 0.5 / sqrt((double)items);
}

static void print_items(const struct wn_prepared_model *prepared, const char *name)
{
    int64_t items = wn_plan_items(prepared, name);
    if (items && 2 * wn_plan_half_interval(items) > 10)
        printf("             warning: %lld items: a share of them is known within %.0f points either way at best "
               "(95 %%)\n",
               (long long)items, wn_plan_half_interval(items));
}

/* The most that kept blocks have, of all points of a model. */
static int64_t most_kept(const struct wn_run *run, int64_t model)
{
    int64_t most = 0;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        if (run->grid.points[p].model == model) {
            int64_t bytes = wn_kept_blocks_bytes(run->models[model].model, &run->grid.points[p].recipe);
            most = bytes > most ? bytes : most;
        }
    return most;
}

static void print_generation(const struct wn_run *run, int64_t index, const struct wn_eval_set *set)
{
    const struct wn_model *model = run->models[index].model;
    const struct wn_generation *generation = set->generation;
    int64_t prompts = 0, texts = 0, truncated = 0;
    for (int64_t p = 0; p < generation->n_prompts; p++) {
        prompts += generation->prompts[p].count;
        texts += generation->prompts[p].most * generation->draws;
        truncated += generation->prompts[p].truncated;
    }
    printf("evaluation   %s: %s, %lld prompts of %lld tokens, at most %lld tokens generated\n", set->name,
           set->kind->name, (long long)generation->n_prompts, (long long)prompts, (long long)texts);
    printf("             keeps at most %s of packed blocks and %s of a batch in memory\n",
           wn_bytes_text((double)most_kept(run, index)), wn_bytes_text((double)wn_generate_bytes(model, generation)));
    if (truncated)
        printf("             warning: %lld prompts are cut on the left: with max_tokens, %lld positions do not hold "
               "them\n",
               (long long)truncated, (long long)model->config.max_positions);
}

static void print_efficiency(const struct wn_run *run, int64_t index, const struct wn_eval_set *set)
{
    const struct wn_efficiency *asked = set->efficiency;
    printf("evaluation   %s: prompts of %lld tokens, takes of %lld steps, %lld pairs and more, %lld thread%s\n",
           set->name, (long long)asked->prompt, (long long)asked->steps, (long long)asked->pairs,
           (long long)asked->threads, asked->threads == 1 ? "" : "s");
    printf("             one rank of a node at a time, each form of a model once on a rank; takes %s in memory\n",
           wn_bytes_text((double)wn_efficiency_bytes(run->models[index].model, asked)));
}

void wn_plan_print_inputs(const struct wn_run *run)
{
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_prepared_model *prepared = &run->models[m];
        const struct wn_model *model = prepared->model;
        printf("model        %s: %s, %.1f M parameters (%.1f M in block linears), %lld blocks\n", model->directory,
               model->config.model_type, (double)wn_model_parameters(model) / 1e6,
               (double)wn_model_weights(model) / 1e6, (long long)model->config.n_blocks);
        for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
            const struct wn_calibration *set = &prepared->calibrations[c];
            if (set->tokens)
                printf("calibration  %s: %s, %lld sequences, %lld tokens\n", run->sweep->calibrations[c].name,
                       set->task_specific ? "task-specific" : "general", (long long)set->sequences.n_sequences,
                       (long long)set->tokens);
            else
                printf("calibration  %s: not used by any point\n", run->sweep->calibrations[c].name);
            print_sharing(run, m, c);
        }
        for (int64_t e = 0; e < run->sweep->n_evals; e++) {
            const struct wn_eval_set *set = &prepared->sets[e];
            if (set->efficiency) {
                print_efficiency(run, m, set);
                continue;
            }
            if (set->generation) {
                print_generation(run, m, set);
                print_items(prepared, set->name);
                continue;
            }
            printf("evaluation   %s: %s, %lld tokens, %lld scored%s\n", set->name, set->kind->name,
                   (long long)wn_sequences_tokens(&set->sequences), (long long)set->n_targets,
                   set->divergence ? ", divergence from the dense model" : "");
            if (set->sequences.parent)
                printf("             common prefixes run once: %lld tokens as written, %lld run\n",
                       (long long)set->sequences.written, (long long)wn_sequences_tokens(&set->sequences));
            print_items(prepared, set->name);
        }
    }
}
