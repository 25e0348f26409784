/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A walk with a level for every (block, linear), of sparsity and of bits: each linear is bit for bit that of a point
 * whose recipe has this level everywhere. With a search of scales, and where linears of a block are pruned as one.
 */
#include <winnow/sweep.h>

#include "point/walk.h"
#include "sweep/run_sweep.h"
#include "test.h"

static const char *const sweep_text =
    "{\"model\": \"model\","
    " \"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\","
    "   \"samples\": 4, \"length\": 32}},"
    " \"grid\": [{\"prune\": \"sparsegpt\", \"sparsity\": [0.3, 0.6], \"quantize\": \"rtn\", \"bits\": [3, 4],"
    "   \"calibration\": \"general\"}, {\"method\": \"awq\", \"bits\": [2, 8], \"calibration\": \"general\"},"
    "   {\"method\": \"magnitude\", \"sparsity\": [0.3, 0.6], \"scope\": \"block\"}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"data/general_eval.txt\","
    "   \"length\": 64, \"windows\": 1}}}}";

/* Points in the order of the grid, behind the dense one. */
enum { JOINT = 1, AWQ = 5, MAGNITUDE = 7, POINTS = 9 };

/* One block of a point, all linears of it. */
struct made {
    float *weights[WN_MAX_LINEARS];
    double bits[WN_MAX_LINEARS];
};

static void make_block(const struct wn_run *run, int64_t point, struct wn_allocation *allocation, struct made *made)
{
    const struct wn_subject subject = {
        .run = run, .prepared = &run->models[0], .model = run->models[0].model, .point = &run->grid.points[point]};
    const struct wn_layout *layout = &subject.model->layout;
    struct wn_workspace workspace = {0};
    struct wn_collector collector = {0};
    struct wn_compressor compressor = {0};
    struct wn_block *dense = wn_block_create(subject.model);

    CHECK_OK(wn_model_load_block(subject.model, 0, dense));
    wn_workspace_open(&workspace, &subject);
    wn_collector_open(&collector, &subject);
    wn_compressor_open(&compressor, &subject);
    wn_collector_gather(&collector, &subject, &workspace, 0, dense);
    wn_compressor_begin(&compressor, &subject, allocation, 0, dense);
    CHECK_OK(wn_compressor_scale(&compressor, &subject, &collector, &workspace));
    for (int l = 0; l < layout->n_linears; l++) {
        struct wn_made one;
        int64_t count = layout->linears[l].rows * layout->linears[l].columns;
        CHECK_OK(wn_compressor_make(&compressor, &subject, &collector, l, &one));
        made->weights[l] = wn_alloc(count, sizeof(float));
        memcpy(made->weights[l], one.form.weight, (size_t)count * sizeof(float));
        made->bits[l] = one.bits;
        wn_made_release(&one);
    }
    wn_compressor_release(&compressor, subject.model);
    wn_collector_release(&collector, &subject);
    wn_workspace_release(&workspace);
    wn_block_destroy(&dense, subject.model);
}

static void release(struct made *made)
{
    for (int l = 0; l < WN_MAX_LINEARS; l++)
        wn_free(made->weights[l]);
}

static bool is_equal(const struct wn_layout *layout, const struct made *a, const struct made *b, int l)
{
    int64_t count = layout->linears[l].rows * layout->linears[l].columns;
    return a->bits[l] == b->bits[l] && !memcmp(a->weights[l], b->weights[l], (size_t)count * sizeof(float));
}

/* levels[which[l]] for linear l of the point `from`: what points[which[l]] makes of it. */
static void check_levels(const struct wn_run *run, int64_t from, const int64_t *points, const struct wn_level *choices,
                         const int *which)
{
    const struct wn_layout *layout = &run->models[0].model->layout;
    struct wn_allocation uniform = {.n_blocks = 1, .n_linears = layout->n_linears}, mixed = uniform;
    struct wn_level levels[WN_MAX_LINEARS];
    struct made made = {0}, expected[4];
    int differ = 0;

    memset(expected, 0, sizeof expected);
    mixed.levels = levels;
    for (int l = 0; l < layout->n_linears; l++)
        levels[l] = choices[which[l]];
    make_block(run, from, &mixed, &made);
    for (int i = 0; i < 4; i++)
        make_block(run, points[i], &uniform, &expected[i]);
    for (int l = 0; l < layout->n_linears; l++) {
        CHECK(is_equal(layout, &made, &expected[which[l]], l));
        for (int i = 0; i < 4; i++)
            differ += !is_equal(layout, &expected[i], &expected[which[l]], l);
    }
    CHECK(differ >= layout->n_linears); /* levels matter */
    release(&made);
    for (int i = 0; i < 4; i++)
        release(&expected[i]);
}

/* One level for all keeps them pruned as one; different ones prune each by itself. */
static void check_scope(const struct wn_run *run)
{
    const struct wn_layout *layout = &run->models[0].model->layout;
    struct wn_level levels[WN_MAX_LINEARS];
    struct wn_allocation even = {.n_blocks = 1, .n_linears = layout->n_linears, .levels = levels}, uniform = even;
    struct made made = {0}, expected = {0}, apart = {0};
    int differ = 0;

    uniform.levels = NULL;
    for (int l = 0; l < layout->n_linears; l++)
        levels[l] = (struct wn_level){0.6, (double)NAN};
    make_block(run, MAGNITUDE, &even, &made);
    make_block(run, MAGNITUDE + 1, &uniform, &expected);
    for (int l = 0; l < layout->n_linears; l++)
        CHECK(is_equal(layout, &made, &expected, l));
    levels[0].sparsity = 0.3;
    make_block(run, MAGNITUDE, &even, &apart);
    for (int l = 1; l < layout->n_linears; l++) {
        int64_t zeros = 0, count = layout->linears[l].rows * layout->linears[l].columns;
        for (int64_t i = 0; i < count; i++)
            zeros += apart.weights[l][i] == 0;
        CHECK(zeros == (int64_t)((double)count * 0.6));
        differ += !is_equal(layout, &apart, &made, l);
    }
    CHECK(differ > 0);
    release(&made);
    release(&expected);
    release(&apart);
}

static void check_run(struct wn_par *par, const struct wn_run *run)
{
    const double none = (double)NAN;
    const struct wn_level joint[] = {{0.3, 3}, {0.3, 4}, {0.6, 3}, {0.6, 4}}, bits[] = {{none, 2}, {none, 8}};
    const struct wn_level awq[] = {bits[0], bits[1], bits[0], bits[1]};
    const int turns[] = {3, 0, 1, 2, 3, 1, 0}, half[] = {1, 1, 1, 1, 1, 1, 1};

    (void)par;
    CHECK(run->models[0].model->layout.n_linears == 7);
    check_levels(run, JOINT, (int64_t[]){JOINT, JOINT + 1, JOINT + 2, JOINT + 3}, joint, turns);
    check_levels(run, AWQ, (int64_t[]){AWQ, AWQ + 1, AWQ, AWQ + 1}, awq, half);
    check_scope(run);
}

int main(void)
{
    test_demo_sweep(sweep_text, POINTS, check_run);
    return test_finish();
}
