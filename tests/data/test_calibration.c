/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calibration sets against the published sampling rules (make_golden.py, golden.json), the nesting of samples,
 * templates, and every mistake a user can make.
 */
#include "test.h"

#include <winnow/data.h>

#include <cjson/cJSON.h>

static char *folder; /* tests/data */

struct golden_case {
    const char *name, *json;
};

static const struct golden_case cases[] = {
    {"stream", "{\"text\": \"stream.txt\", \"samples\": 16, \"length\": 64}"},
    {"stream_join", "{\"text\": \"documents.jsonl\", \"sampling\": \"stream\", \"join\": \" \", \"samples\": 16, "
                    "\"length\": 64, \"seed\": 5}"},
    {"documents", "{\"text\": \"documents.jsonl\", \"samples\": 16, \"length\": 48}"},
    {"documents_8", "{\"text\": \"documents.jsonl\", \"samples\": 8, \"length\": 48}"},
    {"each", "{\"prompts\": \"prompts.jsonl\", \"samples\": 10, \"length\": 24}"},
    {"each_alpaca", "{\"prompts\": \"prompts.jsonl\", \"template\": \"alpaca\", \"samples\": 24, \"length\": 400, "
                    "\"seed\": 1}"},
    {"packed", "{\"prompts\": \"prompts.jsonl\", \"sampling\": \"packed\", \"samples\": 6, \"length\": 50, "
               "\"seed\": 3}"},
};

static wn_status build(const struct wn_model *model, const char *text, struct wn_calibration *set)
{
    cJSON *json = cJSON_Parse(text);
    wn_status status = wn_calibration_build(folder, "set", json, model, set);

    cJSON_Delete(json);
    return status;
}

static void check_golden(const struct wn_model *model)
{
    char *path = test_path("tests/data/golden.json");
    cJSON *golden;

    CHECK_OK(wn_json_read(path, false, &golden));
    for (size_t i = 0; golden && i < sizeof cases / sizeof cases[0]; i++) {
        struct wn_calibration set;
        const cJSON *expected = cJSON_GetObjectItem(golden, cases[i].name);
        CHECK_OK(build(model, cases[i].json, &set));
        CHECK(set.sequences.n_sequences == (int64_t)cJSON_GetObjectItem(expected, "sequences")->valuedouble);
        CHECK(set.tokens == (int64_t)cJSON_GetObjectItem(expected, "tokens")->valuedouble);
        CHECK_TEXT(set.token_hash, cJSON_GetObjectItem(expected, "hash")->valuestring);
        CHECK(set.task_specific == (strncmp(cases[i].name, "each", 4) == 0 || strcmp(cases[i].name, "packed") == 0));
        CHECK(strlen(set.file_hash) == 64 && set.sequences.n_chunks > 0);
        wn_calibration_release(&set);
    }
    cJSON_Delete(golden);
    wn_free(path);
}

/* The first 8 of 16 samples are the 8-sample set. */
static void check_nested(const struct wn_model *model)
{
    struct wn_calibration all, part;

    CHECK_OK(build(model, cases[2].json, &all));
    CHECK_OK(build(model, cases[3].json, &part));
    CHECK(memcmp(all.sequences.ids, part.sequences.ids, (size_t)part.tokens * sizeof(int32_t)) == 0);
    wn_calibration_release(&all);
    wn_calibration_release(&part);
}

static void check_build_errors(const struct wn_model *model)
{
    struct wn_calibration set;

    CHECK(build(model, "{\"text\": \"documents.jsonl\", \"length\": 500}", &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("no document has more than 500 tokens");
    CHECK(build(model, "{\"text\": \"documents.jsonl\", \"length\": 513}", &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("the model has only 512 positions");
    CHECK(build(model, "{\"prompts\": \"prompts.jsonl\", \"samples\": 25}", &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("holds 24 lines, but 25 samples");
    CHECK(build(model, "{\"prompts\": \"prompts.jsonl\", \"sampling\": \"stream\", \"length\": 400, \"samples\": 9}",
                &set) == WN_OK);
    wn_calibration_release(&set);
    CHECK(build(model, "{\"prompts\": \"prompts.jsonl\", \"sampling\": \"packed\", \"length\": 400}", &set) ==
          WN_ERR_INPUT);
    CHECK_MESSAGE("but 128 samples are asked for");
    CHECK(build(model, "{\"text\": \"absent.txt\"}", &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("absent.txt");
    CHECK(build(model, "{\"text\": \"stream.txt\", \"sample\": 3}", &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("did you mean \"samples\"");
}

/* ---- templates ---- */

static void check_render(const char *template_, const char *pair, const char *expected)
{
    cJSON *json = cJSON_Parse(pair);
    struct wn_text text = {0};

    CHECK_OK(wn_template_check(template_));
    CHECK_OK(wn_template_render(template_, json, &text));
    CHECK_TEXT(text.data, expected);
    wn_text_release(&text);
    cJSON_Delete(json);
}

static void check_templates(void)
{
    const char *short_pair = "{\"prompt\": \"P\", \"response\": \"R\"}";
    const char *long_pair = "{\"instruction\": \"I\", \"input\": \"N\", \"output\": \"O\"}";

    check_render("plain", short_pair, "P R");
    check_render("none", short_pair, "PR");
    check_render("plain", long_pair, "I\nN O");
    check_render("<{prompt}|{response}> {x} {", short_pair, "<P|R> {x} {");
    check_render("{instruction}/{input}/{output}", long_pair, "I/N/O");
    CHECK(wn_template_check("alpacca") == WN_ERR_INPUT);
    CHECK_MESSAGE("did you mean \"alpaca\"");
    CHECK(wn_template_check("{prompt} only") == WN_ERR_INPUT);
    CHECK_MESSAGE("{response}");
}

/* ---- check ---- */

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void expect_problems(const char *directory, const char *text, int64_t count, const char *const *parts)
{
    struct wn_problems problems;
    cJSON *json = cJSON_Parse(text);

    wn_problems_init(&problems);
    wn_calibration_check(directory, "set", json, &problems);
    test_problems(&problems, text, count, parts);
    cJSON_Delete(json);
}

static void check_settings_problems(void)
{
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_problems(folder, cases[i].json, 0, NULL);
    expect_problems(folder, "{}", 1, (const char *const[]){"calibration.set: expected exactly one of"});
    expect_problems(folder, "{\"text\": \"a\", \"prompts\": \"b\"}", 1, (const char *const[]){"exactly one of"});
    expect_problems(
        folder, "{\"text\": 3, \"smaples\": 4, \"length\": 1, \"seed\": -1}", 4,
        (const char *const[]){"\"text\": expected a text", "did you mean \"samples\"", "\"length\"", "\"seed\""});
    expect_problems(folder, "[]", 1, (const char *const[]){"calibration.set: expected a JSON object"});
    expect_problems(folder, "{\"text\": \"none.txt\"}", 1, (const char *const[]){"none.txt"});
    expect_problems(folder, "{\"prompts\": \"prompts.jsonl\", \"samples\": 24, \"template\": \"plane\"}", 1,
                    (const char *const[]){"did you mean \"plain\""});
    expect_problems(folder, "{\"text\": \"stream.txt\", \"template\": \"plain\"}", 1,
                    (const char *const[]){"\"template\" is for \"prompts\""});
}

static void check_file_problems(void)
{
    char directory[] = "winnow-data-XXXXXX";
    struct wn_text many = {0};

    CHECK(mkdtemp(directory));
    char *lines = wn_join_path(directory, "lines.jsonl"), *text = wn_join_path(directory, "text.txt");
    write_file(lines, "{\"text\": \"fine\"}\n\n{\"txt\": \"a\"}\n{\"text\": 3}\n[1]\n{\"text\": \"x\n");
    expect_problems(directory, "{\"text\": \"lines.jsonl\"}", 4,
                    (const char *const[]){"lines.jsonl:3: the field \"text\" is missing",
                                          "lines.jsonl:4: \"text\" must be a string",
                                          "lines.jsonl:5: expected a JSON object", "lines.jsonl:6:"});
    write_file(lines, "{\"prompt\": \"a\"}\n{\"instruction\": \"a\", \"output\": \"b\", \"input\": 1}\n");
    expect_problems(directory, "{\"prompts\": \"lines.jsonl\", \"samples\": 2}", 2,
                    (const char *const[]){"lines.jsonl:1: the field \"response\" is missing",
                                          "lines.jsonl:2: \"input\" must be a string"});
    for (int i = 0; i < 30; i++)
        wn_text_printf(&many, "{}\n");
    write_file(lines, many.data);
    expect_problems(directory, "{\"text\": \"lines.jsonl\"}", 2,
                    (const char *const[]){"lines.jsonl:1: the field \"text\" is missing; the fields there are: none",
                                          "... and 29 more like it"});
    many.length = 0;
    for (int i = 0; i < 30; i++)
        wn_text_printf(&many, "{\"field%d\": 0}\n", i);
    write_file(lines, many.data);
    const char *expected[21];
    for (int i = 0; i < 20; i++)
        expected[i] = "is missing";
    expected[20] = "... and 10 more";
    expect_problems(directory, "{\"text\": \"lines.jsonl\"}", 21, expected);
    write_file(lines, "{\"text\": \"fine\"}\n{}\n");
    wn_log_set(WN_LOG_ERROR, 0, 1); /* it warns */
    expect_problems(directory, "{\"text\": \"lines.jsonl\", \"on_error\": \"skip\"}", 0, NULL);
    write_file(lines, "\n \n");
    expect_problems(directory, "{\"text\": \"lines.jsonl\"}", 1, (const char *const[]){"is empty"});
    write_file(text, "good\nbad \xff\n");
    expect_problems(directory, "{\"text\": \"text.txt\"}", 1,
                    (const char *const[]){"text.txt:2: the byte 0xff is no valid UTF-8"});
    write_file(text, "");
    expect_problems(directory, "{\"text\": \"text.txt\"}", 1, (const char *const[]){"text.txt: is empty"});
    CHECK(unlink(lines) == 0 && unlink(text) == 0 && rmdir(directory) == 0);
    wn_text_release(&many);
    wn_free(lines);
    wn_free(text);
}

static void check_with_tokenizer(void)
{
    char *directory = test_shared("models/stories260k");
    struct wn_model model = {.config = {.vocab_size = 512, .max_positions = 512}};

    CHECK_OK(wn_tokenizer_open(directory, &model.tokenizer));
    if (model.tokenizer) {
        check_golden(&model);
        check_nested(&model);
        check_build_errors(&model);
    }
    wn_tokenizer_close(&model.tokenizer);
    wn_free(directory);
}

int main(void)
{
    folder = test_path("tests/data");
    check_templates();
    check_settings_problems();
    check_file_problems();
    char *shared = test_shared("models/stories260k/tokenizer.json");
    bool there = wn_file_exists(shared);
    wn_free(shared);
    if (there)
        check_with_tokenizer();
    wn_free(folder);
    int result = test_finish();
    if (result == 0 && !there)
        test_skip("golden samples: ../shared is absent (set WINNOW_SHARED to its path)");
    return result;
}
