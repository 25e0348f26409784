/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_solver [ROWS COLUMNS [ROUNDS]]: the second-order core alone, each part beside one single-threaded sgemm of
 * 2048^3 measured in turn with it, so that a busy machine slows both. Without arguments: 1024 x 1024, 4096 x 4096,
 * 4096 x 11008 (two rounds).
 *
 *     moments   X^T X of 2048 tokens, both triangles counted once: rows * columns * (columns + 1) operations
 *     factor    2/3 columns^3 operations
 *     sweep     rows * columns^2 operations (the update of the columns behind), whatever the rule does besides
 *     forms     tr(D H D^T) of three D, as recorded of every linear: 3 * rows * columns^2 operations counted
 *
 * Per thread: set OMP_NUM_THREADS=1; then processor time is taken, which a busy machine does not stretch as much.
 * `bench_solver json` prints the seconds of the sweeps for bench_solver.py.
 */
#include <winnow/method.h>

#include <cblas.h>
#include <cjson/cJSON.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { GEMM = 2048, TOKENS = 2048 };

static bool as_json;

static double now(void)
{
    struct timespec time;

    clock_gettime(omp_get_max_threads() == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

struct bench {
    int64_t rows, columns;
    int rounds;
    float *x, *weight, *h, *a, *b, *c;
    struct wn_factor_cache factors;
    struct wn_input_stats stats;
    struct wn_compressed out;
};

static double gemm_rate(const struct bench *bench)
{
    double start = now();
    int threads = wn_blas_begin();

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, GEMM, GEMM, GEMM, 1.0f, bench->a, GEMM, bench->b, GEMM, 0.0f,
                bench->c, GEMM);
    wn_blas_end(threads);
    return 2.0 * GEMM * GEMM * GEMM / (now() - start);
}

/* The round with the best share of the sgemm rate around it. */
static void measure(struct bench *bench, const char *name, double operations, void (*run)(struct bench *, const void *),
                    const void *argument)
{
    double best = 0, seconds = 0, rate = 0;

    for (int round = 0; round < bench->rounds; round++) {
        double before = gemm_rate(bench), start = now();
        run(bench, argument);
        double took = now() - start, after = gemm_rate(bench);
        double here = operations / took, share = here / (before > after ? before : after);
        if (share > best) {
            best = share;
            seconds = took;
            rate = here;
        }
    }
    if (as_json)
        printf("{\"part\": \"%s\", \"rows\": %lld, \"columns\": %lld, \"seconds\": %.6f, \"share\": %.4f}\n", name,
               (long long)bench->rows, (long long)bench->columns, seconds, best);
    else
        printf("%5lld x %5lld %-44s %9.1f ms %7.1f GF/s %5.1f %% of sgemm\n", (long long)bench->rows,
               (long long)bench->columns, name, 1e3 * seconds, 1e-9 * rate, 100 * best);
    fflush(stdout);
}

static void run_moments(struct bench *bench, const void *argument)
{
    float *h = wn_alloc_zero(bench->columns * bench->columns, sizeof *h);

    (void)argument;
    wn_add_second_moments(bench->x, TOKENS, bench->columns, h);
    wn_free(h);
}

static void run_factor(struct bench *bench, const void *argument)
{
    struct wn_factor factor;

    (void)argument;
    if (wn_factor_compute("bench", bench->h, bench->columns, 1, 0.01, WN_ORDER_NATURAL, &factor) != WN_OK)
        WN_BUG("%s", wn_error_message());
    wn_factor_release(&factor);
}

static void run_forms(struct bench *bench, const void *argument)
{
    double sums[3];

    (void)argument;
    wn_quadratic_forms((const float *const[]){bench->weight, bench->out.weight, bench->weight}, 3, bench->rows,
                       bench->columns, bench->h, sums);
}

/* Method and settings, with their recipe. */
struct setting {
    const char *method, *settings;
    struct wn_params params;
};

/* The method without the objective that wn_recipe_compress records. */
static void run_sweep(struct bench *bench, const void *argument)
{
    const struct setting *setting = argument;
    const struct wn_method *method = wn_method_find(setting->method);
    struct wn_linear_task task = {.name = setting->method,
                                  .rows = bench->rows,
                                  .columns = bench->columns,
                                  .weight = bench->weight,
                                  .stats = &bench->stats,
                                  .params = &setting->params};

    wn_compressed_release(&bench->out);
    wn_compressed_init(&bench->out, bench->rows, bench->columns, bench->out.weight, bench->out.keep);
    if (method->compress_linear(&task, &bench->out) != WN_OK)
        WN_BUG("%s", wn_error_message());
}

static void bench_sweep(struct bench *bench, const char *method_name, const char *settings)
{
    struct setting setting = {.method = method_name, .settings = settings};
    const struct wn_method *method = wn_method_find(method_name);
    cJSON *json = cJSON_Parse(settings), *item;
    char name[96];

    wn_params_init(&setting.params, method->parameters, method->n_parameters);
    cJSON_ArrayForEach (item, json)
        if (wn_params_set(&setting.params, item->string, item) != WN_OK)
            WN_BUG("%s", wn_error_message());
    if (method->check(&setting.params) != WN_OK)
        WN_BUG("%s", wn_error_message());
    cJSON_Delete(json);
    if (method->check_linear && method->check_linear(&setting.params, "bench", bench->rows, bench->columns) != WN_OK)
        return; /* groups that do not fit the width */
    snprintf(name, sizeof name, "%s %s", method_name, settings);
    for (char *at = name; as_json && *at; at++)
        *at = *at == '"' ? '\'' : *at;
    measure(bench, name, (double)bench->rows * (double)bench->columns * (double)bench->columns, run_sweep, &setting);
}

static float *random_floats(int64_t count, uint64_t stream)
{
    float *x = wn_alloc(count, sizeof *x);

    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(2 * wn_random_uniform(1, stream, (uint64_t)i) - 1);
    return x;
}

static void open_bench(struct bench *bench)
{
    const int64_t count = bench->rows * bench->columns, n = bench->columns;

    bench->a = random_floats(GEMM * GEMM, 1);
    bench->b = random_floats(GEMM * GEMM, 2);
    bench->c = wn_alloc(GEMM * GEMM, sizeof(float));
    bench->weight = random_floats(count, 3);
    bench->x = random_floats(TOKENS * n, 4);
    for (int64_t i = TOKENS * n - 1; i > 0; i--) /* neighbours are correlated */
        bench->x[i] += 0.8f * bench->x[i - 1];
    bench->h = wn_alloc_zero(n * n, sizeof(float));
    wn_add_second_moments(bench->x, TOKENS, n, bench->h);
    wn_symmetrize(bench->h, n);
    bench->stats = (struct wn_input_stats){
        .tokens = TOKENS, .sequences = 2, .width = n, .second_moments = bench->h, .factors = &bench->factors};
    const struct wn_factor *factor; /* not part of the sweeps */
    if (wn_factor_cache_get(&bench->factors, "bench", bench->h, n, 1, 0.01, WN_ORDER_NATURAL, &factor) != WN_OK)
        WN_BUG("%s", wn_error_message());
    wn_compressed_init(&bench->out, bench->rows, n, wn_alloc_zero(count, sizeof(float)), wn_alloc_zero(count, 1));
}

static void close_bench(struct bench *bench)
{
    wn_compressed_release(&bench->out);
    wn_factor_cache_release(&bench->factors);
    wn_free(bench->out.weight);
    wn_free(bench->out.keep);
    wn_free(bench->a);
    wn_free(bench->b);
    wn_free(bench->c);
    wn_free(bench->weight);
    wn_free(bench->x);
    wn_free(bench->h);
}

static void bench_shape(int64_t rows, int64_t columns, int rounds)
{
    struct bench bench = {.rows = rows, .columns = columns, .rounds = rounds};
    const double r = (double)rows, n = (double)columns;

    open_bench(&bench);
    if (!as_json) {
        measure(&bench, "moments", TOKENS * n * (n + 1), run_moments, NULL);
        measure(&bench, "factor", n * n * n * 2 / 3, run_factor, NULL);
    }
    bench_sweep(&bench, "gptq", "{\"bits\": 4}");
    bench_sweep(&bench, "gptq", "{\"bits\": 4, \"group\": 128}");
    bench_sweep(&bench, "gptq", "{\"bits\": 4, \"group\": 32}");
    bench_sweep(&bench, "sparsegpt", "{\"sparsity\": 0.5}");
    bench_sweep(&bench, "sparsegpt", "{\"pattern\": \"2:4\"}");
    bench_sweep(&bench, "sparsegpt", "{\"sparsity\": 0.5, \"bits\": 4}");
    if (!as_json)
        measure(&bench, "forms", 3 * r * n * n, run_forms, NULL);
    close_bench(&bench);
}

int main(int argc, char **argv)
{
    if (wn_linalg_start() != WN_OK)
        WN_BUG("%s", wn_error_message());
    if (argc > 1 && !strcmp(argv[1], "json")) {
        as_json = true;
        argc--;
        argv++;
    }
    int rounds = argc > 3 ? atoi(argv[3]) : 5;
    if (argc > 2) {
        bench_shape(atoll(argv[1]), atoll(argv[2]), rounds);
        return 0;
    }
    bench_shape(1024, 1024, rounds);
    bench_shape(4096, 4096, rounds);
    bench_shape(4096, 11008, 2);
    return 0;
}
