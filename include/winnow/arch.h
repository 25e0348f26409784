/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arch.h: what an architecture is: a table of options, or five functions of its own.
 *
 * "As llama, but ...": src/arch/NAME.c, below 60 lines, has a constant `const struct wn_arch wn_arch_NAME` with
 * WN_DECODER (decoder.h), whose read_config reads the usual keys (wn_arch_read_common) and fills config->decoder, where
 * all zero is llama; src/arch/arch_list.h gets the row WN_ARCH(NAME); tests/model/make_reference.py gets a recipe with
 * the options that bite, which the parity test picks up by itself. Nothing else changes: loading, compression,
 * evaluation, export and the help pages walk the table.
 *
 * Anything else writes the functions itself:
 *   1. read_config: its config.json keys into struct wn_config;
 *   2. describe: the tensors of one block (linears with their input and where the rows are stored, vectors, what makes
 * each input) and the outer ones, with shapes;
 *   3. run_block: one decoder block on packed rows, calls into nn.h and wn_block_linears, with taps at the inputs of
 * the linears and at what is added to the hidden state, without the branches to skip; run_part: the pieces of it that
 * begin at each input.
 */
#ifndef WINNOW_ARCH_H
#define WINNOW_ARCH_H

#include <winnow/base.h>
#include <winnow/linalg.h>
#include <winnow/nn.h>

struct cJSON;

#define WN_MAX_EXPERTS 128
#define WN_MAX_LINEARS (10 + 3 * WN_MAX_EXPERTS)
#define WN_MAX_VECTORS 18
#define WN_MAX_INPUTS  (6 + 2 * WN_MAX_EXPERTS)

/* ---- options of a decoder ---- */

enum wn_norm { WN_NORM_RMS, WN_NORM_LAYER }; /* with a weight; a layer norm has a bias as well */

/* Where a branch b of the hidden state h is normed. */
enum wn_norm_place {
    WN_NORM_BEFORE, /* h += b(norm(h)) */
    WN_NORM_AFTER,  /* h += norm(b(h)) */
    WN_NORM_BEHIND, /* h = norm(h + b(h)) */
    WN_NORM_AROUND  /* h += norm'(b(norm(h))) */
};

/* A norm of queries and keys before they are rotated: none; RMS of each head, of all heads together; a layer norm of
 * each head, with weights of its own and no bias. */
enum wn_head_norm { WN_HEADS_AS_THEY_ARE, WN_HEADS_EACH, WN_HEADS_TOGETHER, WN_HEADS_OWN };

/* How q, k and v, or gate and up, are stored. */
enum wn_fusion {
    WN_APART,       /* a tensor each */
    WN_FUSED,       /* one tensor, one linear behind the other */
    WN_FUSED_HEADS, /* one tensor, q, k and v of a head behind each other */
    WN_FUSED_GROUPS /* one tensor, the query heads of a key-value head, then its k and v */
};

/* Positions by slopes of heads (nn.h): none, ALiBi, ALiBi as transformers rounds it for Falcon. */
enum wn_slopes { WN_NO_SLOPES, WN_SLOPES, WN_SLOPES_ROUNDED };

/* Where the tensors are; names without ".weight" and ".bias". NULL: llama's, or none where llama has none. */
struct wn_decoder_names {
    const char *block_prefix;             /* "model.layers.%d." */
    const char *embedding, *positions;    /* of tokens, of learned positions */
    const char *embedding_norm;           /* of what goes into the first block */
    const char *project_in, *project_out; /* between embeddings of another width and the blocks, and back */
    const char *final_norm, *head;
    const char *q, *k, *v, *qkv, *output; /* qkv: where they are fused */
    const char *gate, *up, *gate_up, *down;
    const char *attention_norm, *mlp_norm, *after_attention, *after_mlp;
    const char *q_norm, *k_norm;
    const char *router, *expert; /* "mlp.experts.%d.", with the names of its linears behind it: */
    const char *expert_gate, *expert_up, *expert_down;
    const char *shared, *shared_gate; /* "mlp.shared_expert.", with names as of experts; what weighs it */
};

/* What differs between blocks, as bits. */
enum { WN_BLOCK_SLIDES = 1, WN_BLOCK_HAS_NO_ROPE = 2, WN_BLOCK_IS_DENSE = 4 };

/* In which blocks a linear or a vector is, where some have experts and some have not. */
enum wn_where { WN_EVERY_BLOCK, WN_DENSE_BLOCKS, WN_SPARSE_BLOCKS };

/*
 * A sparse mixture of experts in place of the MLP: the router gives a number to each expert, their softmax is p, a
 * token goes through the `chosen` experts of largest p, ties to the lower one, and y = sum of p_e expert_e(x), in the
 * order of experts. The shared expert sees every token: y += sigmoid(shared_gate x) shared_expert(x).
 */
struct wn_experts {
    int64_t count;    /* 0: none; at most WN_MAX_EXPERTS */
    int64_t chosen;   /* for a token */
    int64_t size;     /* of the hidden layer of an expert */
    int64_t shared;   /* the same of the shared expert; 0: there is none */
    bool is_weighted; /* the p of the chosen ones are divided by their sum */
};

#define WN_MAX_BLOCKS 4096

/* How a decoder differs from llama's: all zero is llama. */
struct wn_decoder {
    const struct wn_decoder_names *names; /* NULL: llama's; a constant */
    enum wn_norm norm;
    enum wn_norm_place norm_place;
    bool parallel; /* h += attention(norm(h)) + mlp(norm'(h)) */
    bool one_norm; /* with parallel: norm and norm' are the same */
    bool no_final_norm;
    double norm_offset; /* added to the stored weights of all norms: 1 where they are kept around 0 */
    enum wn_head_norm head_norm;
    enum wn_nonlinearity activation;
    bool plain;          /* down(act(up(h))), no gate */
    bool no_output_bias; /* config.attention_bias is of q, k, v alone */
    enum wn_fusion fused_attention, fused_mlp;
    bool transposed; /* linears are stored [columns, rows] */
    bool no_rope;    /* of any block */
    enum wn_slopes slopes;
    double attention_scale;        /* of scores; 0: 1 / sqrt(head_dim) */
    double attention_softcap;      /* 0: none */
    bool scale_by_inverse_index;   /* scores of block i are divided by i + 1 as well */
    double residual_factor;        /* of what a branch adds; 0: 1 */
    double embedding_factor;       /* 0: 1 */
    double logits_divisor;         /* 0: 1 */
    double logits_softcap;         /* logits = cap tanh(logits / cap); 0: none */
    int64_t position_offset;       /* the row of position 0 in the table of learned positions */
    struct wn_experts experts;     /* of blocks that are not WN_BLOCK_IS_DENSE */
    struct wn_rope window_rope;    /* of blocks that slide; theta 0: as of the others */
    uint8_t blocks[WN_MAX_BLOCKS]; /* bits */
};

struct wn_config {
    char model_type[32];
    int64_t vocab_size, hidden_size, intermediate_size;
    int64_t embedding_size; /* of the embedding and the head where it is not hidden_size (project_in, project_out); 0 */
    int64_t n_blocks, n_heads, n_kv_heads, head_dim, max_positions;
    double norm_eps;
    struct wn_rope rope;
    bool tied; /* the head is the embedding: by config.json, unless the files have another one */
    bool attention_bias, mlp_bias;
    int64_t window; /* keys that a query sees, its own included, in blocks that slide; 0: all. Which blocks slide is the
                       architecture's rule. */
    int64_t bos_id; /* -1: none */
    int64_t eos_ids[32], n_eos_ids; /* of generation_config.json where there is one, else of config.json */
    char dtype[16];                 /* what the checkpoint says: "bfloat16" ... */
    bool scaled;                    /* weights are 8-bit floats with factors (quantization_config) */
    int64_t scale_block[2];         /* rows and columns of 8-bit floats with one factor; 0: config.json does not say */
    struct wn_decoder decoder;
};

/*
 * Where the rows of a linear are stored: row r is row first + (r / run) * stride + r % run of a tensor [rows, columns],
 * or column so and so of a tensor [columns, rows] when it is transposed. The same holds of the bias.
 */
struct wn_source {
    char tensor[64]; /* below the block prefix, without ".weight" and ".bias"; empty: the name of the linear */
    int64_t rows;    /* of the tensor; 0: those of the linear, one for one */
    int64_t first, run, stride;
    bool transposed;
    int64_t
        stacked; /* the tensor is [stacked, rows / stacked, columns], and has no ".weight" in its name; 0: it is not */
};

/* Columns of the embedding and of the head. */
static inline int64_t wn_embedding_size(const struct wn_config *config)
{
    return config->embedding_size ? config->embedding_size : config->hidden_size;
}

/* A weight matrix of a block: y = x W^T, W [rows, columns]. */
struct wn_linear_info {
    char name[48]; /* "self_attn.q_proj" */
    bool bias;
    int64_t rows, columns;
    int input; /* which tap feeds it: linears with equal input share their statistics */
    enum wn_where where;
    struct wn_source source;
};

/* Its tensor without ".weight", and how many rows that has. */
static inline const char *wn_linear_tensor(const struct wn_linear_info *linear)
{
    return linear->source.tensor[0] ? linear->source.tensor : linear->name;
}

static inline const char *wn_linear_ending(const struct wn_linear_info *linear)
{
    return linear->source.stacked ? "" : ".weight";
}

static inline int64_t wn_linear_tensor_rows(const struct wn_linear_info *linear)
{
    return linear->source.rows ? linear->source.rows : linear->rows;
}

/* Row `row` of a linear in its tensor. */
static inline int64_t wn_source_row(const struct wn_source *source, int64_t row)
{
    return source->rows ? source->first + row / source->run * source->stride + row % source->run : row;
}

struct wn_vector_info {
    char name[64]; /* "input_layernorm.weight" */
    int64_t size;
    int64_t columns; /* 0: it is a vector; else a matrix [size / columns, columns] that stays dense, as a router does */
    double offset;   /* is added to what is stored */
    enum wn_where where;
    int64_t parts; /* 0: it is one tensor; else so many, one behind the other, whose numbers stand for %d of the name */
};

/* What a block adds to the hidden state, in this order. */
enum wn_branch { WN_BRANCH_ATTENTION, WN_BRANCH_MLP, WN_BRANCHES };

static inline bool wn_is_in(const struct wn_config *config, enum wn_where where, int64_t block)
{
    bool dense = config->decoder.blocks[block] & WN_BLOCK_IS_DENSE;
    return where == WN_EVERY_BLOCK || dense == (where == WN_DENSE_BLOCKS);
}

/* All that is needed to load a model of this architecture. */
struct wn_layout {
    int n_linears, n_vectors, n_inputs;
    struct wn_linear_info linears[WN_MAX_LINEARS];
    struct wn_vector_info vectors[WN_MAX_VECTORS];
    char input_names[WN_MAX_INPUTS][32]; /* "attention", "attention_output", "mlp", "mlp_down" */
    int64_t input_widths[WN_MAX_INPUTS];
    /* 0: the input has a row for every token; else 1 + the expert whose rows it has, in the order of tokens. */
    int16_t input_experts[WN_MAX_INPUTS];
    /* Steps are made one behind the other, from 0 on; inputs of one step, as those of all experts, need nothing of each
     * other. The last input is of the last step. */
    int16_t input_steps[WN_MAX_INPUTS];
    enum wn_branch input_branches[WN_MAX_INPUTS]; /* to which branch the linears of this input belong */
    /* The vector whose entry j is a factor of input j and of nothing else, so that the vector divided by s and the
     * columns of the linears of this input multiplied by s leave the block as it is (a norm weight); -1: none. */
    int producer_vector[WN_MAX_INPUTS];
    int producer_bias[WN_MAX_INPUTS]; /* the vector that is added behind producer_vector: divided with it; -1: none */
    /* The linear whose output j is a factor of input j and of nothing else; -1: none. An input has one producer or
     * none. */
    int producer_linear[WN_MAX_INPUTS];
    char block_prefix[64];                            /* "model.layers.%d." */
    char embedding[64], final_norm[64], head[64];     /* final_norm empty: none */
    char final_norm_bias[64];                         /* empty: none */
    char embedding_norm[64], embedding_norm_bias[64]; /* a layer norm of embeddings; empty: none */
    char project_in[64], project_out[64];             /* [hidden, embedding_size], and turned; empty: none */
    char positions[64];                               /* learned positions, empty: none */
    int64_t n_positions;                              /* rows of that table */
};

/* "model.layers.3." + name + ending: a tensor of a block; owned by the caller. */
char *wn_block_tensor(const struct wn_layout *layout, int64_t block, const char *name, const char *ending);
/* The other way: what is behind the prefix of *block, within `tensor`; NULL: it is a tensor of no block. */
const char *wn_block_of_tensor(const struct wn_layout *layout, const char *tensor, int64_t *block);

/* The vectors that are divided with an input: what makes it, and what is added behind. Returns how many: 0 to 2. */
static inline int wn_input_vectors(const struct wn_layout *layout, int input, int vectors[2])
{
    int count = 0;
    if (layout->producer_vector[input] >= 0)
        vectors[count++] = layout->producer_vector[input];
    if (count && layout->producer_bias[input] >= 0)
        vectors[count++] = layout->producer_bias[input];
    return count;
}

/* The weights of one block as fp32; pointers in the order of the layout; biases NULL where there are none. */
struct wn_block {
    float *linears[WN_MAX_LINEARS]; /* [rows, columns] */
    float *biases[WN_MAX_LINEARS];
    float *vectors[WN_MAX_VECTORS];
    /* How a linear is computed on quantized inputs (nn.h); NULL: by wn_linear. Borrowed. */
    const struct wn_activation *activations[WN_MAX_LINEARS];
    /* Where linears[i] is NULL: what makes its rows (linalg.h), unless a rule needs none. Borrowed. */
    const struct wn_row_source *sources[WN_MAX_LINEARS];
    bool skip[WN_BRANCHES];  /* a branch that is not computed and adds nothing */
    enum wn_compute compute; /* of its linears without a rule */
    int64_t index;           /* which block of the model it is */
};

/*
 * The experts that rows go to (struct wn_experts), `chosen` a row, those of larger p first. Where they are fixed, rows
 * go to those that stand there, with the shares that the router gives these now; else the router chooses, and its
 * choice is left there. NULL: it is left nowhere.
 */
struct wn_routes {
    int32_t *experts; /* [rows, chosen]; borrowed */
    bool fixed;
};

#define WN_GROUP_CHUNKS 64 /* most chunks that are run at once */
#define WN_EXPERT_FEW   96 /* rows */

/*
 * Packed sequences: rows offset[s] .. offset[s+1]-1 are sequence s; offset[0] = 0. A sequence may continue what was run
 * earlier: then its first row is at position start[s], the number of tokens in its spans of `past`, whose buffers are
 * those of the block that runs. Rows to be kept are stored before attention, so spans may be rows of the same chunk.
 * No position may reach max_positions. All borrowed.
 *
 * A group of chunks may be run at once, so that many threads have enough to do: chunk c is then the sequences
 * first[c] - first[0] .. first[c+1] - first[0] - 1. The bits are those of one chunk after the other.
 */
struct wn_chunk {
    int64_t n_sequences;
    const int64_t *offset;      /* [n_sequences + 1] */
    const int64_t *start;       /* [n_sequences]; NULL: all 0 */
    const struct wn_past *past; /* NULL: none */
    int64_t n_chunks;           /* at most WN_GROUP_CHUNKS; 0: all sequences are one chunk */
    const int64_t *first;       /* [n_chunks + 1] */
    struct wn_routes routes;    /* of all rows */
    bool of_expert;             /* the rows of one expert: those of a chunk may be few */
};

/* row [WN_GROUP_CHUNKS + 1] = rows where chunks begin: chunk c is row[c] .. row[c+1]-1. Returns how many there are. */
int64_t wn_chunk_rows(const struct wn_chunk *chunk, int64_t *row);

/* A linear and where its result goes: y [rows, out]. */
struct wn_block_output {
    int linear;
    int64_t out;
    float *y;
};

/*
 * Linears on the same x [rows, in]: what run_block calls for every linear. Of an expert that has up to WN_EXPERT_FEW
 * rows of a chunk by wn_linear_few_rows, in fp32 (tiles would turn its weights for few products each). In a chunk where
 * every sequence is one row with a past, by it too: then, and without a rule, a row of the block has the same bits
 * whatever other sequences are in the chunk.
 */
void wn_block_linears(const struct wn_block *block, const struct wn_chunk *chunk, const float *x, int64_t in,
                      const struct wn_block_output *outputs, int n_outputs);
/* A single one. */
void wn_block_linear(const struct wn_block *block, int linear, const struct wn_chunk *chunk, const float *x, int64_t in,
                     int64_t out, float *y);

/*
 * take: gets the input matrix x [rows, width] of the linears with that input index, as the block computes it: rows
 * row[c] .. row[c+1]-1 are chunk c of n_chunks, row[0] = 0. What is summed per chunk must be summed so, since how many
 * chunks come at once depends on the number of threads.
 * add: gets the hidden state and what a branch is about to add to it, both [rows, width]; NULL: not wanted. A branch
 * that is skipped is not told of. With `add`, chunks are run one by one.
 */
struct wn_tap {
    void (*take)(void *context, int input, const float *x, int64_t n_chunks, const int64_t *row, int64_t width);
    void *context;
    void (*add)(void *context, enum wn_branch branch, const float *hidden, const float *added, int64_t rows,
                int64_t width);
};

struct wn_arch {
    const char *model_type; /* as in config.json */
    const char *help;       /* one line: which models it covers */
    wn_status (*read_config)(const char *path, const struct cJSON *json, struct wn_config *config);
    void (*describe)(const struct wn_config *config, struct wn_layout *layout);
    /* floats of scratch that run_block needs for `rows` rows */
    int64_t (*scratch)(const struct wn_config *config, int64_t rows);
    /* hidden [rows, hidden_size] in place; tap may be NULL */
    void (*run_block)(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                      float *hidden, float *scratch, const struct wn_tap *tap);
    /* The part of the block that begins with the linears of `input`, up to what is added to hidden: y [rows,
     * hidden_size] from their input x, which lies outside scratch */
    void (*run_part)(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                     int input, const float *x, float *scratch, float *y);
};

/* All rows of arch_list.h. */
const struct wn_arch *const *wn_arch_table(int64_t *count);
/*
 * Reads directory/config.json, finds the row; unknown model_type: an error that prints the known ones. A quantized
 * checkpoint other than of 8-bit floats is an error that names the method. Where there is a generation_config.json, its
 * eos_token_id alone counts, as in transformers' generate: absent or null there is none.
 */
wn_status wn_arch_read(const char *directory, const struct wn_arch **arch, struct wn_config *config);
/*
 * Keys most architectures share, in the names of transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5
 * (rope_parameters, dtype), with checks of each: one error line with path and key. config->model_type is set before:
 * its row of wn_class_defaults says what an absent key means. As transformers 5.24 has it, rope_scaling wins over
 * rope_parameters where both are there, and original_max_position_embeddings at the top wins over the one inside.
 */
wn_status wn_arch_read_common(const char *path, const struct cJSON *json, struct wn_config *config);

/* What transformers assumes for a model type where config.json lacks a key, and its own names of keys. */
struct wn_class_defaults {
    const char *model_type;
    const char *eps_key;
    double eps, theta;
    double part; /* of a head that is rotated */
    int64_t positions;
    bool tied;
    int64_t bos, eos;     /* -1: none; so also where the file says null */
    int64_t kv_heads;     /* 0: as many as heads; so also where the file says null */
    int64_t head_dim;     /* 0: hidden size / heads; so also where the file says null; -1: so whatever the file says */
    int64_t window;       /* 0: none; so also where the file says null */
    bool window_by_flag;  /* there is none unless use_sliding_window is true */
    bool may_rotate_part; /* the model's code heeds a part other than 1 */
    int64_t inner_factor; /* intermediate size / hidden size; 0: the key must be there */
    /* NULL: the name that llama has. That name is read as well where this one is absent, but for the last two. */
    const char *width_key, *inner_key, *blocks_key, *heads_key, *positions_key, *theta_key, *part_key;
};
/* Never NULL: a model type without a row has that of llama. */
const struct wn_class_defaults *wn_class_defaults(const char *model_type);

/* ---- for read_config of an architecture: one key each; absent and null are the same ---- */

#define WN_REQUIRED INT64_MIN /* as `fallback`: the key must be there */

/* Whether the key is there with the value null. */
bool wn_config_is_null(const struct cJSON *json, const char *key);

/* A whole number in [low, high]. */
wn_status wn_config_integer(const char *path, const struct cJSON *json, const char *key, int64_t low, int64_t high,
                            int64_t fallback, int64_t *value);
/* A finite number > 0; a `fallback` of 0: the key must be there. */
wn_status wn_config_positive(const char *path, const struct cJSON *json, const char *key, double fallback,
                             double *value);
wn_status wn_config_bool(const char *path, const struct cJSON *json, const char *key, bool fallback, bool *value);
/* eos_token_id: a number, a list of numbers, null, or absent, which is `fallback` (-1: none). */
wn_status wn_config_eos(const char *path, const struct cJSON *json, int64_t fallback, struct wn_config *config);
/* *value is borrowed from `json`, or `fallback`, which may be NULL: the key must be there. */
wn_status wn_config_text(const char *path, const struct cJSON *json, const char *key, const char *fallback,
                         const char **value);

#endif
