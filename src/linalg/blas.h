/* SPDX-License-Identifier: Apache-2.0 */
/* blas.h: inside linalg: what is known of the loaded BLAS library. */
#ifndef WINNOW_LINALG_BLAS_H
#define WINNOW_LINALG_BLAS_H

#include <winnow/base.h>

/*
 * Multiplies a few matrices of small whole numbers, whose products are exact in fp32 in any order, and compares with
 * sums in double. WN_OK, or WN_ERR_NUMERIC naming the product that is wrong. Call between wn_blas_begin and
 * wn_blas_end.
 */
wn_status wn_blas_check(void);

/*
 * OpenBLAS asks the system for ever for a buffer that there is no address space for. This takes one for each of the
 * present number of threads, to be kept by OpenBLAS, or is WN_ERR_MEMORY. Other libraries: WN_OK.
 */
wn_status wn_blas_take_buffers(void);

#endif
