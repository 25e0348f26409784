/* SPDX-License-Identifier: Apache-2.0 */
/* Parameters as data: defaults, ranges, words, messages, derived values, canonical text, help. */
#include "../test.h"

#include <winnow/params.h>

#include <cjson/cJSON.h>
#include <signal.h>
#include <sys/wait.h>

static const struct wn_parameter table[] = {
    {.name = "sparsity",
     .type = WN_NUMBER,
     .low = 0,
     .high = 1,
     .open_end = true,
     .required = true,
     .unit = "1",
     .help = "share"},
    {.name = "bits", .type = WN_INTEGER, .standard = "4", .low = 2, .high = 8, .unit = "bit", .help = "width"},
    {.name = "group", .type = WN_INTEGER, .standard = "\"channel\"", .low = 1, .high = 4096, .words = "tensor|channel"},
    {.name = "rule",
     .type = WN_STRING,
     .standard = "\"exact\"",
     .published = "\"reference\"",
     .words = "exact|reference"},
    {.name = "pattern", .type = WN_STRING},
    {.name = "damping", .type = WN_NUMBER, .standard = "0.01", .low = 0, .high = INFINITY},
    {.name = "symmetric", .type = WN_BOOL, .standard = "false"},
    {.name = "shift", .type = WN_NUMBER},
    {.name = "spread", .type = WN_STRING, .standard = "\"even\"", .words = "even|odd", .quiet = true},
};
enum { COUNT = sizeof table / sizeof *table };

static wn_status set(struct wn_params *params, const char *name, const char *text)
{
    cJSON *json = cJSON_Parse(text);
    wn_status status = wn_params_set(params, name, json);

    CHECK(json != NULL);
    cJSON_Delete(json);
    return status;
}

static void check_defaults(void)
{
    struct wn_params params;

    wn_params_init(&params, table, COUNT);
    CHECK(params.count == COUNT);
    CHECK(!wn_params_find(&params, "sparsity")->set);
    CHECK(wn_params_find(&params, "nothing") == NULL);
    CHECK(wn_params_integer(&params, "bits") == 4);
    CHECK(!wn_params_find(&params, "bits")->given);
    CHECK_TEXT(wn_params_text(&params, "group"), "channel");
    CHECK(isnan(wn_params_number(&params, "group")));
    CHECK(!wn_params_flag(&params, "symmetric"));
    CHECK(wn_params_complete(&params) == WN_ERR_INPUT);
    CHECK_MESSAGE("key \"sparsity\" is missing: expected a number in [0, 1)");
    CHECK_OK(set(&params, "sparsity", "0.5"));
    CHECK_OK(wn_params_complete(&params));
}

static void check_values(void)
{
    struct wn_params params;

    wn_params_init(&params, table, COUNT);
    CHECK_OK(set(&params, "sparsity", "0"));
    CHECK_OK(set(&params, "sparsity", "0.1"));
    CHECK_NEAR(wn_params_number(&params, "sparsity"), 0.1, 0);
    CHECK_TEXT(wn_params_text(&params, "sparsity"), "0.1");
    CHECK(wn_params_find(&params, "sparsity")->given);
    CHECK_OK(set(&params, "bits", "8.0"));
    CHECK_TEXT(wn_params_text(&params, "bits"), "8");
    CHECK_OK(set(&params, "group", "128"));
    CHECK(wn_params_integer(&params, "group") == 128);
    CHECK_OK(set(&params, "group", "\"tensor\""));
    CHECK_TEXT(wn_params_text(&params, "group"), "tensor");
    CHECK_OK(set(&params, "pattern", "\"2:4\""));
    CHECK_OK(set(&params, "damping", "1e300"));
    CHECK_OK(set(&params, "symmetric", "true"));
    CHECK(wn_params_flag(&params, "symmetric"));
    CHECK_TEXT(wn_params_text(&params, "symmetric"), "true");
    CHECK_OK(set(&params, "shift", "-0.0"));
    CHECK_TEXT(wn_params_text(&params, "shift"), "0");
    wn_params_derive(&params, "sparsity", 1.0 / 3);
    CHECK_TEXT(wn_params_text(&params, "sparsity"), "0.3333333333333333");
}

static void check_refusals(void)
{
    static const char *const wrong[][3] = {
        {"sparsity", "1", "key \"sparsity\": expected a number in [0, 1), got 1"},
        {"sparsity", "-1e-9", "[0, 1)"},
        {"sparsity", "\"0.5\"", "got \"0.5\""},
        {"sparsity", "null", "got null"},
        {"sparsity", "[0.5]", "got [0.5]"},
        {"sparsity", "true", "got true"},
        {"bits", "3.5", "expected an integer in [2, 8], got 3.5"},
        {"bits", "9", "[2, 8]"},
        {"group", "\"tens\"", "expected an integer in [1, 4096] or one of \"tensor\", \"channel\", got \"tens\""},
        {"group", "\"tensor|channel\"", "one of"},
        {"group", "\"\"", "one of"},
        {"rule", "\"Exact\"", "expected one of \"exact\", \"reference\""},
        {"rule", "3", "expected one of"},
        {"damping", "-1", "expected a number of at least 0"},
        {"damping", "1e999", "expected a number of at least 0"},
        {"symmetric", "0", "expected true or false"},
        {"symetric", "true", "unknown key \"symetric\"; did you mean \"symmetric\"?"},
        {"colour", "1", "unknown key \"colour\"; known are: \"sparsity\", \"bits\""},
    };
    struct wn_params params, before;

    wn_params_init(&params, table, COUNT);
    before = params;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK(set(&params, wrong[i][0], wrong[i][1]) == WN_ERR_INPUT);
        CHECK_MESSAGE(wrong[i][2]);
    }
    for (int i = 0; i < COUNT; i++) { /* nothing changed */
        CHECK(params.values[i].set == before.values[i].set && !params.values[i].given);
        CHECK_TEXT(params.values[i].text, before.values[i].text);
    }
    char *longer = wn_format("\"%0100d\"", 7);
    CHECK(set(&params, "pattern", longer) == WN_ERR_INPUT);
    CHECK_MESSAGE("at most 29 bytes");
    wn_free(longer);
}

/* Equal values give equal texts, however they were written. */
static void check_describe(void)
{
    struct wn_params params;
    struct wn_text text = {0};

    wn_params_init(&params, table, COUNT);
    CHECK_OK(set(&params, "sparsity", "5e-1"));
    wn_params_describe(&params, &text);
    CHECK_TEXT(text.data, "sparsity=0.5 bits=4 group=channel rule=exact damping=0.01 symmetric=false");
    wn_text_release(&text);
    CHECK_OK(set(&params, "spread", "\"even\"")); /* a quiet default, given or not */
    wn_params_describe(&params, &text);
    CHECK_TEXT(text.data, "sparsity=0.5 bits=4 group=channel rule=exact damping=0.01 symmetric=false");
    wn_text_release(&text);
    CHECK_OK(set(&params, "spread", "\"odd\""));
    wn_params_describe(&params, &text);
    CHECK_TEXT(text.data, "sparsity=0.5 bits=4 group=channel rule=exact damping=0.01 symmetric=false spread=odd");
    wn_text_release(&text);
}

static void check_published(void)
{
    struct wn_params params;

    wn_params_init(&params, table, COUNT);
    wn_params_publish(&params);
    CHECK_TEXT(wn_params_text(&params, "rule"), "reference");
    CHECK(!wn_params_find(&params, "rule")->given && wn_params_integer(&params, "bits") == 4);
    CHECK_OK(set(&params, "rule", "\"exact\""));
    wn_params_publish(&params);
    CHECK_TEXT(wn_params_text(&params, "rule"), "exact");
}

static void check_help(void)
{
    struct wn_text text = {0};

    wn_params_help(table + 3, 1, &text);
    CHECK_TEXT(text.data,
               "  rule  one of \"exact\", \"reference\"   (default \"exact\"; published code \"reference\")\n");
    wn_text_release(&text);

    wn_params_help(table, 2, &text);
    CHECK_TEXT(text.data, "  sparsity  a number in [0, 1)    share [1] (required)\n"
                          "  bits      an integer in [2, 8]  width [bit] (default 4)\n");
    wn_text_release(&text);
}

static void ask_absent(struct wn_params *params)
{
    wn_params_number(params, "nothing");
}

static void ask_unset(struct wn_params *params)
{
    wn_params_number(params, "sparsity");
}

static void ask_word_as_integer(struct wn_params *params)
{
    wn_params_integer(params, "group");
}

static void init_wrong_default(struct wn_params *params)
{
    static const struct wn_parameter wrong[] = {
        {.name = "bits", .type = WN_INTEGER, .standard = "9", .low = 2, .high = 8}};

    wn_params_init(params, wrong, 1);
}

/* Our own mistakes end the program. */
static void check_bug(void (*mistake)(struct wn_params *))
{
    struct wn_params params;
    int status;

    wn_params_init(&params, table, COUNT);
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        mistake(&params);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
    check_defaults();
    check_values();
    check_refusals();
    check_describe();
    check_published();
    check_help();
    check_bug(ask_absent);
    check_bug(ask_unset);
    check_bug(ask_word_as_integer);
    check_bug(init_wrong_default);
    return test_finish();
}
