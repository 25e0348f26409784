/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gguf_file.h: writes a GGUF file, version 3 (the format of ggml and llama.cpp): keys, then what tensors there are,
 * then their bytes. Private to src/export.
 *
 * Keys and the names of all tensors must be known first: they say how long the header is. Tensors follow in any order,
 * of any type, and the header is written last.
 */
#ifndef WINNOW_EXPORT_GGUF_FILE_H
#define WINNOW_EXPORT_GGUF_FILE_H

#include <winnow/io.h>

#define WN_GGUF_ALIGNMENT 32
#define WN_GGUF_BLOCK     32 /* weights of a block of codes */

/* Numbers as the format has them. */
enum wn_gguf_type {
    WN_GGUF_F32 = 0,
    WN_GGUF_F16 = 1,
    WN_GGUF_Q4_0 = 2,
    WN_GGUF_Q4_1 = 3,
    WN_GGUF_Q8_0 = 8,
    WN_GGUF_BF16 = 30
};
const char *wn_gguf_type_name(enum wn_gguf_type type); /* "Q4_0" */
/* Of plain numbers; WN_GGUF_F32 of all that is no half. */
enum wn_gguf_type wn_gguf_type_of_dtype(enum wn_dtype dtype);

/* Types of keys. */
enum wn_gguf_key { WN_GGUF_U32 = 4, WN_GGUF_I32 = 5, WN_GGUF_FLOAT = 6, WN_GGUF_BOOL = 7, WN_GGUF_STRING = 8 };

struct wn_gguf_file {
    char *path; /* owned */
    int file;   /* -1: closed */
    struct wn_text keys, tensors;
    int64_t n_keys, n_tensors, n_reserved;
    int64_t reserved; /* bytes of the tensors' part of the header, by wn_gguf_reserve */
    int64_t data;     /* where tensors begin; 0: not known yet */
    int64_t end;      /* of what is written, from there */
};

/* A new file; release it in any case. */
wn_status wn_gguf_create(struct wn_gguf_file *gguf, const char *path);
void wn_gguf_release(struct wn_gguf_file *gguf);

void wn_gguf_put_u32(struct wn_gguf_file *gguf, const char *key, int64_t value);
void wn_gguf_put_float(struct wn_gguf_file *gguf, const char *key, double value);
void wn_gguf_put_bool(struct wn_gguf_file *gguf, const char *key, bool value);
void wn_gguf_put_string(struct wn_gguf_file *gguf, const char *key, const char *value);
/* An array of numbers of 4 bytes, or of texts. */
void wn_gguf_put_numbers(struct wn_gguf_file *gguf, const char *key, enum wn_gguf_key type, const void *values,
                         int64_t count);
void wn_gguf_put_strings(struct wn_gguf_file *gguf, const char *key, const char *const *values, int64_t count);

/* Room for what the header says of a tensor. No keys and no room behind the first wn_gguf_begin. */
void wn_gguf_reserve(struct wn_gguf_file *gguf, const char *name, int n_dims);
/* The next tensor, shape [n_dims] slowest first; its bytes follow by wn_gguf_append, in one piece or several. */
void wn_gguf_begin(struct wn_gguf_file *gguf, const char *name, enum wn_gguf_type type, int n_dims,
                   const int64_t *shape);
wn_status wn_gguf_append(struct wn_gguf_file *gguf, const void *bytes, int64_t size);
/* Writes the header, syncs and closes. All that was reserved must be there. */
wn_status wn_gguf_finish(struct wn_gguf_file *gguf);

#endif
