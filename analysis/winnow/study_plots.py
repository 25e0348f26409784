# SPDX-License-Identifier: Apache-2.0
"""Figures as the studies have them: what survives, by which calibration set, and at what cost.

Every function returns the figure; colours and marks are those of ``winnow.plots``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from winnow import plots
from winnow.axes import VARIATIONS, settings
from winnow.draws import collapse
from winnow.results import Results, is_dense, resolve, stderr_column
from winnow.survival import compare_calibrations

_BAND = "#dde8dd"


# ---- LLM-KICK: how far a task matches the dense model ----


def matching(
    results: Results,
    tasks: Sequence[str] | None = None,
    tolerance: float = 0.05,
    model: str | None = None,
) -> Figure:
    """Tasks over sparsity, a panel each, with the region that matches the dense model.

    As the panels of LLM-KICK (arXiv:2310.01382): lines begin at the dense model (sparsity 0), the
    band is within ``tolerance`` of its score, N:M patterns are bars beside the lines. Error bars
    are one standard error over items, those with caps the standard deviation over draws.
    """
    names = results.named(tasks or list(results.main_scores.values()))
    cells = plots.of_model(results, results.cells, model)
    cells = plots.pruned(results, cells)
    if not names:
        raise ValueError(f"{results.path}: no tasks")
    cells = collapse(cells, results.axes)
    lines, bars = _lines_and_bars(cells, [a for a in results.axes if a not in VARIATIONS])
    dense, looks = results.dense_of(model or results.models[0]), plots.looks(results)
    figure, axes, sides = _panels_with_sides(len(names), bool(bars))
    for number, (axis, side, name) in enumerate(zip(axes, sides, names)):
        level = float(dense[name])
        axis.axhspan(level * (1 - tolerance), level, color=_BAND, zorder=0)
        axis.axhline(level, color="black", ls="--", lw=1, zorder=1.5)
        for line in lines:
            _matching_line(axis, line, looks[line.method], name, level)
        axis.xaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
        axis.set_xlabel("sparsity")
        axis.set_ylabel(results.describe(name))
        plots.tidy(axis)
        if bars:
            _pattern_bars(side, bars, looks, name)
        plots.letter(axis, number, len(names))
    plots.legend_below(figure, [*_handles(lines, bars, looks),
        Line2D([], [], color="black", ls="--", lw=1, label="dense"),
        Patch(color=_BAND, label=f"within {tolerance:.0%} of dense")])  # fmt: skip
    return figure


@dataclasses.dataclass(frozen=True)
class _Drawn:
    """A setting and its number within its method, which has its dashes or hatches."""

    method: str
    label: str
    cells: pd.DataFrame
    number: int

    @property
    def dashes(self) -> str:
        return ("-", "--", ":", "-.")[self.number % 4]

    @property
    def hatch(self) -> str:
        return ("", "///", "\\\\\\", "xxx")[self.number % 4]


def _lines_and_bars(cells: pd.DataFrame, axes: list[str]) -> tuple[list[_Drawn], list[_Drawn]]:
    """Settings along the sparsity, and N:M patterns; one label has one number in both."""
    plain = pd.Series(True, index=cells.index)
    if "pattern" in cells:
        plain = cells["pattern"].isin(["", "unstructured"])
    found = [settings(cells[plain], axes, "sparsity"),
             settings(cells[~plain], [a for a in axes if a != "pattern"], "sparsity")]  # fmt: skip
    labels: dict[str, dict[str, int]] = {}
    for setting in (s for part in found for s in part):
        numbers = labels.setdefault(setting.method, {})
        numbers.setdefault(setting.label, len(numbers))
    lines, bars = (
        [_Drawn(s.method, s.label, s.cells, labels[s.method][s.label]) for s in part]
        for part in found
    )
    return lines, bars


def _handles(
    lines: list[_Drawn], bars: list[_Drawn], looks: dict[str, dict[str, str]]
) -> list[Any]:
    """Lines as they are drawn; bars of their own where colour alone does not name them."""
    named = {line.label for line in lines}
    handles: list[Any] = [
        Line2D([], [], **looks[k.method], ls=k.dashes, label=k.label) for k in lines
    ]
    for bar in bars:
        if bar.label not in named or bar.number:
            label = f"{bar.label}, N:M" if bar.label in named else bar.label
            handles.append(Patch(fc=looks[bar.method]["color"], ec="white", hatch=bar.hatch,
                                 label=label))  # fmt: skip
    return handles


def _panels_with_sides(count: int, sides: bool) -> tuple[Figure, list[Axes], list[Any]]:
    """Panels with a narrow one beside each, of the same scale."""
    if not sides:
        figure, axes = plots.grid_of_panels(count)
        return figure, axes, [None] * count
    figure, axes = plots.grid_of_panels(count)
    rows, columns = axes[0].get_subplotspec().get_geometry()[:2]
    size = figure.get_size_inches() * [1.3 if columns > 1 else 1, 1]
    plt.close(figure)
    figure, grid = plt.subplots(
        rows, 2 * columns, figsize=size, squeeze=False, layout="constrained",
        width_ratios=[3, 1] * columns,
    )  # fmt: skip
    every = list(grid.flat)
    for unused in every[2 * count :]:
        unused.set_axis_off()
    for axis, side in zip(every[: 2 * count : 2], every[1 : 2 * count : 2]):
        side.sharey(axis)
    return figure, every[: 2 * count : 2], every[1 : 2 * count : 2]


def _matching_line(axis: Axes, line: _Drawn, look: dict[str, str], name: str, level: float) -> None:
    rows = line.cells[line.cells[name].notna()].drop_duplicates("sparsity")
    error = stderr_column(name, rows)
    x = np.concatenate([[0.0], rows["sparsity"].to_numpy(float)])
    y = np.concatenate([[level], rows[name].to_numpy(float)])
    bars = np.concatenate([[0.0], rows[error].fillna(0)]) if error else None
    axis.errorbar(x, y, yerr=bars, ms=4, lw=1.4, elinewidth=0.8, ls=line.dashes, **look)
    plots.draw_spread(axis, rows["sparsity"], rows, name, look["color"])


def _pattern_bars(
    side: Axes, found: list[_Drawn], looks: dict[str, dict[str, str]], name: str
) -> None:
    """A group of bars per pattern."""
    patterns = list(dict.fromkeys(p for s in found for p in s.cells["pattern"].astype(str)))
    width = 0.8 / len(found)
    for s, setting in enumerate(found):
        rows = setting.cells.drop_duplicates("pattern").set_index("pattern").reindex(patterns)
        error, colour = stderr_column(name, rows), looks[setting.method]["color"]
        at = np.arange(len(patterns)) + (s - (len(found) - 1) / 2) * width
        style = {"color": colour, "hatch": setting.hatch, "edgecolor": "white", "lw": 0}
        side.bar(at, rows[name], width, yerr=rows[error] if error else None,
                 error_kw={"elinewidth": 0.8}, **style)  # fmt: skip
        plots.draw_spread(side, at, rows, name, "black")
    side.set_xticks(range(len(patterns)), patterns)
    side.tick_params(labelleft=False)
    side.set_xlabel("N:M")
    plots.tidy(side)


# ---- Khanal and Capone: general against task-specific calibration ----


def calibrations(
    results: Results, general: str, specific: str, model: str | None = None, **options: Any
) -> Figure:
    """What calibrating on task data gains, a panel per task, paired over items.

    A mark per cell of the grid: its score when calibrated on ``specific`` less that on ``general``,
    with the 95 % interval over items (``winnow.compare_calibrations``). Above 0 task data helps.
    Pruned cells are over sparsity, cells that are only quantized in panels of their own over bits.
    """
    names = [a for a in results.axes if a not in (*VARIATIONS, "calibration")]
    panels, looks = [], plots.looks(results)
    for task in results.tasks:
        table = compare_calibrations(results, task, specific, general, model=model, **options)
        for along in ("sparsity", "bits") if len(table) else ():
            rows = table[table[along].notna()] if along in table else table[:0]
            if along == "bits" and "sparsity" in table:
                rows = rows[rows["sparsity"].isna()]
            if len(rows):
                rows = rows.assign(point=range(len(rows)))
                panels.append((task, along, settings(rows, names, along)))
    if not panels:
        raise ValueError(f"{results.path}: no cells under both {general!r} and {specific!r}")
    figure, axes = plots.grid_of_panels(len(panels))
    shown = {}
    for number, (axis, (task, along, found)) in enumerate(zip(axes, panels)):
        span = max(float(np.ptp(np.concatenate([s.cells[along] for s in found]))), 0.1)
        axis.axhline(0, color="black", ls="--", lw=1, zorder=1.5)
        for place, setting in enumerate(found):
            rows = setting.cells
            shift = (place - (len(found) - 1) / 2) * 0.012 * span  # so that bars do not hide others
            style = {**looks[setting.method], "ls": "", "ms": 4}
            patterned = "pattern" in rows and rows["pattern"].iloc[0] not in ("", "unstructured")
            style["mfc"] = "white" if patterned else style["color"]
            shown[setting.label] = Line2D([], [], label=setting.label, **style)
            bars = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
            axis.errorbar(rows[along] + shift, rows["difference"], yerr=np.abs(bars),
                          elinewidth=0.8, **style)  # fmt: skip
        if along == "sparsity":
            axis.xaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
        else:
            axis.xaxis.set_major_locator(ticker.MultipleLocator(1))
        axis.set_xlabel(along)
        axis.set_ylabel(f"{task}: {specific} less {general}".replace("_", " "))
        plots.tidy(axis)
        plots.letter(axis, number, len(panels))
    plots.legend_below(figure, list(shown.values()))
    return figure


# ---- what quality costs ----


def fronts(
    results: Results,
    quality: str | None = None,
    cost: str = "bits_per_weight_nominal",
    model: str | None = None,
) -> Figure:
    """A score over what it costs, a mark per point; the steps are the Pareto front.

    ``quality`` is the perplexity of the first text if not given, else a task or another score;
    ``cost`` any column of ``scores``: bits, stored bytes, seconds. A point on the front is beaten
    by none that costs no more; the ring is its knee (``winnow.pareto.knee``).
    """
    table = plots.of_model(results, results.scores, model)
    name = resolve(quality or plots.first_quality(results), table)
    cost = resolve(cost, table)
    points = table[table[[cost, name]].notna().all(axis=1)]
    compressed = points[~is_dense(points)]
    if compressed.empty:
        raise ValueError(f"{results.path}: no points with {cost} and {name}")
    lower = results.lower_is_better(name)
    figure, axis = plt.subplots(figsize=plots.panel(1.25), layout="constrained")
    plots.scatter(axis, points, cost, name, plots.colours(results))
    plots.draw_front(axis, points[cost], points[cost], points[name], lower)
    axis.set_xlabel(results.describe(cost) if "/" in cost else cost.replace("_", " "))
    axis.set_ylabel(results.describe(name))
    if lower and points[name].gt(0).all() and points[name].max() > 3 * points[name].min():
        plots.log_axis(axis.yaxis)
    handles, labels = axis.get_legend_handles_labels()
    handles = list(dict(zip(labels, handles)).values())
    handles.append(Line2D([], [], color="#555555", lw=1, label="Pareto front"))
    plots.legend_below(figure, handles)
    return figure


# ---- the grid at a look ----


def coordinates(
    results: Results, scores: Sequence[str] | None = None, model: str | None = None
) -> Figure:
    """Parallel coordinates: a line per point through the axes of the grid and its scores.

    Axes of texts have their words, axes of numbers their ends. The colour is the method.
    """
    table = plots.of_model(results, results.scores, model)
    table = table[table["status"].eq("done") & ~is_dense(table)]
    names = [n for n in results.axes if n in table and _several(table[n])]
    names += [resolve(s, table) for s in (scores or _standard_scores(results))]
    if len(table) < 2 or len(names) < 2:
        raise ValueError(f"{results.path}: no grid of several axes")
    size = (max(plots.panel()[0], 1.15 * len(names)), plots.panel()[1])
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    places = np.column_stack([_place(axis, i, n, table[n]) for i, n in enumerate(names)])
    palette = plots.colours(results)
    for row, method in zip(places, table["method"].astype(str)):
        axis.plot(range(len(names)), row, color=palette[method], lw=0.9, alpha=0.6)
    axis.set_xticks(range(len(names)), [_title(n) for n in names])
    axis.set_xlim(-0.3, len(names) - 0.7)
    axis.set_ylim(_BELOW - 0.06, 1.06)
    axis.yaxis.set_visible(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(axis="x", length=0)
    used = dict.fromkeys(table["method"].astype(str))
    plots.legend_below(figure, [Line2D([], [], color=palette[m], label=m) for m in used])
    return figure


def _standard_scores(results: Results) -> list[str]:
    return [f"{t}/perplexity" for t in results.texts[:1]] + list(results.main_scores.values())[:4]


_BELOW = -0.14  # where a line goes through an axis that does not concern its method


def _words(values: pd.Series) -> pd.Series:
    """As text, empty where there is none."""
    return values.astype(object).where(values.notna(), "").astype(str)


def _several(values: pd.Series) -> bool:
    return len(set(_words(values)) - {""}) > 1


def _title(name: str) -> str:
    return name.replace("_", " ").replace("/", "\n")


def _place(axis: Axes, at: int, name: str, values: pd.Series) -> np.ndarray:
    """Heights of the points on one axis, which is drawn with what it goes from and to."""
    axis.axvline(at, color="#999999", lw=0.8, zorder=0)
    small = {"fontsize": "x-small", "va": "center", "ha": "left", "color": "#333333", "zorder": 5,
             "bbox": {"facecolor": "white", "alpha": 0.7, "lw": 0, "pad": 0.5}}  # fmt: skip
    texts = _words(values)
    if texts.eq("").any():
        axis.text(at + 0.03, _BELOW, "–", **small)
    numbers = pd.to_numeric(values, errors="coerce")
    if numbers.notna().any() and values.dtype.kind in "fiu":
        plain = numbers.to_numpy(float)
        if name.endswith("perplexity"):
            plain = np.log(plain)
        low, high = np.nanmin(plain), np.nanmax(plain)
        for height, value in ((0, numbers.min()), (1, numbers.max())):
            axis.text(at + 0.03, height, f"{value:.4g}", **small)
        heights = (plain - low) / (high - low) if high > low else np.full(len(plain), 0.5)
        return np.where(np.isnan(plain), _BELOW, heights)
    words = [w for w in dict.fromkeys(texts) if w]
    places = {w: i / max(len(words) - 1, 1) for i, w in enumerate(words)}
    for text, height in places.items():
        axis.text(at + 0.03, height, text.replace("_", " "), **small)
    return texts.map(lambda text: places.get(text, _BELOW)).to_numpy(float)
