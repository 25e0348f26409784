/* SPDX-License-Identifier: Apache-2.0 */
/* Allocation by layer errors: the optimum of brute force, the tie rule, levels that cannot be taken. */
#include "spaces.h"

enum { MOST_GENES = 300 };

/* Every genome of a small space, in the order of the tie rule; sums are added as wn_space_minimize adds them. */
struct search_all {
    const struct wn_space *space;
    const double *errors;
    double least;
    int64_t genomes;
    int32_t genome[MOST_GENES], best[MOST_GENES];
};

static double sum_backwards(const struct search_all *all)
{
    int64_t levels = all->space->high - all->space->low + 1;
    double sum = 0;

    for (int64_t i = all->space->n_genes - 1; i >= 0; i--)
        sum = all->errors[i * levels + all->genome[i] - all->space->low] + sum;
    return sum;
}

static void try_from(struct search_all *all, int64_t gene)
{
    if (gene < all->space->n_genes) {
        for (int32_t level = all->space->genes[gene].low; level <= all->space->genes[gene].high; level++) {
            all->genome[gene] = level;
            try_from(all, gene + 1);
        }
        return;
    }
    if (wn_space_check(all->space, all->genome) != WN_OK)
        return;
    all->genomes++;
    double sum = sum_backwards(all);
    if (sum < all->least) {
        all->least = sum;
        memcpy(all->best, all->genome, sizeof all->best);
    }
}

static void check_against_all(struct wn_space_request request, bool ties)
{
    struct wn_space space;
    int32_t genome[MOST_GENES] = {0}, uniform[MOST_GENES];

    CHECK_OK(wn_space_create(&request, &space));
    for (uint64_t seed = 0; seed < 20; seed++) {
        double *errors = test_errors(&space, seed);
        for (int64_t i = 0; ties && i < space.n_genes * (space.high - space.low + 1); i++)
            errors[i] = rint(errors[i] / 8192);
        struct search_all all = {.space = &space, .errors = errors, .least = INFINITY};
        try_from(&all, 0);
        CHECK(all.genomes > 10);
        CHECK_OK(wn_space_minimize(&space, errors, genome));
        CHECK_OK(wn_space_check(&space, genome));
        CHECK(!memcmp(genome, all.best, (size_t)space.n_genes * sizeof *genome));
        CHECK_NEAR(wn_space_error(&space, errors, genome), all.least, 1e-12 * all.least);
        wn_space_uniform(&space, uniform);
        CHECK(wn_space_error(&space, errors, uniform) >= all.least);
        wn_free(errors);
    }
    wn_space_release(&space);
}

/* Several groups: the tie rule holds in each. */
static void check_small(void)
{
    const int64_t two[] = {64, 64}, mixed[] = {64, 128};
    struct wn_space_request request = test_request(WN_SPACE_SPARSITY, 3, 0.5);

    request.n_linears = 2;
    request.weights = two;
    request.levels = 3;
    check_against_all(request, false);
    check_against_all(request, true);
    request = test_request(WN_SPACE_BITS, 3, 2.5);
    request.n_linears = 2;
    request.weights = mixed;
    check_against_all(request, false);
    request = test_request(WN_SPACE_DROP, 6, 0.5);
    check_against_all(request, false);
    check_against_all(request, true);
}

/* A level that is not finite is never taken; when nothing finite is left, one line. */
static void check_not_finite(void)
{
    struct wn_space_request request = test_request(WN_SPACE_BITS, 4, 3);
    struct wn_space space;
    int32_t genome[MOST_GENES];

    CHECK_OK(wn_space_create(&request, &space));
    double *errors = test_errors(&space, 1);
    for (int64_t i = 0; i < space.n_genes; i++)
        errors[i * 5 + 1] = i % 2 ? NAN : -INFINITY; /* 3 bits */
    CHECK_OK(wn_space_minimize(&space, errors, genome));
    CHECK_OK(wn_space_check(&space, genome));
    for (int64_t i = 0; i < space.n_genes; i++)
        CHECK(genome[i] != 3);
    for (int64_t l = 0; l < 5; l++)
        errors[2 * 5 + l] = NAN;
    CHECK(wn_space_minimize(&space, errors, genome) == WN_ERR_NUMERIC);
    CHECK_MESSAGE("no choice of levels has a finite sum of layer errors");
    wn_free(errors);
    wn_space_release(&space);
}

/* No switch of two levels lowers the sum in spaces of the size of a real model. */
static void check_large(enum wn_space_kind kind, double target)
{
    struct wn_space_request request = test_request(kind, 32, target);
    struct wn_space space;
    int32_t genome[MOST_GENES];

    CHECK_OK(wn_space_create(&request, &space));
    CHECK(space.n_genes <= MOST_GENES);
    double *errors = test_errors(&space, 9);
    CHECK_OK(wn_space_minimize(&space, errors, genome));
    CHECK_OK(wn_space_check(&space, genome));
    double least = wn_space_error(&space, errors, genome);
    for (int64_t a = 0; a < space.n_genes; a++)
        for (int64_t b = 0; b < space.n_genes; b++) {
            if (a == b || space.genes[a].group != space.genes[b].group || genome[a] == space.genes[a].low ||
                genome[b] == space.genes[b].high)
                continue;
            genome[a]--;
            genome[b]++;
            CHECK(wn_space_error(&space, errors, genome) >= least - 1e-9);
            genome[a]++;
            genome[b]--;
        }
    wn_free(errors);
    wn_space_release(&space);
}

int main(void)
{
    check_small();
    check_not_finite();
    check_large(WN_SPACE_SPARSITY, 0.7);
    check_large(WN_SPACE_BITS, 2.25);
    check_large(WN_SPACE_DROP, 0.25);
    return test_finish();
}
