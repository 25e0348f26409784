/* SPDX-License-Identifier: Apache-2.0 */
/*
 * searches.c: the searches that points name: their settings and spaces before any work, where their generations are
 * kept in the results file, and what of them is part of the identity.
 */
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "sweep_impl.h"

static const char *const kind_names[WN_SPACE_KINDS] = {"sparsity", "bits", "drop"};

/* NULL for allocations by layer errors, which have no section. */
static const struct wn_sweep_search *find(const struct wn_sweep *sweep, const char *name)
{
    if (!strcmp(name, WN_DYNAMIC_PROGRAMMING))
        return NULL;
    for (int64_t i = 0; i < sweep->n_searches; i++)
        if (!strcmp(sweep->searches[i].name, name))
            return &sweep->searches[i];
    WN_BUG("no search \"%s\"", name);
}

static int64_t find_calibration(const struct wn_sweep *sweep, const char *name)
{
    for (int64_t c = 0; c < sweep->n_calibrations; c++)
        if (!strcmp(sweep->calibrations[c].name, name))
            return c;
    WN_BUG("no calibration set \"%s\"", name);
}

/* ---- spaces ---- */

static enum wn_space_kind kind_of(const struct wn_sweep *sweep, const struct wn_recipe *recipe)
{
    const struct wn_sweep_search *named = find(sweep, recipe->search);
    return wn_search_kind(recipe, named ? named->spec : NULL);
}

static enum wn_space_unit unit_of(const struct wn_recipe *recipe)
{
    static const enum wn_space_unit units[] = {[WN_UNIT_ATTENTION] = WN_SPACE_ATTENTION,
                                               [WN_UNIT_MLP] = WN_SPACE_MLP,
                                               [WN_UNIT_BLOCK] = WN_SPACE_BLOCKS,
                                               [WN_UNIT_BRANCH] = WN_SPACE_BRANCHES};
    return units[wn_drop_unit_of(wn_recipe_drop(recipe))];
}

static wn_status create_space(const struct wn_model *model, const struct wn_recipe *recipe,
                              struct wn_point_search *search)
{
    const struct wn_layout *layout = &model->layout;
    int64_t weights[WN_MAX_LINEARS];
    bool in_mlp[WN_MAX_LINEARS];
    enum wn_space_kind kind = search->settings.kind;
    const struct wn_stage *stage = &recipe->stages[kind == WN_SPACE_BITS ? recipe->n_stages - 1 : 0];
    struct wn_space_request request = {.kind = kind,
                                       .n_blocks = model->config.n_blocks,
                                       .hidden = model->config.hidden_size,
                                       .n_linears = layout->n_linears,
                                       .weights = weights,
                                       .in_mlp = in_mlp};
    for (int l = 0; l < layout->n_linears; l++) {
        if (layout->linears[l].where == WN_DENSE_BLOCKS && kind != WN_SPACE_DROP)
            return wn_fail(WN_ERR_UNSUPPORTED,
                           "%s: some blocks have experts and some have not: levels of their linears cannot be "
                           "searched for",
                           model->directory);
        weights[l] = layout->linears[l].rows * layout->linears[l].columns;
        in_mlp[l] = layout->input_branches[layout->linears[l].input] == WN_BRANCH_MLP;
    }
    request.target = wn_params_number(&stage->params, kind == WN_SPACE_BITS ? "bits" : "sparsity");
    if (kind == WN_SPACE_DROP)
        request.unit = unit_of(recipe);
    wn_search_settings_request(&search->settings, &request);
    return wn_space_create(&request, &search->space);
}

/* What an allocation by layer errors takes of settings: the levels. */
static void minimize_settings(enum wn_space_kind kind, struct wn_search_settings *settings)
{
    *settings = (struct wn_search_settings){.kind = kind, .levels = 8, .bits = WN_BITS_STANDARD};
    settings->legal_attention = wn_strdup("");
    settings->legal_mlp = wn_strdup("");
}

/* Blocks behind which levels are calibrated must be those of a point that can be walked without its own calibration
 * sequences. */
static void check_calibration_bits(const char *place, const struct wn_point *point, struct wn_problems *problems)
{
    if (point->calibration < 0)
        wn_problems_add(problems, "%s: key \"calibration_bits\": point \"%s\" uses no calibration data", place,
                        point->key);
    else if (wn_recipe_trials(&point->recipe))
        wn_problems_add(problems,
                        "%s: key \"calibration_bits\": point \"%s\" searches its scales behind dense blocks: leave it "
                        "out",
                        place, point->key);
}

static void open_search(struct wn_run *run, int64_t point, struct wn_problems *problems)
{
    const struct wn_recipe *recipe = &run->grid.points[point].recipe;
    const struct wn_sweep_search *named = find(run->sweep, recipe->search);
    const enum wn_space_kind kind = kind_of(run->sweep, recipe);
    char *place = wn_format("%s: search.%s", run->sweep->path, recipe->search);
    int64_t before = problems->count;
    run->searches = wn_resize(run->searches, run->n_searches + 1, sizeof *run->searches);
    struct wn_point_search *search = &run->searches[run->n_searches++];
    *search = (struct wn_point_search){.point = point, .calibration = -1, .task = -1};
    if (named)
        wn_search_settings_read(place, named->spec, kind, &search->settings, problems);
    else
        minimize_settings(kind, &search->settings);
    if (!named)
        search->calibration = run->grid.points[point].calibration;
    else if (search->settings.fitness == WN_FITNESS_task)
        search->task = wn_search_find_task(run->sweep, search->settings.on);
    else if (problems->count == before)
        search->calibration = find_calibration(run->sweep, search->settings.on);
    if (problems->count == before &&
        create_space(run->models[run->grid.points[point].model].model, recipe, search) != WN_OK)
        wn_problems_add(problems, "%s: point \"%s\": %s", run->sweep->path, run->grid.points[point].key,
                        wn_error_message());
    if (problems->count == before && search->settings.calibration_bits)
        check_calibration_bits(place, &run->grid.points[point], problems);
    if (problems->count == before && named)
        search->generations = wn_search_generations(&search->settings, &search->space);
    wn_free(place);
}

void wn_searches_open(struct wn_run *run, struct wn_problems *problems)
{
    if (problems->count)
        return;
    for (int64_t p = 0; p < run->grid.n_points; p++)
        if (run->grid.points[p].recipe.search)
            open_search(run, p, problems);
}

/* Sequences of the calibration set, whose tokens are counted. */
static void take_lengths(const struct wn_sequences *sequences, struct wn_point_search *search)
{
    search->n_sequences = sequences->n_sequences;
    search->lengths = wn_alloc(search->n_sequences, sizeof *search->lengths);
    for (int64_t i = 0; i < search->n_sequences; i++)
        search->lengths[i] = sequences->offset[i + 1] - sequences->offset[i];
}

void wn_searches_check(struct wn_run *run, struct wn_problems *problems)
{
    if (problems->count)
        return;
    for (int64_t s = 0; s < run->n_searches; s++) {
        struct wn_point_search *search = &run->searches[s];
        const struct wn_point *point = &run->grid.points[search->point];
        int64_t tokens = 0;
        if (search->task >= 0)
            wn_search_take_items(run, search);
        else
            take_lengths(&run->models[point->model].calibrations[search->calibration].sequences, search);
        for (int64_t i = 0; i < search->n_sequences; i++)
            tokens += search->lengths[i];
        char *place = wn_format("%s: search.%s", run->sweep->path, point->recipe.search);
        if (!wn_recipe_minimizes(&point->recipe))
            wn_search_settings_tokens(place, &search->settings, tokens, problems);
        wn_free(place);
    }
}

/* ---- where generations are kept ---- */

static const char *const branches[] = {"attention", "mlp", "block"};

static const char *unit_label(const struct wn_run *run, const struct wn_point_search *search, int64_t gene)
{
    int32_t linear = search->space.genes[gene].linear;
    const struct wn_layout *layout = &run->models[run->grid.points[search->point].model].model->layout;
    return search->space.kind == WN_SPACE_DROP ? branches[linear] : layout->linears[linear].name;
}

int64_t wn_search_cell(const struct wn_run *run, const struct wn_point_search *search, int64_t gene)
{
    const struct wn_schema *schema = run->logs[search->log].schema;
    const struct wn_dim *units = &schema->dims[schema->fields[WN_LOG_LEVEL].dims[1]];
    const char *label = unit_label(run, search, gene);
    int64_t unit = 0;
    while (strcmp(units->labels[unit], label) != 0)
        unit++;
    return search->space.genes[gene].block * units->size + unit;
}

/* The most of all points of a log. */
struct sizes {
    int64_t items, generations, candidates, stages, blocks;
    struct wn_texts units;
};

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static void measure(const struct wn_point_search *search, struct sizes *sizes)
{
    const struct wn_search_settings *settings = &search->settings;
    sizes->items++;
    sizes->generations = larger(sizes->generations, search->generations);
    sizes->candidates = larger(sizes->candidates, settings->offspring + 1);
    sizes->candidates = larger(sizes->candidates, settings->initial);
    sizes->stages = larger(larger(sizes->stages, settings->n_stages), 1);
    sizes->blocks = larger(sizes->blocks, search->space.n_blocks);
}

static int add_axis(struct wn_schema *schema, const char *name, const char *axis, int64_t size,
                    const char *const *labels)
{
    char *text = wn_format("search_%s_%s", name, axis);
    int dim = wn_schema_dim(schema, text, size, labels);
    wn_free(text);
    return dim;
}

static void add_field(struct wn_schema *schema, const char *name, const char *field, enum wn_field_type type,
                      int n_dims, const int *dims, const char *unit, const char *description, bool result)
{
    char *path = wn_format("/search/%s/%s", name, field);
    wn_schema_field(schema, path, type, n_dims, dims, unit, description, result);
    wn_free(path);
}

static struct wn_schema *create_schema(const char *name, const struct sizes *sizes)
{
    struct wn_schema *schema = wn_alloc(1, sizeof *schema);
    wn_schema_init(schema);
    int judged[] = {add_axis(schema, name, "candidate", sizes->candidates, NULL),
                    add_axis(schema, name, "stage", sizes->stages, NULL)};
    int levels[] = {
        add_axis(schema, name, "block", sizes->blocks, NULL),
        add_axis(schema, name, "unit", sizes->units.count, (const char *const *)sizes->units.texts),
    };
    add_field(schema, name, "level", WN_FIELD_F32, 2, levels, "1",
              "of the parent: bits, 1 where left out, or steps of sparsity above the target; NaN: nothing to choose",
              true);
    add_field(schema, name, "fitness", WN_FIELD_F64, 2, judged, "1",
              "of the candidates of the generation in each stage; the former parent is the last; NaN: not judged",
              true);
    add_field(schema, name, "winner", WN_FIELD_I32, 0, NULL, "1",
              "the candidate that is the parent; -1: none was judged", true);
    add_field(schema, name, "best", WN_FIELD_F64, 0, NULL, "1", "fitness of the parent in the last stage", true);
    add_field(schema, name, "achieved", WN_FIELD_F64, 0, NULL, "1",
              "by the parent: sparsity, bits of a weight, or share of weights left out", true);
    add_field(schema, name, "seconds", WN_FIELD_F64, 0, NULL, "s", "wall time of the generation on all ranks", false);
    add_field(schema, name, "accuracy", WN_FIELD_F64, 2, judged, "1",
              "share of items that the candidates answer rightly, of a fitness that is a task; else NaN", true);
    add_field(schema, name, "tokens", WN_FIELD_F64, 0, NULL, "token",
              "on which candidates were judged in the generation, of all candidates and stages together", true);
    add_field(schema, name, "error_sum", WN_FIELD_F64, 1, judged, "1",
              "of the candidates: sum over linears of tr(dW H dW^T) / tr(W H W^T) of their levels, 1 for one that is "
              "left out",
              true);
    return schema;
}

/* All units that a search of these models can choose for: so the axis does not depend on the points. */
static void list_units(const struct wn_run *run, struct wn_texts *units)
{
    for (size_t i = 0; i < sizeof branches / sizeof *branches; i++)
        wn_texts_add(units, branches[i]);
    for (int64_t m = 0; m < run->n_models; m++)
        for (int l = 0; l < run->models[m].model->layout.n_linears; l++)
            wn_texts_add(units, run->models[m].model->layout.linears[l].name);
}

static void lay_out(struct wn_run *run, const char *name)
{
    struct sizes sizes = {0};
    list_units(run, &sizes.units);
    for (int64_t s = 0; s < run->n_searches; s++) {
        struct wn_point_search *search = &run->searches[s];
        if (strcmp(run->grid.points[search->point].recipe.search, name) != 0)
            continue;
        search->log = run->n_logs;
        search->item = sizes.items;
        measure(search, &sizes);
    }
    if (sizes.items) {
        const char **labels = wn_alloc(sizes.items, sizeof *labels);
        for (int64_t s = 0; s < run->n_searches; s++)
            if (!strcmp(run->grid.points[run->searches[s].point].recipe.search, name))
                labels[run->searches[s].item] = run->grid.points[run->searches[s].point].key;
        run->logs = wn_resize(run->logs, run->n_logs + 1, sizeof *run->logs);
        run->logs[run->n_logs++] = (struct wn_log){.group = wn_format("/search/%s", name),
                                                   .item_axis = wn_format("search_%s_point", name),
                                                   .row_axis = wn_format("search_%s_generation", name),
                                                   .items = sizes.items,
                                                   .rows = sizes.generations + 1,
                                                   .labels = labels,
                                                   .schema = create_schema(name, &sizes)};
    }
    wn_texts_release(&sizes.units);
}

void wn_searches_lay_out(struct wn_run *run)
{
    for (int64_t s = 0; s < run->sweep->n_searches; s++)
        lay_out(run, run->sweep->searches[s].name);
    lay_out(run, WN_DYNAMIC_PROGRAMMING);
}

void wn_searches_release(struct wn_run *run)
{
    for (int64_t s = 0; s < run->n_searches; s++) {
        wn_search_settings_release(&run->searches[s].settings);
        wn_space_release(&run->searches[s].space);
        wn_free(run->searches[s].lengths);
        wn_search_release_items(&run->searches[s]);
    }
    wn_free(run->searches);
    for (int l = 0; l < run->n_logs; l++) {
        struct wn_log *log = &run->logs[l];
        wn_schema_release((struct wn_schema *)log->schema);
        wn_free((void *)log->schema);
        wn_free((char *)log->group);
        wn_free((char *)log->item_axis);
        wn_free((char *)log->row_axis);
        wn_free((void *)log->labels);
    }
    wn_free(run->logs);
}

/* ---- what was found ---- */

static wn_status take_found(const struct wn_run *run, const struct wn_point_search *search, const char *path,
                            const bool *whole, const struct wn_array *levels, int32_t *genome)
{
    const struct wn_log *log = &run->logs[search->log];
    const struct wn_schema *schema = log->schema;
    int64_t cells = schema->fields[WN_LOG_LEVEL].elements, row = search->item * log->rows + search->generations;
    bool fits = levels->rank == 4 && levels->sizes[0] == log->items && levels->sizes[1] == log->rows &&
                levels->sizes[2] * levels->sizes[3] == cells;
    if (!fits || !whole[row])
        return wn_fail(WN_ERR_INPUT, "%s: the search of point \"%s\" has not come to its end", path,
                       run->grid.points[search->point].key);
    for (int64_t g = 0; g < search->space.n_genes; g++)
        genome[g] = (int32_t)levels->values[row * cells + wn_search_cell(run, search, g)];
    return wn_space_check(&search->space, genome);
}

wn_status wn_search_read_found(const struct wn_run *run, const struct wn_point_search *search, const char *path,
                               int32_t *genome)
{
    const struct wn_log *log = &run->logs[search->log];
    struct wn_results_reader *reader;
    struct wn_array levels = {0};
    bool *whole = NULL;
    int64_t items, rows;
    WN_TRY(wn_results_read_open(path, &reader));
    wn_status status = wn_results_read_whole(reader, log->group, &whole, &items, &rows);
    if (status == WN_OK && (items != log->items || rows != log->rows))
        status = wn_fail(WN_ERR_INPUT, "%s: %s is of another sweep", path, log->group);
    if (status == WN_OK)
        status = wn_results_read_array(reader, log->schema->fields[WN_LOG_LEVEL].path, &levels);
    if (status == WN_OK)
        status = take_found(run, search, path, whole, &levels, genome);
    wn_free(levels.values);
    wn_free(whole);
    wn_results_read_close(&reader);
    return status;
}

/* ---- identity ---- */

char *wn_search_title(const struct wn_run *run, int64_t point)
{
    const struct wn_recipe *recipe = &run->grid.points[point].recipe;
    return wn_format("%s for %s", recipe->search, kind_names[kind_of(run->sweep, recipe)]);
}

static void put_list(struct wn_text *text, const char *name, int count, const int64_t *values)
{
    for (int i = 0; i < count; i++)
        wn_text_printf(text, "%s%lld", i ? "," : name, (long long)values[i]);
}

/* "2..6", or "2,3,4,8" when there are gaps. */
static void put_bits(unsigned bits, struct wn_text *text)
{
    int64_t levels[WN_BITS_MOST + 1];
    int count = 0;
    for (int level = 0; level <= WN_BITS_MOST; level++)
        if (bits & WN_BITS(level))
            levels[count++] = level;
    if (wn_bits_have_gaps(bits))
        put_list(text, "", count, levels);
    else
        wn_text_printf(text, "%lld..%lld", (long long)levels[0], (long long)levels[count - 1]);
}

static void put_settings(const struct wn_search_settings *settings, struct wn_text *text)
{
    wn_text_printf(text, "fitness=%s on=%s top=%lld generations=%lld offspring=%lld seed=%lld initial=%lld,%lld",
                   wn_fitness_name(settings->fitness), settings->on, (long long)settings->top,
                   (long long)settings->generations, (long long)settings->offspring, (long long)settings->seed,
                   (long long)settings->initial, (long long)settings->initial_tokens);
    put_list(text, " survivors=", settings->n_stages, settings->survivors);
    put_list(text, " tokens=", settings->n_stages, settings->tokens);
    wn_text_printf(text, " inverted=%d levels=%lld step=%lld bits=", settings->inverted, (long long)settings->levels,
                   (long long)settings->step);
    put_bits(settings->bits, text);
    wn_text_printf(text, " legal=%s/%s", settings->legal_attention, settings->legal_mlp);
    if (settings->calibration_bits)
        wn_text_printf(text, " calibration_bits=%d", settings->calibration_bits);
    if (settings->fitness == WN_FITNESS_task)
        wn_text_printf(text, " items=%.17g", settings->items);
}

/* One line for each kind of a search that points of the model name. */
void wn_searches_identify(const struct wn_run *run, int64_t model, struct wn_text *text)
{
    struct wn_texts titles = {0};
    for (int64_t s = 0; s < run->n_searches; s++) {
        const struct wn_point_search *search = &run->searches[s];
        if (run->grid.points[search->point].model != model)
            continue;
        char *title = wn_search_title(run, search->point);
        int64_t before = titles.count;
        if (wn_texts_add(&titles, title) == before) {
            wn_text_printf(text, "search %s: ", title);
            put_settings(&search->settings, text);
            wn_text_append(text, "\n", 1);
        }
        wn_free(title);
    }
    wn_texts_release(&titles);
}
