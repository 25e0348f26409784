# SPDX-License-Identifier: Apache-2.0
"""What all cases of hand_made_results.py need: the good file, the list of cases, and ways to change a file."""

import pathlib
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


def low_level(file, path, dtype, shape, layout):
    """A dataset without data of a layout that h5py has no word for."""
    del file[path]
    plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plist.set_layout(layout)
    h5py.h5d.create(file.id, path.encode(), h5py.h5t.py_create(np.dtype(dtype), logical=True),
                    h5py.h5s.create_simple(shape), plist)
