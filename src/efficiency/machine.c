/* SPDX-License-Identifier: Apache-2.0 */
/* machine.c: what the machine can do at the moment, a lock of its node, and what it says of energy. */
#include "efficiency.h"

#include <winnow/linalg.h>

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

/* ---- the lock ---- */

wn_status wn_node_lock(const char *path, int *lock, double *waited)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    double start = wn_seconds();
    *lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*lock < 0)
        return wn_fail(WN_ERR_IO, "%s: the lock of speed measurements cannot be opened: %s", path, strerror(errno));
    while (flock(*lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR) {
            wn_fail(WN_ERR_IO, "%s: the lock of speed measurements cannot be had: %s", path, strerror(errno));
            close(*lock);
            return WN_ERR_IO;
        }
        nanosleep(&pause, NULL);
    }
    *waited = wn_seconds() - start;
    return WN_OK;
}

void wn_node_unlock(int lock)
{
    close(lock);
}

/* ---- rates ---- */

/* What the system says of the cache that a core reaches comes first: sysconf may count those of all cores. */
int64_t wn_last_cache_bytes(void)
{
    FILE *file = fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r");
    long bytes = 0;
    if (file && fscanf(file, "%ldK", &bytes) != 1)
        bytes = 0;
    if (file)
        fclose(file);
    if (bytes > 0)
        return bytes * 1024;
    bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
    if (bytes <= 0)
        bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes > 0 ? bytes : 32 << 20;
}

/* Read by all threads, once; the sum makes sure that it is. Lanes, as one chain of additions is slower than memory. */
static double read_once(const float *buffer, int64_t count)
{
    enum { LANES = 64 };
    float sum = 0;
#pragma omp parallel reduction(+ : sum)
    {
        float lanes[LANES] = {0};
#pragma omp for schedule(static)
        for (int64_t i = 0; i < count / LANES; i++)
            for (int64_t l = 0; l < LANES; l++)
                lanes[l] += buffer[i * LANES + l];
        for (int64_t l = 0; l < LANES; l++)
            sum += lanes[l];
    }
    return sum;
}

/* Operations per second of a few tiles of products. */
static double product_rate(enum wn_compute compute, const float *buffer, float *y)
{
    enum { IN = 1024, ROUNDS = 5 };
    const int64_t row[] = {0, WN_TILE_ROWS};
    const struct wn_linear_map map = {.w = buffer, .out = WN_TILE_COLUMNS, .y = y, .stride = WN_TILE_COLUMNS};
    double best = 0;
    for (int r = 0; r < ROUNDS; r++) {
        double start = wn_seconds();
        wn_linears_by(compute, buffer, 1, row, IN, &map, 1);
        best = fmax(best, 2.0 * WN_TILE_ROWS * WN_TILE_COLUMNS * IN / (wn_seconds() - start));
    }
    return best;
}

void wn_machine_measure(const float *buffer, int64_t count, struct wn_machine_speed *speed)
{
    float *y = wn_alloc(WN_TILE_ROWS * WN_TILE_COLUMNS, sizeof *y);
    volatile double sink;
    speed->read_bytes = 0;
    for (int r = 0; r < 5; r++) {
        double start = wn_seconds();
        sink = read_once(buffer, count);
        speed->read_bytes = fmax(speed->read_bytes, (double)count * sizeof *buffer / (wn_seconds() - start));
    }
    (void)sink;
    speed->f32 = product_rate(WN_COMPUTE_F32, buffer, y);
    speed->bf16 = wn_bf16_start() == WN_OK ? product_rate(WN_COMPUTE_BF16, buffer, y) : (double)NAN;
    wn_free(y);
}

/* ---- energy ---- */

static bool read_number(const char *path, double *value)
{
    FILE *file = fopen(path, "r");
    bool good = file && fscanf(file, "%lf", value) == 1;
    if (file)
        fclose(file);
    return good;
}

static void add_counter(struct wn_energy *energy, const char *path, double range)
{
    double count;
    if (energy->count == (int)(sizeof energy->paths / sizeof energy->paths[0]) || !read_number(path, &count))
        return;
    snprintf(energy->paths[energy->count], sizeof energy->paths[0], "%s", path);
    energy->last[energy->count] = count * energy->unit;
    energy->range[energy->count++] = range;
}

/* Packages alone: their parts ("core", "dram" inside) have a number behind a second colon. */
static void open_powercap(const char *root, struct wn_energy *energy)
{
    energy->unit = 1e-6;
    for (int n = 0; n < 64; n++) {
        char path[128];
        double range = 0;
        snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:%d/max_energy_range_uj", root, n);
        read_number(path, &range);
        snprintf(path, sizeof path, "%s/sys/class/powercap/intel-rapl:%d/energy_uj", root, n);
        add_counter(energy, path, range * energy->unit);
    }
}

void wn_energy_open(const char *root, struct wn_energy *energy)
{
    char path[160];
    *energy = (struct wn_energy){.source = "pm_counters", .unit = 1};
    snprintf(path, sizeof path, "%s/sys/cray/pm_counters/energy", root);
    add_counter(energy, path, 0);
    if (energy->count)
        return;
    snprintf(energy->source, sizeof energy->source, "powercap");
    open_powercap(root, energy);
    if (!energy->count)
        snprintf(energy->source, sizeof energy->source, "none");
}

double wn_energy_joules(struct wn_energy *energy)
{
    if (!energy->count)
        return (double)NAN;
    for (int i = 0; i < energy->count; i++) {
        double now;
        if (!read_number(energy->paths[i], &now))
            return (double)NAN;
        now *= energy->unit;
        energy->sum += now - energy->last[i] + (now < energy->last[i] ? energy->range[i] : 0);
        energy->last[i] = now;
    }
    return energy->sum;
}
