/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Time left and short names. Work in flight counts by its share, and all ranks work at a time: the time left is neither
 * too long by the number of ranks nor unknown before the first point is done. And FILE.progress comes and goes.
 */
#include <math.h>
#include <sys/stat.h>

#include <cjson/cJSON.h>

#include <winnow/io.h>

#include "../../src/sweep/progress.h"
#include "test.h"

enum { POINTS = 12, RANKS = 4 };

static void tell(struct wn_progress *progress, enum wn_queue_event event, int rank, int64_t job, int step,
                 double seconds)
{
    struct wn_queue_report report = {.job = job,
                                     .event = (int32_t)event,
                                     .rank = rank,
                                     .step = step,
                                     .steps = 10,
                                     .seconds = seconds,
                                     .tokens = 100};
    wn_progress_listen(progress, &report);
}

static void check_names(void)
{
    struct wn_point points[] = {
        {.key = "dense"},
        {.key = "wanda sparsity=0.5 pattern=unstructured variant=none calibration=a propagation=dense"},
        {.key = "wanda sparsity=0.5 pattern=2:4 variant=none calibration=b propagation=dense"},
        {.key = "rtn bits=4 symmetric=true"},
        {.key = "wanda sparsity=0.5 + rtn bits=4 symmetric=false calibration=a"},
        {.key = "wanda sparsity=0.5 + rtn bits=3 symmetric=false calibration=a"}};
    static const char *const wanted[] = {"dense", "wanda unstructured a", "wanda pattern=2:4 b",
                                         "rtn",   "wanda+rtn bits=4",     "wanda+rtn bits=3"};
    struct wn_grid_points grid = {.n_points = 6, .points = points};
    char **names = wn_point_names(&grid);
    for (int i = 0; i < 6; i++)
        CHECK_TEXT(names[i], wanted[i]);
    wn_point_names_free(&names, 6);
}

/* Points 0 .. 7 of 1 unit, 8 .. 11 of 4. */
static struct wn_progress *start(struct wn_run *run, const char *output)
{
    static double flops[POINTS];
    static bool wanted[POINTS];
    for (int i = 0; i < POINTS; i++) {
        flops[i] = i < 8 ? 1 : 4;
        wanted[i] = i != 7; /* it is there already */
    }
    struct wn_progress_options options = {
        .output = output, .quiet = true, .wanted = wanted, .flops = flops, .ranks = RANKS, .threads = 3};
    options.hosts = wn_alloc_zero(RANKS, sizeof *options.hosts);
    for (int r = 0; r < RANKS; r++)
        snprintf(options.hosts[r], WN_HOST_TEXT, "node%d", r / 2);
    return wn_progress_start(run, &options);
}

static void check_left(struct wn_run *run, const char *output)
{
    double share;
    struct wn_progress *progress = start(run, output);
    CHECK(isnan(wn_progress_left(progress, &share)) && share == 0);
    const double given = wn_seconds();
    for (int r = 0; r < RANKS; r++)
        tell(progress, WN_QUEUE_GIVEN, r, 8 + r, 0, 0);
    CHECK(isnan(wn_progress_left(progress, &share)));
    const double asleep = wn_seconds();
    usleep(400000);
    const double awake = wn_seconds();
    for (int r = 0; r < RANKS; r++)
        tell(progress, WN_QUEUE_STEP, r, 8 + r, 5, 0);
    /* 4 points of 4 units are half done after some 0.4 s: a unit takes 0.2 s; 8 units of them and 7 others are left.
     * On a busy machine the clock goes on: by up to 0.9 of a step of ten, 1.44 units of all. */
    const double left = wn_progress_left(progress, &share), most = (wn_seconds() - given) / 2;
    CHECK(left >= (15 - 1.45) * (awake - asleep) / 2 / 4 && left <= 15.01 * most / 4);
    CHECK(share >= 8.0 / 23 - 1e-9 && share <= (8 + 1.45) / 23);
    for (int r = 0; r < RANKS; r++)
        tell(progress, WN_QUEUE_DONE, r, 8 + r, 0, 0.8);
    CHECK_NEAR(wn_progress_left(progress, &share), 7 * 0.2 / 4, 0.01);
    CHECK_NEAR(share, 16.0 / 23, 1e-9);
    /* Another kind takes five times as long as its operations say: seen at its first point. */
    tell(progress, WN_QUEUE_GIVEN, 0, 0, 0, 0);
    tell(progress, WN_QUEUE_DONE, 0, 0, 0, 1);
    CHECK_NEAR(wn_progress_left(progress, &share), 6 * 1.0 / 4, 0.01);
    /* The last point is in work on one rank: that rank alone counts. */
    for (int i = 1; i < 6; i++)
        tell(progress, WN_QUEUE_DONE, 1, i, 0, 1);
    tell(progress, WN_QUEUE_GIVEN, 2, 6, 0, 0);
    CHECK_NEAR(wn_progress_left(progress, &share), 1, 0.05);
    wn_progress_finish(&progress);
}

/* The file is there within the time it names, makes sense, and is gone at the end. */
static void check_file(struct wn_run *run, const char *output)
{
    char *path = wn_format("%s.progress", output);
    struct cJSON *json = NULL;
    struct wn_progress *progress = start(run, output);
    wn_progress_dense(progress, 0, 30);
    wn_progress_dense(progress, 12, 30);
    for (int i = 0; i < 100 && !wn_file_exists(path); i++)
        usleep(50000);
    CHECK_OK(wn_json_read(path, false, &json));
    CHECK_TEXT(cJSON_GetStringValue(cJSON_GetObjectItem(json, "stage")), "dense");
    CHECK(cJSON_GetObjectItem(json, "dense_block")->valueint == 12);
    CHECK(cJSON_GetObjectItem(json, "ranks")->valueint == RANKS && cJSON_GetObjectItem(json, "threads")->valueint == 3);
    CHECK(cJSON_GetObjectItem(json, "wanted")->valueint == POINTS - 1);
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(json, "hosts")) == 2);
    CHECK(cJSON_GetArraySize(cJSON_GetObjectItem(json, "in_flight")) == 0);
    cJSON_Delete(json);
    wn_progress_finish(&progress);
    CHECK(!wn_file_exists(path));
    wn_free(path);
}

int main(void)
{
    struct wn_point points[POINTS];
    struct wn_model model = {.config.n_blocks = 10};
    struct wn_prepared_model prepared = {.model = &model};
    char folder[] = "/tmp/winnow-progress-XXXXXX";
    CHECK(mkdtemp(folder) != NULL);
    char *output = wn_format("%s/out.h5", folder);
    memset(points, 0, sizeof points);
    for (int i = 0; i < POINTS; i++)
        points[i].key = wn_format(i < 8 ? "rtn bits=%d" : "gptq bits=%d", i);
    struct wn_run run = {.grid = {.n_points = POINTS, .points = points}, .n_models = 1, .models = &prepared};
    check_names();
    check_left(&run, output);
    check_file(&run, output);
    for (int i = 0; i < POINTS; i++)
        wn_free((char *)points[i].key);
    CHECK(rmdir(folder) == 0);
    wn_free(output);
    return test_finish();
}
