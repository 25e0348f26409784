/* SPDX-License-Identifier: Apache-2.0 */
/* documents.h: what the files that read documents share; private to src/data. */
#ifndef WINNOW_DATA_DOCUMENTS_H
#define WINNOW_DATA_DOCUMENTS_H

#include <winnow/data.h>

/* The content (data.h) whose records may be strings. */
#define DOC_ARRAY "JSON array"

/* Refuses bytes that are no UTF-8 text and no gzip: one line that names what they are and what to do (content.c). */
wn_status doc_refuse_other(const char *path, const char *data, int64_t size);

/* Appends a document; *capacity grows with it. */
void doc_add(struct wn_documents *documents, int64_t *capacity, int64_t start, int64_t end, int64_t line);

/*
 * Where the documents of a text are, by its first characters: one JSON array of objects, one JSON object with a list of
 * them, objects one behind the other, or else lines (records.c). Sets `content`.
 */
wn_status doc_find_records(struct wn_documents *documents);
/* Whether a text begins as such a file does. */
bool doc_looks_json(const char *data, int64_t size);

#endif
