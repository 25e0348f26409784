/* The judge: dense states of the calibration sequences, minibatches, and the deal of units to ranks. */
#include "judge_impl.h"

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
    if (spec->fitness != WN_FITNESS_perplexity) {
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

static void open_stage(const struct wn_judge *judge, const int32_t *genomes, int64_t count,
                       const struct wn_minibatch *batch, struct wn_judge_stage *stage)
{
    const struct wn_sequences *from = judge->spec.calibration;

    *stage = (struct wn_judge_stage){.genomes = genomes, .batch = batch};
    wn_sequences_init(&stage->sequences);
    for (int64_t i = 0; i < batch->n_sequences; i++)
        wn_sequences_append(&stage->sequences, from->ids + from->offset[batch->sequence[i]], batch->length[i]);
    wn_sequences_cut(&stage->sequences);
    stage->tokens = wn_alloc(stage->sequences.n_chunks, sizeof *stage->tokens);
    for (int64_t c = 0; c < stage->sequences.n_chunks; c++)
        stage->tokens[c] = chunk_row(&stage->sequences, c + 1) - chunk_row(&stage->sequences, c);
    wn_sharing_create(judge->spec.space, genomes, count, &stage->sharing);
    for (int64_t i = 0; i < count && judge->spec.alone; i++)
        stage->sharing.shared[i] = 0;
}

static void close_stage(struct wn_judge_stage *stage)
{
    wn_sequences_release(&stage->sequences);
    wn_sharing_release(&stage->sharing);
    wn_free(stage->tokens);
}

/* The unit behind a walk from `first`: as many as have at most spec.states states. */
static int64_t walk_end(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end)
{
    int64_t count = stage->sharing.count, states = 0, unit = first;

    for (; unit < end; unit++) {
        bool begins = unit == first || unit % count == 0;
        states += begins || stage->sharing.shared[unit % count] < stage->sharing.n_blocks;
        if (states > judge->spec.states)
            break;
    }
    return unit;
}

static wn_status walk_units(struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end)
{
    for (int64_t next; first < end; first = next) {
        next = walk_end(judge, stage, first, end);
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
    int64_t count = stage->sharing.count, targets = count_targets(&stage->sequences);

    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t c = 0; c < stage->sequences.n_chunks; c++)
            sum += stage->sums[c * count + i];
        fitness[stage->sharing.order[i]] = wn_fitness_finish(judge->spec.fitness, sum, targets);
    }
}

/* My units, then those of all ranks. */
static wn_status share_units(struct wn_judge *judge, struct wn_judge_stage *stage, double *fitness)
{
    int64_t size = wn_par_size(judge->par), units = stage->sequences.n_chunks * stage->sharing.count;
    int64_t *first = wn_alloc(size + 1, sizeof *first);
    int *owner = wn_alloc(size, sizeof *owner);
    struct wn_shared sums;
    wn_status status = wn_par_shared_create(judge->par, NULL, units * (int64_t)sizeof(double), &sums);

    if (status == WN_OK) {
        stage->sums = sums.data;
        wn_sharing_deal(&stage->sharing, stage->tokens, stage->sequences.n_chunks, size, first);
        int rank = wn_par_rank(judge->par);
        status = wn_par_agree(judge->par, walk_units(judge, stage, first[rank], first[rank + 1]));
    }
    if (status == WN_OK) {
        for (int64_t r = 0; r <= size; r++) {
            first[r] *= (int64_t)sizeof(double);
            if (r < size)
                owner[r] = (int)r;
        }
        wn_par_shared_exchange(judge->par, &sums, size, first, owner);
        finish_stage(judge, stage, fitness);
    }
    wn_par_shared_release(&sums);
    wn_free(first);
    wn_free(owner);
    return status;
}

wn_status wn_judge_evaluate(void *context, const int32_t *genomes, int64_t count, const struct wn_minibatch *batch,
                            double *fitness)
{
    struct wn_judge *judge = context;
    struct wn_judge_stage stage;

    open_stage(judge, genomes, count, batch, &stage);
    wn_status status = share_units(judge, &stage, fitness);
    close_stage(&stage);
    return status;
}

/* ---- memory ---- */

int64_t wn_judge_shared_bytes(const struct wn_judge_spec *spec)
{
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

int64_t wn_judge_bytes(const struct wn_judge_spec *spec)
{
    const struct wn_model *model = spec->model;
    int64_t longest = longest_chunk(spec->calibration), width = model->config.hidden_size;
    int64_t vocabulary = model->config.vocab_size, tile = wn_judge_tile_rows(vocabulary);
    int64_t walk = (spec->states * longest * width + wn_model_scratch(model, longest)) * (int64_t)sizeof(float) +
                   wn_block_bytes(model) + 2 * wn_model_block_weights(model) * (int64_t)sizeof(float) +
                   spec->rule_bytes;
    int64_t score = (spec->states * longest * width + 2 * tile * (width + vocabulary) + wn_model_head_scratch(model)) *
                    (int64_t)sizeof(float);

    return walk > score ? walk : score;
}
