/*
 * linalg.h: dense linear algebra by canonical tiles.
 *
 * A BLAS call may change the last bits of a result when the number of rows, the place of a row or the number of threads
 * changes. So the library is never left to decide: work is cut into tiles whose shape depends on the operand shapes
 * only, each tile is one single-threaded BLAS call, and OpenMP hands out whole tiles. Results are therefore the same
 * for any number of threads. The tile shape is part of the recorded protocol (wn_linalg_protocol).
 *
 * All matrices are row-major fp32. Nothing is collective. Call from serial code: these functions open their own OpenMP
 * regions.
 */
#ifndef WINNOW_LINALG_H
#define WINNOW_LINALG_H

#include <winnow/base.h>

#define WN_TILE_ROWS    512  /* token rows of a tile */
#define WN_TILE_COLUMNS 1024 /* output columns of a tile */

/*
 * Sets BLAS to one thread per call (see wn_blas_begin). Fails (WN_ERR_UNSUPPORTED, with what to install) when the
 * loaded OpenBLAS is the pthread flavour, which fights with OpenMP. Any other CBLAS is accepted. An OpenBLAS that is
 * older than the processor takes it for a Prescott of 2004; then kernels are chosen by the processor's features, unless
 * the user set OPENBLAS_CORETYPE. Call at start, before any other thread or BLAS call.
 */
wn_status wn_linalg_start(void);

/*
 * Around a BLAS or LAPACK call from serial code: OpenBLAS in its OpenMP flavour takes omp_get_max_threads() threads for
 * it, whatever openblas_set_num_threads() said, and other bits come out. Inside an active parallel region a call is
 * single-threaded by itself.
 *
 *     int threads = wn_blas_begin();
 *     cblas_ssyrk(...);
 *     wn_blas_end(threads);
 */
int wn_blas_begin(void);
void wn_blas_end(int threads);

/* "openblas 0.3.21 SkylakeX openmp; tile 512x1024": for provenance. Static storage. */
const char *wn_linalg_protocol(void);

/*
 * y = x W^T (+ bias): x [rows, in], w [out, in], bias [out] or NULL, y [rows, out]. y must not overlap x or w.
 * Tiles of WN_TILE_ROWS x WN_TILE_COLUMNS, ragged at the ends.
 */
void wn_linear(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias, float *y);
/* The same with rows of y `stride` floats apart (stride >= out). */
void wn_linear_strided(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                       float *y, int64_t stride);
/* The plain loop in double, kept for tests. */
void wn_linear_ref(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias, float *y);

/* sums[j] += sum over rows of x[., j]^2, in double, rows in order: the same for any number of threads. */
void wn_add_column_squares(const float *x, int64_t rows, int64_t columns, double *sums);

/* Sum of squares of a - b (b may be NULL: of a) over count elements; fixed blocks of 4096 added in order, in double. */
double wn_sum_squared_difference(const float *a, const float *b, int64_t count);

/* True when all of x[0..count) is finite. */
bool wn_all_finite(const float *x, int64_t count);

#endif
