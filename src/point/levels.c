/* SPDX-License-Identifier: Apache-2.0 */
/*
 * levels.c: the linears of a block at all levels of a space, made as the walk of a point makes them, from statistics
 * of the inputs: those of the dense model, or those behind quantized blocks (quantized.c).
 */
#include <winnow/level.h>
#include <winnow/linalg.h>

#include <math.h>
#include <string.h>

#include "walk.h"

/* ---- what the levels are ---- */

static struct wn_level level_of(const struct wn_space *space, const struct wn_gene *gene, int32_t level,
                                int64_t weights)
{
    const int64_t amount = gene->amount + level * gene->per_level;

    if (space->kind == WN_SPACE_SPARSITY)
        return (struct wn_level){.sparsity = (double)amount / (double)weights, .bits = (double)NAN};
    return (struct wn_level){.sparsity = (double)NAN, .bits = level};
}

static int64_t weights_of(const struct wn_layout *layout, const struct wn_gene *gene)
{
    return layout->linears[gene->linear].rows * layout->linears[gene->linear].columns;
}

/* The stage whose parameter the space varies, NULL when there is none. */
static const struct wn_stage *varied_stage(const struct wn_recipe *recipe, enum wn_space_kind kind)
{
    const enum wn_method_kind method = kind == WN_SPACE_SPARSITY ? WN_PRUNER : WN_QUANTIZER;
    const char *name = kind == WN_SPACE_SPARSITY ? "sparsity" : "bits";

    for (int s = 0; s < recipe->n_stages; s++)
        if (recipe->stages[s].method->kind == method && wn_params_find(&recipe->stages[s].params, name))
            return &recipe->stages[s];
    return NULL;
}

static wn_status check_task(const struct wn_level_task *task)
{
    const struct wn_recipe *recipe = &task->point->recipe;
    const char *varied = task->space->kind == WN_SPACE_SPARSITY ? "sparsity" : "bits";
    int64_t n, m;

    if (task->space->kind == WN_SPACE_DROP)
        WN_BUG("branches that are left out have no levels to be made");
    if (!varied_stage(recipe, task->space->kind))
        return wn_fail(WN_ERR_UNSUPPORTED, "levels of %s need a method with \"%s\": %s has none", varied, varied,
                       task->point->key);
    wn_recipe_pattern(recipe, &n, &m);
    if (task->space->kind == WN_SPACE_SPARSITY && m)
        return wn_fail(WN_ERR_UNSUPPORTED, "levels of sparsity need an unstructured pattern, got %lld:%lld",
                       (long long)n, (long long)m);
    return WN_OK;
}

struct wn_level_task wn_level_task_of(const struct wn_run *run, const struct wn_point_search *search)
{
    return (struct wn_level_task){.run = run,
                                  .point = &run->grid.points[search->point],
                                  .space = &search->space,
                                  .calibration_bits = search->settings.calibration_bits};
}

static void describe_calibration(const struct wn_calibration *set, struct wn_text *text)
{
    wn_text_printf(text, "calibration %s\n", set->token_hash);
    if (set->sequences.noise > 0)
        wn_text_printf(text, "noise %.17g %lld\n", set->sequences.noise, (long long)set->sequences.noise_seed);
}

char *wn_levels_key(const struct wn_level_task *task)
{
    const struct wn_prepared_model *prepared = &task->run->models[task->point->model];
    const struct wn_recipe *recipe = &task->point->recipe;
    const struct wn_space *space = task->space;
    struct wn_text text = {0};

    wn_text_printf(&text, "levels 1\n%s\n%s\n%s\n", task->build, wn_linalg_protocol(),
                   prepared->hash ? prepared->hash : "");
    if (task->point->calibration >= 0)
        describe_calibration(&prepared->calibrations[task->point->calibration], &text);
    for (int s = 0; s < recipe->n_stages; s++) {
        wn_text_printf(&text, "%s ", recipe->stages[s].method->name);
        wn_params_describe(&recipe->stages[s].params, &text);
        wn_text_printf(&text, "\n");
    }
    if (task->calibration_bits)
        wn_text_printf(&text, "behind blocks of %d bits\n", task->calibration_bits);
    wn_text_printf(&text, "kind %d levels %u\n", (int)space->kind, space->bits);
    for (int64_t g = 0; g < space->n_genes; g++) {
        const struct wn_gene *gene = &space->genes[g];
        wn_text_printf(&text, "%d %d %d %d %lld %lld\n", (int)gene->block, (int)gene->linear, (int)gene->low,
                       (int)gene->high, (long long)gene->amount, (long long)gene->per_level);
    }
    return text.data;
}

bool wn_levels_have_key(const struct wn_level_task *task, const char *key)
{
    char *its = wn_levels_key(task);
    bool same = !strcmp(its, key);

    wn_free(its);
    return same;
}

/* ---- what goes with the linears of a block ---- */

/* Inputs are divided in the vectors that make them. */
static bool has_vectors(const struct wn_recipe *recipe)
{
    bool has = false;

    for (int s = 0; s < recipe->n_stages; s++)
        has = has || recipe->stages[s].method->scale_inputs;
    return has;
}

static int64_t count_vectors(const struct wn_level_task *task)
{
    const struct wn_layout *layout = &task->run->models[task->point->model].model->layout;
    int64_t count = 0;
    int vectors[2];

    for (int i = 0; i < layout->n_inputs && has_vectors(&task->point->recipe); i++)
        count += wn_input_vectors(layout, i, vectors);
    return count;
}

static int64_t vector_bytes(const struct wn_level_task *task)
{
    const struct wn_layout *layout = &task->run->models[task->point->model].model->layout;

    return count_vectors(task) *
           (wn_layout_widest_input(layout) * (int64_t)sizeof(float) + WN_PACKED_HEADER + WN_PACKED_TRAILER + 64);
}

/* ---- sizes ---- */

int64_t wn_levels_weights(const struct wn_level_task *task)
{
    const struct wn_layout *layout = &task->run->models[task->point->model].model->layout;
    int64_t weights = 0;

    for (int64_t g = 0; g < task->space->n_genes; g++) {
        const struct wn_gene *gene = &task->space->genes[g];
        for (int32_t level = gene->low; level <= gene->high; level++)
            weights += wn_space_has(task->space, gene, level) ? weights_of(layout, gene) : 0;
    }
    return weights;
}

int64_t wn_levels_bytes(const struct wn_level_task *task)
{
    const struct wn_model *model = task->run->models[task->point->model].model;
    const struct wn_space *space = task->space;
    int64_t bytes = 0, entries = 0;

    for (int64_t g = 0; g < space->n_genes; g++) {
        const struct wn_gene *gene = &space->genes[g];
        const struct wn_linear_info *linear = &model->layout.linears[gene->linear];
        for (int32_t level = gene->low; level <= gene->high; level++) {
            if (!wn_space_has(space, gene, level))
                continue;
            entries++;
            const struct wn_level one = level_of(space, gene, level, weights_of(&model->layout, gene));
            struct wn_recipe recipe = task->point->recipe;
            wn_level_apply(&one, &recipe);
            bytes += wn_pack_bytes_of(&recipe, linear->rows, linear->columns, wn_model_source_bytes(model)) +
                     wn_level_rule_bytes(&recipe, linear->rows, linear->columns, wn_model_source_bytes(model));
        }
    }
    entries += wn_recipe_rounds_inputs(&task->point->recipe) ? 2 * entries : 0;
    bytes += space->n_blocks * vector_bytes(task);
    return bytes + space->n_blocks * wn_levels_overhead(entries / space->n_blocks + 1 + count_vectors(task));
}

/* ---- one block ---- */

/* What a rank needs to make levels. */
struct maker {
    const struct wn_level_task *task;
    struct wn_subject subject;
    struct wn_workspace workspace;
    struct wn_collector collector;
    struct wn_compressor compressor;
    struct wn_allocation allocation; /* levels and zeros of the linears that are made next */
    struct wn_block *dense;
    char *key;
};

/* Errors are known when the dense pass has summed second moments, whatever the method needs. */
static void open_maker(const struct wn_level_task *task, const struct wn_point *point, struct maker *maker)
{
    const struct wn_prepared_model *prepared = &task->run->models[point->model];
    const int64_t linears = task->space->n_blocks * prepared->model->layout.n_linears;
    const unsigned needs = point->calibration >= 0 ? task->reference->needs[point->model][point->calibration] : 0;

    *maker = (struct maker){
        .task = task,
        .subject = {.run = task->run,
                    .prepared = prepared,
                    .model = prepared->model,
                    .point = point,
                    .reference = task->reference},
        .allocation = {.n_blocks = task->space->n_blocks, .n_linears = prepared->model->layout.n_linears},
        .key = wn_levels_key(task)};
    if (wn_recipe_needs(&point->recipe) & ~needs)
        WN_BUG("the dense pass has not collected what %s needs", point->key);
    maker->allocation.levels = wn_alloc_zero(linears, sizeof *maker->allocation.levels);
    if (task->space->kind == WN_SPACE_SPARSITY)
        maker->allocation.zeros = wn_alloc_zero(linears, sizeof *maker->allocation.zeros);
    maker->dense = wn_block_create(prepared->model);
    wn_workspace_open(&maker->workspace, &maker->subject);
    wn_collector_open(&maker->collector, &maker->subject);
    maker->collector.needs |= needs & WN_NEED_SECOND_MOMENTS;
    wn_compressor_open(&maker->compressor, &maker->subject);
}

static void close_maker(struct maker *maker)
{
    wn_compressor_release(&maker->compressor, maker->subject.model);
    wn_collector_release(&maker->collector, &maker->subject);
    wn_workspace_release(&maker->workspace);
    wn_block_destroy(&maker->dense, maker->subject.model);
    wn_allocation_release(&maker->allocation);
    wn_free(maker->key);
}

static const struct wn_gene *gene_of(const struct wn_space *space, int64_t block, int linear)
{
    for (int64_t g = 0; g < space->n_genes; g++)
        if (space->genes[g].block == block && space->genes[g].linear == linear)
            return &space->genes[g];
    WN_BUG("linear %d of block %lld is in no gene", linear, (long long)block);
}

/* Linears without this level get their nearest one; they are not made. */
static void set_levels(struct maker *maker, int64_t block, int32_t level)
{
    const struct wn_space *space = maker->task->space;
    struct wn_allocation *allocation = &maker->allocation;

    for (int l = 0; l < allocation->n_linears; l++) {
        const struct wn_gene *gene = gene_of(space, block, l);
        const int32_t own = level < gene->low ? gene->low : level > gene->high ? gene->high : level;
        const int64_t at = block * allocation->n_linears + l;
        allocation->levels[at] = level_of(space, gene, own, weights_of(&maker->subject.model->layout, gene));
        if (allocation->zeros)
            allocation->zeros[at] = gene->amount + own * gene->per_level;
    }
}

/* Of levels of sparsity what is pruned: rounding makes zeros as well, and without pruning there is no mask. */
static int64_t count_zeros(const struct wn_compressed *form, enum wn_space_kind kind)
{
    int64_t zeros = 0;

    if (kind == WN_SPACE_SPARSITY && !form->has_mask)
        return 0;
#pragma omp parallel for schedule(static) reduction(+ : zeros)
    for (int64_t row = 0; row < form->rows; row++)
        for (int64_t i = row * form->columns; i < (row + 1) * form->columns; i++)
            zeros += form->has_mask ? !form->keep[i] : form->weight[i] == 0.0f;
    return zeros;
}

static wn_status check_zeros(const struct maker *maker, int64_t block, const struct wn_level_entry *entry)
{
    const int64_t *wanted = maker->allocation.zeros;
    const struct wn_layout *layout = &maker->subject.model->layout;

    if (!wanted || wanted[block * layout->n_linears + entry->linear] == entry->zeros)
        return WN_OK;
    return wn_fail(WN_ERR_UNSUPPORTED, "levels of %s: block %lld %s has %lld zeros, the level asks for %lld",
                   maker->subject.point->key, (long long)block, layout->linears[entry->linear].name,
                   (long long)entry->zeros, (long long)wanted[block * layout->n_linears + entry->linear]);
}

/* For an expert that no token chose: the error of its outputs if their inputs were white. */
static double weight_error(const struct maker *maker, int linear, const float *weight)
{
    const struct wn_linear_info *info = &maker->subject.model->layout.linears[linear];
    const float *dense = maker->dense->linears[linear];
    const int64_t count = info->rows * info->columns;

    return wn_sum_squared_difference(dense, weight, count) / wn_sum_squared_difference(dense, NULL, count);
}

static wn_status make_linear(struct maker *maker, int64_t block, int linear, int32_t level,
                             struct wn_level_writer *writer)
{
    struct wn_level_entry entry = {.linear = linear, .level = level};
    struct wn_packed packed;
    struct wn_made made;

    WN_TRY(wn_compressor_make(&maker->compressor, &maker->subject, &maker->collector, linear, &made));
    entry.zeros = count_zeros(&made.form, maker->task->space->kind);
    entry.bits = made.bits;
    entry.error = made.rows == 0 ? weight_error(maker, linear, made.form.weight)
                                 : made.form.solver.objective / made.form.solver.energy;
    wn_status status = check_zeros(maker, block, &entry);
    if (status == WN_OK) {
        wn_pack(&made.form, &packed);
        status = wn_level_writer_add(writer, &entry, &packed);
        wn_packed_release(&packed);
    }
    if (status == WN_OK && made.form.activation)
        status = wn_level_writer_add_rule(writer, linear, level, &made.form);
    wn_made_release(&made);
    return status;
}

/* They come of the dense block and its inputs, so they are the same for all levels. */
static wn_status add_vectors(const struct maker *maker, struct wn_level_writer *writer)
{
    const struct wn_layout *layout = &maker->subject.model->layout;
    int vectors[2];

    for (int i = 0; i < layout->n_inputs && has_vectors(&maker->subject.point->recipe); i++) {
        const int count = wn_input_vectors(layout, i, vectors);
        for (int v = 0; v < count; v++)
            WN_TRY(wn_level_writer_add_vector(writer, vectors[v], maker->compressor.compressed->vectors[vectors[v]],
                                              layout->vectors[vectors[v]].size));
    }
    return WN_OK;
}

static bool is_any(const struct wn_space *space, int32_t level)
{
    bool any = false;

    for (int64_t g = 0; g < space->n_genes && !any; g++)
        any = wn_space_has(space, &space->genes[g], level);
    return any;
}

/* All linears that have a level, for every level of the space: scales of inputs are searched once for each. */
static wn_status make_levels(struct maker *maker, int64_t block, struct wn_level_writer *writer)
{
    const struct wn_space *space = maker->task->space;
    bool begun = false;

    wn_collector_gather(&maker->collector, &maker->subject, &maker->workspace, block, maker->dense);
    for (int32_t level = space->low; level <= space->high; level++) {
        if (!is_any(space, level))
            continue;
        set_levels(maker, block, level);
        wn_compressor_begin(&maker->compressor, &maker->subject, &maker->allocation, block, maker->dense);
        WN_TRY(wn_compressor_scale(&maker->compressor, &maker->subject, &maker->collector, &maker->workspace));
        if (!begun)
            WN_TRY(add_vectors(maker, writer));
        begun = true;
        for (int l = 0; l < maker->allocation.n_linears; l++)
            if (wn_space_has(space, gene_of(space, block, l), level))
                WN_TRY(make_linear(maker, block, l, level, writer));
    }
    return WN_OK;
}

static int64_t count_entries(const struct wn_level_task *task, int64_t block)
{
    const struct wn_space *space = task->space;
    int64_t count = 0;

    for (int64_t g = 0; g < space->n_genes; g++)
        for (int32_t level = space->low; space->genes[g].block == block && level <= space->high; level++)
            count += wn_space_has(space, &space->genes[g], level);
    return (wn_recipe_rounds_inputs(&task->point->recipe) ? 3 : 1) * count + count_vectors(task);
}

static bool is_there(const char *folder, const char *key, int64_t block)
{
    struct wn_level_block levels;
    const bool there = wn_levels_open(folder, key, block, &levels) == WN_OK;

    wn_levels_close(&levels);
    return there;
}

/* `dense` holds the block. */
static wn_status make_block(struct maker *maker, int64_t block)
{
    struct wn_level_writer *writer;

    WN_TRY(wn_level_writer_create(maker->task->folder, maker->key, block, count_entries(maker->task, block), &writer));
    wn_status status = make_levels(maker, block, writer);
    if (status == WN_OK)
        return wn_level_writer_finish(&writer);
    wn_level_writer_abandon(&writer);
    return status;
}

/* ---- all blocks ---- */

/* A block may take so much longer than the slowest one before. */
static const double BLOCK_MARGIN = 1.2;

static wn_status make_blocks(struct maker *maker, int rank, int ranks)
{
    double slowest = 0;

    for (int64_t b = 0; b < maker->task->space->n_blocks; b++) {
        const bool wanted = b % ranks == rank && !is_there(maker->task->folder, maker->key, b);
        const double start = wn_seconds();
        const bool late = maker->task->end > 0 && start + BLOCK_MARGIN * slowest > maker->task->end;
        if (wn_par_stop_requested() || (wanted && late))
            return wn_fail(WN_ERR_INTERRUPTED, "stopped while levels were made; finished blocks are on scratch");
        if (wanted || maker->collector.sequences)
            WN_TRY(wn_model_load_block(maker->subject.model, b, maker->dense));
        if (wanted)
            WN_TRY(make_block(maker, b));
        if (maker->collector.sequences)
            wn_workspace_push(&maker->workspace, maker->subject.model, maker->dense, maker->collector.sequences,
                              maker->collector.hidden);
        slowest = fmax(slowest, wn_seconds() - start);
    }
    return WN_OK;
}

/* Of blocks that one after the other takes. */
static void share_blocks(struct wn_par *par, const struct wn_level_task *task, int *rank, int *ranks)
{
    *rank = task->per_node ? wn_par_node_rank(par) : wn_par_rank(par);
    *ranks = task->per_node ? wn_par_node_size(par) : wn_par_size(par);
}

bool wn_levels_are_there(struct wn_par *par, const struct wn_level_task *task)
{
    char *key = wn_levels_key(task);
    bool missing = false;
    int rank, ranks;

    share_blocks(par, task, &rank, &ranks);
    for (int64_t b = rank; b < task->space->n_blocks && !missing; b += ranks)
        missing = !is_there(task->folder, key, b);
    wn_free(key);
    return !wn_par_max(par, missing);
}

wn_status wn_levels_make(struct wn_par *par, const struct wn_level_task *task)
{
    struct wn_point point = *task->point;
    struct maker maker;
    int rank, ranks;

    WN_TRY(check_task(task));
    if (point.calibration >= 0)
        point.propagation = WN_PROPAGATION_DENSE;
    open_maker(task, &point, &maker);
    share_blocks(par, task, &rank, &ranks);
    wn_status status = make_blocks(&maker, rank, ranks);
    close_maker(&maker);
    return wn_par_agree(par, status);
}
