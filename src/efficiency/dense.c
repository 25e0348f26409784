/* dense.c: the dense model in memory, as fp32 and as bf16: what a compressed one is compared with. */
#include "efficiency.h"

#include <winnow/kernels.h>

static wn_status keep_f32(const struct wn_model *model, int64_t index, struct wn_kept_blocks *kept)
{
    struct wn_block *block = wn_block_create(model);
    wn_status status = wn_model_load_block(model, index, block);
    block->index = index;
    kept->blocks[index] = *block; /* its arrays belong to `kept` from now on */
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

int64_t wn_kept_weight_bytes(const struct wn_kept_blocks *kept)
{
    const struct wn_layout *layout = &kept->model->layout;
    int64_t bytes = 0;
    for (int64_t b = 0; b < kept->model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++) {
            const struct wn_linear_info *linear = &layout->linears[l];
            const int64_t floats = linear->rows * linear->columns * (int64_t)sizeof(float);
            if (kept->blocks[b].linears[l])
                bytes += floats;
            else if (kept->blocks[b].sources[l])
                bytes += kept->packed[b * kept->model->layout.n_linears + l].size +
                         wn_packed_linear_own_bytes(kept->kernels[b * kept->model->layout.n_linears + l]);
            else if (kept->blocks[b].activations[l])
                bytes += wn_rule_pack(kept->blocks[b].activations[l], NULL);
        }
    return bytes;
}

int64_t wn_head_bytes(const struct wn_model *model)
{
    return model->config.vocab_size * model->config.hidden_size * wn_dtype_bytes(model->head->dtype);
}
