/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heartbeats: who has fallen silent, and the end of a run that can only wait for it.
 *
 * Every rank but 0 has one small message under way at any time: it sends it, rank 0 answers at once, and after a pause
 * the next one goes. Rank 0 so hears of every rank, and every rank of rank 0; nothing piles up, and nobody needs a
 * collective call. They travel through MPI, on a communicator of their own, because that is the path that has to work:
 * files on a shared disk are still written by a rank whose link is down, and sockets of our own would need addresses
 * and ports that firewalls let through.
 *
 * Two threads: one talks, so that a long point or a product of matrices is no silence; the other has a clock and makes
 * no MPI call, since those may hang when a link is down. It reads how often the talker has heard of whom. Its clock
 * stands still while the process is stopped: a job that is suspended as a whole goes on when it is woken.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "par_internal.h"

enum { TAG_BEAT = 1, TAG_REPLY = 2 };
enum { BEATS_PER_TIMEOUT = 10, LOOKS_PER_TIMEOUT = 50 };
static const double LONGEST_PAUSE = 30, LONGEST_LOOK = 1;
/* MPI_Abort waits for hosts that do not answer; after so many seconds a rank ends by itself. */
enum { ABORT_SECONDS = 10 };

enum beat { BEAT_HERE, BEAT_LEAVES };

struct wn_heartbeat {
    struct wn_par *par;
    MPI_Comm comm;
    double timeout, pause;         /* seconds: of silence; between two messages of a rank */
    char (*hosts)[WN_HOST_TEXT];   /* [size] at rank 0, elsewhere [1]: that of rank 0 */
    atomic_uint *heard;            /* [size] how often: at rank 0 of every rank, elsewhere [0] of rank 0 */
    atomic_bool *left;             /* [size] it has said that it leaves */
    atomic_bool leaving, finished; /* all have met at the end; MPI is finalized */
    pthread_t talker, clock;
};

/* ---- the talker ---- */

static void sleep_seconds(double seconds)
{
    usleep((useconds_t)(1e6 * seconds));
}

/* Waits for a request without a call that could block. */
static void finish_request(MPI_Request *request, double most)
{
    double pause = 1e-3;
    int done = 0;

    MPI_Test(request, &done, MPI_STATUS_IGNORE);
    while (!done) {
        sleep_seconds(pause);
        pause = 2 * pause < most ? 2 * pause : most;
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    }
}

static void send_beat(struct wn_heartbeat *h, int32_t beat)
{
    MPI_Request request;

    MPI_Isend(&beat, 1, MPI_INT32_T, 0, TAG_BEAT, h->comm, &request);
    finish_request(&request, 0.05);
}

/* Every rank but 0. */
static void *send_beats(void *argument)
{
    struct wn_heartbeat *h = argument;
    int32_t reply;

    while (!atomic_load(&h->leaving)) {
        MPI_Request request;
        MPI_Irecv(&reply, 1, MPI_INT32_T, 0, TAG_REPLY, h->comm, &request);
        send_beat(h, BEAT_HERE);
        finish_request(&request, 0.05);
        atomic_fetch_add(&h->heard[0], 1);
        for (double slept = 0; slept < h->pause && !atomic_load(&h->leaving); slept += 0.05)
            sleep_seconds(0.05);
    }
    send_beat(h, BEAT_LEAVES);
    return NULL;
}

/* Takes one message that waits; false when none does. A rank's last reply has arrived when it sends again. */
static bool answer_one(struct wn_heartbeat *h, MPI_Request *replies, int *left)
{
    static const int32_t reply = BEAT_HERE;
    MPI_Status status;
    int32_t beat;
    int waiting;

    MPI_Iprobe(MPI_ANY_SOURCE, TAG_BEAT, h->comm, &waiting, &status);
    if (!waiting)
        return false;
    int rank = status.MPI_SOURCE;
    MPI_Recv(&beat, 1, MPI_INT32_T, rank, TAG_BEAT, h->comm, MPI_STATUS_IGNORE);
    MPI_Wait(&replies[rank], MPI_STATUS_IGNORE);
    atomic_fetch_add(&h->heard[rank], 1);
    if (beat == BEAT_HERE) {
        MPI_Isend(&reply, 1, MPI_INT32_T, rank, TAG_REPLY, h->comm, &replies[rank]);
    } else {
        atomic_store(&h->left[rank], true);
        ++*left;
    }
    return true;
}

/* Rank 0. */
static void *answer_beats(void *argument)
{
    struct wn_heartbeat *h = argument;
    MPI_Request *replies = wn_alloc(h->par->size, sizeof(MPI_Request));
    double look = h->pause / 10 < 0.05 ? h->pause / 10 : 0.05;
    int left = 1;

    for (int r = 0; r < h->par->size; r++)
        replies[r] = MPI_REQUEST_NULL;
    while (left < h->par->size) {
        while (answer_one(h, replies, &left))
            ;
        if (left < h->par->size)
            sleep_seconds(look);
    }
    wn_free(replies);
    return NULL;
}

/* ---- the clock ---- */

static void *exit_later(void *code)
{
    sleep(ABORT_SECONDS);
    _exit((int)(intptr_t)code);
}

/* The killer first: a line to a terminal that hangs may not return either. */
static __attribute__((noreturn)) void end_run(const char *line)
{
    pthread_t killer;

    pthread_create(&killer, NULL, exit_later, (void *)(intptr_t)WN_PAR_SILENT);
    wn_log(WN_LOG_ERROR, "%s", line);
    wn_par_abort(WN_PAR_SILENT);
}

struct silence {
    unsigned heard;
    double since; /* by the clock's own time */
};

static void end_of_silent(const struct wn_heartbeat *h, int rank, int more)
{
    char others[64] = "", seconds[WN_DURATION_TEXT], line[512];

    if (more > 0)
        snprintf(others, sizeof others, ", and so %s %d more", more > 1 ? "have" : "has", more);
    snprintf(line, sizeof line,
             "rank %d on %s has been silent for %s%s (stopped, or its host or network is down): the run ends here; the "
             "same command goes on (--stall-timeout sets the time)",
             rank, h->hosts[rank], wn_duration_text(h->timeout, seconds), others);
    end_run(line);
}

/* Of those on a node that miss rank 0 one says so. */
static bool speaks(const struct wn_par *par)
{
    return par->rank == 0 || par->node_rank == (par->node == par->node_of[0]);
}

/* Looks for ranks that were silent for too long: rank 0 at all others, they at rank 0. */
static void look(const struct wn_heartbeat *h, struct silence *silence, int count, double now)
{
    int first = -1, silent = 0;

    for (int i = 0; i < count; i++) {
        int rank = h->par->rank == 0 ? i + 1 : 0;
        unsigned heard = atomic_load(&h->heard[rank]);
        if (heard != silence[i].heard || atomic_load(&h->left[rank]))
            silence[i] = (struct silence){heard, now};
        double quiet = now - silence[i].since;
        silent += quiet > 0.75 * h->timeout;
        if (quiet > h->timeout && first < 0)
            first = rank;
    }
    if (first < 0)
        return;
    if (!speaks(h->par))
        exit_later((void *)(intptr_t)WN_PAR_SILENT);
    end_of_silent(h, first, silent - 1);
}

static void *watch(void *argument)
{
    struct wn_heartbeat *h = argument;
    int count = h->par->rank == 0 ? h->par->size - 1 : 1;
    double tick = h->timeout / LOOKS_PER_TIMEOUT, before = wn_seconds(), now = 0, left = 0;
    struct silence *silence = wn_alloc_zero(count, sizeof *silence);

    tick = tick < LONGEST_LOOK ? tick : LONGEST_LOOK;
    while (!atomic_load(&h->finished)) {
        sleep_seconds(tick);
        double passed = wn_seconds() - before;
        before += passed;
        now += passed < 5 * tick ? passed : tick; /* more: this process was stopped */
        if (!atomic_load(&h->leaving)) {
            look(h, silence, count, now);
            left = now;
        } else if (now - left > h->timeout) {
            end_run("MPI does not end: a host or its network is down; all that was computed is written");
        }
    }
    wn_free(silence);
    return NULL;
}

/* ---- start and end ---- */

/* Where the others are, as far as this rank may have to name them. Collective. */
static char (*gather_hosts(struct wn_par *par))[WN_HOST_TEXT]
{
    char(*hosts)[WN_HOST_TEXT] = wn_par_hosts(par);

    if (!hosts)
        hosts = wn_alloc_zero(1, sizeof *hosts);
    wn_par_broadcast(par, hosts[0], sizeof *hosts, 0);
    return hosts;
}

wn_status wn_par_watch(struct wn_par *par, double timeout)
{
    if (!par->mpi || par->size == 1 || timeout <= 0)
        return WN_OK;
    struct wn_heartbeat *h = wn_alloc_zero(1, sizeof *h);
    h->par = par;
    h->timeout = timeout;
    h->pause = timeout / BEATS_PER_TIMEOUT < LONGEST_PAUSE ? timeout / BEATS_PER_TIMEOUT : LONGEST_PAUSE;
    h->hosts = gather_hosts(par);
    h->heard = wn_alloc_zero(par->size, sizeof *h->heard);
    h->left = wn_alloc_zero(par->size, sizeof *h->left);
    MPI_Comm_dup(par->world, &h->comm);
    par->heartbeat = h;
    if (pthread_create(&h->talker, NULL, par->rank == 0 ? answer_beats : send_beats, h) != 0 ||
        pthread_create(&h->clock, NULL, watch, h) != 0)
        return wn_fail(WN_ERR_IO, "rank %d on %s: the threads of its heartbeat could not be started", par->rank,
                       par->host);
    return WN_OK;
}

void wn_heartbeat_leave_(struct wn_par *par)
{
    struct wn_heartbeat *h = par->heartbeat;

    if (!h)
        return;
    atomic_store(&h->leaving, true);
    pthread_join(h->talker, NULL);
    MPI_Comm_free(&h->comm);
}

void wn_heartbeat_end_(struct wn_par *par)
{
    struct wn_heartbeat *h = par->heartbeat;

    if (!h)
        return;
    atomic_store(&h->finished, true);
    pthread_join(h->clock, NULL);
    wn_free(h->hosts);
    wn_free(h->heard);
    wn_free(h->left);
    wn_free(h);
    par->heartbeat = NULL;
}
