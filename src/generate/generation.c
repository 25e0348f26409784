/* SPDX-License-Identifier: Apache-2.0 */
/* What is to be generated and what was: prompts, batches, records, stop strings, texts. */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
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

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD: bytes that are no character, or not yet */

static char *find(const struct wn_text *text, const char *part)
{
    return memmem(text->data, text->length, part, strlen(part)); /* a text may have bytes 0 */
}

/* Special tokens are decoded too: they may be stops. */
static bool decode(const struct wn_tokenizer *tokenizer, const int32_t *ids, int64_t count, struct wn_text *text)
{
    return wn_decode(tokenizer, ids, count, false, text) == WN_OK && text->data;
}

/* Index of the first stop string in the text; -1: none. */
static int64_t stop_in(const struct wn_prompt *prompt, const struct wn_text *text)
{
    for (int64_t s = 0; s < prompt->n_stops; s++)
        if (find(text, prompt->stops[s]))
            return s;
    return -1;
}

/*
 * Whether the last tokens show that no stop string ends in the last one. What they decode to is the end of the whole
 * text, but for its first bytes: a leading space may be lost, and bytes in front of which others are missing are no
 * characters (of byte tokens none of a run is). Ids may have no text. So it must be without U+FFFD, and longer than a
 * stop string and the last token, of which each byte may become several; else the whole text is looked at.
 */
static bool surely_none(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                        int64_t count)
{
    const char *last = wn_token_text(tokenizer, ids[count - 1]);
    size_t longest = 0;
    struct wn_text text = {0};

    for (int64_t s = 0; s < prompt->n_stops; s++) {
        longest = strlen(prompt->stops[s]) > longest ? strlen(prompt->stops[s]) : longest;
        if (strstr(prompt->stops[s], REPLACEMENT))
            return false;
    }
    int64_t window = (int64_t)longest + 32;
    if (window >= count || !last)
        return false;
    bool none = decode(tokenizer, ids + count - window, window, &text) && !find(&text, REPLACEMENT) &&
                text.length >= longest + 4 * strlen(last) + 16 && stop_in(prompt, &text) < 0;
    wn_text_release(&text);
    return none;
}

int64_t wn_find_stop(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                     int64_t count)
{
    struct wn_text text = {0};
    int64_t found = -1;

    if (prompt->n_stops == 0 || surely_none(tokenizer, prompt, ids, count))
        return -1;
    if (decode(tokenizer, ids, count, &text))
        found = stop_in(prompt, &text);
    wn_text_release(&text);
    return found;
}

char *wn_generated_text(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                        int64_t count)
{
    struct wn_text text = {0}, out = {0};

    if (wn_decode(tokenizer, ids, count, true, &text) != WN_OK || !text.data)
        wn_text_append(&text, "", 0);
    for (int64_t s = 0; s < prompt->n_stops; s++) {
        const char *found = find(&text, prompt->stops[s]);
        if (found)
            text.length = (size_t)(found - text.data);
    }
    wn_text_append(&out, "", 0);
    for (size_t at = 0; at < text.length; at++)
        if (text.data[at])
            wn_text_append(&out, text.data + at, 1);
        else
            wn_text_append(&out, REPLACEMENT, 3);
    wn_text_release(&text);
    return out.data;
}
