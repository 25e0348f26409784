/* SPDX-License-Identifier: Apache-2.0 */
/* Scores of generated text: what a golden file cannot hold: NUL, invalid UTF-8, bad patterns, long texts, bounds. */
#include "test.h"

#include <winnow/text.h>

/* A text with NUL inside. */
#define BYTES(literal) ((struct wn_chars){literal, sizeof(literal) - 1})

static bool equal(struct wn_chars a, struct wn_chars b)
{
    return a.length == b.length && memcmp(a.data, b.data, a.length) == 0;
}

static void test_characters(void)
{
    struct wn_text out = {0};
    struct wn_chars nothing = {NULL, 0}, rest, word;

    wn_lower(BYTES("A\0B\xFF\xC3"), &out); /* a byte that is no UTF-8 stays */
    CHECK(equal((struct wn_chars){out.data, out.length}, BYTES("a\0b\xFF\xC3")));
    out.length = 0;
    wn_lower(nothing, &out);
    CHECK(out.length == 0);
    wn_text_release(&out);

    CHECK(equal(wn_trim(BYTES(" \xE3\x80\x80\0 ")), BYTES("\0")));
    CHECK(equal(wn_trim(BYTES("\xA0x\x80 ")), BYTES("\xA0x\x80")));
    CHECK(wn_trim(nothing).length == 0);
    rest = BYTES(" a\0b  c ");
    CHECK(wn_next_word(&rest, &word) && equal(word, BYTES("a\0b")));
    CHECK(wn_next_word(&rest, &word) && equal(word, BYTES("c")));
    CHECK(!wn_next_word(&rest, &word));
    CHECK(!wn_next_word(&nothing, &word));
}

/* Nothing here takes quadratic time. */
static void test_long_texts(void)
{
    int64_t count = 200000;
    struct wn_text text = {0}, out = {0};
    int32_t *ids = wn_alloc(count, sizeof(*ids));

    for (int64_t i = 0; i < count; i++) {
        wn_text_append(&text, "a ", 2);
        ids[i] = (int32_t)(i % 3);
    }
    wn_lower((struct wn_chars){text.data, text.length}, &out);
    CHECK_TEXT(out.data, text.data);
    CHECK(wn_repeated_suffix(ids, count) == count - 3);
    CHECK_NEAR(wn_repetition(ids, count, 4), 1.0 - 3.0 / (double)(count - 3), 1e-15);
    wn_free(ids);
    wn_text_release(&text);
    wn_text_release(&out);
}

static void check_pattern(const char *pattern, wn_status status, const char *message)
{
    struct wn_regex *regex;

    CHECK(wn_regex_compile("tasks/a.jsonl:3: filter", pattern, &regex) == status);
    CHECK(regex == NULL);
    CHECK_MESSAGE(message);
    CHECK_MESSAGE("tasks/a.jsonl:3: filter: the regular expression");
}

static void test_bad_patterns(void)
{
    char nested[403];

    check_pattern("a**", WN_ERR_INPUT, "a repetition of a repetition at offset 2");
    check_pattern("*", WN_ERR_INPUT, "nothing to repeat at offset 0");
    check_pattern("(a", WN_ERR_INPUT, "parenthesis");
    check_pattern("[a", WN_ERR_INPUT, "not closed");
    check_pattern("[a-", WN_ERR_INPUT, "not closed");
    check_pattern("\\", WN_ERR_INPUT, "a backslash at the end");
    check_pattern("\\p{L}", WN_ERR_INPUT, "a bad escape");
    check_pattern("\\u12", WN_ERR_INPUT, "too few hexadecimal digits");
    check_pattern("\\400", WN_ERR_INPUT, "above 377");
    check_pattern("(\\1)", WN_ERR_INPUT, "still open");
    check_pattern("(?#a", WN_ERR_INPUT, "comment");
    check_pattern("(?(1", WN_ERR_INPUT, "condition");
    check_pattern("a(?i)b", WN_ERR_INPUT, "do not stand at its start");
    check_pattern("\\N{DIGIT ONE}", WN_ERR_UNSUPPORTED, "\\N is not supported");
    check_pattern("(?x) a", WN_ERR_UNSUPPORTED, "flags a, L and x");
    check_pattern("\xFF", WN_ERR_INPUT, "UTF-8");
    memset(nested, '(', 201);
    memset(nested + 201, ')', 201);
    nested[402] = '\0';
    check_pattern(nested, WN_ERR_INPUT, "nested too deeply");
}

static void test_matching(void)
{
    struct wn_regex *regex;
    struct wn_text out = {0}, hostile = {0};
    struct wn_chars piece;
    bool found;

    CHECK_OK(wn_regex_compile("x", "b|(\\0)", &regex));
    CHECK(wn_regex_groups(regex) == 1);
    CHECK_OK(wn_regex_replace(regex, BYTES("a\0b"), "--", &out));
    CHECK_TEXT(out.data, "a----");
    CHECK_OK(wn_regex_pick(regex, BYTES("\0b"), 0, true, &found, &piece));
    CHECK(found && piece.length == 0); /* findall gives the group, which took no part */
    CHECK(wn_regex_search(regex, BYTES("\xC3"), &found) == WN_ERR_INPUT);
    CHECK_MESSAGE("gives up on a text of 1 bytes: UTF-8");
    CHECK(wn_regex_replace(regex, BYTES("b\xFFz"), "", &out) == WN_ERR_INPUT);
    CHECK_TEXT(out.data, "a----"); /* as before the failure */
    wn_regex_free(&regex);
    wn_regex_free(&regex);

    CHECK_OK(wn_regex_compile("x", "^", &regex));
    CHECK_OK(wn_regex_replace(regex, (struct wn_chars){NULL, 0}, "<", &out));
    CHECK_TEXT(out.data, "a----<");
    wn_regex_free(&regex);

    CHECK_OK(wn_regex_compile("x", "(a+)+$", &regex));
    for (int i = 0; i < 40; i++)
        wn_text_append(&hostile, "a", 1);
    wn_text_append(&hostile, "!", 1);
    CHECK(wn_regex_search(regex, (struct wn_chars){hostile.data, hostile.length}, &found) == WN_ERR_INPUT);
    CHECK_MESSAGE("match limit");
    wn_regex_free(&regex);
    wn_text_release(&out);
    wn_text_release(&hostile);
}

static void test_filters(void)
{
    struct wn_filter filter;
    struct wn_chars piece;

    CHECK(wn_filter_init_regex(&filter, "here", "(a)", 2, false) == WN_ERR_INPUT);
    CHECK_MESSAGE("here: group 2 of the regular expression \"(a)\", which has 1");
    CHECK(wn_filter_init_regex(&filter, "here", "(a", 0, false) == WN_ERR_INPUT);
    CHECK_OK(wn_filter_init_regex(&filter, "here", "(a)(b)?", 2, false));
    CHECK_OK(wn_filter_apply(&filter, BYTES("xab"), &piece));
    CHECK(equal(piece, BYTES("b")));
    CHECK_OK(wn_filter_apply(&filter, BYTES("xb"), &piece));
    CHECK(equal(piece, BYTES("[invalid]")));
    wn_filter_release(&filter);
    filter = (struct wn_filter){.kind = WN_FILTER_FIRST_LINE};
    CHECK_OK(wn_filter_apply(&filter, (struct wn_chars){NULL, 0}, &piece));
    CHECK(piece.length == 0);
}

/* An empty answer is never right by containment, and text with NUL is compared to its end. */
static void test_answers(void)
{
    struct wn_normalizer squad, harness;
    struct wn_references references;
    struct wn_answer_scores scores;
    struct wn_chars texts[] = {BYTES("the"), BYTES("Paris\0!")};

    CHECK(wn_normalization_find("triviaqa") == WN_NORMALIZE_TRIVIAQA);
    CHECK(wn_normalization_find("SQuAD") == WN_NORMALIZATIONS);
    wn_normalizer_init(&squad, WN_NORMALIZE_SQUAD);
    CHECK_OK(wn_references_init(&references, &squad, texts, 2));
    CHECK_OK(wn_references_score(&references, &squad, BYTES("..."), &scores));
    CHECK(scores.exact_match == 1.0 && scores.f1 == 1.0); /* equal to the reference that is an article */
    CHECK(scores.em_relaxed == 0.0 && scores.contains == 0.0);
    CHECK_OK(wn_references_score(&references, &squad, BYTES("paris"), &scores));
    CHECK(scores.exact_match == 0.0 && scores.em_relaxed == 1.0 && scores.contains == 0.0);
    CHECK_OK(wn_references_score(&references, &squad, BYTES("In paris\0!"), &scores));
    CHECK(scores.contains == 1.0 && scores.f1 > 0.6 && scores.f1 < 0.7);
    wn_references_release(&references);

    wn_normalizer_init(&harness, WN_NORMALIZE_HARNESS);
    CHECK(wn_normalizer_ignore(&harness, "ignore", "[") == WN_ERR_INPUT);
    CHECK_OK(wn_normalizer_ignore(&harness, "ignore", "a"));
    texts[1] = BYTES("\xFF");
    CHECK(wn_references_init(&references, &harness, texts, 2) == WN_ERR_INPUT);
    CHECK(references.count == 0);
    CHECK_OK(wn_references_init(&references, &harness, texts, 1));
    CHECK(wn_references_score(&references, &harness, texts[1], &scores) == WN_ERR_INPUT);
    wn_references_release(&references);
    wn_normalizer_release(&squad);
    wn_normalizer_release(&harness);
}

static void test_numbers(void)
{
    const int32_t loop[] = {5, 7, 7, 7}, none[] = {0};
    struct wn_extraction scores;

    CHECK(wn_repetition(loop, 4, 1) == 0.5 && wn_repetition(loop, 4, 2) == 1.0 - 2.0 / 3.0);
    CHECK(wn_repetition(loop, 4, 5) == 0.0 && wn_repetition(none, 0, 1) == 0.0);
    CHECK(wn_distinct(loop, 4, 1) == 0.5 && wn_distinct(none, 0, 2) == 0.0);
    CHECK(wn_repeated_suffix(loop, 4) == 2 && wn_repeated_suffix(none, 0) == 0 && wn_repeated_suffix(loop, 1) == 0);
    wn_extraction_score(loop, 4, loop + 1, 2, &scores);
    CHECK(scores.coverage == 1.0 && scores.density == 2.0 && scores.compression == 2.0);
    wn_extraction_score(loop, 4, none, 0, &scores);
    CHECK(scores.coverage == 0.0 && scores.density == 0.0 && scores.compression == 0.0);
    CHECK(wn_novelty(loop, 4, loop, 4, 2) == 0.0 && wn_novelty(none, 0, loop, 4, 2) == 1.0);
}

/* Random bytes out of what means something to patterns and UTF-8; NUL at the end. */
static size_t random_bytes(char *bytes, size_t most, uint64_t stream)
{
    static const char alphabet[] = "aab01,-^$.|()()[]{}*+?\\\\?:=!<>P#isdwbSWZx \n\xC3\xA9\xCE\xA3\xFF";
    size_t length = wn_random_u64(1, stream, 0) % most;

    for (size_t i = 0; i < length; i++)
        bytes[i] = alphabet[wn_random_u64(1, stream, i + 1) % (sizeof(alphabet) - 1)];
    bytes[length] = '\0';
    return length;
}

/* Whatever comes in, valid or not, nothing reads or writes outside of it (for the sanitizers). */
static void test_random_bytes(void)
{
    char pattern[24], bytes[48];
    struct wn_normalizer normalizer;
    int64_t compiled = 0;

    wn_normalizer_init(&normalizer, WN_NORMALIZE_TRIVIAQA);
    for (uint64_t round = 0; round < 20000; round++) {
        struct wn_chars text = {bytes, random_bytes(bytes, sizeof(bytes), 2 * round)};
        struct wn_text out = {0};
        struct wn_rouge_text prepared;
        struct wn_rouge scores;
        struct wn_regex *regex;
        random_bytes(pattern, sizeof(pattern), 2 * round + 1);
        if (wn_regex_compile("x", pattern, &regex) == WN_OK) {
            compiled++;
            (void)wn_regex_replace(regex, text, "-", &out);
        }
        wn_regex_free(&regex);
        (void)wn_normalize(&normalizer, text, &out);
        wn_lower(text, &out);
        wn_text_release(&out);
        wn_rouge_text_init(&prepared, text, true);
        wn_rouge_score(&prepared, &prepared, &scores);
        CHECK(scores.rougeLsum.f == (prepared.words.count > 0 ? 1.0 : 0.0));
        wn_rouge_text_release(&prepared);
    }
    CHECK(compiled > 1000);
    wn_normalizer_release(&normalizer);
}

int main(void)
{
    test_random_bytes();
    test_characters();
    test_long_texts();
    test_bad_patterns();
    test_matching();
    test_filters();
    test_answers();
    test_numbers();
    return test_finish();
}
