/* SPDX-License-Identifier: Apache-2.0 */
/* kept.c: see kept.h. */
#include <string.h>

#include "grow.h"
#include "kept.h"

void wn_kept_open(const struct wn_run *run, struct wn_kept_row *kept)
{
    wn_record_init(&kept->record, &run->schema);
    kept->part = wn_alloc(run->schema.n_fields, sizeof *kept->part);
    for (int f = 0; f < run->schema.n_fields; f++)
        kept->part[f] = wn_row_part(run, run->schema.fields[f].path);
}

void wn_kept_close(struct wn_kept_row *kept)
{
    wn_record_release(&kept->record);
    wn_free(kept->part);
}

wn_status wn_kept_read(const struct wn_run *run, struct wn_results *results, int64_t point, struct wn_kept_row *kept)
{
    kept->any = false;
    for (int64_t e = 0; e < run->sweep->n_evals; e++)
        kept->any = kept->any || !wn_run_lacks(run, point, e);
    return kept->any ? wn_results_read_row(results, point, &kept->record) : WN_OK;
}

void wn_kept_restore(const struct wn_run *run, int64_t point, const struct wn_kept_row *kept, struct wn_record *wide)
{
    for (int f = 0; kept->any && f < run->schema.n_fields; f++) {
        const struct wn_field *field = &run->schema.fields[f];
        if (kept->part[f] == 0 ? field->result : !wn_run_lacks(run, point, kept->part[f] - 1))
            memcpy(wide->data[f], kept->record.data[f], (size_t)field->bytes);
    }
}

wn_status wn_kept_compare(const struct wn_run *run, const struct wn_kept_row *kept, const struct wn_record *wide)
{
    const char *there = (const char *)kept->record.data[run->fields.weights_hash];
    const char *here = (const char *)wide->data[run->fields.weights_hash];
    if (!kept->any || !strcmp(there, here))
        return WN_OK;
    return wn_fail(WN_ERR_NUMERIC,
                   "compressed again for the evaluations that were missing, it has other weights (%s, recorded %s); "
                   "--retry-failed computes all of it anew",
                   here, there);
}

wn_status wn_kept_fail(const struct wn_run *run, struct wn_results *results, int64_t point, const char *reason,
                       struct wn_kept_row *kept)
{
    wn_record_clear(&kept->record);
    WN_TRY(wn_kept_read(run, results, point, kept));
    wn_record_set_text(&kept->record, run->fields.reason, reason);
    return wn_results_write(results, point, &kept->record, WN_POINT_FAILED);
}
