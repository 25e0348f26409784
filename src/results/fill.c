/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fill.c: missing values into the fields of a new file, by all ranks.
 *
 * HDF5 would fill a dataset where it is made, on rank 0 alone: minutes for the tens of gigabytes of ten thousand
 * points. A sparse file reads as 0, not as missing, and HDF5 gives the fill value in place of storage that is not there
 * only for datasets that cannot be written in parallel. So rank 0 lays the file out without filling it and asks the
 * file system for all blocks; then each rank fills an equal, contiguous share; then the file gets its name. Nobody ever
 * sees it half filled: a creation that was killed leaves the temporary file, which the next start removes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "fill.h"

enum { BUFFER_BYTES = 4 << 20, PATTERN = 8 }; /* bytes after which every pattern repeats */

/* Smaller shares are not worth a rank's opening and syncing the file. A variable for tests. */
int64_t wn_fill_least_ = 1 << 20;

void wn_fill_add_(struct wn_h5 *h5, struct wn_fill *fill, hid_t dataset, const struct wn_field *field, int64_t rows)
{
    if (!wn_h5_ok_(h5) || field->bytes * rows == 0 || field->type == WN_FIELD_TEXT) /* a missing text is zeros */
        return;
    haddr_t offset = H5Dget_offset(dataset);
    if (offset == HADDR_UNDEF) {
        wn_h5_check_(h5, -1, field->path);
        return;
    }
    fill->pieces = wn_grow(fill->pieces, fill->count, 1, sizeof *fill->pieces);
    struct wn_fill_piece *piece = &fill->pieces[fill->count++];
    memset(piece, 0, sizeof *piece); /* the padding goes over the wire too */
    *piece = (struct wn_fill_piece){.offset = (int64_t)offset, .bytes = field->bytes * rows, .type = field->type};
}

void wn_fill_release_(struct wn_fill *fill)
{
    wn_free(fill->pieces);
    *fill = (struct wn_fill){0};
}

/* One buffer for all types of a rank: `type` says what it holds. */
struct writer {
    int file;
    int64_t type;
    uint8_t *buffer;
};

static void prepare_buffer(struct writer *writer, int64_t type)
{
    int64_t size = type == WN_FIELD_F32 ? 4 : type == WN_FIELD_F64 ? 8 : 1;
    struct wn_field field = {.type = (enum wn_field_type)type, .elements = BUFFER_BYTES / size, .bytes = BUFFER_BYTES};

    if (writer->type != type)
        wn_field_clear(&field, writer->buffer);
    writer->type = type;
}

/* From byte `from` of a piece, a multiple of the pattern, up to `to`. False with errno. */
static bool fill_piece(struct writer *writer, const struct wn_fill_piece *piece, int64_t from, int64_t to)
{
    if (from < to)
        prepare_buffer(writer, piece->type);
    while (from < to) {
        size_t size = to - from < BUFFER_BYTES ? (size_t)(to - from) : BUFFER_BYTES;
        ssize_t written = pwrite(writer->file, writer->buffer, size, (off_t)(piece->offset + from));
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        from += (size_t)written == size ? written : written - written % PATTERN;
    }
    return true;
}

/* Where the share that begins `share` bytes into all pieces begins in a piece whose bytes begin at `start`. */
static int64_t cut(int64_t share, int64_t start, int64_t bytes)
{
    int64_t place = share - start;

    return place <= 0 ? 0 : place >= bytes ? bytes : place - place % PATTERN;
}

static bool fill_share(struct writer *writer, const struct wn_fill *fill, int64_t first, int64_t last)
{
    int64_t start = 0;

    for (int64_t i = 0; i < fill->count; i++) {
        const struct wn_fill_piece *piece = &fill->pieces[i];
        if (!fill_piece(writer, piece, cut(first, start, piece->bytes), cut(last, start, piece->bytes)))
            return false;
        start += piece->bytes;
    }
    return fdatasync(writer->file) == 0;
}

/* Opens the file that rank 0 has laid out; only ranks with a share do. */
static wn_status fill_file(const char *path, const char *temporary, const struct wn_fill *fill, int64_t first,
                           int64_t last)
{
    struct writer writer = {.file = open(temporary, O_WRONLY | O_CLOEXEC), .type = -1};

    if (writer.file < 0)
        return wn_fail(WN_ERR_IO, "%s: %s, made by rank 0, cannot be opened: %s", path, temporary, strerror(errno));
    writer.buffer = wn_alloc(BUFFER_BYTES, 1);
    bool good = fill_share(&writer, fill, first, last);
    int error = errno;
    wn_free(writer.buffer);
    close(writer.file);
    return good ? WN_OK : wn_fail(WN_ERR_IO, "%s: cannot be written: %s", path, strerror(error));
}

wn_status wn_fill_(struct wn_par *par, const char *path, struct wn_fill *fill)
{
    int rank = wn_par_rank(par), ranks = wn_par_size(par);
    int64_t total = 0;
    wn_status status = WN_OK;

    wn_par_broadcast(par, &fill->count, sizeof fill->count, 0);
    if (rank != 0)
        fill->pieces = wn_alloc(fill->count, sizeof *fill->pieces);
    wn_par_broadcast(par, fill->pieces, fill->count * (int64_t)sizeof *fill->pieces, 0);
    for (int64_t i = 0; i < fill->count; i++)
        total += fill->pieces[i].bytes;
    int64_t share = (total + ranks - 1) / ranks;
    share = share > wn_fill_least_ ? share : wn_fill_least_;
    if (rank * share < total) {
        char *temporary = wn_temporary_path_(path);
        status = fill_file(path, temporary, fill, rank * share, (rank + 1) * share);
        wn_free(temporary);
    }
    return wn_par_agree(par, status);
}
