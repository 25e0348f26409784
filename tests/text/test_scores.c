/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scores of generated text against those of other programs (golden.jsonl, written by make_golden.py).
 *
 * A line is a case: "kind" and its inputs, and "expected". test_scores FILE computes the cases of a file without
 * comparing and prints one result a line, for compare_reference.py.
 */
#include "test.h"

#include <cjson/cJSON.h>

#include <winnow/text.h>

/* ---- reading cases ---- */

static const char *text_of(const cJSON *item, const char *key)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItem(item, key));

    if (!text)
        WN_BUG("a case without the text \"%s\"", key);
    return text;
}

static struct wn_chars chars_of(const cJSON *item, const char *key)
{
    return wn_chars_of(text_of(item, key));
}

static bool flag_of(const cJSON *item, const char *key)
{
    return cJSON_IsTrue(cJSON_GetObjectItem(item, key));
}

static int64_t number_of(const cJSON *item, const char *key)
{
    const cJSON *number = cJSON_GetObjectItem(item, key);

    return number ? (int64_t)number->valuedouble : 0;
}

static cJSON *new_text(struct wn_chars chars)
{
    char *copy = wn_strndup(chars.data, chars.length);
    cJSON *json = cJSON_CreateString(copy);

    wn_free(copy);
    return json;
}

static cJSON *new_text_of(struct wn_text *text)
{
    cJSON *json = new_text((struct wn_chars){text->data ? text->data : "", text->length});

    wn_text_release(text);
    return json;
}

static cJSON *new_words(struct wn_words *words)
{
    cJSON *json = cJSON_CreateArray();

    for (int64_t i = 0; i < words->count; i++)
        cJSON_AddItemToArray(json, new_text(wn_words_at(words, i)));
    wn_words_release(words);
    return json;
}

static cJSON *new_error(void)
{
    cJSON *json = cJSON_CreateObject();

    cJSON_AddStringToObject(json, "error", wn_error_message());
    return json;
}

/* ---- one function a kind ---- */

static cJSON *do_lower(const cJSON *item)
{
    struct wn_text out = {0};

    wn_lower(chars_of(item, "text"), &out);
    return new_text_of(&out);
}

static cJSON *do_trim(const cJSON *item)
{
    return new_text(wn_trim(chars_of(item, "text")));
}

static cJSON *do_split(const cJSON *item)
{
    struct wn_words words = {0};

    wn_words_split(chars_of(item, "text"), &words);
    return new_words(&words);
}

static cJSON *do_rouge_words(const cJSON *item)
{
    struct wn_words words = {0};

    wn_words_rouge(chars_of(item, "text"), flag_of(item, "stemmer"), &words);
    return new_words(&words);
}

/* Words between white space, each stemmed. */
static cJSON *do_stem(const cJSON *item)
{
    struct wn_chars rest = chars_of(item, "text"), word;
    struct wn_words words = {0};

    while (wn_next_word(&rest, &word)) {
        char *copy = wn_strndup(word.data, word.length);
        wn_words_add(&words, (struct wn_chars){copy, wn_porter_stem(copy, word.length)});
        wn_free(copy);
    }
    return new_words(&words);
}

static cJSON *do_replace(const cJSON *item)
{
    struct wn_regex *regex;
    struct wn_text out = {0};

    if (wn_regex_compile("case", text_of(item, "pattern"), &regex) != WN_OK)
        return new_error();
    wn_status status = wn_regex_replace(regex, chars_of(item, "text"), text_of(item, "by"), &out);
    wn_regex_free(&regex);
    if (status == WN_OK)
        return new_text_of(&out);
    wn_text_release(&out);
    return new_error();
}

static cJSON *do_filter(const cJSON *item)
{
    static const char *const names[] = {"none", "strip", "first_line", "regex"};
    struct wn_filter filter = {0};
    struct wn_chars piece;
    cJSON *json = NULL;

    while (strcmp(names[filter.kind], text_of(item, "filter")) != 0)
        filter.kind++;
    if (filter.kind == WN_FILTER_REGEX &&
        wn_filter_init_regex(&filter, "case", text_of(item, "pattern"), number_of(item, "group"),
                             flag_of(item, "last")) != WN_OK)
        return new_error();
    json = wn_filter_apply(&filter, chars_of(item, "text"), &piece) == WN_OK ? new_text(piece) : new_error();
    wn_filter_release(&filter);
    return json;
}

static void read_normalizer(const cJSON *item, struct wn_normalizer *normalizer)
{
    const cJSON *pattern;

    wn_normalizer_init(normalizer, wn_normalization_find(text_of(item, "normalize")));
    normalizer->ignore_case = flag_of(item, "ignore_case");
    normalizer->ignore_punctuation = flag_of(item, "ignore_punctuation");
    normalizer->ignore_numbers = flag_of(item, "ignore_numbers");
    cJSON_ArrayForEach (pattern, cJSON_GetObjectItem(item, "ignore"))
        CHECK_OK(wn_normalizer_ignore(normalizer, "case", pattern->valuestring));
}

static cJSON *do_normalize(const cJSON *item)
{
    struct wn_normalizer normalizer;
    struct wn_text out = {0};

    read_normalizer(item, &normalizer);
    CHECK_OK(wn_normalize(&normalizer, chars_of(item, "text"), &out));
    wn_normalizer_release(&normalizer);
    return new_text_of(&out);
}

static struct wn_chars *references_of(const cJSON *item, int *count)
{
    const cJSON *references = cJSON_GetObjectItem(item, "references");

    *count = cJSON_GetArraySize(references);
    struct wn_chars *texts = wn_alloc(*count, sizeof(*texts));
    for (int i = 0; i < *count; i++)
        texts[i] = wn_chars_of(cJSON_GetArrayItem(references, i)->valuestring);
    return texts;
}

static cJSON *do_answers(const cJSON *item)
{
    struct wn_normalizer normalizer;
    struct wn_references references;
    struct wn_answer_scores scores;
    int count;
    struct wn_chars *texts = references_of(item, &count);

    read_normalizer(item, &normalizer);
    CHECK_OK(wn_references_init(&references, &normalizer, texts, count));
    CHECK_OK(wn_references_score(&references, &normalizer, chars_of(item, "prediction"), &scores));
    wn_references_release(&references);
    wn_normalizer_release(&normalizer);
    wn_free(texts);
    return cJSON_CreateDoubleArray((double[]){scores.exact_match, scores.em_relaxed, scores.contains, scores.f1,
                                              scores.contains_word, scores.contains_number},
                                   6);
}

static cJSON *do_rouge(const cJSON *item)
{
    struct wn_rouge scores;
    struct wn_rouge_text prediction;
    bool stemmer = flag_of(item, "stemmer");
    int count;
    struct wn_chars *texts = references_of(item, &count);
    struct wn_rouge_text *references = wn_alloc(count, sizeof(*references));

    for (int i = 0; i < count; i++)
        wn_rouge_text_init(&references[i], texts[i], stemmer);
    wn_rouge_text_init(&prediction, chars_of(item, "prediction"), stemmer);
    wn_rouge_best(references, count, &prediction, &scores);
    for (int i = 0; i < count; i++)
        wn_rouge_text_release(&references[i]);
    wn_rouge_text_release(&prediction);
    wn_free(references);
    wn_free(texts);
#define X(name) scores.name.precision, scores.name.recall, scores.name.f,
    return cJSON_CreateDoubleArray((double[]){WN_ROUGE_LIST(X)}, 12);
#undef X
}

/* Words, counts and score of one text. */
static void bleu_of(const cJSON *item, struct wn_words *words, double *counts)
{
    enum wn_bleu_tokenizer tokenizer = wn_bleu_tokenizer_find(text_of(item, "tokenizer"));
    int count;
    struct wn_chars *texts = references_of(item, &count);
    struct wn_words *references = wn_alloc_zero(count, sizeof(*references));

    wn_bleu_tokenize(tokenizer, chars_of(item, "prediction"), words);
    for (int i = 0; i < count; i++)
        wn_bleu_tokenize(tokenizer, texts[i], &references[i]);
    wn_bleu_count(references, count, words, counts);
    for (int i = 0; i < count; i++)
        wn_words_release(&references[i]);
    wn_free(references);
    wn_free(texts);
}

static void chrf_of(const cJSON *item, double *counts)
{
    struct wn_chrf_text prediction;
    int count;
    struct wn_chars *texts = references_of(item, &count);
    struct wn_chrf_text *references = wn_alloc(count, sizeof(*references));

    for (int i = 0; i < count; i++)
        wn_chrf_text_init(&references[i], texts[i]);
    wn_chrf_text_init(&prediction, chars_of(item, "prediction"));
    wn_chrf_count(references, count, &prediction, counts);
    for (int i = 0; i < count; i++)
        wn_chrf_text_release(&references[i]);
    wn_chrf_text_release(&prediction);
    wn_free(references);
    wn_free(texts);
}

static cJSON *do_bleu(const cJSON *item)
{
    struct wn_words words = {0};
    double counts[WN_BLEU_COUNTS];
    cJSON *json = cJSON_CreateArray();

    bleu_of(item, &words, counts);
    cJSON_AddItemToArray(json, new_words(&words));
    cJSON_AddItemToArray(json, cJSON_CreateDoubleArray(counts, WN_BLEU_COUNTS));
    cJSON_AddItemToArray(json, cJSON_CreateNumber(wn_bleu(counts, true, NULL)));
    return json;
}

static cJSON *do_chrf(const cJSON *item)
{
    double counts[WN_CHRF_COUNTS];
    cJSON *json = cJSON_CreateArray();

    chrf_of(item, counts);
    cJSON_AddItemToArray(json, cJSON_CreateDoubleArray(counts, WN_CHRF_COUNTS));
    cJSON_AddItemToArray(json, cJSON_CreateNumber(wn_chrf(counts, NULL)));
    return json;
}

/* BLEU and chrF++ of several texts together. */
static cJSON *do_corpus(const cJSON *item)
{
    double bleu[WN_BLEU_COUNTS] = {0}, chrf[WN_CHRF_COUNTS] = {0}, one[WN_CHRF_COUNTS];
    const cJSON *text;

    cJSON_ArrayForEach (text, cJSON_GetObjectItem(item, "texts")) {
        struct wn_words words = {0};
        bleu_of(text, &words, one);
        for (int c = 0; c < WN_BLEU_COUNTS; c++)
            bleu[c] += one[c];
        chrf_of(text, one);
        for (int c = 0; c < WN_CHRF_COUNTS; c++)
            chrf[c] += one[c];
        wn_words_release(&words);
    }
    return cJSON_CreateDoubleArray((double[]){wn_bleu(bleu, false, NULL), wn_chrf(chrf, NULL)}, 2);
}

static cJSON *do_repetition(const cJSON *item)
{
    struct wn_words words = {0};
    const struct wn_words *list = &words;

    wn_words_split(chars_of(item, "text"), &words);
    int64_t count = words.count;
    int32_t *ids = wn_alloc(count, sizeof(*ids));
    wn_words_number(&list, 1, &ids);
    cJSON *json = cJSON_CreateDoubleArray((double[]){wn_repetition(ids, count, 1), wn_repetition(ids, count, 2),
                                                     wn_repetition(ids, count, 3), wn_repetition(ids, count, 4),
                                                     wn_distinct(ids, count, 1), wn_distinct(ids, count, 2),
                                                     (double)wn_repeated_suffix(ids, count)},
                                          7);
    wn_free(ids);
    wn_words_release(&words);
    return json;
}

static cJSON *do_extraction(const cJSON *item)
{
    struct wn_words source = {0}, summary = {0};
    const struct wn_words *lists[] = {&source, &summary};
    struct wn_extraction scores;

    wn_words_rouge(chars_of(item, "source"), false, &source);
    wn_words_rouge(chars_of(item, "summary"), false, &summary);
    int64_t n = source.count, m = summary.count;
    int32_t *ids[] = {wn_alloc(n, sizeof(int32_t)), wn_alloc(m, sizeof(int32_t))};
    wn_words_number(lists, 2, ids);
    wn_extraction_score(ids[0], n, ids[1], m, &scores);
    cJSON *json = cJSON_CreateDoubleArray(
        (double[]){scores.coverage, scores.density, scores.compression, wn_novelty(ids[0], n, ids[1], m, 1),
                   wn_novelty(ids[0], n, ids[1], m, 2), wn_novelty(ids[0], n, ids[1], m, 3)},
        6);
    wn_free(ids[0]);
    wn_free(ids[1]);
    wn_words_release(&source);
    wn_words_release(&summary);
    return json;
}

static cJSON *do_check(const cJSON *item)
{
    static const char *const names[] = {"max_words", "min_words", "regex", "equals", "sentence_end", "not_empty"};
    struct wn_check check = {.words = number_of(item, "words")};
    bool passes = false;

    while (strcmp(names[check.kind], text_of(item, "check")) != 0)
        check.kind++;
    if (check.kind == WN_CHECK_REGEX)
        CHECK_OK(wn_regex_compile("case", text_of(item, "pattern"), &check.regex));
    if (check.kind == WN_CHECK_EQUALS)
        check.text = wn_strdup(text_of(item, "value"));
    CHECK_OK(wn_check_apply(&check, chars_of(item, "text"), &passes));
    wn_check_release(&check);
    return cJSON_CreateBool(passes);
}

static cJSON *do_instruction(const cJSON *item)
{
    struct wn_check check = {.kind = WN_CHECK_INSTRUCTION};
    struct wn_instruction *instruction = &check.instruction;
    const cJSON *relation = cJSON_GetObjectItem(item, "relation"), *text;
    bool passes = false;

    instruction->number = cJSON_HasObjectItem(item, "number") ? number_of(item, "number") : -1;
    instruction->nth = number_of(item, "nth");
    instruction->less = relation && strcmp(relation->valuestring, "less than") == 0;
    cJSON_ArrayForEach (text, cJSON_GetObjectItem(item, "texts")) {
        instruction->texts = wn_resize(instruction->texts, instruction->n_texts + 1, sizeof(*instruction->texts));
        instruction->texts[instruction->n_texts++] = wn_strdup(text->valuestring);
    }
    CHECK_OK(wn_instruction_init(instruction, "case", text_of(item, "id")));
    CHECK_OK(wn_check_apply(&check, chars_of(item, "text"), &passes));
    wn_check_release(&check);
    return cJSON_CreateBool(passes);
}

static const struct {
    const char *name;
    cJSON *(*compute)(const cJSON *item);
} kinds[] = {
    {"lower", do_lower},
    {"trim", do_trim},
    {"split", do_split},
    {"rouge_words", do_rouge_words},
    {"stem", do_stem},
    {"replace", do_replace},
    {"filter", do_filter},
    {"normalize", do_normalize},
    {"answers", do_answers},
    {"rouge", do_rouge},
    {"repetition", do_repetition},
    {"extraction", do_extraction},
    {"check", do_check},
    {"bleu", do_bleu},
    {"chrf", do_chrf},
    {"corpus", do_corpus},
    {"instruction", do_instruction},
};

static cJSON *compute(const cJSON *item)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        if (strcmp(kinds[i].name, text_of(item, "kind")) == 0)
            return kinds[i].compute(item);
    WN_BUG("no case is called \"%s\"", text_of(item, "kind"));
}

/* ---- comparing ---- */

/* Numbers within 1e-12, all else equal; an expected error is {"error": part of the message}. */
static bool matches(const cJSON *got, const cJSON *expected)
{
    const cJSON *part = cJSON_GetObjectItem(expected, "error");

    if (part)
        return cJSON_IsObject(got) && strstr(text_of(got, "error"), part->valuestring);
    if (cJSON_IsNumber(expected))
        return cJSON_IsNumber(got) && fabs(got->valuedouble - expected->valuedouble) <= 1e-12;
    if (!cJSON_IsArray(expected))
        return cJSON_Compare(got, expected, true);
    if (!cJSON_IsArray(got) || cJSON_GetArraySize(got) != cJSON_GetArraySize(expected))
        return false;
    for (const cJSON *a = got->child, *b = expected->child; a && b; a = a->next, b = b->next)
        if (!matches(a, b))
            return false;
    return true;
}

static void compare(const cJSON *item, int line)
{
    cJSON *got = compute(item);

    if (!matches(got, cJSON_GetObjectItem(item, "expected"))) {
        char *asked = cJSON_PrintUnformatted(item), *answer = cJSON_PrintUnformatted(got);
        test_failures++;
        fprintf(stderr, "golden.jsonl:%d: %s gives %s\n", line, asked, answer);
        cJSON_free(asked);
        cJSON_free(answer);
    }
    cJSON_Delete(got);
}

static void print(const cJSON *item)
{
    cJSON *got = compute(item);
    char *line = cJSON_PrintUnformatted(got);

    printf("%s\n", line);
    cJSON_free(line);
    cJSON_Delete(got);
}

int main(int argc, char **argv)
{
    char *path = argc > 1 ? wn_strdup(argv[1]) : test_path("tests/text/golden.jsonl"), *line = NULL;
    size_t capacity = 0;
    int number = 0;
    FILE *file = fopen(path, "r");

    CHECK(file != NULL);
    while (file && getline(&line, &capacity, file) > 0) {
        cJSON *item = cJSON_Parse(line);
        number++;
        CHECK(item != NULL);
        if (argc > 1)
            print(item);
        else
            compare(item, number);
        cJSON_Delete(item);
    }
    CHECK(number > 0);
    free(line);
    if (file)
        fclose(file);
    wn_free(path);
    return test_finish();
}
