/* SPDX-License-Identifier: Apache-2.0 */
/* take_starts.c: the starts that computed the rows which a new file takes over (rank 0). */
#include <stdlib.h>
#include <string.h>

#include "fill.h"

/* Rows of /starts of one source as one text each, columns apart by tabs; empty: not used. */
static wn_status read_starts(const char *path, char *starts[WN_STARTS])
{
    struct wn_results_reader *reader;
    struct wn_text lines[WN_STARTS] = {{0}};
    wn_status status = wn_results_read_open(path, &reader);

    for (int c = 0; c < wn_starts_columns_() && status == WN_OK; c++) {
        const char *column, *unit, *description;
        char **texts = NULL;
        double *numbers = NULL;
        int64_t rows = 0;
        int bytes;
        wn_starts_column_(c, &column, &bytes, &unit, &description);
        status = bytes ? wn_results_read_texts(reader, column, &texts, &rows)
                       : wn_results_read_numbers(reader, column, &numbers, &rows);
        for (int64_t i = 0; i < WN_STARTS && i < rows; i++)
            if (bytes)
                wn_text_printf(&lines[i], "%s\t", texts[i]);
            else
                wn_text_printf(&lines[i], "%.0f\t", numbers[i]);
        wn_results_free_texts(&texts, rows);
        wn_free(numbers);
    }
    for (int64_t i = 0; i < WN_STARTS; i++)
        starts[i] = lines[i].data;
    wn_results_read_close(&reader);
    return status;
}

/* Numbers the starts that are used anew; equal ones get one row. */
static void number_starts(struct wn_take_over *take, int64_t source, char *const starts[WN_STARTS],
                          struct wn_texts *all)
{
    int32_t number[WN_STARTS];

    for (int i = 0; i < WN_STARTS; i++)
        number[i] = -1;
    for (int64_t i = 0; i < take->points * take->n_parts; i++) {
        int32_t start = take->start[i];
        if (take->source[i] != source || start < 0)
            continue;
        if (start >= WN_STARTS || !starts[start]) {
            take->start[i] = -1;
            continue;
        }
        if (number[start] < 0)
            number[start] = (int32_t)wn_texts_add(all, starts[start]);
        take->start[i] = number[start];
    }
}

/* A line of columns into a row of the new file. */
static void put_start(struct wn_h5 *h5, int64_t row, const char *line)
{
    for (int c = 0; c < wn_starts_columns_() && wn_h5_ok_(h5); c++) {
        const char *path, *unit, *description;
        char cell[512] = "";
        int bytes;
        size_t length = strcspn(line, "\t");
        wn_starts_column_(c, &path, &bytes, &unit, &description);
        hid_t type = bytes ? wn_h5_char_type_() : H5Tcopy(H5T_STD_I32LE);
        hid_t dataset = wn_h5_check_(h5, H5Dopen2(h5->file, path, H5P_DEFAULT), path);
        int32_t number = (int32_t)strtol(line, NULL, 10);
        if (bytes)
            memcpy(cell, line, length < (size_t)bytes ? length : (size_t)bytes);
        else
            memcpy(cell, &number, sizeof number);
        if (dataset >= 0)
            wn_h5_check_(h5, wn_h5_point_io_(dataset, type, row, bytes ? bytes : 1, cell, true), path);
        H5Dclose(dataset);
        H5Tclose(type);
        line += length + (line[length] == '\t');
    }
}

wn_status wn_take_starts_(struct wn_take_over *take, const char *path, const char *temporary)
{
    struct wn_texts all = {0};
    struct wn_h5 h5 = {.file = -1};
    wn_status status = WN_OK;

    for (int64_t s = 0; s < take->n_sources && status == WN_OK; s++) {
        char *starts[WN_STARTS];
        status = read_starts(take->sources[s], starts);
        if (status == WN_OK)
            number_starts(take, s, starts, &all);
        for (int i = 0; i < WN_STARTS; i++)
            wn_free(starts[i]);
    }
    if (status == WN_OK && all.count >= WN_STARTS) /* this run needs a row too */
        status =
            wn_fail(WN_ERR_INPUT, "%s: its rows would come from %lld starts of the program, a file has room for %d",
                    path, (long long)all.count, WN_STARTS - 1);
    if (status == WN_OK) {
        wn_h5_open_(&h5, temporary, H5F_ACC_RDWR);
        for (int64_t i = 0; i < all.count; i++)
            put_start(&h5, i, all.texts[i]);
        wn_h5_close_(&h5);
        if (!wn_h5_ok_(&h5))
            status = wn_fail(WN_ERR_IO, "%s: cannot be written: %s", path, h5.reason);
    }
    wn_texts_release(&all);
    return status;
}
