/*
 * depth.c: whole blocks, or the attention or MLP branch of blocks, are left out. Units are chosen once: by how
 * little they turn the hidden state of the dense model (Men et al., ShortGPT, arXiv:2403.03853, section 3; He et al.,
 * LLM-Drop, arXiv:2406.15786, section 3.2, which also ranks both kinds of branches in one list), as the blocks in a row
 * that turn it least together (Gromov et al., arXiv:2403.17887, section 3), or by what the model without one unit says
 * (Kim et al., Shortened LLaMA, arXiv:2402.02834, section 3.2). The stream before the final norm is compared, so the
 * last block is judged like the others.
 */
#include <winnow/allocation.h>

#include <math.h>
#include <string.h>

/* ---- scores ---- */

/* Of one token. A state of zeros has no direction: cosine 0.5, as the published code puts it. */
static void score_row(const float *before, const float *hidden, const float *added, int64_t width, double *scores)
{
    double dot = 0, left = 0, right = 0, moved = 0;

    for (int64_t j = 0; j < width; j++) {
        const double x = before[j], y = added ? hidden[j] + added[j] : hidden[j];
        dot += x * y;
        left += x * x;
        right += y * y;
        moved += (y - x) * (y - x);
    }
    double cosine = left > 0 && right > 0 ? dot / sqrt(left * right) : 0.5;
    cosine = fmin(fmax(cosine, -1), 1);
    scores[WN_SCORE_BLOCK_INFLUENCE] = 1 - cosine;
    scores[WN_SCORE_ANGULAR] = acos(cosine) / M_PI;
    scores[WN_SCORE_SUBCLONING] = right > 0 ? sqrt(moved / right) : (double)(moved > 0);
}

/* Tokens are scored by any thread and added in order. */
void wn_drop_scores_add(const float *before, const float *hidden, const float *added, int64_t rows, int64_t width,
                        double *sums)
{
    double(*scores)[WN_DROP_SCORES] = wn_alloc(rows, sizeof *scores);

#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; r++)
        score_row(before + r * width, hidden + r * width, added ? added + r * width : NULL, width, scores[r]);
    for (int64_t r = 0; r < rows; r++)
        for (int s = 0; s < WN_DROP_SCORES; s++)
            sums[s] += scores[r][s];
    wn_free(scores);
}

/* ---- the choice ---- */

int64_t wn_drop_count(const struct wn_params *params, int64_t n_blocks)
{
    const int64_t units = wn_drop_unit_of(params) == WN_UNIT_BRANCH ? 2 * n_blocks : n_blocks;

    return (int64_t)(wn_params_number(params, "sparsity") * (double)units);
}

/* Scores that are no numbers (a model that overflows without the unit) come last. */
static bool is_lower(double score, double best)
{
    return score < best || (isnan(best) && !isnan(score));
}

static int64_t lowest(const double *scores, int64_t n, const bool *taken)
{
    int64_t best = -1;

    for (int64_t i = 0; i < n; i++)
        if (!taken[i] && (best < 0 || is_lower(scores[i], scores[best])))
            best = i;
    return best;
}

void wn_drop_choose(const struct wn_params *params, const double *scores, int64_t n_blocks, bool *dropped)
{
    const int64_t count = wn_drop_count(params, n_blocks);
    const int64_t units = wn_drop_unit_of(params) == WN_UNIT_BRANCH ? 2 * n_blocks : n_blocks;

    memset(dropped, 0, (size_t)units * sizeof *dropped);
    if (count && wn_drop_score_of(params) == WN_SCORE_WINDOW) {
        const int64_t start = lowest(scores, n_blocks - count + 1, dropped);
        for (int64_t i = 0; i < count; i++)
            dropped[start + i] = true;
        return;
    }
    for (int64_t i = 0; i < count; i++)
        dropped[lowest(scores, units, dropped)] = true;
}

/* ---- the kind ---- */

enum { NOTE_LEFT_OUT, NOTE_SCORE = WN_BRANCHES, NOTE_SCORE_MLP, NOTES };

static const struct wn_note notes[NOTES] = {
    {"dropped_attention", "1", "1 where the attention of the block is left out, with drop"},
    {"dropped_mlp", "1", "1 where the MLP of the block is left out, with drop"},
    {"drop_score", "1",
     "score of the unit in this block, with drop: the lowest are left out; of attention with units branch, of the "
     "window "
     "that begins here with score window"},
    {"drop_score_mlp", "1", "score of the MLP in this block, with drop and units branch"}};

static bool decides(const struct wn_recipe *recipe)
{
    return wn_recipe_drop(recipe) != NULL;
}

static double score_of(const struct wn_allocation_task *task, enum wn_drop_unit unit, int64_t block)
{
    const struct wn_params *params = wn_recipe_drop(task->recipe);
    const enum wn_drop_score score = wn_drop_score_of(params);

    if (score < WN_DROP_SCORES)
        return task->evidence->drop_scores[block][unit][score];
    return wn_left_out_score(task->evidence->left_out, params, task->n_blocks, unit, block);
}

static wn_status allocate(const struct wn_allocation_task *task, struct wn_allocation *allocation)
{
    const struct wn_params *params = wn_recipe_drop(task->recipe);
    const enum wn_drop_unit unit = wn_drop_unit_of(params);
    const int64_t n_blocks = task->n_blocks, kinds = unit == WN_UNIT_BRANCH ? 2 : 1;
    double *scores = wn_alloc(kinds * n_blocks, sizeof *scores);
    bool *chosen = wn_alloc(kinds * n_blocks, sizeof *chosen);

    for (int64_t i = 0; i < kinds * n_blocks; i++) {
        scores[i] = score_of(task, kinds == 2 ? (enum wn_drop_unit)(i % 2) : unit, i / kinds);
        allocation->notes[(NOTE_SCORE + i % kinds) * n_blocks + i / kinds] = scores[i];
    }
    wn_drop_choose(params, scores, n_blocks, chosen);
    for (int branch = 0; branch < WN_BRANCHES; branch++) {
        allocation->left_out[branch] = wn_alloc(n_blocks, sizeof(bool));
        for (int64_t b = 0; b < n_blocks; b++)
            allocation->notes[(NOTE_LEFT_OUT + branch) * n_blocks + b] = allocation->left_out[branch][b] =
                kinds == 2 ? chosen[2 * b + branch] : (unit == WN_UNIT_BLOCK || (int)unit == branch) && chosen[b];
    }
    wn_free(chosen);
    wn_free(scores);
    return WN_OK;
}

const struct wn_allocation_kind wn_allocation_depth = {
    .name = "depth",
    .help = "the blocks or branches that matter least are left out",
    .paper = "Men et al. 2024, arXiv:2403.03853; He et al. 2024, arXiv:2406.15786; Samragh et al. 2023, "
             "arXiv:2312.09299; Gromov et al. 2024, arXiv:2403.17887; Kim et al. 2024, arXiv:2402.02834",
    .decides = decides,
    .reads_dense = true,
    .notes = notes,
    .n_notes = NOTES,
    .allocate = allocate,
};
