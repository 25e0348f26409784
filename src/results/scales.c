/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dimension scales, written as the HDF5 dimension scale specification (version 1.4) says, each attribute once.
 *
 * Not H5DSattach_scale: it rewrites the back references of a scale at every call, so that 3,000 fields took 7 s and
 * left 80 MB of dead space in the file; and it fails at 4,081 fields, when the back references outgrow the 64 KB of an
 * attribute. Readers follow DIMENSION_LIST; REFERENCE_LIST is a convenience and ends where the attribute is full.
 */
#include <string.h>

#include "results_internal.h"

enum { MOST_REFERENCES = 4000 };

struct reference {
    hobj_ref_t dataset;
    int axis;
};

struct wn_scale {
    char name[128];
    hobj_ref_t self;
    int64_t count;
    struct reference *references; /* owned: who uses the scale */
};

/* ---- attributes ---- */

static void put_attribute(struct wn_h5 *h5, hid_t object, const char *name, hid_t type, int64_t count, const void *data)
{
    hsize_t size = (hsize_t)count;

    if (!wn_h5_ok_(h5))
        return;
    hid_t space = count < 0 ? H5Screate(H5S_SCALAR) : H5Screate_simple(1, &size, NULL);
    hid_t attribute = wn_h5_check_(h5, H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), name);
    if (attribute >= 0) {
        wn_h5_check_(h5, H5Awrite(attribute, type, data), name);
        H5Aclose(attribute);
    }
    H5Sclose(space);
}

/* Fixed-length, NUL-terminated: the form that the specification asks for. */
static void put_string(struct wn_h5 *h5, hid_t object, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, strlen(text) + 1);
    put_attribute(h5, object, name, type, -1, text);
    H5Tclose(type);
}

/* ---- scales ---- */

bool wn_scales_has_(const struct wn_scales *scales, const char *name)
{
    for (int s = 0; s < scales->count; s++)
        if (!strcmp(scales->scales[s].name, name))
            return true;
    return false;
}

static struct wn_scale *find(struct wn_scales *scales, const char *name)
{
    for (int s = 0; s < scales->count; s++)
        if (!strcmp(scales->scales[s].name, name))
            return &scales->scales[s];
    WN_BUG("the axis \"%s\" has no scale", name);
}

void wn_scales_add_(struct wn_h5 *h5, struct wn_scales *scales, hid_t dataset, const char *name, const char *title)
{
    if (!wn_h5_ok_(h5) || dataset < 0)
        return;
    put_string(h5, dataset, "CLASS", "DIMENSION_SCALE");
    put_string(h5, dataset, "NAME", title);
    scales->scales = wn_resize(scales->scales, scales->count + 1, sizeof *scales->scales);
    struct wn_scale *scale = &scales->scales[scales->count++];
    *scale = (struct wn_scale){0};
    if (strlen(name) >= sizeof scale->name)
        WN_BUG("the axis name \"%s\" is too long", name);
    strcpy(scale->name, name);
    wn_h5_check_(h5, H5Rcreate(&scale->self, h5->file, name, H5R_OBJECT, -1), name);
}

static void refer_back(struct wn_scale *scale, hobj_ref_t dataset, int axis)
{
    scale->references = wn_grow(scale->references, scale->count, 1, sizeof(struct reference));
    memset(&scale->references[scale->count], 0, sizeof(struct reference));
    scale->references[scale->count].dataset = dataset;
    scale->references[scale->count++].axis = axis;
}

void wn_scales_attach_(struct wn_h5 *h5, struct wn_scales *scales, hid_t dataset, const char *path, int n_axes,
                       const char *const *axes)
{
    hvl_t lists[H5S_MAX_RANK];
    hobj_ref_t self;

    if (!wn_h5_ok_(h5) || wn_h5_check_(h5, H5Rcreate(&self, h5->file, path, H5R_OBJECT, -1), path) < 0)
        return;
    for (int a = 0; a < n_axes; a++) {
        struct wn_scale *scale = find(scales, axes[a]);
        lists[a] = (hvl_t){.len = 1, .p = &scale->self};
        refer_back(scale, self, a);
    }
    hid_t list = H5Tvlen_create(H5T_STD_REF_OBJ), text = H5Tcopy(H5T_C_S1);
    H5Tset_size(text, H5T_VARIABLE);
    put_attribute(h5, dataset, "DIMENSION_LIST", list, n_axes, lists);
    put_attribute(h5, dataset, "DIMENSION_LABELS", text, n_axes, axes);
    H5Tclose(text);
    H5Tclose(list);
}

static void put_references(struct wn_h5 *h5, const struct wn_scale *scale, hid_t type)
{
    int64_t count = scale->count < MOST_REFERENCES ? scale->count : MOST_REFERENCES;

    if (count == 0 || !wn_h5_ok_(h5))
        return;
    hid_t dataset = wn_h5_check_(h5, H5Dopen2(h5->file, scale->name, H5P_DEFAULT), scale->name);
    if (dataset < 0)
        return;
    put_attribute(h5, dataset, "REFERENCE_LIST", type, count, scale->references);
    H5Dclose(dataset);
}

void wn_scales_finish_(struct wn_h5 *h5, struct wn_scales *scales)
{
    hid_t type = H5Tcreate(H5T_COMPOUND, sizeof(struct reference));

    H5Tinsert(type, "dataset", HOFFSET(struct reference, dataset), H5T_STD_REF_OBJ);
    H5Tinsert(type, "dimension", HOFFSET(struct reference, axis), H5T_NATIVE_INT);
    for (int s = 0; s < scales->count; s++) {
        put_references(h5, &scales->scales[s], type);
        wn_free(scales->scales[s].references);
    }
    wn_free(scales->scales);
    *scales = (struct wn_scales){0};
    H5Tclose(type);
}
