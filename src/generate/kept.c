/* Blocks of a point kept in memory, so that text can be generated token by token. */
#include <winnow/generate.h>

#include <string.h>

static float *copy_floats(const float *from, int64_t count)
{
    float *to = wn_alloc(count, sizeof *to);
    memcpy(to, from, (size_t)count * sizeof *to);
    return to;
}

static bool head_is_mapped(const struct wn_model *model)
{
    return model->head->dtype == WN_F32 && (uintptr_t)model->head->data % sizeof(float) == 0;
}

void wn_kept_blocks_init(struct wn_kept_blocks *kept, const struct wn_model *model)
{
    int64_t vocabulary = model->config.vocab_size, width = model->config.hidden_size;
    *kept = (struct wn_kept_blocks){.model = model};
    kept->blocks = wn_alloc_zero(model->config.n_blocks, sizeof *kept->blocks);
    kept->rules = wn_alloc_zero(model->config.n_blocks * WN_MAX_LINEARS, sizeof *kept->rules);
    if (head_is_mapped(model)) {
        kept->head = (const float *)(const void *)model->head->data;
        return;
    }
    kept->head = kept->head_copy = wn_alloc(vocabulary * width, sizeof(float));
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < vocabulary; r++)
        wn_tensor_to_float(model->head, r * width, width, kept->head_copy + r * width);
}

static void release_block(struct wn_block *block, struct wn_activation **rules)
{
    for (int l = 0; l < WN_MAX_LINEARS; l++) {
        wn_free(block->linears[l]);
        wn_free(block->biases[l]);
        wn_activation_release(&rules[l]);
    }
    for (int i = 0; i < WN_MAX_VECTORS; i++)
        wn_free(block->vectors[i]);
}

void wn_kept_blocks_release(struct wn_kept_blocks *kept)
{
    for (int64_t b = 0; kept->model && b < kept->model->config.n_blocks; b++)
        release_block(&kept->blocks[b], kept->rules + b * WN_MAX_LINEARS);
    wn_free(kept->blocks);
    wn_free(kept->rules);
    wn_free(kept->head_copy);
    *kept = (struct wn_kept_blocks){0};
}

void wn_kept_blocks_take(struct wn_kept_blocks *kept, int64_t index, const struct wn_block *view,
                         struct wn_activation **rules)
{
    const struct wn_layout *layout = &kept->model->layout;
    struct wn_block *block = &kept->blocks[index];
    memcpy(block->skip, view->skip, sizeof block->skip);
    for (int i = 0; i < layout->n_vectors; i++)
        block->vectors[i] = copy_floats(view->vectors[i], layout->vectors[i].size);
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        if (view->skip[layout->input_branches[linear->input]])
            continue;
        block->linears[l] = copy_floats(view->linears[l], linear->rows * linear->columns);
        if (view->biases[l])
            block->biases[l] = copy_floats(view->biases[l], linear->rows);
        block->activations[l] = kept->rules[index * WN_MAX_LINEARS + l] = rules[l];
        rules[l] = NULL;
    }
}

/* ---- as bytes ---- */

struct packing {
    uint8_t *out; /* NULL: bytes are counted only */
    int64_t bytes;
};

static void put(struct packing *packing, const void *data, int64_t bytes)
{
    if (packing->out)
        memcpy(packing->out + packing->bytes, data, (size_t)bytes);
    packing->bytes += bytes;
}

static void put_rule(struct packing *packing, const struct wn_activation *activation)
{
    const struct wn_integer_linear *form = activation ? wn_integer_linear_form(activation) : NULL;
    bool there = activation != NULL, outliers = form && form->outlier_weight;
    if (there && !form)
        WN_BUG("a rule of a kind that cannot be packed");
    put(packing, &there, sizeof there);
    if (!there)
        return;
    put(packing, form, sizeof *form);
    put(packing, form->codes, form->rows * form->columns);
    put(packing, form->scales, form->rows * (int64_t)sizeof(float));
    if (outliers)
        put(packing, form->outlier_weight, form->rows * form->columns * (int64_t)sizeof(float));
}

int64_t wn_kept_blocks_pack(const struct wn_kept_blocks *kept, int64_t index, uint8_t *out)
{
    const struct wn_layout *layout = &kept->model->layout;
    const struct wn_block *block = &kept->blocks[index];
    struct packing packing = {.out = out};
    put(&packing, block->skip, sizeof block->skip);
    for (int i = 0; i < layout->n_vectors; i++)
        put(&packing, block->vectors[i], layout->vectors[i].size * (int64_t)sizeof(float));
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        bool bias = block->biases[l] != NULL;
        if (block->skip[layout->input_branches[linear->input]])
            continue;
        put(&packing, block->linears[l], linear->rows * linear->columns * (int64_t)sizeof(float));
        put(&packing, &bias, sizeof bias);
        if (bias)
            put(&packing, block->biases[l], linear->rows * (int64_t)sizeof(float));
        put_rule(&packing, block->activations[l]);
    }
    return packing.bytes;
}

static void take(const uint8_t **bytes, void *data, int64_t count)
{
    memcpy(data, *bytes, (size_t)count);
    *bytes += count;
}

static float *take_floats(const uint8_t **bytes, int64_t count)
{
    float *floats = wn_alloc(count, sizeof *floats);
    take(bytes, floats, count * (int64_t)sizeof *floats);
    return floats;
}

static struct wn_activation *take_rule(const uint8_t **bytes)
{
    struct wn_integer_linear form;
    bool there;
    take(bytes, &there, sizeof there);
    if (!there)
        return NULL;
    take(bytes, &form, sizeof form);
    bool outliers =
        form.outlier_weight != NULL; /* the pointer of the program that packed it: only whether it was one */
    uint8_t *codes = wn_alloc(form.rows * form.columns, 1);
    take(bytes, codes, form.rows * form.columns);
    float *scales = take_floats(bytes, form.rows);
    float *outlier_weight = outliers ? take_floats(bytes, form.rows * form.columns) : NULL;
    form.codes = codes;
    form.scales = scales;
    form.outlier_weight = outlier_weight;
    struct wn_activation *rule = wn_integer_linear_create(&form);
    wn_free(codes);
    wn_free(scales);
    wn_free(outlier_weight);
    return rule;
}

void wn_kept_blocks_unpack(struct wn_kept_blocks *kept, int64_t index, const uint8_t *bytes)
{
    const struct wn_layout *layout = &kept->model->layout;
    struct wn_block *block = &kept->blocks[index];
    take(&bytes, block->skip, sizeof block->skip);
    for (int i = 0; i < layout->n_vectors; i++)
        block->vectors[i] = take_floats(&bytes, layout->vectors[i].size);
    for (int l = 0; l < layout->n_linears; l++) {
        const struct wn_linear_info *linear = &layout->linears[l];
        bool bias;
        if (block->skip[layout->input_branches[linear->input]])
            continue;
        block->linears[l] = take_floats(&bytes, linear->rows * linear->columns);
        take(&bytes, &bias, sizeof bias);
        if (bias)
            block->biases[l] = take_floats(&bytes, linear->rows);
        block->activations[l] = kept->rules[index * WN_MAX_LINEARS + l] = take_rule(&bytes);
    }
}

int64_t wn_kept_blocks_bytes(const struct wn_model *model)
{
    int64_t head = head_is_mapped(model) ? 0 : model->config.vocab_size * model->config.hidden_size;
    return model->config.n_blocks * (wn_block_bytes(model) + WN_MAX_LINEARS * (int64_t)sizeof(struct wn_activation *)) +
           head * (int64_t)sizeof(float);
}
