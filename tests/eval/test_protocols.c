/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The protocols on numbers made by hand: a model whose head is the identity, a tokenizer with one token per letter, and
 * losses written down here, and every mistake of the input files.
 */
#include "test.h"

#include "../../src/eval/protocol.h"

#include <winnow/linalg.h>

#include <cjson/cJSON.h>

enum { VOCABULARY = 16, WIDTH = 32, POSITIONS = 4 };

static char folder[] = "winnow-protocol-XXXXXX";
static float head[VOCABULARY * WIDTH], ones[WIDTH];
static struct wn_tensor head_tensor = {
    .name = "head", .dtype = WN_F32, .n_dims = 2, .data = (const uint8_t *)head, .bytes = sizeof head};
static struct wn_model model = {
    .config = {.vocab_size = VOCABULARY, .hidden_size = WIDTH, .max_positions = POSITIONS, .norm_eps = 1e-12},
    .head = &head_tensor,
    .final_norm = ones};

/* <s> is 0, </s> is 1, a to j are 2 to 11, é is 12, the space is 13. */
static const char tokenizer_json[] =
    "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null, \"added_tokens\": ["
    "{\"id\": 0, \"content\": \"<s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
    "false, \"special\": true},"
    "{\"id\": 1, \"content\": \"</s>\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": "
    "false, \"special\": true}],"
    "\"normalizer\": null, \"pre_tokenizer\": null, \"post_processor\": null, \"decoder\": null, \"model\": {\"type\": "
    "\"BPE\", \"dropout\": null, \"unk_token\": null, \"continuing_subword_prefix\": null, \"end_of_word_suffix\": "
    "null, "
    "\"fuse_unk\": false, \"byte_fallback\": false, \"vocab\": {\"<s>\": 0, \"</s>\": 1, \"a\": 2, \"b\": 3, \"c\": 4, "
    "\"d\": 5, \"e\": 6, \"f\": 7, \"g\": 8, \"h\": 9, \"i\": 10, \"j\": 11, \"\xc3\xa9\": 12, \" \": 13}, \"merges\": "
    "[]}}";

static void write_file(const char *name, const char *text)
{
    char *path = wn_join_path(folder, name);
    FILE *file = fopen(path, "w");

    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
    wn_free(path);
}

static void remove_file(const char *name)
{
    char *path = wn_join_path(folder, name);

    CHECK(unlink(path) == 0);
    wn_free(path);
}

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

/* ---- names and mistakes ---- */

static void check_names(void)
{
    static const char *const cases[][2] = {{"\"tasks/arc_easy.jsonl\"", "arc_easy"},
                                           {"{\"requests\": \"x.y.jsonl\"}", "x.y"},
                                           {"{\"requests\": \"x.jsonl\", \"name\": \"mine\"}", "mine"},
                                           {"\"plain\"", "plain"},
                                           {"{}", ""},
                                           {"3", ""}};
    char name[64];

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cJSON *json = cJSON_Parse(cases[i][0]);
        CHECK(wn_requests_kind(folder, json, name) == wn_eval_find("multiple_choice"));
        CHECK_TEXT(name, cases[i][1]);
        cJSON_Delete(json);
    }
    CHECK(wn_eval_find("nothing") == NULL);
    static const char *const headers[][4] = {
        /* header, entry, name, kind */
        {"{\"task\": \"mine\", \"kind\": \"pairs\"}", "\"task.jsonl\"", "mine", "pairs"},
        {"{\"task\": \"mine\"}", "{\"requests\": \"task.jsonl\", \"name\": \"other\"}", "other", "multiple_choice"},
        {"{\"task\": \"r\", \"kind\": \"rolling\"}", "{\"requests\": \"task.jsonl\"}", "r", "rolling"},
        {"{\"task\": \"c\", \"kind\": \"continuation\"}", "\"task.jsonl\"", "c", "continuation"},
        {"{\"task\": \"c\", \"kind\": \"continuatoin\"}", "\"task.jsonl\"", "task", "multiple_choice"},
        {"{\"task\": \"no name\"}", "\"task.jsonl\"", "task", "multiple_choice"},
        {"{\"id\": \"1\"}", "\"task.jsonl\"", "task", "multiple_choice"},
    };
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        cJSON *json = cJSON_Parse(headers[i][1]);
        write_file("task.jsonl", headers[i][0]);
        CHECK(wn_requests_kind(folder, json, name) == wn_eval_find(headers[i][3]));
        CHECK_TEXT(name, headers[i][2]);
        cJSON_Delete(json);
    }
}

static void expect_problems(const char *kind, const char *text, int64_t count, const char *const *parts)
{
    struct wn_problems problems;
    cJSON *json = cJSON_Parse(text);

    wn_problems_init(&problems);
    wn_eval_find(kind)->check(folder, "set", json, &problems);
    CHECK(problems.count == count);
    for (int64_t i = 0; i < problems.count; i++)
        if (i >= count || !strstr(problems.lines[i], parts[i])) {
            test_failures++;
            fprintf(stderr, "%s: problem \"%s\", expected \"%s\"\n", text, problems.lines[i],
                    i < count ? parts[i] : "none");
        }
    wn_problems_release(&problems);
    cJSON_Delete(json);
}

static void check_task_mistakes(void)
{
    write_file("task.jsonl", "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 1, \"id\": \"x\"}\n"
                             "{\"choices\": [\"b\", \"c\"], \"gold\": 1}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\"], \"gold\": 0}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"\"], \"gold\": 0}\n"
                             "{\"context\": \"a\", \"choices\": \"bc\", \"gold\": 0}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 2}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 0.5}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"]}\n"
                             "{\"context\": \"\xff\"}\n"
                             "{\"context\": \"a\", \"choices\": [\"b\", \"c\"], \"gold\": 1, \"id\": \"x\"}\n");
    expect_problems(
        "multiple_choice", "\"task.jsonl\"", 9,
        (const char *const[]){"task.jsonl:2: key \"context\" (or \"contexts\") is missing",
                              "task.jsonl:3: key \"choices\": expected a list of at least 2 texts",
                              "task.jsonl:4: key \"choices[1]\": expected a text that is not empty, got \"\"",
                              "task.jsonl:5: key \"choices\": expected a list",
                              "task.jsonl:6: key \"gold\": 2 is no choice, expected 0 to 1",
                              "task.jsonl:7: key \"gold\": expected an integer of at least 0 or a list",
                              "task.jsonl:8: key \"gold\" is missing", "task.jsonl:9:14: the byte 0xff",
                              "task.jsonl:10: the id \"x\" was used in line 1"});
    write_file("task.jsonl", "");
    expect_problems("multiple_choice", "\"task.jsonl\"", 1, (const char *const[]){"task.jsonl: is empty"});
    expect_problems("multiple_choice", "{\"request\": \"task.jsonl\"}", 1,
                    (const char *const[]){"evaluate.tasks.set: unknown key \"request\"; did you mean \"requests\""});
    expect_problems("multiple_choice", "{\"requests\": \"task.jsonl\", \"limit\": 0}", 1,
                    (const char *const[]){"key \"limit\": expected an integer in [1, 1000000000], got 0"});
    expect_problems("multiple_choice", "{\"limit\": 1}", 1, (const char *const[]){"key \"requests\" is missing"});
    expect_problems("multiple_choice", "7", 1, (const char *const[]){"evaluate.tasks.set: expected a path or"});
    expect_problems("multiple_choice", "\"absent.jsonl\"", 1, (const char *const[]){"absent.jsonl"});
}

/* One line each: the file, the message. */
static void check_header_mistakes(void)
{
    static const char *const cases[][2] = {
        {"{\"kind\": \"pairs\"}\n", "task.jsonl:1: a header needs the key \"task\""},
        {"{\"task\": \"t\"}\n", "task.jsonl: has a header but no items"},
        {"{\"task\": \"t\", \"knid\": \"pairs\"}\n{}\n", "task.jsonl:1: unknown key \"knid\"; did you mean \"kind\"?"},
        {"{\"task\": \"t\", \"kind\": \"pair\"}\n{}\n",
         "task.jsonl:1: key \"kind\": expected one of \"multiple_choice\""},
        {"{\"task\": \"a b\"}\n{}\n", "task.jsonl:1: key \"task\": a name has 1 to 48"},
        {"{\"task\": \"t\", \"chance\": 1.5}\n{}\n",
         "task.jsonl:1: key \"chance\": expected a number in [0, 1], got 1.5"},
        {"{\"task\": \"t\", \"dimension\": \"luck\"}\n{}\n", "task.jsonl:1: key \"dimension\": expected one of"},
        {"{\"task\": \"t\", \"metrics\": []}\n{}\n", "task.jsonl:1: key \"metrics\": expected a list of texts"},
        {"{\"task\": \"t\", \"metrics\": [\"acc\", \"ac\"]}\n{}\n",
         "task.jsonl:1: key \"metrics\": \"ac\" is none of the kind multiple_choice, did you mean \"acc\"?"},
        {"{\"task\": \"t\", \"metrics\": [\"bias\", \"acc_ambiguous\"]}\n{}\n", "\"acc_ambiguous\" is listed twice"},
        {"{\"task\": \"t\", \"kind\": \"rolling\", \"delimiter\": \"\"}\n{}\n",
         "task.jsonl:1: unknown key \"delimiter\""},
        {"{\"task\": \"t\"}\n{\"task\": \"u\"}\n", "task.jsonl:2: a header must be the first line"},
        {"{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"a\"]}\n",
         "task.jsonl:2: key \"texts\": expected a list of at least 2"},
        {"{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"a\", \"b\", \"c\"]}\n",
         "task.jsonl:2: key \"texts\": expected 2 texts"},
        {"{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"a\", \"b\"], \"gold\": 2}\n",
         "task.jsonl:2: key \"gold\": expected an integer in [0, 1]"},
        {"{\"task\": \"t\", \"kind\": \"continuation\"}\n{\"context\": \"a\"}\n",
         "task.jsonl:2: key \"continuation\" is missing"},
        {"{\"task\": \"t\", \"kind\": \"rolling\"}\n{\"text\": \"a\", \"words\": 0}\n",
         "task.jsonl:2: key \"words\": expected"},
        {"{\"context\": \"a\", \"contexts\": [\"a\", \"b\"], \"continuation\": \"c\", \"gold\": 0}\n",
         "task.jsonl:1: keys \"context\" and \"contexts\""},
        {"{\"contexts\": [\"a\", \"b\"], \"choices\": [\"a\", \"b\", \"c\"], \"gold\": 0}\n",
         "task.jsonl:1: 2 \"contexts\", but 3 \"choices\""},
        {"{\"contexts\": [\"a\", \"b\"], \"gold\": 0}\n",
         "task.jsonl:1: key \"choices\" (or \"continuation\") is missing"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": [0, 0]}\n",
         "task.jsonl:1: key \"gold\": 0 is listed twice"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": []}\n", "task.jsonl:1: key \"gold\": expected"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": [0, -1]}\n",
         "task.jsonl:1: key \"gold[1]\": expected an integer of at least 0"},
        {"{\"task\": \"t\", \"metrics\": [\"brier\"]}\n{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": [0, "
         "1]}\n",
         "task.jsonl:2: the metric brier needs one gold choice"},
        {"{\"task\": \"t\", \"metrics\": [\"bias\"]}\n{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n",
         "task.jsonl:2: key \"bias\" is missing: the metric acc_ambiguous"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0, \"bias\": {\"condition\": \"x\"}}\n",
         "task.jsonl:1: key \"bias.condition\": expected one of"},
        {"{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0, \"group\": 3}\n",
         "task.jsonl:1: key \"group\": expected a text"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file("task.jsonl", cases[i][0]);
        expect_problems("multiple_choice", "\"task.jsonl\"", 1, (const char *const[]){cases[i][1]});
    }
    write_file("task.jsonl", "{\"context\": \"a\", \"choices\": [\"a\", \"b\"], \"gold\": 0}\n");
    expect_problems(
        "multiple_choice", "{\"requests\": \"task.jsonl\", \"metrics\": [\"f1\"]}", 1,
        (const char *const[]){"evaluate.tasks.set: key \"metrics\": \"f1\" is none of the kind multiple_choice"});
    expect_problems("multiple_choice", "{\"requests\": \"task.jsonl\", \"dimension\": \"knowledg\"}", 1,
                    (const char *const[]){"evaluate.tasks.set: key \"dimension\": expected one of"});
    write_file("task.jsonl", "{\"task\": \"t\", \"kind\": \"rolling\"}\n{\"text\": \"a\"}\n");
    expect_problems("rolling", "{\"requests\": \"task.jsonl\", \"delimiter\": \" \"}", 1,
                    (const char *const[]){"evaluate.tasks.set: key \"delimiter\": the kind rolling has none"});
}

/* What only the model can tell: texts of more tokens than it has positions. */
static void check_model_mistakes(void)
{
    static const char *const cases[][3] = {
        {"multiple_choice", "{\"context\": \"a\", \"choices\": [\"b\", \"abcde\"], \"gold\": 0}\n",
         "task.jsonl:1: \"abcde\" has 5 tokens, but the model only 4 positions"},
        {"pairs",
         "{\"task\": \"t\", \"kind\": \"pairs\"}\n{\"texts\": [\"b\", \"a\"]}\n{\"texts\": [\"b\", \"abcde\"]}\n",
         "task.jsonl:3: \"abcde\" has 5 tokens"},
        {"continuation",
         "{\"task\": \"t\", \"kind\": \"continuation\", \"delimiter\": \"\"}\n{\"context\": \"a\", "
         "\"continuation\": \"abcde\"}\n",
         "task.jsonl:2: \"abcde\" has 5 tokens"},
        {"rolling", "{\"task\": \"t\", \"kind\": \"rolling\", \"length\": 5}\n{\"text\": \"a\"}\n",
         "task.jsonl: key \"length\": 5, but the model has only 4 positions"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct wn_eval_set set;
        cJSON *json = cJSON_Parse("{\"requests\": \"task.jsonl\"}");
        write_file("task.jsonl", cases[i][1]);
        wn_eval_set_init(&set);
        if (i == 0)
            cJSON_AddStringToObject(json, "delimiter", "");
        CHECK(wn_eval_find(cases[i][0])->prepare(folder, "set", json, &model, &set) == WN_ERR_INPUT);
        CHECK_MESSAGE(cases[i][2]);
        wn_eval_set_release(&set);
        cJSON_Delete(json);
    }
}

static void check_text_mistakes(void)
{
    struct wn_eval_set set;
    cJSON *json = cJSON_Parse("{\"text\": \"text.txt\", \"length\": 5}");

    write_file("pages.jsonl", "{\"page\": \"a\"}\n{\"pages\": \"a\"}\n{\"text\": []}\n");
    expect_problems(
        "perplexity", "{\"text\": \"pages.jsonl\", \"protocol\": \"rolling\"}", 2,
        (const char *const[]){"pages.jsonl:2: the field \"page\"", "pages.jsonl:3: \"text\" must be a string"});
    expect_problems("perplexity", "{\"text\": \"pages.jsonl\"}", 1,
                    (const char *const[]){"holds JSON lines, but the protocol gptq needs a plain text"});
    expect_problems("perplexity", "{\"text\": \"pages.jsonl\", \"detokenize\": \"wikitext\"}", 1,
                    (const char *const[]){"\"detokenize\" is for the protocol rolling"});
    expect_problems("perplexity", "{\"text\": \"text.txt\", \"protocol\": \"gtpq\", \"lenght\": 3}", 2,
                    (const char *const[]){"\"gptq\"", "did you mean \"length\""});
    wn_eval_set_init(&set);
    CHECK(wn_eval_find("perplexity")->prepare(folder, "set", json, &model, &set) == WN_ERR_INPUT);
    CHECK_MESSAGE("the model has only 4 positions");
    wn_eval_set_release(&set);
    cJSON_Delete(json);
}

int main(void)
{
    CHECK(mkdtemp(folder));
    CHECK_OK(wn_linalg_start());
    for (int i = 0; i < VOCABULARY; i++)
        head[i * WIDTH + i] = 1;
    for (int i = 0; i < WIDTH; i++)
        ones[i] = 1;
    write_file("tokenizer.json", tokenizer_json);
    write_file("tokenizer_config.json", "{\"bos_token\": \"<s>\", \"eos_token\": \"</s>\"}");
    CHECK_OK(wn_tokenizer_open(folder, &model.tokenizer));
    if (model.tokenizer) {
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
        check_names();
        check_task_mistakes();
        check_header_mistakes();
        check_model_mistakes();
        check_text_mistakes();
        remove_file("text.txt");
        remove_file("pages.jsonl");
        remove_file("task.jsonl");
    }
    wn_tokenizer_close(&model.tokenizer);
    remove_file("tokenizer.json");
    remove_file("tokenizer_config.json");
    CHECK(rmdir(folder) == 0);
    return test_finish();
}
