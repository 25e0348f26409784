/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points with a sparsity per block: its mean and spread, the zeros that are there, the outliers it comes from, the same
 * numbers as a uniform point when there is nothing to give away, memory as planned, the same bits for any threads.
 */
#include <winnow/sweep.h>

#include <omp.h>

#include "sweep/run_sweep.h"
#include "test.h"

static const char *const sweep_text =
    "{\"model\": \"model\","
    " \"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\","
    "   \"samples\": 8, \"length\": 64}},"
    " \"grid\": [{\"method\": \"wanda\", \"sparsity\": 0.6, \"calibration\": \"general\"},"
    "   {\"method\": \"wanda\", \"sparsity\": 0.6, \"allocation\": \"owl\", \"owl_lambda\": 0},"
    "   {\"method\": [\"wanda\", \"sparsegpt\"], \"sparsity\": 0.6, \"allocation\": \"owl\", \"owl_m\": 3},"
    "   {\"method\": \"magnitude\", \"sparsity\": 0.6, \"allocation\": \"owl\", \"owl_m\": 3,"
    "    \"propagation\": [\"sequential\", \"dense\"]},"
    "   {\"method\": \"sparsegpt\", \"pattern\": \"4:8\", \"allocation\": \"owl\"}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"data/general_eval.txt\","
    "   \"length\": 128, \"windows\": 4}}}}";

enum { DENSE, UNIFORM, NO_LAMBDA, WANDA, SPARSEGPT, MAGNITUDE, PATTERN, POINTS };

static const double *field(const struct wn_run *run, struct wn_record *record, const char *path)
{
    return wn_record_f64(record, wn_schema_find(&run->models[0].schema, path));
}

static void check_keys(const struct wn_run *run)
{
    const struct wn_point *points = run->grid.points;

    CHECK_TEXT(points[UNIFORM].key, "wanda sparsity=0.6 pattern=unstructured variant=none calibration=general "
                                    "propagation=sequential");
    CHECK_TEXT(points[MAGNITUDE].key, "magnitude sparsity=0.6 pattern=unstructured allocation=owl owl_lambda=0.08 "
                                      "owl_m=3 rule=exact calibration=general propagation=dense");
    CHECK(run->grid.cells[4].point == MAGNITUDE && run->grid.cells[5].point == MAGNITUDE);
}

static bool is_note(const char *path)
{
    return !strcmp(path, "/weights/allocated_sparsity") || !strcmp(path, "/weights/score_outliers");
}

/* Results of two points, but for what only one of them has. */
static void check_equal(const struct wn_run *run, struct wn_record *a, struct wn_record *b, bool all)
{
    const struct wn_schema *schema = &run->models[0].schema;

    for (int f = 0; f < schema->n_fields; f++)
        if (schema->fields[f].result && (all || !is_note(schema->fields[f].path)))
            CHECK(!memcmp(a->data[f], b->data[f], (size_t)schema->fields[f].bytes));
}

static void check_allocation(const struct wn_run *run, struct wn_record *record, double lambda)
{
    const int64_t n_blocks = run->models[0].model->config.n_blocks;
    const int n_linears = run->models[0].model->layout.n_linears;
    const double *sparsity = field(run, record, "/weights/allocated_sparsity"),
                 *share = field(run, record, "/weights/score_outliers"), *zeros = field(run, record, "/weights/zeros");
    double mean = 0, low = 1, high = 0;

    for (int64_t b = 0; b < n_blocks; b++) {
        mean += sparsity[b] / (double)n_blocks;
        low = fmin(low, sparsity[b]);
        high = fmax(high, sparsity[b]);
        for (int l = 0; l < n_linears; l++)
            CHECK_NEAR(zeros[b * n_linears + l], sparsity[b], 0.02);
        for (int64_t other = 0; other < n_blocks; other++)
            CHECK(share[other] <= share[b] || sparsity[other] <= sparsity[b]);
    }
    CHECK(n_blocks > 1);
    CHECK_NEAR(mean, 0.6, 1e-12);
    CHECK_NEAR(high - low, 2 * lambda, 1e-12);
    CHECK_NEAR(*wn_record_f64(record, run->fields.sparsity), 0.6, 0.01);
}

/* Whole zeros of runs of 8, exactly, and what is stored of them: 16 bits for what is kept, log2 of the choices. */
static void check_pattern(const struct wn_run *run, struct wn_record *record)
{
    static const double choices[] = {1, 8, 28, 56, 70, 56, 28, 8, 1};
    const int n_linears = run->models[0].model->layout.n_linears;
    const double *sparsity = field(run, record, "/weights/allocated_sparsity"),
                 *zeros = field(run, record, "/weights/zeros"),
                 *bits = field(run, record, "/weights/bits_per_weight_nominal");
    int64_t seen = 0;

    for (int64_t i = 0; i < run->models[0].model->config.n_blocks * n_linears; i++) {
        double n = 8 * sparsity[i / n_linears];
        CHECK(n == rint(n) && n >= 1 && n <= 7);
        CHECK_NEAR(zeros[i] * 8, n, 1e-9);
        CHECK_NEAR(bits[i], 16 * (1 - n / 8) + log2(choices[(int)n]) / 8, 1e-9);
        seen |= 1 << (int)n;
    }
    CHECK((seen & (seen - 1)) != 0); /* not one N for all */
}

static void check_outliers(const struct wn_run *run, struct wn_record *records)
{
    const int64_t n_blocks = run->models[0].model->config.n_blocks;
    const double *wanda = field(run, &records[WANDA], "/weights/score_outliers");

    for (int64_t b = 0; b < n_blocks; b++) {
        CHECK(wanda[b] > field(run, &records[NO_LAMBDA], "/weights/score_outliers")[b]); /* above 3 and 5 times */
        CHECK(wanda[b] == field(run, &records[SPARSEGPT], "/weights/score_outliers")[b]);
        CHECK(wanda[b] == field(run, &records[MAGNITUDE], "/weights/score_outliers")[b]);
        CHECK(isnan(field(run, &records[UNIFORM], "/weights/allocated_sparsity")[b]));
    }
}

static void compute(struct wn_par *par, const struct wn_run *run, int threads, struct wn_record *records)
{
    const bool wanted[POINTS] = {true, true, true, true, true, true, true};
    struct wn_reference reference;

    test_set_threads(threads);
    CHECK_OK(wn_reference_compute(par, run, wanted, &reference));
    for (int64_t p = 0; p < POINTS; p++) {
        struct wn_point_report report;
        wn_record_init(&records[p], &run->models[0].schema);
        CHECK_OK(wn_point_compute(run, &reference, p, &records[p], &report));
        double peak = *wn_record_f64(&records[p], run->fields.peak_bytes), bytes = (double)wn_point_bytes(run, p);
        CHECK(peak <= 1.1 * bytes && peak >= 0.6 * bytes);
    }
    wn_reference_release(&reference);
}

/* The dense pass over the calibration set is part of the plan: no point has divergence. */
static void check_prediction(const struct wn_run *run)
{
    struct wn_prediction prediction;

    CHECK_OK(wn_predict(run, &(struct wn_predict_options){.threads = 1}, &prediction));
    CHECK(prediction.dense_seconds > 0 && prediction.dense_units > 0);
    CHECK(prediction.shared_bytes > 0);
    wn_prediction_release(&prediction);
}

static void check_run(struct wn_par *par, const struct wn_run *run)
{
    struct wn_record records[POINTS], again[POINTS];

    check_keys(run);
    check_prediction(run);
    compute(par, run, 1, records);
    compute(par, run, 2, again);
    for (int64_t p = 0; p < POINTS; p++)
        check_equal(run, &records[p], &again[p], true);
    check_equal(run, &records[UNIFORM], &records[NO_LAMBDA], false);
    check_allocation(run, &records[NO_LAMBDA], 0);
    check_allocation(run, &records[WANDA], 0.08);
    check_allocation(run, &records[SPARSEGPT], 0.08);
    check_allocation(run, &records[MAGNITUDE], 0.08);
    check_pattern(run, &records[PATTERN]);
    check_outliers(run, records);
    for (int64_t p = 0; p < POINTS; p++) {
        wn_record_release(&records[p]);
        wn_record_release(&again[p]);
    }
}

int main(void)
{
    test_demo_sweep(sweep_text, POINTS, check_run);
    return test_finish();
}
