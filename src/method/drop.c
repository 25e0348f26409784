/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Depth pruning: whole blocks, or the attention or MLP branch of blocks, are left out: the parameters, and what becomes
 * of the linears of a unit that goes. Which ones go is an allocation (src/allocation/depth.c).
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

/* ---- parameters ---- */

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
