/* SPDX-License-Identifier: Apache-2.0 */
/* decoder_config.c: keys of config.json that several decoders have. */
#include "decoder.h"

#include <cjson/cJSON.h>
#include <string.h>

wn_status wn_decoder_read_activation(const char *path, const cJSON *json, const char *key, const char *fallback,
                                     struct wn_config *config)
{
    const char *name = "";
    WN_TRY(wn_config_text(path, json, key, fallback, &name));
    if (!wn_nonlinearity_find(name, &config->decoder.activation))
        return wn_fail(WN_ERR_INPUT, "%s: key \"%s\": \"%s\" is not supported; supported are: " WN_NONLINEARITIES, path,
                       key, name);
    return WN_OK;
}

void wn_decoder_take_layer_types(const cJSON *json, struct wn_config *config)
{
    const cJSON *item;
    uint8_t *bits = config->decoder.blocks;
    cJSON_ArrayForEach (item, cJSON_GetObjectItemCaseSensitive(json, "layer_types")) {
        bool slides = strcmp(item->valuestring, "sliding_attention") == 0;
        *bits = (uint8_t)((*bits & ~WN_BLOCK_SLIDES) | (slides ? WN_BLOCK_SLIDES : 0));
        bits++;
    }
}

wn_status wn_decoder_read_experts(const char *path, const cJSON *json, int64_t count, int64_t chosen,
                                  struct wn_config *config)
{
    const char *key = cJSON_GetObjectItemCaseSensitive(json, "num_experts") ? "num_experts" : "num_local_experts";
    struct wn_experts *experts = &config->decoder.experts;
    WN_TRY(wn_config_integer(path, json, key, 1, WN_MAX_EXPERTS, count, &experts->count));
    WN_TRY(wn_config_integer(path, json, "num_experts_per_tok", 1, experts->count, chosen, &experts->chosen));
    if (experts->chosen > experts->count)
        return wn_fail(WN_ERR_INPUT,
                       "%s: the key \"num_experts_per_tok\" is missing, and its default, %lld, is more than the %lld "
                       "experts",
                       path, (long long)chosen, (long long)experts->count);
    return WN_OK;
}

wn_status wn_decoder_read_factor(const char *path, const cJSON *json, const char *key, double fallback, double *value)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(json, key);
    *value = fallback;
    return item && !cJSON_IsNull(item) ? wn_config_positive(path, json, key, 1, value) : WN_OK;
}

wn_status wn_decoder_must_be(const char *path, const cJSON *json, const char *key, bool value)
{
    bool found;
    WN_TRY(wn_config_bool(path, json, key, value, &found));
    return found == value
               ? WN_OK
               : wn_fail(WN_ERR_INPUT, "%s: key \"%s\": only %s is supported", path, key, value ? "true" : "false");
}
