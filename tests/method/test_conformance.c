/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every row of the method table must do, over several shapes: keep the shape, meet the rate asked for, make
 * nothing that is not finite, give the same bits on 1, 2, 3 and 4 threads, and change nothing when asked for nothing.
 * And: every method file of the folder has its row.
 */
#include "recipes.h"

#include <dirent.h>
#include <omp.h>

static const int64_t shapes[][2] = {{1, 8}, {1, 1000}, {5, 24}, {37, 136}, {64, 72}, {150, 328}, {257, 8}};

/* The settings each kind is tried with; all widths are multiples of 8. */
static const char *const pruner_settings[] = {"{\"sparsity\": 0.1}",    "{\"sparsity\": 0.5}",
                                              "{\"sparsity\": 0.9}",    "{\"pattern\": \"1:2\"}",
                                              "{\"pattern\": \"2:4\"}", "{\"pattern\": \"4:8\"}"};
static const char *const quantizer_settings[] = {"{\"bits\": 2, \"group\": \"channel\"}", "{\"bits\": 4, \"group\": 8}",
                                                 "{\"bits\": 8, \"group\": \"channel\", \"symmetric\": true}"};
static const char *const identity_settings[] = {"{}"};
static const char *const dropper_settings[] = {"{\"sparsity\": 0.5}"};

/* Methods that quantize inputs as well have one width and no groups; the rest of them is in test_activation.c. */
static int64_t settings_of(const struct wn_method *method, const char *const **settings)
{
    static const char *const *const lists[] = {identity_settings, pruner_settings, quantizer_settings,
                                               dropper_settings};
    static const int64_t counts[] = {1, sizeof pruner_settings / sizeof *pruner_settings,
                                     sizeof quantizer_settings / sizeof *quantizer_settings, 1};

    *settings = always_rounds_inputs(method) ? identity_settings : lists[method->kind];
    return always_rounds_inputs(method) ? 1 : counts[method->kind];
}

static void check_kind(const struct problem *problem, const struct wn_recipe *recipe)
{
    const struct wn_stage *stage = &recipe->stages[0];
    const int64_t count = problem->rows * problem->columns;

    for (int64_t i = 0; i < count; i++)
        CHECK(isfinite(problem->result[i]));
    if (stage->method->kind == WN_IDENTITY)
        CHECK(!memcmp(problem->result, problem->weight, (size_t)count * sizeof(float)));
    for (int64_t i = 0; stage->method->kind == WN_DROPPER && i < count; i++)
        CHECK(problem->result[i] == 0);
    if (stage->method->kind == WN_QUANTIZER) {
        CHECK(problem->out.codes && problem->out.scales && problem->out.zeros);
        CHECK(problem->out.bits ==
              (wn_params_find(&stage->params, "bits") ? wn_params_integer(&stage->params, "bits") : 8));
        CHECK(wn_recipe_rounds_inputs(recipe) == (problem->out.activation != NULL));
    }
    if (stage->method->kind == WN_PRUNER) { /* never more than asked for; less by under one weight a row or block */
        double asked = wn_params_number(&stage->params, "sparsity") * (double)count;
        double dropped = (double)count_dropped(problem->keep, count);
        double units = fmax((double)problem->rows, ceil((double)problem->columns / 128));
        if (stage->method->needs & WN_NEED_SECOND_MOMENTS)
            check_zeros(problem);
        else
            check_mask(problem);
        CHECK(dropped <= asked + 1e-6 && dropped > asked - units - 1e-6);
    }
}

/* Everything a point is made of, in one buffer. */
struct bits {
    struct wn_text text;
};

static void take_bits(const struct problem *problem, struct bits *bits)
{
    const struct wn_compressed *out = &problem->out;
    const size_t count = (size_t)(problem->rows * problem->columns);
    const size_t grids = out->group ? (size_t)(problem->rows * out->n_groups) : 1;
    struct wn_weight_statistics statistics;

    wn_text_release(&bits->text);
    wn_weight_statistics_compute(problem->weight, problem->result, problem->rows, problem->columns, &statistics);
    wn_text_append(&bits->text, (const char *)problem->result, count * sizeof(float));
    wn_text_append(&bits->text, (const char *)&statistics, sizeof statistics);
    if (out->has_mask)
        wn_text_append(&bits->text, (const char *)problem->keep, count);
    if (out->codes) {
        wn_text_append(&bits->text, (const char *)out->codes, count);
        wn_text_append(&bits->text, (const char *)out->scales, grids * sizeof(float));
        wn_text_append(&bits->text, (const char *)out->zeros, grids * sizeof(float));
        for (int64_t i = 0; i < out->n_outliers; i++)
            wn_text_append(&bits->text, (const char *)&out->outliers[i].index, sizeof out->outliers[i].index);
    }
}

static void check_threads(struct problem *problem, const struct wn_recipe *recipe)
{
    struct bits one = {0}, many = {0};

    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        CHECK_OK(problem_run(problem, recipe));
        take_bits(problem, threads == 1 ? &one : &many);
        if (threads > 1)
            CHECK(one.text.length == many.text.length && !memcmp(one.text.data, many.text.data, one.text.length));
    }
    wn_text_release(&many.text);
    wn_text_release(&one.text);
}

static void check_method(const struct wn_method *method, int64_t rows, int64_t columns, double decimals)
{
    const char *const *settings;
    const int64_t count = settings_of(method, &settings);
    struct problem problem;

    problem_init(&problem, rows, columns, (uint64_t)(rows * columns), decimals);
    for (int64_t s = 0; s < count; s++) {
        struct wn_recipe recipe = {0};
        CHECK_OK(add_stage(&recipe, method->name, settings[s]));
        CHECK_OK(problem_run(&problem, &recipe));
        check_kind(&problem, &recipe);
        check_threads(&problem, &recipe);
    }
    for (int64_t i = 0; i < rows * columns; i++) /* constant rows, some of them 0 */
        problem.weight[i] = (float)(i / columns % 3) - 1.0f;
    for (int64_t s = 0; s < count; s++) {
        struct wn_recipe recipe = {0};
        CHECK_OK(add_stage(&recipe, method->name, settings[s]));
        CHECK_OK(problem_run(&problem, &recipe));
        check_kind(&problem, &recipe);
    }
    problem_release(&problem);
}

/* The name X in `const struct wn_method wn_method_X = {` of a file; false when it defines none. */
static bool name_in_file(const char *path, char *name, size_t size)
{
    static const char mark[] = "const struct wn_method wn_method_";
    char line[512];
    bool found = false;
    FILE *file = fopen(path, "r");

    if (!file)
        return false;
    while (!found && fgets(line, sizeof line, file))
        if (!strncmp(line, mark, sizeof mark - 1)) {
            const char *start = line + sizeof mark - 1;
            snprintf(name, size, "%.*s", (int)strcspn(start, " ="), start);
            found = true;
        }
    fclose(file);
    return found;
}

static void check_folder(void)
{
    char *folder = test_path("src/method"), name[64];
    DIR *listing = opendir(folder);
    int64_t files = 0, rows;

    CHECK(listing != NULL);
    for (struct dirent *entry = listing ? readdir(listing) : NULL; entry; entry = readdir(listing)) {
        const size_t length = strlen(entry->d_name);
        if (length < 3 || strcmp(entry->d_name + length - 2, ".c") != 0)
            continue;
        char *path = wn_format("%s/%s", folder, entry->d_name);
        if (name_in_file(path, name, sizeof name)) {
            files++;
            CHECK(!strncmp(entry->d_name, name, length - 2) && strlen(name) == length - 2);
            if (!wn_method_find(name)) {
                fprintf(stderr, "%s defines wn_method_%s, but src/method/method_list.h has no row for it\n", path,
                        name);
                test_failures++;
            }
        }
        wn_free(path);
    }
    if (listing)
        closedir(listing);
    wn_method_table(&rows);
    CHECK(files == rows);
    wn_free(folder);
}

int main(void)
{
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);

    CHECK_OK(wn_linalg_start());
    check_folder();
    for (int64_t m = 0; m < count; m++)
        for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++)
            check_method(table[m], shapes[s][0], shapes[s][1], s % 2 ? 12 : 0);
    return test_finish();
}
