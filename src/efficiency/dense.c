/* SPDX-License-Identifier: Apache-2.0 */
/* dense.c: the dense model in memory, as fp32 and as bf16: what a compressed one is compared with. */
#include "efficiency.h"

#include <winnow/kernels.h>

#include <math.h>

static bool has(const struct wn_model *model, int64_t block, int linear)
{
    return wn_is_in(&model->config, model->layout.linears[linear].where, block);
}

static wn_status keep_f32(const struct wn_model *model, int64_t index, struct wn_kept_blocks *kept)
{
    struct wn_block *block = wn_block_create(model);
    wn_status status = wn_model_load_block(model, index, block);
    block->index = index;
    kept->blocks[index] = *block; /* its arrays belong to `kept` from now on */
    for (int l = 0; l < model->layout.n_linears; l++)
        if (!has(model, index, l)) {
            wn_free(kept->blocks[index].linears[l]);
            kept->blocks[index].linears[l] = NULL;
        }
    wn_free(block);
    return status;
}

static wn_status keep_bf16(const struct wn_model *model, int64_t index, struct wn_kept_blocks *kept)
{
    struct wn_activation *rules[WN_MAX_LINEARS] = {NULL};
    struct wn_block *block = wn_block_create(model);
    wn_status status = wn_model_load_block(model, index, block);
    for (int l = 0; l < model->layout.n_linears && status == WN_OK; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        if (has(model, index, l))
            wn_round_to_bf16(block->linears[l], linear->rows * linear->columns, block->linears[l]);
    }
    if (status == WN_OK)
        wn_kept_blocks_take(kept, index, block, rules);
    wn_block_destroy(&block, model);
    return status;
}

wn_status wn_dense_keep(const struct wn_model *model, bool bf16, struct wn_kept_blocks *kept)
{
    wn_kept_blocks_init(kept, model);
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        WN_TRY(bf16 ? keep_bf16(model, b, kept) : keep_f32(model, b, kept));
    return WN_OK;
}

static int64_t resident_bytes(const struct wn_kept_blocks *kept, int64_t block, int linear)
{
    const struct wn_linear_info *info = &kept->model->layout.linears[linear];
    const struct wn_block *of = &kept->blocks[block];
    const int64_t at = block * kept->model->layout.n_linears + linear;
    if (of->linears[linear])
        return info->rows * info->columns * (int64_t)sizeof(float);
    if (of->sources[linear])
        return wn_packed_linear_form(kept->kernels[at])->size + wn_packed_linear_own_bytes(kept->kernels[at]);
    return of->activations[linear] ? wn_rule_pack(of->activations[linear], NULL) : 0;
}

int64_t wn_kept_weight_bytes(const struct wn_kept_blocks *kept)
{
    int64_t bytes = 0;
    for (int64_t b = 0; b < kept->model->config.n_blocks; b++)
        for (int l = 0; l < kept->model->layout.n_linears; l++)
            bytes += resident_bytes(kept, b, l);
    return bytes;
}

/* Of the linears of an input: how many of them a step of `texts` tokens goes through when experts are chosen evenly. */
static double share_read(const struct wn_model *model, int input, int64_t texts)
{
    return 1 - pow(1 - wn_model_input_share(model, input), (double)texts);
}

double wn_kept_step_bytes(const struct wn_kept_blocks *kept, int64_t texts)
{
    const struct wn_layout *layout = &kept->model->layout;
    double bytes = 0;
    for (int64_t b = 0; b < kept->model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            const int64_t here = kept->blocks[b].sources[l]
                                     ? wn_packed_linear_bytes(kept->kernels[b * layout->n_linears + l], texts)
                                     : resident_bytes(kept, b, l);
            bytes += (double)here * share_read(kept->model, layout->linears[l].input, texts);
        }
    return bytes;
}

int64_t wn_head_bytes(const struct wn_model *model)
{
    return model->config.vocab_size * wn_embedding_size(&model->config) * wn_dtype_bytes(model->head->dtype);
}
