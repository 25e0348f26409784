/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Levels: a recipe with a level is, value by value, the recipe that is written with it, for every method; kinds are
 * found by their recipe; a level for every linear, of sparsity and of bits at once.
 */
#include <winnow/allocation.h>

#include "../method/recipes.h"

static const struct wn_level nothing = {NAN, NAN};

static void check_equal(const struct wn_recipe *a, const struct wn_recipe *b)
{
    for (int s = 0; s < a->n_stages; s++)
        for (int i = 0; i < a->stages[s].params.count; i++) {
            const struct wn_value *x = &a->stages[s].params.values[i], *y = &b->stages[s].params.values[i];
            CHECK(x->set == y->set && (x->number == y->number || (isnan(x->number) && isnan(y->number))));
            if (x->set)
                CHECK_TEXT(x->text, y->text);
        }
}

/* A method with two settings, from the first to the second by a level. */
static void check_method(const char *name, const char *from, const char *to, struct wn_level level)
{
    struct wn_recipe recipe = {0}, expected = {0}, same = {0};

    CHECK_OK(add_stage(&recipe, name, from));
    CHECK_OK(add_stage(&same, name, from));
    CHECK_OK(add_stage(&expected, name, to));
    wn_level_apply(NULL, &recipe);
    wn_level_apply(&nothing, &recipe);
    check_equal(&recipe, &same);
    wn_level_apply(&level, &recipe);
    check_equal(&recipe, &expected);
}

static void check_methods(void)
{
    int64_t count, pruners = 0, quantizers = 0;
    const struct wn_method *const *table = wn_method_table(&count);

    for (int64_t m = 0; m < count; m++) {
        struct wn_params params;
        wn_params_init(&params, table[m]->parameters, table[m]->n_parameters);
        if (table[m]->kind == WN_PRUNER) {
            check_method(table[m]->name, "{\"sparsity\": 0.5}", "{\"sparsity\": 0.7}", (struct wn_level){0.7, NAN});
            check_method(table[m]->name, "{\"pattern\": \"4:8\"}", "{\"pattern\": \"5:8\"}",
                         (struct wn_level){5.0 / 8, NAN});
            pruners++;
        }
        if (table[m]->kind == WN_QUANTIZER && wn_params_find(&params, "bits")) {
            check_method(table[m]->name, "{\"bits\": 4}", "{\"bits\": 3}", (struct wn_level){NAN, 3});
            quantizers++;
        }
    }
    CHECK(pruners >= 4 && quantizers >= 4);
}

/* Both stages at once, and the same weights as those of the recipe that is written so. */
static void check_both(void)
{
    struct wn_recipe recipe = {0}, expected = {0};
    struct problem problem, other;

    CHECK_OK(add_stage(&recipe, "sparsegpt", "{\"sparsity\": 0.3}"));
    CHECK_OK(add_stage(&recipe, "gptq", "{\"bits\": 8}"));
    CHECK_OK(add_stage(&expected, "sparsegpt", "{\"sparsity\": 0.6}"));
    CHECK_OK(add_stage(&expected, "gptq", "{\"bits\": 3}"));
    problem_init(&problem, 24, 32, 7, 0);
    problem_init(&other, 24, 32, 7, 0);
    CHECK_OK(wn_recipe_compress(&recipe, "linear", problem.weight, &problem.stats, &problem.out));
    CHECK_OK(wn_recipe_compress(&expected, "linear", other.weight, &other.stats, &other.out));
    CHECK(memcmp(problem.out.weight, other.out.weight, sizeof(float) * 24 * 32));
    wn_compressed_release(&problem.out);
    wn_compressed_init(&problem.out, 24, 32, problem.result, problem.keep);
    wn_level_apply(&(struct wn_level){0.6, 3}, &recipe);
    check_equal(&recipe, &expected);
    CHECK_OK(wn_recipe_compress(&recipe, "linear", problem.weight, &problem.stats, &problem.out));
    CHECK(!memcmp(problem.out.weight, other.out.weight, sizeof(float) * 24 * 32));
    problem_release(&problem);
    problem_release(&other);
}

/* ---- kinds ---- */

static void check_kind(const char *method, const char *settings, const char *name, bool reads_dense)
{
    struct wn_recipe recipe = {0};

    CHECK_OK(add_stage(&recipe, method, settings));
    const struct wn_allocation_kind *kind = wn_allocation_of(&recipe);
    CHECK_TEXT(kind->name, name);
    CHECK(kind->reads_dense == reads_dense && kind->n_notes <= WN_MAX_NOTES);
}

static void check_kinds(void)
{
    int64_t count;
    const struct wn_allocation_kind *const *table = wn_allocation_table(&count);

    for (int64_t k = 0; k < count; k++)
        CHECK(wn_allocation_row(table[k]) == k);
    check_kind("rtn", "{\"bits\": 4}", "uniform", false);
    check_kind("wanda", "{\"sparsity\": 0.5}", "uniform", false);
    check_kind("wanda", "{\"sparsity\": 0, \"allocation\": \"owl\"}", "uniform", false); /* nothing to give away */
    check_kind("wanda", "{\"sparsity\": 0.5, \"allocation\": \"owl\"}", "owl", true);
    check_kind("drop", "{\"sparsity\": 0.5}", "depth", true);
}

/* What all linears of two blocks get: uniform, and levels of a search's kind, one by one. */
static void check_levels(void)
{
    const struct wn_layout layout = {.n_linears = 3};
    struct wn_level levels[] = {{0.5, NAN}, {0.5, NAN}, {0.5, NAN}, {0.5, NAN}, {0.5, 4}, {0.5, NAN}};
    bool left_out[] = {false, true};
    struct wn_recipe recipe = {0};
    struct wn_allocation allocation;

    CHECK_OK(add_stage(&recipe, "wanda", "{\"sparsity\": 0.5}"));
    CHECK_OK(wn_allocation_make(&(struct wn_allocation_task){&recipe, &layout, 2, NULL}, &allocation));
    CHECK(!wn_allocation_level(&allocation, 1, 2) && wn_allocation_is_even(&allocation, 1));
    CHECK(!wn_allocation_leaves_out(&allocation, 1, WN_BRANCH_MLP));
    wn_allocation_release(&allocation);
    allocation = (struct wn_allocation){
        .n_blocks = 2, .n_linears = 3, .levels = levels, .left_out = {[WN_BRANCH_MLP] = left_out}};
    CHECK(wn_allocation_level(&allocation, 1, 1) == &levels[4]);
    CHECK(wn_allocation_is_even(&allocation, 0) && wn_allocation_is_even(&allocation, 1)); /* bits do not matter */
    levels[5].sparsity = 0.6;
    CHECK(!wn_allocation_is_even(&allocation, 1));
    CHECK(wn_allocation_leaves_out(&allocation, 1, WN_BRANCH_MLP));
    CHECK(!wn_allocation_leaves_out(&allocation, 0, WN_BRANCH_MLP));
    CHECK(!wn_allocation_leaves_out(&allocation, 1, WN_BRANCH_ATTENTION));
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_methods();
    check_both();
    check_kinds();
    check_levels();
    return test_finish();
}
