/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.json, tokenizer_config.json and a text that is encoded and decoded when they open. */
#include "fuzz_encode.h"

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
        fuzz_encode(tokenizer, &parts[2], false);
        fuzz_encode(tokenizer, &parts[2], true);
        wn_token_id(tokenizer, "<s>");
        wn_tokenizer_close(&tokenizer);
    }
    fuzz_check_memory();
    return 0;
}
