/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protocol.h: what the kinds of evaluation share: white space as Python sees it, tokens as the harness makes them,
 * growing lists of targets, means with clustered errors.
 */
#ifndef WINNOW_EVAL_PROTOCOL_H
#define WINNOW_EVAL_PROTOCOL_H

#include <winnow/eval.h>

/* Bytes of the white space character (str.isspace, and \s of re) at text[0..left), 0 when there is none. */
int64_t wn_space_at(const char *text, int64_t left);
/* Length of text[0..length) without white space at the end (str.rstrip). */
int64_t wn_trimmed_length(const char *text, int64_t length);
/* Pieces of re.split(r"\s+", text): one more than runs of white space, empty pieces included. */
int64_t wn_count_pieces(const char *text, int64_t length);
/* Appends the page in ordinary spelling, by the rules of the harness. */
void wn_detokenize_wikitext(const char *page, int64_t length, struct wn_text *text);

/* wn_encode; ids outside the vocabulary of the model are an error (no path in the message). */
wn_status wn_encode_known(const struct wn_model *model, const char *text, int64_t length, bool special,
                          struct wn_ids *ids);
/* The same as the harness does it: default special tokens, but none when the text starts with that of the prefix. */
wn_status wn_encode_request(const struct wn_model *model, const char *text, int64_t length, struct wn_ids *ids);

/* Appends one target. */
void wn_add_target(struct wn_eval_set *set, int64_t row, int32_t id);

/*
 * Mean of values[0..n) and its standard error clustered by `cluster` (equal numbers side by side):
 * sqrt(G/(G-1) sum_g r_g^2) / n with r_g the sum of (value - mean) in cluster g; NaN for one cluster. For clusters of
 * equal size this is s/sqrt(G) of the cluster means.
 */
void wn_clustered_mean(const double *values, const int64_t *cluster, int64_t n, double *mean, double *standard_error);
/* The sequence each target belongs to, [n_targets]; free with wn_free. */
int64_t *wn_target_sequences(const struct wn_eval_set *set);

/* The path of a field: "/scores/NAME/what". */
int wn_add_field(struct wn_schema *schema, const struct wn_eval_set *set, const char *group, const char *what,
                 enum wn_field_type type, int n_dims, const int *dims, const char *unit, const char *description);
/* A constant "/GROUP/NAME/what" of plain numbers. */
int wn_add_constant(struct wn_schema *schema, const struct wn_eval_set *set, const char *group, const char *what,
                    int n_dims, const int *dims, const char *description, const int32_t *values);

#endif
