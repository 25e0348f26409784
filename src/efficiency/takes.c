/* SPDX-License-Identifier: Apache-2.0 */
/* takes.c: prefills and steps of a model in memory, timed: the loop of generate.c on fixed ids, without texts that end.
 */
#include "efficiency.h"

#include <winnow/linalg.h>

#include <omp.h>
#include <string.h>
#include <time.h>

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int64_t texts_of(const struct wn_efficiency *asked)
{
    int64_t texts = 1;
    for (int s = 0; s < WN_SPEEDS; s++)
        if (wn_speed_is_asked(asked, (enum wn_speed)s))
            texts = larger(texts, wn_speed_texts((enum wn_speed)s));
    return texts;
}

int64_t wn_takes_prompt(const struct wn_model *model, const struct wn_efficiency *asked, enum wn_speed speed)
{
    int64_t positions = model->config.max_positions;
    if (speed != WN_SPEED_PREFILL)
        return asked->prompt;
    return positions < WN_SPEED_PROMPT ? positions : WN_SPEED_PROMPT;
}

/* ---- memory ---- */

static int64_t rows_of(const struct wn_model *model, const struct wn_efficiency *asked)
{
    int64_t rows = larger(asked->prompt, wn_takes_prompt(model, asked, WN_SPEED_PREFILL));
    return larger(rows, texts_of(asked));
}

static int64_t slots_of(const struct wn_model *model, const struct wn_efficiency *asked)
{
    return larger(texts_of(asked) * (asked->prompt + asked->steps), rows_of(model, asked));
}

static int64_t cache_width(const struct wn_model *model)
{
    return model->config.n_kv_heads * model->config.head_dim;
}

void wn_takes_open(struct wn_takes *takes, const struct wn_model *model, const struct wn_efficiency *asked)
{
    const int64_t rows = rows_of(model, asked), n = texts_of(asked), slots = slots_of(model, asked);
    const int64_t cache = model->config.n_blocks * slots * cache_width(model);
    *takes = (struct wn_takes){.model = model, .asked = asked, .texts = n, .slots = slots};
    takes->keys = wn_alloc_zero(cache, sizeof(float)); /* touched: no page is made while a take runs */
    takes->values = wn_alloc_zero(cache, sizeof(float));
    takes->hidden = wn_alloc_zero(rows * model->config.hidden_size, sizeof(float));
    takes->scratch = wn_alloc_zero(wn_model_scratch(model, rows), sizeof(float));
    takes->states = wn_alloc_zero(n * model->config.hidden_size, sizeof(float));
    takes->logits = wn_alloc_zero(n * model->config.vocab_size, sizeof(float));
    takes->ids = wn_alloc(rows, sizeof *takes->ids);
    takes->positions = wn_alloc(rows, sizeof *takes->positions);
    takes->offset = wn_alloc_zero(n + 1, sizeof *takes->offset);
    takes->start = wn_alloc_zero(n, sizeof *takes->start);
    takes->first_span = wn_alloc_zero(n + 1, sizeof *takes->first_span);
    takes->keep = wn_alloc_zero(n, sizeof *takes->keep);
    takes->spans = wn_alloc_zero(n, sizeof *takes->spans);
}

void wn_takes_release(struct wn_takes *takes)
{
    void *parts[] = {takes->keys,       takes->values, takes->hidden,    takes->scratch, takes->states,
                     takes->logits,     takes->ids,    takes->positions, takes->offset,  takes->start,
                     takes->first_span, takes->keep,   takes->spans};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        wn_free(parts[i]);
    *takes = (struct wn_takes){0};
}

int64_t wn_takes_bytes(const struct wn_model *model, const struct wn_efficiency *asked)
{
    const int64_t rows = rows_of(model, asked), n = texts_of(asked), width = model->config.hidden_size;
    int64_t floats = 2 * model->config.n_blocks * slots_of(model, asked) * cache_width(model) + rows * width;
    floats += wn_model_scratch(model, rows) + n * (width + model->config.vocab_size);
    return floats * (int64_t)sizeof(float) + rows * 12 + n * 64;
}

/* ---- rows ---- */

/* `count` rows of each of `n` texts behind what they have, `have` tokens; without a past they begin at slot 0. */
static void lay_out(struct wn_takes *takes, int64_t n, int64_t count, int64_t have)
{
    const int64_t each = takes->asked->prompt + takes->asked->steps;
    for (int64_t s = 0; s < n; s++) {
        takes->offset[s + 1] = takes->offset[s] + count;
        takes->start[s] = have;
        takes->keep[s] = s * each + have;
        takes->spans[s] = (struct wn_span){s * each, have};
        takes->first_span[s + 1] = have ? s + 1 : 0;
        for (int64_t r = 0; r < count; r++) {
            takes->positions[s * count + r] = have + r;
            takes->ids[s * count + r] =
                (int32_t)((s * 7919 + (have + r) * 104729 + 11) % takes->model->config.vocab_size);
        }
    }
}

/* Through all blocks, and the last row of each text through the head to a token. */
static void run(struct wn_takes *takes, const struct wn_kept_blocks *kept, int64_t n)
{
    const struct wn_model *model = takes->model;
    const int64_t width = model->config.hidden_size, kv = takes->slots * cache_width(model);
    struct wn_past past = {.spans = takes->spans, .first_span = takes->first_span, .keep = takes->keep};
    struct wn_chunk chunk = {.n_sequences = n, .offset = takes->offset, .start = takes->start, .past = &past};
    wn_model_embed(model, takes->ids, takes->positions, takes->offset[n], takes->hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        past.keys = takes->keys + b * kv;
        past.values = takes->values + b * kv;
        wn_model_run_block(model, &kept->blocks[b], &chunk, takes->hidden, takes->scratch, NULL);
    }
    for (int64_t s = 0; s < n; s++)
        memcpy(takes->states + s * width, takes->hidden + (takes->offset[s + 1] - 1) * width,
               (size_t)width * sizeof *takes->states);
    wn_model_final_norm(model, takes->states, n, takes->states);
    wn_kept_blocks_logits(kept, takes->states, n, takes->logits);
    for (int64_t s = 0; s < n; s++)
        wn_choose_token(takes->logits + s * model->config.vocab_size, model->config.vocab_size, 0, 0);
}

void wn_takes_fill(struct wn_takes *takes, const struct wn_kept_blocks *kept)
{
    const int64_t width = cache_width(takes->model), each = takes->asked->prompt + takes->asked->steps;
    lay_out(takes, 1, takes->asked->prompt, 0);
    run(takes, kept, 1);
    for (int64_t b = 0; b < takes->model->config.n_blocks; b++)
        for (int64_t t = 1; t < takes->texts; t++) {
            const int64_t from = b * takes->slots * width, to = from + t * each * width;
            const size_t bytes = (size_t)(takes->asked->prompt * width) * sizeof(float);
            memcpy(takes->keys + to, takes->keys + from, bytes);
            memcpy(takes->values + to, takes->values + from, bytes);
        }
}

/* ---- takes ---- */

/* Of one thread of the team. */
static double processor_seconds(void)
{
    const int threads = omp_get_max_threads();
    struct timespec t;
    clock_gettime(threads == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_PROCESS_CPUTIME_ID, &t);
    return ((double)t.tv_sec + 1e-9 * (double)t.tv_nsec) / threads;
}

void wn_take(struct wn_takes *takes, const struct wn_kept_blocks *kept, enum wn_speed speed, double seconds[WN_CLOCKS])
{
    const bool steps = speed >= WN_SPEED_DECODE_1;
    const int64_t n = wn_speed_texts(speed), count = steps ? takes->asked->steps : 1;
    double wall = wn_seconds(), processor = processor_seconds();
    for (int64_t k = 0; k < count; k++) {
        if (steps)
            lay_out(takes, n, 1, takes->asked->prompt + k);
        else
            lay_out(takes, 1, wn_takes_prompt(takes->model, takes->asked, speed), 0);
        run(takes, kept, n);
    }
    seconds[WN_CLOCK_WALL] = (wn_seconds() - wall) / (double)count;
    seconds[WN_CLOCK_PROCESSOR] = (processor_seconds() - processor) / (double)count;
}
