/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Selection by radix: a histogram over the leading bits finds the bin of the wanted rank, its keys are gathered, and
 * the next bits are looked at in those only. The first histogram and the first gathering read everything once each;
 * with 11 bits (exponent and 3 bits of mantissa) the bin holds a few per cent of usual weights, so later levels cost
 * nothing.
 *
 * A row that is in the cache is faster by counting: how many keys are at most this one, by vectors, with guesses from
 * the counts so far, until one has as many as are wanted. Rows that guesses do not suit (ties at the rank, extreme
 * spreads) go by radix.
 */
#include "select.h"

#include <math.h>
#include <string.h>

enum { LEVELS = 4, FIRST_BITS = 11, BINS = 1 << FIRST_BITS, BLOCK = 1 << 14, LARGEST_RUN = 64, RUNS = 64 };

static const struct level {
    int shift, bits;
} levels[LEVELS] = {{20, 11}, {13, 7}, {6, 7}, {0, 6}};

/* ---- the k-th smallest key ---- */

/* Two histograms in turn: neighbours often share a bin, and a counter just written is slow to read again. */
static void count_bins(const wn_key *keys, int64_t count, struct level level, int32_t *bins)
{
    int32_t odd[BINS];
    const int32_t mask = (1 << level.bits) - 1;

    memset(bins, 0, sizeof *bins << level.bits);
    memset(odd, 0, sizeof *odd << level.bits);
    for (int64_t i = 0; i + 1 < count; i += 2) {
        bins[keys[i] >> level.shift & mask]++;
        odd[keys[i + 1] >> level.shift & mask]++;
    }
    if (count % 2)
        bins[keys[count - 1] >> level.shift & mask]++;
#pragma omp simd
    for (int b = 0; b <= mask; b++)
        bins[b] += odd[b];
}

/* Copies the keys of one bin, sign dropped, without a branch per key; `out` has room for one more than there are. */
static int64_t gather_bin(const wn_key *keys, int64_t count, struct level level, int32_t bin, wn_key *out)
{
    const int32_t mask = (1 << level.bits) - 1;
    int64_t found = 0;

    for (int64_t i = 0; i < count; i++) {
        wn_key key = keys[i];
        out[found] = key & WN_KEY_MAGNITUDE;
        found += (key >> level.shift & mask) == bin;
    }
    return found;
}

/* The bin that holds the key of rank *rank; *rank becomes the rank inside the bin. */
static int32_t find_bin(const int64_t *bins, int64_t *rank)
{
    int32_t bin = 0;

    while (*rank >= bins[bin])
        *rank -= bins[bin++];
    return bin;
}

/* Skips eight empty or low bins at a time: most of the 2,048 are. */
static int32_t find_bin_small(const int32_t *bins, int64_t *rank)
{
    int32_t bin = 0;

    for (;; bin += 8) {
        int32_t sum = 0;
        for (int b = 0; b < 8; b++)
            sum += bins[bin + b];
        if (*rank < sum)
            break;
        *rank -= sum;
    }
    while (*rank >= bins[bin])
        *rank -= bins[bin++];
    return bin;
}

/* What is known of the wanted key: its leading bits so far, its rank among the candidates, and their number. */
struct search {
    int32_t key;
    int64_t rank, candidates;
};

/* The levels from `first` on, over candidates that are overwritten. */
static void narrow(struct search *search, wn_key *candidates, int first)
{
    int32_t bins[BINS];

    for (int l = first; l < LEVELS; l++) {
        count_bins(candidates, search->candidates, levels[l], bins);
        int32_t bin = find_bin_small(bins, &search->rank);
        search->key |= bin << levels[l].shift;
        search->candidates = gather_bin(candidates, search->candidates, levels[l], bin, candidates);
    }
}

static const struct wn_cut cut_nothing = {0, 0}, cut_everything = {INT32_MAX - 1, 0};

/* ---- a row, by counting ---- */

enum { GUESSES = 20, FEW = 16 };

/* The wanted key is above `low` and at most `high`: `below` keys are at most `low`, `up_to` at most `high`. */
struct bracket {
    int32_t low, high;
    int64_t below, up_to;
};

static int64_t count_up_to(const wn_key *keys, int64_t count, int32_t limit)
{
    int32_t found = 0;

#pragma omp simd reduction(+ : found)
    for (int64_t i = 0; i < count; i++)
        found += (keys[i] & WN_KEY_MAGNITUDE) <= limit;
    return found;
}

static int32_t largest_key(const wn_key *keys, int64_t count)
{
    int32_t largest = 0;

#pragma omp simd reduction(max : largest)
    for (int64_t i = 0; i < count; i++) {
        int32_t key = keys[i] & WN_KEY_MAGNITUDE;
        largest = key > largest ? key : largest;
    }
    return largest;
}

static float float_of(int32_t key)
{
    float value;
    memcpy(&value, &key, sizeof value);
    return value;
}

/* Where a straight line through the counts of the bracket has this rank. */
static int32_t on_line(const struct bracket *b, double rank)
{
    float low = b->low < 0 ? 0 : float_of(b->low), high = float_of(b->high);
    float at = low + (high - low) * (float)((rank - (double)b->below) / (double)(b->up_to - b->below));
    int32_t key;

    memcpy(&key, &at, sizeof key); /* also when it is not finite */
    return key;
}

/* While many candidates are left, aims a little above and below the rank in turn, so that the bracket closes from both
 * sides; of few, between the wanted key and the next one. */
static int32_t guess(const struct bracket *b, int64_t chosen, int number)
{
    int64_t candidates = b->up_to - b->below;
    double aside = candidates > FEW ? sqrt((double)candidates) / 2 : 0;
    double rank = (double)chosen + (candidates > FEW ? (number % 2 ? -aside : aside) : 0.5);

    rank = rank < (double)b->below ? (double)b->below : rank > (double)b->up_to ? (double)b->up_to : rank;
    return on_line(b, rank);
}

static void take_count(struct bracket *b, int32_t key, int64_t found, int64_t chosen)
{
    if (found >= chosen) {
        b->high = key;
        b->up_to = found;
    } else {
        b->low = key;
        b->below = found;
    }
}

/* False when no guess has parted the chosen from the others. */
static bool search_by_counting(const wn_key *keys, int64_t count, int64_t chosen, int32_t near, struct search *search)
{
    struct bracket b = {-1, largest_key(keys, count), 0, count};

    for (int g = 0; g < GUESSES && b.up_to > chosen && b.high - b.low > 1; g++) {
        int32_t key = g == 0 && near > 0 ? near : guess(&b, chosen, g);
        key = key <= b.low ? b.low + 1 : key >= b.high ? b.high - 1 : key;
        take_count(&b, key, count_up_to(keys, count, key), chosen);
    }
    *search = (struct search){b.high, chosen - b.below - 1, b.up_to - b.below};
    return b.up_to == chosen || b.high - b.low == 1;
}

static void search_by_radix(const wn_key *keys, int64_t count, int64_t chosen, wn_key *scratch, struct search *search)
{
    int32_t bins[BINS];

    *search = (struct search){0, chosen - 1, 0};
    count_bins(keys, count, levels[0], bins);
    int32_t bin = find_bin_small(bins, &search->rank);
    search->key = bin << levels[0].shift;
    search->candidates = gather_bin(keys, count, levels[0], bin, scratch);
    narrow(search, scratch, 1);
}

struct wn_cut wn_cut_row(const wn_key *keys, int64_t count, int64_t chosen, int32_t near, wn_key *scratch)
{
    struct search search;

    if (chosen <= 0 || chosen >= count)
        return chosen <= 0 ? cut_nothing : cut_everything;
    if (!search_by_counting(keys, count, chosen, near, &search))
        search_by_radix(keys, count, chosen, scratch, &search);

    struct wn_cut cut = {search.key, count};
    if (search.rank + 1 == search.candidates) /* every tie is chosen: no need to look where they are */
        return cut;
    int64_t left = search.rank + 1;
    for (cut.tie_end = 0; left > 0; cut.tie_end++)
        left -= (keys[cut.tie_end] & WN_KEY_MAGNITUDE) == search.key;
    return cut;
}

/* ---- a whole matrix ---- */

static int64_t length_of_block(int64_t block, int64_t count)
{
    return count - block * BLOCK < BLOCK ? count - block * BLOCK : BLOCK;
}

/* Adds to bins. Integer counts: whoever adds first, the sum is the same. */
static void count_bins_of_matrix(const wn_key *keys, int64_t count, int64_t *bins)
{
    const int64_t blocks = (count + BLOCK - 1) / BLOCK;

#pragma omp parallel
    {
        int32_t part[BINS];
        int64_t own[BINS] = {0};
#pragma omp for schedule(static) nowait
        for (int64_t block = 0; block < blocks; block++) {
            count_bins(keys + block * BLOCK, length_of_block(block, count), levels[0], part);
            for (int b = 0; b < BINS; b++)
                own[b] += part[b];
        }
#pragma omp critical(wn_select_bins)
        for (int b = 0; b < BINS; b++)
            bins[b] += own[b];
    }
}

/* The order of the gathered blocks depends on the threads; the k-th smallest of them does not. Returns their number. */
static int64_t gather_bin_of_matrix(const wn_key *keys, int64_t count, int32_t bin, wn_key *out)
{
    const int64_t blocks = (count + BLOCK - 1) / BLOCK;
    int64_t filled = 0;

#pragma omp parallel for schedule(static)
    for (int64_t block = 0; block < blocks; block++) {
        wn_key part[BLOCK];
        int64_t at, found = gather_bin(keys + block * BLOCK, length_of_block(block, count), levels[0], bin, part);
#pragma omp atomic capture
        {
            at = filled;
            filled += found;
        }
        memcpy(out + at, part, (size_t)found * sizeof *out);
    }
    return filled;
}

static int64_t count_equal(const wn_key *keys, int64_t count, int32_t key)
{
    int32_t equal = 0;

#pragma omp simd reduction(+ : equal)
    for (int64_t i = 0; i < count; i++)
        equal += (keys[i] & WN_KEY_MAGNITUDE) == key;
    return equal;
}

/* One past the index of the tie number *ties (counted from 1); `count`, and *ties less those seen, when it is not here.
 */
static int64_t end_of_ties(const wn_key *keys, int64_t count, int32_t key, int64_t *ties)
{
    int64_t i = 0;

    for (; i < count; i += BLOCK) {
        int64_t here = count_equal(keys + i, length_of_block(i / BLOCK, count), key);
        if (*ties <= here)
            break;
        *ties -= here;
    }
    for (; i<count && * ties> 0; i++)
        *ties -= (keys[i] & WN_KEY_MAGNITUDE) == key;
    return i < count ? i : count;
}

struct wn_cut wn_cut_arrays(const struct wn_keys *arrays, int n_arrays, int64_t chosen)
{
    struct search search = {0, chosen - 1, 0};
    int64_t bins[BINS] = {0}, count = 0, filled = 0;

    for (int a = 0; a < n_arrays; a++)
        count += arrays[a].count;
    if (chosen <= 0 || chosen >= count)
        return chosen <= 0 ? cut_nothing : cut_everything;
    for (int a = 0; a < n_arrays; a++)
        count_bins_of_matrix(arrays[a].keys, arrays[a].count, bins);
    int32_t bin = find_bin(bins, &search.rank);
    search.key = bin << levels[0].shift;
    search.candidates = bins[bin];
    wn_key *candidates = wn_alloc(search.candidates + 1, sizeof *candidates);
    for (int a = 0; a < n_arrays; a++)
        filled += gather_bin_of_matrix(arrays[a].keys, arrays[a].count, bin, candidates + filled);
    narrow(&search, candidates, 1);
    wn_free(candidates);

    struct wn_cut cut = {search.key, count};
    if (search.rank + 1 == search.candidates)
        return cut;
    int64_t ties = search.rank + 1;
    cut.tie_end = 0;
    for (int a = 0; a < n_arrays && ties > 0; a++)
        cut.tie_end += end_of_ties(arrays[a].keys, arrays[a].count, search.key, &ties);
    return cut;
}

struct wn_cut wn_cut_matrix(const wn_key *keys, int64_t count, int64_t chosen)
{
    return wn_cut_arrays(&(struct wn_keys){keys, count}, 1, chosen);
}

int64_t wn_cut_count(const struct wn_cut *cut, int64_t first, const wn_key *keys, int64_t count)
{
    int64_t chosen = 0;

#pragma omp parallel for simd schedule(static) reduction(+ : chosen)
    for (int64_t i = 0; i < count; i++) {
        const int32_t key = keys[i] & WN_KEY_MAGNITUDE;
        chosen += key < cut->threshold || (key == cut->threshold && first + i < cut->tie_end);
    }
    return chosen;
}

/* ---- the plain version ---- */

/* Insertion into a sorted list, equal keys behind the ones before them: the definition, in quadratic time. */
struct wn_cut wn_cut_ref(const wn_key *keys, int64_t count, int64_t chosen)
{
    int64_t *order = wn_alloc(count, sizeof *order);
    struct wn_cut cut = chosen <= 0 ? cut_nothing : cut_everything;

    for (int64_t i = 0; i < count; i++) {
        int64_t at = i;
        for (; at > 0 && (keys[order[at - 1]] & WN_KEY_MAGNITUDE) > (keys[i] & WN_KEY_MAGNITUDE); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    if (chosen > 0 && chosen < count)
        cut = (struct wn_cut){keys[order[chosen - 1]] & WN_KEY_MAGNITUDE, order[chosen - 1] + 1};
    wn_free(order);
    return cut;
}

/* ---- masks ---- */

/* keep = key > limit: with limit = threshold ties are dropped, with threshold - 1 they are kept. */
static void apply_limit(int32_t limit, const wn_key *keys, int64_t count, const wn_key *weight, uint8_t *keep,
                        wn_key *result)
{
#pragma omp simd
    for (int64_t i = 0; i < count; i++) {
        int32_t kept = -((keys[i] & WN_KEY_MAGNITUDE) > limit);
        result[i] = weight[i] & kept;
        keep[i] = (uint8_t)(kept & 1);
    }
}

void wn_cut_apply(const struct wn_cut *cut, int64_t first, const wn_key *keys, int64_t count, const float *weight,
                  uint8_t *keep, float *result)
{
    int64_t split = cut->tie_end - first;

    split = split < 0 ? 0 : split > count ? count : split;
    apply_limit(cut->threshold, keys, split, (const wn_key *)weight, keep, (wn_key *)result);
    apply_limit(cut->threshold - 1, keys + split, count - split, (const wn_key *)(weight + split), keep + split,
                (wn_key *)(result + split));
}

/* Of two keys at places i < j of their runs the one on the left ranks lower when they are equal. */
static void rank_pair(const int32_t *left, const int32_t *right, int32_t *left_rank, int32_t *right_rank)
{
#pragma omp simd
    for (int r = 0; r < RUNS; r++) {
        int32_t left_first = left[r] <= right[r];
        right_rank[r] += left_first;
        left_rank[r] += 1 - left_first;
    }
}

/* Ranks by comparing all pairs of places, many runs at once: place i of run r is at [i][r]. */
static inline void apply_runs(const wn_key *keys, int64_t count, int n, int m, const wn_key *weight, uint8_t *keep,
                              wn_key *result)
{
    int32_t key[LARGEST_RUN][RUNS], rank[LARGEST_RUN][RUNS];
    const int64_t runs = count / m;

    memset(rank, 0, (size_t)m * sizeof *rank);
    for (int64_t r = 0; r < RUNS; r++)
        for (int i = 0; i < m; i++)
            key[i][r] = r < runs ? keys[r * m + i] & WN_KEY_MAGNITUDE : 0;
    for (int i = 0; i < m; i++)
        for (int j = i + 1; j < m; j++)
            rank_pair(key[i], key[j], rank[i], rank[j]);
    for (int64_t r = 0; r < runs; r++)
        for (int i = 0; i < m; i++) {
            int32_t kept = -(rank[i][r] >= n);
            result[r * m + i] = weight[r * m + i] & kept;
            keep[r * m + i] = (uint8_t)(kept & 1);
        }
}

/* The usual lengths are constants here, so that their loops are unrolled. */
void wn_runs_apply(const wn_key *keys, int64_t count, int n, int m, const float *weight, uint8_t *keep, float *result)
{
    const int64_t step = (int64_t)RUNS * m;

    for (int64_t at = 0; at < count; at += step) {
        const wn_key *from = (const wn_key *)weight + at;
        wn_key *to = (wn_key *)result + at;
        int64_t here = count - at < step ? count - at : step;
        if (m == 4)
            apply_runs(keys + at, here, n, 4, from, keep + at, to);
        else if (m == 8)
            apply_runs(keys + at, here, n, 8, from, keep + at, to);
        else
            apply_runs(keys + at, here, n, m, from, keep + at, to);
    }
}
