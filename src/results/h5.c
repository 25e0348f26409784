/* SPDX-License-Identifier: Apache-2.0 */
/* Small helpers around HDF5: one sticky error with a short reason, texts, and the slab of one point. */
#include <stdlib.h>
#include <string.h>

#include "results_internal.h"

bool wn_h5_ok_(const struct wn_h5 *h5)
{
    return h5->reason[0] == '\0';
}

struct finding {
    int error;       /* of the system; 0 when none was seen */
    char first[256]; /* text at the place where it began */
};

/* Drivers put "errno = 28" into their text; the innermost entry comes first. */
static herr_t look_at(unsigned depth, const H5E_error2_t *entry, void *context)
{
    struct finding *finding = context;
    const char *text = entry->desc ? entry->desc : "";
    const char *error = strstr(text, "errno = ");

    (void)depth;
    if (error && !finding->error)
        finding->error = atoi(error + strlen("errno = "));
    if (!finding->first[0])
        snprintf(finding->first, sizeof finding->first, "%s", text);
    return 0;
}

int64_t wn_h5_check_(struct wn_h5 *h5, int64_t value, const char *what)
{
    struct finding finding = {0};

    if (value >= 0 || !wn_h5_ok_(h5))
        return value;
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, look_at, &finding);
    const char *reason = finding.error ? strerror(finding.error) : finding.first;
    snprintf(h5->reason, sizeof h5->reason, "%s%s%s", what ? what : "", what ? ": " : "",
             *reason ? reason : "HDF5 gives no reason");
    return value;
}

/* ---- files ---- */

hid_t wn_h5_serial_access_(void)
{
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);

    H5Pset_file_locking(access, false, true);
    H5Pset_sieve_buf_size(access, 0);
    return access;
}

void wn_h5_open_(struct wn_h5 *h5, const char *path, unsigned flags)
{
    *h5 = (struct wn_h5){.file = -1};
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t access = wn_h5_serial_access_();
    wn_h5_guard_begin_(path);
    h5->file = wn_h5_check_(h5, H5Fopen(path, flags, access), NULL);
    wn_h5_guard_end_();
    H5Pclose(access);
}

void wn_h5_close_(struct wn_h5 *h5)
{
    if (h5->file >= 0)
        wn_h5_check_(h5, H5Fclose(h5->file), NULL);
    h5->file = -1;
}

/* ---- texts ---- */

hid_t wn_h5_text_type_(void)
{
    hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

hid_t wn_h5_char_type_(void)
{
    return H5Tcopy(H5T_C_S1);
}

void wn_h5_put_text_(struct wn_h5 *h5, hid_t object, const char *name, const char *text)
{
    if (!wn_h5_ok_(h5))
        return;
    hid_t type = wn_h5_text_type_(), space = H5Screate(H5S_SCALAR);
    hid_t attribute = wn_h5_check_(h5, H5Acreate2(object, name, type, space, H5P_DEFAULT, H5P_DEFAULT), name);
    if (attribute >= 0) {
        wn_h5_check_(h5, H5Awrite(attribute, type, &text), name);
        H5Aclose(attribute);
    }
    H5Sclose(space);
    H5Tclose(type);
}

void wn_h5_put_document_(struct wn_h5 *h5, const char *name, const char *text)
{
    if (!wn_h5_ok_(h5))
        return;
    hid_t type = wn_h5_text_type_(), space = H5Screate(H5S_SCALAR), plist = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(plist, false);
    hid_t dataset = wn_h5_check_(h5, H5Dcreate2(h5->file, name, type, space, H5P_DEFAULT, plist, H5P_DEFAULT), name);
    if (dataset >= 0) {
        wn_h5_check_(h5, H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &text), name);
        H5Dclose(dataset);
    }
    H5Pclose(plist);
    H5Sclose(space);
    H5Tclose(type);
}

/* ---- the slab of one point ---- */

/* One contiguous block in the file, hence one pwrite. */
herr_t wn_h5_point_io_(hid_t dataset, hid_t type, int64_t point, int64_t elements, void *data, bool write)
{
    hsize_t start[H5S_MAX_RANK] = {0}, count[H5S_MAX_RANK], length = (hsize_t)elements;
    hid_t space = H5Dget_space(dataset);
    herr_t result = -1;

    if (space < 0)
        return -1;
    if (elements == 0) {
        H5Sclose(space);
        return 0;
    }
    H5Sget_simple_extent_dims(space, count, NULL);
    start[0] = (hsize_t)point;
    count[0] = 1;
    hid_t memory = H5Screate_simple(1, &length, NULL);
    if (memory >= 0 && H5Sselect_hyperslab(space, H5S_SELECT_SET, start, NULL, count, NULL) >= 0)
        result = write ? H5Dwrite(dataset, type, memory, space, H5P_DEFAULT, data)
                       : H5Dread(dataset, type, memory, space, H5P_DEFAULT, data);
    /* Closing clears the error stack, so only after success; HDF5 frees the rest at its end. */
    if (result >= 0) {
        H5Sclose(memory);
        H5Sclose(space);
    }
    return result;
}
