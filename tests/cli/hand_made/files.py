# SPDX-License-Identifier: Apache-2.0
"""Files of other versions or programs, cut, longer, or with other bytes here and there."""

import struct

import h5py
import numpy as np
from hand_made.cases import CASES, GOOD, case


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


def patch(name, path, size, fill):
    """Overwrites what lies at the start of a dataset."""
    def change(data):
        with h5py.File(GOOD) as file:
            at = file[path].id.get_offset()
        return data[:at] + (fill * size)[:size] + data[at + size :]

    CASES.append((name, "answered", True, change))


patch("text_reference_wild", "points/key", 16, b"\xff")
patch("text_length_huge", "points/key", 4, b"\xff")
patch("fields_reference_wild", "fields", 16, b"\xff")


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
