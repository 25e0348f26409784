/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranks, agreement, shared memory. Run with 1, 2 and 4 ranks, with 4 ranks and WINNOW_RANKS_PER_NODE=2, and without
 * mpirun.
 */
#include <winnow/par.h>

#include "test.h"

static void check_places(struct wn_par *par)
{
    CHECK(wn_par_rank(par) >= 0 && wn_par_rank(par) < wn_par_size(par));
    CHECK(wn_par_node(par) >= 0 && wn_par_node(par) < wn_par_nodes(par));
    CHECK(wn_par_node_rank(par) >= 0 && wn_par_node_rank(par) < wn_par_node_size(par));
    CHECK(wn_par_sum(par, 1.0 / wn_par_node_size(par)) == wn_par_nodes(par));
    CHECK(strlen(wn_par_host(par)) > 0);
    CHECK(!strncmp(wn_par_library(), "Open MPI ", 9) || strlen(wn_par_library()) > 0);
    CHECK(!strchr(wn_par_library(), ','));
    const char *split = getenv("WINNOW_RANKS_PER_NODE");
    if (split)
        CHECK(wn_par_node_size(par) <= atoi(split) && wn_par_nodes(par) * atoi(split) >= wn_par_size(par));
}

static void check_collectives(struct wn_par *par)
{
    int rank = wn_par_rank(par), size = wn_par_size(par);
    int64_t count = 300000, *data = wn_alloc_zero(count, sizeof *data);

    wn_par_barrier(par);
    CHECK(wn_par_max(par, 10 * rank) == 10 * (size - 1));
    CHECK(wn_par_sum(par, rank) == size * (size - 1) / 2);
    for (int64_t i = 0; i < count; i++)
        data[i] = rank == size - 1 ? i * i : -1;
    wn_par_broadcast(par, data, count * (int64_t)sizeof *data, size - 1);
    int64_t wrong = 0;
    for (int64_t i = 0; i < count; i++)
        wrong += data[i] != i * i;
    CHECK(wrong == 0);
    wn_free(data);
}

static void check_agree(struct wn_par *par)
{
    int rank = wn_par_rank(par), size = wn_par_size(par), first = size / 2;

    CHECK(wn_par_agree(par, WN_OK) == WN_OK);
    wn_status mine = rank >= first ? wn_fail(WN_ERR_NUMERIC, "rank %d has a NaN", rank) : WN_OK;
    CHECK(wn_par_agree(par, mine) == WN_ERR_NUMERIC);
    char *expected = wn_format("rank %d has a NaN", first);
    CHECK_TEXT(wn_error_message(), expected);
    wn_free(expected);
}

/* Every rank writes every size-th piece; afterwards all ranks of all nodes see all of them. */
static void check_shared(struct wn_par *par)
{
    enum { PIECES = 13 };
    int64_t offset[PIECES + 1];
    int owner[PIECES];
    struct wn_shared shared;

    offset[0] = 0;
    for (int i = 0; i < PIECES; i++) {
        owner[i] = (i * 7) % wn_par_size(par);
        offset[i + 1] = offset[i] + 1000 * i; /* the first piece is empty */
    }
    CHECK_OK(wn_par_shared_create(par, NULL, offset[PIECES], &shared));
    uint8_t *bytes = shared.data;
    int64_t wrong = 0;
    for (int64_t k = 0; k < offset[PIECES]; k++)
        wrong += bytes[k] != 0;
    CHECK(wrong == 0);
    wn_par_barrier(par);
    for (int i = 0; i < PIECES; i++)
        if (owner[i] == wn_par_rank(par))
            memset(bytes + offset[i], i + 1, (size_t)(offset[i + 1] - offset[i]));
    wn_par_shared_exchange(par, &shared, PIECES, offset, owner);
    for (int i = 0; i < PIECES; i++)
        for (int64_t k = offset[i]; k < offset[i + 1]; k++)
            wrong += bytes[k] != i + 1;
    CHECK(wrong == 0);
    wn_par_shared_release(&shared);
    CHECK(shared.data == NULL);
}

/* The ranks of a node see one memory, and no file is left in the folder while it is mapped. */
static void check_one_copy(struct wn_par *par)
{
    char folder[] = P_tmpdir "/test_par_XXXXXX";
    struct wn_shared shared;

    if (wn_par_rank(par) == 0)
        CHECK(mkdtemp(folder) != NULL);
    wn_par_broadcast(par, folder, sizeof folder, 0);
    CHECK_OK(wn_par_shared_create(par, folder, 4096, &shared));
    if (wn_par_node_rank(par) == 0)
        *(int *)shared.data = 1000 + wn_par_node(par);
    wn_par_barrier(par);
    CHECK(*(int *)shared.data == 1000 + wn_par_node(par));
    if (wn_par_rank(par) == 0)
        CHECK(rmdir(folder) == 0); /* empty */
    wn_par_barrier(par);
    wn_par_shared_release(&shared);
}

static void check_shared_mistakes(struct wn_par *par)
{
    struct wn_shared shared;

    CHECK(wn_par_shared_create(par, "/nonexistent/folder", 100, &shared) == WN_ERR_IO);
    CHECK_MESSAGE("/nonexistent/folder: no scratch file can be made: No such file or directory");
    CHECK(shared.data == NULL);
    CHECK(wn_par_shared_create(par, NULL, (int64_t)1 << 50, &shared) == WN_ERR_IO);
    CHECK_MESSAGE("no room for 1125899906842624 bytes");
    CHECK_OK(wn_par_shared_create(par, NULL, 0, &shared));
    wn_par_shared_release(&shared);
}

static void check_all(struct wn_par *par)
{
    check_places(par);
    check_collectives(par);
    check_agree(par);
    check_shared(par);
    check_one_copy(par);
    check_shared_mistakes(par);
}

int main(int argc, char **argv)
{
    struct wn_par *par;

    wn_par_start_serial(&par);
    CHECK(wn_par_size(par) == 1 && wn_par_nodes(par) == 1);
    check_all(par);
    wn_par_finish(&par);
    CHECK_OK(wn_par_start(&argc, &argv, &par));
    CHECK(wn_par_size(par) == test_ranks_asked());
    check_all(par);
    wn_par_finish(&par);
    CHECK(par == NULL);
    return test_finish();
}
