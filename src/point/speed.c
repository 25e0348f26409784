/* SPDX-License-Identifier: Apache-2.0 */
/* speed.c: how fast a point is, while all its blocks are in memory; points of one form are measured once on a rank. */
#include "walk.h"

/* What this rank has measured. */
struct wn_measured {
    struct wn_texts forms;                /* model and form */
    struct wn_efficiency_result *results; /* [forms.count] */
};

struct wn_measured *wn_measured_create(void)
{
    return wn_alloc_zero(1, sizeof(struct wn_measured));
}

void wn_measured_destroy(struct wn_measured **measured)
{
    if (!*measured)
        return;
    wn_texts_release(&(*measured)->forms);
    wn_free((*measured)->results);
    wn_free(*measured);
    *measured = NULL;
}

/* The result of the form; of a new one it has yet to be measured. */
static struct wn_efficiency_result *find(struct wn_measured *measured, const struct wn_subject *subject,
                                         const struct wn_kept_blocks *kept)
{
    char *form = wn_efficiency_form(kept);
    char *key = wn_format("%lld\n%s", (long long)subject->point->model, form);
    int64_t before = measured->forms.count, number = wn_texts_add(&measured->forms, key);
    if (number == before) {
        measured->results = wn_resize(measured->results, number + 1, sizeof *measured->results);
        measured->results[number] = (struct wn_efficiency_result){.measured_at = -1};
    }
    wn_free(form);
    wn_free(key);
    return &measured->results[number];
}

wn_status wn_evaluation_measure(struct wn_evaluation *evaluation, const struct wn_subject *subject,
                                const struct wn_efficiency *asked)
{
    struct wn_efficiency_result *result = find(subject->run->measured, subject, &evaluation->kept);
    if (result->measured_at < 0) {
        WN_TRY(wn_efficiency_measure(asked, &evaluation->kept, result));
        result->measured_at = subject->point - subject->run->grid.points;
    }
    if (!evaluation->efficiency)
        evaluation->efficiency = wn_alloc(1, sizeof *evaluation->efficiency);
    *evaluation->efficiency = *result;
    return WN_OK;
}
