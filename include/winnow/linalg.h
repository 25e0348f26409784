/* SPDX-License-Identifier: Apache-2.0 */
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
 * Sets BLAS to one thread per call (see wn_blas_begin); the number of OpenMP threads stays as it was. OpenBLAS, BLIS
 * and MKL are known; any other CBLAS is accepted, see wn_linalg_advice. Then a few products of whole numbers, exact in
 * fp32, are compared with sums in double (some 25 milliseconds). WN_ERR_UNSUPPORTED, with what to do: the loaded
 * OpenBLAS is the pthread flavour, which fights with OpenMP, or a product is wrong, as with kernels that do not fit the
 * processor. WN_ERR_MEMORY: a limit of the address space leaves no room for the buffers of OpenBLAS, one for each of
 * the present number of threads.
 *
 * An OpenBLAS that is older than the processor takes it for a Prescott of 2004; then kernels are chosen by the
 * processor's features, unless the user set OPENBLAS_CORETYPE. Call at start, before any other thread or BLAS call.
 */
wn_status wn_linalg_start(void);

/*
 * After wn_linalg_start: one line on what makes the products slower than this processor could have them, NULL when
 * there is nothing to say: kernels older than the processor, by OPENBLAS_CORETYPE or an old OpenBLAS, or a library
 * whose threads winnow cannot set. Static storage.
 */
const char *wn_linalg_advice(void);

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

/*
 * Library, version, kernels and tile for provenance: "openblas 0.3.21 SkylakeX openmp; tile 512x1024", "blis 0.9.0
 * skx; tile ...", "mkl 2024.0 avx512; tile ...", "cblas; tile ...". Static storage.
 */
const char *wn_linalg_protocol(void);

/* ---- linear maps ---- */

/*
 * What the linears of a forward compute with. WN_COMPUTE_BF16: inputs and weights are rounded to bf16 (8 bits of
 * mantissa, ties to even), their products and sums are in fp32. The tiles are the same, so are the bits on any number
 * of threads; they differ between instruction sets, which wn_bf16_protocol names.
 */
enum wn_compute { WN_COMPUTE_F32, WN_COMPUTE_BF16 };

/*
 * Loads oneDNN and compares a few products of whole numbers with exact sums; again: nothing. WN_ERR_UNSUPPORTED, with
 * what to do: built without oneDNN, the library is not there, or the processor has no such products. Call it, from
 * serial code, before anything is computed with WN_COMPUTE_BF16.
 */
wn_status wn_bf16_start(void);
/* After wn_bf16_start, for provenance: "linears in bf16 by onednn 2.6.3 avx512_core_bf16". Static storage. */
const char *wn_bf16_protocol(void);
/* out[i] = x[i] rounded to bf16, may be in place. */
void wn_round_to_bf16(const float *x, int64_t count, float *out);

/*
 * Instruction sets of our own kernels (few rows, packed weights), found when the program runs, whatever the compiler
 * was told. They give the same bits: the choice is one of time. AVX-512: F, VL, BW, DQ; AVX2: with FMA.
 */
enum wn_isa { WN_ISA_PLAIN, WN_ISA_AVX2, WN_ISA_AVX512 };
/* The widest that this processor and wn_isa_limit allow. */
enum wn_isa wn_isa(void);
/* From now on none above `most`; WN_ISA_AVX512 takes it back. From serial code: for tests and benchmarks. */
void wn_isa_limit(enum wn_isa most);
/* "c", "avx2", "avx512". */
const char *wn_isa_name(enum wn_isa isa);

/*
 * y = x W^T (+ bias): x [rows, in], w [out, in], bias [out] or NULL, y [rows, out]. y must not overlap x or w.
 * Tiles of WN_TILE_ROWS x WN_TILE_COLUMNS, ragged at the ends.
 */
void wn_linear(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias, float *y);
/* The same with rows of y `stride` floats apart (stride >= out). */
void wn_linear_strided(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                       float *y, int64_t stride);
/*
 * Weights that are made when they are needed, because they are stored in fewer bytes: take writes rows first .. end-1
 * of w as fp32 to out [end - first, in]. Threads call it side by side, so it has no regions of its own.
 */
struct wn_row_source {
    void (*take)(const void *context, int64_t first, int64_t end, float *out);
    const void *context; /* borrowed */
    /*
     * Or NULL: the sums of few rows from what is stored, with the bits of the weights of take: `count` strips, 1 to
     * WN_FEW_STRIPS, each of WN_FEW_STRIP outputs, from output `first` on (a multiple of that; all are there), of 1 to
     * 32 rows of x, into sums [count, rows, WN_FEW_STRIP]. x lies in strips [ceil(in / WN_FEW_STRIP), rows,
     * WN_FEW_STRIP], zeros behind column in - 1. Every sum begins with 0; then sum = fma(x[k], w[k], sum), column by
     * column in order. Threads call it side by side.
     */
    void (*strip)(const void *context, int64_t first, int64_t count, const float *x, int64_t rows, float *sums);
};
#define WN_FEW_STRIPS 8
#define WN_FEW_STRIP  16
#define WN_FEW_NARROW 8
/* One of several linears that read the same x. */
struct wn_linear_map {
    const float *w, *bias; /* [out, in]; [out] or NULL */
    int64_t out;
    float *y; /* [rows, out], rows `stride` floats apart */
    int64_t stride;
    const struct wn_row_source *source; /* where w is NULL; a thread takes a panel of WN_TILE_COLUMNS rows at a time */
};
/*
 * All of them at once on runs of rows: rows row[i] .. row[i+1]-1 of x [rows, in] are run i, row[0] = 0. Tiles begin
 * anew with every run, so the bits are those of a call of wn_linear for each run and map, while all tiles of all runs
 * and maps are dealt to the threads together: a single run has too few for many threads.
 */
void wn_linears(const float *x, int64_t n_runs, const int64_t *row, int64_t in, const struct wn_linear_map *maps,
                int n_maps);
/* The same in another arithmetic; WN_COMPUTE_F32 is wn_linears. */
void wn_linears_by(enum wn_compute compute, const float *x, int64_t n_runs, const int64_t *row, int64_t in,
                   const struct wn_linear_map *maps, int n_maps);
/* Bytes it allocates meanwhile beyond WN_COMPUTE_F32, for inputs and outputs of linears up to that width. */
int64_t wn_linears_bytes(enum wn_compute compute, int64_t rows, int64_t in, int64_t out, int threads);
/*
 * The same for few rows, rows of y `stride` floats apart: weights are read once per 32 rows, in place. A number of y is
 * sum + bias, where sum begins with 0 and becomes fma(x[k], w[k], sum) column by column in order: a row has the same
 * bits whatever other rows are in the call, and on every instruction set; wn_linear gives other bits, so which of the
 * two is called must follow from the data. Allocates wn_few_rows_inputs(in) floats while it runs, and 16 x in more for
 * each thread when `out` is no multiple of 16.
 */
void wn_linear_few_rows(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias,
                        float *y, int64_t stride);
/* The same bits on weights from a source, which is asked for a few rows at a time: besides, wn_few_rows_panel(in)
 * floats for every thread. */
void wn_linear_few_rows_from(const float *x, int64_t rows, int64_t in, const struct wn_row_source *source, int64_t out,
                             const float *bias, float *y, int64_t stride);
int64_t wn_few_rows_panel(int64_t in);
/* The same bits on weights stored as bf16, little-endian and not aligned, as a file has them: read in place where `in`
 * is a multiple of 32 and a processor has AVX2. Allocates as the other does. */
void wn_linear_few_rows_stored(const float *x, int64_t rows, int64_t in, const uint8_t *w, int64_t out,
                               const float *bias, float *y, int64_t stride);
/* The same on inputs and weights (w, or where that is NULL the source) rounded to bf16: exact products, sums in fp32.
 * Besides, rows x in floats. */
void wn_linear_few_rows_bf16(const float *x, int64_t rows, int64_t in, const float *w,
                             const struct wn_row_source *source, int64_t out, const float *bias, float *y,
                             int64_t stride);
int64_t wn_few_rows_inputs(int64_t in);
/* The plain loop in double, kept for tests. */
void wn_linear_ref(const float *x, int64_t rows, int64_t in, const float *w, int64_t out, const float *bias, float *y);

/* sums[j] += sum over rows of x[., j]^2, in double, rows in order: the same for any number of threads. */
void wn_add_column_squares(const float *x, int64_t rows, int64_t columns, double *sums);

/* sums[j] += sum over rows of |x[., j]|, in double, rows in order. */
void wn_add_column_magnitudes(const float *x, int64_t rows, int64_t columns, double *sums);

/* maxima[j] = the larger of itself and |x[., j]| over all rows; NaN is larger than all numbers. maxima >= 0. */
void wn_take_column_maxima(const float *x, int64_t rows, int64_t columns, float *maxima);

/* Sum of squares of a - b (b may be NULL: of a) over count elements; fixed blocks of 4096 added in order, in double. */
double wn_sum_squared_difference(const float *a, const float *b, int64_t count);

/* True when all of x[0..count) is finite. */
bool wn_all_finite(const float *x, int64_t count);

/* 64 bits that follow from `before` and the bits of all values in order, the same for any number of threads: numbers
 * that differ in one bit give another one. Against accidents, not against intent. */
uint64_t wn_fingerprint(uint64_t before, const float *values, int64_t count);

/* ---- second moments ---- */

/* Edge of the square tiles of a matrix along so many rows or columns: 192 below 1024, 256 below 4096, else 512. */
int64_t wn_square_tile(int64_t length);

/*
 * The upper triangle of h [columns, columns] += x^T x, x [rows, columns]; below the diagonal h is not defined until
 * wn_symmetrize. Square tiles of h (wn_square_tile), ssyrk on the diagonal and sgemm above it. How a long x is cut into
 * calls decides the last bits: cut it by the data, never by ranks or threads.
 */
void wn_add_second_moments(const float *x, int64_t rows, int64_t columns, float *h);
/* The same for runs of rows, run i being rows row[i] .. row[i+1]-1 of x: the bits of one call for each, in one go. */
void wn_add_second_moments_of_runs(const float *x, int64_t n_runs, const int64_t *row, int64_t columns, float *h);
/* Copies what is above the diagonal below it. */
void wn_symmetrize(float *h, int64_t columns);

/*
 * sums[i] = tr(D_i H D_i^T), the squared error of the outputs of a linear whose weights are off by D_i [rows, columns],
 * where H [columns, columns] is symmetric. Products in fp32 by square tiles, their sum in double in a fixed order. Each
 * costs rows * columns * (columns + a tile) operations; several at once keep more threads busy.
 */
void wn_quadratic_forms(const float *const *d, int count, int64_t rows, int64_t columns, const float *h, double *sums);
/* Bytes allocated meanwhile. */
int64_t wn_quadratic_forms_bytes(int count, int64_t rows, int64_t columns, int threads);
/* The form of D = a - b, which is allocated; b may be NULL: D = a. */
double wn_quadratic_form(const float *a, const float *b, int64_t rows, int64_t columns, const float *h);

/* ---- the factor of the inverse second moments ---- */

/* In which order a solver goes through columns: as stored; by descending H_jj, ties by lower column; or as told. */
enum wn_column_order { WN_ORDER_NATURAL, WN_ORDER_ACTIVATION, WN_ORDER_GIVEN };

/*
 * U [width, width], upper triangular, (P H P^T + lambda I)^-1 = U^T U: what the column sweep of SparseGPT and GPTQ
 * reads (Frantar et al., arXiv:2210.17323, section 3.3, step 3). Made as their code does it: H is scaled, a dead column
 * (H_jj = 0) gets H_jj = 1, lambda = percdamp * mean(diag H) with dead ones included, P puts columns in order.
 */
struct wn_factor {
    int64_t width;
    enum wn_column_order column_order;
    double percdamp;      /* asked for */
    double percdamp_used; /* more when the factorization broke down */
    int damping_steps;    /* times that percdamp was multiplied by 10 (from 0: set to 0.001) */
    double lambda, scale;
    int64_t n_dead;
    uint8_t *dead;  /* [width] 1: column j of W is dead; owned */
    int64_t *order; /* [width] column of W at place i, NULL: natural; owned */
    float *upper;   /* [width, width] row-major, 0 below the diagonal; owned */
    /* SpQR's order of steps: a dead column counts as 0 in the mean and for P, and has exactly 1 after damping. */
    bool damp_first;
};

/*
 * h [width, width] symmetric; the factor belongs to scale * h. When the matrix is not positive definite in fp32, the
 * damping grows up to percdamp 1; then, or when h is not finite: WN_ERR_NUMERIC naming `name`. Nothing has to be
 * released after an error. 2/3 width^3 operations, all threads, the same bits for any number of them.
 */
wn_status wn_factor_compute(const char *name, const float *h, int64_t width, double scale, double percdamp,
                            enum wn_column_order column_order, struct wn_factor *factor);
/* The same with damp_first, in the order [width] given (copied); never in a cache. */
wn_status wn_factor_compute_ordered(const char *name, const float *h, int64_t width, double scale, double percdamp,
                                    const int64_t *order, struct wn_factor *factor);
void wn_factor_release(struct wn_factor *factor);

/*
 * Factors of one H, kept for all linears and points that share it. Zero-initialise; release when H changes. Not for
 * two threads at once.
 */
struct wn_factor_cache {
    int64_t count;
    struct wn_factor **factors; /* owned */
};
/* The factor of this cache with these settings, computed when it is not there; valid until the cache is released. */
wn_status wn_factor_cache_get(struct wn_factor_cache *cache, const char *name, const float *h, int64_t width,
                              double scale, double percdamp, enum wn_column_order column_order,
                              const struct wn_factor **factor);
/* The same with damp_first. */
wn_status wn_factor_cache_get_damped_first(struct wn_factor_cache *cache, const char *name, const float *h,
                                           int64_t width, double scale, double percdamp,
                                           enum wn_column_order column_order, const struct wn_factor **factor);
void wn_factor_cache_release(struct wn_factor_cache *cache);

#endif
