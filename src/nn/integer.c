/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linears on integer codes. Their sums are exact, by integer instructions (integer_dot.h) or, where there are none, in
 * fp32 BLAS: a product of two codes is at most 127^2, so fp32 adds up to 1040 of them exactly in any order. Longer rows
 * are cut into pieces of PIECE columns, whose sums are added in double. The integer part is therefore the same for
 * every tile shape and instruction set, and tiles run over the whole chunk. The outlier part rounds, so its tiles start
 * at the first token of each sequence.
 */
#include <winnow/linalg.h>
#include <winnow/nn.h>

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "integer_dot.h"
#include "token_codes.h"

enum { PIECE = 1024, PANEL = 256, SERIAL_WORK = 1 << 16 };

struct rule {
    struct wn_activation activation; /* first: a rule is one */
    struct wn_integer_linear form;   /* its arrays are owned */
    uint8_t *codes;
    float *scales, *outlier_weight;
};

/* The inputs of one call as codes, and the columns taken out of them. */
struct inputs {
    int8_t *codes;   /* [rows, in], 0 in outlier columns */
    float *steps;    /* [rows]: what a code stands for; NaN for a token that is not finite */
    uint8_t *inside; /* [n_sequences, in] 0xff, or 0 in outlier columns; NULL without a threshold */
    int64_t *listed; /* outlier columns of sequence s: listed[first[s]] .. listed[first[s + 1] - 1] */
    int64_t *first;  /* [n_sequences + 1] */
};

/* Memory of one thread; sides are those of the operands where these are smaller. */
struct tile_buffers {
    float *x, *w, *part; /* [tile rows, PIECE], [tile columns, PIECE], [tile rows, tile columns] */
    double *sum;         /* [tile rows, tile columns]; NULL when one piece is enough */
};

static int64_t pieces_up(int64_t count, int64_t size)
{
    return (count + size - 1) / size;
}

/* ---- inputs to codes ---- */

/* Clears the columns of one panel in which any of `rows` tokens reaches the threshold. */
static void mark_outliers(const float *x, int64_t rows, int64_t in, int64_t first, int64_t end, int32_t threshold,
                          uint8_t *inside)
{
    for (int64_t c = first; c < end; c++)
        inside[c] = 0xff;
    for (int64_t r = 0; r < rows; r++) {
        const float *token = x + r * in;
#pragma omp simd
        for (int64_t c = first; c < end; c++)
            inside[c] &= magnitude_of(token[c]) < threshold ? 0xff : 0;
    }
}

static void find_outliers(const struct wn_linear_call *call, float threshold, struct inputs *inputs)
{
    const int64_t in = call->in, panels = pieces_up(in, PANEL), n = call->n_sequences;
    const bool shared = call->offset[n] * in > SERIAL_WORK;

    inputs->inside = wn_alloc(n * in, 1);
#pragma omp parallel for schedule(static) if (shared)
    for (int64_t i = 0; i < n * panels; i++) {
        int64_t s = i / panels, panel = i % panels * PANEL, row = call->offset[s];
        mark_outliers(call->x + row * in, call->offset[s + 1] - row, in, panel, smaller(panel + PANEL, in),
                      magnitude_of(threshold), inputs->inside + s * in);
    }
    int64_t count = 0;
    for (int64_t i = 0; i < n * in; i++)
        count += !inputs->inside[i];
    inputs->listed = wn_alloc(count, sizeof *inputs->listed);
    inputs->first = wn_alloc(n + 1, sizeof *inputs->first);
    count = 0;
    for (int64_t s = 0; s < n; s++) {
        inputs->first[s] = count;
        for (int64_t c = 0; c < in; c++)
            if (!inputs->inside[s * in + c])
                inputs->listed[count++] = c;
    }
    inputs->first[n] = count;
}

/* The step of a token; below all normal floats the codes are 0. */
static float step_of(const struct wn_integer_linear *form, float largest)
{
    const float least = (float)form->least, limit = (float)((1 << (form->bits - 1)) - 1);

    return token_step((largest < least ? least : largest) / limit);
}

static void code_sequence(const struct wn_integer_linear *form, const struct wn_linear_call *call, int64_t s,
                          struct inputs *inputs)
{
    const int64_t in = call->in;
    const int32_t most = form->threshold > 0 ? magnitude_of((float)form->threshold) - 1 : MAGNITUDE;
    const uint8_t *inside = inputs->inside ? inputs->inside + s * in : NULL;

#pragma omp parallel for schedule(static) if ((call->offset[s + 1] - call->offset[s]) * in > SERIAL_WORK)
    for (int64_t r = call->offset[s]; r < call->offset[s + 1]; r++) {
        float largest = largest_up_to(call->x + r * in, in, most);
        if (isfinite(largest)) {
            inputs->steps[r] = step_of(form, largest);
            code_token(call->x + r * in, in, inputs->steps[r], inside, inputs->codes + r * in);
        } else {
            inputs->steps[r] = NAN;
            memset(inputs->codes + r * in, 0, (size_t)in);
        }
    }
}

static void open_inputs(const struct wn_integer_linear *form, const struct wn_linear_call *call, struct inputs *inputs)
{
    const int64_t rows = call->offset[call->n_sequences];

    *inputs = (struct inputs){.codes = wn_alloc(rows * call->in, 1), .steps = wn_alloc(rows, sizeof(float))};
    if (form->threshold > 0)
        find_outliers(call, (float)form->threshold, inputs);
    for (int64_t s = 0; s < call->n_sequences; s++)
        code_sequence(form, call, s, inputs);
}

static void close_inputs(struct inputs *inputs)
{
    wn_free(inputs->first);
    wn_free(inputs->listed);
    wn_free(inputs->inside);
    wn_free(inputs->steps);
    wn_free(inputs->codes);
}

/* ---- tiles ---- */

static void open_buffers(int64_t tokens, int64_t rows, int64_t columns, struct tile_buffers *buffers)
{
    const int64_t m = smaller(tokens, WN_TILE_ROWS), n = smaller(rows, WN_TILE_COLUMNS), k = smaller(columns, PIECE);

    *buffers = (struct tile_buffers){.x = wn_alloc(m * k, sizeof(float)),
                                     .w = wn_alloc(n * k, sizeof(float)),
                                     .part = wn_alloc(m * n, sizeof(float)),
                                     .sum = columns > PIECE ? wn_alloc(m * n, sizeof(double)) : NULL};
}

static void close_buffers(struct tile_buffers *buffers)
{
    wn_free(buffers->sum);
    wn_free(buffers->part);
    wn_free(buffers->w);
    wn_free(buffers->x);
}

/* part (+)= x w^T: x [m, k], w [n, k], part [m, n]. */
static void multiply(const struct tile_buffers *buffers, int64_t m, int64_t n, int64_t k, float beta)
{
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)m, (int)n, (int)k, 1.0f, buffers->x, (int)k, buffers->w,
                (int)k, beta, buffers->part, (int)n);
}

/* One product of tokens row .. row + m - 1 and outputs column .. column + n - 1. */
struct tile {
    int64_t row, m, column, n;
};

static struct tile tile_at(int64_t index, int64_t first, int64_t rows, int64_t out)
{
    const int64_t row_tiles = pieces_up(rows, WN_TILE_ROWS);
    const int64_t row = index % row_tiles * WN_TILE_ROWS, column = index / row_tiles * WN_TILE_COLUMNS;

    return (struct tile){first + row, smaller(rows - row, WN_TILE_ROWS), column,
                         smaller(out - column, WN_TILE_COLUMNS)};
}

static int64_t tiles_of(int64_t rows, int64_t out)
{
    return pieces_up(rows, WN_TILE_ROWS) * pieces_up(out, WN_TILE_COLUMNS);
}

/* Codes of columns k .. k + count - 1 as floats. */
static void load_codes(const struct wn_integer_linear *form, const struct inputs *inputs, const struct tile *tile,
                       int64_t k, int64_t count, const struct tile_buffers *buffers)
{
    const int32_t zero = form->zero;

    for (int64_t r = 0; r < tile->m; r++) {
        const int8_t *from = inputs->codes + (tile->row + r) * form->columns + k;
        float *to = buffers->x + r * count;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = from[i];
    }
    for (int64_t r = 0; r < tile->n; r++) {
        const uint8_t *from = form->codes + (tile->column + r) * form->columns + k;
        float *to = buffers->w + r * count;
#pragma omp simd
        for (int64_t i = 0; i < count; i++)
            to[i] = (float)((int32_t)from[i] - zero);
    }
}

/* Sums of products of codes times both steps, rounded once. */
static void scale_tile(const struct wn_integer_linear *form, const struct inputs *inputs, const struct tile *tile,
                       const struct tile_buffers *buffers, float *y)
{
    for (int64_t r = 0; r < tile->m; r++) {
        const double step = inputs->steps[tile->row + r];
        const float *scales = form->scales + tile->column;
        float *to = y + (tile->row + r) * form->rows + tile->column;
        for (int64_t i = 0; i < tile->n; i++) {
            double sum = buffers->sum ? buffers->sum[r * tile->n + i] : (double)buffers->part[r * tile->n + i];
            to[i] = (float)(sum * (step * scales[i]));
        }
    }
}

/* ---- integer instructions ---- */

static dot_kernel *find_dot(void)
{
#ifdef __x86_64__
    static dot_kernel *const kernels[] = {NULL, dot_avx2, dot_vnni};

    return kernels[products_here()];
#else
    return NULL;
#endif
}

const char *wn_integer_linear_kernel(void)
{
    static const char *const names[] = {"sgemm", "avx2", "vnni"};

    return names[products_here()];
}

/* Outputs o .. o + count - 1, at most DOT_OUTPUTS, of tokens r .. r + n - 1, at most DOT_ROWS; at the
 * end outputs before them are computed again and dropped. `shifts`: what the zero point adds to the sums of each token
 * of the tile. */
static void dot_patch(const struct wn_integer_linear *form, const struct inputs *inputs, const struct tile *tile,
                      dot_kernel *dot, const int32_t *shifts, int64_t r, int64_t n, int64_t o, float *y)
{
    int32_t sums[DOT_ROWS * DOT_OUTPUTS];
    const int64_t in = form->columns, first = smaller(tile->column + o, form->rows - DOT_OUTPUTS);

    dot(form->codes + first * in, inputs->codes + (tile->row + r) * in, in, n, sums);
    for (int64_t i = 0; i < n; i++) {
        const double step = inputs->steps[tile->row + r + i];
        float *to = y + (tile->row + r + i) * form->rows + first;
        for (int64_t c = tile->column + o - first; c < DOT_OUTPUTS; c++)
            to[c] = (float)((double)(sums[i * DOT_OUTPUTS + c] - shifts[r + i]) * (step * form->scales[first + c]));
    }
}

/* By a few tokens at a time, whose codes stay in the second cache. */
static void dot_tile(const struct wn_integer_linear *form, const struct inputs *inputs, const struct tile *tile,
                     dot_kernel *dot, float *y)
{
    enum { TOKENS = 64 };
    int32_t shifts[WN_TILE_ROWS];

    for (int64_t r = 0; r < tile->m; r++)
        shifts[r] = form->zero * sum_of_codes(inputs->codes + (tile->row + r) * form->columns, form->columns);
    for (int64_t block = 0; block < tile->m; block += TOKENS)
        for (int64_t o = 0; o < tile->n; o += DOT_OUTPUTS)
            for (int64_t r = block; r < smaller(block + TOKENS, tile->m); r += DOT_ROWS)
                dot_patch(form, inputs, tile, dot, shifts, r, smaller(DOT_ROWS, tile->m - r), o, y);
}

static void integer_tile(const struct wn_integer_linear *form, const struct inputs *inputs, const struct tile *tile,
                         const struct tile_buffers *buffers, float *y)
{
    const int64_t count = tile->m * tile->n;

    for (int64_t k = 0; k < form->columns; k += PIECE) {
        int64_t width = smaller(form->columns - k, PIECE);
        load_codes(form, inputs, tile, k, width, buffers);
        multiply(buffers, tile->m, tile->n, width, 0.0f);
        for (int64_t i = 0; buffers->sum && i < count; i++)
            buffers->sum[i] = (k ? buffers->sum[i] : 0.0) + buffers->part[i];
    }
    scale_tile(form, inputs, tile, buffers, y);
}

/* The outlier columns at listed[0 .. count) as they are, and their weights. */
static void load_outliers(const struct wn_integer_linear *form, const float *x, const int64_t *listed, int64_t count,
                          const struct tile *tile, const struct tile_buffers *buffers)
{
    for (int64_t r = 0; r < tile->m; r++)
        for (int64_t i = 0; i < count; i++)
            buffers->x[r * count + i] = x[(tile->row + r) * form->columns + listed[i]];
    for (int64_t r = 0; r < tile->n; r++) {
        const int64_t row = tile->column + r, at = row * form->columns;
        for (int64_t i = 0; i < count; i++)
            buffers->w[r * count + i] =
                form->outlier_weight ? form->outlier_weight[at + listed[i]]
                                     : form->scales[row] * (float)((int)form->codes[at + listed[i]] - form->zero);
    }
}

static void outlier_tile(const struct wn_integer_linear *form, const float *x, const int64_t *listed, int64_t count,
                         const struct tile *tile, const struct tile_buffers *buffers, float *y)
{
    for (int64_t k = 0; k < count; k += PIECE) {
        int64_t width = smaller(count - k, PIECE);
        load_outliers(form, x, listed + k, width, tile, buffers);
        multiply(buffers, tile->m, tile->n, width, k ? 1.0f : 0.0f);
    }
    for (int64_t r = 0; r < tile->m; r++)
        for (int64_t i = 0; i < tile->n; i++)
            y[(tile->row + r) * form->rows + tile->column + i] += buffers->part[r * tile->n + i];
}

/* All tiles of the chunk, then, when there are outliers, all tiles of every sequence, then the bias. */
static void run_tiles(const struct wn_integer_linear *form, const struct wn_linear_call *call,
                      const struct inputs *inputs, const struct tile_buffers *buffers)
{
    const int64_t rows = call->offset[call->n_sequences], out = form->rows;
    dot_kernel *const dot = form->columns <= DOT_COLUMNS && out >= DOT_OUTPUTS ? find_dot() : NULL;

#pragma omp for schedule(dynamic)
    for (int64_t i = 0; i < tiles_of(rows, out); i++) {
        struct tile tile = tile_at(i, 0, rows, out);
        if (dot)
            dot_tile(form, inputs, &tile, dot, call->y);
        else
            integer_tile(form, inputs, &tile, buffers, call->y);
    }
    for (int64_t s = 0; inputs->inside && s < call->n_sequences; s++) {
        int64_t count = inputs->first[s + 1] - inputs->first[s], length = call->offset[s + 1] - call->offset[s];
        if (count == 0)
            continue;
#pragma omp for schedule(dynamic) nowait
        for (int64_t i = 0; i < tiles_of(length, out); i++) {
            struct tile tile = tile_at(i, call->offset[s], length, out);
            outlier_tile(form, call->x, inputs->listed + inputs->first[s], count, &tile, buffers, call->y);
        }
    }
}

/* Bias, and rounding, of the outputs of one token. Outputs that are not finite stay. */
static void finish_token(const struct wn_integer_linear *form, const float *bias, float *y)
{
    for (int64_t i = 0; bias && i < form->rows; i++)
        y[i] += bias[i];
    if (!form->round_outputs)
        return;
    const float largest = largest_up_to(y, form->rows, MAGNITUDE), step = step_of(form, largest);
    for (int64_t i = 0; isfinite(largest) && i < form->rows; i++)
        y[i] = step * ((y[i] / step + ROUND_SHIFT) - ROUND_SHIFT);
}

static void compute(const struct wn_activation *activation, const struct wn_linear_call *call)
{
    const struct rule *rule = (const struct rule *)activation;
    const struct wn_integer_linear *form = &rule->form;
    const int64_t rows = call->offset[call->n_sequences];
    struct inputs inputs;

    if (call->in != form->columns || call->out != form->rows)
        WN_BUG("a linear [%lld, %lld] was given the rule of another one", (long long)call->out, (long long)call->in);
    open_inputs(form, call, &inputs);
    int threads = wn_blas_begin();
    bool shared = threads > 1 && rows * form->columns * form->rows > SERIAL_WORK * 32;
#pragma omp parallel num_threads(shared ? threads : 1) if (shared)
    {
        struct tile_buffers buffers;
        open_buffers(rows, form->rows, form->columns, &buffers);
        run_tiles(form, call, &inputs, &buffers);
        close_buffers(&buffers);
    }
    wn_blas_end(threads);
    close_inputs(&inputs);
#pragma omp parallel for schedule(static) if (rows * form->rows > SERIAL_WORK)
    for (int64_t r = 0; r < rows; r++)
        finish_token(form, call->bias, call->y + r * form->rows);
}

/* ---- the rule ---- */

static void release(struct wn_activation *activation)
{
    struct rule *rule = (struct rule *)activation;

    wn_free(rule->codes);
    wn_free(rule->scales);
    wn_free(rule->outlier_weight);
    wn_free(rule);
}

struct wn_activation *wn_integer_linear_create(const struct wn_integer_linear *form)
{
    struct rule *rule = wn_alloc_zero(1, sizeof *rule);
    const int64_t count = form->rows * form->columns;

    if (form->bits < 2 || form->bits > 8)
        WN_BUG("codes of %d bits", form->bits);
    rule->activation = (struct wn_activation){compute, release};
    rule->form = *form;
    rule->form.codes = rule->codes = wn_alloc(count, 1);
    rule->form.scales = rule->scales = wn_alloc(form->rows, sizeof(float));
    memcpy(rule->codes, form->codes, (size_t)count);
    memcpy(rule->scales, form->scales, (size_t)form->rows * sizeof(float));
    if (form->outlier_weight) {
        rule->form.outlier_weight = rule->outlier_weight = wn_alloc(count, sizeof(float));
        memcpy(rule->outlier_weight, form->outlier_weight, (size_t)count * sizeof(float));
    }
    return &rule->activation;
}

const struct wn_integer_linear *wn_integer_linear_form(const struct wn_activation *activation)
{
    return activation->compute == compute ? &((const struct rule *)activation)->form : NULL;
}

void wn_activation_release(struct wn_activation **activation)
{
    if (*activation)
        (*activation)->release(*activation);
    *activation = NULL;
}

int64_t wn_integer_linear_bytes(int64_t rows, int64_t columns, bool outlier_weight)
{
    const int64_t per_weight = 1 + (outlier_weight ? (int64_t)sizeof(float) : 0);

    return rows * columns * per_weight + rows * (int64_t)sizeof(float) + (int64_t)sizeof(struct rule);
}

int64_t wn_integer_linear_scratch(int64_t rows, int64_t columns, int64_t tokens, int threads)
{
    const int64_t m = smaller(tokens, WN_TILE_ROWS), n = smaller(rows, WN_TILE_COLUMNS), k = smaller(columns, PIECE);
    const int64_t part = m * n * (int64_t)(sizeof(float) + (columns > PIECE ? sizeof(double) : 0));

    return threads * ((m + n) * k * (int64_t)sizeof(float) + part) + tokens * (columns + (int64_t)sizeof(float));
}

/* ---- the plain loop ---- */

static bool is_outlier(const struct wn_integer_linear *form, const struct wn_linear_call *call, int64_t s, int64_t c)
{
    if (!(form->threshold > 0))
        return false;
    for (int64_t r = call->offset[s]; r < call->offset[s + 1]; r++)
        if (fabsf(call->x[r * call->in + c]) >= (float)form->threshold)
            return true;
    return false;
}

static double weight_at(const struct wn_integer_linear *form, int64_t row, int64_t column)
{
    const int64_t at = row * form->columns + column;

    if (form->outlier_weight)
        return form->outlier_weight[at];
    return (double)form->scales[row] * (form->codes[at] - form->zero);
}

static void token_ref(const struct wn_integer_linear *form, const struct wn_linear_call *call, int64_t r,
                      const bool *outlier)
{
    const float *x = call->x + r * call->in;
    float largest = 0.0f;

    for (int64_t c = 0; c < call->in; c++)
        if (fabsf(x[c]) > largest && !(form->threshold > 0 && fabsf(x[c]) >= (float)form->threshold))
            largest = fabsf(x[c]);
    const float step = step_of(form, largest);
    for (int64_t o = 0; o < call->out; o++) {
        int64_t sum = 0;
        double rest = 0;
        for (int64_t c = 0; c < call->in; c++) {
            if (outlier[c])
                rest += (double)x[c] * weight_at(form, o, c);
            else
                sum += (int64_t)rintf(x[c] / step) * (form->codes[o * call->in + c] - form->zero);
        }
        call->y[r * call->out + o] =
            (float)((double)sum * ((double)step * form->scales[o]) + rest + (call->bias ? (double)call->bias[o] : 0.0));
    }
}

static void round_ref(const struct wn_integer_linear *form, float *y)
{
    float largest = 0.0f;

    for (int64_t o = 0; o < form->rows; o++)
        largest = fmaxf(largest, fabsf(y[o]));
    const float step = step_of(form, largest);
    for (int64_t o = 0; o < form->rows; o++)
        y[o] = step * rintf(y[o] / step);
}

void wn_integer_linear_ref(const struct wn_integer_linear *form, const struct wn_linear_call *call)
{
    bool *outlier = wn_alloc(call->in, sizeof *outlier);

    for (int64_t s = 0; s < call->n_sequences; s++) {
        for (int64_t c = 0; c < call->in; c++)
            outlier[c] = is_outlier(form, call, s, c);
        for (int64_t r = call->offset[s]; r < call->offset[s + 1]; r++) {
            token_ref(form, call, r, outlier);
            if (form->round_outputs)
                round_ref(form, call->y + r * call->out);
        }
    }
    wn_free(outlier);
}
