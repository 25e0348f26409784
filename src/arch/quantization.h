/* SPDX-License-Identifier: Apache-2.0 */
/* quantization.h: what config.json says of a checkpoint that is quantized. Private to src/arch. */
#ifndef WINNOW_ARCH_QUANTIZATION_H
#define WINNOW_ARCH_QUANTIZATION_H

#include <winnow/arch.h>

/* WN_ERR_INPUT with one line that names the method, unless weights are plain or 8-bit floats: then config->scaled is
 * true and config->scale_block is read. */
wn_status quantization_read(const char *path, const struct cJSON *json, struct wn_config *config);

#endif
