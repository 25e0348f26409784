/* SPDX-License-Identifier: Apache-2.0 */
/*
 * requests.h: request files: one JSONL format for all tasks.
 *
 * A task file is JSON lines, UTF-8. Its first line may be a header: an object with the key "task". Without a header it
 * is a multiple_choice task named by its file. All other lines are items. The header names the kind, a row of
 * src/eval/eval_list.h; a kind says which keys its header and its items may have and which metrics it knows, as tables,
 * from which `winnow help tasks`, the JSON Schema (`winnow help tasks-schema`, sweeps/requests.schema.json) and the
 * check of every line are made. Unknown keys are mistakes.
 *
 *     {"task": "facts", "kind": "multiple_choice", "dimension": "knowledge", "metrics": ["acc_norm", "acc"], ...}
 *     {"id": "1", "group": "history", "context": "Question: ...\nAnswer:", "choices": ["a", "b"], "gold": 0}
 *
 * A sweep names a file ("tasks/facts.jsonl") or an object {"requests": file, "name", "limit", "metrics", "delimiter",
 * "dimension", "mode", "chance"}, whose keys go before those of the header.
 *
 * Not collective. The reader is used by the kinds of src/eval only; other modules print help and schema.
 */
#ifndef WINNOW_REQUESTS_H
#define WINNOW_REQUESTS_H

#include <winnow/data.h>

struct cJSON;
struct wn_eval;

/* ---- keys of an object, as data ---- */

/* What the value of a key may be: flags. */
enum wn_key_type {
    WN_KEY_TEXT = 1,
    WN_KEY_TEXTS = 2, /* a list */
    WN_KEY_NUMBER = 4,
    WN_KEY_INTEGER = 8,
    WN_KEY_INTEGERS = 16, /* a list */
    WN_KEY_BOOL = 32,
    WN_KEY_OBJECT = 64, /* of `within` */
    WN_KEY_OBJECTS = 128
};

struct wn_key {
    const char *name;
    unsigned types; /* flags of enum wn_key_type */
    bool required;
    bool filled;          /* texts must not be empty */
    int least;            /* entries of a list, at least; and of an object, if it has `within` */
    double low, high;     /* range of numbers, also in lists; any when equal */
    const char *words;    /* WN_KEY_TEXT: allowed words "a|b|c", NULL: any */
    const char *standard; /* default, as JSON text; NULL: none */
    const char *help;
    const struct wn_key *within; /* keys of an object */
    int n_within;
};

struct wn_keys {
    const struct wn_key *rows;
    int count;
};

#define WN_KEYS(table)                                                                                                 \
    {                                                                                                                  \
        (table), (int)(sizeof(table) / sizeof((table)[0]))                                                             \
    }

/* Checks an object by tables taken together (each key is in one of them): known keys, types, ranges, words, required
 * ones. The message of the first mistake names the key, but no file or line. */
wn_status wn_keys_check(const struct cJSON *object, const struct wn_keys *tables, int n_tables);
/* The tables as aligned help lines. */
void wn_keys_help(const struct wn_keys *tables, int n_tables, struct wn_text *text);
/* JSON Schema of an object; free with cJSON_Delete. */
struct cJSON *wn_keys_schema(const struct wn_keys *tables, int n_tables);

/* ---- what a kind adds ---- */

struct wn_requests;

/* Values of items by metric: arrays [items], NULL for metrics that are not wanted. */
struct wn_item_values {
    int n_metrics;   /* rows of the table of the kind */
    double **value;  /* [n_metrics] */
    double **weight; /* [n_metrics]; NULL: 1 each; an item of weight NaN is no part of the metric */
    double **counts; /* [n_metrics]; of metrics that are no means: [items, counts of the metric], what its reduction
                        adds over items; else NULL */
};

/* A metric over items index[0..n): its value and, into influence[0..n), by how much each item moves it (0 for items
 * that are no part of it), so that its standard error is sqrt(m/(m-1) sum influence^2) over m items: s/sqrt(m) for a
 * mean, the delta method for the others. */
typedef double wn_metric_reduce(const struct wn_item_values *values, int metric, const int64_t *index, int64_t n,
                                double *influence);

struct wn_metric {
    const char *name, *unit, *help;
    bool binary;              /* 0 or 1 for each item: flips against the dense model make sense */
    int parts;                /* not 0: a name for the next so many rows together */
    wn_metric_reduce *reduce; /* NULL: sum of values / sum of weights */
};

/* Of a kind of task; struct wn_eval points at it. */
struct wn_task_kind {
    struct wn_keys header, item; /* besides the common ones */
    const struct wn_metric *metrics;
    int n_metrics;
    int n_standard;        /* the first this many metrics are the default, the first of all is the main one */
    const char *delimiter; /* default of the key "delimiter"; NULL: the kind has no such key */
    /* What tables cannot say about the header (NULL: there is none); the message names the key. May be NULL. */
    wn_status (*check_header)(const struct cJSON *header);
    /* What tables cannot say about the item; `item` has passed them. Fails by wn_requests_fail. May be NULL. */
    wn_status (*check_item)(const struct wn_requests *requests, int64_t index, const struct cJSON *item);
};

/* ---- the reader ---- */

#define WN_MAX_METRICS 48

struct wn_requests {
    struct wn_documents documents;
    const struct wn_eval *kind;
    struct cJSON *header; /* as the sweep changes it; NULL without one; owned */
    int64_t first, count; /* document of the first item; items, after the limit of the sweep */
    char *delimiter;      /* owned; "" for a kind without */
    int n_metrics;
    int metrics[WN_MAX_METRICS]; /* rows of the table of the kind, the main one first */
};

/* The kind of a task of a sweep (`entry` as above) by the header of its file, and its name: the key "name" of the
 * entry, else "task" of the header, else the file without its ending. Where entry, file or header are wrong,
 * multiple_choice, whose check then says so; the name is empty when no file is named. */
const struct wn_eval *wn_requests_kind(const char *directory, const struct cJSON *entry, char name[64]);

/* The check of every kind of task (struct wn_eval, check): entry, header and all lines. */
void wn_requests_check(const char *directory, const char *name, const struct cJSON *entry,
                       struct wn_problems *problems);

/* Opens a file that was checked. On an error nothing has to be closed. */
wn_status wn_requests_open(const char *directory, const char *name, const struct cJSON *entry,
                           struct wn_requests *requests);
void wn_requests_close(struct wn_requests *requests);
/* Item `index` of `count`, checked; free with cJSON_Delete. */
wn_status wn_requests_item(const struct wn_requests *requests, int64_t index, struct cJSON **item);
/* The id of an item: a text or a number, without one the number of the item from 0. Owned by the caller. */
char *wn_requests_id(const struct cJSON *item, int64_t index);
/* wn_fail(WN_ERR_INPUT) with "path:line: " of item `index` in front. */
wn_status wn_requests_fail(const struct wn_requests *requests, int64_t index, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* True when row `metric` of the table of the kind is wanted. */
bool wn_requests_has_metric(const struct wn_requests *requests, int metric);
/* A key of the header; `standard` where it is not given. Borrowed. */
const char *wn_requests_text(const struct wn_requests *requests, const char *key, const char *standard);
double wn_requests_number(const struct wn_requests *requests, const char *key, double standard);

/* ---- help ---- */

/* Keys that the headers of all kinds may have. */
struct wn_keys wn_requests_header_keys_common(void);
/* Tables of the header and of the items of a kind; return their number. */
int wn_requests_header_keys(const struct wn_task_kind *task, struct wn_keys tables[3]);
int wn_requests_item_keys(const struct wn_task_kind *task, struct wn_keys tables[2]);
void wn_requests_help(struct wn_text *text);   /* `winnow help tasks` */
void wn_requests_schema(struct wn_text *text); /* `winnow help tasks-schema`: of one line */
/* Keys of an entry of "evaluate.tasks". */
struct wn_keys wn_requests_entry_keys(void);

#endif
