/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer.model, tokenizer_config.json and a text that is encoded and decoded when they open, by class and as the
 * file. */
#include "fuzz_encode.h"

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
        fuzz_encode(tokenizer, &parts[2], true);
        wn_tokenizer_close(&tokenizer);
    }
    fuzz_check_memory();
    return 0;
}
