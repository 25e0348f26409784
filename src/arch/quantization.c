/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "quantization_config" of config.json: a checkpoint that is quantized already is no input for compression, except one
 * of 8-bit floats, which are numbers with a factor. One line names the method and its bits.
 */
#include "quantization.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <string.h>

/* Methods by the name that transformers has for them; others are told by that name. */
static const struct {
    const char *method, *name;
} names[] = {
    {"gptq", "GPTQ"},
    {"awq", "AWQ"},
    {"bitsandbytes", "bitsandbytes"},
    {"compressed-tensors", "compressed-tensors"},
    {"hqq", "HQQ"},
    {"aqlm", "AQLM"},
    {"vptq", "VPTQ"},
    {"quanto", "quanto"},
    {"eetq", "EETQ"},
    {"higgs", "HIGGS"},
    {"torchao", "torchao"},
    {"bitnet", "BitNet"},
    {"spqr", "SpQR"},
    {"quark", "Quark"},
    {"fp_quant", "FP-Quant"},
    {"auto-round", "AutoRound"},
    {"mxfp4", "MXFP4"},
    {"fbgemm_fp8", "FBGEMM FP8"},
    {"modelopt", "ModelOpt"},
    {"gguf", "GGUF"},
};

static const char *text_of(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

static double number_of(const cJSON *json, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    return cJSON_IsNumber(item) ? item->valuedouble : 0;
}

/* Old files say only load_in_4bit or load_in_8bit, or have a group's format. */
static const char *method_of(const cJSON *json)
{
    const char *method = text_of(json, "quant_method");
    if (method)
        return method;
    if (cJSON_HasObjectItem(json, "load_in_4bit") || cJSON_HasObjectItem(json, "load_in_8bit"))
        return "bitsandbytes";
    return cJSON_HasObjectItem(json, "config_groups") ? "compressed-tensors" : "an unknown method";
}

/* Whether all groups of compressed-tensors have weights of 8-bit floats. */
static bool groups_are_floats(const cJSON *json)
{
    const cJSON *groups = cJSON_GetObjectItemCaseSensitive(json, "config_groups"), *group;
    int64_t count = 0;
    cJSON_ArrayForEach (group, groups) {
        const cJSON *weights = cJSON_GetObjectItemCaseSensitive(group, "weights");
        const char *type = text_of(weights, "type");
        if (!type || strcmp(type, "float") || number_of(weights, "num_bits") != 8)
            return false;
        count++;
    }
    return count > 0;
}

static bool is_float8(const cJSON *json, const char *method)
{
    const char *algorithm = text_of(json, "quant_algo");
    if (!strcmp(method, "fp8") || !strcmp(method, "fbgemm_fp8"))
        return true;
    if (!strcmp(method, "modelopt"))
        return algorithm && !strcmp(algorithm, "FP8");
    return !strcmp(method, "compressed-tensors") && groups_are_floats(json);
}

/* "4 bits, groups of 128"; empty when the file does not say. */
static void describe(const cJSON *json, char text[64])
{
    double bits = number_of(json, "bits"), group = number_of(json, "group_size");
    const cJSON *four = cJSON_GetObjectItemCaseSensitive(json, "load_in_4bit");
    const cJSON *eight = cJSON_GetObjectItemCaseSensitive(json, "load_in_8bit");
    if (!bits)
        bits = cJSON_IsTrue(four) ? 4 : cJSON_IsTrue(eight) ? 8 : number_of(json, "w_bit");
    int used = bits > 0 ? snprintf(text, 64, ", %g bits", bits) : snprintf(text, 64, "%s", "");
    if (group > 0)
        snprintf(text + used, 64 - (size_t)used, ", groups of %g", group);
}

static wn_status read_block(const char *path, const cJSON *json, struct wn_config *config)
{
    const cJSON *block = cJSON_GetObjectItemCaseSensitive(json, "weight_block_size");
    if (!block || cJSON_IsNull(block))
        return WN_OK;
    for (int i = 0; i < 2; i++) {
        const cJSON *size = cJSON_GetArrayItem(block, i);
        if (!cJSON_IsArray(block) || cJSON_GetArraySize(block) != 2 || !cJSON_IsNumber(size) ||
            !(size->valuedouble >= 1 && size->valuedouble <= 1 << 20))
            return wn_fail(WN_ERR_INPUT,
                           "%s: key \"quantization_config\": key \"weight_block_size\": expected two numbers from 1",
                           path);
        config->scale_block[i] = (int64_t)size->valuedouble;
    }
    return WN_OK;
}

wn_status quantization_read(const char *path, const cJSON *json, struct wn_config *config)
{
    const char *key = "quantization_config", *method, *name;
    const cJSON *about = cJSON_GetObjectItemCaseSensitive(json, key);
    char details[64];
    if (!about)
        about = cJSON_GetObjectItemCaseSensitive(json, key = "compression_config"); /* of old compressed-tensors */
    if (!about || cJSON_IsNull(about))
        return WN_OK;
    if (!cJSON_IsObject(about))
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": expected an object", path, key);
    name = method = method_of(about);
    if (is_float8(about, method)) {
        config->scaled = true;
        return read_block(path, about, config);
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(names[i].method, method))
            name = names[i].name;
    describe(about, details);
    return wn_fail(WN_ERR_INPUT,
                   "%s: key \"%s\": the model is quantized already, by %s%s: winnow compresses dense checkpoints; take "
                   "the one it was made from",
                   path, key, name, details);
}
