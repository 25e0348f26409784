/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search_tasks.c: searches for what a task needs. A search sees some items of the task only; the others, which it never
 * saw, measure what it found. All items are evaluated of every point, and a constant of the results file tells them
 * apart.
 */
#include <string.h>

#include <winnow/judge.h>

#include "sweep_impl.h"

int64_t wn_search_find_task(const struct wn_sweep *sweep, const char *name)
{
    for (int64_t e = 0; e < sweep->n_evals; e++)
        if (!strcmp(sweep->evals[e].name, name))
            return e;
    return -1; /* a mistake that was told */
}

static void warn(const struct wn_run *run, const struct wn_point_search *search, int64_t all)
{
    if (search->items->count == all)
        wn_log(WN_LOG_WARNING,
               "search %s: sees all %lld items of %s, so that none is left to measure what it finds: give it a smaller "
               "\"items\", or measure on another task",
               run->grid.points[search->point].recipe.search, (long long)all, search->settings.on);
}

void wn_search_take_items(const struct wn_run *run, struct wn_point_search *search)
{
    const struct wn_eval_set *set = &run->models[run->grid.points[search->point].model].sets[search->task];
    search->items = wn_alloc(1, sizeof *search->items);
    wn_judge_items_create(set, search->settings.items, search->items);
    search->n_sequences = search->items->count;
    search->lengths = wn_alloc(search->n_sequences, sizeof *search->lengths);
    memcpy(search->lengths, search->items->tokens, (size_t)search->n_sequences * sizeof *search->lengths);
    warn(run, search, set->kind->gold->items(set));
}

void wn_search_release_items(struct wn_point_search *search)
{
    if (search->items)
        wn_judge_items_release(search->items);
    wn_free(search->items);
}

/* 1 for items that any search of the model sees; false: none is for this task. */
static bool mark(const struct wn_run *run, const struct wn_prepared_model *prepared, int64_t task, int32_t *searched)
{
    bool any = false;
    for (int64_t s = 0; s < run->n_searches; s++) {
        const struct wn_point_search *search = &run->searches[s];
        if (search->task != task || &run->models[run->grid.points[search->point].model] != prepared)
            continue;
        any = true;
        for (int64_t i = 0; i < search->items->count; i++)
            searched[search->items->number[i]] = 1;
    }
    return any;
}

/* The axis of the items of a task, which it has. */
static int find_axis(const struct wn_schema *schema, const char *task)
{
    char *name = wn_format("item_%s", task);
    int dim = 0;
    while (strcmp(schema->dims[dim].name, name) != 0)
        dim++;
    wn_free(name);
    return dim;
}

void wn_search_mark_items(const struct wn_run *run, struct wn_prepared_model *prepared)
{
    for (int64_t e = 0; e < run->sweep->n_evals; e++) {
        const struct wn_eval_set *set = &prepared->sets[e];
        if (!set->kind->gold)
            continue;
        int64_t count = set->kind->gold->items(set);
        int32_t *searched = wn_alloc_zero(count, sizeof *searched);
        if (mark(run, prepared, e, searched)) {
            char *path = wn_format("/tasks/%s/searched", set->name);
            int dim = find_axis(&prepared->schema, set->name);
            wn_schema_constant(&prepared->schema, path, WN_FIELD_I32, 1, &dim, "1",
                               "1: searches judged candidates by the item; 0: they did not, it is held out", searched);
            wn_free(path);
        }
        wn_free(searched);
    }
}
