/* SPDX-License-Identifier: Apache-2.0 */
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

#define WN_ATTENTION_KEYS 128 /* keys of one step of the running softmax; part of the recorded protocol */

/*
 * y[r, :] = (offset + weight) * x[r, :] / sqrt(mean(x[r, :]^2) + eps); x and y may be the same. The offset is 0, or 1
 * for weights that are kept as their distance from 1 (Gemma). A norm of each head of x [rows, heads, head_dim] is one
 * of rows * heads rows.
 */
void wn_rms_norm(const float *x, int64_t rows, int64_t width, const float *weight, float offset, double eps, float *y);
void wn_rms_norm_ref(const float *x, int64_t rows, int64_t width, const float *weight, float offset, double eps,
                     float *y);

/*
 * y[r, :] = weight * (x[r, :] - mean) / sqrt(variance + eps) + bias with the variance of the population, sum of squares
 * / width; bias NULL: none. x and y may be the same.
 */
void wn_layer_norm(const float *x, int64_t rows, int64_t width, const float *weight, const float *bias, double eps,
                   float *y);
/* The same of each head of x [rows, heads, head_dim], in place, without biases: weight [heads, head_dim]. */
void wn_layer_norm_heads(float *x, int64_t rows, int64_t heads, int64_t head_dim, const float *weight, double eps);
void wn_layer_norm_ref(const float *x, int64_t rows, int64_t width, const float *weight, const float *bias, double eps,
                       float *y);

enum wn_rope_kind { WN_ROPE_DEFAULT, WN_ROPE_LINEAR, WN_ROPE_DYNAMIC, WN_ROPE_LLAMA3, WN_ROPE_YARN, WN_ROPE_LONGROPE };

#define WN_ROPE_PAIRS 256 /* most pairs of a head that longrope rotates */

/*
 * The scalings of Hugging Face transformers (modeling_rope_utils.py); the names are those of its configuration. yarn is
 * of arXiv:2309.00071, longrope of arXiv:2402.13753.
 */
struct wn_rope {
    enum wn_rope_kind kind;
    double theta;
    double factor;                            /* linear, dynamic, llama3, yarn */
    double low_freq_factor, high_freq_factor; /* llama3 */
    int64_t original_max_positions;           /* llama3, yarn, longrope; dynamic: max_position_embeddings */
    int64_t dims;                             /* so many numbers of a head are rotated, the first ones; 0: all; even */
    double attention_factor;                  /* yarn, longrope: cosine and sine are multiplied by it; 0: 1 */
    double beta_fast, beta_slow;              /* yarn: rotations within original_max_positions where scaling begins, */
    bool truncate;                            /* and is whole; the pairs of these rounded outwards */
    /* longrope: what divides the frequency of a pair, in sequences up to original_max_positions and in longer ones */
    float short_factor[WN_ROPE_PAIRS], long_factor[WN_ROPE_PAIRS];
};

/* What llama3 divides the frequency of a pair by: divisors [dims / 2]. */
void wn_rope_llama3_divisors(const struct wn_rope *rope, int64_t head_dim, float *divisors);
/* The attention factors that transformers takes where the configuration gives none. */
double wn_rope_yarn_attention_factor(double factor);
double wn_rope_longrope_attention_factor(double factor, int64_t original_max_positions);

/* Numbers of a head that are rotated: dims, or head_dim. */
int64_t wn_rope_dims(const struct wn_rope *rope, int64_t head_dim);
/*
 * The longest sequence whose keys are those of a shorter one: beyond original_max_positions `dynamic` and `longrope`
 * have other tables for all positions, so keys that were kept earlier are wrong: a sequence that grows beyond must be
 * run anew when it does (longrope; `dynamic` has other tables for every length). INT64_MAX: there is no limit.
 */
int64_t wn_rope_limit(const struct wn_rope *rope);

/*
 * cosine, sine [length, dims / 2] for the positions of one sequence of `length` tokens. Only `dynamic` and `longrope`
 * depend on the length beyond the number of rows. Angles are computed as transformers does: inverse frequencies and
 * products in fp32.
 */
void wn_rope_table(const struct wn_rope *rope, int64_t head_dim, int64_t length, float *cosine, float *sine);

/*
 * The tables of all sequences of a chunk, one row per packed row: cosine, sine [rows, dims / 2]. Sequence s begins at
 * position start[s]; start NULL: all at 0. Row r of sequence s is row start[s] + r - offset[s] of the table of length
 * start[s] + offset[s+1] - offset[s]. So `dynamic` and `longrope` see each sequence alone, as transformers does in
 * batches of one: what else is in the chunk changes nothing.
 */
void wn_rope_chunk_table(const struct wn_rope *rope, int64_t head_dim, int64_t n_sequences, const int64_t *offset,
                         const int64_t *start, float *cosine, float *sine);

/* Rotates x [rows, heads, head_dim] in place, pairs j, j + dims/2 of the first `dims` numbers of each head, by the
 * tables of wn_rope_chunk_table; the others stay. */
void wn_rope_apply(const float *cosine, const float *sine, float *x, int64_t rows, int64_t heads, int64_t head_dim,
                   int64_t dims);
/* The same for one sequence from position 0, angles and products in double. */
void wn_rope_apply_ref(const struct wn_rope *rope, float *x, int64_t length, int64_t heads, int64_t head_dim);

/* Slots first .. first + count - 1 of a past; count > 0. */
struct wn_span {
    int64_t first, count;
};

/*
 * Keys and values of one block that are kept: those of a prefix that several sequences continue, or of the tokens of a
 * text that grows. One slot is one token: keys (behind rotary positions) and values of all key-value heads. What
 * sequence s continues is the tokens of its spans, in order; whatever lies in other slots does not matter to it.
 * All arrays belong to the caller.
 */
struct wn_past {
    float *keys, *values;        /* [slots, kv_heads, head_dim] */
    const struct wn_span *spans; /* of all sequences */
    const int64_t *first_span;   /* [n_sequences + 1]: spans first_span[s] .. first_span[s+1]-1 are those of s */
    const int64_t *keep;         /* [n_sequences] first of the slots for the own rows of s; -1: they are not kept */
};

/* Positions that a sequence continues behind; past NULL: 0. */
int64_t wn_past_length(const struct wn_past *past, int64_t sequence);
/* Copies rows k and v [rows, kv_heads, head_dim] of the sequences to be kept into their slots. */
void wn_past_keep(const struct wn_past *past, const float *k, const float *v, int64_t n_sequences,
                  const int64_t *offset, int64_t kv_heads, int64_t head_dim);

/*
 * What becomes of the score q . k of a query and a key before the softmax, in this order: times scale; softcap > 0:
 * softcap tanh(score / softcap) (Gemma 2, arXiv:2408.00118); slopes [heads], or NULL: + slope of the query head times
 * (position of the key - position of the query) (ALiBi, arXiv:2108.12409), which gives the weights of slope times the
 * position of the key, as that differs by a constant; window > 0: keys at positions <= that of the query - window are
 * not seen, so the window counts the own one (Mistral, arXiv:2310.06825). Members that are 0 change nothing.
 * rounded_slopes: + scale times (slope times position of the key), where slope, position and product are rounded to
 * bfloat16, in place of the above: so transformers computes Falcon.
 */
struct wn_attention_rule {
    float scale, softcap;
    int64_t window;
    const float *slopes;
    bool rounded_slopes;
};

/* The slopes of ALiBi for so many heads: 2^(-8 (h + 1) / heads) for a power of two, else those of the power below it
 * and every second one of the power above it, as transformers has them. */
void wn_alibi_slopes(int64_t heads, float *slopes);

/*
 * Causal softmax attention with grouped queries: q [rows, heads, head_dim], k and v [rows, kv_heads, head_dim], out
 * [rows, heads, head_dim]; query head h reads key-value head h / (heads / kv_heads). A row sees all of the past of its
 * sequence (past may be NULL: none), then the rows of its sequence up to itself, as far as the rule lets it; keys
 * before the window of a whole tile of queries take no time. The bits of a row follow from its query, keys and values
 * alone: not from the cut of the past into spans, nor from other rows, except that a row that is alone behind its past
 * is computed in another way.
 * Takes 48 x (2 head_dim + WN_ATTENTION_KEYS) floats of memory per thread while it runs.
 */
void wn_attention(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                  int64_t heads, int64_t kv_heads, int64_t head_dim, const struct wn_attention_rule *rule,
                  const struct wn_past *past, float *out);
void wn_attention_ref(const float *q, const float *k, const float *v, int64_t n_sequences, const int64_t *offset,
                      int64_t heads, int64_t kv_heads, int64_t head_dim, const struct wn_attention_rule *rule,
                      const struct wn_past *past, float *out);

/* Activation functions: silu x / (1 + e^-x); gelu x Phi(x); gelu_tanh, its approximation by tanh; relu max(x, 0);
 * quick_gelu x / (1 + e^-1.702x); relu_squared max(x, 0)^2; tanh. */
enum wn_nonlinearity { WN_SILU, WN_GELU, WN_GELU_TANH, WN_RELU, WN_QUICK_GELU, WN_RELU_SQUARED, WN_TANH };

/* By the name that config.json has (WN_NONLINEARITIES, and the other names that transformers has for the same); false:
 * unknown. */
#define WN_NONLINEARITIES "silu, swish, gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, relu, quick_gelu, relu2, tanh"
bool wn_nonlinearity_find(const char *name, enum wn_nonlinearity *kind);
/* x[i] = f(x[i]), or f(x[i]) * up[i]: `up` may be NULL. */
void wn_nonlinear(enum wn_nonlinearity kind, float *x, const float *up, int64_t count);
void wn_nonlinear_ref(enum wn_nonlinearity kind, float *x, const float *up, int64_t count);

/* x[i] = cap * tanh(x[i] / cap), cap > 0: Gemma 2's bound of the logits. */
void wn_soft_cap(float *x, float cap, int64_t count);
/* x[i] *= factor: of embeddings, of logits, of what a branch adds. */
void wn_scale(float *x, float factor, int64_t count);
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

/* KL alone, faster: terms in fp32, so within 1e-6 of itself; equal rows give exactly 0. */
double wn_row_kl(const float *p, double lse_p, const float *q, double lse_q, int64_t count);

/* Index of the largest value, the lowest index among equals. */
int64_t wn_argmax(const float *x, int64_t count);
/* The k largest values in falling order with their indices (lowest index first among equals); k <= count. */
void wn_top_k(const float *x, int64_t count, int64_t k, float *values, int32_t *indices);

/* ---- linears on quantized inputs ---- */

/* y = x W^T (+ bias) of a chunk: x [rows, in], rows = offset[n_sequences]; weight [out, in], y [rows, out]. */
struct wn_linear_call {
    int64_t n_sequences;
    const int64_t *offset; /* [n_sequences + 1] */
    const float *x;
    int64_t in;
    const float *weight; /* NULL in a block that is kept packed (generate.h): a rule has what it needs */
    int64_t out;
    const float *bias; /* [out] or NULL */
    float *y;
};

/*
 * How one linear is computed instead of by wn_linear. A rule is bound to its linear. y must depend on nothing but the
 * sequence a row belongs to: not on the packing of the chunk, nor on threads. Of a sequence that continues a past it
 * sees the rows of the chunk only. To add a rule, fill the struct; the rule below is one.
 */
struct wn_activation {
    void (*compute)(const struct wn_activation *activation, const struct wn_linear_call *call);
    void (*release)(struct wn_activation *activation); /* frees what the rule owns, and the rule */
};

void wn_activation_release(struct wn_activation **activation); /* *activation may be NULL */

/*
 * A linear on signed integers of `bits` bits, as integer hardware computes it. The inputs of a token are rounded to
 * multiples of r / limit, limit = 2^(bits-1) - 1, r the largest magnitude of the token but at least `least`; the
 * weights are scales[row] * (codes[row, column] - zero); products of codes are added exactly.
 *
 * threshold > 0 takes out outliers (Dettmers et al., arXiv:2208.07339, section 3.2, equation 8): columns where any
 * token of the *sequence* reaches the threshold are multiplied as they are, in fp32, with the dequantized weights or
 * with `outlier_weight`; r is then the largest magnitude below the threshold, outlier columns included. With a shared
 * prefix the outlier columns are those of the segment: a prefix has its own, and each continuation has its own. An
 * input that is not finite makes the outputs of its token NaN.
 *
 * round_outputs: with the bias added, the outputs of a token are rounded as inputs are, to multiples of their own step.
 */
struct wn_integer_linear {
    int64_t rows, columns;
    int bits;                    /* of inputs and weights, 2 .. 8 */
    const uint8_t *codes;        /* [rows, columns] */
    int zero;                    /* code of weight 0: 2^(bits-1) */
    const float *scales;         /* [rows] */
    double threshold, least;     /* 0: no outliers; r is at least this */
    const float *outlier_weight; /* [rows, columns] or NULL: the dequantized ones */
    bool round_outputs;
};
/* Copies the arrays. */
struct wn_activation *wn_integer_linear_create(const struct wn_integer_linear *form);
/* What a rule is made from, its arrays borrowed; NULL: it is another kind of rule. */
const struct wn_integer_linear *wn_integer_linear_form(const struct wn_activation *activation);
/* Bytes that a rule takes, and that it takes besides while it computes `tokens` rows on `threads` threads. */
int64_t wn_integer_linear_bytes(int64_t rows, int64_t columns, bool outlier_weight);
int64_t wn_integer_linear_scratch(int64_t rows, int64_t columns, int64_t tokens, int threads);
/* What adds up the products of codes, the sums being the same: "vnni", "avx2", "sgemm". Static storage. */
const char *wn_integer_linear_kernel(void);
/* Row by row in double and 64-bit integers, kept for tests. */
void wn_integer_linear_ref(const struct wn_integer_linear *form, const struct wn_linear_call *call);

/*
 * A linear on codes with a grid per row and group of columns, weights scale * (code - zero), whose inputs are rounded
 * as they come: of a token every `input_group` columns, counted from column 0, to multiples of their largest magnitude
 * / limit, limit = 2^(input_bits-1) - 1, ties to even. With 8 bits in runs of 32 that is what llama.cpp does to the
 * inputs of its 4-bit blocks (its Q8_0, with steps in fp16 there); with all columns of a token in one run it is the
 * W4A8 of SmoothQuant's kind. Both are called dynamic and symmetric.
 *
 * Columns are cut where a group or a run of inputs ends, and at multiples of 65,536 within; products of codes are added
 * exactly inside a piece. Then sum = fma((float)products * step, scale, sum), piece by piece in order from 0, and
 * sum + bias. So a token has the same bits on every instruction set, among any others, and alone: evaluation and
 * generation compute the same numbers. An input that is not finite makes the outputs of its token NaN.
 */
struct wn_grouped_linear {
    int64_t rows, columns;
    int bits;                    /* of a code, 1 .. 8; up to 4 take half a byte */
    int input_bits;              /* 2 .. 8 */
    int64_t group, n_groups;     /* column j belongs to group j / group */
    int64_t input_group;         /* columns of a step */
    const uint8_t *codes;        /* [rows, columns] */
    const float *scales, *zeros; /* [rows, n_groups]; zero points are whole, 0 .. 255 */
};
/* Copies the arrays, into an order of its own. */
struct wn_activation *wn_grouped_linear_create(const struct wn_grouped_linear *form);
/* What a rule is made from, without the arrays; NULL: it is another kind of rule. */
const struct wn_grouped_linear *wn_grouped_linear_form(const struct wn_activation *activation);
/* Such a rule as bytes of this program, nothing aligned; returns how many; out NULL: they are counted only. And back,
 * from bytes that it wrote, which are stepped over. */
int64_t wn_grouped_linear_write(const struct wn_activation *activation, uint8_t *out);
struct wn_activation *wn_grouped_linear_read(const uint8_t **bytes);
/* Bytes that a rule takes, and that it takes besides while it computes `tokens` rows: of a form without arrays. */
int64_t wn_grouped_linear_bytes(const struct wn_grouped_linear *form);
int64_t wn_grouped_linear_scratch(const struct wn_grouped_linear *form, int64_t tokens);
/* What adds up the products of codes, the bits being the same: "vnni", "avx2", "c". Static storage. */
const char *wn_grouped_linear_kernel(void);
/* Column by column in double, kept for tests. */
void wn_grouped_linear_ref(const struct wn_grouped_linear *form, const struct wn_linear_call *call);

#endif
