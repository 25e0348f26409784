/* SPDX-License-Identifier: Apache-2.0 */
/*
 * left_out.c: scores of depth pruning that single tokens of one pass do not give: what the dense model says without one
 * unit, for every unit, and how far windows of blocks turn the hidden state.
 *
 * A chunk of calibration tokens goes down the blocks once, with the hidden states of all models that have lost a unit
 * above: without the unit of block b they are the dense ones up to b, so it costs only the blocks behind b, and every
 * block is loaded once per chunk. Chunk c is computed by rank c modulo size; sums are made per chunk and added in order
 * of chunks, so the scores are the same for any number of ranks and threads.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <winnow/allocation.h>
#include <winnow/eval.h>

/* Sums that took so long are kept for the next start. */
static const double LONG_SECONDS = 10;

struct pass {
    const struct wn_model *model;
    int64_t n_blocks, width, rows; /* rows of the current chunk */
    const struct wn_left_out_needs *needs;
    struct wn_eval_set set; /* every next token of the calibration sequences, which are borrowed */
    struct wn_target_scores scores;
    struct wn_block *block;
    float *dense, *states;          /* [rows of the longest chunk, width]; states: final-normed, of the targets */
    float **without[WN_DROP_UNITS]; /* [n_blocks] each; NULL where not asked for, or not begun */
    float **before;                 /* [n_blocks] dense states before each block, for windows */
    float *scratch;
    int64_t *offset;
};

/* ---- values: sums, then means ---- */

static int64_t value_count(int64_t n_blocks)
{
    return 2 * WN_DROP_UNITS * n_blocks + (n_blocks + 1) * n_blocks;
}

/* -ln p of the next token, or KL, without a unit. */
static double *unit_value(double *values, int64_t n_blocks, bool divergence, int unit, int64_t block)
{
    return values + ((divergence ? WN_DROP_UNITS : 0) + unit) * n_blocks + block;
}

static double *window_value(double *values, int64_t n_blocks, int64_t length, int64_t first)
{
    return values + (2 * WN_DROP_UNITS + length) * n_blocks + first;
}

double wn_left_out_score(const struct wn_left_out *left_out, const struct wn_params *params, int64_t n_blocks,
                         enum wn_drop_unit unit, int64_t block)
{
    enum wn_drop_score score = wn_drop_score_of(params);
    int64_t length = wn_drop_count(params, n_blocks);
    if (!left_out->values) /* a weight was not finite: the point will meet it */
        return NAN;
    if (score == WN_SCORE_WINDOW)
        return length && block + length <= n_blocks ? *window_value(left_out->values, n_blocks, length, block) : NAN;
    double mean = *unit_value(left_out->values, n_blocks, score == WN_SCORE_KL, (int)unit, block);
    return score == WN_SCORE_KL ? mean : exp(mean);
}

/* ---- what is needed ---- */

void wn_left_out_needs_init(struct wn_left_out_needs *needs, int64_t n_blocks)
{
    *needs = (struct wn_left_out_needs){.n_blocks = n_blocks, .lengths = wn_alloc_zero(n_blocks + 1, sizeof(bool))};
}

void wn_left_out_needs_release(struct wn_left_out_needs *needs)
{
    wn_free(needs->lengths);
    *needs = (struct wn_left_out_needs){0};
}

void wn_left_out_want(struct wn_left_out_needs *needs, const struct wn_recipe *recipe)
{
    const struct wn_params *params = wn_recipe_drop(recipe);
    if (!params || recipe->search || wn_drop_score_of(params) < WN_DROP_SCORES)
        return;
    enum wn_drop_score score = wn_drop_score_of(params);
    enum wn_drop_unit unit = wn_drop_unit_of(params);
    needs->any = true;
    needs->divergence |= score == WN_SCORE_KL;
    if (score == WN_SCORE_WINDOW)
        needs->lengths[wn_drop_count(params, needs->n_blocks)] = true;
    else if (unit == WN_UNIT_BRANCH)
        needs->units[WN_UNIT_ATTENTION] = needs->units[WN_UNIT_MLP] = true;
    else
        needs->units[unit] = true;
}

static int unit_kinds(const struct wn_left_out_needs *needs)
{
    int kinds = 0;
    for (int u = 0; u < WN_DROP_UNITS; u++)
        kinds += needs->units[u];
    return kinds;
}

static bool has_windows(const struct wn_left_out_needs *needs)
{
    for (int64_t length = 1; length <= needs->n_blocks; length++)
        if (needs->lengths[length])
            return true;
    return false;
}

int64_t wn_left_out_passes(const struct wn_left_out_needs *needs, int64_t *models)
{
    int64_t n = needs->n_blocks, kinds = unit_kinds(needs);
    *models = kinds * n * (needs->divergence ? 2 : 1);
    return needs->any ? n + kinds * n * (n - 1) / 2 + (kinds - needs->units[WN_UNIT_BLOCK]) * n / 2 : 0;
}

static int64_t targets_of(const struct wn_sequences *sequences)
{
    int64_t count = 0;
    for (int64_t s = 0; s < sequences->n_sequences; s++) {
        int64_t length = sequences->offset[s + 1] - sequences->offset[s];
        count += length > 1 ? length - 1 : 0;
    }
    return count;
}

int64_t wn_left_out_bytes(const struct wn_left_out_needs *needs, const struct wn_model *model,
                          const struct wn_sequences *sequences)
{
    int64_t n = needs->n_blocks, longest = wn_sequences_longest_chunk(sequences);
    struct wn_eval_set set = {.n_targets = targets_of(sequences), .divergence = needs->divergence};
    int64_t states = 2 + unit_kinds(needs) * n + (has_windows(needs) ? n : 0);
    if (!needs->any)
        return 0;
    return states * longest * model->config.hidden_size * (int64_t)sizeof(float) +
           wn_model_scratch(model, longest) * (int64_t)sizeof(float) + wn_block_bytes(model) +
           set.n_targets * (int64_t)(sizeof(int64_t) + sizeof(int32_t)) + wn_target_scores_bytes(&set) +
           wn_eval_scratch_bytes(model, needs->divergence) + value_count(n) * (int64_t)sizeof(double);
}

int64_t wn_left_out_shared_bytes(const struct wn_left_out_needs *needs, const struct wn_sequences *sequences)
{
    return needs->any ? sequences->n_chunks * (value_count(needs->n_blocks) + 1) * (int64_t)sizeof(double) : 0;
}

/* ---- one chunk ---- */

static float *copy_dense(const struct pass *pass)
{
    float *copy = wn_alloc(pass->rows * pass->width, sizeof(float));
    memcpy(copy, pass->dense, (size_t)(pass->rows * pass->width) * sizeof(float));
    return copy;
}

/* The hidden states of the models that lose their unit in this block, behind it. */
static void begin_without(struct pass *pass, int64_t b, const struct wn_chunk *chunk)
{
    for (int u = 0; u < WN_DROP_UNITS; u++) {
        struct wn_block view = *pass->block;
        if (!pass->needs->units[u])
            continue;
        pass->without[u][b] = copy_dense(pass);
        if (u == WN_UNIT_BLOCK)
            continue;
        view.skip[u == WN_UNIT_ATTENTION ? WN_BRANCH_ATTENTION : WN_BRANCH_MLP] = true;
        wn_model_run_block(pass->model, &view, chunk, pass->without[u][b], pass->scratch, NULL);
    }
}

/* Windows that end with block b. */
static void add_windows(const struct pass *pass, int64_t b, double *values)
{
    for (int64_t length = 1; length <= b + 1; length++) {
        double sums[WN_DROP_SCORES] = {0};
        int64_t first = b + 1 - length;
        if (!pass->needs->lengths[length])
            continue;
        wn_drop_scores_add(pass->before[first], pass->dense, NULL, pass->rows, pass->width, sums);
        *window_value(values, pass->n_blocks, length, first) = sums[WN_SCORE_BLOCK_INFLUENCE];
    }
}

static void run_block(struct pass *pass, int64_t b, const struct wn_chunk *chunk, double *values)
{
    for (int u = 0; u < WN_DROP_UNITS; u++)
        for (int64_t i = 0; pass->needs->units[u] && i < b; i++)
            wn_model_run_block(pass->model, pass->block, chunk, pass->without[u][i], pass->scratch, NULL);
    begin_without(pass, b, chunk);
    if (pass->before)
        pass->before[b] = copy_dense(pass);
    wn_model_run_block(pass->model, pass->block, chunk, pass->dense, pass->scratch, NULL);
    if (pass->before)
        add_windows(pass, b, values);
}

static void score_chunk(struct pass *pass, int64_t c, double *values)
{
    int64_t first, count = wn_eval_chunk_targets(&pass->set, c, &first);
    if (count && pass->set.divergence)
        wn_eval_dense_states(pass->model, &pass->set, c, pass->dense, pass->states);
    for (int u = 0; u < WN_DROP_UNITS; u++)
        for (int64_t b = 0; count && pass->needs->units[u] && b < pass->n_blocks; b++) {
            double *loss = unit_value(values, pass->n_blocks, false, u, b);
            double *divergence = unit_value(values, pass->n_blocks, true, u, b);
            wn_eval_score_chunk(pass->model, &pass->set, c, pass->without[u][b],
                                pass->set.divergence ? pass->states : NULL, &pass->scores);
            for (int64_t t = first; t < first + count; t++) {
                *loss += pass->scores.loss[t];
                *divergence += pass->set.divergence ? pass->scores.kl[t] : 0;
            }
        }
}

static void free_states(struct pass *pass)
{
    for (int64_t b = 0; b < pass->n_blocks; b++) {
        for (int u = 0; u < WN_DROP_UNITS; u++) {
            wn_free(pass->without[u][b]);
            pass->without[u][b] = NULL;
        }
        if (pass->before) {
            wn_free(pass->before[b]);
            pass->before[b] = NULL;
        }
    }
}

/* Sums over the tokens and targets of a chunk; values are zeros before. */
static wn_status compute_chunk(struct pass *pass, int64_t c, double *values)
{
    const struct wn_sequences *sequences = &pass->set.sequences;
    struct wn_chunk chunk;
    wn_status status = WN_OK;
    int64_t row = wn_sequences_chunk(sequences, c, pass->offset, &chunk);
    pass->rows = chunk.offset[chunk.n_sequences];
    wn_sequences_embed(pass->model, sequences, row, pass->rows, pass->dense);
    for (int64_t b = 0; b < pass->n_blocks && status == WN_OK; b++) {
        status = wn_model_load_block(pass->model, b, pass->block);
        if (status == WN_OK)
            run_block(pass, b, &chunk, values);
    }
    if (status == WN_OK)
        score_chunk(pass, c, values);
    free_states(pass);
    return status;
}

/* ---- the set ---- */

/* Every next token is a target. */
static void open_set(struct pass *pass, const struct wn_sequences *sequences)
{
    struct wn_eval_set *set = &pass->set;
    int64_t t = 0;
    *set = (struct wn_eval_set){
        .sequences = *sequences, .divergence = pass->needs->divergence, .n_targets = targets_of(sequences)};
    set->target_row = wn_alloc(set->n_targets, sizeof *set->target_row);
    set->target_id = wn_alloc(set->n_targets, sizeof *set->target_id);
    for (int64_t s = 0; s < sequences->n_sequences; s++)
        for (int64_t row = sequences->offset[s]; row + 1 < sequences->offset[s + 1]; row++, t++) {
            set->target_row[t] = row;
            set->target_id[t] = sequences->ids[row + 1];
        }
    wn_target_scores_init(&pass->scores, set);
}

static void open_pass(struct pass *pass, const struct wn_sequences *sequences)
{
    int64_t longest = wn_sequences_longest_chunk(sequences);
    open_set(pass, sequences);
    pass->block = wn_block_create(pass->model);
    pass->dense = wn_alloc(longest * pass->width, sizeof(float));
    pass->states = wn_alloc(longest * pass->width, sizeof(float));
    pass->scratch = wn_alloc(wn_model_scratch(pass->model, longest), sizeof(float));
    pass->offset = wn_alloc(sequences->n_sequences + 1, sizeof *pass->offset);
    for (int u = 0; u < WN_DROP_UNITS; u++)
        pass->without[u] = wn_alloc_zero(pass->n_blocks, sizeof(float *));
    if (has_windows(pass->needs))
        pass->before = wn_alloc_zero(pass->n_blocks, sizeof(float *));
}

static void close_pass(struct pass *pass)
{
    wn_target_scores_release(&pass->scores);
    wn_free(pass->set.target_row);
    wn_free(pass->set.target_id);
    wn_block_destroy(&pass->block, pass->model);
    wn_free(pass->dense);
    wn_free(pass->states);
    wn_free(pass->scratch);
    wn_free(pass->offset);
    for (int u = 0; u < WN_DROP_UNITS; u++)
        wn_free(pass->without[u]);
    wn_free(pass->before);
}

/* Sums of all chunks, each with a number behind them: 1, they are there. */
struct sums {
    int64_t stride; /* numbers of a chunk */
    struct wn_shared shared;
    double *values;
};

static double *sums_of(const struct sums *sums, int64_t chunk)
{
    return sums->values + chunk * sums->stride;
}

static bool is_there(const struct sums *sums, int64_t chunk)
{
    return sums_of(sums, chunk)[sums->stride - 1] == 1;
}

/* Adds the chunks' sums in order and divides: means, on every rank. */
static double *add_chunks(const struct pass *pass, const struct sums *sums)
{
    int64_t count = value_count(pass->n_blocks), windows = 2 * WN_DROP_UNITS * pass->n_blocks;
    const struct wn_sequences *sequences = &pass->set.sequences;
    double *values = wn_alloc_zero(count, sizeof *values);
    for (int64_t c = 0; c < sequences->n_chunks; c++)
        for (int64_t i = 0; i < count; i++)
            values[i] += sums_of(sums, c)[i];
    for (int64_t i = 0; i < count; i++)
        values[i] /= (double)(i < windows ? pass->set.n_targets : wn_sequences_tokens(sequences));
    return values;
}

/* ---- what a stop leaves ---- */

/* `what` gets in words what of the sums is asked for. */
static struct wn_state make_state(const struct pass *pass, const char *name, struct wn_text *what)
{
    wn_text_printf(what, "sums of units");
    for (int u = 0; u < WN_DROP_UNITS; u++)
        wn_text_printf(what, " %d", pass->needs->units[u]);
    wn_text_printf(what, ", divergence %d, windows", pass->needs->divergence);
    for (int64_t length = 1; length <= pass->n_blocks; length++)
        if (pass->needs->lengths[length])
            wn_text_printf(what, " %lld", (long long)length);
    return (struct wn_state){.name = name, .what = what->data, .point = -1, .step = 1, .steps = 1};
}

/* Every node reads what an earlier start has left. Collective. */
static void resume_chunks(struct wn_par *par, struct wn_saver *saver, const struct wn_state *state, struct sums *sums)
{
    struct wn_state_piece piece = {sums->values, sums->shared.bytes};
    if (wn_par_node_rank(par) == 0 && wn_state_step(saver, state) && wn_state_read(saver, state, &piece, 1) != WN_OK)
        wn_log(WN_LOG_WARNING, "drop scores start again: %s", wn_error_message());
    wn_par_barrier(par);
}

/* The nodes may have read different files: only what all have is taken. Collective. */
static void agree_on_chunks(struct wn_par *par, const struct pass *pass, struct sums *sums, bool *there)
{
    for (int64_t c = 0; c < pass->set.sequences.n_chunks; c++)
        there[c] = !wn_par_max(par, !is_there(sums, c));
    wn_par_barrier(par);
}

static void save_chunks(struct wn_par *par, struct wn_saver *saver, const struct wn_state *state, struct sums *sums)
{
    struct wn_state_piece piece = {sums->values, sums->shared.bytes};
    if (wn_par_rank(par) == 0)
        wn_state_write(saver, state, &piece, 1);
}

/* ---- all chunks ---- */

/* My chunks, until a stop is requested. */
static wn_status compute_mine(struct wn_par *par, const struct wn_saver *saver, struct pass *pass, const bool *there,
                              struct sums *sums)
{
    bool stops = false;
    for (int64_t c = 0; c < pass->set.sequences.n_chunks; c++) {
        if (c % wn_par_size(par) != wn_par_rank(par) || there[c])
            continue;
        if (stops)
            return wn_fail(WN_ERR_INTERRUPTED, "stopped before any point: drop scores are not finished");
        memset(sums_of(sums, c), 0, (size_t)sums->stride * sizeof(double)); /* another node may lack what is here */
        WN_TRY(compute_chunk(pass, c, sums_of(sums, c)));
        sums_of(sums, c)[sums->stride - 1] = 1;
        stops = wn_par_stop_requested() || (saver && wn_seconds() > saver->end);
    }
    return WN_OK;
}

/* Every node gets the sums of every chunk. Collective. */
static void share_chunks(struct wn_par *par, int64_t n_chunks, struct sums *sums)
{
    int64_t *offset = wn_alloc(n_chunks + 1, sizeof *offset);
    int *owner = wn_alloc(n_chunks, sizeof *owner);
    for (int64_t c = 0; c <= n_chunks; c++)
        offset[c] = c * sums->stride * (int64_t)sizeof(double);
    for (int64_t c = 0; c < n_chunks; c++)
        owner[c] = (int)(c % wn_par_size(par));
    wn_par_shared_exchange(par, &sums->shared, n_chunks, offset, owner);
    wn_free(offset);
    wn_free(owner);
}

/* Collective. */
static wn_status compute_chunks(struct wn_par *par, struct wn_saver *saver, const struct wn_state *state,
                                struct pass *pass, double **values)
{
    int64_t n_chunks = pass->set.sequences.n_chunks;
    struct sums sums = {.stride = value_count(pass->n_blocks) + 1};
    double start = wn_seconds();
    WN_TRY(wn_par_shared_create(par, NULL, n_chunks * sums.stride * (int64_t)sizeof(double), &sums.shared));
    sums.values = sums.shared.data;
    bool *there = wn_alloc_zero(n_chunks, sizeof *there);
    if (saver) {
        resume_chunks(par, saver, state, &sums);
        agree_on_chunks(par, pass, &sums, there);
    }
    wn_status status = wn_par_agree(par, compute_mine(par, saver, pass, there, &sums));
    if (status == WN_OK || status == WN_ERR_INTERRUPTED)
        share_chunks(par, n_chunks, &sums);
    if (saver && (status == WN_ERR_INTERRUPTED || wn_par_max(par, wn_seconds() - start > LONG_SECONDS)))
        save_chunks(par, saver, state, &sums);
    if (status == WN_OK)
        *values = add_chunks(pass, &sums);
    wn_free(there);
    wn_par_shared_release(&sums.shared);
    return status;
}

wn_status wn_left_out_compute(struct wn_par *par, struct wn_saver *saver, const char *name,
                              const struct wn_model *model, const struct wn_sequences *calibration,
                              const struct wn_left_out_needs *needs, struct wn_left_out *left_out)
{
    struct pass pass = {
        .model = model, .n_blocks = needs->n_blocks, .width = model->config.hidden_size, .needs = needs};
    struct wn_text what = {0};
    if (!needs->any)
        return WN_OK;
    struct wn_state state = make_state(&pass, name, &what);
    open_pass(&pass, calibration);
    wn_status status = compute_chunks(par, saver, &state, &pass, &left_out->values);
    close_pass(&pass);
    wn_text_release(&what);
    return status;
}
