/* SPDX-License-Identifier: Apache-2.0 */
/* Blocks of a point kept in memory, so that text can be generated token by token. */
#include <winnow/generate.h>

#include <winnow/kernels.h>

#include <string.h>

enum { PAYS_TENTHS = 9 }; /* packed weights are kept when they have fewer tenths of the bytes of fp32 */

static float *copy_floats(const float *from, int64_t count)
{
    float *to = wn_alloc_weights(count, sizeof *to);
    memcpy(to, from, (size_t)count * sizeof *to);
    return to;
}

void wn_kept_blocks_init(struct wn_kept_blocks *kept, const struct wn_model *model)
{
    int64_t linears = model->config.n_blocks * model->layout.n_linears;
    *kept = (struct wn_kept_blocks){.model = model};
    kept->blocks = wn_alloc_zero(model->config.n_blocks, sizeof *kept->blocks);
    for (int64_t b = 0; b < model->config.n_blocks; b++)
        kept->blocks[b] = (struct wn_block){.index = b, .compute = model->compute};
    kept->kernels = wn_alloc_zero(linears, sizeof *kept->kernels);
    kept->rules = wn_alloc_zero(linears, sizeof *kept->rules);
}

static void release_block(struct wn_kept_blocks *kept, int64_t index)
{
    struct wn_block *block = &kept->blocks[index];
    for (int l = 0; l < kept->model->layout.n_linears; l++) {
        wn_free(block->linears[l]);
        wn_free(block->biases[l]);
        wn_packed_linear_destroy(&kept->kernels[index * kept->model->layout.n_linears + l]);
        wn_activation_release(&kept->rules[index * kept->model->layout.n_linears + l]);
    }
    for (int i = 0; i < kept->model->layout.n_vectors; i++)
        wn_free(block->vectors[i]);
}

void wn_kept_blocks_release(struct wn_kept_blocks *kept)
{
    for (int64_t b = 0; kept->model && b < kept->model->config.n_blocks; b++)
        release_block(kept, b);
    wn_free(kept->blocks);
    wn_free(kept->kernels);
    wn_free(kept->rules);
    *kept = (struct wn_kept_blocks){0};
}

/* ---- linears ---- */

static bool pays(int64_t packed, int64_t rows, int64_t columns)
{
    return packed < rows * columns * (int64_t)sizeof(float) / 10 * PAYS_TENTHS;
}

/* Takes it over. */
static void use_packed(struct wn_kept_blocks *kept, int64_t index, int linear, struct wn_packed *packed)
{
    const int64_t at = index * kept->model->layout.n_linears + linear;
    kept->kernels[at] = wn_packed_linear_create(packed);
    kept->blocks[index].sources[linear] = wn_packed_linear_source(kept->kernels[at]);
}

int64_t wn_kept_blocks_take_linear(struct wn_kept_blocks *kept, int64_t index, int linear,
                                   const struct wn_compressed *form)
{
    struct wn_packed packed;
    if (form->activation)
        return 0;
    wn_pack(form, &packed);
    const int64_t size = packed.size;
    if (pays(size, form->rows, form->columns))
        use_packed(kept, index, linear, &packed);
    else {
        kept->blocks[index].linears[linear] = copy_floats(form->weight, form->rows * form->columns);
        wn_packed_release(&packed);
    }
    return size;
}

static bool is_there(const struct wn_kept_blocks *kept, int64_t index, int linear)
{
    const struct wn_layout *layout = &kept->model->layout;
    const struct wn_linear_info *info = &layout->linears[linear];
    return wn_is_in(&kept->model->config, info->where, index) &&
           !kept->blocks[index].skip[layout->input_branches[info->input]];
}

static void take_linear(struct wn_kept_blocks *kept, int64_t index, int linear, const struct wn_block *view,
                        struct wn_activation **rule)
{
    const struct wn_linear_info *info = &kept->model->layout.linears[linear];
    struct wn_block *block = &kept->blocks[index];
    struct wn_compressed plain;
    wn_compressed_init(&plain, info->rows, info->columns, view->linears[linear], NULL);
    if (!*rule && !block->linears[linear] && !block->sources[linear])
        wn_kept_blocks_take_linear(kept, index, linear, &plain);
    if (view->biases[linear])
        block->biases[linear] = copy_floats(view->biases[linear], info->rows);
    block->activations[linear] = kept->rules[index * kept->model->layout.n_linears + linear] = *rule;
    *rule = NULL;
}

void wn_kept_blocks_take(struct wn_kept_blocks *kept, int64_t index, const struct wn_block *view,
                         struct wn_activation **rules)
{
    const struct wn_layout *layout = &kept->model->layout;
    struct wn_block *block = &kept->blocks[index];
    memcpy(block->skip, view->skip, sizeof block->skip);
    for (int i = 0; i < layout->n_vectors; i++)
        block->vectors[i] = copy_floats(view->vectors[i], layout->vectors[i].size);
    for (int l = 0; l < layout->n_linears; l++)
        if (is_there(kept, index, l))
            take_linear(kept, index, l, view, &rules[l]);
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

/* How the inputs of a linear are rounded. */
enum rule_kind { RULE_NONE, RULE_INTEGER, RULE_GROUPED };

static void put_rule(struct packing *packing, const struct wn_activation *activation)
{
    const struct wn_integer_linear *form = activation ? wn_integer_linear_form(activation) : NULL;
    const bool grouped = activation && wn_grouped_linear_form(activation), outliers = form && form->outlier_weight;
    const uint8_t kind = form ? RULE_INTEGER : grouped ? RULE_GROUPED : RULE_NONE;
    if (activation && kind == RULE_NONE)
        WN_BUG("a rule of a kind that cannot be packed");
    put(packing, &kind, sizeof kind);
    if (grouped)
        packing->bytes += wn_grouped_linear_write(activation, packing->out ? packing->out + packing->bytes : NULL);
    if (!form)
        return;
    put(packing, form, sizeof *form);
    put(packing, form->codes, form->rows * form->columns);
    put(packing, form->scales, form->rows * (int64_t)sizeof(float));
    if (outliers)
        put(packing, form->outlier_weight, form->rows * form->columns * (int64_t)sizeof(float));
}

/* How the weights of a linear are kept. */
enum kept_as { KEPT_BY_RULE, KEPT_AS_FLOATS, KEPT_PACKED };

static void put_linear(struct packing *packing, const struct wn_kept_blocks *kept, int64_t index, int linear)
{
    const struct wn_linear_info *info = &kept->model->layout.linears[linear];
    const struct wn_packed_linear *packed = kept->kernels[index * kept->model->layout.n_linears + linear];
    const float *floats = kept->blocks[index].linears[linear];
    const uint8_t as = packed ? KEPT_PACKED : floats ? KEPT_AS_FLOATS : KEPT_BY_RULE;
    put(packing, &as, sizeof as);
    if (as == KEPT_AS_FLOATS)
        put(packing, floats, info->rows * info->columns * (int64_t)sizeof(float));
    if (as != KEPT_PACKED)
        return;
    const int64_t size = wn_packed_linear_form(packed)->size;
    put(packing, &size, sizeof size);
    if (packing->out)
        wn_packed_linear_write(packed, packing->out + packing->bytes);
    packing->bytes += size;
}

int64_t wn_kept_linears_pack(const struct wn_kept_blocks *kept, int64_t index, uint8_t *out)
{
    struct packing packing = {.out = out};
    for (int l = 0; l < kept->model->layout.n_linears; l++)
        put_linear(&packing, kept, index, l);
    return packing.bytes;
}

int64_t wn_rule_pack(const struct wn_activation *rule, uint8_t *out)
{
    struct packing packing = {.out = out};
    put_rule(&packing, rule);
    return packing.bytes;
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
        if (!is_there(kept, index, l))
            continue;
        put_linear(&packing, kept, index, l);
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
    float *floats = wn_alloc_weights(count, sizeof *floats);
    take(bytes, floats, count * (int64_t)sizeof *floats);
    return floats;
}

struct wn_activation *wn_rule_unpack(const uint8_t **bytes)
{
    struct wn_integer_linear form;
    uint8_t kind;
    take(bytes, &kind, sizeof kind);
    if (kind == RULE_GROUPED)
        return wn_grouped_linear_read(bytes);
    if (kind == RULE_NONE)
        return NULL;
    take(bytes, &form, sizeof form);
    bool outliers =
        form.outlier_weight != NULL; /* the pointer of the program that packed it: only whether it was one */
    uint8_t *codes = wn_alloc(form.rows * form.columns, 1);
    take(bytes, codes, form.rows * form.columns);
    float *scales = wn_alloc(form.rows, sizeof *scales), *outlier_weight = NULL;
    take(bytes, scales, form.rows * (int64_t)sizeof *scales);
    if (outliers) {
        outlier_weight = wn_alloc(form.rows * form.columns, sizeof *outlier_weight);
        take(bytes, outlier_weight, form.rows * form.columns * (int64_t)sizeof *outlier_weight);
    }
    form.codes = codes;
    form.scales = scales;
    form.outlier_weight = outlier_weight;
    struct wn_activation *rule = wn_integer_linear_create(&form);
    wn_free(codes);
    wn_free(scales);
    wn_free(outlier_weight);
    return rule;
}

static void take_weights(const uint8_t **bytes, struct wn_kept_blocks *kept, int64_t index, int linear)
{
    const struct wn_linear_info *info = &kept->model->layout.linears[linear];
    struct wn_packed packed;
    uint8_t as;
    int64_t size;
    take(bytes, &as, sizeof as);
    if (as == KEPT_AS_FLOATS)
        kept->blocks[index].linears[linear] = take_floats(bytes, info->rows * info->columns);
    if (as != KEPT_PACKED)
        return;
    take(bytes, &size, sizeof size);
    uint8_t *owned = wn_alloc(size, 1);
    take(bytes, owned, size);
    if (wn_packed_open(info->name, owned, size, &packed) != WN_OK)
        WN_BUG("a kept block is not what was packed: %s", wn_error_message());
    packed.owned = owned;
    use_packed(kept, index, linear, &packed);
}

void wn_kept_linears_unpack(struct wn_kept_blocks *kept, int64_t index, const uint8_t **bytes)
{
    for (int l = 0; l < kept->model->layout.n_linears; l++)
        take_weights(bytes, kept, index, l);
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
        if (!is_there(kept, index, l))
            continue;
        take_weights(&bytes, kept, index, l);
        take(&bytes, &bias, sizeof bias);
        if (bias)
            block->biases[l] = take_floats(&bytes, linear->rows);
        block->activations[l] = kept->rules[index * kept->model->layout.n_linears + l] = wn_rule_unpack(&bytes);
    }
}

/* ---- the head ---- */

static void take_head(const void *context, int64_t first, int64_t end, float *out)
{
    const struct wn_model *model = context;
    int64_t width = wn_embedding_size(&model->config);
    wn_tensor_to_float(model->head, first * width, (end - first) * width, out);
}

void wn_kept_blocks_logits(const struct wn_kept_blocks *kept, const float *states, int64_t rows, float *logits)
{
    const struct wn_tensor *head = kept->model->head;
    const struct wn_row_source source = {.take = take_head, .context = kept->model};
    int64_t width = wn_embedding_size(&kept->model->config), vocabulary = kept->model->config.vocab_size;
    float *projected = wn_model_project_out(kept->model, states, rows);
    if (projected)
        states = projected;
    if (head->dtype == WN_F32 && (uintptr_t)head->data % sizeof(float) == 0)
        wn_linear_few_rows(states, rows, width, (const float *)(const void *)head->data, vocabulary, NULL, logits,
                           vocabulary);
    else if (head->dtype == WN_BF16 && !head->scale.data)
        wn_linear_few_rows_stored(states, rows, width, head->data, vocabulary, NULL, logits, vocabulary);
    else
        wn_linear_few_rows_from(states, rows, width, &source, vocabulary, NULL, logits, vocabulary);
    wn_model_shape_logits(kept->model, rows, logits);
    wn_free(projected);
}

/* ---- memory ---- */

static int64_t linear_bytes(const struct wn_recipe *recipe, const struct wn_linear_info *linear, int source)
{
    int64_t rule, scratch, packed = wn_pack_bytes_of(recipe, linear->rows, linear->columns, source);
    wn_recipe_activation_bytes(recipe, linear->rows, linear->columns, 1, 1, &rule, &scratch);
    if (rule)
        return 0;
    if (!pays(packed, linear->rows, linear->columns))
        return linear->rows * linear->columns * (int64_t)sizeof(float);
    return packed + wn_packed_linear_own_bytes_of(recipe, linear->rows, linear->columns);
}

int64_t wn_kept_blocks_bytes(const struct wn_model *model, const struct wn_recipe *recipe)
{
    const struct wn_layout *layout = &model->layout;
    int64_t each = (int64_t)(sizeof(void *) + sizeof(struct wn_activation *));
    int64_t block = wn_block_bytes(model) + layout->n_linears * each;
    int source = wn_model_source_bytes(model);
    for (int l = 0; l < layout->n_linears; l++)
        block += linear_bytes(recipe, &layout->linears[l], source) -
                 layout->linears[l].rows * layout->linears[l].columns * (int64_t)sizeof(float);
    return model->config.n_blocks * block;
}
