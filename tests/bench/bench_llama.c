/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What bench_llama.py asks for takes of: a checkpoint in memory that waits for words on its input.
 *
 *     bench_llama CHECKPOINT BITS GROUP PROMPT STEPS [INPUT_BITS]
 *
 * BITS: 32 (fp32), 16 (bf16) or 4 (codes of round to nearest in symmetric groups of GROUP, packed as the blocks of a
 * compressed point are; with INPUT_BITS as a point with "input_bits" in runs of 32 is kept). It says "ready" and its
 * arithmetic, and then, for every line "prefill" (512 tokens), "decode" (a step of one text behind PROMPT tokens, mean
 * of STEPS), "decode8" or "decode32", the seconds of a take by the clock of the wall and by that of the processor. One
 * thread. The head is as the checkpoint has it.
 */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/linalg.h>
#include <winnow/method.h>

#include "efficiency/efficiency.h"
#include "round.h"

/* How the linears are kept. */
struct form {
    int bits, input_bits; /* input_bits 0: inputs as they come */
    int64_t group;
};

static struct wn_activation *rule_of(const struct wn_compressed *form, int input_bits)
{
    const struct wn_grouped_linear rule = {.rows = form->rows,
                                           .columns = form->columns,
                                           .bits = form->bits,
                                           .input_bits = input_bits,
                                           .group = form->group,
                                           .n_groups = form->n_groups,
                                           .input_group = 32,
                                           .codes = form->codes,
                                           .scales = form->scales,
                                           .zeros = form->zeros};
    return wn_grouped_linear_create(&rule);
}

/* Rounds a linear to nearest and packs it, or makes its rule. */
static void keep_codes(struct wn_kept_blocks *kept, int64_t b, int l, float *weight, const struct form *as,
                       struct wn_activation **made)
{
    const struct wn_linear_info *linear = &kept->model->layout.linears[l];
    struct wn_compressed form;
    wn_compressed_init(&form, linear->rows, linear->columns, weight, NULL);
    round_weights(&form, as->bits, as->group, true);
    if (as->input_bits)
        *made = rule_of(&form, as->input_bits);
    else
        wn_kept_blocks_take_linear(kept, b, l, &form);
    wn_compressed_release(&form);
}

static wn_status keep_packed(const struct wn_model *model, const struct form *as, struct wn_kept_blocks *kept)
{
    struct wn_activation *rules[WN_MAX_LINEARS] = {NULL};
    struct wn_block *block = wn_block_create(model);
    wn_status status = WN_OK;
    wn_kept_blocks_init(kept, model);
    for (int64_t b = 0; b < model->config.n_blocks && status == WN_OK; b++) {
        status = wn_model_load_block(model, b, block);
        for (int l = 0; l < model->layout.n_linears && status == WN_OK; l++)
            keep_codes(kept, b, l, block->linears[l], as, &rules[l]);
        if (status == WN_OK)
            wn_kept_blocks_take(kept, b, block, rules);
    }
    wn_block_destroy(&block, model);
    return status;
}

static bool fits(const struct wn_model *model, int64_t group)
{
    bool fits = group > 0;
    for (int l = 0; l < model->layout.n_linears && fits; l++)
        fits = model->layout.linears[l].columns % group == 0;
    return fits;
}

static void answer(struct wn_takes *takes, const struct wn_kept_blocks *kept)
{
    static const struct {
        const char *word;
        enum wn_speed speed;
    } words[] = {{"prefill\n", WN_SPEED_PREFILL},
                 {"decode\n", WN_SPEED_DECODE_1},
                 {"decode8\n", WN_SPEED_DECODE_8},
                 {"decode32\n", WN_SPEED_DECODE_32}};
    char line[32];
    while (fgets(line, sizeof line, stdin))
        for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
            if (!strcmp(line, words[i].word)) {
                double seconds[WN_CLOCKS];
                wn_take(takes, kept, words[i].speed, seconds);
                printf("%.9f %.9f\n", seconds[WN_CLOCK_WALL], seconds[WN_CLOCK_PROCESSOR]);
                fflush(stdout);
            }
}

static int fail(void)
{
    fprintf(stderr, "bench_llama: %s\n", wn_error_message());
    return 1;
}

int main(int argc, char **argv)
{
    const int bits = argc > 5 ? atoi(argv[2]) : 0;
    const struct form as = {bits, argc > 6 ? atoi(argv[6]) : 0, argc > 5 ? atoll(argv[3]) : 0};
    struct wn_efficiency asked = {.pairs = 1, .threads = 1, .batch = 32};
    struct wn_kept_blocks kept;
    struct wn_takes takes;
    struct wn_model *model;
    if (bits != 32 && bits != 16 && bits != 4) {
        fprintf(stderr, "usage: bench_llama CHECKPOINT 32|16|4 GROUP PROMPT STEPS [INPUT_BITS]\n");
        return 2;
    }
    asked.prompt = atoll(argv[4]);
    asked.steps = atoll(argv[5]);
    omp_set_num_threads(1);
    if (wn_linalg_start() != WN_OK || wn_model_open(argv[1], NULL, &model) != WN_OK)
        return fail();
    if (bits == 4 && !fits(model, as.group)) {
        fprintf(stderr, "bench_llama: the columns of a linear are no multiple of the group\n");
        return 2;
    }
    if ((bits == 4 ? keep_packed(model, &as, &kept) : wn_dense_keep(model, bits == 16, &kept)) != WN_OK)
        return fail();
    wn_takes_open(&takes, model, &asked);
    wn_takes_fill(&takes, &kept);
    printf("ready %.0f bytes of weights; %s\n", (double)(wn_kept_weight_bytes(&kept) + wn_head_bytes(model)),
           wn_linalg_protocol());
    fflush(stdout);
    answer(&takes, &kept);
    wn_takes_release(&takes);
    wn_kept_blocks_release(&kept);
    wn_model_close(&model);
    return 0;
}
