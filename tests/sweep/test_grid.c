/* SPDX-License-Identifier: Apache-2.0 */
/* Sweep files and grids: products, collapse of equal points, joint points, and every mistake with its key. */
#include <winnow/sweep.h>

#include <math.h>
#include <time.h>

#include "test.h"

#define EVALUATE "\"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"data/general_eval.txt\", \"length\": 64}}}"
#define CALIBRATION                                                                                                    \
    "\"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\", \"samples\": 2, \"length\": 16},"   \
    " \"task\": {\"prompts\": \"data/task_calibration.jsonl\", \"samples\": 2, \"length\": 16}}"

static char folder[] = "/tmp/winnow_grid.XXXXXX";

/* Writes a sweep whose relative paths are those of the demo, reads it and builds its grid. */
static void read_text(const char *text, struct wn_problems *problems, struct wn_sweep **sweep,
                      struct wn_grid_points *grid)
{
    char *path = wn_format("%s/sweep.json", folder);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    wn_problems_init(problems);
    wn_sweep_read(path, problems, sweep);
    wn_grid_build(*sweep, problems, grid);
    wn_free(path);
}

static void release(struct wn_problems *problems, struct wn_sweep **sweep, struct wn_grid_points *grid)
{
    wn_grid_release(grid);
    wn_sweep_close(sweep);
    wn_problems_release(problems);
}

/* The points and cells that a grid gives under these calibration sets. */
static void check_counts_of(const char *calibration, const char *grid_text, int64_t points, int64_t cells)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_grid_points grid;
    char *text = wn_format("{\"model\": \"model\", %s, " EVALUATE ", \"grid\": %s}", calibration, grid_text);
    read_text(text, &problems, &sweep, &grid);
    CHECK(problems.count == 0);
    for (int64_t i = 0; i < problems.count; i++)
        fprintf(stderr, "%s\n", problems.lines[i]);
    CHECK(grid.n_points == points);
    CHECK(grid.n_cells == cells);
    CHECK_TEXT(grid.points[0].key, "dense");
    for (int64_t i = 0; i < grid.n_cells; i++)
        CHECK(grid.cells[i].point >= 0 && grid.cells[i].point < grid.n_points);
    release(&problems, &sweep, &grid);
    wn_free(text);
}

static void check_counts(const char *grid_text, int64_t points, int64_t cells)
{
    check_counts_of(CALIBRATION, grid_text, points, cells);
}

/* A whole sweep text must give a line that contains `part`, and only `count` lines. */
static void check_mistake(const char *text, const char *part, int64_t count)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_grid_points grid;
    bool found = false;
    read_text(text, &problems, &sweep, &grid);
    for (int64_t i = 0; i < problems.count; i++)
        found = found || strstr(problems.lines[i], part);
    if (!found || problems.count != count) {
        test_failures++;
        fprintf(stderr, "expected %lld line(s) with \"%s\" for %s, got:\n", (long long)count, part, text);
        for (int64_t i = 0; i < problems.count; i++)
            fprintf(stderr, "  %s\n", problems.lines[i]);
    }
    release(&problems, &sweep, &grid);
}

static void check_grid_mistake(const char *product, const char *part)
{
    char *text = wn_format("{\"model\": \"model\", " CALIBRATION ", " EVALUATE ", \"grid\": [%s]}", product);
    check_mistake(text, part, 1);
    wn_free(text);
}

static void test_products(void)
{
    check_counts("[{\"method\": \"magnitude\", \"sparsity\": [0.1, 0.5]}]", 3, 2);
    check_counts("[{\"method\": [\"magnitude\", \"wanda\"], \"sparsity\": [0.1, 0.5], \"calibration\": \"task\"}]", 5,
                 4);
    check_counts("[{\"method\": \"rtn\", \"bits\": [8, 4], \"group\": [\"channel\", \"tensor\", 32]}]", 7, 6);
    check_counts("[{\"method\": \"wanda\", \"pattern\": [\"2:4\", \"4:8\"], \"calibration\": \"general\", "
                 "\"propagation\": [\"sequential\", \"dense\"]}]",
                 5, 4);
    check_counts("[{\"prune\": [\"wanda\", \"magnitude\"], \"sparsity\": 0.5, \"quantize\": \"rtn\", \"bits\": 4, "
                 "\"calibration\": \"general\"}]",
                 3, 2);
}

/* Draws and noise are points of their own where calibration data matter, else one. */
static void test_variations(void)
{
    check_counts("[{\"method\": [\"magnitude\", \"wanda\"], \"sparsity\": 0.5, \"calibration\": \"task\", "
                 "\"replicates\": 3}]",
                 5, 4);
    check_counts("[{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": [\"general\", \"task\"], "
                 "\"replicates\": 2, \"perturb\": [0, 1e-7], \"perturb_seed\": [0, 1]}]",
                 13, 16);
    /* What is asked for twice is one point. */
    check_counts("[{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\"}, {\"method\": \"wanda\", "
                 "\"sparsity\": 0.5, \"calibration\": \"task\", \"replicates\": 2}]",
                 3, 3);
}

/* The only set of the file is meant where none is named, whatever is varied in this product or another. */
static void test_variations_of_one_set(void)
{
    static const char one[] = "\"calibration\": {\"general\": {\"text\": \"data/general_calibration.jsonl\", "
                              "\"samples\": 2, \"length\": 16}}";
    check_counts_of(one, "[{\"method\": \"wanda\", \"sparsity\": 0.5, \"replicates\": 3}]", 4, 3);
    check_counts_of(one, "[{\"method\": \"wanda\", \"sparsity\": 0.5, \"perturb\": [0, 1e-7]}]", 3, 2);
    check_counts_of(one,
                    "[{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"general\", \"replicates\": 2}, "
                    "{\"method\": \"wanda\", \"sparsity\": 0.7}]",
                    4, 3);
}

static void test_variation_keys(void)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_grid_points grid;
    read_text("{\"model\": \"model\", " CALIBRATION ", " EVALUATE
              ", \"grid\": [{\"method\": [\"magnitude\", \"wanda\"], "
              "\"sparsity\": 0.5, \"calibration\": \"task\", \"replicates\": 2, \"perturb\": 1e-7}]}",
              &problems, &sweep, &grid);
    CHECK(problems.count == 0 && grid.n_points == 4);
    CHECK(strstr(grid.points[1].key, "magnitude") && !strstr(grid.points[1].key, "perturb"));
    CHECK(strstr(grid.points[2].key, "calibration=task perturb=1e-07 propagation=sequential"));
    CHECK(strstr(grid.points[3].key, "calibration=task replicate=1 perturb=1e-07 propagation=sequential"));
    CHECK(grid.notes.count == 2 && strstr(grid.notes.lines[0], "replicates: magnitude uses no calibration data"));
    const struct wn_sweep_calibration *set = &sweep->calibrations[grid.points[3].calibration];
    CHECK_TEXT(set->name, "task#1~1e-07");
    CHECK_TEXT(sweep->calibrations[set->draw].name, "task#1");
    release(&problems, &sweep, &grid);
}

static void test_variation_mistakes(void)
{
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\", \"replicates\": [1, 2]}",
                       "grid[0]: replicates: expected a whole number from 1 to 1000");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\", \"replicates\": 0}",
                       "replicates: expected a whole number");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\", \"perturb\": [0, 1]}",
                       "perturb: expected a number from 0 to 0.01");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\", \"perturb_seed\": 1}",
                       "perturb_seed: needs \"perturb\"");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\", \"replicate\": 2}",
                       "did you mean \"replicates\"");
    /* Nothing but the file gives a set a name. */
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"general\", \"replicates\": 2}, "
                       "{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"general#1\", \"replicates\": 2}",
                       "grid[1]: calibration: \"general#1\" is not a set under");
}

/* A pruner that could round by itself leaves bits to the quantizer. */
static void test_joint_parameters(void)
{
    check_counts(
        "[{\"prune\": \"sparsegpt\", \"sparsity\": 0.5, \"quantize\": \"gptq\", \"bits\": [4, 3], \"group\": 32, "
        "\"percdamp\": 0.05, \"calibration\": \"general\"}]",
        3, 2);
    check_counts("[{\"method\": \"sparsegpt\", \"sparsity\": 0.5, \"bits\": 4, \"calibration\": \"general\"}]", 2, 1);
}

static void test_collapse(void)
{
    /* Data-free methods are the same under every set and propagation. */
    check_counts("[{\"method\": \"magnitude\", \"sparsity\": 0.5, \"calibration\": [\"general\", \"task\"], "
                 "\"propagation\": [\"sequential\", \"dense\"]}]",
                 2, 4);
    /* Outliers are those of the dense model; only what else needs data depends on propagation. Defaults of owl. */
    check_counts("[{\"method\": [\"magnitude\", \"wanda\"], \"sparsity\": 0.5, \"allocation\": [\"uniform\", \"owl\"], "
                 "\"calibration\": [\"general\", \"task\"], \"propagation\": [\"sequential\", \"dense\"]}, "
                 "{\"method\": \"magnitude\", \"sparsity\": 0.5, \"allocation\": \"owl\", \"calibration\": \"task\", "
                 "\"owl_lambda\": 0.08, \"owl_m\": 5}]",
                 12, 17);
    /* Methods without allocations are uniform. */
    check_counts(
        "[{\"method\": \"rtn\", \"bits\": 4, \"allocation\": [\"uniform\"]}, {\"method\": \"rtn\", \"bits\": 4}]", 2,
        2);
    /* Sparsity 0 and the method none change nothing. */
    check_counts("[{\"method\": [\"magnitude\", \"wanda\"], \"sparsity\": 0, \"calibration\": \"general\"}, "
                 "{\"method\": \"none\"}]",
                 1, 3);
    /* A joint point whose pruner does nothing is the quantizer's point. */
    check_counts("[{\"prune\": \"wanda\", \"sparsity\": 0, \"quantize\": \"rtn\", \"bits\": 4, \"calibration\": "
                 "\"general\"}, {\"method\": \"rtn\", \"bits\": 4}]",
                 2, 2);
    /* Published defaults are their values spelled out, behind what is given; some methods have none of their own. */
    check_counts("[{\"method\": \"magnitude\", \"sparsity\": 0.5, \"defaults\": [\"own\", \"published\"]}, "
                 "{\"method\": \"magnitude\", \"sparsity\": 0.5, \"rule\": [\"exact\", \"reference\"]}, "
                 "{\"method\": \"magnitude\", \"sparsity\": 0.5, \"defaults\": \"published\", \"rule\": \"exact\"}, "
                 "{\"method\": \"rtn\", \"bits\": 4, \"defaults\": [\"own\", \"published\"]}]",
                 4, 7);
    check_counts("[{\"prune\": \"sparsegpt\", \"pattern\": \"2:4\", \"quantize\": \"gptq\", \"bits\": 4, "
                 "\"calibration\": \"task\", \"defaults\": \"published\"}, {\"prune\": \"sparsegpt\", \"pattern\": "
                 "\"2:4\", \"rule\": \"reference\", \"quantize\": \"gptq\", \"bits\": 4, \"group_statistics\": "
                 "\"reference\", \"calibration\": \"task\"}]",
                 2, 2);
    /* The same point asked for twice, and a default spelled out. */
    check_counts("[{\"method\": \"rtn\", \"bits\": 4}, {\"method\": \"rtn\", \"bits\": [4], \"symmetric\": false}]", 2,
                 2);
}

static void test_grid_mistakes(void)
{
    check_grid_mistake("{\"method\": \"magnitud\", \"sparsity\": 0.5}", "did you mean \"magnitude\"");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": 1.0}", "grid[0]: key \"sparsity\"");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": -0.1}", "sparsity");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": \"half\"}", "sparsity");
    check_grid_mistake("{\"method\": \"magnitude\"}", "sparsity");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": []}", "grid[0]: sparsity: the axis is empty");
    check_grid_mistake("{\"method\": \"rtn\", \"bits\": 1}", "bits");
    check_grid_mistake("{\"method\": \"rtn\", \"bits\": 9}", "bits");
    check_grid_mistake("{\"method\": \"rtn\", \"bits\": [4, 2.5], \"allocation\": \"uniform\"}",
                       "grid[0]: key \"bits\": 2.5 is a mean over linears");
    check_grid_mistake("{\"method\": \"sparsegpt\", \"sparsity\": 0.5, \"bits\": 3.5, \"calibration\": \"task\", "
                       "\"allocation\": \"dynamic_programming\"}",
                       "grid[0]: key \"bits\": 3.5 is a mean over linears");
    check_grid_mistake("{\"method\": \"rtn\", \"bits\": 4, \"sparsty\": 0.5}", "unknown key \"sparsty\"");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5}", "needs calibration data");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"c4\"}", "\"c4\" is not a set");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": 0.3, \"pattern\": \"2:4\"}", "sparsity");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": 0.5, \"allocation\": \"owl\"}",
                       "needs calibration data");
    check_grid_mistake(
        "{\"method\": \"drop\", \"sparsity\": 0.5, \"allocation\": \"uniform\", \"calibration\": \"general\"}",
        "allocation: \"uniform\" is not a name under \"search\"");
    check_grid_mistake("{\"method\": \"magnitude\", \"pattern\": \"2:4\", \"scope\": \"block\"}",
                       "grid[0]: magnitude: key \"scope\": block needs the pattern \"unstructured\"");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": 0.5, \"owl_m\": 3}", "key \"owl_m\"");
    check_grid_mistake("{\"prune\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\"}", "both");
    check_grid_mistake("{\"prune\": \"rtn\", \"quantize\": \"rtn\", \"bits\": 4}", "not a pruning method");
    check_grid_mistake("{\"sparsity\": 0.5}", "give either \"method\"");
    check_grid_mistake(
        "{\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"task\", \"propagation\": \"odd\"}",
        "propagation: expected");
    check_grid_mistake("{\"method\": \"magnitude\", \"sparsity\": 0.5, \"defaults\": \"theirs\"}",
                       "defaults: expected");
    check_grid_mistake("{\"method\": \"gptq\", \"bits\": 4, \"true_sequential\": true, \"calibration\": \"task\", "
                       "\"propagation\": [\"sequential\", \"dense\"]}",
                       "grid[0]: true_sequential: needs \"propagation\": \"sequential\", got \"dense\"");
    check_grid_mistake("{\"method\": \"wanda\", \"sparsity\": 0.5, \"true_sequential\": true, "
                       "\"calibration\": \"task\"}",
                       "unknown key \"true_sequential\"");
    check_grid_mistake("7", "expected an object");
}

/* Two models of one name in different folders are two models. */
static void test_models_of_one_name(void)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_grid_points grid;
    read_text("{\"model\": [\"a/m\", \"b/m\"], " EVALUATE
              ", \"grid\": [{\"method\": \"magnitude\", \"sparsity\": 0.5}]}",
              &problems, &sweep, &grid);
    CHECK(problems.count == 0);
    CHECK(grid.n_points == 4 && grid.n_cells == 2);
    CHECK(grid.cells[0].point == 2 && grid.cells[1].point == 3);
    release(&problems, &sweep, &grid);
}

/* ---- many points ---- */

/* Builds the grid of `count` sparsities under two calibration sets, so of 2 * count cells: seconds of processor time,
 * bytes it keeps. */
static double build_many(int64_t count, int64_t *bytes)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_grid_points grid;
    struct wn_text text = {0};
    wn_text_printf(&text, "{\"model\": \"model\", " CALIBRATION ", " EVALUATE ", \"grid\": [{\"method\": "
                          "\"magnitude\", \"calibration\": [\"general\", \"task\"], \"sparsity\": [");
    for (int64_t i = 1; i <= count; i++)
        wn_text_printf(&text, "%s%.9g", i > 1 ? ", " : "", (double)i / (double)(count + 1));
    wn_text_printf(&text, "]}]}");
    read_text(text.data, &problems, &sweep, &grid);
    wn_grid_release(&grid);
    int64_t before = wn_memory_bytes();
    clock_t start = clock();
    wn_grid_build(sweep, &problems, &grid);
    double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    *bytes = wn_memory_bytes() - before;
    CHECK(problems.count == 0);
    CHECK(grid.n_points == count + 1 && grid.n_cells == 2 * count);
    CHECK(grid.points[0].n_cells == 0 && grid.points[count].n_cells == 2);
    CHECK(grid.cells[0].point == 1 && grid.cells[count].point == 1 && grid.cells[2 * count - 1].point == count);
    release(&problems, &sweep, &grid);
    wn_text_release(&text);
    return seconds;
}

/* Four times the points: about four times the time, and as much memory for each. The least of several times. */
static void test_many_points(void)
{
    int64_t few_bytes, many_bytes;
    double few = INFINITY, many = INFINITY;
    for (int i = 0; i < 5; i++) {
        few = fmin(few, build_many(2048, &few_bytes));
        many = fmin(many, build_many(8192, &many_bytes));
    }
    CHECK(many < 8 * few);
    CHECK(many_bytes < 4.5 * (double)few_bytes);
    CHECK(many_bytes < 8192 * 5000);
}

static void test_file_mistakes(void)
{
    const char *grid = "\"grid\": [{\"method\": \"none\"}]";
    char *text = wn_format("{\"model\": \"model\", \"modle\": 1, " EVALUATE ", %s}", grid);
    check_mistake(text, "unknown key \"modle\"; did you mean \"model\"", 1);
    wn_free(text);
    text = wn_format("{" EVALUATE ", %s}", grid);
    check_mistake(text, "key \"model\" is missing", 1);
    wn_free(text);
    text = wn_format("{\"model\": \"model\", %s}", grid);
    check_mistake(text, "nothing to evaluate", 1);
    wn_free(text);
    check_mistake("{\"model\": \"model\", " EVALUATE "}", "key \"grid\" is missing", 1);
    check_mistake("{\"model\": \"model\", ", "sweep.json:", 1);
    text = wn_format("{\"model\": 3, \"output\": 4, " EVALUATE ", %s}", grid);
    check_mistake(text, "model: expected", 2);
    wn_free(text);
    text = wn_format("{\"model\": \"model\", %s, \"evaluate\": {\"perplexity\": {\"world\": {\"text\": "
                     "\"data/general_eval.txt\"}}, \"divergence\": {\"on\": [\"word\"]}}}",
                     grid);
    check_mistake(text, "\"word\" is not a name under", 1);
    wn_free(text);
}

int main(void)
{
    CHECK(mkdtemp(folder) != NULL);
    char *demo = test_path("sweeps/demo");
    const char *const links[] = {"model", "data"};
    for (int i = 0; i < 2; i++) {
        char *from = wn_format("%s/%s", demo, links[i]), *to = wn_format("%s/%s", folder, links[i]);
        CHECK(symlink(from, to) == 0);
        wn_free(from);
        wn_free(to);
    }
    test_products();
    test_variations();
    test_variations_of_one_set();
    test_variation_keys();
    test_variation_mistakes();
    test_joint_parameters();
    test_collapse();
    test_grid_mistakes();
    test_models_of_one_name();
    test_file_mistakes();
    test_many_points();
    char *command = wn_format("rm -rf %s", folder);
    CHECK(system(command) == 0);
    wn_free(command);
    wn_free(demo);
    return test_finish();
}
