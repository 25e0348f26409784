/* SPDX-License-Identifier: Apache-2.0 */
/* stored.c: what a results file says of the point that is exported. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/results.h>

#include "stored.h"

enum { MOST_NEAR = 4 };

static const char *const names[WN_STORED_TOTALS] = {"achieved_sparsity", "bits_per_weight_nominal", "weight_error",
                                                    "output_error"};

const char *wn_stored_total(int index)
{
    return names[index];
}

/* ---- which point ---- */

/* Words of `wanted` that are in `key`. */
static int common_words(const char *wanted, const char *key)
{
    int count = 0;
    for (const char *word = wanted; *word; word += strspn(word, " ")) {
        size_t length = strcspn(word, " ");
        char *one = wn_strndup(word, length);
        count += length && strstr(key, one);
        wn_free(one);
        word += length;
    }
    return count;
}

/* Appends the points with the most words in common, or those that begin with `wanted`. */
static void list_near(const struct wn_stored *stored, const char *wanted, bool prefix, struct wn_text *text)
{
    int listed = 0, most = prefix ? 1 : common_words(wanted, wanted);
    for (int words = most; words >= 0 && listed < MOST_NEAR; words--)
        for (int64_t i = 0; i < stored->points && listed < MOST_NEAR; i++) {
            const char *key = stored->keys[i];
            bool begins = !strncmp(key, wanted, strlen(wanted));
            if (prefix ? begins && words : common_words(wanted, key) == words)
                wn_text_printf(text, "%s%lld \"%s\"", listed++ ? ", " : "", (long long)i, key);
        }
}

static wn_status not_one_point(const char *path, const struct wn_stored *stored, const char *wanted, int64_t begins)
{
    struct wn_text near = {0};
    list_near(stored, wanted, begins > 0, &near);
    wn_status status =
        begins ? wn_fail(WN_ERR_INPUT, "%s: the keys of %lld points begin with \"%s\": %s%s", path, (long long)begins,
                         wanted, near.data, begins > MOST_NEAR ? " ..." : "")
               : wn_fail(WN_ERR_INPUT, "%s: there is no point \"%s\"; near are %s (winnow show --json lists all keys)",
                         path, wanted, near.data);
    wn_text_release(&near);
    return status;
}

/* A whole key, else a number, else the beginning of one key. */
static wn_status find_point(const char *path, const char *wanted, struct wn_stored *stored)
{
    int64_t begins = 0;
    stored->point = -1;
    for (int64_t i = 0; i < stored->points; i++) {
        if (!strcmp(stored->keys[i], wanted)) {
            stored->point = i;
            return WN_OK;
        }
        if (!strncmp(stored->keys[i], wanted, strlen(wanted))) {
            stored->point = i;
            begins++;
        }
    }
    if (*wanted && strlen(wanted) < 10 && strspn(wanted, "0123456789") == strlen(wanted)) {
        stored->point = strtol(wanted, NULL, 10);
        if (stored->point < stored->points)
            return WN_OK;
        return wn_fail(WN_ERR_INPUT, "%s: there is no point %s; expected a number from 0 to %lld, or a key", path,
                       wanted, (long long)stored->points - 1);
    }
    begins = *wanted ? begins : 0;
    return begins == 1 ? WN_OK : not_one_point(path, stored, wanted, begins);
}

/* ---- the results file ---- */

static wn_status read_totals(struct wn_results_reader *reader, struct wn_stored *stored)
{
    uint8_t *status = wn_alloc_zero(stored->points, 1);
    wn_status read = wn_results_read_status(reader, status);
    stored->done = status[stored->point] == WN_POINT_DONE;
    wn_free(status);
    for (int t = 0; t < WN_STORED_TOTALS && read == WN_OK; t++) {
        char path[64];
        double *values;
        int64_t rows;
        snprintf(path, sizeof path, "/points/%s", names[t]);
        read = wn_results_read_numbers(reader, path, &values, &rows);
        if (read == WN_OK)
            stored->totals[t] = values[stored->point];
        wn_free(values);
    }
    return read;
}

static wn_status read_stored(struct wn_results_reader *reader, const char *path, const char *wanted,
                             struct wn_stored *stored)
{
    WN_TRY(wn_results_read_texts(reader, "/points/key", &stored->keys, &stored->points));
    WN_TRY(find_point(path, wanted, stored));
    WN_TRY(wn_results_read_document(reader, "sweep", &stored->sweep));
    WN_TRY(wn_results_read_document(reader, "identity", &stored->identity));
    if (wn_results_read_fact(reader, "sweep_file", &stored->sweep_file) != WN_OK ||
        wn_results_read_fact(reader, "arithmetic", &stored->arithmetic) != WN_OK)
        wn_log(WN_LOG_DEBUG, "%s", wn_error_message());
    return read_totals(reader, stored);
}

wn_status wn_stored_open(const char *path, const char *point, struct wn_stored *stored)
{
    struct wn_results_reader *reader;
    WN_TRY(wn_results_read_open(path, &reader));
    wn_status status = read_stored(reader, path, point, stored);
    wn_results_read_close(&reader);
    return status;
}

void wn_stored_release(struct wn_stored *stored)
{
    wn_results_free_texts(&stored->keys, stored->points);
    wn_free(stored->sweep);
    wn_free(stored->identity);
    wn_free(stored->sweep_file);
    wn_free(stored->arithmetic);
}
