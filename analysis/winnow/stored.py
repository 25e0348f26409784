# SPDX-License-Identifier: Apache-2.0
"""What HDF5 has, as Python, pandas and xarray have it."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np
import pandas as pd
import xarray as xr

# Columns that count or number something: integers, with <NA> where nothing is known yet.
INTEGERS = (
    "attempt",
    "start",
    "rank",
    "threads",
    "tokens",
    "calibration_tokens",
    "peak_bytes",
    "stored_bytes",
    "stored_bytes_linears",
)
# Texts that are others in every row; those of other columns repeat themselves.
FREE = ("key", "reason", "weights_hash")


def decode(value: Any) -> str:
    """Text of bytes."""
    return value.decode() if isinstance(value, bytes) else str(value)


def text_of(dataset: h5py.Dataset) -> str:
    """The text of a scalar."""
    return decode(dataset[()])


def about_of(dataset: h5py.Dataset) -> tuple[str, str]:
    """Unit and description of an array."""
    return decode(dataset.attrs.get("units", "")), decode(dataset.attrs.get("long_name", ""))


def is_labels(file: h5py.File, name: str) -> bool:
    """Whether an axis has labels; the axes of characters have none."""
    return name in file and not decode(file[name].attrs.get("NAME", "")).startswith("This is a")


def values_of(dataset: h5py.Dataset) -> np.ndarray:
    """All values; texts, also those of fixed length, as objects."""
    if h5py.check_string_dtype(dataset.dtype) is not None and dataset.dtype != "S1":
        return dataset.asstr()[...]
    if dataset.dtype == "S1":  # [row, character]
        width = dataset.shape[-1]
        joined = np.ascontiguousarray(dataset[...]).view(f"S{width}")[..., 0]
        return np.array([row.decode("utf-8", "replace") for row in joined], dtype=object)
    return dataset[...]


def column_of(name: str, dataset: h5py.Dataset) -> Any:
    """A column of a table: texts as categories, counts as integers."""
    values = values_of(dataset)
    if values.dtype == object:
        return pd.Series(values, dtype=object if name in FREE else "category")
    if name in INTEGERS:
        return pd.Series(values).astype("Int64")
    if decode(dataset.attrs.get("flag_meanings", "")) == "false true":
        return pd.Series(values).astype("boolean")
    return pd.Series(values)


def keep_integers(data: xr.Dataset, stored: xr.Dataset) -> xr.Dataset:
    """Fields of integers as they are stored: points that are done have all their values.

    Constants keep their NaN: they have a missing value only where one is missing.
    """
    names = [n for n, v in stored.variables.items() if v.dtype.kind in "iu" and "point" in v.dims]
    for name in names:
        stored[name].attrs.pop("_FillValue", None)
    return data.assign({name: stored[name] for name in names})


def plain(column: pd.Series) -> np.ndarray:
    """As xarray holds it: texts as objects, numbers as floats."""
    if isinstance(column.dtype, pd.CategoricalDtype) or column.dtype == object:
        return column.astype(object).to_numpy()
    return column.astype("float64").to_numpy()
