/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A point that is left at every single place where it can be, inside blocks, behind them and between batches of texts,
 * and goes on each time with another number of threads, gives the bits of one that is not; so does a dense pass. A
 * state that is damaged, of another sweep or gone is not used, and a folder that cannot be written costs the saving
 * only.
 */
#include <sys/stat.h>

#include <winnow/io.h>
#include <winnow/linalg.h>
#include <winnow/scratch.h>
#include <winnow/sweep.h>

#include "test.h"

static char folder[] = "/tmp/winnow_resume.XXXXXX";

static const char *const requests =
    "{\"task\": \"tales\", \"kind\": \"generation\", \"metrics\": [\"exact_match\"], \"stop\": [\"\\n\"], "
    "\"max_tokens\": 3, \"draws\": 2, \"temperature\": 0.8, \"seed\": 1}\n";

static const char *const sweep_text =
    "{\"model\": \"%s/sweeps/demo/model\","
    " \"calibration\": {\"general\": {\"text\": \"%s/sweeps/demo/data/general_calibration.jsonl\","
    "   \"samples\": 4, \"length\": 64}, \"long\": {\"text\": \"%s/sweeps/demo/data/general_calibration.jsonl\","
    "   \"samples\": 40, \"length\": 128}, \"chunks\": {\"text\":"
    "   \"%s/sweeps/demo/data/general_calibration.jsonl\", \"samples\": 17, \"length\": 128}},"
    " \"grid\": [{\"method\": \"llm_int8\", \"threshold\": 1e-9, \"outlier_weights\": \"fp\"},"
    "   {\"method\": \"awq\", \"bits\": 4, \"group\": 32, \"calibration\": \"chunks\"},"
    "   {\"method\": \"gptq\", \"bits\": 3, \"group\": 32, \"true_sequential\": true, \"calibration\": \"general\"},"
    "   {\"method\": \"sparsegpt\", \"sparsity\": 0.6, \"allocation\": \"owl\", \"calibration\": \"general\","
    "    \"propagation\": \"dense\"},"
    "   {\"method\": \"smoothquant\", \"calibration\": \"general\"},"
    "   {\"method\": \"drop\", \"sparsity\": 0.3, \"score\": \"perplexity\", \"calibration\": \"long\"}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"%s/sweeps/demo/data/general_eval.txt\","
    "   \"length\": 64, \"windows\": 4}}, \"tasks\": [\"tales.jsonl\"],"
    "   \"divergence\": {\"on\": [\"world\"]}, \"logits\": {\"on\": [\"world\"], \"top\": 4, \"tokens\": 64}}}";

static void fail(const char *what, const char *text)
{
    fprintf(stderr, "test_resume: %s: %s\n", what, text);
    test_failures++;
}

static void write_text(const char *name, const char *text)
{
    char *path = wn_join_path(folder, name);
    FILE *file = fopen(path, "w");
    fputs(text, file);
    fclose(file);
    wn_free(path);
}

/* 20 prompts with two draws: two batches. */
static void write_inputs(void)
{
    struct wn_text text = {0};
    wn_text_printf(&text, "%s", requests);
    for (int i = 0; i < 20; i++)
        wn_text_printf(&text, "{\"id\": \"%d\", \"prompt\": \"Story %d: It was a day\", \"references\": [\"x\"]}\n", i,
                       i);
    write_text("tales.jsonl", text.data);
    wn_text_release(&text);
    char *sweep = wn_format(sweep_text, WN_SOURCE_DIR, WN_SOURCE_DIR, WN_SOURCE_DIR, WN_SOURCE_DIR, WN_SOURCE_DIR);
    write_text("sweep.json", sweep);
    wn_free(sweep);
}

static void check_same(const char *what, const struct wn_record *a, const struct wn_record *b)
{
    for (int f = 0; f < a->schema->n_fields; f++) {
        const struct wn_field *field = &a->schema->fields[f];
        if (field->result && memcmp(a->data[f], b->data[f], (size_t)field->bytes) != 0)
            fail(what, field->path);
    }
}

/* ---- what the saver was told ---- */

static int states, goes_on_for;
static double resumed_at;

/* A start goes on for some states before its time is over. */
static void take_saved(void *context)
{
    struct wn_saver *saver = context;
    states++;
    if (goes_on_for > 0 && --goes_on_for == 0)
        saver->end = wn_seconds() - 1;
}

static void take_resumed(void *context, int64_t point, double done, int64_t steps)
{
    (void)context;
    (void)point;
    CHECK(done > 0 && done <= (double)steps);
    resumed_at = done;
}

/* ---- the passes ---- */

/* The end of the slot is always over: what can stop does. */
static void start_saver(struct wn_saver *saver)
{
    *saver = (struct wn_saver){.folder = wn_join_path(folder, "scratch"),
                               .key = wn_strdup("a sweep"),
                               .end = wn_seconds() - 1,
                               .every = INFINITY,
                               .rate = 1e9,
                               .saved = take_saved,
                               .resumed = take_resumed,
                               .context = saver};
}

static void check_reference(struct wn_par *par, struct wn_run *run, const bool *wanted, struct wn_reference *reference)
{
    int starts = 1;
    int64_t n_blocks = run->models[0].model->config.n_blocks;
    while (wn_reference_compute(par, run, wanted, reference) == WN_ERR_INTERRUPTED && starts < 100) {
        wn_reference_release(reference);
        starts++;
        test_set_threads(1 + starts % 2);
    }
    int64_t chunks = run->models[0].calibrations[1].sequences.n_chunks;
    CHECK(chunks > 1);
    CHECK(starts == n_blocks + 1 + chunks); /* each block; of two batches of texts the second waits, and so do chunks */
}

/* How often a point was left in each part of a block (walk.h), and while an input was calibrated anew. */
enum { BETWEEN, ROUTE, GATHER, SCALE, LINEARS, PUSH, PARTS };
enum { STRIDE = 19, STRIDE_BEHIND = 9 };
struct left {
    int parts[PARTS], again;
};

static void look_at_state(struct wn_run *run, int64_t point, double done, struct left *left)
{
    char name[WN_STATE_NAME];
    wn_state_point_name(point, name);
    struct wn_state state = {.name = name,
                             .what = run->grid.points[point].key,
                             .point = point,
                             .steps = run->models[0].model->config.n_blocks};
    CHECK(wn_state_find(run->saver, &state) && (double)state.step + state.inside == done);
    CHECK(wn_state_bytes(run->saver, &state) <= wn_point_state_bytes(run, point));
    left->parts[state.place[0]]++;
    left->again += state.place[2] > 0;
}

/* A start for each place of the first blocks where the point can be left, and some behind them; a search of scales has
 * so many that only each STRIDE-th is taken, and none behind. Each start gets on. Returns the starts. */
static int interrupt_point(struct wn_run *run, const struct wn_reference *reference, int64_t point, bool searches,
                           struct wn_record *record, struct left *left)
{
    struct wn_point_report report;
    wn_status status = WN_ERR_INTERRUPTED;
    int starts = 0;
    for (double done = 0; status == WN_ERR_INTERRUPTED && starts < 5000; starts++) {
        resumed_at = 0;
        bool behind = done >= 1, whole = searches && behind;
        goes_on_for = whole ? 0 : searches ? STRIDE - 1 : behind ? STRIDE_BEHIND - 1 : 0;
        run->saver->every = goes_on_for ? 0 : INFINITY;
        run->saver->end = goes_on_for || whole ? INFINITY : wn_seconds() - 1;
        wn_record_clear(record);
        test_set_threads(1 + starts % 2);
        status = wn_point_compute(run, reference, point, record, &report);
        CHECK(resumed_at == done);
        CHECK(report.saved >= done);
        done = report.saved;
        if (status == WN_ERR_INTERRUPTED)
            look_at_state(run, point, done, left);
    }
    CHECK_OK(status);
    return starts;
}

/* The demo model has 6 blocks of 7 linears with 4 inputs. */
static void check_left(const struct wn_point *point, int starts, const struct left *left)
{
    bool collects = point->propagation == WN_PROPAGATION_SEQUENTIAL && point->calibration >= 0;
    bool searches = strstr(point->key, "awq") != NULL; /* 4 inputs, 20 trials, 2 chunks */
    if (searches)
        CHECK(left->parts[SCALE] >= 4);
    else
        CHECK(starts > 7 + 5 && left->parts[BETWEEN] >= 1 && left->parts[PUSH] >= 1 && left->parts[LINEARS] >= 7);
    CHECK(searches || (left->parts[GATHER] > 0) == collects);
    CHECK(searches || left->parts[SCALE] == 0);
    CHECK((left->again > 0) == (strstr(point->key, "true_sequential=true") != NULL));
}

static void check_points(struct wn_run *run, const struct wn_reference *whole, const struct wn_reference *resumed)
{
    struct wn_saver *saver = run->saver;
    struct wn_record a, b;
    wn_record_init(&a, &run->models[0].schema);
    wn_record_init(&b, &run->models[0].schema);
    for (int64_t p = 0; p < run->grid.n_points; p++) {
        struct wn_point_report report;
        run->saver = NULL;
        test_set_threads(1);
        CHECK_OK(wn_point_compute(run, whole, p, &a, &report));
        run->saver = saver;
        struct left left = {{0}, 0};
        int starts = interrupt_point(run, resumed, p, strstr(run->grid.points[p].key, "awq") != NULL, &b, &left);
        check_left(&run->grid.points[p], starts, &left);
        check_same(run->grid.points[p].key, &a, &b);
        CHECK(report.tokens == *wn_record_f64(&b, run->fields.tokens));
        wn_point_forget(run, p);
        wn_record_clear(&a);
    }
    wn_record_release(&a);
    wn_record_release(&b);
}

/* ---- states that cannot be used ---- */

static void change_byte(const char *path, long at)
{
    FILE *file = fopen(path, "r+");
    CHECK(file && fseek(file, at, SEEK_SET) == 0);
    int byte = fgetc(file);
    fseek(file, at, SEEK_SET);
    fputc(byte ^ 1, file);
    fclose(file);
}

/* Left inside the second block; then `spoil` happens to the state, and the point starts again or goes on. */
static void check_spoiled(struct wn_run *run, const struct wn_reference *reference, const struct wn_record *whole,
                          const char *what, bool goes_on, void (*spoil)(struct wn_run *run, const char *state))
{
    struct wn_point_report report;
    struct wn_record record;
    struct wn_saver *saver = run->saver;
    const int64_t point = 1;
    char *state = wn_format("%s/point-%lld.state", saver->folder, (long long)point);
    wn_record_init(&record, &run->models[0].schema);
    do {
        wn_record_clear(&record);
        CHECK(wn_point_compute(run, reference, point, &record, &report) == WN_ERR_INTERRUPTED);
    } while (report.saved < 1.4);
    CHECK(report.saved < 2);
    spoil(run, state);
    const double left = report.saved;
    saver->end = INFINITY;
    resumed_at = 0;
    wn_record_clear(&record);
    CHECK_OK(wn_point_compute(run, reference, point, &record, &report));
    CHECK(resumed_at == (goes_on ? left : 0));
    check_same(what, whole, &record);
    wn_point_forget(run, point);
    CHECK(!wn_file_exists(state));
    saver->end = wn_seconds() - 1;
    wn_record_release(&record);
    wn_free(state);
}

static void leave_alone(struct wn_run *run, const char *state)
{
    (void)run;
    CHECK(wn_file_exists(state));
}

static void damage(struct wn_run *run, const char *state)
{
    struct stat about;
    (void)run;
    CHECK(stat(state, &about) == 0);
    change_byte(state, (long)about.st_size / 2);
}

static void damage_number(struct wn_run *run, const char *state)
{
    (void)run;
    change_byte(state, 16 + 32 + 8); /* step: header of state.c */
}

static void cut(struct wn_run *run, const char *state)
{
    (void)run;
    CHECK(truncate(state, 5000) == 0);
}

static void lose(struct wn_run *run, const char *state)
{
    (void)run;
    CHECK(unlink(state) == 0);
}

static void lose_kept(struct wn_run *run, const char *state)
{
    char *kept = wn_format("%s/kept-1-0.state", run->saver->folder);
    (void)state;
    CHECK(unlink(kept) == 0);
    wn_free(kept);
}

static void change_sweep(struct wn_run *run, const char *state)
{
    (void)state;
    run->saver->key[0] = 'b';
}

/* A file where the folder should be: one line, and the point is computed to its end. */
static void check_broken(struct wn_run *run, const struct wn_reference *reference)
{
    struct wn_point_report report;
    struct wn_record record;
    char *folder_before = run->saver->folder;
    wn_record_init(&record, &run->models[0].schema);
    run->saver->folder = wn_join_path(folder, "sweep.json/scratch");
    wn_log_set(WN_LOG_ERROR, 0, 1);
    CHECK_OK(wn_point_compute(run, reference, 0, &record, &report));
    wn_log_set(WN_LOG_WARNING, 0, 1);
    CHECK(run->saver->broken);
    wn_free(run->saver->folder);
    run->saver->folder = folder_before;
    run->saver->broken = false;
    wn_record_release(&record);
}

static void check_states(struct wn_run *run, const struct wn_reference *reference)
{
    struct wn_point_report report;
    struct wn_record whole;
    struct wn_saver *saver = run->saver;
    wn_record_init(&whole, &run->models[0].schema);
    run->saver = NULL;
    CHECK_OK(wn_point_compute(run, reference, 1, &whole, &report));
    run->saver = saver;
    wn_log_set(WN_LOG_ERROR, 0, 1); /* each says in a line that the point starts again */
    check_spoiled(run, reference, &whole, "as it was", true, leave_alone);
    check_spoiled(run, reference, &whole, "damaged", false, damage);
    check_spoiled(run, reference, &whole, "another step", false, damage_number);
    check_spoiled(run, reference, &whole, "cut", false, cut);
    check_spoiled(run, reference, &whole, "gone", false, lose);
    check_spoiled(run, reference, &whole, "a kept block is gone", false, lose_kept);
    check_spoiled(run, reference, &whole, "another sweep", false, change_sweep);
    wn_log_set(WN_LOG_WARNING, 0, 1);
    wn_record_release(&whole);
    check_broken(run, reference);
}

int main(void)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    struct wn_run *run;
    struct wn_par *par;
    struct wn_reference whole, resumed;
    struct wn_saver saver;
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    write_inputs();
    char *path = wn_join_path(folder, "sweep.json"), *tales = wn_join_path(folder, "tales.jsonl");
    wn_problems_init(&problems);
    wn_par_start_serial(&par);
    if (wn_sweep_read(path, &problems, &sweep) != WN_OK)
        fail("sweep", problems.lines[0]);
    CHECK_OK(wn_prepare(par, sweep, true, &problems, &run));
    bool *wanted = wn_alloc(run->grid.n_points, 1);
    memset(wanted, true, (size_t)run->grid.n_points);
    CHECK_OK(wn_reference_compute(par, run, wanted, &whole));
    start_saver(&saver);
    run->saver = &saver;
    check_reference(par, run, wanted, &resumed);
    check_points(run, &whole, &resumed);
    check_states(run, &whole);
    CHECK(states > 0);
    wn_state_clear(saver.folder);
    wn_saver_release(&saver);
    run->saver = NULL;
    wn_reference_release(&whole);
    wn_reference_release(&resumed);
    wn_free(wanted);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    wn_par_finish(&par);
    CHECK(unlink(tales) == 0 && unlink(path) == 0 && rmdir(folder) == 0);
    wn_free(path);
    wn_free(tales);
    return test_finish();
}
