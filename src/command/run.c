/* SPDX-License-Identifier: Apache-2.0 */
/* run.c: `winnow run`. */
#include <omp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "command.h"

static int run_prepared(struct wn_par *par, const struct wn_sweep *sweep, struct wn_problems *problems,
                        const struct wn_run_options *options)
{
    struct wn_run *run = NULL;
    int code = WN_EXIT_USAGE;
    wn_status status = wn_prepare(par, sweep, true, problems, &run);
    if (status == WN_OK)
        code = wn_run_sweep(par, run, options);
    else if (wn_par_rank(par) == 0 && problems->count)
        wn_problems_print(problems);
    else if (wn_par_rank(par) == 0)
        wn_log(WN_LOG_ERROR, "%s", wn_error_message());
    wn_run_release(&run);
    return code;
}

/* Bits are the same on one kind of CPU only. Collective. */
static wn_status compare_kernels(struct wn_par *par, enum wn_compute compute, bool mix)
{
    char first[256], here[256];
    bool bf16 = compute == WN_COMPUTE_BF16 && wn_bf16_start() == WN_OK; /* else preparing the sweep says why */
    snprintf(here, sizeof here, "%s%s%s", wn_linalg_protocol(), bf16 ? "; " : "", bf16 ? wn_bf16_protocol() : "");
    memcpy(first, here, sizeof first);
    wn_par_broadcast(par, first, sizeof first, 0);
    bool differs = strcmp(first, here) != 0;
    double others = wn_par_sum(par, differs);
    if (others == 0)
        return WN_OK;
    wn_status status = WN_OK;
    if (differs)
        status =
            wn_fail(WN_ERR_INPUT,
                    "rank %d on %s computes with other kernels (%s) than rank 0 (%s): equal points would differ in "
                    "their last bits. Use nodes of one kind, set OPENBLAS_CORETYPE for all, or give "
                    "--mix-arithmetic",
                    wn_par_rank(par), wn_par_host(par), here, first);
    status = wn_par_agree(par, status);
    if (mix && wn_par_rank(par) == 0)
        wn_log(WN_LOG_WARNING, "%s", wn_error_message());
    return mix ? WN_OK : status;
}

/* All mistakes, those of the sweep file and those that show only with the models, are in one list. */
static int run_file(struct wn_par *par, const char *path, const struct wn_sweep_places *places,
                    const struct wn_run_options *given)
{
    struct wn_run_options options = *given;
    struct wn_problems problems;
    struct wn_sweep *sweep;
    wn_problems_init(&problems);
    wn_sweep_read_at(path, places, &problems, &sweep);
    if (wn_linalg_start() != WN_OK)
        wn_problems_add(&problems, "%s", wn_error_message());
    else if (wn_linalg_advice() && wn_par_rank(par) == 0)
        wn_log(WN_LOG_WARNING, "%s", wn_linalg_advice());
    if (options.output ? !*options.output : !sweep->output)
        wn_problems_add(&problems, "%s: no results file: give -o FILE.h5 or the key \"output\"", path);
    if (compare_kernels(par, sweep->compute, options.mix_arithmetic) != WN_OK)
        wn_problems_add(&problems, "%s", wn_error_message());
    if (!options.output)
        options.output = sweep->output;
    int code = run_prepared(par, sweep, &problems, &options);
    wn_sweep_close(&sweep);
    wn_problems_release(&problems);
    return code;
}

/* The two traps of launching: more threads than the node has cores, and threads bound to fewer cores than there are. */
static void warn_of_binding(const struct wn_par *par)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    int threads = omp_get_max_threads(), usable = omp_get_num_procs(), ranks = wn_par_node_size(par);
    if (wn_par_rank(par) != 0)
        return;
    if ((long)ranks * threads > cores)
        wn_log(WN_LOG_WARNING, "%d ranks of %d threads share the %ld cores of %s: this is slower than fewer", ranks,
               threads, cores, wn_par_host(par));
    else if (threads > usable)
        wn_log(WN_LOG_WARNING,
               "each rank has %d threads but may use %d core%s: give mpirun --map-by slot:PE=%d, or "
               "--bind-to none",
               threads, usable, usable == 1 ? "" : "s", threads);
}

/* Seconds of silence of a rank that end a run, unless --stall-timeout says otherwise. */
enum { STALL_SECONDS = 600 };

static int run_watched(struct wn_par *par, double stall, const char *path, const struct wn_sweep_places *places,
                       const struct wn_run_options *options)
{
    if (wn_par_watch(par, stall) != WN_OK) {
        wn_log(WN_LOG_ERROR, "%s", wn_error_message());
        wn_par_abort(WN_EXIT_FAILED);
    }
    return run_file(par, path, places, options);
}

/* The lines of an option that was given several times. */
static void add_lines(struct wn_texts *texts, const char *lines)
{
    while (*lines) {
        size_t length = strcspn(lines, "\n");
        char *line = wn_strndup(lines, length);
        wn_texts_add(texts, line);
        wn_free(line);
        lines += length + (lines[length] == '\n');
    }
}

static void free_lines(const char *lines)
{
    if (lines != wn_repeated)
        wn_free((void *)(uintptr_t)lines);
}

static void abort_all(void)
{
    wn_par_abort(WN_EXIT_FAILED);
}

int wn_command_run(const struct wn_command *command, int argc, char **argv)
{
    const char *path, *threads = NULL, *stall = NULL, *limit = NULL, *every = NULL;
    const char *from = wn_repeated, *only = wn_repeated, *first = wn_repeated;
    struct wn_run_options settings = {.started = wn_seconds()};
    struct wn_sweep_places places = {NULL, NULL};
    const struct wn_option options[] = {{"--output", "-o", &settings.output, NULL},
                                        {"--threads", "-t", &threads, NULL},
                                        {"--model", "-m", &places.model, NULL},
                                        {"--inputs", "-i", &places.inputs, NULL},
                                        {"--from", NULL, &from, NULL},
                                        {"--only", NULL, &only, NULL},
                                        {"--first", NULL, &first, NULL},
                                        {"--retry-failed", NULL, NULL, &settings.retry},
                                        {"--force", NULL, NULL, &settings.force},
                                        {"--mix-arithmetic", NULL, NULL, &settings.mix_arithmetic},
                                        {"--time-limit", NULL, &limit, NULL},
                                        {"--checkpoint-every", NULL, &every, NULL},
                                        {"--scratch", NULL, &settings.scratch, NULL},
                                        {"--keep-levels", NULL, NULL, &settings.keep_levels},
                                        {"--quiet", "-q", NULL, &settings.quiet},
                                        {"--verbose", "-v", NULL, &settings.verbose},
                                        {"--stall-timeout", NULL, &stall, NULL}};
    struct wn_par *par;
    long n_threads = 0, silence = STALL_SECONDS;
    int code;
    wn_par_catch_signals();
    /* MPI before the arguments: every rank must meet in it, also when they are wrong. */
    if (wn_par_start(&argc, &argv, &par) != WN_OK) {
        fprintf(stderr, "winnow: %s\n", wn_error_message());
        return WN_EXIT_FAILED;
    }
    wn_set_abort(abort_all);
    wn_log_set(WN_LOG_INFO, wn_par_rank(par), wn_par_size(par));
    if (wn_par_check_launch(par) != WN_OK) {
        wn_log(WN_LOG_ERROR, "%s", wn_error_message());
        wn_par_finish(&par);
        return WN_EXIT_FAILED;
    }
    if (wn_par_rank(par) != 0) {
        wn_log_set(WN_LOG_WARNING, wn_par_rank(par), wn_par_size(par));
        wn_options_silence();
    }
    bool read = wn_options_read(command, argc, argv, options, sizeof options / sizeof options[0], &path, 1, &code) &&
                (!threads || wn_option_integer(command, "--threads", threads, 1, 1024, &n_threads)) &&
                (!stall || wn_option_integer(command, "--stall-timeout", stall, 0, 1000000, &silence)) &&
                (!limit || wn_option_duration(command, "--time-limit", limit, &settings.time_limit)) &&
                (!every || wn_option_duration(command, "--checkpoint-every", every, &settings.save_every));
    if (read) {
        if (settings.quiet)
            wn_log_set(WN_LOG_WARNING, wn_par_rank(par), wn_par_size(par));
        if (n_threads)
            omp_set_num_threads((int)n_threads);
        warn_of_binding(par);
        struct wn_texts files = {0};
        add_lines(&files, from);
        settings.from = &files;
        settings.only = *only ? only : NULL;
        settings.first = *first ? first : NULL;
        code = run_watched(par, (double)silence, path, &places, &settings);
        wn_texts_release(&files);
    } else {
        code = code == 0 ? 0 : WN_EXIT_USAGE;
    }
    free_lines(from);
    free_lines(only);
    free_lines(first);
    wn_par_finish(&par);
    return code;
}
