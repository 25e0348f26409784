/* SPDX-License-Identifier: Apache-2.0 */
/* library.c: version of the HDF5 library in use, and release of what readers return. */
#include <hdf5.h>

#include <winnow/results.h>

void wn_results_library_version(unsigned *major, unsigned *minor, unsigned *release)
{
    if (H5get_libversion(major, minor, release) < 0)
        *major = *minor = *release = 0;
}

void wn_results_free_texts(char ***texts, int64_t rows)
{
    for (int64_t i = 0; *texts && i < rows; i++)
        wn_free((*texts)[i]);
    wn_free(*texts);
    *texts = NULL;
}
