# SPDX-License-Identifier: Apache-2.0
"""How fast models write text in memory, beside the dense model, and figures of what that buys.

A sweep with "efficiency" times every point in turn with its dense model in fp32 and in bf16, on one
rank. Seconds are those of that machine and minute; ratios of neighbours in time are what can be
compared. Pairs of takes that something else on the machine disturbed are counted, and marked here.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from winnow import plots
from winnow.results import Results, is_dense, resolve

GROUP = "speed/efficiency"
CLOCKS = ("processor", "wall")
DENSE = ("dense fp32", "dense bf16")
_WORDS = {"prefill": "prefill", "first_token": "first token"}


def speeds(
    results: Results,
    against: str = "dense fp32",
    *,
    model: str | None = None,
    clock: str = "processor",
) -> pd.DataFrame:
    """One row per point and kind of take: how many times as fast as the dense model it is.

    ``kind`` is "prefill", "first_token", or "decode_1", "decode_8", "decode_32": steps of so many
    texts side by side. ``faster`` is the median ratio over ``pairs`` of takes with its quartiles
    ``low`` and ``high``, ``seconds`` that of a prefill or a step. ``disturbed`` of the pairs ran
    beside something else; ``calm`` says whether those that did not were enough to count alone.
    ``resident_bytes`` are weights, head and cache of one text in memory, ``smaller`` how many times
    the dense model has; ``bytes_read`` are counted for one new token. ``against`` is "dense fp32"
    or "dense bf16", ``clock`` the "processor" time of one thread, or the "wall".
    """
    if clock not in CLOCKS or against not in DENSE:
        raise ValueError(f"clock is one of {', '.join(CLOCKS)}; against: {', '.join(DENSE)}")
    try:
        data = results.dataset(GROUP)
    except KeyError:
        reason = 'no speeds: the sweep does not ask for "efficiency"'
        raise ValueError(f"{results.path}: {reason}") from None
    with data:
        table = pd.concat(
            [_of_kind(data, str(k), against, clock) for k in data["speed_kind"].values]
        )
    table = table[table["faster"].notna()]
    about = results.points
    if model is not None:
        table = table[table["point"].map(about["model"].astype(str)).eq(model)]
    asked = _asked_pairs(results)
    table["calm"] = table["pairs"] - table["disturbed"] >= (
        asked if asked else np.ceil(table["pairs"] / 2)
    )
    axes = ["key", *[a for a in results.axes if a in about and _several(about[a])]]
    axes = list(dict.fromkeys(["method", *axes]))
    return about[axes].join(table.set_index("point"), how="right").rename_axis(index="point")


def _several(values: pd.Series) -> bool:
    return len(set(values.dropna().astype(str)) - {""}) > 1


def _of_kind(data: Any, kind: str, against: str, clock: str) -> pd.DataFrame:
    part = data.sel(speed_kind=kind)
    faster = part["faster"].sel(speed_model=against, clock=clock).transpose("point", "quartile")
    seconds = part["seconds"].sel(speed_model="point", clock=clock)
    resident = data["resident_bytes"].transpose("point", "speed_model")
    own = resident.sel(speed_model="point").to_numpy()
    low, median, high = faster.to_numpy().T
    return pd.DataFrame(
        {
            "point": data["point"].to_numpy(),
            "kind": kind,
            "faster": median,
            "low": low,
            "high": high,
            "seconds": seconds.sel(quartile="median").to_numpy(),
            "pairs": part["pairs"].to_numpy().astype(int),
            "disturbed": part["disturbed"].to_numpy().astype(int),
            "resident_bytes": own,
            "smaller": resident.sel(speed_model=against).to_numpy() / own,
            "bytes_read": part["bytes_read"].sel(speed_model="point").to_numpy(),
            "format": [str(f) for f in data["format"].to_numpy()],
        }
    )


def _asked_pairs(results: Results) -> int | None:
    """How many undisturbed pairs the sweep asked for, as its protocol says; None: unknown."""
    for file in getattr(results, "files", [results]):
        for name, text in file.provenance.items():
            found = re.search(r"(\d+) pairs and more", text)
            if name.startswith("evaluation_efficiency") and found:
                return int(found[1])
    return None


def kind_label(kind: str) -> str:
    """A kind of take in words."""
    texts = kind.rpartition("_")[2]
    return _WORDS.get(kind, f"steps of {texts} text{'s' if texts != '1' else ''}")


# ---- figures ----


def memory_and_speed(
    results: Results, against: str = "dense fp32", model: str | None = None
) -> Figure:
    """How many times smaller and faster points are than the dense model, a panel per kind of take.

    Bars are quartiles over pairs of takes. A mark with a white centre was disturbed: too few pairs
    ran alone. On the dashed lines a point is as small, or as fast, as the dense model.
    """
    plots.of_model(results, results.points, model)
    table = speeds(results, against, model=model)
    table = table[~is_dense(table)]
    if table.empty:
        raise ValueError(f"{results.path}: no compressed point has a speed")
    kinds, looks = list(dict.fromkeys(table["kind"])), plots.looks(results)
    figure, axes = plots.grid_of_panels(len(kinds))
    for number, (axis, kind) in enumerate(zip(axes, kinds)):
        axis.axhline(1, color="black", ls="--", lw=1, zorder=1.5)
        axis.axvline(1, color="black", ls="--", lw=1, zorder=1.5)
        rows = table[table["kind"] == kind]
        _speed_marks(axis, rows, rows["smaller"], looks, across=False)
        axis.set_xlabel(f"times smaller than {against}")
        axis.set_ylabel(f"{kind_label(kind)}:\ntimes as fast")
        plots.tidy(axis)
        plots.letter(axis, number, len(kinds))
    used = dict.fromkeys(table["method"].astype(str))
    plots.legend_below(figure, _legend(looks, list(used), not table["calm"].all()))
    return figure


def quality_fronts(
    results: Results,
    quality: str | None = None,
    against: str = "dense fp32",
    model: str | None = None,
) -> Figure:
    """A score over stored bytes, and over every measured speed; steps are Pareto fronts.

    ``quality`` is the perplexity of the first text if not given. Bars of speeds are quartiles over
    pairs of takes: of two points whose bars overlap, the front may have the wrong one.
    """
    table = plots.of_model(results, results.scores, model)
    table = table[table["status"].eq("done")]
    name = resolve(quality or plots.first_quality(results), table)
    lower, looks = results.lower_is_better(name), plots.looks(results)
    times = speeds(results, against, model=model)
    stored = int("stored_bytes" in table and table["stored_bytes"].notna().any())
    kinds = list(dict.fromkeys(times["kind"]))
    figure, axes = plots.grid_of_panels(len(kinds) + stored)
    wanted = [None] * stored + kinds
    for number, (axis, kind) in enumerate(zip(axes, wanted)):
        if kind is None:
            points = table[table[["stored_bytes", name]].notna().all(axis=1)]
            cost = points["stored_bytes"].astype(float) / 1e6
            plots.scatter(axis, points.assign(mb=cost), "mb", name, plots.colours(results))
            plots.draw_front(axis, cost, cost, points[name], lower)
            axis.set_xlabel("stored megabytes")
        else:
            rows = times[times["kind"] == kind]
            rows = rows.join(table[name], how="inner").dropna(subset=[name])
            _speed_marks(axis, rows, rows[name], looks, across=True)
            plots.draw_front(axis, -rows["faster"], rows["faster"], rows[name], lower)
            axis.set_xlabel(f"{kind_label(kind)}: times as fast as {against}")
        axis.set_ylabel(results.describe(name))
        if lower and table[name].gt(0).all() and table[name].max() > 3 * table[name].min():
            plots.log_axis(axis.yaxis)
        plots.tidy(axis)
        plots.letter(axis, number, len(wanted))
    used = [m for m in looks if m in set(table["method"].astype(str))]
    handles = _legend(looks, used, not times["calm"].all())
    handles += [Line2D([], [], color="black", marker="*", ms=11, ls="", label="dense"),
                Line2D([], [], color="#555555", lw=1, label="Pareto front")]  # fmt: skip
    plots.legend_below(figure, handles)
    return figure


def _speed_marks(
    axis: Axes, rows: pd.DataFrame, other: pd.Series, looks: dict[str, dict[str, str]], across: bool
) -> None:
    """A mark per point with the quartiles of its speed, across or upright; dense is a star."""
    for method, part in rows.groupby(rows["method"].astype(str), sort=False):
        bars = np.abs(np.array([part["faster"] - part["low"], part["high"] - part["faster"]]))
        x, y = part["faster"], other.loc[part.index]
        style = looks.get(method, {"color": "black", "marker": "*"})
        size = 5 if method in looks else 11
        if across:
            axis.errorbar(x, y, xerr=bars, ls="", ms=size, elinewidth=0.8, **style)
        else:
            x, y = y, x
            axis.errorbar(x, y, yerr=bars, ls="", ms=size, elinewidth=0.8, **style)
        restless = ~part["calm"].to_numpy(bool)
        axis.plot(x[restless], y[restless], "o", color="white", ms=2, zorder=4)


def _legend(looks: dict[str, dict[str, str]], methods: list[str], disturbed: bool) -> list[Line2D]:
    handles = [Line2D([], [], ls="", label=m, **looks[m]) for m in methods if m in looks]
    if disturbed:
        handles.append(Line2D([], [], ls="", marker="o", mfc="white", mec="#555555", mew=1.5,
                              label="disturbed"))  # fmt: skip
    return handles
