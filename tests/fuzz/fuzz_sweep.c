/* SPDX-License-Identifier: Apache-2.0 */
/* A sweep file beside small inputs (text.txt, general.jsonl, prompts.jsonl, facts.jsonl), and its grid. */
#include <stdio.h>
#include <string.h>

#include <winnow/sweep.h>

#include "fuzz.h"

static void write_inputs(void)
{
    static const char text[] = "One sentence. Another sentence of a text that is no longer than it needs to be.\n";
    static const char general[] = "{\"text\": \"a document\"}\n{\"text\": \"another document\"}\n";
    static const char prompts[] = "{\"prompt\": \"What is it?\", \"response\": \"A test.\"}\n";
    static const char facts[] = "{\"id\": \"1\", \"context\": \"Question: ...\\nAnswer:\", \"choices\": [\"Oslo\", "
                                "\"Rome\"], \"gold\": 0}\n";

    fuzz_write("text.txt", text, sizeof text - 1);
    fuzz_write("general.jsonl", general, sizeof general - 1);
    fuzz_write("prompts.jsonl", prompts, sizeof prompts - 1);
    fuzz_write("facts.jsonl", facts, sizeof facts - 1);
}

static void build_grid(const struct wn_sweep *sweep, struct wn_problems *problems)
{
    struct wn_grid_points grid;

    wn_grid_build(sweep, problems, &grid);
    for (int64_t c = 0; c < grid.n_cells; c++)
        if (grid.cells[c].point < 0 || grid.cells[c].point >= grid.n_points)
            WN_BUG("cell %lld is answered by point %lld of %lld", (long long)c, (long long)grid.cells[c].point,
                   (long long)grid.n_points);
    wn_grid_release(&grid);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char path[128];
    struct wn_problems problems;
    struct wn_sweep *sweep;

    if (!path[0]) {
        write_inputs();
        snprintf(path, sizeof path, "%s/sweep.json", fuzz_folder());
    }
    char *text = wn_strndup((const char *)data, size);
    wn_problems_init(&problems);
    if (wn_sweep_parse(path, text, &problems, &sweep) == WN_OK)
        build_grid(sweep, &problems);
    else if (problems.count == 0)
        WN_BUG("a sweep that cannot be read has no problems");
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    wn_free(text);
    fuzz_check_memory();
    return 0;
}
