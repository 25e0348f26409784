/* SPDX-License-Identifier: Apache-2.0 */
/* point_impl.h: shared by the files of src/point, and by those that predict what they cost. */
#ifndef WINNOW_POINT_IMPL_H
#define WINNOW_POINT_IMPL_H

#include <winnow/generate.h>
#include <winnow/point.h>
#include <winnow/scratch.h>

/* ---- shapes of a block ---- */

int64_t wn_layout_input_total(const struct wn_layout *layout); /* sum of the input widths */
int64_t wn_layout_widest_input(const struct wn_layout *layout);
int64_t wn_layout_widest_output(const struct wn_layout *layout);
int64_t wn_layout_largest_linear(const struct wn_layout *layout); /* weights */
bool wn_layout_routes(const struct wn_layout *layout);            /* an input has not a row for every token */
/* Rows of an input for so many tokens: those of all experts together, or of one, when all choose it. */
int64_t wn_model_routed_rows(const struct wn_model *model, int64_t tokens);
/* Most floats of all inputs of a block for so many tokens, whatever they choose. */
int64_t wn_model_input_floats(const struct wn_model *model, int64_t tokens);
/* Whether an input is made in a block. */
bool wn_model_has_input(const struct wn_model *model, int input, int64_t block);

/* ---- statistics of the inputs of one block over a calibration set ---- */

/*
 * One piece of memory: sums of squares of every input and, where inputs are routed, the rows of each, room for absolute
 * maxima and for sums of magnitudes of every input (0 unless needed), then, when needed, second moments of every input.
 * The layout is the same in a point's own memory and in what the shared dense pass leaves behind.
 */
int64_t wn_statistics_bytes(const struct wn_layout *layout, unsigned needs);
double *wn_statistics_squares(const struct wn_layout *layout, void *statistics, int input);
double *wn_statistics_rows(const struct wn_layout *layout, void *statistics, int input); /* NULL: every token is one */
double *wn_statistics_magnitudes(const struct wn_layout *layout, void *statistics, int input);
float *wn_statistics_maxima(const struct wn_layout *layout, void *statistics, int input);
float *wn_statistics_moments(const struct wn_layout *layout, void *statistics, int input);
/* Sums of drop scores [WN_DROP_SCORES] of a unit; only with WN_NEED_DROP_SCORES. */
double *wn_statistics_drop_scores(const struct wn_layout *layout, unsigned needs, void *statistics,
                                  enum wn_drop_unit unit);
/* into += from, of maxima the larger. Second moments below the diagonal mean nothing until symmetrized. */
void wn_statistics_add(const struct wn_layout *layout, unsigned needs, void *into, const void *from);
/* The same of bytes first .. end - 1 alone, both multiples of 64 or the end of all. */
void wn_statistics_add_part(const struct wn_layout *layout, unsigned needs, void *into, const void *from, int64_t first,
                            int64_t end);
void wn_statistics_symmetrize(const struct wn_layout *layout, void *statistics);

/*
 * Sums are made per group of chunks and then added in group order, whoever made them: at most WN_STATISTICS_GROUPS
 * contiguous groups per set, a function of the data alone.
 */
#define WN_STATISTICS_GROUPS 32
int64_t wn_statistics_groups(const struct wn_sequences *sequences);
/* First chunk of a group; group = groups gives the number of chunks. */
int64_t wn_statistics_group(const struct wn_sequences *sequences, int64_t group);

/* A tap that adds a chunk to statistics. */
struct wn_statistics_tap {
    const struct wn_layout *layout;
    unsigned needs;
    void *statistics;
    float *before; /* [rows of the longest chunk, hidden] room for the hidden state; with WN_NEED_DROP_SCORES */
};
void wn_statistics_take(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width);
/* The same for branches: drop scores of both and of the block. */
void wn_statistics_add_branch(void *context, enum wn_branch branch, const float *hidden, const float *added,
                              int64_t rows, int64_t width);

/* ---- search of scales (struct wn_method, n_trials) ---- */

struct wn_scale_search {
    const struct wn_model *model;
    const struct wn_recipe *recipes; /* [n_linears]: they may have different levels */
    int64_t block_index;
    const struct wn_block *dense;
    struct wn_block *trial; /* its linears are overwritten */
    uint8_t *keep;          /* [weights of the largest linear] */
    const struct wn_sequences *calibration;
    const float *hidden; /* [tokens, hidden]: inputs of the block; `copy` and `scratch` are for its longest chunk */
    float *copy, *scratch;
    int64_t *offset;
    const struct wn_input_stats *stats; /* [n_inputs] */
    const int64_t *zeros;               /* [n_linears] for their `zeros`, or NULL */
    /* Of a search that goes on: what is done of it, with its losses so far [n_inputs, trials] and moments; else 0, and
     * losses that are 0. */
    int64_t done;
    double *loss;
    /* Told behind each trial of a chunk and an input; what is not WN_OK ends the search. NULL: nobody. */
    wn_status (*tried)(void *context, int64_t done, int64_t all);
    void *context;
};
/*
 * scales[input] is allocated for every input with a producer: the best scale, trials[input] which one it is. moments
 * [input] is allocated for every input when the recipe wants second moments of runs (struct wn_input_stats,
 * run_moments). Both also after an error, to be freed.
 */
wn_status wn_search_scales(const struct wn_scale_search *search, float **scales, int *trials, float **moments);
/* Bytes it takes, with what it leaves and what compressing with that takes; 0 when the recipe searches nothing. */
int64_t wn_search_bytes(const struct wn_model *model, const struct wn_recipe *recipe, int64_t longest);

/* ---- generated text ---- */

/* Hidden states held at a time for losses of texts; the blocks are loaded once for each wave. */
enum { WN_WAVE_TOKENS = 8 * WN_CHUNK_TOKENS };
/* True when a set of the model has texts to be generated. */
bool wn_prepared_generates(const struct wn_run *run, int64_t model);
/*
 * losses [texts]: mean -ln p of the generated tokens of each text under the dense model, whose blocks are streamed over
 * prompts and texts; NaN for a text without tokens. *tokens grows by the rows that were run.
 */
wn_status wn_dense_losses(const struct wn_model *model, const struct wn_generation *generation,
                          const struct wn_generated *generated, double *losses, double *tokens);
/* Memory of generation for a point of `model` with this recipe, 0 each without. */
struct wn_generation_bytes {
    int64_t records;  /* of all sets, until they are scored; their decoded texts come on top */
    int64_t kept;     /* all blocks, while they are made and used */
    int64_t packing;  /* besides, while a linear is packed */
    int64_t generate; /* the largest batch */
    int64_t measure;  /* of speeds, by one rank of a node at a time */
    int64_t losses;   /* wn_dense_losses, when the kept blocks are gone */
};
void wn_generation_bytes(const struct wn_run *run, int64_t model, const struct wn_recipe *recipe,
                         struct wn_generation_bytes *bytes);

/* ---- what a point needs ---- */

/* Of the factors that are held at once, and the work of the hungriest linear; 0: the recipe has none. */
int64_t wn_point_solver_bytes(const struct wn_layout *layout, const struct wn_recipe *recipe);
/* Bytes of the rules (nn.h) of the linears of a block. */
int64_t wn_point_rules_bytes(const struct wn_run *run, const struct wn_point *point);

/* True when a point makes statistics of its own: under sequential propagation. */
bool wn_point_collects(const struct wn_point *point);
/* True when a point asks the dense model which experts the rows of its calibration set go to (routing.c). */
bool wn_point_asks_routes(const struct wn_point *point);
/* Bytes of that. */
int64_t wn_point_routes_bytes(const struct wn_run *run, const struct wn_point *point);
/* True when a point pushes calibration sequences itself: for its own statistics, and for a search. */
bool wn_point_walks_calibration(const struct wn_point *point);
/* True when a point reads statistics that the shared dense pass makes: under dense propagation, and for a sparsity per
 * block. */
bool wn_point_reads_dense(const struct wn_point *point);
/* What of them: flags of enum wn_need. Squares are always there. */
unsigned wn_point_dense_needs(const struct wn_point *point);

/* ---- evidence of the dense model, for allocations (evidence.c) ---- */

/* What the points of a model that are wanted (NULL: all) ask for of a calibration set; to be released. */
void wn_point_left_out_needs(const struct wn_run *run, int64_t model, int64_t calibration, const bool *wanted,
                             struct wn_left_out_needs *needs);
/* Collective. Computes it. */
wn_status wn_point_left_out(struct wn_par *par, const struct wn_run *run, int64_t model, int64_t calibration,
                            const bool *wanted, struct wn_left_out *left_out);
/* The allocation of a point, from what the dense pass knows; reference NULL unless the point reads it. Release it after
 * an error, too. */
wn_status wn_point_allocate(const struct wn_run *run, const struct wn_reference *reference,
                            const struct wn_point *point, struct wn_allocation *allocation);

/* Tokens of the longest chunk, of the groups of chunks that are run at once (by the present number of threads), and
 * most sequences + 1 of any set, that a point of `model` meets. */
int64_t wn_prepared_longest_chunk(const struct wn_run *run, int64_t model);
int64_t wn_prepared_group_rows(const struct wn_run *run, int64_t model);
int64_t wn_prepared_offsets(const struct wn_run *run, int64_t model);
/* Bytes that the linears of a block allocate meanwhile when evaluation sets go through it, so many rows at a time. */
int64_t wn_evaluated_bytes(const struct wn_model *model, int64_t rows);

#endif
