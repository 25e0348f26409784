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

/* dynamic: a larger theta for sequences beyond the trained length ("NTK-aware" scaling). */
static double dynamic_theta(const struct wn_rope *rope, int64_t head_dim, int64_t length)
{
    if (rope->kind != WN_ROPE_DYNAMIC || length <= rope->original_max_positions)
        return rope->theta;
    double stretch = rope->factor * (double)length / (double)rope->original_max_positions - (rope->factor - 1);
    return rope->theta * pow(stretch, (double)head_dim / (double)(head_dim - 2));
}

/* Inverse frequencies [head_dim / 2], rounded to fp32 where transformers rounds. */
static void inverse_frequencies(const struct wn_rope *rope, int64_t head_dim, int64_t length, float *inverse)
{
    float theta = (float)dynamic_theta(rope, head_dim, length);
    for (int64_t j = 0; j < head_dim / 2; j++) {
        float exponent = (float)(2 * j) / (float)head_dim;
        inverse[j] = 1.0f / (float)pow(theta, exponent);
        if (rope->kind == WN_ROPE_LINEAR)
            inverse[j] = (float)(inverse[j] / rope->factor);
        if (rope->kind == WN_ROPE_LLAMA3)
            inverse[j] = llama3_frequency(rope, inverse[j]);
    }
}

/* Rows of the positions first .. end - 1; cosine and sine begin with that of `first`. */
static void table_rows(const float *inverse, int64_t half, int64_t first, int64_t end, float *cosine, float *sine)
{
    for (int64_t t = first; t < end; t++, cosine += half, sine += half)
#pragma omp simd
        for (int64_t j = 0; j < half; j++)
            nn_sine_cosine((double)((float)t * inverse[j]), &sine[j], &cosine[j]);
}

static void table(const float *inverse, int64_t half, int64_t first, int64_t end, float *cosine, float *sine)
{
    const int64_t block = 64;
#pragma omp parallel for schedule(static) if ((end - first) * half > SERIAL_WORK)
    for (int64_t t = first; t < end; t += block)
        table_rows(inverse, half, t, t + block < end ? t + block : end, cosine + (t - first) * half,
                   sine + (t - first) * half);
}

void wn_rope_table(const struct wn_rope *rope, int64_t head_dim, int64_t length, float *cosine, float *sine)
{
    float *inverse = wn_alloc(head_dim / 2, sizeof *inverse);
    inverse_frequencies(rope, head_dim, length, inverse);
    table(inverse, head_dim / 2, 0, length, cosine, sine);
    wn_free(inverse);
}

/* Positions whose rows stand at packed row `row` and behind it. */
struct known {
    int64_t first, end, row;
};

/* Without `dynamic`, rows depend on their position only: sequences copy from the longest run of positions so far. */
void wn_rope_chunk_table(const struct wn_rope *rope, int64_t head_dim, int64_t n_sequences, const int64_t *offset,
                         const int64_t *start, float *cosine, float *sine)
{
    int64_t half = head_dim / 2;
    struct known known = {0};
    float *usual = wn_alloc(half, sizeof *usual), *stretched = wn_alloc(half, sizeof *stretched);
    inverse_frequencies(rope, head_dim, 0, usual);
    for (int64_t s = 0; s < n_sequences; s++) {
        int64_t first = start ? start[s] : 0, end = first + offset[s + 1] - offset[s], at = offset[s] * half;
        bool scaled = rope->kind == WN_ROPE_DYNAMIC && end > rope->original_max_positions;
        if (scaled) {
            inverse_frequencies(rope, head_dim, end, stretched);
            table(stretched, half, first, end, cosine + at, sine + at);
        } else if (first >= known.first && end <= known.end) {
            int64_t from = (known.row + first - known.first) * half;
            memcpy(cosine + at, cosine + from, (size_t)((end - first) * half) * sizeof *cosine);
            memcpy(sine + at, sine + from, (size_t)((end - first) * half) * sizeof *sine);
        } else {
            table(usual, half, first, end, cosine + at, sine + at);
            if (end - first > known.end - known.first)
                known = (struct known){first, end, offset[s]};
        }
    }
    wn_free(usual);
    wn_free(stretched);
}

void wn_rope_apply(const float *cosine, const float *sine, float *x, int64_t rows, int64_t heads, int64_t head_dim)
{
    int64_t half = head_dim / 2;
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
    int64_t half = head_dim / 2;
    float *inverse = wn_alloc(half, sizeof *inverse);
    inverse_frequencies(rope, head_dim, length, inverse);
    for (int64_t t = 0; t < length; t++)
        for (int64_t h = 0; h < heads; h++)
            for (int64_t j = 0; j < half; j++) {
                float *low = x + (t * heads + h) * head_dim + j, *high = low + half;
                double angle = (float)t * inverse[j], a = *low, b = *high;
                *low = (float)(a * cos(angle) - b * sin(angle));
                *high = (float)(b * cos(angle) + a * sin(angle));
            }
    wn_free(inverse);
}
