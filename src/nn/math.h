/* SPDX-License-Identifier: Apache-2.0 */
/*
 * math.h: exponentials that the compiler can put into vector registers: no branch, no table, no library call.
 * Private to src/nn. Each is the same formula for every element, wherever it stands in a vector.
 */
#ifndef WINNOW_NN_MATH_H
#define WINNOW_NN_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^k for -127 < k <= 128 (128 gives infinity). */
static inline float nn_power_of_two(int32_t k)
{
    uint32_t bits = (uint32_t)(k + 127) << 23;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/*
 * exp(x) within 1.5 ulp; results below FLT_MIN are 0 (no slow subnormal numbers), above FLT_MAX infinity, NaN stays.
 * x = n ln 2 + r with |r| <= ln(2)/2 (Cody and Waite: ln 2 in two parts), e^r by its Taylor series to r^7, times 2^n in
 * two steps, so that n = 128 still gives finite results. Adding 1.5 * 2^23 rounds to an integer and leaves it in the
 * low bits, without a cast that would be undefined for NaN.
 */
static inline float nn_exp(float x)
{
    const float magic = 12582912.0f;
    float bounded = x > 89.0f ? 89.0f : x;
    bounded = bounded < -88.0f ? -88.0f : bounded;
    float shifted = bounded * 1.44269504088896341f + magic;
    float n = shifted - magic;
    float r = bounded - n * 0.693145751953125f;
    r -= n * 1.42860682030941723e-6f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * (r * r) + r;
    p += 1.0f;
    uint32_t bits, magic_bits;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&magic_bits, &magic, sizeof magic_bits);
    int32_t k = (int32_t)(bits - magic_bits), half = k >> 1;
    float value = p * nn_power_of_two(half) * nn_power_of_two(k - half);
    return x < -87.3365447f ? 0.0f : value;
}

/*
 * The same for x <= 0 within 4 ulp, half the operations; results below e^-86 are 0. e^r = 1 + r p(r), p of degree 4
 * interpolates (e^r - 1) / r at Chebyshev's points (2e-7 relative).
 */
static inline float nn_exp_negative(float x)
{
    const float magic = 12582912.0f;
    float shifted = x * 1.44269504088896341f + magic;
    float n = shifted - magic;
    float r = x - n * 0.693145751953125f;
    r -= n * 1.42860682030941723e-6f;
    float p = 0.008363178931176662f;
    p = p * r + 0.0418756864964962f;
    p = p * r + 0.16666576266288757f;
    p = p * r + 0.4999937117099762f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 127) << 23;
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -86.0f ? 0.0f : p * power;
}

/*
 * exp(-a) - 1 for a >= 0 in double, with small relative error near 0: -a = n ln 2 + r, then 2^n (e^r - 1) + (2^n - 1)
 * with e^r - 1 by its Taylor series (the next term is below 5e-18 relative). NaN stays.
 */
static inline double nn_expm1_negative(double a)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    double x = a > 700.0 ? -700.0 : -a;
    double shifted = x * 1.4426950408889634074 + magic;
    double n = shifted - magic;
    double r = x - n * 6.93147180369123816490e-01;
    r -= n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800;
    p = p * r + 1.0 / 479001600;
    p = p * r + 1.0 / 39916800;
    p = p * r + 1.0 / 3628800;
    p = p * r + 1.0 / 362880;
    p = p * r + 1.0 / 40320;
    p = p * r + 1.0 / 5040;
    p = p * r + 1.0 / 720;
    p = p * r + 1.0 / 120;
    p = p * r + 1.0 / 24;
    p = p * r + 1.0 / 6;
    p = p * r + 0.5;
    p = p * (r * r) + r;
    uint64_t bits, magic_bits;
    memcpy(&bits, &shifted, sizeof bits);
    memcpy(&magic_bits, &magic, sizeof magic_bits);
    bits = (bits - magic_bits + 1023) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return power * p + (power - 1.0);
}

/* ln(1 + x) for -1/2 <= x <= 0 in double: 2 atanh(s), s = x / (2 + x), |s| <= 1/3, odd series to s^31. */
static inline double nn_log1p_half(double x)
{
    double s = x / (2.0 + x), t = s * s;
    double p = 1.0 / 31;
    p = p * t + 1.0 / 29;
    p = p * t + 1.0 / 27;
    p = p * t + 1.0 / 25;
    p = p * t + 1.0 / 23;
    p = p * t + 1.0 / 21;
    p = p * t + 1.0 / 19;
    p = p * t + 1.0 / 17;
    p = p * t + 1.0 / 15;
    p = p * t + 1.0 / 13;
    p = p * t + 1.0 / 11;
    p = p * t + 1.0 / 9;
    p = p * t + 1.0 / 7;
    p = p * t + 1.0 / 5;
    p = p * t + 1.0 / 3;
    p = p * t + 1.0;
    return 2.0 * s * p;
}

/*
 * tanh(x) within 2 ulp: a polynomial of x^2 up to 5/8 (interpolates at Chebyshev's points, 2e-8 relative), beyond it 1
 * - 2 / (e^2x + 1). NaN stays.
 */
static inline float nn_tanh(float x)
{
    float distance = fabsf(x), t = x * x;
    float p = -0.00615067f;
    p = p * t + 0.02104208f;
    p = p * t - 0.05386298f;
    p = p * t + 0.13332882f;
    p = p * t - 0.33333331f;
    float near = x + x * (t * p);
    float far = 1.0f - 2.0f / (nn_exp(2.0f * distance) + 1.0f);
    return distance < 0.625f ? near : copysignf(far, x);
}

/*
 * erf(x) within 2 ulp, after N. Juffa: x + x p(x^2) up to 0.92, beyond it 1 - e^q(|x|) with polynomials that make the
 * error even. NaN stays.
 */
static inline float nn_erf(float x)
{
    float distance = fabsf(x), t = x * x;
    float p = -5.96761703e-4f;
    p = p * t + 4.99119423e-3f;
    p = p * t - 2.67681349e-2f;
    p = p * t + 1.12819925e-1f;
    p = p * t - 3.76125336e-1f;
    p = p * t + 1.28379166e-1f;
    float near = x + x * p;
    float q = -1.72853470e-5f;
    q = q * distance + 3.83197126e-4f;
    q = q * distance - 3.88396438e-3f;
    q = q * distance + 2.42546219e-2f;
    q = q * distance - 1.06777877e-1f;
    q = q * distance - 6.34846687e-1f;
    q = q * distance - 1.28717512e-1f;
    q = q * distance - distance;
    float far = 1.0f - nn_exp(distance > 4.0f ? -100.0f : q);
    return distance < 0.921875f ? near : copysignf(far, x);
}

static inline float nn_soft_cap(float x, float cap)
{
    return cap * nn_tanh(x / cap);
}

/*
 * Sine and cosine of 0 <= x < 1e6 as floats: x = n pi/2 + r in double (pi/2 in two parts), Taylor series for |r| <=
 * pi/4 (next terms below 2e-9), the quadrant from the low bits of n.
 */
static inline void nn_sine_cosine(double x, float *sine, float *cosine)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52 */
    double shifted = x * 0.63661977236758134308 + magic;
    double n = shifted - magic;
    double r = x - n * 1.57079632673412561417;
    r -= n * 6.07710050650619224932e-11;
    double t = r * r;
    double s = r * (1.0 + t * (-1.0 / 6 + t * (1.0 / 120 + t * (-1.0 / 5040 + t * (1.0 / 362880)))));
    double c = 1.0 + t * (-0.5 + t * (1.0 / 24 + t * (-1.0 / 720 + t * (1.0 / 40320 + t * (-1.0 / 3628800)))));
    uint64_t quadrant;
    memcpy(&quadrant, &shifted, sizeof quadrant);
    double a = quadrant & 1 ? c : s, b = quadrant & 1 ? s : c;
    *sine = (float)(quadrant & 2 ? -a : a);
    *cosine = (float)((quadrant + 1) & 2 ? -b : b);
}

/* The largest value, by lanes that a compiler may put into a vector; -infinity for none. */
static inline float nn_maximum(const float *x, int64_t count)
{
    enum { LANES_OF_MAXIMUM = 32 };
    float lanes[LANES_OF_MAXIMUM], most = -INFINITY;
    for (int l = 0; l < LANES_OF_MAXIMUM; l++)
        lanes[l] = -INFINITY;
    int64_t i = 0;
    for (; i + LANES_OF_MAXIMUM <= count; i += LANES_OF_MAXIMUM)
        for (int l = 0; l < LANES_OF_MAXIMUM; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    for (int l = 0; l < LANES_OF_MAXIMUM; l++)
        most = lanes[l] > most ? lanes[l] : most;
    for (; i < count; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

#endif
