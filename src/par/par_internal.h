/* SPDX-License-Identifier: Apache-2.0 */
/* par_internal.h: what src/par and src/results share about ranks. The only header that shows MPI. */
#ifndef WINNOW_PAR_INTERNAL_H
#define WINNOW_PAR_INTERNAL_H

#include <mpi.h>

#include <winnow/par.h>

struct wn_par {
    bool mpi;           /* false: one rank, no MPI call is made and the communicators are MPI_COMM_NULL */
    bool launched;      /* by mpirun, srun or the like, also with one rank */
    MPI_Comm world;     /* duplicate of MPI_COMM_WORLD */
    MPI_Comm node_comm; /* the ranks of this node */
    MPI_Comm leaders;   /* node rank 0 of every node, ordered by node; MPI_COMM_NULL elsewhere */
    int rank, size;
    int node, nodes, node_rank, node_size;
    int *node_of; /* [size]: node of each rank */
    char host[256];
    struct wn_heartbeat *heartbeat; /* NULL: nobody watches */
};

/* Waits for a request with MPI_Test and sleeps, so that the core is free for whoever computes. */
void wn_par_wait_(MPI_Request *request);
/* Collective over `comm`; waits without spinning. */
void wn_par_barrier_on_(MPI_Comm comm);
/* Collective over `comm`: any size, in pieces that fit MPI's int counts. */
void wn_par_broadcast_on_(MPI_Comm comm, void *data, int64_t bytes, int root);

/*
 * The end of wn_par_watch, in two steps around MPI_Finalize. leave: collective, after a barrier; nobody is missed any
 * more, but the time goes on. end: not collective. Both do nothing where nobody watches.
 */
void wn_heartbeat_leave_(struct wn_par *par);
void wn_heartbeat_end_(struct wn_par *par);

/* What the manager did, for measurements: questions answered and the seconds spent on messages, sleeps left out. */
void wn_queue_load_(const struct wn_queue *queue, int64_t *answers, double *busy_seconds);

#endif
