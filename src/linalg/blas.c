/* SPDX-License-Identifier: Apache-2.0 */
/* Starting BLAS: one thread per call, the right flavour, a kernel set that fits the processor and multiplies well. */
#include <winnow/linalg.h>

#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blas.h"

/* What a library has is known by its symbols: NULL in all others. gotoblas_*: OpenBLAS builds with DYNAMIC_ARCH. */
#define WEAK __attribute__((weak))
extern int openblas_get_parallel(void) WEAK;
extern void openblas_set_num_threads(int count) WEAK;
extern char *openblas_get_config(void) WEAK;
extern char *openblas_get_corename(void) WEAK;
extern void gotoblas_dynamic_quit(void) WEAK;
extern void gotoblas_dynamic_init(void) WEAK;
extern void bli_thread_set_num_threads(int64_t count) WEAK;
extern const char *bli_info_get_version_str(void) WEAK;
extern int bli_arch_query_id(void) WEAK;
extern const char *bli_arch_string(int id) WEAK;
extern void MKL_Set_Num_Threads(int count) WEAK;
extern int MKL_Set_Threading_Layer(int layer) WEAK; /* in libmkl_rt alone */
extern void MKL_Get_Version_String(char *text, int length) WEAK;
extern int MKL_CBWR_Get_Auto_Branch(void) WEAK;

enum { OPENBLAS_OPENMP = 2, MKL_SEQUENTIAL = 1 };

/* ---- kernel sets of OpenBLAS ---- */

enum level { OLD, AVX, AVX2, AVX512 };

static const char *const level_names[] = {"SSE", "AVX", "AVX2", "AVX-512"};

/* The best kernel set of each level that every OpenBLAS has. */
static const char *const best_core[] = {"Nehalem", "Sandybridge", "Haswell", "SkylakeX"};

static enum level level_of_core(const char *core)
{
    static const struct {
        const char *core;
        enum level level;
    } table[] = {{"Sandybridge", AVX},   {"Bulldozer", AVX},        {"Piledriver", AVX}, {"Steamroller", AVX},
                 {"Excavator", AVX2},    {"Haswell", AVX2},         {"Zen", AVX2},       {"SkylakeX", AVX512},
                 {"Cooperlake", AVX512}, {"SapphireRapids", AVX512}};
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (!strcmp(core, table[i].core))
            return table[i].level;
    return OLD;
}

static enum level level_of_processor(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512cd"))
        return AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return AVX2;
    if (__builtin_cpu_supports("avx"))
        return AVX;
#endif
    return OLD;
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
    enum level level = level_of_processor();
    if (level < AVX2 || level_of_core(openblas_get_corename()) >= AVX2)
        return;
    setenv("OPENBLAS_CORETYPE", best_core[level], 1);
    gotoblas_dynamic_quit();
    gotoblas_dynamic_init();
    unsetenv("OPENBLAS_CORETYPE");
}

/* ---- one thread per call ---- */

static void hold_openblas(void)
{
    /* The OpenMP flavour sets the count of the whole process with it. */
    int threads = omp_get_max_threads();
    openblas_set_num_threads(1);
    omp_set_num_threads(threads);
}

/*
 * BLIS reads its variables at its first call; the ways of its loops go before any count. Newer ones keep a count for
 * each thread of ours, which starts as the variable says.
 */
static void hold_blis(void)
{
    static const char *const ways[] = {"BLIS_JC_NT", "BLIS_PC_NT", "BLIS_IC_NT", "BLIS_JR_NT", "BLIS_IR_NT"};
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++)
        unsetenv(ways[i]);
    setenv("BLIS_NUM_THREADS", "1", 1);
    bli_thread_set_num_threads(1);
}

static void hold_mkl(void)
{
    /* Without the layer libmkl_rt loads another OpenMP beside ours. */
    if (MKL_Set_Threading_Layer)
        MKL_Set_Threading_Layer(MKL_SEQUENTIAL);
    MKL_Set_Num_Threads(1);
}

static void hold_threads(void)
{
    if (openblas_set_num_threads)
        hold_openblas();
    if (bli_thread_set_num_threads)
        hold_blis();
    if (MKL_Set_Num_Threads)
        hold_mkl();
}

static bool is_known(void)
{
    return openblas_set_num_threads || bli_thread_set_num_threads || MKL_Set_Num_Threads;
}

/* ---- start ---- */

static wn_status refuse_wrong_products(void)
{
    int threads = wn_blas_begin();
    wn_status status = wn_blas_check();
    wn_blas_end(threads);
    if (status == WN_OK)
        return WN_OK;
    char *product = wn_strdup(wn_error_message());
    const char *core = openblas_get_corename ? openblas_get_corename() : NULL;
    if (core)
        wn_fail(
            WN_ERR_UNSUPPORTED,
            "the BLAS library multiplies wrongly on this processor (%s; %s): update OpenBLAS, or try other kernels: "
            "export OPENBLAS_CORETYPE=%s",
            product, wn_linalg_protocol(), strcmp(core, "Haswell") ? "Haswell" : "Sandybridge");
    else
        wn_fail(WN_ERR_UNSUPPORTED,
                "the BLAS library multiplies wrongly on this processor (%s; %s): update it, or build winnow with "
                "another (-DWINNOW_BLAS_LIBRARY=...)",
                product, wn_linalg_protocol());
    wn_free(product);
    return WN_ERR_UNSUPPORTED;
}

wn_status wn_linalg_start(void)
{
    if (openblas_get_parallel && openblas_get_parallel() != OPENBLAS_OPENMP)
        return wn_fail(WN_ERR_UNSUPPORTED,
                       "the loaded OpenBLAS is not its OpenMP flavour (%s): install libopenblas0-openmp and "
                       "libopenblas-openmp-dev, and build winnow against them",
                       openblas_get_config ? openblas_get_config() : "unknown build");
    static bool chosen, checked;
    if (!chosen)
        repair_core();
    chosen = true;
    hold_threads();
    WN_TRY(wn_blas_take_buffers());
    if (!checked)
        WN_TRY(refuse_wrong_products());
    checked = true;
    return WN_OK;
}

/* ---- what is said about the library ---- */

static const char *name_of_mkl_kernels(void)
{
    static const char *const names[] = {[3] = "compatible", [4] = "sse2",    [8] = "sse4.2",     [9] = "avx",
                                        [10] = "avx2",      [12] = "avx512", [14] = "avx512_e1", [15] = "avx10"};
    int branch = MKL_CBWR_Get_Auto_Branch ? MKL_CBWR_Get_Auto_Branch() : 0;
    bool named = branch > 0 && branch < (int)(sizeof names / sizeof names[0]) && names[branch];
    return named ? names[branch] : "unknown";
}

static void describe_mkl(char *text, size_t size)
{
    char line[256] = "", version[32] = "";
    if (MKL_Get_Version_String)
        MKL_Get_Version_String(line, sizeof line - 1);
    const char *found = strstr(line, "Version ");
    if (found)
        sscanf(found, "Version %31s", version);
    snprintf(text, size, "mkl %s %s", version, name_of_mkl_kernels());
}

static void describe_library(char *text, size_t size)
{
    char version[32] = "";
    if (openblas_get_config)
        sscanf(openblas_get_config(), "OpenBLAS %31s", version);
    if (openblas_get_config && openblas_get_corename)
        snprintf(text, size, "openblas %s %s openmp", version, openblas_get_corename());
    else if (bli_info_get_version_str && bli_arch_query_id && bli_arch_string)
        snprintf(text, size, "blis %s %s", bli_info_get_version_str(), bli_arch_string(bli_arch_query_id()));
    else if (MKL_Set_Num_Threads)
        describe_mkl(text, size);
    else
        snprintf(text, size, "cblas");
}

const char *wn_linalg_protocol(void)
{
    static char text[128];
    char library[80];
    if (text[0])
        return text;
    describe_library(library, sizeof library);
    snprintf(text, sizeof text, "%s; tile %dx%d", library, WN_TILE_ROWS, WN_TILE_COLUMNS);
    return text;
}

const char *wn_linalg_advice(void)
{
    static char text[320];
    if (!is_known())
        return "this BLAS library is not OpenBLAS, BLIS or MKL: if it has threads of its own, set its variable to 1 "
               "(VECLIB_MAXIMUM_THREADS=1, FLEXIBLAS_NUM_THREADS=1 or its like), for winnow's threads call it side by "
               "side";
    if (!openblas_get_corename)
        return NULL;
    const char *core = openblas_get_corename(), *asked = getenv("OPENBLAS_CORETYPE");
    enum level used = level_of_core(core), possible = level_of_processor();
    if (used >= possible || (!asked && used >= AVX2))
        return NULL;
    if (asked)
        snprintf(
            text, sizeof text,
            "OPENBLAS_CORETYPE=%s: products use %s kernels (%s), this processor could use %s (%s): unset it, which "
            "may double the speed and changes the last bits of results",
            asked, core, level_names[used], best_core[possible], level_names[possible]);
    else
        snprintf(
            text, sizeof text,
            "OpenBLAS does not know this processor and uses %s kernels (%s): a newer OpenBLAS with those of %s (%s) "
            "may be several times as fast and changes the last bits of results",
            core, level_names[used], best_core[possible], level_names[possible]);
    return text;
}
