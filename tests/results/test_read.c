/* SPDX-License-Identifier: Apache-2.0 */
/* What reading a file that cannot be trusted stands on: the guard around HDF5, and the lines of the list of fields. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>

#include "results/results_internal.h"
#include "test.h"

/* ---- the guard ---- */

static void crash(void)
{
    raise(SIGSEGV);
}

static void give_up(void)
{
    abort();
}

/* The time of the guard is a minute; here a moment will do. */
static void loop(void)
{
    struct itimerval timer = {.it_value.tv_usec = 50000};

    setitimer(ITIMER_VIRTUAL, &timer, NULL);
    for (volatile int turning = 1; turning;)
        ;
}

static volatile int depth = 1 << 30; /* more than any stack has room for */

static int recurse(volatile const char *above)
{
    volatile char here[4096];

    here[0] = *above;
    return depth-- > 0 ? recurse(here) + here[0] : 0;
}

static void use_up_the_stack(void)
{
    volatile char start = 0;

    recurse(&start);
}

/* Runs `end` in a child, inside or outside of a guard, and gives its state and what it wrote. */
static int end_in_child(void (*end)(void), bool guarded, char *text, size_t size)
{
    const struct rlimit stack = {1 << 20, 1 << 20}, none = {0, 0};
    int ends[2], state = 0;

    text[0] = '\0';
    if (pipe(ends) != 0)
        return -1;
    pid_t child = fork();
    if (child == 0) {
        setrlimit(RLIMIT_STACK, &stack);
        setrlimit(RLIMIT_CORE, &none);
        dup2(ends[1], STDERR_FILENO);
        wn_h5_guard_begin_("outer.h5");
        wn_h5_guard_begin_("inner.h5");
        wn_h5_guard_end_();
        if (!guarded)
            wn_h5_guard_end_();
        end();
        _exit(0);
    }
    close(ends[1]);
    ssize_t length = read(ends[0], text, size - 1);
    text[length > 0 ? length : 0] = '\0';
    close(ends[0]);
    waitpid(child, &state, 0);
    return state;
}

static void check_guard(void)
{
    static const struct {
        void (*end)(void);
        const char *line;
    } cases[] = {
        {crash, "winnow: outer.h5: is damaged: the HDF5 library crashes on it\n"},
        {give_up, "winnow: outer.h5: is damaged: the HDF5 library crashes on it\n"},
        {use_up_the_stack, "winnow: outer.h5: is damaged: the HDF5 library crashes on it\n"},
        {loop, "winnow: outer.h5: is damaged: the HDF5 library comes to no end with it\n"},
    };
    char text[512];

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int state = end_in_child(cases[i].end, true, text, sizeof text);
        CHECK(WIFEXITED(state) && WEXITSTATUS(state) == 2);
        CHECK_TEXT(text, cases[i].line);
    }
    /* Our own crash is no damage of a file. */
    int state = end_in_child(crash, false, text, sizeof text);
    CHECK(!WIFEXITED(state) || WEXITSTATUS(state) != 2);
    CHECK(strstr(text, "damaged") == NULL);
}

/* ---- the list of fields ---- */

static void check_lines(void)
{
    static const char *const wrong[] = {
        "",
        "/a\tresult\tf64",
        "/a\tresult\tf64\t",
        "/a\tresult\tf65\t\n",
        "/a\tresult\tf64\t-1\n",
        "/a\tresult\tf64\t+1\n",
        "/a\tresult\tf64\t 1\n",
        "/a\tresult\tf64\t3x\n",
        "/a\tresult\tf64\tx3\n",
        "/a\tresult\tf64\t3xx3\n",
        "/a\tresult\tf64\t3y3\n",
        "/a\tresult\tf64\t9223372036854775807\n",
        "/a\tresult\tf64\t99999999999999999999x99999999999999999999\n",
        "/a\tresult\tf64\t4294967296x4294967296\n",
        "/a\tresult\tf64\t1x1x1x1x1x1\n",
    };
    static const char right[] = "/a/b\tconstant\ti32\t2x0x3\tabc\n/c\tcolumn\ttext\t\n";
    struct wn_field_line line;
    const char *at;
    int64_t points;

    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        at = wrong[i];
        CHECK(!wn_field_line_next_(&at, &line));
        CHECK(at == wrong[i]);
    }
    at = right;
    CHECK(wn_field_line_next_(&at, &line));
    CHECK(line.n_sizes == 3 && line.size[0] == 2 && line.size[2] == 3 && line.elements == 0);
    CHECK_TEXT(line.hash, "abc");
    CHECK(wn_field_line_next_(&at, &line) && line.n_sizes == 0 && line.elements == 1 && !*at);
    static const char *const no_points[] = {"", "points\t3\tx", "points\t-1\tx\n", "points\tx\n", "point\t3\tx\n"};
    for (size_t i = 0; i < sizeof no_points / sizeof *no_points; i++) {
        at = no_points[i];
        CHECK(!wn_fields_points_(&at, &points));
    }
    at = "points\t3\tx\nrest";
    CHECK(wn_fields_points_(&at, &points) && points == 3);
    CHECK_TEXT(at, "rest");
}

int main(void)
{
    check_guard();
    check_lines();
    return test_finish();
}
