/* packed.c: a packed linear as a source of rows that knows how to add up few rows. */
#include "strips.h"

#include <string.h>

struct wn_packed_linear {
    struct wn_packed packed; /* borrows what the caller has */
    struct wn_row_source source;
    struct strips strips;
    strips_kernel *kernel; /* NULL: rows are unpacked */
    const char *name;
};

static strips_kernel *kernel_of(enum wn_isa isa)
{
#ifdef __x86_64__
    if (isa == WN_ISA_AVX512)
        return strips_avx512;
    if (isa == WN_ISA_AVX2)
        return strips_avx2;
#endif
    (void)isa;
    return NULL;
}

/* Columns that a kernel takes at a time, which share a grid; 0: the form has no kernel. */
static int64_t run_of(const struct wn_packed *p)
{
    if (p->set != WN_PACKED_ALL || p->n_outliers || p->group_bytes || p->input_kind != WN_PACKED_NONE)
        return 0;
    if (p->kind == WN_PACKED_BF16)
        return STRIP;
    if (p->kind != WN_PACKED_CODES)
        return 0;
    return p->bits == 3 ? 32 : p->bits == 2 || p->bits == 4 || p->bits == 8 ? STRIP : 0;
}

static bool fits(const struct wn_packed *p)
{
    const int64_t run = run_of(p);
    return run && p->columns % run == 0 && (p->n_groups < 2 || p->group % run == 0);
}

/* Rows that fill no strip are unpacked, so they have no grids here. */
static void take_grids(const struct wn_packed *p, struct strips *s)
{
    const int64_t rows = p->rows / STRIP * STRIP;
    const bool constant = p->zeros.kind == WN_PACKED_CONSTANT;
    float *scales = wn_alloc(p->n_groups, sizeof *scales), *zeros = wn_alloc(p->n_groups, sizeof *zeros);
    s->group = p->n_groups < 2 ? p->columns : p->group;
    s->n_groups = p->n_groups;
    s->zero = p->zeros.constant;
    s->scales = wn_alloc(rows * p->n_groups, sizeof *s->scales);
    s->zeros = constant ? NULL : wn_alloc(rows * p->n_groups, sizeof *s->zeros);
    for (int64_t row = 0; row < rows; row++) {
        wn_packed_grids(p, p->grid_rows > 1 ? row : 0, scales, zeros);
        for (int64_t g = 0; g < p->n_groups; g++) {
            const int64_t at = (row / STRIP * p->n_groups + g) * STRIP + row % STRIP;
            s->scales[at] = scales[g];
            if (!constant)
                s->zeros[at] = zeros[g];
        }
    }
    wn_free(scales);
    wn_free(zeros);
}

static void take(const void *context, int64_t first, int64_t end, float *out)
{
    const struct wn_packed_linear *linear = context;
    wn_packed_rows(&linear->packed, first, end, out);
}

static void add_up(const void *context, int64_t first, int64_t count, const float *x, int64_t rows, float *sums)
{
    const struct wn_packed_linear *linear = context;
    linear->kernel(&linear->strips, first / STRIP, count, x, rows, sums);
}

struct wn_packed_linear *wn_packed_linear_create(const struct wn_packed *packed)
{
    struct wn_packed_linear *linear = wn_alloc_zero(1, sizeof *linear);
    const enum wn_isa isa = wn_isa();
    linear->packed = *packed;
    linear->packed.owned = NULL;
    linear->source = (struct wn_row_source){.take = take, .context = linear};
    linear->name = "unpacked";
    linear->kernel = fits(packed) ? kernel_of(isa) : NULL;
    if (!linear->kernel)
        return linear;
    struct strips *s = &linear->strips;
    const bool codes = packed->bits > 0;
    s->values = packed->values;
    s->in = packed->columns;
    s->bits = codes ? packed->bits : 16;
    s->row_bytes = packed->columns * s->bits / 8;
    s->group = packed->columns;
    if (codes)
        take_grids(packed, s);
    linear->source.strip = add_up;
    linear->name = codes                  ? isa == WN_ISA_AVX512 ? "codes avx512" : "codes avx2"
                   : isa == WN_ISA_AVX512 ? "bf16 avx512"
                                          : "bf16 avx2";
    return linear;
}

void wn_packed_linear_destroy(struct wn_packed_linear **linear)
{
    if (!*linear)
        return;
    wn_free((*linear)->strips.scales);
    wn_free((*linear)->strips.zeros);
    wn_free(*linear);
    *linear = NULL;
}

const struct wn_row_source *wn_packed_linear_source(const struct wn_packed_linear *linear)
{
    return &linear->source;
}

void wn_packed_linear_apply(const struct wn_packed_linear *linear, const float *x, int64_t rows, const float *bias,
                            float *y, int64_t stride)
{
    wn_linear_few_rows_from(x, rows, linear->packed.columns, &linear->source, linear->packed.rows, bias, y, stride);
}

static int64_t grid_bytes(const struct wn_packed_linear *linear)
{
    const struct strips *s = &linear->strips;
    const int64_t grids = linear->packed.rows / STRIP * STRIP * s->n_groups * (int64_t)sizeof(float);
    return (s->scales ? grids : 0) + (s->zeros ? grids : 0);
}

/* What is unpacked reads all of the form but its header and trailer. */
int64_t wn_packed_linear_bytes(const struct wn_packed_linear *linear, int64_t rows)
{
    const struct strips *s = &linear->strips;
    const int64_t whole = (rows + 31) / 32, last = rows % 32;
    const int64_t form = linear->packed.size - WN_PACKED_HEADER - WN_PACKED_TRAILER;
    if (!linear->kernel)
        return whole * form;
    const bool by_strips = last > 0 && last <= WN_FEW_NARROW;
    return (whole - by_strips) * form + by_strips * (linear->packed.rows * s->row_bytes + grid_bytes(linear));
}

int64_t wn_packed_linear_own_bytes(const struct wn_packed_linear *linear)
{
    return (int64_t)sizeof *linear + grid_bytes(linear);
}

int64_t wn_packed_linear_own_bytes_of(int64_t grids)
{
    return (int64_t)sizeof(struct wn_packed_linear) + 2 * grids * (int64_t)sizeof(float);
}

const char *wn_packed_linear_kernel(const struct wn_packed_linear *linear)
{
    return linear->name;
}
