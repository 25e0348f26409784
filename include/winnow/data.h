/* SPDX-License-Identifier: Apache-2.0 */
/*
 * data.h: texts to token sequences: calibration sets, sampled as the published codes sample, and
 * what evaluations share with them: documents of a file, settings of a JSON object.
 *
 * Depends on base, io, params, tokenizer and model (for wn_sequences). Not collective.
 */
#ifndef WINNOW_DATA_H
#define WINNOW_DATA_H

#include <winnow/io.h>
#include <winnow/model.h>
#include <winnow/params.h>

struct cJSON;

/* ---- documents: the records of a JSON file, or one plain text ---- */

/*
 * What a file holds is told by its content, not by its name:
 *   JSON lines        one object a line (C4 as unpacked, also under ".json"); blank lines and CRLF are fine
 *   JSON array        one array of objects (Alpaca as published), or of strings, each the "text" of a record
 *   JSON object       with one list of objects under "data", "rows", "examples", "instances", "documents", "records",
 *                     "requests", "train", "validation" or "test"; two such lists are an error that names them
 *   JSON objects      over several lines or several in a line, one behind the other (as jq prints them)
 *   plain text        anything else: one document, its line ends as they are
 * A text that begins with {", {' (a mistake that is told) or [{ is JSON; so is one whose name ends in .jsonl, .json or
 * .ndjson, whatever it begins with. A byte order mark is no part of the text. gzip is unpacked in memory, once for each
 * rank that reads it. Other packings, Parquet, UTF-16 and the like are errors that say what to do.
 *
 * Records are found when the file is opened and parsed one by one when they are asked for, so a file much larger than
 * memory can be sampled from, unless it is packed.
 */
struct wn_documents {
    char *path;              /* owned */
    struct wn_mapped mapped; /* the file */
    uint8_t *unpacked;       /* owned; NULL: the file is not packed */
    const char *data;        /* the text: of the mapped file or unpacked */
    int64_t size;
    bool json;           /* records; false: the file is one document */
    bool gzip;           /* it was packed */
    const char *content; /* in words: "JSON lines", "plain text" ...; a constant */
    int64_t count;
    int64_t *start, *end, *line; /* [count] bytes of a document, its line number from 1; owned */
    int64_t skipped;             /* records that wn_documents_skip left out */
};

/*
 * With `records`, the file must be JSON; else the content decides. Errors: the file cannot be read, is empty (or only
 * blank lines), is neither text nor gzip, or is plain text and no valid UTF-8.
 */
wn_status wn_documents_open(const char *path, bool records, struct wn_documents *documents);
void wn_documents_close(struct wn_documents *documents);
/* Parses record `index`, which must be an object. Free with cJSON_Delete. */
wn_status wn_documents_parse(const struct wn_documents *documents, int64_t index, struct cJSON **object);
/* wn_fail(WN_ERR_INPUT) with "path:line: " in front. */
wn_status wn_documents_fail(const struct wn_documents *documents, int64_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The first of the NULL-terminated `fields` that the object has, which must be a string. A missing one is an error that
 * lists the fields there are. *text is borrowed. */
wn_status wn_documents_field(const struct wn_documents *documents, int64_t index, const struct cJSON *object,
                             const char *const *fields, const char **text);
/* Fails with: the field MISSING is missing; the fields there are: ... (no path or line). */
wn_status wn_field_fail(const char *missing, const struct cJSON *object);
/* Appends the text of a document: all of a plain text, or such a field of a record. */
wn_status wn_documents_text(const struct wn_documents *documents, int64_t index, const char *const *fields,
                            struct wn_text *text);

#define WN_PROBLEMS_PER_FILE 20

/*
 * Parses every record and shows it to `visit`, which returns WN_OK or the result of wn_documents_fail. All mistakes are
 * added to `problems`, the first WN_PROBLEMS_PER_FILE of the file as they are, then one line "... and N more"; a
 * mistake that comes again and again is one line and one "... and N more like it".
 */
typedef wn_status wn_document_visitor(void *context, const struct wn_documents *documents, int64_t index,
                                      const struct cJSON *object);
void wn_documents_check(const struct wn_documents *documents, wn_document_visitor *visit, void *context,
                        struct wn_problems *problems);
/*
 * Leaves out the records that cannot be parsed or that `visit` refuses, and counts them in `skipped`: what "on_error":
 * "skip" asks for. An error when none is left.
 */
wn_status wn_documents_skip(struct wn_documents *documents, wn_document_visitor *visit, void *context);
/* Tells the log how the file was read where its name says something else, and warns when records were left out. */
void wn_documents_tell(const struct wn_documents *documents);

/* ---- settings: one JSON object read by a parameter table ---- */

/*
 * Sets `params` to the defaults of the table and then to the keys of `json`; every mistake (no object, unknown key,
 * wrong type or range) becomes a line that starts with `place`. Free texts (WN_STRING without allowed words) may be of
 * any length: they are only checked here and read by wn_settings_text.
 */
void wn_settings_read(const char *place, const struct cJSON *json, const struct wn_parameter *table, int count,
                      struct wn_params *params, struct wn_problems *problems);
/* The string of a key; `standard` when it was not given. Borrowed from json. */
const char *wn_settings_text(const struct cJSON *json, const char *key, const char *standard);
/* True for the name of a set: 1 to 48 letters, digits, '_', '-' or '.', no '.' in front. */
bool wn_name_fits(const char *name);
/* Ends a gathering of problems where only one error can be returned: WN_OK, or WN_ERR_INPUT with the first line. The
 * list is released. */
wn_status wn_settings_finish(struct wn_problems *problems);

/* ---- calibration sets ---- */

/*
 * A calibration set. Exactly one of two sources:
 *   "text": a plain text file, or records {"text": ...}                     -> general
 *   "prompts": records {"prompt", "response"} or {"instruction", "input", "output"}, through "template" ->
 * task-specific Sampling ("sampling"): "stream"     one token stream (JSONL documents joined by "join"), starts uniform
 * in [0, T - length - 1] (Wanda, SparseGPT, GPTQ on WikiText); default for plain text "documents"  draw a document
 * uniformly until it has more than `length` tokens, then a window with a uniform start in [0, T - length - 1] (C4 in
 * all of them); default for JSONL text "each"       one sequence per drawn pair, truncated to `length`, never padded;
 * drawn without replacement by a seeded shuffle; default for prompts "packed" pairs in shuffled order joined into a
 * stream and cut into windows of `length` All draws are those of CPython's random with `seed`, so the first m of n
 * samples equal the m-sample set for stream and documents. `samples` and `length` as usual; "length" defaults to the
 * model's max_positions, at most 2048. Texts are tokenized with the default special tokens: once per stream, document
 * or pair. Other samplings than the default may be asked for: a pair counts as a document. "each" and "packed" need as
 * many pairs (windows) as `samples` says.
 */
struct wn_calibration {
    char name[128];
    bool task_specific;
    struct wn_sequences sequences; /* cut into chunks */
    int64_t samples, length, seed;
    int64_t tokens;                /* reported, not only samples */
    int64_t skipped;               /* records left out, as "on_error": "skip" asks for */
    char chat_template[200];       /* "chat_template" of its pairs (winnow-tasks chat); "": none */
    bool keep_ids;                 /* the results file gets the ids themselves, not only their hash */
    char sampling[16], source[16]; /* "documents" ..., "text" or "prompts" */
    char token_hash[WN_HASH_HEX];  /* SHA-256 of the little-endian int32 ids with -1 after each sequence */
    char file_hash[WN_HASH_HEX];
    char *path; /* as opened; owned */
};

/* The parameters of a set, for the parser and `winnow help`. */
const struct wn_parameter *wn_calibration_parameters(int *count);

/*
 * Templates known by name ("plain": prompt + " " + response; "alpaca": the text of Stanford Alpaca, with and without
 * input; "none": prompt + response); a template text with {prompt} and {response} (or {instruction}, {input}, {output})
 * is accepted too. NULL-terminated. The two spellings of a pair stand for each other: prompt = instruction, followed by
 * a newline and the input where there is one; response = output.
 */
const char *const *wn_template_names(void);
/* Checks a template: a known name, or a text whose placeholders are known and contain the prompt and the response. */
wn_status wn_template_check(const char *template_);
/* Appends a pair in its template. The template was checked. Errors name the missing field (no path or line). */
wn_status wn_template_render(const char *template_, const struct cJSON *pair, struct wn_text *text);

/*
 * Checks everything of a set that can be checked without a model: keys (with suggestion), types, the file, every line
 * of it (fields present, with line number). Lines are added to `problems`. `directory` is what relative paths refer to.
 */
void wn_calibration_check(const char *directory, const char *name, const struct cJSON *json,
                          struct wn_problems *problems);

/* Builds the set for a model, of which only the tokenizer and the configuration are used. Errors: no document longer
 * than `length`, too few tokens, empty file. On an error nothing has to be released. */
wn_status wn_calibration_build(const char *directory, const char *name, const struct cJSON *json,
                               const struct wn_model *model, struct wn_calibration *calibration);
void wn_calibration_release(struct wn_calibration *calibration);

/* SHA-256 of the token stream of sequences, as described at token_hash. */
void wn_sequences_hash(const struct wn_sequences *sequences, char hex[WN_HASH_HEX]);

#endif
