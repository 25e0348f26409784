/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocols on numbers made by hand: a model whose head is the identity, a tokenizer with one token per letter, and
 * losses written down here.
 */
#include "../../src/eval/protocol.h"

#include <cjson/cJSON.h>

#include "hand_made_model.h"

static void prepare(const char *kind, const char *text, struct wn_eval_set *set)
{
    cJSON *json = cJSON_Parse(text);

    wn_eval_set_init(set);
    CHECK_OK(wn_eval_find(kind)->prepare(folder, "set", json, &model, set));
    cJSON_Delete(json);
}

struct results {
    struct wn_schema schema;
    struct wn_record record;
};

static void finish(struct wn_eval_set *set, const struct wn_target_scores *scores, struct results *results)
{
    wn_schema_init(&results->schema);
    wn_eval_fields(set, &results->schema);
    wn_record_init(&results->record, &results->schema);
    wn_eval_finish(set, &(struct wn_outcome){.scores = scores}, NULL, &results->record);
}

static void results_release(struct results *results)
{
    wn_record_release(&results->record);
    wn_schema_release(&results->schema);
}

static double value(struct results *results, const char *path)
{
    int field = wn_schema_find(&results->schema, path);

    CHECK(field >= 0);
    return field >= 0 ? *wn_record_f64(&results->record, field) : (double)NAN;
}

static const int32_t *constant(const struct results *results, const char *path)
{
    int found = wn_schema_find_constant(&results->schema, path);

    CHECK(found >= 0);
    if (found < 0)
        exit(test_finish());
    return (const int32_t *)(const void *)results->schema.constants[found].data;
}

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), tail = strlen(end);

    return length >= tail && strcmp(text + length - tail, end) == 0;
}

/* Every score X has X_stderr, but percentiles, maxima, counts, p values and what is said of the dense model; every
 * X_stderr has its X. */
static void check_stderr_names(const struct wn_schema *schema)
{
    static const char *const without[] = {"_median", "_p90", "_p99", "_max", "_to_wrong", "_to_right", "flips_p"};

    for (int f = 0; f < schema->n_fields; f++) {
        const struct wn_field *field = &schema->fields[f];
        bool error = ends_with(field->path, "_stderr"), none = strstr(field->path, "/dense_") != NULL;
        for (size_t i = 0; i < sizeof without / sizeof without[0]; i++)
            none |= ends_with(field->path, without[i]);
        if (strncmp(field->path, "/scores/", 8) || field->n_dims > 0 || none)
            continue;
        char *other = error ? wn_strndup(field->path, strlen(field->path) - strlen("_stderr"))
                            : wn_format("%s_stderr", field->path);
        int found = wn_schema_find(schema, other);
        CHECK(found >= 0);
        if (found >= 0)
            CHECK_TEXT(schema->fields[found].unit, field->unit);
        wn_free(other);
    }
}

/* ---- 1: uniform logits ---- */

static void check_uniform(void)
{
    struct wn_eval_set set;
    struct wn_target_scores scores;
    struct results results;
    float *hidden = wn_alloc_zero(12 * WIDTH, sizeof *hidden);

    write_file("text.txt", "abcdefghijab");
    prepare("perplexity", "{\"text\": \"text.txt\", \"length\": 4}", &set);
    CHECK(set.n_targets == 9 && set.sequences.n_sequences == 3 && set.sequences.n_chunks == 1);
    set.divergence = true;
    wn_target_scores_init(&scores, &set);
    float *dense = wn_alloc(9 * WIDTH, sizeof *dense);
    wn_eval_dense_states(&model, &set, 0, hidden, dense);
    wn_eval_score_chunk(&model, &set, 0, hidden, dense, &scores);
    finish(&set, &scores, &results);
    CHECK_NEAR(value(&results, "/scores/set/perplexity"), VOCABULARY, 1e-12 * VOCABULARY);
    CHECK_NEAR(value(&results, "/scores/set/perplexity_stderr"), 0, 1e-12);
    CHECK(value(&results, "/scores/set/kl_max") == 0 && value(&results, "/scores/set/js_max") == 0);
    CHECK(value(&results, "/scores/set/top1_agreement") == 1);
    CHECK(value(&results, "/scores/set/kl_mean_stderr") == 0 && value(&results, "/scores/set/js_mean_stderr") == 0);
    CHECK(value(&results, "/scores/set/top1_agreement_stderr") == 0);
    static const int32_t sequences[] = {0, 0, 0, 1, 1, 1, 2, 2, 2}, positions[] = {0, 1, 2, 0, 1, 2, 0, 1, 2};
    CHECK(memcmp(constant(&results, "/tokens/set/token_id"), set.target_id, 9 * sizeof(int32_t)) == 0);
    CHECK(memcmp(constant(&results, "/tokens/set/sequence"), sequences, sizeof sequences) == 0);
    CHECK(memcmp(constant(&results, "/tokens/set/position"), positions, sizeof positions) == 0);
    check_stderr_names(&results.schema);
    CHECK(wn_target_scores_bytes(&set) == 9 * (8 + 1 + 8 + 8 + 1));
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
    wn_free(dense);
    wn_free(hidden);
}

/* ---- 2: perplexity of given losses ---- */

static void check_gptq_numbers(void)
{
    static const double losses[] = {1, 2, 3, 4, 5, 9};
    struct wn_eval_set set;
    struct wn_target_scores scores;
    struct results results;

    write_file("text.txt", "abcdefghij"); /* 10 tokens: 2 windows of 4, 2 dropped */
    prepare("perplexity", "{\"text\": \"text.txt\", \"length\": 4}", &set);
    CHECK(set.n_targets == 6 && wn_sequences_tokens(&set.sequences) == 8);
    for (int64_t t = 0; t < 6; t++) {
        CHECK(set.target_row[t] == t + t / 3); /* rows 3 and 7 are not read */
        CHECK(set.target_id[t] == 2 + t + t / 3 + 1);
    }
    wn_target_scores_init(&scores, &set);
    memcpy(scores.loss, losses, sizeof losses);
    finish(&set, &scores, &results);
    const double *window = wn_record_f64(&results.record, wn_schema_find(&results.schema, "/scores/set/window_loss"));
    CHECK(window[0] == 2 && window[1] == 6);
    CHECK_NEAR(value(&results, "/scores/set/perplexity"), exp(4), 1e-12 * exp(4));
    /* window means 2 and 6: s = sqrt(8), s/sqrt(2) = 2 */
    CHECK_NEAR(value(&results, "/scores/set/perplexity_stderr"), 2 * exp(4), 1e-12 * exp(4));
    CHECK(value(&results, "/scores/set/nll") == 4);
    CHECK_NEAR(value(&results, "/scores/set/nll_stderr"), 2, 1e-14);
    CHECK(wn_schema_find(&results.schema, "/scores/set/word_perplexity") == -1);
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
    prepare("perplexity", "{\"text\": \"text.txt\", \"length\": 4, \"windows\": 1}", &set);
    CHECK(set.n_targets == 3);
    wn_eval_set_release(&set);
}

/* ---- 4: rolling windows ---- */

static void check_rolling_numbers(void)
{
    static const int32_t rows[][4] = {{0, 2, 3, 4}, {5, 6, 7, 8}, {7, 8, 9, 10}};
    struct wn_eval_set set;
    struct wn_target_scores scores;
    struct results results;

    write_file("pages.jsonl", "{\"page\": \"abcdefghij\"}\n{\"text\": \" a \\n\\u00e9\"}\n");
    prepare("perplexity", "{\"text\": \"pages.jsonl\", \"protocol\": \"rolling\", \"windows\": 1}", &set);
    CHECK(set.sequences.n_sequences == 3 && set.n_targets == 10);
    for (int s = 0; s < 3; s++)
        CHECK(memcmp(set.sequences.ids + set.sequences.offset[s], rows[s], sizeof rows[s]) == 0);
    for (int64_t t = 0; t < 10; t++) {
        CHECK(set.target_id[t] == 2 + t);
        CHECK(set.target_row[t] == (t < 8 ? t : t + 2)); /* the last window scores its last 2 rows */
    }
    wn_target_scores_init(&scores, &set);
    for (int64_t t = 0; t < 10; t++)
        scores.loss[t] = t < 8 ? 1 : 2;
    finish(&set, &scores, &results);
    CHECK_NEAR(value(&results, "/scores/set/perplexity"), exp(1.2), 1e-12 * exp(1.2));
    CHECK_NEAR(value(&results, "/scores/set/word_perplexity"), exp(12), 1e-12 * exp(12)); /* 1 word, 10 bytes */
    CHECK_NEAR(value(&results, "/scores/set/byte_perplexity"), exp(1.2), 1e-12 * exp(1.2));
    CHECK_NEAR(value(&results, "/scores/set/bits_per_byte"), 1.2 / log(2), 1e-12);
    CHECK(isnan(value(&results, "/scores/set/perplexity_stderr"))); /* one document */
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);

    write_file("pages.jsonl", "{\"page\": \"abcd\"}\n{\"page\": \"ef\"}\n");
    prepare("perplexity", "{\"text\": \"pages.jsonl\", \"protocol\": \"rolling\"}", &set);
    CHECK(set.n_targets == 6);
    wn_target_scores_init(&scores, &set);
    for (int64_t t = 0; t < 6; t++)
        scores.loss[t] = t < 4 ? 1 : 4;
    finish(&set, &scores, &results);
    const double error = 8.0 / 6; /* of the mean, 2: residual sums -4 and 4, sqrt(2 (16 + 16)) / 6 */
    CHECK_NEAR(value(&results, "/scores/set/nll_stderr"), error, 1e-14);
    CHECK_NEAR(value(&results, "/scores/set/perplexity_stderr"), exp(2) * error, 1e-12);
    CHECK_NEAR(value(&results, "/scores/set/word_perplexity"), exp(6), 1e-10); /* 2 words, 6 bytes */
    CHECK_NEAR(value(&results, "/scores/set/word_perplexity_stderr"), exp(6) * error * 3, 1e-10);
    CHECK_NEAR(value(&results, "/scores/set/byte_perplexity_stderr"), exp(2) * error, 1e-12);
    CHECK_NEAR(value(&results, "/scores/set/bits_per_byte_stderr"), error / log(2), 1e-14);
    check_stderr_names(&results.schema);
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
    CHECK(wn_count_pieces(" a \n\xc3\xa9", 6) == 3);
    CHECK(wn_count_pieces(" a\xc2\xa0", 4) == 3);
    CHECK(wn_trimmed_length("a \xe3\x80\x80\n", 6) == 1);
    CHECK(wn_trimmed_length(" \xc2\xa0", 3) == 0);
}

/* ---- 5: divergences ---- */

/* A hidden row that the final norm leaves as it is: the rest of its length goes where the head reads nothing. */
static void put_row(const double logits[3], float *row)
{
    double left = WIDTH;

    for (int i = 0; i < WIDTH; i++)
        row[i] = i < 3 ? (float)logits[i] : 0;
    for (int i = 0; i < 3; i++)
        left -= logits[i] * logits[i];
    CHECK(left >= 0);
    row[WIDTH - 1] = (float)sqrt(left);
}

/* Mean divergences of three rows of three logits. */
static void divergence(int vocabulary, const double dense[3][3], const double compressed[3][3], double *kl, double *js)
{
    struct wn_model small = model;
    struct wn_eval_set set;
    struct wn_target_scores scores;
    float p[3 * WIDTH], q[3 * WIDTH], states[3 * WIDTH];

    small.config.vocab_size = vocabulary;
    wn_eval_set_init(&set);
    wn_sequences_append(&set.sequences, (const int32_t[]){0, 1, 2}, 3);
    wn_sequences_cut(&set.sequences);
    set.divergence = true;
    for (int r = 0; r < 3; r++) {
        wn_add_target(&set, r, 0);
        put_row(dense[r], p + r * WIDTH);
        put_row(compressed[r], q + r * WIDTH);
    }
    wn_target_scores_init(&scores, &set);
    wn_eval_dense_states(&small, &set, 0, p, states);
    wn_eval_score_chunk(&small, &set, 0, q, states, &scores);
    *kl = (scores.kl[0] + scores.kl[1] + scores.kl[2]) / 3;
    *js = (scores.js[0] + scores.js[1] + scores.js[2]) / 3;
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
}

static void check_divergences(void)
{
    static const double base[3][3] = {{0, -2.3026, -2.3026}, {1.3863, 1.6094, 1.6094}, {0, 0.6931, 1.0986}};
    static const double other[3][3] = {{0, 0.6931, 1.0986}, {1.3863, 1.6094, 1.6094}, {0, -2.3026, -2.3026}};
    double kl, js, back_kl, back_js;

    divergence(3, base, other, &kl, &js);
    CHECK_NEAR(js, 0.162665, 2e-6);
    CHECK_NEAR(kl, 0.722030, 1e-5);
    divergence(3, other, base, &back_kl, &back_js);
    CHECK_NEAR(back_js, js, 1e-7);
    CHECK_NEAR(back_kl, kl, 1e-6); /* the rows are the same ones, swapped */
    CHECK(js <= log(2));
}

/* Nearly disjoint supports: the divergence of two rows whose mass is on different tokens comes near to ln 2. */
static void check_disjoint(void)
{
    static float sharp[VOCABULARY * WIDTH];
    struct wn_tensor tensor = head_tensor;
    const double first[3][3] = {{5, 0, 0}, {5, 0, 0}, {5, 0, 0}}, second[3][3] = {{0, 5, 0}, {0, 5, 0}, {0, 5, 0}};
    double kl, js;

    for (int i = 0; i < VOCABULARY; i++)
        sharp[i * WIDTH + i] = 20;
    tensor.data = (const uint8_t *)sharp;
    model.head = &tensor;
    divergence(3, first, second, &kl, &js);
    model.head = &head_tensor;
    CHECK_NEAR(js, log(2), 1e-6);
    CHECK_NEAR(kl, 100, 1e-3);
}

/* ---- means ---- */

static void check_means(void)
{
    static const double values[] = {1, 3, 2, 6, 8};
    static const int64_t cluster[] = {0, 0, 4, 4, 7};
    double mean, standard_error;

    wn_clustered_mean(values, cluster, 5, &mean, &standard_error);
    CHECK_NEAR(mean, 4, 1e-15);
    CHECK_NEAR(standard_error, sqrt(3.0 / 2 * (16 + 0 + 16)) / 5, 1e-14); /* residual sums -4, 0, 4 */
}

/* ---- 9: characters and bytes; sequences of choices ---- */

static void check_choices(void)
{
    struct wn_eval_set set;
    struct wn_target_scores scores;
    struct results results;

    write_file("task.jsonl", "{\"context\": \"a\", \"choices\": [\"\xc3\xa9\xc3\xa9\", \"abc\"], \"gold\": 1}\n");
    prepare("multiple_choice", "{\"requests\": \"task.jsonl\", \"delimiter\": \"\"}", &set);
    CHECK(set.n_targets == 5 && set.sequences.n_sequences == 2);
    wn_target_scores_init(&scores, &set);
    scores.loss[0] = scores.loss[1] = 2.1;                  /* -4.2: per character -2.1, per byte -1.05 */
    scores.loss[2] = scores.loss[3] = scores.loss[4] = 1.5; /* -4.5: per character and byte -1.5 */
    finish(&set, &scores, &results);
    CHECK(value(&results, "/scores/set/acc") == 0);
    CHECK(value(&results, "/scores/set/acc_norm") == 1);
    CHECK(value(&results, "/scores/set/acc_bytes") == 0);
    CHECK(isnan(value(&results, "/scores/set/acc_stderr"))); /* one item */
    check_stderr_names(&results.schema);
    const int32_t *tokens = constant(&results, "/tasks/set/choice_tokens");
    CHECK(*constant(&results, "/tasks/set/gold") == 1 && *constant(&results, "/tasks/set/choices") == 2);
    CHECK(tokens[0] == 2 && tokens[1] == 3);
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);

    /* b and d are one token: one sequence "ac" for both; "efgh" has its own, cut on the left to 4 positions */
    write_file("task.jsonl", "{\"context\": \"ac\", \"choices\": [\"b\", \"efgh\", \"d\"], \"gold\": 0}\n");
    prepare("multiple_choice", "{\"requests\": \"task.jsonl\", \"delimiter\": \"\"}", &set);
    static const int32_t expected[] = {2, 4, /* then the last 4 of a c e f g */ 4, 6, 7, 8};
    static const int64_t rows[] = {1, 1, 2, 3, 4, 5};
    static const int32_t next[] = {3, 5, 6, 7, 8, 9};
    CHECK(set.sequences.n_sequences == 2 && wn_sequences_tokens(&set.sequences) == 6 && set.n_targets == 6);
    CHECK(memcmp(set.sequences.ids, expected, sizeof expected) == 0);
    CHECK(memcmp(set.target_row, rows, sizeof rows) == 0);
    CHECK(memcmp(set.target_id, next, sizeof next) == 0);
    wn_eval_set_release(&set);
}

/* Per token the other choice is ahead, and the answer that bias is told by is that of the main metric. */
static void check_tokens(void)
{
    static const char *const metrics[2] = {"\"acc_tokens\"", "\"acc\""};
    struct wn_eval_set set;
    struct wn_target_scores scores;
    struct results results;

    for (int by_sum = 0; by_sum < 2; by_sum++) {
        char *entry = wn_format("{\"requests\": \"task.jsonl\", \"delimiter\": \"\", \"metrics\": [%s, \"bias\"]}",
                                metrics[by_sum]);
        write_file("task.jsonl",
                   "{\"context\": \"a\", \"choices\": [\"\xc3\xa9\xc3\xa9\", \"abc\"], \"gold\": 1, \"bias\": "
                   "{\"condition\": \"ambiguous\", \"polarity\": \"negative\", \"unknown\": [1], \"target\": [0]}}\n");
        prepare("multiple_choice", entry, &set);
        wn_target_scores_init(&scores, &set);
        scores.loss[0] = scores.loss[1] = 2.1;                  /* -4.2: per token -2.1 */
        scores.loss[2] = scores.loss[3] = scores.loss[4] = 1.5; /* -4.5: per token -1.5 */
        finish(&set, &scores, &results);
        CHECK(value(&results, by_sum ? "/scores/set/acc" : "/scores/set/acc_tokens") == !by_sum);
        CHECK(value(&results, "/scores/set/acc_ambiguous") == !by_sum);
        CHECK(value(&results, "/scores/set/bias_ambiguous") == by_sum);
        results_release(&results);
        wn_target_scores_release(&scores);
        wn_eval_set_release(&set);
        wn_free(entry);
    }
}

/* ---- flips, groups, ratios ---- */

static void finish_both(struct wn_eval_set *set, const struct wn_target_scores *scores,
                        const struct wn_target_scores *dense, struct results *results)
{
    wn_schema_init(&results->schema);
    wn_eval_fields(set, &results->schema);
    wn_record_init(&results->record, &results->schema);
    wn_eval_finish(set, &(struct wn_outcome){.scores = scores}, &(struct wn_outcome){.scores = dense},
                   &results->record);
}

/* Six items of three choices of one token: one stays right, two are lost, one is won, one stays wrong by the same and
 * one by another answer. */
static void check_flips(void)
{
    static const double before[6][3] = {{1, 2, 3}, {1, 2, 4}, {1, 3, 3}, {2, 1, 5}, {3, 1, 2}, {3, 1, 2}};
    static const double after[6][3] = {{1, 2, 3}, {2, 1, 4}, {4, 3, 2}, {1, 2, 5}, {3, 1, 2}, {3, 2, 1}};
    struct wn_eval_set set;
    struct wn_target_scores scores, dense;
    struct results results;
    struct wn_text text = {0};

    wn_text_printf(&text, "{\"task\": \"flips\", \"chance\": 0.25}\n");
    for (int i = 0; i < 6; i++)
        wn_text_printf(&text,
                       "{\"context\": \"a\", \"choices\": [\"b\", \"c\", \"d\"], \"gold\": 0, \"group\": \"%s\"}\n",
                       i < 2 ? "x" : "y");
    write_file("task.jsonl", text.data);
    wn_text_release(&text);
    prepare("multiple_choice", "{\"requests\": \"task.jsonl\", \"delimiter\": \"\"}", &set);
    CHECK(set.n_targets == 18 && set.sequences.n_sequences == 6);
    wn_target_scores_init(&scores, &set);
    wn_target_scores_init(&dense, &set);
    memcpy(dense.loss, before, sizeof before);
    memcpy(scores.loss, after, sizeof after);
    finish_both(&set, &scores, &dense, &results);
    CHECK(value(&results, "/scores/set/flips_right_to_wrong") == 2);
    CHECK(value(&results, "/scores/set/flips_wrong_to_right") == 1);
    CHECK(value(&results, "/scores/set/flips_wrong_to_wrong") == 1);
    CHECK_NEAR(value(&results, "/scores/set/flips"), 0.5, 1e-15);
    CHECK_NEAR(value(&results, "/scores/set/flips_stderr"), sqrt(0.25 / 5), 1e-15);
    CHECK_NEAR(value(&results, "/scores/set/flips_p"), 1, 1e-12); /* 2 of 3 */
    CHECK_NEAR(value(&results, "/scores/set/dense_margin"), 7.0 / 6, 1e-15);
    CHECK_NEAR(value(&results, "/scores/set/dense_margin_flipped"), 4.0 / 3, 1e-15);
    CHECK_NEAR(value(&results, "/scores/set/acc"), 1.0 / 3, 1e-15);
    const double *groups = wn_record_f64(&results.record, wn_schema_find(&results.schema, "/scores/set/acc_by_group"));
    CHECK_NEAR(groups[0], 0.5, 1e-15);
    CHECK_NEAR(groups[1], 0.25, 1e-15);
    CHECK_NEAR(value(&results, "/scores/set/acc_group_mean"), 0.375, 1e-15);
    /* s^2/n of the groups: 0.5/2 and 0.25/4 */
    CHECK_NEAR(value(&results, "/scores/set/acc_group_mean_stderr"), sqrt(0.25 + 0.0625) / 2, 1e-15);
    CHECK(constant(&results, "/tasks/set/group")[1] == 0 && constant(&results, "/tasks/set/group")[2] == 1);
    check_stderr_names(&results.schema);
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_target_scores_release(&dense);
    wn_eval_set_release(&set);
}

/* All answers unknown: no bias, not a division by 0; a group without items of one condition has no score for it. */
static void check_bias(void)
{
    static const char *const line = "{\"context\": \"a\", \"choices\": [\"b\", \"c\", \"d\"], \"gold\": 2, \"group\": "
                                    "\"%s\", \"bias\": {\"condition\": "
                                    "\"%s\", \"polarity\": \"%s\", \"unknown\": [2], \"target\": [0]}}\n";
    struct wn_eval_set set;
    struct wn_target_scores scores;
    struct results results;
    char *text = wn_format("{\"task\": \"t\", \"metrics\": [\"bias\"]}\n");

    for (int i = 0; i < 4; i++) {
        char *item = wn_format(line, i < 2 ? "x" : "y", i < 3 ? "ambiguous" : "disambiguated",
                               i % 2 ? "negative" : "nonnegative");
        char *longer = wn_format("%s%s", text, item);
        wn_free(text);
        wn_free(item);
        text = longer;
    }
    write_file("task.jsonl", text);
    wn_free(text);
    prepare("multiple_choice", "{\"requests\": \"task.jsonl\", \"delimiter\": \"\"}", &set);
    wn_target_scores_init(&scores, &set);
    for (int t = 0; t < 12; t++)
        scores.loss[t] = t % 3 == 2 ? 1 : 2; /* unknown everywhere */
    finish(&set, &scores, &results);
    CHECK(value(&results, "/scores/set/acc_ambiguous") == 1 && value(&results, "/scores/set/bias_ambiguous") == 0);
    CHECK(value(&results, "/scores/set/bias_disambiguated") == 0);
    CHECK(value(&results, "/scores/set/bias_ambiguous_stderr") == 0);
    CHECK(isnan(value(&results, "/scores/set/bias_disambiguated_stderr"))); /* one item */
    CHECK(wn_schema_find(&results.schema, "/scores/set/flips") < 0);
    const double *groups =
        wn_record_f64(&results.record, wn_schema_find(&results.schema, "/scores/set/bias_disambiguated_by_group"));
    CHECK(isnan(groups[0]) && groups[1] == 0);
    results_release(&results);
    scores.loss[0] = scores.loss[4] = scores.loss[6] = 0; /* answers 0, 1, 0 in ambiguous contexts */
    finish(&set, &scores, &results);
    /* nonnegative with the target, negative with the other, nonnegative with the target: none is biased */
    CHECK_NEAR(value(&results, "/scores/set/bias_ambiguous"), -1, 1e-15);
    results_release(&results);
    wn_target_scores_release(&scores);
    wn_eval_set_release(&set);
}

/* What the sweep says goes before the header; a chance level is only kept with its main metric. */
static void check_recorded_facts(void)
{
    static const char *const item = "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 0}\n";
    static const char *const header = "{\"task\": \"t\", \"dimension\": \"reasoning\", \"chance\": 0.5}\n";
    static const struct {
        bool header;
        const char *entry, *dimension;
        double chance; /* NAN: none */
    } cases[] = {
        {true, "", "reasoning", 0.5},
        {true, ", \"metrics\": [\"acc\", \"brier\"]", "reasoning", 0.5},
        {true, ", \"dimension\": \"knowledge\", \"metrics\": [\"exact_match\"]", "knowledge", NAN},
        {true, ", \"chance\": 0.125, \"metrics\": [\"exact_match\"]", "reasoning", 0.125},
        {false, ", \"dimension\": \"retrieval\", \"mode\": \"open_book\"", "retrieval", NAN},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct wn_eval_set set;
        char *file = wn_format("%s%s", cases[i].header ? header : "", item);
        char *entry = wn_format("{\"requests\": \"task.jsonl\", \"delimiter\": \"\"%s}", cases[i].entry);
        write_file("task.jsonl", file);
        prepare("multiple_choice", entry, &set);
        cJSON *facts = cJSON_Parse(set.facts), *chance = cJSON_GetObjectItem(facts, "chance");
        CHECK_TEXT(cJSON_GetObjectItem(facts, "dimension")->valuestring, cases[i].dimension);
        CHECK(isnan(cases[i].chance) ? !chance : chance && chance->valuedouble == cases[i].chance);
        CHECK(!cJSON_GetObjectItem(facts, "mode") == cases[i].header);
        CHECK(set.n_targets == 2);
        cJSON_Delete(facts);
        wn_eval_set_release(&set);
        wn_free(entry);
        wn_free(file);
    }
}

int main(void)
{
    if (open_hand_made()) {
        check_uniform();
        check_gptq_numbers();
        check_rolling_numbers();
        check_divergences();
        check_disjoint();
        check_means();
        check_choices();
        check_tokens();
        check_flips();
        check_bias();
        check_recorded_facts();
    }
    close_hand_made();
    return test_finish();
}
