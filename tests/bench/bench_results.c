/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_results FILE POINTS KILOBYTES [keep]: how long a new results file of POINTS rows of KILOBYTES takes until
 * points can be written, under mpirun with any number of ranks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <winnow/results.h>

/* Half of a row in one field, the rest in ten: a text of tokens, and statistics of linears. */
static void make_schema(struct wn_schema *schema, int64_t bytes)
{
    char path[64];

    wn_schema_init(schema);
    int token = wn_schema_dim(schema, "token", bytes / 8, NULL),
        linear = wn_schema_dim(schema, "linear", bytes / 160, NULL);
    wn_schema_field(schema, "/tokens/loss", WN_FIELD_F32, 1, &token, "nat", "losses", true);
    for (int f = 0; f < 10; f++) {
        snprintf(path, sizeof path, "/weights/statistic_%d", f);
        wn_schema_field(schema, path, WN_FIELD_F64, 1, &linear, "1", "a statistic", true);
    }
}

static void make_points(struct wn_table *points, int64_t rows)
{
    char key[32];

    wn_table_init(points, "/points", "point", rows);
    wn_table_add(points, "key", false, "", "name of the point");
    for (int64_t p = 0; p < rows; p++) {
        snprintf(key, sizeof key, "point %lld", (long long)p);
        wn_table_set_text(points, &points->columns[0], p, key);
    }
}

int main(int argc, char **argv)
{
    struct wn_par *par;
    struct wn_schema schema;
    struct wn_table points, cells;
    struct wn_facts facts = {0};
    struct wn_results *results = NULL;
    struct stat info = {0};

    if (argc < 4 || wn_par_start(&argc, &argv, &par) != WN_OK)
        return 2;
    make_schema(&schema, atoll(argv[3]) * 1000);
    make_points(&points, atoll(argv[2]));
    wn_table_init(&cells, "/cells", "cell", 1);
    struct wn_results_plan plan = {.schema = &schema,
                                   .points = &points,
                                   .cells = &cells,
                                   .sweep = "{}",
                                   .identity = "bench\n",
                                   .provenance = &facts};
    double start = wn_seconds();
    wn_status status = wn_results_open(par, argv[1], &plan, true, &results);
    double seconds = wn_seconds() - start;
    if (wn_par_rank(par) == 0 && status == WN_OK && stat(argv[1], &info) == 0)
        printf("%d ranks: %.2f GB (%.2f GB of blocks) ready after %.2f s\n", wn_par_size(par),
               (double)info.st_size / 1e9, 512e-9 * (double)info.st_blocks, seconds);
    else if (wn_par_rank(par) == 0)
        fprintf(stderr, "%s\n", wn_error_message());
    wn_results_close(&results);
    if (wn_par_rank(par) == 0 && argc < 5)
        unlink(argv[1]);
    wn_table_release(&points);
    wn_table_release(&cells);
    wn_schema_release(&schema);
    wn_par_finish(&par);
    return status == WN_OK ? 0 : 1;
}
