/* Starting BLAS: one thread per call, the right flavour, and a kernel that fits the processor. */
#include <winnow/linalg.h>

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Absent (NULL) in other CBLAS libraries; the last two are inner functions of OpenBLAS builds with DYNAMIC_ARCH. */
extern int openblas_get_parallel(void) __attribute__((weak));
extern void openblas_set_num_threads(int count) __attribute__((weak));
extern char *openblas_get_config(void) __attribute__((weak));
extern char *openblas_get_corename(void) __attribute__((weak));
extern void gotoblas_dynamic_quit(void) __attribute__((weak));
extern void gotoblas_dynamic_init(void) __attribute__((weak));

enum { OPENBLAS_OPENMP = 2 };

/* Kernel sets of OpenBLAS that use AVX2 or more: a choice among them is left alone. */
static bool is_modern_core(const char *core)
{
    static const char *const modern[] = {"Haswell", "Zen", "Excavator", "SkylakeX", "Cooperlake", "SapphireRapids"};
    for (size_t i = 0; i < sizeof modern / sizeof modern[0]; i++)
        if (!strcmp(core, modern[i]))
            return true;
    return false;
}

/* The kernel set for this processor by its features, NULL when there is nothing better than the oldest. */
static const char *core_by_features(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
        return "SkylakeX";
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return "Haswell";
#endif
    return NULL;
}

/*
 * An OpenBLAS older than the processor does not know its model number and falls back to kernels of 2004 (Prescott,
 * SSE3), a fifth of the speed. Then the kernels are chosen again by processor features, unless the user set
 * OPENBLAS_CORETYPE. No BLAS call may have been made before.
 */
static void repair_core(void)
{
    if (!openblas_get_corename || !gotoblas_dynamic_quit || !gotoblas_dynamic_init || getenv("OPENBLAS_CORETYPE"))
        return;
    const char *core = core_by_features();
    if (!core || is_modern_core(openblas_get_corename()))
        return;
    setenv("OPENBLAS_CORETYPE", core, 1);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}

wn_status wn_linalg_start(void)
{
    if (openblas_get_parallel && openblas_get_parallel() != OPENBLAS_OPENMP)
        return wn_fail(WN_ERR_UNSUPPORTED,
                       "the loaded OpenBLAS is not its OpenMP flavour (%s): install libopenblas0-openmp and "
                       "libopenblas-openmp-dev, and build winnow against them",
                       openblas_get_config ? openblas_get_config() : "unknown build");
    static bool started;
    if (!started)
        repair_core();
    started = true;
    if (openblas_set_num_threads) {
        /* The OpenMP flavour sets the count of the whole process with it. */
        int threads = omp_get_max_threads();
        openblas_set_num_threads(1);
        omp_set_num_threads(threads);
    }
    return WN_OK;
}

int wn_blas_begin(void)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

void wn_blas_end(int threads)
{
    omp_set_num_threads(threads);
}

const char *wn_linalg_protocol(void)
{
    static char text[128];
    if (text[0])
        return text;
    char version[32] = "";
    if (openblas_get_config)
        sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    if (openblas_get_config && openblas_get_corename)
        snprintf(text, sizeof text, "openblas %s %s openmp; tile %dx%d", version, openblas_get_corename(), WN_TILE_ROWS,
                 WN_TILE_COLUMNS);
    else
        snprintf(text, sizeof text, "cblas; tile %dx%d", WN_TILE_ROWS, WN_TILE_COLUMNS);
    return text;
}
