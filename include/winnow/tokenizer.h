/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tokenizer.h: text to token ids and back, from a Hugging Face tokenizer.json or SentencePiece's tokenizer.model.
 *
 * Models: BPE, SentencePiece style (byte fallback, no pre-tokenizer, one piece of any length in O(n log n)) and byte
 * level (GPT-2, NeoX, cl100k/Llama-3, Qwen patterns through PCRE2); Unigram (byte fallback, precompiled charsmaps);
 * WordPiece and WordLevel. Normalizers, pre-tokenizers, added tokens, templates, decoders. A component that is not
 * known is an error when the file is opened, never a wrong token later.
 *
 * A tokenizer is read-only after it was opened: any number of threads may encode with it at once.
 */
#ifndef WINNOW_TOKENIZER_H
#define WINNOW_TOKENIZER_H

#include <winnow/base.h>

struct wn_tokenizer; /* opaque */

/*
 * Reads directory/tokenizer.json, or where that is absent tokenizer.model or spiece.model, as transformers 5 (5.23,
 * AutoTokenizer) does with what lies beside it:
 *   class           tokenizer_class of tokenizer_config.json, else of config.json, else by its model_type. The classes
 *                   LlamaTokenizer, CodeLlamaTokenizer, GPT2Tokenizer, Qwen2Tokenizer, GPTNeoXTokenizer,
 *                   GemmaTokenizer, T5Tokenizer and BertTokenizer (with or without Fast) build normalizer,
 *                   pre-tokenizer and decoder anew and obey add_prefix_space (and Llama's `legacy`, T5's extra_ids,
 *                   BERT's do_lower_case, strip_accents and tokenize_chinese_chars); a Llama file that is byte level,
 *                   is taken as tokenizer.json has it, and so is a class without a constructor of its own; one that has
 *                   one and is not read here (RobertaTokenizer ..) is refused.
 *   tokens          added_tokens_decoder (flags of known tokens, new tokens), else special_tokens_map.json and
 *                   added_tokens.json; bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token,
 *                   other keys in _token, extra_special_tokens, additional_special_tokens. What is new gets the next
 *                   free id, whatever id it is given, as there.
 *   template        that of tokenizer.json. add_bos_token and add_eos_token do not count where it has one, and without
 *                   one nothing is added: transformers 4 rebuilt the template of Llama tokenizers from them. A flag
 *                   that the template does not bear out is told in the log.
 *   tokenizer.model its pieces, types, scores, byte_fallback and precompiled_charsmap. A BPE model merges by the order
 *                   of the pieces. Classes of their own build their stages as above; of any other the spaces of a text
 *                   become U+2581 and nothing is put in front: add_dummy_prefix and remove_extra_whitespaces do not
 *                   count, as in transformers 5 (and unlike SentencePiece). Control and user-defined pieces are added
 *                   tokens. add_bos_token and add_eos_token count, and are false where they are not given.
 *   split_special_tokens  special tokens in a text are text. clean_up_tokenization_spaces  decoded texts of other
 * models than BPE lose the spaces before punctuation. fix_mistral_regex is refused. Where neither BOS nor EOS is named,
 * a special token that the template puts first is the BOS. On failure *tokenizer is NULL. Errors: WN_ERR_INPUT for a
 * file that is wrong, WN_ERR_UNSUPPORTED for a component that is not implemented; the line names the file and the key.
 */
wn_status wn_tokenizer_open(const char *directory, struct wn_tokenizer **tokenizer);
/*
 * The same, but of every class tokenizer.json is taken as it is, as transformers 4 did: no stage is built anew. Of a
 * tokenizer.model the rules for spaces count too (add_dummy_prefix, remove_extra_whitespaces), and a BOS is put in
 * front unless add_bos_token is false: the ids of SentencePiece and of transformers 4.
 */
wn_status wn_tokenizer_open_file(const char *directory, struct wn_tokenizer **tokenizer);
void wn_tokenizer_close(struct wn_tokenizer **tokenizer);
/* The file it was read from: tokenizer.json, tokenizer.model or spiece.model. Borrowed. */
const char *wn_tokenizer_path(const struct wn_tokenizer *tokenizer);

struct wn_ids {
    int32_t *data; /* owned */
    int64_t count, capacity;
};
void wn_ids_append(struct wn_ids *ids, int32_t id);
void wn_ids_append_all(struct wn_ids *ids, const int32_t *more, int64_t count);
void wn_ids_release(struct wn_ids *ids);

/*
 * Appends the ids of valid UTF-8 text[0..length) to `ids`; after a failure `ids` is as before. With `special`, what the
 * post-processor adds (a BOS for Llama) is added, once, as tokenizer(text) of transformers does. Errors: WN_ERR_INPUT
 * for invalid UTF-8 or a piece that PCRE2 gives up on.
 */
wn_status wn_encode(const struct wn_tokenizer *tokenizer, const char *text, int64_t length, bool special,
                    struct wn_ids *ids);

/*
 * Decodes ids to valid UTF-8, appended to `text`; with `skip_special`, special added tokens are left out. Ids without a
 * token are left out too. A token can be part of a character: decode whole sequences, not single ids.
 */
wn_status wn_decode(const struct wn_tokenizer *tokenizer, const int32_t *ids, int64_t count, bool skip_special,
                    struct wn_text *text);

int64_t wn_vocabulary_size(const struct wn_tokenizer *tokenizer); /* largest id + 1 */
int32_t wn_bos_id(const struct wn_tokenizer *tokenizer);          /* -1 when there is none */
int32_t wn_eos_id(const struct wn_tokenizer *tokenizer);          /* -1 when there is none */
/*
 * The token in front of a text without context (prefix_token_id of lm-evaluation-harness): the BOS, else the EOS, else
 * -1, unless it was set: "bos", "eos", "none" (WN_FRONT_NONE: the first token of the text is the context, and is not
 * scored) or a token of the vocabulary. WN_ERR_INPUT when there is no such token.
 */
enum { WN_FRONT_NONE = -2 };
int32_t wn_front_id(const struct wn_tokenizer *tokenizer);
wn_status wn_tokenizer_set_front(struct wn_tokenizer *tokenizer, const char *name);
/* True when `special` puts the BOS in front. */
bool wn_adds_bos(const struct wn_tokenizer *tokenizer);
/* Id of a token string, -1 when it is not in the vocabulary. */
int32_t wn_token_id(const struct wn_tokenizer *tokenizer, const char *token);
/* The token string of an id, NULL for a hole. Borrowed. */
const char *wn_token_text(const struct wn_tokenizer *tokenizer, int32_t id);

#endif
