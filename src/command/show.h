/* SPDX-License-Identifier: Apache-2.0 */
/* show.h: what `winnow show` prints: chosen columns and rows of a results file, and the forms they are printed in. */
#ifndef WINNOW_SHOW_H
#define WINNOW_SHOW_H

#include <stdbool.h>
#include <stdint.h>

#include <winnow/base.h>

struct wn_shown_column {
    char *path, *name; /* "/scores/world/kl_mean", "world/kl_mean": as in Python; owned */
    bool text, axis;   /* axis: it tells points apart, as asked for in the sweep */
    bool shown;        /* printed */
    bool status;       /* done, failed or open, which programs get in front of all others */
    bool error_shown;  /* with its standard error */
    int error;         /* the column of its standard error; -1: none */
    int spread;        /* the column of its standard deviation over draws; -1: none */
    char **texts;      /* [points], owned, NULL for numbers and what was not read */
    double *numbers;   /* [points], owned */
};

struct wn_shown {
    int64_t points, n_rows;
    int64_t *rows;       /* [n_rows] points, in the order in which they are printed */
    const char **status; /* [points] */
    int n_columns;
    bool columns_asked; /* by name: nothing else is of interest */
    struct wn_shown_column *columns;
};

enum wn_show_form { WN_SHOW_TEXT, WN_SHOW_CSV, WN_SHOW_MARKDOWN, WN_SHOW_LATEX };

/* width: characters of a line of the text form; 0: no limit. */
void wn_show_print(const struct wn_shown *shown, enum wn_show_form form, int width);

/* {"schema_version", "provenance": {..}, "points": [{NAME: value, ..}, ..]}, by the names of columns (show_json.c). */
struct wn_results_reader;
wn_status wn_show_json(const struct wn_shown *shown, struct wn_results_reader *reader);

/*
 * Points that are done and differ in "replicate" or "perturb_seed" alone become one row, that of the first of them
 * (show_fold.c): scores are means, with NAME_draws for their standard deviation, and "draws" counts them. Nothing in a
 * file without draws.
 */
void wn_show_fold(struct wn_shown *shown);
/* Whether a list of columns or conditions speaks of single draws. */
bool wn_show_names_draw(const char *text);

/* ---- choosing (show_choose.c); on a mistake one line is printed and the result is -1 or false ---- */

/* The number of the column "world/kl_mean", or "kl_mean" where no other evaluation has one. */
int wn_show_find(const struct wn_shown *shown, const char *name);
/* Columns of a list of names with * and ?: nothing else is shown. */
bool wn_show_columns(struct wn_shown *shown, const char *list);
bool wn_show_is_empty(const struct wn_shown *shown, const struct wn_shown_column *column); /* in all rows */
/* Axes whose values tell rows apart, and the method with its sparsity and bits. */
void wn_show_axes(struct wn_shown *shown);
/* Rows that fit "method=wanda|sparsegpt,sparsity>=0.5". */
bool wn_show_where(struct wn_shown *shown, const char *conditions);
/* Rows by a column, "-NAME" from the largest on; what is missing comes last. */
bool wn_show_sort(struct wn_shown *shown, const char *name);

#endif
