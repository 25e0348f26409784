/* SPDX-License-Identifier: Apache-2.0 */
/*
 * status.c: `winnow status`: how far a sweep is, also while it runs: the results file says what is written, and
 * FILE.h5.progress (wn_run_sweep in sweep.h) what is in work.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include <winnow/io.h>
#include <winnow/scratch.h>

#include "command.h"

enum { IN_FLIGHT_LINES = 16, SAVED_LINES = 8, BAR = 40 };

/* Seconds between two looks of --watch; a run writes its progress about as often. */
enum { WATCH_SECONDS = 2 };

/* A point that was in work when its start stopped. */
struct saved {
    int64_t point, blocks;
    double done; /* blocks, with the share of the next one */
};
/* Lost attempts that put a point behind all others. */
enum { TRIED_LAST = 2 };

struct view {
    char *path, *scratch; /* owned; scratch: the folder of what stops have saved */
    int64_t points, done, failed;
    double seconds;            /* of all written points */
    double written, heartbeat; /* seconds since the results file, and the progress file, were written; NaN: unknown */
    double lost;               /* open points that are tried last, as they have lost their rank twice */
    uint8_t *status;           /* [points] */
    char **keys, **reasons;    /* [points] */
    cJSON *progress;           /* NULL: there is no such file, or it makes no sense */
    bool running;
    struct saved *saved; /* owned */
    int64_t n_saved;
};

/* ---- what there is ---- */

static wn_status read_points(struct wn_results_reader *reader, struct view *view)
{
    double *seconds = NULL, *attempts = NULL;
    int64_t rows;
    view->points = wn_results_read_points(reader);
    view->status = wn_alloc_zero(view->points, 1);
    wn_status result = wn_results_read_status(reader, view->status);
    if (result == WN_OK)
        result = wn_results_read_numbers(reader, "/points/seconds", &seconds, &rows);
    if (result == WN_OK)
        result = wn_results_read_numbers(reader, "/points/attempt", &attempts, &rows);
    if (result == WN_OK)
        result = wn_results_read_texts(reader, "/points/key", &view->keys, &rows);
    if (result == WN_OK)
        result = wn_results_read_texts(reader, "/points/reason", &view->reasons, &rows);
    for (int64_t i = 0; result == WN_OK && i < view->points; i++) {
        bool finished = view->status[i] != WN_POINT_OPEN;
        view->done += view->status[i] == WN_POINT_DONE;
        view->failed += view->status[i] == WN_POINT_FAILED;
        view->lost += !finished && attempts[i] >= TRIED_LAST;
        view->seconds += finished && isfinite(seconds[i]) ? seconds[i] : 0;
    }
    wn_free(seconds);
    wn_free(attempts);
    return result;
}

static double age_of(const char *path)
{
    struct stat about;
    if (stat(path, &about) != 0)
        return NAN;
    double age = difftime(time(NULL), about.st_mtime);
    return age > 0 ? age : 0; /* clocks of two nodes may differ by some seconds */
}

static double number(const cJSON *json, const char *name)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, name);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

static const char *text(const cJSON *json, const char *name)
{
    const char *value = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
    return value ? value : "?";
}

/* A run that has not written for so many of its own intervals is not there any more. */
static double patience(const cJSON *progress)
{
    return 15 + 5 * fmax(number(progress, "every_seconds"), 1);
}

static void read_progress(struct view *view)
{
    char *path = wn_format("%s.progress", view->path);
    view->written = age_of(view->path);
    view->heartbeat = age_of(path);
    if (!isfinite(view->heartbeat) || wn_json_read(path, false, &view->progress) != WN_OK)
        view->progress = NULL;
    if (view->progress && number(view->progress, "format") != 1) {
        cJSON_Delete(view->progress);
        view->progress = NULL;
    }
    view->running = view->progress && view->heartbeat <= patience(view->progress);
    wn_free(path);
}

static void take_saved(void *context, int64_t point, double done, int64_t blocks)
{
    struct view *view = context;
    if (point >= view->points || view->status[point] != WN_POINT_OPEN)
        return;
    view->saved = wn_resize(view->saved, view->n_saved + 1, sizeof *view->saved);
    view->saved[view->n_saved++] = (struct saved){point, blocks, done};
}

static int compare_saved(const void *a, const void *b)
{
    const struct saved *left = a, *right = b;
    return left->point < right->point ? -1 : left->point > right->point;
}

/* In the folder that was given, or that the sweep names, or the one beside the file. */
static void read_saved(struct wn_results_reader *reader, const char *given, struct view *view)
{
    char *sweep = NULL, *file = NULL;
    cJSON *json = NULL;
    if (wn_results_read_document(reader, "sweep", &sweep) == WN_OK &&
        wn_results_read_fact(reader, "sweep_file", &file) == WN_OK)
        wn_json_parse(view->path, sweep, (int64_t)strlen(sweep), true, &json);
    const char *named = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "scratch"));
    char *folder = file ? wn_directory_of(file) : NULL, *scratch = named ? wn_join_path(folder, named) : NULL;
    view->scratch = wn_saver_folder(view->path, given ? given : scratch);
    wn_state_list(view->scratch, take_saved, view);
    if (view->n_saved)
        qsort(view->saved, (size_t)view->n_saved, sizeof *view->saved, compare_saved);
    cJSON_Delete(json);
    wn_free(scratch);
    wn_free(folder);
    wn_free(sweep);
    wn_free(file);
}

static void release_view(struct view *view)
{
    wn_free(view->path);
    wn_free(view->scratch);
    wn_results_free_texts(&view->keys, view->points);
    wn_results_free_texts(&view->reasons, view->points);
    wn_free(view->status);
    wn_free(view->saved);
    cJSON_Delete(view->progress);
}

/* ---- for people ---- */

static void print_in_flight(const cJSON *progress)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(progress, "in_flight"), *one;
    int count = cJSON_GetArraySize(list), shown = count < IN_FLIGHT_LINES ? count : IN_FLIGHT_LINES, row = 1;
    static const char *const heads[] = {"point", "block", "of", "for", "rank", "host", "what"};
    struct wn_grid_table table;
    if (!count)
        return;
    wn_grid_table_init(&table, shown + 1, 7);
    for (int c = 0; c < 7; c++) {
        wn_grid_table_set(&table, 0, c, "%s", heads[c]);
        table.right[c] = c < 5;
    }
    cJSON_ArrayForEach (one, list) {
        if (row > shown)
            break;
        wn_grid_table_set(&table, row, 0, "%.0f", number(one, "point"));
        wn_grid_table_set(&table, row, 1, "%.0f", number(one, "block"));
        wn_grid_table_set(&table, row, 2, "%.0f", number(one, "blocks"));
        wn_grid_table_set(&table, row, 3, "%s", wn_seconds_text(number(one, "seconds")));
        wn_grid_table_set(&table, row, 4, "%.0f", number(one, "rank"));
        wn_grid_table_set(&table, row, 5, "%s", text(one, "host"));
        wn_grid_table_set(&table, row++, 6, "%s", text(one, "name"));
    }
    printf("in work\n");
    wn_grid_table_print(&table);
    wn_grid_table_release(&table);
    if (count > shown)
        printf("... and %d more (--json has all)\n", count - shown);
}

static void print_hosts(const cJSON *progress)
{
    const cJSON *hosts = cJSON_GetObjectItemCaseSensitive(progress, "hosts");
    int count = cJSON_GetArraySize(hosts);
    double ranks = number(progress, "ranks"), working = number(progress, "ranks_at_work");
    printf("ranks     %.0f of %.0f at work, %.0f thread%s each, on %d host%s (%s%s)\n", working, ranks,
           number(progress, "threads"), number(progress, "threads") == 1 ? "" : "s", count, count == 1 ? "" : "s",
           text(cJSON_GetArrayItem(hosts, 0), "host"), count > 1 ? ", ..." : "");
}

static void print_running(const struct view *view)
{
    const cJSON *progress = view->progress;
    printf("running   for %s, heard of %s ago; process %.0f on %s\n",
           wn_seconds_text(number(progress, "written") - number(progress, "started")), wn_seconds_text(view->heartbeat),
           number(progress, "process"), text(progress, "host"));
    print_hosts(progress);
    if (!strcmp(text(progress, "stage"), "dense")) {
        printf("now       dense pass, block %.0f of %.0f", number(progress, "dense_block"),
               number(progress, "dense_blocks"));
        if (isfinite(number(progress, "dense_seconds_left")))
            printf(", %s left of it", wn_seconds_text(number(progress, "dense_seconds_left")));
        printf("; points come after it\n");
        return;
    }
    if (!strcmp(text(progress, "stage"), "search")) {
        printf("now       search %s, generation %.0f of %.0f, fitness %.6g, %.0f candidate tokens/s",
               text(progress, "search"), number(progress, "generation"), number(progress, "generations"),
               number(progress, "fitness"), number(progress, "candidate_tokens_per_second"));
        if (isfinite(number(progress, "search_seconds_left")))
            printf(", %s left of it", wn_seconds_text(number(progress, "search_seconds_left")));
        printf("; points come after it\n");
        return;
    }
    printf("work      %.0f %% of this run, %s left, %.0f tokens/s\n", 100 * number(progress, "share_done"),
           wn_seconds_text(number(progress, "seconds_left")), number(progress, "tokens_per_second"));
    print_in_flight(progress);
}

static void print_saved(const struct view *view)
{
    double waiting = view->running ? number(view->progress, "waiting") : 0;
    char place[WN_STATE_PLACE];
    for (int64_t i = 0; i < view->n_saved && i < SAVED_LINES; i++)
        printf("saved     %lld %s: %s, the next start goes on there\n", (long long)view->saved[i].point,
               view->keys[view->saved[i].point],
               wn_state_place_text(view->saved[i].done, view->saved[i].blocks, place));
    if (view->n_saved > SAVED_LINES)
        printf("... and %lld more that are saved (--json has all)\n", (long long)(view->n_saved - SAVED_LINES));
    if (waiting > 0)
        printf("waiting   %.0f point%s for the next time slot: more than this one has left\n", waiting,
               waiting == 1 ? "" : "s");
}

static void print_failures(const struct view *view)
{
    for (int64_t i = 0; i < view->points; i++)
        if (view->status[i] == WN_POINT_FAILED)
            printf("failed: %lld %s: %s\n", (long long)i, view->keys[i], view->reasons[i]);
}

/* A bar of all points: '#' is done, '!' failed, '-' in work. */
static void print_bar(const struct view *view)
{
    const cJSON *in_work = view->running ? cJSON_GetObjectItemCaseSensitive(view->progress, "in_flight") : NULL;
    double per_point = (double)BAR / (double)view->points, ended = (double)(view->done + view->failed);
    int done = (int)(per_point * (double)view->done), finished = (int)(per_point * ended);
    int begun = (int)ceil(per_point * (ended + cJSON_GetArraySize(in_work)));
    char bar[BAR + 1];
    for (int i = 0; i < BAR; i++)
        bar[i] = i < done ? '#' : i < finished ? '!' : i < begun ? '-' : '.';
    bar[BAR] = '\0';
    printf("[%s]\n", bar);
}

static void print_view(const struct view *view)
{
    int64_t open = view->points - view->done - view->failed;
    printf("%s: %lld of %lld points done, %lld failed, %lld open; %s of work so far\n", view->path,
           (long long)view->done, (long long)view->points, (long long)view->failed, (long long)open,
           wn_seconds_text(view->seconds));
    if (view->running)
        print_running(view);
    else if (open)
        printf("nobody is running it; last write %s ago%s\n", wn_seconds_text(view->written),
               view->progress ? " (its last run was ended from outside); the same `winnow run` goes on" : "");
    print_saved(view);
    if (view->running)
        printf("written   last write %s ago\n", wn_seconds_text(view->written));
    print_failures(view);
}

/* ---- for programs ---- */

/*
 * A number that grows when a start gets on: finished points, shares of saved ones, parts of the dense pass, and halves
 * of points that were put last, of which only a few count: a sweep whose every point kills its rank does not get on.
 */
static double advance_of(const struct view *view)
{
    static const double MOST_LOST = 4;
    return (double)(view->done + view->failed) + fmin(view->lost, MOST_LOST) / 2 + wn_state_progress(view->scratch);
}

static void add_failures(const struct view *view, cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "failures");
    for (int64_t i = 0; i < view->points; i++) {
        if (view->status[i] != WN_POINT_FAILED)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "point", (double)i);
        cJSON_AddStringToObject(one, "key", view->keys[i]);
        cJSON_AddStringToObject(one, "reason", view->reasons[i]);
        cJSON_AddItemToArray(list, one);
    }
}

static void add_saved(const struct view *view, cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "saved");
    for (int64_t i = 0; i < view->n_saved; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "point", (double)view->saved[i].point);
        cJSON_AddStringToObject(one, "key", view->keys[view->saved[i].point]);
        cJSON_AddNumberToObject(one, "block", view->saved[i].done);
        cJSON_AddNumberToObject(one, "blocks", (double)view->saved[i].blocks);
        cJSON_AddItemToArray(list, one);
    }
}

static void print_json(struct view *view)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "points", (double)view->points);
    cJSON_AddNumberToObject(json, "done", (double)view->done);
    cJSON_AddNumberToObject(json, "failed", (double)view->failed);
    cJSON_AddNumberToObject(json, "open", (double)(view->points - view->done - view->failed));
    cJSON_AddNumberToObject(json, "seconds", view->seconds);
    cJSON_AddNumberToObject(json, "advance", advance_of(view));
    cJSON_AddNumberToObject(json, "last_write_seconds_ago", view->written);
    cJSON_AddBoolToObject(json, "running", view->running);
    if (view->progress) {
        cJSON_AddNumberToObject(json, "heard_seconds_ago", view->heartbeat);
        cJSON_AddItemToObject(json, "progress", view->progress);
        view->progress = NULL; /* it belongs to json now */
    }
    add_failures(view, json);
    add_saved(view, json);
    char *printed = cJSON_Print(json);
    printf("%s\n", printed);
    cJSON_free(printed);
    cJSON_Delete(json);
}

/* A sweep file begins with a brace or a comment, a results file with a byte that is no character. */
static bool is_text(const char *path)
{
    FILE *file = fopen(path, "r");
    int first = file ? getc(file) : EOF;
    while (first == ' ' || first == '\t' || first == '\r' || first == '\n')
        first = getc(file);
    if (file)
        fclose(file);
    return first == '{' || first == '/';
}

/* A sweep file stands for its output. */
static wn_status find_file(const char *argument, const char *output, struct view *view)
{
    cJSON *json = NULL;
    if (!is_text(argument)) {
        view->path = wn_strdup(argument);
        return WN_OK;
    }
    WN_TRY(wn_json_read(argument, true, &json));
    char *folder = wn_directory_of(argument);
    const char *named = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "output"));
    view->path = output ? wn_strdup(output) : named ? wn_join_path(folder, named) : NULL;
    wn_free(folder);
    cJSON_Delete(json);
    return view->path ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: no \"output\": give -o FILE.h5", argument);
}

struct request {
    const char *argument, *output, *scratch;
};

/* What there is now. The caller releases `view` in any case. */
static wn_status look(const struct request *request, struct view *view)
{
    struct wn_results_reader *reader = NULL;
    *view = (struct view){0};
    if (find_file(request->argument, request->output, view) != WN_OK || !view->path)
        return WN_ERR_INPUT;
    read_progress(view); /* before the points: what it has in work may be written in between, never the reverse */
    wn_status result = wn_results_read_open(view->path, &reader);
    if (result == WN_OK)
        result = read_points(reader, view);
    if (result == WN_OK)
        read_saved(reader, request->scratch, view);
    wn_results_read_close(&reader);
    return result;
}

static int complain(void)
{
    fprintf(stderr, "winnow: %s\n", wn_error_message());
    return 2;
}

/* On a terminal the view stays in its place; elsewhere one follows another behind an empty line. */
static int watch(const struct request *request)
{
    bool terminal = isatty(STDOUT_FILENO), running = true;
    for (bool first = true; running; first = false) {
        struct view view;
        if (!first)
            sleep(WATCH_SECONDS);
        wn_status found = look(request, &view);
        if (found == WN_OK) {
            fputs(terminal ? "\033[H\033[J" : first ? "" : "\n", stdout);
            print_view(&view);
            if (view.points)
                print_bar(&view);
            fflush(stdout);
        }
        running = found == WN_OK && view.running;
        release_view(&view);
        if (found != WN_OK)
            return complain();
    }
    return 0;
}

int wn_command_status(const struct wn_command *command, int argc, char **argv)
{
    struct request request = {0};
    struct view view;
    bool json = false, watched = false;
    const struct wn_option options[] = {{"--json", NULL, NULL, &json},
                                        {"--watch", NULL, NULL, &watched},
                                        {"--output", "-o", &request.output, NULL},
                                        {"--scratch", NULL, &request.scratch, NULL}};
    int code;
    if (!wn_options_read(command, argc, argv, options, 4, &request.argument, 1, &code))
        return code;
    if (json && watched) {
        fprintf(stderr,
                "winnow: --watch and --json: one of them: --watch is for people, --json tells the state once\n");
        return 2;
    }
    if (watched)
        return watch(&request);
    code = 0;
    if (look(&request, &view) != WN_OK)
        code = complain();
    else if (json)
        print_json(&view);
    else
        print_view(&view);
    release_view(&view);
    return code;
}
