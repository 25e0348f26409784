/* SPDX-License-Identifier: Apache-2.0 */
/*
 * scratch.h: what a start leaves on scratch so that the next one goes on where it stopped: hidden states and the record
 * of a point between two blocks or inside one, and parts of the dense pass.
 *
 * A state is one file: a header with its key, what it is of and how far it got, then pieces of memory. The key is a
 * hash of all that its numbers depend on: sweep, point, build, arithmetic. A file is written under a temporary name,
 * synced and renamed, and believed only when key, sizes and checksum are right; it may vanish at any time. Which rank,
 * with how many threads, wrote it does not matter.
 */
#ifndef WINNOW_SCRATCH_H
#define WINNOW_SCRATCH_H

#include <winnow/base.h>

/* Of each rank, for one start. */
struct wn_saver {
    char *folder;      /* owned; made with the first state */
    char *key;         /* owned: sweep, build and arithmetic in words */
    char *build;       /* owned: build and arithmetic alone */
    char *levels;      /* owned: folder of the levels that searches choose from (level.h) */
    bool keeps_levels; /* they stay for later runs, which may be of other sweeps */
    bool broken;       /* the folder cannot be written: nothing is saved any more */
    double end;        /* wn_seconds() by which this rank must have stopped; INFINITY: not known */
    double every;      /* seconds between states of a point in flight; INFINITY: only when it has to stop */
    double rate;       /* bytes per second of the states written so far; a careful guess before */
    double *share;     /* [points] owned: predicted seconds behind the blocks over those in them; NULL: not known */
    bool left;         /* work was left because time is over */
    /* Told of every state of the point in work that is saved, and of the blocks that it goes on behind; NULL: nobody.
     */
    void (*saved)(void *context);
    void (*resumed)(void *context, int64_t point, double steps_done, int64_t steps);
    void *context;
};

/* FILE.h5.scratch, or a folder of that name in `scratch`. */
char *wn_saver_folder(const char *output, const char *scratch);
/* Of levels: that with ".levels" behind it, or, when they are kept, "winnow.levels" in `scratch` or beside the output.
 */
char *wn_saver_levels(const char *output, const char *scratch, bool keeps);
void wn_saver_release(struct wn_saver *saver);

struct wn_state {
    const char *name; /* of the file */
    const char *what; /* it is of, in words: part of the key */
    int64_t point;    /* -1: of the dense pass */
    int64_t step, steps;
    /* Inside the step behind `step` of them: where, in numbers of whoever writes it, and about its share that is done,
     * below 1; all 0: at its beginning. */
    int64_t place[3];
    double inside;
};
struct wn_state_piece {
    void *data;
    int64_t bytes;
};

/* Writes a state in place of an earlier one of that name. When it cannot be written that is said once, the saver is
 * broken from then on, and nothing of it is left. Not collective. */
wn_status wn_state_write(struct wn_saver *saver, const struct wn_state *state, const struct wn_state_piece *pieces,
                         int64_t count);
/* Fills how far the state of that name and key got: step, place and inside. False: there is none. Reads the header
 * alone. */
bool wn_state_find(const struct wn_saver *saver, struct wn_state *state);
/* The same: the whole steps; 0: none, or there is no state. */
int64_t wn_state_step(const struct wn_saver *saver, const struct wn_state *state);
/* Bytes of all its pieces; 0: there is none. */
int64_t wn_state_bytes(const struct wn_saver *saver, const struct wn_state *state);
/* Fills the pieces from the state, which must be at state->step, place and inside. WN_ERR_IO when it is damaged: then
 * no piece was touched. */
wn_status wn_state_read(const struct wn_saver *saver, const struct wn_state *state, const struct wn_state_piece *pieces,
                        int64_t count);
void wn_state_remove(const struct wn_saver *saver, const char *name);
/* Name of the state of a point, in `name`. */
#define WN_STATE_NAME 64
void wn_state_point_name(int64_t point, char name[WN_STATE_NAME]);

/* How far a point is, in words: "behind block 2 of 6", or "in block 3 of 6 (37 %)". Returns `text`. */
#define WN_STATE_PLACE 80
const char *wn_state_place_text(double steps_done, int64_t steps, char text[WN_STATE_PLACE]);

/* Calls visit for the header of every state of a point in a folder, whatever its key; `steps_done` of `steps`, with the
 * share of the one in work. */
typedef void wn_state_visitor(void *context, int64_t point, double steps_done, int64_t steps);
void wn_state_list(const char *folder, wn_state_visitor *visit, void *context);
/* A number that grows with whatever is saved in a folder: of each state of a point the share of its blocks, and less
 * than 1 for all of the dense pass. */
double wn_state_progress(const char *folder);
/* Removes all states in the folder, and the folder when it is empty then. */
void wn_state_clear(const char *folder);

#endif
