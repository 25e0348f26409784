# SPDX-License-Identifier: Apache-2.0
"""Which findings of published studies hold on a results file: a page of text, figures, a report.

    python analysis/examples/findings.py study.h5 -o analysis/examples/smollm2

Writes README.md, PNG figures and report.html into the folder. Every number of the text comes from
the file, and so does every verdict. Of a sweep that is not done the page has what there is, and
says so.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy import stats
from study import Study, interval, listed, number, p_text, percent, points, table

import winnow
from winnow import plots, report, study_plots
from winnow.inference import holm

NEAR = 1.5  # times the dense perplexity: models that are still of use
LOST = 0.05  # of a score: five points
EARLY = 1.2  # times the dense perplexity: what may pass for no change
SURE = 0.05  # p values below, after Holm

# A finding is a question, what it comes to, and what that rests on; None where points are missing.
Finding = tuple[str, str, str]


def perplexity_and_tasks(study: Study) -> Finding | None:
    """Whether perplexity tells how tasks fare: all points, models still of use, within methods."""
    results, predictors = study.results, study.results.predictors
    every = winnow.correlations(results, predictors)
    near = winnow.correlations(results, predictors, zone=NEAR)
    if not len(every) or every["low"].isna().all():
        return None
    rows = []
    tasks = {name: task for task, name in results.main_scores.items()}
    for row, close in zip(every.itertuples(), near.itertuples()):
        items = winnow.with_items(results, row.x, tasks[row.y])
        within = winnow.correlation(results, row.x, row.y, by="method").loc["within"]
        entry = {"task": tasks[row.y]} | ({"by": row.x} if len(predictors) > 1 else {})
        entry["ρ, all points"] = interval(row.rho, items["low"], items["high"])
        entry["p"] = p_text(row.holm)
        entry["reliability"] = number(items["reliability"])
        entry["ρ within methods"] = interval(within["rho"], within["low"], within["high"])
        entry[f"ρ below {NEAR:g} × dense"] = interval(close.rho, close.low, close.high)
        entry["p there"] = p_text(close.holm)
        rows.append(entry)
    head = (
        f"Over all {every['n'].max()} points, of {_told(study, every)}; over the "
        f"{near['n'].max()} below {NEAR:g} times the dense perplexity, of {_told(study, near)}."
    )
    text = (
        "Jaiswal et al. 2023 and Khanal and Capone 2024 find that perplexity hides what tasks "
        "lose, Jin et al. 2024 that it serves as a proxy of most of them. Spearman's ρ over "
        f"{every['n'].max()} points in {every['clusters'].max()} clusters (one method, sparsity "
        "and width each; whole clusters are drawn). A negative ρ: more perplexity, a lower score. "
        "The interval of all points has the noise of the items in it; p is that of the bootstrap "
        "over clusters, adjusted for all rows after Holm; reliability is the share of the spread "
        f"over points that other items would show again.\n\n{table(rows)}"
    )
    wrong = every[(every["holm"] < SURE) & (every["rho"] > 0) & every["x"].isin([study.perplexity])]
    if len(wrong):
        text += (
            f"\n\nOf {listed([tasks[y] for y in wrong['y']])} the sign is the other one: models "
            "with more perplexity score *higher*."
        )
    if len(predictors) == 1:
        text += "\n\nNo divergence was measured: whether KL or JS tells more is not asked here."
    return "Does perplexity tell what tasks lose?", head, text


def rivals(study: Study) -> Finding | None:
    """Whether a divergence from the dense model tells more of tasks than perplexity does."""
    results = study.results
    others = [name for name in results.predictors if name != study.perplexity]
    rows, clear, n = [], {"more": 0, "less": 0}, 0
    for task in study.abilities:
        name = results.main_score(task)
        for other in others:
            entry = {"task": task, "by": other}
            for zone, words in ((None, "all points"), (NEAR, f"below {NEAR:g} × dense")):
                found = winnow.compare(results, (other, study.perplexity), name, zone=zone)
                ends = found[["difference", "low", "high"]]
                strengths = (number(found["first"]), number(found["second"]))
                entry[f"it, perplexity: {words}"] = ", ".join(strengths)
                entry[f"difference, {words}"] = interval(*ends)
                clear["more"] += ends["low"] > 0
                clear["less"] += ends["high"] < 0
                n += 1
            rows.append(entry)
    if not rows:
        return None
    head = (
        f"Of {n} comparisons a divergence tells measurably more in {clear['more']} and less in "
        f"{clear['less']}."
    )
    text = (
        "Khanal and Capone 2024 propose the Jensen-Shannon divergence in perplexity's place. "
        "Strengths of Spearman's ρ, and their difference with the interval of a bootstrap that "
        f"draws the same clusters of points for both.\n\n{table(rows)}"
    )
    return "Do KL and JS tell more than perplexity?", head, text


def _told(study: Study, found: pd.DataFrame) -> str:
    """The tasks that lose where perplexity grows, and how many of them could."""
    sure = found[(found["holm"] < SURE) & (found["rho"] < 0) & (found["x"] == study.perplexity)]
    able = {study.results.main_score(t): t for t in study.abilities}
    told = [able[y] for y in sure["y"] if y in able]
    if not told:
        return f"none of the {len(able)} abilities that can be lost"
    return f"{listed(told)}, {len(told)} of the {len(able)} abilities that can be lost"


def breaks(study: Study) -> Finding | None:
    """Where abilities break along the sparsity, and how far perplexity has come by then."""
    try:
        found = winnow.breaking_points(
            study.results, LOST, tasks=study.abilities, pattern="unstructured"
        ).reset_index()
    except (KeyError, ValueError):
        return None
    found = found[~found["method"].astype(str).str.contains("+", regex=False)]
    rows = []
    for row in found.itertuples():
        ends = [percent(v) if np.isfinite(v) else "never" for v in (row.at, row.low, row.high)]
        ratios = [getattr(row, n, np.nan) for n in ("perplexity_ratio", "ratio_low", "ratio_high")]
        entry = {"task": row.task, "method": row.method}
        entry["sparsity"] = "{} ({} to {})".format(*ends)
        rows.append(entry | {"perplexity there, × dense": interval(*ratios)})
    if not rows:
        return None
    known = found[np.isfinite(found["at"])]
    if known.empty:
        head = f"No line of points loses {100 * LOST:g} points of an ability."
    else:
        ratio = known["perplexity_ratio"]
        head = (
            f"Where an ability has lost {100 * LOST:g} points, perplexity is "
            f"{number(ratio.min())} to {number(ratio.max())} times the dense one; in "
            f"{(ratio < EARLY).sum()} of {len(known)} lines less than {EARLY:g} times."
        )
    text = (
        "Jaiswal et al. 2023: tasks suffer at sparsities where perplexity hardly moves. Where "
        f"along the sparsity {100 * LOST:g} points are lost, by straight lines between the points "
        "of the sweep (of draws: their mean); intervals over items, drawn together for all points "
        "of a line.\n\n"
        f"{table(rows)}"
    )
    return "Is perplexity a late alarm?", head, text


def calibration_sets(study: Study) -> Finding | None:
    """What another kind of calibration text does to perplexity and tasks."""
    if len(study.sets) < 2:
        return None
    first, second = study.sets[:2]
    rows, steps, pairs = [], [], []
    for key, level in study.settings():
        a, b = (study.find(**key, calibration=name) for name in (first, second))
        if a.empty or b.empty or a["point"].iloc[0] == b["point"].iloc[0]:
            continue
        steps.append(study.logs(b).mean() - study.logs(a).mean())
        pairs.append((int(b["point"].iloc[0]), int(a["point"].iloc[0])))
        entry = {"method": key["method"], "level": level, first: number(study.ratio(a))}
        entry |= {second: number(study.ratio(b)), "ratio": number(np.exp(steps[-1]))}
        rows.append(entry | {"tasks, points": points(study.change_of(b, a))})
    if not rows:
        return None
    worse, change = sum(step > 0 for step in steps), study.change(pairs)
    p = stats.binomtest(worse, len(steps)).pvalue
    side = "better" if change.low > 0 else "worse" if change.high < 0 else "no different"
    head = (
        f"With “{second}” in place of “{first}” perplexity is higher in {worse} of {len(steps)} "
        f"pairs (sign test, p {p_text(p)}; {number(np.exp(np.mean(steps)))} times on average); "
        f"tasks are {side} ({points(change)} points over all pairs)."
    )
    text = (
        "Khanal and Capone 2024: the calibration set should be of the kind of the task. Pairs of "
        "points that differ in the set alone: perplexity, times dense (of several draws their "
        "geometric mean), and the mean change on "
        f"{listed(study.abilities)} with its interval over items.\n\n{table(rows)}"
    )
    return "Does the kind of calibration text matter?", head, text


def draws_and_methods(study: Study) -> Finding | None:
    """The spread over draws of the calibration set beside differences of methods, and items."""
    cells = _cells_with_draws(study)
    if not cells:
        return None
    rows = []
    for cell in cells:
        entry = {"method": cell["method"], "level": cell["level"], "set": cell["set"]}
        entry |= {"draws": len(cell["logs"]), "perplexity, × dense": number(cell["ratio"])}
        entry["spread of perplexity"] = f"{100 * cell['spread']:.1f} %"
        for task in study.abilities:
            name = study.results.main_score(task)
            spread, error = cell["cells"][name].std(), cell["cells"][f"{name}_stderr"].mean()
            entry[f"{task}: draws, items"] = f"{100 * spread:.1f}, {100 * error:.1f}"
        rows.append(entry)
    spreads = [100 * cell["spread"] for cell in cells]
    head = f"Another draw moves perplexity by {min(spreads):.1f} to {max(spreads):.1f} % (one sd)"
    compared = [_ratio_of_draws(a, b) for i, a in enumerate(cells) for b in cells[i + 1 :]]
    compared = [c for c in compared if c]
    if compared:
        words = "; ".join(f"{c['pair']} {interval(*c['ends'])}" for c in compared)
        clear = sum(c["ends"][1] > 1 or c["ends"][2] < 1 for c in compared)
        head += f". Beyond draws are {clear} of {len(compared)} ratios of perplexities: {words}"
    rounding, moved = _rounding(study)
    if moved:
        head += (
            f". Noise as small as rounding moves it by {min(moved):.1f} to {max(moved):.1f} %, of "
            f"{len(moved)} points"
        )
    text = (
        "Williams and Aletras 2024: the calibration sample moves scores. Standard deviation over "
        "draws of the calibration set, and of tasks, in points, beside one standard error over "
        "items, which all draws share. Intervals of ratios are over draws (Welch's t)."
        f"\n\n{table(rows)}{rounding}{_components(study, len(cells))}"
    )
    return "Is a difference of methods larger than that of two draws?", f"{head}.", text


def _cells_with_draws(study: Study) -> list[dict[str, Any]]:
    found = []
    for key, level in study.settings():
        for name in study.sets:
            cells = study.find(**key, calibration=name)
            if "replicate" not in cells or cells["replicate"].nunique() < 2:
                continue
            logs = study.logs(cells)
            found.append(
                {"method": key["method"], "level": level, "set": name, "cells": cells,
                 "logs": logs, "ratio": study.ratio(cells), "spread": logs.std(ddof=1)}
            )  # fmt: skip
    return found


def _ratio_of_draws(a: dict[str, Any], b: dict[str, Any]) -> dict[str, Any] | None:
    """Ratio of two perplexities at one level with its 95 % interval over draws (Welch)."""
    alike = {name: a[name] == b[name] for name in ("method", "level", "set")}
    if not alike["level"] or alike["method"] == alike["set"]:
        return None
    differing, common = ("set", "method") if alike["method"] else ("method", "set")
    x, y = a["logs"], b["logs"]
    parts = np.array([x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)])
    freedom = parts.sum() ** 2 / (parts**2 / [len(x) - 1, len(y) - 1]).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(parts.sum())
    difference = x.mean() - y.mean()
    pair = f"{a[differing]} against {b[differing]} ({a[common]}, {a['level']})"
    ends = np.exp([difference, difference - half, difference + half])
    return {"pair": pair, "ends": ends}


def _rounding(study: Study) -> tuple[str, list[float]]:
    """What noise as small as rounding, on what the first block gets, does to points; percents."""
    rows, moved = [], []
    for _, cell in study.perturbed.iterrows():
        twin = study.twin(cell)
        if twin is None:
            continue
        key, words = study.level(str(cell["method"]), cell)
        entry = {"method": key["method"], "level": ", ".join(words)}
        entry |= {"set": cell["calibration"], "noise": f"{cell['perturb']:g}"}
        logs = study.logs(pd.DataFrame([cell, twin]))
        moved.append(100 * abs(np.expm1(logs[0] - logs[1])))
        entry["perplexity, ratio"] = f"{np.exp(logs[0] - logs[1]):.4f}"
        entry["tasks, points"] = points(study.change([(int(cell["point"]), int(twin["point"]))]))
        rows.append(entry)
    if not rows:
        return "", moved
    text = (
        "\n\nThe same points with relative noise on what the first block gets, as small as that of "
        "rounding, over those without: what long chains of rounded sums amplify, which no "
        f"difference below it can be told from.\n\n{table(rows)}"
    )
    return text, moved


def _components(study: Study, cells: int) -> str:
    """Where the variance of ln perplexity comes from, among models that are still of use."""
    scores = study.results.scores
    near = scores[scores[study.perplexity] < NEAR * study.dense_perplexity]
    try:
        parts = winnow.variance(near, f"ln {study.perplexity}")
    except ValueError:
        return ""
    parts = parts[np.isfinite(parts["share"])]
    words = [f"{name} {percent(share)}" for name, share in parts["share"].items()]
    return (
        f"\n\nOf the variance of ln perplexity below {NEAR:g} times dense, calibrated methods "
        f"alone ({cells} cells have draws): {', '.join(words)}."
    )


def patterns(study: Study) -> Finding | None:
    """N:M beside unstructured zeros of the same number."""
    rows, found = [], []
    for key, _ in study.settings():
        if "pattern" not in key or "+" in key["method"]:
            continue
        cells = study.find(**key)
        plain = study.find(key["method"], sparsity=key["sparsity"])
        if cells.empty or plain.empty:
            continue
        ratio, change = study.ratio(cells) / study.ratio(plain), study.change_of(cells, plain)
        found.append((key["pattern"], ratio, change))
        entry = {"method": key["method"], "pattern": key["pattern"]}
        entry |= {"perplexity, × dense": number(study.ratio(cells))}
        entry |= {"unstructured": number(study.ratio(plain)), "ratio": number(ratio)}
        rows.append(entry | {"tasks, points": points(change)})
    if not rows:
        return None
    words = []
    for pattern in dict.fromkeys(p for p, _, _ in found):
        ratios = [r for p, r, _ in found if p == pattern]
        words.append(f"{pattern} {number(min(ratios))} to {number(max(ratios))} times")
    adjusted = holm([change.p for _, _, change in found])
    down = sum(p < SURE and c.value < 0 for p, (_, _, c) in zip(adjusted, found))
    head = (
        f"Perplexity is higher in {sum(r > 1 for _, r, _ in found)} of {len(found)} pairs "
        f"({', '.join(words)}); tasks are measurably worse in {down} of them (after Holm)."
    )
    text = (
        "Jaiswal et al. 2023: N:M patterns fail where as many zeros anywhere do not. Pairs of one "
        f"method, calibration set and sparsity; tasks with intervals over items.\n\n{table(rows)}"
    )
    return "Do N:M patterns cost more than as many zeros anywhere?", head, text


def widths(study: Study) -> Finding | None:
    """What bits cost, method by method."""
    rows, found = [], []
    for key, level in study.settings():
        cells = study.find(**key)
        if "sparsity" in key or "+" in key["method"] or cells.empty:
            continue
        ratio, change = study.ratio(cells), study.change_of(cells)
        found.append((f"{key['method']} {level}".strip(), ratio, change))
        entry = {"method": key["method"], "level": level or "–"}
        entry["bits per weight"] = number(float(cells["bits_per_weight_nominal"].iloc[0]))
        entry["perplexity, × dense"] = number(ratio)
        rows.append(entry | {"tasks, points from dense": points(change)})
    if not rows:
        return None
    adjusted = holm([change.p for _, _, change in found])
    lost = [
        f"{name} ({number(ratio)})"
        for p, (name, ratio, change) in zip(adjusted, found)
        if p < SURE and change.value < 0
    ]
    head = (
        f"Tasks are measurably worse than dense (after Holm) with {listed(lost)}, of {len(found)} "
        "quantized points; in brackets the perplexity, times dense."
    )
    text = (
        "Jin et al. 2024: 4 bits are close to dense, and SpQR holds at 2 bits where others fall "
        "apart. Bits per weight are nominal: codes, scales, zero points, outliers. Tasks with "
        f"intervals over items.\n\n{table(rows)}"
    )
    words = []
    for bits in (4, 3, 2):
        one, two = (study.find(method, bits=bits) for method in ("gptq", "rtn"))
        if len(one) and len(two):
            words.append(f"{number(study.ratio(one) / study.ratio(two))} at {bits}")
    if words:
        text += f"\n\nPerplexity of GPTQ over that of rounding to nearest: {listed(words)} bits."
    return "How few bits are enough?", head, text


def joint(study: Study) -> Finding | None:
    """Whether pruning and quantization do as much harm together as one times the other."""
    rows, excess = [], []
    for key, level in study.settings():
        pruner, plus, quantizer = key["method"].partition("+")
        if not plus or "sparsity" not in key or "bits" not in key or "pattern" in key:
            continue
        both = study.find(**key)
        one = study.find(pruner, sparsity=key["sparsity"])
        two = study.find(quantizer, bits=key["bits"])
        if both.empty or one.empty or two.empty:
            continue
        product = study.ratio(one) * study.ratio(two)
        excess.append(study.ratio(both) / product)
        entry = {"point": f"{key['method']} {level}", "pruned": number(study.ratio(one))}
        entry |= {"quantized": number(study.ratio(two)), "product": number(product)}
        entry |= {"both": number(study.ratio(both)), "over product": number(excess[-1])}
        rows.append(entry)
    if not rows:
        return None
    head = (
        f"Both together are {number(min(excess))} to {number(max(excess))} times the product of "
        f"one and the other, in {sum(e > 1 for e in excess)} of {len(excess)} points above it."
    )
    return "Do pruning and quantization add up?", head, f"Perplexity, times dense.\n\n{table(rows)}"


FINDINGS = (
    perplexity_and_tasks,
    rivals,
    breaks,
    calibration_sets,
    draws_and_methods,
    patterns,
    widths,
    joint,
)


# ---- the page ----


def dense_table(study: Study) -> str:
    """The dense model on every task, and whether there is something to lose."""
    rows = []
    for task, name in study.results.main_scores.items():
        able = "yes" if study.is_ability(task) else "no ability"
        rows.append(
            {
                "task": task,
                "score": name.rpartition("/")[2],
                "items": study.items[task].shape[1],
                "dense, %": f"{100 * study.dense[name]:.1f} ± {100 * study.error(task):.1f}",
                "for nothing, %": f"{100 * study.floor(task):.1f}",
                "can be lost": able if study.can_lose(task) else "no: not above it",
            }
        )
    return table(rows)


def _precision(study: Study) -> str:
    """How small a change can be seen at all."""
    changes = [study.change([(int(p), int(study.dense.name))]) for p in study.cells["point"]]
    half = [(c.high - c.low) / 2 for c in changes if np.isfinite(c.low)]
    if not half:
        return ""
    return (
        f" The mean change of a point from the dense model is known to ± {np.median(half):.1f} "
        "points (median): what is smaller cannot be seen with so few items."
    )


def page(study: Study, figures: list[tuple[str, str]]) -> str:
    """README.md."""
    results = study.results
    counts = results.points["status"].value_counts()
    done, failed = int(counts.get("done", 0)), int(counts.get("failed", 0))
    found = [f for f in (finding(study) for finding in FINDINGS) if f]
    name = results.sweep.get("name", results.path.stem)
    parts = [
        f"# What compression does to {results.models[0]}",
        f"{done} of {len(results.points)} points of the sweep `{name}`. "
        "`analysis/examples/findings.py` made this page from the results file, its numbers and "
        "its verdicts. [report.html](report.html) has all points, their provenance and more "
        "figures.",
    ]
    if done < len(results.points):
        parts.append(
            f"**The sweep is not complete**: {len(results.points) - done - failed} points are "
            f"open, {failed} failed. What follows is of the points that are done."
        )
    parts += [
        "## In short",
        "\n".join(f"- **{title}** {head}" for title, head, _ in found),
        "## What there is to lose",
        f"The dense model has perplexity {number(study.dense_perplexity)} on {study.text}. A task "
        "counts as an ability below where the dense model is two standard errors above guessing "
        "and above always giving the most common answer, and where more is better.",
        dense_table(study),
        "Intervals are 95 %, ± is one standard error. They speak of one model, one text and items "
        f"like these, not of other models.{_precision(study)}",
    ]
    for title, head, text in found:
        parts += [f"## {title}", head, text]
    parts += ["## Figures", *(f"![{caption}]({file})\n\n{caption}" for file, caption in figures)]
    return "\n\n".join(parts) + "\n"


def draw(study: Study, folder: Path) -> list[tuple[str, str]]:
    """PNG figures, and what they show."""
    results, names = study.results, [study.perplexity, *study.abilities]
    wanted = [
        ("sparsity.png",
         "Perplexity and abilities over sparsity; bars are one standard error over windows or "
         "items, bars with caps the standard deviation over draws.",
         lambda: plots.over_sparsity(results, names)),
        ("bits.png", "The same over nominal bits per weight.",
         lambda: plots.over_bits(results, names)),
        ("against.png", "Perplexity against abilities, a mark per point.",
         lambda: plots.against(results, study.perplexity, study.abilities)),
        ("calibration.png",
         "What the second calibration set gains on the first; 95 % intervals over items.",
         lambda: study_plots.calibrations(results, *study.sets[:2])),
    ]  # fmt: skip
    made = []
    for file, caption, function in wanted:
        try:
            figure = function()
        except (TypeError, ValueError, KeyError, IndexError):
            continue  # the file has no data for it
        figure.savefig(folder / file, dpi=90, metadata={"Software": None})
        plt.close(figure)
        made.append((file, caption))
    return made


def without_folders(text: str) -> str:
    """A page for others: files by their names, not where they lay on one machine.

    >>> without_folders("read /home/me/models/small/config.json, see https://a.org/b/c and </b>")
    'read config.json, see https://a.org/b/c and </b>'
    """
    return re.sub(r"(?<![\w.:/<-])/(?:[\w.+-]+/)+(?=[\w.+-])", "", text)


def main(arguments: list[str] | None = None) -> int:
    """Write the page, its figures and the report."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("results", type=Path, help="a results file of one model")
    parser.add_argument("-o", "--output", type=Path, required=True, help="a folder")
    options = parser.parse_args(arguments)
    mpl.use("Agg")
    study = Study(winnow.open(options.results))
    options.output.mkdir(parents=True, exist_ok=True)
    text = page(study, draw(study, options.output))
    (options.output / "README.md").write_text(text, encoding="utf-8")
    text = without_folders(report.page(study.results))
    (options.output / "report.html").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
