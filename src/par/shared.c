/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory shared by the ranks of a node: a mapped scratch file that is unlinked as soon as all have it open.
 *
 * Not MPI_Win_allocate_shared: that lives in /dev/shm, 64 MB in many containers, and cannot be paged out
 *.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "par_internal.h"

const char *wn_par_shared_folder(const char *directory)
{
    const char *temporary = getenv("TMPDIR");

    if (directory)
        return directory;
    return temporary && *temporary ? temporary : P_tmpdir;
}

/* Node rank 0: the file with all its blocks, so that a write into the mapping cannot meet a full disk (SIGBUS). */
static wn_status create_scratch(const char *directory, char *path, size_t path_size, int64_t bytes, int *file)
{
    const char *folder = wn_par_shared_folder(directory);

    if (strlen(folder) + sizeof "/winnow-shared-XXXXXX" > path_size)
        return wn_fail(WN_ERR_INPUT, "%s: the path of the scratch folder is too long", folder);
    strcpy(path, folder);
    strcat(path, "/winnow-shared-XXXXXX");
    *file = mkstemp(path);
    if (*file < 0) {
        path[0] = '\0';
        return wn_fail(WN_ERR_IO, "%s: no scratch file can be made: %s", folder, strerror(errno));
    }
    int error = posix_fallocate(*file, 0, (off_t)(bytes > 0 ? bytes : 1));
    if (error)
        return wn_fail(WN_ERR_IO, "%s: no room for %lld bytes of scratch: %s", folder, (long long)bytes,
                       strerror(error));
    return WN_OK;
}

static wn_status open_scratch(const char *path, int *file)
{
    *file = open(path, O_RDWR | O_CLOEXEC);
    if (*file < 0)
        return wn_fail(WN_ERR_IO, "%s: cannot be opened: %s", path, strerror(errno));
    return WN_OK;
}

static wn_status map_scratch(const char *path, int file, int64_t bytes, struct wn_shared *shared)
{
    void *data = mmap(NULL, (size_t)(bytes > 0 ? bytes : 1), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);

    if (data == MAP_FAILED)
        return wn_fail(WN_ERR_MEMORY, "%s: %lld bytes cannot be mapped: %s", path, (long long)bytes, strerror(errno));
    *shared = (struct wn_shared){.data = data, .bytes = bytes};
    return WN_OK;
}

wn_status wn_par_shared_create(struct wn_par *par, const char *directory, int64_t bytes, struct wn_shared *shared)
{
    char path[4096] = "";
    int file = -1;
    wn_status status = WN_OK;

    *shared = (struct wn_shared){0};
    if (par->node_rank == 0)
        status = create_scratch(directory, path, sizeof path, bytes, &file);
    status = wn_par_agree(par, status);
    if (status == WN_OK) {
        if (par->mpi)
            wn_par_broadcast_on_(par->node_comm, path, sizeof path, 0);
        if (par->node_rank != 0)
            status = open_scratch(path, &file);
        if (status == WN_OK)
            status = map_scratch(path, file, bytes, shared);
        status = wn_par_agree(par, status);
    }
    if (par->node_rank == 0 && path[0])
        unlink(path);
    if (file >= 0)
        close(file);
    if (status != WN_OK)
        wn_par_shared_release(shared);
    return status;
}

void wn_par_shared_release(struct wn_shared *shared)
{
    if (shared->data)
        munmap(shared->data, (size_t)(shared->bytes > 0 ? shared->bytes : 1));
    *shared = (struct wn_shared){0};
}

/* The ranks of a node write into one mapping, so only the leaders talk: each piece is sent once to every other node. */
void wn_par_shared_exchange(struct wn_par *par, struct wn_shared *shared, int64_t pieces, const int64_t *offset,
                            const int *owner)
{
    if (!par->mpi)
        return;
    wn_par_barrier_on_(par->node_comm);
    if (par->leaders != MPI_COMM_NULL && par->nodes > 1)
        for (int64_t i = 0; i < pieces; i++)
            wn_par_broadcast_on_(par->leaders, (char *)shared->data + offset[i], offset[i + 1] - offset[i],
                                 par->node_of[owner[i]]);
    wn_par_barrier_on_(par->node_comm);
}

/* ---- a sum that travels ---- */

enum { CHAIN_PIECE = 16 << 20, CACHE_LINE = 64 };

/* My share of [first, end): whole cache lines. */
static void add_share(const struct wn_par *par, int64_t first, int64_t end, wn_par_adder *add, void *context)
{
    int64_t lines = (end - first + CACHE_LINE - 1) / CACHE_LINE;
    int64_t from = first + lines * par->node_rank / par->node_size * CACHE_LINE;
    int64_t to = first + lines * (par->node_rank + 1) / par->node_size * CACHE_LINE;
    to = to < end ? to : end;
    if (from < to)
        add(context, from, to);
}

/* Where my node stands in the chain; -1: nowhere. */
static int64_t find_step(const struct wn_par *par, int64_t steps, const int *node)
{
    for (int64_t s = 0; s < steps; s++)
        if (node[s] == par->node)
            return s;
    return -1;
}

void wn_par_shared_chain(struct wn_par *par, struct wn_shared *shared, int64_t first, int64_t end, int64_t steps,
                         const int *node, wn_par_adder *add, void *context)
{
    int64_t step = find_step(par, steps, node), count = 0;
    if (!par->mpi) {
        add(context, first, end);
        return;
    }
    if (step < 0)
        return;
    bool leads = par->leaders != MPI_COMM_NULL, receives = leads && step > 0, sends = leads && step + 1 < steps;
    int64_t piece = steps > 1 ? CHAIN_PIECE : end - first;
    MPI_Request *sent = wn_alloc((end - first) / CHAIN_PIECE + 1, sizeof *sent);
    for (int64_t at = first; at < end; at += piece) {
        int64_t bytes = end - at < piece ? end - at : piece;
        MPI_Request request;
        if (receives) {
            MPI_Irecv((char *)shared->data + at, (int)bytes, MPI_BYTE, node[step - 1], 0, par->leaders, &request);
            wn_par_wait_(&request);
        }
        wn_par_barrier_on_(par->node_comm);
        add_share(par, at, at + bytes, add, context);
        wn_par_barrier_on_(par->node_comm);
        if (sends)
            MPI_Isend((char *)shared->data + at, (int)bytes, MPI_BYTE, node[step + 1], 0, par->leaders, &sent[count++]);
    }
    for (int64_t i = 0; i < count; i++)
        wn_par_wait_(&sent[i]);
    wn_free(sent);
}
