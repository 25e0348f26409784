# SPDX-License-Identifier: Apache-2.0
"""Datasets of another size, another type or in another place than the document "fields" says."""

import h5py
import numpy as np
from hand_made.cases import FOLDER, GOOD, POINTS, TEXT, case, edit_line, low_level, replace

# ---- extents ----


@case()
def status_long(file):
    replace(file, "points/status", data=np.ones(100000, "u1"))


@case()
def status_short(file):
    replace(file, "points/status", data=np.ones(1, "u1"))


@case()
def status_of_two_axes(file):
    replace(file, "points/status", data=np.ones((POINTS, 2), "u1"))


@case()
def status_scalar(file):
    replace(file, "points/status", data=np.uint8(1))


@case()
def status_of_nothing(file):
    replace(file, "points/status", data=h5py.Empty("u1"))


@case()
def status_of_32_axes(file):
    replace(file, "points/status", data=np.ones((POINTS,) + (1,) * 31, "u1"))


@case()
def key_short(file):
    replace(file, "points/key", data=["a", "b"], dtype=TEXT)


@case()
def key_long(file):
    replace(file, "points/key", data=["a"] * 100, dtype=TEXT)


@case()
def reason_wide(file):
    replace(file, "points/reason", data=np.full((POINTS, 5000), b"x", "S1"))


@case()
def reason_long(file):
    replace(file, "points/reason", data=np.full((POINTS + 5, 240), b"x", "S1"))


@case()
def seconds_short(file):
    replace(file, "points/seconds", data=np.ones(1))


@case()
def checksum_long(file):
    replace(file, "points/checksum", data=np.ones(5000, "u8"))


@case()
def attempt_long(file):
    replace(file, "points/attempt", data=np.ones(5000, "i4"))


@case()
def weights_small(file):
    replace(file, "weights/zeros", data=np.ones((POINTS, 1, 1)))


@case()
def weights_large(file):
    replace(file, "weights/zeros", data=np.ones((POINTS, 60, 70)))


@case()
def weights_transposed(file):
    replace(file, "weights/zeros", data=file["weights/zeros"][:].T)


@case()
def constant_large(file):
    replace(file, "tokens/windows/token_id", data=np.ones(100000, "i4"))


@case()
def constant_small(file):
    replace(file, "tokens/windows/token_id", data=np.ones(1, "i4"))


# ---- types ----


@case()
def status_of_doubles(file):
    replace(file, "points/status", data=np.ones(POINTS))


@case()
def status_of_texts(file):
    replace(file, "points/status", data=["done"] * POINTS, dtype=TEXT)


@case()
def key_of_numbers(file):
    replace(file, "points/key", data=np.ones(POINTS))


@case()
def key_of_fixed_length(file):
    replace(file, "points/key", data=np.array([b"key"] * POINTS))


@case()
def key_of_ascii(file):
    replace(file, "points/key", data=[b"key"] * POINTS, dtype=h5py.string_dtype("ascii"))


@case()
def key_of_lists(file):
    data = replace(file, "points/key", shape=(POINTS,), dtype=h5py.vlen_dtype("f8"))
    for point in range(POINTS):
        data[point] = np.ones(50)


@case()
def seconds_of_big_endian(file):
    replace(file, "points/seconds", data=np.ones(POINTS, ">f8"))


@case()
def seconds_of_half(file):
    replace(file, "points/seconds", data=np.ones(POINTS, "f2"))


@case()
def seconds_of_long_double(file):
    replace(file, "points/seconds", data=np.ones(POINTS, "g"))


@case()
def seconds_of_compounds(file):
    replace(file, "points/seconds", data=np.ones(POINTS, [("a", "f8"), ("b", "S200")]))


@case()
def seconds_of_enums(file):
    replace(file, "points/seconds", data=np.ones(POINTS, "i4"), dtype=h5py.enum_dtype({"a": 1}, basetype="i4"))


@case()
def seconds_of_arrays(file):
    replace(file, "points/seconds", shape=(POINTS,), dtype=np.dtype(("f8", (100,))))


@case()
def seconds_of_opaque(file):
    replace(file, "points/seconds", data=np.array([b"12345678"] * POINTS, "V8"))


@case()
def seconds_of_references(file):
    replace(file, "points/seconds", shape=(POINTS,), dtype=h5py.ref_dtype)


@case()
def reason_of_wide_characters(file):
    replace(file, "points/reason", data=np.full((POINTS, 240), b"x", "S9"))


@case()
def reason_of_variable_length(file):
    replace(file, "points/reason", data=["x"] * POINTS, dtype=TEXT)


@case()
def weights_of_floats(file):
    replace(file, "weights/zeros", data=file["weights/zeros"][:].astype("f4"))


@case()
def schema_version_of_text(file):
    file.attrs["schema_version"] = "1"


@case()
def schema_version_list(file):
    file.attrs.create("schema_version", np.ones(5000, "i4"))


@case("answered")
def units_of_lists(file):
    data = file["points/seconds"].attrs
    del data["units"]
    data.create("units", np.ones(500))


@case("answered")
def units_of_many_texts(file):
    file["points/seconds"].attrs.create("units", ["s"] * 500, dtype=TEXT)


@case("answered")
def fill_value_of_compounds(file):
    file["points/attempt"].attrs.create("_FillValue", np.ones(1, [("a", "f8"), ("b", "S200")]))


@case("answered")
def fill_values(file):
    file["points/attempt"].attrs.create("_FillValue", np.ones(5000, "i4"))


# ---- links and places ----


@case()
def link_soft(file):
    file.move("points/seconds", "points/elsewhere")
    file["points/seconds"] = h5py.SoftLink("/points/elsewhere")


@case()
def link_to_itself(file):
    del file["points/seconds"]
    file["points/seconds"] = h5py.SoftLink("/points/seconds")


@case()
def link_external(file):
    del file["points/seconds"]
    file["points/seconds"] = h5py.ExternalLink(str(GOOD), "/points/seconds")


@case()
def link_to_nothing(file):
    del file["points/seconds"]
    file["points/seconds"] = h5py.SoftLink("/nowhere")


@case()
def link_hard_twice(file):
    del file["points/seconds"]
    file["points/seconds"] = file["points/tokens"]


@case()
def group_through_link(file):
    file.move("points", "elsewhere")
    file["points"] = h5py.SoftLink("/elsewhere")


@case()
def group_external(file):
    del file["points"]
    file["points"] = h5py.ExternalLink(str(GOOD), "/points")


@case()
def group_in_circles(file):
    del file["points"]
    file["points"] = file["/"]


@case()
def group_missing(file):
    del file["points"]


@case()
def dataset_is_a_group(file):
    del file["points/seconds"]
    file.create_group("points/seconds")


@case()
def dataset_is_a_type(file):
    del file["points/seconds"]
    file["points/seconds"] = np.dtype("f8")


@case()
def dataset_missing(file):
    del file["points/seconds"]


@case("answered")
def provenance_missing(file):
    del file["provenance"]


@case("answered")
def provenance_is_a_dataset(file):
    replace(file, "provenance", data=np.ones(5))


@case("answered")
def provenance_of_numbers(file):
    for name in list(file["provenance"].attrs):
        file["provenance"].attrs.create(name, np.ones(5))


@case("answered")
def provenance_huge(file):
    file["provenance"].attrs.create("task_facts", "x" * 60000, dtype=TEXT)


@case()
def data_external(file):
    (FOLDER / "external.raw").write_bytes(bytes(8 * POINTS))
    replace(file, "points/seconds", shape=(POINTS,), dtype="f8", external=[(str(FOLDER / "external.raw"), 0, 8 * POINTS)])


@case()
def data_external_password(file):
    replace(file, "points/status", shape=(POINTS,), dtype="u1", external=[("/etc/passwd", 0, POINTS)])


@case()
def data_virtual(file):
    layout = h5py.VirtualLayout(shape=(POINTS,), dtype="f8")
    layout[:] = h5py.VirtualSource(str(GOOD), "points/seconds", shape=(POINTS,))
    del file["points/seconds"]
    file.create_virtual_dataset("points/seconds", layout)


@case()
def data_chunked(file):
    replace(file, "points/seconds", data=np.ones(POINTS), chunks=(1,), maxshape=(None,))


@case()
def data_compressed(file):
    replace(file, "points/seconds", data=np.ones(POINTS), chunks=(POINTS,), compression="gzip")


@case()
def data_chunked_petabytes(file):
    replace(file, "points/seconds", shape=(1 << 50,), dtype="f8", chunks=(1 << 20,))


@case()
def data_compact(file):
    low_level(file, "points/seconds", "f8", (POINTS,), h5py.h5d.COMPACT)


@case()
def data_never_written(file):
    low_level(file, "points/seconds", "f8", (POINTS,), h5py.h5d.CONTIGUOUS)


@case()
def data_of_petabytes(file):
    low_level(file, "points/seconds", "f8", (1 << 50,), h5py.h5d.CONTIGUOUS)


@case()
def text_of_petabytes(file):
    low_level(file, "points/key", TEXT, (1 << 50,), h5py.h5d.CONTIGUOUS)


@case()
def fields_of_petabytes(file):
    low_level(file, "fields", TEXT, (1 << 50,), h5py.h5d.CONTIGUOUS)


@case()
def points_of_petabytes(file):
    edit_line(file, "points", kind=str(1 << 50))
    low_level(file, "points/status", "u1", (1 << 50,), h5py.h5d.CONTIGUOUS)
