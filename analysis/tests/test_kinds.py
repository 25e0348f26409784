# SPDX-License-Identifier: Apache-2.0
"""Ordinary results files of many kinds: the notebooks and figures make what they can of each."""

import shutil
from html.parser import HTMLParser

import h5py
import matplotlib.pyplot as plt
import nbformat
import pytest
from conftest import ANALYSIS, DEMO, head, run, set_text

import winnow
from winnow import plots, report

CALIBRATION = {"text": str(DEMO / "data" / "general_calibration.jsonl"), "samples": 4, "length": 64}
PRUNED = {"method": "magnitude", "sparsity": [0.3, 0.5]}
WANDA = {"method": "wanda", "sparsity": [0.4, 0.6], "calibration": "general"}
BITS = {"method": "rtn", "bits": [8, 4], "group": 32}
TEXT = {"perplexity": {"world": {"text": "world.txt", "protocol": "gptq", "length": 64}}}
TASKS = {"tasks": ["facts.jsonl"]}
SPEEDS = {"efficiency": {"prompt": 16, "steps": 1, "pairs": 1, "batch": 1}}
KL = {"divergence": {"on": ["world"], "measures": ["kl"]}}

KINDS = {
    "bits only": ([BITS], TEXT | TASKS | KL | SPEEDS),
    "no divergence": ([WANDA, BITS], TEXT | TASKS),
    "magnitude only": ([PRUNED], TEXT | TASKS | KL),
    "one point": ([{"method": "rtn", "bits": 4}], TEXT),
    "no tasks": ([WANDA], TEXT | KL),
    "no texts": ([WANDA], TASKS),
    "blocks left out": ([{"method": "drop", "units": ["block", "branch"], "sparsity": [0.2, 0.34],
                          "score": "block_influence", "calibration": "general"}], TEXT | KL),
    "settings": ([{"method": "sparsegpt", "sparsity": [0.4, 0.6], "allocation": ["uniform", "owl"],
                   "calibration": "general"},
                  {"method": "gptq", "bits": [3, 4], "act_order": [True, False],
                   "calibration": "general"}], TEXT | KL),
    "searched": ([{"method": "wanda", "sparsity": 0.5, "calibration": "general",
                   "propagation": "dense", "allocation": ["uniform", "owl", "fast"]},
                  {"method": "gptq", "bits": 3, "calibration": "general", "propagation": "dense",
                   "allocation": ["uniform", "dynamic_programming"]}], TEXT | TASKS | KL),
    "two models": ([PRUNED], TEXT | TASKS | KL),
    "dense open": ([WANDA], TEXT | TASKS | KL),
    "all open": ([WANDA], TEXT | TASKS | KL),
}  # fmt: skip


@pytest.fixture(scope="module")
def files(binary, tmp_path_factory):
    """Paths of the files that were asked for, made once."""
    made = {}

    def get(kind):
        if kind not in made:
            folder = tmp_path_factory.mktemp(kind.replace(" ", "_"))
            head(DEMO / "data" / "facts.jsonl", folder / "facts.jsonl", 12)
            head(DEMO / "data" / "general_eval.txt", folder / "world.txt", 12)
            grid, evaluate = KINDS[kind]
            shutil.copytree(DEMO / "model", folder / "twin")
            models = [str(DEMO / "model"), "twin"] if kind == "two models" else str(DEMO / "model")
            sweep = {"model": models, "grid": grid, "evaluate": evaluate}
            if kind == "searched":
                sweep["search"] = {
                    "fast": {
                        "preset": "super-fast",
                        "on": "general",
                        "generations": 3,
                        "offspring": 4,
                        "tokens": [64, 128],
                    }
                }
            if any("calibration" in product for product in grid):
                sweep["calibration"] = {"general": CALIBRATION}
            made[kind] = run(binary, folder, sweep)
            if kind.endswith("open"):
                with h5py.File(made[kind], "r+") as file:
                    status = file["points/status"]
                    status[: 1 if kind == "dense open" else len(status)] = 0
        return made[kind]

    return get


@pytest.mark.parametrize("name", sorted(p.name for p in (ANALYSIS / "notebooks").glob("*.ipynb")))
@pytest.mark.parametrize("kind", KINDS)
def test_notebooks(files, monkeypatch, kind, name):
    monkeypatch.setenv("WINNOW_RESULTS", str(files(kind)))
    notebook = nbformat.read(ANALYSIS / "notebooks" / name, as_version=4)
    code = [c.source.replace("%matplotlib inline", "") for c in notebook.cells]
    code = [s for s, c in zip(code, notebook.cells) if c.cell_type == "code"]
    names = {}
    for source in code:
        exec(compile(source, name, "exec"), names)
        plt.close("all")


@pytest.mark.parametrize("draw", [plots.over_sparsity, plots.over_bits])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "two models"])
def test_a_line_is_one_setting(files, kind, draw):
    results = winnow.open(files(kind))
    try:
        figure = draw(results)
    except ValueError as reason:
        assert str(reason).startswith(str(results.path)) and "no " in str(reason)
        return
    for line in figure.axes[0].lines:
        x = [round(float(v), 6) for v in line.get_xdata()]
        assert len(x) <= 2 or len(set(x)) == len(x), line.get_label()
    plt.close("all")


def test_settings_have_their_names(files):
    results = winnow.open(files("settings"))
    assert {"allocation", "act_order"} <= set(results.axes)
    labels = {t.get_text() for t in plots.over_sparsity(results).legends[0].get_texts()}
    assert labels == {"sparsegpt, uniform", "sparsegpt, owl"}
    labels = {t.get_text() for t in plots.over_bits(results).legends[0].get_texts()}
    assert labels == {"gptq, act order", "gptq, not act order"}
    plt.close("all")


class Page(HTMLParser):
    """Open elements, texts, and whatever a page would load from elsewhere."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.outside, self.count = [], [], [], {}

    def handle_starttag(self, tag, attributes):
        self.count[tag] = self.count.get(tag, 0) + 1
        if tag not in ("meta", "br", "img", "link"):
            self.open.append(tag)
        for name, value in attributes:
            if name in ("src", "href", "xlink:href") and not value.startswith("#"):
                self.outside.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


# What linears differ in, beside their errors and outliers.
MAPS = {"blocks left out": {"Zeros"}, "settings": {"Zeros"}, "searched": {"Zeros", "Bits"}}
FIGURES = {"bits only": 2, "settings": 3, "one point": 1, "no texts": 2, "all open": 0}


@pytest.mark.parametrize("kind", KINDS)
def test_reports(files, tmp_path, kind):
    path = tmp_path / "report.html"
    assert report.main([str(files(kind)), "-o", str(path)]) == 0
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    assert not page.open and not page.outside
    results = winnow.open(files(kind))
    done = (results.points["status"] == "done").sum()
    text = " ".join(page.texts)
    assert page.count["tr"] > done, "a row per point"
    assert page.count.get("svg", 0) >= FIGURES.get(kind, 1)
    maps = set() if kind == "all open" else {"Errors", "Outliers"} | MAPS.get(kind, set())
    ending = " of single linears"
    assert {t.removesuffix(ending) for t in page.texts if t.endswith(ending)} == maps
    assert ("not computed yet" in text) == kind.endswith("open")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_report_as_pdf(path, tmp_path, monkeypatch):
    """It says what the page says: every figure over its caption, tables, reasons of failures."""
    copy, pages = shutil.copy(path, tmp_path / "results.h5"), []
    with h5py.File(copy, "r+") as file:
        file["points/status"][3] = 2
        set_text(file["points/reason"], 3, "out of luck")

    class Pages(report.PdfPages):
        def savefig(self, figure, **options):
            def draw(renderer):  # the last time with the margins of the page
                whole(renderer)
                artists = [*figure.legends, *figure.texts]
                lowest[:] = [artist.get_window_extent(renderer).y0 for artist in artists]

            whole, figure.draw, lowest = figure.draw, draw, []
            super().savefig(figure, **options)
            assert lowest[-1] == min(lowest) and len(set(lowest)) == len(lowest)
            pages.append("\n".join(text.get_text() for text in figure.texts))

    def figures(*about):
        for title, caption, figure in draw(*about):
            shown[title] = caption
            yield title, caption, figure

    shown, draw = {}, report.figures
    monkeypatch.setattr(report, "figures", figures)
    monkeypatch.setattr(report, "PdfPages", Pages)
    target = tmp_path / "report.pdf"
    assert report.main([str(copy), "-o", str(target)]) == 0
    assert target.read_bytes().startswith(b"%PDF-")
    assert len(shown) >= 8
    for title, caption in shown.items():
        (text,) = [text for text in pages if text.startswith(title + "\n")]
        assert caption in text.replace("\n", " ")
    assert [text for text in pages if text.startswith("Failed points") and "out of luck" in text]
    assert [text for text in pages if text.startswith("Correlations") and "within" in text]
    tables = [text for text in pages if text.startswith(("Points", "Correlations"))]
    assert max(len(line) for text in tables for line in text.splitlines()) <= report._LETTERS


def test_report_mistakes(files, tmp_path, capsys):
    assert report.main([str(tmp_path / "none.h5")]) == 2
    assert "no such file" in capsys.readouterr().err
    assert report.main([str(files("one point")), "-o", str(tmp_path / "report.doc")]) == 2
    assert ".html or .pdf" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
