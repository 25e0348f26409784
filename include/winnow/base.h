/* SPDX-License-Identifier: Apache-2.0 */
/*
 * base.h: what every module stands on: status codes, problems found in input, log lines, memory, random numbers.
 *
 * Depends on nothing but the C library. Nothing here is collective; everything is safe to call from OpenMP threads
 * unless a function says otherwise.
 *
 * Errors come in three classes.
 *   Our own bug: assert() or WN_BUG(), which ends the program with the place.
 *   The user's mistake: WN_ERR_INPUT with one line that names the file and the key; gathered in a wn_problems list
 *   where several can be found before any work starts.
 *   The environment (disk, a NaN in a weight): another status; the caller turns it into the row of a failed point.
 *
 *     wn_status load(const char *path, struct thing *out)
 *     {
 *         if (access(path, R_OK) != 0)
 *             return wn_fail(WN_ERR_INPUT, "%s: cannot be read: %s", path, strerror(errno));
 *         WN_TRY(parse(path, out));
 *         return WN_OK;
 *     }
 */
#ifndef WINNOW_BASE_H
#define WINNOW_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- status ---- */

/* One row per status: name, text. The numbers are stored in results files and must not change. */
#define WN_STATUS_LIST(X)                                                                                              \
    X(WN_OK, 0, "done")                                                                                                \
    X(WN_ERR_INPUT, 1, "wrong input")                                                                                  \
    X(WN_ERR_IO, 2, "input or output failed")                                                                          \
    X(WN_ERR_MEMORY, 3, "not enough memory")                                                                           \
    X(WN_ERR_NUMERIC, 4, "a number is not finite")                                                                     \
    X(WN_ERR_UNSUPPORTED, 5, "not supported")                                                                          \
    X(WN_ERR_INTERRUPTED, 6, "stopped on request")                                                                     \
    X(WN_ERR_INTERNAL, 7, "an error inside winnow")                                                                    \
    X(WN_ERR_CHANGED, 8, "an input changed during the run")

typedef enum wn_status {
#define X(name, number, text) name = number,
    WN_STATUS_LIST(X)
#undef X
} wn_status;

/* The text of a status, never NULL. */
const char *wn_status_text(wn_status status);

/* Stores a message (one line, no newline at the end) for this thread and returns `status`. */
wn_status wn_fail(wn_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The message of the last wn_fail of this thread; empty string when there was none. Owned by the thread. */
const char *wn_error_message(void);

/* Returns from the calling function when `call` fails. Only where nothing has to be released. */
#define WN_TRY(call)                                                                                                   \
    do {                                                                                                               \
        wn_status wn_try_status_ = (call);                                                                             \
        if (wn_try_status_ != WN_OK)                                                                                   \
            return wn_try_status_;                                                                                     \
    } while (0)

/* Ends the program with place and text: our own bug. */
#define WN_BUG(...) wn_bug_(__FILE__, __LINE__, __VA_ARGS__)
void wn_bug_(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4), noreturn));

/* What wn_bug_ and the allocator call in place of abort(), e.g. a wrapper of MPI_Abort. NULL restores abort(). */
void wn_set_abort(void (*function)(void));

/* ---- problems: every mistake of an input at once ---- */

struct wn_problems {
    int64_t count;
    char **lines; /* owned */
};

void wn_problems_init(struct wn_problems *problems);
void wn_problems_release(struct wn_problems *problems);
/* Appends one line, unless it is there already. */
void wn_problems_add(struct wn_problems *problems, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The candidate nearest to `word` by edit distance, NULL when none is near enough to be a likely typing error. */
const char *wn_suggest(const char *word, const char *const *candidates, int64_t count);

/* ---- log ---- */

enum wn_log_level { WN_LOG_ERROR, WN_LOG_WARNING, WN_LOG_INFO, WN_LOG_DEBUG };

/* Lines go to stderr with the prefix "winnow: "; warnings and errors carry the rank when there is more than one. Until
 * wn_log_set says otherwise: warnings and errors only. */
void wn_log(enum wn_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void wn_log_set(enum wn_log_level most, int rank, int ranks);

/* ---- memory ---- */

/*
 * All memory of the library comes from here: aligned to 64 bytes, counted. Never returns NULL: when memory is out the
 * job ends with one line that says how much was asked for. A count of 0 gives a valid pointer.
 */
void *wn_alloc(int64_t count, size_t size);
/* The same, all bytes 0. */
void *wn_alloc_zero(int64_t count, size_t size);
/*
 * For weights that stay in memory and are read from start to end again and again: side by side with others of their
 * kind, in huge pages where the system gives them, which are read up to twice as fast. What is freed is not used again
 * before all that lies in the same region (8 MiB, or a larger block) is freed.
 */
void *wn_alloc_weights(int64_t count, size_t size);
/* Grows or shrinks; `pointer` may be NULL. New bytes are not set. */
void *wn_resize(void *pointer, int64_t count, size_t size);
/* Room for `more` elements behind `count` in an array that grows by this alone: its room is a power of two. */
void *wn_grow(void *array, int64_t count, int64_t more, size_t size);
void wn_free(void *pointer); /* NULL is fine */
char *wn_strdup(const char *text);
char *wn_strndup(const char *text, size_t length);
/* A formatted string, owned by the caller (wn_free). */
char *wn_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Bytes allocated now, the most since the last wn_memory_reset_peak, and blocks allocated now (0 at exit: no leak). */
int64_t wn_memory_bytes(void);
int64_t wn_memory_peak(void);
int64_t wn_memory_blocks(void);
void wn_memory_reset_peak(void);

/* ---- limits of memory ---- */

#define WN_LIMIT_TEXT 128
/* A limit that this process lives under. */
struct wn_limit {
    char what[WN_LIMIT_TEXT]; /* "memory of the cgroup /slurm/job_7" */
    int64_t limit, left;      /* bytes; left: limit less what is used now */
    uint64_t shared_by;       /* processes of a node with equal numbers use up one limit; 0: each has its own */
    bool address_space;       /* of mappings, whether they are used or not */
};
enum { WN_LIMITS = 32 };
/*
 * Memory of the node (left: MemAvailable), of every cgroup up to the root (version 1 and 2; left: files that were not
 * used lately count as free), of the Slurm job (left: all of it), `ulimit -v` and `-d`. Returns how many; *own gets the
 * bytes of memory that this process has to itself. `root` is put before every path: "" but in tests.
 */
int wn_limits_read(const char *root, struct wn_limit limits[WN_LIMITS], int64_t *own);

/* ---- growing text ---- */

struct wn_text {
    char *data; /* NUL-terminated once anything was appended; owned */
    size_t length, capacity;
};

void wn_text_append(struct wn_text *text, const char *bytes, size_t length);
void wn_text_printf(struct wn_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void wn_text_release(struct wn_text *text);

/* ---- a set of texts ---- */

/* Equal texts are kept once, numbered in the order they came; found by hashing. {0} is an empty set. */
struct wn_texts {
    int64_t count;
    char **texts;   /* [count] owned */
    int64_t *slots; /* [n_slots] owned: number of a text + 1, 0: free */
    int64_t n_slots;
};

/* The number of the text, which is copied when it is new. */
int64_t wn_texts_add(struct wn_texts *texts, const char *text);
void wn_texts_release(struct wn_texts *texts);

/* ---- numbers ---- */

/* The nearest number of bf16, ties to even: the upper 16 bits of a float. A NaN stays one. */
static inline uint16_t wn_to_bf16(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const bool is_nan = (bits & 0x7fffffffu) > 0x7f800000u;
    return (uint16_t)((is_nan ? bits | 0x400000u : bits + 0x7fffu + (bits >> 16 & 1)) >> 16);
}

static inline float wn_from_bf16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Rising; NaN last. */
void wn_sort_doubles(double *values, int64_t count);
/* Percentile q in [0, 1] of sorted values, linear at q (count - 1); NaN of none. */
double wn_percentile(const double *sorted, int64_t count, double q);

/* ---- time ---- */

double wn_seconds(void); /* monotonic clock */

#define WN_DURATION_TEXT 32
/* "4.2 s", "3 min 20 s", "2 h 05 min"; "?" when it is not finite. Returns `text`. */
const char *wn_duration_text(double seconds, char text[WN_DURATION_TEXT]);

/* ---- random numbers ---- */

/*
 * Counter-based: a pure function of (seed, stream, index), so results never depend on who draws when
 * (Philox 4x32-10, Salmon et al. 2011).
 */
uint64_t wn_random_u64(uint64_t seed, uint64_t stream, uint64_t index);
/* Uniform in [0, 1), 53 bits. */
double wn_random_uniform(uint64_t seed, uint64_t stream, uint64_t index);

/*
 * The generator of CPython's `random` module (MT19937 seeded by init_by_array([seed])), bit for bit, for parity with
 * published sampling. Golden: seed 0, six wn_mt_randint(0, 99999): 50494 99346 55125 5306 33936 67013.
 */
struct wn_mt {
    uint32_t state[624];
    int position;
};

void wn_mt_seed(struct wn_mt *mt, uint64_t seed);
uint32_t wn_mt_u32(struct wn_mt *mt);
/* random.randint(low, high): both ends included; high - low < 2^53. */
int64_t wn_mt_randint(struct wn_mt *mt, int64_t low, int64_t high);
/* random.shuffle of the integers order[0..count). */
void wn_mt_shuffle(struct wn_mt *mt, int64_t *order, int64_t count);

#endif
