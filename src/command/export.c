/* SPDX-License-Identifier: Apache-2.0 */
/* export.c: `winnow export`. */
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <winnow/export.h>
#include <winnow/linalg.h>
#include <winnow/par.h>
#include <winnow/sweep.h>

#include "command.h"

/* "5GB", "300MB". */
static bool read_size(const struct wn_command *command, const char *text, int64_t *bytes)
{
    char *end;
    long number = strtol(text, &end, 10);
    int64_t unit = !strcmp(end, "GB") ? 1000000000 : !strcmp(end, "MB") ? 1000000 : 0;
    *bytes = unit * number;
    if (end > text && unit && number >= 1 && number <= 1000000)
        return true;
    fprintf(stderr, "winnow: %s: --shard-size: expected a size like 5GB or 300MB, got \"%s\"\n", command->name, text);
    return false;
}

static int export_point(const struct wn_export_options *options)
{
    struct wn_problems problems;
    wn_problems_init(&problems);
    wn_status status = wn_linalg_start();
    if (status == WN_OK)
        status = wn_export(options, &problems);
    wn_problems_print(&problems);
    if (status != WN_OK && problems.count == 0)
        fprintf(stderr, "winnow: %s\n", wn_error_message());
    else if (status != WN_OK && !options->sweep)
        fprintf(stderr,
                "winnow: %s: its inputs are looked for where they were; give --sweep SWEEP.json when they have "
                "moved\n",
                options->results);
    wn_problems_release(&problems);
    return status == WN_OK                ? WN_EXIT_DONE
           : status == WN_ERR_INPUT       ? WN_EXIT_USAGE
           : status == WN_ERR_INTERRUPTED ? WN_EXIT_STOPPED
                                          : WN_EXIT_FAILED;
}

static bool required(const struct wn_command *command, const char *name, const char *value)
{
    if (value)
        return true;
    fprintf(stderr, "winnow: %s: the option %s is missing (usage: winnow %s)\n", command->name, name, command->usage);
    return false;
}

int wn_command_export(const struct wn_command *command, int argc, char **argv)
{
    struct wn_export_options settings = {0};
    const char *threads = NULL, *size = NULL;
    bool quiet = false;
    const struct wn_option options[] = {
        {"--point", "-p", &settings.point, NULL}, {"--to", "-o", &settings.directory, NULL},
        {"--dtype", NULL, &settings.dtype, NULL}, {"--format", NULL, &settings.format, NULL},
        {"--sweep", NULL, &settings.sweep, NULL}, {"--shard-size", NULL, &size, NULL},
        {"--threads", "-t", &threads, NULL},      {"--quiet", "-q", NULL, &quiet}};
    long n_threads = 0;
    int code;
    if (!wn_options_read(command, argc, argv, options, 8, &settings.results, 1, &code))
        return code;
    if (!required(command, "--point", settings.point) || !required(command, "--to", settings.directory) ||
        (threads && !wn_option_integer(command, "--threads", threads, 1, 1024, &n_threads)) ||
        (size && !read_size(command, size, &settings.shard_bytes)))
        return WN_EXIT_USAGE;
    if (n_threads)
        omp_set_num_threads((int)n_threads);
    wn_log_set(quiet ? WN_LOG_WARNING : WN_LOG_INFO, 0, 1);
    wn_par_catch_signals();
    return export_point(&settings);
}
