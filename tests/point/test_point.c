/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points of the demo model: memory is what plan predicts, the first block's statistics do not depend on propagation,
 * the dense model differs from itself by exactly nothing, and zeros are where they were asked for.
 */
#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

static const char *const sweep_text =
    "{\"model\": \"model\","
    " \"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\","
    "   \"samples\": 8, \"length\": 64}},"
    " \"grid\": [{\"method\": [\"magnitude\", \"wanda\"], \"sparsity\": 0.5, \"calibration\": \"general\"},"
    "   {\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"general\", \"propagation\": \"dense\"},"
    "   {\"method\": \"rtn\", \"bits\": 4, \"group\": 32},"
    "   {\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"rtn\", \"bits\": 4, \"calibration\": \"general\"},"
    "   {\"method\": \"magnitude\", \"sparsity\": 0.5, \"scope\": \"block\"},"
    "   {\"prune\": \"magnitude\", \"sparsity\": 0.5, \"scope\": \"block\", \"quantize\": \"awq\", \"bits\": 8,"
    "    \"calibration\": \"general\"}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"data/general_eval.txt\","
    "   \"length\": 128, \"windows\": 8}}, \"divergence\": {\"on\": [\"world\"]}}}";

enum { DENSE, MAGNITUDE, WANDA, WANDA_DENSE, RTN, JOINT, BLOCK, BLOCK_AWQ, POINTS };

static void check_point(const struct wn_run *run, int64_t point, struct wn_record *record)
{
    double sparsity = *wn_record_f64(record, run->fields.sparsity),
           peak = *wn_record_f64(record, run->fields.peak_bytes);
    double predicted = (double)wn_point_bytes(run, point);
    CHECK(peak <= 1.1 * predicted);
    CHECK(peak >= 0.7 * predicted);
    CHECK_NEAR(sparsity, point == DENSE || point == RTN ? 0 : 0.5,
               point == RTN || point == JOINT || point == BLOCK_AWQ ? 0.15 : 1e-3);
    CHECK(sparsity >= (point == JOINT ? 0.5 : 0));
}

static void check_scores(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_schema *schema = &run->models[0].schema;
    int kl = wn_schema_find(schema, "/tokens/world/kl"), js = wn_schema_find(schema, "/tokens/world/js");
    int64_t tokens = schema->fields[kl].elements;
    CHECK(tokens == 8 * 127);
    for (int64_t t = 0; t < tokens; t++) {
        CHECK(wn_record_f32(&records[DENSE], kl)[t] == 0 && wn_record_f32(&records[DENSE], js)[t] == 0);
        CHECK(wn_record_f32(&records[WANDA], kl)[t] >= 0);
        CHECK(wn_record_f32(&records[WANDA], js)[t] <= 0.6931472f);
    }
}

/* Block 0 sees the embeddings, which no compression has touched: dense and sequential propagation prune it alike. */
static void check_first_block(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_schema *schema = &run->models[0].schema;
    int field = wn_schema_find(schema, "/weights/output_error");
    int n_linears = run->models[0].model->layout.n_linears;
    const double *sequential = wn_record_f64(&records[WANDA], field),
                 *dense = wn_record_f64(&records[WANDA_DENSE], field);
    bool later = false;
    for (int l = 0; l < n_linears; l++)
        CHECK(sequential[l] == dense[l]);
    for (int64_t i = n_linears; i < schema->fields[field].elements; i++)
        later = later || sequential[i] != dense[i];
    CHECK(later);
}

/* Of a block, exactly the zeros asked for, shared unevenly by its linears; rounding to 8 bits on top adds few. */
static void check_block_scope(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_layout *layout = &run->models[0].model->layout;
    int field = wn_schema_find(&run->models[0].schema, "/weights/zeros");
    const double *zeros = wn_record_f64(&records[BLOCK], field), *more = wn_record_f64(&records[BLOCK_AWQ], field);
    bool uneven = false;
    for (int64_t b = 0; b < run->models[0].model->config.n_blocks; b++) {
        double sum = 0, count = 0;
        for (int l = 0; l < layout->n_linears; l++) {
            double size = (double)(layout->linears[l].rows * layout->linears[l].columns);
            sum += zeros[b * layout->n_linears + l] * size;
            count += size;
            uneven = uneven || fabs(zeros[b * layout->n_linears + l] - 0.5) > 0.01;
            CHECK(more[b * layout->n_linears + l] >= zeros[b * layout->n_linears + l] - 1e-12);
            CHECK(more[b * layout->n_linears + l] < zeros[b * layout->n_linears + l] + 0.03);
        }
        CHECK_NEAR(sum, floor(0.5 * count), 1e-6);
    }
    CHECK(uneven);
}

static void check_run(struct wn_par *par, const struct wn_run *run)
{
    struct wn_reference reference;
    struct wn_record records[POINTS];
    bool wanted[POINTS] = {true, true, true, true, true, true, true, true};
    CHECK_OK(wn_reference_compute(par, run, wanted, &reference));
    for (int64_t p = 0; p < POINTS; p++) {
        struct wn_point_report report;
        wn_record_init(&records[p], &run->models[0].schema);
        CHECK_OK(wn_point_compute(run, &reference, p, &records[p], &report));
        check_point(run, p, &records[p]);
    }
    check_scores(run, records);
    check_first_block(run, records);
    check_block_scope(run, records);
    for (int64_t p = 0; p < POINTS; p++)
        wn_record_release(&records[p]);
    wn_reference_release(&reference);
}

int main(void)
{
    test_demo_sweep(sweep_text, POINTS, check_run);
    return test_finish();
}
