/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one way in which bytes come out of a results file. A file may be damaged or made by hand, so a dataset is read
 * only after it was found to be what winnow writes: under a name of its own (no soft or external link, no second
 * name), its data in one piece inside of the file, its type and extent as expected. Then memory is bounded by the size
 * of the file. Errors are sticky and name the dataset.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "results_internal.h"

enum { TEXT_REFERENCE_BYTES = 16 }; /* of a variable-length text in the file */

static void wrong(struct wn_h5 *h5, const char *path, const char *what)
{
    if (wn_h5_ok_(h5))
        snprintf(h5->reason, sizeof h5->reason, "%s %s", path, what);
}

static void guard(hid_t object)
{
    char path[400];

    wn_h5_guard_begin_(H5Fget_name(object, path, sizeof path) > 0 ? path : "a results file");
}

/* Bytes of the file as it is now; a results file never grows. -1: unknown. */
static int64_t file_bytes(hid_t file)
{
    char path[4096];
    struct stat about;
    ssize_t length = H5Fget_name(file, path, sizeof path);

    return length > 0 && (size_t)length < sizeof path && stat(path, &about) == 0 ? (int64_t)about.st_size : -1;
}

/* ---- finding ---- */

static bool is_hard_link(hid_t file, const char *path)
{
    H5L_info_t info;

    return H5Lexists(file, path, H5P_DEFAULT) > 0 && H5Lget_info(file, path, &info, H5P_DEFAULT) >= 0 &&
           info.type == H5L_TYPE_HARD;
}

/* Every part of the path of a `what`, from the root on. */
static void check_links(struct wn_h5 *h5, const char *path, const char *what)
{
    char part[256];

    if (strlen(path) >= sizeof part) {
        wrong(h5, path, "has too long a name");
        return;
    }
    for (const char *end = path; wn_h5_ok_(h5) && *end;) {
        end += strspn(end, "/");
        end += strcspn(end, "/");
        snprintf(part, sizeof part, "%.*s", (int)(end - path), path);
        if (H5Lexists(h5->file, part, H5P_DEFAULT) <= 0)
            snprintf(h5->reason, sizeof h5->reason, "has no %s %s", what, path);
        else if (!is_hard_link(h5->file, part))
            wrong(h5, path, "is reached through a link, not in the file itself");
    }
}

static bool is_alone(hid_t dataset)
{
#if H5_VERSION_GE(1, 12, 0)
    H5O_info2_t info;
    return H5Oget_info3(dataset, &info, H5O_INFO_BASIC) >= 0 && info.type == H5O_TYPE_DATASET && info.rc == 1;
#else
    H5O_info_t info;
    return H5Oget_info2(dataset, &info, H5O_INFO_BASIC) >= 0 && info.type == H5O_TYPE_DATASET && info.rc == 1;
#endif
}

/* ---- what a dataset is ---- */

static bool get_extent(struct wn_h5_data *data)
{
    hid_t space = H5Dget_space(data->id);
    H5S_class_t class = space >= 0 ? H5Sget_simple_extent_type(space) : H5S_NO_CLASS;
    bool fits = class == H5S_SIMPLE || class == H5S_SCALAR;

    data->rank = fits ? H5Sget_simple_extent_dims(space, data->sizes, NULL) : -1;
    H5Sclose(space);
    data->elements = 1;
    for (int d = 0; d < data->rank; d++)
        if (data->sizes[d] > INT64_MAX ||
            __builtin_mul_overflow(data->elements, (int64_t)data->sizes[d], &data->elements))
            return false;
    return data->rank >= 0;
}

static const char *layout_fault(const struct wn_h5_data *data)
{
    hid_t plist = H5Dget_create_plist(data->id);
    H5D_layout_t layout = plist >= 0 ? H5Pget_layout(plist) : H5D_LAYOUT_ERROR;
    int elsewhere = layout == H5D_CONTIGUOUS ? H5Pget_external_count(plist) : 0;

    H5Pclose(plist);
    if (layout == H5D_CONTIGUOUS)
        return elsewhere == 0 ? NULL : "keeps its data in other files";
    return layout == H5D_VIRTUAL ? "keeps its data in other files"
                                 : "is not stored in one piece, as winnow does (h5repack -l CONTI makes it so)";
}

/* Bytes of an element in the file; 0: none that winnow writes. */
static int64_t element_bytes(hid_t type)
{
    H5T_class_t class = H5Tget_class(type);

    if (H5Tis_variable_str(type) > 0)
        return TEXT_REFERENCE_BYTES;
    return class == H5T_STRING || class == H5T_INTEGER || class == H5T_FLOAT ? (int64_t)H5Tget_size(type) : 0;
}

/* The data, if there are any, lie inside of the file. */
static const char *place_fault(const struct wn_h5 *h5, const struct wn_h5_data *data)
{
    int64_t bytes, size = element_bytes(data->type), whole = file_bytes(h5->file);

    if (size == 0)
        return "has a type that winnow does not write";
    if (__builtin_mul_overflow(data->elements, size, &bytes) || bytes > whole)
        return "claims to be larger than the file";
    if (bytes == 0)
        return NULL;
    haddr_t offset = H5Dget_offset(data->id);
    if (offset == HADDR_UNDEF || H5Dget_storage_size(data->id) != (hsize_t)bytes)
        return "has not all of its data in the file";
    return offset > (haddr_t)(whole - bytes) ? "ends behind the end of the file" : NULL;
}

static void check_dataset(struct wn_h5 *h5, const char *path, struct wn_h5_data *data)
{
    data->type = H5Dget_type(data->id);
    if (data->type < 0 || !get_extent(data))
        wrong(h5, path, "has no type or extent that can be read");
    else if (!is_alone(data->id))
        wrong(h5, path, "is in the file under several names");
    const char *fault = wn_h5_ok_(h5) ? layout_fault(data) : NULL;
    if (!fault && wn_h5_ok_(h5))
        fault = place_fault(h5, data);
    if (fault)
        wrong(h5, path, fault);
}

void wn_h5_data_open_(struct wn_h5 *h5, const char *path, struct wn_h5_data *data)
{
    *data = (struct wn_h5_data){.id = -1, .type = -1, .path = path};
    if (!wn_h5_ok_(h5))
        return;
    guard(h5->file);
    check_links(h5, path, "dataset");
    if (wn_h5_ok_(h5) && (data->id = H5Dopen2(h5->file, path, H5P_DEFAULT)) < 0)
        wrong(h5, path, "cannot be opened as a dataset");
    if (wn_h5_ok_(h5))
        check_dataset(h5, path, data);
    wn_h5_guard_end_();
}

void wn_h5_data_close_(struct wn_h5_data *data)
{
    if (data->type >= 0)
        H5Tclose(data->type);
    if (data->id >= 0)
        H5Dclose(data->id);
    data->id = data->type = -1;
}

void wn_h5_data_expect_(struct wn_h5 *h5, const struct wn_h5_data *data, hid_t type, int rank, const int64_t *sizes)
{
    if (!wn_h5_ok_(h5))
        return;
    bool text = H5Tis_variable_str(type) > 0;
    if (text ? !wn_h5_is_text_(data->type) : H5Tequal(data->type, type) <= 0) {
        wrong(h5, data->path, "has another type than expected");
        return;
    }
    bool same = data->rank == rank;
    for (int d = 0; same && d < rank; d++)
        same = (int64_t)data->sizes[d] == sizes[d];
    if (!same)
        wrong(h5, data->path, "has another shape than expected");
}

bool wn_h5_is_text_(hid_t type)
{
    return H5Tis_variable_str(type) > 0 && H5Tget_cset(type) == H5T_CSET_UTF8;
}

bool wn_h5_data_is_number_(const struct wn_h5_data *data)
{
    const hid_t types[] = {H5T_IEEE_F64LE, H5T_IEEE_F32LE, H5T_STD_I64LE, H5T_STD_I32LE, H5T_STD_U8LE, H5T_STD_U64LE};

    for (size_t t = 0; t < sizeof types / sizeof *types; t++)
        if (H5Tequal(data->type, types[t]) > 0)
            return true;
    return false;
}

/* ---- reading ---- */

void wn_h5_data_read_(struct wn_h5 *h5, const struct wn_h5_data *data, hid_t type, int64_t elements, void *values)
{
    if (!wn_h5_ok_(h5))
        return;
    if (elements != data->elements || H5Tis_variable_str(type) > 0)
        WN_BUG("%s: %lld values of %lld are read", data->path, (long long)elements, (long long)data->elements);
    guard(data->id);
    if (elements > 0 && H5Dread(data->id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, values) < 0)
        wrong(h5, data->path, "cannot be read");
    wn_h5_guard_end_();
}

/* Texts may all point at the same bytes: together no more than the file has. */
struct purse {
    int64_t left;
};

static void *take(size_t bytes, void *context)
{
    struct purse *purse = context;

    if (bytes > (size_t)purse->left)
        return NULL;
    purse->left -= (int64_t)bytes;
    return malloc(bytes ? bytes : 1);
}

static void give(void *memory, void *context)
{
    (void)context;
    free(memory);
}

/* Lengths are in the file too; HDF5 asks `take` for each of them. */
void wn_h5_data_read_texts_(struct wn_h5 *h5, const struct wn_h5_data *data, char **texts)
{
    struct purse purse = {file_bytes(h5->file)};

    if (!wn_h5_ok_(h5) || data->elements == 0)
        return;
    if (!wn_h5_is_text_(data->type)) {
        wrong(h5, data->path, "has another type than expected");
        return;
    }
    hid_t type = wn_h5_text_type_(), plist = H5Pcreate(H5P_DATASET_XFER);
    char **borrowed = wn_alloc_zero(data->elements, sizeof *borrowed);
    H5Pset_vlen_mem_manager(plist, take, &purse, give, NULL);
    guard(data->id);
    if (H5Dread(data->id, type, H5S_ALL, H5S_ALL, plist, borrowed) < 0)
        wrong(h5, data->path, "cannot be read");
    wn_h5_guard_end_();
    for (int64_t i = 0; i < data->elements; i++) {
        if (wn_h5_ok_(h5))
            texts[i] = wn_strdup(borrowed[i] ? borrowed[i] : "");
        free(borrowed[i]);
    }
    wn_free(borrowed);
    H5Pclose(plist);
    H5Tclose(type);
}

char *wn_h5_get_document_(struct wn_h5 *h5, const char *name)
{
    struct wn_h5_data data;
    char *text = NULL;

    if (!wn_h5_ok_(h5))
        return NULL;
    wn_h5_data_open_(h5, name, &data);
    if (wn_h5_ok_(h5) && data.elements != 1)
        wrong(h5, name, "is not one text");
    if (wn_h5_ok_(h5))
        wn_h5_data_read_texts_(h5, &data, &text);
    wn_h5_data_close_(&data);
    return text;
}

/* ---- attributes ---- */

/* Of one value; -1 when there is none or when it is wrong. */
static hid_t open_attribute(struct wn_h5 *h5, hid_t object, const char *path, const char *name, hid_t type)
{
    if (!wn_h5_ok_(h5) || H5Aexists(object, name) <= 0)
        return -1;
    hid_t attribute = H5Aopen(object, name, H5P_DEFAULT);
    hid_t there = attribute >= 0 ? H5Aget_type(attribute) : -1;
    hid_t space = attribute >= 0 ? H5Aget_space(attribute) : -1;
    bool text = H5Tis_variable_str(type) > 0;
    bool fits = there >= 0 && space >= 0 && (text ? wn_h5_is_text_(there) : H5Tequal(there, type) > 0) &&
                H5Sget_simple_extent_npoints(space) == 1;

    H5Sclose(space);
    H5Tclose(there);
    if (fits)
        return attribute;
    H5Aclose(attribute);
    snprintf(h5->reason, sizeof h5->reason, "%s: the attribute \"%s\" has another type than expected", path, name);
    return -1;
}

bool wn_h5_get_value_(struct wn_h5 *h5, hid_t object, const char *path, const char *name, hid_t type, void *value)
{
    guard(object);
    hid_t attribute = open_attribute(h5, object, path, name, type);
    bool read = attribute >= 0 && H5Aread(attribute, type, value) >= 0;
    wn_h5_guard_end_();
    if (attribute < 0)
        return false;
    H5Aclose(attribute);
    if (!read)
        snprintf(h5->reason, sizeof h5->reason, "%s: the attribute \"%s\" cannot be read", path, name);
    return read;
}

char *wn_h5_get_text_(struct wn_h5 *h5, hid_t object, const char *path, const char *name)
{
    hid_t type = wn_h5_text_type_(), space = H5Screate(H5S_SCALAR);
    char *value = NULL, *text = NULL;

    if (wn_h5_get_value_(h5, object, path, name, type, &value)) {
        text = wn_strdup(value ? value : "");
        H5Dvlen_reclaim(type, space, H5P_DEFAULT, &value);
    }
    H5Sclose(space);
    H5Tclose(type);
    return text;
}

/* -1, and the reason is set, when there is no such group. */
static hid_t open_group(struct wn_h5 *h5, const char *group)
{
    check_links(h5, group, "group");
    hid_t object = wn_h5_ok_(h5) ? H5Gopen2(h5->file, group, H5P_DEFAULT) : -1;
    if (object < 0)
        wrong(h5, group, "cannot be opened as a group");
    return object;
}

char *wn_h5_get_group_text_(struct wn_h5 *h5, const char *group, const char *name)
{
    char *text = NULL;

    if (!wn_h5_ok_(h5))
        return NULL;
    guard(h5->file);
    hid_t object = open_group(h5, group);
    if (object >= 0) {
        text = wn_h5_get_text_(h5, object, group, name);
        H5Gclose(object);
    }
    wn_h5_guard_end_();
    return text;
}

static herr_t add_name(hid_t object, const char *name, const H5A_info_t *info, void *names)
{
    (void)object;
    (void)info;
    wn_texts_add(names, name);
    return 0;
}

void wn_h5_get_names_(struct wn_h5 *h5, const char *group, struct wn_texts *names)
{
    if (!wn_h5_ok_(h5))
        return;
    guard(h5->file);
    hid_t object = open_group(h5, group);
    if (object >= 0) {
        if (H5Aiterate2(object, H5_INDEX_NAME, H5_ITER_INC, NULL, add_name, names) < 0)
            wrong(h5, group, "has attributes that cannot be read");
        H5Gclose(object);
    }
    wn_h5_guard_end_();
}
