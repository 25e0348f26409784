/* sweep_impl.h: shared by the files of src/sweep only. */
#ifndef WINNOW_SWEEP_IMPL_H
#define WINNOW_SWEEP_IMPL_H

#include <winnow/sweep.h>

/* The lists of key names the parser knows; also what suggestions and the schema are made from. */
#define WN_GRID_KEYS "method", "prune", "quantize", "model", "calibration", "propagation"

/* Short name of a model: the last part of its path, the whole path when two share that part. Owned by the caller. */
char *wn_sweep_model_name(const struct wn_sweep *sweep, int64_t model);

/* Label of a recipe: "dense", "wanda", "wanda+rtn". Owned by the caller. */
char *wn_recipe_label(const struct wn_recipe *recipe);

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

/* Parts of wn_prepare (tables.c). */
void wn_run_build_tables(struct wn_run *run);
void wn_run_build_identity(struct wn_run *run);

#endif
