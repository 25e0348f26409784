/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The search on fitness that adds up: reaches the optimum of dynamic programming, keeps its rules generation by
 * generation, goes on with the same bits from any of them.
 *
 *     test_evolution trace KIND    prints a search as JSON lines, for replay.py
 */
#include "spaces.h"

enum { SEQUENCES = 30, BLOCKS = 6, STAGES = 3, MOST_GENES = BLOCKS * LINEARS };

/* ---- a fitness ---- */

struct toy {
    const struct wn_space *space;
    double *errors;
    double noise; /* how much the minibatch matters */
    bool trace;   /* print minibatches */
    int64_t calls, fail_at, candidates, tokens;
    int64_t count[STAGES];            /* candidates of the last generation by stage */
    struct wn_minibatch seen[STAGES]; /* its minibatches; owned */
};

static int64_t lengths[SEQUENCES];

static double toy_fitness(const struct toy *toy, const int32_t *genome, const struct wn_minibatch *batch)
{
    double fitness = wn_space_error(toy->space, toy->errors, genome);
    int64_t sum = 0;

    for (int64_t i = 0; i < toy->space->n_genes; i++)
        sum += (i + 1) * (genome[i] + 50);
    for (int64_t i = 0; i < batch->n_sequences; i++)
        fitness +=
            toy->noise * (double)batch->length[i] * test_whole(11, (uint64_t)batch->sequence[i], (uint64_t)sum, 6);
    return fitness;
}

static void copy_batch(const struct wn_minibatch *from, struct wn_minibatch *to)
{
    size_t bytes = (size_t)from->n_sequences * sizeof(int64_t);

    wn_minibatch_release(to);
    *to = *from;
    to->sequence = wn_alloc(from->n_sequences, sizeof(int64_t));
    to->length = wn_alloc(from->n_sequences, sizeof(int64_t));
    memcpy(to->sequence, from->sequence, bytes);
    memcpy(to->length, from->length, bytes);
}

static void print_batch(const struct wn_minibatch *batch)
{
    printf("{\"batch\": [%lld, %lld], \"drawn\": [", (long long)batch->generation, (long long)batch->stage);
    for (int64_t i = 0; i < batch->n_sequences; i++)
        printf("%s[%lld, %lld]", i ? ", " : "", (long long)batch->sequence[i], (long long)batch->length[i]);
    printf("]}\n");
}

static wn_status evaluate(void *context, const int32_t *genomes, int64_t count, const struct wn_minibatch *batch,
                          double *fitness, double *accuracy)
{
    struct toy *toy = context;

    CHECK(isnan(accuracy[0]) && isnan(accuracy[count - 1]));
    if (toy->calls++ == toy->fail_at)
        return wn_fail(WN_ERR_IO, "the disk is full");
    if (toy->trace)
        print_batch(batch);
    copy_batch(batch, &toy->seen[batch->stage]);
    toy->count[batch->stage] = count;
    toy->candidates += count;
    toy->tokens += count * batch->tokens;
    for (int64_t i = 0; i < count; i++) {
        CHECK_OK(wn_space_check(toy->space, genomes + i * toy->space->n_genes));
        fitness[i] = toy_fitness(toy, genomes + i * toy->space->n_genes, batch);
    }
    return WN_OK;
}

/* ---- a search ---- */

struct example {
    struct wn_search search;
    struct wn_search_settings settings;
    struct wn_space space;
    struct toy toy;
};

static void example_of(struct example *example, struct wn_space_request request)
{
    *example = (struct example){0};
    CHECK_OK(wn_space_create(&request, &example->space));
    for (int64_t i = 0; i < SEQUENCES; i++)
        lengths[i] = 20 + i % 7;
    example->settings = (struct wn_search_settings){.generations = 20,
                                                    .offspring = 24,
                                                    .seed = 3,
                                                    .initial = 12,
                                                    .initial_tokens = 64,
                                                    .n_stages = STAGES,
                                                    .survivors = {8, 3, 1},
                                                    .tokens = {50, 100, 400}};
    example->toy =
        (struct toy){.space = &example->space, .errors = test_errors(&example->space, 5), .noise = 1, .fail_at = -1};
    example->search = (struct wn_search){.settings = &example->settings,
                                         .space = &example->space,
                                         .n_sequences = SEQUENCES,
                                         .lengths = lengths,
                                         .evaluate = evaluate,
                                         .context = &example->toy};
}

static void example_init(struct example *example, enum wn_space_kind kind, double target)
{
    example_of(example, test_request(kind, BLOCKS, target));
}

/* Levels 2, 3, 4 and 8. */
static void example_gaps(struct example *example, double target)
{
    struct wn_space_request request = test_request(WN_SPACE_BITS, BLOCKS, target);

    request.bits = WN_BITS(2) | WN_BITS(3) | WN_BITS(4) | WN_BITS(8);
    example_of(example, request);
}

static void example_release(struct example *example)
{
    for (int s = 0; s < STAGES; s++)
        wn_minibatch_release(&example->toy.seen[s]);
    wn_free(example->toy.errors);
    wn_space_release(&example->space);
}

/* NaN is itself here. */
static bool same_numbers(int64_t count, const double *a, const double *b)
{
    for (int64_t i = 0; i < count; i++)
        if (isnan(a[i]) != isnan(b[i]) || (!isnan(a[i]) && a[i] != b[i]))
            return false;
    return true;
}

static bool same_state(const struct wn_search_state *a, const struct wn_search_state *b)
{
    size_t level = sizeof(int32_t);

    return a->generation == b->generation && a->winner == b->winner && a->n_candidates == b->n_candidates &&
           same_numbers(1, &a->parent_fitness, &b->parent_fitness) &&
           !memcmp(a->parent, b->parent, (size_t)a->n_genes * level) &&
           !memcmp(a->genomes, b->genomes, (size_t)(a->n_candidates * a->n_genes) * level) &&
           same_numbers(a->n_candidates * a->n_stages, a->fitness, b->fitness);
}

/* ---- the optimum ---- */

/* Errors of convex shape: whoever lets no switch improve is the best. */
static void make_convex(struct example *example, double sign)
{
    const struct wn_space *space = &example->space;
    int64_t levels = space->high - space->low + 1;

    example->toy.noise = 0;
    for (int64_t i = 0; i < space->n_genes; i++)
        for (int64_t l = 0; l < levels; l++) {
            double weight = 1 + 5 * wn_random_uniform(8, 0, (uint64_t)i), level = (double)(space->low + l);
            example->toy.errors[i * levels + l] =
                sign * (space->kind == WN_SPACE_BITS ? weight * exp2(-level) : weight * (level + 9) * (level + 9));
        }
}

static void check_optimum(enum wn_space_kind kind, double target, bool inverted)
{
    struct example example;
    struct wn_search_state state;
    int32_t best[MOST_GENES];

    example_init(&example, kind, target);
    make_convex(&example, 1);
    CHECK_OK(wn_space_minimize(&example.space, example.toy.errors, best));
    make_convex(&example, inverted ? -1 : 1); /* the largest of negative errors is the same genome */
    example.settings.inverted = inverted;
    CHECK_OK(wn_search_begin(&example.search, &state));
    double begin = wn_space_error(&example.space, example.toy.errors, state.parent);
    while (state.generation < 1000)
        CHECK_OK(wn_search_step(&example.search, &state));
    CHECK_NEAR(wn_space_error(&example.space, example.toy.errors, state.parent),
               wn_space_error(&example.space, example.toy.errors, best), 1e-9);
    CHECK(fabs(begin - state.parent_fitness) > 0.01);
    wn_search_state_release(&state);
    example_release(&example);
}

/* ---- rules ---- */

/* A minibatch: different sequences, whole ones but the last, exactly the tokens. */
static void check_batch(const struct wn_minibatch *batch, int64_t tokens)
{
    int64_t sum = 0;

    CHECK(batch->tokens == tokens);
    for (int64_t i = 0; i < batch->n_sequences; i++) {
        sum += batch->length[i];
        CHECK(batch->length[i] >= 1 && batch->length[i] <= lengths[batch->sequence[i]]);
        CHECK(i == batch->n_sequences - 1 || batch->length[i] == lengths[batch->sequence[i]]);
        for (int64_t j = 0; j < i; j++)
            CHECK(batch->sequence[j] != batch->sequence[i]);
    }
    CHECK(sum == tokens);
}

static bool same_sequences(const struct wn_minibatch *a, const struct wn_minibatch *b)
{
    int64_t n = a->n_sequences < b->n_sequences ? a->n_sequences : b->n_sequences;

    for (int64_t i = 0; i < n; i++)
        if (a->sequence[i] != b->sequence[i])
            return false;
    return n > 0;
}

/* Who was evaluated: all offspring, then the survivors; the parent with the last. The winner is the best of these. */
static void check_generation(const struct example *example, const struct wn_search_state *state, const int32_t *before)
{
    const int64_t *survivors = example->settings.survivors, n = state->n_candidates;
    int64_t seen[STAGES] = {0};
    double best = INFINITY;

    CHECK(n == example->settings.offspring + 1);
    CHECK(!memcmp(state->genomes + (n - 1) * state->n_genes, before, (size_t)state->n_genes * sizeof *before));
    for (int64_t i = 0; i < n; i++) {
        for (int s = 0; s < STAGES; s++)
            seen[s] += isfinite(state->fitness[i * STAGES + s]);
        if (isfinite(state->fitness[i * STAGES + 2]))
            best = fmin(best, state->fitness[i * STAGES + 2]);
        for (int64_t j = 0; j < i; j++)
            CHECK(memcmp(state->genomes + i * state->n_genes, state->genomes + j * state->n_genes,
                         (size_t)state->n_genes * sizeof *before) != 0);
    }
    CHECK(seen[0] == n - 1 && seen[1] == survivors[0] && seen[2] == survivors[1] + 1);
    CHECK(isnan(state->fitness[(n - 1) * STAGES]) && isfinite(state->fitness[(n - 1) * STAGES + 2]));
    CHECK(state->parent_fitness == best && state->fitness[state->winner * STAGES + 2] == best);
    /* none that survived a stage was worse in it than one that did not */
    for (int s = 0; s + 1 < STAGES; s++)
        for (int64_t i = 0; i < n - 1; i++)
            for (int64_t j = 0; j < n - 1; j++)
                CHECK(isnan(state->fitness[i * STAGES + s + 1]) || isnan(state->fitness[j * STAGES + s]) ||
                      !isnan(state->fitness[j * STAGES + s + 1]) ||
                      state->fitness[i * STAGES + s] <= state->fitness[j * STAGES + s]);
}

static void check_rules(enum wn_space_kind kind, double target)
{
    struct example example;
    struct wn_search_state state;
    struct wn_minibatch last = {0};
    int32_t before[MOST_GENES];
    int64_t kept = 0, moved = 0;

    example_init(&example, kind, target);
    CHECK_OK(wn_search_begin(&example.search, &state));
    CHECK(example.toy.tokens == wn_search_initial_tokens(&example.settings, &example.space));
    CHECK((kind == WN_SPACE_SPARSITY) == (example.toy.calls == 0));
    while (state.generation < example.settings.generations) {
        example.toy.tokens = 0;
        memcpy(before, state.parent, (size_t)state.n_genes * sizeof *before);
        CHECK_OK(wn_search_step(&example.search, &state));
        check_generation(&example, &state, before);
        CHECK(example.toy.tokens == wn_search_generation_tokens(&example.settings));
        for (int s = 0; s < STAGES; s++)
            check_batch(&example.toy.seen[s], example.settings.tokens[s]);
        CHECK(!same_sequences(&example.toy.seen[0], &example.toy.seen[1]));
        CHECK(state.generation == 1 || !same_sequences(&example.toy.seen[2], &last));
        copy_batch(&example.toy.seen[2], &last);
        kept += state.winner == state.n_candidates - 1;
        moved += state.winner < state.n_candidates - 1;
    }
    CHECK(moved > 1 && (kept > 0 || kind == WN_SPACE_SPARSITY));
    wn_minibatch_release(&last);
    wn_search_state_release(&state);
    example_release(&example);
}

/* ---- going on ---- */

/* From every generation, with nothing but its number and parent, to the same end. */
static void check_continued(enum wn_space_kind kind, double target)
{
    struct example example;
    struct wn_search_state whole[21];
    int64_t parents = 0;

    example_init(&example, kind, target);
    for (int g = 0; g <= 20; g++) {
        struct wn_search_state *state = &whole[g];
        if (g == 0) {
            CHECK_OK(wn_search_begin(&example.search, state));
            continue;
        }
        wn_search_state_init(&example.search, state);
        state->generation = g - 1;
        memcpy(state->parent, whole[g - 1].parent, (size_t)state->n_genes * sizeof *state->parent);
        CHECK_OK(wn_search_step(&example.search, state));
        parents += memcmp(state->parent, whole[g - 1].parent, (size_t)state->n_genes * sizeof *state->parent) != 0;
    }
    CHECK(parents > 1);
    struct wn_search_state state;
    CHECK_OK(wn_search_begin(&example.search, &state));
    CHECK(same_state(&state, &whole[0]));
    for (int g = 1; g <= 20; g++) {
        CHECK_OK(wn_search_step(&example.search, &state));
        CHECK(same_state(&state, &whole[g]));
    }
    /* another seed is another search */
    example.settings.seed = 4;
    wn_search_state_release(&state);
    CHECK_OK(wn_search_begin(&example.search, &state));
    while (state.generation < 20)
        CHECK_OK(wn_search_step(&example.search, &state));
    CHECK(!same_state(&state, &whole[20]));
    wn_search_state_release(&state);
    for (int g = 0; g <= 20; g++)
        wn_search_state_release(&whole[g]);
    example_release(&example);
}

/* A callback that fails: nothing is kept by begin, and nothing is changed by a step, which can be tried again. */
static void check_failures(void)
{
    struct example example;
    struct wn_search_state state, other;

    example_init(&example, WN_SPACE_DROP, 0.4);
    example.toy.fail_at = 0;
    CHECK(wn_search_begin(&example.search, &state) == WN_ERR_IO);
    CHECK_MESSAGE("the disk is full");
    CHECK(!state.parent && !state.genomes && !state.fitness);
    CHECK_OK(wn_search_begin(&example.search, &state));
    CHECK_OK(wn_search_begin(&example.search, &other));
    for (int stage = 0; stage < STAGES; stage++) {
        example.toy.fail_at = example.toy.calls + stage;
        CHECK(wn_search_step(&example.search, &state) == WN_ERR_IO);
        CHECK(same_state(&state, &other));
    }
    wn_search_state_release(&other);
    CHECK_OK(wn_search_step(&example.search, &state));
    CHECK(state.generation == 1);
    wn_search_state_release(&state);
    example_release(&example);
}

/* ---- odd fitness, small spaces ---- */

struct odd {
    double value; /* of all but the third candidate */
    double third;
    double right; /* accuracy of the fifth; of the others 0.5; NaN: nothing is answered */
};

static wn_status odd_fitness(void *context, const int32_t *genomes, int64_t count, const struct wn_minibatch *batch,
                             double *fitness, double *accuracy)
{
    const struct odd *odd = context;

    (void)genomes;
    for (int64_t i = 0; i < count; i++) {
        fitness[i] = i == 2 && batch->stage == 0 ? odd->third : odd->value;
        if (!isnan(odd->right))
            accuracy[i] = i == 4 && batch->stage == 0 ? odd->right : 0.5;
    }
    return WN_OK;
}

static int64_t winner_of_answers(double value, double third, double right, bool inverted)
{
    struct odd odd = {value, third, right};
    struct example example;
    struct wn_search_state state;

    example_init(&example, WN_SPACE_SPARSITY, 0.5);
    example.settings.inverted = inverted;
    example.settings.survivors[0] = example.settings.survivors[1] = 1;
    example.search.evaluate = odd_fitness;
    example.search.context = &odd;
    CHECK_OK(wn_search_begin(&example.search, &state));
    CHECK(isnan(state.parent_fitness) && state.n_candidates == 1);
    CHECK_OK(wn_search_step(&example.search, &state));
    int64_t winner = state.winner;
    wn_search_state_release(&state);
    example_release(&example);
    return winner;
}

static int64_t winner_of(double value, double third, bool inverted)
{
    return winner_of_answers(value, third, (double)NAN, inverted);
}

static void check_odd_fitness(void)
{
    CHECK(winner_of_answers(1, 1, 0.6, false) == 4); /* of equals the one with more right answers */
    CHECK(winner_of_answers(1, 1, 0.4, false) == 0 && winner_of_answers(1, 1, 0.4, true) == 4);
    CHECK(winner_of_answers(1, 0.5, 0.6, false) == 2); /* fitness comes first */
    CHECK(winner_of(1, 0.5, false) == 2);
    CHECK(winner_of(1, 1, false) == 0); /* of equals the first; an offspring before its parent */
    CHECK(winner_of(1, 0.5, true) == 0);
    CHECK(winner_of(1, 2, true) == 2);
    CHECK(winner_of(NAN, NAN, false) == 24); /* the parent */
    CHECK(winner_of(INFINITY, NAN, false) == 24 && winner_of(-INFINITY, NAN, true) == 24);
    CHECK(winner_of(1, -INFINITY, false) == 0 && winner_of(1, NAN, true) == 0);
}

/* Three of four blocks stay: with one left out there are three others, and no more candidates than that. */
static void check_small_space(void)
{
    struct wn_space_request request = test_request(WN_SPACE_DROP, 4, 0.25);
    struct wn_search_state state;
    struct example example;

    example_init(&example, WN_SPACE_DROP, 0.4);
    wn_space_release(&example.space);
    wn_free(example.toy.errors);
    request.unit = WN_SPACE_BLOCKS;
    CHECK_OK(wn_space_create(&request, &example.space));
    example.toy.errors = test_errors(&example.space, 1);
    CHECK_OK(wn_search_begin(&example.search, &state));
    CHECK(state.n_candidates == 4);
    for (int g = 0; g < 3; g++) {
        CHECK_OK(wn_search_step(&example.search, &state));
        CHECK(state.n_candidates == 4 && example.toy.count[0] == 3 && example.toy.count[1] == 3);
    }
    wn_search_state_release(&state);
    example_release(&example);
}

static void check_generations(void)
{
    struct wn_space_request request = test_request(WN_SPACE_DROP, 32, 0.375);
    struct wn_search_settings settings = {0};
    struct wn_space space;

    CHECK_OK(wn_space_create(&request, &space));
    CHECK(wn_search_generations(&settings, &space) == 160); /* 12 of 32, as published */
    settings.generations = 7;
    CHECK(wn_search_generations(&settings, &space) == 7);
    wn_space_release(&space);
}

/* ---- for replay.py ---- */

static void print_genome(const int32_t *genome, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        printf("%s%d", i ? ", " : "[", genome[i]);
    printf("]");
}

static void print_state(const struct wn_search_state *state)
{
    printf("{\"generation\": %lld, \"winner\": %lld, \"parent\": ", (long long)state->generation,
           (long long)state->winner);
    print_genome(state->parent, state->n_genes);
    for (int64_t i = 0; i < state->n_candidates; i++) {
        printf("%s", i ? ", " : ", \"genomes\": [");
        print_genome(state->genomes + i * state->n_genes, state->n_genes);
    }
    for (int64_t i = 0; i < state->n_candidates * state->n_stages; i++) {
        printf("%s", i ? ", " : "], \"fitness\": [");
        if (isnan(state->fitness[i]))
            printf("null");
        else
            printf("%.17g", state->fitness[i]);
    }
    printf("]}\n");
}

static int trace(const char *kind)
{
    static const struct {
        const char *name;
        enum wn_space_kind kind;
        double target;
    } kinds[] = {{"sparsity", WN_SPACE_SPARSITY, 0.6},
                 {"bits", WN_SPACE_BITS, 2.25},
                 {"gaps", WN_SPACE_BITS, 3.3},
                 {"drop", WN_SPACE_DROP, 0.4}};
    struct example example;
    struct wn_search_state state;

    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++) {
        if (strcmp(kinds[k].name, kind) != 0)
            continue;
        if (!strcmp(kind, "gaps"))
            example_gaps(&example, kinds[k].target);
        else
            example_init(&example, kinds[k].kind, kinds[k].target);
        example.toy.trace = true;
        CHECK_OK(wn_search_begin(&example.search, &state));
        print_state(&state);
        while (state.generation < example.settings.generations) {
            CHECK_OK(wn_search_step(&example.search, &state));
            print_state(&state);
        }
        wn_search_state_release(&state);
        example_release(&example);
    }
    return test_finish();
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "trace"))
        return trace(argv[2]);
    check_optimum(WN_SPACE_SPARSITY, 0.6, false);
    check_optimum(WN_SPACE_BITS, 2.25, false);
    check_optimum(WN_SPACE_BITS, 3, false);
    check_optimum(WN_SPACE_DROP, 0.5, false);
    check_optimum(WN_SPACE_SPARSITY, 0.6, true);
    check_optimum(WN_SPACE_DROP, 0.5, true);
    check_rules(WN_SPACE_SPARSITY, 0.6);
    check_rules(WN_SPACE_BITS, 2.25);
    check_rules(WN_SPACE_DROP, 0.5);
    check_continued(WN_SPACE_SPARSITY, 0.6);
    check_continued(WN_SPACE_BITS, 2.25);
    check_continued(WN_SPACE_DROP, 0.5);
    check_failures();
    check_odd_fitness();
    check_small_space();
    check_generations();
    return test_finish();
}
