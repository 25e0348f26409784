/* SPDX-License-Identifier: Apache-2.0 */
/* pattern.h: what all pruners share: the parameters "sparsity" and "pattern", and the rules that join them. */
#ifndef WINNOW_PATTERN_H
#define WINNOW_PATTERN_H

#include <winnow/method.h>

enum { WN_LARGEST_RUN = 64 };

/* n zeros in every aligned run of m columns; both 0: unstructured. */
struct wn_pattern {
    int n, m;
};

/* The rows every pruner's parameter table starts with. wn_pruner_check gives the defaults of owl_lambda and owl_m: they
 * have none without owl. */
#define WN_PRUNER_PARAMETERS                                                                                           \
    {.name = "sparsity",                                                                                               \
     .type = WN_NUMBER,                                                                                                \
     .low = 0,                                                                                                         \
     .high = 1,                                                                                                        \
     .open_end = true,                                                                                                 \
     .unit = "1",                                                                                                      \
     .help = "share of zeros; follows from an N:M pattern"},                                                           \
        {.name = "pattern",                                                                                            \
         .type = WN_STRING,                                                                                            \
         .standard = "\"unstructured\"",                                                                               \
         .help = "\"unstructured\", or \"N:M\": N zeros in every run of M columns"},                                   \
        {.name = "allocation",                                                                                         \
         .type = WN_STRING,                                                                                            \
         .standard = "\"uniform\"",                                                                                    \
         .words = "uniform|owl",                                                                                       \
         .quiet = true,                                                                                                \
         .help = "uniform: the same sparsity in every block; owl: less in blocks with more outliers among the Wanda "  \
                 "scores of the dense model, with N:M by whole N (arXiv:2310.05175; needs calibration data)"},         \
        {.name = "owl_lambda",                                                                                         \
         .type = WN_NUMBER,                                                                                            \
         .low = 0,                                                                                                     \
         .high = 0.5,                                                                                                  \
         .unit = "1",                                                                                                  \
         .help = "with owl: half of the difference between the largest and the smallest sparsity (default 0.08; "      \
                 "N:M: 1 / M, so that N differs by 2)"},                                                               \
    {                                                                                                                  \
        .name = "owl_m", .type = WN_NUMBER, .low = 1, .high = 1000, .unit = "1",                                       \
        .help = "with owl: an outlier is a score above this many times the mean of its block (default 5, the paper's " \
                "examples at sparsity 0.7, 6 with N:M; the default of its code is 3)"                                  \
    }

/* "unstructured" or "N:M" with 1 <= N < M <= 64; an error names the key "pattern". */
wn_status wn_pattern_parse(const char *text, struct wn_pattern *pattern);
/* The pattern of checked parameters. */
struct wn_pattern wn_pattern_of(const struct wn_params *params);

/* The functions of struct wn_method with these names. */
wn_status wn_pruner_check(struct wn_params *params);
wn_status wn_pruner_check_linear(const struct wn_params *params, const char *name, int64_t rows, int64_t columns);
bool wn_pruner_is_identity(const struct wn_params *params);

/* int(count * sparsity), as the published codes truncate it. */
int64_t wn_pruner_quota(const struct wn_params *params, int64_t count);
/* Zeros of the parts first .. end-1 of a linear in `parts` equal ones, that are pruned together: by the sparsity, or so
 * that those of all parts are task->zeros. */
int64_t wn_task_quota(const struct wn_linear_task *task, int64_t first, int64_t end, int64_t parts);

#endif
