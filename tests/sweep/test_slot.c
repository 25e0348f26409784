/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which point comes next: the first turn before the second, the dearest that fits, corrected by what was measured, and
 * when none fits one that can be saved, those that were saved before first. And it takes microseconds for many points.
 */
#include <time.h>

#include "../../src/sweep/slot.h"
#include "test.h"

enum { FEW = 7, BLOCKS = 10 };

static struct wn_model model = {.config.n_blocks = BLOCKS};
static struct wn_prepared_model prepared = {.model = &model};

/* The dense point, three of one method and three of another. */
static struct wn_point few_points[FEW] = {{.key = "dense"},      {.key = "awq bits=4"}, {.key = "awq bits=3"},
                                          {.key = "awq bits=2"}, {.key = "rtn bits=4"}, {.key = "rtn bits=3"},
                                          {.key = "rtn bits=2"}};
static struct wn_run few = {.grid = {.n_points = FEW, .points = few_points}, .n_models = 1, .models = &prepared};
static const bool few_wanted[FEW] = {true, true, true, true, true, true, true};
static const int few_turn[FEW] = {0, 1, 1, 2, 1, 1, 1};
static const double few_seconds[FEW] = {5, 300, 200, 400, 10, 20, 30};

/* What comes one after the other, as digits; a slot of `left` seconds. */
static void check_order(const char *what, double left, const double *saved, bool saves, double awq_pace,
                        const char *wanted)
{
    char order[FEW + 1] = "";
    struct wn_slot_options options = {.end = wn_seconds() + left,
                                      .wanted = few_wanted,
                                      .turn = few_turn,
                                      .seconds = few_seconds,
                                      .saved = saved,
                                      .saves = saves};
    struct wn_slot_waiting waiting;
    struct wn_slot *slot = wn_slot_start(&few, &options);
    if (awq_pace > 0)
        wn_slot_measured(slot, 1, awq_pace * few_seconds[1]);
    int64_t point, count = 0;
    while ((point = wn_slot_next(slot)) >= 0 && count < FEW)
        order[count++] = (char)('0' + point);
    if (strcmp(order, wanted)) {
        fprintf(stderr, "test_slot: %s: the order is %s, expected %s\n", what, order, wanted);
        test_failures++;
    }
    wn_slot_waits(slot, &waiting);
    CHECK(waiting.count == FEW - count);
    CHECK((waiting.point >= 0) == (waiting.count > 0));
    wn_slot_finish(&slot);
}

static void check_few(void)
{
    const double saved[FEW] = {0, 0, 8, 0, 0, 0, 0};
    check_order("no limit", INFINITY, NULL, true, 0, "0126543");
    check_order("no limit, saved", INFINITY, saved, true, 0, "0126543");
    /* 1.3 times 200 s do not fit into 250 s; the others do */
    check_order("a limit", 250, NULL, false, 0, "0654");
    /* awq takes half of what was predicted: margin 1.1 */
    check_order("a limit, measured", 250, NULL, false, 0.5, "0126543");
    /* two blocks of ten are left of a point: 200 * (1 - 8/11) = 55 s */
    check_order("a limit, saved", 100, saved, false, 0, "02654");
    /* half a block of any point fits into 100 s: those that do not fit come behind those that do */
    check_order("a limit, savable", 100, NULL, true, 0, "0654123");
    /* into 12 s fits half a block of 20 s, no more */
    check_order("a short limit, savable", 12, NULL, true, 0, "02654");
    check_order("none", 0.001, NULL, true, 0, "");
}

static double seconds_for_many(int64_t n, double left)
{
    struct wn_run many = {.grid = {.n_points = n}, .n_models = 1, .models = &prepared};
    many.grid.points = wn_alloc_zero(n, sizeof *many.grid.points);
    bool *wanted = wn_alloc(n, 1);
    int *turn = wn_alloc_zero(n, sizeof *turn);
    double *seconds = wn_alloc(n, sizeof *seconds);
    char keys[20][32];
    for (int k = 0; k < 20; k++)
        snprintf(keys[k], sizeof keys[k], "method%d bits=4", k);
    for (int64_t i = 0; i < n; i++) {
        many.grid.points[i].key = keys[i % 20];
        wanted[i] = true;
        seconds[i] = 1 + wn_random_uniform(1, 0, (uint64_t)i) * 1000;
    }
    struct wn_slot_options options = {
        .end = wn_seconds() + left, .wanted = wanted, .turn = turn, .seconds = seconds, .saves = false};
    struct wn_slot *slot = wn_slot_start(&many, &options);
    int64_t count = 0;
    const clock_t start = clock(); /* of this process: the machine may be busy */
    while (wn_slot_next(slot) >= 0)
        count++;
    double took = (double)(clock() - start) / CLOCKS_PER_SEC;
    CHECK(isfinite(left) ? count > n / 4 && count < n : count == n);
    wn_slot_finish(&slot);
    wn_free(many.grid.points);
    wn_free(wanted);
    wn_free(turn);
    wn_free(seconds);
    return took / (double)count;
}

/* A thousand ranks that ask at once wait for the last of them. */
static void check_many(void)
{
    double unlimited = seconds_for_many(50000, INFINITY), limited = seconds_for_many(50000, 600);
    if (unlimited > 50e-6 || limited > 50e-6) {
        fprintf(stderr, "test_slot: a choice among 50,000 points takes %.1f us, with a limit %.1f us\n",
                1e6 * unlimited, 1e6 * limited);
        test_failures++;
    }
    if (getenv("WINNOW_TEST_PRINT"))
        printf("a choice among 50,000 points of 20 methods: %.1f us, with a limit %.1f us\n", 1e6 * unlimited,
               1e6 * limited);
}

int main(void)
{
    check_few();
    check_many();
    return test_finish();
}
