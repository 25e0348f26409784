/* SPDX-License-Identifier: Apache-2.0 */
/* Names of tasks, and every mistake of the input files of the protocols. */
#include <cjson/cJSON.h>

#include <winnow/eval.h>
#include <winnow/requests.h>

#include "hand_made_model.h"

static void check_names(void)
{
    static const char *const cases[][2] = {{"\"tasks/arc_easy.jsonl\"", "arc_easy"},
                                           {"{\"requests\": \"x.y.jsonl\"}", "x.y"},
                                           {"{\"requests\": \"x.jsonl\", \"name\": \"mine\"}", "mine"},
                                           {"\"plain\"", "plain"},
                                           {"{}", ""},
                                           {"3", ""}};
    char name[64];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *json = cJSON_Parse(cases[i][0]);
        CHECK(wn_requests_kind(folder, json, name) == wn_eval_find("multiple_choice"));
        CHECK_TEXT(name, cases[i][1]);
        cJSON_Delete(json);
    }
    CHECK(wn_eval_find("nothing") == NULL);
    static const char *const headers[][4] = {
        /* header, entry, name, kind */
        {"{\"task\": \"mine\", \"kind\": \"pairs\"}", "\"task.jsonl\"", "mine", "pairs"},
        {"{\"task\": \"mine\"}", "{\"requests\": \"task.jsonl\", \"name\": \"other\"}", "other", "multiple_choice"},
        {"{\"task\": \"r\", \"kind\": \"rolling\"}", "{\"requests\": \"task.jsonl\"}", "r", "rolling"},
        {"{\"task\": \"c\", \"kind\": \"continuation\"}", "\"task.jsonl\"", "c", "continuation"},
        {"{\"task\": \"c\", \"kind\": \"continuatoin\"}", "\"task.jsonl\"", "task", "multiple_choice"},
        {"{\"task\": \"no name\"}", "\"task.jsonl\"", "task", "multiple_choice"},
        {"{\"id\": \"1\"}", "\"task.jsonl\"", "task", "multiple_choice"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        cJSON *json = cJSON_Parse(headers[i][1]);
        write_file("task.jsonl", headers[i][0]);
        CHECK(wn_requests_kind(folder, json, name) == wn_eval_find(headers[i][3]));
        CHECK_TEXT(name, headers[i][2]);
        cJSON_Delete(json);
    }
}

static void expect_problems(const char *kind, const char *text, int64_t count, const char *const *parts)
{
    struct wn_problems problems;
    cJSON *json = cJSON_Parse(text);

    wn_problems_init(&problems);
    wn_eval_find(kind)->check(folder, "set", json, &problems);
    test_problems(&problems, text, count, parts);
    cJSON_Delete(json);
}

static void check_task_mistakes(void)
{
    write_file("task.jsonl", "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 1, \"id\": \"x\"}\n"
                             "{\"choices\": [\"b\", \"c\"], \"gold\": 1}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\"], \"gold\": 0}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"\"], \"gold\": 0}\n"
                             "{\"context\": \"a\", \"choices\": \"bc\", \"gold\": 0}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 2}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 0.5}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"]}\n"
                             "{\"context\": \"\xff\"}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 1, \"id\": \"x\"}\n");
    expect_problems(
        "multiple_choice", "\"task.jsonl\"", 9,
        (const char *const[]){"task.jsonl:2: key \"context\" (or \"contexts\") is missing",
                              "task.jsonl:3: key \"choices\": expected a list of at least 2 texts",
                              "task.jsonl:4: key \"choices[1]\": expected a text that is not empty, got \"\"",
                              "task.jsonl:5: key \"choices\": expected a list",
                              "task.jsonl:6: key \"gold\": 2 is no choice, expected 0 to 1",
                              "task.jsonl:7: key \"gold\": expected an integer of at least 0 or a list",
                              "task.jsonl:8: key \"gold\" is missing", "task.jsonl:9:14: the byte 0xff",
                              "task.jsonl:10: the id \"x\" was used in line 1"});
    write_file("task.jsonl", "");
    expect_problems("multiple_choice", "\"task.jsonl\"", 1, (const char *const[]){"task.jsonl: is empty"});
    expect_problems("multiple_choice", "{\"request\": \"task.jsonl\"}", 1,
                    (const char *const[]){"evaluate.tasks.set: unknown key \"request\"; did you mean \"requests\""});
    expect_problems("multiple_choice", "{\"requests\": \"task.jsonl\", \"limit\": 0}", 1,
                    (const char *const[]){"key \"limit\": expected an integer in [1, 1000000000], got 0"});
    expect_problems("multiple_choice", "{\"limit\": 1}", 1, (const char *const[]){"key \"requests\" is missing"});
    expect_problems("multiple_choice", "7", 1, (const char *const[]){"evaluate.tasks.set: expected a path or"});
    expect_problems("multiple_choice", "\"absent.jsonl\"", 1, (const char *const[]){"absent.jsonl"});
}

/* One line each: the file, the message. */
static void check_header_mistakes(void)
{
    static const char *const cases[][2] = {
        {"{\"kind\": \"pairs\"}\n", "task.jsonl:1: a header needs the key \"task\""},
        {"{\"task\": \"t\"}\n", "task.jsonl: has a header but no items"},
        {"{\"task\": \"t\", \"knid\": \"pairs\"}\n{}\n", "task.jsonl:1: unknown key \"knid\"; did you mean \"kind\"?"},
        {"{\"task\": \"t\", \"kind\": \"pair\"}\n{}\n",
         "task.jsonl:1: key \"kind\": expected one of \"multiple_choice\""},
        {"{\"task\": \"a b\"}\n{}\n", "task.jsonl:1: key \"task\": a name has 1 to 48"},
        {"{\"task\": \"t\", \"chance\": 1.5}\n{}\n",
         "task.jsonl:1: key \"chance\": expected a number in [0, 1], got 1.5"},
        {"{\"task\": \"t\", \"dimension\": \"luck\"}\n{}\n", "task.jsonl:1: key \"dimension\": expected one of"},
        {"{\"task\": \"t\", \"metrics\": []}\n{}\n", "task.jsonl:1: key \"metrics\": expected a list of texts"},
        {"{\"task\": \"t\", \"metrics\": [\"acc\", \"ac\"]}\n{}\n",
         "task.jsonl:1: key \"metrics\": \"ac\" is none of the kind multiple_choice, did you mean \"acc\"?"},
        {"{\"task\": \"t\", \"metrics\": [\"bias\", \"acc_ambiguous\"]}\n{}\n", "\"acc_ambiguous\" is listed twice"},
        {"{\"task\": \"t\", \"kind\": \"rolling\", \"delimiter\": \"\"}\n{}\n",
         "task.jsonl:1: unknown key \"delimiter\""},
        {"{\"task\": \"t\"}\n{\"task\": \"u\"}\n", "task.jsonl:2: a header must be the first line"},
        {"{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"a\"]}\n",
         "task.jsonl:2: key \"texts\": expected a list of at least 2"},
        {"{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"a\", \"b\", \"c\"]}\n",
         "task.jsonl:2: key \"texts\": expected 2 texts"},
        {"{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"a\", \"b\"], \"gold\": 2}\n",
         "task.jsonl:2: key \"gold\": expected an integer in [0, 1]"},
        {"{\"task\": \"t\", \"kind\": \"continuation\"}\n{\"context\": \"a\"}\n",
         "task.jsonl:2: key \"continuation\" is missing"},
        {"{\"task\": \"t\", \"kind\": \"rolling\"}\n{\"text\": \"a\", \"words\": 0}\n",
         "task.jsonl:2: key \"words\": expected"},
        {"{\"context\": \"a\", \"contexts\": [\"a\", \"b\"], \"continuation\": \"c\", \"gold\": 0}\n",
         "task.jsonl:1: keys \"context\" and \"contexts\""},
        {"{\"contexts\": [\"a\", \"b\"], \"choices\": [\"a\", \"b\", \"c\"], \"gold\": 0}\n",
         "task.jsonl:1: 2 \"contexts\", but 3 \"choices\""},
        {"{\"contexts\": [\"a\", \"b\"], \"gold\": 0}\n",
         "task.jsonl:1: key \"choices\" (or \"continuation\") is missing"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": [0, 0]}\n",
         "task.jsonl:1: key \"gold\": 0 is listed twice"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": []}\n", "task.jsonl:1: key \"gold\": expected"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": [0, -1]}\n",
         "task.jsonl:1: key \"gold[1]\": expected an integer of at least 0"},
        {"{\"task\": \"t\", \"metrics\": [\"brier\"]}\n{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": [0, "
         "1]}\n",
         "task.jsonl:2: the metric brier needs one gold choice"},
        {"{\"task\": \"t\", \"metrics\": [\"bias\"]}\n{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n",
         "task.jsonl:2: key \"bias\" is missing: the metric acc_ambiguous"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0, \"bias\": {\"condition\": \"x\"}}\n",
         "task.jsonl:1: key \"bias.condition\": expected one of"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0, \"group\": 3}\n",
         "task.jsonl:1: key \"group\": expected a text"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file("task.jsonl", cases[i][0]);
        expect_problems("multiple_choice", "\"task.jsonl\"", 1, (const char *const[]){cases[i][1]});
    }
    write_file("task.jsonl", "{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n");
    expect_problems(
        "multiple_choice", "{\"requests\": \"task.jsonl\", \"metrics\": [\"f1\"]}", 1,
        (const char *const[]){"evaluate.tasks.set: key \"metrics\": \"f1\" is none of the kind multiple_choice"});
    expect_problems("multiple_choice", "{\"requests\": \"task.jsonl\", \"dimension\": \"knowledg\"}", 1,
                    (const char *const[]){"evaluate.tasks.set: key \"dimension\": expected one of"});
    write_file("task.jsonl", "{\"task\": \"t\", \"kind\": \"rolling\"}\n{\"text\": \"a\"}\n");
    expect_problems("rolling", "{\"requests\": \"task.jsonl\", \"delimiter\": \" \"}", 1,
                    (const char *const[]){"evaluate.tasks.set: key \"delimiter\": the kind rolling has none"});
}

/* What only the model can tell: texts of more tokens than it has positions. */
static void check_model_mistakes(void)
{
    static const char *const cases[][3] = {
        {"multiple_choice", "{\"context\": \"a\", \"choices\": [\"b\", \"abcde\"], \"gold\": 0}\n",
         "task.jsonl:1: \"abcde\" has 5 tokens, but the model only 4 positions"},
        {"pairs",
         "{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"b\", \"a\"]}\n{\"texts\": [\"b\", \"abcde\"]}\n",
         "task.jsonl:3: \"abcde\" has 5 tokens"},
        {"continuation",
         "{\"task\": \"t\", \"kind\": \"continuation\", \"delimiter\": \"\"}\n{\"context\": \"a\", "
         "\"continuation\": \"abcde\"}\n",
         "task.jsonl:2: \"abcde\" has 5 tokens"},
        {"rolling", "{\"task\": \"t\", \"kind\": \"rolling\", \"length\": 5}\n{\"text\": \"a\"}\n",
         "task.jsonl: key \"length\": 5, but the model has only 4 positions"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wn_eval_set set;
        cJSON *json = cJSON_Parse("{\"requests\": \"task.jsonl\"}");
        write_file("task.jsonl", cases[i][1]);
        wn_eval_set_init(&set);
        if (i == 0)
            cJSON_AddStringToObject(json, "delimiter", "");
        CHECK(wn_eval_find(cases[i][0])->prepare(folder, "set", json, &model, &set) == WN_ERR_INPUT);
        CHECK_MESSAGE(cases[i][2]);
        wn_eval_set_release(&set);
        cJSON_Delete(json);
    }
}

static void check_text_mistakes(void)
{
    struct wn_eval_set set;
    cJSON *json = cJSON_Parse("{\"text\": \"text.txt\", \"length\": 5}");

    write_file("pages.jsonl", "{\"page\": \"a\"}\n{\"pages\": \"a\"}\n{\"text\": []}\n");
    expect_problems(
        "perplexity", "{\"text\": \"pages.jsonl\", \"protocol\": \"rolling\"}", 2,
        (const char *const[]){"pages.jsonl:2: the field \"page\"", "pages.jsonl:3: \"text\" must be a string"});
    expect_problems("perplexity", "{\"text\": \"pages.jsonl\"}", 1,
                    (const char *const[]){"holds JSON lines, but the protocol gptq needs a plain text"});
    expect_problems("perplexity", "{\"text\": \"pages.jsonl\", \"detokenize\": \"wikitext\"}", 1,
                    (const char *const[]){"\"detokenize\" is for the protocol rolling"});
    expect_problems("perplexity", "{\"text\": \"text.txt\", \"protocol\": \"gtpq\", \"lenght\": 3}", 2,
                    (const char *const[]){"\"gptq\"", "did you mean \"length\""});
    wn_eval_set_init(&set);
    CHECK(wn_eval_find("perplexity")->prepare(folder, "set", json, &model, &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("the model has only 4 positions");
    wn_eval_set_release(&set);
    cJSON_Delete(json);
}

int main(void)
{
    if (open_hand_made()) {
        write_file("text.txt", "abcdefghij");
        check_names();
        check_task_mistakes();
        check_header_mistakes();
        check_model_mistakes();
        check_text_mistakes();
    }
    close_hand_made();
    return test_finish();
}
