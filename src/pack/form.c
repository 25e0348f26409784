/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a packed linear: places of its arrays, the header, and the look at bytes from outside. */
#include "form.h"

#include <winnow/io.h>

static const char MAGIC[8] = {'w', 'i', 'n', 'n', 'o', 'w', '.', 'p'};

/* ---- places ---- */

/* The next array, of `count` bytes; NULL when it has none. */
static uint8_t *take(uint8_t *base, int64_t *used, int64_t count)
{
    uint8_t *part = base && count ? base + *used : NULL;

    *used += (count + 7) / 8 * 8;
    return part;
}

static void lay_out_numbers(const struct wn_packed *packed, uint8_t *base, int64_t *used, struct wn_packed_numbers *n)
{
    const int64_t row = n->kind == WN_PACKED_CODES || n->kind == WN_PACKED_SECOND
                            ? pack_code_bytes(packed->n_groups, n->bits)
                            : packed->n_groups * pack_number_bytes(n->kind);
    const int64_t runs = (packed->rows + packed->run_rows - 1) / packed->run_rows;
    const int64_t second = n->kind == WN_PACKED_SECOND ? runs * packed->n_groups * (int64_t)sizeof(float) : 0;

    n->data = take(base, used, packed->grid_rows * row);
    n->second_scales = take(base, used, second);
    n->second_zeros = take(base, used, second);
}

void pack_lay_out(struct wn_packed *packed, uint8_t *base, int64_t value_bytes)
{
    const bool by_rows = packed->set == WN_PACKED_ROWS, outliers = packed->n_outliers > 0;
    const int64_t starts = (packed->rows + 1) * (int64_t)sizeof(uint32_t);
    int64_t used = WN_PACKED_HEADER;

    packed->mask = take(base, &used, packed->set == WN_PACKED_ALL ? 0 : packed->rows * pack_mask_bytes(packed));
    packed->start = take(base, &used, by_rows ? starts : 0);
    if (!by_rows)
        value_bytes = packed->rows * pack_row_bytes(packed, pack_even_count(packed));
    packed->values = take(base, &used, value_bytes);
    if (packed->bits) {
        lay_out_numbers(packed, base, &used, &packed->scales);
        lay_out_numbers(packed, base, &used, &packed->zeros);
        packed->groups = take(base, &used, packed->columns * packed->group_bytes);
    }
    packed->outlier_start = take(base, &used, outliers ? starts : 0);
    packed->outlier_columns = take(base, &used, packed->n_outliers * pack_column_bytes(packed));
    packed->outlier_values = take(base, &used, packed->n_outliers * pack_number_bytes(packed->outlier_kind));
    packed->input_scale = take(base, &used, packed->columns * pack_number_bytes(packed->input_kind));
    packed->bytes = base;
    packed->size = used + WN_PACKED_TRAILER;
}

/* ---- the header ---- */

enum { AT_VERSION = 8, AT_SIZE = 16, AT_CONSTANT = 96, AT_SMALL = 112, N_SMALL = 10 };

/* Whole numbers from AT_SIZE on, in their order. */
#define WHOLE_NUMBERS(X)                                                                                               \
    X(size)                                                                                                            \
    X(rows)                                                                                                            \
    X(columns)                                                                                                         \
    X(reserved)                                                                                                        \
    X(run)                                                                                                             \
    X(kept)                                                                                                            \
    X(group)                                                                                                           \
    X(n_groups)                                                                                                        \
    X(run_rows)                                                                                                        \
    X(n_outliers)

struct whole_numbers {
#define X(name) int64_t name;
    WHOLE_NUMBERS(X)
#undef X
};

void pack_write_header(const struct wn_packed *p, uint8_t *bytes)
{
    const uint32_t version = WN_PACKED_VERSION;
    const struct whole_numbers numbers = {.size = p->size,
                                          .rows = p->rows,
                                          .columns = p->columns,
                                          .run = p->run,
                                          .kept = p->kept,
                                          .group = p->group,
                                          .n_groups = p->n_groups,
                                          .run_rows = p->run_rows,
                                          .n_outliers = p->n_outliers};
    const uint8_t small[N_SMALL] = {(uint8_t)p->set,         (uint8_t)p->kind,        (uint8_t)p->bits,
                                    (uint8_t)p->group_bytes, (uint8_t)p->scales.kind, (uint8_t)p->scales.bits,
                                    (uint8_t)p->zeros.kind,  (uint8_t)p->zeros.bits,  (uint8_t)p->outlier_kind,
                                    (uint8_t)p->input_kind};

    memset(bytes, 0, WN_PACKED_HEADER);
    memcpy(bytes, MAGIC, sizeof MAGIC);
    memcpy(bytes + AT_VERSION, &version, sizeof version);
    memcpy(bytes + AT_SIZE, &numbers, sizeof numbers);
    memcpy(bytes + AT_CONSTANT, &p->zeros.constant, sizeof p->zeros.constant);
    memcpy(bytes + AT_SMALL, small, sizeof small);
}

static void read_header(const uint8_t *bytes, struct wn_packed *p)
{
    struct whole_numbers numbers;
    const uint8_t *small = bytes + AT_SMALL;

    memcpy(&numbers, bytes + AT_SIZE, sizeof numbers);
    *p = (struct wn_packed){.size = numbers.size,
                            .rows = numbers.rows,
                            .columns = numbers.columns,
                            .run = numbers.run,
                            .kept = numbers.kept,
                            .group = numbers.group,
                            .n_groups = numbers.n_groups,
                            .grid_rows = numbers.group ? numbers.rows : 1,
                            .run_rows = numbers.run_rows,
                            .n_outliers = numbers.n_outliers,
                            .set = (enum wn_packed_set)small[0],
                            .kind = (enum wn_packed_kind)small[1],
                            .bits = small[2],
                            .group_bytes = small[3],
                            .scales = {.kind = (enum wn_packed_kind)small[4], .bits = small[5]},
                            .zeros = {.kind = (enum wn_packed_kind)small[6], .bits = small[7]},
                            .outlier_kind = (enum wn_packed_kind)small[8],
                            .input_kind = (enum wn_packed_kind)small[9]};
    memcpy(&p->zeros.constant, bytes + AT_CONSTANT, sizeof p->zeros.constant);
}

/* ---- the look at what may be anything ---- */

static bool is_number(enum wn_packed_kind kind)
{
    return pack_number_bytes(kind) > 0;
}

static bool is_code_width(int bits)
{
    return bits >= 1 && bits <= 8;
}

/* What a grid has one of. */
static bool numbers_are_known(const struct wn_packed_numbers *n, bool zeros)
{
    if (n->kind == WN_PACKED_SECOND)
        return is_code_width(n->bits);
    if (zeros && n->kind == WN_PACKED_CODES)
        return is_code_width(n->bits);
    return is_number(n->kind) || (zeros && n->kind == WN_PACKED_CONSTANT);
}

static bool grids_are_known(const struct wn_packed *p)
{
    if (!p->bits)
        return p->kind != WN_PACKED_CODES && p->group_bytes == 0 && p->n_outliers == 0 &&
               p->input_kind == WN_PACKED_NONE;
    if (p->group < 0 || p->group > p->columns) /* before it is added to anything */
        return false;
    const int64_t n_groups = p->group > 0 ? (p->columns + p->group - 1) / p->group : 1;
    return p->kind == WN_PACKED_CODES && is_code_width(p->bits) && p->n_groups == n_groups &&
           numbers_are_known(&p->scales, false) && numbers_are_known(&p->zeros, true) &&
           (p->group_bytes == 0 || p->group_bytes == 2 || p->group_bytes == 4) &&
           (p->input_kind == WN_PACKED_NONE || is_number(p->input_kind));
}

static bool header_is_sound(const struct wn_packed *p)
{
    if (p->rows < 1 || p->columns < 1 || p->rows > PACK_MOST_SIDE || p->columns > PACK_MOST_SIDE ||
        p->rows * p->columns > PACK_MOST_WEIGHTS)
        return false;
    if (p->run_rows < 1 || p->run_rows > PACK_MOST_SIDE || p->n_outliers < 0 || p->n_outliers > p->rows * p->columns ||
        p->set >= WN_PACKED_SETS)
        return false;
    if (p->set == WN_PACKED_RUNS &&
        (p->run < 1 || p->run > p->columns || p->columns % p->run || p->kept < 0 || p->kept > p->run))
        return false;
    if (p->kind != WN_PACKED_NONE && p->kind != WN_PACKED_CODES && !is_number(p->kind))
        return false;
    if (p->n_outliers > 0 && !is_number(p->outlier_kind))
        return false;
    return grids_are_known(p);
}

/* Bits of a mask that are set; -1 when one is behind the last column. */
static int64_t count_stored(const struct wn_packed *p, int64_t row)
{
    const uint8_t *mask = p->mask + row * pack_mask_bytes(p);
    int64_t stored = 0;

    for (int64_t i = 0; i < p->columns / 8; i++)
        stored += __builtin_popcount(mask[i]);
    if (p->columns % 8) {
        const unsigned last = mask[p->columns / 8];
        if (last >> p->columns % 8)
            return -1;
        stored += __builtin_popcount(last);
    }
    return stored;
}

/* The values of a row are as many as its mask says. */
static bool masks_are_sound(const struct wn_packed *p)
{
    if (p->set == WN_PACKED_ALL)
        return true;
    if (p->set == WN_PACKED_ROWS && pack_u32(p->start, 0) != 0)
        return false;
    for (int64_t row = 0; row < p->rows; row++) {
        const int64_t stored = count_stored(p, row);
        if (stored < 0)
            return false;
        if (p->set == WN_PACKED_RUNS && stored != pack_even_count(p))
            return false;
        if (p->set == WN_PACKED_ROWS &&
            (int64_t)pack_u32(p->start, row + 1) - (int64_t)pack_u32(p->start, row) != pack_row_bytes(p, stored))
            return false;
    }
    return true; /* the last start is how many bytes of values there are */
}

static bool groups_are_sound(const struct wn_packed *p)
{
    for (int64_t j = 0; p->group_bytes && j < p->columns; j++) {
        uint32_t group = 0;
        memcpy(&group, p->groups + j * p->group_bytes, (size_t)p->group_bytes);
        if (group >= p->n_groups)
            return false;
    }
    return true;
}

static bool outliers_are_sound(const struct wn_packed *p)
{
    if (p->n_outliers == 0)
        return true;
    if (pack_u32(p->outlier_start, 0) != 0 || pack_u32(p->outlier_start, p->rows) != p->n_outliers)
        return false;
    for (int64_t row = 0; row < p->rows; row++)
        if (pack_u32(p->outlier_start, row) > pack_u32(p->outlier_start, row + 1))
            return false;
    for (int64_t i = 0; i < p->n_outliers; i++)
        if (pack_outlier_column(p, i) >= p->columns)
            return false;
    return true;
}

static bool hash_fits(const uint8_t *bytes, int64_t size)
{
    uint8_t digest[WN_PACKED_TRAILER];
    struct wn_hash *hash = wn_hash_create();

    wn_hash_update(hash, bytes, (size_t)(size - WN_PACKED_TRAILER));
    wn_hash_finish(hash, digest);
    return !memcmp(digest, bytes + size - WN_PACKED_TRAILER, sizeof digest);
}

/* Bytes of all values, which only the last start tells when rows differ; -1 when it is not inside. */
static int64_t find_value_bytes(const struct wn_packed *p, const uint8_t *bytes, int64_t size)
{
    const int64_t mask = (p->rows * pack_mask_bytes(p) + 7) / 8 * 8;
    const int64_t last = WN_PACKED_HEADER + mask + p->rows * (int64_t)sizeof(uint32_t);

    if (p->set != WN_PACKED_ROWS)
        return 0;
    return last <= size - (int64_t)sizeof(uint32_t) ? (int64_t)pack_u32(bytes + last, 0) : -1;
}

/* All of it but the checksum and the arrays. */
wn_status wn_packed_view(const char *name, const void *bytes, int64_t size, struct wn_packed *packed)
{
    struct wn_packed p;
    uint32_t version;

    *packed = (struct wn_packed){0};
    if (size < WN_PACKED_HEADER + WN_PACKED_TRAILER || memcmp(bytes, MAGIC, sizeof MAGIC) != 0)
        return wn_fail(WN_ERR_INPUT, "%s: this is no packed linear", name);
    memcpy(&version, (const uint8_t *)bytes + AT_VERSION, sizeof version);
    if (version != WN_PACKED_VERSION)
        return wn_fail(WN_ERR_INPUT, "%s: a packed linear of version %u; this program reads version %d", name, version,
                       WN_PACKED_VERSION);
    read_header(bytes, &p);
    if (p.size != size)
        return wn_fail(WN_ERR_INPUT, "%s: the packed linear has %lld bytes, its header says %lld", name,
                       (long long)size, (long long)p.size);
    const int64_t value_bytes = header_is_sound(&p) ? find_value_bytes(&p, bytes, size) : -1;
    if (value_bytes >= 0)
        pack_lay_out(&p, NULL, value_bytes);
    if (value_bytes < 0 || p.size != size)
        return wn_fail(WN_ERR_INPUT, "%s: the header of the packed linear contradicts itself", name);
    pack_lay_out(&p, (uint8_t *)(uintptr_t)bytes, value_bytes);
    *packed = p;
    return WN_OK;
}

static wn_status check_open(const char *name, const struct wn_packed *p)
{
    if (!hash_fits(p->bytes, p->size))
        return wn_fail(WN_ERR_INPUT, "%s: the packed linear is not what was written: its SHA-256 differs", name);
    if (!masks_are_sound(p) || !groups_are_sound(p) || !outliers_are_sound(p))
        return wn_fail(WN_ERR_INPUT, "%s: the arrays of the packed linear contradict each other", name);
    return WN_OK;
}

wn_status wn_packed_open(const char *name, const void *bytes, int64_t size, struct wn_packed *packed)
{
    WN_TRY(wn_packed_view(name, bytes, size, packed));
    wn_status status = check_open(name, packed);
    if (status != WN_OK)
        *packed = (struct wn_packed){0};
    return status;
}

void wn_packed_release(struct wn_packed *packed)
{
    wn_free(packed->owned);
    *packed = (struct wn_packed){0};
}
