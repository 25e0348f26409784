/* SPDX-License-Identifier: Apache-2.0 */
/* packed.h: the linears of an exported point in a packed format of others (export.h). Private to src/export. */
#ifndef WINNOW_EXPORT_PACKED_H
#define WINNOW_EXPORT_PACKED_H

#include <winnow/method.h>
#include <winnow/model.h>

#include "coded.h"
#include "spool.h"

enum wn_packing {
    WN_PACKING_NONE, /* plain numbers */
    WN_PACKING_CT_PACK,
    WN_PACKING_CT_INT,
    WN_PACKING_CT_SPARSE24,
    WN_PACKING_CT_BITMASK,
    WN_PACKING_GPTQ,
    WN_PACKING_AWQ,
    WN_PACKING_GGUF,        /* blocks of codes */
    WN_PACKING_GGUF_NUMBERS /* plain numbers in such a file */
};

/* What is known of it before any work. */
struct wn_export_form {
    enum wn_packing packing;
    const char *format, *kind; /* "compressed-tensors", "pack-quantized"; constants */
    enum wn_dtype numbers;     /* scales, or values of a sparse form; WN_OTHER: as in the checkpoint */
    bool symmetric;            /* zero points in the middle, which are not stored */
    bool ordered;              /* groups of columns that do not lie side by side */
    bool folds;                /* inputs have scales, by which what makes them is divided */
    int64_t group;             /* columns; 0: rows */
    int bits;                  /* 0: several */
    uint32_t blocks;           /* of gguf: the type of most linears (enum wn_gguf_type) */
    bool rounds_inputs;        /* as they come: */
    int input_bits;            /* 0: to the bits of their linear */
    int64_t input_group;       /* columns of a token with a step; 0: all */
};

bool wn_export_form_has_codes(const struct wn_export_form *form);

/*
 * Chooses the form by format ("compressed-tensors", "gptq", "awq", "gguf"; NULL: plain numbers) and dtype (as of
 * wn_export_options). WN_ERR_INPUT, one line with the reason behind `what` ("FILE: point KEY"), when the format cannot
 * hold what the recipe makes of the linears of the model.
 */
wn_status wn_export_choose_form(const char *what, const char *format, const char *dtype, const struct wn_recipe *recipe,
                                const struct wn_model *model, struct wn_export_form *form);

/* The arrays of all linears. */
struct wn_export_packed {
    const struct wn_export_form *form; /* borrowed */
    struct wn_export_spool spool;
    int64_t numbers, rounded; /* scales or values, and how many the file does not hold exactly */
    double weights, zeros;
    struct wn_text targets[9]; /* quoted names of the linears, by bits; of packings with several bits */
};

wn_status wn_export_packed_create(struct wn_export_packed *packed, const struct wn_export_form *form,
                                  const char *folder);
/* A linear of a form without codes, of which what the mask keeps is stored. */
wn_status wn_export_packed_mask(struct wn_export_packed *packed, const char *name, enum wn_dtype source,
                                const struct wn_compressed *compressed);
/* A linear of a form with codes; gptq turns some of its grids round. */
wn_status wn_export_packed_codes(struct wn_export_packed *packed, const char *name, struct wn_export_coded *coded);
/* The value of quantization_config in config.json; owned by the caller. */
char *wn_export_packed_config(const struct wn_export_packed *packed, const char *head);
void wn_export_packed_release(struct wn_export_packed *packed);

#endif
