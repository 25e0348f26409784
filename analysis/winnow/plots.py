# SPDX-License-Identifier: Apache-2.0
"""Figures: scores over sparsity, over bits per weight, and against each other.

Colours are those of Okabe and Ito, which people with colour-blindness tell apart; a method keeps
its colour in all figures of a file. The dense model is a dashed line, guessing a dotted one, error
bars are one standard error over items. Where a sweep draws calibration sets again ("replicates"), a
point is the mean of its draws, and a bar with caps their standard deviation. Every function returns
the figure.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib import ticker
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from winnow.axes import VARIATIONS, settings
from winnow.draws import collapse
from winnow.layer_errors import SUM
from winnow.layer_errors import monotonicity as find_inversions
from winnow.pareto import front, knee
from winnow.results import Results, is_dense, stderr_column
from winnow.statistics import correlation

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6000", "#000000")
_DASHES = ("-", "--", ":", "-.")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
_GREY = "#555555"
_SIZES = {  # of a panel in inches, panels beside each other, points of the font
    None: ((4.4, 3.5), 4, 10),
    "column": ((3.35, 2.5), 1, 7),
    "page": ((2.3, 2.0), 3, 7),
}
_size = [_SIZES[None]]  # in force: see style
T = TypeVar("T")
_LEGEND = 0.6  # inches that figures have for it


def colours(results: Results) -> dict[str, str]:
    """Colour of every method, in the order of the file."""
    methods = [m for m in dict.fromkeys(results.cell_table()["method"].astype(str)) if m != "dense"]
    return {m: PALETTE[i % len(PALETTE)] for i, m in enumerate(methods)}


@contextlib.contextmanager
def _restored(before: tuple[Any, dict[str, Any]]) -> Iterator[None]:
    try:
        yield
    finally:
        _size[0] = before[0]
        plt.rcParams.update(before[1])


def style(width: str | None = "column") -> contextlib.AbstractContextManager[None]:
    """Figures for print: "column" of a paper (3.35 inches) or "page" (7 inches); None: as before.

    From here on, or as ``with winnow.style("column"):`` for some figures. Letters are those of the
    page and stay text in PDF and SVG; ``figure.savefig("name.pdf")`` keeps lines as lines.
    """
    if width not in _SIZES:
        raise ValueError(f'width is "column", "page" or None, not {width!r}')
    font = _SIZES[width][2]
    wanted = {
        "font.size": font,
        "axes.linewidth": 0.08 * font,
        "xtick.major.width": 0.08 * font,
        "ytick.major.width": 0.08 * font,
        "pdf.fonttype": 42,
        "svg.fonttype": "none",
        "savefig.bbox": "standard",
    }
    before = (_size[0], {k: plt.rcParams[k] for k in wanted})
    _size[0] = _SIZES[width]
    plt.rcParams.update(wanted)
    return _restored(before)


def panel(factor: float = 1) -> tuple[float, float]:
    """Inches of a panel, ``factor`` times as wide where the page has room for it."""
    (width, height), beside, _ = _size[0]
    return (width if beside == 1 else width * factor, height)


def looks(results: Results) -> dict[str, dict[str, str]]:
    """Colour and mark of every method, as words for matplotlib, in the order of the file."""
    palette = colours(results).items()
    return {m: {"color": c, "marker": _mark(i)} for i, (m, c) in enumerate(palette)}


def _mark(number: int) -> str:
    """Methods that share a colour, the ninth and the first, have other marks."""
    return _MARKERS[(number + number // len(PALETTE)) % len(_MARKERS)]


def letter(axis: Axes, number: int, count: int) -> None:
    """(a), (b), ... above a panel, where there are several."""
    if count > 1 and number < 26:
        axis.set_title(f"({chr(ord('a') + number)})", loc="left", fontsize="medium", weight="bold")


def grid_of_panels(
    count: int, height: float | None = None, most: int | None = None
) -> tuple[Figure, list[Axes]]:
    """So many panels, in rows of as many as the page is wide, with nothing in them.

    ``height`` in inches is that of others if not given; ``most`` limits the panels of a row.
    """
    columns = min(count, _size[0][1], most or count)
    rows = -(-count // columns)
    width, usual = panel()
    figure, grid = plt.subplots(
        rows, columns, figsize=(width * columns, (height or usual) * rows + _LEGEND), squeeze=False,
        layout="constrained"
    )  # fmt: skip
    for unused in list(grid.flat)[count:]:
        unused.set_axis_off()
    return figure, list(grid.flat)[:count]


def drawn(draw: Callable[..., T], results: Results, *about: Any, **options: Any) -> T | None:
    """What a function of this package makes of a file, or in one printed line why it cannot."""
    try:
        return draw(results, *about, **options)
    except ValueError as reason:
        print(reason)
        return None


def over_sparsity(
    results: Results, scores: Sequence[str] | str | None = None, model: str | None = None
) -> Figure:
    """Pruned points over the requested sparsity, a panel per score (default: perplexity, tasks).

    One line per method and setting: whatever the sweep varies beside the sparsity. N:M patterns are
    single open markers. Lines of equal points (magnitude looks at no calibration set) are one.
    """
    names = results.named(scores)
    asked = of_model(results, results.cells, model)
    cells = pruned(results, asked)
    figure, axes = _panels(results, names, asked["model"], "sparsity", intact="left")
    lines = _lines(results, cells, "sparsity")
    for axis, name in zip(axes, names):
        for line in lines:
            _draw(axis, line, "sparsity", name)
        axis.xaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    _legend(figure, axes, lines)
    return figure


def over_bits(
    results: Results, scores: Sequence[str] | str | None = None, model: str | None = None
) -> Figure:
    """Quantized points over nominal bits per weight (scales, zero points and masks included)."""
    names = results.named(scores)
    cells = of_model(results, results.cells, model)
    cells = cells[~is_dense(cells) & cells["bits_per_weight_nominal"].notna()]
    missing = pd.Series(np.nan, index=cells.index)
    bits, sparsity = (cells.get(name, missing) for name in ("bits", "sparsity"))
    cells = cells[bits.notna() | sparsity.isna()]  # LLM.int8() has no bits to choose: not pruned
    if cells.empty:
        raise ValueError(f"{results.path}: no quantized points")
    label = "bits per weight, nominal"
    figure, axes = _panels(results, names, cells["model"], label, intact="right")
    lines = _lines(results, cells, "bits_per_weight_nominal")
    for axis, name in zip(axes, names):
        for line in lines:
            _draw(axis, line, "bits_per_weight_nominal", name)
        axis.xaxis.set_major_locator(ticker.MultipleLocator(1))
    _legend(figure, axes, lines)
    return figure


def survival(results: Results, table: pd.DataFrame, xlabel: str = "sparsity") -> Figure:
    """Where each task breaks, from ``winnow.breaking_points``: a row per task, a dot per method.

    Bars are the intervals over items. A task that never loses as much has an open mark at the end
    of its line.
    """
    tasks = list(dict.fromkeys(table.index.get_level_values("task")))
    methods = list(dict.fromkeys(table.index.get_level_values("method")))
    palette = colours(results)
    if not tasks:
        raise ValueError(f"{results.path}: no task breaks along {xlabel}: there is none")
    size = (7.0, 1.2 + len(tasks) * (0.18 + 0.14 * len(methods)))
    figure, axis = plt.subplots(figsize=size, layout="constrained")
    finite = table[["at", "low", "high"]].to_numpy()
    end = float(np.max(finite[np.isfinite(finite)], initial=0.1)) * 1.08
    for m, method in enumerate(methods):
        rows = table.xs(method, level="method").reindex(tasks)
        height = np.arange(len(tasks)) + (m - (len(methods) - 1) / 2) * 0.6 / len(methods)
        at, low, high = (np.minimum(rows[c], end).to_numpy() for c in ("at", "low", "high"))
        name = method.partition(",")[0]  # of a setting: "wanda, task"
        colour, before = palette[name], [n.partition(",")[0] for n in methods[:m]]
        style = {"color": colour, "lw": 1.5}
        axis.hlines(height, low, high, **style)
        never = np.isinf(rows["at"].to_numpy())
        number = before.count(name) + list(palette).index(name) // len(PALETTE)
        mark = _MARKERS[number % len(_MARKERS)]
        axis.plot(at[~never], height[~never], mark, color=colour, ms=5, label=method)
        axis.plot(at[never], height[never], mark, mfc="white", mec=colour, ms=5)
    axis.set_yticks(range(len(tasks)), [t.replace("_", " ") for t in tasks])
    axis.set_ylim(len(tasks) - 0.5, -0.5)
    axis.set_xlabel(xlabel)
    axis.set_xlim(0, end * 1.03)
    axis.xaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    tidy(axis)
    handles, _ = axis.get_legend_handles_labels()
    legend_below(figure, handles)
    return figure


def against(
    results: Results,
    x: Sequence[str] | str | None = None,
    y: Sequence[str] | str | None = None,
    model: str | None = None,
    zone: float | None = None,
) -> Figure:
    """Scatter of predictors (rows) against task scores (columns), a colour per method.

    ``x`` is what the file has of perplexity, JS and KL divergence if not given.
    Titles hold Spearman's rho over the compressed points with its interval; see ``correlation``.
    Axes over more than a decade, and perplexities, are logarithmic.
    """
    table = results.scores
    rows = results.named(results.predictors if x is None else x)
    columns = results.named(results.tasks if y is None else y)
    if not rows or not columns:
        raise ValueError(f"{results.path}: no {'tasks' if rows else 'perplexity or divergence'}")
    points = of_model(results, table, model)
    palette = colours(results)
    size = (panel()[0] * len(columns), panel()[1] * len(rows) + 0.5)
    figure, grid = plt.subplots(
        len(rows), len(columns), figsize=size, squeeze=False, layout="constrained", sharey="col"
    )
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            axis = grid[i][j]
            scatter(axis, points, row, column, palette)
            _references(axis, results, column, points["model"], None)
            rho = correlation(results, row, column, model=model, zone=zone)
            axis.set_title(str(rho), fontsize="medium")
            axis.set_xlabel(results.describe(row))
            axis.set_ylabel(results.describe(column))
    present = set(points.loc[points["status"] == "done", "method"].astype(str))
    handles = [
        Line2D([], [], color=c, marker=_mark(k), ls="", label=m)
        for k, (m, c) in enumerate(palette.items())
        if m in present
    ]
    handles += [
        Line2D([], [], color="black", marker="*", ms=11, ls="--", lw=1, label="dense"),
        Line2D([], [], color=_GREY, ls=":", label="chance"),
    ]
    legend_below(figure, handles)
    return figure


def monotonicity(results: Results, score: str = "kl", model: str | None = None) -> Figure:
    """The score of every compressed point over the sum of its layer errors, a colour per method.

    A dashed line joins the worst pair of which the one with less error is worse; the title has
    Kendall's tau with its interval. See ``winnow.monotonicity``.
    """
    found = find_inversions(results, score, model=model)
    figure, axis = plt.subplots(figsize=panel(1.3), layout="constrained")
    palette = {m: c for m, c in colours(results).items() if m in set(found.points["method"])}
    scatter(axis, found.points, SUM, found.score, palette)
    values = found.points[found.score]
    if values.min() > 0 and values.max() > 10 * values.min():
        axis.set_yscale("log")
    for pair in found.pairs.head(1).itertuples():
        ends = (pair.error_lower, pair.error_higher), (pair.score_lower, pair.score_higher)
        axis.plot(*ends, color=_GREY, ls="--", lw=1, zorder=1)
    axis.set_title(str(found.tau), fontsize="medium")
    axis.set_xlabel("sum of relative squared layer errors")
    axis.set_ylabel(results.describe(found.score))
    axis.legend(frameon=False, fontsize="small")
    return figure


# ---- lines ----


@dataclasses.dataclass
class _Line:
    cells: pd.DataFrame
    label: str
    colour: str
    dashes: str
    marker: str
    filled: bool


def _lines(results: Results, cells: pd.DataFrame, along: str) -> list[_Line]:
    """One line per method and setting, in the order of the sweep."""
    palette, drawn, number = colours(results), dict[str, int](), dict[str, int]()
    lines = []
    axes = [a for a in results.axes if a not in VARIATIONS]
    for setting in settings(collapse(cells, results.axes), axes, along):
        method, part = setting.method, setting.cells
        pattern = part["pattern"].astype(str).iloc[0] if "pattern" in part else ""
        count, several = number.get(method, 0), drawn.get(method, 0)
        lines.append(
            _Line(
                part,
                setting.label,
                palette[method],
                _DASHES[several % len(_DASHES)],
                _MARKERS[count % len(_MARKERS)],
                pattern in ("", "unstructured"),
            )
        )
        number[method], drawn[method] = count + 1, several + (len(part) > 1)
    return lines


def _draw(axis: Axes, line: _Line, x: str, y: str) -> None:
    rows = line.cells[line.cells[y].notna()]
    if rows.empty:
        return
    axis.errorbar(
        rows[x],
        rows[y],
        yerr=_bars(rows, y),
        color=line.colour,
        ls=line.dashes,
        marker=line.marker,
        mfc=line.colour if line.filled else "white",
        ms=5,
        lw=1.5,
        elinewidth=0.8,
        label=line.label,
    )
    draw_spread(axis, rows[x], rows, y, line.colour)


def draw_spread(axis: Axes, x: Any, rows: pd.DataFrame, y: str, colour: str) -> None:
    """Bars with caps: how far the draws of a cell lie apart, where ``collapse`` found several."""
    draws = rows.get(f"{y}_draws")
    if draws is not None and draws.notna().any():
        style = {"ecolor": colour, "elinewidth": 2.2, "capsize": 4, "alpha": 0.6}
        axis.errorbar(x, rows[y], yerr=draws.fillna(0).to_numpy(), ls="", **style)


def _bars(rows: pd.DataFrame, score: str) -> np.ndarray | None:
    """One standard error of a score; none where the file has none."""
    error = stderr_column(score, rows)
    return None if error is None else rows[error].fillna(0).to_numpy()


def _legend(figure: Figure, axes: Sequence[Axes], lines: list[_Line]) -> None:
    """Name every line."""
    handles = [
        Line2D(
            [],
            [],
            color=k.colour,
            ls=k.dashes if len(k.cells) > 1 else "",
            marker=k.marker,
            mfc=k.colour if k.filled else "white",
            label=k.label,
        )
        for k in lines
    ]
    legend_below(figure, handles)


def legend_below(figure: Figure, handles: list[Line2D]) -> None:
    """Put a legend below all panels, in as many columns as fit, and leave room for it."""
    font = plt.rcParams["font.size"] / 10
    width = 0.5 + 0.085 * font * max((len(str(h.get_label())) for h in handles), default=1)
    columns = max(1, int(figure.get_figwidth() / width))
    rows = math.ceil(len(handles) / columns)
    columns = math.ceil(len(handles) / max(rows, 1))
    below = {"loc": "lower center", "bbox_to_anchor": (0.5, 0)}  # also where a page adds a caption
    figure.legend(handles=handles, ncols=columns, frameon=False, fontsize="small", **below)
    inches = 0.15 + 0.2 * font * rows
    figure.set_figheight(figure.get_figheight() + max(inches - _LEGEND, 0))
    room = inches / figure.get_figheight()
    figure.get_layout_engine().set(rect=(0, room, 1, 1 - room))


# ---- panels ----


def pruned(results: Results, cells: pd.DataFrame) -> pd.DataFrame:
    """Cells that are pruned, not quantized, and done; ValueError where none was asked for."""
    missing = pd.Series(np.nan, index=cells.index)
    sparsity, bits = (cells.get(name, missing) for name in ("sparsity", "bits"))
    cells = cells[sparsity.notna() & bits.isna() & ~is_dense(cells)]
    if cells.empty:
        raise ValueError(f"{results.path}: no pruned points")
    return cells[cells["status"] == "done"]


def of_model(results: Results, table: pd.DataFrame, model: str | None) -> pd.DataFrame:
    """Rows of one model; ValueError where the file has several and none is named."""
    if model is None and len(results.models) > 1:
        raise ValueError(f"{results.path}: several models: give model= one of {results.models}")
    return table if model is None else table[table["model"] == model]


def _panels(
    results: Results, names: list[str], models: pd.Series, xlabel: str, intact: str
) -> tuple[Figure, list[Axes]]:
    """Panels in rows; main scores share their scale, so that tasks can be compared.

    ``intact`` is the side where models are as good as dense: the level of the dense model is
    labelled on the other side and chance on this one, where no points are in the way.
    """
    if not names:
        raise ValueError(f"{results.path}: no perplexity and no task")
    figure, axes = grid_of_panels(len(names))
    shared, main = None, set(results.main_scores.values())
    for number, (axis, name) in enumerate(zip(axes, names)):
        letter(axis, number, len(names))
        _references(axis, results, name, models, intact)
        axis.set_xlabel(xlabel)
        axis.set_ylabel(results.describe(name))
        tidy(axis)
        if name.endswith("perplexity"):
            log_axis(axis.yaxis)
        elif name in main:
            if shared is not None:
                axis.sharey(shared)
            shared = axis
    return figure, axes


def _references(
    axis: Axes, results: Results, name: str, models: pd.Series, intact: str | None
) -> None:
    """Dense level, and chance where the score is an accuracy; labelled if ``intact`` is given."""
    levels = []
    for model in models.unique():
        levels.append((float(results.dense_of(model)[name]), "dense", "--", "black"))
    task, _, measure = name.partition("/")
    guessed = measure.startswith("acc") or name in results.main_scores.values()
    if task in results.tasks and guessed and not measure.endswith("_stderr"):
        levels.append((results.chance(task, measure), "chance", ":", _GREY))
    for value, text, dashes, colour in levels:
        if not np.isfinite(value):
            continue
        axis.axhline(value, color=colour, ls=dashes, lw=1, zorder=1.5)
        if intact:
            left = (intact == "left") == (text == "chance")
            axis.annotate(
                f"{text} {value:.3g}",
                (0.01 if left else 0.99, value),
                xycoords=("axes fraction", "data"),
                xytext=(0, 2),
                textcoords="offset points",
                ha="left" if left else "right",
                fontsize="small",
                color=colour,
            )


def scatter(axis: Axes, points: pd.DataFrame, x: str, y: str, palette: dict[str, str]) -> None:
    """A mark per point with one standard error, a star for the dense model."""
    for number, (method, colour) in enumerate(palette.items()):
        rows = points[(points["method"] == method) & points[[x, y]].notna().all(axis=1)]
        if rows.empty:
            continue
        axis.errorbar(
            rows[x],
            rows[y],
            yerr=_bars(rows, y),
            color=colour,
            ecolor=to_rgba(colour, 0.35),
            marker=_mark(number),
            ls="",
            ms=5,
            elinewidth=0.8,
            label=method,
        )
    dense = points[is_dense(points)]
    compressed = points.loc[~is_dense(points), x].dropna()
    logarithmic = compressed.gt(0).all() and len(compressed) > 1
    if logarithmic and (x.endswith("perplexity") or compressed.max() > 10 * compressed.min()):
        axis.set_xscale("log")
        if x.endswith("perplexity"):
            log_axis(axis.xaxis)
        dense = dense[dense[x] > 0]  # a divergence of 0 has no place there; the line shows it
    axis.plot(dense[x], dense[y], color="black", marker="*", ms=11, ls="", zorder=3)
    tidy(axis)


def draw_front(
    axis: Axes, cost: pd.Series, x: pd.Series, quality: pd.Series, lower_is_better: bool
) -> None:
    """Steps through the points that none beats, and a ring around the knee."""
    best = front(cost, quality, lower_is_better)
    axis.step(x.loc[best], quality.loc[best], where="post", color="#555555", lw=1, zorder=1)
    bend = knee(cost, quality, lower_is_better)
    if bend is not None:
        axis.plot(x.loc[bend], quality.loc[bend], "o", ms=13, mfc="none", mec="black")


def first_quality(results: Results) -> str:
    """The perplexity of the first text, else the main score of the first task."""
    if results.texts:
        return f"{results.texts[0]}/perplexity"
    if results.main_scores:
        return next(iter(results.main_scores.values()))
    raise ValueError(f"{results.path}: no perplexity and no task")


def log_axis(axis: Any) -> None:
    """A logarithmic axis with plain numbers, also where it spans less than a decade."""
    getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
    axis.set_major_locator(_LogTicks())
    axis.set_major_formatter(ticker.FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_locator(ticker.NullLocator())


def tidy(axis: Axes) -> None:
    """No frame on two sides, a light grid behind everything."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(color="#dddddd", lw=0.6)
    axis.set_axisbelow(True)


class _LogTicks(ticker.Locator):
    """Round numbers on a logarithmic axis: as many as fit, whether it spans 20 % or six decades."""

    def __call__(self) -> Sequence[float]:
        return self.tick_values(*self.axis.get_view_interval())

    def tick_values(self, vmin: float, vmax: float) -> Sequence[float]:
        span = math.log10(vmax / vmin) if 0 < vmin < vmax else 0.0
        if span < math.log10(2):
            return ticker.MaxNLocator(5, steps=[1, 2, 5, 10]).tick_values(vmin, vmax)
        steps = (1, 1.5, 2, 3, 4, 5, 7) if span < 1 else (1, 2, 5) if span < 2.5 else (1,)
        decades = range(math.floor(math.log10(vmin)), math.ceil(math.log10(vmax)) + 1)
        return [step * 10.0**decade for decade in decades for step in steps]
