/* tokenizer.json, tokenizer_config.json and a text that is encoded and decoded when they open. */
#include <string.h>

#include <winnow/tokenizer.h>

#include "fuzz.h"

static void encode(const struct wn_tokenizer *tokenizer, const struct fuzz_part *text, bool special)
{
    struct wn_ids ids = {0};
    struct wn_text back = {0};

    if (wn_encode(tokenizer, text->data, (int64_t)text->length, special, &ids) == WN_OK) {
        for (int64_t i = 0; i < ids.count; i++)
            if (ids.data[i] < 0 || ids.data[i] >= wn_vocabulary_size(tokenizer))
                WN_BUG("id %d of %lld", ids.data[i], (long long)wn_vocabulary_size(tokenizer));
        wn_decode(tokenizer, ids.data, ids.count, special, &back);
    }
    wn_text_release(&back);
    wn_ids_release(&ids);
}

static void write_beside(const char *name, const struct fuzz_part *part)
{
    if (part->length > 0)
        fuzz_write(name, part->data, part->length);
    else
        fuzz_remove(name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wn_tokenizer *tokenizer;
    struct fuzz_part parts[5];

    fuzz_split(data, size, parts, 5);
    fuzz_write("tokenizer.json", parts[0].data, parts[0].length);
    write_beside("tokenizer_config.json", &parts[1]);
    write_beside("special_tokens_map.json", &parts[3]);
    write_beside("added_tokens.json", &parts[4]);
    if (wn_tokenizer_open(fuzz_folder(), &tokenizer) == WN_OK) {
        encode(tokenizer, &parts[2], false);
        encode(tokenizer, &parts[2], true);
        wn_token_id(tokenizer, "<s>");
        wn_tokenizer_close(&tokenizer);
    }
    fuzz_check_memory();
    return 0;
}
