/* SPDX-License-Identifier: Apache-2.0 */
/* sweep_impl.h: shared by the files of src/sweep only. */
#ifndef WINNOW_SWEEP_IMPL_H
#define WINNOW_SWEEP_IMPL_H

#include <winnow/sweep.h>

/* The lists of key names the parser knows; also what suggestions and the schema are made from. */
#define WN_GRID_KEYS                                                                                                   \
    "method", "prune", "quantize", "model", "calibration", "propagation", "routing", "defaults", "replicates",         \
        "perturb", "perturb_seed"

/* Short name of a model: the last part of its path, the whole path when two share that part. Owned by the caller. */
char *wn_sweep_model_name(const struct wn_sweep *sweep, int64_t model);

/* Label of a recipe: "dense", "wanda", "wanda+rtn". Owned by the caller. */
char *wn_recipe_label(const struct wn_recipe *recipe);

/*
 * Parts of wn_grid_build (allocated.c): values of the key "allocation". Mistakes become lines that begin with `where`;
 * then the result is false.
 */
bool wn_grid_allocation_is_of_method(const struct wn_recipe *recipe, const struct cJSON *value);
/* Of a value that is no word of the method: a search, or "uniform" for methods that have no allocations. */
bool wn_grid_check_allocation(const struct wn_sweep *sweep, const struct wn_recipe *recipe, const struct cJSON *value,
                              const char *where, struct wn_problems *problems);
/* When all parameters are set: makes a search that of the recipe. */
bool wn_grid_read_search(const struct wn_sweep *sweep, const struct cJSON *value, const char *where,
                         struct wn_problems *problems, struct wn_recipe *recipe);
/*
 * What a search varies; section NULL: levels by layer errors. Of a joint point the bits, when they are a fraction, or
 * when the section has levels of them ("bits") or their preset; else the sparsity.
 */
enum wn_space_kind wn_search_kind(const struct wn_recipe *recipe, const struct cJSON *section);

/*
 * Other draws of calibration sets, and noise on them (replicates.c). wn_sweep_vary_sets adds the sets that products ask
 * for to those of the file, as far as their values can be read; wn_grid_read_variation reads them, and what is wrong
 * becomes lines that begin with `where`: `replicate` is the place on that axis.
 */
void wn_sweep_vary_sets(struct wn_sweep *sweep);
/* Their keys. */
const struct wn_parameter *wn_grid_variation_parameters(int *count);
/* How many values the axis "replicates" has; 0: it is no number of draws. */
int wn_grid_replicates(const struct cJSON *value);
bool wn_grid_read_variation(const struct cJSON *replicates, int replicate, const struct cJSON *perturb,
                            const struct cJSON *perturb_seed, const char *where, struct wn_problems *problems,
                            struct wn_variation *variation);
/* The set that is so varied, which is there. */
int64_t wn_sweep_varied_set(const struct wn_sweep *sweep, int64_t base, const struct wn_variation *variation);
/* The sets of the file: they come first, and only they have names that a product can say. */
int64_t wn_sweep_sets(const struct wn_sweep *sweep);
bool wn_sweep_varies(const struct wn_sweep *sweep);
/* " replicate=1 perturb=1e-07": what the key of a point says of its set besides the name. */
void wn_variation_describe(const struct wn_variation *variation, struct wn_text *text);
/* Makes the perturbed sets of a model, of those with their tokens, which are built. */
void wn_sweep_perturb_sets(const struct wn_sweep *sweep, struct wn_prepared_model *prepared);

/* Points of `model` that need statistics of calibration set `calibration` (-1: any set). */
bool wn_grid_uses_calibration(const struct wn_grid_points *grid, int64_t model, int64_t calibration);

/* Puts the sweep file in front of the lines from `first` on that begin with one of its keys, not with a file. */
void wn_sweep_place_problems(const struct wn_sweep *sweep, struct wn_problems *problems, int64_t first);

/*
 * Parts of wn_prepare (inputs.c), collective: WN_ERR_INPUT naming file, rank and host when ranks read different files.
 * The text of the sweep comes first, as it decides which collective calls follow; then the files that the sweep names,
 * before anything is made of them; then those of each model, whose hashes are kept.
 */
wn_status wn_inputs_compare_sweep(struct wn_par *par, const struct wn_sweep *sweep);
wn_status wn_inputs_compare_texts(struct wn_par *par, const struct wn_sweep *sweep);
wn_status wn_inputs_compare_model(struct wn_par *par, struct wn_prepared_model *prepared);

/*
 * Parts of wn_prepare (searches.c): the searches of all points with their spaces, when the models are open; what they
 * ask of their calibration sets, and where their generations are kept, when these are built. Mistakes go to `problems`.
 */
void wn_searches_open(struct wn_run *run, struct wn_problems *problems);
void wn_searches_check(struct wn_run *run, struct wn_problems *problems);
void wn_searches_lay_out(struct wn_run *run);
void wn_searches_release(struct wn_run *run);
/* Fields of a log, in the order of its schema. */
enum {
    WN_LOG_LEVEL,
    WN_LOG_FITNESS,
    WN_LOG_WINNER,
    WN_LOG_BEST,
    WN_LOG_ACHIEVED,
    WN_LOG_SECONDS,
    WN_LOG_ACCURACY,
    WN_LOG_TOKENS,
    WN_LOG_ERROR_SUM
};
/* The cell of a gene in the levels of a row. */
int64_t wn_search_cell(const struct wn_run *run, const struct wn_point_search *search, int64_t gene);
/* Searches for a task (search_tasks.c): the evaluation of that name; what a search sees of it, before prefixes are
 * shared; which items those are, as constants /tasks/NAME/searched of a model. */
int64_t wn_search_find_task(const struct wn_sweep *sweep, const char *name);
void wn_search_take_items(const struct wn_run *run, struct wn_point_search *search);
void wn_search_release_items(struct wn_point_search *search);
void wn_search_mark_items(const struct wn_run *run, struct wn_prepared_model *prepared);
/* Lines of the identity: "search NAME for KIND: SETTINGS". */
void wn_searches_identify(const struct wn_run *run, int64_t model, struct wn_text *text);
/* What such a line begins with: "NAME for KIND"; owned by the caller. */
char *wn_search_title(const struct wn_run *run, int64_t point);

/* Part of wn_prepare (point_fields.c): the fields of all points, which run->fields knows. */
void wn_run_add_point_fields(struct wn_run *run, struct wn_schema *schema);

/* Parts of wn_prepare (sets.c): how the tokenizer is read, and the token in front of texts without context; what keys
 * of the sweep add to the protocol of a set; the ids of a calibration set as constants, where "keep_ids" asks for them.
 */
void wn_sweep_set_tokenizer(const struct wn_sweep *sweep, struct wn_model *model, struct wn_problems *problems);
void wn_sweep_note_set(const struct wn_sweep *sweep, const struct wn_prepared_model *prepared, struct wn_eval_set *set);
void wn_sweep_keep_ids(const struct wn_calibration *set, struct wn_schema *schema);
/* Warns where points may be nearer to the dense model than the rounding of "compute": "bf16". */
void wn_sweep_warn_of_floor(const struct wn_run *run);

/* Part of wn_prepare (merge.c): run->schema has the fields of all models, every axis as long as the longest: shorter
 * records leave the rest missing. */
void wn_run_merge_schemas(struct wn_run *run);

/* Parts of wn_prepare (tables.c). */
void wn_run_build_tables(struct wn_run *run);
void wn_run_build_identity(struct wn_run *run);

#endif
