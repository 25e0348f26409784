# SPDX-License-Identifier: Apache-2.0
"""Figures of allocations: levels by block and linear, searches, equal budgets.

Levels are drawn in cividis, which people with colour-blindness read as others do; lines and bars
have the colours of ``winnow.plots``. Figures are legible at the width of a column, and every
function returns the figure.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.figure import Figure

from winnow.layer_errors import searched_taus
from winnow.plots import PALETTE
from winnow.results import Results, resolve
from winnow.searches import allocation_names, candidates, generations, search_names
from winnow.searches import allocations as compare_allocations
from winnow.statistics import RESAMPLES

_GREY = "#555555"
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_WIDTH = 5.0  # inches


def levels(results: Results, points: Sequence[int] | int) -> Figure:
    """What every linear of every block got, a map for each point: blocks down, linears across.

    Zeros in per cent for pruned and left-out linears, nominal bits per weight for quantized ones.
    All maps share one scale, so that allocations of a budget can be compared.
    """
    points = [points] if isinstance(points, int | np.integer) else list(points)
    about = results.scores.loc[points]
    with results.dataset("weights") as data:
        quantized = "bits" in about and about["bits"].notna().all()
        name = "bits_per_weight_nominal" if quantized else "zeros"
        values = data[name].sel(point=points).transpose("point", "block", "linear").to_numpy()
        linears = [str(v).rpartition(".")[2] for v in data["linear"].to_numpy()]
    values = values.astype(float) * (1 if quantized else 100)
    blocks = values.shape[1]
    height = 1.6 + min(6.0, max(1.6, 0.2 * blocks))
    columns = min(len(points), 4)
    rows = math.ceil(len(points) / columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(max(_WIDTH, 0.9 + 2.3 * columns), height * rows),
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    low, high = np.nanmin(values), np.nanmax(values)
    for axis, point, levels_ in zip(axes.flat, points, values):
        image = axis.imshow(levels_, cmap="cividis", aspect="auto", vmin=low, vmax=high)
        axis.set_xticks(range(len(linears)), linears, rotation=90, fontsize=8)
        axis.yaxis.set_major_locator(ticker.MaxNLocator(10, integer=True))
        title = f"{about.loc[point, 'method']}, {allocation_names(about)[point]}"
        axis.set_title(textwrap.fill(title, 24), fontsize=9)
    for axis in axes.flat[len(points) :]:
        axis.set_visible(False)
    for axis in axes[:, 0]:
        axis.set_ylabel("block")
    label = "bits per weight, nominal" if quantized else "zeros (%)"
    figure.colorbar(image, ax=axes, label=label, shrink=0.9)
    return figure


def fitness(results: Results, search: str | None = None) -> Figure:
    """The fitness of the parent by generation, a line per point that a search was for.

    It is judged on other tokens in every generation, so a faint line goes up and down with them;
    the strong one is its median over a tenth of the generations. The axis on top has the tokens of
    candidates that were judged up to there, the cost of the search.
    """
    names = search_names(results)
    if search is None:
        names = [n for n in names if len(generations(results, n)["generation"].unique()) > 1]
        if not names:
            raise ValueError(f"{results.path}: no search with generations")
        search = names[0]
    table = generations(results, search)
    if table.empty:
        raise ValueError(f"{results.path}: search {search!r} has not begun")
    figure, axis = plt.subplots(figsize=(_WIDTH, 3.6), layout="constrained")
    for i, (key, line) in enumerate(table.groupby("key", sort=False)):
        line = line[np.isfinite(line["best"])]
        window = max(1, len(line) // 10)
        smooth = line["best"].rolling(window, center=True, min_periods=1).median()
        colour = PALETTE[i % len(PALETTE)]
        axis.plot(line["generation"], line["best"], color=colour, lw=0.8, alpha=0.35)
        short = " ".join(p for p in str(key).split() if not p.startswith("allocation="))
        axis.plot(
            line["generation"],
            smooth,
            color=colour,
            lw=1.8,
            marker=_MARKERS[i % len(_MARKERS)],
            markevery=max(1, len(line) // 8),
            ms=4,
            label=textwrap.shorten(short, 44),
        )
    best = table["best"][np.isfinite(table["best"])]
    if best.min() > 0 and best.max() > 5 * best.min():
        axis.set_yscale("log")
    axis.set_xlabel("generation")
    axis.set_ylabel(_fitness_label(results, search))
    _token_axis(axis, table)
    axis.spines["right"].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def _fitness_label(results: Results, search: str) -> str:
    name = results.sweep.get("search", {}).get(search, {}).get("fitness", "kl")
    labels = {
        "kl": "KL to the dense model (nat)",
        "perplexity": "perplexity",
        "sparse_kl": "KL over the top tokens (nat)",
        "js": "JS divergence (nat)",
    }
    return labels.get(name, f"−ln p of right answers, {name} (nat)")


def _token_axis(axis: plt.Axes, table: pd.DataFrame) -> None:
    """Judged tokens on top: all generations but the first choice have about as many."""
    line = table[table["key"] == table["key"].iloc[0]]
    first, last = line.iloc[0], line.iloc[-1]
    if last["tokens"] <= first["tokens"]:
        return
    each = (last["tokens"] - first["tokens"]) / (last["generation"] - first["generation"]) / 1000
    start = first["tokens"] / 1000
    top = axis.secondary_xaxis(
        "top", functions=(lambda x: start + each * x, lambda x: (x - start) / each)
    )
    top.set_xlabel("candidate tokens judged (thousand)")


def layer_errors(results: Results, search: str) -> Figure:
    """The candidates of a search: fitness over the sum of layer errors, a colour per point.

    Fitness is less the median of the candidates that were judged on the same tokens, and the sum
    less theirs, so that generations can be drawn together: a cloud that rises to the right would
    be what allocations by layer errors rely on. The legend has Kendall's tau inside these groups,
    see ``winnow.monotonicity``.
    """
    table = candidates(results, search)
    groups = table.groupby(["key", "generation", "stage"])
    table = table.assign(
        worse=table["fitness"] - groups["fitness"].transform("median"),
        more=table["error_sum"] - groups["error_sum"].transform("median"),
    )
    taus = searched_taus(results, search)
    table = table[table["key"].isin(taus)]
    if table.empty:
        raise ValueError(f"{results.path}: search {search!r}: all candidates have equal sums")
    figure, axis = plt.subplots(figsize=(_WIDTH, 3.6), layout="constrained")
    for i, (key, tau) in enumerate(taus.items()):
        rows = table[table["key"] == key]
        axis.plot(
            rows["more"],
            rows["worse"],
            color=PALETTE[i % len(PALETTE)],
            marker=_MARKERS[i % len(_MARKERS)],
            ms=3,
            alpha=0.6,
            ls="",
            label=f"{textwrap.shorten(key, 32)}: τ = {tau}",
        )
    axis.axhline(0, color=_GREY, lw=0.8, zorder=0)
    axis.axvline(0, color=_GREY, lw=0.8, zorder=0)
    axis.set_ylim(*1.3 * table["worse"].quantile([0.005, 0.995]))  # single ones may be far off
    axis.set_xlabel("sum of layer errors, less the median of its stage")
    axis.set_ylabel(f"{_fitness_label(results, search)},\nless the median of its stage")
    axis.spines[["right", "top"]].set_visible(False)
    axis.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.2))
    return figure


def allocations(
    results: Results,
    score: str = "kl",
    *,
    reference: str | None = None,
    resamples: int = RESAMPLES,
) -> Figure:
    """Allocations of equal budgets, each as its difference to one of them, with intervals.

    A panel per budget, a row per allocation, with its score in brackets; the vertical line goes
    through the reference. Intervals are 95 %, paired over windows of the text, or over items of a
    task that no search saw. See ``winnow.allocations``.
    """
    table = compare_allocations(results, score, reference=reference, resamples=resamples)
    table = table[table["difference"].notna()] if "difference" in table else table.iloc[:0]
    if table.empty:
        raise ValueError(f"{results.path}: no budget is spread in two ways")
    groups = list(table.groupby("budget", sort=False))
    heights = [len(rows) for _, rows in groups]
    figure, axes = plt.subplots(
        len(groups),
        1,
        figsize=(_WIDTH, 0.9 + sum(0.24 * n + 0.75 for n in heights)),
        height_ratios=[n + 0.5 for n in heights],
        squeeze=False,
        layout="constrained",
    )
    names = list(dict.fromkeys(table["allocation"]))
    for axis, (budget, rows) in zip(axes[:, 0], groups):
        at = np.arange(len(rows))[::-1]
        for y, row in zip(at, rows.itertuples()):
            i = names.index(row.allocation)
            axis.errorbar(
                row.difference,
                y,
                xerr=[[row.difference - row.low], [row.high - row.difference]],
                color=PALETTE[i % len(PALETTE)],
                marker=_MARKERS[i % len(_MARKERS)],
                ms=5,
                capsize=3,
                ls="",
            )
        labels = [f"{row.allocation} ({row.score:.3g})" for row in rows.itertuples()]
        axis.axvline(0, color=_GREY, lw=1, ls="--", zorder=0)
        axis.set_yticks(at, labels, fontsize=8)
        axis.set_ylim(-0.6, len(rows) - 0.4)
        axis.set_title(budget, fontsize=9, loc="left")
        axis.tick_params(axis="x", labelsize=8)
        axis.xaxis.set_major_locator(ticker.MaxNLocator(5))
        axis.spines[["right", "top"]].set_visible(False)
    axes[-1, 0].set_xlabel(textwrap.fill(f"{_score_label(results, score)} less the reference", 38))
    return figure


def _score_label(results: Results, score: str) -> str:
    if score in results.tasks:
        return f"{results.describe(results.main_score(score))}, items no search saw"
    column = resolve(score, results.scores)
    return results.describe(column).replace("perplexity", "mean loss (nat)")
