/* SPDX-License-Identifier: Apache-2.0 */
/* config.h: what lies beside tokenizer.json; private to src/tokenizer. */
#ifndef WINNOW_TOKENIZER_CONFIG_H
#define WINNOW_TOKENIZER_CONFIG_H

#include "load.h"

/* Classes of transformers 5 that build their stages anew and take only vocabulary, merges and template of the file. */
enum tok_class {
    TOK_CLASS_FILE, /* any other: tokenizer.json as it is */
    TOK_CLASS_LLAMA,
    TOK_CLASS_CODE_LLAMA,
    TOK_CLASS_GPT2,
    TOK_CLASS_QWEN2,
    TOK_CLASS_NEOX,
    TOK_CLASS_GEMMA,
    TOK_CLASS_T5,
    TOK_CLASS_BERT,
    TOK_CLASSES
};

/* What makes stages, template and options of the model. */
enum tok_rules {
    TOK_RULES_OF_CLASS, /* the constructor of the class, anew */
    TOK_RULES_OF_FILE,  /* tokenizer.json as it is, or what TokenizersBackend makes of a tokenizer.model */
    TOK_RULES_OLDER     /* the same, of a tokenizer.model as transformers 4 did: "tokenizer": "file" of a sweep */
};

struct tok_config {
    char *path;  /* of tokenizer_config.json; owned */
    cJSON *root; /* it, with special_tokens_map.json where that counts; {} without one; owned */
    cJSON *more; /* added_tokens.json where that counts, else NULL; owned */
    bool of_map; /* additional_special_tokens are those of special_tokens_map.json */
    enum tok_class class;
    char *other_class; /* the name of a class that builds stages of its own, but not here; "": none; owned */
    enum tok_rules rules;
    int64_t extra_ids;   /* tokens <extra_id_N> that T5 puts behind its pieces */
    struct tok_spm *spm; /* the tokenizer.model in place of tokenizer.json; borrowed, NULL: none */
};

/*
 * Reads the files beside tokenizer.json, whose parsed text decides the class with them, or beside the tokenizer.model
 * `spm` (else NULL); release in any case.
 */
wn_status tok_config_read(const char *directory, const cJSON *file, struct tok_spm *spm, struct tok_config *config);
void tok_config_release(struct tok_config *config);

/* The class by name and by the model's type (config.json), either of which may be NULL (classes.c). */
enum tok_class tok_class_find(const char *name, const char *model_type, const cJSON *file);
/* Whether transformers takes a class of this name that builds its stages anew and is not read here. */
bool tok_class_is_other(const char *name, const char *model_type);
/* What the class says of a token ("bos_token" ...) that the configuration does not name; NULL: none. */
const char *tok_class_token(enum tok_class class, const char *key);
/* Replaces the stages of a parsed tokenizer.json by those of the class. */
wn_status tok_class_rebuild(struct tok_loader *loader, const struct tok_config *config, cJSON *file);
/* Sets config->extra_ids. */
wn_status tok_class_extra_ids(struct tok_loader *loader, struct tok_config *config);
/*
 * Fills a JSON object with what tokenizer.json would hold of a tokenizer.model, but for vocabulary, merges and rules,
 * and names its tokens in config->root where that says nothing of them (load_sentencepiece.c).
 */
void tok_spm_describe(struct tok_config *config, cJSON *root);

/*
 * Adds the tokens that the configuration names to tokenizer->added, which holds those of tokenizer.json: known ones
 * change their flags, new ones get the next free id. The vocabulary is loaded.
 */
wn_status tok_config_add_tokens(struct tok_loader *loader, const struct tok_config *config);
/* Sets bos, eos and what flags say; the tokens have their ids. */
wn_status tok_config_finish(struct tok_loader *loader, const struct tok_config *config);

#endif
