/* SPDX-License-Identifier: Apache-2.0 */
/* Status, messages, problem lists, suggestions, log lines, the counted allocator, growing text, the clock. */
#include "test.h"

#include <signal.h>
#include <sys/wait.h>

/* ---- status ---- */

static wn_status fails_inside(void)
{
    WN_TRY(WN_OK);
    WN_TRY(wn_fail(WN_ERR_IO, "%s: line %d", "file", 3));
    return wn_fail(WN_ERR_INTERNAL, "not reached");
}

static void check_status(void)
{
    CHECK_TEXT(wn_error_message(), "");
    CHECK_TEXT(wn_status_text(WN_OK), "done");
    CHECK_TEXT(wn_status_text(WN_ERR_INPUT), "wrong input");
    CHECK_TEXT(wn_status_text((wn_status)99), "unknown status");
    CHECK(WN_ERR_INTERNAL == 7);
    CHECK(fails_inside() == WN_ERR_IO);
    CHECK_TEXT(wn_error_message(), "file: line 3");
    CHECK(wn_fail(WN_ERR_INPUT, "outer: %s", wn_error_message()) == WN_ERR_INPUT);
    CHECK_TEXT(wn_error_message(), "outer: file: line 3");
    wn_fail(WN_ERR_INPUT, "a\nb\n");
    CHECK_TEXT(wn_error_message(), "a b");
}

static void check_long_message(void)
{
    char *filler = wn_alloc(10001, 1);

    memset(filler, 'x', 10000);
    filler[10000] = '\0';
    wn_fail(WN_ERR_INPUT, "%s", filler);
    size_t length = strlen(wn_error_message());
    CHECK(length > 1000 && length < 10000);
    CHECK_TEXT(wn_error_message() + length - 4, "x...");
    wn_free(filler);
}

static void check_message_per_thread(void)
{
    wn_fail(WN_ERR_INPUT, "main");
#pragma omp parallel num_threads(4)
    {
        char own[32];
#pragma omp for
        for (int i = 0; i < 4; i++) {
            snprintf(own, sizeof own, "thread part %d", i);
            wn_fail(WN_ERR_INPUT, "%s", own);
            if (strcmp(wn_error_message(), own) != 0)
#pragma omp atomic
                test_failures++;
        }
    }
}

static void check_problems(void)
{
    struct wn_problems problems;

    wn_problems_init(&problems);
    CHECK(problems.count == 0);
    for (int i = 0; i < 100; i++)
        wn_problems_add(&problems, "problem %d\n", i);
    CHECK(problems.count == 100);
    CHECK_TEXT(problems.lines[0], "problem 0");
    CHECK_TEXT(problems.lines[99], "problem 99");
    wn_problems_release(&problems);
    CHECK(problems.count == 0 && problems.lines == NULL);
}

static void check_suggest(void)
{
    static const char *const words[] = {"sparsity", "method", "seed", "model", "calibration"};

    CHECK_TEXT(wn_suggest("sparcity", words, 5), "sparsity");
    CHECK_TEXT(wn_suggest("metohd", words, 5), "method");
    CHECK_TEXT(wn_suggest("modle", words, 5), "model");
    CHECK_TEXT(wn_suggest("seeds", words, 5), "seed");
    CHECK_TEXT(wn_suggest("seed", words, 5), "seed");
    CHECK(wn_suggest("temperature", words, 5) == NULL);
    CHECK(wn_suggest("", words, 5) == NULL);
    CHECK(wn_suggest("seed", words, 0) == NULL);
}

/* ---- what goes to stderr, read back from a child process ---- */

struct child {
    char text[4096];
    int exit_code, signal;
};

static struct child run_child(void (*work)(void))
{
    struct child child = {.exit_code = -1};
    int ends[2], status = 0;
    size_t length = 0;
    ssize_t got;

    fflush(NULL);
    if (pipe(ends) != 0)
        return child;
    pid_t id = fork();
    if (id == 0) {
        dup2(ends[1], 2);
        work();
        _exit(0);
    }
    close(ends[1]);
    while (length + 1 < sizeof child.text &&
           (got = read(ends[0], child.text + length, sizeof child.text - 1 - length)) > 0)
        length += (size_t)got;
    close(ends[0]);
    waitpid(id, &status, 0);
    child.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    child.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    return child;
}

static void log_alone(void)
{
    wn_log(WN_LOG_INFO, "hidden by default");
    wn_log_set(WN_LOG_INFO, 0, 1);
    wn_log(WN_LOG_INFO, "point %d", 4);
    wn_log(WN_LOG_DEBUG, "hidden");
    wn_log(WN_LOG_WARNING, "late");
}

static void log_in_company(void)
{
    wn_log_set(WN_LOG_WARNING, 3, 8);
    wn_log(WN_LOG_INFO, "hidden");
    wn_log(WN_LOG_WARNING, "late");
    wn_log(WN_LOG_ERROR, "lost\nit");
}

static void check_log(void)
{
    struct child child = run_child(log_alone);
    CHECK_TEXT(child.text, "winnow: point 4\nwinnow: warning: late\n");
    child = run_child(log_in_company);
    CHECK_TEXT(child.text, "winnow: rank 3: warning: late\nwinnow: rank 3: error: lost it\n");
}

static void leave(void)
{
    _exit(42);
}

static void ask_too_much(void)
{
    wn_set_abort(leave);
    wn_alloc(INT64_MAX, 1024);
}

static void ask_negative(void)
{
    wn_set_abort(leave);
    wn_alloc(-1, 8);
}

static void write_before_block(void)
{
    uint64_t *block = wn_alloc(1, 8);

    wn_set_abort(leave);
    memset(block - 8, 0, 64);
    wn_free(block);
}

static void bug_without_hook(void)
{
    wn_set_abort(leave);
    wn_set_abort(NULL);
    WN_BUG("expected %d", 5);
}

static void check_ends(void)
{
    struct child child = run_child(ask_too_much);
    CHECK(child.exit_code == 42);
    CHECK(strstr(child.text, "not enough memory for 9223372036854775807 times 1024 bytes") != NULL);
    CHECK(strchr(child.text, '\n') == child.text + strlen(child.text) - 1);
    child = run_child(ask_negative);
    CHECK(child.exit_code == 42 && strstr(child.text, "negative") != NULL);
    child = run_child(write_before_block);
    CHECK(child.exit_code == 42 && strstr(child.text, "freed before") != NULL);
    child = run_child(bug_without_hook);
    CHECK(child.signal == SIGABRT && strstr(child.text, "test_base.c:") && strstr(child.text, "expected 5"));
}

/* ---- memory ---- */

static void check_memory(void)
{
    int64_t blocks = wn_memory_blocks(), bytes = wn_memory_bytes();

    wn_memory_reset_peak();
    CHECK(wn_memory_peak() == bytes);
    double *a = wn_alloc(100, sizeof *a);
    char *zeros = wn_alloc_zero(1000, 1);
    void *empty = wn_alloc(0, 8);
    CHECK(a && zeros && empty);
    CHECK((uintptr_t)a % 64 == 0 && (uintptr_t)zeros % 64 == 0 && (uintptr_t)empty % 64 == 0);
    CHECK(wn_memory_blocks() == blocks + 3 && wn_memory_bytes() == bytes + 1800);
    int sum = 0;
    for (int i = 0; i < 1000; i++)
        sum += zeros[i] != 0;
    CHECK(sum == 0);
    a[0] = 1.5;
    a[9] = 2.5;
    a = wn_resize(a, 10000, sizeof *a);
    CHECK(a[0] == 1.5 && a[9] == 2.5 && (uintptr_t)a % 64 == 0);
    a = wn_resize(a, 10, sizeof *a);
    CHECK(a[0] == 1.5 && a[9] == 2.5);
    CHECK(wn_memory_bytes() == bytes + 1080);
    CHECK(wn_memory_peak() >= bytes + 81000);
    wn_free(a);
    wn_free(zeros);
    wn_free(empty);
    wn_free(NULL);
    CHECK(wn_memory_blocks() == blocks && wn_memory_bytes() == bytes);
    char *grown = wn_resize(NULL, 3, 1);
    CHECK(grown != NULL);
    wn_free(grown);
}

/* They lie side by side, are counted like others, and their memory is there again when all of them are gone. */
static void check_memory_of_weights(void)
{
    const int64_t blocks = wn_memory_blocks(), bytes = wn_memory_bytes(), large = 20 << 20;
    char *a = wn_alloc_weights(1000, 1), *b = wn_alloc_weights(10, 1);

    CHECK(b - a == 1024 + 64 && (uintptr_t)a % 64 == 0);
    wn_free(a);
    a = wn_alloc_weights(1000, 1);
    CHECK(a - b == 64 + 64);
    char *c = wn_alloc_weights(large, 1);
    CHECK(wn_memory_blocks() == blocks + 3 && wn_memory_bytes() == bytes + 1010 + large);
    memset(c, 1, (size_t)large);
    a = wn_resize(a, 2000, 1);
    wn_free(a);
    wn_free(b);
    wn_free(c);
    CHECK(wn_memory_blocks() == blocks && wn_memory_bytes() == bytes);
    a = wn_alloc_weights(7 << 20, 1);
    b = wn_alloc_weights(2 << 20, 1);
    CHECK(b > a + (7 << 20) || b + (2 << 20) < a);
    wn_free(a);
    wn_free(b);
}

static void check_memory_threads(void)
{
#pragma omp parallel for num_threads(4)
    for (int i = 0; i < 400; i++)
        wn_free(memset(wn_alloc_weights(i * 1000, 8), i, (size_t)i * 8000));
    CHECK(wn_memory_blocks() == 0 && wn_memory_bytes() == 0);

#pragma omp parallel for num_threads(4)
    for (int i = 0; i < 4000; i++)
        wn_free(wn_resize(wn_alloc(i % 50, 8), i % 70, 8));
    CHECK(wn_memory_blocks() == 0 && wn_memory_bytes() == 0);
}

/* ---- text ---- */

static void check_text(void)
{
    struct wn_text text = {0};
    char *copy = wn_strdup("copy"), *part = wn_strndup("partial", 4), *formatted = wn_format("%d %s", 7, "x");

    CHECK_TEXT(copy, "copy");
    CHECK_TEXT(part, "part");
    CHECK_TEXT(formatted, "7 x");
    wn_free(copy);
    wn_free(part);
    wn_free(formatted);
    wn_text_append(&text, "", 0);
    CHECK_TEXT(text.data, "");
    for (int i = 0; i < 1000; i++)
        wn_text_printf(&text, "%03d,", i);
    wn_text_append(&text, "a\0b", 3);
    CHECK(text.length == 4003 && text.capacity > 4003);
    CHECK(memcmp(text.data + 3996, "999,a\0b", 8) == 0);
    wn_text_release(&text);
    CHECK(text.data == NULL && text.length == 0);
}

/* Many texts, so that the table grows, and each once more. */
static void check_texts(void)
{
    enum { COUNT = 5000 };
    struct wn_texts texts = {0};
    char text[32];

    CHECK(wn_texts_add(&texts, "") == 0 && wn_texts_add(&texts, "") == 0);
    for (int again = 0; again < 2; again++) {
        for (int i = 1; i < COUNT; i++) {
            snprintf(text, sizeof text, "point %d", i);
            CHECK(wn_texts_add(&texts, text) == i);
        }
    }
    CHECK(texts.count == COUNT);
    CHECK_TEXT(texts.texts[COUNT - 1], "point 4999");
    CHECK(texts.n_slots <= 4 * COUNT);
    wn_texts_release(&texts);
    CHECK(texts.count == 0 && wn_memory_blocks() == 0);
}

static void check_order(void)
{
    double values[] = {1, 3, NAN, 2, 8, -1, 6};

    wn_sort_doubles(values, 7);
    CHECK(isnan(values[6]) && values[0] == -1);
    CHECK_NEAR(wn_percentile(values + 1, 5, 0.5), 3, 0); /* of 1, 2, 3, 6, 8 */
    CHECK_NEAR(wn_percentile(values + 1, 5, 0.9), 6 + 0.6 * 2, 1e-14);
    CHECK_NEAR(wn_percentile(values + 1, 5, 1), 8, 0);
    CHECK(isnan(wn_percentile(values, 0, 0.5)));
}

static void check_time(void)
{
    double start = wn_seconds();

    usleep(20000);
    double passed = wn_seconds() - start;
    CHECK(passed >= 0.02 && passed < 20);
}

int main(void)
{
    check_status();
    check_long_message();
    check_message_per_thread();
    check_problems();
    check_suggest();
    check_log();
    check_ends();
    check_memory();
    check_memory_of_weights();
    check_memory_threads();
    check_text();
    check_texts();
    check_order();
    check_time();
    return test_finish();
}
