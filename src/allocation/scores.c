/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scores.c: scores of depth pruning, and the choice by them. Units are chosen once: by how little they turn the hidden
 * state of the dense model (Men et al., ShortGPT, arXiv:2403.03853, section 3; He et al., LLM-Drop, arXiv:2406.15786,
 * section 3.2, which also ranks both kinds of branches in one list), as the blocks in a row that turn it least together
 * (Gromov et al., arXiv:2403.17887, section 3), or by what the model without one unit says (Kim et al., Shortened
 * LLaMA, arXiv:2402.02834, section 3.2). The stream before the final norm is compared, so the last block is judged like
 * the others.
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
