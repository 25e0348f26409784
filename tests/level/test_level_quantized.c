/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels behind quantized blocks: with "calibration_bits" b, a linear at b bits is that of the point that has b bits
 * everywhere and sequential propagation, bit for bit, in every block and on any number of ranks; behind the first block
 * it is another than behind dense ones. So it is when the pass is stopped behind every block and goes on. Run alone and
 * with 3 ranks.
 */
#include <winnow/level.h>
#include <winnow/scratch.h>
#include <winnow/sweep.h>

#include "setting.h"

static const char *const recipes[] = {"\"method\": \"gptq\"", "\"method\": \"spqr\"", "\"method\": \"smoothquant\"",
                                      "\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"gptq\""};
enum { RECIPES = sizeof recipes / sizeof *recipes, BITS = 3 };

/* Of each recipe, behind the dense model. */
enum { ORDINARY, BEHIND, PLAIN, KINDS };

#define SEARCH "{\"on\": \"general\", \"survivors\": [1, 1], \"tokens\": [16, 32], \"initial_tokens\": 16, "

static char *sweep_text(void)
{
    struct wn_text text = {0};

    wn_text_printf(&text,
                   "{\"model\": \"%s/sweeps/demo/model\", \"inputs\": \"%s/sweeps/demo/data\", \"calibration\": "
                   "{\"general\": {\"text\": \"general_calibration.jsonl\", \"samples\": 4, \"length\": 32}}, "
                   "\"search\": {\"behind\": " SEARCH "\"bits\": [2, 3], \"calibration_bits\": %d}, \"plain\": " SEARCH
                   "\"bits\": [2, 3]}}, \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"general_eval.txt\", "
                   "\"length\": 64, \"windows\": 1}}}, \"grid\": [",
                   WN_SOURCE_DIR, WN_SOURCE_DIR, BITS);
    for (int r = 0; r < RECIPES; r++)
        wn_text_printf(&text,
                       "%s{%s, \"bits\": %d, \"calibration\": \"general\"}, {%s, \"bits\": 2.5, \"allocation\": "
                       "[\"behind\", \"plain\"], \"calibration\": \"general\"}",
                       r ? ", " : "", recipes[r], BITS, recipes[r]);
    wn_text_printf(&text, "]}");
    return text.data;
}

/* Of one search: the files of all blocks. */
struct made {
    struct wn_level_task task;
    struct wn_level_block *blocks;
};

static int64_t search_of(const struct setting *setting, int64_t point)
{
    int64_t s = 0;

    while (setting->run->searches[s].point != point)
        s++;
    return s;
}

/* Stops behind the first block, then goes on; how many blocks were done shows in the states. */
static void make_in_parts(const struct setting *setting, int64_t search, struct wn_reference *quantized)
{
    const struct wn_point *point = &setting->run->grid.points[setting->run->searches[search].point];
    char *states = wn_format("%s.states", setting->folder);
    struct wn_saver saver = {.folder = states, .key = "test", .build = "test", .rate = 1e9, .every = (double)INFINITY};

    setting->run->saver = &saver;
    for (int64_t b = 0; b < setting->run->models[0].model->config.n_blocks; b++) {
        saver.left = false;
        CHECK(wn_quantized_make(setting->par, setting->run, setting->reference, search, quantized) ==
              WN_ERR_INTERRUPTED);
        CHECK(saver.left && !saver.broken);
        wn_quantized_release(setting->run, point, quantized);
    }
    saver.end = (double)INFINITY;
    saver.left = false;
    CHECK_OK(wn_quantized_make(setting->par, setting->run, setting->reference, search, quantized));
    CHECK(!saver.left && wn_state_progress(states) > 0);
    wn_par_barrier(setting->par);
    if (wn_par_rank(setting->par) == 0)
        wn_state_clear(states);
    setting->run->saver = NULL;
    wn_free(states);
}

static void make(const struct setting *setting, int64_t point, bool stops, struct made *made)
{
    const int64_t search = search_of(setting, point);
    const struct wn_point_search *of = &setting->run->searches[search];
    struct wn_reference quantized = {0};

    *made = (struct made){.task = {.run = setting->run,
                                   .reference = setting->reference,
                                   .point = &setting->run->grid.points[point],
                                   .space = &of->space,
                                   .calibration_bits = of->settings.calibration_bits,
                                   .folder = setting->folder,
                                   .build = "test"}};
    CHECK(!wn_levels_are_there(setting->par, &made->task));
    if (of->settings.calibration_bits) {
        if (stops)
            make_in_parts(setting, search, &quantized);
        else
            CHECK_OK(wn_quantized_make(setting->par, setting->run, setting->reference, search, &quantized));
        made->task.reference = &quantized;
    }
    CHECK_OK(wn_levels_make(setting->par, &made->task));
    made->task.reference = setting->reference;
    CHECK(wn_levels_are_there(setting->par, &made->task));
    wn_quantized_release(setting->run, made->task.point, &quantized);
    char *key = wn_levels_key(&made->task);
    made->blocks = wn_alloc_zero(of->space.n_blocks, sizeof *made->blocks);
    for (int64_t b = 0; b < of->space.n_blocks; b++)
        CHECK_OK(wn_levels_open(setting->folder, key, b, &made->blocks[b]));
    wn_free(key);
}

/* When no rank reads the files any more. */
static void release(const struct setting *setting, struct made *made)
{
    char *key = wn_levels_key(&made->task);

    for (int64_t b = 0; b < made->task.space->n_blocks; b++)
        wn_levels_close(&made->blocks[b]);
    wn_par_barrier(setting->par);
    if (wn_par_rank(setting->par) == 0)
        wn_levels_remove(setting->folder, key, made->task.space->n_blocks);
    wn_free(made->blocks);
    wn_free(key);
}

struct comparison {
    struct made *made;
    int64_t same[2], other[2]; /* linears of the first block, and behind it */
};

static wn_status compare(void *context, int64_t block, int linear, const struct wn_compressed *compressed)
{
    struct comparison *comparison = context;
    struct wn_level_block *levels = &comparison->made->blocks[block];
    const struct wn_level_entry *entry = wn_levels_find(levels, linear, BITS);
    const int64_t count = compressed->rows * compressed->columns;
    float *weights = wn_alloc(count, sizeof *weights);
    struct wn_packed packed;

    CHECK(entry && wn_levels_packed(levels, entry, &packed) == WN_OK);
    wn_packed_all(&packed, weights);
    const bool same = !memcmp(weights, compressed->weight, (size_t)count * sizeof *weights);
    comparison->same[block > 0] += same;
    comparison->other[block > 0] += !same;
    wn_free(weights);
    return WN_OK;
}

static void compare_point(const struct setting *setting, int64_t point, struct made *made,
                          struct comparison *comparison)
{
    const struct wn_point_sink sink = {compare, comparison};
    struct wn_record record;

    *comparison = (struct comparison){.made = made};
    wn_record_init(&record, &setting->run->models[0].schema);
    CHECK_OK(wn_point_compress(setting->run, setting->reference, point, &sink, &record));
    wn_record_release(&record);
}

static void check_recipe(const struct setting *setting, int64_t first, bool stops)
{
    const struct wn_layout *layout = &setting->run->models[0].model->layout;
    const int64_t blocks = setting->run->models[0].model->config.n_blocks;
    struct comparison comparison;
    struct made made;

    make(setting, first + BEHIND, stops, &made);
    compare_point(setting, first + ORDINARY, &made, &comparison);
    CHECK(comparison.same[0] == layout->n_linears && comparison.same[1] == (blocks - 1) * layout->n_linears);
    release(setting, &made);
    make(setting, first + PLAIN, false, &made);
    compare_point(setting, first + ORDINARY, &made, &comparison);
    CHECK(comparison.same[0] == layout->n_linears && comparison.other[1] > 0);
    release(setting, &made);
}

static void check_keys(const struct setting *setting)
{
    struct wn_level_task task = {.run = setting->run,
                                 .point = &setting->run->grid.points[1 + BEHIND],
                                 .space = &setting->run->searches[search_of(setting, 1 + BEHIND)].space,
                                 .build = "test"};
    char *dense = wn_levels_key(&task), *behind;

    task.calibration_bits = BITS;
    behind = wn_levels_key(&task);
    CHECK(strcmp(dense, behind) != 0);
    CHECK(strstr(setting->run->identity, "calibration_bits=3"));
    wn_free(dense);
    wn_free(behind);
}

static void check_run(const struct setting *setting)
{
    check_keys(setting);
    for (int r = 0; r < RECIPES; r++)
        check_recipe(setting, 1 + KINDS * r, r % 2);
}

int main(int argc, char **argv)
{
    char *text = sweep_text();

    on_ranks(argc, argv, text, 1 + KINDS * RECIPES, check_run);
    wn_free(text);
    return test_finish();
}
