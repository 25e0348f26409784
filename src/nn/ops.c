/* SPDX-License-Identifier: Apache-2.0 */
/* Functions of one number after the other, handed out in fixed blocks. */
#include <winnow/nn.h>

#include "math.h"

#include <math.h>

enum { BLOCK = 4096, SERIAL_WORK = 1 << 16 };

static int64_t block_end(int64_t first, int64_t count)
{
    return first + BLOCK < count ? first + BLOCK : count;
}

/* ---- activation functions ---- */

/* NAME for the numbers of one block, plain or times `up`: a function each, so that no element asks which. */
#define ELEMENTWISE(name, formula)                                                                                     \
    static void name(float *values, const float *up, int64_t count)                                                    \
    {                                                                                                                  \
        _Pragma("omp simd") for (int64_t i = 0; i < count; i++)                                                        \
        {                                                                                                              \
            float x = values[i];                                                                                       \
            values[i] = formula;                                                                                       \
        }                                                                                                              \
        if (up)                                                                                                        \
            _Pragma("omp simd") for (int64_t i = 0; i < count; i++) values[i] *= up[i];                                \
    }

ELEMENTWISE(silu, x / (1.0f + nn_exp(-x)))
ELEMENTWISE(gelu, 0.5f * x * (1.0f + nn_erf(x * 0.70710678118654752f)))
/* 0.5 (1 + tanh u) is 1 / (1 + e^-2u); 1.5957... is 2 sqrt(2 / pi). */
ELEMENTWISE(gelu_tanh, x / (1.0f + nn_exp(-1.5957691216057308f * (x + 0.044715f * (x * x * x)))))
ELEMENTWISE(relu, x < 0.0f ? 0.0f : x)
ELEMENTWISE(quick_gelu, x / (1.0f + nn_exp(-1.702f * x)))
ELEMENTWISE(relu_squared, x < 0.0f ? 0.0f : x * x)
ELEMENTWISE(tanh_of, nn_tanh(x))

static const struct {
    const char *name;
    enum wn_nonlinearity kind;
} names[] = {
    {"silu", WN_SILU},
    {"swish", WN_SILU},
    {"gelu", WN_GELU},
    {"gelu_new", WN_GELU_TANH},
    {"gelu_fast", WN_GELU_TANH},
    {"gelu_pytorch_tanh", WN_GELU_TANH},
    {"gelu_python", WN_GELU},
    {"gelu_python_tanh", WN_GELU_TANH},
    {"gelu_accurate", WN_GELU_TANH},
    {"relu", WN_RELU},
    {"quick_gelu", WN_QUICK_GELU},
    {"relu2", WN_RELU_SQUARED},
    {"tanh", WN_TANH},
};

bool wn_nonlinearity_find(const char *name, enum wn_nonlinearity *kind)
{
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(names[i].name, name)) {
            *kind = names[i].kind;
            return true;
        }
    return false;
}

void wn_nonlinear(enum wn_nonlinearity kind, float *x, const float *up, int64_t count)
{
    static void (*const functions[])(float *, const float *, int64_t) = {[WN_SILU] = silu,
                                                                         [WN_GELU] = gelu,
                                                                         [WN_GELU_TANH] = gelu_tanh,
                                                                         [WN_RELU] = relu,
                                                                         [WN_QUICK_GELU] = quick_gelu,
                                                                         [WN_RELU_SQUARED] = relu_squared,
                                                                         [WN_TANH] = tanh_of};
#pragma omp parallel for schedule(static) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK)
        functions[kind](x + first, up ? up + first : NULL, block_end(first, count) - first);
}

static double nonlinear_ref(enum wn_nonlinearity kind, double x)
{
    switch (kind) {
    case WN_SILU:
        return x / (1 + exp(-x));
    case WN_GELU:
        return 0.5 * x * erfc(-x * 0.70710678118654752440);
    case WN_GELU_TANH:
        return 0.5 * x * (1 + tanh(0.79788456080286535588 * (x + 0.044715 * x * x * x)));
    case WN_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case WN_RELU_SQUARED:
        return x < 0 ? 0 : x * x;
    case WN_TANH:
        return tanh(x);
    default:
        return x < 0 ? 0 : x;
    }
}

void wn_nonlinear_ref(enum wn_nonlinearity kind, float *x, const float *up, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(nonlinear_ref(kind, x[i]) * (up ? up[i] : 1));
}

void wn_soft_cap(float *x, float cap, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = block_end(first, count);
#pragma omp simd
        for (int64_t i = first; i < end; i++)
            x[i] = nn_soft_cap(x[i], cap);
    }
}

/* ---- sums and products ---- */

void wn_scale(float *x, float factor, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = block_end(first, count);
#pragma omp simd
        for (int64_t i = first; i < end; i++)
            x[i] *= factor;
    }
}

void wn_add(float *hidden, const float *x, int64_t count)
{
#pragma omp parallel for schedule(static) if (count > SERIAL_WORK)
    for (int64_t first = 0; first < count; first += BLOCK) {
        int64_t end = block_end(first, count);
#pragma omp simd
        for (int64_t i = first; i < end; i++)
            hidden[i] += x[i];
    }
}
