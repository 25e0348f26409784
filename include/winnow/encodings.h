/* SPDX-License-Identifier: Apache-2.0 */
/*
 * encodings.h: lets one rank tokenize a text and the others reuse its ids.
 *
 * Preparing a calibration or evaluation set is deterministic: it encodes the same texts in the same order on every
 * rank. So one rank records what wn_encode returns, the recording travels, and the others prepare the set again with
 * wn_encode answering from the recording. One recording or replay at a time per process, from one thread.
 */
#ifndef WINNOW_ENCODINGS_H
#define WINNOW_ENCODINGS_H

#include <winnow/tokenizer.h>

struct wn_encodings {
    int64_t count, capacity;
    int64_t *ends;     /* [count] ids.count after each call; owned */
    struct wn_ids ids; /* of all calls, one after the other; owned */
    int64_t next;      /* replay: the call to answer next */
};

void wn_encodings_record(struct wn_encodings *encodings); /* starts; `encodings` is empty (all zero) */
void wn_encodings_replay(struct wn_encodings *encodings); /* starts */
void wn_encodings_stop(void);
/* Makes room and sets the counts, for receiving a recording. */
void wn_encodings_reserve(struct wn_encodings *encodings, int64_t count, int64_t ids);
void wn_encodings_release(struct wn_encodings *encodings);

/* For wn_encode. True when a replay answered: its ids were appended. */
bool wn_encodings_answer(struct wn_ids *ids);
/* For wn_encode, after success: notes ids[first..count) when a recording runs. */
void wn_encodings_note(const struct wn_ids *ids, int64_t first);

#endif
