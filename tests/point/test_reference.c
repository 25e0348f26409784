/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shared dense pass on several ranks and nodes: the same bits as on one rank, work on as many ranks as there are
 * units and on no other, and the memory that is predicted. Run alone and with 2, 3, 4 and 8 ranks.
 */
#include <winnow/io.h>
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "point/point_impl.h"
#include "test.h"

/* Samples of both calibration sets: 14 groups and 3, or 2 and none. */
static const char *const sweep_text =
    "{\"model\": \"%s/sweeps/demo/model\", \"compute\": \"%s\", \"inputs\": \"%s/sweeps/demo/data\","
    " \"calibration\": {"
    "   \"general\": {\"text\": \"general_calibration.jsonl\", \"samples\": %d, \"length\": 64},"
    "   \"other\": {\"text\": \"general_calibration.jsonl\", \"samples\": 96, \"length\": 64, \"seed\": 1}},"
    " \"grid\": [{\"method\": \"sparsegpt\", \"sparsity\": 0.5, \"calibration\": \"general\", \"propagation\": "
    "\"dense\"},"
    "   {\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"general\", \"allocation\": \"owl\"},"
    "   {\"method\": \"drop\", \"sparsity\": 0.3, \"score\": \"angular\", \"calibration\": "
    "\"general\"}"
    "   %s],"
    " \"evaluate\": {\"perplexity\": {\"world\": {\"text\": \"general_eval.txt\", \"length\": 128, \"windows\": "
    "40}}%s}}";

static const char *const other_point =
    ", {\"method\": \"wanda\", \"sparsity\": 0.5, \"calibration\": \"other\", \"propagation\": \"dense\"}";

struct pass {
    struct wn_sweep *sweep;
    struct wn_run *run;
    struct wn_reference reference;
    int64_t peak; /* of this rank's own memory */
};

static struct wn_sweep *read_sweep(const char *arithmetic, bool large)
{
    struct wn_problems problems;
    struct wn_sweep *sweep;
    char *text = wn_format(sweep_text, WN_SOURCE_DIR, arithmetic, WN_SOURCE_DIR, large ? 448 : 64,
                           large ? other_point : "", large ? ", \"divergence\": {\"on\": [\"world\"]}" : "");
    wn_problems_init(&problems);
    CHECK_OK(wn_sweep_parse("sweep.json", text, &problems, &sweep));
    wn_problems_release(&problems);
    wn_free(text);
    return sweep;
}

static void compute(struct wn_par *par, const char *arithmetic, bool large, struct pass *pass)
{
    struct wn_problems problems;
    bool wanted[16];
    memset(wanted, true, sizeof wanted);
    pass->sweep = read_sweep(arithmetic, large);
    wn_problems_init(&problems);
    CHECK_OK(wn_prepare(par, pass->sweep, false, &problems, &pass->run));
    wn_problems_release(&problems);
    CHECK(pass->run->grid.n_points <= 16);
    int64_t before = wn_memory_bytes();
    wn_memory_reset_peak();
    CHECK_OK(wn_reference_compute(par, pass->run, wanted, &pass->reference));
    pass->peak = wn_memory_peak() - before;
}

static void release(struct pass *pass)
{
    wn_reference_release(&pass->reference);
    wn_run_release(&pass->run);
    wn_sweep_close(&pass->sweep);
}

static void hash_shared(struct wn_hash *hash, const struct wn_shared *shared)
{
    if (shared->data)
        wn_hash_update(hash, shared->data, (size_t)shared->bytes);
}

/* One hash over all that the pass leaves behind. */
static void hash_reference(const struct pass *pass, char hex[WN_HASH_HEX])
{
    const struct wn_reference *reference = &pass->reference;
    int64_t n_blocks = pass->run->models[0].model->config.n_blocks;
    uint8_t digest[32];
    struct wn_hash *hash = wn_hash_create();
    for (int64_t e = 0; e < reference->n_sets; e++)
        hash_shared(hash, &reference->states[0][e]);
    for (int64_t c = 0; c < reference->n_calibrations; c++) {
        const struct wn_outlier_shares *outliers = &reference->outliers[0][c];
        hash_shared(hash, &reference->statistics[0][c]);
        wn_hash_update(hash, outliers->shares, (size_t)(outliers->count * n_blocks) * sizeof(double));
    }
    wn_hash_finish(hash, digest);
    wn_hash_hex(digest, hex);
}

/* The second moments of the first block are sums of all tokens: none was left out, none counted twice. */
static void check_sums(const struct pass *pass)
{
    const struct wn_layout *layout = &pass->run->models[0].model->layout;
    void *statistics = pass->reference.statistics[0][0].data;
    const double *squares = wn_statistics_squares(layout, statistics, 0);
    const float *moments = wn_statistics_moments(layout, statistics, 0);
    int64_t width = layout->input_widths[0];
    for (int64_t j = 0; j < width; j++)
        CHECK_NEAR(moments[j * width + j] / squares[j], 1, 1e-4);
    CHECK(moments[1] == moments[width] && moments[1] != 0);
}

static void check_work(struct wn_par *par, const struct pass *pass, bool large)
{
    struct wn_reference_bytes bytes;
    int size = wn_par_size(par);
    int64_t block = wn_block_bytes(pass->run->models[0].model);
    wn_reference_predict(pass->run, 0, size, &bytes);
    CHECK(bytes.groups == (large ? 14 + 3 : 2));
    CHECK(bytes.workers == (large || size < 2 ? size : 2));
    CHECK(bytes.group == wn_statistics_bytes(&pass->run->models[0].model->layout, pass->reference.needs[0][0]));
    CHECK_NEAR((double)wn_par_max(par, pass->peak) / (double)bytes.rank, 1, 0.1);
    CHECK(wn_par_sum(par, pass->peak >= block) == (double)bytes.workers);
}

/* `alone` [WN_HASH_HEX] from rank 0, on one rank. */
static void check_size(struct wn_par *par, const char *arithmetic, bool large)
{
    char alone[WN_HASH_HEX] = "", together[WN_HASH_HEX];
    struct pass pass;
    if (wn_par_rank(par) == 0) {
        struct wn_par *serial;
        wn_par_start_serial(&serial);
        compute(serial, arithmetic, large, &pass);
        check_sums(&pass);
        hash_reference(&pass, alone);
        release(&pass);
        wn_par_finish(&serial);
    }
    wn_par_broadcast(par, alone, sizeof alone, 0);
    compute(par, arithmetic, large, &pass);
    hash_reference(&pass, together);
    CHECK_TEXT(together, alone);
    check_work(par, &pass, large);
    release(&pass);
}

int main(int argc, char **argv)
{
    struct wn_par *par;
    CHECK_OK(wn_linalg_start());
    CHECK_OK(wn_par_start(&argc, &argv, &par));
    check_size(par, "f32", true);
    check_size(par, "f32", false);
    if (wn_bf16_start() == WN_OK)
        check_size(par, "bf16", false);
    wn_par_finish(&par);
    return test_finish();
}
