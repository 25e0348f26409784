/* SPDX-License-Identifier: Apache-2.0 */
/* load.h: reading tokenizer.json or tokenizer.model: what the files load*.c share. Errors name the path and the key. */
#ifndef WINNOW_TOKENIZER_LOAD_H
#define WINNOW_TOKENIZER_LOAD_H

#include <cjson/cJSON.h>

#include "sentencepiece.h"
#include "tokenizer_impl.h"

/* No model has more than a few hundred thousand tokens; tables of this many still fit in memory. */
enum { TOK_LARGEST_ID = (1 << 24) - 1 };

struct tok_loader {
    const char *path;
    struct wn_tokenizer *tokenizer;
    const struct tok_spm *spm; /* vocabulary and rules are taken from there; NULL: from the JSON */
    int64_t extra_ids;         /* tokens <extra_id_N> that follow its pieces */
};

/* ---- values (load_values.c) ---- */

wn_status tok_expected(const struct tok_loader *loader, const char *where, const char *what);
wn_status tok_expected_key(const struct tok_loader *loader, const char *where, const char *key, const char *what);
wn_status tok_unsupported(const struct tok_loader *loader, const char *where, const char *what, const char *type);
/* The value of a key, NULL where it is absent or null. */
const cJSON *tok_value_of(const cJSON *object, const char *key);
wn_status tok_get_bool(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                       bool absent, bool *out);
wn_status tok_get_string(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                         const char **out);
/* A string of one character. */
wn_status tok_get_character(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                            uint32_t *out);
wn_status tok_get_count(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                        int64_t *out);
bool tok_read_integer(const cJSON *value, int64_t most, int64_t *out);
/* {"String": ..} or {"Regex": ..} under the key "pattern". */
wn_status tok_load_pattern(struct tok_loader *loader, const cJSON *json, const char *where,
                           struct tok_pattern *pattern);

/* ---- components ---- */

typedef wn_status tok_load_one(struct tok_loader *loader, const cJSON *json, const char *where, const char *type);
/* A component, or a Sequence of them under `list`, nested to any depth: `one` gets each in order. */
wn_status tok_load_chain(struct tok_loader *loader, const cJSON *json, const char *where, const char *list,
                         tok_load_one *one);
tok_load_one tok_load_normalizer;                 /* load_normalizers.c */
tok_load_one tok_load_splitter, tok_load_decoder; /* load_stages.c */
/* "BPE", "Unigram", "WordPiece", "WordLevel", or what else a "model" says (load_model.c). */
const char *tok_model_type(const cJSON *json);
/* Vocabulary, merges and options of "model". */
wn_status tok_load_model(struct tok_loader *loader, const cJSON *root);
/* The same from the pieces of a tokenizer.model (load_sentencepiece.c). */
void tok_spm_load_bpe(const struct tok_spm *spm, struct wn_tokenizer *tokenizer);
void tok_spm_load_unigram(const struct tok_spm *spm, int64_t extra_ids, struct wn_tokenizer *tokenizer);
/* "<extra_id_7>"; owned by the caller. */
char *tok_extra_id(int64_t number);

#endif
