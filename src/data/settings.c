/* SPDX-License-Identifier: Apache-2.0 */
/* Settings of a JSON object by a parameter table, every mistake gathered. */
#include <winnow/data.h>

#include <cjson/cJSON.h>

#include <string.h>

static bool is_free_text(const struct wn_parameter *parameter)
{
    return parameter->type == WN_STRING && !parameter->words;
}

static void read_key(const char *place, const cJSON *value, struct wn_params *params, struct wn_problems *problems)
{
    const struct wn_value *known = wn_params_find(params, value->string);

    if (known && is_free_text(known->parameter)) {
        if (!cJSON_IsString(value))
            wn_problems_add(problems, "%s: key \"%s\": expected a text", place, value->string);
    } else if (wn_params_set(params, value->string, value) != WN_OK) {
        wn_problems_add(problems, "%s: %s", place, wn_error_message());
    }
}

void wn_settings_read(const char *place, const cJSON *json, const struct wn_parameter *table, int count,
                      struct wn_params *params, struct wn_problems *problems)
{
    const cJSON *value;

    wn_params_init(params, table, count);
    if (!cJSON_IsObject(json)) {
        wn_problems_add(problems, "%s: expected a JSON object", place);
        return;
    }
    cJSON_ArrayForEach (value, json)
        read_key(place, value, params, problems);
    for (int i = 0; i < count; i++)
        if (table[i].required && !cJSON_GetObjectItemCaseSensitive(json, table[i].name))
            wn_problems_add(problems, "%s: key \"%s\" is missing", place, table[i].name);
}

const char *wn_settings_text(const cJSON *json, const char *key, const char *standard)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(json, key);

    return cJSON_IsString(value) ? value->valuestring : standard;
}

bool wn_name_fits(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > 48 || name[0] == '.')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == length;
}

wn_status wn_settings_finish(struct wn_problems *problems)
{
    wn_status status = WN_OK;

    if (problems->count > 0)
        status = wn_fail(WN_ERR_INPUT, "%s", problems->lines[0]);
    wn_problems_release(problems);
    return status;
}
