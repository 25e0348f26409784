/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two models in one sweep, of different depth: records of the shorter one leave the rest of an axis missing, and the
 * numbers equal those of sweeps of one model each.
 */
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

static char folder[] = "/tmp/winnow_models.XXXXXX";

static int run_sweep(const char *models, const char *output)
{
    char *path = wn_format("%s/sweep.json", folder), *text_path = wn_format("%s/text.txt", folder);
    FILE *file = fopen(path, "w"), *text = fopen(text_path, "w");
    int code;
    for (int i = 0; i < 60; i++)
        fprintf(text, "Once upon a time there was a small dog named number %d who liked to run. ", i);
    fclose(text);
    fprintf(file,
            "{\"model\": [%s], \"grid\": [{\"method\": \"magnitude\", \"sparsity\": 0.5}], \"evaluate\": "
            "{\"perplexity\": {\"story\": {\"text\": \"text.txt\", \"length\": 64}}, \"divergence\": {\"on\": "
            "[\"story\"]}}}",
            models);
    fclose(file);
    code = test_run_sweep(path, output);
    wn_free(path);
    wn_free(text_path);
    return code;
}

static double *read_numbers(const char *file, const char *path, int64_t *rows)
{
    struct wn_results_reader *reader;
    double *values = NULL;
    CHECK_OK(wn_results_read_open(file, &reader));
    CHECK_OK(wn_results_read_numbers(reader, path, &values, rows));
    wn_results_read_close(&reader);
    return values;
}

/* Two tokenizers: token ids of each model under a name of its own, with what is beyond a shorter axis missing. */
static void check_constants(const char *both_file, const char *one_file, const char *two_file)
{
    for (int model = 0; model < 2; model++) {
        int64_t rows, all_rows;
        char *path = wn_format("/tokens/story/token_id_model%d", model);
        double *ids = read_numbers(model ? two_file : one_file, "/tokens/story/token_id", &rows);
        double *all = read_numbers(both_file, path, &all_rows);
        CHECK(ids && all && rows > 0 && all_rows >= rows);
        for (int64_t i = 0; ids && all && i < all_rows; i++)
            CHECK(i < rows ? all[i] == ids[i] : isnan(all[i]));
        wn_free(ids);
        wn_free(all);
        wn_free(path);
    }
}

int main(void)
{
    test_need_shared();
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    char *demo = test_path("sweeps/demo/model"), *stories = test_shared("models/stories260k");
    char *both = wn_format("\"%s\", \"%s\"", demo, stories), *one = wn_format("\"%s\"", demo),
         *two = wn_format("\"%s\"", stories);
    char *both_file = wn_format("%s/both.h5", folder), *one_file = wn_format("%s/one.h5", folder),
         *two_file = wn_format("%s/two.h5", folder);
    const char *const paths[] = {"/scores/story/perplexity", "/scores/story/kl_mean", "/points/output_error"};
    CHECK(run_sweep(both, both_file) == 0);
    CHECK(run_sweep(one, one_file) == 0);
    CHECK(run_sweep(two, two_file) == 0);
    for (int p = 0; p < 3; p++) {
        int64_t rows;
        double *all = read_numbers(both_file, paths[p], &rows);
        CHECK(rows == 4); /* dense of both first, then the cells of both */
        double *first = read_numbers(one_file, paths[p], &rows), *second = read_numbers(two_file, paths[p], &rows);
        CHECK(rows == 2);
        CHECK(all[0] == first[0] && all[1] == second[0] && all[2] == first[1] && all[3] == second[1]);
        wn_free(all);
        wn_free(first);
        wn_free(second);
    }
    check_constants(both_file, one_file, two_file);
    char *command = wn_format("rm -rf %s", folder);
    CHECK(system(command) == 0);
    wn_free(command);
    wn_free(demo);
    wn_free(stories);
    wn_free(both);
    wn_free(one);
    wn_free(two);
    wn_free(both_file);
    wn_free(one_file);
    wn_free(two_file);
    return test_finish();
}
