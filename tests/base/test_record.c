/* SPDX-License-Identifier: Apache-2.0 */
/* Schema and record: axes, fields, sizes, missing values, texts cut at a code point, misuse. */
#include "../test.h"

#include <winnow/record.h>

#include <signal.h>
#include <sys/wait.h>

static const char *const linears[] = {"q_proj", "k_proj", "v_proj"};

static void check_schema(void)
{
    struct wn_schema schema;

    wn_schema_init(&schema);
    int block = wn_schema_dim(&schema, "block", 2, NULL), linear = wn_schema_dim(&schema, "linear", 3, linears);
    CHECK(block == 0 && linear == 1);
    CHECK(wn_schema_dim(&schema, "block", 2, NULL) == block);
    CHECK(wn_schema_dim(&schema, "linear", 3, linears) == linear);
    CHECK(schema.n_dims == 2);
    CHECK_TEXT(schema.dims[linear].labels[2], "v_proj");
    CHECK(schema.dims[linear].labels[2] != linears[2]);

    int dims[] = {block, linear};
    int zeros = wn_schema_field(&schema, "/weights/zeros", WN_FIELD_F32, 2, dims, "1", "share of zeros", true);
    int loss = wn_schema_field(&schema, "/scores/loss", WN_FIELD_F64, 0, NULL, "nat", "loss", true);
    int host = wn_schema_text(&schema, "/points/host", 16, "where it ran", false);
    for (int i = 0; i < 40; i++) { /* the arrays grow */
        char *path = wn_format("/more/%d", i);
        CHECK(wn_schema_field(&schema, path, WN_FIELD_U8, 1, &linear, "1", "", false) == 3 + i);
        wn_free(path);
    }
    CHECK(zeros == 0 && loss == 1 && host == 2);
    CHECK(wn_schema_find(&schema, "/scores/loss") == loss);
    CHECK(wn_schema_find(&schema, "/more/39") == 42);
    CHECK(wn_schema_find(&schema, "/scores") == -1);
    CHECK(schema.fields[zeros].elements == 6 && schema.fields[zeros].bytes == 24);
    CHECK(schema.fields[loss].elements == 1 && schema.fields[loss].bytes == 8 && schema.fields[loss].result);
    CHECK(schema.fields[host].bytes == 16 && schema.fields[host].text_bytes == 16 && !schema.fields[host].result);
    CHECK(schema.fields[zeros].dims[1] == linear);
    int texts = wn_schema_texts(&schema, "/texts", 5, 2, dims, "texts with axes", true);
    CHECK(schema.fields[texts].elements == 6 && schema.fields[texts].bytes == 30);
    struct wn_record record;
    wn_record_init(&record, &schema);
    wn_record_set_text_at(&record, texts, 1, "abcdefgh");
    wn_record_set_text_at(&record, texts, 5, "ab\xc3\xa9\xc3\xa9"); /* cut in front of the last character */
    CHECK(!memcmp(record.data[texts], "\0\0\0\0\0abcd\0", 10) && !memcmp(record.data[texts] + 25, "ab\xc3\xa9\0", 5));
    wn_record_release(&record);
    CHECK(wn_schema_bytes(&schema) == 24 + 8 + 16 + 40 * 3 + 30);
    wn_schema_release(&schema);
}

static void check_constants(void)
{
    static const int32_t gold[] = {2, 0, -1};
    struct wn_schema schema, longer;

    wn_schema_init(&schema);
    wn_schema_init(&longer);
    int dims[] = {wn_schema_dim(&schema, "item", 3, NULL), wn_schema_dim(&schema, "choice", 2, NULL)};
    wn_schema_field(&schema, "/score", WN_FIELD_F64, 0, NULL, "1", "", true);
    for (int i = 0; i < 5; i++) { /* the array grows */
        char *path = wn_format("/gold%d", i);
        CHECK(wn_schema_constant(&schema, path, WN_FIELD_I32, 1, dims, "1", "right choice", gold) == i);
        wn_free(path);
    }
    int missing = wn_schema_constant(&schema, "/lengths", WN_FIELD_F64, 2, dims, "nat", "", NULL);
    CHECK(wn_schema_find_constant(&schema, "/gold4") == 4 && wn_schema_find_constant(&schema, "/score") == -1);
    CHECK(wn_schema_find(&schema, "/gold4") == -1 && schema.n_fields == 1);
    CHECK(schema.constants[0].about.bytes == 12 && memcmp(schema.constants[0].data, gold, sizeof gold) == 0);
    CHECK(schema.constants[0].data != (const uint8_t *)gold && schema.constants[0].about.result);
    CHECK(wn_schema_bytes(&schema) == 8); /* constants are no part of a point */
    for (int i = 0; i < 6; i++)
        CHECK(isnan(((const double *)(const void *)schema.constants[missing].data)[i]));
    int wide[] = {wn_schema_dim(&longer, "item", 4, NULL), wn_schema_dim(&longer, "choice", 3, NULL)};
    const double values[] = {1, 2, 3, 4, 5, 6};
    int target = wn_schema_constant(&longer, "/lengths", WN_FIELD_F64, 2, wide, "nat", "", NULL);
    wn_field_widen(&schema, &schema.constants[missing].about, (const uint8_t *)values, &longer,
                   &longer.constants[target].about, longer.constants[target].data);
    const double *out = (const double *)(const void *)longer.constants[target].data;
    CHECK(out[0] == 1 && out[1] == 2 && out[3] == 3 && out[4] == 4 && out[6] == 5 && out[7] == 6);
    CHECK(isnan(out[2]) && isnan(out[5]) && isnan(out[8]) && isnan(out[9]) && isnan(out[11]));
    wn_schema_release(&schema);
    wn_schema_release(&longer);
}

static void check_missing(struct wn_record *record)
{
    for (int i = 0; i < 3; i++) {
        CHECK(isnan(wn_record_f64(record, 0)[i]));
        CHECK(isnan(wn_record_f32(record, 1)[i]));
        CHECK(wn_record_i64(record, 2)[i] == -1);
        CHECK(wn_record_i32(record, 3)[i] == -1);
        CHECK(wn_record_u8(record, 4)[i] == 255);
    }
    for (int i = 0; i < 8; i++)
        CHECK(record->data[5][i] == 0);
}

static void check_record(void)
{
    static const enum wn_field_type types[] = {WN_FIELD_F64, WN_FIELD_F32, WN_FIELD_I64, WN_FIELD_I32, WN_FIELD_U8};
    struct wn_schema schema;
    struct wn_record record;

    wn_schema_init(&schema);
    int linear = wn_schema_dim(&schema, "linear", 3, linears), none = wn_schema_dim(&schema, "none", 0, NULL);
    for (int t = 0; t < 5; t++) {
        char *path = wn_format("/f%d", t);
        wn_schema_field(&schema, path, types[t], 1, &linear, "1", "", true);
        wn_free(path);
    }
    int text = wn_schema_text(&schema, "/text", 8, "", true);
    int empty = wn_schema_field(&schema, "/empty", WN_FIELD_F32, 1, &none, "1", "", true);
    wn_record_init(&record, &schema);
    CHECK(wn_record_f32(&record, empty) != NULL && schema.fields[empty].bytes == 0);
    check_missing(&record);
    for (int i = 0; i < 3; i++) {
        wn_record_f64(&record, 0)[i] = i;
        wn_record_i64(&record, 2)[i] = i;
        wn_record_u8(&record, 4)[i] = (uint8_t)i;
    }
    static const char *const texts[][2] = {
        {"short", "short"},
        {"sevenxx", "sevenxx"},
        {"eight888", "eight88"},
        {"", ""},
        {"abcde\u00e9f", "abcde\u00e9"},
        {"abcdef\u00e9", "abcdef"},
        {"abcde\u20ac", "abcde"},
        {"\U0001F600\U0001F600", "\U0001F600"},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        wn_record_set_text(&record, text, texts[i][0]);
        CHECK_TEXT((const char *)record.data[text], texts[i][1]);
        for (size_t byte = strlen(texts[i][1]); byte < 8; byte++)
            CHECK(record.data[text][byte] == 0);
    }
    wn_record_clear(&record);
    check_missing(&record);
    wn_record_release(&record);
    wn_schema_release(&schema);
}

static void repeat_path(struct wn_schema *schema)
{
    wn_schema_field(schema, "/a", WN_FIELD_F64, 0, NULL, "1", "", true);
}

static void repeat_path_as_constant(struct wn_schema *schema)
{
    int axis = 0;

    wn_schema_constant(schema, "/a", WN_FIELD_F64, 1, &axis, "1", "", NULL);
}

static void add_constant_without_axis(struct wn_schema *schema)
{
    wn_schema_constant(schema, "/c", WN_FIELD_F64, 0, NULL, "1", "", NULL);
}

static void change_axis(struct wn_schema *schema)
{
    wn_schema_dim(schema, "linear", 2, linears);
}

static void change_labels(struct wn_schema *schema)
{
    static const char *const others[] = {"q_proj", "k_proj", "o_proj"};

    wn_schema_dim(schema, "linear", 3, others);
}

static void use_unknown_axis(struct wn_schema *schema)
{
    int axis = 7;

    wn_schema_field(schema, "/b", WN_FIELD_F64, 1, &axis, "1", "", true);
}

static void read_other_type(struct wn_schema *schema)
{
    struct wn_record record;

    wn_record_init(&record, schema);
    wn_record_f32(&record, 0);
}

/* Our own mistakes end the program. */
static void check_bug(void (*mistake)(struct wn_schema *))
{
    struct wn_schema schema;
    int status;

    wn_schema_init(&schema);
    wn_schema_dim(&schema, "linear", 3, linears);
    wn_schema_field(&schema, "/a", WN_FIELD_F64, 0, NULL, "1", "", true);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        mistake(&schema);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    wn_schema_release(&schema);
}

int main(void)
{
    check_schema();
    check_constants();
    check_record();
    check_bug(repeat_path);
    check_bug(repeat_path_as_constant);
    check_bug(add_constant_without_axis);
    check_bug(change_axis);
    check_bug(change_labels);
    check_bug(use_unknown_axis);
    check_bug(read_other_type);
    return test_finish();
}
