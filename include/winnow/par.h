/* SPDX-License-Identifier: Apache-2.0 */
/*
 * par.h: ranks: who we are, agreement on status, memory shared inside a node, and the queue that hands out points.
 *
 * Only src/par, src/results and src/main.c see MPI. No RMA windows: they fail across nodes over TCP with the stock Open
 * MPI and make no progress while the target computes. Every prototype says whether it is
 * collective. Waiting ranks sleep instead of spinning, so they take nothing from those that compute.
 */
#ifndef WINNOW_PAR_H
#define WINNOW_PAR_H

#include <winnow/base.h>

struct wn_par; /* opaque */

/*
 * An error when srun started several copies that MPI takes for one rank each: every copy would compute all, and all
 * would write one file. Not collective; after wn_par_start.
 */
wn_status wn_par_check_launch(const struct wn_par *par);

/*
 * Starts MPI with MPI_THREAD_MULTIPLE (an error that says so when it is not granted). Collective over the world. Ranks
 * that share memory form a node; WINNOW_RANKS_PER_NODE=N in the environment splits every node into nodes of N ranks, so
 * that what crosses nodes can be tested on one machine.
 */
wn_status wn_par_start(int *argc, char ***argv, struct wn_par **par);
/* One rank without MPI: for commands that run on a login node, and for tests. Not collective. */
void wn_par_start_serial(struct wn_par **par);
/* Finalizes MPI when wn_par_start started it. Collective. *par becomes NULL. */
void wn_par_finish(struct wn_par **par);
/* Ends all ranks at once with this exit code. Not collective. */
void wn_par_abort(int code) __attribute__((noreturn));

int wn_par_rank(const struct wn_par *par);
int wn_par_size(const struct wn_par *par);
int wn_par_node(const struct wn_par *par); /* 0 .. nodes - 1 */
int wn_par_nodes(const struct wn_par *par);
int wn_par_node_of(const struct wn_par *par, int rank); /* node of any rank */
int wn_par_node_rank(const struct wn_par *par);         /* rank among those of this node */
int wn_par_node_size(const struct wn_par *par);
const char *wn_par_host(const struct wn_par *par);
/* Collective: the hosts of all ranks [size], at rank 0 (elsewhere NULL); owned by the caller, one wn_free. */
#define WN_HOST_TEXT 64
char (*wn_par_hosts(struct wn_par *par))[WN_HOST_TEXT];
/* "Open MPI 4.1.4": static storage. */
const char *wn_par_library(void);

/* Collective. Waits without spinning. */
void wn_par_barrier(struct wn_par *par);
/* Collective. Any size; split below 2 GB. */
void wn_par_broadcast(struct wn_par *par, void *data, int64_t bytes, int root);
/* Collective: the largest value over all ranks. */
int64_t wn_par_max(struct wn_par *par, int64_t value);
/* Collective over the ranks of each node: all [node_size * bytes] gets what each of them has in `mine`. */
void wn_par_node_gather(struct wn_par *par, const void *mine, int64_t bytes, void *all);
double wn_par_sum(struct wn_par *par, double value); /* collective; only for things that are not results */
/*
 * Collective: every rank gets WN_OK when all had it, else the status and the message of the lowest failing rank (stored
 * with wn_fail). Call after rank-local work that can fail, before the next collective call.
 */
wn_status wn_par_agree(struct wn_par *par, wn_status status);

/* ---- memory shared by the ranks of a node ---- */

/*
 * A mapped, unlinked scratch file: one copy per node, backed by `directory` (NULL: $TMPDIR, else /tmp), gone with the
 * processes however they end. Its blocks are reserved at creation: a full disk is an error there, not a crash later.
 */
struct wn_shared {
    void *data; /* zero-filled at first; page-aligned */
    int64_t bytes;
};
/* Collective. `bytes` equal on all ranks. */
wn_status wn_par_shared_create(struct wn_par *par, const char *directory, int64_t bytes, struct wn_shared *shared);
void wn_par_shared_release(struct wn_shared *shared); /* not collective */
/* Where the file is made: `directory`, or in its place $TMPDIR, else /tmp. Borrowed; not collective. */
const char *wn_par_shared_folder(const char *directory);
/*
 * Collective. Piece i (bytes [offset[i], offset[i+1]) of the memory) was written by rank owner[i]; afterwards every
 * node has all pieces. Moves only what crosses nodes.
 */
void wn_par_shared_exchange(struct wn_par *par, struct wn_shared *shared, int64_t pieces, const int64_t *offset,
                            const int *owner);

/*
 * Collective. A sum in bytes [first, end) of the memory goes down a chain of nodes, each of which adds to it: steps
 * [steps] are different nodes, and the ranks of node[s] share out the bytes and call add(context, from, to) for what
 * they got, when the sum has come from node[s - 1] (at s = 0: as it lies there), from a multiple of 64 bytes behind
 * first on. What a rank wrote into shared memory before the call is there for the others. Behind it the sum is at
 * node[steps - 1], to be exchanged. It travels in pieces, so that a long chain takes little longer than a short one.
 */
typedef void wn_par_adder(void *context, int64_t from, int64_t to);
void wn_par_shared_chain(struct wn_par *par, struct wn_shared *shared, int64_t first, int64_t end, int64_t steps,
                         const int *node, wn_par_adder *add, void *context);

/* ---- stopping on request ---- */

/* From now on SIGUSR1, SIGTERM and SIGINT set a flag; a second SIGINT ends at once with code 130; SIGXFSZ is ignored.
 * Not collective; call before wn_par_start, which takes long enough for a signal to come. */
void wn_par_catch_signals(void);
bool wn_par_stop_requested(void);
/* wn_seconds() by which what was asked to stop must have ended; INFINITY: nothing was. SIGUSR1 leaves 110 s, as it
 * comes 120 s before the end of a Slurm job, other requests nothing. */
double wn_par_stop_deadline(void);
/* Sets the same flag from inside, e.g. when a time budget is used up. Not collective. */
void wn_par_request_stop(void);

/* ---- ranks that fall silent ---- */

/* What a run ends with when a rank was silent for too long. */
enum { WN_PAR_SILENT = 76 };
/*
 * Collective. From now on, until wn_par_finish, a rank that is silent for `timeout` seconds (stopped, its host hung or
 * its network down) ends the run: the rank that misses it writes a line that names it and its host, and all end with
 * exit code WN_PAR_SILENT, within 10 s also where MPI_Abort hangs. Threads of their own tell and listen, so ranks may
 * compute, wait and write for as long as they like. With 1,000 ranks and 10 minutes rank 0 gets and answers 33 messages
 * of 4 bytes in a second. The time in which a rank is stopped itself does not count: a job that is suspended as a whole
 * goes on. 0, or one rank: nothing is done.
 */
wn_status wn_par_watch(struct wn_par *par, double timeout);

/* ---- the queue ---- */

/*
 * Hands out jobs 0 .. n_jobs-1 in the given order (dearest first), or as a function chooses, to whoever asks. With more
 * than one rank a thread on rank 0 answers by send/receive on an own communicator (MPI_Iprobe and a short sleep). A
 * rank that asks after the last job, or after a stop request anywhere, gets -1.
 *
 *     while ((job = wn_queue_take(queue)) >= 0) {
 *         compute(job);
 *         wn_queue_ask(queue);                       the answer travels while the point is written
 *         commit(job);
 *         wn_queue_done(queue, job, status, seconds, tokens);
 *     }
 *     wn_queue_finish(&queue);
 */
struct wn_queue; /* opaque */

/* What a rank is told or tells. */
enum wn_queue_event {
    WN_QUEUE_GIVEN,   /* it was given the job (while it may still write the one before), or -1: no more */
    WN_QUEUE_RESUMED, /* it goes on behind step of steps, which an earlier start has saved */
    WN_QUEUE_STEP,    /* step of steps of the job are finished */
    WN_QUEUE_DONE,    /* the job is finished and committed */
    WN_QUEUE_SAVED,   /* it was left for a later start, which goes on behind `step` of `steps` */
    WN_QUEUE_LEFT     /* it will not ask again; a job that it did not take goes to another rank */
};

struct wn_queue_report {
    int64_t job;
    int32_t event, rank;
    int32_t status;         /* DONE: wn_status of the point */
    int32_t step, steps;    /* RESUMED, STEP, SAVED */
    double inside;          /* RESUMED, SAVED: share of the next step that is done, too */
    double seconds, tokens; /* DONE */
};
/*
 * Called on rank 0 for each event, and with NULL about twice a second otherwise: from the manager thread, or with one
 * rank from inside the functions below (NULL then only between jobs). It must not call HDF5 or wn_par_*.
 */
typedef void wn_queue_listener(void *context, const struct wn_queue_report *report);

/* Collective. order [n_jobs] matters on rank 0 only; copied. */
wn_status wn_queue_start(struct wn_par *par, int64_t n_jobs, const int64_t *order, wn_queue_listener *listen,
                         void *context, struct wn_queue **queue);
/* Chooses the next job when somebody asks, -1: none now for whoever asks. On rank 0, from the same thread as the
 * listener: it must be quick, as all wait for it. */
typedef int64_t wn_queue_chooser(void *context);
/* Collective. The same with jobs as `choose` says on rank 0. */
wn_status wn_queue_start_choosing(struct wn_par *par, wn_queue_chooser *choose, void *chooser,
                                  wn_queue_listener *listen, void *context, struct wn_queue **queue);
/* Asks for the next job without waiting; call before writing the last one. At most one question may be open. */
void wn_queue_ask(struct wn_queue *queue);
/* The answer (asks first when nothing was asked): a job, or -1: no more. */
int64_t wn_queue_take(struct wn_queue *queue);
/* Tells the manager how far a job is: sent at most once in WN_QUEUE_STEP_SECONDS, so it may be called for every step;
 * the manager takes some microseconds for each, also from 1,000 ranks. */
#define WN_QUEUE_STEP_SECONDS 1.0
void wn_queue_step(struct wn_queue *queue, int64_t job, int64_t step, int64_t steps);
/* Tells the manager that a job goes on behind its first `done` steps, which may have a share of the next one. */
void wn_queue_resumed(struct wn_queue *queue, int64_t job, double done, int64_t steps);
/* Tells the manager that a job is left for a later start, its first `done` steps saved, likewise. */
void wn_queue_saved(struct wn_queue *queue, int64_t job, double done, int64_t steps);
/* Tells the manager that a job is finished and committed. */
void wn_queue_done(struct wn_queue *queue, int64_t job, wn_status status, double seconds, double tokens);
/*
 * Collective; waits, sleeping, until all ranks are here. A rank may come before it was told -1: a job it asked for but
 * did not take goes to another rank that still asks.
 */
void wn_queue_finish(struct wn_queue **queue);

#endif
