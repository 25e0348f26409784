/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The factor U of an inverse, (H + lambda I)^-1 = U^T U, without forming the inverse.
 *
 * The published codes factor H, invert it, and factor the inverse: 4/3 n^3 operations and three roundings. The same U
 * comes from one Cholesky factorization run from the last row upwards, H = M^T M with M lower triangular, because then
 * H^-1 = M^-1 M^-T and U = M^-T is upper triangular: 2/3 n^3 operations. Both steps go by tiles, each tile one
 * single-threaded BLAS call whose shape depends on n only, so all threads help and the bits do not depend on them.
 */
#include <winnow/linalg.h>

#include <cblas.h>
#include <math.h>
#include <string.h>

enum { SMALLEST = 32, LEAF = 64, WIDE = 4096 };

/* A matrix [n, n] whose lower triangle is worked on, and the edge of its tiles. */
struct lower {
    float *a;
    int64_t n, tile;
    int threads;
};

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t tile_of(int64_t n)
{
    return n < WIDE ? 128 : 256;
}

/* ---- M ---- */

static void subtract_row(float *restrict to, float factor, const float *restrict from, int64_t count)
{
    for (int64_t j = 0; j < count; j++)
        to[j] -= factor * from[j];
}

/* The definition, from the last row to the first. False when a pivot is not positive. */
static bool factor_rows(float *a, int64_t n, int64_t ld)
{
    for (int64_t k = n - 1; k >= 0; k--) {
        float *row = a + k * ld;
        if (!(row[k] > 0.0f) || !isfinite(row[k]))
            return false;
        row[k] = sqrtf(row[k]);
        for (int64_t j = 0; j < k; j++)
            row[j] /= row[k];
        for (int64_t i = 0; i < k; i++)
            subtract_row(a + i * ld, row[i], row, i + 1);
    }
    return true;
}

/* One tile by halves: no other thread has anything to do meanwhile. */
static bool factor_tile(float *a, int64_t n, int64_t ld)
{
    if (n <= SMALLEST)
        return factor_rows(a, n, ld);
    const int64_t top = (n / 2 + SMALLEST - 1) / SMALLEST * SMALLEST, rest = n - top;
    float *row = a + top * ld, *corner = row + top;
    if (!factor_tile(corner, rest, ld))
        return false;
    cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, (int)rest, (int)top, 1.0f, corner,
                (int)ld, row, (int)ld);
    cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, (int)top, (int)rest, -1.0f, row, (int)ld, 1.0f, a, (int)ld);
    return factor_tile(a, top, ld);
}

/* Columns j .. of the tile row that begins with row k, left of its diagonal tile. */
static void solve_tile(const struct lower *m, int64_t k, int64_t j)
{
    cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, (int)smaller(m->n - k, m->tile),
                (int)m->tile, 1.0f, m->a + k * m->n + k, (int)m->n, m->a + k * m->n + j, (int)m->n);
}

/* Minus its part of M_k^T M_k: columns j .. j + count - 1 of the tile row i, or its diagonal tile (j = i). */
static void update_tile(const struct lower *m, int64_t k, int64_t i, int64_t j, int64_t count)
{
    const int nk = (int)smaller(m->n - k, m->tile), ld = (int)m->n, tile = (int)m->tile;
    const float *row = m->a + k * m->n;
    float *at = m->a + i * m->n + j;

    if (j < i)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, tile, (int)count, nk, -1.0f, row + i, ld, row + j, ld,
                    1.0f, at, ld);
    else
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, tile, nk, -1.0f, row + i, ld, 1.0f, at, ld);
}

/* Tile rows above row k: panels of two tiles from column 0 on, longest rows first, then the diagonal tiles. */
static void update_rest(const struct lower *m, int64_t k)
{
    const int64_t tiles = k / m->tile, panel = 2 * m->tile, panels = tiles / 2;

#pragma omp parallel for schedule(dynamic) num_threads(m->threads) if (m->threads > 1 && tiles > 1)
    for (int64_t t = 0; t < tiles * panels + tiles; t++) {
        const int64_t last = t - tiles * panels;
        const int64_t i = (last < 0 ? tiles - 1 - t / panels : last) * m->tile;
        const int64_t j = last < 0 ? t % panels * panel : i;
        if (j < i || last >= 0)
            update_tile(m, k, i, j, smaller(i - j, panel));
    }
}

/* H in, M out. */
static bool factor_lower(const struct lower *m)
{
    for (int64_t k = (m->n - 1) / m->tile * m->tile; k >= 0; k -= m->tile) {
        if (!factor_tile(m->a + k * m->n + k, smaller(m->n - k, m->tile), m->n))
            return false;
#pragma omp parallel for schedule(dynamic) num_threads(m->threads) if (m->threads > 1 && k > m->tile)
        for (int64_t j = 0; j < k; j += m->tile)
            solve_tile(m, k, j);
        update_rest(m, k);
    }
    return true;
}

/* ---- U = M^-T ---- */

/*
 * By halves, from the smallest to the whole: with M = (A 0; B C), M^-T = (A^-T X; 0 C^-T), X = -A^-T B^T C^-T. All
 * pairs of one size, and all tiles of their X, are independent; T = A^-T B^T is put above the diagonal of M, where
 * nothing is.
 */
struct inverse {
    const struct lower *m;
    float *u;
    int64_t half, tile, side, pairs; /* rows of A; edge and number of tiles along it; pairs of this size */
};

/* Row and column of a tile of X, and the first row of C; false where C ends before. */
static bool place_of_tile(const struct inverse *inverse, int64_t pair, int64_t r, int64_t c, int64_t *row,
                          int64_t *column, int64_t *middle)
{
    *middle = (2 * pair + 1) * inverse->half;
    *row = *middle - inverse->half + r * inverse->tile;
    *column = *middle + c * inverse->tile;
    return *column < inverse->m->n;
}

/* T of a tile: A^-T is 0 left of its diagonal. The first tile rows are the longest. */
static void multiply_a(const struct inverse *inverse, int64_t item)
{
    const int64_t n = inverse->m->n, r = item / inverse->pairs / inverse->side;
    int64_t row, column, middle;

    if (place_of_tile(inverse, item % inverse->pairs, r, item / inverse->pairs % inverse->side, &row, &column, &middle))
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)inverse->tile,
                    (int)smaller(n - column, inverse->tile), (int)(middle - row), 1.0f, inverse->u + row * n + row,
                    (int)n, inverse->m->a + column * n + row, (int)n, 0.0f, inverse->m->a + row * n + column, (int)n);
}

/* X of a tile: C^-T is 0 below its diagonal. The last tile columns are the longest. */
static void multiply_c(const struct inverse *inverse, int64_t item)
{
    const int64_t n = inverse->m->n, c = inverse->side - 1 - item / inverse->pairs / inverse->side;
    int64_t row, column, middle;

    if (place_of_tile(inverse, item % inverse->pairs, item / inverse->pairs % inverse->side, c, &row, &column,
                      &middle)) {
        const int64_t columns = smaller(n - column, inverse->tile);
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (int)inverse->tile, (int)columns,
                    (int)(column + columns - middle), -1.0f, inverse->m->a + row * n + middle, (int)n,
                    inverse->u + middle * n + column, (int)n, 0.0f, inverse->u + row * n + column, (int)n);
    }
}

static void join_halves(const struct inverse *inverse)
{
    const int64_t items = inverse->pairs * inverse->side * inverse->side;
    const int threads = inverse->m->threads;

#pragma omp parallel num_threads(threads) if (threads > 1 && items > 1)
    {
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < items; item++)
            multiply_a(inverse, item);
#pragma omp for schedule(dynamic)
        for (int64_t item = 0; item < items; item++)
            multiply_c(inverse, item);
    }
}

/* The rows of a leaf: the inverse of its diagonal tile, and 0. */
static void invert_leaf(const struct lower *m, int64_t i, float *u)
{
    const int64_t n = m->n, rows = smaller(n - i, LEAF);

    memset(u + i * n, 0, (size_t)(rows * n) * sizeof *u);
    for (int64_t r = i; r < i + rows; r++)
        u[r * n + r] = 1.0f;
    cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)rows, (int)rows, 1.0f,
                m->a + i * n + i, (int)n, u + i * n + i, (int)n);
    for (int64_t r = i; r < i + rows; r++) /* the solver leaves -0 there */
        memset(u + r * n + i, 0, (size_t)(r - i) * sizeof *u);
}

static void invert_lower(const struct lower *m, float *u)
{
#pragma omp parallel for schedule(static) num_threads(m->threads) if (m->threads > 1 && m->n > LEAF)
    for (int64_t i = 0; i < m->n; i += LEAF)
        invert_leaf(m, i, u);
    for (int64_t half = LEAF; half < m->n; half *= 2) {
        const int64_t tile = smaller(half, m->tile);
        const struct inverse inverse = {m, u, half, tile, half / tile, (m->n + half - 1) / half / 2};
        join_halves(&inverse);
    }
}

/* ---- dead columns, order, damping ---- */

static double diagonal(const float *h, int64_t j, const struct wn_factor *factor)
{
    if (factor->dead[j])
        return factor->damp_first ? 0.0 : 1.0;
    return factor->scale * h[j * factor->width + j];
}

static wn_status find_dead(const char *name, const float *h, struct wn_factor *factor)
{
    const int64_t n = factor->width;

    factor->dead = wn_alloc(n, sizeof *factor->dead);
    for (int64_t j = 0; j < n; j++) {
        factor->dead[j] = h[j * n + j] == 0.0f;
        factor->n_dead += factor->dead[j];
    }
    if (wn_all_finite(h, n * n))
        return WN_OK;
    return wn_fail(WN_ERR_NUMERIC, "%s: the second moments of its inputs are not finite", name);
}

/* Merge sort by descending diagonal; equal ones keep their order. */
static void sort_columns(const double *key, int64_t *order, int64_t count, int64_t *scratch)
{
    const int64_t half = count / 2;
    int64_t left = 0, right = half;

    if (count < 2)
        return;
    sort_columns(key, order, half, scratch);
    sort_columns(key, order + half, count - half, scratch);
    for (int64_t i = 0; i < count; i++) {
        bool take_left = left < half && (right == count || key[order[left]] >= key[order[right]]);
        scratch[i] = take_left ? order[left++] : order[right++];
    }
    memcpy(order, scratch, (size_t)count * sizeof *order);
}

static void order_columns(const float *h, struct wn_factor *factor)
{
    const int64_t n = factor->width;
    double *key = wn_alloc(n, sizeof *key);
    int64_t *scratch = wn_alloc(n, sizeof *scratch);

    factor->order = wn_alloc(n, sizeof *factor->order);
    for (int64_t j = 0; j < n; j++) {
        key[j] = diagonal(h, j, factor);
        factor->order[j] = j;
    }
    sort_columns(key, factor->order, n, scratch);
    wn_free(scratch);
    wn_free(key);
}

/* The lower triangle of scale * P H P^T + lambda I. */
static void copy_damped(const float *h, const struct wn_factor *factor, float *a)
{
    const int64_t n = factor->width, *order = factor->order;
    const float scale = (float)factor->scale;

#pragma omp parallel for schedule(dynamic, 16)
    for (int64_t i = 0; i < n; i++) {
        const float *row = h + (order ? order[i] : i) * n;
        for (int64_t j = 0; j < i; j++)
            a[i * n + j] = scale * row[order ? order[j] : j];
        a[i * n + i] = (float)(diagonal(h, order ? order[i] : i, factor) + factor->lambda);
        if (factor->damp_first && factor->dead[order ? order[i] : i])
            a[i * n + i] = 1.0f;
    }
}

static bool try_damping(const float *h, struct wn_factor *factor, double mean, float *a)
{
    factor->lambda = factor->percdamp_used * mean;
    copy_damped(h, factor, a);
    const struct lower m = {a, factor->width, tile_of(factor->width), wn_blas_begin()};
    bool done = factor_lower(&m);
    if (done)
        invert_lower(&m, factor->upper);
    wn_blas_end(m.threads);
    return done && wn_all_finite(factor->upper, factor->width * factor->width);
}

/* A matrix that is not positive definite in fp32 gets ten times the damping, until that is the mean of its diagonal. */
static bool grow_damping(const float *h, struct wn_factor *factor)
{
    float *a = wn_alloc(factor->width * factor->width, sizeof *a);
    double mean = 0;
    bool done;

    for (int64_t j = 0; j < factor->width; j++)
        mean += diagonal(h, j, factor) / (double)factor->width;
    while (!(done = try_damping(h, factor, mean, a)) && factor->percdamp_used < 1) {
        factor->percdamp_used = factor->percdamp_used > 0 ? fmin(10 * factor->percdamp_used, 1) : 1e-3;
        factor->damping_steps++;
    }
    wn_free(a);
    return done;
}

/* `factor` comes with its settings and nothing else. */
static wn_status compute(const char *name, const float *h, struct wn_factor *factor)
{
    wn_status status = find_dead(name, h, factor);
    if (status == WN_OK) {
        if (factor->column_order == WN_ORDER_ACTIVATION)
            order_columns(h, factor);
        factor->upper = wn_alloc(factor->width * factor->width, sizeof *factor->upper);
        if (!grow_damping(h, factor))
            status = wn_fail(WN_ERR_NUMERIC,
                             "%s: the second moments of its inputs cannot be factored, even with percdamp %g", name,
                             factor->percdamp_used);
    }
    if (status != WN_OK)
        wn_factor_release(factor);
    return status;
}

wn_status wn_factor_compute(const char *name, const float *h, int64_t width, double scale, double percdamp,
                            enum wn_column_order column_order, struct wn_factor *factor)
{
    *factor = (struct wn_factor){
        .width = width, .column_order = column_order, .percdamp = percdamp, .percdamp_used = percdamp, .scale = scale};
    return compute(name, h, factor);
}

wn_status wn_factor_compute_ordered(const char *name, const float *h, int64_t width, double scale, double percdamp,
                                    const int64_t *order, struct wn_factor *factor)
{
    *factor = (struct wn_factor){.width = width,
                                 .column_order = WN_ORDER_GIVEN,
                                 .percdamp = percdamp,
                                 .percdamp_used = percdamp,
                                 .scale = scale,
                                 .order = wn_alloc(width, sizeof *order),
                                 .damp_first = true};
    memcpy(factor->order, order, (size_t)width * sizeof *order);
    return compute(name, h, factor);
}

void wn_factor_release(struct wn_factor *factor)
{
    wn_free(factor->dead);
    wn_free(factor->order);
    wn_free(factor->upper);
    *factor = (struct wn_factor){0};
}

/* ---- cache ---- */

static wn_status find_or_compute(struct wn_factor_cache *cache, const char *name, const float *h,
                                 const struct wn_factor *wanted, const struct wn_factor **factor)
{
    for (int64_t i = 0; i < cache->count; i++) {
        const struct wn_factor *one = cache->factors[i];
        if (one->width == wanted->width && one->scale == wanted->scale && one->percdamp == wanted->percdamp &&
            one->column_order == wanted->column_order && one->damp_first == wanted->damp_first) {
            *factor = one;
            return WN_OK;
        }
    }
    struct wn_factor *made = wn_alloc(1, sizeof *made);
    *made = *wanted;
    wn_status status = compute(name, h, made);
    if (status != WN_OK) {
        wn_free(made);
        return status;
    }
    cache->factors = wn_resize(cache->factors, cache->count + 1, sizeof *cache->factors);
    cache->factors[cache->count++] = made;
    *factor = made;
    return WN_OK;
}

wn_status wn_factor_cache_get(struct wn_factor_cache *cache, const char *name, const float *h, int64_t width,
                              double scale, double percdamp, enum wn_column_order column_order,
                              const struct wn_factor **factor)
{
    const struct wn_factor wanted = {
        .width = width, .column_order = column_order, .percdamp = percdamp, .percdamp_used = percdamp, .scale = scale};

    return find_or_compute(cache, name, h, &wanted, factor);
}

wn_status wn_factor_cache_get_damped_first(struct wn_factor_cache *cache, const char *name, const float *h,
                                           int64_t width, double scale, double percdamp,
                                           enum wn_column_order column_order, const struct wn_factor **factor)
{
    const struct wn_factor wanted = {.width = width,
                                     .column_order = column_order,
                                     .percdamp = percdamp,
                                     .percdamp_used = percdamp,
                                     .scale = scale,
                                     .damp_first = true};

    return find_or_compute(cache, name, h, &wanted, factor);
}

void wn_factor_cache_release(struct wn_factor_cache *cache)
{
    for (int64_t i = 0; i < cache->count; i++) {
        wn_factor_release(cache->factors[i]);
        wn_free(cache->factors[i]);
    }
    wn_free(cache->factors);
    *cache = (struct wn_factor_cache){0};
}
