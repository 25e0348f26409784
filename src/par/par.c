/* SPDX-License-Identifier: Apache-2.0 */
/* Start and end of a parallel run, who is where, and the few collective calls, all of which wait by sleeping. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "par_internal.h"

/* Pieces of a broadcast: MPI 3 counts are int. */
#define BROADCAST_PIECE ((int64_t)1 << 30)

enum { MESSAGE_BYTES = 2048 };

static void abort_all(void)
{
    wn_par_abort(70); /* EX_SOFTWARE */
}

/* ---- waiting ---- */

/*
 * MPI_Wait spins and takes a core from the ranks that compute. A first round
 * of tests without a pause keeps short waits short, then the pauses grow from 20 us to 1 ms.
 */
void wn_par_wait_(MPI_Request *request)
{
    useconds_t pause = 20;
    int done = 0;

    for (int i = 0; i < 64 && !done; i++)
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    while (!done) {
        usleep(pause);
        pause = pause < 500 ? 2 * pause : 1000;
        MPI_Test(request, &done, MPI_STATUS_IGNORE);
    }
}

void wn_par_barrier_on_(MPI_Comm comm)
{
    MPI_Request request;

    MPI_Ibarrier(comm, &request);
    wn_par_wait_(&request);
}

void wn_par_broadcast_on_(MPI_Comm comm, void *data, int64_t bytes, int root)
{
    for (int64_t first = 0; first < bytes; first += BROADCAST_PIECE) {
        int64_t piece = bytes - first < BROADCAST_PIECE ? bytes - first : BROADCAST_PIECE;
        MPI_Request request;
        MPI_Ibcast((char *)data + first, (int)piece, MPI_BYTE, root, comm, &request);
        wn_par_wait_(&request);
    }
}

/* ---- start and end ---- */

/* The communicator of the ranks that share memory, cut into groups of WINNOW_RANKS_PER_NODE where that is set. */
static void split_node(struct wn_par *par)
{
    const char *text = getenv("WINNOW_RANKS_PER_NODE");
    int most = text ? atoi(text) : 0;

    MPI_Comm_split_type(par->world, MPI_COMM_TYPE_SHARED, par->rank, MPI_INFO_NULL, &par->node_comm);
    if (most > 0) {
        MPI_Comm whole = par->node_comm;
        int rank;
        MPI_Comm_rank(whole, &rank);
        MPI_Comm_split(whole, rank / most, rank, &par->node_comm);
        MPI_Comm_free(&whole);
    }
    MPI_Comm_rank(par->node_comm, &par->node_rank);
    MPI_Comm_size(par->node_comm, &par->node_size);
}

/* Nodes are numbered in the order of the world ranks of their leaders; every rank learns the node of every other. */
static void number_nodes(struct wn_par *par)
{
    MPI_Comm_split(par->world, par->node_rank == 0 ? 0 : MPI_UNDEFINED, par->rank, &par->leaders);
    int place[2] = {0, 0};
    if (par->node_rank == 0) {
        MPI_Comm_rank(par->leaders, &place[0]);
        MPI_Comm_size(par->leaders, &place[1]);
    }
    wn_par_broadcast_on_(par->node_comm, place, sizeof place, 0);
    par->node = place[0];
    par->nodes = place[1];
    par->node_of = wn_alloc_zero(par->size, sizeof *par->node_of);
    MPI_Allgather(&par->node, 1, MPI_INT, par->node_of, 1, MPI_INT, par->world);
}

/* Whether somebody launches ranks; a rank that is started alone puts the same names into its environment itself. */
static bool is_launched(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMIX_RANK", "PMI_RANK"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            return true;
    return false;
}

wn_status wn_par_start(int *argc, char ***argv, struct wn_par **par)
{
    bool launched = is_launched();
    int granted;

    *par = NULL;
    if (MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &granted) != MPI_SUCCESS)
        return wn_fail(WN_ERR_UNSUPPORTED, "MPI_Init_thread failed");
    if (granted < MPI_THREAD_MULTIPLE) {
        MPI_Finalize();
        return wn_fail(WN_ERR_UNSUPPORTED,
                       "%s was built without MPI_THREAD_MULTIPLE, which the manager thread on rank 0 needs",
                       wn_par_library());
    }
    struct wn_par *p = wn_alloc_zero(1, sizeof *p);
    p->mpi = true;
    p->launched = launched;
    MPI_Comm_dup(MPI_COMM_WORLD, &p->world);
    MPI_Comm_rank(p->world, &p->rank);
    MPI_Comm_size(p->world, &p->size);
    gethostname(p->host, sizeof p->host - 1);
    split_node(p);
    number_nodes(p);
    wn_set_abort(abort_all);
    *par = p;
    return WN_OK;
}

wn_status wn_par_check_launch(const struct wn_par *par)
{
    const char *tasks = getenv("SLURM_NTASKS"), *process = getenv("SLURM_PROCID");

    if (par->launched || par->size > 1 || !tasks || !process || atoi(tasks) <= 1)
        return WN_OK;
    return wn_fail(WN_ERR_UNSUPPORTED,
                   "SLURM_NTASKS is %s, but MPI has one rank: srun and this %s do not find each other. Give srun "
                   "--mpi=pmix (srun --mpi=list tells what there is), or start with mpirun",
                   tasks, wn_par_library());
}

void wn_par_start_serial(struct wn_par **par)
{
    struct wn_par *p = wn_alloc_zero(1, sizeof *p);

    p->world = p->node_comm = p->leaders = MPI_COMM_NULL;
    p->size = p->nodes = p->node_size = 1;
    p->node_of = wn_alloc_zero(1, sizeof *p->node_of);
    gethostname(p->host, sizeof p->host - 1);
    *par = p;
}

void wn_par_finish(struct wn_par **par)
{
    struct wn_par *p = *par;

    if (!p)
        return;
    if (p->mpi) {
        wn_par_barrier(p); /* MPI_Finalize spins while it waits for the last rank */
        wn_heartbeat_leave_(p);
        if (p->leaders != MPI_COMM_NULL)
            MPI_Comm_free(&p->leaders);
        MPI_Comm_free(&p->node_comm);
        MPI_Comm_free(&p->world);
        wn_set_abort(NULL);
        MPI_Finalize();
        wn_heartbeat_end_(p);
    }
    wn_free(p->node_of);
    wn_free(p);
    *par = NULL;
}

void wn_par_abort(int code)
{
    int started = 0, ended = 0;

    MPI_Initialized(&started);
    MPI_Finalized(&ended);
    fflush(NULL);
    if (started && !ended)
        MPI_Abort(MPI_COMM_WORLD, code);
    _exit(code);
}

/* ---- who is where ---- */

int wn_par_rank(const struct wn_par *par)
{
    return par->rank;
}

int wn_par_size(const struct wn_par *par)
{
    return par->size;
}

int wn_par_node(const struct wn_par *par)
{
    return par->node;
}

int wn_par_nodes(const struct wn_par *par)
{
    return par->nodes;
}

int wn_par_node_of(const struct wn_par *par, int rank)
{
    return par->node_of[rank];
}

int wn_par_node_rank(const struct wn_par *par)
{
    return par->node_rank;
}

int wn_par_node_size(const struct wn_par *par)
{
    return par->node_size;
}

const char *wn_par_host(const struct wn_par *par)
{
    return par->host;
}

/* Open MPI's own text goes on after a comma ("Open MPI v4.1.4, package: ..."): cut there. */
const char *wn_par_library(void)
{
    static char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length;

    if (text[0])
        return text;
    MPI_Get_library_version(text, &length);
    text[strcspn(text, ",\n")] = '\0';
    char *v = strstr(text, " v");
    if (v && v[2] >= '0' && v[2] <= '9')
        memmove(v + 1, v + 2, strlen(v + 2) + 1);
    return text;
}

/* ---- collective calls ---- */

char (*wn_par_hosts(struct wn_par *par))[WN_HOST_TEXT]
{
    char mine[WN_HOST_TEXT] = "", (*hosts)[WN_HOST_TEXT] = NULL;
    MPI_Request request;

    snprintf(mine, sizeof mine, "%.*s", WN_HOST_TEXT - 1, par->host);
    if (par->rank == 0)
        hosts = wn_alloc_zero(par->size, sizeof *hosts);
    if (hosts && par->size == 1) {
        memcpy(hosts, mine, sizeof mine);
        return hosts;
    }
    MPI_Igather(mine, WN_HOST_TEXT, MPI_CHAR, hosts, WN_HOST_TEXT, MPI_CHAR, 0, par->world, &request);
    wn_par_wait_(&request);
    return hosts;
}

void wn_par_barrier(struct wn_par *par)
{
    if (par->mpi)
        wn_par_barrier_on_(par->world);
}

void wn_par_broadcast(struct wn_par *par, void *data, int64_t bytes, int root)
{
    if (par->mpi)
        wn_par_broadcast_on_(par->world, data, bytes, root);
}

void wn_par_node_gather(struct wn_par *par, const void *mine, int64_t bytes, void *all)
{
    MPI_Request request;

    if (!par->mpi) {
        memcpy(all, mine, (size_t)bytes);
        return;
    }
    if (bytes > INT32_MAX)
        WN_BUG("%lld bytes of each rank are gathered", (long long)bytes);
    MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, par->node_comm, &request);
    wn_par_wait_(&request);
}

int64_t wn_par_max(struct wn_par *par, int64_t value)
{
    MPI_Request request;
    int64_t most = value;

    if (!par->mpi)
        return value;
    MPI_Iallreduce(&value, &most, 1, MPI_INT64_T, MPI_MAX, par->world, &request);
    wn_par_wait_(&request);
    return most;
}

double wn_par_sum(struct wn_par *par, double value)
{
    MPI_Request request;
    double sum = value;

    if (!par->mpi)
        return value;
    MPI_Iallreduce(&value, &sum, 1, MPI_DOUBLE, MPI_SUM, par->world, &request);
    wn_par_wait_(&request);
    return sum;
}

wn_status wn_par_agree(struct wn_par *par, wn_status status)
{
    struct {
        int32_t status;
        char message[MESSAGE_BYTES];
    } news = {0};

    /* The lowest failing rank as the largest of (size - rank), 0: nobody failed. */
    int64_t failing = wn_par_max(par, status == WN_OK ? 0 : par->size - par->rank);
    if (failing == 0)
        return WN_OK;
    int root = (int)(par->size - failing);
    if (par->rank == root) {
        news.status = (int32_t)status;
        snprintf(news.message, sizeof news.message, "%s", wn_error_message());
    }
    wn_par_broadcast(par, &news, sizeof news, root);
    return wn_fail((wn_status)news.status, "%s", news.message);
}
