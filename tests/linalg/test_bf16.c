/* SPDX-License-Identifier: Apache-2.0 */
/* Linear maps in bf16: against plain loops over rounded numbers, with equal bits on 1 to 4 threads and by runs. */
#include <winnow/linalg.h>

#include "test.h"

static float *random_floats(int64_t count, uint64_t stream)
{
    float *x = wn_alloc(count, sizeof *x);
    for (int64_t i = 0; i < count; i++)
        x[i] = (float)(2 * wn_random_uniform(7, stream, (uint64_t)i) - 1);
    return x;
}

static float *rounded(const float *x, int64_t count)
{
    float *y = wn_alloc(count, sizeof *y);
    wn_round_to_bf16(x, count, y);
    return y;
}

static float from_bits(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static void test_rounding(void)
{
    static const struct {
        uint32_t from, to;
    } cases[] = {
        {0x3f800000, 0x3f800000}, {0x3f807fff, 0x3f800000}, {0x3f808000, 0x3f800000}, /* a tie: to even, down */
        {0x3f808001, 0x3f810000}, {0x3f818000, 0x3f820000},                           /* a tie: to even, up */
        {0xbf808001, 0xbf810000}, {0x7f7fffff, 0x7f800000}, {0x7f800000, 0x7f800000}, {0x80000000, 0x80000000},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        float x = from_bits(cases[i].from), y;
        uint32_t bits;
        wn_round_to_bf16(&x, 1, &y);
        memcpy(&bits, &y, sizeof bits);
        CHECK(bits == cases[i].to);
    }
    float nan = from_bits(0x7fffffff), y;
    wn_round_to_bf16(&nan, 1, &y);
    CHECK(isnan(y));
}

/* Rows of the weights, copied: so that nothing else can be read. */
struct copied {
    const float *w;
    int64_t in;
};

static void copy_rows(const void *context, int64_t first, int64_t end, float *out)
{
    const struct copied *copied = context;
    memcpy(out, copied->w + first * copied->in, (size_t)((end - first) * copied->in) * sizeof *out);
}

struct example {
    int64_t rows, in, out;
    float *x, *w, *bias, *expected, *y;
};

static void make_example(struct example *e, int64_t rows, int64_t in, int64_t out)
{
    *e = (struct example){.rows = rows, .in = in, .out = out, .x = random_floats(rows * in, 1)};
    e->w = random_floats(out * in, 2);
    e->bias = random_floats(out, 3);
    e->expected = wn_alloc(rows * out, sizeof(float));
    e->y = wn_alloc(rows * out, sizeof(float));
    float *x = rounded(e->x, rows * in), *w = rounded(e->w, out * in);
    wn_linear_ref(x, rows, in, w, out, e->bias, e->expected);
    wn_free(x);
    wn_free(w);
}

static void release_example(struct example *e)
{
    float *parts[] = {e->x, e->w, e->bias, e->expected, e->y};
    for (int i = 0; i < 5; i++)
        wn_free(parts[i]);
}

static double worst_of(const struct example *e)
{
    double worst = 0;
    for (int64_t i = 0; i < e->rows * e->out; i++)
        worst = fmax(worst, fabs((double)e->y[i] - e->expected[i]));
    return worst;
}

static void run(const struct example *e, bool source, float *y)
{
    const struct copied copied = {e->w, e->in};
    const struct wn_row_source from = {.take = copy_rows, .context = &copied};
    const int64_t row[] = {0, e->rows / 3, e->rows};
    /* Two maps share the inputs; the second is the first rows of the first. */
    const int64_t half = (e->out + 1) / 2;
    float *other = wn_alloc(e->rows * half, sizeof *other);
    const struct wn_linear_map maps[] = {{source ? NULL : e->w, e->bias, e->out, y, e->out, source ? &from : NULL},
                                         {source ? NULL : e->w, e->bias, half, other, half, source ? &from : NULL}};
    wn_linears_by(WN_COMPUTE_BF16, e->x, 2, row, e->in, maps, 2);
    for (int64_t r = 0; r < e->rows; r++)
        for (int64_t c = 0; c < half && half <= WN_TILE_COLUMNS; c++)
            CHECK_NEAR(other[r * half + c], y[r * e->out + c], 1e-6 * (double)e->in);
    wn_free(other);
}

static void check_tiles(int64_t rows, int64_t in, int64_t out)
{
    struct example e;
    make_example(&e, rows, in, out);
    float *again = wn_alloc(rows * out, sizeof *again);
    omp_set_num_threads(1);
    run(&e, false, e.y);
    CHECK_NEAR(worst_of(&e), 0, 1e-6 * (double)in);
    const int64_t row[] = {0, rows};
    const struct wn_linear_map map = {.w = e.w, .bias = e.bias, .out = out, .y = again, .stride = out};
    wn_linears_by(WN_COMPUTE_F32, e.x, 1, row, in, &map, 1);
    CHECK(memcmp(e.y, again, (size_t)(rows * out) * sizeof *again)); /* rounding was there to be seen */
    for (int threads = 1; threads <= 4; threads++)
        for (int source = 0; source < 2; source++) {
            test_set_threads(threads);
            memset(again, 0, (size_t)(rows * out) * sizeof *again);
            run(&e, source, again);
            CHECK(!memcmp(e.y, again, (size_t)(rows * out) * sizeof *again));
        }
    wn_free(again);
    release_example(&e);
}

/* Few rows: every row as if it were alone. */
static void check_few_rows(int64_t rows, int64_t in, int64_t out)
{
    struct example e;
    make_example(&e, rows, in, out);
    const struct copied copied = {e.w, in};
    const struct wn_row_source from = {.take = copy_rows, .context = &copied};
    float *again = wn_alloc(rows * out, sizeof *again);
    omp_set_num_threads(1);
    wn_linear_few_rows_bf16(e.x, rows, in, e.w, NULL, out, e.bias, e.y, out);
    CHECK_NEAR(worst_of(&e), 0, 1e-6 * (double)in);
    for (int threads = 1; threads <= 4; threads++) {
        test_set_threads(threads);
        for (int64_t r = 0; r < rows; r++)
            wn_linear_few_rows_bf16(e.x + r * in, 1, in, r % 2 ? e.w : NULL, r % 2 ? NULL : &from, out, e.bias,
                                    again + r * out, out);
        CHECK(!memcmp(e.y, again, (size_t)(rows * out) * sizeof *again));
    }
    wn_free(again);
    release_example(&e);
}

int main(void)
{
    test_rounding();
    check_few_rows(1, 70, 45);
    check_few_rows(5, 333, 61);
    CHECK_OK(wn_linalg_start());
    if (wn_bf16_start() != WN_OK) {
        CHECK_MESSAGE("\"compute\": \"bf16\"");
        printf("skipped: %s\n", wn_error_message());
        return test_failures ? test_finish() : 77;
    }
    CHECK(strstr(wn_bf16_protocol(), "bf16 by onednn") != NULL);
    CHECK_OK(wn_bf16_start());
    check_tiles(1, 45, 70);
    check_tiles(77, 130, 131);
    check_tiles(700, 65, 1500);
    check_tiles(1100, 576, 300);
    return test_finish();
}
