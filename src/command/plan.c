/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c: `winnow plan`: every mistake at once, or points, seconds, memory and file size. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <omp.h>

#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "command.h"

struct plan_options {
    long ranks, threads;
    double rate;
    const char *rate_from;
    double limit; /* seconds of a slot; 0: none */
    bool json, points;
    const char *selection; /* "": all points */
    struct wn_sweep_places places;
    bool *only;         /* [points], when the models are open; NULL: all */
    int64_t n_selected; /* points */
};

static bool is_selected(const struct plan_options *options, int64_t point)
{
    return !options->only || options->only[point];
}

/* Seconds from the start of all ranks to the end of the last. */
struct wall {
    double startup, dense, search, points, all, work; /* work: of all ranks together */
};

static double total(const double *values, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += values[i];
    return sum;
}

/* Launching, hashing, and what preparing took here just now, mostly tokenizing. */
static struct wall wall_seconds(const struct wn_run *run, const struct wn_prediction *prediction, double prepared,
                                long ranks)
{
    static const double LAUNCH = 1, WRITE = 1e9; /* seconds; bytes per second of laying out the results file */
    int64_t units = prediction->dense_units < ranks ? prediction->dense_units : ranks;
    struct wall wall = {.startup =
                            LAUNCH + prepared + prediction->hash_seconds + (double)prediction->file_bytes / WRITE,
                        .points = wn_schedule_seconds(prediction->seconds, run->grid.n_points, ranks),
                        .work = total(prediction->seconds, run->grid.n_points) + prediction->dense_seconds +
                                prediction->search_seconds};
    wall.dense = prediction->dense_load_seconds + (units > 0 ? prediction->dense_seconds / (double)units : 0);
    wall.search = prediction->search_seconds / (double)ranks;
    wall.all = wall.startup + wall.dense + wall.search + wall.points;
    return wall;
}

/* ---- tables ---- */

static void print_points(const struct wn_run *run, const struct wn_prediction *prediction,
                         const struct plan_options *options)
{
    struct wn_grid_table table;
    char **names = wn_point_names(&run->grid);
    wn_grid_table_init(&table, (int)options->n_selected + 1, 5);
    int row = 1;
    static const char *const heads[] = {"point", "seconds", "memory", "cells", "what"};
    for (int c = 0; c < 5; c++) {
        wn_grid_table_set(&table, 0, c, "%s", heads[c]);
        table.right[c] = c < 4;
    }
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        if (!is_selected(options, i))
            continue;
        wn_grid_table_set(&table, row, 0, "%lld", (long long)i);
        wn_grid_table_set(&table, row, 1, "%.2f", prediction->seconds[i]);
        wn_grid_table_set(&table, row, 2, "%s", wn_bytes_text((double)wn_point_bytes(run, i)));
        wn_grid_table_set(&table, row, 3, "%lld", (long long)run->grid.points[i].n_cells);
        wn_grid_table_set(&table, row++, 4, "%s", names[i]);
    }
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
    wn_point_names_free(&names, run->grid.n_points);
    printf("\n");
}

/* The points of one method. */
struct method_row {
    int64_t points;
    double stages[WN_STAGES], seconds;
};

struct method_rows {
    struct wn_texts labels;
    struct method_row *rows; /* [labels.count] */
};

static struct method_rows sum_methods(const struct wn_run *run, const struct wn_prediction *prediction,
                                      const struct plan_options *options)
{
    struct method_rows methods = {0};
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        if (!is_selected(options, i))
            continue;
        int64_t before = methods.labels.count, kind = wn_point_kind(&methods.labels, run->grid.points[i].key);
        if (kind == before) {
            methods.rows = wn_resize(methods.rows, kind + 1, sizeof *methods.rows);
            methods.rows[kind] = (struct method_row){.points = 0};
        }
        struct method_row *row = &methods.rows[kind];
        row->points++;
        row->seconds += prediction->seconds[i];
        for (int s = 0; s < WN_STAGES; s++)
            row->stages[s] += prediction->stages[i][s];
    }
    return methods;
}

static void free_methods(struct method_rows *methods)
{
    wn_texts_release(&methods->labels);
    wn_free(methods->rows);
}

/* Mean seconds of a point by method and stage; stages that no point has are left out. */
static void print_methods(const struct wn_run *run, const struct wn_prediction *prediction,
                          const struct plan_options *options)
{
    struct method_rows methods = sum_methods(run, prediction, options);
    const struct method_row *rows = methods.rows;
    int64_t count = methods.labels.count;
    struct wn_grid_table table;
    int columns = 0, stage_of[WN_STAGES];
    for (int s = 0; s < WN_STAGES; s++)
        for (int64_t i = 0; i < count; i++)
            if (rows[i].stages[s] > 0) {
                stage_of[columns++] = s;
                break;
            }
    wn_grid_table_init(&table, (int)count + 1, columns + 4);
    wn_grid_table_set(&table, 0, 0, "seconds of a point");
    wn_grid_table_set(&table, 0, 1, "points");
    wn_grid_table_set(&table, 0, columns + 2, "point");
    wn_grid_table_set(&table, 0, columns + 3, "in all");
    for (int c = 0; c < columns; c++)
        wn_grid_table_set(&table, 0, c + 2, "%s", wn_stage_name((enum wn_point_stage)stage_of[c]));
    for (int c = 1; c < columns + 4; c++)
        table.right[c] = true;
    for (int64_t i = 0; i < count; i++) {
        double n = (double)rows[i].points;
        wn_grid_table_set(&table, (int)i + 1, 0, "  %s", methods.labels.texts[i]);
        wn_grid_table_set(&table, (int)i + 1, 1, "%lld", (long long)rows[i].points);
        for (int c = 0; c < columns; c++)
            wn_grid_table_set(&table, (int)i + 1, c + 2, "%.2f", rows[i].stages[stage_of[c]] / n);
        wn_grid_table_set(&table, (int)i + 1, columns + 2, "%.2f", rows[i].seconds / n);
        wn_grid_table_set(&table, (int)i + 1, columns + 3, "%s", wn_seconds_text(rows[i].seconds));
    }
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
    free_methods(&methods);
}

/* Seconds of all points by evaluation. */
static void print_evals(const struct wn_run *run, const struct wn_prediction *prediction,
                        const struct plan_options *options)
{
    static const char *const heads[] = {"seconds by evaluation", "point", "in all", "share"};
    double work = total(prediction->seconds, run->grid.n_points);
    struct wn_grid_table table;
    wn_grid_table_init(&table, (int)run->sweep->n_evals + 1, 4);
    for (int c = 0; c < 4; c++) {
        wn_grid_table_set(&table, 0, c, "%s", heads[c]);
        table.right[c] = c > 0;
    }
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        wn_grid_table_set(&table, (int)e + 1, 0, "  %s", run->sweep->evals[e].name);
        wn_grid_table_set(&table, (int)e + 1, 1, "%.2f", prediction->evals[e] / (double)options->n_selected);
        wn_grid_table_set(&table, (int)e + 1, 2, "%s", wn_seconds_text(prediction->evals[e]));
        wn_grid_table_set(&table, (int)e + 1, 3, "%.0f %%", 100 * prediction->evals[e] / work);
    }
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
}

/* A shell reads it as one line. Slurm may put a rank alone on a node: each asks for the shared memory of its node. */
static void print_sbatch(const struct wn_sweep *sweep, const struct plan_options *options, double wall,
                         double node_bytes)
{
    double minutes = ceil(wall * 1.5 / 60) + 5;
    printf("submit       sbatch --ntasks=%ld --cpus-per-task=%ld --mem-per-cpu=%.0fM --time=%.0f \\\n"
           "             slurm/sweep.sbatch %s",
           options->ranks, options->threads, ceil(node_bytes / (double)options->threads / (1 << 20)) + 256, minutes,
           sweep->path);
    if (options->places.model)
        printf(" \\\n             --model %s", options->places.model);
    if (options->places.inputs)
        printf(" \\\n             --inputs %s", options->places.inputs);
    printf("\n");
}

static void print_time(const struct wn_prediction *prediction, const struct wall *wall,
                       const struct plan_options *options)
{
    double spread = 100 * (prediction->rate_most - prediction->rate_least) / prediction->rate;
    printf("time         about %s on %ld rank%s of %ld thread%s\n"
           "             start-up %s, dense pass %s, points %s\n",
           wn_seconds_text(wall->all), options->ranks, options->ranks == 1 ? "" : "s", options->threads,
           options->threads == 1 ? "" : "s", wn_seconds_text(wall->startup), wn_seconds_text(wall->dense),
           wn_seconds_text(wall->points));
    if (prediction->search_tokens > 0)
        printf("             searches %s at most: %.0f candidate tokens, if no blocks are shared\n",
               wn_seconds_text(wall->search), prediction->search_tokens);
    printf("             %s of work; ranks are busy %.0f %% of the time of the points\n", wn_seconds_text(wall->work),
           100 * (wall->work - prediction->dense_seconds - prediction->search_seconds) /
               (wall->points * (double)options->ranks));
    printf("rate         %.0f GFLOP/s of a thread here: median of %d, %.0f to %.0f%s\n", prediction->rate / 1e9,
           prediction->rate_count, prediction->rate_least / 1e9, prediction->rate_most / 1e9,
           spread > 20 ? "; busy: plan again when idle" : "");
    if (options->rate > 0)
        printf("             all times are for %.0f GFLOP/s of a thread (--rate)\n", options->rate / 1e9);
    if (options->rate_from)
        printf("             all times follow the points of %s (--rate-from)\n", options->rate_from);
}

static struct wn_plan_slots slots_of(const struct wn_run *run, const struct wn_prediction *prediction,
                                     const struct wall *wall, const struct plan_options *options)
{
    return (struct wn_plan_slots){options->limit,      wall->startup, wall->all - wall->startup,
                                  prediction->seconds, options->only, run->grid.n_points};
}

/* Of a node with one rank. */
static double node_bytes(const struct wn_prediction *prediction)
{
    return (double)(prediction->rank_bytes + prediction->turn_bytes + prediction->shared_bytes);
}

static void print_plan(const struct wn_run *run, const struct wn_prediction *prediction,
                       const struct plan_options *options, double prepared)
{
    struct wall wall = wall_seconds(run, prediction, prepared, options->ranks);
    struct wn_plan_slots slots = slots_of(run, prediction, &wall, options);
    if (options->points)
        print_points(run, prediction, options);
    wn_plan_print_inputs(run);
    printf("points       %lld unique points for %lld grid cells\n", (long long)run->grid.n_points,
           (long long)run->grid.n_cells);
    if (options->only)
        printf("             %lld of them are selected (--only): times are of these\n", (long long)options->n_selected);
    printf("\n");
    print_methods(run, prediction, options);
    print_evals(run, prediction, options);
    printf("\n");
    print_time(prediction, &wall, options);
    wn_plan_slots(&slots);
    printf("memory       %s per rank, for %s; and %s per node shared\n", wn_bytes_text((double)prediction->rank_bytes),
           prediction->largest, wn_bytes_text((double)prediction->shared_bytes));
    if (prediction->turn_bytes > 0)
        printf("             and %s on each node, for the one rank at a time that measures speeds\n",
               wn_bytes_text((double)prediction->turn_bytes));
    if (prediction->memory_warning)
        printf("             warning: %s\n", prediction->memory_warning);
    wn_plan_scratch(run);
    printf("results      %s\n", wn_bytes_text((double)prediction->file_bytes));
    print_sbatch(run->sweep, options, wall.all, node_bytes(prediction));
}

static void add_stages(cJSON *json, const double stages[WN_STAGES], double share)
{
    cJSON *object = cJSON_AddObjectToObject(json, "stages");
    for (int s = 0; s < WN_STAGES; s++)
        cJSON_AddNumberToObject(object, wn_stage_name((enum wn_point_stage)s), stages[s] * share);
}

static void add_points(const struct wn_run *run, const struct wn_prediction *prediction,
                       const struct plan_options *options, cJSON *json)
{
    cJSON *points = cJSON_AddArrayToObject(json, "points");
    for (int64_t i = 0; i < run->grid.n_points; i++) {
        if (!is_selected(options, i))
            continue;
        cJSON *point = cJSON_CreateObject();
        cJSON_AddStringToObject(point, "key", run->grid.points[i].key);
        cJSON_AddNumberToObject(point, "seconds", prediction->seconds[i]);
        cJSON_AddNumberToObject(point, "flops", prediction->flops[i]);
        cJSON_AddNumberToObject(point, "bytes", (double)wn_point_bytes(run, i));
        add_stages(point, prediction->stages[i], 1);
        cJSON_AddItemToArray(points, point);
    }
}

static void add_sums(const struct wn_run *run, const struct wn_prediction *prediction,
                     const struct plan_options *options, cJSON *json)
{
    struct method_rows methods = sum_methods(run, prediction, options);
    const struct method_row *rows = methods.rows;
    int64_t count = methods.labels.count;
    cJSON *list = cJSON_AddArrayToObject(json, "methods"), *evals = cJSON_AddArrayToObject(json, "evaluations");
    for (int64_t i = 0; i < count; i++) {
        cJSON *method = cJSON_CreateObject();
        cJSON_AddStringToObject(method, "method", methods.labels.texts[i]);
        cJSON_AddNumberToObject(method, "points", (double)rows[i].points);
        cJSON_AddNumberToObject(method, "seconds", rows[i].seconds);
        add_stages(method, rows[i].stages, 1);
        cJSON_AddItemToArray(list, method);
    }
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddStringToObject(one, "name", run->sweep->evals[e].name);
        cJSON_AddNumberToObject(one, "seconds", prediction->evals[e]);
        int64_t items = wn_plan_items(&run->models[0], run->sweep->evals[e].name);
        if (items) {
            cJSON_AddNumberToObject(one, "items", (double)items);
            cJSON_AddNumberToObject(one, "interval_points", 2 * wn_plan_half_interval(items));
        }
        cJSON_AddItemToArray(evals, one);
    }
    free_methods(&methods);
}

static void print_json(const struct wn_run *run, const struct wn_prediction *prediction,
                       const struct plan_options *options, double prepared)
{
    double per_weight;
    cJSON *json = cJSON_CreateObject();
    struct wall wall = wall_seconds(run, prediction, prepared, options->ranks);
    struct wn_plan_slots slots = slots_of(run, prediction, &wall, options);
    wn_plan_slots_json(&slots, json);
    add_points(run, prediction, options, json);
    add_sums(run, prediction, options, json);
    cJSON_AddNumberToObject(json, "cells", (double)run->grid.n_cells);
    cJSON_AddNumberToObject(json, "ranks", (double)options->ranks);
    cJSON_AddNumberToObject(json, "threads", (double)options->threads);
    cJSON_AddNumberToObject(json, "seconds", wall.all);
    cJSON_AddNumberToObject(json, "seconds_startup", wall.startup);
    cJSON_AddNumberToObject(json, "seconds_dense", wall.dense);
    cJSON_AddNumberToObject(json, "seconds_search", wall.search);
    cJSON_AddNumberToObject(json, "search_tokens", prediction->search_tokens);
    cJSON_AddNumberToObject(json, "seconds_points", wall.points);
    cJSON_AddNumberToObject(json, "seconds_work", wall.work);
    cJSON_AddNumberToObject(json, "flops_per_second", prediction->rate);
    cJSON_AddNumberToObject(json, "flops_per_second_least", prediction->rate_least);
    cJSON_AddNumberToObject(json, "flops_per_second_most", prediction->rate_most);
    cJSON_AddNumberToObject(json, "bytes_per_rank", (double)prediction->rank_bytes);
    cJSON_AddNumberToObject(json, "bytes_per_node", (double)(prediction->shared_bytes + prediction->turn_bytes));
    if (prediction->memory_warning)
        cJSON_AddStringToObject(json, "memory_warning", prediction->memory_warning);
    cJSON_AddNumberToObject(json, "bytes_of_state", (double)wn_plan_state_bytes(run));
    cJSON_AddNumberToObject(json, "file_bytes", (double)prediction->file_bytes);
    cJSON_AddNumberToObject(json, "level_bytes", wn_plan_level_bytes(run, &per_weight));
    char *text = cJSON_Print(json);
    printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

/* What --only selects; WN_ERR_INPUT when there is nothing. */
static wn_status pick(const struct wn_run *run, struct plan_options *options)
{
    options->n_selected = run->grid.n_points;
    if (!*options->selection)
        return WN_OK;
    options->only = wn_alloc_zero(run->grid.n_points, sizeof *options->only);
    WN_TRY(wn_select_points(run, "--only", options->selection, options->only));
    options->n_selected = 0;
    for (int64_t i = 0; i < run->grid.n_points; i++)
        options->n_selected += options->only[i];
    return WN_OK;
}

static int plan_prepared(const struct wn_run *run, struct wn_problems *problems, struct plan_options *options,
                         double prepared)
{
    struct wn_prediction prediction;
    if (pick(run, options) != WN_OK) {
        wn_problems_add(problems, "%s", wn_error_message());
        return WN_EXIT_USAGE;
    }
    const struct wn_predict_options how = {.threads = (int)options->threads,
                                           .rate = options->rate,
                                           .rate_from = options->rate_from,
                                           .ranks = (int)options->ranks,
                                           .only = options->only};
    omp_set_num_threads((int)options->threads); /* memory is counted for the present number */
    wn_status status = wn_predict(run, &how, &prediction);
    if (status != WN_OK)
        wn_problems_add(problems, "%s", wn_error_message());
    else if (options->json)
        print_json(run, &prediction, options, prepared);
    else
        print_plan(run, &prediction, options, prepared);
    wn_prediction_release(&prediction);
    return status == WN_OK ? WN_EXIT_DONE : WN_EXIT_USAGE;
}

static int plan_sweep(const struct wn_sweep *sweep, struct wn_problems *problems, struct plan_options *options)
{
    struct wn_par *par;
    struct wn_run *run = NULL;
    double start = wn_seconds();
    int code = WN_EXIT_USAGE;
    wn_par_start_serial(&par);
    if (wn_prepare(par, sweep, false, problems, &run) == WN_OK)
        code = plan_prepared(run, problems, options, wn_seconds() - start);
    else if (problems->count == 0)
        wn_problems_add(problems, "%s", wn_error_message());
    wn_free(options->only);
    wn_run_release(&run);
    wn_par_finish(&par);
    return code;
}

int wn_command_plan(const struct wn_command *command, int argc, char **argv)
{
    const char *path, *ranks = "1", *threads = "1", *rate = NULL, *limit = NULL;
    long gigaflops = 0;
    struct plan_options settings = {.selection = wn_repeated};
    const struct wn_option options[] = {{"--ranks", "-n", &ranks, NULL},
                                        {"--threads", "-t", &threads, NULL},
                                        {"--model", "-m", &settings.places.model, NULL},
                                        {"--inputs", "-i", &settings.places.inputs, NULL},
                                        {"--rate", NULL, &rate, NULL},
                                        {"--rate-from", NULL, &settings.rate_from, NULL},
                                        {"--only", NULL, &settings.selection, NULL},
                                        {"--time-limit", NULL, &limit, NULL},
                                        {"--points", "-p", NULL, &settings.points},
                                        {"--json", NULL, NULL, &settings.json}};
    struct wn_problems problems;
    struct wn_sweep *sweep = NULL;
    int code;
    if (!wn_options_read(command, argc, argv, options, 10, &path, 1, &code))
        return code;
    if (!wn_option_integer(command, "--ranks", ranks, 1, 10000000, &settings.ranks) ||
        !wn_option_integer(command, "--threads", threads, 1, 4096, &settings.threads) ||
        (rate && !wn_option_integer(command, "--rate", rate, 1, 1000000, &gigaflops)) ||
        (limit && !wn_option_duration(command, "--time-limit", limit, &settings.limit)))
        return WN_EXIT_USAGE;
    settings.rate = 1e9 * (double)gigaflops;
    wn_log_set(WN_LOG_WARNING, 0, 1); /* the plan is what it says */
    wn_problems_init(&problems);
    omp_set_num_threads(settings.threads < omp_get_num_procs() ? (int)settings.threads : omp_get_num_procs());
    if (wn_linalg_start() != WN_OK)
        wn_problems_add(&problems, "%s", wn_error_message());
    else if (wn_linalg_advice())
        wn_log(WN_LOG_WARNING, "%s", wn_linalg_advice());
    wn_sweep_read_at(path, &settings.places, &problems, &sweep);
    code = plan_sweep(sweep, &problems, &settings);
    wn_problems_print(&problems);
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    if (settings.selection != wn_repeated)
        wn_free((void *)(uintptr_t)settings.selection);
    return code;
}
