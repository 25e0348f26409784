# SPDX-License-Identifier: Apache-2.0
"""The results file as tables (pandas) and arrays with named axes (xarray).

Nothing is kept between calls: every property reads the file again, so that a notebook follows a
sweep that still runs. The status of the points is always read before their data, and values of
points that were not done at that moment are left out.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import h5netcdf
import h5py
import numpy as np
import pandas as pd
import xarray as xr
from xarray.backends import H5NetCDFStore

from winnow.stored import (
    FREE,
    about_of,
    column_of,
    decode,
    is_labels,
    keep_integers,
    plain,
    text_of,
    values_of,
)
from winnow.sweepfile import parse_sweep

SCHEMA_VERSION = 2

# Columns filled in before the first point runs or by its commit; the others are results of a run.
_STATE = ("status", "attempt", "start", "reason")

# What older files call otherwise; tables and arrays have both names.
_RENAMED = {"bits_per_weight": "bits_per_weight_nominal"}

# Short names of scores, most telling first: "facts" is facts/acc, "js" is TEXT/js_mean.
_TASK_SCORES = (
    "acc",
    "exact_match",
    "em_relaxed",
    "f1",
    "rougeL",
    "rouge1",
    "mc2",
    "contains",
    "checks",
    "pct_stereotype",
)
_LABELS = {
    "acc": "accuracy",
    "acc_norm": "accuracy per character",
    "acc_bytes": "accuracy per byte",
    "acc_tokens": "accuracy per token",
    "exact_match": "exact match",
    "em_relaxed": "relaxed match",
    "f1": "F1",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "js_mean": "JS divergence",
    "kl_mean": "KL divergence",
    "top1_agreement": "top-1 agreement",
}
NO_AXES = ("point", "model_path", "calibration_kind", "calibration_tokens")  # follow from others
_SHORT = {"kl": "kl_mean", "js": "js_mean", "top1": "top1_agreement"}

T = TypeVar("T")


def open_results(path: str | Path | Sequence[str | Path]) -> Results:
    """Open a results file, also of a sweep that still runs; of a list of files, all as one.

    Raises FileNotFoundError, or ValueError for a file that winnow did not write, and for files that
    differ in what they say of one point.
    """
    if isinstance(path, str | Path):
        return Results(path)
    from winnow.joined import JoinedResults

    return JoinedResults(path)


class Results:
    """A results file; see the properties. Made by ``winnow.open``."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        if not self.path.is_file():
            raise FileNotFoundError(f"{self.path}: no such file")
        if not h5py.is_hdf5(self.path):
            raise ValueError(f"{self.path}: not an HDF5 file")
        with self._h5() as file:
            if "schema_version" not in file.attrs or "points" not in file:
                raise ValueError(f"{self.path}: an HDF5 file, but not a results file of winnow")
            #: Version of the layout.
            self.schema_version = int(np.ravel(file.attrs["schema_version"])[0])
            if self.schema_version > SCHEMA_VERSION:
                raise ValueError(
                    f"{self.path}: layout version {self.schema_version}, "
                    f"but this package knows up to {SCHEMA_VERSION}: update winnow-analysis"
                )
            order = text_of(file["fields"]).splitlines() if "fields" in file else []
            self._order = {line.split("\t")[0]: i for i, line in enumerate(order)}
            #: Names of the tasks.
            self.tasks = self._names(file, "tasks")
            about = file["provenance"].attrs
            facts = {t: about.get(f"task_{t}", "{}") for t in self.tasks}
            self._task_facts = {t: json.loads(decode(text)) for t, text in facts.items()}
            #: Names of the texts that perplexity was computed on.
            self.texts = [
                n
                for n in self._names(file, "scores")
                if f"scores/{n}/perplexity" in file and n not in self.tasks
            ]

    # ---- tables ----

    @property
    def points(self) -> pd.DataFrame:
        """One row per unique point: what it is, how it went, where it ran.

        The index is the number of the point. ``status`` is open, done or failed; ``reason`` says
        why a point failed. A text column is empty where it does not apply.
        """
        with self._h5() as file:
            return self._points(file)

    @property
    def scores(self) -> pd.DataFrame:
        """The points with all their scores, one column each, such as ``world/perplexity``.

        Scores are NaN unless the point is done. ``attrs["axes"]`` names the axes of the grid,
        ``attrs["main_scores"]`` the column that the name of a task means.
        """
        with self._h5() as file:
            points = self._points(file)
            done = (points["status"] == "done").to_numpy()
            columns = {}
            for name in self._score_names(file):
                values = file[f"scores/{name}"][...].astype(float)
                columns[name] = np.where(done, values, np.nan)
            scores = pd.concat([points, pd.DataFrame(columns, index=points.index)], axis=1)
            scores.attrs["axes"] = self._axes(file)
        scores.attrs["main_scores"] = self._main_columns
        return scores

    @property
    def scores_long(self) -> pd.DataFrame:
        """One row per point and score: point, evaluation, measure, value, stderr, unit."""
        scores, about = self.scores, self.columns
        parts = []
        for name in about.index[about["score"] & ~about.index.str.endswith("_stderr")]:
            error = stderr_column(name, scores)
            evaluation, measure = name.split("/", 1)
            parts.append(
                pd.DataFrame(
                    {
                        "point": scores.index,
                        "evaluation": evaluation,
                        "measure": measure,
                        "value": scores[name].to_numpy(),
                        "stderr": scores[error].to_numpy() if error else np.nan,
                        "unit": about.loc[name, "unit"],
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    @property
    def cells(self) -> pd.DataFrame:
        """One row per requested grid cell with the scores of the point that answers it.

        This is the table to plot over axes: magnitude pruning under two calibration sets is two
        cells, but one point. Axis columns (``method``, ``sparsity``, ...) are as requested.
        """
        scores, cells = self.scores, self.cell_table()
        rest = scores[[c for c in scores.columns if c not in cells.columns]]
        return cells.join(rest, on="point")

    def cell_table(self) -> pd.DataFrame:
        """The cells as they were asked for, without scores: their axes, and the point."""
        with self._h5() as file:
            cells = self._table(file["cells"], "cell")
        return cells.rename(columns={"point_index": "point"}).astype({"point": int})

    @property
    def axes(self) -> list[str]:
        """The columns of ``cells`` that the grid asked for: method, sparsity, calibration ..."""
        with self._h5() as file:
            return self._axes(file)

    @property
    def predictors(self) -> list[str]:
        """What may announce how tasks fare: perplexity of the first text, JS or KL if measured."""
        names = self.columns.index
        found = [f"{self.texts[0]}/perplexity"] if self.texts else []
        for measure in ("js_mean", "kl_mean"):
            of_texts = [f"{t}/{measure}" for t in self.texts if f"{t}/{measure}" in names]
            found += of_texts[:1]
        return found

    @property
    def dense(self) -> pd.Series:
        """The scores of the dense model. For a file of several models use ``dense_of(model)``."""
        if len(self.models) > 1:
            raise ValueError(f"{self.path}: several models; use dense_of(), one of {self.models}")
        return self.dense_of(self.models[0])

    def dense_of(self, model: str) -> pd.Series:
        """The scores of one model before compression."""
        scores = self.scores
        rows = scores[(scores["model"] == model) & is_dense(scores)]
        if rows.empty:
            raise KeyError(f"{self.path}: no model {model!r}; known: {', '.join(self.models)}")
        return rows.iloc[0]

    @property
    def models(self) -> list[str]:
        """The names of the models, as the ``model`` column has them.

        A name is the last part of the checkpoint directory, which ``model_path`` has in full; the
        whole directory where two models share it.
        """
        return list(dict.fromkeys(self.points["model"]))

    @property
    def columns(self) -> pd.DataFrame:
        """Unit and description of every column of ``scores``; ``score`` tells scores apart."""
        rows = {}
        with self._h5() as file:
            for name in self._column_names(file["points"]):
                rows[_RENAMED.get(name, name)] = (*about_of(file[f"points/{name}"]), False)
            for before, now in _RENAMED.items():
                if now in rows:
                    rows[before] = (rows[now][0], f"older name of {now}", False)
            for name in self._score_names(file):
                rows[name] = (*about_of(file[f"scores/{name}"]), True)
        names = ["unit", "description", "score"]
        return pd.DataFrame.from_dict(rows, orient="index", columns=names)

    # ---- arrays ----

    def dataset(self, group: str, *, all_points: bool = False) -> xr.Dataset:
        """The arrays of a group, such as ``weights``, read when their values are asked for.

        Axes carry their labels, variables ``units`` and ``long_name``; what a point is (``method``,
        ``sparsity``, ...) lies along the axis ``point``, which numbers points as the tables do.
        ``compression`` is another name of ``method``, for ``sel``, which means its own by that.
        What is the same for all points (token ids, right answers) is a coordinate, too.
        Without ``all_points`` there are only points that are done, and integers are integers;
        with it, or in a file of several models, they are floats with NaN for what is missing.
        The file stays open until the dataset is closed or forgotten.
        """
        with self._h5() as file:
            if not isinstance(file.get(group), h5py.Group):
                known = ", ".join(sorted(self._groups(file)))
                raise KeyError(f"{self.path}: no group {group!r}; known: {known}")
            points = self._points(file)  # status before data
        netcdf = self._try_locks(lambda **lock: h5netcdf.File(self.path, "r", **lock))
        done = np.flatnonzero(points["status"] == "done")
        everything = all_points and len(done) < len(points)
        store = H5NetCDFStore(netcdf, group=group)
        data = xr.open_dataset(store)
        if not everything and len(set(points["model"])) == 1:  # else axes may be padded
            data = keep_integers(data, xr.open_dataset(store, mask_and_scale=False))
        for variable in data.variables.values():
            variable.attrs.pop("DIMENSION_LABELS", None)
        data = data.rename({n: _RENAMED[n] for n in data.data_vars if n in _RENAMED})
        data = data.assign({n: data[now] for n, now in _RENAMED.items() if now in data})
        with self._h5() as file:
            data = data.assign_coords(
                {d: values_of(file[d]) for d in data.dims if d != "point" and is_labels(file, d)}
            )
            axes = [c for c in points.columns if c in file["cells"] or c in ("key", "status")]
        if "point" not in data.dims:
            data.set_close(netcdf.close)
            return data
        about = {name: ("point", plain(points[name])) for name in axes if name not in data}
        if "method" in about:  # xarray's sel has a parameter of that name
            about["compression"] = about["method"]
        data = data.assign_coords(point=("point", points.index.to_numpy()), **about)
        data = data.set_coords([n for n, v in data.data_vars.items() if "point" not in v.dims])
        if not everything and len(done) < len(points):
            data = data.isel(point=done)
        data.set_close(netcdf.close)
        return data

    def tokens(self, text: str, *, all_points: bool = False) -> xr.Dataset:
        """Loss and divergences of every scored token of a text: [point, token].

        The coordinates ``token_id``, ``sequence`` and ``position`` say which token it is: its id,
        and behind which row of which sequence (window) it comes.

        Raises ValueError for a text whose tokens the file does not keep: those named under
        ``divergence`` are kept.
        """
        if text in self.texts and not self._has_group(f"tokens/{text}"):
            raise ValueError(
                f"{self.path}: no losses of single tokens of {text!r}: "
                'the sweep does not name it under "divergence"'
            )
        return self._short_axes("tokens", text, all_points)

    def _has_group(self, name: str) -> bool:
        with self._h5() as file:
            return name in file

    def logits(self, text: str, *, all_points: bool = False) -> xr.Dataset:
        """The largest logits of the first scored tokens of a text: [point, token, top].

        The coordinate ``token_id`` has the tokens that came next.
        """
        return self._short_axes("logits", text, all_points)

    def task(self, name: str, *, all_points: bool = False) -> xr.Dataset:
        """Every item of a task: [point, item], and [point, item, choice] log-likelihoods.

        The coordinates ``gold``, ``choices`` and ``choice_tokens`` belong to the items: index of
        the right choice, number of choices, and how many tokens each of them has.
        """
        return self._short_axes("tasks", name, all_points)

    def task_facts(self, task: str) -> dict[str, Any]:
        """What a task says of itself: kind, metrics, main metric, dimension, chance, version ..."""
        if task not in self.tasks:
            raise KeyError(f"{self.path}: no task {task!r}; known: {', '.join(self.tasks)}")
        return self._task_facts[task]

    def main_score(self, task: str) -> str:
        """The column with the main metric of a task: "facts/acc", "summaries/rougeL"."""
        return f"{task}/{self.task_facts(task).get('main_metric', 'acc')}"

    @property
    def _main_columns(self) -> dict[str, str]:
        return {task: self.main_score(task) for task in self.tasks}

    @property
    def main_scores(self) -> dict[str, str]:
        """The main metric of every task for which more is better: task to column."""
        names = self._main_columns
        return {t: n for t, n in names.items() if not n.endswith(("perplexity", "bits_per_byte"))}

    def lower_is_better(self, name: str) -> bool:
        """Whether less of a score is better: perplexities, divergences, losses, costs."""
        measure = self.column(name).rpartition("/")[2]
        return measure.endswith(("perplexity", "bits_per_byte", "loss", "seconds", "bytes")) or (
            measure.startswith(("kl_", "js_", "flip"))
        )

    def chance(self, task: str, metric: str | None = None) -> float:
        """Expected score of guessing, by the main metric or another one.

        The main one as the task says; else the mean of 1 / choices over the items for accuracies,
        and 0 for all other metrics.
        """
        facts = self.task_facts(task)
        main = facts.get("main_metric", "acc")
        metric = metric or main
        if "chance" in facts and metric == main:
            return float(facts["chance"])
        with self._h5() as file:
            choices = f"tasks/{task}/choices"
            if not metric.startswith("acc") or choices not in file:
                return 0.0
            return float(np.mean(1.0 / file[choices][...]))

    # ---- documents ----

    def majority(self, task: str) -> float:
        """The score of always giving the answer that is right most often; NaN without choices.

        Of answers by their number: what a model reaches that only knows which label is common.
        """
        with self.task(task) as data:
            if "gold" not in data.coords or "choices" not in data.coords:
                return float("nan")
            gold = np.asarray(data["gold"].values, dtype=float)
        gold = gold[np.isfinite(gold) & (gold >= 0)]
        return float(np.bincount(gold.astype(int)).max() / len(gold)) if len(gold) else np.nan

    @property
    def provenance(self) -> dict[str, str]:
        """Who computed it, with what, where, on which inputs."""
        with self._h5() as file:
            return {name: decode(value) for name, value in file["provenance"].attrs.items()}

    @property
    def starts(self) -> pd.DataFrame:
        """The starts of the program that wrote the file: time, arithmetic, build, hosts, ranks.

        ``points["start"]`` is the row of the one that began a point last.
        """
        with self._h5() as file:
            if "starts" not in file:
                return pd.DataFrame(columns=["arithmetic"])
            columns = {
                n: values_of(d) for n, d in file["starts"].items() if d.ndim and n != "checksum"
            }
        table = pd.DataFrame({n: v for n, v in columns.items() if v.ndim == 1})
        return table[table["time"].astype(str) != ""] if "time" in table else table

    @property
    def sweep(self) -> dict[str, Any]:
        """The sweep file, parsed."""
        return parse_sweep(self.sweep_text)

    @property
    def sweep_text(self) -> str:
        """The sweep file as it was written, with its comments."""
        with self._h5() as file:
            return text_of(file["sweep"])

    # ---- names ----

    def column(self, name: str) -> str:
        """The column that a short name means, by ``resolve``."""
        return resolve(name, self.columns.index, self._main_columns)

    def named(self, scores: Sequence[str] | str | None = None) -> list[str]:
        """The columns that short names mean; of None: perplexities and main scores of the tasks."""
        if scores is None:
            scores = [f"{t}/perplexity" for t in self.texts] + list(self.main_scores.values())
        return [self.column(s) for s in ([scores] if isinstance(scores, str) else scores)]

    def describe(self, name: str) -> str:
        """A label for an axis of a figure: "world perplexity", "world JS divergence (nat)"."""
        about = self.columns
        column = self.column(name)
        unit = about.loc[column, "unit"]
        evaluation, _, measure = column.rpartition("/")
        text = f"{evaluation} {_LABELS.get(measure, measure)}".strip().replace("_", " ")
        return text if unit in ("", "1") else f"{text} ({unit})"

    def __repr__(self) -> str:
        counts = self.points["status"].value_counts()
        status = ", ".join(f"{counts[s]} {s}" for s in counts.index if counts[s])
        return (
            f"<winnow.Results {str(self.path)!r}: {status}; "
            f"texts: {', '.join(self.texts) or 'none'}; tasks: {', '.join(self.tasks) or 'none'}>"
        )

    # ---- reading ----

    def _try_locks(self, opener: Callable[..., T]) -> T:
        """Open with the library's own locking; without, where the file system knows no locks."""
        try:
            return opener()
        except OSError:
            return opener(locking=False)

    @contextlib.contextmanager
    def _h5(self) -> Iterator[h5py.File]:
        file = self._try_locks(lambda **lock: h5py.File(self.path, "r", **lock))
        try:
            yield file
        finally:
            file.close()

    def _in_order(self, group: str, names: list[str]) -> list[str]:
        """As the file lays them out, which groups what belongs together; cells as points."""
        group = "points" if group == "cells" else group
        return sorted(names, key=lambda n: (self._order.get(f"/{group}/{n}", -1), n))

    def _column_names(self, group: h5py.Group) -> list[str]:
        """Columns along the first axis: numbers, texts, or texts of fixed length."""
        names = [n for n, d in group.items() if d.ndim == 1 or (d.ndim == 2 and d.dtype == "S1")]
        names = [n for n in names if n != "checksum"]  # of the bytes in the file, no result
        return self._in_order(group.name.lstrip("/"), names)

    def _axes(self, file: h5py.File) -> list[str]:
        names = self._column_names(file["cells"])
        return [n for n in names if n not in ("point_index", *NO_AXES)]

    def _table(self, group: h5py.Group, index: str) -> pd.DataFrame:
        table = pd.DataFrame({n: column_of(n, group[n]) for n in self._column_names(group)})
        return table.rename_axis(index=index)

    def _points(self, file: h5py.File) -> pd.DataFrame:
        codes = file["points/status"][...]  # first: rows change only until this says done
        points = self._table(file["points"], "point")
        words = decode(file["points/status"].attrs["flag_meanings"]).split()
        points["status"] = pd.Categorical.from_codes(codes.astype(int), categories=words)
        planned = [c for c in points.columns if c in file["cells"] or c in _STATE or c == "key"]
        for name in points.columns.difference([*planned, "host"]):
            points[name] = points[name].mask(codes == 0)
        points = points.rename(columns=_RENAMED)
        for before, now in _RENAMED.items():
            if now in points:
                points[before] = points[now]
        return points

    def _names(self, file: h5py.File, group: str) -> list[str]:
        if group not in file:
            return []
        first = {n.split("/")[2]: i for n, i in reversed(self._order.items()) if f"/{group}/" in n}
        return sorted(file[group], key=lambda n: (first.get(n, len(self._order)), n))

    def _score_names(self, file: h5py.File) -> list[str]:
        names = []
        for evaluation in file.get("scores", ()):
            group = file["scores"][evaluation]
            names += [f"{evaluation}/{n}" for n in group if group[n].ndim == 1]
        return self._in_order("scores", names)

    def _groups(self, file: h5py.File) -> list[str]:
        names: list[str] = []
        file.visititems(lambda n, o: names.append(n) if isinstance(o, h5py.Group) else None)
        return names

    def _short_axes(self, group: str, name: str, all_points: bool) -> xr.Dataset:
        """Inside one evaluation its axes need no name: "item_facts" becomes "item"."""
        data = self.dataset(f"{group}/{name}", all_points=all_points)
        short = {f"item_{name}": "item", f"choice_{name}": "choice", f"token_{name}": "token"}
        short[f"logit_token_{name}"] = "token"
        short.update({d: "top" for d in data.dims if str(d).startswith("top_")})
        renamed = data.rename({old: new for old, new in short.items() if old in data.dims})
        renamed.set_close(data.close)
        return renamed


def is_text(name: str, column: pd.Series) -> bool:
    """Whether a column has texts that repeat themselves."""
    texts = column.dtype == object or isinstance(column.dtype, pd.CategoricalDtype)
    return texts and name not in FREE


def is_dense(scores: pd.DataFrame) -> pd.Series:
    """Which rows are dense models."""
    return scores["method"].astype(str) == "dense"


def resolve(name: str, columns: Any, main: dict[str, str] | None = None) -> str:
    """The column that a name means: a column, a task, or a score that only one evaluation has.

    A task means its main score, by ``main`` or what a table of results knows of it. "facts" is
    facts/acc, "perplexity" is world/perplexity where world is the only text, "js" is world/js_mean.
    Raises KeyError with the candidates.

    >>> columns = ["world/perplexity", "world/js_mean", "facts/acc", "facts/acc_stderr"]
    >>> [resolve(name, columns) for name in ("facts", "js", "perplexity")]
    ['facts/acc', 'world/js_mean', 'world/perplexity']
    """
    main = main or getattr(columns, "attrs", {}).get("main_scores", {})
    columns = list(columns)
    if name in columns:
        return name
    if main.get(name) in columns:
        return main[name]
    for score in _TASK_SCORES:
        if f"{name}/{score}" in columns:
            return f"{name}/{score}"
    evaluation, _, measure = name.rpartition("/")
    measure = _SHORT.get(measure, measure)
    found = [c for c in columns if c.rpartition("/")[2] == measure and "/" in c]
    found = [c for c in found if not evaluation or c.startswith(f"{evaluation}/")]
    if not evaluation and len(found) > 1:  # of a text rather than of a task
        tasks = {c.rpartition("/")[0] for c in columns if c.rpartition("/")[2] in _TASK_SCORES}
        found = [c for c in found if c.rpartition("/")[0] not in tasks] or found
    if len(found) == 1:
        return found[0]
    known = found or [c for c in columns if "/" in c and not c.endswith("_stderr")]
    raise KeyError(f"{'ambiguous' if found else 'no'} score {name!r}: {', '.join(known)}")


def stderr_column(name: str, columns: Any) -> str | None:
    """The column with the standard error of a score, None where there is none."""
    return f"{name}_stderr" if f"{name}_stderr" in columns else None
