/* SPDX-License-Identifier: Apache-2.0 */
/* judge_impl.h: what the files of the judge share. */
#ifndef WINNOW_JUDGE_IMPL_H
#define WINNOW_JUDGE_IMPL_H

#include <winnow/judge.h>

struct wn_judge {
    struct wn_par *par;
    struct wn_judge_spec spec;
    struct wn_shared
        dense; /* float [calibration tokens, hidden]: final-normed states; empty for perplexity and tasks */
    struct wn_shared results; /* of the stage in work */
    struct wn_judge_work work;
};

/* What all units of a stage have in common. Unit u is part u / sharing.count, candidate sharing.order[u % count]. */
struct wn_judge_stage {
    const int32_t *genomes; /* [sharing.count, n_genes] */
    const struct wn_minibatch *batch;
    struct wn_eval_set set; /* sequences of the batch, cut into chunks; of a task also its targets */
    struct wn_sharing sharing;
    int64_t n_parts;  /* chunks, or parts where prefixes are shared */
    int64_t *tokens;  /* [n_parts] */
    int64_t *numbers; /* [n_parts + 1] of a unit of each part before this one, together */
    int64_t states;   /* that a walk keeps at most */
    double *results;  /* numbers of all units (wn_judge_result); those of another rank are not touched */
};

/* Where the numbers of a unit are. */
int64_t wn_judge_result(const struct wn_judge_stage *stage, int64_t unit);
/* Rows of a tile of logits: a function of the vocabulary alone. */
int64_t wn_judge_tile_rows(int64_t vocabulary);
/* Goes down the blocks with units first .. end - 1 of one or several parts, at most stage->states states, and makes
 * their numbers (walk.c). */
wn_status wn_judge_walk(struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end);
/* Sums of the fitness of the units of one chunk: hidden[i] is NULL where unit first + i is the same as the one before
 * it (score.c). */
void wn_judge_score(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end,
                    float *const *hidden);

/* ---- tasks (items.c) ---- */

/* Sequences and targets of the items of the minibatch. */
void wn_judge_open_items(const struct wn_judge *judge, struct wn_judge_stage *stage);
/* Numbers of a unit: loss of every target, then whether it is the most likely token. */
int64_t wn_judge_item_numbers(const struct wn_judge_stage *stage, int64_t part);
/* As wn_judge_score, of one part. */
void wn_judge_score_items(const struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end,
                          float *const *hidden);
/* Of all candidates, when all numbers are there. */
void wn_judge_finish_items(const struct wn_judge *judge, const struct wn_judge_stage *stage, double *fitness,
                           double *accuracy);

#endif
