/* SPDX-License-Identifier: Apache-2.0 */
/* Random draws of a search: named places of the counter-based generator. */
#include <winnow/search.h>

struct wn_draws wn_draws_begin(int64_t seed, enum wn_draw_purpose purpose, int64_t generation, int64_t number,
                               int64_t attempt)
{
    return (struct wn_draws){.seed = (uint64_t)seed,
                             .stream = (uint64_t)purpose << 56 | (uint64_t)generation << 24 | (uint64_t)number,
                             .place = (uint64_t)attempt << 32};
}

int64_t wn_draws_below(struct wn_draws *draws, int64_t limit)
{
    uint64_t value = wn_random_u64(draws->seed, draws->stream, draws->place++);

    return (int64_t)((unsigned __int128)value * (uint64_t)limit >> 64);
}

int64_t wn_draws_pick(struct wn_draws *draws, int64_t *numbers, int64_t count, int64_t place)
{
    int64_t other = place + wn_draws_below(draws, count - place), drawn = numbers[other];

    numbers[other] = numbers[place];
    numbers[place] = drawn;
    return drawn;
}
