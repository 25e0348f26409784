/* SPDX-License-Identifier: Apache-2.0 */
/* setting.h: what a test of levels has on any number of ranks: a sweep with its dense pass, and a folder for them. */
#ifndef WINNOW_TEST_LEVEL_SETTING_H
#define WINNOW_TEST_LEVEL_SETTING_H

#include "io/folder.h"
#include "sweep/run_sweep.h"

struct setting {
    struct wn_par *par;
    struct wn_run *run;
    struct wn_reference *reference;
    char folder[256]; /* the same on all ranks */
};

/* Calls `check` with the run of a sweep that has so many points, on all ranks that the test was started with. */
static inline void on_ranks(int argc, char **argv, const char *text, int64_t points,
                            void (*check)(const struct setting *setting))
{
    struct wn_sweep *sweep;
    struct wn_reference reference;
    struct setting setting = {.reference = &reference};
    bool *wanted = wn_alloc(points, sizeof *wanted);
    char *folder = NULL;

    CHECK_OK(wn_linalg_start());
    omp_set_num_threads(1);
    CHECK_OK(wn_par_start(&argc, &argv, &setting.par));
    CHECK(wn_par_size(setting.par) == test_ranks_asked());
    if (wn_par_rank(setting.par) == 0) {
        folder = folder_create();
        snprintf(setting.folder, sizeof setting.folder, "%s/levels", folder);
    }
    wn_par_broadcast(setting.par, setting.folder, sizeof setting.folder, 0);
    memset(wanted, true, (size_t)points * sizeof *wanted);
    setting.run = test_prepare(setting.par, "sweep.json", text, points, &sweep);
    if (setting.run) {
        CHECK_OK(wn_reference_compute(setting.par, setting.run, wanted, &reference));
        check(&setting);
        wn_reference_release(&reference);
    }
    wn_run_release(&setting.run);
    wn_sweep_close(&sweep);
    wn_par_barrier(setting.par);
    if (folder) {
        rmdir(setting.folder); /* left by what was refused */
        folder_remove(folder);
    }
    wn_par_finish(&setting.par);
    wn_free(wanted);
}

#endif
