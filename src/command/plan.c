/* plan.c: `winnow plan`: every mistake at once, or points, seconds, memory and file size. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "command.h"

struct plan_options {
    long ranks, threads;
    bool json, points;
    struct wn_sweep_places places;
};

static double total(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

/* Wall time of points handed out dearest first to `ranks` equal ranks: no better than the dearest point. */
static double wall_seconds(const struct wn_run *run, const struct wn_prediction *prediction, long ranks)
{
    double sum = total(prediction->seconds, run->grid.n_points), largest = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++)
        largest = prediction->seconds[i] > largest ? prediction->seconds[i] : largest;
    double even = (sum + prediction->reference_flops / prediction->rate) / (double)ranks;
    return even > largest ? even : largest;
}

static void print_points(const struct wn_run *run, const struct wn_prediction *prediction)
{
    struct wn_grid_table table;
    wn_grid_table_init(&table, (int)run->grid.n_points + 1, 5);
    static const char *const heads[] = {"point", "seconds", "memory", "cells", "what"};
    for (int c = 0; c < 5; c++) {
        wn_grid_table_set(&table, 0, c, "%s", heads[c]);
        table.right[c] = c < 4;
    }
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        wn_grid_table_set(&table, (int)i + 1, 0, "%lld", (long long)i);
        wn_grid_table_set(&table, (int)i + 1, 1, "%.2f", prediction->seconds[i]);
        wn_grid_table_set(&table, (int)i + 1, 2, "%s", wn_bytes_text((double)wn_point_bytes(run, i)));
        wn_grid_table_set(&table, (int)i + 1, 3, "%lld", (long long)run->grid.points[i].n_cells);
        wn_grid_table_set(&table, (int)i + 1, 4, "%s", run->grid.points[i].key);
    }
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
    printf("\n");
}

/* What the points of a calibration set share, and whether it is large enough for second moments of full rank. */
static void print_sharing(const struct wn_run *run, int64_t model, int64_t calibration)
{
    const struct wn_layout *layout = &run->models[model].model->layout;
    const struct wn_calibration *set = &run->models[model].calibrations[calibration];
    int64_t dense = 0, second_order = 0, widest = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        const struct wn_point *point = &run->grid.points[i];
        if (point->model != model || point->calibration != calibration)
            continue;
        dense += point->propagation == WN_PROPAGATION_DENSE;
        second_order += (wn_recipe_needs(&point->recipe) & WN_NEED_SECOND_MOMENTS) != 0;
    }
    for (int i = 0; i < layout->n_inputs; i++)
        widest = layout->input_widths[i] > widest ? layout->input_widths[i] : widest;
    if (dense > 1)
        printf("             one pass over it serves %lld points with dense propagation\n", (long long)dense);
    if (second_order && set->tokens < widest)
        printf("             warning: fewer tokens than the %lld columns of the widest linear: second moments are "
               "singular before damping\n",
               (long long)widest);
}

static void print_generation(const struct wn_model *model, const struct wn_eval_set *set)
{
    const struct wn_generation *generation = set->generation;
    int64_t prompts = 0, texts = 0, truncated = 0;
    for (int64_t p = 0; p < generation->n_prompts; p++) {
        prompts += generation->prompts[p].count;
        texts += generation->prompts[p].most * generation->draws;
        truncated += generation->prompts[p].truncated;
    }
    printf("evaluation   %s: %s, %lld prompts of %lld tokens, at most %lld tokens generated\n", set->name,
           set->kind->name, (long long)generation->n_prompts, (long long)prompts, (long long)texts);
    printf("             keeps %s of blocks and %s of a batch in memory\n",
           wn_bytes_text((double)wn_kept_blocks_bytes(model)),
           wn_bytes_text((double)wn_generate_bytes(model, generation)));
    if (truncated)
        printf("             warning: %lld prompts are cut on the left: with max_tokens they do not fit into %lld "
               "positions\n",
               (long long)truncated, (long long)model->config.max_positions);
}

static void print_inputs(const struct wn_run *run)
{
    for (int64_t m = 0; m < run->n_models; m++) {
        const struct wn_prepared_model *prepared = &run->models[m];
        const struct wn_model *model = prepared->model;
        printf("model        %s: %s, %.1f M parameters (%.1f M in block linears), %lld blocks\n", model->directory,
               model->config.model_type, (double)wn_model_parameters(model) / 1e6,
               (double)wn_model_block_weights(model) * (double)model->config.n_blocks / 1e6,
               (long long)model->config.n_blocks);
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
            if (set->generation) {
                print_generation(model, set);
                continue;
            }
            printf("evaluation   %s: %s, %lld tokens, %lld scored%s\n", set->name, set->kind->name,
                   (long long)wn_sequences_tokens(&set->sequences), (long long)set->n_targets,
                   set->divergence ? ", divergence from the dense model" : "");
            if (set->sequences.parent)
                printf("             common prefixes run once: %lld tokens as written, %lld run\n",
                       (long long)set->sequences.written, (long long)wn_sequences_tokens(&set->sequences));
        }
    }
}

static void print_sbatch(const struct wn_sweep *sweep, const struct plan_options *options, double wall,
                         double node_bytes)
{
    double minutes = ceil(wall * 1.5 / 60) + 5;
    printf("submit       sbatch --ntasks=%ld --cpus-per-task=%ld --mem-per-cpu=%.0fM --time=%.0f "
           "slurm/sweep.sbatch %s%s%s%s%s\n",
           options->ranks, options->threads, ceil(node_bytes / (double)options->threads / (1 << 20)) + 256, minutes,
           sweep->path, options->places.model ? " --model " : "", options->places.model ? options->places.model : "",
           options->places.inputs ? " --inputs " : "", options->places.inputs ? options->places.inputs : "");
}

static void print_plan(const struct wn_run *run, const struct wn_prediction *prediction,
                       const struct plan_options *options)
{
    double sum = total(prediction->seconds, run->grid.n_points), wall = wall_seconds(run, prediction, options->ranks);
    if (options->points)
        print_points(run, prediction);
    print_inputs(run);
    printf("points       %lld unique points for %lld grid cells\n", (long long)run->grid.n_points,
           (long long)run->grid.n_cells);
    printf("time         about %s on %ld rank%s of %ld thread%s (%s of work at %.0f GFLOP/s per rank)\n",
           wn_seconds_text(wall), options->ranks, options->ranks == 1 ? "" : "s", options->threads,
           options->threads == 1 ? "" : "s", wn_seconds_text(sum), prediction->rate / 1e9);
    printf("memory       %s per rank for the largest point (%s), and %s per node shared\n",
           wn_bytes_text((double)prediction->rank_bytes), prediction->largest,
           wn_bytes_text((double)prediction->shared_bytes));
    printf("results      %s\n", wn_bytes_text((double)prediction->file_bytes));
    print_sbatch(run->sweep, options, wall, (double)prediction->rank_bytes);
}

static void print_json(const struct wn_run *run, const struct wn_prediction *prediction,
                       const struct plan_options *options)
{
    cJSON *json = cJSON_CreateObject(), *points = cJSON_AddArrayToObject(json, "points");
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        cJSON *point = cJSON_CreateObject();
        cJSON_AddStringToObject(point, "key", run->grid.points[i].key);
        cJSON_AddNumberToObject(point, "seconds", prediction->seconds[i]);
        cJSON_AddNumberToObject(point, "flops", prediction->flops[i]);
        cJSON_AddNumberToObject(point, "bytes", (double)wn_point_bytes(run, i));
        cJSON_AddItemToArray(points, point);
    }
    cJSON_AddNumberToObject(json, "cells", (double)run->grid.n_cells);
    cJSON_AddNumberToObject(json, "ranks", (double)options->ranks);
    cJSON_AddNumberToObject(json, "threads", (double)options->threads);
    cJSON_AddNumberToObject(json, "seconds", wall_seconds(run, prediction, options->ranks));
    cJSON_AddNumberToObject(json, "flops_per_second", prediction->rate);
    cJSON_AddNumberToObject(json, "bytes_per_rank", (double)prediction->rank_bytes);
    cJSON_AddNumberToObject(json, "bytes_per_node", (double)prediction->shared_bytes);
    cJSON_AddNumberToObject(json, "file_bytes", (double)prediction->file_bytes);
    char *text = cJSON_Print(json);
    printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

static int plan_sweep(const struct wn_sweep *sweep, struct wn_problems *problems, const struct plan_options *options)
{
    struct wn_par *par;
    struct wn_run *run = NULL;
    struct wn_prediction prediction;
    int code = WN_EXIT_USAGE;
    wn_par_start_serial(&par);
    if (wn_prepare(par, sweep, false, problems, &run) == WN_OK) {
        wn_predict(run, (int)options->threads, &prediction);
        if (options->json)
            print_json(run, &prediction, options);
        else
            print_plan(run, &prediction, options);
        wn_prediction_release(&prediction);
        code = WN_EXIT_DONE;
    } else if (problems->count == 0) {
        wn_problems_add(problems, "%s", wn_error_message());
    }
    wn_run_release(&run);
    wn_par_finish(&par);
    return code;
}

int wn_command_plan(const struct wn_command *command, int argc, char **argv)
{
    const char *path, *ranks = "1", *threads = "1";
    struct plan_options settings = {0};
    const struct wn_option options[] = {{"--ranks", "-n", &ranks, NULL},
                                        {"--threads", "-t", &threads, NULL},
                                        {"--model", "-m", &settings.places.model, NULL},
                                        {"--inputs", "-i", &settings.places.inputs, NULL},
                                        {"--points", "-p", NULL, &settings.points},
                                        {"--json", NULL, NULL, &settings.json}};
    struct wn_problems problems;
    struct wn_sweep *sweep = NULL;
    int code;
    if (!wn_options_read(command, argc, argv, options, 6, &path, 1, &code))
        return code;
    if (!wn_option_integer(command, "--ranks", ranks, 1, 10000000, &settings.ranks) ||
        !wn_option_integer(command, "--threads", threads, 1, 4096, &settings.threads))
        return WN_EXIT_USAGE;
    wn_log_set(WN_LOG_WARNING, 0, 1); /* the plan is what it says */
    wn_problems_init(&problems);
    if (wn_linalg_start() != WN_OK)
        wn_problems_add(&problems, "%s", wn_error_message());
    else if (wn_linalg_advice())
        wn_log(WN_LOG_WARNING, "%s", wn_linalg_advice());
    wn_sweep_read_at(path, &settings.places, &problems, &sweep);
    code = plan_sweep(sweep, &problems, &settings);
    wn_problems_print(&problems);
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    return code;
}
