/* SPDX-License-Identifier: Apache-2.0 */
/* Speeds: the lock of a node, quartiles, counters of energy, forms, and a measurement of the demo model. */
#include <efficiency/efficiency.h>
#include <winnow/linalg.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "test.h"

/* ---- the lock ---- */

static void wait_byte(int from)
{
    char byte;
    CHECK(read(from, &byte, 1) == 1);
}

/* A child that holds the lock until it is killed; returns its process id. */
static pid_t start_holder(const char *path)
{
    int ready[2], lock;
    double waited;
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    if (child == 0) {
        if (wn_node_lock(path, &lock, &waited) == WN_OK && write(ready[1], "x", 1) == 1)
            pause();
        _exit(1);
    }
    wait_byte(ready[0]);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void test_lock(void)
{
    char path[64], missing[80];
    int lock, second;
    double waited;
    snprintf(path, sizeof path, "/tmp/winnow-test-%ld.lock", (long)getpid());
    pid_t child = start_holder(path);
    /* It is held: another process gets it only when the holder is gone, killed or not. */
    pid_t waiter = fork();
    if (waiter == 0)
        _exit(wn_node_lock(path, &lock, &waited) == WN_OK && waited > 0.15 ? 0 : 1);
    usleep(1000 * 1000); /* for the waiter to begin, too */
    CHECK(waitpid(waiter, &second, WNOHANG) == 0);
    CHECK(kill(child, SIGKILL) == 0);
    CHECK(waitpid(child, &second, 0) == child);
    CHECK(waitpid(waiter, &second, 0) == waiter && WIFEXITED(second) && WEXITSTATUS(second) == 0);
    CHECK_OK(wn_node_lock(path, &lock, &waited));
    CHECK(waited < 5);
    wn_node_unlock(lock);
    unlink(path);
    snprintf(missing, sizeof missing, "/tmp/winnow-test-%ld/none.lock", (long)getpid());
    CHECK(wn_node_lock(missing, &lock, &waited) == WN_ERR_IO);
    CHECK_MESSAGE("the lock of speed measurements cannot be opened");
}

/* ---- quartiles ---- */

static void test_quartiles(void)
{
    double values[] = {4, 1, 3, 2, 5}, one[] = {7};
    struct wn_quartiles q = wn_quartiles_of(values, 5);
    CHECK(q.low == 2 && q.median == 3 && q.high == 4);
    q = wn_quartiles_of(values, 4); /* of 1, 2, 3, 4 */
    CHECK(q.low == 1.75 && q.median == 2.5 && q.high == 3.25);
    q = wn_quartiles_of(one, 1);
    CHECK(q.low == 7 && q.median == 7 && q.high == 7);
    q = wn_quartiles_of(one, 0);
    CHECK(isnan(q.median));
}

/* ---- energy ---- */

static void put(const char *root, const char *folder, const char *name, const char *text)
{
    char path[256], command[300];
    snprintf(command, sizeof command, "mkdir -p '%s/%s'", root, folder);
    CHECK(system(command) == 0);
    snprintf(path, sizeof path, "%s/%s/%s", root, folder, name);
    FILE *file = fopen(path, "w");
    CHECK(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void test_energy(void)
{
    char root[] = "/tmp/winnow-energy-XXXXXX", command[64];
    struct wn_energy energy;
    CHECK(mkdtemp(root) != NULL);
    wn_energy_open(root, &energy);
    CHECK_TEXT(energy.source, "none");
    CHECK(isnan(wn_energy_joules(&energy)));
    /* Two packages; the counter of the first begins anew at 10 J. */
    put(root, "sys/class/powercap/intel-rapl:0", "energy_uj", "9000000\n");
    put(root, "sys/class/powercap/intel-rapl:0", "max_energy_range_uj", "10000000\n");
    put(root, "sys/class/powercap/intel-rapl:1", "energy_uj", "500000\n");
    put(root, "sys/class/powercap/intel-rapl:1", "max_energy_range_uj", "10000000\n");
    wn_energy_open(root, &energy);
    CHECK_TEXT(energy.source, "powercap");
    CHECK(wn_energy_joules(&energy) == 0);
    put(root, "sys/class/powercap/intel-rapl:0", "energy_uj", "1500000\n");
    put(root, "sys/class/powercap/intel-rapl:1", "energy_uj", "750000\n");
    CHECK_NEAR(wn_energy_joules(&energy), 2.5 + 0.25, 1e-9);
    put(root, "sys/cray/pm_counters", "energy", "120 J\n");
    wn_energy_open(root, &energy);
    CHECK_TEXT(energy.source, "pm_counters");
    put(root, "sys/cray/pm_counters", "energy", "150 J\n");
    CHECK_NEAR(wn_energy_joules(&energy), 30, 1e-9);
    snprintf(command, sizeof command, "rm -r '%s'", root);
    CHECK(system(command) == 0);
}

/* ---- a measurement ---- */

/* A model, half of its weights zeros or not. */
static void keep_model(const struct wn_model *model, bool half, bool changed, struct wn_kept_blocks *kept)
{
    struct wn_block *block = wn_block_create(model);
    struct wn_activation *rules[WN_MAX_LINEARS] = {NULL};
    wn_kept_blocks_init(kept, model);
    for (int64_t b = 0; b < model->config.n_blocks; b++) {
        CHECK_OK(wn_model_load_block(model, b, block));
        for (int l = 0; l < model->layout.n_linears; l++) {
            const int64_t rows = model->layout.linears[l].rows, columns = model->layout.linears[l].columns;
            struct wn_compressed form;
            if (!wn_is_in(&model->config, model->layout.linears[l].where, b))
                continue;
            wn_compressed_init(&form, rows, columns, block->linears[l], NULL);
            for (int64_t i = 0; i < rows * columns && half; i++)
                form.weight[i] =
                    wn_random_uniform(1, 2, (uint64_t)i) < 0.5 || (changed && i == 0) ? 0 : block->linears[l][i];
            wn_kept_blocks_take_linear(kept, b, l, &form);
        }
        wn_kept_blocks_take(kept, b, block, rules);
    }
    wn_block_destroy(&block, model);
}

static void test_forms(const struct wn_model *model)
{
    struct wn_kept_blocks all, half, other;
    keep_model(model, false, false, &all);
    keep_model(model, true, false, &half);
    keep_model(model, true, true, &other);
    char *a = wn_efficiency_form(&all), *b = wn_efficiency_form(&half), *c = wn_efficiency_form(&other);
    CHECK(strcmp(a, b) != 0);
    CHECK_TEXT(b, c); /* one zero more is no other speed */
    wn_free(a);
    wn_free(b);
    wn_free(c);
    wn_kept_blocks_release(&all);
    wn_kept_blocks_release(&half);
    wn_kept_blocks_release(&other);
}

/* ---- bytes ---- */

static struct wn_model *open_reference(const char *name)
{
    struct wn_model *model;
    char *folder = wn_format("tests/model/reference/%s", name), *path = test_path(folder);
    CHECK_OK(wn_model_open(path, NULL, &model));
    wn_free(folder);
    wn_free(path);
    return model;
}

/* Weights of bf16 have two bytes, whatever stands around them in memory; a head of another width has that width. */
static void test_bytes(const struct wn_model *model)
{
    struct wn_kept_blocks kept;
    struct wn_model *narrow = open_reference("opt_350m");
    CHECK_OK(wn_dense_keep(model, true, &kept));
    CHECK(wn_kept_step_bytes(&kept, 1) == 2 * (double)wn_model_weights(model));
    CHECK((double)wn_kept_weight_bytes(&kept) > wn_kept_step_bytes(&kept, 1));
    wn_kept_blocks_release(&kept);
    CHECK(wn_embedding_size(&narrow->config) != narrow->config.hidden_size);
    CHECK(wn_head_bytes(narrow) == 256 * 12 * 2);
    wn_model_close(&narrow);
}

/* One block of three has 6 experts, of which a token goes through 2; the others have an MLP. What a block does not have
 * is in no count. */
static void test_experts(void)
{
    struct wn_kept_blocks dense, half;
    struct wn_model *model = open_reference("qwen2_moe");
    const double experts = 6 * 3 * 12 * 24, others = (double)wn_model_weights(model) - experts;
    char format[128];
    CHECK(wn_model_weights(model) < wn_model_block_weights(model) * model->config.n_blocks);
    CHECK_OK(wn_dense_keep(model, false, &dense));
    CHECK(wn_kept_weight_bytes(&dense) == 4 * wn_model_weights(model));
    CHECK_NEAR(wn_kept_step_bytes(&dense, 1), 4 * (others + experts / 3), 1e-6);
    CHECK_NEAR(wn_kept_step_bytes(&dense, 8), 4 * (others + experts * (1 - pow(2.0 / 3, 8))), 1e-6);
    wn_kept_blocks_release(&dense);
    keep_model(model, true, false, &half);
    wn_efficiency_format(&half, format, sizeof format);
    CHECK_TEXT(format, "bf16, a mask");
    wn_kept_blocks_release(&half);
    wn_model_close(&model);
}

/* A sweep in bf16 changes the prefills of its points: neither the dense fp32 model, nor steps, which read packed forms.
 */
static void test_products(const struct wn_model *model)
{
    struct wn_model bf16 = *model;
    bf16.compute = WN_COMPUTE_BF16;
    CHECK(model->compute == WN_COMPUTE_F32);
    CHECK(wn_speed_compute(model, WN_SPEED_POINT, WN_SPEED_PREFILL) == WN_COMPUTE_F32);
    CHECK(wn_speed_compute(&bf16, WN_SPEED_POINT, WN_SPEED_PREFILL) == WN_COMPUTE_BF16);
    CHECK(wn_speed_compute(&bf16, WN_SPEED_F32, WN_SPEED_PREFILL) == WN_COMPUTE_F32);
    for (int m = 0; m < WN_SPEED_MODELS; m++)
        for (int s = WN_SPEED_DECODE_1; s < WN_SPEEDS; s++)
            CHECK(wn_speed_compute(&bf16, (enum wn_speed_model)m, (enum wn_speed)s) == WN_COMPUTE_F32);
}

static void check_quartiles(const struct wn_quartiles *q, bool there)
{
    CHECK(there ? q->low > 0 && q->low <= q->median && q->median <= q->high : isnan(q->median));
}

static void test_measurement(const struct wn_model *model)
{
    const struct wn_efficiency asked = {.prompt = 16, .steps = 2, .pairs = 2, .threads = 1, .batch = 8};
    struct wn_efficiency_result result;
    struct wn_kept_blocks kept;
    keep_model(model, false, false, &kept);
    omp_set_num_threads(2);
    int64_t before = wn_memory_bytes();
    wn_memory_reset_peak();
    CHECK_OK(wn_efficiency_measure(&asked, &kept, &result));
    CHECK(omp_get_max_threads() == 2);
    CHECK(wn_memory_bytes() == before);
    CHECK(wn_memory_peak() - before <= wn_efficiency_bytes(model, &asked));
    for (int s = 0; s < WN_SPEEDS; s++) {
        const struct wn_speed_numbers *numbers = &result.speeds[s];
        const bool there = s != WN_SPEED_DECODE_32, steps = s >= WN_SPEED_DECODE_1;
        CHECK(there ? numbers->pairs >= 2 && numbers->pairs <= 4 : numbers->pairs == 0);
        CHECK(numbers->disturbed <= numbers->pairs);
        for (int m = 0; m < WN_SPEED_MODELS; m++) {
            for (int c = 0; c < WN_CLOCKS; c++) {
                check_quartiles(&numbers->seconds[m][c], there);
                check_quartiles(&numbers->faster[m][c], there);
                CHECK(!there || m != WN_SPEED_POINT || numbers->faster[m][c].median == 1);
            }
            CHECK(isnan(result.bytes_read[m][s]) == !(there && steps));
        }
    }
    /* fp32 weights of the linears are twice those of bf16; the head is the same. */
    const double weights = (double)(wn_model_block_weights(model) * model->config.n_blocks);
    const double *bytes = result.resident_bytes;
    CHECK_NEAR((bytes[WN_SPEED_F32] - bytes[WN_SPEED_BF16]) / weights, 2, 0.1);
    CHECK(bytes[WN_SPEED_POINT] > weights);
    CHECK(result.before.read_bytes > 1e8 && result.after.f32 > 1e8);
    CHECK(result.cache_resident); /* the demo model is */
    CHECK(result.format[0] != '\0');
    wn_kept_blocks_release(&kept);
}

int main(void)
{
    struct wn_model *model;
    char *path = test_path("sweeps/demo/model");
    CHECK_OK(wn_linalg_start());
    test_lock();
    test_quartiles();
    test_energy();
    CHECK_OK(wn_model_open(path, NULL, &model));
    test_forms(model);
    test_bytes(model);
    test_experts();
    test_products(model);
    test_measurement(model);
    wn_model_close(&model);
    wn_free(path);
    return test_finish();
}
