/* SPDX-License-Identifier: Apache-2.0 */
/* earlier.c: prediction for another machine, from a results file that was made there. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "predict.h"

/* Measured seconds of the points of one method in an earlier file, and what this plan predicts for its own. */
struct measured {
    double seconds[WN_STAGES], tokens, predicted[WN_STAGES], predicted_tokens;
};

struct earlier {
    struct wn_texts labels;
    struct measured *methods; /* [labels.count] */
};

static struct measured *find_measured(struct earlier *earlier, const char *key)
{
    int64_t before = earlier->labels.count, kind = wn_point_kind(&earlier->labels, key);
    if (kind == before) {
        earlier->methods = wn_resize(earlier->methods, kind + 1, sizeof *earlier->methods);
        earlier->methods[kind] = (struct measured){.tokens = 0};
    }
    return &earlier->methods[kind];
}

static wn_status read_earlier(const char *path, struct earlier *earlier)
{
    struct wn_results_reader *reader = NULL;
    char **keys = NULL;
    double *tokens = NULL, *seconds[WN_STAGES] = {NULL};
    int64_t rows = 0, used = 0;
    wn_status status = wn_results_read_open(path, &reader);
    if (status == WN_OK)
        status = wn_results_read_texts(reader, "/points/key", &keys, &rows);
    if (status == WN_OK)
        status = wn_results_read_numbers(reader, "/points/tokens", &tokens, &rows);
    for (int s = 0; s < WN_STAGES && status == WN_OK; s++) {
        char column[64];
        snprintf(column, sizeof column, "/points/seconds_%s", wn_stage_name((enum wn_point_stage)s));
        status = wn_results_read_numbers(reader, column, &seconds[s], &rows);
    }
    for (int64_t i = 0; i < rows && status == WN_OK; i++) {
        if (!(tokens[i] > 0) || !isfinite(seconds[0][i]))
            continue;
        struct measured *method = find_measured(earlier, keys[i]);
        used++;
        method->tokens += tokens[i];
        for (int s = 0; s < WN_STAGES; s++)
            method->seconds[s] += isfinite(seconds[s][i]) ? seconds[s][i] : 0;
    }
    if (status == WN_OK && !used)
        status = wn_fail(WN_ERR_INPUT, "%s: no point of it is done: nothing was measured", path);
    for (int s = 0; s < WN_STAGES; s++)
        wn_free(seconds[s]);
    wn_free(tokens);
    wn_results_free_texts(&keys, rows);
    wn_results_read_close(&reader);
    return status;
}

/* Measured over predicted seconds of a stage, both per token; of all methods where this one has none. */
static double ratio_of(const struct earlier *earlier, const struct measured *method, int s)
{
    double measured = 0, predicted = 0;
    if (method->seconds[s] > 0 && method->predicted[s] > 0 && method->predicted_tokens > 0)
        return method->seconds[s] / method->tokens * method->predicted_tokens / method->predicted[s];
    for (int64_t i = 0; i < earlier->labels.count; i++) {
        const struct measured *one = &earlier->methods[i];
        if (!(one->seconds[s] > 0 && one->predicted[s] > 0))
            continue;
        measured += one->seconds[s] / one->tokens * one->predicted_tokens;
        predicted += one->predicted[s];
    }
    return predicted > 0 ? measured / predicted : 1;
}

wn_status wn_predict_from(const struct wn_run *run, const char *path, struct wn_prediction *prediction)
{
    struct earlier earlier = {0};
    double before = 0, after = 0;
    wn_status status = read_earlier(path, &earlier);
    for (int64_t i = 0; i < run->grid.n_points && status == WN_OK; i++) {
        struct measured *method = find_measured(&earlier, run->grid.points[i].key);
        method->predicted_tokens += prediction->tokens[i];
        for (int s = 0; s < WN_STAGES; s++)
            method->predicted[s] += prediction->stages[i][s];
    }
    for (int64_t i = 0; i < run->grid.n_points && status == WN_OK; i++) {
        const struct measured *method = find_measured(&earlier, run->grid.points[i].key);
        before += prediction->seconds[i];
        prediction->seconds[i] = 0;
        for (int s = 0; s < WN_STAGES; s++) {
            prediction->stages[i][s] *= ratio_of(&earlier, method, s);
            prediction->seconds[i] += prediction->stages[i][s];
        }
        after += prediction->seconds[i];
    }
    if (status == WN_OK && before > 0) {
        prediction->dense_seconds *= after / before;
        prediction->dense_load_seconds *= after / before;
        for (int64_t e = 0; e < run->sweep->n_evals; e++)
            prediction->evals[e] *= after / before;
    }
    wn_texts_release(&earlier.labels);
    wn_free(earlier.methods);
    return status;
}
