/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be generated and what was: prompts, batches, records, stop strings, texts. */
#include <winnow/generate.h>

#include <math.h>
#include <string.h>

/* ---- what is to be generated ---- */

void wn_generation_release(struct wn_generation *generation)
{
    for (int64_t p = 0; p < generation->n_prompts; p++) {
        struct wn_prompt *prompt = &generation->prompts[p];
        for (int64_t s = 0; s < prompt->n_stops; s++)
            wn_free(prompt->stops[s]);
        wn_free(prompt->stops);
        wn_free(prompt->ids);
    }
    wn_free(generation->prompts);
    *generation = (struct wn_generation){0};
}

int64_t wn_generation_texts(const struct wn_generation *generation)
{
    return generation->n_prompts * generation->draws;
}

int64_t wn_generation_batches(const struct wn_generation *generation)
{
    return (wn_generation_texts(generation) + WN_GENERATE_BATCH - 1) / WN_GENERATE_BATCH;
}

int64_t wn_generation_batch(const struct wn_generation *generation, int64_t batch, int64_t *first)
{
    int64_t left = wn_generation_texts(generation) - batch * WN_GENERATE_BATCH;
    *first = batch * WN_GENERATE_BATCH;
    return left < WN_GENERATE_BATCH ? left : WN_GENERATE_BATCH;
}

static void add_eos(struct wn_generation *generation, int64_t id)
{
    for (int64_t i = 0; i < generation->n_eos; i++)
        if (generation->eos[i] == id)
            return;
    if (id >= 0 && generation->n_eos < (int64_t)(sizeof generation->eos / sizeof generation->eos[0]))
        generation->eos[generation->n_eos++] = (int32_t)id;
}

void wn_generation_take_eos(struct wn_generation *generation, const struct wn_model *model)
{
    for (int64_t i = 0; i < model->config.n_eos_ids; i++)
        add_eos(generation, model->config.eos_ids[i]);
    add_eos(generation, wn_eos_id(model->tokenizer));
}

void wn_prompt_truncate(struct wn_prompt *prompt, int64_t max_positions)
{
    int64_t room = max_positions - prompt->most, cut = prompt->count - room;
    if (cut <= 0)
        return;
    memmove(prompt->ids, prompt->ids + cut, (size_t)room * sizeof *prompt->ids);
    prompt->count = room;
    prompt->truncated = true;
}

/* ---- what was generated ---- */

static int64_t record_numbers(const struct wn_generated *generated)
{
    return 2 + generated->most;
}

void wn_generated_borrow(struct wn_generated *generated, const struct wn_generation *generation, int32_t *records)
{
    *generated = (struct wn_generated){
        .n_texts = wn_generation_texts(generation), .most = generation->most, .records = records, .borrowed = true};
    generated->texts = wn_alloc_zero(generated->n_texts, sizeof *generated->texts);
}

void wn_generated_init(struct wn_generated *generated, const struct wn_generation *generation)
{
    wn_generated_borrow(generated, generation, NULL);
    generated->borrowed = false;
    generated->records = wn_alloc_zero(generated->n_texts * record_numbers(generated), sizeof *generated->records);
}

void wn_generated_release(struct wn_generated *generated)
{
    for (int64_t t = 0; t < generated->n_texts; t++)
        wn_free(generated->texts[t]);
    wn_free(generated->texts);
    if (!generated->borrowed)
        wn_free(generated->records);
    *generated = (struct wn_generated){0};
}

int64_t wn_generated_record_bytes(const struct wn_generation *generation)
{
    return (2 + generation->most) * (int64_t)sizeof(int32_t);
}

int64_t wn_generated_count(const struct wn_generated *generated, int64_t text)
{
    return generated->records[text * record_numbers(generated)];
}

int64_t wn_generated_end(const struct wn_generated *generated, int64_t text)
{
    return generated->records[text * record_numbers(generated) + 1];
}

const int32_t *wn_generated_ids(const struct wn_generated *generated, int64_t text)
{
    return generated->records + text * record_numbers(generated) + 2;
}

void wn_generated_decode(struct wn_generated *generated, const struct wn_generation *generation,
                         const struct wn_tokenizer *tokenizer)
{
#pragma omp parallel for schedule(dynamic)
    for (int64_t t = 0; t < generated->n_texts; t++) {
        wn_free(generated->texts[t]);
        generated->texts[t] = wn_generated_text(tokenizer, &generation->prompts[t / generation->draws],
                                                wn_generated_ids(generated, t), wn_generated_count(generated, t));
    }
}

/* ---- one token, one text ---- */

/* The first token whose cumulated probability is above `uniform`. */
static int32_t draw_token(const float *logits, int64_t count, double temperature, double uniform)
{
    double most = logits[wn_argmax(logits, count)], sum = 0, passed = 0;
    int64_t last = 0;
    for (int64_t i = 0; i < count; i++)
        sum += exp((logits[i] - most) / temperature);
    for (int64_t i = 0; i < count; i++) {
        double weight = exp((logits[i] - most) / temperature);
        passed += weight;
        if (weight > 0)
            last = i;
        if (passed > uniform * sum)
            break;
    }
    return (int32_t)last;
}

int32_t wn_choose_token(const float *logits, int64_t count, double temperature, double uniform)
{
    if (temperature > 0)
        return draw_token(logits, count, temperature, uniform);
    return (int32_t)wn_argmax(logits, count);
}

/* Index of the first stop string in the decoded ids; -1: none. Special tokens are decoded too: they may be stops. */
static int64_t stop_in(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                       int64_t count)
{
    struct wn_text text = {0};
    int64_t found = -1;
    if (wn_decode(tokenizer, ids, count, false, &text) == WN_OK)
        for (int64_t s = 0; text.data && s < prompt->n_stops && found < 0; s++)
            if (strstr(text.data, prompt->stops[s]))
                found = s;
    wn_text_release(&text);
    return found;
}

/* A stop string that the last token completes lies in as many tokens as it has bytes. A few more let the decoder start
 * inside a character or drop a leading space; what is found in this window must be in the whole text too. */
int64_t wn_find_stop(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                     int64_t count)
{
    int64_t window = 0;
    for (int64_t s = 0; s < prompt->n_stops; s++) {
        int64_t bytes = (int64_t)strlen(prompt->stops[s]);
        window = bytes > window ? bytes : window;
    }
    window += 4;
    if (prompt->n_stops == 0)
        return -1;
    if (window < count && stop_in(tokenizer, prompt, ids + count - window, window) < 0)
        return -1;
    return stop_in(tokenizer, prompt, ids, count);
}

char *wn_generated_text(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                        int64_t count)
{
    struct wn_text text = {0};
    if (wn_decode(tokenizer, ids, count, true, &text) != WN_OK || !text.data)
        wn_text_append(&text, "", 0);
    for (int64_t s = 0; s < prompt->n_stops; s++) {
        char *found = strstr(text.data, prompt->stops[s]);
        if (found)
            *found = '\0';
    }
    return text.data;
}
