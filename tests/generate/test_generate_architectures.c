/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Greedy texts of the tiny checkpoints of tests/model/reference, with keys and values kept, are those of transformers.
 * They are longer than the windows of the blocks, so what a row sees begins behind the first token.
 */
#include <winnow/generate.h>
#include <winnow/linalg.h>

#include "keep_dense.h"
#include "test.h"

#include <dirent.h>

enum { PROMPT = 12 }; /* as in make_reference.py */

/* What transformers made, prompt first; NULL when the file has none. */
static int32_t *read_greedy(const char *place, int64_t *count)
{
    struct wn_checkpoint *file;
    CHECK_OK(wn_checkpoint_open(place, &file));
    const struct wn_tensor *tensor = wn_checkpoint_find(file, "greedy");
    int32_t *ids = NULL;
    if (tensor) {
        *count = tensor->bytes / 4;
        float *values = wn_alloc(*count, sizeof *values);
        ids = wn_alloc(*count, sizeof *ids);
        wn_tensor_to_float(tensor, 0, *count, values);
        for (int64_t i = 0; i < *count; i++)
            ids[i] = (int32_t)values[i];
        wn_free(values);
    }
    wn_checkpoint_close(&file);
    return ids;
}

static void check_text(const char *name, const struct wn_model *model, const int32_t *ids, int64_t count)
{
    int64_t added = count - PROMPT;
    struct wn_prompt prompt = {.ids = (int32_t *)(uintptr_t)ids, .count = PROMPT, .most = added};
    const struct wn_generation generation = {.n_prompts = 1, .draws = 1, .prompts = &prompt, .most = added};
    struct wn_kept_blocks kept;
    struct wn_generated generated;
    keep_dense(model, &kept);
    wn_generated_init(&generated, &generation);
    CHECK_OK(wn_generate_batch(&kept, &generation, 0, &generated));
    CHECK(wn_generated_count(&generated, 0) == added);
    if (memcmp(wn_generated_ids(&generated, 0), ids + PROMPT, (size_t)added * sizeof *ids)) {
        test_failures++;
        fprintf(stderr, "%s: other tokens than those of transformers\n", name);
    }
    wn_generated_release(&generated);
    wn_kept_blocks_release(&kept);
}

static bool check_folder(const char *folder, const char *name)
{
    char *directory = wn_join_path(folder, name), *place = wn_join_path(directory, "reference");
    int64_t count = 0;
    int32_t *ids = read_greedy(place, &count);
    struct wn_model *model = NULL;
    if (ids && wn_model_open(directory, NULL, &model) == WN_OK)
        check_text(name, model, ids, count);
    CHECK(!ids || model);
    wn_model_close(&model);
    wn_free(ids);
    wn_free(place);
    wn_free(directory);
    return ids != NULL;
}

int main(void)
{
    char *folder = test_path("tests/model/reference");
    DIR *stream = opendir(folder);
    int n_texts = 0;
    CHECK_OK(wn_linalg_start());
    CHECK(stream);
    for (struct dirent *entry; stream && (entry = readdir(stream));)
        if (entry->d_name[0] != '.')
            n_texts += check_folder(folder, entry->d_name);
    CHECK(n_texts >= 20);
    if (stream)
        closedir(stream);
    wn_free(folder);
    return test_finish();
}
