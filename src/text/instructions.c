/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The verifiable instructions of IFEval (Zhou et al. 2023, "Instruction-Following Evaluation for Large Language
 * Models"), each a function of an answer. Sentences, words in capitals and languages are found by rules of our own,
 * where the authors ask nltk and langdetect.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* memmem */
#endif
#include "text_impl.h"

/* By the text, or by how many matches each pattern has in it. */
typedef bool follows_t(const struct wn_instruction *instruction, struct wn_chars text);
typedef bool agrees_t(const struct wn_instruction *instruction, const int64_t *counts);

/* ---- parts of texts ---- */

static bool compares(const struct wn_instruction *instruction, int64_t count)
{
    return instruction->less ? count < instruction->number : count >= instruction->number;
}

/* The piece in front of `mark`, which *rest moves behind; the last piece leaves *more false. */
static struct wn_chars next_piece(struct wn_chars *rest, const char *mark, bool *more)
{
    size_t length = strlen(mark);
    const char *found = memmem(rest->data, rest->length, mark, length);
    struct wn_chars piece = {rest->data, found ? (size_t)(found - rest->data) : rest->length};

    *more = found != NULL;
    *rest = (struct wn_chars){rest->data + piece.length + (found ? length : 0),
                              rest->length - piece.length - (found ? length : 0)};
    return piece;
}

static bool is_blank(struct wn_chars text)
{
    return wn_trim(text).length == 0;
}

static struct wn_chars without_front(struct wn_chars text, const char *front)
{
    size_t length = strlen(front);

    if (text.length < length || memcmp(text.data, front, length) != 0)
        return text;
    return (struct wn_chars){text.data + length, text.length - length};
}

static struct wn_chars without_ends(struct wn_chars text, char front, char back)
{
    while (text.length > 0 && text.data[0] == front)
        text = (struct wn_chars){text.data + 1, text.length - 1};
    while (text.length > 0 && text.data[text.length - 1] == back)
        text.length--;
    return text;
}

static bool starts_with(struct wn_chars text, struct wn_chars front)
{
    return text.length >= front.length && memcmp(text.data, front.data, front.length) == 0;
}

/* ---- keywords and letters ---- */

static bool agrees_every(const struct wn_instruction *instruction, const int64_t *counts)
{
    for (int64_t i = 0; i < instruction->n_regexes; i++)
        if (counts[i] == 0)
            return false;
    return true;
}

static bool agrees_none(const struct wn_instruction *instruction, const int64_t *counts)
{
    for (int64_t i = 0; i < instruction->n_regexes; i++)
        if (counts[i] > 0)
            return false;
    return true;
}

static bool agrees_count(const struct wn_instruction *instruction, const int64_t *counts)
{
    return compares(instruction, counts[0]);
}

static bool follows_letter(const struct wn_instruction *instruction, struct wn_chars text)
{
    struct wn_text lower = {0}, letter = {0};
    int64_t count = 0;

    wn_lower(text, &lower);
    wn_lower(wn_chars_of(instruction->texts[0]), &letter);
    struct wn_chars rest = text_chars(&lower);
    for (bool more = true; more; count += more)
        next_piece(&rest, letter.data, &more);
    wn_text_release(&lower);
    wn_text_release(&letter);
    return compares(instruction, count);
}

static bool follows_no_comma(const struct wn_instruction *instruction, struct wn_chars text)
{
    (void)instruction;
    return !text_contains(text, wn_chars_of(","));
}

/* ---- lengths ---- */

static bool follows_sentences(const struct wn_instruction *instruction, struct wn_chars text)
{
    return compares(instruction, wn_count_sentences(text));
}

/* Parted by ***; a blank one counts at neither end and must not stand between. */
static bool follows_paragraphs(const struct wn_instruction *instruction, struct wn_chars text)
{
    int64_t count = 0;

    for (bool more = true, first = true; more; first = false) {
        bool blank = is_blank(next_piece(&text, "***", &more));
        if (blank && !first && more)
            return false;
        count += !blank;
    }
    return count == instruction->number;
}

/* In front of its first stop, comma, mark or quote, but for quotes it begins with. */
static bool begins_with_word(struct wn_chars paragraph, const char *wanted)
{
    struct wn_chars word = wn_chars_of("");
    struct wn_text lower = {0}, lower_wanted = {0};
    size_t length = 0;

    wn_next_word(&paragraph, &word);
    word = without_ends(without_ends(word, '\'', '\0'), '"', '\0');
    while (length < word.length && !strchr(".,?!'\"", word.data[length]))
        length++;
    wn_lower((struct wn_chars){word.data, length}, &lower);
    wn_lower(wn_chars_of(wanted), &lower_wanted);
    bool same = text_equal(text_chars(&lower), text_chars(&lower_wanted));
    wn_text_release(&lower);
    wn_text_release(&lower_wanted);
    return same;
}

static bool follows_first_word(const struct wn_instruction *instruction, struct wn_chars text)
{
    int64_t count = 0, place = 0;
    struct wn_chars found = {0};

    for (bool more = true; more; place++) {
        struct wn_chars paragraph = next_piece(&text, "\n\n", &more);
        count += !is_blank(paragraph);
        if (place == instruction->nth - 1)
            found = paragraph;
    }
    return instruction->nth <= count && count == instruction->number && !is_blank(found) &&
           begins_with_word(found, instruction->texts[0]);
}

/* ---- content and format ---- */

static bool is_marked(struct wn_chars text, size_t at, size_t stars)
{
    return text.length - at >= stars && memcmp(text.data + at, "**", stars) == 0;
}

/* Parts of a line that are not blank between `stars` asterisks. */
static int64_t count_highlights(struct wn_chars text, size_t stars)
{
    int64_t count = 0;

    for (size_t at = 0; at + stars <= text.length;) {
        size_t end = at + stars;
        if (!is_marked(text, at, stars)) {
            at++;
            continue;
        }
        while (end < text.length && text.data[end] != '*' && text.data[end] != '\n')
            end++;
        if (end >= text.length || !is_marked(text, end, stars)) {
            at++;
            continue;
        }
        count += !is_blank((struct wn_chars){text.data + at + stars, end - at - stars});
        at = end + stars;
    }
    return count;
}

static bool follows_highlights(const struct wn_instruction *instruction, struct wn_chars text)
{
    return count_highlights(text, 1) + count_highlights(text, 2) >= instruction->number;
}

/* All patterns together, exactly. */
static bool agrees_sum(const struct wn_instruction *instruction, const int64_t *counts)
{
    int64_t sum = 0;

    for (int64_t i = 0; i < instruction->n_regexes; i++)
        sum += counts[i];
    return sum == instruction->number;
}

static bool follows_constrained(const struct wn_instruction *instruction, struct wn_chars text)
{
    static const char *const options[] = {"My answer is yes.", "My answer is no.", "My answer is maybe."};

    (void)instruction;
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (text_contains(text, wn_chars_of(options[i])))
            return true;
    return false;
}

static bool follows_json(const struct wn_instruction *instruction, struct wn_chars text)
{
    static const char *const fences[] = {"```json", "```Json", "```JSON", "```"};

    (void)instruction;
    text = wn_trim(text);
    for (size_t i = 0; i < sizeof(fences) / sizeof(fences[0]); i++)
        text = without_front(text, fences[i]);
    if (text.length >= 3 && memcmp(text.data + text.length - 3, "```", 3) == 0)
        text.length -= 3;
    return text_is_json(wn_trim(text));
}

/* Of a line, from its first << with something behind it to its last >>. */
static bool has_title(struct wn_chars line)
{
    const char *start = memmem(line.data, line.length, "<<", 2);
    size_t end = line.length;

    if (!start)
        return false;
    size_t first = (size_t)(start - line.data);
    while (end >= 2 && memcmp(line.data + end - 2, ">>", 2) != 0)
        end--;
    if (end < first + 5)
        return false;
    return !is_blank(without_ends((struct wn_chars){start, end - first}, '<', '>'));
}

static bool follows_title(const struct wn_instruction *instruction, struct wn_chars text)
{
    (void)instruction;
    for (bool more = true; more;)
        if (has_title(next_piece(&text, "\n", &more)))
            return true;
    return false;
}

/* ---- combinations, beginning and end ---- */

static bool follows_two_responses(const struct wn_instruction *instruction, struct wn_chars text)
{
    struct wn_chars responses[2] = {{0}};
    int64_t count = 0;

    (void)instruction;
    for (bool more = true, first = true; more; first = false) {
        struct wn_chars piece = wn_trim(next_piece(&text, "******", &more));
        if (piece.length == 0) {
            if (!first && more)
                return false;
            continue;
        }
        if (count < 2)
            responses[count] = piece;
        count++;
    }
    return count == 2 && !text_equal(responses[0], responses[1]);
}

static bool follows_repeat(const struct wn_instruction *instruction, struct wn_chars text)
{
    struct wn_text lower = {0}, wanted = {0};

    wn_lower(wn_trim(text), &lower);
    wn_lower(wn_trim(wn_chars_of(instruction->texts[0])), &wanted);
    bool same = starts_with(text_chars(&lower), text_chars(&wanted));
    wn_text_release(&lower);
    wn_text_release(&wanted);
    return same;
}

static bool follows_end(const struct wn_instruction *instruction, struct wn_chars text)
{
    struct wn_text lower = {0}, wanted = {0};

    wn_lower(without_ends(wn_trim(text), '"', '"'), &lower);
    wn_lower(wn_trim(wn_chars_of(instruction->texts[0])), &wanted);
    bool same = lower.length >= wanted.length &&
                memcmp(lower.data + lower.length - wanted.length, wanted.data, wanted.length) == 0;
    wn_text_release(&lower);
    wn_text_release(&wanted);
    return same;
}

static bool follows_quotation(const struct wn_instruction *instruction, struct wn_chars text)
{
    (void)instruction;
    text = wn_trim(text);
    return text.length > 1 && text.data[0] == '"' && text.data[text.length - 1] == '"';
}

/* ---- language and case ---- */

static bool is_language(struct wn_chars text, const char *code)
{
    const char *found = wn_language_of(text);

    return !found || !strcmp(found, code); /* a text without letters is in any language */
}

static bool follows_language(const struct wn_instruction *instruction, struct wn_chars text)
{
    return is_language(text, instruction->texts[0]);
}

static bool follows_capital(const struct wn_instruction *instruction, struct wn_chars text)
{
    int64_t upper, lower;

    (void)instruction;
    text_count_cases(text, &upper, &lower);
    return upper > 0 && lower == 0 && is_language(text, "en");
}

static bool follows_lowercase(const struct wn_instruction *instruction, struct wn_chars text)
{
    int64_t upper, lower;

    (void)instruction;
    text_count_cases(text, &upper, &lower);
    return upper == 0 && lower > 0 && is_language(text, "en");
}

static bool is_capital(struct wn_chars word)
{
    int64_t upper, lower;

    text_count_cases(word, &upper, &lower);
    return upper > 0 && lower == 0;
}

/* A word of Penn Treebank's rules ends with its contraction, which is a word, too ('S, N'T). */
static int64_t count_contracted(struct wn_chars word)
{
    static const char *const endings[] = {"'S", "'M", "'D", "'LL", "'RE", "'VE", "N'T"};

    for (size_t i = 0; i < sizeof(endings) / sizeof(endings[0]); i++) {
        size_t length = strlen(endings[i]);
        if (word.length > length && memcmp(word.data + word.length - length, endings[i], length) == 0)
            return is_capital((struct wn_chars){word.data, word.length - length}) + 1;
    }
    return is_capital(word);
}

/* Words in capitals among what stands between white space and punctuation, but for stops, hyphens and apostrophes. */
static bool follows_capital_words(const struct wn_instruction *instruction, struct wn_chars text)
{
    int64_t count = 0;
    size_t start = 0;

    for (size_t at = 0; at <= text.length; at++) {
        bool inside = at < text.length && !strchr("[]();{}<>@#$%&?!\",: \t\r\n\v\f", text.data[at]);
        if (inside && text.data[at])
            continue;
        if (at > start)
            count += count_contracted((struct wn_chars){text.data + start, at - start});
        start = at + 1;
    }
    return compares(instruction, count);
}

/* ---- table ---- */

/* What of an instruction is given, and the patterns that its texts become: %s is a text. */
struct row {
    const char *id;
    bool number, relation, nth, text, texts;
    bool lower; /* patterns are searched for in the text in lower case */
    follows_t *follows;
    agrees_t *agrees; /* where there are patterns */
    const char *patterns[2];
};

static const struct row rows[] = {
    {"keywords:existence", .texts = true, .agrees = agrees_every, .patterns = {"(?i)%s"}},
    {"keywords:frequency", .number = true, .relation = true, .text = true, .agrees = agrees_count, {"(?i)%s"}},
    {"keywords:forbidden_words", .texts = true, .agrees = agrees_none, .patterns = {"(?i)\\b%s\\b"}},
    {"keywords:letter_frequency", .number = true, .relation = true, .text = true, .follows = follows_letter},
    {"language:response_language", .text = true, .follows = follows_language},
    {"length_constraints:number_sentences", .number = true, .relation = true, .follows = follows_sentences},
    {"length_constraints:number_paragraphs", .number = true, .follows = follows_paragraphs},
    {"length_constraints:number_words", .number = true, .relation = true, .agrees = agrees_count, {"\\w+"}},
    {"length_constraints:nth_paragraph_first_word", .number = true, .nth = true, .text = true,
     .follows = follows_first_word},
    {"detectable_content:number_placeholders", .number = true, .agrees = agrees_count, .patterns = {"\\[.*?\\]"}},
    {"detectable_content:postscript", .text = true, .lower = true, .agrees = agrees_every},
    {"detectable_format:number_bullet_lists", .number = true, .agrees = agrees_sum,
     .patterns = {"(?m)^\\s*\\*[^\\*].*$", "(?m)^\\s*-.*$"}},
    {"detectable_format:constrained_response", .follows = follows_constrained},
    {"detectable_format:number_highlighted_sections", .number = true, .follows = follows_highlights},
    {"detectable_format:multiple_sections", .number = true, .text = true, .agrees = agrees_count,
     .patterns = {"\\s?%s\\s?\\d+\\s?"}},
    {"detectable_format:json_format", .follows = follows_json},
    {"detectable_format:title", .follows = follows_title},
    {"combination:two_responses", .follows = follows_two_responses},
    {"combination:repeat_prompt", .text = true, .follows = follows_repeat},
    {"startend:end_checker", .text = true, .follows = follows_end},
    {"startend:quotation", .follows = follows_quotation},
    {"change_case:capital_word_frequency", .number = true, .relation = true, .follows = follows_capital_words},
    {"change_case:english_capital", .follows = follows_capital},
    {"change_case:english_lowercase", .follows = follows_lowercase},
    {"punctuation:no_comma", .follows = follows_no_comma},
};

static const struct row *find_row(const char *id)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (!strcmp(rows[i].id, id))
            return &rows[i];
    return NULL;
}

/* The first postscripts have patterns of their own; a marker is searched for as it is. */
static const char *postscript_pattern(const char *marker)
{
    if (!strcmp(marker, "P.P.S"))
        return "(?m)\\s*p\\.\\s?p\\.\\s?s.*$";
    return !strcmp(marker, "P.S.") ? "(?m)\\s*p\\.\\s?s\\..*$" : NULL;
}

static wn_status add_pattern(const char *where, const char *pattern, const char *text,
                             struct wn_instruction *instruction)
{
    const char *place = strstr(pattern, "%s");
    char *whole = place ? wn_format("%.*s%s%s", (int)(place - pattern), pattern, text, place + 2) : wn_strdup(pattern);
    struct wn_regex *regex;
    wn_status status = wn_regex_compile(where, whole, &regex);

    wn_free(whole);
    if (status != WN_OK)
        return status;
    instruction->regexes = wn_resize(instruction->regexes, instruction->n_regexes + 1, sizeof(*instruction->regexes));
    instruction->regexes[instruction->n_regexes++] = regex;
    return WN_OK;
}

static wn_status add_patterns(const char *where, const struct row *row, struct wn_instruction *instruction)
{
    if (row->lower) {
        const char *known = postscript_pattern(instruction->texts[0]);
        struct wn_text lower = {0};
        wn_lower(wn_chars_of(instruction->texts[0]), &lower);
        wn_status status = add_pattern(where, known ? known : "(?m)\\s*%s.*$", lower.data, instruction);
        wn_text_release(&lower);
        return status;
    }
    for (int p = 0; p < 2 && row->patterns[p]; p++) {
        bool of_text = strstr(row->patterns[p], "%s") != NULL;
        for (int64_t i = 0; i < (of_text ? instruction->n_texts : 1); i++)
            WN_TRY(add_pattern(where, row->patterns[p], of_text ? instruction->texts[i] : "", instruction));
    }
    return WN_OK;
}

static wn_status check_given(const char *where, const struct row *row, const struct wn_instruction *given)
{
    if (row->number != (given->number >= 0))
        return wn_fail(WN_ERR_INPUT, "%s: \"%s\" %s a \"number\"", where, row->id, row->number ? "needs" : "has not");
    if (row->nth != (given->nth > 0))
        return wn_fail(WN_ERR_INPUT, "%s: \"%s\" %s \"nth\"", where, row->id, row->nth ? "needs" : "has not");
    if (given->less && !row->relation)
        return wn_fail(WN_ERR_INPUT, "%s: \"%s\" has no \"relation\"", where, row->id);
    if (row->texts ? given->n_texts == 0 : given->n_texts != row->text)
        return wn_fail(WN_ERR_INPUT, "%s: \"%s\" needs %s", where, row->id,
                       row->texts  ? "\"texts\""
                       : row->text ? "one entry in \"texts\""
                                   : "no \"texts\"");
    if (row->follows == follows_language && !wn_language_known(given->texts[0]))
        return wn_fail(WN_ERR_INPUT, "%s: no language \"%s\" is known", where, given->texts[0]);
    return WN_OK;
}

wn_status wn_instruction_init(struct wn_instruction *instruction, const char *where, const char *id)
{
    const struct row *row = find_row(id);

    if (!row)
        return wn_fail(WN_ERR_INPUT, "%s: no instruction is called \"%s\"", where, id);
    instruction->row = (int)(row - rows);
    WN_TRY(check_given(where, row, instruction));
    return add_patterns(where, row, instruction);
}

void wn_instruction_release(struct wn_instruction *instruction)
{
    for (int64_t i = 0; i < instruction->n_regexes; i++)
        wn_regex_free(&instruction->regexes[i]);
    for (int64_t i = 0; i < instruction->n_texts; i++)
        wn_free(instruction->texts[i]);
    wn_free(instruction->regexes);
    wn_free(instruction->texts);
    *instruction = (struct wn_instruction){0};
}

static wn_status count_patterns(const struct wn_instruction *instruction, struct wn_chars text, int64_t *counts)
{
    for (int64_t i = 0; i < instruction->n_regexes; i++)
        WN_TRY(text_count_matches(instruction->regexes[i], text, &counts[i]));
    return WN_OK;
}

wn_status wn_instruction_followed(const struct wn_instruction *instruction, struct wn_chars text, bool *followed)
{
    const struct row *row = &rows[instruction->row];
    struct wn_text lower = {0};

    *followed = false;
    if (is_blank(text))
        return WN_OK;
    if (row->follows) {
        *followed = row->follows(instruction, text);
        return WN_OK;
    }
    int64_t *counts = wn_alloc(instruction->n_regexes, sizeof *counts);
    if (row->lower)
        wn_lower(text, &lower);
    wn_status status = count_patterns(instruction, row->lower ? text_chars(&lower) : text, counts);
    *followed = status == WN_OK && row->agrees(instruction, counts);
    wn_text_release(&lower);
    wn_free(counts);
    return status;
}
