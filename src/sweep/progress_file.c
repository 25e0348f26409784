/* SPDX-License-Identifier: Apache-2.0 */
/* progress_file.c: FILE.h5.progress, from which status reads; sweep.h says what is in it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "progress_impl.h"
#include "winnow_build.h"

enum { MANY_RANKS = 128 };
static const double FILE_SECONDS = 2, FILE_SECONDS_OF_MANY = 10;

double wn_progress_file_seconds(const struct wn_progress *p)
{
    return p->ranks > MANY_RANKS ? FILE_SECONDS_OF_MANY : FILE_SECONDS;
}

static void add_number(cJSON *json, const char *name, double value)
{
    if (isfinite(value))
        cJSON_AddNumberToObject(json, name, value);
    else
        cJSON_AddNullToObject(json, name);
}

static void add_hosts(const struct wn_progress *p, cJSON *json)
{
    cJSON *hosts = cJSON_AddArrayToObject(json, "hosts");
    cJSON *last = NULL;
    int left = 0;
    for (int r = 0; r < p->ranks; r++) {
        left += p->workers[r].left;
        if (!last || strcmp(cJSON_GetObjectItem(last, "host")->valuestring, p->hosts[r])) {
            last = cJSON_CreateObject();
            cJSON_AddStringToObject(last, "host", p->hosts[r]);
            cJSON_AddNumberToObject(last, "ranks", 0);
            cJSON_AddItemToArray(hosts, last);
        }
        cJSON *count = cJSON_GetObjectItem(last, "ranks");
        if (count)
            cJSON_SetNumberValue(count, count->valuedouble + 1);
    }
    add_number(json, "ranks", p->ranks);
    add_number(json, "ranks_at_work", p->ranks - left);
    add_number(json, "threads", p->threads);
}

static void add_workers(const struct wn_progress *p, double now, cJSON *json)
{
    cJSON *list = cJSON_AddArrayToObject(json, "in_flight");
    for (int r = 0; r < p->ranks; r++) {
        const struct wn_progress_worker *worker = &p->workers[r];
        if (worker->job < 0)
            continue;
        cJSON *one = cJSON_CreateObject();
        add_number(one, "point", (double)worker->job);
        cJSON_AddStringToObject(one, "name", p->names[worker->job]);
        add_number(one, "rank", r);
        cJSON_AddStringToObject(one, "host", p->hosts[r]);
        add_number(one, "block", (double)worker->step);
        add_number(one, "blocks",
                   (double)p->run->models[p->run->grid.points[worker->job].model].model->config.n_blocks);
        add_number(one, "seconds", now - worker->since);
        add_number(one, "heard_seconds_ago", now - worker->heard);
        cJSON_AddItemToArray(list, one);
    }
}

static void add_search(const struct wn_progress *p, cJSON *json)
{
    const struct wn_point_search *search = &p->run->searches[p->search];
    cJSON_AddStringToObject(json, "search", p->run->grid.points[search->point].recipe.search);
    add_number(json, "search_point", (double)search->point);
    add_number(json, "generation", (double)p->generation);
    add_number(json, "generations", (double)search->generations);
    add_number(json, "fitness", p->fitness);
    add_number(json, "candidate_tokens_per_second", wn_progress_search_rate(p));
    add_number(json, "search_seconds_left", wn_progress_search_left(p));
}

char *wn_progress_describe(const struct wn_progress *p, double now)
{
    cJSON *json = cJSON_CreateObject();
    double share, left = wn_progress_seconds_left(p, now, &share);
    add_number(json, "format", 1);
    cJSON_AddStringToObject(json, "version", WN_VERSION);
    cJSON_AddStringToObject(json, "host", p->hosts[0]);
    add_number(json, "process", getpid());
    add_number(json, "started", p->started);
    add_number(json, "written", (double)time(NULL));
    add_number(json, "every_seconds", wn_progress_file_seconds(p));
    cJSON_AddStringToObject(json, "stage", p->at_points ? "points" : p->search >= 0 ? "search" : "dense");
    add_hosts(p, json);
    add_number(json, "wanted", (double)p->wanted);
    add_number(json, "done", (double)p->done);
    add_number(json, "failed", (double)p->failed);
    add_number(json, "saved", (double)p->saved);
    add_number(json, "waiting", (double)p->waiting);
    add_number(json, "last_point_written", p->last_write);
    add_number(json, "dense_block", (double)p->dense_done);
    add_number(json, "dense_blocks", (double)p->dense_all);
    if (!p->at_points && p->search >= 0)
        add_search(p, json);
    add_number(json, "share_done", p->at_points ? share : 0);
    add_number(json, "seconds_left", p->at_points ? left : (double)NAN);
    add_number(json, "dense_seconds_left", p->at_points ? 0 : wn_progress_dense_left(p, now));
    add_number(json, "tokens_per_second", p->at_points ? wn_progress_tokens_per_second(p, now) : 0);
    add_workers(p, now, json);
    char *text = cJSON_PrintUnformatted(json);
    cJSON_Delete(json);
    return text;
}

/* A disk that is full or a folder that may not be written costs the view, not the run. */
void wn_progress_write_file(const struct wn_progress *p, const char *text)
{
    FILE *file = fopen(p->partial, "w");
    if (!file)
        return;
    bool good = fputs(text, file) >= 0 && fputc('\n', file) != EOF;
    good = fclose(file) == 0 && good;
    if (!good || rename(p->partial, p->path) != 0)
        unlink(p->partial);
}
