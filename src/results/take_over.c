/* SPDX-License-Identifier: Apache-2.0 */
/*
 * take_over.c: rows of older files into a new one, before it gets its name.
 *
 * The old file's list of fields says where each of them lies (contiguous, which was checked), so rows are read by
 * pread, run by run, and written by pwrite, a block of rows of one field at a time. Every rank has a range of rows. A
 * row is hashed over all result fields of the old file and compared with its checksum; what goes into the new file gets
 * a checksum of its own, since its fields may be others. The starts that computed the rows come along.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include <winnow/io.h>

#include "fill.h"

enum { BLOCK_BYTES = 32 << 20, MOST_ROWS = 4096 };
/* Smaller shares are not worth a rank's opening of all files. */
static const int64_t SHARE_BYTES = 64 << 20;

void wn_take_over_init(struct wn_take_over *take, int64_t n_sources, int64_t points, int n_parts, int n_fields)
{
    *take = (struct wn_take_over){.n_sources = n_sources, .points = points, .n_parts = n_parts, .n_fields = n_fields};
    take->sources = wn_alloc_zero(n_sources, sizeof *take->sources);
    take->part = wn_alloc_zero(n_fields, sizeof *take->part);
    take->row = wn_alloc(n_sources * points, sizeof *take->row);
    take->source = wn_alloc(points * n_parts, sizeof *take->source);
    take->start = wn_alloc(points * n_parts, sizeof *take->start);
    take->status = wn_alloc_zero(points, sizeof *take->status);
    take->attempt = wn_alloc_zero(points, sizeof *take->attempt);
    for (int64_t i = 0; i < n_sources * points; i++)
        take->row[i] = -1;
    for (int64_t i = 0; i < points * n_parts; i++) {
        take->source[i] = -1;
        take->start[i] = -1;
    }
}

void wn_take_over_release(struct wn_take_over *take)
{
    for (int64_t s = 0; s < take->n_sources; s++)
        wn_free(take->sources[s]);
    wn_free(take->sources);
    wn_free(take->part);
    wn_free(take->row);
    wn_free(take->source);
    wn_free(take->start);
    wn_free(take->status);
    wn_free(take->attempt);
    wn_free(take->logs);
    wn_free(take->hint);
    *take = (struct wn_take_over){0};
}

/* All ranks get what rank 0 has decided. Collective. */
static void share_decision(struct wn_par *par, struct wn_take_over *take)
{
    int64_t sizes[4] = {take->n_sources, take->points, take->n_parts, take->n_fields};

    wn_par_broadcast(par, sizes, sizeof sizes, 0);
    if (wn_par_rank(par) != 0)
        wn_take_over_init(take, sizes[0], sizes[1], (int)sizes[2], (int)sizes[3]);
    wn_par_broadcast(par, &take->marks, sizeof take->marks, 0);
    for (int64_t s = 0; s < take->n_sources; s++) {
        int64_t length = take->sources[s] ? (int64_t)strlen(take->sources[s]) + 1 : 0;
        wn_par_broadcast(par, &length, sizeof length, 0);
        if (!take->sources[s])
            take->sources[s] = wn_alloc(length, 1);
        wn_par_broadcast(par, take->sources[s], length, 0);
    }
    int64_t parts = take->points * take->n_parts;
    wn_par_broadcast(par, take->part, take->n_fields * (int64_t)sizeof *take->part, 0);
    wn_par_broadcast(par, take->row, take->n_sources * take->points * (int64_t)sizeof *take->row, 0);
    wn_par_broadcast(par, take->source, parts * (int64_t)sizeof *take->source, 0);
    wn_par_broadcast(par, take->start, parts * (int64_t)sizeof *take->start, 0);
    wn_par_broadcast(par, take->status, take->points, 0);
    wn_par_broadcast(par, take->attempt, take->points * (int64_t)sizeof *take->attempt, 0);
}

/* ---- the new file ---- */

enum state { STATE_STATUS, STATE_CHECKSUM, STATE_ATTEMPT, STATE_START, N_STATES };

static const struct {
    const char *path;
    int bytes;
} states[N_STATES] = {[STATE_STATUS] = {WN_STATUS_PATH, 1},
                      [STATE_CHECKSUM] = {WN_CHECKSUM_PATH, 8},
                      [STATE_ATTEMPT] = {WN_ATTEMPT_PATH, 4},
                      [STATE_START] = {WN_START_PATH, 4}};

struct target {
    const char *path; /* for messages */
    const struct wn_schema *schema;
    int file;
    int64_t *places; /* [fields] bytes in front of the dataset */
    int64_t state_places[N_STATES];
};

static int64_t place_of(struct wn_h5 *h5, const char *path)
{
    hid_t dataset = wn_h5_ok_(h5) ? wn_h5_check_(h5, H5Dopen2(h5->file, path, H5P_DEFAULT), path) : -1;
    haddr_t place = dataset >= 0 ? H5Dget_offset(dataset) : HADDR_UNDEF;

    if (dataset >= 0)
        H5Dclose(dataset);
    return place == HADDR_UNDEF ? -1 : (int64_t)place;
}

/* Rank 0: a field without bytes has no place. */
static wn_status find_places(struct target *target, const char *temporary)
{
    struct wn_h5 h5;

    wn_h5_open_(&h5, temporary, H5F_ACC_RDONLY);
    for (int f = 0; f < target->schema->n_fields; f++)
        target->places[f] = place_of(&h5, target->schema->fields[f].path);
    for (int s = 0; s < N_STATES; s++)
        target->state_places[s] = place_of(&h5, states[s].path);
    wn_h5_close_(&h5);
    return wn_h5_ok_(&h5) ? WN_OK : wn_fail(WN_ERR_IO, "%s: cannot be read: %s", target->path, h5.reason);
}

static wn_status write_at(const struct target *target, int64_t place, const void *data, int64_t bytes)
{
    if (!wn_write_at(target->file, data, bytes, place))
        return wn_fail(WN_ERR_IO, "%s: cannot be written: %s", target->path, strerror(errno));
    return WN_OK;
}

/* ---- an old file ---- */

struct old_field {
    struct wn_field_line line;
    bool result;
    int64_t place;
    int target;                           /* field of the new file; -1: none of that path, type and number of axes */
    int64_t sizes[WN_MAX_FIELD_DIMS + 1]; /* of the target */
};

struct old {
    const char *path;
    int file;
    int n_fields;
    struct old_field *fields; /* owned */
    int64_t checksum_place;
};

/* The same axes; the sizes of the new field are noted. */
static int find_target(const struct wn_schema *schema, struct old_field *old)
{
    int f = wn_schema_find(schema, old->line.path), n = 0;

    if (f < 0 || schema->fields[f].type != old->line.type)
        return -1;
    const struct wn_field *field = &schema->fields[f];
    for (int d = 0; d < field->n_dims; d++)
        old->sizes[n++] = schema->dims[field->dims[d]].size;
    if (field->type == WN_FIELD_TEXT)
        old->sizes[n++] = field->text_bytes;
    return n == old->line.n_sizes ? f : -1;
}

static void open_field(struct wn_h5 *h5, const struct wn_schema *schema, const struct wn_field_line *line,
                       int64_t points, struct old *old)
{
    bool result = !strcmp(line->kind, "result");
    struct wn_h5_data data;

    if (!result && strcmp(line->kind, "run"))
        return;
    wn_field_line_open_(h5, line, points, &data);
    haddr_t place = wn_h5_ok_(h5) && line->bytes * points > 0 ? H5Dget_offset(data.id) : 0;
    wn_h5_data_close_(&data);
    old->fields = wn_resize(old->fields, old->n_fields + 1, sizeof *old->fields);
    struct old_field *field = &old->fields[old->n_fields++];
    *field = (struct old_field){.line = *line, .result = result, .place = (int64_t)place};
    field->target = find_target(schema, field);
}

static wn_status open_old(const char *path, const struct wn_schema *schema, struct old *old)
{
    struct wn_h5 h5;
    struct wn_field_line line;
    struct wn_h5_data data;
    int64_t points = 0;

    *old = (struct old){.path = path, .file = -1};
    WN_TRY(wn_results_open_serial_(path, R_OK, &h5));
    char *document = wn_h5_get_document_(&h5, "fields");
    wn_fields_check_(&h5, document, &points);
    const char *at = wn_h5_ok_(&h5) ? strchr(document, '\n') + 1 : "";
    while (wn_h5_ok_(&h5) && wn_field_line_next_(&at, &line))
        open_field(&h5, schema, &line, points, old);
    wn_h5_data_open_(&h5, WN_CHECKSUM_PATH, &data);
    if (wn_h5_ok_(&h5) && points > 0)
        old->checksum_place = (int64_t)H5Dget_offset(data.id);
    wn_h5_data_close_(&data);
    wn_free(document);
    wn_h5_close_(&h5);
    if (!wn_h5_ok_(&h5))
        return wn_fail(WN_ERR_INPUT, "%s: %s", path, h5.reason);
    old->file = open(path, O_RDONLY | O_CLOEXEC);
    return old->file >= 0 ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
}

static void close_old(struct old *old)
{
    if (old->file >= 0)
        close(old->file);
    wn_free(old->fields);
}

static wn_status read_at(const struct old *old, int64_t place, void *data, int64_t bytes)
{
    while (bytes > 0) {
        ssize_t taken = pread(old->file, data, (size_t)bytes, (off_t)place);
        if (taken < 0 && errno == EINTR)
            continue;
        if (taken <= 0)
            return wn_fail(WN_ERR_IO, "%s: cannot be read: %s", old->path, taken ? strerror(errno) : "it is cut off");
        data = (char *)data + taken;
        place += taken;
        bytes -= taken;
    }
    return WN_OK;
}

/* ---- copying ---- */

/* A range of rows of the new file in memory. */
struct block {
    int64_t first, count;
    uint8_t **data; /* [fields][count rows] */
    bool *damaged;  /* [count] */
};

struct copying {
    const struct wn_take_over *take;
    struct target target;
    struct old *olds; /* [sources] */
};

/* A row of a source that goes into the block. */
struct wanted_row {
    int64_t place, row; /* in the block, in the source */
    struct wn_hash *hash;
};

static void clear_row(const struct copying *copying, struct block *block, int64_t place)
{
    const struct wn_schema *schema = copying->target.schema;

    for (int f = 0; f < schema->n_fields; f++)
        wn_field_clear(&schema->fields[f], block->data[f] + place * schema->fields[f].bytes);
}

/* What both shapes [n] have, from the first element on; `unit`: bytes of an element. */
static void copy_common(const int64_t *from, const int64_t *to, int n, int64_t unit, const uint8_t *in, uint8_t *out)
{
    int64_t in_step = unit, out_step = unit, common = n ? (from[0] < to[0] ? from[0] : to[0]) : 1;

    for (int d = 1; d < n; d++) {
        in_step *= from[d];
        out_step *= to[d];
    }
    if (n <= 1)
        memcpy(out, in, (size_t)(common * unit));
    for (int64_t i = 0; n > 1 && i < common; i++)
        copy_common(from + 1, to + 1, n - 1, unit, in + i * in_step, out + i * out_step);
}

static void take_value(const struct copying *copying, int64_t source, const struct old_field *field,
                       struct block *block, int64_t place, const uint8_t *value)
{
    const struct wn_take_over *take = copying->take;
    int f = field->target;

    if (f < 0 || f == take->marks || field->line.elements == 0 ||
        take->source[(block->first + place) * take->n_parts + take->part[f]] != source)
        return;
    copy_common(field->line.size, field->sizes, field->line.n_sizes, field->line.bytes / field->line.elements, value,
                block->data[f] + place * copying->target.schema->fields[f].bytes);
}

/* Rows of a source that follow each other are read at once. */
static wn_status take_field(const struct copying *copying, int64_t source, const struct old_field *field,
                            struct block *block, struct wanted_row *rows, int64_t n_rows, uint8_t *buffer)
{
    const struct old *old = &copying->olds[source];
    int64_t bytes = field->line.bytes;

    for (int64_t i = 0, next; i < n_rows; i = next) {
        for (next = i + 1; next < n_rows && rows[next].row == rows[next - 1].row + 1;)
            next++;
        WN_TRY(read_at(old, field->place + rows[i].row * bytes, buffer, (next - i) * bytes));
        for (int64_t k = i; k < next; k++) {
            const uint8_t *value = buffer + (k - i) * bytes;
            if (field->result)
                wn_hash_update(rows[k].hash, value, (size_t)bytes);
            take_value(copying, source, field, block, rows[k].place, value);
        }
    }
    return WN_OK;
}

static wn_status compare_row(const struct copying *copying, int64_t source, struct block *block, struct wanted_row *row)
{
    const struct old *old = &copying->olds[source];
    uint64_t stored = 0, computed = wn_hash_u64_(row->hash);

    row->hash = NULL;
    WN_TRY(read_at(old, old->checksum_place + row->row * 8, &stored, sizeof stored));
    if (stored == computed)
        return WN_OK;
    wn_log(WN_LOG_WARNING, "%s: point %lld does not match its checksum; it is not taken over, but computed again",
           old->path, (long long)row->row);
    block->damaged[row->place] = true;
    return WN_OK;
}

/* The rows of the block that have anything from a source; their number. */
static int64_t list_rows(const struct wn_take_over *take, int64_t source, const struct block *block,
                         struct wanted_row *rows)
{
    int64_t n = 0;

    for (int64_t i = 0; i < block->count; i++) {
        int64_t row = take->row[source * take->points + block->first + i];
        if (row >= 0)
            rows[n++] = (struct wanted_row){.place = i, .row = row};
    }
    return n;
}

static wn_status take_source(const struct copying *copying, int64_t source, struct block *block)
{
    const struct old *old = &copying->olds[source];
    struct wanted_row *rows = wn_alloc(block->count, sizeof *rows);
    int64_t n_rows = list_rows(copying->take, source, block, rows), most = 0;
    wn_status status = WN_OK;

    for (int f = 0; f < old->n_fields; f++)
        most = old->fields[f].line.bytes > most ? old->fields[f].line.bytes : most;
    uint8_t *buffer = wn_alloc(n_rows * most, 1);
    for (int64_t i = 0; i < n_rows; i++)
        rows[i].hash = wn_hash_create();
    for (int f = 0; f < old->n_fields && status == WN_OK; f++)
        status = take_field(copying, source, &old->fields[f], block, rows, n_rows, buffer);
    for (int64_t i = 0; i < n_rows && status == WN_OK; i++)
        status = compare_row(copying, source, block, &rows[i]);
    for (int64_t i = 0; i < n_rows; i++)
        if (rows[i].hash)
            wn_hash_u64_(rows[i].hash); /* frees it */
    wn_free(buffer);
    wn_free(rows);
    return status;
}

/* Whether a row has anything from any source; its marks. */
static bool mark_row(const struct copying *copying, struct block *block, int64_t place)
{
    const struct wn_take_over *take = copying->take;
    int64_t at = (block->first + place) * take->n_parts;
    int32_t *marks =
        (int32_t *)(void *)(block->data[take->marks] + place * copying->target.schema->fields[take->marks].bytes);

    for (int part = 1; part < take->n_parts; part++)
        marks[part - 1] = take->source[at + part] >= 0 ? take->start[at + part] : -1;
    return take->source[at] >= 0;
}

static uint64_t row_checksum(const struct wn_schema *schema, const struct block *block, int64_t place)
{
    struct wn_hash *hash = wn_hash_create();

    for (int f = 0; f < schema->n_fields; f++)
        if (schema->fields[f].result)
            wn_hash_update(hash, block->data[f] + place * schema->fields[f].bytes, (size_t)schema->fields[f].bytes);
    return wn_hash_u64_(hash);
}

/* The states of the rows, and the whole block into the file. */
static wn_status put_block(const struct copying *copying, struct block *block)
{
    const struct wn_take_over *take = copying->take;
    const struct target *target = &copying->target;
    uint8_t *status = wn_alloc_zero(block->count, 1);
    uint64_t *checksum = wn_alloc_zero(block->count, sizeof *checksum);
    int32_t *attempt = wn_alloc_zero(block->count, sizeof *attempt), *start = wn_alloc(block->count, sizeof *start);
    const void *columns[N_STATES] = {
        [STATE_STATUS] = status, [STATE_CHECKSUM] = checksum, [STATE_ATTEMPT] = attempt, [STATE_START] = start};
    wn_status written = WN_OK;

    for (int64_t i = 0; i < block->count; i++) {
        int64_t point = block->first + i;
        start[i] = -1;
        attempt[i] = take->attempt[point];
        if (block->damaged[i]) {
            clear_row(copying, block, i);
            attempt[i] = 0;
        } else if (mark_row(copying, block, i)) {
            status[i] = take->status[point];
            start[i] = take->start[point * take->n_parts];
            checksum[i] = row_checksum(target->schema, block, i);
        }
    }
    for (int f = 0; f < target->schema->n_fields && written == WN_OK; f++) {
        int64_t bytes = target->schema->fields[f].bytes;
        written = write_at(target, target->places[f] + block->first * bytes, block->data[f], block->count * bytes);
    }
    for (int s = 0; s < N_STATES && written == WN_OK; s++)
        written = write_at(target, target->state_places[s] + block->first * states[s].bytes, columns[s],
                           block->count * states[s].bytes);
    wn_free(status);
    wn_free(checksum);
    wn_free(attempt);
    wn_free(start);
    return written;
}

static wn_status copy_block(const struct copying *copying, struct block *block)
{
    for (int64_t i = 0; i < block->count; i++) {
        block->damaged[i] = false;
        clear_row(copying, block, i);
    }
    for (int64_t s = 0; s < copying->take->n_sources; s++)
        WN_TRY(take_source(copying, s, block));
    return put_block(copying, block);
}

static wn_status copy_rows(const struct copying *copying, int64_t first, int64_t end, int64_t most)
{
    const struct wn_schema *schema = copying->target.schema;
    struct block block = {.first = first};
    wn_status status = WN_OK;

    block.data = wn_alloc(schema->n_fields, sizeof *block.data);
    block.damaged = wn_alloc(most, sizeof *block.damaged);
    for (int f = 0; f < schema->n_fields; f++)
        block.data[f] = wn_alloc(most * schema->fields[f].bytes, 1);
    for (; block.first < end && status == WN_OK; block.first += block.count) {
        block.count = end - block.first < most ? end - block.first : most;
        status = copy_block(copying, &block);
    }
    for (int f = 0; f < schema->n_fields; f++)
        wn_free(block.data[f]);
    wn_free(block.data);
    wn_free(block.damaged);
    return status;
}

/* ---- all of it ---- */

static wn_status open_copying(struct copying *copying, const char *temporary)
{
    struct target *target = &copying->target;

    target->file = open(temporary, O_WRONLY | O_CLOEXEC);
    if (target->file < 0)
        return wn_fail(WN_ERR_IO, "%s: %s, made by rank 0, cannot be opened: %s", target->path, temporary,
                       strerror(errno));
    for (int64_t s = 0; s < copying->take->n_sources; s++)
        WN_TRY(open_old(copying->take->sources[s], target->schema, &copying->olds[s]));
    return WN_OK;
}

/* The rows of this rank: an equal share of all, of no fewer bytes than are worth it. */
static wn_status copy_share(struct wn_par *par, struct copying *copying, const char *temporary)
{
    int64_t rows = copying->take->points, bytes = wn_schema_bytes(copying->target.schema) + 17;
    int64_t share = (rows + wn_par_size(par) - 1) / wn_par_size(par), least = (SHARE_BYTES + bytes - 1) / bytes;
    int64_t most = BLOCK_BYTES / bytes < MOST_ROWS ? BLOCK_BYTES / bytes : MOST_ROWS;

    share = share > least ? share : least;
    int64_t first = wn_par_rank(par) * share, end = first + share < rows ? first + share : rows;
    if (first >= end)
        return WN_OK;
    copying->target.file = -1;
    copying->olds = wn_alloc_zero(copying->take->n_sources, sizeof *copying->olds);
    for (int64_t s = 0; s < copying->take->n_sources; s++)
        copying->olds[s].file = -1;
    wn_status status = open_copying(copying, temporary);
    if (status == WN_OK)
        status = copy_rows(copying, first, end, most > 0 ? most : 1);
    if (status == WN_OK && fdatasync(copying->target.file) != 0)
        status = wn_fail(WN_ERR_IO, "%s: cannot be written to the disk: %s", copying->target.path, strerror(errno));
    if (copying->target.file >= 0)
        close(copying->target.file);
    for (int64_t s = 0; s < copying->take->n_sources; s++)
        close_old(&copying->olds[s]);
    wn_free(copying->olds);
    return status;
}

wn_status wn_take_over_(struct wn_par *par, const char *path, const struct wn_results_plan *plan,
                        struct wn_take_over *take)
{
    int64_t n_sources = take->n_sources;

    wn_par_broadcast(par, &n_sources, sizeof n_sources, 0);
    if (n_sources == 0)
        return WN_OK;
    char *temporary = wn_temporary_path_(path);
    int n_fields = plan->schema->n_fields;
    struct copying copying = {.take = take, .target = {.path = path, .schema = plan->schema, .file = -1}};
    struct target *target = &copying.target;
    target->places = wn_alloc_zero(n_fields, sizeof *target->places);
    wn_status status = WN_OK;
    if (wn_par_rank(par) == 0) {
        status = wn_take_starts_(take, path, temporary);
        status = status == WN_OK ? find_places(target, temporary) : status;
        status = status == WN_OK ? wn_take_over_logs_(path, temporary, plan, take) : status;
    }
    status = wn_par_agree(par, status);
    if (status == WN_OK) {
        share_decision(par, take);
        wn_par_broadcast(par, target->places, n_fields * (int64_t)sizeof *target->places, 0);
        wn_par_broadcast(par, target->state_places, sizeof target->state_places, 0);
        status = wn_par_agree(par, copy_share(par, &copying, temporary));
    }
    wn_free(target->places);
    wn_free(temporary);
    return status;
}
