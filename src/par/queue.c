/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The queue: a manager thread on rank 0 and its clients, one per rank, rank 0 included.
 *
 * A client sends a note (ask, done, leave) and, after an ask, gets one job number back. The manager answers every
 * message that waits before it sleeps, so a busy queue is served at the speed of MPI and an idle one costs nothing
 *. The stop flag of a client travels in each of its notes; once the manager has seen one, all
 * answers are -1.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "par_internal.h"

enum { TAG_NOTE = 1, TAG_ANSWER = 2 };
enum { MANAGER_PAUSE_US = 1000 };
#define LISTEN_SECONDS 0.5

enum note_kind { NOTE_ASK, NOTE_STEP, NOTE_DONE, NOTE_LEAVE };

/* What a client says. Sent as bytes: all ranks run the same build. */
struct note {
    int32_t kind;
    int32_t stop;                  /* the stop flag of the sender */
    struct wn_queue_report report; /* LEAVE: report.job is a job to be given to somebody else, or -1 */
};

/* Rank 0: what is left to hand out. Touched by the manager thread only (with one rank: by the caller). */
struct manager {
    int64_t *order; /* [n_jobs] owned */
    int64_t n_jobs, next;
    wn_queue_chooser *choose; /* in place of the order; NULL: the order */
    void *chooser;
    int64_t *returned; /* [size] owned: jobs that came back with a LEAVE */
    int n_returned;
    int left; /* clients that said LEAVE */
    bool stop;
    wn_queue_listener *listen;
    void *context;
    double listened; /* when the listener was last called */
    int64_t answers;
    double busy_seconds;
};

struct wn_queue {
    struct wn_par *par;
    MPI_Comm comm; /* MPI_COMM_NULL without MPI */
    bool threaded; /* this rank runs the manager thread */
    pthread_t thread;
    struct manager manager;
    /* the client */
    bool asked, told_end;
    int64_t answer;
    double stepped; /* when the manager was last told of a step */
    MPI_Request request;
};

/* ---- the manager ---- */

static void listen_to(struct manager *manager, const struct wn_queue_report *report)
{
    if (report || wn_seconds() - manager->listened >= LISTEN_SECONDS) {
        manager->listened = wn_seconds();
        if (manager->listen)
            manager->listen(manager->context, report);
    }
}

static int64_t next_job(struct manager *manager)
{
    manager->answers++;
    if (manager->stop || wn_par_stop_requested())
        return -1;
    if (manager->n_returned > 0)
        return manager->returned[--manager->n_returned];
    if (manager->choose)
        return manager->choose(manager->chooser);
    return manager->next < manager->n_jobs ? manager->order[manager->next++] : -1;
}

/* Tells the listener that a rank was given a job. */
static void tell_given(struct manager *manager, int32_t rank, int64_t job)
{
    struct wn_queue_report report = {.event = WN_QUEUE_GIVEN, .rank = rank, .job = job};
    listen_to(manager, &report);
}

/* Acts on a note; true when it wants the answer *job. */
static bool take_note(struct manager *manager, const struct note *note, int64_t *job)
{
    manager->stop = manager->stop || note->stop;
    switch ((enum note_kind)note->kind) {
    case NOTE_ASK:
        *job = next_job(manager);
        tell_given(manager, note->report.rank, *job);
        return true;
    case NOTE_STEP:
    case NOTE_DONE:
        listen_to(manager, &note->report);
        return false;
    case NOTE_LEAVE:
        if (note->report.job >= 0)
            manager->returned[manager->n_returned++] = note->report.job;
        manager->left++;
        listen_to(manager, &note->report);
        return false;
    }
    WN_BUG("a note of kind %d", note->kind);
}

/* Serves one waiting note; false when none waits. Answers are 8 bytes: sent eagerly, the send never waits. */
static bool serve_one(struct wn_queue *queue)
{
    MPI_Status status;
    struct note note;
    int64_t job;
    int waiting;

    MPI_Iprobe(MPI_ANY_SOURCE, TAG_NOTE, queue->comm, &waiting, &status);
    if (!waiting)
        return false;
    MPI_Recv(&note, sizeof note, MPI_BYTE, status.MPI_SOURCE, TAG_NOTE, queue->comm, MPI_STATUS_IGNORE);
    if (take_note(&queue->manager, &note, &job))
        MPI_Send(&job, 1, MPI_INT64_T, status.MPI_SOURCE, TAG_ANSWER, queue->comm);
    return true;
}

static void *manage(void *argument)
{
    struct wn_queue *queue = argument;
    struct manager *manager = &queue->manager;

    while (manager->left < queue->par->size) {
        double start = wn_seconds();
        bool served = false;
        while (serve_one(queue))
            served = true;
        if (served)
            manager->busy_seconds += wn_seconds() - start;
        listen_to(manager, NULL);
        if (manager->left < queue->par->size)
            usleep(MANAGER_PAUSE_US);
    }
    return NULL;
}

/* ---- the clients ---- */

/* Sends a note, or with one rank acts on it at once. */
static void send_note(struct wn_queue *queue, enum note_kind kind, const struct wn_queue_report *report)
{
    struct note note;

    memset(&note, 0, sizeof note); /* the padding goes over the wire too */
    note.kind = kind;
    note.stop = wn_par_stop_requested();
    note.report.job = -1;
    if (report)
        note.report = *report;
    note.report.rank = queue->par->rank;
    if (queue->comm == MPI_COMM_NULL)
        take_note(&queue->manager, &note, &queue->answer);
    else
        MPI_Send(&note, sizeof note, MPI_BYTE, 0, TAG_NOTE, queue->comm);
}

/* What rank 0 hands out, before anybody asks. */
struct source {
    int64_t n_jobs;
    const int64_t *order;
    wn_queue_chooser *choose;
    void *chooser;
};

static wn_status start_queue(struct wn_par *par, const struct source *source, wn_queue_listener *listen, void *context,
                             struct wn_queue **queue)
{
    struct wn_queue *q = wn_alloc_zero(1, sizeof *q);
    wn_status status = WN_OK;

    q->par = par;
    q->comm = MPI_COMM_NULL;
    q->request = MPI_REQUEST_NULL;
    if (par->rank == 0) {
        q->manager.order = wn_alloc(source->n_jobs, sizeof *source->order);
        if (source->n_jobs > 0)
            memcpy(q->manager.order, source->order, (size_t)source->n_jobs * sizeof *source->order);
        q->manager.n_jobs = source->n_jobs;
        q->manager.choose = source->choose;
        q->manager.chooser = source->chooser;
        q->manager.returned = wn_alloc(par->size, sizeof *q->manager.returned);
        q->manager.listen = listen;
        q->manager.context = context;
        q->manager.listened = wn_seconds();
    }
    if (par->size > 1) {
        MPI_Comm_dup(par->world, &q->comm);
        q->threaded = par->rank == 0;
    }
    if (q->threaded && pthread_create(&q->thread, NULL, manage, q) != 0) {
        q->threaded = false;
        status = wn_fail(WN_ERR_IO, "the manager thread of the queue could not be started");
    }
    status = wn_par_agree(par, status);
    if (status == WN_OK) {
        *queue = q;
        return WN_OK;
    }
    MPI_Comm_free(&q->comm);
    wn_free(q->manager.order);
    wn_free(q->manager.returned);
    wn_free(q);
    *queue = NULL;
    return status;
}

wn_status wn_queue_start(struct wn_par *par, int64_t n_jobs, const int64_t *order, wn_queue_listener *listen,
                         void *context, struct wn_queue **queue)
{
    struct source source = {.n_jobs = n_jobs, .order = order};
    return start_queue(par, &source, listen, context, queue);
}

wn_status wn_queue_start_choosing(struct wn_par *par, wn_queue_chooser *choose, void *chooser,
                                  wn_queue_listener *listen, void *context, struct wn_queue **queue)
{
    struct source source = {.choose = choose, .chooser = chooser};
    return start_queue(par, &source, listen, context, queue);
}

void wn_queue_ask(struct wn_queue *queue)
{
    if (queue->asked || queue->told_end)
        return;
    if (queue->comm != MPI_COMM_NULL)
        MPI_Irecv(&queue->answer, 1, MPI_INT64_T, 0, TAG_ANSWER, queue->comm, &queue->request);
    send_note(queue, NOTE_ASK, NULL);
    queue->asked = true;
}

/* The answer to the open question. */
static int64_t receive_answer(struct wn_queue *queue)
{
    if (queue->comm != MPI_COMM_NULL)
        wn_par_wait_(&queue->request);
    queue->asked = false;
    queue->told_end = queue->answer < 0;
    return queue->answer;
}

int64_t wn_queue_take(struct wn_queue *queue)
{
    if (queue->told_end)
        return -1;
    if (queue->comm == MPI_COMM_NULL)
        listen_to(&queue->manager, NULL);
    wn_queue_ask(queue);
    int64_t job = receive_answer(queue);
    /* Asked for before the stop request came: the job stays open, the second question carries the request. */
    if (job >= 0 && wn_par_stop_requested()) {
        wn_queue_ask(queue);
        job = receive_answer(queue);
    }
    return job;
}

static void tell_step(struct wn_queue *queue, enum wn_queue_event event, int64_t job, double done, int64_t steps)
{
    struct wn_queue_report report;

    memset(&report, 0, sizeof report);
    report.event = event;
    report.job = job;
    report.step = (int32_t)done;
    report.inside = done - report.step;
    report.steps = (int32_t)steps;
    send_note(queue, NOTE_STEP, &report);
}

void wn_queue_step(struct wn_queue *queue, int64_t job, int64_t step, int64_t steps)
{
    double now = wn_seconds();

    if (now - queue->stepped < WN_QUEUE_STEP_SECONDS)
        return;
    queue->stepped = now;
    tell_step(queue, WN_QUEUE_STEP, job, (double)step, steps);
}

void wn_queue_resumed(struct wn_queue *queue, int64_t job, double done, int64_t steps)
{
    tell_step(queue, WN_QUEUE_RESUMED, job, done, steps);
}

void wn_queue_saved(struct wn_queue *queue, int64_t job, double done, int64_t steps)
{
    tell_step(queue, WN_QUEUE_SAVED, job, done, steps);
}

void wn_queue_done(struct wn_queue *queue, int64_t job, wn_status status, double seconds, double tokens)
{
    struct wn_queue_report report;

    memset(&report, 0, sizeof report);
    report.event = WN_QUEUE_DONE;
    report.job = job;
    report.status = status;
    report.seconds = seconds;
    report.tokens = tokens;
    send_note(queue, NOTE_DONE, &report);
}

void wn_queue_finish(struct wn_queue **queue)
{
    struct wn_queue *q = *queue;
    struct wn_queue_report back;

    if (!q)
        return;
    memset(&back, 0, sizeof back);
    back.event = WN_QUEUE_LEFT;
    back.job = q->asked ? receive_answer(q) : -1;
    send_note(q, NOTE_LEAVE, &back);
    if (q->threaded)
        pthread_join(q->thread, NULL);
    wn_par_barrier(q->par);
    if (q->comm != MPI_COMM_NULL)
        MPI_Comm_free(&q->comm);
    if (q->par->rank == 0)
        wn_log(WN_LOG_DEBUG, "queue: %lld answers, %.3g s spent on messages", (long long)q->manager.answers,
               q->manager.busy_seconds);
    wn_free(q->manager.order);
    wn_free(q->manager.returned);
    wn_free(q);
    *queue = NULL;
}

void wn_queue_load_(const struct wn_queue *queue, int64_t *answers, double *busy_seconds)
{
    *answers = queue->manager.answers;
    *busy_seconds = queue->manager.busy_seconds;
}
