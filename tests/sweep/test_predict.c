/* SPDX-License-Identifier: Apache-2.0 */
/* What is predicted of sweeps with several models. */
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "test.h"

enum { MODELS = 4 };

static char folder[] = "/tmp/winnow_predict.XXXXXX";

static struct wn_run *prepare(struct wn_par *par, const char *text, struct wn_sweep **sweep)
{
    struct wn_problems problems;
    struct wn_run *run;
    char *path = wn_format("%s/sweep.json", folder);
    wn_problems_init(&problems);
    CHECK_OK(wn_sweep_parse(path, text, &problems, sweep));
    CHECK_OK(wn_prepare(par, *sweep, false, &problems, &run));
    for (int64_t i = 0; i < problems.count; i++)
        fprintf(stderr, "%s\n", problems.lines[i]);
    wn_problems_release(&problems);
    wn_free(path);
    return run;
}

static double search_seconds(const struct wn_run *run, const bool *only)
{
    struct wn_prediction prediction;
    CHECK_OK(wn_predict(run, &(struct wn_predict_options){.threads = 1, .only = only}, &prediction));
    const double seconds = prediction.search_seconds;
    wn_prediction_release(&prediction);
    return seconds;
}

/* Every model has levels of its own, of equal shapes too: four take about four times as long as one. */
static void test_levels(struct wn_par *par)
{
    struct wn_sweep *sweep;
    struct wn_run *run = prepare(
        par,
        "{\"model\": [\"a\", \"b\", \"c\", \"d\"], \"calibration\": {\"few\": {\"text\": \"data/general_eval.txt\", "
        "\"samples\": 2, \"length\": 16}}, \"grid\": [{\"method\": \"wanda\", \"sparsity\": 0.5, \"allocation\": "
        "\"dynamic_programming\"}], \"evaluate\": {\"perplexity\": {\"world\": {\"text\": "
        "\"data/general_eval.txt\", \"length\": 64, \"windows\": 1}}}}",
        &sweep);
    bool first[2 * MODELS] = {false};
    CHECK(run->n_models == MODELS && run->n_searches == MODELS && run->grid.n_points == 2 * MODELS);
    first[run->searches[0].point] = true;
    const double one = search_seconds(run, first), all = search_seconds(run, NULL);
    CHECK(one > 0 && all > 2 * one);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
}

int main(void)
{
    static const char *const links[] = {"a", "b", "c", "d", "data"};
    struct wn_par *par;
    char *demo = test_path("sweeps/demo");
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    for (int i = 0; i <= MODELS; i++) {
        char *from = wn_format("%s/%s", demo, i < MODELS ? "model" : "data"),
             *to = wn_format("%s/%s", folder, links[i]);
        CHECK(symlink(from, to) == 0);
        wn_free(from);
        wn_free(to);
    }
    wn_par_start_serial(&par);
    test_levels(par);
    wn_par_finish(&par);
    char *command = wn_format("rm -rf %s", folder);
    CHECK(system(command) == 0);
    wn_free(command);
    wn_free(demo);
    return test_finish();
}
