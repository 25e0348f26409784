/*
 * nn.h: transformer numerics on packed rows: norms, rotary positions, causal attention, gated activations, softmax
 * sums.
 *
 * A chunk of sequences is packed without padding: row offset[s] + t is token t of sequence s. All arrays are fp32,
 * row-major. Every function gives the same bits for any number of OpenMP threads: work is handed out in whole rows, or
 * whole (sequence, head, query tile) units. Call from serial code. Each fast function has a plain `_ref` twin for
 * tests.
 */
#ifndef WINNOW_NN_H
#define WINNOW_NN_H

#include <winnow/base.h>

#define WN_ATTENTION_TILE 128 /* query rows of one attention unit; part of the recorded protocol */

/* y[r, :] = weight * x[r, :] / sqrt(mean(x[r, :]^2) + eps); x and y may be the same. */
void wn_rms_norm(const float *x, int64_t rows, int64_t width, const float *weight, double eps, float *y);
void wn_rms_norm_ref(const float *x, int64_t rows, int64_t width, const float *weight, double eps, float *y);

enum wn_rope_kind { WN_ROPE_DEFAULT, WN_ROPE_LINEAR, WN_ROPE_DYNAMIC, WN_ROPE_LLAMA3 };

/* The scalings of Hugging Face transformers (modeling_rope_utils.py); the names are those of its configuration. */
struct wn_rope {
    enum wn_rope_kind kind;
    double theta;
    double factor;                            /* linear, dynamic, llama3 */
    double low_freq_factor, high_freq_factor; /* llama3 */
    int64_t original_max_positions;           /* llama3; dynamic: max_position_embeddings */
};

/*
 * cosine, sine [length, head_dim / 2] for the positions of one sequence of `length` tokens. Only `dynamic` depends on
 * the length beyond the number of rows. Angles are computed as transformers does: inverse frequencies and products in
 * fp32.
 */
void wn_rope_table(const struct wn_rope *rope, int64_t head_dim, int64_t length, float *cosine, float *sine);

/*
 * The tables of all sequences of a chunk, one row per packed row: cosine, sine [rows, head_dim / 2]. Row r of sequence
 * s is row r - offset[s] of the table of length offset[s+1] - offset[s].
 */
void wn_rope_chunk_table(const struct wn_rope *rope, int64_t head_dim, int64_t n_sequences, const int64_t *offset,
                         float *cosine, float *sine);

/* Rotates x [rows, heads, head_dim] in place (pairs j, j + head_dim/2) by the tables of wn_rope_chunk_table. */
void wn_rope_apply(const float *cosine, const float *sine, float *x, int64_t rows, int64_t heads, int64_t head_dim);
/* The same for one sequence, angles and products in double. */
void wn_rope_apply_ref(const struct wn_rope *rope, float *x, int64_t length, int64_t heads, int64_t head_dim);

/*
 * Causal softmax attention with grouped queries: q [rows, heads, head_dim], k and v [rows, kv_heads, head_dim], out
 * [rows, heads, head_dim]; query head h reads key-value head h / (heads / kv_heads); scores times `scale`.
 * Takes WN_ATTENTION_TILE x (longest sequence) floats of memory per thread while it runs.
 */
void wn_attention(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                  int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, float *out);
void wn_attention_ref(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, float scale, float *out);

/* gate[i] = silu(gate[i]) * up[i]. */
void wn_silu_multiply(float *gate, const float *up, int64_t count);
void wn_silu_multiply_ref(float *gate, const float *up, int64_t count);

/* hidden[i] += x[i]. */
void wn_add(float *hidden, const float *x, int64_t count);

/* ln(sum(exp(logits))) of one row, maximum subtracted, exponentials in fp32, sum in double in a fixed order. */
double wn_log_sum_exp(const float *logits, int64_t count);

/*
 * Divergences of one row of logits q (compressed) against p (dense), natural logarithm, one pass over the vocabulary:
 * kl = sum p (ln p - ln q); js = 1/2 sum p ln(p/m) + 1/2 sum q ln(q/m), m = (p+q)/2.
 * Equal rows give exactly 0; neither is ever negative beyond rounding (1e-16), and small divergences keep their digits:
 * kl sums p ln(p/q) - p + q, which is the same as p and q sum to 1. lse_p, lse_q: wn_log_sum_exp of the rows. Sums in
 * double in a fixed order. kl, js: one value each.
 */
void wn_row_divergence(const float *p, double lse_p, const float *q, double lse_q, int64_t count, double *kl,
                       double *js);

/* Index of the largest value, the lowest index among equals. */
int64_t wn_argmax(const float *x, int64_t count);
/* The k largest values in falling order with their indices (lowest index first among equals); k <= count. */
void wn_top_k(const float *x, int64_t count, int64_t k, float *values, int32_t *indices);

#endif
