/*
 * For libFuzzer: wn_safetensors_check on the bytes, on the bytes as a header in front of 64 bytes of data, and
 * wn_json_parse with and without comments. Build: clang -fsanitize=fuzzer,address,undefined with src/base and src/io.
 */
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <winnow/io.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A frame whose length field is right, so that the search gets past it. */
static void check_as_header(const uint8_t *data, size_t size)
{
    enum { DATA_BYTES = 64 };
    uint64_t n = size;
    uint8_t *image = calloc(sizeof n + size + DATA_BYTES, 1);

    memcpy(image, &n, sizeof n);
    if (size > 0)
        memcpy(image + sizeof n, data, size);
    wn_safetensors_check("image", image, (int64_t)(sizeof n + size + DATA_BYTES));
    free(image);
}

/* What was taken must print as something that is taken again. */
static void check_json(const uint8_t *data, size_t size, bool comments)
{
    cJSON *json, *again;

    if (wn_json_parse("text", (const char *)data, (int64_t)size, comments, &json) != WN_OK) {
        if (strstr(wn_error_message(), "cJSON cannot"))
            WN_BUG("the scanner let through what cJSON does not take");
        return;
    }
    char *printed = cJSON_PrintUnformatted(json);
    if (printed && wn_json_parse("printed", printed, (int64_t)strlen(printed), false, &again) == WN_OK)
        cJSON_Delete(again);
    else if (printed)
        WN_BUG("%s", wn_error_message());
    free(printed);
    cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    wn_safetensors_check("bytes", data, (int64_t)size);
    check_as_header(data, size);
    check_json(data, size, false);
    check_json(data, size, true);
    if (wn_memory_blocks() != 0)
        WN_BUG("%lld blocks were not released", (long long)wn_memory_blocks());
    return 0;
}
