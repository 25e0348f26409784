/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.json, and behind it generation_config.json, beside the weights and the tokenizer of a model of 47 KB; when it
 * opens, its first block is run.
 */
#include <stdlib.h>
#include <string.h>

#include <winnow/model.h>

#include "fuzz.h"

static void run_block(const struct wn_model *model)
{
    enum { ROWS = 5 };
    const int32_t ids[ROWS] = {1, 2, 3, 4, 5};
    const int64_t offset[] = {0, 2, ROWS};
    const struct wn_chunk chunk = {.n_sequences = 2, .offset = offset};
    struct wn_block *block = wn_block_create(model);
    float *hidden = wn_alloc(ROWS * model->config.hidden_size, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, ROWS), sizeof *scratch);

    if (model->config.max_positions >= ROWS && wn_model_load_block(model, 0, block) == WN_OK) {
        wn_model_embed(model, ids, NULL, ROWS, hidden);
        wn_model_run_block(model, block, &chunk, hidden, scratch, NULL);
    }
    wn_free(scratch);
    wn_free(hidden);
    wn_block_destroy(&block, model);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wn_problems problems;
    struct wn_model *model;
    struct fuzz_part parts[2];

    fuzz_link("model.safetensors", "tests/model/reference/llama_grouped/model.safetensors");
    fuzz_link("tokenizer.json", "tests/model/reference/llama_grouped/tokenizer.json");
    fuzz_split(data, size, parts, 2);
    fuzz_write("config.json", parts[0].data, parts[0].length);
    if (parts[1].length == 0)
        parts[1] = (struct fuzz_part){"{}", 2};
    fuzz_write("generation_config.json", parts[1].data, parts[1].length);
    wn_problems_init(&problems);
    if (wn_model_open(fuzz_folder(), &problems, &model) == WN_OK) {
        run_block(model);
        wn_model_close(&model);
    } else if (problems.count == 0) {
        WN_BUG("a model that cannot be opened has no problems");
    }
    wn_problems_release(&problems);
    fuzz_check_memory();
    return 0;
}
