/* SPDX-License-Identifier: Apache-2.0 */
/* point_fields.c: what /points says of every point, whatever it is and is evaluated on. */
#include <stdio.h>

#include "sweep_impl.h"

static int point_number(struct wn_schema *schema, const char *name, const char *unit, const char *description,
                        bool result)
{
    char path[96];
    snprintf(path, sizeof path, "/points/%s", name);
    return wn_schema_field(schema, path, WN_FIELD_F64, 0, NULL, unit, description, result);
}

static void add_point_fields(struct wn_schema *schema, struct wn_point_fields *fields)
{
    fields->reason = wn_schema_text(schema, "/points/reason", 240, "why the point failed", false);
    fields->host = wn_schema_text(schema, "/points/host", 64, "host that computed the point", false);
    fields->rank =
        wn_schema_field(schema, "/points/rank", WN_FIELD_I32, 0, NULL, "1", "rank that computed the point", false);
    fields->threads =
        wn_schema_field(schema, "/points/threads", WN_FIELD_I32, 0, NULL, "1", "OpenMP threads of that rank", false);
    fields->seconds = point_number(schema, "seconds", "s", "wall time of the point", false);
    fields->seconds_load = point_number(schema, "seconds_load", "s", "of which: loading weights", false);
    fields->seconds_statistics =
        point_number(schema, "seconds_statistics", "s", "of which: calibration statistics", false);
    fields->seconds_compress = point_number(schema, "seconds_compress", "s", "of which: compressing", false);
    fields->seconds_forward = point_number(schema, "seconds_forward", "s", "of which: forward passes", false);
    fields->seconds_generate = point_number(schema, "seconds_generate", "s", "of which: generating text", false);
    fields->seconds_score = point_number(schema, "seconds_score", "s", "of which: head and scores", false);
    fields->peak_bytes =
        point_number(schema, "peak_bytes", "byte", "largest amount of memory allocated during the point", false);
    fields->tokens = point_number(schema, "tokens", "token", "tokens pushed through the blocks", false);
    fields->sparsity = point_number(schema, "achieved_sparsity", "1", "share of zeros among the block linears", true);
    fields->bits_per_weight_nominal =
        point_number(schema, "bits_per_weight_nominal", "bit",
                     "bits per weight of the block linears as papers count them: 16 per number, all overheads", true);
    fields->stored_bytes = point_number(schema, "stored_bytes", "byte",
                                        "stored_bytes_linears and all other tensors as in the checkpoint", true);
    fields->stored_bytes_linears =
        point_number(schema, "stored_bytes_linears", "byte",
                     "of the block linears: the smallest form that gives back the evaluated weights", true);
    fields->weight_error =
        point_number(schema, "weight_error", "1", "||W - W'||_F / ||W||_F over all block linears", true);
    fields->output_error =
        point_number(schema, "output_error", "1", "root mean square of the linears' output_error", true);
    fields->error_sum = point_number(schema, "error_sum", "1", "sum of the squares of the linears' output_error", true);
    fields->weights_hash = wn_schema_text(schema, "/points/weights_hash", WN_WEIGHTS_HASH,
                                          "of all weights that are evaluated: equal texts are equal bits", true);
}

/* Which start computed what, for rows that were put together from several. */
static void add_evaluation_field(struct wn_run *run, struct wn_schema *schema)
{
    int64_t count = run->sweep->n_evals;
    const char **names = wn_alloc(count, sizeof *names);
    for (int64_t e = 0; e < count; e++)
        names[e] = run->sweep->evals[e].name;
    int dims[1] = {wn_schema_dim(schema, "evaluation", count, names)};
    run->fields.evaluation_start =
        wn_schema_field(schema, WN_EVALUATION_START, WN_FIELD_I32, 1, dims, "1",
                        "row of /starts of the run that computed this evaluation; -1: not computed", false);
    wn_free(names);
}

void wn_run_add_point_fields(struct wn_run *run, struct wn_schema *schema)
{
    add_point_fields(schema, &run->fields);
    add_evaluation_field(run, schema);
}
