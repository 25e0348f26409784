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

enum { TILE = 256, PANEL = 1024 };

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* ---- M ---- */

static void subtract_row(float *restrict to, float factor, const float *restrict from, int64_t count)
{
    for (int64_t j = 0; j < count; j++)
        to[j] -= factor * from[j];
}

/* The definition, from the last row to the first, on one tile. False when a pivot is not positive. */
static bool factor_tile(float *a, int64_t n, int64_t ld)
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

/* A tile row of what is left, [rows i.., columns 0 .. end of the tile], minus its part of M_k^T M_k. */
static void update_tile(float *a, int64_t ld, int64_t k, int64_t nk, int64_t i, int64_t j)
{
    const float *m = a + k * ld;
    float *at = a + i * ld + j;

    if (j < i)
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, TILE, (int)smaller(i - j, PANEL), (int)nk, -1.0f, m + i,
                    (int)ld, m + j, (int)ld, 1.0f, at, (int)ld);
    else
        cblas_ssyrk(CblasRowMajor, CblasLower, CblasTrans, TILE, (int)nk, -1.0f, m + i, (int)ld, 1.0f, at, (int)ld);
}

/* Every tile row below `k` is cut into panels from column 0 to its diagonal tile: [TILE, PANEL] each. */
static void update_rest(float *a, int64_t ld, int64_t k, int64_t nk, int threads)
{
    const int64_t tiles = k / TILE, panels = (k + PANEL - 1) / PANEL + 1;

#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int64_t t = tiles * panels - 1; t >= 0; t--) {
        const int64_t i = t / panels * TILE, panel = t % panels;
        if (panel == panels - 1)
            update_tile(a, ld, k, nk, i, i);
        else if (panel * PANEL < i)
            update_tile(a, ld, k, nk, i, panel * PANEL);
    }
}

/* a [n, n], lower triangle: H in, M out. */
static bool factor_lower(float *a, int64_t n, int threads)
{
    for (int64_t k = (n - 1) / TILE * TILE; k >= 0; k -= TILE) {
        const int64_t nk = smaller(n - k, TILE);
        if (!factor_tile(a + k * n + k, nk, n))
            return false;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && k > PANEL)
        for (int64_t j = 0; j < k; j += PANEL)
            cblas_strsm(CblasRowMajor, CblasLeft, CblasLower, CblasTrans, CblasNonUnit, (int)nk,
                        (int)smaller(k - j, PANEL), 1.0f, a + k * n + k, (int)n, a + k * n + j, (int)n);
        update_rest(a, n, k, nk, threads);
    }
    return true;
}

/* ---- U = M^-T ---- */

/* Tile row i of U M^T = I, from the diagonal to the right. */
static void invert_tile_row(const float *m, int64_t n, int64_t i, float *u)
{
    const int64_t ni = smaller(n - i, TILE);

    for (int64_t r = i; r < i + ni; r++) {
        memset(u + r * n, 0, (size_t)n * sizeof *u);
        u[r * n + r] = 1.0f;
    }
    for (int64_t j = i; j < n; j += TILE) {
        const int64_t nj = smaller(n - j, TILE);
        float *at = u + i * n + j;
        if (j > i)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)ni, (int)nj, (int)(j - i), -1.0f, u + i * n + i,
                        (int)n, m + j * n + i, (int)n, 0.0f, at, (int)n);
        cblas_strsm(CblasRowMajor, CblasRight, CblasLower, CblasTrans, CblasNonUnit, (int)ni, (int)nj, 1.0f,
                    m + j * n + j, (int)n, at, (int)n);
    }
    for (int64_t r = i; r < i + ni; r++) /* the solver leaves -0 there */
        memset(u + r * n + i, 0, (size_t)(r - i) * sizeof *u);
}

static void invert_lower(const float *m, int64_t n, float *u, int threads)
{
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && n > TILE)
    for (int64_t i = 0; i < n; i += TILE)
        invert_tile_row(m, n, i, u);
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
    const int threads = wn_blas_begin();
    bool done = factor_lower(a, factor->width, threads);
    if (done)
        invert_lower(a, factor->width, factor->upper, threads);
    wn_blas_end(threads);
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
