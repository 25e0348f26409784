/* SPDX-License-Identifier: Apache-2.0 */
/* The table, recipes: order of stages, identities, joint compression, weights that are not finite; bits per weight. */
#include "recipes.h"

static void check_table(void)
{
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);

    for (int64_t i = 0; i < count; i++) {
        CHECK(wn_method_find(table[i]->name) == table[i]);
        CHECK(table[i]->help && *table[i]->help);
        CHECK(table[i]->compress_linear != NULL);
        CHECK((table[i]->kind == WN_IDENTITY) == (table[i]->paper == NULL));
    }
    CHECK(wn_method_find("nothing") == NULL);
}

static void check_needs(void)
{
    struct wn_recipe recipe = {0};
    int64_t n, m;

    CHECK(wn_recipe_needs(&recipe) == WN_NEED_NOTHING);
    CHECK_OK(add_stage(&recipe, "wanda", "{\"pattern\": \"2:4\"}"));
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 4}"));
    CHECK(wn_recipe_needs(&recipe) == WN_NEED_INPUT_SQUARES);
    wn_recipe_pattern(&recipe, &n, &m);
    CHECK(n == 2 && m == 4);
    recipe.n_stages = 0;
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 4}"));
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5}"));
    wn_recipe_pattern(&recipe, &n, &m);
    CHECK(n == 0 && m == 0);
    CHECK(wn_recipe_check_linear(&recipe, "a", 8, 8) == WN_ERR_INPUT);
    CHECK_MESSAGE("\"magnitude\" cannot follow \"rtn\"");
}

static void check_identities(void)
{
    struct problem problem;
    struct wn_recipe recipe = {0};

    problem_init(&problem, 3, 16, 1, 0);
    CHECK_OK(problem_run(&problem, &recipe)); /* no stage */
    CHECK(!memcmp(problem.result, problem.weight, 48 * sizeof(float)));
    memset(problem.result, 0, 48 * sizeof(float));
    CHECK_OK(problem_run_one(&problem, "wanda", "{\"sparsity\": 0}"));
    CHECK(!memcmp(problem.result, problem.weight, 48 * sizeof(float)));
    CHECK(!problem.out.has_mask && !problem.out.bits);
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), 16, 0);

    float plain[48];
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 3}"));
    memcpy(plain, problem.result, sizeof plain);
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0}"));
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 3}"));
    CHECK_OK(problem_run(&problem, &recipe));
    CHECK(!memcmp(plain, problem.result, sizeof plain));
    CHECK(!problem.out.has_mask);
    problem_release(&problem);
}

/* Zeros of the pruner stay exactly 0, and the second stage equals the quantizer alone on the pruned weights. */
static void check_joint(const char *pruner, const char *settings, const char *quantizer)
{
    const int64_t rows = 11, columns = 96, count = rows * columns;
    struct problem problem, alone;
    struct wn_recipe recipe = {0};

    problem_init(&problem, rows, columns, 2, 0);
    problem_init(&alone, rows, columns, 2, 0);
    CHECK_OK(add_stage(&recipe, pruner, settings));
    CHECK_OK(add_stage(&recipe, "rtn", quantizer));
    CHECK_OK(problem_run(&problem, &recipe));
    CHECK_OK(problem_run_one(&alone, pruner, settings));
    CHECK(problem.out.has_mask && problem.out.codes);
    CHECK(!memcmp(problem.keep, alone.keep, (size_t)count));
    for (int64_t i = 0; i < count; i++)
        CHECK(problem.keep[i] || (problem.result[i] == 0.0f && !signbit(problem.result[i])));
    memcpy(alone.weight, alone.result, (size_t)count * sizeof(float));
    CHECK_OK(problem_run_one(&alone, "rtn", quantizer));
    CHECK(!memcmp(problem.result, alone.result, (size_t)count * sizeof(float)));
    problem_release(&alone);
    problem_release(&problem);
}

static bool has_parameter(const struct wn_method *method, const char *name)
{
    for (int p = 0; p < method->n_parameters; p++)
        if (!strcmp(method->parameters[p].name, name))
            return true;
    return false;
}

static void check_not_finite(void)
{
    static const float wrong[] = {NAN, INFINITY, -INFINITY};
    struct problem problem;
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);

    problem_init(&problem, 4, 48, 3, 0);
    for (size_t w = 0; w < 3; w++)
        for (int64_t i = 0; i < count; i++) {
            const char *settings = has_parameter(table[i], "sparsity") ? "{\"sparsity\": 0.5}"
                                   : has_parameter(table[i], "bits")   ? "{\"bits\": 4}"
                                                                       : "{}";
            problem.weight[2 * 48 + 17] = wrong[w];
            CHECK(problem_run_one(&problem, table[i]->name, settings) == WN_ERR_NUMERIC);
            CHECK_MESSAGE("block.linear");
            CHECK_MESSAGE("row 2, column 17");
        }
    problem.weight[2 * 48 + 17] = 3.4e38f;
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.5}"));
    problem_release(&problem);
}

static void check_bits(void)
{
    struct problem problem;
    struct wn_recipe recipe = {0};

    problem_init(&problem, 8, 64, 4, 0);
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"sparsity\": 0.75}"));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), 16 * 0.25 + 1, 1e-12);
    CHECK_OK(problem_run_one(&problem, "magnitude", "{\"pattern\": \"2:4\"}"));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 2, 4), 8 + log2(6) / 4, 1e-12);
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 4}"));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), 4 + 20.0 / 64, 1e-12);
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 3, \"group\": 16, \"symmetric\": true}"));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), 3 + 16.0 / 16, 1e-12);
    CHECK_OK(problem_run_one(&problem, "rtn", "{\"bits\": 8, \"group\": \"tensor\"}"));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 0, 0), 8 + 24.0 / 512, 1e-12);
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"pattern\": \"4:8\"}"));
    CHECK_OK(add_stage(&recipe, "rtn", "{\"bits\": 4, \"group\": 32}"));
    CHECK_OK(problem_run(&problem, &recipe));
    CHECK_NEAR(wn_bits_per_weight(&problem.out, 4, 8), 4 * 0.5 + 20.0 / 32 + log2(70) / 8, 1e-12);
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_table();
    check_needs();
    check_identities();
    check_joint("magnitude", "{\"sparsity\": 0.6}", "{\"bits\": 3}");
    check_joint("magnitude", "{\"pattern\": \"2:4\"}", "{\"bits\": 2, \"group\": 16, \"symmetric\": true}");
    check_joint("wanda", "{\"sparsity\": 0.95}", "{\"bits\": 4, \"group\": 8}");
    check_joint("wanda", "{\"pattern\": \"4:8\"}", "{\"bits\": 8, \"group\": \"tensor\"}");
    check_not_finite();
    check_bits();
    return test_finish();
}
