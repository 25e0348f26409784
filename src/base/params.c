/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters as data: tables of names, types, ranges and words, and values read from JSON against them. */
#include <winnow/params.h>

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double LARGEST_INTEGER = 9007199254740992.0; /* 2^53: every integer up to here is a double */

/* ---- what a parameter accepts ---- */

static bool takes_numbers(const struct wn_parameter *parameter)
{
    return parameter->type == WN_INTEGER || parameter->type == WN_NUMBER;
}

static bool has_range(const struct wn_parameter *parameter)
{
    return parameter->low != parameter->high;
}

static bool in_range(const struct wn_parameter *parameter, double number)
{
    if (!has_range(parameter))
        return true;
    return number >= parameter->low && (parameter->open_end ? number < parameter->high : number <= parameter->high);
}

bool wn_params_has_word(const struct wn_parameter *parameter, const char *text)
{
    size_t length = strlen(text);

    for (const char *word = parameter->words; word; word = strchr(word, '|')) {
        word += *word == '|';
        if (strcspn(word, "|") == length && memcmp(word, text, length) == 0)
            return true;
    }
    return false;
}

/* "a|b|c" as `"a", "b", "c"`. */
static void append_words(const char *words, struct wn_text *text)
{
    for (const char *word = words; word; word = strchr(word, '|')) {
        word += *word == '|';
        wn_text_printf(text, "%s\"%.*s\"", word == words ? "" : ", ", (int)strcspn(word, "|"), word);
    }
}

/* What may be given, in words: `an integer in [2, 8]`, `a number in [0, 1) or one of "a", "b"`. */
static void append_expected(const struct wn_parameter *parameter, struct wn_text *text)
{
    static const char *const nouns[] = {
        [WN_BOOL] = "true or false", [WN_INTEGER] = "an integer", [WN_NUMBER] = "a number", [WN_STRING] = "a text"};

    if (parameter->type == WN_STRING && parameter->words) {
        wn_text_printf(text, "one of ");
        append_words(parameter->words, text);
        return;
    }
    wn_text_printf(text, "%s", nouns[parameter->type]);
    if (!takes_numbers(parameter))
        return;
    if (has_range(parameter) && isinf(parameter->high))
        wn_text_printf(text, " of at least %.15g", parameter->low);
    else if (has_range(parameter))
        wn_text_printf(text, " in [%.15g, %.15g%c", parameter->low, parameter->high, parameter->open_end ? ')' : ']');
    if (parameter->words) {
        wn_text_printf(text, " or one of ");
        append_words(parameter->words, text);
    }
}

/* ---- one value ---- */

/* The shortest decimal text that reads back as the same double. */
static void print_number(char *text, size_t size, double number)
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, size, "%.*g", digits, number);
        double back;
        if (sscanf(text, "%lf", &back) == 1 && back == number)
            return;
    }
}

static void put_number(struct wn_value *value, double number)
{
    value->number = number + 0.0; /* no negative zero */
    value->set = true;
    print_number(value->text, sizeof value->text, value->number);
}

static void put_text(struct wn_value *value, const char *text, double number)
{
    value->number = number;
    value->set = true;
    snprintf(value->text, sizeof value->text, "%s", text);
}

static bool put_json_number(struct wn_value *value, double number)
{
    const struct wn_parameter *parameter = value->parameter;

    if (!takes_numbers(parameter) || !isfinite(number) || !in_range(parameter, number))
        return false;
    if (parameter->type == WN_INTEGER && (number != rint(number) || fabs(number) > LARGEST_INTEGER))
        return false;
    put_number(value, number);
    return true;
}

static bool put_json_text(struct wn_value *value, const char *text)
{
    const struct wn_parameter *parameter = value->parameter;

    if (parameter->type == WN_BOOL || (takes_numbers(parameter) && !parameter->words))
        return false;
    if (parameter->words ? !wn_params_has_word(parameter, text) : strlen(text) >= sizeof value->text)
        return false;
    put_text(value, text, (double)NAN);
    return true;
}

/* False, and nothing changed, when the JSON is not what the parameter accepts. */
static bool put_json(struct wn_value *value, const cJSON *json)
{
    if (cJSON_IsNumber(json))
        return put_json_number(value, json->valuedouble);
    if (cJSON_IsString(json))
        return put_json_text(value, json->valuestring);
    if (!cJSON_IsBool(json) || value->parameter->type != WN_BOOL)
        return false;
    put_text(value, cJSON_IsTrue(json) ? "true" : "false", cJSON_IsTrue(json));
    return true;
}

static wn_status fail_value(const struct wn_value *value, const cJSON *json)
{
    struct wn_text expected = {0};
    char *got = cJSON_PrintUnformatted(json);

    append_expected(value->parameter, &expected);
    if (cJSON_IsString(json) && value->parameter->type == WN_STRING && !value->parameter->words)
        wn_text_printf(&expected, " of at most %zu bytes", sizeof value->text - 1);
    wn_fail(WN_ERR_INPUT, "key \"%s\": expected %s, got %.80s", value->parameter->name, expected.data,
            got ? got : "a value that cannot be shown");
    cJSON_free(got);
    wn_text_release(&expected);
    return WN_ERR_INPUT;
}

/* ---- all values of a table ---- */

static void put_default(struct wn_value *value, const char *text)
{
    cJSON *json = cJSON_Parse(text);

    if (!json || !put_json(value, json))
        WN_BUG("the default %s of parameter \"%s\" is not allowed", text, value->parameter->name);
    cJSON_Delete(json);
}

static void put_standard(struct wn_value *value)
{
    put_default(value, value->parameter->standard);
}

void wn_params_init(struct wn_params *params, const struct wn_parameter *table, int count)
{
    if (count > WN_MAX_PARAMETERS)
        WN_BUG("%d parameters, at most %d are possible", count, WN_MAX_PARAMETERS);
    *params = (struct wn_params){.count = count};
    for (int i = 0; i < count; i++) {
        params->values[i] = (struct wn_value){.parameter = &table[i], .number = (double)NAN};
        if (table[i].standard)
            put_standard(&params->values[i]);
    }
}

void wn_params_publish(struct wn_params *params)
{
    for (int i = 0; i < params->count; i++)
        if (params->values[i].parameter->published && !params->values[i].given)
            put_default(&params->values[i], params->values[i].parameter->published);
}

const struct wn_value *wn_params_find(const struct wn_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (!strcmp(params->values[i].parameter->name, name))
            return &params->values[i];
    return NULL;
}

static wn_status fail_unknown(const struct wn_params *params, const char *name)
{
    const char *names[WN_MAX_PARAMETERS];
    struct wn_text known = {0};

    for (int i = 0; i < params->count; i++) {
        names[i] = params->values[i].parameter->name;
        wn_text_printf(&known, "%s\"%s\"", i ? ", " : "", names[i]);
    }
    const char *near = wn_suggest(name, names, params->count);
    if (near)
        wn_fail(WN_ERR_INPUT, "unknown key \"%s\"; did you mean \"%s\"?", name, near);
    else
        wn_fail(WN_ERR_INPUT, "unknown key \"%s\"; known are: %s", name, known.data ? known.data : "none");
    wn_text_release(&known);
    return WN_ERR_INPUT;
}

wn_status wn_params_set(struct wn_params *params, const char *name, const struct cJSON *json)
{
    struct wn_value *value = (struct wn_value *)wn_params_find(params, name);

    if (!value)
        return fail_unknown(params, name);
    if (!put_json(value, json))
        return fail_value(value, json);
    value->given = true;
    return WN_OK;
}

const struct wn_value *wn_params_given(const struct wn_params *params, const char *name)
{
    const struct wn_value *value = wn_params_find(params, name);

    return value && value->set ? value : NULL;
}

bool wn_params_is_on(const struct wn_params *params, const char *name)
{
    const struct wn_value *value = wn_params_given(params, name);

    return value && value->number != 0;
}

void wn_params_leave_out(struct wn_params *params, const char *name)
{
    for (int i = 0; i < params->count; i++)
        if (!strcmp(params->values[i].parameter->name, name))
            params->values[i].set = false;
}

/* The value that must be there, or our own bug. */
static const struct wn_value *value_of(const struct wn_params *params, const char *name, bool set)
{
    const struct wn_value *value = wn_params_find(params, name);

    if (!value)
        WN_BUG("there is no parameter \"%s\"", name);
    if (set && !value->set)
        WN_BUG("parameter \"%s\" has no value", name);
    return value;
}

void wn_params_derive(struct wn_params *params, const char *name, double number)
{
    put_number((struct wn_value *)value_of(params, name, false), number);
}

wn_status wn_params_complete(const struct wn_params *params)
{
    for (int i = 0; i < params->count; i++) {
        const struct wn_value *value = &params->values[i];
        struct wn_text expected = {0};

        if (value->set || !value->parameter->required)
            continue;
        append_expected(value->parameter, &expected);
        wn_fail(WN_ERR_INPUT, "key \"%s\" is missing: expected %s", value->parameter->name, expected.data);
        wn_text_release(&expected);
        return WN_ERR_INPUT;
    }
    return WN_OK;
}

double wn_params_number(const struct wn_params *params, const char *name)
{
    return value_of(params, name, true)->number;
}

int64_t wn_params_integer(const struct wn_params *params, const char *name)
{
    const struct wn_value *value = value_of(params, name, true);

    if (isnan(value->number))
        WN_BUG("parameter \"%s\" is the word \"%s\", not an integer", name, value->text);
    if (value->number != rint(value->number))
        WN_BUG("parameter \"%s\" is %s, not an integer", name, value->text);
    return (int64_t)value->number;
}

bool wn_params_flag(const struct wn_params *params, const char *name)
{
    return value_of(params, name, true)->number != 0;
}

const char *wn_params_text(const struct wn_params *params, const char *name)
{
    return value_of(params, name, true)->text;
}

/* True when the value is the text of the default. */
static bool is_standard(const struct wn_value *value)
{
    struct wn_value standard = {.parameter = value->parameter};

    if (!value->parameter->standard)
        return false;
    put_standard(&standard);
    return !strcmp(standard.text, value->text);
}

void wn_params_describe(const struct wn_params *params, struct wn_text *text)
{
    const char *gap = "";

    for (int i = 0; i < params->count; i++) {
        const struct wn_value *value = &params->values[i];
        if (!value->set || (value->parameter->quiet && is_standard(value)))
            continue;
        wn_text_printf(text, "%s%s=%s", gap, value->parameter->name, value->text);
        gap = " ";
    }
}

/* ---- help ---- */

/* Name, what is expected, meaning, unit and default; the first two columns are as wide as their widest entry. */
void wn_params_help(const struct wn_parameter *table, int count, struct wn_text *text)
{
    int name_width = 0, expected_width = 0;

    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < count; i++) {
            struct wn_text expected = {0};
            append_expected(&table[i], &expected);
            if (pass == 0) {
                name_width = (int)fmax(name_width, strlen(table[i].name));
                expected_width = (int)fmax(expected_width, expected.length);
            } else {
                wn_text_printf(text, "  %-*s  %-*s  %s", name_width, table[i].name, expected_width, expected.data,
                               table[i].help ? table[i].help : "");
                if (table[i].unit)
                    wn_text_printf(text, " [%s]", table[i].unit);
                if (table[i].standard)
                    wn_text_printf(text, " (default %s%s%s)", table[i].standard,
                                   table[i].published ? "; published code " : "",
                                   table[i].published ? table[i].published : "");
                wn_text_printf(text, "%s\n", table[i].required ? " (required)" : "");
            }
            wn_text_release(&expected);
        }
    }
}
