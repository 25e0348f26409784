/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depth pruning of the demo model against transformers (drop.json, by make_drop.py): scores, the units that go, and
 * perplexities without them; dropping nothing leaves the dense model.
 */
#include <string.h>

#include <cjson/cJSON.h>

#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

/* The first product drops no unit of any model, the second none of a model with less than 100 blocks. */
static const char *const sweep_text =
    "{\"model\": \"model\","
    " \"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\","
    "   \"samples\": %d, \"length\": %d}},"
    " \"grid\": [{\"method\": \"drop\", \"sparsity\": [0, 0.01]}%s],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"data/general_eval.txt\","
    "   \"length\": %d, \"windows\": %d}}, \"divergence\": {\"on\": [\"world\"]}}}";

enum { DENSE, NOTHING, FIRST }; /* points; point FIRST + i is row i of the golden file */

static cJSON *known; /* drop.json */

static void read_golden(void)
{
    char *text;
    int64_t length;
    CHECK_OK(wn_read_text(WN_SOURCE_DIR "/tests/point/drop.json", &text, &length));
    known = cJSON_Parse(text);
    CHECK(known != NULL);
    wn_free(text);
}

static const cJSON *part(const cJSON *json, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, key);
    CHECK(value != NULL);
    return value;
}

static char *make_sweep(void)
{
    struct wn_text products = {0};
    const cJSON *point, *calibration = part(known, "calibration"), *world = part(known, "world");
    cJSON_ArrayForEach (point, part(known, "points")) {
        char *product = cJSON_PrintUnformatted(part(point, "product"));
        wn_text_printf(&products, ", %s", product);
        cJSON_free(product);
    }
    char *text = wn_format(sweep_text, part(calibration, "samples")->valueint, part(calibration, "length")->valueint,
                           products.data, part(world, "length")->valueint, part(world, "windows")->valueint);
    wn_text_release(&products);
    return text;
}

static double *field(const struct wn_run *run, struct wn_record *record, const char *path)
{
    int index = wn_schema_find(&run->models[0].schema, path);
    CHECK(index >= 0);
    return wn_record_f64(record, index);
}

/* Scores within `tolerance` of those of transformers where there are any, else NaN. */
static void check_scores(const double *scores, const cJSON *expected, int64_t n_blocks, double tolerance)
{
    for (int b = 0; b < n_blocks; b++) {
        const cJSON *score = cJSON_GetArrayItem(expected, b);
        if (score)
            CHECK_NEAR(scores[b], score->valuedouble, tolerance * score->valuedouble);
        else
            CHECK(isnan(scores[b]));
    }
}

static void check_units(const struct wn_run *run, struct wn_record *record, const cJSON *expected)
{
    int64_t n_blocks = run->models[0].model->config.n_blocks;
    const double *attention = field(run, record, "/weights/dropped_attention"),
                 *mlp = field(run, record, "/weights/dropped_mlp");
    for (int b = 0; b < n_blocks; b++) {
        CHECK(attention[b] == cJSON_GetArrayItem(part(expected, "attention"), b)->valuedouble);
        CHECK(mlp[b] == cJSON_GetArrayItem(part(expected, "mlp"), b)->valuedouble);
    }
    check_scores(field(run, record, "/weights/drop_score"), part(expected, "scores"), n_blocks, 1e-4);
    check_scores(field(run, record, "/weights/drop_score_mlp"),
                 cJSON_GetObjectItemCaseSensitive(expected, "scores_mlp"), n_blocks, 1e-4);
}

/* What is left out is all error and no bits; the rest is as it was. Sparsity and bits are over all weights. */
static void check_weights(const struct wn_run *run, struct wn_record *record, const cJSON *expected)
{
    const struct wn_model *model = run->models[0].model;
    const struct wn_layout *layout = &model->layout;
    const double *error = field(run, record, "/weights/output_error"),
                 *bits = field(run, record, "/weights/bits_per_weight_nominal"),
                 *zeros = field(run, record, "/weights/zeros");
    double gone = 0;
    for (int b = 0; b < model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            const struct wn_linear_info *linear = &layout->linears[l];
            bool attention = layout->input_branches[linear->input] == WN_BRANCH_ATTENTION;
            int64_t cell = b * layout->n_linears + l;
            bool dropped = cJSON_GetArrayItem(part(expected, attention ? "attention" : "mlp"), b)->valueint;
            CHECK(error[cell] == dropped && bits[cell] == (dropped ? 0 : 16) && (zeros[cell] == 1) == dropped);
            gone += dropped ? (double)(linear->rows * linear->columns) : 0;
        }
    gone /= (double)wn_model_weights(model);
    CHECK_NEAR(*wn_record_f64(record, run->fields.sparsity), gone, 1e-4);
    CHECK_NEAR(*wn_record_f64(record, run->fields.bits_per_weight_nominal), 16 * (1 - gone), 1e-9);
}

static void check_point(const struct wn_run *run, int64_t index, struct wn_record *record, const cJSON *expected)
{
    double perplexity = *field(run, record, "/scores/world/perplexity"),
           golden = part(expected, "perplexity")->valuedouble;
    CHECK_NEAR(perplexity, golden, 1e-5 * golden);
    CHECK(run->grid.points[index].propagation == WN_PROPAGATION_DENSE);
    CHECK(*wn_record_f64(record, run->fields.peak_bytes) <= 1.1 * (double)wn_point_bytes(run, index));
    CHECK(wn_point_flops(run, index) < wn_point_flops(run, NOTHING));
    check_units(run, record, expected);
    check_weights(run, record, expected);
}

static void check_nothing(const struct wn_run *run, struct wn_record *dense, struct wn_record *nothing)
{
    int loss = wn_schema_find(&run->models[0].schema, "/tokens/world/loss");
    size_t bytes = (size_t)run->models[0].schema.fields[loss].bytes;
    CHECK(run->grid.cells[0].point == DENSE && run->grid.cells[1].point == NOTHING);
    CHECK(!memcmp(wn_record_f32(dense, loss), wn_record_f32(nothing, loss), bytes));
}

/* The pass that leaves units out keeps to what plan says. */
static void compute_reference(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                              struct wn_reference *reference)
{
    struct wn_prediction prediction;
    int64_t before = wn_memory_bytes();
    CHECK_OK(wn_predict(run, &(struct wn_predict_options){.threads = 1}, &prediction));
    wn_memory_reset_peak();
    CHECK_OK(wn_reference_compute(par, run, wanted, reference));
    CHECK((double)(wn_memory_peak() - before) <= 1.1 * (double)prediction.rank_bytes);
    CHECK(strstr(prediction.largest, "drop scores on general"));
    wn_prediction_release(&prediction);
}

/* It can take long, so it stops on request. Last of all: the request stays. */
static void check_stop(struct wn_par *par, const struct wn_run *run, const bool *wanted)
{
    struct wn_reference reference;
    wn_par_request_stop();
    CHECK(wn_reference_compute(par, run, wanted, &reference) == WN_ERR_INTERRUPTED);
    wn_reference_release(&reference);
}

static void check_run(struct wn_par *par, const struct wn_run *run)
{
    struct wn_reference reference;
    struct wn_record dense;
    const cJSON *points = part(known, "points");
    bool *wanted = wn_alloc(run->grid.n_points, sizeof *wanted);
    memset(wanted, true, (size_t)run->grid.n_points * sizeof *wanted);
    compute_reference(par, run, wanted, &reference);
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        struct wn_point_report report;
        struct wn_record record;
        wn_record_init(&record, &run->models[0].schema);
        CHECK_OK(wn_point_compute(run, &reference, p, &record, &report));
        if (p == DENSE) {
            dense = record;
            continue;
        }
        if (p == NOTHING)
            check_nothing(run, &dense, &record);
        else
            check_point(run, p, &record, cJSON_GetArrayItem(points, (int)p - FIRST));
        wn_record_release(&record);
    }
    wn_record_release(&dense);
    wn_reference_release(&reference);
    check_stop(par, run, wanted);
    wn_free(wanted);
}

int main(void)
{
    read_golden();
    char *text = make_sweep();
    test_demo_sweep(text, FIRST + cJSON_GetArraySize(part(known, "points")), check_run);
    wn_free(text);
    cJSON_Delete(known);
    return test_finish();
}
