/* SPDX-License-Identifier: Apache-2.0 */
/* The genome with the least sum of layer errors (SPDY, arXiv:2201.13096, algorithm 1, with whole levels as costs). */
#include "search_impl.h"

#include <math.h>

static double error_of(const struct wn_space *space, const double *errors, int64_t gene, int64_t level)
{
    double error;

    if (!wn_space_has(space, &space->genes[gene], (int32_t)level))
        return INFINITY;
    error = errors[gene * (space->high - space->low + 1) + level - space->low];
    return isfinite(error) ? error : INFINITY;
}

double wn_space_error(const struct wn_space *space, const double *errors, const int32_t *genome)
{
    double sum = 0;

    for (int64_t i = 0; i < space->n_genes; i++)
        sum += errors[i * (space->high - space->low + 1) + genome[i] - space->low];
    return sum;
}

/* Least error of genes i and behind with a sum of levels, [n_genes + 1, width]; sums count from `least`. */
struct table {
    const struct wn_space *space;
    const struct wn_gene_group *group;
    const double *errors;
    int64_t least, width;
    double *best;
};

static double *row_of(const struct table *table, int64_t i)
{
    return table->best + i * table->width;
}

static void fill_row(const struct table *table, int64_t i)
{
    const struct wn_gene *gene = &table->space->genes[table->group->genes[i]];
    const double *behind = row_of(table, i + 1);
    double *best = row_of(table, i);

    for (int64_t s = 0; s < table->width; s++)
        best[s] = INFINITY;
    for (int64_t level = gene->low; level <= gene->high; level++) {
        double error = error_of(table->space, table->errors, table->group->genes[i], level);
        int64_t first = level > 0 ? level : 0, end = table->width + (level < 0 ? level : 0);
        for (int64_t s = first; s < end; s++)
            if (error + behind[s - level] < best[s])
                best[s] = error + behind[s - level];
    }
}

/* The lowest level that attains the best sum. */
static int64_t take_level(const struct table *table, int64_t i, int64_t s)
{
    const struct wn_gene *gene = &table->space->genes[table->group->genes[i]];
    const double *behind = row_of(table, i + 1), best = row_of(table, i)[s];

    for (int64_t level = gene->low;; level++) {
        if (s - level < 0 || s - level >= table->width)
            continue;
        if (error_of(table->space, table->errors, table->group->genes[i], level) + behind[s - level] == best)
            return level;
    }
}

static wn_status minimize_group(const struct wn_space *space, const struct wn_gene_group *group, const double *errors,
                                int32_t *genome)
{
    struct table table = {.space = space, .group = group, .errors = errors};
    int64_t most = 0, n = group->n_genes;
    wn_status status = WN_OK;

    /* Sums of the genes behind some place: between the sum of all levels below 0 and that of all above. */
    for (int64_t i = 0; i < n; i++) {
        const struct wn_gene *gene = &space->genes[group->genes[i]];
        table.least += gene->low < 0 ? gene->low : 0;
        most += gene->high > 0 ? gene->high : 0;
    }
    table.width = most - table.least + 1;
    table.best = wn_alloc((n + 1) * table.width, sizeof(double));
    for (int64_t s = 0; s < table.width; s++)
        row_of(&table, n)[s] = s == -table.least ? 0 : INFINITY;
    for (int64_t i = n - 1; i >= 0; i--)
        fill_row(&table, i);
    int64_t s = group->sum - table.least;
    if (!isfinite(row_of(&table, 0)[s]))
        status = wn_fail(WN_ERR_NUMERIC, "no choice of levels has a finite sum of layer errors");
    for (int64_t i = 0; i < n && status == WN_OK; i++) {
        int64_t level = take_level(&table, i, s);
        genome[group->genes[i]] = (int32_t)level;
        s -= level;
    }
    wn_free(table.best);
    return status;
}

wn_status wn_space_minimize(const struct wn_space *space, const double *errors, int32_t *genome)
{
    for (int64_t g = 0; g < space->n_groups; g++)
        WN_TRY(minimize_group(space, &space->groups[g], errors, genome));
    return WN_OK;
}
