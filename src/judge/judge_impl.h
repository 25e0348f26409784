/* judge_impl.h: what the files of the judge share. */
#ifndef WINNOW_JUDGE_IMPL_H
#define WINNOW_JUDGE_IMPL_H

#include <winnow/judge.h>

struct wn_judge {
    struct wn_par *par;
    struct wn_judge_spec spec;
    struct wn_shared dense; /* float [calibration tokens, hidden]: final-normed states; empty for perplexity */
    struct wn_judge_work work;
};

/* What all units of a stage have in common. */
struct wn_judge_stage {
    const int32_t *genomes; /* [sharing.count, n_genes] */
    const struct wn_minibatch *batch;
    struct wn_sequences sequences; /* of the batch, cut into chunks */
    struct wn_sharing sharing;
    int64_t *tokens; /* [n_chunks] */
    double *sums;    /* [units] of the fitness; a unit of another rank is not touched */
};

/* Rows of a tile of logits: a function of the vocabulary alone. */
int64_t wn_judge_tile_rows(int64_t vocabulary);
/* Goes down the blocks with units first .. end - 1 of one or several chunks, at most spec.states states, and sums their
 * fitness (walk.c). */
wn_status wn_judge_walk(struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end);
/* Sums of the fitness of the units of one chunk: hidden[i] is NULL where unit first + i is the same as the one before
 * it (score.c). */
void wn_judge_score(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end,
                    float *const *hidden);

#endif
