/* SPDX-License-Identifier: Apache-2.0 */
/* JSON and JSON lines: what is taken, and every mistake with its line and column. */
#include "folder.h"

#include <cjson/cJSON.h>
#include <winnow/io.h>

static wn_status parse(const char *text, bool comments, cJSON **json)
{
    return wn_json_parse("f.json", text, (int64_t)strlen(text), comments, json);
}

static void check_refused(const char *text, bool comments, const char *expected)
{
    cJSON *json;

    CHECK(parse(text, comments, &json) == WN_ERR_INPUT);
    CHECK(json == NULL);
    CHECK_TEXT(wn_error_message(), expected);
}

static void check_taken(const char *text, bool comments)
{
    cJSON *json;

    CHECK_OK(parse(text, comments, &json));
    CHECK(json != NULL);
    cJSON_Delete(json);
}

static void check_values(void)
{
    cJSON *json = NULL;

    CHECK_OK(parse("{\"a\": [1, -2.5e3, true, null], \"b\": {\"c\": \"x\\u00e9\\ud83d\\ude00\\n\"}, \"A\": 0}\r\n",
                   false, &json));
    const cJSON *a = cJSON_GetObjectItemCaseSensitive(json, "a");
    const cJSON *b = cJSON_GetObjectItemCaseSensitive(json, "b");
    CHECK(cJSON_GetArraySize(a) == 4 && cJSON_GetArrayItem(a, 1)->valuedouble == -2500);
    CHECK_TEXT(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(b, "c")), "x\xC3\xA9\xF0\x9F\x98\x80\n");
    cJSON_Delete(json);
    check_taken("0", false);
    check_taken("-0.5E-10", false);
    check_taken(" \"text\" ", false);
    check_taken("[]", false);
    check_taken("{ }", false);
    check_taken("[{\"a\":1},{\"a\":2}]", false);
    check_taken("1000000000000000019884624838656", false); /* model_max_length of many tokenizer_config.json */
}

static void check_comments(void)
{
    cJSON *json = NULL;

    CHECK_OK(
        parse("// head\n{ /* one\n two */ \"a\": \"// no /* comment\", \"b\\\"\": 2 // tail\n}// end", true, &json));
    CHECK_TEXT(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "a")), "// no /* comment");
    CHECK(cJSON_GetObjectItemCaseSensitive(json, "b\"")->valuedouble == 2);
    cJSON_Delete(json);
    check_refused("{} // no", false, "f.json:1:4: expected the end of the text, found '/'");
    check_refused("{\n /* open", true, "f.json:2:2: the comment is not closed");
    check_refused("{ /* a\n b */ \"a\" 1}", true, "f.json:2:11: expected ':' after the key, found '1'");
    check_refused("{\"a\": 1 / 2}", true, "f.json:1:9: expected ',' or '}', found '/'");
    check_refused("/*/", true, "f.json:1:1: the comment is not closed");
    check_refused("", true, "f.json:1:1: expected a value, found the end of the text");
}

static void check_syntax(void)
{
    check_refused("", false, "f.json:1:1: expected a value, found the end of the text");
    check_refused("{\"a\": 1,}", false, "f.json:1:9: expected a key in double quotes, found '}'");
    check_refused("{\n  \"a\": 1\n  \"b\": 2\n}", false, "f.json:3:3: expected ',' or '}', found '\"'");
    check_refused("{\"\xC3\xA9\": x}", false, "f.json:1:7: expected a value, found 'x'");
    check_refused("[1, 2", false, "f.json:1:6: expected ',' or ']', found the end of the text");
    check_refused("[1 2]", false, "f.json:1:4: expected ',' or ']', found '2'");
    check_refused("{'a': 1}", false, "f.json:1:2: expected a key in double quotes, found '''");
    check_refused("{} {}", false, "f.json:1:4: expected the end of the text, found '{'");
    check_refused("[NaN]", false, "f.json:1:2: expected a value, found 'N'");
    check_refused("[tru]", false, "f.json:1:2: expected a value, found 't'");
    check_refused("[1\v]", false, "f.json:1:3: expected ',' or ']', found the byte 0x0b");
    check_refused("\xEF\xBB\xBF{}", false, "f.json:1:1: the text must not start with a byte order mark");
    check_refused("{\"a\":\n \"\xC3(\"}", false, "f.json:2:3: the byte 0xc3 is no valid UTF-8");
    cJSON *json;
    CHECK(wn_json_parse("f.json", "[1]\0", 4, false, &json) == WN_ERR_INPUT);
    CHECK_MESSAGE("f.json:1:4: expected the end of the text, found the byte 0x00");
}

static void check_numbers(void)
{
    check_refused("[01]", false, "f.json:1:2: a number must not start with 0");
    check_refused("[-]", false, "f.json:1:3: expected a digit, found ']'");
    check_refused("[+1]", false, "f.json:1:2: expected a value, found '+'");
    check_refused("[1.]", false, "f.json:1:4: expected a digit, found ']'");
    check_refused("[.5]", false, "f.json:1:2: expected a value, found '.'");
    check_refused("[1e]", false, "f.json:1:4: expected a digit, found ']'");
    check_refused("[-1e999]", false, "f.json:1:2: the number is too large");
    check_refused("[0.1234567890123456789012345678901234567890123456789012345678901234567890]", false,
                  "f.json:1:2: a number must not have more than 63 characters");
    check_taken("0.1234567890123456789012345678901234567890123456789012345678901", false); /* 63 */
}

static void check_strings(void)
{
    check_refused("[\"abc", false, "f.json:1:2: the string is not closed");
    check_refused("[\"abc\\", false, "f.json:1:6: a backslash must be followed by one of \" \\ / b f n r t u");
    check_refused("[\"ab\ncd\"]", false,
                  "f.json:1:5: the byte 0x0a in a string must be written as an escape (is a closing quote missing?)");
    check_refused("[\"\\x\"]", false, "f.json:1:3: a backslash must be followed by one of \" \\ / b f n r t u");
    check_refused("[\"\\u12g4\"]", false, "f.json:1:3: \\u must be followed by four hexadecimal digits");
    check_refused("[\"\\u12", false, "f.json:1:3: \\u must be followed by four hexadecimal digits");
    check_refused("[\"a\\u0000\"]", false, "f.json:1:4: \\u0000 in a string is not supported");
    check_refused("[\"\\ud800\"]", false, "f.json:1:3: half of a surrogate pair stands alone");
    check_refused("[\"\\udc00\\ud800\"]", false, "f.json:1:3: half of a surrogate pair stands alone");
    check_refused("[\"\\ud800\\u0041\"]", false, "f.json:1:3: half of a surrogate pair stands alone");
}

static char *nested(int depth)
{
    char *text = wn_alloc(2 * depth + 1, 1);

    memset(text, '[', (size_t)depth);
    memset(text + depth, ']', (size_t)depth);
    text[2 * depth] = '\0';
    return text;
}

static void check_nesting(void)
{
    char *fits = nested(CJSON_NESTING_LIMIT), *over = nested(CJSON_NESTING_LIMIT + 1), *far = nested(1000000);

    check_taken(fits, false);
    check_refused(over, false, "f.json:1:1001: objects and arrays are nested more than 1000 deep");
    check_refused(far, false, "f.json:1:1001: objects and arrays are nested more than 1000 deep");
    wn_free(fits);
    wn_free(over);
    wn_free(far);
}

static void check_duplicates(void)
{
    struct wn_text text = {0};

    check_refused("{\"a\": 1,\n \"a\": 2}", false, "f.json:2:2: the key \"a\" appears twice in one object");
    check_refused("{\"x\": {\"k\": [0, {\"b\": 1, \"c\": 2,\n\"\\u0062\": 3}]}, \"b\": 1}", false,
                  "f.json:2:1: the key \"b\" appears twice in one object");
    check_refused("// c\n{\"a\": 1, \"b\": {}, /* \"b\" */ \"a\": 2}", true,
                  "f.json:2:29: the key \"a\" appears twice in one object");
    wn_text_printf(&text, "{");
    for (int i = 0; i < 1000; i++)
        wn_text_printf(&text, "\"k%d\": {\"v\": %d},\n", i, i);
    wn_text_printf(&text, "\"k500\": 0}");
    check_refused(text.data, false, "f.json:1001:1: the key \"k500\" appears twice in one object");
    text.length -= strlen("\"k500\": 0}");
    wn_text_printf(&text, "\"k1000\": 0}");
    check_taken(text.data, false);
    wn_text_release(&text);
}

static void check_read(void)
{
    static const char good[] = "{\"a\": 1}", bad[] = "{\"a\": }";
    char *folder = folder_create(), *path = folder_write(folder, "good.json", good, strlen(good)), *expected;
    cJSON *json;

    CHECK_OK(wn_json_read(path, false, &json));
    CHECK(cJSON_GetObjectItemCaseSensitive(json, "a")->valuedouble == 1);
    cJSON_Delete(json);
    wn_free(path);
    path = folder_write(folder, "bad.json", bad, strlen(bad));
    CHECK(wn_json_read(path, true, &json) == WN_ERR_INPUT && json == NULL);
    expected = wn_format("%s:1:7: expected a value, found '}'", path);
    CHECK_TEXT(wn_error_message(), expected);
    wn_free(expected);
    wn_free(path);
    path = wn_join_path(folder, "absent.json");
    CHECK(wn_json_read(path, true, &json) == WN_ERR_INPUT && json == NULL);
    CHECK_MESSAGE(path);
    CHECK_MESSAGE("No such file");
    wn_free(path);
    folder_remove(folder);
}

/* ---- JSON lines ---- */

struct seen {
    int64_t lines[8], values[8], count, stop_at;
};

static wn_status remember(void *context, const char *path, int64_t line, const cJSON *object)
{
    struct seen *seen = context;

    if (line == seen->stop_at)
        return wn_fail(WN_ERR_INTERRUPTED, "%s:%lld: stopped", path, (long long)line);
    seen->lines[seen->count] = line;
    seen->values[seen->count++] = (int64_t)cJSON_GetObjectItemCaseSensitive(object, "v")->valuedouble;
    return WN_OK;
}

static wn_status walk(const char *folder, const char *text, size_t length, struct seen *seen)
{
    char *path = folder_write(folder, "lines.jsonl", text, length);
    wn_status status = wn_jsonl_read(path, remember, seen);

    if (status != WN_OK) {
        CHECK(strncmp(wn_error_message(), path, strlen(path)) == 0);
        wn_fail(status, "%s", wn_error_message() + strlen(path)); /* what follows the path */
    }
    wn_free(path);
    return status;
}

static void check_line_refused(const char *folder, const char *text, const char *expected)
{
    struct seen seen = {0};

    CHECK(walk(folder, text, strlen(text), &seen) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), expected);
}

static void check_lines(void)
{
    static const char good[] = "{\"v\":1}\n\n  \t\r\n{\"v\":2}\r\n{\"v\":3}";
    char *folder = folder_create();
    struct seen seen = {0};

    CHECK_OK(walk(folder, good, strlen(good), &seen));
    CHECK(seen.count == 3 && seen.lines[0] == 1 && seen.lines[1] == 4 && seen.lines[2] == 5);
    CHECK(seen.values[0] == 1 && seen.values[1] == 2 && seen.values[2] == 3);
    seen = (struct seen){.stop_at = 4};
    CHECK(walk(folder, good, strlen(good), &seen) == WN_ERR_INTERRUPTED);
    CHECK(seen.count == 1);
    CHECK_TEXT(wn_error_message(), ":4: stopped");
    seen = (struct seen){0};
    CHECK_OK(walk(folder, "", 0, &seen));
    CHECK(seen.count == 0);
    check_line_refused(folder, "{\"v\":1}\n[2]\n", ":2: expected a JSON object");
    check_line_refused(folder, "{\"v\":1}\n\n{\"v\":}\n", ":3:6: expected a value, found '}'");
    check_line_refused(folder, "{\"v\":1}\n{\"v\":1, \"v\":2}\n", ":2:9: the key \"v\" appears twice in one object");
    check_line_refused(folder, "{\"v\":1}\n{\"v\":\n2}\n", ":2:6: expected a value, found the end of the text");
    check_line_refused(folder, "{\"v\":1}\n{\"t\":\"\xE9\"}\n", ":2:7: the byte 0xe9 is no valid UTF-8");
    CHECK(wn_jsonl_read(folder, remember, &seen) == WN_ERR_INPUT);
    folder_remove(folder);
}

int main(void)
{
    check_values();
    check_comments();
    check_syntax();
    check_numbers();
    check_strings();
    check_nesting();
    check_duplicates();
    check_read();
    check_lines();
    return test_finish();
}
