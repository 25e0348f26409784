/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prompt templates. A pair comes as {"prompt", "response"} or as {"instruction", "input", "output"}; both are brought
 * to five named parts, so that every template can be used with either.
 */
#include <winnow/data.h>

#include <cjson/cJSON.h>

#include <string.h>

enum part { PROMPT, RESPONSE, INSTRUCTION, INPUT, OUTPUT, PARTS };

static const char *const part_names[PARTS] = {"prompt", "response", "instruction", "input", "output"};

/* The text of Stanford Alpaca (train.py): the answer follows "### Response:" without a space or newline. */
static const char alpaca_with_input[] =
    "Below is an instruction that describes a task, paired with an input that provides further context. Write a "
    "response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### "
    "Input:\n{input}\n\n### Response:{output}";
static const char alpaca_without_input[] =
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n### "
    "Instruction:\n{instruction}\n\n### Response:{output}";

static const char *const names[] = {"plain", "alpaca", "none", NULL};

const char *const *wn_template_names(void)
{
    return names;
}

/* The text behind a name, or the template itself. */
static const char *template_text(const char *template_, bool has_input)
{
    if (strcmp(template_, "plain") == 0)
        return "{prompt} {response}";
    if (strcmp(template_, "none") == 0)
        return "{prompt}{response}";
    if (strcmp(template_, "alpaca") == 0)
        return has_input ? alpaca_with_input : alpaca_without_input;
    return template_;
}

/* The part named at "{name}", PARTS when it is none; *length: characters of the whole placeholder. */
static enum part placeholder_at(const char *text, size_t *length)
{
    const char *close = text[0] == '{' ? strchr(text, '}') : NULL;

    if (!close)
        return PARTS;
    *length = (size_t)(close - text) + 1;
    for (int p = 0; p < PARTS; p++)
        if (strlen(part_names[p]) == *length - 2 && strncmp(text + 1, part_names[p], *length - 2) == 0)
            return (enum part)p;
    return PARTS;
}

static bool known_name(const char *template_)
{
    for (const char *const *name = names; *name; name++)
        if (strcmp(template_, *name) == 0)
            return true;
    return false;
}

wn_status wn_template_check(const char *template_)
{
    bool used[PARTS] = {false};
    size_t length = 0;

    if (known_name(template_))
        return WN_OK;
    if (!strchr(template_, '{')) {
        const char *near = wn_suggest(template_, names, 3);
        return wn_fail(WN_ERR_INPUT,
                       "unknown template \"%s\"; expected plain, alpaca, none or a text with {prompt} "
                       "and {response}%s%s%s",
                       template_, near ? " (did you mean \"" : "", near ? near : "", near ? "\"?)" : "");
    }
    for (const char *c = template_; *c; c++) {
        enum part part = placeholder_at(c, &length);
        if (part != PARTS)
            used[part] = true;
    }
    if (!used[PROMPT] && !used[INSTRUCTION])
        return wn_fail(WN_ERR_INPUT, "the template has neither {prompt} nor {instruction}");
    if (!used[RESPONSE] && !used[OUTPUT])
        return wn_fail(WN_ERR_INPUT, "the template has neither {response} nor {output}");
    return WN_OK;
}

static wn_status fail_missing(const cJSON *pair, enum part part)
{
    char *quoted = wn_format("\"%s\"", part_names[part]);
    wn_status status = wn_field_fail(quoted, pair);

    wn_free(quoted);
    return status;
}

/* A string field; `required` decides whether it may be absent ("" then). */
static wn_status field(const cJSON *pair, enum part part, bool required, const char **text)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(pair, part_names[part]);

    *text = "";
    if (!value && !required)
        return WN_OK;
    if (!value)
        return fail_missing(pair, part);
    if (!cJSON_IsString(value))
        return wn_fail(WN_ERR_INPUT, "\"%s\" must be a string", part_names[part]);
    *text = value->valuestring;
    return WN_OK;
}

/* Fills the five parts; prompt is owned by `joined` when it had to be made. */
static wn_status read_pair(const cJSON *pair, const char *parts[PARTS], struct wn_text *joined)
{
    bool instruction = cJSON_GetObjectItemCaseSensitive(pair, "instruction") != NULL;

    if (!instruction && !cJSON_GetObjectItemCaseSensitive(pair, "prompt"))
        return wn_field_fail("\"prompt\" (or \"instruction\")", pair);
    WN_TRY(field(pair, instruction ? INSTRUCTION : PROMPT, true, &parts[PROMPT]));
    WN_TRY(field(pair, instruction ? OUTPUT : RESPONSE, true, &parts[RESPONSE]));
    WN_TRY(field(pair, INPUT, false, &parts[INPUT]));
    parts[INSTRUCTION] = parts[PROMPT];
    parts[OUTPUT] = parts[RESPONSE];
    if (parts[INPUT][0] != '\0') {
        wn_text_printf(joined, "%s\n%s", parts[INSTRUCTION], parts[INPUT]);
        parts[PROMPT] = joined->data;
    }
    return WN_OK;
}

static void fill(const char *template_, const char *const parts[PARTS], struct wn_text *text)
{
    while (*template_) {
        size_t length = 1;
        enum part part = placeholder_at(template_, &length);
        if (part != PARTS) {
            wn_text_append(text, parts[part], strlen(parts[part]));
        } else {
            length = 1;
            wn_text_append(text, template_, 1);
        }
        template_ += length;
    }
}

wn_status wn_template_render(const char *template_, const cJSON *pair, struct wn_text *text)
{
    struct wn_text joined = {0};
    const char *parts[PARTS] = {"", "", "", "", ""};
    wn_status status = read_pair(pair, parts, &joined);

    if (status == WN_OK)
        fill(template_text(template_, parts[INPUT][0] != '\0'), parts, text);
    wn_text_release(&joined);
    return status;
}
