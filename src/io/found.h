/* SPDX-License-Identifier: Apache-2.0 */
/* found.h: what a folder without weights that can be read holds instead. Private to src/io. */
#ifndef WINNOW_IO_FOUND_H
#define WINNOW_IO_FOUND_H

#include <winnow/base.h>

#define FOUND_SINGLE "model.safetensors"
#define FOUND_INDEX  "model.safetensors.index.json"

/* Always WN_ERR_INPUT: one line that names what is there and says what to do. */
wn_status wn_found_instead(const char *directory);

#endif
