/* SPDX-License-Identifier: Apache-2.0 */
/* sets.c: what keys of the sweep add to any calibration or evaluation set. */
#include "sweep_impl.h"

static const int NEAR_BITS = 8;
static const double NEAR_SPARSITY = 0.1;

void wn_sweep_set_tokenizer(const struct wn_sweep *sweep, struct wn_model *model, struct wn_problems *problems)
{
    if (sweep->tokenizer_file) {
        wn_tokenizer_close(&model->tokenizer);
        if (wn_tokenizer_open_file(model->directory, &model->tokenizer) != WN_OK)
            wn_problems_add(problems, "%s", wn_error_message());
    }
    if (model->tokenizer && sweep->prefix_token &&
        wn_tokenizer_set_front(model->tokenizer, sweep->prefix_token) != WN_OK)
        wn_problems_add(problems, "%s: evaluate.prefix_token: %s", sweep->path, wn_error_message());
}

void wn_sweep_note_set(const struct wn_sweep *sweep, const struct wn_prepared_model *prepared, struct wn_eval_set *set)
{
    struct wn_text protocol = {0};
    wn_text_printf(&protocol, "%s", set->protocol);
    if (set->skipped > 0)
        wn_text_printf(&protocol, "; %lld records that cannot be used left out", (long long)set->skipped);
    if (sweep->prefix_token)
        wn_text_printf(&protocol, "; in front of a text without context: %s (%d)", sweep->prefix_token,
                       (int)wn_front_id(prepared->model->tokenizer));
    if (sweep->compute == WN_COMPUTE_BF16)
        wn_text_printf(&protocol, "; linears in bf16");
    wn_free(set->protocol);
    set->protocol = wn_strdup(protocol.data);
    wn_text_release(&protocol);
}

/* Whether a point may come so near to the dense model that rounding to bf16 shows. */
static bool is_near_lossless(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        const struct wn_value *bits = wn_params_given(&stage->params, "bits");
        const struct wn_value *sparsity = wn_params_given(&stage->params, "sparsity");
        if (stage->method->kind != WN_QUANTIZER && !(sparsity && sparsity->number <= NEAR_SPARSITY))
            return false;
        if (stage->method->kind == WN_QUANTIZER && bits && bits->number < NEAR_BITS)
            return false;
    }
    return recipe->n_stages > 0;
}

void wn_sweep_warn_of_floor(const struct wn_run *run)
{
    int64_t near = 0, divergences = 0;
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        divergences += run->sweep->evals[e].divergence;
    for (int64_t i = 0; i < run->grid.n_points; i++)
        near += is_near_lossless(&run->grid.points[i].recipe);
    if (run->sweep->compute == WN_COMPUTE_BF16 && divergences && near)
        wn_log(WN_LOG_WARNING,
               "\"compute\": \"bf16\": %lld of %lld points may be near-lossless (%d bits and more, at most %.0f %% "
               "zeros): rounding alone makes a KL of about 1e-4, which is added to theirs; compare these points in f32",
               (long long)near, (long long)run->grid.n_points, NEAR_BITS, 100 * NEAR_SPARSITY);
}

static void add_constant(struct wn_schema *schema, const char *set, const char *what, const char *axis, int64_t size,
                         const char *description, const int32_t *values)
{
    char *path = wn_format("/calibration/%s/%s", set, what), *name = wn_format("%s_%s", axis, set);
    int dim = wn_schema_dim(schema, name, size, NULL);
    wn_schema_constant(schema, path, WN_FIELD_I32, 1, &dim, "1", description, values);
    wn_free(path);
    wn_free(name);
}

void wn_sweep_keep_ids(const struct wn_calibration *set, struct wn_schema *schema)
{
    const struct wn_sequences *sequences = &set->sequences;
    if (!set->keep_ids || set->tokens == 0)
        return;
    int32_t *lengths = wn_alloc(sequences->n_sequences, sizeof *lengths);
    for (int64_t s = 0; s < sequences->n_sequences; s++)
        lengths[s] = (int32_t)(sequences->offset[s + 1] - sequences->offset[s]);
    add_constant(schema, set->name, "token_id", "calibration_token", set->tokens,
                 "ids of the calibration set, one sequence behind the other", sequences->ids);
    add_constant(schema, set->name, "sequence_length", "calibration_sequence", sequences->n_sequences,
                 "tokens of a sequence of the calibration set", lengths);
    wn_free(lengths);
}
