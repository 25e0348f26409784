# SPDX-License-Identifier: Apache-2.0
"""A results file of one model as the findings ask of it, and how numbers are written."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

import winnow
from winnow.axes import NOISE, VARIATIONS, perturbation, unperturbed, word
from winnow.inference import two_sided
from winnow.results import Results, is_dense, stderr_column

RESAMPLES = 5_000


class Change(NamedTuple):
    """A difference of scores in points, its 95 % interval over items, and p that there is none."""

    value: float
    low: float
    high: float
    p: float


class Study:
    """Points that are done, by what was asked for, and what the dense model can lose."""

    def __init__(self, results: Results) -> None:
        self.results = results
        self.dense = results.dense
        self.text = results.texts[0]
        self.perplexity = f"{self.text}/perplexity"
        self.dense_perplexity = float(self.dense[self.perplexity])
        cells = results.cells
        done = cells[(cells["status"] == "done") & ~is_dense(cells)].drop_duplicates("point")
        self.cells = unperturbed(done)
        self.perturbed = done[perturbation(done) > 0]
        told = {"method", "model", "calibration", "sparsity", "pattern", "bits", *VARIATIONS}
        self.others = [a for a in results.axes if a in cells and a not in told]
        found = cells["calibration"].astype(str) if "calibration" in cells else []
        self.sets = [s for s in dict.fromkeys(found) if s]
        self.items = {t: winnow.item_scores(results, t) for t in results.main_scores}
        self.abilities = [t for t in self.items if self.can_lose(t) and self.is_ability(t)]

    # ---- what there is to lose ----

    def is_ability(self, task: str) -> bool:
        """Whether more is better: what a model prefers need not fall when it breaks."""
        return self.results.task_facts(task).get("dimension") != "alignment"

    def floor(self, task: str) -> float:
        """What is had for nothing: by guessing, or by always giving the most common answer."""
        accuracy = self.results.main_score(task).endswith("/acc")
        most = self.results.majority(task) if accuracy else np.nan
        return float(np.nanmax([self.results.chance(task), most]))

    def error(self, task: str) -> float:
        """The standard error of the dense score over items."""
        column = stderr_column(self.results.main_score(task), self.dense.index)
        return float(self.dense[column]) if column else 0.0

    def can_lose(self, task: str) -> bool:
        """Whether the dense model is two standard errors above what is had for nothing."""
        score = float(self.dense[self.results.main_score(task)])
        return score - self.floor(task) > 2 * self.error(task)

    # ---- points ----

    def find(self, method: str, **values: Any) -> pd.DataFrame:
        """Done cells of a method, its draws one behind the other.

        Where nothing else is asked for: unstructured, not quantized or not pruned, the first
        calibration set, and of other settings (groups ...) the first that there is.
        """
        first = self.sets[0] if self.sets else ""
        plain = {"pattern": "unstructured", "bits": None, "sparsity": None, "calibration": first}
        cells = self.cells[self.cells["method"] == method]
        for name, value in {**plain, **values}.items():
            if name not in cells:
                continue
            if name in ("pattern", "calibration"):  # methods without have an empty text
                cells = cells[cells[name].astype(str).isin({"", value})]
            elif value is None:
                cells = cells[cells[name].isna()]
            elif name in plain:
                cells = cells[np.isclose(cells[name].astype(float), value)]
            else:
                cells = cells[_texts(cells[name]) == str(value)]
        for name in self.others if len(cells) else ():
            texts = _texts(cells[name])
            cells = cells[texts == texts.iloc[0]]
        return cells.sort_values("replicate") if "replicate" in cells else cells

    def settings(self) -> list[tuple[dict[str, Any], str]]:
        """Method, level and setting of every cell, once: keys for ``find``, and a word for them."""
        found: dict[str, tuple[dict[str, Any], str]] = {}
        for method, cells in self.cells.groupby("method", sort=False, observed=True):
            varied = [a for a in self.others if len(set(_texts(cells[a]))) > 1]
            for _, cell in cells.iterrows():
                key, words = self.level(str(method), cell)
                given = {name: cell[name] for name in varied if pd.notna(cell[name])}
                key |= given
                words += [word(name, value) for name, value in given.items()]
                found.setdefault(repr(key), (key, ", ".join(filter(None, words))))
        return sorted(found.values(), key=lambda pair: self._order(pair[0]))

    def level(self, method: str, cell: pd.Series) -> tuple[dict[str, Any], list[str]]:
        """Of a cell: keys for ``find``, and words."""
        key: dict[str, Any] = {"method": method}
        words = []
        if pd.notna(cell.get("sparsity")):
            key["sparsity"] = float(cell["sparsity"])
            words.append(percent(key["sparsity"]))
        if str(cell.get("pattern", "")) not in ("", "unstructured"):
            key["pattern"] = str(cell["pattern"])
            words = [key["pattern"]]
        if pd.notna(cell.get("bits")):
            key["bits"] = float(cell["bits"])
            words.append(f"{key['bits']:g} bits")
        return key, words

    def _order(self, key: dict[str, Any]) -> tuple[Any, ...]:
        """Methods as the sweep has them, from little to much compression."""
        methods = list(dict.fromkeys(self.cells["method"].astype(str)))
        more = (key.get("sparsity", 0), -key.get("bits", 0), key.get("pattern", ""))
        return (methods.index(key["method"]), *more)

    def twin(self, cell: pd.Series) -> pd.Series | None:
        """What a perturbed cell is without noise: the point of the same draw."""
        names = [a for a in self.results.axes if a in self.cells and a not in NOISE]
        same = self.cells
        for name in names:
            same = same[_texts(same[name]) == _texts(pd.Series([cell[name]])).iloc[0]]
        return same.iloc[0] if len(same) == 1 else None

    # ---- numbers ----

    def logs(self, cells: pd.DataFrame) -> np.ndarray:
        """Ln of the perplexities, relative to the dense one."""
        return np.log(cells[self.perplexity].to_numpy(float) / self.dense_perplexity)

    def ratio(self, cells: pd.DataFrame) -> float:
        """Perplexity over that of the dense model, the geometric mean of draws."""
        return float(np.exp(self.logs(cells).mean()))

    @functools.cached_property
    def _resampled(self) -> dict[str, np.ndarray]:
        """How often each resample has each item, by task: the same for all pairs."""
        rng, counts = np.random.default_rng(0), {}
        for task in self.abilities:
            n = self.items[task].shape[1]
            counts[task] = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES).astype(np.uint16)
        return counts

    def change(self, pairs: list[tuple[int, int]]) -> Change:
        """Mean score on the abilities of the first of each pair of points less the second.

        The interval is over items, which all points share; each task is drawn again by itself.
        """
        means, draws = [], np.zeros(RESAMPLES)
        first, second = ([pair[side] for pair in pairs] for side in (0, 1))
        for task in self.abilities:
            items = self.items[task]
            gain = (items.loc[first].to_numpy() - items.loc[second].to_numpy()).mean(axis=0)
            draws += self._resampled[task] @ gain / len(gain)
            means.append(gain.mean())
        if not means:
            return Change(np.nan, np.nan, np.nan, np.nan)
        draws /= len(means)
        low, high = 100 * np.quantile(draws, [0.025, 0.975])
        return Change(100 * float(np.mean(means)), float(low), float(high), two_sided(draws))

    def change_of(self, cells: pd.DataFrame, others: pd.DataFrame | None = None) -> Change:
        """The same of two cells, by their first draws; of one against the dense model."""
        other = self.dense.name if others is None else others["point"].iloc[0]
        return self.change([(int(cells["point"].iloc[0]), int(other))])


# ---- words ----


def _texts(values: pd.Series) -> pd.Series:
    """As text, empty where there is none."""
    return values.astype(object).where(values.notna(), "").astype(str)


def minus(text: str) -> str:
    """With the sign that is as wide as a plus."""
    return text.replace("-", "\N{MINUS SIGN}")


def number(value: float) -> str:
    """Two decimals, fewer of large numbers."""
    if not np.isfinite(value):
        return "–"
    if abs(value) >= 100:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else minus(f"{value:.2f}")


def points(change: Change) -> str:
    """A change in points with its interval."""
    if not np.isfinite(change.low):
        return "–"
    return minus(f"{change.value:+.1f} ({change.low:+.1f} to {change.high:+.1f})")


def interval(value: float, low: float, high: float) -> str:
    """A value and the interval it lies in."""
    if not np.isfinite(value):
        return "–"
    ends = f" ({number(low)} to {number(high)})" if np.isfinite(low) else ""
    return number(value) + ends


def p_text(p: float) -> str:
    """A p value."""
    return "–" if not np.isfinite(p) else "< 0.001" if p < 0.001 else f"{p:.2g}"


def percent(value: float) -> str:
    """A share as per cent."""
    return f"{100 * value:.0f} %"


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a table of Markdown."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "|" + " --- |" * len(names)]
    lines += ["| " + " | ".join(str(row.get(n, "–")) for n in names) + " |" for row in rows]
    return "\n".join(lines)


def listed(words: list[str]) -> str:
    """``a, b and c``; ``none``."""
    if len(words) < 2:
        return words[0] if words else "none"
    return ", ".join(words[:-1]) + " and " + words[-1]
