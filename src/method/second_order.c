/* SPDX-License-Identifier: Apache-2.0 */
/* From a task to the solver: the factor, and what is recorded of it. */
#include "second_order.h"

static void record_factor(const struct wn_linear_task *task, const struct wn_factor *factor, struct wn_compressed *out)
{
    out->solver.percdamp_used = factor->percdamp_used;
    out->solver.damping_steps = factor->damping_steps;
    out->solver.dead_columns = (double)factor->n_dead;
    out->solver.few_tokens = task->stats->tokens < task->columns;
}

static void solve(const struct wn_second_order *run, const struct wn_factor *factor, struct wn_compressed *out)
{
    struct wn_solver solver = {.rows = run->task->rows,
                               .columns = run->task->columns,
                               .upper = factor->upper,
                               .order = factor->order,
                               .dead = factor->n_dead ? factor->dead : NULL,
                               .weight = run->task->weight,
                               .result = out->weight,
                               .keep = run->keep,
                               .codes = out->codes};

    if (run->prepare)
        run->prepare(run->rule.context, factor);
    wn_solver_run(&solver, &run->rule);
}

/*
 * Besides the solver: scores of a block (SparseGPT), and grids of groups of 8 and more while they are turned (GPTQ: 1
 * byte a weight; SpQR: 2.4, with second levels and flags of outliers).
 */
int64_t wn_second_order_bytes(int64_t rows, int64_t columns, int threads)
{
    const int64_t weights = rows * columns, f = (int64_t)sizeof(float);
    const int64_t factor = columns * columns * f;
    const int64_t sweep = wn_solver_bytes(rows, columns, threads) + rows * WN_SOLVER_BLOCK * f + weights * 5 / 2;
    const int64_t form = 2 * weights * f + wn_quadratic_forms_bytes(3, rows, columns, threads);

    return factor > sweep ? (factor > form ? factor : form) : (sweep > form ? sweep : form);
}

/* As published, H = (2 / sequences) * sum of x x^T: the scale matters only beside the 1 that dead columns get. */
static double scale_of(const struct wn_input_stats *stats)
{
    return 2.0 / (double)stats->sequences;
}

static wn_status run_ordered(const struct wn_second_order *run, struct wn_compressed *out)
{
    const struct wn_linear_task *task = run->task;
    struct wn_factor factor;

    WN_TRY(wn_factor_compute_ordered(task->name, task->stats->second_moments, task->columns, scale_of(task->stats),
                                     wn_params_number(task->params, "percdamp"), run->order, &factor));
    record_factor(task, &factor, out);
    solve(run, &factor, out);
    wn_factor_release(&factor);
    return WN_OK;
}

wn_status wn_second_order_run(const struct wn_second_order *run, struct wn_compressed *out)
{
    const struct wn_linear_task *task = run->task;
    const struct wn_input_stats *stats = task->stats;
    struct wn_factor_cache own = {0};
    const struct wn_factor *factor;

    if (!stats || !stats->second_moments || stats->width != task->columns || stats->sequences < 1)
        WN_BUG("%s: a second-order method was given no second moments of this width", task->name);
    if (run->column_order == WN_ORDER_GIVEN)
        return run_ordered(run, out);
    wn_status status = (run->damp_first ? wn_factor_cache_get_damped_first : wn_factor_cache_get)(
        stats->factors ? stats->factors : &own, task->name, stats->second_moments, stats->width, scale_of(stats),
        wn_params_number(task->params, "percdamp"), run->column_order, &factor);
    if (status == WN_OK) {
        record_factor(task, factor, out);
        solve(run, factor, out);
    }
    wn_factor_cache_release(&own);
    return status;
}
