/* SPDX-License-Identifier: Apache-2.0 */
/* measure.c: dense fp32, dense bf16 and a compressed model in turn, round by round; what pairs of takes say. */
#include "efficiency.h"

#include <winnow/kernels.h>
#include <winnow/linalg.h>

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const double DISTURBED = 1.1; /* wall over processor seconds */
enum { MOST_ROUNDS = 2, READ_FLOATS = 1 << 24, IDLE_MS = 100 };
enum { MACHINE_BYTES = 8 << 20 }; /* of the products that are tried on the machine */

static const struct {
    const char *name;
    int64_t texts;
} speeds[WN_SPEEDS] = {[WN_SPEED_PREFILL] = {"prefill", 1},
                       [WN_SPEED_FIRST] = {"first_token", 1},
                       [WN_SPEED_DECODE_1] = {"decode_1", 1},
                       [WN_SPEED_DECODE_8] = {"decode_8", 8},
                       [WN_SPEED_DECODE_32] = {"decode_32", 32}};

const char *wn_speed_name(enum wn_speed speed)
{
    return speeds[speed].name;
}

int64_t wn_speed_texts(enum wn_speed speed)
{
    return speeds[speed].texts;
}

bool wn_speed_is_asked(const struct wn_efficiency *asked, enum wn_speed speed)
{
    return speeds[speed].texts <= asked->batch;
}

/* ---- statistics ---- */

struct wn_quartiles wn_quartiles_of(double *values, int64_t count)
{
    wn_sort_doubles(values, count);
    return (struct wn_quartiles){wn_percentile(values, count, 0.25), wn_percentile(values, count, 0.5),
                                 wn_percentile(values, count, 0.75)};
}

/* ---- rounds ---- */

/* All takes: seconds [round][speed][model][clock]; a last half round has dense models alone. */
struct rounds {
    double (*seconds)[WN_SPEEDS][WN_SPEED_MODELS][WN_CLOCKS];
    int64_t count; /* whole ones */
};

static bool ran_longer(const struct rounds *rounds, int64_t round, enum wn_speed speed, enum wn_speed_model model)
{
    const double *seconds = rounds->seconds[round][speed][model];
    return seconds[WN_CLOCK_WALL] > DISTURBED * seconds[WN_CLOCK_PROCESSOR];
}

static bool is_disturbed(const struct rounds *rounds, int64_t round, enum wn_speed speed)
{
    bool disturbed = ran_longer(rounds, round, speed, WN_SPEED_POINT);
    for (int m = WN_SPEED_F32; m <= WN_SPEED_BF16; m++)
        disturbed = disturbed || ran_longer(rounds, round, speed, (enum wn_speed_model)m) ||
                    ran_longer(rounds, round + 1, speed, (enum wn_speed_model)m);
    return disturbed;
}

static int64_t count_disturbed(const struct rounds *rounds, enum wn_speed speed)
{
    int64_t disturbed = 0;
    for (int64_t r = 0; r < rounds->count; r++)
        disturbed += is_disturbed(rounds, r, speed);
    return disturbed;
}

/* Seconds of a model, and of dense ones the ratios to the point, of the rounds that count. */
static void reduce(const struct rounds *rounds, enum wn_speed speed, enum wn_speed_model model,
                   enum wn_speed_clock clock, bool calm, struct wn_speed_numbers *numbers)
{
    double *seconds = wn_alloc(rounds->count, sizeof *seconds), *faster = wn_alloc(rounds->count, sizeof *faster);
    int64_t count = 0;
    for (int64_t r = 0; r < rounds->count; r++) {
        if (calm && is_disturbed(rounds, r, speed))
            continue;
        const double here = rounds->seconds[r][speed][model][clock];
        const double next = model == WN_SPEED_POINT ? here : rounds->seconds[r + 1][speed][model][clock];
        seconds[count] = here;
        faster[count++] = (here + next) / 2 / rounds->seconds[r][speed][WN_SPEED_POINT][clock];
    }
    numbers->seconds[model][clock] = wn_quartiles_of(seconds, count);
    numbers->faster[model][clock] = wn_quartiles_of(faster, count);
    wn_free(seconds);
    wn_free(faster);
}

static void reduce_all(const struct wn_efficiency *asked, const struct rounds *rounds,
                       struct wn_efficiency_result *result)
{
    for (int s = 0; s < WN_SPEEDS; s++) {
        const enum wn_speed speed = (enum wn_speed)s;
        struct wn_speed_numbers *numbers = &result->speeds[s];
        const bool is_asked = wn_speed_is_asked(asked, speed);
        const struct rounds none = {rounds->seconds, 0};
        numbers->pairs = is_asked ? rounds->count : 0;
        numbers->disturbed = is_asked ? count_disturbed(rounds, speed) : 0;
        const bool calm = numbers->pairs - numbers->disturbed >= asked->pairs;
        for (int m = 0; m < WN_SPEED_MODELS; m++)
            for (int c = 0; c < WN_CLOCKS; c++)
                reduce(is_asked ? rounds : &none, speed, (enum wn_speed_model)m, (enum wn_speed_clock)c, calm, numbers);
    }
}

static bool are_enough(const struct wn_efficiency *asked, const struct rounds *rounds)
{
    bool enough = true;
    for (int s = 0; s < WN_SPEEDS; s++)
        if (wn_speed_is_asked(asked, (enum wn_speed)s))
            enough = enough && rounds->count - count_disturbed(rounds, (enum wn_speed)s) >= asked->pairs;
    return enough || rounds->count == MOST_ROUNDS * asked->pairs;
}

/* ---- a measurement ---- */

struct measurement {
    const struct wn_efficiency *asked;
    struct wn_kept_blocks models[WN_SPEED_MODELS]; /* of the point only the array of blocks is its own */
    struct wn_takes takes;
    struct wn_energy energy;
    double joules[2], tokens[2]; /* of the point: prefills, and steps for one text */
};

enum wn_compute wn_speed_compute(const struct wn_model *model, enum wn_speed_model which, enum wn_speed speed)
{
    if (speed >= WN_SPEED_DECODE_1 || which == WN_SPEED_F32)
        return WN_COMPUTE_F32;
    if (which == WN_SPEED_POINT)
        return model->compute;
    return wn_bf16_start() == WN_OK ? WN_COMPUTE_BF16 : WN_COMPUTE_F32;
}

static void choose_products(struct measurement *m, enum wn_speed_model which, enum wn_speed speed)
{
    const enum wn_compute compute = wn_speed_compute(m->takes.model, which, speed);
    for (int64_t b = 0; b < m->takes.model->config.n_blocks; b++)
        m->models[which].blocks[b].compute = compute;
}

static void take_all(struct measurement *m, struct rounds *rounds, enum wn_speed_model model)
{
    for (int s = 0; s < WN_SPEEDS; s++) {
        const enum wn_speed speed = (enum wn_speed)s;
        if (!wn_speed_is_asked(m->asked, speed))
            continue;
        choose_products(m, model, speed);
        const double before = wn_energy_joules(&m->energy);
        wn_take(&m->takes, &m->models[model], speed, rounds->seconds[rounds->count][s][model]);
        const bool steps = speed == WN_SPEED_DECODE_1;
        if (model == WN_SPEED_POINT && (steps || speed == WN_SPEED_PREFILL)) {
            m->joules[steps] += wn_energy_joules(&m->energy) - before;
            m->tokens[steps] += steps ? (double)m->asked->steps : 1;
        }
    }
}

static void run_rounds(struct measurement *m, struct rounds *rounds)
{
    static const enum wn_speed_model order[] = {WN_SPEED_F32, WN_SPEED_BF16, WN_SPEED_POINT};
    struct rounds warm = {rounds->seconds, 0};
    wn_takes_fill(&m->takes, &m->models[WN_SPEED_POINT]);
    for (int i = 0; i < 3; i++)
        take_all(m, &warm, order[i]);
    m->joules[0] = m->joules[1] = m->tokens[0] = m->tokens[1] = 0;
    take_all(m, rounds, WN_SPEED_F32);
    take_all(m, rounds, WN_SPEED_BF16);
    do {
        take_all(m, rounds, WN_SPEED_POINT);
        rounds->count++;
        take_all(m, rounds, WN_SPEED_F32);
        take_all(m, rounds, WN_SPEED_BF16);
    } while (!are_enough(m->asked, rounds));
}

static double watts_idle(struct wn_energy *energy)
{
    const struct timespec pause = {.tv_nsec = IDLE_MS * 1000 * 1000};
    const double before = wn_energy_joules(energy), start = wn_seconds();
    if (isnan(before))
        return before;
    nanosleep(&pause, NULL);
    return (wn_energy_joules(energy) - before) / (wn_seconds() - start);
}

/* Cache of one text, as long as it is in the middle of a take. */
static double cache_bytes(const struct wn_model *model, const struct wn_efficiency *asked)
{
    return 2.0 * (double)(model->config.n_blocks * model->config.n_kv_heads * model->config.head_dim) * sizeof(float) *
           ((double)asked->prompt + (double)asked->steps / 2);
}

static void count_bytes(const struct measurement *m, struct wn_efficiency_result *result)
{
    const struct wn_model *model = m->takes.model;
    const double head = (double)wn_head_bytes(model), cache = cache_bytes(model, m->asked);
    for (int i = 0; i < WN_SPEED_MODELS; i++) {
        const double weights = (double)wn_kept_weight_bytes(&m->models[i]) + head;
        result->resident_bytes[i] = weights + (model->config.tied ? 0 : head) + cache;
        result->cache_resident = result->cache_resident || weights < 2.0 * (double)wn_last_cache_bytes();
        for (int s = 0; s < WN_SPEEDS; s++) {
            const bool steps = s >= WN_SPEED_DECODE_1 && wn_speed_is_asked(m->asked, (enum wn_speed)s);
            const int64_t texts = wn_speed_texts((enum wn_speed)s);
            result->bytes_read[i][s] =
                steps ? (wn_kept_step_bytes(&m->models[i], texts) + head) / (double)texts + cache : (double)NAN;
        }
    }
}

/* Of a buffer twice as large as the last cache. */
static int64_t buffer_floats(void)
{
    const int64_t floats = wn_last_cache_bytes() / 2;
    return floats > READ_FLOATS ? floats : READ_FLOATS;
}

/* With the lock of the node held. */
static wn_status measure(struct measurement *m, const struct wn_kept_blocks *point, struct wn_efficiency_result *result)
{
    struct rounds rounds = {wn_alloc_zero(MOST_ROUNDS * m->asked->pairs + 1, sizeof *rounds.seconds), 0};
    const int64_t floats = buffer_floats();
    float *buffer = wn_alloc_zero(floats, sizeof *buffer);
    struct wn_block *blocks = wn_alloc(point->model->config.n_blocks, sizeof *blocks);
    memcpy(blocks, point->blocks, (size_t)point->model->config.n_blocks * sizeof *blocks);
    m->models[WN_SPEED_POINT] = *point;
    m->models[WN_SPEED_POINT].blocks = blocks;
    wn_status status = wn_dense_keep(point->model, false, &m->models[WN_SPEED_F32]);
    if (status == WN_OK)
        status = wn_dense_keep(point->model, true, &m->models[WN_SPEED_BF16]);
    if (status == WN_OK) {
        wn_takes_open(&m->takes, point->model, m->asked);
        wn_energy_open("", &m->energy);
        result->idle_watts = watts_idle(&m->energy);
        wn_machine_measure(buffer, floats, &result->before);
        run_rounds(m, &rounds);
        wn_machine_measure(buffer, floats, &result->after);
        reduce_all(m->asked, &rounds, result);
        count_bytes(m, result);
        result->joules_prefill = m->joules[0] / m->tokens[0];
        result->joules_per_token = m->joules[1] / m->tokens[1];
        snprintf(result->energy_source, sizeof result->energy_source, "%s", m->energy.source);
        wn_takes_release(&m->takes);
    }
    wn_kept_blocks_release(&m->models[WN_SPEED_F32]);
    wn_kept_blocks_release(&m->models[WN_SPEED_BF16]);
    wn_free(blocks);
    wn_free(buffer);
    wn_free(rounds.seconds);
    return status;
}

wn_status wn_efficiency_measure(const struct wn_efficiency *asked, const struct wn_kept_blocks *point,
                                struct wn_efficiency_result *result)
{
    struct measurement m = {.asked = asked};
    char path[64];
    int lock, threads = omp_get_max_threads();
    *result = (struct wn_efficiency_result){.format = ""};
    snprintf(path, sizeof path, "/dev/shm/winnow-speed-%ld.lock", (long)getuid());
    WN_TRY(wn_node_lock(path, &lock, &result->lock_seconds));
    omp_set_num_threads((int)asked->threads);
    wn_status status = measure(&m, point, result);
    omp_set_num_threads(threads);
    wn_node_unlock(lock);
    if (status == WN_OK)
        wn_efficiency_format(point, result->format, sizeof result->format);
    return status;
}

/* ---- what it costs ---- */

/* A block on its way into memory as bf16. */
static int64_t loading_bytes(const struct wn_model *model)
{
    int64_t most = 0;
    for (int l = 0; l < model->layout.n_linears; l++) {
        int64_t bytes = wn_pack_bytes_while(model->layout.linears[l].rows, model->layout.linears[l].columns);
        most = bytes > most ? bytes : most;
    }
    return most + wn_block_bytes(model);
}

/* Weights and inputs on their way through a product, in fp32 and bf16. */
static int64_t panel_bytes(const struct wn_model *model, const struct wn_efficiency *asked)
{
    int64_t in = 0, out = 0;
    for (int l = 0; l < model->layout.n_linears; l++) {
        in = model->layout.linears[l].columns > in ? model->layout.linears[l].columns : in;
        out = model->layout.linears[l].rows > out ? model->layout.linears[l].rows : out;
    }
    const int64_t rows = wn_takes_prompt(model, asked, WN_SPEED_PREFILL) + asked->prompt;
    const int64_t panel = WN_TILE_COLUMNS * in > wn_few_rows_panel(in) ? WN_TILE_COLUMNS * in : wn_few_rows_panel(in);
    const int64_t attention = 48 * (2 * model->config.head_dim + WN_ATTENTION_KEYS);
    return asked->threads * (panel + attention + 6 * (in + 8)) * (int64_t)sizeof(float) +
           32 * in * (int64_t)sizeof(float) + wn_linears_bytes(WN_COMPUTE_BF16, rows, in, out, (int)asked->threads);
}

int64_t wn_efficiency_bytes(const struct wn_model *model, const struct wn_efficiency *asked)
{
    int64_t each =
        (int64_t)(sizeof(void *) + sizeof(struct wn_activation *)) + wn_packed_linear_own_bytes_of(NULL, 0, 0);
    int64_t others = wn_block_bytes(model) - wn_model_block_weights(model) * (int64_t)sizeof(float) +
                     (int64_t)sizeof(struct wn_block) + model->layout.n_linears * each;
    return wn_model_weights(model) * 6 + model->config.n_blocks * (2 * others + (int64_t)sizeof(struct wn_block)) +
           loading_bytes(model) + wn_takes_bytes(model, asked) + panel_bytes(model, asked) + MACHINE_BYTES +
           (buffer_floats() + WN_TILE_ROWS * WN_TILE_COLUMNS) * (int64_t)sizeof(float);
}

void wn_efficiency_work(const struct wn_model *model, const struct wn_efficiency *asked, double *prompt_rows,
                        double *step_rows)
{
    const double takes = WN_SPEED_MODELS * (double)(asked->pairs + 2);
    *prompt_rows = takes * (double)(wn_takes_prompt(model, asked, WN_SPEED_PREFILL) + asked->prompt);
    *step_rows = 0;
    for (int s = WN_SPEED_DECODE_1; s < WN_SPEEDS; s++) {
        const int64_t texts = wn_speed_texts((enum wn_speed)s);
        if (wn_speed_is_asked(asked, (enum wn_speed)s))
            *step_rows +=
                takes * (double)asked->steps * (double)(texts > WN_GENERATE_STEP_ROWS ? texts : WN_GENERATE_STEP_ROWS);
    }
}
