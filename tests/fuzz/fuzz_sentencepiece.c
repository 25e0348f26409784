/* tokenizer.model, tokenizer_config.json and a text that is encoded and decoded when they open, by class and as the
 * file. */
#include <string.h>

#include <winnow/tokenizer.h>

#include "fuzz.h"

static void encode(const struct wn_tokenizer *tokenizer, const struct fuzz_part *text)
{
    struct wn_ids ids = {0};
    struct wn_text back = {0};

    if (wn_encode(tokenizer, text->data, (int64_t)text->length, true, &ids) == WN_OK) {
        for (int64_t i = 0; i < ids.count; i++)
            if (ids.data[i] < 0 || ids.data[i] >= wn_vocabulary_size(tokenizer))
                WN_BUG("id %d of %lld", ids.data[i], (long long)wn_vocabulary_size(tokenizer));
        wn_decode(tokenizer, ids.data, ids.count, false, &back);
    }
    wn_text_release(&back);
    wn_ids_release(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wn_tokenizer *tokenizer;
    struct fuzz_part parts[3];

    fuzz_split(data, size, parts, 3);
    fuzz_write("tokenizer.model", parts[0].data, parts[0].length);
    if (parts[1].length > 0)
        fuzz_write("tokenizer_config.json", parts[1].data, parts[1].length);
    else
        fuzz_remove("tokenizer_config.json");
    for (int as_file = 0; as_file < 2; as_file++) {
        wn_status status =
            as_file ? wn_tokenizer_open_file(fuzz_folder(), &tokenizer) : wn_tokenizer_open(fuzz_folder(), &tokenizer);
        if (status != WN_OK)
            continue;
        encode(tokenizer, &parts[2]);
        wn_tokenizer_close(&tokenizer);
    }
    fuzz_check_memory();
    return 0;
}
