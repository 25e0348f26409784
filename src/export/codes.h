/* SPDX-License-Identifier: Apache-2.0 */
/* codes.h: the code form of an exported point, WN_EXPORT_CODES. Private to src/export. */
#ifndef WINNOW_EXPORT_CODES_H
#define WINNOW_EXPORT_CODES_H

#include <winnow/io.h>
#include <winnow/method.h>

#include "spool.h"

struct cJSON;

struct wn_export_codes {
    struct wn_export_spool spool;
    bool described_only;   /* no file: the weights are kept as codes or with masks already */
    bool inputs_quantized; /* a linear is evaluated on quantized inputs */
    struct cJSON *linears; /* describes each of them; owned */
};

wn_status wn_export_codes_create(struct wn_export_codes *codes, const char *folder);
/* Keeps what there is of a linear, under its name in the export. */
wn_status wn_export_codes_take(struct wn_export_codes *codes, const char *name, const struct wn_compressed *compressed);
/* Writes the file, none when there is nothing to write. */
wn_status wn_export_codes_finish(struct wn_export_codes *codes);
/* Also of one that was never created, all zero but `spool.scratch` -1. */
void wn_export_codes_release(struct wn_export_codes *codes);

#endif
