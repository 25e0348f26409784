/* SPDX-License-Identifier: Apache-2.0 */
/* record.c: what a walk writes down: statistics of every linear, and totals of the point. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include <winnow/linalg.h>

#include "walk.h"

static void record_solver(const struct wn_recorder *recorder, const int64_t *fields, int64_t cell,
                          const struct wn_solver_statistics *solver)
{
    int64_t field = 0;
#define X(name, unit, help) wn_record_f64(recorder->record, (int)fields[field++])[cell] = solver->name;
    WN_SOLVER_STATISTICS(X)
#undef X
}

static void record_search(const struct wn_recorder *recorder, const int64_t *fields, int64_t cell,
                          const struct wn_search_statistics *search)
{
    int64_t field = 0;
#define X(name, unit, help) wn_record_f64(recorder->record, (int)fields[field++])[cell] = search->name;
    WN_SEARCH_STATISTICS(X)
#undef X
}

static void record_weights(const struct wn_recorder *recorder, const int64_t *fields, int64_t cell,
                           const struct wn_weight_statistics *statistics)
{
    int64_t field = 0;
#define X(name, unit, help) wn_record_f64(recorder->record, (int)fields[field++])[cell] = statistics->name;
    WN_WEIGHT_STATISTICS(X)
#undef X
}

static void record_expert(const struct wn_recorder *recorder, const int64_t *fields, int64_t cell,
                          const struct wn_made *made)
{
    wn_record_f64(recorder->record, (int)fields[0])[cell] = made->rows < 0 ? (double)NAN : (double)made->rows;
    wn_record_f64(recorder->record, (int)fields[1])[cell] = made->rows < 0 ? (double)NAN : made->fell_back;
}

void wn_recorder_take(struct wn_recorder *recorder, const struct wn_subject *subject, int64_t block_index, int linear,
                      const float *dense, const struct wn_made *made, double output_error)
{
    const struct wn_prepared_model *prepared = subject->prepared;
    const struct wn_linear_info *info = &subject->model->layout.linears[linear];
    int64_t count = info->rows * info->columns, cell = block_index * subject->model->layout.n_linears + linear;
    struct wn_weight_statistics statistics;
    double norm = wn_sum_squared_difference(dense, NULL, count);
    wn_weight_statistics_compute(dense, made->form.weight, info->rows, info->columns, &statistics);
    statistics.bits_per_weight_nominal = made->bits;
    statistics.stored_bytes = (double)made->stored;
    statistics.output_error = output_error;
    record_weights(recorder, prepared->weight_fields, cell, &statistics);
    if (prepared->solver_fields)
        record_solver(recorder, prepared->solver_fields, cell, &made->form.solver);
    if (prepared->expert_fields)
        record_expert(recorder, prepared->expert_fields, cell, made);
    if (prepared->search_fields)
        record_search(recorder, prepared->search_fields, cell, &made->form.search);
    recorder->weights += (double)count;
    recorder->zeros += statistics.zeros * (double)count;
    recorder->bits += made->bits * (double)count;
    recorder->stored += (double)made->stored;
    recorder->squared_norm += norm;
    recorder->squared_error += statistics.weight_error * statistics.weight_error * norm;
    double share = wn_model_input_share(subject->model, info->input);
    recorder->active += share * (double)count;
    recorder->active_bits += share * made->bits * (double)count;
    if (!isnan(output_error)) { /* else no token of the sample goes through it */
        recorder->output_error += output_error * output_error;
        recorder->linears++;
    }
    recorder->weights_hash = wn_fingerprint(recorder->weights_hash, made->form.weight, count);
}

void wn_recorder_vectors(struct wn_recorder *recorder, const struct wn_subject *subject,
                         const struct wn_compressor *compressor, const struct wn_block *view)
{
    const struct wn_layout *layout = &subject->model->layout;
    for (int i = 0; compressor->folded && i < layout->n_inputs; i++) {
        int vectors[2], count = compressor->scales[i] ? wn_input_vectors(layout, i, vectors) : 0;
        for (int v = 0; v < count; v++)
            recorder->weights_hash =
                wn_fingerprint(recorder->weights_hash, view->vectors[vectors[v]], layout->input_widths[i]);
    }
}

void wn_recorder_allocation(const struct wn_recorder *recorder, const struct wn_subject *subject,
                            const struct wn_allocation *allocation)
{
    const int *fields = subject->prepared->note_fields[wn_allocation_row(allocation->kind)];
    int64_t n_blocks = allocation->n_blocks;
    for (int n = 0; n < allocation->kind->n_notes; n++)
        memcpy(wn_record_f64(recorder->record, fields[n]), allocation->notes + n * n_blocks,
               (size_t)n_blocks * sizeof(double));
    const int64_t *levels = subject->prepared->level_fields;
    for (int64_t i = 0; levels && allocation->levels && i < n_blocks * allocation->n_linears; i++) {
        wn_record_f64(recorder->record, (int)levels[0])[i] = allocation->levels[i].sparsity;
        wn_record_f64(recorder->record, (int)levels[1])[i] = allocation->levels[i].bits;
    }
}

static void set_number(const struct wn_recorder *recorder, int field, double value)
{
    *wn_record_f64(recorder->record, field) = value;
}

void wn_recorder_finish(struct wn_recorder *recorder, const struct wn_subject *subject,
                        const struct wn_allocation *allocation, const double seconds[WN_STAGES],
                        const struct wn_point_report *report, int64_t peak_bytes)
{
    const struct wn_point_fields *fields = &subject->run->fields;
    set_number(recorder, fields->sparsity, recorder->zeros / recorder->weights);
    set_number(recorder, fields->bits_per_weight_nominal, recorder->bits / recorder->weights);
    set_number(recorder, fields->stored_bytes_linears, recorder->stored);
    set_number(recorder, fields->stored_bytes, recorder->stored + (double)wn_stored_others(subject->model, allocation));
    if (subject->prepared->expert_fields)
        set_number(recorder, (int)subject->prepared->expert_fields[2], recorder->active_bits / recorder->active);
    set_number(recorder, fields->weight_error, sqrt(recorder->squared_error / recorder->squared_norm));
    set_number(recorder, fields->output_error, sqrt(recorder->output_error / recorder->linears));
    set_number(recorder, fields->error_sum, recorder->output_error);
    char hash[WN_WEIGHTS_HASH];
    snprintf(hash, sizeof hash, "%016llx", (unsigned long long)recorder->weights_hash);
    wn_record_set_text(recorder->record, fields->weights_hash, hash);
    set_number(recorder, fields->seconds, report->seconds);
    set_number(recorder, fields->seconds_load, seconds[WN_STAGE_LOAD]);
    set_number(recorder, fields->seconds_statistics, seconds[WN_STAGE_STATISTICS]);
    set_number(recorder, fields->seconds_compress, seconds[WN_STAGE_COMPRESS]);
    set_number(recorder, fields->seconds_forward, seconds[WN_STAGE_FORWARD]);
    set_number(recorder, fields->seconds_generate, seconds[WN_STAGE_GENERATE]);
    set_number(recorder, fields->seconds_score, seconds[WN_STAGE_SCORE]);
    set_number(recorder, fields->tokens, report->tokens);
    set_number(recorder, fields->peak_bytes, (double)peak_bytes);
    *wn_record_i32(recorder->record, fields->threads) = omp_get_max_threads();
}

void wn_recorder_reason(struct wn_recorder *recorder, const struct wn_subject *subject)
{
    int field = subject->run->fields.reason;
    if (((const char *)recorder->record->data[field])[0] == '\0')
        wn_record_set_text(recorder->record, field, wn_error_message());
}
