/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search of scales against one that tries all of them on the whole set at once, with rounding to nearest of scaled
 * weights written out here; the moments that it collects for clipping against sums in double over the sampled tokens;
 * the same bits on any number of threads.
 */
#include "../method/blocks.h"
#include "../method/recipes.h"

#include "point/point_impl.h"

#include <omp.h>

/* Tokens of two sets: the whole of one is sampled, of the other every second token. */
enum { TRIALS = 20, BITS = 3, GROUP = 10, FEW = 41, MANY = 1100 };

static int64_t n_tokens, short_runs;

struct inputs {
    float *x[WN_MAX_INPUTS];
    double *magnitudes[WN_MAX_INPUTS];
};

static void take(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct inputs *inputs = context;
    int64_t rows = row[n_chunks];

    inputs->x[input] = wn_alloc(rows * width, sizeof *x);
    memcpy(inputs->x[input], x, (size_t)(rows * width) * sizeof *x);
    inputs->magnitudes[input] = wn_alloc_zero(width, sizeof(double));
    wn_add_column_magnitudes(x, rows, width, inputs->magnitudes[input]);
}

static void scale_of(const double *magnitudes, int64_t width, int trial, double *scale)
{
    double least = INFINITY, most = 0;

    for (int64_t j = 0; j < width; j++) {
        scale[j] = fmax(pow(magnitudes[j] / n_tokens, 0.05 * trial), 1e-4);
        least = fmin(least, scale[j]);
        most = fmax(most, scale[j]);
    }
    for (int64_t j = 0; j < width; j++)
        scale[j] /= sqrt(least * most);
}

/* Groups of scaled weights on an asymmetric grid. */
static void round_weights(const float *weight, int64_t count, int64_t columns, const double *scale, float *out)
{
    for (int64_t at = 0, size; at < count; at += size) {
        const int64_t left = columns - at % columns;
        float w[GROUP];
        size = left < GROUP ? left : GROUP;
        for (int64_t j = 0; j < size; j++)
            w[j] = weight[at + j] * (float)scale[(at + j) % columns];
        struct wn_grid grid = wn_grid_fit(w, size, BITS, false);
        for (int64_t j = 0; j < size; j++)
            out[at + j] = wn_grid_value(&grid, wn_grid_code(&grid, w[j])) / (float)scale[(at + j) % columns];
    }
}

/* Losses [TRIALS] of an input; returns the least. */
static double try_all(const struct wn_model *model, const struct wn_block *dense, const struct wn_chunk *chunk,
                      const struct inputs *inputs, int input, double *loss)
{
    const int64_t count = n_tokens * model->config.hidden_size, width = model->layout.input_widths[input];
    float *scratch = wn_alloc(model->arch->scratch(&model->config, n_tokens), sizeof *scratch);
    float *before = wn_alloc(count, sizeof *before), *after = wn_alloc(count, sizeof *after);
    double *scale = wn_alloc(width, sizeof *scale), least = INFINITY;

    model->arch->run_part(&model->config, dense, chunk, input, inputs->x[input], scratch, before);
    for (int t = 0; t < TRIALS; t++) {
        struct wn_block view = *dense;
        scale_of(inputs->magnitudes[input], width, t, scale);
        for (int l = 0; l < model->layout.n_linears; l++) {
            const struct wn_linear_info *linear = &model->layout.linears[l];
            if (linear->input != input)
                continue;
            view.linears[l] = wn_alloc(linear->rows * linear->columns, sizeof(float));
            round_weights(dense->linears[l], linear->rows * linear->columns, linear->columns, scale, view.linears[l]);
        }
        model->arch->run_part(&model->config, &view, chunk, input, inputs->x[input], scratch, after);
        loss[t] = wn_sum_squared_difference(before, after, count);
        least = fmin(least, loss[t]);
        for (int l = 0; l < model->layout.n_linears; l++)
            if (model->layout.linears[l].input == input)
                wn_free(view.linears[l]);
    }
    wn_free(scale);
    wn_free(after);
    wn_free(before);
    wn_free(scratch);
    return least;
}

/* The trial whose scale this is, -1: none. */
static int trial_of(const double *magnitudes, int64_t width, const float *found)
{
    double *scale = wn_alloc(width, sizeof *scale);
    int trial = -1;

    for (int t = 0; t < TRIALS; t++) {
        double difference = 0;
        scale_of(magnitudes, width, t, scale);
        for (int64_t j = 0; j < width; j++)
            difference = fmax(difference, fabs(found[j] / scale[j] - 1));
        if (difference < 1e-5)
            trial = t;
    }
    wn_free(scale);
    return trial;
}

static void check_moments(const struct wn_layout *layout, const struct inputs *inputs, int input, const float *moments)
{
    const int64_t width = layout->input_widths[input], step = n_tokens / 512 > 1 ? n_tokens / 512 : 1;

    for (int64_t i = 0; i < width; i++) {
        const int64_t start = i / GROUP * GROUP, run = start + GROUP < width ? GROUP : width - start;
        for (int64_t j = 0; j < run; j++) {
            double sum = 0, size = 0;
            for (int64_t t = 0; t < n_tokens; t += step) {
                double term = (double)inputs->x[input][t * width + i] * inputs->x[input][t * width + start + j];
                sum += term;
                size += fabs(term);
            }
            CHECK_NEAR(moments[start * GROUP + (i - start) * run + j], sum, 1e-5 * size);
        }
        short_runs += run < GROUP;
    }
}

/* Two chunks; what a second search finds is compared bit by bit with what the first has found. */
static void check_arch(const struct wn_arch *arch, int64_t tokens)
{
    struct wn_model model = {.arch = arch, .config = CONFIG};
    struct wn_block dense, trial;
    struct wn_recipe recipe = {0}, recipes[WN_MAX_LINEARS];
    struct wn_input_stats stats[WN_MAX_INPUTS] = {{0}};
    int64_t offset[] = {0, 9, 10, tokens}, cut[] = {0, 1, 3}, work[4];
    struct wn_sequences sequences = {.n_sequences = 3, .offset = offset, .n_chunks = 2, .chunk = cut};
    const struct wn_chunk chunk = {.n_sequences = 3, .offset = offset};
    const int64_t count = tokens * CONFIG.hidden_size;
    struct inputs inputs = {0};
    float *first[WN_MAX_INPUTS] = {0};
    struct wn_tap tap = {.take = take, .context = &inputs};
    int chosen = 0, searched = 0;

    n_tokens = tokens;
    arch->describe(&CONFIG, &model.layout);
    block_init(&model.layout, &dense);
    block_init(&model.layout, &trial);
    CHECK_OK(add_stage(&recipe, "awq", "{\"bits\": 3, \"group\": 10}"));
    for (int l = 0; l < model.layout.n_linears; l++)
        recipes[l] = recipe;
    float *hidden = random_array(count, 300, 1), *copy = random_array(count, 300, 1);
    float *scratch = wn_alloc(arch->scratch(&CONFIG, n_tokens), sizeof *scratch);
    uint8_t *keep = wn_alloc(CONFIG.intermediate_size * CONFIG.intermediate_size, 1);
    for (int64_t i = 0; i < count; i++) /* columns of different size */
        copy[i] = hidden[i] *= expf(1.5f * draw(5, 0, i % CONFIG.hidden_size));
    arch->run_block(&CONFIG, &dense, &chunk, copy, scratch, &tap);
    for (int i = 0; i < model.layout.n_inputs; i++)
        stats[i] = (struct wn_input_stats){.tokens = n_tokens,
                                           .sequences = 3,
                                           .width = model.layout.input_widths[i],
                                           .magnitudes = inputs.magnitudes[i]};
    double loss_of_all[WN_MAX_INPUTS * TRIALS];
    const struct wn_scale_search search = {.model = &model,
                                           .recipes = recipes,
                                           .dense = &dense,
                                           .trial = &trial,
                                           .keep = keep,
                                           .calibration = &sequences,
                                           .hidden = hidden,
                                           .copy = copy,
                                           .scratch = scratch,
                                           .offset = work,
                                           .stats = stats,
                                           .loss = loss_of_all};
    for (int threads = 1; threads <= 3; threads++) {
        float *scales[WN_MAX_INPUTS] = {0}, *moments[WN_MAX_INPUTS] = {0};
        int trials[WN_MAX_INPUTS];
        memset(loss_of_all, 0, sizeof loss_of_all);
        test_set_threads(threads);
        CHECK_OK(wn_search_scales(&search, scales, trials, moments));
        for (int i = 0; i < model.layout.n_inputs; i++) {
            CHECK(!scales[i] == (model.layout.producer_vector[i] < 0 && model.layout.producer_linear[i] < 0));
            if (scales[i]) {
                double loss[TRIALS], least = try_all(&model, &dense, &chunk, &inputs, i, loss);
                int place = trial_of(inputs.magnitudes[i], model.layout.input_widths[i], scales[i]);
                CHECK(place >= 0 && loss[place] <= least * (1 + 1e-6) && loss[place] <= loss[0]);
                CHECK(place == trials[i]);
                chosen += place > 0;
                searched++;
            }
            check_moments(&model.layout, &inputs, i, moments[i]);
            if (first[i])
                CHECK(!memcmp(first[i], moments[i], (size_t)(model.layout.input_widths[i] * GROUP) * sizeof(float)));
            wn_free(scales[i]);
            wn_free(first[i]);
            first[i] = moments[i];
        }
    }
    CHECK(searched > 0 && chosen > 0 && short_runs > 0);
    for (int i = 0; i < model.layout.n_inputs; i++) {
        wn_free(first[i]);
        wn_free(inputs.x[i]);
        wn_free(inputs.magnitudes[i]);
    }
    wn_free(keep);
    wn_free(scratch);
    wn_free(copy);
    wn_free(hidden);
    block_release(&model.layout, &trial);
    block_release(&model.layout, &dense);
}

int main(void)
{
    int64_t count;
    const struct wn_arch *const *table = wn_arch_table(&count);

    CHECK_OK(wn_linalg_start());
    for (int64_t i = 0; i < count; i++)
        check_arch(table[i], FEW);
    for (int64_t i = 0; i < count; i++)
        check_arch(table[i], MANY);
    return test_finish();
}
