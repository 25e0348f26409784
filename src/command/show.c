/* SPDX-License-Identifier: Apache-2.0 */
/* show.c: `winnow show`: the table of points, for people, papers and programs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "command.h"
#include "show.h"

struct loading {
    struct wn_results_reader *reader;
    struct wn_shown *shown;
    struct wn_texts axes;
};

/* ---- what a person looks at first ---- */

/* The main metric of a task: what its request file says is in the provenance. False for a set that is no task. */
static bool main_metric(struct wn_results_reader *reader, const char *set, int length, char metric[64])
{
    char *name = wn_format("task_%.*s", length, set), *text = NULL;
    bool found = wn_results_read_fact(reader, name, &text) == WN_OK;
    cJSON *facts = found ? cJSON_Parse(text) : NULL;
    const char *main = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(facts, "main_metric"));
    snprintf(metric, 64, "%s", main ? main : "");
    cJSON_Delete(facts);
    wn_free(text);
    wn_free(name);
    return found;
}

static bool is_one_of(const char *name, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static bool is_headline(struct wn_results_reader *reader, const char *path)
{
    static const char *const of_points[] = {"bits_per_weight_nominal", "bits_per_weight", "stored_bytes", "seconds"};
    static const char *const divergences[] = {"kl_mean", "js_mean", "top1_agreement"};
    static const char *const of_texts[] = {"perplexity", "word_perplexity", "acc", "prefill_faster", "decode_1_faster"};
    const char *name = strrchr(path, '/') + 1, *set = strchr(path + 1, '/') + 1;
    char metric[64];
    if (!strncmp(path, "/points/", 8))
        return is_one_of(name, of_points, sizeof of_points / sizeof of_points[0]);
    if (is_one_of(name, divergences, sizeof divergences / sizeof divergences[0]))
        return true;
    if (main_metric(reader, set, (int)(name - 1 - set), metric))
        return !strcmp(name, metric);
    return is_one_of(name, of_texts, sizeof of_texts / sizeof of_texts[0]);
}

/* ---- reading ---- */

static bool has_path(const struct wn_texts *columns, const char *path)
{
    for (int64_t i = 0; i < columns->count; i++)
        if (!strcmp(columns->texts[i], path))
            return true;
    return false;
}

/* What follows from other columns is no axis. */
static bool is_axis(const struct wn_texts *columns, const char *path)
{
    static const char *const derived[] = {"key", "model_path", "calibration_kind", "calibration_tokens"};
    if (strncmp(path, "/points/", 8) || is_one_of(path + 8, derived, sizeof derived / sizeof derived[0]))
        return false;
    return has_path(columns, path);
}

/* What a column is called: in files of older versions some were called otherwise. */
static const char *name_of(const char *path)
{
    return strchr(wn_results_path_now(path) + 1, '/') + 1;
}

static void add_column(void *context, const char *path, const char *unit, const char *description, bool text)
{
    struct loading *loading = context;
    struct wn_shown *shown = loading->shown;
    bool is_status = !strcmp(path, "/points/status");
    (void)unit;
    (void)description;
    shown->columns = wn_resize(shown->columns, shown->n_columns + 1, sizeof *shown->columns);
    shown->columns[shown->n_columns++] = (struct wn_shown_column){.path = wn_strdup(path),
                                                                  .name = wn_strdup(name_of(path)),
                                                                  .text = text || is_status,
                                                                  .status = is_status,
                                                                  .axis = is_axis(&loading->axes, path),
                                                                  .error = -1,
                                                                  .spread = -1};
}

/* What is known of a point before it is done, or that its start says when it begins. */
static bool is_planned(const struct wn_texts *columns, const char *path)
{
    static const char *const state[] = {"attempt", "start", "reason", "host"};
    return has_path(columns, path) ||
           (!strncmp(path, "/points/", 8) && is_one_of(path + 8, state, sizeof state / sizeof state[0]));
}

/* Rows of open points may be half written, and scores of failed ones. */
static void leave_out_unfinished(const struct wn_shown *shown, struct wn_shown_column *column)
{
    bool score = !strncmp(column->path, "/scores/", 8);
    for (int64_t i = 0; i < shown->points; i++) {
        bool kept = !strcmp(shown->status[i], "done") || (!score && !strcmp(shown->status[i], "failed"));
        if (kept)
            continue;
        if (column->text)
            column->texts[i][0] = '\0';
        else
            column->numbers[i] = NAN;
    }
}

/* The column of the file has codes. */
static char **status_words(const struct wn_shown *shown)
{
    char **words = wn_alloc(shown->points, sizeof *words);
    for (int64_t i = 0; i < shown->points; i++)
        words[i] = wn_strdup(shown->status[i]);
    return words;
}

static wn_status read_columns(struct loading *loading)
{
    struct wn_shown *shown = loading->shown;
    int64_t rows;
    for (int c = 0; c < shown->n_columns; c++) {
        struct wn_shown_column *column = &shown->columns[c];
        if (column->status)
            column->texts = status_words(shown);
        else if (column->text)
            WN_TRY(wn_results_read_texts(loading->reader, column->path, &column->texts, &rows));
        else
            WN_TRY(wn_results_read_numbers(loading->reader, column->path, &column->numbers, &rows));
        if (!column->status && !is_planned(&loading->axes, column->path))
            leave_out_unfinished(shown, column);
    }
    return WN_OK;
}

/* Each column with that of its standard error. */
static void find_errors(struct wn_shown *shown)
{
    for (int c = 0; c < shown->n_columns; c++) {
        char *wanted = wn_format("%s_stderr", shown->columns[c].path);
        for (int e = 0; e < shown->n_columns; e++)
            if (!strcmp(shown->columns[e].path, wanted) && !shown->columns[e].text)
                shown->columns[c].error = e;
        wn_free(wanted);
    }
}

static const char *status_word(uint8_t status)
{
    return status == WN_POINT_DONE ? "done" : status == WN_POINT_FAILED ? "failed" : "open";
}

static wn_status read_status(struct loading *loading)
{
    struct wn_shown *shown = loading->shown;
    uint8_t *status = wn_alloc_zero(shown->points, 1);
    wn_status result = wn_results_read_status(loading->reader, status);
    shown->status = wn_alloc(shown->points, sizeof *shown->status);
    shown->rows = wn_alloc(shown->points, sizeof *shown->rows);
    shown->n_rows = shown->points;
    for (int64_t i = 0; i < shown->points; i++) {
        shown->status[i] = status_word(status[i]);
        shown->rows[i] = i;
    }
    wn_free(status);
    return result;
}

static wn_status load(struct loading *loading, const char *path)
{
    WN_TRY(wn_results_read_open(path, &loading->reader));
    loading->shown->points = wn_results_read_points(loading->reader);
    wn_results_read_columns(loading->reader, &loading->axes);
    WN_TRY(wn_results_read_list(loading->reader, "/points", add_column, loading));
    WN_TRY(wn_results_read_list(loading->reader, "/scores", add_column, loading));
    WN_TRY(read_status(loading));
    WN_TRY(read_columns(loading));
    find_errors(loading->shown);
    return WN_OK;
}

static void release(struct loading *loading)
{
    struct wn_shown *shown = loading->shown;
    for (int c = 0; c < shown->n_columns; c++) {
        wn_results_free_texts(&shown->columns[c].texts, shown->points);
        wn_free(shown->columns[c].numbers);
        wn_free(shown->columns[c].path);
        wn_free(shown->columns[c].name);
    }
    wn_free(shown->columns);
    wn_free(shown->rows);
    wn_free((void *)shown->status);
    wn_texts_release(&loading->axes);
    wn_results_read_close(&loading->reader);
}

/* ---- the command ---- */

struct request {
    const char *path, *search, *columns, *where, *sort, *limit;
    bool all, json, csv, markdown, latex, errors, draws;
};

static void choose_columns(struct loading *loading, const struct request *request)
{
    struct wn_shown *shown = loading->shown;
    for (int c = 0; c < shown->n_columns; c++) {
        struct wn_shown_column *column = &shown->columns[c];
        column->shown = request->all || request->json ||
                        (is_headline(loading->reader, column->path) && !wn_show_is_empty(shown, column));
    }
    if (!request->all && !request->json)
        wn_show_axes(shown);
}

static bool print(struct loading *loading, const struct wn_command *command, const struct request *request)
{
    struct wn_shown *shown = loading->shown;
    long limit = 0;
    if (request->limit && !wn_option_integer(command, "--limit", request->limit, 1, 1000000000, &limit))
        return false;
    if (!request->draws && !wn_show_names_draw(request->where) && !wn_show_names_draw(request->columns) &&
        !wn_show_names_draw(request->sort))
        wn_show_fold(shown);
    if (request->where && !wn_show_where(shown, request->where))
        return false;
    choose_columns(loading, request);
    if ((request->sort && !wn_show_sort(shown, request->sort)) ||
        (request->columns && !wn_show_columns(shown, request->columns)))
        return false;
    if (limit && limit < shown->n_rows)
        shown->n_rows = limit;
    for (int c = 0; c < shown->n_columns; c++)
        shown->columns[c].error_shown = request->errors;
    if (request->json) {
        if (wn_show_json(shown, loading->reader) == WN_OK)
            return true;
        fprintf(stderr, "winnow: %s\n", wn_error_message());
        return false;
    }
    wn_show_print(shown,
                  request->csv        ? WN_SHOW_CSV
                  : request->markdown ? WN_SHOW_MARKDOWN
                  : request->latex    ? WN_SHOW_LATEX
                                      : WN_SHOW_TEXT,
                  wn_line_width(0));
    return true;
}

int wn_command_show(const struct wn_command *command, int argc, char **argv)
{
    struct request request = {0};
    struct wn_shown shown = {0};
    struct loading loading = {.shown = &shown};
    const struct wn_option options[] = {
        {"--json", NULL, NULL, &request.json},         {"--csv", NULL, NULL, &request.csv},
        {"--markdown", NULL, NULL, &request.markdown}, {"--latex", NULL, NULL, &request.latex},
        {"--all", "-a", NULL, &request.all},           {"--stderr", NULL, NULL, &request.errors},
        {"--columns", "-c", &request.columns, NULL},   {"--where", "-w", &request.where, NULL},
        {"--sort", "-s", &request.sort, NULL},         {"--limit", NULL, &request.limit, NULL},
        {"--search", NULL, &request.search, NULL},     {"--draws", NULL, NULL, &request.draws}};
    int code;
    if (!wn_options_read(command, argc, argv, options, sizeof options / sizeof options[0], &request.path, 1, &code))
        return code;
    if (request.search)
        return wn_show_search(request.path, request.search, request.json);
    wn_status status = load(&loading, request.path);
    if (status != WN_OK)
        fprintf(stderr, "winnow: %s\n", wn_error_message());
    bool good = status == WN_OK && print(&loading, command, &request);
    release(&loading);
    return good ? 0 : 2;
}
