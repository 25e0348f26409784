/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rules.c: what levels of methods that quantize inputs as well have besides packed linears: the rule of a linear, as
 * numbers, and vectors of the block.
 *
 * Codes are not stored again: weights are scale * (code - zero) / input scale, so multiplying back gives a code within
 * a few units in the last place, far nearer to it than to another one.
 */
#include <winnow/level.h>

#include <float.h>
#include <math.h>
#include <string.h>

/* A rule is a row of numbers: these, then the scale of every row, then that of every column when there is one. */
enum { BITS, ZERO, ROUNDS_OUTPUTS, LEAST, THRESHOLD, KEEPS_WEIGHTS, HAS_INPUT_SCALE, NUMBERS };
/* One on groups has 0 for BITS, then these, then scales and zero points [rows, N_GROUPS]. */
enum { GROUPED_BITS = 1, INPUT_BITS, GROUP, N_GROUPS, INPUT_GROUP };

/* ---- writing ---- */

/* Packed like the weights of a linear. */
static wn_status add_numbers(struct wn_level_writer *writer, int linear, int32_t level, float *numbers, int64_t rows,
                             int64_t columns)
{
    const struct wn_level_entry entry = {.linear = linear, .level = level, .bits = 0, .error = (double)NAN};
    struct wn_compressed form;
    struct wn_packed packed;

    wn_compressed_init(&form, rows, columns, numbers, NULL);
    wn_pack(&form, &packed);
    wn_status status = wn_level_writer_add(writer, &entry, &packed);
    wn_packed_release(&packed);
    return status;
}

/* It is compared in fp32; one that is less than all floats takes every column that is not 0, which is the same. */
static float threshold_of(const struct wn_integer_linear *rule)
{
    return rule->threshold > 0 ? fmaxf((float)rule->threshold, FLT_TRUE_MIN) : 0.0f;
}

static wn_status add_grouped(struct wn_level_writer *writer, int linear, int32_t level,
                             const struct wn_grouped_linear *rule, const struct wn_compressed *form)
{
    const int64_t grids = rule->rows * rule->n_groups, count = NUMBERS + 2 * grids;
    float none = 0, *numbers = wn_alloc_zero(count, sizeof *numbers);

    numbers[GROUPED_BITS] = (float)rule->bits;
    numbers[INPUT_BITS] = (float)rule->input_bits;
    numbers[GROUP] = (float)rule->group;
    numbers[N_GROUPS] = (float)rule->n_groups;
    numbers[INPUT_GROUP] = (float)rule->input_group;
    for (int64_t i = 0; i < grids; i++) {
        numbers[NUMBERS + i] = form->scales[form->group ? i : 0];
        numbers[NUMBERS + grids + i] = form->zeros[form->group ? i : 0];
    }
    wn_status status = add_numbers(writer, WN_LEVEL_RULE + linear, level, numbers, 1, count);
    if (status == WN_OK)
        status = add_numbers(writer, WN_LEVEL_OUTLIERS + linear, level, &none, 1, 1);
    wn_free(numbers);
    return status;
}

wn_status wn_level_writer_add_rule(struct wn_level_writer *writer, int linear, int32_t level,
                                   const struct wn_compressed *form)
{
    const struct wn_integer_linear *rule = wn_integer_linear_form(form->activation);
    const struct wn_grouped_linear *grouped = wn_grouped_linear_form(form->activation);

    if (grouped)
        return add_grouped(writer, linear, level, grouped, form);
    if (!rule)
        return wn_fail(WN_ERR_UNSUPPORTED, "a rule of inputs that levels cannot keep");
    const int64_t count = NUMBERS + form->rows + (form->input_scale ? form->columns : 0);
    float none = 0, *numbers = wn_alloc(count, sizeof *numbers);
    numbers[BITS] = (float)rule->bits;
    numbers[ZERO] = (float)rule->zero;
    numbers[ROUNDS_OUTPUTS] = rule->round_outputs;
    numbers[LEAST] = (float)rule->least;
    numbers[THRESHOLD] = threshold_of(rule);
    numbers[KEEPS_WEIGHTS] = rule->outlier_weight != NULL;
    numbers[HAS_INPUT_SCALE] = form->input_scale != NULL;
    memcpy(numbers + NUMBERS, rule->scales, (size_t)form->rows * sizeof *numbers);
    if (form->input_scale)
        memcpy(numbers + NUMBERS + form->rows, form->input_scale, (size_t)form->columns * sizeof *numbers);
    wn_status status = add_numbers(writer, WN_LEVEL_RULE + linear, level, numbers, 1, count);
    if (status == WN_OK && rule->outlier_weight)
        status = add_numbers(writer, WN_LEVEL_OUTLIERS + linear, level, (float *)rule->outlier_weight, form->rows,
                             form->columns);
    else if (status == WN_OK)
        status = add_numbers(writer, WN_LEVEL_OUTLIERS + linear, level, &none, 1, 1);
    wn_free(numbers);
    return status;
}

wn_status wn_level_writer_add_vector(struct wn_level_writer *writer, int vector, const float *values, int64_t width)
{
    return add_numbers(writer, WN_LEVEL_VECTOR + vector, 0, (float *)values, 1, width);
}

int64_t wn_level_rule_bytes(const struct wn_recipe *recipe, int64_t rows, int64_t columns, int source_bytes)
{
    const int64_t each = WN_PACKED_HEADER + WN_PACKED_TRAILER + 64;
    struct wn_recipe before = *recipe; /* the quantizer, which comes last */
    int64_t bytes, scratch;

    wn_recipe_activation_bytes(recipe, rows, columns, 1, 1, &bytes, &scratch);
    if (!bytes)
        return 0;
    const struct wn_value *kept = wn_params_given(&recipe->stages[--before.n_stages].params, "outlier_weights");
    const bool keeps = kept && kept->text[0] == 'f';
    const int64_t grids = wn_pack_grids_of(recipe, rows, columns);
    return 2 * each + (NUMBERS + 2 * (grids > rows ? grids : rows) + columns + 1) * (int64_t)sizeof(float) +
           (keeps ? wn_pack_bytes_of(&before, rows, columns, source_bytes) : 0);
}

/* ---- reading ---- */

/* Numbers of an entry, rows * columns; NULL and WN_OK: there is no such entry. */
static wn_status read_numbers(struct wn_level_block *levels, int linear, int32_t level, float **numbers, int64_t *count)
{
    const struct wn_level_entry *entry = wn_levels_find(levels, linear, level);
    struct wn_packed packed;

    *numbers = NULL;
    *count = 0;
    if (!entry)
        return WN_OK;
    WN_TRY(wn_levels_packed(levels, entry, &packed));
    *count = packed.rows * packed.columns;
    *numbers = wn_alloc(*count, sizeof **numbers);
    wn_packed_all(&packed, *numbers);
    return WN_OK;
}

static void find_codes(const float *weights, const float *numbers, int64_t rows, int64_t columns, uint8_t *codes)
{
    const float *scales = numbers + NUMBERS, *by = numbers[HAS_INPUT_SCALE] != 0 ? scales + rows : NULL;
    const float zero = numbers[ZERO];

#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t j = 0; j < columns; j++)
            codes[row * columns + j] =
                (uint8_t)(rintf(weights[row * columns + j] * (by ? by[j] : 1.0f) / scales[row]) + zero);
}

static struct wn_activation *grouped_rule(const float *weights, const float *numbers, int64_t rows, int64_t columns)
{
    struct wn_grouped_linear form = {.rows = rows,
                                     .columns = columns,
                                     .bits = (int)numbers[GROUPED_BITS],
                                     .input_bits = (int)numbers[INPUT_BITS],
                                     .group = (int64_t)numbers[GROUP],
                                     .n_groups = (int64_t)numbers[N_GROUPS],
                                     .input_group = (int64_t)numbers[INPUT_GROUP],
                                     .scales = numbers + NUMBERS};
    uint8_t *codes = wn_alloc(rows * columns, sizeof *codes);

    form.zeros = form.scales + rows * form.n_groups;
#pragma omp parallel for schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t j = 0; j < columns; j++) {
            const int64_t grid = row * form.n_groups + j / form.group;
            codes[row * columns + j] =
                (uint8_t)(rintf(weights[row * columns + j] / form.scales[grid]) + form.zeros[grid]);
        }
    form.codes = codes;
    struct wn_activation *rule = wn_grouped_linear_create(&form);
    wn_free(codes);
    return rule;
}

wn_status wn_levels_rule(struct wn_level_block *levels, int linear, int32_t level, const float *weights, int64_t rows,
                         int64_t columns, struct wn_activation **rule)
{
    float *numbers, *outliers = NULL;
    int64_t count, kept = 0;

    *rule = NULL;
    WN_TRY(read_numbers(levels, WN_LEVEL_RULE + linear, level, &numbers, &count));
    if (!numbers)
        return WN_OK;
    if (numbers[BITS] == 0) {
        *rule = grouped_rule(weights, numbers, rows, columns);
        wn_free(numbers);
        return WN_OK;
    }
    wn_status status = read_numbers(levels, WN_LEVEL_OUTLIERS + linear, level, &outliers, &kept);
    if (status == WN_OK) {
        uint8_t *codes = wn_alloc(rows * columns, sizeof *codes);
        find_codes(weights, numbers, rows, columns, codes);
        const struct wn_integer_linear form = {.rows = rows,
                                               .columns = columns,
                                               .bits = (int)numbers[BITS],
                                               .codes = codes,
                                               .zero = (int)numbers[ZERO],
                                               .scales = numbers + NUMBERS,
                                               .threshold = (double)numbers[THRESHOLD],
                                               .least = (double)numbers[LEAST],
                                               .outlier_weight = numbers[KEEPS_WEIGHTS] != 0 ? outliers : NULL,
                                               .round_outputs = numbers[ROUNDS_OUTPUTS] != 0};
        *rule = wn_integer_linear_create(&form);
        wn_free(codes);
    }
    wn_free(numbers);
    wn_free(outliers);
    return status;
}

wn_status wn_levels_vectors(struct wn_level_block *levels, float *const *vectors, int n_vectors)
{
    for (int v = 0; v < n_vectors; v++) {
        float *values;
        int64_t count;
        WN_TRY(read_numbers(levels, WN_LEVEL_VECTOR + v, 0, &values, &count));
        if (values)
            memcpy(vectors[v], values, (size_t)count * sizeof *values);
        wn_free(values);
    }
    return WN_OK;
}
