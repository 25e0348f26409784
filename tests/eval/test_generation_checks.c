/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of answers: all and each of them, IFEval's loose rule, levels passed in a row, and mistakes in their keys. */
#include <cjson/cJSON.h>

#include "eval/generation.h"
#include "test.h"

#include <math.h>

static void read_item(const char *json, struct generation_item *item)
{
    cJSON *parsed = cJSON_Parse(json);

    CHECK(parsed != NULL);
    *item = (struct generation_item){.series = -1};
    CHECK_OK(generation_read_checks(parsed, item));
    cJSON_Delete(parsed);
}

static void release_item(struct generation_item *item)
{
    for (int64_t c = 0; c < item->n_checks; c++)
        wn_check_release(&item->checks[c]);
    wn_free(item->checks);
}

static struct generation_task wanting_all(void)
{
    struct generation_task state = {.task = {.n_metrics = 5}};

    for (int m = 0; m < 5; m++)
        state.task.metrics[m] = GENERATION_CHECKS + m;
    return state;
}

/* checks, checks_each, checks_loose, checks_each_loose. */
static void check_scores(const char *json, const char *answer, const double expected[4])
{
    struct generation_task state = wanting_all();
    struct generation_item item;
    double values[GENERATION_ALL];

    read_item(json, &item);
    generation_score_checks(&state, &item, wn_chars_of(answer), values);
    for (int m = 0; m < 4; m++)
        CHECK_NEAR(values[GENERATION_CHECKS + m], expected[m], 1e-15);
    release_item(&item);
}

static void check_answers(void)
{
    static const char *const three = "{\"checks\": [{\"max_words\": 3}, {\"regex\": \"\\\\.$\"}, "
                                     "{\"instruction\": {\"id\": \"startend:end_checker\", \"texts\": [\"yes.\"]}}]}";
    static const char *const json = "{\"checks\": [{\"instruction\": {\"id\": \"detectable_format:json_format\"}}]}";
    static const char *const forbidden =
        "{\"checks\": [{\"instruction\": {\"id\": \"keywords:forbidden_words\", \"texts\": [\"x\"]}}]}";
    static const char *const none = "{\"checks\": [{\"max_words\": 3}]}";

    check_scores(three, "I say yes.", (double[4]){1, 1, 1, 1});
    check_scores(three, "I say yes. No.", (double[4]){0, 1.0 / 3, 0, 1.0 / 3});
    check_scores(three, "Sure:\nI say *yes.*\nBye", (double[4]){0, 0, 1, 1}); /* each by another part of the text */
    check_scores(json, "Here it is:\n{\"a\": 1}\nThanks", (double[4]){0, 0, 1, 1});
    check_scores(json, "{\"a\": \n1}", (double[4]){1, 1, 1, 1});
    wn_log_set(WN_LOG_ERROR, 0, 1);
    check_scores(forbidden, "\xC3", (double[4]){0, 0, 0, 0}); /* its pattern gives up, which is no proof */
    wn_log_set(WN_LOG_WARNING, 0, 1);
    check_scores(json, "", (double[4]){0, 0, 0, 0});
    check_scores(none, "", (double[4]){1, 1, 0, 0}); /* a blank text passes nothing loosely */
}

/* Series 0: passed, passed, failed, passed: 2. Series 4: failed, passed: 0. The last item is in none. */
static void check_levels(void)
{
    static const double passed[] = {1, 1, 0, 1, 0, 1, 1};
    static const int64_t series[] = {0, 0, 0, 0, 4, 4, -1};
    struct generation_item items[7];
    struct generation_task state = {.task = {.n_items = 7}, .items = items};
    double value[7], weight[7];
    double *all_values[GENERATION_ALL] = {0}, *all_weights[GENERATION_ALL] = {0};

    for (int i = 0; i < 7; i++) {
        items[i] = (struct generation_item){.series = series[i]};
        value[i] = passed[i];
        weight[i] = 1;
    }
    all_values[GENERATION_LEVELS] = value;
    all_weights[GENERATION_LEVELS] = weight;
    generation_score_levels(&state, &(struct wn_item_values){GENERATION_ALL, all_values, all_weights, NULL});
    for (int i = 0; i < 7; i++)
        CHECK((i == 0 || i == 4) == !isnan(weight[i]));
    CHECK(value[0] == 2 && value[4] == 0);
}

static void check_mistake(const char *instruction, const char *part)
{
    char *json = wn_format("{\"checks\": [{\"instruction\": %s}]}", instruction);
    cJSON *parsed = cJSON_Parse(json);
    struct generation_item item = {0};

    CHECK(generation_read_checks(parsed, &item) == WN_ERR_INPUT);
    CHECK_MESSAGE(part);
    release_item(&item);
    cJSON_Delete(parsed);
    wn_free(json);
}

int main(void)
{
    check_answers();
    check_levels();
    check_mistake("{\"id\": \"keywords:exist\"}", "no instruction is called \"keywords:exist\"");
    check_mistake("{\"id\": \"keywords:existence\"}", "needs \"texts\"");
    check_mistake("{\"id\": \"keywords:existence\", \"texts\": [\"(\"]}", "regular expression");
    check_mistake("{\"id\": \"length_constraints:number_words\"}", "needs a \"number\"");
    check_mistake("{\"id\": \"punctuation:no_comma\", \"number\": 1}", "has not a \"number\"");
    check_mistake("{\"id\": \"punctuation:no_comma\", \"texts\": [\"a\"]}", "needs no \"texts\"");
    check_mistake("{\"id\": \"punctuation:no_comma\", \"relation\": \"less than\"}", "has no \"relation\"");
    check_mistake("{\"id\": \"language:response_language\", \"texts\": [\"xx\"]}", "no language \"xx\"");
    check_mistake("{\"id\": \"startend:end_checker\", \"texts\": [\"a\", \"b\"]}", "needs one entry in \"texts\"");
    return test_finish();
}
