/* SPDX-License-Identifier: Apache-2.0 */
/*
 * level.h: the level database of a search: every linear of every block, compressed at all levels that a space has
 * (search.h), made once and kept packed (pack.h) on scratch.
 *
 *     struct wn_level_task task = {.run = run, .reference = &reference, .point = &point, .space = &space,
 *                                  .folder = scratch, .build = build};
 *     WN_TRY(wn_levels_make(par, &task));                                   (collective)
 *     char *key = wn_levels_key(&task);
 *     WN_TRY(wn_levels_open(task.folder, key, b, &levels));                 one block
 *     const struct wn_level_entry *entry = wn_levels_find(&levels, linear, level);
 *     WN_TRY(wn_levels_packed(&levels, entry, &packed));                    to unpack (wn_packed_rows)
 *     wn_levels_close(&levels);
 *
 * One file for each block. A file has a key: a hash of all that its
 * numbers depend on, in words. It is written under a temporary name, synced and renamed, and believed only when key,
 * sizes and checksum are right; so a later start takes what is there, and a file may vanish at any time. Packed linears
 * have a checksum of their own, which is looked at once, when they are first used. The machine's byte order is part of
 * the file: scratch is not for moving.
 *
 * Depends on base, io, pack, point, search. Not collective but for wn_levels_make.
 */
#ifndef WINNOW_LEVEL_H
#define WINNOW_LEVEL_H

#include <winnow/io.h>
#include <winnow/pack.h>
#include <winnow/point.h>
#include <winnow/search.h>

/* ---- making ---- */

/* What levels are made of. All borrowed. */
struct wn_level_task {
    const struct wn_run *run;
    const struct wn_reference *reference; /* with what the recipe of the point needs of the dense pass */
    const struct wn_point *point;         /* its recipe, whose sparsity or bits each level replaces */
    const struct wn_space *space;         /* of sparsity or bits: a gene is a linear */
    int calibration_bits; /* that `reference` is behind blocks of so many bits (wn_quantized_make); 0: dense ones */
    const char *folder;   /* on scratch: of a node, or shared by all */
    const char *build;    /* build and arithmetic in words: part of the key */
    bool per_node;        /* nodes have a folder each of that name: each makes all */
    double end;           /* wn_seconds() by which it must have ended; 0: not known */
};

/* What a search chooses from, but for what only a run has: reference, folder, build, end. Borrows from both. */
struct wn_level_task wn_level_task_of(const struct wn_run *run, const struct wn_point_search *search);

/*
 * The key of the files: hash of the model, tokens of the calibration set, recipe, space, build. Equal keys are equal
 * numbers. Owned by the caller.
 */
char *wn_levels_key(const struct wn_level_task *task);
bool wn_levels_have_key(const struct wn_level_task *task, const char *key);
/*
 * Makes what is not there yet: block b by rank b modulo their number, of all ranks where they share the folder, else of
 * those of each node, for it. All blocks see the inputs that the reference knows: of the dense model, or behind blocks
 * that are quantized at calibration_bits, and all levels of an input have one factor of its second moments. A linear at
 * a level is that of a point with dense propagation in which the allocation gives it this level, bit for bit, rules of
 * inputs included; a sparsity level has exactly as many zeros as the space says. Of a method with a search of scales
 * (AWQ), every rank pushes the calibration set through all dense blocks before its own, and as scales are those of the
 * linears that read an input together, a linear at a level is that of a point in which all of its block have this
 * level.
 *
 * WN_ERR_UNSUPPORTED: a recipe without the parameter that the space varies, an N:M pattern or a pruner that makes
 * another number of zeros.
 * WN_ERR_IO: scratch is full or cannot be written; what was finished stays. WN_ERR_INTERRUPTED: a stop was requested,
 * or the next block would end too late, likewise. Collective.
 */
wn_status wn_levels_make(struct wn_par *par, const struct wn_level_task *task);
/* Whether nothing of it is to be made. Collective. */
bool wn_levels_are_there(struct wn_par *par, const struct wn_level_task *task);
/* Bytes of all files, from above as wn_pack_bytes_of says. */
int64_t wn_levels_bytes(const struct wn_level_task *task);
/* Weights of all linears, each as often as it has levels. */
int64_t wn_levels_weights(const struct wn_level_task *task);

/* ---- reading ---- */

/* A linear at a level. */
struct wn_level_entry {
    int32_t linear, level;
    int64_t offset, bytes; /* of the packed linear, in the file */
    int64_t zeros;         /* of levels of sparsity those of the mask, else weights that are exactly 0 */
    double bits;           /* stored bits per weight (wn_bits_per_weight) */
    double error;          /* tr(D H D^T) / tr(W H W^T), D = what the weights are off by; NaN: H is not known */
};

/* The levels of one block; for one thread at a time until every entry was asked for. */
struct wn_level_block {
    int64_t block, count;
    struct wn_level_entry *entries; /* [count] by linear, then level; owned */
    bool *checked;                  /* [count] the packed linear was looked at; owned */
    struct wn_mapped mapped;
    char *path; /* owned */
};

/* WN_ERR_IO, "PATH: ...": there is none of this key, or it is damaged. `key`: words, see wn_levels_key. */
wn_status wn_levels_open(const char *folder, const char *key, int64_t block, struct wn_level_block *levels);
void wn_levels_close(struct wn_level_block *levels); /* a zeroed object is fine */
/* NULL: the linear has no such level. */
const struct wn_level_entry *wn_levels_find(const struct wn_level_block *levels, int linear, int32_t level);
/* Borrowed from the mapped file. WN_ERR_IO when it is damaged. */
wn_status wn_levels_packed(struct wn_level_block *levels, const struct wn_level_entry *entry, struct wn_packed *packed);

/*
 * Methods that quantize inputs as well (LLM.int8(), SmoothQuant): besides the linear a level has the rule by which it
 * is computed, and the block the vectors that inputs are divided in. They are entries like others: of "linear"
 * WN_LEVEL_RULE + l and WN_LEVEL_OUTLIERS + l at the level of linear l, and WN_LEVEL_VECTOR + v at level 0.
 */
enum { WN_LEVEL_RULE = 1 << 16, WN_LEVEL_OUTLIERS = 2 << 16, WN_LEVEL_VECTOR = 3 << 16 };

/* The rule for unpacked `weights` [rows, columns] of a linear at a level, the same as that of the point; NULL: it is
 * computed as it is. Owned by the caller (wn_activation_release). */
wn_status wn_levels_rule(struct wn_level_block *levels, int linear, int32_t level, const float *weights, int64_t rows,
                         int64_t columns, struct wn_activation **rule);
/* Overwrites those of the vectors [n_vectors] of the dense block that are others with these levels. */
wn_status wn_levels_vectors(struct wn_level_block *levels, float *const *vectors, int n_vectors);

/* ---- writing ---- */

struct wn_level_writer; /* opaque */

/* The file of a block with exactly `count` entries; the folder is made. WN_ERR_IO when it cannot be: then there is
 * nothing to release. */
wn_status wn_level_writer_create(const char *folder, const char *key, int64_t block, int64_t count,
                                 struct wn_level_writer **writer);
/* One more, in any order. offset and bytes of `entry` are filled here. */
wn_status wn_level_writer_add(struct wn_level_writer *writer, const struct wn_level_entry *entry,
                              const struct wn_packed *packed);
/* The rule of `form`, which has one: two entries. WN_ERR_UNSUPPORTED: it is no rule on integers (nn.h). */
wn_status wn_level_writer_add_rule(struct wn_level_writer *writer, int linear, int32_t level,
                                   const struct wn_compressed *form);
wn_status wn_level_writer_add_vector(struct wn_level_writer *writer, int vector, const float *values, int64_t width);
/* Bytes of a rule, from above; 0: the recipe has none. */
int64_t wn_level_rule_bytes(const struct wn_recipe *recipe, int64_t rows, int64_t columns, int source_bytes);
/* Syncs, and gives the file its name; *writer becomes NULL. On failure nothing is left. */
wn_status wn_level_writer_finish(struct wn_level_writer **writer);
/* Closes and removes it; NULL is fine. */
void wn_level_writer_abandon(struct wn_level_writer **writer);

/* Bytes of a file besides its packed linears. */
int64_t wn_levels_overhead(int64_t count);
/* Removes all files of levels in a folder, whatever their key, also what a kill has left of them, and the folder when
 * it is empty then. */
void wn_levels_clear(const char *folder);
/* Whether all nodes see the same folder, which is made: a file that rank 0 makes there is looked for. Collective. */
bool wn_levels_are_shared(struct wn_par *par, const char *folder);
/* Removes the files of all blocks of a key, and the folder when it is empty then. */
void wn_levels_remove(const char *folder, const char *key, int64_t n_blocks);

#endif
