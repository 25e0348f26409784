/* SPDX-License-Identifier: Apache-2.0 */
/* What the kinds of evaluation share. */
#include "protocol.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- white space ---- */

/* The code points for which str.isspace() is true; re's \s is the same set. */
static bool is_space(uint32_t point)
{
    return (point >= 0x09 && point <= 0x0d) || (point >= 0x1c && point <= 0x20) || point == 0x85 || point == 0xa0 ||
           point == 0x1680 || (point >= 0x2000 && point <= 0x200a) || point == 0x2028 || point == 0x2029 ||
           point == 0x202f || point == 0x205f || point == 0x3000;
}

int64_t wn_space_at(const char *text, int64_t left)
{
    const uint8_t *c = (const uint8_t *)text;

    if (left >= 1 && c[0] < 0x80)
        return is_space(c[0]);
    if (left >= 2 && (c[0] & 0xe0) == 0xc0)
        return is_space((uint32_t)(c[0] & 0x1f) << 6 | (c[1] & 0x3f)) ? 2 : 0;
    if (left >= 3 && (c[0] & 0xf0) == 0xe0)
        return is_space((uint32_t)(c[0] & 0x0f) << 12 | (uint32_t)(c[1] & 0x3f) << 6 | (c[2] & 0x3f)) ? 3 : 0;
    return 0;
}

int64_t wn_trimmed_length(const char *text, int64_t length)
{
    while (length > 0) {
        int64_t last = length - 1;
        while (last > 0 && (text[last] & 0xc0) == 0x80)
            last--;
        if (wn_space_at(text + last, length - last) == 0)
            break;
        length = last;
    }
    return length;
}

int64_t wn_count_pieces(const char *text, int64_t length)
{
    int64_t pieces = 1;
    bool inside = false;

    for (int64_t i = 0; i < length;) {
        int64_t step = wn_space_at(text + i, length - i);
        pieces += step > 0 && !inside;
        inside = step > 0;
        i += step > 0 ? step : 1;
    }
    return pieces;
}

/* ---- tokens ---- */

static bool starts_with_prefix(const struct wn_tokenizer *tokenizer, const char *text, int64_t length)
{
    int32_t prefix = wn_front_id(tokenizer);
    const char *token = prefix >= 0 ? wn_token_text(tokenizer, prefix) : NULL;
    size_t size = token ? strlen(token) : 0;

    return size > 0 && (size_t)length >= size && memcmp(text, token, size) == 0;
}

wn_status wn_encode_known(const struct wn_model *model, const char *text, int64_t length, bool special,
                          struct wn_ids *ids)
{
    int64_t before = ids->count;

    WN_TRY(wn_encode(model->tokenizer, text, length, special, ids));
    for (int64_t i = before; i < ids->count; i++)
        if (ids->data[i] >= model->config.vocab_size)
            return wn_fail(WN_ERR_INPUT, "the tokenizer gives the id %d, but the model knows only %lld tokens",
                           (int)ids->data[i], (long long)model->config.vocab_size);
    return WN_OK;
}

wn_status wn_encode_request(const struct wn_model *model, const char *text, int64_t length, struct wn_ids *ids)
{
    return wn_encode_known(model, text, length, !starts_with_prefix(model->tokenizer, text, length), ids);
}

/* ---- targets ---- */

void wn_add_target(struct wn_eval_set *set, int64_t row, int32_t id)
{
    int64_t n = set->n_targets;

    set->target_row = wn_grow(set->target_row, n, 1, sizeof *set->target_row);
    set->target_id = wn_grow(set->target_id, n, 1, sizeof *set->target_id);
    set->target_row[n] = row;
    set->target_id[n] = id;
    set->n_targets++;
}

int64_t *wn_target_sequences(const struct wn_eval_set *set)
{
    int64_t *sequence = wn_alloc(set->n_targets, sizeof *sequence), s = 0;

    for (int64_t t = 0; t < set->n_targets; t++) {
        while (set->target_row[t] >= set->sequences.offset[s + 1])
            s++;
        sequence[t] = s;
    }
    return sequence;
}

/* ---- means ---- */

void wn_clustered_mean(const double *values, const int64_t *cluster, int64_t n, double *mean, double *standard_error)
{
    double sum = 0, squares = 0, residual = 0;
    int64_t clusters = 0;

    for (int64_t i = 0; i < n; i++)
        sum += values[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++) {
        residual += values[i] - *mean;
        if (i + 1 == n || cluster[i + 1] != cluster[i]) {
            squares += residual * residual;
            residual = 0;
            clusters++;
        }
    }
    double g = (double)clusters;
    *standard_error = clusters > 1 ? sqrt(g / (g - 1) * squares) / (double)n : (double)NAN;
}

/* ---- fields ---- */

int wn_add_field(struct wn_schema *schema, const struct wn_eval_set *set, const char *group, const char *what,
                 enum wn_field_type type, int n_dims, const int *dims, const char *unit, const char *description)
{
    char *path = wn_format("/%s/%s/%s", group, set->name, what);
    int field = wn_schema_field(schema, path, type, n_dims, dims, unit, description, true);

    wn_free(path);
    return field;
}

int wn_add_constant(struct wn_schema *schema, const struct wn_eval_set *set, const char *group, const char *what,
                    int n_dims, const int *dims, const char *description, const int32_t *values)
{
    char *path = wn_format("/%s/%s/%s", group, set->name, what);
    int constant = wn_schema_constant(schema, path, WN_FIELD_I32, n_dims, dims, "1", description, values);

    wn_free(path);
    return constant;
}
