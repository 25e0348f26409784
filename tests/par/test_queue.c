/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue. Run with 1, 2 and 4 ranks, and without mpirun. With the argument "load" it prints what the manager can
 * serve instead of testing.
 */
#include <signal.h>

#include <winnow/par.h>

#include "../../src/par/par_internal.h"
#include "test.h"

enum { JOBS = 300 };

struct seen {
    int reports, idle_calls, given, ends, steps, left, resumed, saved;
    int64_t holds[64]; /* by rank: what it was given last */
    int by_job[JOBS];
    double seconds, tokens;
};

static void listen(void *context, const struct wn_queue_report *report)
{
    struct seen *seen = context;

    if (!report) {
        seen->idle_calls++;
        return;
    }
    CHECK(report->rank >= 0 && report->rank < 64);
    if (report->event == WN_QUEUE_GIVEN) {
        seen->given += report->job >= 0;
        seen->ends += report->job < 0;
        seen->holds[report->rank] = report->job;
    }
    if (report->event == WN_QUEUE_STEP) {
        seen->steps++;
        CHECK(report->job == seen->holds[report->rank]);
        CHECK(report->step >= 1 && report->step <= report->steps);
    }
    seen->left += report->event == WN_QUEUE_LEFT;
    if (report->event == WN_QUEUE_RESUMED || report->event == WN_QUEUE_SAVED) {
        CHECK(report->job == seen->holds[report->rank]);
        CHECK(report->step == 2 && report->steps == 3);
    }
    seen->resumed += report->event == WN_QUEUE_RESUMED;
    seen->saved += report->event == WN_QUEUE_SAVED;
    if (report->event != WN_QUEUE_DONE)
        return;
    seen->reports++;
    seen->by_job[report->job]++;
    seen->seconds += report->seconds;
    seen->tokens += report->tokens;
}

/* Dearest first: here job JOBS - 1 first. */
static void fill_order(int64_t order[JOBS])
{
    for (int64_t i = 0; i < JOBS; i++)
        order[i] = JOBS - 1 - i;
}

/* Every job once, and each rank gets them in the given order. */
static void check_once(struct wn_par *par, bool ask_early)
{
    struct seen seen = {0};
    struct wn_queue *queue;
    int64_t order[JOBS], job, last = JOBS;
    int mine = 0;

    fill_order(order);
    CHECK_OK(wn_queue_start(par, JOBS, order, listen, &seen, &queue));
    memset(order, 0, sizeof order); /* it was copied */
    while ((job = wn_queue_take(queue)) >= 0) {
        CHECK(job < last);
        last = job;
        mine++;
        if (ask_early) {
            wn_queue_ask(queue);
            wn_queue_ask(queue); /* one question at most */
        }
        wn_queue_done(queue, job, WN_OK, 0.25, 2);
    }
    CHECK(wn_queue_take(queue) == -1);
    wn_queue_finish(&queue);
    CHECK(wn_par_sum(par, mine) == JOBS);
    if (wn_par_rank(par) != 0)
        return;
    CHECK(seen.reports == JOBS);
    CHECK(seen.given == JOBS);
    CHECK(seen.left == wn_par_size(par) && seen.ends == wn_par_size(par));
    CHECK_NEAR(seen.seconds, 0.25 * JOBS, 0);
    CHECK_NEAR(seen.tokens, 2.0 * JOBS, 0);
    for (int i = 0; i < JOBS; i++)
        CHECK(seen.by_job[i] == 1);
}

/* Rank 0 is away in one long job while the others drain the rest; the listener is called meanwhile. */
static void check_busy_rank0(struct wn_par *par)
{
    struct seen seen = {0};
    struct wn_queue *queue;
    int64_t order[JOBS], job;
    int mine = 0;

    fill_order(order);
    CHECK_OK(wn_queue_start(par, 20, order + JOBS - 20, listen, &seen, &queue));
    while ((job = wn_queue_take(queue)) >= 0) {
        mine++;
        if (wn_par_rank(par) == 0 && wn_par_size(par) > 1 && mine == 1)
            usleep(1200000);
        wn_queue_done(queue, job, WN_ERR_NUMERIC, 0, 0);
    }
    wn_queue_finish(&queue);
    CHECK(wn_par_sum(par, mine) == 20);
    if (wn_par_rank(par) == 0 && wn_par_size(par) > 1) {
        CHECK(mine < 20);
        CHECK(seen.idle_calls >= 1);
    }
}

/* Fewer jobs than ranks, and none at all. */
static void check_few(struct wn_par *par, int64_t jobs)
{
    struct wn_queue *queue;
    int64_t order[JOBS];
    int mine = 0;

    for (int64_t i = 0; i < JOBS; i++)
        order[i] = i;
    CHECK_OK(wn_queue_start(par, jobs, order, NULL, NULL, &queue));
    for (int64_t job; (job = wn_queue_take(queue)) >= 0; mine++)
        wn_queue_done(queue, job, WN_OK, 0, 0);
    wn_queue_finish(&queue);
    CHECK(wn_par_sum(par, mine) == (double)jobs);
}

/* Steps are told at most once a second by each rank, however often a rank comes, and the first one at once. */
static void check_steps(struct wn_par *par)
{
    struct seen seen = {0};
    struct wn_queue *queue;
    int64_t order[JOBS];
    double start = wn_seconds();

    fill_order(order);
    CHECK_OK(wn_queue_start(par, wn_par_size(par), order + JOBS - wn_par_size(par), listen, &seen, &queue));
    for (int64_t job; (job = wn_queue_take(queue)) >= 0;) {
        for (int step = 1; step <= 1300; step++) {
            wn_queue_step(queue, job, step, 1300);
            usleep(1000);
        }
        wn_queue_done(queue, job, WN_OK, 0, 0);
    }
    wn_queue_finish(&queue);
    if (wn_par_rank(par) != 0)
        return;
    CHECK(seen.steps >= 2 * seen.reports && seen.reports == wn_par_size(par));
    CHECK(seen.steps <= wn_par_size(par) * (1 + (wn_seconds() - start) / WN_QUEUE_STEP_SECONDS));
}

/* Every third job from the end, as a function of rank 0 says; each goes on, and is left again. */
static int64_t choose(void *context)
{
    int64_t *next = context;
    int64_t job = *next;

    *next -= 3;
    return job >= 0 ? job : -1;
}

static void check_choosing(struct wn_par *par)
{
    struct seen seen = {0};
    struct wn_queue *queue;
    int64_t next = JOBS - 1, last = JOBS;
    int mine = 0;

    CHECK_OK(wn_queue_start_choosing(par, choose, &next, listen, &seen, &queue));
    for (int64_t job; (job = wn_queue_take(queue)) >= 0; mine++) {
        CHECK(job % 3 == (JOBS - 1) % 3 && job < last);
        last = job;
        wn_queue_resumed(queue, job, 2, 3);
        wn_queue_saved(queue, job, 2, 3);
    }
    wn_queue_finish(&queue);
    CHECK((int64_t)wn_par_sum(par, mine) == JOBS / 3);
    if (wn_par_rank(par) == 0)
        CHECK(seen.resumed == JOBS / 3 && seen.saved == JOBS / 3 && seen.given == JOBS / 3 && seen.reports == 0);
}

/* A rank that leaves early with a job it asked for: another rank gets that job. */
static void check_leave(struct wn_par *par)
{
    struct wn_queue *queue;
    int64_t order[JOBS];
    int mine = 0, last = wn_par_size(par) - 1;

    if (last == 0)
        return;
    fill_order(order);
    CHECK_OK(wn_queue_start(par, 50, order + JOBS - 50, NULL, NULL, &queue));
    if (wn_par_rank(par) == last) {
        wn_queue_ask(queue);
        wn_par_barrier(par);
    } else {
        wn_par_barrier(par); /* the question of the last rank travels first; its job comes back before ours end */
        for (int64_t job; (job = wn_queue_take(queue)) >= 0; mine++) {
            usleep(5000);
            wn_queue_done(queue, job, WN_OK, 0, 0);
        }
    }
    wn_queue_finish(&queue);
    CHECK(wn_par_sum(par, mine) == 50);
}

/* A stop request on the last rank ends all of them; the flag stays set, so this is the last check. */
static void check_stop(struct wn_par *par)
{
    struct wn_queue *queue;
    int64_t order[JOBS], job;
    int mine = 0;

    fill_order(order);
    wn_par_catch_signals();
    CHECK(!wn_par_stop_requested());
    CHECK_OK(wn_queue_start(par, JOBS, order, NULL, NULL, &queue));
    while ((job = wn_queue_take(queue)) >= 0) {
        usleep(20000);
        if (++mine == 2 && wn_par_rank(par) == wn_par_size(par) - 1)
            kill(getpid(), SIGUSR1);
        wn_queue_ask(queue);
        wn_queue_done(queue, job, WN_OK, 0, 0);
    }
    wn_queue_finish(&queue);
    CHECK(wn_par_stop_requested() == (wn_par_rank(par) == wn_par_size(par) - 1));
    int64_t all = (int64_t)wn_par_sum(par, mine);
    CHECK(all >= 2 && all < JOBS / 2);
}

/* Ranks that do nothing but ask: how many answers the manager gives per second of its own work. */
static void print_load(struct wn_par *par)
{
    enum { MANY = 100000 };
    struct wn_queue *queue;
    int64_t *order = wn_alloc(MANY, sizeof *order), answers;
    double busy, start = wn_seconds();

    for (int64_t i = 0; i < MANY; i++)
        order[i] = i;
    CHECK_OK(wn_queue_start(par, MANY, order, NULL, NULL, &queue));
    for (int64_t job; (job = wn_queue_take(queue)) >= 0;)
        wn_queue_done(queue, job, WN_OK, 0, 0);
    wn_queue_load_(queue, &answers, &busy);
    wn_queue_finish(&queue);
    if (wn_par_rank(par) == 0)
        printf("%d ranks: %.0f answers/s to ranks that only ask; manager: %.2f us per job (ask, answer, report), "
               "%.0f jobs/s at most\n",
               wn_par_size(par), MANY / (wn_seconds() - start), 1e6 * busy / (double)answers, (double)answers / busy);
    wn_free(order);
}

int main(int argc, char **argv)
{
    struct wn_par *par;

    CHECK_OK(wn_par_start(&argc, &argv, &par));
    if (argc > 1 && !strcmp(argv[1], "load")) {
        print_load(par);
    } else {
        CHECK(wn_par_size(par) == test_ranks_asked());
        check_once(par, false);
        check_once(par, true);
        check_busy_rank0(par);
        check_few(par, 1);
        check_few(par, 0);
        check_leave(par);
        check_choosing(par);
        check_steps(par);
        check_stop(par);
    }
    wn_par_finish(&par);
    return test_finish();
}
