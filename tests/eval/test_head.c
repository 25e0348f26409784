/* SPDX-License-Identifier: Apache-2.0 */
/* The head, alone and with scores, has the same bits for any number of threads, which decides how many tiles and panels
 * are multiplied at once. */
#include "test.h"

#include "../../src/eval/protocol.h"

#include <winnow/linalg.h>

#include <omp.h>

/* Five column tiles, the last one narrow; a chunk of several tiles of rows, and one of a tile and a single row, which
 * BLAS computes in another order. */
enum { VOCABULARY = 4 * WN_TILE_COLUMNS + 100, WIDTH = 70, LONG = 7 * 256 + 8, SHORT = 257, ROWS = LONG + SHORT };

static const int counts[] = {1, 2, 5, 16};

static float *random_floats(int64_t count, uint64_t stream)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(2 * wn_random_uniform(7, stream, (uint64_t)i) - 1);
    return x;
}

/* The head as bfloat16, so that panels are converted. */
static void make_head(struct wn_tensor *head)
{
    float *x = random_floats(VOCABULARY * WIDTH, 1);
    uint16_t *halves = wn_alloc(VOCABULARY * WIDTH, sizeof *halves);
    for (int64_t i = 0; i < VOCABULARY * WIDTH; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        halves[i] = (uint16_t)(bits >> 16);
    }
    *head = (struct wn_tensor){.name = "head", .dtype = WN_BF16, .n_dims = 2, .data = (const uint8_t *)halves};
    head->bytes = VOCABULARY * WIDTH * (int64_t)sizeof *halves;
    wn_free(x);
}

/* Sets the number of threads, and sees that a parallel region has so many. */
static void use_threads(int threads)
{
    int found = 0;
    omp_set_num_threads(threads);
#pragma omp parallel
#pragma omp single
    found = omp_get_num_threads();
    CHECK(found == threads);
}

/* ---- logits ---- */

static float *logits_of(const struct wn_model *model, const float *states, int threads)
{
    use_threads(threads);
    float *logits = wn_alloc(SHORT * VOCABULARY, sizeof *logits);
    float *scratch = wn_alloc(wn_model_head_scratch(model), sizeof *scratch);
    wn_model_logits(model, states, SHORT, logits, scratch);
    wn_free(scratch);
    return logits;
}

static void check_logits(const struct wn_model *model)
{
    float *states = random_floats(SHORT * WIDTH, 2), *expected = logits_of(model, states, 1);
    int64_t scratch = wn_model_head_scratch(model);
    for (size_t i = 1; i < sizeof counts / sizeof counts[0]; i++) {
        float *logits = logits_of(model, states, counts[i]);
        CHECK(!memcmp(logits, expected, SHORT * VOCABULARY * sizeof *logits));
        wn_free(logits);
    }
    CHECK(wn_model_head_scratch(model) > scratch); /* panels of another size with the most threads */
    wn_free(states);
    wn_free(expected);
}

/* ---- scores ---- */

/* Two chunks; every 60th row is read by two targets, and some rows of the first chunk by none. */
static void make_set(struct wn_eval_set *set)
{
    int32_t *ids = wn_alloc_zero(LONG, sizeof *ids);
    wn_eval_set_init(set);
    wn_sequences_append(&set->sequences, ids, LONG);
    wn_sequences_append(&set->sequences, ids, SHORT);
    wn_sequences_cut(&set->sequences);
    CHECK(set->sequences.n_chunks == 2);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t t = r >= LONG || r % 50 != 1; t > 0 && t <= 1 + (r % 60 == 0); t++)
            wn_add_target(set, r, (int32_t)((r * 31 + t) % VOCABULARY));
    set->divergence = true;
    set->top = 5;
    set->logit_targets = set->n_targets;
    wn_free(ids);
}

static void score(const struct wn_model *model, const struct wn_eval_set *set, const float *hidden, const float *dense,
                  int threads, struct wn_target_scores *scores)
{
    use_threads(threads);
    wn_target_scores_init(scores, set);
    for (int64_t c = 0; c < set->sequences.n_chunks; c++) {
        int64_t first, n = wn_eval_chunk_targets(set, c, &first), row = set->sequences.offset[c];
        float *states = wn_alloc(n * WIDTH, sizeof *states);
        wn_eval_dense_states(model, set, c, dense + row * WIDTH, states);
        wn_eval_score_chunk(model, set, c, hidden + row * WIDTH, states, scores);
        wn_free(states);
    }
}

static void check_same(const struct wn_eval_set *set, const struct wn_target_scores *a,
                       const struct wn_target_scores *b)
{
    size_t n = (size_t)set->n_targets, top = n * (size_t)set->top;
    CHECK(!memcmp(a->loss, b->loss, n * sizeof *a->loss) && !memcmp(a->greedy, b->greedy, n));
    CHECK(!memcmp(a->kl, b->kl, n * sizeof *a->kl) && !memcmp(a->js, b->js, n * sizeof *a->js));
    CHECK(!memcmp(a->top1, b->top1, n) && !memcmp(a->top_ids, b->top_ids, top * sizeof *a->top_ids));
    CHECK(!memcmp(a->top_values, b->top_values, top * sizeof *a->top_values));
    CHECK(!memcmp(a->log_sum_exp, b->log_sum_exp, n * sizeof *a->log_sum_exp));
    CHECK(!memcmp(a->target_logit, b->target_logit, n * sizeof *a->target_logit));
}

static void check_scores(const struct wn_model *model)
{
    struct wn_eval_set set;
    struct wn_target_scores expected, scores;
    float *hidden = random_floats(ROWS * WIDTH, 3), *dense = random_floats(ROWS * WIDTH, 4);
    make_set(&set);
    score(model, &set, hidden, dense, 1, &expected);
    int64_t bytes = wn_eval_scratch_bytes(model, true);
    for (size_t i = 1; i < sizeof counts / sizeof counts[0]; i++) {
        score(model, &set, hidden, dense, counts[i], &scores);
        CHECK((wn_eval_scratch_bytes(model, true) > bytes) == (counts[i] > 2)); /* several tiles at once */
        check_same(&set, &expected, &scores);
        wn_target_scores_release(&scores);
    }
    CHECK(expected.kl[0] > 0 && expected.loss[0] > 0);
    wn_target_scores_release(&expected);
    wn_eval_set_release(&set);
    wn_free(hidden);
    wn_free(dense);
}

int main(void)
{
    struct wn_tensor head;
    float *ones = wn_alloc(WIDTH, sizeof *ones);
    CHECK_OK(wn_linalg_start());
    make_head(&head);
    for (int i = 0; i < WIDTH; i++)
        ones[i] = 1;
    const struct wn_model model = {
        .config = {.vocab_size = VOCABULARY, .hidden_size = WIDTH, .max_positions = LONG, .norm_eps = 1e-6},
        .head = &head,
        .final_norm = ones};
    check_logits(&model);
    check_scores(&model);
    wn_free((void *)(uintptr_t)head.data);
    wn_free(ones);
    return test_finish();
}
