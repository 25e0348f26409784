/*
 * Depth pruning: whole blocks, or the attention or MLP branch of blocks, are left out (Men et al., ShortGPT,
 * arXiv:2403.03853, section 3; He et al., LLM-Drop, arXiv:2406.15786, section 3.2). Units are chosen once, by how
 * little they turn the hidden state of the dense model. The stream before the final norm is compared, so the last block
 * is judged like the others.
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
     .help = "share of the units to leave out: int(sparsity * blocks) of them"},
    {.name = "units",
     .type = WN_STRING,
     .standard = "\"block\"",
     .words = "block|attention|mlp",
     .help = "what is left out"},
    {.name = "score",
     .type = WN_STRING,
     .standard = "\"block_influence\"",
     .words = "block_influence|angular|subcloning",
     .help = "mean over tokens, the lowest go, ties by lowest block; h before and h' after the unit: 1 - cos(h, h'), "
             "arccos(cos(h, h')) / pi, ||h' - h|| / ||h'||"},
};

/* ---- scores ---- */

/* Of one token. A state of zeros has no direction: cosine 0.5, as the published code puts it. */
static void score_row(const float *before, const float *hidden, const float *added, int64_t width, double *scores)
{
    double dot = 0, left = 0, right = 0, moved = 0;

    for (int64_t j = 0; j < width; j++) {
        const double x = before[j], y = hidden[j] + added[j];
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
        score_row(before + r * width, hidden + r * width, added + r * width, width, scores[r]);
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
    static const char *const words[] = {"attention", "mlp", "block"};

    return (enum wn_drop_unit)word_index(params, "units", words, WN_DROP_UNITS);
}

enum wn_drop_score wn_drop_score_of(const struct wn_params *params)
{
    static const char *const words[] = {"block_influence", "angular", "subcloning"};

    return (enum wn_drop_score)word_index(params, "score", words, WN_DROP_SCORES);
}

void wn_drop_choose(const struct wn_params *params, const double *scores, int64_t n_blocks, bool *dropped)
{
    const int64_t count = (int64_t)(wn_params_number(params, "sparsity") * (double)n_blocks);

    memset(dropped, 0, (size_t)n_blocks * sizeof *dropped);
    for (int64_t i = 0; i < count; i++) {
        int64_t best = -1;
        for (int64_t b = 0; b < n_blocks; b++)
            if (!dropped[b] && (best < 0 || scores[b] < scores[best]))
                best = b;
        dropped[best] = true;
    }
}

/* ---- the method ---- */

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
    .help = "leave out blocks, or the attention or MLP of blocks, that change the hidden state least; stands alone",
    .paper = "Men et al. 2024, arXiv:2403.03853; He et al. 2024, arXiv:2406.15786; Samragh et al. 2023, "
             "arXiv:2312.09299",
    .kind = WN_DROPPER,
    .needs = WN_NEED_DROP_SCORES,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .is_identity = is_identity,
    .compress_linear = compress_linear,
};
