/* SPDX-License-Identifier: Apache-2.0 */
/* gzip: whole files unpacked in memory (zlib underneath). */
#include <winnow/io.h>

#include <limits.h>
#include <string.h>
#include <zlib.h>

enum { FIRST_ROOM = 1 << 20 };

struct unpacker {
    const char *path;
    z_stream stream;
    const uint8_t *at, *end; /* packed bytes that zlib has not seen */
    uint8_t *out;            /* owned */
    int64_t count, room;
};

static uInt piece_of(int64_t bytes)
{
    return bytes < INT_MAX ? (uInt)bytes : (uInt)INT_MAX;
}

/* Gives zlib the next bytes and room, and takes note of what it did with them. */
static int inflate_more(struct unpacker *u)
{
    if (u->count == u->room) {
        u->room = u->room ? 2 * u->room : FIRST_ROOM;
        u->out = wn_resize(u->out, u->room, 1);
    }
    uInt in = piece_of(u->end - u->at), room = piece_of(u->room - u->count);
    u->stream.next_in = (z_const Bytef *)u->at;
    u->stream.avail_in = in;
    u->stream.next_out = u->out + u->count;
    u->stream.avail_out = room;
    int result = inflate(&u->stream, Z_NO_FLUSH);
    u->at += in - u->stream.avail_in;
    u->count += room - u->stream.avail_out;
    return result;
}

/* One member; a file may have several, one behind the other. */
static wn_status unpack_member(struct unpacker *u)
{
    int result = Z_OK;

    while (result == Z_OK)
        result = inflate_more(u);
    if (result == Z_STREAM_END)
        return WN_OK;
    if (result == Z_MEM_ERROR)
        return wn_fail(WN_ERR_MEMORY, "%s: not enough memory to unpack it", u->path);
    if (u->at == u->end)
        return wn_fail(WN_ERR_INPUT, "%s: the gzip file is cut off", u->path);
    return wn_fail(WN_ERR_INPUT, "%s: the gzip file is damaged: %s", u->path,
                   u->stream.msg ? u->stream.msg : "unknown reason");
}

bool wn_is_gzip(const uint8_t *data, int64_t size)
{
    return size >= 2 && data[0] == 0x1f && data[1] == 0x8b;
}

wn_status wn_gunzip(const char *path, const uint8_t *data, int64_t size, uint8_t **out, int64_t *out_size)
{
    struct unpacker u = {.path = path, .at = data, .end = data + size};
    wn_status status = WN_OK;

    *out = NULL;
    *out_size = 0;
    if (inflateInit2(&u.stream, 16 + MAX_WBITS) != Z_OK) /* 16: with the header of gzip */
        return wn_fail(WN_ERR_MEMORY, "%s: not enough memory to unpack it", path);
    while (status == WN_OK && wn_is_gzip(u.at, u.end - u.at)) {
        inflateReset(&u.stream);
        status = unpack_member(&u);
    }
    inflateEnd(&u.stream);
    while (u.at < u.end && *u.at == 0) /* padding of tapes */
        u.at++;
    if (status == WN_OK && u.at < u.end)
        status =
            wn_fail(WN_ERR_INPUT, "%s: %lld bytes behind the end of the gzip data", path, (long long)(u.end - u.at));
    if (status != WN_OK) {
        wn_free(u.out);
        return status;
    }
    *out = u.out;
    *out_size = u.count;
    return WN_OK;
}
