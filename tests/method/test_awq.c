/* SPDX-License-Identifier: Apache-2.0 */
/*
 * AWQ: without scales it is rounding to nearest, with them the same in scaled coordinates; the scales that are tried
 * are those of the paper; and what the search relies on holds for every architecture: parts add up to the block, and
 * scales move between producers and columns without changing it.
 */
#include "blocks.h"
#include "recipes.h"

static void check_without_scales(const char *settings)
{
    struct problem awq, rtn;

    problem_init(&awq, 20, 48, 1, 0);
    problem_init(&rtn, 20, 48, 1, 0);
    CHECK_OK(problem_run_one(&awq, "awq", settings));
    CHECK_OK(problem_run_one(&rtn, "rtn", settings));
    CHECK(!memcmp(awq.result, rtn.result, 20 * 48 * sizeof(float)));
    CHECK(!memcmp(awq.out.codes, rtn.out.codes, 20 * 48));
    CHECK(!awq.out.input_scale);
    CHECK(wn_bits_per_weight(&awq.out, 0, 0) == wn_bits_per_weight(&rtn.out, 0, 0));
    problem_release(&rtn);
    problem_release(&awq);
}

/* Rounding to nearest of weights times scales, divided by them; what is pruned stays 0. */
static void check_with_scales(bool pruned)
{
    struct problem awq, rtn;
    struct wn_recipe recipe = {0};
    float scale[48];

    problem_init(&awq, 20, 48, 1, 0);
    problem_init(&rtn, 20, 48, 1, 0);
    for (int64_t j = 0; j < 48; j++)
        scale[j] = expf(draw(3, 0, j));
    awq.stats.scale = scale;
    if (pruned)
        CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5}"));
    CHECK_OK(add_stage(&recipe, "awq", "{\"bits\": 3, \"group\": 16}"));
    CHECK_OK(problem_run(&awq, &recipe));
    for (int64_t i = 0; i < 20 * 48; i++)
        rtn.weight[i] = pruned && !awq.keep[i] ? 0.0f : rtn.weight[i] * scale[i % 48];
    CHECK_OK(problem_run_one(&rtn, "rtn", "{\"bits\": 3, \"group\": 16}"));
    CHECK(!memcmp(awq.out.codes, rtn.out.codes, 20 * 48));
    for (int64_t i = 0; i < 20 * 48; i++) {
        const int64_t grid = i / 48 * 3 + i % 48 / 16;
        float value = awq.out.scales[grid] * ((float)awq.out.codes[i] - awq.out.zeros[grid]);
        CHECK(awq.result[i] == rtn.result[i] / scale[i % 48]);
        CHECK(awq.result[i] == value / awq.out.input_scale[i % 48]);
    }
    if (pruned)
        check_zeros(&awq);
    problem_release(&rtn);
    problem_release(&awq);
}

static void check_trials(void)
{
    struct problem problem;
    struct wn_recipe recipe = {0}, other = {0};
    double magnitudes[24];
    float scale[24];

    problem_init(&problem, 4, 24, 2, 0);
    for (int64_t j = 0; j < 24; j++)
        magnitudes[j] = (double)problem.stats.tokens * exp(3.0 * draw(4, 0, j));
    problem.stats.magnitudes = magnitudes;
    struct wn_input_task task = {.name = "block",
                                 .width = 24,
                                 .n_linears = 1,
                                 .weights = (const float *[]){problem.weight},
                                 .rows = &problem.rows,
                                 .stats = &problem.stats};
    CHECK_OK(add_stage(&recipe, "awq", "{\"bits\": 4}"));
    CHECK_OK(add_stage(&other, "rtn", "{\"bits\": 4}"));
    CHECK(wn_recipe_trials(&recipe) == 20 && wn_recipe_trials(&other) == 0);
    for (int t = 0; t < 20; t++) {
        CHECK_OK(wn_recipe_trial_scale(&recipe, &task, t, scale));
        float least = INFINITY, most = 0;
        for (int64_t j = 0; j < 24; j++) {
            CHECK_NEAR(scale[j] / scale[0], pow(magnitudes[j] / magnitudes[0], t / 20.0), 1e-5 * scale[j] / scale[0]);
            least = fminf(least, scale[j]);
            most = fmaxf(most, scale[j]);
            CHECK(t > 0 || scale[j] == 1.0f);
        }
        CHECK_NEAR(least * most, 1, 1e-5);
    }
    magnitudes[5] = 0; /* a dead input: the floor */
    CHECK_OK(wn_recipe_trial_scale(&recipe, &task, 19, scale));
    CHECK_NEAR(scale[5] / scale[0], 1e-4 / pow(magnitudes[0] / (double)problem.stats.tokens, 0.95),
               1e-5 * scale[5] / scale[0]);
    magnitudes[5] = NAN;
    CHECK(wn_recipe_trial_scale(&recipe, &task, 1, scale) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("block: input 5 is not finite");
    problem_release(&problem);
}

/* Clipping is what is left to choose without scales: where it is off, or for queries and keys, nothing changes. */
static void check_clip_off(void)
{
    static const char *const names[] = {"block 0 self_attn.q_proj", "block 0 self_attn.k_proj", "block 0 mlp.up_proj"};
    struct problem awq, plain;
    struct wn_recipe recipe = {0}, none = {0};
    float moments[32 * 8];

    problem_init(&awq, 16, 32, 1, 0);
    problem_init(&plain, 16, 32, 1, 0);
    for (int64_t i = 0; i < 32; i++)
        for (int64_t j = 0; j < 8; j++)
            moments[i * 8 + j] = awq.second_moments[i * 32 + i / 8 * 8 + j];
    awq.stats.run_moments = moments;
    CHECK_OK(add_stage(&recipe, "awq", "{\"bits\": 3, \"group\": 8}"));
    CHECK_OK(add_stage(&none, "awq", "{\"bits\": 3, \"group\": 8, \"clip\": \"none\"}"));
    CHECK(wn_recipe_moment_run(&recipe, 32) == 8 && wn_recipe_moment_run(&none, 32) == 0);
    CHECK_OK(problem_run(&plain, &none));
    CHECK(isnan(plain.out.search.clip_ratio) && isnan(plain.out.search.scale_ratio));
    for (int i = 0; i < 3; i++) {
        wn_compressed_release(&awq.out);
        wn_compressed_init(&awq.out, 16, 32, awq.result, awq.keep);
        CHECK_OK(wn_recipe_compress(&recipe, names[i], awq.weight, &awq.stats, &awq.out));
        CHECK(isnan(awq.out.search.clip_ratio) == (i < 2));
        CHECK(!memcmp(awq.result, plain.result, 16 * 32 * sizeof(float)) == (i < 2));
    }
    CHECK(awq.out.search.clip_ratio >= 0.55 && awq.out.search.clip_ratio < 1);
    for (int64_t at = 0; at < 16 * 32; at += 8) { /* of every group: not clipping is a candidate */
        double before = wn_quadratic_form(awq.weight + at, plain.result + at, 1, 8, moments + at % 32 * 8);
        double after = wn_quadratic_form(awq.weight + at, awq.result + at, 1, 8, moments + at % 32 * 8);
        CHECK(after <= before * (1 + 1e-6));
    }
    problem_release(&plain);
    problem_release(&awq);
}

static void check_bad_settings(void)
{
    struct wn_recipe recipe = {0};

    CHECK(add_stage(&recipe, "awq", "{\"bits\": 1}") == WN_ERR_INPUT);
    CHECK_MESSAGE("bits");
}

/* ---- parts and producers of every architecture ---- */

struct inputs {
    float *x[WN_MAX_INPUTS];
};

static void take(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct inputs *inputs = context;
    int64_t rows = row[n_chunks];

    inputs->x[input] = wn_alloc(rows * width, sizeof *x);
    memcpy(inputs->x[input], x, (size_t)(rows * width) * sizeof *x);
}

/*
 * The outputs of the parts that begin a branch are what the block adds; a part inside another gives its output. Experts
 * see some of the rows, and what they add is weighed by the router: of such blocks only attention is compared here.
 */
static void check_parts(const struct wn_arch *arch, const struct wn_config *config, const struct wn_layout *layout,
                        const struct wn_block *block, const struct wn_chunk *chunk)
{
    const int64_t rows = chunk->offset[chunk->n_sequences], count = rows * config->hidden_size;
    float *hidden = random_array(count, 300, 1), *sum = random_array(count, 300, 1);
    float *outer = wn_alloc(count, sizeof *outer), *y = wn_alloc(count, sizeof *y);
    float *scratch = wn_alloc(arch->scratch(config, rows), sizeof *scratch);
    struct inputs inputs = {{0}};
    struct wn_tap tap = {.take = take, .context = &inputs};

    arch->run_block(config, block, chunk, hidden, scratch, &tap);
    const bool experts = config->decoder.experts.count > 0;
    for (int i = 0; i < layout->n_inputs; i++) {
        if (experts && layout->input_branches[i] != layout->input_branches[0]) {
            wn_free(inputs.x[i]);
            continue;
        }
        arch->run_part(config, block, chunk, i, inputs.x[i], scratch, y);
        if (i == 0 || layout->input_branches[i] != layout->input_branches[i - 1]) {
            memcpy(outer, y, (size_t)count * sizeof *y);
            for (int64_t j = 0; j < count; j++)
                sum[j] += y[j];
        } else {
            CHECK(!memcmp(outer, y, (size_t)count * sizeof *y));
        }
        wn_free(inputs.x[i]);
    }
    CHECK(experts || !memcmp(sum, hidden, (size_t)count * sizeof *sum));
    wn_free(scratch);
    wn_free(outer);
    wn_free(y);
    wn_free(sum);
    wn_free(hidden);
}

/* Rows (and bias) of a producer divided, columns of its readers multiplied. */
static int fold_linears(const struct wn_layout *layout, struct wn_block *block)
{
    int folded = 0;

    for (int i = 0; i < layout->n_inputs; i++) {
        const int producer = layout->producer_linear[i];
        CHECK(producer >= -1 && producer < layout->n_linears);
        CHECK(producer < 0 || layout->producer_vector[i] < 0);
        if (producer < 0)
            continue;
        const struct wn_linear_info *from = &layout->linears[producer];
        CHECK(from->rows == layout->input_widths[i]);
        folded++;
        for (int64_t j = 0; j < from->rows; j++) {
            float scale = expf(draw(12, (uint64_t)i, j));
            for (int64_t c = 0; c < from->columns; c++)
                block->linears[producer][j * from->columns + c] /= scale;
            if (block->biases[producer])
                block->biases[producer][j] /= scale;
            for (int l = 0; l < layout->n_linears; l++)
                for (int64_t r = 0; layout->linears[l].input == i && r < layout->linears[l].rows; r++)
                    block->linears[l][r * layout->linears[l].columns + j] *= scale;
        }
    }
    return folded;
}

static void check_arch(const struct wn_arch *arch, const struct wn_config *config, int producers)
{
    static const int64_t offset[] = {0, 9, 10, 22};
    const struct wn_chunk chunk = {.n_sequences = 3, .offset = offset};
    struct wn_layout layout;
    struct wn_block block;

    arch->describe(config, &layout);
    block_init(&layout, &block);
    check_parts(arch, config, &layout, &block, &chunk);
    float *before = run_arch(arch, config, &block, &chunk);
    CHECK(fold_linears(&layout, &block) == producers);
    float *after = run_arch(arch, config, &block, &chunk);
    CHECK(largest_difference(before, after, offset[3] * config->hidden_size) < 2e-5);
    wn_free(after);
    wn_free(before);
    block_release(&layout, &block);
}

int main(void)
{
    int64_t count;
    const struct wn_arch *const *table = wn_arch_table(&count);

    CHECK_OK(wn_linalg_start());
    check_without_scales("{\"bits\": 2}");
    check_without_scales("{\"bits\": 4, \"group\": 8}");
    check_without_scales("{\"bits\": 8, \"symmetric\": true}");
    check_with_scales(false);
    check_with_scales(true);
    check_trials();
    check_clip_off();
    check_bad_settings();
    for (int64_t i = 0; i < count; i++) { /* grouped values have no column of o of their own */
        struct wn_config config = config_of(table[i]);
        const struct wn_experts *experts = &config.decoder.experts;
        const bool linear = !config.decoder.plain || config.decoder.activation == WN_RELU; /* from up to down */
        const int up = experts->count ? (int)experts->count + (experts->shared > 0) : linear;
        check_arch(table[i], &config, up + (config.n_kv_heads == config.n_heads));
        config.n_kv_heads = config.n_heads;
        check_arch(table[i], &config, up + 1);
    }
    return test_finish();
}
