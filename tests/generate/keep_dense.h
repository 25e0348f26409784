/* SPDX-License-Identifier: Apache-2.0 */
/* keep_dense.h: the blocks of a model as they are, kept for generating. */
#ifndef WINNOW_TEST_KEEP_DENSE_H
#define WINNOW_TEST_KEEP_DENSE_H

#include <winnow/generate.h>

#include "test.h"

static void keep_dense(const struct wn_model *model, struct wn_kept_blocks *kept)
{
    struct wn_block *block = wn_block_create(model);
    struct wn_activation *none[WN_MAX_LINEARS] = {0};
    wn_kept_blocks_init(kept, model);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        wn_kept_blocks_take(kept, b, block, none);
    }
    wn_block_destroy(&block, model);
}

#endif
