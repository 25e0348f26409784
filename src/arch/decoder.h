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

enum { WN_IN_ATTENTION, WN_IN_OUTPUT, WN_IN_MLP, WN_IN_DOWN };
enum { WN_Q, WN_K, WN_V, WN_O };

/* Numbers of linears and vectors in the layout; -1: the decoder has none. */
struct wn_decoder_parts {
    int gate, up, down, n_linears;
    int attention_norm, attention_norm_bias, mlp_norm, mlp_norm_bias;
    int after_attention, after_attention_bias, after_mlp, after_mlp_bias, q_norm, k_norm, n_vectors;
};

struct wn_decoder_parts wn_decoder_parts(const struct wn_config *config);

/* ---- config.json ---- */

/* The activation function by its name (nn.h). */
wn_status wn_decoder_read_activation(const char *path, const struct cJSON *json, const char *key, const char *fallback,
                                     struct wn_config *config);
/* The list "layer_types" says which blocks slide; without it, they keep the bits they have. */
wn_status wn_decoder_read_layer_types(const char *path, const struct cJSON *json, struct wn_config *config);
/* A number, above 0 or `fallback`, for which absent and null stand. */
wn_status wn_decoder_read_factor(const char *path, const struct cJSON *json, const char *key, double fallback,
                                 double *value);

/* A key that may have one value only. */
wn_status wn_decoder_must_be(const char *path, const struct cJSON *json, const char *key, bool value);

#endif
