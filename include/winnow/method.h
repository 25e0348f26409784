/* SPDX-License-Identifier: Apache-2.0 */
/*
 * method.h: what a compression method is, and how it is applied to a linear.
 *
 * To add one: write src/method/NAME.c with a constant `const struct wn_method wn_method_NAME` (designated initializers)
 * and add the row WN_METHOD(NAME) to src/method/method_list.h. Parser, help, plan, results columns and the conformance
 * test walk the table. Add tests/method/test_NAME.c: parity with an independent oracle.
 *
 * W is [rows, columns] = [d_out, d_in], y = W x; bias and everything outside the block linears stay dense.
 * Not collective. The functions use OpenMP over whole rows; results do not depend on threads.
 */
#ifndef WINNOW_METHOD_H
#define WINNOW_METHOD_H

#include <winnow/base.h>
#include <winnow/linalg.h>
#include <winnow/nn.h>
#include <winnow/params.h>
#include <winnow/record.h>

enum wn_method_kind { WN_IDENTITY, WN_PRUNER, WN_QUANTIZER, WN_DROPPER };

/* What a method wants to know of the inputs of a linear: flags. */
enum wn_need {
    WN_NEED_NOTHING = 0,
    WN_NEED_INPUT_SQUARES = 1,
    WN_NEED_SECOND_MOMENTS = 2,
    WN_NEED_ABSOLUTE_MAXIMA = 4,
    WN_NEED_ABSOLUTE_SUMS = 8,
    WN_NEED_DROP_SCORES = 64 /* of hidden states, not of inputs: allocation.h */
};

/* Statistics of the inputs of a linear over a calibration set. */
struct wn_input_stats {
    int64_t tokens; /* rows seen */
    int64_t sequences;
    int64_t width;
    const double *squares; /* [width] sum over tokens of x_j^2; NULL unless needed */
    /* [width, width] sum over tokens of x x^T, both triangles (wn_add_second_moments, wn_symmetrize); NULL unless
     * needed */
    const float *second_moments;
    /* Factors of second_moments, shared by linears and points with the same inputs; NULL: factored anew each time. */
    struct wn_factor_cache *factors;
    const float *maxima;      /* [width] largest |x_j| over all tokens; NULL unless needed */
    const double *magnitudes; /* [width] sum over tokens of |x_j|; NULL unless needed */
    /* [width] the scale that the method has chosen for this input (wn_recipe_scale_inputs, wn_recipe_trial_scale);
     * NULL: none. The statistics and the weights of a task are those without it. */
    const float *scale;
    int trial; /* which trial `scale` is, when a search has chosen it */
    /* [runs, run, run] sums over a sample of the tokens of x x^T inside each run of columns, both triangles (struct
     * wn_method, moment_run); of a last run of fewer columns [left, left]; NULL: none. */
    const float *run_moments;
};

/* One linear to compress. `keep` is the mask of an earlier stage (1 = kept), NULL when none: its zeros must stay 0. */
struct wn_linear_task {
    const char *name;
    int64_t rows, columns;
    const float *weight;                /* [rows, columns], the result of the stage before; may be out->weight */
    const uint8_t *keep;                /* [rows, columns] or NULL */
    const struct wn_input_stats *stats; /* NULL when the method needs nothing */
    const struct wn_params *params;
    /* How many zeros an unstructured pruner makes, exactly, spread evenly over what it prunes apart (rows, blocks of
     * columns); NULL: its sparsity says. Not read with an N:M pattern and by Wanda's "alpha". */
    const int64_t *zeros;
};

/* What is known when second moments are there, as doubles, NaN otherwise: name, unit, what it is. */
#define WN_SOLVER_STATISTICS(X)                                                                                        \
    X(energy, "1", "tr(W H W^T), H = X^T X / tokens: squared outputs of the dense linear per calibration token")       \
    X(objective, "1", "tr(D H D^T), D = W - W': squared output error per calibration token")                           \
    X(objective_uncompensated, "1", "the same for this mask and grid applied to W without updating other weights")     \
    X(percdamp_used, "1", "damping relative to mean(diag H), after the steps below")                                   \
    X(damping_steps, "1", "times the damping grew because H could not be factored")                                    \
    X(dead_columns, "1", "inputs that are always zero: their weights are set to zero")                                 \
    X(few_tokens, "1", "1 when there are fewer calibration tokens than columns: H is singular before damping")

struct wn_solver_statistics {
#define X(name, unit, help) double name;
    WN_SOLVER_STATISTICS(X)
#undef X
};

/* What a search has chosen for a linear, as doubles, NaN where there is none: name, unit, what it is. */
#define WN_SEARCH_STATISTICS(X)                                                                                        \
    X(scale_ratio, "1", "exponent of mean|x| in the scale of the inputs, as the search chose it")                      \
    X(clip_ratio, "1", "share of the largest magnitude of a group up to which its grid goes: mean over all groups")

struct wn_search_statistics {
#define X(name, unit, help) double name;
    WN_SEARCH_STATISTICS(X)
#undef X
};

/* Scales or zero points that are codes themselves (SpQR): scale * (code - zero), with a grid per run of rows. */
struct wn_second_level {
    int bits;              /* of a code; 0: there is no second level */
    int64_t run;           /* consecutive rows that share a grid; the last run may be shorter */
    uint8_t *codes;        /* [rows, n_groups]; owned */
    float *scales, *zeros; /* [ceil(rows / run), n_groups]; zero points are not rounded; owned */
};

/* A weight kept as it is: 16 bits and an index of 16. */
struct wn_outlier {
    int64_t index; /* row * columns + column */
    float value;
};

/*
 * The compressed linear: the weights, and the code form from which bits are counted and packed formats are written.
 * Buffers of `weight` and `keep` are given by the caller; what is owned is allocated by a quantizer with wn_alloc and
 * freed by wn_compressed_release. A kept weight that is no outlier is scale * (code - zero).
 */
struct wn_compressed {
    int64_t rows, columns;
    float *weight; /* [rows, columns] fp32 */
    uint8_t *keep; /* [rows, columns] 1 = kept; valid when has_mask */
    bool has_mask;
    int bits;         /* of a code; 0: not quantized */
    int64_t group;    /* columns per grid, fewer in the last group; columns: per channel; 0: one grid for the tensor */
    int64_t n_groups; /* grids per row (1 for channel), 1 in all for the tensor */
    uint8_t *codes;   /* [rows, columns] 0 .. 2^bits - 1; owned; NULL when not quantized */
    float *scales;    /* [rows, n_groups], or [1]; owned */
    float *zeros;     /* same shape: zero points; owned */
    double zero_bits; /* stored bits of a zero point: `bits` asymmetric, 0 symmetric */
    /* Only with SpQR and act_order of GPTQ: group g has the columns order[g * group] .. ; NULL: as stored. Owned. */
    int64_t *order;
    int64_t n_outliers;
    struct wn_outlier *outliers; /* by index; their codes are those of 0; owned */
    struct wn_second_level second_scales, second_zeros;
    /* [columns] the weights are scale * (code - zero) / input_scale: a packed format divides what makes the inputs by
     * it; owned; NULL: 1 */
    float *input_scale;
    /* How the linear is evaluated when its inputs are quantized as well: on inputs divided by input_scale. Owned; NULL:
     * y = weight x. */
    struct wn_activation *activation;
    struct wn_solver_statistics solver;
    struct wn_search_statistics search;
};

void wn_compressed_init(struct wn_compressed *compressed, int64_t rows, int64_t columns, float *weight, uint8_t *keep);
void wn_compressed_release(struct wn_compressed *compressed); /* what it owns */

/* The linears that share an input made by a vector (arch.h, producer_vector), before any stage. */
struct wn_input_task {
    const char *name; /* "block 3 attention" */
    int64_t width;
    int n_linears;
    const float *const *weights; /* [n_linears] each [rows, width] */
    const int64_t *rows;         /* [n_linears] */
    const struct wn_input_stats *stats;
    const struct wn_params *params;
};

/* The weights of one of the linears of a block. */
struct wn_linear_weights {
    const float *weight;
    int64_t count;
};

struct wn_method {
    const char *name, *help, *paper;
    enum wn_method_kind kind;
    unsigned needs; /* enum wn_need flags */
    const struct wn_parameter *parameters;
    int n_parameters;
    /* Rules that cross parameters, and values that follow from others; wn_fail names the key. May be NULL. */
    wn_status (*check)(struct wn_params *params);
    /* Rules about a shape (a width that M does not divide), found by `plan`. May be NULL. */
    wn_status (*check_linear)(const struct wn_params *params, const char *name, int64_t rows, int64_t columns);
    /* True when these parameters change nothing (sparsity 0): the point collapses to the dense one. May be NULL. */
    bool (*is_identity)(const struct wn_params *params);
    /* Fills out->weight and, pruners, out->keep, quantizers, the code form. */
    wn_status (*compress_linear)(const struct wn_linear_task *task, struct wn_compressed *out);
    /* Fills zeros [count]: how many each linear of a block gets when they are pruned as one; false, and nothing is
     * filled, when these parameters do not. May be NULL. */
    bool (*share_zeros)(const struct wn_params *params, const struct wn_linear_weights *linears, int count,
                        int64_t *zeros);
    /* Fills scale [width]: what the vector before these linears is divided by; compress_linear finds it in
     * task->stats->scale and takes the product with the columns on itself. May be NULL. */
    wn_status (*scale_inputs)(const struct wn_input_task *task, float *scale);
    /* Scales that are tried on every input with a producer (arch.h): for each, the weights that compress_linear makes
     * with it are put into the dense block, and the first of least squared error in the output of the part of the block
     * that reads the input, over the calibration set, is taken. 0: no search. */
    int n_trials;
    wn_status (*trial_scale)(const struct wn_input_task *task, int trial, float *scale);
    /* Columns of the runs (the last may have fewer) inside which the search collects second moments of every input,
     * also of those without a producer: about WN_RUN_TOKENS tokens at equal distances of the calibration set. NULL or
     * 0: none. */
    int64_t (*moment_run)(const struct wn_params *params, int64_t columns);
    /* Bytes that the activation rule of a linear takes, and besides while it computes `tokens` rows; left alone when
     * these parameters leave inputs alone. May be NULL. */
    void (*activation_bytes)(const struct wn_params *params, int64_t rows, int64_t columns, int64_t tokens, int threads,
                             int64_t *bytes, int64_t *scratch);
};

const struct wn_method *const *wn_method_table(int64_t *count);
const struct wn_method *wn_method_find(const char *name); /* NULL when unknown */

/* What is done to every linear of a point: stages in order, each on the result of the one before. */
struct wn_recipe {
    int n_stages;
    struct wn_stage {
        const struct wn_method *method;
        struct wn_params params;
    } stages[2];
    /* Of the linear that is compressed next: see wn_linear_task; borrowed. */
    const int64_t *zeros;
    /* The search that finds the level of every linear, or what is left out (allocation.h), or WN_DYNAMIC_PROGRAMMING;
     * NULL: none; borrowed */
    const char *search;
};

/* An allocation of levels by layer errors: it needs second moments. */
#define WN_DYNAMIC_PROGRAMMING "dynamic_programming"
bool wn_recipe_minimizes(const struct wn_recipe *recipe);
/* Of all stages and the allocation; what drop leaves out after a search needs no scores. */
unsigned wn_recipe_needs(const struct wn_recipe *recipe);
/*
 * True when a stage has "true_sequential": the linears of a block are compressed input by input, in the order of the
 * layout, and the statistics of each input are those behind the compressed linears of the inputs before it (the option
 * of that name in the published codes of SparseGPT and GPTQ).
 */
bool wn_recipe_true_sequential(const struct wn_recipe *recipe);
/*
 * What is done to a linear whose input no calibration token reaches: a pruner that reads statistics becomes magnitude,
 * a quantizer that does rtn, with the parameters that those have as well (sparsity, pattern, bits, group, symmetric).
 * false: no stage reads any, and *plain is the recipe. One token is enough for a factor: damping makes it definite.
 */
bool wn_recipe_without_data(const struct wn_recipe *recipe, struct wn_recipe *plain);
/* Of a stage that makes codes: true too where the method has no parameter "symmetric". */
bool wn_grids_are_symmetric(const struct wn_params *params);
/* Groups of "act_order" without "static_groups" have columns from all over the row. */
bool wn_groups_are_scattered(const struct wn_params *params);
/* Linears of the recipe round their inputs as they come: they have a rule (nn.h). */
bool wn_recipe_rounds_inputs(const struct wn_recipe *recipe);
/* N zeros of M columns made by the pruner of the recipe; 0 and 0 when unstructured or without one. */
void wn_recipe_pattern(const struct wn_recipe *recipe, int64_t *n, int64_t *m);
/* The rules of all stages about a shape, and their order: of two, a pruner comes first and a quantizer second. */
wn_status wn_recipe_check_linear(const struct wn_recipe *recipe, const char *name, int64_t rows, int64_t columns);
/*
 * Runs all stages on one linear. A weight that is not finite gives WN_ERR_NUMERIC naming the linear. Zeros made by a
 * pruner stay exactly 0 after a quantizer. With second moments, objective and energy are filled for every method, at
 * the cost of rows * columns^2 multiplications and additions each. `out` was initialised by the caller with its
 * buffers, which do not overlap `weight`. A stage that changes nothing (sparsity 0) is left out: it leaves no mask.
 */
wn_status wn_recipe_compress(const struct wn_recipe *recipe, const char *name, const float *weight,
                             const struct wn_input_stats *stats, struct wn_compressed *out);

/* Fills zeros [count] for the linears of a dense block, to be put into recipe->zeros one by one; false: they are pruned
 * one by one anyway. */
bool wn_recipe_share_zeros(const struct wn_recipe *recipe, const struct wn_linear_weights *linears, int count,
                           int64_t *zeros);

/*
 * The scale [width] of an input by the stage that has one; *scaled tells whether there is such a stage (scale is 1
 * otherwise). Put it into the stats of every linear of this input.
 */
wn_status wn_recipe_scale_inputs(const struct wn_recipe *recipe, const struct wn_input_task *task, float *scale,
                                 bool *scaled);
/*
 * The most bytes that a method which needs second moments allocates for a linear at a time, besides `out` and the
 * factors that stay in the cache of its statistics (4 * columns^2 each).
 */
int64_t wn_second_order_bytes(int64_t rows, int64_t columns, int threads);

/* How many scales the stage with a search tries, 0 when there is none, and each of them. */
int wn_recipe_trials(const struct wn_recipe *recipe);
wn_status wn_recipe_trial_scale(const struct wn_recipe *recipe, const struct wn_input_task *task, int trial,
                                float *scale);
/* Columns of the runs whose second moments the search collects for an input of this width; 0: none. */
#define WN_RUN_TOKENS 512
#define WN_CLIP_ROWS  128 /* rows that a thread searches together: twice as many floats as the run is long for each */
int64_t wn_recipe_moment_run(const struct wn_recipe *recipe, int64_t columns);
/* Bytes of the activation rule of a linear and of its work; 0 and 0 when the recipe leaves inputs alone. */
void wn_recipe_activation_bytes(const struct wn_recipe *recipe, int64_t rows, int64_t columns, int64_t tokens,
                                int threads, int64_t *bytes, int64_t *scratch);

/* Another sparsity for a pruner; with a pattern N:M a multiple of 1 / M, and N follows. */
void wn_pruner_set_sparsity(struct wn_params *params, double sparsity);

/*
 * Bits per weight as papers count them, which is no size of a file (pack.h: wn_pack_size): without a quantizer 16 per
 * kept weight, plus a mask of 1 bit per weight when pruned unstructured (N:M: log2(binomial(M, kept)) / M per weight);
 * quantized: `bits` per kept weight + (16 + zero_bits) per grid, + the mask; a second level has its bits in place of
 * the 16 and 32 per grid of its own, an outlier costs 32 more. `pattern_m` 0 for unstructured, else N zeros of M.
 */
double wn_bits_per_weight(const struct wn_compressed *compressed, int64_t pattern_n, int64_t pattern_m);

/* ---- depth pruning (drop.c; what goes is an allocation: allocation.h) ---- */

/* A recipe with a method of kind WN_DROPPER has this one stage. Which units go is chosen for the model as a whole;
 * compress_linear is called for their linears only. */
enum wn_drop_unit { WN_UNIT_ATTENTION, WN_UNIT_MLP, WN_UNIT_BLOCK, WN_DROP_UNITS, WN_UNIT_BRANCH = WN_DROP_UNITS };
/* The first WN_DROP_SCORES are of single tokens; a window is of as many blocks as go; the last two are of the dense
 * model without the unit. */
enum wn_drop_score {
    WN_SCORE_BLOCK_INFLUENCE,
    WN_SCORE_ANGULAR,
    WN_SCORE_SUBCLONING,
    WN_DROP_SCORES,
    WN_SCORE_WINDOW = WN_DROP_SCORES,
    WN_SCORE_PERPLEXITY,
    WN_SCORE_KL
};

/* The parameters of the stage that drops; NULL when the recipe has none. */
const struct wn_params *wn_recipe_drop(const struct wn_recipe *recipe);
enum wn_drop_unit wn_drop_unit_of(const struct wn_params *params);
enum wn_drop_score wn_drop_score_of(const struct wn_params *params);

/* ---- the shared quantizer grid ---- */

struct wn_grid {
    float scale, zero; /* w ~ scale * (code - zero); zero is an integer in 0 .. levels */
    int levels;        /* 2^bits - 1, the largest code */
};

/*
 * GPTQ-family min/max grid over `count` values that always contains zero; symmetric: scale = 2a / levels with a the
 * largest magnitude, zero = (levels + 1) / 2. Values that are all 0 give the range (-1, +1).
 */
struct wn_grid wn_grid_fit(const float *w, int64_t count, int bits, bool symmetric);
/* clamp(round_half_even(w / scale) + zero, 0, levels) */
int wn_grid_code(const struct wn_grid *grid, float w);
float wn_grid_value(const struct wn_grid *grid, int code);

/* ---- statistics of a compressed linear ---- */

/* One row of the table per statistic: name, unit, what it is. */
#define WN_WEIGHT_STATISTICS(X)                                                                                        \
    X(zeros, "1", "share of weights that are exactly zero")                                                            \
    X(bits_per_weight_nominal, "bit", "bits per weight as papers count them: 16 per number, masks and grids included") \
    X(stored_bytes, "byte", "bytes of the smallest form that gives back these very weights (pack.h)")                  \
    X(weight_error, "1", "||W - W'||_F / ||W||_F")                                                                     \
    X(output_error, "1", "||X (W - W')^T||_F / ||X W^T||_F, X = dense inputs of the reference sample")                 \
    X(mask_overlap, "1", "share of the zeros that magnitude pruning of the same number per matrix would also choose")  \
    X(mean, "1", "mean of the compressed weights")                                                                     \
    X(standard_deviation, "1", "standard deviation of the compressed weights (population)")                            \
    X(skewness, "1", "third standardized moment of the compressed weights")                                            \
    X(kurtosis, "1", "fourth standardized moment of the compressed weights (3 for a normal distribution)")             \
    X(largest, "1", "largest magnitude among the compressed weights")                                                  \
    X(outlier_share, "1", "share of compressed weights farther than 6 standard deviations from the mean")

struct wn_weight_statistics {
#define X(name, unit, help) double name;
    WN_WEIGHT_STATISTICS(X)
#undef X
};

/*
 * All statistics but output_error, bits_per_weight_nominal and stored_bytes (set to NaN): dense W and compressed W',
 * [rows, columns]. Sums in double in an order that depends on the shape only. mask_overlap is NaN when nothing is zero.
 */
void wn_weight_statistics_compute(const float *dense, const float *compressed, int64_t rows, int64_t columns,
                                  struct wn_weight_statistics *statistics);

#endif
