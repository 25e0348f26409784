# SPDX-License-Identifier: Apache-2.0
"""The document "fields", and values, that are not as winnow writes them."""

import numpy as np
from hand_made.cases import POINTS, TEXT, case, edit_line, fields, replace

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
