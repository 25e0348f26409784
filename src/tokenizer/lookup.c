/* lookup.c: tokens by id and by text. */
#include "tokenizer_impl.h"

int64_t wn_vocabulary_size(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->size;
}

int32_t wn_bos_id(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t wn_eos_id(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

bool wn_adds_bos(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->bos >= 0 && tokenizer->prefix.count > 0 && tokenizer->prefix.data[0] == tokenizer->bos;
}

int32_t wn_token_id(const struct wn_tokenizer *tokenizer, const char *token)
{
    for (int64_t i = 0; i < tokenizer->added_count; i++)
        if (strcmp(tokenizer->added[i].content, token) == 0)
            return tokenizer->added[i].id;
    return tok_vocabulary_find(&tokenizer->bpe.vocabulary, token, strlen(token));
}

const char *wn_token_text(const struct wn_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->size ? tokenizer->texts[id] : NULL;
}
