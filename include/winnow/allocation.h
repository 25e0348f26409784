/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocation.h: who gets what: the level of every linear of every block, and the branches that are left out. It is all
 * that the walk of a point is told about non-uniformity.
 *
 *     struct wn_allocation allocation;
 *     WN_TRY(wn_allocation_make(&task, &allocation));                recipe, shapes, evidence of the dense model
 *     for each block, each linear:
 *         struct wn_recipe one = recipe;
 *         wn_level_apply(wn_allocation_level(&allocation, block, linear), &one);
 *     wn_allocation_release(&allocation);
 *
 * A *level* is what a linear gets in place of the recipe's own values: another sparsity, other bits. A *kind* decides:
 * `uniform` gives every linear what the recipe says, `owl` each block its sparsity, `depth` leaves branches out,
 * `evolutionary` does what a search has found. A kind decides once for a point, from its recipe and from *evidence*:
 * what the shared dense pass has found out about the dense model on the calibration set of the point.
 *
 * To add a kind: write src/allocation/NAME.c with a constant `const struct wn_allocation_kind wn_allocation_NAME` and
 * add the row WN_ALLOCATION(NAME) to src/allocation/allocation_list.h, before `uniform`, which takes what is left.
 * Walk, export, plan and the columns of the results file go by the table. What pruners spell it with is a word of
 * their parameter "allocation" (src/method/pattern.h). Evidence that no other kind has is a member of struct
 * wn_evidence.
 *
 * Depends on method, model, eval, par, scratch and search. Not collective but for evidence.
 */
#ifndef WINNOW_ALLOCATION_H
#define WINNOW_ALLOCATION_H

#include <winnow/arch.h>
#include <winnow/method.h>
#include <winnow/model.h>
#include <winnow/par.h>
#include <winnow/scratch.h>
#include <winnow/search.h>

/* ---- levels ---- */

/* NaN: as the recipe says. */
struct wn_level {
    double sparsity; /* of the stage that prunes; with a pattern N:M a multiple of 1 / M, and N follows */
    double bits;     /* of the stage that quantizes */
};
/* Makes the recipe that of a linear with this level; NULL leaves it as it is. A recipe without such a stage, or whose
 * quantizer has no "bits", has no levels of that kind: WN_BUG. */
void wn_level_apply(const struct wn_level *level, struct wn_recipe *recipe);

/* ---- allocations ---- */

struct wn_allocation {
    const struct wn_allocation_kind *kind; /* that made it */
    int64_t n_blocks;
    int n_linears;
    struct wn_level *levels; /* [n_blocks, n_linears]; NULL: all linears get the recipe as it is; owned */
    int64_t *zeros; /* [n_blocks, n_linears] exactly so many (struct wn_linear_task); NULL: as the levels say; owned */
    bool *left_out[WN_BRANCHES]; /* [n_blocks]; NULL: no branch is left out; owned */
    double *notes;               /* [kind->n_notes, n_blocks] what is recorded of it; NaN: nothing; owned */
};
/* NULL: as the recipe says. */
const struct wn_level *wn_allocation_level(const struct wn_allocation *allocation, int64_t block, int linear);
/* Linears of a block that are pruned as one (wn_recipe_share_zeros) must have one sparsity. */
bool wn_allocation_is_even(const struct wn_allocation *allocation, int64_t block);
bool wn_allocation_leaves_out(const struct wn_allocation *allocation, int64_t block, enum wn_branch branch);
void wn_allocation_release(struct wn_allocation *allocation);

/* ---- evidence ---- */

/* Of a model on a calibration set, for each of `count` multiples of the mean Wanda score, the share of the scores of a
 * dense block that are above (wn_outlier_share). */
struct wn_outlier_shares {
    int64_t count;
    double *multiples; /* [count]; owned */
    double *shares;    /* [count, n_blocks]; owned */
};
/* Means over a calibration set of what the dense model says without single units, and of how far windows of blocks turn
 * its hidden state (left_out.c). NULL: a weight was not finite. */
struct wn_left_out {
    double *values; /* owned */
};

/* The outcome of a search (search.h). */
struct wn_found {
    const struct wn_space *space; /* borrowed */
    int32_t *genome;              /* [space->n_genes]; owned; NULL: not searched, or */
    char *failure;                /* why the search has come to nothing; owned; NULL: it has not */
};

/* Levels, or branches that are left out, by a genome: `task` has an outcome among its evidence. Notes are those of
 * evolutionary. */
struct wn_allocation_task;
wn_status wn_found_allocate(const struct wn_allocation_task *task, struct wn_allocation *allocation);

/* What is known of a model on a calibration set; what no kind asked for is NULL. Borrowed. */
struct wn_evidence {
    const struct wn_outlier_shares *outliers;
    /* [n_blocks, WN_DROP_UNITS, WN_DROP_SCORES] means over tokens (wn_drop_scores_add) */
    const double (*drop_scores)[WN_DROP_UNITS][WN_DROP_SCORES];
    const struct wn_left_out *left_out;
    const struct wn_found *found; /* for the point itself */
};

/* ---- kinds ---- */

struct wn_allocation_task {
    const struct wn_recipe *recipe;
    const struct wn_layout *layout;
    int64_t n_blocks;
    const struct wn_evidence *evidence; /* NULL unless the kind reads the dense pass or comes of a search */
};

/* A number of every block that is recorded in /weights/NAME [block]. */
struct wn_note {
    const char *name, *unit, *help;
};
#define WN_MAX_NOTES 4

struct wn_allocation_kind {
    const char *name, *help, *paper;
    bool (*decides)(const struct wn_recipe *recipe); /* whether it is the kind of this recipe */
    bool reads_dense;                                /* it needs evidence, hence a calibration set */
    const struct wn_note *notes;                     /* [n_notes] */
    int n_notes;
    /* Fills levels, left_out and notes, where notes are there, and the others are allocated by the kind. An error names
     * the block. */
    wn_status (*allocate)(const struct wn_allocation_task *task, struct wn_allocation *allocation);
};

const struct wn_allocation_kind *const *wn_allocation_table(int64_t *count);
/* The row of a kind in the table. */
int64_t wn_allocation_row(const struct wn_allocation_kind *kind);
/* The kind of a recipe: the first row that decides for it. */
const struct wn_allocation_kind *wn_allocation_of(const struct wn_recipe *recipe);
/* Release it after an error, too. */
wn_status wn_allocation_make(const struct wn_allocation_task *task, struct wn_allocation *allocation);

/* ---- owl: one sparsity per block ---- */

/*
 * Outlier-weighed layerwise sparsity (Yin et al., arXiv:2310.05175, section 3.2): a pruner with "allocation": "owl"
 * gives block i of n the sparsity s - d_i + mean(d) with d_i = 2 lambda (D_i - min D) / (max D - min D), where D_i is
 * the share of outliers among the Wanda scores of all linears of the dense block.
 */

/* A linear of a block, with the squares of its inputs on dense activations (struct wn_input_stats). */
struct wn_scored_linear {
    int64_t rows, columns;
    const float *weight;   /* [rows, columns] */
    const double *squares; /* [columns] */
};
/* Share of the scores |W_ij| sqrt(squares_j) of all the linears together that are above `multiple` times their mean;
 * NaN when the mean is not finite. Squares times any constant give the same share. */
double wn_outlier_share(const struct wn_scored_linear *linears, int count, double multiple);
/* Evidence: adds the multiple that a recipe asks for, nothing when it is of another kind; then makes room. */
void wn_outliers_want(struct wn_outlier_shares *outliers, const struct wn_recipe *recipe);
void wn_outliers_open(struct wn_outlier_shares *outliers, int64_t n_blocks);
void wn_outliers_release(struct wn_outlier_shares *outliers);
/* owl_m of the pruner of the recipe; 0 for recipes of other kinds. */
double wn_recipe_outlier_multiple(const struct wn_recipe *recipe);
/*
 * Fills sparsity [n_blocks] from shares [n_blocks]. Equal shares: the sparsity of the recipe, exactly, and so it is
 * with lambda 0. The mean is that of the recipe unless a value had to be moved to 0.01 (from 0 and below, as in the
 * published code) or 0.99 (from 1 and above, where that code fails). With a pattern N:M, as published, N is what
 * differs: by M times that, rounded half to even, and from 1 to M - 1; the mean is then near that of the recipe. Blocks
 * weigh the same whatever their size. A share that is not finite is WN_ERR_NUMERIC naming the block.
 */
wn_status wn_owl_sparsity(const struct wn_recipe *recipe, const double *shares, int64_t n_blocks, double *sparsity);

/* ---- depth: branches that are left out ---- */

/*
 * Adds the scores of each token to sums [WN_DROP_SCORES]: `before` the unit and hidden + added (NULL: 0) after it,
 * [rows, width]. All but the subcloning ratio depend on directions alone. A score is the sum over the tokens of a
 * calibration set divided by their number.
 */
void wn_drop_scores_add(const float *before, const float *hidden, const float *added, int64_t rows, int64_t width,
                        double *sums);
/* Units that go: int(sparsity * n_blocks), of branches int(sparsity * 2 n_blocks). */
int64_t wn_drop_count(const struct wn_params *params, int64_t n_blocks);
/*
 * dropped [n_blocks] and scores [n_blocks] are per block; with units "branch" both are [2 n_blocks], attention and MLP
 * of a block one after the other. The lowest go, ties by lowest index, NaN last; with score "window" the score of a
 * block is that of the window which begins there, and the lowest window goes.
 */
void wn_drop_choose(const struct wn_params *params, const double *scores, int64_t n_blocks, bool *dropped);

/*
 * Scores that single tokens of one pass do not give: what the dense model says without one unit, for every unit, and
 * how far windows of blocks turn the hidden state (left_out.c).
 */

/* What recipes ask for of a calibration set. */
struct wn_left_out_needs {
    int64_t n_blocks;
    bool any, units[WN_DROP_UNITS], divergence;
    bool *lengths; /* [n_blocks + 1] windows of so many blocks; owned */
};
void wn_left_out_needs_init(struct wn_left_out_needs *needs, int64_t n_blocks);
void wn_left_out_needs_release(struct wn_left_out_needs *needs);
/* Adds what a recipe asks for; nothing when it is of another kind, or its scores are of single tokens. */
void wn_left_out_want(struct wn_left_out_needs *needs, const struct wn_recipe *recipe);
/*
 * Collective. Fills left_out when anything is asked for: about half a forward of the calibration set per unit. `name`
 * is that of the state on scratch, where a stop leaves the sums; saver NULL: nowhere.
 */
wn_status wn_left_out_compute(struct wn_par *par, struct wn_saver *saver, const char *name,
                              const struct wn_model *model, const struct wn_sequences *calibration,
                              const struct wn_left_out_needs *needs, struct wn_left_out *left_out);
/* Passes of the set through single blocks, *models: how often the head runs over it; bytes of a rank meanwhile, and of
 * a node. 0 when nothing is asked for. */
int64_t wn_left_out_passes(const struct wn_left_out_needs *needs, int64_t *models);
int64_t wn_left_out_bytes(const struct wn_left_out_needs *needs, const struct wn_model *model,
                          const struct wn_sequences *calibration);
int64_t wn_left_out_shared_bytes(const struct wn_left_out_needs *needs, const struct wn_sequences *calibration);
/* Score of a unit (of the window that begins at the block, NaN when it does not fit); not WN_UNIT_BRANCH. */
double wn_left_out_score(const struct wn_left_out *left_out, const struct wn_params *params, int64_t n_blocks,
                         enum wn_drop_unit unit, int64_t block);

#endif
