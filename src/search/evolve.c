/* SPDX-License-Identifier: Apache-2.0 */
/* The search: minibatches, stages of selection, generations (EvoPress, arXiv:2410.14649, algorithms 1 to 3). */
#include "search_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ATTEMPTS = 64 }; /* to find a candidate unlike those before it */

/* ---- how much there is to do ---- */

int64_t wn_search_generations(const struct wn_search_settings *settings, const struct wn_space *space)
{
    const struct wn_gene_group *group = &space->groups[0];

    if (settings->generations)
        return settings->generations;
    return (int64_t)((double)(group->sum * (group->n_genes - group->sum)) / 1.5);
}

/* False for sparsity and whole bits, where the start levels have the right sums already. */
static bool has_choice(const struct wn_space *space)
{
    int64_t start = 0, sum = 0;

    for (int64_t i = 0; i < space->n_genes; i++) {
        const struct wn_gene *gene = &space->genes[i];
        int32_t level = space->groups[gene->group].start;
        start += level < gene->high ? level : gene->high;
    }
    for (int64_t g = 0; g < space->n_groups; g++)
        sum += space->groups[g].sum;
    return start > sum;
}

int64_t wn_search_initial_tokens(const struct wn_search_settings *settings, const struct wn_space *space)
{
    return has_choice(space) ? settings->initial * settings->initial_tokens : 0;
}

int64_t wn_search_generation_tokens(const struct wn_search_settings *settings)
{
    int64_t tokens = 0, candidates = settings->offspring;

    for (int s = 0; s < settings->n_stages; s++) {
        tokens += (candidates + (s == settings->n_stages - 1)) * settings->tokens[s];
        candidates = settings->survivors[s];
    }
    return tokens;
}

/* ---- minibatches ---- */

static int64_t tokens_of(const struct wn_search *search, int64_t generation, int64_t stage)
{
    return generation == 0 ? search->settings->initial_tokens : search->settings->tokens[stage];
}

/* The beginning of a shuffle, as far as tokens are needed. */
void wn_search_draw_batch(const struct wn_search *search, int64_t generation, int64_t stage, struct wn_minibatch *batch)
{
    struct wn_draws draws = wn_draws_begin(search->settings->seed, WN_DRAW_TOKENS, generation, stage, 0);
    int64_t n = search->n_sequences, left = tokens_of(search, generation, stage);

    *batch = (struct wn_minibatch){.generation = generation, .stage = stage, .tokens = left};
    batch->sequence = wn_alloc(n, sizeof *batch->sequence);
    batch->length = wn_alloc(n, sizeof *batch->length);
    for (int64_t i = 0; i < n; i++)
        batch->sequence[i] = i;
    for (int64_t i = 0; i < n && left > 0; i++) {
        int64_t drawn = wn_draws_pick(&draws, batch->sequence, n, i);
        batch->length[i] = search->lengths[drawn] < left ? search->lengths[drawn] : left;
        left -= batch->length[i];
        batch->n_sequences++;
    }
    if (left > 0)
        WN_BUG("a stage asks for %lld tokens more than there are", (long long)left);
}

void wn_minibatch_release(struct wn_minibatch *batch)
{
    wn_free(batch->sequence);
    wn_free(batch->length);
    *batch = (struct wn_minibatch){0};
}

/* ---- candidates ---- */

static bool is_among(const int32_t *genome, const int32_t *genomes, int64_t count, int64_t n_genes)
{
    for (int64_t i = 0; i < count; i++)
        if (!memcmp(genome, genomes + i * n_genes, (size_t)n_genes * sizeof *genome))
            return true;
    return false;
}

/* Candidate `number` is drawn until it is new: a random genome, or an offspring of the parent. */
static bool draw_candidate(const struct wn_search *search, const struct wn_search_state *state, int64_t number,
                           struct wn_search_state *next)
{
    const int64_t n_genes = next->n_genes, seed = search->settings->seed;
    int32_t *genome = next->genomes + next->n_candidates * n_genes;

    for (int64_t attempt = 0; attempt < ATTEMPTS; attempt++) {
        struct wn_draws draws =
            wn_draws_begin(seed, state ? WN_DRAW_OFFSPRING : WN_DRAW_INITIAL, next->generation, number, attempt);
        if (state) {
            memcpy(genome, state->parent, (size_t)n_genes * sizeof *genome);
            wn_space_mutate(search->space, &draws, genome);
        } else {
            wn_space_draw(search->space, &draws, genome);
        }
        if (!is_among(genome, next->genomes, next->n_candidates, n_genes) &&
            !(state && is_among(genome, state->parent, 1, n_genes)))
            return true;
    }
    return false;
}

static void draw_candidates(const struct wn_search *search, const struct wn_search_state *state, int64_t most,
                            struct wn_search_state *next)
{
    next->genomes = wn_alloc((most + 1) * next->n_genes, sizeof *next->genomes);
    for (int64_t number = 0; number < most; number++)
        next->n_candidates += draw_candidate(search, state, number, next);
}

/* ---- selection ---- */

/* Candidates that are still in, best first after a stage. */
struct selection {
    const struct wn_search *search;
    struct wn_search_state *state;
    int64_t count, *alive; /* [n_candidates] numbers of candidates */
};

struct judged {
    int64_t number;
    double fitness, accuracy; /* accuracy: 0 where nothing is answered */
};

/* What is not finite comes last; of equals that with more right answers, then the earlier. */
static int compare_judged(const void *a, const void *b)
{
    const struct judged *left = a, *right = b;

    if (isfinite(left->fitness) != isfinite(right->fitness))
        return isfinite(left->fitness) ? -1 : 1;
    if (isfinite(left->fitness) && left->fitness != right->fitness)
        return left->fitness < right->fitness ? -1 : 1;
    if (left->accuracy != right->accuracy)
        return left->accuracy > right->accuracy ? -1 : 1;
    return (left->number > right->number) - (left->number < right->number);
}

static void keep_best(struct selection *selection, const double *fitness, const double *accuracy, int64_t survivors)
{
    struct judged *judged = wn_alloc(selection->count, sizeof *judged);
    const double sign = selection->search->settings->inverted ? -1 : 1;

    for (int64_t i = 0; i < selection->count; i++)
        judged[i] =
            (struct judged){selection->alive[i], sign * fitness[i], isnan(accuracy[i]) ? 0 : sign * accuracy[i]};
    qsort(judged, (size_t)selection->count, sizeof *judged, compare_judged);
    selection->count = selection->count < survivors ? selection->count : survivors;
    for (int64_t i = 0; i < selection->count; i++)
        selection->alive[i] = judged[i].number;
    wn_free(judged);
}

static wn_status run_stage(struct selection *selection, int64_t stage, int64_t survivors)
{
    const struct wn_search *search = selection->search;
    struct wn_search_state *state = selection->state;
    const int64_t n = selection->count, n_genes = state->n_genes;
    struct wn_minibatch batch;

    if (n == 0)
        return WN_OK;
    int32_t *genomes = wn_alloc(n * n_genes, sizeof *genomes);
    double *fitness = wn_alloc(2 * n, sizeof *fitness), *accuracy = fitness + n;
    for (int64_t i = 0; i < n; i++) {
        memcpy(genomes + i * n_genes, state->genomes + selection->alive[i] * n_genes,
               (size_t)n_genes * sizeof *genomes);
        accuracy[i] = (double)NAN;
    }
    wn_search_draw_batch(search, state->generation, stage, &batch);
    for (int64_t i = 0; i < batch.n_sequences; i++)
        state->tokens += n * batch.length[i];
    wn_status status = search->evaluate(search->context, genomes, n, &batch, fitness, accuracy);
    if (status == WN_OK) {
        for (int64_t i = 0; i < n; i++) {
            state->fitness[selection->alive[i] * state->n_stages + stage] = fitness[i];
            state->accuracy[selection->alive[i] * state->n_stages + stage] = accuracy[i];
        }
        keep_best(selection, fitness, accuracy, survivors);
    }
    wn_minibatch_release(&batch);
    wn_free(genomes);
    wn_free(fitness);
    return status;
}

/* All stages of a generation; the last candidate is the parent, which waits for the last one. */
static wn_status run_stages(struct selection *selection)
{
    const struct wn_search_settings *settings = selection->search->settings;
    struct wn_search_state *state = selection->state;

    selection->count = state->n_candidates - 1;
    for (int s = 0; s < settings->n_stages; s++) {
        if (s == settings->n_stages - 1)
            selection->alive[selection->count++] = state->n_candidates - 1;
        WN_TRY(run_stage(selection, s, settings->survivors[s]));
    }
    return WN_OK;
}

/* ---- states ---- */

void wn_search_state_init(const struct wn_search *search, struct wn_search_state *state)
{
    *state = (struct wn_search_state){
        .n_genes = search->space->n_genes, .n_stages = search->settings->n_stages, .parent_fitness = (double)NAN};
    state->parent = wn_alloc_zero(state->n_genes, sizeof *state->parent);
}

void wn_search_state_release(struct wn_search_state *state)
{
    wn_free(state->parent);
    wn_free(state->genomes);
    wn_free(state->fitness);
    wn_free(state->accuracy);
    wn_free(state->errors);
    *state = (struct wn_search_state){0};
}

static void open_selection(const struct wn_search *search, struct wn_search_state *state, struct selection *selection)
{
    int64_t values = state->n_candidates * state->n_stages;

    state->fitness = wn_alloc(values, sizeof *state->fitness);
    state->accuracy = wn_alloc(values, sizeof *state->accuracy);
    for (int64_t i = 0; i < values; i++)
        state->fitness[i] = state->accuracy[i] = (double)NAN;
    state->errors = wn_alloc(state->n_candidates, sizeof *state->errors);
    for (int64_t i = 0; i < state->n_candidates; i++)
        state->errors[i] = search->errors
                               ? wn_space_error(search->space, search->errors, state->genomes + i * state->n_genes)
                               : (double)NAN;
    *selection = (struct selection){.search = search, .state = state, .count = state->n_candidates};
    selection->alive = wn_alloc(state->n_candidates, sizeof *selection->alive);
    for (int64_t i = 0; i < state->n_candidates; i++)
        selection->alive[i] = i;
}

/* The winner becomes the parent; the last candidate, when its fitness is that of none. */
static void take_winner(const struct selection *selection, int64_t stage, int64_t otherwise)
{
    struct wn_search_state *state = selection->state;
    double fitness = state->fitness[selection->alive[0] * state->n_stages + stage];

    state->winner = isfinite(fitness) ? selection->alive[0] : otherwise;
    state->parent_fitness = state->fitness[state->winner * state->n_stages + stage];
    memcpy(state->parent, state->genomes + state->winner * state->n_genes,
           (size_t)state->n_genes * sizeof *state->parent);
}

wn_status wn_search_begin(const struct wn_search *search, struct wn_search_state *state)
{
    struct selection selection;
    wn_status status = WN_OK;
    bool choice = has_choice(search->space);

    wn_search_state_init(search, state);
    draw_candidates(search, NULL, choice ? search->settings->initial : 1, state);
    open_selection(search, state, &selection);
    if (choice)
        status = run_stage(&selection, 0, 1);
    take_winner(&selection, 0, 0);
    wn_free(selection.alive);
    if (status != WN_OK)
        wn_search_state_release(state);
    return status;
}

wn_status wn_search_step(const struct wn_search *search, struct wn_search_state *state)
{
    struct wn_search_state next;
    struct selection selection;

    wn_search_state_init(search, &next);
    next.generation = state->generation + 1;
    draw_candidates(search, state, search->settings->offspring, &next);
    memcpy(next.genomes + next.n_candidates++ * next.n_genes, state->parent,
           (size_t)next.n_genes * sizeof *next.genomes);
    open_selection(search, &next, &selection);
    wn_status status = run_stages(&selection);
    if (status == WN_OK) {
        take_winner(&selection, next.n_stages - 1, next.n_candidates - 1);
        wn_search_state_release(state);
        *state = next;
    } else {
        wn_search_state_release(&next);
    }
    wn_free(selection.alive);
    return status;
}
