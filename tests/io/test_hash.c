/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 against the examples of FIPS 180-4; paths, UTF-8 and whole files beside it. */
#include "folder.h"

#include <winnow/io.h>

#define ABC_HEX   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY_HEX "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void check_buffer(void)
{
    char hex[WN_HASH_HEX];
    uint8_t digest[32];

    wn_hash_buffer("abc", 3, hex);
    CHECK_TEXT(hex, ABC_HEX);
    wn_hash_buffer(NULL, 0, hex);
    CHECK_TEXT(hex, EMPTY_HEX);
    /* a million letters a, in uneven pieces */
    struct wn_hash *hash = wn_hash_create();
    char piece[1000];
    memset(piece, 'a', sizeof piece);
    int64_t left = 1000000;
    for (int64_t step = 1; left > 0; step = step * 7 % 1000 + 1) {
        int64_t length = step < left ? step : left;
        wn_hash_update(hash, piece, (size_t)length);
        left -= length;
    }
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
    CHECK_TEXT(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

static void check_file(void)
{
    char hex[WN_HASH_HEX];
    char *folder = folder_create(), *path = folder_write(folder, "abc", "abc", 3);

    CHECK_OK(wn_hash_file(path, hex));
    CHECK_TEXT(hex, ABC_HEX);
    CHECK(wn_hash_file(folder, hex) == WN_ERR_INPUT);
    CHECK_MESSAGE(folder);
    wn_free(path);
    path = folder_write(folder, "empty", "", 0);
    CHECK_OK(wn_hash_file(path, hex));
    CHECK_TEXT(hex, EMPTY_HEX);
    wn_free(path);
    path = wn_join_path(folder, "absent");
    CHECK(wn_hash_file(path, hex) == WN_ERR_INPUT);
    CHECK_MESSAGE(path);
    CHECK_MESSAGE("No such file");
    wn_free(path);
    folder_remove(folder);
}

static void check_whole_files(void)
{
    char *folder = folder_create(), *path = folder_write(folder, "some", "ab\0c", 4), *text;
    struct wn_mapped mapped;
    int64_t length;

    CHECK_OK(wn_read_text(path, &text, &length));
    CHECK(length == 4 && memcmp(text, "ab\0c", 5) == 0);
    wn_free(text);
    CHECK_OK(wn_map(path, &mapped));
    CHECK(mapped.size == 4 && memcmp(mapped.data, "ab\0c", 4) == 0);
    wn_unmap(&mapped);
    CHECK(wn_file_exists(path));
    CHECK(!wn_file_exists(folder));
    wn_free(path);
    path = folder_write(folder, "empty", "", 0);
    CHECK_OK(wn_map(path, &mapped));
    CHECK(mapped.size == 0 && mapped.data != NULL);
    wn_unmap(&mapped);
    CHECK_OK(wn_read_text(path, &text, &length));
    CHECK(length == 0);
    CHECK_TEXT(text, "");
    wn_free(text);
    wn_free(path);
    path = wn_join_path(folder, "absent");
    CHECK(!wn_file_exists(path));
    CHECK(wn_map(path, &mapped) == WN_ERR_INPUT);
    CHECK_MESSAGE(path);
    CHECK(wn_read_text(path, &text, &length) == WN_ERR_INPUT && text == NULL);
    CHECK_MESSAGE(path);
    CHECK(wn_read_text(folder, &text, &length) == WN_ERR_INPUT && text == NULL);
    CHECK_MESSAGE("directory");
    CHECK(wn_map(folder, &mapped) == WN_ERR_INPUT);
    CHECK_MESSAGE("no regular file");
    wn_free(path);
    folder_remove(folder);
}

static void check_join(const char *directory, const char *name, const char *expected)
{
    char *path = wn_join_path(directory, name);

    CHECK_TEXT(path, expected);
    wn_free(path);
}

static void check_directory(const char *path, const char *expected)
{
    char *directory = wn_directory_of(path);

    CHECK_TEXT(directory, expected);
    wn_free(directory);
}

static void check_paths(void)
{
    check_join("a", "b", "a/b");
    check_join("a/", "b/c", "a/b/c");
    check_join("a", "/b", "/b");
    check_join("", "b", "b");
    check_join("/", "b", "/b");
    check_directory("a/b/c", "a/b");
    check_directory("c", ".");
    check_directory("/c", "/");
}

static void check_utf8(void)
{
    static const struct {
        const char *text;
        int64_t invalid_at, characters;
    } cases[] = {
        {"", -1, 0},
        {"plain text of more than eight letters", -1, 37},
        {"\xC3\xA9", -1, 1},
        {"abcdefgh\xE2\x82\xAC", -1, 9},
        {"\xF0\x9F\x98\x80!", -1, 2},
        {"\xED\x9F\xBF\xEE\x80\x80\xF4\x8F\xBF\xBF", -1, 3},
        {"ab\xFF", 2, 0},
        {"12345678\x80", 8, 0},      /* a continuation alone */
        {"\xC0\xAF", 0, 0},          /* overlong */
        {"\xE0\x9F\xBF", 0, 0},      /* overlong */
        {"a\xF0\x8F\xBF\xBF", 1, 0}, /* overlong */
        {"\xED\xA0\x80", 0, 0},      /* a surrogate */
        {"\xF4\x90\x80\x80", 0, 0},  /* above U+10FFFF */
        {"a\xE2\x82", 1, 0},         /* cut off */
        {"\xE2\x82\x41", 0, 0},      /* third byte wrong */
        {"\xF5\x80\x80\x80", 0, 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t length = (int64_t)strlen(cases[i].text);
        CHECK(wn_utf8_invalid_at(cases[i].text, length) == cases[i].invalid_at);
        if (cases[i].invalid_at < 0)
            CHECK(wn_utf8_length(cases[i].text, length) == cases[i].characters);
    }
}

int main(void)
{
    check_buffer();
    check_file();
    check_whole_files();
    check_paths();
    check_utf8();
    return test_finish();
}
