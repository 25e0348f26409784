/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SmoothQuant: weights and inputs on integers with a scale per output row and per token, after the range of every input
 * channel has been moved in part from the inputs into the weights: X diag(s)^-1 diag(s) W^T (Xiao et al.,
 * arXiv:2211.10438, section 4, equation 4). The division goes into the vector before the linears (a norm weight), so
 * inputs that no vector makes (of o and down in Llama) are quantized as they are. As in the published code, scales come
 * from the dense weights and inputs of a calibration set, token by token ranges at evaluation. With quantize_outputs
 * the queries, keys and values of a token are rounded like inputs, before positions are turned in: quantize_bmm_input
 * of that code, on in its published perplexities.
 */
#include "quant.h"
#include "row_codes.h"

#include <math.h>

static const float LEAST = 1e-5f; /* of ranges and scales, as published */

static const struct wn_parameter parameters[] = {
    {.name = "alpha",
     .type = WN_NUMBER,
     .standard = "0.5",
     .low = 0,
     .high = 1,
     .unit = "1",
     .help = "share of the input range that moves into the weights; published: 0.5 for OPT and BLOOM, 0.6 to 0.9 for "
             "later models, 0.85 for Llama-2-7B; ranges are published on dense inputs (propagation dense)"},
    {.name = "bits",
     .type = WN_NUMBER,
     .standard = "8",
     .low = 2,
     .high = 8,
     .unit = "bit",
     .help = "width of a code, of weights and of inputs" WN_MEAN_BITS},
    {.name = "quantize_outputs",
     .type = WN_BOOL,
     .standard = "false",
     .quiet = true,
     .help = "round the outputs of q, k and v as well, token by token (on in the published perplexities)"},
    WN_SCALE_DTYPE_PARAMETER,
};

/* largest[j] = the largest magnitude in column j of all linears. */
static void column_maxima(const struct wn_input_task *task, float *largest)
{
    for (int64_t j = 0; j < task->width; j++)
        largest[j] = 0.0f;
    for (int l = 0; l < task->n_linears; l++)
        wn_take_column_maxima(task->weights[l], task->rows[l], task->width, largest);
}

static wn_status scale_inputs(const struct wn_input_task *task, float *scale)
{
    const double alpha = wn_params_number(task->params, "alpha");
    const float *maxima = task->stats ? task->stats->maxima : NULL;

    if (!maxima || task->stats->width != task->width)
        WN_BUG("%s: smoothquant was given no input maxima of this width", task->name);
    column_maxima(task, scale);
    for (int64_t j = 0; j < task->width; j++) {
        if (!isfinite(maxima[j]) || !isfinite(scale[j]))
            return wn_fail(WN_ERR_NUMERIC, "%s: the largest %s of channel %lld is not finite", task->name,
                           isfinite(scale[j]) ? "input" : "weight", (long long)j);
        double weight = scale[j] > LEAST ? (double)scale[j] : (double)LEAST;
        float s = (float)(pow((double)maxima[j], alpha) / pow(weight, 1 - alpha));
        scale[j] = s > LEAST ? s : LEAST;
    }
    return WN_OK;
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    WN_TRY(wn_row_codes_compute(task, (int)wn_params_integer(task->params, "bits"), LEAST, out));
    out->activation =
        wn_row_codes_activation(out, 0, (double)LEAST, NULL,
                                wn_params_flag(task->params, "quantize_outputs") && wn_feeds_attention(task->name));
    return WN_OK;
}

static void activation_bytes(const struct wn_params *params, int64_t rows, int64_t columns, int64_t tokens, int threads,
                             int64_t *bytes, int64_t *scratch)
{
    (void)params;
    *bytes = wn_integer_linear_bytes(rows, columns, false);
    *scratch = wn_integer_linear_scratch(rows, columns, tokens, threads);
}

const struct wn_method wn_method_smoothquant = {
    .name = "smoothquant",
    .help = "integer weights and inputs, ranges of input channels moved into the weights before",
    .paper = "Xiao et al. 2022, arXiv:2211.10438",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_ABSOLUTE_MAXIMA,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .scale_inputs = scale_inputs,
    .compress_linear = compress_linear,
    .activation_bytes = activation_bytes,
};
