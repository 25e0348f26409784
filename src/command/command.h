/* SPDX-License-Identifier: Apache-2.0 */
/*
 * command.h: the commands of the program. A command is one file here and one row in src/main.c.
 *
 * Each gets its own arguments (argv[0] is the command's name) and returns an exit code:
 *   0 done, 1 failed, 2 wrong usage or input, 3 some points failed, 75 stopped on request with work left.
 */
#ifndef WINNOW_COMMAND_H
#define WINNOW_COMMAND_H

#include <stdbool.h>
#include <stdio.h>

#include <winnow/base.h>
#include <winnow/results.h>

struct wn_command {
    const char *name, *usage, *help; /* help: one line for the list */
    const char *page;                /* what `winnow NAME --help` adds, for wn_wrap: options and examples */
    int (*run)(const struct wn_command *command, int argc, char **argv);
};

const struct wn_command *wn_commands(int *count); /* all of them (src/main.c) */

int wn_command_plan(const struct wn_command *command, int argc, char **argv);
int wn_command_run(const struct wn_command *command, int argc, char **argv);
int wn_command_status(const struct wn_command *command, int argc, char **argv);
int wn_command_show(const struct wn_command *command, int argc, char **argv);
int wn_command_export(const struct wn_command *command, int argc, char **argv);
int wn_command_verify(const struct wn_command *command, int argc, char **argv);
int wn_command_tokens(const struct wn_command *command, int argc, char **argv);
int wn_command_help(const struct wn_command *command, int argc, char **argv);

/* One option: "--name" with a value, or a flag. */
struct wn_option {
    const char *name;   /* "--output" */
    const char *letter; /* "-o" or NULL */
    const char **value; /* set to the argument; NULL for a flag. One that is wn_repeated before may be given again:
                           it gets all arguments, a line each, to be freed */
    bool *flag;         /* set to true */
};

extern const char wn_repeated[];

/* Mistakes in the arguments are the same on all ranks of a run: with this, only the caller's exit code tells of them.
 */
void wn_options_silence(void);
/*
 * Reads options and exactly `wanted` positional arguments (in any order; "--" ends the options). Prints the command's
 * page and returns 0 in *exit_code for --help; prints one line and returns false for a mistake.
 */
bool wn_options_read(const struct wn_command *command, int argc, char **argv, const struct wn_option *options,
                     int n_options, const char **positional, int wanted, int *exit_code);
/* What --help prints. */
void wn_command_print_page(const struct wn_command *command);
/* Whole number of an option in [low, high]; prints one line and returns false otherwise. */
bool wn_option_integer(const struct wn_command *command, const char *name, const char *text, long low, long high,
                       long *value);

/* Seconds of an option, above 0: "90", "90s", "30m", "2h", "1d" or a row of them as "1h30m"; else the same. */
bool wn_option_duration(const struct wn_command *command, const char *name, const char *text, double *seconds);

/* What is left of a search: its trajectory and levels, or as JSON; an exit code (show_search.c). */
int wn_show_search(const char *path, const char *name, bool json);

/* All commands as a manual page in roff, and as completion for bash, made from their pages (manual.c). */
void wn_add_manual(struct wn_text *to);
void wn_add_completion(struct wn_text *to);

/* Lines of plan: what a run needs on scratch (plan_scratch.c). */
struct wn_run;
void wn_plan_scratch(const struct wn_run *run);
/* Bytes of the state of the largest point. */
int64_t wn_plan_state_bytes(const struct wn_run *run);
/* Bytes of the level files of the largest search, and those per weight and level; 0: there is none. */
double wn_plan_level_bytes(const struct wn_run *run, double *per_weight);

/* Models, calibration sets and evaluations, with warnings (plan_inputs.c). */
struct wn_prepared_model;
void wn_plan_print_inputs(const struct wn_run *run);
/* Items of a task; 0: it is none. */
int64_t wn_plan_items(const struct wn_prepared_model *prepared, const char *name);
/* Half of the widest 95 % interval of a share of so many items, in points of a hundred. */
double wn_plan_half_interval(int64_t items);

/* How many slots a run takes (plan_slots.c). */
struct wn_plan_slots {
    double limit;          /* seconds of a slot; 0: there is none, and nothing is said */
    double startup, work;  /* seconds of each start before the first work, and of all ranks together behind it */
    const double *seconds; /* [n_points] predicted */
    const bool *only;      /* [n_points]; NULL: all */
    int64_t n_points;
};
void wn_plan_slots(const struct wn_plan_slots *plan);
struct cJSON;
void wn_plan_slots_json(const struct wn_plan_slots *plan, struct cJSON *json);

/* Prints all problems, one line each, to stderr. */
void wn_problems_print(const struct wn_problems *problems);

/* ---- texts as wide as the terminal (wrap.c) ---- */

/* Characters of a line: what the terminal has, or COLUMNS; else the other number. */
int wn_line_width(int otherwise);
/* Where the next cell of a row begins, behind two spaces or more, behind byte `from` of its `length`; 0: there is none.
 */
size_t wn_next_cell(const char *line, size_t length, size_t from);
/*
 * A line of the text is a paragraph, or a row whose cells are two spaces or more apart: what does not fit goes on below
 * where its last cell begins, or the cell moves below the others. Words longer than a line stay whole.
 */
void wn_wrap(const char *text, int width, struct wn_text *to);
#define WN_HELD_SPACE '\x1f' /* a space at which no line ends */
/* Wrapped to the width of a line, 80 where nobody knows it. */
void wn_print_wrapped(FILE *stream, const struct wn_text *text);

/* ---- text tables whose columns line up ---- */

struct wn_grid_table {
    int rows, columns;
    char ***cells; /* [rows][columns], owned; row 0 is the heading */
    bool *right;   /* [columns] align right */
};
void wn_grid_table_init(struct wn_grid_table *table, int rows, int columns);
void wn_grid_table_set(struct wn_grid_table *table, int row, int column, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
int wn_grid_table_width(const struct wn_grid_table *table, int column); /* characters of its longest cell */
/* The first `leading` columns, then first .. end - 1. */
void wn_grid_table_print_part(const struct wn_grid_table *table, int leading, int first, int end);
void wn_grid_table_print(const struct wn_grid_table *table);
void wn_grid_table_release(struct wn_grid_table *table);

/* "12.3 MiB"; static buffers, four calls at a time. */
const char *wn_bytes_text(double bytes);
/* "3 min 20 s" */
const char *wn_seconds_text(double seconds);

#endif
