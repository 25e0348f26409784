/*
 * Depth pruning of the demo model: recorded scores are those of a plain walk, the lowest units go, perplexities are
 * those of transformers without them (make_drop.py), and dropping nothing leaves the dense model.
 */
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "test.h"

static char folder[] = "/tmp/winnow_drop.XXXXXX";

static const char *const sweep_text =
    "{\"model\": \"%s/sweeps/demo/model\","
    " \"calibration\": {\"general\": {\"text\": \"%s/sweeps/demo/data/general_calibration.jsonl\","
    "   \"samples\": 8, \"length\": 64}},"
    " \"grid\": [{\"method\": \"drop\", \"sparsity\": [0, 0.1, 0.2]},"
    "   {\"method\": \"drop\", \"sparsity\": 0.5, \"units\": [\"block\", \"attention\", \"mlp\"]},"
    "   {\"method\": \"drop\", \"sparsity\": 0.5, \"score\": [\"angular\", \"subcloning\"]}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"%s/sweeps/demo/data/general_eval.txt\","
    "   \"length\": 128, \"windows\": 8}}, \"divergence\": {\"on\": [\"world\"]}}}";

enum { N_BLOCKS = 6, POINTS = 8, CELLS = 8 };

static const struct expected {
    double perplexity; /* NaN: not known */
    bool attention[N_BLOCKS], mlp[N_BLOCKS];
    enum wn_drop_unit unit;
    enum wn_drop_score score;
} expected[POINTS] = {
    {NAN, {0}, {0}, WN_DROP_UNITS, WN_DROP_SCORES}, /* dense */
    {NAN, {0}, {0}, WN_UNIT_BLOCK, WN_SCORE_BLOCK_INFLUENCE},
    {3.746851, {0, 0, 0, 1}, {0, 0, 0, 1}, WN_UNIT_BLOCK, WN_SCORE_BLOCK_INFLUENCE},
    {182.366482, {0, 1, 1, 1}, {0, 1, 1, 1}, WN_UNIT_BLOCK, WN_SCORE_BLOCK_INFLUENCE},
    {4.402564, {0, 0, 0, 1, 1, 1}, {0}, WN_UNIT_ATTENTION, WN_SCORE_BLOCK_INFLUENCE},
    {20.575465, {0}, {0, 1, 1, 1}, WN_UNIT_MLP, WN_SCORE_BLOCK_INFLUENCE},
    {182.366482, {0, 1, 1, 1}, {0, 1, 1, 1}, WN_UNIT_BLOCK, WN_SCORE_ANGULAR},
    {182.366482, {0, 1, 1, 1}, {0, 1, 1, 1}, WN_UNIT_BLOCK, WN_SCORE_SUBCLONING},
};

/* ---- scores by a plain walk: a block with and without its MLP, on copies of the hidden states ---- */

struct plain {
    double scores[WN_DROP_UNITS][WN_DROP_SCORES][N_BLOCKS];
};

static void score(const float *before, const float *after, int64_t rows, int64_t width, double (*scores)[N_BLOCKS],
                  int64_t block)
{
    double sums[WN_DROP_SCORES] = {0};
    for (int64_t r = 0; r < rows; r++) {
        double dot = 0, left = 0, right = 0, moved = 0;
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            double x = before[i], y = after[i];
            dot += x * y;
            left += x * x;
            right += y * y;
            moved += (x - y) * (x - y);
        }
        double cosine = dot / sqrt(left) / sqrt(right);
        sums[WN_SCORE_BLOCK_INFLUENCE] += 1 - cosine;
        sums[WN_SCORE_ANGULAR] += acos(cosine) / acos(-1);
        sums[WN_SCORE_SUBCLONING] += sqrt(moved / right);
    }
    for (int s = 0; s < WN_DROP_SCORES; s++)
        scores[s][block] = sums[s] / (double)rows;
}

static void walk_plain(const struct wn_model *model, const struct wn_sequences *sequences, struct plain *plain)
{
    struct wn_block *block = wn_block_create(model);
    struct wn_chunk chunk;
    int64_t rows = wn_sequences_tokens(sequences), width = model->config.hidden_size;
    size_t bytes = (size_t)(rows * width) * sizeof(float);
    int64_t *offset = wn_alloc(sequences->n_sequences + 1, sizeof *offset);
    float *before = wn_alloc(rows * width, sizeof(float)), *middle = wn_alloc(rows * width, sizeof(float));
    float *after = wn_alloc(rows * width, sizeof(float));
    float *scratch = wn_alloc(wn_model_scratch(model, rows), sizeof(float));
    CHECK(sequences->n_chunks == 1 && model->config.n_blocks == N_BLOCKS);
    wn_sequences_chunk(sequences, 0, offset, &chunk);
    wn_model_embed(model, sequences->ids, rows, after);
    for (int64_t b = 0; b < N_BLOCKS; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        memcpy(before, after, bytes);
        memcpy(middle, after, bytes);
        block->skip[WN_BRANCH_MLP] = true;
        wn_model_run_block(model, block, &chunk, middle, scratch, NULL);
        block->skip[WN_BRANCH_MLP] = false;
        wn_model_run_block(model, block, &chunk, after, scratch, NULL);
        score(before, middle, rows, width, plain->scores[WN_UNIT_ATTENTION], b);
        score(middle, after, rows, width, plain->scores[WN_UNIT_MLP], b);
        score(before, after, rows, width, plain->scores[WN_UNIT_BLOCK], b);
        block->skip[WN_BRANCH_ATTENTION] = block->skip[WN_BRANCH_MLP] = true;
        memcpy(middle, after, bytes);
        wn_model_run_block(model, block, &chunk, middle, scratch, NULL);
        CHECK(!memcmp(middle, after, bytes));
        block->skip[WN_BRANCH_ATTENTION] = block->skip[WN_BRANCH_MLP] = false;
    }
    wn_block_destroy(&block, model);
    wn_free(offset);
    wn_free(before);
    wn_free(middle);
    wn_free(after);
    wn_free(scratch);
}

/* ---- points ---- */

static double *field(const struct wn_run *run, struct wn_record *record, const char *path)
{
    int index = wn_schema_find(&run->models[0].schema, path);
    CHECK(index >= 0);
    return wn_record_f64(record, index);
}

static void check_units(const struct wn_run *run, struct wn_record *record, const struct expected *point,
                        const struct plain *plain)
{
    const double *attention = field(run, record, "/weights/dropped_attention"),
                 *mlp = field(run, record, "/weights/dropped_mlp"), *scores = field(run, record, "/weights/drop_score");
    for (int b = 0; b < N_BLOCKS; b++) {
        double score = plain->scores[point->unit][point->score][b];
        CHECK(attention[b] == point->attention[b] && mlp[b] == point->mlp[b]);
        CHECK_NEAR(scores[b], score, 1e-6 * score);
    }
}

/* What is left out is all error and no bits; the rest is as it was. Sparsity and bits are over all weights. */
static void check_weights(const struct wn_run *run, struct wn_record *record, const struct expected *point)
{
    const struct wn_layout *layout = &run->models[0].model->layout;
    const double *error = field(run, record, "/weights/output_error"),
                 *bits = field(run, record, "/weights/bits_per_weight"), *zeros = field(run, record, "/weights/zeros");
    double gone = 0;
    for (int64_t b = 0; b < N_BLOCKS; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            int64_t cell = b * layout->n_linears + l;
            bool dropped = l < 4 ? point->attention[b] : point->mlp[b];
            CHECK(error[cell] == dropped && bits[cell] == (dropped ? 0 : 16) && (zeros[cell] == 1) == dropped);
            gone += dropped ? (double)(layout->linears[l].rows * layout->linears[l].columns) : 0;
        }
    gone /= (double)wn_model_weights(run->models[0].model);
    CHECK_NEAR(*wn_record_f64(record, run->fields.sparsity), gone, 1e-4);
    CHECK_NEAR(*wn_record_f64(record, run->fields.bits_per_weight), 16 * (1 - gone), 1e-9);
}

static void check_points(const struct wn_run *run, struct wn_record *records)
{
    const struct wn_prepared_model *prepared = &run->models[0];
    int loss = wn_schema_find(&prepared->schema, "/tokens/world/loss");
    size_t bytes = (size_t)prepared->schema.fields[loss].bytes;
    struct plain plain;
    walk_plain(prepared->model, &prepared->calibrations[0].sequences, &plain);
    for (int p = 1; p < POINTS; p++) {
        double perplexity = *field(run, &records[p], "/scores/world/perplexity");
        check_units(run, &records[p], &expected[p], &plain);
        check_weights(run, &records[p], &expected[p]);
        if (isfinite(expected[p].perplexity))
            CHECK_NEAR(perplexity, expected[p].perplexity, 1e-5 * expected[p].perplexity);
        CHECK(run->grid.points[p].propagation == WN_PROPAGATION_DENSE);
        CHECK(*wn_record_f64(&records[p], run->fields.peak_bytes) <= 1.1 * (double)wn_point_bytes(run, p));
    }
    CHECK(!memcmp(wn_record_f32(&records[0], loss), wn_record_f32(&records[1], loss), bytes)); /* none of 6 blocks */
    CHECK(wn_point_flops(run, 1) > wn_point_flops(run, 2) && wn_point_flops(run, 2) > wn_point_flops(run, 3));
}

static void check_cells(const struct wn_run *run)
{
    CHECK(run->grid.n_points == POINTS && run->grid.n_cells == CELLS);
    CHECK(run->grid.cells[0].point == 0); /* sparsity 0 is the dense model */
    CHECK(run->grid.cells[1].propagation == WN_PROPAGATION_DENSE);
}

int main(void)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_run *run;
    struct wn_par *par;
    struct wn_reference reference;
    struct wn_record records[POINTS];
    bool wanted[POINTS] = {true, true, true, true, true, true, true, true};
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    char *path = wn_format("%s/sweep.json", folder);
    FILE *file = fopen(path, "w");
    fprintf(file, sweep_text, WN_SOURCE_DIR, WN_SOURCE_DIR, WN_SOURCE_DIR);
    fclose(file);
    wn_problems_init(&problems);
    wn_par_start_serial(&par);
    CHECK_OK(wn_sweep_read(path, &problems, &sweep));
    CHECK_OK(wn_prepare(par, sweep, &problems, &run));
    check_cells(run);
    CHECK_OK(wn_reference_compute(par, run, wanted, &reference));
    for (int64_t p = 0; p < POINTS; p++) {
        struct wn_point_report report;
        wn_record_init(&records[p], &run->models[0].schema);
        CHECK_OK(wn_point_compute(run, &reference, p, &records[p], &report));
    }
    check_points(run, records);
    for (int64_t p = 0; p < POINTS; p++)
        wn_record_release(&records[p]);
    wn_reference_release(&reference);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    wn_par_finish(&par);
    CHECK(unlink(path) == 0 && rmdir(folder) == 0);
    wn_free(path);
    return test_finish();
}
