# SPDX-License-Identifier: Apache-2.0
"""What searches of allocations saw and found: generations, levels, held-out items, equal budgets.

A budget is what all linears of a point together have (a sparsity, bits, a share of what is left
out); an allocation says how it is spread. Points of one budget differ in their allocation alone.
"""

from __future__ import annotations

import h5py
import numpy as np
import pandas as pd

from winnow.results import Results, is_dense, resolve
from winnow.statistics import RESAMPLES
from winnow.survival import item_scores

_BUDGET = ("model", "method", "sparsity", "pattern", "bits", "group", "units", "calibration")


def search_names(results: Results) -> list[str]:
    """Names of the searches of a file, dynamic programming among them."""
    with results._h5() as file:
        return sorted(n for n, g in file.get("search", {}).items() if isinstance(g, h5py.Group))


def generations(results: Results, search: str) -> pd.DataFrame:
    """One row per whole generation of every point that a search was for.

    ``best`` is the fitness of the parent on the tokens of the last stage, which are others in
    every generation; ``tokens`` how many tokens of candidates were judged up to it, which is the
    cost of the search; ``accuracy`` that of the parent where the fitness is a task.
    """
    rows = []
    with results._h5() as file:
        log = _log(results, file, search)
        for item, key in enumerate(_labels(file, log["best"])):
            tokens = 0.0
            for row in _whole(log, item):
                tokens += float(log["tokens"][item, row])
                winner = int(log["winner"][item, row])
                accuracy = log["accuracy"][item, row, winner] if winner >= 0 else np.array([np.nan])
                known = accuracy[np.isfinite(accuracy)]
                rows.append(
                    {
                        "key": key,
                        "generation": row,
                        "best": float(log["best"][item, row]),
                        "achieved": float(log["achieved"][item, row]),
                        "accuracy": float(known[-1]) if len(known) else np.nan,
                        "tokens": tokens,
                        "seconds": float(log["seconds"][item, row]),
                    }
                )
    names = ["key", "generation", "best", "achieved", "accuracy", "tokens", "seconds"]
    return pd.DataFrame(rows, columns=names)


def candidates(results: Results, search: str) -> pd.DataFrame:
    """One row per candidate and stage that judged it, with the sum of its layer errors.

    Fitness can be compared inside a ``stage`` of a ``generation`` only: all its candidates saw the
    same tokens.
    """
    parts = []
    with results._h5() as file:
        log = _log(results, file, search)
        for item, key in enumerate(_labels(file, log["best"])):
            for row in _whole(log, item):
                fitness = log["fitness"][item, row]
                candidate, stage = np.nonzero(np.isfinite(fitness))
                parts.append(
                    pd.DataFrame(
                        {
                            "key": key,
                            "generation": row,
                            "stage": stage,
                            "candidate": candidate,
                            "fitness": fitness[candidate, stage],
                            "error_sum": log["error_sum"][item, row][candidate],
                        }
                    )
                )
    names = ["key", "generation", "stage", "candidate", "fitness", "error_sum"]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=names)


def held_out(results: Results, task: str) -> pd.DataFrame:
    """Scores of all points on the items of a task that no search saw, and on those that one saw.

    A search for a task chooses what does well on the items it sees, so its score on them is too
    good; those it did not see are an honest sample. Main metric, mean over items: ``held_out`` and
    ``held_out_stderr`` over ``held_out_items``, ``seen`` over ``seen_items``. Where no search is
    for the task all items are held out.
    """
    scores = item_scores(results, task)
    seen = _seen(results, task)
    rest = scores.loc[:, ~seen]
    table = pd.DataFrame(
        {
            "held_out": rest.mean(axis=1),
            "held_out_stderr": rest.std(axis=1, ddof=1) / np.sqrt(rest.shape[1]),
            "held_out_items": rest.shape[1],
            "seen": scores.loc[:, seen].mean(axis=1),
            "seen_items": int(seen.sum()),
        }
    )
    return results.points.loc[table.index, ["key"]].join(table)


def allocations(
    results: Results,
    score: str = "kl",
    *,
    reference: str | None = None,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> pd.DataFrame:
    """Every budget that was spread in several ways, with the difference to one of them.

    ``score`` is a divergence of a text, compared window by window, or a task, compared on the items
    that no search saw. ``reference`` is an allocation; without one, uniform, or the first of the
    file. ``difference`` is that of the point to the reference of its budget, and ``low`` to
    ``high`` its interval by the paired bootstrap over windows or items.
    """
    units, column = _units(results, score)
    points = results.scores[~is_dense(results.scores)]
    points = points[points.index.isin(units.index)]
    points = points.astype({"calibration": object}) if "calibration" in points else points
    points.loc[points["method"].astype(str) == "drop", "calibration"] = ""  # only scores read it
    by = [c for c in _BUDGET if c in points]
    budgets = points.groupby(by, sort=False, dropna=False, observed=True)
    rows = []
    for _, group in budgets:
        names = allocation_names(group)
        if len(names) < 2:
            continue
        base = names.index[0]
        for wanted in [reference] if reference else ["uniform"]:
            base = next(iter(names.index[names == wanted]), None if reference else base)
        draws = np.random.default_rng(seed).integers(0, units.shape[1], (resamples, units.shape[1]))
        for point, name in names.items():
            row = {"point": point, "budget": _budget(group.loc[point]), "allocation": name}
            row |= {"score": units.loc[point].mean()}
            if base is not None:
                apart = (units.loc[point] - units.loc[base]).to_numpy()
                low, high = np.quantile(
                    apart[draws].mean(axis=1), [(1 - level) / 2, (1 + level) / 2]
                )
                row |= {"difference": apart.mean(), "low": low, "high": high}
                row |= {"reference": names[base]}
            rows.append(row)
    table = pd.DataFrame(rows)
    table.attrs["score"] = column
    return table


def allocation_names(points: pd.DataFrame) -> pd.Series:
    """How each point spreads its budget: an allocation, a depth score, or uniform."""
    names = pd.Series("", index=points.index, dtype=object)
    for column in ("allocation", "score"):
        if column in points:
            names = names.where(names != "", points[column].astype(object).fillna("").astype(str))
    return names.replace("", "uniform")


def _units(results: Results, score: str) -> tuple[pd.DataFrame, str]:
    """[point, window or item] values, and the column they are the mean of."""
    if score in results.tasks:
        return item_scores(results, score).loc[:, ~_seen(results, score)], results.main_score(score)
    column = resolve(score, results.scores)
    text, _, measure = column.partition("/")
    names = {"kl_mean": "kl", "js_mean": "js", "top1_agreement": "top1", "perplexity": "loss"}
    if measure not in names:
        raise ValueError(f"{column}: expected a task, or one of {', '.join(names)} of a text")
    with results.tokens(text) as data:
        values = data[names[measure]].transpose("point", "token").to_numpy().astype(float)
        window = np.unique(np.asarray(data["sequence"]), return_inverse=True)[1]
        points = np.asarray(data["point"])
    counts = np.bincount(window)
    means = np.stack([np.bincount(window, weights=row) / counts for row in values])
    return pd.DataFrame(means, index=pd.Index(points, name="point")), column


def _budget(point: pd.Series) -> str:
    """A few words: "sparsegpt 60 %", "gptq 3 bits", "drop 33 % of branches"."""
    text = str(point["method"])
    if pd.notna(point.get("sparsity")):
        text += f" {100 * point['sparsity']:.0f} %"
    if pd.notna(point.get("bits")):
        text += f" {point['bits']:g} bits"
    if isinstance(point.get("units"), str) and point["units"]:
        text += f", {point['units']}"
    return text


def _seen(results: Results, task: str) -> np.ndarray:
    """Which items any search saw."""
    with results.task(task) as data:
        if "searched" not in data.coords:
            return np.zeros(data.sizes["item"], dtype=bool)
        return np.asarray(data["searched"]) == 1


def _log(results: Results, file: h5py.File, search: str) -> h5py.Group:
    known = search_names(results)
    if search not in known:
        raise KeyError(f"{results.path}: no search {search!r}; known: {', '.join(known) or 'none'}")
    return file["search"][search]


def _labels(file: h5py.File, dataset: h5py.Dataset) -> list[str]:
    """Keys of the points along the first axis."""
    return [str(key) for key in dataset.dims[0][0].asstr()[...]]


def _whole(log: h5py.Group, item: int) -> range:
    """Generations that are there, from the first one on."""
    achieved = log["achieved"][item]
    missing = np.flatnonzero(~np.isfinite(achieved))
    return range(int(missing[0]) if len(missing) else len(achieved))
