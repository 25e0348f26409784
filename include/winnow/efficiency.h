/* SPDX-License-Identifier: Apache-2.0 */
/*
 * efficiency.h: how fast a model in memory writes text, beside the dense model in fp32 and in bf16.
 *
 * A machine that is shared has no speed, but it has ratios: dense fp32, dense bf16 and the compressed model take turns
 * in one process on one rank, and what counts is the compressed one against its neighbours in time. One rank of a node
 * measures at a time, under a lock; what other ranks do meanwhile goes on, and is seen in the wall clock.
 *
 * What is measured, of fixed ids (no text changes a speed) with all kernels that the evaluation of tasks uses:
 *
 *     prefill       a sequence of WN_SPEED_PROMPT tokens (or all positions of the model) through blocks, its last row
 *                   through the head: a token is chosen
 *     first token   the same of `prompt` tokens: time to the first token
 *     decode        steps of one token for 1, 8 or 32 texts behind a prompt of `prompt` tokens each
 *
 * A take is one prefill or `steps` steps. In every round each model takes each; a pair is a take of the compressed
 * model with the mean of the two takes of a dense one around it. Pairs in which any wall clock ran more than a tenth
 * longer than the processor's are disturbed; rounds go on until `pairs` are not, at most twice as many, and then
 * undisturbed pairs alone count, or all where there are too few. The dense model in bf16 has bf16 weights throughout;
 * where oneDNN can be had (linalg.h) its prefill multiplies bf16, as that of the point does in a sweep that computes in
 * bf16. Steps multiply fp32 by few rows in all three, in such a sweep too, where the evaluation of texts has bf16
 * products for the sake of its bits: what is asked is the speed of a form. The head is in all as the checkpoint has it.
 *
 * Depends on base, linalg, model, nn, pack and generate. Not collective. Numbers are no results: they differ from run
 * to run.
 */
#ifndef WINNOW_EFFICIENCY_H
#define WINNOW_EFFICIENCY_H

#include <winnow/generate.h>

#define WN_SPEED_PROMPT 512
#define WN_SPEED_NEW    512 /* tokens of Jin et al.'s definition (arXiv:2402.16775), behind a prompt of 256 */

struct wn_efficiency {
    int64_t prompt, steps, pairs, threads;
    int64_t batch; /* the largest of 1, 8 and 32 texts that are decoded side by side */
};

enum wn_speed { WN_SPEED_PREFILL, WN_SPEED_FIRST, WN_SPEED_DECODE_1, WN_SPEED_DECODE_8, WN_SPEED_DECODE_32, WN_SPEEDS };
const char *wn_speed_name(enum wn_speed speed); /* "prefill", "first_token", "decode_1" ... */
int64_t wn_speed_texts(enum wn_speed speed);    /* decoded side by side; else 1 */
bool wn_speed_is_asked(const struct wn_efficiency *asked, enum wn_speed speed);

enum wn_speed_model { WN_SPEED_POINT, WN_SPEED_F32, WN_SPEED_BF16, WN_SPEED_MODELS };
enum wn_speed_clock { WN_CLOCK_WALL, WN_CLOCK_PROCESSOR, WN_CLOCKS };

struct wn_quartiles {
    double low, median, high; /* NaN: not measured */
};

/* Of one kind of take. */
struct wn_speed_numbers {
    struct wn_quartiles seconds[WN_SPEED_MODELS][WN_CLOCKS]; /* of a prefill or of a step; processor: of a thread */
    struct wn_quartiles faster[WN_SPEED_MODELS][WN_CLOCKS];  /* than a dense model: its seconds / the point's */
    int64_t pairs, disturbed;                                /* that were made; of these */
};

/* What the machine could do at the time. */
struct wn_machine_speed {
    double read_bytes; /* per second, by the threads that measure */
    double f32, bf16;  /* operations of a matrix product per second; bf16 NaN: no oneDNN */
};

struct wn_efficiency_result {
    struct wn_speed_numbers speeds[WN_SPEEDS];
    struct wn_machine_speed before, after;
    double resident_bytes[WN_SPEED_MODELS]; /* weights, head, and cache of one text of prompt + steps tokens */
    /* Counted, of one token: its part of the weights and the head that a step reads, and its cache; of experts as many
     * as the step reaches when they are chosen evenly. NaN: prefill. */
    double bytes_read[WN_SPEED_MODELS][WN_SPEEDS];
    bool cache_resident; /* the weights of the point or of a dense model fit into twice the last cache */
    double joules_per_token, joules_prefill, idle_watts; /* of all that the counter sees; NaN: no counter */
    char energy_source[32];                              /* "pm_counters", "powercap" or "none" */
    char format[128];                                    /* of most weights of the point */
    int64_t measured_at;                                 /* point, set by the caller */
    double lock_seconds;                                 /* waited for the node's lock */
};

/*
 * Measures; `point` has all its blocks. Takes the lock of the node, keeps the dense model in memory twice (fp32 and
 * bf16) while it runs. WN_ERR_CHANGED or WN_ERR_NUMERIC when a block of the checkpoint cannot be loaded, WN_ERR_IO when
 * there is no lock to be had.
 */
wn_status wn_efficiency_measure(const struct wn_efficiency *asked, const struct wn_kept_blocks *point,
                                struct wn_efficiency_result *result);
/* Bytes it allocates. */
int64_t wn_efficiency_bytes(const struct wn_model *model, const struct wn_efficiency *asked);
/* Rows that go through all blocks while it measures, in prefills and in steps of so many rows at least. */
void wn_efficiency_work(const struct wn_model *model, const struct wn_efficiency *asked, double *prompt_rows,
                        double *step_rows);
/*
 * A text that is equal for models which must be equally fast: form, codes, groups and stored share (by half per cents)
 * of every linear, rules and branches that are left out. Owned by the caller.
 */
char *wn_efficiency_form(const struct wn_kept_blocks *point);

/* ---- parts, for tests ---- */

/* In what the linears of a model are multiplied in a take. */
enum wn_compute wn_speed_compute(const struct wn_model *model, enum wn_speed_model which, enum wn_speed speed);

/* One process of this node at a time, by flock: a process that dies gives the lock back. Waits; seconds waited. */
wn_status wn_node_lock(const char *path, int *lock, double *waited);
void wn_node_unlock(int lock);

/* Joules since some time: counters below `root` ("" in earnest). */
struct wn_energy {
    char source[32]; /* "none": no counter can be read */
    char paths[8][160];
    double unit, range[8], last[8], sum; /* joules of a count; joules at which a counter begins anew */
    int count;
};
/* The first that can be read of /sys/cray/pm_counters/energy and /sys/class/powercap/intel-rapl:N. */
void wn_energy_open(const char *root, struct wn_energy *energy);
double wn_energy_joules(struct wn_energy *energy); /* NaN: none */

/* Low, median and high of values [count], linear between neighbours; NaN without any. Sorts them. */
struct wn_quartiles wn_quartiles_of(double *values, int64_t count);

#endif
