/* SPDX-License-Identifier: Apache-2.0 */
/*
 * form.c: which packed form holds a point, by its recipe and the shapes of the model alone. What the formats of others
 * cannot say is told before any work.
 */
#include <math.h>
#include <string.h>

#include "gguf.h"
#include "packed.h"

/* What a recipe leaves behind. */
struct made {
    const struct wn_method *pruner, *quantizer;
    const struct wn_params *quantized;
    double bits;
    int64_t n, m; /* pattern */
};

static struct made look_at(const struct wn_recipe *recipe)
{
    static const struct wn_params none;
    struct made made = {.quantized = &none};
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        const struct wn_value *bits = wn_params_given(&stage->params, "bits");
        if (stage->method->kind == WN_PRUNER)
            made.pruner = stage->method;
        if (stage->method->kind == WN_QUANTIZER || bits) {
            made.quantizer = stage->method;
            made.quantized = &stage->params;
            made.bits = bits ? bits->number : 8;
        }
    }
    wn_recipe_pattern(recipe, &made.n, &made.m);
    return made;
}

static bool scales_inputs(const struct made *made)
{
    return made->quantizer && (made->quantizer->n_trials || made->quantizer->needs & WN_NEED_ABSOLUTE_MAXIMA);
}

/* ---- reasons, NULL when there is none ---- */

static const char *recipe_reason(const struct wn_recipe *recipe, const struct made *made,
                                 const struct wn_export_form *form)
{
    if (form->packing == WN_PACKING_GGUF_NUMBERS)
        return NULL;
    const bool sparse = form->packing == WN_PACKING_CT_SPARSE24 || form->packing == WN_PACKING_CT_BITMASK;
    if (wn_recipe_drop(recipe))
        return "it leaves out branches, and keeps the other weights as they are";
    if (!made->pruner && !made->quantizer)
        return "its linears are not compressed";
    if (!made->quantizer && !sparse)
        return "it has no codes, only zeros (compressed-tensors holds those)";
    if (!made->quantizer)
        return NULL;
    if (!strcmp(made->quantizer->name, "spqr"))
        return "no format has grids of a second level and outliers";
    if (form->packing == WN_PACKING_AWQ && (made->bits != 4 || recipe->search))
        return "codes of awq have 4 bits";
    if (form->packing == WN_PACKING_GPTQ && (recipe->search || made->bits != rint(made->bits)))
        return "codes of gptq have the same bits in all linears";
    if (form->packing == WN_PACKING_GPTQ && made->bits != 2 && made->bits != 3 && made->bits != 4 && made->bits != 8)
        return "codes of gptq have 2, 3, 4 or 8 bits";
    if (form->packing == WN_PACKING_GGUF && recipe->search)
        return "blocks of gguf are written of linears with the same bits";
    if (form->packing == WN_PACKING_GGUF && made->bits == 8 && !form->symmetric)
        return "its 8-bit codes have zero points (symmetric ones fit Q8_0)";
    if (form->packing != WN_PACKING_GPTQ && form->ordered)
        return "its groups of columns lie in an order of their own (act_order): gptq holds those";
    return NULL;
}

/* GGUF has whole linears behind each other as well. */
static bool is_fused(const struct wn_export_form *form, const struct wn_linear_info *linear)
{
    const struct wn_source *source = &linear->source;
    const bool gguf = form->packing == WN_PACKING_GGUF || form->packing == WN_PACKING_GGUF_NUMBERS;
    return (source->rows && (!gguf || source->run != linear->rows)) || source->transposed || source->stacked;
}

/* NULL, or why the format cannot hold a matrix of this shape. */
static const char *shape_reason(const struct wn_export_form *form, const struct wn_linear_info *linear)
{
    const int64_t group = form->group && form->group < linear->columns ? form->group : linear->columns;
    const int word = form->bits == 3 ? 32 : form->bits ? 32 / form->bits : 1;
    if (is_fused(form, linear))
        return "several linears, or a transposed one, share a tensor";
    if (form->packing == WN_PACKING_GGUF_NUMBERS)
        return NULL;
    if (form->packing == WN_PACKING_CT_SPARSE24 && linear->columns % 4)
        return "its columns are no multiple of 4";
    if (form->packing == WN_PACKING_GPTQ && (linear->columns % word || linear->rows % word))
        return "its rows or columns do not fill whole words of 32 bits";
    if (form->packing == WN_PACKING_AWQ && linear->rows % 8)
        return "its rows are no multiple of 8";
    if (form->packing == WN_PACKING_GGUF &&
        (linear->columns % 32 || (form->group % 32 && form->group < linear->columns)))
        return "its columns, or the group, are no multiple of 32, the blocks of gguf";
    if (form->packing == WN_PACKING_GGUF)
        return NULL;
    if (form->packing != WN_PACKING_GPTQ && form->group && (linear->columns % group || linear->columns < form->group))
        return "its columns are no multiple of the group";
    return NULL;
}

/* What writes plain numbers instead. */
static const char *plain_way(const struct wn_export_form *form)
{
    return form->packing == WN_PACKING_GGUF ? "with --dtype f32" : "without --format";
}

/* ---- the choice ---- */

static wn_status choose_packing(const char *format, const char *dtype, const struct made *made,
                                struct wn_export_form *form)
{
    static const struct {
        enum wn_packing packing;
        const char *format, *kind;
    } forms[] = {{WN_PACKING_CT_PACK, "compressed-tensors", "pack-quantized"},
                 {WN_PACKING_CT_INT, "compressed-tensors", "int-quantized"},
                 {WN_PACKING_CT_SPARSE24, "compressed-tensors", "sparse-24-bitmask"},
                 {WN_PACKING_CT_BITMASK, "compressed-tensors", "sparse-bitmask"},
                 {WN_PACKING_GPTQ, "gptq", "v1"},
                 {WN_PACKING_AWQ, "awq", "gemm"},
                 {WN_PACKING_GGUF, "gguf", "blocks"},
                 {WN_PACKING_GGUF_NUMBERS, "gguf", "numbers"}};
    const bool rows = !form->group && form->symmetric && made->bits == 8;
    const bool integers = rows || form->rounds_inputs; /* which its library takes no packed codes with */
    if (!strcmp(format, "compressed-tensors"))
        form->packing = made->quantizer                ? (integers ? WN_PACKING_CT_INT : WN_PACKING_CT_PACK)
                        : made->n == 2 && made->m == 4 ? WN_PACKING_CT_SPARSE24
                                                       : WN_PACKING_CT_BITMASK;
    else if (!strcmp(format, "gptq"))
        form->packing = WN_PACKING_GPTQ;
    else if (!strcmp(format, "awq"))
        form->packing = WN_PACKING_AWQ;
    else if (!strcmp(format, "gguf"))
        form->packing = made->quantizer && !dtype ? WN_PACKING_GGUF : WN_PACKING_GGUF_NUMBERS;
    else
        return wn_fail(WN_ERR_INPUT, "format \"%s\": expected compressed-tensors, gptq, awq or gguf", format);
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (forms[i].packing == form->packing) {
            form->format = forms[i].format;
            form->kind = forms[i].kind;
        }
    return WN_OK;
}

/* Scales: exact as fp32 where the format lets them be; gptq and awq have fp16 by definition. */
static wn_status choose_numbers(const char *dtype, const struct made *made, struct wn_export_form *form)
{
    const bool half =
        form->packing == WN_PACKING_GPTQ || form->packing == WN_PACKING_AWQ || form->packing == WN_PACKING_GGUF;
    const bool updated = made->pruner && made->pruner->needs & WN_NEED_SECOND_MOMENTS;
    if (half && dtype && strcmp(dtype, "f16"))
        return wn_fail(WN_ERR_INPUT, "--dtype %s: the scales of %s are f16", dtype, form->format);
    if (half)
        form->numbers = WN_F16;
    else if (!dtype)
        form->numbers = made->quantizer || updated ? WN_F32 : WN_OTHER;
    else if (!strcmp(dtype, "source") && made->quantizer && form->packing != WN_PACKING_GGUF_NUMBERS)
        return wn_fail(WN_ERR_INPUT, "--dtype source: the checkpoint has no scales; expected f32, bf16 or f16");
    else
        form->numbers = !strcmp(dtype, "f32")    ? WN_F32
                        : !strcmp(dtype, "bf16") ? WN_BF16
                        : !strcmp(dtype, "f16")  ? WN_F16
                                                 : WN_OTHER;
    return WN_OK;
}

static enum wn_gguf_type gguf_type(const struct wn_export_form *form, const struct wn_model *model)
{
    const enum wn_dtype dtype = form->numbers == WN_OTHER ? model->embedding->dtype : form->numbers;
    if (form->packing == WN_PACKING_GGUF)
        return form->bits > 4 ? WN_GGUF_Q8_0 : form->bits == 4 && !form->symmetric ? WN_GGUF_Q4_1 : WN_GGUF_Q4_0;
    return wn_gguf_type_of_dtype(dtype);
}

/* Inputs that are rounded as they come, where compressed-tensors says so of all linears alike. */
static void choose_inputs(const char *format, const struct made *made, const struct wn_model *model,
                          struct wn_export_form *form)
{
    const struct wn_value *bits = wn_params_given(made->quantized, "input_bits");
    const struct wn_value *group = wn_params_given(made->quantized, "input_group");
    const bool given = bits && !isnan(bits->number);
    const bool smooth = scales_inputs(made) && made->quantizer->activation_bytes &&
                        !wn_params_is_on(made->quantized, "quantize_outputs");
    form->rounds_inputs = (given || smooth) && form->symmetric && !strcmp(format, "compressed-tensors");
    if (!given || !form->rounds_inputs)
        return;
    form->input_bits = (int)bits->number;
    form->input_group = group && !isnan(group->number) ? (int64_t)group->number : 0;
    for (int l = 0; form->input_group && l < model->layout.n_linears; l++)
        form->rounds_inputs &= model->layout.linears[l].columns % form->input_group == 0;
}

wn_status wn_export_choose_form(const char *what, const char *format, const char *dtype, const struct wn_recipe *recipe,
                                const struct wn_model *model, struct wn_export_form *form)
{
    const struct made made = look_at(recipe);
    const struct wn_value *group = wn_params_given(made.quantized, "group");
    *form = (struct wn_export_form){.packing = WN_PACKING_NONE, .numbers = WN_OTHER};
    if (!format)
        return WN_OK;
    form->symmetric = made.quantizer && wn_grids_are_symmetric(made.quantized);
    form->group = group && !isnan(group->number) ? (int64_t)group->number : 0;
    form->ordered = wn_groups_are_scattered(made.quantized);
    form->bits = recipe->search || made.bits != rint(made.bits) ? 0 : (int)made.bits;
    choose_inputs(format, &made, model, form);
    WN_TRY(choose_packing(format, dtype, &made, form));
    form->folds = scales_inputs(&made) && wn_export_form_has_codes(form);
    const char *reason = recipe_reason(recipe, &made, form);
    if (!reason && !strcmp(format, "gguf"))
        reason = wn_export_gguf_model_reason(model);
    if (!reason && strcmp(format, "gguf") != 0 && !strcmp(model->arch->model_type, "gemma3"))
        reason = "the part of the model for images is not told apart";
    if (reason)
        return wn_fail(WN_ERR_INPUT, "%s: %s cannot hold it: %s; %s it is written as plain numbers", what, format,
                       reason, plain_way(form));
    for (int l = 0; l < model->layout.n_linears; l++) {
        const struct wn_linear_info *linear = &model->layout.linears[l];
        reason = shape_reason(form, linear);
        if (reason)
            return wn_fail(WN_ERR_INPUT, "%s: %s cannot hold %s of %lld x %lld: %s; %s it is written as plain numbers",
                           what, format, linear->name, (long long)linear->rows, (long long)linear->columns, reason,
                           plain_way(form));
    }
    WN_TRY(choose_numbers(dtype, &made, form));
    form->blocks = gguf_type(form, model);
    if (!strcmp(format, "gguf"))
        form->kind = wn_gguf_type_name((enum wn_gguf_type)form->blocks);
    return WN_OK;
}
