/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate.h: text from a model: batched decoding with a key-value cache on blocks that are kept in memory.
 *
 * A set of prompts is cut into batches of WN_GENERATE_BATCH texts in file order, whoever computes them. The prompts of
 * a batch go through all blocks once; then each text that goes on adds one row per step. What a text gets is a function
 * of its batch alone: not of ranks, threads or other batches.
 *
 *     struct wn_kept_blocks kept;
 *     wn_kept_blocks_init(&kept, model);
 *     for each block b:
 *         for each linear l of it:  wn_kept_blocks_take_linear(&kept, b, l, &compressed);
 *         wn_kept_blocks_take(&kept, b, &view, rules);
 *     wn_generated_init(&generated, &generation);
 *     for each batch i:  WN_TRY(wn_generate_batch(&kept, &generation, i, &generated));
 *     wn_generated_decode(&generated, &generation, model->tokenizer);
 *
 * Depends on base, model, nn and pack. Not collective. OpenMP inside; results do not depend on threads.
 */
#ifndef WINNOW_GENERATE_H
#define WINNOW_GENERATE_H

#include <winnow/model.h>
#include <winnow/pack.h>

struct wn_packed_linear;

#define WN_GENERATE_BATCH 32 /* texts decoded side by side; part of the recorded protocol */

/* ---- blocks in memory ---- */

/*
 * All blocks of a model as a point evaluates them. Linears are packed (pack.h) and unpacked panel by panel when they
 * are used: the bits are those of fp32 weights, which take 4 to 8 times as much. What packing would not make smaller by
 * a tenth is kept as fp32, and a linear with a rule keeps no weights at all: the rule has its own. The head is read
 * where the checkpoint has it.
 */
struct wn_kept_blocks {
    const struct wn_model *model;      /* borrowed */
    struct wn_block *blocks;           /* [n_blocks]; arrays owned; no linears of branches that are skipped */
    struct wn_packed_linear **kernels; /* [n_blocks, n_linears] sources of the blocks (kernels.h), or NULL; owned */
    struct wn_activation **rules;      /* [n_blocks, n_linears]; owned */
};

void wn_kept_blocks_init(struct wn_kept_blocks *kept, const struct wn_model *model);
void wn_kept_blocks_release(struct wn_kept_blocks *kept);
/* Before wn_kept_blocks_take: packs a linear with its code form, not yet released. Without a call the weights of the
 * block are packed as numbers. The size of the packed linear (wn_pack_size), also where plain numbers are kept since it
 * does not pay; 0: a rule of its inputs keeps it. */
int64_t wn_kept_blocks_take_linear(struct wn_kept_blocks *kept, int64_t index, int linear,
                                   const struct wn_compressed *form);
/* Takes the linears that were not packed, biases, vectors and skipped branches of `view`. Takes over the rules of its
 * linears, rules[WN_MAX_LINEARS] (NULL where there is none), whose entries become NULL. */
void wn_kept_blocks_take(struct wn_kept_blocks *kept, int64_t index, const struct wn_block *view,
                         struct wn_activation **rules);
/* logits [rows, vocab] = states head^T by few rows: a row has the same bits whatever other rows are in the call. */
void wn_kept_blocks_logits(const struct wn_kept_blocks *kept, const float *states, int64_t rows, float *logits);
/* Bytes of all blocks as a recipe makes them, from above as wn_pack_bytes_of says; without rules, and with no branch
 * skipped. Besides, while a linear is packed: wn_pack_bytes_while. */
int64_t wn_kept_blocks_bytes(const struct wn_model *model, const struct wn_recipe *recipe);

/*
 * A kept block as bytes, and back: the same bits. Pack writes to `out` and returns how many bytes; with NULL it only
 * counts them. Unpack fills a block that was not taken. A rule of a kind that nn.h does not know is a WN_BUG.
 */
int64_t wn_kept_blocks_pack(const struct wn_kept_blocks *kept, int64_t index, uint8_t *out);
void wn_kept_blocks_unpack(struct wn_kept_blocks *kept, int64_t index, const uint8_t *bytes);
/* The same of the linears that were taken so far of a block alone, and of a rule, which may be NULL; unpack moves
 * *bytes behind what it has read. */
int64_t wn_kept_linears_pack(const struct wn_kept_blocks *kept, int64_t index, uint8_t *out);
void wn_kept_linears_unpack(struct wn_kept_blocks *kept, int64_t index, const uint8_t **bytes);
int64_t wn_rule_pack(const struct wn_activation *rule, uint8_t *out);
struct wn_activation *wn_rule_unpack(const uint8_t **bytes); /* owned by the caller */

/* ---- what is to be generated ---- */

struct wn_prompt {
    int32_t *ids; /* [count], count >= 1; owned */
    int64_t count;
    bool truncated; /* tokens were cut off on the left, so that `most` more fit into the positions of the model */
    int64_t most;   /* tokens generated at most, >= 1; count + most <= max_positions */
    int64_t n_stops;
    char **stops; /* [n_stops] in the order of the task, none empty; owned */
};

struct wn_generation {
    int64_t n_prompts, draws; /* texts: n_prompts * draws; text t is draw t % draws of prompt t / draws */
    struct wn_prompt *prompts;
    int64_t most; /* the largest of the prompts */
    int64_t n_eos;
    int32_t eos[64];    /* ids that end a text */
    double temperature; /* 0: the token with the largest logit, the lowest id of equals */
    uint64_t seed;
    bool dense_loss; /* the losses of the generated tokens under the dense model are wanted */
};

void wn_generation_release(struct wn_generation *generation);
int64_t wn_generation_texts(const struct wn_generation *generation);
int64_t wn_generation_batches(const struct wn_generation *generation);
/* Texts of the batch and its first one. */
int64_t wn_generation_batch(const struct wn_generation *generation, int64_t batch, int64_t *first);
/* EOS ids of the configuration, and that of the tokenizer. */
void wn_generation_take_eos(struct wn_generation *generation, const struct wn_model *model);
/* Keeps the last max_positions - most tokens of a prompt. */
void wn_prompt_truncate(struct wn_prompt *prompt, int64_t max_positions);

/* ---- what was generated ---- */

/* Why a text ended; WN_END_STOP + i: its stop string i. */
enum wn_end { WN_END_LIMIT, WN_END_EOS, WN_END_STOP };

/*
 * One record of 2 + most numbers per text: tokens, end, ids (-1 behind the last one). Flat, so that ranks can share it.
 * The ids are those that were generated, the EOS token and those of the stop string included. The text is that of all
 * ids without special tokens, cut at the first occurrence of each stop string in turn.
 */
struct wn_generated {
    int64_t n_texts, most;
    int32_t *records; /* [n_texts, 2 + most]; owned unless borrowed */
    bool borrowed;
    char **texts; /* [n_texts]; NULL until decoded; owned */
};

void wn_generated_init(struct wn_generated *generated, const struct wn_generation *generation);
/* The same on records that exist already. */
void wn_generated_borrow(struct wn_generated *generated, const struct wn_generation *generation, int32_t *records);
void wn_generated_release(struct wn_generated *generated);
int64_t wn_generated_record_bytes(const struct wn_generation *generation);
int64_t wn_generated_count(const struct wn_generated *generated, int64_t text);
int64_t wn_generated_end(const struct wn_generated *generated, int64_t text);
const int32_t *wn_generated_ids(const struct wn_generated *generated, int64_t text);
/* Fills texts. */
void wn_generated_decode(struct wn_generated *generated, const struct wn_generation *generation,
                         const struct wn_tokenizer *tokenizer);

/* ---- decoding ---- */

/*
 * Generates the texts of one batch. A text ends with an EOS token, as soon as a stop string is in its decoded text
 * (special tokens included), or with its last token. Drawn tokens (temperature > 0): the inverse of the cumulated
 * softmax of logits / temperature, in double, in id order, at a number that depends on (seed, prompt, draw, position)
 * only. WN_ERR_NUMERIC when logits are not finite.
 */
wn_status wn_generate_batch(const struct wn_kept_blocks *kept, const struct wn_generation *generation, int64_t batch,
                            struct wn_generated *generated);
/* Bytes wn_generate_batch allocates, the most of all batches. */
int64_t wn_generate_bytes(const struct wn_model *model, const struct wn_generation *generation);
/* What generation takes when every text goes to its last token: an upper limit. */
struct wn_generate_work {
    double prompt_rows; /* run through the blocks before the first tokens; what prompts share is run once for a batch */
    double rows;        /* one for each token but the first, run step by step */
    double step_rows; /* the same with each step counted as at least WN_GENERATE_STEP_ROWS: below, a step takes as long
                         as the weights take to be read */
    double pairs;     /* of a row and a position it attends to */
};
#define WN_GENERATE_STEP_ROWS 16
void wn_generate_work(const struct wn_model *model, const struct wn_generation *generation,
                      struct wn_generate_work *work);

/*
 * The next token: of `logits` [count]; `uniform` in [0, 1), not used with temperature 0.
 */
int32_t wn_choose_token(const float *logits, int64_t count, double temperature, double uniform);
/* The first stop string (its index) that is in the decoded text of ids[0..count), which had none before the last id;
 * -1: none. */
int64_t wn_find_stop(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                     int64_t count);
/* The text of ids without special tokens, cut at the first occurrence of each stop string in turn; a byte 0, which
 * would end it in C and in the results file, is U+FFFD. Free with wn_free. */
char *wn_generated_text(const struct wn_tokenizer *tokenizer, const struct wn_prompt *prompt, const int32_t *ids,
                        int64_t count);

#endif
