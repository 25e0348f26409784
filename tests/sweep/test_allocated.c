/* SPDX-License-Identifier: Apache-2.0 */
/* What searches of a grid vary, and what they cannot: bits that are a mean, joint points, N:M patterns. */
#include <cjson/cJSON.h>

#include "sweep/sweep_impl.h"
#include "test.h"

/* Three searches: of nothing in particular, with levels of bits, with their preset. */
static const char *const sweep_text =
    "{\"model\": \"m\", \"calibration\": {\"c\": {\"text\": \"t.txt\", \"samples\": 1, \"length\": 8}},"
    " \"search\": {\"any\": {\"on\": \"c\"}, \"named\": {\"on\": \"c\", \"bits\": [2, 3, 4, 8]},"
    "   \"preset\": {\"on\": \"c\", \"preset\": \"bits\"}},"
    " \"evaluate\": {\"perplexity\": {\"e\": {\"text\": \"t.txt\"}}}, \"grid\": [%s]}";

struct grid {
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_grid_points points;
};

/* Mistakes of files that are not there are left out. */
static void open_grid(const char *product, struct grid *grid)
{
    char *text = wn_format(sweep_text, product);
    wn_problems_init(&grid->problems);
    wn_sweep_parse("s.json", text, &grid->problems, &grid->sweep);
    wn_problems_release(&grid->problems);
    wn_problems_init(&grid->problems);
    wn_grid_build(grid->sweep, &grid->problems, &grid->points);
    wn_free(text);
}

static void close_grid(struct grid *grid)
{
    wn_grid_release(&grid->points);
    wn_sweep_close(&grid->sweep);
    wn_problems_release(&grid->problems);
}

/* The kinds of the points behind the dense one: s, b or d each, - without a search. */
static void check_kinds(const char *product, const char *kinds)
{
    static const char letters[WN_SPACE_KINDS] = {'s', 'b', 'd'};
    struct grid grid;
    char found[16] = {0};
    open_grid(product, &grid);
    CHECK(grid.problems.count == 0);
    for (int64_t i = 0; i < grid.problems.count; i++)
        fprintf(stderr, "%s\n", grid.problems.lines[i]);
    for (int64_t p = 1; p < grid.points.n_points && p < 16; p++) {
        const struct wn_recipe *recipe = &grid.points.points[p].recipe;
        const struct cJSON *section = NULL;
        for (int64_t i = 0; recipe->search && i < grid.sweep->n_searches; i++)
            if (!strcmp(grid.sweep->searches[i].name, recipe->search))
                section = grid.sweep->searches[i].spec;
        found[p - 1] = '-';
        if (recipe->search)
            found[p - 1] = letters[wn_search_kind(recipe, section)];
    }
    CHECK_TEXT(found, kinds);
    close_grid(&grid);
}

static void check_mistake(const char *product, const char *line)
{
    struct grid grid;
    open_grid(product, &grid);
    CHECK(grid.problems.count == 1);
    CHECK_TEXT(grid.problems.count ? grid.problems.lines[0] : "nothing", line);
    close_grid(&grid);
}

#define ALL   "\"allocation\": [\"uniform\", \"dynamic_programming\", \"any\", \"named\", \"preset\"]"
#define JOINT "\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": "

static void check_kinds_of_all(void)
{
    check_kinds("{\"method\": \"wanda\", \"sparsity\": 0.5, " ALL "}", "-ssss");
    check_kinds("{\"method\": \"gptq\", \"bits\": 3, " ALL "}", "-bbbb");
    check_kinds("{\"method\": \"drop\", \"sparsity\": 0.5, \"allocation\": [\"any\", \"named\"]}", "dd");
    check_kinds("{" JOINT "\"gptq\", \"bits\": 3, " ALL "}", "-ssbb");
    check_kinds("{" JOINT "\"gptq\", \"bits\": 2.5, \"allocation\": [\"dynamic_programming\", \"any\"]}", "bb");
    check_kinds("{\"prune\": \"wanda\", \"pattern\": \"2:4\", \"quantize\": \"gptq\", \"bits\": [3, 2.5],"
                " \"allocation\": \"named\"}",
                "bb");
    /* Nothing is pruned: there is no budget of sparsity, but one of bits. */
    check_kinds("{\"prune\": \"wanda\", \"sparsity\": 0, \"quantize\": \"gptq\", \"bits\": 3,"
                " \"allocation\": [\"any\", \"named\"]}",
                "-b");
    check_kinds("{\"method\": \"wanda\", \"sparsity\": 0, \"allocation\": \"any\"}", "");
}

static void check_mistakes(void)
{
    check_mistake("{\"method\": \"gptq\", \"bits\": 2.5}",
                  "s.json: grid[0]: key \"bits\": 2.5 is a mean over linears: expected a whole number, or an "
                  "\"allocation\" that spreads it (a search, or \"dynamic_programming\")");
    check_mistake("{" JOINT "\"gptq\", \"bits\": 2.5, \"allocation\": \"owl\"}",
                  "s.json: grid[0]: key \"bits\": 2.5 is a mean over linears: expected a whole number, or an "
                  "\"allocation\" that spreads it (a search, or \"dynamic_programming\")");
    check_mistake("{\"method\": \"wanda\", \"pattern\": \"2:4\", \"allocation\": \"any\"}",
                  "s.json: grid[0]: allocation: \"any\" for wanda: N:M patterns have no levels to search; leave "
                  "\"pattern\" out");
    check_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"variant\": \"alpha\", \"allocation\": \"any\"}",
                  "s.json: grid[0]: allocation: \"any\" for wanda: its variant \"alpha\" makes other numbers of zeros "
                  "than it is asked for");
    check_mistake("{\"method\": \"none\", \"allocation\": \"any\"}",
                  "s.json: grid[0]: allocation: \"any\" for none: it has no levels to choose from");
    check_mistake(
        "{\"method\": \"drop\", \"sparsity\": 0.5, \"allocation\": \"dynamic_programming\"}",
        "s.json: grid[0]: allocation: \"dynamic_programming\" for drop: what is left out has no layer errors");
    check_mistake("{\"method\": \"gptq\", \"bits\": 3, \"allocation\": \"slow\"}",
                  "s.json: grid[0]: allocation: \"slow\" is not a name under \"search\": there is \"any\", \"named\", "
                  "\"preset\"");
}

int main(void)
{
    check_kinds_of_all();
    check_mistakes();
    return test_finish();
}
