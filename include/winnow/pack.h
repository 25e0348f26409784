/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pack.h: a compressed linear in as few bytes as give back the same fp32 weights, bit for bit.
 *
 *     struct wn_packed packed;
 *     wn_pack(&compressed, &packed);                     what a method returned
 *     write(file, packed.bytes, packed.size);            in a file it looks as in memory
 *     wn_packed_rows(&packed, a, b, panel);              rows a .. b-1 as fp32, as often as needed
 *     wn_packed_release(&packed);
 *     ...
 *     WN_TRY(wn_packed_open(path, bytes, size, &packed));   bytes of a file, from whoever wrote them
 *
 * Never lossy. What is stored is the smallest of these forms; each is unpacked and compared before it is taken, and the
 * last one always holds:
 *
 *     which weights are stored   all; those kept by the mask; those that are not 0. A mask has one bit per weight. Rows
 *                                have a start, unless all runs of M columns keep the same number (N:M patterns, equal
 *                                rows): then nothing is stored for that.
 *     what is stored of each     the code of `bits` bits, when the method gave codes; else a number
 *     numbers                    bf16, fp16 or fp32, the first that holds all of an array (values, scales, zero points)
 *
 * So pruned weights of a bf16 checkpoint take 16 bits and a mask, updated ones (SparseGPT) 32; quantized ones their
 * codes, a scale per grid as fp32 as a rule, and nothing for zero points that are all the same. A mask beside codes
 * that can express 0 is stored where it pays: with 50 % zeros, 4 bits cost 1 + 2.
 *
 * Memory of wn_pack: wn_pack_bytes_while(). Depends on base, io and method. Not collective.
 */
#ifndef WINNOW_PACK_H
#define WINNOW_PACK_H

#include <winnow/method.h>

/* ---- the form ---- */

/* How the numbers of an array are stored; the values are those of the files. */
enum wn_packed_kind {
    WN_PACKED_NONE, /* no array: values that are all 0; no scale of inputs */
    WN_PACKED_F32,
    WN_PACKED_F16,
    WN_PACKED_BF16,
    WN_PACKED_CODES,    /* of values: on the grids; of zero points: the codes are the numbers */
    WN_PACKED_SECOND,   /* scales and zero points with a second level (method.h) */
    WN_PACKED_CONSTANT, /* zero points that are all the same */
    WN_PACKED_KINDS
};

/* Which weights are stored; others are +0. */
enum wn_packed_set { WN_PACKED_ALL, WN_PACKED_ROWS, WN_PACKED_RUNS, WN_PACKED_SETS };

/* Scales or zero points: one for each grid. */
struct wn_packed_numbers {
    enum wn_packed_kind kind;
    int bits;                                    /* of a code: CODES, SECOND */
    float constant;                              /* CONSTANT */
    const uint8_t *data;                         /* [grid rows, n_groups] numbers, or rows of codes */
    const uint8_t *second_scales, *second_zeros; /* SECOND: fp32 [runs of rows, n_groups] */
};

/*
 * A packed linear: sizes, and where its arrays lie in `bytes`, which may start anywhere (nothing is aligned). A row of
 * codes is a little-endian stream of bits, the lowest first, filled up to a whole byte.
 */
struct wn_packed {
    int64_t rows, columns;
    enum wn_packed_set set;
    int64_t run, kept;    /* RUNS: `kept` of each `run` columns are stored; run divides columns */
    const uint8_t *mask;  /* [rows, ceil(columns / 8)]: bit j % 8 of byte j / 8 is 1 when weight j is stored */
    const uint8_t *start; /* ROWS: uint32 [rows + 1] where the values of a row begin, in bytes */
    enum wn_packed_kind kind;
    int bits;              /* of a code; 0: values are numbers */
    const uint8_t *values; /* of the stored weights, row by row */
    /* Grids, with codes only: column j belongs to group j / group, or to groups[j]; group 0: one grid in all. */
    int64_t group, n_groups, grid_rows; /* grid_rows: 1 with one grid in all, else rows */
    int64_t run_rows;                   /* rows that share a grid of the second level */
    struct wn_packed_numbers scales, zeros;
    int group_bytes;       /* of an entry of `groups`: 2 or 4; 0: none */
    const uint8_t *groups; /* [columns] */
    /* Weights that replace those of their codes. */
    int64_t n_outliers;
    enum wn_packed_kind outlier_kind;
    const uint8_t *outlier_start;   /* uint32 [rows + 1] */
    const uint8_t *outlier_columns; /* [n_outliers] uint16 up to 65,536 columns, else uint32 */
    const uint8_t *outlier_values;
    enum wn_packed_kind input_kind; /* weights are divided by the scale of their column; NONE: 1 */
    const uint8_t *input_scale;     /* [columns] */

    const uint8_t *bytes;
    int64_t size;
    uint8_t *owned; /* `bytes`, when they belong to this object */
};

/* Packs weights and their code form; threads share the rows. Borrows nothing. */
void wn_pack(const struct wn_compressed *compressed, struct wn_packed *packed);
/* Bytes that wn_pack allocates at a time for a linear of this shape, its result included. */
int64_t wn_pack_bytes_while(int64_t rows, int64_t columns);
/* The size that wn_pack would give, which writes codes only: what numbers take is known without. Allocates no more. */
int64_t wn_pack_size(const struct wn_compressed *compressed);
/* Frees owned bytes; a zeroed object is fine. */
void wn_packed_release(struct wn_packed *packed);

/*
 * Looks at `size` bytes that may be anything and borrows them. WN_ERR_INPUT, "NAME: ...", when they are no packed
 * linear, are cut, or differ from what was written (SHA-256 at the end). What it lets pass can be unpacked safely.
 */
wn_status wn_packed_open(const char *name, const void *bytes, int64_t size, struct wn_packed *packed);

/* The same without the looks at checksum and arrays: only of bytes that wn_packed_open has passed before. */
wn_status wn_packed_view(const char *name, const void *bytes, int64_t size, struct wn_packed *packed);

/* Rows first .. end-1 as fp32 into out [end - first, columns]. Single-threaded: for a tile inside a parallel region. */
void wn_packed_rows(const struct wn_packed *packed, int64_t first, int64_t end, float *out);
/* Bytes that it allocates meanwhile. */
int64_t wn_packed_rows_bytes(const struct wn_packed *packed);
/* With codes only: scales and zero points of the grids of a row (with one grid in all, of row 0), [n_groups] each:
 * a weight is (code - zero) * scale. */
void wn_packed_grids(const struct wn_packed *packed, int64_t row, float *scales, float *zeros);
/* All of it, threads sharing the rows. */
void wn_packed_all(const struct wn_packed *packed, float *out);

/*
 * Bytes of a linear that a recipe will have made, before it is known: of a pruner without updates the numbers as the
 * checkpoint has them, `source_bytes` each, of one with updates fp32; of codes the scales as fp32; of SpQR 2 % of
 * outliers. An upper limit but for more outliers than that.
 */
int64_t wn_pack_bytes_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns, int source_bytes);
/* How many grids its codes have: of a scale and a zero point each; 0 without codes. */
int64_t wn_pack_grids_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns);
/* And how many outliers, by the same count. */
int64_t wn_pack_outliers_of(const struct wn_recipe *recipe, int64_t rows, int64_t columns);

/*
 * The bytes, all numbers little-endian; arrays in the order of struct wn_packed, each begins at a multiple of 8:
 *
 *       0  "winnow.p"          48  int64 run            112  uint8 set, kind, bits, group_bytes,
 *       8  uint32 version 1    56  int64 kept                scale kind, scale bits, zero kind, zero bits,
 *      12  uint32 0            64  int64 group               outlier kind, input kind
 *      16  int64 size          72  int64 n_groups       122  6 bytes of 0
 *      24  int64 rows          80  int64 run_rows       128  mask, start, values, scales (data, second scales, second
 *      32  int64 columns       88  int64 n_outliers          zeros), zeros (the same), groups, outliers (start,
 *      40  int64 0             96  float constant            columns, values), input scale; then SHA-256 of all
 *                                                            before it
 */
#define WN_PACKED_HEADER  128
#define WN_PACKED_TRAILER 32
#define WN_PACKED_VERSION 1

#endif
