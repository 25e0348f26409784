/* SPDX-License-Identifier: Apache-2.0 */
/*
 * point.h: one point: what it is, all that it is computed from, and computing it.
 *
 *     wn_reference_compute(par, run, wanted, &reference);          the shared dense pass            (collective)
 *     for each point:  wn_point_compute(run, &reference, point, &record, &report);
 *     wn_reference_release(&reference);
 *
 * sweep.h makes a struct wn_run from a sweep file. Not collective unless said.
 */
#ifndef WINNOW_POINT_H
#define WINNOW_POINT_H

#include <winnow/allocation.h>
#include <winnow/base.h>
#include <winnow/data.h>
#include <winnow/eval.h>
#include <winnow/method.h>
#include <winnow/model.h>
#include <winnow/par.h>
#include <winnow/results.h>
#include <winnow/search.h>

struct wn_sweep;
struct wn_cell;
struct wn_judge_items;
struct wn_measured;

/* ---- points ---- */

enum wn_propagation { WN_PROPAGATION_NONE, WN_PROPAGATION_SEQUENTIAL, WN_PROPAGATION_DENSE };
const char *wn_propagation_name(enum wn_propagation propagation); /* "", "sequential", "dense" */

/* A unique point: what is computed once. Point 0 of each model is the dense model. */
struct wn_point {
    const char *key; /* of the grid's keys: a canonical text that is equal only for points that are provably equal */
    int64_t model;
    struct wn_recipe recipe;
    int64_t calibration; /* -1: the recipe needs none */
    /* Dense also when calibration data decides no more than the sparsity of each block. */
    enum wn_propagation propagation;
    /* Under sequential propagation: rows of the calibration set go to the experts that the dense model chooses; else to
     * those that routers choose by what they read behind compressed blocks, as in evaluations. */
    bool routes_dense;
    int64_t n_cells; /* that it answers */
};

struct wn_grid_points {
    int64_t n_points, n_cells;
    struct wn_texts keys;     /* [n_points] */
    struct wn_point *points;  /* owned */
    struct wn_cell *cells;    /* owned */
    struct wn_problems notes; /* what of the products has no effect, for one rank to tell */
};

/* ---- what they are computed from, on every rank ---- */

struct wn_prepared_model {
    struct wn_model *model;
    struct wn_calibration *calibrations; /* [n_calibrations]; empty when no point of the model needs it */
    struct wn_eval_set *sets;            /* [n_sets] */
    struct wn_sequences sample;          /* the reference sample of output_error, one chunk */
    struct wn_schema schema;             /* fields of this model's records */
    int64_t *weight_fields;              /* schema indices of the weight statistics, in table order */
    int64_t *solver_fields;              /* the same of the solver's, NULL when no point uses second moments */
    int64_t *search_fields;              /* the same of searches, NULL when no point searches */
    int64_t *expert_fields; /* rows and fallbacks of linears, bits per active weight; NULL: there are no experts */
    int (*note_fields)[WN_MAX_NOTES]; /* [kinds of allocation] the same of their notes, where a point has them */
    int64_t *level_fields;            /* sparsity and bits of every linear, NULL when nothing is searched for them */
    char *hash;                       /* lines "sha256 file" of config, weights and tokenizer */
};

/* A point whose allocation is searched for. */
struct wn_point_search {
    int64_t point;                      /* of the grid */
    int64_t calibration;                /* on which candidates are judged; -1: by a task */
    int64_t task;                       /* evaluation that they are judged by; -1: on a calibration set */
    struct wn_judge_items *items;       /* of it; owned; NULL: on a calibration set */
    struct wn_search_settings settings; /* owned */
    struct wn_space space;              /* owned */
    int64_t generations;                /* behind the first choice */
    int64_t n_sequences, *lengths;      /* sequences of the set or items, [n_sequences] their tokens; owned */
    int log;                            /* where its generations are kept in the results file */
    int64_t item;
};

#define WN_WEIGHTS_HASH 17 /* bytes of its text */

/* Fields every point has; indices into each model's schema (equal for all models). */
struct wn_point_fields {
    int reason, host, rank, threads, seconds, seconds_load, seconds_statistics, seconds_compress, seconds_forward,
        seconds_generate, seconds_score, peak_bytes, tokens;
    int sparsity, bits_per_weight_nominal, stored_bytes, stored_bytes_linears, weight_error, output_error, error_sum,
        weights_hash;
    int evaluation_start; /* [evaluations] row of /starts of the run that computed each; set behind wn_point_compute */
};

/*
 * Told how far a rank is, from the thread that computes: `point` -1 is the shared dense pass, `done` of `all` steps
 * (blocks) are finished. Called between steps, so it must be quick.
 */
struct wn_watcher {
    void (*step)(void *context, int64_t point, int64_t done, int64_t all); /* NULL: nobody watches */
    void *context;
};

struct wn_run {
    const struct wn_sweep *sweep;
    struct wn_watcher watcher; /* of this rank; set by wn_run_sweep */
    struct wn_saver *saver;    /* likewise, scratch.h; NULL: nothing is saved, and no stop looked for */
    struct wn_grid_points grid;
    int64_t n_models, n_sets, n_calibrations; /* n_sets: evaluations */
    struct wn_prepared_model *models;
    struct wn_point_fields fields;
    struct wn_schema schema; /* of the file: the models' schemas merged, every axis as long as the longest */
    int64_t n_searches;
    struct wn_point_search *searches; /* owned, in the order of points */
    int n_logs;
    struct wn_log *logs; /* owned, one for every search of the sweep file that a point names; theirs is all they have */
    struct wn_table points, cells;
    char *identity;
    /* [points][n_sets] evaluations that a row has already, so that they are not computed; NULL: none; owned */
    bool *evaluated;
    struct wn_measured *measured; /* speeds that this rank has measured, by form of a model; owned */
};

/* Nothing is measured yet. */
struct wn_measured *wn_measured_create(void);
void wn_measured_destroy(struct wn_measured **measured);

/* Whether an evaluation is still to be computed for a point that is not done. */
bool wn_run_lacks(const struct wn_run *run, int64_t point, int64_t evaluation);
/* Tells the watcher of a run. */
void wn_watch(const struct wn_run *run, int64_t point, int64_t done, int64_t all);

/* ---- the shared dense pass ---- */

struct wn_reference {
    /* [models][sets]: final-normed states [n_targets, hidden] of the dense model; NULL data without divergence */
    struct wn_shared **states;
    /* [models][sets]: loss and greedy [n_targets] of the dense model; NULL data unless the kind compares */
    struct wn_shared **loss, **greedy;
    /* [models][sets]: records of the texts the dense model generates (struct wn_generated); NULL data for other sets */
    struct wn_shared **generated;
    /* [models][calibrations]: statistics of every block's inputs on dense activations, wn_statistics_bytes each; NULL
     * data unless a point with dense propagation or a sparsity per block needs them. needs: what they hold. */
    struct wn_shared **statistics;
    unsigned **needs;
    /* [models][calibrations]: evidence for allocations (allocation.h), empty unless a point needs it */
    struct wn_outlier_shares **outliers;
    struct wn_left_out **left_out;
    struct wn_found *found; /* [points]: what searches have found, empty for other points */
    int64_t n_models, n_sets, n_calibrations, n_points;
};
/* Collective: units of chunks are split over the ranks, results shared inside a node and exchanged between nodes; ranks
 * without a unit wait, sleeping. `wanted` [points] says which points are still to be computed. */
wn_status wn_reference_compute(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                               struct wn_reference *reference);
void wn_reference_release(struct wn_reference *reference);

/* Memory of the dense pass of one model for all points, when `ranks` ranks share it. */
struct wn_reference_bytes {
    int64_t rank;    /* most of any rank, of its own memory */
    int64_t group;   /* of every rank with calibration groups besides, in memory of its node: sums of one group */
    int64_t groups;  /* calibration groups: so many ranks can share them */
    int64_t workers; /* ranks with any work */
};
void wn_reference_predict(const struct wn_run *run, int64_t model, int ranks, struct wn_reference_bytes *bytes);

/* ---- searches ---- */

/* Where generations are kept; called on rank 0 alone. `search` is its number in run->searches. */
struct wn_generations {
    /* parent [genes]: of the last whole generation, *generation its number; -1: there is none. */
    wn_status (*load)(void *context, int64_t search, int64_t *generation, int32_t *parent);
    wn_status (*save)(void *context, int64_t search, const struct wn_search_state *state, double seconds);
    void *context;
};
/*
 * Collective: runs the searches of the wanted points [points], one after the other, each behind its last stored
 * generation; reference->found gets the outcomes. WN_ERR_INTERRUPTED between two generations when a stop is requested
 * or the next one would end too late. One that meets numbers that are not finite leaves nothing: its point fails.
 */
wn_status wn_searches_run(struct wn_par *par, const struct wn_run *run, const bool *wanted,
                          const struct wn_generations *store, struct wn_reference *reference);
/*
 * What levels with "calibration_bits" see of their inputs: the statistics of every dense block behind blocks that are
 * quantized, by the recipe of the point, at so many bits: those of the point with these bits everywhere and sequential
 * propagation, bit for bit. *quantized is the dense `reference` but for these of the calibration set of the point;
 * release it before that, after an error, too. Ranks split the units of the set as the dense pass does, those with any
 * quantize every block for themselves; a stop leaves its states likewise. `search`: its number in run->searches.
 * WN_ERR_INTERRUPTED; WN_ERR_NUMERIC of a block. Collective.
 */
wn_status wn_quantized_make(struct wn_par *par, const struct wn_run *run, const struct wn_reference *reference,
                            int64_t search, struct wn_reference *quantized);
void wn_quantized_release(const struct wn_run *run, const struct wn_point *point, struct wn_reference *quantized);
/* Bytes of a rank of `ranks` while it runs, and *shared of a node; 0: it does not. */
int64_t wn_quantized_bytes(const struct wn_run *run, const struct wn_point_search *search, int ranks, int64_t *shared);

/* Bytes of a rank while a search runs, and *shared of a node. */
int64_t wn_point_search_bytes(const struct wn_run *run, const struct wn_point_search *search, int64_t *shared);

/* ---- one point ---- */

struct wn_point_report {
    double seconds, tokens; /* tokens: rows pushed through blocks; both with those of earlier starts */
    double saved;           /* with WN_ERR_INTERRUPTED: blocks that are done and saved, with the share of the next */
};
/*
 * Walks the model once: load a block, collect statistics, compress, push calibration and evaluation sequences on, drop
 * it; then scores, of what the row lacks (wn_run_lacks). Fills `record` (of the model's schema). A failure inside (a
 * NaN in a weight ...) is returned as a status, with its reason in the record. Not collective.
 *
 * With a saver: begins where the state of an earlier start that is on scratch ends, behind a block or inside one, and
 * when a stop is requested, or the next piece of work would end too late, saves its own and returns WN_ERR_INTERRUPTED.
 */
wn_status wn_point_compute(const struct wn_run *run, const struct wn_reference *reference, int64_t point,
                           struct wn_record *record, struct wn_point_report *report);

/* Removes the state of a point, which is written. */
void wn_point_forget(const struct wn_run *run, int64_t point);
/* Bytes of the largest state of a point. */
int64_t wn_point_state_bytes(const struct wn_run *run, int64_t point);

/* Gets every linear of a point, block by block: borrowed while the call runs, `weight` always there. A failure ends the
 * walk. */
struct wn_point_sink {
    wn_status (*take)(void *context, int64_t block, int linear, const struct wn_compressed *compressed);
    void *context;
};
/*
 * The walk of wn_point_compute without evaluation: the same linears, bit for bit, go to `sink`, and `record` gets
 * everything but scores. `reference` may be NULL unless the point has dense propagation or a sparsity per block. Not
 * collective.
 */
wn_status wn_point_compress(const struct wn_run *run, const struct wn_reference *reference, int64_t point,
                            const struct wn_point_sink *sink, struct wn_record *record);

/* The parts of a point's time, named as in /points/seconds_NAME. */
enum wn_point_stage {
    WN_STAGE_LOAD,
    WN_STAGE_STATISTICS,
    WN_STAGE_COMPRESS,
    WN_STAGE_FORWARD,
    WN_STAGE_GENERATE,
    WN_STAGE_SCORE,
    WN_STAGES
};
const char *wn_stage_name(enum wn_point_stage stage);

/* Bytes one rank allocates for a point: the same formulas that allocate. */
struct wn_point_need {
    int64_t alone;  /* all of them */
    int64_t beside; /* without what a rank takes while it measures speeds alone: one rank of a node at a time */
};
void wn_point_need(const struct wn_run *run, int64_t point, struct wn_point_need *need);
/* need.alone. Looks at all sets: keep it where it is asked for again. */
int64_t wn_point_bytes(const struct wn_run *run, int64_t point);

#endif
