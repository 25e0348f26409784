/*
 * Depth pruning: whole blocks, or the attention or MLP branch of blocks, are left out. Units are chosen once: by how
 * little they turn the hidden state of the dense model (Men et al., ShortGPT, arXiv:2403.03853, section 3; He et al.,
 * LLM-Drop, arXiv:2406.15786, section 3.2, which also ranks both kinds of branches in one list), as the blocks in a row
 * that turn it least together (Gromov et al., arXiv:2403.17887, section 3), or by what the model without one unit says
 * (Kim et al., Shortened LLaMA, arXiv:2402.02834, section 3.2). The stream before the final norm is compared, so the
 * last block is judged like the others.
 */
#include <winnow/method.h>

#include <math.h>
#include <string.h>

static const struct wn_parameter parameters[] = {
    {.name = "sparsity",
     .type = WN_NUMBER,
     .required = true,
     .low = 0,
     .high = 1,
     .open_end = true,
     .unit = "1",
     .help = "share of the units to leave out: int(sparsity * blocks) of them, int(sparsity * 2 blocks) of branches"},
    {.name = "units",
     .type = WN_STRING,
     .standard = "\"block\"",
     .words = "block|attention|mlp|branch",
     .help = "what is left out; branch: attention and MLP of all blocks in one list"},
    {.name = "score",
     .type = WN_STRING,
     .standard = "\"block_influence\"",
     .words = "block_influence|angular|subcloning|window|perplexity|kl",
     .help =
         "the lowest go, ties by lowest block. Means over tokens, h before and h' after the unit: 1 - cos(h, h'), "
         "arccos(cos(h, h')) / pi, ||h' - h|| / ||h'||; window: 1 - cos over all blocks that go, which are in a row. "
         "Of the model without this unit alone, on the calibration set: perplexity, or KL(dense || without); these "
         "take one forward per unit"},
};

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

static int word_index(const struct wn_params *params, const char *name, const char *const *words, int count)
{
    const char *text = wn_params_text(params, name);

    for (int i = 0; i < count; i++)
        if (!strcmp(words[i], text))
            return i;
    WN_BUG("no such word: %s", text);
}

enum wn_drop_unit wn_drop_unit_of(const struct wn_params *params)
{
    static const char *const words[] = {"attention", "mlp", "block", "branch"};

    return (enum wn_drop_unit)word_index(params, "units", words, WN_UNIT_BRANCH + 1);
}

enum wn_drop_score wn_drop_score_of(const struct wn_params *params)
{
    static const char *const words[] = {"block_influence", "angular", "subcloning", "window", "perplexity", "kl"};

    return (enum wn_drop_score)word_index(params, "score", words, WN_SCORE_KL + 1);
}

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

/* ---- the method ---- */

static wn_status check(struct wn_params *params)
{
    if (wn_drop_score_of(params) == WN_SCORE_WINDOW && wn_drop_unit_of(params) != WN_UNIT_BLOCK)
        return wn_fail(WN_ERR_INPUT, "score: \"window\" is one of blocks in a row; with it units is \"block\"");
    return WN_OK;
}

static bool is_identity(const struct wn_params *params)
{
    return wn_params_number(params, "sparsity") == 0;
}

/* Called for linears of dropped units only: they are gone. */
static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    memset(out->weight, 0, (size_t)(task->rows * task->columns) * sizeof *out->weight);
    return WN_OK;
}

const struct wn_method wn_method_drop = {
    .name = "drop",
    .help = "leave out blocks, or the attention or MLP of blocks, that matter least; stands alone",
    .paper = "Men et al. 2024, arXiv:2403.03853; He et al. 2024, arXiv:2406.15786; Samragh et al. 2023, "
             "arXiv:2312.09299; Gromov et al. 2024, arXiv:2403.17887; Kim et al. 2024, arXiv:2402.02834",
    .kind = WN_DROPPER,
    .needs = WN_NEED_DROP_SCORES,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = check,
    .is_identity = is_identity,
    .compress_linear = compress_linear,
};
