/* SPDX-License-Identifier: Apache-2.0 */
/* load_values.c: values of tokenizer.json, and chains of components. */
#include "load.h"

/* ---- values ---- */

wn_status tok_expected(const struct tok_loader *loader, const char *where, const char *what)
{
    return wn_fail(WN_ERR_INPUT, "%s: %s: expected %s", loader->path, where, what);
}

wn_status tok_expected_key(const struct tok_loader *loader, const char *where, const char *key, const char *what)
{
    return wn_fail(WN_ERR_INPUT, "%s: %s%s%s: expected %s", loader->path, where, *where ? "." : "", key, what);
}

const cJSON *tok_value_of(const cJSON *object, const char *key)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return cJSON_IsNull(value) ? NULL : value;
}

wn_status tok_get_bool(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                       bool absent, bool *out)
{
    const cJSON *value = tok_value_of(object, key);

    *out = value ? cJSON_IsTrue(value) : absent;
    return value && !cJSON_IsBool(value) ? tok_expected_key(loader, where, key, "true or false") : WN_OK;
}

wn_status tok_get_string(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                         const char **out)
{
    const cJSON *value = tok_value_of(object, key);

    if (!cJSON_IsString(value))
        return tok_expected_key(loader, where, key, "a string");
    *out = value->valuestring;
    return WN_OK;
}

wn_status tok_get_character(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                            uint32_t *out)
{
    const char *text = "";

    WN_TRY(tok_get_string(loader, object, where, key, &text));
    if (!tok_single_code(text, strlen(text), out))
        return tok_expected_key(loader, where, key, "a string of one character");
    return WN_OK;
}

bool tok_read_integer(const cJSON *value, int64_t most, int64_t *out)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble <= (double)most))
        return false;
    *out = (int64_t)value->valuedouble;
    return (double)*out == value->valuedouble;
}

wn_status tok_get_count(const struct tok_loader *loader, const cJSON *object, const char *where, const char *key,
                        int64_t *out)
{
    const cJSON *value = tok_value_of(object, key);

    *out = 0;
    if (value && !tok_read_integer(value, INT32_MAX, out))
        return tok_expected_key(loader, where, key, "a number of characters");
    return WN_OK;
}

wn_status tok_unsupported(const struct tok_loader *loader, const char *where, const char *what, const char *type)
{
    return wn_fail(WN_ERR_UNSUPPORTED, "%s: %s: the %s \"%s\" is not supported", loader->path, where, what, type);
}

/* ---- chains of components ---- */

wn_status tok_load_chain(struct tok_loader *loader, const cJSON *json, const char *where, const char *list,
                         tok_load_one *one)
{
    const char *type = "";
    const cJSON *item;
    int64_t index = 0;
    wn_status status = WN_OK;

    if (!json || cJSON_IsNull(json))
        return WN_OK;
    if (!cJSON_IsObject(json))
        return tok_expected(loader, where, "an object or null");
    WN_TRY(tok_get_string(loader, json, where, "type", &type));
    if (strcmp(type, "Sequence") != 0)
        return one(loader, json, where, type);
    const cJSON *items = tok_value_of(json, list);
    if (!cJSON_IsArray(items))
        return tok_expected_key(loader, where, list, "a list");
    cJSON_ArrayForEach (item, items) {
        char *inner = wn_format("%s.%s[%lld]", where, list, (long long)index++);
        status = tok_load_chain(loader, item, inner, list, one);
        wn_free(inner);
        if (status != WN_OK)
            break;
    }
    return status;
}

wn_status tok_load_pattern(struct tok_loader *loader, const cJSON *json, const char *where, struct tok_pattern *pattern)
{
    const cJSON *value = tok_value_of(json, "pattern");
    const cJSON *literal = tok_value_of(value, "String"), *regex = tok_value_of(value, "Regex");

    if (!cJSON_IsString(literal) && !cJSON_IsString(regex))
        return tok_expected_key(loader, where, "pattern", "an object with a string under \"String\" or \"Regex\"");
    char *place = wn_format("%s: %s.pattern", loader->path, where);
    wn_status status = cJSON_IsString(literal) ? tok_pattern_literal(place, literal->valuestring, pattern)
                                               : tok_pattern_regex(place, regex->valuestring, pattern);
    wn_free(place);
    return status;
}
