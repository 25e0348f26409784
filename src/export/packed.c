/* SPDX-License-Identifier: Apache-2.0 */
/* packed.c: the arrays of linears in the packed formats of others, and what config.json says of them. */
#include <math.h>
#include <string.h>

#include "files.h"
#include "packed.h"

wn_status wn_export_packed_create(struct wn_export_packed *packed, const struct wn_export_form *form,
                                  const char *folder)
{
    *packed = (struct wn_export_packed){.form = form};
    return wn_export_spool_create(&packed->spool, folder, "linears.scratch", "model-linears.safetensors");
}

void wn_export_packed_release(struct wn_export_packed *packed)
{
    wn_export_spool_release(&packed->spool);
    for (size_t i = 0; i < sizeof packed->targets / sizeof *packed->targets; i++)
        wn_text_release(&packed->targets[i]);
}

static wn_status put(struct wn_export_packed *packed, const char *name, const char *part, const char *dtype,
                     int64_t rows, int64_t columns, const void *data)
{
    return wn_export_spool_add(&packed->spool, name, part, dtype, rows, columns, data);
}

static const char *dtype_word(enum wn_dtype dtype)
{
    return dtype == WN_F32 ? "F32" : dtype == WN_F16 ? "F16" : "BF16";
}

/* Scales or values, rounded to the dtype of the form. */
static wn_status put_numbers(struct wn_export_packed *packed, const char *name, const char *part, enum wn_dtype dtype,
                             int64_t rows, int64_t columns, const float *values)
{
    const int64_t count = rows * (columns ? columns : 1);
    uint8_t *numbers = wn_alloc(count, sizeof *values);
    wn_status status = wn_export_round(name, dtype, values, count, numbers, &packed->rounded);
    packed->numbers += count;
    if (status == WN_OK)
        status = put(packed, name, part, dtype_word(dtype), rows, columns, numbers);
    wn_free(numbers);
    return status;
}

/* ---- codes in words ---- */

/* Codes at distances of `stride` as a stream of bits in words at distances of `step`; words begin as 0. */
static void pack_words(const uint8_t *codes, int64_t count, int64_t stride, int bits, uint32_t *words, int64_t step)
{
    uint64_t held = 0;
    int filled = 0;
    for (int64_t i = 0; i < count; i++) {
        held |= (uint64_t)codes[i * stride] << filled;
        filled += bits;
        if (filled >= 32) {
            *words = (uint32_t)held;
            words += step;
            held >>= 32;
            filled -= 32;
        }
    }
    if (filled)
        *words = (uint32_t)held;
}

static int64_t words_of(int64_t count, int bits)
{
    return (count * bits + 31) / 32;
}

/* ---- compressed-tensors ---- */

static wn_status put_ct_zeros(struct wn_export_packed *packed, const char *name, const struct wn_export_coded *c)
{
    const int64_t words = words_of(c->rows, c->bits);
    uint32_t *data = wn_alloc(words * c->n_groups, sizeof *data);
    for (int64_t g = 0; g < c->n_groups; g++) /* along the rows */
        pack_words(c->zeros + g, c->rows, c->n_groups, c->bits, data + g, c->n_groups);
    wn_status status = put(packed, name, "weight_zero_point", "I32", words, c->n_groups, data);
    wn_free(data);
    return status;
}

/* weight_packed I32 [rows, words of columns]: a stream of codes for each row. */
static wn_status put_ct_packed(struct wn_export_packed *packed, const char *name, const struct wn_export_coded *c)
{
    const int64_t shape[2] = {c->rows, c->columns}, words = words_of(c->columns, c->bits);
    uint32_t *data = wn_alloc(c->rows * words, sizeof *data);
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < c->rows; row++)
        pack_words(c->codes + row * c->columns, c->columns, 1, c->bits, data + row * words, 1);
    wn_status status = put(packed, name, "weight_packed", "I32", c->rows, words, data);
    wn_free(data);
    if (status == WN_OK)
        status = put(packed, name, "weight_shape", "I64", 2, 0, shape);
    if (status == WN_OK && !packed->form->symmetric)
        status = put_ct_zeros(packed, name, c);
    return status;
}

static wn_status put_ct_integers(struct wn_export_packed *packed, const char *name, const struct wn_export_coded *c)
{
    int8_t *data = wn_alloc(c->rows * c->columns, sizeof *data);
    for (int64_t i = 0; i < c->rows * c->columns; i++)
        data[i] = (int8_t)(c->codes[i] - (1 << (c->bits - 1)));
    wn_status status = put(packed, name, "weight", "I8", c->rows, c->columns, data);
    wn_free(data);
    return status;
}

static wn_status put_ct_codes(struct wn_export_packed *packed, const char *name, const struct wn_export_coded *c)
{
    for (int64_t i = 0; packed->form->symmetric && i < c->rows * c->n_groups; i++)
        if (c->zeros[i] != 1 << (c->bits - 1))
            WN_BUG("%s: a zero point of symmetric codes is %d", name, c->zeros[i]);
    WN_TRY(packed->form->packing == WN_PACKING_CT_INT ? put_ct_integers(packed, name, c)
                                                      : put_ct_packed(packed, name, c));
    wn_text_printf(&packed->targets[c->bits], "%s\"%s\"", packed->targets[c->bits].length ? ", " : "", name);
    return put_numbers(packed, name, "weight_scale", packed->form->numbers, c->rows, c->n_groups, c->scales);
}

/* ---- compressed-tensors: masks and what they keep ---- */

static wn_status put_sparse(struct wn_export_packed *packed, const char *name, enum wn_dtype source,
                            const struct wn_compressed *c)
{
    const bool even = packed->form->packing == WN_PACKING_CT_SPARSE24;
    const enum wn_dtype dtype = packed->form->numbers == WN_OTHER ? source : packed->form->numbers;
    const int64_t shape[2] = {c->rows, c->columns};
    int64_t kept = 0, *offsets = wn_alloc(c->rows, sizeof *offsets);
    float *values = wn_alloc(c->rows * c->columns, sizeof *values);
    for (int64_t row = 0; row < c->rows; row++) {
        offsets[row] = kept;
        for (int64_t at = row * c->columns; at < (row + 1) * c->columns; at++)
            if (c->keep[at])
                values[kept++] = c->weight[at];
    }
    wn_status status =
        put_numbers(packed, name, "compressed", dtype, even ? c->rows : kept, even ? c->columns / 2 : 0, values);
    if (status == WN_OK)
        status = wn_export_spool_mask(&packed->spool, name, "bitmask", c);
    if (status == WN_OK) /* a column in the one, a vector in the other, as their loaders read it */
        status = put(packed, name, "shape", "I64", 2, even, shape);
    if (status == WN_OK && !even)
        status = put(packed, name, "row_offsets", "I64", c->rows, 0, offsets);
    packed->zeros += (double)(c->rows * c->columns - kept);
    wn_free(values);
    wn_free(offsets);
    return status;
}

/* ---- GPTQ and AWQ: words along the inputs, along the outputs ---- */

static wn_status put_transposed_scales(struct wn_export_packed *packed, const char *name,
                                       const struct wn_export_coded *c)
{
    float *scales = wn_alloc(c->rows * c->n_groups, sizeof *scales);
    for (int64_t row = 0; row < c->rows; row++)
        for (int64_t g = 0; g < c->n_groups; g++)
            scales[g * c->rows + row] = c->scales[row * c->n_groups + g];
    wn_status status = put_numbers(packed, name, "scales", packed->form->numbers, c->n_groups, c->rows, scales);
    wn_free(scales);
    return status;
}

/*
 * Its loaders add 1 to a stored zero point, so that 0 cannot be said: such a grid (a group without negative weights) is
 * turned round. -scale * ((largest - code) - largest) is scale * code, exactly.
 */
static void turn_round(struct wn_export_coded *c)
{
    const uint8_t largest = (uint8_t)((1 << c->bits) - 1);
    for (int64_t row = 0; row < c->rows; row++)
        for (int64_t j = 0; j < c->columns; j++) {
            uint8_t *code = &c->codes[row * c->columns + j];
            if (!c->zeros[row * c->n_groups + c->group[j]])
                *code = (uint8_t)(largest - *code);
        }
    for (int64_t i = 0; i < c->rows * c->n_groups; i++)
        if (!c->zeros[i]) {
            c->zeros[i] = largest;
            c->scales[i] = -c->scales[i];
        }
}

static wn_status put_gptq(struct wn_export_packed *packed, const char *name, struct wn_export_coded *c)
{
    const int64_t down = words_of(c->columns, c->bits), along = words_of(c->rows, c->bits);
    uint32_t *data = wn_alloc(down * c->rows, sizeof *data), *zeros = wn_alloc(c->n_groups * along, sizeof *zeros);
    turn_round(c);
    for (int64_t i = 0; i < c->rows * c->n_groups; i++)
        c->zeros[i]--;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < c->rows; row++)
        pack_words(c->codes + row * c->columns, c->columns, 1, c->bits, data + row, c->rows);
    for (int64_t g = 0; g < c->n_groups; g++)
        pack_words(c->zeros + g, c->rows, c->n_groups, c->bits, zeros + g * along, 1);
    wn_status status = put(packed, name, "qweight", "I32", down, c->rows, data);
    if (status == WN_OK)
        status = put(packed, name, "qzeros", "I32", c->n_groups, along, zeros);
    if (status == WN_OK)
        status = put(packed, name, "g_idx", "I32", c->columns, 0, c->group);
    wn_free(zeros);
    wn_free(data);
    return status == WN_OK ? put_transposed_scales(packed, name, c) : status;
}

/* Eight codes at distances of `stride` in a word, in the order of its kernels. */
static uint32_t awq_word(const uint8_t *codes, int64_t stride)
{
    static const int order[8] = {0, 2, 4, 6, 1, 3, 5, 7};
    uint32_t word = 0;
    for (int i = 0; i < 8; i++)
        word |= (uint32_t)codes[order[i] * stride] << 4 * i;
    return word;
}

static wn_status put_awq(struct wn_export_packed *packed, const char *name, const struct wn_export_coded *c)
{
    const int64_t words = c->rows / 8;
    uint32_t *data = wn_alloc(c->columns * words, sizeof *data), *zeros = wn_alloc(c->n_groups * words, sizeof *zeros);
#pragma omp parallel for schedule(static)
    for (int64_t w = 0; w < words; w++) {
        for (int64_t j = 0; j < c->columns; j++)
            data[j * words + w] = awq_word(c->codes + 8 * w * c->columns + j, c->columns);
        for (int64_t g = 0; g < c->n_groups; g++)
            zeros[g * words + w] = awq_word(c->zeros + 8 * w * c->n_groups + g, c->n_groups);
    }
    wn_status status = put(packed, name, "qweight", "I32", c->columns, words, data);
    if (status == WN_OK)
        status = put(packed, name, "qzeros", "I32", c->n_groups, words, zeros);
    wn_free(zeros);
    wn_free(data);
    return status == WN_OK ? put_transposed_scales(packed, name, c) : status;
}

/* ---- a linear ---- */

bool wn_export_form_has_codes(const struct wn_export_form *form)
{
    return form->packing != WN_PACKING_NONE && form->packing != WN_PACKING_CT_SPARSE24 &&
           form->packing != WN_PACKING_CT_BITMASK && form->packing != WN_PACKING_GGUF_NUMBERS;
}

wn_status wn_export_packed_mask(struct wn_export_packed *packed, const char *name, enum wn_dtype source,
                                const struct wn_compressed *compressed)
{
    packed->weights += (double)(compressed->rows * compressed->columns);
    return compressed->has_mask
               ? put_sparse(packed, name, source, compressed)
               : wn_fail(WN_ERR_UNSUPPORTED, "%s: has no mask: %s cannot hold it", name, packed->form->kind);
}

wn_status wn_export_packed_codes(struct wn_export_packed *packed, const char *name, struct wn_export_coded *coded)
{
    const enum wn_packing packing = packed->form->packing;
    packed->weights += (double)(coded->rows * coded->columns);
    return packing == WN_PACKING_GPTQ  ? put_gptq(packed, name, coded)
           : packing == WN_PACKING_AWQ ? put_awq(packed, name, coded)
                                       : put_ct_codes(packed, name, coded);
}

/* ---- config.json ---- */

static const char *truth(bool value)
{
    return value ? "true" : "false";
}

static void add_inputs(const struct wn_export_form *form, int bits, struct wn_text *text)
{
    wn_text_printf(text, "{\"num_bits\": %d, \"type\": \"int\", \"symmetric\": true, \"dynamic\": true, ", bits);
    if (form->input_group)
        wn_text_printf(text, "\"strategy\": \"group\", \"group_size\": %lld}", (long long)form->input_group);
    else
        wn_text_printf(text, "\"strategy\": \"token\"}");
}

/* A group of linears of the same bits; `ignored` is the head. */
static void add_group(const struct wn_export_form *form, int bits, const char *targets, int number,
                      struct wn_text *text)
{
    wn_text_printf(text,
                   "%s\"group_%d\": {\"targets\": [%s], \"weights\": {\"num_bits\": %d, \"type\": \"int\", "
                   "\"symmetric\": %s, \"dynamic\": false, ",
                   number ? ", " : "", number, targets, bits, truth(form->symmetric));
    if (form->group)
        wn_text_printf(text, "\"strategy\": \"group\", \"group_size\": %lld", (long long)form->group);
    else
        wn_text_printf(text, "\"strategy\": \"channel\"");
    wn_text_printf(text, "}, \"input_activations\": ");
    if (form->rounds_inputs)
        add_inputs(form, form->input_bits ? form->input_bits : bits, text);
    else
        wn_text_printf(text, "null");
    wn_text_printf(text, ", \"output_activations\": null}");
}

static void add_groups(const struct wn_export_packed *packed, struct wn_text *text)
{
    int count = 0, number = 0;
    for (int bits = 1; bits <= 8; bits++)
        count += packed->targets[bits].length > 0;
    wn_text_printf(text, "\"config_groups\": {");
    for (int bits = 1; bits <= 8; bits++)
        if (packed->targets[bits].length)
            add_group(packed->form, bits, count == 1 ? "\"Linear\"" : packed->targets[bits].data, number++, text);
    wn_text_printf(text, "}");
}

char *wn_export_packed_config(const struct wn_export_packed *packed, const char *head)
{
    const struct wn_export_form *form = packed->form;
    const bool even = form->packing == WN_PACKING_CT_SPARSE24;
    const long long group = form->group ? form->group : -1;
    char *ignored = wn_strndup(head, strlen(head) - (strlen(head) > 7 && strstr(head, ".weight") ? 7 : 0));
    struct wn_text text = {0};
    if (form->packing == WN_PACKING_GPTQ)
        wn_text_printf(
            &text,
            "{\"quant_method\": \"gptq\", \"bits\": %d, \"group_size\": %lld, \"sym\": %s, \"desc_act\": %s, "
            "\"checkpoint_format\": \"gptq\"}",
            form->bits, group, truth(form->symmetric), truth(form->ordered));
    else if (form->packing == WN_PACKING_AWQ)
        wn_text_printf(&text,
                       "{\"quant_method\": \"awq\", \"bits\": 4, \"group_size\": %lld, \"zero_point\": true, "
                       "\"version\": \"gemm\", \"modules_to_not_convert\": null}",
                       group);
    else if (even || form->packing == WN_PACKING_CT_BITMASK)
        wn_text_printf(&text,
                       "{\"quant_method\": \"compressed-tensors\", \"sparsity_config\": {\"format\": \"%s\", "
                       "\"global_sparsity\": %.6g, \"sparsity_structure\": \"%s\", \"targets\": [\"Linear\"], "
                       "\"ignore\": [\"%s\"], \"registry_requires_subclass\": false}}",
                       form->kind, packed->zeros / packed->weights, even ? "2:4" : "unstructured", ignored);
    else {
        wn_text_printf(&text,
                       "{\"quant_method\": \"compressed-tensors\", \"format\": \"%s\", \"quantization_status\": "
                       "\"compressed\", \"global_compression_ratio\": null, \"kv_cache_scheme\": null, "
                       "\"ignore\": [\"%s\"], ",
                       form->kind, ignored);
        add_groups(packed, &text);
        wn_text_printf(&text, "}");
    }
    wn_free(ignored);
    return text.data;
}
