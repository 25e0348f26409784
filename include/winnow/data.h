/*
 * data.h: texts to token sequences: calibration sets, sampled as the published codes sample (facts/methods.md 13).
 *
 * Depends on base, io, params, tokenizer and model (for wn_sequences). Not collective.
 */
#ifndef WINNOW_DATA_H
#define WINNOW_DATA_H

#include <winnow/io.h>
#include <winnow/model.h>
#include <winnow/params.h>

struct cJSON;

/*
 * A calibration set. Exactly one of two sources:
 *   "text": a plain text file, or JSONL documents {"text": ...}           -> general
 *   "prompts": JSONL {"prompt", "response"} or {"instruction", "input", "output"}, through "template" -> task-specific
 * Sampling ("sampling"):
 *   "stream"     one token stream (JSONL documents joined by "join"), starts uniform in [0, T - length - 1] (Wanda,
 *                SparseGPT, GPTQ on WikiText); default for plain text
 *   "documents"  draw a document uniformly until it has more than `length` tokens, then a window with a uniform start in
 *                [0, T - length - 1] (C4 in all of them); default for JSONL text
 *   "each"       one sequence per drawn pair, truncated to `length`, never padded; drawn without replacement by a seeded
 *                shuffle; default for prompts
 *   "packed"     pairs in shuffled order joined into a stream and cut into windows of `length`
 * All draws are those of CPython's random with `seed`, so the first m of n samples equal the m-sample set for stream and
 * documents. `samples` and `length` as usual; "length" defaults to the model's max_positions, at most 2048.
 */
struct wn_calibration {
    char name[64];
    bool task_specific;
    struct wn_sequences sequences; /* cut into chunks */
    int64_t samples, length, seed;
    int64_t tokens;                /* reported, not only samples */
    char sampling[16], source[16]; /* "documents" ..., "text" or "prompts" */
    char token_hash[WN_HASH_HEX];  /* SHA-256 of the little-endian int32 ids with -1 after each sequence */
    char file_hash[WN_HASH_HEX];
    char *path;                    /* as opened; owned */
};

/* The parameters of a set, for the parser and `winnow help`. */
const struct wn_parameter *wn_calibration_parameters(int *count);

/* Templates known by name ("plain": prompt + " " + response; "alpaca"; "none"); a template text with {prompt} and
 * {response} (or {instruction}, {input}, {output}) is accepted too. NULL-terminated. */
const char *const *wn_template_names(void);

/*
 * Checks everything of a set that can be checked without a model: keys (with suggestion), types, the file, every line
 * of it (fields present, with line number). Lines are added to `problems`. `directory` is what relative paths refer to.
 */
void wn_calibration_check(const char *directory, const char *name, const struct cJSON *json,
                          struct wn_problems *problems);

/* Builds the set for a model. Errors: no document longer than `length`, too few tokens, empty file. */
wn_status wn_calibration_build(const char *directory, const char *name, const struct cJSON *json,
                               const struct wn_model *model, struct wn_calibration *calibration);
void wn_calibration_release(struct wn_calibration *calibration);

/* SHA-256 of the token stream of sequences, as described at token_hash. */
void wn_sequences_hash(const struct wn_sequences *sequences, char hex[WN_HASH_HEX]);

#endif
