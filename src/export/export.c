/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export.c: one point of a results file as a checkpoint. The file has the text of the sweep and its identity; the point
 * is computed again from the same inputs, which the identity proves, and goes to the disk linear by linear.
 */
#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include <winnow/export.h>
#include <winnow/linalg.h>
#include <winnow/sweep.h>

#include "../point/point_impl.h"
#include "files.h"
#include "stored.h"
#include "winnow_build.h"

enum { EXPORT_FORMAT = 1 };

#define SHARD_BYTES 5000000000

struct export
{
    const struct wn_export_options *options;
    struct wn_stored stored;
    char *folder, *temporary;
    struct wn_par *par;
    struct wn_sweep *sweep;
    struct wn_run *run;
    const struct wn_point *point;
    const struct wn_model *model;
    enum wn_dtype dtype;
    struct wn_export_form form;    /* of the linears */
    struct wn_reference reference; /* computed when the point reads it */
    bool reads_reference;
    struct wn_allocation allocation;
    bool *gone; /* [n_blocks] both branches are left out; NULL unless any is */
    struct wn_export_files *files;
    struct wn_record record;
    bool agrees;
};

/* ---- the folder ---- */

static wn_status check_folder(const char *folder)
{
    struct stat about;
    bool empty = true;
    struct dirent *entry;
    if (stat(folder, &about) != 0)
        return errno == ENOENT ? WN_OK : wn_fail(WN_ERR_INPUT, "%s: cannot be created: %s", folder, strerror(errno));
    if (!S_ISDIR(about.st_mode))
        return wn_fail(WN_ERR_INPUT, "%s: is there already and is no folder; expected a new folder", folder);
    DIR *listing = opendir(folder);
    while (listing && empty && (entry = readdir(listing)))
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    if (listing)
        closedir(listing);
    return empty ? WN_OK
                 : wn_fail(WN_ERR_INPUT, "%s: is there already and is not empty; expected a new folder", folder);
}

static wn_status make_folder(struct export *export)
{
    size_t length = strlen(export->options->directory);
    while (length > 1 && export->options->directory[length - 1] == '/')
        length--;
    export->folder = wn_strndup(export->options->directory, length);
    const char *slash = strrchr(export->folder, '/'), *name = slash ? slash + 1 : export->folder;
    if (!*name || !strcmp(name, ".") || !strcmp(name, ".."))
        return wn_fail(WN_ERR_INPUT, "\"%s\": expected the name of a new folder", export->options->directory);
    WN_TRY(check_folder(export->folder));
    char *temporary = wn_format("%s.exporting", export->folder);
    wn_status status = WN_OK;
    if (mkdir(temporary, 0777) == 0)
        export->temporary = temporary;
    else if (errno == EEXIST)
        status =
            wn_fail(WN_ERR_INPUT, "%s: is there: another export is running, or was killed; remove it then", temporary);
    else
        status = wn_fail(WN_ERR_INPUT, "%s: cannot be created: %s", export->folder, strerror(errno));
    if (!export->temporary)
        wn_free(temporary);
    return status;
}

static void remove_temporary(const char *folder)
{
    DIR *listing = opendir(folder);
    struct dirent *entry;
    while (listing && (entry = readdir(listing))) {
        char *path = wn_join_path(folder, entry->d_name);
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            unlink(path);
        wn_free(path);
    }
    if (listing)
        closedir(listing);
    rmdir(folder);
}

/* An empty folder of that name is replaced. */
static wn_status put_in_place(struct export *export)
{
    if (rename(export->temporary, export->folder) != 0)
        return wn_fail(WN_ERR_IO, "%s: the finished %s cannot be renamed: %s", export->folder, export->temporary,
                       strerror(errno));
    wn_free(export->temporary);
    export->temporary = NULL;
    return WN_OK;
}

/* ---- the same inputs ---- */

static int line_length(const char *line)
{
    return (int)strcspn(line, "\n") < 300 ? (int)strcspn(line, "\n") : 300;
}

static wn_status compare_identity(const char *path, const char *there, const char *here)
{
    while (*there && *here) {
        size_t length = strcspn(there, "\n");
        if (length != strcspn(here, "\n") || strncmp(there, here, length))
            break;
        there += length + (there[length] == '\n');
        here += length + (here[length] == '\n');
    }
    if (!*there && !*here)
        return WN_OK;
    return wn_fail(WN_ERR_INPUT,
                   "%s: the inputs are not those it was computed from: \"%.*s\" is now \"%.*s\"; nothing was exported",
                   path, line_length(there), there, line_length(here), here);
}

/* The text in the results file counts, unless the user says where the sweep file is now. */
static wn_status open_sweep(struct export *export, struct wn_problems *problems)
{
    const struct wn_stored *stored = &export->stored;
    const char *results = export->options->results;
    struct stat about;
    if (export->options->sweep)
        return wn_sweep_read(export->options->sweep, problems, &export->sweep);
    if (!stored->sweep_file)
        return wn_fail(WN_ERR_INPUT, "%s: does not say where its sweep file was; give --sweep SWEEP.json", results);
    char *folder = wn_directory_of(stored->sweep_file);
    wn_status status = WN_OK;
    if (stat(folder, &about) != 0)
        status =
            wn_fail(WN_ERR_INPUT,
                    "%s: the folder of its sweep file, %s, is not there; give --sweep SWEEP.json when it has moved",
                    results, folder);
    wn_free(folder);
    return status == WN_OK ? wn_sweep_parse(stored->sweep_file, stored->sweep, problems, &export->sweep) : status;
}

static wn_status prepare(struct export *export, struct wn_problems *problems)
{
    WN_TRY(open_sweep(export, problems));
    wn_par_start_serial(&export->par);
    WN_TRY(wn_prepare(export->par, export->sweep, true, problems, &export->run));
    WN_TRY(compare_identity(export->options->results, export->stored.identity, export->run->identity));
    export->point = &export->run->grid.points[export->stored.point];
    export->model = export->run->models[export->point->model].model;
    if (export->stored.arithmetic &&
        strncmp(export->stored.arithmetic, wn_linalg_protocol(), strlen(wn_linalg_protocol())))
        wn_log(WN_LOG_WARNING,
               "the point was computed with other kernels (%s) than are used here (%s): it may differ in last bits",
               export->stored.arithmetic, wn_linalg_protocol());
    return WN_OK;
}

/* ---- the dtype ---- */

/* True when all that a recipe leaves are zeros and weights of the checkpoint. */
static bool keeps_weights(const struct wn_recipe *recipe)
{
    for (int s = 0; s < recipe->n_stages; s++) {
        const struct wn_stage *stage = &recipe->stages[s];
        if (stage->method->kind == WN_QUANTIZER || stage->method->needs & WN_NEED_SECOND_MOMENTS)
            return false;
    }
    return true;
}

static wn_status choose_dtype(struct export *export)
{
    static const struct {
        const char *name;
        enum wn_dtype dtype;
    } names[] = {{"f32", WN_F32}, {"bf16", WN_BF16}, {"f16", WN_F16}, {"source", WN_OTHER}};
    const char *wanted = export->options->dtype;
    if (!wanted && export->form.packing != WN_PACKING_NONE)
        wanted = "source"; /* the form has dtypes of its own for the linears */
    if (!wanted)
        wanted = keeps_weights(&export->point->recipe) ? "source" : "f32";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(wanted, names[i].name)) {
            export->dtype = names[i].dtype;
            return WN_OK;
        }
    return wn_fail(WN_ERR_INPUT, "dtype \"%s\": expected f32, bf16, f16 or source", wanted);
}

static wn_status choose_form(struct export *export)
{
    char *what = wn_format("%s: point \"%s\"", export->options->results, export->point->key);
    wn_status status = wn_export_choose_form(what, export->options->format, export->options->dtype,
                                             &export->point->recipe, export->model, &export->form);
    wn_free(what);
    return status;
}

/* ---- computing ---- */

static wn_status take_linear(void *context, int64_t block, int linear, const struct wn_compressed *compressed)
{
    struct export *export = context;
    if (wn_par_stop_requested())
        return wn_fail(WN_ERR_INTERRUPTED, "stopped on request; nothing was exported");
    return wn_export_files_linear(export->files, block, linear, compressed);
}

/* Compares with the numbers in the file: equal bits where kernels are equal. */
static void compare_totals(struct export *export)
{
    export->agrees = true;
    for (int t = 0; t < WN_STORED_TOTALS; t++) {
        char path[64];
        snprintf(path, sizeof path, "/points/%s", wn_stored_total(t));
        double here = *wn_record_f64(&export->record, wn_schema_find(export->record.schema, path));
        double there = export->stored.totals[t];
        if (!export->stored.done || here == there)
            continue;
        export->agrees = false;
        wn_log(WN_LOG_WARNING, "%s: %s of the point is %.17g, computed again it is %.17g", export->options->results,
               wn_stored_total(t), there, here);
    }
}

/* What its search has found is in the file. */
static wn_status read_found(struct export *export)
{
    const struct wn_run *run = export->run;
    for (int64_t s = 0; s < run->n_searches; s++)
        if (run->searches[s].point == export->stored.point) {
            struct wn_found *found = &export->reference.found[export->stored.point];
            found->space = &run->searches[s].space;
            found->genome = wn_alloc(found->space->n_genes, sizeof *found->genome);
            return wn_search_read_found(run, &run->searches[s], export->options->results, found->genome);
        }
    return WN_OK;
}

static wn_status compute_reference(struct export *export)
{
    export->reads_reference = wn_point_reads_dense(export->point) || export->point->recipe.search;
    if (!export->reads_reference)
        return WN_OK;
    /* Only calibration statistics are wanted of the dense pass, nothing of evaluations. */
    int64_t rows = export->run->grid.n_points * export->run->n_sets;
    export->run->evaluated = wn_resize(export->run->evaluated, rows, sizeof(bool));
    memset(export->run->evaluated, true, (size_t)rows);
    bool *wanted = wn_alloc_zero(export->run->grid.n_points, sizeof *wanted);
    wanted[export->stored.point] = true;
    wn_status status = wn_reference_compute(export->par, export->run, wanted, &export->reference);
    wn_free(wanted);
    return status == WN_OK ? read_found(export) : status;
}

/* The linears of a branch that is left out of a block which stays are zeros in a checkpoint; a bias would still be
 * added. */
static wn_status check_biases(const struct export *export)
{
    const struct wn_layout *layout = &export->model->layout;
    for (int64_t b = 0; b < export->model->config.n_blocks; b++)
        for (int l = 0; l < layout->n_linears; l++)
            if (!export->gone[b] &&
                wn_allocation_leaves_out(&export->allocation, b, layout->input_branches[layout->linears[l].input]) &&
                layout->linears[l].bias)
                return wn_fail(WN_ERR_INPUT,
                               "%s: point \"%s\" leaves out linears with a bias: a checkpoint cannot say so",
                               export->options->results, export->point->key);
    return WN_OK;
}

/* Some configurations cannot say that blocks are gone. */
static wn_status check_numbers(const struct export *export)
{
    bool any = false;
    for (int64_t b = 0; b < export->model->config.n_blocks; b++)
        any = any || export->gone[b];
    if (any && export->model->config.decoder.scale_by_inverse_index)
        return wn_fail(WN_ERR_INPUT,
                       "%s: point \"%s\" leaves out blocks, and scale_attn_by_inverse_layer_idx would count the others "
                       "anew: a checkpoint cannot say so",
                       export->options->results, export->point->key);
    if (any && !strcmp(export->model->arch->model_type, "gemma3"))
        return wn_fail(WN_ERR_INPUT,
                       "%s: point \"%s\" leaves out blocks of the text part of a model with images: this is not "
                       "supported",
                       export->options->results, export->point->key);
    return WN_OK;
}

/* Blocks without both branches are left out of the checkpoint. */
static wn_status choose_blocks(struct export *export)
{
    int64_t n_blocks = export->model->config.n_blocks;
    WN_TRY(wn_point_allocate(export->run, &export->reference, export->point, &export->allocation));
    if (!export->allocation.left_out[0])
        return WN_OK;
    export->gone = wn_alloc(n_blocks, sizeof(bool));
    for (int64_t b = 0; b < n_blocks; b++)
        export->gone[b] = wn_allocation_leaves_out(&export->allocation, b, WN_BRANCH_ATTENTION) &&
                          wn_allocation_leaves_out(&export->allocation, b, WN_BRANCH_MLP);
    WN_TRY(check_biases(export));
    return check_numbers(export);
}

static wn_status compute(struct export *export)
{
    struct wn_point_sink sink = {take_linear, export};
    wn_record_init(&export->record, &export->run->models[export->point->model].schema);
    WN_TRY(wn_point_compress(export->run, &export->reference, export->stored.point, &sink, &export->record));
    compare_totals(export);
    return WN_OK;
}

/* ---- winnow_export.json ---- */

static void describe_stage(cJSON *list, const struct wn_stage *stage)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddItemToArray(list, json);
    cJSON_AddStringToObject(json, "name", stage->method->name);
    cJSON *parameters = cJSON_AddObjectToObject(json, "parameters");
    for (int i = 0; i < stage->params.count; i++) {
        const struct wn_value *value = &stage->params.values[i];
        const char *name = value->parameter->name;
        if (!value->set)
            continue;
        if (value->parameter->type == WN_BOOL)
            cJSON_AddBoolToObject(parameters, name, value->number != 0);
        else if (value->parameter->type != WN_STRING && isfinite(value->number))
            cJSON_AddNumberToObject(parameters, name, value->number);
        else
            cJSON_AddStringToObject(parameters, name, value->text);
    }
}

static void describe_calibration(const struct export *export, cJSON *json)
{
    int64_t index = export->point->calibration;
    if (index < 0)
        return;
    const struct wn_calibration *set = &export->run->models[export->point->model].calibrations[index];
    cJSON *calibration = cJSON_AddObjectToObject(json, "calibration");
    cJSON_AddStringToObject(calibration, "name", export->sweep->calibrations[index].name);
    cJSON_AddStringToObject(calibration, "propagation", wn_propagation_name(export->point->propagation));
    if (export->point->routes_dense)
        cJSON_AddStringToObject(calibration, "routing", "dense");
    cJSON_AddNumberToObject(calibration, "tokens", (double)set->tokens);
    cJSON_AddStringToObject(calibration, "tokens_sha256", set->token_hash);
}

static void describe_source(const struct export *export, cJSON *json)
{
    cJSON *source = cJSON_AddObjectToObject(json, "source");
    cJSON_AddStringToObject(source, "model", export->model->directory);
    cJSON *hashes = cJSON_AddObjectToObject(source, "sha256");
    for (const char *line = export->run->models[export->point->model].hash; *line;) {
        size_t length = strcspn(line, "\n");
        char *hash = wn_strndup(line, strcspn(line, " ")),
             *name = wn_strndup(line + strcspn(line, " ") + 2, length - strcspn(line, " ") - 2);
        cJSON_AddStringToObject(hashes, name, hash);
        wn_free(hash);
        wn_free(name);
        line += length + (line[length] == '\n');
    }
}

static void describe_point(const struct export *export, cJSON *json)
{
    char hash[WN_HASH_HEX];
    wn_hash_buffer(export->stored.identity, strlen(export->stored.identity), hash);
    cJSON_AddStringToObject(json, "sweep", export->sweep->name);
    cJSON_AddStringToObject(json, "identity_sha256", hash);
    cJSON_AddNumberToObject(json, "point", (double)export->stored.point);
    cJSON_AddStringToObject(json, "key", export->point->key);
    cJSON *methods = cJSON_AddArrayToObject(json, "methods");
    for (int s = 0; s < export->point->recipe.n_stages; s++)
        describe_stage(methods, &export->point->recipe.stages[s]);
    describe_calibration(export, json);
    for (int t = 0; t < WN_STORED_TOTALS; t++) {
        char path[64];
        snprintf(path, sizeof path, "/points/%s", wn_stored_total(t));
        cJSON_AddNumberToObject(
            json, wn_stored_total(t),
            *wn_record_f64((struct wn_record *)&export->record, wn_schema_find(export->record.schema, path)));
    }
    if (export->stored.done)
        cJSON_AddBoolToObject(json, "agrees_with_results", export->agrees);
    else
        cJSON_AddNullToObject(json, "agrees_with_results");
}

/* Numbers of blocks of the model: what is left out, and which the blocks of the checkpoint are. */
static void describe_dropped(const struct export *export, cJSON *json)
{
    static const char *const names[] = {"dropped_attention", "dropped_mlp"};
    if (!export->gone)
        return;
    for (int branch = 0; branch < WN_BRANCHES; branch++) {
        cJSON *list = cJSON_AddArrayToObject(json, names[branch]);
        for (int64_t b = 0; b < export->model->config.n_blocks; b++)
            if (wn_allocation_leaves_out(&export->allocation, b, (enum wn_branch)branch))
                cJSON_AddItemToArray(list, cJSON_CreateNumber((double)b));
    }
    cJSON *blocks = cJSON_AddArrayToObject(json, "blocks");
    for (int64_t b = 0; b < export->model->config.n_blocks; b++)
        if (!export->gone[b])
            cJSON_AddItemToArray(blocks, cJSON_CreateNumber((double)b));
}

static const char code_form[] =
    "NAME.mask: bit j % 8 of byte j / 8 of a row is 1 when weight j is kept. NAME.codes, NAME.scales, NAME.zeros: "
    "weight "
    "= scale * (code - zero), divided by NAME.input_scale of its column where there is one, 0 where the mask is 0, "
    "NAME.outlier_value at the places row * columns + column of NAME.outlier_index. Group g of columns is NAME.order[g "
    "* "
    "group] .., without an order columns g * group ..; group 0: one grid for all. NAME.scales.codes, .scales, .zeros: "
    "how NAME.scales are stored, with a grid per scales_run rows; NAME.zeros alike";

/* How the linears are kept, and whether these are the weights of the point. */
static void describe_form(const struct export *export, cJSON *json)
{
    const struct wn_export_totals totals = wn_export_files_totals(export->files);
    if (export->form.packing == WN_PACKING_NONE)
        return;
    cJSON_AddStringToObject(json, "packed_as", export->form.format);
    cJSON_AddStringToObject(json, "packed_kind", export->form.kind);
    cJSON_AddStringToObject(json, "numbers_dtype", wn_export_dtype_name(export->form.numbers));
    cJSON_AddNumberToObject(json, "numbers", (double)totals.numbers);
    cJSON_AddNumberToObject(json, "numbers_rounded", (double)totals.rounded);
    cJSON_AddNumberToObject(json, "bytes_linears", (double)totals.bytes);
    cJSON_AddBoolToObject(json, "scales_folded", export->form.folds);
}

static wn_status describe(const struct export *export)
{
    cJSON *json = cJSON_CreateObject();
    cJSON_AddNumberToObject(json, "format", EXPORT_FORMAT);
    cJSON *program = cJSON_AddObjectToObject(json, "winnow");
    cJSON_AddStringToObject(program, "version", WN_VERSION);
    cJSON_AddStringToObject(program, "revision", WN_REVISION);
    cJSON_AddStringToObject(program, "arithmetic", wn_linalg_protocol());
    describe_point(export, json);
    describe_dropped(export, json);
    describe_source(export, json);
    cJSON_AddStringToObject(json, "dtype", wn_export_dtype_name(export->dtype));
    cJSON_AddNumberToObject(json, "rounded", (double)wn_export_files_rounded(export->files));
    describe_form(export, json);
    cJSON_AddBoolToObject(json, "inputs_quantized", wn_export_files_inputs_quantized(export->files));
    cJSON_AddStringToObject(json, "codes", code_form);
    cJSON_AddItemReferenceToObject(json, "linears", (cJSON *)(uintptr_t)wn_export_files_linears(export->files));
    char *text = cJSON_Print(json);
    wn_status status = wn_export_write(export->temporary, "winnow_export.json", text, (int64_t)strlen(text));
    cJSON_free(text);
    cJSON_Delete(json);
    return status;
}

/* ---- the whole ---- */

static void warn_of_inputs(const struct export *export)
{
    const int bits = export->form.input_bits ? export->form.input_bits : export->form.bits;
    char run[40] = "token by token", there[40] = "((2^bits - 1) / 2)", here[40] = "(2^(bits - 1) - 1)";
    if (export->form.input_group)
        snprintf(run, sizeof run, "%lld columns of a token at a time", (long long)export->form.input_group);
    if (bits) {
        snprintf(there, sizeof there, "%g", (double)((1 << bits) - 1) / 2);
        snprintf(here, sizeof here, "%d", (1 << (bits - 1)) - 1);
    }
    wn_log(WN_LOG_WARNING,
           "%s: inputs are rounded %s, as config.json says; compressed-tensors makes their step the largest magnitude "
           "/ %s, the point / %s: scores will differ a little",
           export->folder, run, there, here);
}

/* What a user must know of the files before trusting a score of them. */
static void warn(const struct export *export)
{
    const struct wn_export_totals totals = wn_export_files_totals(export->files);
    const bool packed = export->form.packing != WN_PACKING_NONE;
    const int64_t rounded = wn_export_files_rounded(export->files);
    if (rounded)
        wn_log(WN_LOG_WARNING,
               "%s: %lld numbers are not held exactly by %s: scores will differ from those of the point",
               export->folder, (long long)rounded, wn_export_dtype_name(export->dtype));
    if (packed && totals.rounded)
        wn_log(WN_LOG_WARNING,
               "%s: %lld of %lld %s are not held exactly by %s: weights differ from those of the point by up to 2^-%d "
               "of themselves, scores will differ",
               export->folder, (long long)totals.rounded, (long long)totals.numbers,
               !wn_export_form_has_codes(&export->form) ? "values" : "scales",
               wn_export_dtype_name(export->form.numbers), export->form.numbers == WN_F16 ? 11 : 8);
    if (export->form.rounds_inputs)
        warn_of_inputs(export);
    else if (wn_export_files_inputs_quantized(export->files))
        wn_log(
            WN_LOG_WARNING,
            "%s: the point also quantizes the inputs of its linears, which a checkpoint cannot say: scores will differ",
            export->folder);
}

static void report(struct export *export)
{
    const struct wn_export_totals totals = wn_export_files_totals(export->files);
    const bool packed = export->form.packing != WN_PACKING_NONE;
    warn(export);
    if (packed)
        wn_log(WN_LOG_INFO, "%s: point %lld \"%s\", linears as %s %s: %lld bytes, %.4g bits per weight%s",
               export->folder, (long long)export->stored.point, export->point->key, export->form.format,
               export->form.kind, (long long)totals.bytes, 8 * (double)totals.bytes / totals.weights,
               totals.rounded       ? ""
               : export->form.folds ? ", exactly the codes of the point, scales of inputs in what makes these"
                                    : ", exactly the weights of the point");
    else
        wn_log(WN_LOG_INFO, "%s: point %lld \"%s\", weights as %s, %.4g bits per weight", export->folder,
               (long long)export->stored.point, export->point->key,
               export->dtype == WN_OTHER ? "in the checkpoint" : wn_export_dtype_name(export->dtype),
               *wn_record_f64(&export->record, export->run->fields.bits_per_weight_nominal));
}

static wn_status run_export(struct export *export, struct wn_problems *problems)
{
    int64_t shard = export->options->shard_bytes;
    WN_TRY(wn_stored_open(export->options->results, export->options->point, &export->stored));
    WN_TRY(make_folder(export));
    WN_TRY(prepare(export, problems));
    WN_TRY(choose_form(export));
    WN_TRY(choose_dtype(export));
    WN_TRY(compute_reference(export));
    WN_TRY(choose_blocks(export));
    WN_TRY(wn_export_files_create(export->model, export->temporary, &export->form, export->dtype,
                                  shard ? shard : SHARD_BYTES, export->gone, &export->files));
    WN_TRY(compute(export));
    WN_TRY(wn_export_files_finish(export->files));
    WN_TRY(describe(export));
    WN_TRY(put_in_place(export));
    report(export);
    return WN_OK;
}

wn_status wn_export(const struct wn_export_options *options, struct wn_problems *problems)
{
    struct export export = {.options = options};
    wn_status status = run_export(&export, problems);
    wn_export_files_close(&export.files);
    if (export.reads_reference)
        wn_reference_release(&export.reference);
    wn_allocation_release(&export.allocation);
    wn_free(export.gone);
    if (export.temporary)
        remove_temporary(export.temporary);
    if (export.record.data)
        wn_record_release(&export.record);
    wn_run_release(&export.run);
    wn_sweep_close(&export.sweep);
    if (export.par)
        wn_par_finish(&export.par);
    wn_stored_release(&export.stored);
    wn_free(export.temporary);
    wn_free(export.folder);
    return status;
}
