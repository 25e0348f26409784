/* SPDX-License-Identifier: Apache-2.0 */
/* depth.c: blocks, or the attention or MLP branches of blocks, are left out by their scores; papers: method/drop.c. */
#include <winnow/allocation.h>

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
    .decides = decides,
    .reads_dense = true,
    .notes = notes,
    .n_notes = NOTES,
    .allocate = allocate,
};
