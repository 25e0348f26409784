/* SPDX-License-Identifier: Apache-2.0 */
/* Transformer numerics: fast functions against their plain twins, equal bits on 1 to 4 threads. */
#include <omp.h>

#include <winnow/linalg.h>
#include <winnow/nn.h>

#include "../../src/nn/math.h"
#include "nn_test.h"

/* ---- exponentials ---- */

static void check_exp(void)
{
    double worst = 0;
    for (int i = -870000; i <= 887000; i += 7) {
        float x = (float)i / 1e4f;
        double expected = exp(x), ulp = ldexp(1, ilogb(expected) - 23);
        worst = fmax(worst, fabs(nn_exp(x) - expected) / ulp);
    }
    CHECK_NEAR(worst, 0, 1.5);
    CHECK(nn_exp(0.0f) == 1.0f && nn_exp(-0.0f) == 1.0f);
    CHECK(nn_exp(-87.5f) == 0.0f && nn_exp(-INFINITY) == 0.0f && nn_exp(-1e30f) == 0.0f);
    CHECK(nn_exp(88.8f) == INFINITY && nn_exp(INFINITY) == INFINITY);
    CHECK(isnan(nn_exp(NAN)));
    worst = 0;
    for (int i = -860000; i <= 0; i += 7) {
        float x = (float)i / 1e4f;
        double expected = exp(x), ulp = ldexp(1, ilogb(expected) - 23);
        worst = fmax(worst, fabs(nn_exp_negative(x) - expected) / ulp);
    }
    CHECK_NEAR(worst, 0, 4);
    CHECK(nn_exp_negative(0.0f) == 1.0f && isnan(nn_exp_negative(NAN)));
    CHECK(nn_exp_negative(-86.5f) == 0.0f && nn_exp_negative(-INFINITY) == 0.0f && nn_exp_negative(-1e30f) == 0.0f);
}

static void check_double_functions(void)
{
    for (double a = 1e-9; a < 690; a *= 1.01) {
        CHECK_NEAR(nn_expm1_negative(a) / expm1(-a), 1, 1e-15);
        double x = -0.5 * fmin(a, 1);
        CHECK_NEAR(nn_log1p_half(x) / log1p(x), 1, 1e-14);
    }
    CHECK(nn_expm1_negative(0) == 0 && nn_expm1_negative(INFINITY) == -1);
    CHECK(nn_log1p_half(0) == 0);
    CHECK(isnan(nn_expm1_negative(NAN)));
    for (double x = 0; x < 200000; x = x * 1.001 + 0.01) {
        float s, c;
        nn_sine_cosine(x, &s, &c);
        CHECK_NEAR(s, sin(x), 6e-8);
        CHECK_NEAR(c, cos(x), 6e-8);
    }
}

/* Largest distance from the function of double, in units of the last place of the result. */
static double worst_ulp(float (*fast)(float), double (*exact)(double), double most)
{
    double worst = 0;
    for (double x = 1e-6; x < most; x *= 1.0003) {
        double expected = exact((float)x);
        worst = fmax(worst, fabs((double)fast((float)x) - expected) / ldexp(1, ilogb(expected) - 23));
        CHECK(fast(-(float)x) == -fast((float)x));
    }
    return worst;
}

static void check_tanh_erf(void)
{
    CHECK_NEAR(worst_ulp(nn_tanh, tanh, 200), 0, 2);
    CHECK_NEAR(worst_ulp(nn_erf, erf, 200), 0, 2);
    CHECK(nn_tanh(0) == 0 && nn_tanh(INFINITY) == 1 && nn_tanh(-INFINITY) == -1 && isnan(nn_tanh(NAN)));
    CHECK(nn_erf(0) == 0 && nn_erf(INFINITY) == 1 && nn_erf(-INFINITY) == -1 && isnan(nn_erf(NAN)));
    CHECK_NEAR(nn_soft_cap(1e9f, 30), 30, 0);
    CHECK_NEAR(nn_soft_cap(0.01f, 30), 0.01, 1e-9);
}

/* ---- row functions ---- */

struct norm {
    bool layer, bias;
    float offset;
};

static void norm_rows(const struct norm *norm, bool plain, const float *x, int64_t rows, int64_t width,
                      const float *weight, const float *bias, float *y)
{
    if (norm->layer)
        (plain ? wn_layer_norm_ref : wn_layer_norm)(x, rows, width, weight, norm->bias ? bias : NULL, 1e-3, y);
    else
        (plain ? wn_rms_norm_ref : wn_rms_norm)(x, rows, width, weight, norm->offset, 1e-3, y);
}

/* Rows whose mean is far from 0: a variance of one pass would lose its digits. */
static void check_norm(const struct norm *norm, int64_t rows, int64_t width)
{
    float *x = random_floats(rows * width, 1, 3), *weight = random_floats(width, 2, 2),
          *bias = random_floats(width, 3, 1);
    float *expected = wn_alloc(rows * width, sizeof *x), *first = wn_alloc(rows * width, sizeof *x);
    for (int64_t i = 0; i < rows * width; i++)
        x[i] += norm->layer ? 1000 : 0;
    norm_rows(norm, true, x, rows, width, weight, bias, expected);
    omp_set_num_threads(1);
    norm_rows(norm, false, x, rows, width, weight, bias, first);
    CHECK_NEAR(worst_difference(first, expected, rows * width), 0, 2e-6);
    for (int threads = 2; threads <= 4; threads++) {
        float *y = copy_of(x, rows * width);
        test_set_threads(threads);
        norm_rows(norm, false, y, rows, width, weight, bias, y);
        CHECK(same_bits(y, first, rows * width));
        wn_free(y);
    }
    wn_free(x);
    wn_free(weight);
    wn_free(bias);
    wn_free(expected);
    wn_free(first);
}

/* By hand: mean 2, variance 2/3 of the population (1 of a sample), mean square 14/3. */
static void check_norm_values(void)
{
    const float x[] = {1, 2, 3}, weight[] = {2, 2, 3}, bias[] = {0.5f, 0, 0};
    float y[3];
    wn_layer_norm(x, 1, 3, weight, bias, 1.0 / 3, y);
    CHECK_NEAR(y[0], -2 + 0.5, 1e-6);
    CHECK_NEAR(y[1], 0, 1e-6);
    CHECK_NEAR(y[2], 3, 1e-6);
    wn_rms_norm(x, 1, 3, weight, 1, 13.0 / 3, y);
    CHECK_NEAR(y[0], 1, 1e-6);
    CHECK_NEAR(y[2], 4, 1e-6);
}

static void check_nonlinear(enum wn_nonlinearity kind, bool gated, int64_t count)
{
    float *x = random_floats(count, 3, 10), *up = gated ? random_floats(count, 4, 2) : NULL;
    x[0] = -200;
    float *expected = copy_of(x, count), *first = copy_of(x, count);
    wn_nonlinear_ref(kind, expected, up, count);
    omp_set_num_threads(1);
    wn_nonlinear(kind, first, up, count);
    CHECK_NEAR(worst_difference(first, expected, count), 0, kind == WN_RELU_SQUARED ? 1e-4 : 1e-5); /* of larger ones */
    for (int threads = 2; threads <= 4; threads++) {
        float *y = copy_of(x, count);
        test_set_threads(threads);
        wn_nonlinear(kind, y, up, count);
        CHECK(same_bits(y, first, count));
        wn_free(y);
    }
    x[1] = NAN;
    wn_nonlinear(kind, x, up, count);
    CHECK(isnan(x[1]));
    wn_free(x);
    wn_free(up);
    wn_free(expected);
    wn_free(first);
}

/* Values of torch.nn.functional at 1 and -0.5; the two forms of gelu differ in the fourth digit. */
static void check_nonlinear_values(void)
{
    static const struct {
        const char *name;
        double one, minus_half;
    } known[] = {
        {"silu", 0.7310585786, -0.1887703344},
        {"gelu", 0.8413447461, -0.1542687694},
        {"gelu_new", 0.8411919906, -0.1542859902},
        {"gelu_pytorch_tanh", 0.8411919906, -0.1542859902},
        {"relu", 1, 0},
        {"gelu_python", 0.8413447461, -0.1542687694},
        {"gelu_accurate", 0.8411919906, -0.1542859902},
        {"quick_gelu", 0.8457957659, -0.1496115634},
        {"relu2", 1, 0},
        {"tanh", 0.7615941560, -0.4621171573},
    };
    enum wn_nonlinearity kind = WN_SILU;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        float x[] = {1, -0.5f};
        CHECK(wn_nonlinearity_find(known[i].name, &kind));
        wn_nonlinear(kind, x, NULL, 2);
        CHECK_NEAR(x[0], known[i].one, 1e-7);
        CHECK_NEAR(x[1], known[i].minus_half, 1e-7);
    }
    CHECK(!wn_nonlinearity_find("relu6", &kind) && !wn_nonlinearity_find("", &kind));
}

static void check_add_scale(int64_t count)
{
    float *x = random_floats(count, 3, 10), *y = random_floats(count, 4, 2);
    for (int threads = 1; threads <= 4; threads++) {
        float *sum = copy_of(x, count), *product = copy_of(x, count), *capped = copy_of(x, count);
        test_set_threads(threads);
        wn_add(sum, y, count);
        wn_scale(product, 3.5f, count);
        wn_soft_cap(capped, 3, count);
        for (int64_t i = 0; i < count; i++) {
            CHECK(sum[i] == x[i] + y[i] && product[i] == 3.5f * x[i] && capped[i] == nn_soft_cap(x[i], 3));
            CHECK_NEAR(capped[i], 3 * tanh(x[i] / 3.0), 1e-6);
        }
        wn_free(sum);
        wn_free(product);
        wn_free(capped);
    }
    wn_free(x);
    wn_free(y);
}

/* ---- sums over the vocabulary ---- */

static void check_log_sum_exp(int64_t count)
{
    float *x = random_floats(count, 12, 20);
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += exp(x[i]);
    CHECK_NEAR(wn_log_sum_exp(x, count), log(sum), 1e-7);
    for (int64_t i = 0; i < count; i++)
        x[i] = 1000;
    CHECK_NEAR(wn_log_sum_exp(x, count), 1000 + log((double)count), 1e-9);
    wn_free(x);
}

static void divergence_ref(const float *p, const float *q, int64_t count, double *kl, double *js)
{
    double lse_p = 0, lse_q = 0;
    for (int64_t i = 0; i < count; i++) {
        lse_p += exp(p[i]);
        lse_q += exp(q[i]);
    }
    *kl = *js = 0;
    for (int64_t i = 0; i < count; i++) {
        double a = p[i] - log(lse_p), b = q[i] - log(lse_q), m = log((exp(a) + exp(b)) / 2);
        *kl += exp(a) * (a - b);
        *js += 0.5 * exp(a) * (a - m) + 0.5 * exp(b) * (b - m);
    }
}

static void check_divergence(int64_t count, double change)
{
    float *p = random_floats(count, 13, 8), *q = random_floats(count, 14, change);
    double kl, js, expected_kl, expected_js, reverse_kl, reverse_js;
    for (int64_t i = 0; i < count; i++)
        q[i] += p[i];
    double lse_p = wn_log_sum_exp(p, count), lse_q = wn_log_sum_exp(q, count);
    divergence_ref(p, q, count, &expected_kl, &expected_js);
    wn_row_divergence(p, lse_p, q, lse_q, count, &kl, &js);
    CHECK_NEAR(kl / expected_kl, 1, 1e-6);
    CHECK_NEAR(js / expected_js, 1, 1e-6);
    CHECK_NEAR(wn_row_kl(p, lse_p, q, lse_q, count) / expected_kl, 1, 2e-6);
    wn_row_divergence(q, lse_q, p, lse_p, count, &reverse_kl, &reverse_js);
    CHECK_NEAR(reverse_js / js, 1, 1e-12);
    wn_row_divergence(p, lse_p, p, lse_p, count, &kl, &js);
    CHECK(kl == 0 && js == 0);
    CHECK(wn_row_kl(p, lse_p, p, lse_p, count) == 0);
    wn_free(p);
    wn_free(q);
}

/* The numbers of the ignite documentation of JSDivergence, and rows that do not overlap: ln 2. */
static void check_divergence_values(void)
{
    const float base[3][3] = {{0, -2.3026f, -2.3026f}, {1.3863f, 1.6094f, 1.6094f}, {0, 0.6931f, 1.0986f}};
    const float other[3][3] = {{0, 0.6931f, 1.0986f}, {1.3863f, 1.6094f, 1.6094f}, {0, -2.3026f, -2.3026f}};
    const float left[2] = {0, -200}, right[2] = {-200, 0};
    double kl_sum = 0, js_sum = 0, kl, js;
    for (int r = 0; r < 3; r++) {
        wn_row_divergence(base[r], wn_log_sum_exp(base[r], 3), other[r], wn_log_sum_exp(other[r], 3), 3, &kl, &js);
        kl_sum += kl;
        double alone = wn_row_kl(base[r], wn_log_sum_exp(base[r], 3), other[r], wn_log_sum_exp(other[r], 3), 3);
        CHECK_NEAR(alone, kl, 1e-6 * kl);
        js_sum += js;
    }
    CHECK_NEAR(js_sum / 3, 0.162665, 1e-5);
    CHECK_NEAR(kl_sum / 3, 0.722030, 1e-5);
    wn_row_divergence(left, wn_log_sum_exp(left, 2), right, wn_log_sum_exp(right, 2), 2, &kl, &js);
    CHECK_NEAR(kl, 200, 1e-6);
    CHECK_NEAR(wn_row_kl(left, wn_log_sum_exp(left, 2), right, wn_log_sum_exp(right, 2), 2), 200, 1e-4);
    CHECK_NEAR(js, log(2), 1e-9);
}

static void check_largest(void)
{
    const float x[] = {1, 5, -2, 5, 3, 4, 5};
    float values[7];
    int32_t indices[7];
    CHECK(wn_argmax(x, 7) == 1 && wn_argmax(x, 1) == 0);
    wn_top_k(x, 7, 4, values, indices);
    CHECK(indices[0] == 1 && indices[1] == 3 && indices[2] == 6 && indices[3] == 5);
    CHECK(values[0] == 5 && values[3] == 4);
    wn_top_k(x, 7, 7, values, indices);
    CHECK(indices[6] == 2 && indices[4] == 4 && values[6] == -2);
    wn_top_k(x, 7, 0, values, indices);
    float *many = random_floats(5000, 15, 1);
    for (int k = 1; k <= 7; k++) {
        wn_top_k(many, 5000, k, values, indices);
        int64_t larger = 0;
        for (int i = 0; i < 5000; i++)
            larger += many[i] > values[k - 1];
        CHECK(larger == k - 1 && many[indices[k - 1]] == values[k - 1]);
    }
    CHECK(wn_argmax(many, 5000) == indices[0]);
    wn_free(many);
}

int main(void)
{
    const struct norm norms[] = {{.offset = 0}, {.offset = 1}, {.layer = true}, {.layer = true, .bias = true}};
    CHECK_OK(wn_linalg_start());
    check_exp();
    check_double_functions();
    check_tanh_erf();
    for (size_t i = 0; i < sizeof norms / sizeof norms[0]; i++) {
        check_norm(&norms[i], 3, 5);
        check_norm(&norms[i], 300, 323);
    }
    check_norm_values();
    for (int kind = WN_SILU; kind <= WN_TANH; kind++)
        for (int gated = 0; gated < 2; gated++) {
            check_nonlinear((enum wn_nonlinearity)kind, gated, 13);
            check_nonlinear((enum wn_nonlinearity)kind, gated, 100003);
        }
    check_nonlinear_values();
    check_add_scale(13);
    check_add_scale(100003);
    check_log_sum_exp(3);
    check_log_sum_exp(32001);
    check_divergence(1000, 1e-3);
    check_divergence(1001, 0.1);
    check_divergence(32000, 6);
    check_divergence_values();
    check_largest();
    return test_finish();
}
