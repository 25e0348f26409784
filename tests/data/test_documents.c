/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a file of texts holds, by its content: every layout under every name gives the same records, with the lines they
 * stand in; what is no text is named in one line.
 */
#include "test.h"

#include <winnow/data.h>

#include <cjson/cJSON.h>
#include <zlib.h>

static char folder[] = "winnow-documents-XXXXXX";

static char *write_bytes(const char *name, const char *bytes, size_t length)
{
    char *path = wn_join_path(folder, name);
    FILE *file = fopen(path, "wb");

    CHECK(file && fwrite(bytes, 1, length, file) == length && fclose(file) == 0);
    return path;
}

static char *write_packed(const char *name, const char *bytes, size_t length, const char *mode)
{
    char *path = wn_join_path(folder, name);
    gzFile file = gzopen(path, mode);

    CHECK(file && gzwrite(file, bytes, (unsigned)length) == (int)length && gzclose(file) == Z_OK);
    return path;
}

static void remove_file(char *path)
{
    CHECK(unlink(path) == 0);
    wn_free(path);
}

/* The texts of an opened file, each behind its line: "1:a 2:b". */
static void list_texts(const struct wn_documents *documents, struct wn_text *list)
{
    static const char *const fields[] = {"text", NULL};

    for (int64_t i = 0; i < documents->count; i++) {
        wn_text_printf(list, "%s%lld:", i ? " " : "", (long long)documents->line[i]);
        if (wn_documents_text(documents, i, fields, list) != WN_OK)
            wn_text_printf(list, "[%s]", strchr(wn_error_message(), ':'));
    }
}

struct layout {
    const char *name, *bytes, *content, *texts;
};

static const struct layout layouts[] = {
    {"c4.json", "{\"text\": \"a\", \"url\": \"x\"}\n{\"text\": \"b\"}\n", "JSON lines", "1:a 2:b"},
    {"lines.txt", "\n {\"text\": \"a\"}\r\n\r\n{\"text\": \"b\"}", "JSON lines", "2:a 4:b"},
    {"no_ending", "\xEF\xBB\xBF{\"text\": \"a\"}\n", "JSON lines", "1:a"},
    {"array.jsonl", "[{\"text\": \"a\"},{\"text\": \"b]\\\"\"}]", "JSON array", "1:a 1:b]\""},
    {"array.json", "[\n  {\n    \"text\": \"a\"\n  },\n\n  {\"text\": \"b\", \"more\": [1, {\"c\": []}]}\n]\n",
     "JSON array", "2:a 6:b"},
    {"wrapped.json", "{\"version\": 1, \"data\": [\n{\"text\": \"a\"},\n{\"text\": \"b\"}\n], \"n\": 2}\n",
     "list of a JSON object", "2:a 3:b"},
    {"wrapped_line.json", "{\"rows\": [{\"text\": \"a\"}]}", "list of a JSON object", "1:a"},
    {"objects.json", "{\n \"text\": \"a\"\n}\n{\n \"text\": \"b\"}\n", "JSON objects one behind the other", "1:a 4:b"},
    {"joined.json", "{\"text\": \"a\"}{\"text\": \"b\"}\n {\"text\": \"c\"}", "JSON objects one behind the other",
     "1:a 1:b 2:c"},
    {"returns.txt", "{\"text\": \"a\"}\r{\"text\": \"b\"}\r", "JSON objects one behind the other", "1:a 1:b"},
    {"strings.json", "[\"a\",\n \"b\", 3, null, {\"text\": \"c\"}]", "JSON array",
     "1:a 2:b 2:[:2: expected a JSON object] 2:[:2: expected a JSON object] 2:c"},
    {"string.jsonl", "\"a\"\n", "JSON lines", "1:[:1: expected a JSON object]"},
    {"python.txt", "{'text': 'a'}\n{\"text\": \"b\"}", "JSON lines",
     "1:[:1:2: expected a key in double quotes, found '''] 2:b"},
    {"one.json", "{\"text\": \"a\", \"chat\": [{\"role\": \"user\"}]}", "JSON lines", "1:a"},
    {"broken.jsonl", "{\"text\": \"a\n{\"text\": \"b\"}\n", "JSON lines", "1:[:1:10: the string is not closed] 2:b"},
    {"array_broken.json", "[{\"text\": \"a\"},\n {\"text\" 3}, {\"text\": \"c\"}]", "JSON array",
     "1:a 2:[:2:10: expected ':' after the key, found '3'] 2:c"},
    {"plain.txt", "{curly} text\n", "plain text", "1:{curly} text\n"},
    {"bracket.txt", "[1] a reference\r\nmore", "plain text", "1:[1] a reference\r\nmore"},
    {"mark.txt", "\xEF\xBB\xBFplain", "plain text", "1:plain"},
    {"lines.jsonl", "words\n{\"text\": \"b\"}", "JSON lines", "1:[:1:1: expected a value, found 'w'] 2:b"},
};

static void check_layout(const struct layout *layout, char *path)
{
    struct wn_documents documents;
    struct wn_text list = {0};

    wn_status status = wn_documents_open(path, false, &documents);
    CHECK_OK(status);
    if (status == WN_OK) {
        list_texts(&documents, &list);
        CHECK_TEXT(documents.content, layout->content);
        CHECK_TEXT(list.data, layout->texts);
        wn_documents_close(&documents);
    }
    wn_text_release(&list);
    remove_file(path);
}

static void check_layouts(void)
{
    for (size_t i = 0; i < sizeof layouts / sizeof *layouts; i++) {
        const struct layout *layout = &layouts[i];
        size_t length = strlen(layout->bytes);
        check_layout(layout, write_bytes(layout->name, layout->bytes, length));
        char *packed = wn_format("%s.gz", layout->name);
        check_layout(layout, write_packed(packed, layout->bytes, length, "wb"));
        wn_free(packed);
    }
}

/* Two members, as `cat a.gz b.gz` makes them, and a text larger than the room it is first given. */
static void check_large_gzip(void)
{
    int64_t length = (int64_t)5 << 20;
    char *text = wn_alloc(length, 1);
    struct wn_documents documents;

    for (int64_t i = 0; i < length; i++)
        text[i] = (char)('a' + wn_random_u64(1, 2, (uint64_t)i) % 26);
    wn_free(write_packed("large", text, 3 << 20, "wb"));
    char *path = write_packed("large", text + (3 << 20), 2 << 20, "ab");
    CHECK_OK(wn_documents_open(path, false, &documents));
    CHECK(documents.gzip && documents.size == length && memcmp(documents.data, text, (size_t)length) == 0);
    wn_documents_close(&documents);
    remove_file(path);
    wn_free(text);
}

struct refusal {
    const char *bytes;
    size_t length;
    bool records;
    const char *message;
};

#define BYTES(text) (text), sizeof(text) - 1

static const struct refusal refusals[] = {
    {BYTES("PAR1\x15\x04"), false, "is Parquet"},
    {BYTES("\x28\xb5\x2f\xfd\x04"), false, "unpack it: zstd -d"},
    {BYTES("\xfd"
           "7zXZ\0\0"),
     false, "is compressed by xz"},
    {BYTES("PK\x03\x04\x14"), false, "is a zip archive"},
    {BYTES("BZh91AY&SY"), true, "is compressed by bzip2"},
    {BYTES("\xff\xfe\x61\0"), false, "is UTF-16"},
    {BYTES("a\0b\0c\0d\0e\0"), false, "iconv -f UTF-16LE"},
    {BYTES("\0a\0b\0c\0d\0e"), false, "iconv -f UTF-16BE"},
    {BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:0"), true, "git lfs pull"},
    {BYTES("\x1f\x8b\x08\0\0\0\0\0\0\x03\x4b"), false, "the gzip file is cut off"},
    {BYTES("\x1f\x8b\x09\0\0\0\0\0\0\x03\x4b\x4c"), false, "the gzip file is damaged"},
    {BYTES(" \n"), true, "is empty, expected JSON lines"},
    {BYTES("[]"), true, "is empty, expected JSON lines"},
    {BYTES("[{\"text\": \"a\"}"), true, ":1: expected , or ] behind an element of the JSON array"},
    {BYTES("[{\"text\": \"a\"},]"), true, ":1: an element of the JSON array is missing"},
    {BYTES("[{\"text\": \"a\"}\n]\n{}"), true, ":3: the text goes on behind the end of the JSON array"},
    {BYTES("{\n\"train\": [{}],\n\"test\": [{}]}"), true, "a JSON object with the lists \"train\", \"test\""},
};

static void check_refusals(void)
{
    struct wn_documents documents;

    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        char *path = write_bytes("refused", refusals[i].bytes, refusals[i].length);
        CHECK(wn_documents_open(path, refusals[i].records, &documents) == WN_ERR_INPUT);
        CHECK_MESSAGE(refusals[i].message);
        remove_file(path);
    }
}

static wn_status visit_text(void *context, const struct wn_documents *documents, int64_t index, const cJSON *object)
{
    const char *text;

    return wn_documents_field(documents, index, object, context, &text);
}

/* What is left out is counted; a file of which nothing is left is refused. */
static void check_skip(void)
{
    static const char *fields[] = {"text", "page", NULL};
    struct wn_documents documents;
    struct wn_text list = {0};

    const char *lines = "{\"text\": \"a\"}\n{\"text\": 3}\n{\"txt\": \"b\", \"id\": 1}\n{\"text\": \"c\"}\n{";
    char *path = write_bytes("some.jsonl", lines, strlen(lines));
    CHECK_OK(wn_documents_open(path, false, &documents));
    CHECK_OK(wn_documents_skip(&documents, visit_text, fields));
    list_texts(&documents, &list);
    CHECK_TEXT(list.data, "1:a 4:c");
    CHECK(documents.skipped == 3);
    wn_documents_close(&documents);
    remove_file(path);

    const char *none = "{\"txt\": \"b\", \"id\": 1}\n{}\n";
    path = write_bytes("none.jsonl", none, strlen(none));
    CHECK_OK(wn_documents_open(path, false, &documents));
    CHECK(wn_documents_skip(&documents, visit_text, fields) == WN_ERR_INPUT);
    CHECK_MESSAGE("none.jsonl:1: the field \"text\" (or \"page\") is missing; the fields there are: \"txt\", \"id\"; "
                  "none of the 2 records can be used");
    wn_documents_close(&documents);
    remove_file(path);
    wn_text_release(&list);
}

/* A mistake in every record is two lines. */
static void check_repeated(void)
{
    static const char *fields[] = {"text", NULL};
    struct wn_text lines = {0};
    struct wn_problems problems;
    struct wn_documents documents;

    for (int i = 0; i < 100; i++)
        wn_text_printf(&lines, "{\"content\": \"%d\"}\n", i);
    char *path = write_bytes("repeated.jsonl", lines.data, lines.length);
    wn_problems_init(&problems);
    CHECK_OK(wn_documents_open(path, false, &documents));
    wn_documents_check(&documents, visit_text, fields, &problems);
    CHECK(problems.count == 2);
    CHECK(problems.count == 2 && strstr(problems.lines[0], ":1: the field \"text\" is missing; the fields there are: "
                                                           "\"content\""));
    CHECK(problems.count == 2 && strstr(problems.lines[1], "... and 99 more like it"));
    wn_documents_close(&documents);
    wn_problems_release(&problems);
    wn_text_release(&lines);
    remove_file(path);
}

int main(void)
{
    CHECK(mkdtemp(folder));
    check_layouts();
    check_large_gzip();
    check_refusals();
    check_skip();
    check_repeated();
    CHECK(rmdir(folder) == 0);
    return test_finish();
}
