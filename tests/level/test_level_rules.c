/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Candidates whose linears quantize their inputs as well: a judge with rules and vectors from level files finds the
 * perplexity that the point itself has, on the same tokens, of levels that differ from linear to linear.
 */
#include <math.h>

#include <winnow/judge.h>
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "io/folder.h"
#include "point/point_impl.h"
#include "sweep/run_sweep.h"
#include "test.h"

static const char *const sweep_text =
    "{\"model\": \"%s/sweeps/demo/model\", \"inputs\": \"%s/sweeps/demo/data\","
    " \"calibration\": {\"general\": {\"text\": \"general_calibration.jsonl\", \"samples\": 4, \"length\": 32}},"
    " \"search\": {\"fast\": {\"on\": \"general\", \"survivors\": [1, 1], \"tokens\": [16, 32], \"initial_tokens\": "
    "16}},"
    " \"grid\": [{\"method\": \"smoothquant\", \"bits\": 5, \"alpha\": 0.7, \"quantize_outputs\": true,"
    "   \"allocation\": \"fast\", \"propagation\": \"dense\"},"
    "  {\"prune\": \"wanda\", \"sparsity\": 0.5, \"quantize\": \"llm_int8\", \"threshold\": 1.7, \"outlier_weights\": "
    "\"fp\","
    "   \"allocation\": \"fast\", \"propagation\": \"dense\"}],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"general_eval.txt\", \"length\": 256, \"windows\": 1}}}}";

struct setting {
    struct wn_par *par;
    struct wn_run *run;
    struct wn_reference reference;
    char *folder;
};

static double perplexity_of_point(const struct setting *setting, int64_t point)
{
    const struct wn_schema *schema = &setting->run->models[0].schema;
    struct wn_point_report report;
    struct wn_record record;
    int field = 0;

    while (strcmp(schema->fields[field].path, "/scores/world/perplexity") != 0)
        field++;
    wn_record_init(&record, schema);
    CHECK_OK(wn_point_compute(setting->run, &setting->reference, point, &record, &report));
    double value = *wn_record_f64(&record, field);
    wn_record_release(&record);
    return value;
}

/* On the window that the point is evaluated on. */
static double perplexity_of_candidate(const struct setting *setting, const struct wn_space *space,
                                      const int32_t *genome, struct wn_judge_levels *levels, bool rules, bool vectors)
{
    const struct wn_prepared_model *prepared = &setting->run->models[0];
    const struct wn_judge_spec spec = {.model = prepared->model,
                                       .space = space,
                                       .calibration = &prepared->sets[0].sequences,
                                       .fitness = WN_FITNESS_perplexity,
                                       .weights = wn_judge_level_weights,
                                       .rule = rules ? wn_judge_level_rule : NULL,
                                       .vectors = vectors ? wn_judge_level_vectors : NULL,
                                       .context = levels,
                                       .states = 4};
    int64_t sequence = 0, length = wn_sequences_tokens(spec.calibration);
    const struct wn_minibatch batch = {.tokens = length, .n_sequences = 1, .sequence = &sequence, .length = &length};
    struct wn_judge *judge;
    double fitness = (double)NAN;

    CHECK(length == 256);
    CHECK_OK(wn_judge_open(setting->par, &spec, &judge));
    CHECK_OK(wn_judge_evaluate(judge, genome, 1, &batch, &fitness, NULL));
    wn_judge_close(&judge);
    return fitness;
}

static void check_point(struct setting *setting, int64_t index, bool vectors)
{
    const struct wn_point_search *search = &setting->run->searches[index];
    const struct wn_space *space = &search->space;
    const struct wn_level_task task = {.run = setting->run,
                                       .reference = &setting->reference,
                                       .point = &setting->run->grid.points[search->point],
                                       .space = space,
                                       .folder = setting->folder,
                                       .build = "test"};
    char *key = wn_levels_key(&task);
    int32_t *genome = wn_alloc(space->n_genes, sizeof *genome);
    struct wn_judge_levels levels;

    wn_space_uniform(space, genome);
    for (int64_t i = 0; i < 30; i++) {
        struct wn_draws draws = wn_draws_begin(3, WN_DRAW_OFFSPRING, i, 0, 0);
        wn_space_mutate(space, &draws, genome);
    }
    setting->reference.found[search->point] = (struct wn_found){.space = space, .genome = genome};
    CHECK_OK(wn_levels_make(setting->par, &task));
    wn_judge_levels_init(&levels, setting->run->models[0].model, setting->folder, key);
    const double point = perplexity_of_point(setting, search->point);
    CHECK(isfinite(point));
    CHECK_NEAR(perplexity_of_candidate(setting, space, genome, &levels, true, vectors), point, 1e-9 * point);
    CHECK(fabs(perplexity_of_candidate(setting, space, genome, &levels, false, false) - point) > 1e-4 * point);
    if (vectors)
        CHECK(fabs(perplexity_of_candidate(setting, space, genome, &levels, true, false) - point) > 1e-2 * point);
    wn_judge_levels_close(&levels);
    wn_levels_remove(setting->folder, key, space->n_blocks);
    wn_free(key);
}

int main(void)
{
    struct setting setting = {0};
    struct wn_sweep *sweep;
    const bool wanted[] = {true, true, true};
    char *text = wn_format(sweep_text, WN_SOURCE_DIR, WN_SOURCE_DIR), *outer = folder_create();

    CHECK_OK(wn_linalg_start());
    wn_par_start_serial(&setting.par);
    setting.folder = wn_join_path(outer, "levels");
    setting.run = test_prepare(setting.par, "sweep.json", text, 3, &sweep);
    CHECK(setting.run && setting.run->n_searches == 2);
    if (setting.run && setting.run->n_searches == 2) {
        CHECK_OK(wn_reference_compute(setting.par, setting.run, wanted, &setting.reference));
        check_point(&setting, 0, true);
        check_point(&setting, 1, false);
        wn_reference_release(&setting.reference);
    }
    wn_run_release(&setting.run);
    wn_sweep_close(&sweep);
    wn_par_finish(&setting.par);
    folder_remove(outer);
    wn_free(setting.folder);
    wn_free(text);
    return test_finish();
}
