/* SPDX-License-Identifier: Apache-2.0 */
/* sentencepiece.h: a tokenizer.model as SentencePiece writes it; private to src/tokenizer. */
#ifndef WINNOW_TOKENIZER_SENTENCEPIECE_H
#define WINNOW_TOKENIZER_SENTENCEPIECE_H

#include <winnow/base.h>

/* Types of pieces and of models, as the file has them. */
enum tok_spm_type { TOK_SPM_NORMAL = 1, TOK_SPM_UNKNOWN, TOK_SPM_CONTROL, TOK_SPM_USER, TOK_SPM_UNUSED, TOK_SPM_BYTE };
enum tok_spm_model { TOK_SPM_UNIGRAM = 1, TOK_SPM_BPE };

struct tok_spm_piece {
    char *text;    /* owned, valid UTF-8 without NUL, not empty */
    char *renamed; /* owned; what stands in its place, NULL: itself */
    float score;
    int64_t type;
};

/* What tokens depend on; the number of a piece is its id. */
struct tok_spm {
    struct tok_spm_piece *pieces; /* owned */
    int64_t count, capacity;
    int64_t model_type;
    bool byte_fallback, add_dummy_prefix, remove_extra_whitespaces;
    int64_t unknown, bos, eos;                   /* ids; below 0: none */
    char *unknown_piece, *bos_piece, *eos_piece; /* owned */
    uint8_t *charsmap;                           /* owned; NULL: none */
    size_t charsmap_length;
};

/* Release in any case. WN_ERR_INPUT with the path and the byte when the file is cut off or is another one. */
wn_status tok_spm_read(const char *path, struct tok_spm *spm);
void tok_spm_release(struct tok_spm *spm);

#endif
