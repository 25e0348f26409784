/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary positions (Su et al. 2021) with the scalings of Hugging Face transformers: modeling_rope_utils.py. */
#include <winnow/nn.h>

#include "math.h"

#include <math.h>

enum { SERIAL_WORK = 1 << 15 };

static const double PI = 3.14159265358979323846;

/* llama3: long wavelengths are stretched by `factor`, short ones kept, a straight line between. */
static float llama3_frequency(const struct wn_rope *rope, float inverse)
{
    double original = (double)rope->original_max_positions, wavelength = 2 * PI / inverse;
    if (wavelength < original / rope->high_freq_factor)
        return inverse;
    if (wavelength > original / rope->low_freq_factor)
        return (float)(inverse / rope->factor);
    double smooth = (original / wavelength - rope->low_freq_factor) / (rope->high_freq_factor - rope->low_freq_factor);
    return (float)((1 - smooth) * inverse / rope->factor + smooth * inverse);
}

/* theta^(2j/dims) in fp32: the positions in which pair j turns by 1 radian. */
static float wavelength(float theta, int64_t dims, int64_t j)
{
    return (float)pow(theta, (float)(2 * j) / (float)dims);
}

void wn_rope_llama3_divisors(const struct wn_rope *rope, int64_t head_dim, float *divisors)
{
    int64_t dims = wn_rope_dims(rope, head_dim);
    for (int64_t j = 0; j < dims / 2; j++) {
        float inverse = 1.0f / wavelength((float)rope->theta, dims, j);
        divisors[j] = inverse / llama3_frequency(rope, inverse);
    }
}

/* yarn: the pair (a fraction of one too) that turns so many times within the original length. */
static double turning_pair(const struct wn_rope *rope, int64_t dims, double turns)
{
    double positions = (double)rope->original_max_positions;
    return (double)dims * log(positions / (turns * 2 * PI)) / (2 * log(rope->theta));
}

/* yarn: pairs that turn often are kept, those that turn seldom are stretched by `factor`, a straight line between. */
static void yarn_frequencies(const struct wn_rope *rope, int64_t dims, float *inverse)
{
    double low = turning_pair(rope, dims, rope->beta_fast), high = turning_pair(rope, dims, rope->beta_slow);
    low = fmax(rope->truncate ? floor(low) : low, 0);
    high = fmin(rope->truncate ? ceil(high) : high, (double)(dims - 1));
    float span = (float)(low == high ? 0.001 : high - low);
    for (int64_t j = 0; j < dims / 2; j++) {
        float ramp = ((float)j - (float)low) / span, keep = 1.0f - fminf(fmaxf(ramp, 0.0f), 1.0f);
        float wave = wavelength((float)rope->theta, dims, j);
        inverse[j] = 1.0f / ((float)rope->factor * wave) * (1.0f - keep) + 1.0f / wave * keep;
    }
}

double wn_rope_yarn_attention_factor(double factor)
{
    return factor <= 1 ? 1 : 0.1 * log(factor) + 1;
}

double wn_rope_longrope_attention_factor(double factor, int64_t original_max_positions)
{
    return factor <= 1 ? 1 : sqrt(1 + log(factor) / log((double)original_max_positions));
}

int64_t wn_rope_dims(const struct wn_rope *rope, int64_t head_dim)
{
    return rope->dims ? rope->dims : head_dim;
}

int64_t wn_rope_limit(const struct wn_rope *rope)
{
    bool by_length = rope->kind == WN_ROPE_DYNAMIC || rope->kind == WN_ROPE_LONGROPE;
    return by_length ? rope->original_max_positions : INT64_MAX;
}

/* dynamic: a larger theta for sequences beyond the trained length ("NTK-aware" scaling). */
static double dynamic_theta(const struct wn_rope *rope, int64_t dims, int64_t length)
{
    if (rope->kind != WN_ROPE_DYNAMIC || length <= rope->original_max_positions)
        return rope->theta;
    double stretch = rope->factor * (double)length / (double)rope->original_max_positions - (rope->factor - 1);
    return rope->theta * pow(stretch, (double)dims / (double)(dims - 2));
}

/* Inverse frequencies [dims / 2], rounded to fp32 where transformers rounds. */
static void inverse_frequencies(const struct wn_rope *rope, int64_t dims, int64_t length, float *inverse)
{
    float theta = (float)dynamic_theta(rope, dims, length);
    const float *divisor = length > rope->original_max_positions ? rope->long_factor : rope->short_factor;
    for (int64_t j = 0; j < dims / 2; j++) {
        float wave = wavelength(theta, dims, j);
        inverse[j] = 1.0f / (rope->kind == WN_ROPE_LONGROPE ? divisor[j] * wave : wave);
        if (rope->kind == WN_ROPE_LINEAR)
            inverse[j] = (float)(inverse[j] / rope->factor);
        if (rope->kind == WN_ROPE_LLAMA3)
            inverse[j] = llama3_frequency(rope, inverse[j]);
    }
    if (rope->kind == WN_ROPE_YARN)
        yarn_frequencies(rope, dims, inverse);
}

static float attention_factor(const struct wn_rope *rope)
{
    return rope->attention_factor > 0 ? (float)rope->attention_factor : 1.0f;
}

/* Rows of the positions first .. end - 1; cosine and sine begin with that of `first`. */
static void table_rows(const float *inverse, int64_t half, float factor, int64_t first, int64_t end, float *cosine,
                       float *sine)
{
    for (int64_t t = first; t < end; t++, cosine += half, sine += half)
#pragma omp simd
        for (int64_t j = 0; j < half; j++) {
            nn_sine_cosine((double)((float)t * inverse[j]), &sine[j], &cosine[j]);
            sine[j] *= factor;
            cosine[j] *= factor;
        }
}

static void table(const float *inverse, int64_t half, float factor, int64_t first, int64_t end, float *cosine,
                  float *sine)
{
    const int64_t block = 64;
#pragma omp parallel for schedule(static) if ((end - first) * half > SERIAL_WORK)
    for (int64_t t = first; t < end; t += block)
        table_rows(inverse, half, factor, t, t + block < end ? t + block : end, cosine + (t - first) * half,
                   sine + (t - first) * half);
}

void wn_rope_table(const struct wn_rope *rope, int64_t head_dim, int64_t length, float *cosine, float *sine)
{
    int64_t dims = wn_rope_dims(rope, head_dim);
    float *inverse = wn_alloc(dims / 2, sizeof *inverse);
    inverse_frequencies(rope, dims, length, inverse);
    table(inverse, dims / 2, attention_factor(rope), 0, length, cosine, sine);
    wn_free(inverse);
}

/* Positions whose rows stand at packed row `row` and behind it. */
struct known {
    int64_t first, end, row;
};

/* Copies the rows of positions first .. end - 1 from those that are known, to packed row `row`; false: some are not. */
static bool copy_known(const struct known *known, int64_t half, int64_t first, int64_t end, int64_t row, float *cosine,
                       float *sine)
{
    if (first < known->first || end > known->end)
        return false;
    int64_t from = (known->row + first - known->first) * half;
    memcpy(cosine + row * half, cosine + from, (size_t)((end - first) * half) * sizeof *cosine);
    memcpy(sine + row * half, sine + from, (size_t)((end - first) * half) * sizeof *sine);
    return true;
}

/*
 * Rows depend on their position only, up to the limit of the rope and, but for `dynamic`, beyond it too: sequences copy
 * from the longest run of positions so far, of their side of the limit.
 */
void wn_rope_chunk_table(const struct wn_rope *rope, int64_t head_dim, int64_t n_sequences, const int64_t *offset,
                         const int64_t *start, float *cosine, float *sine)
{
    int64_t dims = wn_rope_dims(rope, head_dim), half = dims / 2, limit = wn_rope_limit(rope);
    struct known known[2] = {0};
    float *inverse[2] = {wn_alloc(half, sizeof **inverse), wn_alloc(half, sizeof **inverse)};
    inverse_frequencies(rope, dims, 0, inverse[0]);
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t first = start ? start[s] : 0, end = first + offset[s + 1] - offset[s], at = offset[s] * half;
        bool beyond = end > limit, alone = beyond && rope->kind == WN_ROPE_DYNAMIC;
        if (!alone && copy_known(&known[beyond], half, first, end, offset[s], cosine, sine))
            continue;
        if (beyond)
            inverse_frequencies(rope, dims, end, inverse[1]);
        table(inverse[beyond], half, attention_factor(rope), first, end, cosine + at, sine + at);
        if (end - first > known[beyond].end - known[beyond].first)
            known[beyond] = (struct known){first, end, offset[s]};
    }
    wn_free(inverse[0]);
    wn_free(inverse[1]);
}

void wn_rope_apply(const float *cosine, const float *sine, float *x, int64_t rows, int64_t heads, int64_t head_dim,
                   int64_t dims)
{
    int64_t half = dims / 2;
#pragma omp parallel for schedule(static) if (rows * heads * head_dim > SERIAL_WORK)
    for (int64_t r = 0; r < rows; r++)
        for (int64_t h = 0; h < heads; h++) {
            float *low = x + (r * heads + h) * head_dim, *high = low + half;
            const float *c = cosine + r * half, *s = sine + r * half;
#pragma omp simd
            for (int64_t j = 0; j < half; j++) {
                float a = low[j], b = high[j];
                low[j] = a * c[j] - b * s[j];
                high[j] = b * c[j] + a * s[j];
            }
        }
}

void wn_rope_apply_ref(const struct wn_rope *rope, float *x, int64_t length, int64_t heads, int64_t head_dim)
{
    int64_t dims = wn_rope_dims(rope, head_dim), half = dims / 2;
    float *inverse = wn_alloc(half, sizeof *inverse);
    inverse_frequencies(rope, dims, length, inverse);
    for (int64_t t = 0; t < length; t++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < half; j++) {
                float *low = x + (t * heads + h) * head_dim + j, *high = low + half;
                double angle = (float)t * inverse[j], factor = attention_factor(rope), a = *low, b = *high;
                *low = (float)(factor * (a * cos(angle) - b * sin(angle)));
                *high = (float)(factor * (b * cos(angle) + a * sin(angle)));
            }
    wn_free(inverse);
}
