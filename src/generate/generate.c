/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batched decoding. The texts of a batch own slots of one key-value cache: first those of the tokens that all prompts
 * of the batch begin with (run once), then those of each text, prompt and generated tokens in order. A step runs one
 * row of each text that goes on, in the order of the batch. Where longrope changes the rotary positions of all tokens,
 * a text that has grown to that length is run anew, once, as in transformers.
 */
#include <winnow/generate.h>
#include <winnow/linalg.h>

#include <omp.h>
#include <string.h>

enum { LEAST_PREFIX = 16 }; /* a shorter common beginning is run with each prompt */

/* Sizes of a batch: a function of the prompts. */
struct shape {
    int64_t first, n_texts;
    int64_t prefix;       /* tokens run once; 0: none */
    int64_t slots;        /* of the cache */
    int64_t longest_rows; /* of one call of run_rows */
};

struct batch {
    const struct wn_kept_blocks *kept;
    const struct wn_generation *generation;
    struct wn_generated *generated;
    struct shape shape;
    int64_t *base, *length; /* [texts] first own slot; tokens in own slots */
    int64_t *live, n_live;  /* texts that go on, as numbers in the batch */
    float *keys, *values;   /* [blocks, slots, kv width] */
    /* of one call of run_rows, one sequence for each text in it */
    int64_t *offset, *start, *first_span, *keep;
    struct wn_span *spans;
    int64_t n_sequences;
    int32_t *ids;
    int64_t *positions;
    float *hidden, *scratch;
    float *states, *logits; /* [texts, hidden], [texts, vocabulary] */
};

static const struct wn_prompt *prompt_of(const struct wn_generation *generation, int64_t text)
{
    return &generation->prompts[text / generation->draws];
}

/* Tokens of the longest text whose keys are those of a shorter one. */
static int64_t longest_kept(const struct wn_model *model)
{
    return wn_rope_limit(&model->config.rope);
}

/* Whether a text may grow beyond that length; all of it is run then. */
static bool may_outgrow(const struct wn_prompt *prompt, int64_t longest)
{
    return prompt->count + prompt->most - 1 > longest;
}

static bool may_be_run_anew(const struct wn_prompt *prompt, int64_t longest)
{
    return prompt->count <= longest && may_outgrow(prompt, longest);
}

/* ---- shape ---- */

/* Tokens that all prompts begin with; at least one of each is left for the text itself. */
static int64_t common_prefix(const struct wn_generation *generation, int64_t first, int64_t n_texts)
{
    const struct wn_prompt *one = prompt_of(generation, first);
    int64_t prefix = one->count - 1;
    for (int64_t t = 1; t < n_texts; t++) {
        const struct wn_prompt *other = prompt_of(generation, first + t);
        int64_t same = 0;
        prefix = other->count - 1 < prefix ? other->count - 1 : prefix;
        while (same < prefix && one->ids[same] == other->ids[same])
            same++;
        prefix = same;
    }
    return n_texts > 1 && prefix >= LEAST_PREFIX ? prefix : 0;
}

/* Texts from `text` on whose prompts go through the blocks together: as many as fit into a chunk, at least one. */
static int64_t prefill_end(const struct wn_generation *generation, const struct shape *shape, int64_t text,
                           int64_t *rows)
{
    int64_t end = text;
    *rows = 0;
    while (end < shape->n_texts) {
        int64_t more = prompt_of(generation, shape->first + end)->count - shape->prefix;
        if (end > text && *rows + more > WN_CHUNK_TOKENS)
            break;
        *rows += more;
        end++;
    }
    return end;
}

static struct shape shape_of(const struct wn_model *model, const struct wn_generation *generation, int64_t batch)
{
    struct shape shape = {0};
    int64_t rows, longest = longest_kept(model), anew = 0;
    bool outgrow = false;
    shape.n_texts = wn_generation_batch(generation, batch, &shape.first);
    for (int64_t t = 0; t < shape.n_texts; t++) {
        const struct wn_prompt *prompt = prompt_of(generation, shape.first + t);
        outgrow |= may_outgrow(prompt, longest);
        anew = may_be_run_anew(prompt, longest) ? longest + 1 : anew;
    }
    shape.prefix = outgrow ? 0 : common_prefix(generation, shape.first, shape.n_texts);
    shape.slots = shape.longest_rows = shape.prefix;
    for (int64_t t = 0; t < shape.n_texts; t++) {
        const struct wn_prompt *prompt = prompt_of(generation, shape.first + t);
        shape.slots += prompt->count - shape.prefix + prompt->most - 1; /* the last token is not run */
    }
    for (int64_t t = 0; t < shape.n_texts;) {
        t = prefill_end(generation, &shape, t, &rows);
        shape.longest_rows = rows > shape.longest_rows ? rows : shape.longest_rows;
    }
    if (shape.longest_rows < shape.n_texts)
        shape.longest_rows = shape.n_texts;
    if (shape.longest_rows < anew)
        shape.longest_rows = anew;
    return shape;
}

/* ---- memory; wn_generate_bytes uses the same numbers ---- */

static int64_t cache_floats(const struct wn_model *model, const struct shape *shape)
{
    return model->config.n_blocks * shape->slots * model->config.n_kv_heads * model->config.head_dim;
}

static void open_batch(struct batch *b)
{
    const struct wn_model *model = b->kept->model;
    int64_t n = b->shape.n_texts, rows = b->shape.longest_rows, width = model->config.hidden_size;
    int64_t slot = b->shape.prefix;
    b->base = wn_alloc(n, sizeof *b->base);
    b->length = wn_alloc_zero(n, sizeof *b->length);
    b->live = wn_alloc(n, sizeof *b->live);
    b->keys = wn_alloc(cache_floats(model, &b->shape), sizeof *b->keys);
    b->values = wn_alloc(cache_floats(model, &b->shape), sizeof *b->values);
    b->offset = wn_alloc_zero(n + 1, sizeof *b->offset);
    b->start = wn_alloc(n, sizeof *b->start);
    b->first_span = wn_alloc_zero(n + 1, sizeof *b->first_span);
    b->keep = wn_alloc(n, sizeof *b->keep);
    b->spans = wn_alloc(2 * n, sizeof *b->spans);
    b->ids = wn_alloc(rows, sizeof *b->ids);
    b->positions = wn_alloc(rows, sizeof *b->positions);
    b->hidden = wn_alloc(rows * width, sizeof *b->hidden);
    b->scratch = wn_alloc(wn_model_scratch(model, rows), sizeof *b->scratch);
    b->states = wn_alloc(n * width, sizeof *b->states);
    b->logits = wn_alloc(n * model->config.vocab_size, sizeof *b->logits);
    for (int64_t t = 0; t < n; t++) {
        const struct wn_prompt *prompt = prompt_of(b->generation, b->shape.first + t);
        b->base[t] = slot;
        slot += prompt->count - b->shape.prefix + prompt->most - 1;
    }
}

static void close_batch(struct batch *b)
{
    void *parts[] = {b->base, b->length, b->live, b->keys,      b->values, b->offset,  b->start,  b->first_span,
                     b->keep, b->spans,  b->ids,  b->positions, b->hidden, b->scratch, b->states, b->logits};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        wn_free(parts[i]);
}

/* Packed weights on their way: the longest panel of a tile for every thread, and what unpacking a row takes. */
static int64_t panel_bytes(const struct wn_model *model)
{
    int64_t most = 0;
    for (int l = 0; l < model->layout.n_linears; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        int64_t rows = linear->rows < WN_TILE_COLUMNS ? linear->rows : WN_TILE_COLUMNS, columns = linear->columns;
        int64_t panel = rows * columns > wn_few_rows_panel(columns) ? rows * columns : wn_few_rows_panel(columns);
        int64_t bytes = (panel + 6 * (columns + 8)) * (int64_t)sizeof(float);
        most = bytes > most ? bytes : most;
    }
    return most * omp_get_max_threads();
}

int64_t wn_generate_bytes(const struct wn_model *model, const struct wn_generation *generation)
{
    int64_t most = 0, width = model->config.hidden_size, widest = width;
    for (int i = 0; i < model->layout.n_inputs; i++)
        widest = model->layout.input_widths[i] > widest ? model->layout.input_widths[i] : widest;
    const int64_t panels = panel_bytes(model);
    for (int64_t i = 0; i < wn_generation_batches(generation); i++) {
        struct shape shape = shape_of(model, generation, i);
        int64_t n = shape.n_texts, rows = shape.longest_rows;
        int64_t floats = 2 * cache_floats(model, &shape) + rows * (width + 3) + wn_model_scratch(model, rows) +
                         n * (width + model->config.vocab_size) + wn_few_rows_inputs(widest);
        int64_t bytes = panels + floats * (int64_t)sizeof(float) + (7 * n + 2) * (int64_t)sizeof(int64_t) +
                        2 * n * (int64_t)sizeof(struct wn_span);
        most = bytes > most ? bytes : most;
    }
    return most;
}

/* Rows of the steps of a batch: text t is in step k while k < most - 1. */
static void add_steps(const struct wn_generation *generation, const struct shape *shape, struct wn_generate_work *work)
{
    for (int64_t step = 0; step + 1 < generation->most; step++) {
        double rows = 0;
        for (int64_t t = 0; t < shape->n_texts; t++)
            rows += step + 1 < prompt_of(generation, shape->first + t)->most;
        work->rows += rows;
        work->step_rows += rows > 0 && rows < WN_GENERATE_STEP_ROWS ? WN_GENERATE_STEP_ROWS : rows;
    }
}

void wn_generate_work(const struct wn_model *model, const struct wn_generation *generation,
                      struct wn_generate_work *work)
{
    *work = (struct wn_generate_work){0};
    for (int64_t i = 0; i < wn_generation_batches(generation); i++) {
        struct shape shape = shape_of(model, generation, i);
        double prefix = (double)shape.prefix;
        work->prompt_rows += prefix;
        work->pairs += prefix * prefix / 2;
        for (int64_t t = 0; t < shape.n_texts; t++) {
            const struct wn_prompt *prompt = prompt_of(generation, shape.first + t);
            double length = (double)(prompt->count + prompt->most - 1);
            double anew = may_be_run_anew(prompt, longest_kept(model)) ? (double)longest_kept(model) + 1 : 0;
            work->prompt_rows += (double)prompt->count - prefix + anew;
            work->pairs += (length * length - prefix * prefix + anew * anew) / 2;
        }
        add_steps(generation, &shape, work);
    }
}

/* ---- rows ---- */

/* Adds `count` rows of a text (-1: of the common prefix) that continue what it has in the cache. */
static void add_rows(struct batch *b, int64_t text, const int32_t *ids, int64_t count)
{
    int64_t s = b->n_sequences, span = b->first_span[s], have = text < 0 ? 0 : b->length[text];
    int64_t prefix = text < 0 ? 0 : b->shape.prefix;
    if (prefix)
        b->spans[span++] = (struct wn_span){0, prefix};
    if (have)
        b->spans[span++] = (struct wn_span){b->base[text], have};
    b->first_span[s + 1] = span;
    b->start[s] = prefix + have;
    b->keep[s] = text < 0 ? 0 : b->base[text] + have;
    memcpy(b->ids + b->offset[s], ids, (size_t)count * sizeof *ids);
    b->offset[s + 1] = b->offset[s] + count;
    if (text >= 0)
        b->length[text] += count;
    b->n_sequences++;
}

/* Runs the rows that were added through all blocks. */
static void run_rows(struct batch *b)
{
    const struct wn_model *model = b->kept->model;
    int64_t kv = b->shape.slots * model->config.n_kv_heads * model->config.head_dim;
    struct wn_past past = {.spans = b->spans, .first_span = b->first_span, .keep = b->keep};
    struct wn_chunk chunk = {.n_sequences = b->n_sequences, .offset = b->offset, .start = b->start, .past = &past};
    for (int64_t s = 0; s < b->n_sequences; s++)
        for (int64_t row = b->offset[s]; row < b->offset[s + 1]; row++)
            b->positions[row] = b->start[s] + row - b->offset[s];
    wn_model_embed(model, b->ids, b->positions, b->offset[b->n_sequences], b->hidden);
    for (int64_t i = 0; i < model->config.n_blocks; i++) {
        past.keys = b->keys + i * kv;
        past.values = b->values + i * kv;
        wn_model_run_block(model, &b->kept->blocks[i], &chunk, b->hidden, b->scratch, NULL);
    }
}

/* The state behind the last row of each sequence goes to states[first], ...; then no rows are there. */
static void take_states(struct batch *b, int64_t first)
{
    int64_t width = b->kept->model->config.hidden_size;
    for (int64_t s = 0; s < b->n_sequences; s++)
        memcpy(b->states + (first + s) * width, b->hidden + (b->offset[s + 1] - 1) * width,
               (size_t)width * sizeof *b->states);
    b->n_sequences = 0;
}

static void prefill(struct batch *b)
{
    int64_t rows;
    if (b->shape.prefix) {
        add_rows(b, -1, prompt_of(b->generation, b->shape.first)->ids, b->shape.prefix);
        run_rows(b);
        b->n_sequences = 0;
    }
    for (int64_t text = 0; text < b->shape.n_texts;) {
        int64_t first = text, end = prefill_end(b->generation, &b->shape, text, &rows);
        for (; text < end; text++) {
            const struct wn_prompt *prompt = prompt_of(b->generation, b->shape.first + text);
            add_rows(b, text, prompt->ids + b->shape.prefix, prompt->count - b->shape.prefix);
        }
        run_rows(b);
        take_states(b, first);
    }
}

/* ---- tokens ---- */

static int32_t *record_of(const struct batch *b, int64_t text)
{
    return b->generated->records + (b->shape.first + text) * (2 + b->generated->most);
}

static bool is_eos(const struct wn_generation *generation, int32_t id)
{
    for (int64_t i = 0; i < generation->n_eos; i++)
        if (generation->eos[i] == id)
            return true;
    return false;
}

/* Appends the next token of a text; returns whether it goes on. */
static bool add_token(const struct batch *b, int64_t text, const float *logits)
{
    const struct wn_generation *generation = b->generation;
    const struct wn_model *model = b->kept->model;
    int64_t number = b->shape.first + text, draw = number % generation->draws, stop;
    const struct wn_prompt *prompt = prompt_of(generation, number);
    int32_t *record = record_of(b, text), *ids = record + 2;
    double uniform = 0;
    if (generation->temperature > 0)
        uniform = wn_random_uniform(generation->seed, (uint64_t)(number / generation->draws),
                                    (uint64_t)draw << 32 | (uint64_t)record[0]);
    ids[record[0]++] = wn_choose_token(logits, model->config.vocab_size, generation->temperature, uniform);
    record[1] = WN_END_LIMIT;
    if (is_eos(generation, ids[record[0] - 1])) {
        record[1] = WN_END_EOS;
        return false;
    }
    if ((stop = wn_find_stop(model->tokenizer, prompt, ids, record[0])) >= 0) {
        record[1] = (int32_t)(WN_END_STOP + stop);
        return false;
    }
    return record[0] < prompt->most;
}

/* From states to one more token of every live text; those that end leave the batch. */
static wn_status add_tokens(struct batch *b)
{
    const struct wn_config *config = &b->kept->model->config;
    bool goes_on[WN_GENERATE_BATCH], finite[WN_GENERATE_BATCH];
    int64_t left = 0;
    wn_model_final_norm(b->kept->model, b->states, b->n_live, b->states);
    wn_kept_blocks_logits(b->kept, b->states, b->n_live, b->logits);
#pragma omp parallel for schedule(static)
    for (int64_t i = 0; i < b->n_live; i++) {
        const float *logits = b->logits + i * config->vocab_size;
        finite[i] = wn_all_finite(logits, config->vocab_size);
        goes_on[i] = finite[i] && add_token(b, b->live[i], logits);
    }
    for (int64_t i = 0; i < b->n_live; i++) {
        if (!finite[i])
            return wn_fail(WN_ERR_NUMERIC, "a logit of text %lld of the set is not finite",
                           (long long)b->shape.first + b->live[i] + 1);
        if (goes_on[i])
            b->live[left++] = b->live[i];
    }
    b->n_live = left;
    return WN_OK;
}

/* Runs what was added; states[first], ... become those of it. */
static void run_added(struct batch *b, int64_t first)
{
    if (b->n_sequences == 0)
        return;
    run_rows(b);
    take_states(b, first);
}

/* All that there is of a text, in place of what is kept of it. */
static void run_anew(struct batch *b, int64_t text, int64_t state)
{
    const struct wn_prompt *prompt = prompt_of(b->generation, b->shape.first + text);
    const int32_t *record = record_of(b, text);
    int32_t *ids = wn_alloc(prompt->count + record[0], sizeof *ids);
    memcpy(ids, prompt->ids, (size_t)prompt->count * sizeof *ids);
    memcpy(ids + prompt->count, record + 2, (size_t)record[0] * sizeof *ids);
    b->length[text] = 0;
    add_rows(b, text, ids, prompt->count + record[0]);
    run_added(b, state);
    wn_free(ids);
}

/* One more row of every live text. */
static void step(struct batch *b)
{
    int64_t first = 0, longest = longest_kept(b->kept->model);
    for (int64_t i = 0; i < b->n_live; i++) {
        int64_t text = b->live[i];
        const int32_t *record = record_of(b, text);
        if (b->shape.prefix + b->length[text] != longest) {
            add_rows(b, text, record + 1 + record[0], 1);
            continue;
        }
        run_added(b, first);
        run_anew(b, text, i);
        first = i + 1;
    }
    run_added(b, first);
}

wn_status wn_generate_batch(const struct wn_kept_blocks *kept, const struct wn_generation *generation, int64_t batch,
                            struct wn_generated *generated)
{
    struct batch b = {.kept = kept,
                      .generation = generation,
                      .generated = generated,
                      .shape = shape_of(kept->model, generation, batch)};
    open_batch(&b);
    for (int64_t t = 0; t < b.shape.n_texts; t++) {
        int32_t *record = record_of(&b, t);
        record[0] = 0;
        for (int64_t i = 0; i < generated->most; i++)
            record[2 + i] = -1;
        b.live[b.n_live++] = t;
    }
    prefill(&b);
    wn_status status = add_tokens(&b);
    while (status == WN_OK && b.n_live) {
        step(&b);
        status = add_tokens(&b);
    }
    close_batch(&b);
    return status;
}
