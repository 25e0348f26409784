/* strips.h: inside kernels: sums of few rows on weights that are stored in 32-bit words of codes or bf16. */
#ifndef WINNOW_KERNELS_STRIPS_H
#define WINNOW_KERNELS_STRIPS_H

#include <winnow/kernels.h>

enum { STRIP = WN_FEW_STRIP };

/* What a kernel reads. Bits: 2, 3, 4, 8, or 16: bf16. */
struct strips {
    const uint8_t *values; /* rows of codes or numbers, one behind the other */
    int64_t row_bytes, in;
    int bits;
    int64_t group, n_groups; /* columns of a grid */
    float *scales;           /* [strips, n_groups, STRIP]; bf16: NULL */
    float *zeros;            /* the same; NULL: all are `zero` */
    float zero;
};

/* As wn_row_source.strip: `count` strips from strip number `first` on. */
typedef void strips_kernel(const struct strips *strips, int64_t first, int64_t count, const float *x, int64_t rows,
                           float *sums);
#ifdef __x86_64__
strips_kernel strips_avx2, strips_avx512;
#endif

#endif
