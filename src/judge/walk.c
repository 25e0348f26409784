/* SPDX-License-Identifier: Apache-2.0 */
/* One walk down the blocks with the units of a rank. */
#include "judge_impl.h"

#include <string.h>

/* The two last levels of a linear that were asked for. */
struct place {
    float *weights[2];             /* [rows, columns]; owned */
    struct wn_activation *rule[2]; /* owned; NULL: none */
    int32_t level[2];
    bool filled[2];
    int last; /* used last */
};

struct walk {
    struct wn_judge *judge;
    const struct wn_judge_stage *stage;
    int64_t first, end;
    float **hidden; /* [end - first] a state for every unit that is not like the one before it so far; owned */
    struct wn_block *dense;
    struct place places[WN_MAX_LINEARS];
    int64_t longest; /* tokens of the longest chunk */
    float *scratch;
    int64_t *offset;
};

static const int32_t *genome_of(const struct walk *walk, int64_t position)
{
    return walk->stage->genomes + walk->stage->sharing.order[position] * walk->judge->spec.space->n_genes;
}

/* Leading blocks that a unit has in common with the one before it. */
static int64_t shared_blocks(const struct walk *walk, int64_t unit)
{
    int64_t position = unit % walk->stage->sharing.count;

    return unit == walk->first || position == 0 ? 0 : walk->stage->sharing.shared[position];
}

/* ---- memory ---- */

static void open_walk(struct walk *walk)
{
    const struct wn_model *model = walk->judge->spec.model;
    const struct wn_sequences *sequences = &walk->stage->set.sequences;

    walk->longest = wn_sequences_longest_chunk(sequences);
    walk->hidden = wn_alloc_zero(walk->end - walk->first, sizeof *walk->hidden);
    walk->dense = wn_block_create(model);
    walk->scratch = wn_alloc(wn_model_scratch(model, walk->longest), sizeof(float));
    walk->offset = wn_alloc(sequences->n_sequences + 1, sizeof *walk->offset);
    for (int l = 0; l < model->layout.n_linears && walk->judge->spec.space->kind != WN_SPACE_DROP; l++)
        for (int i = 0; i < 2; i++)
            walk->places[l].weights[i] =
                wn_alloc(model->layout.linears[l].rows * model->layout.linears[l].columns, sizeof(float));
}

/* All but the states. */
static void close_walk(struct walk *walk)
{
    wn_block_destroy(&walk->dense, walk->judge->spec.model);
    wn_free(walk->scratch);
    wn_free(walk->offset);
    for (int l = 0; l < WN_MAX_LINEARS; l++)
        for (int i = 0; i < 2; i++) {
            wn_free(walk->places[l].weights[i]);
            wn_activation_release(&walk->places[l].rule[i]);
        }
}

static void free_states(struct walk *walk)
{
    for (int64_t i = 0; i < walk->end - walk->first; i++)
        wn_free(walk->hidden[i]);
    wn_free(walk->hidden);
}

/* ---- states ---- */

static int64_t state_floats(const struct walk *walk, int64_t unit)
{
    return walk->stage->tokens[unit / walk->stage->sharing.count] * walk->judge->spec.model->config.hidden_size;
}

static void embed_unit(struct walk *walk, int64_t unit)
{
    const struct wn_sequences *sequences = &walk->stage->set.sequences;
    int64_t part = unit / walk->stage->sharing.count;
    int64_t row = sequences->offset[sequences->chunk[wn_sequences_part(sequences, part)]];
    float *hidden = wn_alloc(state_floats(walk, unit), sizeof *hidden);

    wn_sequences_embed(walk->judge->spec.model, sequences, row, walk->stage->tokens[part], hidden);
    walk->hidden[unit - walk->first] = hidden;
}

/* Units that differ from the one before them in this block for the first time get a state of their own. */
static void part_states(struct walk *walk, int64_t block)
{
    const float *before = NULL;

    for (int64_t u = walk->first; u < walk->end; u++) {
        float **hidden = &walk->hidden[u - walk->first];
        if (shared_blocks(walk, u) == block && block == 0) {
            embed_unit(walk, u);
        } else if (before && shared_blocks(walk, u) == block) {
            *hidden = wn_alloc(state_floats(walk, u), sizeof **hidden);
            memcpy(*hidden, before, (size_t)state_floats(walk, u) * sizeof **hidden);
        }
        before = *hidden ? *hidden : before;
    }
}

/* ---- blocks ---- */

static wn_status fill_place(struct walk *walk, int64_t block, int linear, int32_t level, struct place *place, int into)
{
    const struct wn_judge_spec *spec = &walk->judge->spec;

    place->filled[into] = false;
    wn_activation_release(&place->rule[into]);
    WN_TRY(spec->weights(spec->context, block, linear, level, place->weights[into]));
    walk->judge->work.weights++;
    if (spec->rule)
        WN_TRY(spec->rule(spec->context, block, linear, level, place->weights[into], &place->rule[into]));
    place->filled[into] = true;
    place->level[into] = level;
    return WN_OK;
}

/* Puts a linear at a level into a view, from one of its two places. */
static wn_status find_weights(struct walk *walk, int64_t block, int linear, int32_t level, struct wn_block *view)
{
    struct place *place = &walk->places[linear];
    int at = 0;

    while (at < 2 && !(place->filled[at] && place->level[at] == level))
        at++;
    if (at == 2) {
        at = !place->filled[place->last] ? place->last : !place->last;
        WN_TRY(fill_place(walk, block, linear, level, place, at));
    }
    place->last = at;
    view->linears[linear] = place->weights[at];
    view->activations[linear] = place->rule[at];
    return WN_OK;
}

static wn_status change_vectors(struct walk *walk, int64_t block)
{
    const struct wn_judge_spec *spec = &walk->judge->spec;

    return spec->vectors ? spec->vectors(spec->context, block, walk->dense) : WN_OK;
}

/* The block as a genome has it. */
static wn_status make_view(struct walk *walk, int64_t block, const int32_t *genome, struct wn_block *view)
{
    const struct wn_space *space = walk->judge->spec.space;
    const int64_t n_genes = space->n_genes / space->n_blocks;

    *view = *walk->dense;
    for (int64_t i = block * n_genes; i < (block + 1) * n_genes; i++) {
        const struct wn_gene *gene = &space->genes[i];
        if (space->kind != WN_SPACE_DROP) {
            WN_TRY(find_weights(walk, block, gene->linear, genome[i], view));
        } else if (genome[i]) {
            view->skip[WN_BRANCH_ATTENTION] |= gene->linear != 1;
            view->skip[WN_BRANCH_MLP] |= gene->linear != 0;
        }
    }
    return WN_OK;
}

static void run_unit(struct walk *walk, const struct wn_block *view, int64_t unit)
{
    const struct wn_sequences *sequences = &walk->stage->set.sequences;
    int64_t part = unit / walk->stage->sharing.count;

    wn_sequences_run(walk->judge->spec.model, view, sequences, wn_sequences_part(sequences, part),
                     wn_sequences_part(sequences, part + 1), walk->hidden[unit - walk->first], walk->longest,
                     walk->scratch, walk->offset, NULL);
    walk->judge->work.block_tokens += walk->stage->tokens[part];
}

/* All states through a block, candidate by candidate, so that each level is asked for once or twice. */
static wn_status run_block(struct walk *walk, int64_t block)
{
    const struct wn_judge_stage *stage = walk->stage;
    const int64_t count = stage->sharing.count;

    for (int l = 0; l < WN_MAX_LINEARS; l++)
        walk->places[l].filled[0] = walk->places[l].filled[1] = false;
    for (int64_t position = 0; position < count; position++) {
        struct wn_block view;
        bool made = false;
        for (int64_t u = walk->first / count * count + position; u < walk->end; u += count) {
            if (u < walk->first || !walk->hidden[u - walk->first])
                continue;
            if (!made)
                WN_TRY(make_view(walk, block, genome_of(walk, position), &view));
            made = true;
            run_unit(walk, &view, u);
        }
    }
    return WN_OK;
}

/* Part by part, as the logits of the dense model are those of one. */
static void score_parts(struct walk *walk)
{
    const int64_t count = walk->stage->sharing.count;

    for (int64_t first = walk->first, end; first < walk->end; first = end) {
        end = (first / count + 1) * count;
        end = end < walk->end ? end : walk->end;
        if (walk->judge->spec.items)
            wn_judge_score_items(walk->judge, walk->stage, first, end, walk->hidden + (first - walk->first));
        else
            wn_judge_score(walk->judge, walk->stage, first, end, walk->hidden + (first - walk->first));
    }
}

wn_status wn_judge_walk(struct wn_judge *judge, const struct wn_judge_stage *stage, int64_t first, int64_t end)
{
    struct walk walk = {.judge = judge, .stage = stage, .first = first, .end = end};
    wn_status status = WN_OK;

    open_walk(&walk);
    for (int64_t b = 0; b < judge->spec.model->config.n_blocks && status == WN_OK; b++) {
        part_states(&walk, b);
        status = wn_model_load_block(judge->spec.model, b, walk.dense);
        if (status == WN_OK)
            status = change_vectors(&walk, b);
        if (status == WN_OK)
            status = run_block(&walk, b);
    }
    close_walk(&walk);
    if (status == WN_OK)
        score_parts(&walk);
    judge->work.walks++;
    for (int64_t u = first; u < end; u++)
        judge->work.tokens += stage->tokens[u / stage->sharing.count];
    free_states(&walk);
    return status;
}
