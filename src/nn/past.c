/* SPDX-License-Identifier: Apache-2.0 */
/* past.c: keys and values of what was run earlier. */
#include <winnow/nn.h>

#include <string.h>

int64_t wn_past_length(const struct wn_past *past, int64_t sequence)
{
    int64_t length = 0;
    for (int64_t i = past ? past->first_span[sequence] : 0; past && i < past->first_span[sequence + 1]; i++)
        length += past->spans[i].count;
    return length;
}

void wn_past_keep(const struct wn_past *past, const float *k, const float *v, int64_t n_sequences,
                  const int64_t *offset, int64_t kv_heads, int64_t head_dim)
{
    int64_t width = kv_heads * head_dim;
    for (int64_t s = 0; s < n_sequences; s++) {
        if (past->keep[s] < 0)
            continue;
        size_t bytes = (size_t)((offset[s + 1] - offset[s]) * width) * sizeof *k;
        memcpy(past->keys + past->keep[s] * width, k + offset[s] * width, bytes);
        memcpy(past->values + past->keep[s] * width, v + offset[s] * width, bytes);
    }
}
