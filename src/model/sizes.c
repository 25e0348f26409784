/* SPDX-License-Identifier: Apache-2.0 */
/* sizes.c: how many weights a model, and a block of it, have. */
#include <winnow/model.h>

/* What is counted: what one block has, or what has a place in every struct wn_block. */
enum { ANY_BLOCK = -1 };

static bool counts(const struct wn_model *model, enum wn_where where, int64_t block)
{
    return block == ANY_BLOCK || wn_is_in(&model->config, where, block);
}

static int64_t weights_of(const struct wn_model *model, int64_t block)
{
    const struct wn_layout *layout = &model->layout;
    int64_t count = 0;
    for (int i = 0; i < layout->n_linears; i++)
        if (counts(model, layout->linears[i].where, block))
            count += layout->linears[i].rows * layout->linears[i].columns;
    return count;
}

/* Biases and vectors. */
static int64_t others_of(const struct wn_model *model, int64_t block)
{
    const struct wn_layout *layout = &model->layout;
    int64_t count = 0;
    for (int i = 0; i < layout->n_linears; i++)
        if (layout->linears[i].bias && counts(model, layout->linears[i].where, block))
            count += layout->linears[i].rows;
    for (int i = 0; i < layout->n_vectors; i++)
        if (counts(model, layout->vectors[i].where, block))
            count += layout->vectors[i].size;
    return count;
}

int64_t wn_model_block_weights(const struct wn_model *model)
{
    return weights_of(model, ANY_BLOCK);
}

int64_t wn_model_weights(const struct wn_model *model)
{
    int64_t count = 0;
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        count += weights_of(model, b);
    return count;
}

double wn_model_input_share(const struct wn_model *model, int input)
{
    const struct wn_experts *experts = &model->config.decoder.experts;
    return model->layout.input_experts[input] ? (double)experts->chosen / (double)experts->count : 1;
}

double wn_model_active_weights(const struct wn_model *model)
{
    const struct wn_layout *layout = &model->layout;
    double count = 0;
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++)
            if (wn_is_in(&model->config, layout->linears[l].where, b))
                count += (double)(layout->linears[l].rows * layout->linears[l].columns) *
                         wn_model_input_share(model, layout->linears[l].input);
    return count;
}

double wn_model_block_active_weights(const struct wn_model *model)
{
    return wn_model_active_weights(model) / (double)model->config.n_blocks;
}

int wn_model_source_bytes(const struct wn_model *model)
{
    for (int64_t i = 0; model->checkpoint && i < wn_checkpoint_count(model->checkpoint); i++) {
        const struct wn_tensor *tensor = wn_checkpoint_at(model->checkpoint, i);
        if (tensor->n_dims > 1 && tensor->dtype != WN_F16 && tensor->dtype != WN_BF16 && tensor->dtype != WN_OTHER)
            return 4;
    }
    return model->checkpoint ? 2 : 4;
}

int64_t wn_model_parameters(const struct wn_model *model)
{
    const struct wn_config *config = &model->config;
    int64_t others = 0, tables = (config->tied ? 1 : 2) * config->vocab_size * wn_embedding_size(config);
    int64_t projections = 2 * config->embedding_size * config->hidden_size;
    for (int64_t b = 0; b < config->n_blocks; b++)
        others += others_of(model, b);
    return wn_model_weights(model) + others + tables + projections + config->hidden_size;
}

int64_t wn_block_bytes(const struct wn_model *model)
{
    int64_t floats = weights_of(model, ANY_BLOCK) + others_of(model, ANY_BLOCK);
    return floats * (int64_t)sizeof(float) + (int64_t)sizeof(struct wn_block);
}
