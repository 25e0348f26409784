/* SPDX-License-Identifier: Apache-2.0 */
/* The same source in double: what is left of the identity is rounding. */
#define WN_REAL         double
#define wn_solver_run   wn_solver_run_double
#define wn_solver_bytes wn_solver_bytes_double
#define wn_solver_place wn_solver_place_double
#define wn_strip_column wn_strip_column_double
#include "method/solver.c"

#define IDENTITY 1e-12
#define EQUAL    1e-11

#include "solver_cases.h"
