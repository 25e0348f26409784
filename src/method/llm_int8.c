/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LLM.int8(): weights and inputs in 8-bit integers with a scale per output row and per token, outlier columns of the
 * inputs aside (Dettmers, Lewis, Belkada, Zettlemoyer, arXiv:2208.07339, section 3). Which columns are outliers depends
 * on the tokens that are looked at together; here it is always one sequence, so that packing changes nothing. The
 * paper multiplies outlier columns by weights kept in 16 bits; the published code of today (bitsandbytes) dequantizes
 * the 8-bit ones: parameter outlier_weights. Values of weights that stay 16-bit are those of the stage before, in fp32.
 */
#include "quant.h"
#include "row_codes.h"

#include <string.h>

enum { BITS = 8 };

static const struct wn_parameter parameters[] = {
    {.name = "threshold",
     .type = WN_NUMBER,
     .standard = "6.0",
     .low = 0,
     .high = 1e9,
     .unit = "1",
     .help = "inputs of this magnitude take their column out of the integers; 0: never"},
    {.name = "outlier_weights",
     .type = WN_STRING,
     .standard = "\"int8\"",
     .words = "int8|fp",
     .help = "weights of outlier columns: int8, dequantized, as bitsandbytes does today; fp, not quantized, as the "
             "paper does (not counted in bits_per_weight_nominal: any column can be one)"},
    WN_SCALE_DTYPE_PARAMETER,
};

static bool keeps_weights(const struct wn_params *params)
{
    return wn_params_number(params, "threshold") > 0 && wn_params_text(params, "outlier_weights")[0] == 'f';
}

/* Without outliers there is nothing to choose: such points are one. */
static wn_status check(struct wn_params *params)
{
    if (wn_params_number(params, "threshold") == 0)
        wn_params_leave_out(params, "outlier_weights");
    return WN_OK;
}

static wn_status compress_linear(const struct wn_linear_task *task, struct wn_compressed *out)
{
    const int64_t count = task->rows * task->columns;
    float *before = NULL;

    if (keeps_weights(task->params)) {
        before = wn_alloc(count, sizeof *before);
        memcpy(before, task->weight, (size_t)count * sizeof *before);
    }
    wn_status status = wn_row_codes_compute(task, BITS, 0.0f, out);
    if (status == WN_OK)
        out->activation = wn_row_codes_activation(out, wn_params_number(task->params, "threshold"), 0, before, false);
    wn_free(before);
    return status;
}

static void activation_bytes(const struct wn_params *params, int64_t rows, int64_t columns, int64_t tokens, int threads,
                             int64_t *bytes, int64_t *scratch)
{
    *bytes = wn_integer_linear_bytes(rows, columns, keeps_weights(params));
    *scratch = wn_integer_linear_scratch(rows, columns, tokens, threads);
}

const struct wn_method wn_method_llm_int8 = {
    .name = "llm_int8",
    .help = "8-bit integer weights and inputs, columns of large inputs aside (LLM.int8())",
    .paper = "Dettmers et al. 2022, arXiv:2208.07339",
    .kind = WN_QUANTIZER,
    .needs = WN_NEED_NOTHING,
    .parameters = parameters,
    .n_parameters = sizeof parameters / sizeof *parameters,
    .check = check,
    .compress_linear = compress_linear,
    .activation_bytes = activation_bytes,
};
