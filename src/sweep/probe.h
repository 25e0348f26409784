/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe.h: what operations cost on this machine, measured at plan time by short runs of the code that computes points:
 * blocks, statistics, methods, head and decoding, on made-up numbers of the shapes of the model. About a second in all.
 * A model whose blocks are too large for that is made narrower by a power of two, twice, and costs are extended by
 * their two terms. Nothing but one block of the checkpoint is read.
 */
#ifndef WINNOW_PROBE_H
#define WINNOW_PROBE_H

#include "sweep_impl.h"

/* Seconds of a recipe's kind for one block. */
struct wn_recipe_cost {
    char *kind;      /* owned: what makes recipes cost the same */
    double compress; /* all linears, with their factors, statistics and output errors */
    double trial;    /* the linears of one trial of a search, without what is done once */
    bool sweeps;     /* column by column, with second moments */
    double rules;    /* per row of a forward: what rules of quantized inputs take beyond wn_linear */
};

/* Seconds of the parts that all kinds share, of one model. */
struct wn_model_cost {
    double load;      /* a block */
    int threads;      /* that they are for */
    double evaluated; /* seconds of evaluated rows and pairs as a share: below 1 with "compute": "bf16" */
    double row, pair; /* of a block: a row (times wn_linears_share), a row and a position it attends to (whole tiles) */
    double take[128]; /* [needs without second moments]: statistics of a row, all inputs; 0: not measured */
    double moments;   /* second moments of a row, all inputs */
    double add, add_moments; /* adding the statistics of a group */
    double tile, target;     /* head: converting it for a tile, and a row of logits; each for the whole vocabulary */
    double divergence_tile, divergence_target; /* the same for sets with divergence */
    double top;                                /* the largest logits of a target */
    double step, step_head; /* of WN_GENERATE_BATCH texts by one token: a block, the head; 0: nothing is generated */
    int64_t n_kinds;
    struct wn_recipe_cost *kinds; /* the first is the dense model; owned */
};

/* Costs of all models [n_models] with this many threads. Free with wn_probe_release. */
struct wn_model_cost *wn_probe(const struct wn_run *run);
void wn_probe_release(struct wn_model_cost **costs, int64_t n_models);
const struct wn_recipe_cost *wn_probe_kind(const struct wn_model_cost *cost, const struct wn_recipe *recipe);

/* Operations per second of a tile of wn_linear: the median of several, and the smallest and the largest. */
struct wn_rate {
    double median, least, most;
    int count;
};
void wn_probe_rate(struct wn_rate *rate);
/* Bytes per second of SHA-256. */
double wn_probe_hash(void);

/* Share of a parallel region that the thread with the most of its equal items has. What threads share, memory above
 * all, is not in it. */
double wn_longest_share(double items, int threads);
/* The same of the linears of a block over so many rows, by tiles; the rows of a group are multiplied together. */
double wn_linears_share(const struct wn_model *model, double rows, int threads);

/* Rows times positions that attention computes for a set: queries in runs of about so many, each against all that the
 * last one sees. */
#define WN_QUERY_ROWS 48
double wn_attention_pairs(const struct wn_sequences *sequences);

#endif
