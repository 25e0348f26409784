/* SPDX-License-Identifier: Apache-2.0 */
/* forward.h: a set through a whole model, chunk by chunk, as the runner does it for one point. */
#ifndef TEST_FORWARD_H
#define TEST_FORWARD_H

#include <winnow/eval.h>

/* hidden [tokens of the set, hidden_size] behind the last block; free with wn_free. */
static inline float *forward_hidden(const struct wn_model *model, const struct wn_sequences *sequences)
{
    int64_t width = model->config.hidden_size, tokens = wn_sequences_tokens(sequences);
    float *hidden = wn_alloc(tokens * width, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, wn_sequences_longest_chunk(sequences)), sizeof *scratch);
    int64_t *offset = wn_alloc(sequences->n_sequences + 1, sizeof *offset);
    struct wn_block *block = wn_block_create(model);

    wn_model_embed(model, sequences->ids, NULL, tokens, hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        wn_sequences_run(model, block, sequences, 0, sequences->n_chunks, hidden, wn_sequences_longest_chunk(sequences),
                         scratch, offset, NULL);
    }
    wn_block_destroy(&block, model);
    wn_free(offset);
    wn_free(scratch);
    return hidden;
}

/* Scores of all chunks; `dense` hidden states of the dense model (NULL: no divergence). */
static inline void forward_scores(const struct wn_model *model, const struct wn_eval_set *set, const float *hidden,
                                  const float *dense, struct wn_target_scores *scores)
{
    int64_t width = model->config.hidden_size;

    wn_target_scores_init(scores, set);
    for (int64_t c = 0; c < set->sequences.n_chunks; c++) {
        int64_t first, n = wn_eval_chunk_targets(set, c, &first);
        int64_t row = set->sequences.offset[set->sequences.chunk[c]];
        float *states = dense ? wn_alloc(n * width, sizeof *states) : NULL;
        if (dense)
            wn_eval_dense_states(model, set, c, dense + row * width, states);
        wn_eval_score_chunk(model, set, c, hidden + row * width, states, scores);
        wn_free(states);
    }
}

/* The values of a constant of 32-bit integers. */
static inline const int32_t *constant_values(const struct wn_schema *schema, const char *path)
{
    int constant = wn_schema_find_constant(schema, path);

    CHECK(constant >= 0 && schema->constants[constant].about.type == WN_FIELD_I32);
    return constant >= 0 ? (const int32_t *)(const void *)schema->constants[constant].data : NULL;
}

/* The value of a field without axes. */
static inline double field_value(struct wn_record *record, const char *path)
{
    int field = wn_schema_find(record->schema, path);

    CHECK(field >= 0);
    return field >= 0 ? *wn_record_f64(record, field) : (double)NAN;
}

#endif
