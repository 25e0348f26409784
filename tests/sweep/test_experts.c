/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A sweep of a model with experts: what every expert has seen is counted, one that has seen nothing is compressed
 * without data, and bits are told of all weights and of those that a token goes through.
 */
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "sweep/run_sweep.h"
#include "test.h"

enum { BLOCKS = 3, LINEARS = 28, CELLS = BLOCKS * LINEARS, EXPERTS = 6, CHOSEN = 2, TOKENS = 2 };
enum { MLP = 4, SHARED = 7, FIRST = 10, SPARSE = 1 }; /* linears, and the block that has experts */
enum { DENSE, MAGNITUDE, RTN, WANDA, SPARSEGPT, GPTQ, AWQ, SPQR, SMOOTHQUANT, JOINT, POINTS };

static char folder[] = "/tmp/winnow_experts.XXXXXX";

static int run_sweep(const char *output)
{
    char *path = wn_format("%s/sweep.json", folder), *model = test_path("tests/model/reference/qwen2_moe");
    FILE *file = fopen(path, "w");
    int code;
    fprintf(
        file,
        "{\"model\": \"%s\", \"calibration\": {\"few\": {\"text\": \"text.txt\", \"samples\": 1, \"length\": %d}},"
        "\"grid\": [{\"method\": \"magnitude\", \"sparsity\": 0.5}, {\"method\": \"rtn\", \"bits\": 4, \"group\": 4}, "
        "{\"method\": [\"wanda\", \"sparsegpt\"], \"sparsity\": 0.5, \"calibration\": \"few\"}, "
        "{\"method\": [\"gptq\", \"awq\", \"spqr\"], \"bits\": 4, \"group\": 4, \"calibration\": \"few\"}, "
        "{\"method\": \"smoothquant\", \"calibration\": \"few\"}, "
        "{\"method\": \"sparsegpt\", \"sparsity\": 0.5, \"bits\": 4, \"calibration\": \"few\"}],"
        "\"evaluate\": {\"perplexity\": {\"story\": {\"text\": \"text.txt\", \"length\": 30}}}}",
        model, TOKENS);
    fclose(file);
    code = test_run_sweep(path, output);
    wn_free(path);
    wn_free(model);
    return code;
}

static double *read_numbers(const char *file, const char *path, int64_t count)
{
    struct wn_results_reader *reader;
    struct wn_array array = {0};
    int64_t values = 1;
    CHECK_OK(wn_results_read_open(file, &reader));
    CHECK_OK(wn_results_read_array(reader, path, &array));
    for (int i = 0; i < array.rank; i++)
        values *= array.sizes[i];
    CHECK(array.values && values == count);
    wn_results_read_close(&reader);
    return array.values;
}

/* Whether a block has a linear: one is sparse, the others are dense. */
static bool is_there(int cell)
{
    int linear = cell % LINEARS;
    return linear < MLP || (cell / LINEARS == SPARSE) == (linear >= SHARED);
}

static bool reads_data(int point)
{
    return point >= WANDA && point != SMOOTHQUANT; /* whose experts have no norm of their own */
}

static void check_rows(const double *rows, const double *fell_back, const double *zeros)
{
    int lonely = 0;
    for (int p = 0; p < POINTS; p++) {
        double all = 0;
        for (int c = 0; c < CELLS; c++) {
            const double count = rows[p * CELLS + c], fallen = fell_back[p * CELLS + c];
            const bool routed = c % LINEARS >= FIRST;
            CHECK(isnan(zeros[p * CELLS + c]) == !is_there(c));
            if (p < WANDA || !is_there(c)) {
                CHECK(isnan(count) && isnan(fallen));
                continue;
            }
            CHECK(routed ? count >= 0 && count <= TOKENS : count == TOKENS);
            CHECK(fallen == (count == 0 && reads_data(p)));
            all += routed ? count : 0;
            lonely += count == 0;
        }
        CHECK(p < WANDA || all == 3 * TOKENS * CHOSEN); /* three linears each */
    }
    CHECK(lonely > 0);
}

/* Linears that fell back have the errors of the method without data. */
static void check_fallbacks(const double *fell_back, const double *errors)
{
    static const int instead[POINTS] = {
        [WANDA] = MAGNITUDE, [SPARSEGPT] = MAGNITUDE, [GPTQ] = RTN, [AWQ] = RTN, [SPQR] = RTN};
    int same = 0, other = 0;
    for (int p = WANDA; p < SMOOTHQUANT; p++)
        for (int c = 0; c < CELLS; c++) {
            const bool equal = errors[p * CELLS + c] == errors[instead[p] * CELLS + c];
            CHECK(fell_back[p * CELLS + c] != 1 || equal);
            same += fell_back[p * CELLS + c] == 1;
            other += fell_back[p * CELLS + c] == 0 && !equal;
        }
    CHECK(same > 0 && other > same);
}

static void check_bits(const double *bits, const double *stored, const double *active)
{
    const int64_t hidden = 24, inner[] = {40, 28, 12}; /* dense, shared, an expert */
    for (int p = 0; p < POINTS; p++) {
        double sums[4] = {0};
        for (int c = 0; c < CELLS; c++) {
            const int linear = c % LINEARS, kind = linear < SHARED ? 0 : linear < FIRST ? 1 : 2;
            const int64_t size = linear < MLP ? (linear == 0 || linear == 3 ? 24 : 12) : inner[kind];
            const double share = kind == 2 ? (double)CHOSEN / EXPERTS : 1, count = (double)(size * hidden);
            if (!is_there(c))
                continue;
            sums[0] += bits[p * CELLS + c] * count;
            sums[1] += count;
            sums[2] += bits[p * CELLS + c] * count * share;
            sums[3] += count * share;
        }
        CHECK_NEAR(stored[p], sums[0] / sums[1], 1e-12);
        CHECK_NEAR(active[p], sums[2] / sums[3], 1e-12);
    }
    CHECK(active[JOINT] != stored[JOINT]); /* a grid for a row of 12 */
}

int main(void)
{
    CHECK_OK(wn_linalg_start());
    CHECK(mkdtemp(folder) != NULL);
    char *text = wn_format("%s/text.txt", folder), *output = wn_format("%s/out.h5", folder);
    FILE *file = fopen(text, "w");
    for (int i = 0; i < 20; i++)
        fprintf(file, "A dog named number %d ran. ", i);
    fclose(file);
    CHECK(run_sweep(output) == 0);
    double *rows = read_numbers(output, "/weights/calibration_rows", (int64_t)POINTS * CELLS);
    double *fell_back = read_numbers(output, "/weights/fell_back", (int64_t)POINTS * CELLS);
    double *zeros = read_numbers(output, "/weights/zeros", (int64_t)POINTS * CELLS);
    double *errors = read_numbers(output, "/weights/weight_error", (int64_t)POINTS * CELLS);
    double *bits = read_numbers(output, "/weights/bits_per_weight_nominal", (int64_t)POINTS * CELLS);
    double *stored = read_numbers(output, "/points/bits_per_weight_nominal", POINTS);
    double *active = read_numbers(output, "/points/bits_per_active_weight_nominal", POINTS);
    if (test_failures == 0) {
        check_rows(rows, fell_back, zeros);
        check_fallbacks(fell_back, errors);
        check_bits(bits, stored, active);
    }
    char *command = wn_format("rm -rf %s", folder);
    CHECK(system(command) == 0);
    void *parts[] = {command, text, output, rows, fell_back, zeros, errors, bits, stored, active};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        wn_free(parts[i]);
    return test_finish();
}
