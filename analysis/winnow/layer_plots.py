# SPDX-License-Identifier: Apache-2.0
"""Figures of single linears: what the file knows of each, as maps of kinds of linears by block.

Colours are cividis, which people with colour-blindness read as others do, and the maps of a figure
share one scale. Cells are shapes rather than pixels, so that they stay sharp at any size.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from winnow import plots
from winnow.axes import VARIATIONS, Setting, settings, unperturbed
from winnow.results import Results, is_dense

_MOST = 6  # panels
_STEPS = 32  # colours: few enough that a colour bar is drawn as shapes
_DECADES = 4  # of a logarithmic scale; what is less has its lowest colour


@dataclasses.dataclass(frozen=True)
class Statistic:
    """How a statistic of linears is drawn, and of which points it says something.

    ``of`` is "pruned" (and no more) or "quantized" where it concerns these points alone; ``least``
    is by how much the linears of a point must differ: where all are alike, a table says as much.
    """

    title: str
    label: str
    caption: str
    of: str = ""
    least: float = 0.0
    logarithmic: bool = False
    percent: bool = False
    dense: bool = False  # has a panel


STATISTICS = {
    "output_error": Statistic(
        "Errors of single linears",
        "relative error of outputs",
        "How far the outputs of every linear are off, ||X (W − W′)ᵀ|| / ||X Wᵀ||, for the dense "
        "model's inputs X of the reference sample.",
        logarithmic=True,
    ),
    "zeros": Statistic(
        "Zeros of single linears",
        "weights that are zero",
        "Share of the weights that are zero, of points that were only pruned, and their linears "
        "unequally.",
        of="pruned",
        least=0.01,
        percent=True,
    ),
    "bits_per_weight_nominal": Statistic(
        "Bits of single linears",
        "bits per weight, nominal",
        "Nominal bits per weight (codes, scales, zero points, masks), of points whose linears got "
        "unequal ones.",
        of="quantized",
        least=0.25,
    ),
    "kurtosis": Statistic(
        "Outliers of single linears",
        "kurtosis of the weights",
        "Kurtosis of the weights, before and after compression: 3 of a normal distribution, more "
        "where some weights lie far out (or where many became zero).",
        logarithmic=True,
        dense=True,
    ),
}


def maps(
    results: Results,
    statistic: str = "output_error",
    points: Sequence[int] | int | None = None,
    model: str | None = None,
) -> Figure:
    """A statistic of every linear, a map per point: blocks across, kinds of linears down.

    ``statistic`` is any variable [point, block, linear] of ``results.dataset("weights")``; those of
    ``STATISTICS`` are what a report shows. Without ``points``: one of every method and setting, at
    the sparsity or number of bits that most of them have, six at most. The experts of a block are
    one row, their mean.
    """
    about = STATISTICS.get(statistic) or Statistic("", statistic.replace("_", " "), "")
    if points is not None:
        numbers = [points] if isinstance(points, int | np.integer) else list(points)
        chosen = results.points.loc[numbers, "key"].astype(str)
    else:
        chosen = _representatives(results, model)
        chosen = chosen[chosen[about.of]] if about.of else chosen
        spread = _spread(_read(results, statistic, list(chosen.index))[1])
        first = _dense(results, model) if about.dense else []
        chosen = _some(chosen.loc[spread > about.least, "label"], _MOST - len(first))
        if chosen.empty:
            raise ValueError(f"{results.path}: no points whose linears differ in {statistic}")
        chosen = pd.concat([pd.Series("dense", index=first, dtype=object), chosen])
    return _draw(chosen, *_read(results, statistic, list(chosen.index)), about)


def layer_map(
    axis: Axes, values: np.ndarray, linears: Sequence[str], norm: Normalize | None = None
) -> QuadMesh:
    """Draw [linear, block] as a map; grey where there is no value."""
    cmap = plt.get_cmap("cividis").resampled(_STEPS).with_extremes(bad="#d0d0d0")
    shape = values.shape
    edges = np.arange(shape[1] + 1) - 0.5, np.arange(shape[0] + 1) - 0.5
    shown = np.ma.masked_invalid(values)
    mesh = axis.pcolormesh(*edges, shown, cmap=cmap, norm=norm, edgecolors="white", linewidth=0.3)
    axis.invert_yaxis()
    axis.set_facecolor("#d0d0d0")
    axis.set_yticks(range(shape[0]), linears)
    axis.xaxis.set_major_locator(ticker.MaxNLocator(10, integer=True))
    axis.set_xlim(-0.5, shape[1] - 0.5)
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    axis.set_xlabel("block")
    return mesh


def colour_bar(mesh: QuadMesh, axes: Any, label: str, percent: bool = False) -> None:
    """One for all of some maps, with plain numbers."""
    form = ticker.PercentFormatter(1, decimals=0) if percent else "{x:g}"
    logarithmic = isinstance(mesh.norm, LogNorm)
    ticks = plots._LogTicks() if logarithmic else ticker.MaxNLocator(6, steps=[1, 2, 5, 10])
    figure = mesh.get_figure()
    aspect = figure.get_figheight() / 0.18  # so wide in inches, however tall
    bar = figure.colorbar(mesh, ax=axes, label=label, ticks=ticks, format=form, aspect=aspect)
    bar.minorticks_off()
    bar.outline.set_visible(False)
    bar.solids.set_edgecolor("face")  # no seams between colours


# ---- points ----


def _representatives(results: Results, model: str | None) -> pd.DataFrame:
    """A point for every method and setting, in the order of the sweep: its label and its kind."""
    cells = plots.of_model(results, results.cells, model)
    cells = unperturbed(cells[cells["status"].eq("done") & ~is_dense(cells)])
    axes = [a for a in results.axes if a not in VARIATIONS]
    for name in ("sparsity", "bits"):
        if name not in cells:
            cells = cells.assign(**{name: np.nan})
    rows = {}
    for along in ("sparsity", "bits"):
        pruned = cells["sparsity"].notna()
        found = settings(cells[pruned if along == "sparsity" else ~pruned], axes, along)
        level = _common_level(found, along)
        for setting in found:
            far = (setting.cells[along] - level).abs().fillna(np.inf).to_numpy()
            cell = setting.cells.iloc[int(np.argmin(far))]
            words = {"sparsity": "{:.0%}", "bits": "{:g} bits"}[along].format(cell[along])
            rows.setdefault(int(cell["point"]), {
                "label": setting.label + (f", {words}" if np.isfinite(cell[along]) else ""),
                "pruned": np.isfinite(cell["sparsity"]) and not np.isfinite(cell["bits"]),
                "quantized": along == "bits" or np.isfinite(cell["bits"]),
            })  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index", columns=["label", "pruned", "quantized"])


def _common_level(found: list[Setting], along: str) -> float:
    """The level that most settings have, of several the one nearest to the middle."""
    levels = pd.Series([v for s in found for v in s.cells[along].dropna().unique()], dtype=float)
    counts = levels.value_counts()
    most = counts.index[counts == counts.max()].to_numpy(float)
    return min(most, key=lambda v: (abs(v - levels.median()), v), default=np.nan)


def _some(labels: pd.Series, count: int) -> pd.Series:
    """As many as a figure has room for: one of every method first, in their order."""
    methods = labels.map(lambda text: text.partition(",")[0])
    first = list(labels.index[~methods.duplicated()])
    kept = (first + [p for p in labels.index if p not in first])[:count]
    return labels[labels.index.isin(kept)]


def _dense(results: Results, model: str | None) -> list[int]:
    """The dense point of a model if it is done."""
    row = results.dense_of(model or results.models[0])
    return [int(row.name)] if row["status"] == "done" else []


# ---- values ----


def _read(results: Results, statistic: str, points: list[int]) -> tuple[list[str], np.ndarray]:
    """Names of the rows, and [point, row, block]; what none of the points has is left out."""
    with results.dataset("weights") as data:
        known = [n for n, v in data.data_vars.items() if {"block", "linear"} <= set(v.dims)]
        if statistic not in known:
            raise KeyError(f"no statistic {statistic!r} of linears; known: {', '.join(known)}")
        values = data[statistic].transpose("point", "linear", "block").to_numpy().astype(float)
        values = values[[list(data["point"].to_numpy()).index(p) for p in points]]
        names = [str(name) for name in data["linear"].to_numpy()]
    kinds = pd.Series([re.sub(r"\.\d+\.", ".", name) for name in names])
    groups = list(kinds.groupby(kinds, sort=False).groups.items())
    values = np.stack([_mean(values[:, list(group)]) for _, group in groups], axis=1)
    there = np.isfinite(values)
    rows = there.any(axis=(0, 2))
    labels = [_row_label(kind, [k for k, _ in groups], len(group)) for kind, group in groups]
    return [k for k, r in zip(labels, rows) if r], values[:, rows][:, :, there.any(axis=(0, 1))]


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the second axis, of what is finite."""
    count = np.isfinite(values).sum(axis=1)
    return np.where(count > 0, np.nansum(values, axis=1) / np.maximum(count, 1), np.nan)


def _row_label(kind: str, kinds: list[str], count: int) -> str:
    """The last word of a kind, or all of it where others end in the same."""
    last = kind.rpartition(".")[2]
    unique = sum(k.rpartition(".")[2] == last for k in kinds) == 1
    text = (last if unique else kind).removesuffix("_proj").replace("_", " ")
    return f"{text} ({count})" if count > 1 else text


def _spread(values: np.ndarray) -> np.ndarray:
    """By how much the linears of every point differ."""
    finite = np.isfinite(values)
    high = np.where(finite, values, -np.inf).max(axis=(1, 2), initial=-np.inf)
    low = np.where(finite, values, np.inf).min(axis=(1, 2), initial=np.inf)
    return high - low


def _scale(values: np.ndarray, logarithmic: bool) -> Normalize:
    """Of all maps; logarithmic where they span more than a decade."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if logarithmic and len(positive) and positive.max() > 10 * positive.min():
        high = positive.max()
        return LogNorm(max(positive.min(), high / 10**_DECADES), high)
    return Normalize(finite.min(initial=np.inf), finite.max(initial=-np.inf))


# ---- drawing ----


def _draw(labels: pd.Series, rows: list[str], values: np.ndarray, about: Statistic) -> Figure:
    """A panel for every point, beside and below each other, and one colour bar."""
    if not values.size:
        raise ValueError(f"no values of {about.label}")
    font = plt.rcParams["font.size"] / 10
    height = 0.19 * font * len(rows) + 0.75 * font
    figure, axes = plots.grid_of_panels(len(labels), height, most=3)
    norm = _scale(values, about.logarithmic)
    width = int(plots.panel()[0] * 10 / font) - 6  # characters beside the letter
    columns = sum(axis.get_subplotspec().is_first_row() for axis in axes)
    for number, (axis, label, map_) in enumerate(zip(axes, labels, values)):
        mesh = layer_map(axis, map_, rows, norm)
        plots.letter(axis, number, len(labels))
        axis.set_title(textwrap.fill(label, width), fontsize="medium")
        axis.tick_params(labelleft=number % columns == 0)
        if number + columns < len(labels):  # another panel is below
            axis.tick_params(labelbottom=False)
            axis.set_xlabel("")
    colour_bar(mesh, axes, about.label, about.percent)
    return figure
