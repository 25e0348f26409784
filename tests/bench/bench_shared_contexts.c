/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Items per second of a multiple-choice task scored three ways on one model: every choice as a sequence of its own; a
 * sequence per item, since choices of one token read the same row; and as winnow runs it, prefixes that items have in
 * common once.
 *
 *     bench_shared_contexts MODEL FOLDER [threads [repetitions [cpu]]]
 *
 * FOLDER has choices.jsonl, of the kind multiple_choice with choices of one token each, and singles.jsonl, of the kind
 * continuation, with every choice of it as an item (bench_shared_contexts.sh makes both). The three are timed in turn,
 * the fastest of all repetitions counts. Losses must agree. "cpu": processor time per thread in place of wall time.
 */
#include <omp.h>

#include <winnow/linalg.h>

#include "clock.h"
#include "test.h"

#include "eval/forward.h"

#include <cjson/cJSON.h>

enum { WAYS = 3 };

static const struct way {
    const char *name, *kind, *request;
    bool share;
} ways[WAYS] = {
    {"a sequence per choice", "continuation", "{\"requests\": \"singles.jsonl\"}", false},
    {"a sequence per item", "multiple_choice", "{\"requests\": \"choices.jsonl\"}", false},
    {"prefixes once (winnow)", "multiple_choice", "{\"requests\": \"choices.jsonl\"}", true},
};

static void prepare(const struct wn_model *model, const char *folder, const struct way *way, struct wn_eval_set *set)
{
    cJSON *request = cJSON_Parse(way->request);
    wn_eval_set_init(set);
    CHECK_OK(wn_eval_find(way->kind)->prepare(folder, "set", request, model, set));
    if (way->share)
        wn_eval_share(model, set);
    cJSON_Delete(request);
}

/* Losses in the order of the kind; seconds of it are the smallest so far. */
static double *run(const struct wn_model *model, const struct wn_eval_set *set, int threads, double *best)
{
    struct wn_target_scores scores;
    double *loss = wn_alloc(set->n_targets, sizeof *loss), start = seconds_now(threads);
    float *hidden = forward_hidden(model, &set->sequences);
    forward_scores(model, set, hidden, NULL, &scores);
    double seconds = seconds_now(threads) - start;
    *best = *best == 0 || seconds < *best ? seconds : *best;
    for (int64_t t = 0; t < set->n_targets; t++)
        loss[t] = scores.loss[set->target_place ? set->target_place[t] : t];
    wn_target_scores_release(&scores);
    wn_free(hidden);
    return loss;
}

static void compare(const double *loss, const double *expected, int64_t n, double *worst)
{
    for (int64_t t = 0; t < n; t++)
        *worst = fabs(loss[t] - expected[t]) > *worst ? fabs(loss[t] - expected[t]) : *worst;
}

static void bench(const struct wn_model *model, const char *folder, int threads, int repetitions)
{
    struct wn_eval_set sets[WAYS];
    double best[WAYS] = {0}, worst = 0;
    for (int w = 0; w < WAYS; w++)
        prepare(model, folder, &ways[w], &sets[w]);
    int64_t n = sets[0].n_targets, items = sets[1].sequences.n_sequences;
    CHECK(n == sets[1].n_targets && n == sets[2].n_targets && n == sets[0].sequences.n_sequences);
    for (int r = 0; r < repetitions && test_failures == 0; r++) {
        double *loss[WAYS];
        for (int w = 0; w < WAYS; w++)
            loss[w] = run(model, &sets[w], threads, &best[w]);
        compare(loss[1], loss[0], n, &worst);
        compare(loss[2], loss[0], n, &worst);
        for (int w = 0; w < WAYS; w++)
            wn_free(loss[w]);
    }
    CHECK(worst < 1e-3);
    printf("%lld items, %lld choices; losses agree within %.1e\n", (long long)items, (long long)n, worst);
    printf("%-24s %10s %10s %10s %8s\n", "", "tokens", "seconds", "items/s", "ratio");
    for (int w = 0; w < WAYS; w++)
        printf("%-24s %10lld %10.2f %10.2f %8.2f\n", ways[w].name, (long long)wn_sequences_tokens(&sets[w].sequences),
               best[w], (double)items / best[w], best[0] / best[w]);
    for (int w = 0; w < WAYS; w++)
        wn_eval_set_release(&sets[w]);
}

int main(int argc, char **argv)
{
    int threads = argc > 3 ? atoi(argv[3]) : 1, repetitions = argc > 4 ? atoi(argv[4]) : 2;
    struct wn_problems problems;
    struct wn_model *model;
    if (argc < 3 || threads < 1 || repetitions < 1 || wn_linalg_start() != WN_OK) {
        fprintf(stderr, "usage: bench_shared_contexts MODEL FOLDER [threads [repetitions [cpu]]]\n");
        return 2;
    }
    use_cpu_time = argc > 5 && !strcmp(argv[5], "cpu");
    omp_set_num_threads(threads);
    wn_problems_init(&problems);
    if (wn_model_open(argv[1], &problems, &model) != WN_OK || problems.count > 0) {
        fprintf(stderr, "%s: %s\n", argv[1], wn_error_message());
        return 1;
    }
    printf("%s; %d threads, fastest of %d, %s time\n", wn_linalg_protocol(), threads, repetitions,
           use_cpu_time ? "processor" : "wall");
    bench(model, argv[2], threads, repetitions);
    wn_model_close(&model);
    wn_problems_release(&problems);
    return test_finish();
}
