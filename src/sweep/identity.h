/* SPDX-License-Identifier: Apache-2.0 */
/*
 * identity.h: the text that says what results depend on (wn_run_build_identity in tables.c writes it), taken apart by
 * models. Private to src/sweep.
 */
#ifndef WINNOW_SWEEP_IDENTITY_H
#define WINNOW_SWEEP_IDENTITY_H

#include "sweep_impl.h"

struct wn_named {
    char *name, *text; /* owned; "NAME: TEXT" */
};

/* One model, and what is said of it; all owned. */
struct wn_described_model {
    char *name;
    struct wn_text files; /* a line each: hash and name */
    char *sample;         /* tokens of the reference sample */
    int64_t n_calibrations, n_evals, n_searches;
    struct wn_named *calibrations, *evals, *searches;
};

struct wn_identity {
    int64_t n_models;
    struct wn_described_model *models;
};

/* From {0}; lines that it does not know are left out. */
void wn_identity_read(const char *text, struct wn_identity *identity);
void wn_identity_release(struct wn_identity *identity);
/* NULL is the empty text. */
bool wn_same_text(const char *a, const char *b);
/* The entry of that name; NULL: none. */
const struct wn_named *wn_find_named(const struct wn_named *list, int64_t count, const char *name);

#endif
