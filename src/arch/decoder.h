/* SPDX-License-Identifier: Apache-2.0 */
/* decoder.h: the decoder of every architecture that is a table of options (arch.h, struct wn_decoder). Private to
 * src/arch. */
#ifndef WINNOW_ARCH_DECODER_H
#define WINNOW_ARCH_DECODER_H

#include <winnow/arch.h>

/* The functions of struct wn_arch but read_config. */
#define WN_DECODER                                                                                                     \
    .describe = wn_decoder_describe, .scratch = wn_decoder_scratch, .run_block = wn_decoder_run_block,                 \
    .run_part = wn_decoder_run_part

void wn_decoder_describe(const struct wn_config *config, struct wn_layout *layout);
int64_t wn_decoder_scratch(const struct wn_config *config, int64_t rows);
void wn_decoder_run_block(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                          float *hidden, float *scratch, const struct wn_tap *tap);
void wn_decoder_run_part(const struct wn_config *config, const struct wn_block *block, const struct wn_chunk *chunk,
                         int input, const float *x, float *scratch, float *y);

/* ---- the layout ---- */

enum { WN_IN_ATTENTION, WN_IN_OUTPUT };
enum { WN_Q, WN_K, WN_V, WN_O };

/* down(act(gate(x)) * up(x)), or down(act(up(x))): its linears and inputs. */
struct wn_mlp {
    int gate, up, down, input, inside;
    int64_t size; /* of the hidden layer */
};

/* Numbers of linears, inputs and vectors in the layout; -1: the decoder has none. */
struct wn_decoder_parts {
    struct wn_mlp mlp, shared, expert; /* expert: the first one, see wn_expert_of */
    int n_linears, n_inputs;
    int attention_norm, attention_norm_bias, mlp_norm, mlp_norm_bias;
    int after_attention, after_attention_bias, after_mlp, after_mlp_bias, q_norm, k_norm, router, shared_gate,
        n_vectors;
};

struct wn_decoder_parts wn_decoder_parts(const struct wn_config *config);
/* An expert has three linears behind those of the one before; inputs are those of all experts, then what is inside. */
struct wn_mlp wn_expert_of(const struct wn_decoder_parts *parts, int expert);

/* ---- a block ---- */

/* Parts of the scratch; the MLP uses the room of the attention again. */
struct wn_decoder_scratch_parts {
    float *normed;          /* [rows, hidden]: input of q, k, v or gate, up; then the output of o or down */
    float *aside;           /* [rows, hidden]: input of gate, up when the branches are parallel */
    float *cosine, *sine;   /* [rows, head_dim / 2] */
    float *q, *k, *v, *mix; /* mix [rows, heads * head_dim]: what attention gives */
    float *gate, *up;       /* [rows, the largest hidden layer of an MLP] */
    float *sum, *some;      /* [rows, hidden]: of all experts, and rows of one */
    float *scores, *shares; /* [rows, experts] of the router; [rows, chosen experts] */
    float *slopes;          /* [heads] */
    int64_t size;           /* floats in all */
};

/* What a branch needs to know. */
struct wn_decoder_call {
    const struct wn_config *config;
    const struct wn_block *block;
    const struct wn_chunk *chunk;
    const struct wn_tap *tap;
    struct wn_decoder_parts parts;
    struct wn_decoder_scratch_parts s;
    int64_t rows;
};

void wn_decoder_tell(const struct wn_decoder_call *call, int input, const float *x, int64_t width);
/* y = an MLP on its normed input x; they may be the same. */
void wn_decoder_mlp(const struct wn_decoder_call *call, const struct wn_mlp *mlp, const float *x, float *y);
/* The same for the mixture of experts (decoder_experts.c). */
void wn_decoder_experts(const struct wn_decoder_call *call, const float *x, float *y);

/* ---- config.json ---- */

/* The activation function by its name (nn.h). */
wn_status wn_decoder_read_activation(const char *path, const struct cJSON *json, const char *key, const char *fallback,
                                     struct wn_config *config);
/* The list "layer_types", which wn_arch_read_common has checked, says which blocks slide; without it, they keep the
 * bits they have. */
void wn_decoder_take_layer_types(const struct cJSON *json, struct wn_config *config);
/* How many experts there are, by num_experts or num_local_experts, and num_experts_per_tok. */
wn_status wn_decoder_read_experts(const char *path, const struct cJSON *json, int64_t count, int64_t chosen,
                                  struct wn_config *config);
/* A number, above 0 or `fallback`, for which absent and null stand. */
wn_status wn_decoder_read_factor(const char *path, const struct cJSON *json, const char *key, double fallback,
                                 double *value);

/* A key that may have one value only. */
wn_status wn_decoder_must_be(const char *path, const struct cJSON *json, const char *key, bool value);

#endif
