/* SPDX-License-Identifier: Apache-2.0 */
/*
 * safetensors: every rule of the format broken once, what must be taken, single and sharded checkpoints, conversion of
 * all 65536 halves and bfloats.
 */
#include "folder.h"

#include <winnow/io.h>

/* ---- images ---- */

/* u64 length, header, `data_size` bytes that count up. Owned by the caller. */
static struct wn_text make_image(const char *header, size_t data_size)
{
    struct wn_text image = {0};
    uint64_t n = strlen(header);

    wn_text_append(&image, (const char *)&n, sizeof n);
    wn_text_append(&image, header, n);
    for (size_t i = 0; i < data_size; i++)
        wn_text_append(&image, &(char){(char)i}, 1);
    return image;
}

/* An exact copy, so that a read behind the end is seen by the address sanitizer. */
static wn_status check_bytes(const char *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);

    if (size > 0)
        memcpy(copy, data, size);
    wn_status status = wn_safetensors_check("f", copy, (int64_t)size);
    free(copy);
    return status;
}

static void check_taken(const char *header, size_t data_size)
{
    struct wn_text image = make_image(header, data_size);

    CHECK_OK(check_bytes(image.data, image.length));
    wn_text_release(&image);
}

static void check_refused(const char *header, size_t data_size, const char *expected)
{
    struct wn_text image = make_image(header, data_size);

    CHECK(check_bytes(image.data, image.length) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), expected);
    wn_text_release(&image);
}

#define A(fields)                    "{\"a\": {" fields "}}"
#define ENTRY(dtype, shape, offsets) "{\"dtype\": \"" dtype "\", \"shape\": " shape ", \"data_offsets\": " offsets "}"

static void check_good(void)
{
    check_taken("{}", 0);
    check_taken("{}      ", 0);
    check_taken("{\"__metadata__\": {\"format\": \"pt\"}, \"a\": " ENTRY("F32", "[2, 3]", "[0, 24]") "}   ", 24);
    check_taken("{\"scalar\": " ENTRY("F32", "[]", "[0, 4]") "}", 4);
    check_taken("{\"empty\": " ENTRY("F16", "[0, 7]", "[0, 0]") "}", 0);
    /* an empty tensor between others and at the end, the order of the header not that of the data */
    check_taken("{\"b\": " ENTRY("BF16", "[2]", "[4, 8]") ", \"e\": " ENTRY("I64", "[0]", "[4, 4]") ", \"a\": " ENTRY(
                    "U8", "[4]", "[0, 4]") ", \"z\": " ENTRY("F64", "[3, 0]", "[8, 8]") "}",
                8);
    check_taken("{\"a\": " ENTRY("F4", "[4]", "[0, 2]") ", \"b\": " ENTRY("F6_E2M3", "[4]", "[2, 5]") "}", 5);
    check_taken("{\"a\": " ENTRY("BOOL", "[1,1,1,1,1,1,1,1]", "[0, 1]") "}", 1);
}

static void check_frame(void)
{
    static const char limit[] = "\x01\xE1\xF5\x05\0\0\0\0{}"; /* 100,000,001 */
    static const char huge[] = "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF{}";
    static const char behind[] = "\x03\0\0\0\0\0\0\0{}";

    CHECK(check_bytes("", 0) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), "f: no safetensors file: it has only 0 bytes (an unfinished download?)");
    CHECK(check_bytes(behind, 7) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), "f: no safetensors file: it has only 7 bytes (an unfinished download?)");
    CHECK(check_bytes(limit, 10) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(),
               "f: no safetensors file: a header of 100000001 bytes is above the limit of 100000000");
    CHECK(check_bytes(huge, 10) == WN_ERR_INPUT);
    CHECK_MESSAGE("above the limit");
    CHECK(check_bytes(behind, 10) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), "f: the header of 3 bytes ends behind the file of 10 bytes (was it truncated?)");
    check_refused("", 4, "f: no safetensors file: the header must start with '{'");
    check_refused(" {}", 0, "f: no safetensors file: the header must start with '{'");
    check_refused("[]", 0, "f: no safetensors file: the header must start with '{'");
    check_refused("{\"a\"}", 0, "f: header:1:5: expected ':' after the key, found '}'");
    check_refused("{}x", 0, "f: header:1:3: expected the end of the text, found 'x'");
    check_refused("{\"\xFF\": 1}", 0, "f: header:1:3: the byte 0xff is no valid UTF-8");
    check_refused("{\"a\": " ENTRY("U8", "[1]", "[0, 1]") ", \"a\": " ENTRY("U8", "[1]", "[1, 2]") "}", 2,
                  "f: header:1:62: the key \"a\" appears twice in one object");
}

static void check_fields(void)
{
    static const char offsets[] = "f: tensor \"a\": \"data_offsets\" must be two integers from 0 to 2^53";
    static const char dimension[] = "f: tensor \"a\": a dimension must be an integer from 0 to 2^53";

    check_refused("{\"__metadata__\": 1}", 0, "f: \"__metadata__\" must be an object of strings");
    check_refused("{\"__metadata__\": {\"k\": 1}}", 0, "f: \"__metadata__\": the value of \"k\" must be a string");
    check_refused("{\"a\": 1}", 0, "f: tensor \"a\": expected an object with dtype, shape and data_offsets");
    check_refused(A("\"shape\": [], \"data_offsets\": [0, 4]"), 4, "f: tensor \"a\": \"dtype\" must be a string");
    check_refused(A("\"dtype\": 1, \"shape\": [], \"data_offsets\": [0, 4]"), 4,
                  "f: tensor \"a\": \"dtype\" must be a string");
    check_refused("{\"a\": " ENTRY("f32", "[1]", "[0, 4]") "}", 4, "f: tensor \"a\": the dtype \"f32\" is not known");
    check_refused(A("\"dtype\": \"F32\", \"data_offsets\": [0, 4]"), 4,
                  "f: tensor \"a\": \"shape\" must be an array of integers");
    check_refused("{\"a\": " ENTRY("F32", "[-1]", "[0, 4]") "}", 4, dimension);
    check_refused("{\"a\": " ENTRY("F32", "[0.5]", "[0, 4]") "}", 4, dimension);
    check_refused("{\"a\": " ENTRY("F32", "[\"1\"]", "[0, 4]") "}", 4, dimension);
    check_refused("{\"a\": " ENTRY("F32", "[9007199254740994]", "[0, 4]") "}", 4, dimension);
    check_refused("{\"a\": " ENTRY("F32", "[1,1,1,1,1,1,1,1,1]", "[0, 4]") "}", 4,
                  "f: tensor \"a\": more than 8 dimensions are not supported");
    check_refused(A("\"dtype\": \"F32\", \"shape\": [1]"), 4, offsets);
    check_refused("{\"a\": " ENTRY("F32", "[1]", "[0]") "}", 4, offsets);
    check_refused("{\"a\": " ENTRY("F32", "[1]", "[0, 4, 8]") "}", 4, offsets);
    check_refused("{\"a\": " ENTRY("F32", "[1]", "[-4, 0]") "}", 4, offsets);
    check_refused("{\"a\": " ENTRY("F32", "[1]", "[0, 4.5]") "}", 4, offsets);
    check_refused("{\"a\": " ENTRY("F32", "[1]", "[0, 18446744073709551620]") "}", 4, offsets);
    check_refused("{\"a\": " ENTRY("F32", "[1]", "{\"b\": 0, \"e\": 4}") "}", 4, offsets);
}

static void check_sizes(void)
{
    check_refused("{\"a\": " ENTRY("F32", "[4294967296, 4294967296]", "[0, 0]") "}", 0,
                  "f: tensor \"a\": the product of the shape is too large");
    check_refused("{\"a\": " ENTRY("F32", "[4294967296, 4294967296, 0]", "[0, 0]") "}", 0,
                  "f: tensor \"a\": the product of the shape is too large");
    check_refused("{\"a\": " ENTRY("F4", "[3]", "[0, 1]") "}", 1,
                  "f: tensor \"a\": 12 bits of data are no whole bytes");
    check_refused("{\"a\": " ENTRY("F32", "[1]", "[8, 4]") "}", 8,
                  "f: tensor \"a\": its data ends at 4 before it begins at 8");
    check_refused("{\"a\": " ENTRY("F32", "[2]", "[0, 4]") "}", 4,
                  "f: tensor \"a\": dtype and shape need 8 bytes, its offsets span 4");
    check_refused("{\"a\": " ENTRY("F32", "[2]", "[0, 8]") "}", 7,
                  "f: tensor \"a\": its data ends at byte 8 of the data, which has 7 bytes (was the file truncated?)");
    check_refused("{\"a\": " ENTRY("F32", "[2]", "[0, 8]") "}", 9,
                  "f: the tensors end at byte 8 of the data, which has 9 bytes");
    check_refused("{}", 1, "f: the tensors end at byte 0 of the data, which has 1 bytes");
    check_refused("{\"a\": " ENTRY("U8", "[4]", "[2, 6]") "}", 6,
                  "f: tensor \"a\": its data begins at 2, expected 0: there is a hole");
    check_refused("{\"a\": " ENTRY("U8", "[4]", "[0, 4]") ", \"b\": " ENTRY("U8", "[2]", "[6, 8]") "}", 8,
                  "f: tensor \"b\": its data begins at 6, expected 4: there is a hole");
    check_refused("{\"b\": " ENTRY("U8", "[4]", "[2, 6]") ", \"a\": " ENTRY("U8", "[4]", "[0, 4]") "}", 6,
                  "f: tensor \"b\": its data begins at 2, expected 4: it overlaps another tensor");
}

/* Each cut of a good file is refused, whatever its length. */
static void check_truncated(void)
{
    struct wn_text image = make_image("{\"a\": " ENTRY("F32", "[2]", "[0, 8]") "}", 8);

    for (size_t size = 0; size < image.length; size++)
        CHECK(check_bytes(image.data, size) == WN_ERR_INPUT);
    CHECK_OK(check_bytes(image.data, image.length));
    wn_text_release(&image);
}

/* ---- checkpoints ---- */

static void write_image(const char *folder, const char *name, const char *header, size_t data_size)
{
    struct wn_text image = make_image(header, data_size);
    char *path = folder_write(folder, name, image.data, image.length);

    wn_free(path);
    wn_text_release(&image);
}

static void check_open_refused(const char *folder, const char *part)
{
    struct wn_checkpoint *checkpoint;

    CHECK(wn_checkpoint_open(folder, &checkpoint) == WN_ERR_INPUT);
    CHECK(checkpoint == NULL);
    CHECK(strncmp(wn_error_message(), folder, strlen(folder)) == 0);
    CHECK_MESSAGE(part);
}

static void check_single(void)
{
    char *folder = folder_create(), *absent = wn_join_path(folder, "absent"), *file;
    struct wn_checkpoint *checkpoint;
    const char *const *paths = NULL;

    check_open_refused(absent, "the model's folder cannot be opened: No such file or directory");
    check_open_refused(folder, "the folder is empty: expected config.json");
    /* `b` starts at an odd place */
    write_image(folder, "model.safetensors",
                "{\"b\": " ENTRY("F32", "[2, 1]", "[3, 11]") ", \"a\": " ENTRY("U8", "[3]", "[0, 3]") "}", 11);
    CHECK_OK(wn_checkpoint_open(folder, &checkpoint));
    CHECK(wn_checkpoint_count(checkpoint) == 2 && wn_checkpoint_files(checkpoint, &paths) == 1);
    const struct wn_tensor *b = wn_checkpoint_find(checkpoint, "b");
    CHECK(wn_checkpoint_find(checkpoint, "c") == NULL && b && b == wn_checkpoint_at(checkpoint, 1));
    CHECK(b->dtype == WN_F32 && b->n_dims == 2 && b->shape[0] == 2 && b->shape[1] == 1 && b->bytes == 8);
    CHECK_TEXT(b->dtype_name, "F32");
    CHECK_TEXT(b->name, "b");
    CHECK_TEXT(b->file, paths[0]);
    CHECK(memcmp(b->data, "\3\4\5\6\7\10\11\12", 8) == 0);
    float values[2] = {0}, expected[2];
    memcpy(expected, "\3\4\5\6\7\10\11\12", 8);
    wn_tensor_to_float(b, 1, 1, values);
    CHECK(values[0] == expected[1]);
    wn_tensor_to_float(b, 0, 2, values);
    CHECK(values[0] == expected[0] && values[1] == expected[1]);
    CHECK(wn_checkpoint_at(checkpoint, 0)->dtype == WN_OTHER);
    wn_checkpoint_close(&checkpoint);
    CHECK(checkpoint == NULL);
    wn_checkpoint_close(&checkpoint);
    file = wn_join_path(folder, "model.safetensors");
    check_open_refused(file, "is a file; expected the folder with model.safetensors");
    write_image(folder, "model.safetensors", "{}", 3);
    check_open_refused(folder, "/model.safetensors: the tensors end at byte 0");
    write_image(folder, "model.safetensors", "{}", 0);
    CHECK_OK(wn_checkpoint_open(folder, &checkpoint));
    CHECK(wn_checkpoint_count(checkpoint) == 0 && wn_checkpoint_find(checkpoint, "a") == NULL);
    wn_checkpoint_close(&checkpoint);
    wn_free(file);
    wn_free(absent);
    folder_remove(folder);
}

/* ---- folders without weights that can be read ---- */

static void check_instead(const char *name, const char *part, const char *advice)
{
    char *folder = folder_create();

    wn_free(folder_write(folder, "config.json", "{}", 2));
    wn_free(folder_write(folder, name, "x", 1));
    check_open_refused(folder, part);
    CHECK_MESSAGE(name);
    CHECK_MESSAGE(advice);
    folder_remove(folder);
}

static void check_link(void)
{
    char *folder = folder_create(), *link = wn_join_path(folder, "model.safetensors");

    CHECK(symlink("../../blobs/abc", link) == 0);
    check_open_refused(folder, "a link to a file that is not there");
    wn_free(link);
    link = wn_join_path(folder, "config.json");
    CHECK(symlink("../../blobs/def", link) == 0);
    char *text;
    int64_t length;
    CHECK(wn_read_text(link, &text, &length) == WN_ERR_INPUT);
    CHECK_MESSAGE("is a link to ../../blobs/def, which is not there");
    wn_free(link);
    folder_remove(folder);
}

static void check_begins(const char *content, size_t length, const char *part)
{
    char *folder = folder_create();

    wn_free(folder_write(folder, "model.safetensors", content, length));
    check_open_refused(folder, part);
    folder_remove(folder);
}

static void check_others(void)
{
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";

    check_instead("pytorch_model.bin", "PyTorch's own format", "save_pretrained");
    check_instead("pytorch_model-00002-of-00002.bin", "PyTorch's own format", "save_pretrained");
    check_instead("consolidated.00.pth", "Meta's code", "convert_llama_weights_to_hf.py");
    check_instead("model.fp16.safetensors", "a variant", "rename it to model.safetensors");
    check_instead("model.safetensors.index.fp16.json", "a variant", "model.safetensors.index.json");
    check_instead("model-00002-of-00003.safetensors", "without their index", "download model.safetensors.index.json");
    check_instead("model-q4_0.gguf", "a GGUF file", "the checkpoint it was made from");
    check_instead("adapter_config.json", "an adapter", "merge_and_unload");
    check_instead("model.safetensors.incomplete", "an unfinished download", "finish it");
    check_instead("tf_model.h5", "TensorFlow", "from_tf");
    check_instead("consolidated.safetensors", "their maker's own code", "checkpoint for transformers");
    check_instead("weights.safetensors", "another name", "rename it");
    check_link();
    check_begins(pointer, sizeof pointer - 1,
                 "is a git-lfs pointer of 64 bytes, not the file itself: run \"git lfs pull");
    check_begins("PK\3\4 and more", 13, "a PyTorch archive");
    check_begins("<!DOCTYPE html><html>", 21, "a web page");
    check_begins("GGUF\3\0\0\0\0\0", 10, "a GGUF file");
}

static void write_index(const char *folder, const char *text)
{
    char *path = folder_write(folder, "model.safetensors.index.json", text, strlen(text));

    wn_free(path);
}

#define SHARD1 "model-00001-of-00002.safetensors"
#define SHARD2 "model-00002-of-00002.safetensors"
#define MAP(c_shard)                                                                                                   \
    "{\"metadata\": {\"total_size\": 12}, \"weight_map\": {\"c\": \"" c_shard "\", \"a\": \"" SHARD1                   \
    "\", \"b\": \"" SHARD2 "\"}}"

static void check_shards(void)
{
    char *folder = folder_create();
    struct wn_checkpoint *checkpoint;
    const char *const *paths = NULL;
    float value = 0;

    write_index(folder, MAP(SHARD2));
    write_image(folder, SHARD1, "{\"a\": " ENTRY("F32", "[1]", "[0, 4]") "}", 4);
    check_open_refused(folder, SHARD2 ": cannot be opened: No such file or directory (a shard named in ");
    /* `a` of the last shard counts, whatever the index says, as in transformers */
    write_image(folder, SHARD2,
                "{\"a\": " ENTRY("F16", "[1]", "[0, 2]") ", \"b\": " ENTRY("F16", "[2]", "[2, 6]") ", \"c\": " ENTRY(
                    "BF16", "[1]", "[6, 8]") "}",
                8);
    CHECK_OK(wn_checkpoint_open(folder, &checkpoint));
    CHECK(wn_checkpoint_count(checkpoint) == 3 && wn_checkpoint_files(checkpoint, &paths) == 2);
    CHECK(strstr(paths[0], SHARD1) && strstr(paths[1], SHARD2));
    const char *names[] = {"a", "b", "c"};
    for (int i = 0; i < 3; i++) {
        const struct wn_tensor *tensor = wn_checkpoint_find(checkpoint, names[i]);
        CHECK(tensor && tensor == wn_checkpoint_at(checkpoint, i) && strcmp(tensor->file, paths[1]) == 0);
    }
    CHECK(wn_checkpoint_find(checkpoint, "a")->dtype == WN_F16);
    wn_tensor_to_float(wn_checkpoint_find(checkpoint, "c"), 0, 1, &value);
    uint32_t bits = 0x07060000;
    CHECK(memcmp(&value, &bits, 4) == 0);
    wn_checkpoint_close(&checkpoint);
    /* `c` lies elsewhere than the index says, `d` nowhere, and of `b` the index knows nothing */
    write_index(folder, "{\"weight_map\": {\"a\": \"" SHARD1 "\", \"c\": \"" SHARD1 "\", \"d\": \"" SHARD2 "\"}}");
    CHECK_OK(wn_checkpoint_open(folder, &checkpoint));
    CHECK(wn_checkpoint_count(checkpoint) == 3 && wn_checkpoint_find(checkpoint, "b"));
    CHECK(wn_checkpoint_find(checkpoint, "c") && !wn_checkpoint_find(checkpoint, "d"));
    wn_checkpoint_close(&checkpoint);
    write_image(folder, SHARD2, "{\"a\": 1}", 0);
    check_open_refused(folder, SHARD2 ": tensor \"a\": expected an object");
    folder_remove(folder);
}

static void check_index(void)
{
    static const char *const outside[] = {"/etc/passwd", "../b", "a/../../b", "..", ""};
    char *folder = folder_create();

    write_index(folder, "{\"weight_map\": {\"a\": 1}}");
    check_open_refused(folder, "\"weight_map\": the value of \"a\" must be a file name");
    write_index(folder, "{\"weight_map\": {}}");
    check_open_refused(folder, "\"weight_map\" names no tensor");
    write_index(folder, "{}");
    check_open_refused(folder, "\"weight_map\" must be an object of file names");
    write_index(folder, "[");
    check_open_refused(folder, "model.safetensors.index.json:1:2: expected a value");
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++) {
        char *text = wn_format("{\"weight_map\": {\"a\": \"%s\"}}", outside[i]);
        write_index(folder, text);
        check_open_refused(folder, "must lie in the model's folder");
        wn_free(text);
    }
    write_index(folder, "{\"weight_map\": {\"a\": \"..a/b..\"}}"); /* inside, but absent */
    check_open_refused(folder, "..a/b..: cannot be opened");
    folder_remove(folder);
}

/* ---- conversion ---- */

static double half_value(unsigned half)
{
    int exponent = (int)(half >> 10 & 31), mantissa = (int)(half & 1023);
    double sign = half & 0x8000 ? -1 : 1;

    if (exponent == 31)
        return mantissa ? NAN : sign * INFINITY;
    return sign * (exponent ? ldexp(1024 + mantissa, exponent - 25) : ldexp(mantissa, -24));
}

/* All 65536 values at an odd address, against arithmetic in double. */
static void check_conversion(void)
{
    enum { ALL = 65536 };
    uint8_t *data = wn_alloc(2 * ALL + 1, 1);
    float *half = wn_alloc(ALL, sizeof *half), *bfloat = wn_alloc(ALL, sizeof *bfloat);
    struct wn_tensor tensor = {.name = "t", .data = data + 1, .bytes = 2 * ALL, .dtype = WN_F16};
    int wrong = 0;

    for (int i = 0; i < ALL; i++)
        memcpy(data + 1 + 2 * i, &(uint16_t){(uint16_t)i}, 2);
    wn_tensor_to_float(&tensor, 0, ALL, half);
    tensor.dtype = WN_BF16;
    wn_tensor_to_float(&tensor, 0, ALL, bfloat);
    for (int i = 0; i < ALL; i++) {
        double expected = half_value((unsigned)i);
        uint32_t bits = (uint32_t)i << 16;
        wrong += isnan(expected) ? !isnan(half[i]) : (double)half[i] != expected;
        wrong += !signbit(half[i]) != !(i & 0x8000);
        wrong += memcmp(&bfloat[i], &bits, 4) != 0;
    }
    CHECK(wrong == 0);
    CHECK(half[0x3C00] == 1 && half[0x0001] == 0x1p-24f && half[0x7BFF] == 65504 && bfloat[0x3F80] == 1);
    float two[2];
    tensor.dtype = WN_F16;
    wn_tensor_to_float(&tensor, 0x4000, 2, two);
    CHECK(two[0] == 2 && two[1] == 2 + 0x1p-9f);
    wn_tensor_to_float(&tensor, ALL, 0, two);
    wn_free(data);
    wn_free(half);
    wn_free(bfloat);
}

/* ---- a published model, where it is at hand ---- */

static void check_published(void)
{
    char *folder = test_shared("models/stories260k"), *file = wn_join_path(folder, "model.safetensors");
    struct wn_checkpoint *checkpoint;

    if (wn_file_exists(file)) {
        CHECK_OK(wn_checkpoint_open(folder, &checkpoint));
        const struct wn_tensor *embedding = wn_checkpoint_find(checkpoint, "model.embed_tokens.weight");
        CHECK(embedding && embedding->n_dims == 2 && embedding->shape[0] == 512 && embedding->shape[1] == 64);
        for (int64_t i = 1; i < wn_checkpoint_count(checkpoint); i++)
            CHECK(strcmp(wn_checkpoint_at(checkpoint, i - 1)->name, wn_checkpoint_at(checkpoint, i)->name) < 0);
        wn_checkpoint_close(&checkpoint);
    }
    wn_free(file);
    wn_free(folder);
}

int main(void)
{
    check_good();
    check_frame();
    check_fields();
    check_sizes();
    check_truncated();
    check_others();
    check_single();
    check_shards();
    check_index();
    check_conversion();
    check_published();
    return test_finish();
}
