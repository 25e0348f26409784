# SPDX-License-Identifier: Apache-2.0
"""winnow-report: a results file as one page that needs nothing else.

What was asked and computed, the table of points, the figures that the file has data for, with
captions that say what their bars are, failed points with their reasons, warnings, and provenance.
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from winnow import layer_plots, plots, speed_plots, study_plots
from winnow.draws import averaged
from winnow.inference import correlations
from winnow.layer_errors import monotonicity
from winnow.results import Results, open_results, stderr_column
from winnow.statistics import correlation
from winnow.survival import breaking_points

_FEW_TOKENS = 16_384  # below this many calibration tokens, another draw moves scores visibly
_ROWS = 400  # of the table in a page
_LETTERS = 180  # of a line in a PDF
_POINTS_NOTE = (
    "± is one standard error over windows or items; in brackets, where cells have several draws, "
    "the standard deviation over these, and the score is their mean."
)
_CORRELATIONS_NOTE = (
    "Spearman's rho with a 95 % interval from a bootstrap over clusters of related points, and p "
    "values of that bootstrap, adjusted for all rows after Holm; “within” is centred per method."
)


# ---- what a report says ----


def main_columns(results: Results) -> list[str]:
    """The scores a reader looks at first: perplexities, divergences, main metrics of the tasks."""
    names = results.columns.index
    found = [f"{t}/perplexity" for t in results.texts]
    found += [f"{t}/{m}" for t in results.texts for m in ("kl_mean", "js_mean")]
    found += [results.main_score(t) for t in results.tasks]
    return [n for n in dict.fromkeys(found) if n in names]


def point_axes(points: pd.DataFrame, axes: list[str]) -> list[str]:
    """The axes that a table of points needs: those with several values, and the method."""
    several = []
    for name in axes:
        values = points[name].dropna() if name in points else pd.Series(dtype=object)
        values = values[values.astype(str) != ""]
        if (
            name == "method"
            or len(set(values)) > 1
            or (name in ("sparsity", "bits") and len(values))
        ):
            several.append(name)
    return several


def summary(results: Results) -> pd.DataFrame:
    """One row per point that is done: what it is, its main scores with their standard errors.

    Draws of a cell are one row, with their standard deviation in brackets.
    """
    scores = averaged(results)
    scores = scores[scores["status"] == "done"]
    axes = point_axes(scores, [*results.axes, "draws"])
    table = scores[axes].astype(object)
    table = table.where(table.notna() & (table != ""), "–").map(_short)
    table["bits per weight"] = scores["bits_per_weight_nominal"].map(_short)
    for name in main_columns(results):
        error = stderr_column(name, scores.columns)
        texts = scores[name].map(_number)
        if error:
            errors = scores[error].map(lambda e: f" ± {e:.2g}" if np.isfinite(e) else "")
            texts = texts + errors
        if f"{name}_draws" in scores:
            draws = scores[f"{name}_draws"]
            texts = texts + draws.map(lambda d: f" ({d:.2g})" if np.isfinite(d) else "")
        table[name] = texts
    return table


def warnings(results: Results) -> list[str]:
    """What a reader should know before believing a number."""
    points, found = results.points, []
    counts = points["status"].value_counts()
    if counts.get("open", 0):
        found.append(f"{counts['open']} of {len(points)} points are not computed yet.")
    if counts.get("failed", 0):
        found.append(f"{counts['failed']} points failed; their reasons are listed below.")
    if "calibration_tokens" in points:
        few = points[points["calibration_tokens"] < _FEW_TOKENS]
        for name, group in few.groupby("calibration", observed=True):
            tokens = int(group["calibration_tokens"].iloc[0])
            found.append(
                f"Calibration set “{name}” has {tokens:,} tokens: with so few, another draw of it "
                "moves scores; compare draws before small differences."
            )
    for model in results.models:
        try:
            dense = results.dense_of(model)
        except KeyError:
            continue
        for task, name in results.main_scores.items():
            error = dense.get(f"{name}_stderr", np.nan)
            levels = {"guessing": results.chance(task)}
            if name.endswith("/acc"):
                levels["always giving the most common answer"] = results.majority(task)
            what = max(levels, key=lambda level: np.nan_to_num(levels[level]))
            if np.isfinite(dense[name]) and not dense[name] - levels[what] > 2 * error:
                found.append(
                    f"{model} does “{task}” no better than {what} "
                    f"({_number(dense[name])} against {_number(levels[what])}): "
                    "nothing can be lost there."
                )
    if len(_arithmetics(results)) > 1:
        found.append("Points were computed with different kernels or builds; see /starts.")
    if "-dirty" in results.provenance.get("winnow_revision", ""):
        found.append("winnow was built from a working tree with changes that were not committed.")
    return found


def _arithmetics(results: Results) -> set[str]:
    used = set(results.points["start"]) if "start" in results.points else set()
    return {text for number, text in results.starts["arithmetic"].items() if number in used}


def figures(results: Results, model: str) -> Iterator[tuple[str, str, Figure]]:
    """Title, caption and figure of everything that the file has data for."""
    error = "Bars are one standard error over the windows of a text or the items of a task."
    parts: list[tuple[str, str, Callable[[], Figure | None]]] = [
        (
            "Over sparsity",
            "Scores of pruned points, a line per method and setting; dashed: the dense model. "
            + error,
            lambda: plots.over_sparsity(results, model=model),
        ),
        (
            "Over bits per weight",
            "Scores of quantized points over nominal bits per weight of the linears: "
            f"codes, scales, zero points, masks. {error}",
            lambda: plots.over_bits(results, model=model),
        ),
        (
            "Tasks that match the dense model",
            "Task scores of pruned points from the dense model on; the band is within 5 % of the "
            f"dense score; N:M patterns are bars. {error}",
            lambda: study_plots.matching(results, model=model),
        ),
        (
            "What quality costs",
            "A mark per point; steps: the Pareto front, points that none beats at no more bits; "
            f"ring: its knee. {error}",
            lambda: study_plots.fronts(results, model=model),
        ),
        (
            "Memory and speed",
            "How many times smaller in memory, and faster, points are than the dense model in fp32 "
            "that was measured in turn with them on one rank. Bars are quartiles over pairs of "
            "takes; a white centre: something else on the machine disturbed too many pairs.",
            lambda: speed_plots.memory_and_speed(results, model=model),
        ),
        (
            "What quality costs in bytes and time",
            "Steps: the Pareto fronts; ring: their knee. Bars of speeds are quartiles over pairs "
            "of takes, those of scores one standard error: where they overlap, a front may go "
            "through the wrong point.",
            lambda: speed_plots.quality_fronts(results, model=model),
        ),
        (
            "Calibration sets",
            "What calibrating on the one set gains over the other, a mark per cell of the grid, "
            "paired over the items of a task. Bars are 95 % intervals over items.",
            lambda: _calibrations(results, model),
        ),
        (
            "Where tasks break",
            "Where along the sparsity a task has lost ten points of its score, by straight lines "
            "between the points of the sweep. Bars are 95 % intervals over items, drawn together "
            "for all points; an open mark: it never loses as much.",
            lambda: plots.survival(results, breaking_points(results, model=model), "sparsity"),
        ),
        (
            "Perplexity and divergence against tasks",
            "A mark per point. Titles: Spearman's rank correlation with a 95 % interval from a "
            f"bootstrap over clusters of related points. {error}",
            lambda: plots.against(results, model=model),
        ),
        *_layers(results, model),
        (
            "Layer errors against the whole model",
            "A mark per point: the sum of its relative squared layer errors, and what comes of "
            "them end to end. Dashed: the worst pair of which the one with less error is worse. "
            "Title: Kendall's tau with a 95 % interval from a bootstrap over clusters of points, "
            "where there are enough of them.",
            lambda: _monotonicity(results, model),
        ),
        (
            "The grid",
            "A line per point through the axes of the grid and its scores; where a line goes below "
            "an axis, that axis does not concern its method.",
            lambda: study_plots.coordinates(results, model=model),
        ),
    ]
    for title, caption, draw in parts:
        try:
            figure = draw()
        except (ValueError, KeyError, IndexError):
            continue  # the file has no data for it
        if figure is not None:
            yield title, caption, figure


def _layers(results: Results, model: str) -> list[tuple[str, str, Callable[[], Figure]]]:
    """Maps of every statistic of linears that points differ in."""
    note = (
        " Blocks across, kinds of linears down; a panel for one point of every method and setting, "
        "at the sparsity or bits that most of them have, six at most. Yellow is the most, dark "
        "blue the least, on one scale for all panels, logarithmic over more than a decade; grey: "
        "zero on such a scale, or no value."
    )
    return [
        (about.title, about.caption + note, partial(layer_plots.maps, results, name, model=model))
        for name, about in layer_plots.STATISTICS.items()
    ]


def _calibrations(results: Results, model: str) -> Figure | None:
    """The first calibration set of the sweep against the second."""
    cells = results.cells
    sets = [c for c in cells["calibration"].astype(str).unique() if c] if "calibration" in cells \
        else []  # fmt: skip
    if len(sets) < 2:
        return None
    return study_plots.calibrations(results, sets[0], sets[1], model=model)


def _monotonicity(results: Results, model: str) -> Figure | None:
    score = next((p for p in reversed(results.predictors)), None)
    if score is None or len(monotonicity(results, score, model=model).points) < 4:
        return None
    return plots.monotonicity(results, score, model=model)


def correlation_table(results: Results, model: str) -> pd.DataFrame:
    """Every predictor against every task, p values adjusted for all of them."""
    found = correlations(results, model=model)
    rows = []
    for row in found.itertuples():
        within = correlation(results, row.x, row.y, by="method", model=model).loc["within"]
        rows.append(
            {"task": row.y, "predictor": row.x, "rho": _interval(row), "within": _interval(within),
             "n": row.n, "clusters": row.clusters, "p": _number(row.p),
             "p (Holm)": _number(row.holm)}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _interval(row: Any) -> str:
    text = f"{row.rho:.2f}" if np.isfinite(row.rho) else "–"
    return text + (f" [{row.low:.2f}, {row.high:.2f}]" if np.isfinite(row.low) else "")


# ---- texts ----


def _number(value: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.3e}" if abs(value) >= 1e5 else f"{value:.4g}"


def _short(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "yes" if value else "no"
    return _number(value) if isinstance(value, int | float | np.number) else str(value)


def _svg(figure: Figure) -> str:
    buffer = io.StringIO()
    # Names inside do not change from run to run.
    with mpl.rc_context({"svg.hashsalt": "winnow", "svg.fonttype": "path"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    plt.close(figure)
    text = buffer.getvalue()
    # A hundredth of a point is enough: a third less of what most figures are.
    text = _PLACES.sub(lambda found: _DIGITS.sub(r"\1", found[0]), text)
    return text[text.index("<svg") :]


_PLACES = re.compile(r' (?:d|x|y)="[^"]*"')  # not transform: letters are scaled by small numbers
_DIGITS = re.compile(r"(\d\.\d\d)\d+")


def _table(table: pd.DataFrame, index: str | None = None) -> str:
    columns = ([index] if index else []) + [str(c) for c in table.columns]
    head = "".join(f"<th>{html.escape(c)}</th>" for c in columns)
    body = []
    for number, row in zip(table.index, table.itertuples(index=False, name=None)):
        cells = ([str(number)] if index else []) + [str(v) for v in row]
        body.append("<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in cells) + "</tr>")
    rows = "".join(body)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _grid(results: Results) -> str:
    """The grid as it was asked for, a line per product."""
    sweep = results.sweep
    lines = []
    for product in sweep.get("grid", []):
        parts = [f"{k} {json.dumps(v, ensure_ascii=False)}" for k, v in product.items()]
        lines.append(f"<li>{html.escape('; '.join(parts))}</li>")
    return f"<ul>{''.join(lines)}</ul>"


_PROTOCOLS = ("evaluation_", "calibration_")


def _facts(results: Results, protocols: bool) -> str:
    """What is recorded of inputs and protocols, or all else that is not of a task."""
    rows = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>"
        for name, text in results.provenance.items()
        if name.startswith(_PROTOCOLS) == protocols and not name.startswith("task_")
    )
    return f"<dl>{rows}</dl>"


_STYLE = """
:root { color-scheme: light }
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 72rem; margin: 2rem auto;
       padding: 0 1.5rem }
h1 { font-size: 1.7rem; margin-bottom: 0 } h2 { margin-top: 2.5rem; font-size: 1.25rem }
p.lead { color: #555; margin-top: .3rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums }
th { text-align: left; border-bottom: 2px solid #222; padding: .3rem .7rem; white-space: nowrap }
td { border-bottom: 1px solid #ddd; padding: .25rem .7rem; white-space: nowrap }
tbody tr:hover { background: #f3f6fa }
figure { margin: 1.5rem 0 } figure svg { max-width: 100%; height: auto }
figcaption { color: #444; font-size: 13.5px; max-width: 60rem }
ul.warn { background: #fff6e0; border-left: 4px solid #e69f00; padding: .8rem 1rem .8rem 2rem }
dt { font-weight: 600; font-size: 13px } dd { margin: 0 0 .5rem; font-size: 13px; color: #444;
     white-space: pre-wrap; overflow-wrap: anywhere }
@media print { body { max-width: none; margin: 0 } h2 { break-after: avoid }
               figure { break-inside: avoid } }
"""


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{html.escape(title)}</h2>{''.join(parts)}</section>"


def _lead(results: Results) -> str:
    counts = results.points["status"].value_counts()
    status = ", ".join(f"{counts[s]} {s}" for s in ("done", "failed", "open") if counts.get(s, 0))
    made = results.provenance.get("created", "")
    return f"{', '.join(results.models)}: {status} points; begun {made}; {results.path.name}"


def page(results: Results) -> str:
    """The whole report as HTML."""
    name = str(results.sweep.get("name") or results.path.stem)
    told = warnings(results)
    table = summary(results)
    parts = [f"<h1>{html.escape(name)}</h1>", f'<p class="lead">{html.escape(_lead(results))}</p>']
    if told:
        items = "".join(f"<li>{html.escape(w)}</li>" for w in told)
        parts.append(f'<ul class="warn">{items}</ul>')
    about = results.sweep.get("description")
    asked = [f"<p>{html.escape(str(about))}</p>"] if about else []
    parts.append(
        _section("What was asked", *asked, _grid(results), _facts(results, protocols=True))
    )
    more = f"<p>The first {_ROWS} of {len(table)} points.</p>" if len(table) > _ROWS else ""
    parts.append(
        _section("Points", f"<p>{_POINTS_NOTE}</p>", more, _table(table.head(_ROWS), "point"))
    )
    for model in results.models:
        shown = [
            f"<figure><h3>{html.escape(title)}</h3>{_svg(figure)}"
            f"<figcaption>{html.escape(caption)}</figcaption></figure>"
            for title, caption, figure in figures(results, model)
        ]
        if shown:
            parts.append(
                _section(f"Figures: {model}" if len(results.models) > 1 else "Figures", *shown)
            )
        found = correlation_table(results, model)
        if len(found):
            note = f"<p>{_CORRELATIONS_NOTE}</p>"
            parts.append(_section(f"Correlations: {model}", note, _table(found)))
    failed = results.points.query("status == 'failed'")
    if len(failed):
        parts.append(_section("Failed points", _table(failed[["key", "reason"]], "point")))
    parts.append(_section("Provenance", _facts(results, protocols=False)))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(name)}</title><style>{_STYLE}</style></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


# ---- PDF ----


def _text_pages(pages: PdfPages, title: str, lines: list[str]) -> None:
    """Lines of fixed width, as many to a page as fit."""
    for first in range(0, max(len(lines), 1), 62):
        figure = plt.figure(figsize=(11.7, 8.3))
        figure.text(0.05, 0.95, title, fontsize=14, weight="bold", va="top")
        body = "\n".join(lines[first : first + 62])
        figure.text(0.05, 0.9, body, fontsize=7, family="monospace", va="top")
        pages.savefig(figure)
        plt.close(figure)


def _wrapped(texts: Iterable[str], first: str = "") -> list[str]:
    """Lines of texts, the first of each behind a mark."""
    options = {"initial_indent": first, "subsequent_indent": "  "}
    return [line for text in texts for line in textwrap.wrap(text, 150, **options)]


def _figure_page(pages: PdfPages, title: str, caption: str, figure: Figure) -> None:
    """A figure between its title and its caption."""
    figure.suptitle(title, fontsize=12)
    width = max(60, int(figure.get_figwidth() * 15))  # characters of this size
    figure.text(0, -0.1 / figure.get_figheight(), textwrap.fill(caption, width), fontsize=8,
                va="top")  # fmt: skip
    pages.savefig(figure, bbox_inches="tight", pad_inches=0.3)
    plt.close(figure)


def write_pdf(results: Results, path: Path) -> None:
    """The same as pages: texts and tables in lines, a figure per page."""
    with PdfPages(path, metadata={"CreationDate": None}) as pages:
        grid = (json.dumps(product) for product in results.sweep.get("grid", []))
        lines = [_lead(results), "", *_wrapped(warnings(results), "! "), *_wrapped(grid, "grid: ")]
        _text_pages(pages, str(results.sweep.get("name") or results.path.stem), lines)
        table = summary(results).to_string(line_width=_LETTERS).splitlines()
        _text_pages(pages, "Points", [*_wrapped([_POINTS_NOTE]), "", *table])
        for model in results.models:
            for title, caption, figure in figures(results, model):
                _figure_page(pages, title, caption, figure)
            found = correlation_table(results, model)
            if len(found):
                table = found.to_string(index=False, line_width=_LETTERS).splitlines()
                lines = [*_wrapped([_CORRELATIONS_NOTE]), "", *table]
                _text_pages(pages, f"Correlations: {model}", lines)
        failed = results.points.query("status == 'failed'")
        if len(failed):
            reasons = (f"{p} {row.key}: {row.reason}" for p, row in failed.iterrows())
            _text_pages(pages, "Failed points", _wrapped(reasons))
        facts = (f"{k}: {v}" for k, v in results.provenance.items())
        _text_pages(pages, "Provenance", _wrapped(facts))


# ---- command ----


def _write(results: Results, path: Path) -> None:
    """Never half a file: beside it first."""
    beside = path.with_name(f".{path.name}.part")
    try:
        if path.suffix.lower() == ".pdf":
            write_pdf(results, beside)
        else:
            beside.write_text(page(results), encoding="utf-8")
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def main(arguments: list[str] | None = None) -> int:
    """The command winnow-report."""
    parser = argparse.ArgumentParser(
        prog="winnow-report",
        description="A results file as one page that needs nothing else.",
        epilog="Example: winnow-report demo.h5 -o demo.html",
    )
    parser.add_argument("results", type=Path, help="a results file, also of a sweep that runs")
    parser.add_argument(
        "-o", "--output", type=Path, help="FILE.html or FILE.pdf; default: beside the results"
    )
    options = parser.parse_args(arguments)
    mpl.use("Agg")
    output = options.output or options.results.with_suffix(".html")
    if output.suffix.lower() not in (".html", ".pdf"):
        print(
            f"winnow-report: {output}: expected a name that ends in .html or .pdf", file=sys.stderr
        )
        return 2
    try:
        _write(open_results(options.results), output)
    except (OSError, ValueError) as mistake:
        print(f"winnow-report: {mistake}", file=sys.stderr)
        return 2
    print(output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
