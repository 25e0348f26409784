/* SPDX-License-Identifier: Apache-2.0 */
/* inside.h: what a point has inside a block besides what it has between two blocks; private to src/point. */
#ifndef WINNOW_POINT_INSIDE_H
#define WINNOW_POINT_INSIDE_H

#include "resume.h"

/* The pieces of a state. */
struct wn_pieces {
    struct wn_state_piece *items; /* owned */
    int64_t count, bytes;
};
/* `data` NULL: no bytes. */
void wn_pieces_add(struct wn_pieces *pieces, void *data, int64_t bytes);

/* Room for a state inside a block while it is written or read. */
struct wn_inside {
    struct wn_place place;
    struct wn_inside_small {
        int32_t trials[WN_MAX_INPUTS];
        bool scaled[WN_MAX_INPUTS];
    } small;
    float *scales; /* of all inputs, one after the other; owned */
    uint8_t *rest; /* rules and kept linears, as bytes; owned */
    int64_t rest_bytes;
};
/* To be written. */
void wn_inside_open(struct wn_inside *inside, const struct wn_between *between, int64_t block,
                    const struct wn_place *place);
/* To be read: what the compressor has not before is made room for there. `rest` comes last, as long as it is. */
void wn_inside_expect(struct wn_inside *inside, const struct wn_between *between, const struct wn_place *place);
void wn_inside_list(struct wn_inside *inside, const struct wn_between *between, struct wn_pieces *pieces);
/* What was read goes to its places. */
void wn_inside_give(const struct wn_inside *inside, const struct wn_between *between, int64_t block);
void wn_inside_release(struct wn_inside *inside);
/* Bytes of the most that comes to a state inside a block. */
int64_t wn_inside_bytes(const struct wn_run *run, const struct wn_point *point);

/* The order in which linears are made: as they are, or by the steps of their inputs. Returns their number. */
int wn_order_linears(const struct wn_layout *layout, bool by_input, int order[WN_MAX_LINEARS]);

#endif
