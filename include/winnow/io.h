/* SPDX-License-Identifier: Apache-2.0 */
/*
 * io.h: files as they come from outside: whole files, JSON, JSON lines, SHA-256, safetensors.
 *
 * Depends on base.h. Nothing here is collective or knows MPI. Every error line starts with the path.
 */
#ifndef WINNOW_IO_H
#define WINNOW_IO_H

#include <winnow/base.h>

struct cJSON;

/* ---- whole files ---- */

/* Paths, each once. Zero-initialise. */
struct wn_paths {
    int64_t count;
    char **paths; /* owned */
};
void wn_paths_release(struct wn_paths *paths);
/* From now on every file that is opened here for reading is added to `paths`; NULL ends it. One list at a time. */
void wn_paths_watch(struct wn_paths *paths);

/* What tells one state of a file from another. Times in nanoseconds. */
struct wn_stamp {
    uint64_t device, inode;
    int64_t size, modified, changed;
};

/*
 * A file mapped read-only, so that ranks on one node share the page cache. An empty file has size 0 and data "". The
 * file stays open, so that wn_mapped_check can tell whether it is still what was mapped. Only regular files: a pipe or
 * a device cannot be read a second time, by another rank or the next start.
 */
struct wn_mapped {
    const uint8_t *data;
    int64_t size;
    int descriptor; /* -1: none */
    struct wn_stamp stamp;
};

wn_status wn_map(const char *path, struct wn_mapped *mapped);
void wn_unmap(struct wn_mapped *mapped);
/*
 * WN_ERR_CHANGED when the mapped file was written, or cut, since it was mapped. A file that was replaced under its name
 * (rename, unlink) stays mapped as it was: that is no change. Where only its status changed (owner, mode, links), its
 * content is compared with `hash` (as wn_hash_file gives it; NULL: taken as unchanged). Costs one fstat.
 */
wn_status wn_mapped_check(const char *path, struct wn_mapped *mapped, const char *hash);
/*
 * From now on a mapped file that was truncated, or whose disk fails, while it is read ends the program with one line
 * that names it and exit code 1, instead of SIGBUS.
 */
void wn_catch_truncation(void);

/* The state of a file now. */
wn_status wn_stamp_take(const char *path, struct wn_stamp *stamp);
bool wn_stamp_equal(const struct wn_stamp *a, const struct wn_stamp *b);

/* Reads a whole regular file as a NUL-terminated string, owned by the caller. */
wn_status wn_read_text(const char *path, char **text, int64_t *length);

/* All bytes at a place of an open file. False, with errno, when they are not all there. */
bool wn_write_at(int file, const void *data, int64_t bytes, int64_t place);
/* Makes the names in a folder durable; some file systems refuse that for folders, which is no error. */
void wn_sync_folder(const char *folder);

bool wn_file_exists(const char *path);
/* `name` itself when it is absolute, else directory/name. Owned by the caller. */
char *wn_join_path(const char *directory, const char *name);
/* The folder part of a path ("." when there is none). Owned by the caller. */
char *wn_directory_of(const char *path);

/* Returns -1 when text[0..length) is valid UTF-8 (no surrogates, no overlong forms), else the offset of the bad byte.
 */
int64_t wn_utf8_invalid_at(const char *text, int64_t length);
/* Unicode code points of valid UTF-8. */
int64_t wn_utf8_length(const char *text, int64_t length);

/* ---- gzip (zlib underneath) ---- */

/* Whether bytes begin as a gzip file does. */
bool wn_is_gzip(const uint8_t *data, int64_t size);
/*
 * Unpacks all members of a gzip file; `out` is owned by the caller. Errors: the file is cut off or damaged, or goes on
 * behind its end; zeros there are padding.
 */
wn_status wn_gunzip(const char *path, const uint8_t *data, int64_t size, uint8_t **out, int64_t *out_size);

/* ---- JSON (cJSON underneath) ---- */

/*
 * Reads a JSON file; with `comments`, // and slash-star comments and nothing else beyond the standard are accepted.
 * A mistake is reported with its line and column. Duplicate keys of one object are mistakes. Free with cJSON_Delete.
 */
wn_status wn_json_read(const char *path, bool comments, struct cJSON **json);
/* The same from memory; `name` stands for the path in messages. */
wn_status wn_json_parse(const char *name, const char *text, int64_t length, bool comments, struct cJSON **json);

/*
 * Walks the lines of a JSONL file; blank lines are skipped. `visit` gets each object with its line number (from 1) and
 * returns a status; the first failure ends the walk. A line that is no JSON object is an error "path:line: ...".
 */
typedef wn_status wn_jsonl_visitor(void *context, const char *path, int64_t line, const struct cJSON *object);
wn_status wn_jsonl_read(const char *path, wn_jsonl_visitor *visit, void *context);

/* ---- SHA-256 (libcrypto underneath) ---- */

#define WN_HASH_HEX 65 /* 64 hexadecimal digits and NUL */

struct wn_hash; /* opaque */
struct wn_hash *wn_hash_create(void);
void wn_hash_update(struct wn_hash *hash, const void *data, size_t length);
/* Writes the 32 bytes and destroys the object. */
void wn_hash_finish(struct wn_hash *hash, uint8_t digest[32]);
void wn_hash_hex(const uint8_t digest[32], char hex[WN_HASH_HEX]);
/* Hash of a buffer / of a file's content, equal to what `sha256sum` prints. */
void wn_hash_buffer(const void *data, size_t length, char hex[WN_HASH_HEX]);
wn_status wn_hash_file(const char *path, char hex[WN_HASH_HEX]);

/* ---- safetensors ---- */

enum wn_dtype { WN_F32, WN_F16, WN_BF16, WN_F64, WN_F8_E4M3, WN_F8_E5M2, WN_OTHER };

/* Bytes of an element; WN_OTHER: 0. */
int wn_dtype_bytes(enum wn_dtype dtype);

/* Factors of a matrix of 8-bit floats: a grid, `across` of them side by side, each of which is for rows by columns. */
struct wn_scale {
    const uint8_t *data; /* NULL: none */
    enum wn_dtype dtype;
    int64_t rows, columns, across;
};

struct wn_tensor {
    const char *name; /* borrowed from the checkpoint */
    const char *file; /* path of the shard; borrowed */
    enum wn_dtype dtype;
    char dtype_name[16];
    int n_dims;
    int64_t shape[8];
    const uint8_t *data; /* mapped, little-endian, row-major, possibly unaligned */
    int64_t bytes;
    struct wn_scale scale; /* by wn_checkpoint_scale */
    bool is_scale;         /* of another tensor */
};

/*
 * One model.safetensors or all shards of model.safetensors.index.json, mapped, headers checked against the rules. The
 * index only says which files there are: all their tensors are there, whether it names them or not, and one that it
 * names but no file has is simply not found. A folder with neither file is an error that says what lies there instead
 * (PyTorch files, GGUF, an adapter, another variant, an unfinished download ...) and what to do.
 */
struct wn_checkpoint; /* opaque */

wn_status wn_checkpoint_open(const char *directory, struct wn_checkpoint **checkpoint);
void wn_checkpoint_close(struct wn_checkpoint **checkpoint);
/* NULL when there is no tensor of that name. */
const struct wn_tensor *wn_checkpoint_find(const struct wn_checkpoint *checkpoint, const char *name);
/*
 * Gives tensors other names: `rename` gets each name and returns the new one, which the checkpoint then owns, or NULL.
 * A name that another tensor has already is not given. Returns how many were. Pointers to tensors are void after it.
 */
int64_t wn_checkpoint_rename(struct wn_checkpoint *checkpoint, char *(*rename)(const void *context, const char *name),
                             const void *context);
/*
 * Gives matrices of 8-bit floats their factors: tensor "X" has those of "X_scale_inv" or "X_scale", a number or a grid
 * that divides it. block: rows and columns of a factor where config.json says so (the last may then be shorter), else
 * 0. needed: one without factors is an error.
 */
wn_status wn_checkpoint_scale(struct wn_checkpoint *checkpoint, const int64_t block[2], bool needed);
int64_t wn_checkpoint_count(const struct wn_checkpoint *checkpoint);
const struct wn_tensor *wn_checkpoint_at(const struct wn_checkpoint *checkpoint, int64_t index);
/* Paths of the files the checkpoint is made of (for hashing); borrowed. */
int64_t wn_checkpoint_files(const struct wn_checkpoint *checkpoint, const char *const **paths);
/* The hash of file `index` as it was when it was opened; wn_checkpoint_check uses it. */
void wn_checkpoint_set_hash(struct wn_checkpoint *checkpoint, int64_t index, const char *hash);
/* WN_ERR_CHANGED with a line that names the file when one was written or cut since it was opened. Costs one fstat each.
 */
wn_status wn_checkpoint_check(struct wn_checkpoint *checkpoint);

/*
 * Converts elements [first, first + count) of a tensor to float. F32, F16 (subnormals too), BF16 and 8-bit floats are
 * exact, F64 is rounded; a factor is then multiplied in fp32.
 */
void wn_tensor_to_float(const struct wn_tensor *tensor, int64_t first, int64_t count, float *out);

/* ---- writing safetensors ---- */

/* A tensor of a file to be written. */
struct wn_tensor_plan {
    const char *name;  /* borrowed while the writer lives */
    const char *dtype; /* "F32", "F16", "BF16", "U8" or another name of the format; a constant */
    int element_bytes; /* what its data is aligned to */
    int n_dims;
    int64_t shape[8];
    int64_t bytes; /* of its data */
};

/*
 * A file whose tensors are known beforehand; their data may come in any order and any pieces, and goes to its place at
 * once: nothing is kept in memory. As in the reference implementation, data lies by descending size of an element, then
 * by name, and the header is padded with spaces to a multiple of 8 bytes, so that every element is aligned.
 */
struct wn_safetensors_writer; /* opaque */

/*
 * Makes the file (an existing one is an error), reserves room for all of it, and writes the header with the metadata
 * {"format": "pt"}. `plan` is sorted in place into the order of the file. On failure nothing is left.
 */
wn_status wn_safetensors_create(const char *path, struct wn_tensor_plan *plan, int64_t count,
                                struct wn_safetensors_writer **writer);
/* Puts `bytes` bytes at byte `first` of the data of a tensor. An unknown name or a piece that sticks out is a WN_BUG.
 */
wn_status wn_safetensors_put(struct wn_safetensors_writer *writer, const char *name, int64_t first, const void *data,
                             int64_t bytes);
/* Syncs and closes; *writer becomes NULL. Fewer or more bytes put than the tensors have is a WN_BUG. */
wn_status wn_safetensors_finish(struct wn_safetensors_writer **writer);
/* Closes and removes the file; NULL is fine. */
void wn_safetensors_abandon(struct wn_safetensors_writer **writer);

/*
 * Floats as F32, F16 or BF16 (round to nearest, ties to even); `out` has room for count * 4 or 2 bytes. Returns how
 * many were not held exactly, those that overflowed to infinity included, which *overflows counts alone.
 */
int64_t wn_tensor_from_float(enum wn_dtype dtype, const float *values, int64_t count, void *out, int64_t *overflows);

/* Parses one safetensors image in memory, for fuzzing and tests: only the rules, no files. */
wn_status wn_safetensors_check(const char *name, const uint8_t *data, int64_t size);

#endif
