/* SPDX-License-Identifier: Apache-2.0 */
/*
 * walk.h: the state of a walk down the blocks, a struct for each stage; private to src/point. A stage is a file that
 * sees its own struct, the subject and the workspace; walk.c alone has them all and says what comes after what.
 */
#ifndef WINNOW_POINT_WALK_H
#define WINNOW_POINT_WALK_H

#include "point_impl.h"

/* ---- what all stages have in common ---- */

/* What is walked; it stays as it is. */
struct wn_subject {
    const struct wn_run *run;
    const struct wn_prepared_model *prepared;
    const struct wn_model *model;
    const struct wn_point *point;
    const struct wn_reference *reference;
};
/* The calibration set of the point, NULL without one. */
const struct wn_calibration *wn_subject_calibration(const struct wn_subject *subject);

/* Whether an evaluation is walked: one that the row has already is left alone. */
bool wn_subject_wants(const struct wn_subject *subject, int64_t set);

/* ---- places inside a block where a point can be left (inside.c) ---- */

/* The parts of a block, one after the other. */
enum wn_part { WN_PART_NONE, WN_PART_ROUTE, WN_PART_GATHER, WN_PART_SCALE, WN_PART_LINEARS, WN_PART_PUSH, WN_PARTS };
/* What is done of a part: runs of sequences that the dense model has routed, groups of statistics, trials of the search
 * of scales, linears, or runs of sequences that were pushed; all zero: nothing of the block. */
struct wn_place {
    int64_t part, done;
    int64_t groups; /* of statistics that are summed anew for the next linear */
};
/* Where stages ask whether to go on; they return what is not WN_OK, and another start goes on from there. */
struct wn_pauses {
    struct wn_place from; /* where that start goes on in the block that it begins with */
    wn_status (*at)(void *context, const struct wn_place *place, int64_t all);
    void *context;
};
/* all: of the part, so that done / all is its share. `pauses` NULL: nobody asks, for both. */
wn_status wn_pause(const struct wn_pauses *pauses, struct wn_place place, int64_t all);
/* What an earlier start has done of a part of the current block; 0: nothing. */
int64_t wn_pauses_done(const struct wn_pauses *pauses, enum wn_part part);

/* Room for rows on their way through a block: the stages use it one after the other. */
struct wn_workspace {
    int64_t group_rows; /* that are run at once: what copy and scratch are for */
    float *copy;        /* [group_rows, hidden] */
    float *scratch;
    int64_t *offset; /* [most sequences of a set + 1] */
    double tokens;   /* rows that went through blocks so far */
    const struct wn_pauses *pauses;
};
void wn_workspace_open(struct wn_workspace *workspace, const struct wn_subject *subject);
void wn_workspace_release(struct wn_workspace *workspace); /* `tokens` stays */
/* Hidden states [tokens, hidden] before the first block; owned by the caller. */
float *wn_workspace_embed(const struct wn_model *model, const struct wn_sequences *sequences);
/* Runs a block over all chunks of a set, hidden [tokens, hidden] in place. */
void wn_workspace_push(struct wn_workspace *workspace, const struct wn_model *model, const struct wn_block *block,
                       const struct wn_sequences *sequences, float *hidden);
/* The same for one of the sets of a walk, but for what an earlier start has done. */
struct wn_pushing {
    enum wn_part part;
    int64_t done, all; /* parts (model.h, wn_sequences_parts) of all sets */
};
wn_status wn_workspace_push_set(struct wn_workspace *workspace, const struct wn_model *model,
                                const struct wn_block *block, const struct wn_sequences *sequences, float *hidden,
                                struct wn_pushing *pushing);
/* Copies by all threads. */
void wn_copy_floats(float *to, const float *from, int64_t count);

/* ---- experts of the calibration set that the dense model chooses (routing.c) ---- */

struct wn_routing {
    struct wn_sequences choosing, routed; /* the set, borrowed: rows that choose, and rows that go there */
    float *hidden;    /* [tokens, hidden] behind dense blocks; NULL: routers choose for themselves */
    int32_t *experts; /* [tokens, chosen] of the current block */
};
void wn_routing_open(struct wn_routing *routing, const struct wn_subject *subject);
void wn_routing_release(struct wn_routing *routing);
/* Pushes the dense states through a dense block, and so learns the experts of its rows. */
wn_status wn_routing_choose(struct wn_routing *routing, const struct wn_subject *subject,
                            struct wn_workspace *workspace, const struct wn_block *block);
int64_t wn_routing_experts_bytes(const struct wn_model *model, const struct wn_sequences *sequences);

/* ---- statistics of the inputs of a block (collect.c) ---- */

struct wn_collector {
    const struct wn_sequences *sequences; /* NULL: the point pushes no calibration sequences itself */
    float *hidden;                        /* [tokens, hidden]: inputs of the current block */
    unsigned needs;                       /* of the recipe */
    void *statistics, *group_statistics;  /* of the current block; the second only when the first is made here */
    struct wn_factor_cache factors[WN_MAX_INPUTS];
    struct wn_routing routing;
    const struct wn_pauses *pauses;
};
void wn_collector_open(struct wn_collector *collector, const struct wn_subject *subject);
void wn_collector_release(struct wn_collector *collector, const struct wn_subject *subject);
/* The statistics of a dense block: collected, or those of the shared dense pass. */
wn_status wn_collector_gather(struct wn_collector *collector, const struct wn_subject *subject,
                              struct wn_workspace *workspace, int64_t block_index, const struct wn_block *block);
/* Behind linear order[made] of `count`: a factor that no later one reads is released. */
void wn_collector_leave(struct wn_collector *collector, const struct wn_layout *layout, const int *order, int count,
                        int made);
/* Collects those of the inputs of one step anew, from the sequences through `block`, when `made` of `all` linears are
 * made; groups that an earlier start has summed are there. */
wn_status wn_collector_again(struct wn_collector *collector, const struct wn_subject *subject,
                             struct wn_workspace *workspace, const struct wn_block *block, int step, int64_t groups,
                             int64_t made, int64_t all);
/* Adds what is known of an input of the current block to `stats`. */
void wn_collector_tell(struct wn_collector *collector, const struct wn_subject *subject, int input,
                       struct wn_input_stats *stats);

/* ---- the linears of a block (compress.c) ---- */

struct wn_compressor {
    struct wn_recipe *recipes; /* [n_linears] of those of the current block, by their levels; owned */
    int64_t block_index;
    const struct wn_block *dense; /* the current block */
    bool left_out[WN_BRANCHES];   /* in the current block */
    struct wn_block *compressed;  /* NULL: the recipe has no stage */
    uint8_t *keep;                /* [weights of the largest linear] */
    const int64_t *exact_zeros;   /* [n_linears] of the current block, of the allocation; NULL: as recipes say */
    bool shares_zeros;
    int64_t zeros[WN_MAX_LINEARS];                     /* of the current block, when its linears are pruned as one */
    struct wn_activation *activations[WN_MAX_LINEARS]; /* rules of the current block; NULL: none */
    float *scales[WN_MAX_INPUTS];                      /* of the inputs of the current block; NULL: none */
    int trials[WN_MAX_INPUTS];                         /* which trial of the search a scale is */
    float *run_moments[WN_MAX_INPUTS];                 /* what the search has summed for clipping; NULL: nothing */
    double *loss;                                      /* [n_inputs, trials] of the search; NULL: there is none */
    bool restored; /* what was made of the current block is from an earlier start: the next begin keeps it */
    const struct wn_pauses *pauses;
    bool folded; /* the evaluated block divides inputs by their scales */
};
/* A linear as the point has it. */
struct wn_made {
    struct wn_compressed form; /* its rule for inputs stays with the compressor */
    double bits;               /* per weight, nominal */
    int64_t stored;            /* bytes */
    int64_t rows;              /* of calibration that its input had; -1: not calibrated */
    bool fell_back;            /* there were none: made without data (wn_recipe_without_data) */
};
void wn_compressor_open(struct wn_compressor *compressor, const struct wn_subject *subject);
void wn_compressor_release(struct wn_compressor *compressor, const struct wn_model *model);
/* A new block, which must stay; what was made of the one before is forgotten. */
void wn_compressor_begin(struct wn_compressor *compressor, const struct wn_subject *subject,
                         const struct wn_allocation *allocation, int64_t block_index, const struct wn_block *dense);
/* What the inputs are divided by, as the method says or a search finds. */
wn_status wn_compressor_scale(struct wn_compressor *compressor, const struct wn_subject *subject,
                              struct wn_collector *collector, struct wn_workspace *workspace);
/* Whether the evaluated linears are those in `compressed`, but where branches are left out. */
bool wn_point_changes_linears(const struct wn_point *point);
/* Makes a linear: compressed, as it was, or left out. Release it when it was made. */
wn_status wn_compressor_make(struct wn_compressor *compressor, const struct wn_subject *subject,
                             struct wn_collector *collector, int linear, struct wn_made *made);
void wn_made_release(struct wn_made *made);
/* The block with the compressed linears of the first steps of inputs and their rules, with the dense vectors and biases
 * but for vectors that were divided. WN_ALL_STEPS: the block that evaluation goes through. Returns `view`. */
enum { WN_ALL_STEPS = 1 << 14 };
const struct wn_block *wn_compressor_view(const struct wn_compressor *compressor, const struct wn_layout *layout,
                                          int n_steps, struct wn_block *view);

/* ---- the reference sample of output_error (sample.c) ---- */

struct wn_sample {
    float *hidden; /* [sample tokens, hidden] of the dense model */
    float *all;    /* the inputs of the current block, one behind the other, [rows, width] each */
    int64_t rows[WN_MAX_INPUTS], begin[WN_MAX_INPUTS];
    int64_t used;              /* floats of all */
    float *dense, *compressed; /* [sample tokens, widest output] */
    float *scaled;             /* [sample tokens, widest input]; NULL unless the recipe wants maxima */
};
void wn_sample_open(struct wn_sample *sample, const struct wn_subject *subject);
void wn_sample_release(struct wn_sample *sample);
/* Pushes the sample through the dense block and keeps the inputs of its linears. */
void wn_sample_push(struct wn_sample *sample, const struct wn_subject *subject, struct wn_workspace *workspace,
                    const struct wn_block *dense);
/* What the evaluated linear is off by, relative to the dense one; rule and scale of its input may be NULL. NaN: no
 * token of the sample chose it. The rows of an expert count as one sequence. */
double wn_sample_error(struct wn_sample *sample, const struct wn_subject *subject, int linear, const float *dense,
                       const float *compressed, const struct wn_activation *rule, const float *scale);

/* ---- bytes that files take (stored.c) ---- */

/* Of a linear, with what the rule of its inputs needs besides. */
int64_t wn_stored_linear(const struct wn_compressed *form);
/* Of all tensors that are no linears, as in the checkpoint, without blocks that are left out. */
int64_t wn_stored_others(const struct wn_model *model, const struct wn_allocation *allocation);

/* ---- what is written down (record.c) ---- */

struct wn_recorder {
    struct wn_record *record;
    /* Sums over all linears, for the totals of the point. */
    double weights, zeros, bits, stored, squared_norm, squared_error, output_error, linears;
    double active, active_bits; /* of the weights that a token goes through */
    uint64_t weights_hash;      /* of all weights that are evaluated */
};
void wn_recorder_take(struct wn_recorder *recorder, const struct wn_subject *subject, int64_t block_index, int linear,
                      const float *dense, const struct wn_made *made, double output_error);
/* Vectors of a block that were divided by the scales of inputs are weights too. */
void wn_recorder_vectors(struct wn_recorder *recorder, const struct wn_subject *subject,
                         const struct wn_compressor *compressor, const struct wn_block *view);
void wn_recorder_finish(struct wn_recorder *recorder, const struct wn_subject *subject,
                        const struct wn_allocation *allocation, const double seconds[WN_STAGES],
                        const struct wn_point_report *report, int64_t peak_bytes);
/* What the allocation has to say of the blocks. */
void wn_recorder_allocation(const struct wn_recorder *recorder, const struct wn_subject *subject,
                            const struct wn_allocation *allocation);
/* The last error becomes the reason, unless there is one: the first counts. */
void wn_recorder_reason(struct wn_recorder *recorder, const struct wn_subject *subject);

/* ---- evaluation (score.c, generation.c) ---- */

struct wn_evaluation {
    int64_t n_sets;                          /* all, or none */
    float **hidden;                          /* [n_sets]: [tokens, hidden]; NULL: the row has it already */
    struct wn_efficiency_result *efficiency; /* what was measured; NULL: nothing */
    bool generates;                          /* a set has texts to be generated, or speeds to be measured: */
    struct wn_kept_blocks kept;              /* all blocks as they are evaluated */
    struct wn_generated *texts;              /* [n_sets] */
    double **text_losses;                    /* [n_sets] under the dense model; NULL: not wanted */
};
void wn_evaluation_open(struct wn_evaluation *evaluation, const struct wn_subject *subject, int64_t n_sets);
void wn_evaluation_release(struct wn_evaluation *evaluation);
/* Tensors outside the blocks: a number that is not finite there would only show as losses that are not. */
wn_status wn_evaluation_check(const struct wn_evaluation *evaluation, const struct wn_subject *subject);
/* All sets through a block; it is kept when texts are to be generated. */
wn_status wn_evaluation_push(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                             struct wn_workspace *workspace, int64_t block_index, const struct wn_block *block,
                             struct wn_activation **activations, struct wn_pushing *pushing);
/* Speeds of the kept blocks, or those of a point of the same form (speed.c). */
wn_status wn_evaluation_measure(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                                const struct wn_efficiency *asked);
struct wn_resume;
/* Texts of all sets, and speeds (generation.c), then, when the kept blocks are gone, their losses under the dense
 * model. *tokens grows by the rows that were run. WN_ERR_INTERRUPTED between two batches, all texts made so far and the
 * kept blocks still there, when there is no time for more. */
wn_status wn_evaluation_generate(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                                 const struct wn_resume *resume, double *tokens);
/* Scores of all sets into the record, after one that fails too; without those of texts when they failed. */
wn_status wn_evaluation_score(struct wn_evaluation *evaluation, const struct wn_subject *subject, wn_status generated,
                              struct wn_recorder *recorder);

#endif
