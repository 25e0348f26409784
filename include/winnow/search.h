/* SPDX-License-Identifier: Apache-2.0 */
/*
 * search.h: how a budget is spread over a model: what can be chosen (a space and its genomes), evolutionary search over
 * it (EvoPress: Sieberling, Kuznedelev, Kurtic, Alistarh, arXiv:2410.14649), dynamic programming over layer errors
 * (SPDY: Frantar, Alistarh, arXiv:2201.13096), and which work candidates have in common.
 *
 * Nothing here knows a model: fitness comes from a callback, and everything else is a function of the settings, the
 * seed and these fitness values. So every rank may run the search for itself, and all take the same decisions.
 *
 *     struct wn_search search = {.settings = &settings, .space = &space, .n_sequences = n, .lengths = lengths,
 *                                .evaluate = evaluate, .context = &mine};
 *     struct wn_search_state state;
 *     WN_TRY(wn_search_begin(&search, &state));            // or the state of a stored generation
 *     while (state.generation < generations)
 *         WN_TRY(wn_search_step(&search, &state));         // store state here
 *     ... state.parent is the answer
 *     wn_search_state_release(&state);
 *
 * Depends on base and params; fitness rows also on nn. Not collective, unless the callback is.
 */
#ifndef WINNOW_SEARCH_H
#define WINNOW_SEARCH_H

#include <winnow/params.h>

struct cJSON;

/* ---- random draws ---- */

/*
 * Draw `index` of attempt `attempt` at candidate `number` of a generation: wn_random_u64(seed, stream, place) with
 *   stream = purpose << 56 | generation << 24 | number,   place = attempt << 32 | index.
 * So no draw depends on how many were made elsewhere. generation < 2^32, number < 2^24, attempt and index < 2^32.
 */
enum wn_draw_purpose {
    WN_DRAW_INITIAL = 1,   /* initial candidate `number`, generation 0 */
    WN_DRAW_OFFSPRING = 2, /* offspring `number` */
    WN_DRAW_TOKENS = 3,    /* minibatch of stage `number` */
    WN_DRAW_ITEMS = 4      /* items of a task that searches may see; seed 0 */
};

struct wn_draws {
    uint64_t seed, stream, place; /* place: of the next draw */
};

struct wn_draws wn_draws_begin(int64_t seed, enum wn_draw_purpose purpose, int64_t generation, int64_t number,
                               int64_t attempt);
/* Uniform in 0 .. limit - 1, limit >= 1: the upper 64 bits of value * limit. */
int64_t wn_draws_below(struct wn_draws *draws, int64_t limit);
/* Step `place` of a shuffle (Fisher and Yates) of numbers [count]: swaps one of those from there on into its place and
 * returns it. Steps 0 .. n - 1 draw n of them without repetition. */
int64_t wn_draws_pick(struct wn_draws *draws, int64_t *numbers, int64_t count, int64_t place);

/* ---- spaces and genomes ---- */

/*
 * What has a level is a *gene*, and one level per gene is a *genome*, int32_t [n_genes]:
 *   sparsity  a gene per linear; level l has `step` times l more zeros than the uniform sparsity gives it. A fixed
 *             number of weights per level, so that +1 here and -1 there keeps all zeros, whatever the sizes
 *   bits      a gene per linear; the level is its bits, one of those that there are
 *   drop      a gene per branch, or per block; level 1: left out
 * Genes form *groups* that exchange levels among themselves; the sum of the levels of a group never changes:
 *   sparsity  one group, sum 0
 *   bits      a group for every size of linears, so that the bits of all weights stay the same. Where levels are
 *             missing, several genes move for one that jumps
 *   drop      attention, MLP, or blocks; the sum is how many are left out
 * Genes are ordered by block, inside a block by linear (attention before MLP).
 */
enum wn_space_kind { WN_SPACE_SPARSITY, WN_SPACE_BITS, WN_SPACE_DROP };
#define WN_SPACE_KINDS 3

/* What a drop search leaves out; BRANCHES: as many attentions as MLPs, each kind for itself. */
enum wn_space_unit { WN_SPACE_BRANCHES, WN_SPACE_ATTENTION, WN_SPACE_MLP, WN_SPACE_BLOCKS };

struct wn_gene {
    int32_t block, linear; /* drop: linear is 0 attention, 1 MLP, 2 the whole block */
    int32_t group;
    int32_t low, high;         /* lowest and highest level that there is */
    int64_t amount, per_level; /* zeros, bits or weights left out: amount + level * per_level */
};

struct wn_gene_group {
    int64_t n_genes;
    int64_t *genes; /* [n_genes] rising; owned */
    int64_t sum;    /* of the levels, in every genome */
    int32_t start;  /* level from which random genomes are lowered until they have the sum */
    int64_t share;  /* a mutation takes the group with probability share / sum of the shares that can be taken */
};

struct wn_space {
    enum wn_space_kind kind;
    int64_t n_blocks, n_genes, weights; /* weights of all linears of all blocks */
    struct wn_gene *genes;              /* [n_genes]; owned */
    int64_t n_groups;
    struct wn_gene_group *groups; /* [n_groups]; owned */
    int32_t low, high;            /* over all genes */
    int64_t step;                 /* sparsity: weights of a level */
    unsigned bits;                /* bits: the levels that there are (WN_BITS); else 0 */
};

/* Levels of bits as a set: bit l of it stands for l bits. */
#define WN_BITS(l)       (1U << (l))
#define WN_BITS_LEAST    2
#define WN_BITS_MOST     8
#define WN_BITS_STANDARD (WN_BITS(2) | WN_BITS(3) | WN_BITS(4) | WN_BITS(5) | WN_BITS(6))
/* Not the levels low .. high all: some between are missing. */
bool wn_bits_have_gaps(unsigned bits);
/* Whether a gene has a level. */
bool wn_space_has(const struct wn_space *space, const struct wn_gene *gene, int32_t level);

/* What a space is made from. All borrowed. */
struct wn_space_request {
    enum wn_space_kind kind;
    int64_t n_blocks, hidden;
    int64_t n_linears;
    const int64_t *weights; /* [n_linears] of each linear of a block */
    const bool *in_mlp;     /* [n_linears] its branch; drop only */
    double target;          /* sparsity, mean bits, or share of units that are left out */
    /* sparsity: at most so many levels up and down; weights of a level, 0: half of the lower share of min(sparsity,
     * 1 - sparsity) of hidden^2 over the levels, int(0.5 min(s, 1 - s) / levels * hidden^2), as published */
    int64_t levels, step;
    unsigned bits;           /* WN_BITS of each level */
    enum wn_space_unit unit; /* drop */
    /* drop: "0-3,7" blocks whose attention (MLP) may be left out, of a whole block both; NULL or "": all */
    const char *legal_attention, *legal_mlp;
};

/*
 * Errors, one line that names the key, the space is then empty: a target that no levels give or that leaves nothing to
 * exchange, k = 0, k = all.
 *   sparsity  zeros at level 0: floor(sparsity * weights of the linear); no level has all weights zero
 *   bits      a whole target is the sum of every group. Of a fractional one each group gets a share near its own, so
 *             that all bits together are the target exactly, or the largest sum below it that the sizes, and levels
 * with gaps, allow (published: drawn at random, at most the target) drop      k = int(target * n_blocks) of each kind
 */
wn_status wn_space_create(const struct wn_space_request *request, struct wn_space *space);
void wn_space_release(struct wn_space *space);

/* Levels of every group as even as whole numbers allow: sparsity 0 everywhere, fractional bits and left-out units
 * spread over the depth. The baseline. */
void wn_space_uniform(const struct wn_space *space, int32_t *genome);
/* A genome that has passed through a file: levels that exist, sums that are those of the groups. */
wn_status wn_space_check(const struct wn_space *space, const int32_t *genome);
/* Zeros, bits or weights left out, over all weights of the space: the achieved sparsity, bits or share. */
int64_t wn_space_amount(const struct wn_space *space, const int32_t *genome);
double wn_space_achieved(const struct wn_space *space, const int32_t *genome);

/*
 * A random genome: each group starts at its start level, and random genes of it that can go lower are lowered until the
 * sum is right (EvoPress; for drop the same as drawing which ones stay). With gaps, genes move whose steps are not
 * longer than what is left, else any, to and fro until nothing is left.
 */
void wn_space_draw(const struct wn_space *space, struct wn_draws *draws, int32_t *genome);
/*
 * min(U{1..3}, U{1..3}) level switches: a group, in it a gene that can go down and another that can go up. Published
 * codes may pick one gene twice, which changes nothing; here a switch always moves two. With gaps, the first gene
 * goes down or up with equal chance, and others move until the sum is right again, those first whose steps are not
 * longer than what is left, none both ways; a switch that takes more than WN_SWITCH_MOVES is not made.
 */
#define WN_SWITCH_MOVES 16
void wn_space_mutate(const struct wn_space *space, struct wn_draws *draws, int32_t *genome);

/* ---- allocation by layer errors ---- */

/*
 * Errors [n_genes, high - low + 1] of every gene at level low + column; columns that a gene has not are not read; a
 * value that is not finite is a level that cannot be taken. Errors of different genes must be comparable: EvoPress
 * divides tr(dW H dW^T) by tr(W H W^T).
 */
double wn_space_error(const struct wn_space *space, const double *errors, const int32_t *genome);
/*
 * The genome with the least sum of errors, group by group, from tables over the genes and the sum so far. Sums are
 * added from the last gene of a group to its first; of equal ones the lower level of the first gene where they differ
 * wins. WN_ERR_NUMERIC when no genome is finite. Time: genes * sums * levels.
 */
wn_status wn_space_minimize(const struct wn_space *space, const double *errors, int32_t *genome);

/* ---- fitness ---- */

/* Lower is better. X(name, description) */
#define WN_FITNESS_LIST(X)                                                                                             \
    X(kl, "mean KL(dense||candidate) of next-token distributions")                                                     \
    X(perplexity, "exp of the mean loss of the tokens that came next")                                                 \
    X(sparse_kl, "KL over the \"top\" largest of the dense model, both renormalised")                                  \
    X(js, "mean Jensen-Shannon divergence from the dense model")

enum wn_fitness {
#define X(name, description) WN_FITNESS_##name,
    WN_FITNESS_LIST(X)
#undef X
        WN_FITNESSES,
    WN_FITNESS_task = WN_FITNESSES /* minus the mean log-likelihood of the right answers to items of a task */
};

const char *wn_fitness_name(enum wn_fitness fitness); /* "task" for one */
/*
 * Sum over rows of what the fitness averages. dense, candidate: logits or log-probabilities [rows, vocabulary] (a
 * constant added to a row changes nothing); targets [rows]: the token that came next, read for perplexity only; dense
 * and log_sums: not read for perplexity; top: sparse_kl only, 1 .. vocabulary, of equals the lowest ids. Threads share
 * the rows, which are added in order.
 */
double wn_fitness_sum(enum wn_fitness fitness, const float *dense, const double *log_sums, const float *candidate,
                      const int32_t *targets, int64_t rows, int64_t vocabulary, int64_t top);
/* What all candidates need of the dense rows: log_sums [rows]. */
void wn_fitness_dense(enum wn_fitness fitness, const float *dense, int64_t rows, int64_t vocabulary, double *log_sums);
/* The fitness of sums over `rows` rows, which the caller adds in the order of chunks. */
double wn_fitness_finish(enum wn_fitness fitness, double sum, int64_t rows);

/* ---- settings ---- */

#define WN_SEARCH_STAGES 8

/* A section "search": {"NAME": {...}} of a sweep file, complete for one kind of space. */
struct wn_search_settings {
    enum wn_space_kind kind;
    enum wn_fitness fitness;
    char on[64];         /* the calibration set; the task of fitness WN_FITNESS_task */
    double items;        /* share of the items of that task that the search may see */
    int64_t top;         /* of sparse_kl */
    int64_t generations; /* 0: int(k (L - k) / 1.5) of a drop space (wn_search_generations) */
    int64_t offspring, seed;
    int64_t initial, initial_tokens; /* random candidates of generation 0, tokens on which the best is chosen */
    int n_stages;
    int64_t survivors[WN_SEARCH_STAGES], tokens[WN_SEARCH_STAGES];
    bool inverted; /* look for the worst */
    int64_t levels, step;
    unsigned bits;                     /* levels of bits (WN_BITS) */
    int calibration_bits;              /* of the blocks that levels of bits are calibrated behind; 0: dense ones */
    char *legal_attention, *legal_mlp; /* owned */
};

/*
 * Reads a section for one kind: keys of the table, "bits", "survivors" and "tokens" (lists); what is not given
 * is taken from the preset, which is that of the kind when none is named. Mistakes become lines that start with
 * `place`: unknown keys and presets, lists of different length, survivors that grow or exceed the offspring,
 * a last stage with more than one. A fitness of no list is a task, which the caller has to know. Release also after
 * mistakes.
 */
void wn_search_settings_read(const char *place, const struct cJSON *json, enum wn_space_kind kind,
                             struct wn_search_settings *settings, struct wn_problems *problems);
void wn_search_settings_release(struct wn_search_settings *settings);
/* A line for every stage, and the initial choice, that asks for more tokens than the calibration set, or what the
 * search sees of the task, has. */
void wn_search_settings_tokens(const char *place, const struct wn_search_settings *settings, int64_t tokens,
                               struct wn_problems *problems);
/* Puts levels, step, bits and legal blocks of the settings into a request. Borrowed. */
void wn_search_settings_request(const struct wn_search_settings *settings, struct wn_space_request *request);
/* The keys and the presets, for `winnow help`. */
void wn_search_help(struct wn_text *text);
/* The keys; "bits", "survivors" and "tokens", which are lists, are not among them; "items" and "calibration_bits" are
 * those of the second. Static. */
const struct wn_parameter *wn_search_parameters(int *count);
const struct wn_parameter *wn_search_more_parameters(int *count);

/* ---- the search ---- */

/* The tokens that all candidates of a stage see: sequences of the calibration set, drawn without repetition until the
 * tokens of the stage are met, the last one cut. Of a task items in place of sequences, the last one whole. */
struct wn_minibatch {
    int64_t generation, stage, tokens; /* stage 0 of generation 0: the initial choice */
    int64_t n_sequences;
    int64_t *sequence, *length; /* [n_sequences] number of the sequence, tokens of it from its beginning; owned */
};

/* fitness[i] of genomes [count, n_genes] on the batch, lower is better; not finite: worse than all others. accuracy[i]:
 * share of right answers, the higher the better of two with equal fitness; NaN beforehand, as it stays where nothing is
 * answered. The same values on every rank that runs the search. */
typedef wn_status wn_search_evaluate(void *context, const int32_t *genomes, int64_t count,
                                     const struct wn_minibatch *batch, double *fitness, double *accuracy);

struct wn_search {
    const struct wn_search_settings *settings;
    const struct wn_space *space;
    int64_t n_sequences;
    const int64_t *lengths; /* [n_sequences] tokens of each calibration sequence, or item */
    const double *errors;   /* as for wn_space_error, noted beside the fitness; NULL: unknown */
    wn_search_evaluate *evaluate;
    void *context;
};

/*
 * A whole generation. What comes after depends on `generation` and `parent` alone: a state read from a file (the
 * rest empty) is continued with the same bits as one that was never stored.
 */
struct wn_search_state {
    int64_t n_genes, n_stages;
    int64_t generation;    /* 0: the initial choice */
    int32_t *parent;       /* [n_genes] the best; owned */
    double parent_fitness; /* in the stage that chose it, on its tokens; NaN: nothing was evaluated */
    /* What this generation looked at: the candidates in the order drawn; from generation 1 on the former parent is
     * the last. */
    int64_t n_candidates, winner; /* winner: which one the parent is */
    int64_t tokens;               /* on which candidates were judged, of all of them and all stages together */
    int32_t *genomes;             /* [n_candidates, n_genes]; owned */
    double *fitness, *accuracy;   /* [n_candidates, n_stages], NaN: not evaluated in this stage; owned */
    double *errors;               /* [n_candidates] sums of layer errors, NaN: unknown; owned */
};

/* Generations of the settings, for this space. */
int64_t wn_search_generations(const struct wn_search_settings *settings, const struct wn_space *space);
/* Candidate tokens of the initial choice and of one generation, at most. */
int64_t wn_search_initial_tokens(const struct wn_search_settings *settings, const struct wn_space *space);
int64_t wn_search_generation_tokens(const struct wn_search_settings *settings);

void wn_search_draw_batch(const struct wn_search *search, int64_t generation, int64_t stage,
                          struct wn_minibatch *batch);
void wn_minibatch_release(struct wn_minibatch *batch);

/*
 * Generation 0. A space with one start (sparsity, whole bits) begins there, and nothing is evaluated; else the best of
 * `initial` different random genomes. On an error of the callback there is nothing to release.
 */
wn_status wn_search_begin(const struct wn_search *search, struct wn_search_state *state);
/*
 * One generation: different offspring of the parent, none like it (64 attempts each; what is not found is left out),
 * then the stages: all on one minibatch, the best survive; in the last one the parent joins. Equal fitness: the higher
 * accuracy, then the earlier candidate, so offspring before their parent. The parent stays when no fitness is finite.
 * (The published code lets the parent join every stage that keeps as many as the last.) On an error the state is as
 * before.
 */
wn_status wn_search_step(const struct wn_search *search, struct wn_search_state *state);
/* An empty state for one that is to be read from a file: parent and generation are set by the caller. */
void wn_search_state_init(const struct wn_search *search, struct wn_search_state *state);
void wn_search_state_release(struct wn_search_state *state);

/* ---- work that candidates have in common ---- */

/*
 * Candidates that agree on all levels of blocks 0 .. b-1 have the same hidden states in front of block b. In the order
 * of their genomes (compared from the first gene on, equals by number) each shares most with the one before it:
 * running only what is behind that costs as little as can be.
 */
struct wn_sharing {
    int64_t n_blocks, count;
    int64_t *order;  /* [count] candidate numbers; owned */
    int64_t *shared; /* [count] leading blocks that order[i] has in common with order[i-1]; shared[0] = 0; owned */
};

/* The first block where two genomes differ, n_blocks when they are equal. */
int64_t wn_first_difference(const struct wn_space *space, const int32_t *a, const int32_t *b);
void wn_sharing_create(const struct wn_space *space, const int32_t *genomes, int64_t count, struct wn_sharing *sharing);
void wn_sharing_release(struct wn_sharing *sharing);
/* Different states behind block b, for b in 0 .. n_blocks - 1: what has to be kept when all go down together. */
int64_t wn_sharing_states(const struct wn_sharing *sharing, int64_t block);

/*
 * Work units are (chunk of tokens, candidate): unit u is chunk u / count, candidate order[u % count]. One that begins a
 * chunk, or the run of a rank, shares nothing. Blocks that units first .. end-1 cost, `tokens` [n_chunks] each:
 */
int64_t wn_sharing_cost(const struct wn_sharing *sharing, const int64_t *tokens, int64_t first, int64_t end);
/*
 * Deals all units to `parts` runs side by side, first [parts + 1], so that the most expensive run is as cheap as runs
 * can be; a function of the arguments alone.
 */
void wn_sharing_deal(const struct wn_sharing *sharing, const int64_t *tokens, int64_t n_chunks, int64_t parts,
                     int64_t *first);

#endif
