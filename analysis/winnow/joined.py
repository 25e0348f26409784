# SPDX-License-Identifier: Apache-2.0
"""Several results files as one: ``winnow.open([a, b])``.

A point is the same in two files when its model (by the hashes of its files) and its key are. Then
it is one row, with the scores of both, which must agree where both have them: files that were
computed from other inputs, or with other kernels, are not joined silently.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from winnow.results import NO_AXES, Results, is_text

_RANK = {"done": 0, "failed": 1, "open": 2}


class JoinedResults(Results):
    """Several results files as one; made by ``winnow.open`` of a list.

    The tables have a column ``file`` with the file that a row was taken from, the first one where
    it is done.
    """

    def __init__(self, paths: Sequence[str | Path]) -> None:
        #: The files, in the order given.
        self.files = [Results(path) for path in paths]
        if not self.files:
            raise ValueError("no results files to open")
        self.path = Path(" + ".join(str(file.path) for file in self.files))
        self.schema_version = max(file.schema_version for file in self.files)
        self.tasks = _in_turn(file.tasks for file in self.files)
        self.texts = _in_turn(file.texts for file in self.files)
        self._task_facts = {}
        for file in reversed(self.files):
            self._task_facts.update(file._task_facts)
        self._check_evaluations()

    # ---- tables ----

    @property
    def points(self) -> pd.DataFrame:
        """One row per point of any file; see ``Results.points``."""
        return self._join([file.points for file in self.files])

    @property
    def scores(self) -> pd.DataFrame:
        """The points with all their scores; ValueError where files differ in one."""
        scores = self._join([file.scores for file in self.files])
        scores.attrs["axes"] = self.axes
        scores.attrs["main_scores"] = self._main_columns
        return scores

    def cell_table(self) -> pd.DataFrame:
        """One row per grid cell of any file, equal ones once; see ``Results.cell_table``."""
        numbers, names = self._numbers([file.points for file in self.files])
        parts = []
        for file, number, name in zip(self.files, numbers, names, strict=True):
            cells = file.cell_table()
            cells["model"] = name[cells["point"]]
            cells["point"] = number[cells["point"]]
            parts.append(cells)
        cells = _categories(pd.concat(parts, ignore_index=True)).drop_duplicates(ignore_index=True)
        return cells.rename_axis(index="cell")

    @property
    def axes(self) -> list[str]:
        """The columns of ``cells`` that the grids asked for."""
        return [c for c in self.cell_table().columns if c not in NO_AXES]

    @property
    def columns(self) -> pd.DataFrame:
        """Unit and description of every column of ``scores``."""
        about = pd.concat([file.columns for file in self.files])
        about = about[~about.index.duplicated()]
        about.loc["file"] = ["", "results file that the row was taken from", False]
        return pd.concat([about[~about["score"].astype(bool)], about[about["score"].astype(bool)]])

    # ---- arrays ----

    def dataset(self, group: str, *, all_points: bool = False) -> xr.Dataset:
        """The arrays of a group from all files that have it, loaded; see ``Results.dataset``.

        A point that is in several files is taken from the first where it is done. Shorter axes are
        filled up with missing values. What is the same for all points of a file, but not of all
        files, such as the token ids of another tokenizer, is left out.
        """
        numbers, names = self._numbers([file.points for file in self.files])
        found = []
        for file, number, name in zip(self.files, numbers, names, strict=True):
            with contextlib.suppress(KeyError):
                found.append((file.dataset(group, all_points=all_points), number, name))
        if not found:
            raise KeyError(f"{self.path}: no group {group!r} in any of the files")
        if "point" not in found[0][0].dims:
            return found[0][0]
        done = {p for data, number, _ in found for p in number[_rows(data, "done")]}
        parts: list[xr.Dataset] = []
        taken: set[int] = set()
        for data, number, name in found:
            place = [p for p in data["point"].values if number[p] not in taken]
            place = [p for p in place if p in _rows(data, "done") or number[p] not in done]
            with data:
                part = data.sel(point=place).load()
            taken.update(number[place])
            parts.append(part.assign_coords(point=number[place], model=("point", name[place])))
        return _concatenate(parts).sortby("point")

    def chance(self, task: str, metric: str | None = None) -> float:
        """Expected score of guessing; see ``Results.chance``."""
        if task not in self.tasks:
            raise KeyError(f"{self.path}: no task {task!r}; known: {', '.join(self.tasks)}")
        return next(file for file in self.files if task in file.tasks).chance(task, metric)

    # ---- documents ----

    @property
    def provenance(self) -> dict[str, str]:
        """Not of several files: each of ``files`` has its own."""
        raise ValueError(f"{self.path}: ask one of .files for its provenance")

    @property
    def sweep_text(self) -> str:
        """Not of several files: each of ``files`` has its own."""
        raise ValueError(f"{self.path}: ask one of .files for its sweep")

    def _h5(self) -> Any:
        raise ValueError(f"{self.path}: ask one of .files")

    def _has_group(self, name: str) -> bool:
        return any(file._has_group(name) for file in self.files)

    # ---- joining ----

    def _check_evaluations(self) -> None:
        """One name is one text or request file."""
        seen: dict[str, tuple[str, Results]] = {}
        for file in self.files:
            for name, value in file.provenance.items():
                found = re.fullmatch(r"evaluation_(.*)_\d+", name)
                digest = re.search(r" sha256 (\w+)", value)
                if not found or not digest:
                    continue
                first, where = seen.setdefault(found[1], (digest[1], file))
                if first != digest[1]:
                    raise ValueError(
                        f"{found[1]} is another text or task in {file.path} than in {where.path}: "
                        "open the files apart"
                    )

    def _numbers(self, tables: list[pd.DataFrame]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Joined numbers of the points of every file, and names of their models."""
        identities, known = [], {}
        for file, table in zip(self.files, tables, strict=True):
            facts = [
                v.split("\n", 1) for k, v in file.provenance.items() if re.match(r"model_\d", k)
            ]
            hashes = {path: rest for path, rest in facts}
            same: dict[str, list[str]] = {}  # one checkpoint under several names of one file
            for path in table["model_path"].astype(str).unique():
                same.setdefault(hashes.get(path, path), []).append(path)
            model = {path: f"{h}{i}" for h, paths in same.items() for i, path in enumerate(paths)}
            identity = [model[path] for path in table["model_path"].astype(str)]
            identities.append(identity)
            for which, name, path in zip(
                identity, table["model"], table["model_path"], strict=True
            ):
                known.setdefault(which, (str(name), str(path)))
        short = [name for name, _ in known.values()]
        names = {
            model: name if short.count(name) == 1 else f"{path} ({model[:8]})"
            for model, (name, path) in known.items()
        }
        index: dict[tuple[str, str], int] = {}
        numbers = []
        for identity, table in zip(identities, tables, strict=True):
            keys = [
                key.removeprefix(f"{model}: ")
                for key, model in zip(table["key"], table["model"].astype(str), strict=True)
            ]
            pairs = zip(identity, keys, strict=True)
            numbers.append(np.array([index.setdefault(p, len(index)) for p in pairs], dtype=int))
        return numbers, [np.array([names[m] for m in row], dtype=object) for row in identities]

    def _join(self, tables: list[pd.DataFrame]) -> pd.DataFrame:
        numbers, names = self._numbers(tables)
        parts = []
        for file, table, name in zip(self.files, tables, names, strict=True):
            keys = [
                key.removeprefix(f"{model}: ")
                for key, model in zip(table["key"], table["model"].astype(str), strict=True)
            ]
            parts.append(table.assign(key=keys, model=name, file=str(file.path)))
        everything = pd.concat(parts, ignore_index=True)
        number = pd.Series(np.concatenate(numbers), name="point")
        self._compare(everything, number)
        rank = everything["status"].astype(str).map(_RANK)
        order = pd.DataFrame({"point": number, "rank": rank}).sort_values(
            ["point", "rank"], kind="stable"
        )
        first = order.drop_duplicates("point").index
        joined = everything.loc[first].set_axis(pd.Index(number[first], name="point"))
        scores = [c for c in everything.columns if "/" in c]
        if scores:
            joined[scores] = everything[scores].groupby(number).first().loc[joined.index]
        if len(set(joined["model"])) > 1:
            joined["key"] = joined["model"].astype(str) + ": " + joined["key"]
        order_of = [c for c in everything.columns if c not in scores] + scores
        return _categories(joined[order_of])

    def _compare(self, everything: pd.DataFrame, number: pd.Series) -> None:
        """Points of several files have one set of weights and one value of every score."""
        done = (everything["status"] == "done").to_numpy()
        rows, of = everything[done], number[done]
        columns = [c for c in rows.columns if "/" in c]
        if "weights_hash" in rows:
            columns.insert(0, "weights_hash")
        counts = rows[columns].groupby(of).nunique()
        for column in columns:
            wrong = counts.index[counts[column] > 1]
            if len(wrong):
                pair = rows[of == wrong[0]].dropna(subset=[column])
                pair = pair.drop_duplicates(column).iloc[:2]
                one, other = (
                    f"{v} in {f}" for v, f in zip(pair[column], pair["file"], strict=True)
                )
                raise ValueError(
                    f"point {pair['key'].iloc[0]!r}: {column} is {one}, but {other}: "
                    "computed from other inputs or with other kernels; open the files apart"
                )


def _rows(data: xr.Dataset, status: str) -> np.ndarray:
    return data["point"].values[data["status"].values == status]


def _in_turn(lists: Any) -> list[str]:
    return list(dict.fromkeys(name for names in lists for name in names))


def _categories(table: pd.DataFrame) -> pd.DataFrame:
    """Texts as categories again, which joining has made objects; the status keeps its order."""
    table = table.copy()
    for name in table.columns:
        if name == "status":
            table[name] = pd.Categorical(table[name].astype(str), ["open", "done", "failed"])
        elif is_text(name, table[name]):
            table[name] = (
                table[name].astype(object).where(table[name].notna(), "").astype("category")
            )
    return table


def _concatenate(parts: list[xr.Dataset]) -> xr.Dataset:
    """Along the points; constants in which the files differ are left out."""
    constants = {n for part in parts for n, v in part.coords.items() if "point" not in v.dims}
    for name in sorted(constants - {str(d) for part in parts for d in part.dims}):
        there = [part[name] for part in parts if name in part.coords]
        if len(there) < len(parts) or not all(there[0].equals(other) for other in there):
            parts = [part.drop_vars(name, errors="ignore") for part in parts]
    about = {n: v.dtype.kind for part in parts for n, v in part.coords.items() if "point" in v.dims}
    for i, part in enumerate(parts):
        size = part.sizes["point"]
        missing = {n: np.full(size, np.nan) for n, kind in about.items() if kind == "f"}
        missing |= {n: np.full(size, "", object) for n, kind in about.items() if kind == "O"}
        add = {n: ("point", v) for n, v in missing.items() if n not in part.coords}
        parts[i] = part.assign_coords(add)
    how = {"data_vars": "all", "coords": "minimal", "compat": "override"}
    return xr.concat(parts, dim="point", join="outer", **how)
