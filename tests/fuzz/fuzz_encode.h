/* SPDX-License-Identifier: Apache-2.0 */
/* What the targets that open tokenizers do with them. */
#ifndef FUZZ_ENCODE_H
#define FUZZ_ENCODE_H

#include <winnow/tokenizer.h>

#include "fuzz.h"

/* Encodes and decodes a text; `special`: with what stands around it, which decoding leaves out again. */
static inline void fuzz_encode(const struct wn_tokenizer *tokenizer, const struct fuzz_part *text, bool special)
{
    struct wn_ids ids = {0};
    struct wn_text back = {0};

    if (wn_encode(tokenizer, text->data, (int64_t)text->length, special, &ids) == WN_OK) {
        for (int64_t i = 0; i < ids.count; i++)
            if (ids.data[i] < 0 || ids.data[i] >= wn_vocabulary_size(tokenizer))
                WN_BUG("id %d of %lld", ids.data[i], (long long)wn_vocabulary_size(tokenizer));
        wn_decode(tokenizer, ids.data, ids.count, special, &back);
    }
    wn_text_release(&back);
    wn_ids_release(&ids);
}

#endif
