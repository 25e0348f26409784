/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of answers: their keys, and the metrics of how many are passed, strictly, loosely and in a row. */
#include "generation.h"

#include <cjson/cJSON.h>

#include <math.h>
#include <string.h>

/* ---- keys ---- */

static const struct wn_key instruction_rows[] = {
    {.name = "id", .types = WN_KEY_TEXT, .required = true, .filled = true, .help = "as IFEval calls it"},
    {.name = "number", .types = WN_KEY_INTEGER, .low = 0, .high = 1e9, .help = "of words, sentences, keywords ..."},
    {.name = "relation",
     .types = WN_KEY_TEXT,
     .words = "at least|less than",
     .standard = "\"at least\"",
     .help = "of the count to the number"},
    {.name = "nth", .types = WN_KEY_INTEGER, .low = 1, .high = 1e9, .help = "the paragraph that starts with a word"},
    {.name = "texts",
     .types = WN_KEY_TEXTS,
     .filled = true,
     .help = "keywords, forbidden words, a letter, phrase, marker, first word or language"},
};

const struct wn_key generation_check_rows[GENERATION_CHECK_ROWS] = {
    {.name = "max_words", .types = WN_KEY_INTEGER, .low = 0, .high = 1e9, .help = "at most so many words"},
    {.name = "min_words", .types = WN_KEY_INTEGER, .low = 0, .high = 1e9, .help = "at least so many words"},
    {.name = "regex", .types = WN_KEY_TEXT, .filled = true, .help = "the pattern matches somewhere"},
    {.name = "equals", .types = WN_KEY_TEXT, .help = "equal to this, but for white space at the ends"},
    {.name = "instruction",
     .types = WN_KEY_OBJECT,
     .within = instruction_rows,
     .n_within = sizeof instruction_rows / sizeof instruction_rows[0],
     .help = "a verifiable instruction of IFEval, which no blank answer follows"},
};

static int64_t integer(const cJSON *object, const char *key, int64_t standard)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(object, key);

    return value ? (int64_t)value->valuedouble : standard;
}

/* On failure the instruction is to be released, too. */
static wn_status read_instruction(const cJSON *json, struct wn_instruction *instruction)
{
    const cJSON *text;

    *instruction = (struct wn_instruction){
        .number = integer(json, "number", -1),
        .nth = integer(json, "nth", 0),
        .less = !strcmp(wn_settings_text(json, "relation", "at least"), "less than"),
    };
    cJSON_ArrayForEach (text, cJSON_GetObjectItemCaseSensitive(json, "texts")) {
        instruction->texts = wn_resize(instruction->texts, instruction->n_texts + 1, sizeof *instruction->texts);
        instruction->texts[instruction->n_texts++] = wn_strdup(text->valuestring);
    }
    return wn_instruction_init(instruction, "key \"checks\"", wn_settings_text(json, "id", ""));
}

static wn_status read_check(const cJSON *key, struct wn_check *check)
{
    *check = (struct wn_check){.words = (int64_t)key->valuedouble};
    if (!strcmp(key->string, "max_words")) {
        check->kind = WN_CHECK_MAX_WORDS;
    } else if (!strcmp(key->string, "min_words")) {
        check->kind = WN_CHECK_MIN_WORDS;
    } else if (!strcmp(key->string, "equals")) {
        check->kind = WN_CHECK_EQUALS;
        check->text = wn_strdup(key->valuestring);
    } else if (!strcmp(key->string, "regex")) {
        check->kind = WN_CHECK_REGEX;
        return wn_regex_compile("key \"checks\"", key->valuestring, &check->regex);
    } else {
        check->kind = WN_CHECK_INSTRUCTION;
        return read_instruction(key, &check->instruction);
    }
    return WN_OK;
}

wn_status generation_read_checks(const cJSON *json, struct generation_item *item)
{
    const cJSON *object, *key;

    cJSON_ArrayForEach (object, cJSON_GetObjectItemCaseSensitive(json, "checks"))
        cJSON_ArrayForEach (key, object) {
            item->checks = wn_resize(item->checks, item->n_checks + 1, sizeof *item->checks);
            WN_TRY(read_check(key, &item->checks[item->n_checks++]));
        }
    return WN_OK;
}

/* ---- scores ---- */

/* A pattern that gives up is told and not passed. */
static bool passes(const struct wn_check *check, struct wn_chars text)
{
    bool passed;

    if (wn_check_apply(check, text, &passed) == WN_OK)
        return passed;
    wn_log(WN_LOG_WARNING, "%s: the check counts as not passed", wn_error_message());
    return false;
}

/* Without its first or last line, or both, white space at the ends stripped. */
static struct wn_chars without_lines(struct wn_chars text, bool first, bool last)
{
    const char *newline = memchr(text.data, '\n', text.length);

    if (first)
        text =
            newline ? (struct wn_chars){newline + 1, text.length - (size_t)(newline + 1 - text.data)} : wn_chars_of("");
    while (last && text.length > 0 && text.data[text.length - 1] != '\n')
        text.length--;
    text.length -= last && text.length > 0;
    return first || last ? wn_trim(text) : text;
}

static bool passes_unless_blank(const struct wn_check *check, struct wn_chars text)
{
    return wn_trim(text).length > 0 && passes(check, text);
}

/* By IFEval's loose rule: by any of the text, without lines and asterisks that models put around an answer. */
static bool passes_loosely(const struct wn_check *check, struct wn_chars text)
{
    bool passed = false;

    for (int form = 0; form < 4 && !passed; form++) {
        struct wn_chars part = without_lines(text, form & 1, form & 2);
        char *plain = wn_alloc((int64_t)part.length, 1);
        size_t length = 0;
        for (size_t i = 0; i < part.length; i++)
            if (part.data[i] != '*')
                plain[length++] = part.data[i];
        passed = passes_unless_blank(check, part) || passes_unless_blank(check, (struct wn_chars){plain, length});
        wn_free(plain);
    }
    return passed;
}

void generation_score_checks(const struct generation_task *state, const struct generation_item *item,
                             struct wn_chars answer, double *values)
{
    bool loose = wn_task_wants(&state->task, GENERATION_CHECKS_LOOSE) ||
                 wn_task_wants(&state->task, GENERATION_CHECKS_EACH_LOOSE);
    int64_t strict = 0, loosely = 0;

    if (item->n_checks == 0)
        return;
    for (int64_t c = 0; c < item->n_checks; c++) {
        strict += passes(&item->checks[c], answer);
        loosely += loose && passes_loosely(&item->checks[c], answer);
    }
    values[GENERATION_CHECKS] = strict == item->n_checks;
    values[GENERATION_CHECKS_EACH] = (double)strict / (double)item->n_checks;
    values[GENERATION_CHECKS_LOOSE] = loosely == item->n_checks;
    values[GENERATION_CHECKS_EACH_LOOSE] = (double)loosely / (double)item->n_checks;
    values[GENERATION_LEVELS] = values[GENERATION_CHECKS];
}

void generation_score_levels(const struct generation_task *state, struct wn_item_values *values)
{
    double *value = values->value[GENERATION_LEVELS], *weight = values->weight[GENERATION_LEVELS];
    bool *broken = wn_alloc_zero(state->task.n_items, sizeof *broken);

    for (int64_t i = 0; i < state->task.n_items; i++) {
        int64_t first = state->items[i].series;
        double passed = value[i];
        bool fails = first < 0 || isnan(weight[i]) || passed != 1 || broken[first];
        if (first >= 0)
            broken[first] |= fails;
        weight[i] = first == i ? 1 : (double)NAN;
        value[i] = first == i ? 0 : (double)NAN;
        if (!fails)
            value[first] += 1;
    }
    wn_free(broken);
}
