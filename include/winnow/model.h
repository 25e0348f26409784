/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model.h: a Hugging Face checkpoint directory, ready for layer streaming.
 *
 * wn_model_open maps the files, reads config.json and tokenizer.json, and checks that every tensor the architecture
 * names exists with its shape and a dtype of floats (8 to 64 bits), before any work. Blocks are converted to fp32 one
 * at a time into buffers of the caller; embedding and head stay in the mapping and are converted row-wise.
 *
 * A model is read-only: all ranks of a node share the page cache. Nothing here is collective.
 *
 *     struct wn_model *model;
 *     WN_TRY(wn_model_open("llama-2-7b", &model));
 *     struct wn_block *block = wn_block_create(model);
 *     for (int64_t b = 0; b < model->config.n_blocks; b++) {
 *         WN_TRY(wn_model_load_block(model, b, block));
 *         wn_model_run_block(model, block, &chunk, hidden, scratch, NULL);
 *     }
 */
#ifndef WINNOW_MODEL_H
#define WINNOW_MODEL_H

#include <winnow/arch.h>
#include <winnow/io.h>
#include <winnow/tokenizer.h>

struct wn_model {
    char *directory;
    const struct wn_arch *arch;
    struct wn_config config;
    struct wn_layout layout;
    struct wn_checkpoint *checkpoint;
    struct wn_tokenizer *tokenizer;
    const struct wn_tensor *embedding; /* [vocab, wn_embedding_size] */
    const struct wn_tensor *head;      /* the same; the embedding when tied */
    float *final_norm;                 /* [hidden], owned; NULL: none */
    float *final_norm_bias;            /* [hidden], owned; NULL: none */
    float *embedding_norm;             /* [hidden], owned, with its bias; NULL: none */
    float *embedding_norm_bias;
    float *project_in, *project_out;   /* [hidden, wn_embedding_size], and turned, owned; NULL: none */
    const struct wn_tensor *positions; /* [n_positions, hidden], learned; NULL: none */
    enum wn_compute compute;           /* of the linears where sets are evaluated: wn_block_evaluated */
    struct wn_problems notes; /* what is odd about the files but no mistake, one line each: tensors nobody uses ... */
};

/*
 * All mistakes of the directory are added to `problems` (one line each; at most 20 tensors are listed, the rest is
 * counted); returns WN_ERR_INPUT when there were any, and *model is NULL then. wn_error_message() is the first mistake;
 * `problems` may be NULL. Names, ties and left-over tensors follow transformers: tensors of the inner model alone (no
 * "model." in front) and other prefixes are found; a head that config.json ties but that differs from the embedding is
 * used as it is, with a note; one that is neither tied nor there is a mistake.
 */
wn_status wn_model_open(const char *directory, struct wn_problems *problems, struct wn_model **model);
void wn_model_close(struct wn_model **model);

/* Weights of the linears of one block, which has any that some block has, and of all blocks (what sparsity is counted
 * over). */
int64_t wn_model_block_weights(const struct wn_model *model);
int64_t wn_model_weights(const struct wn_model *model);
/* Share of the tokens that an input of a block has rows of when experts are chosen evenly; 1: of all. */
double wn_model_input_share(const struct wn_model *model, int input);
/* Weights that a token goes through in all blocks: of experts, that share. And in the mean block. */
double wn_model_active_weights(const struct wn_model *model);
double wn_model_block_active_weights(const struct wn_model *model);
/* Bytes of a weight as it is kept: 2, or 4 when any matrix is neither F16 nor BF16 (8-bit floats have factors). */
int wn_model_source_bytes(const struct wn_model *model);
int64_t wn_model_parameters(const struct wn_model *model); /* all tensors the architecture names, tied counted once */

/* Buffers for one block, fp32. */
struct wn_block *wn_block_create(const struct wn_model *model);
/* The same block as evaluation sets go through it, with the arithmetic of the model; calibration stays in fp32. Borrows
 * all of `block`. */
void wn_block_evaluated(const struct wn_model *model, const struct wn_block *block, struct wn_block *view);
void wn_block_destroy(struct wn_block **block, const struct wn_model *model);
/* Bytes wn_block_create takes. */
int64_t wn_block_bytes(const struct wn_model *model);
/* Converts block `index` of the checkpoint into `block`. WN_ERR_NUMERIC when a weight is not finite, WN_ERR_CHANGED
 * when a file of the checkpoint was written since it was opened. */
wn_status wn_model_load_block(const struct wn_model *model, int64_t index, struct wn_block *block);

/* hidden[r, :] = embedding of ids[r] at positions[r]; ids must be inside the vocabulary (checked when sequences are
 * made). `positions` may be NULL unless positions are learned. */
void wn_model_embed(const struct wn_model *model, const int32_t *ids, const int64_t *positions, int64_t rows,
                    float *hidden);

/* Floats of scratch wn_model_run_block needs for `rows` rows. */
int64_t wn_model_scratch(const struct wn_model *model, int64_t rows);
void wn_model_run_block(const struct wn_model *model, const struct wn_block *block, const struct wn_chunk *chunk,
                        float *hidden, float *scratch, const struct wn_tap *tap);

/*
 * Rows of a group of chunks that gives the present number of threads enough tiles, for wn_sequences_run: whole chunks
 * of WN_CHUNK_TOKENS, as many as bring the linears within 5 % of that many times one thread, while scratch for them
 * stays below 2 GiB; one chunk for one thread. At least `longest`, the rows of the longest chunk.
 */
int64_t wn_model_group_rows(const struct wn_model *model, int64_t longest);

/* states = final norm of hidden, row by row; may be in place. A model without one: states are hidden. */
void wn_model_final_norm(const struct wn_model *model, const float *hidden, int64_t rows, float *states);

/*
 * logits [rows, vocab] = states head^T, by canonical tiles; head rows are converted panel by panel into `scratch` of
 * wn_model_head_scratch(model) floats. Tiles start at row 0: for the same bits, call with the same runs of rows.
 */
void wn_model_logits(const struct wn_model *model, const float *states, int64_t rows, float *logits, float *scratch);
/* The same for runs of rows, row[i] .. row[i+1]-1 being run i, row[0] = 0: the bits of a call for each, but more tiles
 * for many threads. */
void wn_model_logits_of_runs(const struct wn_model *model, const float *states, int64_t n_runs, const int64_t *row,
                             float *logits, float *scratch);
/* The same for few rows, by wn_linear_few_rows: a row has the same bits whatever other rows are in the call. */
void wn_model_logits_few_rows(const struct wn_model *model, const float *states, int64_t rows, float *logits,
                              float *scratch);
/* rows of states as the head takes them where its width is another one, times project_out: owned by the caller; NULL:
 * they are. The functions above do it themselves. */
float *wn_model_project_out(const struct wn_model *model, const float *states, int64_t rows);
/* What is left to do to rows of states head^T: divisor and soft cap of the architecture. The functions above have done
 * it. */
void wn_model_shape_logits(const struct wn_model *model, int64_t rows, float *logits);
int64_t wn_model_head_scratch(const struct wn_model *model); /* grows with the present number of threads */

/* ---- canonical chunks ---- */

#define WN_CHUNK_TOKENS 2048

#define WN_PART_TOKENS 16384

/* Token sequences of one data set, packed one after the other. Arrays are owned. */
struct wn_sequences {
    int64_t n_sequences;
    int64_t *offset; /* [n_sequences + 1] */
    int32_t *ids;    /* [offset[n_sequences]] */
    int64_t n_chunks;
    int64_t *chunk; /* [n_chunks + 1]: chunk c holds sequences chunk[c] .. chunk[c+1]-1 */
    /* After wn_sequences_share, else NULL: sequences are segments, each of which continues another one. */
    int64_t *parent; /* [n_sequences] an earlier one of the same part; -1: none */
    int64_t *start;  /* [n_sequences] position of its first row */
    int64_t *slot;   /* [n_sequences] where its keys and values are kept while its part runs; -1: nobody's parent */
    int64_t n_parts;
    int64_t *part;   /* [n_parts + 1]: part p is the chunks part[p] .. part[p+1]-1 */
    int64_t slots;   /* most of any part */
    int64_t written; /* tokens of the sequences as they were appended */
    /* Every number that a row is embedded as is multiplied by 1 + noise u, u uniform in [-1, 1), drawn by the seed, the
     * row and its place in it; 0: as the model has it. */
    double noise;
    int64_t noise_seed;
    struct wn_routes routes; /* of all rows, of the block that they go through next */
    int64_t chosen;          /* experts of a row there */
};

void wn_sequences_init(struct wn_sequences *sequences);
void wn_sequences_release(struct wn_sequences *sequences);
void wn_sequences_append(struct wn_sequences *sequences, const int32_t *ids, int64_t count);
/* Cuts into chunks: sequences in order, as many as fit into WN_CHUNK_TOKENS tokens, at least one. A function of the
 * data alone, so results do not depend on ranks or threads. Call once, after the last append. */
void wn_sequences_cut(struct wn_sequences *sequences);
/*
 * Makes segments of sequences: prefixes that at least two sequences begin with are rows of their own, where that saves
 * at least 8 rows, and what follows them continues them. Equal sequences, and those that another one begins with, are
 * run once. In parts of about WN_PART_TOKENS rows (or one path), each with its own copy of the prefixes it needs, cut
 * into chunks as above. A function of the data alone. rows [n_rows]: packed rows of the sequences, replaced by the rows
 * where the same tokens with the same past are now. Returns false, and changes nothing, when less than one row in 16
 * would be saved.
 */
bool wn_sequences_share(struct wn_sequences *sequences, int64_t *rows, int64_t n_rows);
/* Runs that need nothing of each other: parts, or single chunks where nothing is shared. Run i begins with chunk
 * wn_sequences_part(sequences, i); i = wn_sequences_parts gives the number of chunks. */
int64_t wn_sequences_parts(const struct wn_sequences *sequences);
int64_t wn_sequences_part(const struct wn_sequences *sequences, int64_t index);
/* The chunk behind a group that begins with chunk `first`: as many chunks before `end` as have at most `rows` rows
 * together, at least one, and none of another part where prefixes are shared. */
int64_t wn_sequences_group(const struct wn_sequences *sequences, int64_t first, int64_t end, int64_t rows);
/* Embeds the packed rows first .. first + rows - 1, each at its position. */
void wn_sequences_embed(const struct wn_model *model, const struct wn_sequences *sequences, int64_t first, int64_t rows,
                        float *hidden);
/*
 * Runs a block over the chunks first .. end - 1, which are whole parts; hidden [rows of these chunks, hidden_size] in
 * place. Chunks are run in groups of at most `rows` rows (wn_model_group_rows), for which scratch is, at least for the
 * longest chunk; offset for all sequences; tap may be NULL. The bits do not depend on `rows`.
 */
void wn_sequences_run(const struct wn_model *model, const struct wn_block *block, const struct wn_sequences *sequences,
                      int64_t first, int64_t end, float *hidden, int64_t rows, float *scratch, int64_t *offset,
                      const struct wn_tap *tap);
/* Bytes it allocates meanwhile: keys and values of the segments of a part that others continue, and their spans. */
int64_t wn_sequences_run_bytes(const struct wn_model *model, const struct wn_sequences *sequences);
int64_t wn_sequences_tokens(const struct wn_sequences *sequences);
int64_t wn_sequences_longest_chunk(const struct wn_sequences *sequences); /* tokens */
/* The chunk as offsets from its first row, without its past; `offset` gets n_sequences + 1 values (room for the whole
 * set is enough). Returns the first row of the chunk. */
int64_t wn_sequences_chunk(const struct wn_sequences *sequences, int64_t index, int64_t *offset,
                           struct wn_chunk *chunk);
/* The same for the group of the chunks first .. end - 1. */
int64_t wn_sequences_chunks(const struct wn_sequences *sequences, int64_t first, int64_t end, int64_t *offset,
                            struct wn_chunk *group);

#endif
