/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels of the demo model, of every method and of joint points: each linear at each level is that of a point with this
 * level everywhere, bit for bit, rules of inputs included, also with a search of scales; and what a search has found is
 * walked to the same bits. Sparsity levels have exactly the zeros of the space, so that any genome has the same zeros
 * in all; files have the same bytes from any number of ranks and threads; what is there is not made again. Run alone
 * and with 2 and 3 ranks.
 */
#include <sys/stat.h>

#include <winnow/level.h>
#include <winnow/sweep.h>

#include "point/point_impl.h"
#include "setting.h"

#define DENSE "\"calibration\": \"general\", \"propagation\": \"dense\""

/* Of each, ordinary points of 2, 3 and 4 bits, and one that is searched. */
static const char *const of_bits[] = {
    "\"method\": \"gptq\"",
    "\"method\": \"rtn\", \"group\": 32",
    "\"method\": \"spqr\"",
    "\"method\": \"awq\"",
    "\"method\": \"smoothquant\", \"quantize_outputs\": true",
    "\"prune\": \"magnitude\", \"scope\": \"block\", \"sparsity\": 0.5, \"quantize\": \"gptq\"",
    "\"prune\": \"wanda\", \"pattern\": \"2:4\", \"quantize\": \"smoothquant\"",
    "\"method\": \"rtn\", \"group\": 48, \"input_bits\": 8"};

/* Of each, one that is searched. */
static const char *const of_zeros[] = {
    "\"method\": \"random\", \"sparsity\": 0.6",
    "\"method\": \"magnitude\", \"sparsity\": 0.6",
    "\"method\": \"wanda\", \"sparsity\": 0.6",
    "\"method\": \"sparsegpt\", \"sparsity\": 0.6",
    "\"method\": \"sparsegpt\", \"sparsity\": 0.6, \"bits\": 4",
    "\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"rtn\", \"bits\": 4",
    "\"prune\": \"sparsegpt\", \"sparsity\": 0.5, \"quantize\": \"llm_int8\", \"outlier_weights\": \"fp\"",
    "\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"smoothquant\""};

static const char *const not_searched =
    "{\"method\": \"magnitude\", \"sparsity\": 0.6}, {\"method\": \"sparsegpt\", \"pattern\": \"2:4\", " DENSE "},"
    " {\"method\": \"wanda\", \"sparsity\": 0.5, \"variant\": \"alpha\", " DENSE "}";

enum { OF_BITS = sizeof of_bits / sizeof *of_bits, OF_ZEROS = sizeof of_zeros / sizeof *of_zeros };

/* Points in the order of the grid, behind the dense one: of bits the searched ones. */
enum {
    GPTQ = 4,
    SPQR = 12,
    AWQ = 16,
    FIRST_ZEROS = 1 + 4 * OF_BITS,
    SPARSEGPT = FIRST_ZEROS + 3,
    WANDA_RTN = FIRST_ZEROS + 5,
    SPARSEGPT_INT8,
    PLAIN = FIRST_ZEROS + OF_ZEROS,
    PATTERN,
    ALPHA,
    POINTS
};

#define SEARCH "{\"on\": \"general\", \"survivors\": [1, 1], \"tokens\": [16, 32], \"initial_tokens\": 16"

static char *sweep_text(void)
{
    struct wn_text text = {0};

    wn_text_printf(&text, "{\"model\": \"%s/sweeps/demo/model\", \"inputs\": \"%s/sweeps/demo/data\", ", WN_SOURCE_DIR,
                   WN_SOURCE_DIR);
    wn_text_printf(&text, "\"calibration\": {\"general\": {\"text\": \"general_calibration.jsonl\", \"samples\": 4, "
                          "\"length\": 32}}, \"search\": {\"any\": " SEARCH "}, \"bits\": " SEARCH
                          ", \"bits\": [2, 3, 4]}}, \"evaluate\": {\"perplexity\": {\"world\": "
                          "{\"text\": \"general_eval.txt\", \"length\": 64, \"windows\": 1}}}, \"grid\": [");
    for (int i = 0; i < OF_BITS; i++)
        wn_text_printf(&text,
                       "{%s, \"bits\": [2, 3, 4], " DENSE "}, {%s, \"bits\": 3, \"allocation\": \"bits\", " DENSE "}, ",
                       of_bits[i], of_bits[i]);
    for (int i = 0; i < OF_ZEROS; i++)
        wn_text_printf(&text, "{%s, \"allocation\": \"any\", " DENSE "}, ", of_zeros[i]);
    wn_text_printf(&text, "%s]}", not_searched);
    return text.data;
}

/* All blocks, which rank 0 has open. */
struct levels {
    char *key;
    int64_t n_blocks;
    struct wn_level_block *blocks; /* [n_blocks] */
};

static void open_levels(const struct wn_level_task *task, bool blocks, struct levels *levels)
{
    *levels = (struct levels){.key = wn_levels_key(task), .n_blocks = task->space->n_blocks};
    levels->blocks = wn_alloc_zero(levels->n_blocks, sizeof *levels->blocks);
    for (int64_t b = 0; blocks && b < levels->n_blocks; b++)
        CHECK_OK(wn_levels_open(task->folder, levels->key, b, &levels->blocks[b]));
}

static void close_levels(struct levels *levels)
{
    for (int64_t b = 0; b < levels->n_blocks; b++)
        wn_levels_close(&levels->blocks[b]);
    wn_free(levels->blocks);
    wn_free(levels->key);
}

static void unpack(struct levels *levels, int64_t block, int linear, int32_t level, float *weights)
{
    const struct wn_level_entry *entry = wn_levels_find(&levels->blocks[block], linear, level);
    struct wn_packed packed;
    CHECK(entry && wn_levels_packed(&levels->blocks[block], entry, &packed) == WN_OK);
    wn_packed_all(&packed, weights);
}

static void make_space(const struct setting *setting, enum wn_space_kind kind, double target, struct wn_space *space)
{
    const struct wn_model *model = setting->run->models[0].model;
    const struct wn_layout *layout = &model->layout;
    int64_t weights[WN_MAX_LINEARS];
    const struct wn_space_request request = {.kind = kind,
                                             .n_blocks = model->config.n_blocks,
                                             .hidden = model->config.hidden_size,
                                             .n_linears = layout->n_linears,
                                             .weights = weights,
                                             .target = target,
                                             .levels = 2,
                                             .step = 777,
                                             .bits = WN_BITS(2) | WN_BITS(3) | WN_BITS(4)};

    for (int l = 0; l < layout->n_linears; l++)
        weights[l] = layout->linears[l].rows * layout->linears[l].columns;
    CHECK_OK(wn_space_create(&request, space));
}

static struct wn_level_task task_of(const struct setting *setting, int64_t point, const struct wn_space *space)
{
    return (struct wn_level_task){.run = setting->run,
                                  .reference = setting->reference,
                                  .point = &setting->run->grid.points[point],
                                  .space = space,
                                  .folder = setting->folder,
                                  .build = "test"};
}

static int64_t count_of(const struct setting *setting, int linear)
{
    const struct wn_linear_info *info = &setting->run->models[0].model->layout.linears[linear];
    return info->rows * info->columns;
}

/* ---- against points ---- */

struct comparison {
    const struct setting *setting;
    struct levels *levels;
    const struct wn_space *space;
    const int32_t *genome;
    int64_t compared, rules;
};

static bool same_floats(const float *a, const float *b, int64_t count)
{
    return (!a && !b) || (a && b && !memcmp(a, b, (size_t)count * sizeof *a));
}

static void compare_grouped(const struct wn_activation *made, const struct wn_activation *kept)
{
    const int64_t size = wn_grouped_linear_write(made, NULL);
    uint8_t *a = wn_alloc(size, 1), *b = wn_alloc(size, 1);

    CHECK(wn_grouped_linear_write(kept, NULL) == size);
    wn_grouped_linear_write(made, a);
    wn_grouped_linear_write(kept, b);
    CHECK(!memcmp(a, b, (size_t)size));
    wn_free(a);
    wn_free(b);
}

/* Thresholds are compared in fp32. */
static void compare_rules(const struct wn_activation *made, const struct wn_activation *kept)
{
    const struct wn_integer_linear *a = wn_integer_linear_form(made), *b = wn_integer_linear_form(kept);

    if (wn_grouped_linear_form(made) && wn_grouped_linear_form(kept)) {
        compare_grouped(made, kept);
        return;
    }
    CHECK(a && b);
    if (!a || !b)
        return;
    CHECK(a->rows == b->rows && a->columns == b->columns && a->bits == b->bits && a->zero == b->zero);
    CHECK((float)a->threshold == (float)b->threshold && (float)a->least == (float)b->least);
    CHECK(a->round_outputs == b->round_outputs && same_floats(a->scales, b->scales, a->rows));
    CHECK(!memcmp(a->codes, b->codes, (size_t)(a->rows * a->columns)));
    CHECK(same_floats(a->outlier_weight, b->outlier_weight, a->rows * a->columns));
}

static int32_t level_of(const struct comparison *comparison, int64_t block, int linear)
{
    int64_t g = 0;

    while (comparison->space->genes[g].block != block || comparison->space->genes[g].linear != linear)
        g++;
    return comparison->genome[g];
}

static wn_status compare_linear(void *context, int64_t block, int linear, const struct wn_compressed *compressed)
{
    struct comparison *comparison = context;
    int64_t count = count_of(comparison->setting, linear);
    const int32_t level = level_of(comparison, block, linear);
    float *weights = wn_alloc(count, sizeof *weights);
    struct wn_activation *rule;

    unpack(comparison->levels, block, linear, level, weights);
    CHECK(!memcmp(weights, compressed->weight, (size_t)count * sizeof *weights));
    CHECK_OK(wn_levels_rule(&comparison->levels->blocks[block], linear, level, weights, compressed->rows,
                            compressed->columns, &rule));
    CHECK(!rule == !compressed->activation);
    if (rule && compressed->activation)
        compare_rules(compressed->activation, rule);
    comparison->rules += rule != NULL;
    comparison->compared++;
    wn_activation_release(&rule);
    wn_free(weights);
    return WN_OK;
}

/* The point has in every linear the level of the genome. */
static void compare_point(const struct setting *setting, int64_t point, struct levels *levels,
                          const struct wn_space *space, const int32_t *genome, bool rules)
{
    const struct wn_prepared_model *prepared = &setting->run->models[0];
    const int64_t linears = prepared->model->config.n_blocks * prepared->model->layout.n_linears;
    struct comparison comparison = {.setting = setting, .levels = levels, .space = space, .genome = genome};
    const struct wn_point_sink sink = {compare_linear, &comparison};
    struct wn_record record;

    wn_record_init(&record, &prepared->schema);
    CHECK_OK(wn_point_compress(setting->run, setting->reference, point, &sink, &record));
    CHECK(comparison.compared == linears && comparison.rules == (rules ? linears : 0));
    wn_record_release(&record);
}

static bool has_rules(const struct setting *setting, int64_t point)
{
    return wn_recipe_rounds_inputs(&setting->run->grid.points[point].recipe);
}

/* Ordinary points of 2, 3 and 4 bits, in front of the searched one. */
static void compare_constants(const struct setting *setting, int64_t point, struct levels *levels,
                              const struct wn_space *space)
{
    int32_t *genome = wn_alloc(space->n_genes, sizeof *genome);

    for (int32_t bits = 2; bits <= 4; bits++) {
        for (int64_t g = 0; g < space->n_genes; g++)
            genome[g] = bits;
        compare_point(setting, point - 5 + bits, levels, space, genome, has_rules(setting, point));
    }
    wn_free(genome);
}

/* What a search may have found: many mutations of the uniform genome. */
static void compare_found(const struct setting *setting, int64_t point, struct levels *levels,
                          const struct wn_space *space)
{
    struct wn_found *found = &setting->reference->found[point];
    int64_t moved = 0;

    *found = (struct wn_found){.space = space, .genome = wn_alloc(space->n_genes, sizeof(int32_t))};
    wn_space_uniform(space, found->genome);
    for (int64_t i = 0; i < 20; i++) {
        struct wn_draws draws = wn_draws_begin(5, WN_DRAW_OFFSPRING, i, 0, 0);
        wn_space_mutate(space, &draws, found->genome);
    }
    for (int64_t g = 1; g < space->n_genes; g++)
        moved += found->genome[g] != found->genome[0];
    CHECK(moved > 0);
    compare_point(setting, point, levels, space, found->genome, has_rules(setting, point));
    wn_free(found->genome);
    *found = (struct wn_found){0};
}

/* ---- against a recipe with a number of zeros ---- */

static void check_recipe(const struct setting *setting, const struct wn_level_task *task, struct levels *levels,
                         const struct wn_gene *gene, int32_t level, const float *dense)
{
    const struct wn_layout *layout = &setting->run->models[0].model->layout;
    const struct wn_linear_info *linear = &layout->linears[gene->linear];
    const unsigned needs = setting->reference->needs[0][0];
    void *statistics =
        (char *)setting->reference->statistics[0][0].data + gene->block * wn_statistics_bytes(layout, needs);
    const struct wn_sequences *sequences = &setting->run->models[0].calibrations[0].sequences;
    const struct wn_input_stats stats = {.tokens = wn_sequences_tokens(sequences),
                                         .sequences = sequences->n_sequences,
                                         .width = linear->columns,
                                         .squares = wn_statistics_squares(layout, statistics, linear->input),
                                         .second_moments = wn_statistics_moments(layout, statistics, linear->input)};
    int64_t count = linear->rows * linear->columns, zeros = gene->amount + level * gene->per_level;
    float *expected = wn_alloc(count, sizeof *expected), *weights = wn_alloc(count, sizeof *weights);
    uint8_t *keep = wn_alloc(count, 1);
    struct wn_recipe recipe = task->point->recipe;
    const struct wn_level one = {.sparsity = (double)zeros / (double)count, .bits = (double)NAN};
    struct wn_compressed form;

    wn_level_apply(&one, &recipe);
    recipe.zeros = &zeros;
    wn_compressed_init(&form, linear->rows, linear->columns, expected, keep);
    CHECK_OK(wn_recipe_compress(&recipe, "linear", dense, &stats, &form));
    unpack(levels, gene->block, gene->linear, level, weights);
    CHECK(!memcmp(weights, expected, (size_t)count * sizeof *weights));
    const struct wn_level_entry *entry = wn_levels_find(&levels->blocks[gene->block], gene->linear, level);
    CHECK(entry && entry->zeros == zeros);
    CHECK_NEAR(entry->error, form.solver.objective / form.solver.energy, 0);
    wn_compressed_release(&form);
    wn_free(expected);
    wn_free(weights);
    wn_free(keep);
}

static void check_recipes(const struct setting *setting, const struct wn_level_task *task, struct levels *levels)
{
    const struct wn_model *model = setting->run->models[0].model;
    struct wn_block *block = wn_block_create(model);

    for (int64_t g = 0; g < task->space->n_genes; g++) {
        const struct wn_gene *gene = &task->space->genes[g];
        if (gene->linear == 0)
            CHECK_OK(wn_model_load_block(model, gene->block, block));
        for (int32_t level = gene->low; level <= gene->high; level++)
            check_recipe(setting, task, levels, gene, level, block->linears[gene->linear]);
    }
    wn_block_destroy(&block, model);
}

/* Whatever a search does, all linears together have the zeros that they had. */
static void check_budget(const struct wn_space *space, struct levels *levels)
{
    int32_t *genome = wn_alloc(space->n_genes, sizeof *genome);
    int64_t expected, moved = 0;

    wn_space_uniform(space, genome);
    expected = wn_space_amount(space, genome);
    for (int64_t i = 0; i < 50; i++) {
        struct wn_draws draws = wn_draws_begin(7, WN_DRAW_OFFSPRING, i, 0, 0);
        int64_t zeros = 0;
        wn_space_mutate(space, &draws, genome);
        for (int64_t g = 0; g < space->n_genes; g++) {
            const struct wn_gene *gene = &space->genes[g];
            zeros += wn_levels_find(&levels->blocks[gene->block], gene->linear, genome[g])->zeros;
            moved += genome[g] != 0;
        }
        CHECK(zeros == expected);
    }
    CHECK(moved > 0);
    wn_free(genome);
}

/* More zeros, or fewer bits, are a larger error. */
static void check_errors(const struct wn_space *space, struct levels *levels)
{
    const int more = space->kind == WN_SPACE_SPARSITY ? 1 : -1;

    for (int64_t g = 0; g < space->n_genes; g++) {
        const struct wn_gene *gene = &space->genes[g];
        const struct wn_level_block *block = &levels->blocks[gene->block];
        for (int32_t level = gene->low; level <= gene->high; level++) {
            double error = wn_levels_find(block, gene->linear, level)->error;
            CHECK(error > 0 && error < 1);
        }
        CHECK(more * (wn_levels_find(block, gene->linear, gene->high)->error -
                      wn_levels_find(block, gene->linear, gene->low)->error) >
              0);
        CHECK(!wn_levels_find(block, gene->linear, gene->high + 1));
    }
}

/* ---- files ---- */

static char *file_of(const char *folder, const struct levels *levels, int64_t block)
{
    return wn_join_path(folder, strrchr(levels->blocks[block].path, '/') + 1);
}

/* Sizes of all files; with another folder, their bytes are the same there. */
static int64_t compare_files(const struct setting *setting, struct levels *levels, const char *folder)
{
    int64_t bytes = 0;

    for (int64_t b = 0; b < levels->n_blocks; b++) {
        char *mine = file_of(setting->folder, levels, b), hex[WN_HASH_HEX], other_hex[WN_HASH_HEX];
        struct stat about;
        CHECK(stat(mine, &about) == 0);
        bytes += about.st_size;
        if (folder) {
            char *other = file_of(folder, levels, b);
            CHECK_OK(wn_hash_file(mine, hex));
            CHECK_OK(wn_hash_file(other, other_hex));
            CHECK_TEXT(hex, other_hex);
            wn_free(other);
        }
        wn_free(mine);
    }
    return bytes;
}

/* By one rank and two threads. */
static void check_alone(const struct setting *setting, struct wn_level_task task, struct levels *levels)
{
    char *folder = folder_create(), *inside = wn_join_path(folder, "levels");
    struct wn_par *serial;

    wn_par_start_serial(&serial);
    test_set_threads(2);
    task.folder = inside;
    CHECK_OK(wn_levels_make(serial, &task));
    test_set_threads(1);
    compare_files(setting, levels, inside);
    wn_levels_remove(inside, levels->key, levels->n_blocks);
    wn_par_finish(&serial);
    folder_remove(folder);
    wn_free(inside);
}

static ino_t inode_of(const char *path)
{
    struct stat about;
    return stat(path, &about) == 0 ? about.st_ino : 0;
}

/* Collective: a block that is gone is made again, the others stay as they are. */
static void check_again(const struct setting *setting, const struct wn_level_task *task, struct levels *levels)
{
    char *first = NULL, *last = NULL;
    ino_t before[2] = {0};

    if (wn_par_rank(setting->par) == 0) {
        first = file_of(setting->folder, levels, 0);
        last = file_of(setting->folder, levels, levels->n_blocks - 1);
        before[0] = inode_of(first);
        before[1] = inode_of(last);
        CHECK(before[0] && before[1] && unlink(last) == 0);
    }
    wn_par_barrier(setting->par);
    CHECK_OK(wn_levels_make(setting->par, task));
    if (first && last)
        CHECK(inode_of(first) == before[0] && inode_of(last) != 0);
    wn_free(first);
    wn_free(last);
}

/* Vectors that inputs are divided in: of SmoothQuant, and of no other. */
static void check_vectors(const struct setting *setting, int64_t point, struct levels *levels)
{
    const struct wn_model *model = setting->run->models[0].model;
    const struct wn_recipe *recipe = &setting->run->grid.points[point].recipe;
    const bool divides = recipe->stages[recipe->n_stages - 1].method->scale_inputs;
    struct wn_block *dense = wn_block_create(model), *changed = wn_block_create(model);

    for (int64_t b = 0; b < levels->n_blocks; b++) {
        int64_t different = 0;
        CHECK_OK(wn_model_load_block(model, b, dense));
        CHECK_OK(wn_model_load_block(model, b, changed));
        CHECK_OK(wn_levels_vectors(&levels->blocks[b], changed->vectors, model->layout.n_vectors));
        for (int v = 0; v < model->layout.n_vectors; v++)
            different += !same_floats(dense->vectors[v], changed->vectors[v], model->layout.vectors[v].size);
        CHECK(different == (divides ? 2 : 0)); /* of the demo model, the norms of a block */
    }
    wn_block_destroy(&dense, model);
    wn_block_destroy(&changed, model);
}

static void check_levels(const struct setting *setting, const struct wn_level_task *task, int64_t point,
                         struct levels *levels)
{
    CHECK(setting->reference->needs[0][0] & WN_NEED_SECOND_MOMENTS);
    if (task->point->calibration >= 0) /* else they are not known */
        check_errors(task->space, levels);
    check_vectors(setting, point, levels);
    if (task->space->kind == WN_SPACE_BITS)
        compare_constants(setting, point, levels, task->space);
    else
        check_budget(task->space, levels);
    if (point != AWQ) /* its scales are those of the linears together */
        compare_found(setting, point, levels, task->space);
    if (point == SPARSEGPT || point == WANDA_RTN)
        check_recipes(setting, task, levels);
    if (point == SPARSEGPT_INT8)
        check_alone(setting, *task, levels);
    int64_t bytes = compare_files(setting, levels, NULL), said = wn_levels_bytes(task);
    if (point != SPQR) /* with 2 bits it has more outliers than are said */
        CHECK(bytes <= said && (double)said < 1.6 * (double)bytes);
}

/* Collective. The levels of a point are made; rank 0 looks at them. */
static void check_point(const struct setting *setting, int64_t point, enum wn_space_kind kind, double target)
{
    struct wn_space space;
    struct levels levels;

    CHECK(setting->run->grid.points[point].recipe.search);
    make_space(setting, kind, target, &space);
    const struct wn_level_task task = task_of(setting, point, &space);
    CHECK_OK(wn_levels_make(setting->par, &task));
    wn_par_barrier(setting->par);
    open_levels(&task, wn_par_rank(setting->par) == 0, &levels);
    if (wn_par_rank(setting->par) == 0)
        check_levels(setting, &task, point, &levels);
    if (point == GPTQ)
        check_again(setting, &task, &levels);
    wn_par_barrier(setting->par);
    if (wn_par_rank(setting->par) == 0)
        wn_levels_remove(setting->folder, levels.key, levels.n_blocks);
    close_levels(&levels);
    wn_space_release(&space);
}

static void refuse(const struct setting *setting, int64_t point, enum wn_space_kind kind, double target,
                   const char *message)
{
    struct wn_space space;

    make_space(setting, kind, target, &space);
    const struct wn_level_task task = task_of(setting, point, &space);
    CHECK(wn_levels_make(setting->par, &task) == WN_ERR_UNSUPPORTED);
    CHECK_MESSAGE(message);
    wn_space_release(&space);
}

static void check_refused(const struct setting *setting)
{
    struct wn_space space;

    refuse(setting, PATTERN, WN_SPACE_SPARSITY, 0.5, "unstructured");
    refuse(setting, ALPHA, WN_SPACE_SPARSITY, 0.5, "zeros, the level asks for");
    refuse(setting, PLAIN, WN_SPACE_BITS, 3, "need a method with \"bits\"");
    make_space(setting, WN_SPACE_SPARSITY, 0.6, &space);
    struct wn_level_task task = task_of(setting, PLAIN, &space);
    char *key = wn_levels_key(&task), *other;
    task.folder = "/dev/null/levels";
    CHECK(wn_levels_make(setting->par, &task) == WN_ERR_IO);
    CHECK_MESSAGE("cannot be written");
    task.point = &setting->run->grid.points[SPARSEGPT];
    other = wn_levels_key(&task);
    CHECK(strcmp(key, other) != 0);
    wn_free(key);
    wn_free(other);
    wn_space_release(&space);
}

/* Several ranks make those that differ in how: with a factor, with a search, with rules. */
static void check_run(const struct setting *setting)
{
    const bool all = wn_par_size(setting->par) == 1;

    for (int64_t point = GPTQ; point < FIRST_ZEROS; point += 4)
        if (all || point == GPTQ || point == AWQ)
            check_point(setting, point, WN_SPACE_BITS, 3);
    for (int64_t point = FIRST_ZEROS; point < PLAIN; point++)
        if (all || point == SPARSEGPT_INT8)
            check_point(setting, point, WN_SPACE_SPARSITY, 0.6);
    check_refused(setting);
}

int main(int argc, char **argv)
{
    char *text = sweep_text();

    on_ranks(argc, argv, text, POINTS, check_run);
    wn_free(text);
    return test_finish();
}
