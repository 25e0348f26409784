/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a level database tell a search: weights of candidates, and errors for dynamic programming. */
#include <winnow/judge.h>

#include <math.h>

void wn_judge_levels_init(struct wn_judge_levels *levels, const struct wn_model *model, const char *folder,
                          const char *key)
{
    *levels = (struct wn_judge_levels){.folder = folder, .key = key, .model = model, .index = -1};
}

void wn_judge_levels_close(struct wn_judge_levels *levels)
{
    wn_levels_close(&levels->block);
    wn_judge_levels_init(levels, levels->model, levels->folder, levels->key);
}

/* The file of a block, which stays open until another one is asked for. */
static wn_status turn_to(struct wn_judge_levels *levels, int64_t block)
{
    if (levels->index == block)
        return WN_OK;
    wn_judge_levels_close(levels);
    WN_TRY(wn_levels_open(levels->folder, levels->key, block, &levels->block));
    levels->index = block;
    return WN_OK;
}

static wn_status find(struct wn_judge_levels *levels, int64_t block, int64_t linear, int32_t level,
                      const struct wn_level_entry **entry)
{
    WN_TRY(turn_to(levels, block));
    *entry = wn_levels_find(&levels->block, (int)linear, level);
    if (!*entry)
        return wn_fail(WN_ERR_INPUT, "block %lld, linear %lld: there is no level %d", (long long)block,
                       (long long)linear, level);
    return WN_OK;
}

wn_status wn_judge_level_weights(void *context, int64_t block, int64_t linear, int32_t level, float *weights)
{
    struct wn_judge_levels *levels = context;
    const struct wn_level_entry *entry;
    struct wn_packed packed;

    WN_TRY(find(levels, block, linear, level, &entry));
    WN_TRY(wn_levels_packed(&levels->block, entry, &packed));
    wn_packed_all(&packed, weights);
    return WN_OK;
}

wn_status wn_judge_level_rule(void *context, int64_t block, int64_t linear, int32_t level, const float *weights,
                              struct wn_activation **rule)
{
    struct wn_judge_levels *levels = context;
    const struct wn_linear_info *info = &levels->model->layout.linears[linear];

    WN_TRY(turn_to(levels, block));
    return wn_levels_rule(&levels->block, (int)linear, level, weights, info->rows, info->columns, rule);
}

wn_status wn_judge_level_vectors(void *context, int64_t block, struct wn_block *loaded)
{
    struct wn_judge_levels *levels = context;

    WN_TRY(turn_to(levels, block));
    return wn_levels_vectors(&levels->block, loaded->vectors, levels->model->layout.n_vectors);
}

wn_status wn_judge_level_errors(struct wn_judge_levels *levels, const struct wn_space *space, double *errors)
{
    const int64_t columns = space->high - space->low + 1;

    for (int64_t i = 0; i < space->n_genes; i++) {
        const struct wn_gene *gene = &space->genes[i];
        for (int64_t c = 0; c < columns; c++)
            errors[i * columns + c] = (double)NAN;
        for (int32_t level = gene->low; level <= gene->high; level++) {
            const struct wn_level_entry *entry;
            if (!wn_space_has(space, gene, level))
                continue;
            WN_TRY(find(levels, gene->block, gene->linear, level, &entry));
            errors[i * columns + level - space->low] = entry->error;
        }
    }
    return WN_OK;
}
