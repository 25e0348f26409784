/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweep.h: from a sweep file to a results file.
 *
 *   wn_sweep_read      the file, every mistake of it at once            (not collective, no model needed)
 *   wn_grid_build      products -> cells -> unique points                (not collective)
 *   wn_prepare         models, tokens, schema, identity                  (collective: ranks share the work)
 *   wn_predict         seconds, memory per rank, bytes of the file       (not collective)
 *   wn_run             the dense reference pass, then points from the queue, each written when done   (collective)
 *
 * `sweep` alone knows methods, evaluations and results; these do not know each other.
 */
#ifndef WINNOW_SWEEP_H
#define WINNOW_SWEEP_H

#include <winnow/base.h>
#include <winnow/data.h>
#include <winnow/eval.h>
#include <winnow/method.h>
#include <winnow/model.h>
#include <winnow/par.h>
#include <winnow/point.h>
#include <winnow/results.h>

struct cJSON;

/* ---- the sweep file ---- */

struct wn_sweep_eval {
    char name[64];
    const struct wn_eval *kind;
    const struct cJSON *spec; /* borrowed from the sweep */
    bool divergence;
    int64_t top, logit_targets;
};

/* One of several ways to calibrate on a set: its draw (0: that of the set, r: that of its seed + r), and noise on the
 * hidden states in front of the first block (model.h, wn_sequences): relative, seeded; 0: none. */
struct wn_variation {
    int64_t replicate;
    double perturb;
    int64_t perturb_seed;
};

/* Sets of the file, then those that products make of them by "replicates" and "perturb": "NAME#REPLICATE",
 * "NAME~PERTURB~SEED", parts that are 0 left out. */
struct wn_sweep_calibration {
    char name[128];
    const struct cJSON *spec; /* of the sweep, or `drawn` */
    struct cJSON *drawn;      /* owned: the spec of another draw; NULL: it is that of the file */
    int64_t base;             /* the set of the file, which may be this one */
    int64_t draw;             /* the set with its tokens: itself, unless it is perturbed */
    struct wn_variation variation;
};

struct wn_sweep_search {
    char name[64];
    const struct cJSON *spec; /* borrowed from the sweep */
};

struct wn_sweep {
    char *path, *text, *name, *output; /* output may be NULL */
    char *scratch;                     /* folder for what a stop leaves; NULL: beside the output */
    char *directory; /* what relative paths of inputs refer to: "inputs", else the folder of the file */
    struct cJSON *json;
    int64_t n_models;
    char **models; /* directories, as opened */
    int64_t n_calibrations;
    struct wn_sweep_calibration *calibrations;
    int64_t n_evals;
    struct wn_sweep_eval *evals;
    bool tokenizer_file;      /* "tokenizer": "file": wn_tokenizer_open_file */
    enum wn_compute compute;  /* "compute": of the linears of the forward */
    const char *prefix_token; /* in front of texts without context, see wn_tokenizer_set_front; NULL: not given */
    int64_t n_searches;
    struct wn_sweep_search *searches;
    const struct cJSON *grid; /* array */
    char sample_name[128];    /* the set whose first tokens are the reference sample of output_error */
    int64_t sample_tokens;
    struct wn_paths inputs; /* all text and request files, which were opened to check them */
};

/*
 * Reads and checks a sweep file and every text and request file it names; all mistakes become lines of `problems`.
 * Returns WN_ERR_INPUT when there were any; *sweep is then still valid for release, and its grid may be incomplete.
 */
wn_status wn_sweep_read(const char *path, struct wn_problems *problems, struct wn_sweep **sweep);
/* Where a sweep written for no particular machine finds its inputs; replaces keys of the file before it is read.
 * Relative paths refer to the working folder. */
struct wn_sweep_places {
    const char *model;  /* a checkpoint directory instead of "model"; NULL: as the file says */
    const char *inputs; /* the folder that relative paths refer to instead of "inputs"; NULL: as the file says */
};
/* The same with inputs elsewhere: the text of the sweep, as stored in results files, is then that of the sweep with
 * both keys replaced by absolute paths, without comments. */
wn_status wn_sweep_read_at(const char *path, const struct wn_sweep_places *places, struct wn_problems *problems,
                           struct wn_sweep **sweep);
/* The same from the text of a sweep file; `path` is for messages, and relative paths refer to its folder. */
wn_status wn_sweep_parse(const char *path, const char *text, struct wn_problems *problems, struct wn_sweep **sweep);
void wn_sweep_close(struct wn_sweep **sweep);
/* The page of `winnow help sweep`, printed from the tables. */
void wn_sweep_help(struct wn_text *text);
/* The JSON Schema (draft 2020-12) of sweep files, made from the tables: sweeps/sweep.schema.json. */
void wn_sweep_schema(struct wn_text *text);

/* ---- grid ---- */

/* A requested grid cell, as written in the sweep file, and the point that answers it. */
struct wn_cell {
    int64_t model, point;
    struct wn_recipe *own; /* owned: the recipe as written where it is not that of the point; NULL: see below */
    int64_t calibration;   /* as requested, -1 when not given */
    enum wn_propagation propagation;
    bool routes_dense;
};

/*
 * Expands the products; mistakes (unknown method, parameter out of range, empty axis ...) go to `problems`. Time and
 * memory grow with the number of cells: about 10 microseconds and 2 to 4 kB each.
 */
void wn_grid_build(const struct wn_sweep *sweep, struct wn_problems *problems, struct wn_grid_points *grid);
void wn_grid_release(struct wn_grid_points *grid);
/* The recipe of a cell as written, also with stages that change nothing. Borrowed. */
const struct wn_recipe *wn_cell_recipe(const struct wn_grid_points *grid, const struct wn_cell *cell);
/* The method of a key, "wanda+rtn" of a joint point, without its settings. Owned by the caller. */
char *wn_point_label(const char *key);
/* The number of that label in a set; a new one is added. */
int64_t wn_point_kind(struct wn_texts *labels, const char *key);
/* Short names [n_points]: the label, and of the settings only those in which points of this label differ. */
char **wn_point_names(const struct wn_grid_points *grid);
void wn_point_names_free(char ***names, int64_t n_points);

/* ---- everything that points are computed from ---- */

/*
 * Opens models and builds token sequences, schema, tables and identity. Collective over `par`: encodings are computed
 * by one rank each and shared. All mistakes go to `problems` on every rank. With `hash` every file is hashed, once on
 * each node, and ranks that read different files are WN_ERR_INPUT; without, as for a plan, nothing large is read whole
 * and the identity names no model files.
 */
wn_status wn_prepare(struct wn_par *par, const struct wn_sweep *sweep, bool hash, struct wn_problems *problems,
                     struct wn_run **run);
void wn_run_release(struct wn_run **run);
/* Bytes that the points and cells themselves take on every rank: the grid, its tables and the identity. */
int64_t wn_run_grid_bytes(const struct wn_run *run);

/* Describes the plan to lay out a results file; borrows from run and provenance. */
void wn_run_results_plan(const struct wn_run *run, const struct wn_facts *provenance, struct wn_results_plan *plan);
/* Who built it, with what, where, on which input. Collective. */
void wn_provenance(struct wn_par *par, const struct wn_run *run, struct wn_facts *facts);

/* The genome [genes] that a search of this sweep has found, as a results file has it; WN_ERR_INPUT when it has not come
 * to its end there. */
wn_status wn_search_read_found(const struct wn_run *run, const struct wn_point_search *search, const char *path,
                               int32_t *genome);

/* ---- prediction ---- */

struct wn_prediction {
    double *flops;                        /* [points] floating-point operations */
    double *seconds;                      /* [points] of one rank */
    double (*stages)[WN_STAGES];          /* [points] of which */
    double *tokens;                       /* [points] rows through blocks, without generated text */
    double *evals;                        /* [evals] seconds of all points together: forward, texts, scores */
    double rate, rate_least, rate_most;   /* operations per second of one thread in a tile: median and range of */
    int rate_count;                       /* so many */
    double dense_seconds;                 /* the shared dense pass, all its units on one rank */
    double dense_load_seconds;            /* loading its blocks, on every rank */
    int64_t dense_units;                  /* that ranks can share */
    double search_seconds, search_tokens; /* searches, all on one rank, without what candidates share; their tokens */
    double hash_seconds;                  /* hashing the checkpoints, on one rank of a node */
    int64_t shared_bytes;                 /* per node: dense states and statistics, and sums of the pass */
    int64_t turn_bytes;                   /* of the one rank of a node that measures speeds, besides */
    int64_t rank_bytes;                   /* per rank: the largest point, and the grid */
    int64_t file_bytes;
    char largest[160];    /* what the memory is for, in words */
    char *memory_warning; /* owned: the ranks, all on one node like this machine, do not fit; NULL: they do */
};
struct wn_predict_options {
    int threads;           /* per rank; measured with as many as this machine has; beyond: items of stages in rounds */
    double rate;           /* operations per second of one thread of the machine meant; 0: this one */
    const char *rate_from; /* a results file of the machine meant: its seconds per token and stage; NULL: none */
    int ranks;             /* of one node, for memory; 0: one */
    const bool *only;      /* [points] that count, the seconds of others are 0; NULL: all */
};
/*
 * Short runs of the code that computes points, about a second in all (probe.h), times what has to be done. Fails only
 * when `rate_from` cannot be read; the prediction is to be released anyway. Not collective.
 */
wn_status wn_predict(const struct wn_run *run, const struct wn_predict_options *options,
                     struct wn_prediction *prediction);
void wn_prediction_release(struct wn_prediction *prediction);
/* A predicted time may be short by so much before points of the method were measured: what must fit into a slot. */
#define WN_SLOT_MARGIN 1.3
/* Seconds of a slot that are for what comes behind its last point. */
double wn_slot_closing(double slot);
/* When the last of `count` jobs ends that are handed out dearest first to equal ranks. */
double wn_schedule_seconds(const double *seconds, int64_t count, int64_t ranks);
/* Floating-point operations of a point. */
double wn_point_flops(const struct wn_run *run, int64_t point);
/* Of all points [points]; what they have in common is counted once. */
void wn_points_flops(const struct wn_run *run, double *flops);

/* ---- the whole sweep ---- */

/*
 * Points by the values of their axes: "method=wanda|rtn,sparsity=0.5" (values of one key are alternatives, all keys
 * must fit; the stages of a joint point are the keys prune and quantize). A point fits when it, or a grid cell that it
 * answers, has the values. chosen [points]. WN_ERR_INPUT names `option`: a key or value that no point has.
 */
wn_status wn_select_points(const struct wn_run *run, const char *option, const char *selection, bool *chosen);

/* Exit codes of `winnow run`. */
enum { WN_EXIT_DONE = 0, WN_EXIT_FAILED = 1, WN_EXIT_USAGE = 2, WN_EXIT_POINTS_FAILED = 3, WN_EXIT_STOPPED = 75 };

struct wn_run_options {
    const char *output;          /* the results file */
    const struct wn_texts *from; /* older results files to take rows over from; NULL: none */
    const char *only;            /* compute no other points than this selection; NULL: all */
    const char *first;           /* compute the points of this selection first; NULL: in the usual order */
    bool retry;                  /* failed points again */
    bool quiet;                  /* no progress */
    bool verbose;                /* whole keys in place of short names */
    bool force;                  /* start although memory is predicted not to suffice */
    bool keep_levels;            /* level files of searches stay on scratch, for later runs that keep them too */
    bool mix_arithmetic; /* go on although other points of the file, or other ranks, compute with other kernels */
    const char *scratch; /* folder for states; NULL: as the sweep says, else beside the results file */
    double started;      /* wn_seconds() when the program started */
    double time_limit;   /* seconds from then on; 0: until SLURM_JOB_END_TIME, if that is set */
    double save_every;   /* seconds between states of a point in work; 0: only when it has to stop */
};
/*
 * Collective. Computes every point that is not done yet; returns an exit code. While it works, rank 0 writes
 * OUTPUT.progress anew every 2 s (10 s with more than 128 ranks) under another name and renames it; it is removed at
 * the end and stays behind when the run is killed. One JSON object; times are seconds since 1970 by the clock of that
 * host:
 *
 *   format 1, version, host, process, started, written, every_seconds: who writes it, when, and how often
 *   ranks, ranks_at_work, threads, hosts [{host, ranks}]
 *   stage                "dense", "search" or "points"
 *   search, search_point, generation of generations, fitness (of the parent), candidate_tokens_per_second,
 *   search_seconds_left  the search in work, with stage "search"
 *   dense_block of dense_blocks, dense_seconds_left
 *   wanted, done, failed points of this run; last_point_written
 *   saved, waiting       points left for a later start: saved at a block, and not begun as they need a longer slot
 *   share_done, seconds_left (null: not known yet), tokens_per_second: work in flight counts by its share
 *   in_flight            [{point, name, rank, host, block, blocks, seconds, heard_seconds_ago}]
 */
int wn_run_sweep(struct wn_par *par, struct wn_run *run, const struct wn_run_options *options);

#endif
