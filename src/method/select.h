/* SPDX-License-Identifier: Apache-2.0 */
/*
 * select.h: which of many scores are the smallest, in linear time and with a stated order of ties.
 *
 * A key is the bit pattern of a float; its sign bit is ignored. Patterns of non-negative floats order as the floats do,
 * so |w| needs no arithmetic. Results do not depend on the number of threads.
 */
#ifndef WINNOW_SELECT_H
#define WINNOW_SELECT_H

#include <winnow/base.h>

/* clang warns about every `omp simd` loop that a build does not vectorise, which sanitizers and -O1 make common. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wpass-failed"
#endif

/* Floats may be read through it. */
typedef int32_t __attribute__((may_alias)) wn_key;

#define WN_KEY_MAGNITUDE 0x7fffffff

/* Chosen are the keys below `threshold`, and those equal to it at an index below `tie_end`: ties by lowest index. */
struct wn_cut {
    int32_t threshold;
    int64_t tie_end;
};

/* The `chosen` smallest of `count` keys, 0 <= chosen <= count. `near`: the threshold of a row like this one, which
 * saves time; 0: none. `scratch` has room for `count` keys. Serial. */
struct wn_cut wn_cut_row(const wn_key *keys, int64_t count, int64_t chosen, int32_t near, wn_key *scratch);
/* The same for a whole matrix; uses OpenMP and memory of its own. */
struct wn_cut wn_cut_matrix(const wn_key *keys, int64_t count, int64_t chosen);
/* The same for several arrays taken as one: the cut's tie_end is an index of the first array followed by the second ..
 */
struct wn_keys {
    const wn_key *keys;
    int64_t count;
};
struct wn_cut wn_cut_arrays(const struct wn_keys *arrays, int n_arrays, int64_t chosen);
/* How many keys of an array a cut chooses; `first` as in wn_cut_apply. */
int64_t wn_cut_count(const struct wn_cut *cut, int64_t first, const wn_key *keys, int64_t count);
/* The plain version: sorts. For tests. */
struct wn_cut wn_cut_ref(const wn_key *keys, int64_t count, int64_t chosen);

/*
 * Applies a cut to weights [count] whose keys are given: keep (1 or 0) and the weight, 0 where not kept, else
 * unchanged. `first` is the index of keys[0] in the order of the cut. weight and result may be the same.
 */
void wn_cut_apply(const struct wn_cut *cut, int64_t first, const wn_key *keys, int64_t count, const float *weight,
                  uint8_t *keep, float *result);

/*
 * In every run of m keys the n smallest are dropped, ties by lowest index: keep and result as above. `count` is a
 * multiple of m.
 */
void wn_runs_apply(const wn_key *keys, int64_t count, int n, int m, const float *weight, uint8_t *keep, float *result);

#endif
