/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "routing": "dense": the rows of a calibration set go to the experts that the dense model chooses. So every expert
 * sees as many rows as under dense propagation, whose pass counts them on its own, although what it sees of them comes
 * from compressed blocks; with "sequential" it sees others. A point that is left at every place where it can be, and
 * goes on with another number of threads, has the bits of one that is not; evaluations route for themselves.
 */
#include <winnow/linalg.h>
#include <winnow/scratch.h>
#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

/* Those of experts are the linears FIRST and on of the block SPARSE. */
enum { BLOCKS = 3, LINEARS = 28, CELLS = BLOCKS * LINEARS, FIRST = 10, SPARSE = 1 };
enum { NONE, SEQUENTIAL, ROUTED, DENSE, POINTS };
enum { BETWEEN, ROUTE, PARTS = 6 }; /* places where a point can be left (walk.h) */

static char folder[] = "/tmp/winnow_routing.XXXXXX";

static struct wn_run *open_run(struct wn_par *par, struct wn_sweep **sweep)
{
    char *path = wn_join_path(folder, "sweep.json"), *text = wn_join_path(folder, "text.txt");
    char *model = test_path("tests/model/reference/qwen2_moe");
    FILE *file = fopen(text, "w");
    for (int i = 0; i < 120; i++)
        fprintf(file, "A dog named number %d ran %d miles and %c.", i, 37 * i % 101, 'a' + 7 * i % 26);
    fclose(file);
    char *words = wn_format(
        "{\"model\": \"%s\", \"calibration\": {\"c\": {\"text\": \"text.txt\", \"samples\": 80, \"length\": 40}},"
        "\"grid\": [{\"method\": \"sparsegpt\", \"sparsity\": 0.8, \"calibration\": \"c\","
        "\"routing\": [\"sequential\", \"dense\"]},"
        "{\"method\": \"sparsegpt\", \"sparsity\": 0.8, \"calibration\": \"c\", \"propagation\": \"dense\","
        "\"routing\": [\"sequential\", \"dense\"]}],"
        "\"evaluate\": {\"perplexity\": {\"t\": {\"text\": \"text.txt\", \"length\": 30, \"windows\": 4}}}}",
        model);
    struct wn_run *run = test_prepare(par, path, words, POINTS, sweep); /* under dense propagation both ways are one */
    CHECK(unlink(text) == 0);
    wn_free(words);
    wn_free(path);
    wn_free(text);
    wn_free(model);
    return run;
}

static const double *numbers(const struct wn_run *run, struct wn_record *record, const char *path)
{
    return wn_record_f64(record, (int)wn_schema_find(&run->models[0].schema, path));
}

static int differing(const double *a, const double *b, int first, int end)
{
    int count = 0;
    for (int c = first; c < end; c++)
        count += !(a[c] == b[c] || (isnan(a[c]) && isnan(b[c])));
    return count;
}

static void check_rows(const struct wn_run *run, struct wn_record *records)
{
    const double *rows[POINTS], *errors[POINTS];
    int first = SPARSE * LINEARS + FIRST, end = (SPARSE + 1) * LINEARS;
    for (int p = SEQUENTIAL; p < POINTS; p++) {
        rows[p] = numbers(run, &records[p], "/weights/calibration_rows");
        errors[p] = numbers(run, &records[p], "/weights/weight_error");
    }
    CHECK(differing(rows[ROUTED], rows[DENSE], 0, CELLS) == 0);
    CHECK(differing(rows[ROUTED], rows[SEQUENTIAL], first, end) > 0);
    /* In front of the experts nothing differs; of them other rows were seen, or others of what the dense model makes.
     */
    CHECK(differing(errors[ROUTED], errors[SEQUENTIAL], 0, first) == 0);
    CHECK(differing(errors[ROUTED], errors[SEQUENTIAL], first, end) > 0);
    CHECK(differing(errors[ROUTED], errors[DENSE], first, end) > 0);
}

/* ---- stopping ---- */

static void start_saver(struct wn_saver *saver)
{
    *saver = (struct wn_saver){.folder = wn_join_path(folder, "scratch"),
                               .key = wn_strdup("a sweep"),
                               .end = wn_seconds() - 1,
                               .every = INFINITY,
                               .rate = 1e9};
}

static void check_left(struct wn_run *run, const struct wn_reference *reference, struct wn_record *whole)
{
    struct wn_record record;
    struct wn_point_report report;
    wn_status status = WN_ERR_INTERRUPTED;
    int parts[PARTS] = {0};
    wn_record_init(&record, whole->schema);
    for (int starts = 0; status == WN_ERR_INTERRUPTED && starts < 1000; starts++) {
        char name[WN_STATE_NAME];
        wn_state_point_name(ROUTED, name);
        struct wn_state state = {.name = name, .what = run->grid.points[ROUTED].key, .point = ROUTED, .steps = BLOCKS};
        wn_record_clear(&record);
        test_set_threads(1 + starts % 2);
        status = wn_point_compute(run, reference, ROUTED, &record, &report);
        if (status != WN_ERR_INTERRUPTED)
            break;
        CHECK(wn_state_find(run->saver, &state) && state.place[0] < PARTS);
        CHECK(wn_state_bytes(run->saver, &state) <= wn_point_state_bytes(run, ROUTED));
        parts[state.place[0]]++;
    }
    CHECK_OK(status);
    CHECK(parts[ROUTE] == 2 * BLOCKS && parts[BETWEEN] > 0); /* chunks */
    for (int part = ROUTE + 1; part < PARTS; part++)
        CHECK((part == 3) == (parts[part] == 0)); /* there is no search of scales */
    for (int f = 0; f < whole->schema->n_fields; f++)
        if (whole->schema->fields[f].result)
            CHECK(!memcmp(whole->data[f], record.data[f], (size_t)whole->schema->fields[f].bytes));
    wn_point_forget(run, ROUTED);
    wn_record_release(&record);
}

/* ---- a block ---- */

/* Routes that were chosen give the same block again when they are fixed, and others another one. */
static void check_block(const struct wn_run *run)
{
    const struct wn_model *model = run->models[0].model;
    struct wn_sequences sequences = run->models[0].calibrations[0].sequences; /* but for routes, borrowed */
    int64_t rows = wn_sequences_tokens(&sequences), width = model->config.hidden_size, offset[81];
    const int64_t chosen = model->config.decoder.experts.chosen;
    float *hidden[3], *scratch = wn_alloc(wn_model_scratch(model, rows), sizeof *scratch);
    int32_t *experts = wn_alloc(rows * chosen, sizeof *experts);
    struct wn_block *block = wn_block_create(model);
    CHECK_OK(wn_model_load_block(model, SPARSE, block));
    CHECK(sequences.n_sequences == 80 && sequences.n_chunks == 2);
    sequences.chosen = chosen;
    for (int i = 0; i < 3; i++) {
        sequences.routes = (struct wn_routes){experts, i > 0};
        hidden[i] = wn_alloc(rows * width, sizeof(float));
        wn_sequences_embed(model, &sequences, 0, rows, hidden[i]);
        wn_sequences_run(model, block, &sequences, 0, 2, hidden[i], rows, scratch, offset, NULL);
        if (i == 1) /* the last row goes elsewhere with its first part */
            experts[(rows - 1) * chosen] = experts[rows * chosen - 1] ? 0 : 1;
    }
    CHECK(!memcmp(hidden[0], hidden[1], (size_t)(rows * width) * sizeof(float)));
    CHECK(!memcmp(hidden[0], hidden[2], (size_t)((rows - 1) * width) * sizeof(float)));
    CHECK(memcmp(hidden[0] + (rows - 1) * width, hidden[2] + (rows - 1) * width, (size_t)width * sizeof(float)));
    for (int i = 0; i < 3; i++)
        wn_free(hidden[i]);
    wn_block_destroy(&block, model);
    wn_free(experts);
    wn_free(scratch);
}

int main(void)
{
    struct wn_sweep *sweep;
    struct wn_par *par;
    struct wn_reference reference;
    struct wn_record records[POINTS];
    struct wn_saver saver;
    const bool wanted[POINTS] = {true, true, true, true};
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    wn_par_start_serial(&par);
    struct wn_run *run = open_run(par, &sweep);
    if (!run)
        return 1;
    CHECK(strstr(run->grid.points[ROUTED].key, " propagation=sequential routing=dense") != NULL);
    CHECK(!strstr(run->grid.points[SEQUENTIAL].key, "routing") && !strstr(run->grid.points[DENSE].key, "routing"));
    check_block(run);
    CHECK_OK(wn_reference_compute(par, run, wanted, &reference));
    for (int p = SEQUENTIAL; p < POINTS; p++) {
        struct wn_point_report report;
        wn_record_init(&records[p], &run->models[0].schema);
        test_set_threads(1);
        CHECK_OK(wn_point_compute(run, &reference, p, &records[p], &report));
    }
    check_rows(run, records);
    start_saver(&saver);
    run->saver = &saver;
    check_left(run, &reference, &records[ROUTED]);
    wn_state_clear(saver.folder);
    wn_saver_release(&saver);
    run->saver = NULL;
    for (int p = SEQUENTIAL; p < POINTS; p++)
        wn_record_release(&records[p]);
    wn_reference_release(&reference);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
    wn_par_finish(&par);
    CHECK(rmdir(folder) == 0);
    return test_finish();
}
