/* SPDX-License-Identifier: Apache-2.0 */
/* Spaces: genes with their levels, groups with their sums, and what can be asked of a genome. */
#include "search_impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- building ---- */

static void open_space(const struct wn_space_request *request, int64_t n_genes, struct wn_space *space)
{
    space->kind = request->kind;
    space->n_blocks = request->n_blocks;
    space->genes = wn_alloc_zero(n_genes, sizeof *space->genes);
    for (int64_t l = 0; l < request->n_linears; l++)
        space->weights += request->n_blocks * request->weights[l];
}

static void add_gene(struct wn_space *space, struct wn_gene gene)
{
    space->genes[space->n_genes++] = gene;
}

/* Groups from the numbers that the genes have; sums and starts come from the kind. */
static void collect_groups(struct wn_space *space, int64_t n_groups)
{
    space->n_groups = n_groups;
    space->groups = wn_alloc_zero(n_groups, sizeof *space->groups);
    for (int64_t g = 0; g < n_groups; g++)
        space->groups[g].genes = wn_alloc(space->n_genes, sizeof(int64_t));
    space->low = space->genes[0].low;
    space->high = space->genes[0].high;
    for (int64_t i = 0; i < space->n_genes; i++) {
        const struct wn_gene *gene = &space->genes[i];
        struct wn_gene_group *group = &space->groups[gene->group];
        group->genes[group->n_genes++] = i;
        space->low = gene->low < space->low ? gene->low : space->low;
        space->high = gene->high > space->high ? gene->high : space->high;
    }
}

/* True when some group can move: one of its genes is above its lowest level, another below its highest. */
static bool can_move(const struct wn_space *space)
{
    for (int64_t g = 0; g < space->n_groups; g++) {
        const struct wn_gene_group *group = &space->groups[g];
        int64_t low = 0, high = 0, movable = 0;
        for (int64_t i = 0; i < group->n_genes; i++) {
            const struct wn_gene *gene = &space->genes[group->genes[i]];
            low += gene->low;
            high += gene->high;
            movable += gene->low < gene->high;
        }
        if (low < group->sum && group->sum < high && movable > 1)
            return true;
    }
    return false;
}

/* ---- sparsity ---- */

static int64_t step_of(const struct wn_space_request *request)
{
    double s = request->target, hidden = (double)request->hidden;

    if (request->step)
        return request->step;
    return (int64_t)(0.5 * fmin(s, 1 - s) / (double)request->levels * hidden * hidden);
}

static wn_status create_sparsity(const struct wn_space_request *request, struct wn_space *space)
{
    if (!(request->target > 0 && request->target < 1))
        return wn_fail(WN_ERR_INPUT, "key \"sparsity\": %g leaves nothing to search for: expected a number in (0, 1)",
                       request->target);
    open_space(request, request->n_blocks * request->n_linears, space);
    space->step = step_of(request);
    for (int64_t b = 0; b < request->n_blocks && space->step > 0; b++)
        for (int64_t l = 0; l < request->n_linears; l++) {
            int64_t weights = request->weights[l], zeros = (int64_t)((double)weights * request->target);
            int64_t down = zeros / space->step, up = (weights - zeros - 1) / space->step;
            down = down < request->levels ? down : request->levels;
            up = up < request->levels ? up : request->levels;
            add_gene(space, (struct wn_gene){.block = (int32_t)b,
                                             .linear = (int32_t)l,
                                             .low = (int32_t)-down,
                                             .high = (int32_t)up,
                                             .amount = zeros,
                                             .per_level = space->step});
        }
    if (space->n_genes == 0)
        return wn_fail(WN_ERR_INPUT, "key \"levels\": with %lld levels a level is less than one weight",
                       (long long)request->levels);
    collect_groups(space, 1);
    space->groups[0].share = 1;
    if (!can_move(space))
        return wn_fail(WN_ERR_INPUT,
                       "key \"step\": levels of %lld weights leave nothing to exchange at sparsity %g: no linear can "
                       "give or take so many",
                       (long long)space->step, request->target);
    return WN_OK;
}

/* ---- bits ---- */

/* Numbers the different sizes of linears in the order in which they come. */
static int64_t number_sizes(const struct wn_space_request *request, int32_t *group_of, int64_t *size, int64_t *count)
{
    int64_t n = 0;

    for (int64_t l = 0; l < request->n_linears; l++) {
        int64_t g = 0;
        while (g < n && size[g] != request->weights[l])
            g++;
        if (g == n) {
            size[n] = request->weights[l];
            count[n++] = 0;
        }
        count[g] += request->n_blocks;
        group_of[l] = (int32_t)g;
    }
    return n;
}

static int32_t lowest_of(unsigned bits)
{
    int32_t level = 0;

    while (!(bits & WN_BITS(level)))
        level++;
    return level;
}

static int32_t highest_of(unsigned bits)
{
    int32_t level = WN_BITS_MOST;

    while (!(bits & WN_BITS(level)))
        level--;
    return level;
}

static void add_bit_genes(const struct wn_space_request *request, const int32_t *group_of, struct wn_space *space)
{
    space->bits = request->bits;
    open_space(request, request->n_blocks * request->n_linears, space);
    for (int64_t b = 0; b < request->n_blocks; b++)
        for (int64_t l = 0; l < request->n_linears; l++)
            add_gene(space, (struct wn_gene){.block = (int32_t)b,
                                             .linear = (int32_t)l,
                                             .group = group_of[l],
                                             .low = lowest_of(request->bits),
                                             .high = highest_of(request->bits),
                                             .per_level = request->weights[l]});
}

static wn_status create_bits(const struct wn_space_request *request, struct wn_space *space)
{
    const int32_t lowest = lowest_of(request->bits), highest = highest_of(request->bits);
    int64_t n = request->n_linears, *size, *count, *sum;
    int32_t *group_of;

    if (!(request->target >= lowest && request->target <= highest))
        return wn_fail(WN_ERR_INPUT, "key \"bits\": %g lies outside the levels %d to %d", request->target, lowest,
                       highest);
    group_of = wn_alloc(n, sizeof *group_of);
    size = wn_alloc(3 * n, sizeof *size);
    count = size + n;
    sum = count + n;
    int64_t n_groups = number_sizes(request, group_of, size, count);
    wn_share_bits(request, n_groups, size, count, sum);
    add_bit_genes(request, group_of, space);
    collect_groups(space, n_groups);
    for (int64_t g = 0; g < n_groups; g++) {
        space->groups[g].sum = sum[g];
        space->groups[g].share = count[g];
        space->groups[g].start = (int32_t)((sum[g] + count[g] - 1) / count[g]);
        while (!(request->bits & WN_BITS(space->groups[g].start)))
            space->groups[g].start++;
    }
    wn_free(group_of);
    wn_free(size);
    if (!can_move(space))
        return wn_fail(WN_ERR_INPUT, "key \"bits\": %g leaves nothing to exchange between levels %d and %d",
                       request->target, lowest, highest);
    return WN_OK;
}

/* ---- drop ---- */

static wn_status fail_legal(const char *key, const char *text, int64_t n_blocks)
{
    return wn_fail(WN_ERR_INPUT, "key \"%s\": expected blocks of 0 to %lld like \"0-3,7\", got \"%s\"", key,
                   (long long)n_blocks - 1, text);
}

/* "0-3,7" into legal [n_blocks]; nothing: all. */
static wn_status read_legal(const char *key, const char *text, int64_t n_blocks, bool *legal)
{
    bool all = !text || !*text;

    for (int64_t b = 0; b < n_blocks; b++)
        legal[b] = all;
    for (const char *at = text; !all;) {
        char *end;
        long first, last;
        if (*at < '0' || *at > '9')
            return fail_legal(key, text, n_blocks);
        first = last = strtol(at, &end, 10);
        if (*end == '-' && end[1] >= '0' && end[1] <= '9')
            last = strtol(end + 1, &end, 10);
        if (last < first || last >= n_blocks || (*end && *end != ','))
            return fail_legal(key, text, n_blocks);
        for (long b = first; b <= last; b++)
            legal[b] = true;
        if (!*end)
            break;
        at = end + 1;
    }
    return WN_OK;
}

static int64_t branch_weights(const struct wn_space_request *request, bool mlp)
{
    int64_t weights = 0;

    for (int64_t l = 0; l < request->n_linears; l++)
        weights += request->in_mlp[l] == mlp ? request->weights[l] : 0;
    return weights;
}

static void add_drop_genes(const struct wn_space_request *request, const bool *attention, const bool *mlp,
                           struct wn_space *space)
{
    const int64_t weights[2] = {branch_weights(request, false), branch_weights(request, true)};
    const bool *legal[2] = {attention, mlp};

    open_space(request, 2 * request->n_blocks, space);
    for (int64_t b = 0; b < request->n_blocks; b++) {
        struct wn_gene gene = {.block = (int32_t)b, .linear = 2, .per_level = weights[0] + weights[1]};
        if (request->unit == WN_SPACE_BLOCKS) {
            gene.high = attention[b] && mlp[b];
            add_gene(space, gene);
            continue;
        }
        for (int branch = 0; branch < 2; branch++) {
            if (request->unit == (branch ? WN_SPACE_ATTENTION : WN_SPACE_MLP))
                continue;
            gene.linear = branch;
            gene.group = request->unit == WN_SPACE_BRANCHES ? branch : 0;
            gene.high = legal[branch][b];
            gene.per_level = weights[branch];
            add_gene(space, gene);
        }
    }
}

/* k of every kind, and that the legal ones leave a choice. */
static wn_status set_dropped(const struct wn_space_request *request, struct wn_space *space)
{
    int64_t k = (int64_t)(request->target * (double)request->n_blocks);

    if (k < 1 || k >= request->n_blocks)
        return wn_fail(WN_ERR_INPUT,
                       "key \"sparsity\": %g of %lld blocks is %lld left out of each kind: expected 1 to %lld",
                       request->target, (long long)request->n_blocks, (long long)k, (long long)request->n_blocks - 1);
    for (int64_t g = 0; g < space->n_groups; g++) {
        struct wn_gene_group *group = &space->groups[g];
        int64_t legal = 0;
        for (int64_t i = 0; i < group->n_genes; i++)
            legal += space->genes[group->genes[i]].high;
        if (legal <= k)
            return wn_fail(
                WN_ERR_INPUT, "key \"legal_%s\": %lld blocks may be left out, and %lld have to be: no choice",
                space->genes[group->genes[0]].linear == 1 ? "mlp" : "attention", (long long)legal, (long long)k);
        group->sum = k;
        group->start = 1;
        group->share = 1;
    }
    return WN_OK;
}

static wn_status create_drop(const struct wn_space_request *request, struct wn_space *space)
{
    bool *attention = wn_alloc(2 * request->n_blocks, sizeof *attention), *mlp = attention + request->n_blocks;
    wn_status status = read_legal("legal_attention", request->legal_attention, request->n_blocks, attention);

    if (status == WN_OK)
        status = read_legal("legal_mlp", request->legal_mlp, request->n_blocks, mlp);
    if (status == WN_OK) {
        add_drop_genes(request, attention, mlp, space);
        collect_groups(space, request->unit == WN_SPACE_BRANCHES ? 2 : 1);
        status = set_dropped(request, space);
    }
    wn_free(attention);
    return status;
}

wn_status wn_space_create(const struct wn_space_request *request, struct wn_space *space)
{
    static wn_status (*const create[WN_SPACE_KINDS])(const struct wn_space_request *, struct wn_space *) = {
        [WN_SPACE_SPARSITY] = create_sparsity, [WN_SPACE_BITS] = create_bits, [WN_SPACE_DROP] = create_drop};
    wn_status status;

    *space = (struct wn_space){0};
    status = create[request->kind](request, space);
    if (status != WN_OK)
        wn_space_release(space);
    return status;
}

void wn_space_release(struct wn_space *space)
{
    for (int64_t g = 0; g < space->n_groups; g++)
        wn_free(space->groups[g].genes);
    wn_free(space->groups);
    wn_free(space->genes);
    *space = (struct wn_space){0};
}

/* ---- genomes ---- */

/* The sum of the first genes follows a straight line over the genes that can move. */
void wn_space_uniform(const struct wn_space *space, int32_t *genome)
{
    if (wn_bits_have_gaps(space->bits)) {
        wn_space_even(space, genome);
        return;
    }
    for (int64_t g = 0; g < space->n_groups; g++) {
        const struct wn_gene_group *group = &space->groups[g];
        int64_t movable = 0, seen = 0, given = 0;
        for (int64_t i = 0; i < group->n_genes; i++)
            movable += space->genes[group->genes[i]].low < space->genes[group->genes[i]].high;
        for (int64_t i = 0; i < group->n_genes; i++) {
            const struct wn_gene *gene = &space->genes[group->genes[i]];
            seen += gene->low < gene->high;
            int64_t level = gene->low;
            if (gene->low < gene->high)
                level = group->sum * seen / movable - given;
            genome[group->genes[i]] = (int32_t)level;
            given += level;
        }
    }
}

wn_status wn_space_check(const struct wn_space *space, const int32_t *genome)
{
    for (int64_t g = 0; g < space->n_groups; g++) {
        const struct wn_gene_group *group = &space->groups[g];
        int64_t sum = 0;
        for (int64_t i = 0; i < group->n_genes; i++) {
            const struct wn_gene *gene = &space->genes[group->genes[i]];
            int32_t level = genome[group->genes[i]];
            if (!wn_space_has(space, gene, level))
                return wn_fail(WN_ERR_INPUT, "block %d, linear %d: there is no level %d, only %d to %d", gene->block,
                               gene->linear, level, gene->low, gene->high);
            sum += level;
        }
        if (sum != group->sum)
            return wn_fail(WN_ERR_INPUT, "the levels of group %lld have the sum %lld in place of %lld", (long long)g,
                           (long long)sum, (long long)group->sum);
    }
    return WN_OK;
}

int64_t wn_space_amount(const struct wn_space *space, const int32_t *genome)
{
    int64_t amount = 0;

    for (int64_t i = 0; i < space->n_genes; i++)
        amount += space->genes[i].amount + genome[i] * space->genes[i].per_level;
    return amount;
}

double wn_space_achieved(const struct wn_space *space, const int32_t *genome)
{
    return (double)wn_space_amount(space, genome) / (double)space->weights;
}
