/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c: tokens by id and by text. */
#include "tokenizer_impl.h"

int64_t wn_vocabulary_size(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->size;
}

const char *wn_tokenizer_path(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->path;
}

int32_t wn_bos_id(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t wn_eos_id(const struct wn_tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int32_t wn_front_id(const struct wn_tokenizer *tokenizer)
{
    if (tokenizer->front != TOK_FRONT_STANDARD)
        return tokenizer->front;
    return tokenizer->bos >= 0 ? tokenizer->bos : tokenizer->eos;
}

wn_status wn_tokenizer_set_front(struct wn_tokenizer *tokenizer, const char *name)
{
    if (strcmp(name, "none") == 0)
        tokenizer->front = WN_FRONT_NONE;
    else if (strcmp(name, "bos") == 0)
        tokenizer->front = tokenizer->bos;
    else if (strcmp(name, "eos") == 0)
        tokenizer->front = tokenizer->eos;
    else
        tokenizer->front = wn_token_id(tokenizer, name);
    if (tokenizer->front == -1)
        return wn_fail(WN_ERR_INPUT, "%s: there is no token \"%s\" to put in front of a text without context",
                       tokenizer->path, name);
    return WN_OK;
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
    return tok_vocabulary_find(&tokenizer->model.vocabulary, token, strlen(token));
}

const char *wn_token_text(const struct wn_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && id < tokenizer->size ? tokenizer->texts[id] : NULL;
}
