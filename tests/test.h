/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test.h: what every C test program uses. A test is silent on success, prints one line per failed check, and returns
 * 0 (passed), 1 (failed) or 77 (skipped, with the reason on stdout). At the end it also fails when memory is left.
 *
 * Paths: test_path("tests/...") is below the source tree, test_shared("data/...") below ../shared (or $WINNOW_SHARED);
 * tests that need the latter call test_need_shared first and are skipped with a clear line where it is absent.
 */
#ifndef WINNOW_TEST_H
#define WINNOW_TEST_H

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <winnow/base.h>

#ifndef WN_SOURCE_DIR
#define WN_SOURCE_DIR "."
#endif

static int test_failures;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            test_failures++;                                                                                           \
            fprintf(stderr, "%s:%d: check failed: %s [%s]\n", __FILE__, __LINE__, #condition, wn_error_message());     \
        }                                                                                                              \
    } while (0)

#define CHECK_OK(call) CHECK((call) == WN_OK)

#define CHECK_NEAR(a, b, tolerance)                                                                                    \
    do {                                                                                                               \
        double check_a_ = (a), check_b_ = (b), check_t_ = (tolerance);                                                 \
        if (!(fabs(check_a_ - check_b_) <= check_t_)) {                                                                \
            test_failures++;                                                                                           \
            fprintf(stderr, "%s:%d: %s = %.9g, expected %.9g within %.3g\n", __FILE__, __LINE__, #a, check_a_,         \
                    check_b_, check_t_);                                                                               \
        }                                                                                                              \
    } while (0)

#define CHECK_TEXT(a, b)                                                                                               \
    do {                                                                                                               \
        const char *check_a_ = (a), *check_b_ = (b);                                                                   \
        if (!check_a_ || !check_b_ || strcmp(check_a_, check_b_)) {                                                    \
            test_failures++;                                                                                           \
            fprintf(stderr, "%s:%d: %s = \"%s\", expected \"%s\"\n", __FILE__, __LINE__, #a,                           \
                    check_a_ ? check_a_ : "(null)", check_b_ ? check_b_ : "(null)");                                   \
        }                                                                                                              \
    } while (0)

/* From here on parallel regions have so many threads: looked at, or a comparison of thread counts would say nothing. */
static inline void test_set_threads(int threads)
{
    int found = 0;
    omp_set_num_threads(threads);
#pragma omp parallel reduction(max : found)
    found = omp_get_num_threads();
    CHECK(found == threads);
}

/* The ranks that a test was started with (CMakeLists.txt), 1 without mpirun: ranks that do not meet would all pass. */
static inline int test_ranks_asked(void)
{
    const char *ranks = getenv("WINNOW_TEST_RANKS");
    return ranks ? atoi(ranks) : 1;
}

/* So many problems of an input `text`, and each has its part. Released. */
static inline void test_problems(struct wn_problems *problems, const char *text, int64_t count,
                                 const char *const *parts)
{
    CHECK(problems->count == count);
    for (int64_t i = 0; i < problems->count; i++)
        if (i >= count || !strstr(problems->lines[i], parts[i])) {
            test_failures++;
            fprintf(stderr, "%s: problem \"%s\", expected \"%s\"\n", text, problems->lines[i],
                    i < count ? parts[i] : "none");
        }
    wn_problems_release(problems);
}

/* The last error line must contain `part`. */
#define CHECK_MESSAGE(part)                                                                                            \
    do {                                                                                                               \
        if (!strstr(wn_error_message(), part)) {                                                                       \
            test_failures++;                                                                                           \
            fprintf(stderr, "%s:%d: message \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, wn_error_message(), part);     \
        }                                                                                                              \
    } while (0)

static inline char *test_path(const char *name)
{
    return wn_format("%s/%s", WN_SOURCE_DIR, name);
}

static inline char *test_shared(const char *name)
{
    const char *shared = getenv("WINNOW_SHARED");
    return shared ? wn_format("%s/%s", shared, name) : wn_format("%s/../shared/%s", WN_SOURCE_DIR, name);
}

static inline void test_skip(const char *reason)
{
    printf("skipped: %s\n", reason);
    exit(77);
}

static inline void test_need_shared(void)
{
    char *path = test_shared("data");
    int absent = access(path, R_OK) != 0;
    wn_free(path);
    if (absent)
        test_skip("../shared is absent (set WINNOW_SHARED to its path)");
}

static inline int test_finish(void)
{
    if (wn_memory_blocks() != 0) {
        test_failures++;
        fprintf(stderr, "leak: %lld blocks, %lld bytes left\n", (long long)wn_memory_blocks(),
                (long long)wn_memory_bytes());
    }
    return test_failures ? 1 : 0;
}

#endif
