/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every method of the table, on random and awkward shapes: packed, read back by rows, by panels and as bytes of a file,
 * with the same fp32 bits; the same through a second reader, which takes the bytes apart one bit at a time as pack.h
 * describes them. Sizes are what the form should cost; wrong bytes are refused.
 */
#include "method/recipes.h"
#include "plain_reader.h"

#include <winnow/io.h>
#include <winnow/linalg.h>
#include <winnow/pack.h>

/* ---- every linear goes through this ---- */

static void check_bits(const struct wn_packed *packed, const float *weight)
{
    const int64_t count = packed->rows * packed->columns, columns = packed->columns;
    float *out = wn_alloc(count, sizeof *out);

    memset(out, 0xFF, (size_t)count * sizeof *out);
    for (int64_t row = 0; row < packed->rows; row += 3) /* panels of 3 rows */
        wn_packed_rows(packed, row, packed->rows - row < 3 ? packed->rows : row + 3, out + row * columns);
    CHECK(!memcmp(out, weight, (size_t)count * sizeof *out));
    memset(out, 0xFF, (size_t)count * sizeof *out);
    wn_packed_all(packed, out);
    CHECK(!memcmp(out, weight, (size_t)count * sizeof *out));
    memset(out, 0xFF, (size_t)count * sizeof *out);
    read_plainly(packed->bytes, out);
    CHECK(!memcmp(out, weight, (size_t)count * sizeof *out));
    wn_free(out);
}

/* Packs, and opens a copy of the bytes at an odd address. The object is the caller's to release. */
static struct wn_packed check_form(const struct wn_compressed *compressed)
{
    struct wn_packed packed, again;
    int64_t before, limit = wn_pack_bytes_while(compressed->rows, compressed->columns);

    wn_memory_reset_peak();
    before = wn_memory_bytes();
    wn_pack(compressed, &packed);
    CHECK(wn_memory_peak() - before <= limit + omp_get_max_threads() * (compressed->columns * 160 + 4096));
    CHECK(packed.bytes == packed.owned && packed.size == whole(packed.bytes, 16));
    CHECK(wn_pack_size(compressed) == packed.size);
    check_bits(&packed, compressed->weight);
    uint8_t *copy = wn_alloc(packed.size + 1, 1);
    memcpy(copy + 1, packed.bytes, (size_t)packed.size);
    CHECK_OK(wn_packed_open("copy", copy + 1, packed.size, &again));
    check_bits(&again, compressed->weight);
    wn_packed_release(&again);
    wn_free(copy);
    return packed;
}

/* ---- all methods ---- */

static const int64_t shapes[][2] = {{1, 8}, {1, 264}, {5, 24}, {37, 136}, {64, 72}, {70, 200}, {257, 8}, {3, 1}};

static const char *const pruners[] = {"{\"sparsity\": 0.1}",    "{\"sparsity\": 0.5}",    "{\"sparsity\": 0.97}",
                                      "{\"pattern\": \"1:2\"}", "{\"pattern\": \"2:4\"}", "{\"pattern\": \"4:8\"}",
                                      "{\"sparsity\": 0}"};
static const char *const quantizers[] = {"{\"bits\": 2, \"group\": 8}",
                                         "{\"bits\": 3, \"group\": \"channel\"}",
                                         "{\"bits\": 4, \"group\": 4}",
                                         "{\"bits\": 5, \"group\": 8, \"symmetric\": true}",
                                         "{\"bits\": 6, \"group\": \"channel\"}",
                                         "{\"bits\": 7, \"group\": 8}",
                                         "{\"bits\": 8, \"group\": \"channel\", \"symmetric\": true}"};
static const char *const others[] = {"{}"};

/* Settings of one method beyond those. */
static const struct {
    const char *method, *settings;
} special[] = {
    {"rtn", "{\"bits\": 3, \"group\": \"tensor\"}"},
    {"rtn", "{\"bits\": 8, \"group\": \"tensor\", \"symmetric\": true}"},
    {"gptq", "{\"bits\": 4, \"act_order\": true}"},
    {"gptq", "{\"bits\": 4, \"group\": 8, \"act_order\": true, \"static_groups\": true}"},
    {"gptq", "{\"bits\": 4, \"group\": 16, \"act_order\": true}"},
    {"gptq", "{\"bits\": 3, \"group\": 100, \"act_order\": true}"},
    {"gptq", "{\"bits\": 3, \"group\": 100}"},
    {"rtn", "{\"bits\": 4, \"group\": 32}"},
    {"rtn", "{\"bits\": 3, \"group\": 100, \"symmetric\": true}"},
    {"awq", "{\"bits\": 5, \"group\": 100}"},
    {"spqr", "{\"bits\": 3, \"group\": 100}"},
    {"sparsegpt", "{\"sparsity\": 0.5, \"bits\": 4}"},
    {"sparsegpt", "{\"pattern\": \"2:4\", \"bits\": 3, \"symmetric\": true}"},
    {"spqr", "{\"bits\": 3, \"group\": 8, \"order\": \"identity\"}"},
    {"spqr", "{\"bits\": 3, \"group\": 8, \"order\": \"spearman\"}"},
    {"spqr", "{\"bits\": 4, \"group\": 8, \"outlier_threshold\": 0.01}"},
    {"spqr", "{\"bits\": 2, \"group\": 8, \"symmetric\": true}"},
    {"spqr", "{\"bits\": 4, \"group\": 8, \"round_zero\": true}"},
    {"spqr", "{\"bits\": 3, \"group\": 8, \"qq_scale_bits\": \"none\", \"qq_zero_bits\": 4}"},
    {"spqr", "{\"bits\": 3, \"group\": 8, \"qq_zero_bits\": \"none\", \"qq_groupsize\": 32}"},
    {"llm_int8", "{\"outlier_weights\": \"fp\"}"},
};

static bool fits(const struct wn_recipe *recipe, const struct problem *problem)
{
    return wn_recipe_check_linear(recipe, "linear", problem->rows, problem->columns) == WN_OK;
}

static int64_t tried;

static void check_recipe(struct problem *problem, const struct wn_recipe *recipe)
{
    if (!fits(recipe, problem))
        return;
    CHECK_OK(problem_run(problem, recipe));
    struct wn_packed packed = check_form(&problem->out);
    /* the prediction is a limit, but for numbers that happen to need fewer bits and more outliers than it counts */
    if (problem->out.n_outliers <= problem->rows * problem->columns / 50)
        CHECK(packed.size <= wn_pack_bytes_of(recipe, problem->rows, problem->columns, 4));
    wn_packed_release(&packed);
    tried++;
}

static void check_alone(struct problem *problem, const char *method, const char *settings)
{
    struct wn_recipe recipe = {0};

    CHECK_OK(add_stage(&recipe, method, settings));
    check_recipe(problem, &recipe);
}

static void check_joint(struct problem *problem, const char *quantizer, const char *settings)
{
    for (size_t p = 0; p < 3; p++) {
        struct wn_recipe recipe = {0};
        CHECK_OK(add_stage(&recipe, "magnitude", pruners[2 * p]));
        CHECK_OK(add_stage(&recipe, quantizer, settings));
        check_recipe(problem, &recipe);
    }
}

static void check_methods(struct problem *problem)
{
    int64_t count;
    const struct wn_method *const *table = wn_method_table(&count);

    for (int64_t m = 0; m < count; m++) {
        const struct wn_method *method = table[m];
        const char *const *settings = others;
        size_t n = 1;
        if (method->kind == WN_PRUNER || method->kind == WN_DROPPER) {
            settings = pruners;
            n = method->kind == WN_PRUNER ? sizeof pruners / sizeof *pruners : 2;
        } else if (method->kind == WN_QUANTIZER && !always_rounds_inputs(method)) {
            settings = quantizers;
            n = sizeof quantizers / sizeof *quantizers;
        }
        for (size_t s = 0; s < n; s++) {
            check_alone(problem, method->name, settings[s]);
            if (method->kind == WN_QUANTIZER)
                check_joint(problem, method->name, settings[s]);
        }
    }
    for (size_t s = 0; s < sizeof special / sizeof *special; s++)
        check_alone(problem, special[s].method, special[s].settings);
}

/* Scales of inputs, as AWQ and SmoothQuant get them. */
static void check_scaled(struct problem *problem)
{
    float *scale = wn_alloc(problem->columns, sizeof *scale), *maxima = wn_alloc(problem->columns, sizeof *maxima);

    for (int64_t j = 0; j < problem->columns; j++) {
        scale[j] = 0.5f + (float)wn_random_uniform(5, 5, (uint64_t)j);
        maxima[j] = 1 + scale[j];
    }
    problem->stats.scale = scale;
    problem->stats.maxima = maxima;
    check_alone(problem, "awq", "{\"bits\": 4, \"group\": 8}");
    check_alone(problem, "smoothquant", "{\"bits\": 8}");
    CHECK(problem->out.input_scale);
    problem->stats.scale = problem->stats.maxima = NULL;
    wn_free(maxima);
    wn_free(scale);
}

static void check_shapes(void)
{
    for (size_t s = 0; s < sizeof shapes / sizeof *shapes; s++) {
        struct problem problem;
        problem_init(&problem, shapes[s][0], shapes[s][1], (uint64_t)s, s % 2 ? 12 : 0);
        check_methods(&problem);
        check_scaled(&problem);
        for (int64_t i = 0; i < problem.rows * problem.columns; i++) /* constant rows, some of them 0 */
            problem.weight[i] = (float)(i / problem.columns % 3) - 1.0f;
        check_methods(&problem);
        memset(problem.weight, 0, (size_t)(problem.rows * problem.columns) * sizeof(float));
        check_methods(&problem);
        problem_release(&problem);
    }
    CHECK(tried > 1000);
}

/* ---- forms and their sizes ---- */

static struct wn_packed pack_of(struct problem *problem, const char *pruner, const char *pruning, const char *quantizer,
                                const char *quantizing)
{
    struct wn_recipe recipe = {0};

    if (pruner)
        CHECK_OK(add_stage(&recipe, pruner, pruning));
    if (quantizer)
        CHECK_OK(add_stage(&recipe, quantizer, quantizing));
    CHECK_OK(problem_run(problem, &recipe));
    return check_form(&problem->out);
}

static void to_bfloat(struct problem *problem)
{
    for (int64_t i = 0; i < problem->rows * problem->columns; i++) {
        uint32_t bits;
        memcpy(&bits, &problem->weight[i], sizeof bits);
        bits &= 0xFFFF0000;
        memcpy(&problem->weight[i], &bits, sizeof bits);
    }
}

static void check_sizes(void)
{
    enum { ROWS = 64, COLUMNS = 256, N = ROWS * COLUMNS, FRAME = WN_PACKED_HEADER + WN_PACKED_TRAILER };
    struct problem problem;
    struct wn_packed p;

    problem_init(&problem, ROWS, COLUMNS, 77, 0);
    p = pack_of(&problem, NULL, NULL, NULL, NULL); /* dense */
    CHECK(p.set == WN_PACKED_ALL && p.kind == WN_PACKED_F32 && p.size == FRAME + 4 * N);
    wn_packed_release(&p);
    p = pack_of(&problem, NULL, NULL, "rtn", "{\"bits\": 4, \"group\": 64}");
    CHECK(p.kind == WN_PACKED_CODES && p.zeros.kind == WN_PACKED_CODES && p.scales.kind == WN_PACKED_F32);
    CHECK(p.size == FRAME + N / 2 + N / 64 * 4 + ROWS * 2);
    wn_packed_release(&p);
    p = pack_of(&problem, NULL, NULL, "rtn", "{\"bits\": 3, \"group\": 64, \"symmetric\": true}");
    CHECK(p.zeros.kind == WN_PACKED_CONSTANT && p.size == FRAME + N * 3 / 8 + N / 64 * 4);
    wn_packed_release(&p);
    p = pack_of(&problem, NULL, NULL, "llm_int8", "{}");
    CHECK(p.bits == 8 && p.size == FRAME + N + ROWS * 4);
    wn_packed_release(&p);
    p = pack_of(&problem, "magnitude", "{\"sparsity\": 0.5}", "rtn", "{\"bits\": 4, \"group\": 64}");
    CHECK(p.bits == 4 && p.set == WN_PACKED_ROWS); /* 1 + 2 bits, and starts of rows, are less than 4 */
    wn_packed_release(&p);
    p = pack_of(&problem, "magnitude", "{\"sparsity\": 0.1}", "rtn", "{\"bits\": 4, \"group\": 64}");
    CHECK(p.bits == 4 && p.set == WN_PACKED_ALL); /* zeros are codes */
    wn_packed_release(&p);
    p = pack_of(&problem, "magnitude", "{\"sparsity\": 0.1}", "spqr", "{\"bits\": 4, \"group\": 64}");
    CHECK(p.bits == 4 && p.set != WN_PACKED_ALL); /* zero points are not whole: 0 is no code */
    CHECK(p.scales.kind == WN_PACKED_SECOND && p.zeros.kind == WN_PACKED_SECOND && p.group_bytes == 2);
    wn_packed_release(&p);
    p = pack_of(&problem, NULL, NULL, "spqr", "{\"bits\": 4, \"group\": 64, \"outlier_threshold\": 0.01}");
    CHECK(p.bits == 4 && p.n_outliers > 0 && p.outlier_kind == WN_PACKED_F32);
    wn_packed_release(&p);
    to_bfloat(&problem);
    p = pack_of(&problem, NULL, NULL, NULL, NULL);
    CHECK(p.set == WN_PACKED_ALL && p.kind == WN_PACKED_BF16 && p.size == FRAME + 2 * N);
    wn_packed_release(&p);
    p = pack_of(&problem, "wanda", "{\"sparsity\": 0.5}", NULL, NULL); /* every row the same number */
    CHECK(p.set == WN_PACKED_RUNS && p.run == COLUMNS && p.kept == COLUMNS / 2 && p.size == FRAME + N + N / 8);
    wn_packed_release(&p);
    p = pack_of(&problem, "magnitude", "{\"pattern\": \"2:4\"}", NULL, NULL);
    CHECK(p.set == WN_PACKED_RUNS && p.run == 4 && p.kept == 2 && p.size == FRAME + N + N / 8); /* 9 bits a weight */
    wn_packed_release(&p);
    p = pack_of(&problem, "magnitude", "{\"sparsity\": 0.5}", NULL, NULL);
    CHECK(p.set == WN_PACKED_ROWS && p.kind == WN_PACKED_BF16 && p.size <= FRAME + N + N / 8 + 4 * (ROWS + 1) + 8);
    wn_packed_release(&p);
    p = pack_of(&problem, "sparsegpt", "{\"pattern\": \"2:4\"}", NULL, NULL); /* updated weights */
    CHECK(p.set == WN_PACKED_RUNS && p.kind == WN_PACKED_F32);
    wn_packed_release(&p);
    p = pack_of(&problem, NULL, NULL, "drop", "{\"sparsity\": 0.5}"); /* nothing is left */
    CHECK(p.kind == WN_PACKED_NONE && p.size == FRAME);
    wn_packed_release(&p);
    problem_release(&problem);
}

/* fp16 of all sizes, -0, subnormal ones; and a value that only fp32 holds. */
static void check_numbers(void)
{
    float weight[64], halves[] = {1, -0.0f, 65504, 0x1p-24f, -0x3p-24f, 0x1p-14f, 0x1.ff8p-15f, 1.0009765625f};
    struct wn_compressed c;
    struct wn_packed p;

    for (int i = 0; i < 64; i++)
        weight[i] = halves[i % 8];
    wn_compressed_init(&c, 8, 8, weight, NULL);
    p = check_form(&c);
    CHECK(p.kind == WN_PACKED_F16);
    wn_packed_release(&p);
    weight[63] = 0x1p-25f;
    p = check_form(&c);
    CHECK(p.kind == WN_PACKED_F32);
    wn_packed_release(&p);
}

/* Codes that do not give the weights, and a short last group: what is stored is right, whatever the code form says. */
static void check_doubt(void)
{
    enum { ROWS = 3, COLUMNS = 10, GROUP = 4, GROUPS = 3 };
    float weight[ROWS * COLUMNS];
    struct wn_compressed c;
    struct wn_packed p;

    wn_compressed_init(&c, ROWS, COLUMNS, weight, NULL);
    c.bits = 3;
    c.group = GROUP;
    c.n_groups = GROUPS;
    c.codes = wn_alloc(ROWS * COLUMNS, 1);
    c.scales = wn_alloc(ROWS * GROUPS, sizeof(float));
    c.zeros = wn_alloc(ROWS * GROUPS, sizeof(float));
    for (int i = 0; i < ROWS * GROUPS; i++) {
        c.scales[i] = 0.1f + (float)i;
        c.zeros[i] = (float)(i % 5);
    }
    for (int i = 0; i < ROWS * COLUMNS; i++) {
        int grid = i / COLUMNS * GROUPS + i % COLUMNS / GROUP;
        c.codes[i] = (uint8_t)(i * 5 % 8);
        weight[i] = c.scales[grid] * ((float)c.codes[i] - c.zeros[grid]);
    }
    p = check_form(&c);
    CHECK(p.bits == 3 && p.n_groups == GROUPS);
    wn_packed_release(&p);
    weight[17] = nextafterf(weight[17], 100);
    p = check_form(&c);
    CHECK(p.bits == 0);
    wn_packed_release(&p);
    wn_compressed_release(&c);
}

/* ---- bytes that are not what was written ---- */

static wn_status open_changed(const struct wn_packed *packed, int64_t size, int64_t at, uint8_t change)
{
    struct wn_packed again;
    uint8_t *copy = wn_alloc(packed->size, 1);

    memcpy(copy, packed->bytes, (size_t)packed->size);
    if (at >= 0)
        copy[at] ^= change;
    wn_status status = wn_packed_open("file", copy, size, &again);
    CHECK(status == WN_OK || !again.bytes);
    wn_packed_release(&again);
    wn_free(copy);
    return status;
}

static void check_wrong_bytes(void)
{
    struct problem problem;
    struct wn_packed p;

    problem_init(&problem, 9, 40, 3, 0);
    p = pack_of(&problem, "magnitude", "{\"sparsity\": 0.5}", "spqr", "{\"bits\": 3, \"group\": 8}");
    CHECK_OK(open_changed(&p, p.size, -1, 0));
    for (int64_t at = 0; at < p.size; at++)
        CHECK(open_changed(&p, p.size, at, (uint8_t)(1 << at % 8)) == WN_ERR_INPUT);
    for (int64_t size = 0; size < p.size; size++)
        CHECK(open_changed(&p, size, -1, 0) == WN_ERR_INPUT);
    CHECK(open_changed(&p, p.size, 0, 1) == WN_ERR_INPUT);
    CHECK_MESSAGE("file: this is no packed linear");
    CHECK(open_changed(&p, p.size, 8, 2) == WN_ERR_INPUT);
    CHECK_MESSAGE("version 3");
    CHECK(open_changed(&p, p.size, 200, 1) == WN_ERR_INPUT);
    CHECK_MESSAGE("SHA-256");
    wn_packed_release(&p);
    problem_release(&problem);
}

/* Byte `at` changed, and the checksum made to fit. */
static wn_status open_sealed(const struct wn_packed *packed, int64_t at, uint8_t change)
{
    struct wn_packed again;
    int64_t body = packed->size - WN_PACKED_TRAILER;
    uint8_t *copy = wn_alloc(packed->size, 1);
    struct wn_hash *hash = wn_hash_create();

    memcpy(copy, packed->bytes, (size_t)body);
    copy[at] ^= change;
    wn_hash_update(hash, copy, (size_t)body);
    wn_hash_finish(hash, copy + body);
    wn_status status = wn_packed_open("file", copy, packed->size, &again);
    wn_packed_release(&again);
    wn_free(copy);
    return status;
}

static void check_array(const struct wn_packed *packed, const uint8_t *array, int64_t first, int64_t end,
                        uint8_t change)
{
    for (int64_t i = first; i < end; i++) {
        CHECK(open_sealed(packed, array - packed->bytes + i, change) == WN_ERR_INPUT);
        CHECK_MESSAGE("contradict each other");
    }
}

/* Whoever makes the checksum fit is still not believed. */
static void check_contradictions(void)
{
    enum { ROWS = 9, COLUMNS = 42 };
    struct problem problem;
    struct wn_packed p;

    problem_init(&problem, ROWS, COLUMNS, 3, 0);
    p = pack_of(&problem, "magnitude", "{\"sparsity\": 0.5}", NULL, NULL);
    CHECK(p.set == WN_PACKED_ROWS);
    check_array(&p, p.mask, 0, ROWS * 6, 1);
    CHECK(open_sealed(&p, p.mask - p.bytes + 5, 0xF0) == WN_ERR_INPUT); /* behind the last column */
    check_array(&p, p.start, 0, 4 * ROWS, 1);
    CHECK(open_sealed(&p, p.start - p.bytes + 4 * ROWS, 0x40) == WN_ERR_INPUT);
    wn_packed_release(&p);
    p = pack_of(&problem, "wanda", "{\"sparsity\": 0.5}", NULL, NULL);
    CHECK(p.set == WN_PACKED_RUNS);
    check_array(&p, p.mask, 0, ROWS * 6, 1);
    wn_packed_release(&p);
    p = pack_of(&problem, NULL, NULL, "spqr", "{\"bits\": 3, \"group\": 6, \"outlier_threshold\": 0.05}");
    CHECK(p.n_outliers > 0 && p.group_bytes == 2);
    for (int64_t j = 0; j < COLUMNS; j++)
        check_array(&p, p.groups, 2 * j + 1, 2 * j + 2, 0x80);
    for (int64_t i = 0; i < p.n_outliers; i++)
        check_array(&p, p.outlier_columns, 2 * i + 1, 2 * i + 2, 0x80);
    check_array(&p, p.outlier_start, 0, 1, 1);
    check_array(&p, p.outlier_start, 6, 7, 1);
    check_array(&p, p.outlier_start, 4 * ROWS, 4 * ROWS + 4, 1);
    for (int64_t at = 16; at < 128; at++) { /* a header may still be one, of another linear; most are none */
        wn_status status = open_sealed(&p, at, 0xFF);
        CHECK(status == WN_ERR_INPUT || (at >= 80 && at < 88) || (at >= 40 && at < 64) || at >= 96);
    }
    wn_packed_release(&p);
    problem_release(&problem);
}

/* The same bytes from 1, 2 and 3 threads. */
static void check_threads(void)
{
    struct problem problem;
    struct wn_recipe recipe = {0};
    struct wn_packed one, more;

    problem_init(&problem, 61, 328, 11, 0);
    CHECK_OK(add_stage(&recipe, "magnitude", "{\"sparsity\": 0.5}"));
    CHECK_OK(add_stage(&recipe, "spqr", "{\"bits\": 3, \"group\": 8}"));
    test_set_threads(1);
    CHECK_OK(problem_run(&problem, &recipe));
    wn_pack(&problem.out, &one);
    for (int threads = 2; threads <= 3; threads++) {
        test_set_threads(threads);
        wn_pack(&problem.out, &more);
        CHECK(more.size == one.size && !memcmp(more.bytes, one.bytes, (size_t)one.size));
        wn_packed_release(&more);
    }
    wn_packed_release(&one);
    problem_release(&problem);
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    check_shapes();
    check_sizes();
    check_numbers();
    check_doubt();
    check_wrong_bytes();
    check_contradictions();
    check_threads();
    return test_finish();
}
