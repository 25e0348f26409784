/* SPDX-License-Identifier: Apache-2.0 */
/* isa.c: which instructions kernels of our own may use. */
#include <winnow/linalg.h>

static enum wn_isa most = WN_ISA_AVX512;

static enum wn_isa find(void)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("fma"))
        return WN_ISA_AVX512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return WN_ISA_AVX2;
#endif
    return WN_ISA_PLAIN;
}

enum wn_isa wn_isa(void)
{
    static _Atomic int found = -1;
    if (found < 0)
        found = (int)find();
    return (enum wn_isa)found < most ? (enum wn_isa)found : most;
}

void wn_isa_limit(enum wn_isa isa)
{
    most = isa;
}

const char *wn_isa_name(enum wn_isa isa)
{
    static const char *const names[] = {"c", "avx2", "avx512"};
    return names[isa];
}
