/* SPDX-License-Identifier: Apache-2.0 */
/* Rotary positions: against the plain twin, formulas by hand and transformers; equal bits on 1 to 4 threads. */
#include <omp.h>

#include <cjson/cJSON.h>
#include <winnow/arch.h>
#include <winnow/io.h>
#include <winnow/linalg.h>
#include <winnow/nn.h>

#include "nn_test.h"

static void rotate(const struct wn_rope *rope, float *x, int64_t n_sequences, const int64_t *offset, int64_t heads,
                   int64_t head_dim)
{
    int64_t rows = offset[n_sequences];
    int64_t dims = wn_rope_dims(rope, head_dim);
    float *cosine = wn_alloc(rows * dims / 2, sizeof *cosine), *sine = wn_alloc(rows * dims / 2, sizeof *sine);
    wn_rope_chunk_table(rope, head_dim, n_sequences, offset, NULL, cosine, sine);
    wn_rope_apply(cosine, sine, x, rows, heads, head_dim, dims);
    wn_free(cosine);
    wn_free(sine);
}

static void check_rope(const struct wn_rope *rope)
{
    const int64_t offset[] = {0, 30, 230, 240, 1500, 1500, 1700}, n = 6, heads = 3, dim = 24, rows = 1700;
    float *x = random_floats(rows * heads * dim, 5, 1), *expected = copy_of(x, rows * heads * dim);
    float *first = copy_of(x, rows * heads * dim);
    for (int64_t s = 0; s < n; s++)
        wn_rope_apply_ref(rope, expected + offset[s] * heads * dim, offset[s + 1] - offset[s], heads, dim);
    omp_set_num_threads(1);
    rotate(rope, first, n, offset, heads, dim);
    CHECK_NEAR(worst_difference(first, expected, rows * heads * dim), 0, 3e-7);
    CHECK(worst_difference(first, x, rows * heads * dim) > 0.5);
    for (int64_t i = 0; i < rows * heads; i++) /* what is not rotated stays */
        for (int64_t j = wn_rope_dims(rope, dim); j < dim; j++)
            CHECK(first[i * dim + j] == x[i * dim + j]);
    for (int threads = 2; threads <= 4; threads++) {
        float *y = copy_of(x, rows * heads * dim);
        test_set_threads(threads);
        rotate(rope, y, n, offset, heads, dim);
        CHECK(same_bits(y, first, rows * heads * dim));
        wn_free(y);
    }
    wn_free(x);
    wn_free(expected);
    wn_free(first);
}

/* Sequences that begin later have the rows of those positions, bit for bit; so all have them up to their limit. */
static void check_rope_start(const struct wn_rope *rope)
{
    enum { DIM = 24, MOST = DIM / 2, ROWS = 60 + 5 + 90 + 1 + 1 };
    const int64_t half = wn_rope_dims(rope, DIM) / 2;
    const int64_t offset[] = {0, 60, 65, 155, 156, ROWS}, start[] = {0, 40, 10, 99, 0};
    float whole_cosine[100 * MOST], whole_sine[100 * MOST], cosine[ROWS * MOST], sine[ROWS * MOST];
    wn_rope_table(rope, DIM, 100, whole_cosine, whole_sine);
    wn_rope_chunk_table(rope, DIM, 5, offset, start, cosine, sine);
    for (int64_t s = 0; s < 5; s++) {
        int64_t count = (offset[s + 1] - offset[s]) * half;
        CHECK(same_bits(cosine + offset[s] * half, whole_cosine + start[s] * half, count));
        CHECK(same_bits(sine + offset[s] * half, whole_sine + start[s] * half, count));
    }
}

/* Angles at position 1 are the inverse frequencies: by hand from the formulas. */
static void check_rope_values(void)
{
    float cosine[100 * 4], sine[100 * 4];
    const struct wn_rope linear = {.kind = WN_ROPE_LINEAR, .theta = 10000, .factor = 4};
    wn_rope_table(&linear, 8, 2, cosine, sine);
    for (int j = 0; j < 4; j++)
        CHECK_NEAR(sine[4 + j], sin(pow(10000, -j / 4.0) / 4), 1e-7);
    const struct wn_rope dynamic = {.kind = WN_ROPE_DYNAMIC, .theta = 10000, .factor = 2, .original_max_positions = 50};
    wn_rope_table(&dynamic, 8, 100, cosine, sine);
    double theta = 10000 * pow(2 * 100 / 50.0 - 1, 8 / 6.0);
    for (int j = 0; j < 4; j++)
        CHECK_NEAR(sine[4 + j], sin(pow(theta, -j / 4.0)), 1e-7);
    wn_rope_table(&dynamic, 8, 50, cosine, sine);
    CHECK_NEAR(sine[4 + 3], sin(0.001), 1e-7);
    /* wavelengths 6.28, 62.8, 628 and 6283: kept, between, divided, divided */
    const struct wn_rope llama3 = {.kind = WN_ROPE_LLAMA3,
                                   .theta = 10000,
                                   .factor = 8,
                                   .low_freq_factor = 1,
                                   .high_freq_factor = 4,
                                   .original_max_positions = 128};
    wn_rope_table(&llama3, 8, 2, cosine, sine);
    double smooth = (128 / (2 * M_PI * 10) - 1) / 3;
    CHECK_NEAR(sine[4], sin(1), 1e-7);
    CHECK_NEAR(sine[5], sin((1 - smooth) * 0.1 / 8 + smooth * 0.1), 1e-7);
    CHECK_NEAR(sine[6], sin(0.01 / 8), 1e-7);
    CHECK_NEAR(sine[7], sin(0.001 / 8), 1e-7);
}

/* A sequence has the bits that it has alone, whatever lies beside it, on both sides of original_max_positions. */
static void check_rope_company(const struct wn_rope *rope)
{
    enum { DIM = 24, MOST = DIM / 2, ROWS = 150 + 40 + 170 + 100 };
    const int64_t offset[] = {0, 150, 190, 360, ROWS}, half = wn_rope_dims(rope, DIM) / 2;
    float cosine[ROWS * MOST], sine[ROWS * MOST], alone[170 * MOST], other[170 * MOST];
    wn_rope_chunk_table(rope, DIM, 4, offset, NULL, cosine, sine);
    for (int64_t s = 0; s < 4; s++) {
        int64_t length = offset[s + 1] - offset[s];
        wn_rope_table(rope, DIM, length, alone, other);
        CHECK(same_bits(cosine + offset[s] * half, alone, length * half));
        CHECK(same_bits(sine + offset[s] * half, other, length * half));
    }
}

/* ---- transformers ---- */

static double number(const cJSON *entry, const char *key, int64_t row, int64_t column)
{
    const cJSON *rows = cJSON_GetObjectItemCaseSensitive(entry, key);
    const cJSON *cell = cJSON_GetArrayItem(rows, (int)row);
    return (column < 0 ? cell : cJSON_GetArrayItem(cell, (int)column))->valuedouble;
}

/* Angles of hundreds of radians have an ulp of 3e-5; the inverse frequencies differ by one of theirs here and there. */
static void check_entry(const cJSON *entry)
{
    const cJSON *file = cJSON_GetObjectItemCaseSensitive(entry, "config");
    int64_t length = (int64_t)cJSON_GetObjectItemCaseSensitive(entry, "length")->valuedouble;
    struct wn_config config = {0};
    snprintf(config.model_type, sizeof config.model_type, "%s",
             cJSON_GetObjectItemCaseSensitive(file, "model_type")->valuestring);
    CHECK_OK(wn_arch_read_common("config.json", file, &config));
    int64_t half = wn_rope_dims(&config.rope, config.head_dim) / 2;
    CHECK(cJSON_GetArraySize(cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(entry, "cosine"), 0)) == (int)half);
    float *cosine = wn_alloc(length * half, sizeof *cosine), *sine = wn_alloc(length * half, sizeof *sine);
    wn_rope_table(&config.rope, config.head_dim, length, cosine, sine);
    double worst = 0;
    for (int64_t i = 0; i < cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(entry, "positions")); i++)
        for (int64_t j = 0; j < half; j++) {
            int64_t at = (int64_t)number(entry, "positions", i, -1) * half + j;
            worst = fmax(worst, fabs(cosine[at] - number(entry, "cosine", i, j)));
            worst = fmax(worst, fabs(sine[at] - number(entry, "sine", i, j)));
        }
    if (worst > 4e-5)
        fprintf(stderr, "%s: ", cJSON_GetObjectItemCaseSensitive(entry, "name")->valuestring);
    CHECK_NEAR(worst, 0, 4e-5);
    wn_free(cosine);
    wn_free(sine);
}

static void check_transformers(void)
{
    cJSON *entries = NULL;
    const cJSON *entry;
    CHECK_OK(wn_json_read(WN_SOURCE_DIR "/tests/nn/rope_tables.json", false, &entries));
    cJSON_ArrayForEach (entry, entries)
        check_entry(entry);
    CHECK(cJSON_GetArraySize(entries) > 20);
    cJSON_Delete(entries);
}

int main(void)
{
    const struct wn_rope ropes[] = {
        {.kind = WN_ROPE_DEFAULT, .theta = 10000, .factor = 1},
        {.kind = WN_ROPE_LINEAR, .theta = 10000, .factor = 4},
        {.kind = WN_ROPE_DYNAMIC, .theta = 10000, .factor = 2, .original_max_positions = 100},
        {.kind = WN_ROPE_LLAMA3,
         .theta = 500000,
         .factor = 8,
         .low_freq_factor = 1,
         .high_freq_factor = 4,
         .original_max_positions = 128},
        {.kind = WN_ROPE_DEFAULT, .theta = 10000, .dims = 6},
        {.kind = WN_ROPE_YARN,
         .theta = 10000,
         .factor = 4,
         .original_max_positions = 128,
         .attention_factor = 1.2,
         .beta_fast = 32,
         .beta_slow = 1,
         .truncate = true},
        {.kind = WN_ROPE_LONGROPE,
         .theta = 10000,
         .original_max_positions = 100,
         .dims = 12,
         .attention_factor = 1.1,
         .short_factor = {1, 1.5, 2, 1, 3, 1.2},
         .long_factor = {2, 4, 8, 8, 9, 10}},
    };
    CHECK_OK(wn_linalg_start());
    for (size_t i = 0; i < sizeof ropes / sizeof ropes[0]; i++) {
        check_rope(&ropes[i]);
        check_rope_start(&ropes[i]);
        check_rope_company(&ropes[i]);
    }
    check_rope_values();
    check_transformers();
    return test_finish();
}
