# SPDX-License-Identifier: Apache-2.0
"""Results files whose parts do not fit each other, made from a good one: python hand_made_results.py GOOD.h5 FOLDER

Writes FOLDER/NAME.h5 for each case below and prints "NAME WHAT": `refused` where every command must refuse the file,
`answered` where it may also be read, with whatever is in it.
"""

import pathlib
import shutil
import struct
import sys

import h5py
import numpy as np

GOOD, FOLDER = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
TEXT = h5py.string_dtype("utf-8")
POINTS = h5py.File(GOOD)["points/status"].shape[0]
CASES = []


def case(what="refused", raw=False):
    """A function that changes an open file; with `raw`, one that gives the bytes of the new file from the old ones."""

    def add(function):
        CASES.append((function.__name__, what, raw, function))
        return function

    return add


def replace(file, path, **how):
    """Another dataset in place of the one at `path`, as create_dataset takes it."""
    del file[path]
    return file.create_dataset(path, **how)


def fields(file, change):
    """The document "fields" with its text changed."""
    replace(file, "fields", data=change(file["fields"][()].decode()), dtype=TEXT)


def edit_line(file, of, **columns):
    """The line of one path in the document: path=, kind=, type=, sizes=."""
    def change(text):
        lines = text.split("\n")
        at = next(i for i, line in enumerate(lines) if line.startswith(of + "\t"))
        parts = lines[at].split("\t")
        for name, value in columns.items():
            parts[("path", "kind", "type", "sizes").index(name)] = value
        lines[at] = "\t".join(parts)
        return "\n".join(lines)

    fields(file, change)


def low_level(file, path, dtype, shape, layout, setup=lambda plist: None):
    """A dataset without data of a layout that h5py has no word for."""
    if path in file:
        del file[path]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(layout)
    setup(plist)
    h5py.h5d.create(file.id, path.encode(), h5py.h5t.py_create(np.dtype(dtype), logical=True),
                    h5py.h5s.create_simple(shape), plist)


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


# ---- documents ----


@case()
def fields_of_fixed_length(file):
    replace(file, "fields", data=np.bytes_(file["fields"][()]))


@case()
def fields_of_many_texts(file):
    replace(file, "fields", data=[file["fields"][()]] * 50, dtype=TEXT)


@case()
def fields_number(file):
    replace(file, "fields", data=7.0)


@case()
def fields_empty(file):
    fields(file, lambda text: "")


@case()
def fields_without_lines(file):
    fields(file, lambda text: text.split("\n")[0])


@case("answered")
def fields_of_no_lines(file):
    fields(file, lambda text: text.split("\n")[0] + "\n")


@case()
def fields_missing(file):
    del file["fields"]


@case()
def fields_is_a_group(file):
    del file["fields"]
    file.create_group("fields")


@case()
def points_negative(file):
    edit_line(file, "points", kind="-3")


@case()
def points_huge(file):
    edit_line(file, "points", kind=str(2**62))


@case()
def points_beyond_integers(file):
    edit_line(file, "points", kind="9" * 40)


@case()
def points_of_words(file):
    edit_line(file, "points", kind="many")


@case()
def sizes_negative(file):
    edit_line(file, "/weights/zeros", sizes="6x-7")


@case()
def sizes_huge(file):
    edit_line(file, "/weights/zeros", sizes="4611686018427387904x4")


@case()
def sizes_many(file):
    edit_line(file, "/weights/zeros", sizes="x".join("1" * 40))


@case()
def sizes_of_words(file):
    edit_line(file, "/weights/zeros", sizes="sixxseven")


@case()
def kind_unknown(file):
    edit_line(file, "/weights/zeros", kind="guess")


@case()
def type_unknown(file):
    edit_line(file, "/weights/zeros", type="f128")


@case()
def type_other(file):
    edit_line(file, "/weights/zeros", type="u8")


@case()
def path_long(file):
    edit_line(file, "/weights/zeros", path="/" + "x" * 5000)


@case()
def path_missing(file):
    edit_line(file, "/weights/zeros", path="/weights/nothing")


@case()
def path_without_slash(file):
    edit_line(file, "/weights/zeros", path="weights/zeros")


@case()
def path_twice(file):
    fields(file, lambda text: text + "".join(line + "\n" for line in text.split("\n") if "/points/seconds\t" in line))


@case()
def format_in_path(file):
    edit_line(file, "/weights/zeros", path="/%s%s%n%n")


@case("answered")
def identity_huge(file):
    replace(file, "identity", data="x" * (1 << 22), dtype=TEXT)


@case("answered")
def sweep_of_other_words(file):
    replace(file, "sweep", data="{", dtype=TEXT)


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


# ---- values ----


@case("answered")
def status_of_no_known_state(file):
    file["points/status"][0] = 7


@case("answered")
def values_changed(file):
    file["weights/zeros"][...] = np.nan


@case("answered")
def key_of_nothing(file):
    file["points/key"][...] = ""


@case("answered")
def key_huge(file):
    file["points/key"][0] = "k" * (1 << 22)


@case("answered")
def key_with_lines(file):
    file["points/key"][0] = "a\nwinnow: b\tc\x1b[31m%s%n"


@case("answered")
def numbers_not_finite(file):
    for data in file["points"].values():
        if data.dtype == "f8":
            data[...] = [np.inf, -np.inf, np.nan][: POINTS] if POINTS == 3 else np.inf


@case("answered")
def all_failed(file):
    file["points/status"][...] = 2
    file["points/reason"][...] = b"\xff"


# ---- versions and whole files ----


@case()
def schema_version_older(file):
    file.attrs.create("schema_version", np.zeros(1, "i4"))


@case()
def schema_version_newer(file):
    file.attrs.create("schema_version", np.full(1, 1000, "i4"))


@case()
def schema_version_missing(file):
    del file.attrs["schema_version"]


@case()
def identity_missing(file):
    del file["identity"]


@case()
def of_another_program(file):
    for name in list(file):
        del file[name]
    file["x"] = np.ones(3)


@case(raw=True)
def empty_file(data):
    return b""


@case(raw=True)
def no_hdf5(data):
    return b"a text\n" * 1000


@case(raw=True)
def signature_alone(data):
    return data[:8]


@case(raw=True)
def truncated_superblock(data):
    return data[:60]


@case(raw=True)
def truncated_at_half(data):
    return data[: len(data) // 2]


@case(raw=True)
def truncated_by_a_byte(data):
    return data[:-1]


@case("answered", raw=True)
def longer(data):
    return data + bytes(1000)


def patch(path, size, fill):
    """Overwrites what lies at the start of a dataset."""
    def change(data):
        with h5py.File(GOOD) as file:
            at = file[path].id.get_offset()
        return data[:at] + (fill * size)[:size] + data[at + size :]

    return change


case("answered", raw=True)(patch("points/key", 16, b"\xff"))
CASES[-1] = ("text_reference_wild",) + CASES[-1][1:]
case("answered", raw=True)(patch("points/key", 4, b"\xff"))
CASES[-1] = ("text_length_huge",) + CASES[-1][1:]
case("answered", raw=True)(patch("fields", 16, b"\xff"))
CASES[-1] = ("fields_reference_wild",) + CASES[-1][1:]


@case("answered", raw=True)
def heap_object_huge(data):
    """The first object of the first heap of texts says that it is much longer than the heap."""
    at = data.find(b"GCOL") + 16 + 8
    return data[:at] + struct.pack("<Q", 1 << 40) + data[at + 8 :]


@case("answered", raw=True)
def heap_object_longer(data):
    at = data.find(b"GCOL") + 16 + 8
    return data[:at] + struct.pack("<Q", 1 << 18) + data[at + 8 :]


def blast(name, seed):
    """64 bytes of the first 8 KB, where the structure lies, are others."""
    def change(data):
        random = np.random.default_rng(seed)
        data = bytearray(data)
        for at in random.integers(8, 8192, 64):
            data[at] = random.integers(256)
        return bytes(data)

    CASES.append((name, "answered", True, change))


for number in range(12):
    blast(f"random_bytes_{number}", number)


for name, what, raw, function in CASES:
    target = FOLDER / f"{name}.h5"
    if raw:
        target.write_bytes(function(GOOD.read_bytes()))
    else:
        shutil.copyfile(GOOD, target)
        with h5py.File(target, "r+") as changed:
            function(changed)
    print(name, what)
