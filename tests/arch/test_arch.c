/* SPDX-License-Identifier: Apache-2.0 */
/* The table of architectures and what config.json may say: values read, and one clear line for each mistake. */
#include <cjson/cJSON.h>

#include <winnow/arch.h>
#include <winnow/io.h>

#include "../io/folder.h"
#include "test.h"

static const char *const VALID =
    "{\"model_type\": \"llama\", \"vocab_size\": 300, \"hidden_size\": 48, \"intermediate_size\": 100,"
    "\"num_hidden_layers\": 3, \"num_attention_heads\": 6, \"max_position_embeddings\": 128}";

/* Replaces `key` of the valid configuration by the JSON text `value` (NULL: leaves it out) and reads it. */
static wn_status read_changed(const char *key, const char *value, struct wn_config *config)
{
    cJSON *json = cJSON_Parse(VALID);
    cJSON_DeleteItemFromObjectCaseSensitive(json, key);
    if (value)
        cJSON_AddRawToObject(json, key, value);
    char *folder = folder_create(), *text = cJSON_Print(json);
    char *path = folder_write(folder, "config.json", text, strlen(text));
    const struct wn_arch *arch = NULL;
    wn_status status = wn_arch_read(folder, &arch, config);
    folder_remove(folder);
    cJSON_free(text);
    cJSON_Delete(json);
    wn_free(path);
    return status;
}

/* The message names the file, the key, and holds `part`. */
static void check_mistake(const char *key, const char *value, const char *named, const char *part)
{
    struct wn_config config;
    char *quoted = wn_format("\"%s\"", named);
    CHECK(read_changed(key, value, &config) == WN_ERR_INPUT);
    CHECK_MESSAGE("config.json: ");
    CHECK_MESSAGE(quoted);
    CHECK_MESSAGE(part);
    CHECK(!strchr(wn_error_message(), '\n'));
    wn_free(quoted);
}

static void check_missing_keys(void)
{
    const char *const keys[] = {"model_type",        "vocab_size",        "hidden_size",
                                "intermediate_size", "num_hidden_layers", "num_attention_heads"};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        check_mistake(keys[i], NULL, keys[i], "missing");
    check_mistake("vocab_size", "null", "vocab_size", "missing");
}

static void check_wrong_values(void)
{
    check_mistake("model_type", "\"nosuch\"", "model_type", "known are: llama");
    check_mistake("model_type", "3", "model_type", "expected a string");
    check_mistake("num_attention_heads", "0", "num_attention_heads", "whole number from 1");
    check_mistake("num_attention_heads", "5", "num_attention_heads", "does not divide");
    check_mistake("num_key_value_heads", "4", "num_key_value_heads", "does not divide");
    check_mistake("num_key_value_heads", "0", "num_key_value_heads", "whole number from 1");
    check_mistake("hidden_size", "-48", "hidden_size", "whole number from 1");
    check_mistake("hidden_size", "48.5", "hidden_size", "whole number");
    check_mistake("hidden_size", "1e300", "hidden_size", "whole number");
    check_mistake("hidden_size", "\"48\"", "hidden_size", "whole number");
    check_mistake("hidden_size", "54", "head_dim", "even");
    check_mistake("head_dim", "7", "head_dim", "even");
    check_mistake("head_dim", "-2", "head_dim", "whole number");
    check_mistake("rms_norm_eps", "0", "rms_norm_eps", "above 0");
    check_mistake("rms_norm_eps", "\"x\"", "rms_norm_eps", "above 0");
    check_mistake("hidden_act", "\"gelu_10\"", "hidden_act", "silu");
    check_mistake("attention_bias", "1", "attention_bias", "true or false");
    check_mistake("tie_word_embeddings", "\"yes\"", "tie_word_embeddings", "true or false");
    check_mistake("eos_token_id", "[1, \"a\"]", "eos_token_id", "token id");
    check_mistake("eos_token_id", "[1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8,9,1,2,3,4,5,6,7,8]",
                  "eos_token_id", "at most 32");
    check_mistake("layer_types", "\"full_attention\"", "layer_types", "a list of 3 strings");
    check_mistake("layer_types", "[\"full_attention\"]", "layer_types", "a list of 3 strings");
    check_mistake("layer_types", "[\"full_attention\", \"full_attention\", \"chunked_attention\"]", "layer_types",
                  "for block 2");
    check_mistake("layer_types", "[\"full_attention\", 1, \"full_attention\"]", "layer_types", "for block 1");
    check_mistake("torch_dtype", "[]", "torch_dtype", "expected a string");
}

static void check_wrong_rope(void)
{
    check_mistake("rope_theta", "-1", "rope_theta", "above 0");
    check_mistake("rope_scaling", "[]", "rope_scaling", "expected an object");
    check_mistake("rope_scaling", "{\"rope_type\": \"axial\", \"factor\": 4}", "rope_type", "default, linear, dynamic");
    check_mistake("rope_scaling", "{\"type\": \"longrope\"}", "short_factor", "missing");
    check_mistake("rope_scaling", "{\"type\": \"longrope\", \"short_factor\": [1, 2]}", "short_factor", "a list of");
    check_mistake("rope_scaling", "{\"type\": \"yarn\", \"factor\": 4, \"beta_fast\": -1}", "beta_fast", "above 0");
    check_mistake("rope_scaling", "{\"type\": \"linear\"}", "factor", "missing");
    check_mistake("rope_scaling", "{\"type\": \"linear\", \"factor\": 0.5}", "factor", "at least 1");
    check_mistake("rope_parameters", "{\"rope_theta\": 0}", "rope_theta", "above 0");
    check_mistake("rope_parameters", "{\"partial_rotary_factor\": 0.5}", "partial_rotary_factor", "only 1");
    check_mistake("rope_parameters", "{\"rope_type\": \"llama3\", \"factor\": 8}", "low_freq_factor", "missing");
    check_mistake("rope_parameters",
                  "{\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, \"high_freq_factor\": 4}",
                  "high_freq_factor", "more than");
}

static void check_defaults(void)
{
    struct wn_config c;
    CHECK_OK(read_changed("num_hidden_layers", "2", &c));
    CHECK(c.vocab_size == 300 && c.hidden_size == 48 && c.intermediate_size == 100 && c.n_blocks == 2);
    CHECK(c.n_heads == 6 && c.n_kv_heads == 6 && c.head_dim == 8 && c.max_positions == 128);
    CHECK(c.norm_eps == 1e-6 && !c.tied && !c.attention_bias && !c.mlp_bias);
    CHECK(c.rope.kind == WN_ROPE_DEFAULT && c.rope.theta == 10000);
    CHECK(c.bos_id == 1 && c.n_eos_ids == 1 && c.eos_ids[0] == 2);
    CHECK_TEXT(c.model_type, "llama");
    CHECK_TEXT(c.dtype, "");
}

static void check_values(void)
{
    struct wn_config c;
    CHECK_OK(read_changed("eos_token_id", "[5, 6]", &c));
    CHECK(c.n_eos_ids == 2 && c.eos_ids[0] == 5 && c.eos_ids[1] == 6);
    CHECK_OK(read_changed("eos_token_id", "7", &c));
    CHECK(c.n_eos_ids == 1 && c.eos_ids[0] == 7);
    CHECK_OK(read_changed("dtype", "\"float16\"", &c));
    CHECK_TEXT(c.dtype, "float16");
    CHECK_OK(read_changed("rope_scaling", "{\"type\": \"dynamic\", \"factor\": 2}", &c));
    CHECK(c.rope.kind == WN_ROPE_DYNAMIC && c.rope.factor == 2 && c.rope.original_max_positions == 128);
    CHECK_OK(read_changed("rope_scaling", "null", &c));
    CHECK(c.rope.kind == WN_ROPE_DEFAULT);
    CHECK_OK(read_changed("rope_parameters",
                          "{\"rope_type\": \"llama3\", \"rope_theta\": 5e5, \"factor\": 8, \"low_freq_factor\": 1,"
                          "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}",
                          &c));
    CHECK(c.rope.kind == WN_ROPE_LLAMA3 && c.rope.theta == 5e5 && c.rope.original_max_positions == 64);
    CHECK(c.rope.low_freq_factor == 1 && c.rope.high_freq_factor == 4 && c.rope.factor == 8);
    CHECK_OK(read_changed("head_dim", "20", &c));
    CHECK(c.head_dim == 20);
}

/* Quantized checkpoints are named, 8-bit floats are read. */
static void check_quantized(void)
{
    static const char *const refused[][2] = {
        {"{\"quant_method\": \"gptq\", \"bits\": 4, \"group_size\": 128}", "by GPTQ, 4 bits, groups of 128: "},
        {"{\"quant_method\": \"awq\", \"bits\": 4}", "by AWQ, 4 bits: "},
        {"{\"load_in_4bit\": true, \"load_in_8bit\": false}", "by bitsandbytes, 4 bits: "},
        {"{\"quant_method\": \"hqq\"}", "by HQQ: "},
        {"{\"config_groups\": {\"g\": {\"weights\": {\"type\": \"int\", \"num_bits\": 8}}}}",
         "by compressed-tensors: "},
        {"{\"quant_method\": \"newest\"}", "by newest: "},
        {"{}", "by an unknown method: "}};
    struct wn_config c;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        check_mistake("quantization_config", refused[i][0], "quantization_config", refused[i][1]);
    check_mistake("quantization_config", "3", "quantization_config", "an object");
    check_mistake("quantization_config", "{\"quant_method\": \"fp8\", \"weight_block_size\": [128]}",
                  "weight_block_size", "two numbers");
    CHECK_OK(read_changed("quantization_config", "{\"quant_method\": \"fp8\", \"weight_block_size\": [64, 32]}", &c));
    CHECK(c.scale_block[0] == 64 && c.scale_block[1] == 32);
    CHECK_OK(read_changed("quantization_config",
                          "{\"quant_method\": \"compressed-tensors\", \"config_groups\": {\"g\": {\"weights\":"
                          "{\"type\": \"float\", \"num_bits\": 8}}}}",
                          &c));
    CHECK(c.scale_block[0] == 0);
}

/* Beside a config.json with eos 5: what generation_config.json says is all. */
static void check_generation(const char *text, int64_t count, int64_t first, int64_t last)
{
    char *folder = folder_create();
    const struct wn_arch *arch;
    struct wn_config c;
    char *config = wn_format("%.*s, \"eos_token_id\": 5}", (int)strlen(VALID) - 1, VALID);
    wn_free(folder_write(folder, "config.json", config, strlen(config)));
    if (text)
        wn_free(folder_write(folder, "generation_config.json", text, strlen(text)));
    CHECK_OK(wn_arch_read(folder, &arch, &c));
    CHECK(c.n_eos_ids == count);
    CHECK(count == 0 || (c.eos_ids[0] == first && c.eos_ids[count - 1] == last));
    wn_free(config);
    folder_remove(folder);
}

static void check_generations(void)
{
    check_generation(NULL, 1, 5, 5);
    check_generation("{\"eos_token_id\": [6, 7]}", 2, 6, 7);
    check_generation("{\"eos_token_id\": 6}", 1, 6, 6);
    check_generation("{\"bos_token_id\": 1}", 0, 0, 0);
    check_generation("{\"eos_token_id\": null}", 0, 0, 0);
}

/* What every row of the table has to keep: names, inputs and sizes that fit each other. */
static void check_table(void)
{
    int64_t count;
    const struct wn_arch *const *table = wn_arch_table(&count);
    CHECK(count >= 1);
    for (int64_t i = 0; i < count; i++) {
        struct wn_config c = {.vocab_size = 50,
                              .hidden_size = 12,
                              .intermediate_size = 20,
                              .n_blocks = 2,
                              .n_heads = 3,
                              .n_kv_heads = 1,
                              .head_dim = 6,
                              .attention_bias = true,
                              .mlp_bias = true};
        struct wn_layout layout;
        table[i]->describe(&c, &layout);
        CHECK(table[i]->model_type[0] && table[i]->help[0] && strstr(layout.block_prefix, "%d"));
        CHECK(layout.n_linears > 0 && layout.n_linears <= WN_MAX_LINEARS && layout.n_vectors <= WN_MAX_VECTORS);
        for (int j = 0; j < layout.n_linears; j++) {
            const struct wn_linear_info *linear = &layout.linears[j];
            CHECK(linear->input >= 0 && linear->input < layout.n_inputs);
            CHECK(linear->columns == layout.input_widths[linear->input] && linear->rows > 0);
        }
        CHECK(table[i]->scratch(&c, 7) > 0 && table[i]->scratch(&c, 700) > table[i]->scratch(&c, 7));
    }
}

int main(void)
{
    const struct wn_arch *arch;
    struct wn_config config;
    CHECK(wn_arch_read("/nonexistent", &arch, &config) != WN_OK);
    CHECK_MESSAGE("/nonexistent/config.json");
    check_table();
    check_missing_keys();
    check_wrong_values();
    check_wrong_rope();
    check_defaults();
    check_values();
    check_quantized();
    check_generations();
    return test_finish();
}
