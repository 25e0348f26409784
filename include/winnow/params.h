/* SPDX-License-Identifier: Apache-2.0 */
/*
 * params.h: parameters as data. A table beside the code that reads them says name, type, default, range and meaning;
 * the sweep-file parser, `winnow help`, the echo of used values and the columns of the results file walk the table.
 *
 * Depends on base.h. Not collective.
 */
#ifndef WINNOW_PARAMS_H
#define WINNOW_PARAMS_H

#include <winnow/base.h>

struct cJSON;

enum wn_type { WN_BOOL, WN_INTEGER, WN_NUMBER, WN_STRING };

struct wn_parameter {
    const char *name;
    enum wn_type type;
    /* Default as JSON text ("0.01", "true", "\"channel\""); NULL: no default, `required` decides. */
    const char *standard;
    /* What the published code of the method has where the default departs from it, as JSON text; NULL: the default. */
    const char *published;
    bool required;
    /* Range of numbers: [low, high], or [low, high) when open_end; any when low == high; high may be INFINITY. */
    double low, high;
    bool open_end;
    /* WN_STRING: allowed words "a|b|c", NULL: any; numbers: words accepted besides numbers. */
    const char *words;
    const char *unit, *help;
    /* Left out of the canonical text while it has its default. */
    bool quiet;
};

/* The value of one parameter: numbers and booleans in `number`, strings (and words of numbers) in `text`. */
struct wn_value {
    const struct wn_parameter *parameter; /* borrowed from a table */
    double number;                        /* NaN for a word */
    char text[30];                        /* the value as text, numbers too ("0.5", "true", "2:4") */
    bool set;                             /* false: neither given nor defaulted */
    bool given;                           /* false: the default was taken */
};

/* Small, as are the values: a grid keeps them for every point, and there are tens of thousands. */
#define WN_MAX_PARAMETERS 16

struct wn_params {
    int count;
    struct wn_value values[WN_MAX_PARAMETERS]; /* in the order of the table */
};

/* All parameters of a table with their defaults. */
void wn_params_init(struct wn_params *params, const struct wn_parameter *table, int count);
/* Those that have not been given take the published value, where there is one. */
void wn_params_publish(struct wn_params *params);
/* Sets one from JSON, checked against type, range and words; wn_fail names the key and what was expected. */
wn_status wn_params_set(struct wn_params *params, const char *name, const struct cJSON *value);
/* Sets a number that follows from others (2:4 gives sparsity 0.5). */
void wn_params_derive(struct wn_params *params, const char *name, double number);
/* After all were set: the first required one that is missing is an error. */
wn_status wn_params_complete(const struct wn_params *params);

/* True when the text is one of parameter->words, "a|b|c". */
bool wn_params_has_word(const struct wn_parameter *parameter, const char *text);
/* NULL when the table has no such parameter. */
const struct wn_value *wn_params_find(const struct wn_params *params, const char *name);
/* NULL when the table has no such parameter, or it was not set. */
const struct wn_value *wn_params_given(const struct wn_params *params, const char *name);
bool wn_params_is_on(const struct wn_params *params, const char *name); /* false when it is not given */
/* What says nothing beside the others: not given, and so in no key. */
void wn_params_leave_out(struct wn_params *params, const char *name);
double wn_params_number(const struct wn_params *params, const char *name); /* WN_BUG when absent */
int64_t wn_params_integer(const struct wn_params *params, const char *name);
bool wn_params_flag(const struct wn_params *params, const char *name);
const char *wn_params_text(const struct wn_params *params, const char *name);

/* Appends "name=value" of every set parameter but quiet defaults, separated by single spaces, in table order: a
 * canonical text. */
void wn_params_describe(const struct wn_params *params, struct wn_text *text);

/* The table as aligned help lines. */
void wn_params_help(const struct wn_parameter *table, int count, struct wn_text *text);

#endif
