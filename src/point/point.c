/*
 * point.c: one walk down the decoder blocks. Load a block, collect what the method needs, compress its linears, push
 * the calibration and evaluation sequences through the compressed block, drop it; after the last block, score. Memory
 * is the hidden states of the sequences plus two blocks (dense and compressed), whatever the number of blocks. Where a
 * set has texts to be generated, the evaluated blocks are kept, all of them, until that is done.
 */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include <winnow/linalg.h>

#include "point_impl.h"

enum { PIECE = 1 << 16, SAMPLE_ROWS = 256 }; /* that a thread clears or copies at a time; of a tile of the sample */
enum stage { STAGE_LOAD, STAGE_STATISTICS, STAGE_COMPRESS, STAGE_FORWARD, STAGE_GENERATE, STAGE_SCORE, N_STAGES };

/* Sums over all linears, for the totals of a point. */
struct totals {
    double weights, zeros, bits, squared_norm, squared_error, output_error, linears;
};

struct walk {
    const struct wn_run *run;
    const struct wn_prepared_model *prepared;
    const struct wn_model *model;
    const struct wn_point *point;
    struct wn_recipe recipe;       /* of the point, with the sparsity of the current block */
    double *sparsity;              /* [n_blocks]; NULL: the same in all blocks */
    int64_t zeros[WN_MAX_LINEARS]; /* of the current block, when its linears are pruned as one */
    bool shares_zeros;
    bool *dropped[WN_BRANCHES]; /* [n_blocks]; NULL: the method drops nothing */
    const struct wn_reference *reference;
    struct wn_record *record;
    const struct wn_point_sink *sink; /* NULL: none */
    int64_t n_sets;                   /* evaluation sets that are walked: all, or none with a sink */
    int64_t block_index;
    struct wn_block *dense, *compressed;
    uint8_t *keep;                          /* [weights of the largest linear] */
    const struct wn_sequences *calibration; /* NULL: no sequences are pushed for statistics */
    float *hidden_calibration, **hidden_sets, *hidden_sample;
    float *sample_inputs[WN_MAX_INPUTS];     /* [sample tokens, width] */
    float *sample_dense, *sample_compressed; /* [sample tokens, widest output] */
    int64_t group_rows;                      /* that are run at once: what copy and scratch are for */
    float *copy, *scratch;
    int64_t *offset;
    unsigned needs;                      /* of the recipe */
    void *statistics, *group_statistics; /* of the inputs of the current block; the second only when made here */
    struct wn_factor_cache factors[WN_MAX_INPUTS];
    struct wn_activation *activations[WN_MAX_LINEARS]; /* rules of the current block; NULL: none */
    float *scales[WN_MAX_INPUTS];                      /* of the inputs of the current block; NULL: none */
    int trials[WN_MAX_INPUTS];                         /* which trial of the search a scale is */
    float *run_moments[WN_MAX_INPUTS];                 /* what the search has summed for clipping; NULL: nothing */
    bool folded;                                       /* the evaluated block divides inputs by their scales */
    float *sample_scaled;       /* [sample tokens, widest input]; NULL unless inputs are scaled */
    bool generates;             /* a set has texts to be generated: */
    struct wn_kept_blocks kept; /* all blocks as they are evaluated */
    struct wn_generated *texts; /* [n_sets] */
    double **text_losses;       /* [n_sets] under the dense model; NULL: not wanted */
    struct totals totals;
    double seconds[N_STAGES], mark, tokens;
};

static const struct wn_calibration *calibration_of(const struct walk *walk)
{
    return walk->point->calibration >= 0 ? &walk->prepared->calibrations[walk->point->calibration] : NULL;
}

/* Time since the last call belongs to `stage`. */
static void clock_stage(struct walk *walk, enum stage stage)
{
    double now = wn_seconds();
    walk->seconds[stage] += now - walk->mark;
    walk->mark = now;
}

/* ---- buffers; wn_point_bytes uses the same numbers ---- */

int64_t wn_prepared_longest_chunk(const struct wn_run *run, int64_t model)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    int64_t longest = wn_sequences_longest_chunk(&prepared->sample);
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        int64_t length = wn_sequences_longest_chunk(&prepared->sets[e].sequences);
        longest = length > longest ? length : longest;
    }
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
        int64_t length = wn_sequences_longest_chunk(&prepared->calibrations[c].sequences);
        longest = length > longest ? length : longest;
    }
    return longest;
}

int64_t wn_prepared_group_rows(const struct wn_run *run, int64_t model)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    int64_t longest = wn_prepared_longest_chunk(run, model), most = longest;
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        int64_t tokens = wn_sequences_tokens(&prepared->sets[e].sequences);
        most = tokens > most ? tokens : most;
    }
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
        int64_t tokens = wn_sequences_tokens(&prepared->calibrations[c].sequences);
        most = tokens > most ? tokens : most;
    }
    int64_t rows = wn_model_group_rows(prepared->model, longest);
    return rows < most ? rows : most;
}

int64_t wn_prepared_offsets(const struct wn_run *run, int64_t model)
{
    const struct wn_prepared_model *prepared = &run->models[model];
    int64_t most = prepared->sample.n_sequences;
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        most = prepared->sets[e].sequences.n_sequences > most ? prepared->sets[e].sequences.n_sequences : most;
    for (int64_t c = 0; c < run->sweep->n_calibrations; c++) {
        int64_t count = prepared->calibrations[c].sequences.n_sequences;
        most = count > most ? count : most;
    }
    return most + 1;
}

bool wn_point_walks_calibration(const struct wn_point *point)
{
    return point->calibration >= 0 &&
           (point->propagation == WN_PROPAGATION_SEQUENTIAL || wn_recipe_trials(&point->recipe));
}

static void sample_shapes(const struct wn_layout *layout, int64_t *widest_output, int64_t *largest_linear)
{
    *widest_output = *largest_linear = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        *widest_output = linear->rows > *widest_output ? linear->rows : *widest_output;
        *largest_linear =
            linear->rows * linear->columns > *largest_linear ? linear->rows * linear->columns : *largest_linear;
    }
}

static int64_t widest_input(const struct wn_layout *layout)
{
    int64_t widest = 0;
    for (int i = 0; i < layout->n_inputs; i++)
        widest = layout->input_widths[i] > widest ? layout->input_widths[i] : widest;
    return widest;
}

/* Statistics are made in a point's own memory under sequential propagation: sums, and those of one group. */
static int64_t statistics_bytes(const struct wn_run *run, const struct wn_point *point)
{
    if (point->calibration < 0 || point->propagation != WN_PROPAGATION_SEQUENTIAL)
        return 0;
    return 2 * wn_statistics_bytes(&run->models[point->model].model->layout, wn_recipe_needs(&point->recipe));
}

/* A factor of every input, and the working memory of the hungriest linear. */
static int64_t solver_bytes(const struct wn_layout *layout, const struct wn_recipe *recipe)
{
    int64_t factors = 0, work = 0;
    if (!(wn_recipe_needs(recipe) & WN_NEED_SECOND_MOMENTS))
        return 0;
    for (int i = 0; i < layout->n_inputs; i++)
        factors += layout->input_widths[i] * layout->input_widths[i] * (int64_t)sizeof(float);
    for (int l = 0; l < layout->n_linears; l++) {
        int64_t bytes =
            wn_second_order_bytes(layout->linears[l].rows, layout->linears[l].columns, omp_get_max_threads());
        work = bytes > work ? bytes : work;
    }
    return factors + work;
}

/* Rules of the linears of a block. */
static int64_t rules_bytes(const struct wn_run *run, const struct wn_point *point)
{
    const struct wn_layout *layout = &run->models[point->model].model->layout;
    int64_t total = 0, bytes, scratch;
    for (int l = 0; l < layout->n_linears; l++) {
        wn_recipe_activation_bytes(&point->recipe, layout->linears[l].rows, layout->linears[l].columns, 1, 1, &bytes,
                                   &scratch);
        total += bytes;
    }
    return total;
}

/* The same with the work of the hungriest one, and scaled inputs of the sample. */
static int64_t activation_bytes(const struct wn_run *run, const struct wn_point *point)
{
    const struct wn_layout *layout = &run->models[point->model].model->layout;
    int64_t longest = wn_prepared_longest_chunk(run, point->model), total = rules_bytes(run, point), most = 0;
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        int64_t bytes, scratch;
        wn_recipe_activation_bytes(&point->recipe, linear->rows, linear->columns, longest, omp_get_max_threads(),
                                   &bytes, &scratch);
        most = scratch > most ? scratch : most;
    }
    if (wn_recipe_needs(&point->recipe) & WN_NEED_ABSOLUTE_MAXIMA)
        total += wn_sequences_tokens(&run->models[point->model].sample) * widest_input(layout) * (int64_t)sizeof(float);
    return total + most;
}

int64_t wn_point_bytes(const struct wn_run *run, int64_t index)
{
    const struct wn_point *point = &run->grid.points[index];
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_model *model = prepared->model;
    int64_t hidden = model->config.hidden_size, longest = wn_prepared_longest_chunk(run, point->model);
    int64_t sample = wn_sequences_tokens(&prepared->sample), widest, largest, rows = sample, scores = 0, head = 0;
    int64_t kept = 0; /* keys and values of prefixes */
    sample_shapes(&model->layout, &widest, &largest);
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const struct wn_eval_set *set = &prepared->sets[e];
        int64_t bytes = wn_target_scores_bytes(set), scratch = wn_eval_scratch_bytes(model, set->divergence);
        rows += wn_sequences_tokens(&set->sequences);
        int64_t prefixes = wn_sequences_run_bytes(model, &set->sequences);
        kept = prefixes > kept ? prefixes : kept;
        scores = bytes > scores ? bytes : scores;
        head = scratch > head ? scratch : head;
    }
    if (wn_point_walks_calibration(point))
        rows += wn_sequences_tokens(&prepared->calibrations[point->calibration].sequences);
    int64_t group = wn_prepared_group_rows(run, point->model);
    int64_t floats = rows * hidden + group * hidden + wn_model_scratch(model, group) +
                     sample * (wn_layout_input_total(&model->layout) + 2 * widest);
    int64_t compress = point->recipe.n_stages ? largest * 10 : 0; /* keep, codes and the selection's work array */
    compress += statistics_bytes(run, point) + solver_bytes(&model->layout, &point->recipe);
    compress += activation_bytes(run, point) + wn_search_bytes(model, &point->recipe, longest);
    struct wn_generation_bytes texts;
    wn_generation_bytes(run, point->model, &texts);
    int64_t walking = (point->recipe.n_stages ? 2 : 1) * wn_block_bytes(model) + compress + kept + texts.kept;
    if (texts.kept)
        walking += (model->config.n_blocks - 1) * rules_bytes(run, point);
    int64_t generating = texts.kept + texts.generate, scoring = scores + head;
    int64_t most = walking > generating ? walking : generating;
    most = most > texts.losses ? most : texts.losses;
    return floats * (int64_t)sizeof(float) + (most > scoring ? most : scoring) + texts.records +
           wn_schema_bytes(&run->schema) + wn_prepared_offsets(run, point->model) * (int64_t)sizeof(int64_t);
}

static float *embed(const struct walk *walk, const struct wn_sequences *sequences)
{
    int64_t tokens = wn_sequences_tokens(sequences);
    float *hidden = wn_alloc(tokens * walk->model->config.hidden_size, sizeof(float));
    wn_model_embed(walk->model, sequences->ids, tokens, hidden);
    return hidden;
}

static void open_walk(struct walk *walk)
{
    const struct wn_model *model = walk->model;
    const struct wn_sequences *sample = &walk->prepared->sample;
    int64_t tokens = wn_sequences_tokens(sample), widest, largest;
    walk->group_rows = wn_prepared_group_rows(walk->run, walk->point->model);
    walk->needs = wn_recipe_needs(&walk->point->recipe);
    sample_shapes(&model->layout, &widest, &largest);
    walk->dense = wn_block_create(model);
    if (walk->point->recipe.n_stages) {
        walk->compressed = wn_block_create(model);
        walk->keep = wn_alloc(largest, 1);
    }
    if (wn_point_walks_calibration(walk->point)) {
        walk->calibration = &calibration_of(walk)->sequences;
        walk->hidden_calibration = embed(walk, walk->calibration);
    }
    if (statistics_bytes(walk->run, walk->point)) {
        walk->statistics = wn_alloc(wn_statistics_bytes(&model->layout, walk->needs), 1);
        walk->group_statistics = wn_alloc(wn_statistics_bytes(&model->layout, walk->needs), 1);
    }
    walk->hidden_sets = wn_alloc_zero(walk->n_sets, sizeof(float *));
    for (int64_t e = 0; e < walk->n_sets; e++)
        walk->hidden_sets[e] = embed(walk, &walk->prepared->sets[e].sequences);
    walk->hidden_sample = embed(walk, sample);
    for (int i = 0; i < model->layout.n_inputs; i++)
        walk->sample_inputs[i] = wn_alloc(tokens * model->layout.input_widths[i], sizeof(float));
    if (walk->needs & WN_NEED_ABSOLUTE_MAXIMA)
        walk->sample_scaled = wn_alloc(tokens * widest_input(&model->layout), sizeof(float));
    walk->sample_dense = wn_alloc(tokens * widest, sizeof(float));
    walk->sample_compressed = wn_alloc(tokens * widest, sizeof(float));
    walk->copy = wn_alloc(walk->group_rows * model->config.hidden_size, sizeof(float));
    walk->scratch = wn_alloc(wn_model_scratch(model, walk->group_rows), sizeof(float));
    walk->offset = wn_alloc(wn_prepared_offsets(walk->run, walk->point->model), sizeof(int64_t));
    walk->generates = !walk->sink && wn_prepared_generates(walk->run, walk->point->model);
    walk->texts = wn_alloc_zero(walk->n_sets, sizeof *walk->texts);
    walk->text_losses = wn_alloc_zero(walk->n_sets, sizeof *walk->text_losses);
    if (walk->generates)
        wn_kept_blocks_init(&walk->kept, model);
}

static void release_factors(struct walk *walk)
{
    for (int i = 0; i < walk->model->layout.n_inputs; i++)
        wn_factor_cache_release(&walk->factors[i]);
}

static void release_activations(struct walk *walk)
{
    for (int l = 0; l < walk->model->layout.n_linears; l++)
        wn_activation_release(&walk->activations[l]);
    for (int i = 0; i < walk->model->layout.n_inputs; i++) {
        wn_free(walk->scales[i]);
        wn_free(walk->run_moments[i]);
        walk->scales[i] = walk->run_moments[i] = NULL;
    }
}

/* What only the walk over the blocks needs; scoring comes after it. */
static void close_blocks(struct walk *walk)
{
    wn_block_destroy(&walk->dense, walk->model);
    if (walk->compressed)
        wn_block_destroy(&walk->compressed, walk->model);
    wn_free(walk->keep);
    walk->keep = NULL;
    release_factors(walk);
    release_activations(walk);
    if (walk->group_statistics) {
        wn_free(walk->statistics);
        wn_free(walk->group_statistics);
        walk->group_statistics = NULL;
    }
}

static void close_walk(struct walk *walk)
{
    close_blocks(walk);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        wn_free(walk->dropped[branch]);
    wn_free(walk->sparsity);
    wn_free(walk->hidden_calibration);
    wn_kept_blocks_release(&walk->kept);
    for (int64_t e = 0; e < walk->n_sets; e++) {
        wn_free(walk->hidden_sets[e]);
        wn_generated_release(&walk->texts[e]);
        wn_free(walk->text_losses[e]);
    }
    wn_free(walk->texts);
    wn_free(walk->text_losses);
    wn_free(walk->hidden_sets);
    wn_free(walk->hidden_sample);
    for (int i = 0; i < walk->model->layout.n_inputs; i++)
        wn_free(walk->sample_inputs[i]);
    wn_free(walk->sample_scaled);
    wn_free(walk->sample_dense);
    wn_free(walk->sample_compressed);
    wn_free(walk->copy);
    wn_free(walk->scratch);
    wn_free(walk->offset);
}

/* ---- statistics ---- */

/* Statistics of all inputs, or of one. */
struct input_tap {
    struct wn_statistics_tap all;
    int input; /* -1: all */
};

static void take_input(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct input_tap *tap = context;
    if (tap->input < 0 || tap->input == input)
        wn_statistics_take(&tap->all, input, x, n_chunks, row, width);
}

static void clear(void *memory, int64_t bytes)
{
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < bytes; at += PIECE)
        memset((char *)memory + at, 0, (size_t)(bytes - at < PIECE ? bytes - at : PIECE));
}

static void copy_floats(float *to, const float *from, int64_t count)
{
#pragma omp parallel for schedule(static)
    for (int64_t at = 0; at < count; at += PIECE)
        memcpy(to + at, from + at, (size_t)(count - at < PIECE ? count - at : PIECE) * sizeof *to);
}

/* Adds chunks: runs the block on a copy of their rows and drops the result. */
static void collect_chunks(struct walk *walk, const struct wn_block *block, int64_t first, int64_t end,
                           const struct wn_tap *tap)
{
    struct wn_chunk group;
    int64_t row = wn_sequences_chunks(walk->calibration, first, end, walk->offset, &group);
    int64_t hidden = walk->model->config.hidden_size, rows = group.offset[group.n_sequences];
    copy_floats(walk->copy, walk->hidden_calibration + row * hidden, rows * hidden);
    wn_model_run_block(walk->model, block, &group, walk->copy, walk->scratch, tap);
}

/* Sums of each group, added in group order: the order of the shared dense pass too. `input` -1: of all inputs. */
static void collect_statistics(struct walk *walk, const struct wn_block *block, int input)
{
    const struct wn_layout *layout = &walk->model->layout;
    int64_t bytes = wn_statistics_bytes(layout, walk->needs);
    struct input_tap context = {{.layout = layout, .needs = walk->needs, .statistics = walk->group_statistics}, input};
    struct wn_tap tap = {.take = take_input, .context = &context};
    for (int64_t g = 0; g < wn_statistics_groups(walk->calibration); g++) {
        context.all.statistics = g == 0 ? walk->statistics : walk->group_statistics; /* 0 + the first is the first */
        clear(context.all.statistics, bytes);
        int64_t end = wn_statistics_group(walk->calibration, g + 1);
        for (int64_t c = wn_statistics_group(walk->calibration, g), behind; c < end; c = behind) {
            behind = wn_sequences_group(walk->calibration, c, end, walk->group_rows);
            collect_chunks(walk, block, c, behind, &tap);
        }
        if (g > 0)
            wn_statistics_add(layout, walk->needs, walk->statistics, walk->group_statistics);
    }
    if (walk->needs & WN_NEED_SECOND_MOMENTS)
        wn_statistics_symmetrize(layout, walk->statistics);
    walk->tokens += (double)wn_sequences_tokens(walk->calibration);
}

static void take_sample(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width)
{
    struct walk *walk = context;
    copy_floats(walk->sample_inputs[input], x, row[n_chunks] * width);
}

/* Pushes the reference sample through the dense block, keeping the inputs of its linears. */
static void push_sample(struct walk *walk)
{
    struct wn_chunk chunk;
    struct wn_tap tap = {.take = take_sample, .context = walk};
    if (walk->prepared->sample.n_chunks == 0)
        return;
    wn_sequences_chunk(&walk->prepared->sample, 0, walk->offset, &chunk);
    wn_model_run_block(walk->model, walk->dense, &chunk, walk->hidden_sample, walk->scratch, &tap);
    walk->tokens += (double)wn_sequences_tokens(&walk->prepared->sample);
}

/* The inputs of the sample as the evaluated block has them. */
static const float *scaled_sample(struct walk *walk, int input)
{
    int64_t width = walk->model->layout.input_widths[input], tokens = wn_sequences_tokens(&walk->prepared->sample);
    const float *scale = walk->scales[input], *x = walk->sample_inputs[input];
    if (!scale)
        return x;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < tokens; r++)
        for (int64_t j = 0; j < width; j++)
            walk->sample_scaled[r * width + j] = x[r * width + j] / scale[j];
    return walk->sample_scaled;
}

/* What a rule makes of the sample. */
static void rule_outputs(struct walk *walk, int index, const float *weight, float *y)
{
    const struct wn_linear_info *linear = &walk->model->layout.linears[index];
    const struct wn_activation *activation = walk->activations[index];
    struct wn_chunk chunk;
    if (wn_sequences_tokens(&walk->prepared->sample) == 0)
        return;
    wn_sequences_chunk(&walk->prepared->sample, 0, walk->offset, &chunk);
    struct wn_linear_call call = {.n_sequences = chunk.n_sequences,
                                  .offset = chunk.offset,
                                  .x = scaled_sample(walk, linear->input),
                                  .in = linear->columns,
                                  .weight = weight,
                                  .out = linear->rows,
                                  .y = y};
    activation->compute(activation, &call);
}

/* What the dense and the evaluated block make of the sample: both at once, and in runs of rows, which makes more tiles
 * for many threads. */
static void sample_outputs(struct walk *walk, int index, const float *dense, const float *compressed)
{
    const struct wn_linear_info *linear = &walk->model->layout.linears[index];
    const struct wn_linear_map maps[] = {
        {.w = dense, .out = linear->rows, .y = walk->sample_dense, .stride = linear->rows},
        {.w = compressed, .out = linear->rows, .y = walk->sample_compressed, .stride = linear->rows}};
    bool rule = walk->activations[index] != NULL;
    int64_t rows = wn_sequences_tokens(&walk->prepared->sample), n_runs = (rows + SAMPLE_ROWS - 1) / SAMPLE_ROWS;
    int64_t *row = wn_alloc(n_runs + 1, sizeof *row);
    for (int64_t i = 0; i <= n_runs; i++)
        row[i] = i < n_runs ? i * SAMPLE_ROWS : rows;
    wn_linears(walk->sample_inputs[linear->input], n_runs, row, linear->columns, maps, rule ? 1 : 2);
    if (rule)
        rule_outputs(walk, index, compressed, walk->sample_compressed);
    wn_free(row);
}

static double output_error(struct walk *walk, int index, const float *dense, const float *compressed)
{
    int64_t rows = wn_sequences_tokens(&walk->prepared->sample);
    int64_t count = rows * walk->model->layout.linears[index].rows;
    if (dense == compressed)
        return 0;
    sample_outputs(walk, index, dense, compressed);
    return sqrt(wn_sum_squared_difference(walk->sample_dense, walk->sample_compressed, count) /
                wn_sum_squared_difference(walk->sample_dense, NULL, count));
}

static void record_solver(struct walk *walk, int index, const struct wn_solver_statistics *solver)
{
    int64_t field = 0, cell = walk->block_index * walk->model->layout.n_linears + index;
#define X(name, unit, help)                                                                                            \
    wn_record_f64(walk->record, (int)walk->prepared->solver_fields[field++])[cell] = solver->name;
    WN_SOLVER_STATISTICS(X)
#undef X
}

static void record_search(struct walk *walk, int index, const struct wn_search_statistics *search)
{
    int64_t field = 0, cell = walk->block_index * walk->model->layout.n_linears + index;
#define X(name, unit, help)                                                                                            \
    wn_record_f64(walk->record, (int)walk->prepared->search_fields[field++])[cell] = search->name;
    WN_SEARCH_STATISTICS(X)
#undef X
}

static void record_linear(struct walk *walk, int index, const float *dense, const float *compressed, double bits)
{
    const struct wn_linear_info *linear = &walk->model->layout.linears[index];
    struct wn_weight_statistics statistics;
    double count = (double)(linear->rows * linear->columns);
    double norm = wn_sum_squared_difference(dense, NULL, linear->rows * linear->columns);
    wn_weight_statistics_compute(dense, compressed, linear->rows, linear->columns, &statistics);
    statistics.bits_per_weight = bits;
    statistics.output_error = output_error(walk, index, dense, compressed);
    int64_t field = 0, cell = walk->block_index * walk->model->layout.n_linears + index;
#define X(name, unit, help)                                                                                            \
    wn_record_f64(walk->record, (int)walk->prepared->weight_fields[field++])[cell] = statistics.name;
    WN_WEIGHT_STATISTICS(X)
#undef X
    walk->totals.weights += count;
    walk->totals.zeros += statistics.zeros * count;
    walk->totals.bits += bits * count;
    walk->totals.squared_norm += norm;
    walk->totals.squared_error += statistics.weight_error * statistics.weight_error * norm;
    walk->totals.output_error += statistics.output_error * statistics.output_error;
    walk->totals.linears++;
}

/* ---- compression ---- */

static wn_status hand_over(const struct walk *walk, int index, const struct wn_compressed *compressed)
{
    return walk->sink ? walk->sink->take(walk->sink->context, walk->block_index, index, compressed) : WN_OK;
}

/* What is known of an input of the current block. */
static struct wn_input_stats input_stats(struct walk *walk, int input)
{
    const struct wn_layout *layout = &walk->model->layout;
    const struct wn_calibration *calibration = calibration_of(walk);
    struct wn_input_stats stats = {.width = layout->input_widths[input],
                                   .scale = walk->scales[input],
                                   .trial = walk->trials[input],
                                   .run_moments = walk->run_moments[input]};
    if (!calibration)
        return stats;
    stats.tokens = wn_sequences_tokens(&calibration->sequences);
    stats.sequences = calibration->sequences.n_sequences;
    stats.squares = wn_statistics_squares(layout, walk->statistics, input);
    if (walk->needs & WN_NEED_ABSOLUTE_SUMS)
        stats.magnitudes = wn_statistics_magnitudes(layout, walk->statistics, input);
    if (walk->needs & WN_NEED_ABSOLUTE_MAXIMA)
        stats.maxima = wn_statistics_maxima(layout, walk->statistics, input);
    if (walk->needs & WN_NEED_SECOND_MOMENTS) {
        stats.second_moments = wn_statistics_moments(layout, walk->statistics, input);
        stats.factors = &walk->factors[input];
    }
    return stats;
}

/* Asks the method what to divide an input by, and divides the vector before it in the compressed block. */
static wn_status scale_input(struct walk *walk, int input)
{
    const struct wn_layout *layout = &walk->model->layout;
    int64_t width = layout->input_widths[input], rows[WN_MAX_LINEARS];
    int vector = layout->producer_vector[input];
    const float *weights[WN_MAX_LINEARS];
    char name[128];
    bool scaled;
    struct wn_input_stats stats = input_stats(walk, input);
    snprintf(name, sizeof name, "block %lld %s", (long long)walk->block_index, layout->input_names[input]);
    struct wn_input_task task = {.name = name, .width = width, .weights = weights, .rows = rows, .stats = &stats};
    for (int l = 0; l < layout->n_linears; l++)
        if (layout->linears[l].input == input) {
            weights[task.n_linears] = walk->dense->linears[l];
            rows[task.n_linears++] = layout->linears[l].rows;
        }
    walk->scales[input] = wn_alloc(width, sizeof(float));
    WN_TRY(wn_recipe_scale_inputs(&walk->recipe, &task, walk->scales[input], &scaled));
    walk->folded = walk->folded || scaled;
    for (int64_t j = 0; scaled && j < width; j++)
        walk->compressed->vectors[vector][j] = walk->dense->vectors[vector][j] / walk->scales[input][j];
    if (!scaled) {
        wn_free(walk->scales[input]);
        walk->scales[input] = NULL;
    }
    return WN_OK;
}

static wn_status search_scales(struct walk *walk)
{
    struct wn_input_stats stats[WN_MAX_INPUTS];
    for (int i = 0; i < walk->model->layout.n_inputs; i++)
        stats[i] = input_stats(walk, i);
    const struct wn_scale_search search = {.model = walk->model,
                                           .recipe = &walk->recipe,
                                           .block_index = walk->block_index,
                                           .dense = walk->dense,
                                           .trial = walk->compressed,
                                           .keep = walk->keep,
                                           .calibration = walk->calibration,
                                           .hidden = walk->hidden_calibration,
                                           .copy = walk->copy,
                                           .scratch = walk->scratch,
                                           .offset = walk->offset,
                                           .stats = stats,
                                           .zeros = walk->shares_zeros ? walk->zeros : NULL};
    walk->tokens += (double)wn_sequences_tokens(walk->calibration);
    return wn_search_scales(&search, walk->scales, walk->trials, walk->run_moments);
}

/* Counts for the whole block, before the first linear. */
static void share_zeros(struct walk *walk)
{
    const struct wn_layout *layout = &walk->model->layout;
    struct wn_linear_weights linears[WN_MAX_LINEARS];
    for (int l = 0; l < layout->n_linears; l++)
        linears[l] =
            (struct wn_linear_weights){walk->dense->linears[l], layout->linears[l].rows * layout->linears[l].columns};
    walk->shares_zeros = wn_recipe_share_zeros(&walk->recipe, linears, layout->n_linears, walk->zeros);
}

static wn_status scale_inputs(struct walk *walk)
{
    if (wn_recipe_trials(&walk->point->recipe))
        return search_scales(walk);
    for (int i = 0; walk->compressed && i < walk->model->layout.n_inputs; i++)
        if (walk->model->layout.producer_vector[i] >= 0)
            WN_TRY(scale_input(walk, i));
    return WN_OK;
}

static wn_status compress_linear(struct walk *walk, int index)
{
    const struct wn_linear_info *linear = &walk->model->layout.linears[index];
    struct wn_input_stats stats = input_stats(walk, linear->input);
    struct wn_compressed out;
    int64_t pattern_n, pattern_m;
    char name[128];
    snprintf(name, sizeof name, "block %lld %s", (long long)walk->block_index, linear->name);
    wn_compressed_init(&out, linear->rows, linear->columns, walk->compressed->linears[index], walk->keep);
    walk->recipe.zeros = walk->shares_zeros ? &walk->zeros[index] : NULL;
    wn_status status = wn_recipe_compress(&walk->recipe, name, walk->dense->linears[index],
                                          calibration_of(walk) ? &stats : NULL, &out);
    if (status == WN_OK) {
        walk->activations[index] = out.activation;
        wn_recipe_pattern(&walk->recipe, &pattern_n, &pattern_m);
        record_linear(walk, index, walk->dense->linears[index], out.weight,
                      wn_bits_per_weight(&out, pattern_n, pattern_m));
        if (walk->prepared->solver_fields)
            record_solver(walk, index, &out.solver);
        if (walk->prepared->search_fields)
            record_search(walk, index, &out.search);
        status = hand_over(walk, index, &out);
        out.activation = NULL; /* it stays with the walk */
    }
    wn_compressed_release(&out);
    return status;
}

/* A dense point changes nothing, but its weights are looked at like those of any other. Loading saw that they are
 * finite. */
static wn_status keep_linear(struct walk *walk, int index)
{
    const struct wn_linear_info *linear = &walk->model->layout.linears[index];
    const float *weight = walk->dense->linears[index];
    struct wn_compressed none;
    wn_compressed_init(&none, linear->rows, linear->columns, walk->dense->linears[index], NULL);
    record_linear(walk, index, weight, weight, wn_bits_per_weight(&none, 0, 0));
    return hand_over(walk, index, &none);
}

/* A linear of a branch that is left out: all of it is gone, and nothing is stored. */
static wn_status drop_linear(struct walk *walk, int index)
{
    const struct wn_linear_info *linear = &walk->model->layout.linears[index];
    const float *dense = walk->dense->linears[index];
    struct wn_compressed out;
    char name[128];
    snprintf(name, sizeof name, "block %lld %s", (long long)walk->block_index, linear->name);
    wn_compressed_init(&out, linear->rows, linear->columns, walk->compressed->linears[index], walk->keep);
    WN_TRY(wn_recipe_compress(&walk->point->recipe, name, dense, NULL, &out));
    record_linear(walk, index, dense, out.weight, 0);
    return hand_over(walk, index, &out);
}

static bool is_dropped(const struct walk *walk, enum wn_branch branch)
{
    return walk->dropped[branch] && walk->dropped[branch][walk->block_index];
}

static wn_status make_linear(struct walk *walk, int index)
{
    const struct wn_layout *layout = &walk->model->layout;
    if (is_dropped(walk, layout->input_branches[layout->linears[index].input]))
        return drop_linear(walk, index);
    return walk->compressed && !wn_recipe_drop(&walk->point->recipe) ? compress_linear(walk, index)
                                                                     : keep_linear(walk, index);
}

/* The block with the compressed linears of the first inputs and their rules, with the dense vectors and biases but for
 * vectors that were divided. All inputs: the block that evaluation goes through. */
static const struct wn_block *compressed_view(struct walk *walk, int n_inputs, struct wn_block *view)
{
    *view = *walk->dense;
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        view->skip[branch] = is_dropped(walk, (enum wn_branch)branch);
    bool compressed = walk->compressed && !wn_recipe_drop(&walk->point->recipe);
    for (int l = 0; compressed && l < walk->model->layout.n_linears; l++)
        if (walk->model->layout.linears[l].input < n_inputs)
            view->linears[l] = walk->compressed->linears[l];
    for (int l = 0; l < walk->model->layout.n_linears; l++)
        view->activations[l] = walk->activations[l];
    for (int i = 0; i < n_inputs; i++) {
        int vector = walk->model->layout.producer_vector[i];
        if (walk->scales[i] && walk->folded)
            view->vectors[vector] = walk->compressed->vectors[vector];
    }
    return view;
}

/* Input by input: each is calibrated on what the compressed linears before it make. The first has its statistics. */
static wn_status make_in_order(struct walk *walk)
{
    const struct wn_layout *layout = &walk->model->layout;
    struct wn_block view;
    for (int i = 0; i < layout->n_inputs; i++) {
        clock_stage(walk, STAGE_COMPRESS);
        if (i > 0)
            collect_statistics(walk, compressed_view(walk, i, &view), i);
        clock_stage(walk, STAGE_STATISTICS);
        for (int l = 0; l < layout->n_linears; l++)
            if (layout->linears[l].input == i)
                WN_TRY(make_linear(walk, l));
    }
    return WN_OK;
}

static wn_status make_linears(struct walk *walk)
{
    if (wn_recipe_true_sequential(&walk->recipe))
        return make_in_order(walk);
    for (int l = 0; l < walk->model->layout.n_linears; l++)
        WN_TRY(make_linear(walk, l));
    return WN_OK;
}

static void gather_statistics(struct walk *walk)
{
    const struct wn_reference *reference = walk->reference;
    int64_t model = walk->point->model, calibration = walk->point->calibration;
    release_factors(walk);
    release_activations(walk);
    if (walk->group_statistics)
        collect_statistics(walk, walk->dense, -1);
    else if (calibration >= 0)
        walk->statistics =
            (char *)reference->statistics[model][calibration].data +
            walk->block_index * wn_statistics_bytes(&walk->model->layout, reference->needs[model][calibration]);
}

/* The sparsity of every block, from the outliers of the dense pass. */
static wn_status allocate_sparsity(struct walk *walk)
{
    int64_t n_blocks = walk->model->config.n_blocks, i = 0;
    double multiple = wn_recipe_outlier_multiple(&walk->point->recipe);
    if (multiple == 0)
        return WN_OK;
    const struct wn_outlier_shares *outliers = &walk->reference->outliers[walk->point->model][walk->point->calibration];
    while (outliers->multiples[i] != multiple)
        i++;
    const double *shares = outliers->shares + i * n_blocks;
    walk->sparsity = wn_alloc(n_blocks, sizeof(double));
    WN_TRY(wn_recipe_allocate(&walk->point->recipe, shares, n_blocks, walk->sparsity));
    memcpy(wn_record_f64(walk->record, walk->prepared->sparsity_field), walk->sparsity,
           (size_t)n_blocks * sizeof(double));
    memcpy(wn_record_f64(walk->record, walk->prepared->outlier_field), shares, (size_t)n_blocks * sizeof(double));
    return WN_OK;
}

static double drop_score(const struct wn_run *run, const struct wn_reference *reference, const struct wn_point *point,
                         enum wn_drop_unit unit, int64_t block)
{
    const struct wn_params *params = wn_recipe_drop(&point->recipe);
    const struct wn_prepared_model *prepared = &run->models[point->model];
    const struct wn_layout *layout = &prepared->model->layout;
    enum wn_drop_score score = wn_drop_score_of(params);
    if (score >= WN_DROP_SCORES)
        return wn_left_out_score(&reference->left_out[point->model][point->calibration], params,
                                 prepared->model->config.n_blocks, unit, block);
    unsigned needs = reference->needs[point->model][point->calibration];
    void *statistics = (char *)reference->statistics[point->model][point->calibration].data +
                       block * wn_statistics_bytes(layout, needs);
    return wn_statistics_drop_scores(layout, needs, statistics, unit)[score] /
           (double)wn_sequences_tokens(&prepared->calibrations[point->calibration].sequences);
}

void wn_point_choose_dropped(const struct wn_run *run, const struct wn_reference *reference,
                             const struct wn_point *point, double *scores, bool *const dropped[WN_BRANCHES])
{
    const struct wn_params *params = wn_recipe_drop(&point->recipe);
    int64_t n_blocks = run->models[point->model].model->config.n_blocks;
    enum wn_drop_unit unit = wn_drop_unit_of(params);
    int kinds = unit == WN_UNIT_BRANCH ? 2 : 1;
    bool *chosen = wn_alloc(kinds * n_blocks, sizeof *chosen);
    for (int64_t i = 0; i < kinds * n_blocks; i++)
        scores[i] = drop_score(run, reference, point, kinds == 2 ? (enum wn_drop_unit)(i % 2) : unit, i / kinds);
    wn_drop_choose(params, scores, n_blocks, chosen);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        for (int64_t b = 0; b < n_blocks; b++)
            dropped[branch][b] =
                kinds == 2 ? chosen[2 * b + branch] : (unit == WN_UNIT_BLOCK || (int)unit == branch) && chosen[b];
    wn_free(chosen);
}

/* Chooses the units to leave out by their scores in the dense model, and records them. */
static void choose_dropped(struct walk *walk)
{
    const struct wn_params *params = wn_recipe_drop(&walk->point->recipe);
    const int *fields = walk->prepared->drop_fields;
    int64_t n_blocks = walk->model->config.n_blocks;
    if (!params)
        return;
    int kinds = wn_drop_unit_of(params) == WN_UNIT_BRANCH ? 2 : 1;
    double *scores = wn_alloc(kinds * n_blocks, sizeof *scores);
    for (int branch = 0; branch < WN_BRANCHES; branch++)
        walk->dropped[branch] = wn_alloc(n_blocks, sizeof(bool));
    wn_point_choose_dropped(walk->run, walk->reference, walk->point, scores, walk->dropped);
    for (int64_t b = 0; b < n_blocks; b++) {
        for (int branch = 0; branch < WN_BRANCHES; branch++)
            wn_record_f64(walk->record, fields[branch])[b] = walk->dropped[branch][b];
        for (int k = 0; k < kinds; k++)
            wn_record_f64(walk->record, fields[WN_BRANCHES + k])[b] = scores[b * kinds + k];
    }
    wn_free(scores);
}

static wn_status walk_block(struct walk *walk)
{
    struct wn_block view;
    WN_TRY(wn_model_load_block(walk->model, walk->block_index, walk->dense));
    clock_stage(walk, STAGE_LOAD);
    if (walk->sparsity)
        wn_recipe_set_sparsity(&walk->recipe, walk->sparsity[walk->block_index]);
    gather_statistics(walk);
    push_sample(walk);
    clock_stage(walk, STAGE_STATISTICS);
    share_zeros(walk);
    WN_TRY(scale_inputs(walk));
    WN_TRY(make_linears(walk));
    clock_stage(walk, STAGE_COMPRESS);
    compressed_view(walk, walk->model->layout.n_inputs, &view);
    if (walk->calibration && walk->block_index + 1 < walk->model->config.n_blocks) {
        const struct wn_block *next = walk->point->propagation == WN_PROPAGATION_DENSE ? walk->dense : &view;
        wn_run_block_on(walk->model, next, walk->calibration, walk->hidden_calibration, walk->group_rows, walk->scratch,
                        walk->offset);
        walk->tokens += (double)wn_sequences_tokens(walk->calibration);
    }
    for (int64_t e = 0; e < walk->n_sets; e++) {
        const struct wn_sequences *sequences = &walk->prepared->sets[e].sequences;
        wn_run_block_on(walk->model, &view, sequences, walk->hidden_sets[e], walk->group_rows, walk->scratch,
                        walk->offset);
        walk->tokens += (double)wn_sequences_tokens(sequences);
    }
    if (walk->generates)
        wn_kept_blocks_take(&walk->kept, walk->block_index, &view, walk->activations);
    clock_stage(walk, STAGE_FORWARD);
    return WN_OK;
}

/* ---- generated text ---- */

static wn_status generate_set(struct walk *walk, int64_t index)
{
    const struct wn_generation *generation = walk->prepared->sets[index].generation;
    struct wn_generated *texts = &walk->texts[index];
    struct wn_generate_work work;
    wn_generated_init(texts, generation);
    for (int64_t b = 0; b < wn_generation_batches(generation); b++)
        WN_TRY(wn_generate_batch(&walk->kept, generation, b, texts));
    wn_generated_decode(texts, generation, walk->model->tokenizer);
    wn_generate_work(generation, &work);
    walk->tokens += work.prompt_rows;
    for (int64_t t = 0; t < texts->n_texts; t++)
        walk->tokens += (double)(wn_generated_count(texts, t) - 1);
    return WN_OK;
}

static wn_status look_at_texts(struct walk *walk, int64_t index)
{
    const struct wn_generation *generation = walk->prepared->sets[index].generation;
    if (!generation->dense_loss)
        return WN_OK;
    walk->text_losses[index] = wn_alloc(wn_generation_texts(generation), sizeof(double));
    return wn_dense_losses(walk->model, generation, &walk->texts[index], walk->text_losses[index], &walk->tokens);
}

/* Texts of all sets, then, when the kept blocks are gone, their losses under the dense model. */
static wn_status generate_sets(struct walk *walk)
{
    for (int64_t e = 0; walk->generates && e < walk->n_sets; e++)
        if (walk->prepared->sets[e].generation)
            WN_TRY(generate_set(walk, e));
    wn_kept_blocks_release(&walk->kept);
    for (int64_t e = 0; walk->generates && e < walk->n_sets; e++)
        if (walk->prepared->sets[e].generation)
            WN_TRY(look_at_texts(walk, e));
    clock_stage(walk, STAGE_GENERATE);
    return WN_OK;
}

/* ---- scores ---- */

/* Texts have no targets: what they are is all there is to score. */
static void score_texts(struct walk *walk, int64_t index)
{
    const struct wn_eval_set *set = &walk->prepared->sets[index];
    struct wn_generated of_dense;
    wn_generated_borrow(&of_dense, set->generation, walk->reference->generated[walk->point->model][index].data);
    wn_generated_decode(&of_dense, set->generation, walk->model->tokenizer);
    struct wn_outcome point = {.generated = &walk->texts[index], .generated_loss = walk->text_losses[index]};
    struct wn_outcome dense = {.generated = &of_dense};
    wn_eval_finish(set, &point, &dense, walk->record);
    wn_generated_release(&of_dense);
}

static wn_status score_set(struct walk *walk, int64_t index)
{
    const struct wn_eval_set *set = &walk->prepared->sets[index];
    const float *states = set->divergence ? walk->reference->states[walk->point->model][index].data : NULL;
    int64_t hidden = walk->model->config.hidden_size, not_finite = 0;
    struct wn_target_scores scores, dense = {0};
    struct wn_outcome of_point = {.scores = &scores}, of_dense = {.scores = &dense};
    wn_target_scores_init(&scores, set);
    for (int64_t c = 0; c < set->sequences.n_chunks; c++) {
        int64_t first, row = set->sequences.offset[set->sequences.chunk[c]];
        if (wn_eval_chunk_targets(set, c, &first) == 0)
            continue;
        wn_eval_score_chunk(walk->model, set, c, walk->hidden_sets[index] + row * hidden,
                            states ? states + first * hidden : NULL, &scores);
    }
    for (int64_t t = 0; t < set->n_targets; t++)
        not_finite += !isfinite(scores.loss[t]);
    if (set->kind->compares) {
        dense.loss = walk->reference->loss[walk->point->model][index].data;
        dense.greedy = walk->reference->greedy[walk->point->model][index].data;
    }
    wn_eval_finish(set, &of_point, &of_dense, walk->record);
    wn_target_scores_release(&scores);
    if (not_finite)
        return wn_fail(WN_ERR_NUMERIC, "%s: %lld of %lld losses are not finite", set->name, (long long)not_finite,
                       (long long)set->n_targets);
    return WN_OK;
}

/* Tensors outside the blocks: a number that is not finite there would only show as losses that are not. */
static wn_status check_outer_tensors(const struct walk *walk)
{
    int64_t hidden = walk->model->config.hidden_size;
    if (!wn_all_finite(walk->model->final_norm, hidden))
        return wn_fail(WN_ERR_NUMERIC, "%s: a weight is not finite", walk->model->layout.final_norm);
    for (int64_t e = 0; e < walk->n_sets; e++) {
        const struct wn_eval_set *set = &walk->prepared->sets[e];
        if (!wn_all_finite(walk->hidden_sets[e], wn_sequences_tokens(&set->sequences) * hidden))
            return wn_fail(WN_ERR_NUMERIC, "%s: a weight of a token of %s is not finite", walk->model->layout.embedding,
                           set->name);
    }
    return WN_OK;
}

/* The first reason counts. */
static void take_reason(struct walk *walk, wn_status one, wn_status *status)
{
    if (*status != WN_OK || one == WN_OK)
        return;
    *status = one;
    wn_record_set_text(walk->record, walk->run->fields.reason, wn_error_message());
}

static wn_status walk_model(struct walk *walk)
{
    wn_status status = WN_OK;
    WN_TRY(check_outer_tensors(walk));
    choose_dropped(walk);
    WN_TRY(allocate_sparsity(walk));
    for (walk->block_index = 0; walk->block_index < walk->model->config.n_blocks; walk->block_index++) {
        WN_TRY(walk_block(walk));
        wn_watch(walk->run, walk->point - walk->run->grid.points, walk->block_index + 1, walk->model->config.n_blocks);
    }
    close_blocks(walk);
    wn_status generated = generate_sets(walk);
    take_reason(walk, generated, &status);
    for (int64_t e = 0; e < walk->n_sets; e++) {
        if (!walk->prepared->sets[e].generation)
            take_reason(walk, score_set(walk, e), &status);
        else if (generated == WN_OK)
            score_texts(walk, e);
    }
    clock_stage(walk, STAGE_SCORE);
    return status;
}

static void set_number(struct walk *walk, int field, double value)
{
    *wn_record_f64(walk->record, field) = value;
}

static void record_totals(struct walk *walk, const struct wn_point_fields *fields, double seconds)
{
    const struct totals *totals = &walk->totals;
    set_number(walk, fields->sparsity, totals->zeros / totals->weights);
    set_number(walk, fields->bits_per_weight, totals->bits / totals->weights);
    set_number(walk, fields->weight_error, sqrt(totals->squared_error / totals->squared_norm));
    set_number(walk, fields->output_error, sqrt(totals->output_error / totals->linears));
    set_number(walk, fields->seconds, seconds);
    set_number(walk, fields->seconds_load, walk->seconds[STAGE_LOAD]);
    set_number(walk, fields->seconds_statistics, walk->seconds[STAGE_STATISTICS]);
    set_number(walk, fields->seconds_compress, walk->seconds[STAGE_COMPRESS]);
    set_number(walk, fields->seconds_forward, walk->seconds[STAGE_FORWARD]);
    set_number(walk, fields->seconds_generate, walk->seconds[STAGE_GENERATE]);
    set_number(walk, fields->seconds_score, walk->seconds[STAGE_SCORE]);
    set_number(walk, fields->tokens, walk->tokens);
    *wn_record_i32(walk->record, fields->threads) = omp_get_max_threads();
}

static wn_status compute(const struct wn_run *run, const struct wn_reference *reference, int64_t index,
                         const struct wn_point_sink *sink, struct wn_record *record, struct wn_point_report *report)
{
    const struct wn_point *point = &run->grid.points[index];
    struct walk walk = {.run = run,
                        .prepared = &run->models[point->model],
                        .model = run->models[point->model].model,
                        .point = point,
                        .recipe = point->recipe,
                        .reference = reference,
                        .record = record,
                        .sink = sink,
                        .n_sets = sink ? 0 : run->sweep->n_evals};
    int64_t before = wn_memory_bytes();
    double start = walk.mark = wn_seconds();
    wn_memory_reset_peak();
    open_walk(&walk);
    wn_status status = walk_model(&walk);
    wn_status unchanged = wn_checkpoint_check(walk.model->checkpoint); /* the head was read behind the last block */
    if (unchanged != WN_OK) {
        status = unchanged;
        wn_record_set_text(record, run->fields.reason, wn_error_message());
    }
    report->seconds = wn_seconds() - start;
    report->tokens = walk.tokens;
    record_totals(&walk, &run->fields, report->seconds);
    set_number(&walk, run->fields.peak_bytes, (double)(wn_memory_peak() - before));
    if (status != WN_OK && ((const char *)record->data[run->fields.reason])[0] == '\0')
        wn_record_set_text(record, run->fields.reason, wn_error_message());
    close_walk(&walk);
    return status;
}

wn_status wn_point_compute(const struct wn_run *run, const struct wn_reference *reference, int64_t point,
                           struct wn_record *record, struct wn_point_report *report)
{
    return compute(run, reference, point, NULL, record, report);
}

wn_status wn_point_compress(const struct wn_run *run, const struct wn_reference *reference, int64_t point,
                            const struct wn_point_sink *sink, struct wn_record *record)
{
    struct wn_point_report report;
    return compute(run, reference, point, sink, record, &report);
}
