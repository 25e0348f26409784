/* status.c: `winnow status`: how far a sweep is, also while it runs. */
#include <stdio.h>

#include <cjson/cJSON.h>

#include "command.h"

struct counts {
    int64_t points, done, failed;
    double seconds;
};

static wn_status count_points(struct wn_results_reader *reader, struct counts *counts)
{
    double *seconds = NULL;
    int64_t rows;
    counts->points = wn_results_read_points(reader);
    uint8_t *status = wn_alloc_zero(counts->points, 1);
    wn_status result = wn_results_read_status(reader, status);
    if (result == WN_OK)
        result = wn_results_read_numbers(reader, "/points/seconds", &seconds, &rows);
    for (int64_t i = 0; result == WN_OK && i < counts->points; i++) {
        bool finished = status[i] != WN_POINT_OPEN;
        counts->done += status[i] == WN_POINT_DONE;
        counts->failed += status[i] == WN_POINT_FAILED;
        counts->seconds += finished ? seconds[i] : 0;
    }
    wn_free(seconds);
    wn_free(status);
    return result;
}

static void print_failures(struct wn_results_reader *reader, int64_t points)
{
    char **keys = NULL, **reasons = NULL;
    int64_t rows;
    uint8_t *status = wn_alloc_zero(points, 1);
    if (wn_results_read_status(reader, status) == WN_OK &&
        wn_results_read_texts(reader, "/points/key", &keys, &rows) == WN_OK &&
        wn_results_read_texts(reader, "/points/reason", &reasons, &rows) == WN_OK) {
        for (int64_t i = 0; i < points; i++)
            if (status[i] == WN_POINT_FAILED)
                printf("failed: %s: %s\n", keys[i], reasons[i]);
    }
    wn_results_free_texts(&keys, points);
    wn_results_free_texts(&reasons, points);
    wn_free(status);
}

static void print_json(const struct counts *counts)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "points", (double)counts->points);
    cJSON_AddNumberToObject(json, "done", (double)counts->done);
    cJSON_AddNumberToObject(json, "failed", (double)counts->failed);
    cJSON_AddNumberToObject(json, "open", (double)(counts->points - counts->done - counts->failed));
    cJSON_AddNumberToObject(json, "seconds", counts->seconds);
    char *text = cJSON_Print(json);
    printf("%s\n", text);
    cJSON_free(text);
    cJSON_Delete(json);
}

int wn_command_status(const struct wn_command *command, int argc, char **argv)
{
    const char *path;
    bool json = false;
    const struct wn_option options[] = {{"--json", NULL, NULL, &json}};
    struct wn_results_reader *reader = NULL;
    struct counts counts = {0};
    int code;
    if (!wn_options_read(command, argc, argv, options, 1, &path, 1, &code))
        return code;
    if (wn_results_read_open(path, &reader) != WN_OK || count_points(reader, &counts) != WN_OK) {
        fprintf(stderr, "winnow: %s\n", wn_error_message());
        wn_results_read_close(&reader);
        return 2;
    }
    if (json) {
        print_json(&counts);
    } else {
        printf("%s: %lld of %lld points done, %lld failed, %lld open; %s of work so far\n", path,
               (long long)counts.done, (long long)counts.points, (long long)counts.failed,
               (long long)(counts.points - counts.done - counts.failed), wn_seconds_text(counts.seconds));
        print_failures(reader, counts.points);
    }
    wn_results_read_close(&reader);
    return 0;
}
