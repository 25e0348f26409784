/* SPDX-License-Identifier: Apache-2.0 */
/* Keys of JSON objects as data: check, help lines and JSON Schema from one table. */
#include <winnow/requests.h>

#include <cjson/cJSON.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

static const unsigned LISTS = WN_KEY_TEXTS | WN_KEY_INTEGERS | WN_KEY_OBJECTS;

/* ---- what is expected, in words ---- */

static void append_words(const char *words, struct wn_text *text)
{
    wn_text_printf(text, "one of ");
    for (const char *word = words; *word;) {
        size_t length = strcspn(word, "|");
        wn_text_printf(text, "%s\"%.*s\"", word == words ? "" : ", ", (int)length, word);
        word += length + (word[length] == '|');
    }
}

static void append_number(const struct wn_key *key, const char *noun, struct wn_text *text)
{
    wn_text_printf(text, "%s", noun);
    if (key->low < key->high && isinf(key->high))
        wn_text_printf(text, " of at least %.15g", key->low);
    else if (key->low < key->high)
        wn_text_printf(text, " in [%.15g, %.15g]", key->low, key->high);
}

/* One type, its plural inside a list. */
static void append_type(const struct wn_key *key, unsigned type, struct wn_text *text)
{
    if (type & LISTS && key->least > 1)
        wn_text_printf(text, "a list of at least %d ", key->least);
    else if (type & LISTS)
        wn_text_printf(text, "a list of ");
    switch (type) {
    case WN_KEY_TEXT:
        if (key->words)
            append_words(key->words, text);
        else
            wn_text_printf(text, "a text%s", key->filled ? " that is not empty" : "");
        break;
    case WN_KEY_TEXTS:
        wn_text_printf(text, "texts%s", key->filled ? " that are not empty" : "");
        break;
    case WN_KEY_NUMBER:
        append_number(key, "a number", text);
        break;
    case WN_KEY_INTEGER:
        append_number(key, "an integer", text);
        break;
    case WN_KEY_INTEGERS:
        append_number(key, "integers", text);
        break;
    case WN_KEY_BOOL:
        wn_text_printf(text, "true or false");
        break;
    case WN_KEY_OBJECT:
        wn_text_printf(text, "an object");
        break;
    default:
        wn_text_printf(text, "objects");
    }
}

static void append_expected(const struct wn_key *key, struct wn_text *text)
{
    const char *between = "";

    for (unsigned type = 1; type <= WN_KEY_OBJECTS; type *= 2)
        if (key->types & type) {
            wn_text_printf(text, "%s", between);
            append_type(key, type, text);
            between = " or ";
        }
}

/* ---- check ---- */

static bool is_word(const char *words, const char *text)
{
    size_t length = strlen(text);

    while (*words) {
        size_t word = strcspn(words, "|");
        if (word == length && memcmp(words, text, length) == 0)
            return true;
        words += word + (words[word] == '|');
    }
    return false;
}

static bool is_text(const struct wn_key *key, const cJSON *value)
{
    return cJSON_IsString(value) && !(key->filled && value->valuestring[0] == '\0') &&
           !(key->words && !is_word(key->words, value->valuestring));
}

static bool is_number(const struct wn_key *key, const cJSON *value, bool integer)
{
    double number = cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;

    return isfinite(number) && !(integer && floor(number) != number) &&
           !(key->low < key->high && (number < key->low || number > key->high));
}

static wn_status check_object(const char *within, const cJSON *object, const struct wn_keys *tables, int n_tables);

static wn_status fail_value(const struct wn_key *key, const char *place, const cJSON *value)
{
    struct wn_text expected = {0};
    char *got = cJSON_PrintUnformatted(value);

    append_expected(key, &expected);
    wn_fail(WN_ERR_INPUT, "key \"%s\": expected %s, got %.80s", place, expected.data, got ? got : "nothing");
    cJSON_free(got);
    wn_text_release(&expected);
    return WN_ERR_INPUT;
}

/* A value of one of the types that are no lists. */
static wn_status check_single(const struct wn_key *key, unsigned types, const char *place, const cJSON *value)
{
    struct wn_keys within = {key->within, key->n_within};

    if ((types & WN_KEY_TEXT && is_text(key, value)) || (types & WN_KEY_NUMBER && is_number(key, value, false)) ||
        (types & WN_KEY_INTEGER && is_number(key, value, true)) || (types & WN_KEY_BOOL && cJSON_IsBool(value)))
        return WN_OK;
    if (types & WN_KEY_OBJECT && cJSON_IsObject(value)) {
        char *prefix = wn_format("%s.", place);
        wn_status status = check_object(prefix, value, &within, 1);
        wn_free(prefix);
        return status;
    }
    struct wn_key single = *key;
    single.types = types;
    return fail_value(&single, place, value);
}

/* Entries are named "choices[1]". */
static wn_status check_list(const struct wn_key *key, const char *place, const cJSON *list)
{
    unsigned types = (key->types & WN_KEY_TEXTS ? WN_KEY_TEXT : 0) |
                     (key->types & WN_KEY_INTEGERS ? WN_KEY_INTEGER : 0) |
                     (key->types & WN_KEY_OBJECTS ? WN_KEY_OBJECT : 0);
    wn_status status = WN_OK;
    const cJSON *value;
    int index = 0;

    if (cJSON_GetArraySize(list) < key->least)
        return fail_value(key, place, list);
    cJSON_ArrayForEach (value, list) {
        char *entry = wn_format("%s[%d]", place, index++);
        status = check_single(key, types, entry, value);
        wn_free(entry);
        if (status != WN_OK)
            break;
    }
    return status;
}

static const struct wn_key *find_key(const struct wn_keys *tables, int n_tables, const char *name)
{
    for (int t = 0; t < n_tables; t++)
        for (int k = 0; k < tables[t].count; k++)
            if (!strcmp(tables[t].rows[k].name, name))
                return &tables[t].rows[k];
    return NULL;
}

static wn_status fail_unknown(const char *within, const char *name, const struct wn_keys *tables, int n_tables)
{
    const char *names[64];
    struct wn_text known = {0};
    int count = 0;

    for (int t = 0; t < n_tables; t++)
        for (int k = 0; k < tables[t].count && count < 64; k++) {
            wn_text_printf(&known, "%s\"%s\"", count ? ", " : "", tables[t].rows[k].name);
            names[count++] = tables[t].rows[k].name;
        }
    const char *near = wn_suggest(name, names, count);
    if (near)
        wn_fail(WN_ERR_INPUT, "unknown key \"%s%s\"; did you mean \"%s\"?", within, name, near);
    else
        wn_fail(WN_ERR_INPUT, "unknown key \"%s%s\"; known are: %s", within, name, known.data ? known.data : "none");
    wn_text_release(&known);
    return WN_ERR_INPUT;
}

static wn_status check_member(const char *within, const cJSON *value, const struct wn_keys *tables, int n_tables)
{
    const struct wn_key *key = find_key(tables, n_tables, value->string);

    if (!key)
        return fail_unknown(within, value->string, tables, n_tables);
    char *place = wn_format("%s%s", within, key->name);
    wn_status status = key->types & LISTS && cJSON_IsArray(value) ? check_list(key, place, value)
                                                                  : check_single(key, key->types, place, value);
    wn_free(place);
    return status;
}

static wn_status check_object(const char *within, const cJSON *object, const struct wn_keys *tables, int n_tables)
{
    const cJSON *value;

    cJSON_ArrayForEach (value, object)
        WN_TRY(check_member(within, value, tables, n_tables));
    for (int t = 0; t < n_tables; t++)
        for (int k = 0; k < tables[t].count; k++)
            if (tables[t].rows[k].required && !cJSON_GetObjectItemCaseSensitive(object, tables[t].rows[k].name))
                return wn_fail(WN_ERR_INPUT, "key \"%s%s\" is missing", within, tables[t].rows[k].name);
    return WN_OK;
}

wn_status wn_keys_check(const cJSON *object, const struct wn_keys *tables, int n_tables)
{
    return check_object("", object, tables, n_tables);
}

/* ---- help ---- */

static void help_lines(const struct wn_keys *tables, int n_tables, int indent, struct wn_text *text)
{
    int width = 0;

    for (int t = 0; t < n_tables; t++)
        for (int k = 0; k < tables[t].count; k++)
            width = (int)fmax(width, strlen(tables[t].rows[k].name));
    for (int t = 0; t < n_tables; t++)
        for (int k = 0; k < tables[t].count; k++) {
            const struct wn_key *key = &tables[t].rows[k];
            struct wn_keys within = {key->within, key->n_within};
            wn_text_printf(text, "%*s%-*s  ", indent, "", width, key->name);
            append_expected(key, text);
            wn_text_printf(text, ": %s", key->help);
            if (key->standard)
                wn_text_printf(text, " (default %s)", key->standard);
            wn_text_printf(text, "%s\n", key->required ? " (required)" : "");
            help_lines(&within, 1, indent + 4, text);
        }
}

void wn_keys_help(const struct wn_keys *tables, int n_tables, struct wn_text *text)
{
    help_lines(tables, n_tables, 2, text);
}

/* ---- JSON Schema ---- */

static cJSON *typed(const char *type)
{
    cJSON *schema = cJSON_CreateObject();

    cJSON_AddStringToObject(schema, "type", type);
    return schema;
}

static cJSON *text_schema(const struct wn_key *key)
{
    cJSON *schema = cJSON_CreateObject(), *words;

    if (key->words) {
        words = cJSON_AddArrayToObject(schema, "enum");
        for (const char *word = key->words; *word;) {
            size_t length = strcspn(word, "|");
            char *copy = wn_strndup(word, length);
            cJSON_AddItemToArray(words, cJSON_CreateString(copy));
            wn_free(copy);
            word += length + (word[length] == '|');
        }
        return schema;
    }
    cJSON_AddStringToObject(schema, "type", "string");
    if (key->filled)
        cJSON_AddNumberToObject(schema, "minLength", 1);
    return schema;
}

static cJSON *number_schema(const struct wn_key *key, const char *type)
{
    cJSON *schema = typed(type);

    if (key->low < key->high) {
        cJSON_AddNumberToObject(schema, "minimum", key->low);
        if (isfinite(key->high))
            cJSON_AddNumberToObject(schema, "maximum", key->high);
    }
    return schema;
}

static cJSON *list_schema(const struct wn_key *key, cJSON *entry)
{
    cJSON *schema = typed("array");

    cJSON_AddItemToObject(schema, "items", entry);
    if (key->least > 0)
        cJSON_AddNumberToObject(schema, "minItems", key->least);
    return schema;
}

static cJSON *type_schema(const struct wn_key *key, unsigned type)
{
    struct wn_keys within = {key->within, key->n_within};

    switch (type) {
    case WN_KEY_TEXT:
        return text_schema(key);
    case WN_KEY_TEXTS:
        return list_schema(key, text_schema(key));
    case WN_KEY_NUMBER:
        return number_schema(key, "number");
    case WN_KEY_INTEGER:
        return number_schema(key, "integer");
    case WN_KEY_INTEGERS:
        return list_schema(key, number_schema(key, "integer"));
    case WN_KEY_BOOL:
        return typed("boolean");
    case WN_KEY_OBJECT:
        return wn_keys_schema(&within, 1);
    default:
        return list_schema(key, wn_keys_schema(&within, 1));
    }
}

static cJSON *key_schema(const struct wn_key *key)
{
    cJSON *schema = NULL, *any = NULL;

    if (key->types & (key->types - 1)) { /* more than one type */
        schema = cJSON_CreateObject();
        any = cJSON_AddArrayToObject(schema, "anyOf");
    }
    for (unsigned type = 1; type <= WN_KEY_OBJECTS; type *= 2) {
        if (!(key->types & type))
            continue;
        if (any)
            cJSON_AddItemToArray(any, type_schema(key, type));
        else
            schema = type_schema(key, type);
    }
    cJSON_AddStringToObject(schema, "description", key->help);
    if (key->standard)
        cJSON_AddItemToObject(schema, "default", cJSON_Parse(key->standard));
    return schema;
}

cJSON *wn_keys_schema(const struct wn_keys *tables, int n_tables)
{
    cJSON *schema = typed("object"), *properties = cJSON_AddObjectToObject(schema, "properties"), *required = NULL;

    for (int t = 0; t < n_tables; t++)
        for (int k = 0; k < tables[t].count; k++) {
            const struct wn_key *key = &tables[t].rows[k];
            cJSON_AddItemToObject(properties, key->name, key_schema(key));
            if (!key->required)
                continue;
            if (!required)
                required = cJSON_AddArrayToObject(schema, "required");
            cJSON_AddItemToArray(required, cJSON_CreateString(key->name));
        }
    cJSON_AddFalseToObject(schema, "additionalProperties");
    return schema;
}
