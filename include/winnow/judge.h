/* SPDX-License-Identifier: Apache-2.0 */
/*
 * judge.h: the fitness of candidates of a search on a model, on all ranks.
 *
 *     struct wn_judge_spec spec = {.model = model, .space = &space, .calibration = &sequences, .fitness = fitness,
 *                                  .weights = weights, .context = &mine, .states = 64};
 *     WN_TRY(wn_judge_open(par, &spec, &judge));
 *     struct wn_search search = {..., .evaluate = wn_judge_evaluate, .context = judge};
 *
 * Candidates of a stage see one minibatch, cut into chunks. Work units are (chunk, candidate); a rank takes units side
 * by side in the order in which they share most (wn_sharing_deal) and goes down the blocks once with all of them, as
 * far as their states may be kept: units that agree on all blocks so far are one state. Every linear has two places for
 * its weights, so those of the parent stay while others come and go. Next-token distributions of the dense model are
 * made once for all candidates of a chunk, from final states that are computed once for all of a search.
 *
 * Sums of chunks are added in their order, and a unit is one rank's: the bits do not depend on ranks, threads, sharing
 * or the number of states.
 *
 * Or candidates are judged by a task: minus the mean over items of the log-likelihood of the right answer. A minibatch
 * is some of its items; what their texts begin with in common is run once (wn_eval_share), and units are (part,
 * candidate). Losses of targets are what ranks exchange; items are added in the order drawn.
 *
 * Depends on eval, level, model, par and search.
 */
#ifndef WINNOW_JUDGE_H
#define WINNOW_JUDGE_H

#include <winnow/eval.h>
#include <winnow/level.h>
#include <winnow/model.h>
#include <winnow/par.h>
#include <winnow/search.h>

/* Weights [rows, columns] of a linear at a level. Not collective. Not called for drop spaces. */
typedef wn_status wn_judge_weights(void *context, int64_t block, int64_t linear, int32_t level, float *weights);

/* How a linear with these weights is computed when its inputs are quantized as well (NULL: it is not), owned by the
 * caller; and the vectors of a block that are others than those of the model, overwritten in a loaded block. */
typedef wn_status wn_judge_rule(void *context, int64_t block, int64_t linear, int32_t level, const float *weights,
                                struct wn_activation **rule);
typedef wn_status wn_judge_vectors(void *context, int64_t block, struct wn_block *loaded);

/* ---- items of a task ---- */

/* What a search may see of a task: some of its items. The others are left for measuring what was found. */
struct wn_judge_items {
    const struct wn_eval_set *set; /* borrowed; knows what is right */
    int64_t count;
    int64_t *number;               /* [count] of the item in the set, rising; owned */
    int64_t *tokens;               /* [count] of its texts, but what a text has in common with the one before; owned */
    int64_t *sequence, *target;    /* [count + 1] first sequence and target of each, in the copies below; owned */
    int64_t *in_set;               /* [count] first target in the set; owned */
    struct wn_sequences sequences; /* copied; as the kind made them, not cut */
    int64_t *target_row;           /* copied; owned */
    int32_t *target_id;
};
/*
 * The first ceil(share * items) of all items in a random order that is the same for every search (draws
 * WN_DRAW_ITEMS), at least one: so none of the others is seen by a search with another seed, or with a smaller share.
 * 0 < share <= 1. The set is of a kind with `gold`, and wn_eval_share comes later.
 */
void wn_judge_items_create(const struct wn_eval_set *set, double share, struct wn_judge_items *items);
void wn_judge_items_release(struct wn_judge_items *items);

/* ---- the judge ---- */

/* All borrowed, and to outlive the judge. */
struct wn_judge_spec {
    const struct wn_model *model;
    const struct wn_space *space;
    const struct wn_sequences *calibration; /* without shared prefixes; NULL for a task */
    const struct wn_judge_items *items;     /* of fitness WN_FITNESS_task; else NULL */
    enum wn_fitness fitness;
    int64_t top; /* of sparse_kl */
    wn_judge_weights *weights;
    wn_judge_rule *rule;       /* NULL: no linear has one */
    wn_judge_vectors *vectors; /* NULL: those of the model */
    int64_t rule_bytes;        /* of two rules for each linear of a block, and of what one takes while it computes */
    void *context;
    int64_t states; /* hidden states of a chunk that a rank keeps at most, at least 1; of longer parts fewer */
    bool alone;     /* nothing is shared: for comparison */
};

struct wn_judge; /* opaque */

/* Computes the final states of the dense model for all calibration sequences, unless the fitness is perplexity or a
 * task; they are shared by the ranks of a node in a scratch file. Collective. */
wn_status wn_judge_open(struct wn_par *par, const struct wn_judge_spec *spec, struct wn_judge **judge);
void wn_judge_close(struct wn_judge **judge); /* not collective */

/* A wn_search_evaluate; the context is the judge. A candidate whose numbers are not finite gets such a fitness. An
 * error of `weights` on any rank is that of all. `accuracy` is written for a task only, and else may be NULL.
 * Collective. */
wn_status wn_judge_evaluate(void *judge, const int32_t *genomes, int64_t count, const struct wn_minibatch *batch,
                            double *fitness, double *accuracy);

/* What this rank has done since it opened the judge. */
struct wn_judge_work {
    int64_t tokens;       /* of its units: candidate tokens */
    int64_t block_tokens; /* that went through a block; tokens * blocks when nothing is shared */
    int64_t walks;        /* down the blocks */
    int64_t weights;      /* calls of `weights` */
};
struct wn_judge_work wn_judge_work(const struct wn_judge *judge);

/* ---- levels from files ---- */

/* A level database (level.h), one block of which is open at a time. */
struct wn_judge_levels {
    const char *folder, *key;     /* borrowed */
    const struct wn_model *model; /* borrowed; of rules and vectors */
    struct wn_level_block block;
    int64_t index; /* of the open block, -1: none */
};
void wn_judge_levels_init(struct wn_judge_levels *levels, const struct wn_model *model, const char *folder,
                          const char *key);
void wn_judge_levels_close(struct wn_judge_levels *levels); /* may be used again */
/* A wn_judge_weights; the context is the levels. An error names a level that is not there, or the file. */
wn_status wn_judge_level_weights(void *levels, int64_t block, int64_t linear, int32_t level, float *weights);
/* A wn_judge_rule and a wn_judge_vectors with the same context. */
wn_status wn_judge_level_rule(void *levels, int64_t block, int64_t linear, int32_t level, const float *weights,
                              struct wn_activation **rule);
wn_status wn_judge_level_vectors(void *levels, int64_t block, struct wn_block *loaded);
/* Errors of all genes at all their levels, for wn_space_minimize: [n_genes, high - low + 1]. Not for drop spaces. */
wn_status wn_judge_level_errors(struct wn_judge_levels *levels, const struct wn_space *space, double *errors);

/* ---- memory ---- */

/* Bytes that wn_judge_evaluate takes on a rank at most, and of the scratch file of a node. */
int64_t wn_judge_bytes(const struct wn_judge_spec *spec);
int64_t wn_judge_shared_bytes(const struct wn_judge_spec *spec);

#endif
