/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points with quantized inputs or searched scales on the demo model: memory is what plan predicts, output errors hold
 * what is lost on the inputs, a search is better than none, nothing depends on threads, and weights are compared in
 * their own coordinates.
 */
#include <omp.h>

#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

static const char *const sweep_text =
    "{\"model\": \"model\","
    " \"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\","
    "   \"samples\": 8, \"length\": 64}},"
    " \"grid\": [{\"method\": \"llm_int8\", \"threshold\": [0, 4, 1e-9]},"
    "   {\"method\": \"llm_int8\", \"threshold\": 1e-9, \"outlier_weights\": \"fp\"},"
    "   {\"method\": \"smoothquant\", \"alpha\": 0, \"propagation\": [\"sequential\", \"dense\"]},"
    "   {\"method\": \"smoothquant\", \"alpha\": 0.8, \"propagation\": [\"sequential\", \"dense\"]},"
    "   {\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"smoothquant\"},"
    "   {\"method\": \"rtn\", \"bits\": 4, \"group\": 32},"
    "   {\"method\": \"awq\", \"bits\": 4, \"group\": 32, \"propagation\": [\"sequential\", \"dense\"]},"
    "   {\"method\": \"awq\", \"bits\": 4, \"group\": 32, \"clip\": \"none\"},"
    "   {\"method\": \"smoothquant\", \"alpha\": 0.8, \"quantize_outputs\": true, \"propagation\": \"dense\"}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"data/general_eval.txt\","
    "   \"length\": 128, \"windows\": 8}}, \"divergence\": {\"on\": [\"world\"]}}}";

enum {
    DENSE,
    INT8,
    OUTLIERS,
    ALL_OUTLIERS,
    ALL_FP,
    SMOOTH,
    SMOOTH_DENSE,
    MORE,
    MORE_DENSE,
    JOINT,
    RTN,
    AWQ,
    AWQ_DENSE,
    AWQ_PLAIN,
    OUTPUTS,
    POINTS
};

static double number(struct wn_record *record, int field)
{
    return *wn_record_f64(record, field);
}

static void check_numbers(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_point_fields *fields = &run->fields;
    for (int64_t p = 0; p < POINTS; p++) {
        double peak = number(&records[p], fields->peak_bytes), predicted = (double)wn_point_bytes(run, p);
        CHECK(peak <= 1.1 * predicted);
        CHECK(peak >= 0.7 * predicted);
        if (p != DENSE && p < JOINT) /* 8 bits and a scale per row */
            CHECK(number(&records[p], fields->bits_per_weight_nominal) > 8 &&
                  number(&records[p], fields->bits_per_weight_nominal) < 8.2);
        if (p != DENSE && p < JOINT)
            CHECK(number(&records[p], fields->weight_error) > 1e-3 && number(&records[p], fields->weight_error) < 0.02);
        if (p != DENSE && p < JOINT && p != ALL_FP)
            CHECK(number(&records[p], fields->output_error) > 1e-3 && number(&records[p], fields->output_error) < 0.05);
    }
    CHECK(number(&records[INT8], fields->output_error) > 1.2 * number(&records[ALL_OUTLIERS], fields->output_error));
    CHECK(number(&records[OUTLIERS], fields->output_error) < number(&records[INT8], fields->output_error));
    CHECK(number(&records[ALL_FP], fields->output_error) < 1e-6);
    CHECK(number(&records[AWQ], fields->output_error) < number(&records[RTN], fields->output_error));
    CHECK(number(&records[AWQ_DENSE], fields->output_error) < number(&records[RTN], fields->output_error));
    CHECK(number(&records[AWQ], fields->bits_per_weight_nominal) ==
          number(&records[RTN], fields->bits_per_weight_nominal));
    CHECK_NEAR(number(&records[JOINT], fields->sparsity), 0.5, 0.05);
}

/* Ratios are steps of 1/20; searches of linears that share an input agree, and clips do not touch queries and keys. */
static void check_ratios(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_schema *schema = &run->models[0].schema;
    const struct wn_layout *layout = &run->models[0].model->layout;
    const int scale_field = wn_schema_find(schema, "/weights/scale_ratio");
    const int clip_field = wn_schema_find(schema, "/weights/clip_ratio");
    const double *plain = wn_record_f64(&records[AWQ_PLAIN], scale_field);
    const double *scale = wn_record_f64(&records[AWQ], scale_field), *clip = wn_record_f64(&records[AWQ], clip_field);
    int64_t positive = 0;
    for (int64_t i = 0; i < schema->fields[scale_field].elements; i++) {
        const struct wn_linear_info *linear = &layout->linears[i % layout->n_linears];
        bool made = layout->producer_vector[linear->input] >= 0 || layout->producer_linear[linear->input] >= 0;
        bool scores = strstr(linear->name, "q_proj") || strstr(linear->name, "k_proj");
        CHECK(isnan(scale[i]) == !made);
        CHECK(isnan(scale[i]) ||
              (scale[i] >= 0 && scale[i] <= 0.95 && fabs(rint(scale[i] * 20) - scale[i] * 20) < 1e-9));
        CHECK(isnan(clip[i]) == scores);
        CHECK(isnan(clip[i]) || (clip[i] >= 0.55 && clip[i] < 1));
        CHECK(isnan(wn_record_f64(&records[RTN], scale_field)[i]) &&
              isnan(wn_record_f64(&records[DENSE], clip_field)[i]));
        CHECK(isnan(wn_record_f64(&records[AWQ_PLAIN], clip_field)[i]));
        CHECK(i >= layout->n_linears || isnan(plain[i]) || plain[i] == scale[i]); /* block 0: clips come after scales */
        positive += scale[i] > 0;
    }
    CHECK(positive > 0);
    CHECK(number(&records[AWQ], run->fields.output_error) < number(&records[AWQ_PLAIN], run->fields.output_error));
}

/* Rounded outputs of q, k and v are worse than those of the same linears that are not; other linears are the same. */
static void check_outputs(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_schema *schema = &run->models[0].schema;
    const struct wn_layout *layout = &run->models[0].model->layout;
    const int field = wn_schema_find(schema, "/weights/output_error");
    const double *plain = wn_record_f64(&records[MORE_DENSE], field),
                 *rounded = wn_record_f64(&records[OUTPUTS], field);
    for (int64_t i = 0; i < schema->fields[field].elements; i++) {
        const char *name = layout->linears[i % layout->n_linears].name;
        bool feeds = strstr(name, "q_proj") || strstr(name, "k_proj") || strstr(name, "v_proj");
        CHECK(feeds ? rounded[i] > plain[i] && rounded[i] < 0.05 : rounded[i] == plain[i]);
    }
}

static bool same_field(const struct wn_run *run, const struct wn_record *a, const struct wn_record *b, const char *name)
{
    const struct wn_schema *schema = &run->models[0].schema;
    int field = wn_schema_find(schema, name);
    CHECK(field >= 0);
    size_t size = strncmp(name, "/weights", 8) ? sizeof(float) : sizeof(double);
    return !memcmp(a->data[field], b->data[field], (size_t)schema->fields[field].elements * size);
}

/* Alpha 0 does not look at the inputs; otherwise block 0 sees the same ones, and later blocks do not. */
static void check_propagation(const struct wn_run *run, struct wn_record *records)
{
    int field = wn_schema_find(&run->models[0].schema, "/weights/weight_error");
    int n_linears = run->models[0].model->layout.n_linears;
    CHECK(same_field(run, &records[SMOOTH], &records[SMOOTH_DENSE], "/tokens/world/loss"));
    CHECK(!same_field(run, &records[MORE], &records[MORE_DENSE], "/tokens/world/loss"));
    for (int64_t p = MORE; p <= AWQ; p += AWQ - MORE) {
        CHECK(!memcmp(wn_record_f64(&records[p], field), wn_record_f64(&records[p + 1], field),
                      (size_t)n_linears * sizeof(double)));
        CHECK(!same_field(run, &records[p], &records[p + 1], "/weights/weight_error"));
    }
}

static void compute_points(const struct wn_run *run, const struct wn_reference *reference, int threads,
                           struct wn_record *records)
{
    test_set_threads(threads);
    for (int64_t p = 0; p < POINTS; p++) {
        struct wn_point_report report;
        wn_record_init(&records[p], &run->models[0].schema);
        CHECK_OK(wn_point_compute(run, reference, p, &records[p], &report));
    }
}

static void check_run(struct wn_par *par, const struct wn_run *run)
{
    struct wn_reference reference;
    struct wn_record records[POINTS], again[POINTS];
    bool wanted[POINTS];
    for (int64_t p = 0; p < POINTS; p++)
        wanted[p] = true;
    CHECK_OK(wn_reference_compute(par, run, wanted, &reference));
    compute_points(run, &reference, 1, records);
    check_numbers(run, records);
    check_propagation(run, records);
    check_ratios(run, records);
    check_outputs(run, records);
    CHECK(!same_field(run, &records[OUTPUTS], &records[MORE_DENSE], "/tokens/world/loss"));
    compute_points(run, &reference, 3, again);
    for (int64_t p = 0; p < POINTS; p++) {
        CHECK(same_field(run, &records[p], &again[p], "/tokens/world/loss"));
        CHECK(same_field(run, &records[p], &again[p], "/tokens/world/kl"));
        CHECK(same_field(run, &records[p], &again[p], "/weights/output_error"));
        wn_record_release(&records[p]);
        wn_record_release(&again[p]);
    }
    wn_reference_release(&reference);
}

int main(void)
{
    test_demo_sweep(sweep_text, POINTS, check_run);
    return test_finish();
}
