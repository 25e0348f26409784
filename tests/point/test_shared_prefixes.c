/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Points of the demo model on a task whose requests have prefixes in common, in several parts: losses of the dense
 * point are those of the shared dense pass bit for bit, in the order of the kind, on one thread and two; memory is what
 * plan predicts.
 */
#include <cjson/cJSON.h>
#include <omp.h>

#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

enum { ITEMS = 240, SHOTS = 4 /* items with the same text in front */, DENSE = 0, PRUNED = 1, POINTS = 2 };

static char folder[] = "/tmp/winnow_prefixes.XXXXXX";

static const char *const sweep_text = "{\"model\": \"%s/sweeps/demo/model\","
                                      " \"grid\": [{\"method\": \"magnitude\", \"sparsity\": 0.3}],"
                                      " \"evaluate\": {\"tasks\": [\"requests.jsonl\"]}}";

/* What the comparing kind was shown last. */
static struct {
    int64_t targets;
    double *point, *dense;
} seen;

static double *copy_of(const double *x, int64_t count)
{
    double *copy = wn_alloc(count, sizeof *copy);
    memcpy(copy, x, (size_t)count * sizeof *x);
    return copy;
}

static void forget(void)
{
    wn_free(seen.point);
    wn_free(seen.dense);
    seen.point = seen.dense = NULL;
}

static void score(const struct wn_eval_set *set, const struct wn_outcome *point, const struct wn_outcome *dense,
                  struct wn_record *record)
{
    forget();
    seen.targets = set->n_targets;
    seen.point = copy_of(point->scores->loss, set->n_targets);
    seen.dense = copy_of(dense->scores->loss, set->n_targets);
    wn_eval_find("multiple_choice")->score(set, point, dense, record);
}

static void open_demo(const char *name, struct wn_documents *documents)
{
    char *path = wn_format("%s/sweeps/demo/data/%s.jsonl", WN_SOURCE_DIR, name);
    CHECK_OK(wn_documents_open(path, true, documents));
    wn_free(path);
}

/* The questions of the demo, each behind a text that SHOTS of them share. */
static void write_requests(const char *path)
{
    struct wn_documents items, texts;
    FILE *out = fopen(path, "w");
    open_demo("in_context", &items);
    open_demo("general_calibration", &texts);
    for (int64_t i = 0; i < ITEMS; i++) {
        cJSON *item = NULL, *text = NULL;
        CHECK_OK(wn_documents_parse(&items, i, &item));
        CHECK_OK(wn_documents_parse(&texts, i / SHOTS, &text));
        char *context = wn_format("%.600s\n\n%s", cJSON_GetObjectItem(text, "text")->valuestring,
                                  cJSON_GetObjectItem(item, "context")->valuestring);
        cJSON_ReplaceItemInObject(item, "context", cJSON_CreateString(context));
        char *line = cJSON_PrintUnformatted(item);
        fprintf(out, "%s\n", line);
        cJSON_free(line);
        wn_free(context);
        cJSON_Delete(item);
        cJSON_Delete(text);
    }
    wn_documents_close(&items);
    wn_documents_close(&texts);
    CHECK(fclose(out) == 0);
}

/* Computes a point and keeps its losses. */
static double *losses(const struct wn_run *run, const struct wn_reference *reference, int64_t point, int threads)
{
    struct wn_record record;
    struct wn_point_report report;
    test_set_threads(threads);
    wn_record_init(&record, &run->models[0].schema);
    CHECK_OK(wn_point_compute(run, reference, point, &record, &report));
    double peak = *wn_record_f64(&record, run->fields.peak_bytes), predicted = (double)wn_point_bytes(run, point);
    CHECK(peak <= 1.1 * predicted && peak >= 0.7 * predicted);
    wn_record_release(&record);
    return copy_of(seen.point, seen.targets);
}

/* Losses by whole sequences, in the order of the kind. */
static double *whole_losses(const struct wn_run *run)
{
    const struct wn_sweep_eval *eval = &run->sweep->evals[0];
    const struct wn_model *model = run->models[0].model;
    struct wn_eval_set set;
    struct wn_target_scores scores;
    wn_eval_set_init(&set);
    CHECK_OK(wn_eval_find("multiple_choice")->prepare(folder, eval->name, eval->spec, model, &set));
    int64_t width = model->config.hidden_size, tokens = wn_sequences_tokens(&set.sequences);
    CHECK(tokens > 2 * wn_sequences_tokens(&run->models[0].sets[0].sequences));
    CHECK(tokens == run->models[0].sets[0].sequences.written);
    float *hidden = wn_alloc(tokens * width, sizeof *hidden);
    float *scratch = wn_alloc(wn_model_scratch(model, wn_sequences_longest_chunk(&set.sequences)), sizeof *scratch);
    int64_t *offset = wn_alloc(set.sequences.n_sequences + 1, sizeof *offset);
    struct wn_block *block = wn_block_create(model);
    wn_model_embed(model, set.sequences.ids, NULL, tokens, hidden);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        wn_sequences_run(model, block, &set.sequences, 0, set.sequences.n_chunks, hidden,
                         wn_sequences_longest_chunk(&set.sequences), scratch, offset, NULL);
    }
    wn_target_scores_init(&scores, &set);
    for (int64_t c = 0; c < set.sequences.n_chunks; c++)
        wn_eval_score_chunk(model, &set, c, hidden + set.sequences.offset[set.sequences.chunk[c]] * width, NULL,
                            &scores);
    double *loss = copy_of(scores.loss, set.n_targets);
    wn_target_scores_release(&scores);
    wn_block_destroy(&block, model);
    wn_free(hidden);
    wn_free(scratch);
    wn_free(offset);
    wn_eval_set_release(&set);
    return loss;
}

static void check_run(struct wn_par *par, struct wn_sweep *sweep, struct wn_run *run)
{
    const struct wn_eval *kind = wn_eval_find("multiple_choice");
    struct wn_eval comparing = *kind;
    struct wn_reference reference;
    bool wanted[POINTS] = {true, true};
    comparing.compares = true;
    comparing.score = score;
    sweep->evals[0].kind = run->models[0].sets[0].kind = &comparing;
    CHECK(run->models[0].sets[0].sequences.n_parts > 1);
    run->models[0].model->config.n_blocks = 2; /* is enough */
    omp_set_num_threads(1);
    CHECK_OK(wn_reference_compute(par, run, wanted, &reference));
    double *dense = losses(run, &reference, DENSE, 1), *expected = whole_losses(run);
    size_t bytes = (size_t)seen.targets * sizeof(double);
    CHECK(memcmp(dense, seen.dense, bytes) == 0);
    for (int64_t t = 0; t < seen.targets; t++)
        CHECK_NEAR(dense[t], expected[t], 1e-5 * (1 + fabs(expected[t])));
    double *again = losses(run, &reference, DENSE, 2), *pruned = losses(run, &reference, PRUNED, 1);
    CHECK(memcmp(dense, again, bytes) == 0 && memcmp(dense, seen.dense, bytes) == 0);
    CHECK(memcmp(dense, pruned, bytes) != 0);
    forget();
    wn_free(dense);
    wn_free(expected);
    wn_free(again);
    wn_free(pruned);
    wn_reference_release(&reference);
    sweep->evals[0].kind = run->models[0].sets[0].kind = kind;
}

int main(void)
{
    struct wn_sweep *sweep;
    struct wn_par *par;
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    char *path = wn_format("%s/sweep.json", folder), *requests = wn_format("%s/requests.jsonl", folder);
    char *text = wn_format(sweep_text, WN_SOURCE_DIR);
    write_requests(requests);
    wn_par_start_serial(&par);
    struct wn_run *run = test_prepare(par, path, text, POINTS, &sweep);
    if (run)
        check_run(par, sweep, run);
    wn_run_release(&run);
    wn_sweep_close(&sweep);
    wn_par_finish(&par);
    CHECK(unlink(requests) == 0 && rmdir(folder) == 0);
    wn_free(path);
    wn_free(requests);
    wn_free(text);
    return test_finish();
}
