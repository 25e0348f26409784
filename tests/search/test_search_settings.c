/* SPDX-License-Identifier: Apache-2.0 */
/* The section "search": presets, what overrides them, every mistake in one line, the help text. */
#include "test.h"

#include <winnow/io.h>
#include <winnow/search.h>

#include <cjson/cJSON.h>

static void read_section(const char *text, enum wn_space_kind kind, struct wn_search_settings *settings,
                         struct wn_problems *problems)
{
    cJSON *json = cJSON_Parse(text);

    wn_problems_init(problems);
    wn_search_settings_read("search.fast", json, kind, settings, problems);
    cJSON_Delete(json);
}

static void read_good(const char *text, enum wn_space_kind kind, struct wn_search_settings *settings)
{
    struct wn_problems problems;

    read_section(text, kind, settings, &problems);
    CHECK(problems.count == 0);
    for (int64_t i = 0; i < problems.count; i++)
        fprintf(stderr, "  %s\n", problems.lines[i]);
    wn_problems_release(&problems);
}

/* Exactly these lines, in this order. */
static void check_mistakes(const char *text, enum wn_space_kind kind, int64_t count, const char *const *lines)
{
    struct wn_search_settings settings;
    struct wn_problems problems;

    read_section(text, kind, &settings, &problems);
    CHECK(problems.count == count);
    for (int64_t i = 0; i < problems.count; i++)
        CHECK_TEXT(problems.lines[i], i < count ? lines[i] : "nothing");
    wn_problems_release(&problems);
    wn_search_settings_release(&settings);
}

static void check_mistake(const char *text, const char *line)
{
    check_mistakes(text, WN_SPACE_SPARSITY, 1, &line);
}

static bool same_list(int64_t count, const int64_t *a, const int64_t *b)
{
    return !memcmp(a, b, (size_t)count * sizeof *a);
}

static void check_presets(void)
{
    struct wn_search_settings s;

    read_good("{\"on\": \"general\"}", WN_SPACE_SPARSITY, &s);
    CHECK(s.generations == 400 && s.offspring == 64 && s.n_stages == 3 && s.seed == 0 && s.fitness == WN_FITNESS_kl);
    CHECK(same_list(3, s.survivors, (int64_t[]){8, 2, 1}) && same_list(3, s.tokens, (int64_t[]){2048, 16384, 65536}));
    CHECK(s.levels == 8 && s.step == 0 && !s.inverted && !strcmp(s.on, "general"));
    wn_search_settings_release(&s);
    read_good("{\"on\": \"general\"}", WN_SPACE_BITS, &s);
    CHECK(s.generations == 150 && s.offspring == 128 && s.initial == 32 && s.bits == WN_BITS_STANDARD);
    CHECK(same_list(3, s.survivors, (int64_t[]){16, 4, 1}) && same_list(3, s.tokens, (int64_t[]){2048, 16384, 131072}));
    wn_search_settings_release(&s);
    read_good("{\"on\": \"general\"}", WN_SPACE_DROP, &s);
    CHECK(s.generations == 0 && s.offspring == 32 && s.initial == 64 && s.initial_tokens == 2048 && s.n_stages == 2);
    CHECK(same_list(2, s.survivors, (int64_t[]){2, 1}) && same_list(2, s.tokens, (int64_t[]){2048, 32768}));
    wn_search_settings_release(&s);
    read_good("{\"on\": \"general\", \"preset\": \"super-fast\"}", WN_SPACE_BITS, &s);
    CHECK(s.generations == 400 && s.offspring == 16 && s.n_stages == 2);
    CHECK(same_list(2, s.survivors, (int64_t[]){1, 1}) && same_list(2, s.tokens, (int64_t[]){512, 8192}));
    wn_search_settings_release(&s);
}

static void check_given(void)
{
    struct wn_search_settings s;
    struct wn_space_request request = {0};

    read_good("{\"fitness\": \"sparse_kl\", \"top\": 10, \"on\": \"mine\", \"generations\": 7, \"offspring\": 5, "
              "\"survivors\": [5, 1], \"tokens\": [8, 4], \"seed\": 9, \"initial\": 3, \"initial_tokens\": 5, "
              "\"inverted\": true, \"levels\": 4, \"step\": 100, \"bits\": [8, 2, 4], "
              "\"legal_attention\": \"0-3,5,6,7,8,9,10,11,12,13,14,15,16,17\", \"legal_mlp\": \"2\"}",
              WN_SPACE_DROP, &s);
    CHECK(s.fitness == WN_FITNESS_sparse_kl && s.top == 10 && s.generations == 7 && s.offspring == 5 && s.seed == 9);
    CHECK(s.n_stages == 2 && same_list(2, s.survivors, (int64_t[]){5, 1}) && same_list(2, s.tokens, (int64_t[]){8, 4}));
    CHECK(s.initial == 3 && s.initial_tokens == 5 && s.inverted && s.items == 0.5);
    wn_search_settings_request(&s, &request);
    CHECK(request.levels == 4 && request.step == 100 && request.bits == (WN_BITS(2) | WN_BITS(4) | WN_BITS(8)));
    CHECK_TEXT(request.legal_attention, "0-3,5,6,7,8,9,10,11,12,13,14,15,16,17");
    CHECK_TEXT(request.legal_mlp, "2");
    wn_search_settings_release(&s);
}

/* What is no fitness is a task, in whose place no calibration set is named. */
static void check_task(void)
{
    struct wn_search_settings s;

    read_good("{\"fitness\": \"facts\", \"items\": 0.25}", WN_SPACE_DROP, &s);
    CHECK(s.fitness == WN_FITNESS_task && s.items == 0.25);
    CHECK_TEXT(s.on, "facts");
    wn_search_settings_release(&s);
}

static void check_lines(void)
{
    check_mistake("{}", "search.fast: key \"on\" is missing");
    check_mistake("{\"on\": 3}", "search.fast: key \"on\": expected a text");
    check_mistake("{\"fitness\": \"facts\", \"items\": 0}",
                  "search.fast: key \"items\": expected a number in [0.001, 1], got 0");
    check_mistake("{\"fitness\": 3, \"on\": \"a\"}", "search.fast: key \"fitness\": expected a text");
    check_mistake("{\"on\": \"a\", \"ofspring\": 3}",
                  "search.fast: unknown key \"ofspring\"; did you mean \"offspring\"?");
    check_mistake("{\"on\": \"a\", \"survivors\": [2, 4, 1]}",
                  "search.fast: key \"survivors\": stage 2 keeps 4 of 2 candidates; they cannot grow");
    check_mistake("{\"on\": \"a\", \"survivors\": [65, 4, 1]}",
                  "search.fast: key \"survivors\": stage 1 keeps 65 of 64 candidates; they cannot grow");
    check_mistake("{\"on\": \"a\", \"survivors\": [4, 3, 2]}",
                  "search.fast: key \"survivors\": the last stage keeps 2, but a generation has one parent");
    check_mistake("{\"on\": \"a\", \"survivors\": [4, 1]}", "search.fast: \"survivors\" has 2 stages, \"tokens\" 3");
    check_mistake("{\"on\": \"a\", \"survivors\": [4, 1], \"tokens\": [4]}",
                  "search.fast: \"survivors\" has 2 stages, \"tokens\" 1");
    check_mistake("{\"on\": \"a\", \"tokens\": [5, 9, 1]}",
                  "search.fast: key \"tokens\": expected a list of 1 to 8 whole numbers from 2 on, one for each stage");
    const char *const lists[] = {"[]", "3", "[1.5]", "[\"1\"]", "[0]", "[9,8,7,6,5,4,3,2,1]", "{\"a\": 1}"};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        char *text = wn_format("{\"on\": \"a\", \"survivors\": %s}", lists[i]);
        check_mistake(text,
                      "search.fast: key \"survivors\": expected a list of 1 to 8 whole numbers from 1 on, one for "
                      "each stage");
        wn_free(text);
    }
    check_mistake("{\"on\": \"a\", \"preset\": \"drop\"}",
                  "search.fast: key \"generations\" is missing: preset \"drop\" counts them for drop only");
    check_mistakes("[3]", WN_SPACE_BITS, 1, (const char *[]){"search.fast: expected a JSON object"});
    check_mistakes(
        "{\"on\": \"a\", \"top\": 0, \"seed\": -1}", WN_SPACE_BITS, 2,
        (const char *[]){"search.fast: key \"top\": expected an integer in [1, 1048576], got 0",
                         "search.fast: key \"seed\": expected an integer in [0, 9.00719925474099e+15], got -1"});
}

static void check_tokens(void)
{
    struct wn_search_settings s;
    struct wn_problems problems;

    read_good("{\"on\": \"general\"}", WN_SPACE_DROP, &s);
    wn_problems_init(&problems);
    wn_search_settings_tokens("search.fast", &s, 32768, &problems);
    CHECK(problems.count == 0);
    wn_search_settings_tokens("search.fast", &s, 2047, &problems);
    CHECK(problems.count == 3);
    CHECK_TEXT(problems.lines[1], "search.fast: key \"tokens\": stage 2 asks for 32768 tokens, calibration set "
                                  "\"general\" has 2047");
    CHECK_TEXT(problems.lines[2],
               "search.fast: key \"initial_tokens\": 2048 tokens, calibration set \"general\" has 2047");
    wn_problems_release(&problems);
    wn_search_settings_release(&s);
    /* sparsity begins uniform: nothing is chosen */
    read_good("{\"on\": \"general\", \"survivors\": [1], \"tokens\": [100]}", WN_SPACE_SPARSITY, &s);
    wn_problems_init(&problems);
    wn_search_settings_tokens("search.fast", &s, 100, &problems);
    CHECK(problems.count == 0);
    wn_problems_release(&problems);
    wn_search_settings_release(&s);
}

static void check_help(void)
{
    struct wn_text text = {0};

    wn_search_help(&text);
    const char *const parts[] = {"\n  offspring ",
                                 "(default \"kl\")",
                                 "\n  survivors ",
                                 "\n  sparse_kl ",
                                 "\n  drop        branches or blocks left out: generations int(k (n - k) / 1.5), "
                                 "offspring 32, survivors [2, 1], tokens [2048, 32768]\n",
                                 "\n  super-fast  any of them, on few tokens: generations 400, offspring 16, "
                                 "survivors [1, 1], tokens [512, 8192]\n"};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        CHECK(strstr(text.data, parts[i]));
    wn_text_release(&text);
}

int main(void)
{
    check_presets();
    check_given();
    check_task();
    check_lines();
    check_tokens();
    check_help();
    return test_finish();
}
