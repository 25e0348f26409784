/* SPDX-License-Identifier: Apache-2.0 */
/* What is read where config.json lacks keys, has two of them, or null: as transformers (make_config_rules.py). */
#include <cjson/cJSON.h>

#include <winnow/arch.h>
#include <winnow/io.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "test.h"

static int64_t n_compared;

static bool same_number(const cJSON *expect, const char *key, double value)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(expect, key);
    if (!item)
        return true;
    n_compared++;
    double expected = cJSON_IsBool(item) ? cJSON_IsTrue(item) : item->valuedouble;
    if (fabs(value - expected) <= 1e-14 * fabs(expected))
        return true;
    fprintf(stderr, "%s: %g, expected %g\n", key, value, expected);
    return false;
}

static bool same_eos(const cJSON *expect, const struct wn_config *config)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(expect, "eos"), *item;
    int64_t i = 0;
    if (!list)
        return true;
    n_compared++;
    bool same = cJSON_GetArraySize(list) == config->n_eos_ids;
    cJSON_ArrayForEach (item, list)
        same = same && item->valuedouble == (double)config->eos_ids[i++];
    return same;
}

static bool same_config(const cJSON *expect, const struct wn_config *config)
{
    const struct wn_rope *rope = &config->rope;
    const struct {
        const char *key;
        double value;
    } values[] = {{"hidden_size", (double)config->hidden_size},
                  {"n_blocks", (double)config->n_blocks},
                  {"n_heads", (double)config->n_heads},
                  {"n_kv_heads", (double)config->n_kv_heads},
                  {"head_dim", (double)config->head_dim},
                  {"eps", config->norm_eps},
                  {"tied", config->tied},
                  {"window", (double)config->window},
                  {"bos", (double)config->bos_id},
                  {"max_positions", (double)config->max_positions},
                  {"kind", rope->kind},
                  {"theta", rope->theta},
                  {"factor", rope->factor},
                  {"dims", (double)wn_rope_dims(rope, config->head_dim)},
                  {"attention_factor", rope->attention_factor},
                  {"beta_fast", rope->beta_fast},
                  {"beta_slow", rope->beta_slow},
                  {"truncate", rope->truncate},
                  {"original", (double)rope->original_max_positions}};
    bool same = same_eos(expect, config);
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        same &= same_number(expect, values[i].key, values[i].value);
    return same;
}

static void check_rule(const cJSON *rule)
{
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(rule, "config");
    const cJSON *expect = cJSON_GetObjectItemCaseSensitive(rule, "expect");
    struct wn_config config = {0};
    snprintf(config.model_type, sizeof config.model_type, "%s",
             cJSON_GetObjectItemCaseSensitive(file, "model_type")->valuestring);
    CHECK(!strcmp(wn_class_defaults(config.model_type)->model_type, config.model_type));
    wn_status status = wn_arch_read_common("config.json", file, &config);
    bool right = status == WN_OK && same_config(expect, &config);
    if (!right)
        fprintf(stderr, "%s: %s\n", cJSON_GetObjectItemCaseSensitive(rule, "name")->valuestring,
                status == WN_OK ? "other values" : wn_error_message());
    CHECK(right);
}

int main(void)
{
    cJSON *rules = NULL;
    const cJSON *rule;
    CHECK_OK(wn_json_read(WN_SOURCE_DIR "/tests/arch/config_rules.json", false, &rules));
    cJSON_ArrayForEach (rule, rules)
        check_rule(rule);
    CHECK(cJSON_GetArraySize(rules) > 100 && n_compared > 400);
    cJSON_Delete(rules);
    return test_finish();
}
