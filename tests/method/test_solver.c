/* SPDX-License-Identifier: Apache-2.0 */
/* The column sweep in fp32, as it is used. */
#include "method/solver.h"

#define IDENTITY 1e-5
#define EQUAL    1e-4
#include "solver_cases.h"
