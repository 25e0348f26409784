/* SPDX-License-Identifier: Apache-2.0 */
/* activation_sample.h: a chunk of inputs and a linear of integer codes. */
#ifndef WINNOW_TEST_ACTIVATION_SAMPLE_H
#define WINNOW_TEST_ACTIVATION_SAMPLE_H

#include "blocks.h"

/* A chunk and a linear of integer codes. */
struct sample {
    int64_t n_sequences, rows, in, out;
    int64_t offset[8];
    float *x, *y, *scales, *bias;
    uint8_t *codes;
    struct wn_integer_linear form;
    struct wn_linear_call call;
};

static const int64_t LENGTHS[] = {5, 1, 530, 12}; /* one of more than WN_TILE_ROWS */

/* Every 17th column is large in part of the tokens, and two inputs are exactly at the threshold. */
static inline void sample_init(struct sample *sample, int64_t out, int64_t in, int bits, double threshold)
{
    *sample = (struct sample){.n_sequences = sizeof LENGTHS / sizeof *LENGTHS, .in = in, .out = out};
    for (int64_t s = 0; s < sample->n_sequences; s++)
        sample->offset[s + 1] = sample->offset[s] + LENGTHS[s];
    sample->rows = sample->offset[sample->n_sequences];
    sample->x = wn_alloc(sample->rows * in, sizeof(float));
    sample->y = wn_alloc(sample->rows * out, sizeof(float));
    sample->codes = wn_alloc(out * in, 1);
    sample->scales = wn_alloc(out, sizeof(float));
    sample->bias = wn_alloc(out, sizeof(float));
    for (int64_t i = 0; i < sample->rows * in; i++)
        sample->x[i] = draw(1, 0, i) * (i % in % 17 == 3 && i % 7 == 0 ? 20.0f : 1.0f);
    for (int64_t i = 0; threshold > 0 && threshold < 1e9 && i < 2; i++)
        sample->x[(7 + i) * in + i % in] = (float)(i ? -threshold : threshold);
    for (int64_t i = 0; i < out * in; i++)
        sample->codes[i] = (uint8_t)((1 << (bits - 1)) + (int)(draw(1, 1, i) * (float)((1 << (bits - 1)) - 1)));
    for (int64_t i = 0; i < out; i++) {
        sample->scales[i] = 0.001f * (2 + draw(1, 2, i));
        sample->bias[i] = draw(1, 3, i);
    }
    sample->form = (struct wn_integer_linear){.rows = out,
                                              .columns = in,
                                              .bits = bits,
                                              .codes = sample->codes,
                                              .zero = 1 << (bits - 1),
                                              .scales = sample->scales,
                                              .threshold = threshold};
    sample->call = (struct wn_linear_call){.n_sequences = sample->n_sequences,
                                           .offset = sample->offset,
                                           .x = sample->x,
                                           .in = in,
                                           .out = out,
                                           .y = sample->y};
}

static inline void sample_release(struct sample *sample)
{
    wn_free(sample->x);
    wn_free(sample->y);
    wn_free(sample->codes);
    wn_free(sample->scales);
    wn_free(sample->bias);
}

static inline void run_rule(const struct wn_integer_linear *form, const struct wn_linear_call *call)
{
    struct wn_activation *rule = wn_integer_linear_create(form);

    rule->compute(rule, call);
    wn_activation_release(&rule);
    CHECK(!rule);
}

#endif
