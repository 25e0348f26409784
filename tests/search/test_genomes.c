/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces of every kind, their budgets and limits, and what random genomes and mutations must keep. */
#include "spaces.h"

#include <limits.h>

enum { MUTATIONS = 100000 };

static void create(struct wn_space_request request, struct wn_space *space)
{
    CHECK_OK(wn_space_create(&request, space));
}

static void check_refused(struct wn_space_request request, const char *message)
{
    struct wn_space space;

    CHECK(wn_space_create(&request, &space) == WN_ERR_INPUT);
    CHECK_MESSAGE(message);
    CHECK(space.n_genes == 0 && !space.genes && !space.groups);
}

/* ---- draws ---- */

/* A draw has its own place in the generator, whatever was drawn before, and covers its range evenly. */
static void check_draws(void)
{
    struct wn_draws draws = wn_draws_begin(5, WN_DRAW_OFFSPRING, 7, 3, 2), again = draws;
    int64_t seen[3] = {0};

    CHECK(draws.stream == ((uint64_t)2 << 56 | (uint64_t)7 << 24 | 3) && draws.place == (uint64_t)2 << 32);
    const int64_t limit = INT64_C(1) << 62; /* all but the two lowest bits */
    CHECK(wn_draws_below(&draws, limit) == (int64_t)(wn_random_u64(5, draws.stream, (uint64_t)2 << 32) >> 2));
    CHECK(wn_draws_below(&draws, limit) != wn_draws_below(&again, limit));
    for (int i = 0; i < 30000; i++)
        seen[wn_draws_below(&draws, 3)]++;
    for (int i = 0; i < 3; i++)
        CHECK(llabs(seen[i] - 10000) < 5 * 82);
}

/* ---- levels that there are ---- */

/* The rule of the published level database, of a 7B model at 70 %: 4096x4096 has -8..+5, 4096x11008 -8..+8, a key
 * projection of grouped heads -2..+1. */
static void check_sparsity_levels(void)
{
    const int64_t weights[] = {4096 * 4096, 4096 * 1024, (int64_t)4096 * 11008};
    struct wn_space_request request = test_request(WN_SPACE_SPARSITY, 2, 0.7);
    struct wn_space space;

    request.n_linears = 3;
    request.weights = weights;
    request.step = 1000000;
    create(request, &space);
    CHECK(space.n_genes == 6 && space.n_groups == 1 && space.step == 1000000);
    CHECK(space.genes[0].low == -8 && space.genes[0].high == 5);
    CHECK(space.genes[1].low == -2 && space.genes[1].high == 1);
    CHECK(space.genes[5].low == -8 && space.genes[5].high == 8 && space.genes[5].block == 1);
    CHECK(space.genes[0].amount == (int64_t)(0.7 * 4096 * 4096));
    wn_space_release(&space);
    /* the published default: int(0.5 * 0.3 / 8 * 4096^2) */
    request.step = 0;
    request.hidden = 4096;
    create(request, &space);
    CHECK(space.step == 314572);
    wn_space_release(&space);
    /* no level has all weights zero: 64 weights, 32 zeros, step 16: up to 48 */
    request = test_request(WN_SPACE_SPARSITY, 2, 0.5);
    request.step = 16;
    create(request, &space);
    CHECK(space.genes[1].low == -2 && space.genes[1].high == 1);
    wn_space_release(&space);
}

static int64_t bits_of(const struct wn_space *space)
{
    int64_t bits = 0;

    for (int64_t g = 0; g < space->n_groups; g++)
        bits += space->groups[g].sum * space->genes[space->groups[g].genes[0]].per_level;
    return bits;
}

/* The sums of the groups, for depths whose shares are whole and not: all bits together are the target. */
static void check_bit_budgets(void)
{
    const double targets[] = {2.25, 2.5, 3, 3.75, 2.3};

    for (int64_t n_blocks = 2; n_blocks < 40; n_blocks++)
        for (int t = 0; t < 5; t++) {
            struct wn_space space;
            create(test_request(WN_SPACE_BITS, n_blocks, targets[t]), &space);
            CHECK(space.n_groups == 3 && space.groups[0].n_genes == 2 * n_blocks &&
                  space.groups[2].n_genes == 3 * n_blocks);
            /* sizes 4, 1 and 11 reach every multiple of 64 weights */
            CHECK(bits_of(&space) == 64 * (int64_t)floor(targets[t] * (double)(43 * n_blocks) + 1e-9));
            for (int64_t g = 0; g < 3; g++)
                CHECK(fabs((double)space.groups[g].sum - targets[t] * (double)space.groups[g].n_genes) < 3);
            if (targets[t] == 3)
                CHECK(space.groups[0].sum == 6 * n_blocks && space.groups[2].sum == 9 * n_blocks);
            wn_space_release(&space);
        }
}

/* Llama-2-7B at 2.25 and 2.5: sizes in the ratio 16 : 43, exact. And one where no sums give the target: the largest
 * below it. */
static void check_real_budgets(void)
{
    const int64_t llama[] = {16777216, 16777216, 16777216, 16777216, 45088768, 45088768, 45088768}, uneven[] = {50, 70};
    struct wn_space_request request = test_request(WN_SPACE_BITS, 32, 2.25);
    struct wn_space space;

    request.weights = llama;
    create(request, &space);
    CHECK(space.n_groups == 2 && space.groups[0].sum == 288 && space.groups[1].sum == 216);
    CHECK(4 * bits_of(&space) == 9 * space.weights);
    wn_space_release(&space);
    request = test_request(WN_SPACE_BITS, 1, 2.25);
    request.n_linears = 2;
    request.weights = uneven;
    check_refused(request, "key \"bits\": 2.25 leaves nothing to exchange");
    request.n_blocks = 2; /* 50 a + 70 b with a and b in 4 .. 12: 540 is out of reach */
    create(request, &space);
    int64_t best = 0;
    for (int64_t a = 4; a <= 12; a++)
        for (int64_t b = 4; b <= 12; b++)
            best = 50 * a + 70 * b <= 540 && 50 * a + 70 * b > best ? 50 * a + 70 * b : best;
    CHECK(best == 530 && bits_of(&space) == best);
    wn_space_release(&space);
}

static void check_drop_genes(void)
{
    struct wn_space_request request = test_request(WN_SPACE_DROP, 8, 0.4);
    struct wn_space space;

    create(request, &space);
    CHECK(space.n_genes == 16 && space.n_groups == 2 && space.groups[0].sum == 3 && space.groups[1].sum == 3);
    CHECK(space.genes[0].per_level == 640 && space.genes[1].per_level == 2112 && space.genes[3].block == 1);
    wn_space_release(&space);
    request.unit = WN_SPACE_BLOCKS;
    request.target = 0.25;
    request.legal_attention = "0-5";
    request.legal_mlp = "2,4-7";
    create(request, &space);
    CHECK(space.n_genes == 8 && space.n_groups == 1);
    for (int b = 0; b < 8; b++)
        CHECK(space.genes[b].high == (b == 2 || b == 4 || b == 5));
    wn_space_release(&space);
}

static void check_mistakes(void)
{
    struct wn_space_request request = test_request(WN_SPACE_BITS, 4, 6.5);

    check_refused(request, "key \"bits\": 6.5 lies outside the levels 2 to 6");
    request.target = 2;
    check_refused(request, "key \"bits\": 2 leaves nothing to exchange between levels 2 and 6");
    request.bits = WN_BITS(2) | WN_BITS(8);
    request.target = 2.1; /* all of a group at 8 in place of 2 are too many */
    request.n_blocks = 1;
    check_refused(request, "key \"bits\": 2.1 leaves nothing to exchange between levels 2 and 8");
    check_refused(test_request(WN_SPACE_SPARSITY, 4, 0), "key \"sparsity\": 0 leaves nothing to search for");
    request = test_request(WN_SPACE_SPARSITY, 4, 0.5);
    request.step = 1000;
    check_refused(request, "key \"step\": levels of 1000 weights leave nothing to exchange at sparsity 0.5");
    request.step = 0;
    request.levels = 64;
    request.hidden = 15;
    check_refused(request, "key \"levels\": with 64 levels a level is less than one weight");
    request = test_request(WN_SPACE_DROP, 8, 0.1);
    check_refused(request, "key \"sparsity\": 0.1 of 8 blocks is 0 left out of each kind: expected 1 to 7");
    request.target = 1;
    check_refused(request, "1 of 8 blocks is 8 left out of each kind");
    request.target = 0.5;
    request.legal_mlp = "1-4";
    check_refused(request, "key \"legal_mlp\": 4 blocks may be left out, and 4 have to be");
    const char *const wrong[] = {"1-8", "x", "1,", "3-1", "1-", "1 2", "-1"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        request.legal_mlp = wrong[i];
        check_refused(request, "key \"legal_mlp\": expected blocks of 0 to 7 like \"0-3,7\", got");
    }
}

/* ---- genomes ---- */

static void check_uniform(void)
{
    struct wn_space space;
    int32_t genome[200];

    create(test_request(WN_SPACE_BITS, 4, 2.25), &space);
    wn_space_uniform(&space, genome);
    CHECK_OK(wn_space_check(&space, genome));
    for (int64_t i = 0; i < space.n_genes; i++)
        CHECK(genome[i] == 2 || genome[i] == 3);
    CHECK(wn_space_achieved(&space, genome) == 2.25);
    wn_space_release(&space);
    struct wn_space_request request = test_request(WN_SPACE_DROP, 8, 0.5);
    request.legal_attention = "0,2-6";
    create(request, &space);
    wn_space_uniform(&space, genome);
    CHECK_OK(wn_space_check(&space, genome));
    for (int b = 0; b < 8; b++) /* every second one, where all are legal */
        CHECK(genome[2 * b + 1] == (b % 2 == 1));
    CHECK(wn_space_achieved(&space, genome) == 0.5);
    wn_space_release(&space);
    create(test_request(WN_SPACE_SPARSITY, 3, 0.5), &space);
    wn_space_uniform(&space, genome);
    for (int64_t i = 0; i < space.n_genes; i++)
        CHECK(genome[i] == 0);
    CHECK(wn_space_amount(&space, genome) == space.weights / 2);
    wn_space_release(&space);
}

static void check_foreign_genomes(void)
{
    struct wn_space space;
    int32_t genome[28] = {0};

    create(test_request(WN_SPACE_SPARSITY, 4, 0.5), &space);
    CHECK_OK(wn_space_check(&space, genome));
    genome[3] = 1;
    CHECK(wn_space_check(&space, genome) == WN_ERR_INPUT);
    CHECK_MESSAGE("the levels of group 0 have the sum 1 in place of 0");
    genome[4] = -1;
    CHECK_OK(wn_space_check(&space, genome));
    genome[8] = 100;
    genome[9] = -100;
    CHECK(wn_space_check(&space, genome) == WN_ERR_INPUT);
    CHECK_MESSAGE("block 1, linear 1: there is no level 100, only");
    wn_space_release(&space);
}

/* ---- 10^5 mutations ---- */

/* What was seen of a walk: that it went far, in steps of the right lengths. */
struct walk {
    int64_t moved[7], unchanged; /* levels moved by a mutation, sum over genes */
    int64_t lowest, highest;     /* reached at all */
};

static void take_step(const struct wn_space *space, const int32_t *before, const int32_t *after, struct walk *walk)
{
    int64_t moved = 0;

    for (int64_t i = 0; i < space->n_genes; i++) {
        moved += llabs(after[i] - before[i]);
        walk->lowest += after[i] == space->genes[i].low;
        walk->highest += after[i] == space->genes[i].high;
    }
    CHECK(moved <= 6 && moved % 2 == 0);
    walk->moved[moved]++;
}

static void check_mutations(struct wn_space_request request)
{
    struct wn_space space;
    struct walk walk = {0};
    int32_t genome[200], before[200];

    create(request, &space);
    CHECK(space.n_genes <= 200);
    struct wn_draws draws = wn_draws_begin(1, WN_DRAW_INITIAL, 0, 0, 0);
    wn_space_draw(&space, &draws, genome);
    CHECK_OK(wn_space_check(&space, genome));
    const int64_t amount = wn_space_amount(&space, genome);
    for (int64_t m = 0; m < MUTATIONS; m++) {
        memcpy(before, genome, sizeof before);
        draws = wn_draws_begin(1, WN_DRAW_OFFSPRING, m, 0, 0);
        wn_space_mutate(&space, &draws, genome);
        if (wn_space_check(&space, genome) != WN_OK || wn_space_amount(&space, genome) != amount) {
            CHECK(!"a mutation broke the budget");
            break;
        }
        take_step(&space, before, genome, &walk);
    }
    CHECK(walk.lowest > 0 && walk.highest > 0);
    /* one switch 5/9, two 3/9, three 1/9; some of a second or third undo or go on with an earlier one */
    CHECK(walk.moved[2] > MUTATIONS * 5 / 10 && walk.moved[2] < MUTATIONS * 7 / 10);
    CHECK(walk.moved[4] > MUTATIONS * 2 / 10 && walk.moved[4] < MUTATIONS * 4 / 10);
    CHECK(walk.moved[6] > MUTATIONS / 40 && walk.moved[0] < MUTATIONS / 20);
    wn_space_release(&space);
}

/* With gaps a switch moves more than two genes, and the budget stays. */
static void check_gaps(unsigned bits, double target, int64_t longest)
{
    struct wn_space_request request = test_request(WN_SPACE_BITS, 24, target);
    struct wn_space space;
    int64_t seen[WN_BITS_MOST + 1] = {0}, unchanged = 0, most = 0;
    int32_t genome[200], before[200];

    request.bits = bits;
    create(request, &space);
    CHECK(wn_bits_have_gaps(space.bits) && space.n_genes <= 200);
    CHECK(bits_of(&space) == 64 * (int64_t)floor(target * 43 * 24 + 1e-9));
    struct wn_draws draws = wn_draws_begin(1, WN_DRAW_INITIAL, 0, 0, 0);
    wn_space_draw(&space, &draws, genome);
    CHECK_OK(wn_space_check(&space, genome));
    wn_space_uniform(&space, before);
    CHECK_OK(wn_space_check(&space, before));
    for (int64_t m = 0; m < MUTATIONS / 4; m++) {
        int64_t moved = 0;
        memcpy(before, genome, sizeof before);
        draws = wn_draws_begin(1, WN_DRAW_OFFSPRING, m, 0, 0);
        wn_space_mutate(&space, &draws, genome);
        if (wn_space_check(&space, genome) != WN_OK) {
            CHECK(!"a mutation broke the budget or took a level that is missing");
            break;
        }
        for (int64_t i = 0; i < space.n_genes; i++) {
            moved += before[i] != genome[i];
            seen[genome[i]]++;
        }
        unchanged += moved == 0;
        most = moved > most ? moved : most;
    }
    for (int level = 0; level <= WN_BITS_MOST; level++)
        CHECK((seen[level] > 0) == ((bits & WN_BITS(level)) != 0));
    CHECK(unchanged < MUTATIONS / 40 && most >= longest);
    wn_space_release(&space);
}

/* Sums that levels reach: 2 and 8 in steps of 6, and of 2, 7 and 8 no sum that is 1 to 4 above the least. */
static void check_reachable_sums(void)
{
    const unsigned sets[] = {WN_BITS(2) | WN_BITS(8), WN_BITS(2) | WN_BITS(7) | WN_BITS(8),
                             WN_BITS(2) | WN_BITS(4) | WN_BITS(7)};

    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++)
        for (int64_t n_blocks = 2; n_blocks < 12; n_blocks++)
            for (double target = 3; target < 7; target += 0.37) {
                struct wn_space_request request = test_request(WN_SPACE_BITS, n_blocks, target);
                struct wn_space space;
                int32_t genome[100];
                request.bits = sets[s];
                create(request, &space);
                CHECK((double)bits_of(&space) <= target * (double)space.weights + 1e-6);
                CHECK((double)bits_of(&space) > target * (double)space.weights - 6 * 64 * 11);
                wn_space_uniform(&space, genome);
                CHECK_OK(wn_space_check(&space, genome));
                struct wn_draws draws = wn_draws_begin(1, WN_DRAW_INITIAL, 0, n_blocks, 0);
                wn_space_draw(&space, &draws, genome);
                CHECK_OK(wn_space_check(&space, genome));
                wn_space_release(&space);
            }
}

/* Only gene 1 can rise, both can fall: a switch must not take gene 1 for both. */
static void check_only_riser(void)
{
    const int64_t weights[] = {8, 8};
    struct wn_space_request request = test_request(WN_SPACE_SPARSITY, 1, 0.5);
    struct wn_space space;
    int64_t single = 0;

    request.n_linears = 2;
    request.weights = weights;
    request.step = 1;
    create(request, &space);
    space.genes[0].high = 0;
    for (int64_t m = 0; m < 100; m++) {
        int32_t genome[2] = {0, 0};
        struct wn_draws draws = wn_draws_begin(1, WN_DRAW_OFFSPRING, m, 0, 0), again = draws;
        bool first = wn_draws_below(&again, 3) == 0, second = wn_draws_below(&again, 3) == 0;
        wn_space_mutate(&space, &draws, genome);
        CHECK_OK(wn_space_check(&space, genome));
        if (first || second) {
            CHECK(genome[0] == -1 && genome[1] == 1);
            single++;
        }
    }
    CHECK(single > 30);
    wn_space_release(&space);
}

int main(void)
{
    check_draws();
    check_sparsity_levels();
    check_bit_budgets();
    check_real_budgets();
    check_drop_genes();
    check_mistakes();
    check_uniform();
    check_foreign_genomes();
    check_mutations(test_request(WN_SPACE_SPARSITY, 24, 0.6));
    check_mutations(test_request(WN_SPACE_BITS, 24, 2.25));
    check_mutations(test_request(WN_SPACE_BITS, 24, 4));
    struct wn_space_request drop = test_request(WN_SPACE_DROP, 24, 0.25);
    check_mutations(drop);
    drop.unit = WN_SPACE_BLOCKS;
    drop.legal_mlp = "3-22";
    check_mutations(drop);
    check_only_riser();
    check_gaps(WN_BITS(2) | WN_BITS(3) | WN_BITS(4) | WN_BITS(8), 3, 5);
    check_gaps(WN_BITS(2) | WN_BITS(3) | WN_BITS(4) | WN_BITS(8), 3.3, 5);
    check_gaps(WN_BITS(2) | WN_BITS(5) | WN_BITS(8), 5, 4);
    check_gaps(WN_BITS(2) | WN_BITS(4) | WN_BITS(7), 3, 4);
    check_reachable_sums();
    return test_finish();
}
