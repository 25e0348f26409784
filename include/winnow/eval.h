/* SPDX-License-Identifier: Apache-2.0 */
/*
 * eval.h: what a metric or task kind is, and the core they share.
 *
 * Evaluation is one forward: every kind prepares *sequences* (tokens) and *targets* (which next token is scored after
 * which row). The core runs head and softmax once per target row and yields per-target numbers; a kind turns them into
 * the fields of a record. So perplexity, divergences and tasks of one point all come from the same pass. A kind may
 * also have texts *generated*: its sets have prompts in place of sequences and targets; or have speeds measured.
 *
 * To add a kind: src/eval/NAME.c with `const struct wn_eval wn_eval_NAME` and the row WN_EVAL(NAME) in eval_list.h.
 *
 * Not collective. OpenMP inside; results do not depend on threads.
 */
#ifndef WINNOW_EVAL_H
#define WINNOW_EVAL_H

#include <winnow/data.h>
#include <winnow/efficiency.h>
#include <winnow/generate.h>
#include <winnow/io.h>
#include <winnow/model.h>
#include <winnow/params.h>
#include <winnow/record.h>
#include <winnow/requests.h>

struct cJSON;
struct wn_eval;

/* Summaries over the targets of a set with divergence, X(name, unit, description): fields /scores/<set>/kl_mean ... in
 * this order. Standard errors, named like their score with _stderr, are clustered by sequence (window): sqrt(G/(G-1)
 * sum_g r_g^2) / n, r_g the sum of (value - mean) in sequence g. Percentiles interpolate linearly at q (n-1) of the
 * sorted values; they and maxima have no standard error. */
#define WN_SUMMARY_LIST(X)                                                                                             \
    X(kl_mean, "nat", "KL(dense||compressed): mean over targets")                                                      \
    X(kl_mean_stderr, "nat",                                                                                           \
      "standard error of kl_mean, clustered by sequence: sqrt(G/(G-1) sum_g (sum_i (x_i-mean))^2)/n")                  \
    X(kl_median, "nat", "KL(dense||compressed): 50th percentile over targets, linear interpolation")                   \
    X(kl_p90, "nat", "KL(dense||compressed): 90th percentile over targets, linear interpolation")                      \
    X(kl_p99, "nat", "KL(dense||compressed): 99th percentile over targets, linear interpolation")                      \
    X(kl_max, "nat", "KL(dense||compressed): maximum over targets")                                                    \
    X(js_mean, "nat", "Jensen-Shannon divergence: mean over targets")                                                  \
    X(js_mean_stderr, "nat",                                                                                           \
      "standard error of js_mean, clustered by sequence: sqrt(G/(G-1) sum_g (sum_i (x_i-mean))^2)/n")                  \
    X(js_median, "nat", "Jensen-Shannon divergence: 50th percentile over targets, linear interpolation")               \
    X(js_p90, "nat", "Jensen-Shannon divergence: 90th percentile over targets, linear interpolation")                  \
    X(js_p99, "nat", "Jensen-Shannon divergence: 99th percentile over targets, linear interpolation")                  \
    X(js_max, "nat", "Jensen-Shannon divergence: maximum over targets")                                                \
    X(top1_agreement, "1", "share of targets where both models have the same argmax (lowest id of equals)")            \
    X(top1_agreement_stderr, "1",                                                                                      \
      "standard error of top1_agreement, clustered by sequence: sqrt(G/(G-1) sum_g (sum_i (x_i-mean))^2)/n")

enum wn_summary {
#define X(name, unit, description) WN_SUMMARY_##name,
    WN_SUMMARY_LIST(X)
#undef X
        WN_SUMMARIES
};

/* One named evaluation, e.g. perplexity of "wikitext2" or the task "facts". Names are unique over all kinds: they are
 * part of field paths and axis names. */
struct wn_eval_set {
    char name[64];
    const struct wn_eval *kind;
    struct wn_sequences sequences; /* cut into chunks */
    int64_t n_targets;
    int64_t *target_row;   /* [n_targets] packed row whose logits are read; not falling, repeats allowed; owned */
    int32_t *target_id;    /* [n_targets] the token that came next; owned */
    int64_t *target_place; /* [n_targets] after wn_eval_share: where target t of the kind is among them; else NULL */
    bool divergence;       /* KL, JS, top-1 against the dense model wanted per target */
    int64_t top;           /* top-k logits wanted: k, 0 for none; at most the vocabulary */
    int64_t logit_targets; /* of the first this many targets (cut to n_targets by wn_eval_fields) */
    struct wn_generation *generation; /* texts to be generated; NULL: none; owned */
    struct wn_efficiency *efficiency; /* speeds to be measured; NULL: none; owned */
    char token_hash[WN_HASH_HEX], file_hash[WN_HASH_HEX];
    char *path;      /* owned */
    int64_t skipped; /* records of the file left out, as "on_error": "skip" asks for */
    char *facts;     /* JSON object: what the header of a request file says, for /provenance; NULL: none; owned */
    char *protocol;  /* one line of text stored beside the numbers; owned */
    void *state;     /* the kind's own; released by kind->release */
    /* schema fields of the core, set by wn_eval_fields; -1 when absent */
    int field_loss, field_kl, field_js, field_top1;
    int field_top_ids, field_top_values, field_log_sum_exp, field_target_logit;
    int field_summary[WN_SUMMARIES];
};

/* Per-target results of the core. Arrays of n_targets (NULL when not wanted); top arrays [logit_targets, top]. */
struct wn_target_scores {
    double *loss;    /* -ln p(target) */
    uint8_t *greedy; /* 1 when the target is the argmax (lowest id among equals) */
    double *kl, *js; /* against the dense model, nats */
    uint8_t *top1;   /* 1 when both argmax agree */
    int32_t *top_ids;
    float *top_values;
    double *log_sum_exp; /* [logit_targets] */
    float *target_logit; /* [logit_targets] */
};

/* What a model gave for one set: what a kind scores. */
struct wn_outcome {
    const struct wn_target_scores *scores; /* of the dense model: loss and greedy only */
    /* Of a set with generation, decoded; else NULL. Of the dense model a text may have no tokens: its weights gave no
     * finite logits. */
    const struct wn_generated *generated;
    const struct wn_efficiency_result *efficiency; /* of a set with efficiency; else NULL */
    const double *generated_loss; /* [texts] mean -ln p of the tokens of each text under the dense model; NULL: not
                                     wanted, or of the dense model */
};

/* How likely the right answer to an item is, and whether a model gives it: what a search can be for. */
struct wn_gold {
    double log_likelihood; /* nat, or per what `unit` says */
    bool right;
};

/*
 * Of a kind whose items have right answers, each by targets of its own. Numbers of targets are those of the kind, in
 * the order in which it added them: wn_eval_share does not change them.
 */
struct wn_gold_kind {
    const char *(*unit)(const struct wn_eval_set *set); /* of log_likelihood, by the main metric: "nat/character" ... */
    int64_t (*items)(const struct wn_eval_set *set);
    /* Targets first .. first + count - 1 are those of the item. */
    void (*targets)(const struct wn_eval_set *set, int64_t item, int64_t *first, int64_t *count);
    /* Reads loss and greedy of these targets alone. */
    void (*judge)(const struct wn_eval_set *set, int64_t item, const struct wn_target_scores *scores,
                  struct wn_gold *gold);
};

struct wn_eval {
    const char *name, *help; /* "perplexity", "multiple_choice" */
    const char *section;     /* key below "evaluate" in the sweep file: "perplexity", "tasks" */
    const struct wn_parameter *parameters;
    int n_parameters;
    const struct wn_task_kind *task; /* of a kind that the header of a request file names; its section is "tasks" */
    bool compares;                   /* wants the outcome of the dense model, item by item */
    const struct wn_gold_kind *gold; /* NULL: no search can be for it */
    bool single;                     /* the section is its one set, and has its name */
    bool generates;                  /* its sets have texts to be generated, and no targets */
    /* Everything that can be checked without a model, lines with file, key or line number into `problems`. */
    void (*check)(const char *directory, const char *name, const struct cJSON *json, struct wn_problems *problems);
    /* Fills name, kind, sequences, targets, hashes, protocol and state of an initialised set; on an error the caller
     * releases it. divergence, top and logit_targets are set afterwards by the caller. */
    wn_status (*prepare)(const char *directory, const char *name, const struct cJSON *json,
                         const struct wn_model *model, struct wn_eval_set *set);
    /* Registers the fields and constants of the set; ids kept in state. Every score X has its X_stderr, but counts, p
     * values and what is said of the dense model. */
    void (*fields)(struct wn_eval_set *set, struct wn_schema *schema);
    /* Turns the outcome of a point into the record; `dense` is that of the dense model, NULL unless the kind compares.
     */
    void (*score)(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record);
    void (*release)(void *state);
};

const struct wn_eval *const *wn_eval_table(int64_t *count);
const struct wn_eval *wn_eval_find(const char *name);

/*
 * Runs what sequences of a task have in common once: replaces the sequences of the set by segments
 * (wn_sequences_share) and puts its targets in their order; wn_eval_finish hands scores to the kind in the order in
 * which it added the targets. Sets with divergence, kept logits or no saving stay as they are, and so do sets of models
 * whose positions depend on the length of a sequence ("dynamic" beyond the trained length). Adds what is saved to the
 * protocol. Call once, after prepare and before wn_eval_fields. A function of the data alone.
 */
void wn_eval_share(const struct wn_model *model, struct wn_eval_set *set);

void wn_eval_set_init(struct wn_eval_set *set);
void wn_eval_set_release(struct wn_eval_set *set);

/* Registers the fields of the core (tokens, divergence summaries, logits) and then those of the kind. What the set
 * itself decides becomes constants: /tokens/<set>/token_id, sequence and position, /logits/<set>/token_id. */
void wn_eval_fields(struct wn_eval_set *set, struct wn_schema *schema);

void wn_target_scores_init(struct wn_target_scores *scores, const struct wn_eval_set *set);
void wn_target_scores_release(struct wn_target_scores *scores);
int64_t wn_target_scores_bytes(const struct wn_eval_set *set);

/*
 * The core: final hidden states of one chunk to numbers of its targets.
 *   hidden        [rows of the chunk, hidden_size], output of the last block, before the final norm
 *   dense_states  [targets of the chunk, hidden_size], final-normed states of the dense model at these targets; NULL
 * for a set without divergence Logit rows are computed in head tiles of a fixed number of targets (a function of the
 * vocabulary size only).
 */
void wn_eval_score_chunk(const struct wn_model *model, const struct wn_eval_set *set, int64_t chunk,
                         const float *hidden, const float *dense_states, struct wn_target_scores *scores);
/* The dense side: states [targets of the chunk, hidden_size] from the hidden rows of the chunk. */
void wn_eval_dense_states(const struct wn_model *model, const struct wn_eval_set *set, int64_t chunk,
                          const float *hidden, float *states);
/* First target and number of targets of a chunk. */
int64_t wn_eval_chunk_targets(const struct wn_eval_set *set, int64_t chunk, int64_t *first);
/* Bytes of scratch wn_eval_score_chunk allocates while it runs. */
int64_t wn_eval_scratch_bytes(const struct wn_model *model, bool divergence);

/* After all chunks: summaries of the core and kind->score. */
void wn_eval_finish(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                    struct wn_record *record);

#endif
