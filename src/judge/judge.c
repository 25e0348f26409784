/* SPDX-License-Identifier: Apache-2.0 */
/* The judge: dense states of the calibration sequences, minibatches, and the deal of units to ranks. */
#include "judge_impl.h"

static bool needs_dense(const struct wn_judge_spec *spec)
{
    return spec->fitness != WN_FITNESS_perplexity && spec->fitness != WN_FITNESS_task;
}

/* ---- the dense model ---- */

/* The chunks of a rank: side by side, in even numbers. */
static int64_t first_chunk(const struct wn_sequences *sequences, int64_t rank, int64_t size)
{
    return sequences->n_chunks * rank / size;
}

static int64_t chunk_row(const struct wn_sequences *sequences, int64_t chunk)
{
    return sequences->offset[sequences->chunk[chunk]];
}

/* Chunks first .. end - 1 down all blocks, in place in the shared memory. */
static wn_status run_dense(const struct wn_judge *judge, int64_t first, int64_t end)
{
    const struct wn_model *model = judge->spec.model;
    const struct wn_sequences *sequences = judge->spec.calibration;
    const int64_t width = model->config.hidden_size, begin = chunk_row(sequences, first);
    const int64_t rows = chunk_row(sequences, end) - begin, longest = wn_sequences_longest_chunk(sequences);
    float *hidden = (float *)judge->dense.data + begin * width;
    struct wn_block *block = wn_block_create(model);
    float *scratch = wn_alloc(wn_model_scratch(model, longest), sizeof *scratch);
    int64_t *offset = wn_alloc(sequences->n_sequences + 1, sizeof *offset);
    wn_status status = WN_OK;

    wn_sequences_embed(model, sequences, begin, rows, hidden);
    for (int64_t b = 0; b < model->config.n_blocks && status == WN_OK; b++) {
        status = wn_model_load_block(model, b, block);
        if (status == WN_OK)
            wn_sequences_run(model, block, sequences, first, end, hidden, longest, scratch, offset, NULL);
    }
    if (status == WN_OK)
        wn_model_final_norm(model, hidden, rows, hidden);
    wn_free(offset);
    wn_free(scratch);
    wn_block_destroy(&block, model);
    return status;
}

/* Every rank computes its chunks, and every node gets all. */
static wn_status share_dense(struct wn_judge *judge)
{
    const struct wn_sequences *sequences = judge->spec.calibration;
    const int64_t row = judge->spec.model->config.hidden_size * (int64_t)sizeof(float);
    int64_t size = wn_par_size(judge->par), rank = wn_par_rank(judge->par);
    int64_t first = first_chunk(sequences, rank, size), end = first_chunk(sequences, rank + 1, size);
    wn_status status = first < end ? run_dense(judge, first, end) : WN_OK;

    WN_TRY(wn_par_agree(judge->par, status));
    int64_t *offset = wn_alloc(size + 1, sizeof *offset);
    int *owner = wn_alloc(size, sizeof *owner);
    for (int64_t r = 0; r <= size; r++) {
        offset[r] = chunk_row(sequences, first_chunk(sequences, r, size)) * row;
        if (r < size)
            owner[r] = (int)r;
    }
    wn_par_shared_exchange(judge->par, &judge->dense, size, offset, owner);
    wn_free(offset);
    wn_free(owner);
    return WN_OK;
}

wn_status wn_judge_open(struct wn_par *par, const struct wn_judge_spec *spec, struct wn_judge **judge)
{
    wn_status status = WN_OK;

    *judge = wn_alloc_zero(1, sizeof **judge);
    (*judge)->par = par;
    (*judge)->spec = *spec;
    if (needs_dense(spec)) {
        status = wn_par_shared_create(par, NULL, wn_judge_shared_bytes(spec), &(*judge)->dense);
        if (status == WN_OK)
            status = share_dense(*judge);
    }
    if (status != WN_OK)
        wn_judge_close(judge);
    return status;
}

void wn_judge_close(struct wn_judge **judge)
{
    if (*judge)
        wn_par_shared_release(&(*judge)->dense);
    wn_free(*judge);
    *judge = NULL;
}

struct wn_judge_work wn_judge_work(const struct wn_judge *judge)
{
    return judge->work;
}

/* ---- a stage ---- */

int64_t wn_judge_result(const struct wn_judge_stage *stage, int64_t unit)
{
    int64_t count = stage->sharing.count, part = unit / count;

    return stage->numbers[part] * count + unit % count * (stage->numbers[part + 1] - stage->numbers[part]);
}

/* Sequences of the calibration set. */
static void open_sequences(const struct wn_judge *judge, struct wn_judge_stage *stage)
{
    const struct wn_sequences *from = judge->spec.calibration;
    const struct wn_minibatch *batch = stage->batch;

    for (int64_t i = 0; i < batch->n_sequences; i++)
        wn_sequences_append(&stage->set.sequences, from->ids + from->offset[batch->sequence[i]], batch->length[i]);
    wn_sequences_cut(&stage->set.sequences);
}

/* Tokens and numbers of every part. States of long parts are fewer. */
static void count_parts(const struct wn_judge *judge, struct wn_judge_stage *stage)
{
    const struct wn_sequences *sequences = &stage->set.sequences;
    int64_t longest = WN_CHUNK_TOKENS;

    stage->n_parts = wn_sequences_parts(sequences);
    stage->tokens = wn_alloc(stage->n_parts, sizeof *stage->tokens);
    stage->numbers = wn_alloc_zero(stage->n_parts + 1, sizeof *stage->numbers);
    for (int64_t p = 0; p < stage->n_parts; p++) {
        stage->tokens[p] = chunk_row(sequences, wn_sequences_part(sequences, p + 1)) -
                           chunk_row(sequences, wn_sequences_part(sequences, p));
        stage->numbers[p + 1] = stage->numbers[p] + (judge->spec.items ? wn_judge_item_numbers(stage, p) : 1);
        longest = stage->tokens[p] > longest ? stage->tokens[p] : longest;
    }
    stage->states = judge->spec.items ? judge->spec.states * WN_CHUNK_TOKENS / longest : judge->spec.states;
    stage->states = stage->states < 1 ? 1 : stage->states;
}

static void open_stage(const struct wn_judge *judge, const int32_t *genomes, int64_t count,
                       const struct wn_minibatch *batch, struct wn_judge_stage *stage)
{
    *stage = (struct wn_judge_stage){.genomes = genomes, .batch = batch};
    wn_eval_set_init(&stage->set);
    if (judge->spec.items)
        wn_judge_open_items(judge, stage);
    else
        open_sequences(judge, stage);
    wn_sharing_create(judge->spec.space, genomes, count, &stage->sharing);
    for (int64_t i = 0; i < count && judge->spec.alone; i++)
        stage->sharing.shared[i] = 0;
    count_parts(judge, stage);
}

static void close_stage(struct wn_judge_stage *stage)
{
    wn_eval_set_release(&stage->set);
    wn_sharing_release(&stage->sharing);
    wn_free(stage->tokens);
    wn_free(stage->numbers);
}

/* The unit behind a walk from `first`: as many as have at most stage->states states. */
static int64_t walk_end(const struct wn_judge_stage *stage, int64_t first, int64_t end)
{
    int64_t count = stage->sharing.count, states = 0, unit = first;

    for (; unit < end; unit++) {
        bool begins = unit == first || unit % count == 0;
        states += begins || stage->sharing.shared[unit % count] < stage->sharing.n_blocks;
        if (states > stage->states)
            break;
    }
    return unit;
}

static wn_status walk_units(struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end)
{
    for (int64_t next; first < end; first = next) {
        next = walk_end(stage, first, end);
        WN_TRY(wn_judge_walk(judge, stage, first, next));
    }
    return WN_OK;
}

/* Predictions: every token of a sequence but its last one. */
static int64_t count_targets(const struct wn_sequences *sequences)
{
    int64_t count = 0;

    for (int64_t s = 0; s < sequences->n_sequences; s++)
        count += sequences->offset[s + 1] - sequences->offset[s] - 1;
    return count;
}

/* Sums of the units of a candidate, in the order of chunks. */
static void finish_stage(const struct wn_judge *judge, const struct wn_judge_stage *stage, double *fitness)
{
    int64_t count = stage->sharing.count, targets = count_targets(&stage->set.sequences);

    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t c = 0; c < stage->n_parts; c++)
            sum += stage->results[c * count + i];
        fitness[stage->sharing.order[i]] = wn_fitness_finish(judge->spec.fitness, sum, targets);
    }
}

/* My units, then those of all ranks. */
static wn_status share_units(struct wn_judge *judge, struct wn_judge_stage *stage)
{
    int64_t size = wn_par_size(judge->par), units = stage->n_parts * stage->sharing.count;
    int64_t *first = wn_alloc(size + 1, sizeof *first);
    int *owner = wn_alloc(size, sizeof *owner);

    wn_sharing_deal(&stage->sharing, stage->tokens, stage->n_parts, size, first);
    int rank = wn_par_rank(judge->par);
    wn_status status = wn_par_agree(judge->par, walk_units(judge, stage, first[rank], first[rank + 1]));
    for (int64_t r = 0; r <= size; r++) {
        first[r] = (first[r] < units ? wn_judge_result(stage, first[r])
                                     : stage->numbers[stage->n_parts] * stage->sharing.count) *
                   (int64_t)sizeof(double);
        if (r < size)
            owner[r] = (int)r;
    }
    if (status == WN_OK)
        wn_par_shared_exchange(judge->par, &judge->results, size, first, owner);
    wn_free(first);
    wn_free(owner);
    return status;
}

wn_status wn_judge_evaluate(void *context, const int32_t *genomes, int64_t count, const struct wn_minibatch *batch,
                            double *fitness, double *accuracy)
{
    struct wn_judge *judge = context;
    struct wn_judge_stage stage;

    open_stage(judge, genomes, count, batch, &stage);
    wn_status status = wn_par_shared_create(
        judge->par, NULL, stage.numbers[stage.n_parts] * count * (int64_t)sizeof(double), &judge->results);
    stage.results = judge->results.data;
    if (status == WN_OK)
        status = share_units(judge, &stage);
    if (status == WN_OK && judge->spec.items)
        wn_judge_finish_items(judge, &stage, fitness, accuracy);
    else if (status == WN_OK)
        finish_stage(judge, &stage, fitness);
    wn_par_shared_release(&judge->results);
    close_stage(&stage);
    return status;
}

/* ---- memory ---- */

int64_t wn_judge_shared_bytes(const struct wn_judge_spec *spec)
{
    if (!needs_dense(spec))
        return 0;
    return wn_sequences_tokens(spec->calibration) * spec->model->config.hidden_size * (int64_t)sizeof(float);
}

/* Tokens of the longest chunk that a minibatch can have. */
static int64_t longest_chunk(const struct wn_sequences *sequences)
{
    int64_t longest = WN_CHUNK_TOKENS;

    for (int64_t s = 0; s < sequences->n_sequences; s++) {
        int64_t length = sequences->offset[s + 1] - sequences->offset[s];
        longest = length > longest ? length : longest;
    }
    return longest < wn_sequences_tokens(sequences) ? longest : wn_sequences_tokens(sequences);
}

/* Of the scores of a part that is as long as one with common prefixes can be, and of the keys and values it keeps. */
static int64_t item_bytes(const struct wn_judge_spec *spec, int64_t part)
{
    const struct wn_config *config = &spec->model->config;
    int64_t targets = spec->items->target[spec->items->count];

    return 2 * part * config->n_kv_heads * config->head_dim * (int64_t)sizeof(float) +
           wn_eval_scratch_bytes(spec->model, false) + 2 * targets * (int64_t)(sizeof(double) + sizeof(int64_t));
}

int64_t wn_judge_bytes(const struct wn_judge_spec *spec)
{
    const struct wn_model *model = spec->model;
    const struct wn_sequences *sequences = spec->items ? &spec->items->sequences : spec->calibration;
    int64_t longest = longest_chunk(sequences), width = model->config.hidden_size, all = wn_sequences_tokens(sequences);
    int64_t vocabulary = model->config.vocab_size, tile = wn_judge_tile_rows(vocabulary);
    int64_t part = spec->items && all > longest ? (all < WN_PART_TOKENS ? all : WN_PART_TOKENS) : longest;
    int64_t rows = spec->states * longest > part ? spec->states * longest : part;
    int64_t walk = (rows * width + wn_model_scratch(model, longest)) * (int64_t)sizeof(float) + wn_block_bytes(model) +
                   2 * wn_model_block_weights(model) * (int64_t)sizeof(float) + spec->rule_bytes;
    int64_t score =
        (rows * width + 2 * tile * (width + vocabulary) + wn_model_head_scratch(model)) * (int64_t)sizeof(float);

    return (walk > score ? walk : score) + (spec->items ? item_bytes(spec, part) : 0);
}
