/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Linears on codes with grids per group of columns and on inputs that are rounded as they come. Columns are cut into
 * cells, which have one grid and one step of the inputs; the products in a cell are added exactly, and the cells in
 * order, so that an output has the same bits on any instruction set, in any chunk, and alone.
 */
#include "grouped.h"

#include <winnow/linalg.h>
#include <winnow/nn.h>

#include <math.h>
#include <string.h>

#include "token_codes.h"

enum { SERIAL_WORK = 1 << 16 };

struct rule {
    struct wn_activation activation; /* first: a rule is one */
    struct wn_grouped_linear form;   /* without arrays */
    struct grouped g;                /* its arrays are owned */
    struct grouped_cell *cells;
    uint8_t *codes, *zeros;
    float *scales;
};

static int64_t strips_of(int64_t rows)
{
    return (rows + GROUPED_STRIP - 1) / GROUPED_STRIP;
}

/* ---- cells ---- */

/* The end of the run of `run` columns, counted from column 0, that `column` lies in. */
static int64_t end_of(int64_t column, int64_t run)
{
    return (column / run + 1) * run;
}

/* Of the columns of a form; cells may be NULL: they are counted. */
static int64_t cut(const struct wn_grouped_linear *form, struct grouped_cell *cells, int64_t *width)
{
    int64_t count = 0;

    *width = 0;
    for (int64_t first = 0, end; first < form->columns; first = end, count++) {
        end = smaller(smaller(end_of(first, form->group), end_of(first, form->input_group)),
                      smaller(first + GROUPED_CELL, form->columns));
        const int64_t runs = (end - first + GROUPED_RUN - 1) / GROUPED_RUN;
        if (cells)
            cells[count] = (struct grouped_cell){first, end - first, runs, first / form->group};
        *width += runs * GROUPED_RUN;
    }
    return count;
}

static void *zeros_of(int64_t bytes)
{
    return memset(wn_alloc_weights(bytes, 1), 0, (size_t)bytes);
}

/* Sizes, cells, and room for the arrays, all 0: outputs behind the last row have scales 0. */
static struct rule *open_rule(const struct wn_grouped_linear *form)
{
    struct rule *rule = wn_alloc_zero(1, sizeof *rule);
    struct grouped *g = &rule->g;
    const int64_t strips = strips_of(form->rows);

    if (form->bits < 1 || form->bits > 8 || form->input_bits < 2 || form->input_bits > 8)
        WN_BUG("codes of %d bits, inputs of %d", form->bits, form->input_bits);
    rule->form = *form;
    rule->form.codes = NULL;
    rule->form.scales = rule->form.zeros = NULL;
    g->n_cells = cut(form, NULL, &g->width);
    g->cells = rule->cells = wn_alloc(g->n_cells, sizeof *rule->cells);
    cut(form, rule->cells, &g->width);
    g->n_groups = form->n_groups;
    g->wide = form->bits > 4;
    g->strip_bytes = g->width * GROUPED_STRIP / (g->wide ? 1 : 2);
    g->codes = rule->codes = zeros_of(strips * g->strip_bytes);
    g->scales = rule->scales = zeros_of(strips * g->n_groups * GROUPED_STRIP * (int64_t)sizeof(float));
    return rule;
}

static void put_codes(const struct rule *rule, int64_t row, const uint8_t *codes)
{
    const struct grouped *g = &rule->g;
    uint8_t *to = rule->codes + row / GROUPED_STRIP * g->strip_bytes + row % GROUPED_STRIP * 4;

    for (int64_t i = 0; i < g->n_cells; i++)
        for (int64_t run = 0; run < g->cells[i].runs; run++, to += g->wide ? 128 : 64)
            for (int64_t c = 0; c < smaller(g->cells[i].count - run * GROUPED_RUN, GROUPED_RUN); c++) {
                const uint8_t code = codes[g->cells[i].first + run * GROUPED_RUN + c];
                if (g->wide)
                    to[c / 4 * 64 + c % 4] = code;
                else
                    to[c % 4] |= (uint8_t)(code << c / 4 * 4);
            }
}

static bool all_same(const float *numbers, int64_t count)
{
    bool same = true;

    for (int64_t i = 1; i < count; i++)
        same = same && numbers[i] == numbers[0];
    return same;
}

static void take_grids(struct rule *rule, const float *scales, const float *zeros)
{
    struct grouped *g = &rule->g;
    const int64_t rows = rule->form.rows, strips = strips_of(rows);

    g->zero = (int32_t)zeros[0];
    if (!all_same(zeros, rows * g->n_groups))
        g->zeros = rule->zeros = zeros_of(strips * g->n_groups * GROUPED_STRIP);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t i = 0; i < g->n_groups; i++) {
            const int64_t at = (row / GROUPED_STRIP * g->n_groups + i) * GROUPED_STRIP + row % GROUPED_STRIP;
            const float zero = zeros[row * g->n_groups + i];
            if (zero < 0 || zero > UINT8_MAX || zero != rintf(zero))
                WN_BUG("the zero point %g of codes of %d bits", (double)zero, rule->form.bits);
            rule->scales[at] = scales[row * g->n_groups + i];
            if (rule->zeros)
                rule->zeros[at] = (uint8_t)zero;
        }
}

/* ---- inputs ---- */

/* The step of the run of inputs from column `first` on, which may hold several cells. */
static float step_at(const struct wn_grouped_linear *form, const float *x, int64_t first)
{
    const int64_t count = smaller(form->input_group, form->columns - first);
    const float largest = largest_up_to(x + first, count, MAGNITUDE);

    return isfinite(largest) ? token_step(largest / (float)((1 << (form->input_bits - 1)) - 1)) : NAN;
}

static void round_token(const struct rule *rule, const float *x, int8_t *codes, float *steps, int32_t *sums)
{
    const struct grouped *g = &rule->g;
    float step = 0;

    for (int64_t i = 0; i < g->n_cells; i++) {
        const struct grouped_cell *cell = &g->cells[i];
        const int64_t filled = cell->runs * GROUPED_RUN;
        if (cell->first % rule->form.input_group == 0)
            step = step_at(&rule->form, x, cell->first);
        memset(codes, 0, (size_t)filled);
        if (!isnan(step))
            code_token(x + cell->first, cell->count, step, NULL, codes);
        steps[i] = step;
        sums[i] = sum_of_codes(codes, filled);
        codes += filled;
    }
}

static void open_inputs(const struct rule *rule, const float *x, int64_t rows, struct grouped_inputs *inputs)
{
    const struct grouped *g = &rule->g;
    const int64_t in = rule->form.columns;

    *inputs = (struct grouped_inputs){.codes = wn_alloc(rows * g->width, 1),
                                      .steps = wn_alloc(rows * g->n_cells, sizeof(float)),
                                      .sums = wn_alloc(rows * g->n_cells, sizeof(int32_t))};
#pragma omp parallel for schedule(static) if (rows * in > SERIAL_WORK)
    for (int64_t r = 0; r < rows; r++)
        round_token(rule, x + r * in, inputs->codes + r * g->width, inputs->steps + r * g->n_cells,
                    inputs->sums + r * g->n_cells);
}

static void close_inputs(struct grouped_inputs *inputs)
{
    wn_free(inputs->sums);
    wn_free(inputs->steps);
    wn_free(inputs->codes);
}

/* ---- outputs ---- */

static grouped_kernel *find_kernel(void)
{
#ifdef __x86_64__
    static grouped_kernel *const kernels[] = {grouped_plain, grouped_avx2, grouped_vnni};

    return kernels[products_here()];
#else
    return grouped_plain;
#endif
}

const char *wn_grouped_linear_kernel(void)
{
    static const char *const names[] = {"c", "avx2", "vnni"};

    return names[products_here()];
}

/* All tokens of a strip, whose codes stay in the first cache. */
static void run_strip(const struct rule *rule, const struct wn_linear_call *call, const struct grouped_inputs *inputs,
                      grouped_kernel *kernel, int64_t strip)
{
    const int64_t rows = call->offset[call->n_sequences], first = strip * GROUPED_STRIP;
    const int64_t count = smaller(call->out - first, GROUPED_STRIP);
    float sums[GROUPED_ROWS * GROUPED_STRIP];

    for (int64_t row = 0; row < rows; row += GROUPED_ROWS) {
        const int64_t n = smaller(rows - row, GROUPED_ROWS);
        kernel(&rule->g, strip, inputs, row, n, sums);
        for (int64_t r = 0; r < n; r++)
            for (int64_t o = 0; o < count; o++)
                call->y[(row + r) * call->out + first + o] =
                    sums[r * GROUPED_STRIP + o] + (call->bias ? call->bias[first + o] : 0.0f);
    }
}

static void compute(const struct wn_activation *activation, const struct wn_linear_call *call)
{
    const struct rule *rule = (const struct rule *)activation;
    const int64_t rows = call->offset[call->n_sequences], strips = strips_of(call->out);
    grouped_kernel *const kernel = find_kernel();
    struct grouped_inputs inputs;

    if (call->in != rule->form.columns || call->out != rule->form.rows)
        WN_BUG("a linear [%lld, %lld] was given the rule of another one", (long long)call->out, (long long)call->in);
    open_inputs(rule, call->x, rows, &inputs);
#pragma omp parallel for schedule(static) if (rows * call->in * call->out > SERIAL_WORK)
    for (int64_t strip = 0; strip < strips; strip++)
        run_strip(rule, call, &inputs, kernel, strip);
    close_inputs(&inputs);
}

/* ---- the rule ---- */

static void release(struct wn_activation *activation)
{
    struct rule *rule = (struct rule *)activation;

    wn_free(rule->cells);
    wn_free(rule->codes);
    wn_free(rule->zeros);
    wn_free(rule->scales);
    wn_free(rule);
}

struct wn_activation *wn_grouped_linear_create(const struct wn_grouped_linear *form)
{
    struct rule *rule = open_rule(form);

    rule->activation = (struct wn_activation){compute, release};
#pragma omp parallel for schedule(static)
    for (int64_t strip = 0; strip < strips_of(form->rows); strip++)
        for (int64_t row = strip * GROUPED_STRIP; row < smaller((strip + 1) * GROUPED_STRIP, form->rows); row++)
            put_codes(rule, row, form->codes + row * form->columns);
    take_grids(rule, form->scales, form->zeros);
    return &rule->activation;
}

const struct wn_grouped_linear *wn_grouped_linear_form(const struct wn_activation *activation)
{
    return activation->compute == compute ? &((const struct rule *)activation)->form : NULL;
}

/* ---- as bytes ---- */

/* Bytes of the arrays of a rule, as it holds them and as it is written: codes, scales, zero points. */
static void array_bytes(const struct rule *rule, int64_t sizes[3])
{
    const int64_t strips = strips_of(rule->form.rows), grids = strips * rule->g.n_groups * GROUPED_STRIP;

    sizes[0] = strips * rule->g.strip_bytes;
    sizes[1] = grids * (int64_t)sizeof(float);
    sizes[2] = rule->zeros ? grids : 0;
}

int64_t wn_grouped_linear_write(const struct wn_activation *activation, uint8_t *out)
{
    const struct rule *rule = (const struct rule *)activation;
    const void *arrays[] = {rule->codes, rule->scales, rule->zeros};
    const int32_t zero = rule->zeros ? -1 : rule->g.zero;
    const int64_t head = (int64_t)(sizeof rule->form + sizeof zero);
    int64_t sizes[3], bytes = head;

    array_bytes(rule, sizes);
    if (out) {
        memcpy(out, &rule->form, sizeof rule->form);
        memcpy(out + sizeof rule->form, &zero, sizeof zero);
    }
    for (int i = 0; i < 3; bytes += sizes[i++])
        if (out && sizes[i])
            memcpy(out + bytes, arrays[i], (size_t)sizes[i]);
    return bytes;
}

struct wn_activation *wn_grouped_linear_read(const uint8_t **bytes)
{
    struct wn_grouped_linear form;
    int32_t zero;
    int64_t sizes[3];

    memcpy(&form, *bytes, sizeof form);
    memcpy(&zero, *bytes + sizeof form, sizeof zero);
    *bytes += sizeof form + sizeof zero;
    struct rule *rule = open_rule(&form);
    rule->activation = (struct wn_activation){compute, release};
    rule->g.zero = zero;
    if (zero < 0)
        rule->g.zeros = rule->zeros = zeros_of(strips_of(form.rows) * rule->g.n_groups * GROUPED_STRIP);
    void *arrays[] = {rule->codes, rule->scales, rule->zeros};
    array_bytes(rule, sizes);
    for (int i = 0; i < 3; *bytes += sizes[i++])
        if (sizes[i])
            memcpy(arrays[i], *bytes, (size_t)sizes[i]);
    return &rule->activation;
}

int64_t wn_grouped_linear_bytes(const struct wn_grouped_linear *form)
{
    int64_t width, cells = cut(form, NULL, &width), strips = strips_of(form->rows);

    return (int64_t)sizeof(struct rule) + cells * (int64_t)sizeof(struct grouped_cell) +
           strips * GROUPED_STRIP *
               (width / (form->bits > 4 ? 1 : 2) + form->n_groups * (int64_t)(sizeof(float) + sizeof(uint8_t)));
}

int64_t wn_grouped_linear_scratch(const struct wn_grouped_linear *form, int64_t tokens)
{
    int64_t width, cells = cut(form, NULL, &width);

    return tokens * (width + cells * (int64_t)(sizeof(float) + sizeof(int32_t)));
}

/* ---- the plain loop ---- */

static float output_ref(const struct wn_grouped_linear *form, const float *x, int64_t row)
{
    const float limit = (float)((1 << (form->input_bits - 1)) - 1);
    double sum = 0;

    for (int64_t j = 0; j < form->columns; j++) {
        const int64_t first = j / form->input_group * form->input_group, grid = row * form->n_groups + j / form->group;
        float largest = 0;
        for (int64_t i = first; i < smaller(first + form->input_group, form->columns); i++)
            largest = isfinite(x[i]) && !isnan(largest) ? fmaxf(largest, fabsf(x[i])) : NAN;
        const float step = isnan(largest) ? NAN : token_step(largest / limit);
        sum += (double)step * (double)rintf(x[j] / step) * (double)form->scales[grid] *
               (form->codes[row * form->columns + j] - (double)form->zeros[grid]);
    }
    return (float)sum;
}

void wn_grouped_linear_ref(const struct wn_grouped_linear *form, const struct wn_linear_call *call)
{
    for (int64_t r = 0; r < call->offset[call->n_sequences]; r++)
        for (int64_t o = 0; o < call->out; o++)
            call->y[r * call->out + o] =
                output_ref(form, call->x + r * call->in, o) + (call->bias ? call->bias[o] : 0.0f);
}
